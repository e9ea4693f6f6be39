"""A private Prefect server: on loopback, offline, told of by a file, ended when it should.

Prefect itself is loaded only in the server's own process, so that asking whether one is running
costs a local run nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.server import HOME_IS_TAKEN, LOCK
from pipeline.problems import StemwrightError

__all__ = [
    "ServerError",
    "ask",
    "default_home",
    "private_server",
    "quiet_prefect",
    "running_server",
    "start_server",
    "stop",
]

_STATE = "server.json"
_LOG = "server.log"
_USUAL_PORT = 4200
# A fresh home migrates its database first, 15 s on two idle cores.
_START_S = 120.0
_STOP_S = 10.0

# No word leaves the machine; and a server records task runs as fast as threads finish them, where
# its defaults write one a transaction and end with a queue full of them.
_OFFLINE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
_SERVER = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}
_LOOPBACK = ("127.0.0.1", "localhost")


class ServerError(StemwrightError):
    """The private Prefect server does not start or does not answer."""


class _HomeTakenError(ServerError):
    """Another server works on the same home."""


def default_home() -> Path:
    """Return the folder of the user's server: its database, log and state file."""
    chosen = os.environ.get("STEMWRIGHT_PREFECT_HOME")
    if chosen:
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "stemwright" / "prefect"


def quiet_prefect(home: Path | None = None) -> None:
    """Prepare this process's environment for ``import prefect``; what the user set stays.

    Telemetry is off, errors are told by this project instead of Prefect's console, the loopback
    never goes through a proxy, and Prefect's files lie apart from the user's own.
    """
    for name, value in _OFFLINE.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if "PREFECT_API_URL" not in os.environ:
        home = Path(os.environ.setdefault("PREFECT_HOME", str(home or default_home())))
        with contextlib.suppress(OSError):
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ.update(_past_the_proxy())


def running_server(home: Path | None = None) -> str | None:
    """Return the API URL of our running server, or ``None``."""
    home = home or default_home()
    state = _read_state(home)
    if state is None or not _is_serving(home, state["pid"]):
        return None
    if not _is_healthy(state["url"], 1.0):
        return None
    return str(state["url"])


def start_server(
    port: int | None = None,
    home: Path | None = None,
    *,
    foreground: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> str:
    """Start our server, or find it running, and return its API URL.

    Parameters
    ----------
    port
        On 127.0.0.1; default is 4200 if free, else any.
    home
        Folder of its database; default :func:`default_home`.
    foreground
        Stay until Ctrl-C and stop the server then, instead of leaving it to :func:`stop`. If one
        is running already, it stays as it is and this returns.
    on_ready
        Called with the API URL as soon as the server answers.

    Raises
    ------
    ServerError
        If it does not start; with the end of its log.
    """
    home = home or default_home()
    url = running_server(home)
    if url is not None:
        if on_ready is not None:
            on_ready(url)
        return url
    process, url = _launch(port, home, with_parent=foreground)
    _write_state(home, url, process.pid)
    try:
        if on_ready is not None:
            on_ready(url)
        if foreground:
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
            stop(home)
            _end(process)
    except BaseException:
        _end(process)
        raise
    # The server outlives us, so its handle does not complain of being dropped.
    process.returncode = 0
    return url


def stop(home: Path | None = None) -> bool:
    """Stop our server; return whether one was running."""
    home = home or default_home()
    state = _read_state(home)
    (home / _STATE).unlink(missing_ok=True)
    if state is None or not _is_serving(home, state["pid"]):
        return False
    pid = int(state["pid"])
    for order in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, order)
        until = time.monotonic() + _STOP_S
        while time.monotonic() < until:
            if not _is_serving(home, pid):
                # A child of ours stays in the process table until it is asked for.
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
                return True
            time.sleep(0.05)
    return True


@contextlib.contextmanager
def private_server(home: Path | None = None) -> Iterator[str]:
    """Run a server of our own for the duration of a block; yield its API URL.

    It ends with this process even when that is killed. Its database is the one that
    :func:`start_server` shows later, unless another run is using it: then a temporary one.

    Raises
    ------
    ServerError
        If it does not start.
    """
    with contextlib.ExitStack() as stack:
        try:
            process, url = _launch(0, home or default_home(), with_parent=True)
        except _HomeTakenError:
            spare = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            process, url = _launch(0, Path(spare), with_parent=True)
        stack.callback(_end, process)
        yield url


def ask(url: str, body: object = None, *, timeout_s: float = 10.0) -> Any:
    """Return the JSON answer of a local server to a GET, or to a POST of ``body``.

    Raises
    ------
    OSError
        If it does not answer, or with an error.
    """
    request = urllib.request.Request(url)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout_s) as answer:
        return json.loads(answer.read())


def _launch(
    port: int | None, home: Path, *, with_parent: bool
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server process, wait until it answers, and return it with its API URL."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    script = Path(__file__).with_name("server.py")
    # The port is ours before the server has loaded: nobody else can answer on it meanwhile.
    with _bound(port) as listener, (home / _LOG).open("ab") as log:
        port = int(listener.getsockname()[1])
        options = ["--port", str(port), "--home", str(home), "--socket", str(listener.fileno())]
        process = subprocess.Popen(
            [sys.executable, "-P", str(script), *options, *["--with-parent"] * with_parent],
            env=_server_environment(port, home),
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE if with_parent else subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for us to hear: the server has to record how the run ended.
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}/api"
    try:
        _await_health(process, url, home)
    except BaseException:
        _end(process)
        raise
    return process, url


def _await_health(process: subprocess.Popen[bytes], url: str, home: Path) -> None:
    log = home / _LOG
    until = time.monotonic() + _START_S
    while not _is_healthy(url, 2.0):
        status = process.poll()
        if status == HOME_IS_TAKEN:
            raise _HomeTakenError(f"another Prefect server works on {home}: stop that first")
        if status is not None:
            said = log.read_text(errors="replace")[-2000:]
            raise ServerError(f"the Prefect server ended with status {status}: see {log}\n{said}")
        if time.monotonic() > until:
            raise ServerError(f"the Prefect server did not answer in {_START_S:.0f} s: see {log}")
        time.sleep(0.1)


def _bound(port: int | None) -> socket.socket:
    """Return a socket on a port of 127.0.0.1: that one, else the usual one, else any."""
    wishes = [_USUAL_PORT, 0] if port is None else [port]
    for wish in wishes:
        listener = socket.socket()
        # A port that a server left a moment ago is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wish))
        except (OSError, OverflowError):
            listener.close()
        else:
            return listener
    raise ServerError(f"port {wishes[0]} of 127.0.0.1 is in use: choose another, or none")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _server_environment(port: int, home: Path) -> dict[str, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PREFECT_API_KEY", "PREFECT_PROFILE")
    }
    return {
        **environment,
        **_OFFLINE,
        **_SERVER,
        **_past_the_proxy(),
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        # The UI asks the port that is set here, whichever one is served.
        "PREFECT_SERVER_API_PORT": str(port),
    }


def _past_the_proxy() -> dict[str, str]:
    said = os.environ.get("NO_PROXY", os.environ.get("no_proxy", ""))
    names = [name.strip() for name in said.split(",") if name.strip()]
    joined = ",".join([*names, *(name for name in _LOOPBACK if name not in names)])
    return {"NO_PROXY": joined, "no_proxy": joined}


def _is_healthy(url: str, timeout_s: float) -> bool:
    try:
        return ask(f"{url}/health", timeout_s=timeout_s) is True
    except (OSError, ValueError):
        return False


def _is_serving(home: Path, pid: int) -> bool:
    """Tell whether a process is the server that has the home, not one with a recycled number."""
    if sys.platform == "win32":
        return True  # whether it answers decides
    import fcntl

    try:
        with (home / LOCK).open("rb") as claim:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(claim, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
            return claim.read() == str(pid).encode()
    except OSError:
        return False


def _read_state(home: Path) -> dict[str, Any] | None:
    try:
        state = json.loads((home / _STATE).read_text(encoding="utf-8"))
        return {"url": str(state["url"]), "pid": int(state["pid"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_state(home: Path, url: str, pid: int) -> None:
    draft = home / f"{_STATE}.{os.getpid()}"
    draft.write_text(json.dumps({"url": url, "pid": pid}), encoding="utf-8")
    draft.replace(home / _STATE)
