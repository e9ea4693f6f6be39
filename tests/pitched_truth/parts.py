"""What the sounds are made of: waves, noise, filters, a room, and the record of a sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.signal

Array = npt.NDArray[np.float64]
Rng = np.random.Generator

C1_HZ, C8_HZ = 32.70319566257483, 4186.009044809578
TABLE = 8192
FORMANTS_HZ = (
    (730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410),
)  # fmt: skip
"""Peterson and Barney (1952), men: ɑ, i, u, ɛ, ɔ."""


@dataclass(frozen=True)
class Case:
    """One sound.

    Parameters
    ----------
    kind
        What was made.
    audio
        ``(channels, frames)`` float32.
    sample_rate
        In Hz.
    tones
        f0 in Hz that are right, as pairs (lowest, highest); empty if the sound is unpitched.
    """

    kind: str
    audio: npt.NDArray[np.float32]
    sample_rate: int
    tones: tuple[tuple[float, float], ...]

    def cents_off(self, f0_hz: float) -> float:
        """Distance of an f0 from the nearest right one; NaN if either is unpitched."""
        if not self.tones or np.isnan(f0_hz):
            return float("nan")
        distances = [
            1200.0 * np.log2(f0_hz / (high if f0_hz > high else max(low, min(f0_hz, high))))
            if f0_hz > high
            else 1200.0 * np.log2(f0_hz / low)
            if f0_hz < low
            else 0.0
            for low, high in self.tones
        ]
        return float(min(distances, key=abs))


def log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def make_cycle(amplitudes: Array, rng: Rng | None = None) -> Array:
    """One cycle of partials 1, 2, ...; phases drawn, or all sines."""
    spectrum = np.zeros(TABLE // 2 + 1, np.complex128)
    count = min(amplitudes.size, TABLE // 2 - 1)
    phases = np.full(count, -np.pi / 2) if rng is None else rng.uniform(0, 2 * np.pi, count)
    spectrum[1 : count + 1] = amplitudes[:count] * np.exp(1j * phases)
    return np.asarray(np.fft.irfft(spectrum) * TABLE / 2)


def partials(f0_hz: float, rate: int) -> Array:
    return np.arange(1, max(2, int(0.45 * rate / f0_hz) + 1), dtype=np.float64)


def play(cycle: Array, f0_hz: Array, rate: int) -> Array:
    phase = np.cumsum(f0_hz) / rate * TABLE
    return np.interp(phase % TABLE, np.arange(TABLE + 1), np.append(cycle, cycle[0]))


def tilted(rng: Rng, k: Array, low: float = 0.5, high: float = 2.0) -> Array:
    return np.asarray(k ** -rng.uniform(low, high) * np.exp(rng.normal(0, 0.5, k.size)))


def draw_seconds(rng: Rng) -> float:
    return float(rng.uniform(1.5, 5.0))


def draw_rate(rng: Rng) -> int:
    return int(
        rng.choice([44100, 48000, 48000, 44100, 32000, 96000], p=[0.3, 0.3, 0.15, 0.15, 0.05, 0.05])
    )


def fades(n: int, rate: int, attack_s: float = 0.01, release_s: float = 0.05) -> Array:
    time = np.arange(n) / rate
    return np.minimum(1.0, np.minimum(time / attack_s, (n / rate - time) / release_s))


def finish(kind: str, rng: Rng, signal: Array, rate: int, tones: list[tuple[float, float]]) -> Case:
    """Level, a floor of noise 60 to 80 dB down, sometimes a second channel."""
    level = 10 ** (rng.uniform(-30, -3) / 20)
    signal = signal * level / max(float(np.abs(signal).max()), 1e-12)
    signal = signal + rng.standard_normal(signal.size) * level * 10 ** (rng.uniform(-80, -60) / 20)
    audio = signal[None]
    if rng.random() < 0.3:
        audio = np.stack([signal, rng.uniform(0.2, 1.0) * signal])
    return Case(kind, audio.astype(np.float32), rate, tuple(tones))


def colour(rng: Rng, n: int, slope_db: float) -> Array:
    """Noise whose power changes by ``slope_db`` an octave."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    scale = np.maximum(np.arange(spectrum.size), max(1, n // 4000)) ** (slope_db / 6.02)
    noise = np.fft.irfft(spectrum * scale, n)
    return np.asarray(noise / max(float(np.abs(noise).max()), 1e-12))


def noise_band(rng: Rng, n: int, rate: int, low_hz: float, high_hz: float, order: int = 2) -> Array:
    sections = scipy.signal.butter(
        order, [low_hz, min(high_hz, 0.45 * rate)], "bandpass", fs=rate, output="sos"
    )
    return np.asarray(scipy.signal.sosfilt(sections, rng.standard_normal(n)))


def filtered(signal: Array, rate: int, cutoff_hz: float, kind: str, order: int = 2) -> Array:
    sections = scipy.signal.butter(order, cutoff_hz, kind, fs=rate, output="sos")
    return np.asarray(scipy.signal.sosfilt(sections, signal))


def reverb(rng: Rng, signal: Array, rate: int, wet: float, seconds: float) -> Array:
    n = round(seconds * rate)
    response = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n)
    response = filtered(response, rate, 5000.0, "lowpass", 1)
    tail = scipy.signal.fftconvolve(signal, response)[: signal.size]
    gain = wet * np.sqrt(np.mean(signal**2) / max(float(np.mean(tail**2)), 1e-20))
    return np.asarray(signal + gain * tail)


def contour_tones(f0_hz: Array) -> list[tuple[float, float]]:
    low, high = np.percentile(f0_hz, (40, 60), method="nearest")
    return [(float(low), float(high))]


def steady(rng: Rng, low: float = C1_HZ, high: float = C8_HZ) -> tuple[float, int, Array]:
    """An f0, a rate, and the f0 at every sample."""
    f0_hz, rate = log_uniform(rng, low, high), draw_rate(rng)
    return f0_hz, rate, np.full(round(draw_seconds(rng) * rate), f0_hz)
