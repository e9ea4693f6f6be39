"""What kind of audio a file holds, told by its first bytes and never by its name.

A recording that was renamed, lost its suffix or got a wrong one is still that recording; a text
file called ``Kick.wav`` is none. Nothing is decoded here, and no file is opened that could keep
its reader waiting.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.audio.formats.mpeg_frames import adts_frame_bytes, id3_bytes, mpeg_header

__all__ = ["AudioKind", "open_regular", "sniff"]

_HEAD_BYTES = 65_536
_ID3_DEPTH = 4  # tags in front of one another; more is no recording but an attack


@dataclass(frozen=True)
class AudioKind:
    """A kind of audio file.

    Parameters
    ----------
    name
        As a user would call it: ``"WAV"``, ``"MPEG-4 (m4a, mp4)"``.
    demuxer
        What FFmpeg calls its container; only this one is let loose on the file.
    """

    name: str
    demuxer: str


_WAV = AudioKind("WAV", "wav")
_AIFF = AudioKind("AIFF", "aiff")
_MPEG = AudioKind("MP3", "mp3")
_MP2 = AudioKind("MP2", "mp3")
_ADTS = AudioKind("AAC", "aac")
_MPEG4 = AudioKind("MPEG-4", "mov")
_QUICKTIME = AudioKind("QuickTime", "mov")
_AC3 = AudioKind("AC-3", "ac3")
_EAC3 = AudioKind("E-AC-3", "eac3")
_DTS = AudioKind("DTS", "dts")

# fmt: off
_MAGIC: tuple[tuple[int, bytes, AudioKind], ...] = (
    (0, bytes.fromhex("726966662e91cf11a5d628db04c10000"), AudioKind("Wave64", "w64")),
    (0, b"caff", AudioKind("CAF", "caf")),
    (0, b"fLaC", AudioKind("FLAC", "flac")),
    (0, b"OggS", AudioKind("Ogg", "ogg")),
    (0, b".snd", AudioKind("AU", "au")),
    (0, b"dns.", AudioKind("AU", "au")),
    (0, bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), AudioKind("WMA", "asf")),
    (0, bytes.fromhex("1a45dfa3"), AudioKind("Matroska or WebM", "matroska")),
    (0, b"wvpk", AudioKind("WavPack", "wv")),
    (0, b"MAC ", AudioKind("Monkey's Audio", "ape")),
    (0, b"TTA1", AudioKind("TTA", "tta")),
    (0, b"DSD ", AudioKind("DSF", "dsf")),
    (0, b"MPCK", AudioKind("Musepack", "mpc8")),
    (0, b"MP+", AudioKind("Musepack", "mpc")),
    (0, b"tBaK", AudioKind("TAK", "tak")),
    (0, b"ajkg", AudioKind("Shorten", "shn")),
    (0, b"#!AMR", AudioKind("AMR", "amr")),
    (0, b".ra\xfd", AudioKind("RealAudio", "rm")),
    (0, b".RMF", AudioKind("RealMedia", "rm")),
    (0, b"OFR ", AudioKind("OptimFROG", "ofr")),
    (0, b"NIST_1A", AudioKind("NIST SPHERE", "nistsphere")),
    (0, b"Creative Voice File\x1a", AudioKind("VOC", "voc")),
    (0, b"FLV\x01", AudioKind("Flash video", "flv")),
    (0, bytes.fromhex("000001ba"), AudioKind("MPEG program stream", "mpeg")),
    (0, bytes.fromhex("7ffe8001"), _DTS),
    (0, bytes.fromhex("fe7f0180"), _DTS),
    (0, bytes.fromhex("ff1f00e8"), _DTS),
    (0, bytes.fromhex("1fffe800"), _DTS),
)

# A form and its type: the first word, and that after its size.
_FORMS = {
    (b"RIFF", b"WAVE"): _WAV, (b"RIFX", b"WAVE"): _WAV, (b"RF64", b"WAVE"): _WAV,
    (b"BW64", b"WAVE"): _WAV, (b"RIFF", b"AVI "): AudioKind("AVI", "avi"),
    (b"FORM", b"AIFF"): _AIFF, (b"FORM", b"AIFC"): _AIFF,
    (b"FORM", b"8SVX"): AudioKind("8SVX", "iff"), (b"FORM", b"16SV"): AudioKind("16SV", "iff"),
    (b"FRM8", b"DSD "): AudioKind("DSDIFF", "iff"),
}

# Pictures that lie in the container of MPEG-4.
_PICTURE_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"avif", b"avis", b"crx", b"jp2", b"jpx")
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"pnot")
# fmt: on


def sniff(path: Path) -> AudioKind | None:
    """Say what kind of audio file it is, by its content alone.

    Never waits: pipes, devices and folders are not opened.

    Parameters
    ----------
    path
        Any file; its name plays no part.

    Returns
    -------
    AudioKind or None
        None for what holds no audio that is known here, and for an empty file.

    Raises
    ------
    OSError
        When the file does not exist or cannot be read.
    """
    with open_regular(path) as file:
        head = os.read(file, _HEAD_BYTES)
        for _ in range(_ID3_DEPTH):
            tag_bytes = id3_bytes(head)
            if not tag_bytes:
                break
            os.lseek(file, tag_bytes - len(head), os.SEEK_CUR)
            head = os.read(file, _HEAD_BYTES)
            if not head:
                return _MPEG  # a tag alone: cut short, but meant as a recording
    return _kind(head)


@contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """Open a regular file to read, without waiting should it be a pipe or a device.

    Yields
    ------
    int
        Its descriptor, closed at the end.

    Raises
    ------
    OSError
        When the file does not exist, cannot be read or is not a regular one.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.open(path, flags | getattr(os, "O_NOCTTY", 0))
    try:
        # Looked at after it was opened: between the two another could take its place.
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        yield file
    finally:
        os.close(file)


def _kind(head: bytes) -> AudioKind | None:
    form = _FORMS.get((head[:4], head[12:16] if head[:4] == b"FRM8" else head[8:12]))
    if form is not None:
        return form
    for place, magic, kind in _MAGIC:
        if head.startswith(magic, place):
            return kind
    if head[4:8] == b"ftyp":
        if head[8:12].startswith(_PICTURE_BRANDS):
            return None
        return _QUICKTIME if head[8:10] == b"qt" else _MPEG4
    if head[4:8] in _QUICKTIME_ATOMS:
        return _QUICKTIME
    return _frames(head)


def _frames(head: bytes) -> AudioKind | None:
    """Recognise streams that have no header of their own, by several frames in a row."""
    if head[:2] == b"\x0b\x77" and len(head) > 5:
        # ATSC A/52: AC-3 up to bitstream identification 10, E-AC-3 up to 16.
        identification = head[5] >> 3
        return _AC3 if identification <= 10 else _EAC3 if identification <= 16 else None
    if len(head) > 3 * 188 and all(head[188 * i] == 0x47 for i in range(4)):
        return AudioKind("MPEG transport stream", "mpegts")
    if len(head) > 1 and head[0] == 0x56 and head[1] & 0xE0 == 0xE0:
        return AudioKind("AAC (LATM)", "loas") if _chain(head, 0, _latm_bytes) else None
    start = head.find(b"\xff")
    while 0 <= start < len(head) - 4:
        header = mpeg_header(head[start : start + 4])
        if header is not None and _chain(head, start, _mpeg_bytes):
            return _MP2 if header.layer == 2 else _MPEG
        if start == 0 and _chain(head, start, adts_frame_bytes):
            return _ADTS
        start = head.find(b"\xff", start + 1)
    return None


def _mpeg_bytes(raw: bytes) -> int:
    header = mpeg_header(raw)
    return 0 if header is None else header.frame_bytes


def _latm_bytes(raw: bytes) -> int:
    if len(raw) < 3 or raw[0] != 0x56 or raw[1] & 0xE0 != 0xE0:
        return 0
    return ((raw[1] & 31) << 8 | raw[2]) + 3


_FRAMES_IN_A_ROW = 4


def _chain(head: bytes, start: int, length: Callable[[bytes], int]) -> bool:
    """Whether frames lie one behind the other; a short file may end after the first."""
    for number in range(_FRAMES_IN_A_ROW if start == 0 else 2 * _FRAMES_IN_A_ROW):
        step = length(head[start : start + 8])
        if step == 0:
            return False
        start += step
        if start + 8 > len(head):
            # A file begins with a frame; noise that looks like one does not fill it to its end.
            return start <= len(head) + step and number >= 1
    return True
