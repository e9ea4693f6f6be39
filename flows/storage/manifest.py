"""What an entry of the store says of itself: its record, and each file's size and checksum.

The checksum is CRC-32, which tells every flipped bit and costs less than a file's copy does; it is
a guard against disks, not against people.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Manifest", "StoredFile", "is_intact", "list_files"]

_READ_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """Size in bytes and CRC-32 of a file."""

    size: int
    checksum: int


@dataclass(frozen=True)
class Manifest:
    """The files of an entry by their POSIX paths in it, and what was committed with them."""

    files: Mapping[str, StoredFile]
    record: dict[str, Any] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return the manifest as it is written, with a checksum of its own."""
        body = _body({name: [f.size, f.checksum] for name, f in self.files.items()}, self.record)
        return json.dumps({**body, "checksum": _of_body(body)}).encode("ascii")

    @classmethod
    def parse(cls, raw: bytes) -> Manifest | None:
        """Return what was written; None for what is damaged or nothing of ours."""
        try:
            told = json.loads(raw)
            body = _body(told["files"], told["record"])
            files = {
                str(name): StoredFile(int(size), int(checksum))
                for name, (size, checksum) in body["files"].items()
            }
            if told["checksum"] != _of_body(body) or not isinstance(body["record"], dict):
                return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        # Others may write there too: no name may lead out of the entry.
        return None if any(map(_leads_out, files)) else cls(files, body["record"])


def list_files(folder: Path) -> dict[str, StoredFile]:
    """Return what lies in a folder, by POSIX paths in it."""
    return {
        path.relative_to(folder).as_posix(): _look_at(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def is_intact(path: Path, expected: StoredFile) -> bool:
    """Return whether a file holds what it held when it was made."""
    try:
        return path.stat().st_size == expected.size and _look_at(path) == expected
    except OSError:
        return False


def _look_at(path: Path) -> StoredFile:
    size = checksum = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_READ_AT_ONCE):
            size += len(block)
            checksum = zlib.crc32(block, checksum)
    return StoredFile(size, checksum)


def _body(files: Any, record: Any) -> dict[str, Any]:
    return {"record": record, "files": files}


def _of_body(body: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(body).encode("ascii"))


def _leads_out(name: str) -> bool:
    parts = name.split("/")
    return any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts)
