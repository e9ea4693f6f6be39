"""One private server for the whole file: it takes 10 to 15 s to start."""

import base64
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import dashboard
from flows.engine import Engine, make_engine, resolve_engine, run_recipe
from flows.mix import mix_session
from flows.settings import MixSettings
from pipeline.problems import InputError, Problem

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.name != "posix", reason="processes are watched with POSIX signals"),
]

PIXEL = base64.b64encode(b"\x89PNG").decode()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("prefect")
        patch.setenv("STEMWRIGHT_PREFECT_HOME", str(home))
        patch.setenv("PREFECT_HOME", str(home))
        patch.delenv("PREFECT_API_URL", raising=False)
        # A proxy that is dead must not matter to what stays on this machine.
        patch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        patch.setenv("http_proxy", "http://127.0.0.1:9")
        yield home


@pytest.fixture(scope="module")
def server(environment: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = dashboard.start_server(port=port)
    assert url == f"http://127.0.0.1:{port}/api"
    pid = server_pid(environment)
    yield url
    assert is_alive(pid)
    assert dashboard.stop()
    assert not is_alive(pid), "the server outlived stop()"
    assert dashboard.running_server() is None
    assert not dashboard.stop()


def server_pid(home: Path) -> int:
    state = dashboard._read_state(home)
    assert state is not None
    return int(state["pid"])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(check: Callable[[], bool], *, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.1)
    return False


def flow_run(server: str, name: str) -> dict[str, Any]:
    (found,) = dashboard.ask(
        f"{server}/flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}}
    )
    assert isinstance(found, dict)
    return found


def task_runs(server: str, name: str) -> dict[str, tuple[str, int]]:
    """Return the state and number of attempts of each task run of a flow run, by name."""
    runs = dashboard.ask(
        f"{server}/task_runs/filter",
        {"flow_runs": {"id": {"any_": [flow_run(server, name)["id"]]}}},
    )
    return {run["name"]: (run["state_type"], run["run_count"]) for run in runs}


LABELS = [f"Kick {{{number}}} In\n" for number in range(11)]


def recipe(engine: Engine) -> list[int]:
    squares = engine.map(lambda x: x * x, range(11), name="analyse", labels=LABELS)
    total = engine.run(sum, squares, name="refine / mix", label="all")
    engine.publish_table("Track figures", [{"track": "kick", "lufs": -20.0}], title="Figures")
    engine.publish_markdown(
        "report", f"# Mix\n![plot](data:image/png;base64,{PIXEL})", title="Report"
    )
    return [*squares, total]


def test_a_flow_gives_what_a_local_run_gives_and_records_all_of_it(server: str) -> None:
    assert resolve_engine("auto") == "prefect"
    local = run_recipe("song", recipe, engine="local", workers=2)
    assert run_recipe("A {song}, 100 % /raw", recipe, engine="auto", workers=2) == local

    expected = {f"analyse · Kick {{{number}}} In " for number in range(11)}
    expected.add("refine / mix · all")
    assert until(lambda: len(task_runs(server, "A {song}, 100 % /raw")) == 12)
    done = ("COMPLETED", 1)
    assert until(lambda: set(task_runs(server, "A {song}, 100 % /raw").values()) == {done})
    assert set(task_runs(server, "A {song}, 100 % /raw")) == expected
    assert flow_run(server, "A {song}, 100 % /raw")["state_type"] == "COMPLETED"

    artifacts = {found["key"]: found for found in dashboard.ask(f"{server}/artifacts/filter", {})}
    assert artifacts["track-figures"]["data"] == '[{"track": "kick", "lufs": -20.0}]'
    assert PIXEL in artifacts["report"]["data"]
    assert artifacts["progress-analyse"]["data"] == 100.0


def test_what_may_mend_itself_is_tried_again_and_nothing_else(server: str) -> None:
    attempts: dict[str, int] = {}

    def step(item: str) -> str:
        attempts[item] = attempts.get(item, 0) + 1
        if item == "busy" and attempts[item] == 1:
            raise OSError("the share was away")
        if item == "missing":
            raise FileNotFoundError("kick.wav")
        if item == "wrong":
            raise InputError([Problem("kick.wav", "is empty", "record it again")])
        return item

    def one(item: str) -> Callable[[Engine], list[str]]:
        return lambda engine: engine.map(step, [item], name="read", labels=[item])

    assert run_recipe("busy", one("busy"), engine="prefect") == ["busy"]
    with pytest.raises(FileNotFoundError, match=r"kick\.wav"):
        run_recipe("missing", one("missing"), engine="prefect")
    with pytest.raises(InputError, match="record it again") as caught:
        run_recipe("wrong", one("wrong"), engine="prefect")
    assert "while working on 'wrong' (read)" in caught.value.__notes__
    assert attempts == {"busy": 2, "missing": 1, "wrong": 1}
    assert until(lambda: task_runs(server, "wrong") == {"read · wrong": ("FAILED", 1)})
    assert until(lambda: task_runs(server, "busy") == {"read · busy": ("COMPLETED", 2)})
    assert flow_run(server, "wrong")["state_type"] == "FAILED"


def test_interrupt_ends_the_flow_promptly(server: str) -> None:
    def step(item: int) -> None:
        if item == 1:
            os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            time.sleep(0.01)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_recipe(
            "interrupted",
            lambda engine: engine.map(step, range(9), name="long", labels=list("abcdefghi")),
            engine="prefect",
            workers=2,
        )
    assert time.monotonic() - began < 8.0  # s; each step alone takes 10
    assert not [t for t in threading.enumerate() if t.name.startswith("step-")]
    assert flow_run(server, "interrupted")["state_type"] == "CRASHED"
    crashed = {"long · a": ("CRASHED", 1), "long · b": ("CRASHED", 1)}
    assert until(lambda: task_runs(server, "interrupted") == crashed)


def test_a_mix_as_a_flow_is_the_local_one(
    server: str, tmp_path: Path, make_song: Callable[[Path], Path], samples: Callable[[Path], Any]
) -> None:
    song = make_song(tmp_path / "A {song}")
    mixes = {
        engine: mix_session(
            song,
            settings=MixSettings(engine=engine, workers=2),
            folder=tmp_path / engine,
            store=tmp_path / f"store of {engine}",
        )
        for engine in ("local", "prefect")
    }
    local, flow = mixes["local"], mixes["prefect"]
    assert flow.plan == local.plan
    for name in ("mix.wav", *(f"stems/{stem.name}.wav" for stem in local.plan.stems)):
        one, other = samples(local.folder / name), samples(flow.folder / name)
        assert np.array_equal(one, other)

    tracks = [" ".join(track.path.split("\n")) for track in local.plan.tracks]
    stems = [stem.name for stem in local.plan.stems]
    assert (len(tracks), len(stems)) == (5, 4)
    expected = {f"analyse · {track}" for track in tracks}
    expected |= {f"{phase} · {stem}" for phase in ("balance", "console") for stem in stems}
    expected |= {"deliver · bus, limiter, loudness", "report · plan, tables, report"}
    assert until(lambda: len(task_runs(server, "A {song}")) == len(expected))
    done = ("COMPLETED", 1)
    assert until(lambda: set(task_runs(server, "A {song}").values()) == {done})
    assert set(task_runs(server, "A {song}")) == expected
    artifacts = {found["key"]: found for found in dashboard.ask(f"{server}/artifacts/filter", {})}
    assert {row["track"] for row in json.loads(artifacts["tracks"]["data"])} == {
        track.path for track in local.plan.tracks
    }
    assert f"{local.mixdown.loudness.integrated_lufs:.1f} LUFS" in artifacts["mix"]["data"]


def test_a_bad_session_is_said_as_ever(
    server: str, tmp_path: Path, stemwright: Callable[..., Any], contents: Callable[[Path], Any]
) -> None:
    (tmp_path / "song").mkdir()
    (tmp_path / "song" / "Kick.wav").write_text("no audio")
    before = contents(tmp_path / "song")
    told = {}
    for engine in ("local", "prefect"):
        arguments = ("--engine", engine, "--json", "--store", tmp_path / "store")
        result = stemwright("mix", tmp_path / "song", *arguments)
        assert result.exit_code == 2
        told[engine] = json.loads(result.stdout)
    assert told["prefect"] == told["local"]
    assert len(told["local"]["problems"]) == 2
    assert contents(tmp_path / "song") == before


def test_arguments_and_results_pass_through_untouched(server: str) -> None:
    class Opaque:
        """Compares by identity, and would not survive a copy."""

    items = [[Opaque()], {"a": Opaque()}]

    def identity(engine: Engine) -> list[object]:
        return engine.map(lambda item: item, items, name="pass", labels=["1", "2"])

    passed = run_recipe("opaque", identity, engine="prefect")
    assert passed[0] is items[0]
    assert passed[1] is items[1]


def test_engine_outside_a_flow_says_what_to_use(server: str) -> None:
    with pytest.raises(RuntimeError, match="use run_as_flow"), make_engine("prefect"):
        pass


def test_a_second_start_finds_the_first(server: str, environment: Path) -> None:
    pid, told = server_pid(environment), []
    assert dashboard.start_server(on_ready=told.append) == server
    assert told == [server]
    assert server_pid(environment) == pid


def test_a_port_in_use_is_said_at_once(server: str, tmp_path: Path) -> None:
    port = int(server.removesuffix("/api").rpartition(":")[2])
    with pytest.raises(dashboard.ServerError, match=f"port {port} of 127.0.0.1 is in use"):
        dashboard.start_server(port=port, home=tmp_path)
    assert dashboard.running_server(tmp_path) is None


def test_server_is_private(server: str, environment: Path) -> None:
    settings = dashboard.ask(f"{server}/admin/settings")
    assert settings["server"]["analytics_enabled"] is False
    assert settings["server"]["api"]["host"] == "127.0.0.1"
    assert settings["home"] == str(environment)
    assert settings["server"]["services"]["task_run_recorder"]["batch_size"] == 50
    ui = dashboard.ask(f"{server.removesuffix('/api')}/ui-settings")
    assert ui["api_url"] == server
    assert environment.stat().st_mode & 0o077 == 0


def test_a_server_of_our_own_has_written_all_down_when_it_ends(
    environment: Path, tmp_path: Path
) -> None:
    from flows.prefect_engine import run_as_flow

    def quick(engine: Engine) -> list[int]:
        # As many as are done faster than they are written down.
        return engine.map(abs, range(-300, 0), name="n", labels=[str(n) for n in range(300)])

    assert run_as_flow("own", quick, home=tmp_path, workers=2) == list(range(300, 0, -1))
    database = sqlite3.connect(tmp_path / "prefect.db")
    with contextlib.closing(database):
        names = database.execute("SELECT name FROM task_run WHERE state_type = 'COMPLETED'")
        assert len({name for (name,) in names}) == 300
        flows = database.execute("SELECT name, state_type FROM flow_run").fetchall()
    assert flows == [("own", "COMPLETED")]
    assert servers_of(tmp_path) == []


CLIENT = """
import sys, time
from pathlib import Path
from flows.dashboard import private_server

with private_server(Path(sys.argv[1])) as url:
    sys.stdout.write(url + "\\n")
    sys.stdout.flush()
    time.sleep(60)
"""


def servers_of(sign: object) -> list[int]:
    """Return the server processes that have a text in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            told = (folder / "cmdline").read_text(errors="replace")
            if "server.py" in told and str(sign) in told:
                found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to see processes")
def test_killed_client_leaves_no_server(server: str, environment: Path) -> None:
    # The home is in use, so this run's server has one of its own.
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(environment)], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        url = client.stdout.readline().strip()
        assert dashboard.ask(f"{url}/health") is True
        assert url != server
        port = url.removesuffix("/api").rpartition(":")[2]
        (pid,) = servers_of(f"--port\0{port}")
        client.kill()
    assert until(lambda: not is_alive(pid)), "the server outlived its killed client"
    assert dashboard.running_server() == server
