"""What an audio file is, told by its header, and what is refused before any of it is decoded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import soundfile

from pipeline.containers import read_header
from pipeline.pcm import PcmLayout, pcm_layout
from pipeline.problems import InputError, Problem

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
    plain
        Whether its samples are PCM that is read as it lies there: to read it again costs little.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str
    time_reference: int | None = None
    plain: bool = False

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


def _native(path: Path) -> str | bytes:
    """Return a name that libsndfile opens whatever its bytes are."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def open_audio(path: Path) -> tuple[soundfile.SoundFile, AudioInfo, PcmLayout | None]:
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
            raise refusal(path, "does not exist", "correct the name")
        if path.stat().st_size == 0:
            raise refusal(path, "is empty (0 bytes)", "export it again")
        header = read_header(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise refusal(
            path, f"cannot be read ({reason})", "make it readable and try again"
        ) from error
    if header is not None and header.missing_bytes:
        raise refusal(
            path,
            f"is truncated: it holds {header.held_bytes:,} of the {header.promised_bytes:,} bytes "
            "of audio that its header promises",
            "copy or export it again",
        )
    try:
        file = soundfile.SoundFile(_native(path))
    except soundfile.LibsndfileError as error:
        reason = _SNDFILE_ERRORS.get(error.code, f"libsndfile error {error.code}")
        raise refusal(
            path, f"is not readable audio ({reason})", f"export it again as {_READABLE}"
        ) from error
    layout: PcmLayout | None = None
    if header is not None:
        layout = pcm_layout(
            header,
            format=file.format,
            subtype=file.subtype,
            channels=file.channels,
            frames=file.frames,
        )
    info = AudioInfo(
        path=path,
        sample_rate=file.samplerate,
        channels=file.channels,
        frames=file.frames,
        format=file.format,
        subtype=file.subtype,
        time_reference=None if header is None else header.time_reference,
        plain=layout is not None,
    )
    wrong = _header_fault(info)
    if wrong is not None:
        file.close()
        raise refusal(path, *wrong)
    return file, info, layout


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
