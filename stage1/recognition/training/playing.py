"""What the randomly drawn instruments share: notes into sound, and moving effects."""

from __future__ import annotations

import numpy as np

from pipeline.synth.filters import delayed, resonant_lowpass
from pipeline.synth.score import Note
from pipeline.synth.signals import Signal, hertz
from pipeline.synth.voices import Voice
from stage1.recognition.training.performance import Manner

__all__ = ["choose_manner", "log_uniform", "modulated", "perform", "wah"]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number whose logarithm is drawn evenly."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def choose_manner(rng: np.random.Generator, *options: Manner) -> Manner:
    """Return one of ``options``; one that is named twice is twice as likely."""
    return options[int(rng.integers(len(options)))]


def perform(
    voice: Voice, notes: list[Note], rng: np.random.Generator, seconds: float, rate: int
) -> Signal:
    """Return ``notes`` by a voice, three takes of each in turn, shape ``(frames,)``."""
    out = np.zeros(round(seconds * rate))
    made: dict[tuple[float, float, int, int], Signal] = {}
    for turn, note in enumerate(notes):
        layer = max(round(4.0 * note.velocity), 1)
        length = max(round(12.0 * note.length_s), 1) / 12.0
        key = (note.pitch, length, layer, turn % 3)
        if key not in made:
            made[key] = voice(hertz(note.pitch), length, layer / 4.0, rate, rng)
        start = round(note.start_s * rate)
        stop = min(start + len(made[key]), len(out))
        if start < stop:
            out[start:stop] += made[key][: stop - start]
    return out


def wah(x: Signal, rng: np.random.Generator, rate: int) -> Signal:
    """Return ``x`` through a resonance that a foot moves."""
    t = np.arange(len(x)) / rate
    pedal = 0.5 + 0.5 * np.sin(2 * np.pi * float(rng.uniform(0.3, 4.0)) * t + rng.uniform(0, 6))
    return resonant_lowpass(x, 450.0 * 4.0**pedal, sample_rate=rate, q=float(rng.uniform(3, 7)))


def modulated(x: Signal, rng: np.random.Generator, rate: int) -> Signal:
    """Return ``x`` with chorus, tremolo or rotation."""
    turn = 2 * np.pi * np.arange(len(x)) / rate
    if rng.uniform() < 0.4:
        depth = float(rng.uniform(0.2, 0.8))
        return np.asarray(x * (1.0 - depth * (0.5 + 0.5 * np.sin(float(rng.uniform(3, 8)) * turn))))
    late = float(rng.uniform(1.0, 12.0)) * rate / 1000.0
    wave = np.sin(float(rng.uniform(0.2, 6.5)) * turn)
    return np.asarray(x + float(rng.uniform(0.3, 1.0)) * delayed(x, late * (1.0 + 0.15 * wave)))
