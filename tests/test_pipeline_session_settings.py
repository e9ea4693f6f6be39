"""``session.toml``: read strictly, matched as users expect, and written to be edited."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.audio.stream import AudioInfo
from pipeline.errors import InputError
from pipeline.roles import Presence, Role
from pipeline.session.discovery import Session, Track
from pipeline.session.settings import (
    SessionSettings,
    TrackOverrides,
    TrackRule,
    load_settings,
)
from pipeline.session.template import write_session_toml


@dataclass(frozen=True)
class Guess:
    role: Role = Role.KICK
    subgroup: str = "drums"
    confidence: float = 0.934
    presence: Presence = Presence.NORMAL
    unsure: bool = False


def session_of(root: Path, *names: str) -> Session:
    def track(name: str) -> Track:
        info = AudioInfo(root / name, 48_000, 1, 100, "WAV", "PCM_16")
        return Track(root / name, name, info)

    return Session(root, tuple(track(name) for name in names), 48_000)


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "session.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_settings(path)
    return str(caught.value).split("\n")


ENTRY = '[[track]]\nmatch = "*"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTRY + "invert = 1", " [track 1]: invert is 1: use true or false"),
        ("[offsets.rol]\nkick = 1", " [offsets]: unknown key 'rol': did you mean 'role'?"),
        (
            "[offsets.role]\nhihat = -6",
            " [offsets.role]: unknown key 'hihat': did you mean 'hi_hat'?",
        ),
        (
            "[offsets.stem]\ndrums = -99",
            " [offsets.stem]: drums is -99: use a number from -40 to 40",
        ),
        ("offsets = 3", ": offsets are no tables: write [offsets.role] over the levels"),
        ("sample_rat = 1", ": unknown key 'sample_rat': did you mean 'sample_rate'?"),
        (
            'sample_rate = "48k"',
            ": sample_rate is '48k': use a whole number from 8000 to 768000 Hz",
        ),
        (
            "sample_rate = true",
            ": sample_rate is True: use a whole number from 8000 to 768000 Hz",
        ),
        (ENTRY + "gian_db = 1", " [track 1]: unknown key 'gian_db': did you mean 'gain_db'?"),
        (ENTRY + 'role = "kik"', " [track 1]: unknown role 'kik': did you mean 'kick'?"),
        (
            ENTRY + 'presence = "front"',
            " [track 1]: unknown presence 'front': use one of lead, normal, background",
        ),
        (
            ENTRY + 'subgroup = "../etc"',
            " [track 1]: subgroup is '../etc': "
            "use letters, digits, spaces, '_' and '-', such as 'room mics'",
        ),
        (
            ENTRY + "gain_db = nan",
            " [track 1]: gain_db is nan: use a number from -60 to 60",
        ),
        (ENTRY + 'pan = "L"', " [track 1]: pan is 'L': use a number from -1 to 1"),
        (ENTRY + "pan = 1.5", " [track 1]: pan is 1.5: use a number from -1 to 1"),
        (ENTRY + "mute = 1", " [track 1]: mute is 1: use true or false"),
        (
            '[[track]]\nrole = "kick"',
            ' [track 1]: match is missing: give a glob, such as match = "Drums/*kick*"',
        ),
        (
            "[track]\nmatch = 1",
            ": track is no list of tables: write [[track]] over each entry",
        ),
    ],
)
def test_each_mistake_has_its_message(tmp_path: Path, text: str, message: str) -> None:
    assert problems(tmp_path, text) == ["session.toml" + message]


def test_all_mistakes_come_together(tmp_path: Path) -> None:
    text = "tempo = 1\n" + ENTRY + 'pan = 2\nrole = "x"\n' + ENTRY + "mute = 0\n"
    assert len(problems(tmp_path, text)) == 4


def test_what_is_no_toml_says_where(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, "a = 1\nb = = 2")
    assert message.startswith("session.toml: is not TOML (")
    assert "line 2" in message
    (tmp_path / "session.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(InputError, match=r"is not UTF-8 text \(byte 5\): save it as UTF-8"):
        load_settings(tmp_path / "session.toml")


def test_all_keys_are_read(tmp_path: Path) -> None:
    (tmp_path / "session.toml").write_text(
        'sample_rate = 44100\n[[track]]\nmatch = "a"\nrole = "Lead Vocal"\nsubgroup = "Ad-libs"\n'
        'presence = "background"\ngain_db = -2\npan = 1\nmute = true\ninvert = false\n'
        "[offsets.role]\nhi_hat = -6\n[offsets.double]\noffset = -3.5\n"
    )
    rule = TrackRule("a", Role.LEAD_VOCAL, "ad_libs", Presence.BACKGROUND, -2.0, 1.0, True, False)
    assert load_settings(tmp_path / "session.toml") == SessionSettings(
        44_100, (rule,), {"role": {"hi_hat": -6.0}, "double": {"offset": -3.5}}
    )


def matched(pattern: str, *names: str) -> list[str]:
    found, unmatched = SessionSettings(rules=(TrackRule(pattern, mute=True),)).overrides(names)
    assert bool(unmatched) == (not any(o.mute for o in found.values()))
    return [name for name, overrides in found.items() if overrides.mute]


def test_globs_match_path_or_file_name_in_any_case() -> None:
    names = ("Drums/Kick In.wav", "Drums/Snare.wav", "kick out.flac")
    assert matched("KICK*", *names) == ["Drums/Kick In.wav", "kick out.flac"]
    assert matched("drums/*", *names) == list(names[:2])
    assert matched("snare.wav", *names) == ["Drums/Snare.wav"]
    assert matched("*.flac", *names) == ["kick out.flac"]
    assert matched("Kick", *names) == []


def test_a_name_in_full_means_that_track_alone() -> None:
    assert matched("Kick.wav", "Kick.wav", "kick.wav", "Drums/Kick.wav") == ["Kick.wav"]
    assert matched("KICK.wav", "Kick.wav", "Drums/kick.wav") == ["Kick.wav", "Drums/kick.wav"]


def test_composed_and_decomposed_letters_are_one() -> None:
    assert matched("Gro\u0308*", "Größe.wav") == ["Größe.wav"]
    assert matched("Grö*", "Gro\u0308ße.wav") == ["Gro\u0308ße.wav"]


def test_the_last_entry_counts_key_by_key() -> None:
    rules = (
        TrackRule("*", role=Role.KICK, gain_db=3.0, mute=True, invert=True),
        TrackRule("a", gain_db=0.0, mute=False),
        TrackRule("b", invert=False),
    )
    found, _ = SessionSettings(rules=rules).overrides(["a", "b", "c"])
    assert found["a"] == TrackOverrides(
        role=Role.KICK, gain_offset_db=0.0, mute=False, invert=True, use=True
    )
    assert (found["b"].invert, found["c"].invert) == (False, True)


def test_a_track_named_in_full_is_kept_unless_it_is_none_of_the_mix() -> None:
    rules = (
        TrackRule("Bus.wav", gain_db=-2.0),
        TrackRule("Click.wav", role=Role.CLICK),
        TrackRule("Cue.wav", role=Role.CLICK, use=True),
        TrackRule("Gtr.wav", pan=0.5, use=False),
        TrackRule("V*.wav", pan=0.5),
    )
    names = ["Bus.wav", "Click.wav", "Cue.wav", "Gtr.wav", "Vox.wav"]
    found, _ = SessionSettings(rules=rules).overrides(names)
    assert [found[name].use for name in names] == [True, None, True, False, None]


def test_the_written_file_says_what_was_recognised(tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    session = session_of(tmp_path, "Kick.wav", "Thing.wav")
    guesses = {
        "Kick.wav": Guess(),
        "Thing.wav": Guess(Role.UNKNOWN, "other", 0.31, Presence.BACKGROUND, True),
    }
    write_session_toml(session, guesses, path)
    text = path.read_text(encoding="utf-8")
    assert 'match = "Kick.wav"\nrole = "kick" # confidence 0.93\nsubgroup = "drums"\n' in text
    assert 'role = "unknown" # unsure, confidence 0.31\n' in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert load_settings(path).rules == (
        TrackRule("Kick.wav", Role.KICK, "drums", Presence.NORMAL),
        TrackRule("Thing.wav", Role.UNKNOWN, "other", Presence.BACKGROUND),
    )


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    path.write_text("# mine")
    with pytest.raises(InputError, match="exists already: edit it, or move it away"):
        write_session_toml(session_of(tmp_path, "a.wav"), {"a.wav": Guess()}, path)
    assert path.read_text() == "# mine"


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)
TRICKY = st.sampled_from(
    ["[a]*?.wav", "q\"'\\.wav", "a\nb\r\t\x1b\x7f.wav", "]]", "[!x]", "é", "É"]
)


@given(names=st.lists(NAMES | TRICKY, min_size=1, max_size=6, unique=True), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_name_makes_the_round_trip(
    tmp_path: Path, names: list[str], data: st.DataObject
) -> None:
    path = tmp_path / "session.toml"
    path.unlink(missing_ok=True)
    roles = {name: data.draw(st.sampled_from(Role)) for name in names}
    guesses = {name: Guess(role=role) for name, role in roles.items()}
    write_session_toml(session_of(tmp_path, *names), guesses, path)
    tomllib.loads(path.read_bytes().decode("utf-8"))
    found, unmatched = load_settings(path).overrides(names)
    assert unmatched == ()
    assert {name: overrides.role for name, overrides in found.items()} == roles


def test_bytes_that_are_no_text_are_matched_by_a_wildcard(tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    name = "Caf\udce9 [1].wav"
    write_session_toml(session_of(tmp_path, name), {name: Guess()}, path)
    found, _ = load_settings(path).overrides([name])
    assert found[name].role is Role.KICK
