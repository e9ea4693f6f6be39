"""Names against sound: who is believed, and what is said of it."""

from dataclasses import dataclass

import pytest

from pipeline.roles import SUBGROUP_OF, Role
from pipeline.session.settings import TrackOverrides
from stage1.recognition.recognise import recognise


@dataclass(frozen=True)
class Sound:
    role: Role
    confidence: float

    @property
    def subgroup(self) -> str:
        return SUBGROUP_OF[self.role]


def recognised(name, sound, override=None):
    return recognise([name], sounds=[sound], overrides=[override])[0]


def test_a_name_that_says_nothing_leaves_it_to_the_sound():
    found = recognised("Audio 07.wav", Sound(Role.BASS, 0.83))
    assert (found.role, found.subgroup, found.confidence) == (Role.BASS, "bass", 0.83)
    assert found.reason.startswith("sounds like bass (0.83)")
    assert not found.contradiction


def test_an_unsure_sound_decides_nothing():
    assert recognised("Audio 07.wav", Sound(Role.BASS, 0.45)).role == Role.UNKNOWN


def test_an_agreeing_sound_makes_a_name_surer():
    alone = recognise(["Bass.wav"])[0]
    both = recognised("Bass.wav", Sound(Role.SYNTH_BASS, 0.9))
    assert both.role == alone.role == Role.BASS
    assert alone.confidence < both.confidence < 1.0


def test_a_strong_contradiction_is_reported_and_the_name_kept():
    alone = recognise(["Kick.wav"])[0]
    found = recognised("Kick.wav", Sound(Role.LEAD_VOCAL, 0.95))
    assert found.role == Role.KICK
    assert found.confidence < alone.confidence
    assert found.contradiction == "sounds like lead vocal (0.95), not like kick"


def test_a_mild_contradiction_is_not_worth_a_word():
    found = recognised("Kick.wav", Sound(Role.LEAD_VOCAL, 0.85))
    assert found == recognise(["Kick.wav"])[0]


def test_the_users_role_stands_and_the_contradiction_is_said():
    wish = TrackOverrides(role=Role.KICK)
    found = recognised("Audio 1.wav", Sound(Role.LEAD_VOCAL, 0.95), wish)
    assert (found.role, found.confidence) == (Role.KICK, 1.0)
    assert "lead vocal" in found.contradiction


@pytest.mark.parametrize(
    ("name", "role"),
    [("Backing Vox.wav", Role.LEAD_VOCAL), ("Congas.wav", Role.TOM), ("Vox Verb.wav", Role.CHOIR)],
)
def test_what_sounds_alike_does_not_contradict(name, role):
    assert not recognised(name, Sound(role, 0.99)).contradiction


def test_one_entry_a_name():
    with pytest.raises(ValueError, match="1 entries for 2 names"):
        recognise(["a.wav", "b.wav"], sounds=[None])
