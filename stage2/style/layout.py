"""The figures of a mix that the band model gives: their order, and the price of being off."""

from __future__ import annotations

from torch import Tensor, sqrt

from stage2.style.envelopes import RANGES_HZ
from stage2.style.measure import SCALES, THIRD_OCTAVES_HZ

__all__ = [
    "CREST",
    "FIGURES",
    "IMBALANCE",
    "PEAK",
    "PUNCH",
    "RANGES",
    "SPECTRUM",
    "TYPICAL",
    "WIDTH",
    "near",
    "tilt_price",
]

_BANDS = len(THIRD_OCTAVES_HZ)
#: Where each figure lies in :class:`stage2.console.band_model.ModelledMix`'s features.
SPECTRUM = slice(0, _BANDS)
WIDTH = SPECTRUM.stop
RANGES = slice(WIDTH + 1, WIDTH + 1 + len(RANGES_HZ))
IMBALANCE = RANGES.stop
PUNCH = slice(IMBALANCE + 1, IMBALANCE + 1 + len(RANGES_HZ))
TYPICAL = slice(PUNCH.stop, PUNCH.stop + _BANDS)
CREST = TYPICAL.stop
PEAK = CREST + 1
#: How many there are.
FIGURES = PEAK + 1

# Of the spectrum's price, that of typical moments.
_TYPICAL_SHARE = 0.4


def near(error: Tensor, *, within: float = 0.3) -> Tensor:
    """Return an absolute value with a smooth bottom."""
    return sqrt(error.square() + within * within) - within


def tilt_price(spectrum: Tensor, typical: Tensor) -> Tensor:
    """Return the price of differences of the spectrum and of that of typical moments, in dB."""
    apart = (1.0 - _TYPICAL_SHARE) * near(spectrum - spectrum.mean())
    apart = apart + _TYPICAL_SHARE * near(typical - typical.mean())
    return 2.0 * apart.mean() / SCALES["spectrum_db"]
