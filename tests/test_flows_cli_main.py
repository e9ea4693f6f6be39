"""The command line from outside: what it says, what it writes, and with which status it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import Result

from flows.progress import phase_title
from pipeline.prose import typeset
from stage1.loudness.narrowband import METHODS

Command = Callable[..., Result]
Put = Callable[..., Path]
Contents = Callable[[Path], dict[str, str]]

RATE = 22_050
NO_AUDIO = "its content is not WAV, AIFF, FLAC, Ogg, MP3 or CAF"
SKIP = "or leave it out with --skip-bad"


def sound(seconds: float = 0.5, channels: int = 1, *, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((channels, round(seconds * RATE)))
    return np.asarray(0.1 * (noise - noise.mean(axis=1, keepdims=True)))


@pytest.fixture
def song(tmp_path: Path, put: Put) -> Path:
    """Two good tracks of half a second, and a folder's worth of nothing else."""
    put(tmp_path / "song" / "Kick.wav", sound(), RATE)
    put(tmp_path / "song" / "Bass.flac", sound(seed=2), RATE)
    return tmp_path / "song"


def cut_short(path: Path, share: float = 0.5) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    return path


def with_sample(audio: np.ndarray, second: float, channel: int, value: float) -> np.ndarray:
    audio[channel, round(second * RATE)] = value
    return audio


class Bad:
    """Ways to spoil a session; each returns what the command line is given beside it."""

    def __init__(self, song: Path, put: Put) -> None:
        self.song, self.put = song, put
        self.reference = song.parent / "ref.wav"

    def unreadable(self) -> list[object]:
        (self.song / "Gtr.wav").write_text("no audio at all, " * 20)
        return []

    def empty(self) -> list[object]:
        (self.song / "Gtr.wav").touch()
        return []

    def truncated_wav(self) -> list[object]:
        cut_short(self.put(self.song / "Gtr.wav", sound(), RATE, subtype="PCM_16"))
        return []

    def truncated_flac(self) -> list[object]:
        cut_short(self.put(self.song / "Gtr.flac", sound(4.0), RATE))
        return []

    def six_channels(self) -> list[object]:
        self.put(self.song / "Gtr.wav", sound(channels=6), RATE)
        return []

    def nan(self) -> list[object]:
        audio = with_sample(sound(channels=2), 0.25, 1, np.nan)
        self.put(self.song / "Gtr.wav", audio, RATE, subtype="FLOAT")
        return []

    def infinite(self) -> list[object]:
        audio = with_sample(sound(), 0.1, 0, -np.inf)
        self.put(self.song / "Gtr.wav", audio, RATE, subtype="DOUBLE")
        return []

    def no_tracks(self) -> list[object]:
        for path in self.song.iterdir():
            path.unlink()
        return []

    def only_a_bounce(self) -> list[object]:
        self.no_tracks()
        for name in ("Rough Mix.wav", "Rough Mix old.wav"):
            self.put(self.song / name, sound(channels=2), RATE)
        return []

    def unknown_keys(self) -> list[object]:
        text = 'sampel_rate = 44100\n[[track]]\nmatch = "Kick*"\nrolle = "kick"\ngain = 3\n'
        (self.song / "session.toml").write_text(text)
        return []

    def unknown_role(self) -> list[object]:
        (self.song / "session.toml").write_text('[[track]]\nmatch = "Kick*"\nrole = "kik"\n')
        return []

    def no_reference(self) -> list[object]:
        return ["--reference", self.reference]

    def unreadable_reference(self) -> list[object]:
        self.reference.write_text("no audio at all, " * 20)
        return ["--reference", self.reference]

    def truncated_reference(self) -> list[object]:
        flac = self.put(self.reference.with_suffix(".flac"), sound(4.0), RATE)
        return ["--reference", cut_short(flac)]

    def silent_reference(self) -> list[object]:
        self.put(self.reference, np.zeros((2, 4 * RATE)), RATE)
        return ["--reference", self.reference]

    def unheard_reference(self) -> list[object]:
        self.put(self.reference, 1e-4 * sound(4.0), RATE, subtype="FLOAT")
        return ["--reference", self.reference]

    def rate_of_no_mp3(self) -> list[object]:
        return ["--sample-rate", 12_345, "--format", "mp3"]

    def store_in_a_file(self) -> list[object]:
        (self.song.parent / "out").write_text("no folder")
        return ["--store", self.song.parent / "out" / "store"]

    def short_reference(self) -> list[object]:
        self.put(self.reference, sound(2.99), RATE)
        return ["--reference", self.reference]

    def output_exists(self) -> list[object]:
        out = self.song.parent / "out"
        out.mkdir()
        (out / "mix.wav").write_text("a mix that is dear to me")
        return ["--output", out]

    def output_in_a_file(self) -> list[object]:
        (self.song.parent / "out").write_text("no folder")
        return ["--output", self.song.parent / "out" / "deep" / "mix"]


BAD = {
    "unreadable": [
        f"Gtr.wav: is not readable audio ({NO_AUDIO}): export it again as WAV, AIFF, FLAC, Ogg, "
        f"MP3 or CAF, {SKIP}"
    ],
    "empty": [f"Gtr.wav: is empty (0 bytes): export it again, {SKIP}"],
    "truncated_wav": [
        "Gtr.wav: is truncated: it holds 11,003 of the 22,050 bytes of audio that its header "
        "promises (0.249 of 0.500 s): copy or export it again, or use what is there with "
        f"--salvage, {SKIP}"
    ],
    "truncated_flac": [
        f"Gtr.flac: cannot be decoded after 1.486 s of 4.000 s: export it again, {SKIP}"
    ],
    "six_channels": [f"Gtr.wav: has 6 channels: split it into mono or stereo files, {SKIP}"],
    "nan": [
        "Gtr.wav: holds a sample that is NaN or infinite at 0.250 s in channel 2: export it "
        f"again, {SKIP}"
    ],
    "infinite": [
        "Gtr.wav: holds a sample that is NaN or infinite at 0.100 s in channel 1: export it "
        f"again, {SKIP}"
    ],
    "no_tracks": ["{song}: has no tracks: put WAV, AIFF, FLAC, Ogg, MP3 or CAF files into it"],
    "only_a_bounce": [
        "{song}: has no tracks (2 left out; Rough Mix old.wav: looks like a mix of the whole song "
        "(to keep it, give it use = true in session.toml)): add tracks, or rename what is one"
    ],
    "unknown_keys": [
        "session.toml: unknown key 'sampel_rate': did you mean 'sample_rate'?",
        "session.toml [track 1]: unknown key 'rolle': did you mean 'role'?",
        "session.toml [track 1]: unknown key 'gain': did you mean 'gain_db'?",
    ],
    "unknown_role": ["session.toml [track 1]: unknown role 'kik': did you mean 'kick'?"],
    "no_reference": ["reference ref.wav: does not exist: correct the name"],
    "unreadable_reference": [
        f"reference ref.wav: is not readable audio ({NO_AUDIO}): export it again as WAV, AIFF, "
        "FLAC, Ogg, MP3 or CAF"
    ],
    "truncated_reference": [
        "reference ref.flac: cannot be decoded after 1.486 s of 4.000 s: name another recording"
    ],
    "silent_reference": ["reference ref.wav: is silent: name a recording with sound"],
    "unheard_reference": ["reference ref.wav: is never over -70 LUFS: name a recording with sound"],
    "rate_of_no_mp3": [
        "--format: MP3 cannot hold a sample rate of 12345 Hz: mix at 48000 or 44100 Hz, or deliver "
        "WAV or FLAC"
    ],
    "store_in_a_file": [
        "{out}/store: cannot be made, as 'out' is a file: name another folder with --store"
    ],
    "short_reference": [
        "reference ref.wav: lasts 2.99 s: name a recording of at least 3 s"
    ],
    "output_exists": ["{out}: exists already: name another folder with --output"],
    "output_in_a_file": [
        "{out}/deep/mix: cannot be made, as 'out' is a file: name another folder with --output"
    ],
}  # fmt: skip


def problem_lines(result: Result) -> list[str]:
    heading, *lines = result.stderr.splitlines()
    # what phases took comes first
    phases = ("check", "analyse", "balance", "style")
    earlier = (
        "mixing ",
        "balancing ",
        "looking at ",
        "rendering ",
        *(f"{phase_title(p)}: " for p in phases),
    )
    while heading.startswith(earlier):
        heading, *lines = lines
    count = len(lines)
    assert heading == f"{count} problem{'s' * (count != 1)}, nothing was written:"
    assert all(line.startswith("  ") for line in lines)
    return [line[2:] for line in lines]


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_input_is_said_and_nothing_is_written(
    fault: str, song: Path, workplace: Path, put: Put, stemwright: Command, contents: Contents
) -> None:
    arguments = getattr(Bad(song, put), fault)()
    before = contents(song.parent)
    result = stemwright("mix", song, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    wanted = [
        line.replace("{song}", str(song)).replace("{out}", str(song.parent / "out"))
        for line in BAD[fault]
    ]
    assert problem_lines(result) == wanted
    # no output, no folder "mixes", no temporary neighbour, no file touched
    assert contents(song.parent) == before
    assert not list((workplace / "store").glob(".unfinished/*"))


def test_the_session_s_folder_must_be_there(
    tmp_path: Path, workplace: Path, stemwright: Command, contents: Contents
) -> None:
    (tmp_path / "file.wav").write_text("x")
    before = contents(tmp_path)
    for command in ("mix", "balance", "init"):
        for name, what in (("nowhere", "does not exist"), ("file.wav", "is not a folder")):
            result = stemwright(command, tmp_path / name)
            assert result.exit_code == 2
            assert problem_lines(result) == [
                f"{tmp_path / name}: {what}: name the folder that holds the tracks"
            ]
    assert contents(tmp_path) == before


def test_all_problems_come_together(
    song: Path, workplace: Path, put: Put, stemwright: Command, contents: Contents
) -> None:
    bad = Bad(song, put)
    bad.truncated_wav()
    put(song / "Keys.wav", with_sample(sound(), 0.0, 0, np.nan), RATE, subtype="FLOAT")
    bad.unknown_keys()
    arguments = [*bad.silent_reference(), "--reference", song.parent / "no.wav"]
    arguments += bad.output_exists()
    before = contents(song.parent)
    for extra, tracks in (([], True), (["--skip-bad"], False), (["--engine", "local"], True)):
        result = stemwright("mix", song, *arguments, *extra)
        assert result.exit_code == 2
        names = [
            str(song.parent / "out"), "reference no.wav", "session.toml", "session.toml [track 1]",
            "session.toml [track 1]", "reference ref.wav", *(["Gtr.wav", "Keys.wav"] * tracks),
        ]  # fmt: skip
        assert [line.partition(": ")[0] for line in problem_lines(result)] == names
    assert contents(song.parent) == before

    told = json.loads(stemwright("mix", song, *arguments, "--json").stdout)
    assert [problem["subject"] for problem in told["problems"]] == [
        str(song.parent / "out"), "reference no.wav", *["session.toml"], "session.toml [track 1]",
        "session.toml [track 1]", "reference ref.wav", "Gtr.wav", "Keys.wav",
    ]  # fmt: skip
    assert told["problems"][1]["what"] == "does not exist"
    assert told["problems"][1]["remedy"] == "correct the name"


FLAGS = {
    "--strength 1.5": "--strength: is 1.5: use a number from 0 to 1",
    "--target loud": "--target: 'loud' is unknown: use one of reference, spotify, apple, youtube, "
    "ebu-r128, netflix, -14",
    "--target spotfy": "--target: 'spotfy' is unknown: did you mean 'spotify'?",
    "--target 3": "--target: 3 LUFS is out of range: use a loudness from -50 to -5 LUFS",
    "--ceiling 3": "--ceiling: is 3.0: use a number from -20 to 0 dBTP",
    "--match eq,pann": "--match: names 'pann': did you mean 'pan'?",
    "--quality good": "--quality: is 'good': use one of fast, best",
    "--quality fast --no-controller": "--no-controller: leaves nothing to predict, and quality "
    "'fast' is the prediction alone: use quality best, or the controller",
    "--method lusf": "--method: is 'lusf': did you mean 'lufs'?",
    "--sample-rate 4": "--sample-rate: is 4: use a whole number from 8000 to 768000 Hz",
    "--format wave": "--format: is 'wave': did you mean 'wav'?",
    "--bits 32": "--bits: is '32': use one of 16, 24, float",
    "--bits float --format flac": "--bits: is 'float', and FLAC holds whole numbers: use 24, or "
    "format wav",
    "--f0 ful": "--f0: is 'ful': did you mean 'full'?",
    "--seed -1": "--seed: is -1: use a whole number from 0 to 4294967295",
    "--engine dusk": "--engine: is 'dusk': did you mean 'dask'?",
    "--workers 0": "--workers: is 0: use a whole number from 1 to 1024",
}


@pytest.mark.parametrize("flags", FLAGS)
def test_a_bad_flag_is_said(
    flags: str, song: Path, workplace: Path, stemwright: Command, contents: Contents
) -> None:
    before = contents(song.parent)
    result = stemwright("mix", song, *flags.split())
    assert result.exit_code == 2
    assert problem_lines(result) == [FLAGS[flags]]
    assert contents(song.parent) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mix", "{song}", "--strenght", "1"], "No such option: --strenght"),
        (["mix", "{song}", "--strength", "half"], "Invalid value for '--strength'"),
        (["mix"], "Missing argument 'SESSION'"),
        (["balance", "{song}", "--method", "loud"], "--method: is 'loud': use one of all, lufs"),
        (["balance", "{song}", "--method", "infrmed"], "did you mean 'informed'?"),
        (["mxi", "{song}"], "No such command 'mxi'"),
    ],
)
def test_a_misspelt_command_line_is_said(
    arguments: list[str], says: str, song: Path, stemwright: Command, contents: Contents,
    plain: Callable[[str], str],
) -> None:  # fmt: skip
    before = contents(song.parent)
    result = stemwright(*(argument.replace("{song}", str(song)) for argument in arguments))
    assert result.exit_code == 2
    told = " ".join(plain(result.stderr).replace("│", " ").split())
    assert says in told
    assert contents(song.parent) == before


def test_settings_files_are_read_strictly(
    song: Path, workplace: Path, stemwright: Command, contents: Contents
) -> None:
    file = song.parent / "mix.toml"
    file.write_text("seed = 1.5\nstrenght = 0.5\n")
    before = contents(song.parent)
    result = stemwright("mix", song, "--settings", file, "--bits", "12")
    assert result.exit_code == 2
    assert sorted(problem_lines(result), key=lambda line: line[0] == "-") == [
        f"{file} [seed]: is 1.5: use a whole number from 0 to 4294967295",
        f"{file} [strenght]: is no setting (given 0.5): did you mean 'strength'?",
        "--bits: is '12': use one of 16, 24, float",
    ]
    assert contents(song.parent) == before


def results_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "results.json").read_text()))


def test_skip_bad_mixes_the_rest_and_lists_what_was_skipped(
    song: Path, workplace: Path, put: Put, stemwright: Command
) -> None:
    bad = Bad(song, put)
    bad.nan()
    (song / "Pad.wav").write_text("no audio at all, " * 20)
    out = song.parent / "out"
    result = stemwright("mix", song, "--skip-bad", "-o", out)
    assert result.exit_code == 3
    assert f"skipped: {BAD['nan'][0]}" in result.stdout.splitlines()
    told = results_of(out)
    assert told["skipped"] == [
        {"name": "Gtr.wav",
         "why": "holds a sample that is NaN or infinite at 0.250 s in channel 2"},
        {"name": "Pad.wav", "why": f"is not readable audio ({NO_AUDIO})"},
    ]  # fmt: skip
    assert [row["track"] for row in told["tracks"]] == ["Bass.flac", "Kick.wav"]
    page = (out / "report.html").read_text()
    for why in ("NaN or infinite at 0.250 s in channel 2", f"is not readable audio ({NO_AUDIO})"):
        assert why in page

    (song / "Gtr.wav").unlink()
    (song / "Pad.wav").unlink()
    good = stemwright("mix", song, "--skip-bad", "-o", song.parent / "good")
    assert good.exit_code == 0

    again = stemwright("mix", song, "--json", "-o", song.parent / "json")
    assert again.exit_code == 0
    record = json.loads(again.stdout)
    assert record["skipped"] == []
    assert record["tracks"] == 2
    assert set(record["files"]) == {
        "mix", "plan", "stems", "results", "results with settings", "report", "DAW session",
    }  # fmt: skip
    assert all(Path(path).exists() for path in record["files"].values())
    assert abs(record["integrated_lufs"] - record["target_lufs"]) < 0.3
    events = [json.loads(line) for line in again.stderr.splitlines()]
    phases = [event["name"] for event in events if event["event"] == "start"]
    assert phases == [
        "analyse", "balance", "predict", "refine", "console", "deliver", "report",
    ]  # fmt: skip


def test_without_any_good_track_skip_bad_has_nothing_to_mix(
    song: Path, workplace: Path, put: Put, stemwright: Command, contents: Contents
) -> None:
    bad = Bad(song, put)
    bad.no_tracks()
    bad.unreadable()
    before = contents(song.parent)
    result = stemwright("mix", song, "--skip-bad")
    assert result.exit_code == 2
    assert problem_lines(result) == [
        f"{song}: has no good track (1 bad): export at least one of them again",
        *BAD["unreadable"],
    ]
    assert contents(song.parent) == before


def test_silence_is_no_error_and_clipping_and_dc_are_flagged(
    song: Path, workplace: Path, put: Put, stemwright: Command
) -> None:
    put(song / "Silent Pad.wav", np.zeros((2, RATE // 2)), RATE)
    loud = sound(seed=3) * 40.0
    put(song / "Snare.wav", np.clip(loud, -1.0, 1.0), RATE, subtype="PCM_16")
    put(song / "Gtr.wav", sound(2.0, seed=4) + 0.02, RATE, subtype="PCM_24")
    out = song.parent / "out"
    result = stemwright("mix", song, "-o", out)
    assert result.exit_code == 0
    told = results_of(out)
    rows = {row["track"]: row for row in told["tracks"]}
    assert rows["Kick.wav"]["flags"] == rows["Bass.flac"]["flags"] == ""
    assert rows["Silent Pad.wav"]["flags"] == "silent"
    assert rows["Silent Pad.wav"]["integrated_lufs"] is None
    assert rows["Snare.wav"]["flags"].startswith("clips ")
    assert rows["Snare.wav"]["clipped_runs"] >= 1
    mean_db = 20 * np.log10(abs(soundfile.read(song / "Gtr.wav")[0].mean()))
    assert rows["Gtr.wav"]["dc_dbfs"] == pytest.approx(mean_db, abs=0.01)
    assert rows["Gtr.wav"]["flags"] == f"DC of {mean_db:.1f} dBFS taken out"
    for flag in (rows["Snare.wav"]["flags"], rows["Gtr.wav"]["flags"]):
        assert typeset(flag) in (out / "report.html").read_text()
    assert f"note: Snare.wav: {rows['Snare.wav']['flags']}" in result.stdout


def test_a_session_of_silence_becomes_a_silent_mix(
    tmp_path: Path, workplace: Path, put: Put, stemwright: Command
) -> None:
    put(tmp_path / "song" / "Kick.wav", np.zeros((1, RATE)), RATE)
    put(tmp_path / "song" / "Keys.wav", np.zeros((2, RATE)), RATE)
    result = stemwright("mix", tmp_path / "song", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    audio, rate = soundfile.read(tmp_path / "out" / "mix.wav")
    assert (audio.shape, rate) == ((RATE, 2), RATE)
    assert abs(audio).max() <= 2.0 / 2**23  # the dither of 24 bits
    assert results_of(tmp_path / "out")["mix"]["integrated_lufs"] is None
    assert "nan" not in result.stdout
    assert any("the mix is silent" in note for note in results_of(tmp_path / "out")["warnings"])


def test_quiet_says_nothing_and_verbose_every_step(
    song: Path, workplace: Path, stemwright: Command
) -> None:
    quiet = stemwright("mix", song, "-q", "-o", song.parent / "quiet")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")
    talk = stemwright("mix", song, "-v", "-o", song.parent / "talk")
    assert talk.exit_code == 0
    assert "analysing the tracks · Kick.wav" in talk.stderr.splitlines()
    for name in ("mix.wav", "plan.json", "report.html", "session.dawproject", "results.csv"):
        assert str(song.parent / "talk" / name) in talk.stdout


def test_output_goes_into_the_session_and_is_left_out_of_the_next_run(
    song: Path, workplace: Path, stemwright: Command, contents: Contents
) -> None:
    raw = contents(song)
    for count in (1, 2, 3):
        result = stemwright("mix", song, "--json")
        assert result.exit_code == 0
        record = json.loads(result.stdout)
        folder = Path(record["folder"])
        assert folder.parent == song / "mixes"
        assert record["tracks"] == 2
        assert record["left_out"] == (["mixes/"] if count > 1 else [])
        assert len(list((song / "mixes").iterdir())) == count
    # wherever in the session they lie, outputs are known by what is in them
    assert stemwright("mix", song, "-o", song / "elsewhere").exit_code == 0
    balance = stemwright("balance", song, "--method", "all", "-o", song / "balances")
    assert balance.exit_code == 0
    last = json.loads(stemwright("mix", song, "--json", "-o", song.parent / "last").stdout)
    assert last["tracks"] == 2
    assert set(last["left_out"]) == {
        "mixes/", "elsewhere/", "balances/listening_test/",
        *(f"balances/{method}/" for method in METHODS),
    }  # fmt: skip
    assert {name: raw[name] for name in raw} == {name: contents(song)[name] for name in raw}
    assert not [path for path in song.rglob(".*")]


def test_init_writes_what_mix_takes_and_changes_nothing_by_itself(
    tmp_path: Path, workplace: Path, make_song: Callable[[Path], Path], stemwright: Command
) -> None:
    song = make_song(tmp_path / "song")

    def tracks(name: str) -> list[dict[str, Any]]:
        assert stemwright("mix", song, "-o", tmp_path / name).exit_code == 0
        plan = json.loads((tmp_path / name / "plan.json").read_text())
        keys = ("path", "role", "subgroup", "gain_db", "pan", "mute")
        tracks = [{**track, **track["record"]} for track in plan["tracks"]]
        return [{key: track[key] for key in keys} for track in tracks]

    before = tracks("before")
    result = stemwright("init", song, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["tracks"] == 5
    file = song / "session.toml"
    assert tracks("after") == before

    file.write_text(file.read_text() + "# my own words\n")
    mine = file.read_bytes()
    again = stemwright("init", song)
    assert again.exit_code == 2
    assert problem_lines(again) == [f"{file}: exists already: edit it, or move it away"]
    assert file.read_bytes() == mine


def test_init_writes_what_is_heard_where_names_say_nothing(
    tmp_path: Path, workplace: Path, put: Put, stemwright: Command
) -> None:
    audio = Path(__file__).resolve().parents[2] / "shared" / "audio" / "sessions" / "delta_rock"
    if not audio.is_dir():
        pytest.skip(f"{audio} is not there")
    song = tmp_path / "song"
    for track in (1, 5):
        (source,) = audio.glob(f"{track:02d}_*.flac")
        samples, rate = soundfile.read(source, always_2d=True)
        put(song / f"Audio {track}.wav", samples.T, rate)
    put(song / "Audio 9.wav", np.zeros((1, 22_050)), 44_100)
    result = stemwright("init", song, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["unsure"] == ["Audio 9.wav"]
    entries = tomllib.loads((song / "session.toml").read_text())["track"]
    assert [e["role"] for e in entries] == ["drum_kit", "lead_vocal", "unknown"]


def test_render_refuses_what_it_cannot_render(
    song: Path, workplace: Path, stemwright: Command, contents: Contents
) -> None:
    root = song.parent
    assert stemwright("mix", song, "-o", root / "out").exit_code == 0
    plan = json.loads((root / "out" / "plan.json").read_text())

    (root / "bad.json").write_text("{")
    track = plan["tracks"][0]
    edited = root / "out" / "edited.json"
    cases: list[tuple[Path, dict[str, object], list[object], str]] = [
        (root / "none.json", {}, [], "cannot be read"),
        (root / "bad.json", {}, [], "is not JSON (line 1, column 2"),
        (edited, {"buss": {}}, [], "unknown key 'buss': did you mean 'bus'?"),
        (edited, {"bus": {"gian_db": 1.0}}, [], "'gian_db': did you mean 'gain_db'?"),
        (edited, {"session": "../gone"}, [], "the session's folder is not there: name it with"),
        (edited, {"tracks": [{**track, "path": "gone.wav"}]}, [], "gone.wav: does not exist"),
        (edited, {"tracks": [{**track, "path": "../x.wav"}]}, [], "leads out of the session's"),
        (edited, {}, ["-o", root / "out"], "exists already"),
        (edited, {}, ["--workers", "0"], "--workers: is 0"),
    ]
    for path, changes, arguments, says in cases:
        edited.write_text(json.dumps(plan | changes))
        before = contents(root)
        result = stemwright("render", path, *arguments)
        assert result.exit_code == 2, (says, result.stderr)
        assert says in result.stderr
        assert contents(root) == before
    # two mistakes are said together
    result = stemwright("render", root / "bad.json", "-o", root / "out")
    assert len(problem_lines(result)) == 2


def test_demo_refuses_before_it_writes(
    tmp_path: Path, workplace: Path, stemwright: Command, contents: Contents
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Kick.wav").write_text("dear to me")
    before = contents(tmp_path)
    for arguments, says in (
        (["new", "--seconds", "2"], "seconds: 2 is too short for a song: use 4 or more"),
        (["mine"], f"{tmp_path / 'mine'}: exists and is not an earlier demo: name another folder"),
        (["new", "--workers", "0"], "--workers: is 0: use a whole number from 1 to 1024"),
    ):
        result = stemwright("demo", tmp_path / arguments[0], *arguments[1:])
        assert result.exit_code == 2
        assert problem_lines(result) == [says]
    assert contents(tmp_path) == before


def test_names_cannot_forge_lines(
    tmp_path: Path, workplace: Path, put: Put, stemwright: Command
) -> None:
    if os.name != "posix":
        pytest.skip("Windows forbids these names")
    put(tmp_path / "song" / "Kick.wav", sound(), RATE)
    forged = "Gtr\nfailed: [red]\x1b[2J.wav"
    (tmp_path / "song" / forged).write_text("x")
    result = stemwright("mix", tmp_path / "song")
    (line,) = problem_lines(result)
    assert line.startswith("Gtr\\nfailed: [red]\\x1b[2J.wav: is not readable audio")
    clips = np.ones((1, RATE))
    put(tmp_path / "song" / forged, clips, RATE, subtype="PCM_16")
    good = stemwright("mix", tmp_path / "song", "-o", tmp_path / "out")
    assert good.exit_code == 0
    assert not [line for line in good.stdout.splitlines() if line.startswith("failed")]
    assert "\x1b[2J" not in good.stdout


def started(command: subprocess.Popen[str], phase: str) -> None:
    """Wait until a phase has begun."""
    assert command.stderr is not None
    for line in command.stderr:
        event = json.loads(line)
        if (event["event"], event["name"]) == ("start", phase):
            return
    raise AssertionError(f"{phase} never began")


@pytest.mark.skipif(os.name != "posix", reason="a signal to another process")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_nothing_half_written_and_the_next_one_goes_on(
    stop: signal.Signals, song: Path, workplace: Path, stemwright: Command, contents: Contents,
    monkeypatch: pytest.MonkeyPatch, put: Put,
) -> None:  # fmt: skip
    # content of its own, which no other test has analysed
    put(song / "Keys.wav", sound(20.0, 2, seed=77), RATE)
    store = song.parent / "store"
    before = contents(song)
    words = ["mix", str(song), "--json", "--engine", "local", "--store", str(store)]
    with subprocess.Popen(
        [sys.executable, "-c", "from flows.cli.main import main; main()", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as command:  # fmt: skip
        started(command, "console")  # the output folder's neighbour is being written
        command.send_signal(stop)
        said, errors = command.communicate(timeout=60)
    assert command.returncode == 130
    assert said == ""
    assert errors.splitlines()[-1] == (
        "interrupted; finished steps are kept and nothing is half-written"
    )
    assert contents(song) == before
    assert not list(store.glob(".unfinished/*"))
    assert len(list(store.glob("analyse/*/done.json"))) == 3

    redone: list[object] = []
    monkeypatch.setattr("flows.mix.steps.tracks.examine", lambda *a, **k: redone.append(a))
    monkeypatch.setattr("flows.mix.steps.tracks.check_track", lambda *a, **k: redone.append(a))
    assert stemwright(*words).exit_code == 0
    assert redone == []
    assert [path.name for path in (song / "mixes").iterdir() if path.name[0] == "."] == []


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_said(stemwright: Command, flag: str) -> None:
    result = stemwright(flag)
    assert (result.exit_code, result.stdout) == (0, f"stemwright {version('stemwright')}\n")


def test_shells_can_complete(stemwright: Command) -> None:
    assert "--install-completion" in stemwright("--help").stdout


def test_what_was_mistyped_is_guessed(
    stemwright: Command, plain: Callable[[str], str], tmp_path: Path
) -> None:
    assert "Did you mean 'mix'?" in plain(stemwright("mxi", "song").stderr)
    assert "--reference" in plain(stemwright("mix", "song", "--refrence", "x").stderr)
    (tmp_path / "My Song").mkdir()
    (tmp_path / "Reference.wav").write_bytes(b"x")
    (tmp_path / "plan.json").write_text("{}")
    told = stemwright("mix", tmp_path / "my sogn", "-r", tmp_path / "Refrence.wav").stderr
    assert f"did you mean {str(tmp_path / 'My Song')!r}?" in told
    assert f"did you mean {str(tmp_path / 'Reference.wav')!r}?" in told
    told = stemwright("render", tmp_path / "plna.json").stderr
    assert f"did you mean {str(tmp_path / 'plan.json')!r}?" in told


LIGHT = """
import sys
from flows.cli import main as cli
from flows.cli import terminal as screen

def begin(self, text):
    heavy = {"numpy", "torch", "scipy", "prefect", "pandas"} & set(sys.modules)
    print(text, sorted(heavy))
    raise SystemExit

screen.Screen.begin = begin
sys.argv = ["stemwright", "mix", "a song"]
cli.main()
"""


def test_the_first_line_comes_before_the_heavy_libraries() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout == "mixing a song []\n"
