"""What refinement minimises: how unlikely a mix is, and the settings that make it.

The price is a negative logarithm of a posterior, in nats: of the mix under the wanted style, of the
settings under what engineers do, and of what is done to each stem. A tilt of the whole costs once
on the bus and as often as there are stems on the strips, so the bus explains it first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.console.parameters import STRIP, Aspect
from stage2.console.band_model import ModelledMix
from stage2.priors.engineers import strip_prior
from stage2.priors.price import StemPrice, settings_price
from stage2.refine.render_check import Trial
from stage2.style.broad import BROAD_FIGURES, broadened
from stage2.style.layout import (
    FIGURES,
    IMBALANCE,
    PUNCH,
    RANGES,
    SPECTRUM,
    TYPICAL,
    WIDTH,
    style_features,
)
from stage2.style.measure import (
    MOST_IMBALANCE_DB,
    SPECTRUM_FLOOR_DB,
    TYPICAL_FLOOR_DB,
    WIDTH_CEILING_DB,
    WIDTH_FLOOR_DB,
    Style,
)
from stage2.style.target import StylePrice, StyleTarget

__all__ = ["HIGHEST_STEM_LU", "Objective", "RefineOptions"]

# Crest that is left to the limiter where levels are known moment by moment: there its gradient
# would pull at them before they converge. Elsewhere it is what the limiter was seen to take.
_ALIGNED_CREST_DB = 2.5
# Where levels are known, a fader may go where they are.
_ALIGNED_LEVEL_LU = 6.0
# The sum before the bus stays at the working level, which the bus's threshold is relative to.
_WORKING_LU = 0.3
# Price of frames of an aligned mix, in nats per decibel.
_ALIGNED_WEIGHT = 100.0
#: No stem may be louder than this against the sum of all: a part is not the whole.
HIGHEST_STEM_LU = -0.5


@dataclass(frozen=True)
class RefineOptions:
    """How refinement works.

    Parameters
    ----------
    match
        Aspects of the style to follow; parameters of the others stay neutral.
    corridor_lu
        How far a stem may leave the intended balance, in LU.
    aligned_corridor_lu
        The same where the reference is a mix of this very song, and so tells the levels.
    rounds, steps
        Rounds that end in a real render, and gradient steps in each.
    rate
        Adam's step in normalised parameters, in the first round.
    """

    match: frozenset[Aspect] = frozenset(Aspect)
    corridor_lu: float = 1.2
    aligned_corridor_lu: float = 9.0
    rounds: int = 3
    steps: int = 50
    rate: float = 0.04


def _style_of(features: Tensor, delivered: Style) -> Style:
    """Return the style that features stand for: what :func:`style_features` does, backwards.

    Parameters
    ----------
    features
        As :class:`stage2.console.band_model.ModelledMix` holds them, corrected.
    delivered
        The style of the passages, for what is judged after the limiter.
    """
    values = features.detach().numpy()
    spectrum = np.maximum(values[SPECTRUM], values[SPECTRUM].max() + SPECTRUM_FLOOR_DB)
    widths = np.clip(values[WIDTH : RANGES.stop], WIDTH_FLOOR_DB, WIDTH_CEILING_DB).tolist()
    return Style(
        spectrum_db=tuple(spectrum.tolist()),
        width_db=widths[0],
        width_by_range_db=tuple(widths[1:]),
        imbalance_db=float(np.clip(values[IMBALANCE], -MOST_IMBALANCE_DB, MOST_IMBALANCE_DB)),
        punch_by_range_db=tuple(values[PUNCH].tolist()),
        crest_db=delivered.crest_db,
        loudness_lufs=delivered.loudness_lufs,
        typical_spectrum_db=tuple(np.maximum(values[TYPICAL], TYPICAL_FLOOR_DB).tolist()),
        peak_to_loudness_db=delivered.peak_to_loudness_db,
    )


class Objective:
    """The price of a mix, as the optimiser sees it.

    Parameters
    ----------
    target
        The style that is wanted.
    subgroups
        Name of each stem.
    before
        The balanced mix, modelled: what moves are counted from.
    intended_lufs
        Level of each stem in it, ``(stems,)``.
    aligned
        Power per style frame and fine band of a mix of this very song, None for another one's.
    """

    def __init__(
        self,
        target: StyleTarget,
        options: RefineOptions,
        *,
        subgroups: Sequence[str],
        before: ModelledMix,
        intended_lufs: Tensor,
        aligned: Tensor | None,
    ) -> None:
        self._style = StylePrice.of(target, options.match)
        self._strips, self._bus = settings_price(subgroups, options.match)
        self._stems = StemPrice(subgroups, before)
        self._intended = intended_lufs - intended_lufs.mean()
        self._sum_lufs = before.sum_lufs.detach()
        fader = STRIP.columns["gain_db"]
        usual = [strip_prior(name).spread[fader] for name in subgroups]
        self._level_spread = torch.tensor(usual, dtype=torch.float64)
        self._corridor = options.corridor_lu
        self._aligned: Tensor | None = None
        if aligned is not None:
            self._corridor = options.aligned_corridor_lu
            self._level_spread = torch.full_like(self._level_spread, _ALIGNED_LEVEL_LU)
            self._aligned = 10.0 * torch.log10(aligned + 1e-12)
            self._audible = (self._aligned > self._aligned.max() - 55.0).double()
        self._offset = torch.zeros(FIGURES, dtype=torch.float64)
        self.stem_offset = torch.zeros_like(intended_lufs)
        self._sum_offset = 0.0
        self._limited_db = 0.0

    def correct(self, modelled: ModelledMix, trial: Trial) -> None:
        """Add to the model what it was off a trial, from here on.

        Parameters
        ----------
        modelled
            The trial's settings and passages, modelled.
        """
        features = style_features(trial.style)
        features[-2:] = trial.crest_db, trial.peak_to_loudness_db  # of the mix before the limiter
        self._offset = torch.from_numpy(features) - modelled.features
        limited_db = trial.crest_db - trial.style.crest_db
        self._limited_db = limited_db if self._aligned is None else _ALIGNED_CREST_DB
        stem_lufs = torch.tensor(trial.stem_lufs, dtype=torch.float64)
        # a stem that rests in the whole excerpt has no loudness, and nothing to correct
        sounds = torch.isfinite(stem_lufs)
        self.stem_offset = torch.where(sounds, stem_lufs - modelled.stem_lufs, 0.0)
        off_lu = trial.sum_lufs - float(modelled.sum_lufs)
        self._sum_offset = off_lu if math.isfinite(off_lu) else 0.0

    def style(self, modelled: ModelledMix, trial: Trial) -> Style:
        """Return the style of the whole excerpt, by its model and by what that was off a trial."""
        return _style_of(modelled.features + self._offset, trial.style)

    def style_price(self, modelled: ModelledMix) -> Tensor:
        """Return the part of the price that the style has."""
        figures = broadened(modelled.features + self._offset)
        assert figures.shape == (BROAD_FIGURES,)
        return self._style(figures, limited_db=self._limited_db)

    def __call__(self, mix: ModelledMix, strips: Tensor, bus: Tensor) -> Tensor:
        """Return the price of a modelled mix and of the settings that made it.

        Parameters
        ----------
        strips, bus
            ``(stems, len(STRIP))`` and ``(len(BUS),)``, in the tables' units.
        """
        price = self.style_price(mix) + self._levels(mix)
        price = price + self._strips(strips) + self._bus(bus[None])
        price = price + self._stems(mix)
        if self._aligned is not None and mix.frames is not None:
            price = price + self._apart(mix.frames)
        return price

    def _levels(self, mix: ModelledMix) -> Tensor:
        level = mix.stem_lufs + self.stem_offset
        moved = level - level.mean() - self._intended
        outside = torch.relu(moved.abs() - self._corridor * 0.9)
        above = torch.relu(level - (mix.sum_lufs + self._sum_offset) - HIGHEST_STEM_LU + 0.3)
        whole = (mix.sum_lufs - self._sum_lufs) / _WORKING_LU
        return (
            0.5 * whole.square()
            + 0.5 * (moved / self._level_spread).square().sum()
            + 10.0 * outside.square().sum()
            + 10.0 * above.square().sum()
        )

    def _apart(self, frames: Tensor) -> Tensor:
        """Return the price of levels in time and band that are not those of the aligned mix."""
        assert self._aligned is not None
        apart = 10.0 * torch.log10(frames + 1e-12) - self._aligned
        count = self._audible.sum().clamp_min(1.0)
        apart = (apart - (apart * self._audible).sum() / count) * self._audible
        return _ALIGNED_WEIGHT * (torch.sqrt(apart.square() + 1.0) - 1.0).sum() / count
