"""The stereo field, on signals whose correlation is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal

from pipeline.report.stereo import measure_stereo

RATE = 48_000
NOISE = np.random.default_rng(4).standard_normal((3, 10 * RATE)).astype(np.float32) * 0.1


def test_equal_unrelated_and_opposite_channels() -> None:
    equal = measure_stereo(np.stack([NOISE[0], NOISE[0]]), sample_rate=RATE)
    assert (equal.correlation, equal.balance_db, equal.mono_loss_db) == (1.0, 0.0, 0.0)
    assert measure_stereo(NOISE[:1], sample_rate=RATE) == equal
    apart = measure_stereo(NOISE[:2], sample_rate=RATE)
    assert apart.correlation == pytest.approx(0.0, abs=0.02)
    assert apart.mono_loss_db == pytest.approx(10 * math.log10(2), abs=0.1)
    opposite = measure_stereo(np.stack([NOISE[0], -NOISE[0]]), sample_rate=RATE)
    assert (opposite.correlation, opposite.mono_loss_db) == (-1.0, 60.0)


def test_a_known_correlation_and_balance() -> None:
    left = NOISE[0]
    right = 0.5 * (0.6 * NOISE[0] + 0.8 * NOISE[1])
    field = measure_stereo(np.stack([left, right]), sample_rate=RATE)
    assert field.correlation == pytest.approx(0.6, abs=0.02)
    assert field.balance_db == pytest.approx(20 * math.log10(0.5), abs=0.1)
    assert np.nanmax(np.abs(np.array(field.correlation_by_band[8:]) - 0.6)) < 0.15


def test_bands_are_told_apart() -> None:
    sos = scipy.signal.butter(8, 500.0, "highpass", fs=RATE, output="sos")
    high = scipy.signal.sosfilt(sos, NOISE[:2])
    low = scipy.signal.sosfilt(scipy.signal.butter(8, 200.0, fs=RATE, output="sos"), NOISE[2])
    field = measure_stereo((high + np.stack([low, -low])).astype(np.float32), sample_rate=RATE)
    told = dict(zip(field.bands_hz, field.correlation_by_band, strict=True))
    assert told[80.0] < -0.95
    assert abs(told[4000.0]) < 0.1
    assert field.low_mono_loss_db > 15.0
    assert field.mono_loss_db < 5.0


def test_silence_and_a_single_channel() -> None:
    silent = measure_stereo(np.zeros((2, 100), np.float32), sample_rate=RATE)
    assert math.isnan(silent.correlation)
    assert (silent.mono_loss_db, silent.balance_db) == (0.0, 0.0)
    one = measure_stereo(np.stack([NOISE[0], 0 * NOISE[0]]), sample_rate=RATE)
    assert math.isnan(one.correlation)
    assert one.balance_db == -60.0
    assert one.mono_loss_db == pytest.approx(10 * math.log10(2), abs=1e-2)
