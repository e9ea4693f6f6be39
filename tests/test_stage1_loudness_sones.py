"""The gain that makes N5 equal: against N5 of whole tracks, and its bounds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from pipeline.audio.samples import FileSamples, HeldSamples
from pipeline.loudness.meter import EnergyMeter
from stage1.loudness.sones import (
    LISTENING_DB_SPL,
    MAX_SHIFT_LU,
    WORKING_LUFS,
    SonesLoudness,
    measure_sones,
)
from stage1.loudness.zwicker import band_powers, loudness, percentile_loudness, sone_to_phon

RATE = 48000


def meter(audio: np.ndarray, rate: int = RATE) -> EnergyMeter:
    result = EnergyMeter(sample_rate=rate, channels=audio.shape[0])
    result.process(audio)
    return result


def sones(audio: np.ndarray, rate: int = RATE) -> SonesLoudness:
    read = meter(audio, rate)
    return measure_sones(
        HeldSamples(audio, sample_rate=rate),
        active=read.active(),
        integrated_lufs=read.integrated_lufs,
    )


def shift(audio: np.ndarray) -> float:
    """How far the track is turned up against LUFS."""
    return meter(audio).integrated_lufs - sones(audio).lufs


def noise(slope: float, seconds: float = 4.0, low_hz: float = 20.0, seed: int = 1) -> np.ndarray:
    """Noise whose power falls with ``slope`` (0 white, 1 pink, 2 brown)."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(round(seconds * RATE)))
    hz = np.fft.rfftfreq(round(seconds * RATE), 1 / RATE)
    spectrum[hz < low_hz] = 0.0
    spectrum[1:] *= hz[1:] ** (-slope / 2)
    signal = np.fft.irfft(spectrum)
    return (0.1 * signal / signal.std()).astype(np.float32)[None]


def struck(signal: np.ndarray, every_s: float, decay_s: float) -> np.ndarray:
    time_s = np.arange(signal.shape[1]) / RATE
    return (signal * np.exp(-(time_s % every_s) / decay_s)).astype(np.float32)


def notes(f0_hz: float, harmonics: int, seconds: float = 4.0, every_s: float = 0.5) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * f0_hz * k * time_s) / k for k in range(1, harmonics + 1))
    return struck(0.1 * np.asarray(wave)[None], every_s, 0.3)


def n5_phon(audio: np.ndarray, lufs: float) -> float:
    """N5 of a whole track once balanced to the working level by ``lufs``."""
    powers = band_powers(audio, sample_rate=RATE)
    sone = loudness(powers, unit_db_spl=LISTENING_DB_SPL - lufs)
    active = meter(audio).active()
    hops = np.minimum(np.arange(sone.size) // 50, active.size - 1)
    return sone_to_phon(percentile_loudness(sone[active[hops]]))


def test_tracks_balanced_by_it_are_equally_loud() -> None:
    tracks = [
        notes(196.0, 12, seconds=15.0),
        notes(520.0, 3, seconds=15.0, every_s=0.37),
        struck(noise(1.3, 15.0), 0.41, 0.15),
        np.repeat(notes(110.0, 20, seconds=15.0), 2, axis=0),
    ]
    by_lufs = [n5_phon(x, meter(x).integrated_lufs) for x in tracks]
    by_sones = [n5_phon(x, sones(x).lufs) for x in tracks]
    assert np.ptp(by_lufs) > 3.0
    # phon: 0.05 for the solution, the rest for 6.4 s in place of the whole track
    assert np.ptp(by_sones) < 0.6


def test_speech_shaped_noise_is_the_reference() -> None:
    steady = noise(1.0)
    band = scipy.signal.butter(2, [150.0, 900.0], "bandpass", fs=RATE, output="sos")
    speech = scipy.signal.sosfilt(band, steady, axis=1).astype(np.float32)
    # a coarse likeness: within 1.5 LU of it
    assert shift(speech) == pytest.approx(0.0, abs=1.5)


@pytest.mark.parametrize("slope", [-1.0, 0.0, 1.0, 2.0])
def test_steady_noise_is_never_turned_up(slope: float) -> None:
    assert shift(noise(slope)) <= 0.05


@pytest.mark.parametrize("low_hz", [5000.0, 7000.0, 10000.0])
@pytest.mark.parametrize("decay_s", [0.02, 0.2])
def test_hats_are_never_turned_up(low_hz: float, decay_s: float) -> None:
    assert shift(struck(noise(0.0, low_hz=low_hz), 0.25, decay_s)) <= 0.0


def test_a_shaker_is_never_turned_up() -> None:
    band = scipy.signal.butter(4, [3000.0, 9000.0], "bandpass", fs=RATE, output="sos")
    shaken = struck(scipy.signal.sosfilt(band, noise(0.0), axis=1), 0.125, 0.05)
    assert shift(shaken) <= 0.0


def test_a_track_of_hiss_keeps_its_lufs() -> None:
    hiss = noise(0.0) * np.float32(10 ** (-45 / 20))
    assert -70.0 < meter(hiss).integrated_lufs < -55.0
    result = sones(hiss)
    assert result.lufs >= meter(hiss).integrated_lufs
    faint = hiss * np.float32(0.5)
    assert sones(faint).lufs == meter(faint).integrated_lufs


def test_a_bass_moves_up_and_no_farther_than_allowed() -> None:
    bass = notes(41.2, 3)
    assert shift(bass) == pytest.approx(MAX_SHIFT_LU)
    assert 0.0 < shift(notes(41.2, 30)) <= MAX_SHIFT_LU


def test_a_held_chord_is_not_taken_for_noise() -> None:
    time_s = np.arange(4 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (55.0, 110.0, 164.8))
    assert sones((0.1 * np.asarray(chord))[None].astype(np.float32)).rise_limit_lu == MAX_SHIFT_LU


@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.8, 1.0, 1.4])
def test_a_short_tone_moves_like_a_long_one(seconds: float) -> None:
    # Its onset and the silence behind it are no noise.
    time_s = np.arange(round(5.0 * RATE)) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 220.0 * time_s)).astype(np.float32)[None]
    assert shift(tone[:, : round(seconds * RATE)]) == pytest.approx(shift(tone), abs=0.2)  # LU


@pytest.mark.parametrize("seconds", [0.4, 0.8, 1.0, 1.4])
def test_short_noise_is_never_turned_up(seconds: float) -> None:
    assert shift(noise(0.0)[:, : round(seconds * RATE)]) <= 0.1  # LU


def test_gain_moves_it_by_as_much() -> None:
    track = notes(196.0, 12)
    softer = sones(track * np.float32(10 ** (-10 / 20)))
    assert softer.lufs == pytest.approx(sones(track).lufs - 10.0, abs=0.002)  # float32
    assert softer.n5_phon == pytest.approx(sones(track).n5_phon, abs=0.002)


def test_n5_is_that_at_the_working_level() -> None:
    track = notes(196.0, 12)
    whole = n5_phon(track, meter(track).integrated_lufs)
    assert sones(track).n5_phon == pytest.approx(whole, abs=0.3)  # passages settle in 0.2 s
    assert WORKING_LUFS == -23.0


def test_both_channels_alike_are_one_sound_twice() -> None:
    mono = notes(196.0, 12)
    stereo = np.repeat(mono, 2, axis=0)
    assert sones(stereo).lufs == pytest.approx(sones(mono).lufs + 10 * math.log10(2), abs=0.001)
    # and no short cut: one sample apart, both channels are computed
    apart = np.stack([mono[0], np.roll(mono[0], 1)])
    assert sones(apart).lufs == pytest.approx(sones(stereo).lufs, abs=0.01)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.05, 0.3])
def test_very_short_tracks(seconds: float) -> None:
    audio = notes(300.0, 5)[:, : round(seconds * RATE)]
    read = meter(audio) if audio.size else EnergyMeter(sample_rate=RATE, channels=1)
    result = measure_sones(
        HeldSamples(audio, sample_rate=RATE),
        active=read.active(),
        integrated_lufs=read.integrated_lufs,
    )
    if math.isfinite(read.integrated_lufs):
        assert abs(result.lufs - read.integrated_lufs) <= MAX_SHIFT_LU
    else:
        assert result.lufs == -math.inf


def test_silence() -> None:
    result = sones(np.zeros((2, RATE), np.float32))
    assert result.lufs == -math.inf
    assert math.isnan(result.n5_sone)


def test_a_file_reads_as_memory_does(tmp_path: Path) -> None:
    audio = notes(196.0, 12)
    soundfile.write(tmp_path / "x.wav", audio.T, RATE, subtype="FLOAT")
    read = meter(audio)
    from_file = measure_sones(
        FileSamples(tmp_path / "x.wav"),
        active=read.active(),
        integrated_lufs=read.integrated_lufs,
    )
    assert from_file == sones(audio)


def test_the_rest_between_notes_does_not_count() -> None:
    track = notes(196.0, 12)
    rests = np.concatenate([track, np.zeros((1, 20 * RATE), np.float32), track], axis=1)
    assert sones(rests).lufs == pytest.approx(sones(track).lufs, abs=0.5)


def test_a_louder_room_needs_less_for_the_bass() -> None:
    bass = notes(110.0, 12)
    read = meter(bass)
    moved = [
        read.integrated_lufs
        - measure_sones(
            HeldSamples(bass, sample_rate=RATE),
            active=read.active(),
            integrated_lufs=read.integrated_lufs,
            listening_db_spl=level,
        ).lufs
        for level in (65.0, 95.0)
    ]
    assert moved[1] < moved[0]
