"""The steps of stage 2: what they find, and that they find it once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile

from flows.mix.steps import style as style_steps
from flows.mix.steps.balance import BalancedStem
from flows.mix.steps.style import ConsoleJob, predict_step, refine_step, settle_step, style_step
from flows.mix.steps.tracks import TrackJob
from pipeline.console.parameters import Aspect
from stage2.controller.inputs import reference_windows
from stage2.refine.search import RefineOptions
from stage2.style.measure import measure_style
from stage2.style.target import StyleTarget

Put = Callable[..., Path]
RATE = 22_050


def never(*_: object, **__: object) -> None:
    raise AssertionError("done again")


def noise(seconds: float, channels: int = 1, *, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(0.1 * rng.standard_normal((channels, round(seconds * RATE))))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_a_style_is_measured_once(
    tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "ref.flac", noise(4.0, 2), RATE)
    first = style_step(TrackJob(path, path.name, store))
    audio = soundfile.read(path, dtype="float32")[0].T
    assert first.style == measure_style(audio, sample_rate=RATE)
    windows = reference_windows(audio, sample_rate=RATE)
    assert np.array_equal(np.load(first.windows), windows)
    monkeypatch.setattr("flows.mix.steps.style.read", never)
    assert style_step(TrackJob(path, path.name, store)) == first


def refine_job(tmp_path: Path, store: Path, put: Put, reference: np.ndarray) -> ConsoleJob:
    """Two stems of struck noise, and a reference."""
    seconds = 20.0
    time = np.arange(round(seconds * RATE)) / RATE
    stems = []
    for name, every_s in (("drums", 0.53), ("bass", 0.71)):
        struck = np.exp(-(time % every_s) / 0.05)
        audio = (noise(seconds, 2, seed=len(name)) * struck).astype(np.float32)
        np.save(tmp_path / f"{name}.npy", audio)
        loudness = pyloudnorm.Meter(RATE).integrated_loudness(audio.T)
        stems.append(
            BalancedStem(name, loudness, tmp_path / f"{name}.npy", name, tmp_path / f"{name}.wav")
        )
    if reference.size == 0:
        reference = sum(np.load(stem.excerpt) for stem in stems)
        reference = np.pad(reference, ((0, 0), (round(0.75 * RATE), 0)))
    path = put(tmp_path / "ref.wav", reference, RATE, subtype="FLOAT")
    segments = np.load(style_step(TrackJob(path, path.name, store)).windows)
    style = measure_style(reference.astype(np.float32), sample_rate=RATE)
    return ConsoleJob(
        target=StyleTarget.of(style, [segments]),
        segments=segments,
        stems=tuple(stems),
        start_gain_db=(0.0, 0.0),
        centred=(True, True),
        max_spread=(0.3, 0.0),
        references=(path,),
        match=tuple(Aspect),
        target_lufs=-16.0,
        ceiling_dbtp=-1.0,
        sample_rate=RATE,
        pieces=((0, round(seconds * RATE)),),
        store=store,
    )


def test_a_reference_of_this_very_song_is_followed_and_remembered(
    tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stage2.refine import search as module

    given: list[Any] = []

    def watched(*arguments: Any, **options: Any) -> module.Refined:
        given.append(options["aligned"])
        short = module.RefineOptions(rounds=1, steps=3)
        return module.refine(*arguments, **{**options, "options": short})

    monkeypatch.setattr("flows.mix.steps.style.refine", watched)
    job = refine_job(tmp_path, store, put, np.zeros(0))
    refined, note = refine_step(job)
    assert "the reference is a mix of this very song" in note
    assert "+0.75 s" in note or "-0.75 s" in note
    total = sum(np.load(stem.excerpt) for stem in job.stems)
    # the pause before the song is taken out again, to within 20 ms
    lag = np.argmax(np.correlate(given[0][0, ::8], total[0, ::8][2000:-2000], "valid")) - 2000
    assert abs(lag * 8 / RATE) < 0.02

    monkeypatch.setattr("flows.mix.steps.style.refine", never)
    again, same_note = refine_step(job)
    assert (again, same_note) == (refined, note)
    assert isinstance(again.strips, tuple)
    assert json.dumps(dataclasses.asdict(again)) == json.dumps(dataclasses.asdict(refined))


def test_another_song_s_reference_gives_style_alone(
    tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def watched(*_: Any, **options: Any) -> None:
        given.append(options["aligned"])
        raise NotImplementedError("seen enough")

    monkeypatch.setattr("flows.mix.steps.style.refine", watched)
    other = noise(25.0, 2, seed=77) * np.exp(-(np.arange(25 * RATE) / RATE % 0.61) / 0.1)
    job = refine_job(tmp_path, store, put, other)
    # nor are several references followed, not even of the song itself
    (tmp_path / "itself").mkdir()
    itself = refine_job(tmp_path / "itself", store, put, np.zeros(0))
    for attempt in (job, dataclasses.replace(itself, references=itself.references * 2)):
        with pytest.raises(NotImplementedError, match="seen enough"):
            refine_step(attempt)
    assert len(given) == 2
    assert all(aligned is None for aligned in given)
    assert not list(store.glob("refine/*"))  # what failed is not remembered


def console_job(tmp_path: Path, store: Path, put: Put) -> ConsoleJob:
    """Return two stems, and a reference of another song."""
    struck = np.exp(-(np.arange(5 * RATE) / RATE % 0.61) / 0.1)
    return refine_job(tmp_path, store, put, noise(5.0, 2, seed=77) * struck)


def test_settings_are_predicted_once_for_what_they_depend_on(
    tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = console_job(tmp_path, store, put)
    first = predict_step(job)
    assert isinstance(first.strips, tuple)
    asked: list[Any] = []

    def watched(*arguments: Any, **options: Any) -> None:
        asked.append((arguments, options))
        raise NotImplementedError("asked again")

    monkeypatch.setattr("flows.mix.steps.style.predict", watched)
    # what is asked of the delivery is none of the prediction's business
    louder = dataclasses.replace(job, target_lufs=-9.0, ceiling_dbtp=-3.0)
    again = predict_step(louder)
    assert json.dumps(dataclasses.asdict(again)) == json.dumps(dataclasses.asdict(first))
    assert not asked

    for other in (
        dataclasses.replace(job, match=(Aspect.EQ,)),
        dataclasses.replace(job, start_gain_db=(0.0, -1.0)),
    ):
        with pytest.raises(NotImplementedError):
            predict_step(other)
    assert len(asked) == 2
    assert asked[0][1]["match"] == {Aspect.EQ}


def test_a_prediction_is_settled_once_and_needs_to_be_there(
    tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = console_job(tmp_path, store, put)
    with pytest.raises(ValueError, match="give the job a start"):
        settle_step(job)
    told = predict_step(job)
    start = style_steps.Start(told.strips, told.bus)
    settled, note = settle_step(dataclasses.replace(job, start=start))
    assert note == ""
    # two stems at most that far from where they were meant to be
    assert max(map(abs, settled.level_change_lu)) <= RefineOptions.corridor_lu + 0.05
    monkeypatch.setattr("flows.mix.steps.style.settle_in_corridor", never)
    again, _ = settle_step(dataclasses.replace(job, start=start))
    assert again == settled
    strips = ({**told.strips[0], "pan": 0.1}, told.strips[1])
    with pytest.raises(AssertionError):
        settle_step(dataclasses.replace(job, start=style_steps.Start(strips, told.bus)))


def test_where_refinement_begins_is_part_of_what_it_finds(
    tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []

    def watched(*_: Any, **options: Any) -> None:
        begun.append(options["start"])
        raise NotImplementedError

    monkeypatch.setattr("flows.mix.steps.style.refine", watched)
    job = console_job(tmp_path, store, put)
    told = predict_step(job)
    start = style_steps.Start(told.strips, told.bus)
    for begin in (None, start):
        with pytest.raises(NotImplementedError):
            refine_step(dataclasses.replace(job, start=begin))
    assert begun == [None, start]
