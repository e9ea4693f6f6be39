"""Records of runs, against a small stand-in for Prefect's API that keeps states in a dictionary."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.dashboard import runs as run_register
from flows.dashboard.runs import registered, settle_all

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks are POSIX ones")

UNFINISHED = {"PENDING", "RUNNING", "SCHEDULED"}


class Api:
    def __init__(self) -> None:
        self.flows = {"dead": "RUNNING", "failed": "FAILED", "done": "COMPLETED", "live": "RUNNING"}
        self.tasks = {"dead": ["COMPLETED", "RUNNING", "PENDING"], "failed": ["RUNNING"]}
        self.messages: list[str] = []
        self.logins: set[str | None] = set()
        self.url = ""

    def answer(self, path: str, body: Any) -> Any:
        _, _, kind, name, *rest = path.split("/")
        if kind == "flow_runs" and name not in self.flows:
            return None
        if kind == "flow_runs" and not rest:
            return {"state_type": self.flows[name]}
        if kind == "flow_runs":
            self.flows[name] = body["state"]["type"]
            self.messages.append(body["state"]["message"])
        elif name == "filter":
            (flow,) = body["flow_runs"]["id"]["any_"]
            states = enumerate(self.tasks.get(flow, []))
            return [{"id": f"{flow}.{n}"} for n, state in states if state in UNFINISHED]
        else:
            flow, number = name.split(".")
            self.tasks[flow][int(number)] = body["state"]["type"]
        return {}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    found = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            found.logins.add(self.headers.get("Authorization"))
            answer = found.answer(self.path, json.loads(self.rfile.read(length) or "null"))
            text = json.dumps(answer).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setattr(run_register, "_LATE_S", 0.05)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.url = f"http://127.0.0.1:{server.server_port}/api"
        yield found
        server.shutdown()


def records(home: Path) -> set[str]:
    return {path.stem for path in (home / "runs").glob("*.json")}


def die(home: Path, url: str, run: str) -> None:
    with pytest.raises(KeyError), registered(home, url, run, ours=True):
        raise KeyError(run)


def test_what_a_dead_run_left_open_is_closed_and_nothing_else(tmp_path: Path, api: Api) -> None:
    with registered(tmp_path, api.url, "done", ours=True):
        assert records(tmp_path) == {"done"}
    assert records(tmp_path) == set()
    die(tmp_path, "http://127.0.0.1:1/api", "dead")  # our server had another port then
    die(tmp_path, api.url, "failed")
    with registered(tmp_path, api.url, "live", ours=True):
        settle_all(tmp_path, api.url, ours=True)
        assert records(tmp_path) == {"live"}
    assert api.flows == {
        "dead": "CRASHED", "failed": "FAILED", "done": "COMPLETED", "live": "RUNNING"
    }  # fmt: skip
    assert api.tasks == {"dead": ["COMPLETED", "CRASHED", "CRASHED"], "failed": ["CRASHED"]}
    (message,) = api.messages
    assert message.startswith("Nobody works on this run any more")


def test_a_record_outlives_a_server_that_is_away_or_does_not_know_it(
    tmp_path: Path, api: Api
) -> None:
    die(tmp_path, api.url, "dead")
    die(tmp_path, api.url, "of-another-database")
    settle_all(tmp_path, "http://127.0.0.1:1/api", ours=True)
    assert records(tmp_path) == {"dead", "of-another-database"}
    strange: set[Path] = set()
    settle_all(tmp_path, api.url, ours=True, strange=strange)
    assert records(tmp_path) == {"of-another-database"}
    assert {path.stem for path in strange} == {"of-another-database"}
    os.utime(tmp_path / "runs" / "of-another-database.json", (0, 0))
    settle_all(tmp_path, api.url, ours=True)
    assert records(tmp_path) == set()


def test_a_record_of_somebody_elses_server_is_not_ours_to_settle(tmp_path: Path, api: Api) -> None:
    (tmp_path / "runs").mkdir()
    record = {"url": api.url, "flow_run": "dead", "ours": False}
    (tmp_path / "runs" / "dead.json").write_text(json.dumps(record))
    (tmp_path / "runs" / "nothing.json").write_text("{")
    settle_all(tmp_path, api.url, ours=True)
    assert api.flows["dead"] == "RUNNING"
    settle_all(tmp_path, api.url, ours=False)
    assert api.flows["dead"] == "CRASHED"
    assert records(tmp_path) == {"nothing"}


CLIENT = """
import os, signal, sys
from pathlib import Path
from flows.dashboard.runs import registered

with registered(Path(sys.argv[1]), sys.argv[2], "dead", ours=False):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_watcher_tells_somebody_elses_server(tmp_path: Path, api: Api) -> None:
    variables = os.environ | {"PREFECT_API_AUTH_STRING": "ann:word"}
    subprocess.run([sys.executable, "-c", CLIENT, tmp_path, api.url], env=variables, check=False)
    for _ in range(200):
        if not records(tmp_path):
            break
        threading.Event().wait(0.1)
    assert records(tmp_path) == set()
    assert api.flows["dead"] == "CRASHED"
    assert api.tasks["dead"] == ["COMPLETED", "CRASHED", "CRASHED"]
    assert api.logins == {"Basic YW5uOndvcmQ="}
