"""The recipe of a mix, written once and run by any engine: check, analyse, balance, style, render.

Everything is written into a temporary neighbour of the output folder, which is renamed when it is
whole: an interrupted run leaves nothing half-written, and what its steps found stays in the store.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from flows.analysis import AnalysedSession, analyse_session
from flows.console_settings import ConsoleSettings, find_console_settings
from flows.decisions import (
    first_plan,
    intended_levels,
    is_centred,
    most_spread,
    refined_plan,
    start_gains,
)
from flows.engine import Engine, run_recipe
from flows.mix_page import mix_page, track_sheet
from flows.outcome import MixOutcome, write_outcome
from flows.output_folder import choose_folder, new_folder
from flows.progress import Progress, SilentProgress
from flows.session_notes import track_notes
from flows.settings import MixSettings
from flows.steps import (
    BalanceJob,
    BusJob,
    Mixdown,
    StemJob,
    TrackJob,
    balance_step,
    bus_step,
    passages,
    stem_step,
)
from flows.store import Store, default_root
from flows.style_steps import ConsoleJob, HeardReference, style_step
from pipeline.delivery import DEFAULT_LUFS, parse_target
from pipeline.plan import Aspect, Delivery
from pipeline.problems import InputError, Problem
from pipeline.render import stem_file_names
from pipeline.stem_sum import allow_open_files
from stage2.style import Style, blend, measure_style

__all__ = ["mix_session"]

_HIGHEST_TARGET_LUFS = -6.0
# What the cache may grow to; what was used within an hour is kept all the same.
_STORE_BYTES = 10 * 1024**3

_SUBTYPES: dict[str, Literal["PCM_16", "PCM_24", "FLOAT"]] = {
    "16": "PCM_16",
    "24": "PCM_24",
    "float": "FLOAT",
}


def _recipe(
    engine: Engine,
    *,
    root: Path,
    settings: MixSettings,
    folder: Path,
    faults: Sequence[Problem],
    store: Path,
    progress: Progress,
    began: float,
) -> MixOutcome:
    analysed = analyse_session(engine, root, settings=settings, store=store, faults=faults)
    session = analysed.session
    target = parse_target(settings.target)
    ceiling = target.ceiling_dbtp if settings.ceiling_dbtp is None else settings.ceiling_dbtp
    plan = first_plan(analysed, folder)
    names = [stem.name for stem in plan.stems]
    allow_open_files(len(plan.tracks) + len(plan.stems))
    engine.publish_table(
        f"tracks-{session.root.name}",
        track_sheet(plan, analysed),
        title="What each track is, and what was decided for it; search ⚠ for what to look at",
    )

    stems = engine.map(
        balance_step,
        [BalanceJob(plan, name, session.root, store) for name in names],
        name="balance",
        labels=names,
    )
    intended = intended_levels(plan, analysed, stems)
    gains_db, start = start_gains(stems, intended, session.sample_rate)
    start_style = measure_style(start, sample_rate=session.sample_rate)

    heard: list[HeardReference] = []
    reference_style: Style | None = None
    if session.references:
        heard = engine.map(
            style_step,
            [TrackJob(path, path.name, store) for path in session.references],
            name="style",
            labels=[path.name for path in session.references],
        )
        _refuse_unheard(session.references, [reference.style for reference in heard])
        reference_style = blend([reference.style for reference in heard])
    target_lufs = target.loudness_lufs
    if target_lufs is None:
        target_lufs = DEFAULT_LUFS
        if reference_style is not None:
            target_lufs = min(reference_style.loudness_lufs, _HIGHEST_TARGET_LUFS)
    target_lufs = round(target_lufs, 2)

    sounding = [stem for stem in stems if not stem.silent]
    found: ConsoleSettings | None = None
    if reference_style is not None and settings.strength > 0.0 and sounding and settings.match:
        found = find_console_settings(
            engine,
            ConsoleJob(
                stems=tuple(sounding),
                start_gain_db=tuple(gains_db[stem.name] for stem in sounding),
                centred=tuple(is_centred(stem.name, plan.tracks) for stem in sounding),
                max_spread=tuple(most_spread(stem.name) for stem in sounding),
                style=reference_style,
                references=session.references,
                match=settings.match,
                target_lufs=target_lufs,
                ceiling_dbtp=ceiling,
                sample_rate=session.sample_rate,
                pieces=tuple(passages(session.frames, session.sample_rate)),
                store=store,
                windows=tuple(reference.windows for reference in heard),
            ),
            settings=settings,
            progress=progress,
        )
    note = "" if found is None else found.note
    plan = refined_plan(plan, found, gains_db, settings.strength)
    plan = plan.model_copy(
        update={
            "delivery": Delivery(
                target=settings.target,
                target_lufs=target_lufs,
                limiter_ceiling_dbtp=ceiling,
                format=settings.format,
                subtype=_SUBTYPES[settings.subtype],
                dither_seed=settings.seed,
            ),
            "notes": (*plan.notes, note) if note else plan.notes,
        }
    )

    with new_folder(folder) as part:
        files = stem_file_names(plan)
        summaries = engine.map(
            stem_step,
            [
                StemJob(
                    plan,
                    name,
                    session.root,
                    part / "stems" / file,
                    part / "balanced" / file if settings.keep else None,
                    store,
                )
                for name, file in files.items()
            ],
            name="console",
            labels=list(files),
        )
        crest = None
        if found is not None and reference_style is not None:
            crest = _crest_wanted(reference_style, start_style, settings)
        mix_path = part / f"mix.{settings.format}"
        mixdown = engine.run(
            bus_step,
            BusJob(
                plan,
                tuple(part / "stems" / file for file in files.values()),
                mix_path,
                target_lufs,
                crest,
            ),
            name="deliver",
            label="bus, limiter, loudness",
        )
        plan = plan.model_copy(
            update={
                "bus": {**plan.bus, "gain_db": mixdown.drive_db},
                "delivery": plan.delivery.model_copy(update={"trim_db": mixdown.trim_db}),
            }
        )
        outcome = MixOutcome(
            folder=part,
            plan=plan,
            analysed=analysed,
            settings=settings,
            stems=dict(zip(files, summaries, strict=True)),
            stem_targets_lu=intended,
            mixdown=mixdown,
            start_style=start_style,
            reference_style=reference_style,
            found=found,
            target_lufs=target_lufs,
            seconds=time.monotonic() - began,
            warnings=_warnings(analysed, mixdown, target_lufs, note),
        )
        written = engine.run(write_outcome, outcome, name="report", label="plan, tables, report")
        engine.publish_page(
            f"mix-{session.root.name}",
            functools.partial(mix_page, outcome, folder),
            title=session.root.name,
            report=folder / written["report"].name,
        )
    return replace(
        outcome,
        folder=folder,
        stems={
            name: replace(
                summary,
                path=_moved(summary.path, part, folder),
                balanced_path=_moved(summary.balanced_path, part, folder),
            )
            for name, summary in outcome.stems.items()
        },
        seconds=time.monotonic() - began,
        files={name: folder / path.relative_to(part) for name, path in written.items()},
    )


def _refuse_unheard(references: Sequence[Path], styles: Sequence[Style]) -> None:
    problems = [
        Problem(f"reference {path.name}", "is never over -70 LUFS", "name a recording with sound")
        for path, style in zip(references, styles, strict=True)
        if not math.isfinite(style.loudness_lufs)
    ]
    if problems:
        raise InputError(problems)


def _moved(path: Path | None, part: Path, folder: Path) -> Path | None:
    return None if path is None else folder / path.relative_to(part)


def _crest_wanted(reference: Style, start: Style, settings: MixSettings) -> float | None:
    if Aspect.DYNAMICS not in settings.match:
        return None
    return start.crest_db + settings.strength * (reference.crest_db - start.crest_db)


def _warnings(
    analysed: AnalysedSession, mixdown: Mixdown, target_lufs: float, note: str
) -> tuple[str, ...]:
    found = list(track_notes(analysed))
    missing = target_lufs - mixdown.loudness.integrated_lufs
    if not math.isfinite(missing):
        found.append("the mix is silent: nothing that is heard in it is over -70 LUFS")
    if math.isfinite(missing) and abs(missing) > 0.3:
        found.append(
            f"the mix is {mixdown.loudness.integrated_lufs:.1f} LUFS and {target_lufs:.1f} was "
            "asked for: the limiter can give no more"
        )
    if note:
        found.append(note)
    return tuple(found)


def mix_session(
    session: Path,
    *,
    settings: MixSettings,
    folder: Path | None = None,
    store: Path | None = None,
    progress: Progress | None = None,
) -> MixOutcome:
    """Mix a session from its raw tracks to the delivered file.

    Parameters
    ----------
    session
        The folder of raw tracks.
    settings
        All that can be chosen.
    folder
        Where everything is written; must not exist or be empty. Default: one in ``mixes``, in the
        session.
    store
        The cache of steps; the user's own by default.
    progress
        Told of each phase.

    Raises
    ------
    InputError
        With every problem of the input at once, before anything is written.
    """
    began = time.monotonic()
    name = settings.references[0].stem if settings.references else "balance"
    chosen, faults = choose_folder(folder, session, name)

    def recipe(engine: Engine) -> MixOutcome:
        return _recipe(
            engine,
            root=session,
            settings=settings,
            folder=chosen,
            faults=faults,
            store=store or default_root(),
            progress=progress or SilentProgress(),
            began=began,
        )

    outcome = run_recipe(
        session.resolve().name,
        recipe,
        engine=settings.engine,
        workers=settings.workers,
        progress=progress,
    )
    with contextlib.suppress(OSError):  # the mix is made: tidying may fail
        Store(store).prune(_STORE_BYTES)
    return outcome
