"""The process of a private Prefect server; started as a script by :mod:`flows.dashboard.control`.

It serves Prefect and the reports of runs, and looks after runs that died. Of this project it reads
only what is written for it, so that the server's process loads no more than it serves.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from flows.dashboard.host_check import HostCheck
from flows.dashboard.pages import quiet_files, with_reports
from flows.dashboard.reports import Shelf
from flows.dashboard.runs import settle_all, watch_for_ever

__all__ = ["HOME_IS_TAKEN", "LOCK", "main"]

LOCK = "server.lock"

# Exit status: another server works on the same home, and SQLite bears one only.
HOME_IS_TAKEN = 73
_GRACE_S = 3
_CLAIM_ATTEMPTS = 5
_SETTLE_S = 20.0


def main() -> int:
    """Serve until told to stop, or until the parent's end of standard input closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True, help="of the API, from this machine")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True, help="bound to the port")
    parser.add_argument("--with-parent", action="store_true")
    parser.add_argument("--host", required=True, help="that the socket is bound to")
    parser.add_argument("--name", action="append", default=[], help="that it is known by too")
    options = parser.parse_args()
    if options.with_parent:
        end = threading.Thread(
            target=_end_with_parent, args=(options.home, options.url), daemon=True
        )
        end.start()
    if not _take(options.home):
        return HOME_IS_TAKEN
    # The log is that of the server which has the home, and begins with it.
    with contextlib.suppress(OSError):
        os.ftruncate(sys.stdout.fileno(), 0)

    import uvicorn
    from prefect.server.api.server import create_app

    pages = Path(os.environ["PREFECT_UI_STATIC_DIRECTORY"])
    pages.mkdir(exist_ok=True)
    prefect = create_app(final=True)
    quiet_files(pages)
    pages_and_reports = with_reports(prefect, Shelf(options.home))
    app = HostCheck(pages_and_reports, options.host, options.name)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE_S)
    watch_for_ever(options.home, options.url)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=options.socket)])
    return 0


def _end_with_parent(home: Path, url: str) -> None:
    """Stop when the parent is gone, however it went.

    The kernel closes a dead process's pipes. ``PR_SET_PDEATHSIG`` would be Linux only, and tells
    of the death of the thread that started the server, not of the process.
    """
    # Not through sys.stdin: its lock, held by a waiting thread, aborts the interpreter's exit.
    while os.read(0, 1):
        pass
    # A parent that was killed amid its run is told of first. Its lock goes about now.
    time.sleep(0.2)
    settling = threading.Thread(target=settle_all, args=(home, url), kwargs={"ours": True})
    settling.daemon = True
    settling.start()
    settling.join(_SETTLE_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S + 5.0)
    os._exit(1)


def _take(home: Path) -> bool:
    """Claim the home for as long as this process lives; ``False`` if another has it."""
    if sys.platform == "win32":
        return True
    import fcntl

    # Kept open on purpose: the lock goes with the descriptor. The number in it tells whose it is.
    claim = os.open(home / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    for _ in range(_CLAIM_ATTEMPTS):
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.1)  # perhaps somebody only asked
        else:
            os.ftruncate(claim, 0)
            os.write(claim, str(os.getpid()).encode())
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
