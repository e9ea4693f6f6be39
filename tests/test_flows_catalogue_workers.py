"""Processes that end in every way; ``eval`` is a function that any process can import."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.catalogue import workers as catalogue_workers
from flows.catalogue.workers import Died, work_in_processes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are watched by signals")


def results(items: list[str], jobs: int = 1) -> dict[int, object]:
    return dict(work_in_processes(eval, items, jobs=jobs))


def test_results_come_with_their_index_and_a_dead_process_takes_its_item_alone() -> None:
    kill = "__import__('os').kill(__import__('os').getpid(), {})"
    found = results(
        ["1 + 1", kill.format("9"), kill.format("11"), "__import__('os')._exit(7)", "1 / 0", "'x'"],
        jobs=2,
    )
    assert (found.pop(0), found.pop(5)) == (2, "x")
    told = {index: died.how for index, died in found.items() if isinstance(died, Died)}
    assert told == {
        1: "its process was ended by SIGKILL, as a machine without memory left does",
        2: "its process was ended by SIGSEGV",
        3: "its process ended with status 7",
        4: "ZeroDivisionError: division by zero",
    }


def test_a_process_works_on_until_it_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_workers, "_ITEMS_A_PROCESS", 2)
    pids = results(["__import__('os').getpid()"] * 5)
    assert pids[0] == pids[1]
    assert pids[2] == pids[3]
    assert len({pids[0], pids[2], pids[4]}) == 3
    monkeypatch.setattr(catalogue_workers, "_ITEMS_A_PROCESS", 100)
    monkeypatch.setattr(catalogue_workers, "_GROWTH_BYTES", 50 * 2**20)
    grow = "(globals().__setitem__('held', bytearray(100 * 2**20)), __import__('os').getpid())[1]"
    pids = results(["__import__('os').getpid()", grow, "__import__('os').getpid()"])
    assert pids[0] == pids[1] != pids[2]


CLEANS_UP = """
def work(path):
    import pathlib, time
    pathlib.Path(path).write_text("at work")
    try:
        time.sleep(3600)
    finally:
        pathlib.Path(path).write_text("cleaned up")
work({!r})
"""


def says(mark: Path, text: str) -> bool:
    return mark.exists() and mark.read_text() == text


def test_whoever_leaves_has_the_items_at_work_clean_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_workers, "_GRACE_S", 250.0)  # on a busy machine
    marks = [tmp_path / "a", tmp_path / "b"]
    items = [f"exec({CLEANS_UP.format(str(mark))!r})" for mark in marks]
    with contextlib.closing(work_in_processes(eval, [*items, "3"], jobs=3)) as found:
        assert next(found) == (2, 3)
        while not all(says(mark, "at work") for mark in marks):
            time.sleep(0.05)
    # Their work would have lasted an hour.
    assert [mark.read_text() for mark in marks] == ["cleaned up"] * 2


PARENT = """
import sys
from flows.catalogue.workers import work_in_processes
if __name__ == "__main__":
    list(work_in_processes(exec, [sys.argv[1]], jobs=1))
"""


def test_items_at_work_are_stopped_when_the_parent_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    root = str(Path(catalogue_workers.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, script, CLEANS_UP.format(str(mark))],
        env={**os.environ, "PYTHONPATH": root},
    ) as parent:
        while not says(mark, "at work"):
            assert parent.poll() is None
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
    while not says(mark, "cleaned up"):  # else the test's own time ends it
        time.sleep(0.05)
