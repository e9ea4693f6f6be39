"""Reading audio: every format, any block size, any rate, any name, and what is refused."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import wavinfo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.audio.formats.containers import read_header
from pipeline.audio.stream import AudioStream, FileFormat, probe, read, read_blocks, write
from pipeline.errors import InputError
from pipeline.units import FloatArray

SHARED = Path(__file__).resolve().parents[2] / "shared" / "audio"

# Format and subtype as libsndfile names them, suffix, and the largest error in full scale: half a
# step of the sample format, 2e-7 for what float32 keeps of 32 bits; lossy codecs are compared by
# their error's level instead.
LOSSLESS = [
    ("WAV", "PCM_U8", ".wav", 2**-7),
    ("WAV", "PCM_16", ".WAV", 2**-15),
    ("WAV", "PCM_24", ".wav", 2e-7),
    ("WAV", "PCM_32", ".wave", 2e-7),
    ("WAV", "FLOAT", ".wav", 0.0),
    ("WAV", "DOUBLE", ".wav", 0.0),
    ("WAVEX", "PCM_24", ".wav", 2e-7),
    ("RF64", "PCM_24", ".wav", 2e-7),
    ("W64", "PCM_16", ".w64", 2**-15),
    ("W64", "FLOAT", ".w64", 0.0),
    ("AIFF", "PCM_S8", ".aif", 2**-7),
    ("AIFF", "PCM_24", ".aiff", 2e-7),
    ("AIFF", "FLOAT", ".aifc", 0.0),
    ("FLAC", "PCM_S8", ".flac", 2**-7),
    ("FLAC", "PCM_16", ".flac", 2**-15),
    ("FLAC", "PCM_24", ".flac", 2e-7),
    ("CAF", "PCM_16", ".caf", 2**-15),
    ("CAF", "PCM_32", ".caf", 2e-7),
    ("CAF", "DOUBLE", ".caf", 0.0),
]
LOSSY = [
    ("OGG", "VORBIS", ".ogg"),
    ("OGG", "OPUS", ".opus"),
    ("MP3", "MPEG_LAYER_III", ".mp3"),
]


def tone(frames: int, channels: int, sample_rate: int = 48_000) -> FloatArray:
    """Return a chord per channel at -12 dBFS, which lossy codecs keep."""
    t = np.arange(frames) / sample_rate
    rows = [
        0.125 * (np.sin(2 * np.pi * (300 + 70 * c) * t) + np.sin(2 * np.pi * (1900 + c) * t))
        for c in range(channels)
    ]
    return np.asarray(rows, np.float32)


def store(path: Path, audio: FloatArray, rate: int, kind: str, subtype: str) -> None:
    name = os.fsencode(path) if os.name == "posix" else str(path)
    soundfile.write(name, audio.T, rate, format=kind, subtype=subtype)


@pytest.mark.parametrize(("kind", "subtype", "suffix", "error"), LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2])
def test_reads_back_what_was_stored(
    tmp_path: Path, kind: str, subtype: str, suffix: str, error: float, channels: int
) -> None:
    # libsndfile adds a sample when it writes an odd number of them as 8-bit AIFF.
    frames = 40_002 if subtype == "PCM_S8" else 40_001
    audio = tone(frames, channels, 44_100)
    path = tmp_path / f"track{suffix}"
    store(path, audio, 44_100, kind, subtype)
    info = probe(path)
    assert (info.sample_rate, info.channels, info.frames) == (44_100, channels, frames)
    assert (info.format, info.subtype) == (kind, subtype)
    assert info.duration_s == pytest.approx(frames / 44_100)
    found = read(path)
    assert found.dtype == np.float32
    assert found.shape == audio.shape
    assert np.abs(found - audio).max() <= error


@pytest.mark.parametrize(("kind", "subtype", "suffix"), LOSSY)
def test_lossy_formats_keep_length_and_place(
    tmp_path: Path, kind: str, subtype: str, suffix: str
) -> None:
    audio = tone(48_000, 2)
    path = tmp_path / f"track{suffix}"
    store(path, audio, 48_000, kind, subtype)
    found = read(path)
    assert found.shape == audio.shape
    middle = slice(8_000, 40_000)
    error = np.sqrt(np.mean((found - audio)[:, middle] ** 2) / np.mean(audio[:, middle] ** 2))
    # A codec's error is about 30 dB down at these rates; one sample of delay would be 16 dB down.
    assert error < 10 ** (-22 / 20)


@given(
    frames=st.integers(1, 70_000),
    channels=st.sampled_from([1, 2]),
    rates=st.tuples(
        st.sampled_from([8_000, 22_050, 44_100, 48_000, 96_000, 192_000]),
        st.sampled_from([None, 8_000, 44_100, 47_999, 48_000, 96_000]),
    ),
    sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=5),
)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_read_size_changes_no_bit(
    tmp_path: Path,
    frames: int,
    channels: int,
    rates: tuple[int, int | None],
    sizes: list[int],
) -> None:
    path = tmp_path / "track.wav"
    rng = np.random.default_rng(frames)
    write(path, rng.uniform(-1, 1, (channels, frames)), sample_rate=rates[0])
    whole = read(path, sample_rate=rates[1])
    wanted = -(-frames * (rates[1] or rates[0]) // rates[0])
    assert whole.shape == (channels, wanted)
    pieces: list[FloatArray] = []
    with AudioStream(path, sample_rate=rates[1]) as stream:
        assert (stream.frames, stream.channels) == (wanted, channels)
        while sum(piece.shape[1] for piece in pieces) < wanted:
            pieces.append(stream.read(sizes[len(pieces) % len(sizes)]))
            assert pieces[-1].shape == (channels, sizes[(len(pieces) - 1) % len(sizes)])
        assert not stream.read(100).any()
    together = np.concatenate(pieces, axis=1)
    np.testing.assert_array_equal(together[:, :wanted], whole)
    assert not together[:, wanted:].any()


def test_blocks_cover_the_file_and_the_last_is_shorter(tmp_path: Path) -> None:
    audio = tone(10_000, 2)
    write(tmp_path / "track.wav", audio, sample_rate=48_000)
    blocks = list(read_blocks(tmp_path / "track.wav", block_frames=4_096))
    assert [block.shape[1] for block in blocks] == [4_096, 4_096, 1_808]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), audio)


@pytest.mark.parametrize(("kind", "suffix"), [("WAV", ".wav"), ("OGG", ".ogg"), ("MP3", ".mp3")])
@pytest.mark.parametrize("sample_rate", [None, 44_100, 96_000])
@pytest.mark.parametrize("start_s", [0.01, 0.75, 3.1, 9.0])
def test_excerpt_is_a_slice_of_the_whole(
    tmp_path: Path, kind: str, suffix: str, sample_rate: int | None, start_s: float
) -> None:
    path = tmp_path / f"track{suffix}"
    soundfile.write(path, tone(192_000, 2).T, 48_000, format=kind)
    whole = read(path, sample_rate=sample_rate)
    rate = sample_rate or 48_000
    part = read(path, sample_rate=sample_rate, start_s=start_s, duration_s=0.5)
    start = round(start_s * rate)
    wanted = whole[:, start : start + rate // 2]
    assert part.shape == wanted.shape
    # Started elsewhere, the resampler's block transforms round differently: -140 dBFS.
    np.testing.assert_allclose(part, wanted, atol=1e-7)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(44_100, 48_000), (96_000, 48_000)])
def test_resampling_agrees_with_an_independent_filter(
    tmp_path: Path, rate_in: int, rate_out: int
) -> None:
    # One second of noise up to 8 kHz, where both filters are flat, faded at its ends.
    rng = np.random.default_rng(1)
    spectrum = np.fft.rfft(rng.uniform(-1, 1, (2, rate_in)))
    spectrum[:, 8_000:] = 0.0
    audio = np.asarray(np.fft.irfft(spectrum, rate_in) * np.hanning(rate_in), np.float32)
    write(tmp_path / "track.wav", audio, sample_rate=rate_in)
    found = read(tmp_path / "track.wav", sample_rate=rate_out)
    wanted = scipy.signal.resample(audio.astype(np.float64), rate_out, axis=1)  # exact in the band
    assert np.abs(found - wanted).max() < 1e-6  # -120 dBFS: the rounding of float32, twice


def test_resampling_has_no_delay(tmp_path: Path) -> None:
    audio = np.zeros((1, 10_000), np.float32)
    audio[0, 4_410] = 1.0
    write(tmp_path / "click.wav", audio, sample_rate=44_100)
    found = read(tmp_path / "click.wav", sample_rate=48_000)
    assert int(np.argmax(np.abs(found[0]))) == 4_800


NAMES = [
    'Gtr "Left" (take\t2).wav',
    "Kick\nIn.wav",
    "Größe – Stimme 'ü' 日本語 🎸.wav",
    " leading and trailing .wav",
    "-rf.wav",
    "100%_[a]*?.wav",
]


@pytest.mark.skipif(os.name != "posix", reason="Windows forbids some of these names")
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_written_and_read(tmp_path: Path, name: str) -> None:
    audio = tone(1_000, 1)
    kinds: tuple[FileFormat, ...] = ("wav", "flac")
    for kind in kinds:
        path = (tmp_path / name).with_suffix(f".{kind}")
        write(path, audio, sample_rate=48_000, format=kind, subtype="PCM_24")
        assert np.abs(read(path) - audio).max() < 2e-7
        assert probe(path).path == path


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep names in Unicode")
def test_a_name_of_undecodable_bytes_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"Caf\xe9 \xff.flac")
    audio = tone(1_000, 1)
    write(path, audio, sample_rate=48_000, format="flac", subtype="PCM_24")
    assert np.abs(read(path) - audio).max() < 2e-7
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        probe(path)


def bext(samples: int) -> bytes:
    return bytes(338) + struct.pack("<Q", samples) + bytes(256)


def with_chunk(wav: bytes, name: bytes, body: bytes, *, first: bool) -> bytes:
    """Return a RIFF or RF64 file with one more chunk before its others, or behind them."""
    chunk = name + struct.pack("<I", len(body)) + body
    start = 12 if wav[:4] == b"RIFF" else 12 + 8 + struct.unpack("<I", wav[16:20])[0]
    out = wav[:start] + chunk + wav[start:] if first else wav + chunk
    if wav[:4] == b"RIFF":
        return out[:4] + struct.pack("<I", len(out) - 8) + out[8:]
    return out[:20] + struct.pack("<Q", len(out) - 8) + out[28:]


@pytest.mark.parametrize("kind", ["WAV", "RF64"])
@pytest.mark.parametrize("first", [True, False])
def test_broadcast_time_stamp(tmp_path: Path, kind: str, first: bool) -> None:
    path = tmp_path / "take.wav"
    soundfile.write(path, tone(1_000, 1).T, 48_000, format=kind, subtype="PCM_24")
    assert probe(path).time_reference is None
    stamp = 48_000 * 3_600 * 23 + 7  # over 32 bits
    path.write_bytes(with_chunk(path.read_bytes(), b"bext", bext(stamp), first=first))
    assert probe(path).time_reference == stamp
    assert wavinfo.WavInfoReader(str(path)).bext.time_reference == stamp
    assert probe(path).frames == 1_000


def test_wave64_time_stamp(tmp_path: Path) -> None:
    path = tmp_path / "take.w64"
    soundfile.write(path, tone(1_000, 1).T, 48_000, format="W64", subtype="PCM_16")
    data = path.read_bytes()
    guid = b"bext" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
    body = bext(123_456)
    chunk = guid + struct.pack("<Q", 24 + len(body)) + body
    path.write_bytes(data[:40] + chunk + bytes(-len(chunk) % 8) + data[40:])
    assert probe(path).time_reference == 123_456
    assert probe(path).frames == 1_000


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_from_a_pipe_is_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "piped.wav"
    audio = tone(1_000, 2)
    soundfile.write(path, audio.T, 48_000, subtype="PCM_16")
    data = path.read_bytes()
    at = data.index(b"data") + 4
    path.write_bytes(data[:at] + struct.pack("<I", size) + data[at + 4 :])
    assert np.abs(read(path) - audio).max() <= 2**-15


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("WAV", "wav"), ("RF64", "wav"), ("W64", "w64"), ("AIFF", "aiff"), ("CAF", "caf")],
)
def test_what_a_file_cut_short_lacks_is_told_by_its_header(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / f"track.{suffix}"
    audio = tone(9_000, 2)
    soundfile.write(path, audio.T, 48_000, format=kind, subtype="PCM_16")
    data = path.read_bytes()
    start = path.stat().st_size - 36_000
    path.write_bytes(data[: start + 12_000])
    info = probe(path)
    # Some writers put a chunk after the audio, so its start is up to 100 bytes off.
    assert info.incomplete is not None
    words = info.incomplete.replace(",", "").split()
    assert info.incomplete.startswith("is truncated: it holds 1")
    assert abs(int(words[4]) - 12_000) < 100
    assert int(words[7]) == 36_000
    # What is there can be read.
    there = read(path)
    assert abs(there.shape[1] - 3_000) < 30
    assert np.abs(there - audio[:, : there.shape[1]]).max() <= 2**-15


def test_an_mp3_cut_short_tells_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "track.mp3"
    rng = np.random.default_rng(2)
    soundfile.write(path, 0.1 * rng.standard_normal((96_000, 2)), 48_000)
    whole = read(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    info = probe(path)
    assert info.incomplete is not None
    assert "ends early: it holds 1." in info.incomplete
    there = read(path)
    # The last frame's overlap with its successor is lost.
    assert np.array_equal(there[:, :-1152], whole[:, : there.shape[1] - 1152])


def test_a_flac_cut_short_is_refused_when_read(tmp_path: Path) -> None:
    path = tmp_path / "track.flac"
    rng = np.random.default_rng(2)
    soundfile.write(path, 0.1 * rng.standard_normal((96_000, 2)), 48_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(InputError, match=r"(ends|decoded) after [01]\.\d+ s of 2\.000 s"):
        read(path)


def test_what_is_no_audio_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio at all, whatever its name says")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 1)), 48_000)
    soundfile.write(tmp_path / "slow.wav", np.zeros((10, 1)), 4_000)
    words = {
        "text": "is not readable audio (its content is not WAV, AIFF, FLAC, Ogg, MP3 or CAF): "
        "export it again as WAV, AIFF, FLAC, Ogg, MP3 or CAF",
        "empty": "is empty (0 bytes): export it again",
        "folder": "is not a file: name an audio file",
        "none": "holds no audio (0 samples): export it again",
        "slow": "has a sample rate of 4000 Hz: convert it to a rate from 8000 to 768000 Hz",
        "quite another": "does not exist: correct the name",
    }
    for name, message in words.items():
        path = tmp_path / f"{name}.wav"
        with pytest.raises(InputError) as caught:
            probe(path)
        assert str(caught.value) == f"{path}: {message}"


@given(data=st.binary(max_size=300), start=st.sampled_from([b"RIFF", b"RF64", b"FORM", b"caff"]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_garbage_behind_a_known_start_is_refused_in_words(
    tmp_path: Path, data: bytes, start: bytes
) -> None:
    path = tmp_path / "garbage.wav"
    kind = {b"FORM": b"AIFF"}.get(start, b"WAVE")
    path.write_bytes(start + data[:4].ljust(4) + kind + data[4:])
    with pytest.raises(InputError) as caught:
        read(path)
    assert len(caught.value.problems) == 1


def test_a_header_that_points_at_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "loop.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 50_000)
    assert read_header(path) is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared recordings beside the repository")
def test_real_ogg_is_the_same_in_any_block_size() -> None:
    path = SHARED / "references" / "folk_fishin.ogg"
    whole = read(path, sample_rate=48_000, duration_s=2.0)
    with AudioStream(path, sample_rate=48_000) as stream:
        blocks = np.concatenate([stream.read(64) for _ in range(1_500)], axis=1)
    np.testing.assert_array_equal(blocks, whole)
    assert np.abs(whole).max() > 0.01
