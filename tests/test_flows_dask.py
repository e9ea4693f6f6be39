"""Recipes on Dask: the local engine's results, in other processes, whatever happens to those."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from flows.engines.local import LocalEngine
from flows.engines.run import SharedFolders, resolve_engine, run_recipe
from flows.storage.store import Store
from pipeline.errors import InputError, Problem

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and /proc are asked")

from flows.engines.dask import DaskEngine, DaskError  # noqa: E402

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def engine() -> Iterator[DaskEngine]:
    with DaskEngine(2) as started:
        yield started


def here(_: int) -> int:
    return os.getpid()


def slowly(item: tuple[float, str]) -> str:
    time.sleep(item[0])
    return item[1]


def refuse_odd(number: int) -> int:
    if number % 2:
        raise InputError([Problem(f"{number}.wav", "is odd", "use an even one")])
    return number


def store_square(item: tuple[int, Path]) -> int:
    number, root = item
    store = Store(root)
    key = store.key("square", inputs={"number": number}, code_version="1")
    with store.entry("square", key) as entry:
        if not entry.done:
            entry.commit({"square": number * number})
        return int(entry.record["square"])


def labels(items: Any) -> list[str]:
    return [str(item) for item in items]


def test_items_run_in_other_processes_and_come_back_in_order(engine: DaskEngine) -> None:
    pids = engine.map(here, range(12), name="here", labels=labels(range(12)))
    assert os.getpid() not in pids
    assert len(set(pids)) == 2
    items = [(0.3, "a"), (0.0, "b"), (0.1, "c")]
    assert engine.map(slowly, items, name="slowly", labels=["a", "b", "c"]) == ["a", "b", "c"]
    assert engine.map(slowly, [], name="slowly", labels=[]) == []
    assert engine.run(here, 0, name="alone", label="x") == os.getpid()


def threads(_: int) -> tuple[int, set[int], dict[str, str]]:
    import torch
    from threadpoolctl import threadpool_info

    blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    told = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    return torch.get_num_threads(), blas, told


def test_workers_keep_to_one_thread_and_to_our_memory(engine: DaskEngine) -> None:
    before = dict(os.environ)
    for torch_threads, blas, told in engine.map(threads, range(2), name="t", labels=["1", "2"]):
        assert torch_threads == 1
        assert blas == {1}
        assert told == {}
    assert dict(os.environ) == before


def test_the_first_failure_is_raised_with_the_item_s_name(engine: DaskEngine) -> None:
    with pytest.raises(InputError) as caught:
        engine.map(refuse_odd, [0, 1, 2], name="refuse", labels=["zero", "one", "two"])
    assert caught.value.problems == (Problem("1.wav", "is odd", "use an even one"),)
    assert caught.value.__notes__ == ["while working on 'one' (refuse)"]
    assert engine.map(refuse_odd, [2, 4], name="refuse", labels=["2", "4"]) == [2, 4]


@dataclass(frozen=True)
class Telling:
    told: list[tuple[str, str]]

    def start(self, name: str, total: int) -> None:
        self.told.append((name, str(total)))

    def advance(self, name: str, label: str) -> None:
        self.told.append((name, label))

    def finish(self, name: str) -> None:
        self.told.append((name, "end"))


def test_progress_is_told(engine: DaskEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    telling = Telling([])
    monkeypatch.setattr(engine._local, "progress", telling)
    engine.map(here, range(2), name="here", labels=["a", "b"])
    assert telling.told[0] == ("here", "2")
    assert sorted(telling.told[1:-1]) == [("here", "a"), ("here", "b")]
    assert telling.told[-1] == ("here", "end")


def test_what_other_processes_did_and_found_is_counted(engine: DaskEngine, tmp_path: Path) -> None:
    items = [(number, tmp_path) for number in range(6)]

    def counted() -> dict[str, int]:
        before = engine.counts.record()["by_step"].get("square", {"done": 0, "found": 0})
        squares = engine.map(store_square, items, name="square", labels=labels(items))
        assert squares == [number * number for number, _ in items]
        after = engine.counts.record()["by_step"]["square"]
        return {kind: after[kind] - before[kind] for kind in after}

    assert counted() == {"done": 6, "found": 0}
    assert counted() == {"done": 0, "found": 0}  # each result counts once a run
    local = LocalEngine(2)
    local.map(store_square, items, name="square", labels=labels(items))
    assert local.counts.record()["by_step"] == {"square": {"done": 0, "found": 6}}


def pid_once(item: tuple[int, Path]) -> int:
    """Square slowly, and leave a trace of each time that this is done."""
    number, root = item
    (root / f"{number}.{os.getpid()}.{time.monotonic_ns()}").touch()
    time.sleep(0.3)
    return number * number


def test_a_killed_worker_s_item_is_done_again_and_no_other(
    engine: DaskEngine, tmp_path: Path
) -> None:
    victim = engine.map(here, range(2), name="here", labels=["a", "b"])[0]

    def kill_at_work() -> None:
        while not list(tmp_path.glob(f"*.{victim}.*")):
            time.sleep(0.01)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill_at_work)
    killer.start()
    items = [(number, tmp_path) for number in range(8)]
    done = engine.map(pid_once, items, name="slowly", labels=labels(items))
    assert done == [number * number for number in range(8)]
    assert len(list(tmp_path.iterdir())) <= 10  # 8, what was in flight, what was not fetched yet
    killer.join()


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_item_that_kills_every_worker_is_given_up(engine: DaskEngine) -> None:
    with pytest.raises(DaskError, match="more memory than there is") as caught:
        engine.map(die, range(2), name="die", labels=["a", "b"])
    assert "while working on" in caught.value.__notes__[0]


def listeners(pids: set[int]) -> list[int]:
    """Return the TCP ports that processes listen on."""
    held = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                held.add(str(entry.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        int(row[1].rpartition(":")[2], 16)
        for row in rows
        if row[3] == "0A" and f"socket:[{row[9]}]" in held
    ]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="asks /proc for ports")
def test_a_cluster_of_our_own_takes_no_stranger(engine: DaskEngine) -> None:
    from distributed import Client, Security

    engine.map(here, [0, 1], name="begin", labels=["a", "b"])
    address = engine._cluster.scheduler_address
    assert address.startswith("tls://127.0.0.1:")
    with pytest.raises((OSError, TimeoutError)):
        Client(address.replace("tls:", "tcp:"), timeout=3, set_as_default=False)
    with pytest.raises((OSError, TimeoutError)):
        Client(address, security=Security.temporary(), timeout=3, set_as_default=False)

    ours = listeners({os.getpid(), *children(os.getpid())})
    assert len(ours) >= 3
    told = b"GET /%s HTTP/1.0\r\n\r\n"
    for port in ours:
        for page in (b"", b"info/main/workers.html", b"json/identity.json", b"metrics", b"api/v1"):
            with socket.create_connection(("127.0.0.1", port), timeout=120) as line:
                answer = b""
                with contextlib.suppress(ConnectionError):
                    line.sendall(told % page)
                    answer = line.recv(1000)
            assert b" 200 " not in answer, (port, page, answer)
    scratch = Path(engine._cluster.scheduler.local_directory).parents[1]
    assert scratch.stat().st_mode & 0o077 == 0
    assert not [path for path in scratch.rglob("*") if path.suffix in (".pem", ".key", ".crt")]


def test_a_scheduler_that_is_not_there_is_told_before_any_work() -> None:
    with pytest.raises(InputError) as caught:
        run_recipe("x", lambda _: pytest.fail("begun"), dask="tcp://127.0.0.1:1")
    (problem,) = caught.value.problems
    assert problem.subject == "--dask tcp://127.0.0.1:1"
    assert "cannot be reached" in problem.what
    assert "dask scheduler" in problem.remedy


@pytest.fixture
def cluster(engine: DaskEngine, tmp_path: Path) -> Iterator[str]:
    """Give the address of a scheduler that somebody else has started, with two workers."""
    import dask
    from distributed import LocalCluster

    assert engine.map(here, range(2), name="start", labels=["a", "b"])  # its fork server is there
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False}, memory_limit=0, local_directory=str(tmp_path),
        ) as started,
    ):  # fmt: skip
        yield started.scheduler_address


def test_a_running_cluster_is_used_and_looked_at_first(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = cluster
    (tmp_path / "like this.wav").touch()
    folders = {
        "reads": [tmp_path, tmp_path / "like this.wav", tmp_path / "not there.wav"],
        "writes": [tmp_path / "store"],
    }
    pids = run_recipe(
        "x",
        lambda e: e.map(here, range(4), name="here", labels=labels(range(4))),
        dask=address,
        folders=SharedFolders(**folders),
    )
    assert os.getpid() not in pids
    assert resolve_engine("auto", address) == "dask"
    assert list((tmp_path / "store").iterdir()) == []
    with monkeypatch.context() as patch:
        me = os.getpid()
        patch.setattr(
            "flows.engines.dask_cluster.told_versions",
            lambda: {"numpy": "2.0" if os.getpid() == me else "0.1"},
        )
        with pytest.raises(InputError, match=r"worker tcp.*has numpy 0\.1 \(here 2\.0\)"):
            DaskEngine(address=address).__enter__()
    with monkeypatch.context() as patch:
        patch.setattr("flows.engines.dask_cluster.glimpse", lambda *_: str(os.getpid()))
        with pytest.raises(InputError, match="share that folder with every worker"):
            DaskEngine(address=address, **folders).__enter__()  # type: ignore[arg-type]


def children(pid: int) -> set[int]:
    """Return all processes below one."""
    found: dict[int, int] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                told = (place / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if told[0] != "Z":
                found[int(place.name)] = int(told[1])
    below, more = set(), {pid}
    while more:
        more = {child for child, parent in found.items() if parent in more}
        below |= more
    return below


LONG_RUN = """
import signal, sys, time
from pathlib import Path
from flows.engines.run import run_recipe

def wait(item):
    Path(sys.argv[1], str(item)).touch()
    time.sleep(3600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_recipe("x", lambda e: e.map(wait, [0, 1], name="w", labels=["a", "b"]), engine="dask",
               workers=2)
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc for processes")
def test_a_stopped_run_leaves_no_processes(tmp_path: Path, stop: signal.Signals) -> None:
    (tmp_path / "run.py").write_text(LONG_RUN)
    (tmp_path / "scratch").mkdir()
    begun = tmp_path / "begun"
    begun.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "run.py"), str(begun)],
        env={**os.environ, "TMPDIR": str(tmp_path / "scratch"), "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while len(list(begun.iterdir())) < 2:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.1)
        below = children(process.pid)
        assert len(below) >= 3  # two workers, and what forks them
        if stop == signal.SIGINT:
            os.killpg(process.pid, stop)  # as a terminal does
        else:
            process.send_signal(stop)
        # Its steps last for an hour: whatever is left would be there when the test's time is up.
        _, errors = process.communicate()
        while any(Path(f"/proc/{pid}").exists() for pid in below):
            time.sleep(0.1)
        if stop == signal.SIGINT:
            assert errors.strip().splitlines()[-1] == "KeyboardInterrupt"
            assert "distributed" not in errors.rpartition("Traceback")[0]
            assert list((tmp_path / "scratch").iterdir()) == []
    finally:
        process.kill()
        process.wait()


def test_settings_name_a_scheduler(stemwright: Command, tmp_path: Path) -> None:
    def told(*arguments: str) -> list[dict[str, str]]:
        result = stemwright("mix", tmp_path, "--json", *arguments)
        assert result.exit_code == 2
        problems: list[dict[str, str]] = json.loads(result.stdout)["problems"]
        return problems

    (wrong,) = told("--dask", "10.0.0.5")
    assert wrong["subject"] == "--dask"
    assert "tcp://10.0.0.5:8786" in wrong["remedy"]
    (both,) = told("--dask", "tcp://10.0.0.5:8786", "--engine", "local")
    assert "the engine is 'local'" in both["what"]


def test_a_mix_and_balances_are_those_of_the_local_engine(
    stemwright: Command,
    workplace: Path,
    make_song: Callable[[Path], Path],
    make_reference: Callable[..., Path],
    contents: Callable[[Path], dict[str, str]],
) -> None:
    song = make_song(workplace / "song")
    reference = make_reference(workplace / "A Song.wav")
    found: dict[str, dict[str, str]] = {}
    for name in ("local", "dask"):
        flags = ["--engine", name, "--workers", 2, "--store", workplace / f"{name} store"]
        out = workplace / name
        mixed = stemwright("mix", song, "-r", reference, "-o", out / "mix", "--json", *flags)
        assert mixed.exit_code == 0, mixed.output
        steps = json.loads(mixed.stdout.splitlines()[-1])["steps"]
        assert steps["by_step"]["analyse"] == {"done": 5, "found": 0}
        assert steps["found"] == 0
        balanced = stemwright("balance", song, "-o", out / "balance", "--method", "all", *flags)
        assert balanced.exit_code == 0, balanced.output
        found[name] = {k: v for k, v in contents(out).items() if k.endswith(".wav")}
        assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert found["dask"] == found["local"]
    assert len(found["local"]) > 10
