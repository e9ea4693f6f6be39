import doctest
import math

import numpy as np
import pyloudnorm
import pytest
import scipy.signal

from pipeline.console import delivery
from pipeline.console.delivery import (
    CREST_WINDOW_S,
    TARGETS,
    Density,
    deliver_at,
    fit_delivery,
    median_crest_db,
    parse_target,
    peak_to_loudness_db,
)
from pipeline.console.limiter_estimate import LimiterSketch
from pipeline.console.parameters import BUS, default_settings
from pipeline.console.processors import Bus
from pipeline.errors import InputError
from pipeline.loudness.meter import EnergyMeter
from pipeline.plan import Delivery, Plan
from pipeline.units import FloatArray

RATE = 44100


def noise(seconds: float, *, level: float = 0.1, seed: int = 0) -> FloatArray:
    draw = np.random.default_rng(seed)
    return level * draw.standard_normal((2, round(seconds * RATE)))


def drums(seconds: float) -> FloatArray:
    """Return hits every 0.25 s over a soft bed: peaks 20 dB over the mean."""
    t = np.arange(round(seconds * RATE)) / RATE
    return noise(seconds, level=0.3) * (np.exp(-(t % 0.25) / 0.02) + 0.01)


def song(seconds: float) -> FloatArray:
    """Return bass, hits and a quiet end."""
    t = np.arange(round(seconds * RATE)) / RATE
    bass = 0.3 * np.sin(2 * np.pi * 55.0 * t)
    return (drums(seconds) + bass) * np.where(t < 0.75 * seconds, 1.0, 0.05)


def clicks(seconds: float) -> FloatArray:
    """Return a tone with a click of one height every 0.25 s."""
    t = np.arange(round(seconds * RATE)) / RATE
    tone = 0.04 * np.sin(2 * np.pi * 220.0 * t)
    tone[:: RATE // 4] += 0.5
    return np.stack((tone, tone))


SIGNALS = {
    "quiet noise": noise(3.0, level=3e-3),
    "loud noise": noise(3.0, level=0.5),
    "clipped": np.clip(noise(3.0, level=4.0), -1.0, 1.0),
    "drums": drums(3.0),
    "song": song(4.0),
    "one side": noise(3.0) * np.array([[1.0], [0.0]]),
    "under a second": noise(0.6),
}


def loudness_lufs(audio: FloatArray) -> float:
    return float(pyloudnorm.Meter(RATE).integrated_loudness(audio.T.astype(np.float64)))


def true_peak_db(audio: FloatArray) -> float:
    """Return the peak of the audio oversampled 16 times by scipy."""
    over = scipy.signal.resample_poly(audio.astype(np.float64), 16, 1, axis=1)
    return 20.0 * math.log10(float(np.abs(over).max()))


def bus(audio: FloatArray, *, drive_db: float, ceiling_dbtp: float, trim_db: float) -> FloatArray:
    """Return what the renderer's bus makes of a float64 mix, its latency taken off."""
    console = Bus(
        default_settings(BUS) | {"gain_db": drive_db},
        sample_rate=RATE,
        ceiling_dbtp=ceiling_dbtp,
        trim_db=trim_db,
    )
    late = np.concatenate((console.process(audio.astype(np.float64)), console.flush()), axis=1)
    return late[:, console.latency :].astype(np.float32)


def test_the_examples_in_the_docstrings_hold() -> None:
    failed, tried = doctest.testmod(delivery)
    assert failed == 0
    assert tried > 0


@pytest.mark.parametrize(
    ("name", "loudness_lufs", "ceiling_dbtp"),
    [
        ("reference", None, -1.0),
        # support.spotify.com/artists: "-14 dB LUFS ... below -1 dB TP"
        ("spotify", -14.0, -1.0),
        # apple.com/apple-music/apple-digital-masters: -16 LKFS by Sound Check, -1 dBTP
        ("apple", -16.0, -1.0),
        ("youtube", -14.0, -1.0),
        # EBU R 128-2023: -23.0 LUFS, -1 dBTP
        ("ebu-r128", -23.0, -1.0),
        # Netflix sound mix specifications: -27 LKFS, -2 dBFS true peak
        ("netflix", -27.0, -2.0),
    ],
)
def test_named_targets_have_their_published_figures(
    name: str, loudness_lufs: float | None, ceiling_dbtp: float
) -> None:
    target = parse_target(name)
    assert target.loudness_lufs == loudness_lufs
    assert target.ceiling_dbtp == ceiling_dbtp
    assert target.source


def test_every_name_is_found_however_it_is_written() -> None:
    for name, target in TARGETS.items():
        assert parse_target(f" {name.upper()} ") == target


@pytest.mark.parametrize(
    ("text", "loudness_lufs"),
    [("-14", -14.0), ("-12.5", -12.5), ("-9 LUFS", -9.0), ("-23lufs", -23.0), ("-50", -50.0)],
)
def test_a_number_is_a_loudness(text: str, loudness_lufs: float) -> None:
    target = parse_target(text)
    assert target.loudness_lufs == loudness_lufs
    assert target.ceiling_dbtp == -1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spotfy", "did you mean 'spotify'?"),
        ("ebu", "use one of reference, spotify"),
        ("", "use one of"),
        ("-3", "use a loudness from -50 to -5 LUFS"),
        ("14", "use a loudness from -50 to -5 LUFS"),
        ("-51", "use a loudness from -50 to -5 LUFS"),
        ("nan", "use a loudness from -50 to -5 LUFS"),
        ("-inf", "use a loudness from -50 to -5 LUFS"),
    ],
)
def test_a_target_that_cannot_be_is_refused_with_a_remedy(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_target(text)
    assert said in str(caught.value)


def test_the_crest_of_a_sine_is_3_db() -> None:
    t = np.arange(5 * RATE) / RATE
    sine = 0.4 * np.sin(2 * np.pi * 440.0 * t)
    # Windows of whole periods but for 1/150: 0.01 dB.
    assert median_crest_db(np.stack((sine, sine)), sample_rate=RATE) == pytest.approx(
        10 * math.log10(2), abs=0.01
    )
    # The peak of the louder channel over the RMS of both: half the power, 3 dB more.
    assert median_crest_db(np.stack((sine, 0 * sine)), sample_rate=RATE) == pytest.approx(
        20 * math.log10(2), abs=0.01
    )


def test_the_crest_is_the_median_of_the_windows_that_are_not_silent() -> None:
    size = round(CREST_WINDOW_S * RATE)
    windows = []
    for crest in (1.0, 2.0, 4.0, 8.0, 16.0):  # one peak on a square wave
        window = np.full(size, 0.05)
        window[100] = 0.05 * crest
        windows.append(window)
    audio = np.concatenate([*windows, np.zeros(7 * size), windows[0][: size // 2]])[None]
    power = np.mean(np.square(windows[2]))
    expected = 10 * math.log10(0.2**2 / power)
    assert median_crest_db(audio, sample_rate=RATE) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("frames", [0, 1, 100, RATE])
def test_silence_has_no_crest(frames: int) -> None:
    assert median_crest_db(np.zeros((2, frames)), sample_rate=RATE) == 0.0


def test_audio_shorter_than_a_window_has_a_crest() -> None:
    audio = np.array([[0.5, -0.5, 0.5, -0.5]])
    assert median_crest_db(audio, sample_rate=RATE) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize(("drive_db", "trim_db"), [(0.0, 0.0), (7.3214, -3.0001), (-9.0, 0.0)])
def test_a_known_drive_is_the_bus_bit_for_bit(name: str, drive_db: float, trim_db: float) -> None:
    audio = SIGNALS[name]
    ours = deliver_at(
        audio, sample_rate=RATE, ceiling_dbtp=-1.5, drive_db=drive_db, trim_db=trim_db
    ).audio
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(
        ours, bus(audio, drive_db=drive_db, ceiling_dbtp=-1.5, trim_db=trim_db)
    )


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize(("target_lufs", "ceiling_dbtp"), [(-14.0, -1.0), (-23.0, -2.0)])
def test_delivery_reaches_the_target_under_the_ceiling(
    name: str, target_lufs: float, ceiling_dbtp: float
) -> None:
    audio = SIGNALS[name]
    out = fit_delivery(audio, sample_rate=RATE, target_lufs=target_lufs, ceiling_dbtp=ceiling_dbtp)
    # 0.05 LU is the fit's own tolerance; another meter may differ by as much again.
    assert loudness_lufs(out.audio) == pytest.approx(target_lufs, abs=0.1)
    assert out.loudness_lufs == pytest.approx(loudness_lufs(out.audio), abs=0.05)
    assert true_peak_db(out.audio) <= ceiling_dbtp
    assert out.trim_db <= 0.0
    np.testing.assert_array_equal(
        out.audio,
        bus(audio, drive_db=out.drive_db, ceiling_dbtp=ceiling_dbtp, trim_db=out.trim_db),
    )


@pytest.mark.parametrize("name", ["drums", "song"])
def test_a_loud_target_is_reached_through_the_limiter(name: str) -> None:
    out = fit_delivery(2.0 * SIGNALS[name], sample_rate=RATE, target_lufs=-9.0, ceiling_dbtp=-1.0)
    assert loudness_lufs(out.audio) == pytest.approx(-9.0, abs=0.1)
    assert true_peak_db(out.audio) <= -1.0
    plain = np.abs(2.0 * SIGNALS[name]).max() * 10 ** (out.drive_db / 20)
    assert plain > 1.0  # without the limiter it would have clipped


def test_what_cannot_be_reached_comes_as_loud_as_the_limiter_can() -> None:
    # One sample in 100 ms: -5 LUFS is far beyond what the ceiling lets through.
    audio = np.zeros((2, 2 * RATE))
    audio[:, ::4410] = 0.9
    out = fit_delivery(audio, sample_rate=RATE, target_lufs=-5.0, ceiling_dbtp=-1.0)
    assert true_peak_db(out.audio) <= -1.0
    assert math.isfinite(out.drive_db)
    assert out.loudness_lufs < -10.0
    assert out.loudness_lufs == pytest.approx(loudness_lufs(out.audio), abs=0.05)


@pytest.mark.parametrize(
    ("target_lufs", "ceiling_dbtp", "level", "reached"),
    [
        (-50.0, -1.0, 4.0, True),  # -24 dB of drive are not enough, the trim does the rest
        (-30.0, -1.0, 100.0, True),
        (-5.0, -20.0, 0.1, False),
        (-5.0, -1.0, 1e-3, False),
    ],
)
def test_the_drive_is_one_that_a_plan_accepts(
    target_lufs: float, ceiling_dbtp: float, level: float, reached: bool
) -> None:
    out = fit_delivery(
        noise(2.0, level=level),
        sample_rate=RATE,
        target_lufs=target_lufs,
        ceiling_dbtp=ceiling_dbtp,
    )
    Plan(
        session="",
        sample_rate=RATE,
        frames=1,
        tracks=(),
        stems=(),
        bus={"gain_db": out.drive_db},
        delivery=Delivery(trim_db=out.trim_db),
    )
    assert out.loudness_lufs == pytest.approx(loudness_lufs(out.audio), abs=0.05)
    if reached:
        assert out.loudness_lufs == pytest.approx(target_lufs, abs=0.06)
    else:
        assert target_lufs - 30.0 < out.loudness_lufs < target_lufs
        assert true_peak_db(out.audio) <= ceiling_dbtp


def dense(crest_db: float) -> Density:
    """Return a wanted crest, for which the highest peaks may come down as far as it takes."""
    return Density(crest_db, -math.inf)


@pytest.mark.parametrize("level", [0.0, 1e-7])
def test_silence_is_delivered_as_it_is(level: float) -> None:
    audio = noise(1.0, level=level)
    out = fit_delivery(
        audio, sample_rate=RATE, target_lufs=-14.0, ceiling_dbtp=-1.0, density=dense(9.0)
    )
    assert out.drive_db == 0.0
    assert out.trim_db == 0.0
    assert out.loudness_lufs == -math.inf
    np.testing.assert_array_equal(out.audio, audio.astype(np.float32))


@pytest.mark.parametrize("fall_db", [2.0, 6.0])
def test_a_crest_is_reached_by_drive_and_the_loudness_by_trim(fall_db: float) -> None:
    audio = clicks(3.0)
    crest_db = median_crest_db(audio, sample_rate=RATE) - fall_db
    out = fit_delivery(
        audio, sample_rate=RATE, target_lufs=-30.0, ceiling_dbtp=-1.0, density=dense(crest_db)
    )
    assert median_crest_db(out.audio, sample_rate=RATE) == pytest.approx(crest_db, abs=0.1)
    assert out.trim_db < -1.0
    assert loudness_lufs(out.audio) == pytest.approx(-30.0, abs=0.1)


@pytest.mark.parametrize("plr_db", [17.0, 20.0])
def test_for_a_crest_the_highest_peaks_come_no_nearer_to_the_loudness_than_is_wanted(
    plr_db: float,
) -> None:
    audio = clicks(3.0)
    crest_db = median_crest_db(audio, sample_rate=RATE) - 10.0
    out = fit_delivery(
        audio,
        sample_rate=RATE,
        target_lufs=-30.0,
        ceiling_dbtp=-1.0,
        density=Density(crest_db, plr_db),
    )
    assert peak_to_loudness_db(out.audio, out.loudness_lufs) == pytest.approx(plr_db, abs=0.25)
    assert median_crest_db(out.audio, sample_rate=RATE) > crest_db + 0.5
    assert loudness_lufs(out.audio) == pytest.approx(-30.0, abs=0.1)


@pytest.mark.parametrize("over_db", [0.5, 3.0, 20.0])
def test_peaks_that_are_low_already_are_not_lowered_for_a_crest(over_db: float) -> None:
    audio = SIGNALS["drums"]
    plr_db = peak_to_loudness_db(audio, loudness_lufs(audio)) + over_db
    plain = fit_delivery(audio, sample_rate=RATE, target_lufs=-40.0, ceiling_dbtp=-1.0)
    wanted = fit_delivery(
        audio, sample_rate=RATE, target_lufs=-40.0, ceiling_dbtp=-1.0, density=Density(3.0, plr_db)
    )
    assert (wanted.drive_db, wanted.trim_db) == (plain.drive_db, plain.trim_db)


def test_peak_over_loudness_of_silence_is_0() -> None:
    assert peak_to_loudness_db(np.zeros((2, 9)), -math.inf) == 0.0
    assert peak_to_loudness_db(np.full((2, 9), -0.5), -20.0) == pytest.approx(13.98, abs=0.01)


def test_a_crest_that_is_there_already_changes_nothing() -> None:
    audio = SIGNALS["quiet noise"]
    plain = fit_delivery(audio, sample_rate=RATE, target_lufs=-23.0, ceiling_dbtp=-1.0)
    wanted = fit_delivery(
        audio, sample_rate=RATE, target_lufs=-23.0, ceiling_dbtp=-1.0, density=dense(40.0)
    )
    assert (wanted.drive_db, wanted.trim_db) == (plain.drive_db, plain.trim_db)


def test_no_more_than_8_db_is_taken_off_a_typical_peak_for_a_crest() -> None:
    audio = SIGNALS["drums"]
    out = fit_delivery(
        audio, sample_rate=RATE, target_lufs=-40.0, ceiling_dbtp=-1.0, density=dense(0.0)
    )
    size = round(0.35 * RATE)
    peaks = [np.abs(audio[:, n : n + size]).max() for n in range(0, audio.shape[1] - size, size)]
    # Driven so far that the middle one of these peaks is at most 8 dB over the ceiling.
    assert 20.0 * np.log10(np.median(peaks)) + out.drive_db <= -1.0 + 8.0 + 0.2
    assert median_crest_db(out.audio, sample_rate=RATE) > 5.0


@pytest.mark.parametrize("name", ["drums", "song"])
@pytest.mark.parametrize("drive_db", [0.0, 6.0, 12.0])
def test_a_sketch_tells_what_a_drive_makes_of_loudness_and_crest(
    name: str, drive_db: float
) -> None:
    audio = SIGNALS[name]
    meter = EnergyMeter(sample_rate=RATE, channels=2)
    meter.process(audio.astype(np.float32))
    sketch = LimiterSketch(
        audio,
        meter.segment_power(),
        sample_rate=RATE,
        ceiling_dbtp=-1.0,
        window_frames=round(CREST_WINDOW_S * RATE),
        silent_power=1e-6,
    )
    loudness, crest = sketch.at(drive_db)
    out = deliver_at(audio, sample_rate=RATE, ceiling_dbtp=-1.0, drive_db=drive_db).audio
    # White noise is the worst case: its true peaks lie far over its samples.
    assert loudness == pytest.approx(loudness_lufs(out), abs=0.5)
    assert crest == pytest.approx(median_crest_db(out, sample_rate=RATE), abs=0.5)
