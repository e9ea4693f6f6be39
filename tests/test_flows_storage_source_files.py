"""Files that change while a run works on them: no result is kept under another file's name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

import flows.mix.recipe
import flows.mix.rerender
import flows.mix.steps.balance
import flows.mix.steps.style
import flows.mix.steps.tracks
from flows.mix.result import MixOutcome
from flows.mix.steps.balance import BalanceJob, balance_step
from flows.mix.steps.style import style_step
from flows.mix.steps.tracks import TrackJob, check_step, examine_step
from flows.storage.source_files import SourceFiles, refuse_changed
from flows.storage.store import Store
from pipeline.errors import InputError
from pipeline.plan import Plan, StemPlan, TrackPlan

Put = Callable[..., Path]
RATE = 48_000


def noise(seed: int, seconds: float = 1.0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((1, round(seconds * RATE)))


@pytest.fixture
def kick(tmp_path: Path, put: Put) -> Path:
    return put(tmp_path / "session" / "kick.wav", noise(1), RATE)


@pytest.fixture
def other(tmp_path: Path, put: Put) -> Path:
    return put(tmp_path / "other.wav", noise(2), RATE)


def plan_of(path: str) -> Plan:
    return Plan(
        session=".", sample_rate=RATE, frames=RATE,
        tracks=(TrackPlan(path=path, role="kick", subgroup="drums"),),
        stems=(StemPlan(name="drums"),),
    )  # fmt: skip


STEPS: dict[str, tuple[str, Callable[[Path, Path], Any]]] = {
    "check_track": ("tracks", lambda p, s: check_step(TrackJob(p, "kick.wav", s))),
    "examine": ("tracks", lambda p, s: examine_step(TrackJob(p, "kick.wav", s))),
    "read": ("style", lambda p, s: style_step(TrackJob(p, "kick.wav", s))),
    "_sum_tracks": (
        "balance",
        lambda p, s: balance_step(BalanceJob(plan_of(p.name), "drums", p.parent, s)),
    ),
}


@pytest.mark.parametrize("how", ["renamed over", "written over"])
@pytest.mark.parametrize("reader", STEPS)
def test_a_file_replaced_while_it_is_read_is_told_and_nothing_is_kept(
    reader: str, how: str, kick: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, step = STEPS[reader]
    store = tmp_path / "store"
    read = getattr(importlib.import_module(f"flows.mix.steps.{module}"), reader)

    def replaced_first(*arguments: Any, **options: Any) -> Any:
        if how == "renamed over":
            other.replace(kick)
        else:
            before = kick.stat()
            kick.write_bytes(other.read_bytes())
            os.utime(kick, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had been
        return read(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(f"flows.mix.steps.{module}.{reader}", replaced_first)
        with pytest.raises(InputError, match=r"kick.wav.*changed while.*run again"):
            step(kick, store)
    assert list(Store(store).entries()) == []
    told, fresh = step(kick, store), step(kick, tmp_path / "fresh")
    assert repr(getattr(told, "features", 0)) == repr(getattr(fresh, "features", 0))
    assert getattr(told, "loudness_lufs", 0.0) == getattr(fresh, "loudness_lufs", 0.0)


def test_a_file_that_goes_and_comes_back_is_read_again(kick: Path, other: Path, tmp_path: Path):
    contents: list[bytes] = []
    kept = tmp_path / "kept.wav"

    def work() -> int:
        if not contents:
            kick.rename(kept)
            other.rename(kick)
            contents.append(kick.read_bytes())
            kept.replace(kick)
        else:
            contents.append(kick.read_bytes())
        return len(contents)

    source = SourceFiles(Store(tmp_path / "store"), {"kick.wav": kick})
    assert source.read(work) == 2
    assert contents[1] == kick.read_bytes() != contents[0]


def test_a_file_that_is_only_touched_is_not_told(kick: Path, tmp_path: Path) -> None:
    source = SourceFiles(Store(tmp_path / "store"), {"kick.wav": kick})
    assert source.read(lambda: kick.touch() or 7) == 7
    refuse_changed(Store(tmp_path / "store"), {"kick.wav": kick}, source.contents)


def test_a_failure_for_a_file_that_went_is_told_by_its_name(kick: Path, tmp_path: Path) -> None:
    source = SourceFiles(Store(tmp_path / "store"), {"kick.wav": kick})

    def work() -> None:
        kick.unlink()
        kick.open("rb").close()

    with pytest.raises(InputError, match=r"kick.wav: was changed"):
        source.read(work)
    with pytest.raises(InputError, match=r"kick.wav: was taken away"):
        refuse_changed(Store(tmp_path / "store"), {"kick.wav": kick}, source.contents)
    honest = tmp_path / "honest.wav"
    honest.touch()
    with pytest.raises(ZeroDivisionError):
        SourceFiles(Store(tmp_path / "store"), {"honest.wav": honest}).read(lambda: 1 / 0)


def test_balance_refuses_another_file_than_analysis_saw(
    kick: Path, other: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    seen = examine_step(TrackJob(kick, "kick.wav", store)).content
    job = BalanceJob(plan_of("kick.wav"), "drums", kick.parent, store, {"kick.wav": seen})
    assert balance_step(job).loudness_lufs < 0.0
    other.replace(kick)
    with pytest.raises(InputError, match=r"kick.wav: was changed while the run worked on it"):
        balance_step(job)


def test_a_mix_of_a_track_that_changes_amid_the_run_is_not_written(
    workplace: Path, make_song: Callable[[Path], Path], stemwright: Callable[..., Result],
    put: Put, plain: Callable[[str], str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    song = make_song(workplace / "song")
    decide = flows.mix.recipe.first_plan

    def decide_late(*arguments: Any) -> Plan:
        put(song / "Drums" / "Snare.wav", noise(3, 3.0), RATE)
        return decide(*arguments)  # type: ignore[no-any-return]

    with monkeypatch.context() as patch:
        patch.setattr("flows.mix.recipe.first_plan", decide_late)
        result = stemwright("mix", song, "-o", workplace / "mix")
    assert result.exit_code == 2
    assert "Snare.wav: was changed while the run worked on it" in plain(result.output).replace(
        "\n", " "
    )
    assert not (workplace / "mix").exists()


def test_render_tells_which_tracks_have_changed_since_the_plan_and_refuses_those_that_do(
    tmp_path: Path, workplace: Path, put: Put, stemwright: Callable[..., Result],
    plain: Callable[[str], str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    song = tmp_path / "song"
    put(song / "Kick.wav", noise(1), RATE)
    put(song / "Snare.wav", noise(2), RATE)
    assert stemwright("mix", song, "-o", tmp_path / "mix").exit_code == 0
    untouched = stemwright("render", tmp_path / "mix" / "plan.json", "-o", tmp_path / "same")
    assert "has changed" not in untouched.output
    put(song / "Snare.wav", noise(3), RATE)
    told = stemwright("render", tmp_path / "mix" / "plan.json", "-o", tmp_path / "new")
    assert told.exit_code == 0
    text = " ".join(plain(told.output).split())
    assert "note: 'Snare.wav' has changed since the plan was made" in text
    assert "'Kick.wav' has changed" not in text
    again = stemwright("render", tmp_path / "new" / "plan.json", "-o", tmp_path / "newer")
    assert "has changed" not in again.output

    write = flows.mix.rerender.write_outcome

    def write_late(outcome: MixOutcome) -> Any:
        written = write(outcome)
        put(song / "Kick.wav", noise(4), RATE)
        return written

    with monkeypatch.context() as patch:
        patch.setattr("flows.mix.rerender.write_outcome", write_late)
        refused = stemwright("render", tmp_path / "new" / "plan.json", "-o", tmp_path / "late")
    assert refused.exit_code == 2
    assert "Kick.wav: was changed while the run worked on it" in " ".join(
        plain(refused.output).split()
    )
    assert not (tmp_path / "late").exists()
