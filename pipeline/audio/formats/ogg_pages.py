"""The pages of Ogg (RFC 3533): the streams that lie in a file, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.audio.formats.spliced_file import Span
from pipeline.jit import kernel

__all__ = ["OggLinks", "ogg_damage", "ogg_links"]

_HEAD_BYTES = 27
_BEGINS, _ENDS = 2, 4
_MOST_LINKS = 10_000


@dataclass(frozen=True)
class OggLinks:
    """The streams of a file, one behind the other.

    Parameters
    ----------
    spans
        Where each lies.
    ends
        Whether the last page says that it is the last.
    cut
        Whether the last page is not whole.
    """

    spans: tuple[Span, ...]
    ends: bool
    cut: bool


def ogg_links(path: Path) -> OggLinks:
    """Find the streams of an Ogg file.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    starts: list[int] = []
    beginning = ends = cut = False
    with path.open("rb") as file:
        file_bytes = file.seek(0, 2)
        position = 0
        while position < file_bytes:
            file.seek(position)
            head = file.read(_HEAD_BYTES + 255)
            if head[:4] != b"OggS"[: len(head)]:
                break  # a tag that some programs append, or damage: the pages' check tells
            if len(head) < _HEAD_BYTES or len(head) < _HEAD_BYTES + head[26]:
                cut = True
                break
            lengths = head[_HEAD_BYTES : _HEAD_BYTES + head[26]]
            end = position + _HEAD_BYTES + len(lengths) + sum(lengths)
            if end > file_bytes:
                cut = True
                break
            # Streams that begin one right behind the other lie side by side, as pictures do.
            if head[5] & _BEGINS and not beginning and len(starts) < _MOST_LINKS:
                starts.append(position)
            beginning = bool(head[5] & _BEGINS)
            ends = bool(head[5] & _ENDS)
            position = end
    starts = starts or [0]
    spans = tuple(zip(starts, [*starts[1:], position], strict=True))
    return OggLinks(spans, ends, cut)


@kernel
def _ogg_checksum(page: npt.NDArray[np.uint8]) -> np.uint32:  # pragma: no cover - compiled
    """CRC-32 of an Ogg page: polynomial 0x04c11db7, from 0, not reflected."""
    table = np.empty(256, np.uint32)
    for i in range(256):
        r = np.uint32(i) << np.uint32(24)
        for _ in range(8):
            top = r >> np.uint32(31)
            r = np.uint32(r << np.uint32(1))
            if top:
                r = np.uint32(r ^ np.uint32(0x04C11DB7))
        table[i] = r
    crc = np.uint32(0)
    for byte in page:
        index = (crc >> np.uint32(24)) ^ np.uint32(byte)
        crc = np.uint32(np.uint32(crc << np.uint32(8)) ^ table[index])
    return crc


def ogg_damage(path: Path) -> str | None:
    """Say what is wrong with the pages of an Ogg file, which decoders pass over in silence.

    Returns
    -------
    str or None
        None when the checksum of every whole page is right.

    Raises
    ------
    OSError
        When the file cannot be opened or read.
    """
    number, ends = 0, False
    with path.open("rb") as file:
        while head := file.read(27):
            if len(head) == 27 and head[:4] != b"OggS":
                # Tags that some programs append after the stream are no damage.
                return None if ends else f"is damaged: its Ogg page {number + 1} is not one"
            lengths = file.read(head[26]) if len(head) == 27 else b""
            body = file.read(sum(lengths))
            if len(head) < 27 or len(lengths) < head[26] or len(body) < sum(lengths):
                return None  # told by the header's reading: see OggLinks
            number += 1
            page = head[:22] + bytes(4) + head[26:] + lengths + body
            if _ogg_checksum(np.frombuffer(page, np.uint8)) != int.from_bytes(
                head[22:26], "little"
            ):
                return f"is damaged: the checksum of its Ogg page {number} is wrong"
            ends = bool(head[5] & 4)
    return None
