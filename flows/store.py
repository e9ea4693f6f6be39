"""The cache that the steps own: content-addressed, atomic, shared by runs at once.

An entry is a folder ``<store>/<step>/<key>/`` whose ``done.json`` lists the files in it with their
sizes. It is written in ``<store>/.unfinished/`` and renamed into place when whole, so an entry is
either complete or not there; a run that is killed leaves only an unfinished folder, which the next
run removes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.step_counts import note_lookup

__all__ = ["Entry", "Store", "code_version", "default_root"]

_DONE = "done.json"
_UNFINISHED = ".unfinished"
_HASHES = ".hashes"
_DIGEST_BYTES = 20
# An unfinished folder whose process cannot be asked (another machine, a recycled id) is given up
# after this long; no step works on one entry for days.
_ABANDONED_S = 3 * 86400.0
# Each attempt can lose against another run that replaces the same damaged entry.
_PUBLISH_ATTEMPTS = 8
# Clocks of file systems tick as coarsely as 2 s (FAT): a file written this recently may change
# again without its time stamp telling.
_CLOCK_TICK_S = 2.0


def default_root() -> Path:
    """Return the user's store: ``STEMWRIGHT_STORE``, else below the user's cache folder."""
    chosen = os.environ.get("STEMWRIGHT_STORE")
    if chosen:
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "stemwright" / "store"


@functools.cache
def code_version(*modules: str, distributions: tuple[str, ...] = ()) -> str:
    """Return a hash of the source of modules, so that changed code finds no old results.

    Parameters
    ----------
    modules
        Dotted names. A package stands for all the Python files in it. Nothing is imported but
        the parents of dotted names.
    distributions
        Installed packages whose versions count too, such as ``("torch",)``.

    Raises
    ------
    ModuleNotFoundError
        If there is no such module, or none with a source file.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name in modules:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no source file for module {name!r}", name=name)
        origin = Path(spec.origin)
        package = spec.submodule_search_locations is not None
        for path in sorted(origin.parent.rglob("*.py")) if package else [origin]:
            content = path.read_bytes()
            where = path.relative_to(origin.parent).as_posix()
            digest.update(f"{name}\0{where}\0{len(content)}\0".encode())
            digest.update(content)
    for name in distributions:
        digest.update(f"{name}={importlib.metadata.version(name)}\0".encode())
    return digest.hexdigest()


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
        files = {
            path.relative_to(self.path).as_posix(): path.stat().st_size
            for path in sorted(self.path.rglob("*"))
            if path.is_file()
        }
        whole = json.dumps({"record": dict(record or {}), "files": files})
        draft = self.path / f"{_DONE}.draft"
        draft.write_text(whole, encoding="utf-8")
        draft.replace(self.path / _DONE)
        self._place.parent.mkdir(parents=True, exist_ok=True)
        published = _publish(self.path, self._place)
        note_lookup(self._place.parent.name, self._place.name, done=True)
        # What is read back is what a later hit will see: tuples are lists by then.
        self.done, self.path, self.record = True, self._place, published
        return self._place


class Store:
    """A folder of step results, addressed by what they were made from.

    Parameters
    ----------
    root
        The folder; made when first written to. Default: :func:`default_root`.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root() if root is None else Path(root)
        self.sweep()

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
            From :func:`code_version`.

        Raises
        ------
        TypeError
            If an input is no JSON value (a set has no order, an array no short form).
        """
        told = json.dumps([step, dict(inputs), code_version], sort_keys=True, ensure_ascii=True)
        return hashlib.blake2b(told.encode(), digest_size=_DIGEST_BYTES).hexdigest()

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
        record = _read_whole(place)
        if record is not None:
            note_lookup(step, key, done=False)
            yield Entry(done=True, path=place, record=record, _place=place)
            return
        workshop = self._new_unfinished()
        try:
            workshop.mkdir(parents=True)
            yield Entry(done=False, path=workshop, _place=place)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)

    def content_hash(self, path: Path) -> str:
        """Return a hash of a file's content, remembered until the file changes.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        path = Path(path).resolve()
        name = hashlib.blake2b(os.fsencode(path), digest_size=_DIGEST_BYTES).hexdigest()
        memo = self.root / _HASHES / name[:2] / name
        identity = _identity(path)
        with contextlib.suppress(OSError, ValueError):
            known, _, digest = memo.read_text(encoding="ascii").partition(" ")
            if known == identity and len(digest) == 2 * _DIGEST_BYTES:
                return digest
        with path.open("rb") as file:
            digest = hashlib.file_digest(
                file, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)
            ).hexdigest()
        settled = time.time() - path.stat().st_mtime > _CLOCK_TICK_S
        if settled and _identity(path) == identity:
            # A store that cannot be written to costs time, not the result.
            with contextlib.suppress(OSError):
                memo.parent.mkdir(parents=True, exist_ok=True)
                draft = memo.with_name(f"{name}.{uuid.uuid4().hex}")
                draft.write_text(f"{identity} {digest}", encoding="ascii")
                draft.replace(memo)
        return digest

    def size_bytes(self) -> int:
        """Return the disk space of all complete entries."""
        return sum(size for _, size, _ in self.entries())

    def prune(self, max_bytes: int, *, unused_s: float = 3600.0) -> int:
        """Remove the entries not used for longest until the rest fit; return the bytes freed.

        Parameters
        ----------
        max_bytes
            What may stay.
        unused_s
            Entries used more recently than this stay in any case: a run may be reading them.
        """
        entries = sorted(self.entries())
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

    def sweep(self) -> int:
        """Remove what killed runs left unfinished; return the number of folders removed."""
        removed = 0
        with contextlib.suppress(OSError):
            for folder in (self.root / _UNFINISHED).iterdir():
                if _is_abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
        return removed

    def _new_unfinished(self) -> Path:
        owner = f"{os.getpid()}@{socket.gethostname()}"
        return self.root / _UNFINISHED / f"{uuid.uuid4().hex}.{owner}"

    def entries(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each complete entry was last used, its size in bytes and its folder."""
        for done in self.root.glob(f"[!.]*/*/{_DONE}"):
            with contextlib.suppress(OSError):
                size = sum(p.stat().st_size for p in done.parent.rglob("*") if p.is_file())
                yield done.stat().st_mtime, size, done.parent


def _identity(path: Path) -> str:
    stat = path.stat()
    # The change time tells of a rewrite that put the old modification time back.
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}:{stat.st_ino}"


def _read_whole(place: Path) -> dict[str, Any] | None:
    """Return the record of a complete, undamaged entry, else ``None``."""
    try:
        done = json.loads((place / _DONE).read_text(encoding="utf-8"))
        for name, size in done["files"].items():
            if (place / name).stat().st_size != size:
                return None
        record = done["record"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if isinstance(record, dict) else None


def _publish(finished: Path, place: Path) -> dict[str, Any]:
    """Rename a finished folder to its place, unless an undamaged one is there; return its record.

    A folder is never renamed over one with files in it, so of two runs the first wins.
    """
    failure: OSError | None = None
    for _ in range(_PUBLISH_ATTEMPTS):
        try:
            finished.rename(place)
        except OSError as error:
            failure = error
        record = _read_whole(place)
        if record is not None:
            return record
        if place.exists():
            owner = finished.name.partition(".")[2]
            _discard(place, finished.with_name(f"{uuid.uuid4().hex}.{owner}"))
    raise OSError(f"{place} cannot be written: check its permissions") from failure


def _discard(place: Path, aside: Path) -> None:
    """Take an entry out of the store in one move, then remove it."""
    with contextlib.suppress(OSError):
        aside.parent.mkdir(parents=True, exist_ok=True)
        place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    owner = folder.name.partition(".")[2]
    pid, _, host = owner.partition("@")
    # Elsewhere than on POSIX, signal 0 is not a question but Ctrl-C.
    if os.name == "posix" and host == socket.gethostname() and pid.isdecimal():
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
    try:
        return time.time() - folder.stat().st_mtime > _ABANDONED_S
    except OSError:
        return False
