from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.console.parameters import BUS, STRIP
from stage2.style.broad import HEARD_FIGURES
from stage2.training.examples import (
    Example,
    TrainingSong,
    digest_song,
    draw_example,
    load_song,
    save_song,
)
from stage2.training.losses import Lesson, errors_of, lesson_loss

torch.set_num_threads(1)

RATE = 36_000
NAMES = ("drums", "bass", "keys", "lead_vocals")


@cache
def song(seed: int = 1) -> TrainingSong:
    draw = np.random.default_rng(seed)
    time = np.arange(18 * RATE) / RATE
    stems = {}
    for index, name in enumerate(NAMES):
        noise = 0.1 * draw.standard_normal((2, time.size)) * np.exp(-(time % 0.7) / 0.1)
        tone = 0.1 * np.sin(2.0 * np.pi * (70.0 * 2.1**index + 7 * seed) * time)
        stems[name] = (noise + tone).astype(np.float32)
    return digest_song(
        f"song {seed}",
        stems,
        sample_rate=RATE,
        gains_db=dict(zip(NAMES, (0.0, -3.0, -5.0, 1.0), strict=True)),
        centred={name: name != "keys" for name in NAMES},
        max_spread=dict(zip(NAMES, (0.1, 0.0, 0.4, 0.1), strict=True)),
    )


@cache
def examples() -> tuple[Example, ...]:
    songs = [song(1), song(2)]
    return tuple(draw_example(songs, np.random.default_rng(seed)) for seed in range(12))


def known() -> Example:
    """Return an example whose reference is the same song."""
    return next(e for e in examples() if e.truth is not None)


def unknown() -> Example:
    return next(e for e in examples() if e.truth is None)


def test_a_song_is_digested_passage_by_passage_where_it_sounds() -> None:
    assert len(song().passages) == 3
    assert song().subgroups == NAMES
    audio = np.zeros((2, 12 * RATE), dtype=np.float32)
    audio[:, : 6 * RATE] = 0.1 * np.random.default_rng(0).standard_normal((2, 6 * RATE))
    short = {"gains_db": {"keys": 0.0}, "centred": {"keys": False}, "max_spread": {"keys": 0.4}}
    half = digest_song("half", {"keys": audio}, sample_rate=RATE, **short)  # type: ignore[arg-type]
    assert len(half.passages) == 1
    none = digest_song(
        "short",
        {"keys": audio[:, :RATE]},
        sample_rate=RATE,
        **short,  # type: ignore[arg-type]
    )
    assert none.passages == ()


def test_a_song_written_and_read_back_gives_the_same_examples(tmp_path: Path) -> None:
    save_song(song(), tmp_path / "song.safetensors")
    back = load_song(tmp_path / "song.safetensors")
    for name in ("name", "subgroups", "centred"):
        assert getattr(back, name) == getattr(song(), name)
    assert back.gains_db == pytest.approx(song().gains_db)
    assert back.max_spread == pytest.approx(song().max_spread)
    for seed in range(3):
        a, b = (draw_example([s], np.random.default_rng(seed)) for s in (song(), back))
        assert torch.allclose(a.reference, b.reference, atol=1e-3)
        assert np.allclose(a.stems.figures, b.stems.figures, atol=1e-4)


def test_the_same_seed_draws_the_same_example() -> None:
    a, b, c = (draw_example([song(1), song(2)], np.random.default_rng(s)) for s in (5, 5, 6))
    assert torch.equal(a.reference_windows, b.reference_windows)
    assert np.array_equal(a.stems.figures, b.stems.figures)
    assert a.reference.shape == c.reference.shape
    assert not torch.equal(a.reference, c.reference)


def test_examples_start_at_the_working_level_and_hold_what_they_say() -> None:
    assert {e.truth is None for e in examples()} == {True, False}
    for example in examples():
        count = example.reach.stems
        assert 2 <= count <= len(NAMES)
        assert example.stems.figures.shape[0] == count
        assert example.reference.shape == (HEARD_FIGURES,)
        assert torch.allclose(example.reference_windows.mean(dim=0), example.reference, atol=1e-5)
        power = (10.0 ** (example.balanced.stem_lufs / 10.0)).sum()
        assert -26.0 < 10.0 * float(torch.log10(power)) < -14.0


def test_the_truth_has_no_error_and_the_start_has_one() -> None:
    example = known()
    assert example.truth is not None
    same = replace(example, reach=_Fixed(example))  # type: ignore[arg-type]
    start = Lesson.start(1, example.reach.stems)
    exact = errors_of(same, start, 0)
    assert exact["frames_db"] == pytest.approx(0.0, abs=1e-9)
    assert exact["level_lu"] == pytest.approx(0.0, abs=1e-9)
    begun = errors_of(example, start, 0)
    assert begun["frames_db"] > 0.3
    assert begun["level_lu"] > 0.3
    assert np.isnan(errors_of(unknown(), Lesson.start(1, unknown().reach.stems), 0)["level_lu"])


class _Fixed:
    """A reach in which every move is the truth."""

    def __init__(self, example: Example) -> None:
        assert example.truth is not None
        self.stems = example.reach.stems
        self._truth = example.truth.strips, example.truth.bus

    def settings(self, strips: torch.Tensor, bus: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self._truth


def told(example: Example, *, at: float, seed: int = 0) -> Lesson:
    """Return moves about a place of the reach, for one session."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((example.reach.stems, len(STRIP)), (len(BUS),)) * 2
    strips, bus, s, b = (0.3 * torch.randn(1, *shape, generator=draw) for shape in shapes)
    return Lesson(strips + at, bus + at, s - 1.0, b - 1.0)


@pytest.mark.parametrize("kind", ["known", "unknown"])
def test_the_gradient_of_the_loss_is_what_finite_differences_say(kind: str) -> None:
    example = known() if kind == "known" else unknown()
    lesson = told(example, at=0.0)
    heard = lesson_loss(example, lesson, 0)
    draw = np.random.default_rng(0)
    free = example.reach.free()
    step = 1e-3
    for name, mask in (("strips", free[0]), ("bus", free[1])):
        places = torch.nonzero(mask)
        scale = float(getattr(heard.gradient, name).abs().max())
        for place in draw.permutation(len(places))[:8]:
            index = tuple(places[place].tolist())
            ends = []
            for sign in (1.0, -1.0):
                moved = getattr(lesson, name).clone()
                moved[0][index] += sign * step
                ends.append(lesson_loss(example, replace(lesson, **{name: moved}), 0).loss)
            expected = (ends[0] - ends[1]) / (2.0 * step)
            got = float(getattr(heard.gradient, name)[index])
            assert got == pytest.approx(expected, abs=0.02 * scale), (name, index)


def test_spreads_have_a_gradient_where_the_truth_is_known() -> None:
    heard = lesson_loss(known(), told(known(), at=0.0), 0)
    assert heard.gradient.strips_log_spread.abs().max() > 0.0
    heard = lesson_loss(unknown(), told(unknown(), at=0.0), 0)
    assert heard.gradient.strips_log_spread.abs().max() == 0.0


@pytest.mark.parametrize("at", [-12.0, -4.0, 4.0, 12.0])
def test_loss_and_gradient_are_finite_to_the_ends_of_the_reach(at: float) -> None:
    for example in (known(), unknown()):
        heard = lesson_loss(example, told(example, at=at), 0)
        assert np.isfinite(heard.loss)
        for name in ("strips", "bus", "strips_log_spread", "bus_log_spread"):
            gradient = getattr(heard.gradient, name)
            assert torch.isfinite(gradient).all()
        assert heard.gradient.strips.abs().max() > 0.0


def test_every_setting_that_is_free_moves_the_loss() -> None:
    moved = [torch.zeros(len(STRIP), dtype=torch.bool), torch.zeros(len(BUS), dtype=torch.bool)]
    free = [m.clone() for m in moved]
    for example in examples()[:4]:
        gradient = lesson_loss(example, told(example, at=0.0), 0).gradient
        moved[0] |= (gradient.strips != 0.0).any(dim=0)
        moved[1] |= gradient.bus != 0.0
        places = example.reach.free()
        free[0] |= places[0].any(dim=0)
        free[1] |= places[1]
    assert torch.equal(moved[0], free[0])
    assert torch.equal(moved[1], free[1])


def test_a_batch_sends_each_session_its_own_gradient() -> None:
    pair = [known(), unknown()]
    most = max(e.reach.stems for e in pair)
    leaves = [
        torch.zeros(2, most, len(STRIP), requires_grad=True),
        torch.zeros(2, len(BUS), requires_grad=True),
        torch.zeros(2, most, len(STRIP), requires_grad=True),
        torch.zeros(2, len(BUS), requires_grad=True),
    ]
    lesson = Lesson(*leaves)
    heard = [lesson_loss(e, lesson.detached(), i) for i, e in enumerate(pair)]
    lesson.backward([h.gradient for h in heard])
    for index, (example, one) in enumerate(zip(pair, heard, strict=True)):
        count = example.reach.stems
        strips, bus = leaves[0].grad, leaves[1].grad
        assert strips is not None
        assert bus is not None
        assert torch.allclose(strips[index, :count], one.gradient.strips / 2.0)
        assert (strips[index, count:] == 0.0).all()
        assert torch.allclose(bus[index], one.gradient.bus / 2.0)
