"""The figures of a mix that the band model gives, in the one order that all share."""

from __future__ import annotations

import numpy as np

from pipeline.units import Float64Array
from stage2.style.envelopes import RANGES_HZ
from stage2.style.measure import THIRD_OCTAVES_HZ, Style

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
    "style_features",
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


def style_features(style: Style) -> Float64Array:
    """Return a style's figures in the order of the features, ``(FIGURES,)``."""
    features = np.empty(FIGURES)
    features[SPECTRUM], features[TYPICAL] = style.spectrum_db, style.typical_spectrum_db
    features[WIDTH], features[RANGES] = style.width_db, style.width_by_range_db
    features[IMBALANCE], features[PUNCH] = style.imbalance_db, style.punch_by_range_db
    features[CREST], features[PEAK] = style.crest_db, style.peak_to_loudness_db
    return features
