"""The plan: everything that was decided about a mix, as records.

The settings of strips and bus are named by the tables of :mod:`pipeline.console.parameters`;
:mod:`pipeline.plan_file` writes and reads plans.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipeline.console.conditioning import HIGHEST_DC_HIGHPASS_HZ, ChannelUse, Conditioning
from pipeline.console.parameters import (
    BUS,
    STRIP,
    complete_settings,
    default_settings,
    known_settings,
)
from pipeline.errors import suggest

__all__ = [
    "PLAN_VERSION",
    "Delivery",
    "Plan",
    "StemPlan",
    "TrackPlan",
]

PLAN_VERSION: Final = 3


StripSettings = Annotated[
    dict[str, float], AfterValidator(lambda values: complete_settings(values, STRIP))
]
BusSettings = Annotated[
    dict[str, float], AfterValidator(lambda values: complete_settings(values, BUS))
]


StripRecord = Annotated[
    dict[str, float], AfterValidator(lambda values: known_settings(values, STRIP))
]
BusRecord = Annotated[dict[str, float], AfterValidator(lambda values: known_settings(values, BUS))]


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
    level_lufs
        Loudness of the balanced stem, which the thresholds of the settings are relative to.
    settings
        Values of :data:`pipeline.console.parameters.STRIP`, complete.
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
    level_lufs: float = Field(default=-23.0, ge=-100.0, le=40.0)
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

    version: Literal[3] = PLAN_VERSION
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
