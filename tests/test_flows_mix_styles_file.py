"""A style is saved without audio, and followed as its reference would be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.mix.styles.file import load_style
from flows.settings import MixSettings
from pipeline.errors import InputError

Put = Callable[..., Path]
Command = Callable[..., "object"]
RATE = 24_000


@pytest.fixture
def song(tmp_path: Path, put: Put) -> Path:
    draw = np.random.default_rng(3)
    time = np.arange(3 * RATE) / RATE
    beat = np.exp(-(time % 0.5) / 0.06)
    put(tmp_path / "song" / "Kick.wav", 0.2 * draw.standard_normal((1, time.size)) * beat, RATE)
    put(tmp_path / "song" / "Bass.wav", 0.2 * np.sin(2 * np.pi * 60.0 * time)[None], RATE)
    return tmp_path / "song"


@pytest.fixture
def reference(tmp_path: Path, put: Put) -> Path:
    draw = np.random.default_rng(4)
    time = np.arange(8 * RATE) / RATE
    swell = 0.3 + np.exp(-(time % 0.7) / 0.1)
    return put(tmp_path / "like this.wav", 0.1 * draw.standard_normal((2, time.size)) * swell, RATE)


def test_a_saved_style_gives_the_samples_that_its_reference_gives(
    song: Path, reference: Path, tmp_path: Path, stemwright: Command, samples: Callable[..., object]
) -> None:
    saved = tmp_path / "like.style.json"
    result = stemwright("style", reference, "-o", saved, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["style"] == str(saved)
    (one,) = load_style(saved)
    assert one.name == "like this.wav"
    assert "audio" not in saved.read_text()
    for place, out in ((reference, "a"), (saved, "b")):
        mixed = stemwright("mix", song, "-r", place, "--quality", "fast", "-o", tmp_path / out)
        assert mixed.exit_code == 0, mixed.output
    assert np.array_equal(samples(tmp_path / "a" / "mix.wav"), samples(tmp_path / "b" / "mix.wav"))
    notes = json.loads((tmp_path / "b" / "results.json").read_text())["warnings"]
    assert any("like.style.json is followed" in note for note in notes)


def test_nothing_is_overwritten_and_all_that_is_wrong_is_said(
    reference: Path, tmp_path: Path, stemwright: Command
) -> None:
    there = tmp_path / "there.style.json"
    there.write_text("mine")
    result = stemwright("style", reference, tmp_path / "none.wav", "-o", there)
    assert result.exit_code == 2
    assert "is there already" in result.stderr
    assert "none.wav" in result.stderr
    assert there.read_text() == "mine"
    result = stemwright("style", reference, "-o", tmp_path / "style.json")
    assert result.exit_code == 2
    assert "does not end in .style.json" in result.stderr


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"version": 2}', '{"version": 1, "references": []}',
                '{"version": 1, "references": [{"name": "x"}]}'],
)  # fmt: skip
def test_what_is_no_style_is_refused_before_any_work(
    song: Path, tmp_path: Path, stemwright: Command, content: str
) -> None:
    bad = tmp_path / "bad.style.json"
    bad.write_text(content)
    with pytest.raises(InputError, match=r"bad\.style\.json"):
        load_style(bad)
    result = stemwright("mix", song, "-r", bad, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_recordings_and_saved_styles_are_told_apart() -> None:
    settings = MixSettings(references=("a.wav", "b.STYLE.json", "s3://x/c.flac"))
    assert [str(place) for place in settings.recordings] == ["a.wav", "s3://x/c.flac"]
    assert [path.name for path in settings.saved_styles] == ["b.STYLE.json"]
