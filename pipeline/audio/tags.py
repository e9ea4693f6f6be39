"""What a delivered file says of itself: title, artist, software, and how loud it is.

WAV gets a broadcast extension with loudness (EBU Tech 3285, version 2) and a ``LIST INFO`` chunk
after its samples, FLAC a Vorbis comment, MP3 an ID3v2.4 tag, the last two with ReplayGain 2.0. The
samples stay what they are, and no clock is asked: equal mixes are equal files.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import shutil
import struct
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from pipeline.audio.writer import FileFormat, Subtype
from pipeline.loudness.meter import Loudness

__all__ = ["folder_tags", "write_tags"]

# ReplayGain 2.0: to -18 LUFS.
_REPLAYGAIN_LUFS = -18.0
_LONGEST_RIFF = 0xFFFFFFFF
_NO_LOUDNESS = 0x7FFF
_INFO = {"title": b"INAM", "artist": b"IART", "album": b"IPRD", "date": b"ICRD"}
_ID3 = {"title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "date": b"TDRC"}
_VORBIS_COMMENT, _PADDING = 4, 1


def folder_tags(name: str) -> dict[str, str]:
    """Return title and artist of a session by its folder's name.

    Examples
    --------
    >>> folder_tags("The Deltas - Red Line")
    {'title': 'Red Line', 'artist': 'The Deltas'}
    >>> folder_tags("Red Line")
    {'title': 'Red Line', 'artist': ''}
    """
    artist, dash, title = name.partition(" - ")
    if dash and artist.strip() and title.strip():
        return {"title": title.strip(), "artist": artist.strip()}
    return {"title": name.strip(), "artist": ""}


def write_tags(
    path: Path,
    tags: Mapping[str, str],
    loudness: Loudness,
    *,
    sample_rate: int,
    format: FileFormat,
    subtype: Subtype,
) -> None:
    """Write into a delivered file what it is and how loud.

    Parameters
    ----------
    path
        The file as :class:`pipeline.audio.writer.AudioWriter` left it, without tags.
    tags
        Its title, artist, album and date, by these names; empty ones are left out.
    loudness
        Of the whole of it.
    sample_rate, format, subtype
        As it was written; the rate in Hz.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    tags = {name: _text(tags[name]) for name in _INFO if _text(tags.get(name, ""))}
    software = f"Stemwright {importlib.metadata.version('stemwright')}"
    if format == "wav":
        bits = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 32}[subtype]
        history = f"A=PCM,F={sample_rate},W={bits},M=stereo,T={software}\r\n"
        _append_chunks(
            path,
            _chunk(b"bext", _broadcast_extension(tags, loudness, history))
            + _chunk(b"LIST", _info(tags, software)),
        )
        return
    gains = _replay_gain(loudness)
    if format == "flac":
        comments = {name.upper(): value for name, value in tags.items()}
        _rewrite(path, lambda source: _flac_head(source, comments | gains, software))
    else:
        _rewrite(path, lambda source: _id3(tags, gains, software))


def _text(value: str) -> str:
    return value.replace("\0", "").strip()


def _replay_gain(loudness: Loudness) -> dict[str, str]:
    if not math.isfinite(loudness.integrated_lufs):
        return {}
    peak = 10.0 ** (loudness.true_peak_dbtp / 20.0)
    return {
        "REPLAYGAIN_TRACK_GAIN": f"{_REPLAYGAIN_LUFS - loudness.integrated_lufs:.2f} dB",
        "REPLAYGAIN_TRACK_PEAK": f"{peak:.6f}",
    }


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2)


def _broadcast_extension(tags: Mapping[str, str], loudness: Loudness, history: str) -> bytes:
    """Return a ``bext`` chunk's data; its time reference is 0, the start of the song."""

    def ascii_text(text: str, length: int) -> bytes:
        return text.encode("ascii", "replace")[:length].ljust(length, b"\0")

    levels = (
        loudness.integrated_lufs,
        loudness.loudness_range_lu,
        loudness.true_peak_dbtp,
        loudness.max_momentary_lufs,
        loudness.max_short_term_lufs,
    )
    date = tags.get("date", "")
    whole = len(date) == 10 and date[4] == date[7] == "-"
    return b"".join(
        (
            ascii_text(" - ".join(filter(None, (tags.get("artist"), tags.get("title")))), 256),
            ascii_text("Stemwright", 32),
            bytes(32),
            ascii_text(date if whole else "", 10),
            bytes(8 + 8),  # time of day, time reference
            struct.pack("<H", 2),
            bytes(64),
            struct.pack("<5h", *map(_hundredths, levels)),
            bytes(180),
            history.encode("ascii", "replace"),
        )
    )


def _hundredths(level: float) -> int:
    if not math.isfinite(level) or abs(level) > 99.99:
        return _NO_LOUDNESS
    return round(100.0 * level)


def _info(tags: Mapping[str, str], software: str) -> bytes:
    texts = [(_INFO[name], value) for name, value in tags.items()] + [(b"ISFT", software)]
    return b"INFO" + b"".join(
        _chunk(name, value.encode("utf-8", "replace") + b"\0") for name, value in texts
    )


def _append_chunks(path: Path, chunks: bytes) -> None:
    """Append chunks to a WAV or RF64 file and count them in its header."""
    with path.open("r+b") as file:
        form = file.read(4)
        riff_bytes = file.seek(0, os.SEEK_END) - 8 + len(chunks)
        if form == b"RIFF" and riff_bytes > _LONGEST_RIFF:
            return  # a header for longer files would be another file
        file.write(chunks)
        if form == b"RF64":
            file.seek(20)  # after the names of form, wave and ds64, and its size
            file.write(struct.pack("<Q", riff_bytes))
        else:
            file.seek(4)
            file.write(struct.pack("<I", riff_bytes))


def _rewrite(path: Path, head: Callable[[BinaryIO], bytes]) -> None:
    """Write a file anew with another head; ``head`` reads as far as the old one goes."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with path.open("rb") as source, temporary.open("xb") as file:
            file.write(head(source))
            shutil.copyfileobj(source, file)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _flac_head(source: BinaryIO, comments: Mapping[str, str], software: str) -> bytes:
    """Return a FLAC's metadata with a Vorbis comment of ours (RFC 9639, section 8)."""
    vendor = software.encode()
    entries = [f"{name}={value}" for name, value in (*comments.items(), ("ENCODER", software))]
    texts = [entry.encode("utf-8", "replace") for entry in entries]
    comment = struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", len(texts))
    comment += b"".join(struct.pack("<I", len(text)) + text for text in texts)
    head, last = [source.read(4)], False
    while not last:
        kind, *length = source.read(4)
        last, kind = bool(kind & 0x80), kind & 0x7F
        data = source.read(int.from_bytes(bytes(length), "big"))
        if kind not in (_VORBIS_COMMENT, _PADDING):
            head.append(bytes((kind, *length)) + data)
    head.append(bytes((0x80 | _VORBIS_COMMENT, *len(comment).to_bytes(3, "big"))) + comment)
    return b"".join(head)


def _id3(tags: Mapping[str, str], gains: Mapping[str, str], software: str) -> bytes:
    """Return an ID3v2.4 tag, texts in UTF-8."""

    def size(count: int) -> bytes:  # seven bits a byte
        return bytes(count >> shift & 0x7F for shift in (21, 14, 7, 0))

    def frame(name: bytes, *texts: str) -> bytes:
        data = b"\3" + b"\0".join(text.encode("utf-8", "replace") for text in texts)
        return name + size(len(data)) + bytes(2) + data

    frames = b"".join(
        (
            *(frame(_ID3[name], value) for name, value in tags.items()),
            frame(b"TSSE", software),
            *(frame(b"TXXX", name, value) for name, value in gains.items()),
        )
    )
    return b"ID3\4\0\0" + size(len(frames)) + frames
