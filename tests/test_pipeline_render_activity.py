"""Where a track plays, in tenths of a second."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.render.activity import PlayMeter


@pytest.mark.parametrize("rate", [44_100, 22_050, 11_025])
@pytest.mark.parametrize("block", [777, 65_536])
def test_a_track_plays_where_it_is_loud(rate: int, block: int) -> None:
    frames = 3 * rate + 5
    audio = np.full((2, frames), 1e-5, np.float32)  # a hiss at -100 dBFS
    audio[:, rate : 2 * rate] = 0.1
    audio[:, 2 * rate : 2 * rate + rate // 2] = 0.002  # 34 dB under it
    meter = PlayMeter(frames=frames, sample_rate=rate)
    for start in range(0, frames, block):
        meter.process(np.ascontiguousarray(audio[:, start : start + block]), start)
    plays = meter.plays()
    assert plays.size == 31
    assert np.flatnonzero(plays).tolist() == list(range(10, 20))
