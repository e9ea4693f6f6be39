"""Recognition measured on track names as engineers, labels and programs write them.

``track_names.toml`` was written from naming habits without sight of the vocabulary, which was
extended by it afterwards, as by ``track_roles.toml``: names never seen do a little worse. Each name
is read alone, as the hardest case: in a session the other names help.
"""

import tomllib
from pathlib import Path

import pytest

from pipeline.roles import SUBGROUP_OF, Role
from stage1.recognition.names import read_name
from stage1.recognition.recognise import UNSURE_BELOW, Recognition, recognise

HERE = Path(__file__).parent


def subgroup_cases() -> list[tuple[str, frozenset[str]]]:
    tables = tomllib.loads((HERE / "track_names.toml").read_text(encoding="utf-8"))
    either = tables.pop("either")
    cases = [(name, frozenset({group})) for group, t in tables.items() for name in t["names"]]
    return cases + [(name, frozenset(g.split())) for g, names in either.items() for name in names]


def role_cases() -> list[tuple[str, frozenset[str]]]:
    tables = tomllib.loads((HERE / "track_roles.toml").read_text(encoding="utf-8"))
    return [
        (f"{name}.wav", frozenset(SUBGROUP_OF[Role(role)].value for role in roles.split("|")))
        for roles, names in tables.items()
        for name in names
    ]


def wrong(cases: list[tuple[str, frozenset[str]]]) -> list[Recognition]:
    found = [(recognise([name])[0], groups) for name, groups in cases]
    return [
        record
        for record, groups in found
        if record.subgroup not in groups
        and not ("other" in groups and record.confidence < UNSURE_BELOW)
    ]


@pytest.mark.parametrize("cases", [subgroup_cases(), role_cases()], ids=["subgroups", "roles"])
def test_names_of_all_kinds_find_their_subgroup(cases: list[tuple[str, frozenset[str]]]) -> None:
    assert len(cases) > 600
    failed = wrong(cases)
    confident = [record for record in failed if not record.unsure]
    assert len(failed) < 0.03 * len(cases), [(r.name, r.role) for r in failed]
    assert len(confident) < 0.01 * len(cases), [(r.name, r.role) for r in confident]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("K1ck.wav", Role.KICK),
        ("b4ss.wav", Role.BASS),
        ("v0x.wav", Role.LEAD_VOCAL),
        ("$nare.wav", Role.SNARE),
        ("8O8.wav", Role.SYNTH_BASS),
        ("Backign Vox.wav", Role.BACKING_VOCAL),
        ("Crsh.wav", Role.CYMBAL),
        ("Saxx.wav", Role.SAXOPHONE),
        ("Tom's vocal.wav", Role.LEAD_VOCAL),
        ("elecgtrclean.wav", Role.ELECTRIC_GUITAR),
        ("leadvoxdouble.wav", Role.VOCAL_DOUBLE),
        ("Große Trommel.wav", Role.KICK),
        ("caisse claire dessous.wav", Role.SNARE),
        ("Trombón bajo.wav", Role.TROMBONE),
    ],
)
def test_spellings(name: str, role: Role) -> None:
    assert recognise([name])[0].role == role


@pytest.mark.parametrize("name", ["Ch17", "Audio 01_07", "Insert 12", "That one", "2021-03-14"])
def test_names_that_say_nothing_are_unsure(name: str) -> None:
    assert recognise([f"{name}.wav"])[0].unsure


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("Kick innen", "close"),
        ("Kick aussen", "out"),
        ("caisse claire dessus", "close"),
        ("caisse claire dessous", "bottom"),
        ("Bombo fuera", "out"),
        ("Rullante sotto", "bottom"),
        ("BDin", "close"),
        ("SN Bot", "bottom"),
        ("Gtr DI", "di"),
        ("Basso diretto", "di"),
    ],
)
def test_microphone_positions_in_other_languages(name: str, position: str) -> None:
    assert read_name(name).position == position
