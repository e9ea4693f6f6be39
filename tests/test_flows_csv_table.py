"""CSV that programs read back as it was, and spreadsheets take for text."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.csv_table import as_cell, as_text, write_csv

FORMULAS = (
    "=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=HYPERLINK(\"http://a\")", "\uff1d1",
    "=cmd|' /C calc'!A0",
)  # fmt: skip


@given(st.text())
def test_text_comes_back_and_begins_with_no_sign(text: str) -> None:
    cell = as_cell(text)
    assert isinstance(cell, str)
    assert as_text(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize("name", FORMULAS)
def test_a_table_is_read_back(name: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        [{"track": name, name: "'68", "gain_db": -3.25}, {"track": "b", "gain_db": math.nan}]
    )
    write_csv(frame, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert all(not cell.startswith(("=", "+", "@")) for cell in [*first, *first.values()])
    assert {as_text(k): as_text(v) for k, v in first.items()} == {
        "track": name, name: "'68", "gain_db": "-3.25",
    }  # fmt: skip
    assert second["gain_db"] == ""


def test_numbers_and_ordinary_names_are_as_pandas_writes_them(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "name": ["Kick.wav", "a, b"], "x": [-1.0 / 3.0, 1e-17],
        "n": pd.Series([1, None], dtype="Int64"),
        "yes": [True, False], "far": [-math.inf, math.nan],
    })  # fmt: skip
    write_csv(frame, tmp_path / "ours.csv")
    frame.to_csv(tmp_path / "theirs.csv", index=False)
    assert (tmp_path / "ours.csv").read_text() == (tmp_path / "theirs.csv").read_text()


def test_bytes_of_a_name_that_are_no_unicode_become_marks(tmp_path: Path) -> None:
    names = pd.Series(["a\udce9.wav", "=b"], dtype=object)
    write_csv(pd.DataFrame({"track": names}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines() == ["track", "a?.wav", "'=b"]
