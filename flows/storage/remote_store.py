"""The far side of a store that several machines share: step results as objects.

An entry is ``<url>/<step>/<key>/`` with the files of the entry and ``done.json``, which lists them
with their sizes and checksums. Objects cannot be renamed, so ``done.json`` is written last: an
entry is there when it is there and every file is as it says. When ``done.json`` was written tells
when the entry was last used, to the day: who uses one whose mark is older writes it again.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from flows.storage.manifest import Manifest, is_intact
from flows.storage.object_store import ObjectFolder, StoredObject, in_parallel
from pipeline.errors import Problem

__all__ = ["FarStore"]

_DONE = "done.json"
_KEY = re.compile(r"[0-9a-f]{40}")
_MARK_S = 86400.0
# What no run can still be writing.
_ABANDONED_S = 3 * 86400.0


class FarStore:
    """Entries below a URL.

    Parameters
    ----------
    url
        As :func:`flows.storage.locations.parse_place` returns it.
    """

    def __init__(self, url: str) -> None:
        self._objects = ObjectFolder(url)

    def problems(self) -> tuple[Problem, ...]:
        """Return what keeps entries from being written and read, found by doing so."""
        problems = self._objects.problems()
        return tuple(replace(problem, subject=f"store {problem.subject}") for problem in problems)

    def fetch(self, step: str, key: str, folder: Path) -> bool:
        """Download an entry into a folder that is there; return whether all of it was."""
        raw = self._objects.read(f"{step}/{key}/{_DONE}")
        manifest = None if raw is None else Manifest.parse(raw)
        if raw is None or manifest is None:
            return False

        def one(name: str) -> None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._objects.download(f"{step}/{key}/{name}", path)

        try:
            in_parallel(one, list(manifest.files))
        except FileNotFoundError:
            return False
        if not all(is_intact(folder / name, told) for name, told in manifest.files.items()):
            # Their sizes do not tell: whoever makes it again would leave it as it is.
            self._objects.remove([f"{step}/{key}/{_DONE}"])
            return False
        (folder / _DONE).write_bytes(raw)
        return True

    def keep(self, step: str, key: str, folder: Path) -> None:
        """See to it that an entry that is whole in a folder is there, and marked as used.

        What another run has published is left as it is; what is damaged is replaced.
        """
        raw = (folder / _DONE).read_bytes()
        manifest = Manifest.parse(raw)
        if manifest is None:
            raise ValueError(f"{folder} is no entry")
        prefix = f"{step}/{key}/"
        there = {
            name.removeprefix(prefix): stored
            for name, stored in self._objects.list(f"{step}/{key}").items()
        }
        done = there.get(_DONE)
        if done is None or any(
            name not in there or there[name].size != told.size
            for name, told in manifest.files.items()
        ):
            if done is not None:
                self._objects.remove([prefix + _DONE])
            in_parallel(
                lambda name: self._objects.upload(folder / name, prefix + name),
                list(manifest.files),
            )
        elif time.time() - done.modified_s < _MARK_S:
            same = done.size == len(raw)
            # Another run's record may be longer; what does not list these files is damaged.
            theirs = None if same else Manifest.parse(self._objects.read(prefix + _DONE) or b"")
            if same or (theirs is not None and theirs.files.keys() == manifest.files.keys()):
                return
        self._objects.write(prefix + _DONE, raw)

    @property
    def mark_lag_s(self) -> float:
        """How much later an entry may have been used than its mark says."""
        return 2 * _MARK_S

    def size_bytes(self) -> int:
        """Return the size of all complete entries."""
        return sum(size for _, size, _ in self._entries())

    def entries(self) -> Iterator[tuple[str, float, int]]:
        """Yield the step of each complete entry, when it was last used, and its size in bytes."""
        for used, size, names in self._entries():
            yield PurePosixPath(names[0]).parts[0], used, size

    def prune(self, max_bytes: int, *, unused_s: float) -> int:
        """Remove the entries not used for longest until the rest fit; return the bytes freed.

        An entry used within ``unused_s`` and the two days that its mark may lag behind stays.
        """
        entries = sorted(self._entries(), key=lambda entry: entry[0])
        total, freed = sum(size for _, size, _ in entries), 0
        for used, size, names in entries:
            if total - freed <= max_bytes or time.time() - used < unused_s + self.mark_lag_s:
                break
            self._discard(names)
            freed += size
        return freed

    def sweep(self) -> int:
        """Remove what killed uploads left; return the number of entries that it was for."""
        lost = 0
        for stored in self._grouped():
            if stored[0].name.endswith(f"/{_DONE}"):
                continue
            if all(time.time() - part.modified_s > _ABANDONED_S for part in stored):
                self._discard([part.name for part in stored])
                lost += 1
        return lost

    def _discard(self, names: list[str]) -> None:
        """Remove objects of an entry: from its ``done.json`` on it is not there."""
        self._objects.remove([name for name in names if name.endswith(f"/{_DONE}")])
        self._objects.remove([name for name in names if not name.endswith(f"/{_DONE}")])

    def _grouped(self) -> Iterator[list[StoredObject]]:
        """Give the objects of each entry, its ``done.json`` first where there is one."""
        groups: dict[tuple[str, ...], list[StoredObject]] = defaultdict(list)
        for name, stored in self._objects.list().items():
            parts = PurePosixPath(name).parts
            # The bucket may hold more than ours, and that is not to be swept or pruned.
            if parts[0] == ".probe" or (len(parts) > 2 and _KEY.fullmatch(parts[1])):
                groups[parts[:2]].append(stored)
        for group, found in groups.items():
            done = f"{'/'.join(group)}/{_DONE}"
            yield sorted(found, key=lambda stored: stored.name != done)

    def _entries(self) -> Iterator[tuple[float, int, list[str]]]:
        for stored in self._grouped():
            if stored[0].name.endswith(f"/{_DONE}"):
                size = sum(part.size for part in stored)
                yield stored[0].modified_s, size, [part.name for part in stored]
