"""What libsndfile does not read: AAC, ALAC, WMA and the sound of films, through FFmpeg.

The program ``ffmpeg`` decodes where it is installed; else PyAV does, if that is. A file is decoded
from its start, and thrown away up to where it is wanted: no container's index is trusted for a
sample's place.
"""

from __future__ import annotations

import functools
import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio.formats.ffmpeg import BLOCK_FRAMES, ProgramBlocks, program_sound
from pipeline.audio.formats.kind import AudioKind
from pipeline.audio.formats.pyav import LibraryBlocks, library_sound
from pipeline.units import FloatArray

__all__ = ["INSTALL_REMEDY", "ForeignDecoder", "ForeignStream", "foreign_stream", "reader"]

INSTALL_REMEDY = (
    "install ffmpeg (`apt install ffmpeg`, `brew install ffmpeg`) or PyAV (`pip install "
    "'stemwright[decode]'`), or convert it to WAV or FLAC"
)

_MOST_CHANNELS = 64
_LENGTH_KNOWN = frozenset((
    "mov", "matroska", "asf", "wv", "tta", "ape", "tak", "caf", "wav", "w64", "aiff", "ogg",
    "dsf", "iff", "flac",
))  # fmt: skip
"""Containers that tell how long they are; of others FFmpeg guesses by the bit rate."""
_SHORTER_S = 0.25
"""Containers round their lengths; less than this over what there is, is no loss."""


@dataclass(frozen=True)
class ForeignStream:
    """The sound in a file, decoded once to know how long it is.

    Parameters
    ----------
    codec
        As FFmpeg calls it.
    silence
        Samples before it, where sound begins later than the pictures beside it.
    frames
        Its length with that silence.
    promised
        Its length as the container says it; 0 where it does not.
    streams
        How many there are in the file.
    complaint
        Of FFmpeg while it decoded; empty for none.
    """

    codec: str
    sample_rate: int
    channels: int
    silence: int
    frames: int
    promised: int
    streams: int
    complaint: str = ""

    @property
    def incomplete(self) -> bool:
        """Whether much less could be decoded than the container says."""
        return self.promised - self.frames > _SHORTER_S * self.sample_rate


def reader() -> str | None:
    """Return what decodes here: ``"ffmpeg"``, ``"av"``, or None."""
    if shutil.which("ffmpeg") and shutil.which("ffprobe"):
        return "ffmpeg"
    return "av" if importlib.util.find_spec("av") else None


@functools.lru_cache(maxsize=1024)
def foreign_stream(path: Path, kind: AudioKind, stamp: tuple[int, ...]) -> ForeignStream:
    """Look at the first sound in a file and decode it once, to count its samples.

    Parameters
    ----------
    kind
        What the file is.
    stamp
        What changes with the file: the result is kept for it.

    Raises
    ------
    OSError
        With a message in words, when FFmpeg cannot read it or is not there.
    """
    tool = reader()
    if tool is None:
        raise OSError("neither ffmpeg nor PyAV is installed")
    sound = (program_sound if tool == "ffmpeg" else library_sound)(path, kind)
    if not 1 <= sound.channels <= _MOST_CHANNELS or sound.sample_rate <= 0:
        raise OSError(f"its sound has {sound.channels} channels at {sound.sample_rate} Hz")
    rate = sound.sample_rate
    blocks = _blocks(path, kind, rate, sound.channels)
    try:
        frames = sum(block.shape[1] for block in blocks)
        complaint = blocks.failure
    finally:
        blocks.close()
    if frames == 0 and complaint:
        raise OSError(complaint)
    silence = round(sound.start_s * rate) if sound.start_s > 0.001 else 0
    return ForeignStream(
        sound.codec, rate, sound.channels, silence, frames + silence,
        silence + round(sound.duration_s * rate) if kind.demuxer in _LENGTH_KNOWN else 0,
        sound.streams, complaint,
    )  # fmt: skip


class ForeignDecoder:
    """The sound of a file that FFmpeg decodes, in blocks of bounded size.

    Parameters
    ----------
    path, kind
        The file, and what it is.
    stream
        What :func:`foreign_stream` returned for it.
    """

    def __init__(self, path: Path, kind: AudioKind, stream: ForeignStream) -> None:
        self._path, self._kind, self._stream = path, kind, stream
        self._blocks: ProgramBlocks | LibraryBlocks | None = None
        self._ahead = np.zeros((stream.channels, 0), np.float32)
        self._position = 0
        self.sample_rate, self.channels = stream.sample_rate, stream.channels
        self.frames = stream.frames
        self.format, self.subtype = kind.name, stream.codec

    def seek(self, frame: int) -> None:
        """Go to a sample: forwards by decoding up to it, back by beginning again."""
        if frame < self._position:
            self.close()
        while self._position < frame:
            if self.read(min(frame - self._position, BLOCK_FRAMES)).shape[1] == 0:
                return

    def read(self, frames: int) -> FloatArray:
        """Return the next samples; see :meth:`pipeline.audio.formats.decoders.Decoder.read`."""
        if self._blocks is None:
            self._blocks = _blocks(
                self._path, self._kind, self._stream.sample_rate, self._stream.channels
            )
            self._ahead = np.zeros((self.channels, self._stream.silence), np.float32)
        parts, held = [self._ahead], self._ahead.shape[1]
        while held < frames:
            block = next(iter(self._blocks), None)
            if block is None:
                break
            parts.append(block)
            held += block.shape[1]
        joined = np.concatenate(parts, axis=1) if len(parts) > 1 else self._ahead
        self._ahead = joined[:, frames:]
        block = joined[:, : min(frames, self.frames - self._position)]
        self._position += block.shape[1]
        return block

    def close(self) -> None:
        """Close the file; reading begins again at its start."""
        if self._blocks is not None:
            self._blocks.close()
        self._blocks = None
        self._position = 0


def _blocks(
    path: Path, kind: AudioKind, sample_rate: int, channels: int
) -> ProgramBlocks | LibraryBlocks:
    if reader() == "ffmpeg":
        return ProgramBlocks(path, kind, sample_rate, channels)
    return LibraryBlocks(path, kind, sample_rate, channels)
