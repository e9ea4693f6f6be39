import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from flows.engines.base import Engine
from flows.engines.local import LocalEngine
from flows.engines.run import make_engine, resolve_engine, run_recipe
from flows.engines.threads import default_workers, one_torch_thread
from flows.progress import JsonProgress, RichProgress
from pipeline.errors import InputError, Problem


class Told:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def start(self, name: str, total: int) -> None:
        self.events.append(("start", name, str(total)))

    def advance(self, name: str, label: str) -> None:
        self.events.append(("advance", name, label))

    def finish(self, name: str) -> None:
        self.events.append(("finish", name))


def numbers(count: int) -> list[str]:
    return [str(index) for index in range(count)]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_keep_the_order_of_items(workers: int) -> None:
    def step(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    items = list(range(40))
    with LocalEngine(workers) as engine:
        assert engine.map(step, items, name="square", labels=numbers(40)) == [
            item * item for item in items
        ]


def test_workers_work_at_the_same_time_and_no_more_than_asked() -> None:
    meeting = threading.Barrier(3)
    at_work, most = 0, 0
    lock = threading.Lock()

    def step(_: int) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        meeting.wait(250)  # breaks unless three are here at once
        with lock:
            at_work -= 1

    LocalEngine(3).map(step, range(9), name="meet", labels=numbers(9))
    assert most == 3


def test_progress_is_told_of_each_item_in_the_calling_thread() -> None:
    told = Told()
    engine = LocalEngine(2, told)
    engine.map(str, [1, 2], name="write", labels=["one", "two"])
    engine.run(str, 3, name="last", label="three")
    engine.map(str, [], name="none", labels=[])
    assert told.events[0] == ("start", "write", "2")
    assert sorted(told.events[1:3]) == [("advance", "write", "one"), ("advance", "write", "two")]
    assert told.events[3:] == [
        ("finish", "write"),
        ("start", "last", "1"),
        ("advance", "last", "three"),
        ("finish", "last"),
        ("start", "none", "0"),
        ("finish", "none"),
    ]


def test_first_exception_drops_the_rest_and_names_its_item() -> None:
    begun: list[int] = []
    told = Told()

    def step(item: int) -> None:
        begun.append(item)
        if item == 2:
            raise InputError([Problem("kick.wav", "is empty", "record it again")])
        time.sleep(0.01)

    with pytest.raises(InputError, match=r"kick\.wav") as caught:
        LocalEngine(2, told).map(step, range(50), name="analyse", labels=numbers(50))
    assert caught.value.__notes__ == ["while working on '2' (analyse)"]
    assert len(begun) < 6
    assert told.events[-1] == ("finish", "analyse")
    before = len(begun)
    time.sleep(0.05)
    assert len(begun) == before, "a step ran on after map had raised"


def test_of_several_exceptions_the_first_item_counts() -> None:
    together = threading.Barrier(2)

    def step(item: int) -> None:
        together.wait(250)
        time.sleep(0.05 * (1 - item))
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        LocalEngine(2).map(step, range(2), name="fail", labels=numbers(2))


def test_run_names_its_item_too() -> None:
    def step(item: str) -> None:
        raise ValueError(item)

    with pytest.raises(ValueError, match="boom") as caught:
        LocalEngine().run(step, "boom", name="refine", label="the mix")
    assert caught.value.__notes__ == ["while working on 'the mix' (refine)"]


def test_labels_must_fit_and_workers_be_some() -> None:
    with pytest.raises(ValueError, match="2 items but 1 labels"):
        LocalEngine().map(str, [1, 2], name="x", labels=["1"])
    with pytest.raises(ValueError, match="workers is 0"):
        LocalEngine(0)


@pytest.mark.skipif(os.name != "posix", reason="a signal to oneself")
def test_interrupt_stops_promptly_and_lets_steps_clean_up() -> None:
    begun: list[int] = []
    cleaned: list[int] = []
    completed: list[int] = []

    def step(item: int) -> None:
        begun.append(item)
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        try:
            for _ in range(12_000):  # two minutes
                time.sleep(0.01)
            completed.append(item)
        finally:
            cleaned.append(item)

    with pytest.raises(KeyboardInterrupt):
        LocalEngine(2).map(step, range(20), name="long", labels=numbers(20))
    for thread in threading.enumerate():  # on a busy machine they stop a little later
        if thread.name.startswith("step-"):
            thread.join(60.0)
    assert not completed
    assert sorted(begun) == sorted(cleaned) == [0, 1]
    assert not [t for t in threading.enumerate() if t.name.startswith("step-")]


STUBBORN = """
import os, signal, time
from flows.engines.local import LocalEngine

def step(item):
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        try:
            time.sleep(3600)  # one call that cannot be interrupted
        except BaseException:
            pass

LocalEngine(1).map(step, range(2), name="stuck", labels=["0", "1"])
"""


@pytest.mark.skipif(os.name != "posix", reason="a signal to oneself")
def test_interrupt_does_not_wait_for_a_step_that_hears_nothing() -> None:
    # That it ends is the proof: its step never does.
    stuck = subprocess.run([sys.executable, "-c", STUBBORN], capture_output=True, check=False)
    assert b"KeyboardInterrupt" in stuck.stderr


def test_torch_has_one_thread_in_steps_and_its_own_again_afterwards() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        engine = LocalEngine(2)
        inside = engine.map(
            lambda _: torch.get_num_threads(), range(6), name="ask", labels=numbers(6)
        )
        assert inside == [1] * 6
        assert torch.get_num_threads() == 3
        with one_torch_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        assert engine.run(lambda _: torch.get_num_threads(), 0, name="ask", label="0") == 3
    finally:
        torch.set_num_threads(before)


def test_default_workers_are_the_cores_we_may_use() -> None:
    assert 1 <= default_workers() <= (os.cpu_count() or 1)
    assert LocalEngine().workers == default_workers()


def test_auto_is_prefect_only_where_a_server_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STEMWRIGHT_PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert resolve_engine("auto") == "local"
    assert isinstance(make_engine("auto", workers=2), LocalEngine)
    # A state file that a killed server left behind: our own process, and nobody answers.
    state = {"pid": os.getpid(), "url": "http://127.0.0.1:9/api"}
    (tmp_path / "server.json").write_text(json.dumps(state))
    assert resolve_engine("auto") == "local"
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert resolve_engine("auto") == "prefect"
    assert resolve_engine("local") == "local"


LIGHT = """
import sys
from flows.engines.run import run_recipe
from flows.progress import RichProgress

assert run_recipe("x", lambda engine: engine.map(abs, [-1], name="n", labels=["1"])) == [1]
heavy = {"prefect", "torch", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_local_run_loads_no_prefect(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    environment["STEMWRIGHT_PREFECT_HOME"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", LIGHT], check=True, env=environment, timeout=60)


def test_run_recipe_returns_what_the_recipe_does() -> None:
    def recipe(engine: Engine) -> dict[str, list[int]]:
        engine.publish_table("figures", [{"track": "kick", "lufs": -20.0}], title="Figures")
        engine.publish_markdown("note", "# A mix", title="Note")
        return {"lengths": engine.map(len, ["a", "bc"], name="measure", labels=["a", "bc"])}

    assert run_recipe("song", recipe, engine="local", workers=1) == {"lengths": [1, 2]}


def test_json_progress_is_a_line_an_event() -> None:
    stream = io.StringIO()
    LocalEngine(1, JsonProgress(stream)).map(str, [1, 2], name="write", labels=["a\nb", "ü"])
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["start", "advance", "advance", "finish"]
    assert {event["name"] for event in events} == {"write"}
    assert [event.get("label") for event in events] == [None, "a\nb", "ü", None]
    assert [event.get("done") for event in events] == [None, 1, 2, 2]
    assert events[2]["left_s"] == 0.0
    assert all(event["time_s"] >= 0.0 for event in events)


def test_rich_progress_takes_labels_as_they_are() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120)
    progress = RichProgress(console, verbose=True)
    LocalEngine(1, progress).map(str, [1, 2], name="[x] write", labels=["[/red]a\nb", "two"])
    LocalEngine(1, progress).map(str, [1], name="again", labels=["three"])
    told = stream.getvalue()
    for part in ("[x] write · [/red]a b", "2/2", "again · three", "1/1"):
        assert part in told


def test_rich_progress_without_a_terminal_is_a_line_a_phase() -> None:
    stream = io.StringIO()
    progress = RichProgress(Console(file=stream, force_terminal=False, width=120))
    LocalEngine(1, progress).map(str, [1, 2], name="write", labels=["a", "b"])
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("write: 2 of 2 in ")
