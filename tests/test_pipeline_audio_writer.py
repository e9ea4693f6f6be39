"""Writing audio: whole or not at all, quantised with a dither that knows its place."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import wavinfo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.audio.formats.containers import WAV_HEADER_BYTES, read_header, wav_header
from pipeline.audio.stream import AudioWriter, FileFormat, Subtype, probe, read, write
from pipeline.errors import InputError
from pipeline.units import FloatArray

INTEGERS: list[tuple[FileFormat, Subtype]] = [
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("flac", "PCM_16"),
    ("flac", "PCM_24"),
]


def noise(frames: int, channels: int = 2, level: float = 0.5) -> FloatArray:
    rng = np.random.default_rng(frames)
    return np.asarray(level * rng.uniform(-1, 1, (channels, frames)), np.float32)


@pytest.mark.parametrize(("kind", "subtype"), INTEGERS)
def test_libsndfile_reads_the_very_integers(
    tmp_path: Path, kind: FileFormat, subtype: Subtype
) -> None:
    bits = int(subtype[4:])
    rng = np.random.default_rng(5)
    steps = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 4_001))
    audio = np.asarray(steps / 2 ** (bits - 1), np.float32)
    path = tmp_path / f"out.{kind}"
    assert write(path, audio, sample_rate=44_100, format=kind, subtype=subtype) == 0
    found, rate = soundfile.read(path, dtype="int32")
    assert rate == 44_100
    np.testing.assert_array_equal(found.T >> (32 - bits), steps)


def test_float_wav_is_exact_and_keeps_what_is_over_full_scale(tmp_path: Path) -> None:
    audio = noise(1_001, 1, level=3.0)
    clipped = write(tmp_path / "out.wav", audio, sample_rate=96_000)
    np.testing.assert_array_equal(read(tmp_path / "out.wav"), audio)
    assert clipped == np.count_nonzero(np.abs(audio) > 1.0)
    info = wavinfo.WavInfoReader(str(tmp_path / "out.wav"))
    assert (info.fmt.sample_rate, info.fmt.bits_per_sample) == (96_000, 32)
    assert info.data.frame_count == 1_001


def test_samples_over_full_scale_are_held_and_counted(tmp_path: Path) -> None:
    audio = np.array([[0.5, 1.0, 1.5, -1.0, -2.0]], np.float32)
    with AudioWriter(
        tmp_path / "out.wav", sample_rate=48_000, channels=1, subtype="PCM_16"
    ) as writer:
        writer.write(audio)
    assert writer.clipped == 2
    found, _ = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert found.tolist() == [16_384, 32_767, 32_767, -32_768, -32_768]


@given(sizes=st.lists(st.integers(0, 500), min_size=1, max_size=8), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_dither_depends_on_seed_and_place_alone(
    tmp_path: Path, sizes: list[int], seed: int
) -> None:
    audio = noise(sum(sizes), level=1e-4)
    write(tmp_path / "a.wav", audio, sample_rate=48_000, subtype="PCM_16", dither_seed=seed)
    with AudioWriter(
        tmp_path / "b.wav", sample_rate=48_000, channels=2, subtype="PCM_16", dither_seed=seed
    ) as writer:
        start = 0
        for size in sizes:
            writer.write(audio[:, start : start + size])
            start += size
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_dither_is_triangular_and_makes_the_error_independent_of_the_signal(
    tmp_path: Path,
) -> None:
    # A constant of 0.3 steps: rounding alone gives 0, dither keeps its mean; with triangular
    # dither the total error's power is 3/12 step² whatever the signal (Lipshitz et al. 1992).
    frames = 200_000
    step = 2.0**-15
    for level in (0.0, 0.3, 0.5):
        audio = np.full((2, frames), level * step, np.float32)
        write(tmp_path / "d.wav", audio, sample_rate=48_000, subtype="PCM_16", dither_seed=1)
        error = read(tmp_path / "d.wav") / step - level
        assert abs(error.mean()) < 0.004  # 5 standard errors of 400,000 samples
        assert np.mean(error**2) == pytest.approx(0.25, rel=0.02)
        assert abs(np.corrcoef(error)[0, 1]) < 0.012  # the channels' dithers are not one
        assert abs(np.corrcoef(error[0, 1:], error[0, :-1])[0, 1]) < 0.012
    write(tmp_path / "r.wav", audio * 0.6, sample_rate=48_000, subtype="PCM_16")
    assert not read(tmp_path / "r.wav").any()


def test_other_seeds_give_other_dither(tmp_path: Path) -> None:
    silence = np.zeros((1, 1_000), np.float32)
    files = []
    for seed in (0, 1, 2**63):
        path = tmp_path / f"{seed}.wav"
        write(path, silence, sample_rate=48_000, subtype="PCM_16", dither_seed=seed)
        files.append(read(path))
    assert not np.array_equal(files[0], files[1])
    assert not np.array_equal(files[0], files[2])
    assert abs(np.corrcoef(files[0], files[1])[0, 1]) < 0.15


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_file_leaves_nothing(
    tmp_path: Path, kind: FileFormat, error: type[BaseException]
) -> None:
    path = tmp_path / f"mix.{kind}"
    path.write_bytes(b"the mix of yesterday")

    def interrupted() -> None:
        with AudioWriter(path, sample_rate=48_000, channels=2, format=kind) as writer:
            writer.write(noise(10_000))
            assert len(list(tmp_path.iterdir())) == 2
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"the mix of yesterday"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_the_file_appears_when_it_is_whole(tmp_path: Path, kind: FileFormat) -> None:
    path = tmp_path / f"mix.{kind}"
    with AudioWriter(path, sample_rate=48_000, channels=2, format=kind) as writer:
        writer.write(noise(10_000))
        assert not path.exists()
    assert probe(path).frames == writer.frames == 10_000
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sample_that_is_no_number_is_never_written(
    tmp_path: Path, subtype: Subtype, value: float
) -> None:
    audio = noise(100)
    audio[1, 50] = value
    with pytest.raises(ValueError, match="NaN or infinite samples after frame 0"):
        write(tmp_path / "mix.wav", audio, sample_rate=48_000, subtype=subtype)
    assert list(tmp_path.iterdir()) == []


def test_a_block_of_another_shape_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"shape \(1, 5\): give \(2, frames\)"),
        AudioWriter(tmp_path / "mix.wav", sample_rate=48_000, channels=2) as writer,
    ):
        writer.write(np.zeros((1, 5), np.float32))


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    audio = noise(100)
    with pytest.raises(InputError, match="FLAC cannot hold FLOAT samples: use PCM_24, or WAV"):
        write(tmp_path / "mix.flac", audio, sample_rate=48_000, format="flac", subtype="FLOAT")
    with pytest.raises(InputError, match="MP3 cannot hold a sample rate of 96000 Hz: mix at"):
        write(tmp_path / "mix.mp3", audio, sample_rate=96_000, format="mp3")
    with pytest.raises(InputError, match="FLAC cannot hold a sample rate of 768000 Hz: mix at"):
        write(tmp_path / "mix.flac", audio, sample_rate=768_000, format="flac", subtype="PCM_24")
    with pytest.raises(InputError, match="MP3 cannot hold 3 channels: use 1 to 2"):
        write(tmp_path / "mix.mp3", noise(9, 3), sample_rate=48_000, format="mp3")
    assert list(tmp_path.iterdir()) == []


def test_mp3_keeps_length_and_place_at_its_highest_rate(tmp_path: Path) -> None:
    t = np.arange(96_000) / 48_000
    audio = np.asarray([0.3 * np.sin(2 * np.pi * 440 * t)] * 2, np.float32)
    path = tmp_path / "mix.mp3"
    write(path, audio, sample_rate=48_000, format="mp3")
    found = read(path)
    assert found.shape == audio.shape
    assert np.abs(found - audio)[:, 5_000:-5_000].max() < 0.003  # -40 dB; one sample off is 0.017
    assert path.stat().st_size == pytest.approx(2 * 320_000 / 8, rel=0.05)


def test_a_file_over_4_gb_is_rf64(tmp_path: Path) -> None:
    frames = 2**32 // 6 + 10
    path = tmp_path / "long.wav"
    head = wav_header(channels=2, sample_rate=48_000, bits=24, is_float=False, frames=frames)
    assert len(head) == WAV_HEADER_BYTES
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + frames * 6)  # a sparse file: no disk is used
    assert probe(path).format == "RF64"
    assert probe(path).frames == frames
    header = read_header(path)
    assert header is not None
    assert header.promised_bytes == header.held_bytes == frames * 6
    assert wavinfo.WavInfoReader(str(path)).data.frame_count == frames
    short = wav_header(channels=2, sample_rate=48_000, bits=24, is_float=False, frames=frames - 40)
    assert short[:4] == b"RIFF"
    assert len(short) == WAV_HEADER_BYTES


def test_an_odd_number_of_bytes_is_padded(tmp_path: Path) -> None:
    write(tmp_path / "odd.wav", noise(3, 1), sample_rate=48_000, subtype="PCM_24")
    assert (tmp_path / "odd.wav").stat().st_size == WAV_HEADER_BYTES + 9 + 1
    assert probe(tmp_path / "odd.wav").frames == 3


@pytest.mark.skipif(os.name != "posix", reason="the limit on a file's size is POSIX's")
@pytest.mark.parametrize("short_bytes", [1, 3000, 60_000])
@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_a_file_that_the_disk_did_not_take_whole_is_never_in_its_place(
    tmp_path: Path, kind: FileFormat, short_bytes: int
) -> None:
    import resource

    audio = noise(3 * 44_100)
    whole = tmp_path / f"whole.{kind}"
    write(whole, audio, sample_rate=44_100, format=kind, subtype="PCM_16")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole.stat().st_size - short_bytes, hard))
    try:
        with pytest.raises(OSError, match=f"out.{kind}"):
            write(
                tmp_path / f"out.{kind}", audio, sample_rate=44_100, format=kind, subtype="PCM_16"
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == [whole.name]
