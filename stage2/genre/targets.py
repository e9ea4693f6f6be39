"""Genres as style targets: a mean and a wide spread, from a table with sources."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pipeline.units import Float32Array
from stage2.genre.names import genre_table
from stage2.style.broad import Broad, third_octaves_of
from stage2.style.layout import style_features
from stage2.style.measure import Style
from stage2.style.records import finished_records
from stage2.style.target import StyleTarget

__all__ = ["genre_target"]


@lru_cache(maxsize=16)
def genre_target(name: str) -> tuple[StyleTarget, Float32Array]:
    """Return a genre as a target, and its features as those of one segment, ``(1, FIGURES - 2)``.

    Where the table has no row for a figure it is that of finished records of any genre.
    """
    row, (any_record, _) = genre_table()[name], finished_records()
    width, crest = row["width_db"], row["crest_db"]
    wider_db = width[0] - any_record.style.width_db
    style = Style(
        spectrum_db=third_octaves_of(row["spectrum_db"]),
        width_db=width[0],
        width_by_range_db=tuple(w + wider_db for w in any_record.style.width_by_range_db),
        imbalance_db=0.0,
        punch_by_range_db=any_record.style.punch_by_range_db,
        crest_db=crest[0],
        loudness_lufs=row["loudness_lufs"][0],
        typical_spectrum_db=third_octaves_of(row["typical_db"]),
        peak_to_loudness_db=crest[0] + 1.0,
    )
    spread = np.asarray(any_record.spread)
    spread[Broad.SPECTRUM] = row["spectrum_spread_db"]
    spread[Broad.TYPICAL] = row["typical_spread_db"]
    spread[Broad.WIDTH], spread[Broad.CREST] = width[1], crest[1]
    segment = style_features(style)[None, :-2].astype(np.float32)
    return StyleTarget(style, tuple(spread.tolist())), segment
