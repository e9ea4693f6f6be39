"""A new folder is whole or not there, also when Ctrl-C falls where nobody hears it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.engines.local import LocalEngine
from flows.interrupts import Stopped, lost_interrupts
from flows.storage.output_folder import (
    choose_folder,
    folder_problems,
    new_folder,
    relative_path,
    reserved,
    written_through,
)
from pipeline.errors import InputError

Contents = Callable[[Path], dict[str, str]]


def write(folder: Path, then: Callable[[Path], None]) -> None:
    """Write a file into a new folder, and do something before it is whole."""
    with new_folder(folder) as part:
        (part / "mix.wav").write_text("mine")
        then(part)


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "mix"
    with new_folder(folder) as part:
        (part / "mix.wav").write_text("sound")
        assert not folder.exists()
        assert part.parent == folder.parent  # one file system: the renaming is one step
        assert part.name.startswith(".")
    assert [path.name for path in folder.parent.iterdir()] == ["mix"]
    assert (folder / "mix.wav").read_text() == "sound"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_or_nothing_is_left(
    failure: type[BaseException], tmp_path: Path, contents: Contents
) -> None:
    (tmp_path / "a").mkdir()
    before = contents(tmp_path)

    def fail(part: Path) -> None:
        raise failure

    with pytest.raises(failure):
        write(tmp_path / "a" / "b" / "c" / "mix", fail)
    assert contents(tmp_path) == before


def test_folders_of_others_beside_it_stay(tmp_path: Path) -> None:
    def fail(part: Path) -> None:
        (part.parent / "theirs").mkdir()
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        write(tmp_path / "mixes" / "mine", fail)
    assert [path.name for path in (tmp_path / "mixes").iterdir()] == ["theirs"]


def test_what_came_there_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "mix"

    def meanwhile(part: Path) -> None:
        folder.mkdir()
        (folder / "mix.wav").write_text("theirs")

    with pytest.raises(InputError, match="exists already"):
        write(folder, meanwhile)
    assert (folder / "mix.wav").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["mix"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "mix").mkdir()
    with new_folder(tmp_path / "mix") as part:
        (part / "mix.wav").write_text("sound")
    assert (tmp_path / "mix" / "mix.wav").exists()


def test_problems_are_known_beforehand(tmp_path: Path, contents: Contents) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    before = contents(tmp_path)
    for name, what in (
        ("file", "exists already"),
        ("full", "exists already"),
        ("file/a/b", "cannot be made, as 'file' is a file"),
    ):
        (problem,) = folder_problems(tmp_path / name)
        assert (problem.subject, problem.what) == (str(tmp_path / name), what)
    assert folder_problems(tmp_path / "new" / "deep") == ()
    assert contents(tmp_path) == before
    if os.name == "posix":
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        assert folder_problems(tmp_path / "link")[0].what == "exists already"


def test_default_folders_are_in_the_session_and_never_twice_the_same(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        folder, problems = choose_folder(None, tmp_path, "On the Run (live) / ü")
        assert problems == ()
        assert folder.parent == tmp_path / "mixes"
        assert "-On_the_Run_live_ü" in folder.name
        folder.mkdir(parents=True)
        (folder / "plan.json").touch()
        names.add(folder.name)
    assert len(names) == 3
    assert choose_folder(tmp_path / "mine", tmp_path, "x")[0] == tmp_path / "mine"


def test_paths_are_told_from_the_folder(tmp_path: Path) -> None:
    assert relative_path(tmp_path / "song", tmp_path / "song" / "mixes" / "1") == "../.."
    assert relative_path(tmp_path / "song", tmp_path / "out") == "../song"


def interrupted_in_a_callback() -> None:
    @ctypes.CFUNCTYPE(None)
    def callback() -> None:
        raise KeyboardInterrupt

    callback()  # comes back as if nothing had been


def test_ctrl_c_inside_a_c_callback_is_not_lost(tmp_path: Path, contents: Contents) -> None:
    began: list[str] = []

    def step(item: str) -> None:
        interrupted_in_a_callback()
        began.append(item)

    with pytest.raises(KeyboardInterrupt):
        LocalEngine(1).run(step, "report", name="report", label="report")
    assert began == ["report"]  # the callback did swallow it
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "mixes" / "1", lambda part: interrupted_in_a_callback())
    assert contents(tmp_path) == {}


def test_other_exceptions_in_callbacks_are_told_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[type[BaseException]] = []
    monkeypatch.setattr("sys.unraisablehook", lambda it: told.append(it.exc_type))

    def failing(error: type[BaseException]) -> None:
        @ctypes.CFUNCTYPE(None)
        def callback() -> None:
            raise error

        callback()

    with lost_interrupts() as raise_lost:
        failing(ValueError)
        failing(Stopped)
        raise_lost()
    failing(Stopped)  # the hook is gone again
    assert told == [ValueError, Stopped]


def test_what_killed_runs_left_beside_it_is_swept(tmp_path: Path) -> None:
    host = socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = tmp_path / f".mix.0123abcd.{dead.pid}@{host}.part"
    kept = [
        tmp_path / f".mix.0123abcd.{os.getpid()}@{host}.part",
        tmp_path / f".mix.0123abcd.{dead.pid}@elsewhere.part",
        tmp_path / f"mix.0123abcd.{dead.pid}@{host}.part",
        tmp_path / ".mine.part",
    ]
    for folder in (gone, *kept):
        folder.mkdir()
        (folder / "mix.wav").touch()
    with new_folder(tmp_path / "out") as part:
        assert not gone.exists()
        assert part.name.endswith(f".{os.getpid()}@{host}.part")
    assert all((folder / "mix.wav").exists() for folder in kept)


def test_a_folder_of_the_longest_name_can_be_made(tmp_path: Path) -> None:
    folder = tmp_path / ("日" * 80 + "x" * 15)  # 255 bytes
    with new_folder(folder) as part:
        (part / "mix.wav").touch()
    assert (folder / "mix.wav").exists()


def test_what_workers_write_through_is_there_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMWRIGHT_STAGING", str(tmp_path / "staging"))
    assert written_through(tmp_path / "new" / "out", Path("song")) == (tmp_path,)
    assert written_through(None, Path("song")) == ()
    assert written_through("s3://a/out", Path("song")) == (tmp_path / "staging",)
    assert written_through(None, "s3://a/song") == (tmp_path / "staging",)
    assert written_through("ftp://a/out", Path("song")) == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs Linux's /sys")
def test_a_folder_that_the_file_system_refuses_is_said_before_any_work() -> None:
    (problem,) = folder_problems(Path("/sys/kernel/mixes/one"))
    assert problem.what.startswith("cannot be made there (")
    assert problem.remedy == "name another folder with --output"


def test_asking_whether_a_folder_can_be_made_leaves_nothing(tmp_path: Path) -> None:
    assert folder_problems(tmp_path / "mixes" / "one") == ()
    assert list(tmp_path.iterdir()) == []


def test_runs_that_begin_at_once_have_folders_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "mixes" / "20260101-000000-ref"
    barrier, used = threading.Barrier(6), []

    def run() -> None:
        barrier.wait()
        with reserved(folder, is_own=True) as mine:
            (mine / "mix.wav").write_bytes(b"x")
            used.append(mine)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(used)) == 6
    assert {path.name for path in folder.parent.iterdir()} == {path.name for path in used}


def test_a_folder_that_nothing_was_written_into_goes(tmp_path: Path) -> None:
    folder = tmp_path / "mixes" / "x"
    with contextlib.suppress(KeyboardInterrupt), reserved(folder, is_own=True) as mine:
        assert mine.is_dir()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with reserved(folder, is_own=False) as mine:
        assert not mine.exists()
