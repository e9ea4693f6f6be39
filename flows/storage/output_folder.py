"""The new folder that a run writes into: where it lies, and that it is whole or not there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from flows.interrupts import lost_interrupts
from flows.processes import is_dead, owner
from flows.storage.disk_space import space_told
from flows.storage.locations import Place, inside, parse_place
from flows.storage.uploads import new_remote_folder, remote_folder_problems, staging
from pipeline.errors import InputError, Problem

__all__ = [
    "choose_folder",
    "copy_file",
    "folder_problems",
    "new_folder",
    "place_problems",
    "relative_path",
    "reserved",
    "sweep_parts",
    "written_through",
]

# Killed processes leave theirs behind: the name tells whose it was.
_PART = re.compile(r"\..*\.[0-9a-f]{8}\.(?P<pid>\d+)@(?P<host>.+)\.part", re.DOTALL)
_LONGEST_NAME = 30
_ROOM = "make room there, or name a folder on another disk with --output"
_COPIED_AT_ONCE = 1 << 20


@contextlib.contextmanager
def new_folder(folder: Place) -> Iterator[Path]:
    """Give a temporary neighbour of ``folder`` to write into, renamed to it when all went well.

    Neighbours that killed runs left there are removed. What is to be at a URL is written on this
    machine and uploaded then.

    Raises
    ------
    InputError
        If ``folder`` exists: nothing is ever overwritten.
    """
    if isinstance(folder, str):
        with new_remote_folder(folder) as part:
            yield part
        return
    _refuse(folder)
    made = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep_parts(folder.parent)
    part = folder.with_name(f".{folder.name[:_LONGEST_NAME]}.{uuid.uuid4().hex[:8]}.{owner()}.part")
    part.mkdir()
    try:
        with space_told(folder.parent, _ROOM), lost_interrupts() as raise_lost:
            yield part
            raise_lost()
        _refuse(folder)
        # Empty: elsewhere it is renamed over, and never free for another run.
        if os.name == "nt" and folder.exists():
            folder.rmdir()
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if not folder.exists():
            for parent in made:
                with contextlib.suppress(OSError):  # others write there too
                    parent.rmdir()


def sweep_parts(parent: Path) -> None:
    """Remove the temporary neighbours in a folder whose process, on this machine, is dead."""
    with contextlib.suppress(OSError):
        for part in parent.iterdir():
            told = _PART.fullmatch(part.name)
            if told and told["host"] == socket.gethostname() and is_dead(int(told["pid"])):
                shutil.rmtree(part, ignore_errors=True)


def copy_file(source: Path, target: Path) -> Path:
    """Copy a file of the store to a new one, its folder made if missing; return where it lies.

    Where the file system can, both share the disk until one of them is changed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as original, target.open("xb") as copy:
        if not _copied_by_kernel(original.fileno(), copy.fileno()):
            original.seek(0)
            copy.seek(0)
            shutil.copyfileobj(original, copy, _COPIED_AT_ONCE)
    return target


def _copied_by_kernel(source: int, target: int) -> bool:
    if not hasattr(os, "copy_file_range"):
        return False
    left = os.fstat(source).st_size
    try:
        while left > 0:
            copied = os.copy_file_range(source, target, left)
            if copied == 0:
                return False
            left -= copied
    except OSError:  # two file systems, or one that cannot
        return False
    return True


def folder_problems(folder: Place) -> tuple[Problem, ...]:
    """Return what keeps a new output folder from being written, if anything does."""
    if isinstance(folder, str):
        return remote_folder_problems(folder)
    remedy = "name another folder with --output"
    if folder.is_symlink() or folder.exists():
        empty = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
        return () if empty else (Problem(str(folder), "exists already", remedy),)
    return place_problems(folder, remedy)


def place_problems(folder: Path, remedy: str) -> tuple[Problem, ...]:
    """Return what keeps files from being written into a folder, there already or to be made."""
    above = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not above.is_dir():
        return (Problem(str(folder), f"cannot be made, as {above.name!r} is a file", remedy),)
    try:
        # What is allowed by its mode may be refused by the file system: only trying tells.
        Path(tempfile.mkdtemp(prefix=".stemwright-", suffix=".part", dir=above)).rmdir()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return (Problem(str(folder), f"cannot be made there ({why})", remedy),)
    return ()


def _refuse(folder: Path) -> None:
    problems = folder_problems(folder)
    if problems:
        raise InputError(problems)


def choose_folder(
    named: Place | None, session: Place, name: str
) -> tuple[Place, tuple[Problem, ...]]:
    """Return where output goes, and what keeps it from going there.

    Parameters
    ----------
    named
        By the user; None for ``SESSION/mixes/<time>-<name>``.
    """
    if named is not None:
        try:
            named = parse_place(named, subject="--output")
        except InputError as error:
            return session, error.problems
        folder = named if isinstance(named, str) else named.absolute()
        return folder, folder_problems(folder)
    if isinstance(session, str):
        return _default_url(session, name)
    folder = _default_folder(session.absolute(), name)
    # Of a session that is not there only that is said.
    return folder, folder_problems(folder) if session.is_dir() else ()


@contextlib.contextmanager
def reserved(folder: Place, *, is_own: bool) -> Iterator[Place]:
    """Keep a folder of our own choice for this run; give it, or one beside it if it is taken.

    It is made, empty, and no two runs can make one. If it is still empty in the end it goes.

    Parameters
    ----------
    is_own
        Whether :func:`choose_folder` named it; a folder that the user named stays as it is.
    """
    if not is_own or isinstance(folder, str):
        yield folder
        return
    parent_is_new = not folder.parent.exists()
    folder.parent.mkdir(exist_ok=True)
    count, first = 2, folder
    while True:
        try:
            folder.mkdir()
            break
        except FileExistsError:
            folder, count = first.with_name(f"{first.name}-{count}"), count + 1
    try:
        yield folder
    finally:
        for made in (folder, folder.parent) if parent_is_new else (folder,):
            with contextlib.suppress(OSError):  # it is not empty
                made.rmdir()


def written_through(named: Place | None, session: Place) -> tuple[Path, ...]:
    """Return the folders that must be shared by all who write into a part of an output folder.

    None where it is by default in the session, which is shared anyway.
    """
    try:
        place = session if named is None else parse_place(named)
    except InputError:
        return ()  # told with all else that is wrong
    if isinstance(place, str):
        return (staging(),)
    if named is None:
        return ()
    return (next(parent for parent in place.absolute().parents if parent.is_dir()),)


def _default_name(name: str) -> str:
    safe = re.sub(r"[^\w.-]+", "_", name)[:60] or "reference"
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{safe}"


def _default_url(session: str, name: str) -> tuple[str, tuple[Problem, ...]]:
    # No folder can be kept free there: two runs within a second have names of their own.
    wish = str(inside(session, "mixes", f"{_default_name(name)}-{uuid.uuid4().hex[:6]}"))
    return wish, folder_problems(wish)


def _default_folder(session: Path, name: str) -> Path:
    wish = session / "mixes" / _default_name(name)
    folder, count = wish, 2
    while folder.exists():  # two runs within a second
        folder, count = wish.with_name(f"{wish.name}-{count}"), count + 1
    return folder


def relative_path(path: Path, folder: Place) -> str:
    """Return a path relative to a folder, so that both can move together; else absolute."""
    if isinstance(folder, str):
        return path.resolve().as_posix()
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()
