"""Faults of references: each is found, mended where it can be, and said; sound records pass."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from pipeline.units import FloatArray
from stage2.reference.faults import Condition, Repair, Trust
from stage2.reference.inspection import inspect_reference
from stage2.style.measure import THIRD_OCTAVES_HZ, measure_style

RATE = 44_100
SECONDS = 12
TIME = np.arange(RATE * SECONDS) / RATE
RNG = np.random.default_rng(11)


def band(low: float, high: float, order: int = 4) -> FloatArray:
    sos = scipy.signal.butter(order, [low, high], "bandpass", fs=RATE, output="sos")
    filtered = scipy.signal.sosfilt(sos, RNG.standard_normal((2, TIME.size)), axis=1)
    return np.asarray(filtered / filtered.std())


def record() -> FloatArray:
    """A record: kick, bass, a wide middle and cymbals that come and go."""
    kick = np.sin(2 * np.pi * 60 * TIME) * np.exp(-(TIME % 0.5) / 0.12)
    bass = np.sin(2 * np.pi * 98 * TIME) * (1.2 + np.sin(2 * np.pi * 0.7 * TIME))
    middle = band(200, 5000, 1) * (0.15 + np.exp(-(TIME % 0.75) / 0.2))
    middle = np.stack([middle[0], 0.8 * middle[0] + 0.5 * middle[1]])
    cymbals = band(4000, 20_000, 1) * (0.02 + np.exp(-((TIME + 0.25) % 1.5) / 0.25))
    mix = 0.5 * kick + 0.2 * bass + 0.3 * middle + 0.15 * cymbals
    mix = mix * np.where(TIME % 6.0 < 2.0, 0.02, 1.0)  # a bar with little in it
    return np.asarray(0.12 * mix / mix.std(), np.float32)


RECORD = record()


def kinds(audio: FloatArray, rate: int = RATE) -> tuple[str, ...]:
    return tuple(fault.kind for fault in inspect_reference(audio, sample_rate=rate)[1].faults)


def low_pass(audio: FloatArray, hz: float, order: int = 16) -> FloatArray:
    sos = scipy.signal.butter(order, hz, fs=RATE, output="sos")
    return np.asarray(scipy.signal.sosfiltfilt(sos, audio, axis=1), np.float32)


def test_a_record_without_faults_is_measured_as_it_is() -> None:
    audio, condition = inspect_reference(RECORD, sample_rate=RATE)
    assert condition == Condition()
    assert condition.trust.whole
    assert np.array_equal(audio, RECORD)
    assert Condition.from_record(condition.to_record()) == condition


@pytest.mark.parametrize("hz", [3400.0, 5000.0, 8000.0, 11_000.0, 15_000.0])
def test_a_low_pass_is_found_and_the_bands_over_it_are_lost(hz: float) -> None:
    audio, condition = inspect_reference(low_pass(RECORD, hz), sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["band-limited"]
    trusted = THIRD_OCTAVES_HZ[np.asarray(condition.trust.bands)].max()
    assert hz / 1.45 < trusted < hz * 1.1
    assert trusted < 16_000.0
    assert condition.trust.width
    assert audio.shape == RECORD.shape


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050])
def test_a_low_sample_rate_is_a_low_pass(rate: int) -> None:
    audio = scipy.signal.resample_poly(RECORD, rate, RATE, axis=1).astype(np.float32)
    _, condition = inspect_reference(audio, sample_rate=rate)
    assert [fault.kind for fault in condition.faults] == ["band-limited"]
    assert f"{rate} Hz" in condition.faults[0].what
    trusted = np.asarray(condition.trust.bands)
    assert not trusted[0.45 * rate < THIRD_OCTAVES_HZ].any()
    assert trusted[0.35 * rate > THIRD_OCTAVES_HZ].all()


def test_a_telephone_tells_the_middle_alone() -> None:
    sos = scipy.signal.butter(10, [300, 3400], "bandpass", fs=RATE, output="sos")
    audio = scipy.signal.sosfiltfilt(sos, RECORD, axis=1).astype(np.float32)
    _, condition = inspect_reference(audio, sample_rate=RATE)
    trusted = THIRD_OCTAVES_HZ[np.asarray(condition.trust.bands)]
    assert 200.0 < trusted.min() <= 400.0
    assert 2000.0 <= trusted.max() < 4000.0
    assert not condition.trust.punch_by_range[0]


@pytest.mark.parametrize(("low", "high"), [(4.0, 25.0), (20.0, 40.0)])
def test_rumble_is_found_and_filtered(low: float, high: float) -> None:
    spoilt = (RECORD + 0.15 * band(low, high, 2)).astype(np.float32)
    audio, condition = inspect_reference(spoilt, sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["rumble"]
    assert not any(condition.trust.bands[:3])
    assert all(condition.trust.bands[3:])
    mended, sound = (measure_style(a, sample_rate=RATE) for a in (audio, RECORD))
    assert mended.loudness_lufs == pytest.approx(sound.loudness_lufs, abs=0.3)
    assert condition.trust.width_by_range == (False, True, True, True)
    assert mended.width_db == pytest.approx(sound.width_db, abs=1.0)
    assert np.allclose(mended.spectrum_db[4:], sound.spectrum_db[4:], atol=4.0)


def test_an_inverted_channel_is_turned_back() -> None:
    audio, condition = inspect_reference(RECORD * np.float32([[1], [-1]]), sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["inverted channel"]
    assert np.array_equal(audio, RECORD)
    assert condition.trust.whole


@pytest.mark.parametrize("dead", [0, 1])
def test_of_a_dead_channel_the_other_is_the_middle(dead: int) -> None:
    spoilt = RECORD.copy()
    spoilt[dead] = 0.0
    audio, condition = inspect_reference(spoilt, sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["dead channel"]
    assert ("left", "right")[dead] in condition.faults[0].what
    assert np.array_equal(audio, np.repeat(RECORD[1 - dead : 2 - dead], 2, axis=0))
    trust = condition.trust
    assert not any((trust.width, trust.imbalance, *trust.width_by_range))
    assert all(trust.bands)


@pytest.mark.parametrize("left", [0.3, 3.0])
def test_of_a_louder_side_both_are_measured_as_equally_loud(left: float) -> None:
    audio, condition = inspect_reference(RECORD * np.float32([[left], [-1]]), sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["inverted channel", "lopsided"]
    mended, sound = (measure_style(a, sample_rate=RATE) for a in (audio, RECORD))
    assert abs(mended.imbalance_db) < 0.1
    assert mended.width_db == pytest.approx(sound.width_db, abs=0.5)
    assert not condition.trust.imbalance
    again = condition.repair.apply(RECORD * np.float32([[left], [-1]]), sample_rate=RATE)
    assert np.allclose(again, audio, atol=1e-6)


@pytest.mark.parametrize("audio", [RECORD[:1], np.repeat(RECORD[:1], 2, axis=0)])
def test_mono_tells_no_width(audio: FloatArray) -> None:
    _, condition = inspect_reference(audio, sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["mono"]
    assert not condition.trust.width


def test_other_faults_of_a_copy_are_found() -> None:
    quiet, condition = inspect_reference(RECORD * np.float32(0.02), sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["quiet"]
    assert condition.trust == Trust(loudness=False)
    assert np.array_equal(quiet, RECORD * np.float32(0.02))

    audio, condition = inspect_reference(RECORD + np.float32(0.05), sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["DC"]
    assert np.abs(audio.mean(axis=1)).max() < 1e-3
    assert condition.trust.whole

    clipped = np.clip(8.0 * RECORD, -1.0, 1.0).astype(np.float32)
    _, condition = inspect_reference(clipped, sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["clipping"]
    assert not condition.trust.dynamics
    assert not condition.trust.loudness

    pause = np.zeros((2, 9 * RATE), np.float32)
    audio, condition = inspect_reference(
        np.concatenate((pause, RECORD, pause), axis=1), sample_rate=RATE
    )
    assert [fault.kind for fault in condition.faults] == ["silence"]
    assert abs(audio.shape[1] - RECORD.shape[1]) <= 0.2 * RATE


def test_hum_and_hiss_take_the_bands_that_they_fill() -> None:
    mains = sum(np.sin(2 * np.pi * 50 * k * TIME) for k in (1, 3))
    _, condition = inspect_reference((RECORD + 0.2 * mains).astype(np.float32), sample_rate=RATE)
    assert "hum" in [fault.kind for fault in condition.faults]
    lost = THIRD_OCTAVES_HZ[~np.asarray(condition.trust.bands)]
    assert set(lost) <= {50.0, 160.0}
    assert lost.size

    hiss = 0.2 * band(6000, 20_000, 1)
    _, condition = inspect_reference((RECORD + hiss).astype(np.float32), sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["noise"]
    lost = THIRD_OCTAVES_HZ[~np.asarray(condition.trust.bands)]
    assert lost.min() >= 2000.0
    assert lost.max() == 16_000.0


def test_silence_and_noise_are_no_faults() -> None:
    assert kinds(np.zeros((2, RATE), np.float32)) == ()
    noise = RNG.standard_normal((2, 4 * RATE)).astype(np.float32)
    assert kinds(np.float32(0.1) * noise) == ()


def test_nothing_to_mend_gives_the_very_array() -> None:
    assert Repair().apply(RECORD, sample_rate=RATE) is RECORD


def test_instruments_on_one_side_are_no_faulty_channel() -> None:
    bass = 0.5 * np.sin(2 * np.pi * 98 * TIME) * (1.2 + np.sin(2 * np.pi * 0.7 * TIME))
    leaning = np.asarray(RECORD + np.stack([0.0 * bass, bass]), np.float32)
    audio, condition = inspect_reference(leaning, sample_rate=RATE)
    assert [fault.kind for fault in condition.faults] == ["leaning"]
    assert condition.repair == Repair()
    assert not condition.trust.imbalance
    assert condition.trust.width
    assert np.array_equal(audio, leaning)
