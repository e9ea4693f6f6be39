"""How far a run is as a whole: its phases, each weighed by what it is expected to cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Overall", "Phase", "PhaseBook"]

# What lasts less than this part of what was expected was found in the store: it tells nothing
# about the speed of the machine.
_FOUND = 0.2
# A running item counts as so much done at most, however long it lasts.
_MOST_OF_AN_ITEM = 0.9


@dataclass
class Phase:
    """A phase that was begun.

    Parameters
    ----------
    name, total
        As it was begun.
    began_s
        By the monotonic clock.
    done
        Items that are done.
    """

    name: str
    total: int
    began_s: float
    done: int = 0

    @property
    def shown_total(self) -> int:
        """The items in all: never fewer than are done."""
        return max(self.total, self.done)


class Overall:
    """The share of a run that is done, and the seconds that are left.

    Expected costs are seconds of a usual machine. Phases that lasted as long as that says how this
    one compares; those that were over at once, their results being in the store, do not.

    Parameters
    ----------
    clock
        Seconds from anywhere.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._costs: dict[str, float] = {}
        self._over: set[str] = set()
        self._highest = 0.0
        self._measured_s = self._expected_s = 0.0

    def expect(self, costs: Mapping[str, float]) -> None:
        """Tell the phases of the run, over ones too, with the seconds that each may last."""
        self._costs = {name: max(float(cost), 0.0) for name, cost in costs.items()}

    @property
    def is_over(self) -> bool:
        """Whether every phase that was expected is over, or none was."""
        return self._over.issuperset(self._costs)

    def end(self, phase: Phase) -> None:
        """Note that a phase is over."""
        cost = self._costs.get(phase.name, 0.0)
        took_s = self._clock() - phase.began_s
        if phase.name not in self._over and took_s > _FOUND * cost > 0.0:
            self._measured_s += took_s
            self._expected_s += cost
        self._over.add(phase.name)

    def read(self, phases: Mapping[str, Phase]) -> tuple[float, float] | None:
        """Return the share of the run that is done, 0 to 1, and the seconds left; None unknown.

        Parameters
        ----------
        phases
            Those that are open.
        """
        total = sum(self._costs.values())
        if total <= 0.0:
            return None
        # A little of what was expected keeps the first short phases from saying too much.
        prior = 0.1 * total
        pace = (self._measured_s + prior) / (self._expected_s + prior)
        done = left_s = 0.0
        for name, cost in self._costs.items():
            share = 1.0 if name in self._over and name not in phases else 0.0
            expected_s = pace * cost
            if name in phases:
                share = self._share(phases[name], expected_s)
                took_s = self._clock() - phases[name].began_s
                if phases[name].done:
                    expected_s = took_s / max(share, 1e-3)
            done += share * cost
            left_s += (1.0 - share) * expected_s
        self._highest = max(self._highest, min(done / total, 1.0))
        return self._highest, left_s

    def _share(self, phase: Phase, expected_s: float) -> float:
        total = max(phase.shown_total, 1)
        by_count = phase.done / total
        by_time = (self._clock() - phase.began_s) / expected_s if expected_s > 0.0 else 0.0
        return min(max(by_count, min(by_time, (phase.done + _MOST_OF_AN_ITEM) / total)), 1.0)


class PhaseBook:
    """The open phases of a run, whatever is told of them and in whatever order.

    A phase that is begun while it is open has another total from then on. What is told of one
    that is not open is late, and counts for nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.open: dict[str, Phase] = {}
        self.overall = Overall(clock)

    def start(self, name: str, total: int) -> tuple[Phase, bool]:
        """Return the phase, and whether it is a new one."""
        if name in self.open:
            self.open[name].total = max(total, 0)
            return self.open[name], False
        self.open[name] = Phase(name, max(total, 0), self._clock())
        return self.open[name], True

    def advance(self, name: str) -> Phase | None:
        """Count an item; return its phase, None where it is not open."""
        phase = self.open.get(name)
        if phase is not None:
            phase.done += 1
        return phase

    def finish(self, name: str) -> Phase | None:
        """Close a phase and return it, None where it was not open."""
        phase = self.open.pop(name, None)
        if phase is not None:
            self.overall.end(phase)
        return phase

    def took_s(self, phase: Phase) -> float:
        """Return the seconds since a phase was begun."""
        return self._clock() - phase.began_s
