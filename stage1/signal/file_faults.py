"""What is wrong with a file's samples, and how they are set right: DC, and the use of its channels.

DC is what the whole file shares: its means over a tenth of a second agree wherever it sounds, in
quiet passages as in loud ones. A kick or a one-shot is lopsided for a moment and has none. Where
the means wander slowly (DC in part of a file, or drifting) a high-pass takes them out.

The channels of a stereo file are told by their powers and their product, DC apart: one alone that
sounds, two that are the same, one that is the other upside down. What a name alone could say
(mid and side) is believed where the signal agrees.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.console.conditioning import ChannelUse, Conditioning
from pipeline.units import Float64Array, amplitude_to_db

__all__ = ["ChannelFault", "FileFaults", "Moments", "find_faults", "names_mid_side"]


LEAST_DC = 10.0 ** (-70.0 / 20.0)
LEAST_DC_TO_RMS = 10.0 ** (-36.0 / 20.0)
"""Less than that costs no headroom, no detector and no loudness."""
LEAST_WANDER_TO_RMS = 10.0 ** (-28.0 / 20.0)
SLOW_CORRELATION = 0.7
"""Of each mean with the next, from which they wander and do not jump as hits do."""
HIGHPASS_HZ = 5.0
FEWEST_HOPS = 5
SILENT_SHARE = 0.02
"""Of digital silence beside which a constant must not be subtracted, as it would stand there."""

DEAD_CHANNEL = 1e-3
"""Of a channel's power against the other's, -30 dB, under which it holds noise or crosstalk."""
QUIET_CHANNEL = 0.06
"""-12 dB, under which a channel is noise if it neither rises and falls nor is like the other."""
STEADY_DB = 3.0
UNLIKE_CORRELATION = 0.1
SAME_CHANNELS = 1e-5
"""Of side against mid, -50 dB, under which there is nothing between left and right."""
OPPOSITE_CHANNELS = 1e-2
INVERTED_CORRELATION = -0.6
INVERTED_RATIO = 4.0
MID_SIDE_CORRELATION = 0.6
LOUDEST_SIDE = 0.7
"""Of the side's power against the mid's; left and right are about as loud as each other."""


class ChannelFault(StrEnum):
    """What is odd about a stereo file's channels."""

    ONE_SIDED = "one channel alone sounds"
    DUAL_MONO = "both channels are the same"
    INVERTED = "one channel is the other upside down"
    MID_SIDE = "its channels are mid and side"


@dataclass(frozen=True)
class Moments:
    """Sums over each tenth of a second of a file.

    Parameters
    ----------
    sums
        Of left, right, left², right² and left x right, ``(5, hops)``; of a mono file both are
        the same.
    lengths
        Frames a hop.
    channels
        1 or 2.
    """

    sums: Float64Array
    lengths: npt.NDArray[np.int64]
    channels: int


@dataclass(frozen=True)
class FileFaults:
    """What was found in a file, and how it is set right.

    Parameters
    ----------
    conditioning
        What is done about it.
    channel_fault
        None where the channels are as they should be.
    dc
        Mean of each channel of the file where it sounds; 0 where it has no DC.
    """

    conditioning: Conditioning = field(default_factory=Conditioning)
    channel_fault: ChannelFault | None = None
    dc: tuple[float, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """What was set right, in words."""
        flags = []
        if self.conditioning.dc_highpass_hz:
            flags.append("DC that is not constant taken out")
        elif any(self.dc):
            flags.append(f"DC of {self.dc_dbfs:.1f} dBFS taken out")
        if self.channel_fault is not None:
            flags.append(f"{self.channel_fault}: channels = {self.conditioning.channels}")
        return tuple(flags)

    @property
    def dc_dbfs(self) -> float:
        """Level of the DC of the worst channel; ``-inf`` without a constant one."""
        return amplitude_to_db(max((abs(dc) for dc in self.dc), default=0.0))

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON's plain values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> FileFaults:
        """Return what :meth:`to_record` gave."""
        held, fault = record["conditioning"], record["channel_fault"]
        return cls(
            Conditioning(
                ChannelUse(held["channels"]), tuple(held["dc"]), float(held["dc_highpass_hz"])
            ),
            None if fault is None else ChannelFault(fault),
            tuple(record["dc"]),
        )


def find_faults(
    moments: Moments, *, mid_side_name: bool = False, use: ChannelUse | None = None
) -> FileFaults:
    """Decide how a file is set right.

    Parameters
    ----------
    moments
        What was measured of it.
    mid_side_name
        Whether its name says that its channels are mid and side.
    use
        What the user says of its channels, which wins; it must fit the file.
    """
    hops = moments.lengths >= 0.5 * moments.lengths.max(initial=1)
    sums, lengths = moments.sums[:, hops], moments.lengths[hops].astype(np.float64)
    constant, wandering = [], False
    for channel in range(moments.channels):
        dc, wanders = _dc(sums[channel], sums[2 + channel], lengths)
        constant.append(dc)
        wandering = wandering or wanders
    fault: ChannelFault | None = None
    channels = ChannelUse.AS_IS
    if use is not None:
        channels = use
    elif moments.channels == 2:
        fault, channels = _channels(sums, lengths, mid_side_name=mid_side_name)
    if wandering:
        conditioning = Conditioning(channels, (), HIGHPASS_HZ)
    elif any(constant):
        conditioning = Conditioning(channels, tuple(constant))
    else:
        conditioning = Conditioning(channels)
    return FileFaults(conditioning, fault, tuple(constant))


def _dc(sums: Float64Array, squares: Float64Array, lengths: Float64Array) -> tuple[float, bool]:
    """Return the DC of a channel, 0 where it has none, and whether it is no constant."""
    sounds = squares > 0.0
    count = int(sounds.sum())
    if count < FEWEST_HOPS:
        return 0.0, False
    means = sums[sounds] / lengths[sounds]
    spread = np.maximum(squares[sounds] / lengths[sounds] - means**2, 0.0)
    rms = math.sqrt(float(spread.mean()))
    # Quiet hops tell more of DC than loud ones, whose halves of a cycle have means of their own.
    weights = 1.0 / (spread + 1e-3 * float(spread.mean()) + 1e-14)
    dc = float(np.average(means, weights=weights))
    # Over a second what music leaves in a mean of 100 ms is gone.
    length = min(max(count // 8, 1), 10)
    groups = count // length
    courses = means[: groups * length].reshape(groups, length).mean(axis=1)
    low, high = np.percentile(courses, [10.0, 90.0])
    largest = float(np.abs(courses).max())
    stray = float(np.sqrt((courses**2).mean()))
    steady = max(abs(low - dc), abs(high - dc), 0.5 * (largest - abs(dc))) < 0.3 * abs(dc)
    if steady and abs(dc) > max(LEAST_DC, LEAST_DC_TO_RMS * rms):
        gaps = 1.0 - count / squares.size
        return round(dc, 8), gaps > SILENT_SHARE
    if count < 2 * FEWEST_HOPS or stray < max(LEAST_DC, LEAST_WANDER_TO_RMS * rms):
        return 0.0, False
    around = means - means.mean()
    power = float((around**2).sum())
    # A signal's own mean of 0 does not wander either: what is correlated is correlated about 0.
    slow = float((means[1:] * means[:-1]).sum()) / float((means**2).sum())
    slow_around = float((around[1:] * around[:-1]).sum()) / power if power > 0.0 else 1.0
    return 0.0, slow > SLOW_CORRELATION and (slow_around > SLOW_CORRELATION or slow > 0.95)


def _channels(
    sums: Float64Array, lengths: Float64Array, *, mid_side_name: bool
) -> tuple[ChannelFault | None, ChannelUse]:
    powers = np.maximum(sums[2:4] - sums[:2] ** 2 / lengths, 0.0)
    left, right = (float(power.sum()) for power in powers)
    product = float((sums[4] - sums[0] * sums[1] / lengths).sum())
    floor = 1e-10 * float(lengths.sum())  # -100 dBFS
    if max(left, right) <= floor:
        return None, ChannelUse.AS_IS
    if right < DEAD_CHANNEL * left:
        return ChannelFault.ONE_SIDED, ChannelUse.LEFT
    if left < DEAD_CHANNEL * right:
        return ChannelFault.ONE_SIDED, ChannelUse.RIGHT
    quiet = int(right < left)
    if (
        not mid_side_name
        and min(left, right) < QUIET_CHANNEL * max(left, right)
        and abs(product) < UNLIKE_CORRELATION * math.sqrt(left * right)
        and _is_steady(powers[quiet] / lengths)
        and not _is_steady(powers[1 - quiet] / lengths)
    ):
        return ChannelFault.ONE_SIDED, (ChannelUse.RIGHT, ChannelUse.LEFT)[quiet]
    mid, side = left + right + 2.0 * product, left + right - 2.0 * product
    if side <= SAME_CHANNELS * mid:
        return ChannelFault.DUAL_MONO, ChannelUse.MONO
    if mid <= OPPOSITE_CHANNELS * side:
        return ChannelFault.INVERTED, ChannelUse.LEFT
    correlation = product / math.sqrt(left * right)
    if mid_side_name and abs(correlation) < MID_SIDE_CORRELATION and right < LOUDEST_SIDE * left:
        return ChannelFault.MID_SIDE, ChannelUse.MID_SIDE
    even = 1.0 / INVERTED_RATIO < right / left < INVERTED_RATIO
    if correlation < INVERTED_CORRELATION and even:
        return ChannelFault.INVERTED, ChannelUse.INVERT_RIGHT
    return None, ChannelUse.AS_IS


def _is_steady(powers: Float64Array) -> bool:
    """Whether what sounds in a channel is as loud at all times, as noise and hum are."""
    sounds = powers[powers > 0.0]
    if sounds.size < FEWEST_HOPS:
        return False
    low, high = np.percentile(10.0 * np.log10(sounds), [5.0, 95.0])
    return bool(high - low < STEADY_DB)


_MID_SIDE = re.compile(
    # "250 ms" is a time.
    r"(?<![A-Za-z0-9])(?:M[-_/+& ]?S|(?<!\d[-_ ])m[-_/+&]?s|(?i:mid[-_+& ]*side))(?:[^A-Za-z]|$)"
)


def names_mid_side(name: str) -> bool:
    """Whether a track's name says that its channels are mid and side.

    Examples
    --------
    >>> names_mid_side("Room MS.wav"), names_mid_side("OH mid-side.wav"), names_mid_side("Mess.wav")
    (True, True, False)
    >>> names_mid_side("Delay 250 ms.wav")
    False
    """
    return _MID_SIDE.search(PurePosixPath(name).stem) is not None
