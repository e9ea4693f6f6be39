"""Patches of the corpus: voices whose parameters are drawn, so that no two are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.synth.oscillators import Shape, modal
from pipeline.synth.score import Note
from pipeline.synth.signals import Signal, adsr, decay, hertz, noise
from pipeline.synth.voices import (
    Envelope,
    Sweep,
    Voice,
    blown,
    bowed,
    frequency_modulated,
    plucked_string,
    struck_bar,
    sub_bass,
    subtractive,
    tonewheels,
)
from stage2.corpus.score import log_uniform

__all__ = [
    "analogue",
    "brass",
    "desk",
    "electric_piano",
    "mallet",
    "operators",
    "organ",
    "perform",
    "piano",
    "pure_bass",
    "string",
    "woodwind",
]

_SHAPES: tuple[Shape, ...] = ("saw", "square", "triangle", "sine", "saw", "reed", "organ")
_LAYERS = 3
_TAKES = 2


def perform(
    voice: Voice,
    notes: Sequence[Note],
    frames: int,
    rng: np.random.Generator,
    *,
    rate: int,
    tuning_cents: float = 0.0,
) -> Signal:
    """Return ``notes`` by a voice, shape ``(frames,)``; equal notes share two takes in turn."""
    out = np.zeros(frames)
    made: dict[tuple[float, float, int, int], Signal] = {}
    key = int(rng.integers(2**31))
    for turn, note in enumerate(notes):
        start = round(note.start_s * rate)
        if start >= frames:
            continue
        layer = max(round(note.velocity * _LAYERS), 1)
        length_s = max(round(note.length_s * 20.0), 1) / 20.0
        chosen = (note.pitch, length_s, layer, turn % _TAKES)
        if chosen not in made:
            own = np.random.default_rng([key, len(made)])
            f0 = hertz(note.pitch + tuning_cents / 100.0)
            made[chosen] = voice(f0, length_s, layer / _LAYERS, rate, own)
        sound = made[chosen]
        stop = min(start + len(sound), frames)
        out[start:stop] += sound[: stop - start] * (note.velocity * _LAYERS / layer)
    return out


def string(
    rng: np.random.Generator, *, bright: tuple[float, float], ring_s: tuple[float, float]
) -> Voice:
    """Return a plucked string, from a felt-muted bass to a harpsichord."""
    return plucked_string(
        t60_s=log_uniform(rng, *ring_s),
        brightness=float(rng.uniform(*bright)),
        damping=float(rng.uniform(0.05, 0.45)),
        position=float(rng.uniform(0.06, 0.35)),
        release_s=log_uniform(rng, 0.02, 0.2),
        lowpass_hz=log_uniform(rng, 4000.0, 17000.0),
        detune_cents=float(rng.uniform(0.5, 5.0)),
    )


def analogue(
    rng: np.random.Generator, *, attack: tuple[float, float], bright: float = 1.0
) -> Voice:
    """Return one to four oscillators of any shape through a swept resonant lowpass."""
    wide = float(rng.uniform(0.0, 16.0))
    octaves = (0.0, 0.0, 0.0, 0.0, 1200.0, -1200.0, 702.0)
    oscillators = [
        (
            _SHAPES[int(rng.integers(len(_SHAPES)))],
            float(rng.uniform(-wide, wide)) + (float(rng.choice(octaves)) if k else 0.0),
        )
        for k in range(int(rng.integers(1, 5)))
    ]
    attack_s, release_s = log_uniform(rng, *attack), log_uniform(rng, 0.03, 0.5)
    sweep = Sweep(
        open_hz=log_uniform(rng, 700.0, 14000.0) * bright,
        rest_hz=log_uniform(rng, 250.0, 7000.0) * bright,
        time_s=log_uniform(rng, 0.03, 1.5),
        q=log_uniform(rng, 0.6, 4.5),
    )
    decay_s, sustain = log_uniform(rng, 0.05, 0.8), float(rng.uniform(0.1, 1.0))
    return subtractive(
        *oscillators,
        envelope=Envelope(attack_s, release_s, decay_s=decay_s, sustain=sustain),
        sweep=sweep,
        vibrato_cents=float(rng.choice([0.0, 0.0, rng.uniform(4.0, 30.0)])),
        breath=float(rng.choice([0.0, 0.0, 0.0, rng.uniform(0.02, 0.2)])),
    )


def operators(rng: np.random.Generator, *, sustained: bool = False) -> Voice:
    """Return two-operator FM: bells, metal, glass, basses."""
    return frequency_modulated(
        ratio=float(rng.choice([0.5, 1.0, 1.0, 1.41, 2.0, 3.0, 3.5, 5.0, 7.0])),
        index=log_uniform(rng, 0.6, 8.0),
        index_t60_s=log_uniform(rng, 0.1, 3.0) * (4.0 if sustained else 1.0),
        t60_s=log_uniform(rng, 0.4, 5.0) * (6.0 if sustained else 1.0),
        release_s=log_uniform(rng, 0.03, 0.6),
        tine=float(rng.choice([0.0, rng.uniform(0.02, 0.25)])),
    )


def electric_piano(rng: np.random.Generator) -> Voice:
    """Return tines or reeds struck by hammers, as FM."""
    return frequency_modulated(
        ratio=float(rng.choice([1.0, 1.0, 1.0, 2.0, 3.0])),
        index=log_uniform(rng, 0.7, 4.0),
        index_t60_s=log_uniform(rng, 0.5, 3.0),
        t60_s=log_uniform(rng, 1.5, 6.0),
        release_s=0.1,
        tine=float(rng.uniform(0.0, 0.25)),
    )


def piano(rng: np.random.Generator) -> Voice:
    """Return a piano, between a felted upright and a hard concert grand."""
    dark = log_uniform(rng, 0.06, 0.4)
    place = float(rng.uniform(6.5, 9.5))
    ring_s = log_uniform(rng, 2.5, 9.0)
    stretch = log_uniform(rng, 1e-4, 1e-3)
    unison = float(rng.uniform(0.3, 6.0))
    thump = log_uniform(rng, 0.02, 0.3)
    k = np.arange(1.0, 19.0)

    def voice(
        f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
    ) -> Signal:
        frames = round((length_s + 0.25) * rate)
        partial = f0_hz * k * np.sqrt(1.0 + stretch * (f0_hz / 220.0) ** 1.2 * k**2)
        level = np.exp(-k * (dark + 0.2 * (1.0 - velocity)) * (f0_hz / 220.0) ** 0.35)
        level *= np.abs(np.sin(np.pi * k / place)) + 0.06
        fade = ring_s * (110.0 / f0_hz) ** 0.55 / (1.0 + 0.16 * k)
        phase = rng.uniform(0.0, 2.0 * np.pi, len(k))
        out = modal(partial, level, fade, frames, sample_rate=rate, phase=phase)
        # The second string of a unison beats with the strong partials alone.
        beat = partial[:8] * 2.0 ** (unison / 1200.0)
        out += modal(beat, 0.6 * level[:8], fade[:8], frames, sample_rate=rate, phase=phase[:8])
        knock = min(round(0.06 * rate), frames)
        out[:knock] += thump * velocity * noise(knock, rng) * decay(
            knock, t60_s=0.05, sample_rate=rate
        )  # fmt: skip
        return velocity * out * adsr(frames, sample_rate=rate, attack_s=0.002, release_s=0.22)

    return voice


def mallet(rng: np.random.Generator) -> Voice:
    """Return bars or tubes that are struck: vibraphone, marimba, glockenspiel, kalimba."""
    if rng.uniform() < 0.3:
        return struck_bar
    ratio = np.array([1.0, log_uniform(rng, 2.6, 4.2), log_uniform(rng, 5.5, 10.5), 13.0])
    level = np.array([1.0, *(log_uniform(rng, 0.05, 0.5) for _ in range(2)), 0.03])
    fade = log_uniform(rng, 0.25, 3.5) / np.array([1.0, 3.0, 8.0, 12.0])

    def voice(
        f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
    ) -> Signal:
        frames = round((length_s + 0.5) * rate)
        struck = level * velocity ** np.arange(4.0)
        out = modal(f0_hz * ratio, struck, fade, frames, sample_rate=rate)
        return velocity * out * adsr(frames, sample_rate=rate, attack_s=0.001, release_s=0.4)

    return voice


def organ(rng: np.random.Generator) -> Voice:
    """Return an organ: drawbars, or oscillators without an envelope."""
    if rng.uniform() < 0.6:
        return tonewheels
    return subtractive(
        ("organ", 0.0),
        (_SHAPES[int(rng.integers(len(_SHAPES)))], float(rng.uniform(-5.0, 1205.0))),
        envelope=Envelope(attack_s=0.01, release_s=0.05, sustain=1.0),
        sweep=Sweep(
            open_hz=log_uniform(rng, 1500.0, 9000.0),
            rest_hz=log_uniform(rng, 1500.0, 9000.0),
            time_s=0.5,
        ),
    )


def pure_bass(rng: np.random.Generator) -> Voice:
    """Return a sub bass: a sine, or one whose pitch falls into the note, as that of an 808."""
    if rng.uniform() < 0.4:
        return sub_bass
    bend, fall_s = log_uniform(rng, 0.1, 1.5), log_uniform(rng, 0.01, 0.06)
    t60_s = log_uniform(rng, 0.6, 4.0)

    def voice(
        f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
    ) -> Signal:
        frames = round((length_s + 0.08) * rate)
        t = np.arange(frames) / rate
        turns = f0_hz * (t - bend * fall_s * np.exp(-t / fall_s))
        out = np.sin(2.0 * np.pi * turns) * decay(frames, t60_s=t60_s, sample_rate=rate)
        return velocity * out * adsr(frames, sample_rate=rate, attack_s=0.002, release_s=0.08)

    return voice


def desk(rng: np.random.Generator, *, size: float, players: int) -> Voice:
    """Return bowed strings; ``size`` is that of the body, 1 for a violin."""
    bodies = (290.0, 480.0, 1100.0, 2600.0)
    return bowed(
        body_hz=tuple(float(c / size * rng.uniform(0.8, 1.25)) for c in bodies),
        lowpass_hz=log_uniform(rng, 2500.0, 10000.0),
        players=players,
        cents=float(rng.uniform(4.0, 30.0)),
    )


def brass(rng: np.random.Generator, *, bright: float) -> Voice:
    """Return a brass instrument."""
    return blown(
        shape="saw",
        open_hz=log_uniform(rng, 2000.0, 10000.0) * bright,
        attack_s=log_uniform(rng, 0.015, 0.09),
        breath=log_uniform(rng, 0.005, 0.06),
        formant_hz=log_uniform(rng, 400.0, 1800.0),
    )


def woodwind(rng: np.random.Generator, *shapes: Shape) -> Voice:
    """Return a wind instrument whose bore makes one of ``shapes``."""
    return blown(
        shape=shapes[int(rng.integers(len(shapes)))],
        open_hz=log_uniform(rng, 1500.0, 9000.0),
        attack_s=log_uniform(rng, 0.02, 0.08),
        breath=log_uniform(rng, 0.01, 0.3),
        formant_hz=log_uniform(rng, 500.0, 2000.0),
    )
