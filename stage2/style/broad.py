"""A style's figures in broad bands: what of a record carries over to another song.

Third octaves show the notes of a song, and two songs are in different keys. Octaves, and two
octaves at once in the bass, show the tonal balance.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.units import Float64Array
from stage2.style.envelopes import RANGES_HZ
from stage2.style.layout import (
    CREST,
    FIGURES,
    IMBALANCE,
    PEAK,
    PUNCH,
    RANGES,
    SPECTRUM,
    TYPICAL,
    WIDTH,
)
from stage2.style.measure import THIRD_OCTAVES_HZ, WIDTH_FLOOR_DB, Style

__all__ = [
    "BROAD_EDGES_HZ",
    "BROAD_FIGURES",
    "BROAD_HZ",
    "HEARD_FIGURES",
    "Broad",
    "before_limiter",
    "broad_bands",
    "broad_spectrum_db",
    "broadened",
    "third_octaves_of",
]

# How many third octaves each broad band spans: two octaves in the bass, an octave above.
_SPANS = (7, 3, 3, 3, 3, 3, 3, 4)
_FIRST = np.cumsum((0, *_SPANS))
_HALF = 2.0 ** (1.0 / 6.0)
#: Edges of the broad bands.
BROAD_EDGES_HZ: tuple[float, ...] = (
    *(float(THIRD_OCTAVES_HZ[first] / _HALF) for first in _FIRST[:-1]),
    float(THIRD_OCTAVES_HZ[-1] * _HALF),
)
#: Geometric centres.
BROAD_HZ: tuple[float, ...] = tuple(
    float(np.sqrt(low * high)) for low, high in itertools.pairwise(BROAD_EDGES_HZ)
)
_BANDS, _RANGES = len(_SPANS), len(RANGES_HZ)


class Broad:
    """Where each figure lies in a broad vector, ``(BROAD_FIGURES,)``."""

    SPECTRUM = slice(0, _BANDS)
    TYPICAL = slice(_BANDS, 2 * _BANDS)
    WIDTH = 2 * _BANDS
    RANGES = slice(WIDTH + 1, WIDTH + 1 + _RANGES)
    IMBALANCE = RANGES.stop
    PUNCH = slice(IMBALANCE + 1, IMBALANCE + 1 + _RANGES)
    CREST = PUNCH.stop
    PEAK = CREST + 1


#: How many there are, and how many of them (the first) are there before the limiter.
BROAD_FIGURES, HEARD_FIGURES = Broad.PEAK + 1, Broad.CREST


def broad_bands(third_octaves_db: Tensor) -> Tensor:
    """Return levels of third octaves ``(..., 29)`` summed into broad bands ``(..., 8)``, in dB."""
    power = torch.pow(10.0, third_octaves_db / 10.0)
    parts = torch.split(power, list(_SPANS), dim=-1)
    return 10.0 * torch.log10(torch.stack([part.sum(dim=-1) for part in parts], dim=-1) + 1e-12)


def broadened(features: Tensor) -> Tensor:
    """Return features as broad figures, differentiable.

    Parameters
    ----------
    features
        ``(..., FIGURES)`` in the order of :mod:`stage2.style.layout`; or without crest and peak.

    Returns
    -------
    Tensor
        ``(..., BROAD_FIGURES)`` in the order of :class:`Broad`; without crest and peak
        ``(..., HEARD_FIGURES)``. Spectra are relative to the power of all, imbalances to none.
    """
    parts = [
        broad_bands(features[..., SPECTRUM]),
        broad_bands(features[..., TYPICAL]),
        features[..., WIDTH : WIDTH + 1],
        features[..., RANGES],
        features[..., IMBALANCE : IMBALANCE + 1],
        features[..., PUNCH],
    ]
    if features.shape[-1] == FIGURES:
        parts += [features[..., CREST : CREST + 1], features[..., PEAK : PEAK + 1]]
    return torch.cat(parts, dim=-1)


def broad_spectrum_db(style: Style) -> Float64Array:
    """Return the spectrum of a style in broad bands ``(8,)``, in dB against the whole."""
    levels: Float64Array = broad_bands(torch.tensor(style.spectrum_db, dtype=torch.float64)).numpy()
    return levels


def third_octaves_of(broad_db: Sequence[float]) -> tuple[float, ...]:
    """Return third octaves ``(29,)`` that make broad bands of these levels, each band flat."""
    shares = [10.0 * np.log10(span) for span in _SPANS]
    return tuple(
        float(level - share)
        for level, share, span in zip(broad_db, shares, _SPANS, strict=True)
        for _ in range(span)
    )


def before_limiter(features: Tensor) -> Tensor:
    """Return what of a mix is there before the limiter, as broad figures, differentiable.

    Widths are not under the floor of what is heard as mono.

    Parameters
    ----------
    features
        ``(..., FIGURES)``, or without crest and peak.
    """
    figures = broadened(features[..., : FIGURES - 2])
    low = torch.full_like(figures, -torch.inf)
    low[..., Broad.WIDTH : Broad.RANGES.stop] = WIDTH_FLOOR_DB
    return torch.maximum(figures, low)
