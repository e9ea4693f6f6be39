"""The full decode of a file: what is fatal, and what is only flagged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio.check import Checker, check_track
from pipeline.audio.stream import FileFormat, Subtype, probe, read_blocks, write
from pipeline.units import FloatArray


def sine(frames: int = 48_000, level: float = 0.5) -> FloatArray:
    t = np.arange(frames) / 48_000
    return np.asarray([level * np.sin(2 * np.pi * 440 * t)] * 2, np.float32)


def test_a_good_track_has_no_flags(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", sine(), sample_rate=48_000)
    check = check_track(tmp_path / "a.wav")
    assert check.failure is None
    assert check.flags == ()
    assert not check.silent
    assert check.frames == 48_000
    assert check.peak_dbfs == pytest.approx(-6.0206, abs=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_sample_that_is_no_number_is_told(tmp_path: Path, value: float) -> None:
    audio = sine(200_000)
    audio[1, 96_000] = value
    audio[0, 96_001] = value
    soundfile.write(tmp_path / "a.wav", audio.T, 48_000, subtype="FLOAT")
    check = check_track(tmp_path / "a.wav")
    assert check.failure == "holds a sample that is NaN or infinite at 2.000 s in channel 2"
    assert (check.non_finite_s, check.non_finite_channel) == (2.0, 2)
    assert check.peak_dbfs == pytest.approx(-6.0206, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("wav", "PCM_16"), ("wav", "PCM_24"), ("flac", "PCM_24"), ("wav", "FLOAT")],
)
def test_clipping_is_counted_by_runs(tmp_path: Path, kind: FileFormat, subtype: Subtype) -> None:
    audio = sine()
    audio[0, 24_000:24_003] = 1.0
    audio[1, 12_000:12_010] = -1.0
    audio[1, 30_000:30_002] = -1.0  # two are no run
    audio[1, 40_000:40_004] = [1.0, -1.0, 1.0, -1.0]  # nor is this
    path = tmp_path / f"a.{kind}"
    write(path, audio, sample_rate=48_000, format=kind, subtype=subtype)
    check = check_track(path)
    assert check.clipped_runs == 2
    assert check.clipped_first_s == 0.25
    assert check.flags == ("clips 2 times, first at 0.250 s",)


def test_a_converter_s_full_scale_clips_in_any_depth(tmp_path: Path) -> None:
    hot = np.clip(sine(level=1.2), -1.0, 1.0)
    for kind, subtype in [("WAV", "PCM_U8"), ("AIFF", "PCM_S8"), ("WAV", "PCM_32")]:
        soundfile.write(tmp_path / "a.x", hot.T, 48_000, format=kind, subtype=subtype)
        check = check_track(tmp_path / "a.x")
        assert check.clipped_runs == 2 * 2 * 440  # each crest of each channel
        assert check.failure is None


def test_float_headroom_is_no_clipping(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", sine(level=2.0), sample_rate=48_000)
    check = check_track(tmp_path / "a.wav")
    assert check.clipped_runs == 0
    assert check.peak_dbfs == pytest.approx(6.0206, abs=1e-3)


def test_the_mean_is_measured_and_no_flag(tmp_path: Path) -> None:
    audio = sine()
    audio[1] -= 10 ** (-59.0 / 20)
    write(tmp_path / "a.wav", audio, sample_rate=48_000)
    check = check_track(tmp_path / "a.wav")
    assert check.dc_dbfs == pytest.approx(-59.0, abs=0.01)
    assert check.flags == ()


@pytest.mark.parametrize(("level", "fails"), [(2.0**31, False), (1e30, True)])
def test_numbers_beyond_all_audio_are_refused(tmp_path: Path, level: float, fails: bool) -> None:
    path = tmp_path / "a.wav"
    write(path, sine(level=level), sample_rate=48_000, subtype="FLOAT")
    failure = check_track(path).failure
    assert (failure is not None and "600 dBFS" in failure) if fails else failure is None


def test_silence_is_flagged_and_no_failure(tmp_path: Path) -> None:
    silence = np.zeros((2, 10_000), np.float32)
    write(tmp_path / "zeros.wav", silence, sample_rate=48_000)
    check = check_track(tmp_path / "zeros.wav")
    assert (check.failure, check.flags) == (None, ("silent",))
    assert check.peak_dbfs == check.dc_dbfs == -math.inf
    write(tmp_path / "d.wav", silence, sample_rate=48_000, subtype="PCM_16", dither_seed=1)
    assert check_track(tmp_path / "d.wav").silent
    write(tmp_path / "quiet.wav", sine(level=1e-4), sample_rate=48_000)
    assert not check_track(tmp_path / "quiet.wav").silent


def test_blocks_of_any_size_find_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    audio = np.asarray(np.clip(rng.normal(0.01, 1.5, (2, 30_000)), -1, 1), np.float32)
    path = tmp_path / "a.wav"
    write(path, audio, sample_rate=48_000, subtype="PCM_24")
    whole = check_track(path)
    assert whole.clipped_runs > 100
    for size in (1, 64, 4_097):
        checker = Checker(probe(path))
        for block in read_blocks(path, block_frames=size):
            checker.feed(block)
        assert checker.result() == whole


@pytest.mark.parametrize(
    ("suffix", "damage", "words"),
    [
        ("flac", "cut", "cannot be decoded after"),
        ("flac", "zeros", "cannot be decoded after"),
        ("mp3", "cut", "ends early: it holds 1."),
        ("ogg", "cut", "is truncated: its last Ogg page is not whole"),
        ("ogg", "zeros", "is damaged: the checksum of its Ogg page"),
        ("opus", "zeros", "is damaged: the checksum of its Ogg page"),
    ],
)
def test_damage_inside_a_compressed_file_is_found(
    tmp_path: Path, suffix: str, damage: str, words: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    rng = np.random.default_rng(4)
    kind, subtype = {"ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}.get(
        suffix, (suffix.upper(), None)
    )
    noise = 0.1 * rng.standard_normal((96_000, 2))
    soundfile.write(path, noise, 48_000, format=kind, subtype=subtype)
    assert check_track(path).failure is None
    data = bytearray(path.read_bytes())
    middle = len(data) * 6 // 10
    if damage == "zeros":
        data[middle : middle + 200] = bytes(200)
    else:
        del data[middle:]
    path.write_bytes(data)
    check = check_track(path)
    assert (check.failure or check.incomplete or "").startswith(words)


def test_a_tag_behind_an_ogg_stream_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, sine().T, 48_000)
    with path.open("ab") as file:
        file.write(b"TAG" + b"\0" * 125)
    assert check_track(path).failure is None


def test_what_cannot_be_opened_is_a_failure_in_words(tmp_path: Path) -> None:
    assert check_track(tmp_path / "gone.wav").failure == "does not exist"
