"""The table of what engineers do, as distributions over the console's settings."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.console.parameters import BUS, STRIP, ParameterTable
from pipeline.roles import Subgroup
from pipeline.units import Float64Array

__all__ = [
    "FINISHED_BANDS_HZ",
    "FinishedStem",
    "ReductionLimits",
    "SettingsPrior",
    "bus_prior",
    "finished_stem",
    "reduction_limits",
    "strip_prior",
]

#: Edges of the bands in which finished stems are known.
FINISHED_BANDS_HZ = (22.4, 112.0, 224.0, 447.0, 891.0, 1778.0, 3548.0, 7079.0, 17783.0)

_FINISHED_AS: dict[str, str] = {
    Subgroup.DRUMS: "drums",
    Subgroup.BASS: "bass",
    Subgroup.LEAD_VOCALS: "vocals",
    Subgroup.BACKING_VOCALS: "vocals",
    Subgroup.DIALOGUE: "vocals",
    Subgroup.GUITARS: "other",
    Subgroup.KEYS: "other",
    Subgroup.SYNTHS: "other",
    Subgroup.STRINGS: "other",
    Subgroup.WINDS: "other",
}


@dataclass(frozen=True)
class SettingsPrior:
    """Independent normal distributions over the settings of a strip or of the bus.

    Parameters
    ----------
    table
        ``STRIP`` or ``BUS``.
    mean, spread
        By parameter, ``(parameters,)``: in its unit, or of its natural logarithm on a log scale.
        The spread of what the table does not name is infinite.
    sources
        Where each setting's distribution is from, by its name.
    """

    table: ParameterTable
    mean: Float64Array
    spread: Float64Array
    sources: Mapping[str, str]

    @property
    def is_log(self) -> npt.NDArray[np.bool_]:
        """Which parameters are on a log scale, ``(parameters,)``."""
        return np.asarray([p.scale == "log" for p in self.table])

    def typical(self) -> dict[str, float]:
        """Return the mean settings, complete, in their units."""
        values = np.where(self.is_log, np.exp(np.where(self.is_log, self.mean, 0.0)), self.mean)
        return {
            p.name: float(np.clip(v, p.low, p.high))
            for p, v in zip(self.table, values, strict=True)
        }

    def usual_range(self, name: str) -> tuple[float, float] | None:
        """Return one standard deviation to either side of the mean; None where none is known."""
        column = self.table.columns[name]
        middle, spread = float(self.mean[column]), float(self.spread[column])
        if not math.isfinite(spread):
            return None
        if self.table[column].scale == "log":
            return math.exp(middle - spread), math.exp(middle + spread)
        return middle - spread, middle + spread

    def draw(self, rng: np.random.Generator, *, scale: float = 1.0) -> dict[str, float]:
        """Draw settings within the safe ranges; ``scale`` multiplies the spreads."""
        spread = np.where(np.isfinite(self.spread), self.spread, 0.0)
        values = self.mean + scale * spread * rng.normal(size=self.mean.size)
        values = np.where(self.is_log, np.exp(np.where(self.is_log, values, 0.0)), values)
        return {
            p.name: float(np.clip(v, p.safe_low, p.safe_high))
            for p, v in zip(self.table, values, strict=True)
        }


@dataclass(frozen=True)
class FinishedStem:
    """The spectrum of finished stems of a kind.

    Parameters
    ----------
    level_db
        In each of :data:`FINISHED_BANDS_HZ`, against the stem's own power.
    corridor_db
        How far a stem may be off without being touched.
    """

    level_db: tuple[float, ...]
    corridor_db: float


@dataclass(frozen=True)
class ReductionLimits:
    """How much gain reduction automatic decisions use, in dB."""

    strip_mean_db: float
    strip_p95_db: float
    bus_mean_db: float
    deesser_db: float


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    text = files(__package__).joinpath("engineers.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _prior(table: ParameterTable, rows: Mapping[str, Any]) -> SettingsPrior:
    sources = _table()["sources"]
    mean = np.asarray([math.log(p.default) if p.scale == "log" else p.default for p in table])
    spread = np.full(len(table), math.inf)
    cited = {}
    for name, (middle, width, source) in rows.items():
        column = table.columns[name]
        log = table[column].scale == "log"
        mean[column] = math.log(middle) if log else middle
        spread[column] = math.log(width) if log else width
        cited[name] = sources[source]
    return SettingsPrior(table, mean, spread, cited)


@lru_cache(maxsize=64)
def strip_prior(subgroup: str) -> SettingsPrior:
    """Return what engineers do to a stem; one of the user's own is taken as any other."""
    table = _table()
    rows = table["roles"].get(subgroup, table["roles"][Subgroup.OTHER])
    return _prior(STRIP, {**table["strip"], **rows})


@lru_cache(maxsize=1)
def bus_prior() -> SettingsPrior:
    """Return what engineers do on the mix bus."""
    return _prior(BUS, _table()["bus"])


@lru_cache(maxsize=1)
def reduction_limits() -> ReductionLimits:
    """Return how far compressors, de-esser and limiter go."""
    return ReductionLimits(**_table()["reduction"])


def finished_stem(subgroup: str) -> FinishedStem | None:
    """Return what finished stems of a subgroup sound like; None where it is not known."""
    kind = _FINISHED_AS.get(subgroup)
    if kind is None:
        return None
    finished = _table()["finished"]
    return FinishedStem(tuple(finished[kind]), float(finished["corridor_db"]))
