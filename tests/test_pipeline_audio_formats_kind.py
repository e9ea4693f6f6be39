"""What a file holds is told by its content."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio.formats.kind import sniff

RATE = 44_100
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kinds") / "tone.wav"
    t = np.arange(RATE) / RATE
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * t), RATE)
    return path


@pytest.mark.parametrize(
    ("container", "name"),
    [
        ("WAV", "WAV"), ("RF64", "WAV"), ("W64", "Wave64"), ("AIFF", "AIFF"), ("FLAC", "FLAC"),
        ("CAF", "CAF"), ("OGG", "Ogg"), ("MP3", "MP3"), ("AU", "AU"), ("VOC", "VOC"),
        ("NIST", "NIST SPHERE"),
    ],
)  # fmt: skip
def test_a_recording_is_known_without_a_suffix(container: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "Vocal "
    soundfile.write(path, np.zeros(RATE), RATE, format=container)
    kind = sniff(path)
    assert kind is not None
    assert kind.name == name


@needs_ffmpeg
@pytest.mark.parametrize(
    ("suffix", "options", "name"),
    [
        (".m4a", ["-c:a", "aac"], "MPEG-4"),
        (".m4a", ["-c:a", "alac"], "MPEG-4"),
        (".mov", ["-c:a", "aac"], "QuickTime"),
        (".3gp", ["-c:a", "aac"], "MPEG-4"),
        (".aac", ["-c:a", "aac"], "AAC"),
        (".mp2", ["-c:a", "mp2"], "MP2"),
        (".mp3", ["-c:a", "libmp3lame", "-write_xing", "0", "-id3v2_version", "0"], "MP3"),
        (".wma", ["-c:a", "wmav2"], "WMA"),
        (".mka", ["-c:a", "libopus"], "Matroska or WebM"),
        (".webm", ["-c:a", "libopus"], "Matroska or WebM"),
        (".wv", ["-c:a", "wavpack"], "WavPack"),
        (".tta", ["-c:a", "tta"], "TTA"),
        (".ac3", ["-c:a", "ac3"], "AC-3"),
        (".eac3", ["-c:a", "eac3"], "E-AC-3"),
        (".dts", ["-c:a", "dca", "-strict", "-2"], "DTS"),
        (".avi", ["-c:a", "mp3"], "AVI"),
        (".ts", ["-c:a", "aac"], "MPEG transport stream"),
        (".latm", ["-c:a", "aac", "-f", "latm"], "AAC (LATM)"),
    ],
)
def test_what_libsndfile_does_not_read_is_known_too(
    suffix: str, options: list[str], name: str, tone: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"vocal{suffix}"
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", tone, *options, path], check=True)
    plain = path.rename(tmp_path / "vocal")
    kind = sniff(plain)
    assert kind is not None
    assert kind.name == name


def test_an_id3_tag_is_looked_behind(tmp_path: Path) -> None:
    flac = tmp_path / "a.flac"
    soundfile.write(flac, np.zeros(RATE), RATE)
    tagged = tmp_path / "tagged"
    # Larger than what is read at once, with its size in seven bits a byte.
    tagged.write_bytes(b"ID3\4\0\0" + bytes([0, 8, 0, 0]) + bytes(8 << 14) + flac.read_bytes())
    kind = sniff(tagged)
    assert kind is not None
    assert kind.name == "FLAC"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"RIFF",
        b"Take 3 was the good one\n",
        b"%PDF-1.7\n" + bytes(5000),
        b"\x89PNG\r\n\x1a\n" + bytes(5000),
        b"\xff\xd8\xff\xe0" + bytes(range(256)) * 64,
        b"PK\3\4" + bytes(5000),
        b"MThd\0\0\0\6" + bytes(100),
        b"\0\0\0\x18ftypheic" + bytes(5000),
        b"RIFF\0\0\0\0WEBPVP8 " + bytes(5000),
        b'{"version": 1}',
        np.random.default_rng(0).bytes(60_000),
        b"\xff" * 60_000,
        b"V\xef" + bytes(60_000),
    ],
)
def test_what_is_no_audio_is_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "Kick.wav"
    path.write_bytes(content)
    assert sniff(path) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "Vocal.wav"
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        sniff(path)
