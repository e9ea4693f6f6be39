"""Catalogues from outside: what is written, what is said, and with which status it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from typer.testing import Result

from flows.catalogue.run import mix_catalogue
from flows.catalogue.session import SessionJob
from flows.catalogue.sources import CatalogueEntry
from flows.catalogue.table import CatalogueRow
from flows.cli.catalogue import exit_status
from flows.settings import MixSettings
from pipeline.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def songs(
    workplace: Path, make_song: Callable[[Path], Path], make_reference: Callable[..., Path]
) -> Path:
    """Two good sessions, a broken one between them, and a reference in a folder beside them."""
    place = workplace / "songs"
    make_song(place / "a good one")
    (place / "broken").mkdir()
    (place / "broken" / "Kick.wav").write_text("no audio")
    make_song(place / "c another")
    make_reference(place / "references" / "like.wav")
    return place


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def command(*words: object) -> list[str]:
    call = "from flows.cli.main import main; main()"
    return [sys.executable, "-c", call, "catalogue", *map(str, words)]


@pytest.fixture(scope="module")
def run(songs: Path, stemwright: Callable[..., Result]) -> Result:
    reference = songs / "references" / "like.wav"
    return stemwright("catalogue", songs, "-r", reference, "--quality", "fast", "--engine", "local")


def test_all_are_mixed_but_the_broken_one_which_is_reported(
    run: Result, songs: Path, samples: Callable[[Path], Any]
) -> None:
    assert run.exit_code == 11, run.stderr
    out = songs / "mixes"
    table = pd.read_parquet(out / "catalogue.parquet").set_index("session")
    assert list(table.index) == ["a good one", "broken", "c another"]
    assert list(table["status"]) == ["mixed", "failed", "mixed"]
    assert "Kick.wav: is not readable audio" in table.loc["broken", "error"]
    assert "WAV, AIFF, FLAC" in table.loc["broken", "remedy"]
    good = table.loc["a good one"]
    assert (good["tracks"], good["skipped_tracks"], good["attempts"]) == (5, 0, 1)
    assert good["loudness_lufs"] == pytest.approx(good["target_lufs"], abs=0.3)
    assert good["after_total"] < good["before_total"]
    for name in ("mix", "report"):
        assert (out / good[name]).is_file()
    assert 'href="a%20good%20one/report.html"' in (out / "catalogue.html").read_text()
    # Sessions are the same song: so are the mixes.
    one, other = (samples(out / name / "mix.wav") for name in ("a good one", "c another"))
    assert np.array_equal(one, other)
    assert "[3 of 3] " in run.stderr
    assert " left\n" in run.stderr
    assert "left out: references/ (holds the reference)" in run.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        ".catalogue", "a good one", "c another", "catalogue.csv", "catalogue.html",
        "catalogue.parquet",
    ]  # fmt: skip


def test_a_list_finds_what_is_unchanged_and_mixes_the_rest(
    run: Result, songs: Path, stemwright: Callable[..., Result]
) -> None:
    path = songs / "two.toml"
    path.write_text(
        'reference = "references/like.wav"\nquality = "fast"\nengine = "local"\n'
        '[[mix]]\nsession = "a good one"\n[[mix]]\nsession = "gone"\n',
        encoding="utf-8",
    )
    before = (songs / "mixes" / "a good one" / "mix.wav").stat()
    told = stemwright("catalogue", path, "-o", songs / "mixes", "--json")
    assert told.exit_code == 11, told.stderr
    record = json.loads(told.stdout)
    assert {name: record[name] for name in ("sessions", "mixed", "found", "failed")} == {
        "sessions": 2, "mixed": 0, "found": 1, "failed": 1,
    }  # fmt: skip
    (failure,) = record["failures"]
    assert failure["session"] == "gone"
    assert failure["error"].endswith("gone: does not exist")
    assert (songs / "mixes" / "a good one" / "mix.wav").stat() == before
    events = [json.loads(line) for line in told.stderr.splitlines()]
    assert [event["event"] for event in events] == [
        "begin",
        "start",
        "advance",
        "advance",
        "finish",
    ]


def test_bad_input_is_said_at_once_and_nothing_is_written(
    songs: Path, tmp_path: Path, stemwright: Callable[..., Result]
) -> None:
    (tmp_path / "songs.csv").write_text("session,target\na,spotfy\n")
    (tmp_path / "short.wav").write_text("no audio")
    told = stemwright(
        "catalogue", tmp_path / "songs.csv", "-r", tmp_path / "short.wav", "-o", tmp_path / "out"
    )
    assert told.exit_code == 2
    assert told.stderr.splitlines()[0] == "2 problems, nothing was written:"
    assert "reference short.wav: is not readable audio" in told.stderr
    assert "did you mean 'spotify'?" in told.stderr
    assert not (tmp_path / "out").exists()
    told = stemwright("catalogue", tmp_path / "none", "-q")
    assert (told.exit_code, told.stdout) == (2, "")

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "catalogue.csv").write_text("dear to me")
    told = stemwright("catalogue", songs, "-o", tmp_path / "mine")
    assert told.exit_code == 2
    assert "is there already, and of no catalogue" in told.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["catalogue.csv"]


@pytest.mark.parametrize(
    ("failed", "skipped", "status"),
    [(0, 0, 0), (0, 3, 3), (1, 0, 11), (6, 2, 16), (89, 0, 99), (90, 0, 100), (700, 0, 100)],
)
def test_the_exit_status_says_how_many_failed(failed: int, skipped: int, status: int) -> None:
    assert exit_status(failed, skipped) == status


@pytest.mark.skipif(os.name != "posix", reason="processes are stopped by POSIX signals")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_catalogue_goes_on_where_it_was(
    songs: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    names = ("a good one", "broken", "c another")
    (songs / "three.csv").write_text("session\n" + "\n".join(names), encoding="utf-8")
    options = ("--quality", "fast", "--engine", "local", "--json")
    words = (songs / "three.csv", "-o", tmp_path / "out", *options)
    with subprocess.Popen(
        command(*words), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env=environment(),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        done = 0
        while done < 2:
            done += json.loads(process.stderr.readline())["event"] == "advance"
        # The third one is at work now.
        until = time.monotonic() + 30.0
        while not list((tmp_path / "out").glob(".c another.*.part")):
            assert time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(stop)
        process.stderr.read()
    assert process.returncode == (130 if stop is signal.SIGINT else -signal.SIGKILL)
    out = tmp_path / "out"
    if stop is signal.SIGKILL:  # the process of the session hears of it a moment later
        while list(out.glob(".*.part")):
            assert time.monotonic() < until
            time.sleep(0.05)
    assert not list(out.glob(".*.part"))
    if stop is signal.SIGINT:
        assert 'http-equiv="refresh"' not in (out / "catalogue.html").read_text()
        return  # what is on disk is the same
    again = subprocess.run(
        command(*words), env=environment(), capture_output=True, text=True, check=False
    )
    assert again.returncode == 11, again.stderr
    record = json.loads(again.stdout)
    assert record["mixed"] + record["found"] == 2
    assert record["found"] >= 1
    # Whether the third was finished before it heard of the stop is a matter of milliseconds.
    assert pd.read_csv(out / "catalogue.csv")["status"].tolist()[0] == "found"


def entries(count: int) -> list[CatalogueEntry]:
    return [CatalogueEntry(f"{n}", Path(f"/songs/{n}"), MixSettings()) for n in range(count)]


def test_tables_are_whole_after_each_session_and_in_the_order_of_the_list(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def run(
        jobs: Sequence[SessionJob], at_once: int
    ) -> Generator[tuple[int, CatalogueRow], None, None]:
        assert at_once == 3
        for index in (2, 0, 1):
            yield index, CatalogueRow(jobs[index].entry.name, "mixed", seconds=1.0)
            table = pd.read_csv(tmp_path / "catalogue.csv", dtype={"session": str})
            seen.append(table["session"].tolist())

    told: list[tuple[str, int]] = []

    def on_row(row: CatalogueRow, done: int, left_s: float) -> None:
        told.append((row.session, done))
        assert left_s >= 0.0

    outcome = mix_catalogue(entries(3), title="t", folder=tmp_path, jobs=3, run=run, on_row=on_row)
    assert seen == [["2"], ["0", "2"], ["0", "1", "2"]]
    assert told == [("2", 1), ("0", 2), ("1", 3)]
    assert [row.session for row in outcome.rows] == ["0", "1", "2"]


def test_sessions_at_once_share_the_cores(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("flows.catalogue.run.default_workers", lambda: 8)
    seen: list[int | None] = []

    def run(
        jobs: Sequence[SessionJob], at_once: int
    ) -> Generator[tuple[int, CatalogueRow], None, None]:
        seen.extend(job.entry.settings.workers for job in jobs)
        yield 0, CatalogueRow("0", "mixed")

    own = CatalogueEntry("own", Path("/songs/own"), MixSettings(workers=5))
    # On a running cluster all of its workers are used, whatever this machine has.
    far = CatalogueEntry("far", Path("/songs/far"), MixSettings(dask="tcp://10.0.0.5:8786"))
    mix_catalogue([*entries(1), own, far], title="t", folder=tmp_path, jobs=3, run=run)
    assert seen == [2, 5, None]


@pytest.mark.parametrize("known", [False, True])
def test_sessions_share_one_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    seen: list[str | None] = []

    @contextlib.contextmanager
    def server() -> Iterator[tuple[str, Path]]:
        yield "http://127.0.0.1:1/api", tmp_path
        seen.append("ended")

    def run(
        jobs: Sequence[SessionJob], at_once: int
    ) -> Generator[tuple[int, CatalogueRow], None, None]:
        for index in range(len(jobs)):
            seen.append(os.environ.get("PREFECT_API_URL"))
            yield index, CatalogueRow(str(index), "mixed")

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("flows.catalogue.run.private_server", server)
    monkeypatch.setattr("flows.catalogue.run.running_server", lambda: "url" if known else None)
    monkeypatch.setattr("flows.catalogue.run._RECORDED_S", 0.0)
    flow = CatalogueEntry("flow", Path("/songs/flow"), MixSettings(engine="prefect"))
    mix_catalogue([*entries(1), flow], title="t", folder=tmp_path, run=run)
    assert seen == ([None, None] if known else ["http://127.0.0.1:1/api"] * 2 + ["ended"])
    assert "PREFECT_API_URL" not in os.environ


def test_two_catalogues_do_not_write_into_one_folder(tmp_path: Path) -> None:
    (tmp_path / ".catalogue").mkdir()
    with (
        FileLock(tmp_path / ".catalogue" / "lock"),
        pytest.raises(InputError, match="is being written by another catalogue"),
    ):
        mix_catalogue(entries(1), title="t", folder=tmp_path)
    assert np.array_equal(list(tmp_path.glob("catalogue.*")), [])
