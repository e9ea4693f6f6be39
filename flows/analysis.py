"""Stage 1 over an engine: a folder checked, analysed, recognised, balanced and placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.engine import Engine
from flows.output_folder import place_problems
from flows.settings import MixSettings
from flows.steps import TrackJob, analyse_step, check_step
from pipeline.audio_writer import rate_problem
from pipeline.check import TrackCheck
from pipeline.problems import InputError, Problem
from pipeline.session import FoundSession, Session, find_session, most_common_rate, settle
from stage1.balance import TrackBalance, balance
from stage1.features import TrackFeatures
from stage1.placement import Placement, place
from stage1.subgroups import Recognition, recognise

__all__ = ["AnalysedSession", "analyse_session"]


@dataclass(frozen=True)
class AnalysedSession:
    """A session with everything that stage 1 found and decided, each in the order of its tracks."""

    session: Session
    checks: tuple[TrackCheck, ...]
    features: tuple[TrackFeatures, ...]
    recognitions: tuple[Recognition, ...]
    balances: tuple[TrackBalance, ...]
    placements: tuple[Placement, ...]


def analyse_session(
    engine: Engine,
    root: Path,
    *,
    settings: MixSettings,
    store: Path,
    faults: Sequence[Problem] = (),
) -> AnalysedSession:
    """Check and analyse every track, recognise it and decide its gain and pan.

    Parameters
    ----------
    faults
        What is wrong beside the session, to be said together with it.

    Raises
    ------
    InputError
        With every problem of the session, before anything is analysed.
    """
    found = find_session(root, references=settings.references, sample_rate=settings.sample_rate)
    found = replace(found, faults=(*faults, *found.faults))
    unusable = place_problems(store.absolute(), "name another folder with --store")
    if unusable:  # no step can run
        raise InputError([*found.faults, *unusable])
    tracks = [TrackJob(t.path, t.name, store, settings.f0_mode) for t in found.tracks]
    references = [TrackJob(path, path.name, store) for path in found.references]
    jobs = [*tracks, *references]
    results = engine.map(check_step, jobs, name="check", labels=[job.name for job in jobs])
    checks = {job.name: result for job, result in zip(tracks, results, strict=False)}
    heard = dict(zip(found.references, results[len(tracks) :], strict=True))
    found = replace(found, faults=(*found.faults, *_rate_faults(found, checks, settings)))
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


def _rate_faults(
    found: FoundSession, checks: Mapping[str, TrackCheck], settings: MixSettings
) -> tuple[Problem, ...]:
    """Return why the delivered file cannot be at the rate that the session will have."""
    good = [track for track in found.tracks if checks[track.name].failure is None]
    if not good:
        return ()
    rate = found.sample_rate or most_common_rate(good)
    problem = rate_problem(settings.format, rate, subject="--format")
    return () if problem is None else (problem,)
