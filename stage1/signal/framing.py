"""Overlapping frames of a signal that comes in blocks, in batches of one size.

The batches begin at the same samples whatever the size of the blocks, so that what is computed of
them is the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.jit import kernel
from pipeline.units import Float32Array, Float64Array

__all__ = ["Framer", "hann", "is_silent"]


def hann(length: int) -> Float64Array:
    """Return the periodic Hann window, as ``librosa`` has it for every short-time spectrum."""
    phase = 2.0 * np.pi * np.arange(length) / length
    return np.asarray(0.5 - 0.5 * np.cos(phase), np.float64)


@kernel
def is_silent(line: Float32Array) -> bool:
    """Return whether ``line`` (channels, samples) is digital silence."""
    for channel in range(line.shape[0]):
        for i in range(line.shape[1]):
            if line[channel, i] != 0.0:
                return False
    return True


class Framer:
    """Cuts a signal into lines that hold a batch of frames each.

    Parameters
    ----------
    channels
        Of the signal.
    length, hop
        Of a frame, in samples; ``hop`` at most ``length``.
    batch
        Frames of a line.
    lead
        Zeros before the signal.

    Attributes
    ----------
    frames
        Samples a channel that were pushed so far.
    framed
        The frames of the line at hand, ``(channels, batch, length)``: a view of it.
    """

    def __init__(self, channels: int, *, length: int, hop: int, batch: int, lead: int) -> None:
        if not 0 < hop <= length:
            raise ValueError(f"hop is {hop}: use 1 to {length}")
        self.frames = 0
        self._line = np.zeros((channels, length + (batch - 1) * hop), np.float32)
        self.framed = sliding_window_view(self._line, length, axis=1)[:, ::hop]
        self._overlap = length - hop
        self._batch = batch
        self._held = lead
        self._lines = 0

    def push(self, block: Float32Array) -> Iterator[Float32Array]:
        """Take ``(channels, frames)`` and yield each line that is full, to be used at once.

        A line is ``(channels, length + (batch - 1) hop)``; its frames begin every ``hop`` samples.
        """
        self.frames += block.shape[1]
        done = 0
        while done < block.shape[1]:
            count = min(block.shape[1] - done, self._line.shape[1] - self._held)
            self._line[:, self._held : self._held + count] = block[:, done : done + count]
            self._held += count
            done += count
            if self._held == self._line.shape[1]:
                yield self._line
                self._shift()

    def _shift(self) -> None:
        if self._overlap:
            self._line[:, : self._overlap] = self._line[:, -self._overlap :].copy()
        self._held = self._overlap
        self._lines += 1

    def rest(self, count: int) -> Iterator[Float32Array]:
        """Yield the lines that are missing to ``count`` frames in all, filled up with zeros."""
        while self._lines * self._batch < count:
            self._line[:, self._held :] = 0.0
            yield self._line
            self._shift()
