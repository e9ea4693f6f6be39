"""The console's parameters: each one's name, unit, range, default and order, in one table.

:data:`STRIP` and :data:`BUS` are derived from nowhere else: vector sizes, JSON keys,
documentation, the torch console and the time-domain processors follow them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self

from pipeline.errors import suggest

__all__ = [
    "BUS",
    "BUS_EQ_BANDS",
    "BUS_EQ_HZ",
    "BUS_EQ_Q",
    "STRIP",
    "STRIP_EQ_BANDS",
    "Aspect",
    "EqBand",
    "Parameter",
    "ParameterTable",
    "complete_settings",
    "default_settings",
    "known_settings",
]


class Aspect(StrEnum):
    """What a parameter changes: the aspects of style that a user can switch on and off."""

    LEVEL = "level"
    EQ = "eq"
    DYNAMICS = "dynamics"
    PAN = "pan"
    WIDTH = "width"


@dataclass(frozen=True)
class Parameter:
    """One console parameter.

    Parameters
    ----------
    name
        Key in the plan's JSON; ends in the unit where there is one.
    low, high
        What the console accepts, inclusive.
    default
        The neutral value: a strip or bus at its defaults passes audio unchanged.
    safe_low, safe_high
        What automatic decisions stay within; a user's edit may go on to ``low`` and ``high``.
    scale
        ``"linear"`` or ``"log"``: how a normalised 0..1 value maps to the range.
    aspect
        The aspect of style that it belongs to.
    doc
        What it does, in a few words.
    """

    name: str
    low: float
    high: float
    default: float
    safe_low: float
    safe_high: float
    scale: Literal["linear", "log"]
    aspect: Aspect
    doc: str


@dataclass(frozen=True)
class EqBand:
    """One biquad of an equaliser: its shape and the parameters that drive it.

    ``frequency_hz`` and ``q`` are either fixed numbers or the names of parameters.
    """

    shape: Literal["low_shelf", "peak", "high_shelf"]
    gain_name: str
    frequency_hz: float | str
    q: float | str


class ParameterTable(tuple[Parameter, ...]):
    """Parameters in the order of their columns, with the equaliser that some of them drive.

    Parameters
    ----------
    parameters
        Each name stands once.
    eq_bands
        The bands of the equaliser.

    Attributes
    ----------
    columns
        Column of each name.
    eq_gains
        Columns of the bands' gains, in the order of the bands.

    Examples
    --------
    >>> STRIP.parameter("ratio").high, STRIP.columns["gain_db"], len(BUS.eq_gains)
    (20.0, 0, 29)
    """

    eq_bands: tuple[EqBand, ...]
    columns: dict[str, int]
    eq_gains: list[int]

    def __new__(cls, parameters: Iterable[Parameter], eq_bands: Iterable[EqBand]) -> Self:
        """Make a table, and look up its columns."""
        table = super().__new__(cls, parameters)
        table.eq_bands = tuple(eq_bands)
        table.columns = {parameter.name: column for column, parameter in enumerate(table)}
        table.eq_gains = [table.columns[band.gain_name] for band in table.eq_bands]
        return table

    def parameter(self, name: str) -> Parameter:
        """Return a parameter by its name; ``KeyError`` if there is none."""
        return self[self.columns[name]]


def _eq_parameters(
    prefix: str, label: str, low_hz: float, default_hz: float, high_hz: float, *, shelf: bool
) -> tuple[Parameter, ...]:
    q_high = 1.0 if shelf else 6.0
    q_default = math.sqrt(0.5) if shelf else 1.0
    return (
        Parameter(
            f"{prefix}_gain_db", -15.0, 15.0, 0.0, -9.0, 9.0, "linear", Aspect.EQ, f"{label} gain"
        ),
        Parameter(
            f"{prefix}_frequency_hz",
            low_hz,
            high_hz,
            default_hz,
            low_hz,
            high_hz,
            "log",
            Aspect.EQ,
            f"{label} frequency",
        ),
        Parameter(
            f"{prefix}_q",
            0.3,
            q_high,
            q_default,
            0.4,
            min(q_high, 3.0),
            "log",
            Aspect.EQ,
            f"{label} quality factor",
        ),
    )


def _compressor_parameters(*, safe_ratio: float, safe_attack_ms: float) -> tuple[Parameter, ...]:
    D = Aspect.DYNAMICS
    return (
        Parameter(
            "threshold_db",
            -60.0,
            0.0,
            0.0,
            -60.0,
            0.0,
            "linear",
            D,
            "mean-square level in dBFS above which the compressor works",
        ),
        Parameter("ratio", 1.0, 20.0, 1.0, 1.0, safe_ratio, "log", D, "compression ratio"),
        Parameter(
            "attack_ms", 0.1, 200.0, 20.0, safe_attack_ms, 80.0, "log", D, "time to reduce gain"
        ),
        Parameter("release_ms", 10.0, 2000.0, 200.0, 40.0, 800.0, "log", D, "time to recover"),
        Parameter("knee_db", 0.0, 24.0, 6.0, 0.0, 12.0, "linear", D, "width of the soft knee"),
        Parameter("makeup_db", -12.0, 24.0, 0.0, 0.0, 12.0, "linear", D, "gain after it"),
    )


_STRIP_EQ: tuple[tuple[str, Literal["low_shelf", "peak", "high_shelf"], float, float, float], ...]
_STRIP_EQ = (
    ("low_shelf", "low_shelf", 30.0, 100.0, 250.0),
    ("low_peak", "peak", 60.0, 180.0, 450.0),
    ("low_mid_peak", "peak", 250.0, 500.0, 1200.0),
    ("high_mid_peak", "peak", 800.0, 1800.0, 4000.0),
    ("high_peak", "peak", 2500.0, 5000.0, 10000.0),
    ("high_shelf", "high_shelf", 4000.0, 9000.0, 16000.0),
)

STRIP_EQ_BANDS: tuple[EqBand, ...] = tuple(
    EqBand(shape, f"{name}_gain_db", f"{name}_frequency_hz", f"{name}_q")
    for name, shape, *_ in _STRIP_EQ
)

_STRIP: tuple[Parameter, ...] = (
    Parameter(
        "gain_db", -48.0, 24.0, 0.0, -36.0, 24.0, "linear", Aspect.LEVEL, "fader, before the EQ"
    ),
    *(
        parameter
        for name, shape, low, default, high in _STRIP_EQ
        for parameter in _eq_parameters(
            name, name.replace("_", " "), low, default, high, shelf=shape != "peak"
        )
    ),
    *_compressor_parameters(safe_ratio=4.0, safe_attack_ms=2.0),
    Parameter("width", 0.0, 2.0, 1.0, 0.0, 2.0, "linear", Aspect.WIDTH, "gain of the side signal"),
    Parameter(
        "spread",
        0.0,
        1.0,
        0.0,
        0.0,
        1.0,
        "linear",
        Aspect.WIDTH,
        "decorrelated side made from the mid above 200 Hz; vanishes in mono",
    ),
    Parameter(
        "pan", -1.0, 1.0, 0.0, -1.0, 1.0, "linear", Aspect.PAN, "constant-power, -1 left, 1 right"
    ),
)

STRIP = ParameterTable(_STRIP, STRIP_EQ_BANDS)

# Third-octave centres (IEC 61260 nominal): as fine as the ear's critical bands, so a bus can follow
# a reference's tilt where six bands a strip leave about 2 dB.
BUS_EQ_HZ: tuple[float, ...] = (
    25.0, 31.5, 40.0, 50.0, 63.0, 80.0, 100.0, 125.0, 160.0, 200.0, 250.0, 315.0, 400.0, 500.0,
    630.0, 800.0, 1000.0, 1250.0, 1600.0, 2000.0, 2500.0, 3150.0, 4000.0, 5000.0, 6300.0, 8000.0,
    10000.0, 12500.0, 16000.0,
)  # fmt: skip

BUS_EQ_Q = 3.0


def _bus_eq_name(frequency_hz: float) -> str:
    return f"eq_{frequency_hz:g}hz_gain_db".replace(".", "_")


BUS_EQ_BANDS: tuple[EqBand, ...] = tuple(
    EqBand("peak", _bus_eq_name(frequency), frequency, BUS_EQ_Q) for frequency in BUS_EQ_HZ
)

_BUS: tuple[Parameter, ...] = (
    *(
        Parameter(
            _bus_eq_name(frequency),
            -15.0,
            15.0,
            0.0,
            -9.0,
            9.0,
            "linear",
            Aspect.EQ,
            f"bus EQ gain at {frequency:g} Hz",
        )
        for frequency in BUS_EQ_HZ
    ),
    *_compressor_parameters(safe_ratio=3.0, safe_attack_ms=10.0),
    Parameter(
        "width", 0.0, 2.0, 1.0, 0.5, 1.6, "linear", Aspect.WIDTH, "gain of the bus's side signal"
    ),
    Parameter(
        "gain_db", -24.0, 36.0, 0.0, -24.0, 36.0, "linear", Aspect.LEVEL, "drive into the limiter"
    ),
)


BUS = ParameterTable(_BUS, BUS_EQ_BANDS)


def default_settings(table: tuple[Parameter, ...]) -> dict[str, float]:
    """Return the neutral settings of a parameter table, in its order."""
    return {parameter.name: parameter.default for parameter in table}


def complete_settings(
    values: Mapping[str, float], table: tuple[Parameter, ...]
) -> dict[str, float]:
    """Return settings with what they lack at its default.

    Raises
    ------
    ValueError
        If a name is unknown or a value is out of its range; all of them are named.
    """
    known = {parameter.name: parameter for parameter in table}
    wrong = []
    for name, value in values.items():
        if name not in known:
            wrong.append(f"unknown setting {name!r}: {suggest(name, list(known))}")
        elif not known[name].low <= value <= known[name].high:  # also refuses NaN
            low, high = known[name].low, known[name].high
            wrong.append(f"{name} is {value:g}: use a value from {low:g} to {high:g}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return default_settings(table) | dict(values)


def known_settings(values: dict[str, float], table: tuple[Parameter, ...]) -> dict[str, float]:
    """Return settings as they are, if each has a name of the table; else raise ``ValueError``."""
    names = [parameter.name for parameter in table]
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]!r}: {suggest(unknown[0], names)}")
    return values
