"""Plain PCM samples, read straight from the file: WAV, RF64 and AIFF without any compression.

Such a file needs no decoder, only its bytes in the right places: that is 20 times faster than
through libsndfile. The values are libsndfile's, bit for bit; what a header leaves open, and every
other format, stays with libsndfile.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.audio.formats.containers import Header
from pipeline.jit import kernel
from pipeline.units import Float32Array

__all__ = ["PcmLayout", "PcmReader", "pcm_layout"]


_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_DTYPES = {"PCM_16": "i2", "PCM_32": "i4", "FLOAT": "f4", "DOUBLE": "f8"}
_SCALES = {"PCM_16": 2.0**-15, "PCM_32": 2.0**-31, "FLOAT": 1.0, "DOUBLE": 1.0}
_FRAMES_A_READ = 32_768


@dataclass(frozen=True)
class PcmLayout:
    """Where the samples lie in a file, and how they are stored.

    Parameters
    ----------
    start
        Of the first sample, in bytes.
    subtype
        ``"PCM_16"``, ``"PCM_24"``, ``"PCM_32"``, ``"FLOAT"`` or ``"DOUBLE"``.
    channels
        Interleaved.
    big_endian
        Whether the first byte of a sample is its highest.
    """

    start: int
    subtype: str
    channels: int
    big_endian: bool = False

    @property
    def frame_bytes(self) -> int:
        """Length of one sample of all channels."""
        return self.channels * _BYTES[self.subtype]


def pcm_layout(
    header: Header, *, format: str, subtype: str, channels: int, frames: int
) -> PcmLayout | None:
    """Say where a file's samples lie, if they can be read as they are.

    Parameters
    ----------
    header
        Of :func:`pipeline.audio.formats.containers.read_header`.
    format, subtype, channels, frames
        What libsndfile says of the file.

    Returns
    -------
    PcmLayout or None
        None unless the file is plain PCM and its header agrees with libsndfile's reading of it.
    """
    if subtype not in _BYTES or format not in ("WAV", "WAVEX", "RF64", "AIFF"):
        return None
    # RIFX is a big-endian WAV and AIFC an AIFF of many encodings: rare, and left to libsndfile.
    if header.form not in (b"RIFFWAVE", b"RF64WAVE", b"FORMAIFF"):
        return None
    big_endian = header.form == b"FORMAIFF"
    layout = PcmLayout(header.audio_start, subtype, channels, big_endian)
    if header.patches:  # whole samples, of which a WAV over 4 GiB has more than libsndfile sees
        return layout if frames <= header.held_bytes // layout.frame_bytes else None
    if header.held_bytes // layout.frame_bytes != frames:
        return None
    return layout


@kernel
def _unpack_24(
    raw: npt.NDArray[np.uint8], first: int, stride: int, low: int, high: int, out: Float32Array
) -> None:  # pragma: no cover - compiled
    """Unpack one channel; ``low`` and ``high`` are the places of a sample's outer bytes."""
    at = first
    for i in range(out.size):
        value = (
            np.int32(raw[at + low])
            | (np.int32(raw[at + 1]) << np.int32(8))
            | (np.int32(np.int8(raw[at + high])) << np.int32(16))
        )
        out[i] = np.float32(value) * np.float32(2.0**-23)
        at += stride


@kernel
def _four(
    packed: npt.NDArray[np.int32], i: int
) -> tuple[np.float32, np.float32, np.float32, np.float32]:  # pragma: no cover - compiled
    """Unpack the four little-endian samples of 24 bits in three words."""
    a, b, c = packed[3 * i], packed[3 * i + 1], packed[3 * i + 2]
    # The bits of each sample, moved to the top of a word.
    first = a << np.int32(8)
    second = (b << np.int32(16)) | ((a >> np.int32(16)) & np.int32(0xFF00))
    third = (c << np.int32(24)) | ((b >> np.int32(8)) & np.int32(0xFFFF00))
    fourth = c & np.int32(-256)
    scale = np.float32(2.0**-31)
    return (
        np.float32(np.int32(first)) * scale,
        np.float32(np.int32(second)) * scale,
        np.float32(np.int32(third)) * scale,
        np.float32(np.int32(fourth)) * scale,
    )


@kernel
def _unpack_24_mono(
    packed: npt.NDArray[np.int32], out: Float32Array
) -> None:  # pragma: no cover - compiled
    for i in range(packed.size // 3):
        out[4 * i], out[4 * i + 1], out[4 * i + 2], out[4 * i + 3] = _four(packed, i)


@kernel
def _unpack_24_stereo(
    packed: npt.NDArray[np.int32], left: Float32Array, right: Float32Array
) -> None:  # pragma: no cover - compiled
    for i in range(packed.size // 3):
        left[2 * i], right[2 * i], left[2 * i + 1], right[2 * i + 1] = _four(packed, i)


@kernel
def _unpack_integers(
    raw: npt.NDArray[np.int32], first: int, stride: int, scale: np.float32, out: Float32Array
) -> None:  # pragma: no cover - compiled
    if stride == 2:  # a stride that the compiler knows is vectorised
        for i in range(out.size):
            out[i] = np.float32(raw[first + 2 * i]) * scale
    else:
        for i in range(out.size):
            out[i] = np.float32(raw[first + i * stride]) * scale


class PcmReader:
    """An open file of plain PCM.

    Parameters
    ----------
    path
        The file.
    layout
        Of :func:`pcm_layout`.

    Raises
    ------
    OSError
        When the file cannot be opened.
    """

    def __init__(self, path: Path, layout: PcmLayout) -> None:
        self._layout = layout
        self._file = path.open("rb", buffering=0)
        self._buffer = bytearray()
        self.seek(0)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._file.closed

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._buffer = bytearray()

    def seek(self, frame: int) -> None:
        """Go to a frame."""
        self._file.seek(self._layout.start + frame * self._layout.frame_bytes)

    def read_into(self, out: Float32Array) -> int:
        """Fill ``out`` (channels, frames) from here on, and return how many frames there were.

        Each row of ``out`` is contiguous. Fewer frames than asked for mean that the file ends.

        Raises
        ------
        OSError
            When the system cannot read the file.
        """
        frames = out.shape[1]
        done = 0
        while done < frames:
            wanted = min(frames - done, _FRAMES_A_READ)
            count = self._read_block(out[:, done : done + wanted])
            done += count
            if count < wanted:
                break
        return done

    def _read_block(self, out: Float32Array) -> int:
        frame_bytes = self._layout.frame_bytes
        wanted = out.shape[1] * frame_bytes
        if len(self._buffer) < wanted:
            self._buffer = bytearray(wanted)
        view = memoryview(self._buffer)
        held = 0
        while held < wanted:
            count = self._file.readinto(view[held:wanted])
            if not count:
                break
            held += count
        frames = held // frame_bytes
        self._unpack(frames, out)
        return frames

    def _unpack(self, frames: int, out: Float32Array) -> None:
        layout = self._layout
        if layout.subtype == "PCM_24":
            self._unpack_24(frames, out)
            return
        order = ">" if layout.big_endian else "<"
        count = frames * layout.channels
        samples = np.frombuffer(self._buffer, order + _DTYPES[layout.subtype], count)
        if not samples.dtype.isnative:
            samples = samples.astype(samples.dtype.newbyteorder("="))
        scale = np.float32(_SCALES[layout.subtype])
        for channel, row in enumerate(out):
            _unpack_integers(samples, channel, layout.channels, scale, row[:frames])

    def _unpack_24(self, frames: int, out: Float32Array) -> None:
        layout = self._layout
        octets = np.frombuffer(self._buffer, np.uint8, frames * layout.frame_bytes)
        done = 0
        if layout.channels <= 2 and not layout.big_endian and sys.byteorder == "little":
            packed = octets[: octets.size // 12 * 12].view(np.int32)
            done = packed.size // 3 * 4 // layout.channels
            if layout.channels == 1:
                _unpack_24_mono(packed, out[0, :done])
            else:
                _unpack_24_stereo(packed, out[0, :done], out[1, :done])
        low, high = (2, 0) if layout.big_endian else (0, 2)
        rest = octets[done * layout.frame_bytes :]
        for channel, row in enumerate(out):
            _unpack_24(rest, 3 * channel, layout.frame_bytes, low, high, row[done:frames])
