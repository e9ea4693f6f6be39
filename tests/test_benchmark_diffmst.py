"""The peer that follows Diff-MST's recipe: its console, its training, its mixes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

RATE = 44_100


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[Any, Any, Any]]:
    """Import the recipe, its console and its losses: benchmarks are scripts, not a package."""
    folder = Path(__file__).parent / "benchmarks"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(folder)])
        names = ("diffmst_recipe", "diffmst_console", "diffmst_losses")
        recipe, console, losses = (importlib.import_module(name) for name in names)
        yield recipe, console, losses
    torch.set_num_threads(threads)


def _stem(seed: int, seconds: float, *, rate: int = RATE) -> np.ndarray:
    """Return a struck tone with noise, a little wider than mono."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2.0 * np.pi * 60.0 * 2.0 ** (seed % 7) * time)
    struck = np.exp(-(time % 0.5) / 0.1) * (tone + 0.3 * rng.standard_normal(time.size))
    side = 0.02 * rng.standard_normal(time.size)
    return (0.1 * np.stack([struck + side, struck - side])).astype(np.float32)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("songs")
    for song in range(2):
        (root / f"song {song}").mkdir()
        for stem in range(3):
            np.save(root / f"song {song}" / f"{stem}.npy", _stem(3 * song + stem, 7.0))
    return root


@pytest.fixture(scope="module")
def trained(modules: Any, songs: Path) -> tuple[Path, list[float]]:
    """Return weights after three steps, of which the last is on audio features, and the losses."""
    out = songs.parent / "weights.safetensors"
    return out, modules[0].train(songs, out, minutes=1.0, seed=4, steps=3, batch=1)


def test_training_gives_finite_weights_and_repeats_itself(modules, songs, trained, tmp_path):
    out, losses = trained
    again = modules[0].train(
        songs, tmp_path / "again.safetensors", minutes=1.0, seed=4, steps=3, batch=1
    )
    assert losses == again
    assert np.isfinite(losses).all()
    once, twice = load_file(out), load_file(tmp_path / "again.safetensors")
    assert once.keys() == twice.keys()
    for name, weight in once.items():
        assert torch.isfinite(weight).all(), name
        assert torch.equal(weight, twice[name]), name


def test_training_follows_the_clock(modules, songs, tmp_path):
    losses = modules[0].train(songs, tmp_path / "w.safetensors", minutes=0.005, batch=1)
    assert 1 <= len(losses) <= 20


@pytest.mark.parametrize("count", [1, 2, 17])
def test_any_number_of_stems_mixes(modules, trained, count):
    stems = [_stem(seed, 1.5) for seed in range(count)]
    reference = _stem(40, 3.0)
    once, again = (
        modules[0].mix_with_recipe(trained[0], stems, reference, sample_rate=RATE) for _ in range(2)
    )
    assert once.shape == stems[0].shape
    assert once.dtype == np.float32
    assert np.isfinite(once).all()
    assert np.abs(once).max() > 1e-4
    np.testing.assert_array_equal(once, again)


def test_the_order_of_stems_does_not_matter(modules, trained):
    stems = [_stem(seed, 1.5) for seed in range(3)]
    mixes = [
        modules[0].mix_with_recipe(trained[0], s, _stem(40, 3.0), sample_rate=RATE)
        for s in (stems, stems[::-1])
    ]
    np.testing.assert_allclose(mixes[0], mixes[1], atol=1e-4 * np.abs(mixes[0]).max())


@pytest.mark.parametrize("rate", [48_000, 22_050])
def test_short_and_silent_material_at_other_rates_gives_a_mix(modules, trained, rate):
    stems = [_stem(1, 1.5, rate=rate), np.zeros((2, round(1.5 * rate)), np.float32)]
    mix = modules[0].mix_with_recipe(trained[0], stems, _stem(2, 1.0, rate=rate), sample_rate=rate)
    assert mix.shape == stems[0].shape
    assert np.isfinite(mix).all()


def test_the_channels_of_a_stem_may_be_tracks_of_their_own(modules, trained):
    wide, reference = _stem(1, 2.0), _stem(2, 3.0)
    flat = np.repeat(wide.mean(0, keepdims=True), 2, axis=0)
    (wide_split, wide_mid), (flat_split, flat_mid) = (
        [
            modules[0].mix_with_recipe(
                trained[0], [stem], reference, sample_rate=RATE, split_stereo=split
            )
            for split in (True, False)
        ]
        for stem in (wide, flat)
    )
    np.testing.assert_array_equal(flat_split, flat_mid)
    np.testing.assert_array_equal(wide_mid, flat_mid)
    assert not np.allclose(wide_split, wide_mid)


def test_settings_span_their_ranges(modules):
    console = modules[1]
    for setting in {*console.TRACK, *console.MASTER}:
        ends = setting.scaled(torch.tensor([0.0, 1.0], dtype=torch.float64))
        assert ends.tolist() == pytest.approx([setting.low, setting.high])


def test_neutral_settings_leave_a_centred_track_as_it_is(modules):
    console = modules[1]
    u = torch.full((1, len(console.TRACK)), 0.5)
    for i, setting in enumerate(console.TRACK):
        if setting.name in ("ratio", "makeup_db"):
            u[0, i] = 0.0
    x = torch.from_numpy(_stem(1, 1.0)[:1])
    y = console.strip(x, u, sample_rate=RATE)
    np.testing.assert_allclose(y[0].numpy(), x.expand(2, -1).numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["stft_loss", "feature_loss"])
def test_losses_are_zero_for_equal_mixes_and_have_gradients_in_silence(modules, name):
    loss = getattr(modules[2], name)
    wanted = torch.from_numpy(_stem(3, 1.0))[None]
    assert float(loss(wanted, wanted)) == pytest.approx(0.0, abs=1e-6)
    silence = torch.zeros_like(wanted).requires_grad_()
    far = loss(silence, wanted)
    far.backward()
    assert float(far.detach()) > 0.1
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()


def test_songs_that_are_too_short_are_an_error_that_says_so(modules, tmp_path):
    (tmp_path / "song").mkdir()
    np.save(tmp_path / "song" / "a.npy", np.zeros((2, RATE), np.float32))
    with pytest.raises(ValueError, match=r"no song of 6 s"):
        modules[0].open_songs(tmp_path)
