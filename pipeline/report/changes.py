"""What became of a prediction: which settings moved, how far, and how sure the prediction was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.console.parameters import BUS, BUS_EQ_BANDS, STRIP, STRIP_EQ_BANDS, EqBand, Parameter
from pipeline.console.parameters import default_settings as neutral
from pipeline.plan import Plan
from pipeline.prose import spoken

__all__ = ["Move", "moves_of", "plan_moves"]

_COMPRESSOR = ("threshold_lu", "attack_ms", "release_ms", "knee_db")
_LEAST_SHARE = 0.005  # of the safe range: less is rounding


@dataclass(frozen=True)
class Move:
    """One setting on its way from the balanced mix by the prediction into the plan.

    Parameters
    ----------
    where
        The stem in words, or the whole mix.
    balanced
        NaN for what does nothing there, such as the frequency of a flat band.
    predicted, settled
        What the prediction alone would have given, and what the plan has.
    spread
        Standard deviation expected of the prediction; None where none is known.
    share
        How far it moved: the larger of the moves to and from the prediction, in parts of the safe
        range.
    """

    where: str
    parameter: Parameter
    balanced: float
    predicted: float
    settled: float
    spread: float | None
    share: float


def plan_moves(plan: Plan) -> list[Move]:
    """Return what moved in a plan whose settings were predicted, the largest moves first."""
    moves: list[Move] = []
    for stem in plan.stems:
        start = neutral(STRIP) | {"gain_db": stem.balance_gain_db}
        moves += moves_of(
            stem.settings, stem.predicted, stem.predicted_spread, table=STRIP, balanced=start,
            where=spoken(stem.name),
        )  # fmt: skip
    moves += moves_of(
        plan.bus, plan.bus_predicted, plan.bus_predicted_spread, table=BUS, balanced=neutral(BUS),
        where="Whole mix",
    )  # fmt: skip
    return sorted(moves, key=lambda move: -move.share)


def moves_of(
    settings: Mapping[str, float],
    predicted: Mapping[str, float],
    spread: Mapping[str, float],
    *,
    table: tuple[Parameter, ...],
    balanced: Mapping[str, float],
    where: str,
) -> list[Move]:
    """Return what moved in one strip or on the bus, in the order of the table.

    A frequency, a quality factor or a time counts only where its band or its compressor works
    before and after, half as much, and only for what refinement changed of it.
    """
    moves = []
    for parameter in table:
        name = parameter.name
        if name not in predicted:
            continue
        start = balanced[name]
        masters = _masters(name, table)
        if masters:
            if not all(_works(m, values) for m in masters for values in (predicted, settings)):
                continue
            start = math.nan
        share = _share(predicted[name], settings[name], parameter)
        share = 0.5 * share if masters else max(share, _share(start, predicted[name], parameter))
        if share >= _LEAST_SHARE:
            moves.append(
                Move(
                    where, parameter, start, predicted[name], settings[name], spread.get(name),
                    share,
                )
            )  # fmt: skip
    return moves


def _masters(name: str, table: Iterable[Parameter]) -> tuple[str, ...]:
    """Return the setting without which ``name`` does nothing; none where it stands for itself."""
    if name in _COMPRESSOR:
        return ("ratio",)
    if name in ("deess_hz", "deess_threshold_lu"):
        return ("deess_db",)
    bands: tuple[EqBand, ...] = STRIP_EQ_BANDS if table is STRIP else BUS_EQ_BANDS
    return tuple(b.gain_name for b in bands if name in (b.frequency_hz, b.q))


def _works(master: str, values: Mapping[str, float]) -> bool:
    return values[master] > 1.01 if master == "ratio" else abs(values[master]) >= 0.05


def _share(one: float, other: float, parameter: Parameter) -> float:
    low, high = parameter.safe_low, parameter.safe_high
    if parameter.scale == "log":
        return abs(math.log(other / one)) / math.log(high / low)
    return abs(other - one) / (high - low)
