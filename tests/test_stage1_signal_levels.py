"""Levels against plain numpy on the whole signal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stage1.signal.framing import Framer, is_silent
from stage1.signal.levels import LevelMeter, Stereo

RATE = 44_100


def noise(seconds: float, channels: int) -> np.ndarray:
    rng = np.random.default_rng(channels)
    audio = 0.1 * rng.standard_normal((channels, round(seconds * RATE)))
    return (audio * np.linspace(0.01, 1.0, audio.shape[1])).astype(np.float32)


@given(sizes=st.lists(st.integers(100, 30_000), min_size=1, max_size=6), channels=st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_rms_floor_and_image_are_those_of_the_whole(sizes: list[int], channels: int) -> None:
    audio = noise(2.35, channels)
    active = np.arange(24) % 3 > 0
    meter = LevelMeter(sample_rate=RATE, channels=channels)
    start = turn = 0
    while start < audio.shape[1]:
        size = sizes[turn % len(sizes)]
        meter.process(audio[:, start : start + size])
        start, turn = start + size, turn + 1
    hops = [audio[:, k * 4410 : (k + 1) * 4410].astype(float) for k in range(24)]
    playing = np.concatenate([hop for hop, on in zip(hops, active, strict=True) if on], axis=1)
    rms, floor = meter.levels(active)
    assert rms == pytest.approx(10 * math.log10(np.mean(playing**2)), abs=1e-9)
    quiet = np.percentile([np.mean(hop**2) for hop in hops], 5)
    assert floor == pytest.approx(10 * math.log10(quiet), abs=1e-9)
    stereo = meter.image()
    if channels == 1:
        assert stereo == Stereo(-math.inf, 1.0, 0.0)
        return
    left, right = audio.astype(float)
    wanted = np.sum((left - right) ** 2) / np.sum((left + right) ** 2)
    assert stereo.side_to_mid_db == pytest.approx(10 * math.log10(wanted), abs=1e-9)
    cosine = left @ right / math.sqrt((left @ left) * (right @ right))
    assert stereo.correlation == pytest.approx(cosine, abs=1e-12)
    assert stereo.lr_balance_db == pytest.approx(
        10 * math.log10((right @ right) / (left @ left)), abs=1e-9
    )


def test_nothing_has_no_level() -> None:
    meter = LevelMeter(sample_rate=RATE, channels=2)
    assert meter.levels(np.zeros(1, np.bool_)) == (-math.inf, -math.inf)
    stereo = meter.image()
    assert (stereo.side_to_mid_db, stereo.lr_balance_db) == (-math.inf, 0.0)
    assert math.isnan(stereo.correlation)


@given(
    sizes=st.lists(st.integers(1, 500), min_size=1, max_size=8),
    frames=st.integers(0, 900),
    hop=st.integers(1, 64),
    batch=st.integers(1, 7),
    lead=st.integers(0, 32),
)
@settings(max_examples=100, deadline=None)
def test_frames_are_those_of_the_padded_whole(
    sizes: list[int], frames: int, hop: int, batch: int, lead: int
) -> None:
    audio = np.arange(1, 2 * frames + 1, dtype=np.float32).reshape(2, frames)
    framer = Framer(2, length=64, hop=hop, batch=batch, lead=lead)
    found = []
    start = turn = 0
    while start < frames:
        size = sizes[turn % len(sizes)]
        found += [framer.framed.copy() for _ in framer.push(audio[:, start : start + size])]
        start, turn = start + size, turn + 1
    assert framer.frames == frames
    count = 1 + frames // hop
    found += [framer.framed.copy() for _ in framer.rest(count)]
    padded = np.pad(audio, ((0, 0), (lead, 64 + (count + batch) * hop)))
    framed = np.concatenate(found, axis=1)
    assert framed.shape[1] >= count
    for k in range(count):
        np.testing.assert_array_equal(framed[:, k], padded[:, k * hop : k * hop + 64])


def test_silence_is_told_from_the_smallest_sample() -> None:
    line = np.zeros((2, 100), np.float32)
    assert is_silent(line)
    line[1, 99] = 1e-45
    assert not is_silent(line)
    with pytest.raises(ValueError, match="hop is 65"):
        Framer(1, length=64, hop=65, batch=1, lead=0)
