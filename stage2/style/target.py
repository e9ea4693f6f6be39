"""The style that is wanted, as a distribution: how a record sounds, and how much that varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.console.parameters import Aspect
from pipeline.units import Float32Array, Float64Array
from stage2.style.broad import BROAD_FIGURES, HEARD_FIGURES, Broad, broadened
from stage2.style.layout import style_features
from stage2.style.measure import Style

__all__ = ["StylePrice", "StyleTarget", "segment_spread"]

# What figures vary by from one 7 s segment of a record to the next: medians over eleven finished
# records of as many genres. A short reference varies by this.
_SEGMENT_SPREAD = np.asarray(
    [
        *(0.7, 1.0, 0.9, 1.1, 1.6, 1.7, 2.4, 4.0),  # spectrum
        *(1.3, 1.1, 1.5, 2.0, 1.7, 2.5, 3.7, 3.8),  # typical spectrum
        1.5,  # width
        *(2.0, 2.2, 2.0, 2.6),  # width by range
        0.2,  # imbalance
        *(0.6, 0.6, 0.6, 0.8),  # punch
        *(1.0, 1.5),  # crest, peak to loudness
    ]
)
# A record of few segments borrows as if it had this many more, and none varies by more than this.
_BORROWED_SEGMENTS, _MOST_SPREAD = 3, 2.5
# Differences beyond the spread that are as unlikely as one standard deviation: what two songs of
# one style are apart by, arranged and played as they are.
_BETWEEN_SONGS = np.asarray(
    [*(2.0,) * 8, *(2.5,) * 8, 3.0, *(4.0,) * 4, 0.5, *(1.0,) * 4, 1.5, 2.0]
)
# How many independent observations each group of figures is worth.
_WEIGHTS = {
    "spectrum": 14.0,
    "typical": 8.0,
    "width": 2.0,
    "ranges": 2.0,
    "imbalance": 3.0,
    "punch": 2.0,
    "crest": 3.0,
}
# Bands this far under the whole are hardly heard, and count for little.
_AUDIBLE_DB, _FADE_DB, _LEAST_WEIGHT = -25.0, 20.0, 0.15
# A price of crest that compressors took too far down: a limiter can lower peaks, nothing raises
# them.
_FLAT = 0.5


def segment_spread(segments: Float32Array | None = None) -> tuple[float, ...]:
    """Return what each broad figure varies by over segments of a record, or of several.

    Parameters
    ----------
    segments
        Features of each, ``(segments, FIGURES - 2)``, as
        :func:`stage2.controller.inputs.reference_windows` gives them; None for those of a record
        of which nothing is known.

    Returns
    -------
    tuple of float
        Standard deviations, ``BROAD_FIGURES`` of them.
    """
    known = _SEGMENT_SPREAD.copy()
    count = 0 if segments is None else len(segments)
    if segments is not None and count > 1:
        figures = broadened(torch.from_numpy(np.asarray(segments, dtype=np.float64))).numpy()
        own = figures.var(axis=0, ddof=1)
        borrowed = _BORROWED_SEGMENTS * np.square(known[:HEARD_FIGURES])
        pooled = (borrowed + (count - 1) * own) / (_BORROWED_SEGMENTS + count - 1)
        known[:HEARD_FIGURES] = np.sqrt(pooled)
    known = np.minimum(known, _MOST_SPREAD * _SEGMENT_SPREAD)
    # A record that leans to one side is a fault or an arrangement.
    known[Broad.IMBALANCE] = _SEGMENT_SPREAD[Broad.IMBALANCE]
    return tuple(known.tolist())


@dataclass(frozen=True)
class StyleTarget:
    """A style to follow.

    Parameters
    ----------
    style
        The mean of each figure.
    spread
        Standard deviation of each broad figure, ``(BROAD_FIGURES,)``: nothing is gained inside.
    """

    style: Style
    spread: tuple[float, ...]

    @classmethod
    def of(cls, style: Style, segments: Sequence[Float32Array]) -> StyleTarget:
        """Return the target that references make, from their mean style and their segments."""
        return cls(style, segment_spread(np.concatenate(segments)))

    def figures(self) -> Float64Array:
        """Return the means as broad figures, ``(BROAD_FIGURES,)``; left and right level."""
        features = torch.from_numpy(style_features(self.style))
        figures: Float64Array = broadened(features).numpy()
        figures[Broad.IMBALANCE] = 0.0
        return figures

    def to_record(self) -> dict[str, object]:
        """Return the target as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, object]) -> StyleTarget:
        """Return the target that :meth:`to_record` wrote."""
        style, spread = record["style"], record["spread"]
        assert isinstance(style, dict)
        assert isinstance(spread, list | tuple)
        return cls(Style.from_record(style), tuple(spread))


class StylePrice:
    """How unlikely a mix is under a target, in nats.

    Parameters
    ----------
    wanted
        Broad figures, ``(BROAD_FIGURES,)`` or ``(HEARD_FIGURES,)``.
    spread
        Of each broad figure, ``(BROAD_FIGURES,)``.
    match
        Aspects to follow.
    """

    def __init__(
        self,
        wanted: Tensor,
        spread: Sequence[float],
        match: frozenset[Aspect] = frozenset(Aspect),
    ) -> None:
        self.wanted = wanted
        self._spread = torch.tensor(spread, dtype=torch.float64)
        self._between = torch.from_numpy(_BETWEEN_SONGS)
        self._match = match
        self._audible = self._weights_of_bands()

    @classmethod
    def of(cls, target: StyleTarget, match: frozenset[Aspect]) -> StylePrice:
        """Return the price under a target."""
        return cls(torch.from_numpy(target.figures()), target.spread, match)

    def _weights_of_bands(self) -> Tensor:
        level = self.wanted[Broad.SPECTRUM]
        weight = (1.0 + (level - _AUDIBLE_DB) / _FADE_DB).clamp(_LEAST_WEIGHT, 1.0)
        return weight / weight.sum()

    def _unlikely(self, apart: Tensor, place: slice | int) -> Tensor:
        """Return a robust negative log-likelihood of differences, 0 within the spread."""
        beyond = torch.relu(apart.abs() - self._spread[place]) / self._between[place]
        return torch.sqrt(1.0 + beyond.square()) - 1.0

    def __call__(self, figures: Tensor, *, limited_db: float = 0.0) -> Tensor:
        """Return the price of a mix.

        Parameters
        ----------
        figures
            ``(BROAD_FIGURES,)`` or ``(HEARD_FIGURES,)``.
        limited_db
            Crest that the limiter will take off.
        """
        apart = figures - self.wanted[: figures.shape[0]]
        price = torch.zeros((), dtype=torch.float64)
        if {Aspect.EQ, Aspect.LEVEL} & self._match:  # faders alone can tilt a spectrum, too
            for name, place in (("spectrum", Broad.SPECTRUM), ("typical", Broad.TYPICAL)):
                tilt = apart[place] - (apart[place] * self._audible).sum()
                price = price + _WEIGHTS[name] * (self._unlikely(tilt, place) * self._audible).sum()
        if Aspect.WIDTH in self._match:
            price = price + _WEIGHTS["width"] * self._unlikely(apart[Broad.WIDTH], Broad.WIDTH)
            ranges = self._unlikely(apart[Broad.RANGES], Broad.RANGES)
            price = price + _WEIGHTS["ranges"] * ranges.mean()
        if {Aspect.PAN, Aspect.WIDTH} & self._match:
            leaning = self._unlikely(apart[Broad.IMBALANCE], Broad.IMBALANCE)
            price = price + _WEIGHTS["imbalance"] * leaning
        if Aspect.DYNAMICS in self._match:
            punch = self._unlikely(apart[Broad.PUNCH], Broad.PUNCH)
            price = price + _WEIGHTS["punch"] * punch.mean()
            if figures.shape[0] == BROAD_FIGURES:
                price = price + _WEIGHTS["crest"] * self._crest(apart, limited_db)
        return price

    def _crest(self, apart: Tensor, limited_db: float) -> Tensor:
        crest = apart[Broad.CREST]
        outside = torch.relu(crest - limited_db) - torch.relu(-crest)
        flat = torch.relu(-apart[Broad.PEAK])
        return self._unlikely(outside, Broad.CREST) + _FLAT * self._unlikely(flat, Broad.PEAK)
