"""What an audio file is, told by its header, and what is refused before any of it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import soundfile

from pipeline.audio.formats.decoders import Decoder
from pipeline.audio.formats.foreign import INSTALL_REMEDY, reader
from pipeline.audio.formats.kind import AudioKind, sniff
from pipeline.audio.formats.pcm import PcmLayout
from pipeline.audio.formats.recordings import (
    Recording,
    UnlikeRecordingsError,
    open_foreign,
    open_recording,
)
from pipeline.errors import InputError, Problem, missing_remedy

__all__ = [
    "AUDIO_SUFFIXES",
    "HIGHEST_RATE_HZ",
    "LOWEST_RATE_HZ",
    "UNREADABLE_SUFFIXES",
    "AudioInfo",
    "open_audio",
    "probe",
    "refusal",
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

_SNDFILE_DEMUXERS = frozenset((
    "wav", "w64", "aiff", "caf", "flac", "ogg", "mp3", "au", "voc", "nistsphere", "iff",
))  # fmt: skip

# libsndfile's public error numbers (sndfile.h); its texts are of no help to a user.
_SNDFILE_ERRORS = {
    1: f"its content is not {_READABLE}",
    2: "the system refused to read it",
    3: "its header is damaged",
    4: "its encoding is not supported",
}
_UNSUPPORTED = 4


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
    plain
        Whether its samples are PCM that is read as it lies there: to read it again costs little.
    remarks
        How it is read otherwise than its header says, in words.
    latency
        How late it may sound against the same take as WAV, in words; None where nothing is known
        to make it so.
    incomplete
        What is missing of it, in words; None if nothing. What is there can be read.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str
    time_reference: int | None = None
    plain: bool = False
    remarks: tuple[str, ...] = ()
    latency: str | None = None
    incomplete: str | None = None

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
    file, info, _ = open_audio(path)
    file.close()
    return info


def refusal(path: Path, what: str, remedy: str) -> InputError:
    """Return the error that says what is wrong with a file."""
    return InputError([Problem(str(path), what, remedy)])


def open_audio(path: Path) -> tuple[Decoder, AudioInfo, PcmLayout | None]:
    """Open a file; return it, its header and, for plain PCM, where its samples lie.

    Raises
    ------
    InputError
        As :func:`probe`.
    """
    try:
        if not path.is_file():
            if path.exists():
                raise refusal(path, "is not a file", "name an audio file")
            raise refusal(path, "does not exist", missing_remedy(path, "correct the name"))
        state = path.stat()
        if state.st_size == 0:
            raise refusal(path, "is empty (0 bytes)", "export it again")
        kind = sniff(path)
        recording = _open(path, kind, (state.st_size, state.st_mtime_ns, state.st_ino))
    except OSError as error:
        reason = error.strerror or str(error)
        raise refusal(
            path, f"cannot be read ({reason})", "make it readable and try again"
        ) from error
    decoder = recording.decoder
    info = AudioInfo(
        path=path,
        sample_rate=decoder.sample_rate,
        channels=decoder.channels,
        frames=recording.frames,
        format=decoder.format,
        subtype=decoder.subtype,
        time_reference=recording.time_reference,
        plain=recording.layout is not None,
        remarks=recording.remarks,
        latency=recording.latency,
        incomplete=recording.incomplete,
    )
    wrong = _header_fault(info)
    if wrong is not None:
        decoder.close()
        raise refusal(path, *wrong)
    return decoder, info, recording.layout


def _open(path: Path, kind: AudioKind | None, stamp: tuple[int, ...]) -> Recording:
    if kind is not None and kind.demuxer not in _SNDFILE_DEMUXERS:
        return _foreign(path, kind, stamp)
    try:
        return open_recording(path, kind, stamp)
    except UnlikeRecordingsError as error:
        raise refusal(
            path, f"holds recordings that do not go together ({error})", "split it into its parts"
        ) from error
    except soundfile.LibsndfileError as error:
        # What has a header that is known, and is damaged, is not for another decoder to guess at.
        if kind is not None and (
            error.code not in _SNDFILE_ERRORS
            or error.code == _UNSUPPORTED
            or (error.code == 1 and kind.demuxer in ("ogg", "mp3", "au", "iff"))
        ):
            return _foreign(path, kind, stamp)
        reason = _SNDFILE_ERRORS.get(error.code, f"libsndfile error {error.code}")
        raise refusal(
            path, f"is not readable audio ({reason})", f"export it again as {_READABLE}"
        ) from error


def _foreign(path: Path, kind: AudioKind, stamp: tuple[int, ...]) -> Recording:
    if reader() is None:
        raise refusal(path, f"is {kind.name} audio, which FFmpeg is needed for", INSTALL_REMEDY)
    try:
        return open_foreign(path, kind, stamp)
    except OSError as error:
        reason = error.strerror or str(error)
        raise refusal(
            path,
            f"is {kind.name} that cannot be decoded ({reason})",
            "export it again, or convert it to WAV or FLAC",
        ) from error


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
