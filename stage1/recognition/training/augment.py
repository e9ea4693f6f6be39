"""What happens to a track between the instrument and the file, drawn at random for training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import signal

from pipeline.synth.filters import convolve, filtered, overdrive, peaking, room_response
from pipeline.synth.signals import Signal, noise
from stage1.recognition.training.playing import log_uniform

__all__ = ["augmented"]


def augmented(
    audio: Signal,
    rng: np.random.Generator,
    *,
    sample_rate: int,
    bleed: Sequence[Signal] = (),
    strength: float = 1.0,
) -> Signal:
    """Return a track as another engineer would have recorded and treated it.

    Parameters
    ----------
    audio
        ``(channels, frames)``.
    bleed
        Other instruments, mono, that may be heard in the background.
    strength
        0 (nothing but its level) to 1: how likely each treatment is.

    Returns
    -------
    ndarray
        ``(channels, frames)``, at a peak between -30 and 0 dBFS.
    """
    x = np.array(audio, np.float64)

    def drawn(chance: float) -> bool:
        return bool(rng.uniform() < chance * strength)

    if x.shape[0] == 2 and drawn(0.5):
        x = x.mean(axis=0, keepdims=True)
    if drawn(0.5):
        x = _faster(x, 2.0 ** float(rng.uniform(-0.25, 0.25)))
    if drawn(0.7):
        x = _equalised(x, rng, sample_rate)
    if drawn(0.4):
        x = _compressed(x, rng, sample_rate)
    if drawn(0.15):
        drive = log_uniform(rng, 0.5, 4.0)
        x = np.stack([overdrive(row, drive=drive, bias=0.1, sample_rate=sample_rate) for row in x])
    if drawn(0.15):
        x = _echoed(x, rng, sample_rate)
    if drawn(0.45):
        x = _in_room(x, rng, sample_rate)
    level = float(np.sqrt(np.mean(x**2))) + 1e-12
    if bleed and drawn(0.3):
        other = bleed[int(rng.integers(len(bleed)))]
        first = int(rng.integers(len(other)))
        spill = np.resize(np.roll(other, -first), x.shape[1])
        spill = spill / (float(np.sqrt(np.mean(spill**2))) + 1e-12)
        x = x + level * 10.0 ** (float(rng.uniform(-45.0, -18.0)) / 20.0) * spill
    if drawn(0.5):
        hiss = np.stack([noise(x.shape[1], rng) for _ in x])
        if rng.uniform() < 0.5:
            hiss = np.asarray(signal.lfilter([1.0], [1.0, -0.97], hiss, axis=1)) * 0.25
        x = x + level * 10.0 ** (float(rng.uniform(-75.0, -32.0)) / 20.0) * hiss
    if drawn(0.3):
        x = filtered(
            x, lowpass_hz=log_uniform(rng, 6000.0, 18000.0), order=4, sample_rate=sample_rate
        )
    if x.shape[0] == 1 and drawn(0.1):
        x = _widened(x, rng, sample_rate)
    peak = float(np.abs(x).max(initial=0.0))
    return x * (10.0 ** (float(rng.uniform(-30.0, 0.0)) / 20.0) / peak) if peak > 0.0 else x


def _faster(x: Signal, ratio: float) -> Signal:
    at = np.arange(0.0, x.shape[1] - 1.0, ratio)
    return np.stack([np.interp(at, np.arange(x.shape[1]), row) for row in x])


def _equalised(x: Signal, rng: np.random.Generator, rate: int) -> Signal:
    for _ in range(int(rng.integers(1, 4))):
        x = peaking(x, log_uniform(rng, 60.0, 12000.0), float(rng.normal(0.0, 4.5)),
                    q=log_uniform(rng, 0.4, 3.0), sample_rate=rate)  # fmt: skip
    if rng.uniform() < 0.3:
        x = filtered(x, highpass_hz=log_uniform(rng, 20.0, 120.0), order=1, sample_rate=rate)
    if rng.uniform() < 0.5:
        # A tilt of some dB over the whole spectrum: a microphone's colour and distance.
        pole = 0.5 if rng.uniform() < 0.5 else -0.5
        tilted = np.asarray(signal.lfilter([1.0 - abs(pole)], [1.0, -pole], x, axis=1))
        share = float(rng.uniform(0.0, 0.8))
        x = (1.0 - share) * x + share * tilted
    return x


def _compressed(x: Signal, rng: np.random.Generator, rate: int) -> Signal:
    hop = 256
    level = np.abs(x).max(axis=0)
    pad = (-len(level)) % hop
    blocks = np.pad(level, (0, pad)).reshape(-1, hop).max(axis=1)
    keep = float(np.exp(-hop / (rate * log_uniform(rng, 0.03, 0.5))))
    held = np.empty(len(blocks))
    state = 0.0
    for k, value in enumerate(blocks):
        state = max(float(value), keep * state)
        held[k] = state
    threshold = float(np.percentile(held, 95.0)) * 10.0 ** (float(rng.uniform(-24, -3)) / 20.0)
    over = np.maximum(held, 1e-9) / max(threshold, 1e-9)
    slope = 1.0 - 1.0 / log_uniform(rng, 1.5, 12.0)
    gain = np.where(over > 1.0, over ** (-slope), 1.0)
    times = np.arange(len(blocks)) * hop
    return np.asarray(x * np.interp(np.arange(x.shape[1]), times, gain))


def _echoed(x: Signal, rng: np.random.Generator, rate: int) -> Signal:
    lag = round(float(rng.uniform(0.08, 0.6)) * rate)
    out = x.copy()
    feedback = float(rng.uniform(0.1, 0.5))
    for k in range(1, 4):
        if k * lag < x.shape[1]:
            out[:, k * lag :] += feedback**k * x[:, : x.shape[1] - k * lag]
    return out


def _in_room(x: Signal, rng: np.random.Generator, rate: int) -> Signal:
    t60 = log_uniform(rng, 0.15, 2.5)
    wet = log_uniform(rng, 0.05, 0.8)
    bright = float(rng.uniform(0.1, 0.9))
    rows = []
    for row in x:
        response = room_response(t60, sample_rate=rate, rng=rng, brightness=bright)
        rows.append(row + wet * convolve(row, response))
    return np.stack(rows)


def _widened(x: Signal, rng: np.random.Generator, rate: int) -> Signal:
    lag = round(float(rng.uniform(0.0005, 0.02)) * rate)
    late = np.concatenate([np.zeros(lag), x[0, : x.shape[1] - lag]])
    share = float(rng.uniform(0.1, 0.6))
    return np.stack([x[0] + share * late, x[0] - share * late])
