"""What files hold, as a hash that is remembered until they change."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from pathlib import Path

__all__ = ["CLOCK_TICK_S", "DIGEST_BYTES", "content_hash", "identity", "remember"]

DIGEST_BYTES = 20
"""Of the BLAKE2b hashes that results are known by."""

CLOCK_TICK_S = 2.0
"""Clocks of file systems tick as coarsely as this (FAT).

A file written so recently may change again without its time stamp telling.
"""


def identity(path: Path) -> str:
    """Return what tells a file from one that took its place or that was written to since.

    Raises
    ------
    OSError
        If there is none.
    """
    stat = path.stat()
    # The change time tells of a rewrite that put the old modification time back.
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}:{stat.st_ino}"


def content_hash(path: Path, memory: Path) -> str:
    """Return a hash of a file's content, remembered in a folder until the file changes.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    path = Path(path).resolve()
    name = hashlib.blake2b(os.fsencode(path), digest_size=DIGEST_BYTES).hexdigest()
    place = memory / name[:2] / name
    before = identity(path)
    with contextlib.suppress(OSError, ValueError):
        known, _, digest = place.read_text(encoding="ascii").partition(" ")
        if known == before and len(digest) == 2 * DIGEST_BYTES:
            return digest
    with path.open("rb") as file:
        digest = hashlib.file_digest(
            file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)
        ).hexdigest()
    settled = time.time() - path.stat().st_mtime > CLOCK_TICK_S
    if settled and identity(path) == before:
        remember(place, f"{before} {digest}")
    return digest


def remember(place: Path, text: str) -> bool:
    """Write a small file whole or not at all; return whether it could be written.

    What is only remembered may be lost: a folder that cannot be written to costs time, no result.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f"{place.name}.{uuid.uuid4().hex}")
        draft.write_text(text, encoding="utf-8")
        draft.replace(place)
    except OSError:
        return False
    return True
