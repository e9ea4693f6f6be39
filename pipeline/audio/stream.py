"""Audio files: probe, read in blocks, resample, write.

Audio is float32 ``(channels, frames)`` at the rate asked for. What is read does not depend on the
size of the blocks asked for, bit for bit: plain PCM is read as it lies in the file, and what needs
a decoder or another rate is decoded and resampled in blocks of one size. Headers are read in
:mod:`pipeline.audio.info` and files written in :mod:`pipeline.audio.writer`; what is public there
is named here too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import soundfile
import soxr

from pipeline.audio.formats.pcm import PcmReader
from pipeline.audio.info import (
    AUDIO_SUFFIXES,
    HIGHEST_RATE_HZ,
    LOWEST_RATE_HZ,
    UNREADABLE_SUFFIXES,
    AudioInfo,
    open_audio,
    probe,
    refusal,
)
from pipeline.audio.writer import AudioWriter, FileFormat, Subtype, write
from pipeline.console.conditioning import Conditioning, conditioned_blocks, lead_frames
from pipeline.errors import InputError
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

_DECODE_FRAMES = 32_768
_EXCERPT_FRAMES = 8_192  # from inside a file: little is decoded in vain
_RESAMPLE_FRAMES = 8_192  # soxr holds about 100 bytes a frame: 1 MB a track instead of 3
_QUALITY = "VHQ"  # 28 bits, at the speed of 20


class _File:
    """An open file at its own rate, read by libsndfile or, plain PCM, as it lies there."""

    def __init__(self, path: Path) -> None:
        decoder, self.info, layout = open_audio(path)
        self._decoder = decoder
        self._pcm: PcmReader | None = None
        self._position = 0
        self.closed = False
        if layout is not None:
            decoder.close()
            try:
                self._pcm = PcmReader(path, layout)
            except OSError as error:
                raise self._undecodable() from error

    @property
    def plain(self) -> bool:
        """Whether the samples can be read as they lie in the file, in blocks of any size."""
        return self._pcm is not None

    def close(self) -> None:
        (self._pcm or self._decoder).close()
        self.closed = True

    def blocks(self, start: int, block_frames: int) -> Iterator[FloatArray]:
        """Yield ``(channels, frames)`` blocks of one size from ``start`` to the end of the file."""
        while start < self.info.frames:
            block = self._decode(start, min(block_frames, self.info.frames - start))
            start += block.shape[1]
            yield block

    def fill(self, out: FloatArray, start: int) -> None:
        """Fill ``out`` (channels, frames) with plain PCM from ``start`` on."""
        if self._pcm is None or self._unpack(self._pcm, out, start) < out.shape[1]:
            raise self._ended()

    def _decode(self, start: int, frames: int) -> FloatArray:
        info = self.info
        if self._pcm is not None:
            block = np.empty((info.channels, frames), np.float32)
            block = block[:, : self._unpack(self._pcm, block, start)]
        else:
            try:
                if start != self._position:
                    self._decoder.seek(start)
                self._position = start
                block = self._decoder.read(frames)
            except (soundfile.LibsndfileError, OSError) as error:
                raise self._undecodable() from error
            # An MP3 has no exact length: its last frames may be missing without any damage.
            if block.shape[1] == 0 and info.format == "MP3" and info.frames - start <= 2304:
                block = np.zeros((info.channels, frames), np.float32)
            self._position += block.shape[1]
        if block.shape[1] == 0:
            raise self._ended()
        return block

    def _unpack(self, pcm: PcmReader, out: FloatArray, start: int) -> int:
        try:
            if start != self._position:
                pcm.seek(start)
            self._position = start
            count = pcm.read_into(out)
        except OSError as error:
            raise self._undecodable() from error
        self._position += count
        return count

    def _ended(self) -> InputError:
        info = self.info
        return refusal(
            info.path,
            f"is truncated: its audio ends after {self._position / info.sample_rate:.3f} s of "
            f"{info.duration_s:.3f} s",
            "copy or export it again",
        )

    def _undecodable(self) -> InputError:
        info = self.info
        return refusal(
            info.path,
            f"cannot be decoded after {self._position / info.sample_rate:.3f} s of "
            f"{info.duration_s:.3f} s",
            "copy or export it again",
        )


class _ConditionedFile:
    """An open file whose samples are set right as they are decoded."""

    plain = False

    def __init__(self, path: Path, conditioning: Conditioning) -> None:
        self._file = _File(path)
        self._conditioning = conditioning
        info = self._file.info
        if (wrong := conditioning.problem(info.channels)) is not None:
            self._file.close()
            raise refusal(path, wrong, "correct what the plan or session.toml says of it")
        self.info = replace(info, channels=conditioning.channels_from(info.channels), plain=False)

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        self._file.close()

    def blocks(self, start: int, block_frames: int) -> Iterator[FloatArray]:
        rate = self.info.sample_rate
        early = min(start, lead_frames(self._conditioning, rate))
        raw = self._file.blocks(start - early, block_frames)
        for block in conditioned_blocks(raw, self._conditioning, sample_rate=rate):
            cut = min(early, block.shape[1])
            early -= cut
            if cut < block.shape[1]:
                yield block[:, cut:]

    def fill(self, out: FloatArray, start: int) -> None:
        raise NotImplementedError("what is set right is read in blocks")


def _opened(path: Path, conditioning: Conditioning | None) -> _File | _ConditionedFile:
    if conditioning is None or conditioning.neutral:
        return _File(path)
    return _ConditionedFile(path, conditioning)


def _resampled(
    blocks: Iterator[FloatArray], info: AudioInfo, sample_rate: int
) -> Iterator[FloatArray]:
    """Yield blocks at another rate, with a few zeros after the end to fill the last sample."""
    resampler = soxr.ResampleStream(
        info.sample_rate, sample_rate, info.channels, dtype="float32", quality=_QUALITY
    )
    for block in blocks:
        yield resampler.resample_chunk(np.ascontiguousarray(block.T)).T
    tail = np.zeros((-(-info.sample_rate // sample_rate) + 1, info.channels), np.float32)
    yield resampler.resample_chunk(tail, last=True).T


class AudioStream:
    """A file read block by block, at any sample rate.

    Parameters
    ----------
    path
        The file.
    sample_rate
        The rate wanted; None keeps the file's own.
    conditioning
        How the file's samples are set right; None keeps them.

    Attributes
    ----------
    frames
        Length at the rate asked for: ``ceil(length * ratio)``.
    channels
        Number of channels that are read.
    info
        The header; where samples are set right, with the channels that come of it.

    Raises
    ------
    InputError
        On opening when the header cannot be read, on reading when the audio cannot be decoded.

    Examples
    --------
    >>> with AudioStream(path, sample_rate=48_000) as stream:  # doctest: +SKIP
    ...     first = stream.read(4096)
    """

    def __init__(
        self,
        path: Path,
        *,
        sample_rate: int | None = None,
        conditioning: Conditioning | None = None,
    ) -> None:
        self._conditioning = conditioning
        self._file = _opened(path, conditioning)
        self.info = self._file.info
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

    def seek(self, position: int) -> None:
        """Go to a sample at the rate asked for; opens the file again where it was closed.

        At another rate than the file's own, the samples from there on are those of a stream read
        from its start to within -140 dBFS; else they are the same.

        Raises
        ------
        InputError
            As on opening and reading.
        """
        if position == self.frames - self._left and not self._file.closed:
            return
        if self._file.closed:
            self._file = _opened(self.info.path, self._conditioning)
        self._start(position)

    def _start(self, position: int) -> None:
        rate_in, rate_out = self.info.sample_rate, self.sample_rate
        self._left = self.frames - position
        self._ahead = np.zeros((self.channels, 0), np.float32)
        if rate_in == rate_out:
            size = _EXCERPT_FRAMES if position else _DECODE_FRAMES
            self._blocks = self._file.blocks(position, size)
            return
        # Both clocks meet every `step` input samples: started there, and early enough for the
        # filter to fill, the resampler gives the samples that it gives from the file's start.
        step = rate_in // math.gcd(rate_in, rate_out)
        margin = math.ceil(4096 * max(1.0, rate_in / rate_out))
        meeting = max(0, position * rate_in // rate_out - margin) // step
        self._blocks = _resampled(
            self._file.blocks(meeting * step, _RESAMPLE_FRAMES), self.info, rate_out
        )
        skip = position - meeting * (rate_out // math.gcd(rate_in, rate_out))
        while skip > 0:
            block = next(self._blocks)
            self._ahead = block[:, skip:]
            skip -= block.shape[1] - self._ahead.shape[1]

    def read(self, frames: int) -> FloatArray:
        """Return the next ``(channels, frames)`` samples, zeros after the end.

        Raises
        ------
        InputError
            When the file turns out to be damaged or shorter than its header says.
        """
        out = np.empty((self.channels, frames), np.float32)
        wanted = min(frames, self._left)
        out[:, wanted:] = 0.0
        self._fill(out[:, :wanted])
        self._left -= wanted
        if self._left == 0 and not self._file.closed:
            # Sessions have hundreds of tracks of unequal length; a file descriptor is scarce.
            self._finish()
        return out

    def _fill(self, out: FloatArray) -> None:
        if self._direct:
            self._file.fill(out, self.frames - self._left)
            return
        done, wanted = 0, out.shape[1]
        while done < wanted:
            if self._ahead.shape[1] == 0:
                self._ahead = next(self._blocks)
            part = self._ahead[:, : wanted - done]
            out[:, done : done + part.shape[1]] = part
            self._ahead = self._ahead[:, part.shape[1] :]
            done += part.shape[1]

    @property
    def _direct(self) -> bool:
        return self._file.plain and self.sample_rate == self.info.sample_rate

    def _finish(self) -> None:
        """Let the decoder notice that the file ends early, then close it."""
        if not self._direct:
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
    conditioning: Conditioning | None = None,
) -> FloatArray:
    """Return a file, or an excerpt of it, as ``(channels, frames)``.

    Parameters
    ----------
    start_s, duration_s
        The excerpt; what of it lies past the end of the file is left away.
    conditioning
        As for :class:`AudioStream`.

    Raises
    ------
    InputError
        As :class:`AudioStream`.
    """
    if start_s < 0.0 or (duration_s is not None and duration_s < 0.0):
        raise ValueError(f"excerpt from {start_s} s, {duration_s} s long: use values from 0")
    with AudioStream(path, sample_rate=sample_rate, conditioning=conditioning) as stream:
        start = min(stream.frames, round(start_s * stream.sample_rate))
        left = stream.frames - start
        stream.seek(start)
        if duration_s is None:
            return stream.read(left)
        return stream.read(min(left, round(duration_s * stream.sample_rate)))
