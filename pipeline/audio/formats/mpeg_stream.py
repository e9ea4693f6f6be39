"""How long an MPEG audio stream is, counted frame by frame, and where its recordings lie.

A stream's header (Xing, Info, VBRI) may be absent, of another length, or one of several where
files were joined; the frames cannot be. Each recording is given to the decoder behind a header
that counts its frames, so that it is decoded from its first to its last.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline.audio.formats.mpeg_frames import MpegHeader, id3_bytes, mpeg_header
from pipeline.audio.formats.spliced_file import Span

__all__ = ["MpegRecording", "mpeg_recordings"]

_WINDOW_BYTES = 2**20
_MOST_TAGS = 1_000
_APE_HEADER_BYTES = 32
_DECODER_DELAY = 529  # of every layer III decoder: its filter bank's 528 samples and one
_COUNT_SLACK = 2
"""Frames by which a header may be off: some count themselves, some lose the last."""


@dataclass
class MpegRecording:
    """Frames that one encoder wrote.

    Parameters
    ----------
    header
        Of its first frame.
    frames
        That it holds, without the one of its tag.
    spans
        Where they lie.
    tagged_frames
        How many there are by its tag; None without one.
    delay, padding
        Samples that the encoder put before and behind the music; None where it does not say.
    strange_bytes
        Between its frames, that belong to none.
    """

    header: MpegHeader
    first: bytes
    frames: int = 0
    spans: list[Span] = field(default_factory=list)
    tagged_frames: int | None = None
    delay: int | None = None
    padding: int = 0
    strange_bytes: int = 0

    def add(self, start: int, end: int) -> None:
        """Add a frame."""
        self.frames += 1
        if self.spans and self.spans[-1][1] == start:
            self.spans[-1] = (self.spans[-1][0], end)
        else:
            self.spans.append((start, end))

    @property
    def stale(self) -> bool:
        """Whether its tag counts fewer frames than there are."""
        return self.tagged_frames is not None and self.frames - self.tagged_frames > _COUNT_SLACK

    @property
    def missing_frames(self) -> int:
        """Frames that its tag counts and that are not there."""
        missing = (self.tagged_frames or 0) - self.frames
        return missing if missing > _COUNT_SLACK else 0

    @property
    def usual(self) -> bool:
        """Whether a decoder that trusts its tag reads all of it, and nothing else."""
        return (
            self.header.layer == 3
            and self.tagged_frames is not None
            and abs(self.tagged_frames - self.frames) <= _COUNT_SLACK
            and not self.strange_bytes
        )

    def pieces(self) -> list[bytes | Span]:
        """Return what a decoder should see of it."""
        if self.header.layer != 3:
            return list(self.spans)
        return [*self._tag(), *self.spans]

    def _tag(self) -> list[bytes]:
        """Return a frame that counts the others, as LAME writes it, and a silent one if needed."""
        # Silence behind the music belongs to the last frame that was counted.
        off = (self.stale and self.tagged_frames) or self.missing_frames
        padding = 0 if off else self.padding
        frames, delay, silence = self.frames, self.delay, b""
        if delay is None:
            # Behind a tag, decoders leave out what they delay the sound by. Nothing is left out of
            # a stream without: of a silent frame before it, as much as that and the rest.
            silence = self._frame(b"")
            frames, delay = frames + 1, self.header.samples - _DECODER_DELAY
        counts = ((delay & 0xFFF) << 12 | padding & 0xFFF).to_bytes(3, "big")
        lame = b"LAME3.100" + bytes(12) + counts + bytes(12)
        size = len(self._frame(b"")) + len(silence) + sum(end - start for start, end in self.spans)
        return [self._frame(b"Info" + struct.pack(">III", 3, frames, size) + lame), silence]

    def _frame(self, content: bytes) -> bytes:
        """Return a frame of zeros with something in place of its sound."""
        low, rate_bits = self.header.low_rate, self.first[2] & 0x0C
        # No checksum; 128 kbit/s, or 64 at a low rate: long enough for a tag.
        head = bytes((0xFF, self.first[1] | 1, (0x80 if low else 0x90) | rate_bits, self.first[3]))
        header = mpeg_header(head)
        if header is None:
            raise AssertionError("a frame's header cannot be made from another's")
        frame = head + bytes(header.side_bytes) + content
        return frame + bytes(header.frame_bytes - len(frame))


class _Window:
    """A span of a file, read a piece at a time."""

    def __init__(self, file: BinaryIO, span: Span) -> None:
        self._file = file
        self.start, self.end = span
        self._held = b""
        self._at = self.start

    def bytes_at(self, position: int, count: int) -> bytes:
        last = min(position + count, self.end)
        if position < self._at or last > self._at + len(self._held):
            self._file.seek(position)
            self._held = self._file.read(max(min(_WINDOW_BYTES, self.end - position), 0))
            self._at = position
        return self._held[position - self._at : last - self._at]


def mpeg_recordings(path: Path, span: Span | None = None) -> list[MpegRecording]:
    """Find every frame of a stream.

    Parameters
    ----------
    path
        The file.
    span
        Where in it the stream lies; the whole file if not given.

    Returns
    -------
    list of MpegRecording
        In their order; empty where there is no frame.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    recordings: list[MpegRecording] = []
    with path.open("rb") as file:
        window = _Window(file, span or (0, file.seek(0, 2)))
        position = window.start
        joined = False
        strange_bytes = 0  # since the last frame; what no frame follows is a tag of some kind
        while position < window.end:
            head = window.bytes_at(position, 24)
            tag = _tag_bytes(head)
            if tag:
                # One behind audio, and before more: another file was put there.
                joined = joined or (bool(recordings) and head[:3] == b"ID3")
                position += tag
                continue
            header = mpeg_header(head[:4])
            last = recordings[-1] if recordings else None
            if header is None or not (
                (last is not None and header.like(last.header)) or _goes_on(window, position, 2)
            ):
                there = _resynchronised(window, position + 1)
                strange_bytes += there - position
                position = there
                continue
            end = position + header.frame_bytes
            if end > window.end:
                break
            if last is not None:
                last.strange_bytes += strange_bytes
            strange_bytes = 0
            frame = window.bytes_at(position, min(header.frame_bytes, 200))
            if (tagged := _tagged(frame, header)) is not None:
                if len(recordings) >= _MOST_TAGS:
                    break
                recordings.append(tagged)
            else:
                if last is None or not header.like(last.header) or (joined and last.frames):
                    last = MpegRecording(header, head[:4])
                    recordings.append(last)
                last.add(position, end)
            joined = False
            position = end
    return [recording for recording in recordings if recording.frames]


def _tag_bytes(head: bytes) -> int:
    """Return the length of a tag that holds no audio, or 0."""
    if head[:3] == b"TAG" and head[:4] != b"TAG+":
        return 128
    if head[:8] == b"APETAGEX" and len(head) == 24:
        # Its size leaves out the header, by which a tag may begin; else this is its end.
        is_header = head[23] & 0x20
        return _APE_HEADER_BYTES + (int.from_bytes(head[12:16], "little") if is_header else 0)
    return id3_bytes(head)


def _goes_on(window: _Window, position: int, frames: int) -> bool:
    for _ in range(frames):
        header = mpeg_header(window.bytes_at(position, 4))
        if header is None:
            return False
        position += header.frame_bytes
        if position >= window.end:
            return True
    return mpeg_header(window.bytes_at(position, 4)) is not None or position >= window.end - 4


def _resynchronised(window: _Window, position: int) -> int:
    """Return where frames, or a tag, go on; the end if nowhere."""
    while position < window.end:
        piece = window.bytes_at(position, 65_536)
        if not piece:
            break
        for place in _candidates(piece):
            if id3_bytes(piece[place : place + 10]) or piece[place : place + 3] == b"TAG":
                return position + place
            if _goes_on(window, position + place, 3):
                return position + place
        position += max(1, len(piece) - 12)
    return window.end


def _candidates(piece: bytes) -> Sequence[int]:
    places = []
    for mark in (b"\xff", b"ID3", b"TAG"):
        place = piece.find(mark)
        while place >= 0:
            places.append(place)
            place = piece.find(mark, place + 1)
    return sorted(places)


def _tagged(frame: bytes, header: MpegHeader) -> MpegRecording | None:
    """Return the recording whose tag this frame is, or None for a frame of audio."""
    if header.layer != 3:
        return None
    at = 4 + header.side_bytes
    if frame[at : at + 4] in (b"Xing", b"Info"):
        flags = int.from_bytes(frame[at + 4 : at + 8], "big")
        place = at + 8
        count = int.from_bytes(frame[place : place + 4], "big") if flags & 1 else None
        for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)):
            place += size if flags & bit else 0
        recording = MpegRecording(header, frame[:4], tagged_frames=count)
        counts = frame[place + 21 : place + 24]
        if len(counts) == 3 and frame[place : place + 1].isalpha():
            both = int.from_bytes(counts, "big")
            recording.delay, recording.padding = both >> 12, both & 0xFFF
        return recording
    if frame[36:40] == b"VBRI":
        return MpegRecording(header, frame[:4], tagged_frames=int.from_bytes(frame[50:54], "big"))
    return None
