from collections.abc import Sequence

import numpy as np
import pytest
import torch

from pipeline.console.parameters import BUS, STRIP
from pipeline.roles import Subgroup
from pipeline.units import FloatArray
from stage2.console.band_model import BandModel
from stage2.console.search_space import StemGuard
from stage2.console.statistics import digest_stems
from stage2.controller.inputs import (
    REFERENCE_FIGURES,
    SHARES,
    STEM_FIGURES,
    StemFigures,
    encode_stems,
    reference_windows,
    role_index,
)
from stage2.style.layout import style_features
from stage2.style.measure import measure_style

torch.set_num_threads(1)

RATE = 16_000
NAMES = ("drums", "bass", "my own")
GAINS_DB = (0.0, -4.0, 2.0)
FIRST_WIDTH = 2 * 29


def stems(seconds: float = 4.0) -> list[FloatArray]:
    """Return bursts in mono, a low tone on the left, and wide noise."""
    draw = np.random.default_rng(2)
    time = np.arange(round(seconds * RATE)) / RATE
    bursts = 0.2 * draw.standard_normal(time.size) * np.exp(-(time % 0.5) / 0.05)
    tone = 0.2 * np.sin(2.0 * np.pi * 110.0 * time) + 0.001 * draw.standard_normal(time.size)
    noise = 0.05 * draw.standard_normal((2, time.size))
    made = [np.stack((bursts, bursts)), np.stack((tone, 0.3 * tone)), noise]
    return [x.astype(np.float32) for x in made]


def encoded(
    audio: Sequence[FloatArray], gains_db: Sequence[float] = GAINS_DB, **more: Sequence[object]
) -> StemFigures:
    told = {
        "subgroups": NAMES[: len(audio)],
        "guards": [StemGuard(max_spread=0.3, highest_high_pass_hz=100.0)] * len(audio),
        **more,
    }
    digest = digest_stems(audio, sample_rate=RATE)
    return encode_stems(digest, gains_db=gains_db, **told)  # type: ignore[arg-type]


def assert_same(a: StemFigures, b: StemFigures, *, within: float = 5e-3) -> None:
    for name in ("figures", "windows", "shares", "roles"):
        assert np.abs(getattr(a, name) - getattr(b, name)).max() < within, name


@pytest.mark.parametrize("gain_db", [-20.0, 12.0])
def test_a_level_that_the_fader_makes_up_for_is_not_heard(gain_db: float) -> None:
    moved = stems()
    moved[1] = moved[1] * np.float32(10.0 ** (gain_db / 20.0))
    assert_same(encoded(moved, (GAINS_DB[0], GAINS_DB[1] - gain_db, GAINS_DB[2])), encoded(stems()))


def test_the_level_of_all_together_is_not_heard() -> None:
    quiet = [x * np.float32(0.1) for x in stems()]
    assert_same(encoded(quiet), encoded(stems()))
    assert_same(encoded(stems(), [g + 12.0 for g in GAINS_DB]), encoded(stems()))


def test_halves_of_a_stem_look_like_it_with_half_its_share() -> None:
    audio = stems()
    half = np.float32(0.5) * audio[0]
    whole = encoded(audio)
    split = encoded(
        [half, half, *audio[1:]],
        (GAINS_DB[0], *GAINS_DB),
        subgroups=("drums", *NAMES),
    )
    for index in (0, 1):
        assert np.abs(split.figures[index] - whole.figures[0]).max() < 1e-4
        assert np.abs(split.shares[index] - 0.5 * whole.shares[0]).max() < 1e-5
    assert np.abs(split.figures[2:] - whole.figures[1:]).max() < 1e-4


def test_shares_are_of_the_mix_by_range() -> None:
    shares = encoded(stems()).shares
    assert shares.shape == (3, SHARES)
    assert shares.sum(axis=0) == pytest.approx(np.ones(SHARES), abs=1e-5)
    assert shares[1, 1] > 0.9  # the tone has what is under 200 Hz
    assert shares[1, 3] < 0.01
    louder = encoded(stems(), (GAINS_DB[0], GAINS_DB[1], GAINS_DB[2] + 10.0)).shares
    assert (louder[2] > shares[2]).all()


def test_figures_tell_width_side_and_punch() -> None:
    figures = encoded(stems()).figures
    assert figures.shape == (3, STEM_FIGURES)
    width = figures[:, FIRST_WIDTH]
    assert width[0] == pytest.approx(-2.0)  # mono: the floor of -40 dB
    assert width[2] == pytest.approx(0.0, abs=0.05)  # as much side as middle
    leaning = figures[:, FIRST_WIDTH + SHARES]
    assert leaning[1] < -0.5  # left
    assert np.abs(leaning[[0, 2]]).max() < 0.05
    punch = figures[:, -4]
    assert punch[0] > punch[2] + 0.3


def test_a_role_is_that_of_the_subgroup_and_guardrails_are_told() -> None:
    guards = (
        StemGuard(True, 0.0, 10.0),
        StemGuard(False, 0.1, 100.0),
        StemGuard(False, 0.3, 100.0),
    )
    told = encoded(stems(), guards=guards)
    assert told.roles.tolist() == [role_index("drums"), role_index("bass"), 0]
    assert len({role_index(name) for name in Subgroup}) == len(Subgroup)
    assert told.figures[:, -3].tolist() == [1.0, 0.0, 0.0]
    assert told.figures[:, -2].tolist() == pytest.approx([0.0, 0.1, 0.3])
    assert told.figures[:, -1].tolist() == pytest.approx([np.log(0.1), 0.0, 0.0])


def test_windows_tell_when_a_stem_plays() -> None:
    audio = stems(14.5)
    audio[1][:, audio[1].shape[1] // 2 :] = 0.0
    windows = encoded(audio).windows
    assert windows.shape == (3, 2, SHARES)
    assert windows[1, 0, 0] == pytest.approx(10.0 * np.log10(2.0) / 20.0, abs=0.02)
    assert windows[1, 1, 0] < -0.5
    assert np.abs(windows[[0, 2], :, 0]).max() < 0.05


@pytest.mark.parametrize("kind", ["nothing", "a click", "one sample", "mono"])
def test_figures_are_finite_whatever_plays(kind: str) -> None:
    audio = np.zeros((2, 2 * RATE), dtype=np.float32)
    if kind == "a click":
        audio[0, RATE] = 1.0
    elif kind == "one sample":
        audio[:, 0] = 1e-9
    elif kind == "mono":
        audio += stems(2.0)[0]
    for others in ([], stems(2.0)[1:]):
        told = encoded([audio, *others], GAINS_DB[: 1 + len(others)])
        for name in ("figures", "windows", "shares"):
            assert np.isfinite(getattr(told, name)).all(), name
            assert np.abs(getattr(told, name)).max() < 100.0, name


def test_a_reference_is_heard_as_the_mix_that_it_is() -> None:
    audio = stems(8.0)
    neutral = torch.tensor([[p.default for p in STRIP]] * 3, dtype=torch.float64)
    flat = torch.tensor([p.default for p in BUS], dtype=torch.float64)
    mixed = BandModel(digest_stems(audio, sample_rate=RATE))(neutral, flat)
    modelled = mixed.features[:REFERENCE_FIGURES].numpy()
    total = np.sum(audio, axis=0)
    measured = style_features(measure_style(total, sample_rate=RATE))[:REFERENCE_FIGURES]
    windows = reference_windows(total, sample_rate=RATE)
    assert measured.shape == modelled.shape == (REFERENCE_FIGURES,)
    assert windows.shape == (1, REFERENCE_FIGURES)
    heard = measured > measured[:29].max() - 40.0  # what is under 8 kHz and over the floor
    apart = np.abs(modelled - measured) * heard
    assert apart[:-33].max() < 0.1  # dB
    assert apart[-33:-29].max() < 2.0  # punch is modelled
    assert apart[-29:].max() < 0.5  # typical moments without what stems have in common
    other = np.abs(windows[0] - measured) * heard
    assert other[:-29].max() < 1.0
    assert other[-29:].max() < 1.5  # 7 s of 8


def test_windows_of_a_reference_leave_out_its_silence() -> None:
    audio = np.concatenate(stems(7.0)[:1] * 3, axis=1)
    audio[:, 7 * RATE : 14 * RATE] = 0.0
    assert reference_windows(audio, sample_rate=RATE).shape[0] == 2
    assert np.isfinite(reference_windows(0.0 * audio, sample_rate=RATE)).all()
    mono = reference_windows(audio[:1], sample_rate=RATE)
    assert mono == pytest.approx(reference_windows(np.repeat(audio[:1], 2, 0), sample_rate=RATE))
    assert reference_windows(audio[:, :RATE], sample_rate=RATE).shape[0] == 1
