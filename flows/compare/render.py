"""Every method's stems, sums and gained tracks, rendered over an engine from one decode a track."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from flows.compare.listening_test import Passage
from flows.compare.methods import MethodBalance
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
from flows.mix.analysis import AnalysedSession
from flows.storage.locations import Place
from flows.storage.mirror import shared_folder
from flows.storage.uploads import staging
from pipeline.console.parameters import STRIP
from pipeline.errors import InputError, Problem
from pipeline.plan import Plan
from pipeline.render.tracks import stem_file_names

__all__ = ["Comparison", "RenderedBalances", "render_balances", "room_problems"]

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


@dataclass(frozen=True)
class Comparison:
    """A session's balances by several methods, rendered and judged.

    Parameters
    ----------
    plan
        Of any of the methods.
    passages
        Of the song, for its listening test.
    """

    analysed: AnalysedSession
    plan: Plan
    methods: Sequence[MethodBalance]
    rendered: RenderedBalances
    passages: Sequence[Passage]

    @property
    def title(self) -> str:
        """Of the song: the name of its session."""
        return self.analysed.session.root.name


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
    rendering = _Rendering(engine, plans, part)
    stems = rendering.sum_stems(session, tracks=tracks)
    measured = rendering.measure(stems)
    _, faders_db = level_sums(measured)
    gains_db = dict(zip(plans, faders_db, strict=True))
    _refuse_faders(gains_db)
    return RenderedBalances(
        sums=rendering.write_sums(gains_db, seed),
        stems=rendering.write_stems(gains_db),
        raw=dict(zip(plans, measured, strict=True)),
        gains_db=gains_db,
        playing=np.sum([stem.playing for stem in stems], axis=0),
    )


class _Rendering:
    """The plans of all methods on their way to audio, by way of raw stems in a folder beside it."""

    def __init__(self, engine: Engine, plans: dict[str, Plan], part: Path) -> None:
        self._engine, self._plans, self._part = engine, plans, part
        self._plan = next(iter(plans.values()))
        self._files = stem_file_names(self._plan)
        self._raw = part / ".raw"
        self._paths = {
            method: {name: self._raw / f"{k}-{i}" for i, name in enumerate(self._files)}
            for k, method in enumerate(plans)
        }

    def sum_stems(self, session: Path, *, tracks: bool) -> list[RawStem]:
        """Sum each stem at each method's gains from one decode of its tracks."""
        self._raw.mkdir()
        jobs = [
            StemsJob(
                tuple(self._plans.values()),
                name,
                shared_folder(session, [t.path for t in self._plan.tracks if t.subgroup == name]),
                tuple(paths[name] for paths in self._paths.values()),
                _gained(self._plans, name, self._part) if tracks else (),
            )
            for name in self._files
        ]
        return self._engine.map(stems_step, jobs, name="balance", labels=list(self._files))

    def measure(self, stems: Sequence[RawStem]) -> list[RawSum]:
        """Measure each method's sum before its fader."""
        jobs = [
            MeasureJob(
                tuple(paths.values()),
                tuple(stem.peak_dbfs[k] for stem in stems),
                self._plan.frames,
                self._plan.sample_rate,
            )
            for k, paths in enumerate(self._paths.values())
        ]
        return self._engine.map(measure_step, jobs, name="measure", labels=list(self._paths))

    def write_sums(self, gains_db: Mapping[str, float], seed: int) -> dict[str, Written]:
        """Write each method's sum, dithered."""
        jobs = [
            WriteJob(
                tuple(paths.values()),
                self._part / method / "sum.wav",
                self._plan.frames,
                self._plan.sample_rate,
                gain_db=gains_db[method],
                dither_seed=seed,
            )
            for method, paths in self._paths.items()
        ]
        sums = self._engine.map(write_step, jobs, name="sums", labels=list(self._paths))
        return dict(zip(self._paths, sums, strict=True))

    def write_stems(self, gains_db: Mapping[str, float]) -> dict[str, dict[str, Written]]:
        """Write each method's stems, and remove the raw ones."""
        for method in self._paths:
            (self._part / method / "stems").mkdir()
        keys = [(method, name) for method in self._paths for name in self._files]
        jobs = [
            WriteJob(
                (self._paths[method][name],),
                self._part / method / "stems" / self._files[name],
                self._plan.frames,
                self._plan.sample_rate,
                gain_db=gains_db[method],
                drop=True,
            )
            for method, name in keys
        ]
        labels = [f"{method}/{name}" for method, name in keys]
        written = self._engine.map(write_step, jobs, name="stems", labels=labels)
        self._raw.rmdir()
        by_method: dict[str, dict[str, Written]] = {method: {} for method in self._paths}
        for (method, name), stem in zip(keys, written, strict=True):
            by_method[method][name] = stem
        return by_method


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
