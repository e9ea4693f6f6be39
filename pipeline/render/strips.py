"""A balanced stem through its strip, from file to file in blocks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio.stream import AudioStream
from pipeline.audio.writer import AudioWriter
from pipeline.console.processors import SIDES_DB, GainReduction, Strip
from pipeline.loudness.meter import Loudness, LoudnessMeter
from pipeline.render.stems import BLOCK_FRAMES
from pipeline.units import db_to_amplitude

__all__ = ["RenderedStrip", "float_wav", "render_strip"]


@dataclass(frozen=True)
class RenderedStrip:
    """What a strip made of its stem.

    Parameters
    ----------
    has_sides
        Whether width and spread, of strip or bus, add anything.
    """

    loudness: Loudness
    compression: GainReduction
    deessing: GainReduction
    has_sides: bool


def float_wav(path: Path, sample_rate: int) -> AudioWriter:
    """Open a stereo file that keeps every sample as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return AudioWriter(path, sample_rate=sample_rate, channels=2, format="wav", subtype="FLOAT")


def render_strip(
    balanced: Path,
    settings: Mapping[str, float],
    *,
    level_lufs: float,
    frames: int,
    sample_rate: int,
    stem: Path,
    sides: Path,
    bus_width: float = 1.0,
) -> RenderedStrip:
    """Render a stem through its strip into files.

    Parameters
    ----------
    balanced
        The stem, stereo.
    settings
        Values of :data:`pipeline.console.parameters.STRIP`.
    level_lufs
        What the thresholds are relative to.
    stem
        Written as 32-bit float WAV.
    sides
        Written as 24-bit FLAC where there is anything: what width and spread add,
        :data:`pipeline.console.processors.SIDES_DB` lower.
    bus_width
        Gain of the side signal on the bus.
    """
    strip = Strip(settings, level_lufs=level_lufs, sample_rate=sample_rate)
    meter = LoudnessMeter(sample_rate=sample_rate, channels=2)
    has_sides = settings["width"] != 1.0 or settings["spread"] != 0.0 or bus_width != 1.0
    lower = np.float32(db_to_amplitude(SIDES_DB))
    with ExitStack() as stack:
        source = stack.enter_context(AudioStream(balanced))
        writer = stack.enter_context(float_wav(stem, sample_rate))
        sides_writer = (
            stack.enter_context(
                AudioWriter(
                    sides, sample_rate=sample_rate, channels=2, format="flac", subtype="PCM_24"
                )
            )
            if has_sides
            else None
        )
        for start in range(0, frames, BLOCK_FRAMES):
            balanced_block = source.read(min(BLOCK_FRAMES, frames - start))
            if sides_writer is None:
                block = strip.process(balanced_block)
            else:
                block, apart = strip.process_apart(balanced_block, bus_width=bus_width)
                sides_writer.write(lower * apart)
            meter.process(block)
            writer.write(block)
    return RenderedStrip(
        meter.result(), strip.compressor.gain_reduction, strip.deesser.gain_reduction, has_sides
    )
