"""How a track's pitch behaves, and how its harmonics lie: descriptors, not an f0 to rely on.

Boersma's autocorrelation (1993) of short frames at about 11 kHz: cheap, and the same for every
track. What the pitch *is* comes from :mod:`stage1.pitch.f0`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.jit import kernel
from pipeline.units import Float32Array, Float64Array
from stage1.signal.framing import hann

__all__ = ["PITCH_NAMES", "PitchFrames", "pitch_descriptors", "pitch_frames"]


FRAME = 1024
HOP = 320
LOWEST_HZ, HIGHEST_HZ = 36.0, 1400.0
OCTAVE_COST = 0.03
TAPS = 8
HARMONICS = 8
VOICED = 0.6
SOUNDING_DB = 30.0

PITCH_NAMES: tuple[str, ...] = (
    "periodicity_mean", "periodicity_spread",
    "periodic_share_50", "periodic_share_80", "periodic_share_95",
    "pitch_median", "pitch_low", "pitch_high", "pitch_spread",
    "pitch_step", "pitch_held_share", "pitch_bent_share", "pitch_jump_share",
    "pitch_wobble", "pitch_trend",
    *(f"harmonic_{k}_db" for k in range(1, HARMONICS + 1)),
    "harmonic_rest_db", "odd_to_even_db", "brightness_over_pitch",
)  # fmt: skip


@dataclass(frozen=True)
class PitchFrames:
    """Pitch candidates of each frame.

    Parameters
    ----------
    power
        ``(passages * frames, bins)`` spectra.
    bin_hz
        Distance of the bins.
    periodicity
        Height of the best peak of the autocorrelation, 0 to 1.
    hertz
        Its frequency.
    a_passage
        Frames of one passage.
    """

    power: Float32Array
    bin_hz: float
    periodicity: Float64Array
    hertz: Float64Array
    a_passage: int

    def power_between(self, edges_hz: Sequence[float]) -> Float64Array:
        """Return the share of the energy between each two edges."""
        mean = self.power.mean(axis=0, dtype=np.float64)
        total = float(mean.sum()) + 1e-20
        cumulative = np.concatenate([[0.0], np.cumsum(mean)])
        at = np.interp(np.asarray(edges_hz) / self.bin_hz + 0.5, np.arange(len(cumulative)),
                       cumulative)  # fmt: skip
        return np.asarray(np.diff(at) / total)


@kernel
def _between(row: Float32Array, lag: float) -> float:
    """Return an autocorrelation at a broken lag: a parabola is too low where a period is short."""
    middle = int(lag)
    total = 0.0
    for k in range(middle - TAPS + 1, middle + TAPS + 1):
        x = lag - k
        if abs(x) < 1e-6:
            return row[abs(k)]
        taper = 0.5 + 0.5 * math.cos(math.pi * x / (TAPS + 1.0))
        total += row[min(abs(k), row.size - 1)] * taper * math.sin(math.pi * x) / (math.pi * x)
    return total


@kernel
def _best_lags(
    correlation: Float32Array, window: Float64Array, low: int, high: int
) -> tuple[Float64Array, Float64Array]:
    """Return height and lag of the best peak of each row; lag 0 where there is none."""
    rows = correlation.shape[0]
    heights, lags = np.zeros(rows), np.zeros(rows)
    for t in range(rows):
        base = correlation[t, 0]
        if base <= 1e-12:
            continue
        best = -1.0
        for k in range(low, high):
            y1 = correlation[t, k] / (base * window[k])
            if y1 < 0.2:
                continue
            y0 = correlation[t, k - 1] / (base * window[k - 1])
            y2 = correlation[t, k + 1] / (base * window[k + 1])
            if y1 < y0 or y1 <= y2:
                continue
            bend = y0 - 2.0 * y1 + y2
            shift = 0.5 * (y0 - y2) / bend if bend < 0.0 else 0.0
            height = max(y1, _between(correlation[t], k + shift) / (base * window[k]))
            worth = height - OCTAVE_COST * math.log2((k + shift) / low)
            if worth > best:
                best = worth
                heights[t] = min(height, 1.0)
                lags[t] = k + shift
    return heights, lags


def pitch_frames(signal: Float32Array, *, rate: float) -> PitchFrames:
    """Look for a period in each frame.

    Parameters
    ----------
    signal
        ``(passages, samples)``, at about 11 kHz.
    rate
        In Hz.

    Returns
    -------
    PitchFrames
    """
    window = hann(FRAME)
    own = scipy.fft.irfft(np.abs(scipy.fft.rfft(window, 2 * FRAME)) ** 2)[:FRAME]
    if signal.shape[1] < FRAME:
        signal = np.pad(signal, ((0, 0), (0, FRAME - signal.shape[1])))
    framed = sliding_window_view(signal, FRAME, axis=1)[:, ::HOP]
    count = framed.shape[1]
    spectrum = scipy.fft.rfft(framed * window.astype(np.float32), 2 * FRAME, axis=2)
    power = np.asarray(spectrum.real**2 + spectrum.imag**2).reshape(-1, FRAME + 1)
    correlation = scipy.fft.irfft(power, axis=1)[:, : FRAME // 2]
    low = max(int(rate / HIGHEST_HZ), 2)
    high = min(int(rate / LOWEST_HZ), FRAME // 2 - 1)
    heights, lags = _best_lags(np.asarray(correlation, np.float32), own / own[0], low, high)
    hertz = np.where(lags > 0.0, rate / np.maximum(lags, 1.0), 0.0)
    return PitchFrames(power, rate / (2 * FRAME), heights, np.asarray(hertz), count)


@kernel
def _harmonics(
    power: Float32Array, hertz: Float64Array, bin_hz: float, shares: Float64Array
) -> None:
    """Fill the share of a frame's energy at each harmonic, the rest in the last column."""
    rows, bins = power.shape
    count = shares.shape[1] - 1
    for t in range(rows):
        total = 1e-20
        for k in range(bins):
            total += power[t, k]
        left = 1.0
        for h in range(1, 4 * count):
            at = round(h * hertz[t] / bin_hz)
            if at + 3 >= bins:
                break
            share = 0.0
            for k in range(max(at - 3, 0), at + 4):
                share += power[t, k]
            share /= total
            if h <= count:
                shares[t, h - 1] = share
            left -= share
        shares[t, count] = max(left, 0.0)


def pitch_descriptors(frames: PitchFrames) -> Float64Array:
    """Return the values of :data:`PITCH_NAMES`; logarithmic where the ear is."""
    level = frames.power.sum(axis=1, dtype=np.float64)
    sounding = level >= np.percentile(level, 95.0) * 10.0 ** (-SOUNDING_DB / 10.0)
    height = frames.periodicity
    heights = height[sounding]
    shares = [float((heights > limit).mean()) for limit in (0.5, 0.8, 0.95)]
    values = [float(heights.mean()), float(heights.std()), *shares]
    voiced = sounding & (height > VOICED) & (frames.hertz > 0.0)
    if voiced.sum() < 4:
        return np.array([*values, *([0.0] * (len(PITCH_NAMES) - len(values)))])
    octaves = np.log2(np.where(frames.hertz > 0.0, frames.hertz, 1.0) / 220.0)
    known = octaves[voiced]
    values += [
        float(np.median(known)),
        float(np.percentile(known, 10.0)),
        float(np.percentile(known, 90.0)),
        float(known.std()),
    ]
    values += _movement(octaves, voiced, frames.a_passage)
    rows = np.zeros((int(voiced.sum()), HARMONICS + 1))
    _harmonics(frames.power[voiced], frames.hertz[voiced], frames.bin_hz, rows)
    db = 10.0 * np.log10(np.maximum(rows, 1e-5))
    odd = rows[:, [2, 4, 6]].sum(axis=1) + 1e-5
    even = rows[:, [1, 3, 5]].sum(axis=1) + 1e-5
    bins = np.arange(frames.power.shape[1])
    power = frames.power[voiced].astype(np.float64)
    centre = (power @ bins) / (power.sum(axis=1) + 1e-20) * frames.bin_hz
    over = np.log2(np.maximum(centre, 1.0) / frames.hertz[voiced])
    return np.array(
        [
            *values,
            *db.mean(axis=0),
            float((10.0 * np.log10(odd / even)).mean()),
            float(over.mean()),
        ]
    )


def _movement(octaves: Float64Array, voiced: npt.NDArray[np.bool_], count: int) -> list[float]:
    """Return how the pitch goes on from frame to frame, within passages."""
    both = voiced[1:] & voiced[:-1]
    both[count - 1 :: count] = False
    step = 1200.0 * np.diff(octaves)
    if both.sum() < 4:
        return [0.0] * 6
    size = np.abs(step[both])
    small = size[size < 200.0]
    pair = both[1:] & both[:-1] & (np.abs(step[1:]) < 200.0) & (np.abs(step[:-1]) < 200.0)
    turn = np.abs(step[1:] - step[:-1])[pair]
    trend = np.abs(step[1:] + step[:-1])[pair]
    return [
        math.log2(1.0 + float(np.median(small))) if small.size else 0.0,
        float((size < 8.0).mean()),
        float(((size >= 8.0) & (size < 80.0)).mean()),
        float((size >= 80.0).mean()),
        math.log2(1.0 + float(turn.mean())) if turn.size else 0.0,
        math.log2(1.0 + float(trend.mean())) if trend.size else 0.0,
    ]
