"""Audio files: probe, read in blocks, resample, write.

Audio is float32 ``(channels, frames)`` at the rate asked for. What is read does not depend on the
size of the blocks asked for, bit for bit: a file is decoded and resampled in blocks of one size.
What writes files is next door, in :mod:`pipeline.audio_writer`, and is named here too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import soundfile
import soxr

from pipeline.audio_writer import AudioWriter, FileFormat, Subtype, write
from pipeline.containers import read_header
from pipeline.problems import InputError, Problem
from pipeline.units import FloatArray

__all__ = [
    "AUDIO_SUFFIXES",
    "HIGHEST_RATE_HZ",
    "LOWEST_RATE_HZ",
    "UNREADABLE_SUFFIXES",
    "AudioInfo",
    "AudioStream",
    "AudioWriter",
    "FileFormat",
    "Subtype",
    "probe",
    "read",
    "read_blocks",
    "write",
]

# fmt: off
AUDIO_SUFFIXES = frozenset((
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".flac", ".ogg", ".oga",
    ".opus", ".mp3", ".caf",
))
"""Names of files that are read, in lower case."""

UNREADABLE_SUFFIXES = frozenset((
    ".m4a", ".m4b", ".mp4", ".aac", ".wma", ".ac3", ".eac3", ".alac", ".ape", ".wv", ".mpc",
    ".tta", ".dsf", ".dff", ".sd2", ".mka", ".webm", ".amr", ".ra", ".au", ".snd", ".shn", ".bw64",
))
"""Names of files that hold audio which is not read, in lower case."""
# fmt: on

LOWEST_RATE_HZ = 8_000
HIGHEST_RATE_HZ = 768_000

_READABLE = "WAV, AIFF, FLAC, Ogg, MP3 or CAF"
_DECODE_FRAMES = 32_768
_RESAMPLE_FRAMES = 8_192  # soxr holds about 100 bytes a frame: 1 MB a track instead of 3
_QUALITY = "VHQ"  # 28 bits, at the speed of 20

# libsndfile's public error numbers (sndfile.h); its texts are of no help to a user.
_SNDFILE_ERRORS = {
    1: f"its content is not {_READABLE}",
    2: "the system refused to read it",
    3: "its header is damaged",
    4: "its encoding is not supported",
}


@dataclass(frozen=True)
class AudioInfo:
    """What is known of an audio file from its header.

    Parameters
    ----------
    frames
        Length in samples per channel, at ``sample_rate``.
    format, subtype
        Container and sample format, as libsndfile names them: ``"WAV"``, ``"PCM_24"``.
    time_reference
        Start in samples since midnight, from a Broadcast-WAV header; None without one.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str
    time_reference: int | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate

    def frames_at(self, sample_rate: int) -> int:
        """Return the length in samples after resampling; no part of a sample is lost."""
        return -(-self.frames * sample_rate // self.sample_rate)


def probe(path: Path) -> AudioInfo:
    """Read the header of an audio file.

    Raises
    ------
    InputError
        When it is missing, empty, cut short or unreadable, or has a sample rate out of range.
    """
    file, info = _open(path)
    file.close()
    return info


def _refuse(path: Path, what: str, remedy: str) -> InputError:
    return InputError([Problem(str(path), what, remedy)])


def _native(path: Path) -> str | bytes:
    """Return a name that libsndfile opens whatever its bytes are."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _open(path: Path) -> tuple[soundfile.SoundFile, AudioInfo]:
    try:
        if not path.is_file():
            if path.exists():
                raise _refuse(path, "is not a file", "name an audio file")
            raise _refuse(path, "does not exist", "correct the name")
        if path.stat().st_size == 0:
            raise _refuse(path, "is empty (0 bytes)", "export it again")
        header = read_header(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise _refuse(
            path, f"cannot be read ({reason})", "make it readable and try again"
        ) from error
    if header is not None and header.missing_bytes:
        raise _refuse(
            path,
            f"is truncated: it holds {header.held_bytes:,} of the {header.promised_bytes:,} bytes "
            "of audio that its header promises",
            "copy or export it again",
        )
    try:
        file = soundfile.SoundFile(_native(path))
    except soundfile.LibsndfileError as error:
        reason = _SNDFILE_ERRORS.get(error.code, f"libsndfile error {error.code}")
        raise _refuse(
            path, f"is not readable audio ({reason})", f"export it again as {_READABLE}"
        ) from error
    info = AudioInfo(
        path=path,
        sample_rate=file.samplerate,
        channels=file.channels,
        frames=file.frames,
        format=file.format,
        subtype=file.subtype,
        time_reference=None if header is None else header.time_reference,
    )
    wrong = _header_fault(info)
    if wrong is not None:
        file.close()
        raise _refuse(path, *wrong)
    return file, info


def _header_fault(info: AudioInfo) -> tuple[str, str] | None:
    if not LOWEST_RATE_HZ <= info.sample_rate <= HIGHEST_RATE_HZ:
        return (
            f"has a sample rate of {info.sample_rate} Hz",
            f"convert it to a rate from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz",
        )
    if info.frames <= 0:
        return "holds no audio (0 samples)", "export it again"
    if info.frames > 2**52:  # libsndfile's way to say "unknown"
        return "does not say how long it is", "convert it to WAV, or write the FLAC again"
    return None


def _decode(
    file: soundfile.SoundFile, info: AudioInfo, start: int, block_frames: int
) -> Iterator[FloatArray]:
    """Yield ``(frames, channels)`` blocks of one size from ``start`` to the end of the file."""
    position = start
    while position < info.frames:
        wanted = min(block_frames, info.frames - position)
        block = _decode_block(file, info, position, wanted, seek=position == start > 0)
        # An MP3 has no exact length: its last frames may be missing without any damage.
        if len(block) == 0 and info.format == "MP3" and info.frames - position <= 2304:
            block = np.zeros((wanted, info.channels), np.float32)
        if len(block) == 0:
            raise _refuse(
                info.path,
                f"is truncated: its audio ends after {position / info.sample_rate:.3f} s of "
                f"{info.duration_s:.3f} s",
                "copy or export it again",
            )
        position += len(block)
        yield block


def _decode_block(
    file: soundfile.SoundFile, info: AudioInfo, position: int, frames: int, *, seek: bool
) -> FloatArray:
    try:
        if seek:
            file.seek(position)
        block: FloatArray = file.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _refuse(
            info.path,
            f"cannot be decoded after {position / info.sample_rate:.3f} s of "
            f"{info.duration_s:.3f} s",
            "copy or export it again",
        ) from error
    return block


def _resampled(
    blocks: Iterator[FloatArray], info: AudioInfo, sample_rate: int
) -> Iterator[FloatArray]:
    """Yield blocks at another rate, with a few zeros after the end to fill the last sample."""
    resampler = soxr.ResampleStream(
        info.sample_rate, sample_rate, info.channels, dtype="float32", quality=_QUALITY
    )
    for block in blocks:
        yield resampler.resample_chunk(np.ascontiguousarray(block))
    tail = np.zeros((-(-info.sample_rate // sample_rate) + 1, info.channels), np.float32)
    yield resampler.resample_chunk(tail, last=True)


class AudioStream:
    """A file read from its start, block by block, at any sample rate.

    Parameters
    ----------
    path
        The file.
    sample_rate
        The rate wanted; None keeps the file's own.

    Attributes
    ----------
    frames
        Length at the rate asked for: ``ceil(length * ratio)``.
    channels
        Number of channels.
    info
        The header.

    Raises
    ------
    InputError
        On opening when the header cannot be read, on reading when the audio cannot be decoded.

    Examples
    --------
    >>> with AudioStream(path, sample_rate=48_000) as stream:  # doctest: +SKIP
    ...     first = stream.read(4096)
    """

    def __init__(self, path: Path, *, sample_rate: int | None = None) -> None:
        self._file, self.info = _open(path)
        self.sample_rate = sample_rate or self.info.sample_rate
        self.channels = self.info.channels
        self.frames = self.info.frames_at(self.sample_rate)
        self._start(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; done already when the last sample was read."""
        self._file.close()

    def _start(self, position: int) -> None:
        """Go to a position at the rate asked for; only before the first read."""
        rate_in, rate_out = self.info.sample_rate, self.sample_rate
        self._left = self.frames - position
        if rate_in == rate_out:
            self._blocks = _decode(self._file, self.info, position, _DECODE_FRAMES)
            self._ahead = np.zeros((0, self.channels), np.float32)
            return
        # Both clocks meet every `step` input samples: started there, and early enough for the
        # filter to fill, the resampler gives the samples that it gives from the file's start.
        step = rate_in // math.gcd(rate_in, rate_out)
        margin = math.ceil(4096 * max(1.0, rate_in / rate_out))
        meeting = max(0, position * rate_in // rate_out - margin) // step
        self._blocks = _resampled(
            _decode(self._file, self.info, meeting * step, _RESAMPLE_FRAMES), self.info, rate_out
        )
        skip = position - meeting * (rate_out // math.gcd(rate_in, rate_out))
        self._ahead = np.zeros((0, self.channels), np.float32)
        while skip > 0:
            block = next(self._blocks)
            self._ahead = block[skip:]
            skip -= len(block) - len(self._ahead)

    def read(self, frames: int) -> FloatArray:
        """Return the next ``(channels, frames)`` samples, zeros after the end.

        Raises
        ------
        InputError
            When the file turns out to be damaged or shorter than its header says.
        """
        out = np.zeros((self.channels, frames), np.float32)
        wanted = min(frames, self._left)
        done = 0
        while done < wanted:
            if len(self._ahead) == 0:
                self._ahead = next(self._blocks)
            part = self._ahead[: wanted - done]
            out[:, done : done + len(part)] = part.T
            self._ahead = self._ahead[len(part) :]
            done += len(part)
        self._left -= done
        if self._left == 0 and not self._file.closed:
            # Sessions have hundreds of tracks of unequal length; a file descriptor is scarce.
            self._finish()
        return out

    def _finish(self) -> None:
        """Let the decoder notice that the file ends early, then close it."""
        for _ in self._blocks:
            pass
        self._file.close()


def read_blocks(
    path: Path, *, block_frames: int = 65_536, sample_rate: int | None = None
) -> Iterator[FloatArray]:
    """Yield the file as ``(channels, block_frames)`` blocks; the last one is shorter.

    Raises
    ------
    InputError
        As :class:`AudioStream`.
    """
    if block_frames < 1:
        raise ValueError(f"block_frames is {block_frames}: use 1 or more")
    with AudioStream(path, sample_rate=sample_rate) as stream:
        for start in range(0, stream.frames, block_frames):
            yield stream.read(min(block_frames, stream.frames - start))


def read(
    path: Path,
    *,
    sample_rate: int | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> FloatArray:
    """Return a file, or an excerpt of it, as ``(channels, frames)``.

    Parameters
    ----------
    start_s, duration_s
        The excerpt; what of it lies past the end of the file is left away.

    Raises
    ------
    InputError
        As :class:`AudioStream`.
    """
    if start_s < 0.0 or (duration_s is not None and duration_s < 0.0):
        raise ValueError(f"excerpt from {start_s} s, {duration_s} s long: use values from 0")
    with AudioStream(path, sample_rate=sample_rate) as stream:
        start = min(stream.frames, round(start_s * stream.sample_rate))
        left = stream.frames - start
        if start:
            stream._start(start)
        if duration_s is None:
            return stream.read(left)
        return stream.read(min(left, round(duration_s * stream.sample_rate)))
