"""Meters against the EBU's published test signals, pyloudnorm and a plain full-length filter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyloudnorm
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.loudness.meter import (
    EnergyMeter,
    LoudnessMeter,
    gated_lufs,
    integrated_loudness,
    k_weighting,
    measure,
)
from pipeline.loudness.true_peak import TruePeakMeter

RATE = 48000
Segments = Sequence[tuple[float, float]]


def tone(segments: Segments, *, frequency_hz: float = 1000.0, channels: int = 2) -> np.ndarray:
    """A sine whose peak level in dBFS changes: ``(level_db, seconds)`` after one another."""
    gain = np.concatenate([np.full(round(s * RATE), 10 ** (level / 20)) for level, s in segments])
    sine = np.sin(2 * np.pi * frequency_hz * np.arange(gain.size) / RATE)
    return np.tile((gain * sine).astype(np.float32), (channels, 1))


def noise(seconds: float, *, rate: int = RATE, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Noise with a slow swell, so that the gates have something to do."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    swell = 10 ** (-1.5 * (1 + np.cos(2 * np.pi * np.arange(n) / n)) / 2)
    return (0.2 * swell * rng.standard_normal((channels, n))).astype(np.float32)


@pytest.mark.parametrize(
    ("segments", "expected_lufs"),
    [
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
    ids=["1", "2", "3", "4", "5"],
)
def test_integrated_loudness_of_ebu_tech_3341(segments: Segments, expected_lufs: float) -> None:
    meter = EnergyMeter(sample_rate=RATE, channels=2)
    meter.process(tone(segments))
    # ±0.1 LU is the standard's own tolerance.
    assert meter.integrated_lufs == pytest.approx(expected_lufs, abs=0.1)


def test_integrated_loudness_of_five_channels_ebu_tech_3341_case_6() -> None:
    levels = np.array([-28, -28, -24, -30, -30])
    audio = tone([(0, 20)], channels=5) * (10 ** (levels / 20))[:, None].astype(np.float32)
    meter = EnergyMeter(sample_rate=RATE, channels=5)
    meter.process(audio)
    assert meter.integrated_lufs == pytest.approx(-23.0, abs=0.1)


def test_short_term_loudness_is_steady_ebu_tech_3341_case_9() -> None:
    result = measure(tone([(-20, 1.34), (-30, 1.66)] * 5), sample_rate=RATE)
    assert result.short_term_lufs == pytest.approx(-23.0, abs=0.1)


def test_momentary_loudness_is_steady_ebu_tech_3341_case_12() -> None:
    meter = EnergyMeter(sample_rate=RATE, channels=2)
    meter.process(tone([(-20, 0.18), (-30, 0.22)] * 25))
    assert meter.momentary_lufs[10:] == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("delay", range(0, 20, 3))
def test_largest_loudness_of_a_burst_anywhere_ebu_tech_3341_cases_10_and_13(delay: int) -> None:
    short = measure(tone([(-200, delay * 0.15), (-23, 3), (-200, 1)]), sample_rate=RATE)
    assert short.max_short_term_lufs == pytest.approx(-23.0, abs=0.1)
    burst = measure(tone([(-200, delay * 0.02), (-23, 0.4), (-200, 1)]), sample_rate=RATE)
    assert burst.max_momentary_lufs == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(
    ("divisor", "phase_deg", "amplitude", "expected_dbtp"),
    [(4, 0, 0.5, -6.0), (4, 45, 0.5, -6.0), (6, 60, 0.5, -6.0), (8, 67.5, 0.5, -6.0),
     (4, 45, 1.41, 3.0)],
)  # fmt: skip
def test_true_peak_of_ebu_tech_3341_cases_15_to_19(
    divisor: int, phase_deg: float, amplitude: float, expected_dbtp: float
) -> None:
    phase = 2 * np.pi * np.arange(RATE) / divisor + np.radians(phase_deg)
    fade = np.minimum(1.0, np.arange(RATE) / 2400)  # an abrupt start overshoots by itself
    audio = amplitude * np.sin(phase) * fade * fade[::-1]
    peak = measure(audio[None].astype(np.float32), sample_rate=RATE).true_peak_dbtp
    assert expected_dbtp - 0.4 <= peak <= expected_dbtp + 0.2


@pytest.mark.parametrize(
    ("segments", "expected_lu"),
    [
        ([(-20, 20), (-30, 20)], 10.0),
        ([(-20, 20), (-15, 20)], 5.0),
        ([(-40, 20), (-20, 20)], 20.0),
        ([(-50, 20), (-35, 20), (-20, 20), (-35, 20), (-50, 20)], 15.0),
    ],
)
def test_loudness_range_of_ebu_tech_3342(segments: Segments, expected_lu: float) -> None:
    meter = EnergyMeter(sample_rate=RATE, channels=2)
    meter.process(tone(segments))
    # The standard allows ±1 LU; on exact tones there is next to nothing to allow for.
    assert meter.loudness_range_lu == pytest.approx(expected_lu, abs=0.1)


@pytest.mark.parametrize("rate", [22050, 32000, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_integrated_loudness_equals_pyloudnorm(rate: int, channels: int) -> None:
    audio = noise(6.0, rate=rate, channels=channels)
    reference = pyloudnorm.Meter(rate, filter_class="DeMan")
    expected = reference.integrated_loudness(audio.T.astype(np.float64))
    assert measure(audio, sample_rate=rate).integrated_lufs == pytest.approx(expected, abs=0.001)


def test_k_weighting_at_48_khz_is_the_table_of_the_standard() -> None:
    shelf, high_pass = k_weighting(48000)
    # BS.1770-5 annex 1, tables 1 and 2; the tables' digits.
    assert shelf == pytest.approx(
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241,
         0.73248077421585], abs=1e-9
    )  # fmt: skip
    assert high_pass == pytest.approx(
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621], abs=1e-9
    )


@pytest.mark.parametrize("rate", [44100, 48000, 88200, 96000, 192000])
def test_true_peak_equals_a_sixteen_times_oversampled_signal(rate: int) -> None:
    # Up to 0.3 of the rate: there, four times oversampling misses a peak by 0.5 dB at the worst
    # (BS.1770-5 annex 2, attachment 1), and noise long enough hits near one.
    rng = np.random.default_rng(1)
    sections = scipy.signal.butter(8, 0.3 * 20000, fs=min(rate, 48000), output="sos")
    audio = scipy.signal.sosfilt(sections, rng.standard_normal(20000)) * 0.3
    full = np.abs(scipy.signal.resample_poly(audio, 16, 1)).max()
    peak = measure(audio[None].astype(np.float32), sample_rate=rate).true_peak_dbtp
    oversampling = 4 if rate < 88200 else 2 if rate < 176400 else 1
    below = {4: 0.1, 2: 0.3, 1: 1.2}[oversampling]
    assert 20 * np.log10(full) - below <= peak <= 20 * np.log10(full) + 0.02


@pytest.mark.parametrize("cutoff_hz", [60.0, 400.0, 3000.0, 12000.0, 23000.0])
def test_true_peak_with_skipping_equals_the_whole_interpolation(cutoff_hz: float) -> None:
    from pipeline.loudness.true_peak import _interpolator

    sections = scipy.signal.butter(2, cutoff_hz, fs=RATE, output="sos")
    audio = scipy.signal.sosfilt(sections, noise(2.0, channels=1)).astype(np.float32)
    phases = _interpolator(4)
    whole = max(np.abs(np.convolve(audio[0].astype(float), h[::-1])).max() for h in phases)
    expected = 20 * np.log10(max(whole, np.abs(audio).max()))
    # float32 sums of 32 products: 1e-6 relative is 1e-5 dB.
    assert measure(audio, sample_rate=RATE).true_peak_dbtp == pytest.approx(expected, abs=1e-4)


def test_true_peak_sees_an_overshoot_at_the_end() -> None:
    audio = np.zeros((1, 1000), np.float32)
    audio[0, -2:] = 0.5  # between two equal samples the band-limited signal is higher than both
    meter = TruePeakMeter(sample_rate=RATE, channels=1)
    meter.process(audio)
    first = meter.true_peak_dbtp
    assert first > meter.sample_peak_dbfs + 1.5
    assert meter.true_peak_dbtp == first  # reading leaves the meter as it was


@given(st.lists(st.integers(0, 9000), max_size=12), st.sampled_from([22050, 44100, 48000]))
@settings(max_examples=25, deadline=None)
def test_block_sizes_change_nothing(cuts: list[int], rate: int) -> None:
    audio = noise(3.4, rate=rate, channels=2, seed=3)
    meter = LoudnessMeter(sample_rate=rate, channels=2)
    position = 0
    for size in [*cuts, audio.shape[1]]:
        meter.process(audio[:, position : position + size])
        position += size
    whole = measure(audio, sample_rate=rate)
    assert meter.result() == whole
    assert np.array_equal(meter.short_term_lufs, whole.short_term_lufs)


@pytest.mark.parametrize("frames", [0, 1, 100, 30000, 200000])
def test_silence_is_minus_infinity(frames: int) -> None:
    result = measure(np.zeros((2, frames), np.float32), sample_rate=RATE)
    assert result.integrated_lufs == -math.inf
    assert result.max_momentary_lufs == -math.inf
    assert result.true_peak_dbtp == -math.inf
    assert result.sample_peak_dbfs == -math.inf
    assert result.loudness_range_lu == 0.0


def test_a_short_sound_is_one_gating_block_filled_up_with_silence() -> None:
    audio = tone([(-20, 0.1)])
    padded = np.pad(audio, ((0, 0), (0, round(0.3 * RATE))))
    short = measure(audio, sample_rate=RATE).integrated_lufs
    # The padded one also holds the filter's ringing, 0.02 LU at most.
    assert short == pytest.approx(measure(padded, sample_rate=RATE).integrated_lufs, abs=0.02)
    assert short == pytest.approx(-20 - 6.02, abs=0.1)


def test_mono_is_one_channel() -> None:
    audio = noise(2.0, channels=1)
    mono = measure(audio, sample_rate=RATE).integrated_lufs
    both = measure(np.tile(audio, (2, 1)), sample_rate=RATE).integrated_lufs
    assert both - mono == pytest.approx(10 * math.log10(2), abs=1e-6)


def test_activity_marks_what_plays() -> None:
    meter = EnergyMeter(sample_rate=RATE, channels=1)
    meter.process(tone([(-90, 3), (-20, 2), (-50, 3)], channels=1))
    active = meter.active()
    assert active.size == 80
    assert not active[:26].any()
    assert active[30:50].all()
    assert not active[54:].any()


def test_digital_silence_after_sound_is_as_fast_as_sound() -> None:
    # Without flushing, the filter states stay denormal for ever and the energies with them.
    meter = EnergyMeter(sample_rate=RATE, channels=1)
    meter.process(tone([(-20, 0.5), (-2000, 8)], channels=1))
    assert meter.segment_power()[-1] == 0.0
    assert meter.segment_power()[60] > 0.0


def test_gated_loudness_of_no_block_is_silence() -> None:
    assert gated_lufs(np.zeros(0)) == -math.inf


@pytest.mark.parametrize("channels", [0, 6])
def test_impossible_channels_are_refused(channels: int) -> None:
    with pytest.raises(ValueError, match=f"not {channels}"):
        EnergyMeter(sample_rate=RATE, channels=channels)


def test_a_block_of_another_shape_is_refused() -> None:
    meter = LoudnessMeter(sample_rate=RATE, channels=2)
    with pytest.raises(ValueError, match=r"\(2, frames\), got \(1, 10\)"):
        meter.process(np.zeros((1, 10), np.float32))


@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_alone_is_that_of_all_the_meters(channels: int) -> None:
    audio = np.random.default_rng(5).normal(0.0, 0.1, (channels, 3 * 48000)).astype(np.float32)
    whole = measure(audio, sample_rate=48000).integrated_lufs
    assert integrated_loudness(audio, sample_rate=48000) == whole
    assert integrated_loudness(np.zeros_like(audio), sample_rate=48000) == -math.inf
