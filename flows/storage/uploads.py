"""Output at a URL: written on this machine, then uploaded whole.

Objects cannot be renamed together, so a reader of an upload needs to be told that all of it is
there: ``uploaded.json`` is written last and lists every file with its size. The plans go first: a
folder with a plan is taken for a mix, never for tracks, however much of it is there.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flows.interrupts import lost_interrupts
from flows.processes import is_abandoned, owner
from flows.storage.disk_space import space_told
from flows.storage.locations import cache_root
from flows.storage.object_store import ObjectFolder, in_parallel
from flows.storage.retries import as_input_error
from pipeline.errors import InputError, Problem, Problems

__all__ = ["UPLOADED", "new_remote_folder", "remote_folder_problems", "staging"]

UPLOADED = "uploaded.json"
_PLAN = "plan.json"
_ROOM = "make room there, or set STEMWRIGHT_STAGING to a folder on another disk"


def staging() -> Path:
    """Return the folder where outputs are written before their upload.

    ``STEMWRIGHT_STAGING``, else in the user's cache.
    """
    return cache_root("STEMWRIGHT_STAGING", "staging")


def remote_folder_problems(url: str) -> tuple[Problem, ...]:
    """Return what keeps a new output folder from being written at a URL, found by trying."""
    problems = Problems()
    with problems.collected(), as_input_error():
        there = ObjectFolder(url)
        objects = there.list()
        if objects:
            plans = [n for n in objects if n == _PLAN or n.partition("/")[2] == _PLAN]
            half = plans and UPLOADED not in objects
            what = "holds an upload that did not end" if half else "exists already"
            return (Problem(url, what, "name another folder with --output"),)
        problems += there.problems()
    return tuple(problems)


@contextlib.contextmanager
def new_remote_folder(url: str) -> Iterator[Path]:
    """Give a folder to write into, uploaded to a URL when all went well.

    Raises
    ------
    InputError
        If there is anything at the URL.
    OSError
        If the upload fails; what was uploaded by then is removed again.
    """
    _refuse(url)
    _sweep()
    staging().mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix="output-", suffix=f".{owner()}", dir=staging()))
    try:
        with space_told(staging(), _ROOM), lost_interrupts() as raise_lost:
            yield part
            raise_lost()
        _refuse(url)
        _upload(part, ObjectFolder(url))
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _refuse(url: str) -> None:
    problems = remote_folder_problems(url)
    if problems:
        raise InputError(problems)


def _upload(part: Path, target: ObjectFolder) -> None:
    sizes = {
        path.relative_to(part).as_posix(): path.stat().st_size
        for path in sorted(part.rglob("*"))
        if path.is_file()
    }
    plans = [name for name in sizes if name.rpartition("/")[2] == _PLAN]
    try:
        for names in (plans, [name for name in sizes if name not in plans]):
            in_parallel(lambda name: target.upload(part / name, name), names)
        target.write(UPLOADED, json.dumps({"files": sizes}, indent=1).encode() + b"\n")
    except BaseException:
        with contextlib.suppress(Exception):
            target.remove([UPLOADED, *sizes])
        raise


def _sweep() -> None:
    """Remove what killed runs left."""
    with contextlib.suppress(OSError):
        for folder in staging().glob("output-*"):
            if is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
