"""The listening test: busy passages, equally loud excerpts, and what webMUSHRA reads."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
import yaml

from flows.compare.listening_test import (
    MOST_PASSAGES,
    Passage,
    Trial,
    busiest_passages,
    write_listening_test,
)

RATE = 44_100
TITLE = 'Night "Drive" <b>ü</b> & more'
PASSAGES = (Passage(2.0, 12.0, 5.0), Passage(16.0, 12.0, 4.0))
METHODS = ("lufs", "p_lufs", "sones")

# Keys of webMUSHRA's documentation for experimenters.
TOP = {"testname", "testId", "bufferSize", "stopOnErrors", "showButtonPreviousPage",
       "remoteService", "pages"}  # fmt: skip
PAGES = {
    "generic": {"type", "id", "name", "content"},
    "volume": {"type", "id", "name", "content", "stimulus", "defaultVolume"},
    "likert_multi_stimulus": {"type", "id", "name", "content", "mustRate", "mustPlayback",
                              "stimuli", "response"},
    "finish": {"type", "name", "content", "showResults", "writeResults"},
}  # fmt: skip


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sums")
    paths = {}
    for seed, (method, level) in enumerate(zip(METHODS, (0.05, 0.2, 0.01), strict=True)):
        noise = np.random.default_rng(seed).standard_normal((30 * RATE, 2))
        noise[: 10 * RATE] *= 0.5
        paths[method] = folder / f"{method}.wav"
        soundfile.write(paths[method], level * noise, RATE, "PCM_24")
    return paths


@pytest.fixture(scope="module")
def written(
    sums: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[Trial, ...]]:
    folder = tmp_path_factory.mktemp("out") / "listening_test"
    trials = write_listening_test(folder, sums, PASSAGES, title=TITLE, sample_rate=RATE, seed=4)
    return folder, trials


def configuration(folder: Path) -> dict[str, Any]:
    text = (folder / "webmushra.yaml").read_text(encoding="utf-8")
    assert text.startswith("# webMUSHRA")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_configuration_has_documented_keys_alone(
    written: tuple[Path, tuple[Trial, ...]],
) -> None:
    config = configuration(written[0])
    assert set(config) == TOP
    assert config["bufferSize"] in (256, 512, 1024, 2048, 4096, 8192, 16384)
    *first, shuffled, last = config["pages"]
    assert [page["type"] for page in (*first, last)] == ["generic", "volume", "finish"]
    assert shuffled[0] == "random"
    assert {page["type"] for page in shuffled[1:]} == {"likert_multi_stimulus"}
    for page in (*first, *shuffled[1:], last):
        assert set(page) == PAGES[page["type"]]
    assert len({page["id"] for page in (*first, *shuffled[1:])}) == 2 + len(PASSAGES)
    for page in shuffled[1:]:
        assert len(page["stimuli"]) == len(METHODS)
        assert page["mustPlayback"] in ("ended", "processUpdate")
        assert all(set(point) == {"value", "label"} for point in page["response"])
    assert last["writeResults"] is True
    # no page asks for a reference, which there is none of
    assert "reference" not in str(config)
    # webMUSHRA puts names into its page as they are
    assert not set("<>&\"'") & set(config["testname"])


def test_all_files_are_there_and_nobody_sees_the_method(
    written: tuple[Path, tuple[Trial, ...]],
) -> None:
    folder, _ = written
    config = configuration(folder)
    named = {page["stimulus"] for page in config["pages"] if "stimulus" in page}
    for page in config["pages"][2][1:]:
        named |= set(page["stimuli"].values())
    # webMUSHRA reads from its root; this folder lies in its "configs"
    assert all(name.startswith("configs/listening_test/") for name in named)
    here = {name.removeprefix("configs/listening_test/") for name in named}
    assert here == {row["file"] for row in rows(folder)}
    assert {f"stimuli/{path.name}" for path in (folder / "stimuli").iterdir()} == here
    text = (folder / "webmushra.yaml").read_text(encoding="utf-8")
    assert not any(method in text for method in METHODS)


def test_excerpts_are_equally_loud_and_of_the_same_passage(
    written: tuple[Path, tuple[Trial, ...]], sums: dict[str, Path]
) -> None:
    folder, _ = written
    meter = pyloudnorm.Meter(RATE)
    judged = []
    for row in rows(folder):
        audio, rate = soundfile.read(folder / row["file"])
        info = soundfile.info(folder / row["file"])
        assert (rate, info.subtype, info.channels) == (RATE, "PCM_24", 2)
        assert info.duration == float(row["duration_s"]) == 12.0
        judged.append(meter.integrated_loudness(audio))
        assert float(row["loudness_lufs"]) == pytest.approx(judged[-1], abs=0.05)
        start = round(float(row["start_s"]) * RATE)
        whole = soundfile.read(sums[row["method"]], start=start, frames=12 * RATE)[0]
        gain = 10.0 ** (float(row["gain_db"]) / 20.0)
        assert gain <= 1.0 + 1e-6  # nothing is amplified into clipping
        inside = slice(RATE, 11 * RATE)  # clear of the fades
        # dithered to 24 bits: a step and a half
        assert np.abs(audio[inside] - gain * whole[inside]).max() < 3.0 * 2.0**-24
        assert np.abs(audio[[0, -1]]).max() < 1e-3 * np.abs(audio).max()
    assert max(judged) - min(judged) < 0.1  # LU


def test_trials_are_drawn_by_the_seed(
    written: tuple[Path, tuple[Trial, ...]], sums: dict[str, Path], tmp_path: Path
) -> None:
    folder, trials = written
    found = rows(folder)
    assert list(found[0]) == [
        "page", "condition", "method", "file", "start_s", "duration_s", "loudness_lufs",
        "gain_db", "order",
    ]  # fmt: skip
    assert [int(row["order"]) for row in found] == list(range(1, 7))
    assert {(row["page"], row["method"]) for row in found} == {
        (f"passage_{k}", method) for k in (1, 2) for method in METHODS
    }
    assert [trial.method for trial in trials] == [row["method"] for row in found]

    def again(seed: int) -> tuple[list[tuple[str, str, str]], bytes]:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        made = write_listening_test(place, sums, PASSAGES, title=TITLE, sample_rate=RATE, seed=seed)
        drawn = [(t.page, t.condition, t.method) for t in made]
        return drawn, (place / "webmushra.yaml").read_bytes()

    same, text = again(4)
    assert same == [(t.page, t.condition, t.method) for t in trials]
    assert text == (folder / "webmushra.yaml").read_bytes()
    assert len({tuple(again(seed)[0]) for seed in (5, 6, 7)}) > 1


def test_a_silent_passage_is_left_away(sums: dict[str, Path], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "half.wav", np.zeros((30 * RATE, 2)), RATE, "PCM_24")
    made = write_listening_test(
        tmp_path / "t", {**sums, "half": tmp_path / "half.wav"}, PASSAGES, title="x",
        sample_rate=RATE, seed=0,
    )  # fmt: skip
    assert made == ()
    assert not (tmp_path / "t").exists()


def test_the_busiest_passages_are_found() -> None:
    playing = np.full(2000, 2)
    playing[300:460] = 9  # 16 s
    playing[900:1050] = 8
    playing[1500:1700] = 8
    power = np.ones(1997)
    power[1530:1690] = 4.0  # the same 8 tracks, and louder here
    found = busiest_passages(playing, power, duration_s=200.0)
    assert len(found) == MOST_PASSAGES
    starts = [passage.start_s for passage in found]
    assert starts == [pytest.approx(30.0, abs=1.0), 90.0, pytest.approx(153.0, abs=0.1)]
    assert all(passage.duration_s == 15.0 for passage in found)
    assert [passage.playing for passage in found] == [9.0, 8.0, 8.0]


def test_passages_with_few_tracks_are_no_test() -> None:
    playing = np.ones(2000, int)
    playing[300:500] = 9
    (only,) = busiest_passages(playing, np.ones(2000), duration_s=200.0)
    assert 30.0 <= only.start_s <= 35.0


@pytest.mark.parametrize("seconds", [3.0, 14.96, 15.0])
def test_a_short_song_is_taken_whole(seconds: float) -> None:
    hops = int(np.ceil(seconds * 10))
    (only,) = busiest_passages(np.ones(hops, int), np.ones(hops), duration_s=seconds)
    assert (only.start_s, only.duration_s) == (0.0, seconds)


def test_no_passage_runs_over_the_end() -> None:
    playing = np.arange(155)  # busiest at the end; the last 100 ms are not whole
    (only,) = busiest_passages(playing, np.ones(150), duration_s=15.43)
    assert only.start_s + only.duration_s <= 15.43
