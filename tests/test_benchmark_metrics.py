"""The public figures of mixes and the benchmark of known settings."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pandas as pd
import pyloudnorm
import pytest
import scipy.linalg
import soxr
import torch

RATE = 44_100


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[Any, Any]]:
    """Import metrics and benchmark: benchmarks are scripts, not a package."""
    folder = Path(__file__).parent / "benchmarks"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(folder)])
        yield importlib.import_module("public_metrics"), importlib.import_module("synthetic")
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def metrics(modules: tuple[Any, Any]) -> Any:
    return modules[0]


@pytest.fixture(scope="module")
def synthetic(modules: tuple[Any, Any]) -> Any:
    return modules[1]


def noise(seconds: float = 3.0, *, seed: int = 0, level: float = 0.1) -> np.ndarray:
    """Return stereo noise that falls towards high frequencies, its channels half alike."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((3, round(seconds * RATE)))
    raw = np.asarray([np.convolve(row, np.exp(-np.arange(64) / 8.0), "same") for row in raw])
    return np.asarray(level * (raw[:2] + raw[2]) / raw.std(), dtype=np.float32)


def tone(frequency_hz: float, *, left: float = 0.5, right: float = 0.5) -> np.ndarray:
    wave = np.sin(2.0 * np.pi * frequency_hz * np.arange(2 * RATE) / RATE)
    return np.stack([left * wave, right * wave]).astype(np.float32)


def error_of(metrics: Any, mix: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    a, b = (metrics.measure(x, sample_rate=RATE) for x in (mix, reference))
    return dict(metrics.errors(a, b))


def test_levels_of_a_tone_are_those_of_a_sine(metrics: Any) -> None:
    found = metrics.measure(tone(1000.0, left=0.5, right=0.25), sample_rate=RATE)
    np.testing.assert_allclose(found.rms, np.array([0.5, 0.25]) / math.sqrt(2.0), rtol=1e-4)
    np.testing.assert_allclose(found.crest_db, 3.0103, atol=1e-2)
    assert found.imbalance == pytest.approx((0.25**2 - 0.5**2) / (0.25**2 + 0.5**2), abs=1e-4)
    assert found.width == pytest.approx((0.25 / 0.75) ** 2, rel=1e-4)
    assert found.width_db == pytest.approx(20.0 * math.log10(1.0 / 3.0), abs=1e-3)


@pytest.mark.parametrize(
    ("left", "right", "width_db", "imbalance"),
    [(0.5, 0.5, -80.0, 0.0), (0.5, 0.0, 0.0, -1.0), (0.0, 0.5, 0.0, 1.0)],
)
def test_width_and_imbalance_at_their_ends(
    metrics: Any, left: float, right: float, width_db: float, imbalance: float
) -> None:
    found = metrics.measure(tone(440.0, left=left, right=right), sample_rate=RATE)
    assert found.width_db == pytest.approx(width_db, abs=1e-4)
    assert found.imbalance == pytest.approx(imbalance, abs=1e-6)


def test_bark_spectrum_of_gain_and_of_a_silent_side(metrics: Any) -> None:
    quiet, loud = noise(), 4.0 * noise()
    a, b = (metrics.measure(x, sample_rate=RATE) for x in (quiet, loud))
    np.testing.assert_allclose(b.bark - a.bark, math.log(4.0), atol=1e-4)
    mono = metrics.measure(quiet[:1], sample_rate=RATE)
    np.testing.assert_allclose(mono.bark[1], math.log(1e-8))


def test_bark_bands_are_a_partition_on_the_scale(metrics: Any) -> None:
    """A tone lands in its critical band: 510 Hz is 5 Bark, 1,080 is 9, 3,150 is 16 (Zwicker)."""
    first, last = 0.3, 24.6  # 20 Hz and 20 kHz on the corrected scale
    for frequency_hz, bark in ((510.0, 5.0), (1080.0, 9.0), (3150.0, 16.0)):
        found = metrics.measure(tone(frequency_hz), sample_rate=RATE).bark[0]
        band = (bark - first) / (last - first) * 25.0 - 1.0
        assert abs(int(found.argmax()) - band) <= 1.0


def test_bark_magnitudes_are_torch_stft_means(metrics: Any) -> None:
    """Independent of our framing: the sum over all bands of a tone's spectrum, by torch."""
    audio = noise(4.0)
    mid = torch.from_numpy(audio[0] + audio[1])
    window = torch.ones(32_768)
    spectrum = torch.stft(mid, 32_768, 8_192, window=window, return_complex=True).abs().mean(-1)
    bins = torch.arange(len(spectrum)) * RATE / 32_768
    found = np.exp(metrics.measure(audio, sample_rate=RATE).bark[0])
    # triangles that overlap by half sum to 1 between the outermost centres
    whole = float(spectrum[(bins > 60.0) & (bins < 16_000.0)].sum())
    assert found.sum() == pytest.approx(whole, rel=0.03)


def test_af_is_the_weighted_sum_of_mean_squares(metrics: Any) -> None:
    a, b = noise(seed=1), noise(seed=2, level=0.05) * np.array([[1.0], [0.5]], dtype=np.float32)
    mix, reference = (metrics.measure(x, sample_rate=RATE) for x in (a, b))
    wanted = (
        0.1 * np.mean((mix.rms - reference.rms) ** 2)
        + 0.001 * np.mean((mix.crest_db - reference.crest_db) ** 2)
        + (mix.width - reference.width) ** 2
        + (mix.imbalance - reference.imbalance) ** 2
        + 0.1 * np.mean((mix.bark - reference.bark) ** 2)
    )
    assert metrics.errors(mix, reference)["af"] == pytest.approx(wanted)


def test_a_mono_mix_scores_tens_through_the_floor_of_its_side(metrics: Any) -> None:
    """What is known of the published loss: a mono sum is 30 or so off a stereo mix."""
    stereo = noise()
    assert 15.0 < error_of(metrics, stereo.mean(axis=0, keepdims=True), stereo)["af"] < 60.0


def test_loudness_is_that_of_pyloudnorm(metrics: Any) -> None:
    audio = noise()
    meter = pyloudnorm.Meter(RATE, filter_class="DeMan")
    wanted = meter.integrated_loudness(audio.T.astype(np.float64))
    assert metrics.measure(audio, sample_rate=RATE).loudness_lufs == pytest.approx(wanted, abs=0.02)


def test_centroid_is_that_of_librosa(metrics: Any) -> None:
    audio = noise()
    spectrum = np.abs(librosa.stft(audio.mean(axis=0), n_fft=2048, hop_length=1024, center=False))
    bins = librosa.fft_frequencies(sr=RATE, n_fft=2048)
    common = (bins >= 20.0) & (bins <= 16_000.0)
    wanted = librosa.feature.spectral_centroid(S=spectrum * common[:, None], sr=RATE)
    found = metrics.measure(audio, sample_rate=RATE).centroid_hz
    assert found == pytest.approx(float(wanted.mean()), rel=1e-3)
    one, two = (metrics.measure(tone(f), sample_rate=RATE) for f in (1000.0, 2000.0))
    assert metrics.errors(two, one)["centroid_oct"] == pytest.approx(1.0, abs=0.01)


def test_mfcc_are_those_of_librosa(metrics: Any) -> None:
    audio = noise()
    wanted = librosa.feature.mfcc(
        S=librosa.power_to_db(
            librosa.feature.melspectrogram(
                y=audio.mean(axis=0), sr=RATE, hop_length=1024, center=False, fmax=16_000.0
            )
            * (2.0 / np.hanning(2049)[:-1].sum()) ** 2,
            amin=1e-10,
            top_db=None,
        ),
        n_mfcc=20,
    )
    found = metrics.measure(audio, sample_rate=RATE)
    np.testing.assert_allclose(found.mfcc_mean, wanted.mean(axis=1), atol=0.02)
    np.testing.assert_allclose(found.mfcc_covariance, np.cov(wanted), atol=0.05)


def test_frechet_is_that_of_the_matrix_root(metrics: Any) -> None:
    a, b = noise(seed=1), np.diff(noise(seed=2), prepend=0.0).astype(np.float32)
    one, two = (metrics.measure(x, sample_rate=RATE) for x in (a, b))
    first, second = one.mfcc_covariance, two.mfcc_covariance
    root = scipy.linalg.sqrtm(first @ second).real
    squared = np.sum((one.mfcc_mean - two.mfcc_mean) ** 2)
    squared += np.trace(first + second - 2.0 * root)
    assert metrics.errors(one, two)["mfcc_frechet"] == pytest.approx(math.sqrt(squared), rel=1e-4)


def test_a_gain_is_what_the_errors_in_db_show(metrics: Any) -> None:
    found = error_of(metrics, 2.0 * noise(), noise())
    for name in ("rms_db", "loudness_lu", "mean_spectra_db"):
        assert found[name] == pytest.approx(6.0206, abs=0.05), name
    for name in ("crest_db", "width", "width_db", "imbalance", "centroid_oct"):
        assert found[name] == pytest.approx(0.0, abs=1e-4), name


def test_every_error_of_a_copy_is_zero_and_every_unit_is_told(metrics: Any) -> None:
    audio = noise()
    found = error_of(metrics, audio, audio.copy())
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-3)
    assert set(metrics.UNITS) == {*found, "multi_scale"}


def test_only_the_aligned_distance_hears_time(metrics: Any) -> None:
    rng = np.random.default_rng(0)
    audio = noise() * np.repeat(rng.uniform(0.1, 1.0, 30), RATE // 10).astype(np.float32)
    backwards = np.ascontiguousarray(audio[:, ::-1])
    found = error_of(metrics, backwards, audio)
    assert found["af"] < 1e-3
    assert found["mean_spectra_db"] < 0.3
    assert metrics.multi_scale_spectral_distance(backwards, audio, sample_rate=RATE) > 0.5


def test_aligned_distance_of_a_gain_and_of_a_copy(metrics: Any) -> None:
    audio = noise()
    assert metrics.multi_scale_spectral_distance(audio, audio, sample_rate=RATE) == 0.0
    half = metrics.multi_scale_spectral_distance(0.5 * audio, audio, sample_rate=RATE)
    assert half == pytest.approx(math.log(2.0), abs=0.02)
    with pytest.raises(ValueError, match="same passage"):
        metrics.multi_scale_spectral_distance(audio[:, 1:], audio, sample_rate=RATE)


def test_another_sample_rate_measures_the_same(metrics: Any) -> None:
    audio = noise()
    other = soxr.resample(audio.T, RATE, 48_000, quality="HQ").T
    a = metrics.measure(audio, sample_rate=RATE)
    b = metrics.measure(other, sample_rate=48_000)
    found = metrics.errors(a, b)
    assert found["rms_db"] < 0.02
    assert found["mean_spectra_db"] < 0.1
    assert found["centroid_hz"] < 10.0
    assert found["loudness_lu"] < 0.05  # what the resampler takes off above 20 kHz
    assert found["mfcc_frechet"] < 2.0


@pytest.mark.parametrize("frames", [1, 100, 5000, 20_000])
def test_silence_and_shreds_are_measured(metrics: Any, frames: int) -> None:
    found = metrics.measure(np.zeros((2, frames), dtype=np.float32), sample_rate=RATE)
    assert found.loudness_lufs == -70.0
    assert math.isnan(found.centroid_hz)
    short = metrics.measure(noise()[:, :frames], sample_rate=RATE)
    assert np.isfinite(short.bark).all()
    assert np.isfinite(short.mfcc_covariance).all()


def test_what_is_no_stereo_is_refused(metrics: Any) -> None:
    with pytest.raises(ValueError, match="1 or 2"):
        metrics.measure(np.zeros((3, 100), dtype=np.float32), sample_rate=RATE)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs") / "song"
    folder.mkdir()
    for index, name in enumerate(("bass", "drums", "guitars")):
        beat = np.repeat(np.tile([1.0, 0.2, 0.6, 0.1], 6), RATE // 4).astype(np.float32)
        np.save(folder / f"{name}.npy", noise(6.0, seed=index) * beat)
    return folder


def test_true_settings_make_the_truth(synthetic: Any, song: Path) -> None:
    example = synthetic.make_example(song, seed=1, seconds=60.0)
    assert set(example.stems) == {"bass", "drums", "guitars"}
    assert example.reference.shape == example.truth.shape == (2, 3 * RATE)
    aligned = synthetic.multi_scale_spectral_distance
    again = synthetic.delivered(example.stems, example.strips, example.bus, example.reference)
    start = synthetic.neutral(example.stems, example.reference, RATE, example.start_gains_db)
    near, far = (aligned(mix, example.truth, sample_rate=RATE) for mix in (again, start))
    assert near < 0.5 * far
    delivered = synthetic.make_example(song, seed=1, seconds=60.0, deliver_truth=True)
    assert aligned(again, delivered.truth, sample_rate=RATE) == 0.0


def test_halves_can_be_every_other_piece(synthetic: Any, song: Path) -> None:
    example = synthetic.make_example(song, seed=1, seconds=60.0, pieces=6)
    assert example.reference.shape == example.truth.shape == (2, 3 * RATE)
    bass = np.load(song / "bass.npy")
    for turn, second in enumerate((1, 3, 5)):  # the joins are faded
        inner = slice(turn * RATE + 500, (turn + 1) * RATE - 500)
        there = slice(second * RATE + 500, (second + 1) * RATE - 500)
        np.testing.assert_array_equal(example.stems["bass"][:, inner], bass[:, there])


def test_drawn_settings_follow_the_seed_and_the_song(synthetic: Any, song: Path) -> None:
    one, same, other = (synthetic.make_example(song, seed=seed, seconds=2.0) for seed in (1, 1, 2))
    assert one.strips == same.strips
    np.testing.assert_array_equal(one.truth, same.truth)
    assert one.strips != other.strips


def test_starts_are_judged_and_shares_counted(synthetic: Any, song: Path) -> None:
    example = synthetic.make_example(song, seed=1, seconds=4.0)
    table = pd.DataFrame(synthetic.judge(example, synthetic.STARTS))
    assert list(table.method) == ["reference", "true settings", "plain", "neutral"]
    assert set(table.columns) >= {"song", "seconds", "af", "multi_scale"}
    mean = pd.DataFrame({"af": [4.0, 2.0, 0.5]}, index=["plain", "neutral", "ours"])
    assert synthetic.share_closed(mean, "plain").loc["ours", "af"] == pytest.approx(0.875)
    assert synthetic.share_closed(mean, "neutral").loc["ours", "af"] == pytest.approx(0.75)
    loudness = synthetic.neutral(example.stems, example.reference, RATE, example.start_gains_db)
    found = error_of(sys.modules["public_metrics"], loudness, example.reference)
    assert found["loudness_lu"] == pytest.approx(0.0, abs=0.02)
