"""A file seen as if some of its bytes were others, or not there.

What is wrong with a header is put right in what the decoder sees; the user's file stays as it is.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Span", "SplicedFile", "patched"]

Span = tuple[int, int]
"""First byte and the one behind the last."""


class SplicedFile(io.RawIOBase):
    """Pieces of a file and other bytes, read as one.

    Parameters
    ----------
    path
        The file.
    pieces
        Bytes as they are, or spans of the file.

    Raises
    ------
    OSError
        When the file cannot be opened or read.
    """

    def __init__(self, path: Path, pieces: Sequence[bytes | Span]) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._pieces = [p for p in pieces if (bool(p) if isinstance(p, bytes) else p[0] < p[1])]
        self._starts = [0]
        for piece in self._pieces:
            length = len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
            self._starts.append(self._starts[-1] + length)
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in what is seen."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position in what is seen."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        """Fill a buffer as far as there are bytes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        done = 0
        while done < len(view) and self._position < self._starts[-1]:
            index = bisect_right(self._starts, self._position) - 1
            piece, inside = self._pieces[index], self._position - self._starts[index]
            count = min(len(view) - done, self._starts[index + 1] - self._position)
            if isinstance(piece, bytes):
                view[done : done + count] = piece[inside : inside + count]
            else:
                self._file.seek(piece[0] + inside)
                count = self._file.readinto(view[done : done + count])
                if not count:
                    break
            done += count
            self._position += count
        return done

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def patched(patches: Mapping[int, bytes], file_bytes: int) -> list[bytes | Span]:
    """Return the pieces of a file with other bytes at some places, which do not overlap."""
    pieces: list[bytes | Span] = []
    position = 0
    for place in sorted(patches):
        pieces += [(position, place), patches[place]]
        position = place + len(patches[place])
    return [*pieces, (position, file_bytes)]
