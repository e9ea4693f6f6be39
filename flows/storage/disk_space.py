"""A full disk, told by its name and with what to do about it."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import InputError, Problem

__all__ = ["space_told"]

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_TOO_LARGE = errno.EFBIG
# Libraries that write audio tell of a full disk in words of their own, or of none.
_NO_ROOM_BYTES = 1 << 20


@contextlib.contextmanager
def space_told(folder: Path, remedy: str) -> Iterator[None]:
    """Raise what fails inside the block because a folder's disk is full as such an error.

    Raises
    ------
    InputError
        Naming the folder, its disk and the remedy.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == _TOO_LARGE:
            what = (
                f"the disk at {_mount_of(folder)}, or a limit (ulimit -f), takes no file so large"
            )
            raise InputError([Problem(str(folder), what, remedy)]) from error
        if _is_full(folder, error):
            free = _free_bytes(folder)
            what = f"the disk at {_mount_of(folder)} is full"
            if isinstance(error, OSError) and error.errno != errno.ENOSPC:
                what = f"the disk at {_mount_of(folder)} has no room left for this user"
            if free is not None:
                what += f": {free / 1e6:.1f} MB are free"
            raise InputError([Problem(str(folder), what, remedy)]) from error
        raise


def _is_full(folder: Path, error: Exception) -> bool:
    free = _free_bytes(folder)
    if isinstance(error, OSError) and error.errno in _FULL:
        # Which may be another disk's affair; it would be told there.
        named = isinstance(error.filename, str) and Path(error.filename).is_relative_to(folder)
        return named or error.errno != errno.ENOSPC or free is None or free < 64 * _NO_ROOM_BYTES
    return free is not None and free < _NO_ROOM_BYTES


def _free_bytes(folder: Path) -> int | None:
    for place in (folder, *folder.absolute().parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def _mount_of(folder: Path) -> Path:
    """Return where the file system of a folder is mounted."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    device = place.stat().st_dev
    while place.parent != place and place.parent.stat().st_dev == device:
        place = place.parent
    return place
