"""What compressor, limiter and true-peak meter tell of time: exact, whatever the blocks."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.console.compressor import COURSE_S, Compressor, GainReduction
from pipeline.console.limiter import TruePeakLimiter
from pipeline.console.parameters import STRIP, default_settings
from pipeline.loudness.meter import measure
from pipeline.loudness.true_peak import true_peaks_dbtp

RATE = 44_100
SETTINGS = default_settings(STRIP) | {
    "threshold_lu": -30.0, "ratio": 4.0, "knee_db": 0.0, "attack_ms": 5.0, "release_ms": 50.0,
}  # fmt: skip
Audio = npt.NDArray[np.float64]


def _bursts(*levels: float) -> Audio:
    """Return a second of noise at each level in turn."""
    noise = np.random.default_rng(1).standard_normal((2, RATE * len(levels)))
    return np.asarray(noise * np.repeat(levels, RATE))


def _compressed(x: Audio, block: int) -> GainReduction:
    compressor = Compressor(SETTINGS, level_lufs=0.0, sample_rate=RATE)
    for start in range(0, x.shape[1], block):
        compressor.process(x[:, start : start + block])
    return compressor.gain_reduction


def _limited(x: Audio, block: int) -> GainReduction:
    limiter = TruePeakLimiter(-1.0, sample_rate=RATE)
    for start in range(0, x.shape[1], block):
        limiter.process(x[:, start : start + block])
    limiter.flush()
    return limiter.gain_reduction


def test_a_compressors_course_follows_its_curve() -> None:
    told = _compressed(_bursts(0.0, 0.1, 0.0, 0.3), RATE)
    assert len(told.course_db) == round(4.0 / COURSE_S)
    assert told.course_db[:2] == (0.0, 0.0)
    # 3/4 of what is over -30 dBFS: noise of 0.1 is -20, of 0.3 about -10.5; its level wavers
    assert told.course_db[3] == pytest.approx(0.75 * 10.0, abs=0.6)
    assert told.course_db[7] == pytest.approx(0.75 * 19.5, abs=0.6)
    assert told.course_db[5] < 0.1
    assert max(told.course_db) == pytest.approx(told.max_db, abs=0.005)


def test_a_limiters_course_is_in_the_time_of_its_input() -> None:
    x = np.zeros((2, 3 * RATE))
    x[:, RATE + 10] = 2.0  # 10 frames into the third half second
    told = _limited(x, RATE)
    assert told.course_db[2] == pytest.approx(20 * math.log10(2.0) + 1.1, abs=0.1)
    assert told.course_db[0] == 0.0
    assert max(told.course_db) == pytest.approx(told.max_db, abs=0.005)
    assert len(told.course_db) == 6


@pytest.mark.parametrize("block", [999, 20_001, 22_050, 65_536])
def test_blocks_change_no_course(block: int) -> None:
    x = _bursts(0.05, 0.5, 0.2)
    assert _compressed(x, block).course_db == _compressed(x, x.shape[1]).course_db
    assert _limited(x, block).course_db == _limited(x, x.shape[1]).course_db


def test_what_does_nothing_has_no_course_worth_a_word() -> None:
    assert max(_limited(_bursts(0.01), 4096).course_db) == 0.0
    assert (
        Compressor(
            default_settings(STRIP), level_lufs=0.0, sample_rate=RATE
        ).gain_reduction.course_db
        == ()
    )


def test_true_peaks_by_the_second() -> None:
    x = _bursts(0.02, 0.1, 0.0, 0.05)[:, : round(3.5 * RATE)].astype(np.float32)
    peaks = true_peaks_dbtp(x, sample_rate=RATE)
    assert len(peaks) == 4
    assert max(peaks) == pytest.approx(measure(x, sample_rate=RATE).true_peak_dbtp, abs=0.006)
    for second in (0, 1, 3):
        piece = x[:, second * RATE : (second + 1) * RATE]
        alone = measure(piece, sample_rate=RATE).true_peak_dbtp
        # cut out, its ends overshoot, and what rings on from the second before is missing
        assert peaks[second] == pytest.approx(alone, abs=0.5)
    assert true_peaks_dbtp(np.zeros((2, RATE), np.float32), sample_rate=RATE) == (-math.inf,)
    assert true_peaks_dbtp(np.zeros((2, 0), np.float32), sample_rate=RATE) == ()
