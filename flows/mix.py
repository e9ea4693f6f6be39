"""The recipe of a mix, written once and run by any engine: check, analyse, balance, style, render.

Everything is written into a temporary neighbour of the output folder, which is renamed when it is
whole: an interrupted run leaves nothing half-written, and what its steps found stays in the store.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from flows.engine import Engine, run_recipe
from flows.outcome import track_rows, write_outcome
from flows.progress import Progress, SilentProgress
from flows.settings import MixSettings
from flows.steps import (
    BalancedStem,
    BalanceJob,
    BusJob,
    Mixdown,
    RefineJob,
    StemJob,
    TrackJob,
    analyse_step,
    balance_step,
    bus_step,
    check_step,
    passages,
    refine_step,
    stem_step,
    style_step,
)
from flows.store import default_root
from pipeline.check import TrackCheck
from pipeline.delivery import DEFAULT_LUFS, parse_target
from pipeline.plan import (
    BUS,
    STRIP,
    Aspect,
    Delivery,
    Plan,
    StemPlan,
    TrackPlan,
    default_settings,
)
from pipeline.problems import InputError, Problem
from pipeline.render import StemSummary, stem_file_names
from pipeline.roles import CENTRED_SUBGROUPS, Presence, Role, Subgroup
from pipeline.session import Session, find_session, settle
from stage1.balance import TrackBalance, balance, stem_targets
from stage1.features import TrackFeatures
from stage1.placement import Placement, place
from stage1.subgroups import Recognition, recognise
from stage2.refine import Refined, blend_settings
from stage2.style import Style, blend, measure_style, style_distance

__all__ = ["AnalysedSession", "MixOutcome", "analyse_session", "mix_session", "new_folder"]

# Loudness of the stems' sum before the bus: leaves headroom, and meets the thresholds' ranges.
_WORKING_LUFS = -20.0
_HIGHEST_TARGET_LUFS = -6.0

# How much decorrelated side a stem may get: what carries the groove and the words stays solid.
_MAX_SPREAD: dict[str, float] = {
    Subgroup.BASS: 0.0,
    Subgroup.DIALOGUE: 0.0,
    Subgroup.DRUMS: 0.35,
    Subgroup.LEAD_VOCALS: 0.35,
}
_DEFAULT_MAX_SPREAD = 0.7

_SUBTYPES: dict[str, Literal["PCM_16", "PCM_24", "FLOAT"]] = {
    "16": "PCM_16",
    "24": "PCM_24",
    "float": "FLOAT",
}


@dataclass(frozen=True)
class AnalysedSession:
    """A session with everything that stage 1 found and decided, each in the order of its tracks."""

    session: Session
    checks: tuple[TrackCheck, ...]
    features: tuple[TrackFeatures, ...]
    recognitions: tuple[Recognition, ...]
    balances: tuple[TrackBalance, ...]
    placements: tuple[Placement, ...]


@dataclass(frozen=True)
class MixOutcome:
    """What a run made, for whoever presents it.

    Parameters
    ----------
    folder
        Where everything lies, in its final place.
    start_style
        Style of the balanced stems before stage 2, on the excerpt.
    style, reference_style
        Of the whole mix, and the one that was wanted (None without a reference).
    """

    folder: Path
    plan: Plan
    analysed: AnalysedSession
    settings: MixSettings
    stems: Mapping[str, StemSummary]
    stem_targets_lu: Mapping[str, float]
    mixdown: Mixdown
    start_style: Style
    reference_style: Style | None
    refined: Refined | None
    target_lufs: float
    seconds: float
    warnings: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def style(self) -> Style:
        """Style of the delivered mix."""
        return self.mixdown.style


def analyse_session(
    engine: Engine,
    root: Path,
    *,
    settings: MixSettings,
    store: Path,
) -> AnalysedSession:
    """Check and analyse every track, recognise it and decide its gain and pan.

    Raises
    ------
    InputError
        With every problem of the session, before anything is analysed.
    """
    found = find_session(root, references=settings.references, sample_rate=settings.sample_rate)
    tracks = [TrackJob(t.path, t.name, store, settings.f0_mode) for t in found.tracks]
    references = [TrackJob(path, path.name, store) for path in found.references]
    jobs = [*tracks, *references]
    results = engine.map(check_step, jobs, name="check", labels=[job.name for job in jobs])
    checks = {job.name: result for job, result in zip(tracks, results, strict=False)}
    heard = dict(zip(found.references, results[len(tracks) :], strict=True))
    session = settle(found, checks, heard, skip_bad=settings.skip_bad)
    names = [track.name for track in session.tracks]
    features = engine.map(
        analyse_step,
        [TrackJob(t.path, t.name, store, settings.f0_mode) for t in session.tracks],
        name="analyse",
        labels=names,
    )
    overrides = [track.overrides for track in session.tracks]
    recognitions = recognise(names, overrides=overrides)
    balances = balance(features, recognitions, overrides, method=settings.method)
    placements = place(
        recognitions,
        overrides,
        channels=[track.info.channels for track in session.tracks],
        loudness_lufs=[
            f.integrated_lufs + b.gain_db for f, b in zip(features, balances, strict=True)
        ],
        f0_hz=[f.f0_hz for f in features],
    )
    return AnalysedSession(
        session,
        tuple(checks[name] for name in names),
        tuple(features),
        recognitions,
        balances,
        placements,
    )


def _first_plan(analysed: AnalysedSession, settings: MixSettings, folder: Path) -> Plan:
    """Return the plan as stage 1 leaves it: neutral strips and bus."""
    session = analysed.session
    tracks = tuple(
        TrackPlan(
            path=track.name,
            role=str(found.role),
            subgroup=found.subgroup,
            gain_db=round(level.gain_db, 4),
            pan=round(placed.pan, 4),
            offset_s=track.offset_s,
            mute=level.mute,
            reason=f"{level.reason}; {placed.reason}",
        )
        for track, found, level, placed in zip(
            session.tracks,
            analysed.recognitions,
            analysed.balances,
            analysed.placements,
            strict=True,
        )
    )
    present = {track.subgroup for track in tracks}
    order = [*(str(s) for s in Subgroup if s in present), *sorted(present - set(Subgroup))]
    return Plan(
        session=_relative(session.root, folder),
        sample_rate=session.sample_rate,
        frames=session.frames,
        references=tuple(str(path) for path in session.references),
        tracks=tracks,
        stems=tuple(StemPlan(name=name) for name in order),
        notes=session.notes,
    )


def _relative(path: Path, folder: Path) -> str:
    """Return a path relative to a folder, so that both can move together; else absolute."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()


def _intended_levels(
    plan: Plan, analysed: AnalysedSession, stems: Sequence[BalancedStem]
) -> dict[str, float]:
    """Return the intended loudness of each sounding stem against the mix, in LU."""
    roles: dict[str, set[Role]] = {stem.name: set() for stem in stems if not stem.silent}
    leads: set[str] = set()
    for track, found, features in zip(
        plan.tracks, analysed.recognitions, analysed.features, strict=True
    ):
        if track.subgroup in roles and not track.mute and not features.silent:
            roles[track.subgroup].add(found.role)
            if found.presence is Presence.LEAD:
                leads.add(track.subgroup)
    return stem_targets(roles, leads=leads)


def _start_gains(
    stems: Sequence[BalancedStem], intended_lu: Mapping[str, float]
) -> dict[str, float]:
    """Return the fader of each stem that gives the intended balance at the working level."""
    low, high = STRIP[0].low, STRIP[0].high
    return {
        stem.name: 0.0
        if stem.silent
        else round(
            min(max(_WORKING_LUFS + intended_lu[stem.name] - stem.loudness_lufs, low), high), 4
        )
        for stem in stems
    }


def _style_of_start(
    stems: Sequence[BalancedStem], gains_db: Mapping[str, float], sample_rate: int
) -> Style:
    total: np.ndarray | None = None
    for stem in stems:
        part = np.load(stem.excerpt) * np.float32(10.0 ** (gains_db[stem.name] / 20.0))
        total = part if total is None else total + part
    assert total is not None
    return measure_style(total, sample_rate=sample_rate)


def _is_centred(name: str, tracks: Sequence[TrackPlan]) -> bool:
    """Whether a stem must stay in the middle: what anchors a mix, or placed there by the user."""
    roles = {track.role for track in tracks if track.subgroup == name}
    centred = {Role.KICK, Role.SNARE, Role.BASS, Role.SYNTH_BASS, Role.LEAD_VOCAL, Role.DIALOGUE}
    return name in CENTRED_SUBGROUPS or bool(roles & {str(role) for role in centred})


def _refined_plan(
    plan: Plan,
    refined: Refined | None,
    sounding: Sequence[str],
    gains_db: Mapping[str, float],
    strength: float,
    match: Sequence[Aspect],
) -> Plan:
    found = dict(zip(sounding, refined.strips, strict=True)) if refined else {}
    moved = dict(zip(sounding, refined.level_change_lu, strict=True)) if refined else {}
    stems = []
    for stem in plan.stems:
        start = {"gain_db": gains_db[stem.name]}
        settings = default_settings(STRIP) | start
        reason = "balanced"
        if stem.name in found and strength > 0.0:
            settings = blend_settings(found[stem.name], STRIP, strength, start=start)
            reason = f"towards the reference; level {moved[stem.name]:+.1f} LU against the balance"
        stems.append(stem.model_copy(update={"settings": settings, "reason": reason}))
    bus = default_settings(BUS)
    if refined and strength > 0.0:
        bus = blend_settings(refined.bus, BUS, strength)
    return plan.model_copy(update={"stems": tuple(stems), "bus": bus})


def _recipe(
    engine: Engine,
    *,
    root: Path,
    settings: MixSettings,
    folder: Path,
    store: Path,
    progress: Progress,
    began: float,
) -> MixOutcome:
    analysed = analyse_session(engine, root, settings=settings, store=store)
    session = analysed.session
    target = parse_target(settings.target)
    ceiling = target.ceiling_dbtp if settings.ceiling_dbtp is None else settings.ceiling_dbtp
    plan = _first_plan(analysed, settings, folder)
    names = [stem.name for stem in plan.stems]
    engine.publish_table(
        "tracks",
        [dict(row) for row in track_rows(plan, analysed, brief=True)],
        title="What each track is, and what was decided for it",
    )

    stems = engine.map(
        balance_step,
        [BalanceJob(plan, name, session.root, store) for name in names],
        name="balance",
        labels=names,
    )
    intended = _intended_levels(plan, analysed, stems)
    gains_db = _start_gains(stems, intended)
    start_style = _style_of_start(stems, gains_db, session.sample_rate)

    reference_style: Style | None = None
    if session.references:
        styles = engine.map(
            style_step,
            [TrackJob(path, path.name, store) for path in session.references],
            name="style",
            labels=[path.name for path in session.references],
        )
        reference_style = blend(styles)
    target_lufs = target.loudness_lufs
    if target_lufs is None:
        target_lufs = DEFAULT_LUFS
        if reference_style is not None:
            target_lufs = min(reference_style.loudness_lufs, _HIGHEST_TARGET_LUFS)
    target_lufs = round(target_lufs, 2)

    sounding = [stem for stem in stems if not stem.silent]
    refined: Refined | None = None
    note = ""
    if reference_style is not None and settings.strength > 0.0 and sounding and settings.match:
        refined, note = engine.run(
            refine_step,
            RefineJob(
                stems=tuple(sounding),
                start_gain_db=tuple(gains_db[stem.name] for stem in sounding),
                centred=tuple(_is_centred(stem.name, plan.tracks) for stem in sounding),
                max_spread=tuple(
                    _MAX_SPREAD.get(stem.name, _DEFAULT_MAX_SPREAD) for stem in sounding
                ),
                style=reference_style,
                references=session.references,
                match=settings.match,
                target_lufs=target_lufs,
                ceiling_dbtp=ceiling,
                sample_rate=session.sample_rate,
                pieces=tuple(passages(session.frames, session.sample_rate)),
                store=store,
            ),
            name="refine",
            label="console settings",
        )
    plan = _refined_plan(
        plan,
        refined,
        [stem.name for stem in sounding],
        gains_db,
        settings.strength,
        settings.match,
    )
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
                )
                for name, file in files.items()
            ],
            name="console",
            labels=list(files),
        )
        crest = None
        if refined is not None and reference_style is not None:
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
            refined=refined,
            target_lufs=target_lufs,
            seconds=time.monotonic() - began,
            warnings=_warnings(analysed, mixdown, target_lufs, note),
        )
        written = engine.run(write_outcome, outcome, name="report", label="plan, tables, report")
        engine.publish_markdown("mix", _markdown(outcome, folder), title=session.root.name)
    return replace(
        outcome,
        folder=folder,
        seconds=time.monotonic() - began,
        files={name: folder / path.relative_to(part) for name, path in written.items()},
    )


def _crest_wanted(reference: Style, start: Style, settings: MixSettings) -> float | None:
    if Aspect.DYNAMICS not in settings.match:
        return None
    return start.crest_db + settings.strength * (reference.crest_db - start.crest_db)


def _warnings(
    analysed: AnalysedSession, mixdown: Mixdown, target_lufs: float, note: str
) -> tuple[str, ...]:
    found = []
    missing = target_lufs - mixdown.loudness.integrated_lufs
    if math.isfinite(missing) and abs(missing) > 0.3:
        found.append(
            f"the mix is {mixdown.loudness.integrated_lufs:.1f} LUFS and {target_lufs:.1f} was "
            "asked for: the limiter can give no more"
        )
    unsure = [r.name for r in analysed.recognitions if r.unsure]
    if unsure:
        found.append(
            f"{len(unsure)} tracks were recognised with little confidence: "
            + ", ".join(unsure)
            + " (name their roles in session.toml; `stemwright init` writes one to edit)"
        )
    for track, check in zip(analysed.session.tracks, analysed.checks, strict=True):
        found.extend(f"{track.name}: {flag}" for flag in check.flags)
    if note:
        found.append(note)
    return tuple(found)


def _markdown(outcome: MixOutcome, folder: Path) -> str:
    loudness = outcome.mixdown.loudness
    lines = [
        f"**{loudness.integrated_lufs:.1f} LUFS**, true peak {loudness.true_peak_dbtp:.1f} dBTP",
        "",
        f"Everything lies in `{folder}`; listen in its `report.html`.",
    ]
    if outcome.reference_style is not None:
        before = style_distance(outcome.start_style, outcome.reference_style)
        after = style_distance(outcome.style, outcome.reference_style)
        lines += ["", "| distance | balanced start | mix |", "|---|---|---|"]
        first, last = before.to_record(), after.to_record()
        lines += [f"| {name} | {first[name]:.2f} | {last[name]:.2f} |" for name in first]
    return "\n".join(lines)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary neighbour of ``folder`` to write into, renamed to it when all went well.

    Raises
    ------
    InputError
        If ``folder`` exists: nothing is ever overwritten.
    """
    _refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    part.mkdir()
    try:
        yield part
        _refuse_existing(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _refuse_existing(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(
            [Problem(str(folder), "exists already", "name another folder with --output")]
        )


def default_folder(session: Path, settings: MixSettings) -> Path:
    """Return where a mix goes if the user names no place: ``SESSION/mixes/<time>-<reference>``."""
    name = settings.references[0].stem if settings.references else "balance"
    name = re.sub(r"[^\w.-]+", "_", name)[:60] or "reference"
    return session / "mixes" / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"


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
        Where everything is written; must not exist or be empty.
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
    folder = (folder or default_folder(session, settings)).absolute()
    _refuse_existing(folder)
    progress = progress or SilentProgress()
    # loaded before threads start, so that all of them see one number of torch threads
    recipe: Callable[[Engine], MixOutcome] = lambda engine: _recipe(  # noqa: E731
        engine,
        root=session,
        settings=settings,
        folder=folder,
        store=store or default_root(),
        progress=progress,
        began=began,
    )
    return run_recipe(
        session.resolve().name,
        recipe,
        engine=settings.engine,
        workers=settings.workers,
        progress=progress,
    )
