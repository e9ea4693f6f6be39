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

from pipeline.audio.samples import HeldSamples
from stage1.pitch.f0 import estimate_f0
from stage1.pitch.harmonicity import SPECTRUM_LENGTH, fit_pitches
from stage1.pitch.pesto import SAMPLE_RATE, _import_pesto, load_pesto
from stage1.pitch.pyin import pyin, pyin_track
from stage1.signal.segments import Passages, measure_activity, window_middles

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


def held(audio: np.ndarray, rate: int = RATE) -> HeldSamples:
    return HeldSamples(np.atleast_2d(audio).astype(np.float32), sample_rate=rate)


def cents(f0_hz: float, right_hz: float) -> float:
    return abs(1200 * math.log2(f0_hz / right_hz))


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


def test_pyin_of_a_long_track_is_read_in_pieces() -> None:
    # Over one segment of 512 frames, whose scores are dropped and computed again. A narrow range,
    # since librosa's time goes with its square.
    signal = np.concatenate([SIGNALS["glide"], SIGNALS["noise"], SIGNALS["starts and stops"]] * 3)
    longest = 0

    def read(start: int, frames: int) -> np.ndarray:
        nonlocal longest
        longest = max(longest, frames)
        return held(signal).read_at(start, frames)[0]

    pieces = pyin_track(read, signal.size, sample_rate=RATE, fmin_hz=100.0, fmax_hz=300.0)
    f0_hz, voiced, _ = librosa.pyin(
        signal, sr=RATE, fmin=100.0, fmax=300.0, frame_length=2048, fill_na=None
    )
    assert voiced.size > 512
    assert longest < signal.size / 2
    assert np.array_equal(pieces.f0_hz[0], f0_hz)
    assert np.array_equal(pieces.voiced[0], voiced)


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
    estimate = estimate_f0(held(harmonic(f0_hz, tilt=tilt)))
    # pYIN's bins are 10 cents apart, those of the spectrum 140 at the lowest pitch.
    assert cents(estimate.f0_hz, f0_hz) < 15
    assert estimate.confidence > 0.5
    assert estimate.f0_low_hz <= estimate.f0_hz <= estimate.f0_high_hz


def test_a_bass_with_a_weak_fundamental_is_not_read_an_octave_high() -> None:
    bass = harmonic(55.0, first=0.1, tilt=0.8)
    assert cents(estimate_f0(held(bass)).f0_hz, 55.0) < 10


NOTHING = (np.full((1, 1), np.nan), np.zeros(1))


def fitted(window: np.ndarray) -> tuple[float, float, float]:
    fit = fit_pitches(
        window[None, :SPECTRUM_LENGTH], *NOTHING, sample_rate=RATE, low_hz=29.0, high_hz=C8
    )
    return float(fit.f0_hz[0]), float(fit.score[0]), float(fit.recall[0])


@pytest.mark.parametrize("f0_hz", [33.0, 55.0, 196.0, 440.0, 800.0])
@pytest.mark.parametrize("kind", ["all", "odd", "no first", "weak first"])
def test_the_spectrum_alone_settles_the_octave(f0_hz: float, kind: str) -> None:
    window = harmonic(f0_hz, seconds=1.0, first=0.0 if kind == "no first" else 1.0)
    if kind == "weak first":
        window = harmonic(f0_hz, seconds=1.0, first=0.05)
    if kind == "odd":
        time = np.arange(RATE) / RATE
        window = sum(
            np.sin(2 * np.pi * k * f0_hz * time) / k for k in (1, 3, 5, 7) if k * f0_hz < RATE / 2
        ).astype(np.float32)
    found_hz, score, recall = fitted(window)
    assert cents(found_hz, f0_hz) < 15
    assert score > 0.35
    assert recall > 0.9


def test_noise_has_no_harmonics() -> None:
    rng = np.random.default_rng(1)
    recalls = [fitted(rng.standard_normal(RATE).astype(np.float32))[2] for _ in range(20)]
    assert max(recalls) < 0.4


def test_silence_fits_no_pitch() -> None:
    found_hz, score, recall = fitted(np.zeros(RATE, np.float32))
    assert math.isnan(found_hz)
    assert score == recall == 0.0


@pytest.mark.parametrize("rate", [22050, 48000])
@pytest.mark.parametrize("make", [hi_hats, snares])
def test_percussion_is_unpitched(make, rate: int) -> None:
    estimate = estimate_f0(held(make(4.0, rate), rate))
    assert math.isnan(estimate.f0_hz)
    assert estimate.confidence < 0.5


@pytest.mark.parametrize("frames", [0, 1, 500, 60000])
def test_silence_is_unpitched(frames: int) -> None:
    estimate = estimate_f0(held(np.zeros((2, frames)), 48000))
    assert math.isnan(estimate.f0_hz)
    assert math.isnan(estimate.published_hz)
    assert estimate.confidence == 0.0


def test_opposite_channels_keep_their_pitch() -> None:
    tone = harmonic(196.0)
    estimate = estimate_f0(held(np.stack([tone, -tone])))
    assert cents(estimate.f0_hz, 196.0) < 15


def test_a_short_note_has_a_pitch() -> None:
    estimate = estimate_f0(held(harmonic(330.0, seconds=0.15)))
    assert cents(estimate.f0_hz, 330.0) < 15


def test_windows_are_spread_over_the_active_time() -> None:
    active = np.zeros(6000, np.bool_)
    active[1000:5000] = True
    middles = window_middles(active, 600.0, spacing_s=0.25, limit=240)
    assert middles.size == 240
    assert 100.0 <= middles.min() <= 100.5
    assert 499.5 <= middles.max() <= 500.0
    assert np.diff(middles).max() <= 2.0 * 400 / 240


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
def test_passages_are_those_of_the_whole_track_resampled(rate: int) -> None:
    signal = harmonic(440.0, seconds=3.0, rate=rate, partials=6)
    whole = librosa.resample(signal, orig_sr=rate, target_sr=16000, res_type="soxr_hq")
    middles = np.array([0.5, 0.5703, 1.2, 2.5])
    passages = Passages(held(signal, rate), middles, length_s=0.37).at(16000)
    for middle, passage in zip(middles, passages, strict=True):
        # On the nearest sample: at most half of one of either rate away.
        errors = []
        for late in range(-2, 3):
            start = round(middle * 16000) - 2960 + late
            errors.append(np.abs(passage - whole[start : start + 5920]).max())
        assert min(errors) < 2 * np.pi * 6 * 440 * 0.5 / min(rate, 16000) * np.abs(signal).max()
    assert passages.shape == (4, 5920)


class Counting(HeldSamples):
    """Counts what is read of it."""

    read = 0

    def read_at(self, start: int, frames: int) -> np.ndarray:
        self.read += frames
        return super().read_at(start, frames)


def test_only_the_windows_are_read() -> None:
    rate, minutes = 8000, 10
    tone = harmonic(220.0, seconds=60.0 * minutes, rate=rate)
    samples = Counting(tone[None], sample_rate=rate)
    active = np.ones(600 * minutes, np.bool_)
    estimate = estimate_f0(samples, active=active)
    assert cents(estimate.f0_hz, 220.0) < 15
    assert samples.read <= 240 * 0.41 * rate


def test_activity_is_measured_where_it_is_not_given() -> None:
    signal = np.concatenate([np.zeros(RATE), harmonic(110, seconds=1.0), np.zeros(RATE)])
    active = measure_activity(held(signal))
    assert active[10:20].all()
    assert not active[:6].any()
    assert not active[24:].any()
    assert repr(estimate_f0(held(signal))) == repr(estimate_f0(held(signal), active=active))


def test_the_same_input_gives_the_same_estimate_in_any_thread() -> None:
    audio = np.stack([glide(), SIGNALS["noise"] * 0.1])
    alone = estimate_f0(held(audio))
    with ThreadPoolExecutor(2) as pool:
        again = pool.map(lambda _: estimate_f0(held(audio)), range(4))
        assert all(repr(estimate) == repr(alone) for estimate in again)
    for threads in (2, 4):
        torch.set_num_threads(threads)
        assert repr(estimate_f0(held(audio))) == repr(alone)
        assert torch.get_num_threads() == threads


def test_published_f0_is_the_larger_of_the_plain_means() -> None:
    signal = np.concatenate([harmonic(110, seconds=1.5), SIGNALS["noise"][:RATE]])
    f0_hz, _, _ = librosa.pyin(signal, sr=RATE, fmin=C1, fmax=C8)
    lower = librosa.resample(signal, orig_sr=RATE, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    _, pesto_hz, _, _ = _import_pesto().predict(
        torch.from_numpy(lower), SAMPLE_RATE, step_size=10.0, convert_to_freq=True
    )
    expected = max(np.nanmean(f0_hz), float(pesto_hz.mean()))
    full = estimate_f0(held(signal), mode="full").published_hz
    # 1 %: PESTO's frames of noise follow the last bits of the resampler.
    assert full == pytest.approx(expected, rel=0.01)


def test_published_f0_on_windows_is_near_that_of_all_frames() -> None:
    tone = held(glide())
    windows = estimate_f0(tone).published_hz
    assert windows == pytest.approx(estimate_f0(tone, mode="full").published_hz, rel=0.05)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'some'"):
        estimate_f0(held(np.zeros(100)), mode="some")  # type: ignore[arg-type]
