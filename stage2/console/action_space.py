"""How far the controller may move each setting, and from where.

Its units are unbounded: 0 is where a mix starts, and any number maps into the reach by a logistic
curve, so that a prediction is always a setting that makes sense. Thresholds start at the level of
what they see, so they follow a stem that is turned up, down or split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.console.parameters import BUS, BUS_EQ_HZ, STRIP, Aspect, Parameter

__all__ = ["MOST_LEVEL_DB", "Reach"]

MOST_LEVEL_DB = 8.0
"""How far a fader may move from the balance, up or down."""
_STRIP_THRESHOLD_DB, _BUS_THRESHOLD_DB = 14.0, 12.0
_BUS_LEVEL_DB = -20.0
_INSIDE = 0.04
# low, start, high where they are not the table's own safe range and default
_STRIP_REACH = {
    "ratio": (1.0, 1.3, 4.0),
    "attack_ms": (2.0, 10.0, 80.0),
    "release_ms": (40.0, 150.0, 800.0),
    "width": (0.0, 1.0, 2.0),
    "pan": (-0.5, 0.0, 0.5),
}
_BUS_REACH = {
    "ratio": (1.0, 1.2, 3.0),
    "attack_ms": (10.0, 30.0, 80.0),
    "release_ms": (40.0, 150.0, 800.0),
    "width": (0.5, 1.0, 1.6),
}
_HELD = ("knee_db", "makeup_db")
_LEAST_SPREAD = 0.05


class Reach:
    """Maps the controller's moves to settings, for the stems of one session.

    Parameters
    ----------
    gains_db
        Fader of each stem in the intended balance.
    loud_db
        Power of each balanced stem in its loud moments, in dB, before the fader.
    centred, max_spread
        The guardrails of each stem.
    match
        Aspects to follow; the settings of others stay where they start.
    highest_hz
        Bus bands above it stay flat: out of the sample rate's reach.
    """

    def __init__(
        self,
        *,
        gains_db: Sequence[float],
        loud_db: Sequence[float],
        centred: Sequence[bool],
        max_spread: Sequence[float],
        match: frozenset[Aspect] = frozenset(Aspect),
        highest_hz: float = math.inf,
    ) -> None:
        self.stems = len(gains_db)
        rows = []
        for gain, loud, middle, spread in zip(gains_db, loud_db, centred, max_spread, strict=True):
            level = min(max(loud + gain - 3.0, -58.0), -2.0)
            own = {
                **_STRIP_REACH,
                "gain_db": _within(gain, MOST_LEVEL_DB),
                "threshold_db": _around(level, _STRIP_THRESHOLD_DB),
                "spread": (0.0, min(_LEAST_SPREAD, spread), spread),
            }
            if middle:
                own["pan"] = (0.0, 0.0, 0.0)
            if spread == 0.0:
                own["width"] = (0.0, 1.0, 1.0)
            rows.append(_bounds(STRIP, own, match))
        own = {**_BUS_REACH, "threshold_db": _around(_BUS_LEVEL_DB, _BUS_THRESHOLD_DB)}
        own |= {
            BUS[column].name: (0.0, 0.0, 0.0)
            for frequency_hz, column in zip(BUS_EQ_HZ, BUS.eq_gains, strict=True)
            if frequency_hz > highest_hz
        }
        own["gain_db"] = (0.0, 0.0, 0.0)
        self._strips = torch.tensor(rows, dtype=torch.float64).permute(2, 0, 1)
        self._bus = torch.tensor(_bounds(BUS, own, match), dtype=torch.float64).T
        self._strip_log = torch.tensor([p.scale == "log" for p in STRIP])
        self._bus_log = torch.tensor([p.scale == "log" for p in BUS])

    def settings(self, strips: Tensor, bus: Tensor) -> tuple[Tensor, Tensor]:
        """Return settings in the tables' units, float64, differentiable.

        Parameters
        ----------
        strips, bus
            ``(stems, len(STRIP))`` and ``(len(BUS),)``, unbounded.
        """
        return (
            _place(strips, self._strips, self._strip_log),
            _place(bus, self._bus, self._bus_log),
        )

    def parts(self, strips: Tensor, bus: Tensor) -> tuple[Tensor, Tensor]:
        """Return settings in parts of the reach, 0 to 1; 0.5 where there is none."""
        return _part(strips, self._strips, self._strip_log), _part(bus, self._bus, self._bus_log)

    def spans(self) -> tuple[Tensor, Tensor]:
        """Return the length of each setting's reach, in its unit or as a logarithm."""
        return self._strips[2] - self._strips[0], self._bus[2] - self._bus[0]

    def free(self) -> tuple[Tensor, Tensor]:
        """Return which settings can move at all."""
        return self._strips[2] > self._strips[0], self._bus[2] > self._bus[0]


def _within(gain_db: float, reach_db: float) -> tuple[float, float, float]:
    fader = STRIP.parameter("gain_db")
    low, high = fader.low, fader.high
    return max(gain_db - reach_db, low), gain_db, min(gain_db + reach_db, high)


def _around(level_db: float, reach_db: float) -> tuple[float, float, float]:
    return max(level_db - reach_db, -60.0), level_db, min(level_db + 0.7 * reach_db, 0.0)


def _bounds(
    table: Sequence[Parameter],
    own: dict[str, tuple[float, float, float]],
    match: frozenset[Aspect],
) -> list[tuple[float, float, float]]:
    """Return low, start and high of each parameter, logarithms where the scale is one."""
    out = []
    for parameter in table:
        low, start, high = own.get(
            parameter.name, (parameter.safe_low, parameter.default, parameter.safe_high)
        )
        if parameter.name in _HELD:
            low = start = high = parameter.default
        if parameter.aspect not in match:
            start = start if parameter.aspect is Aspect.LEVEL else parameter.default
            low = high = start
        values = (low, start, high)
        out.append(tuple(math.log(v) for v in values) if parameter.scale == "log" else values)
    return out  # type: ignore[return-value]


def _start(bounds: Tensor) -> Tensor:
    low, start, high = bounds
    span = torch.where(high > low, high - low, 1.0)
    part = torch.clamp((start - low) / span, _INSIDE, 1.0 - _INSIDE)
    return torch.log(part) - torch.log1p(-part)


def _place(moves: Tensor, bounds: Tensor, log: Tensor) -> Tensor:
    low, _, high = bounds
    value = low + (high - low) * torch.sigmoid(_start(bounds) + moves.double())
    return torch.where(log, torch.exp(torch.where(log, value, 0.0)), value)


def _part(settings: Tensor, bounds: Tensor, log: Tensor) -> Tensor:
    low, _, high = bounds
    value = torch.where(log, torch.log(torch.where(log, settings, 1.0)), settings)
    span = torch.where(high > low, high - low, 1.0)
    return torch.where(high > low, (value - low) / span, 0.5)
