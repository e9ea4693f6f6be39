from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.console.parameters import Aspect
from stage2.controller.inputs import REFERENCE_FIGURES, reference_windows
from stage2.style.broad import (
    BROAD_EDGES_HZ,
    BROAD_FIGURES,
    HEARD_FIGURES,
    Broad,
    broad_bands,
    broadened,
    third_octaves_of,
)
from stage2.style.layout import FIGURES, style_features
from stage2.style.measure import measure_style
from stage2.style.records import finished_records
from stage2.style.target import StylePrice, StyleTarget, segment_spread

RATE = 44_100
EVERY = frozenset(Aspect)


def noise(seed: int, seconds: float = 30.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return (0.1 * draw.standard_normal((2, round(seconds * RATE)))).astype(np.float32)


def target() -> StyleTarget:
    audio = noise(1)
    style = measure_style(audio, sample_rate=RATE)
    return StyleTarget.of(style, [reference_windows(audio, sample_rate=RATE)])


def test_broad_bands_are_octaves_and_two_of_them_in_the_bass() -> None:
    octaves = np.log2(np.divide(BROAD_EDGES_HZ[1:], BROAD_EDGES_HZ[:-1]))
    assert octaves[0] == pytest.approx(7.0 / 3.0, abs=0.05)
    assert octaves[1:-1] == pytest.approx(1.0, abs=0.05)
    flat = torch.zeros(29, dtype=torch.float64)
    assert broad_bands(flat)[1:7].tolist() == pytest.approx([10.0 * np.log10(3.0)] * 6)
    levels = (-5.0, -8.0, -9.0, -10.0, -12.0, -16.0, -20.0, -26.0)
    back = broad_bands(torch.tensor(third_octaves_of(levels), dtype=torch.float64))
    assert back.tolist() == pytest.approx(levels)


def test_notes_of_a_song_are_no_part_of_its_style() -> None:
    style = measure_style(noise(1), sample_rate=RATE)
    spectrum = np.asarray(style.spectrum_db)
    moved = spectrum.copy()
    both = 10.0 ** (spectrum[[7, 8]] / 10.0)
    moved[[7, 8]] = 10.0 * np.log10(both.sum() * np.array([0.98, 0.02]))  # another note
    other = replace(style, spectrum_db=tuple(moved.tolist()))
    before, after = (
        broadened(torch.from_numpy(style_features(s)))[Broad.SPECTRUM] for s in (style, other)
    )
    assert (after - before).abs().max() < 0.2


def test_a_short_reference_borrows_its_spread() -> None:
    usual = np.asarray(segment_spread())
    assert usual.shape == (BROAD_FIGURES,)
    one = reference_windows(noise(1, 5.0), sample_rate=RATE)
    assert np.asarray(segment_spread(one)) == pytest.approx(usual)
    steady = np.asarray(segment_spread(reference_windows(noise(1), sample_rate=RATE)))
    assert (steady[:HEARD_FIGURES] <= usual[:HEARD_FIGURES] + 1e-9).all()
    assert steady[Broad.SPECTRUM].mean() < usual[Broad.SPECTRUM].mean()


def test_nothing_is_gained_inside_the_spread() -> None:
    wanted = target()
    price = StylePrice.of(wanted, EVERY)
    figures = torch.from_numpy(wanted.figures())
    assert float(price(figures)) == pytest.approx(0.0, abs=1e-9)
    spread = torch.tensor(wanted.spread, dtype=torch.float64)
    near = figures.clone()
    near[Broad.WIDTH] += 0.9 * spread[Broad.WIDTH]
    assert float(price(near)) == pytest.approx(0.0, abs=1e-9)
    far = figures.clone()
    far[Broad.WIDTH] += 9.0
    assert float(price(far)) > 1.0


def test_a_lopsided_reference_is_followed_in_the_middle() -> None:
    wanted = target()
    leaning = replace(wanted, style=replace(wanted.style, imbalance_db=3.0))
    assert leaning.figures()[Broad.IMBALANCE] == 0.0


def test_aspects_that_are_not_followed_cost_nothing() -> None:
    wanted = target()
    figures = torch.from_numpy(wanted.figures())
    far = figures.clone()
    far[Broad.WIDTH] += 20.0
    far[Broad.RANGES] += 20.0
    assert float(StylePrice.of(wanted, EVERY - {Aspect.WIDTH})(far)) == pytest.approx(0.0, abs=1e-9)


def test_a_target_comes_back_from_its_record() -> None:
    assert StyleTarget.from_record(target().to_record()) == target()


def test_without_a_reference_the_target_is_how_records_sound() -> None:
    records, segments = finished_records()
    assert segments.shape == (1, REFERENCE_FIGURES) == (1, FIGURES - 2)
    assert len(records.spread) == BROAD_FIGURES
    figures = records.figures()
    assert np.all(np.diff(figures[Broad.SPECTRUM]) < 0.0)  # darker from band to band
    assert min(records.spread[Broad.SPECTRUM]) > max(segment_spread()[0:3])
