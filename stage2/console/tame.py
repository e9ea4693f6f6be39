"""Settings held to what an engineer would leave standing: smooth curves, modest gain reduction."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.console.compressor import GainReduction
from pipeline.console.parameters import HIGH_PASS_OFF_HZ, ParameterTable
from pipeline.console.response import eq_response
from pipeline.units import THIRD_OCTAVES_HZ, Float64Array

__all__ = ["MOST_STEP_DB", "curve_db", "smooth_equaliser", "softer"]

#: Largest step of an equaliser's response between neighbouring third octaves.
MOST_STEP_DB = 2.9
_HALVINGS = 12
_LEAST_SLOPE = 0.05


def curve_db(
    settings: Mapping[str, float], table: ParameterTable, *, sample_rate: int
) -> Float64Array:
    """Return an equaliser's response in dB at third octaves under half of Nyquist's frequency.

    The high-pass, whose slope is its purpose, is left out.
    """
    centres = np.asarray(THIRD_OCTAVES_HZ)
    centres = centres[centres < 0.45 * sample_rate]
    flat = {**settings, "high_pass_hz": HIGH_PASS_OFF_HZ}
    response = eq_response(flat, table.eq_bands, sample_rate=sample_rate, frequencies_hz=centres)
    return np.asarray(20.0 * np.log10(np.abs(response)))


def smooth_equaliser(
    settings: Mapping[str, float],
    table: ParameterTable,
    *,
    sample_rate: int,
    most_db: float,
) -> dict[str, float]:
    """Return settings whose equaliser stays within ``most_db`` and :data:`MOST_STEP_DB` a step.

    All gains are scaled by one factor, so that the curve keeps its shape.
    """

    def scaled(part: float) -> dict[str, float]:
        gains = {band.gain_name: part * settings[band.gain_name] for band in table.eq_bands}
        return {**settings, **gains}

    def is_smooth(part: float) -> bool:
        curve = curve_db(scaled(part), table, sample_rate=sample_rate)
        return bool(np.abs(np.diff(curve)).max() <= MOST_STEP_DB and np.abs(curve).max() <= most_db)

    if is_smooth(1.0):
        return dict(settings)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if is_smooth(middle) else (low, middle)
    return scaled(low)


def softer(
    settings: Mapping[str, float],
    reduction: GainReduction,
    *,
    most_mean_db: float,
    most_p95_db: float,
    highest_lu: float,
) -> dict[str, float] | None:
    """Return settings of a compressor that takes off less; None where it takes off little enough.

    The threshold goes up by as much as brings the larger excess down, which takes several turns.
    """
    excess = max(reduction.mean_db - most_mean_db, reduction.p95_db - most_p95_db)
    if excess <= 0.0:
        return None
    slope = max(1.0 - 1.0 / settings["ratio"], _LEAST_SLOPE)
    threshold = settings["threshold_lu"] + excess / slope + 0.1
    if threshold > highest_lu:
        return {**settings, "threshold_lu": highest_lu, "ratio": settings["ratio"] ** 0.7}
    return {**settings, "threshold_lu": threshold}
