"""The console's compressor: feed-forward, linked, exact sample by sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel
from pipeline.units import Float64Array, FloatArray, db_to_amplitude

__all__ = [
    "COURSE_S",
    "DETECTOR_MS",
    "LOWEST_LEVEL_LUFS",
    "POWER_FLOOR",
    "Compressor",
    "Course",
    "Float64Array",
    "GainReduction",
    "as_float64",
    "percentile_of",
    "smoothing_coefficient",
]


DETECTOR_MS = 5.0
"""Time constant of the mean-square detector."""

LOWEST_LEVEL_LUFS = -100.0
"""What a silent signal's level counts as, so that a threshold is a number."""

POWER_FLOOR = 1e-12
"""Added to the detected power: the level of silence is -120 dB, not -inf."""


_BINS = 400

COURSE_S = 0.5
"""What a gain reduction does over time is kept as its largest value in each so many seconds."""


def smoothing_coefficient(time_ms: float, *, sample_rate: float) -> float:
    """Return the feedback of a one-pole that covers 63 % of a step in ``time_ms``."""
    return math.exp(-1.0 / (time_ms * 1e-3 * sample_rate))


def as_float64(x: FloatArray) -> Float64Array:
    """Return a C-contiguous float64 copy of a stereo block, ``(2, frames)``."""
    if x.ndim != 2 or x.shape[0] != 2:
        raise ValueError(f"x has shape {x.shape}: pass a stereo block of shape (2, frames)")
    return np.array(x, dtype=np.float64, order="C")


@dataclass(frozen=True)
class GainReduction:
    """What a compressor or limiter has done so far, in dB at or above 0.

    ``mean_db`` is the mean and ``p95_db`` the 95th percentile over all frames, the untouched ones
    included; ``course_db`` the largest value in each :data:`COURSE_S`, empty where it was not kept.
    """

    max_db: float
    mean_db: float
    course_db: tuple[float, ...] = field(default=(), repr=False)
    p95_db: float = 0.0


def percentile_of(counts: Float64Array, values_db: Float64Array, frames: int) -> float:
    """Return the 95th percentile of reductions counted in bins, all other frames being at 0."""
    above = np.cumsum(counts[::-1])[::-1]
    reached = np.flatnonzero(above >= 0.05 * frames)
    return float(values_db[reached[-1]]) if frames and reached.size else 0.0


class Course:
    """The largest reduction in each :data:`COURSE_S`, gathered block by block.

    Parameters
    ----------
    sample_rate
        In Hz.

    Attributes
    ----------
    step
        Frames of an interval.
    """

    def __init__(self, sample_rate: int) -> None:
        self.step = max(1, round(COURSE_S * sample_rate))
        self._values: list[Float64Array] = []
        self._frames = 0

    def take(self, frames: int) -> tuple[Float64Array, int]:
        """Return where the next block puts its maxima, and which frame of the first it begins at.

        The first may be an interval that the block before left open.
        """
        begun = self._frames % self.step
        self._frames += frames
        fresh = np.zeros(-(-(begun + frames) // self.step))
        if begun and fresh.size:
            fresh[0] = self._values[-1][-1]
            self._values[-1] = self._values[-1][:-1]
        self._values.append(fresh)
        return fresh, begun

    def values_db(self) -> tuple[float, ...]:
        """Return the course so far, to a hundredth of a dB."""
        if not self._values:
            return ()
        return tuple(round(float(v), 2) for v in np.concatenate(self._values))


class _Curve(NamedTuple):
    """Static curve and smoothing coefficients, as the kernel takes them."""

    threshold_db: float
    slope: float
    knee_db: float
    detector: float
    attack: float
    release: float


@kernel
def _compress(
    x: npt.NDArray[np.float64],
    state: npt.NDArray[np.float64],
    course: npt.NDArray[np.float64],
    begun: int,
    step: int,
    curve: _Curve,
) -> None:
    """Compress x (2, frames) in place.

    State is power, reduction, largest, sum of reductions, then frames by reduction, 0.1 dB a bin.
    ``course`` gets the largest reduction of each ``step`` frames, the first already ``begun``.
    """
    threshold_db, slope, knee_db, detector, attack, release = curve
    left, right = x[0], x[1]
    power, reduction, largest, total = state[0], state[1], state[2], state[3]
    half_knee = 0.5 * knee_db
    lowest = 10.0 ** ((threshold_db - half_knee) / 10.0) - POWER_FLOOR
    start = 0
    for interval in range(course.size):
        stop = min((interval + 1) * step - begun, x.shape[1])
        highest = course[interval]
        for n in range(start, stop):
            p = 0.5 * (left[n] * left[n] + right[n] * right[n])
            power = detector * power + (1.0 - detector) * p
            if power < 1e-30:
                power = 0.0
            target = 0.0
            if power > lowest:
                over = 10.0 * np.log10(power + POWER_FLOOR) - threshold_db
                if over >= half_knee:
                    target = slope * over
                elif over > -half_knee:
                    target = slope * (over + half_knee) ** 2 / (2.0 * knee_db)
            if target > reduction:
                reduction = attack * reduction + (1.0 - attack) * target
            else:
                reduction = release * reduction + (1.0 - release) * target
            if reduction < 1e-12:
                reduction = 0.0
            else:
                gain = np.exp(reduction * -0.11512925464970228)  # ln(10) / 20
                left[n] *= gain
                right[n] *= gain
                total += reduction
                state[4 + min(int(10.0 * reduction), state.size - 5)] += 1.0
                highest = max(highest, reduction)
        course[interval] = highest
        largest = max(largest, highest)
        start = stop
    state[0], state[1], state[2], state[3] = power, reduction, largest, total


class Compressor:
    """Feed-forward compressor with linked channels, a soft knee and dB-domain ballistics.

    The power ``(L² + R²)/2`` is smoothed over 5 ms; the static curve on its level gives the
    reduction, smoothed by a branching one-pole: attack while it rises, release while it falls.
    After D. Giannoulis, M. Massberg, J. D. Reiss, "Digital dynamic range compressor design", JAES
    60(6), 2012, eq. 4 and 17, with a mean-square instead of a peak detector.

    Parameters
    ----------
    settings
        ``threshold_lu``, ``ratio``, ``attack_ms``, ``release_ms``, ``knee_db``, ``makeup_db``.
    level_lufs
        What the threshold is relative to; ``-inf`` for a silent signal.
    sample_rate
        In Hz.
    """

    latency = 0

    def __init__(
        self, settings: Mapping[str, float], *, level_lufs: float, sample_rate: int
    ) -> None:
        self._curve = _Curve(
            threshold_db=max(level_lufs, LOWEST_LEVEL_LUFS) + settings["threshold_lu"],
            slope=1.0 - 1.0 / settings["ratio"],
            knee_db=float(settings["knee_db"]),
            detector=smoothing_coefficient(DETECTOR_MS, sample_rate=sample_rate),
            attack=smoothing_coefficient(settings["attack_ms"], sample_rate=sample_rate),
            release=smoothing_coefficient(settings["release_ms"], sample_rate=sample_rate),
        )
        self._makeup = db_to_amplitude(settings["makeup_db"])
        self._state = np.zeros(4 + _BINS)
        self._course = Course(sample_rate)
        self._frames = 0
        self.is_neutral = self._curve.slope == 0.0 and self._makeup == 1.0

    @property
    def gain_reduction(self) -> GainReduction:
        """The reduction since the beginning, without the makeup."""
        _, _, largest, total = (float(v) for v in self._state[:4])
        mean = total / self._frames if self._frames else 0.0
        edges_db = np.arange(0.05, 0.1 * _BINS, 0.1)
        p95 = percentile_of(self._state[4:], edges_db, self._frames)
        return GainReduction(largest, mean, self._course.values_db(), p95)

    def process(self, x: FloatArray) -> FloatArray:
        """Return the compressed block with its makeup gain, shape (2, frames)."""
        y = as_float64(x)
        self.run(y)
        return y.astype(x.dtype, copy=False)

    def run(self, x: Float64Array) -> None:
        """Process a float64 block, ``(2, frames)``, in place."""
        self._frames += x.shape[1]
        if self._curve.slope != 0.0:
            course, begun = self._course.take(x.shape[1])
            _compress(x, self._state, course, begun, self._course.step, self._curve)
        if self._makeup != 1.0:
            x *= self._makeup
