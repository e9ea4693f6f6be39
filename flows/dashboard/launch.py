"""Starting the process of a Prefect server on a port that is ours, and ending it.

See :mod:`flows.dashboard.process` for what runs in it.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from flows.dashboard.client import ask
from flows.dashboard.database import VARIABLE
from flows.dashboard.host_check import parse_authority
from flows.dashboard.process import HOME_IS_TAKEN
from pipeline.errors import InputError, Problem, StemwrightError

__all__ = [
    "LOG",
    "LOOPBACK",
    "OFFLINE",
    "HomeTakenError",
    "ServerError",
    "end",
    "is_healthy",
    "launch",
    "past_the_proxy",
    "port_of",
]

LOG = "server.log"
_USUAL_PORT = 4200
# A fresh home migrates its database first, 15 s on two idle cores.
_START_S = 120.0
_STOP_S = 10.0

# No word leaves the machine; and a server records task runs as fast as threads finish them, where
# its defaults write one a transaction and end with a queue full of them.
OFFLINE = {
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
LOOPBACK = ("127.0.0.1", "localhost")
# Where what serves on every address is asked from this machine.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


class ServerError(StemwrightError):
    """The private Prefect server does not start or does not answer."""


class HomeTakenError(ServerError):
    """Another server works on the same home."""


def launch(
    port: int | None,
    home: Path,
    *,
    host: str = "127.0.0.1",
    names: Sequence[str] = (),
    database: str | None = None,
    with_parent: bool,
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server process, wait until it answers, and return it with its API URL.

    The parameters are those of :func:`flows.dashboard.control.start_server`; with ``with_parent``
    it ends when this process does.
    """
    _check_names(names)
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    script = Path(__file__).with_name("process.py")
    # The port is ours before the server has loaded: nobody else can answer on it meanwhile.
    with _bound(host, port) as listener, _open_log(home) as log:
        port = int(listener.getsockname()[1])
        near = _EVERYWHERE.get(host, host)
        url = f"http://{f'[{near}]' if ':' in near else near}:{port}/api"
        options = ["--url", url, "--home", str(home), "--socket", str(listener.fileno())]
        options += ["--host", host, *(f"--name={name}" for name in names)]
        process = subprocess.Popen(
            [sys.executable, "-P", str(script), *options, *["--with-parent"] * with_parent],
            env=_server_environment(url, home, database),
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE if with_parent else subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Prefect takes settings from files of the current folder, which may be anybody's.
            cwd=home,
            # Ctrl-C is for us to hear: the server has to record how the run ended.
            start_new_session=True,
        )
    try:
        _await_health(process, url, home)
    except BaseException:
        end(process)
        raise
    return process, url


def _open_log(home: Path) -> IO[bytes]:
    return os.fdopen(os.open(home / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _await_health(process: subprocess.Popen[bytes], url: str, home: Path) -> None:
    log = home / LOG
    until = time.monotonic() + _START_S
    while not is_healthy(url, 2.0):
        status = process.poll()
        if status == HOME_IS_TAKEN:
            raise HomeTakenError(f"another Prefect server works on {home}: stop that first")
        if status is not None:
            said = log.read_text(errors="replace")[-2000:]
            raise ServerError(f"the Prefect server ended with status {status}: see {log}\n{said}")
        if time.monotonic() > until:
            raise ServerError(f"the Prefect server did not answer in {_START_S:.0f} s: see {log}")
        time.sleep(0.1)


def _bound(host: str, port: int | None) -> socket.socket:
    """Return a socket on a port of an address: that one, else the usual one, else any."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or "?", 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _not_here(host, error) from None
    wishes = [_USUAL_PORT, 0] if port is None else [port]
    for wish in wishes:
        listener = socket.socket(family, kind)
        # A port that a server left a moment ago is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address[0], wish, *address[2:]))
        except (OSError, OverflowError) as error:
            listener.close()
            if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
                raise _not_here(host, error) from None
            if isinstance(error, PermissionError):
                raise _wrong_port(wish, "is for the system", "choose one over 1023") from None
        else:
            return listener
    if not 0 <= wishes[0] <= 65535:
        raise _wrong_port(wishes[0], "is no port", "choose one from 1024 to 65535")
    raise _wrong_port(wishes[0], f"of {host} is in use", "choose another, or none")


def _check_names(names: Sequence[str]) -> None:
    problems = [
        Problem("--name", f"{name!r} is no name of a host", "write it as in mixes.example.org")
        for name in names
        if parse_authority(name) is None
    ]
    if problems:
        raise InputError(problems)


def _wrong_port(port: int, what: str, remedy: str) -> InputError:
    return InputError([Problem("--port", f"port {port} {what}", remedy)])


def _not_here(host: str, error: OSError) -> InputError:
    what = f"{host!r} is no address of this machine ({error.strerror})"
    remedy = "give one that it has, or 0.0.0.0 for all of them"
    return InputError([Problem("--host", what, remedy)])


def port_of(url: str) -> int:
    """Return the port of an API URL of ours."""
    return int(url.removesuffix("/api").rpartition(":")[2])


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a server process, if it runs, and wait until it is gone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _server_environment(url: str, home: Path, database: str | None) -> dict[str, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        # What the user's own Prefect keeps its runs in is none of ours.
        if name not in ("PREFECT_API_KEY", "PREFECT_PROFILE", VARIABLE)
        and not name.startswith(("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_"))
    }
    origin = url.removesuffix("/api")
    return {
        **environment,
        **OFFLINE,
        **_SERVER,
        **past_the_proxy(),
        **({} if database is None else {_DATABASE: database}),
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_HOST": urlsplit(url).hostname or "",
        "PREFECT_SERVER_API_PORT": str(port_of(url)),
        "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui"),
        # The UI asks where it came from, by whichever name and tunnel.
        "PREFECT_UI_API_URL": "/api",
        # No page from elsewhere reads from the server in the user's browser.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
    }


def past_the_proxy() -> dict[str, str]:
    """Return what keeps requests to this machine from a proxy, as environment variables."""
    said = os.environ.get("NO_PROXY", os.environ.get("no_proxy", ""))
    names = [name.strip() for name in said.split(",") if name.strip()]
    joined = ",".join([*names, *(name for name in LOOPBACK if name not in names)])
    return {"NO_PROXY": joined, "no_proxy": joined}


def is_healthy(url: str, timeout_s: float) -> bool:
    """Tell whether the server of an API URL answers that it is well."""
    try:
        return ask(f"{url}/health", timeout_s=timeout_s) is True
    except (OSError, ValueError):
        return False
