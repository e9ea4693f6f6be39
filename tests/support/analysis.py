"""Tracks measured from memory."""

from __future__ import annotations

import numpy as np

from pipeline.audio.samples import HeldSamples
from pipeline.loudness.meter import BLOCK_FRAMES
from stage1.features import TrackAnalyser
from stage1.records import TrackFeatures


def analyse_audio(audio: np.ndarray, *, name: str, sample_rate: int) -> TrackFeatures:
    """Return everything that is measured of ``(channels, frames)``."""
    audio = np.ascontiguousarray(audio, np.float32)
    channels, frames = audio.shape
    analyser = TrackAnalyser(sample_rate=sample_rate, channels=channels, frames=frames)
    for start in range(0, frames, BLOCK_FRAMES):
        analyser.process(audio[:, start : start + BLOCK_FRAMES])
    return analyser.result(HeldSamples(audio, sample_rate=sample_rate), name=name)
