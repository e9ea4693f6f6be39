"""Mono losses against sums of real signals, and what is said of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.console.processors import pan_gains
from stage1.balance.gains import TrackBalance
from stage1.balance.mono_compatibility import mono_loss_db, mono_warnings
from stage1.balance.placement import Placement
from stage1.signal.levels import Stereo
from stage1.sources.records import Relations
from stage1.sources.relations import Relation


@dataclass(frozen=True)
class Width:
    name: str
    channels: int = 1
    correlation: float = 1.0

    @property
    def stereo(self) -> Stereo:
        return Stereo(0.0, self.correlation, 0.0)


@pytest.mark.parametrize(("rho", "right_db"), [(0.7, 0.0), (0.0, 6.0), (-0.6, -3.0), (-0.9, 0.0)])
def test_the_loss_is_that_of_a_folded_signal(rho: float, right_db: float) -> None:
    rng = np.random.default_rng(1)
    left, other = np.linalg.qr(rng.standard_normal((5000, 2)))[0].T
    right = (rho * left + math.sqrt(1.0 - rho**2) * other) * 10.0 ** (right_db / 20.0)
    fold = (left + right) / 2.0
    # the same power in the middle: each channel has half of it, and so has the fold
    centred = ((left**2).sum() + (right**2).sum()) / 2.0
    expected = 10.0 * math.log10(centred / (fold**2).sum())
    assert mono_loss_db(rho, right_db) == pytest.approx(expected, abs=1e-6)


def test_one_channel_alone_loses_three_decibels() -> None:
    assert mono_loss_db(math.nan) == pytest.approx(3.01, abs=0.01)
    assert mono_loss_db(0.3, math.inf) == pytest.approx(3.01, abs=0.01)
    assert mono_loss_db(-1.0) == pytest.approx(60.0)


def _related(rho: float) -> Relations:
    relation = Relation("OH L", "OH R", "microphones", rho, rho, 0.6, 0.0, rho < 0, 0.0, 0.0)
    return Relations(("OH L", "OH R"), (relation,))


def _said(rho: float, pan: float, *, invert: bool = False) -> tuple[str, ...]:
    return mono_warnings(
        [Width("OH L"), Width("OH R")],
        [Placement("OH L", -pan, ""), Placement("OH R", pan, "")],
        balances=[
            TrackBalance("OH L", 0.0, -23.0, ""),
            TrackBalance("OH R", 0.0, -23.0, "", invert=invert),
        ],
        relations=_related(rho),
    )


def test_stereo_tracks_and_pairs_that_cancel_are_told() -> None:
    tracks = [Width("Pad", 2, -0.5), Width("Piano", 2, 0.2), Width("Gtr", 2, math.nan)]
    places = [Placement(track.name, 0.0, "") for track in tracks]
    (words,) = mono_warnings(tracks, places)
    assert words.startswith("'Pad' loses 6 dB in mono: its sides work against each other")
    (words,) = _said(-0.6, 1.0)
    assert words.startswith("'OH L' and 'OH R' lose 7 dB in mono (correlation -0.60)")
    assert _said(0.6, 1.0) == _said(0.0, 1.0) == ()
    assert _said(-0.6, 1.0, invert=True) == ()  # turned over, they add
    assert _said(-0.7, 0.0)  # in the middle they cancel before any fold
    muted = [TrackBalance("Pad", 0.0, -23.0, "", mute=True)]
    assert mono_warnings(tracks[:1], places[:1], balances=muted) == ()


def test_many_wide_tracks_are_told_in_one_sentence() -> None:
    tracks = [Width(f"Pad {k}", 2, -0.4 - 0.02 * k) for k in range(20)]
    places = [Placement(track.name, 0.0, "") for track in tracks]
    (words,) = mono_warnings(tracks, places)
    assert words.startswith("20 stereo tracks lose 5 to 10 dB in mono")
    assert "'Pad 19', 'Pad 18', " in words  # the worst first
    assert "'Pad 8' and 8 others" in words
    assert len(mono_warnings(tracks[:2], places[:2])) == 2


def test_a_pair_at_any_pans_loses_what_its_sum_loses() -> None:
    # The words hold the loss in whole dB: against signals of that correlation, panned and folded.
    rng = np.random.default_rng(2)
    first, other = np.linalg.qr(rng.standard_normal((5000, 2)))[0].T
    second = -0.8 * first + 0.6 * other
    for pan in (0.3, 0.7, 1.0):
        (l1, r1), (l2, r2) = pan_gains(-pan), pan_gains(pan)
        fold = (l1 + r1) * first + (l2 + r2) * second
        loss = 10.0 * math.log10(2.0 * 2.0 / (fold**2).sum())
        (words,) = _said(-0.8, pan)
        assert f"lose {loss + 10 * math.log10(pan_gains(0.0)[0] ** 2 * 2):.0f} dB" in words
