"""What refinement minimises: the distance from the reference, the guardrails, and the effort."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.console.parameters import BUS, STRIP, Aspect
from stage2.console.band_model import ModelledMix
from stage2.refine.render_check import Trial
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
    near,
    tilt_price,
)
from stage2.style.measure import (
    MOST_IMBALANCE_DB,
    SCALES,
    SPECTRUM_FLOOR_DB,
    TYPICAL_FLOOR_DB,
    WIDTH_CEILING_DB,
    WIDTH_FLOOR_DB,
    Style,
)

__all__ = [
    "HIGHEST_STEM_LU",
    "LONG",
    "SHORT",
    "Objective",
    "RefineOptions",
    "figures_of",
]

# Crest that is left to the limiter where levels are told moment by moment: there it would pull at
# them before they are found. Elsewhere it is what the limiter was seen to take.
_ALIGNED_CREST_DB = 2.5
# Price of peaks that compressors took too far down: a limiter can lower them, nothing raises them.
_FLAT = 0.5
# Price of jumps between neighbouring bands of the bus: follow a tilt, not single notes.
_ROUGH_EQ = 0.2
_STRIP_EQ_EFFORT = 0.4
# What a compressor may take off on average: beyond it, it is a volume control.
_STRIP_REDUCTION_DB, _BUS_REDUCTION_DB = 8.0, 4.0
_REDUCTION_EFFORT = 0.1
#: No stem may be louder than this against the sum of all: a part is not the whole.
HIGHEST_STEM_LU = -0.5


#: Rounds, steps in each, and the rate of the first.
LONG, SHORT = (4, 60, 0.06), (2, 60, 0.04)


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
        Adam's step in normalised parameters.

    Notes
    -----
    Of the last three, None takes :data:`SHORT` from a prediction, else :data:`LONG`: from neutral
    settings, and where the reference is a mix of this very song.
    """

    match: frozenset[Aspect] = frozenset(Aspect)
    corridor_lu: float = 2.5
    aligned_corridor_lu: float = 9.0
    rounds: int | None = None
    steps: int | None = None
    rate: float | None = None


def figures_of(style: Style, *, crest_db: float, peak_to_loudness_db: float) -> torch.Tensor:
    """Return a style's figures in the order of a modelled mix's features.

    Parameters
    ----------
    crest_db, peak_to_loudness_db
        Of the mix before the limiter, which is what the compressors answer for.
    """
    return torch.tensor(
        [
            *style.spectrum_db,
            style.width_db,
            *style.width_by_range_db,
            style.imbalance_db,
            *style.punch_by_range_db,
            *style.typical_spectrum_db,
            crest_db,
            peak_to_loudness_db,
        ],
        dtype=torch.float64,
    )


def _style_of(figures: torch.Tensor, delivered: Style) -> Style:
    """Return the style that figures stand for: what :func:`figures_of` does, backwards.

    Parameters
    ----------
    figures
        As :class:`stage2.console.band_model.ModelledMix` holds them, corrected.
    delivered
        The style of the passages, for what is judged after the limiter.
    """
    values = figures.detach().numpy()
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


def _masked(spectrum_db: torch.Tensor) -> torch.Tensor:
    """Return a spectrum with nothing under what its loudest band masks."""
    return torch.maximum(spectrum_db, spectrum_db.detach().max() + SPECTRUM_FLOOR_DB)


class Objective:
    """The distance to the reference, with guardrails, as the optimiser sees it.

    ``origin`` holds the settings of strips and bus that moves are counted from: those predicted, or
    neutral ones.
    """

    def __init__(
        self,
        reference: Style,
        options: RefineOptions,
        *,
        intended_lufs: torch.Tensor,
        aligned: torch.Tensor | None,
        origin: tuple[torch.Tensor, torch.Tensor],
    ) -> None:
        self.spectrum = torch.tensor(reference.spectrum_db, dtype=torch.float64)
        self.width = max(reference.width_db, WIDTH_FLOOR_DB)
        self.ranges = torch.tensor(reference.width_by_range_db, dtype=torch.float64)
        self.imbalance = reference.imbalance_db
        self.punch = torch.tensor(reference.punch_by_range_db, dtype=torch.float64)
        self.crest = reference.crest_db
        self.peak = reference.peak_to_loudness_db
        typical = torch.tensor(reference.typical_spectrum_db, dtype=torch.float64)
        self.typical = _masked(typical)
        self.match = options.match
        self.origin = origin
        self.intended = intended_lufs - intended_lufs.mean()
        self.corridor = options.corridor_lu
        self.aligned: torch.Tensor | None = None
        if aligned is not None:
            self.corridor = options.aligned_corridor_lu
            self.aligned = 10.0 * torch.log10(aligned + 1e-12)
            self.audible = (self.aligned > self.aligned.max() - 55.0).double()
        self.offset = torch.zeros(FIGURES, dtype=torch.float64)
        self.stem_offset = torch.zeros_like(intended_lufs)
        self.sum_offset = 0.0
        self.spared_db = 0.0

    def correct(self, modelled: ModelledMix, trial: Trial) -> None:
        """Add to the model what it was off a trial, from here on.

        Parameters
        ----------
        modelled
            The trial's settings and passages, modelled.
        """
        figures = figures_of(
            trial.style, crest_db=trial.crest_db, peak_to_loudness_db=trial.peak_to_loudness_db
        )
        self.offset = figures - modelled.features
        limited_db = trial.crest_db - trial.style.crest_db
        self.spared_db = limited_db if self.aligned is None else _ALIGNED_CREST_DB
        stem_lufs = torch.tensor(trial.stem_lufs, dtype=torch.float64)
        # a stem that rests in the whole excerpt has no loudness, and nothing to correct
        heard = torch.isfinite(stem_lufs)
        self.stem_offset = torch.where(heard, stem_lufs - modelled.stem_lufs, 0.0)
        heard_lu = trial.sum_lufs - float(modelled.sum_lufs)
        self.sum_offset = heard_lu if math.isfinite(heard_lu) else 0.0

    def style(self, modelled: ModelledMix, trial: Trial) -> Style:
        """Return the style of the whole excerpt, by its model and by what that was off a trial."""
        return _style_of(modelled.features + self.offset, trial.style)

    def __call__(self, mix: ModelledMix, strips: torch.Tensor, bus: torch.Tensor) -> torch.Tensor:
        """Return the loss of a modelled mix and of the settings that made it."""
        figures = mix.features + self.offset
        difference = _masked(figures[SPECTRUM]) - self.spectrum
        loss = torch.zeros((), dtype=torch.float64)
        if {Aspect.EQ, Aspect.LEVEL} & self.match:  # faders alone can tilt a spectrum, too
            typical = _masked(figures[TYPICAL]) - self.typical
            loss = loss + tilt_price(difference, typical)
        if Aspect.WIDTH in self.match:
            loss = loss + near(figures[WIDTH] - self.width) / SCALES["width_db"]
            ranges = torch.clamp(figures[RANGES], min=WIDTH_FLOOR_DB)
            loss = loss + 0.5 * near(ranges - self.ranges).mean() / SCALES["width_db"]
        if {Aspect.PAN, Aspect.WIDTH} & self.match:
            imbalance = figures[IMBALANCE] - self.imbalance
            loss = loss + near(imbalance, within=0.05) / SCALES["imbalance_db"]
        if Aspect.DYNAMICS in self.match:
            flat = torch.relu(self.peak - figures[PEAK])
            loss = loss + _FLAT * flat / SCALES["crest_db"]
            over = torch.relu(figures[CREST] - self.spared_db - self.crest)
            under = torch.relu(self.crest - figures[CREST])
            loss = loss + (over + under) / SCALES["crest_db"]
            punch = figures[PUNCH] - self.punch
            loss = loss + near(punch).mean() / SCALES["crest_db"]
        if self.aligned is not None and mix.frames is not None:
            level = 10.0 * torch.log10(mix.frames + 1e-12)
            apart = level - self.aligned
            count = self.audible.sum().clamp_min(1.0)
            apart = (apart - (apart * self.audible).sum() / count) * self.audible
            loss = loss + 2.0 * near(apart, within=1.0).sum() / count / SCALES["spectrum_db"]
        level = mix.stem_lufs + self.stem_offset
        moved = level - level.mean() - self.intended
        outside = torch.relu(moved.abs() - self.corridor * 0.9)
        loss = loss + outside.square().mean() * 2.0 + moved.square().mean() * 0.002
        above = torch.relu(level - (mix.sum_lufs + self.sum_offset) - HIGHEST_STEM_LU + 0.3)
        loss = loss + above.square().mean() * 2.0
        return loss + self._effort(strips, bus) + self._over_compressed(mix.reductions_db)

    @staticmethod
    def _over_compressed(reductions_db: torch.Tensor) -> torch.Tensor:
        strips = torch.relu(reductions_db[:-1] - _STRIP_REDUCTION_DB).square().sum()
        bus = torch.relu(reductions_db[-1] - _BUS_REDUCTION_DB).square()
        return (strips + bus) * _REDUCTION_EFFORT

    def _effort(self, strips: torch.Tensor, bus: torch.Tensor) -> torch.Tensor:
        """Return the price of settings: of two ways to one sound, the smaller move."""
        column = STRIP.columns
        ratio = strips[:, column["ratio"]] / self.origin[0][:, column["ratio"]]
        moved = strips - self.origin[0]
        bus_eq = (bus - self.origin[1])[BUS.eq_gains]
        return (
            (moved[:, STRIP.eq_gains] / 6.0).square().mean() * _STRIP_EQ_EFFORT
            + (bus_eq / 6.0).square().mean() * 0.03
            + (bus_eq.diff() / 6.0).square().mean() * _ROUGH_EQ
            + torch.log(ratio).square().mean() * 0.01
            + moved[:, column["pan"]].square().mean() * 0.05
            + moved[:, column["width"]].square().mean() * 0.03
            + moved[:, column["spread"]].square().mean() * 0.02
        )
