"""``stemwright render``: a plan, as it is or edited, into a new folder, with all that a mix has."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flows.engines.base import Engine
from flows.engines.run import run_recipe
from flows.mix.analysis import AnalysedSession
from flows.mix.files import copy_mix, copy_rendered, in_their_place
from flows.mix.plan import delivered_plan, encoder_notes
from flows.mix.result import MixOutcome, write_outcome
from flows.mix.stems import balance_jobs, deliver, render_stems
from flows.mix.steps.balance import BalancedStem, balance_step
from flows.mix.steps.render import Drive, Mixdown, RenderedStem
from flows.mix.steps.style import HeardReference, style_step
from flows.mix.steps.tracks import TrackJob, check_step, examine_step
from flows.progress import Progress, guarded
from flows.settings import MixSettings
from flows.storage.inputs import bring_tracks_near
from flows.storage.locations import Place, is_url, parse_place
from flows.storage.mirror import named, shared_file
from flows.storage.output_folder import folder_problems, new_folder, relative_path
from flows.storage.source_files import refuse_changed
from flows.storage.store import Store, chosen_root, made_whole
from pipeline.errors import InputError, Problem
from pipeline.plan import Plan, TrackPlan
from pipeline.plan_file import load_plan
from pipeline.render.tracks import allow_open_files, place_tracks
from pipeline.roles import Role
from pipeline.session.discovery import Session
from pipeline.units import db_to_amplitude, power_to_db
from stage1.recognition.recognise import Recognition
from stage2.reference.trust import wanted_style
from stage2.style.measure import Style, measure_style

__all__ = ["render_plan"]

_BITS = {"PCM_16": "16", "PCM_24": "24", "FLOAT": "float"}
_SHORT_LU = 0.3


@dataclass(frozen=True)
class _Tracks:
    """The tracks of a plan as they are now: what was measured of them, and their content."""

    analysed: AnalysedSession
    contents: dict[str, str]
    changed: tuple[str, ...]


@dataclass(frozen=True)
class _References:
    """The references of a plan that are still there, and what is to be said of the others."""

    paths: tuple[Path, ...]
    measured: tuple[HeardReference, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True)
class _Asked:
    """What is to be rendered, and into which folder."""

    plan: Plan
    root: Path
    plan_folder: Path
    folder: Place
    store: Place
    as_is: bool
    collect: bool
    began: float


def render_plan(
    path: Path,
    *,
    session: Place | None,
    folder: Place,
    workers: int,
    progress: Progress,
    store: Place | None = None,
    as_is: bool = False,
    collect: bool = False,
) -> MixOutcome:
    """Render a plan to its mix and stems, with plan, tables, report and DAW session beside them.

    Drive and trim follow the plan's loudness: a mix that its edits made louder is trimmed, and one
    that they made softer is driven harder. A plan that was not edited gives the samples that it
    came with.

    Parameters
    ----------
    path
        The ``plan.json``.
    session
        Folder of the tracks, or its URL; None for the one that the plan names.
    folder
        New, or the URL of one; written whole or not at all.
    store
        The cache of steps; the user's own by default.
    as_is
        Keep drive and trim of the plan, whatever loudness comes of it.
    collect
        Put all audio inside the DAW session.

    Raises
    ------
    InputError
        With everything that is wrong with the plan and the folders; or if a track changes while
        it is rendered.
    """
    began = time.monotonic()
    progress = guarded(progress)
    kept = chosen_root(store)
    problems = [*folder_problems(folder), *Store.problems_of(kept)]
    try:
        plan = load_plan(path)
    except InputError as error:
        raise InputError([*error.problems, *problems]) from error
    try:
        root = _near_root(plan, path, session)
        place_tracks(plan, root)  # names every track that cannot be read, before any work
    except InputError as error:
        raise InputError([*problems, *error.problems]) from error
    if problems:
        raise InputError(problems)

    asked = _Asked(plan, root, path.parent, folder, kept, as_is, collect, began)

    def recipe(engine: Engine) -> MixOutcome:
        return made_whole(lambda: _render(engine, asked), kept)

    return run_recipe(root.name, recipe, engine="local", workers=workers, progress=progress)


def _render(engine: Engine, asked: _Asked) -> MixOutcome:
    plan, store = asked.plan, asked.store
    allow_open_files(len(plan.tracks) + len(plan.stems))
    tracks = _look_at_tracks(engine, plan, asked.root, store)
    references = _look_at_references(engine, plan, asked.plan_folder, store)
    names = [stem.name for stem in plan.stems if not stem.mute]
    jobs = balance_jobs(plan, names, asked.root, store, tracks.contents)
    balanced = engine.map(balance_step, jobs, name="balance", labels=names)
    rendered = render_stems(engine, plan, jobs, balanced)
    drive = Drive(plan.bus["gain_db"], asked.as_is)
    mixdown = deliver(engine, plan, rendered, store, drive=drive)
    done = delivered_plan(plan, mixdown, fitted=not asked.as_is).model_copy(
        update={
            "session": named(asked.root) or relative_path(asked.root, asked.folder),
            "contents": {**plan.contents, **tracks.contents},
        }
    )
    start_style = _balanced_style(Store(store), plan, balanced)
    session = replace(tracks.analysed.session, references=references.paths)
    warnings = (
        *plan.notes,
        *tracks.changed,
        *references.lost,
        *_of_loudness(plan, mixdown, as_is=asked.as_is),
        *encoder_notes(plan, mixdown),
    )
    outcome = MixOutcome(
        folder=asked.folder,
        plan=done,
        analysed=replace(tracks.analysed, session=session),
        settings=_settings(plan, references.paths, collect=asked.collect),
        stems={},
        stem_targets_lu=_balanced_levels(plan, balanced),
        mixdown=mixdown,
        start_style=start_style,
        reference_style=_wanted_style(references.measured, start_style),
        target=None,
        found=None,
        target_lufs=_target_lufs(plan, mixdown),
        seconds=time.monotonic() - asked.began,
        warnings=tuple(dict.fromkeys(warnings)),
        references=references.measured,
        steps=engine.counts.record(),
        url=asked.folder if isinstance(asked.folder, str) else "",
    )
    return _write(engine, asked, outcome, rendered, tracks)


def _write(
    engine: Engine,
    asked: _Asked,
    outcome: MixOutcome,
    rendered: Mapping[str, RenderedStem],
    tracks: _Tracks,
) -> MixOutcome:
    """Write a mix into its folder, whole or not at all."""
    kept = Store(asked.store)
    with new_folder(asked.folder) as part:
        stems = copy_rendered(kept, outcome.plan, rendered, part)
        outcome = replace(outcome, folder=part, stems=stems)
        copy_mix(kept, outcome.mixdown, outcome.plan, part)
        written = engine.run(write_outcome, outcome, name="report", label="plan, tables, report")
        refuse_changed(kept, {name: asked.root / name for name in tracks.contents}, tracks.contents)
    seconds = time.monotonic() - asked.began
    return in_their_place(outcome, part, asked.folder, written, seconds=seconds)


def _look_at_tracks(engine: Engine, plan: Plan, root: Path, store: Place) -> _Tracks:
    """Measure the tracks that are heard, and say which have changed since the plan was made."""
    muted = {stem.name for stem in plan.stems if stem.mute}
    chosen = [t for t in plan.tracks if not t.mute and t.subgroup not in muted]
    results = engine.map(
        examine_step,
        [TrackJob(shared_file(root / t.path), t.path, store) for t in chosen],
        name="analyse",
        labels=[t.path for t in chosen],
    )
    contents = {t.path: r.content for t, r in zip(chosen, results, strict=True) if r.content}
    measured = [
        (_recognition(track), result)
        for track, result in zip(chosen, results, strict=True)
        if result.features is not None
    ]
    analysed = AnalysedSession(
        session=Session(root, (), plan.sample_rate),
        checks=tuple(result.check for _, result in measured),
        features=tuple(r.features for _, r in measured if r.features is not None),
        recognitions=tuple(recognition for recognition, _ in measured),
        balances=(),
        placements=(),
        contents=contents,
    )
    changed = tuple(
        f"{path!r} has changed since the plan was made: its gain and place are those of what it "
        "was; mix the session again to have them decided anew"
        for path, content in contents.items()
        if plan.contents.get(path, content) != content
    )
    return _Tracks(analysed, contents, changed)


def _recognition(track: TrackPlan) -> Recognition:
    """Return what a plan says that a track is."""
    role = Role(track.role) if track.role in set(Role) else Role.UNKNOWN
    return Recognition(track.path, role, track.subgroup, 1.0, "as in the plan")


def _look_at_references(engine: Engine, plan: Plan, plan_folder: Path, store: Place) -> _References:
    """Measure the references that are still where the plan saw them, and say which are not."""
    paths: list[Path] = []
    lost: list[str] = []
    for name in plan.references:
        candidates = [] if is_url(name) else [Path(name), plan_folder / name]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            lost.append(f"reference {name!r} is not there: the report compares with none")
        else:
            paths.append(path.absolute())
    if not paths:
        return _References((), (), tuple(lost))
    jobs = {path: TrackJob(shared_file(path), path.name, store) for path in paths}
    labels = [path.name for path in jobs]
    checks = engine.map(check_step, list(jobs.values()), name="check", labels=labels)
    whole = []
    for path, check in zip(jobs, checks, strict=True):
        if check.failure is None and not check.silent:
            whole.append(path)
        else:
            why = check.failure or "is silent"
            lost.append(f"reference {path.name!r} {why}: the report compares with none of it")
    heard = engine.map(
        style_step, [jobs[p] for p in whole], name="style", labels=[p.name for p in whole]
    )
    for path, reference in zip(whole, heard, strict=True):
        if not math.isfinite(reference.style.loudness_lufs):
            why = "is never over -70 LUFS"
            lost.append(f"reference {path.name!r} {why}: the report compares with none of it")
    audible = [
        (path, reference)
        for path, reference in zip(whole, heard, strict=True)
        if math.isfinite(reference.style.loudness_lufs)
    ]
    return _References(
        tuple(path for path, _ in audible), tuple(one for _, one in audible), tuple(lost)
    )


def _wanted_style(heard: Sequence[HeardReference], start: Style) -> Style | None:
    if not heard:
        return None
    return wanted_style([(one.style, one.condition.trust) for one in heard], start)[0]


def _balanced_levels(plan: Plan, balanced: Sequence[BalancedStem]) -> dict[str, float]:
    """Return the level of each sounding stem as it was balanced, against all together, in LU."""
    faders_db = {stem.name: stem.balance_gain_db for stem in plan.stems}
    levels = {s.name: s.loudness_lufs + faders_db[s.name] for s in balanced if not s.silent}
    together = power_to_db(sum(10.0 ** (level / 10.0) for level in levels.values()))
    return {name: level - together for name, level in levels.items()}


def _balanced_style(kept: Store, plan: Plan, balanced: Sequence[BalancedStem]) -> Style:
    """Return the style of the excerpt as it was balanced."""
    faders_db = {stem.name: stem.balance_gain_db for stem in plan.stems}
    total = np.zeros((2, min(plan.frames, plan.sample_rate)), np.float32)
    if balanced:
        total = np.zeros_like(np.load(kept.local(balanced[0].excerpt), mmap_mode="r"))
    for stem in balanced:
        gain = np.float32(db_to_amplitude(faders_db[stem.name]))
        total += np.load(kept.local(stem.excerpt), mmap_mode="r") * gain
    style: Style = measure_style(total, sample_rate=plan.sample_rate)
    return style


def _target_lufs(plan: Plan, mixdown: Mixdown) -> float:
    target = plan.delivery.target_lufs
    return mixdown.loudness.integrated_lufs if target is None else target


def _of_loudness(plan: Plan, mixdown: Mixdown, *, as_is: bool) -> list[str]:
    """Return what is to be said of drive and loudness."""
    target, reached = plan.delivery.target_lufs, mixdown.loudness.integrated_lufs
    if target is None or as_is or not math.isfinite(reached):
        return []
    said = []
    raised = mixdown.drive_db - plan.bus["gain_db"]
    if raised > 0.01:
        said.append(
            f"the bus's gain_db was raised by {raised:.1f} dB to reach {target:.1f} LUFS: lower "
            "target_lufs in plan.json for a softer mix, or render with --as-is"
        )
    if target - reached > _SHORT_LU:
        said.append(
            f"the mix is {reached:.1f} LUFS and {target:.1f} was asked for: the limiter would have "
            "to work harder than goes unheard; lower target_lufs in plan.json, or compress what "
            "peaks"
        )
    return said


def _settings(plan: Plan, references: tuple[Path, ...], *, collect: bool) -> MixSettings:
    """Return the settings that the plan tells."""
    delivery = plan.delivery
    values: dict[str, Any] = {
        "references": references,
        "ceiling_dbtp": delivery.limiter_ceiling_dbtp,
        "sample_rate": plan.sample_rate,
        "format": delivery.format,
        "subtype": _BITS[delivery.subtype],
        "collect": collect,
        "seed": delivery.dither_seed,
    }
    if delivery.target_lufs is not None:
        values["target"] = f"{delivery.target_lufs:g}"
    return MixSettings.model_validate(values)


def _near_root(plan: Plan, path: Path, session: Place | None) -> Path:
    """Return where the tracks of a plan lie on this machine."""
    if session is None:
        session = plan.session if is_url(plan.session) else path.parent / plan.session
    session = parse_place(session, subject="session")
    if isinstance(session, str):
        muted = {stem.name for stem in plan.stems if stem.mute}
        return bring_tracks_near(
            session, [t.path for t in plan.tracks if not t.mute and t.subgroup not in muted]
        )
    if not session.is_dir():
        what = "the session's folder is not there"
        raise InputError([Problem(str(session), what, "name it with --session")])
    return session.resolve()
