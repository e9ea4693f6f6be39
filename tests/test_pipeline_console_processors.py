import math
from io import StringIO

import numpy as np
import pytest
import scipy.signal

from pipeline.console.compressor import Compressor
from pipeline.console.limiter import TruePeakLimiter
from pipeline.console.parameters import (
    BUS,
    BUS_EQ_BANDS,
    STRIP,
    STRIP_EQ_BANDS,
    Parameter,
    default_settings,
)
from pipeline.console.processors import Bus, Equaliser, StereoImage, Strip, pan_gains
from pipeline.console.response import (
    biquad,
    decorrelator_response,
    decorrelator_sections,
    eq_response,
    eq_sections,
)
from pipeline.units import FloatArray

RATE = 44100


def noise(frames: int, *, seed: int = 0, level: float = 0.2) -> FloatArray:
    return level * np.random.default_rng(seed).standard_normal((2, frames))


def drawn(table: tuple[Parameter, ...], *, seed: int) -> dict[str, float]:
    """Return settings from the middle of the ranges, with every processor at work."""
    draw = np.random.default_rng(seed)
    settings = {p.name: p.low + draw.uniform(0.3, 0.7) * (p.high - p.low) for p in table}
    return settings | {"threshold_lu": -30.0, "ratio": 4.0, "attack_ms": 3.0, "release_ms": 60.0}


def in_blocks(process: object, x: FloatArray, size: int) -> FloatArray:
    assert callable(process)
    return np.concatenate([process(x[:, i : i + size]) for i in range(0, x.shape[1], size)], axis=1)


def analogue_prototype(
    shape: str, gain_db: float, q: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    A = 10 ** (gain_db / 40)
    root = math.sqrt(A) / q
    return {
        "peak": ((1, A / q, 1), (1, 1 / (A * q), 1)),
        "low_shelf": ((A, A * root, A * A), (A, root, 1)),
        "high_shelf": ((A * A, A * root, A), (1, root, A)),
        "high_pass": ((1, 0, 0), (1, 1 / q, 1)),
        "all_pass": ((1, -1 / q, 1), (1, 1 / q, 1)),
    }[shape]


@pytest.mark.parametrize("shape", ["peak", "low_shelf", "high_shelf", "high_pass", "all_pass"])
@pytest.mark.parametrize("gain_db", [-15.0, 6.0, 15.0])
@pytest.mark.parametrize(("frequency_hz", "q"), [(30.0, 0.3), (1000.0, 6.0), (16000.0, 0.7)])
def test_biquad_is_the_bilinear_transform_of_its_analogue_prototype(
    shape: str, gain_db: float, frequency_hz: float, q: float
) -> None:
    b, a = analogue_prototype(shape, gain_db, q)
    warp = math.tan(math.pi * frequency_hz / RATE)
    expected = np.concatenate(scipy.signal.bilinear(b, a, fs=0.5 / warp))
    ours = biquad(shape, gain_db=gain_db, frequency_hz=frequency_hz, q=q, sample_rate=RATE)  # type: ignore[arg-type]
    # Both are float64 evaluations of one formula, normalised to a0 = 1.
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


def test_a_band_above_the_limit_is_clamped_to_it() -> None:
    high = biquad("peak", gain_db=6.0, frequency_hz=16000.0, q=3.0, sample_rate=22050)
    at_limit = biquad("peak", gain_db=6.0, frequency_hz=0.45 * 22050, q=3.0, sample_rate=22050)
    np.testing.assert_array_equal(high, at_limit)


@pytest.mark.parametrize(
    ("table", "bands"), [(STRIP, STRIP_EQ_BANDS), (BUS, BUS_EQ_BANDS)], ids=["strip", "bus"]
)
def test_equaliser_is_scipys_sosfilt_and_its_response_sosfreqz(
    table: tuple[Parameter, ...], bands: tuple[object, ...]
) -> None:
    settings = drawn(table, seed=3)
    x = noise(20000)
    ours = Equaliser(settings, bands, sample_rate=RATE).process(x)  # type: ignore[arg-type]
    sections = eq_sections(settings, bands, sample_rate=RATE)  # type: ignore[arg-type]
    # Same recursion in the same arithmetic: only the rounding's order may differ.
    np.testing.assert_allclose(ours, scipy.signal.sosfilt(sections, x), atol=1e-11)
    frequencies, expected = scipy.signal.sosfreqz(sections, worN=513, fs=RATE)
    response = eq_response(settings, bands, sample_rate=RATE, frequencies_hz=frequencies)  # type: ignore[arg-type]
    np.testing.assert_allclose(response, expected, rtol=1e-8)


def test_neutral_settings_change_no_sample() -> None:
    x = noise(5000, level=1.0)
    np.testing.assert_array_equal(
        Strip(default_settings(STRIP), level_lufs=0.0, sample_rate=RATE).process(x), x
    )
    np.testing.assert_array_equal(Bus(default_settings(BUS), sample_rate=RATE).process(x), x)


def test_bands_at_zero_db_are_skipped_whatever_their_frequency_and_q() -> None:
    settings = default_settings(STRIP) | {"low_peak_frequency_hz": 60.0, "low_peak_q": 6.0}
    assert eq_sections(settings, STRIP_EQ_BANDS, sample_rate=RATE).shape == (0, 6)


@pytest.mark.parametrize("size", [1, 64, 300, 4096])
def test_block_size_never_changes_a_sample(size: int) -> None:
    x = noise(4500, level=0.5) * np.linspace(0, 2, 4500)
    strip = drawn(STRIP, seed=1) | {"spread": 0.7, "width": 1.3, "pan": -0.4}
    bus = drawn(BUS, seed=2) | {"gain_db": 18.0}
    for make in (
        lambda: Strip(strip, level_lufs=0.0, sample_rate=RATE),
        lambda: Bus(bus, sample_rate=RATE, ceiling_dbtp=-1.0, trim_db=-3.0),
    ):
        whole = make().process(x)
        np.testing.assert_array_equal(in_blocks(make().process, x, size), whole)


def test_float32_comes_back_as_float32_of_the_float64_result() -> None:
    settings = drawn(STRIP, seed=4)
    x = noise(3000).astype(np.float32)
    single = Strip(settings, level_lufs=0.0, sample_rate=RATE).process(x)
    double = Strip(settings, level_lufs=0.0, sample_rate=RATE).process(x.astype(np.float64))
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_silence_after_sound_becomes_exactly_zero() -> None:
    strip = Strip(drawn(STRIP, seed=5) | {"spread": 1.0}, level_lufs=0.0, sample_rate=8000)
    strip.process(noise(800))
    tail = strip.process(np.zeros((2, 8000 * 20)))
    # The slowest pole falls below 1e-30 long before 20 s; denormals would linger for a minute.
    assert not tail[:, -8000:].any()


def naive_compressor(x: FloatArray, s: dict[str, float]) -> tuple[FloatArray, FloatArray]:
    out = np.empty_like(x)
    reductions = np.empty(x.shape[1])
    power = reduction = 0.0
    T, R, W = s["threshold_lu"], s["ratio"], s["knee_db"]
    c_detector = math.exp(-1 / (0.005 * RATE))
    for n in range(x.shape[1]):
        power = c_detector * power + (1 - c_detector) * (x[0, n] ** 2 + x[1, n] ** 2) / 2
        level = 10 * math.log10(power + 1e-12)
        if 2 * (level - T) < -W:
            out_level = level
        elif 2 * abs(level - T) <= W and W > 0:
            out_level = level + (1 / R - 1) * (level - T + W / 2) ** 2 / (2 * W)
        else:
            out_level = T + (level - T) / R
        target = level - out_level
        time_ms = s["attack_ms"] if target > reduction else s["release_ms"]
        c = math.exp(-1 / (time_ms * 1e-3 * RATE))
        reduction = c * reduction + (1 - c) * target
        reductions[n] = reduction
        out[:, n] = x[:, n] * 10 ** ((s["makeup_db"] - reduction) / 20)
    return out, reductions


@pytest.mark.parametrize("knee_db", [0.0, 6.0, 24.0])
@pytest.mark.parametrize(("attack_ms", "release_ms"), [(0.1, 10.0), (20.0, 200.0), (80.0, 20.0)])
def test_compressor_is_the_paper_sample_by_sample(
    knee_db: float, attack_ms: float, release_ms: float
) -> None:
    settings = {
        "threshold_lu": -24.0,
        "ratio": 3.0,
        "attack_ms": attack_ms,
        "release_ms": release_ms,
        "knee_db": knee_db,
        "makeup_db": 4.0,
    }
    frames = 8000
    x = noise(frames, level=0.3) * (np.sin(np.arange(frames) / 400) > 0)
    compressor = Compressor(settings, level_lufs=0.0, sample_rate=RATE)
    expected, reductions = naive_compressor(x, settings)
    # One formula in float64, evaluated in another order.
    np.testing.assert_allclose(compressor.process(x), expected, atol=1e-11)
    assert compressor.gain_reduction.max_db == pytest.approx(reductions.max(), abs=1e-9)
    assert compressor.gain_reduction.mean_db == pytest.approx(reductions.mean(), abs=1e-9)


def test_compressor_settles_where_its_static_curve_says() -> None:
    x = np.sqrt(2) * 10 ** (-10 / 20) * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    settings = default_settings(STRIP) | {"threshold_lu": -22.0, "ratio": 4.0}
    compressor = Compressor(settings, level_lufs=0.0, sample_rate=RATE)
    y = compressor.process(np.stack([x, x]))[0, -4410:]
    # 12 dB over at 4:1 leaves 3; the 5 ms detector's ripple at 2 kHz moves the gain by 0.05 dB.
    assert 10 * np.log10(np.mean(y**2)) == pytest.approx(-19.0, abs=0.05)


def test_compressor_that_has_nothing_to_do_changes_no_sample() -> None:
    x = noise(4000, level=0.01)
    for change in ({"ratio": 1.0, "threshold_lu": -60.0}, {"ratio": 8.0, "threshold_lu": 0.0}):
        settings = default_settings(STRIP) | change
        compressor = Compressor(settings, level_lufs=0.0, sample_rate=RATE)
        np.testing.assert_array_equal(compressor.process(x), x)
        assert compressor.gain_reduction.max_db == 0.0


def test_decorrelator_has_the_magnitude_of_its_high_pass_alone() -> None:
    frequencies = np.geomspace(20, 20000, 200)
    response = decorrelator_response(sample_rate=RATE, frequencies_hz=frequencies)
    sections = scipy.signal.butter(2, 200.0, "highpass", output="sos", fs=RATE)
    _, expected = scipy.signal.sosfreqz(sections, worN=frequencies, fs=RATE)
    np.testing.assert_allclose(np.abs(response), np.abs(expected), rtol=1e-9)
    assert len(decorrelator_sections(sample_rate=RATE)) == 13


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_spread_widens_and_vanishes_in_mono(rate: int) -> None:
    mono = np.repeat(noise(40000)[:1], 2, axis=0)
    y = StereoImage(width=1.0, spread=0.8, sample_rate=rate).process(mono)
    np.testing.assert_allclose(y.sum(axis=0), mono.sum(axis=0), atol=1e-14)
    mid, side = y.sum(axis=0) / 2, (y[0] - y[1]) / 2
    share = np.mean(side**2) / np.mean(mid**2)
    # |D|² is 1 above the high-pass, which takes a part of the band of white noise at 8 kHz.
    assert 0.64 * 0.9 < share < 0.64 * 1.01
    # As much of the spectrum goes left as right: the phase turns evenly on a log axis.
    frequencies = np.geomspace(250, min(16000, 0.4 * rate), 2000)
    response = decorrelator_response(sample_rate=rate, frequencies_hz=frequencies)
    assert abs(response.real.mean()) < 0.1


def test_width_scales_the_side_alone() -> None:
    x = noise(1000)
    y = StereoImage(width=0.5, sample_rate=RATE).process(x)
    np.testing.assert_allclose(y[0] - y[1], 0.5 * (x[0] - x[1]), atol=1e-15)
    np.testing.assert_allclose(y[0] + y[1], x[0] + x[1], atol=1e-15)
    narrow = StereoImage(width=0.0, sample_rate=RATE).process(x)
    np.testing.assert_array_equal(narrow[0], narrow[1])


@pytest.mark.parametrize("pan", np.linspace(-1, 1, 9))
def test_pan_keeps_the_power_and_mirrors(pan: float) -> None:
    left, right = pan_gains(pan)
    assert left**2 + right**2 == pytest.approx(2.0, abs=1e-12)
    assert pan_gains(-pan) == pytest.approx((right, left), abs=1e-12)
    assert (left > right) == (pan < 0)


def test_a_block_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 10\)"):
        Strip(default_settings(STRIP), level_lufs=0.0, sample_rate=RATE).process(np.zeros((1, 10)))


# BS.1770-5, annex 2: the interpolator of a meter, phase by phase.
ANNEX_2 = np.loadtxt(
    StringIO("""
    0.0017089843750 -0.0291748046875 -0.0189208984375 -0.0083007812500
    0.0109863281250  0.0292968750000  0.0330810546875  0.0148925781250
   -0.0196533203125 -0.0517578125000 -0.0582275390625 -0.0266113281250
    0.0332031250000  0.0891113281250  0.1015625000000  0.0476074218750
   -0.0594482421875 -0.1665039062500 -0.2003173828125 -0.1022949218750
    0.1373291015625  0.4650878906250  0.7797851562500  0.9721679687500
    0.9721679687500  0.7797851562500  0.4650878906250  0.1373291015625
   -0.1022949218750 -0.2003173828125 -0.1665039062500 -0.0594482421875
    0.0476074218750  0.1015625000000  0.0891113281250  0.0332031250000
   -0.0266113281250 -0.0582275390625 -0.0517578125000 -0.0196533203125
    0.0148925781250  0.0330810546875  0.0292968750000  0.0109863281250
   -0.0083007812500 -0.0189208984375 -0.0291748046875  0.0017089843750
    """)
)


def true_peaks_dbtp(x: FloatArray) -> dict[str, float]:
    annex = max(np.abs(np.convolve(c, h)).max() for c in x for h in ANNEX_2.T)
    peaks = {"annex 2": annex, "sample": np.abs(x).max()}
    for factor in (4, 8):
        peaks[f"{factor}x"] = np.abs(scipy.signal.resample_poly(x, factor, 1, axis=1)).max()
    return {name: float(20 * np.log10(peak)) for name, peak in peaks.items()}


def nasty_signals() -> dict[str, FloatArray]:
    frames = 30000
    n = np.arange(frames)
    both = np.ones((2, 1))
    gate = np.sin(2 * np.pi * n / 5000) > 0.5
    clicks = np.zeros((2, frames))
    clicks[:, ::997], clicks[0, 1::997], clicks[1, ::1501] = 8.0, -8.0, -6.0
    return {
        "square": 10 * np.sign(np.sin(2 * np.pi * 997 * n / RATE)) * both,
        "fast square": 10 * np.sign(np.sin(2 * np.pi * n / 8 + 0.1)) * both,
        "fs/4 at 45 degrees": 10 * np.sin(np.pi / 2 * n + np.pi / 4) * both,
        "fs/4 in bursts": 10 * np.sin(np.pi / 2 * n + np.pi / 4) * both * gate,
        "near the Nyquist frequency": 10 * np.sin(2 * np.pi * 0.45 * n) * both,
        "clicks": clicks,
        "noise": noise(frames, level=10.0),
        "noise in bursts": noise(frames, level=10.0) * gate,
        "random signs": 10 * np.sign(noise(frames)),
        "one side": noise(frames, level=10.0) * np.array([[1.0], [0.01]]),
        "sweep": 10 * scipy.signal.chirp(n / RATE, 20, frames / RATE, 21000) * both,
    }


def limited(x: FloatArray, ceiling_dbtp: float) -> FloatArray:
    limiter = TruePeakLimiter(ceiling_dbtp, sample_rate=RATE)
    return np.concatenate([limiter.process(x), limiter.flush()], axis=1)[:, limiter.latency :]


@pytest.mark.parametrize("name", list(nasty_signals()))
@pytest.mark.parametrize("ceiling_dbtp", [-1.0, -9.0])
def test_limiter_keeps_the_ceiling_on_every_meter(name: str, ceiling_dbtp: float) -> None:
    y = limited(nasty_signals()[name], ceiling_dbtp)
    peaks = true_peaks_dbtp(y)
    assert all(peak <= ceiling_dbtp for peak in peaks.values()), peaks
    # And it takes no more than it must: one of the interpolators it obeys is met to 0.3 dB.
    assert max(peaks.values()) > ceiling_dbtp - 0.3, peaks


def test_limiter_below_its_ceiling_is_a_pure_delay_of_its_latency() -> None:
    x = np.clip(noise(6000, level=0.1), -0.3, 0.3)
    limiter = TruePeakLimiter(-1.0, sample_rate=RATE)
    y = limiter.process(x)
    np.testing.assert_array_equal(y[:, limiter.latency :], x[:, : -limiter.latency])
    assert not y[:, : limiter.latency].any()
    assert limiter.gain_reduction.max_db == 0.0
    assert 1.5e-3 * RATE < limiter.latency < 5e-3 * RATE


def gain_db_after(loud_s: float, wait_s: float) -> float:
    """Return the limiter's gain a while after a stretch that it lowered by 12 dB."""
    frames = round((loud_s + wait_s + 0.05) * RATE)
    n = np.arange(frames)
    tone = np.sin(2 * np.pi * 1000 * n / RATE)
    x = np.where(n < loud_s * RATE, 4.0, 0.1) * tone
    y = limited(np.stack([x, x]), -0.1)
    at = round((loud_s + wait_s) * RATE)
    part = slice(at, at + 441)
    return float(20 * np.log10(np.abs(y[0, part]).max() / np.abs(x[part]).max()))


def test_limiter_releases_fast_after_a_peak_and_slowly_after_a_passage() -> None:
    # 200 ms are four fast time constants, after which a peak's slow memory is left (1.1 dB), and
    # less than half a slow one, after a passage that filled it.
    assert gain_db_after(0.002, 0.2) > -1.5
    assert -8.0 < gain_db_after(2.0, 0.2) < -3.0
    assert gain_db_after(2.0, 3.0) > -0.1


def test_limiter_moves_its_gain_without_a_corner() -> None:
    x = np.full((2, 4000), 0.25)
    x[:, 2000:2100] = 2.0
    gain = limited(x, -1.0)[0] / x[0]
    # A Hann-shaped fall over 132 frames has a slope of at most 2/132 of its 0.56 a frame.
    assert np.abs(np.diff(gain)).max() < 1.05 * 2 / 132 * (1 - gain.min())
    assert gain.min() == pytest.approx(10 ** (-1.1 / 20) / 2.0, rel=0.2)


def test_limiter_links_its_channels() -> None:
    x = noise(5000, level=0.1)
    x[0] *= 40
    y = limited(x, -3.0)
    np.testing.assert_allclose(y[0] / x[0], y[1] / x[1], rtol=1e-9)


@pytest.mark.parametrize("rate", [8000, 192000])
def test_limiter_keeps_the_ceiling_at_other_rates(rate: int) -> None:
    limiter = TruePeakLimiter(-1.0, sample_rate=rate)
    y = np.concatenate([limiter.process(noise(20000, level=8.0)), limiter.flush()], axis=1)
    assert max(true_peaks_dbtp(y).values()) <= -1.0


def test_bus_trims_after_the_limiter_and_flushes_what_it_holds() -> None:
    bus = Bus(
        default_settings(BUS) | {"gain_db": 20.0},
        sample_rate=RATE,
        ceiling_dbtp=-1.0,
        trim_db=-6.0,
    )
    x = noise(10000)
    y = np.concatenate([bus.process(x), bus.flush()], axis=1)[:, bus.latency :]
    assert y.shape == x.shape
    peak = max(true_peaks_dbtp(y).values())
    assert -7.3 < peak <= -7.0
