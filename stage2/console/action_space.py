"""How far the controller may move each setting, and from where.

Its units are unbounded: 0 is what engineers usually do, and any number maps into the safe range by
a logistic curve, so that a prediction is always a setting that makes sense.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.console.parameters import BUS, STRIP, Aspect, Parameter
from stage2.console.search_space import HELD, StemGuard

__all__ = ["MOST_LEVEL_DB", "Reach"]

MOST_LEVEL_DB = 6.0
"""How far a fader may move from the balance, up or down."""
_MOST_PAN = 0.5
_INSIDE = 0.04


class Reach:
    """Maps the controller's moves to settings, for the stems of one session.

    Parameters
    ----------
    gains_db
        Fader of each stem in the intended balance.
    guards
        The guardrails of each stem.
    typical
        Complete settings of each strip, and last of the bus, where no move is made.
    match
        Aspects to follow; the settings of others stay neutral.
    """

    def __init__(
        self,
        *,
        gains_db: Sequence[float],
        guards: Sequence[StemGuard],
        typical: Sequence[Mapping[str, float]],
        match: frozenset[Aspect] = frozenset(Aspect),
    ) -> None:
        self.stems = len(gains_db)
        rows = []
        fader, high_pass = STRIP.parameter("gain_db"), STRIP.parameter("high_pass_hz")
        for gain, guard, settings in zip(gains_db, guards, typical[:-1], strict=True):
            limits = {
                "gain_db": (
                    max(gain - MOST_LEVEL_DB, fader.low), min(gain + MOST_LEVEL_DB, fader.high)
                ),
                "pan": (0.0, 0.0) if guard.centred else (-_MOST_PAN, _MOST_PAN),
                "spread": (0.0, guard.max_spread),
                "high_pass_hz": (
                    high_pass.low, min(guard.highest_high_pass_hz, high_pass.safe_high)
                ),
            }  # fmt: skip
            if guard.max_spread == 0.0:
                limits["width"] = (0.0, 1.0)
            rows.append(_bounds(STRIP, {**settings, "gain_db": gain}, limits, match))
        bus = _bounds(BUS, typical[-1], {"gain_db": (0.0, 0.0)}, match)
        self._strips = torch.tensor(rows, dtype=torch.float64).permute(2, 0, 1)
        self._bus = torch.tensor(bus, dtype=torch.float64).T
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


def _bounds(
    table: Sequence[Parameter],
    start: Mapping[str, float],
    limits: Mapping[str, tuple[float, float]],
    match: frozenset[Aspect],
) -> list[tuple[float, float, float]]:
    """Return low, start and high of each parameter, logarithms where the scale is one."""
    out = []
    for parameter in table:
        low, high = limits.get(parameter.name, (parameter.safe_low, parameter.safe_high))
        middle = min(max(start[parameter.name], low), high)
        if parameter.aspect not in match and parameter.aspect is not Aspect.LEVEL:
            middle = parameter.default
        if parameter.name in HELD or parameter.aspect not in match:
            low = high = middle
        values = (low, middle, high)
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
