"""Python interpreters that this project starts: none runs what lies in the current folder.

``python -c`` and ``python -m``, which :mod:`multiprocessing` starts its processes by, look for
modules in the current folder first. That may be a session from anywhere, with a ``numpy.py`` in it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

__all__ = ["folder_kept_out"]

_VARIABLE = "PYTHONSAFEPATH"
_lock = threading.Lock()
_users = 0
_before: str | None = None


@contextlib.contextmanager
def folder_kept_out() -> Iterator[None]:
    """Have interpreters that are started inside the block leave the current folder alone."""
    global _users, _before
    with _lock:
        if _users == 0:
            _before = os.environ.get(_VARIABLE)
            os.environ[_VARIABLE] = "1"
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                os.environ.pop(_VARIABLE, None)
                if _before is not None:
                    os.environ[_VARIABLE] = _before
