"""The recipe of a mix, written once and run by any engine: check, analyse, balance, style, render.

Everything is written into a temporary neighbour of the output folder, which is renamed when it is
whole: an interrupted run leaves nothing half-written, and what its steps found stays in the store.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from flows.dashboard.tags import Listing, run_tags
from flows.engines.base import Engine
from flows.engines.run import SharedFolders, run_recipe
from flows.mix.analysis import AnalysedSession, analyse_session
from flows.mix.costs import mix_costs
from flows.mix.files import copy_mix, copy_rendered, in_their_place
from flows.mix.match import Balance, Goal, find_goal, match_style
from flows.mix.notes import track_notes
from flows.mix.page import mix_page, track_sheet
from flows.mix.plan import (
    delivered_plan,
    encoder_notes,
    first_plan,
    intended_levels,
    refined_plan,
    requested_faders,
    start_gains,
)
from flows.mix.requests import (
    LevelRequests,
    RequestResult,
    panned_stems,
    plan_without_requests,
    request_results,
    with_requests,
)
from flows.mix.result import MixOutcome, write_outcome
from flows.mix.stems import balance_jobs, deliver, render_stems
from flows.mix.steps.balance import BalancedStem, BalanceJob, balance_step
from flows.mix.steps.render import (
    Mixdown,
    RenderedStem,
)
from flows.mix.steps.search import ConsoleSettings
from flows.mix.steps.style import HeardReference
from flows.progress import Progress, guarded
from flows.settings import MixSettings
from flows.storage.locations import Place, inside, name_of, parse_place, stem_of
from flows.storage.output_folder import choose_folder, new_folder, reserved
from flows.storage.source_files import refuse_changed
from flows.storage.store import Store, chosen_root, made_whole
from pipeline.audio.tags import folder_tags
from pipeline.errors import Problem
from pipeline.plan import Delivery, Plan
from pipeline.render.tracks import allow_open_files
from stage2.style.measure import measure_style

__all__ = ["mix_session"]

# What the cache may grow to; what was used within an hour is kept all the same.
_STORE_BYTES = 10 * 1024**3

_SUBTYPES: dict[str, Literal["PCM_16", "PCM_24", "FLOAT"]] = {
    "16": "PCM_16",
    "24": "PCM_24",
    "float": "FLOAT",
}


@dataclass(frozen=True)
class _Run:
    """What every phase of a mix needs.

    Parameters
    ----------
    began
        On the monotonic clock, in seconds.
    """

    engine: Engine
    settings: MixSettings
    store: Place
    progress: Progress
    began: float


@dataclass(frozen=True)
class _Balanced:
    """The balanced mix.

    Parameters
    ----------
    stems
        As the plan has them, with what ``session.toml`` asks of tracks; in the plan's order.
    plain
        The same without what it asks of levels.
    intended_lu
        Level of each stem that the balance aims at.
    """

    plan: Plan
    jobs: list[BalanceJob]
    stems: list[BalancedStem]
    balance: Balance
    intended_lu: Mapping[str, float]
    requests: LevelRequests

    @property
    def plain(self) -> Sequence[BalancedStem]:
        return self.balance.stems


def _analyse(run: _Run, root: Place, faults: Sequence[Problem]) -> AnalysedSession:
    return analyse_session(
        run.engine,
        root,
        settings=run.settings,
        store=run.store,
        faults=faults,
        progress=run.progress,
        on_tracks=lambda lengths_s: run.progress.expect(
            mix_costs(
                run.settings,
                tracks=len(lengths_s),
                sounding_s=sum(lengths_s),
                longest_s=max(lengths_s, default=0.0),
            )
        ),
    )


def _mix(run: _Run, analysed: AnalysedSession, folder: Place) -> MixOutcome:
    """Balance, match, render and write a session that is analysed."""
    balanced = _balance(run, analysed, folder)
    session, start = analysed.session, balanced.balance
    goal = find_goal(run.engine, session, start.style, settings=run.settings, store=run.store)
    matched = match_style(
        run.engine, balanced.plan, session, start, goal,
        settings=run.settings, store=run.store, progress=run.progress,
    )  # fmt: skip
    plan, results = _plan(run, analysed, balanced, goal, matched)
    rendered = render_stems(run.engine, plan, balanced.jobs, balanced.stems)
    density = None if matched is None else goal.density(start.style, run.settings)
    mixdown = deliver(run.engine, plan, rendered, run.store, density=density)
    of_encoder = encoder_notes(plan, mixdown)
    plan = delivered_plan(plan, mixdown).model_copy(update={"notes": (*plan.notes, *of_encoder)})
    notes = (*_notes(goal, matched), *of_encoder)
    outcome = MixOutcome(
        folder=folder,
        plan=plan,
        analysed=analysed,
        settings=run.settings,
        stems={},
        stem_targets_lu=balanced.requests.levels(balanced.intended_lu),
        mixdown=mixdown,
        start_style=start.style,
        reference_style=goal.style,
        target=None if matched is None else goal.target,
        found=matched,
        target_lufs=goal.target_lufs,
        seconds=time.monotonic() - run.began,
        warnings=_warnings(analysed, mixdown, goal.target_lufs, notes, results),
        requests=results,
        references=goal.references,
        url=folder if isinstance(folder, str) else "",
    )
    return _write(run, outcome, rendered, balanced.stems)


def _balance(run: _Run, analysed: AnalysedSession, folder: Place) -> _Balanced:
    """Sum the tracks of each stem, and find the faders that give the intended balance."""
    session = analysed.session
    plan = first_plan(analysed, folder)
    names = [stem.name for stem in plan.stems]
    allow_open_files(len(plan.tracks) + len(plan.stems))
    run.engine.publish_table(
        f"tracks-{session.root.name}",
        track_sheet(plan, analysed),
        title="What each track is, and what was decided for it; search ⚠ for what to look at",
    )
    jobs = balance_jobs(plan, names, session.root, run.store, analysed.contents)
    without = plan_without_requests(plan, analysed)
    # What was asked of tracks stays in the mix: a stem's fader is found from the stem without it.
    asked = [
        name
        for name in names
        if any(
            a != b for a, b in zip(plan.tracks, without.tracks, strict=True) if name == a.subgroup
        )
    ]
    plain_jobs = [replace(j, plan=without) for j in jobs if j.subgroup in asked]
    summed = run.engine.map(
        balance_step,
        [*jobs, *plain_jobs],
        name="balance",
        labels=[*names, *(f"{name} as balanced" for name in asked)],
    )
    kept = Store(run.store)
    summed = [replace(stem, excerpt=kept.local(stem.excerpt)) for stem in summed]
    stems = summed[: len(names)]
    as_balanced = {stem.name: stem for stem in summed[len(names) :]}
    plain = [as_balanced.get(stem.name, stem) for stem in stems]
    intended = intended_levels(plan, analysed, plain)
    gains_db, start = start_gains(plain, intended, session.sample_rate)
    requests, start = LevelRequests.measured(
        requested_faders(plan, analysed, plain), plain, stems, gains_db, start, session.sample_rate
    )
    style = measure_style(start, sample_rate=session.sample_rate)
    balance = Balance(plain, gains_db, style, panned_stems(plan, analysed))
    return _Balanced(plan, jobs, stems, balance, intended, requests)


def _plan(
    run: _Run,
    analysed: AnalysedSession,
    balanced: _Balanced,
    goal: Goal,
    matched: ConsoleSettings | None,
) -> tuple[Plan, tuple[RequestResult, ...]]:
    """Return the plan with all that was decided, and what comes of each request."""
    settings, balance = run.settings, balanced.balance
    before = refined_plan(
        balanced.plan,
        matched,
        balance.gains_db,
        {stem.name: stem.loudness_lufs for stem in balance.stems},
        settings.strength,
    )
    panned = balance.panned if matched is not None else {}
    plan = with_requests(before, balanced.requests, panned)
    results = request_results(plan, before, analysed, balanced.plain, balanced.stems)
    name = analysed.session.root.name
    decided = {
        "delivery": _delivery(settings, name, goal.target_lufs, goal.ceiling_dbtp),
        "notes": (*plan.notes, *_notes(goal, matched)),
    }
    return plan.model_copy(update=decided), results


def _notes(goal: Goal, matched: ConsoleSettings | None) -> tuple[str, ...]:
    if matched is None or not matched.note:
        return goal.notes
    return (*goal.notes, matched.note)


def _write(
    run: _Run,
    outcome: MixOutcome,
    rendered: Mapping[str, RenderedStem],
    balanced: Sequence[BalancedStem],
) -> MixOutcome:
    """Write a mix into its folder, whole or not at all."""
    engine, kept = run.engine, Store(run.store)
    plan, analysed, folder = outcome.plan, outcome.analysed, outcome.folder
    session = analysed.session
    with new_folder(folder) as part:
        summaries = copy_rendered(
            kept, plan, rendered, part, balanced=balanced if run.settings.keep else ()
        )
        copy_mix(kept, outcome.mixdown, plan, part)
        outcome = replace(
            outcome,
            folder=part,
            stems=summaries,
            seconds=time.monotonic() - run.began,
            steps=engine.counts.record(),
        )
        written = engine.run(write_outcome, outcome, name="report", label="plan, tables, report")
        refuse_changed(kept, *_sources(analysed, outcome.references))
        engine.publish_page(
            f"mix-{session.root.name}",
            functools.partial(mix_page, outcome, folder),
            title=session.root.name,
            report=inside(folder, written["report"].name),
        )
    return in_their_place(outcome, part, folder, written, seconds=time.monotonic() - run.began)


def _sources(
    analysed: AnalysedSession, heard: Sequence[HeardReference]
) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the files that a mix is made from, and what was seen in them, by name."""
    session = analysed.session
    files = {track.name: track.path for track in session.tracks}
    contents = dict(analysed.contents)
    for path, reference in zip(session.references, heard, strict=False):
        files[f"reference {path}"] = path
        contents[f"reference {path}"] = reference.content
    return files, contents


def _delivery(
    settings: MixSettings, folder_name: str, target_lufs: float, ceiling_dbtp: float
) -> Delivery:
    """Return how the mix is to be delivered, with what is known of the song by its folder."""
    tags = folder_tags(folder_name)
    return Delivery(
        target=settings.target,
        target_lufs=target_lufs,
        limiter_ceiling_dbtp=ceiling_dbtp,
        format=settings.format,
        subtype=_SUBTYPES[settings.subtype],
        dither_seed=settings.seed,
        title=tags["title"] if settings.title is None else settings.title,
        artist=tags["artist"] if settings.artist is None else settings.artist,
        album=settings.album or "",
        date=settings.date or "",
    )


def _warnings(
    analysed: AnalysedSession,
    mixdown: Mixdown,
    target_lufs: float,
    notes: Sequence[str],
    requests: Sequence[RequestResult],
) -> tuple[str, ...]:
    found = list(track_notes(analysed))
    missing = target_lufs - mixdown.loudness.integrated_lufs
    if not math.isfinite(missing):
        found.append("the mix is silent: nothing that is heard in it is over -70 LUFS")
    if math.isfinite(missing) and abs(missing) > 0.3:
        found.append(
            f"the mix is {mixdown.loudness.integrated_lufs:.1f} LUFS and {target_lufs:.1f} was "
            "asked for: the limiter would have to work harder than goes unheard; ask for a "
            "--target that it reaches, or compress what peaks"
        )
    missed = [str(result) for result in requests if not result.kept]
    return (*found, *notes, *missed)


def mix_session(
    session: Place,
    *,
    settings: MixSettings,
    folder: Place | None = None,
    store: Place | None = None,
    progress: Progress | None = None,
    parent_run: str | None = None,
) -> MixOutcome:
    """Mix a session from its raw tracks to the delivered file.

    Parameters
    ----------
    session
        The folder of raw tracks, or the URL of one.
    settings
        All that can be chosen.
    folder
        Where everything is written, a folder or a URL; must not exist or be empty. Default: one
        in ``mixes``, in the session.
    store
        The cache of steps, a folder or a URL; the user's own by default.
    progress
        Told of each phase.
    parent_run
        Identifier of the flow run that shows the mix as a part of it.

    Raises
    ------
    InputError
        With every problem of the input at once, before anything is written.
    """
    began = time.monotonic()
    progress = guarded(progress)
    session, store = parse_place(session), chosen_root(store)
    name = stem_of(settings.references[0]) if settings.references else "balance"
    chosen, faults = choose_folder(folder, session, name)

    def recipe(engine: Engine) -> MixOutcome:
        engine.log(f"session: {session}")
        for reference in settings.references:
            engine.log(f"reference: {reference}")
        run = _Run(engine, settings, store, progress, began)

        def mixed() -> MixOutcome:
            analysed = _analyse(run, session, faults)
            with reserved(chosen, is_own=folder is None) as place:
                return _mix(run, analysed, place)

        outcome = made_whole(mixed, store)
        for warning in outcome.warnings:
            engine.log(warning, warning=True)
        for file, place in outcome.files.items():
            engine.log(f"{file}: {place}")
        return outcome

    kinds = ("mix",) if parent_run is None else ("mix", "catalogue")
    outcome = run_recipe(
        name_of(session),
        recipe,
        engine=settings.engine,
        dask=settings.dask,
        # One reference is heard by this process, several by workers.
        folders=SharedFolders(
            reads=[session, *(settings.recordings if len(settings.recordings) > 1 else ())],
            writes=[store],
        ),
        workers=settings.workers,
        progress=progress,
        listing=Listing(tags=run_tags(*kinds, session=name_of(session)), parent_run=parent_run),
    )
    with contextlib.suppress(OSError):  # the mix is made: tidying may fail
        Store(store).tidy(_STORE_BYTES)
    return outcome
