"""The plan: everything that was decided about a mix, as records.

:data:`STRIP` and :data:`BUS` are the one table that owns each console parameter's name, unit,
range, default and order. Vector sizes, JSON keys, documentation, the torch console and the
time-domain processors are derived from them. :mod:`pipeline.plan_file` writes and reads plans.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipeline.console.conditioning import HIGHEST_DC_HIGHPASS_HZ, ChannelUse, Conditioning
from pipeline.errors import suggest

__all__ = [
    "BUS",
    "BUS_EQ_BANDS",
    "PLAN_VERSION",
    "STRIP",
    "STRIP_EQ_BANDS",
    "Aspect",
    "Delivery",
    "EqBand",
    "Parameter",
    "Plan",
    "StemPlan",
    "TrackPlan",
    "default_settings",
]

PLAN_VERSION: Final = 2


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

STRIP: tuple[Parameter, ...] = (
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

BUS: tuple[Parameter, ...] = (
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


def default_settings(table: tuple[Parameter, ...]) -> dict[str, float]:
    """Return the neutral settings of a parameter table, in its order."""
    return {parameter.name: parameter.default for parameter in table}


def _complete(values: Mapping[str, float], table: tuple[Parameter, ...]) -> dict[str, float]:
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


StripSettings = Annotated[dict[str, float], AfterValidator(lambda values: _complete(values, STRIP))]
BusSettings = Annotated[dict[str, float], AfterValidator(lambda values: _complete(values, BUS))]


def _known(values: dict[str, float], table: tuple[Parameter, ...]) -> dict[str, float]:
    names = [parameter.name for parameter in table]
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]!r}: {suggest(unknown[0], names)}")
    return values


StripRecord = Annotated[dict[str, float], AfterValidator(lambda values: _known(values, STRIP))]
BusRecord = Annotated[dict[str, float], AfterValidator(lambda values: _known(values, BUS))]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrackPlan(_Record):
    """One track: what was decided for it in stage 1.

    Parameters
    ----------
    path
        POSIX path of the file, relative to the session's folder.
    subgroup
        Name of the stem that the track belongs to.
    gain_db, pan
        Applied at read; a stereo track is balanced, not folded.
    invert
        Whether its polarity is turned over, in both channels.
    offset_s
        Where the track starts on the session's time line.
    mute
        A muted track is not heard, and its place in the plan is kept.
    channels, dc, dc_highpass_hz
        How the file's samples are set right before anything else, as
        :class:`pipeline.console.conditioning.Conditioning`.
    salvaged
        Whether what there is of it is played, though its file ends before its time.
    reason
        Why it got this gain and pan, in words.
    """

    path: str
    role: str
    subgroup: str
    gain_db: float = Field(default=0.0, ge=-120.0, le=120.0)
    pan: float = Field(default=0.0, ge=-1.0, le=1.0)
    invert: bool = False
    offset_s: float = Field(default=0.0, ge=0.0, le=1e6)
    mute: bool = False
    channels: ChannelUse = ChannelUse.AS_IS
    dc: tuple[Annotated[float, Field(ge=-1.0, le=1.0)], ...] = Field(default=(), max_length=2)
    dc_highpass_hz: float = Field(default=0.0, ge=0.0, le=HIGHEST_DC_HIGHPASS_HZ)
    salvaged: bool = False
    reason: str = ""

    @property
    def conditioning(self) -> Conditioning:
        """How the file's samples are set right."""
        return Conditioning(self.channels, self.dc, self.dc_highpass_hz)


class StemPlan(_Record):
    """One strip of the console: the settings of one subgroup's stem.

    Parameters
    ----------
    settings
        Values of :data:`STRIP`, complete.
    balance_gain_db
        For the record: the fader that gives the intended balance. What ``settings["gain_db"]``
        says more or less than it is the reference's doing, or the user's.
    predicted, predicted_spread
        For the record: what the controller's prediction alone would have given, and the standard
        deviation expected of it, in each setting's unit or, on a log scale, as a factor above 1.
        Empty where nothing was predicted; without a spread is what was not free to move.
    reason
        Why it got these settings, in words.
    """

    name: str
    balance_gain_db: float = 0.0
    settings: StripSettings = Field(default_factory=lambda: default_settings(STRIP))
    predicted: StripRecord = Field(default_factory=dict)
    predicted_spread: StripRecord = Field(default_factory=dict)
    mute: bool = False
    reason: str = ""


class Delivery(_Record):
    """How the bus becomes the delivered file.

    The limiter keeps the true peak at or under ``limiter_ceiling_dbtp``; ``trim_db`` then lowers
    the whole mix, so that a style can be dense and still be delivered at a low loudness.

    Parameters
    ----------
    target_lufs
        Integrated loudness of the delivered file; None for what drive and trim give.
    target, trim_db, encoder_margin_db, fitted_lufs, integrated_lufs
        For the record: what was asked for, the trim that gave the loudness, the loudness that
        drive and trim were fitted to, and the one that was measured then. The margin is how far
        under the ceiling the limiter worked, for what the encoder of the file adds to its peaks.
    title, artist, album, date
        What the file says of itself; empty for nothing.
    """

    target: str = "-14"
    target_lufs: float | None = Field(default=None, ge=-50.0, le=-5.0)
    limiter_ceiling_dbtp: float = Field(default=-1.0, ge=-20.0, le=0.0)
    trim_db: float = Field(default=0.0, ge=-80.0, le=0.0)
    format: Literal["wav", "flac", "mp3"] = "wav"
    subtype: Literal["PCM_16", "PCM_24", "FLOAT"] = "PCM_24"
    dither_seed: int = Field(default=0, ge=0, lt=2**32)
    title: str = ""
    artist: str = ""
    album: str = ""
    date: str = ""
    encoder_margin_db: float = Field(default=0.0, ge=0.0, le=20.0)
    fitted_lufs: float | None = None
    integrated_lufs: float | None = None


class Plan(_Record):
    """Everything that was decided: rendering it again gives the same samples.

    Parameters
    ----------
    session
        Folder of the raw tracks; relative paths are relative to the plan's own folder.
    frames
        Length of the mix at ``sample_rate``; no track is cut short.
    references
        The recordings whose style was followed, for the record.
    contents
        For the record: a hash of what each track's file held, by its path; rendering tells which
        files have changed since.
    bus_predicted, bus_predicted_spread, bus_reason
        For the record: of the bus's settings what :class:`StemPlan` has of a strip's.
    """

    version: Literal[2] = PLAN_VERSION
    session: str
    sample_rate: int = Field(ge=8000, le=768000)
    frames: int = Field(ge=1, le=2**40)
    references: tuple[str, ...] = ()
    tracks: tuple[TrackPlan, ...]
    contents: dict[str, str] = Field(default_factory=dict)
    stems: tuple[StemPlan, ...]
    bus: BusSettings = Field(default_factory=lambda: default_settings(BUS))
    bus_predicted: BusRecord = Field(default_factory=dict)
    bus_predicted_spread: BusRecord = Field(default_factory=dict)
    bus_reason: str = ""
    delivery: Delivery = Delivery()
    notes: tuple[str, ...] = ()

    def model_post_init(self, context: Any, /) -> None:
        """Refuse a plan whose tracks and stems do not fit together."""
        names = [stem.name for stem in self.stems]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"stem {twice[0]!r} stands twice: give each stem a name of its own")
        lost = sorted({t.subgroup for t in self.tracks} - set(names))
        if lost:
            raise ValueError(f"no stem for subgroup {lost[0]!r}: {suggest(lost[0], names)}")
