"""Conversions between the units that the project speaks: dB, amplitude, power, cents, samples."""

from __future__ import annotations

import math
from typing import overload

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
ComplexArray = npt.NDArray[np.complex64]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

__all__ = [
    "BoolArray",
    "ComplexArray",
    "Float32Array",
    "Float64Array",
    "FloatArray",
    "IntArray",
    "amplitude_to_db",
    "db_to_amplitude",
    "power_to_db",
]


@overload
def db_to_amplitude(level_db: float) -> float: ...
@overload
def db_to_amplitude(level_db: FloatArray) -> FloatArray: ...
def db_to_amplitude(level_db: float | FloatArray) -> float | FloatArray:
    """Return the amplitude factor of a level in dB, of any shape; ``-inf`` dB is 0."""
    if isinstance(level_db, np.ndarray):
        return np.asarray(np.power(10.0, level_db / 20.0))
    return float(10.0 ** (level_db / 20.0)) if level_db != -math.inf else 0.0


def amplitude_to_db(amplitude: float) -> float:
    """Return the level in dB of an amplitude; 0 is ``-inf`` dB.

    Examples
    --------
    >>> round(amplitude_to_db(0.5), 2)
    -6.02
    """
    return 20.0 * math.log10(abs(amplitude)) if amplitude != 0.0 else -math.inf


def power_to_db(power: float) -> float:
    """Return the level in dB of a power; 0 is ``-inf`` dB."""
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf
