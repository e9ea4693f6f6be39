"""The delivered mix as a file: written and tagged as the plan's delivery asks for."""

from __future__ import annotations

from pathlib import Path

from pipeline.audio.tags import write_tags
from pipeline.audio.writer import AudioWriter
from pipeline.loudness.meter import Loudness
from pipeline.plan import Delivery

__all__ = ["delivery_writer", "tag_delivery"]


def delivery_writer(path: Path, delivery: Delivery, *, sample_rate: int) -> AudioWriter:
    """Return a writer of a stereo mix, as its delivery is specified.

    Raises
    ------
    InputError
        When the format cannot hold the subtype or the rate, in Hz.
    """
    return AudioWriter(
        path,
        sample_rate=sample_rate,
        channels=2,
        format=delivery.format,
        subtype=delivery.subtype,
        dither_seed=delivery.dither_seed,
    )


def tag_delivery(path: Path, delivery: Delivery, loudness: Loudness, *, sample_rate: int) -> None:
    """Write into a file of :func:`delivery_writer` what it is, and the loudness of the whole.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    write_tags(
        path,
        {name: getattr(delivery, name) for name in ("title", "artist", "album", "date")},
        loudness,
        sample_rate=sample_rate,
        format=delivery.format,
        subtype=delivery.subtype,
    )
