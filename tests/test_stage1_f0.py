"""pYIN against librosa, PESTO against its own package, the ensemble against known pitches."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile as sf
import torch

from stage1 import f0 as f0_module
from stage1.f0 import estimate_f0, published_f0
from stage1.harmonicity import SPECTRUM_LENGTH, harmonic_strength
from stage1.pesto_encoder import SAMPLE_RATE, _import_pesto, load_pesto
from stage1.pyin import pyin

AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"
C1, C8 = 32.70319566257483, 4186.009044809578
RATE = 22050


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """As the workers run: torch's threads spin for each other where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def harmonic(
    f0_hz: float | np.ndarray, *, seconds: float = 3.0, rate: int = RATE, partials: int = 12,
    tilt: float = 1.0, first: float = 1.0,
) -> np.ndarray:  # fmt: skip
    """A harmonic tone; partial k has amplitude ``1 / k ** tilt``, the first times ``first``."""
    n = round(seconds * rate)
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0_hz, n)) / rate
    top = int(min(partials, 0.45 * rate / np.max(f0_hz)))
    tone = sum(
        (first if k == 1 else 1.0) * np.sin(k * phase + k) / k**tilt for k in range(1, top + 1)
    )
    return np.asarray(0.1 * tone, np.float32)


def hi_hats(seconds: float, rate: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    n = round(seconds * rate)
    sections = scipy.signal.butter(4, 6000, "highpass", fs=rate, output="sos")
    decay = np.exp(-(np.arange(n) % (rate // 4)) / (0.03 * rate))
    return (0.2 * scipy.signal.sosfilt(sections, rng.standard_normal(n)) * decay).astype(np.float32)


def snares(seconds: float, rate: int) -> np.ndarray:
    rng = np.random.default_rng(6)
    n = round(seconds * rate)
    decay = np.exp(-(np.arange(n) % (rate // 2)) / (0.05 * rate))
    return (0.2 * rng.standard_normal(n) * decay).astype(np.float32)


def glide() -> np.ndarray:
    time = np.arange(2 * RATE) / RATE
    return harmonic(220 * 2 ** np.sin(2 * np.pi * 0.7 * time), seconds=2.0)


SIGNALS = {
    "glide": glide(),
    "noise": np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) * 0.1,
    "starts and stops": np.concatenate(
        [np.zeros(RATE // 2), harmonic(110, seconds=1.0), np.zeros(RATE // 2)]
    ).astype(np.float32),
    "hats": hi_hats(2.0, RATE),
}


def assert_equal_to_librosa(signal: np.ndarray, rate: int) -> None:
    ours = pyin(signal[None], sample_rate=rate, fmin_hz=C1, fmax_hz=C8, center=True)
    f0_hz, voiced, probability = librosa.pyin(
        signal, sr=rate, fmin=C1, fmax=C8, frame_length=2048, fill_na=None
    )
    assert np.array_equal(ours.f0_hz[0], f0_hz)
    assert np.array_equal(ours.voiced[0], voiced)
    # Sums of 100 thresholds in another order.
    assert ours.probability[0] == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SIGNALS)
def test_pyin_equals_librosa_on_every_frame(name: str, dtype: type) -> None:
    assert_equal_to_librosa(SIGNALS[name].astype(dtype), RATE)


@pytest.mark.parametrize(
    "track",
    ["delta_rock/01_drum_set", "delta_rock/02_electric_bass", "delta_punk/04_male_singer",
     "delta_beatles/05_acoustic_guitar", "caesium/14_MINILOGUE_SYNTH"],
)  # fmt: skip
def test_pyin_equals_librosa_on_recordings(track: str) -> None:
    path = AUDIO / "sessions" / f"{track}.flac"
    if not path.is_file():
        pytest.skip(f"no recording at {path}")
    audio, rate = sf.read(path, dtype="float32", always_2d=True, frames=48000 * 6)
    mono = librosa.resample(audio.mean(axis=1), orig_sr=rate, target_sr=RATE)
    assert_equal_to_librosa(mono[-3 * RATE :], RATE)


def test_pyin_decodes_each_window_by_itself() -> None:
    windows = np.stack([SIGNALS["glide"][:8000], SIGNALS["noise"][:8000]])
    both = pyin(windows, sample_rate=RATE, fmin_hz=C1, fmax_hz=C8)
    for row, window in enumerate(windows):
        f0_hz, voiced, _ = librosa.pyin(
            window, sr=RATE, fmin=C1, fmax=C8, frame_length=2048, fill_na=None, center=False
        )
        assert np.array_equal(both.f0_hz[row], f0_hz)
        assert np.array_equal(both.voiced[row], voiced)


def test_pyin_refuses_a_frame_shorter_than_a_period() -> None:
    with pytest.raises(ValueError, match=r"10\.0 Hz"):
        pyin(np.zeros((1, 4096)), sample_rate=RATE, fmin_hz=10.0, fmax_hz=C8)


def test_pesto_equals_its_own_package() -> None:
    signal = librosa.resample(glide(), orig_sr=RATE, target_sr=SAMPLE_RATE)
    pesto = _import_pesto()
    _, expected_hz, expected_confidence, _ = pesto.predict(
        torch.from_numpy(signal), SAMPLE_RATE, step_size=10.0, convert_to_freq=True
    )
    model = load_pesto()
    frames, confidence = model.frames(signal, np.arange(expected_hz.numel()) * 160)
    cents = 1200 * np.log2(model.pitch(frames) / expected_hz.numpy())
    # The same numbers in float32, summed in another order.
    assert np.abs(cents).max() < 0.1
    assert confidence == pytest.approx(expected_confidence.numpy(), abs=1e-4)


def test_pesto_loads_without_torchaudio_and_leaves_no_stand_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] in ("pesto", "torchaudio"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchaudio", None)  # its import now fails
    assert _import_pesto().__name__ == "pesto"
    assert sys.modules.get("torchaudio") is None


@pytest.mark.parametrize("f0_hz", [31.0, 41.2, 82.4, 110.0, 220.0, 523.0, 1200.0])
@pytest.mark.parametrize("tilt", [0.5, 1.5])
def test_the_pitch_of_a_harmonic_tone(f0_hz: float, tilt: float) -> None:
    estimate = estimate_f0(harmonic(f0_hz, tilt=tilt)[None], sample_rate=RATE)
    # A quarter tone: pYIN's bins are 10 cents, PESTO's 33.
    assert abs(1200 * math.log2(estimate.f0_hz / f0_hz)) < 50
    assert estimate.confidence > 0.5
    assert estimate.f0_low_hz <= estimate.f0_hz <= estimate.f0_high_hz


def test_a_bass_with_a_weak_fundamental_is_not_read_an_octave_high() -> None:
    bass = harmonic(55.0, first=0.1, tilt=0.8)
    assert abs(1200 * math.log2(estimate_f0(bass[None], sample_rate=RATE).f0_hz / 55.0)) < 50


@pytest.mark.parametrize("ratio", [0.25, 1 / 3, 0.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("f0_hz", [55.0, 196.0, 440.0])
def test_harmonic_strength_prefers_the_pitch_to_its_multiples(f0_hz: float, ratio: float) -> None:
    window = harmonic(f0_hz, seconds=1.0)[None, :SPECTRUM_LENGTH]
    right, wrong = harmonic_strength(window, np.array([[f0_hz, ratio * f0_hz]]), sample_rate=RATE)[
        0
    ]
    assert right > 0.5
    assert right > wrong + 0.2


@pytest.mark.parametrize("rate", [22050, 48000])
@pytest.mark.parametrize("make", [hi_hats, snares])
def test_percussion_is_unpitched(make, rate: int) -> None:
    estimate = estimate_f0(make(4.0, rate)[None], sample_rate=rate)
    assert math.isnan(estimate.f0_hz)
    assert estimate.confidence < 0.5


@pytest.mark.parametrize("frames", [0, 1, 500, 60000])
def test_silence_is_unpitched(frames: int) -> None:
    estimate = estimate_f0(np.zeros((2, frames), np.float32), sample_rate=48000)
    assert math.isnan(estimate.f0_hz)
    assert math.isnan(estimate.published_hz)
    assert estimate.confidence == 0.0


def test_opposite_channels_keep_their_pitch() -> None:
    tone = harmonic(196.0)
    estimate = estimate_f0(np.stack([tone, -tone]), sample_rate=RATE)
    assert abs(1200 * math.log2(estimate.f0_hz / 196.0)) < 50


def test_a_short_note_has_a_pitch() -> None:
    estimate = estimate_f0(harmonic(330.0, seconds=0.15)[None], sample_rate=RATE)
    assert abs(1200 * math.log2(estimate.pyin_hz / 330.0)) < 50


def test_windows_are_spread_over_the_active_time() -> None:
    active = np.zeros(6000, np.bool_)
    active[1000:5000] = True
    starts = f0_module._window_starts(active, 600.0, 240)
    assert starts.size == 240
    assert 99.5 <= starts.min() <= 100.5
    assert 499.0 <= starts.max() <= 500.0
    assert np.diff(starts).max() <= 2.0 * 400 / 240


def test_the_same_input_gives_the_same_estimate_in_any_thread() -> None:
    audio = np.stack([glide(), SIGNALS["noise"] * 0.1])
    alone = estimate_f0(audio, sample_rate=RATE)
    with ThreadPoolExecutor(2) as pool:
        again = pool.map(lambda _: estimate_f0(audio, sample_rate=RATE), range(4))
        assert all(repr(estimate) == repr(alone) for estimate in again)


def test_published_f0_is_the_larger_of_the_plain_means() -> None:
    signal = np.concatenate([harmonic(110, seconds=1.5), SIGNALS["noise"][:RATE]])
    f0_hz, _, _ = librosa.pyin(signal, sr=RATE, fmin=C1, fmax=C8)
    lower = librosa.resample(signal, orig_sr=RATE, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    _, pesto_hz, _, _ = _import_pesto().predict(
        torch.from_numpy(lower), SAMPLE_RATE, step_size=10.0, convert_to_freq=True
    )
    expected = max(np.nanmean(f0_hz), float(pesto_hz.mean()))
    full = published_f0(signal[None], sample_rate=RATE, mode="full")
    # 1 %: PESTO's frames of noise follow the last bits of the resampler.
    assert full == pytest.approx(expected, rel=0.01)


def test_published_f0_on_windows_is_near_that_of_all_frames() -> None:
    tone = glide()[None]
    windows = published_f0(tone, sample_rate=RATE)
    assert windows == pytest.approx(published_f0(tone, sample_rate=RATE, mode="full"), rel=0.05)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'some'"):
        estimate_f0(np.zeros((1, 100), np.float32), sample_rate=RATE, mode="some")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("track", "low_hz", "high_hz"),
    [
        ("delta_rock/02_electric_bass", 41, 130),
        ("delta_punk/02_electric_bass", 41, 130),
        ("delta_beatles/05_acoustic_guitar", 82, 400),
        ("delta_country1/05_male_singer", 98, 350),
        ("delta_rock/01_drum_set", None, None),
        ("sodium/08_FAST_HATS", None, None),
    ],
)
def test_recordings(track: str, low_hz: float | None, high_hz: float | None) -> None:
    path = AUDIO / "sessions" / f"{track}.flac"
    if not path.is_file():
        pytest.skip(f"no recording at {path}")
    audio, rate = sf.read(path, dtype="float32", always_2d=True)
    estimate = estimate_f0(np.ascontiguousarray(audio.T), sample_rate=rate)
    if low_hz is None or high_hz is None:
        assert math.isnan(estimate.f0_hz)
    else:
        assert low_hz <= estimate.f0_hz <= high_hz
