"""The demo's sound effects, placed at the seams of the song. Each returns ``(2, frames)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pipeline.synth.filters import convolve, filtered, resonant_lowpass, room_response
from pipeline.synth.oscillators import modal
from pipeline.synth.score import Song
from pipeline.synth.signals import Signal, decay, noise

__all__ = ["EFFECTS", "Effect"]

Effect = Callable[[Song, int, int, np.random.Generator], Signal]


def _choruses(song: Song) -> list[float]:
    """Return when the choruses begin, in seconds."""
    return [s.first_bar * song.bar_s for s in song.sections if s.letter in "cC"]


def _place(out: Signal, sound: Signal, start: int) -> None:
    """Add ``(2, n)`` at a sample; what lies before or behind the recording is cut."""
    first, last = max(start, 0), min(start + sound.shape[1], out.shape[1])
    if last > first:
        out[:, first:last] += sound[:, first - start : last - start]


def _fade(x: Signal, rate: int, seconds: float = 0.01) -> Signal:
    span = max(min(round(seconds * rate), x.shape[-1] // 2), 1)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(span) / span)
    x[..., :span] *= ramp
    x[..., x.shape[-1] - span :] *= ramp[::-1]
    return x


def _riser(song: Song, frames: int, rate: int, rng: np.random.Generator) -> Signal:
    out = np.zeros((2, frames))
    for start_s in _choruses(song):
        n = min(round(2 * song.bar_s * rate), round(start_s * rate))
        if n < rate // 10:
            continue
        rise = np.linspace(0.0, 1.0, n)
        cutoff = 300.0 * 2.0 ** (5.5 * rise)
        turn = 2.0 * np.pi * np.cumsum(110.0 * 2.0 ** (3.0 * rise)) / rate
        tone = 0.2 * (np.sin(turn) + 0.5 * np.sin(2.0 * turn + 0.3))
        sides = [
            resonant_lowpass(noise(n, rng), cutoff, sample_rate=rate, q=2.5) + tone
            for _ in range(2)
        ]
        sound = filtered(np.stack(sides) * rise**2, highpass_hz=120.0, sample_rate=rate)
        _place(out, _fade(sound, rate), round(start_s * rate) - n)
    return out


def _impact(song: Song, frames: int, rate: int, rng: np.random.Generator) -> Signal:
    n = round(2.2 * rate)
    t = np.arange(n) / rate
    boom = np.sin(2 * np.pi * np.cumsum(38.0 + 55.0 * np.exp(-t / 0.07)) / rate)
    boom *= decay(n, t60_s=1.8, sample_rate=rate)
    sides = []
    for _ in range(2):
        crack = filtered(noise(n, rng), lowpass_hz=4500.0, highpass_hz=150.0, sample_rate=rate)
        crack *= decay(n, t60_s=0.25, sample_rate=rate)
        hall = room_response(1.6, sample_rate=rate, rng=rng, brightness=0.3)
        sides.append(boom + 0.5 * crack + 1.5 * convolve(crack, hall))
    sound = _fade(np.stack(sides), rate, 0.002)
    sound *= np.minimum(1.0, (n - np.arange(n)) / (0.3 * rate))
    out = np.zeros((2, frames))
    for start_s in _choruses(song):
        _place(out, sound, round(start_s * rate))
    return out


def _reverse_cymbal(song: Song, frames: int, rate: int, rng: np.random.Generator) -> Signal:
    n = round(min(1.8, 0.9 * song.bar_s) * rate)
    sides = []
    for _ in range(2):
        hertz = 400.0 * 30.0 ** rng.uniform(0.0, 1.0, 70)
        fade = 2.2 * (400.0 / hertz) ** 0.35
        level = rng.uniform(0.3, 1.0, 70)
        metal = modal(hertz, level, fade, n, sample_rate=rate, phase=rng.uniform(0, 6.28, 70))
        sides.append(metal[::-1].copy())
    sound = _fade(np.stack(sides), rate, 0.004)
    out = np.zeros((2, frames))
    for start_s in _choruses(song):
        _place(out, sound, round(start_s * rate) - n)
    return out


def _vinyl(song: Song, frames: int, rate: int, rng: np.random.Generator) -> Signal:
    surface = np.stack([noise(frames, rng) for _ in range(2)])
    out = 0.05 * filtered(surface, lowpass_hz=3500.0, highpass_hz=90.0, order=1, sample_rate=rate)
    ticks = np.zeros((2, frames))
    count = max(round(14.0 * frames / rate), 1)
    at = rng.integers(0, frames, count)
    ticks[:, at] = rng.normal(0.0, 1.0, (2, count)) * rng.uniform(0.2, 0.8, count)
    return out + filtered(ticks, highpass_hz=900.0, lowpass_hz=8000.0, sample_rate=rate)


def _sub_drop(song: Song, frames: int, rate: int, rng: np.random.Generator) -> Signal:
    n = round(1.9 * rate)
    t = np.arange(n) / rate
    drop = np.sin(2 * np.pi * np.cumsum(31.0 + 60.0 * np.exp(-t / 0.6)) / rate)
    sound = _fade(np.stack([drop * decay(n, t60_s=2.6, sample_rate=rate)] * 2), rate, 0.05)
    out = np.zeros((2, frames))
    for start_s in _choruses(song)[-1:]:
        _place(out, sound, round(start_s * rate))
    return out


def _whoosh(song: Song, frames: int, rate: int, rng: np.random.Generator) -> Signal:
    n = round(1.1 * rate)
    t = np.linspace(0.0, 1.0, n)
    swell = np.sin(np.pi * t**1.6) ** 2
    air = resonant_lowpass(noise(n, rng), 400.0 + 7000.0 * swell, sample_rate=rate, q=1.5)
    air = filtered(air * swell, highpass_hz=200.0, sample_rate=rate)
    sound = np.stack([air * np.cos(0.5 * np.pi * t), air * np.sin(0.5 * np.pi * t)])
    out = np.zeros((2, frames))
    for section in song.sections[1:]:
        start_s = section.first_bar * song.bar_s
        _place(out, _fade(sound.copy(), rate), round((start_s - 0.6) * rate))
    return out


EFFECTS: Mapping[str, Effect] = {
    "riser": _riser,
    "impact": _impact,
    "reverse_cymbal": _reverse_cymbal,
    "vinyl": _vinyl,
    "sub_drop": _sub_drop,
    "whoosh": _whoosh,
}
