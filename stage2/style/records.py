"""How finished records sound, whatever their style: the target where no reference is named."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pipeline.units import Float32Array
from stage2.style.broad import third_octaves_of
from stage2.style.layout import style_features
from stage2.style.measure import Style
from stage2.style.target import StyleTarget

__all__ = ["finished_records"]

# Means and standard deviations over eleven finished records of as many genres (rock, metal,
# hip-hop, dance, folk, jazz, ragtime, orchestra), measured as :mod:`stage2.style.measure` does.
_SPECTRUM_DB = (-5.4, -8.8, -9.2, -9.9, -11.7, -16.6, -20.6, -26.7)
_TYPICAL_DB = (-12.3, -13.5, -12.7, -14.1, -15.3, -19.8, -25.6, -32.9)
_WIDTH_DB, _RANGES_DB = -12.0, (-18.0, -11.9, -9.8, -11.5)
_PUNCH_DB, _CREST_DB, _PEAK_DB = (6.5, 5.6, 5.4, 7.1), 12.0, 13.0
_LOUDNESS_LUFS = -14.0
_SPREAD = (
    *(3.3, 2.8, 3.5, 4.0, 4.0, 4.5, 5.0, 6.5),
    *(4.9, 5.1, 4.1, 4.9, 4.7, 5.5, 6.0, 8.0),
    *(4.0, 8.0, 5.0, 5.0, 6.0),
    0.2,
    *(1.4, 1.0, 1.5, 1.8),
    *(1.4, 2.0),
)


@lru_cache(maxsize=1)
def finished_records() -> tuple[StyleTarget, Float32Array]:
    """Return the target, and its features as those of one segment, ``(1, FIGURES - 2)``."""
    style = Style(
        spectrum_db=third_octaves_of(_SPECTRUM_DB),
        width_db=_WIDTH_DB,
        width_by_range_db=_RANGES_DB,
        imbalance_db=0.0,
        punch_by_range_db=_PUNCH_DB,
        crest_db=_CREST_DB,
        loudness_lufs=_LOUDNESS_LUFS,
        typical_spectrum_db=third_octaves_of(_TYPICAL_DB),
        peak_to_loudness_db=_PEAK_DB,
    )
    segment = style_features(style)[None, :-2].astype(np.float32)
    return StyleTarget(style, _SPREAD), segment
