"""``stemwright balance``: the classical loudness balances and ours, side by side, to compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from flows.analysis import AnalysedSession, analyse_session
from flows.decisions import first_plan
from flows.engine import Engine
from flows.outcome import versions
from flows.output_folder import choose_folder, new_folder
from flows.settings import MixSettings
from pipeline.audio import AudioStream, AudioWriter
from pipeline.loudness import LoudnessMeter
from pipeline.plan import Delivery, Plan
from pipeline.session import Session, Track
from pipeline.units import FloatArray, db_to_amplitude
from stage1.balance import balance, balanced_lufs, published_gain_db
from stage1.narrowband import METHODS

__all__ = ["BalanceOutcome", "balance_session"]

_CLASSICAL = ("lufs", "centroid", "p_lufs")
_BLOCK_FRAMES = 65536


@dataclass(frozen=True)
class BalanceOutcome:
    """What was written.

    Parameters
    ----------
    table
        One row a track: loudness and gain by each method.
    sum_lufs
        Loudness of each method's sum.
    warnings
        What else the user should know.
    """

    folder: Path
    table: pd.DataFrame
    sum_lufs: dict[str, float]
    analysed: AnalysedSession
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _MethodJob:
    session: Session
    gains_db: tuple[float, ...]
    folder: Path
    plan: Plan


def _gains(analysed: AnalysedSession, method: str) -> tuple[float, ...]:
    """Return each track's gain: as published for the classical methods, else by our rules."""
    features = analysed.features
    if method in _CLASSICAL:
        return tuple(published_gain_db(balanced_lufs(f, method), f.peak_dbfs) for f in features)
    overrides = [track.overrides for track in analysed.session.tracks]
    decided = balance(features, analysed.recognitions, overrides, method=method)
    return tuple(level.gain_db for level in decided)


def _plan(plan: Plan, method: str, gains_db: Sequence[float]) -> Plan:
    """Return a method's balance as a plan: its gains, everything else neutral."""
    tracks = tuple(
        track.model_copy(update={"gain_db": gain_db, "pan": 0.0, "reason": f"balanced by {method}"})
        for track, gain_db in zip(plan.tracks, gains_db, strict=True)
    )
    delivery = Delivery(target="none", limiter_ceiling_dbtp=0.0, subtype="FLOAT")
    return plan.model_copy(update={"tracks": tracks, "delivery": delivery})


def _without_loudness(analysed: AnalysedSession, methods: Sequence[str]) -> tuple[str, ...]:
    """Say which tracks a published method has no loudness for."""
    found = []
    for method in methods:
        lost = [
            features.name
            for features in analysed.features
            if not np.isfinite(features.loudness(method))
            and np.isfinite(balanced_lufs(features, method))
        ]
        if lost:
            found.append(
                f"{method} finds no loudness in {', '.join(lost)} (never over -50 LUFS in mono); "
                "balanced by the informed one there"
            )
    return tuple(found)


def _render_method(job: _MethodJob) -> float:
    """Write a method's gained tracks, their sum (32-bit float) and plan; return its loudness."""
    rate = job.session.sample_rate
    total = np.zeros((2, job.session.frames))
    for track, gain_db in zip(job.session.tracks, job.gains_db, strict=True):
        if not track.overrides.mute:
            _render_track(track, gain_db, job, total)
    meter = LoudnessMeter(sample_rate=rate, channels=2)
    block = total.astype(np.float32)
    meter.process(block)
    with AudioWriter(
        job.folder / "sum.wav", sample_rate=rate, channels=2, format="wav", subtype="FLOAT"
    ) as writer:
        writer.write(block)
    (job.folder / "plan.json").write_text(job.plan.to_json(), encoding="utf-8")
    return meter.integrated_lufs


def _render_track(track: Track, gain_db: float, job: _MethodJob, total: FloatArray) -> None:
    rate = job.session.sample_rate
    path = job.folder / "tracks" / PurePosixPath(track.name).with_suffix(".wav")
    while path.exists():  # "Kick.wav" beside "Kick.flac"
        path = path.with_name(f"{path.stem} 2.wav")
    path.parent.mkdir(parents=True, exist_ok=True)
    gain = np.float32(db_to_amplitude(gain_db))
    position = job.session.offset_frames(track)
    with (
        AudioStream(track.path, sample_rate=rate) as stream,
        AudioWriter(
            path, sample_rate=rate, channels=stream.channels, format="wav", subtype="FLOAT"
        ) as writer,
    ):
        left = stream.frames
        while left:
            block = stream.read(min(left, _BLOCK_FRAMES)) * gain
            writer.write(block)
            total[:, position : position + block.shape[1]] += block
            position += block.shape[1]
            left -= block.shape[1]


def balance_session(
    engine: Engine,
    root: Path,
    *,
    methods: Sequence[str],
    settings: MixSettings,
    folder: Path | None,
    store: Path,
) -> BalanceOutcome:
    """Balance a session by several methods, each into a folder of its own.

    Parameters
    ----------
    methods
        Of :data:`stage1.narrowband.METHODS`.
    folder
        New; None for one in the session's ``mixes``. Gets ``<method>/tracks/``,
        ``<method>/sum.wav``, ``<method>/plan.json``, ``results.csv`` and ``results.json``.

    Raises
    ------
    InputError
        With every problem of the session, or if ``folder`` exists.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}: use one of {', '.join(METHODS)}")
    chosen, faults = choose_folder(folder, root, "balances")
    analysed = analyse_session(engine, root, settings=settings, store=store, faults=faults)
    gains = {method: _gains(analysed, method) for method in methods}
    rows = [
        {
            "track": track.name,
            "role": str(found.role),
            "subgroup": found.subgroup,
            "f0_hz": features.f0_hz,
            "centroid_hz": features.centroid_hz,
            "bandwidth_hz": features.bandwidth_hz,
            **{f"loudness_{method}": features.loudness(method) for method in methods},
            **{f"gain_{method}_db": gains[method][index] for method in methods},
        }
        for index, (track, found, features) in enumerate(
            zip(analysed.session.tracks, analysed.recognitions, analysed.features, strict=True)
        )
    ]
    table = pd.DataFrame(rows)
    warnings = (*analysed.session.notes, *_without_loudness(analysed, methods))
    with new_folder(chosen) as part:
        jobs = []
        for method in methods:
            (part / method).mkdir()
            plan = _plan(first_plan(analysed, chosen / method), method, gains[method])
            jobs.append(_MethodJob(analysed.session, gains[method], part / method, plan))
        loudness = engine.map(_render_method, jobs, name="balance", labels=list(methods))
        sums = dict(zip(methods, loudness, strict=True))
        table.to_csv(part / "results.csv", index=False, encoding="utf-8", errors="replace")
        record = {
            "tracks": json.loads(table.to_json(orient="records")),
            "sum_lufs": {
                name: value if np.isfinite(value) else None for name, value in sums.items()
            },
            "skipped": [{"name": p.subject, "why": p.what} for p in analysed.session.skipped],
            "warnings": list(warnings),
            "versions": versions(),
        }
        (part / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return BalanceOutcome(chosen, table, sums, analysed, warnings)
