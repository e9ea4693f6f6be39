"""How much audio a file of chunks really holds, where its header says otherwise.

A recorder that lost power leaves the length of its last safe moment, or none; a program that
writes to a pipe leaves a place-holder; sizes of 32 bits wrap after 4 GiB. The audio itself then
runs to the end of the file, less the chunks that may follow it. What a cut copy holds looks like
none of these, and stays what it is: incomplete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "AIFF_CHUNKS",
    "CAF_CHUNKS",
    "RIFF_CHUNKS",
    "RIFX_CHUNKS",
    "W64_CHUNKS",
    "ChunkFormat",
    "DataLength",
    "SampleFormat",
    "data_length",
]

_PLACE_HOLDERS = ((0x7FFF0000, 0x80000400), (0xFFFFF000, 0xFFFFFFFF), (2**60, 2**64))
"""Sizes that stand for "unknown": what arecord, SoX, GStreamer and FFmpeg write to a pipe."""

_SLIP_BYTES = 4096
"""A header counted in with the audio; a loss of that size would not be heard either."""

_SEARCHED_BYTES = 2**18
_LOOKED_AT = 16
_LOOKED_AT_FRAMES = 2048

# What writers put behind the audio.
_RIFF_CHUNKS = (
    b"LIST", b"bext", b"iXML", b"_PMX", b"id3 ", b"ID3 ", b"cue ", b"smpl", b"inst", b"JUNK",
    b"junk", b"PAD ", b"FLLR", b"acid", b"strc", b"fact", b"PEAK", b"aXML", b"axml", b"chna",
    b"umid", b"levl", b"minf", b"elm1", b"regn", b"MD5 ", b"afsp", b"LGWV", b"ovwf", b"DISP",
    b"plst", b"cart", b"DGDA", b"ResU", b"AFAn", b"tlst", b"wavl", b"slnt", b"SAUR", b"UMID",
)  # fmt: skip
_AIFF_CHUNKS = (
    b"COMM", b"MARK", b"INST", b"MIDI", b"AESD", b"APPL", b"COMT", b"NAME", b"AUTH", b"(c) ",
    b"ANNO", b"ID3 ", b"PEAK", b"basc", b"trns", b"cate", b"FVER", b"FLLR", b"LGWV", b"ResU",
)  # fmt: skip


@dataclass(frozen=True)
class ChunkFormat:
    """How chunks lie in a file.

    Parameters
    ----------
    order
        Of a size's bytes.
    names
        Of chunks that may follow the audio.
    size_bytes
        4 or 8.
    tail
        What a name of 16 bytes ends with, and what its size counts in: Wave64.
    even
        What a chunk's length is rounded up to.
    """

    order: Literal["big", "little"]
    names: tuple[bytes, ...] = _RIFF_CHUNKS
    size_bytes: int = 4
    tail: bytes = b""
    even: int = 2

    @property
    def head_bytes(self) -> int:
        """Length of a name and a size."""
        return 4 + len(self.tail) + self.size_bytes

    def next_chunk(self, raw: bytes) -> int:
        """Return the length with its head of the chunk that begins here, or 0 for none."""
        if len(raw) < self.head_bytes or raw[:4] not in self.names:
            return 0
        name_bytes = 4 + len(self.tail)
        if raw[4:name_bytes] != self.tail:
            return 0
        size = int.from_bytes(raw[name_bytes : self.head_bytes], self.order)
        whole = size if self.tail else size + self.head_bytes
        return max(0, whole) if whole >= self.head_bytes else 0


RIFF_CHUNKS = ChunkFormat("little")
RIFX_CHUNKS = ChunkFormat("big")
AIFF_CHUNKS = ChunkFormat("big", _AIFF_CHUNKS)
W64_CHUNKS = ChunkFormat(
    "little", (*_RIFF_CHUNKS, b"summ", b"mark"), 8, bytes.fromhex("f3acd3118cd100c04f8edb8a"), 8
)
CAF_CHUNKS = ChunkFormat(
    "big",
    (b"info", b"free", b"uuid", b"chan", b"mark", b"strg", b"edct", b"regn", b"inst", b"umid",
     b"peak", b"ovvw", b"midi"),
    8, b"", 1,
)  # fmt: skip


@dataclass(frozen=True)
class SampleFormat:
    """How samples are stored, as far as the chunk of the format tells.

    Parameters
    ----------
    kind
        ``"int"``, ``"float"``, or ``"coded"`` for what cannot be looked at.
    bits
        Of a sample.
    """

    kind: Literal["int", "float", "coded"]
    bits: int
    channels: int
    order: Literal["big", "little"]

    @property
    def frame_bytes(self) -> int:
        """Length of one sample of all channels; 1 where it is not known."""
        return max(1, self.channels * self.bits // 8) if self.kind != "coded" else 1


@dataclass(frozen=True)
class DataLength:
    """What of a file is audio.

    Parameters
    ----------
    held_bytes
        Length of the audio.
    reason
        Why it is not what the header says, in words; None where it is.
    incomplete
        Whether audio that the header promises is missing.
    """

    held_bytes: int
    reason: str | None = None
    incomplete: bool = False


def data_length(
    file: BinaryIO,
    *,
    start: int,
    promised: int | None,
    file_bytes: int,
    chunks: ChunkFormat,
    samples: SampleFormat | None,
    whole: bool,
) -> DataLength:
    """Say how many bytes from ``start`` on are audio.

    Parameters
    ----------
    file
        Open to read.
    start
        Of the audio.
    promised
        Its length by the header; None where the header leaves it open.
    samples
        How they are stored, if that is known.
    whole
        Whether the file is as long as its outermost header says.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    there = max(0, file_bytes - start)
    if promised is None or (
        promised > there and any(low <= promised <= high for low, high in _PLACE_HOLDERS)
    ):
        end = _end_of_audio(file, start, file_bytes, chunks)
        return DataLength(end - start, "its header leaves its length open")
    if promised > there:
        missing = promised - there
        if promised == 2 * there:
            return DataLength(there, "its header promises exactly twice as much as there is")
        if missing <= min(_SLIP_BYTES, there // 10):
            return DataLength(there, f"its header promises {missing:,} bytes more than there are")
        if whole:
            end = _end_of_audio(file, start, file_bytes, chunks)
            return DataLength(end - start, "its headers contradict each other")
        return DataLength(there, incomplete=True)
    behind = there - promised
    if behind <= _SLIP_BYTES or _is_followed(file, start + promised, file_bytes, chunks):
        return DataLength(promised)
    end = _end_of_audio(file, start, file_bytes, chunks)
    if end - start - promised <= _SLIP_BYTES:
        return DataLength(promised)
    looks = _looks_at(file, start + promised, end, samples)
    if looks == "silence":
        return DataLength(promised)
    if looks == "audio":
        return DataLength(end - start, "its header tells of less than the file holds")
    return DataLength(promised, f"{behind:,} bytes behind its audio are no audio and left out")


def _is_followed(file: BinaryIO, position: int, file_bytes: int, chunks: ChunkFormat) -> bool:
    """Whether chunks or tags begin here; some writers forget to pad the audio."""
    for start in (position + position % chunks.even, position):
        file.seek(start)
        head = file.read(chunks.head_bytes)
        # A chunk whose name is its own: four printable characters, and its size fits.
        if (
            chunks.next_chunk(head)
            or head[:4] in (b"APET", b"LYRI")
            or head[:3] in (b"TAG", b"ID3")
        ):
            return True
        if _names_a_chunk(head, file_bytes - start, chunks):
            return True
    return False


def _names_a_chunk(head: bytes, left: int, chunks: ChunkFormat) -> bool:
    if len(head) < chunks.head_bytes or not all(32 <= c < 127 for c in head[:4]):
        return False
    name_bytes = 4 + len(chunks.tail)
    if head[4:name_bytes] != chunks.tail:
        return False
    size = int.from_bytes(head[name_bytes : chunks.head_bytes], chunks.order)
    whole = size if chunks.tail else size + chunks.head_bytes
    # An unknown one is believed where it ends with the file, or before it.
    return 0 < whole <= left + 1 and (left - whole <= 1 or size < 2**24)


def _end_of_audio(file: BinaryIO, start: int, file_bytes: int, chunks: ChunkFormat) -> int:
    """Return where the chunks at the end of the file begin: its end, if there are none."""
    first = max(start, file_bytes - _SEARCHED_BYTES)
    file.seek(first)
    raw = file.read(file_bytes - first)
    ends = {len(raw)}
    earliest = len(raw)
    # From the back: a chunk counts if it ends where a later one begins, or the file does.
    places: set[int] = set()
    for name in chunks.names:
        place = raw.find(name)
        while place >= 0:
            places.add(place)
            place = raw.find(name, place + 1)
    for place in sorted(places, reverse=True):
        size = chunks.next_chunk(raw[place : place + chunks.head_bytes])
        if size and {place + size, place + -(-size // chunks.even) * chunks.even} & ends:
            ends.add(place)
            earliest = place
    return first + earliest


def _looks_at(
    file: BinaryIO, start: int, end: int, samples: SampleFormat | None
) -> Literal["silence", "audio", "other"]:
    """Say whether bytes can be samples: noise of all bits, or text, is none."""
    if samples is None:
        return "other"
    step = samples.frame_bytes
    frames = (end - start) // step
    places = np.unique(np.linspace(0, max(0, frames - _LOOKED_AT_FRAMES), _LOOKED_AT).astype(int))
    silent = True
    strange = 0
    for place in places:
        file.seek(start + int(place) * step)
        raw = file.read(min(_LOOKED_AT_FRAMES, frames) * step)
        if not any(raw):
            continue
        silent = False
        if samples.kind != "coded" and not _is_audio(raw, samples):
            strange += 1
    if silent:
        return "silence"
    return "audio" if 2 * strange < len(places) else "other"


def _is_audio(raw: bytes, samples: SampleFormat) -> bool:
    values = _values(raw, samples)
    if values.size < 2 * samples.channels or not np.isfinite(values).all():
        return False
    if samples.kind == "float" and np.abs(values).max() > 1e3:
        return False
    power = float(np.mean(values**2))
    if power == 0.0:
        return True
    # Equally likely bytes are -4.8 dBFS without any connection; letters are all positive.
    joined = float(np.mean(values[: -samples.channels] * values[samples.channels :])) / power
    offset = abs(float(np.mean(values))) / np.sqrt(power)
    return (power < 0.16 or abs(joined) > 0.1) and not (offset > 0.8 and power > 0.01)


def _values(raw: bytes, samples: SampleFormat) -> npt.NDArray[np.float64]:
    sample_bytes = samples.bits // 8
    raw = raw[: len(raw) // sample_bytes * sample_bytes]
    mark = ">" if samples.order == "big" else "<"
    if samples.kind == "float":
        with np.errstate(all="ignore"):
            return np.frombuffer(raw, f"{mark}f{sample_bytes}").astype(np.float64)
    if sample_bytes == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float64) - 128.0) / 128.0
    octets = np.frombuffer(raw, np.uint8).reshape(-1, sample_bytes)
    if mark == ">":
        octets = octets[:, ::-1]
    # The two highest bytes tell enough.
    high = octets[:, -2].astype(np.int32) | octets[:, -1].astype(np.int8).astype(np.int32) << 8
    return high / 32_768.0
