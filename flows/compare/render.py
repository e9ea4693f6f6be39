"""Every method's stems, sums and gained tracks, rendered over an engine from one decode a track."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from flows.compare.steps import (
    GainedTrack,
    MeasureJob,
    RawStem,
    RawSum,
    StemsJob,
    WriteJob,
    Written,
    level_sums,
    measure_step,
    stems_step,
    write_step,
)
from flows.engines.base import Engine
from flows.storage.locations import Place
from flows.storage.mirror import shared_folder
from flows.storage.uploads import staging
from pipeline.console.parameters import STRIP
from pipeline.errors import InputError, Problem
from pipeline.plan import Plan
from pipeline.render.tracks import stem_file_names

__all__ = ["RenderedBalances", "render_balances", "room_problems"]

_FADER = STRIP.parameter("gain_db")
_BYTES_PER_FRAME = 2 * (3 + 4)  # a stem of 24 bits, and its raw one of 32


def room_problems(folder: Place, plan: Plan, methods: int, *, tracks: bool) -> tuple[Problem, ...]:
    """Return that the disk has no room for what so many methods write, if it has none."""
    # What goes to a URL is written on this machine first.
    near = staging() / "output" if isinstance(folder, str) else folder
    above = next(parent for parent in near.parents if parent.exists())
    files = len(plan.stems) + 1 + (len(plan.tracks) if tracks else 0)
    needed, free = plan.frames * methods * files * _BYTES_PER_FRAME, shutil.disk_usage(above).free
    if needed < free:
        return ()
    what = f"needs up to {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free there"
    return (Problem(str(folder), what, "name fewer methods, or another folder with --output"),)


def _gained_tracks(plan: Plan, folder: Path) -> dict[str, str]:
    """Return a file name for the gained track of each audible track: its own, made unlike others'.

    "Kick.wav" beside "Kick.flac" becomes "Kick 2.wav".
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for track in plan.tracks:
        if track.mute:
            continue
        path = PurePosixPath(track.path).with_suffix(".wav")
        while str(path).casefold() in taken:
            path = path.with_name(f"{path.stem} 2.wav")
        taken.add(str(path).casefold())
        names[track.path] = str(path)
    return names


@dataclass(frozen=True)
class RenderedBalances:
    """What was rendered.

    Parameters
    ----------
    sums, stems, raw
        By method; stems by name too.
    gains_db
        The fader of each method.
    playing
        How many tracks play in each 100 ms.
    """

    sums: dict[str, Written]
    stems: dict[str, dict[str, Written]]
    raw: dict[str, RawSum]
    gains_db: dict[str, float]
    playing: npt.NDArray[np.int64]


def render_balances(
    engine: Engine,
    plans: dict[str, Plan],
    session: Path,
    part: Path,
    *,
    tracks: bool,
    seed: int,
) -> RenderedBalances:
    """Write each method's stems, sum and, if asked for, gained tracks.

    Parameters
    ----------
    plans
        By method, of the same tracks and stems; the faders are found here.
    session
        The folder that the tracks' paths are relative to.
    part
        The output folder; one folder a method is there already.
    tracks
        Write ``<method>/tracks/`` too.
    seed
        Of the sums' dither.

    Raises
    ------
    InputError
        If a sum is too loud for a fader to bring it down.
    """
    first = next(iter(plans.values()))
    files = stem_file_names(first)
    raw = part / ".raw"
    raw.mkdir()
    paths = {
        method: [raw / f"{k}-{i}" for i in range(len(files))] for k, method in enumerate(plans)
    }
    jobs = [
        StemsJob(
            tuple(plans.values()),
            name,
            shared_folder(session, [t.path for t in first.tracks if t.subgroup == name]),
            tuple(paths[method][i] for method in plans),
            _gained(plans, name, part) if tracks else (),
        )
        for i, name in enumerate(files)
    ]
    stems = engine.map(stems_step, jobs, name="balance", labels=list(files))
    measured = _measure(engine, stems, paths, first)
    raw_sums = dict(zip(plans, measured, strict=True))
    _, gains_db = level_sums(measured)
    gains = dict(zip(plans, gains_db, strict=True))
    _refuse_faders(gains)
    sums = engine.map(
        write_step,
        [
            WriteJob(
                tuple(paths[m]),
                part / m / "sum.wav",
                first.frames,
                first.sample_rate,
                gain_db=gains[m],
                dither_seed=seed,
            )
            for m in plans
        ],
        name="sums",
        labels=list(plans),
    )
    for method in plans:
        (part / method / "stems").mkdir()
    keys = [(method, i, name) for method in plans for i, name in enumerate(files)]
    written = engine.map(
        write_step,
        [
            WriteJob(
                (paths[method][i],),
                part / method / "stems" / files[name],
                first.frames,
                first.sample_rate,
                gain_db=gains[method],
                drop=True,
            )
            for method, i, name in keys
        ],
        name="stems",
        labels=[f"{method}/{name}" for method, _, name in keys],
    )
    raw.rmdir()
    by_method: dict[str, dict[str, Written]] = {method: {} for method in plans}
    for (method, _, name), stem in zip(keys, written, strict=True):
        by_method[method][name] = stem
    playing = np.sum([stem.playing for stem in stems], axis=0)
    return RenderedBalances(
        dict(zip(plans, sums, strict=True)), by_method, raw_sums, gains, playing
    )


def _measure(
    engine: Engine,
    stems: Sequence[RawStem],
    paths: Mapping[str, Sequence[Path]],
    plan: Plan,
) -> list[RawSum]:
    jobs = [
        MeasureJob(
            tuple(paths[method]),
            tuple(stem.peak_dbfs[k] for stem in stems),
            plan.frames,
            plan.sample_rate,
        )
        for k, method in enumerate(paths)
    ]
    return engine.map(measure_step, jobs, name="measure", labels=list(paths))


def _gained(plans: Mapping[str, Plan], subgroup: str, part: Path) -> tuple[GainedTrack, ...]:
    jobs = []
    for method, plan in plans.items():
        names = _gained_tracks(plan, part)
        heard = [t for t in plan.tracks if t.subgroup == subgroup and not t.mute]
        jobs += [
            GainedTrack(index, part / method / "tracks" / names[track.path], track.gain_db)
            for index, track in enumerate(heard)
        ]
    return tuple(jobs)


def _refuse_faders(gains_db: Mapping[str, float]) -> None:
    problems = [
        Problem(
            method,
            f"is {-gain_db:.0f} dB too loud for a fader",
            "take less gain_offset_db in session.toml",
        )
        for method, gain_db in gains_db.items()
        if gain_db < _FADER.low
    ]
    if problems:
        raise InputError(problems)
