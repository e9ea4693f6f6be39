import numpy as np
import pytest

from pipeline.console.compressor import GainReduction
from pipeline.console.parameters import BUS, STRIP, default_settings
from stage2.console.tame import MOST_STEP_DB, curve_db, smooth_equaliser, softer

RATE = 44_100


def test_a_smooth_curve_is_left_as_it_is() -> None:
    settings = default_settings(BUS) | {"low_shelf_gain_db": -2.0, "high_shelf_gain_db": 1.5}
    assert smooth_equaliser(settings, BUS, sample_rate=RATE, most_db=4.0) == settings


@pytest.mark.parametrize("q", [2.0, 4.0, 6.0])
def test_a_narrow_band_is_lowered_until_its_flanks_are_gentle(q: float) -> None:
    settings = default_settings(STRIP) | {"low_mid_peak_gain_db": -12.0, "low_mid_peak_q": q}
    smooth = smooth_equaliser(settings, STRIP, sample_rate=RATE, most_db=6.0)
    curve = curve_db(smooth, STRIP, sample_rate=RATE)
    assert np.abs(np.diff(curve)).max() <= MOST_STEP_DB
    assert np.abs(curve).max() <= 6.0
    assert smooth["low_mid_peak_gain_db"] < -1.0


def test_bands_that_add_up_are_lowered_together() -> None:
    gains = {band.gain_name: 4.0 for band in BUS.eq_bands}
    smooth = smooth_equaliser(default_settings(BUS) | gains, BUS, sample_rate=RATE, most_db=4.0)
    assert np.abs(curve_db(smooth, BUS, sample_rate=RATE)).max() <= 4.0
    assert len({round(smooth[name], 9) for name in gains}) == 1


def test_the_high_pass_is_no_tooth() -> None:
    settings = default_settings(STRIP) | {"high_pass_hz": 120.0}
    assert np.abs(curve_db(settings, STRIP, sample_rate=RATE)).max() == 0.0


def test_a_compressor_that_takes_too_much_gets_a_higher_threshold() -> None:
    settings = default_settings(STRIP) | {"threshold_lu": -6.0, "ratio": 3.0}
    limits = {"most_mean_db": 4.0, "most_p95_db": 8.0, "highest_lu": 12.0}
    assert softer(settings, GainReduction(5.0, 2.0, p95_db=5.0), **limits) is None
    eased = softer(settings, GainReduction(14.0, 6.0, p95_db=12.0), **limits)
    assert eased is not None
    assert eased["threshold_lu"] > -6.0 + 4.0 / (2.0 / 3.0)
