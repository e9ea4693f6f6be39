"""K-weighted energy of a signal in segments of 10 ms: what every loudness measure is made of.

Filters and sums are carried over from block to block, so the size of the blocks never changes a
result, bit for bit. Digital silence costs nothing.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from pipeline.jit import kernel
from pipeline.units import Float32Array, Float64Array

__all__ = [
    "SEGMENTS_PER_SECOND",
    "Energies",
    "add_k_weighted",
    "k_step",
    "k_weighting",
    "rung_out",
    "segment_end",
]


SEGMENTS_PER_SECOND = 100
"""Energies are kept in segments of 10 ms: EBU Tech 3341 case 13 wants the momentary maximum of a
400 ms burst that starts anywhere, which a 100 ms grid misses by 0.6 dB."""


@lru_cache(maxsize=32)
def k_weighting(sample_rate: int) -> Float64Array:
    """Return the two K-weighting biquads for any sample rate.

    The analogue prototypes behind the 48 kHz coefficients of BS.1770-5 (B. De Man, "Evaluation of
    implementations of the EBU R128 loudness measurement", AES 145, 2018), through the bilinear
    transform at ``sample_rate``; at 48 kHz they are the standard's own.

    Parameters
    ----------
    sample_rate
        In Hz.

    Returns
    -------
    ndarray, shape (2, 6), float64
        Second-order sections ``b0 b1 b2 a0 a1 a2``: the shelf, then the high-pass.

    Examples
    --------
    >>> [round(float(c), 5) for c in k_weighting(48000)[0, :3]]
    [1.53512, -2.69170, 1.19839]
    """
    shelf_gain = 10.0 ** (3.99984385397 / 20.0)
    shelf_mid = shelf_gain**0.499666774155
    shelf_q = 0.7071752369554193
    K = math.tan(math.pi * 1681.9744509555319 / sample_rate)
    norm = 1.0 + K / shelf_q + K * K
    shelf = (
        (shelf_gain + shelf_mid * K / shelf_q + K * K) / norm,
        2.0 * (K * K - shelf_gain) / norm,
        (shelf_gain - shelf_mid * K / shelf_q + K * K) / norm,
        1.0,
        2.0 * (K * K - 1.0) / norm,
        (1.0 - K / shelf_q + K * K) / norm,
    )
    pass_q = 0.5003270373238773
    K = math.tan(math.pi * 38.13547087602444 / sample_rate)
    norm = 1.0 + K / pass_q + K * K
    # The standard leaves the numerator of the high-pass unnormalised.
    high_pass = (
        1.0,
        -2.0,
        1.0,
        1.0,
        2.0 * (K * K - 1.0) / norm,
        (1.0 - K / pass_q + K * K) / norm,
    )
    sections = np.array([shelf, high_pass])
    sections.flags.writeable = False
    return sections


@kernel
def segment_end(segment: int, sample_rate: int) -> int:
    """Return the first frame behind a segment: the first with frame * 100 >= end * sample_rate."""
    return ((segment + 1) * sample_rate + 99) // 100


@kernel
def k_step(
    x: float, state: tuple[float, float, float, float, float], k: Float64Array
) -> tuple[tuple[float, float, float, float, float], float]:
    """Filter one sample; return the new state and the output.

    The two biquads in direct form, with all that does not need the last output summed ahead: the
    loop is bound by how long that takes, not by how much there is to do.
    """
    x1, ahead, y1, ahead2, z1 = state
    y = (k[0, 0] * x + ahead) - k[0, 4] * y1
    z = (y + ahead2) - k[1, 4] * z1
    ahead = k[0, 1] * x + (k[0, 2] * x1 - k[0, 5] * y1)
    ahead2 = (y1 - k[1, 5] * z1) - 2.0 * y
    return (x, ahead, y, ahead2, z), z


@kernel
def rung_out(state: tuple[float, float, float, float, float]) -> bool:
    """Return whether a filter is at rest: on digital silence it would decay into denormals."""
    a, b, c, d, e = state
    return abs(a) + abs(b) + abs(c) + abs(d) + abs(e) < 1e-30


@kernel
def _add_mono(
    block: Float32Array,
    sections: Float64Array,
    state: Float64Array,
    energies: Float64Array,
    position: int,
    sample_rate: int,
) -> None:
    """K-weight ``block`` and add the squares to ``energies`` (segments,).

    ``position`` is the index of the first frame in the whole signal, the first of ``energies``
    that of the segment it falls in.
    """
    k = sections
    first = position * 100 // sample_rate
    s = (state[0], state[1], state[2], state[3], state[4])
    start = 0
    for n in range(energies.size):
        end = segment_end(first + n, sample_rate) - position
        stop = min(end, block.size)
        if s == (0.0, 0.0, 0.0, 0.0, 0.0):
            while start < stop and block[start] == 0.0:
                start += 1
        energy = energies[n]
        for i in range(start, stop):
            s, z = k_step(np.float64(block[i]), s, k)
            energy += z * z
        energies[n] = energy
        start = stop
        if stop == end and rung_out(s):
            s = (0.0, 0.0, 0.0, 0.0, 0.0)
    state[0], state[1], state[2], state[3], state[4] = s


@kernel
def _add_stereo(
    left: Float32Array,
    right: Float32Array,
    sections: Float64Array,
    state: Float64Array,
    energies: Float64Array,
    position: int,
    sample_rate: int,
) -> None:
    """As :func:`_add_mono` for two channels at once; the third of ``energies`` is their mean's.

    The K-weighted mean is the mean of the K-weighted channels.
    """
    k = sections
    first = position * 100 // sample_rate
    nothing = (0.0, 0.0, 0.0, 0.0, 0.0)
    s = (state[0, 0], state[0, 1], state[0, 2], state[0, 3], state[0, 4])
    t = (state[1, 0], state[1, 1], state[1, 2], state[1, 3], state[1, 4])
    start = 0
    for n in range(energies.shape[1]):
        end = segment_end(first + n, sample_rate) - position
        stop = min(end, left.size)
        if s == nothing and t == nothing:
            while start < stop and left[start] == 0.0 and right[start] == 0.0:
                start += 1
        energy_left, energy_right, energy_mean = energies[0, n], energies[1, n], energies[2, n]
        for i in range(start, stop):
            s, a = k_step(np.float64(left[i]), s, k)
            t, b = k_step(np.float64(right[i]), t, k)
            energy_left += a * a
            energy_right += b * b
            mean = 0.5 * (a + b)
            energy_mean += mean * mean
        energies[0, n], energies[1, n], energies[2, n] = energy_left, energy_right, energy_mean
        start = stop
        if stop == end:
            if rung_out(s):
                s = nothing
            if rung_out(t):
                t = nothing
    for j in range(5):
        state[0, j], state[1, j] = s[j], t[j]


def add_k_weighted(
    block: Float32Array, state: Float64Array, energies: Energies, *, sections: Float64Array
) -> None:
    """K-weight the next block and add its squares to the segments.

    Parameters
    ----------
    block
        ``(channels, frames)`` with contiguous rows.
    state
        ``(channels, 5)``, zeros at the start; updated.
    energies
        Of the channels and, of a stereo signal, of their mean behind them.
    sections
        :func:`k_weighting`, writeable.
    """
    rows, position = energies.take(block.shape[1])
    if len(block) == 2:
        _add_stereo(block[0], block[1], sections, state, rows, position, energies.sample_rate)
        return
    for channel, line in enumerate(block):
        _add_mono(line, sections, state[channel], rows[channel], position, energies.sample_rate)


class Energies:
    """Sums of squares in segments of 10 ms, of several signals at once, block by block.

    Parameters
    ----------
    rows
        Number of signals.
    sample_rate
        In Hz.
    """

    def __init__(self, rows: int, *, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._frames = 0
        self._blocks: list[Float64Array] = []
        self._rows = rows

    def take(self, frames: int) -> tuple[Float64Array, int]:
        """Return where to add the squares of the next block, and where that block begins.

        The first column ``(rows, segments)`` is of the segment that the block before left open.
        """
        position, rate = self._frames, self.sample_rate
        first = position * SEGMENTS_PER_SECOND // rate
        self._frames += frames
        last = self._frames * SEGMENTS_PER_SECOND // rate
        rows = np.zeros((self._rows, last - first + 1))
        if self._blocks:
            # Only the last block's last segment may be incomplete.
            rows[:, 0] = self._blocks[-1][:, -1]
            self._blocks[-1] = self._blocks[-1][:, :-1]
        self._blocks.append(rows)
        return rows, position

    def _joined(self) -> Float64Array:
        if not self._blocks:
            return np.zeros((self._rows, 1))
        self._blocks = [np.concatenate(self._blocks, axis=1)]
        return self._blocks[0]

    def power(self) -> Float64Array:
        """Return the mean square of each complete segment, ``(rows, segments)``."""
        return self._joined()[:, :-1] * (SEGMENTS_PER_SECOND / self.sample_rate)

    def open_power(self) -> Float64Array:
        """Return the mean square of the last segment, padded with silence, ``(rows,)``."""
        return self._joined()[:, -1] * (SEGMENTS_PER_SECOND / self.sample_rate)
