"""The space that refinement searches: normalised vectors, held inside what keeps a mix music.

Also what turns its points into readable settings: tidied, and blended with the neutral start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from pipeline.console.parameters import (
    BUS,
    BUS_EQ_HZ,
    STRIP,
    Aspect,
    ParameterTable,
    default_settings,
)
from pipeline.units import Float64Array, FloatArray

__all__ = [
    "Space",
    "Start",
    "StemInput",
    "as_dicts",
    "blend_settings",
    "bus_space",
    "strip_space",
    "tidy",
]


# A compressor that never takes off this much is not worth a place in the plan.
_LEAST_REDUCTION_DB = 0.1
# How far a threshold lies under and over the loud moments of what it sees: under them all the time
# a compressor is a volume control.
_STRIP_THRESHOLD_DB = (-16.0, 8.0)
_BUS_THRESHOLD_DB = (-10.0, 8.0)


@dataclass(frozen=True)
class StemInput:
    """One stem as refinement sees it.

    Parameters
    ----------
    name
        The subgroup's name.
    audio
        The balanced stem, ``(2, frames)``; all stems of one length.
    gain_db
        Fader that gives the intended balance; refinement starts there.
    centred
        Whether its pan must stay in the middle.
    max_spread
        How much decorrelated side it may get, 0 to 1.
    """

    name: str
    audio: FloatArray
    gain_db: float
    centred: bool = False
    max_spread: float = 0.7


@dataclass(frozen=True)
class Start:
    """Predicted settings, where refinement begins.

    Parameters
    ----------
    strips
        Complete settings of :data:`pipeline.console.parameters.STRIP` per stem, in the order of the
        stems.
    bus
        Complete settings of :data:`pipeline.console.parameters.BUS`.
    """

    strips: tuple[dict[str, float], ...]
    bus: dict[str, float]


class Space:
    """Maps normalised 0..1 vectors to settings within the safe ranges."""

    def __init__(self, table: ParameterTable, count: int) -> None:
        self.names = list(table.columns)
        self._columns = table.columns
        self.low = np.tile([p.safe_low for p in table], (count, 1)).astype(np.float64)
        self.high = np.tile([p.safe_high for p in table], (count, 1)).astype(np.float64)
        self.start = np.tile([p.default for p in table], (count, 1)).astype(np.float64)
        self.log = np.asarray([p.scale == "log" for p in table])
        self.start = np.clip(self.start, self.low, self.high)

    def column(self, name: str) -> int:
        """Return the index of a parameter."""
        return self._columns[name]

    def hold(self, name: str, row: int | slice = slice(None), value: float | None = None) -> None:
        """Keep a parameter where it starts, or at ``value``."""
        column = self.column(name)
        if value is not None:
            self.start[row, column] = value
        self.low[row, column] = self.start[row, column]
        self.high[row, column] = self.start[row, column]

    def _warp(self, values: Float64Array) -> Float64Array:
        return np.where(self.log, np.log(np.where(self.log, np.maximum(values, 1e-9), 1.0)), values)

    def normalised_start(self) -> torch.Tensor:
        """Return where the search begins, 0..1, ``(rows, parameters)``."""
        return self._normalised(self.start)

    def normalised(self, settings: Sequence[Mapping[str, float]]) -> torch.Tensor:
        """Return settings as 0..1, clamped into the space, ``(rows, parameters)``.

        Raises
        ------
        ValueError
            If there are not as many as the space has rows, or a setting is missing or not finite.
        """
        if len(settings) != len(self.start):
            raise ValueError(
                f"{len(settings)} strips are predicted for {len(self.start)} stems: give one each"
            )
        missing = sorted({name for row in settings for name in self.names if name not in row})
        if missing:
            raise ValueError(f"no {missing[0]} is predicted: give every setting of the table")
        values = np.asarray([[row[name] for name in self.names] for row in settings])
        if not np.isfinite(values).all():
            raise ValueError("a predicted setting is not finite: give numbers")
        return self._normalised(np.clip(values, self.low, self.high))

    def _normalised(self, values: Float64Array) -> torch.Tensor:
        low, high, point = self._warp(self.low), self._warp(self.high), self._warp(values)
        span = np.where(high > low, high - low, 1.0)
        return torch.from_numpy(np.clip((point - low) / span, 0.0, 1.0))

    def settings(self, normalised: torch.Tensor) -> torch.Tensor:
        """Return normalised values in the table's units, differentiable."""
        low, high, log = self._tensors
        warped = low + (high - low) * normalised
        return torch.where(log, torch.exp(torch.where(log, warped, 0.0)), warped)

    @cached_property
    def _tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Bounds and scales, fixed when the search begins: it asks for them at every step."""
        low, high = torch.from_numpy(self._warp(self.low)), torch.from_numpy(self._warp(self.high))
        return low, high, torch.from_numpy(self.log)


def as_dicts(values: torch.Tensor, table: ParameterTable) -> tuple[dict[str, float], ...]:
    """Return rows of settings by name, held within what the console accepts."""
    rows = np.atleast_2d(values.detach().numpy())
    return tuple(
        {p.name: float(np.clip(value, p.low, p.high)) for p, value in zip(table, row, strict=True)}
        for row in rows
    )


def strip_space(
    stems: Sequence[StemInput], match: frozenset[Aspect], loud_db: Sequence[float]
) -> Space:
    """Return the space of the strips: one row a stem, its guardrails as bounds.

    Parameters
    ----------
    loud_db
        Power of each balanced stem in its loud moments, in dB.
    """
    space = Space(STRIP, len(stems))
    fader = STRIP.parameter("gain_db")
    for row, stem in enumerate(stems):
        gain = space.column("gain_db")
        space.start[row, gain] = stem.gain_db
        space.low[row, gain] = max(stem.gain_db - 12.0, fader.low)
        space.high[row, gain] = min(stem.gain_db + 12.0, fader.high)
        spread = space.column("spread")
        space.high[row, spread] = stem.max_spread
        # off zero, where a decorrelated side has no gradient
        space.start[row, spread] = min(0.1, stem.max_spread)
        pan = space.column("pan")
        space.low[row, pan], space.high[row, pan] = -0.5, 0.5
        # a threshold under the loud moments, so that the ratio has a gradient from the start
        _bound_threshold(space, row, loud_db[row] + stem.gain_db, _STRIP_THRESHOLD_DB, -3.0)
        # some compression, fast enough to tell on peaks: neutral settings have no gradient in time
        space.start[row, space.column("ratio")] = 1.5
        space.start[row, space.column("attack_ms")] = 6.0
        space.start[row, space.column("release_ms")] = 120.0
        if stem.centred:
            space.hold("pan", row)
        if stem.max_spread == 0.0:
            space.high[row, space.column("width")] = 1.0
    space.hold("makeup_db")
    space.hold("knee_db")
    _hold_aspects(space, STRIP, match)
    return space


def _bound_threshold(
    space: Space, row: int, loud_db: float, within_db: tuple[float, float], start_db: float
) -> None:
    """Keep a threshold near the level of the loud moments that its compressor sees."""
    column = space.column("threshold_db")
    low, high, start = (
        min(max(loud_db + value, space.low[row, column]), -1.0) for value in (*within_db, start_db)
    )
    space.low[row, column], space.high[row, column] = low, high
    space.start[row, column] = start


def bus_space(match: frozenset[Aspect], sample_rate: int, loud_db: float) -> Space:
    """Return the space of the bus, bands out of the sample rate's reach held flat.

    Parameters
    ----------
    loud_db
        Power of the sum of the balanced stems in its loud moments, in dB.
    """
    space = Space(BUS, 1)
    _bound_threshold(space, 0, loud_db, _BUS_THRESHOLD_DB, 2.0)
    space.start[0, space.column("attack_ms")] = 30.0
    for frequency, column in zip(BUS_EQ_HZ, BUS.eq_gains, strict=True):
        if frequency > 0.4 * sample_rate:
            space.hold(BUS[column].name)
    space.hold("gain_db")
    space.hold("makeup_db")
    space.hold("knee_db")
    _hold_aspects(space, BUS, match)
    return space


def _hold_aspects(space: Space, table: ParameterTable, match: frozenset[Aspect]) -> None:
    for parameter in table:
        if parameter.aspect not in match:
            value = None if parameter.aspect is Aspect.LEVEL else parameter.default
            space.hold(parameter.name, value=value)


def tidy(
    settings: dict[str, float], table: ParameterTable, reduction_db: float
) -> dict[str, float]:
    """Return readable settings: what does nothing goes back to neutral."""
    neutral = default_settings(table)
    tidy = {name: round(value, 4) for name, value in settings.items()}
    if reduction_db < _LEAST_REDUCTION_DB:
        for name in ("threshold_db", "ratio", "attack_ms", "release_ms", "knee_db"):
            tidy[name] = neutral[name]
    for band in table.eq_bands:
        if abs(tidy[band.gain_name]) < 0.05:
            tidy[band.gain_name] = 0.0
            for part in (band.frequency_hz, band.q):
                if isinstance(part, str):
                    tidy[part] = neutral[part]
    return tidy


def blend_settings(
    settings: Mapping[str, float],
    table: ParameterTable,
    strength: float,
    *,
    start: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return settings between neutral (strength 0) and ``settings`` (strength 1).

    Parameters
    ----------
    settings
        Complete settings of the table.
    table
        ``STRIP`` or ``BUS``.
    strength
        0 to 1. Gains, pan and widths move in their own unit, ratios geometrically; frequencies,
        qualities and times stay, since they do nothing where the gain or ratio is neutral.
    start
        Where strength 0 lies, for parameters that do not start at the table's default.
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength is {strength:g}: use a value from 0 to 1")
    neutral = default_settings(table) | dict(start or {})
    out = dict(settings)
    gains = {band.gain_name for band in table.eq_bands}
    for name in settings:
        if name in gains | {"gain_db", "makeup_db", "width", "spread", "pan"}:
            out[name] = neutral[name] + strength * (settings[name] - neutral[name])
    out["ratio"] = settings["ratio"] ** strength
    return out
