"""Texts that editors and others made: marks, encodings, pipes, and what breaks parsers."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.plan_file import load_plan
from pipeline.session.settings import load_settings
from pipeline.text_files import parse_json, read_text, shown

TOML = '# Stimmen ü\n[[track]]\nmatch = "Kick.wav"\ngain_db = 1.0\n'


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + TOML.encode(),
        codecs.BOM_UTF16_LE + TOML.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TOML.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TOML.encode("utf-32-le"),
        TOML.encode("utf-16-le"),
        TOML.encode("utf-16-be"),
        TOML.encode(),
    ],
)
def test_settings_are_read_however_an_editor_saved_them(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "session.toml"
    path.write_bytes(data)
    assert load_settings(path).rules[0].gain_db == 1.0


def test_text_that_is_none_says_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    path.write_bytes(b"a = 'Gl\xfcck'")
    with pytest.raises(InputError, match=r"session.toml: is not UTF-8 text \(byte 7\): save it"):
        load_settings(path)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no named pipes in folders")
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "session.toml"
    os.mkfifo(pipe)
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for path, read in ((pipe, load_settings), (pipe, load_plan), (Path("/dev/zero"), load_plan)):
        with pytest.raises(InputError, match=r"cannot be read .*not a regular file"):
            read(path)
    with pytest.raises(InputError, match="not a regular file"):
        load_plan(tmp_path / "zero.json")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a = " + "[" * 5000, "is nested too deeply to be read"),
        ("a = " + "9" * 5000, "holds a number with thousands of digits"),
        ("sample_rate = 0x" + "f" * 5000, "sample_rate is a number with thousands of digits"),
        ("sample_rate = 1" + "0" * 400, "sample_rate is 1000"),
        ('[[track]]\nmatch = "*"\ngain_db = 1' + "0" * 400, "gain_db is 1000"),
        ('[[track]]\nmatch = "*"\ngain_db = 1e308', r"gain_db is 1e\+308"),
        ('[[track]]\nmatch = "*"\ngain_db = 1e999', "gain_db is inf"),
        ('[[track]]\nmatch = "*"\ngain_db = nan', "gain_db is nan"),
        ('[[track]]\nmatch = "*"\nrole = 0x' + "f" * 5000, "unknown role a number"),
        ('a = "\\ud800"', "is not TOML"),
    ],
)
def test_settings_made_to_break_a_parser_are_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "session.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=what) as caught:
        load_settings(path)
    assert all(len(str(problem)) < 1000 for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[" * 100_000, "is nested too deeply to be read"),
        ('{"version": ' + "1" * 5000 + "}", "holds a number with thousands of digits"),
        ('{"session": "\\ud800"}', "holds a text that no file or name can have"),
        ('{"session": "a\\u0000b"}', "holds a text that no file or name can have"),
        ('{"\\udfff": 1}', "holds a text that no file or name can have"),
        ('{"session": ".", "sample_rate": 1e308}', "sample_rate"),
        ('{"session": ".", "frames": 1' + "0" * 400 + "}", "frames"),
        ('{"session": ".", "frames": NaN}', "frames"),
        ("", "is not JSON"),
        ("[]", "plan"),
    ],
)
def test_a_plan_made_to_break_a_parser_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(InputError, match=what):
        load_plan(path)


def test_names_of_files_that_are_no_unicode_are_let_through() -> None:
    assert parse_json('["Caf\\udce9.wav"]', "plan", "") == [os.fsdecode(b"Caf\xe9.wav")]


def test_what_is_too_long_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan.json"
    path.write_text("12345")
    monkeypatch.setattr("pipeline.text_files.LONGEST_BYTES", 4)
    with pytest.raises(InputError, match="is longer than"):
        read_text(path)


def test_values_are_shown_short() -> None:
    assert shown("kick") == "'kick'"
    assert len(shown("x" * 10_000)) < 70
    assert shown(1 << 20_000) == "a number with thousands of digits"
