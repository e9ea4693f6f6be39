import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.console.parameters import BUS, STRIP
from pipeline.errors import InputError
from pipeline.units import FloatArray
from stage2.console.action_space import Reach
from stage2.console.band_model import BandModel
from stage2.console.search_space import StemGuard, StemInput
from stage2.console.statistics import Digest, digest_stems
from stage2.controller.inputs import StemFigures, encode_stems, reference_windows
from stage2.controller.network import (
    Controller,
    ControllerSize,
    Moves,
    batch_scenes,
    predict_settings,
)
from stage2.controller.predict import predict
from stage2.controller.weights_file import load_controller, save_controller
from stage2.priors.engineers import bus_prior, strip_prior
from stage2.style.broad import HEARD_FIGURES, Broad, before_limiter, broadened
from stage2.style.measure import measure_style
from stage2.style.target import StyleTarget

torch.set_num_threads(1)

RATE = 16_000
NAMES = ("drums", "bass", "keys", "guitars", "lead_vocals", "strings")
GAINS_DB = (0.0, -3.0, 2.0, -6.0, 1.0, -1.5)
FREE = StemGuard(max_spread=0.3, highest_high_pass_hz=60.0)


def noise(draw: np.random.Generator, tilt: float, seconds: float = 4.0) -> FloatArray:
    """Return stereo noise that swells, darker or brighter."""
    frames = round(seconds * RATE)
    frequency = np.fft.rfftfreq(frames, 1.0 / RATE)
    spectrum = np.fft.rfft(draw.standard_normal((2, frames)))
    audio = np.fft.irfft(spectrum * (np.maximum(frequency, 30.0) / 500.0) ** tilt, frames)
    audio[1] = 0.6 * audio[0] + 0.4 * audio[1]
    swell = 0.1 + np.exp(-(np.arange(frames) / RATE % draw.uniform(0.3, 1.0)) / 0.1)
    return np.asarray(0.1 * swell * audio / audio.std(), dtype=np.float32)


@cache
def stems() -> tuple[FloatArray, ...]:
    draw = np.random.default_rng(11)
    return tuple(noise(draw, tilt) for tilt in (-0.3, -1.2, -0.6, -0.5, -0.4, -0.8))


@cache
def reference() -> FloatArray:
    return noise(np.random.default_rng(12), -0.9, 9.0)


@cache
def target() -> StyleTarget:
    """Return the style of the reference."""
    style = measure_style(reference(), sample_rate=RATE)
    return StyleTarget.of(style, [reference_windows(reference(), sample_rate=RATE)])


def segments() -> Tensor:
    """Return the reference's segments as the network sees them."""
    windows = reference_windows(reference(), sample_rate=RATE).astype(np.float64)
    return broadened(torch.from_numpy(windows)).float()


@cache
def controller(passes: int = 2) -> Controller:
    """Return a controller whose every weight says something."""
    torch.manual_seed(4)
    made = Controller(ControllerSize(width=20, blocks=1, heads=5, passes=passes))
    with torch.no_grad():
        for head in (made.strip_head, made.bus_head):
            head.weight += 0.05 * torch.randn_like(head.weight)
            head.bias += 0.3 * torch.randn_like(head.bias)
    return made.eval()


@cache
def shipped() -> Controller:
    return load_controller()


@pytest.fixture(params=["made up", "shipped"])
def each(request: pytest.FixtureRequest) -> Controller:
    """Return a controller: what holds of one that is made up must hold of the shipped one."""
    return controller() if request.param == "made up" else shipped()


def settle(
    audio: Sequence[FloatArray],
    gains_db: Sequence[float],
    names: Sequence[str],
    *,
    by: Controller | None = None,
) -> tuple[Tensor, Tensor, Digest]:
    """Return the settings of strips and bus that a controller predicts for stems."""
    digest = digest_stems(audio, sample_rate=RATE)
    guards = [FREE] * len(audio)
    figures = encode_stems(digest, gains_db=gains_db, subgroups=names, guards=guards)
    typical = [*(strip_prior(name).typical() for name in names), bus_prior().typical()]
    reach = Reach(gains_db=gains_db, guards=guards, typical=typical)
    whole = torch.from_numpy(target().figures()[:HEARD_FIGURES]).float()
    scene = batch_scenes([figures], [(whole, segments())])
    strips, bus, *_ = predict_settings(by or controller(), BandModel(digest), scene, reach)
    return strips, bus, digest


def spectrum_db(digest: Digest, strips: Tensor, bus: Tensor) -> Tensor:
    """Return the level of the mix in each broad band, relative to its sum."""
    return before_limiter(BandModel(digest)(strips, bus).features)[Broad.SPECTRUM]


def test_settings_follow_the_stems_when_these_change_places(each: Controller) -> None:
    order = [3, 0, 5, 1, 4, 2]
    strips, bus, _ = settle(stems(), GAINS_DB, NAMES, by=each)
    shuffled, same_bus, _ = settle(
        [stems()[i] for i in order],
        [GAINS_DB[i] for i in order],
        [NAMES[i] for i in order],
        by=each,
    )
    scale = torch.tensor([p.high - p.low for p in STRIP])
    assert ((shuffled - strips[order]) / scale).abs().max() < 1e-5
    assert (same_bus - bus).abs().max() < 1e-4  # dB and ms
    assert (strips[0] - strips[1]).abs().max() > 0.1


@pytest.mark.parametrize("count", [1, 2, 8, 16, 32, 64])
def test_any_number_of_stems_gets_settings_within_the_safe_ranges(
    count: int, each: Controller
) -> None:
    draw = np.random.default_rng(count)
    audio = [noise(draw, float(draw.uniform(-1.5, 0.0)), 1.0) for _ in range(count)]
    names = [NAMES[i % len(NAMES)] for i in range(count)]
    strips, bus, _ = settle(audio, [-10.0] * count, names, by=each)
    assert strips.shape == (count, len(STRIP))
    for values, table in ((strips, STRIP), (bus[None], BUS)):
        low = torch.tensor([p.safe_low for p in table])
        high = torch.tensor([p.safe_high for p in table])
        assert ((values >= low - 1e-9) & (values <= high + 1e-9)).all()


def halved(index: int) -> tuple[list[FloatArray], list[float], list[str]]:
    """Return the stems with one of them as two identical halves."""
    audio, gains, names = list(stems()), list(GAINS_DB), list(NAMES)
    half = np.float32(0.5) * audio[index]
    audio[index : index + 1] = [half, half]
    gains.insert(index, gains[index])
    names.insert(index, names[index])
    return audio, gains, names


@pytest.mark.parametrize("index", [0, 4])
def test_a_stem_in_two_halves_is_mixed_as_the_stem_is(index: int, each: Controller) -> None:
    strips, bus, digest = settle(stems(), GAINS_DB, NAMES, by=each)
    whole = spectrum_db(digest, strips, bus)
    moved, same_bus, digest = settle(*halved(index), by=each)
    apart = spectrum_db(digest, moved, same_bus) - whole
    assert apart.abs().max() < 0.5  # dB
    assert (moved[index] - moved[index + 1]).abs().max() < 1e-3  # Hz, ms


def test_a_stem_turned_down_whose_fader_makes_up_for_it_sounds_the_same() -> None:
    strips, bus, _ = settle(stems(), GAINS_DB, NAMES)
    quiet = [audio * (10.0**-0.5 if i == 2 else 1.0) for i, audio in enumerate(stems())]
    gains = [gain + (10.0 if i == 2 else 0.0) for i, gain in enumerate(GAINS_DB)]
    compensated, same_bus, _ = settle(quiet, gains, NAMES)
    compensated[2, STRIP.columns["gain_db"]] -= 10.0
    assert (compensated - strips).abs().max() < 1e-3
    assert (same_bus - bus).abs().max() < 1e-3


def looked(scenes: Sequence[tuple[StemFigures, Tensor]]) -> Moves:
    """Return what a controller does at its second look, the mix 1 dB over the references."""
    scene = batch_scenes(
        [figures for figures, _ in scenes], [(w.mean(dim=0), w) for _, w in scenes]
    )
    batch, count = scene.heard.shape
    nothing = torch.zeros(batch, count, len(STRIP)), torch.zeros(batch, len(BUS))
    with torch.no_grad():
        return controller()(scene, *nothing, scene.reference + 1.0, 1)


def figures(
    audio: Sequence[FloatArray], gains_db: Sequence[float], names: Sequence[str]
) -> StemFigures:
    return encode_stems(
        digest_stems(audio, sample_rate=RATE),
        gains_db=gains_db,
        subgroups=names,
        guards=[FREE] * len(audio),
    )


def test_a_look_does_not_tell_halves_of_a_stem_from_the_stem() -> None:
    windows = segments()
    whole = looked([(figures(stems(), GAINS_DB, NAMES), windows)])
    split = looked([(figures(*halved(2)), windows)])
    assert (split.strips[0, [0, 1, 2, 4, 5, 6]] - whole.strips[0]).abs().max() < 1e-5
    assert (split.bus - whole.bus).abs().max() < 1e-5


def test_what_is_batched_gets_what_it_gets_alone() -> None:
    windows = segments()
    few = figures(stems()[:2], GAINS_DB[:2], NAMES[:2]), windows[:1]
    many = figures(stems(), GAINS_DB, NAMES), windows
    together = looked([few, many])
    for index, count in ((0, 2), (1, len(NAMES))):
        alone = looked([(few, many)[index]])
        assert (together.strips[index, :count] - alone.strips[0]).abs().max() < 1e-5
        assert (together.bus[index] - alone.bus[0]).abs().max() < 1e-5
        assert (together.bus_log_spread[index] - alone.bus_log_spread[0]).abs().max() < 1e-5


def test_before_it_has_learned_anything_it_does_what_engineers_usually_do() -> None:
    torch.manual_seed(0)
    fresh = Controller(ControllerSize(width=20, blocks=1, heads=5, passes=2)).eval()
    strips, bus, _ = settle(stems(), GAINS_DB, NAMES, by=fresh)
    for name, gain_db, row in zip(NAMES, GAINS_DB, strips.tolist(), strict=True):
        settings = dict(zip(STRIP.columns, row, strict=True))
        typical = strip_prior(name).typical()
        assert settings["gain_db"] == pytest.approx(gain_db)
        for setting in ("low_mid_peak_gain_db", "high_shelf_gain_db", "ratio", "threshold_lu"):
            assert settings[setting] == pytest.approx(typical[setting], abs=0.05), (name, setting)
    assert bus[BUS.columns["high_shelf_gain_db"]] == pytest.approx(0.0, abs=1e-6)


def test_a_file_gives_the_same_controller_back(tmp_path: Path) -> None:
    path = tmp_path / "controller.safetensors"
    save_controller(controller(), path, record={"note": "a test"})
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "controller.json", "controller.safetensors"]  # fmt: skip
    strips, bus, _ = settle(stems(), GAINS_DB, NAMES)
    again, same_bus, _ = settle(stems(), GAINS_DB, NAMES, by=load_controller(path))
    assert torch.equal(again, strips)
    assert torch.equal(same_bus, bus)


def test_weights_that_are_not_those_of_their_record_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "controller.safetensors"
    save_controller(controller(), path, record={})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="not what its record tells of"):
        load_controller(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "controller.safetensors"
    other = Controller(ControllerSize(width=20, blocks=1, heads=5))
    save_controller(other, path, record={})
    record = json.loads(path.with_suffix(".json").read_text())
    record["size"]["width"] = 40
    path.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="another version's network"):
        load_controller(path)


@pytest.mark.parametrize("kind", ["near silence", "mono", "noise", "a click", "a tone"])
def test_odd_stems_get_settings_that_make_sense(kind: str) -> None:
    frames = 2 * RATE
    draw = np.random.default_rng(1)
    audio = np.zeros((2, frames), dtype=np.float32)
    if kind == "near silence":
        audio += 1e-6 * draw.standard_normal((2, frames)).astype(np.float32)
    elif kind == "mono":
        audio += (0.1 * draw.standard_normal(frames)).astype(np.float32)
    elif kind == "noise":
        audio += (0.5 * draw.standard_normal((2, frames))).astype(np.float32)
    elif kind == "a click":
        audio[:, frames // 2] = 1.0
    else:
        audio += np.sin(2.0 * np.pi * 440.0 * np.arange(frames) / RATE).astype(np.float32)
    for others in ([], [stems()[0][:, :frames]]):
        inputs = [
            StemInput(f"stem {i}", np.ascontiguousarray(a), -6.0, -20.0, FREE)
            for i, a in enumerate([audio, *others])
        ]
        told = predict(
            inputs,
            target(),
            reference_windows(reference(), sample_rate=RATE),
            sample_rate=RATE,
            controller=controller(),
        )
        for settings, spread in zip(told.strips, told.strips_spread, strict=True):
            for p in STRIP:
                assert p.safe_low - 1e-9 <= settings[p.name] <= p.safe_high + 1e-9, p.name
                assert np.isfinite(spread[p.name])
                assert spread[p.name] >= (1.0 if p.scale == "log" else 0.0)
        for p in BUS:
            assert p.safe_low - 1e-9 <= told.bus[p.name] <= p.safe_high + 1e-9, p.name


@pytest.mark.parametrize("kind", ["mono", "one side", "opposite sides", "a tone", "a second"])
def test_odd_references_get_settings_that_make_sense(kind: str) -> None:
    heard = reference()
    odd = {
        "mono": heard[:1],
        "one side": heard * np.array([[1.0], [0.0]], dtype=np.float32),
        "opposite sides": heard[:1] * np.array([[1.0], [-1.0]], dtype=np.float32),
        "a tone": np.sin(0.4 * np.arange(3 * RATE, dtype=np.float32))[None],
        "a second": heard[:, :RATE],
    }[kind]
    told = predict(
        [
            StemInput(name, audio, gain, -20.0, FREE)
            for name, audio, gain in zip(NAMES, stems(), GAINS_DB, strict=True)
        ],
        StyleTarget.of(
            measure_style(odd, sample_rate=RATE), [reference_windows(odd, sample_rate=RATE)]
        ),
        reference_windows(odd, sample_rate=RATE),
        sample_rate=RATE,
    )
    for table, rows in ((STRIP, told.strips), (BUS, (told.bus,))):
        for settings in rows:
            for p in table:
                assert p.safe_low - 1e-9 <= settings[p.name] <= p.safe_high + 1e-9, p.name
