"""FFmpeg's libraries through PyAV, where the program is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.audio.formats.ffmpeg import NoSoundError, Sound
from pipeline.audio.formats.kind import AudioKind
from pipeline.units import FloatArray

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["LibraryBlocks", "library_sound"]


def _opened(path: Path, kind: AudioKind) -> InputContainer:
    import av  # not everyone has it

    try:
        return av.open(
            f"file:{path.absolute()}",
            format=kind.demuxer,
            options={"protocol_whitelist": "file,pipe"},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, UnicodeError) as error:
        raise OSError(_message(error)) from error


def _message(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def library_sound(path: Path, kind: AudioKind) -> Sound:
    """Look at the first sound in a file.

    Raises
    ------
    NoSoundError
        When there are pictures alone.
    OSError
        With a message in words, when there is none.
    """
    with _opened(path, kind) as container:
        sounds = container.streams.audio
        if not sounds and container.streams.video:
            raise NoSoundError(path)
        if not sounds:
            raise OSError("it holds no sound")
        first = sounds[0]
        base = float(first.time_base or 0)
        start_s = float(first.start_time or 0) * base
        if kind.demuxer != "mov":  # whose times count from nought
            start_s -= float(container.start_time or 0) / 1e6
        duration_s = float(first.duration or 0) * base or float(container.duration or 0) / 1e6
        return Sound(
            codec=first.codec_context.name,
            sample_rate=first.codec_context.sample_rate or 0,
            channels=first.codec_context.channels,
            start_s=start_s,
            duration_s=duration_s,
            streams=len(sounds),
        )


class LibraryBlocks:
    """What PyAV decodes, as blocks of ``(channels, frames)`` float32.

    Attributes
    ----------
    failure
        Why the decoding ended, once it has; empty if at the end of the file.
    """

    def __init__(self, path: Path, kind: AudioKind, sample_rate: int, channels: int) -> None:
        self._container = _opened(path, kind)
        self._channels = channels
        self._sample_rate = sample_rate
        self._blocks = self._decoded()
        self.failure = ""

    def __iter__(self) -> Iterator[FloatArray]:
        return self._blocks

    def _decoded(self) -> Iterator[FloatArray]:
        import av

        container = self._container
        resampler = av.AudioResampler(format="fltp", rate=self._sample_rate)
        try:
            for frame in container.decode(container.streams.audio[0]):
                yield from self._arrays(resampler, frame)
            yield from self._arrays(resampler, None)
        except av.error.FFmpegError as error:
            self.failure = _message(error)

    def _arrays(self, resampler: object, frame: object) -> Iterator[FloatArray]:
        for part in resampler.resample(frame):  # type: ignore[attr-defined]
            block = np.asarray(part.to_ndarray(), np.float32)
            if block.shape[0] != self._channels:
                raise OSError(f"its sound changes from {self._channels} channels")
            yield block

    def close(self) -> None:
        """Close the file."""
        self._container.close()
