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
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.loudness.energy import SEGMENTS_PER_SECOND, Energies, add_k_weighted, k_weighting
from pipeline.loudness.true_peak import TruePeakMeter, as_block
from pipeline.units import Float64Array, FloatArray

__all__ = [
    "ABSOLUTE_GATE_LUFS",
    "SEGMENTS_PER_SECOND",
    "EnergyMeter",
    "Loudness",
    "LoudnessMeter",
    "gated_lufs",
    "integrated_loudness",
    "k_weighting",
    "lufs_to_power",
    "measure",
    "momentary_power",
    "sliding_power",
]


ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
RANGE_GATE_LU = -20.0
"""The relative gate of the loudness range (EBU Tech 3342)."""
RANGE_PERCENTILES = (10.0, 95.0)
LUFS_OFFSET_DB = -0.691
"""BS.1770-5 annex 1, eq. 2: cancels the gain of the K-weighting at 997 Hz."""

ACTIVITY_FLOOR_LUFS = -60.0
ACTIVITY_RANGE_LU = 25.0

SEGMENTS_PER_HOP = 10
SEGMENTS_PER_MOMENTARY = 40
SEGMENTS_PER_SHORT_TERM = 300

CHANNEL_WEIGHTS = (1.0, 1.0, 1.0, 1.41, 1.41)
"""Left, right, centre, left surround, right surround (BS.1770-5 annex 1, table 3)."""

BLOCK_FRAMES = 65536


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
        Mean power of each block, ``(blocks,)``, as of :meth:`EnergyMeter.momentary_power`.

    Returns
    -------
    float
        In LUFS; ``-inf`` where no block passes the absolute gate.
    """
    power = power[power > lufs_to_power(ABSOLUTE_GATE_LUFS)]
    return _mean_lufs(power[power > lufs_to_power(_mean_lufs(power) + RELATIVE_GATE_LU)])


def sliding_power(
    power: Float64Array, open_power: float, segments: int, *, stride: int
) -> Float64Array:
    """Return the mean power, ``(windows,)``, of sliding windows of 10 ms segments.

    Parameters
    ----------
    power
        Of each complete segment, ``(segments,)``.
    open_power
        Of the incomplete one behind them: it counts where there are not enough of the others, and
        what is still missing then is silence.
    segments, stride
        Length and distance of the windows, in segments.
    """
    if power.size < segments:
        power = np.append(power, open_power)
        power = np.pad(power, (0, max(segments - power.size, 0)))[:segments]
    # Sums of whole strides first: fewer terms, and no running difference that loses precision.
    usable = power.size // stride * stride
    hops = power[:usable].reshape(-1, stride).sum(axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(hops, segments // stride)
    return np.asarray(windows.sum(axis=1) / segments)


def momentary_power(energies: Energies, row: int) -> Float64Array:
    """Return the mean power, ``(blocks,)``, of one row in 400 ms gating blocks, 100 ms apart."""
    return sliding_power(
        energies.power()[row],
        float(energies.open_power()[row]),
        SEGMENTS_PER_MOMENTARY,
        stride=SEGMENTS_PER_HOP,
    )


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
        self._sections = k_weighting(sample_rate).copy()
        self._state = np.zeros((channels, 5))
        self._energies = Energies(channels + (channels == 2), sample_rate=sample_rate)

    def process(self, block: npt.ArrayLike) -> None:
        """Take the next block, ``(channels, frames)`` float32, of any length."""
        samples = as_block(block, self.channels)
        add_k_weighted(samples, self._state, self._energies, sections=self._sections)

    def _weighted(self, rows: Float64Array) -> Float64Array:
        total = CHANNEL_WEIGHTS[0] * rows[0]
        for channel in range(1, self.channels):
            total = total + CHANNEL_WEIGHTS[channel] * rows[channel]
        return np.asarray(total)

    def segment_power(self) -> Float64Array:
        """Return the channel-weighted mean square, ``(segments,)``, of whole 10 ms segments."""
        return self._weighted(self._energies.power())

    def _windows(self, segments: int, *, stride: int) -> Float64Array:
        open_power = float(self._weighted(self._energies.open_power()))
        return sliding_power(self.segment_power(), open_power, segments, stride=stride)

    def momentary_power(self) -> Float64Array:
        """Return the mean power, ``(blocks,)``, of 400 ms gating blocks, 100 ms apart."""
        return self._windows(SEGMENTS_PER_MOMENTARY, stride=SEGMENTS_PER_HOP)

    def fold_momentary_power(self) -> Float64Array:
        """Return :meth:`momentary_power` of the mono fold, the mean of one or two channels.

        Raises
        ------
        ValueError
            If there are more channels.
        """
        if self.channels > 2:
            msg = f"the mono fold is measured of 1 or 2 channels, not {self.channels}"
            raise ValueError(msg)
        return momentary_power(self._energies, self.channels if self.channels == 2 else 0)

    @property
    def momentary_lufs(self) -> Float64Array:
        """Loudness in LUFS, ``(blocks,)``, of 400 ms blocks, 100 ms apart; silence is ``-inf``."""
        return _lufs(self.momentary_power())

    def active(self) -> npt.NDArray[np.bool_]:
        """Return whether the signal plays in each 100 ms, ``(hops,)``.

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
        """Loudness in LUFS, ``(windows,)``, of 3 s windows, 100 ms apart; silence is ``-inf``."""
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
    """Return the integrated loudness in LUFS of ``audio``, ``(channels, frames)``.

    Equal to that of :func:`measure`, without the cost of its peaks.
    """
    return _metered(EnergyMeter, audio, sample_rate).integrated_lufs


def _metered(kind: type[_Meter], audio: npt.ArrayLike, sample_rate: int) -> _Meter:
    samples = np.asarray(audio)
    if samples.ndim != 2:
        msg = f"expected audio of shape (channels, frames), got {samples.shape}"
        raise ValueError(msg)
    meter = kind(sample_rate=sample_rate, channels=samples.shape[0])
    for start in range(0, samples.shape[1], BLOCK_FRAMES):
        # Converted here: a copy of the whole would be as large as an hour's mix.
        block = samples[:, start : start + BLOCK_FRAMES]
        meter.process(np.ascontiguousarray(block, np.float32))
    return meter
