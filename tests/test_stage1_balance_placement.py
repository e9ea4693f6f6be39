import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.roles import Presence
from pipeline.session.settings import TrackOverrides
from stage1.balance.placement import place
from stage1.recognition.recognise import recognise
from stage1.sources.records import Relations
from stage1.sources.relations import Kind, Relation


def _pans(
    *names: str,
    stereo: tuple[str, ...] = (),
    loudness: dict[str, float] | None = None,
    f0: dict[str, float] | None = None,
    low: dict[str, float] | None = None,
    overrides: dict[str, TrackOverrides] | None = None,
) -> dict[str, float]:
    wishes = [(overrides or {}).get(name) for name in names]
    result = place(
        recognise(list(names), overrides=wishes),
        wishes,
        channels=[2 if name in stereo else 1 for name in names],
        loudness_lufs=[(loudness or {}).get(name, -23.0) for name in names],
        f0_hz=[(f0 or {}).get(name, math.nan) for name in names],
        low_share=None if low is None else [low.get(name, 0.0) for name in names],
    )
    assert [placement.name for placement in result] == list(names)
    assert all(placement.reason for placement in result)
    return {placement.name: placement.pan for placement in result}


def _lean(pans: dict[str, float], loudness: dict[str, float] | None = None) -> float:
    """Power on the right less that on the left under a constant-power pan, over all of it."""
    weights: dict[str, float] = {n: 10.0 ** ((loudness or {}).get(n, -23.0) / 10.0) for n in pans}
    angles = {n: (pan + 1.0) * math.pi / 4.0 for n, pan in pans.items()}
    uneven = sum(weights[n] * (math.sin(a) ** 2 - math.cos(a) ** 2) for n, a in angles.items())
    return float(uneven / sum(weights.values()))


def test_named_pairs_go_hard_left_and_right() -> None:
    names = ("OH L", "OH R", "Room Left", "Room Right", "Gtr Rhy L", "Gtr Rhy R", "OohsL", "OohsR")
    pans = _pans(*names)
    assert [pans[name] for name in names] == [-1.0, 1.0] * 4


def test_kick_snare_bass_and_lead_vocal_are_centred() -> None:
    names = ("Kick In", "Snare Top", "Bass DI", "Synth Bass", "Lead Vox", "Gtr 1", "Gtr 2")
    pans = _pans(*names)
    assert all(pans[name] == 0.0 for name in names[:5])


def test_bass_is_centred_whatever_its_name_says() -> None:
    assert set(_pans("Bass L", "Bass R").values()) == {0.0}


def test_stereo_tracks_keep_their_image() -> None:
    names = ("Gtr L", "Gtr R", "Pad", "Vln 1", "HH")
    assert set(_pans(*names, stereo=names).values()) == {0.0}


def test_doubles_are_spread() -> None:
    pans = _pans("Gtr 1", "Gtr 1 dbl")
    assert sorted(pans.values()) == [-0.8, 0.8]
    pans = _pans("Lead Vox", "Lead Vox Dbl 1", "Lead Vox Dbl 2")
    assert pans["Lead Vox"] == 0.0
    assert sorted(pans.values()) == [-0.8, 0.0, 0.8]
    assert set(_pans("Lead Vox", "Lead Vox Dbl").values()) == {0.0}


def test_drums_are_seen_from_the_audience() -> None:
    pans = _pans(
        "Kick", "HH", "Rack Tom 1", "Rack Tom 2", "Floor Tom", "Ride", "Crash 1", "Crash 2"
    )
    assert 0.0 < pans["HH"] <= 0.4
    assert pans["Rack Tom 1"] > pans["Rack Tom 2"] > pans["Floor Tom"]
    assert pans["Rack Tom 1"] == -pans["Floor Tom"] == 0.5
    assert pans["Ride"] < 0.0
    assert pans["Crash 1"] == -pans["Crash 2"]


def test_floor_toms_named_by_side_stay_in_the_row() -> None:
    pans = _pans("Rack Tom", "Floor Tom L", "Floor Tom R")
    assert pans["Rack Tom"] > pans["Floor Tom R"] > pans["Floor Tom L"] >= -0.5


def test_sections_sit_by_register() -> None:
    names = ("Vc", "Vla", "Vln 2", "Vln 1")
    pans = _pans(*names)
    assert pans["Vln 1"] < pans["Vln 2"] < pans["Vla"] < pans["Vc"]
    assert sum(pans.values()) == pytest.approx(0.0, abs=1e-9)


def test_backing_vocals_are_symmetric() -> None:
    pans = _pans("BV 1", "BV 2", "BV 3", "BV 4", "BV 5", "Lead Vox")
    assert sum(pans.values()) == pytest.approx(0.0, abs=1e-9)
    assert len(set(pans.values())) == 5
    assert max(pans.values()) == 0.8


def test_a_lone_guitar_and_piano_balance_each_other() -> None:
    pans = _pans("Kick", "Bass", "Gtr", "Piano", "Lead Vox")
    assert sorted([pans["Gtr"], pans["Piano"]]) == [-0.3, 0.3]


def test_a_lone_part_stays_in_the_middle() -> None:
    assert set(_pans("Kick", "Bass", "Gtr", "Lead Vox").values()) == {0.0}


def test_the_microphones_of_one_source_stand_together() -> None:
    pans = _pans("Gtr 1 SM57", "Gtr 1 R121", "Gtr 2 SM57", "Gtr 2 R121")
    assert pans["Gtr 1 SM57"] == pans["Gtr 1 R121"] == -pans["Gtr 2 SM57"] != 0.0


def test_low_notes_are_centred() -> None:
    low, high = {"Cello 1": 90.0, "Cello 2": 90.0}, {"Cello 1": 200.0, "Cello 2": 200.0}
    assert set(_pans("Cello 1", "Cello 2", f0=low).values()) == {0.0}
    assert set(_pans("Cello 1", "Cello 2", f0=high).values()) == {-0.7, 0.7}
    # toms lie that low and still belong to their places in the kit, as do named pairs
    assert _pans("Tom 1", "Tom 2", f0={"Tom 1": 110.0, "Tom 2": 80.0})["Tom 1"] == 0.5
    assert _pans("Gtr L", "Gtr R", f0={"Gtr L": 85.0, "Gtr R": 85.0})["Gtr L"] == -1.0


def test_the_users_pan_wins() -> None:
    wishes = {"Kick": TrackOverrides(pan=-0.25), "OH L": TrackOverrides(pan=0.5)}
    pans = _pans("Kick", "OH L", "OH R", overrides=wishes)
    assert (pans["Kick"], pans["OH L"], pans["OH R"]) == (-0.25, 0.5, 1.0)
    assert _pans("Pad", stereo=("Pad",), overrides={"Pad": TrackOverrides(pan=0.1)})["Pad"] == 0.1


def test_a_lead_part_stands_nearer_to_the_middle() -> None:
    names = ("Gtr 1", "Gtr 2", "Gtr 3", "Gtr 4")
    plain = _pans(*names)
    wishes = {"Gtr 1": TrackOverrides(presence=Presence.LEAD)}
    assert abs(_pans(*names, overrides=wishes)["Gtr 1"]) == abs(plain["Gtr 1"]) / 2.0


def test_uneven_groups_are_turned_against_each_other() -> None:
    loudness = {"Gtr 1": -15.0, "Gtr 2": -25.0, "Synth 1": -25.0, "Synth 2": -15.0}
    names = ("Gtr 1", "Gtr 2", "Synth 1", "Synth 2")
    pans = _pans(*names, loudness=loudness)
    assert math.copysign(1.0, pans["Gtr 1"]) != math.copysign(1.0, pans["Synth 2"])
    turned = pans | {"Synth 1": -pans["Synth 1"], "Synth 2": -pans["Synth 2"]}
    assert abs(_lean(pans, loudness)) < abs(_lean(turned, loudness))


def test_a_full_band_leaves_both_sides_even() -> None:
    names = (
        *("Kick", "Snare", "HH", "Tom 1", "Tom 2", "Floor Tom", "OH L", "OH R", "Ride", "Crash"),
        *("Bass", "Gtr L", "Gtr R", "Ac Gtr", "Piano", "Organ", "Shaker", "Tamb", "Conga"),
        *("Vln 1", "Vln 2", "Vla", "Vc", "BV 1", "BV 2", "BV 3", "Lead Vox", "Synth Arp"),
    )
    assert abs(_lean(_pans(*names))) < 0.03  # 0.26 dB between right and left


names_of_tracks = st.sampled_from(
    (
        *("Kick", "HH", "OH L", "OH R", "Tom 1", "Floor Tom", "Bass L", "Gtr 1", "Gtr 1 dbl"),
        *("Gtr 2", "Pad", "Vln 1", "Vc", "BV 1", "BV 2", "BV 3", "Lead Vox", "Lead Vox Dbl"),
        *("Riser", "what"),
    )
)


@given(st.lists(names_of_tracks, unique=True), st.floats(-80.0, 0.0))
def test_every_track_gets_a_place(names: list[str], level: float) -> None:
    loudness = {name: level if index % 2 else -math.inf for index, name in enumerate(names)}
    pans = _pans(*names, loudness=loudness)
    assert all(-1.0 <= pan <= 1.0 for pan in pans.values())


def test_sequences_must_fit() -> None:
    with pytest.raises(ValueError, match="0 channels for 1"):
        place(recognise(["Kick"]), channels=[])


def test_what_holds_the_same_sound_stands_together() -> None:
    names = ("Gtr 1", "Gtr 2", "Audio 7", "Gtr 3")

    def related(first: str, second: str, kind: Kind) -> Relation:
        return Relation(first, second, kind, 1.0, 1.0, 1.0, 0.0, False, 0.0, 1.0)

    def pans(*found: Relation) -> dict[str, float]:
        records = recognise(names)
        result = place(records, channels=[1] * 4, relations=Relations(names, found))
        return {placement.name: placement.pan for placement in result}

    alone = pans()
    assert len({alone["Gtr 1"], alone["Gtr 2"], alone["Gtr 3"]}) == 3
    copied = pans(related("Gtr 1", "Audio 7", "duplicate"))
    assert copied["Audio 7"] == copied["Gtr 1"]
    assert copied | {"Audio 7": 0.0} == alone | {"Audio 7": 0.0}
    near = pans(related("Gtr 1", "Gtr 3", "microphones"))
    assert near["Gtr 1"] == near["Gtr 3"] == -near["Gtr 2"] != 0.0


def test_backing_vocals_of_one_register_face_each_other() -> None:
    f0 = {"BV 1": 180.0, "BV 2": 420.0, "BV 3": 190.0, "BV 4": 400.0}
    pans = _pans(*f0, f0=f0)
    assert pans["BV 2"] == -pans["BV 4"]
    assert pans["BV 1"] == -pans["BV 3"]
    assert abs(pans["BV 2"]) > abs(pans["BV 1"]) > 0.0


def test_brass_of_one_role_sits_by_its_pitch() -> None:
    f0 = {"Brass a": 150.0, "Brass b": 500.0, "Brass c": 250.0}
    pans = _pans(*f0, f0=f0)
    assert pans["Brass b"] < pans["Brass c"] < pans["Brass a"]


def test_a_low_fundamental_centres_a_part_only_where_its_power_lies() -> None:
    low = {"Synth 1.wav": 60.0, "Synth 2.wav": 200.0, "Synth 3.wav": 400.0}
    centred = _pans(*low, f0=low, low={"Synth 1.wav": 0.9})
    assert centred["Synth 1.wav"] == 0.0
    assert centred["Synth 2.wav"] == -centred["Synth 3.wav"] != 0.0
    assert _pans(*low, f0=low, low={"Synth 1.wav": 0.3})["Synth 1.wav"] != 0.0


def test_guitars_on_their_lowest_string_stand_left_and_right() -> None:
    names = ("ElecGtr1.wav", "ElecGtr2.wav")
    pans = _pans(*names, f0=dict.fromkeys(names, 82.4), low=dict.fromkeys(names, 0.6))
    assert pans[names[0]] == -pans[names[1]] != 0.0
    # An octave lower, by a pedal, it plays the bass.
    deep = _pans(*names, f0=dict.fromkeys(names, 41.0), low=dict.fromkeys(names, 0.9))
    assert set(deep.values()) == {0.0}


def test_two_of_one_part_face_each_other_whatever_else_plays() -> None:
    for names in (
        ("Acoustic Gtr.wav", "ElecGtr1.wav", "ElecGtr2.wav"),
        ("ElecGtr1.wav", "Acoustic Gtr.wav", "ElecGtr2.wav"),
        ("ElecGtr1.wav", "ElecGtr2.wav", "Acoustic 1.wav", "Slide Gtr.wav", "Acoustic 2.wav"),
    ):
        pans = _pans(*names)
        assert pans["ElecGtr1.wav"] == -pans["ElecGtr2.wav"] != 0.0, names
