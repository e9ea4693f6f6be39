"""Console settings as engineers make them, drawn at random: the truth of training examples.

Each subgroup has habits: what is cut and lifted where, how hard it is compressed, how wide it is.
The figures are common practice as mixing textbooks give it (Owsinski; Izhaki; Senior), wide enough
that many tastes fit in; a habit is a centre and a spread, not a rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.console.parameters import BUS, BUS_EQ_HZ, STRIP, Parameter, default_settings
from pipeline.roles import Subgroup

__all__ = ["Settings", "draw_settings"]

Settings = dict[str, float]

_LEVEL_SPREAD_DB = 2.2
_EQ_SPREAD_DB = 2.4
_WORKING_DB = -20.0


@dataclass(frozen=True)
class _Habit:
    """Mean gain of the six EQ bands in dB, mean reduction in dB, attack, width, how often."""

    eq_db: tuple[float, float, float, float, float, float] = (0.0,) * 6
    reduction_db: float = 2.0
    attack_ms: float = 15.0
    width: float = 1.0
    spread: float = 0.15
    compressed: float = field(default=0.6)


_HABITS: dict[str, _Habit] = {
    Subgroup.DRUMS: _Habit((1.0, 0.5, -2.0, 0.5, 1.5, 1.0), 3.0, 20.0, 1.1, 0.08, 0.8),
    Subgroup.PERCUSSION: _Habit((-2.0, 0.0, -0.5, 0.5, 1.0, 1.0), 2.0, 15.0, 1.2, 0.2, 0.5),
    Subgroup.BASS: _Habit((0.5, 0.5, -1.0, 0.5, 0.0, -1.0), 4.0, 20.0, 0.7, 0.0, 0.85),
    Subgroup.GUITARS: _Habit((-2.5, -0.5, -0.5, 0.5, 0.5, 0.0), 2.0, 20.0, 1.2, 0.25, 0.5),
    Subgroup.KEYS: _Habit((-1.5, -0.5, -0.5, 0.0, 0.5, 0.5), 2.0, 20.0, 1.1, 0.2, 0.5),
    Subgroup.SYNTHS: _Habit((-1.5, 0.0, -0.5, 0.0, 0.0, 0.5), 2.0, 20.0, 1.3, 0.25, 0.4),
    Subgroup.STRINGS: _Habit((-1.5, 0.0, 0.0, 0.0, 0.5, 0.5), 1.5, 30.0, 1.3, 0.25, 0.3),
    Subgroup.WINDS: _Habit((-2.0, 0.0, -0.5, 0.0, 0.5, 0.5), 2.0, 20.0, 1.1, 0.2, 0.4),
    Subgroup.LEAD_VOCALS: _Habit((-3.0, -1.0, -0.5, 0.5, 1.5, 1.5), 5.0, 8.0, 1.0, 0.1, 0.9),
    Subgroup.BACKING_VOCALS: _Habit((-3.5, -1.5, -0.5, 0.0, 1.0, 1.5), 4.0, 8.0, 1.3, 0.35, 0.7),
    Subgroup.EFFECTS: _Habit((-1.5, 0.0, 0.0, 0.0, 0.0, 0.0), 1.0, 20.0, 1.3, 0.25, 0.2),
    Subgroup.DIALOGUE: _Habit((-4.0, -1.0, 0.0, 1.0, 1.0, 0.0), 5.0, 6.0, 1.0, 0.0, 0.9),
}


def draw_settings(
    subgroups: Sequence[str],
    rng: np.random.Generator,
    *,
    gains_db: Sequence[float],
    loud_db: Sequence[float],
    centred: Sequence[bool],
    max_spread: Sequence[float],
) -> tuple[list[Settings], Settings]:
    """Draw settings for every strip and the bus.

    Parameters
    ----------
    subgroups
        Name of each stem.
    gains_db
        Fader of each stem in the balance that is departed from, which brings the mix to a working
        level of about -20 LUFS.
    loud_db
        Power of each stem in its loud moments before the fader, in dB.
    centred, max_spread
        The guardrails of each stem: whether it stays in the middle, and its most spread.

    Returns
    -------
    strips : list of dict
        Complete settings of each strip.
    bus : dict
    """
    strength = float(rng.uniform(0.5, 1.3))  # from a light hand to a heavy one
    taste = rng.normal(0.0, 1.0, 6)  # what this engineer does to every stem
    strips = [
        _strip(
            _HABITS.get(name, _Habit()),
            rng,
            strength,
            taste,
            gain_db=gain,
            loud_db=loud,
            pan=0.0 if middle else float(np.clip(rng.normal(0.0, 0.18), -0.5, 0.5)),
            most_spread=most,
        )
        for name, gain, loud, middle, most in zip(
            subgroups, gains_db, loud_db, centred, max_spread, strict=True
        )
    ]
    return strips, _bus(rng, strength)


def _log_normal(rng: np.random.Generator, middle: float, factor: float) -> float:
    return float(middle * math.exp(rng.normal(0.0, math.log(factor))))


def _strip(
    habit: _Habit,
    rng: np.random.Generator,
    strength: float,
    taste: np.ndarray,
    *,
    gain_db: float,
    loud_db: float,
    pan: float,
    most_spread: float,
) -> Settings:
    settings = default_settings(STRIP)
    settings["gain_db"] = gain_db + float(rng.normal(0.0, _LEVEL_SPREAD_DB))
    for band, centre, general in zip(STRIP.eq_bands, habit.eq_db, taste, strict=True):
        gain = strength * (centre + 0.5 * general + rng.normal(0.0, _EQ_SPREAD_DB))
        frequency, q = str(band.frequency_hz), str(band.q)
        settings[band.gain_name] = float(gain) if rng.random() < 0.75 else 0.0
        settings[frequency] = _log_normal(rng, settings[frequency], 1.4)
        settings[q] = _log_normal(rng, settings[q], 1.3)
    if rng.random() < habit.compressed:
        reduction = strength * habit.reduction_db * _log_normal(rng, 1.0, 1.5)
        ratio = float(np.clip(_log_normal(rng, 2.5, 1.4), 1.3, 4.0))
        settings["ratio"] = ratio
        # The loud moments are so far over the threshold that this much is taken off.
        over = reduction / (1.0 - 1.0 / ratio)
        settings["threshold_db"] = loud_db + settings["gain_db"] - over
        settings["attack_ms"] = _log_normal(rng, habit.attack_ms, 1.8)
        settings["release_ms"] = _log_normal(rng, 150.0, 1.7)
    settings["pan"] = pan
    settings["width"] = _log_normal(rng, habit.width, 1.3)
    if most_spread == 0.0:
        settings["width"] = min(settings["width"], 1.0)
    wanted = rng.exponential(habit.spread) if habit.spread and rng.random() < 0.7 else 0.0
    settings["spread"] = float(min(wanted, most_spread))
    return _within(settings, STRIP)


def _bus(rng: np.random.Generator, strength: float) -> Settings:
    settings = default_settings(BUS)
    curve = strength * _smooth_curve(rng)
    for band, gain in zip(BUS.eq_bands, curve, strict=True):
        settings[band.gain_name] = float(gain)
    if rng.random() < 0.7:
        ratio = float(np.clip(_log_normal(rng, 1.8, 1.3), 1.2, 3.0))
        settings["ratio"] = ratio
        over = strength * rng.uniform(0.5, 3.0) / (1.0 - 1.0 / ratio)
        settings["threshold_db"] = _WORKING_DB + 2.0 - over
        settings["attack_ms"] = _log_normal(rng, 30.0, 1.5)
        settings["release_ms"] = _log_normal(rng, 150.0, 1.6)
    settings["width"] = _log_normal(rng, 1.0, 1.2)
    return _within(settings, BUS)


def _smooth_curve(rng: np.random.Generator) -> np.ndarray:
    """Return an EQ curve as a master has: a tilt and a few broad bumps, in dB per band."""
    octave = np.log2(np.asarray(BUS_EQ_HZ) / 800.0)
    curve = rng.normal(0.0, 0.45) * octave
    for _ in range(rng.integers(1, 5)):
        centre, width = rng.uniform(-5.0, 4.3), rng.uniform(0.5, 1.8)
        curve = curve + rng.normal(0.0, 1.8) * np.exp(-0.5 * ((octave - centre) / width) ** 2)
    return np.asarray(curve - curve.mean())


def _within(settings: Settings, table: Sequence[Parameter]) -> Settings:
    return {p.name: float(np.clip(settings[p.name], p.safe_low, p.safe_high)) for p in table}
