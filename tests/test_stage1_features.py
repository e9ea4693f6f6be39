"""The record of one track: from known signals, through files, rows and JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from support.analysis import analyse_audio

from pipeline.audio.check import check_track
from pipeline.audio.samples import HeldSamples
from pipeline.loudness.meter import measure
from stage1.features import TrackAnalyser, TrackFeatures, examine
from stage1.loudness.narrowband import METHODS

RATE = 48000
# What users read of a track: no column is renamed or moved.
COLUMNS = """
name duration_s sample_rate channels active_s active_share first_active_s last_active_s
peak_dbfs true_peak_dbtp rms_dbfs crest_db noise_floor_dbfs integrated_lufs loudness_range_lu
max_short_term_lufs f0_hz f0_low_hz f0_high_hz voiced_share f0_confidence pyin_hz pesto_hz
f0_agreement harmonic_strength published_f0_hz centroid_hz bandwidth_hz rolloff_hz
published_centroid_hz published_bandwidth_hz band_low_hz band_high_hz loudness_lufs
loudness_centroid loudness_p_lufs loudness_informed loudness_sones n5_sone n5_phon side_to_mid_db
correlation lr_balance_db onsets_per_s transient_db
"""


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """As the workers run: torch's threads spin for each other where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def harmonic(f0_hz: float, seconds: float, *, level: float = 0.1) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * f0_hz * k * time + k) / k for k in range(1, 13))
    return np.asarray(level * tone, np.float32)


@pytest.fixture(scope="module")
def cello() -> TrackFeatures:
    """Two seconds of rest, four of tone, two of rest, in stereo, the right 6 dB down."""
    rest = np.zeros(2 * RATE, np.float32)
    tone = np.concatenate([rest, harmonic(130.0, 4.0), rest])
    return analyse_audio(np.stack([tone, 0.5 * tone]), name="cello", sample_rate=RATE)


def test_activity(cello: TrackFeatures) -> None:
    # A gating block reaches 300 ms over either end.
    assert cello.extent.duration_s == 8.0
    assert cello.extent.active_s == pytest.approx(4.3, abs=0.35)
    assert cello.extent.active_share == pytest.approx(cello.extent.active_s / 8.0)
    assert cello.extent.first_active_s == pytest.approx(1.8, abs=0.2)
    assert cello.extent.last_active_s == pytest.approx(6.2, abs=0.2)
    assert not cello.silent


def test_pitch_and_band(cello: TrackFeatures) -> None:
    assert cello.pitched
    assert cello.pitch.f0_hz == pytest.approx(130.0, rel=0.02)
    assert cello.band.low_hz < 130.0 < cello.band.high_hz


def test_levels_and_stereo(cello: TrackFeatures) -> None:
    tone = harmonic(130.0, 4.0)
    assert cello.levels.peak_dbfs == pytest.approx(20 * math.log10(np.abs(tone).max()), abs=1e-4)
    assert cello.true_peak_dbtp >= cello.levels.peak_dbfs
    rms = 10 * math.log10(np.mean(tone.astype(float) ** 2) * (1 + 0.25) / 2)
    # Four seconds of tone, averaged over the active time.
    assert cello.levels.rms_dbfs == pytest.approx(
        rms + 10 * math.log10(4 / cello.extent.active_s), abs=0.01
    )
    assert cello.levels.crest_db == pytest.approx(cello.levels.peak_dbfs - cello.levels.rms_dbfs)
    assert cello.stereo.correlation == pytest.approx(1.0, abs=1e-6)
    assert cello.stereo.lr_balance_db == pytest.approx(-6.02, abs=0.01)
    assert cello.stereo.side_to_mid_db == pytest.approx(20 * math.log10(0.25 / 0.75), abs=0.01)


def test_loudness_is_that_of_the_meter() -> None:
    audio = np.stack([harmonic(220.0, 2.0), harmonic(331.0, 2.0)])
    track = analyse_audio(audio, name="two", sample_rate=RATE)
    expected = measure(audio, sample_rate=RATE)
    assert track.levels.integrated_lufs == expected.integrated_lufs
    assert track.true_peak_dbtp == expected.true_peak_dbtp
    assert [track.loudness(method) for method in METHODS] == [
        track.narrowband.lufs, track.narrowband.centroid, track.narrowband.p_lufs,
        track.narrowband.informed, track.sones.lufs,
    ]  # fmt: skip
    assert (
        track.levels.integrated_lufs - 6.0
        <= track.narrowband.informed
        <= track.levels.integrated_lufs
    )
    with pytest.raises(ValueError, match="'phon'"):
        track.loudness("phon")


def test_opposite_and_one_sided_channels() -> None:
    tone = harmonic(220.0, 1.0)
    opposite = analyse_audio(np.stack([tone, -tone]), name="x", sample_rate=RATE)
    assert opposite.stereo.correlation == pytest.approx(-1.0, abs=1e-6)
    assert opposite.stereo.side_to_mid_db == math.inf
    left = analyse_audio(np.stack([tone, 0 * tone]), name="x", sample_rate=RATE)
    assert left.stereo.lr_balance_db == -math.inf
    assert left.stereo.side_to_mid_db == 0.0
    assert math.isnan(left.stereo.correlation)


def test_attacks_are_counted() -> None:
    rng = np.random.default_rng(0)
    decay = np.exp(-(np.arange(6 * RATE) % (RATE // 2)) / (0.03 * RATE))
    hits = (0.3 * rng.standard_normal(6 * RATE) * decay).astype(np.float32)
    drum = analyse_audio(hits[None], name="drum", sample_rate=RATE)
    assert drum.attacks.onsets_per_s == pytest.approx(2.0, abs=0.2)
    pad = analyse_audio(harmonic(220.0, 6.0)[None], name="pad", sample_rate=RATE)
    assert pad.attacks.onsets_per_s < 0.4
    assert drum.attacks.transient_db > pad.attacks.transient_db + 6.0
    assert not drum.pitched


def test_the_noise_floor_is_the_hiss_between_the_notes() -> None:
    rng = np.random.default_rng(1)
    hiss = rng.standard_normal(6 * RATE) * 10 ** (-72 / 20)
    audio = hiss + np.concatenate([harmonic(220.0, 3.0), np.zeros(3 * RATE)])
    track = analyse_audio(audio.astype(np.float32)[None], name="x", sample_rate=RATE)
    assert track.levels.noise_floor_dbfs == pytest.approx(-72.0, abs=0.3)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frames", [0, 1, 700, 100000])
def test_silence_is_no_error(channels: int, frames: int) -> None:
    audio = np.zeros((channels, frames), np.float32)
    track = analyse_audio(audio, name="silent", sample_rate=RATE)
    assert track.silent
    assert not track.pitched
    assert [track.loudness(method) for method in METHODS] == [-math.inf] * 5
    assert (
        track.levels.peak_dbfs
        == track.levels.rms_dbfs
        == track.levels.noise_floor_dbfs
        == -math.inf
    )
    assert track.stereo.lr_balance_db == 0.0
    assert math.isnan(track.extent.first_active_s)
    assert repr(TrackFeatures.from_json(track.to_json())) == repr(track)


def test_json_keeps_every_field_exactly(cello: TrackFeatures) -> None:
    mono = dataclasses.replace(
        cello,
        pitch=dataclasses.replace(cello.pitch, f0_hz=math.nan),
        stereo=dataclasses.replace(cello.stereo, side_to_mid_db=-math.inf),
        name="nan",
    )
    for track in (cello, mono):
        again = TrackFeatures.from_json(track.to_json())
        # repr, because NaN is not equal to itself
        assert repr(again) == repr(track)
    # strict JSON: no bare NaN or Infinity
    json.loads(mono.to_json(), parse_constant=lambda word: pytest.fail(word))


def test_json_of_another_version_is_refused(cello: TrackFeatures) -> None:
    data = json.loads(cello.to_json())
    del data["pitch"]["f0_hz"]
    data["pitch"]["hz"] = 1.0
    with pytest.raises(ValueError, match="f0_hz, hz"):
        TrackFeatures.from_json(json.dumps(data))
    for pitch in (None, 1.0, {}):
        with pytest.raises(ValueError, match="analyse again"):
            TrackFeatures.from_json(json.dumps(data | {"pitch": pitch}))
    del data["pitch"]
    with pytest.raises(ValueError, match="pitch"):
        TrackFeatures.from_json(json.dumps(data))


def test_a_row_makes_a_table(cello: TrackFeatures) -> None:
    table = pd.DataFrame([cello.to_row(), cello.to_row()])
    assert list(table["name"]) == ["cello", "cello"]
    assert table["level_125hz_db"].dtype == float
    assert not any(table[column].map(lambda v: isinstance(v, tuple)).any() for column in table)
    assert list(table.columns[:-30]) == COLUMNS.split()
    assert table.columns[-30] == "level_25hz_db"


def test_a_file_is_analysed_at_its_own_rate(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    sf.write(path, harmonic(220.0, 2.0), RATE, subtype="PCM_24")
    track = examine(path, name="tone").features
    assert track is not None
    assert track.extent.sample_rate == RATE
    assert track.extent.duration_s == pytest.approx(2.0, abs=1e-3)
    assert track.channels == 1
    assert track.pitch.f0_hz == pytest.approx(220.0, rel=0.02)


def test_more_than_two_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not 3"):
        TrackAnalyser(sample_rate=RATE, channels=3, frames=10)
    path = tmp_path / "three.wav"
    sf.write(path, np.zeros((100, 3)), RATE)
    found = examine(path, name="three")
    assert (found.check, found.features) == (check_track(path), None)


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of stereo: a tone, noise, and digital silence in between."""
    rng = np.random.default_rng(5)
    noise = 0.05 * rng.standard_normal((2, 44100))
    time = np.arange(44100) / 44100
    tone = 0.2 * np.sin(2 * np.pi * 220 * time) + 0.1 * np.sin(2 * np.pi * 440 * time)
    rest = np.zeros((2, 44100))
    audio = np.concatenate([np.stack([tone, 0.7 * tone]), rest, noise, noise[::-1]], axis=1)
    path = tmp_path_factory.mktemp("varied") / "track.wav"
    sf.write(path, audio.T, 44100, subtype="PCM_24")
    return path


@pytest.mark.parametrize("sizes", [(1, 3000, 77), (8192,), (65_536,), (50_001, 2)])
def test_the_size_of_the_blocks_changes_no_bit(varied: Path, sizes: tuple[int, ...]) -> None:
    audio = sf.read(varied, dtype="float32")[0].T.copy()
    frames = audio.shape[1]
    analyser = TrackAnalyser(sample_rate=44100, channels=2, frames=frames)
    start = turn = 0
    while start < frames:
        size = sizes[turn % len(sizes)]
        analyser.process(audio[:, start : start + size])
        start, turn = start + size, turn + 1
    found = analyser.result(HeldSamples(audio, sample_rate=44100), name="varied")
    whole = analyse_audio(audio, name="varied", sample_rate=44100)
    assert found.to_json() == whole.to_json()


def test_a_track_kept_in_memory_and_one_read_again_are_the_same(
    varied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flac = tmp_path / "track.flac"
    sf.write(flac, sf.read(varied)[0], 44100, subtype="PCM_24")
    told = []
    for held_bytes in (2**30, 0):
        monkeypatch.setattr("stage1.features.HELD_BYTES", held_bytes)
        for path in (varied, flac):
            found = examine(path, name="varied")
            assert found.check == check_track(path)
            assert found.features is not None
            told.append(found.features.to_json())
            assert found.envelope.shape == (400,)
    assert len(set(told)) == 1


def test_a_broken_track_is_checked_and_not_measured(varied: Path, tmp_path: Path) -> None:
    audio = sf.read(varied, dtype="float32")[0]
    audio[90_000, 1] = np.nan
    broken = tmp_path / "broken.wav"
    sf.write(broken, audio, 44100, subtype="FLOAT")
    gone = tmp_path / "gone.wav"
    for path in (broken, gone):
        found = examine(path, name="broken")
        assert found.check == check_track(path)
        assert found.check.failure is not None
        assert found.features is None
        assert found.envelope.size == 0
