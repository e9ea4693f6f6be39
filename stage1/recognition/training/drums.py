"""Drums and percussion whose parameters are drawn at random, to train recognition by sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.roles import Role
from pipeline.synth.filters import filtered, overdrive
from pipeline.synth.oscillators import modal
from pipeline.synth.signals import Signal, decay, noise
from stage1.recognition.training.performance import play_hits
from stage1.recognition.training.playing import log_uniform

__all__ = ["DRUMS"]

Stroke = Callable[[np.random.Generator, int], list[Signal]]
"""Makes a few takes of one drum."""


def _burst(
    rng: np.random.Generator, rate: int, *, t60_s: float, low_hz: float, high_hz: float
) -> Signal:
    frames = round(1.1 * t60_s * rate) + 64
    hiss = filtered(
        noise(frames, rng),
        highpass_hz=low_hz,
        lowpass_hz=min(high_hz, 0.45 * rate),
        sample_rate=rate,
    )
    return np.asarray(hiss * decay(frames, t60_s=t60_s, sample_rate=rate))


def _mixed(*parts: tuple[float, Signal]) -> Signal:
    out = np.zeros(max(len(part) for _, part in parts))
    for gain, part in parts:
        out[: len(part)] += gain * part
    return out


def _head(
    rng: np.random.Generator, rate: int, *, hertz: float, bend: float, fall_s: float, t60_s: float,
    overtones: float,
) -> Signal:  # fmt: skip
    """Return a struck membrane whose pitch falls."""
    t = np.arange(round(1.1 * t60_s * rate)) / rate
    out = np.zeros(len(t))
    for k, ratio in enumerate((1.0, 1.59, 2.14, 2.3, 2.65, 2.92)):
        curve = hertz * ratio * (1.0 + bend * np.exp(-t / fall_s))
        level = 1.0 if k == 0 else overtones * float(rng.uniform(0.2, 1.0)) / k
        fade = decay(len(t), t60_s=t60_s / (1.0 + 0.8 * k), sample_rate=rate)
        out += (
            level * fade * np.sin(2 * np.pi * np.cumsum(curve) / rate + (k > 0) * rng.uniform(0, 6))
        )
    out[: rate // 2000] *= np.linspace(0.0, 1.0, rate // 2000)
    return out


def _metal(
    rng: np.random.Generator, rate: int, *, low_hz: float, t60_s: float, count: int
) -> Signal:
    hertz = low_hz * (15000.0 / low_hz) ** rng.uniform(size=count)
    fade = t60_s * (low_hz / hertz) ** 0.35 * rng.uniform(0.5, 1.2, count)
    level = rng.uniform(0.3, 1.0, count) / np.sqrt(count)
    phase = rng.uniform(0.0, 2 * np.pi, count)
    return modal(hertz, level, fade, round(1.1 * t60_s * rate), sample_rate=rate, phase=phase)


def _kick(rng: np.random.Generator, rate: int) -> list[Signal]:
    hertz, bend = float(rng.uniform(40.0, 80.0)), log_uniform(rng, 0.3, 6.0)
    fall_s, t60_s = log_uniform(rng, 0.008, 0.06), log_uniform(rng, 0.12, 1.0)
    click, top = log_uniform(rng, 0.03, 0.8), log_uniform(rng, 2000.0, 12000.0)
    drive = float(rng.choice([0.0, log_uniform(rng, 1.0, 8.0)]))
    takes = []
    for _ in range(3):
        body = _head(rng, rate, hertz=hertz, bend=bend, fall_s=fall_s, t60_s=t60_s,
                     overtones=float(rng.uniform(0.0, 0.3)))  # fmt: skip
        beater = _burst(rng, rate, t60_s=0.03, low_hz=600.0, high_hz=top)
        take = _mixed((1.0, body), (click, beater))
        takes.append(overdrive(take, drive=drive, bias=0.1, sample_rate=rate) if drive else take)
    return takes


def _snare(rng: np.random.Generator, rate: int) -> list[Signal]:
    hertz, wires, t60_s = (
        float(rng.uniform(140.0, 290.0)),
        log_uniform(rng, 0.3, 3.0),
        log_uniform(rng, 0.08, 0.5),
    )
    low, ring = log_uniform(rng, 800.0, 3000.0), log_uniform(rng, 0.1, 0.5)
    takes = []
    for _ in range(3):
        skin = _head(rng, rate, hertz=hertz, bend=0.15, fall_s=0.02, t60_s=ring, overtones=0.7)
        buzz = _burst(rng, rate, t60_s=t60_s, low_hz=low, high_hz=14000.0)
        takes.append(_mixed((1.0, skin), (0.5 * wires, buzz)))
    return takes


def _clap(rng: np.random.Generator, rate: int) -> list[Signal]:
    low, t60_s = log_uniform(rng, 500.0, 1200.0), log_uniform(rng, 0.08, 0.35)
    takes = []
    for _ in range(3):
        out = np.zeros(round(0.5 * rate))
        for hand in range(int(rng.integers(3, 9))):
            fade = t60_s if hand == 0 else 0.03
            one = _burst(rng, rate, t60_s=fade, low_hz=low, high_hz=8000.0)[: len(out) // 2]
            at = round((0.03 if hand == 0 else float(rng.uniform(0.0, 0.03))) * rate)
            out[at : at + len(one)] += one
        takes.append(out)
    return takes


def _tom(rng: np.random.Generator, rate: int) -> list[Signal]:
    takes = []
    for hertz in np.sort(rng.uniform(65.0, 210.0, int(rng.integers(1, 4)))):
        t60_s = log_uniform(rng, 0.25, 1.0)
        for _ in range(2):
            skin = _head(rng, rate, hertz=float(hertz), bend=0.3, fall_s=0.05, t60_s=t60_s,
                         overtones=0.6)  # fmt: skip
            stick = _burst(rng, rate, t60_s=0.03, low_hz=800.0, high_hz=8000.0)
            takes.append(_mixed((1.0, skin), (log_uniform(rng, 0.05, 0.5), stick)))
    return takes


def _hat(rng: np.random.Generator, rate: int) -> list[Signal]:
    low, air = log_uniform(rng, 300.0, 4500.0), float(rng.uniform(0.1, 1.5))
    closed = log_uniform(rng, 0.03, 0.2)
    takes = []
    for fade in (closed, closed, 1.3 * closed, log_uniform(rng, closed, 0.8)):
        metal = _metal(rng, rate, low_hz=low, t60_s=fade, count=int(rng.integers(15, 60)))
        breath = _burst(rng, rate, t60_s=0.8 * fade, low_hz=5500.0, high_hz=18000.0)
        takes.append(
            filtered(_mixed((1.0, metal), (air, breath)), highpass_hz=0.8 * low, sample_rate=rate)
        )
    return takes


def _cymbal(rng: np.random.Generator, rate: int) -> list[Signal]:
    low, t60_s = log_uniform(rng, 200.0, 700.0), log_uniform(rng, 0.8, 4.0)
    return [
        _mixed(
            (1.0, _metal(rng, rate, low_hz=low, t60_s=t60_s, count=80)),
            (0.4, _burst(rng, rate, t60_s=0.5 * t60_s, low_hz=3000.0, high_hz=16000.0)),
        )
        for _ in range(2)
    ]


def _hand_drum(rng: np.random.Generator, rate: int) -> list[Signal]:
    takes = []
    for hertz in rng.uniform(120.0, 480.0, 3):
        t60_s, slap = log_uniform(rng, 0.08, 0.5), log_uniform(rng, 0.05, 1.0)
        skin = _head(rng, rate, hertz=float(hertz), bend=0.08, fall_s=0.03, t60_s=t60_s,
                     overtones=0.8)  # fmt: skip
        palm = _burst(rng, rate, t60_s=0.04, low_hz=600.0, high_hz=7000.0)
        takes.append(_mixed((1.0, skin), (slap, palm)))
    return takes


def _rigid(rng: np.random.Generator, rate: int) -> list[Signal]:
    """Return bells, blocks, claves, triangles."""
    count = int(rng.integers(1, 6))
    hertz = log_uniform(rng, 500.0, 3000.0) * np.cumprod(
        np.append(1.0, rng.uniform(1.2, 2.2, count))
    )
    fade = log_uniform(rng, 0.04, 1.8) / np.arange(1.0, count + 2.0) ** 0.6
    level = 1.0 / np.arange(1.0, count + 2.0)
    frames = round(1.1 * float(fade[0]) * rate) + 64
    return [
        _mixed(
            (
                1.0,
                modal(
                    hertz * float(rng.uniform(0.997, 1.003)), level, fade, frames, sample_rate=rate
                ),
            ),
            (0.2, _burst(rng, rate, t60_s=0.012, low_hz=1500.0, high_hz=9000.0)),
        )
        for _ in range(2)
    ]


def _shaken(rng: np.random.Generator, rate: int) -> list[Signal]:
    low, swell, fade = (
        log_uniform(rng, 2500.0, 7000.0),
        log_uniform(rng, 0.015, 0.07),
        log_uniform(rng, 0.03, 0.12),
    )
    takes = []
    for _ in range(4):
        frames = round((swell + 1.1 * fade) * rate)
        grain = filtered(noise(frames, rng), highpass_hz=low, sample_rate=rate)
        t = np.arange(frames) / rate
        shape = np.where(t < swell, (t / swell) ** 2, 10.0 ** (-3.0 * (t - swell) / fade))
        takes.append(np.asarray(grain * shape))
    return takes


def _jingles(rng: np.random.Generator, rate: int) -> list[Signal]:
    low, fade = log_uniform(rng, 3500.0, 6500.0), log_uniform(rng, 0.08, 0.4)
    return [
        _mixed(
            (1.5, _metal(rng, rate, low_hz=low, t60_s=fade, count=25)),
            (0.3, _shaken(rng, rate)[0]),
        )
        for _ in range(3)
    ]


def _player(stroke: Stroke, *grooves: str) -> Callable[[np.random.Generator, float, int], Signal]:
    def make(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
        groove = grooves[int(rng.integers(len(grooves)))]
        return play_hits(stroke(rng, rate), groove, rng, seconds=seconds, sample_rate=rate)

    return make


_KIT: Sequence[tuple[Stroke, float, float, tuple[str, ...]]] = (
    # drum, how likely it is there, level, grooves
    (_kick, 1.0, 1.0, ("kick", "kick", "four")),
    (_snare, 0.95, 0.8, ("snare",)),
    (_hat, 0.85, 0.3, ("eighths", "eighths", "sixteenths", "offbeats")),
    (_cymbal, 0.6, 0.35, ("crash", "ride")),
    (_tom, 0.4, 0.6, ("rare", "fills")),
)


def _kit(rng: np.random.Generator, seconds: float, rate: int) -> Signal:
    bpm = float(rng.uniform(72.0, 172.0))
    out = np.zeros(round(seconds * rate))
    for stroke, chance, level, grooves in _KIT:
        if rng.uniform() < chance:
            groove = grooves[int(rng.integers(len(grooves)))]
            part = play_hits(
                stroke(rng, rate), groove, rng, seconds=seconds, sample_rate=rate, bpm=bpm
            )
            peak = float(np.abs(part).max(initial=0.0)) + 1e-9
            out += part / peak * level * 10.0 ** (float(rng.normal(0.0, 4.0)) / 20.0)
    return out


DRUMS: Mapping[Role, tuple[Callable[[np.random.Generator, float, int], Signal], float]] = {
    # role: (its maker, how many of it are wanted, against other instruments)
    Role.KICK: (_player(_kick, "kick", "four"), 0.8),
    Role.SNARE: (_player(_snare, "snare"), 0.8),
    Role.CLAP: (_player(_clap, "snare", "sparse"), 0.4),
    Role.TOM: (_player(_tom, "fills", "hands"), 0.5),
    Role.HI_HAT: (_player(_hat, "eighths", "sixteenths", "offbeats"), 1.0),
    Role.CYMBAL: (_player(_cymbal, "crash", "ride"), 0.5),
    Role.DRUM_KIT: (_kit, 2.0),
    Role.PERCUSSION: (
        lambda rng, seconds, rate: _player(
            (_hand_drum, _hand_drum, _rigid)[int(rng.integers(3))], "hands", "sparse", "offbeats"
        )(rng, seconds, rate),
        1.2,
    ),
    Role.SHAKER: (_player(_shaken, "eighths", "sixteenths"), 0.5),
    Role.TAMBOURINE: (_player(_jingles, "snare", "eighths", "sixteenths"), 0.4),
}
"""A maker of tracks for each drum."""
