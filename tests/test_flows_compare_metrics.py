"""Spread of loudness and audibility, on tracks whose figures are known."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flows.compare.metrics import audibility_db, spreads_lu
from stage1.loudness.narrowband import METHODS


class Track:
    """What the figures ask of a track's features."""

    def __init__(self, lufs: float, bands: dict[int, float], active_share: float = 1.0) -> None:
        levels_db = tuple(bands.get(index, -math.inf) for index in range(30))
        self.spectrum = SimpleNamespace(third_octaves_db=levels_db)
        self.extent = SimpleNamespace(active_share=active_share)
        self.silent = not bands
        self._lufs = lufs

    def loudness(self, method: str) -> float:
        return self._lufs + METHODS.index(method)


def test_spread_is_the_deviation_from_what_was_meant() -> None:
    tracks: list[Any] = [Track(-20.0, {5: -20.0}), Track(-30.0, {}), Track(-10.0, {}),
                         Track(-12.0, {}), Track(-40.0, {})]  # fmt: skip
    groups = ["drums", "drums", "drums", "bass", "keys"]
    # after the gain: -24, -26, -30 (meant 5 lower: -25); bass and keys are alone
    gains, targets = (-4.0, 4.0, -20.0, 0.0, 3.0), (-25.0, -25.0, -30.0, -25.0, math.nan)
    found = spreads_lu(tracks, groups, gains, targets)
    assert list(found) == list(METHODS)
    for judge in METHODS:  # a method that reads 1 LU more everywhere finds the same spread
        assert found[judge] == {
            "drums": pytest.approx(np.std([1.0, -1.0, 0.0])),
            "all": pytest.approx(np.std([1.0, -1.0, 0.0])),
        }
    # a track that is not heard does not count
    muted = spreads_lu(tracks, groups, (-4.0, 4.0, math.nan, 0.0, 3.0), targets)
    assert muted[METHODS[0]]["drums"] == pytest.approx(1.0)
    assert math.isnan(spreads_lu(tracks[:1], groups[:1], gains[:1], targets[:1])["lufs"]["all"])


def test_audibility_is_the_level_against_the_rest_in_a_track_s_own_bands() -> None:
    low = Track(-20.0, {3: -20.0, 20: -60.0})
    high = Track(-20.0, {20: -20.0, 21: -23.0}, active_share=0.1)
    also_low = Track(-20.0, {3: -30.0, 21: -80.0})
    silent = Track(-math.inf, {})
    other = Track(-20.0, {3: -20.0})
    tracks: list[Any] = [low, high, also_low, silent, other]
    groups = ["drums", "drums", "drums", "drums", "bass"]
    found = audibility_db(tracks, groups, (0.0, 0.0, 6.0, 0.0, 0.0))
    assert found[0] == pytest.approx(-20.0 - -24.0, abs=0.01)  # over the third at +6 dB
    # over -60 and, at +6 dB, -74 dB: its own two bands sum to -18.24 dB
    assert found[1] == pytest.approx(-18.24 - -59.83, abs=0.01)
    assert found[2] == pytest.approx(-24.0 - -20.0, abs=0.01)
    assert math.isnan(found[3])
    assert found[4] == math.inf
    muted = audibility_db(tracks, groups, (0.0, 0.0, math.nan, 0.0, 0.0))
    assert math.isnan(muted[2])
    assert muted[0] == math.inf  # nothing else is in its band
    # what plays a tenth of the time covers another by a tenth of its power
    assert audibility_db([Track(-20.0, {20: -20.0}), high], ["drums"] * 2, (0.0, 0.0))[
        0
    ] == pytest.approx(10.0, abs=0.01)
