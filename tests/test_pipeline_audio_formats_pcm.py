"""Plain PCM read as it lies in the file: libsndfile's values, bit for bit, or left to it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio.formats.pcm import PcmReader
from pipeline.audio.info import open_audio
from pipeline.audio.stream import AudioStream, read, write
from pipeline.errors import InputError

FRAMES = 40_003
PLAIN = [
    *((kind, subtype) for kind in ("WAV", "WAVEX", "RF64") for subtype in
      ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    ("AIFF", "PCM_16"), ("AIFF", "PCM_24"), ("AIFF", "PCM_32"),
]  # fmt: skip


def material(channels: int, frames: int = FRAMES) -> np.ndarray:
    """Return noise with its extremes: full scale on both sides, the smallest steps, zero."""
    rng = np.random.default_rng(channels)
    audio = rng.uniform(-1.0, 1.0, (frames, channels))
    audio[:8] = np.array([-1.0, 1.0, 0.0, -0.0, 2.0**-31, -(2.0**-31), 2.0**-23, -(2.0**-15)])[
        :, None
    ]
    return audio


def judged(path: Path) -> np.ndarray:
    return np.asarray(soundfile.read(path, dtype="float32", always_2d=True)[0].T)


def is_plain(path: Path) -> bool:
    file, _, layout = open_audio(path)
    file.close()
    return layout is not None


@pytest.mark.parametrize(("kind", "subtype"), PLAIN)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_values_are_those_of_libsndfile(
    tmp_path: Path, kind: str, subtype: str, channels: int
) -> None:
    path = tmp_path / "track.wav"
    soundfile.write(path, material(channels), 48_000, format=kind, subtype=subtype)
    assert is_plain(path)
    wanted = judged(path)
    np.testing.assert_array_equal(read(path).view(np.int32), wanted.view(np.int32))
    with AudioStream(path) as stream:
        for start, frames in ((39_000, 500), (17, 1), (0, 33_000), (40_000, 3), (5, 9)):
            stream.seek(start)
            np.testing.assert_array_equal(stream.read(frames), wanted[:, start : start + frames])


def test_every_16_bit_value_and_every_pattern_of_24(tmp_path: Path) -> None:
    path = tmp_path / "track.wav"
    steps = np.arange(-(2**15), 2**15, dtype=np.int16)
    soundfile.write(path, steps, 48_000, subtype="PCM_16")
    np.testing.assert_array_equal(read(path)[0], steps / np.float32(2**15))
    # Each byte at its turning points, in each place.
    octets = np.array([0, 1, 0x7F, 0x80, 0xFF])
    high, middle, low = np.meshgrid(octets, octets, octets)
    values = (high.ravel() << 16 | middle.ravel() << 8 | low.ravel()).astype(np.int32)
    values[values >= 2**23] -= 2**24
    soundfile.write(path, values << 8, 48_000, subtype="PCM_24")
    np.testing.assert_array_equal(read(path)[0], values / np.float32(2**23))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, 1e-300])
def test_what_float32_cannot_hold_comes_as_from_libsndfile(tmp_path: Path, value: float) -> None:
    path = tmp_path / "track.wav"
    audio = material(2)
    audio[1000, 1] = value
    for subtype in ("FLOAT", "DOUBLE"):
        soundfile.write(path, audio, 48_000, subtype=subtype)
        assert is_plain(path)
        np.testing.assert_array_equal(read(path), judged(path))


def test_a_chunk_before_the_audio_and_a_chunk_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "track.wav"
    soundfile.write(path, material(2), 48_000, subtype="PCM_24")
    wanted = judged(path)
    data = path.read_bytes()
    odd = b"junk" + struct.pack("<I", 7) + bytes(8)
    path.write_bytes(data[:12] + odd + data[12:] + odd)
    assert is_plain(path)
    np.testing.assert_array_equal(read(path), wanted)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0])
def test_a_length_left_open_is_that_of_the_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "piped.wav"
    soundfile.write(path, material(2), 48_000, subtype="PCM_16")
    wanted = judged(path)
    data = path.read_bytes()
    at = data.index(b"data") + 4
    path.write_bytes(data[:at] + struct.pack("<I", size) + data[at + 4 :])
    assert is_plain(path)
    np.testing.assert_array_equal(read(path), wanted)


@pytest.mark.parametrize(
    ("kind", "subtype", "endian"),
    [
        ("WAV", "PCM_U8", "FILE"),
        ("WAV", "ULAW", "FILE"),
        ("WAV", "MS_ADPCM", "FILE"),
        ("WAV", "PCM_24", "BIG"),
        ("AIFF", "PCM_16", "LITTLE"),
        ("AIFF", "FLOAT", "FILE"),
        ("W64", "PCM_24", "FILE"),
        ("CAF", "PCM_24", "FILE"),
        ("FLAC", "PCM_24", "FILE"),
    ],
)
def test_other_formats_are_left_to_libsndfile(
    tmp_path: Path, kind: str, subtype: str, endian: str
) -> None:
    path = tmp_path / "track.wav"
    soundfile.write(path, 0.5 * material(2), 48_000, format=kind, subtype=subtype, endian=endian)
    assert not is_plain(path)
    np.testing.assert_array_equal(read(path), judged(path))


@pytest.mark.parametrize("frames", [1, 32_767, 32_768, 32_769])
def test_a_file_written_here_is_read_back(tmp_path: Path, frames: int) -> None:
    path = tmp_path / "track.wav"
    audio = material(1, frames=max(frames, 8))[:frames].T.astype(np.float32)
    write(path, audio, sample_rate=48_000)
    assert is_plain(path)
    np.testing.assert_array_equal(read(path), audio)


def test_a_file_cut_short_while_it_is_open_says_so(tmp_path: Path) -> None:
    path = tmp_path / "track.wav"
    soundfile.write(path, material(1, 96_000), 48_000, subtype="PCM_16")
    with AudioStream(path) as stream:
        first = stream.read(40_000)
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 2 * 48_000)
        with pytest.raises(InputError, match=r"its audio ends after 1\.000 s of 2\.000 s"):
            stream.read(56_000)
    assert first.any()


def test_a_reader_says_how_much_there_was(tmp_path: Path) -> None:
    path = tmp_path / "track.wav"
    soundfile.write(path, material(2, 100), 48_000, subtype="PCM_24")
    file, _, layout = open_audio(path)
    file.close()
    assert layout is not None
    reader = PcmReader(path, layout)
    reader.seek(90)
    out = np.full((2, 32), 9.0, np.float32)
    assert reader.read_into(out) == 10
    np.testing.assert_array_equal(out[:, :10], judged(path)[:, 90:])
    assert np.all(out[:, 10:] == 9.0)
    reader.close()
    assert reader.closed
