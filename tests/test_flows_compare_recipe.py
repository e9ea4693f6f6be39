"""Balances side by side: published gains kept, equally loud, rendered again from their plans."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
from typer.testing import Result

from flows.compare.methods import PUBLISHED, chosen_methods
from flows.compare.steps import LARGEST_FADER_DB, RawSum, level_sums
from pipeline.errors import InputError
from pipeline.loudness.meter import gated_lufs, measure
from pipeline.units import db_to_amplitude
from stage1.loudness.narrowband import METHODS

Command = Callable[..., Result]
Put = Callable[..., Path]

QUIET, OPPOSED = "Whisper.wav", "Wide Pad.wav"
HALF_STEP = 2.0**-24  # of 24 bits
DITHERED_STEP = 3 * HALF_STEP  # half a step of rounding and one of dither


@pytest.fixture(scope="module")
def song(workplace: Path, make_song: Callable[[Path], Path], put: Put) -> Path:
    """The song, with a track that never exceeds -50 LUFS and one that vanishes in mono."""
    root = make_song(workplace / "song")
    noise = np.random.default_rng(8).standard_normal((1, 96_000))
    put(root / QUIET, 0.0005 * noise, 48_000, subtype="FLOAT")
    put(root / OPPOSED, 0.05 * np.concatenate([noise, -noise]), 48_000, subtype="FLOAT")
    # or its inverted channel would be set right
    as_is = f'[[track]]\nmatch = "{OPPOSED}"\nchannels = "as_is"\n'
    (root / "session.toml").write_text(as_is)
    return root


@pytest.fixture(scope="module")
def balanced(song: Path, workplace: Path, stemwright: Command) -> tuple[Path, Result]:
    out = workplace / "balances"
    result = stemwright("balance", song, "--method", "all", "--tracks", "-o", out)
    assert result.exit_code == 0, result.stderr
    return out, result


def rows_of(folder: Path, name: str = "results.csv") -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_track(folder: Path) -> dict[str, dict[str, str]]:
    return {row["track"]: row for row in rows_of(folder)}


def audio(path: Path) -> np.ndarray:
    return np.atleast_2d(soundfile.read(path, dtype="float64")[0].T)


def gained(folder: Path, method: str, track: str) -> np.ndarray:
    return audio((folder / method / "tracks" / track).with_suffix(".wav"))


def test_each_method_has_its_folder_of_stems_sum_and_plan(
    balanced: tuple[Path, Result], song: Path
) -> None:
    out, result = balanced
    assert {path.name for path in out.iterdir()} == {
        *METHODS, "listen.html", "listening_test", "methods.csv", "results.csv", "results.json",
        "spread.csv",
    }  # fmt: skip
    raw = {p.relative_to(song).with_suffix(".wav") for p in song.rglob("*") if p.is_file()}
    raw.discard(Path("session.wav"))  # session.toml
    assert len(raw) == 7
    subgroups = {row["subgroup"] for row in rows_of(out)}
    for method in METHODS:
        folder = out / method
        assert {p.name for p in folder.iterdir()} == {"plan.json", "stems", "sum.wav", "tracks"}
        assert {p.stem for p in (folder / "stems").iterdir()} == subgroups
        assert {p.relative_to(folder / "tracks") for p in (folder / "tracks").rglob("*.wav")} == raw
        for path in (folder / "sum.wav", *(folder / "stems").iterdir()):
            info = soundfile.info(path)
            assert (info.samplerate, info.subtype, info.channels) == (48_000, "PCM_24", 2)
            assert info.frames == 3 * 48_000
        for path in (folder / "tracks").rglob("*.wav"):
            assert soundfile.info(path).subtype == "FLOAT"
    assert f"listen: {out / 'listen.html'}" in result.stdout


def test_published_gains_are_the_published_formula(
    balanced: tuple[Path, Result], song: Path
) -> None:
    for name, row in by_track(balanced[0]).items():
        raw, rate = soundfile.read(song / name, always_2d=True)
        peak_dbfs = 20.0 * np.log10(np.abs(raw).max())
        for method in PUBLISHED:
            loudness = float(row[f"loudness_{method}"])
            if name in (QUIET, OPPOSED):
                assert loudness == -np.inf
                loudness = float(row["loudness_informed"])
            expected = min(-50.0 - loudness, -1.0 - peak_dbfs)
            assert float(row[f"gain_{method}_db"]) == pytest.approx(expected, abs=1e-4)
        if name not in (QUIET, OPPOSED):
            # the plain loudness by another meter, of what is never under -50 LUFS for long
            judged = pyloudnorm.Meter(rate).integrated_loudness(raw.mean(axis=1))
            assert float(row["loudness_lufs"]) == pytest.approx(judged, abs=0.1)


def test_plans_keep_the_gains_between_tracks(balanced: tuple[Path, Result]) -> None:
    rows = by_track(balanced[0])
    for method in METHODS:
        plan = json.loads((balanced[0] / method / "plan.json").read_text())
        faders = {stem["settings"]["gain_db"] for stem in plan["stems"]}
        (row,) = (r for r in rows_of(balanced[0], "methods.csv") if r["method"] == method)
        assert faders == {float(row["gain_db"])}  # one for all tracks alike
        for track in plan["tracks"]:
            assert track["gain_db"] == float(rows[track["path"]][f"gain_{method}_db"])
            assert track["pan"] == 0.0
            assert track["record"]["reason"] == rows[track["path"]][f"reason_{method}"]


def test_sums_are_equally_loud_and_peaks_kept(balanced: tuple[Path, Result]) -> None:
    out, _ = balanced
    told = {row["method"]: row for row in rows_of(out, "methods.csv")}
    assert list(told) == list(METHODS)
    loudness = {}
    for method in METHODS:
        written = audio(out / method / "sum.wav")
        loudness[method] = pyloudnorm.Meter(48_000).integrated_loudness(written.T)
        found = measure(written, sample_rate=48_000)
        assert float(told[method]["loudness_lufs"]) == pytest.approx(
            found.integrated_lufs, abs=0.01
        )
        peaks = [found.true_peak_dbtp]
        for path in (out / method / "stems").iterdir():
            peaks.append(measure(audio(path), sample_rate=48_000).true_peak_dbtp)
        assert max(peaks) < -1.0
        assert float(told[method]["true_peak_dbtp"]) == pytest.approx(max(peaks), abs=0.01)
    assert max(loudness.values()) - min(loudness.values()) < 0.05  # LU
    # as loud as allowed: -23 LUFS, or a peak at the ceiling
    highest = max(float(row["true_peak_dbtp"]) for row in told.values())
    assert max(loudness.values()) == pytest.approx(-23.0, abs=0.1) or highest > -1.05


def test_stems_sum_to_the_sum(balanced: tuple[Path, Result]) -> None:
    out, _ = balanced
    for method in METHODS:
        stems = [audio(path) for path in (out / method / "stems").iterdir()]
        left = audio(out / method / "sum.wav") - np.sum(stems, axis=0)
        assert np.abs(left).max() < 1e-6  # -120 dBFS


def test_a_plan_renders_to_the_same_samples(
    balanced: tuple[Path, Result], workplace: Path, stemwright: Command
) -> None:
    out, _ = balanced
    for method in METHODS:
        render = workplace / f"render {method}"
        assert stemwright("render", out / method / "plan.json", "-o", render).exit_code == 0
        again = soundfile.read(render / "mix.wav", dtype="int32")[0]
        assert np.array_equal(again, soundfile.read(out / method / "sum.wav", dtype="int32")[0])
        for path in (out / method / "stems").iterdir():
            # a render's stems are 32-bit float: the same but for the rounding to 24
            difference = np.abs(audio(render / "stems" / path.name) - audio(path))
            assert difference.max() <= HALF_STEP


def test_gained_tracks_are_the_raw_ones_at_their_gain(
    balanced: tuple[Path, Result], song: Path
) -> None:
    out, _ = balanced
    rows = by_track(out)
    levels = {row["method"]: float(row["gain_db"]) for row in rows_of(out, "methods.csv")}
    for method in METHODS:
        total = np.zeros((2, 3 * 48_000))
        for name, row in rows.items():
            found = gained(out, method, name)
            if name in ("Drums/Kick In.wav", OPPOSED):
                raw = np.atleast_2d(soundfile.read(song / name)[0].T)
                expected = raw * db_to_amplitude(float(row[f"gain_{method}_db"]))
                # float32 has 24 bits
                assert np.allclose(found, expected, rtol=1e-6, atol=1e-12)
            total[:, : found.shape[1]] += found
        total *= db_to_amplitude(levels[method])
        difference = np.abs(audio(out / method / "sum.wav") - total)
        assert difference.max() < DITHERED_STEP + 1e-6 * np.abs(total).max()


def test_a_track_without_published_loudness_is_no_silence(
    balanced: tuple[Path, Result], song: Path, workplace: Path, stemwright: Command
) -> None:
    out, result = balanced
    for method in PUBLISHED:
        note = (
            f"note: {method} finds no loudness in {QUIET}, {OPPOSED} (never over -50 LUFS in "
            "mono); balanced by the informed one there"
        )
        assert note in result.stdout.splitlines()
        for name in (QUIET, OPPOSED):
            # at the method's -50 LUFS like everything else, by another meter
            judged = pyloudnorm.Meter(48_000).integrated_loudness(gained(out, method, name).T)
            assert judged == pytest.approx(-50.0, abs=0.3)
    told = json.loads((out / "results.json").read_text())
    assert len(told["warnings"]) >= len(PUBLISHED)
    assert {t["track"]: t["loudness_lufs"] for t in told["tracks"]}[QUIET] is None

    mix = workplace / "by lufs"
    assert stemwright("mix", song, "--method", "lufs", "-o", mix).exit_code == 0
    plan = json.loads((mix / "plan.json").read_text())
    for track in plan["tracks"]:
        assert "silent" not in track["record"]["reason"]
        assert track["gain_db"] != 0.0


def test_tables_have_their_columns(balanced: tuple[Path, Result]) -> None:
    out, result = balanced
    each = [
        f"{start}_{method}{end}"
        for start, end in (
            ("loudness", ""), ("gain", "_db"), ("level_gain", "_db"), ("audibility", "_db"),
            ("reason", ""),
        )
        for method in METHODS
    ]  # fmt: skip
    assert list(rows_of(out)[0]) == [
        "track", "role", "subgroup", "confidence", "recognised_by", "mute",
        "f0_hz", "centroid_hz", "bandwidth_hz", *each,
    ]  # fmt: skip
    assert list(rows_of(out, "methods.csv")[0]) == [
        "method", "gain_db", "loudness_lufs", "true_peak_dbtp",
        *(f"spread_by_{method}_lu" for method in METHODS),
        "median_audibility_db", "lowest_audibility_db",
    ]  # fmt: skip
    spreads = rows_of(out, "spread.csv")
    assert {(row["method"], row["judged_by"]) for row in spreads} == {
        (method, judge) for method in METHODS for judge in METHODS
    }
    for method in METHODS:
        assert re.search(rf"^│ {method} ", result.stdout, flags=re.MULTILINE)
    record = json.loads((out / "results.json").read_text())
    assert [row["method"] for row in record["methods"]] == list(METHODS)
    assert set(record["spread_lu"]) == set(METHODS)
    assert "drums" in record["stem_lufs"][METHODS[0]]


def test_ours_is_the_balance_of_a_mix(
    balanced: tuple[Path, Result], song: Path, workplace: Path, stemwright: Command
) -> None:
    mix = workplace / "mix"
    assert stemwright("mix", song, "--method", "informed", "-o", mix).exit_code == 0
    rows = by_track(balanced[0])
    differences: dict[str, list[float]] = {}
    for track in json.loads((mix / "plan.json").read_text())["tracks"]:
        ours = float(rows[track["path"]]["gain_informed_db"])
        differences.setdefault(track["subgroup"], []).append(track["gain_db"] - ours)
    assert len(differences["drums"]) == 2
    for lowered in differences.values():
        # a mix may lower all tracks of a stem alike, and rounds to 0.0001 dB
        assert max(lowered) - min(lowered) < 1.01e-4
        assert max(lowered) < 1e-4


def test_same_session_same_bytes_whatever_the_workers(
    balanced: tuple[Path, Result],
    song: Path,
    workplace: Path,
    stemwright: Command,
    contents: Callable[[Path], dict[str, str]],
) -> None:
    again = workplace / "again"
    result = stemwright(
        "balance", song, "--method", "all", "--tracks", "--workers", "1", "-o", again
    )
    assert result.exit_code == 0
    assert contents(again) == contents(balanced[0])


def test_one_method_with_what_session_toml_says(
    workplace: Path, put: Put, stemwright: Command
) -> None:
    noise = 0.1 * np.random.default_rng(9).standard_normal((2, 22_050))
    root = workplace / "told"
    for name in ("Kick.wav", "Kick.flac", "Bass.wav"):
        put(root / name, noise[:1], 22_050)
    (root / "session.toml").write_text('[[track]]\nmatch = "Bass.wav"\nmute = true\n')
    out = workplace / "one"
    result = stemwright("balance", root, "--method", "p_lufs", "--tracks", "-o", out, "--json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert list(record["sum_lufs"]) == ["p_lufs"]
    assert record["folder"] == str(out)
    assert record["page"] == str(out / "listen.html")
    assert not any("listening test" in note for note in record["warnings"])
    assert not (out / "listening_test").exists()
    # names that differ in their suffix alone do not overwrite each other, and mute is obeyed
    folder = out / "p_lufs"
    assert {p.name for p in (folder / "tracks").iterdir()} == {"Kick.wav", "Kick 2.wav"}
    both = audio(folder / "sum.wav")[0] / db_to_amplitude(record["gain_db"]["p_lufs"])
    # the gain is told to 0.001 dB, the sum is dithered to 24 bits
    kicks = sum(audio(path)[0] for path in (folder / "tracks").iterdir())
    assert np.allclose(both, kicks, rtol=2e-4, atol=1e-6)
    assert not audio(folder / "stems" / "bass.wav").any()


def test_no_method_raises_hiss(workplace: Path, put: Put, stemwright: Command) -> None:
    noise = np.random.default_rng(9).standard_normal((1, 22_050))
    root = workplace / "hiss"
    put(root / "Kick.wav", 0.1 * noise, 22_050)
    put(root / "Pad.wav", 1e-5 * noise, 22_050, subtype="FLOAT")  # -100 dBFS
    out = workplace / "hissless"
    result = stemwright("balance", root, "--method", "all", "-o", out)
    assert result.exit_code == 0, result.stderr
    hiss = by_track(out)["Pad.wav"]
    for method in METHODS:
        assert float(hiss[f"gain_{method}_db"]) == 0.0
        assert hiss[f"reason_{method}"] == "silent: left as it is"
    assert "note: 1 track is silent: 'Pad.wav'" in result.stdout.splitlines()
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("│ Pad.wav")]
    assert row.count("silent") == len(METHODS)


def test_methods_come_from_flags_or_settings(
    workplace: Path, put: Put, stemwright: Command
) -> None:
    noise = 0.1 * np.random.default_rng(9).standard_normal((2, 11_025))
    root = workplace / "few"
    put(root / "Kick.wav", noise[:1], 22_050)
    put(root / "Bass.wav", noise[1:], 22_050)
    file = workplace / "mix.toml"
    file.write_text('method = "centroid"\nseed = 5\n')

    def methods(*flags: object) -> list[str]:
        out = workplace / f"methods {len(list(workplace.iterdir()))}"
        result = stemwright("balance", root, *flags, "-o", out, "--json")
        assert result.exit_code == 0, result.stderr
        return list(json.loads(result.stdout)["sum_lufs"])

    assert methods("--settings", file) == ["centroid"]
    assert methods("--method", "p_lufs", "--method", "LUFS", "--method", "p_lufs") == [
        "lufs", "p_lufs",
    ]  # fmt: skip
    assert len(methods()) == 1

    before = sorted(root.rglob("*"))
    result = stemwright("balance", root, "--method", "lfus", "--method", "all", "--seed", "-1")
    assert result.exit_code == 2
    told = result.stderr.splitlines()
    assert "2 problems, nothing was written:" in told
    assert "  --method: is 'lfus': did you mean 'lufs'?" in told
    assert sorted(root.rglob("*")) == before
    with pytest.raises(InputError, match=r"is 'xyz': use one of all, lufs"):
        chosen_methods(["xyz"], "lufs")


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


def test_a_full_disk_is_said_before_anything_is_written(
    song: Path, workplace: Path, stemwright: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr("flows.compare.render.shutil.disk_usage", lambda path: usage)
    result = stemwright("balance", song, "--method", "all", "-o", workplace / "no room")
    assert result.exit_code == 2
    assert "and 0.0 GB are free there: name fewer methods" in result.stderr
    assert not (workplace / "no room").exists()


def _sum(level_db: float, true_peak_dbtp: float, *, quiet_blocks: int = 0) -> RawSum:
    power = np.full(100, 10.0 ** (level_db / 10.0))
    quiet = np.full(quiet_blocks, 10.0 ** ((level_db - 5.0) / 10.0))
    return RawSum(np.concatenate([power, quiet]), true_peak_dbtp)


def test_the_common_loudness_is_the_highest_that_fits() -> None:
    silent = RawSum(np.zeros(10), -np.inf)
    loose, tight, faint = _sum(-40.0, -30.0), _sum(-10.0, 12.0), _sum(-60.0, -50.0)
    for sums in ([loose], [loose, silent], [loose, tight], [loose, tight, faint, silent]):
        target, gains = level_sums(sums)
        for raw, gain_db in zip(sums, gains, strict=True):
            if raw is silent:
                assert gain_db == 0.0
                continue
            assert gated_lufs(raw.power * 10.0 ** (gain_db / 10.0)) == pytest.approx(
                target, abs=0.001
            )
            assert raw.true_peak_dbtp + gain_db < -1.0
            assert gain_db <= LARGEST_FADER_DB
    assert level_sums([loose])[0] == -23.0
    # 22 dB from loudness to peak: 24 dB fader and 13 dB down are not needed, 0 dB is
    assert level_sums([tight])[0] == pytest.approx(-10.691 - 13.01, abs=0.001)
    assert level_sums([faint])[0] == pytest.approx(-60.691 + 24.0, abs=0.001)
    assert level_sums([silent]) == (-np.inf, (0.0,))


def test_the_gate_is_that_of_the_gained_sum() -> None:
    # Blocks 5 dB down are under -70 LUFS before the gain and over it after.
    raw = _sum(-67.0, -60.0, quiet_blocks=100)
    assert raw.lufs(0.0) > raw.lufs(20.0) - 20.0 + 1.0
    assert raw.lufs(raw.gain_to(-40.0)) == pytest.approx(-40.0, abs=0.001)
