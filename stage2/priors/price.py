"""The price of settings and of what they do to stems, in nats: how unlike an engineer's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.console.parameters import Aspect
from stage2.console.band_model import ModelledMix
from stage2.priors.engineers import (
    SettingsPrior,
    bus_prior,
    finished_stem,
    reduction_limits,
    strip_prior,
)

__all__ = ["SettingsPrice", "StemPrice", "settings_price"]

# What is done to a stem, as a whole: one standard deviation of its change of spectrum.
_CHANGE_DB = 2.0
# And of its punch.
_PUNCH_DB = 0.7
# Beyond the corridor of finished stems: one standard deviation.
_UNFINISHED_DB = 1.5
# Bands of a stem under this against its power are none of its sound.
_AUDIBLE_BAND_DB = -30.0
# Mean reduction that costs nothing, and one standard deviation beyond it.
_FREE_REDUCTION, _REDUCTION_DB = 0.5, 0.7


class StemPrice:
    """The price of what is done to stems: of their spectrum as it becomes, and of reductions.

    Parameters
    ----------
    subgroups
        Name of each stem.
    before
        The balanced mix, modelled.
    """

    def __init__(self, subgroups: Sequence[str], before: ModelledMix) -> None:
        self._before = before_db = before.stem_bands_db.detach()
        self._punch = before.stem_punch_db.detach()
        finished = [finished_stem(name) for name in subgroups]
        known = [np.zeros(before_db.shape[1]) if f is None else f.level_db for f in finished]
        self._finished = torch.tensor(np.asarray(known), dtype=torch.float64)
        self._corridor = torch.tensor(
            [math.inf if f is None else f.corridor_db for f in finished], dtype=torch.float64
        )[:, None]
        self._audible = torch.maximum(before_db, self._finished) > _AUDIBLE_BAND_DB
        limits = reduction_limits()
        self._most = torch.tensor(
            [limits.strip_mean_db] * len(subgroups) + [limits.bus_mean_db], dtype=torch.float64
        )

    def __call__(self, mix: ModelledMix) -> Tensor:
        """Return the price of what has become of the stems."""
        bands_db, reductions_db = mix.stem_bands_db, mix.reductions_db
        share = torch.pow(10.0, self._before / 10.0).pow(0.3) * self._audible
        share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-9)
        change = bands_db - self._before
        change = change - (change * share).sum(dim=1, keepdim=True)
        price = 0.5 * ((change / _CHANGE_DB).square() * share).sum()
        outside = torch.relu((bands_db - self._finished).abs() - self._corridor) * self._audible
        unfinished = outside / _UNFINISHED_DB
        price = price + (torch.sqrt(1.0 + unfinished.square()) - 1.0).sum(dim=1).sum() / 2.0
        over = torch.relu(reductions_db - _FREE_REDUCTION * self._most) / _REDUCTION_DB
        punch = (mix.stem_punch_db - self._punch) / _PUNCH_DB
        return price + 0.5 * over.square().sum() + 0.5 * punch.square().sum()


class SettingsPrice:
    """The price of settings under independent normal distributions.

    Parameters
    ----------
    priors
        One a row of settings, all of one table.
    match
        Aspects that are free; settings of the others cost nothing.
    """

    def __init__(self, priors: Sequence[SettingsPrior], match: frozenset[Aspect]) -> None:
        self._mean = torch.from_numpy(np.stack([prior.mean for prior in priors]))
        spread = np.stack([prior.spread for prior in priors])
        held = np.asarray([parameter.aspect not in match for parameter in priors[0].table])
        spread[:, held] = np.inf
        self._spread = torch.from_numpy(spread)
        self._log = torch.from_numpy(priors[0].is_log)

    def __call__(self, settings: Tensor) -> Tensor:
        """Return the price of settings ``(rows, parameters)`` in the table's units."""
        warped = torch.where(self._log, torch.log(torch.where(self._log, settings, 1.0)), settings)
        return 0.5 * ((warped - self._mean) / self._spread).square().sum()


def settings_price(
    subgroups: Sequence[str], match: frozenset[Aspect]
) -> tuple[SettingsPrice, SettingsPrice]:
    """Return what prices the settings of strips, faders aside, and of the bus."""
    priors = [strip_prior(name) for name in subgroups]
    free = [_without_fader(prior) for prior in priors]
    return SettingsPrice(free, match), SettingsPrice([bus_prior()], match)


def _without_fader(prior: SettingsPrior) -> SettingsPrior:
    """Return a prior that says nothing of the fader, whose mean is the balance."""
    spread = prior.spread.copy()
    spread[prior.table.columns["gain_db"]] = np.inf
    return SettingsPrior(prior.table, prior.mean, spread, prior.sources)
