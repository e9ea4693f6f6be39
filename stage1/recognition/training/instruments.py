"""Instruments whose parameters are drawn at random, to train recognition by sound.

No two of them sound alike: a classifier that has heard a thousand strings, bodies and amplifiers
has to find what they have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pipeline.roles import Role
from pipeline.synth.filters import delayed, overdrive, resonant_lowpass
from pipeline.synth.oscillators import Shape, oscillator
from pipeline.synth.signals import Signal, decay, hertz, noise
from pipeline.synth.vocals import SINGERS, sing
from pipeline.synth.voices import (
    Envelope,
    Sweep,
    Voice,
    blown,
    bowed,
    frequency_modulated,
    struck_bar,
    struck_string,
    sub_bass,
    subtractive,
    tonewheels,
)
from stage1.recognition.training.guitars import (
    acoustic_guitar,
    bass,
    body,
    electric_guitar,
    plucked,
)
from stage1.recognition.training.performance import phrase
from stage1.recognition.training.playing import choose_manner, log_uniform, modulated, perform, wah

__all__ = ["INSTRUMENTS"]

Maker = Callable[[np.random.Generator, float, int], Signal]
"""Makes a track of some seconds at a sample rate, shape ``(frames,)``."""


def _pick(rng: np.random.Generator, *options: str) -> str:
    return options[int(rng.integers(len(options)))]


def _subtractive(rng: np.random.Generator, *, attack: tuple[float, float], bright: float) -> Voice:
    shapes: tuple[Shape, ...] = ("saw", "square", "triangle", "sine", "saw")
    count = int(rng.integers(1, 6))
    wide = float(rng.uniform(0.0, 14.0))
    chosen = [
        (shapes[int(rng.integers(5))], float(rng.uniform(-wide, wide)) + _octave(rng))
        for _ in range(count)
    ]
    attack_s, release_s = log_uniform(rng, *attack), log_uniform(rng, 0.03, 0.6)
    sweep = Sweep(
        open_hz=log_uniform(rng, 600.0, 12000.0) * bright,
        rest_hz=log_uniform(rng, 200.0, 6000.0) * bright,
        time_s=log_uniform(rng, 0.04, 1.5),
        q=log_uniform(rng, 0.6, 5.0),
    )
    decay_s, sustain = log_uniform(rng, 0.05, 0.8), float(rng.uniform(0.0, 1.0))
    return subtractive(
        *chosen,
        envelope=Envelope(attack_s, release_s, decay_s=decay_s, sustain=sustain),
        sweep=sweep,
        vibrato_cents=float(rng.choice([0.0, 0.0, rng.uniform(5, 40)])),
    )


def _octave(rng: np.random.Generator) -> float:
    return float(rng.choice([0.0, 0.0, 0.0, 0.0, 1200.0, -1200.0, 700.0]))


def _synth_bass(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    manner = choose_manner(rng, "bass", "riff", "arpeggio")
    low = int(rng.integers(24, 34))
    notes = phrase(manner, rng, seconds=seconds, low=low, high=low + 14)
    if rng.uniform() < 0.25:
        x = perform(sub_bass, notes, rng, seconds, rate)
    else:
        x = perform(_subtractive(rng, attack=(0.002, 0.03), bright=0.35), notes, rng, seconds, rate)
    if rng.uniform() < 0.4:
        x = overdrive(x, drive=log_uniform(rng, 1.0, 15.0), bias=0.1, sample_rate=rate)
    return x


def _synth(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    manner = choose_manner(rng, "arpeggio", "arpeggio", "lead", "riff", "comp", "line")
    low = int(rng.integers(46, 70))
    notes = phrase(manner, rng, seconds=seconds, low=low, high=low + 18)
    voice = _subtractive(rng, attack=(0.001, 0.04), bright=1.0)
    if rng.uniform() < 0.2:
        voice = frequency_modulated(
            ratio=float(rng.choice([0.5, 1.0, 1.41, 2.0, 3.5, 7.0])),
            index=log_uniform(rng, 1.0, 10.0),
            index_t60_s=log_uniform(rng, 0.1, 3.0),
            t60_s=log_uniform(rng, 0.3, 4.0),
            release_s=0.1,
        )
    x = perform(voice, notes, rng, seconds, rate)
    if rng.uniform() < 0.3:
        x = wah(x, rng, rate)
    return _pumped(modulated(x, rng, rate), rng, rate) if rng.uniform() < 0.5 else x


def _pad(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    low = int(rng.integers(40, 62))
    notes = phrase("pad", rng, seconds=seconds, low=low, high=low + 14)
    voice = _subtractive(rng, attack=(0.05, 1.2), bright=1.0)
    x = modulated(perform(voice, notes, rng, seconds, rate), rng, rate)
    if rng.uniform() < 0.3:
        x = x + log_uniform(rng, 0.003, 0.1) * noise(len(x), rng) * float(
            np.abs(x).max(initial=0.0)
        )
    return _pumped(x, rng, rate) if rng.uniform() < 0.3 else x


def _pumped(x: Signal, rng: np.random.Generator, rate: int) -> Signal:
    """Return ``x`` ducked on each beat, as by a kick in a side chain."""
    beat = round(60.0 / float(rng.uniform(100.0, 140.0)) * rate)
    within = (np.arange(len(x)) % beat) / beat
    return np.asarray(x * np.clip(0.2 + within / float(rng.uniform(0.3, 0.9)), 0.0, 1.0))


def _piano(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    manner = choose_manner(rng, "comp", "comp", "arpeggio", "line", "pad")
    low = int(rng.integers(36, 64))
    notes = phrase(manner, rng, seconds=seconds, low=low, high=low + 24)
    if rng.uniform() < 0.5:
        notes = sorted(notes + phrase("bass", rng, seconds=seconds, low=30, high=48))
    return body(perform(struck_string, notes, rng, seconds, rate), rng, rate)


def _electric_piano(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    manner = choose_manner(rng, "comp", "comp", "arpeggio", "pad")
    notes = phrase(manner, rng, seconds=seconds, low=45, high=70)
    voice = frequency_modulated(
        ratio=float(rng.choice([1.0, 1.0, 1.0, 2.0, 3.0])),
        index=log_uniform(rng, 0.4, 3.0),
        index_t60_s=log_uniform(rng, 0.5, 3.0),
        t60_s=log_uniform(rng, 1.5, 6.0),
        release_s=0.1,
        tine=float(rng.uniform(0.0, 0.25)),
    )
    x = perform(voice, notes, rng, seconds, rate)
    if rng.uniform() < 0.4:
        x = overdrive(x, drive=log_uniform(rng, 0.8, 5.0), bias=0.2, sample_rate=rate)
    return modulated(x, rng, rate) if rng.uniform() < 0.5 else x


def _organ(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    manner = choose_manner(rng, "pad", "comp", "line")
    notes = phrase(manner, rng, seconds=seconds, low=45, high=72)
    x = perform(tonewheels, notes, rng, seconds, rate)
    if rng.uniform() < 0.6:
        x = overdrive(x, drive=log_uniform(rng, 0.8, 8.0), bias=0.1, sample_rate=rate)
    return modulated(x, rng, rate)


def _mallet(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    manner = choose_manner(rng, "arpeggio", "riff", "line")
    notes = phrase(manner, rng, seconds=seconds, low=55, high=84)
    x = perform(struck_bar, notes, rng, seconds, rate)
    return modulated(x, rng, rate) if rng.uniform() < 0.4 else x


def _strings(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    low = int(rng.choice([36, 48, 55, 60]))
    manner = choose_manner(rng, "line", "line", "pad", "riff")
    notes = phrase(manner, rng, seconds=seconds, low=low, high=low + 22)
    size = 440.0 / hertz(low + 12)
    voice = bowed(
        body_hz=tuple(
            c / size**0.5 * rng.uniform(0.8, 1.25) for c in (290.0, 480.0, 1100.0, 2600.0)
        ),
        lowpass_hz=log_uniform(rng, 2500.0, 9000.0),
        players=int(rng.choice([1, 1, 2, 4])),
        cents=float(rng.uniform(5.0, 35.0)),
    )
    return perform(voice, notes, rng, seconds, rate)


def _wind(rng: np.random.Generator, seconds: float, rate: int, *, brass: bool) -> Signal:
    low = int(rng.integers(40, 62) if brass else rng.integers(46, 74))
    manner = choose_manner(rng, "line", "lead", "riff")
    notes = phrase(manner, rng, seconds=seconds, low=low, high=low + 20)
    reeds: tuple[Shape, ...] = ("reed", "sine", "triangle", "square")
    voice = blown(
        shape="saw" if brass else reeds[int(rng.integers(4))],
        open_hz=log_uniform(rng, 900.0, 7000.0),
        attack_s=log_uniform(rng, 0.015, 0.09),
        breath=log_uniform(rng, 0.005, 0.08) if brass else log_uniform(rng, 0.01, 0.3),
        formant_hz=log_uniform(rng, 500.0, 2000.0),
    )
    return perform(voice, notes, rng, seconds, rate)


def _brass(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    x = _wind(rng, seconds, rate, brass=True)
    if rng.uniform() < 0.3:
        x = x + delayed(_wind(rng, seconds, rate, brass=True), 300.0)
    return x


def _woodwind(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    return _wind(rng, seconds, rate, brass=False)


def _voice(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    name = _pick(rng, *SINGERS, "lead", "adlib", "gang", "lead")
    manner = choose_manner(rng, "line", "lead", "riff", "riff")
    low = {"bass": 40, "tenor": 48, "soprano": 62, "alto": 57}.get(name, int(rng.integers(45, 62)))
    notes = phrase(manner, rng, seconds=seconds, low=low, high=low + 14)
    # Made at another rate, the whole person is larger or smaller.
    size = float(rng.uniform(0.85, 1.2))
    stretched = [n._replace(start_s=n.start_s / size, length_s=n.length_s / size) for n in notes]
    key = int(rng.integers(2**31))
    x = sing(name, stretched, round(seconds * rate / size), key, sample_rate=rate)
    at = np.arange(round(seconds * rate)) / size
    return np.interp(at, np.arange(len(x)), x, right=0.0)


def _effect(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    """Return risers, falls, blasts and sweeps of noise and tones, far between."""
    out = np.zeros(round(seconds * rate))
    at = float(rng.uniform(0.0, 2.0))
    while at < seconds - 0.5:
        span = min(log_uniform(rng, 0.4, 8.0), seconds - at)
        n = round(span * rate)
        line = np.linspace(0.0, 1.0, n)
        rise = line if rng.uniform() < 0.5 else line[::-1]
        curve = log_uniform(rng, 100.0, 1500.0) * 2.0 ** (float(rng.uniform(1.0, 6.0)) * rise)
        x = resonant_lowpass(noise(n, rng), curve, sample_rate=rate, q=log_uniform(rng, 0.7, 8.0))
        if rng.uniform() < 0.4:
            x = x + float(rng.uniform(0.2, 3.0)) * oscillator("saw", 0.3 * curve, sample_rate=rate)
        shape = rise ** float(rng.uniform(0.5, 3.0)) * np.minimum(1.0, 20.0 * line[::-1])
        if rng.uniform() < 0.2:
            shape = decay(n, t60_s=log_uniform(rng, 0.5, 3.0), sample_rate=rate)
        first = round(at * rate)
        out[first : first + n] += (x * shape)[: len(out) - first]
        at += span + log_uniform(rng, 0.3, 6.0)
    return out


INSTRUMENTS: Mapping[Role, tuple[Maker, float]] = {
    # role: (its maker, how many of it are wanted, against the others)
    Role.ELECTRIC_GUITAR: (electric_guitar, 3.0),
    Role.ACOUSTIC_GUITAR: (acoustic_guitar, 2.0),
    Role.PLUCKED: (plucked, 0.5),
    Role.BASS: (bass, 2.5),
    Role.SYNTH_BASS: (_synth_bass, 1.2),
    Role.SYNTH: (_synth, 2.0),
    Role.SYNTH_PAD: (_pad, 1.2),
    Role.PIANO: (_piano, 1.0),
    Role.ELECTRIC_PIANO: (_electric_piano, 0.8),
    Role.ORGAN: (_organ, 0.8),
    Role.MALLET: (_mallet, 0.6),
    Role.STRINGS: (_strings, 1.5),
    Role.BRASS: (_brass, 0.9),
    Role.WOODWIND: (_woodwind, 0.9),
    Role.LEAD_VOCAL: (_voice, 2.0),
    Role.EFFECT: (_effect, 0.8),
}
"""A maker of tracks for each role that can be synthesised from nothing."""
