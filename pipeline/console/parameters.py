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
    "HIGH_PASS_OFF_HZ",
    "STRIP",
    "STRIP_EQ_BANDS",
    "WORKING_LUFS",
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
    (20.0, 31, 5)
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
    band: EqBand, hertz: tuple[float, float, float], *, gain_db: float, q: float
) -> tuple[Parameter, ...]:
    """Return a band's gain, frequency and Q.

    Parameters
    ----------
    hertz
        Lowest, default and highest frequency.
    gain_db, q
        Largest gain, up or down, and largest Q that automatic decisions use.
    """
    is_shelf = band.shape != "peak"
    name = band.gain_name.removesuffix("_gain_db")
    label = name.replace("_", " ")
    low_hz, default_hz, high_hz = hertz
    q_default = math.sqrt(0.5) if is_shelf else min(1.0, q)
    eq = Aspect.EQ
    return (
        Parameter(
            f"{name}_gain_db", -15.0, 15.0, 0.0, -gain_db, gain_db, "linear", eq, f"{label} gain"
        ),
        Parameter(
            f"{name}_frequency_hz", low_hz, high_hz, default_hz, low_hz, high_hz, "log", eq,
            f"{label} frequency",
        ),
        Parameter(
            f"{name}_q", 0.3, 1.0 if is_shelf else 6.0, q_default, 0.5 if is_shelf else 0.3, q,
            "log", eq, f"{label} quality factor",
        ),
    )  # fmt: skip


def _compressor_parameters(
    *, level: str, ratio: float, attack_ms: float, release_ms: float
) -> tuple[Parameter, ...]:
    """Return a compressor's parameters.

    Parameters
    ----------
    level
        What the threshold is relative to.
    ratio, attack_ms, release_ms
        Largest ratio and shortest times that automatic decisions use.
    """
    dynamics = Aspect.DYNAMICS
    return (
        Parameter(
            "threshold_lu", -40.0, 30.0, 0.0, -24.0, 12.0, "linear", dynamics,
            f"mean-square level above which the compressor works, against {level}",
        ),
        Parameter("ratio", 1.0, 20.0, 1.0, 1.0, ratio, "log", dynamics, "compression ratio"),
        Parameter(
            "attack_ms", 0.1, 200.0, 20.0, attack_ms, 80.0, "log", dynamics, "time to reduce gain"
        ),
        Parameter(
            "release_ms", 10.0, 2000.0, 200.0, release_ms, 800.0, "log", dynamics, "time to recover"
        ),
        Parameter(
            "knee_db", 0.0, 24.0, 6.0, 0.0, 12.0, "linear", dynamics, "width of the soft knee"
        ),
        Parameter("makeup_db", -12.0, 24.0, 0.0, 0.0, 12.0, "linear", dynamics, "gain after it"),
    )  # fmt: skip


def _bands(*names: str) -> tuple[EqBand, ...]:
    """Return bands of three parameters each, their shape told by the name's end."""
    shapes: dict[str, Literal["low_shelf", "peak", "high_shelf"]]
    shapes = {"low_shelf": "low_shelf", "high_shelf": "high_shelf"}
    return tuple(
        EqBand(shapes.get(name, "peak"), f"{name}_gain_db", f"{name}_frequency_hz", f"{name}_q")
        for name in names
    )


#: Loudness that stems sum to before the bus, whose threshold is relative to it: leaves headroom.
WORKING_LUFS = -20.0

#: A high-pass at its lowest frequency is switched off.
HIGH_PASS_OFF_HZ = 10.0

STRIP_EQ_BANDS = _bands(
    "low_shelf", "low_peak", "low_mid_peak", "high_mid_peak", "high_peak", "high_shelf"
)
_STRIP_HZ = (
    (30.0, 100.0, 250.0),
    (60.0, 180.0, 450.0),
    (250.0, 500.0, 1200.0),
    (800.0, 1800.0, 4000.0),
    (2500.0, 5000.0, 10000.0),
    (4000.0, 9000.0, 16000.0),
)

_STRIP: tuple[Parameter, ...] = (
    Parameter(
        "high_pass_hz", HIGH_PASS_OFF_HZ, 1000.0, HIGH_PASS_OFF_HZ, HIGH_PASS_OFF_HZ, 300.0, "log",
        Aspect.EQ, f"high-pass, 12 dB an octave; off at {HIGH_PASS_OFF_HZ:g} Hz",
    ),
    *(
        parameter
        for band, hertz in zip(STRIP_EQ_BANDS, _STRIP_HZ, strict=True)
        for parameter in _eq_parameters(
            band, hertz, gain_db=6.0, q=math.sqrt(0.5) if band.shape != "peak" else 2.0
        )
    ),
    Parameter(
        "deess_db", 0.0, 24.0, 0.0, 0.0, 6.0, "linear", Aspect.DYNAMICS,
        "most that the de-esser takes off the sibilants; 0 for off",
    ),
    Parameter(
        "deess_hz", 2000.0, 12000.0, 6000.0, 4000.0, 9000.0, "log", Aspect.DYNAMICS,
        "frequency above which it works",
    ),
    Parameter(
        "deess_threshold_lu", -60.0, 20.0, 0.0, -30.0, 10.0, "linear", Aspect.DYNAMICS,
        "level above that frequency where it begins, against the stem's loudness",
    ),
    *_compressor_parameters(
        level="the stem's loudness", ratio=4.0, attack_ms=2.0, release_ms=40.0
    ),
    Parameter("width", 0.0, 2.0, 1.0, 0.0, 1.5, "linear", Aspect.WIDTH, "gain of the side signal"),
    Parameter(
        "spread", 0.0, 1.0, 0.0, 0.0, 0.3, "linear", Aspect.WIDTH,
        "decorrelated side made from the mid above 200 Hz; vanishes in mono",
    ),
    Parameter(
        "pan", -1.0, 1.0, 0.0, -1.0, 1.0, "linear", Aspect.PAN, "constant-power, -1 left, 1 right"
    ),
    Parameter(
        "gain_db", -48.0, 24.0, 0.0, -36.0, 24.0, "linear", Aspect.LEVEL, "fader, last of all"
    ),
)  # fmt: skip

STRIP = ParameterTable(_STRIP, STRIP_EQ_BANDS)

BUS_EQ_BANDS = _bands("low_shelf", "low_peak", "mid_peak", "high_mid_peak", "high_shelf")
_BUS_HZ = (
    (40.0, 90.0, 200.0),
    (100.0, 220.0, 450.0),
    (400.0, 800.0, 1600.0),
    (1500.0, 3000.0, 6000.0),
    (5000.0, 9000.0, 14000.0),
)

_BUS: tuple[Parameter, ...] = (
    *(
        parameter
        for band, hertz in zip(BUS_EQ_BANDS, _BUS_HZ, strict=True)
        for parameter in _eq_parameters(
            band, hertz, gain_db=4.0, q=math.sqrt(0.5) if band.shape != "peak" else 1.2
        )
    ),
    *_compressor_parameters(
        level="the sum's working level", ratio=2.0, attack_ms=10.0, release_ms=60.0
    ),
    Parameter(
        "width", 0.0, 2.0, 1.0, 0.7, 1.4, "linear", Aspect.WIDTH, "gain of the bus's side signal"
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
