"""Short, equally loud excerpts of recordings, small enough to travel inside a page.

A comparison by ear is fair only at equal loudness, so the gain is in the samples: a phone's browser
lets no page set the volume of its players.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from pipeline.audio.stream import probe, read, read_blocks
from pipeline.loudness.meter import SEGMENTS_PER_SECOND, EnergyMeter
from pipeline.units import FloatArray, amplitude_to_db, db_to_amplitude

__all__ = ["Excerpt", "loudest_excerpts"]

MAX_SECONDS = 75.0
TOTAL_SECONDS = 200.0  # at 160 kbit/s and base64, 5.5 MB of page
PEAK_DBFS = -1.0  # room for what the encoder adds
FADE_S = 0.02
_ENCODERS = 2
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
BIT_RATE_LEVEL = 0.5  # libsndfile's scale: 160 kbit/s at 44.1 and 48 kHz


@dataclass(frozen=True)
class Excerpt:
    """A piece of a recording, encoded.

    Parameters
    ----------
    audio
        What is heard, ``(channels, frames)``, after the gain.
    sample_rate
        Of ``audio``, in Hz.
    start_s, duration_s
        Which piece of the recording it is.
    whole
        Whether that is all of it.
    gain_db
        What was applied to make all excerpts equally loud.
    uri
        The same as MP3 in a ``data:`` URI.
    """

    audio: FloatArray
    sample_rate: int
    start_s: float
    duration_s: float
    whole: bool
    gain_db: float
    uri: str


def loudest_excerpts(paths: Sequence[Path]) -> tuple[Excerpt, ...]:
    """Return the loudest piece of each recording, all equally loud.

    Pieces last 75 s at most, less when there are more than two, so that a page which holds them
    all stays small. The quietest one sets the level; nothing is amplified into clipping.

    Parameters
    ----------
    paths
        Audio files that :mod:`pipeline.audio.stream` reads.

    Raises
    ------
    InputError
        If one cannot be read.
    """
    seconds = min(MAX_SECONDS, TOTAL_SECONDS / max(len(paths), 1))
    pieces = [_loudest_piece(path, seconds) for path in paths]
    # The loudness at which each would peak at PEAK_DBFS: the lowest is one that all can have.
    reachable = [
        loudness - max(0.0, peak_db - PEAK_DBFS)
        for loudness, peak_db in (_level(audio, rate) for audio, rate, _, _ in pieces)
        if loudness > -math.inf
    ]
    level = min(reachable, default=-math.inf)

    def excerpt(piece: tuple[FloatArray, int, float, bool]) -> Excerpt:
        audio, rate, start_s, whole = piece
        loudness, _ = _level(audio, rate)
        gain_db = level - loudness if loudness > -math.inf else 0.0
        matched = (audio * np.float32(db_to_amplitude(gain_db))).astype(np.float32)
        duration_s = audio.shape[1] / rate
        return Excerpt(matched, rate, start_s, duration_s, whole, gain_db, _mp3_uri(matched, rate))

    with ThreadPoolExecutor(_ENCODERS) as pool:  # most of the time goes into MP3
        return tuple(pool.map(excerpt, pieces))


def _loudest_piece(path: Path, seconds: float) -> tuple[FloatArray, int, float, bool]:
    """Return audio, sample rate, start in seconds, and whether it is the whole recording."""
    info = probe(path)
    rate = info.sample_rate
    if info.frames <= seconds * rate:
        return read(path)[:2], rate, 0.0, True
    channels = min(info.channels, 2)
    meter = EnergyMeter(sample_rate=rate, channels=channels)
    for block in read_blocks(path):
        meter.process(block[:channels])
    energy = np.concatenate([[0.0], np.cumsum(meter.segment_power())])
    span = min(round(seconds * SEGMENTS_PER_SECOND), energy.size - 1)
    start_s = float(np.argmax(energy[span:] - energy[:-span])) / SEGMENTS_PER_SECOND
    piece = read(path, start_s=start_s, duration_s=seconds)[:2]
    ramp = np.linspace(0.0, 1.0, round(FADE_S * rate), dtype=np.float32)
    piece[:, : ramp.size] *= ramp
    piece[:, -ramp.size :] *= ramp[::-1]
    return piece, rate, start_s, False


def _level(audio: FloatArray, sample_rate: int) -> tuple[float, float]:
    """Return integrated LUFS as heard on two speakers, and the peak in dBFS."""
    both = np.repeat(audio, 2, axis=0) if audio.shape[0] == 1 else audio
    meter = EnergyMeter(sample_rate=sample_rate, channels=2)
    meter.process(both)
    return meter.integrated_lufs, amplitude_to_db(float(np.abs(audio).max(initial=0.0)))


def _mp3_uri(audio: FloatArray, sample_rate: int) -> str:
    if sample_rate not in MP3_RATES:
        rate = 44100 if sample_rate % 11025 == 0 else 48000
        audio = np.asarray(soxr.resample(audio.T, sample_rate, rate), np.float32).T
        sample_rate = rate
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        np.clip(audio, -1.0, 1.0).T,
        sample_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=BIT_RATE_LEVEL,
    )
    return "data:audio/mpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
