"""Deployments as a user has them: prefect.yaml, a work pool, a worker; against a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.dashboard import control as dashboard
from flows.mix.recipe import mix_session
from flows.settings import MixSettings

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.name != "posix", reason="processes are watched with POSIX signals"),
]

ROOT = Path(__file__).resolve().parents[1]
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Deployed:
    """A private server with the deployments of prefect.yaml, and a worker for them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = dashboard.start_server(port=0, home=home)
        self.environment = {
            **os.environ,
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": "127.0.0.1,localhost",
            "DO_NOT_TRACK": "1",
            # As soon as there is something to do.
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        self.worker: subprocess.Popen[bytes] | None = None

    def prefect(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )

    def start_worker(self) -> None:
        command = [sys.executable, "-m", "prefect", "worker", "start"]
        with (self.home / "worker.log").open("wb") as log:
            self.worker = subprocess.Popen(
                [*command, "--pool", "stemwright", "--name", "hands"],
                cwd=self.home, env=self.environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def ask(self, path: str, body: object = None) -> Any:
        return dashboard.ask(f"{self.url}/{path}", body)

    def deployment(self, flow: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"deployments/name/{flow}/local")
        return found

    def runs(self, flow: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(
            "flow_runs/filter", {"flows": {"name": {"any_": [flow]}}}
        )
        return found

    def start(self, flow: str, parameters: dict[str, Any]) -> str:
        where = f"deployments/{self.deployment(flow)['id']}/create_flow_run"
        return str(self.ask(where, {"parameters": {"parameters": parameters}})["id"])

    def state(self, run: str) -> dict[str, Any]:
        state: dict[str, Any] = self.ask(f"flow_runs/{run}")["state"] or {"type": "NONE"}
        return state

    def await_state(self, run: str, types: set[str], seconds: float = 300.0) -> dict[str, Any]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            state = self.state(run)
            if state["type"] in types:
                return state
            time.sleep(0.2)
        log = (self.home / "worker.log").read_text(errors="replace")[-3000:]
        raise AssertionError(f"{run} is {self.state(run)} after {seconds} s\n{log}")

    def await_log(self, run: str, text: str, seconds: float = 60.0) -> None:
        """Wait for a line of a run's log, which is sent in batches, the last after its end."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            lines = self.ask("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
            if any(text in line["message"] for line in lines):
                return
            time.sleep(0.2)
        raise AssertionError(f"{run} logged {[line['message'] for line in lines]}")

    def stop(self) -> None:
        if self.worker is None:
            return
        # Once: to be asked again is to be killed for it. Prefect's worker may not hear it at all.
        self.worker.send_signal(signal.SIGTERM)
        try:
            self.worker.wait(60)
        except subprocess.TimeoutExpired:
            self.worker.kill()
            self.worker.wait()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("prefect")
        patch.setenv("STEMWRIGHT_PREFECT_HOME", str(home))
        patch.setenv("STEMWRIGHT_STORE", str(home / "store"))
        patch.delenv("PREFECT_API_URL", raising=False)
        place = Deployed(home)
        try:
            place.ask("work_pools/", {"name": "stemwright", "type": "process"})
            told = place.prefect("deploy", "--all")
            assert told.returncode == 0, told.stdout + told.stderr
            place.start_worker()
            yield place
            place.stop()
            assert flow_processes("PREFECT__FLOW_RUN_ID=", place.url) == []
        finally:
            if place.worker is not None and place.worker.poll() is None:
                place.worker.kill()
                place.worker.wait()
            dashboard.stop(home)


@pytest.fixture(scope="module")
def songs(
    tmp_path_factory: pytest.TempPathFactory,
    make_song: Callable[[Path], Path],
    make_reference: Callable[..., Path],
) -> Path:
    """Two sessions, one of them broken, and a reference beside their folder."""
    place = tmp_path_factory.mktemp("songs")
    make_song(place / "all" / "Good song")
    (place / "all" / "Broken").mkdir()
    (place / "all" / "Broken" / "Kick.wav").write_text("no audio")
    make_reference(place / "like this.wav")
    return place


def test_the_form_describes_what_it_asks_for_and_no_schedule_runs_by_itself(
    deployed: Deployed,
) -> None:
    for flow, model in (("mix-session", "MixParameters"), ("catalogue", "CatalogueParameters")):
        schema = deployed.deployment(flow)["parameter_openapi_schema"]
        fields = schema["definitions"][model]["properties"]
        assert all(field.get("description") for field in fields.values()), fields
        assert "How much of what was found for the style" in fields["strength"]["description"]
        assert {"engine", "dask", "workers"}.isdisjoint(fields)
        # What lies in the worker's folder is not run.
        variables = deployed.deployment(flow)["job_variables"]
        assert variables["env"] == {"PYTHONSAFEPATH": "1"}
    (schedule,) = deployed.deployment("catalogue")["schedules"]
    assert (schedule["active"], schedule["schedule"]["cron"]) == (False, "0 2 * * *")
    assert schedule["parameters"]["parameters"]["source"] == "/songs"
    assert deployed.deployment("mix-session")["schedules"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": 2},
        {"strength": "0.5"},
        {"target": "spotfy"},
        {"session": "relative/song"},
        {"references": ["relative.wav"]},
        {"qualty": "fast"},
        {"quality": "good"},
    ],
    ids=lambda wrong: "-".join(map(str, *wrong.items())),
)
def test_what_is_wrong_is_refused_before_a_run_exists(
    deployed: Deployed, wrong: dict[str, Any]
) -> None:
    with pytest.raises(OSError, match=r"409|422"):
        deployed.start("mix-session", {"session": "/songs/one", **wrong})
    assert deployed.runs("mix-session") == []


def test_references_may_lie_in_the_worker_s_home(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.deployments import MixParameters, _settings

    monkeypatch.setenv("HOME", "/home/ann")
    given = MixParameters(session="/songs/one", references=("~/like.wav", "s3://a/b.wav"))
    assert _settings(given, "auto").references == (Path("/home/ann/like.wav"), "s3://a/b.wav")
    assert "references" not in _settings(MixParameters(session="/s"), "auto").model_fields_set


def test_a_deployed_mix_is_the_local_one(
    deployed: Deployed, songs: Path, samples: Callable[[Path], Any]
) -> None:
    song, reference = songs / "all" / "Good song", songs / "like this.wav"
    out = songs / "deployed"
    parameters = {
        "session": str(song), "references": [str(reference)], "output": str(out),
        "quality": "fast", "target": "-16",
    }  # fmt: skip
    told = deployed.prefect(
        "deployment", "run", "mix-session/local", "--watch",
        "--param", f"parameters={json.dumps(parameters)}",
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    local = mix_session(
        song,
        settings=MixSettings(references=(reference,), quality="fast", target="-16", engine="local"),
        folder=songs / "local",
        store=songs / "store",
    )
    assert np.array_equal(samples(out / "mix.wav"), samples(local.folder / "mix.wav"))
    (run,) = deployed.runs("mix-session")
    assert (run["name"], run["state_type"]) == (str(song), "COMPLETED")
    # Its steps are its own task runs, not those of a flow inside it.
    tasks = deployed.ask("task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    names = {task["name"] for task in tasks}
    assert {"analyse · Bass DI.flac", "deliver · bus, limiter, loudness"} <= names
    assert deployed.runs("mix") == []
    # It shows that it is alive: who watches for that finds those that died with their worker.
    beats = deployed.ask(
        "events/filter", {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}}}
    )["events"]
    assert f"prefect.flow-run.{run['id']}" in {b["resource"]["prefect.resource.id"] for b in beats}


def test_a_killed_run_is_crashed(deployed: Deployed, songs: Path) -> None:
    out = songs / "killed"
    run = deployed.start(
        "mix-session", {"session": str(songs / "all" / "Good song"), "output": str(out)}
    )
    deployed.await_state(run, {"RUNNING"})
    (pid,) = flow_processes(f"PREFECT__FLOW_RUN_ID={run}")
    os.kill(pid, signal.SIGKILL)
    assert deployed.await_state(run, FINAL)["type"] == "CRASHED"
    assert not out.exists()


def flow_processes(*signs: str) -> list[int]:
    """Return the processes that have some text in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "environ").read_bytes()
        except OSError:
            continue
        if all(sign.encode() in told for sign in signs):
            found.append(int(folder.name))
    return found


def test_a_deployed_catalogue_is_a_flow_run_a_session(deployed: Deployed, songs: Path) -> None:
    before = {run["id"] for run in deployed.runs("mix-session")}
    run = deployed.start(
        "catalogue",
        {
            "source": str(songs / "all"),
            "references": [str(songs / "like this.wav")],
            "output": str(songs / "catalogue"),
            "quality": "fast",
            "jobs": 2,
            "deployment": "mix-session/local",
        },
    )
    state = deployed.await_state(run, FINAL)
    assert state["type"] == "FAILED"
    assert "1 of 2 sessions failed: Broken" in state["message"]
    table = pd.read_csv(songs / "catalogue" / "catalogue.csv").set_index("session")
    assert table["status"].to_dict() == {"Broken": "failed", "Good song": "mixed"}
    assert "is not readable audio" in table.loc["Broken", "error"]
    assert (songs / "catalogue" / "Good song" / "mix.wav").is_file()
    inner = [run for run in deployed.runs("mix-session") if run["id"] not in before]
    assert {Path(run["name"]).name: run["state_type"] for run in inner} == {
        "Good song": "COMPLETED",
        "Broken": "FAILED",
    }
    assert all(run["parent_task_run_id"] for run in inner)
    assert all({"stemwright", "catalogue"} < set(run["tags"]) for run in inner)
    assert {tag for run in inner for tag in run["tags"] if tag.startswith("session:")} == {
        "session:Good song",
        "session:Broken",
    }
    deployed.await_log(run, "Good song: mixed after")
    tables = deployed.ask("artifacts/filter", {"artifacts": {"key": {"any_": ["catalogue"]}}})
    assert [row["status"] for row in json.loads(tables[0]["data"])] == ["failed", "mixed"]
