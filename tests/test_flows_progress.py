"""What shows a run never ends it: any call, any stream, any terminal."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from flows.engines.local import LocalEngine
from flows.mix.steps.search import _bar_of_steps
from flows.output_stream import LastingStream, lasting
from flows.overall import Overall, Phase
from flows.progress import (
    GuardedProgress,
    JsonProgress,
    Progress,
    RichProgress,
    SilentProgress,
    guarded,
)


class Broken(io.TextIOBase):
    """A stream that raises whatever it is given."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def write(self, text: str) -> int:
        raise self._error

    def flush(self) -> None:
        raise self._error

    def isatty(self) -> bool:
        return True


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS: dict[str, Callable[[], Any]] = {
    "whole": io.StringIO,
    "closed": closed,
    "pipe": lambda: Broken(BrokenPipeError()),
    "full": lambda: Broken(OSError(28, "No space left on device")),
    "ascii": lambda: io.TextIOWrapper(io.BytesIO(), encoding="ascii"),
}


def rich(stream: Any, width: int = 80, *, terminal: bool = True, safe: bool = True) -> Progress:
    console = Console(
        file=lasting(stream) if safe else stream, force_terminal=terminal, width=width, height=10
    )
    return RichProgress(console, verbose=True)


MAKERS: dict[str, Callable[[Any], Progress]] = {
    "bars": rich,
    "narrow": lambda stream: rich(stream, 10),
    "lines": lambda stream: rich(stream, terminal=False),
    "json": JsonProgress,
}
CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("expect", ({"a": 1.0, "ü [/red]": 2.0},)),
    ("start", ("a", 2)),
    ("advance", ("a", "日本 [/x]\n")),
    ("start", ("a", 0)),
    ("start", ("a", -3)),
    ("advance", ("never begun", "")),
    ("finish", ("never begun",)),
    ("start", ("ü [/red]", 0)),
    ("advance", ("ü [/red]", "")),
    ("finish", ("a",)),
    ("advance", ("a", "late")),
    ("expect", ({},)),
    ("finish", ("a",)),
    ("finish", ("ü [/red]",)),
]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("maker", MAKERS)
def test_any_call_in_any_order_on_any_stream(maker: str, stream: str) -> None:
    for turn in (0, 3, 7):
        progress = MAKERS[maker](STREAMS[stream]())
        for name, arguments in [*CALLS[turn:], *CALLS[:turn], *CALLS[::-1]]:
            getattr(progress, name)(*arguments)
        getattr(progress, "__exit__", lambda *_: None)(None, None, None)


@pytest.mark.parametrize("maker", MAKERS)
def test_several_threads_tell_at_once(maker: str) -> None:
    progress, failures = MAKERS[maker](io.StringIO()), []

    def tell(turn: int) -> None:
        try:
            for name, arguments in itertools.islice(itertools.cycle(CALLS), turn, turn + 60):
                getattr(progress, name)(*arguments)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=tell, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    getattr(progress, "__exit__", lambda *_: None)(None, None, None)
    assert not failures


class Failing(SilentProgress):
    """Raises at every call, and counts them."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.calls = error, 0

    def _fail(self, *_: object) -> None:
        self.calls += 1
        raise self.error

    expect = start = advance = finish = _fail


@pytest.mark.parametrize("error", [KeyError("x"), BrokenPipeError(), SystemExit(1)], ids=repr)
def test_an_engine_goes_on_without_its_progress(error: BaseException) -> None:
    engine = LocalEngine(2, Failing(error))
    assert engine.map(abs, [-1, -2, -3], name="n", labels=["1", "2", "3"]) == [1, 2, 3]
    assert engine.run(abs, -4, name="n", label="4") == 4


def test_a_display_that_always_fails_is_asked_no_more() -> None:
    failing = Failing(KeyError("x"))
    progress = guarded(failing)
    for _ in range(30):
        progress.advance("n", "")
    assert failing.calls == 10
    assert guarded(progress) is progress


def test_ctrl_c_passes_through_the_display() -> None:
    with pytest.raises(KeyboardInterrupt):
        GuardedProgress(Failing(KeyboardInterrupt())).start("n", 1)


def test_the_display_of_a_closed_pipe_ends_nothing() -> None:
    # rich leaves with a SystemExit there
    progress = guarded(rich(Broken(BrokenPipeError()), terminal=False, safe=False))
    LocalEngine(1, progress).map(abs, [1], name="n", labels=["1"])


class Events(SilentProgress):
    """Remembers totals and advances, and refuses what is told of a phase that is not open."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.done = 0

    def start(self, name: str, total: int) -> None:
        self.totals.append(total)

    def advance(self, name: str, label: str) -> None:
        self.done += 1


def test_refinement_that_takes_more_rounds_than_it_said() -> None:
    events, stream = Events(), io.StringIO()
    for progress in (events, JsonProgress(stream)):
        on_step = _bar_of_steps(progress)
        done = 0
        for rounds in (2, 3, 5):
            while done < rounds * 30:
                done += 1
                on_step(done, rounds * 30)
        progress.finish("refine, gradient steps")
    assert events.totals == [3, 4, 7]
    assert events.done == 7
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in told] == ["start", *["advance"] * 7, "finish"]
    assert (told[-1]["done"], told[-1]["total"]) == (7, 7)


def test_letters_that_a_terminal_lacks_are_escaped() -> None:
    raw = io.BytesIO()
    stream = LastingStream(stream=io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("ü ✓\n")
    stream.flush()
    assert raw.getvalue() == b"\\xfc \\u2713\n"
    assert stream.failure is None


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_whole_is_weighed_by_cost_and_by_the_pace_so_far() -> None:
    clock = Clock()
    overall = Overall(clock)
    assert overall.read({}) is None
    overall.expect({"analyse": 30.0, "refine": 60.0, "report": 10.0})
    read = overall.read({})
    assert read == (0.0, 100.0)
    # a machine half as fast
    analyse = Phase("analyse", 10, 0.0)
    clock.now, analyse.done = 30.0, 5
    share, left_s = overall.read({"analyse": analyse}) or (0.0, 0.0)
    assert share == pytest.approx(0.15, abs=0.04)
    clock.now, analyse.done = 60.0, 10
    overall.end(analyse)
    share, left_s = overall.read({}) or (0.0, 0.0)
    assert share == pytest.approx(0.30)
    assert 110.0 < left_s < 140.0
    # one that ends before its items are done is over all the same
    refine = Phase("refine", 100, 60.0, 40)
    clock.now = 120.0
    overall.end(refine)
    assert (overall.read({}) or (0.0, 0.0))[0] == pytest.approx(0.9)


def test_what_was_found_in_the_store_says_nothing_of_the_pace() -> None:
    clock = Clock()
    overall = Overall(clock)
    overall.expect({"analyse": 100.0, "refine": 50.0})
    clock.now = 0.5
    overall.end(Phase("analyse", 10, 0.0, 10))
    assert overall.read({}) == (pytest.approx(100 / 150), pytest.approx(50.0))


def test_the_whole_never_goes_back() -> None:
    overall = Overall(Clock())
    overall.expect({"a": 1.0, "b": 1.0})
    overall.end(Phase("a", 1, -1.0, 1))
    assert (overall.read({}) or (0.0, 0.0))[0] == pytest.approx(0.5)
    overall.expect({"a": 1.0, "b": 9.0})
    assert (overall.read({}) or (0.0, 0.0))[0] == pytest.approx(0.5)


@pytest.fixture(scope="module")
def run(
    workplace: Path, put: Callable[..., Path], make_reference: Callable[..., Path]
) -> Callable[..., tuple[int, str, str]]:
    """Run the real command on a small session, in a process; give status, stdout, stderr."""
    song, rate = workplace / "song", 22_050
    time_s = np.arange(2 * rate) / rate
    for name, f0_hz in (("Bass", 82.0), ("Gtr", 330.0)):
        tone = np.sin(2 * np.pi * f0_hz * time_s) * np.exp(-(time_s % 0.5) / 0.2)
        put(song / f"{name}.wav", 0.2 * tone, rate, subtype="PCM_16")
    near = make_reference(workplace / "near.wav", dull=0.7)
    far = make_reference(workplace / "far.wav", dull=0.97)
    command = [sys.executable, "-P", "-c", "from flows.cli.main import main; main()"]

    def start(
        output: str,
        *options: str,
        reference: str = "",
        terminal: bool = False,
        environment: Mapping[str, str] | None = None,
        stdout: int | None = None,
    ) -> tuple[int, str, str]:
        told = [*command, "mix", str(song), "-o", str(workplace / output), *options]
        if reference:
            told += ["--reference", str({"near": near, "far": far}[reference])]
        told += ["--engine", "local"]
        env = {**os.environ, "COLUMNS": "100", **(environment or {})}
        env["PYTHONPATH"] = str(Path(__file__).parents[1])
        if not terminal:
            with subprocess.Popen(
                told, env=env, cwd=workplace, text=True, encoding="utf-8",
                stdout=subprocess.PIPE if stdout is None else stdout, stderr=subprocess.PIPE,
            ) as process:  # fmt: skip
                out, err = process.communicate()
            return process.returncode, out or "", err
        return _on_a_terminal(told, env, workplace)

    return start


def _on_a_terminal(told: list[str], env: dict[str, str], cwd: Path) -> tuple[int, str, str]:
    """Run with a terminal on stdout and stderr, and read what it shows."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(told, env=env, cwd=cwd, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # Linux: nobody has the other side any more
                break
            if not block:
                break
            shown += block
    os.close(ours)
    return process.returncode, shown.decode("utf-8", "replace"), ""


def test_the_command_on_a_terminal(
    run: Callable[..., tuple[int, str, str]], workplace: Path
) -> None:
    status, shown, _ = run("terminal", reference="far", terminal=True)
    assert status == 0, shown
    assert "failed" not in shown
    assert "refining, step by step" in shown
    assert (workplace / "terminal" / "mix.wav").is_file()


def test_the_command_on_a_narrow_terminal_of_few_letters(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    narrow = {"COLUMNS": "10", "LINES": "4", "PYTHONIOENCODING": "ascii"}
    status, shown, _ = run(
        "narrow", "--quality", "fast", reference="near", terminal=True, environment=narrow
    )
    assert status == 0, shown


# Each follows other aspects, so that none finds the settings of another in the store.
def test_the_command_without_a_terminal(run: Callable[..., tuple[int, str, str]]) -> None:
    status, _, err = run("lines", "--match", "eq", reference="far")
    assert status == 0, err
    assert "refining, step by step: " in err


def test_the_command_with_json(run: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = run("json", "--json", "--match", "width", reference="far")
    assert status == 0, err
    json.loads(out)
    events = [json.loads(line) for line in err.splitlines()]
    steps = [e for e in events if e["name"] == "refine, gradient steps"]
    assert [steps[0]["event"], steps[-1]["event"]] == ["start", "finish"]
    assert steps[-1]["done"] == steps[-1]["total"] > 0


def test_the_quiet_command(run: Callable[..., tuple[int, str, str]]) -> None:
    assert run("quiet", "-q", "--quality", "fast", reference="near") == (0, "", "")


def test_a_closed_pipe_is_said_and_the_mix_is_there(
    run: Callable[..., tuple[int, str, str]], workplace: Path
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    status, _, err = run("pipe", stdout=theirs)
    os.close(theirs)
    assert status == 0
    assert "stdout could not be written (Broken pipe): what was made is whole" in err
    assert (workplace / "pipe" / "mix.wav").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stdout_is_said() -> None:
    code = (
        "from flows.cli.terminal import Screen, guard\n"
        "screen = Screen(quiet=False, verbose=False, as_json=True)\n"
        "guard(screen, lambda: screen.result({'mix': 'x'}) or 0)\n"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "stdout could not be written (No space left on device): what was made is whole"
    ]
