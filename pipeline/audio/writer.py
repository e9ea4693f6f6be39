"""Audio files written whole or not at all, quantised with dither by ourselves.

A file is written next to its place and moved there when it is whole. libsndfile would clip and
truncate without a word; here samples over full scale are counted, the dither is ours, and what it
encoded is read back, since it says nothing of a disk that was full when it wrote its last bytes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import soundfile

from pipeline.audio.formats.containers import WAV_HEADER_BYTES, wav_header
from pipeline.errors import InputError, Problem
from pipeline.jit import kernel
from pipeline.units import FloatArray

__all__ = ["AudioWriter", "FileFormat", "Subtype", "rate_problem", "write"]

FileFormat = Literal["wav", "flac", "mp3"]
Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]

_MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_FLAC_HIGHEST_RATE_HZ = 655_350
_READ_FRAMES = 1 << 18


@kernel
def _quantise(
    block: FloatArray,
    start: int,
    seed: np.uint64,
    bits: int,
    dithered: bool,
    out: npt.NDArray[np.int32],
) -> int:  # pragma: no cover - compiled
    """Quantise to left-aligned integers; return how many samples were over full scale, -1 if NaN.

    The dither of a sample is a hash of seed, position and channel (SplitMix64, Steele et al.
    2014), so that it does not depend on how the audio is cut into blocks. The difference of two
    uniform numbers is triangular between -1 and 1 step.
    """
    channels, frames = block.shape
    scale = 2.0 ** (bits - 1)
    unit = 2.0 ** (32 - bits)
    clipped = 0
    for channel in range(channels):
        for i in range(frames):
            x = np.float64(block[channel, i])
            if not np.isfinite(x):
                return -1
            if abs(x) > 1.0:
                clipped += 1
            y = x * scale
            if dithered:
                count = np.uint64((start + i) * channels + channel + 1)
                z = np.uint64(seed * np.uint64(0xD1342543DE82EF95))
                z = np.uint64(z + count * np.uint64(0x9E3779B97F4A7C15))
                z = np.uint64((z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
                z = np.uint64((z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
                z = np.uint64(z ^ (z >> np.uint64(31)))
                high = np.float64(z >> np.uint64(32))
                low = np.float64(z & np.uint64(0xFFFFFFFF))
                y += (high - low) / 4294967296.0
            step = np.rint(y)
            step = min(max(step, -scale), scale - 1.0)
            out[i, channel] = np.int32(step * unit)
    return clipped


class _WavFile:
    """Samples as bytes behind a header that is completed when their number is known."""

    def __init__(self, path: Path, *, sample_rate: int, channels: int, subtype: Subtype) -> None:
        self._layout: dict[str, Any] = {
            "channels": channels,
            "sample_rate": sample_rate,
            "bits": {"PCM_16": 16, "PCM_24": 24, "FLOAT": 32}[subtype],
            "is_float": subtype == "FLOAT",
        }
        self._file = path.open("xb")
        self._frames = 0
        self._file.write(bytes(WAV_HEADER_BYTES))

    def write(self, block: npt.NDArray[np.int32] | FloatArray) -> None:
        """Append ``(frames, channels)``: floats, or integers aligned to the left."""
        bits = self._layout["bits"]
        if self._layout["is_float"]:
            data = block.astype("<f4", copy=False).tobytes()
        else:
            octets = np.ascontiguousarray(block, "<i4").view(np.uint8).reshape(-1, 4)
            data = octets[:, 4 - bits // 8 :].tobytes()
        self._file.write(data)
        self._frames += len(block)

    def close(self, *, whole: bool = True) -> None:
        """Complete the header if the file is whole, and close it."""
        with self._file as file:
            if whole:
                if file.tell() % 2:
                    file.write(b"\0")
                file.seek(0)
                file.write(wav_header(frames=self._frames, **self._layout))


class AudioWriter:
    """A file written block by block, which appears in its place when it is whole, or not at all.

    Parameters
    ----------
    format
        ``"wav"`` (RF64 from 4 GB on), ``"flac"`` or ``"mp3"`` (constant, the highest bit rate).
    subtype
        Sample format of WAV and FLAC; an MP3 has none and takes any.
    dither_seed
        Seed of the triangular dither of ``PCM_16`` and ``PCM_24``; None rounds without dither.

    Attributes
    ----------
    clipped
        Samples over full scale so far; in ``PCM`` files they are held at full scale.
    frames
        Frames written so far.

    Raises
    ------
    InputError
        When the format cannot hold the subtype, the rate or the number of channels.
    OSError
        On leaving the ``with`` block, when what was written cannot be read back whole.

    Notes
    -----
    Leaving the ``with`` block by an exception, Ctrl-C included, removes what was written.
    """

    def __init__(
        self,
        path: Path,
        *,
        sample_rate: int,
        channels: int,
        format: FileFormat = "wav",
        subtype: Subtype = "PCM_24",
        dither_seed: int | None = None,
    ) -> None:
        _refuse_layout(path, sample_rate, channels, format, subtype)
        self.path = path
        self.clipped = 0
        self.frames = 0
        self._channels = channels
        self._format = format
        self._written = hashlib.blake2b()  # of a FLAC's integers
        self._bits = {"PCM_16": 16, "PCM_24": 24}.get(subtype) if format != "mp3" else None
        self._seed = dither_seed
        self._temporary = path.with_name(f".{uuid.uuid4().hex}.part")
        if format == "wav":
            self._file: Any = _WavFile(
                self._temporary, sample_rate=sample_rate, channels=channels, subtype=subtype
            )
            return
        mp3 = format == "mp3"
        self._temporary.open("xb").close()  # the system's own words when this cannot be
        try:
            self._file = soundfile.SoundFile(
                os.fsencode(self._temporary) if os.name == "posix" else str(self._temporary),
                "w",
                sample_rate,
                channels,
                format=format.upper(),
                subtype="MPEG_LAYER_III" if mp3 else subtype,
                **({"compression_level": 0.0, "bitrate_mode": "CONSTANT"} if mp3 else {}),
            )
        except BaseException:
            self._temporary.unlink()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._file.close()
            self._read_back()
            self._temporary.replace(self.path)
        except OSError as error:
            self._discard()
            raise self._named(error) from error
        except BaseException:
            self._discard()
            raise

    def _read_back(self) -> None:
        """Refuse a file that does not hold what was written."""
        if self._format == "wav":
            return  # the system has taken every byte, or has said that it did not
        with self._temporary.open("r+b") as file:  # some systems sync what can be written alone
            os.fsync(file.fileno())
        frames, read = 0, hashlib.blake2b()
        try:
            with soundfile.SoundFile(
                os.fsencode(self._temporary) if os.name == "posix" else str(self._temporary)
            ) as file:
                while len(block := file.read(_READ_FRAMES, dtype="int32", always_2d=True)):
                    frames += len(block)
                    if self._format == "flac":
                        read.update(block.tobytes())
        except (soundfile.LibsndfileError, AssertionError) as error:
            raise self._incomplete(frames) from error
        same = self._format == "mp3" or read.digest() == self._written.digest()
        if frames < self.frames or not same:
            raise self._incomplete(frames)

    def _named(self, error: OSError) -> OSError:
        """Return an error of the system with the name of the file, which it lacks in a write."""
        if error.filename is not None or error.errno is None:
            return error
        return OSError(error.errno, error.strerror, str(self.path))

    def _incomplete(self, frames: int) -> OSError:
        return OSError(
            errno.EIO,
            f"{frames} of {self.frames} frames could be read back of what was written: free space "
            "on its disk, or lift the limit on the size of files",
            str(self.path),
        )

    def _discard(self) -> None:
        with contextlib.suppress(Exception):
            if isinstance(self._file, _WavFile):
                self._file.close(whole=False)
            else:
                self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, block: FloatArray) -> None:
        """Append ``(channels, frames)`` samples.

        Raises
        ------
        ValueError
            When the block has another number of channels, or a sample that is NaN or infinite.
        """
        if block.ndim != 2 or block.shape[0] != self._channels:
            raise ValueError(f"block has shape {block.shape}: give ({self._channels}, frames)")
        samples = np.ascontiguousarray(block, np.float32)
        out: npt.NDArray[np.int32] | FloatArray
        if self._bits is None:
            finite = bool(np.isfinite(samples).all())
            clipped = int(np.count_nonzero(np.abs(samples) > 1.0)) if finite else -1
            out = np.ascontiguousarray(samples.T)
        else:
            out = np.empty((samples.shape[1], self._channels), np.int32)
            seed = 0 if self._seed is None else self._seed % 2**64
            clipped = _quantise(
                samples, self.frames, np.uint64(seed), self._bits, self._seed is not None, out
            )
        if clipped < 0:
            raise ValueError(f"NaN or infinite samples after frame {self.frames} of {self.path}")
        if self._format == "flac":
            self._written.update(out.tobytes())
        try:
            self._file.write(out)
        except (soundfile.LibsndfileError, AssertionError) as error:
            raise self._incomplete(self.frames) from error
        except OSError as error:
            raise self._named(error) from error
        self.clipped += clipped
        self.frames += samples.shape[1]


def _refuse(path: Path, what: str, remedy: str) -> InputError:
    return InputError([Problem(str(path), what, remedy)])


def rate_problem(format: FileFormat, sample_rate: int, *, subject: str) -> Problem | None:
    """Return why a format cannot hold a sample rate in Hz, or None where it can.

    Parameters
    ----------
    subject
        What the problem is of: the file, or the option that asks for the format.
    """
    what = f"{format.upper()} cannot hold a sample rate of {sample_rate} Hz"
    if format == "mp3" and sample_rate not in _MP3_RATES_HZ:
        return Problem(subject, what, "mix at 48000 or 44100 Hz, or deliver WAV or FLAC")
    if format == "flac" and sample_rate > _FLAC_HIGHEST_RATE_HZ:
        return Problem(subject, what, "mix at 192000 Hz or less, or deliver WAV")
    return None


def _refuse_layout(
    path: Path, sample_rate: int, channels: int, format: FileFormat, subtype: Subtype
) -> None:
    if format == "flac" and subtype == "FLOAT":
        raise _refuse(path, "FLAC cannot hold FLOAT samples", "use PCM_24, or WAV")
    problem = rate_problem(format, sample_rate, subject=str(path))
    if problem is not None:
        raise InputError([problem])
    most = {"wav": 1024, "flac": 8, "mp3": 2}[format]
    if not 1 <= channels <= most:
        raise _refuse(path, f"{format.upper()} cannot hold {channels} channels", f"use 1 to {most}")


def write(
    path: Path,
    audio: FloatArray,
    *,
    sample_rate: int,
    format: FileFormat = "wav",
    subtype: Subtype = "FLOAT",
    dither_seed: int | None = None,
) -> int:
    """Write ``(channels, frames)`` to a file, and return how many samples were over full scale.

    Raises
    ------
    InputError, ValueError
        As :class:`AudioWriter`.
    """
    with AudioWriter(
        path,
        sample_rate=sample_rate,
        channels=len(audio),
        format=format,
        subtype=subtype,
        dither_seed=dither_seed,
    ) as writer:
        writer.write(audio)
    return writer.clipped
