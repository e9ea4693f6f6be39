"""What README.md says to type, typed: the blocks after a mark like ``<!-- tested: cluster -->``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from typer.testing import Result

ROOT = Path(__file__).resolve().parent.parent
BESIDE_PYTHON = Path(sys.executable).parent

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        not Path("/proc/self/stat").exists(), reason="asks /proc for processes, and sh for the rest"
    ),
    pytest.mark.skipif(
        not (BESIDE_PYTHON / "stemwright").exists(), reason="the package is not installed"
    ),
]


def typed(mark: str, **meant: object) -> list[str]:
    """Return the commands of a block of README.md, with what its words in capitals stand for."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"<!-- tested: {mark} -->\n```sh\n(.*?)```", readme, re.DOTALL)
    lines = block.replace("\\\n", " ").splitlines()
    commands = "\n".join(line.partition("  #")[0].rstrip() for line in lines)
    for word, value in meant.items():
        quoted = shlex.quote(f"{value}")
        pattern = rf"(?<![\w-]){re.escape(word)}(?![\w-])"
        commands, found = re.subn(pattern, lambda _, quoted=quoted: quoted, commands)
        assert found, f"README.md has no {word} in the block {mark}"
    return commands.splitlines()


def variables(**changed: object) -> dict[str, str]:
    """Return an environment in which this code is what the installed commands run."""
    path = os.pathsep.join([str(BESIDE_PYTHON), os.environ["PATH"]])
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        **{name: str(value) for name, value in changed.items()},
    }


def run(command: str, **changed: object) -> str:
    done = subprocess.run(
        ["sh", "-euc", command], env=variables(**changed), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def session_of(pid: int) -> list[int]:
    """Return the living processes of a session, which a process began."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


@contextlib.contextmanager
def running(command: str, log: IO[str], **changed: object) -> Iterator[subprocess.Popen[str]]:
    """Run a command beside the test, then stop it as Ctrl-C does; nothing of it may be left."""
    process = subprocess.Popen(
        ["sh", "-euc", command],
        env=variables(**changed),
        stdout=log,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
        assert until(lambda: not session_of(process.pid)), f"left behind by: {command}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(check: Callable[[], Any], *, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


@pytest.fixture(scope="module")
def song(workplace: Path, put: Callable[..., Path]) -> Path:
    """Write a song of three tracks, short: each command mixes it anew."""
    rate, seconds = 48_000, 2
    time_s = np.arange(seconds * rate) / rate
    struck = np.exp(-(time_s % 0.5) / 0.2)
    for name, f0_hz in (("Drums/Kick.wav", 55.0), ("Bass.flac", 82.0), ("Lead Vox.wav", 220.0)):
        tone = sum(np.sin(2.0 * np.pi * f0_hz * k * time_s) / k for k in range(1, 6))
        put(workplace / "song" / name, 0.2 * struck * tone, rate, subtype="PCM_24")
    return workplace / "song"


@pytest.fixture(scope="module")
def reference(workplace: Path, make_reference: Callable[..., Path]) -> Path:
    return make_reference(workplace / "a.wav")


@pytest.fixture(scope="module")
def local(
    workplace: Path,
    song: Path,
    reference: Path,
    stemwright: Callable[..., Result],
    samples: Callable[[Path], Any],
) -> Any:
    """Give the samples of a mix made in this process."""
    out = workplace / "local"
    flags = ("-o", out, "--store", workplace / "local store", "--engine", "local")
    mixed = stemwright("mix", song, "-r", reference, *flags)
    assert mixed.exit_code == 0, mixed.output
    return samples(out / "mix.wav")


@pytest.fixture
def mixed(song: Path, samples: Callable[[Path], Any]) -> Callable[[], Any]:
    """Give the samples of the one mix that has come to lie in the session since."""
    before = set(song.glob("mixes/*"))

    def look() -> Any:
        (new,) = set(song.glob("mixes/*")) - before
        return samples(new / "mix.wav")

    return look


@pytest.fixture(scope="module")
def cluster(workplace: Path, bucket: Any) -> Iterator[int]:
    """Start scheduler and workers; give the port. Workers keep what they fetch to themselves."""
    import distributed

    port = free_port()
    words = {"HOST": "127.0.0.1", "8786": port, "SESSION": "-", "REF": "-", "STORE": "-"}
    scheduler, workers, _ = typed("cluster", **words)
    theirs = {
        "DASK_TEMPORARY_DIRECTORY": workplace / "dask",
        "STEMWRIGHT_NEAR_STORE": workplace / "theirs" / "near",
        "STEMWRIGHT_MIRROR": workplace / "theirs" / "mirror",
        "STEMWRIGHT_STORE": workplace / "theirs" / "store",
    }
    with (workplace / "dask.log").open("w") as log, running(f"exec {scheduler}", log, **theirs):
        assert until(lambda: answers(port)), Path(log.name).read_text()
        with running(f"exec {workers}", log, **theirs):
            with distributed.Client(f"tcp://127.0.0.1:{port}", set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
            yield port


def test_on_a_laptop(song: Path, reference: Path, local: Any, mixed: Callable[[], Any]) -> None:
    (command,) = typed("laptop", SESSION=song, REF=reference)
    run(command)
    assert np.array_equal(mixed(), local)


def test_on_a_cluster(
    workplace: Path,
    song: Path,
    reference: Path,
    local: Any,
    cluster: int,
    mixed: Callable[[], Any],
) -> None:
    words = {"SESSION": song, "REF": reference, "STORE": workplace / "shared"}
    *_, command = typed("cluster", HOST="127.0.0.1", **{"8786": cluster}, **words)
    run(command)
    assert np.array_equal(mixed(), local)
    assert {"analyse", "balance", "style"} <= {
        path.name for path in (workplace / "shared").iterdir()
    }


def test_with_nothing_shared_but_a_bucket(
    workplace: Path,
    song: Path,
    reference: Path,
    local: Any,
    bucket: Any,
    cluster: int,
    samples: Callable[[Path], Any],
) -> None:
    for track in song.rglob("*"):
        name = track.relative_to(song)
        if track.is_file() and name.parts[0] != "mixes":
            bucket.upload_file(str(track), f"song/{name.as_posix()}")
    bucket.upload_file(str(reference), "refs/a.wav")
    (command,) = typed("bucket", BUCKET=bucket.name, HOST="127.0.0.1", **{"8786": cluster})
    run(command)
    there = {found.key for found in bucket.objects.filter(Prefix="mixes/x/")}
    assert {"mixes/x/mix.wav", "mixes/x/plan.json", "mixes/x/uploaded.json"} <= there
    bucket.download_file("mixes/x/mix.wav", str(workplace / "x.wav"))
    assert np.array_equal(samples(workplace / "x.wav"), local)
    done = {path.parts[-3] for path in (workplace / "theirs" / "near").rglob("done.json")}
    assert {"analyse", "balance"} <= done  # the workers did that


def test_for_a_team(
    workplace: Path,
    song: Path,
    reference: Path,
    local: Any,
    postgres: Callable[[str], str],
    mixed: Callable[[], Any],
) -> None:
    address, port = postgres("readme"), free_port()
    export, serve, mix = typed(
        "team",
        **{"USER:PASSWORD@HOST/DATABASE": address.partition("://")[2], "0.0.0.0": "127.0.0.1"},
        **{"THAT-MACHINE": "127.0.0.1", "4200": port, "SESSION": song, "REF": reference},
    )
    with (workplace / "dashboard.log").open("w+") as log:
        with running(f"{export}; exec {serve}", log) as dashboard:
            assert until(lambda: answers(port) or dashboard.poll() is not None)
            run(mix, STEMWRIGHT_PREFECT_HOME=workplace / "prefect of another machine")
        assert dashboard.returncode == 0
        assert not answers(port)
        told = Path(log.name).read_text()
    assert f"dashboard: http://127.0.0.1:{port} " in told
    assert np.array_equal(mixed(), local)
    flows, tasks = asyncio.run(recorded(address))
    assert flows == [("song", "COMPLETED")]
    assert {f"analyse · {track}" for track in ("Bass.flac", "Drums/Kick.wav")} <= set(tasks)
    assert set(tasks.values()) == {"COMPLETED"}


async def recorded(address: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return the flow runs and the task runs that a database has, with their states."""
    import asyncpg

    connection = await asyncpg.connect(urlsplit(address)._replace(scheme="postgresql").geturl())
    try:
        flows = await connection.fetch("SELECT name, state_type FROM flow_run")
        tasks = await connection.fetch("SELECT name, state_type FROM task_run")
    finally:
        await connection.close()
    return [tuple(row) for row in flows], dict(map(tuple, tasks))
