"""Closed-form frequency responses of the console's linear parts, and the biquads behind them.

The time-domain processors, the reports and the tests share the coefficients of this module, so a
drawn curve is the curve that is heard. numpy float64 throughout.

The biquads are those of R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter
coefficients" (W3C Audio Working Group note, 2021), parametrised by gain, frequency and Q.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.console.parameters import HIGH_PASS_OFF_HZ, EqBand

__all__ = [
    "DECORRELATOR_HIGH_PASS_HZ",
    "DECORRELATOR_HZ",
    "DECORRELATOR_Q",
    "HIGHEST_BAND",
    "HIGH_PASS_Q",
    "band_values",
    "biquad",
    "decorrelator_response",
    "decorrelator_sections",
    "eq_response",
    "eq_sections",
    "high_pass",
    "section_response",
]

Sections = npt.NDArray[np.float64]
Shape = Literal["low_shelf", "peak", "high_shelf", "high_pass", "all_pass"]

HIGHEST_BAND = 0.45
"""A band's frequency is clamped to this fraction of the sample rate: above it the bilinear
transform cramps a band into a spike at the Nyquist frequency."""

DECORRELATOR_HIGH_PASS_HZ = 200.0
DECORRELATOR_Q = 1.0
DECORRELATOR_HZ: tuple[float, ...] = tuple(
    250.0 * (12000.0 / 250.0) ** (i / 11.0) for i in range(12)
)
"""Centres of the all-passes: each turns the phase once around, four times an octave in all."""


def biquad(
    shape: Shape, *, gain_db: float = 0.0, frequency_hz: float, q: float, sample_rate: int
) -> Sections:
    """Return one biquad's ``(b0, b1, b2, 1, a1, a2)``.

    Parameters
    ----------
    shape
        The band's form; ``gain_db`` has no meaning for ``high_pass`` and ``all_pass``.
    gain_db
        Gain at the centre of a peak or at the far end of a shelf.
    frequency_hz
        Centre, or the midpoint of a shelf's slope; clamped to 0.45 x ``sample_rate``.
    q
        Quality factor, greater than 0.
    sample_rate
        In Hz.

    Returns
    -------
    ndarray
        Shape (6,), a row of scipy's ``sos``.
    """
    w = 2.0 * math.pi * min(frequency_hz / sample_rate, HIGHEST_BAND)
    cos_w = math.cos(w)
    alpha = math.sin(w) / (2.0 * q)
    A = 10.0 ** (gain_db / 40.0)
    if shape == "peak":
        b = (1.0 + alpha * A, -2.0 * cos_w, 1.0 - alpha * A)
        a = (1.0 + alpha / A, -2.0 * cos_w, 1.0 - alpha / A)
    elif shape == "high_pass":
        b = ((1.0 + cos_w) / 2.0, -(1.0 + cos_w), (1.0 + cos_w) / 2.0)
        a = (1.0 + alpha, -2.0 * cos_w, 1.0 - alpha)
    elif shape == "all_pass":
        b = (1.0 - alpha, -2.0 * cos_w, 1.0 + alpha)
        a = (1.0 + alpha, -2.0 * cos_w, 1.0 - alpha)
    else:
        # A high shelf is a low shelf mirrored about fs/4: cos w and the odd taps change sign.
        sign = 1.0 if shape == "low_shelf" else -1.0
        c = sign * cos_w
        root = 2.0 * math.sqrt(A) * alpha
        b = (
            A * ((A + 1.0) - (A - 1.0) * c + root),
            sign * 2.0 * A * ((A - 1.0) - (A + 1.0) * c),
            A * ((A + 1.0) - (A - 1.0) * c - root),
        )
        a = (
            (A + 1.0) + (A - 1.0) * c + root,
            sign * -2.0 * ((A - 1.0) + (A + 1.0) * c),
            (A + 1.0) + (A - 1.0) * c - root,
        )
    return np.array([*b, *a], dtype=np.float64) / a[0]


def band_values(band: EqBand, settings: Mapping[str, float]) -> tuple[float, float, float]:
    """Return a band's gain in dB, frequency in Hz and Q under some settings."""
    frequency = band.frequency_hz
    q = band.q
    return (
        settings[band.gain_name],
        settings[frequency] if isinstance(frequency, str) else frequency,
        settings[q] if isinstance(q, str) else q,
    )


HIGH_PASS_Q = math.sqrt(0.5)
"""Of a Butterworth high-pass, 12 dB an octave."""


def high_pass(settings: Mapping[str, float]) -> float | None:
    """Return the frequency of a high-pass in Hz; None where there is none or it is off."""
    frequency_hz = settings.get("high_pass_hz", HIGH_PASS_OFF_HZ)
    return frequency_hz if frequency_hz > HIGH_PASS_OFF_HZ else None


def eq_sections(
    settings: Mapping[str, float], bands: Sequence[EqBand], *, sample_rate: int
) -> Sections:
    """Return the biquads of an equaliser, shape (sections, 6); what is switched off is left out.

    A high-pass comes first where the settings have one.
    """
    rows = []
    high_pass_hz = high_pass(settings)
    if high_pass_hz is not None:
        rows.append(
            biquad("high_pass", frequency_hz=high_pass_hz, q=HIGH_PASS_Q, sample_rate=sample_rate)
        )
    for band in bands:
        gain_db, frequency_hz, q = band_values(band, settings)
        if gain_db != 0.0:
            rows.append(
                biquad(
                    band.shape,
                    gain_db=gain_db,
                    frequency_hz=frequency_hz,
                    q=q,
                    sample_rate=sample_rate,
                )
            )
    return np.array(rows, dtype=np.float64).reshape(-1, 6)


def decorrelator_sections(*, sample_rate: int) -> Sections:
    """Return the biquads of the decorrelator: a Butterworth high-pass and twelve all-passes."""
    rows = [
        biquad(
            "high_pass",
            frequency_hz=DECORRELATOR_HIGH_PASS_HZ,
            q=math.sqrt(0.5),
            sample_rate=sample_rate,
        )
    ]
    rows += [
        biquad("all_pass", frequency_hz=f, q=DECORRELATOR_Q, sample_rate=sample_rate)
        for f in DECORRELATOR_HZ
    ]
    return np.array(rows)


def section_response(
    sections: Sections, *, sample_rate: int, frequencies_hz: npt.ArrayLike
) -> npt.NDArray[np.complex128]:
    """Return the complex response of a cascade of biquads, shape of ``frequencies_hz``."""
    w = 2.0 * np.pi * np.asarray(frequencies_hz, dtype=np.float64) / sample_rate
    z1 = np.exp(-1j * w)
    z2 = z1 * z1
    response = np.ones_like(z1)
    for b0, b1, b2, a0, a1, a2 in sections:
        response *= (b0 + b1 * z1 + b2 * z2) / (a0 + a1 * z1 + a2 * z2)
    return response


def eq_response(
    settings: Mapping[str, float],
    bands: Sequence[EqBand],
    *,
    sample_rate: int,
    frequencies_hz: npt.ArrayLike,
) -> npt.NDArray[np.complex128]:
    """Return the complex response of an equaliser.

    Parameters
    ----------
    settings
        A strip's or the bus's settings; only the bands' own keys are read.
    bands
        ``STRIP_EQ_BANDS`` or ``BUS_EQ_BANDS`` of :mod:`pipeline.plan`.
    sample_rate
        In Hz.
    frequencies_hz
        Where, any shape.

    Returns
    -------
    ndarray
        complex128, shape of ``frequencies_hz``.
    """
    return section_response(
        eq_sections(settings, bands, sample_rate=sample_rate),
        sample_rate=sample_rate,
        frequencies_hz=frequencies_hz,
    )


def decorrelator_response(
    *, sample_rate: int, frequencies_hz: npt.ArrayLike
) -> npt.NDArray[np.complex128]:
    """Return the complex response, ``(frequencies,)``, of the mid-to-side decorrelator.

    Its magnitude is the high-pass's alone: power ``f^4 / (f^4 + 200^4)`` but for the bilinear warp.
    """
    return section_response(
        decorrelator_sections(sample_rate=sample_rate),
        sample_rate=sample_rate,
        frequencies_hz=frequencies_hz,
    )
