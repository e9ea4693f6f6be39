"""The demo's voices: each makes one note of an instrument, dry and at no particular level."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from pipeline.synth.filters import filtered, peaking, resonant_lowpass
from pipeline.synth.oscillators import Shape, modal, oscillator, pluck, vibrato
from pipeline.synth.signals import Signal, adsr, decay, noise

__all__ = [
    "Envelope",
    "Sweep",
    "Voice",
    "blown",
    "bowed",
    "frequency_modulated",
    "plucked_string",
    "struck_bar",
    "struck_string",
    "sub_bass",
    "subtractive",
    "tonewheels",
]


class Voice(Protocol):
    """Makes one note: mono, with its release behind ``length_s``."""

    def __call__(
        self, f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
    ) -> Signal:
        """Return the note as mono float64."""
        ...


def plucked_string(
    *,
    t60_s: float,
    brightness: float,
    damping: float,
    position: float,
    release_s: float = 0.08,
    lowpass_hz: float = 16000.0,
    detune_cents: float = 2.0,
) -> Voice:
    """Return the voice of a plucked string that is damped when its note ends."""

    def voice(
        f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
    ) -> Signal:
        frames = round((length_s + release_s) * rate)
        tuned = f0_hz * 2.0 ** (rng.normal(0.0, detune_cents) / 1200.0)
        # Thick strings ring longer than thin ones.
        out = pluck(
            tuned,
            frames,
            sample_rate=rate,
            rng=rng,
            t60_s=t60_s * (110.0 / f0_hz) ** 0.35,
            brightness=brightness * (0.75 + 0.25 * velocity),
            damping=damping,
            position=position * rng.uniform(0.9, 1.1),
        )
        out = filtered(out, highpass_hz=0.6 * f0_hz, lowpass_hz=lowpass_hz, sample_rate=rate)
        return velocity * out * adsr(frames, sample_rate=rate, attack_s=0.001, release_s=release_s)

    return voice


def struck_string(
    f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
) -> Signal:
    """Return a piano's note: a pair of stiff strings and the thump of the action."""
    k = np.arange(1.0, 25.0)
    stretch = 0.0003 * (f0_hz / 220.0) ** 1.2
    partial = f0_hz * k * np.sqrt(1.0 + stretch * k**2)
    roll = np.exp(-k * (0.17 + 0.22 * (1.0 - velocity)) * (f0_hz / 220.0) ** 0.35)
    strike = np.abs(np.sin(np.pi * k / 8.0)) + 0.08
    fade = 7.0 * (110.0 / f0_hz) ** 0.55 / (1.0 + 0.16 * k)
    frames = round((length_s + 0.25) * rate)
    phase = rng.uniform(0.0, 2.0 * np.pi, len(k))
    out = np.zeros(frames)
    for cents, share in ((-0.6, 0.5), (0.7, 0.5)):
        tuned = partial * 2.0 ** (cents / 1200.0)
        out += modal(tuned, share * roll * strike, fade, frames, sample_rate=rate, phase=phase)
    thump = filtered(noise(frames, rng), lowpass_hz=900.0, highpass_hz=60.0, sample_rate=rate)
    out += 0.12 * velocity * thump * decay(frames, t60_s=0.06, sample_rate=rate)
    return velocity * out * adsr(frames, sample_rate=rate, attack_s=0.002, release_s=0.25)


def struck_bar(
    f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
) -> Signal:
    """Return a vibraphone's note."""
    frames = round((length_s + 0.8) * rate)
    ratio = np.array([1.0, 3.99, 9.6]) * rng.uniform(0.999, 1.001, 3)
    level = np.array([1.0, 0.28 * velocity, 0.12 * velocity**2])
    fade = np.array([3.0, 0.8, 0.25])
    out = modal(f0_hz * ratio, level, fade, frames, sample_rate=rate)
    return velocity * out * adsr(frames, sample_rate=rate, attack_s=0.001, release_s=0.6)


def frequency_modulated(
    *,
    ratio: float,
    index: float,
    index_t60_s: float,
    t60_s: float,
    release_s: float,
    tine: float = 0.0,
) -> Voice:
    """Return Chowning's FM: a carrier and a modulator whose index decays."""

    def voice(
        f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
    ) -> Signal:
        frames = round((length_s + release_s) * rate)
        t = np.arange(frames) / rate
        tuned = f0_hz * 2.0 ** (rng.normal(0.0, 1.5) / 1200.0)
        depth = index * velocity * min(1.0, (0.2 * rate / (f0_hz * ratio)) ** 0.5)
        depth_now = depth * decay(frames, t60_s=index_t60_s, sample_rate=rate)
        out = np.sin(2 * np.pi * tuned * t + depth_now * np.sin(2 * np.pi * tuned * ratio * t))
        out *= decay(frames, t60_s=t60_s, sample_rate=rate)
        if tine and 14.0 * f0_hz < 0.45 * rate:
            ring = decay(frames, t60_s=0.5, sample_rate=rate)
            out += tine * velocity**2 * ring * np.sin(2 * np.pi * 14.0 * tuned * t)
        return velocity * out * adsr(frames, sample_rate=rate, attack_s=0.002, release_s=release_s)

    return voice


def tonewheels(
    f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
) -> Signal:
    """Return a drawbar organ's note, with percussion."""
    frames = round((length_s + 0.03) * rate)
    wheel = np.full(frames, 0.5 * f0_hz)
    out = oscillator("organ", wheel, sample_rate=rate, phase=float(rng.uniform()))
    knock = np.sin(2 * np.pi * 3.0 * f0_hz * np.arange(frames) / rate)
    out += 0.4 * knock * decay(frames, t60_s=0.35, sample_rate=rate)
    return out * adsr(frames, sample_rate=rate, attack_s=0.004, release_s=0.03)


@dataclass(frozen=True)
class Envelope:
    """A note's level over time, as :func:`pipeline.synth.signals.adsr` takes it."""

    attack_s: float
    release_s: float
    decay_s: float = 0.3
    sustain: float = 0.8


@dataclass(frozen=True)
class Sweep:
    """A lowpass that falls, or rises, from ``open_hz`` to ``rest_hz``: 63 % in ``time_s``."""

    open_hz: float
    rest_hz: float
    time_s: float
    q: float = 1.0


def subtractive(
    *shapes: tuple[Shape, float],
    envelope: Envelope,
    sweep: Sweep,
    vibrato_cents: float = 0.0,
    breath: float = 0.0,
) -> Voice:
    """Return oscillators ``(shape, detune in cents)`` through a swept lowpass."""

    def voice(
        f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
    ) -> Signal:
        frames = round((length_s + envelope.release_s) * rate)
        out = np.zeros(frames)
        for shape, cents in shapes:
            curve = vibrato(
                f0_hz * 2.0 ** (cents / 1200.0),
                frames,
                sample_rate=rate,
                rng=rng,
                depth_cents=vibrato_cents,
            )
            out += oscillator(shape, curve, sample_rate=rate, phase=float(rng.uniform()))
        if breath:
            out += breath * noise(frames, rng)
        t = np.arange(frames) / rate
        fall_hz = sweep.open_hz * (0.4 + 0.6 * velocity) - sweep.rest_hz
        cutoff = np.maximum(sweep.rest_hz + fall_hz * np.exp(-t / sweep.time_s), 1.2 * f0_hz)
        out = resonant_lowpass(out, cutoff, sample_rate=rate, q=sweep.q) / len(shapes) ** 0.5
        return velocity * out * adsr(frames, sample_rate=rate, **asdict(envelope))

    return voice


def sub_bass(
    f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
) -> Signal:
    """Return a sine with a trace of its octave."""
    frames = round((length_s + 0.06) * rate)
    curve = vibrato(f0_hz, frames, sample_rate=rate, rng=rng, drift_cents=0.5)
    out = oscillator("sine", curve, sample_rate=rate)
    out += 0.12 * oscillator("sine", 2.0 * curve, sample_rate=rate)
    return velocity * out * adsr(frames, sample_rate=rate, attack_s=0.012, release_s=0.06)


def bowed(*, body_hz: tuple[float, ...], lowpass_hz: float, players: int, cents: float) -> Voice:
    """Return the voice of a desk of bowed strings with the resonances ``body_hz``."""

    def voice(
        f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
    ) -> Signal:
        release_s = 0.18
        frames = round((length_s + release_s) * rate)
        attack_s = min(0.14 - 0.08 * velocity, 0.4 * length_s)
        out = np.zeros(frames)
        for _ in range(players):
            curve = vibrato(
                f0_hz * 2.0 ** (rng.normal(0.0, 5.0) / 1200.0),
                frames,
                sample_rate=rate,
                rng=rng,
                depth_cents=cents * rng.uniform(0.7, 1.2),
                rate_hz=rng.uniform(5.0, 6.2),
                drift_cents=3.0,
            )
            late = round(rng.uniform(0.0, 0.02) * rate) if players > 1 else 0
            tone = oscillator("saw", curve, sample_rate=rate, phase=float(rng.uniform()))
            shape = adsr(frames - late, sample_rate=rate, attack_s=attack_s, release_s=release_s)
            out[late:] += tone[late:] * shape
        rosin = filtered(
            noise(frames, rng), highpass_hz=1800.0, lowpass_hz=7000.0, sample_rate=rate
        )
        out += 0.06 * rosin * adsr(frames, sample_rate=rate, attack_s=0.03, release_s=release_s)
        for k, centre in enumerate(body_hz):
            out = peaking(out, centre, 6.0 - k, q=2.5, sample_rate=rate)
        corner = lowpass_hz * (0.6 + 0.4 * velocity)
        return velocity * filtered(
            out, highpass_hz=0.7 * f0_hz, lowpass_hz=corner, sample_rate=rate, order=1
        )

    return voice


def blown(
    *, shape: Shape, open_hz: float, attack_s: float, breath: float, formant_hz: float
) -> Voice:
    """Return wind: the harder it is blown, the more partials, as in a brass bore."""

    def voice(
        f0_hz: float, length_s: float, velocity: float, rate: int, rng: np.random.Generator
    ) -> Signal:
        frames = round((length_s + 0.1) * rate)
        onset = min(attack_s, 0.3 * length_s)
        pressure = adsr(
            frames, sample_rate=rate, attack_s=onset, release_s=0.09, decay_s=0.15, sustain=0.8
        )
        scoop = 1.0 - 0.012 * np.exp(-np.arange(frames) / (0.03 * rate))
        curve = scoop * vibrato(f0_hz, frames, sample_rate=rate, rng=rng, depth_cents=9.0)
        tone = oscillator(shape, curve, sample_rate=rate, phase=float(rng.uniform()))
        air = filtered(noise(frames, rng), highpass_hz=700.0, sample_rate=rate)
        tone += breath * air * (0.4 + np.exp(-np.arange(frames) / (0.04 * rate)))
        cutoff = 1.1 * f0_hz + open_hz * (0.35 + 0.65 * velocity) * pressure**1.5
        tone = resonant_lowpass(tone, cutoff, sample_rate=rate, q=0.9)
        return velocity * pressure * peaking(tone, formant_hz, 5.0, q=1.2, sample_rate=rate)

    return voice
