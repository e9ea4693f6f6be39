"""The synthesised demo: its files, their formats, what is heard in them, and its folder."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyloudnorm
import pytest
import soundfile

import pipeline.demo.session as demo
from pipeline.demo.session import DemoPaths, make_demo
from pipeline.demo.stage import Stage
from pipeline.demo.tracks import TRACKS
from pipeline.errors import InputError
from pipeline.synth.score import compose, humanise

SECONDS = 4.0
LEFT_OUT = {"Rough Mix.wav", "._01_Kick In.wav"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoPaths, list[tuple[int, int]]]:
    steps: list[tuple[int, int]] = []
    folder = tmp_path_factory.mktemp("demo") / "demo"
    paths = make_demo(
        folder,
        seconds=SECONDS,
        workers=2,
        on_progress=lambda done, total: steps.append((done, total)),
    )
    return paths, steps


@pytest.fixture(scope="module")
def session(made: tuple[DemoPaths, list[tuple[int, int]]]) -> Path:
    return made[0].session


def tracks_of(session: Path) -> list[Path]:
    return sorted(p for p in session.rglob("*") if p.is_file() and p.name not in LEFT_OUT)


def load(path: Path) -> tuple[npt.NDArray[np.float64], int]:
    audio, rate = soundfile.read(path, always_2d=True)
    return audio.T, rate


def digests(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_files_are_the_same_bit_for_bit_with_another_number_of_workers(
    made: tuple[DemoPaths, list[tuple[int, int]]], tmp_path: Path
) -> None:
    again = make_demo(tmp_path / "again", seconds=SECONDS, workers=1)

    first, second = digests(made[0].session.parent), digests(again.session.parent)

    assert first == second
    assert len(first) == 112 + 2 + 1 + 1  # tracks, left-out files, reference, marker


def test_there_are_112_tracks_with_unique_names_and_progress_counts_every_file(
    made: tuple[DemoPaths, list[tuple[int, int]]],
) -> None:
    paths, steps = made
    names = [unicodedata.normalize("NFC", p.name).casefold() for p in tracks_of(paths.session)]

    assert paths.tracks == len(names) == len(set(names)) == 112
    assert steps == [(k, 113) for k in range(1, 114)]
    assert any("“" in name for name in names)
    assert any(not name.isascii() and "ü" in name for name in names)


def test_files_that_a_session_leaves_out_lie_next_to_the_tracks(session: Path) -> None:
    # AppleDouble: magic number and version (RFC 1740).
    assert (session / "._01_Kick In.wav").read_bytes()[:8] == b"\0\x05\x16\x07\0\x02\0\0"
    rough, rate = load(session / "Rough Mix.wav")
    assert rough.shape[0] == 2
    assert pyloudnorm.Meter(rate).integrated_loudness(rough.T) > -30.0


def test_formats_rates_and_lengths_are_mixed(session: Path) -> None:
    infos = {p.name: soundfile.info(p) for p in tracks_of(session)}

    assert {(i.format, i.subtype) for i in infos.values()} >= {
        ("WAV", "PCM_24"), ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_24"),
        ("AIFF", "PCM_16"), ("AIFF", "PCM_24"), ("OGG", "VORBIS"),
    }  # fmt: skip
    rates = [i.samplerate for i in infos.values()]
    assert set(rates) == {44100, 48000}
    assert rates.count(48000) > rates.count(44100) > 10
    assert {i.channels for i in infos.values()} == {1, 2}
    lengths = sorted(i.frames / i.samplerate for i in infos.values())
    assert lengths[-1] == pytest.approx(SECONDS, abs=1e-4)  # a sample
    assert lengths[2] < SECONDS - 0.1


def test_every_track_is_finite_heard_and_without_dc_but_one_is_silent(session: Path) -> None:
    silent = []
    for path in tracks_of(session):
        audio, _ = load(path)
        assert np.isfinite(audio).all(), path.name
        peak = float(np.abs(audio).max())
        if peak == 0.0:
            silent.append(path.name)
            continue
        # Vorbis moves peaks by about a dB.
        assert -25.5 < 20.0 * math.log10(peak) <= 0.01, path.name
        # Flattening one side of a lopsided wave, as in the clipped take, leaves an offset.
        limit_db = -50.0 if path.name == "Vox Adlib 2 HOT.wav" else -60.0
        assert float(np.abs(audio.mean(axis=1)).max()) < 10.0 ** (limit_db / 20.0), path.name
    assert silent == ["Talkback_unused.wav"]


def test_one_track_is_clipped_and_no_other(session: Path) -> None:
    clipped = {}
    for path in tracks_of(session):
        top = np.abs(load(path)[0]) > 0.9999
        runs = int((top[:, 1:-1] & top[:, :-2] & top[:, 2:]).sum())
        if runs:
            clipped[path.name] = runs
    assert list(clipped) == ["Vox Adlib 2 HOT.wav"]


def test_the_bass_plays_the_notes_of_the_song_in_its_register(session: Path) -> None:
    song = compose(1, SECONDS)
    notes = song.bass("v", "X-----X-x-----x-") + song.bass("cbC", "X-xx--X-X-x-x-X-")
    audio, rate = load(session / "Bass DI.wav")
    played = humanise(sorted(notes), "bass", 1)
    errors = []
    for note in played:
        if note.length_s < 0.2:
            continue
        start = round((note.start_s + 0.05) * rate)
        x = audio[0, start : start + round(0.14 * rate)]
        x = x - x.mean()
        correlation = np.correlate(x, x, "full")[len(x) - 1 :]
        # Unbiased, over the lags of 38 to 110 Hz: E1 is 41.2 Hz.
        lags = np.arange(int(rate / 110), int(rate / 38))
        best = lags[np.argmax(correlation[lags] / (len(x) - lags))]
        expected = 440.0 * 2.0 ** ((note.pitch - 69.0) / 12.0)
        assert 40.0 < expected < 250.0
        if expected < 105.0:
            errors.append(abs(1200.0 * math.log2(rate / best / expected)))
    assert len(errors) >= 4
    # A sample of lag is 4 cents at 110 Hz; the strings are tuned to within some cents.
    assert float(np.median(errors)) < 20.0


def test_microphones_of_one_snare_stroke_differ_in_time_and_polarity(session: Path) -> None:
    top, rate = load(session / "SNR TOP 57.wav")
    overhead, _ = load(session / "OH R.wav")
    bottom, _ = load(session / "SNR BOT 441.wav")
    lag = np.correlate(overhead[0], top[0][: -rate // 10], "valid")[: rate // 100]
    # 1.33 m from snare to overhead against 0.1 m to its own microphone: 3.6 ms; the rest is room.
    assert 2.5 < 1000.0 * int(np.argmax(np.abs(lag))) / rate < 5.0
    near = np.correlate(bottom[0], top[0][: -rate // 10], "valid")[: rate // 1000]
    assert near[np.argmax(np.abs(near))] < 0.0


def test_doubles_are_other_performances_of_the_same_part(session: Path) -> None:
    left, rate = load(session / "GTR Rhy L.flac")
    right, _ = load(session / "GTR Rhy R.flac")
    correlation = float(np.corrcoef(left[0], right[0])[0, 1])
    assert abs(correlation) < 0.6
    envelopes = [
        np.sqrt((x[0, : rate * 4 // 2400 * 2400].reshape(-1, 2400) ** 2).mean(axis=1))
        for x in (left, right)
    ]
    assert float(np.corrcoef(envelopes[0], envelopes[1])[0, 1]) > 0.7


def test_the_reference_is_a_finished_mix_of_another_song(
    made: tuple[DemoPaths, list[tuple[int, int]]],
) -> None:
    reference, rate = load(made[0].reference)
    assert reference.shape == (2, round(SECONDS * rate))
    assert pyloudnorm.Meter(rate).integrated_loudness(reference.T) == pytest.approx(-12.0, abs=1.0)
    middle, side = reference.sum(axis=0) / 2.0, (reference[0] - reference[1]) / 2.0
    assert 10.0 * math.log10((side**2).mean() / (middle**2).mean()) == pytest.approx(-10.0, abs=1.5)
    peak = float(np.abs(reference).max())
    assert peak < 0.75
    crest_db = 20.0 * math.log10(peak / math.sqrt((reference**2).mean()))
    assert 9.0 < crest_db < 13.2
    song, other = compose(1, 40.0), compose(1, 40.0, other=True)
    assert other.tonic != song.tonic
    assert other.mode != song.mode
    assert song.bpm - other.bpm >= 14.0


def test_a_whole_song_has_a_form_in_which_parts_rest() -> None:
    for seed in range(5):
        song = compose(seed, 40.0)
        assert "".join(s.letter for s in song.sections) == "ivcbC"
        assert 35.0 < len(song.bars) * song.bar_s < 40.0
        sung = song.melody("vC", centre=60)
        lengths = {s.letter: (s.first_bar * song.bar_s, s.bars * song.bar_s) for s in song.sections}
        start, length = lengths["b"]
        assert not [n for n in sung if start <= n.start_s < start + length]
        fills = [h for h in song.groove if h.piece in ("tom1", "floor2")]
        assert len(fills) > 4


def test_an_earlier_demo_of_the_same_parameters_is_kept(
    made: tuple[DemoPaths, list[tuple[int, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(*args: object, **kwargs: object) -> None:
        raise AssertionError("recorded again")

    monkeypatch.setattr(demo, "_record", record)
    assert make_demo(made[0].session.parent, seconds=SECONDS, workers=1) == made[0]


def fake_record(part: Path, **_: object) -> None:
    (part / "session").mkdir(parents=True)
    (part / "session" / "Kick.wav").write_bytes(b"new")
    (part / "reference.wav").write_bytes(b"new")


def test_a_demo_of_other_parameters_is_replaced_but_what_others_put_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_record", fake_record)
    folder = tmp_path / "demo"
    made = make_demo(folder, seed=1)
    (made.session / "Kick.wav").write_bytes(b"old")
    mix = made.session / "mixes" / "first" / "mix.wav"
    mix.parent.mkdir(parents=True)
    mix.write_bytes(b"mine")

    make_demo(folder, seed=2)

    assert (made.session / "Kick.wav").read_bytes() == b"new"
    assert mix.read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_a_demo_with_a_damaged_file_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_record", fake_record)
    made = make_demo(tmp_path / "demo")
    made.reference.write_bytes(b"")
    make_demo(tmp_path / "demo")
    assert made.reference.read_bytes() == b"new"


@pytest.mark.parametrize("marker", [None, "", "[1]", '{"files": 3}'])
def test_a_folder_of_somebody_else_is_refused_and_untouched(
    tmp_path: Path, marker: str | None
) -> None:
    folder = tmp_path / "song"
    folder.mkdir()
    (folder / "Kick.wav").write_bytes(b"mine")
    if marker is not None:
        (folder / ".stemwright-demo").write_text(marker)
    before = digests(folder)
    with pytest.raises(InputError, match="song: exists and is not an earlier demo"):
        make_demo(folder, seconds=SECONDS)
    assert digests(folder) == before
    assert [p.name for p in tmp_path.iterdir()] == ["song"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(demo, "write", full)
    with pytest.raises(OSError, match="no space left"):
        make_demo(tmp_path / "demo", seconds=SECONDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", [3.9, 0.0, math.nan])
def test_too_short_a_song_is_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(InputError, match="too short for a song"):
        make_demo(tmp_path / "demo", seconds=seconds)
    assert list(tmp_path.iterdir()) == []


def test_a_drum_microphone_on_a_stage_without_a_kit_says_so() -> None:
    stage = Stage(compose(1, SECONDS), SECONDS, 44100)
    with pytest.raises(ValueError, match="no drum kit was struck on the stage at 44100 Hz"):
        TRACKS[0].source(stage, "kick")
