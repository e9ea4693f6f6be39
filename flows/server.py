"""The process of a private Prefect server; started as a script by :mod:`flows.dashboard`.

It reads nothing of this project, so that the server's process loads only what it serves.
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

__all__ = ["HOME_IS_TAKEN", "LOCK", "main"]

LOCK = "server.lock"

# Exit status: another server works on the same home, and SQLite bears one only.
HOME_IS_TAKEN = 73
_GRACE_S = 3
_CLAIM_ATTEMPTS = 5


def main() -> int:
    """Serve until told to stop, or until the parent's end of standard input closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True, help="bound to the port")
    parser.add_argument("--with-parent", action="store_true")
    options = parser.parse_args()
    if options.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if not _take(options.home):
        return HOME_IS_TAKEN
    # The log is that of the server which has the home, and begins with it.
    with contextlib.suppress(OSError):
        os.ftruncate(sys.stdout.fileno(), 0)

    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(
        create_app(final=True),
        host="127.0.0.1",
        port=options.port,
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_S,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=options.socket)])
    return 0


def _end_with_parent() -> None:
    """Stop when the parent is gone, however it went.

    The kernel closes a dead process's pipes. ``PR_SET_PDEATHSIG`` would be Linux only, and tells
    of the death of the thread that started the server, not of the process.
    """
    # Not through sys.stdin: its lock, held by a waiting thread, aborts the interpreter's exit.
    while os.read(0, 1):
        pass
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
