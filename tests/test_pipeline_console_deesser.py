import numpy as np
import pytest

from pipeline.console.deesser import DeEsser
from pipeline.console.parameters import STRIP, default_settings

RATE = 44_100
SETTINGS = default_settings(STRIP) | {
    "deess_db": 6.0, "deess_hz": 5500.0, "deess_threshold_lu": -10.0,
}  # fmt: skip


def tone(hz: float, amplitude: float, seconds: float = 0.5) -> np.ndarray:
    wave = amplitude * np.sin(2.0 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)
    return np.stack((wave, wave))


def gain_db(x: np.ndarray, settings: dict[str, float] = SETTINGS) -> float:
    y = x.copy()
    DeEsser(settings, level_lufs=-20.0, sample_rate=RATE).run(y)
    half = x.shape[1] // 2
    return float(10.0 * np.log10(np.square(y[:, half:]).mean() / np.square(x[:, half:]).mean()))


def test_loud_sibilants_are_lowered_as_far_as_allowed_and_no_further() -> None:
    assert gain_db(tone(9000.0, 0.5)) == pytest.approx(-3.7, abs=0.3)
    assert gain_db(tone(15000.0, 0.5)) == pytest.approx(-5.8, abs=0.4)


def test_what_is_quiet_or_low_is_left_alone() -> None:
    assert gain_db(tone(9000.0, 0.01)) == pytest.approx(0.0, abs=1e-6)
    assert gain_db(tone(300.0, 0.5)) == pytest.approx(0.0, abs=0.02)


def test_nothing_under_the_sibilants_is_ever_lifted() -> None:
    for hz in (500.0, 1500.0, 3000.0, 5000.0):
        assert gain_db(tone(hz, 0.2) + tone(12000.0, 0.5)) <= 0.0


def test_off_is_off_to_the_bit_and_blocks_change_nothing() -> None:
    x = 0.2 * np.random.default_rng(0).standard_normal((2, 20_000))
    off = x.copy()
    DeEsser(default_settings(STRIP), level_lufs=-20.0, sample_rate=RATE).run(off)
    np.testing.assert_array_equal(off, x)
    whole = x.copy()
    DeEsser(SETTINGS, level_lufs=-20.0, sample_rate=RATE).run(whole)
    parts = x.copy()
    chain = DeEsser(SETTINGS, level_lufs=-20.0, sample_rate=RATE)
    for start in range(0, 20_000, 777):
        block = np.ascontiguousarray(parts[:, start : start + 777])
        chain.run(block)
        parts[:, start : start + 777] = block
    np.testing.assert_array_equal(parts, whole)
    assert 0.0 < chain.gain_reduction.mean_db <= chain.gain_reduction.max_db <= 6.0
