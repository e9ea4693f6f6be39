"""Console settings as engineers make them, drawn at random: the truth of training examples.

They come from the same table that prices refinement, :mod:`stage2.priors.engineers`; an engineer
has a hand, light or heavy, and a taste of his own that all of a mix's stems share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.console.parameters import BUS, STRIP, default_settings
from pipeline.units import Float64Array
from stage2.console.search_space import HELD, StemGuard
from stage2.priors.engineers import SettingsPrior, bus_prior, strip_prior

__all__ = ["Settings", "draw_settings"]

Settings = dict[str, float]

_LEVEL_SPREAD_DB = 2.0
_HANDS = (0.6, 1.4)
# Of an equaliser band's variance, what all stems of a mix share.
_TASTE = 0.4
_LEFT_ALONE, _UNCOMPRESSED, _BUS_UNCOMPRESSED = 0.2, 0.3, 0.3


def draw_settings(
    subgroups: Sequence[str],
    rng: np.random.Generator,
    *,
    gains_db: Sequence[float],
    guards: Sequence[StemGuard],
) -> tuple[list[Settings], Settings]:
    """Draw settings for every strip and the bus.

    Parameters
    ----------
    subgroups
        Name of each stem.
    gains_db
        Fader of each stem in the balance that is departed from.
    guards
        The guardrails of each stem.

    Returns
    -------
    strips : list of dict
        Complete settings of each strip.
    bus : dict
    """
    hand = float(rng.uniform(*_HANDS))
    taste = rng.normal(0.0, 1.0, len(STRIP.eq_bands))
    strips = [
        _strip(strip_prior(name), rng, hand, taste, gain, guard)
        for name, gain, guard in zip(subgroups, gains_db, guards, strict=True)
    ]
    bus = bus_prior().draw(rng, scale=hand)
    if rng.random() < _BUS_UNCOMPRESSED:
        bus["ratio"] = 1.0
    return strips, _neutral_where_held(bus, default_settings(BUS)) | {"gain_db": 0.0}


def _strip(
    prior: SettingsPrior,
    rng: np.random.Generator,
    hand: float,
    taste: Float64Array,
    gain_db: float,
    guard: StemGuard,
) -> Settings:
    settings = prior.draw(rng, scale=hand)
    for own, band in zip(taste, STRIP.eq_bands, strict=True):
        column = STRIP.columns[band.gain_name]
        parameter = STRIP[column]
        shared = _TASTE * hand * own * prior.spread[column]
        gain = float(
            np.clip(settings[band.gain_name] + shared, parameter.safe_low, parameter.safe_high)
        )
        settings[band.gain_name] = 0.0 if rng.random() < _LEFT_ALONE else gain
    if rng.random() < _UNCOMPRESSED:
        settings["ratio"] = 1.0
    settings["gain_db"] = gain_db + float(rng.normal(0.0, _LEVEL_SPREAD_DB))
    settings["high_pass_hz"] = min(settings["high_pass_hz"], guard.highest_high_pass_hz)
    settings["spread"] = min(settings["spread"], guard.max_spread)
    if guard.max_spread == 0.0:
        settings["width"] = min(settings["width"], 1.0)
    if guard.centred:
        settings["pan"] = 0.0
    return _neutral_where_held(settings, default_settings(STRIP))


def _neutral_where_held(settings: Settings, neutral: Settings) -> Settings:
    return settings | {name: neutral[name] for name in HELD if name in neutral}
