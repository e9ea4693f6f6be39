"""``stemwright cache``: what is there, and what goes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from flows.cli.cache import parse_age_s, parse_size, size_told
from flows.storage.store import Store

Command = Callable[..., Result]
HOUR_S = 3600.0


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Fill a store: four results, last used 0, 2, 20 and 200 hours ago."""
    root = tmp_path / "store"
    for step, hours, size in (("a", 0, 1000), ("a", 2, 2000), ("b", 20, 3000), ("b", 200, 4000)):
        opened = Store(root)
        with opened.entry(step, f"{hours:040d}") as entry:
            (entry.path / "data").write_bytes(bytes(size))
            place = entry.commit()
        used = time.time() - hours * HOUR_S
        os.utime(place / "done.json", (used, used))
    return root


def entries(root: Path) -> set[str]:
    return {path.parent.name.lstrip("0") or "0" for path in root.glob("*/*/done.json")}


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_it_is_shown(stemwright: Command, store: Path) -> None:
    record = told(stemwright("cache", "--store", store, "--json"))
    on_disk = sum(p.stat().st_size for p in store.glob("[!.]*/*/*"))
    assert record["store"] == str(store)
    assert (record["size_bytes"], record["entries"]) == (on_disk, 4)
    assert list(record["steps"]) == ["b", "a"]  # the largest first
    assert record["steps"]["b"]["entries"] == 2
    words = stemwright("cache", "--store", store).stdout
    assert f"{store}: {on_disk / 1000:.1f} kB, 4 entries" in words


def test_the_user_s_own_store_is_meant(
    stemwright: Command, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMWRIGHT_STORE", str(store))
    assert told(stemwright("cache", "--json"))["entries"] == 4
    monkeypatch.setenv("STEMWRIGHT_STORE", str(store / "none yet"))
    assert told(stemwright("cache", "--json"))["entries"] == 0


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (["--older-than", "7d"], {"0", "2", "20"}),
        (["--older-than", "1s"], {"0"}),  # what a run may be reading stays
        (["--max-size", "5kB"], {"0", "2"}),
        (["--max-size", "1GB"], {"0", "2", "20", "200"}),
        (["--max-size", "0"], {"0"}),
        (["--max-size", "6.5kB", "--older-than", "3h"], {"0", "2"}),
    ],
)
def test_what_was_not_used_for_longest_goes(
    stemwright: Command, store: Path, limits: list[str], left: set[str]
) -> None:
    before = told(stemwright("cache", "--store", store, "--json"))
    record = told(stemwright("cache", "prune", "--store", store, "--json", *limits))
    assert entries(store) == left
    assert record["removed"] == 4 - len(left)
    assert record["freed_bytes"] == before["size_bytes"] - record["size_bytes"]
    assert record["in_use"] == 1


def test_all_goes_but_what_is_in_use(stemwright: Command, store: Path) -> None:
    result = stemwright("cache", "clear", "--store", store)
    assert result.exit_code == 0
    assert entries(store) == {"0"}
    assert "3 entries removed" in result.stdout
    assert "1 entries were used within an hour" in result.stdout


def test_what_is_wrong_is_told_together(stemwright: Command, store: Path) -> None:
    result = stemwright(
        "cache", "prune", "--store", store, "--max-size", "2", "--older-than", "x", "--json"
    )
    assert result.exit_code == 2
    problems = json.loads(result.stdout)["problems"]
    assert [problem["subject"] for problem in problems] == ["--max-size", "--older-than"]
    assert stemwright("cache", "prune", "--store", store).exit_code == 2
    assert stemwright("cache", "--store", store / "nowhere").exit_code == 2
    assert entries(store) == {"0", "2", "20", "200"}


def test_sizes_and_ages_are_read() -> None:
    assert [parse_size(text) for text in ("2GB", "1.5 MiB", "10 b", "0", "1TiB")] == [
        2 * 10**9, 3 * 2**19, 10, 0, 2**40,
    ]  # fmt: skip
    assert [parse_age_s(text) for text in ("7d", "90m", "1.5h", "2w")] == [
        604800, 5400, 5400, 1209600,
    ]  # fmt: skip
    for wrong in ("", "GB", "-1GB", "1 parsec", "1e9GB", "12", "nan d"):
        with pytest.raises(ValueError, match=r"no (size|measure)"):
            parse_size(wrong)
        with pytest.raises(ValueError, match=r"no (age|measure)"):
            parse_age_s(wrong)
    assert [size_told(n) for n in (0, 999, 1500, 2 * 10**9)] == [
        "0 bytes", "999 bytes", "1.5 kB", "2.0 GB",
    ]  # fmt: skip
