"""The length of a FLAC stream (RFC 9639), by its last frame where its header leaves it open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel

__all__ = ["FlacEnd", "flac_end"]

_SEARCHED_BYTES = 2**20  # a frame of 65535 samples in two channels of 32 bits is half of it
_ID3V1_BYTES = 128
_BLOCK_SIZES = {1: 192, **{i: 576 << (i - 2) for i in range(2, 6)},
                **{i: 256 << (i - 8) for i in range(8, 16)}}  # fmt: skip


@kernel
def _crc(
    data: npt.NDArray[np.uint8], bits: int, polynomial: int
) -> int:  # pragma: no cover - compiled
    top, mask, crc = np.int64(1 << (bits - 1)), np.int64((1 << bits) - 1), np.int64(0)
    for byte in data:
        crc ^= np.int64(byte) << (bits - 8)
        for _ in range(8):
            crc = ((crc << 1) ^ polynomial) & mask if crc & top else (crc << 1) & mask
    return int(crc)


@dataclass(frozen=True)
class FlacEnd:
    """Where a stream ends.

    Parameters
    ----------
    samples
        Per channel up to the end of its last whole frame.
    cut
        Whether a frame that is not whole follows.
    """

    samples: int
    cut: bool


def flac_end(path: Path, *, block_size: int) -> FlacEnd | None:
    """Return how many samples a stream has per channel, by its last whole frame.

    Parameters
    ----------
    block_size
        Samples of each frame but the last, where frames are numbered.

    Returns
    -------
    FlacEnd or None
        None where there is no whole frame at the end of the file.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    with path.open("rb") as file:
        first = max(0, file.seek(0, 2) - _SEARCHED_BYTES)
        file.seek(first)
        raw = file.read()
    if raw[-_ID3V1_BYTES:].startswith(b"TAG"):
        raw = raw[:-_ID3V1_BYTES]
    ends = [len(raw)]  # of the file, and where what may be a later frame begins
    place = raw.rfind(b"\xff")
    while place >= 0:
        samples = _frame_end(raw, place, block_size)
        if samples is not None:
            for end in ends:
                # The checksum of a frame and its own checksum is 0.
                if _crc(np.frombuffer(raw[place:end], np.uint8), 16, 0x8005) == 0:
                    return FlacEnd(samples, end != len(raw))
            ends.append(place)
        place = raw.rfind(b"\xff", 0, place)
    return None


def _frame_end(raw: bytes, place: int, block_size: int) -> int | None:
    """Return the sample behind the frame whose header may begin here."""
    head = raw[place : place + 16]
    if len(head) < 6 or head[1] & 0xFE != 0xF8:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    if size_code == 0 or rate_code == 15 or head[3] >> 4 > 10 or head[3] & 1:
        return None
    # A number coded as UTF-8 would be, of up to 36 bits.
    lead = head[4]
    more = 0
    while more < 7 and lead & 0x80 >> more:
        more += 1
    if more == 1 or more > 7:
        return None
    number = lead & (0x7F if more == 0 else 0xFF >> (more + 1))
    position = 5
    for byte in head[5 : 5 + max(0, more - 1)]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
        position += 1
    if size_code in (6, 7):
        width = size_code - 5
        samples = int.from_bytes(head[position : position + width], "big") + 1
        position += width
    else:
        samples = _BLOCK_SIZES[size_code]
    position += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if position >= len(head) or _crc(np.frombuffer(head[: position + 1], np.uint8), 8, 0x07) != 0:
        return None
    return (number if head[1] & 1 else number * block_size) + samples
