"""Masking between stems, on noises whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal

from pipeline.report.masking import Masking, MaskingMeter

RATE = 44_100
SECONDS = 12
Audio = npt.NDArray[np.float32]


def _noise(low_hz: float, high_hz: float, level_db: float, seed: int, on: float = 1.0) -> Audio:
    """Return band noise of so much RMS on both channels, there for a share of the time."""
    noise = np.random.default_rng(seed).standard_normal((2, SECONDS * RATE))
    sos = scipy.signal.butter(6, (low_hz, high_hz), "bandpass", fs=RATE, output="sos")
    band = scipy.signal.sosfilt(sos, noise)
    band *= 10.0 ** (level_db / 20.0) / np.sqrt(np.mean(np.square(band)))
    band[:, round(on * SECONDS * RATE) :] = 0.0
    return np.asarray(band, np.float32)


def _measure(stems: Mapping[str, Audio], block: int = 65_536) -> Masking:
    meter = MaskingMeter(tuple(stems), sample_rate=RATE)
    for index, audio in enumerate(stems.values()):
        for start in range(0, audio.shape[1], block):
            meter.process(index, audio[:, start : start + block])
    return meter.result()


def test_a_louder_noise_in_the_same_band_covers_while_it_plays() -> None:
    voice = _noise(2000, 4000, -30, 1)
    masking = _measure({"voice": voice, "guitars": _noise(2000, 4000, -16, 2, on=0.6)})
    (covered,) = masking.covered
    assert (covered.stem, covered.by) == ("voice", "guitars")
    assert covered.time_share == pytest.approx(0.6, abs=0.02)
    assert covered.excess_db == pytest.approx(14.0, abs=1.0)
    assert 2000.0 <= covered.low_hz <= 2320.0
    assert 3000.0 < covered.high_hz <= 4400.0
    assert masking.shares[0][1] == pytest.approx(0.6, abs=0.02)
    assert masking.shares[1] == (0.0, 0.0)  # the louder is not covered by the softer


@pytest.mark.parametrize(
    "other",
    [
        _noise(2000, 4000, -28, 2),  # 2 dB over it: both are heard
        _noise(200, 400, -16, 2),  # a different register
        _noise(2000, 4000, -16, 2, on=0.3),  # now and then
    ],
    ids=["as loud", "elsewhere", "seldom"],
)
def test_what_does_not_hide_is_not_told(other: Audio) -> None:
    assert _measure({"voice": _noise(2000, 4000, -30, 1), "other": other}).covered == ()


def test_taking_turns_hides_nothing() -> None:
    voice = _noise(500, 1000, -30, 1, on=0.5)
    other = np.ascontiguousarray(_noise(500, 1000, -10, 2, on=0.5)[:, ::-1])
    masking = _measure({"voice": voice, "other": other})
    assert masking.covered == ()
    assert masking.shares[0][1] == pytest.approx(0.0, abs=0.02)


def test_masking_spreads_upwards_more_than_downwards() -> None:
    voice = _noise(1500, 1700, -40, 1)
    below = _measure({"voice": voice, "other": _noise(1100, 1250, -14, 2)})
    above = _measure({"voice": voice, "other": _noise(2050, 2300, -14, 2)})
    assert below.shares[0][1] > 0.9
    assert above.shares[0][1] < 0.1


def test_several_hide_what_none_of_them_does_alone() -> None:
    stems = {"voice": _noise(1000, 2000, -30, 1)} | {
        str(n): _noise(1000, 2000, -27.5, 10 + n) for n in range(4)
    }
    masking = _measure(stems)
    assert max(masking.shares[0]) < 0.2
    assert masking.by_all[0] > 0.8
    assert masking.covered == ()


def test_silence_and_no_stems_are_nothing() -> None:
    silent = np.zeros((2, SECONDS * RATE), np.float32)
    masking = _measure({"a": silent, "b": _noise(500, 1000, -20, 1), "c": silent})
    assert masking.covered == ()
    assert masking.shares == ((0.0,) * 3,) * 3
    assert masking.by_all == (0.0,) * 3
    assert _measure({}).covered == ()
    assert _measure({"short": np.ones((2, 10), np.float32)}).by_all == (0.0,)


def test_blocks_of_any_size_give_the_same() -> None:
    stems = {"a": _noise(500, 4000, -30, 1), "b": _noise(300, 2000, -22, 2)}
    whole = _measure(stems, block=SECONDS * RATE)
    assert _measure(stems, block=3001) == whole
