"""Loudness and peak meters of ITU-R BS.1770-5 and EBU R 128, fed block by block.

Momentary (400 ms), short-term (3 s), integrated (gated), loudness range (EBU Tech 3342), true peak
(four-times oversampled, BS.1770-5 annex 2) and sample peak. The size of the blocks never changes a
result: filters and sums are carried over, bit for bit.

A mono signal counts as one channel with weight 1, so it reads 3.01 LU less than the same signal on
both channels of a stereo file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import numba
import numpy as np
import numpy.typing as npt

from pipeline.true_peak import TruePeakMeter, as_block
from pipeline.units import FloatArray

__all__ = [
    "ABSOLUTE_GATE_LUFS",
    "EnergyMeter",
    "Loudness",
    "LoudnessMeter",
    "gated_lufs",
    "integrated_loudness",
    "k_weighting",
    "lufs_to_power",
    "measure",
]

Float64Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
RANGE_GATE_LU = -20.0
"""The relative gate of the loudness range (EBU Tech 3342)."""
RANGE_PERCENTILES = (10.0, 95.0)
LUFS_OFFSET_DB = -0.691
"""BS.1770-5 annex 1, eq. 2: cancels the gain of the K-weighting at 997 Hz."""

ACTIVITY_FLOOR_LUFS = -60.0
ACTIVITY_RANGE_LU = 25.0

SEGMENTS_PER_SECOND = 100
"""Energies are kept in segments of 10 ms: EBU Tech 3341 case 13 wants the momentary maximum of a
400 ms burst that starts anywhere, which a 100 ms grid misses by 0.6 dB."""
SEGMENTS_PER_HOP = 10
SEGMENTS_PER_MOMENTARY = 40
SEGMENTS_PER_SHORT_TERM = 300

CHANNEL_WEIGHTS = (1.0, 1.0, 1.0, 1.41, 1.41)
"""Left, right, centre, left surround, right surround (BS.1770-5 annex 1, table 3)."""

BLOCK_FRAMES = 65536


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


@numba.njit(cache=True, nogil=True)
def _add_energies(
    block: Float32Array,
    sections: Float64Array,
    state: Float64Array,
    energies: Float64Array,
    position: int,
    sample_rate: int,
) -> None:
    """K-weight ``block`` and add the squares to ``energies`` (channels, segments).

    ``position`` is the index of the first frame in the whole signal, the first column of
    ``energies`` the segment it falls in.
    """
    b0, b1, b2 = sections[0, 0], sections[0, 1], sections[0, 2]
    a1, a2 = sections[0, 4], sections[0, 5]
    c1, c2 = sections[1, 4], sections[1, 5]
    frames = block.shape[1]
    first = position * 100 // sample_rate
    for channel in range(block.shape[0]):
        s1, s2, s3, s4 = (
            state[channel, 0],
            state[channel, 1],
            state[channel, 2],
            state[channel, 3],
        )
        segment = first
        start = 0
        while start < frames:
            # The first frame of segment k is the first with frame * 100 >= k * sample_rate.
            boundary = ((segment + 1) * sample_rate + 99) // 100
            stop = min(boundary - position, frames)
            energy = energies[channel, segment - first]
            for i in range(start, stop):
                x = float(block[channel, i])
                y = b0 * x + s1
                s1 = b1 * x - a1 * y + s2
                s2 = b2 * x - a2 * y
                z = y + s3
                s3 = s4 - 2.0 * y - c1 * z
                s4 = y - c2 * z
                energy += z * z
            energies[channel, segment - first] = energy
            if stop == boundary - position:
                # Digital silence would let the states decay into denormals, 100 times slower.
                if abs(s1) + abs(s2) + abs(s3) + abs(s4) < 1e-30:
                    s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0
                segment += 1
            start = stop
        state[channel, 0], state[channel, 1] = s1, s2
        state[channel, 2], state[channel, 3] = s3, s4


def _lufs(power: Float64Array) -> Float64Array:
    with np.errstate(divide="ignore"):
        return np.asarray(LUFS_OFFSET_DB + 10.0 * np.log10(power))


def lufs_to_power(lufs: float) -> float:
    """Return the K-weighted mean square of a loudness; ``-inf`` LUFS is 0."""
    return float(10.0 ** ((lufs - LUFS_OFFSET_DB) / 10.0))


def _mean_lufs(power: Float64Array) -> float:
    mean = float(power.mean()) if power.size else 0.0
    return LUFS_OFFSET_DB + 10.0 * math.log10(mean) if mean > 0.0 else -math.inf


def gated_lufs(power: Float64Array) -> float:
    """Return the integrated loudness of gating blocks (BS.1770-5 annex 1, eq. 3 to 7).

    Parameters
    ----------
    power
        Mean power of each block, as :meth:`EnergyMeter.momentary_power` returns.

    Returns
    -------
    float
        In LUFS; ``-inf`` where no block passes the absolute gate.
    """
    power = power[power > lufs_to_power(ABSOLUTE_GATE_LUFS)]
    return _mean_lufs(power[power > lufs_to_power(_mean_lufs(power) + RELATIVE_GATE_LU)])


class EnergyMeter:
    """K-weighted energy of a signal in 10 ms segments, and the loudness measures made of it.

    Parameters
    ----------
    sample_rate
        In Hz.
    channels
        1 to 5, in the order left, right, centre, left surround, right surround.

    Raises
    ------
    ValueError
        If the number of channels or the sample rate is out of range.
    """

    def __init__(self, *, sample_rate: int, channels: int) -> None:
        if not 1 <= channels <= len(CHANNEL_WEIGHTS):
            msg = f"a loudness meter takes 1 to {len(CHANNEL_WEIGHTS)} channels, not {channels}"
            raise ValueError(msg)
        if sample_rate < 4000:
            msg = f"a loudness meter needs a sample rate of at least 4000 Hz, not {sample_rate}"
            raise ValueError(msg)
        self.sample_rate = sample_rate
        self.channels = channels
        self._weights = np.array(CHANNEL_WEIGHTS[:channels])
        self._sections = k_weighting(sample_rate).copy()
        self._state = np.zeros((channels, 4))
        self._frames = 0
        self._done: list[Float64Array] = []
        self._open = np.zeros((channels, 1))

    def process(self, block: npt.ArrayLike) -> None:
        """Take the next block, ``(channels, frames)`` float32, of any length."""
        samples = as_block(block, self.channels)
        frames = samples.shape[1]
        if frames == 0:
            return
        first = self._frames * SEGMENTS_PER_SECOND // self.sample_rate
        last = (self._frames + frames) * SEGMENTS_PER_SECOND // self.sample_rate
        energies = np.zeros((self.channels, last - first + 1))
        energies[:, 0] = self._open[:, 0]
        _add_energies(
            samples,
            self._sections,
            self._state,
            energies,
            self._frames,
            self.sample_rate,
        )
        self._frames += frames
        self._open = energies[:, -1:].copy()
        if last > first:
            self._done.append(self._weights @ energies[:, :-1])

    def segment_power(self) -> Float64Array:
        """Return the channel-weighted mean square of each complete 10 ms segment."""
        energy = np.concatenate(self._done) if self._done else np.zeros(0)
        return energy * (SEGMENTS_PER_SECOND / self.sample_rate)

    def _windows(self, segments: int, *, stride: int) -> Float64Array:
        """Mean power of sliding windows; a signal shorter than one is padded with silence."""
        power = self.segment_power()
        if power.size < segments:
            power = np.append(
                power, self._weights @ self._open * (SEGMENTS_PER_SECOND / self.sample_rate)
            )
            power = np.pad(power, (0, max(segments - power.size, 0)))[:segments]
        # Sums of whole strides first: fewer terms, and no running difference that loses precision.
        usable = power.size // stride * stride
        hops = power[:usable].reshape(-1, stride).sum(axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(hops, segments // stride)
        return np.asarray(windows.sum(axis=1) / segments)

    def momentary_power(self) -> Float64Array:
        """Return the mean power of each 400 ms gating block, 100 ms apart."""
        return self._windows(SEGMENTS_PER_MOMENTARY, stride=SEGMENTS_PER_HOP)

    @property
    def momentary_lufs(self) -> Float64Array:
        """Loudness of each 400 ms gating block, 100 ms apart; silence is ``-inf``."""
        return _lufs(self.momentary_power())

    def active(self) -> npt.NDArray[np.bool_]:
        """Return one flag each 100 ms: whether the signal plays there, or rests.

        A hop is active where a 400 ms gating block over it is above both
        :data:`ACTIVITY_FLOOR_LUFS` and the integrated loudness - :data:`ACTIVITY_RANGE_LU`.
        """
        momentary = self.momentary_lufs
        loud = momentary > max(ACTIVITY_FLOOR_LUFS, self.integrated_lufs - ACTIVITY_RANGE_LU)
        hops = -(-self.segment_power().size // SEGMENTS_PER_HOP)
        covered = np.convolve(loud, np.ones(SEGMENTS_PER_MOMENTARY // SEGMENTS_PER_HOP)) > 0
        return np.pad(covered, (0, max(0, hops - covered.size)))[: max(hops, 1)]

    @property
    def short_term_lufs(self) -> Float64Array:
        """Loudness of each 3 s window, 100 ms apart; silence is ``-inf``."""
        return _lufs(self._windows(SEGMENTS_PER_SHORT_TERM, stride=SEGMENTS_PER_HOP))

    @property
    def max_momentary_lufs(self) -> float:
        """The largest loudness of any 400 ms window, on a grid of 10 ms."""
        return float(_lufs(self._windows(SEGMENTS_PER_MOMENTARY, stride=1)).max())

    @property
    def max_short_term_lufs(self) -> float:
        """The largest loudness of any 3 s window."""
        return float(self.short_term_lufs.max())

    @property
    def integrated_lufs(self) -> float:
        """Gated loudness of the whole; silence is ``-inf``.

        Less than 400 ms is measured as one gating block, filled up with silence.
        """
        return gated_lufs(self.momentary_power())

    @property
    def loudness_range_lu(self) -> float:
        """Loudness range of EBU Tech 3342 in LU; 0 for less than 3 s or for silence."""
        if self.segment_power().size < SEGMENTS_PER_SHORT_TERM:
            return 0.0
        short_term = self.short_term_lufs
        short_term = short_term[short_term >= ABSOLUTE_GATE_LUFS]
        if short_term.size == 0:
            return 0.0
        gate = 10.0 * math.log10(np.mean(10.0 ** (short_term / 10.0))) + RANGE_GATE_LU
        ordered = np.sort(short_term[short_term >= gate])
        low, high = (
            ordered[math.floor((ordered.size - 1) * share / 100.0 + 0.5)]
            for share in RANGE_PERCENTILES
        )
        return float(high - low)


@dataclass(frozen=True)
class Loudness:
    """What the meters read over a whole signal.

    Parameters
    ----------
    integrated_lufs
        Gated loudness; ``-inf`` for silence.
    loudness_range_lu
        EBU Tech 3342.
    max_momentary_lufs, max_short_term_lufs
        The largest 400 ms and 3 s loudness.
    true_peak_dbtp, sample_peak_dbfs
        Largest oversampled and largest plain absolute value.
    short_term_lufs
        The 3 s loudness, every 100 ms.
    """

    integrated_lufs: float
    loudness_range_lu: float
    max_momentary_lufs: float
    max_short_term_lufs: float
    true_peak_dbtp: float
    sample_peak_dbfs: float
    short_term_lufs: FloatArray = field(compare=False, repr=False)


class LoudnessMeter(EnergyMeter):
    """All the meters at once: loudness, loudness range, true peak and sample peak.

    Parameters
    ----------
    sample_rate
        In Hz.
    channels
        1 to 5, in the order left, right, centre, left surround, right surround.

    Examples
    --------
    >>> meter = LoudnessMeter(sample_rate=48000, channels=2)
    >>> time_s = np.arange(48000) / 48000
    >>> tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * time_s)
    >>> meter.process(np.stack([tone, tone]).astype(np.float32))
    >>> round(meter.integrated_lufs, 1)
    -23.0
    """

    def __init__(self, *, sample_rate: int, channels: int) -> None:
        super().__init__(sample_rate=sample_rate, channels=channels)
        self._peaks = TruePeakMeter(sample_rate=sample_rate, channels=channels)

    def process(self, block: npt.ArrayLike) -> None:
        """Take the next block, ``(channels, frames)`` float32, of any length."""
        samples = as_block(block, self.channels)
        super().process(samples)
        self._peaks.process(samples)

    @property
    def true_peak_dbtp(self) -> float:
        """The largest absolute value of the oversampled signal in dBTP; silence is ``-inf``."""
        return self._peaks.true_peak_dbtp

    @property
    def sample_peak_dbfs(self) -> float:
        """The largest absolute sample in dBFS; silence is ``-inf``."""
        return self._peaks.sample_peak_dbfs

    def result(self) -> Loudness:
        """Return everything measured so far as one record."""
        return Loudness(
            integrated_lufs=self.integrated_lufs,
            loudness_range_lu=self.loudness_range_lu,
            max_momentary_lufs=self.max_momentary_lufs,
            max_short_term_lufs=self.max_short_term_lufs,
            true_peak_dbtp=self.true_peak_dbtp,
            sample_peak_dbfs=self.sample_peak_dbfs,
            short_term_lufs=self.short_term_lufs,
        )


_Meter = TypeVar("_Meter", bound=EnergyMeter)


def measure(audio: npt.ArrayLike, *, sample_rate: int) -> Loudness:
    """Measure a whole signal at once.

    Parameters
    ----------
    audio
        ``(channels, frames)`` float32.
    sample_rate
        In Hz.

    Returns
    -------
    Loudness

    Raises
    ------
    ValueError
        If ``audio`` is not two-dimensional or has more than five channels.
    """
    return _metered(LoudnessMeter, audio, sample_rate).result()


def integrated_loudness(audio: npt.ArrayLike, *, sample_rate: int) -> float:
    """Return the integrated loudness of a whole signal in LUFS, without the cost of its peaks.

    The same figure as :func:`measure`'s, for the same input.
    """
    return _metered(EnergyMeter, audio, sample_rate).integrated_lufs


def _metered(kind: type[_Meter], audio: npt.ArrayLike, sample_rate: int) -> _Meter:
    samples = np.ascontiguousarray(audio, np.float32)
    if samples.ndim != 2:
        msg = f"expected audio of shape (channels, frames), got {samples.shape}"
        raise ValueError(msg)
    meter = kind(sample_rate=sample_rate, channels=samples.shape[0])
    for start in range(0, samples.shape[1], BLOCK_FRAMES):
        meter.process(samples[:, start : start + BLOCK_FRAMES])
    return meter
