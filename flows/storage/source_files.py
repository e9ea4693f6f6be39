"""The user's files as a step reads them: what was read is what the result is kept under.

A session is worked on while it is mixed: a take is bounced again, a folder is still being copied.
A step makes its key from the content before it reads the audio, so a file that is replaced between
the two would leave another file's figures in the store for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from flows.dependencies.content import CLOCK_TICK_S, identity
from flows.storage.store import Store
from pipeline.errors import InputError, Problem

__all__ = ["SourceFiles", "refuse_changed"]

T = TypeVar("T")

# Once more where a file was touched, and holds the same; with an identity that never stays the
# same, as on some network shares, that is enough.
_READS = 2


class SourceFiles:
    """Files that a step reads, known by their content.

    Parameters
    ----------
    store
        Remembers what files hold.
    files
        By the names that the user knows them by.
    expected
        The content that earlier steps have seen, by the same names, where they are known.

    Attributes
    ----------
    contents
        A hash of each file's content, by name.

    Raises
    ------
    InputError
        If a file does not hold what it is expected to.
    OSError
        If one cannot be read.
    """

    def __init__(
        self, store: Store, files: Mapping[str, Path], expected: Mapping[str, str] | None = None
    ) -> None:
        self._store = store
        self._files = dict(files)
        self._seen = self._look()
        self.contents = {name: store.content_hash(path) for name, path in files.items()}
        if expected:
            _refuse([n for n, told in self.contents.items() if expected.get(n, told) != told])

    def read(self, work: Callable[[], T]) -> T:
        """Do what reads the files, and return what it returns, if they held still meanwhile.

        Raises
        ------
        InputError
            If a file was changed, whatever else went wrong for that.
        """
        for _ in range(_READS):
            try:
                result = work()
            except Exception:
                self._refuse_changed()
                raise
            if self._held_still():
                break
            self._refuse_changed()
            self._seen = self._look()
        return result

    def _look(self) -> dict[str, tuple[str, float]]:
        now = time.time()
        return {
            name: (identity(path), now - path.stat().st_mtime) for name, path in self._files.items()
        }

    def _held_still(self) -> bool:
        for name, (before, age_s) in self._seen.items():
            try:
                if identity(self._files[name]) != before:
                    return False
            except OSError:
                return False
            # Written a moment before: the clock of its file system may not tell of what came then.
            if age_s < CLOCK_TICK_S and self._is_changed(name):
                return False
        return True

    def _is_changed(self, name: str) -> bool:
        try:
            return self._store.content_hash(self._files[name]) != self.contents[name]
        except OSError:
            return True

    def _refuse_changed(self) -> None:
        _refuse([name for name in self._files if self._is_changed(name)])


def refuse_changed(store: Store, files: Mapping[str, Path], contents: Mapping[str, str]) -> None:
    """Raise InputError if files do not hold what earlier steps saw in them, by name."""
    known = {name: path for name, path in files.items() if name in contents}
    try:
        SourceFiles(store, known, contents)
    except OSError as error:
        gone = next((n for n, path in known.items() if not path.is_file()), None)
        if gone is None:
            raise
        what = f"was taken away during the run ({error.strerror})"
        raise InputError([Problem(gone, what, "put it back, then run again")]) from error


def _refuse(changed: list[str]) -> None:
    remedy = "wait until nothing writes to it, then run again: what did not change is found"
    if changed:
        raise InputError(
            [Problem(name, "was changed while the run worked on it", remedy) for name in changed]
        )
