"""The published measures against scipy and pyloudnorm; the bounds of the informed one."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pyloudnorm
import pytest
import scipy.signal

from pipeline.audio.samples import HeldSamples
from pipeline.loudness.meter import EnergyMeter
from stage1.loudness.narrowband import (
    BAND_METHODS,
    MAX_SHIFT_LU,
    NarrowbandLoudness,
    informed_band,
)
from stage1.loudness.narrowband import measure_narrowband as measure_samples
from stage1.pitch.f0 import F0Estimate
from stage1.signal.spectral import Spectral

RATE = 48000
SPECTRAL = Spectral(1200.0, 900.0, 2500.0, 1100.0, 800.0, ())
UNPITCHED = F0Estimate(
    f0_hz=math.nan, f0_low_hz=math.nan, f0_high_hz=math.nan, voiced_share=0.1, confidence=0.1,
    pyin_hz=900.0, pesto_hz=math.nan, pesto_share=0.0, agreement=0.0, strength=0.0,
    published_hz=900.0,
)  # fmt: skip
PITCHED = dataclasses.replace(
    UNPITCHED, f0_hz=220.0, f0_low_hz=110.0, f0_high_hz=440.0, confidence=1.0, published_hz=250.0
)


def noise(seconds: float = 4.0, channels: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((channels, round(seconds * RATE)))).astype(np.float32)


def measure_narrowband(
    audio: np.ndarray, *, sample_rate: int, f0: F0Estimate, spectral: Spectral
) -> NarrowbandLoudness:
    meter = EnergyMeter(sample_rate=sample_rate, channels=audio.shape[0])
    meter.process(audio)
    samples = HeldSamples(audio, sample_rate=sample_rate)
    return measure_samples(samples, f0=f0, spectral=spectral, meter=meter)


def reference(mono: np.ndarray, low_hz: float | None, high_hz: float | None) -> float:
    filtered = mono.astype(np.float64)
    if low_hz is not None and high_hz is not None:
        filtered = scipy.signal.lfilter(
            *scipy.signal.butter(1, low_hz, "highpass", fs=RATE), filtered
        )
        filtered = scipy.signal.lfilter(*scipy.signal.butter(1, high_hz, fs=RATE), filtered)
    return float(pyloudnorm.Meter(RATE, filter_class="DeMan").integrated_loudness(filtered))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("published_hz", [250.0, math.nan])
def test_published_methods_equal_their_definition(channels: int, published_hz: float) -> None:
    audio = noise(channels=channels)
    f0 = dataclasses.replace(PITCHED, published_hz=published_hz)
    result = measure_narrowband(audio, sample_rate=RATE, f0=f0, spectral=SPECTRAL)
    mono = audio.mean(axis=0)
    edges = (50.0, 10000.0) if math.isnan(published_hz) else (500.0, 1000.0)
    # 0.001 LU: the float32 between the filters and the meter.
    assert result.lufs == pytest.approx(reference(mono, None, None), abs=0.001)
    assert result.p_lufs == pytest.approx(reference(mono, *edges), abs=0.001)
    assert result.centroid == pytest.approx(reference(mono, 700.0, 1500.0), abs=0.001)


def test_the_published_band_stays_within_its_limits() -> None:
    wide = dataclasses.replace(
        SPECTRAL, published_centroid_hz=1000.0, published_bandwidth_hz=50000.0
    )
    audio = noise()
    result = measure_narrowband(audio, sample_rate=RATE, f0=PITCHED, spectral=wide)
    assert result.centroid == pytest.approx(reference(audio[0], 1.0, 22000.0), abs=0.001)


def test_blocks_below_minus_50_lufs_do_not_count() -> None:
    loud = noise(4.0)
    quiet = noise(4.0, seed=1) * 10 ** (-45 / 20)  # at about -63 LUFS
    audio = np.concatenate([quiet, loud], axis=1)
    both = measure_narrowband(audio, sample_rate=RATE, f0=UNPITCHED, spectral=SPECTRAL)
    alone = measure_narrowband(loud, sample_rate=RATE, f0=UNPITCHED, spectral=SPECTRAL)
    assert both.lufs == pytest.approx(alone.lufs, abs=0.4)  # three blocks straddle the edge
    hushed = measure_narrowband(quiet, sample_rate=RATE, f0=PITCHED, spectral=SPECTRAL)
    assert (hushed.lufs, hushed.centroid, hushed.p_lufs) == (-math.inf,) * 3
    assert hushed.informed > -70.0  # ours still knows how loud it is


def test_a_hi_hat_is_not_pushed_up() -> None:
    sections = scipy.signal.butter(4, 7000, "highpass", fs=RATE, output="sos")
    hats = scipy.signal.sosfilt(sections, noise()).astype(np.float32)
    result = measure_narrowband(hats, sample_rate=RATE, f0=UNPITCHED, spectral=SPECTRAL)
    # The published method's gain is 10 dB and more too high here, ours is that of plain loudness.
    assert result.lufs - result.p_lufs > 10.0
    assert result.informed == pytest.approx(result.lufs, abs=1e-9)


def test_rumble_under_a_voice_counts_less_but_never_more_than_the_bound() -> None:
    time = np.arange(4 * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 9)) * 0.01
    for level, moved in ((0.0, 0.3), (0.05, 1.0), (1.0, MAX_SHIFT_LU)):
        rumble = level * np.sin(2 * np.pi * 32 * time)
        audio = (voice + rumble).astype(np.float32)[None]
        result = measure_narrowband(audio, sample_rate=RATE, f0=PITCHED, spectral=SPECTRAL)
        shift = result.lufs - result.informed
        assert 0.0 <= shift <= MAX_SHIFT_LU + 1e-9
        if level == 0.0:
            assert shift < moved
        elif level == 1.0:
            assert shift == pytest.approx(moved)
        else:
            assert shift > 0.2


def test_a_pitch_half_trusted_moves_half_as_far() -> None:
    time = np.arange(2 * RATE) / RATE
    audio = (0.01 * np.sin(440 * np.pi * time) + np.sin(64 * np.pi * time))[None] * 0.5
    shifts = []
    for confidence in (1.0, 0.75, 0.5):
        f0 = dataclasses.replace(PITCHED, confidence=confidence)
        result = measure_narrowband(
            audio.astype(np.float32), sample_rate=RATE, f0=f0, spectral=SPECTRAL
        )
        shifts.append(result.lufs - result.informed)
    assert shifts == pytest.approx([MAX_SHIFT_LU, MAX_SHIFT_LU / 2, 0.0])


def test_the_informed_loudness_hears_both_channels() -> None:
    audio = noise(channels=1)
    opposite = np.concatenate([audio, -audio])
    result = measure_narrowband(opposite, sample_rate=RATE, f0=UNPITCHED, spectral=SPECTRAL)
    assert result.lufs == -math.inf  # the published fold cancels
    assert result.informed == pytest.approx(reference(audio[0], None, None) + 3.01, abs=0.01)


@pytest.mark.parametrize("rate", [16000, 48000, 96000])
def test_the_informed_band_is_in_order_and_in_range(rate: int) -> None:
    for f0_hz in (30.0, 440.0, 4000.0):
        f0 = dataclasses.replace(PITCHED, f0_hz=f0_hz, f0_low_hz=f0_hz, f0_high_hz=f0_hz)
        band = informed_band(f0, SPECTRAL, sample_rate=rate)
        assert 20.0 <= band.low_hz < f0_hz < band.high_hz <= min(20000.0, rate / 2)
    whole = informed_band(UNPITCHED, SPECTRAL, sample_rate=rate)
    assert (whole.low_hz, whole.high_hz) == (20.0, min(20000.0, rate / 2))


@pytest.mark.parametrize("frames", [0, 100, 48000])
def test_silence(frames: int) -> None:
    audio = np.zeros((2, frames), np.float32)
    result = measure_narrowband(audio, sample_rate=RATE, f0=UNPITCHED, spectral=SPECTRAL)
    assert [result.by(method) for method in BAND_METHODS] == [-math.inf] * 4


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="'loud'"):
        NarrowbandLoudness(0.0, 0.0, 0.0, 0.0).by("loud")
