"""Files of remote folders, mirrored on this machine, and named so that another one finds them.

A view is a folder of this machine with the files of a remote folder as they were at one listing:
``<mirrors>/<view>/<song>/...``. What changes there makes another view, so a run reads one state of
a session or says that it changed meanwhile. A step is given a :class:`RemoteFile` where
a local session has a path; it gets what it needs by :func:`near_file` and :func:`near_folder`,
whichever machine it runs on.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.storage.locations import cache_root, name_of
from flows.storage.object_store import ObjectFolder, StoredObject, in_parallel
from pipeline.errors import InputError, Problem

__all__ = [
    "FilePlace",
    "FolderPlace",
    "RemoteFile",
    "mirror",
    "mirrors",
    "named",
    "near_file",
    "near_folder",
    "shared_file",
    "shared_folder",
]

# What all views together may grow to, and how long one that was used stays in any case.
_MIRROR_BYTES = 50 * 1024**3
_IN_USE_S = 12 * 3600.0
_SPARE_BYTES = 512 * 1024**2
_LISTING = "listing.json"
_USED = "used"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a remote folder as it was when the folder was listed.

    Parameters
    ----------
    url
        Of the folder.
    view
        Names the listing.
    name
        POSIX path in the folder.
    """

    url: str
    view: str
    name: str
    size: int
    identity: str


FilePlace = Path | RemoteFile
FolderPlace = Path | tuple[RemoteFile, ...]
"""A folder, or some files of a remote one."""


def mirrors() -> Path:
    """Return the folder of all views: ``STEMWRIGHT_MIRROR``, else in the user's cache."""
    return cache_root("STEMWRIGHT_MIRROR", "mirror")


def near_file(place: FilePlace) -> Path:
    """Return where a file lies on this machine, which may have to get it first.

    Raises
    ------
    InputError
        If it is not there any more as it was listed.
    OSError
        If it cannot be fetched.
    """
    if isinstance(place, Path):
        return place
    return _root(place.url, place.view, [place]) / place.name


def near_folder(place: FolderPlace) -> Path:
    """Return where a folder lies on this machine, with the files that are named of it."""
    if isinstance(place, Path):
        return place
    return _root(place[0].url, place[0].view, place)


def shared_file(path: Path) -> FilePlace:
    """Return what names a file on every machine: a path, but for one in a view."""
    files, name = _in_view(path)
    return files.get(name, path) if files else path.absolute()


def shared_folder(root: Path, names: Iterable[str]) -> FolderPlace:
    """Return what names some files of a folder on every machine: a path, but for a view."""
    files, _ = _in_view(root)
    if not files:
        return root.absolute()
    return tuple(files[name] for name in names) or root


def named(path: Path) -> str | None:
    """Return the URL of what a path of this machine is the mirror of, if it is one."""
    files, name = _in_view(path)
    url = next((file.url for file in files.values()), None)
    return f"{url}/{name}" if url and name else url


def mirror(
    url: str,
    objects: Sequence[StoredObject],
    *,
    wanted: Callable[[Path], Iterable[str]],
    first: Iterable[str] = (),
    on_file: Callable[[int, int], None] | None = None,
) -> Path:
    """Make the view of a remote folder, and return it.

    Parameters
    ----------
    objects
        What is in the folder; every one has a name in the view, empty where it is not wanted.
    first
        Names of those to fetch before it is asked which others are.
    wanted
        Given the view, returns the names of those to fetch.
    on_file
        Told how many files were fetched, and of how many.

    Raises
    ------
    InputError
        If an object changed while it was fetched, or there is no room for it.
    OSError
        If one cannot be fetched.
    """
    told = json.dumps([url, sorted((o.name, o.identity) for o in objects)])
    view = hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
    files = {o.name: RemoteFile(url, view, o.name, o.size, o.identity) for o in objects}
    root = _root(url, view, [])
    for name in files:
        path = root / _safe(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():  # a new time would have its content hashed anew
            path.touch()
    early = [files[name] for name in first]
    _take_over(root, [f for f in files.values() if not _is_there(root, f)])
    _fetch(root, early)
    chosen = [files[name] for name in wanted(root)]
    _fetch(root, chosen, on_file)
    kept = {file.name: file for file in (*early, *chosen)}
    _files_of.cache_clear()
    if _files_of(root.parent) != kept:
        told = json.dumps({"files": {name: asdict(file) for name, file in kept.items()}})
        _write(root.parent / _LISTING, told)
        _files_of.cache_clear()
    return root


def _root(url: str, view: str, files: Sequence[RemoteFile]) -> Path:
    """Return a view's folder on this machine with some files in it."""
    if not view.isalnum():
        raise ValueError(f"{view!r} is no view")
    root = mirrors() / view / _safe(name_of(url))
    if not root.is_dir():
        _tidy()
        root.mkdir(parents=True, exist_ok=True)
    # Marked before it is looked into: what is being removed meanwhile is fetched anew.
    (root.parent / _USED).touch()
    _fetch(root, files)
    return root


def _safe(name: str) -> str:
    """Return a name that cannot lead out of a folder, or raise."""
    parts = name.split("/")
    if any(p in ("", ".", "..") or "\0" in p for p in parts) or Path(name).is_absolute():
        raise ValueError(f"{name!r} is no name of a file")
    if os.name == "nt" and any(set(p) & set('\\:*?"<>|') for p in parts):
        raise ValueError(f"{name!r} is no name of a file on this system")
    return name


def _is_there(root: Path, file: RemoteFile) -> bool:
    try:
        return (root / _safe(file.name)).stat().st_size == file.size
    except OSError:
        return False


def _fetch(
    root: Path,
    files: Sequence[RemoteFile],
    on_file: Callable[[int, int], None] | None = None,
) -> None:
    """Download those files of a view that are not on this machine, each whole or not at all."""
    missing = [file for file in files if not _is_there(root, file)]
    if not missing:
        return
    needed, free = sum(file.size for file in missing), shutil.disk_usage(root).free
    if needed + _SPARE_BYTES > free:
        what = f"{needed / 1e9:.1f} GB are needed to mirror it, and {free / 1e9:.1f} GB are free"
        remedy = "set STEMWRIGHT_MIRROR to a folder with more room"
        raise InputError([Problem(missing[0].url, what, remedy)])
    source, done = ObjectFolder(missing[0].url), itertools.count(1)
    in_parallel(
        lambda file: _download(source, file, root / _safe(file.name)),
        missing,
        lambda _: on_file(next(done), len(missing)) if on_file is not None else None,
    )


def _download(source: ObjectFolder, file: RemoteFile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parents[len(Path(file.name).parts)] / f".part-{uuid.uuid4().hex}"
    try:
        source.download(file.name, part)
        # The same before and after: what came is what was listed.
        now = source.look(file.name)
        if now is None or now.identity != file.identity or part.stat().st_size != file.size:
            raise FileNotFoundError
        part.replace(path)
    except FileNotFoundError as error:
        what = "changed or went away after the session was looked at"
        raise InputError([Problem(f"{file.url}/{file.name}", what, "run again")]) from error
    finally:
        part.unlink(missing_ok=True)


def _take_over(root: Path, missing: Sequence[RemoteFile]) -> None:
    """Link what an earlier view of the same folder has already."""
    wanted = {(file.name, file.identity): file for file in missing}
    for other in mirrors().glob(f"*/{_LISTING}"):
        if not wanted or other.parent == root.parent:
            continue
        folder = other.parent / root.name
        for name, file in _files_of(other.parent).items():
            found = wanted.get((name, file.identity))
            if found is None or found.url != file.url or not _is_there(folder, file):
                continue
            part = root.parent / f".part-{uuid.uuid4().hex}"
            with contextlib.suppress(OSError):  # gone meanwhile, or no links: it is fetched
                part.hardlink_to(folder / name)
                part.replace(root / name)
                del wanted[name, file.identity]


def _in_view(path: Path) -> tuple[dict[str, RemoteFile], str]:
    """Return the files of the view that a path lies in, none outside of views, and its name."""
    for root in (mirrors().resolve(), mirrors()):
        with contextlib.suppress(ValueError):  # it is not below, or is no part of a view
            view, _song, *names = path.absolute().relative_to(root).parts
            return _files_of(mirrors() / view), "/".join(names)
    return {}, ""


@functools.lru_cache(maxsize=16)
def _files_of(view: Path) -> dict[str, RemoteFile]:
    try:
        told = json.loads((view / _LISTING).read_text(encoding="utf-8"))
        return {name: RemoteFile(**file) for name, file in told["files"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".part-{uuid.uuid4().hex}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _tidy() -> None:
    """Remove the views that were not used for longest, until the others fit."""
    views = []
    for lost in (*mirrors().glob("*/.part-*"), *mirrors().glob(".gone-*")):  # by killed runs
        with contextlib.suppress(OSError):
            if time.time() - lost.stat().st_mtime > _IN_USE_S:
                shutil.rmtree(lost, ignore_errors=True)
                lost.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for used in mirrors().glob(f"*/{_USED}"):
            size = sum(p.stat().st_size for p in used.parent.rglob("*") if p.is_file())
            views.append((used.stat().st_mtime, size, used.parent))
    total = sum(size for _, size, _ in views)
    for when, size, view in sorted(views):
        if total <= _MIRROR_BYTES or time.time() - when < _IN_USE_S:
            break
        aside = view.with_name(f".gone-{uuid.uuid4().hex}")
        with contextlib.suppress(OSError):
            view.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
            total -= size
