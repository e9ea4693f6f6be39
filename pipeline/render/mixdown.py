"""Rendered stems summed through the bus, in blocks; the limiter follows in delivery."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from pipeline.audio.stream import AudioStream
from pipeline.console.processors import Bus, GainReduction
from pipeline.loudness.meter import LoudnessMeter
from pipeline.render.stems import BLOCK_FRAMES
from pipeline.units import Float64Array, FloatArray

__all__ = ["BusSum", "sum_through_bus"]

_THREADS = 2  # that read stems; sums are made in their order


@dataclass(frozen=True)
class BusSum:
    """Stems after the bus, before drive, limiter and trim.

    Parameters
    ----------
    audio
        Shape ``(2, frames)``.
    sum_lufs
        Integrated loudness of the sum before the bus.
    """

    audio: Float64Array
    sum_lufs: float
    compression: GainReduction


def sum_through_bus(
    stems: Sequence[Path],
    settings: Mapping[str, float],
    *,
    frames: int,
    sample_rate: int,
    on_stem: Callable[[int, FloatArray], None],
) -> BusSum:
    """Sum stems in their order and take them through the bus.

    Parameters
    ----------
    stems
        Stereo files.
    settings
        Values of :data:`pipeline.console.parameters.BUS`; its gain belongs to delivery.
    on_stem
        Given each block of each stem with its index, from several threads.
    """
    bus = Bus({**settings, "gain_db": 0.0}, sample_rate=sample_rate)
    driven = np.zeros((2, frames))
    before = LoudnessMeter(sample_rate=sample_rate, channels=2)
    with ExitStack() as stack:
        streams = [stack.enter_context(AudioStream(path)) for path in stems]
        pool = stack.enter_context(ThreadPoolExecutor(_THREADS))

        def read(row: int, length: int) -> FloatArray:
            block = streams[row].read(length)
            on_stem(row, block)
            return block

        def read_all(start: int) -> Iterator[FloatArray]:
            return pool.map(read, range(len(streams)), repeat(min(BLOCK_FRAMES, frames - start)))

        coming = read_all(0)
        for start in range(0, frames, BLOCK_FRAMES):
            block = driven[:, start : start + BLOCK_FRAMES]
            for stem in coming:
                block += stem
            if start + BLOCK_FRAMES < frames:
                coming = read_all(start + BLOCK_FRAMES)  # while the bus works on this one
            before.process(block)
            block[:] = bus.process(block)
    return BusSum(driven, before.integrated_lufs, bus.compressor.gain_reduction)
