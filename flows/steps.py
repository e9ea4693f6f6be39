"""The steps of a mix: each takes and returns paths and small records, and owns its cache.

A step looks its result up in the store by the content of its inputs, its settings and the version
of its code; where it is not there it computes and commits it whole. None of them knows who runs
it: they are called by any engine, in any process.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.places import Place
from flows.remote_files import FolderPlace, near_folder
from flows.store import Store, code_version
from flows.track_steps import (
    AUDIO_CODE,
    METER_CODE,
    Examined,
    TrackJob,
    check_step,
    examine_step,
)
from pipeline.audio import AudioStream, AudioWriter
from pipeline.delivery import fit_delivery
from pipeline.loudness import EnergyMeter, Loudness, LoudnessMeter, measure
from pipeline.plan import Plan
from pipeline.processors import Bus, GainReduction, Strip
from pipeline.render import BLOCK_FRAMES, StemSummary
from pipeline.stem_sum import StemSum, place_tracks
from pipeline.units import FloatArray
from stage2.style import Style, measure_style

__all__ = [
    "BalanceJob",
    "BalancedStem",
    "BusJob",
    "Examined",
    "Mixdown",
    "StemJob",
    "TrackJob",
    "balance_step",
    "bus_step",
    "check_step",
    "cut",
    "examine_step",
    "passages",
    "stem_step",
]

# The code that the balance depends on: what :func:`flows.store.code_version` takes.
BALANCE_CODE = (
    "flows.steps", "pipeline.stem_sum", "pipeline.processors", *AUDIO_CODE, *METER_CODE,
)  # fmt: skip

# Style is a long-term average: so much of a song, spread over it, tells all of it.
_EXCERPT_S = 56.0
_PASSAGES = 8
_FADE_S = 0.005


def passages(frames: int, sample_rate: int) -> list[tuple[int, int]]:
    """Return where the excerpt that stage 2 works on lies: first frame and length of each piece.

    A song of up to 56 s is taken whole, of a longer one eight pieces of 7 s spread over it.
    """
    if frames <= round(_EXCERPT_S * sample_rate):
        return [(0, frames)]
    length = round(_EXCERPT_S * sample_rate) // _PASSAGES
    return [(int(start), length) for start in np.linspace(0, frames - length, _PASSAGES)]


def cut(audio: FloatArray, start: int, length: int, sample_rate: int) -> FloatArray:
    """Return a piece of ``audio`` (2, frames), zero where there is none, its ends faded."""
    out = np.zeros((audio.shape[0], length), dtype=np.float32)
    first, last = max(start, 0), min(start + length, audio.shape[1])
    if first < last:
        out[:, first - start : last - start] = audio[:, first:last]
    fade = min(round(_FADE_S * sample_rate), length // 2)
    ramp = np.linspace(0.0, 1.0, fade, endpoint=False, dtype=np.float32)
    out[:, :fade] *= ramp
    out[:, length - fade :] *= ramp[::-1]
    return out


@dataclass(frozen=True)
class BalanceJob:
    """One subgroup to sum: the plan holds its tracks' gains and pans."""

    plan: Plan
    subgroup: str
    session: FolderPlace
    store: Place


@dataclass(frozen=True)
class BalancedStem:
    """A subgroup's stem before the console.

    Parameters
    ----------
    loudness_lufs
        Of the whole stem; ``-inf`` if nothing sounds.
    excerpt
        A numpy file of the pieces that :func:`passages` names, ``(2, frames)`` float32.
    key
        What it was made from.
    whole
        The stem itself, 32-bit float WAV; None where only the excerpt is there.
    """

    name: str
    loudness_lufs: float
    excerpt: Path
    key: str
    whole: Path | None = None

    @property
    def silent(self) -> bool:
        """Whether nothing sounds."""
        return not math.isfinite(self.loudness_lufs)


def _subgroup_plan(plan: Plan, subgroup: str) -> Plan:
    return plan.model_copy(
        update={
            "tracks": tuple(t for t in plan.tracks if t.subgroup == subgroup),
            "stems": tuple(s for s in plan.stems if s.name == subgroup),
        }
    )


def _float_wav(path: Path, sample_rate: int) -> AudioWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    return AudioWriter(path, sample_rate=sample_rate, channels=2, format="wav", subtype="FLOAT")


def balance_step(job: BalanceJob) -> BalancedStem:
    """Sum the tracks of one subgroup at their gains and pans; keep the stem and an excerpt."""
    store, session = Store(job.store), near_folder(job.session)
    plan = _subgroup_plan(job.plan, job.subgroup)
    heard = [track for track in plan.tracks if not track.mute]
    key = store.key(
        "balance",
        inputs={
            "tracks": [
                [store.content_hash(session / t.path), t.gain_db, t.pan, t.offset_s, t.invert]
                for t in heard
            ],
            "sample_rate": plan.sample_rate,
            "frames": plan.frames,
        },
        code_version=code_version(*BALANCE_CODE),
    )
    with store.entry("balance", key) as entry:
        if not entry.done:
            entry.commit({"loudness_lufs": _sum_tracks(plan, session, entry.path)})
        return BalancedStem(
            job.subgroup,
            entry.record["loudness_lufs"],
            entry.path / "excerpt.npy",
            key,
            entry.path / "whole.wav",
        )


def _sum_tracks(plan: Plan, session: Path, folder: Path) -> float:
    """Write a subgroup's stem and its excerpt into a folder; return its loudness in LUFS."""
    rate = plan.sample_rate
    stem = StemSum(place_tracks(plan, session)[plan.stems[0].name], sample_rate=rate)
    meter = EnergyMeter(sample_rate=rate, channels=2)
    pieces = passages(plan.frames, rate)
    excerpt = np.zeros((2, sum(length for _, length in pieces)), dtype=np.float32)
    with ExitStack() as stack:
        stack.callback(stem.close)
        writer = stack.enter_context(_float_wav(folder / "whole.wav", rate))
        for start in range(0, plan.frames, BLOCK_FRAMES):
            block = stem.read(min(BLOCK_FRAMES, plan.frames - start))
            meter.process(block)
            writer.write(block)
            _keep(excerpt, block, start, pieces)
    if len(pieces) > 1:
        edges = np.cumsum([0, *(length for _, length in pieces)])
        for first, last in itertools.pairwise(edges):
            piece = excerpt[:, first:last]
            piece[:] = cut(piece, 0, piece.shape[1], rate)
    np.save(folder / "excerpt.npy", excerpt)
    return meter.integrated_lufs


def _keep(
    whole: FloatArray, block: FloatArray, start: int, pieces: Sequence[tuple[int, int]]
) -> None:
    """Copy what of a block belongs to the excerpt into its place."""
    position = 0
    for first, length in pieces:
        begin, end = max(first, start), min(first + length, start + block.shape[1])
        if begin < end:
            at = position + begin - first
            whole[:, at : at + end - begin] = block[:, begin - start : end - start]
        position += length


@dataclass(frozen=True)
class StemJob:
    """One stem to render through its strip into a file.

    Parameters
    ----------
    balanced_path
        Where to put the stem before its strip, too.
    store
        Where :func:`balance_step` keeps the balanced stem, or puts it; without one the tracks are
        summed on the way.
    """

    plan: Plan
    name: str
    session: FolderPlace
    path: Path
    balanced_path: Path | None = None
    store: Place | None = None


def stem_step(job: StemJob) -> StemSummary:
    """Render one stem through its strip, as 32-bit float WAV."""
    plan = _subgroup_plan(job.plan, job.name)
    rate = plan.sample_rate
    strip = Strip(plan.stems[0].settings, sample_rate=rate)
    meter = LoudnessMeter(sample_rate=rate, channels=2)
    with ExitStack() as stack:
        source, kept = _balanced(job, plan)
        stack.callback(source.close)
        writer = stack.enter_context(_float_wav(job.path, rate))
        before = None
        if job.balanced_path is not None and kept is not None:
            job.balanced_path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kept, job.balanced_path)
        elif job.balanced_path is not None:
            before = stack.enter_context(_float_wav(job.balanced_path, rate))
        for start in range(0, plan.frames, BLOCK_FRAMES):
            balanced = source.read(min(BLOCK_FRAMES, plan.frames - start))
            processed = strip.process(balanced)
            meter.process(processed)
            writer.write(processed)
            if before is not None:
                before.write(balanced)
    return StemSummary(meter.result(), strip.compressor.gain_reduction, job.path, job.balanced_path)


def _balanced(job: StemJob, plan: Plan) -> tuple[AudioStream | StemSum, Path | None]:
    """Open the balanced stem: as it is kept in the store, or summed on the way."""
    if job.store is not None:
        kept = balance_step(BalanceJob(job.plan, job.name, job.session, job.store)).whole
        if kept is not None:
            return AudioStream(kept), kept
    tracks = place_tracks(plan, near_folder(job.session))[job.name]
    return StemSum(tracks, sample_rate=plan.sample_rate), None


@dataclass(frozen=True)
class BusJob:
    """Rendered stems to sum through the bus, limit and deliver."""

    plan: Plan
    stems: tuple[Path, ...]
    mix_path: Path
    target_lufs: float
    crest_db: float | None


@dataclass(frozen=True)
class Mixdown:
    """The delivered mix, and the drive and trim that were found for it."""

    drive_db: float
    trim_db: float
    loudness: Loudness
    style: Style
    bus_compression: GainReduction
    stem_sum_lufs: float


def bus_step(job: BusJob) -> Mixdown:
    """Sum stems through the bus, find the drive and trim of the delivery, and write the mix."""
    plan = job.plan
    delivery = plan.delivery
    bus = Bus({**plan.bus, "gain_db": 0.0}, sample_rate=plan.sample_rate)
    driven = np.zeros((2, plan.frames))
    before = LoudnessMeter(sample_rate=plan.sample_rate, channels=2)
    with ExitStack() as stack:
        stems = [stack.enter_context(AudioStream(path)) for path in job.stems]
        for start in range(0, plan.frames, BLOCK_FRAMES):
            block = driven[:, start : start + BLOCK_FRAMES]
            for stem in stems:
                block += stem.read(block.shape[1])
            before.process(block)
            block[:] = bus.process(block)
    fitted = fit_delivery(
        driven,
        sample_rate=plan.sample_rate,
        target_lufs=job.target_lufs,
        ceiling_dbtp=delivery.limiter_ceiling_dbtp,
        crest_db=job.crest_db,
    )
    with AudioWriter(
        job.mix_path,
        sample_rate=plan.sample_rate,
        channels=2,
        format=delivery.format,
        subtype=delivery.subtype,
        dither_seed=delivery.dither_seed,
    ) as mix:
        mix.write(fitted.audio)
    return Mixdown(
        drive_db=fitted.drive_db,
        trim_db=fitted.trim_db,
        loudness=measure(fitted.audio, sample_rate=plan.sample_rate),
        style=measure_style(fitted.audio, sample_rate=plan.sample_rate),
        bus_compression=bus.compressor.gain_reduction,
        stem_sum_lufs=before.integrated_lufs,
    )
