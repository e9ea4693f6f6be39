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

from flows.dashboard.tags import run_tags
from flows.engines.base import Engine
from flows.engines.run import run_recipe
from flows.mix.analysis import AnalysedSession, analyse_session
from flows.mix.costs import mix_costs
from flows.mix.files import copy_mix, copy_rendered, in_their_place
from flows.mix.notes import track_notes
from flows.mix.page import mix_page, track_sheet
from flows.mix.plan import (
    delivered_plan,
    encoder_notes,
    first_plan,
    intended_levels,
    is_centred,
    most_spread,
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
from flows.mix.steps.balance import BalanceJob, balance_step, passages
from flows.mix.steps.render import DeliverJob, Mixdown, StemJob, deliver_step, stem_step
from flows.mix.steps.search import ConsoleSettings, find_console_settings
from flows.mix.steps.style import ConsoleJob, HeardReference, reference_notes, style_step
from flows.mix.steps.tracks import TrackJob
from flows.progress import Progress, guarded
from flows.settings import MixSettings
from flows.storage.locations import Place, inside, name_of, parse_place, stem_of
from flows.storage.mirror import shared_file, shared_folder
from flows.storage.output_folder import choose_folder, new_folder, reserved
from flows.storage.source_files import refuse_changed
from flows.storage.store import Store, chosen_root, made_whole
from pipeline.audio.tags import folder_tags
from pipeline.console.delivery import (
    DEFAULT_LUFS,
    HIGHEST_REFERENCE_LUFS,
    Density,
    Target,
    is_as_loud,
    parse_target,
)
from pipeline.console.parameters import Aspect
from pipeline.errors import InputError, Problem
from pipeline.plan import Delivery
from pipeline.render.tracks import allow_open_files
from stage2.reference.trust import wanted_style
from stage2.style.measure import Style, measure_style

__all__ = ["mix_session"]

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
    root: Place,
    settings: MixSettings,
    folder: Place,
    is_own: bool,
    faults: Sequence[Problem],
    store: Place,
    progress: Progress,
    began: float,
) -> MixOutcome:
    analysed = analyse_session(
        engine,
        root,
        settings=settings,
        store=store,
        faults=faults,
        progress=progress,
        on_tracks=lambda lengths_s: progress.expect(
            mix_costs(
                settings,
                tracks=len(lengths_s),
                sounding_s=sum(lengths_s),
                longest_s=max(lengths_s, default=0.0),
            )
        ),
    )
    with reserved(folder, is_own=is_own) as folder:
        return _mix_analysed(
            engine,
            analysed,
            settings=settings,
            folder=folder,
            store=store,
            progress=progress,
            began=began,
        )


def _mix_analysed(
    engine: Engine,
    analysed: AnalysedSession,
    *,
    settings: MixSettings,
    folder: Place,
    store: Place,
    progress: Progress,
    began: float,
) -> MixOutcome:
    session = analysed.session
    target = parse_target(settings.target)
    ceiling = target.ceiling_dbtp if settings.ceiling_dbtp is None else settings.ceiling_dbtp
    plan = first_plan(analysed, folder)
    names = [stem.name for stem in plan.stems]
    places = {
        name: shared_folder(session.root, [t.path for t in plan.tracks if t.subgroup == name])
        for name in names
    }
    allow_open_files(len(plan.tracks) + len(plan.stems))
    engine.publish_table(
        f"tracks-{session.root.name}",
        track_sheet(plan, analysed),
        title="What each track is, and what was decided for it; search ⚠ for what to look at",
    )

    balances = [BalanceJob(plan, name, places[name], store, analysed.contents) for name in names]
    without = plan_without_requests(plan, analysed)
    # What was asked of tracks stays in the mix: a stem's fader is found from the stem without it.
    asked = [
        name
        for name in names
        if any(
            a != b for a, b in zip(plan.tracks, without.tracks, strict=True) if name == a.subgroup
        )
    ]
    plain_jobs = [replace(j, plan=without) for j in balances if j.subgroup in asked]
    summed = engine.map(
        balance_step,
        [*balances, *plain_jobs],
        name="balance",
        labels=[*names, *(f"{name} as balanced" for name in asked)],
    )
    kept = Store(store)
    summed = [replace(stem, excerpt=kept.local(stem.excerpt)) for stem in summed]
    stems = summed[: len(names)]
    as_balanced = {stem.name: stem for stem in summed[len(names) :]}
    plain = [as_balanced.get(stem.name, stem) for stem in stems]
    intended = intended_levels(plan, analysed, plain)
    gains_db, start = start_gains(plain, intended, session.sample_rate)
    requests, start = LevelRequests.measured(
        requested_faders(plan, analysed, plain), plain, stems, gains_db, start, session.sample_rate
    )
    panned = panned_stems(plan, analysed)
    start_style = measure_style(start, sample_rate=session.sample_rate)

    heard: list[HeardReference] = []
    reference_style: Style | None = None
    donors: tuple[Style, ...] = ()
    if session.references:
        heard = engine.map(
            style_step,
            [TrackJob(shared_file(path), path.name, store) for path in session.references],
            name="style",
            labels=[path.name for path in session.references],
        )
        _refuse_unheard(session.references, [reference.style for reference in heard])
        reference_style, donors = wanted_style(
            [(reference.style, reference.condition.trust) for reference in heard], start_style
        )
    full_lufs, target_lufs = _targets_lufs(target, reference_style, settings.strength)

    sounding = [stem for stem in plain if not stem.silent]
    found: ConsoleSettings | None = None
    if reference_style is not None and settings.strength > 0.0 and sounding and settings.match:
        found = find_console_settings(
            engine,
            ConsoleJob(
                stems=tuple(sounding),
                start_gain_db=tuple(gains_db[stem.name] for stem in sounding),
                centred=tuple(
                    stem.name in panned or is_centred(stem.name, plan.tracks) for stem in sounding
                ),
                max_spread=tuple(
                    0.0 if panned.get(stem.name) else most_spread(stem.name) for stem in sounding
                ),
                style=_style_at(reference_style, start_style, full_lufs),
                references=tuple(shared_file(path) for path in session.references),
                match=settings.match,
                target_lufs=full_lufs,
                ceiling_dbtp=ceiling,
                sample_rate=session.sample_rate,
                pieces=tuple(passages(session.frames, session.sample_rate)),
                store=store,
                windows=tuple(reference.windows for reference in heard),
                conditions=tuple(reference.condition for reference in heard),
                donors=donors,
            ),
            settings=settings,
            progress=progress,
        )
    notes = reference_notes(session.references, heard)
    if found is not None and found.note:
        notes = (*notes, found.note)
    before = refined_plan(plan, found, gains_db, settings.strength)
    plan = with_requests(before, requests, panned if found is not None else {})
    results = request_results(plan, before, analysed, plain, stems)
    plan = plan.model_copy(
        update={
            "delivery": _delivery(settings, session.root.name, target_lufs, ceiling),
            "notes": (*plan.notes, *notes),
        }
    )

    settings_of = {stem.name: stem.settings for stem in plan.stems}
    rendered = engine.map(
        stem_step,
        [
            StemJob(job, stem, settings_of[stem.name], plan.bus["width"])
            for job, stem in zip(balances, stems, strict=True)
        ],
        name="console",
        labels=names,
    )
    density = None
    if found is not None and reference_style is not None:
        density = _density_wanted(reference_style, start_style, settings, full_lufs)
    mixdown = engine.run(
        deliver_step,
        DeliverJob(
            tuple(rendered),
            plan.bus,
            plan.sample_rate,
            plan.frames,
            target_lufs,
            density,
            plan.delivery,
            store,
        ),
        name="deliver",
        label="bus, limiter, loudness",
    )
    of_encoder = encoder_notes(plan, mixdown)
    notes = (*notes, *of_encoder)
    plan = delivered_plan(plan, mixdown).model_copy(update={"notes": (*plan.notes, *of_encoder)})
    with new_folder(folder) as part:
        summaries = copy_rendered(
            kept,
            plan,
            dict(zip(names, rendered, strict=True)),
            part,
            balanced=stems if settings.keep else (),
        )
        copy_mix(kept, mixdown, plan, part)
        outcome = MixOutcome(
            folder=part,
            plan=plan,
            analysed=analysed,
            settings=settings,
            stems=summaries,
            stem_targets_lu=requests.levels(intended),
            mixdown=mixdown,
            start_style=start_style,
            reference_style=reference_style,
            found=found,
            target_lufs=target_lufs,
            seconds=time.monotonic() - began,
            warnings=_warnings(analysed, mixdown, target_lufs, notes, results),
            requests=results,
            references=tuple(heard),
            steps=engine.counts.record(),
            url=folder if isinstance(folder, str) else "",
        )
        written = engine.run(write_outcome, outcome, name="report", label="plan, tables, report")
        refuse_changed(kept, *_sources(analysed, heard))
        engine.publish_page(
            f"mix-{session.root.name}",
            functools.partial(mix_page, outcome, folder),
            title=session.root.name,
            report=inside(folder, written["report"].name),
        )
    return in_their_place(outcome, part, folder, written, seconds=time.monotonic() - began)


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


def _refuse_unheard(references: Sequence[Path], styles: Sequence[Style]) -> None:
    problems = [
        Problem(f"reference {path.name}", "is never over -70 LUFS", "name a recording with sound")
        for path, style in zip(references, styles, strict=True)
        if not math.isfinite(style.loudness_lufs)
    ]
    if problems:
        raise InputError(problems)


def _targets_lufs(target: Target, reference: Style | None, strength: float) -> tuple[float, float]:
    """Return the loudness at full strength, which the style is judged at, and the mix's."""
    if target.loudness_lufs is not None:
        full = wanted = target.loudness_lufs
    elif reference is None:
        full = wanted = DEFAULT_LUFS
    else:
        full = min(reference.loudness_lufs, HIGHEST_REFERENCE_LUFS)
        wanted = full if strength == 1.0 else DEFAULT_LUFS + strength * (full - DEFAULT_LUFS)
    return round(full, 2), round(wanted, 2)


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


def _style_at(reference: Style, start: Style, target_lufs: float) -> Style:
    """Return the style to be followed: the reference's, as dense as the loudness needs.

    What a limiter and compressors took off the reference's peaks for its loudness is given back by
    as much as the target is lower, as far as the balanced mix has it.
    """
    if is_as_loud(target_lufs, reference.loudness_lufs):
        return reference
    room_db = reference.loudness_lufs - target_lufs

    def restored(dense: float, plain: float) -> float:
        return max(dense, min(dense + room_db, plain))

    return replace(
        reference,
        crest_db=restored(reference.crest_db, start.crest_db),
        peak_to_loudness_db=restored(reference.peak_to_loudness_db, start.peak_to_loudness_db),
    )


def _density_wanted(
    reference: Style, start: Style, settings: MixSettings, full_lufs: float
) -> Density | None:
    """Return the density to follow; None where it is not wanted or the loudness needs none."""
    as_loud = is_as_loud(full_lufs, reference.loudness_lufs)
    if Aspect.DYNAMICS not in settings.match or not as_loud:
        return None

    def blended(name: str) -> float:
        first, last = getattr(start, name), getattr(reference, name)
        return float(first + settings.strength * (last - first))

    return Density(blended("crest_db"), blended("peak_to_loudness_db"))


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
            "asked for: the limiter can give no more; ask for a --target that it reaches, or "
            "compress what peaks"
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
        outcome = made_whole(
            lambda: _recipe(
                engine,
                root=session,
                settings=settings,
                folder=chosen,
                is_own=folder is None,
                faults=faults,
                store=store,
                progress=progress,
                began=began,
            ),
            store,
        )
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
        reads=[session, *(settings.references if len(settings.references) > 1 else ())],
        writes=[store],
        workers=settings.workers,
        progress=progress,
        tags=run_tags(*kinds, session=name_of(session)),
        parent_run=parent_run,
    )
    with contextlib.suppress(OSError):  # the mix is made: tidying may fail
        Store(store).tidy(_STORE_BYTES)
    return outcome
