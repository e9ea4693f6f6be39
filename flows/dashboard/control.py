"""A private Prefect server: on loopback unless asked, offline, told of by a file, ended in time.

Prefect itself is loaded only in the server's own process, so that asking whether one is running
costs a local run nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flows.dashboard.client import ask
from flows.dashboard.database import check_database
from flows.dashboard.launch import (
    LOG,
    LOOPBACK,
    OFFLINE,
    HomeTakenError,
    ServerError,
    end,
    is_healthy,
    launch,
    past_the_proxy,
    port_of,
)
from flows.dashboard.process import LOCK
from pipeline.errors import InputError, Problem

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
_STOP_S = 10.0


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
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    # What a run does goes into its log on the server, and no further.
    os.environ.setdefault("PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL", "INFO")
    if "PREFECT_API_URL" not in os.environ:
        home = Path(os.environ.setdefault("PREFECT_HOME", str(home or default_home())))
        with contextlib.suppress(OSError):
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Else a file in the current folder may name one, and what configures logging calls anything.
    files = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    os.environ.setdefault("PREFECT_LOGGING_SETTINGS_PATH", str(files / "logging.yml"))
    os.environ.update(past_the_proxy())


def running_server(home: Path | None = None) -> str | None:
    """Return the API URL of our running server, or ``None``."""
    home = home or default_home()
    state = _read_state(home)
    if state is None or not _is_serving(home, state["pid"]):
        return None
    if not is_healthy(state["url"], 1.0):
        return None
    return str(state["url"])


def start_server(
    port: int | None = None,
    home: Path | None = None,
    *,
    host: str = "127.0.0.1",
    names: Sequence[str] = (),
    database: str | None = None,
    foreground: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> str:
    """Start our server, or find it running, and return its API URL.

    Parameters
    ----------
    port
        Default is 4200 if free, else any.
    home
        Folder of its database; default :func:`default_home`.
    host
        Address of this machine to serve on; other machines reach what is not loopback, and there
        is no login.
    names
        Further names of the host that it is reached by, such as that of a proxy; requests for
        others are refused.
    database
        Address of a PostgreSQL database to keep runs in, instead of a file in ``home``; see
        :func:`flows.dashboard.database.check_database`.
    foreground
        Stay until Ctrl-C and stop the server then, instead of leaving it to :func:`stop`. If one
        is running already, it stays as it is and this returns.
    on_ready
        Called with the API URL as soon as the server answers.

    Raises
    ------
    InputError
        If one is running already and is not as asked for, or the database cannot be used.
    ServerError
        If it does not start; with the end of its log.
    """
    home = home or default_home()
    url = running_server(home)
    if url is not None:
        _accept_running(url, port, host, names, database)
        if on_ready is not None:
            on_ready(url)
        return url
    if database is not None:
        database = check_database(database)
    process, url = launch(
        port, home, host=host, names=names, database=database, with_parent=foreground
    )
    _write_state(home, url, process.pid)
    try:
        if on_ready is not None:
            on_ready(url)
        if foreground:
            with contextlib.suppress(KeyboardInterrupt):
                _serve_until_it_ends(process, home)
            stop(home)
            end(process)
    except BaseException:
        end(process)
        raise
    # The server outlives us, so its handle does not complain of being dropped.
    process.returncode = 0
    return url


def _accept_running(
    url: str, port: int | None, host: str, names: Sequence[str], database: str | None
) -> None:
    asked = {
        "--port": None if port in (None, 0, port_of(url)) else port,
        "--host": None if host in LOOPBACK else host,
        "--name": names[0] if names else None,
        "--database": database and "another",
    }
    problems = [
        Problem(
            option,
            f"a dashboard is running already at {url.removesuffix('/api')}, and there is one a "
            "user",
            "stop that one first, or leave the option out to use it",
        )
        for option, value in asked.items()
        if value is not None
    ]
    if problems:
        raise InputError(problems)


def _serve_until_it_ends(process: subprocess.Popen[bytes], home: Path) -> None:
    status = process.wait()
    if status not in (0, -signal.SIGTERM) and _read_state(home) is not None:
        raise ServerError(f"the Prefect server ended with status {status}: see {home / LOG}")


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
def private_server(home: Path | None = None) -> Iterator[tuple[str, Path]]:
    """Run a server of our own for the duration of a block; yield its API URL and its home.

    It ends with this process even when that is killed. Its database is the one that
    :func:`start_server` shows later, unless another run is using it: then a temporary one.

    Raises
    ------
    ServerError
        If it does not start.
    """
    with contextlib.ExitStack() as stack:
        home = home or default_home()
        try:
            process, url = launch(0, home, with_parent=True)
        except HomeTakenError:
            spare = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            home = Path(stack.enter_context(spare))
            process, url = launch(0, home, with_parent=True)
        stack.callback(end, process)
        yield url, home


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
