"""Stage 1 over an engine: a folder checked, analysed, recognised, balanced and placed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.engines.base import Engine
from flows.mix.steps.tracks import Examined, TrackJob, check_step, examine_step
from flows.mix.styles.file import style_problems
from flows.progress import Progress
from flows.settings import MixSettings
from flows.storage.inputs import bring_near, named_by_url
from flows.storage.locations import Place
from flows.storage.mirror import shared_file
from flows.storage.store import Store
from pipeline.audio.check import TrackCheck
from pipeline.audio.writer import rate_problem
from pipeline.console.conditioning import Conditioning
from pipeline.errors import InputError, Problem
from pipeline.session.discovery import (
    TO_KEEP,
    DiscoveredSession,
    LeftOut,
    Session,
    find_session,
    mix_rate,
    settle,
)
from pipeline.session.length import without_too_long
from pipeline.session.settings import TrackOverrides
from pipeline.session.timecode import StampUse
from stage1.balance.gains import TrackBalance, balance
from stage1.balance.mid_side import as_pairs, mid_side_pairs, side_of_pairs
from stage1.balance.mono_compatibility import mono_warnings
from stage1.balance.placement import LOW_HZ, Placement, place
from stage1.exclusions.choice import find_exclusions
from stage1.features import TrackFeatures
from stage1.recognition.classifier import hear
from stage1.recognition.recognise import Recognition, recognise
from stage1.signal.file_faults import FileFaults
from stage1.signal.spectral import low_share
from stage1.sources.messages import fault_messages
from stage1.sources.records import Relations
from stage1.sources.relations import TrackSound, find_relations, inherit_roles

__all__ = ["AnalysedSession", "analyse_session"]


@dataclass(frozen=True)
class AnalysedSession:
    """A session with everything that stage 1 found and decided, each in the order of its tracks.

    Parameters
    ----------
    envelopes
        Numpy files: each track's K-weighted power every 10 ms, float32.
    relations
        Copies, and microphones of one source; None where they were not looked for.
    contents
        A hash of what was read of each track, by its name.
    file_faults
        What was wrong with each file's samples and is set right; empty where none was looked for.
    """

    session: Session
    checks: tuple[TrackCheck, ...]
    features: tuple[TrackFeatures, ...]
    recognitions: tuple[Recognition, ...]
    balances: tuple[TrackBalance, ...]
    placements: tuple[Placement, ...]
    envelopes: tuple[Path, ...] = ()
    relations: Relations | None = None
    contents: Mapping[str, str] = field(default_factory=dict)
    file_faults: tuple[FileFaults, ...] = ()


def analyse_session(
    engine: Engine,
    root: Place,
    *,
    settings: MixSettings,
    store: Place,
    faults: Sequence[Problem] = (),
    progress: Progress | None = None,
    on_tracks: Callable[[Sequence[float]], None] | None = None,
) -> AnalysedSession:
    """Check and analyse every track in one decode, recognise it and decide its gain and pan.

    Parameters
    ----------
    faults
        What is wrong beside the session, to be said together with it.
    progress
        Told of what is fetched from URLs.
    on_tracks
        Told of the tracks that there are, before they are worked on: the seconds of each.

    Raises
    ------
    InputError
        With every problem of the session; before anything is analysed where headers, names and
        settings tell of one already.
    """
    near = bring_near(root, settings.recordings, progress=progress)
    faults = (*faults, *near.faults, *style_problems(settings.saved_styles))
    unusable = Store.problems_of(store)
    if near.root is None:
        raise InputError([*faults, *unusable])
    with named_by_url(root, near):
        found = find_session(
            near.root,
            references=near.references,
            sample_rate=settings.sample_rate,
            time_stamps=settings.time_stamps and StampUse(settings.time_stamps),
            full_length=settings.full_length,
        )
        found = without_too_long(found, max_minutes=settings.max_minutes)
        found = replace(found, faults=(*faults, *found.faults))
        if unusable:  # no step can run
            raise InputError([*found.faults, *unusable])
        if on_tracks is not None:
            on_tracks([t.info.frames / max(t.info.sample_rate, 1) for t in found.tracks])
        return _analyse(engine, found, settings=settings, store=store)


@dataclass(frozen=True)
class _Decided:
    """What was decided for the tracks of a session, each in its order.

    Parameters
    ----------
    doubts
        What the user should listen to or correct.
    """

    recognitions: tuple[Recognition, ...]
    relations: Relations
    balances: tuple[TrackBalance, ...]
    placements: tuple[Placement, ...]
    file_faults: tuple[FileFaults, ...]
    doubts: tuple[str, ...]


def _analyse(
    engine: Engine, found: DiscoveredSession, *, settings: MixSettings, store: Place
) -> AnalysedSession:
    kept = Store(store)
    session, examined = _examined_session(engine, found, settings=settings, store=store)
    session = _without_excluded(session, examined, kept)
    names = [track.name for track in session.tracks]
    features = [f for name in names if (f := examined[name].features) is not None]
    sounds = _sounds(session, examined, kept)
    faults = tuple(examined[name].faults for name in names)
    decided = _decide(session, features, sounds, faults, settings)
    session = replace(
        session,
        notes=(
            *session.notes,
            *session.end_notes,
            *decided.doubts,
            *fault_messages(decided.relations),
            *mono_warnings(
                features,
                decided.placements,
                balances=decided.balances,
                relations=decided.relations,
            ),
        ),
    )
    return AnalysedSession(
        session,
        tuple(examined[name].check for name in names),
        tuple(features),
        decided.recognitions,
        decided.balances,
        decided.placements,
        tuple(sound.envelope for sound in sounds if isinstance(sound.envelope, Path)),
        decided.relations,
        {name: content for name in names if (content := examined[name].content)},
        decided.file_faults,
    )


def _examined_session(
    engine: Engine, found: DiscoveredSession, *, settings: MixSettings, store: Place
) -> tuple[Session, dict[str, Examined]]:
    """Return the session of the tracks that can be used, and what was measured of each.

    Raises
    ------
    InputError
        With everything that is wrong.
    """
    jobs = {
        t.name: TrackJob(shared_file(t.path), t.name, store, settings.f0_mode, t.overrides.channels)
        for t in found.tracks
    }
    found = replace(found, faults=(*found.faults, *_channel_faults(found)))
    reference_checks = _check(
        engine, [TrackJob(shared_file(path), path.name, store) for path in found.references]
    )
    examined: dict[str, Examined] = {}
    if _is_lost(found, reference_checks, settings):
        # Nothing will be mixed: everything else that is wrong is told soon, and together.
        checks = dict(zip(jobs, _check(engine, list(jobs.values())), strict=True))
    else:
        examined = _examine(engine, list(jobs.values()))
        checks = {name: result.check for name, result in examined.items()}
    found = replace(found, faults=(*found.faults, *_rate_faults(found, checks, settings)))
    session = settle(
        found,
        checks,
        dict(zip(found.references, reference_checks, strict=True)),
        skip_bad=settings.skip_bad,
        salvage=settings.salvage,
    )
    return session, examined or _examine(engine, [jobs[track.name] for track in session.tracks])


def _decide(
    session: Session,
    features: Sequence[TrackFeatures],
    sounds: Sequence[TrackSound],
    faults: tuple[FileFaults, ...],
    settings: MixSettings,
) -> _Decided:
    """Recognise the tracks, and find their gains and pans."""
    names = [track.name for track in session.tracks]
    overrides = [track.overrides for track in session.tracks]
    recognitions = recognise(names, overrides=overrides, sounds=[hear(f) for f in features])
    relations = find_relations(sounds, recognitions)
    recognitions = inherit_roles(recognitions, relations)
    balances = balance(
        features,
        recognitions,
        overrides,
        method=settings.method,
        relations=relations,
        offsets=session.offsets,
    )
    placements = place(
        recognitions,
        overrides,
        channels=[f.channels for f in features],
        loudness_lufs=[
            f.levels.integrated_lufs + b.gain_db for f, b in zip(features, balances, strict=True)
        ],
        f0_hz=[f.pitch.f0_hz for f in features],
        low_share=[low_share(f.spectrum.third_octaves_db, LOW_HZ) for f in features],
        relations=relations,
    )
    pairs = mid_side_pairs(features, relations, overrides)
    balances, placements = as_pairs(balances, placements, pairs, overrides)
    doubts = (
        *(
            f"{names[pair.mid]!r} and {names[pair.side]!r} are named as mid and side and do not "
            'sound so: mixed as two tracks; channels = "side" for the second in session.toml '
            "decodes them"
            for pair in pairs
            if not pair.agrees
        ),
        *_contradictions(recognitions, overrides),
    )
    faults = side_of_pairs(faults, pairs)
    return _Decided(recognitions, relations, balances, placements, faults, doubts)


def _contradictions(
    recognitions: Sequence[Recognition], overrides: Sequence[TrackOverrides]
) -> list[str]:
    """Say which tracks do not sound like the role that they have."""
    return [
        f"{r.name!r} {r.contradiction}; taken for {r.role.replace('_', ' ')}"
        + (
            " as session.toml says: listen to it, and correct its role there if that is wrong"
            if override.role is not None
            else ": listen to it, and name its role in session.toml if that is wrong"
        )
        for r, override in zip(recognitions, overrides, strict=True)
        if r.contradiction
    ]


def _channel_faults(found: DiscoveredSession) -> list[Problem]:
    """Return which files cannot be used as session.toml says of their channels."""
    return [
        Problem(t.name, wrong, "correct its channels in session.toml, or leave that line out")
        for t in found.tracks
        if t.overrides.channels is not None
        and (wrong := Conditioning(t.overrides.channels).problem(t.info.channels))
    ]


def _sounds(session: Session, examined: Mapping[str, Examined], store: Store) -> list[TrackSound]:
    return [
        TrackSound(
            track.name,
            track.path,
            track.offset_s,
            store.local(envelope),
            examined[track.name].faults.conditioning,
        )
        for track in session.tracks
        if (envelope := examined[track.name].envelope) is not None
    ]


def _without_excluded(session: Session, examined: Mapping[str, Examined], store: Store) -> Session:
    """Return the session without what is no part of the mix; the rest is as if it never was there.

    What is left out must not lengthen the mix, nor count in pairs, numbers and levels of the rest.
    """
    names = [track.name for track in session.tracks]
    overrides = [track.overrides for track in session.tracks]
    features = [f for name in names if (f := examined[name].features) is not None]
    recognitions = recognise(names, overrides=overrides, sounds=[hear(f) for f in features])
    exclusions = find_exclusions(
        _sounds(session, examined, store), recognitions, overrides, references=session.references
    )
    why = {excluded.name: excluded.why for excluded in exclusions.tracks}
    return replace(
        session,
        tracks=tuple(track for track in session.tracks if track.name not in why),
        left_out=(
            *session.left_out,
            *(LeftOut(name, f"{reason} {TO_KEEP}") for name, reason in why.items()),
        ),
        notes=(*session.notes, *exclusions.notes),
    )


def _check(engine: Engine, jobs: Sequence[TrackJob]) -> list[TrackCheck]:
    if not jobs:
        return []
    return engine.map(check_step, jobs, name="check", labels=[job.name for job in jobs])


def _examine(engine: Engine, jobs: Sequence[TrackJob]) -> dict[str, Examined]:
    names = [job.name for job in jobs]
    results = engine.map(examine_step, jobs, name="analyse", labels=names)
    return dict(zip(names, results, strict=True))


def _is_lost(
    found: DiscoveredSession, reference_checks: Sequence[TrackCheck], settings: MixSettings
) -> bool:
    """Return whether the session cannot be mixed whatever its tracks hold."""
    hopeful = {track.name: TrackCheck(frames=track.info.frames) for track in found.tracks}
    return bool(
        found.faults
        or (found.bad_tracks and not settings.skip_bad)
        or (
            any(track.info.incomplete for track in found.tracks)
            and not (settings.skip_bad or settings.salvage)
        )
        or not found.tracks
        or any(check.failure is not None or check.silent for check in reference_checks)
        or _rate_faults(found, hopeful, settings)
    )


def _rate_faults(
    found: DiscoveredSession, checks: Mapping[str, TrackCheck], settings: MixSettings
) -> tuple[Problem, ...]:
    """Return why the delivered file cannot be at the rate that the session will have."""
    good = [track for track in found.tracks if checks[track.name].failure is None]
    if not good:
        return ()
    rate = found.sample_rate or mix_rate(good)
    problem = rate_problem(settings.format, rate, subject="--format")
    return () if problem is None else (problem,)
