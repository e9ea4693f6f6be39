"""Tags and loudness in delivered files: what others read, the samples as they were."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import wavinfo

from pipeline.audio.formats.containers import read_header
from pipeline.audio.stream import FileFormat, write
from pipeline.audio.tags import folder_tags
from pipeline.loudness.meter import measure
from pipeline.plan import Delivery
from pipeline.render.delivered_file import tag_delivery

RATE = 44_100
AUDIO = (0.1 * np.random.default_rng(2).standard_normal((2, 2 * RATE + 1))).astype(np.float32)
LOUDNESS = measure(AUDIO, sample_rate=RATE)
TEXTS = {"title": "Røde Linje", "artist": "Дельта", "album": "Öst", "date": "2026-05-31"}


def tagged(folder: Path, kind: FileFormat, **texts: str) -> Path:
    path = folder / f"mix.{kind}"
    write(path, AUDIO, sample_rate=RATE, format=kind, subtype="PCM_24", dither_seed=1)
    delivery = Delivery(format=kind, **texts)
    tag_delivery(path, delivery, LOUDNESS, sample_rate=RATE)
    return path


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_the_samples_are_the_same_and_equal_mixes_equal_files(
    tmp_path: Path, kind: FileFormat
) -> None:
    plain = tmp_path / f"plain.{kind}"
    write(plain, AUDIO, sample_rate=RATE, format=kind, subtype="PCM_24", dither_seed=1)
    path = tagged(tmp_path, kind, **TEXTS)
    before, after = (soundfile.read(p, dtype="int32")[0] for p in (plain, path))
    assert np.array_equal(before, after)
    first = path.read_bytes()
    assert tagged(tmp_path, kind, **TEXTS).read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, plain.name]


def test_a_wav_tells_its_loudness(tmp_path: Path) -> None:
    path = tagged(tmp_path, "wav", **TEXTS)
    info = wavinfo.WavInfoReader(str(path), info_encoding="utf-8")
    assert info.bext.version == 2
    assert info.bext.originator.startswith("Stemwright")
    assert info.bext.originator_date == TEXTS["date"]
    assert info.bext.loudness_value == pytest.approx(LOUDNESS.integrated_lufs, abs=0.006)
    assert info.bext.max_true_peak == pytest.approx(LOUDNESS.true_peak_dbtp, abs=0.006)
    assert (info.info.title, info.info.artist) == (TEXTS["title"], TEXTS["artist"])
    assert info.info.product == TEXTS["album"]
    header = read_header(path)
    assert header is not None
    assert not header.incomplete
    assert header.reason is None
    assert header.promised_bytes == AUDIO.size * 3


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_silence_and_no_texts_are_tagged_too(tmp_path: Path, kind: FileFormat) -> None:
    path = tmp_path / f"mix.{kind}"
    silent = np.zeros((2, RATE), np.float32)
    write(path, silent, sample_rate=RATE, format=kind, subtype="PCM_16")
    tag_delivery(path, Delivery(format=kind), measure(silent, sample_rate=RATE), sample_rate=RATE)
    assert not soundfile.read(path)[0].any()


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not there to read them")
@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_others_read_the_tags(tmp_path: Path, kind: FileFormat) -> None:
    path = tagged(tmp_path, kind, **TEXTS)
    told = subprocess.run(
        ["ffprobe", "-v", "error", "-show_format", "-of", "json", str(path)],
        check=True,
        capture_output=True,
    ).stdout
    tags = {k.lower(): v for k, v in json.loads(told)["format"]["tags"].items()}
    for name in ("title", "artist", "album", "date"):
        assert tags[name] == TEXTS[name]
    if kind != "wav":
        gain = float(tags["replaygain_track_gain"].removesuffix(" dB"))
        assert gain == pytest.approx(-18.0 - LOUDNESS.integrated_lufs, abs=0.006)
        assert float(tags["replaygain_track_peak"]) == pytest.approx(
            10.0 ** (LOUDNESS.true_peak_dbtp / 20.0), abs=1e-5
        )


def test_a_folder_names_artist_and_title() -> None:
    assert folder_tags("A - B - C") == {"title": "B - C", "artist": "A"}
    assert folder_tags(" - B") == {"title": "- B", "artist": ""}
    assert folder_tags("take-5") == {"title": "take-5", "artist": ""}
