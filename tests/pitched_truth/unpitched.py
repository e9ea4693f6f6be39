"""Sounds without a pitch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.signal

from .parts import (
    FORMANTS_HZ,
    Array,
    Case,
    Rng,
    colour,
    draw_rate,
    draw_seconds,
    fades,
    filtered,
    finish,
    log_uniform,
    noise_band,
    reverb,
)


def _hits(
    rng: Rng, rate: int, hit: Callable[[], Array], *, fastest_s: float, slowest_s: float
) -> Array:
    """Hits at a steady tempo, each a little different in level."""
    n = round(rng.uniform(2.0, 5.0) * rate)
    spacing = round(rng.uniform(fastest_s, slowest_s) * rate)
    signal = np.zeros(n)
    for start in range(round(0.02 * rate), n, spacing):
        piece = hit()[: n - start]
        signal[start : start + piece.size] += piece * rng.uniform(0.6, 1.0)
    return signal


def noise(rng: Rng) -> Case:
    """Steady or in bursts; violet to brown."""
    rate = draw_rate(rng)
    n = round(draw_seconds(rng) * rate)
    signal = colour(rng, n, rng.uniform(-6, 6))
    if rng.random() < 0.6:
        period = rng.uniform(0.15, 1.0)
        signal = signal * np.exp(-((np.arange(n) / rate) % period) / rng.uniform(0.03, 0.3))
    return finish("noise", rng, signal, rate, [])


def band_noise(rng: Rng) -> Case:
    """An octave or more of noise."""
    rate = draw_rate(rng)
    low = log_uniform(rng, 60, 4000)
    signal = noise_band(
        rng, round(draw_seconds(rng) * rate), rate, low, low * log_uniform(rng, 2, 16)
    )
    return finish("band noise", rng, signal, rate, [])


def _kick_hit(rng: Rng, rate: int) -> Callable[[], Array]:
    low = rng.uniform(38, 65)
    high = low + log_uniform(rng, 40, 300)
    fall = rng.uniform(0.02, 0.12)
    decay = rng.uniform(0.06, 0.25)
    click = 10 ** (-rng.uniform(6, 40) / 20)
    time = np.arange(round(0.6 * rate)) / rate
    body = np.sin(2 * np.pi * np.cumsum(low + (high - low) * np.exp(-time / fall)) / rate)
    body *= np.exp(-time / decay) * fades(time.size, rate, 0.001, 0.05)
    if rng.random() < 0.4:
        body = np.tanh(rng.uniform(1, 4) * body)

    def hit() -> Array:
        snap = rng.standard_normal(time.size) * np.exp(-time / 0.004)
        return np.asarray(body + click * filtered(snap, rate, 1500.0, "highpass"))

    return hit


def kick(rng: Rng) -> Case:
    """A sine that falls by 40 to 300 Hz to 38 to 65 Hz, with a click."""
    rate = draw_rate(rng)
    signal = _hits(rng, rate, _kick_hit(rng, rate), fastest_s=0.3, slowest_s=1.0)
    return finish("kick", rng, signal, rate, [])


def _snare_hit(rng: Rng, rate: int) -> Callable[[], Array]:
    tone = rng.uniform(150, 260)
    wires = 10 ** (rng.uniform(-3, 12) / 20)
    ring, rattle = rng.uniform(0.02, 0.1), rng.uniform(0.05, 0.15)
    time = np.arange(round(0.5 * rate)) / rate
    fall = 2 * np.pi * np.cumsum(tone * (1 + 0.3 * np.exp(-time / 0.02))) / rate
    body = (np.sin(fall) + 0.6 * np.sin(1.59 * fall)) * np.exp(-time / ring)

    def hit() -> Array:
        snares = filtered(rng.standard_normal(time.size), rate, 900.0, "highpass")
        return np.asarray(body + wires * snares * np.exp(-time / rattle))

    return hit


def snare(rng: Rng) -> Case:
    """Wires over two modes of a head, 1 to 1.59."""
    rate = draw_rate(rng)
    signal = _hits(rng, rate, _snare_hit(rng, rate), fastest_s=0.25, slowest_s=1.0)
    return finish("snare", rng, signal, rate, [])


def _metal_hit(rng: Rng, rate: int, decay_s: float, share: float) -> Callable[[], Array]:
    """Return a maker of inharmonic squares, as in drum machines, mixed with noise."""
    partials = 205 * rng.uniform(0.8, 1.6) * np.array([1.0, 1.304, 1.466, 1.787, 1.933, 2.629])
    partials *= np.exp(rng.normal(0, 0.05, 6))
    cutoff = min(rng.uniform(4000, 9000), 0.4 * rate)
    time = np.arange(round(min(5 * decay_s, 3.0) * rate)) / rate

    def hit() -> Array:
        squares = sum(np.sign(np.sin(2 * np.pi * f * time + rng.uniform(0, 6))) for f in partials)
        mixed = share * squares / 6 + (1 - share) * 0.5 * rng.standard_normal(time.size)
        return np.asarray(filtered(mixed, rate, cutoff, "highpass", 3) * np.exp(-time / decay_s))

    return hit


def hat(rng: Rng) -> Case:
    rate = draw_rate(rng)
    hit = _metal_hit(rng, rate, rng.uniform(0.015, 0.15), rng.uniform(0, 0.8))
    return finish("hat", rng, _hits(rng, rate, hit, fastest_s=0.1, slowest_s=0.5), rate, [])


def cymbal(rng: Rng) -> Case:
    """Hundreds of modes and noise, dying away slowly."""
    rate = draw_rate(rng)
    decay = rng.uniform(0.3, 1.5)
    time = np.arange(round(2.5 * rate)) / rate
    modes = np.exp(rng.uniform(np.log(300), np.log(min(12000, 0.4 * rate)), 120))
    gains = rng.exponential(1.0, 120)
    wash = rng.uniform(0.3, 2.0)

    def hit() -> Array:
        cycles = np.zeros(time.size)
        for mode, gain in zip(modes, gains, strict=True):
            cycles += gain * np.sin(2 * np.pi * mode * time + rng.uniform(0, 6))
        hiss = filtered(rng.standard_normal(time.size), rate, 3000.0, "highpass")
        cycles = cycles / np.sqrt(np.mean(cycles**2)) + wash * hiss
        return np.asarray(cycles * np.exp(-time / decay) * fades(time.size, rate, 0.002, 0.05))

    return finish("cymbal", rng, _hits(rng, rate, hit, fastest_s=1.0, slowest_s=2.5), rate, [])


def clap(rng: Rng) -> Case:
    rate = draw_rate(rng)
    centre = rng.uniform(900, 2200)
    time = np.arange(round(0.35 * rate)) / rate
    tail = rng.uniform(0.03, 0.12)

    def hit() -> Array:
        envelope = np.zeros(time.size)
        for delay in np.cumsum(rng.uniform(0.006, 0.014, 4)):
            after = time - delay
            envelope += np.where(after >= 0, np.exp(-np.maximum(after, 0) / 0.006), 0.0)
        envelope += 0.4 * np.exp(-time / tail)
        return noise_band(rng, time.size, rate, centre * 0.5, centre * 2.0) * envelope

    return finish("clap", rng, _hits(rng, rate, hit, fastest_s=0.4, slowest_s=1.0), rate, [])


def shaker(rng: Rng) -> Case:
    rate = draw_rate(rng)
    n = round(rng.uniform(0.06, 0.14) * rate)
    low = rng.uniform(2500, 6000)

    def hit() -> Array:
        return noise_band(rng, n, rate, low, 3 * low) * np.hanning(n)

    return finish("shaker", rng, _hits(rng, rate, hit, fastest_s=0.12, slowest_s=0.4), rate, [])


def crackle(rng: Rng) -> Case:
    """Clicks of many sizes, as of vinyl, over some hiss."""
    rate = draw_rate(rng)
    n = round(draw_seconds(rng) * rate)
    signal = np.zeros(n)
    count = int(rng.uniform(10, 200) * n / rate)
    signal[rng.integers(0, n, count)] = rng.standard_normal(count) * rng.exponential(1, count)
    signal = filtered(signal, rate, rng.uniform(2000, 8000), "lowpass")
    return finish("crackle", rng, signal + 0.01 * rng.standard_normal(n), rate, [])


def room(rng: Rng) -> Case:
    """Rumble and air, slowly breathing."""
    rate = draw_rate(rng)
    n = round(draw_seconds(rng) * rate)
    signal = colour(rng, n, rng.uniform(-8, -4)) + 0.05 * colour(rng, n, 0.0)
    swell = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * np.arange(n) / rate)
    return finish("room", rng, signal * swell, rate, [])


def breath(rng: Rng) -> Case:
    """Air through a mouth: noise with broad formants, in and out."""
    rate = draw_rate(rng)

    def hit() -> Array:
        n = round(rng.uniform(0.3, 0.9) * rate)
        source = rng.standard_normal(n)
        sound = 0.2 * source
        for formant in FORMANTS_HZ[int(rng.integers(5))]:
            b, a = scipy.signal.iirpeak(formant, rng.uniform(1.5, 3.0), fs=rate)
            sound = sound + scipy.signal.lfilter(b, a, source)
        return np.asarray(sound * np.hanning(n))

    return finish("breath", rng, _hits(rng, rate, hit, fastest_s=0.9, slowest_s=1.8), rate, [])


def applause(rng: Rng) -> Case:
    """Some hundred hands."""
    rate = draw_rate(rng)
    n = round(rng.uniform(2.0, 4.0) * rate)
    signal = np.zeros(n)
    length = round(0.02 * rate)
    envelope = np.exp(-np.arange(length) / rate / 0.004)
    for _ in range(int(rng.uniform(30, 150) * n / rate)):
        start = int(rng.integers(0, n - length))
        centre = rng.uniform(700, 2500)
        clapped = noise_band(rng, length, rate, 0.7 * centre, 1.5 * centre, 1) * envelope
        signal[start : start + length] += clapped * rng.exponential(1.0)
    return finish("applause", rng, signal, rate, [])


def drum_loop(rng: Rng) -> Case:
    """Kick, snare and hats, each at its place in the bar."""
    rate = draw_rate(rng)
    beat = round(rng.uniform(0.35, 0.6) * rate)
    n = 8 * beat
    hits = (
        (_kick_hit(rng, rate), 2 * beat, 0, 1.0),
        (_snare_hit(rng, rate), 2 * beat, beat, rng.uniform(0.2, 0.6)),
        (_metal_hit(rng, rate, 0.04, 0.4), beat // 2, 0, rng.uniform(0.05, 0.3)),
    )
    signal = np.zeros(n)
    for hit, spacing, first, gain in hits:
        for start in range(first, n, spacing):
            piece = hit()[: n - start]
            signal[start : start + piece.size] += gain * piece
    if rng.random() < 0.5:
        signal = reverb(rng, signal, rate, rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.8))
    return finish("drum loop", rng, signal, rate, [])


UNPITCHED: dict[str, Callable[[Rng], Case]] = {
    maker.__name__: maker
    for maker in (
        noise, band_noise, kick, snare, hat, cymbal, clap, shaker, crackle, room, breath,
        applause, drum_loop,
    )
}  # fmt: skip
