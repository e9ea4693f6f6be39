"""The curves of a training run as one page that asks the network for nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.training.model_card import METRICS
from pipeline.report.html import page_environment, write_whole
from pipeline.units import Float64Array
from stage2.training.checkpoint import HELD_OUT

__all__ = ["write_training_page"]

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 420, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 408, 10, 184
_MOST_POINTS = 600
_MOST_DOTS = 40
_CLOSED = " closed"


@dataclass(frozen=True)
class _Tick:
    at: float
    text: str


@dataclass(frozen=True)
class _Panel:
    """One picture: a line over steps, and behind it, where it is an average, what it averages."""

    title: str
    last: str
    line: str
    all: str
    dots: Points
    x_ticks: Sequence[_Tick]
    y_ticks: Sequence[_Tick]


def write_training_page(
    path: Path, curves: Sequence[Mapping[str, float]], *, steps: int, title: str
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    curves
        One row a step: ``step``, ``loss``, ``seconds`` since the run began, and, where songs
        held out were listened to, figures of theirs.
    steps
        Of the whole run.
    title
        Of the run.
    """
    panels = [_loss(curves, steps), *_held_out(curves, steps)]
    speed = _speed(curves)
    if speed:
        panels.append(_panel("steps a second", speed, steps, smooth=True))
    template = (Path(__file__).parent / "training_page.html").read_text(encoding="utf-8")
    text = (
        page_environment()
        .from_string(template)
        .render(
            title=title,
            summary=_summary(curves, steps),
            panels=panels,
            width=_WIDTH,
            height=_HEIGHT,
            left=_LEFT,
            right=_RIGHT,
        )
    )
    write_whole(path, text)


def _summary(curves: Sequence[Mapping[str, float]], steps: int) -> str:
    done = int(curves[-1]["step"]) if curves else 0
    told = f"{done} of {steps} steps"
    seconds = curves[-1].get("seconds") if curves else None
    if seconds:
        told += f" in {seconds / 60.0:.1f} min"
    return (
        f"{told}. Held out: mean errors on songs that are not learned from, "
        "and the share of the distance from the balanced mix that is closed."
    )


def _loss(curves: Sequence[Mapping[str, float]], steps: int) -> _Panel:
    return _panel("loss", [(row["step"], row["loss"]) for row in curves], steps, smooth=True)


def _held_out(curves: Sequence[Mapping[str, float]], steps: int) -> list[_Panel]:
    names = dict.fromkeys(n for row in curves for n in row if n.startswith(HELD_OUT))
    panels = []
    for name in names:
        if name.endswith(_CLOSED):
            continue
        plain = name.removeprefix(HELD_OUT)
        words, unit = METRICS.get(plain, (plain, ""))
        closed = [row[name + _CLOSED] for row in curves if name + _CLOSED in row]
        if closed and math.isfinite(closed[-1]):
            unit += f", {closed[-1]:.0%} closed"
        points = [(row["step"], row[name]) for row in curves if name in row]
        panels.append(_panel(f"held out: {words}", points, steps, unit=unit))
    return panels


def _speed(curves: Sequence[Mapping[str, float]]) -> list[tuple[float, float]]:
    """Return steps a second at each step but the first that tells its time."""
    timed = [row for row in curves if "seconds" in row]
    return [
        (b["step"], (b["step"] - a["step"]) / (b["seconds"] - a["seconds"]))
        for a, b in itertools.pairwise(timed)
        if b["seconds"] > a["seconds"]
    ]


def _panel(
    title: str, points: Points, steps: int, *, unit: str = "", smooth: bool = False
) -> _Panel:
    x, y = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
    known = np.isfinite(y)
    x, y = x[known], y[known]
    shown = _averaged(y) if smooth else y
    low, high = _span(y if not smooth else np.concatenate((shown, _inner(y))))
    y_ticks = _ticks(low, high)
    right = np.clip((x - 0.0) / max(steps, 1), 0.0, 1.0) * (_RIGHT - _LEFT) + _LEFT

    def down(values: Float64Array) -> Float64Array:
        return _BOTTOM - np.clip((values - low) / (high - low), 0.0, 1.0) * (_BOTTOM - _TOP)

    line = list(zip(right.tolist(), down(shown).tolist(), strict=True))
    last = f"{shown[-1]:.4g} {unit}".strip() if shown.size else "not yet known"
    return _Panel(
        title=title,
        last=last,
        line=_path(_thinned(line)),
        all=_path(_thinned(list(zip(right.tolist(), down(y).tolist(), strict=True))))
        if smooth
        else "",
        dots=[(round(a, 1), round(b, 1)) for a, b in line] if len(line) <= _MOST_DOTS else [],
        x_ticks=[
            _Tick(round(_LEFT + t / max(steps, 1) * (_RIGHT - _LEFT), 1), f"{t:g}")
            for t in _ticks(0.0, steps)
        ],
        y_ticks=[_Tick(round(float(down(np.asarray(t))), 1), f"{t:g}") for t in y_ticks],
    )


def _averaged(values: Float64Array) -> Float64Array:
    """Return a running mean over the last twentieth of what there is."""
    length = max(values.size // 20, 1)
    total = np.concatenate(([0.0], np.cumsum(values)))
    first = np.maximum(np.arange(values.size) + 1 - length, 0)
    last = np.arange(values.size) + 1
    return np.asarray((total[last] - total[first]) / (last - first))


def _inner(values: Float64Array) -> Float64Array:
    """Return values without the hundredth at either end: one outlier must not flatten a curve."""
    return np.quantile(values, [0.01, 0.99]) if values.size else values


def _span(values: Float64Array) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers within a span."""
    power = 10.0 ** math.floor(math.log10(max(high - low, 1e-12) / 3.0))
    step = next((m * power for m in (5.0, 2.0) if (high - low) / (m * power) >= 3.0), power)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(n * step, 10) for n in range(first, last + 1)]


def _thinned(points: Points) -> Points:
    stride = max(math.ceil(len(points) / _MOST_POINTS), 1)
    kept = list(points[::stride])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def _path(points: Points) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""
