"""Tracks of one source: their level as they correlate, their polarity, and what parts them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pipeline.roles import Role
from pipeline.session_settings import TrackOverrides
from stage1.balance import TrackBalance, balance
from stage1.relations import Relation, Relations
from stage1.subgroups import recognise

WORKING_LUFS = -30.0


@dataclass(frozen=True)
class Levels:
    name: str
    lufs: float

    @property
    def true_peak_dbtp(self) -> float:
        return self.lufs + 10.0

    def loudness(self, method: str) -> float:
        return self.lufs


def _relation(names: Iterable[str], rho: float, more: dict[str, Any] | None = None) -> Relation:
    first, second = names
    values: dict[str, Any] = {
        "kind": "microphones",
        "correlation": rho,
        "at_zero": rho,
        "coherence": 0.6,
        "delay_ms": 0.0,
        "inverted": rho < 0.0,
        "level_db": 0.0,
        "counted": max(rho, 0.0),
        "words": "",
    }
    return Relation(first, second, **(values | (more or {})))


def _with(
    lufs: dict[str, float],
    *found: Relation,
    overrides: list[TrackOverrides | None] | None = None,
) -> dict[str, TrackBalance]:
    result = balance(
        [Levels(name, level) for name, level in lufs.items()],
        recognise(list(lufs), overrides=overrides),
        overrides,
        relations=Relations(tuple(lufs), found),
    )
    return {track.name: track for track in result}


@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
def test_correlated_microphones_sum_to_one_source(rho: float) -> None:
    # two signals of that correlation at the levels decided, summed
    lufs = {"Gtr 1 SM57.wav": -20.0, "Gtr 1 R121.wav": -25.0}
    result = _with(lufs, _relation(lufs, rho))
    a, b = (10.0 ** (track.target_lufs / 20.0) for track in result.values())
    power = a * a + b * b + 2.0 * rho * a * b
    assert 10.0 * math.log10(power) == pytest.approx(WORKING_LUFS, abs=1e-9)


def test_what_would_cancel_does_not_raise_a_source() -> None:
    lufs = {"Gtr 1 SM57.wav": -20.0, "Gtr 1 R121.wav": -20.0}
    for track in _with(lufs, _relation(lufs, -0.9)).values():
        assert track.target_lufs == pytest.approx(WORKING_LUFS - 3.01, abs=0.01)


def test_a_copy_under_another_name_is_counted_once() -> None:
    lufs = {"Gtr 1.wav": -20.0, "Gtr 2.wav": -23.0, "Gtr 3.wav": -20.0}
    copy = _relation(list(lufs)[:2], 1.0, {"kind": "duplicate", "coherence": 1.0})
    result = _with(lufs, copy)
    assert result["Gtr 3.wav"].target_lufs == WORKING_LUFS
    for name, other in (("Gtr 1.wav", "Gtr 2.wav"), ("Gtr 2.wav", "Gtr 1.wav")):
        assert result[name].target_lufs == pytest.approx(WORKING_LUFS - 6.02, abs=0.01)
        assert f"-6.0 LU as the same sound as '{other}'" in result[name].reason


def test_tracks_that_share_a_name_and_no_sound_are_two_sources() -> None:
    names = ("Kick 1.wav", "Kick 2.wav")
    alike = np.array([[1.0, 0.1], [0.1, 1.0]], np.float32)
    records = recognise(names)
    assert records[0].source == records[1].source
    levels = [Levels(name, -20.0) for name in names]
    for track in balance(levels, records, relations=Relations(names, (), alike)):
        assert track.target_lufs == WORKING_LUFS
    for track in balance(levels, records):
        assert track.target_lufs == pytest.approx(WORKING_LUFS - 3.01, abs=0.01)


def test_halves_stay_a_pair_where_one_is_mistaken() -> None:
    names = ["OH L.wav", "OH R.wav", "Piano L.wav", "Piano R.wav"]
    lufs = dict(zip(names, (-20.0, -24.0, -20.0, -22.0), strict=True))
    right = _with(lufs)
    wrong = _with(lufs, overrides=[None, TrackOverrides(role=Role.TUBA), None, None])
    for name in (names[0], *names[2:]):
        assert wrong[name].gain_db == pytest.approx(right[name].gain_db)


def test_an_inverted_close_microphone_is_turned_unless_the_user_says_otherwise() -> None:
    lufs = {"Snare Top.wav": -20.0, "Snare Bottom.wav": -20.0}
    found = _relation(lufs, -0.7, {"is_fault": True})
    track = _with(lufs, found)["Snare Bottom.wav"]
    assert track.invert
    assert "inverted against 'Snare Top.wav' (correlation -0.70)" in track.reason
    kept = _with(lufs, found, overrides=[None, TrackOverrides(invert=False)])["Snare Bottom.wav"]
    assert not kept.invert
    assert "polarity kept by session.toml" in kept.reason
    asked = _with(lufs, overrides=[TrackOverrides(invert=True), None])["Snare Top.wav"]
    assert asked.invert


@pytest.mark.parametrize(
    ("names", "rho", "more"),
    [
        (("OH L.wav", "OH R.wav"), -0.9, {}),  # two halves
        (("Gtr 1 SM57.wav", "Gtr 1 Room.wav"), -0.9, {}),  # far away
        (("Snare Top.wav", "Snare Bottom.wav"), -0.1, {}),  # weak
        (("Snare Top.wav", "Snare Bottom.wav"), -0.7, {"at_zero": 0.2}),  # not as the files stand
        (("Snare Top.wav", "Snare Bottom.wav"), -0.7, {"coherence": 0.1}),  # in a band alone
        (("Gtr 1.wav", "Gtr 2.wav"), -1.0, {"kind": "inverted"}),  # two sources
    ],
)
def test_polarity_is_left_alone(names: tuple[str, str], rho: float, more: dict[str, Any]) -> None:
    result = _with(dict.fromkeys(names, -20.0), _relation(names, rho, more | {"is_fault": True}))
    assert not any(track.invert for track in result.values())
