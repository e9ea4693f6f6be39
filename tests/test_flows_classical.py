"""The classical balances beside ours: gains by the published formula, and what is written."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
from typer.testing import Result

from pipeline.units import db_to_amplitude
from stage1.narrowband import METHODS

Command = Callable[..., Result]
Put = Callable[..., Path]

CLASSICAL = ("lufs", "centroid", "p_lufs")
QUIET, OPPOSED = "Whisper.wav", "Wide Pad.wav"


@pytest.fixture(scope="module")
def song(workplace: Path, make_song: Callable[[Path], Path], put: Put) -> Path:
    """The song, with a track that never exceeds -50 LUFS and one that vanishes in mono."""
    root = make_song(workplace / "song")
    noise = np.random.default_rng(8).standard_normal((1, 96_000))
    put(root / QUIET, 0.0005 * noise, 48_000, subtype="FLOAT")
    put(root / OPPOSED, 0.05 * np.concatenate([noise, -noise]), 48_000, subtype="FLOAT")
    return root


@pytest.fixture(scope="module")
def balanced(song: Path, workplace: Path, stemwright: Command) -> tuple[Path, Result]:
    out = workplace / "balances"
    result = stemwright("balance", song, "--method", "all", "-o", out)
    assert result.exit_code == 0, result.stderr
    return out, result


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return {row["track"]: row for row in csv.DictReader(file)}


def gained(folder: Path, method: str, track: str) -> np.ndarray:
    path = (folder / method / "tracks" / track).with_suffix(".wav")
    return np.atleast_2d(soundfile.read(path, dtype="float64")[0].T)


def test_each_method_has_its_folder_of_tracks_and_sum(
    balanced: tuple[Path, Result], song: Path
) -> None:
    out, _ = balanced
    assert sorted(path.name for path in out.iterdir()) == [
        "centroid", "informed", "lufs", "p_lufs", "results.csv", "results.json",
    ]  # fmt: skip
    raw = {p.relative_to(song).with_suffix(".wav") for p in song.rglob("*") if p.is_file()}
    assert len(raw) == 7
    for method in METHODS:
        folder = out / method
        assert {p.relative_to(folder / "tracks") for p in (folder / "tracks").rglob("*.wav")} == raw
        assert sorted(p.name for p in folder.iterdir()) == ["plan.json", "sum.wav", "tracks"]
        for path in folder.rglob("*.wav"):
            info = soundfile.info(path)
            assert (info.samplerate, info.subtype) == (48_000, "FLOAT")


def test_classical_gains_are_the_published_formula(
    balanced: tuple[Path, Result], song: Path
) -> None:
    for name, row in rows_of(balanced[0]).items():
        audio, rate = soundfile.read(song / name, always_2d=True)
        peak_dbfs = 20.0 * np.log10(np.abs(audio).max())
        for method in CLASSICAL:
            loudness = float(row[f"loudness_{method}"])
            if name in (QUIET, OPPOSED):
                assert loudness == -np.inf
                loudness = float(row["loudness_informed"])
            expected = min(-50.0 - loudness, -1.0 - peak_dbfs)
            assert float(row[f"gain_{method}_db"]) == pytest.approx(expected, abs=1e-4)
        if name not in (QUIET, OPPOSED):
            # the plain loudness by another meter, of what is never under -50 LUFS for long
            judged = pyloudnorm.Meter(rate).integrated_loudness(audio.mean(axis=1))
            assert float(row["loudness_lufs"]) == pytest.approx(judged, abs=0.1)


def test_a_track_without_published_loudness_is_no_silence(
    balanced: tuple[Path, Result], song: Path, workplace: Path, stemwright: Command
) -> None:
    out, result = balanced
    for method in CLASSICAL:
        note = (
            f"note: {method} finds no loudness in {QUIET}, {OPPOSED} (never over -50 LUFS in "
            "mono); balanced by the informed one there"
        )
        assert note in result.stdout.splitlines()
        for name in (QUIET, OPPOSED):
            audio = gained(out, method, name).T
            # at the method's -50 LUFS like everything else, by another meter
            judged = pyloudnorm.Meter(48_000).integrated_loudness(audio)
            assert judged == pytest.approx(-50.0, abs=0.3)
    told = json.loads((out / "results.json").read_text())
    assert len(told["warnings"]) == 3
    assert {t["track"]: t["loudness_lufs"] for t in told["tracks"]}[QUIET] is None

    mix = workplace / "by lufs"
    assert stemwright("mix", song, "--method", "lufs", "-o", mix).exit_code == 0
    plan = json.loads((mix / "plan.json").read_text())
    for track in plan["tracks"]:
        assert "silent" not in track["reason"]
        assert track["gain_db"] != 0.0


def test_gained_tracks_are_the_raw_ones_at_their_gain(
    balanced: tuple[Path, Result], song: Path
) -> None:
    out, _ = balanced
    rows = rows_of(out)
    for method in METHODS:
        for name in ("Drums/Kick In.wav", OPPOSED):
            raw = np.atleast_2d(soundfile.read(song / name)[0].T)
            expected = raw * db_to_amplitude(float(rows[name][f"gain_{method}_db"]))
            # float32 has 24 bits
            assert np.allclose(gained(out, method, name), expected, rtol=1e-6, atol=1e-12)


def test_sums_are_whole_and_neither_cut_nor_clipped(
    balanced: tuple[Path, Result], song: Path
) -> None:
    out, _ = balanced
    told = json.loads((out / "results.json").read_text())["sum_lufs"]
    assert list(told) == list(METHODS)
    for method in METHODS:
        total = np.zeros((2, 3 * 48_000))
        for name in rows_of(out):
            audio = gained(out, method, name)
            total[:, : audio.shape[1]] += audio
        written, rate = soundfile.read(out / method / "sum.wav", dtype="float64")
        assert np.allclose(written.T, total, rtol=1e-5, atol=1e-7)
        judged = pyloudnorm.Meter(rate).integrated_loudness(written)
        assert told[method] == pytest.approx(judged, abs=0.1)


def test_ours_is_the_balance_of_a_mix(
    balanced: tuple[Path, Result], song: Path, workplace: Path, stemwright: Command
) -> None:
    mix = workplace / "mix"
    assert stemwright("mix", song, "-o", mix).exit_code == 0
    gains = {
        track["path"]: track["gain_db"]
        for track in json.loads((mix / "plan.json").read_text())["tracks"]
    }
    rows = rows_of(balanced[0])
    assert {name: round(float(row["gain_informed_db"]), 4) for name, row in rows.items()} == gains


def test_a_balance_can_be_rendered_from_its_plan(
    balanced: tuple[Path, Result], stemwright: Command
) -> None:
    out, _ = balanced
    for method in CLASSICAL:  # ours is louder than full scale here, and a plan has a ceiling
        render = out.parent / f"render {method}"
        assert stemwright("render", out / method / "plan.json", "-o", render).exit_code == 0
        again = soundfile.read(render / "mix.wav", dtype="float64")[0]
        written = soundfile.read(out / method / "sum.wav", dtype="float64")[0]
        assert np.allclose(again, written, rtol=1e-4, atol=1e-6)


def test_one_method_with_what_session_toml_says(
    workplace: Path, put: Put, stemwright: Command
) -> None:
    noise = 0.1 * np.random.default_rng(9).standard_normal((2, 22_050))
    root = workplace / "told"
    for name in ("Kick.wav", "Kick.flac", "Bass.wav"):
        put(root / name, noise[:1], 22_050)
    (root / "session.toml").write_text('[[track]]\nmatch = "Bass.wav"\nmute = true\n')
    out = workplace / "one"
    result = stemwright("balance", root, "--method", "p_lufs", "-o", out, "--json")
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert list(record["sum_lufs"]) == ["p_lufs"]
    assert record["folder"] == str(out)
    # names that differ in their suffix alone do not overwrite each other, and mute is obeyed
    folder = out / "p_lufs"
    assert {p.name for p in (folder / "tracks").iterdir()} == {"Kick.wav", "Kick 2.wav"}
    both = soundfile.read(folder / "sum.wav")[0][:, 0]
    assert np.allclose(both, 2 * soundfile.read(folder / "tracks" / "Kick.wav")[0], atol=1e-5)


def test_bad_input_is_said_before_anything_is_written(
    workplace: Path, put: Put, stemwright: Command, contents: Callable[[Path], dict[str, Any]]
) -> None:
    root = workplace / "bad"
    put(root / "Kick.wav", np.ones((1, 11_025)) * 0.1, 22_050)
    (root / "Snare.wav").write_text("no audio")
    (workplace / "taken").mkdir()
    (workplace / "taken" / "dear.txt").write_text("to me")
    before = contents(root)
    result = stemwright("balance", root, "-o", workplace / "taken")
    assert result.exit_code == 2
    assert "2 problems, nothing was written:" in result.stderr
    assert "exists already: name another folder with --output" in result.stderr
    assert "  Snare.wav: is not readable audio" in result.stderr
    assert contents(root) == before

    skipped = stemwright("balance", root, "--skip-bad", "--json")
    assert skipped.exit_code == 3
    record = json.loads(skipped.stdout)
    assert record["skipped"] == ["Snare.wav"]
    assert Path(record["folder"]).parent == root / "mixes"
    assert json.loads((Path(record["folder"]) / "results.json").read_text())["skipped"] == [
        {"name": "Snare.wav",
         "why": "is not readable audio (its content is not WAV, AIFF, FLAC, Ogg, MP3 or CAF)"}
    ]  # fmt: skip
