import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from pipeline.errors import InputError
from stage2.controller.network import ControllerSize
from stage2.controller.weights_file import load_controller, load_record
from stage2.training.examples import TrainingSong, digest_song
from stage2.training.train import TrainingOptions, train_controller

RATE = 16_000
SIZE = ControllerSize(width=20, blocks=1, heads=5, passes=2)
OPTIONS = TrainingOptions(
    steps=6,
    batch=2,
    rate=3e-3,
    warm_up=2,
    average=0.5,
    validate_every=3,
    validation_examples=3,
    checkpoint_every=2,
    size=SIZE,
)


class KilledError(Exception):
    pass


@cache
def song(seed: int, passages: int = 2) -> TrainingSong:
    draw = np.random.default_rng(seed)
    time = np.arange(6 * passages * RATE) / RATE
    stems = {
        name: (
            0.1 * draw.standard_normal((2, time.size)) * np.exp(-(time % beat) / 0.1)
            + 0.1 * np.sin(2.0 * np.pi * (tone + 7 * seed) * time)
        ).astype(np.float32)
        for name, beat, tone in (("drums", 0.5, 60), ("bass", 1.0, 110), ("keys", 0.7, 440))
    }
    return digest_song(
        f"song {seed}",
        stems,
        sample_rate=RATE,
        gains_db={"drums": 0.0, "bass": -2.0, "keys": -4.0},
        centred={"drums": True, "bass": True, "keys": False},
        max_spread={"drums": 0.1, "bass": 0.0, "keys": 0.4},
    )


def trained(
    folder: Path,
    *,
    options: TrainingOptions = OPTIONS,
    seeds: tuple[int, ...] = (1, 2),
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> tuple[bytes, dict[str, float]]:
    """Return the weights and the figures of a run."""
    result = train_controller(
        [song(seed) for seed in seeds], [song(3)], options=options, folder=folder, on_step=on_step
    )
    return result.weights.read_bytes(), result.metrics


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, dict[str, float]]:
    folder = tmp_path_factory.mktemp("run") / "whole"
    return (folder, *trained(folder))


def stop_at(step: int, error: type[BaseException]) -> Callable[[int, int, dict[str, float]], None]:
    def on_step(done: int, total: int, row: dict[str, float]) -> None:
        if done == step:
            raise error

    return on_step


def steps_told(folder: Path) -> list[int]:
    """Return the steps that a run took."""
    steps: list[int] = []
    trained(folder, on_step=lambda done, total, row: steps.append(done))
    return steps


def test_killed_and_interrupted_runs_end_in_the_same_weights(
    whole: tuple[Path, bytes, dict[str, float]], tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "run"
    with pytest.raises(KilledError):  # before the first checkpoint
        trained(folder, on_step=stop_at(1, KilledError))
    with pytest.raises(KilledError):  # goes back to the checkpoint of step 2
        trained(folder, on_step=stop_at(3, KilledError))
    with pytest.raises(KeyboardInterrupt):  # saved on the way out
        trained(folder, on_step=stop_at(5, KeyboardInterrupt))
    assert steps_told(folder) == [6]
    assert (folder / "controller.safetensors").read_bytes() == whole[1]
    assert load_record(folder / "controller.safetensors")["metrics"] == {
        name: round(value, 4) for name, value in whole[2].items()
    }


def test_an_interruption_in_the_middle_of_a_step_is_not_kept(
    whole: tuple[Path, bytes, dict[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, calls = AveragedModel.update_parameters, 0

    def interrupted(self: AveragedModel, model: torch.nn.Module) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # the weights have moved, their average not yet
            raise KeyboardInterrupt
        update(self, model)

    monkeypatch.setattr(AveragedModel, "update_parameters", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run")
    assert steps_told(tmp_path / "run") == [3, 4, 5, 6]
    assert (tmp_path / "run" / "controller.safetensors").read_bytes() == whole[1]


def test_a_validation_that_was_cut_off_is_made_up_for(
    whole: tuple[Path, bytes, dict[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stage2.training import train as training

    def interrupt(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "errors_of", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "run")
    assert steps_told(tmp_path / "run") == [4, 5, 6]
    for folder in (tmp_path / "run", whole[0]):
        state = torch.load(folder / "checkpoint.pt", weights_only=True)
        assert ["held out level_lu" in row for row in state["curves"]] == [False, False, True] * 2
    assert (tmp_path / "run" / "controller.safetensors").read_bytes() == whole[1]


def test_more_threads_give_the_same_weights(
    whole: tuple[Path, bytes, dict[str, float]], tmp_path: Path
) -> None:
    options = replace(OPTIONS, workers=3, checkpoint_every=5)
    assert trained(tmp_path / "run", options=options) == whole[1:]


def test_what_is_learned_is_heard_on_songs_held_out(tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=20, batch=3, validate_every=10, validation_examples=6)
    rows: list[dict[str, float]] = []
    trained(tmp_path / "run", options=options, on_step=lambda done, total, row: rows.append(row))
    first, last = (row for row in rows if "held out width_db" in row)
    assert last["held out price"] < first["held out price"]
    losses = [row["loss"] for row in rows]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_a_run_that_has_ended_is_left_as_it_is(
    whole: tuple[Path, bytes, dict[str, float]], contents: Callable[[Path], dict[str, str]]
) -> None:
    folder, weights, metrics = whole
    before = contents(folder)
    told: list[int] = []
    again = trained(folder, on_step=lambda done, total, row: told.append(done))
    assert again == (weights, metrics)
    assert told == []
    assert contents(folder) == before


def test_weights_that_were_lost_are_written_again(
    whole: tuple[Path, bytes, dict[str, float]], tmp_path: Path
) -> None:
    (tmp_path / "checkpoint.pt").write_bytes((whole[0] / "checkpoint.pt").read_bytes())
    assert trained(tmp_path) == whole[1:]


def test_nothing_of_another_run_is_overwritten(
    whole: tuple[Path, bytes, dict[str, float]],
    tmp_path: Path,
    contents: Callable[[Path], dict[str, str]],
) -> None:
    folder = whole[0]
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "checkpoint.pt").write_bytes(b"no checkpoint")
    for place, options, seeds, words in (
        (folder, replace(OPTIONS, rate=1e-3), (1, 2), "other options"),
        (folder, replace(OPTIONS, size=replace(SIZE, width=40)), (1, 2), "other options"),
        (folder, OPTIONS, (1, 4), "other songs"),
        (tmp_path, OPTIONS, (1, 2), "no training run"),
        (tmp_path / "damaged", OPTIONS, (1, 2), "damaged"),
    ):
        before = contents(place)
        with pytest.raises(InputError, match=words):
            trained(place, options=options, seeds=seeds)
        assert contents(place) == before


def test_songs_that_are_too_few_or_too_short_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        train_controller([song(5, passages=1)], [], options=OPTIONS, folder=tmp_path / "run")
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 2
    assert "song 5" in told[0]
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_an_earlier_version_goes_on(
    whole: tuple[Path, bytes, dict[str, float]], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        trained(folder, on_step=stop_at(4, KeyboardInterrupt))
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    del state["seconds"]
    for row in state["curves"]:
        del row["seconds"]
    torch.save(state, folder / "checkpoint.pt")
    assert trained(folder)[0] == whole[1]


def test_the_record_tells_what_the_weights_are(
    whole: tuple[Path, bytes, dict[str, float]],
) -> None:
    weights = whole[0] / "controller.safetensors"
    record = json.loads(weights.with_suffix(".json").read_text())
    assert record["sha256"] == hashlib.sha256(whole[1]).hexdigest()
    assert record["licence"] == "Apache-2.0"
    assert record["seconds"] > 0.0
    assert record["steps_per_s"] == pytest.approx(6 / record["seconds"], rel=0.1)
    assert (record["songs"], record["songs_held_out"]) == (2, 1)
    assert record["options"]["size"] == record["size"] == SIZE.to_record()
    controller = load_controller(weights)
    assert record["parameters"] == sum(p.numel() for p in controller.parameters())
