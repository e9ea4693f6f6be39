"""Two mono files of a mid and a side microphone, told by name and sound together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.console.conditioning import ChannelUse
from pipeline.session.settings import TrackOverrides
from stage1.balance.gains import TrackBalance
from stage1.balance.mid_side import as_pairs, mid_side_pairs, side_of_pairs
from stage1.balance.placement import Placement
from stage1.signal.file_faults import FileFaults
from stage1.sources.records import Relations


def _tracks(names: tuple[str, str], side_lufs: float) -> Any:
    levels = (-20.0, side_lufs)
    return [
        SimpleNamespace(
            name=name,
            channels=1,
            levels=SimpleNamespace(integrated_lufs=lufs),
            extent=SimpleNamespace(duration_s=9.0, sample_rate=48000),
        )
        for name, lufs in zip(names, levels, strict=True)
    ]


@pytest.mark.parametrize(
    ("names", "side_lufs", "alike", "agrees"),
    [
        (("Room M.wav", "Room S.wav"), -25.0, 0.8, [True]),
        (("OH_Mid.wav", "OH_Side.wav"), -25.0, 0.8, [True]),
        (("Room M.wav", "Room S.wav"), -25.0, 0.1, [False]),
        (("Room M.wav", "Room S.wav"), -5.0, 0.8, [False]),
        (("Room M.wav", "Hall S.wav"), -25.0, 0.8, []),
        (("Drums.wav", "Bass.wav"), -25.0, 0.8, []),
    ],
)
def test_name_and_sound_must_agree(
    names: tuple[str, str], side_lufs: float, alike: float, agrees: list[bool]
) -> None:
    matrix = np.array([[1.0, alike], [alike, 1.0]], np.float32)
    plain = [TrackOverrides()] * 2
    pairs = mid_side_pairs(_tracks(names, side_lufs), Relations(names, (), matrix), plain)
    assert [pair.agrees for pair in pairs] == agrees
    faults = side_of_pairs([FileFaults()] * 2, pairs)
    sided = faults[1].conditioning.channels == ChannelUse.SIDE
    assert sided == (agrees == [True])
    balances = [TrackBalance(names[0], -3.0, -30.0, ""), TrackBalance(names[1], 4.0, -30.0, "")]
    placements = [Placement(names[0], -0.4, ""), Placement(names[1], 0.4, "")]
    levels, places = as_pairs(balances, placements, pairs, plain)
    assert levels[1].gain_db == (-3.0 if sided else 4.0)
    assert [place.pan for place in places] == ([0.0, 0.0] if sided else [-0.4, 0.4])


def test_voices_of_a_choir_are_no_mid_and_side() -> None:
    names = ("Choir S.wav", "Choir M.wav", "Choir A.wav")
    tracks = [*_tracks(names[:2], -25.0), *_tracks(("Choir A.wav", "Room S.wav"), -25.0)[:1]]
    alike = np.full((3, 3), 0.8, np.float32)
    assert mid_side_pairs(tracks, Relations(names, (), alike), [TrackOverrides()] * 3) == ()
