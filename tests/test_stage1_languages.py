"""Track names of further languages, against a list that was written before their vocabulary."""

import tomllib
from pathlib import Path

import pytest

from pipeline.roles import SUBGROUP_OF, Role
from stage1.recognition.recognise import recognise
from stage1.recognition.vocabulary import fold, language_data

LANGUAGES = tomllib.loads(
    (Path(__file__).parent / "track_languages.toml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_of_a_language_find_their_roles(language: str) -> None:
    names = [(n, Role(role)) for role, found in LANGUAGES[language].items() for n in found]
    assert len(names) >= 25
    records = [recognise([f"{name}.wav"])[0] for name, _ in names]
    pairs = list(zip(records, [role for _, role in names], strict=True))
    wrong = [(r.name, r.role) for r, role in pairs if r.role != role]
    strangers = [(r.name, r.role) for r, role in pairs if r.subgroup != SUBGROUP_OF[role]]
    assert len(wrong) <= 0.05 * len(names), wrong
    assert len(strangers) <= 0.03 * len(names), strangers


@pytest.mark.parametrize(
    ("name", "role", "side"),
    [
        ("电吉他左.wav", Role.ELECTRIC_GUITAR, "left"),
        ("ギター右2.wav", Role.ELECTRIC_GUITAR, "right"),
        ("主唱Double.wav", Role.VOCAL_DOUBLE, ""),
        ("ＫＩＣＫ　ｉｎ.wav", Role.KICK, ""),
        ("ﾎﾞｰｶﾙ.wav", Role.LEAD_VOCAL, ""),
        ("新曲_ボーカル_最終.wav", Role.LEAD_VOCAL, ""),
        ("第2小提琴.wav", Role.VIOLIN, ""),
        ("Гитара левая.wav", Role.ELECTRIC_GUITAR, "left"),
        ("gitarr vänster.wav", Role.ELECTRIC_GUITAR, "left"),
        ("kor.wav", Role.CHOIR, ""),
        ("skarptromme.wav", Role.SNARE, ""),
        ("altowka.wav", Role.VIOLA, ""),
        ("yaylılar.wav", Role.STRINGS, ""),
        ("YAYLILAR.wav", Role.STRINGS, ""),
        ("드럼룸.wav", Role.ROOM, ""),
    ],
)
def test_spellings_and_compounds(name: str, role: Role, side: str) -> None:
    other = {"左": "右", "右": "左", "левая": "правая", "vänster": "höger"}
    beside = [name.replace(a, b) for a, b in other.items() if a in name]
    record = recognise([name, *beside[:1]])[0]
    assert (record.role, record.side) == (role, side)


def test_marks_of_japanese_and_korean_letters_are_no_accents() -> None:
    assert fold("バス パス ﾊﾞｽ 킥 ö й") == "バス パス バス 킥 oe и"


def test_the_tables_name_roles_and_marks_that_exist() -> None:
    for language in language_data().values():
        for name, table in language.items():
            if name not in {"marks", "positions"}:
                assert set(table) <= set(Role)
