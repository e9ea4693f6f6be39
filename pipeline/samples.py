"""A track that can be read anywhere: in memory while it fits, else from its file.

An analysis that looks at passages spread over a track takes :class:`Samples`, and does not care
where they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.audio import probe, read

__all__ = ["FileSamples", "HeldSamples", "Samples"]

Float32Array = npt.NDArray[np.float32]


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
    """A signal in a file, at the file's own rate.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        As :func:`pipeline.audio.probe`, here and when it is read.
    """

    def __init__(self, path: Path) -> None:
        info = probe(path)
        self.path = path
        self.sample_rate = info.sample_rate
        self.channels = info.channels
        self.frames = info.frames

    def read_at(self, start: int, frames: int) -> Float32Array:
        """Return a piece; see :meth:`Samples.read_at`."""
        first = min(max(start, 0), self.frames)
        last = min(max(start + frames, first), self.frames)
        piece = np.asarray(
            read(
                self.path,
                start_s=first / self.sample_rate,
                duration_s=(last - first) / self.sample_rate,
            ),
            np.float32,
        )
        before = min(max(-start, 0), frames)
        return np.pad(piece, ((0, 0), (before, frames - before - piece.shape[1])))
