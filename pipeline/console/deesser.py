"""The console's de-esser: a shelf that dips while the sibilants are loud."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipeline.console.compressor import (
    LOWEST_LEVEL_LUFS,
    Course,
    GainReduction,
    smoothing_coefficient,
)
from pipeline.console.response import biquad
from pipeline.jit import kernel
from pipeline.units import Float64Array

__all__ = ["DEESS_SLOPE", "DeEsser"]

DEESS_SLOPE = 0.75
"""Decibels taken off for each one over the threshold: a ratio of 4."""

_DETECTOR_MS, _ATTACK_MS, _RELEASE_MS = 2.0, 1.0, 60.0


@kernel
def _deess(
    x: npt.NDArray[np.float64],
    detector_section: npt.NDArray[np.float64],
    settings: npt.NDArray[np.float64],
    state: npt.NDArray[np.float64],
    course: npt.NDArray[np.float64],
    begun: int,
    step: int,
) -> None:
    """Lower the highs of x (2, frames) in place while they are loud.

    State: for each channel the detector's two and the shelf's two memories, then power, reduction,
    largest and sum of reductions. The shelf is ``x - (1 - g) H x`` with a first-order high-pass H,
    so it never lifts what is under it. Settings: the pole of H, threshold in dB, slope, most in dB,
    and the feedbacks of detector, attack and release.
    """
    shelf_pole, threshold_db, slope, most_db = settings[0], settings[1], settings[2], settings[3]
    detect, attack, release = settings[4], settings[5], settings[6]
    b0, b1, b2 = detector_section[0], detector_section[1], detector_section[2]
    a1, a2 = detector_section[4], detector_section[5]
    power, reduction, largest, total = state[8], state[9], state[10], state[11]
    half = 0.5 * (1.0 + shelf_pole)
    start = 0
    for interval in range(course.size):
        stop = min((interval + 1) * step - begun, x.shape[1])
        highest = course[interval]
        for n in range(start, stop):
            p = 0.0
            for c in range(2):
                v = x[c, n]
                y = b0 * v + state[4 * c]
                state[4 * c] = (b1 * v + state[4 * c + 1]) - a1 * y
                state[4 * c + 1] = b2 * v - a2 * y
                p += 0.5 * y * y
            power = detect * power + (1.0 - detect) * p
            if power < 1e-30:
                power = 0.0
            target = 0.0
            over = 10.0 * np.log10(power + 1e-12) - threshold_db
            if over > 0.0:
                target = min(slope * over, most_db)
            if target > reduction:
                reduction = attack * reduction + (1.0 - attack) * target
            else:
                reduction = release * reduction + (1.0 - release) * target
            if reduction < 1e-12:
                reduction = 0.0
            taken = 1.0 - np.exp(reduction * -0.11512925464970228)  # ln(10) / 20
            for c in range(2):
                v = x[c, n]
                high = half * (v - state[4 * c + 2]) + shelf_pole * state[4 * c + 3]
                if abs(high) < 1e-30:
                    high = 0.0
                state[4 * c + 2] = v
                state[4 * c + 3] = high
                x[c, n] = v - taken * high
            total += reduction
            highest = max(highest, reduction)
        course[interval] = highest
        largest = max(largest, highest)
        start = stop
    for k in range(2):
        for j in range(2):
            if abs(state[4 * k + j]) < 1e-30:
                state[4 * k + j] = 0.0
    state[8], state[9], state[10], state[11] = power, reduction, largest, total


class DeEsser:
    """Takes up to ``deess_db`` off what is over ``deess_hz`` while that is over its threshold.

    A second-order high-pass feeds a mean-square detector of 2 ms; attack 1 ms, release 60 ms, both
    channels linked.

    Parameters
    ----------
    settings
        ``deess_db``, ``deess_hz``, ``deess_threshold_lu``.
    level_lufs
        What the threshold is relative to; ``-inf`` for a silent signal.
    sample_rate
        In Hz.
    """

    latency = 0

    def __init__(
        self, settings: Mapping[str, float], *, level_lufs: float, sample_rate: int
    ) -> None:
        self._most_db = float(settings["deess_db"])
        threshold_db = max(level_lufs, LOWEST_LEVEL_LUFS) + settings["deess_threshold_lu"]
        frequency_hz = min(settings["deess_hz"], 0.4 * sample_rate)
        self._section = biquad(
            "high_pass", frequency_hz=frequency_hz, q=math.sqrt(0.5), sample_rate=sample_rate
        )
        tangent = math.tan(math.pi * frequency_hz / sample_rate)
        pole = (1.0 - tangent) / (1.0 + tangent)
        self._settings = np.asarray(
            [
                *(pole, threshold_db, DEESS_SLOPE, self._most_db),
                *(
                    smoothing_coefficient(ms, sample_rate=sample_rate)
                    for ms in (_DETECTOR_MS, _ATTACK_MS, _RELEASE_MS)
                ),
            ]
        )
        self._state = np.zeros(12)
        self._course = Course(sample_rate)
        self._frames = 0
        self.is_neutral = self._most_db == 0.0

    @property
    def gain_reduction(self) -> GainReduction:
        """What was taken off the highs since the beginning."""
        mean = float(self._state[11]) / self._frames if self._frames else 0.0
        return GainReduction(float(self._state[10]), mean, self._course.values_db())

    def run(self, x: Float64Array) -> None:
        """Process a float64 block ``(2, frames)`` in place."""
        self._frames += x.shape[1]
        if self.is_neutral:
            return
        course, begun = self._course.take(x.shape[1])
        _deess(x, self._section, self._settings, self._state, course, begun, self._course.step)
