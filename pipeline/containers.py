"""What the headers of audio files promise, and the WAV header that we write.

libsndfile reads the samples, but it plays a file that was cut short without a word and does not
tell broadcast time stamps, so the chunks are walked here: RIFF, RF64 and BW64 (EBU Tech 3285 and
3306), Wave64, AIFF and AIFC, CAF, and the pages of Ogg (RFC 3533).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from pipeline.kernels import kernel

__all__ = ["WAV_HEADER_BYTES", "Header", "ogg_damage", "read_header", "wav_header"]

# Sizes that writers to a pipe leave in the header for "unknown" (ffmpeg, SoX, GStreamer).
_UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFF000, 0)

# A sane file has dozens; a hostile one may hold millions of empty chunks.
_MOST_CHUNKS = 10_000

_BEXT_TIME_REFERENCE = 338  # EBU Tech 3285: after the texts of 256, 32, 32, 10 and 8 bytes

_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")

Chunk = tuple[bytes, int, int | None]


@dataclass(frozen=True)
class Header:
    """What the chunks of a file say about it.

    Parameters
    ----------
    promised_bytes
        Length of the audio data by the header; None where the header leaves it open.
    held_bytes
        How many of them the file holds.
    time_reference
        Start in samples since midnight, from the broadcast extension; None without one.
    audio_start
        Where the audio data begins, in bytes from the start of the file.
    form
        What kind of file it says to be: ``b"RIFFWAVE"``, ``b"FORMAIFF"``.
    """

    promised_bytes: int | None
    held_bytes: int
    time_reference: int | None = None
    audio_start: int = 0
    form: bytes = b""

    @property
    def missing_bytes(self) -> int:
        """Bytes of audio that the header promises and the file does not hold."""
        return 0 if self.promised_bytes is None else max(0, self.promised_bytes - self.held_bytes)


def read_header(path: Path) -> Header | None:
    """Walk the chunks of a WAV, RF64, BW64, W64, AIFF, AIFC or CAF file.

    Returns
    -------
    Header or None
        None for any other kind of file, or one whose header ends before its audio data.

    Raises
    ------
    OSError
        When the file cannot be opened or read.
    """
    with path.open("rb") as file:
        file_bytes = file.seek(0, 2)
        file.seek(0)
        start = file.read(40)
        file.seek(0)
        if start[8:12] == b"WAVE" and start[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
            chunks = _riff_chunks(file, file_bytes, "big" if start[:4] == b"RIFX" else "little")
        elif start[:16] == _W64_RIFF:
            chunks = _w64_chunks(file, file_bytes)
        elif start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
            chunks = _aiff_chunks(file, file_bytes)
        elif start[:4] == b"caff":
            chunks = _caf_chunks(file, file_bytes)
        else:
            return None
        return _gather(file, file_bytes, chunks, form=start[:4] + start[8:12])


def _gather(
    file: BinaryIO, file_bytes: int, chunks: Iterator[Chunk], *, form: bytes
) -> Header | None:
    data: tuple[int, int | None] | None = None
    time_reference = None
    for _, (name, start, size) in zip(range(_MOST_CHUNKS), chunks, strict=False):
        if name == b"audio" and data is None:
            data = (start, size)
        elif name == b"bext" and size is not None and size >= _BEXT_TIME_REFERENCE + 8:
            file.seek(start + _BEXT_TIME_REFERENCE)
            field = file.read(8)
            if len(field) == 8:
                time_reference = int.from_bytes(field, "little")
    if data is None:
        return None
    start, size = data
    held = max(0, file_bytes - start)
    return Header(size, held if size is None else min(held, size), time_reference, start, form)


def _riff_chunks(
    file: BinaryIO, file_bytes: int, order: Literal["big", "little"]
) -> Iterator[Chunk]:
    """Yield name, start and size of each chunk; the audio data is named ``audio``."""
    position = 12
    long_data_bytes: int | None = None
    while position + 8 <= file_bytes:
        file.seek(position)
        name = file.read(4)
        size = int.from_bytes(file.read(4), order)
        start = position + 8
        if name == b"ds64":
            long_data_bytes = int.from_bytes(file.read(16)[8:], "little")
        if name == b"data":
            known: int | None = size
            if size == 0xFFFFFFFF and long_data_bytes is not None:
                known = long_data_bytes
            elif size in _UNKNOWN_SIZES:
                known = None
            yield b"audio", start, known
            if known is None:
                return
            size = known
        else:
            yield name, start, size
        position = start + size + size % 2


def _w64_chunks(file: BinaryIO, file_bytes: int) -> Iterator[Chunk]:
    position = 40
    while position + 24 <= file_bytes:
        file.seek(position)
        guid = file.read(16)
        size = int.from_bytes(file.read(8), "little")  # with the 24 bytes of this header
        if size < 24:
            if guid[:4] == b"data":
                yield b"audio", position + 24, None
            return
        name = guid[:4] if guid[4:] == _W64_TAIL else b""
        yield (b"audio" if name == b"data" else name), position + 24, size - 24
        position += -(-size // 8) * 8


def _aiff_chunks(file: BinaryIO, file_bytes: int) -> Iterator[Chunk]:
    position = 12
    while position + 8 <= file_bytes:
        file.seek(position)
        name = file.read(4)
        size = int.from_bytes(file.read(4), "big")
        if name == b"SSND":
            unknown = size in _UNKNOWN_SIZES
            # The offset and block size fields come before the samples.
            yield b"audio", position + 16, None if unknown else max(0, size - 8)
            if unknown:
                return
        position += 8 + size + size % 2


def _caf_chunks(file: BinaryIO, file_bytes: int) -> Iterator[Chunk]:
    position = 8
    while position + 12 <= file_bytes:
        file.seek(position)
        name = file.read(4)
        size = int.from_bytes(file.read(8), "big", signed=True)
        if name == b"data":
            # The edit count comes before the samples; -1 means "up to the end of the file".
            yield b"audio", position + 16, None if size < 0 else max(0, size - 4)
        if size < 0:
            return
        position += 12 + size


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
        None when every page is whole, its checksum is right, and the last one ends the stream.

    Raises
    ------
    OSError
        When the file cannot be opened or read.
    """
    number = 0
    ends = False
    with path.open("rb") as file:
        while head := file.read(27):
            if len(head) == 27 and head[:4] != b"OggS":
                # Tags that some programs append after the stream are no damage.
                return None if ends else f"is damaged: its Ogg page {number + 1} is not one"
            lengths = file.read(head[26]) if len(head) == 27 else b""
            body = file.read(sum(lengths))
            if len(head) < 27 or len(lengths) < head[26] or len(body) < sum(lengths):
                return "is truncated: its last Ogg page is not whole"
            number += 1
            page = head[:22] + bytes(4) + head[26:] + lengths + body
            if _ogg_checksum(np.frombuffer(page, np.uint8)) != int.from_bytes(
                head[22:26], "little"
            ):
                return f"is damaged: the checksum of its Ogg page {number} is wrong"
            ends = bool(head[5] & 4)
    return None if ends else "is truncated: its Ogg stream has no end"


WAV_HEADER_BYTES = 92

_LONGEST_RIFF = 0xFFFFFFFF


def wav_header(*, channels: int, sample_rate: int, bits: int, is_float: bool, frames: int) -> bytes:
    """Return the header of a WAV file, or of an RF64 file where 32-bit sizes do not reach.

    Both have the same length, so that a file can be begun before its length is known: a WAV
    keeps the room of RF64's ``ds64`` chunk in a ``JUNK`` chunk (EBU Tech 3306).

    Returns
    -------
    bytes
        :data:`WAV_HEADER_BYTES` of them; the samples follow, then a zero if their size is odd.
    """
    frame_bytes = channels * bits // 8
    data_bytes = frames * frame_bytes
    riff_bytes = WAV_HEADER_BYTES - 8 + data_bytes + data_bytes % 2
    long = riff_bytes > _LONGEST_RIFF
    sizes = struct.pack("<QQQI", riff_bytes, data_bytes, frames, 0)
    fmt = struct.pack(
        "<HHIIHH",
        3 if is_float else 1,
        channels,
        sample_rate,
        sample_rate * frame_bytes,
        frame_bytes,
        bits,
    )
    fact = struct.pack("<4sII", b"fact", 4, min(frames, 0xFFFFFFFF))
    return b"".join(
        (
            struct.pack(
                "<4sI4s", b"RF64" if long else b"RIFF", min(riff_bytes, _LONGEST_RIFF), b"WAVE"
            ),
            struct.pack("<4sI", b"ds64" if long else b"JUNK", len(sizes)),
            sizes if long else bytes(len(sizes)),
            struct.pack("<4sI", b"fmt ", len(fmt)),
            fmt,
            fact,
            struct.pack("<4sI", b"data", _LONGEST_RIFF if long else data_bytes),
        )
    )
