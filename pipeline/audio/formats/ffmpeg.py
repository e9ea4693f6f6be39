"""The programs ``ffprobe`` and ``ffmpeg``, run as processes of their own.

They are told which container to expect, reach no network, and take a file's name as data.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio.formats.kind import AudioKind
from pipeline.errors import InputError, Problem
from pipeline.units import FloatArray

__all__ = ["BLOCK_FRAMES", "NoSoundError", "ProgramBlocks", "Sound", "program_sound"]

BLOCK_FRAMES = 32_768

_PROBE_SECONDS = 60.0
_LONGEST_MESSAGE = 200


class NoSoundError(InputError):
    """A file holds pictures and no sound."""

    def __init__(self, path: Path) -> None:
        super().__init__([Problem(str(path), "holds pictures and no sound", "name an audio file")])


@dataclass(frozen=True)
class Sound:
    """What a container tells of the first sound in it.

    Parameters
    ----------
    codec
        As FFmpeg calls it.
    start_s
        When it begins, after the container's own beginning.
    duration_s
        How long it is said to be; 0 where that is not said.
    streams
        How many sounds there are.
    """

    codec: str
    sample_rate: int
    channels: int
    start_s: float
    duration_s: float
    streams: int


def _input(path: Path, kind: AudioKind) -> list[str | bytes]:
    # "file:" before it, a name is a name: no option, no protocol, no list of other files.
    return [
        "-protocol_whitelist", "file,pipe", "-f", kind.demuxer, "-i",
        b"file:" + os.fsencode(path.absolute()),
    ]  # fmt: skip


def program_sound(path: Path, kind: AudioKind) -> Sound:
    """Look at the first sound in a file.

    Raises
    ------
    NoSoundError
        When there are pictures alone.
    OSError
        With a message in words, when there is none.
    """
    command = [
        "ffprobe", "-v", "error", "-show_entries",
        "stream=codec_type,codec_name,sample_rate,channels,start_time,duration"
        ":format=start_time,duration",
        "-of", "json", *_input(path, kind),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_SECONDS
        )
        probe = json.loads(done.stdout or b"{}")
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise OSError("ffprobe makes nothing of it") from error
    streams = probe.get("streams", [])
    sounds = [s for s in streams if s.get("codec_type") == "audio"]
    if not sounds and any(s.get("codec_type") == "video" for s in streams):
        raise NoSoundError(path)
    if not sounds:
        raise OSError(_message(done.stderr) or "it holds no sound")
    first = sounds[0]
    whole = probe.get("format", {})
    try:
        start_s = _seconds(first.get("start_time"))
        if kind.demuxer != "mov":  # whose times count from nought
            start_s -= _seconds(whole.get("start_time"))
        return Sound(
            codec=str(first.get("codec_name", "unknown")),
            sample_rate=int(first.get("sample_rate", 0)),
            channels=int(first.get("channels", 0)),
            start_s=start_s,
            duration_s=_seconds(first.get("duration")) or _seconds(whole.get("duration")),
            streams=len(sounds),
        )
    except (TypeError, ValueError) as error:
        raise OSError("ffprobe makes nothing of it") from error


def _seconds(text: object) -> float:
    return float(text) if isinstance(text, str) and text != "N/A" else 0.0


def _message(raw: bytes) -> str:
    """Return the first complaint, without what FFmpeg puts before it."""
    for line in raw.decode("utf-8", "replace").splitlines():
        text = line.rpartition("] ")[2].strip()
        if text:
            return "".join(c for c in text if c.isprintable())[:_LONGEST_MESSAGE]
    return ""


class ProgramBlocks:
    """The output of ``ffmpeg``, as blocks of ``(channels, frames)`` float32.

    Attributes
    ----------
    failure
        What it complained of, once all was read; empty if of nothing.
    """

    def __init__(self, path: Path, kind: AudioKind, sample_rate: int, channels: int) -> None:
        command = [
            "ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-threads", "1",
            *_input(path, kind), "-map", "0:a:0", "-vn", "-sn", "-dn", "-ar", str(sample_rate),
            "-ac", str(channels), "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1",
        ]  # fmt: skip
        self._channels = channels
        # Not a pipe: one that nobody reads would stop it.
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
            )
        except OSError:
            self._complaints.close()
            raise
        self.failure = ""

    def __iter__(self) -> Iterator[FloatArray]:
        return self

    def __next__(self) -> FloatArray:
        output = self._process.stdout
        frame_bytes = 4 * self._channels
        raw = b"" if output is None else output.read(BLOCK_FRAMES * frame_bytes)
        if not raw:
            self._finish()
            raise StopIteration
        whole = raw[: len(raw) // frame_bytes * frame_bytes]
        return np.frombuffer(whole, "<f4").astype(np.float32).reshape(-1, self._channels).T

    def _finish(self) -> None:
        if self._process.wait() != 0 or self._complaints.tell():
            self._complaints.seek(0)
            self.failure = _message(self._complaints.read(65_536)) or (
                f"ffmpeg ended with status {self._process.returncode}"
            )

    def close(self) -> None:
        """End the process, wherever it is."""
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
        self._complaints.close()

    def __del__(self) -> None:
        if not self._complaints.closed:
            self.close()
