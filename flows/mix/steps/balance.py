"""The balance of a mix as a step: the tracks of a subgroup summed to its stem."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flows.storage.locations import Place
from flows.storage.mirror import FolderPlace, near_folder
from flows.storage.source_files import SourceFiles
from flows.storage.step import Kept, Record, step
from flows.storage.store import Store
from pipeline.loudness.meter import EnergyMeter
from pipeline.plan import Plan, TrackPlan
from pipeline.render.stems import BLOCK_FRAMES, StemSum
from pipeline.render.strips import float_wav
from pipeline.render.tracks import place_tracks
from pipeline.units import FloatArray

__all__ = [
    "BalanceJob",
    "BalancedStem",
    "balance_step",
    "cut",
    "passages",
]

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
    """One subgroup to sum: the plan holds its tracks' gains and pans.

    Parameters
    ----------
    contents
        What analysis saw in the tracks, by their paths in the session: a hash each.
    """

    plan: Plan
    subgroup: str
    session: FolderPlace
    store: Place
    contents: Mapping[str, str] = field(default_factory=dict)


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
        The stem itself, 32-bit float WAV.
    """

    name: str
    loudness_lufs: float
    excerpt: Path
    key: str
    whole: Path

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


def _playing(job: BalanceJob) -> list[TrackPlan]:
    return [t for t in job.plan.tracks if t.subgroup == job.subgroup and not t.mute]


def _track_files(job: BalanceJob, store: Store) -> SourceFiles:
    session = near_folder(job.session)
    return SourceFiles(store, {t.path: session / t.path for t in _playing(job)}, job.contents)


def _balance_inputs(job: BalanceJob, contents: Mapping[str, str]) -> dict[str, Any]:
    return {
        "tracks": [
            [
                contents[t.path],
                t.gain_db,
                t.pan,
                t.offset_s,
                t.invert,
                asdict(t.conditioning),
            ]
            for t in _playing(job)
        ],
        "sample_rate": job.plan.sample_rate,
        "frames": job.plan.frames,
    }


def _balanced(job: BalanceJob, kept: Kept) -> BalancedStem:
    return BalancedStem(
        job.subgroup,
        kept.record["loudness_lufs"],
        kept.folder / "excerpt.npy",
        kept.key,
        kept.folder / "whole.wav",
    )


@step(
    "balance",
    sources=_track_files,
    inputs=_balance_inputs,
    result=_balanced,
    libraries=("numpy", "numba", "soundfile", "soxr"),
)
def balance_step(job: BalanceJob, folder: Path) -> Record:
    """Sum the tracks of one subgroup at their gains and pans; keep the stem and an excerpt."""
    plan = _subgroup_plan(job.plan, job.subgroup)
    return {"loudness_lufs": _sum_tracks(plan, near_folder(job.session), folder)}


def _sum_tracks(plan: Plan, session: Path, folder: Path) -> float:
    """Write a subgroup's stem and its excerpt into a folder; return its loudness in LUFS."""
    rate = plan.sample_rate
    stem = StemSum([place_tracks(plan, session)[plan.stems[0].name]], sample_rate=rate)
    meter = EnergyMeter(sample_rate=rate, channels=2)
    pieces = passages(plan.frames, rate)
    excerpt = np.zeros((2, sum(length for _, length in pieces)), dtype=np.float32)
    with ExitStack() as stack:
        stack.callback(stem.close)
        writer = stack.enter_context(float_wav(folder / "whole.wav", rate))
        for start in range(0, plan.frames, BLOCK_FRAMES):
            block = stem.read(min(BLOCK_FRAMES, plan.frames - start))[0]
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
