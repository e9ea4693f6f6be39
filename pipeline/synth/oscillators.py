"""What makes a sound of the demo: wavetables, decaying modes and plucked strings.

Nothing here knows what an instrument or a song is.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from pipeline.jit import kernel
from pipeline.synth.filters import filtered
from pipeline.synth.signals import Signal

__all__ = [
    "Shape",
    "modal",
    "oscillator",
    "pluck",
    "vibrato",
]

Shape: TypeAlias = Literal["sine", "saw", "square", "triangle", "glottal", "reed", "organ"]


_TABLE_SIZE = 4096
_NYQUIST_SHARE = 0.46


def _spectrum(shape: Shape, partials: int) -> Signal:
    k = np.arange(1, partials + 1, dtype=np.float64)
    match shape:
        case "sine":
            return np.where(k == 1, 1.0, 0.0)
        case "saw":
            return 0.6 / k
        case "square":
            return np.where(k % 2 == 1, 1.2 / k, 0.0)
        case "triangle":
            return np.where(k % 2 == 1, np.where(k % 4 == 1, 0.8, -0.8) / k**2, 0.0)
        case "glottal":  # the fall of the pulse itself is in the levels of the formants
            return 1.0 / (1.0 + (k / 10.0) ** 1.1)
        case "reed":
            return np.where(k % 2 == 1, 0.9, 0.45) / (1.0 + (k / 3.0) ** 1.4)
        case "organ":  # drawbars 16', 8', 5 1/3', 4', 2 2/3' and 2' of a tone an octave below
            bars = np.zeros(max(partials, 12))
            bars[[0, 1, 2, 3, 5, 7]] = 0.6, 0.8, 0.7, 0.45, 0.25, 0.2
            return bars[:partials]


@lru_cache(maxsize=256)
def _wavetable(shape: Shape, partials: int) -> Signal:
    spectrum = np.zeros(_TABLE_SIZE // 2 + 1, dtype=np.complex128)
    spectrum[1 : partials + 1] = -0.5j * _TABLE_SIZE * _spectrum(shape, partials)
    return np.append(table := np.fft.irfft(spectrum, _TABLE_SIZE), table[0])


@kernel
def _oscillate(table: Signal, increment: Signal, phase: float) -> Signal:
    size = len(table) - 1
    out = np.empty(len(increment))
    for i in range(len(increment)):
        position = phase * size
        k = int(position)
        out[i] = table[k] + (position - k) * (table[k + 1] - table[k])
        phase += increment[i]
        phase -= math.floor(phase)
    return out


def oscillator(
    shape: Shape, frequency_hz: Signal, *, sample_rate: int, phase: float = 0.0
) -> Signal:
    """Return a band-limited periodic wave; its wavetable holds no partial above Nyquist.

    Parameters
    ----------
    shape
        The harmonic spectrum.
    frequency_hz
        Instantaneous frequency, shape ``(frames,)``.
    phase
        Start, as a share of a period in [0, 1).
    """
    highest = float(frequency_hz.max(initial=20.0))
    room = max(int(_NYQUIST_SHARE * sample_rate / highest), 1)
    # Steps of a third of an octave keep the tables few and lose little brightness.
    partials = min(int(2.0 ** (math.floor(3.0 * math.log2(room)) / 3.0)), _TABLE_SIZE // 8)
    return _oscillate(_wavetable(shape, partials), frequency_hz / sample_rate, phase % 1.0)


def vibrato(
    frequency_hz: float,
    frames: int,
    *,
    sample_rate: int,
    rng: np.random.Generator,
    depth_cents: float = 0.0,
    rate_hz: float = 5.5,
    onset_s: float = 0.25,
    drift_cents: float = 2.0,
) -> Signal:
    """Return a frequency curve with delayed vibrato and slow drift, shape ``(frames,)``."""
    t = np.arange(frames) / sample_rate
    swell = np.clip((t - onset_s) / 0.3, 0.0, 1.0)
    wave = np.sin(2 * np.pi * (rate_hz * rng.uniform(0.94, 1.06) * t + rng.uniform()))
    knots = max(2, int(frames / sample_rate * 6) + 2)
    drift = np.interp(t, np.arange(knots) / 6.0, rng.normal(0.0, drift_cents, knots))
    return frequency_hz * np.exp2((depth_cents * swell * wave + drift) / 1200.0)


@kernel
def _modal(
    frequency: Signal, amplitude: Signal, t60: Signal, phase: Signal, frames: int, rate: float
) -> Signal:
    out = np.zeros(frames)
    for k in range(len(frequency)):
        radius = math.exp(-6.907755 / (t60[k] * rate))
        turn = 2.0 * math.pi * frequency[k] / rate
        a, b = 2.0 * radius * math.cos(turn), -radius * radius
        older = amplitude[k] * math.sin(phase[k] - turn) / radius
        old = amplitude[k] * math.sin(phase[k])
        # Past -90 dB of its start a partial is inaudible; stopping there is most of the speed.
        end = min(frames, int(1.5 * t60[k] * rate) + 1)
        for i in range(end):
            out[i] += old
            older, old = old, a * old + b * older
    return out


def modal(
    frequency_hz: Signal,
    amplitude: Signal,
    t60_s: Signal,
    frames: int,
    *,
    sample_rate: int,
    phase: Signal | None = None,
) -> Signal:
    """Return a sum of decaying sinusoids: struck bars, skins, strings and plates.

    Partials above 0.46 of the sample rate are left out.
    """
    keep = frequency_hz < _NYQUIST_SHARE * sample_rate
    start = np.zeros_like(frequency_hz) if phase is None else phase
    return _modal(
        frequency_hz[keep], amplitude[keep], t60_s[keep], start[keep], frames, float(sample_rate)
    )


@kernel
def _pluck(excitation: Signal, period: float, gain: float, damping: float, frames: int) -> Signal:
    # The loop is: integer delay, first-order allpass for the fraction, two-point lowpass.
    loop = period - damping
    whole = int(loop - 0.3)
    fraction = loop - whole
    allpass = (1.0 - fraction) / (1.0 + fraction)
    line = np.zeros(whole)
    out = np.empty(frames)
    previous, last_in, last_out = 0.0, 0.0, 0.0
    for i in range(frames):
        k = i % whole
        x = line[k]
        low = (1.0 - damping) * x + damping * previous
        previous = x
        shifted = allpass * low + last_in - allpass * last_out
        last_in, last_out = low, shifted
        value = gain * shifted
        if i < len(excitation):
            value += excitation[i]
        line[k] = value
        out[i] = value
    return out


def pluck(
    frequency_hz: float,
    frames: int,
    *,
    sample_rate: int,
    rng: np.random.Generator,
    t60_s: float = 3.0,
    brightness: float = 0.6,
    damping: float = 0.3,
    position: float = 0.18,
) -> Signal:
    """Return a plucked string: extended Karplus-Strong (Jaffe and Smith, 1983).

    Parameters
    ----------
    t60_s
        Decay of the fundamental.
    brightness
        0 (flesh of the thumb) to 1 (hard pick).
    damping
        0 to 0.5: how fast the upper partials die.
    position
        Where the string is plucked, as a share of its length; notches the partials at 1/position.
    """
    period = sample_rate / frequency_hz
    # A string's displacement falls by 6 dB an octave; a flick, and the roughness of a finger.
    burst = 0.25 * rng.uniform(-1.0, 1.0, int(period) + 1)
    burst[0] += 0.5 * len(burst) ** 0.5
    burst = filtered(burst, lowpass_hz=1.5 * frequency_hz, order=1, sample_rate=sample_rate)
    corner = min(500.0 * 2.0 ** (4.5 * brightness), 0.45 * sample_rate)
    burst = filtered(burst, lowpass_hz=corner, sample_rate=sample_rate)
    burst -= burst.mean()
    comb = max(int(position * period), 1)
    burst = np.append(burst, np.zeros(comb))
    burst[comb:] -= burst[:-comb].copy()
    # What the two-point lowpass takes from the fundamental is given back, short of instability.
    turn = 2.0 * math.pi / period
    lost = math.sqrt(1.0 - 2.0 * damping * (1.0 - damping) * (1.0 - math.cos(turn)))
    gain = min(10.0 ** (-3.0 * period / (t60_s * sample_rate)) / lost, 0.9999)
    return _pluck(burst, period, gain, damping, frames)
