"""A track that can be read anywhere: in memory while it fits, else from its file.

An analysis that looks at passages spread over a track takes :class:`Samples`, and does not care
where they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

import numpy as np

from pipeline.audio.stream import AudioStream
from pipeline.console.conditioning import Conditioning
from pipeline.units import Float32Array

__all__ = ["FileSamples", "HeldSamples", "Samples"]


class Samples(Protocol):
    """A signal of a known rate and length."""

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        ...

    @property
    def channels(self) -> int:
        """1 or 2."""
        ...

    @property
    def frames(self) -> int:
        """Length in samples per channel."""
        ...

    def read_at(self, start: int, frames: int) -> Float32Array:
        """Return ``(channels, frames)`` float32 from ``start``, zeros before and after the signal.

        Do not write into it: it may be a view.
        """
        ...


class HeldSamples:
    """A signal in memory.

    Parameters
    ----------
    audio
        ``(channels, frames)`` float32.
    sample_rate
        In Hz.

    Raises
    ------
    ValueError
        If ``audio`` is not two-dimensional.

    Examples
    --------
    >>> ramp = HeldSamples(np.arange(4, dtype=np.float32)[None], sample_rate=8000)
    >>> ramp.read_at(-1, 3)
    array([[0., 0., 1.]], dtype=float32)
    """

    def __init__(self, audio: Float32Array, *, sample_rate: int) -> None:
        if audio.ndim != 2:
            msg = f"expected audio of shape (channels, frames), got {audio.shape}"
            raise ValueError(msg)
        self.audio = audio
        self.sample_rate = sample_rate
        self.channels, self.frames = audio.shape

    def read_at(self, start: int, frames: int) -> Float32Array:
        """Return a piece; see :meth:`Samples.read_at`."""
        first, last = max(start, 0), min(start + frames, self.frames)
        piece = self.audio[:, first : max(last, first)]
        if piece.shape[1] == frames:
            return piece
        before = min(max(-start, 0), frames)
        return np.pad(piece, ((0, 0), (before, frames - before - piece.shape[1])))


class FileSamples:
    """A signal in a file, which stays open: close it, or use it as a context manager.

    Passages that are read one behind the other are not sought for. Not for several threads at once.

    Parameters
    ----------
    path
        The file.
    sample_rate
        The rate wanted, in Hz; None keeps the file's own.
    conditioning
        How the file's samples are set right; None keeps them.

    Raises
    ------
    InputError
        As :class:`pipeline.audio.stream.AudioStream`, here and when it is read.
    """

    def __init__(
        self,
        path: Path,
        *,
        sample_rate: int | None = None,
        conditioning: Conditioning | None = None,
    ) -> None:
        self._stream = AudioStream(path, sample_rate=sample_rate, conditioning=conditioning)
        self.path = path
        self.sample_rate = self._stream.sample_rate
        self.channels = self._stream.channels
        self.frames = self._stream.frames

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading opens it again."""
        self._stream.close()

    def read_at(self, start: int, frames: int) -> Float32Array:
        """Return a piece; see :meth:`Samples.read_at`."""
        first = min(max(start, 0), self.frames)
        last = min(max(start + frames, first), self.frames)
        before = min(max(-start, 0), frames)
        if last == first:
            return np.zeros((self.channels, frames), np.float32)
        self._stream.seek(first)
        piece = np.asarray(self._stream.read(last - first), np.float32)
        if piece.shape[1] == frames:
            return piece
        return np.pad(piece, ((0, 0), (before, frames - before - piece.shape[1])))
