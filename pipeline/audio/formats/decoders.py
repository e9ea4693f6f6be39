"""What turns a file into samples: libsndfile, or several of it for recordings that were joined."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from pipeline.audio.formats.spliced_file import Span, SplicedFile
from pipeline.units import FloatArray

__all__ = ["Decoder", "JoinedDecoder", "SndfileDecoder"]

_UNKNOWN_CONTENT = 1  # libsndfile's number for it


class Decoder(Protocol):
    """An open file that can be decoded from any sample on."""

    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str

    def seek(self, frame: int) -> None:
        """Go to a sample."""
        ...

    def read(self, frames: int) -> FloatArray:
        """Return the next ``(channels, frames)`` float32 samples: fewer or none at the end."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class SndfileDecoder:
    """A file as libsndfile reads it.

    Parameters
    ----------
    path
        The file.
    pieces
        What of it libsndfile should see, and what in place of the rest; the file as it is if not
        given.

    Raises
    ------
    soundfile.LibsndfileError
        When libsndfile cannot read it; so do the methods.
    OSError
        When the system cannot.
    """

    def __init__(self, path: Path, pieces: Sequence[bytes | Span] | None = None) -> None:
        self._seen: SplicedFile | None = None
        if pieces is None and path.suffix.casefold() == ".raw":
            # soundfile would take such a name for samples without a header.
            pieces = [(0, path.stat().st_size)]
        if pieces is None:
            # A name that libsndfile opens whatever its bytes are.
            self._file = soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else str(path))
        else:
            self._seen = SplicedFile(path, pieces)
            try:
                self._file = soundfile.SoundFile(self._seen)
            except BaseException:
                self._seen.close()
                raise
        if self._file.format == "RAW":
            # By its name alone: libsndfile plays whatever is called ".au", ".snd" or ".vox".
            self.close()
            raise soundfile.LibsndfileError(_UNKNOWN_CONTENT)
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = self._file.frames
        self.format: str = self._file.format
        self.subtype: str = self._file.subtype

    def seek(self, frame: int) -> None:
        """Go to a sample."""
        self._file.seek(frame)

    def read(self, frames: int) -> FloatArray:
        """Return the next samples; see :meth:`Decoder.read`."""
        block: FloatArray = self._file.read(frames, dtype="float32", always_2d=True).T
        return block

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._seen is not None:
            self._seen.close()


class JoinedDecoder:
    """Recordings of one rate, one behind the other as if they were one.

    Parameters
    ----------
    openers
        Each opens one of them.
    lengths
        Of each, in samples per channel.
    first
        The first of them, open.
    """

    def __init__(
        self, openers: Sequence[Callable[[], Decoder]], lengths: Sequence[int], first: Decoder
    ) -> None:
        self._openers = openers
        self._starts = [0]
        for length in lengths:
            self._starts.append(self._starts[-1] + length)
        self._index, self._open = 0, first
        self._position = 0
        self._sought = True
        self.sample_rate, self.channels = first.sample_rate, first.channels
        self.format, self.subtype = first.format, first.subtype
        self.frames = self._starts[-1]

    def seek(self, frame: int) -> None:
        """Go to a sample."""
        self._position = frame
        self._sought = False

    def read(self, frames: int) -> FloatArray:
        """Return the next samples; see :meth:`Decoder.read`. Ends where a recording does."""
        if self._position >= self.frames:
            return np.zeros((self.channels, 0), np.float32)
        index = min(bisect_right(self._starts, self._position) - 1, len(self._openers) - 1)
        if index != self._index:
            self._open.close()
            self._open = self._openers[index]()
            self._index, self._sought = index, self._position == self._starts[index]
        if not self._sought:
            self._open.seek(self._position - self._starts[index])
            self._sought = True
        wanted = min(frames, self._starts[index + 1] - self._position)
        block = self._open.read(wanted)
        self._position += block.shape[1]
        return block

    def close(self) -> None:
        """Close the file."""
        self._open.close()
