"""Strings that are plucked, with random strings, bodies and amplifiers, to train recognition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.synth.filters import delayed, filtered, overdrive, peaking
from pipeline.synth.signals import Signal, noise
from pipeline.synth.voices import Voice, plucked_string
from stage1.recognition.training.performance import phrase
from stage1.recognition.training.playing import choose_manner, log_uniform, modulated, perform, wah

__all__ = ["acoustic_guitar", "amplifier", "bass", "body", "electric_guitar", "plucked"]


def amplifier(x: Signal, rng: np.random.Generator, rate: int) -> Signal:
    """Return ``x`` through a random guitar amplifier and its loudspeaker: clean to saturated."""
    drive = log_uniform(rng, 0.4, 60.0)
    x = filtered(x, highpass_hz=float(rng.uniform(60.0, 250.0)), order=1, sample_rate=rate)
    x = peaking(
        x, log_uniform(rng, 500.0, 2500.0), float(rng.uniform(-4, 8)), q=0.7, sample_rate=rate
    )
    if drive > 1.0:
        x = overdrive(x, drive=drive, bias=float(rng.uniform(0.0, 0.3)), sample_rate=rate)
    if drive > 15.0 and rng.uniform() < 0.4:
        x = overdrive(x, drive=float(rng.uniform(2, 6)), bias=0.1, sample_rate=rate)
    x = filtered(
        x,
        highpass_hz=float(rng.uniform(60.0, 130.0)),
        lowpass_hz=log_uniform(rng, 2800.0, 8000.0),
        order=int(rng.integers(1, 5)),
        sample_rate=rate,
    )
    for _ in range(int(rng.integers(2, 6))):
        gain = float(rng.normal(0.0, 4.0))
        x = peaking(
            x, log_uniform(rng, 90.0, 5500.0), gain, q=log_uniform(rng, 0.6, 4.0), sample_rate=rate
        )
    return x


def body(x: Signal, rng: np.random.Generator, rate: int) -> Signal:
    """Return ``x`` through the resonances of a random wooden body."""
    size = float(rng.uniform(0.8, 1.3))
    for centre in (100.0, 205.0, 400.0, 700.0, 1500.0, 3200.0):
        gain = float(rng.normal(3.0, 2.5))
        at = centre * size * float(rng.uniform(0.85, 1.15))
        x = peaking(x, at, gain, q=log_uniform(rng, 1.0, 5.0), sample_rate=rate)
    return filtered(x, highpass_hz=float(rng.uniform(50.0, 110.0)), sample_rate=rate)


def _string(rng: np.random.Generator, *, muted: bool, low: bool = False) -> Voice:
    return plucked_string(
        t60_s=log_uniform(rng, 0.15, 0.6) if muted else log_uniform(rng, 1.5, 8.0),
        brightness=float(rng.uniform(0.15 if low else 0.35, 1.0)),
        damping=float(rng.uniform(0.2, 0.49) if low else rng.uniform(0.04, 0.45)),
        position=float(rng.uniform(0.06, 0.35)),
        release_s=log_uniform(rng, 0.03, 0.25),
        lowpass_hz=log_uniform(rng, 3000.0, 16000.0),
        detune_cents=float(rng.uniform(1.0, 6.0)),
    )


def electric_guitar(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    """Return an electric guitar: chords, riffs or a lead, by most amplifiers or none."""
    manner = choose_manner(
        rng, "power", "power", "strum", "riff", "lead", "lead", "arpeggio", "comp"
    )
    low = {"power": 38, "riff": 40, "lead": 52, "arpeggio": 45}.get(manner, 43)
    high = {"power": 52, "riff": 62, "lead": 79, "arpeggio": 72}.get(manner, 58)
    voice = _string(rng, muted=manner in {"power", "riff", "comp"} and rng.uniform() < 0.35)
    notes = phrase(manner, rng, seconds=seconds, low=low, high=high)
    x = perform(voice, notes, rng, seconds, rate)
    if manner == "lead" or rng.uniform() < 0.2:
        # Bends and finger vibrato: the delay of the whole string moves.
        slow = 2 * np.pi * np.cumsum(rng.uniform(4.5, 6.5) * np.ones(len(x))) / rate
        gate = np.repeat(rng.uniform(size=len(x) // (rate // 2) + 1) < 0.5, rate // 2)[: len(x)]
        width = float(rng.uniform(0.3, 1.6)) * 1e-4 * rate
        x = delayed(x, 2.0 * width + width * np.sin(slow) * _smoothed(gate, rate))
    x += 10.0 ** float(rng.uniform(-4.5, -2.3)) * _hum(len(x), rng, rate)
    if rng.uniform() < 0.25:
        x = wah(x, rng, rate)
    if rng.uniform() < 0.9:
        x = amplifier(x, rng, rate)
    return modulated(x, rng, rate) if rng.uniform() < 0.3 else x


def _smoothed(gate: npt.NDArray[np.bool_], rate: int) -> Signal:
    return filtered(gate.astype(np.float64), lowpass_hz=4.0, sample_rate=rate, order=1)


def _hum(frames: int, rng: np.random.Generator, rate: int) -> Signal:
    mains = float(rng.choice([50.0, 60.0]))
    t = np.arange(frames) / rate
    hum = sum((np.sin(2 * np.pi * mains * k * t + k) / k for k in range(1, 9)), np.zeros(frames))
    return np.asarray(hum + float(rng.uniform(0.2, 2.0)) * noise(frames, rng))


def acoustic_guitar(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    """Return a steel-string or nylon guitar."""
    manner = choose_manner(rng, "strum", "strum", "arpeggio", "riff", "comp")
    voice = plucked_string(
        t60_s=log_uniform(rng, 1.0, 5.0),
        brightness=float(rng.uniform(0.6, 1.0)),
        damping=float(rng.uniform(0.03, 0.3)),
        position=float(rng.uniform(0.08, 0.3)),
        release_s=log_uniform(rng, 0.05, 0.3),
    )
    low = int(rng.choice([40, 45, 50]))
    notes = phrase(manner, rng, seconds=seconds, low=low, high=low + 19)
    x = perform(voice, notes, rng, seconds, rate)
    scrape = filtered(noise(len(x), rng), highpass_hz=2500.0, sample_rate=rate)
    level = filtered(np.abs(x), lowpass_hz=30.0, sample_rate=rate, order=1)
    x = x + float(rng.uniform(0.0, 0.15)) * scrape * level
    return body(x, rng, rate)


def plucked(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    """Return something like a banjo, a harp or a zither."""
    voice = plucked_string(
        t60_s=log_uniform(rng, 0.3, 2.0),
        brightness=1.0,
        damping=float(rng.uniform(0.02, 0.2)),
        position=float(rng.uniform(0.04, 0.15)),
    )
    manner = choose_manner(rng, "arpeggio", "riff", "lead")
    notes = phrase(manner, rng, seconds=seconds, low=55, high=79)
    return body(perform(voice, notes, rng, seconds, rate), rng, rate)


def bass(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    """Return an electric bass, from its pickup or through an amplifier."""
    manner = choose_manner(rng, "bass", "bass", "riff")
    low = int(rng.integers(26, 33))
    notes = phrase(manner, rng, seconds=seconds, low=low, high=low + int(rng.integers(10, 22)))
    voice = _string(rng, muted=rng.uniform() < 0.15, low=True)
    x = perform(voice, notes, rng, seconds, rate)
    if rng.uniform() < 0.7:
        # A magnetic pickup hears velocity where the model has displacement, and the tone knob.
        x = filtered(x, highpass_hz=float(rng.uniform(25.0, 60.0)), order=1,
                     lowpass_hz=log_uniform(rng, 400.0, 6000.0), sample_rate=rate)  # fmt: skip
    if rng.uniform() < 0.7:
        x = overdrive(x, drive=log_uniform(rng, 0.5, 12.0), bias=0.2, sample_rate=rate)
        x = filtered(x, lowpass_hz=log_uniform(rng, 1200.0, 7000.0), sample_rate=rate)
    for _ in range(2):
        gain = float(rng.normal(0.0, 4.0))
        x = peaking(x, log_uniform(rng, 50.0, 2500.0), gain, q=1.0, sample_rate=rate)
    x += 10.0 ** float(rng.uniform(-4.5, -2.8)) * _hum(len(x), rng, rate)
    return x
