"""Tracks of one source: their level as they correlate, their polarity, and what parts them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.roles import Role
from pipeline.session.settings import TrackOverrides
from stage1.balance.gains import TrackBalance, balance
from stage1.recognition.recognise import recognise
from stage1.sources.records import Fault, Relations
from stage1.sources.relations import Relation

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
    found = _relation(lufs, -0.7, {"fault": Fault()})
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
    result = _with(dict.fromkeys(names, -20.0), _relation(names, rho, more | {"fault": Fault()}))
    assert not any(track.invert for track in result.values())


KIT = ["Kick In.wav", "Kick Out.wav", "Snare.wav", "Room Near L.wav", "Room Near R.wav"]
LIKE = np.eye(5, dtype=np.float32)
LIKE[:2, :2] = LIKE[3:, 3:] = 0.9
LIKE[2, :2] = LIKE[:2, 2] = 0.55


def _kit(
    *changed: TrackOverrides | None, alike: npt.NDArray[np.float32] = LIKE
) -> dict[str, TrackBalance]:
    wishes = [*changed, *[None] * (len(KIT) - len(changed))]
    records = recognise(KIT, overrides=wishes)
    levels = [
        Levels(name, level) for name, level in zip(KIT, (-20.0, -22, -18, -25, -28), strict=True)
    ]
    result = balance(levels, records, wishes, relations=Relations(tuple(KIT), (), alike))
    return {track.name: track for track in result}


@pytest.mark.parametrize("role", [Role.FLUTE, Role.VOCAL_DOUBLE, Role.BASS, Role.SNARE])
@pytest.mark.parametrize("place", [0, 1, 3, 4])
def test_a_microphone_of_a_wrong_role_still_counts_in_its_source(place: int, role: Role) -> None:
    right = _kit()
    wrong = _kit(*[None] * place, TrackOverrides(role=role))
    for name in KIT:
        if name != KIT[place]:
            assert wrong[name].gain_db - wrong[name].trim_db == pytest.approx(
                right[name].gain_db - right[name].trim_db
            ), name
    source = "kick" if place < 2 else "room"
    assert f"part of {source!r}" in wrong[KIT[place]].reason


def test_a_role_that_sound_bears_out_takes_a_track_from_its_name() -> None:
    unlike = np.eye(5, dtype=np.float32)
    unlike[1, 2] = unlike[2, 1] = 0.9  # called a kick, and struck with the snare
    result = _kit(None, TrackOverrides(role=Role.SNARE), alike=unlike)
    assert result["Kick In.wav"].target_lufs == WORKING_LUFS
    assert result["Snare.wav"].target_lufs < WORKING_LUFS - 1.0
    assert "part of 'snare'" in result["Kick Out.wav"].reason


def test_a_stray_does_not_join_the_source_of_its_wrong_role() -> None:
    names = ["Kick.wav", "Snare.wav"]
    alike = np.full((2, 2), 0.6, np.float32)
    records = recognise(names, overrides=[None, TrackOverrides(role=Role.KICK)])
    levels = [Levels(name, -20.0) for name in names]
    for track in balance(levels, records, relations=Relations(tuple(names), (), alike)):
        assert track.target_lufs == WORKING_LUFS


def test_a_stem_of_the_users_own_parts_a_source() -> None:
    result = _kit(TrackOverrides(subgroup="low_end"))
    assert result["Kick In.wav"].target_lufs == WORKING_LUFS
    assert result["Kick Out.wav"].target_lufs == WORKING_LUFS - 0.0


def test_a_misnamed_microphone_is_turned_with_its_source() -> None:
    names = ("Snare Top.wav", "Snare Bottom.wav")
    wishes = [None, TrackOverrides(role=Role.SHAKER)]
    alike = np.full((2, 2), 0.9, np.float32)
    found = _relation(names, -0.7, {"fault": Fault()})
    result = balance(
        [Levels(name, -20.0) for name in names],
        recognise(names, overrides=wishes),
        wishes,
        relations=Relations(names, (found,), alike),
    )
    assert [track.invert for track in result] == [False, True]


@pytest.mark.parametrize("copy", ["Audio 12.wav", "Gtr 9.wav"])
def test_a_copied_double_moves_neither_its_lead_nor_another(copy: str) -> None:
    lufs = {"Lead Vox.wav": -20.0, "Lead Vox Dbl.wav": -20.0, "Gtr 1.wav": -20.0}
    before = _with(lufs)
    found = _relation(["Lead Vox Dbl.wav", copy], 1.0, {"kind": "duplicate", "coherence": 1.0})
    after = _with(lufs | {copy: -25.0}, found)
    for name in ("Lead Vox.wav", "Gtr 1.wav"):
        assert after[name].gain_db == pytest.approx(before[name].gain_db)
    for name in ("Lead Vox Dbl.wav", copy):  # half the amplitude each
        moved = after[name].target_lufs - before["Lead Vox Dbl.wav"].target_lufs
        assert moved == pytest.approx(-6.02, abs=0.01)
