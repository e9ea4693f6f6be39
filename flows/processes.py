"""Folders named after the process that writes them, so that others know when it is gone."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

__all__ = ["is_abandoned", "is_dead", "owner"]

# A folder whose process cannot be asked (another machine, a recycled id) is given up after this
# long: nothing is written for days.
_ABANDONED_S = 3 * 86400.0


def owner() -> str:
    """Return what a folder's name ends with after a dot if this process writes it."""
    return f"{os.getpid()}@{socket.gethostname()}"


def is_abandoned(folder: Path) -> bool:
    """Whether nobody writes a folder any more whose name has an owner after its first dot."""
    pid, _, host = folder.name.partition(".")[2].partition("@")
    if host == socket.gethostname() and pid.isdecimal() and is_dead(int(pid)):
        return True
    try:
        return time.time() - folder.stat().st_mtime > _ABANDONED_S
    except OSError:
        return False


def is_dead(pid: int) -> bool:
    """Whether a process of this machine is surely gone."""
    if os.name != "posix":  # signal 0 is no question there, but Ctrl-C
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False
