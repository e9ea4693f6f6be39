"""Predicted, refined, or both: what a mix and its plan make of the controller."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.mix.recipe import mix_session
from flows.mix.result import MixOutcome
from flows.progress import SilentProgress
from flows.settings import MixSettings
from pipeline.console.parameters import BUS, STRIP, Aspect, Parameter, default_settings
from pipeline.plan_file import load_plan
from stage2.controller.inputs import reference_windows
from stage2.controller.predict import predict
from stage2.refine.search import RefineOptions, StemInput
from stage2.style.measure import measure_style
from stage2.style.target import StyleTarget

Put = Callable[..., Path]
Mixed = Callable[..., MixOutcome]
RATE = 22_050


class Phases(SilentProgress):
    """Remembers what was begun."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def start(self, name: str, total: int) -> None:
        self.names.append(name)


@pytest.fixture(scope="module")
def song(workplace: Path, make_song: Callable[[Path], Path]) -> Path:
    return make_song(workplace / "song")


@pytest.fixture(scope="module")
def mixed(workplace: Path, song: Path, make_reference: Callable[..., Path]) -> Mixed:
    """Mix the song, or another, in the style of one reference, into a folder of that name."""
    reference = make_reference(workplace / "A Song.wav")

    def mix(
        name: str, *, root: Path = song, phases: Phases | None = None, **chosen: Any
    ) -> MixOutcome:
        told = {"engine": "local", "references": (reference,), "target": "-16"} | chosen
        return mix_session(
            root, settings=MixSettings(**told), folder=workplace / name,
            store=workplace / "store", progress=phases,
        )  # fmt: skip

    return mix


@pytest.fixture(scope="module")
def ways(mixed: Mixed) -> dict[str, tuple[MixOutcome, Phases]]:
    """Mix the song in each way."""
    told = {"fast": {"quality": "fast"}, "best": {}, "alone": {"controller": False}}
    phases = {name: Phases() for name in told}
    return {
        name: (mixed(name, phases=phases[name], **chosen), phases[name])
        for name, chosen in told.items()
    }


@pytest.fixture(scope="module")
def fast(ways: dict[str, tuple[MixOutcome, Phases]]) -> MixOutcome:
    return ways["fast"][0]


@pytest.fixture(scope="module")
def best(ways: dict[str, tuple[MixOutcome, Phases]]) -> MixOutcome:
    return ways["best"][0]


def levels_lu(outcome: MixOutcome) -> np.ndarray:
    """Return how loud each rendered stem is against the others."""
    lufs = np.asarray([stem.loudness.integrated_lufs for stem in outcome.stems.values()])
    return lufs - lufs.mean()


def check_safe(settings: dict[str, float], table: tuple[Parameter, ...]) -> None:
    for parameter in table:
        low = min(parameter.safe_low, parameter.default)
        high = max(parameter.safe_high, parameter.default)
        assert low <= settings[parameter.name] <= high, parameter.name


def check_sane(outcome: MixOutcome) -> None:
    """Check that strips and bus are within what automatic decisions may do."""
    for stem in outcome.plan.stems:
        check_safe(stem.settings, STRIP)
    check_safe(outcome.plan.bus, BUS)


def test_each_way_takes_its_own_steps(ways: dict[str, tuple[MixOutcome, Phases]]) -> None:
    known = {"predict", "settle", "refine"}
    assert {
        name: [phase for phase in phases.names if phase in known]
        for name, (_, phases) in ways.items()
    } == {"fast": ["predict", "settle"], "best": ["predict", "refine"], "alone": ["refine"]}


def test_the_plan_holds_what_was_predicted_and_how_surely(fast: MixOutcome) -> None:
    plan = load_plan(fast.folder / "plan.json")
    strip = [p.name for p in STRIP]
    for stem in plan.stems:
        assert list(stem.predicted) == strip
        assert "gain_db" in stem.predicted_spread
        # what cannot move has no spread
        assert not stem.predicted_spread.keys() & {"knee_db", "makeup_db"}
        assert min(stem.predicted_spread.values()) > 0.0
        assert min(stem.predicted_spread[n] for n in ("ratio", "attack_ms")) > 1.0
        assert stem.reason.startswith("predicted fader ")
        assert "refined" not in stem.reason
    assert "pan" not in next(s for s in plan.stems if s.name == "bass").predicted_spread
    assert set(plan.bus_predicted) == {p.name for p in BUS} - {"gain_db"}
    assert plan.bus_reason.startswith("predicted ")
    check_sane(fast)


def test_the_prediction_alone_is_what_the_plan_has(fast: MixOutcome) -> None:
    for stem in fast.plan.stems:
        for name in ("width", "pan", "high_peak_gain_db", "low_shelf_gain_db"):
            # what is not heard is left out
            assert stem.settings[name] == pytest.approx(stem.predicted[name], abs=0.1), name
    for name, value in fast.plan.bus_predicted.items():
        if name.endswith("_gain_db"):
            assert fast.plan.bus[name] == pytest.approx(value, abs=0.1), name


def test_levels_stay_in_the_corridor(fast: MixOutcome, mixed: Mixed) -> None:
    balanced = mixed("balanced", strength=0.0)
    moved = levels_lu(fast) - levels_lu(balanced)
    assert np.abs(moved).max() <= RefineOptions.corridor_lu + 0.1


def test_refinement_goes_on_from_the_prediction(fast: MixOutcome, best: MixOutcome) -> None:
    assert best.plan.bus_predicted == fast.plan.bus_predicted
    assert best.plan.bus != fast.plan.bus
    for ours, theirs in zip(best.plan.stems, fast.plan.stems, strict=True):
        assert ours.predicted == theirs.predicted
        assert ours.settings != theirs.settings
        settled = ours.settings["gain_db"] - ours.balance_gain_db
        assert f"refined to {settled:+.1f} dB; level " in ours.reason
    assert "refined by at most" in best.plan.bus_reason
    told = json.loads((best.folder / "results.json").read_text())
    assert told["mix"]["distance_of_prediction"]["total"] > 0.0
    assert {row["stem"]: row["predicted"] for row in told["stems"]} == {
        stem.name: stem.predicted for stem in best.plan.stems
    }
    assert told["bus"]["predicted_spread"] == best.plan.bus_predicted_spread


def test_the_report_shows_both(best: MixOutcome, fast: MixOutcome) -> None:
    for outcome in (best, fast):
        page = (outcome.folder / "report.html").read_text(encoding="utf-8")
        assert "Predicted, and what became of it" in page
        assert outcome.plan.bus_reason in page


def test_without_the_controller_nothing_is_predicted(
    ways: dict[str, tuple[MixOutcome, Phases]],
) -> None:
    alone, _ = ways["alone"]
    assert all(not (s.predicted or s.predicted_spread) for s in alone.plan.stems)
    assert (alone.plan.bus_predicted, alone.plan.bus_reason) == ({}, "")
    assert all(stem.reason.startswith("as engineers set it, refined") for stem in alone.plan.stems)
    assert "Predicted, and" not in (alone.folder / "report.html").read_text(encoding="utf-8")
    told = json.loads((alone.folder / "results.json").read_text())
    assert "distance_of_prediction" not in told["mix"]
    assert told["settings"]["controller"] is False


def test_what_is_not_to_be_matched_is_predicted_neutral(mixed: Mixed) -> None:
    outcome = mixed("eq and width", quality="fast", match="eq,width")
    free = {Aspect.EQ, Aspect.WIDTH}
    for stem in outcome.plan.stems:
        neutral = default_settings(STRIP) | {"gain_db": stem.balance_gain_db}
        for parameter in STRIP:
            if parameter.aspect not in free:
                name = parameter.name
                assert stem.predicted[name] == pytest.approx(neutral[name], abs=1e-4), name
                assert stem.settings[name] == pytest.approx(neutral[name], abs=1e-4), name
                assert name not in stem.predicted_spread
    assert outcome.plan.bus_predicted["ratio"] == 1.0
    moves = [abs(outcome.plan.bus_predicted[band.gain_name]) for band in BUS.eq_bands]
    assert max(moves) > 0.2


def test_strength_takes_so_much_of_the_prediction(mixed: Mixed, fast: MixOutcome) -> None:
    half = mixed("half", quality="fast", strength=0.5)
    for name in ("low_shelf_gain_db", "high_mid_peak_gain_db"):
        assert half.plan.bus_predicted[name] == pytest.approx(
            fast.plan.bus_predicted[name] / 2.0, abs=1e-3
        )
        assert half.plan.bus_predicted_spread[name] == pytest.approx(
            fast.plan.bus_predicted_spread[name] / 2.0, abs=1e-3
        )
        assert half.plan.bus[name] == pytest.approx(fast.plan.bus[name] / 2.0, abs=1e-3)
    one, other = half.plan.stems[0], fast.plan.stems[0]
    assert one.predicted["ratio"] == pytest.approx(other.predicted["ratio"] ** 0.5, abs=1e-3)
    assert one.predicted_spread["ratio"] == pytest.approx(
        other.predicted_spread["ratio"] ** 0.5, abs=1e-3
    )


def hiss(seed: int, channels: int = 1) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((channels, 2 * RATE))


ODD: dict[str, dict[str, np.ndarray]] = {
    "one mono stem": {"Lead Vox": hiss(1) * np.linspace(0.0, 1.0, 2 * RATE)},
    "a silent stem": {
        "Kick": hiss(1), "Bass": 1e-7 * hiss(2), "Keys": np.zeros((2, 2 * RATE)),
        "Gtr": hiss(3, 2),
    },
    "noise and its copy": {"Pad": hiss(4, 2), "Strings": hiss(4, 2)},
    "one side alone": {"Gtr": hiss(5, 2) * [[1.0], [0.0]], "Bass": hiss(6)},
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_odd_sessions_get_sane_settings(odd: str, mixed: Mixed, workplace: Path, put: Put) -> None:
    root = workplace / odd
    for name, audio in ODD[odd].items():
        put(root / f"{name}.wav", audio, RATE, subtype="FLOAT")
    outcome = mixed(f"mix of {odd}", root=root, quality="fast")
    check_sane(outcome)
    assert np.isfinite(outcome.mixdown.loudness.integrated_lufs)
    for stem in outcome.plan.stems:
        heard = np.isfinite(outcome.stems[stem.name].loudness.integrated_lufs)
        assert bool(stem.predicted) == heard
        assert (stem.reason == "balanced") != heard


@pytest.mark.parametrize("count", [1, 64])
def test_any_number_of_stems_gets_sane_settings(count: int) -> None:
    rng = np.random.default_rng(count)
    loud = 10.0 ** rng.uniform(-3.0, -0.5, count)
    audio = [(a * rng.standard_normal((2, RATE))).astype(np.float32) for a in loud]
    audio[-1][1] = audio[-1][0]  # mono
    if count > 1:
        audio[0][:] = 0.0  # rests in the whole excerpt
    stems = [StemInput(f"part {i}", a, -20.0, -20.0) for i, a in enumerate(audio)]
    other = rng.standard_normal((2, 3 * RATE)).astype(np.float32)
    windows = reference_windows(other, sample_rate=RATE)
    found = predict(
        stems,
        StyleTarget.of(measure_style(other, sample_rate=RATE), [windows]),
        windows,
        sample_rate=RATE,
    )
    assert len(found.strips) == len(found.strips_spread) == count
    for strip, spread in zip(found.strips, found.strips_spread, strict=True):
        check_safe(strip, STRIP)
        assert np.isfinite(list(spread.values())).all()
    check_safe(found.bus, BUS)
