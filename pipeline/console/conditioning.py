"""A file's samples set right before anything else is done with them: DC taken out, channels used.

A recorder's converter may add a constant to every sample, a voice may have been recorded on one
channel of a stereo file, a channel may be wired backwards. What was decided about a file is one
:class:`Conditioning` of the plan; it is applied where the file is decoded, before any resampling,
so that whoever reads the track, to measure it or to mix it, reads the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import scipy.signal

from pipeline.units import FloatArray

__all__ = [
    "HIGHEST_DC_HIGHPASS_HZ",
    "ChannelUse",
    "Conditioning",
    "conditioned_blocks",
    "lead_frames",
]

HIGHEST_DC_HIGHPASS_HZ = 30.0

_MOMENT_FRAMES = 2048  # that a high-pass takes its first state from
_ORDER = 2


class ChannelUse(StrEnum):
    """What is made of a file's channels.

    ``as_is`` keeps them. Of a stereo file ``left`` and ``right`` take one channel and ``mono`` the
    mean of both, as a mono track; ``mid_side`` decodes M and S on its channels, ``swap`` exchanges
    them, ``invert_left`` and ``invert_right`` turn the polarity of one over. ``side`` makes of the
    S of a pair of mono files +S on the left and -S on the right.
    """

    AS_IS = "as_is"
    LEFT = "left"
    RIGHT = "right"
    MONO = "mono"
    MID_SIDE = "mid_side"
    SIDE = "side"
    SWAP = "swap"
    INVERT_LEFT = "invert_left"
    INVERT_RIGHT = "invert_right"


_ONE_CHANNEL = frozenset({ChannelUse.LEFT, ChannelUse.RIGHT, ChannelUse.MONO})


@dataclass(frozen=True)
class Conditioning:
    """How a file's samples are set right.

    Parameters
    ----------
    channels
        What is made of its channels.
    dc
        What is subtracted from each channel of the file; empty for nothing.
    dc_highpass_hz
        Corner of a second-order Butterworth high-pass, where the DC is not constant; 0 for none.
    """

    channels: ChannelUse = ChannelUse.AS_IS
    dc: tuple[float, ...] = ()
    dc_highpass_hz: float = 0.0

    @property
    def neutral(self) -> bool:
        """Whether it leaves every sample as it is."""
        return self.channels == ChannelUse.AS_IS and not any(self.dc) and self.dc_highpass_hz == 0.0

    def problem(self, channels: int) -> str | None:
        """Return in words why a file of so many channels cannot be used so; None where it can."""
        if self.dc and len(self.dc) != channels:
            return f"has {channels} channels and dc has {len(self.dc)} values"
        if self.channels == ChannelUse.AS_IS or channels > 2:
            return None
        if self.channels == ChannelUse.SIDE:
            return None if channels == 1 else "is stereo, and channels = 'side' is for mono files"
        if channels == 1:
            return f"is mono, and channels = '{self.channels}' is for stereo files"
        return None

    def channels_from(self, channels: int) -> int:
        """Return how many channels come of a file's."""
        if self.channels in _ONE_CHANNEL:
            return 1
        return 2 if self.channels == ChannelUse.SIDE else channels


def conditioned_blocks(
    blocks: Iterator[FloatArray],
    conditioning: Conditioning,
    *,
    sample_rate: int,
) -> Iterator[FloatArray]:
    """Yield a file's ``(channels, frames)`` blocks set right.

    Parameters
    ----------
    blocks
        One behind the other. A high-pass starts settled at the mean of the first ones, so that DC
        makes no click there.
    sample_rate
        Of the file, in Hz.
    """
    sections = state = None
    if conditioning.dc_highpass_hz:
        sections = scipy.signal.butter(
            _ORDER, conditioning.dc_highpass_hz, "highpass", fs=sample_rate, output="sos"
        )
    for block in blocks:
        samples = np.asarray(block, np.float32)
        if any(conditioning.dc):
            offset = np.array(conditioning.dc)[:, None]
            samples = (samples.astype(np.float64) - offset).astype(np.float32)
        if sections is not None:
            if state is None:
                mean = samples[:, :_MOMENT_FRAMES].mean(axis=1, dtype=np.float64)
                settled = scipy.signal.sosfilt_zi(sections)  # (sections, 2)
                state = settled[:, None, :] * mean[None, :, None]  # (sections, channels, 2)
            filtered, state = scipy.signal.sosfilt(
                sections, samples.astype(np.float64), axis=-1, zi=state
            )
            samples = filtered.astype(np.float32)
        yield _used(samples, conditioning.channels)


def lead_frames(conditioning: Conditioning, sample_rate: int) -> int:
    """Return how long before a place in a file reading has to begin for the same samples there.

    A high-pass has forgotten by -180 dB what was before.
    """
    if not conditioning.dc_highpass_hz:
        return 0
    return round(5.0 / conditioning.dc_highpass_hz * sample_rate)


def _used(samples: FloatArray, use: ChannelUse) -> FloatArray:
    match use:
        case ChannelUse.LEFT:
            return samples[:1]
        case ChannelUse.RIGHT:
            return samples[1:]
        case ChannelUse.MONO:
            half = np.float32(0.5)
            return (half * samples[:1] + half * samples[1:]).astype(np.float32)
        case ChannelUse.MID_SIDE:
            return np.stack([samples[0] + samples[1], samples[0] - samples[1]])
        case ChannelUse.SIDE:
            return np.concatenate([samples, -samples])
        case ChannelUse.SWAP:
            return np.ascontiguousarray(samples[::-1])
        case ChannelUse.INVERT_LEFT:
            return np.stack([-samples[0], samples[1]])
        case ChannelUse.INVERT_RIGHT:
            return np.stack([samples[0], -samples[1]])
    return samples
