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


#: Nominal third-octave centres (IEC 61260) that spectra are told in.
THIRD_OCTAVES_HZ: tuple[float, ...] = (
    25.0, 31.5, 40.0, 50.0, 63.0, 80.0, 100.0, 125.0, 160.0, 200.0, 250.0, 315.0, 400.0, 500.0,
    630.0, 800.0, 1000.0, 1250.0, 1600.0, 2000.0, 2500.0, 3150.0, 4000.0, 5000.0, 6300.0, 8000.0,
    10000.0, 12500.0, 16000.0,
)  # fmt: skip
