"""What the headers of audio files promise, and the WAV header that we write.

libsndfile reads the samples, but it plays a file that was cut short without a word and does not
tell broadcast time stamps, so the chunks are walked here: RIFF, RF64 and BW64 (EBU Tech 3285 and
3306), Wave64, AIFF and AIFC, and CAF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from pipeline.audio.formats.data_length import (
    AIFF_CHUNKS,
    CAF_CHUNKS,
    RIFF_CHUNKS,
    RIFX_CHUNKS,
    W64_CHUNKS,
    ChunkFormat,
    SampleFormat,
    data_length,
)

__all__ = ["WAV_HEADER_BYTES", "Header", "read_header", "wav_header"]

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
        How many bytes of the file are audio, whatever the header says.
    time_reference
        Start in samples since midnight, from the broadcast extension; None without one.
    audio_start
        Where the audio data begins, in bytes from the start of the file.
    form
        What kind of file it says to be: ``b"RIFFWAVE"``, ``b"FORMAIFF"``.
    codec
        The format tag of a WAV file or Wave64; 0 for another.
    reason
        Why ``held_bytes`` is not what the header says, in words; None where it is.
    incomplete
        Whether audio that the header promises is missing.
    patches
        Position → bytes: what the header would say if it were right.
    """

    promised_bytes: int | None
    held_bytes: int
    time_reference: int | None = None
    audio_start: int = 0
    form: bytes = b""
    codec: int = 0
    reason: str | None = None
    incomplete: bool = False
    patches: Mapping[int, bytes] = field(default_factory=dict)


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
            form = RIFX_CHUNKS if start[:4] == b"RIFX" else RIFF_CHUNKS
            chunks = _riff_chunks(file, file_bytes, form.order)
        elif start[:16] == _W64_RIFF:
            form = W64_CHUNKS
            chunks = _w64_chunks(file, file_bytes)
        elif start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
            form = AIFF_CHUNKS
            chunks = _aiff_chunks(file, file_bytes)
        elif start[:4] == b"caff":
            form = CAF_CHUNKS
            chunks = _caf_chunks(file, file_bytes)
        else:
            return None
        return _gather(file, file_bytes, chunks, start=start, form=form)


def _gather(
    file: BinaryIO, file_bytes: int, chunks: Iterator[Chunk], *, start: bytes, form: ChunkFormat
) -> Header | None:
    data: tuple[int, int | None] | None = None
    places: dict[bytes, int] = {}
    time_reference = None
    for _, (name, place, size) in zip(range(_MOST_CHUNKS), chunks, strict=False):
        if name == b"audio":
            data = data or (place, size)
        else:
            places.setdefault(name, place)
        if name == b"bext" and size is not None and size >= _BEXT_TIME_REFERENCE + 8:
            file.seek(place + _BEXT_TIME_REFERENCE)
            raw = file.read(8)
            if len(raw) == 8:
                time_reference = int.from_bytes(raw, "little")
    if data is None:
        return None
    place, promised = data
    samples, codec = _sample_format(file, places, form)
    length = data_length(
        file,
        start=place,
        promised=promised,
        file_bytes=file_bytes,
        chunks=form,
        samples=samples,
        whole=start[:4] in (b"RIFF", b"RIFX", b"FORM")
        and abs(int.from_bytes(start[4:8], form.order) + 8 - file_bytes) <= 1,
    )
    # A CAF may leave its length open by the book.
    open_by_the_book = form is CAF_CHUNKS and promised is None
    stale = promised != length.held_bytes
    return Header(
        promised,
        length.held_bytes,
        time_reference,
        place,
        start[:4] + start[8:12],
        codec,
        None if open_by_the_book else length.reason,
        length.incomplete,
        _patches(place, length.held_bytes, file_bytes, places, samples, start) if stale else {},
    )


def _sample_format(
    file: BinaryIO, places: Mapping[bytes, int], form: ChunkFormat
) -> tuple[SampleFormat | None, int]:
    """Return how the samples are stored, and a WAV's format tag."""
    if form is AIFF_CHUNKS:
        if (place := places.get(b"COMM")) is None:
            return None, 0
        file.seek(place)
        raw = file.read(22)
        if len(raw) < 18:
            return None, 0
        channels, _, bits = struct.unpack(">hIh", raw[:8])
        coding = raw[18:22]
        kind: Literal["int", "float", "coded"] = "coded"
        if coding in (b"", b"NONE", b"twos", b"sowt", b"in24", b"in32") or len(raw) == 18:
            kind = "int"
        elif coding.lower() in (b"fl32", b"fl64"):
            kind = "float"
        order: Literal["big", "little"] = "little" if coding == b"sowt" else "big"
        return _checked(kind, -(-bits // 8) * 8, channels, order), 0
    if form is CAF_CHUNKS:
        if (place := places.get(b"desc")) is None:
            return None, 0
        file.seek(place)
        raw = file.read(32)
        if len(raw) < 32:
            return None, 0
        flags, _, _, channels, bits = struct.unpack(">IIIII", raw[12:32])
        kind = "coded" if raw[8:12] != b"lpcm" else "float" if flags & 1 else "int"
        return _checked(kind, bits, channels, "little" if flags & 2 else "big"), 0
    if (place := places.get(b"fmt ")) is None:
        return None, 0
    file.seek(place)
    raw = file.read(40)
    if len(raw) < 16:
        return None, 0
    mark = ">" if form.order == "big" else "<"
    codec, channels, _, _, block, _ = struct.unpack(mark + "HHIIHH", raw[:16])
    if codec == 0xFFFE and len(raw) >= 26:  # WAVEFORMATEXTENSIBLE
        codec = int.from_bytes(raw[24:26], form.order)
    kind = {1: "int", 3: "float"}.get(codec, "coded")  # type: ignore[assignment]
    return _checked(kind, 8 * block // channels if channels else 0, channels, form.order), codec


def _checked(
    kind: Literal["int", "float", "coded"],
    bits: int,
    channels: int,
    order: Literal["big", "little"],
) -> SampleFormat | None:
    if not 1 <= channels <= 1024 or (kind != "coded" and bits not in (8, 16, 24, 32, 64)):
        return None
    if kind == "float" and bits not in (32, 64):
        return None
    return SampleFormat(kind, bits, channels, order)


def _patches(
    place: int,
    held: int,
    file_bytes: int,
    places: Mapping[bytes, int],
    samples: SampleFormat | None,
    start: bytes,
) -> dict[int, bytes]:
    """Return the size fields as they should be."""
    end = place + held
    if start[:16] == _W64_RIFF:
        return {16: end.to_bytes(8, "little"), place - 8: (held + 24).to_bytes(8, "little")}
    if start[:4] == b"caff":
        return {place - 12: (held + 4).to_bytes(8, "big")}
    if start[:4] == b"FORM":
        held = min(held, _LONGEST_RIFF - place)
        patches = {
            4: (place + held - 8).to_bytes(4, "big"),
            place - 12: (held + 8).to_bytes(4, "big"),
        }
        if b"COMM" in places and samples is not None and samples.kind != "coded":
            frames = held // samples.frame_bytes
            patches[places[b"COMM"] + 2] = frames.to_bytes(4, "big")
        return patches
    order: Literal["big", "little"] = "big" if start[:4] == b"RIFX" else "little"
    if start[:4] in (b"RF64", b"BW64") and b"ds64" in places:
        long = (end - 8).to_bytes(8, order) + held.to_bytes(8, order)
        return {places[b"ds64"]: long, place - 4: b"\xff\xff\xff\xff"}
    held = min(held, _LONGEST_RIFF - place)
    return {4: (place + held - 8).to_bytes(4, order), place - 4: held.to_bytes(4, order)}


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
        if not name.isascii() or not name.decode("ascii").isprintable():
            return  # no chunk: what was taken for the end of the audio is inside it
        if name == b"ds64":
            long_data_bytes = int.from_bytes(file.read(16)[8:], "little") or None
            yield name, start, size
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
        elif name != b"ds64":
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
        else:
            yield name, position + 8, size
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
        else:
            yield name, position + 12, size
        if size < 0:
            return
        position += 12 + size


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
