"""Sounds of known pitch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.signal

from .parts import (
    C1_HZ,
    C8_HZ,
    FORMANTS_HZ,
    TABLE,
    Array,
    Case,
    Rng,
    colour,
    contour_tones,
    draw_rate,
    draw_seconds,
    fades,
    filtered,
    finish,
    log_uniform,
    make_cycle,
    noise_band,
    partials,
    play,
    reverb,
    steady,
    tilted,
)

CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 7, 10), (0, 7), (0, 5, 7), (0, 4, 7, 12))
SCALE = (0, 2, 4, 5, 7, 9, 11, 12)


def _plain(
    kind: str, rng: Rng, amplitudes: Callable[[Array], Array], *, low: float = C1_HZ,
    high: float = C8_HZ, phases: bool = False,
) -> Case:  # fmt: skip
    f0_hz, rate, contour = steady(rng, low, high)
    cycle = make_cycle(amplitudes(partials(f0_hz, rate)), rng if phases else None)
    signal = play(cycle, contour, rate) * fades(contour.size, rate)
    return finish(kind, rng, signal, rate, [(f0_hz, f0_hz)])


def sine(rng: Rng) -> Case:
    return _plain("sine", rng, lambda k: (k == 1).astype(float))


def saw(rng: Rng) -> Case:
    return _plain("saw", rng, lambda k: 1 / k)


def square(rng: Rng) -> Case:
    return _plain("square", rng, lambda k: (k % 2) / k)


def triangle(rng: Rng) -> Case:
    return _plain("triangle", rng, lambda k: (k % 2) / k**2)


def pulse(rng: Rng) -> Case:
    duty = rng.uniform(0.05, 0.4)
    return _plain("pulse", rng, lambda k: np.abs(np.sin(np.pi * k * duty)) / k)


def filtered_saw(rng: Rng) -> Case:
    """A saw through a low-pass at 1 to 10 times its f0."""
    corner = log_uniform(rng, 1.0, 10.0)
    return _plain("filtered saw", rng, lambda k: 1 / k / np.sqrt(1 + (k / corner) ** 4))


def additive(rng: Rng) -> Case:
    return _plain("additive", rng, lambda k: tilted(rng, k), phases=True)


def weak_fundamental(rng: Rng) -> Case:
    """The fundamental 10 to 30 dB down, the others tilted."""

    def amplitudes(k: Array) -> Array:
        result = k ** -rng.uniform(0.3, 1.2)
        result[0] = 10 ** (rng.uniform(-30, -10) / 20)
        return np.asarray(result)

    return _plain("weak fundamental", rng, amplitudes, high=1500.0, phases=True)


def missing_fundamental(rng: Rng) -> Case:
    """No fundamental; from the second or third partial on."""

    def amplitudes(k: Array) -> Array:
        result = k ** -rng.uniform(0.0, 1.0)
        result[: int(rng.integers(1, 3))] = 0.0
        return np.asarray(result)

    return _plain("missing fundamental", rng, amplitudes, high=700.0, phases=True)


def plucked(rng: Rng) -> Case:
    """Karplus and Strong's string, plucked again and again on one note."""
    f0_hz, rate = log_uniform(rng, C1_HZ, 1200.0), draw_rate(rng)
    n = round(draw_seconds(rng) * rate)
    # The loop: a whole delay, a two-point mean (half a sample), an all-pass for the fraction.
    period = rate / f0_hz - 0.5
    delay = int(period - 0.3)
    fraction = period - delay
    allpass = (1 - fraction) / (1 + fraction)
    loss = 10 ** (-3 / (f0_hz * rng.uniform(0.8, 5.0)))
    # y(z) (1 - loss H(z) z^-delay) = x(z) with H = (1 + z^-1)/2 (a + z^-1)/(1 + a z^-1)
    loop = loss * np.convolve([0.5, 0.5], [allpass, 1.0])
    denominator = np.zeros(delay + 3)
    denominator[:2] = (1.0, allpass)
    denominator[delay : delay + 3] -= loop
    signal = np.zeros(n)
    spacing = round(rng.uniform(0.3, 1.5) * rate)
    length = min(n, spacing)
    burst = np.zeros(length)
    burst[: delay + 1] = rng.uniform(-1, 1, min(delay + 1, length))
    place = max(1, round(rng.uniform(0.1, 0.4) * delay))
    burst = burst - np.r_[np.zeros(place), burst[:-place]]
    string = scipy.signal.lfilter([1.0, allpass], denominator, burst)
    string = filtered(string, rate, 15.0, "highpass")
    for start in range(0, n, spacing):
        piece = string[: n - start]
        signal[start : start + piece.size] += piece * rng.uniform(0.5, 1.0)
    return finish("plucked", rng, signal, rate, [(f0_hz, f0_hz)])


def fm(rng: Rng) -> Case:
    """Carrier at f0, modulator at 1 or 2 times it."""
    f0_hz, rate, contour = steady(rng, C1_HZ, 2000.0)
    phase = 2 * np.pi * np.cumsum(contour) / rate
    index = rng.uniform(0.3, 3.0) * np.exp(-np.arange(contour.size) / rate / rng.uniform(0.3, 3))
    signal = np.sin(phase + index * np.sin(int(rng.integers(1, 3)) * phase))
    signal = signal * fades(contour.size, rate)
    return finish("fm", rng, signal, rate, [(f0_hz, f0_hz)])


def piano(rng: Rng) -> Case:
    """Stretched partials that die away at their own rates, struck again and again."""
    f0_hz, rate = log_uniform(rng, C1_HZ, C8_HZ), draw_rate(rng)
    n = round(draw_seconds(rng) * rate)
    # Fletcher (1964): B is some 1e-4 to 1e-3 up to the middle of the keyboard, 1e-2 at its top.
    stretch = log_uniform(rng, 1e-4, 6e-4) * max(1.0, (f0_hz / 500.0) ** 1.5)
    spacing = round(rng.uniform(0.4, 2.0) * rate)
    time = np.arange(min(n, spacing)) / rate
    note = np.zeros(time.size)
    strike = rng.uniform(0.08, 0.15)
    tilt = rng.uniform(0.6, 1.5)
    weak = 10 ** (-rng.uniform(0, 12) / 20) if f0_hz < 100 else 1.0
    for k in range(1, 40):
        frequency = k * f0_hz * np.sqrt((1 + stretch * k * k) / (1 + stretch))
        if frequency > 0.45 * rate:
            break
        decay = rng.uniform(0.5, 1.5) * 3.0 / (1 + (frequency / 400.0) ** 0.8)
        amplitude = k**-tilt * abs(np.sin(np.pi * k * strike)) * (weak if k == 1 else 1.0)
        note += (
            amplitude
            * np.exp(-time / decay)
            * np.sin(2 * np.pi * frequency * time + rng.uniform(0, 6))
        )
    note *= fades(time.size, rate, 0.002, 0.03)
    signal = np.zeros(n)
    for start in range(0, n, spacing):
        signal[start : start + spacing] = note[: n - start] * rng.uniform(0.4, 1.0)
    return finish("piano", rng, signal, rate, [(f0_hz, f0_hz)])


def vibrato(rng: Rng) -> Case:
    f0_hz, rate, contour = steady(rng, C1_HZ, 3000.0)
    time = np.arange(contour.size) / rate
    depth = rng.uniform(10, 100) / 1200
    contour = f0_hz * 2 ** (depth * np.sin(2 * np.pi * rng.uniform(3, 8) * time))
    k = partials(f0_hz * 1.1, rate)
    signal = play(make_cycle(tilted(rng, k)), contour, rate) * fades(time.size, rate)
    return finish("vibrato", rng, signal, rate, contour_tones(contour))


def glide(rng: Rng) -> Case:
    """Up and down by up to an octave either way, in 1 to 4 s."""
    f0_hz, rate, contour = steady(rng, 2 * C1_HZ, C8_HZ / 2)
    time = np.arange(contour.size) / rate
    sweep = np.sin(2 * np.pi * rng.uniform(0.12, 0.5) * time + rng.uniform(0, 6))
    contour = f0_hz * 2 ** (rng.uniform(0.3, 1.0) * sweep)
    k = partials(float(contour.max()), rate)
    signal = play(make_cycle(tilted(rng, k, 0.7, 2.0)), contour, rate) * fades(time.size, rate)
    return finish("glide", rng, signal, rate, contour_tones(contour))


def small_speaker(rng: Rng) -> Case:
    """A low note through a high-pass above its fundamental."""
    f0_hz, rate, contour = steady(rng, C1_HZ, 130.0)
    cycle = make_cycle(tilted(rng, partials(f0_hz, rate), 0.5, 1.2))
    signal = play(cycle, contour, rate) * fades(contour.size, rate)
    signal = filtered(signal, rate, rng.uniform(120, 250), "highpass", int(rng.integers(1, 4)))
    return finish("small speaker", rng, signal, rate, [(f0_hz, f0_hz)])


def noisy(rng: Rng) -> Case:
    """White or pink noise 6 to 20 dB below the tone."""
    f0_hz, rate, contour = steady(rng, C1_HZ, 3000.0)
    cycle = make_cycle(tilted(rng, partials(f0_hz, rate)), rng)
    signal = play(cycle, contour, rate)
    noise = colour(rng, contour.size, float(rng.choice([0.0, -3.0])))
    noise *= 10 ** (-rng.uniform(6, 20) / 20) * np.sqrt(np.mean(signal**2) / np.mean(noise**2))
    signal = (signal + noise) * fades(contour.size, rate)
    return finish("noisy", rng, signal, rate, [(f0_hz, f0_hz)])


def _melody(rng: Rng, rate: int, seconds: float, low: float, high: float) -> tuple[Array, Array]:
    """Notes of a scale, with rests between some; and the f0 at every sounding sample."""
    n = round(seconds * rate)
    tonic = log_uniform(rng, low, high / 2)
    k = partials(2 * tonic, rate)
    cycle = make_cycle(tilted(rng, k, 0.5, 1.8), rng)
    signal, sounding = np.zeros(n), []
    place = 0
    while place < n:
        length = min(n - place, round(rng.uniform(0.15, 0.6) * rate))
        if rng.random() < 0.2 and place:
            place += length
            continue
        contour = np.full(length, tonic * 2 ** (rng.choice(SCALE) / 12))
        decay = np.exp(-np.arange(length) / rate / rng.uniform(0.3, 3.0))
        note = play(cycle, contour, rate) * fades(length, rate, 0.005, 0.02) * decay
        signal[place : place + length] = note
        sounding.append(contour)
        place += length
    return signal, np.concatenate(sounding)


def melody(rng: Rng) -> Case:
    rate = draw_rate(rng)
    signal, sounding = _melody(rng, rate, rng.uniform(3, 7), C1_HZ, 2000.0)
    return finish("melody", rng, signal, rate, contour_tones(sounding))


def bass(rng: Rng) -> Case:
    """Short notes of a synthesiser's bass, with rests; at times with a dip of pitch at the attack.

    The pitch falls by at most 5 semitones in some 10 ms and then holds: a kick's goes on falling.
    """
    rate = draw_rate(rng)
    n = round(rng.uniform(3, 7) * rate)
    tonic = log_uniform(rng, C1_HZ, 65.0)
    k = partials(2 * tonic, rate)
    slope = rng.uniform(0.5, 3.0)
    corner = log_uniform(rng, 1.0, 12.0)
    cycle = make_cycle(k ** -rng.uniform(0.8, 1.5) / np.sqrt(1 + (k / corner) ** (2 * slope)))
    dip = rng.uniform(0, 5 / 12) if rng.random() < 0.4 else 0.0
    decay = log_uniform(rng, 0.08, 2.0)
    spacing = rng.uniform(0.15, 0.7)
    notes = tonic * 2 ** (rng.choice(SCALE, 3) / 12)
    signal, sounding = np.zeros(n), []
    for start in range(0, n, round(spacing * rate)):
        if start and rng.random() < 0.25:
            continue
        length = min(n - start, round(spacing * rate * rng.uniform(0.4, 1.0)))
        time = np.arange(length) / rate
        note = rng.choice(notes)
        contour = note * 2 ** (dip * np.exp(-time / 0.012))
        shape = np.exp(-time / decay) * fades(length, rate, 0.003, 0.02)
        signal[start : start + length] = play(cycle, contour, rate) * shape
        sounding.append(np.full(length, note))
    return finish("bass", rng, signal, rate, contour_tones(np.concatenate(sounding)))


def reverberant(rng: Rng) -> Case:
    """One note, or a melody of one note, in a room of 0.3 to 2 s."""
    f0_hz, rate, contour = steady(rng, C1_HZ, 2500.0)
    cycle = make_cycle(tilted(rng, partials(f0_hz, rate)), rng)
    period = rng.uniform(0.3, 1.0)
    time = np.arange(contour.size) / rate
    gate = np.exp(-(time % period) / rng.uniform(0.1, 1.0))
    signal = play(cycle, contour, rate) * gate * fades(time.size, rate)
    signal = reverb(rng, signal, rate, rng.uniform(0.2, 0.8), rng.uniform(0.3, 2.0))
    return finish("reverberant", rng, signal, rate, [(f0_hz, f0_hz)])


def chord(rng: Rng) -> Case:
    rate = draw_rate(rng)
    n = round(draw_seconds(rng) * rate)
    root = log_uniform(rng, 65.0, 600.0)
    steps = CHORDS[int(rng.integers(len(CHORDS)))]
    tones = [root * 2 ** (step / 12) for step in steps]
    k = partials(tones[-1], rate)
    cycle = make_cycle(tilted(rng, k, 0.7, 2.0), rng)
    signal = sum(
        play(np.roll(cycle, int(rng.integers(TABLE))), np.full(n, tone), rate)
        * rng.uniform(0.5, 1.0)
        for tone in tones
    )
    signal = signal * fades(n, rate) * np.exp(-np.arange(n) / rate / rng.uniform(0.5, 5))
    right = [*tones, root / 2, root / 4]
    return finish("chord", rng, np.asarray(signal), rate, [(tone, tone) for tone in right])


def duet(rng: Rng) -> Case:
    """Two melodies, the second 3 to 20 dB softer."""
    rate, seconds = draw_rate(rng), rng.uniform(3, 6)
    one, first = _melody(rng, rate, seconds, 100.0, 800.0)
    two, second = _melody(rng, rate, seconds, 100.0, 800.0)
    two *= 10 ** (-rng.uniform(3, 20) / 20) * np.sqrt(np.mean(one**2) / np.mean(two**2))
    return finish("duet", rng, one + two, rate, contour_tones(first) + contour_tones(second))


def voice(rng: Rng) -> Case:
    """Glottal pulses through the formants of vowels, with breath, jitter and vibrato."""
    rate = int(rng.choice([44100, 48000]))
    f0_hz = log_uniform(rng, 75.0, 900.0)
    size = float(np.clip((f0_hz / 120.0) ** 0.2, 0.9, 1.35))
    parts, contours = [], []
    for _ in range(int(rng.integers(2, 6))):
        n = round(rng.uniform(0.3, 1.0) * rate)
        time = np.arange(n) / rate
        bend = rng.uniform(-1, 1) / 12 + 0.03 * np.sin(2 * np.pi * rng.uniform(4, 7) * time)
        drift = np.cumsum(rng.standard_normal(n)) / rate * 0.3
        contour = f0_hz * 2 ** (bend + drift)
        k = partials(float(contour.max()), rate)
        source = play(make_cycle(k ** -rng.uniform(1.0, 1.8)), contour, rate)
        source += rng.standard_normal(n) * 10 ** (rng.uniform(-50, -28) / 20)
        sound = np.zeros(n)
        for formant, gain in zip(FORMANTS_HZ[int(rng.integers(5))], (1.0, 0.6, 0.3), strict=True):
            b, a = scipy.signal.iirpeak(formant * size, rng.uniform(5, 12), fs=rate)
            sound += gain * scipy.signal.lfilter(b, a, source)
        parts.append((sound + 0.05 * source) * fades(n, rate, 0.03, 0.06))
        contours.append(contour)
        if rng.random() < 0.5:
            m = round(rng.uniform(0.05, 0.2) * rate)
            parts.append(noise_band(rng, m, rate, 3000, 9000) * np.hanning(m) * 0.02)
    return finish(
        "voice", rng, np.concatenate(parts), rate, contour_tones(np.concatenate(contours))
    )


PITCHED: dict[str, Callable[[Rng], Case]] = {
    maker.__name__: maker
    for maker in (
        sine, saw, square, triangle, pulse, filtered_saw, additive, weak_fundamental,
        missing_fundamental, plucked, fm, piano, vibrato, glide, small_speaker, noisy, melody,
        bass, reverberant, chord, duet, voice,
    )
}  # fmt: skip
