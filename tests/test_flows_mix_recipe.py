"""The whole way on small synthesised songs: what comes out, and that it is the same every time."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import soundfile
from typer.testing import Result

from flows.mix.recipe import mix_session
from flows.mix.result import MixOutcome
from flows.settings import MixSettings
from pipeline.console.delivery import TARGETS
from pipeline.console.parameters import BUS, BUS_EQ_BANDS, STRIP_EQ_BANDS, default_settings
from pipeline.console.processors import Bus
from pipeline.plan import Plan
from pipeline.plan_file import load_plan

Command = Callable[..., Result]
Put = Callable[..., Path]
Samples = Callable[[Path], Any]

STEMS = ["bass", "drums", "guitars", "lead_vocals"]


@pytest.fixture(scope="module")
def song(workplace: Path, make_song: Callable[[Path], Path]) -> Path:
    return make_song(workplace / "song")


@pytest.fixture(scope="module")
def reference(workplace: Path, make_reference: Callable[..., Path]) -> Path:
    return make_reference(workplace / "A Song.wav")


@pytest.fixture(scope="module")
def mixed(workplace: Path, song: Path) -> Callable[..., MixOutcome]:
    """Mix the song into a folder of that name."""

    def mix(name: str, *, store: str = "store", root: Path = song, **chosen: Any) -> MixOutcome:
        settings = MixSettings(**({"engine": "local", "target": "-16"} | chosen))
        return mix_session(
            root, settings=settings, folder=workplace / name, store=workplace / store
        )

    return mix


@pytest.fixture(scope="module")
def balanced(mixed: Callable[..., MixOutcome]) -> MixOutcome:
    return mixed("balanced", strength=0.0)


@pytest.fixture(scope="module")
def styled(mixed: Callable[..., MixOutcome], reference: Path) -> MixOutcome:
    return mixed("styled", references=(reference,), keep=True, workers=2)


def decided(plan: Plan) -> dict[str, Any]:
    """Return a plan without what tells where it lies."""
    return plan.model_dump(exclude={"session", "references"})


def true_peak_db(path: Path) -> float:
    """Return the true peak of a file by another oversampler than ours, in dBTP."""
    audio, _ = soundfile.read(path)
    return float(20 * np.log10(np.abs(scipy.signal.resample_poly(audio, 8, 1, axis=0)).max()))


def lufs(path: Path) -> float:
    audio, rate = soundfile.read(path)
    return float(pyloudnorm.Meter(rate).integrated_loudness(audio))


def through_the_bus(folder: Path, plan: Plan) -> np.ndarray:
    """Return the sum of the exported stems through the plan's bus, at the mix's time."""
    bus = Bus(
        plan.bus,
        sample_rate=plan.sample_rate,
        ceiling_dbtp=plan.delivery.limiter_ceiling_dbtp,
        trim_db=plan.delivery.trim_db,
    )
    total = sum(
        soundfile.read(path, dtype="float64", always_2d=True)[0].T
        for path in sorted((folder / "stems").iterdir())
    )
    return np.concatenate([bus.process(total), bus.flush()], axis=1)[:, bus.latency :]


def test_everything_is_written(styled: MixOutcome, workplace: Path, song: Path) -> None:
    folder = workplace / "styled"
    assert styled.folder == folder
    wavs = [f"{stem}.wav" for stem in STEMS]
    plan = load_plan(folder / "plan.json")
    sides = [
        f"daw/{stem.name} sides.flac"
        for stem in plan.stems
        if (stem.settings["width"], stem.settings["spread"], plan.bus["width"]) != (1.0, 0.0, 1.0)
    ]
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        *(f"balanced/{name}" for name in wavs), *sorted(sides),
        "mix.wav", "plan.json", "report.html",
        "results.csv", "results.json", "session.dawproject", *(f"stems/{name}" for name in wavs),
    ]  # fmt: skip
    assert {path for path in styled.files.values() if not path.exists()} == set()
    assert {s.path for s in styled.stems.values()} == set((folder / "stems").iterdir())
    assert not list(workplace.glob(".*")), "a temporary neighbour stayed"

    mix = soundfile.info(folder / "mix.wav")
    assert (mix.samplerate, mix.channels, mix.subtype) == (48_000, 2, "PCM_24")
    for path in [*(folder / "stems").iterdir(), *(folder / "balanced").iterdir()]:
        stem = soundfile.info(path)
        assert (stem.frames, stem.subtype) == (mix.frames, "FLOAT")
    assert mix.frames == 3 * 48_000  # the longest tracks, not one sample lost


def test_every_figure_is_in_the_results(styled: MixOutcome, song: Path) -> None:
    names = {p.relative_to(song).as_posix() for p in song.rglob("*") if p.is_file()}
    with (styled.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["track"]: row for row in csv.DictReader(file)}
    whole = json.loads((styled.folder / "results.json").read_text())
    stems = list(styled.stems)
    assert whole["masking"]["stems"] == stems
    assert all(len(row) == len(stems) for row in whole["masking"]["shares"])
    assert [finding["where"] for finding in whole["findings"]] == [
        finding.where for finding in styled.findings()
    ]
    assert max(styled.mixdown.true_peaks_dbtp) == pytest.approx(
        styled.mixdown.loudness.true_peak_dbtp, abs=0.006
    )
    halves = styled.plan.frames / (0.5 * styled.plan.sample_rate)
    assert len(styled.mixdown.limiting.course_db) == math.ceil(halves)
    assert set(rows) == {row["track"] for row in whole["tracks"]} == names
    for column in (
        "role", "subgroup", "confidence", "unsure", "gain_db", "pan", "f0_hz", "pyin_hz",
        "pesto_hz", "centroid_hz", "bandwidth_hz", "band_low_hz", "loudness_lufs",
        "loudness_centroid", "loudness_p_lufs", "loudness_informed", "true_peak_dbtp", "crest_db",
        "active_share", "flags",
    ):  # fmt: skip
        assert all(column in row for row in [*rows.values(), *whole["tracks"]])
    assert float(rows["Lead Vox ü 日本.wav"]["f0_hz"]) == pytest.approx(220.0, rel=0.01)
    assert rows["Drums/Kick In.wav"]["role"] == "kick"
    for row in whole["tracks"]:
        assert row["subgroup"] in STEMS
        audio, rate = soundfile.read(os.fsencode(song / row["track"]))
        judged = pyloudnorm.Meter(rate).integrated_loudness(audio)
        # the plain loudness, by another meter: pyloudnorm's filters are of 44.1 and 48 kHz
        assert row["integrated_lufs"] == pytest.approx(judged, abs=0.1)
    assert whole["settings"]["target"] == "-16"
    assert {"stemwright", "torch", "numpy", "python"} <= set(whole["versions"])
    assert {stem["stem"] for stem in whole["stems"]} == set(STEMS)


def test_nothing_tells_of_the_temporary_folder(styled: MixOutcome) -> None:
    for path in styled.folder.iterdir():
        if path.is_file():
            assert b".part/" not in path.read_bytes(), path.name


def test_the_report_names_every_track(styled: MixOutcome) -> None:
    page = (styled.folder / "report.html").read_text(encoding="utf-8")
    for name in ("Drums/Kick In.wav", "Bass DI.flac", "Lead Vox ü 日本.wav", "A Song.wav"):
        assert name in page
    assert "<audio" in page
    assert 'Gtr "L"' not in page  # quotes are escaped wherever they stand


def test_the_daw_session_finds_its_files(styled: MixOutcome) -> None:
    with zipfile.ZipFile(styled.folder / "session.dawproject") as archive:
        assert archive.testzip() is None
        project = ElementTree.fromstring(archive.read("project.xml"))
    files = [file for file in project.iter("File") if file.get("external") == "true"]
    sides = len(list((styled.folder / "daw").iterdir()))
    assert len(files) == 5 + 4 + sides + 1  # tracks, stems, their sides, reference
    for file in files:
        path = styled.folder / unquote(str(file.get("path")))
        assert path.is_file()


def test_stems_sum_to_the_mix(styled: MixOutcome, balanced: MixOutcome) -> None:
    for outcome in (styled, balanced):
        mix = soundfile.read(outcome.folder / "mix.wav", dtype="float64")[0].T
        left = mix - through_the_bus(outcome.folder, load_plan(outcome.folder / "plan.json"))
        # 24 bits and their dither are at -131 dBFS; -90 is asked for
        assert 20 * np.log10(np.abs(left).max()) < -120.0
        assert np.abs(mix).max() > 0.1


@pytest.mark.parametrize("which", ["styled", "balanced"])
def test_the_plan_renders_the_same_samples(
    which: str, request: pytest.FixtureRequest, stemwright: Command, samples: Samples
) -> None:
    folder = request.getfixturevalue(which).folder
    assert stemwright("render", folder / "plan.json", "-q").exit_code == 0
    again = folder / "plan-render"
    assert np.array_equal(samples(folder / "mix.wav"), samples(again / "mix.wav"))
    for stem in (folder / "stems").iterdir():
        one, other = (soundfile.read(f / "stems" / stem.name)[0] for f in (folder, again))
        assert np.array_equal(one, other)
    shutil.rmtree(again)
    moved = folder.with_name(f"{which} moved") / "deeper"
    assert stemwright("render", folder / "plan.json", "-o", moved, "--workers", 1).exit_code == 0
    # its plan knows the way to the session from where it lies now
    assert stemwright("render", moved / "plan.json").exit_code == 0
    assert np.array_equal(samples(folder / "mix.wav"), samples(moved / "plan-render" / "mix.wav"))
    assert load_plan(moved / "plan.json").stems == load_plan(folder / "plan.json").stems


def test_an_edited_plan_gives_the_edited_mix(
    balanced: MixOutcome, workplace: Path, stemwright: Command
) -> None:
    plan = json.loads((balanced.folder / "plan.json").read_text())
    for stem in plan["stems"]:
        stem["mute"] = stem["name"] == "drums"
    for track in plan["tracks"]:
        if track["subgroup"] == "bass":
            track["gain_db"] += 6.0
        if track["subgroup"] == "lead_vocals":
            track["pan"] = 1.0
    edited = balanced.folder / "edited.json"
    edited.write_text(json.dumps(plan))
    out = workplace / "edited"
    assert stemwright("render", edited, "-o", out).exit_code == 0
    edited.unlink()

    def stem(folder: Path, name: str) -> np.ndarray:
        return soundfile.read(folder / "stems" / f"{name}.wav")[0].T

    assert sorted(path.stem for path in (out / "stems").iterdir()) == [
        "bass", "guitars", "lead_vocals",
    ]  # fmt: skip
    assert np.array_equal(stem(out, "guitars"), stem(balanced.folder, "guitars"))
    # neutral strips: a gain is a gain, to the rounding of float32
    louder = 10 ** (6 / 20) * stem(balanced.folder, "bass")
    assert np.allclose(stem(out, "bass"), louder, rtol=1e-5, atol=1e-7)
    left, right = stem(out, "lead_vocals")
    assert np.abs(left).max() < 1e-6 < 0.01 < np.abs(right).max()
    mix = soundfile.read(out / "mix.wav", dtype="float64")[0].T
    difference = mix - through_the_bus(out, load_plan(out / "plan.json"))
    assert 20 * np.log10(np.abs(difference).max()) < -120.0


def test_an_edited_plan_keeps_the_loudness_that_it_asks_for(
    styled: MixOutcome, workplace: Path, stemwright: Command
) -> None:
    def rendered(name: str, *options: str, **edits: float) -> tuple[float, dict[str, Any]]:
        plan = json.loads((styled.folder / "plan.json").read_text())
        plan["delivery"]["target_lufs"] += edits.get("target", 0.0)
        plan["bus"]["gain_db"] += edits.get("drive", 0.0)
        for stem in plan["stems"]:
            stem["settings"]["gain_db"] += edits.get("fader", 0.0)
        path = styled.folder / "edited.json"
        path.write_text(json.dumps(plan))
        out = workplace / name
        assert stemwright("render", path, "-o", out, *options).exit_code == 0
        path.unlink()
        assert {"report.html", "session.dawproject", "results.csv"} < {
            p.name for p in out.iterdir()
        }
        return lufs(out / "mix.wav"), json.loads((out / "plan.json").read_text())

    wanted = json.loads((styled.folder / "plan.json").read_text())["delivery"]["target_lufs"]
    assert rendered("louder", fader=3.0)[0] == pytest.approx(wanted, abs=0.1)
    assert rendered("softer", fader=-3.0)[0] == pytest.approx(wanted, abs=0.1)
    loudness, plan = rendered("a lower target", target=-4.0)
    assert loudness == pytest.approx(wanted - 4.0, abs=0.1)
    # what is not needed for the loudness is not limited and turned down again
    assert plan["delivery"]["record"]["trim_db"] >= -1.0
    as_it_was, plan = rendered("as it was", "--as-is", drive=-4.0)
    assert as_it_was < wanted - 2.0
    drives = [p["bus"]["gain_db"] for p in (plan, styled.plan.model_dump())]
    assert drives[0] == pytest.approx(drives[1] - 4.0)


def test_target_and_ceiling_are_kept(
    mixed: Callable[..., MixOutcome], styled: MixOutcome, reference: Path
) -> None:
    wanted = {"styled": (styled, -16.0, -1.0)}
    for name, target in TARGETS.items():
        if target.loudness_lufs is not None:
            outcome = mixed(f"for {name}", target=name)
            wanted[name] = (outcome, target.loudness_lufs, target.ceiling_dbtp)
    chosen: dict[str, Any] = {"references": (reference,), "quality": "fast", "match": ("level",)}
    follows = mixed("for reference", target="reference", **chosen)
    wanted["reference"] = (follows, lufs(reference), -1.0)
    half = mixed("half of it", target="reference", strength=0.5, **chosen)
    wanted["half of it"] = (half, (lufs(reference) - 14.0) / 2.0, -1.0)
    wanted["lower"] = (mixed("lower", target="-14", ceiling_dbtp=-3.0), -14.0, -3.0)
    assert len(wanted) == len(TARGETS) + 3
    for name, (outcome, loudness, ceiling) in wanted.items():
        mix = outcome.folder / "mix.wav"
        assert lufs(mix) == pytest.approx(loudness, abs=0.3), name
        # 0.05 dB: another oversampler, and the delivered bits
        assert true_peak_db(mix) <= ceiling + 0.05, name
        assert outcome.warnings == styled.warnings


def test_strength_0_is_the_balanced_mix(
    mixed: Callable[..., MixOutcome], balanced: MixOutcome, reference: Path, samples: Samples
) -> None:
    none = mixed("strength 0", references=(reference,), strength=0.0)
    assert decided(none.plan) == decided(balanced.plan)
    assert np.array_equal(samples(none.folder / "mix.wav"), samples(balanced.folder / "mix.wav"))


def test_full_strength_comes_nearer_than_none(styled: MixOutcome, balanced: MixOutcome) -> None:
    told = json.loads((styled.folder / "results.json").read_text())["mix"]
    start, end = told["distance_of_balanced_start"], told["distance"]
    assert end["spectrum_db"] < 0.9 * start["spectrum_db"]
    assert end["typical_spectrum_db"] < 0.9 * start["typical_spectrum_db"]
    assert styled.plan.stems != balanced.plan.stems
    # bass, drums with the kick in them and the lead vocal stay in the middle
    pans = {stem.name: stem.settings["pan"] for stem in styled.plan.stems}
    assert (pans["bass"], pans["drums"], pans["lead_vocals"]) == (0.0, 0.0, 0.0)


def test_match_eq_of_two_references_leaves_all_else_alone(
    mixed: Callable[..., MixOutcome],
    balanced: MixOutcome,
    reference: Path,
    workplace: Path,
    make_reference: Callable[..., Path],
) -> None:
    bright = make_reference(workplace / "Bright.wav", dull=0.0, seed=6)
    both = mixed("eq", references=(reference, bright), match="eq")
    neutral, bus = default_settings(BUS), both.plan.bus
    eq = {band.gain_name for band in BUS_EQ_BANDS}
    driven = {str(v) for band in BUS_EQ_BANDS for v in (band.frequency_hz, band.q)}
    assert {name for name in bus if bus[name] != neutral[name]} <= eq | driven | {"gain_db"}
    assert max(abs(bus[name]) for name in eq) > 0.5  # dB: something was done
    strip_eq = {
        str(value)
        for band in STRIP_EQ_BANDS
        for value in (band.gain_name, band.frequency_hz, band.q)
    } | {"high_pass_hz"}
    for stem, start in zip(both.plan.stems, balanced.plan.stems, strict=True):
        assert stem.name == start.name
        for name in set(stem.settings) - strip_eq:
            assert stem.settings[name] == start.settings[name], (stem.name, name)

    assert both.plan.references == (str(reference), str(bright))
    dull_db, bright_db = (
        mixed(f"only {i}", references=(path,), strength=0.0).reference_style
        for i, path in enumerate((reference, bright))
    )
    assert both.reference_style is not None
    assert dull_db is not None
    assert bright_db is not None
    midway = np.mean([dull_db.spectrum_db, bright_db.spectrum_db], axis=0)
    assert both.reference_style.spectrum_db == pytest.approx(midway)
    assert np.ptp([dull_db.spectrum_db[25], bright_db.spectrum_db[25]]) > 3.0  # they differ


def test_same_samples_whatever_the_workers_and_the_cache(
    mixed: Callable[..., MixOutcome],
    styled: MixOutcome,
    reference: Path,
    workplace: Path,
    samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = mixed("alone", store="another store", references=(reference,), workers=1)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr("flows.mix.steps.tracks.examine", never)
    monkeypatch.setattr("flows.mix.steps.style.refine", never)
    monkeypatch.setattr("flows.mix.steps.tracks.check_track", never)
    cached = mixed("cached", references=(reference,), workers=2)
    for outcome in (alone, cached):
        assert decided(outcome.plan) == decided(styled.plan)
        for name in ("mix.wav", *(f"stems/{stem}.wav" for stem in STEMS)):
            one, other = samples(outcome.folder / name), samples(styled.folder / name)
            assert np.array_equal(one, other)


def test_session_toml_is_honoured(
    mixed: Callable[..., MixOutcome], balanced: MixOutcome, song: Path, workplace: Path
) -> None:
    told = workplace / "told"
    shutil.copytree(song, told)
    (told / "session.toml").write_text(
        """
        sample_rate = 44100
        [[track]]
        match = "drums/kick*"
        gain_db = 4.0
        [[track]]
        match = "Snare.wav"
        mute = true
        [[track]]
        match = "*DI*"
        role = "synth_bass"
        subgroup = "Low End"
        [[track]]
        match = "Gtr*"
        pan = 1.0
        [[track]]
        match = "Lead*"
        presence = "background"
        [[track]]
        match = "Banjo*"
        mute = true
        """
    )
    outcome = mixed("told mix", root=told)
    after = {track.path: track for track in outcome.plan.tracks}
    # what a stem is lowered by as a whole, for headroom, is no track's own gain
    own = [
        {track.name: track.gain_db - track.trim_db for track in mix.analysed.balances}
        for mix in (balanced, outcome)
    ]
    gains = {name: own[1][name] - own[0][name] for name in after}
    assert outcome.plan.sample_rate == 44_100
    assert gains["Drums/Kick In.wav"] == pytest.approx(4.0, abs=0.01)
    assert [name for name, track in after.items() if track.mute] == ["Drums/Snare.wav"]
    assert (after["Bass DI.flac"].role, after["Bass DI.flac"].subgroup) == (
        "synth_bass", "low_end",
    )  # fmt: skip
    assert gains["Lead Vox ü 日本.wav"] == pytest.approx(-4.0)  # the table's "background"
    assert {stem.name for stem in outcome.plan.stems} == {
        "drums", "guitars", "lead_vocals", "low_end",
    }  # fmt: skip
    left, right = soundfile.read(outcome.folder / "stems" / "guitars.wav")[0].T
    assert np.abs(left).max() < 1e-6 < 0.01 < np.abs(right).max()

    # of the drums only the snare has treble
    drums, rate = soundfile.read(outcome.folder / "stems" / "drums.wav")
    treble = scipy.signal.butter(8, 6_000, "highpass", fs=rate, output="sos")
    heard = np.abs(scipy.signal.sosfilt(treble, drums[:, 0])).max()
    assert heard < 0.01 * np.abs(drums).max()
    assert any("'Banjo*' matches no track" in warning for warning in outcome.warnings)
    assert "Banjo" in (outcome.folder / "report.html").read_text()


def stamp(path: Path, stamp_s: float) -> None:
    """Give a WAV file a Broadcast-WAV time stamp."""
    rate, data = soundfile.info(path).samplerate, path.read_bytes()
    body = bytes(338) + struct.pack("<Q", round(stamp_s * rate)) + bytes(256)
    chunk = b"bext" + struct.pack("<I", len(body)) + body
    size = struct.pack("<I", len(data) + len(chunk) - 8)
    path.write_bytes(data[:4] + size + data[8:12] + chunk + data[12:])


def test_time_stamps_place_tracks_in_the_mix(
    mixed: Callable[..., MixOutcome], workplace: Path, put: Put
) -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal((2, 24_000))
    root = workplace / "stamped"
    for name, audio, at_s in (("Kick", noise[:1], 3600.0), ("Bass", noise[1:], 3600.75)):
        stamp(put(root / f"{name}.wav", audio, 24_000, subtype="PCM_24"), at_s)
    outcome = mixed("in time", root=root, strength=0.0)
    assert [track.offset_s for track in outcome.plan.tracks] == [0.75, 0.0]
    bass, drums = (
        np.abs(soundfile.read(outcome.folder / "stems" / f"{name}.wav")[0]).max(axis=1)
        for name in ("bass", "drums")
    )
    assert len(bass) == len(drums) == 42_000  # 1.75 s
    assert np.flatnonzero(bass)[[0, -1]].tolist() == [18_000, 41_999]
    assert np.flatnonzero(drums)[[0, -1]].tolist() == [0, 23_999]


@pytest.mark.parametrize("count", [1, 100])
def test_any_number_of_tracks(
    count: int, mixed: Callable[..., MixOutcome], workplace: Path, put: Put
) -> None:
    rng = np.random.default_rng(4)
    names = ["Kick", "Snare", "Bass", "Gtr", "Keys", "Vox", "Strings", "Trumpet", "Pad", "Shaker"]
    takes = {name: 0.1 * rng.standard_normal((1, 22_050)) for name in names}
    root = workplace / f"of {count}"
    for index in range(count):
        name = names[index % 10]
        put(root / f"{name} {index // 10 + 1}.wav", takes[name], 22_050)
    outcome = mixed(f"mix of {count}", root=root)
    assert len(outcome.plan.tracks) == count
    assert lufs(outcome.folder / "mix.wav") == pytest.approx(-16.0, abs=0.3)
    assert all(np.isfinite(s.loudness.integrated_lufs) for s in outcome.stems.values())
    assert len(outcome.stems) == 1 if count == 1 else len(outcome.stems) >= 8


def test_formats(
    song: Path, balanced: MixOutcome, workplace: Path, stemwright: Command, samples: Samples
) -> None:
    for arguments, name, subtype in (
        (["--format", "flac"], "mix.flac", "PCM_24"),
        (["--bits", "16"], "mix.wav", "PCM_16"),
        (["--bits", "float"], "mix.wav", "FLOAT"),
        (["--format", "mp3"], "mix.mp3", "MPEG_LAYER_III"),
    ):
        out = workplace / f"as {subtype}"
        result = stemwright(
            "mix", song, "--target", "-16", "--strength", "0", "-o", out, *arguments
        )
        assert result.exit_code == 0, result.stderr
        assert soundfile.info(out / name).subtype == subtype
        assert stemwright("render", out / "plan.json", "-q").exit_code == 0
        again = out / "plan-render" / name
        assert np.array_equal(samples(out / name), samples(again)), name
        if subtype != "MPEG_LAYER_III":
            # two steps of the bits and a bit of dither
            apart = soundfile.read(out / name)[0] - soundfile.read(balanced.folder / "mix.wav")[0]
            assert np.abs(apart).max() <= 2.0**-14


def test_a_lower_sample_rate(mixed: Callable[..., MixOutcome], balanced: MixOutcome) -> None:
    low = mixed("low", sample_rate=32_000)
    audio, rate = soundfile.read(low.folder / "mix.wav")
    assert (rate, len(audio)) == (32_000, 96_000)
    # gains are decided on the files themselves, so they do not depend on the mix's rate
    assert [t.gain_db for t in low.plan.tracks] == [t.gain_db for t in balanced.plan.tracks]


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes are Linux's")
def test_names_that_are_no_unicode(
    workplace: Path, put: Put, stemwright: Command, samples: Samples
) -> None:
    noise = 0.1 * np.random.default_rng(2).standard_normal((1, 22_050))
    name = os.fsdecode(b"Caf\xe9 Vox <b>&amp;.wav")
    put(workplace / "bytes" / name, noise, 22_050)
    put(workplace / "bytes" / "Kick.wav", noise[:, ::-1], 22_050)
    out = workplace / "of bytes"
    result = stemwright("mix", workplace / "bytes", "-o", out)
    assert result.exit_code == 0, result.stderr
    assert load_plan(out / "plan.json").tracks[0].path == name
    assert stemwright("render", out / "plan.json").exit_code == 0
    assert np.array_equal(samples(out / "mix.wav"), samples(out / "plan-render" / "mix.wav"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"Vox <b>", page)


def done(outcome: MixOutcome) -> dict[str, int]:
    return {step: row["done"] for step, row in outcome.steps["by_step"].items() if row["done"]}


def test_what_changed_costs_what_depends_on_it(
    mixed: Callable[..., MixOutcome], song: Path, workplace: Path, put: Put
) -> None:
    fresh = mixed("cost fresh", store="cost", strength=0.0)
    assert done(fresh) == {"analyse": 5, "balance": 4, "console": 4, "deliver": 1}
    told = json.loads((fresh.folder / "results.json").read_text())["steps"]
    assert told == fresh.steps
    assert (told["done"], told["found"]) == (14, 0)

    again = mixed("cost again", store="cost", strength=0.0)
    assert (again.steps["done"], again.steps["found"]) == (0, 14)
    assert done(mixed("cost bits", store="cost", strength=0.0, subtype="16")) == {"deliver": 1}
    assert done(mixed("cost target", store="cost", strength=0.0, target="-20")) == {"deliver": 1}

    changed = shutil.copytree(song, workplace / "cost changed song")
    audio, rate = soundfile.read(changed / "Bass DI.flac")
    put(changed / "Bass DI.flac", -audio[::-1], rate, subtype="PCM_24")
    one = {"analyse": 1, "balance": 1, "console": 1, "deliver": 1}
    assert done(mixed("cost changed", store="cost", strength=0.0, root=changed)) == one

    other = shutil.copytree(song, workplace / "cost other song")
    (other / "session.toml").write_text(
        '[[track]]\nmatch = "Lead*"\nrole = "backing_vocal"\n', encoding="utf-8"
    )
    role = done(mixed("cost role", store="cost", strength=0.0, root=other))
    assert "analyse" not in role
    assert role.get("balance", 0) <= 1  # the drums are as they were


def test_a_copy_of_the_store_s_can_be_edited(mixed: Callable[..., MixOutcome]) -> None:
    first = mixed("to edit", store="edited store")
    wanted = (first.folder / "mix.wav").read_bytes()
    for path in [first.folder / "mix.wav", *(first.folder / "stems").iterdir()]:
        path.write_bytes(b"cut")
    second = mixed("unedited", store="edited store")
    assert second.steps["done"] == 0
    assert (second.folder / "mix.wav").read_bytes() == wanted
