"""One stem by several balances at once: each track is decoded once and summed at all its gains.

What :class:`pipeline.render.tracks.StemSum` gives for one plan, sample for sample, for many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel
from pipeline.render.tracks import PlacedTrack, TrackReader
from pipeline.units import Float32Array, Float64Array, FloatArray

__all__ = ["HOPS_PER_SECOND", "PlayMeter", "StemSums"]

HOPS_PER_SECOND = 10
PLAY_FLOOR_DBFS = -70.0
PLAY_RANGE_DB = 20.0


OnBlock = Callable[[int, int, Float32Array], None]


@kernel
def _add_all(
    totals: Float64Array, block: Float32Array, start: int, gains: Float64Array
) -> None:  # pragma: no cover - compiled
    """Add a block to each balance's sum; the arithmetic of one sample is that of one plan."""
    first = block[0]
    second = block[block.shape[0] - 1]
    for k in range(totals.shape[0]):
        left, right = totals[k, 0], totals[k, 1]
        gain_left, gain_right = gains[k, 0], gains[k, 1]
        for n in range(first.size):
            left[start + n] += gain_left * np.float64(first[n])
            right[start + n] += gain_right * np.float64(second[n])


@kernel
def _add_energy(
    energy: Float64Array, block: Float32Array, start: int, sample_rate: int
) -> None:  # pragma: no cover - compiled
    """Add the squares of a block, which begins at frame ``start``, to its tenths of a second."""
    frames = block.shape[1]
    n = 0
    while n < frames:
        hop = (start + n) * HOPS_PER_SECOND // sample_rate
        stop = min(-(-(hop + 1) * sample_rate // HOPS_PER_SECOND) - start, frames)
        for channel in range(block.shape[0]):
            total = 0.0
            for i in range(n, stop):
                x = np.float64(block[channel, i])
                total += x * x
            energy[hop] += total / block.shape[0]
        n = stop


class PlayMeter:
    """When a track plays: one flag each 100 ms of the mix.

    Parameters
    ----------
    frames, sample_rate
        Length of the mix and its rate in Hz.
    """

    def __init__(self, *, frames: int, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._energy = np.zeros(-(-frames * HOPS_PER_SECOND // sample_rate) + 1)

    def process(self, block: Float32Array, start: int) -> None:
        """Take a block that begins at frame ``start`` of the mix."""
        _add_energy(self._energy, block, start, self._sample_rate)

    def plays(self) -> npt.NDArray[np.bool_]:
        """Return where the power is less than 20 dB under its own gated mean."""
        power = self._energy[:-1] * HOPS_PER_SECOND / self._sample_rate
        loud = power > 10.0 ** (PLAY_FLOOR_DBFS / 10.0)
        if not loud.any():
            return loud
        return np.asarray(loud & (power > power[loud].mean() * 10.0 ** (-PLAY_RANGE_DB / 10.0)))


class StemSums:
    """The sums of one stem's tracks by several balances, block by block from the mix's start.

    Parameters
    ----------
    balances
        The same tracks in the same order, placed by each balance.
    sample_rate
        Of the mix in Hz.
    on_block
        Called with each track's index, the frame of the mix where a block of it begins, and the
        block, ``(channels, frames)`` before any gain.

    Raises
    ------
    ValueError
        If the balances are not of the same tracks at the same places.
    """

    def __init__(
        self,
        balances: Sequence[Sequence[PlacedTrack]],
        *,
        sample_rate: int,
        on_block: OnBlock | None = None,
    ) -> None:
        places = [[(t.path, t.start, t.end, t.conditioning) for t in tracks] for tracks in balances]
        if not places or any(place != places[0] for place in places):
            raise ValueError("balances are not of the same tracks: give each of them every track")
        placed = balances[0]
        self._gains = np.array(
            [
                [[tracks[index].gain_left, tracks[index].gain_right] for tracks in balances]
                for index in range(len(placed))
            ]
        ).reshape(len(placed), len(balances), 2)
        self._balances = len(balances)
        self._on_block = on_block
        self._reader = TrackReader(placed, sample_rate=sample_rate)
        self._position = 0

    def read(self, frames: int) -> FloatArray:
        """Return the next block of each balance, float32, shape (balances, 2, frames)."""
        totals = np.zeros((self._balances, 2, frames))
        for index, first, samples in self._reader.read(frames):
            block = np.ascontiguousarray(samples, np.float32)
            _add_all(totals, block, first - self._position, self._gains[index])
            if self._on_block is not None:
                self._on_block(index, first, block)
        self._position += frames
        return totals.astype(np.float32)

    def close(self) -> None:
        """Close the files that are still open."""
        self._reader.close()
