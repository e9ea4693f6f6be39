"""A plan is rendered to what it came with, whatever it was delivered as, and says what is amiss."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from pipeline.plan_file import load_plan

Command = Callable[..., Result]
Samples = Callable[[Path], Any]
RATE = 48_000


def hits(seed: int, amplitude: float = 0.3) -> np.ndarray:
    """Return two seconds of struck noise, ``(2, frames)``."""
    frames = 2 * RATE
    decay = np.exp(-np.arange(frames) % 12_000 / 2000.0)
    return amplitude * decay * np.random.default_rng(seed).standard_normal((2, frames))


@pytest.fixture(scope="module")
def song(workplace: Path, put: Callable[..., Path]) -> Path:
    folder = workplace / "song"
    for seed, name in enumerate(("Kick", "Snare", "Bass DI")):
        put(folder / f"{name}.wav", hits(seed), RATE)
    return folder


def flattened(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan's values as a file of version 1 has them."""
    later = {
        "channels", "dc", "dc_highpass_hz", "salvaged", "title", "artist", "album", "date",
        "encoder_margin_db", "fitted_lufs", "integrated_lufs", "contents", "note",
    }  # fmt: skip

    def flat(part: dict[str, Any]) -> dict[str, Any]:
        joined = {**part, **part.get("record", {})}
        return {k: v for k, v in joined.items() if k not in {"record", *later}}

    return flat(plan) | {
        "version": 1,
        "bus": plan["bus"],
        "tracks": [flat(track) for track in plan["tracks"]],
        "stems": [flat(stem) for stem in plan["stems"]],
        "delivery": flat(plan["delivery"]),
    }


def test_an_mp3_with_a_margin_renders_to_the_same_samples(
    workplace: Path, put: Callable[..., Path], stemwright: Command, samples: Samples
) -> None:
    noise = 0.1 * np.random.default_rng(7).standard_normal((2, 2 * RATE))
    put(workplace / "noise" / "Kick.wav", noise, RATE)
    out = workplace / "mp3"
    mixed = stemwright("mix", workplace / "noise", "-o", out, "--format", "mp3", "--target", "-6.5")
    assert mixed.exit_code == 0, mixed.output
    plan = load_plan(out / "plan.json")
    assert plan.delivery.encoder_margin_db > 0.0  # else this tests nothing
    assert stemwright("render", out / "plan.json", "-q").exit_code == 0
    again = out / "plan-render"
    assert np.array_equal(samples(out / "mix.mp3"), samples(again / "mix.mp3"))
    assert load_plan(again / "plan.json").delivery == plan.delivery
    # what has no encoder needs no margin
    edited = json.loads((out / "plan.json").read_text())
    edited["delivery"]["format"] = "wav"
    (out / "edited.json").write_text(json.dumps(edited))
    assert stemwright("render", out / "edited.json", "-q").exit_code == 0
    wav = load_plan(out / "edited-render" / "plan.json").delivery
    assert wav.encoder_margin_db == 0.0


def test_a_silent_mix_has_a_plan_that_can_be_rendered(
    tmp_path: Path, put: Callable[..., Path], stemwright: Command
) -> None:
    put(tmp_path / "song" / "Kick.wav", 1e-7 * hits(1), RATE)
    assert stemwright("mix", tmp_path / "song", "-o", tmp_path / "out").exit_code == 0
    assert load_plan(tmp_path / "out" / "plan.json").delivery.integrated_lufs is None
    assert stemwright("render", tmp_path / "out" / "plan.json").exit_code == 0


def test_what_is_said_of_one_render_is_not_said_of_the_next(
    song: Path, workplace: Path, stemwright: Command, plain: Callable[[str], str]
) -> None:
    out = workplace / "louder"
    assert stemwright("mix", song, "-o", out, "--target", "-18").exit_code == 0
    plan = json.loads((out / "plan.json").read_text())
    plan["bus"]["gain_db"] -= 6.0
    (out / "edited.json").write_text(json.dumps(plan))
    first = stemwright("render", out / "edited.json")
    assert "gain_db was raised by" in " ".join(plain(first.output).split())
    second = stemwright("render", out / "edited-render" / "plan.json")
    assert second.exit_code == 0
    assert "gain_db was raised by" not in " ".join(plain(second.output).split())


def test_a_plan_rendered_as_is_is_still_brought_to_its_loudness_later(
    song: Path, workplace: Path, stemwright: Command
) -> None:
    out = workplace / "as is"
    assert stemwright("mix", song, "-o", out, "--target", "-18").exit_code == 0
    plan = json.loads((out / "plan.json").read_text())
    plan["bus"]["gain_db"] -= 6.0
    (out / "edited.json").write_text(json.dumps(plan))

    def rendered(path: Path, *options: str) -> float:
        result = stemwright("render", path, "--json", *options)
        assert result.exit_code == 0, result.output
        return float(json.loads(result.stdout)["integrated_lufs"])

    assert rendered(out / "edited.json", "--as-is") == pytest.approx(-24.0, abs=0.3)
    later = out / "edited-render" / "plan.json"
    assert rendered(later) == pytest.approx(-18.0, abs=0.1)


def test_references_that_cannot_be_compared_with_are_named(
    song: Path, workplace: Path, put: Callable[..., Path], stemwright: Command,
    make_reference: Callable[..., Path], plain: Callable[[str], str],
) -> None:  # fmt: skip
    names = ("gone", "broken", "silent", "faint", "whole")
    references = [make_reference(workplace / f"{name}.wav", seed=len(name)) for name in names]
    out = workplace / "with references"
    asked = [part for path in references for part in ("--reference", path)]
    mixed = stemwright("mix", song, "-o", out, "--strength", 0, *asked)
    assert mixed.exit_code == 0, mixed.output
    references[0].unlink()
    references[1].write_bytes(b"no audio at all")
    put(references[2], np.zeros((2, RATE)), RATE)
    put(references[3], 1e-6 * hits(3), RATE, subtype="FLOAT")
    rendered = stemwright("render", out / "plan.json")
    assert rendered.exit_code == 0, rendered.output
    told = " ".join(plain(rendered.output).split())
    for name in names[:4]:
        assert f"{name}.wav' " in told, name
    assert "silent.wav' is silent: the report compares with none of it" in told
    assert "whole.wav'" not in told


def test_what_a_disk_damaged_in_the_store_is_rendered_anew(
    song: Path, workplace: Path, stemwright: Command, samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("flows.storage.store._SMALL_BYTES", 0)  # found without being looked through
    out, store = workplace / "damaged", Path(os.environ["STEMWRIGHT_STORE"])
    assert stemwright("mix", song, "-o", out).exit_code == 0
    for path in [*store.glob("balance/*/*.npy"), *store.glob("console/*/*.wav")]:
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(content)
    rendered = stemwright("render", out / "plan.json")
    assert rendered.exit_code == 0, rendered.output
    assert np.array_equal(samples(out / "mix.wav"), samples(out / "plan-render" / "mix.wav"))
