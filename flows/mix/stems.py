"""The stems of a mix taken through their steps, to the delivered file.

Shared by a mix that is decided here and by one that is rendered from a plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.engines.base import Engine
from flows.mix.steps.balance import BalancedStem, BalanceJob
from flows.mix.steps.render import (
    DeliverJob,
    Drive,
    Mixdown,
    RenderedStem,
    StemJob,
    deliver_step,
    stem_step,
)
from flows.storage.locations import Place
from flows.storage.mirror import shared_folder
from pipeline.console.delivery import Density
from pipeline.plan import Plan

__all__ = ["balance_jobs", "deliver", "render_stems"]


def balance_jobs(
    plan: Plan, names: Sequence[str], root: Path, store: Place, contents: Mapping[str, str]
) -> list[BalanceJob]:
    """Return the jobs that sum the tracks of stems.

    Parameters
    ----------
    names
        Of the stems, in the plan's order.
    root
        Folder of the tracks.
    contents
        A hash of each track's file, by its path.
    """
    return [
        BalanceJob(
            plan,
            name,
            shared_folder(root, [t.path for t in plan.tracks if t.subgroup == name]),
            store,
            contents,
        )
        for name in names
    ]


def render_stems(
    engine: Engine, plan: Plan, jobs: Sequence[BalanceJob], balanced: Sequence[BalancedStem]
) -> dict[str, RenderedStem]:
    """Take balanced stems through their strips; return them by name, in the order of the jobs."""
    strips = {stem.name: stem for stem in plan.stems}
    names = [job.subgroup for job in jobs]
    rendered = engine.map(
        stem_step,
        [
            StemJob(
                job,
                stem,
                strips[stem.name].settings,
                strips[stem.name].level_lufs,
                plan.bus["width"],
            )
            for job, stem in zip(jobs, balanced, strict=True)
        ],
        name="console",
        labels=names,
    )
    return dict(zip(names, rendered, strict=True))


def deliver(
    engine: Engine,
    plan: Plan,
    rendered: Mapping[str, RenderedStem],
    store: Place,
    *,
    density: Density | None = None,
    drive: Drive | None = None,
) -> Mixdown:
    """Sum stems and take them through bus and limiter to the loudness that the plan asks for.

    Parameters
    ----------
    density
        What of crest and peaks is to be followed; None for what the loudness needs.
    drive
        Where the search for the loudness begins; None where nothing is known of it.
    """
    return engine.run(
        deliver_step,
        DeliverJob(
            tuple(rendered.values()),
            plan.bus,
            plan.sample_rate,
            plan.frames,
            plan.delivery.target_lufs,
            density,
            plan.delivery,
            store,
            drive,
        ),
        name="deliver",
        label="bus, limiter, loudness",
    )
