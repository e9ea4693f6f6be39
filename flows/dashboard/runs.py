"""Runs at work, each with a file and a lock; a lock that nobody holds tells of a run that died.

A run that is killed cannot say so, and its server would show it as running for ever. So a run
keeps a record in ``<home>/runs`` locked for as long as its process lives, and removes it when all
is told. Records that are left without a lock are settled with the server, by whoever looks: our
own server every few seconds, a watcher of the run's own where the server is somebody else's, and
else the next run. Standard library alone, for the server's process and the watcher.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows.dashboard.client import end_run

__all__ = ["LEFT_OPEN", "registered", "settle", "settle_all", "watch_for_ever"]

_FOLDER = "runs"
_EVERY_S = 5.0
# Task runs are written down in batches, a second or so after they are told of.
_LATE_S = 3.0
_PATIENCE_S = 600.0
_OLD_S = 30 * 86400.0
LEFT_OPEN = (
    "Nobody works on this run any more: its process was killed or interrupted, or the machine or "
    "this server went down. Start it again: finished steps are kept."
)


@contextlib.contextmanager
def registered(
    home: Path,
    url: str,
    flow_run_id: str,
    *,
    ours: bool,
    is_untold: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Keep a record of a flow run while the block works on it.

    The record goes when the block ends as it should; after an exception, or where its end could
    not be told, it is left for whoever looks next, who closes what the run has left open.

    Parameters
    ----------
    home
        Folder of the user's own server.
    url, flow_run_id
        Of the server's API, and of the run on it.
    ours
        Whether the server is the one of ``home``, which looks after its runs itself.
    is_untold
        Asked at the end: whether the server was gone by then.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    folder = home / _FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{flow_run_id}.json"
    draft = folder / f".{flow_run_id}.part"
    with draft.open("w", encoding="utf-8") as record:
        fcntl.flock(record, fcntl.LOCK_EX)  # before anybody can see it
        json.dump({"url": url, "flow_run": flow_run_id, "ours": ours}, record)
        record.flush()
        draft.replace(path)
        watcher = None if ours else _watcher(path)
        yield
        if is_untold():
            return
        path.unlink(missing_ok=True)
    if watcher is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            watcher.wait(5.0)


def settle_all(home: Path, url: str, *, ours: bool, strange: set[Path] | None = None) -> None:
    """Settle every record without a lock that belongs to a server.

    Parameters
    ----------
    ours
        Whether that is the server of ``home``, whichever port it had when the run began.
    strange
        Records that the server is known not to know; those found are added.
    """
    if sys.platform == "win32":
        return
    strange = set() if strange is None else strange
    for path in sorted((home / _FOLDER).glob("*.json")):
        record = None if path in strange else _read(path)
        if record is not None and record["ours"] == ours and (ours or record["url"] == url):
            try:
                settle(path, url)
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    strange.add(path)
            except (OSError, ValueError):
                pass  # away for the moment


def settle(path: Path, url: str, *, wait: bool = False) -> bool:
    """Close what the run of a record has left open on a server, if nobody works on it any more.

    Parameters
    ----------
    wait
        Until its process ends.

    Returns
    -------
    bool
        Whether the record is gone.

    Raises
    ------
    OSError
        If the server does not answer, or does not know the run; the record stays for a month.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        held = path.open("rb")
    except FileNotFoundError:
        return True
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        record = _read(path)
        if record is None:  # removed while we waited, or nothing of ours
            return not path.exists()
        try:
            end_run(url, record["flow_run"], LEFT_OPEN)
            time.sleep(_LATE_S)  # what was still on its way
            while end_run(url, record["flow_run"], LEFT_OPEN):
                time.sleep(_LATE_S)
        except urllib.error.HTTPError as error:
            # Not this server's: of another database, perhaps, which may be back some day.
            if error.code != 404 or time.time() - path.stat().st_mtime < _OLD_S:
                raise
        path.unlink(missing_ok=True)
        return True


def watch_for_ever(home: Path, url: str) -> None:
    """Settle records every few seconds, in a thread that ends with the process."""

    def work() -> None:
        strange: set[Path] = set()
        while True:
            settle_all(home, url, ours=True, strange=strange)
            time.sleep(_EVERY_S)

    threading.Thread(target=work, name="run-register", daemon=True).start()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            "url": str(record["url"]),
            "flow_run": str(record["flow_run"]),
            "ours": bool(record["ours"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _watcher(path: Path) -> subprocess.Popen[bytes]:
    """Start a process that waits for the record's lock, and settles it when that is free."""
    return subprocess.Popen(
        [sys.executable, "-S", "-P", "-m", __name__, str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


def _main(path: Path) -> int:
    record = _read(path)
    until: float | None = None
    while record is not None:
        with contextlib.suppress(OSError, ValueError):
            if settle(path, record["url"], wait=True):
                return 0
        # The run has ended, and its server is away.
        until = until or time.monotonic() + _PATIENCE_S
        if time.monotonic() > until:
            return 1
        time.sleep(_EVERY_S)
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
