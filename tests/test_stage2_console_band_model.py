from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
import torch

from pipeline.console.parameters import BUS, STRIP, Aspect, Parameter, default_settings
from pipeline.console.processors import Bus, Strip
from pipeline.loudness.meter import measure
from pipeline.units import FloatArray
from stage2.console.band_model import BandModel, ModelledMix
from stage2.console.search_space import HELD
from stage2.console.statistics import Digest, digest_stems, frame_powers
from stage2.style.measure import Style, measure_style

torch.set_num_threads(1)  # many tiny operations: on a busy machine threads wait for each other

RATE = 44100
SECONDS = 4.0
Settings = dict[str, float]


@cache
def stems() -> tuple[FloatArray, ...]:
    """Return bursts in mono, wide noise, and one-sided noise that carries some of the bursts.

    Pink from 18 Hz to 16 kHz: what the model's bands cover.
    """
    frames = round(SECONDS * RATE)
    frequency = np.fft.rfftfreq(frames, 1.0 / RATE)
    shape = np.where((frequency > 18.0) & (frequency < 16000.0), 1.0, 0.0)
    shape /= np.sqrt(np.maximum(frequency, 18.0))
    draw = np.random.default_rng(7)
    pink = np.fft.irfft(np.fft.rfft(draw.standard_normal((4, frames))) * shape, frames)
    pink *= 0.1 / pink.std()
    swell = 0.15 + np.exp(-(np.arange(frames) / RATE % 0.5) / 0.08)
    bursts = np.stack((pink[0], pink[0])) * swell
    wide = np.stack((pink[1] + 0.5 * pink[2], pink[1] - 0.5 * pink[2]))
    spill = 0.5 * bursts + np.stack((pink[3], 0.4 * pink[3]))
    return tuple(stem.astype(np.float32) for stem in (bursts, wide, spill))


@cache
def model() -> BandModel:
    return BandModel(digest_stems(stems(), sample_rate=RATE), [0.0] * 3)


def vector(values: Settings, table: tuple[Parameter, ...]) -> list[float]:
    return [values[p.name] for p in table]


def modelled(
    strips: Sequence[Settings], bus: Settings, *, of: BandModel | None = None, frames: bool = False
) -> ModelledMix:
    with torch.no_grad():
        return (of or model())(
            torch.tensor([vector(s, STRIP) for s in strips], dtype=torch.float64),
            torch.tensor(vector(bus, BUS), dtype=torch.float64),
            with_frames=frames,
        )


def rendered(strips: Sequence[Settings], bus: Settings) -> tuple[FloatArray, list[FloatArray]]:
    """Return the mix and each stem after its strip, by the exact processors."""
    outs = [
        Strip(s, level_lufs=0.0, sample_rate=RATE).process(x)
        for s, x in zip(strips, stems(), strict=True)
    ]
    total = np.asarray(np.sum(outs, axis=0, dtype=np.float64))
    return Bus(bus, sample_rate=RATE).process(total).astype(np.float32), outs


def drawn(
    table: tuple[Parameter, ...], seed: int, *, aspects: set[Aspect], eq_db: float = 9.0
) -> Settings:
    """Return random settings of some aspects within the safe ranges, the others neutral."""
    draw = np.random.default_rng(seed)
    values = default_settings(table)
    for p in table:
        u = draw.uniform()
        if p.aspect not in aspects or p.name in ("gain_db", *HELD):
            continue
        if p.name.endswith("_gain_db"):
            values[p.name] = float((2.0 * u - 1.0) * eq_db)
        elif p.scale == "log":
            values[p.name] = float(p.safe_low * (p.safe_high / p.safe_low) ** u)
        else:
            values[p.name] = float(p.safe_low + (p.safe_high - p.safe_low) * u)
    if table is STRIP and Aspect.LEVEL in aspects:
        values["gain_db"] = float(draw.uniform(-9.0, 9.0))
    return values


def smooth_bus_eq(values: Settings, seed: int) -> Settings:
    """Return the settings with a bus EQ that bends by a few dB an octave, as one that is fitted."""
    draw = np.random.default_rng(seed)
    names = [band.gain_name for band in BUS.eq_bands]
    return values | dict(zip(names, draw.uniform(-4.0, 4.0, 5).tolist(), strict=True))


def figure(mix: ModelledMix, prefix: str) -> FloatArray:
    chosen = [i for i, name in enumerate(BandModel.feature_names) if name.startswith(prefix)]
    return np.asarray(mix.features.numpy()[chosen])


def errors(mix: ModelledMix, style: Style) -> dict[str, FloatArray]:
    """Return modelled less measured figures in dB; bands 40 dB under the loudest are not judged."""
    spectrum = np.asarray(style.spectrum_db)
    judged = spectrum > spectrum.max() - 40.0
    widths = np.array([style.width_db, *style.width_by_range_db])
    apart = figure(mix, "spectrum_") - spectrum
    return {
        "low": np.where(judged, apart, 0.0)[:7],  # 25 to 100 Hz
        "high": np.where(judged, apart, 0.0)[7:],
        "width": np.where(widths > -35.0, figure(mix, "width_") - widths, 0.0),
        "imbalance": figure(mix, "imbalance_").clip(-12.0, 12.0) - style.imbalance_db,
    }


def lufs(outs: Sequence[FloatArray]) -> list[float]:
    return [measure(out, sample_rate=RATE).integrated_lufs for out in outs]


LINEAR = {Aspect.LEVEL, Aspect.PAN, Aspect.WIDTH}


def test_features_are_named_once_each() -> None:
    neutral = modelled([default_settings(STRIP)] * 3, default_settings(BUS))
    assert neutral.features.shape == (len(BandModel.feature_names),)
    assert len(set(BandModel.feature_names)) == len(BandModel.feature_names)
    assert neutral.stem_lufs.shape == (3,)
    assert neutral.frames is None


def test_a_neutral_console_has_the_style_of_the_plain_sum() -> None:
    strips, bus = [default_settings(STRIP)] * 3, default_settings(BUS)
    mix, outs = rendered(strips, bus)
    np.testing.assert_array_equal(outs, stems())
    out = modelled(strips, bus)
    style = measure_style(mix, sample_rate=RATE)
    # The same spectra, summed in another order, of float32 samples.
    for name, apart in errors(out, style).items():
        assert np.abs(apart).max() < 0.01, name
    assert out.stem_lufs.numpy() == pytest.approx(lufs(outs), abs=1e-6)


@pytest.mark.parametrize("seed", range(0, 120, 10))
def test_gain_pan_width_and_spread_are_exact(seed: int) -> None:
    strips = [drawn(STRIP, seed + i, aspects=LINEAR) for i in range(3)]
    bus = drawn(BUS, seed + 3, aspects=LINEAR)
    mix, outs = rendered(strips, bus)
    out = modelled(strips, bus)
    # What is left: the decorrelator rings over the edges of the windows, and its phase turns
    # within a band; of stems that are correlated that shows in single bands.
    for name, apart in errors(out, measure_style(mix, sample_rate=RATE)).items():
        assert np.abs(apart).max() < 0.03, name
    # The width moves some energy between channels, which gates of 400 ms see: a few hundredths.
    assert out.stem_lufs.numpy() == pytest.approx(lufs(outs), abs=0.05)


@pytest.mark.parametrize("seed", range(0, 80, 10))
def test_typical_moments_agree_but_for_what_stems_have_in_common(seed: int) -> None:
    aspects = LINEAR | {Aspect.EQ}
    strips = [drawn(STRIP, seed + i, aspects=aspects) for i in range(3)]
    bus = smooth_bus_eq(drawn(BUS, seed + 3, aspects=LINEAR), seed)
    style = measure_style(rendered(strips, bus)[0], sample_rate=RATE)
    spectrum = np.asarray(style.spectrum_db)
    apart = figure(modelled(strips, bus), "typical_") - style.typical_spectrum_db
    apart = apart[spectrum > spectrum.max() - 40.0]
    # Windows are summed by power; stems that are correlated agree in the mean over them alone.
    assert np.abs(apart).max() < 1.5
    assert np.abs(apart).mean() < 0.5


@pytest.mark.parametrize("seed", range(0, 80, 10))
def test_strip_equalisers_agree(seed: int) -> None:
    aspects = LINEAR | {Aspect.EQ}
    strips = [drawn(STRIP, seed + i, aspects=aspects) for i in range(3)]
    bus = drawn(BUS, seed + 3, aspects=LINEAR)
    mix, outs = rendered(strips, bus)
    out = modelled(strips, bus)
    apart = errors(out, measure_style(mix, sample_rate=RATE))
    # One value stands for a response that changes within its band: a twelfth of an octave, but
    # below 100 Hz a third, over which a peak of 9 dB and Q 3 bends by some dB.
    assert np.abs(apart["high"]).max() < 0.3
    assert np.abs(apart["high"]).mean() < 0.03
    assert np.abs(apart["low"]).max() < 0.5
    assert np.abs(apart["width"]).max() < 0.05
    assert np.abs(apart["imbalance"]).max() < 0.03
    assert out.stem_lufs.numpy() == pytest.approx(lufs(outs), abs=0.15)


@pytest.mark.parametrize("seed", range(0, 80, 10))
def test_the_bus_equaliser_agrees(seed: int) -> None:
    strips = [drawn(STRIP, seed + i, aspects=LINEAR) for i in range(3)]
    bus = smooth_bus_eq(drawn(BUS, seed + 3, aspects=LINEAR), seed)
    mix, _ = rendered(strips, bus)
    apart = errors(modelled(strips, bus), measure_style(mix, sample_rate=RATE))
    # Bell next to bell, Q 3: the response within a band bends by tenths of a dB.
    assert np.abs(apart["high"]).max() < 0.2
    assert np.abs(apart["low"]).max() < 1.0
    assert np.abs(apart["width"]).max() < 0.05
    assert np.abs(apart["imbalance"]).max() < 0.03


def test_the_bus_width_narrows_what_pan_and_width_made() -> None:
    strips = [drawn(STRIP, i, aspects=LINEAR) for i in range(3)]
    wide, narrow = (modelled(strips, default_settings(BUS) | {"width": w}) for w in (1.0, 0.5))
    fall = figure(wide, "width_") - figure(narrow, "width_")
    assert fall == pytest.approx(20 * np.log10(2.0), abs=1e-6)


def level_change(strip: Settings, of: BandModel) -> FloatArray:
    """Return how the modelled stem levels change from neutral strips to ``strip`` on all."""
    count = of.digest.stems
    plain = modelled([default_settings(STRIP)] * count, default_settings(BUS), of=of)
    changed = modelled([strip] * count, default_settings(BUS), of=of)
    return np.asarray((changed.stem_lufs - plain.stem_lufs).numpy())


@pytest.mark.parametrize("threshold_lu", [-36.0, -26.0])
@pytest.mark.parametrize("ratio", [2.0, 4.0])
@pytest.mark.parametrize(("attack_ms", "release_ms"), [(5.0, 60.0), (30.0, 300.0)])
def test_a_strips_compressor_takes_off_what_the_real_one_does(
    threshold_lu: float, ratio: float, attack_ms: float, release_ms: float
) -> None:
    values = default_settings(STRIP) | {
        "threshold_lu": threshold_lu,
        "ratio": ratio,
        "attack_ms": attack_ms,
        "release_ms": release_ms,
    }
    real = np.subtract(lufs(rendered([values] * 3, default_settings(BUS))[1]), lufs(stems()))
    assert real.min() < -1.0
    # Control frames of 5 ms blur an attack, by a tenth of what bursts are reduced; after each real
    # render the rest is corrected.
    apart = np.abs(level_change(values, model()) - real)
    assert (apart < 0.3 + 0.1 * np.abs(real)).all()


@pytest.mark.parametrize("frequency_hz", [45.0, 90.0, 400.0, 3000.0])
def test_the_level_that_a_compressor_sees_does_not_depend_on_the_frequency(
    frequency_hz: float,
) -> None:
    t = np.arange(6 * RATE) / RATE  # long against the attack, which is another test's matter
    tone = np.float32(0.2) * np.sin(2 * np.pi * frequency_hz * t).astype(np.float32)
    audio = np.stack((tone, tone))
    of = BandModel(digest_stems([audio], sample_rate=RATE), [0.0])
    values = default_settings(STRIP) | {
        "threshold_lu": -37.0,
        "ratio": 2.0,
        "attack_ms": 50.0,
        "release_ms": 50.0,
    }
    out = Strip(values, level_lufs=0.0, sample_rate=RATE).process(audio)
    real = np.subtract(lufs([out]), lufs([audio]))
    # A steady level 20 dB over the threshold; the ripple of low tones is smoothed by 50 ms.
    assert level_change(values, of) == pytest.approx(real, abs=0.3)


def test_the_envelope_has_the_power_of_the_audio() -> None:
    digest = model().digest
    for stem, envelope in zip(stems(), digest.envelope, strict=True):
        ratio = envelope.sum(axis=1).mean() / np.mean(np.square(stem, dtype=np.float64))
        # Frames at the very ends count a little less.
        assert 10 * np.log10(ratio) == pytest.approx(0.0, abs=0.1)


def test_the_bus_compressor_keeps_the_modelled_spectrum_close() -> None:
    values = {"threshold_lu": -4.0, "ratio": 3.0, "attack_ms": 20.0, "release_ms": 150.0}
    strips, bus = [default_settings(STRIP)] * 3, default_settings(BUS) | values
    mix, _ = rendered(strips, bus)
    console = Bus(bus, sample_rate=RATE)
    console.process(np.sum(stems(), axis=0, dtype=np.float64))
    assert console.compressor.gain_reduction.mean_db > 1.0
    apart = errors(modelled(strips, bus), measure_style(mix, sample_rate=RATE))
    # Compression shifts bands against each other where bursts and bed differ in colour.
    for name in ("low", "high", "width"):
        assert np.abs(apart[name]).max() < 0.5, name


@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_the_punch_is_close_before_and_after_compression(ratio: float) -> None:
    pair = stems()[:2]
    of = BandModel(digest_stems(pair, sample_rate=RATE), [0.0, 0.0])
    values = {"threshold_lu": -40.0, "ratio": ratio, "attack_ms": 30.0, "release_ms": 300.0}
    strips = [default_settings(STRIP) | values, default_settings(STRIP) | {"gain_db": -20.0}]
    outs = [
        Strip(s, level_lufs=0.0, sample_rate=RATE).process(x)
        for s, x in zip(strips, pair, strict=True)
    ]
    style = measure_style(np.sum(outs, axis=0), sample_rate=RATE)
    ours = figure(modelled(strips, default_settings(BUS), of=of), "punch_")
    # Of stems that are not correlated the envelopes add up. Frames that reach 5 ms ahead react to
    # an attack before it is there, which takes off more punch than the real compressor.
    tolerance = 0.5 if ratio == 1.0 else 1.6
    assert ours == pytest.approx(np.asarray(style.punch_by_range_db), abs=tolerance)


def test_makeup_and_gain_are_a_level_and_nothing_else() -> None:
    plain = default_settings(STRIP)
    low = modelled([plain | {"gain_db": -6.0, "makeup_db": 6.0}] * 3, default_settings(BUS))
    neutral = modelled([plain] * 3, default_settings(BUS))
    torch.testing.assert_close(low.features, neutral.features, rtol=0.0, atol=1e-6)
    torch.testing.assert_close(low.stem_lufs, neutral.stem_lufs, rtol=0.0, atol=1e-6)


def test_frames_follow_a_stem_moment_by_moment() -> None:
    bursts = stems()[0]
    of = BandModel(digest_stems([bursts], sample_rate=RATE))
    values = drawn(STRIP, 4, aspects={Aspect.EQ, Aspect.LEVEL}, eq_db=6.0)
    out = Strip(values, level_lufs=0.0, sample_rate=RATE).process(bursts)
    ours = modelled([values], default_settings(BUS), of=of, frames=True).frames
    assert ours is not None
    real = frame_powers(out, sample_rate=RATE, bands=of.digest.bands)
    assert ours.shape == real.shape
    judged = (of.digest.bands.centre_hz > 120.0) & (of.digest.bands.centre_hz < 15000.0)
    apart = 10 * np.log10(ours.numpy() / real)[:, judged]
    # A twelfth of an octave of noise in a single window: what is in it lies off its centre.
    assert np.abs(apart).mean() < 0.15
    assert np.abs(apart.mean(axis=0)).max() < 0.3


def test_frame_powers_are_the_power_of_the_audio() -> None:
    wide = stems()[1]
    powers = frame_powers(wide, sample_rate=RATE, bands=model().digest.bands)
    # Without the ends, where windows fade.
    ratio = powers.sum(axis=1).mean() / np.mean(np.square(wide, dtype=np.float64))
    assert 10 * np.log10(ratio) == pytest.approx(0.0, abs=0.3)


def silenced(stem: FloatArray, first_s: float) -> FloatArray:
    """Return the stem with nothing but its first seconds."""
    return np.where(np.arange(stem.shape[1]) < first_s * RATE, stem, 0.0).astype(np.float32)


CASES: dict[str, Callable[[], tuple[FloatArray, ...]]] = {
    "music": stems,
    "one stem rests": lambda: (*stems()[:2], np.zeros_like(stems()[2])),
    "silent but for a second": lambda: tuple(silenced(stem, 1.0) for stem in stems()),
    "silence": lambda: tuple(np.zeros_like(stem) for stem in stems()),
}


@cache
def model_of(case: str) -> BandModel:
    return BandModel(digest_stems(CASES[case](), sample_rate=RATE))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("where", ["low", "high", "safe_low", "safe_high", "default"])
def test_every_figure_and_gradient_is_finite(case: str, where: str) -> None:
    strips = torch.tensor(
        [[getattr(p, where) for p in STRIP]] * 3, dtype=torch.float64, requires_grad=True
    )
    bus = torch.tensor([getattr(p, where) for p in BUS], dtype=torch.float64, requires_grad=True)
    mix = model_of(case)(strips, bus, with_frames=True)
    assert mix.frames is not None
    assert torch.isfinite(mix.features).all()
    assert torch.isfinite(mix.stem_lufs).all()
    whole = mix.features.square().sum() + mix.stem_lufs.square().sum()
    whole = whole + torch.log10(mix.frames + 1e-12).sum()
    for gradient in torch.autograd.grad(whole, (strips, bus)):
        assert torch.isfinite(gradient).all()


def test_a_stem_that_rests_changes_nothing() -> None:
    strips = [drawn(STRIP, i, aspects=set(Aspect)) for i in range(3)]
    bus = drawn(BUS, 3, aspects=set(Aspect))
    with_rest = modelled(strips, bus, of=model_of("one stem rests"))
    two = BandModel(digest_stems(stems()[:2], sample_rate=RATE))
    without = modelled(strips[:2], bus, of=two)
    # Each band's power has 1e-12 added to it.
    torch.testing.assert_close(with_rest.features, without.features, rtol=0.0, atol=1e-5)


CHECKED = {
    "strip": (
        "gain_db", "high_pass_hz", "low_peak_gain_db", "low_peak_frequency_hz", "low_peak_q",
        "high_shelf_gain_db", "threshold_lu", "ratio", "attack_ms", "release_ms", "width",
        "spread", "pan",
    ),
    "bus": ("mid_peak_gain_db", "threshold_lu", "ratio", "attack_ms", "release_ms", "width"),
}  # fmt: skip


def test_gradients_are_those_of_finite_differences() -> None:
    strips = torch.tensor(
        [vector(drawn(STRIP, i, aspects=set(Aspect), eq_db=5.0), STRIP) for i in (11, 12, 13)],
        dtype=torch.float64,
    )
    bus = torch.tensor(
        vector(drawn(BUS, 14, aspects=set(Aspect), eq_db=3.0), BUS), dtype=torch.float64
    )
    names = ([p.name for p in STRIP], [p.name for p in BUS])
    for vectors, held, threshold_lu in ((strips, names[0], -30.0), (bus[None], names[1], -10.0)):
        vectors[:, held.index("threshold_lu")] = threshold_lu  # the compressors work
        vectors[:, held.index("ratio")] = 2.5
    places = [(0, strips[1], names[0].index(n)) for n in CHECKED["strip"]]
    places += [(1, bus, names[1].index(n)) for n in CHECKED["bus"]]
    weights = torch.from_numpy(np.random.default_rng(1).uniform(0.5, 1.5, 200))

    def loss() -> torch.Tensor:
        mix = model()(strips, bus, with_frames=True)
        assert mix.frames is not None
        features = mix.features * weights[: mix.features.numel()]
        return features.sum() + mix.stem_lufs.sum() + 10 * torch.log10(mix.frames).mean()

    strips.requires_grad_()
    bus.requires_grad_()
    of_strips, of_bus = torch.autograd.grad(loss(), (strips, bus))
    gradients = (of_strips[1], of_bus)
    with torch.no_grad():
        for which, row, column in places:
            value = float(row[column])
            step = 1e-5 * max(abs(value), 1.0)
            ends = []
            for moved in (value + step, value - step):
                row[column] = moved
                ends.append(float(loss()))
            row[column] = value
            # Central differences in float64: the rest is curvature and a few branches per step.
            slope = (ends[0] - ends[1]) / (2.0 * step)
            assert float(gradients[which][column]) == pytest.approx(slope, rel=2e-3, abs=2e-5)


def test_a_digest_does_not_depend_on_what_comes_with_a_stem() -> None:
    alone: Digest = digest_stems(stems()[1:2], sample_rate=RATE)
    together = model().digest
    np.testing.assert_array_equal(alone.envelope[0], together.envelope[1])
    np.testing.assert_array_equal(alone.frames[0], together.frames[1])
    np.testing.assert_allclose(
        alone.cross[:, :3, :3], together.cross[:, 3:6, 3:6], rtol=1e-5, atol=1e-12
    )


def test_a_digest_does_not_depend_on_the_number_of_threads() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    digests = []
    for threads in (1, 2):
        with threadpoolctl.threadpool_limits(threads):
            digests.append(digest_stems(stems(), sample_rate=RATE))
    np.testing.assert_array_equal(digests[0].cross, digests[1].cross)
    np.testing.assert_array_equal(digests[0].frames, digests[1].frames)
    np.testing.assert_array_equal(digests[0].envelope, digests[1].envelope)


def test_audio_shorter_than_a_window_is_digested() -> None:
    short = [stem[:, :3000] for stem in stems()]
    out = modelled(
        [default_settings(STRIP)] * 3,
        default_settings(BUS),
        of=BandModel(digest_stems(short, sample_rate=RATE)),
    )
    style = measure_style(np.sum(short, axis=0), sample_rate=RATE)
    assert figure(out, "spectrum_") == pytest.approx(np.asarray(style.spectrum_db), abs=0.01)
    assert figure(out, "imbalance_") == pytest.approx(style.imbalance_db, abs=0.01)
