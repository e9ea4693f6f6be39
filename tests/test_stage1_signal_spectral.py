"""Spectral measures against librosa, scipy and signals whose spectrum is known."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest
import scipy.signal

from stage1.signal.spectral import THIRD_OCTAVES_HZ, Spectral, SpectrumMeter, _Shapes

RATE = 44100


def coloured_noise(seconds: float = 2.0, *, rate: int = RATE, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sections = scipy.signal.butter(1, 1500, fs=rate, output="sos")
    noise = scipy.signal.sosfilt(sections, rng.standard_normal(round(seconds * rate)))
    swell = 1.0 + np.sin(2 * np.pi * np.arange(noise.size) / rate)
    return (0.1 * noise * swell).astype(np.float32)


def analyse_spectrum(
    audio: np.ndarray, *, sample_rate: int, active: np.ndarray, hop_length: int | None = None
) -> Spectral:
    channels, frames = audio.shape
    meter = SpectrumMeter(
        sample_rate=sample_rate, channels=channels, frames=frames, hop_length=hop_length
    )
    meter.process(audio)
    return meter.result(active)


def always(seconds: float = 2.0) -> np.ndarray:
    return np.ones(round(seconds * 10), np.bool_)


@pytest.mark.parametrize("hop_length", [512, 1024, 2048])
def test_frames_equal_librosa(hop_length: int) -> None:
    signal = coloured_noise()
    frames = _Shapes(sample_rate=RATE, channels=1, hop=hop_length)
    frames.process(signal[None])
    shapes, folded = frames.result()
    options = {"y": signal, "sr": RATE, "n_fft": 2048, "hop_length": hop_length}
    # float32 transforms on both sides.
    assert shapes[:, 0] == pytest.approx(librosa.feature.spectral_centroid(**options)[0], rel=1e-4)
    assert shapes[:, 1] == pytest.approx(librosa.feature.spectral_bandwidth(**options)[0], rel=1e-4)
    rolloff = librosa.feature.spectral_rolloff(**options)[0]
    assert np.abs(shapes[:, 2] - rolloff).max() <= 1.01 * RATE / 2048  # one bin, at a tie
    assert np.array_equal(shapes, folded)


def test_published_means_are_librosas_on_the_mono_fold_with_silence_counted() -> None:
    left, right = coloured_noise(seed=1), coloured_noise(seed=2)
    audio = np.concatenate([np.stack([left, right]), np.zeros((2, RATE), np.float32)], axis=1)
    result = analyse_spectrum(audio, sample_rate=RATE, active=always(3.0))
    mono = audio.mean(axis=0)
    centroid = librosa.feature.spectral_centroid(y=mono, sr=RATE).mean()
    bandwidth = librosa.feature.spectral_bandwidth(y=mono, sr=RATE).mean()
    # Half as many frames as librosa's default: 0.5 % on 3 s of noise, less on longer tracks.
    assert result.published_centroid_hz == pytest.approx(centroid, rel=0.005)
    assert result.published_bandwidth_hz == pytest.approx(bandwidth, rel=0.005)
    exact = analyse_spectrum(audio, sample_rate=RATE, active=always(3.0), hop_length=512)
    assert exact.published_centroid_hz == pytest.approx(centroid, rel=0.001)
    assert exact.published_bandwidth_hz == pytest.approx(bandwidth, rel=0.001)


def test_inactive_time_does_not_count() -> None:
    hiss = np.random.default_rng(3).standard_normal(2 * RATE) * 1e-4
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    audio = np.concatenate([tone, hiss]).astype(np.float32)[None]
    active = np.arange(40) < 19
    result = analyse_spectrum(audio, sample_rate=RATE, active=active)
    assert result.centroid_hz == pytest.approx(440, rel=0.05)  # the very first frame is half tone
    assert result.published_centroid_hz > 3000


def test_opposite_channels_keep_their_spectrum() -> None:
    signal = coloured_noise()
    one = analyse_spectrum(signal[None], sample_rate=RATE, active=always())
    both = analyse_spectrum(np.stack([signal, -signal]), sample_rate=RATE, active=always())
    assert both.centroid_hz == pytest.approx(one.centroid_hz, rel=1e-5)
    assert both.third_octaves_db == pytest.approx(one.third_octaves_db, abs=1e-4)
    assert math.isnan(both.published_centroid_hz)


@pytest.mark.parametrize("band", [2, 10, 16, 22, 28])
def test_a_sine_fills_its_own_third_octave(band: int) -> None:
    time = np.arange(3 * 48000) / 48000
    sine = 0.5 * np.sin(2 * np.pi * THIRD_OCTAVES_HZ[band] * time)
    levels = analyse_spectrum(
        sine[None].astype(np.float32), sample_rate=48000, active=always(3.0)
    ).third_octaves_db
    # Its mean square is 1/8; the window's main lobe spills over the narrowest bands.
    spill_db = 1.5 if band < 6 else 0.05
    assert levels[band] == pytest.approx(10 * math.log10(0.125), abs=spill_db)
    assert max(levels[: band - 1] + levels[band + 2 :]) < levels[band] - 25


def test_third_octaves_add_up_to_the_mean_square() -> None:
    signal = coloured_noise(4.0)
    levels = analyse_spectrum(signal[None], sample_rate=RATE, active=always(4.0)).third_octaves_db
    total_db = 10 * math.log10(sum(10 ** (level / 10) for level in levels))
    # What lies below 22 Hz is left out, and the ends of the signal weigh a little less.
    assert total_db == pytest.approx(10 * math.log10(np.mean(signal.astype(float) ** 2)), abs=0.15)


def test_bands_above_nyquist_are_empty() -> None:
    levels = analyse_spectrum(
        coloured_noise(rate=16000)[None], sample_rate=16000, active=always()
    ).third_octaves_db
    for centre, level in zip(THIRD_OCTAVES_HZ, levels, strict=True):
        assert (level == -math.inf) == (centre > 8000)


@pytest.mark.parametrize("frames", [0, 1, 1000, 50000])
def test_silence_has_no_spectrum(frames: int) -> None:
    result = analyse_spectrum(
        np.zeros((2, frames), np.float32), sample_rate=RATE, active=np.zeros(1, np.bool_)
    )
    assert math.isnan(result.centroid_hz)
    assert math.isnan(result.published_bandwidth_hz)
    assert set(result.third_octaves_db) == {-math.inf}
