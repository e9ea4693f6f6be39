"""TrackLevels of a track over time: RMS, noise floor, stereo image and attacks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel
from pipeline.loudness.meter import EnergyMeter
from pipeline.loudness.true_peak import as_block
from pipeline.units import BoolArray, Float32Array, Float64Array, power_to_db
from stage1.signal.file_faults import Moments

__all__ = ["LevelMeter", "Stereo", "measure_attacks"]


HOPS_PER_SECOND = 10
NOISE_FLOOR_PERCENTILE = 5.0
ONSET_RISE_DB = 6.0
ONSET_SPACING = 5
"""In 10 ms segments: nobody plays two notes within 50 ms."""
ONSET_RANGE_LU = 20.0


@kernel
def _add_products(
    left: Float32Array,
    right: Float32Array,
    sums: Float64Array,
    position: int,
    sample_rate: int,
) -> None:
    """Add left, right, left², right² and left x right to ``sums`` (5, hops).

    ``position`` is the index of the first frame in the whole signal, the first column of ``sums``
    the hop that it falls in.
    """
    first = position * 10 // sample_rate
    start = 0
    for n in range(sums.shape[1]):
        stop = min(((first + n + 1) * sample_rate + 9) // 10 - position, left.size)
        one, two = sums[0, n], sums[1, n]
        ll, rr, lr = sums[2, n], sums[3, n], sums[4, n]
        for i in range(start, stop):
            a, b = np.float64(left[i]), np.float64(right[i])
            one += a
            two += b
            ll += a * a
            rr += b * b
            lr += a * b
        sums[0, n], sums[1, n] = one, two
        sums[2, n], sums[3, n], sums[4, n] = ll, rr, lr
        start = stop


@dataclass(frozen=True)
class Stereo:
    """How the channels of a track stand to each other.

    Parameters
    ----------
    side_to_mid_db
        Level of the side against the mid; ``-inf`` for mono.
    correlation
        Of left and right, -1 to 1; 1 for mono, NaN where a channel is silent.
    lr_balance_db
        Level of right against left; 0 for mono and silence, infinite where one channel is silent.
    """

    side_to_mid_db: float
    correlation: float
    lr_balance_db: float


class LevelMeter:
    """RMS of each 100 ms and the products of two channels, fed block by block.

    Parameters
    ----------
    sample_rate
        In Hz.
    channels
        1 or 2.
    """

    def __init__(self, *, sample_rate: int, channels: int) -> None:
        self._rate = sample_rate
        self._channels = channels
        self._frames = 0
        self._sums = np.zeros((5, 1))
        self._done: list[Float64Array] = []

    def process(self, block: npt.ArrayLike) -> None:
        """Take the next block, ``(channels, frames)`` float32, of any length."""
        samples = as_block(block, self._channels)
        first = self._frames * HOPS_PER_SECOND // self._rate
        last = (self._frames + samples.shape[1]) * HOPS_PER_SECOND // self._rate
        sums = np.zeros((5, last - first + 1))
        sums[:, :1] = self._sums
        _add_products(samples[0], samples[-1], sums, self._frames, self._rate)
        self._frames += samples.shape[1]
        self._done.append(sums[:, :-1])
        self._sums = sums[:, -1:]

    def _all(self) -> Float64Array:
        return np.concatenate([*self._done, self._sums], axis=1)  # (5, hops)

    def _lengths(self, hops: int) -> npt.NDArray[np.int64]:
        edges = np.ceil(np.arange(hops + 1) * self._rate / HOPS_PER_SECOND).astype(np.int64)
        return np.diff(np.minimum(edges, self._frames))

    def moments(self) -> Moments:
        """Return the sums of each 100 ms."""
        sums = self._all()
        return Moments(sums, self._lengths(sums.shape[1]), self._channels)

    def levels(self, active: BoolArray) -> tuple[float, float]:
        """Return RMS over the active time and noise floor, in dBFS, of the channels' mean power.

        Parameters
        ----------
        active
            One flag each 100 ms, as :meth:`pipeline.loudness.meter.EnergyMeter.active` returns.
        """
        energy = self._all()[2 : 2 + self._channels].sum(axis=0)
        lengths = self._lengths(energy.size) * self._channels
        # A hop without any complete segment of the meter belongs to the one before it.
        hops = min(active.size, energy.size)
        energy[hops - 1] += energy[hops:].sum()
        lengths[hops - 1] += lengths[hops:].sum()
        energy, lengths = energy[:hops][lengths[:hops] > 0], lengths[:hops][lengths[:hops] > 0]
        if energy.size == 0:
            return -math.inf, -math.inf
        playing = active[: energy.size]
        rms = float(energy[playing].sum() / lengths[playing].sum()) if playing.any() else 0.0
        power = (energy / lengths)[energy > 0.0]
        floor = float(np.percentile(power, NOISE_FLOOR_PERCENTILE)) if power.size else 0.0
        return power_to_db(rms), power_to_db(floor)

    def image(self) -> Stereo:
        """Return how the channels stand to each other."""
        if self._channels == 1:
            return Stereo(-math.inf, 1.0, 0.0)
        ll, rr, lr = (float(total) for total in self._all()[2:].sum(axis=1))
        if ll == 0.0 or rr == 0.0:
            balance = 0.0 if ll == rr else math.copysign(math.inf, rr - ll)
            return Stereo(-math.inf if ll == rr else 0.0, math.nan, balance)
        side, mid = max(ll + rr - 2 * lr, 0.0), max(ll + rr + 2 * lr, 0.0)
        # Two equal channels: what is left over is rounding, 140 dB down.
        side = side if side > 1e-14 * mid else 0.0
        side_to_mid_db = power_to_db(side / mid) if mid > 1e-14 * side else math.inf
        return Stereo(side_to_mid_db, lr / math.sqrt(ll * rr), power_to_db(rr / ll))


def measure_attacks(meter: EnergyMeter, active: BoolArray) -> tuple[int, float]:
    """Count the attacks, and measure the median excess of the loudest 10 ms over 400 ms in dB.

    Parameters
    ----------
    meter
        The meter that the track was fed to.
    active
        As for :meth:`LevelMeter.levels`.
    """
    power = meter.segment_power()
    if power.size < 40 or not active.any():
        return (1 if active.any() else 0), 0.0
    floor = 10.0 ** ((meter.integrated_lufs - ONSET_RANGE_LU) / 10.0)
    level = 10.0 * np.log10(np.maximum(power, floor))
    # A rise over the last 30 ms, at its steepest point, one a note.
    before = np.maximum.reduce([np.r_[[level.min()] * k, level[:-k]] for k in (1, 2, 3)])
    rises = np.flatnonzero(level - before > ONSET_RISE_DB)
    onsets = 0
    last = -ONSET_SPACING
    for rise in rises:
        if rise - last >= ONSET_SPACING:
            onsets += 1
            last = int(rise)
    windows = np.lib.stride_tricks.sliding_window_view(power, 40)[::10]
    mean = windows.mean(axis=1)
    use = active[: mean.size] & (mean > 0.0)
    if not use.any():
        return onsets, 0.0
    return onsets, float(np.median(10.0 * np.log10(windows[use].max(axis=1) / mean[use])))
