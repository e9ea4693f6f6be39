"""When a track plays: where its power comes near its own mean."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel
from pipeline.units import Float32Array, Float64Array

__all__ = ["HOPS_PER_SECOND", "PlayMeter"]

HOPS_PER_SECOND = 10
PLAY_FLOOR_DBFS = -70.0
PLAY_RANGE_DB = 20.0


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
        """Add a block, ``(channels, frames)``, that begins at frame ``start`` of the mix."""
        _add_energy(self._energy, block, start, self._sample_rate)

    def plays(self) -> npt.NDArray[np.bool_]:
        """Return in which hops, ``(hops,)``, the power is within 20 dB of its gated mean."""
        power = self._energy[:-1] * HOPS_PER_SECOND / self._sample_rate
        loud = power > 10.0 ** (PLAY_FLOOR_DBFS / 10.0)
        if not loud.any():
            return loud
        return np.asarray(loud & (power > power[loud].mean() * 10.0 ** (-PLAY_RANGE_DB / 10.0)))
