from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from flows.catalogue.page import write_catalogue_page
from flows.catalogue.table import CatalogueRow, catalogue_frame, failed_row, write_tables
from pipeline.errors import InputError, Problem

ROWS = [
    CatalogueRow("one", "mixed", 4.25, 1, 12, 0, -14.0, -14.0, -1.0, 6.5, 2.0, 0.25,
                 folder="one", mix="one/mix.wav", report="one/report.html"),
    CatalogueRow("two\ud800\n", "found", 0.1, 0, 3, 1, warnings=1, warning_text="a, \"b\"\nc",
                 report="two # %/report.html"),
    failed_row(
        "<b>three</b>",
        InputError([Problem("Kick.wav", "is empty", "mend it"), Problem("a", "b", "mend it")]),
        session=Path("/songs/three"), references=(), seconds=1.0, attempts=1,
    ),
]  # fmt: skip


def test_tables_are_read_back_as_they_were(tmp_path: Path) -> None:
    csv, parquet = write_tables(tmp_path, ROWS)
    table = pd.read_parquet(parquet)
    assert list(table["session"]) == ["one", "two?\n", "<b>three</b>"]
    assert list(table["status"]) == ["mixed", "found", "failed"]
    assert table["tracks"].dtype == "Int64"
    assert list(table["tracks"].isna()) == [False, False, True]
    assert table["loudness_lufs"].dtype == "float64"
    assert table.loc[2, "error"] == "Kick.wav: is empty; a: b"
    assert table.loc[2, "remedy"] == "mend it"
    text = pd.read_csv(csv, keep_default_na=False)
    assert list(text.columns) == list(table.columns)
    assert text.loc[1, "warning_text"] == 'a, "b"\nc'
    assert sorted(path.name for path in tmp_path.iterdir()) == [csv.name, parquet.name]


def test_columns_have_the_same_types_with_and_without_rows() -> None:
    assert list(catalogue_frame([]).dtypes) == list(catalogue_frame(ROWS).dtypes)


def test_the_page_shows_failures_first_links_reports_and_takes_names_as_text(
    tmp_path: Path,
) -> None:
    path = tmp_path / "catalogue.html"
    write_catalogue_page(path, ROWS, title="My <songs>", total=3, seconds=3700.0)
    page = path.read_text(encoding="utf-8")
    assert "<h1>My &lt;songs&gt;</h1>" in page
    assert "&lt;b&gt;three&lt;/b&gt;" in page
    assert "<b>three" not in page
    order = [page.index(text) for text in ("Kick.wav: is empty", "one/report.html", "two%20")]
    assert order == sorted(order)
    assert 'href="two%20%23%20%25/report.html"' in page
    assert "1 h 1 min" in page
    assert 'http-equiv="refresh"' not in page
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page)
    write_catalogue_page(path, ROWS[:1], title="x", total=3, seconds=1.0, running=True)
    page = path.read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' in page
    assert "1 of 3" in page
    write_catalogue_page(path, [], title="x", total=3, seconds=0.0)
    assert "No session is done yet" in path.read_text(encoding="utf-8")


def test_the_page_works_in_a_browser(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs a browser")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("needs /usr/bin/chromium")
    path = tmp_path / "catalogue.html"
    write_catalogue_page(path, ROWS, title="Songs", total=3, seconds=10.0)
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            page = browser.new_page(viewport={"width": 1200, "height": 800})
            said: list[str] = []
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(path.as_uri())

            def names() -> list[str]:
                return page.locator("tbody tr:visible th a, tbody tr:visible th").evaluate_all(
                    "cells => cells.filter(c => c.tagName === 'TH')"
                    ".map(c => c.childNodes[0].textContent.trim() || c.innerText.trim())"
                )

            assert names()[0] == "<b>three</b>"  # the failed one
            page.locator("thead button", has_text="Tracks").focus()
            page.keyboard.press("Enter")
            assert [name[:3] for name in names()] == ["two", "one", "<b>"]
            page.keyboard.press("Enter")
            assert [name[:3] for name in names()] == ["one", "two", "<b>"]
            page.locator("[data-find]").fill("found")
            assert [name[:3] for name in names()] == ["two"]
            page.locator("[data-find]").fill("")
            page.set_viewport_size({"width": 360, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            page.locator("[data-by]").select_option(label="Session")
            assert [name[:3] for name in names()] == ["<b>", "one", "two"]
            assert said == []
        finally:
            browser.close()
