"""The cache that the steps own: content-addressed, atomic, shared by runs at once.

It is a folder, or the URL of one that several machines share; then this machine has a near copy,
a store like any other, of the entries that were made or used here.

An entry is a folder ``<store>/<step>/<key>/`` whose ``done.json`` lists the files in it with their
sizes and checksums: what a disk has damaged is not there, and is made again. It is written in
``<store>/.unfinished/`` and renamed into place when whole, so an entry is either complete or not
there; a run that is killed leaves only an unfinished folder, which the next run removes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from flows.dependencies.content import CLOCK_TICK_S, DIGEST_BYTES, content_hash
from flows.processes import is_abandoned, owner
from flows.storage.disk_space import space_told
from flows.storage.locations import Place, cache_root, is_url, parse_place
from flows.storage.lookups import note_lookup
from flows.storage.manifest import Manifest, is_intact, list_files
from flows.storage.output_folder import place_problems
from flows.storage.remote_store import FarStore
from pipeline.errors import InputError, Problem, StemwrightError

__all__ = [
    "DamagedEntryError",
    "Entry",
    "Store",
    "chosen_root",
    "default_root",
    "made_whole",
]

T = TypeVar("T")

_DONE = "done.json"
_UNFINISHED = ".unfinished"
_KEY = re.compile(r"[0-9a-f]{40}")
_HASHES = ".hashes"
_FAR = ".far"
# What was seen on the far side this recently is taken to be there still: what is used stays there
# for days.
_SEEN_S = 3600.0
# What a near copy may grow to, and how often it is looked at: no one else tidies a worker's.
_NEAR_BYTES = 20 * 1024**3
_TIDY_S = 1800.0
_ROOM = (
    "make room there, with stemwright cache prune for instance, or name a store on another disk "
    "with --store"
)
_NEAR_ROOM = "make room there, or set STEMWRIGHT_NEAR_STORE to a folder on another disk"
# A larger file's checksum is looked at when the file is used, not whenever its entry is found.
_SMALL_BYTES = 1 << 20
# Times that a run begins anew where the store has lost or damaged what it needs.
_REPAIRS = 4
# Each attempt can lose against another run that replaces the same damaged entry.
_PUBLISH_ATTEMPTS = 8


class DamagedEntryError(StemwrightError):
    """A result is damaged or not in the store any more; it has been taken out, to be made again."""


def made_whole(work: Callable[[], T], store: Place) -> T:
    """Do what takes results from a store; from its beginning where one was found damaged.

    All that is whole is found, so that only the damaged ones are made again.
    """
    began = time.time()
    for _ in range(_REPAIRS):
        try:
            return work()
        except DamagedEntryError:
            Store(store).discard_damaged(used_since=began - CLOCK_TICK_S)
    return work()


def chosen_root(place: Place | None) -> Place:
    """Return a store as every process has to know it; by default :func:`default_root`.

    A URL that cannot be worked with is returned as it is: :meth:`Store.problems_of` tells.
    """
    if not place:
        return default_root()
    try:
        chosen = parse_place(place)
    except InputError:
        return place
    # In another process's folder a relative path would be another store.
    return chosen.absolute() if isinstance(chosen, Path) else chosen


def default_root() -> Place:
    """Return the user's store: ``STEMWRIGHT_STORE``, else below the user's cache folder.

    Raises
    ------
    InputError
        If the variable holds a URL that cannot be worked with.
    """
    told = os.environ.get("STEMWRIGHT_STORE", "")
    chosen = parse_place(told, subject="STEMWRIGHT_STORE")
    return chosen if is_url(told) else cache_root("STEMWRIGHT_STORE", "store")


@dataclass
class Entry:
    """One place in the store, inside ``with store.entry(...)``.

    Parameters
    ----------
    done
        Whether a complete and undamaged result is there.
    path
        The folder of the result when ``done``, else a folder of this process to write into.
    record
        What was committed with the result.
    """

    done: bool
    path: Path
    record: dict[str, Any] = field(default_factory=dict)
    _place: Path = field(default=Path(), repr=False)
    _share: Callable[[], None] | None = field(default=None, repr=False)

    def commit(self, record: Mapping[str, Any] | None = None) -> Path:
        """Publish what was written to ``path`` and return where it now lies.

        If another run published the same entry meanwhile, its result is kept and ours dropped.

        Parameters
        ----------
        record
            A JSON-able mapping to keep with the files.

        Raises
        ------
        RuntimeError
            If the entry is done already.
        """
        if self.done:
            raise RuntimeError(f"{self._place} is committed already: write only when not done")
        manifest = Manifest(list_files(self.path), dict(record or {}))
        draft = self.path / f"{_DONE}.draft"
        draft.write_bytes(manifest.dump())
        draft.replace(self.path / _DONE)
        self._place.parent.mkdir(parents=True, exist_ok=True)
        published = _publish(self.path, self._place)
        note_lookup(self._place.parent.name, self._place.name, done=True)
        # What is read back is what a later hit will see: tuples are lists by then.
        self.done, self.path, self.record = True, self._place, published.record
        if self._share is not None:
            self._share()
        return self._place


class Store:
    """A folder of step results, addressed by what they were made from.

    Parameters
    ----------
    place
        The folder, made when first written to, or the URL of one that machines share. Default:
        :func:`default_root`.

    Attributes
    ----------
    place
        As it was named.
    root
        The folder on this machine: ``place`` itself, or the near copy of a URL, which lies in
        ``STEMWRIGHT_NEAR_STORE``, by default in the user's cache.

    Raises
    ------
    InputError
        If the place is a URL that cannot be worked with.
    """

    def __init__(self, place: Place | None = None) -> None:
        self.place = default_root() if place is None else parse_place(place, subject="--store")
        self._far: FarStore | None = None
        if isinstance(self.place, str):
            self.root = _near_root(self.place)
            self._far = _far_store(self.place, os.getpid())
        else:
            self.root = self.place
        self._sweep()

    @classmethod
    def problems_of(cls, place: Place) -> tuple[Problem, ...]:
        """Return what keeps a place from being a store, found before any step runs."""
        try:
            return cls(place).problems()
        except InputError as error:
            return error.problems

    def problems(self) -> tuple[Problem, ...]:
        """Return what keeps entries from being written, found before any step runs."""
        remedy = "name another folder with --store"
        if self._far is not None:
            remedy = "set STEMWRIGHT_NEAR_STORE to a folder that can be written to"
        found = place_problems(self.root.absolute(), remedy)
        return found or (() if self._far is None else self._far.problems())

    def key(self, step: str, *, inputs: Mapping[str, Any], code_version: str) -> str:
        """Return the address of a step's result.

        Parameters
        ----------
        step
            Name of the step.
        inputs
            All that the result depends on, JSON-able: content hashes of the files, settings.
            The order of keys does not count.
        code_version
            Of the code that makes it, from :func:`flows.dependencies.version.code_version`.

        Raises
        ------
        TypeError
            If an input is no JSON value (a set has no order, an array no short form).
        """
        told = json.dumps([step, dict(inputs), code_version], sort_keys=True, ensure_ascii=True)
        return hashlib.blake2b(told.encode(), digest_size=DIGEST_BYTES).hexdigest()

    @contextlib.contextmanager
    def entry(self, step: str, key: str) -> Iterator[Entry]:
        """Look an entry up, or get a folder to write it into.

        Without :meth:`Entry.commit`, or when an exception (Ctrl-C too) leaves the block, nothing
        of what was written remains.

        Examples
        --------
        >>> import tempfile
        >>> store = Store(Path(tempfile.mkdtemp()))
        >>> for _ in range(2):
        ...     with store.entry("greet", store.key("greet", inputs={}, code_version="1")) as e:
        ...         if not e.done:
        ...             _ = (e.path / "hello.txt").write_text("hello")
        ...             _ = e.commit({"language": "en"})
        ...     e.done, e.record["language"]
        (True, 'en')
        (True, 'en')
        """
        place = self.root / step / key
        # Marked before it is looked at: what another run prunes meanwhile is not taken for there.
        with contextlib.suppress(OSError):
            os.utime(place / _DONE)  # last used, for prune
        manifest = _read_whole(place)
        if self._far is not None:
            if manifest is None:
                manifest = self._fetch(self._far, place)
            else:
                self._share(self._far, place)
        if manifest is not None:
            note_lookup(step, key, done=False)
            yield Entry(done=True, path=place, record=manifest.record, _place=place)
            return
        workshop = self._new_unfinished()
        try:
            with space_told(self.root, _ROOM):
                workshop.mkdir(parents=True)
                share = None
                if self._far is not None:
                    share = functools.partial(self._share, self._far, place, made=True)
                yield Entry(done=False, path=workshop, _place=place, _share=share)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)

    def local(self, path: Path) -> Path:
        """Return where a file of an entry lies on this machine, which may have to get it first.

        It is looked through, so that nothing damaged is worked on or delivered.

        Parameters
        ----------
        path
            Made of an :attr:`Entry.path`, here or on another machine that shares the store.

        Raises
        ------
        DamagedEntryError
            If the entry is damaged or not in the store any more; see :func:`made_whole`.
        """
        parts = path.relative_to(self.root).parts if path.is_relative_to(self.root) else path.parts
        keys = [n for n, part in enumerate(parts) if n and _KEY.fullmatch(part)]
        if not keys or (self._far is None and not path.is_relative_to(self.root)):
            return path
        place = self.root.joinpath(*parts[keys[-1] - 1 : keys[-1] + 1])
        inside = parts[keys[-1] + 1 :]
        if not _is_whole(place, inside):
            if place.exists():
                _discard(place, self._new_unfinished())
            if self._far is None or self._fetch(self._far, place) is None:
                name = place.relative_to(self.root).as_posix()
                raise DamagedEntryError(
                    f"{self.place}/{name} is damaged or not in the store any more: run again"
                )
        return place.joinpath(*inside)

    def _fetch(self, far: FarStore, place: Path) -> Manifest | None:
        """Copy an entry from the far side; return what is in it, None where it is not whole."""
        workshop = self._new_unfinished()
        try:
            with space_told(self.root, _NEAR_ROOM):
                workshop.mkdir(parents=True)
                if not far.fetch(place.parent.name, place.name, workshop):
                    return None
            place.parent.mkdir(parents=True, exist_ok=True)
            manifest = _publish(workshop, place)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
        self._share(far, place)
        return manifest

    def _share(self, far: FarStore, place: Path, *, made: bool = False) -> None:
        """See to it that an entry of this machine is on the far side too, and marked as used."""
        seen = self.root / _FAR / place.parent.name / place.name
        with contextlib.suppress(OSError):
            if not made and time.time() - seen.stat().st_mtime < _SEEN_S:
                return
        far.keep(place.parent.name, place.name, place)
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.touch()
        tidied = self.root / _FAR / "tidied"
        with contextlib.suppress(OSError):
            if not tidied.exists() or time.time() - tidied.stat().st_mtime > _TIDY_S:
                tidied.touch()
                self.tidy(_NEAR_BYTES)

    def content_hash(self, path: Path) -> str:
        """Return a hash of a file's content, remembered until the file changes.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        return content_hash(path, self.root / _HASHES)

    def size_bytes(self) -> int:
        """Return the size of all complete entries; of a shared store, on the far side."""
        if self._far is not None:
            return self._far.size_bytes()
        return sum(size for _, size, _ in self._near_entries())

    def prune(self, max_bytes: int, *, unused_s: float = 3600.0) -> int:
        """Remove the entries not used for longest until the rest fit; return the bytes freed.

        Of a shared store that is what all machines have, and the near copy is tidied with it.

        Parameters
        ----------
        max_bytes
            What may stay.
        unused_s
            Entries used more recently than this stay in any case: a run may be reading them. On
            the far side of a shared store two days more: use is marked by the day there.
        """
        freed = self.tidy(max_bytes, unused_s=unused_s)
        return freed if self._far is None else self._far.prune(max_bytes, unused_s=unused_s)

    def tidy(self, max_bytes: int, *, unused_s: float = 3600.0) -> int:
        """Do as :meth:`prune` does, on this machine alone."""
        entries = sorted(self._near_entries())
        total = sum(size for _, size, _ in entries)
        freed = 0
        for used, size, place in entries:
            if total - freed <= max_bytes or time.time() - used < unused_s:
                break
            # Another run may have come to use it while those before were removed.
            with contextlib.suppress(OSError):
                if (place / _DONE).stat().st_mtime == used:
                    _discard(place, self._new_unfinished())
                    freed += size
        return freed

    def discard_damaged(self, *, used_since: float) -> None:
        """Take what is damaged of the entries used since a time out, on this machine."""
        for used, _, place in list(self._near_entries()):
            manifest = _read_whole(place)
            if used >= used_since and not (
                manifest is not None
                and all(is_intact(place / name, told) for name, told in manifest.files.items())
            ):
                _discard(place, self._new_unfinished())

    @property
    def mark_lag_s(self) -> float:
        """How much later an entry may have been used than its mark says."""
        return 0.0 if self._far is None else self._far.mark_lag_s

    def sweep(self) -> int:
        """Remove what killed runs left unfinished; return the number of entries it was for."""
        return self._sweep() + (0 if self._far is None else self._far.sweep())

    def _sweep(self) -> int:
        removed = 0
        with contextlib.suppress(OSError):
            for folder in (self.root / _UNFINISHED).iterdir():
                if is_abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
        return removed

    def _new_unfinished(self) -> Path:
        return self.root / _UNFINISHED / f"{uuid.uuid4().hex}.{owner()}"

    def entries(self) -> Iterator[tuple[str, float, int]]:
        """Yield the step of each complete entry, when it was last used, and its size in bytes.

        Of a shared store, those on the far side.
        """
        if self._far is not None:
            yield from self._far.entries()
            return
        for used, size, place in self._near_entries():
            yield place.parent.name, used, size

    def _near_entries(self) -> Iterator[tuple[float, int, Path]]:
        for done in self.root.glob(f"[!.]*/*/{_DONE}"):
            # The store may be a folder that holds more than ours.
            if not _KEY.fullmatch(done.parent.name):
                continue
            with contextlib.suppress(OSError):
                size = sum(p.stat().st_size for p in done.parent.rglob("*") if p.is_file())
                yield done.stat().st_mtime, size, done.parent


def _near_root(url: str) -> Path:
    name = hashlib.blake2b(url.encode(), digest_size=DIGEST_BYTES // 2).hexdigest()
    return cache_root("STEMWRIGHT_NEAR_STORE", "near") / name


@functools.lru_cache(maxsize=8)
def _far_store(url: str, process: int) -> FarStore:
    return FarStore(url)


def _read_whole(place: Path) -> Manifest | None:
    """Return what is in a complete entry that shows no damage, else ``None``."""
    try:
        manifest = Manifest.parse((place / _DONE).read_bytes())
        if manifest is None:
            return None
        for name, expected in manifest.files.items():
            if (place / name).stat().st_size != expected.size:
                return None
            if expected.size <= _SMALL_BYTES and not is_intact(place / name, expected):
                return None
    except OSError:
        return None
    return manifest


def _is_whole(place: Path, inside: tuple[str, ...]) -> bool:
    """Whether an entry is complete, and a file of it undamaged."""
    manifest = _read_whole(place)
    if manifest is None:
        return False
    expected = manifest.files.get("/".join(inside))
    return expected is None or is_intact(place.joinpath(*inside), expected)


def _publish(finished: Path, place: Path) -> Manifest:
    """Rename a finished folder to its place, unless an undamaged one is there; return what it has.

    A folder is never renamed over one with files in it, so of two runs the first wins.
    """
    failure: OSError | None = None
    for _ in range(_PUBLISH_ATTEMPTS):
        try:
            finished.rename(place)
        except OSError as error:
            failure = error
        manifest = _read_whole(place)
        if manifest is not None:
            return manifest
        if place.exists():
            _discard(place, finished.with_name(f"{uuid.uuid4().hex}.{owner()}"))
    raise OSError(f"{place} cannot be written: check its permissions") from failure


def _discard(place: Path, aside: Path) -> None:
    """Take an entry out of the store in one move, then remove it."""
    with contextlib.suppress(OSError):
        aside.parent.mkdir(parents=True, exist_ok=True)
        place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
