from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from pipeline.console.compressor import Compressor
from pipeline.console.parameters import (
    BUS,
    BUS_EQ_BANDS,
    STRIP,
    STRIP_EQ_BANDS,
    Parameter,
    default_settings,
)
from pipeline.console.processors import Equaliser, StereoImage, pan_gains
from pipeline.console.response import eq_response
from pipeline.units import FloatArray
from stage2.console import functional

RATE = 44100
AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"
TABLES = [(STRIP, STRIP_EQ_BANDS), (BUS, BUS_EQ_BANDS)]


def noise(frames: int, *, seed: int = 0, level: float = 0.2) -> FloatArray:
    return level * np.random.default_rng(seed).standard_normal((2, frames))


def swelling(frames: int) -> FloatArray:
    return noise(frames, level=0.3) * (0.55 + 0.45 * np.sin(np.arange(frames) / 3000))


def tensors(settings: dict[str, float]) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in settings.items()}


def extreme_eq(table: tuple[Parameter, ...], *, seed: int) -> dict[str, float]:
    """Return EQ settings at random ends of their ranges: the longest ring-outs there are."""
    draw = np.random.default_rng(seed)
    return {
        p.name: float(draw.choice([p.low, p.high])) if "_gain_" in p.name else p.high
        for p in table
        if p.name != "gain_db"
    }


def error_dbfs(ours: Tensor, expected: FloatArray) -> float:
    return float(20 * np.log10(np.abs(ours.numpy() - expected).max() + 1e-300))


@pytest.mark.parametrize(("table", "bands"), TABLES, ids=["strip", "bus"])
@pytest.mark.parametrize("seed", range(3))
def test_equaliser_agrees_with_the_renderer(
    table: tuple[Parameter, ...], bands: tuple[object, ...], seed: int
) -> None:
    settings = default_settings(table) | extreme_eq(table, seed=seed)
    x = noise(20000, level=0.05)
    expected = Equaliser(settings, bands, sample_rate=RATE).process(x)  # type: ignore[arg-type]
    ours = functional.equalise(
        torch.from_numpy(x),
        tensors(settings),
        bands,  # type: ignore[arg-type]
        sample_rate=RATE,
    )
    # What has not rung out within the padding wraps around to the start.
    assert error_dbfs(ours, expected) < -90


@pytest.mark.parametrize("rate", [22050, 44100])
def test_equaliser_response_is_the_closed_form(rate: int) -> None:
    frequencies = np.geomspace(10, rate / 2, 300)
    for table, bands in TABLES:
        settings = default_settings(table) | extreme_eq(table, seed=5)
        ours = functional.eq_response(
            tensors(settings),
            bands,
            sample_rate=rate,
            frequencies_hz=torch.from_numpy(frequencies),
        )
        expected = eq_response(settings, bands, sample_rate=rate, frequencies_hz=frequencies)
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-9)


def test_a_batch_of_settings_is_its_rows_one_by_one() -> None:
    x = torch.from_numpy(np.stack([noise(2000, seed=i) for i in range(6)]).reshape(2, 3, 2, 2000))
    draw = np.random.default_rng(1)
    settings = {
        p.name: torch.from_numpy(draw.uniform(0.4, 0.6, (2, 3)) * (p.high - p.low) + p.low)
        for p in STRIP
    }

    def chain(x: Tensor, s: dict[str, Tensor]) -> Tensor:
        x = functional.equalise(x, s, STRIP_EQ_BANDS, sample_rate=RATE)
        x = functional.compress(x, s, level_lufs=0.0, sample_rate=RATE)
        x = functional.stereo_image(x, width=s["width"], spread=s["spread"], sample_rate=RATE)
        return functional.pan(x, s["pan"])

    batch = chain(x, settings)
    for i in range(2):
        for j in range(3):
            row = chain(x[i, j], {name: value[i, j] for name, value in settings.items()})
            torch.testing.assert_close(batch[i, j], row, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_stereo_image_and_pan_agree_with_the_renderer(rate: int) -> None:
    x = noise(10000)
    expected = StereoImage(width=1.4, spread=0.9, sample_rate=rate).process(x)
    expected = expected * np.array(pan_gains(-0.35))[:, np.newaxis]
    value = {"width": 1.4, "spread": 0.9, "pan": -0.35}
    s = tensors(value)
    ours = functional.stereo_image(
        torch.from_numpy(x), width=s["width"], spread=s["spread"], sample_rate=rate
    )
    assert error_dbfs(functional.pan(ours, s["pan"]), expected) < -90


COMPRESSORS = [
    {"threshold_lu": -30.0, "ratio": 3.0, "attack_ms": 0.1, "release_ms": 10.0, "knee_db": 0.0},
    {"threshold_lu": -24.0, "ratio": 2.0, "attack_ms": 20.0, "release_ms": 200.0, "knee_db": 6.0},
    {"threshold_lu": -45.0, "ratio": 20.0, "attack_ms": 5.0, "release_ms": 60.0, "knee_db": 24.0},
]


def gain_error_db(x: FloatArray, settings: dict[str, float], *, rate: int) -> float:
    """Return the largest difference of the two compressors' gains, where there is signal."""
    settings = default_settings(STRIP) | settings | {"makeup_db": 3.0}
    expected = Compressor(settings, level_lufs=0.0, sample_rate=rate).process(x)
    ours = functional.compress(
        torch.from_numpy(x), tensors(settings), level_lufs=0.0, sample_rate=rate
    ).numpy()
    heard = np.abs(x) > 1e-5
    return float(np.abs(20 * np.log10(np.abs(ours[heard] / expected[heard]))).max())


@pytest.mark.parametrize("settings", COMPRESSORS)
def test_compressor_gain_agrees_with_the_renderer(settings: dict[str, float]) -> None:
    # 0.1 dB is promised; the recursion is the same, sample by sample.
    assert gain_error_db(swelling(30000), settings, rate=RATE) < 1e-6


@pytest.mark.skipif(not AUDIO.is_dir(), reason="needs the recordings in shared/audio")
@pytest.mark.parametrize("session", ["delta_rock", "caesium"])
def test_equaliser_and_compressor_agree_with_the_renderer_on_real_stems(session: str) -> None:
    files = sorted((AUDIO / "sessions" / session).iterdir())
    stems = [p for p in files if p.suffix in {".flac", ".ogg", ".wav"}]
    settings = default_settings(STRIP) | extreme_eq(STRIP, seed=1)
    heard = 0
    for path in stems:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            file.seek(file.frames // 2)
            audio = file.read(4 * rate, always_2d=True).T
        if heard == 4 or np.abs(audio).max() < 0.01:
            continue
        heard += 1
        x = np.ascontiguousarray(np.broadcast_to(audio, (2, audio.shape[1])))
        expected = Equaliser(settings, STRIP_EQ_BANDS, sample_rate=rate).process(x)
        ours = functional.equalise(
            torch.from_numpy(x), tensors(settings), STRIP_EQ_BANDS, sample_rate=rate
        )
        assert error_dbfs(ours, expected) < -90
        assert gain_error_db(x, COMPRESSORS[1], rate=rate) < 0.1
    assert heard >= 2


def test_compressor_gradients_are_those_of_its_recursion() -> None:
    # Frames enough for the reduction to rise and fall, and levels on both sides of each knee.
    frames = 300
    envelope = 0.05 + 0.5 * np.abs(np.sin(np.arange(frames) / 40))
    power = np.square(noise(frames)).mean(axis=0) * envelope
    x = torch.from_numpy(np.stack([power, power[::-1].copy()])).requires_grad_()
    inputs = [
        torch.tensor(values, dtype=torch.float64, requires_grad=True)
        for values in ((-25.0, -24.0), (3.0, 6.0), (0.4, 1.0), (2.0, 3.0), (0.0, 8.0))
    ]

    def reduction(power: Tensor, *settings: Tensor) -> Tensor:
        names = ("threshold_db", "ratio", "attack_ms", "release_ms", "knee_db")
        named = dict(zip(names, settings, strict=True))
        return functional.compressor_reduction_db(power, **named, sample_rate=8000)

    assert float(reduction(x, *inputs).detach().max()) > 1.0
    # A hard knee has no derivative on its edge: the first row's knee is held at 0.
    free = [*inputs[:4]]
    assert torch.autograd.gradcheck(
        lambda power, *s: reduction(power, *s, inputs[4].detach()),
        (x, *free),
        eps=1e-7,
        atol=1e-4,
        rtol=1e-4,
    )
    soft = torch.tensor([4.0, 8.0], dtype=torch.float64, requires_grad=True)
    fixed = [v.detach() for v in (x, *inputs[:4])]
    assert torch.autograd.gradcheck(lambda knee: reduction(*fixed, knee), (soft,), eps=1e-6)


def test_attack_and_release_have_gradients_of_their_own() -> None:
    x = torch.from_numpy(swelling(6000))
    s = tensors(default_settings(STRIP) | COMPRESSORS[1])
    times = [s[name].requires_grad_() for name in ("attack_ms", "release_ms")]
    power = functional.compress(x, s, level_lufs=0.0, sample_rate=RATE).square().mean()
    attack, release = torch.autograd.grad(power, times)
    # A slower attack lets more through; a slower release holds the reduction longer.
    assert float(attack) > 0.0 > float(release)


@pytest.mark.parametrize("shape", ["low_shelf", "low_peak", "high_shelf"])
def test_equaliser_gradients(shape: str) -> None:
    names = [f"{shape}_{part}" for part in ("gain_db", "frequency_hz", "q")]
    bands = [band for band in STRIP_EQ_BANDS if band.gain_name == names[0]]
    values = default_settings(STRIP) | {names[0]: 6.0, "gain_db": 0.0}
    inputs = [torch.tensor(values[n], dtype=torch.float64, requires_grad=True) for n in names]
    frequencies = torch.tensor([0.0, 70.0, 180.0, 900.0, 8000.0], dtype=torch.float64)

    def response(*settings: Tensor) -> Tensor:
        named = dict(zip(names, settings, strict=True))
        return functional.eq_response(named, bands, sample_rate=RATE, frequencies_hz=frequencies)

    assert torch.autograd.gradcheck(response, inputs, eps=1e-4, atol=1e-6)


LINEAR: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda x, v: functional.pan(x, 2 * v - 1),
    lambda x, v: functional.stereo_image(x, width=2 * v, spread=v, sample_rate=8000),
]


@pytest.mark.parametrize("process", LINEAR, ids=["pan", "image"])
def test_gradients_of_pan_and_image(process: Callable[[Tensor, Tensor], Tensor]) -> None:
    x = torch.from_numpy(noise(12)).requires_grad_()
    value = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(process, (x, value))


def test_float32_audio_stays_float32_and_loses_no_more_than_its_rounding() -> None:
    x = torch.from_numpy(noise(8000))
    s = tensors(default_settings(STRIP) | extreme_eq(STRIP, seed=2))
    single = functional.equalise(x.float(), s, STRIP_EQ_BANDS, sample_rate=RATE)
    double = functional.equalise(x, s, STRIP_EQ_BANDS, sample_rate=RATE)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-6)
