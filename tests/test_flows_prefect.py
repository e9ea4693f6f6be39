"""One private server for the whole file: it takes 10 to 15 s to start."""

import base64
import contextlib
import http.server
import json
import logging
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from flows.dashboard import control as dashboard
from flows.dashboard.markdown import as_markdown
from flows.dashboard.tags import Listing
from flows.engines.base import Engine
from flows.engines.run import make_engine, resolve_engine, run_recipe
from flows.mix.recipe import mix_session
from flows.settings import MixSettings
from pipeline.errors import InputError, Problem

pytestmark = [
    pytest.mark.timeout(600),
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


def until(check: Callable[[], bool], *, seconds: float = 300.0) -> bool:
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

    check_record(server, "A {song}, 100 % /raw")


def check_record(server: str, name: str) -> None:
    """Check that all of a run of the recipe is on record, whatever it is kept in."""
    expected = {f"analyse · Kick {{{number}}} In " for number in range(11)}
    expected.add("refine / mix · all")
    assert until(lambda: len(task_runs(server, name)) == 12)
    done = ("COMPLETED", 1)
    assert until(lambda: set(task_runs(server, name).values()) == {done})
    assert set(task_runs(server, name)) == expected
    assert flow_run(server, name)["state_type"] == "COMPLETED"

    artifacts = {found["key"]: found for found in dashboard.ask(f"{server}/artifacts/filter", {})}
    assert artifacts["track-figures"]["data"] == '[{"track": "kick", "lufs": -20.0}]'
    assert PIXEL in artifacts["report"]["data"]
    assert artifacts["progress-analyse"]["data"] == 100.0


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to see processes")
def test_a_team_keeps_its_runs_in_postgresql(
    environment: Path,
    tmp_path: Path,
    postgres: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.engines.prefect import run_as_flow

    address = postgres("team")
    secret = urlsplit(address).password
    assert secret
    variables = os.environ | {"STEMWRIGHT_PREFECT_HOME": str(tmp_path)}
    command = "from flows.cli.main import main; main()"
    options = ["dashboard", "--database", address, "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-c", command, *options],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as served:
        try:
            assert served.stdout is not None
            told = served.stdout.readline()
            assert told.startswith("dashboard: http://127.0.0.1:"), told
            url = dashboard.running_server(tmp_path)
            assert url is not None
            monkeypatch.setenv("PREFECT_API_URL", url)
            local = run_recipe("song", recipe, engine="local", workers=2)
            assert run_as_flow("for the team", recipe, workers=2, home=tmp_path) == local
            check_record(url, "for the team")
            assert not (tmp_path / "prefect.db").exists()

            (pid,) = servers_of(tmp_path)
            for process in (pid, served.pid):
                assert secret not in Path(f"/proc/{process}/cmdline").read_text()
            for name in ("server.log", "server.json", "server.lock"):
                assert secret not in (tmp_path / name).read_text()
            assert secret not in json.dumps(dashboard.ask(f"{url}/admin/settings"))
        finally:
            served.send_signal(signal.SIGTERM)
        _, errors = served.communicate()
    assert served.returncode == 0
    assert "0.0.0.0" in errors
    assert "there is no login" in errors
    assert secret not in errors
    assert not is_alive(pid), "the server outlived its dashboard"


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
    failed = flow_run(server, "wrong")
    assert failed["state_type"] == "FAILED"
    assert "is empty: record it again" in failed["state"]["message"]


def log_of(server: str, run: dict[str, Any]) -> list[tuple[int, str]]:
    """Return level and text of each line of a flow run's own log."""
    lines = dashboard.ask(
        f"{server}/logs/filter",
        {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "TIMESTAMP_ASC"},
    )
    return [(line["level"], line["message"]) for line in lines if line["task_run_id"] is None]


def test_a_run_tells_what_it_does_in_its_log_alone(
    server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def talk(engine: Engine) -> None:
        assert engine.run_id is not None
        engine.log("session: /songs/A\n{song}")
        engine.map(abs, [-1, -2], name="analyse", labels=["a", "b"])
        engine.log("90 % is silence", warning=True)
        engine.run(int, "x", name="refine", label="all")

    # As the command has it, whose handler takes all levels.
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    try:
        with pytest.raises(ValueError, match="invalid literal"):
            run_recipe(
                "talks",
                talk,
                engine="prefect",
                workers=2,
                listing=Listing(tags=("stemwright", "mix")),
            )
    finally:
        logging.getLogger().removeHandler(handler)
    found = flow_run(server, "talks")
    assert sorted(found["tags"]) == ["mix", "stemwright"]
    assert until(lambda: len(log_of(server, found)) >= 9)
    lines = [(level, re.sub(r"[\d.]+ s$", "n s", text)) for level, text in log_of(server, found)]
    assert lines[:7] == [
        (20, "Beginning flow run 'talks' for flow 'mix'"),
        (20, "session: /songs/A {song}"),
        (20, "analysing the tracks: 2 items"),
        (20, "analysing the tracks: done after n s"),
        (30, "90 % is silence"),
        (20, "refining the settings: all"),
        (20, "refining the settings: failed after n s"),
    ]
    assert lines[7][0] == 40
    out, errors = capfd.readouterr()
    assert "analysing" not in out + errors
    assert "Beginning" not in out + errors
    assert "Traceback" not in out + errors


def test_a_catalogue_is_one_run_with_its_mixes_as_children(
    server: str, tmp_path: Path, make_song: Callable[[Path], Path], stemwright: Callable[..., Any]
) -> None:
    songs = tmp_path / "Some songs"
    odd = "A ![{song}](javascript:x) " + 70 * "n"
    for name in (odd, "B"):
        make_song(songs / name)
    (songs / "broken").mkdir()
    (songs / "broken" / "Kick.wav").write_text("no audio")
    # The worker processes load what this one has loaded, and the songs are the same.
    told = stemwright("catalogue", songs, "--jobs", 2, "--store", tmp_path / "store")
    assert told.exit_code == 11, told.stderr
    assert "prefect" not in told.stderr
    assert "INFO" not in told.stderr

    parent = flow_run(server, "Some songs")
    assert (sorted(parent["tags"]), parent["state_type"]) == (["catalogue", "stemwright"], "FAILED")
    assert "1 of 3 sessions failed: broken" in parent["state"]["message"]
    assert parent["parent_task_run_id"] is None
    stand_ins = {"B": ("COMPLETED", 1), odd: ("COMPLETED", 1), "broken": ("FAILED", 1)}
    assert until(lambda: task_runs(server, "Some songs") == stand_ins)
    children = {
        run["name"]: run
        for run in dashboard.ask(
            f"{server}/flow_runs/filter",
            {"flow_runs": {"parent_flow_run_id": {"any_": [parent["id"]]}}},
        )
    }
    assert {name: run["state_type"] for name, run in children.items()} == {
        name: state for name, (state, _) in stand_ins.items()
    }
    for name, run in children.items():
        (tag,) = set(run["tags"]) - {"stemwright", "mix", "catalogue"}
        assert tag == f"session:{name}" or (name == odd and len(tag) == 80 and tag.endswith("n…"))
        lines = [text for _, text in log_of(server, run)]
        assert f"session: {songs / name}" in lines
    mix = songs / "mixes" / "B" / "mix.wav"
    assert (20, f"mix: {mix}") in log_of(server, children["B"])
    assert mix.is_file()
    lines = log_of(server, parent)
    assert [level for level, text in lines if ": broken: failed: " in text] == [30]
    assert (20, f"page: {songs / 'mixes' / 'catalogue.html'}") in lines
    tables = dashboard.ask(
        f"{server}/artifacts/filter", {"artifacts": {"key": {"any_": ["catalogue"]}}}
    )
    assert {row["status"] for row in json.loads(tables[0]["data"])} == {"mixed", "failed"}


def test_a_parent_that_the_server_does_not_know_is_left_out(server: str) -> None:
    assert (
        run_recipe(
            "orphan", one_step, engine="prefect", listing=Listing(parent_run=str(uuid.uuid4()))
        )
        == 3
    )
    found = flow_run(server, "orphan")
    assert (found["state_type"], found["parent_task_run_id"]) == ("COMPLETED", None)


def one_step(engine: Engine) -> int:
    return engine.run(abs, -3, name="n", label="n")


def test_interrupt_ends_the_flow_promptly(server: str) -> None:
    both_at_work = threading.Barrier(2)
    completed: list[int] = []

    def step(item: int) -> None:
        both_at_work.wait(300.0)
        if item == 1:
            os.kill(os.getpid(), signal.SIGINT)
        for _ in range(60_000):  # ten minutes
            time.sleep(0.01)
        completed.append(item)

    with pytest.raises(KeyboardInterrupt):
        run_recipe(
            "interrupted",
            lambda engine: engine.map(step, range(9), name="long", labels=list("abcdefghi")),
            engine="prefect",
            workers=2,
        )
    for thread in threading.enumerate():  # on a busy machine they stop a little later
        if thread.name.startswith("step-"):
            thread.join(300.0)
    assert not completed
    assert not [t for t in threading.enumerate() if t.name.startswith("step-")]
    stopped = flow_run(server, "interrupted")
    assert stopped["state_type"] == "CRASHED"
    assert stopped["state"]["message"]
    crashed = {"long · a": ("CRASHED", 1), "long · b": ("CRASHED", 1)}
    until(lambda: task_runs(server, "interrupted") == crashed)
    assert task_runs(server, "interrupted") == crashed


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
    expected |= {f"{phase} · console settings" for phase in ("predict", "refine")}
    assert until(lambda: len(task_runs(server, "A {song}")) == len(expected))
    done = ("COMPLETED", 1)
    assert until(lambda: set(task_runs(server, "A {song}").values()) == {done})
    assert set(task_runs(server, "A {song}")) == expected
    artifacts = {found["key"]: found for found in dashboard.ask(f"{server}/artifacts/filter", {})}
    sheet = json.loads(artifacts["tracks-a-song"]["data"])
    # Cells are Markdown to Prefect's pages, which show the names as they are.
    assert [row["Track"] for row in sheet] == [as_markdown(t.path) for t in local.plan.tracks]
    assert [row["Gain, dB"] for row in sheet] == [
        pytest.approx(track.gain_db, abs=0.051) for track in local.plan.tracks
    ]
    page = artifacts["mix-a-song"]["data"]
    assert f"{local.mixdown.loudness.integrated_lufs:.1f} LUFS" in page
    assert page.count("](data:image/svg+xml;base64,") == 3
    assert len(page) < 500_000

    address = re.search(r"\]\((/reports/[\w-]{43}/)\)", page)
    assert address is not None
    report = server.removesuffix("/api") + address.group(1)
    with urllib.request.urlopen(report, timeout=60) as answer:
        assert answer.read() == (flow.folder / "report.html").read_bytes()
        policies = answer.headers.get_all("Content-Security-Policy")
    assert "sandbox allow-scripts allow-downloads;" in policies[0]
    assert "script-src 'sha256-" in policies[1]
    flow.folder.rename(tmp_path / "elsewhere")
    with pytest.raises(urllib.error.HTTPError, match="404") as gone:
        urllib.request.urlopen(report, timeout=60)
    with gone.value as answer:
        assert "no longer where its run wrote it" in answer.read().decode()


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


def test_what_cannot_be_shown_ends_no_run(environment: Path, tmp_path: Path) -> None:
    from flows.engines.prefect import PrefectEngine

    asked: list[str | None] = []

    def page(address: str | None) -> str:
        asked.append(address)
        raise ZeroDivisionError("a plot of nothing")

    engine = PrefectEngine()
    engine.publish_page("mix", page, title="a song", report=tmp_path / "report.html")
    assert asked == [None]
    engine.run_id = str(uuid.uuid4())  # of a run whose context is over
    engine.log("the mix is there")


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
    with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 is in use"):
        dashboard.start_server(port=port, home=tmp_path)
    assert dashboard.running_server(tmp_path) is None


def test_server_is_private(server: str, environment: Path) -> None:
    settings = dashboard.ask(f"{server}/admin/settings")
    assert settings["server"]["analytics_enabled"] is False
    assert settings["server"]["api"]["host"] == "127.0.0.1"
    assert settings["home"] == str(environment)
    assert settings["server"]["services"]["task_run_recorder"]["batch_size"] == 50
    ui = dashboard.ask(f"{server.removesuffix('/api')}/ui-settings")
    assert ui["api_url"] == "/api", "the pages ask another port than the one they came from"
    assert environment.stat().st_mode & 0o077 == 0


def quick(engine: Engine) -> list[int]:
    # Many more than are written down while they are done.
    return engine.map(abs, range(-500, 0), name="n", labels=[str(n) for n in range(500)])


def count(server: str, name: str, states: Sequence[str]) -> int:
    runs = {
        "flow_runs": {"name": {"any_": [name]}},
        "task_runs": {"state": {"type": {"any_": list(states)}}},
    }
    return int(dashboard.ask(f"{server}/task_runs/count", runs))


def test_a_running_server_is_told_of_every_task_run(server: str) -> None:
    assert run_recipe("many", quick, engine="prefect", workers=2) == list(range(500, 0, -1))
    assert until(lambda: count(server, "many", ["COMPLETED"]) == 500)

    def fail(n: int) -> int:
        if n == 199:
            raise ValueError("the last one")
        return n

    with pytest.raises(ValueError, match="the last one"):
        run_recipe(
            "many and one that fails",
            lambda engine: engine.map(
                fail, range(200), name="n", labels=[str(n) for n in range(200)]
            ),
            engine="prefect",
            workers=2,
        )
    assert until(lambda: count(server, "many and one that fails", ["COMPLETED"]) == 199)
    assert count(server, "many and one that fails", ["FAILED"]) == 1


def test_a_server_of_our_own_has_written_all_down_when_it_ends(
    environment: Path, tmp_path: Path
) -> None:
    from flows.engines.prefect import run_as_flow

    assert run_as_flow("own", quick, home=tmp_path, workers=2) == list(range(500, 0, -1))
    database = sqlite3.connect(tmp_path / "prefect.db")
    with contextlib.closing(database):
        names = database.execute("SELECT name FROM task_run WHERE state_type = 'COMPLETED'")
        assert len({name for (name,) in names}) == 500
        flows = database.execute("SELECT name, state_type FROM flow_run").fetchall()
    assert flows == [("own", "COMPLETED")]
    assert servers_of(tmp_path) == []


KILLED = """
import os, sys, time
from flows.engines.prefect import run_as_flow

def step(item):
    sys.stdout.write("at work\\n")
    sys.stdout.flush()
    time.sleep(120)

run_as_flow(
    sys.argv[1],
    lambda engine: engine.map(step, [1, 2], name="long", labels=["a", "b"]),
    workers=1,
)
"""


def test_a_killed_run_shows_as_crashed(server: str, environment: Path, tmp_path: Path) -> None:
    theirs = os.environ | {"PREFECT_API_URL": server, "STEMWRIGHT_PREFECT_HOME": str(tmp_path)}
    clients = {
        "killed": dict(os.environ),
        "killed, on a server that somebody else looks after": theirs,
    }
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", KILLED, name], env=variables, stdout=subprocess.PIPE
                )
            )
            for name, variables in clients.items()
        ]
        for client in running:
            assert client.stdout is not None
            assert client.stdout.readline() == b"at work\n"
        at_work = {"long · a": ("RUNNING", 1)}
        assert until(lambda: all(task_runs(server, name) == at_work for name in clients))
        assert {flow_run(server, name)["state_type"] for name in clients} == {"RUNNING"}
        for client in running:
            client.kill()
    crashed = {"long · a": ("CRASHED", 1)}
    assert until(lambda: all(task_runs(server, name) == crashed for name in clients))
    for name in clients:
        assert flow_run(server, name)["state_type"] == "CRASHED"
        assert "Nobody works on this run" in flow_run(server, name)["state"]["message"]
    homes = (environment, tmp_path)
    assert until(lambda: not [left for home in homes for left in (home / "runs").iterdir()])


def test_pages_keep_to_themselves(server: str, environment: Path) -> None:
    base = server.removesuffix("/api")
    for page in ("/v2/", "/v2/runs", "/"):
        request = urllib.request.Request(base + page, headers={"Accept": "text/html"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert "connect-src 'self'" in answer.headers["Content-Security-Policy"]
    scripts = list((environment / "ui" / "v2" / "assets").glob("*.js"))
    trackers = [script for script in scripts if b"amplitude.com" in script.read_bytes()]
    assert trackers, "the pages have changed: look for what they ask now"
    for script in trackers:
        assert re.search(rb"return`[0-9a-f]{32}`", script.read_bytes()) is None
        served = urllib.request.urlopen(f"{base}/v2/assets/{script.name}", timeout=60)
        with served as answer:
            assert answer.read() == script.read_bytes()


def raw(server: str, head: str, body: str = "") -> tuple[int, str]:
    """Send a request as it is written; return the status and the rest of the answer."""
    place = urlsplit(server)
    lines = [*head.splitlines(), f"Content-Length: {len(body)}", "Connection: close", "", body]
    with socket.create_connection((place.hostname, place.port), timeout=120) as line:
        line.sendall("\r\n".join(lines).encode())
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := line.recv(65536):
                answer += part
    status, _, rest = answer.decode().partition(" ")[2].partition(" ")
    return int(status), rest


def test_another_name_for_this_machine_is_refused(server: str) -> None:
    for host in ("localhost:4200", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert raw(server, f"GET /api/health HTTP/1.1\nHost: {host}")[0] == 200, host
    for page in ("/api/health", "/", "/v2/", "/reports/x/"):
        status, text = raw(server, f"GET {page} HTTP/1.1\nHost: evil.example:4200")
        assert status == 400
        assert "stemwright dashboard --name evil.example" in text
    hosts = "Host: localhost\nHost: evil.example"
    assert raw(server, f"GET /api/health HTTP/1.1\n{hosts}")[0] == 400
    assert raw(server, "GET /api/health HTTP/1.0")[0] == 400


FOREIGN = ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1", "http://127.1"]


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_other_origins_make_and_read_nothing(server: str, origin: str) -> None:
    host = server.split("/")[2]
    before = dashboard.ask(f"{server}/flows/count", {})
    # A simple request: the browser asks nobody before it sends this.
    head = f"POST /api/flows/ HTTP/1.1\nHost: {host}\nOrigin: {origin}"
    assert raw(server, head, '{"name": "of a stranger"}')[0] == 403
    assert dashboard.ask(f"{server}/flows/count", {}) == before
    head = f"OPTIONS /api/flows/ HTTP/1.1\nHost: {host}\nOrigin: {origin}"
    assert raw(server, f"{head}\nAccess-Control-Request-Method: POST")[0] == 403
    socket_head = (
        "Upgrade: websocket\nSec-WebSocket-Version: 13\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol: prefect"
    )
    for path in ("events/out", "events/in", "logs/out"):
        head = f"GET /api/{path} HTTP/1.1\nHost: {host}\nOrigin: {origin}\n{socket_head}"
        assert raw(server, head)[0] == 403, path


def test_strangers_pages_in_a_browser_get_nowhere_and_the_dashboard_s_own_work(
    server: str,
) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs a browser")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("needs /usr/bin/chromium")

    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>stranger</title>")

        def log_message(self, *_: object) -> None:
            pass

    stranger = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=stranger.serve_forever, daemon=True).start()
    base = server.removesuffix("/api")
    attempt = """async base => {
        // Of a type that is not told: with one, the browser would ask first.
        const body = new Blob([JSON.stringify({name: "made in a browser"})])
        await fetch(base + "/api/flows/", {method: "POST", mode: "no-cors", body}).catch(() => 0)
        const socket = new WebSocket(base.replace("http", "ws") + "/api/events/out", ["prefect"])
        return await new Promise(resolve => {
            socket.onopen = () => resolve("open")
            socket.onerror = () => resolve("refused")
        })
    }"""
    made = {"flows": {"name": {"any_": ["made in a browser"]}}}
    try:
        with playwright.sync_playwright() as player:
            browser = player.chromium.launch(
                executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{stranger.server_port}/")
            assert page.evaluate(attempt, base) == "refused"
            assert dashboard.ask(f"{server}/flows/count", made) == 0

            refused: list[str] = []
            page.on(
                "response",
                lambda answer: refused.append(answer.url) if answer.status in (400, 403) else None,
            )
            page.goto(f"{base}/v2/runs")
            page.get_by_text("Dashboard").first.wait_for(timeout=60_000)
            assert page.evaluate(attempt, base) == "open"
            assert dashboard.ask(f"{server}/flows/count", made) == 1
            assert refused == []
            browser.close()
    finally:
        stranger.shutdown()
        stranger.server_close()


HOSTILE = (
    "![x](http://evil.example/x.png)",
    "[click](javascript:alert(1))",
    "<img src=http://evil.example/y.png>",
    "http://evil.example/z",
)


def test_names_are_text_in_the_pages(server: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs a browser")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("needs /usr/bin/chromium")

    def publish(engine: Engine) -> None:
        rows = [{"track": name, "lufs": -20.0} for name in ("Kick_In 1.wav", *HOSTILE)]
        engine.publish_table("hostile table", rows, title=" ".join(HOSTILE))

    run_recipe("hostile", publish, engine="auto", workers=1)
    (artifact,) = dashboard.ask(
        f"{server}/artifacts/filter", {"artifacts": {"key": {"any_": ["hostile-table"]}}}
    )
    base = server.removesuffix("/api")
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for address in ("artifacts/artifact", "v2/artifacts/artifact"):
            page.goto(f"{base}/{address}/{artifact['id']}")
            page.get_by_text("Kick_In 1.wav", exact=True).first.wait_for(timeout=60_000)
            pictures = page.locator("img").evaluate_all("all => all.map(e => e.src)")
            assert [source for source in pictures if "evil" in source] == []
            links = page.locator("a").evaluate_all("all => all.map(e => [e.href, e.innerText])")
            # The newer pages make a link of every address that they see, which says where it leads.
            odd = [(h, t) for h, t in links if "evil" in h or not h.startswith("http")]
            assert [(h, t) for h, t in odd if h != t] == []
        assert [url for url in asked if not url.startswith((base, "data:", "blob:"))] == []
        browser.close()


def test_what_cannot_be_had_from_a_running_dashboard_is_said(
    server: str, stemwright: Callable[..., Any]
) -> None:
    page = server.removesuffix("/api")
    found = stemwright("dashboard")
    assert found.exit_code == 0
    assert f"dashboard: {page} (it is running already" in found.stdout
    asked = ("--port", 1, "--host", "0.0.0.0", "--database", "postgresql://ann@db/runs")
    refused = stemwright("dashboard", *asked)
    assert refused.exit_code == 2
    assert "3 problems" in refused.stderr
    assert refused.stderr.count(f"is running already at {page}") == 3


CLIENT = """
import sys, time
from pathlib import Path
from flows.dashboard.control import private_server

with private_server(Path(sys.argv[1])) as (url, _):
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
            if "dashboard/process.py" in told and str(sign) in told:
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
        (pid,) = servers_of(f"127.0.0.1:{port}/api")
        client.kill()
    assert until(lambda: not is_alive(pid)), "the server outlived its killed client"
    assert dashboard.running_server() == server


GOES = """
import os, signal
from flows.dashboard import control as dashboard
from flows.engines.run import run_recipe

url = dashboard.start_server()
pid = dashboard._read_state(dashboard.default_home())["pid"]

def recipe(engine):
    first = engine.map(abs, [-1, -2], name="analyse", labels=["a", "b"])
    os.kill(pid, signal.SIGKILL)
    second = engine.map(abs, [-3, -4], name="balance", labels=["a", "b"])
    engine.publish_table("figures", [{"track": "kick"}], title="Figures")
    return sum([*first, *second, engine.run(abs, -5, name="refine", label="x")])

print(run_recipe("song", recipe, engine="prefect", workers=2))
"""


def test_a_run_goes_on_without_a_dashboard_that_is_killed(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment["STEMWRIGHT_PREFECT_HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", GOES], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "15\n"), done.stderr
    assert done.stderr.count("is gone: the run goes on without it") == 1
    assert "Traceback" not in done.stderr
    assert "Error logging to API" not in done.stderr
    # The next dashboard closes what this one still shows as running.
    assert len(list((tmp_path / "runs").glob("*.json"))) == 1
