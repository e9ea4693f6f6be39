"""K-weighted energy inside bands, in one pass: the filters of :mod:`stage1.loudness.narrowband`.

K-weighting and the bands' filters are run sample by sample in one loop, in float64, as if the
signal were filtered first and metered then: the order of linear filters does not matter.
"""

from __future__ import annotations

import numpy as np
import scipy.signal

from pipeline.jit import kernel
from pipeline.loudness.energy import Energies, k_step, k_weighting, rung_out, segment_end
from pipeline.units import Float32Array, Float64Array

__all__ = ["BandEnergies", "FoldBandEnergies", "first_order", "second_order"]


def _edges(
    low_hz: float, high_hz: float, sample_rate: int, order: int
) -> tuple[Float64Array | None, Float64Array | None]:
    """Butterworth high-pass and low-pass, one section each; None for an edge out of range."""
    nyquist = sample_rate / 2
    low = high = None
    if low_hz > 0.0:
        edge = min(low_hz, 0.999 * nyquist)
        low = scipy.signal.butter(order, edge, "highpass", fs=sample_rate, output="sos")[0]
    if high_hz < nyquist:
        high = scipy.signal.butter(order, high_hz, fs=sample_rate, output="sos")[0]
    return low, high


def first_order(low_hz: float, high_hz: float, sample_rate: int) -> Float64Array:
    """Return the first-order Butterworth high-pass and low-pass at the edges of a band.

    Returns
    -------
    ndarray, shape (2, 3)
        ``b0 b1 a1`` of each; the identity for an edge at 0 or from the Nyquist frequency on.
    """
    sections = _edges(low_hz, high_hz, sample_rate, 1)
    return np.array([(1.0, 0.0, 0.0) if s is None else (s[0], s[1], s[4]) for s in sections])


def second_order(low_hz: float, high_hz: float, sample_rate: int) -> Float64Array:
    """Return the second-order Butterworth high-pass and low-pass at the edges of a band.

    Returns
    -------
    ndarray, shape (2, 5)
        ``b0 b1 b2 a1 a2`` of each; the identity for an edge at 0 or from the Nyquist frequency on.
    """
    sections = _edges(low_hz, high_hz, sample_rate, 2)
    return np.array(
        [(1.0, 0.0, 0.0, 0.0, 0.0) if s is None else (*s[:3], *s[4:]) for s in sections]
    )


@kernel
def _add_fold(
    left: Float32Array,
    right: Float32Array,
    k: Float64Array,
    bands: Float64Array,
    state: Float64Array,
    energies: Float64Array,
    position: int,
    sample_rate: int,
) -> None:
    """Add the squares of the fold, K-weighted and inside two bands, to ``energies`` (2, segments).

    Of a mono signal ``left`` is ``right``. ``position`` is the index of the first frame in the
    whole signal, the first column of ``energies`` the segment it falls in.
    """
    first = position * 100 // sample_rate
    s = (state[0], state[1], state[2], state[3], state[4])
    u, v, p, q = state[5], state[6], state[7], state[8]
    u0, u1, ua = bands[0, 0, 0], bands[0, 0, 1], bands[0, 0, 2]
    v0, v1, va = bands[0, 1, 0], bands[0, 1, 1], bands[0, 1, 2]
    p0, p1, pa = bands[1, 0, 0], bands[1, 0, 1], bands[1, 0, 2]
    q0, q1, qa = bands[1, 1, 0], bands[1, 1, 1], bands[1, 1, 2]
    start = 0
    for n in range(energies.shape[1]):
        end = segment_end(first + n, sample_rate) - position
        stop = min(end, left.size)
        if s == (0.0, 0.0, 0.0, 0.0, 0.0) and u == 0.0 and v == 0.0 and p == 0.0 and q == 0.0:
            while start < stop and left[start] == 0.0 and right[start] == 0.0:
                start += 1
        energy_u, energy_p = energies[0, n], energies[1, n]
        for i in range(start, stop):
            x1 = s[4]
            # The published fold is the mean in float32.
            s, x = k_step(np.float64(np.float32(0.5) * (left[i] + right[i])), s, k)
            low = (u0 * x + u1 * x1) - ua * u
            v = (v0 * low + v1 * u) - va * v
            u = low
            energy_u += v * v
            low = (p0 * x + p1 * x1) - pa * p
            q = (q0 * low + q1 * p) - qa * q
            p = low
            energy_p += q * q
        energies[0, n], energies[1, n] = energy_u, energy_p
        start = stop
        if stop == end and rung_out(s) and rung_out((u, v, p, q, 0.0)):
            s = (0.0, 0.0, 0.0, 0.0, 0.0)
            u = v = p = q = 0.0
    state[0], state[1], state[2], state[3], state[4] = s
    state[5], state[6], state[7], state[8] = u, v, p, q


@kernel
def _add_band(
    line: Float32Array,
    k: Float64Array,
    band: Float64Array,
    state: Float64Array,
    energies: Float64Array,
    position: int,
    sample_rate: int,
) -> None:
    """Add the squares of one channel, K-weighted and inside a band, to ``energies`` (segments,)."""
    first = position * 100 // sample_rate
    s = (state[0], state[1], state[2], state[3], state[4])
    ahead_u, u, ahead_v, v = state[5], state[6], state[7], state[8]
    b0, b1, b2, a1, a2 = band[0, 0], band[0, 1], band[0, 2], band[0, 3], band[0, 4]
    d0, d1, d2, c1, c2 = band[1, 0], band[1, 1], band[1, 2], band[1, 3], band[1, 4]
    start = 0
    for n in range(energies.size):
        end = segment_end(first + n, sample_rate) - position
        stop = min(end, line.size)
        if s == (0.0, 0.0, 0.0, 0.0, 0.0) and u == 0.0 and v == 0.0:
            while start < stop and line[start] == 0.0:
                start += 1
        energy = energies[n]
        for i in range(start, stop):
            x1 = s[4]
            s, x = k_step(np.float64(line[i]), s, k)
            y = (b0 * x + ahead_u) - a1 * u
            z = (d0 * y + ahead_v) - c1 * v
            ahead_u = b1 * x + (b2 * x1 - a2 * u)
            ahead_v = d1 * y + (d2 * u - c2 * v)
            u, v = y, z
            energy += z * z
        energies[n] = energy
        start = stop
        if stop == end and rung_out(s) and rung_out((ahead_u, u, ahead_v, v, 0.0)):
            s = (0.0, 0.0, 0.0, 0.0, 0.0)
            ahead_u = u = ahead_v = v = 0.0
    state[0], state[1], state[2], state[3], state[4] = s
    state[5], state[6], state[7], state[8] = ahead_u, u, ahead_v, v


class FoldBandEnergies:
    """Energies of the mono fold inside two bands of first order, block by block.

    Parameters
    ----------
    bands
        ``(2, 2, 3)``: two of :func:`first_order`.
    sample_rate
        In Hz.
    """

    def __init__(self, bands: Float64Array, *, sample_rate: int) -> None:
        self._k = k_weighting(sample_rate).copy()
        self._bands = bands
        self._state = np.zeros(9)
        self.energies = Energies(2, sample_rate=sample_rate)

    def process(self, samples: Float32Array) -> None:
        """Take the next block, ``(1 or 2, frames)`` with contiguous rows."""
        rows, position = self.energies.take(samples.shape[1])
        rate = self.energies.sample_rate
        _add_fold(samples[0], samples[-1], self._k, self._bands, self._state, rows, position, rate)


class BandEnergies:
    """Energies of each channel inside a band of second order, block by block.

    Parameters
    ----------
    band
        ``(2, 5)``, of :func:`second_order`.
    sample_rate
        In Hz.
    channels
        Of the signal.
    """

    def __init__(self, band: Float64Array, *, sample_rate: int, channels: int) -> None:
        self._k = k_weighting(sample_rate).copy()
        self._band = band
        self._states = np.zeros((channels, 9))
        self.energies = Energies(channels, sample_rate=sample_rate)

    def process(self, samples: Float32Array) -> None:
        """Take the next block, ``(channels, frames)`` with contiguous rows."""
        rows, position = self.energies.take(samples.shape[1])
        rate = self.energies.sample_rate
        for line, state, row in zip(samples, self._states, rows, strict=True):
            _add_band(line, self._k, self._band, state, row, position, rate)
