import json
import math
from dataclasses import asdict, fields, replace
from functools import cache

import numpy as np
import pyloudnorm
import pytest
import scipy.signal

from pipeline.units import FloatArray
from stage2.style.measure import (
    SCALES,
    SPECTRUM_FLOOR_DB,
    THIRD_OCTAVES_HZ,
    WIDTH_FLOOR_DB,
    FineBands,
    Style,
    blend,
    fft_size,
    measure_style,
    style_distance,
)

RATE = 44100


def noise(
    seconds: float, *, slope: float = 0.0, seed: int = 0, rate: int = RATE, channels: int = 1
) -> FloatArray:
    """Return noise with a power of ``f ** slope``, from 15 Hz to 20 kHz, RMS 0.1."""
    frames = round(seconds * rate)
    draw = np.random.default_rng(seed)
    frequency = np.fft.rfftfreq(frames, 1.0 / rate)
    shape = np.where((frequency > 15.0) & (frequency < 20000.0), 1.0, 0.0)
    shape[1:] *= frequency[1:] ** (slope / 2.0)
    spectrum = np.fft.rfft(draw.standard_normal((channels, frames))) * shape
    audio = np.fft.irfft(spectrum, frames)
    return np.asarray(audio * (0.1 / audio.std()), dtype=np.float32)


def tone(frequency_hz: float, seconds: float = 3.0, *, level: float = 0.2) -> FloatArray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(level * np.sin(2 * np.pi * frequency_hz * t), dtype=np.float32)


def stereo(middle: FloatArray, side: FloatArray) -> FloatArray:
    return np.stack((middle + side, middle - side)).astype(np.float32)


@cache
def some_style(seed: int = 0) -> Style:
    middle, side = noise(2.0, slope=-1.0, seed=seed, channels=2)
    return measure_style(stereo(middle, (0.2 + 0.1 * seed) * side), sample_rate=RATE)


@pytest.mark.parametrize("slope", [0.0, -1.0, -2.0])
def test_noise_has_its_known_third_octave_slope(slope: float) -> None:
    seconds = 20.0
    style = measure_style(noise(seconds, slope=slope), sample_rate=RATE)
    edges = THIRD_OCTAVES_HZ[:, None] * 2.0 ** (np.array([-1.0, 1.0]) / 6.0)
    power = (
        np.log(edges[:, 1] / edges[:, 0])
        if slope == -1.0
        else np.abs(np.diff(edges ** (slope + 1.0), axis=1)[:, 0])
    )
    expected = 10 * np.log10(power / power.sum())
    # Noise in a band B over T seconds has an average that scatters by 4.3 dB / sqrt(B T); windows
    # that weigh the seconds unevenly scatter a little more, and a Hann window leaks into low bands.
    scatter = 4.34 / np.sqrt((edges[:, 1] - edges[:, 0]) * seconds)
    error = np.abs(np.asarray(style.spectrum_db) - expected)
    assert (error < 4.0 * scatter + 0.1)[4:].all()
    assert (error < 4.0 * scatter + 0.6)[:4].all()


@pytest.mark.parametrize("index", [0, 7, 16, 28])
def test_a_tone_is_its_third_octave_alone(index: int) -> None:
    style = measure_style(tone(THIRD_OCTAVES_HZ[index])[None], sample_rate=RATE)
    spectrum = np.asarray(style.spectrum_db)
    # The window's main lobe is 4 bins of 2.7 Hz: wider than the lowest bands.
    assert spectrum[index] == pytest.approx(0.0, abs=1.5 if index == 0 else 0.01)
    far = np.abs(np.arange(spectrum.size) - index) > 4
    assert spectrum[far] == pytest.approx(spectrum[index] + SPECTRUM_FLOOR_DB, abs=1e-9)


def test_bands_take_every_bin_between_the_lowest_and_the_highest_edge_once() -> None:
    for rate in (22050, 44100, 48000, 96000):
        bands = FineBands.at(rate)
        frequency = np.arange(fft_size(rate) // 2 + 1) * rate / fft_size(rate)
        inside = (frequency > 23.0 + rate / fft_size(rate)) & (frequency < min(17000, 0.45 * rate))
        # Edges between nominal centres meet within 2 %: shares of single bins may miss or repeat.
        share = bands.weights.sum(axis=0)[inside]
        assert share.mean() == pytest.approx(1.0, abs=0.02)
        assert bands.weights.min() >= 0.0
        assert 0.25 < fft_size(rate) / rate < 0.5
        assert set(bands.third_octave) == set(range(THIRD_OCTAVES_HZ.size))
        pieces = np.bincount(bands.third_octave)
        middle = np.bincount(bands.third_octave, weights=bands.centre_hz) / pieces
        assert middle == pytest.approx(THIRD_OCTAVES_HZ, rel=0.01)


@pytest.mark.parametrize("width_db", [-30.0, -12.0, -3.0, 0.0, 6.0])
def test_the_width_is_the_power_of_the_side_over_that_of_the_middle(width_db: float) -> None:
    middle, side = noise(4.0, channels=2)
    side *= 10 ** (width_db / 20)
    style = measure_style(stereo(middle, side), sample_rate=RATE)
    expected = 10 * np.log10(np.mean(np.square(side)) / np.mean(np.square(middle)))
    # Wide-band noise over 4 s: its power within the bands is its power but for 0.05 dB.
    assert style.width_db == pytest.approx(expected, abs=0.1)


def test_each_range_has_a_width_of_its_own() -> None:
    wanted = {100.0: -20.0, 500.0: -9.0, 2000.0: -3.0, 8000.0: 2.0}
    middle = sum((tone(f) for f in wanted), start=np.zeros(3 * RATE, dtype=np.float32))
    side = sum(
        (tone(f) * np.float32(10 ** (w / 20)) for f, w in wanted.items()),
        start=np.zeros(3 * RATE, dtype=np.float32),
    )
    style = measure_style(stereo(middle, side), sample_rate=RATE)
    # Tones far from the ranges' edges: exact but for float32 and the window's leakage.
    assert style.width_by_range_db == pytest.approx(tuple(wanted.values()), abs=0.01)


@pytest.mark.parametrize("gain_db", [-9.0, -0.5, 0.0, 4.0])
def test_the_imbalance_is_the_gain_of_the_right_over_the_left(gain_db: float) -> None:
    left = noise(3.0)[0]
    style = measure_style(
        np.stack((left, left * np.float32(10 ** (gain_db / 20)))), sample_rate=RATE
    )
    assert style.imbalance_db == pytest.approx(gain_db, abs=0.001)  # float32 samples
    expected = 20 * math.log10(abs(10 ** (gain_db / 20) - 1) / (10 ** (gain_db / 20) + 1) + 1e-9)
    assert style.width_db == pytest.approx(max(expected, WIDTH_FLOOR_DB), abs=0.01)


def test_mono_lies_on_the_width_floor() -> None:
    one = noise(3.0)
    style = measure_style(one, sample_rate=RATE)
    assert style.width_db == WIDTH_FLOOR_DB
    assert set(style.width_by_range_db) == {WIDTH_FLOOR_DB}
    assert style.imbalance_db == 0.0


def test_one_channel_is_measured_as_two_equal_ones() -> None:
    one = noise(2.0, slope=-1.0)
    assert measure_style(one, sample_rate=RATE) == measure_style(
        np.repeat(one, 2, axis=0), sample_rate=RATE
    )


def test_the_crest_of_a_sine_is_3_db() -> None:
    style = measure_style(tone(440.0)[None], sample_rate=RATE)
    # Windows of 0.35 s hold whole periods but for 1/150.
    assert style.crest_db == pytest.approx(10 * math.log10(2), abs=0.01)


def test_the_loudness_is_that_of_bs_1770() -> None:
    audio = np.concatenate((noise(2.0, channels=2), 0.03 * noise(2.0, seed=1, channels=2)), axis=1)
    expected = pyloudnorm.Meter(RATE).integrated_loudness(audio.T.astype(np.float64))
    # Both gate alike; pyloudnorm's filters are those of 48 kHz redesigned: 0.05 LU.
    assert measure_style(audio, sample_rate=RATE).loudness_lufs == pytest.approx(expected, abs=0.05)


def figures(style: Style) -> dict[str, FloatArray]:
    return {name: np.atleast_1d(value) for name, value in asdict(style).items()}


@pytest.mark.parametrize("rate", [48000, 96000])
def test_a_style_does_not_depend_on_the_sample_rate(rate: int) -> None:
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * np.arange(6 * 96000) / 96000)
    middle, side = noise(6.0, slope=-1.0, rate=96000, channels=2) * swell
    finest = stereo(middle, 0.4 * side)

    def at(sample_rate: int) -> dict[str, FloatArray]:
        audio = scipy.signal.resample(finest, 6 * sample_rate, axis=1).astype(np.float32)
        return figures(measure_style(audio, sample_rate=sample_rate))

    ours, other = at(RATE), at(rate)
    for name in ours:
        if name in ("spectrum_db", "typical_spectrum_db"):
            # Windows of 0.34 or 0.37 s weigh the same noise differently: bands of 6 to 15 Hz
            # scatter most.
            np.testing.assert_allclose(ours[name][:5], other[name][:5], atol=1.0)
            np.testing.assert_allclose(ours[name][5:], other[name][5:], atol=0.3)
        else:
            # Frames of 5 ms see another phase of low noise, and so do single samples.
            tolerance = 0.6 if name in ("punch_by_range_db", "peak_to_loudness_db") else 0.3
            np.testing.assert_allclose(ours[name], other[name], atol=tolerance, err_msg=name)


@pytest.mark.parametrize("gain_db", [-12.0, 6.0])
def test_a_gain_changes_the_loudness_alone(gain_db: float) -> None:
    audio = stereo(*noise(3.0, slope=-1.0, channels=2))
    plain = measure_style(audio, sample_rate=RATE)
    other = measure_style(audio * np.float32(10 ** (gain_db / 20)), sample_rate=RATE)
    assert other.loudness_lufs - plain.loudness_lufs == pytest.approx(gain_db, abs=0.01)
    for name, value in figures(replace(other, loudness_lufs=plain.loudness_lufs)).items():
        np.testing.assert_allclose(value, figures(plain)[name], atol=0.001, err_msg=name)


def test_a_compressed_mix_has_less_punch() -> None:
    t = np.arange(4 * RATE) / RATE
    hits = noise(4.0) * (0.05 + np.exp(-(t % 0.5) / 0.03)).astype(np.float32)
    soft = np.sign(hits) * np.sqrt(np.abs(hits)) * 0.1
    plain, dense = (measure_style(x, sample_rate=RATE) for x in (hits, soft))
    assert dense.crest_db < plain.crest_db - 3.0
    assert np.mean(dense.punch_by_range_db) < np.mean(plain.punch_by_range_db) - 3.0


def test_a_typical_moment_is_not_ruled_by_loud_ones() -> None:
    quiet, loud = noise(8.0), noise(2.0, slope=-1.0, seed=1)
    audio = np.concatenate((quiet, 30.0 * loud), axis=1)
    style, flat, steep = (measure_style(x, sample_rate=RATE) for x in (audio, quiet, loud))

    def tilt(spectrum: tuple[float, ...]) -> float:
        return spectrum[25] - spectrum[10]  # 8 kHz over 250 Hz

    assert tilt(style.spectrum_db) == pytest.approx(tilt(steep.spectrum_db), abs=1.0)
    expected = 0.8 * tilt(flat.spectrum_db) + 0.2 * tilt(steep.spectrum_db)
    assert tilt(style.typical_spectrum_db) == pytest.approx(expected, abs=1.5)


def test_pauses_have_no_part_in_a_typical_moment() -> None:
    audio = noise(4.0, slope=-1.0)
    paused = np.concatenate((audio, np.zeros_like(audio)), axis=1)
    plain, other = (
        np.asarray(figures(measure_style(x, sample_rate=RATE))["typical_spectrum_db"])
        for x in (audio, paused)
    )
    # Relative to the mean of all, in which a pause has its part.
    np.testing.assert_allclose((other - other.mean())[6:], (plain - plain.mean())[6:], atol=0.3)


def test_peaks_are_told_over_the_loudness() -> None:
    audio = np.repeat(tone(997.0)[None], 2, axis=0)
    style = measure_style(audio, sample_rate=RATE)
    peak_db = 20.0 * math.log10(np.abs(audio).max())
    assert style.peak_to_loudness_db == pytest.approx(peak_db - style.loudness_lufs, abs=1e-6)


@pytest.mark.parametrize("frames", [1, 500, 10000])
def test_the_shortest_audio_has_a_style(frames: int) -> None:
    style = measure_style(noise(1.0)[:, :frames], sample_rate=RATE)
    finite = {k: v for k, v in figures(style).items() if k != "loudness_lufs"}
    assert all(np.isfinite(v).all() for v in finite.values())


def test_silence_has_a_style_and_no_loudness() -> None:
    style = measure_style(np.zeros((2, RATE), dtype=np.float32), sample_rate=RATE)
    assert style.loudness_lufs == -math.inf
    assert style.width_db == WIDTH_FLOOR_DB
    finite = {k: v for k, v in figures(style).items() if k != "loudness_lufs"}
    assert all(np.isfinite(v).all() for v in finite.values())
    # Nothing is not apart from nothing, and infinitely far from something.
    assert style_distance(style, style).total == 0.0
    assert style_distance(style, some_style()).total == math.inf


def test_a_style_is_no_distance_from_itself() -> None:
    distance = style_distance(some_style(), some_style())
    assert set(distance.to_record().values()) == {0.0}


def test_a_distance_is_the_difference_of_each_figure_and_the_total_their_weighted_mean() -> None:
    style = some_style()
    spectrum = np.asarray(style.spectrum_db) + np.where(np.arange(29) < 14, 2.0, 0.0)
    other = replace(
        style,
        spectrum_db=tuple(spectrum),
        width_db=style.width_db + 3.0,
        imbalance_db=style.imbalance_db - 0.5,
        crest_db=style.crest_db - 1.5,
        loudness_lufs=style.loudness_lufs + 6.0,
        width_by_range_db=tuple(np.add(style.width_by_range_db, (4.0, 0.0, 0.0, -4.0))),
        typical_spectrum_db=tuple(np.add(style.typical_spectrum_db, spectrum)),
        peak_to_loudness_db=style.peak_to_loudness_db - 2.5,
    )
    distance = style_distance(style, other)
    low = 2.0 * 14 / 29  # the mean of the difference is taken off
    expected = {
        "spectrum_db": (14 * (2.0 - low) + 15 * low) / 29,
        "width_db": 3.0,
        "imbalance_db": 0.5,
        "crest_db": 1.5,
        "loudness_lu": 6.0,
        "width_by_range_db": 2.0,
        "typical_spectrum_db": float(np.mean(np.abs(spectrum - spectrum.mean()))),
        "peak_to_loudness_db": 2.5,
    }
    record = distance.to_record()
    assert {name: record[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    total = sum(expected[name] / scale for name, scale in SCALES.items()) / len(SCALES)
    assert record["total"] == distance.total == pytest.approx(total, abs=1e-9)
    assert style_distance(other, style) == distance


def test_a_spectrum_of_another_level_is_the_same_spectrum() -> None:
    style = some_style()
    other = replace(style, spectrum_db=tuple(v + 7.0 for v in style.spectrum_db))
    assert style_distance(style, other).spectrum_db == pytest.approx(0.0, abs=1e-9)


def test_a_blend_is_the_mean_of_every_figure() -> None:
    styles = [some_style(seed) for seed in (0, 1, 4)]
    blended = figures(blend(styles))
    assert set(blended) == {f.name for f in fields(Style)}
    for name, value in blended.items():
        expected = np.mean([figures(s)[name] for s in styles], axis=0)
        np.testing.assert_allclose(value, expected, atol=1e-12, err_msg=name)
        assert np.ptp([figures(s)[name] for s in styles], axis=0).max() > 0.0


def test_a_blend_of_one_is_that_one_and_of_none_is_refused() -> None:
    assert blend([some_style()]) == some_style()
    with pytest.raises(ValueError, match="at least one"):
        blend([])


def test_a_style_survives_its_record_and_json() -> None:
    style = some_style()
    assert Style.from_record(style.to_record()) == style
    assert Style.from_record(json.loads(json.dumps(style.to_record()))) == style
