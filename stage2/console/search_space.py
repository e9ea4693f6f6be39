"""The space that refinement searches: normalised vectors, held inside what keeps a mix music.

Also what turns its points into readable settings: tidied, and blended with the neutral start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from pipeline.console.parameters import (
    BUS,
    HIGH_PASS_OFF_HZ,
    STRIP,
    Aspect,
    ParameterTable,
    default_settings,
)
from pipeline.units import Float64Array, FloatArray
from stage2.console.statistics import Digest

__all__ = [
    "HELD",
    "Space",
    "Start",
    "StemGuard",
    "StemInput",
    "as_dicts",
    "blend_settings",
    "bus_space",
    "stem_guards",
    "strip_space",
    "tidy",
]


# A compressor that never takes off this much is not worth a place in the plan.
_LEAST_REDUCTION_DB, _LEAST_RATIO = 0.5, 1.05
# Less than this nobody sets.
_LEAST_EQ_DB, _LEAST_HIGH_PASS_HZ, _LEAST_SPREAD = 0.1, 18.0, 0.01
_MOST_LEVEL_DB = 12.0
_UNDER_THE_LOWEST = 0.8
#: Settings that rules decide, or nobody: no gradient moves them.
HELD = ("knee_db", "makeup_db", "deess_db", "deess_hz", "deess_threshold_lu")


@dataclass(frozen=True)
class StemGuard:
    """What must not be done to a stem.

    Parameters
    ----------
    centred
        Whether its pan must stay in the middle.
    max_spread
        How much decorrelated side it may get, 0 to 1.
    highest_high_pass_hz
        A high-pass over it would cut what the stem plays.
    """

    centred: bool = False
    max_spread: float = 0.3
    highest_high_pass_hz: float = HIGH_PASS_OFF_HZ


def stem_guards(
    digest: Digest, *, centred: Sequence[bool], max_spread: Sequence[float]
) -> tuple[StemGuard, ...]:
    """Return the guardrails of stems, whose high-passes stay under what they play."""
    return tuple(
        StemGuard(middle, spread, max(_UNDER_THE_LOWEST * float(lowest_hz), HIGH_PASS_OFF_HZ))
        for middle, spread, lowest_hz in zip(centred, max_spread, digest.lowest_hz(), strict=True)
    )


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
    level_lufs
        Loudness of the whole stem, which its thresholds are relative to.
    deesser
        Settings of its de-esser, which a rule has found; empty for none.
    """

    name: str
    audio: FloatArray
    gain_db: float
    level_lufs: float
    guard: StemGuard = StemGuard()
    deesser: Mapping[str, float] = field(default_factory=dict)


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
    stems: Sequence[StemInput], match: frozenset[Aspect], typical: Sequence[Mapping[str, float]]
) -> Space:
    """Return the space of the strips: one row a stem, its guardrails as bounds.

    Parameters
    ----------
    typical
        Settings of each strip where nothing is known of the session: the search begins there.
    """
    space = Space(STRIP, len(stems))
    fader, pan, spread, width, high_pass = (
        space.column(name) for name in ("gain_db", "pan", "spread", "width", "high_pass_hz")
    )
    for row, (stem, settings) in enumerate(zip(stems, typical, strict=True)):
        space.start[row] = [settings[name] for name in space.names]
        space.start[row, fader] = stem.gain_db
        space.low[row, fader] = max(stem.gain_db - _MOST_LEVEL_DB, STRIP[fader].low)
        space.high[row, fader] = min(stem.gain_db + _MOST_LEVEL_DB, STRIP[fader].high)
        space.high[row, spread] = min(stem.guard.max_spread, space.high[row, spread])
        space.high[row, high_pass] = min(
            stem.guard.highest_high_pass_hz, space.high[row, high_pass]
        )
        space.low[row, pan], space.high[row, pan] = -0.5, 0.5
        if stem.guard.centred:
            space.hold("pan", row, 0.0)
        if stem.guard.max_spread == 0.0:
            space.high[row, width] = 1.0
    space.start = np.clip(space.start, space.low, space.high)
    for name in HELD:
        space.hold(name)
    _hold_aspects(space, STRIP, match)
    return space


def bus_space(match: frozenset[Aspect], typical: Mapping[str, float]) -> Space:
    """Return the space of the bus, which begins at typical settings."""
    space = Space(BUS, 1)
    space.start[0] = np.clip([typical[name] for name in space.names], space.low[0], space.high[0])
    space.hold("gain_db", value=0.0)
    for name in HELD:
        if name in BUS.columns:
            space.hold(name)
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
    if reduction_db < _LEAST_REDUCTION_DB or tidy["ratio"] < _LEAST_RATIO:
        for name in ("threshold_lu", "ratio", "attack_ms", "release_ms", "knee_db"):
            tidy[name] = neutral[name]
    if tidy.get("high_pass_hz", HIGH_PASS_OFF_HZ) < _LEAST_HIGH_PASS_HZ:
        tidy |= {"high_pass_hz": HIGH_PASS_OFF_HZ} if "high_pass_hz" in tidy else {}
    if tidy.get("spread", 1.0) < _LEAST_SPREAD:
        tidy["spread"] = 0.0
    for band in table.eq_bands:
        if abs(tidy[band.gain_name]) < _LEAST_EQ_DB:
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
        0 to 1. Gains, pan and widths move in their own unit, ratios and high-passes geometrically;
        other frequencies, qualities and times stay, since they do nothing where the gain or ratio
        is neutral.
    start
        Where strength 0 lies, for parameters that do not start at the table's default.
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength is {strength:g}: use a value from 0 to 1")
    neutral = default_settings(table) | dict(start or {})
    out = dict(settings)
    gains = {band.gain_name for band in table.eq_bands}
    linear = gains | {"gain_db", "makeup_db", "deess_db", "width", "spread", "pan"}
    for name in settings:
        if name in linear:
            out[name] = neutral[name] + strength * (settings[name] - neutral[name])
        elif name in ("ratio", "high_pass_hz"):
            out[name] = neutral[name] * (settings[name] / neutral[name]) ** strength
    return out
