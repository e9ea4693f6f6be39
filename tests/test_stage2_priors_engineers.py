import math
from dataclasses import fields

import numpy as np
import pytest
import torch

from pipeline.console.parameters import BUS, STRIP, Aspect, default_settings
from pipeline.roles import Subgroup
from stage2.console.band_model import ModelledMix
from stage2.priors.engineers import (
    FINISHED_BANDS_HZ,
    bus_prior,
    finished_stem,
    reduction_limits,
    strip_prior,
)
from stage2.priors.price import StemPrice, settings_price
from stage2.style.broad import BROAD_EDGES_HZ

EVERY = frozenset(Aspect)
NAMES = [str(subgroup) for subgroup in Subgroup]


@pytest.mark.parametrize("name", [*NAMES, "my own"])
def test_what_is_usual_lies_within_the_safe_ranges_and_has_a_source(name: str) -> None:
    prior = strip_prior(name)
    for parameter, value in zip(STRIP, prior.typical().values(), strict=True):
        assert parameter.safe_low - 1e-9 <= value <= parameter.safe_high + 1e-9, parameter.name
    for parameter, spread in zip(STRIP, prior.spread, strict=True):
        if math.isfinite(spread):
            assert spread > 0.0
            assert prior.sources[parameter.name]


def test_the_bus_is_left_alone_but_for_a_little_glue() -> None:
    typical = bus_prior().typical()
    assert {typical[band.gain_name] for band in BUS.eq_bands} == {0.0}
    assert 1.0 < typical["ratio"] <= 2.0


def test_solid_stems_are_neither_spread_nor_panned() -> None:
    for name in ("bass", "drums", "lead_vocals", "dialogue"):
        typical = strip_prior(name).typical()
        assert (typical["spread"], typical["pan"]) == (0.0, 0.0)
    assert strip_prior("guitars").typical()["spread"] > 0.0


def test_draws_spread_around_the_mean_within_the_safe_ranges() -> None:
    prior = strip_prior("lead_vocals")
    rng = np.random.default_rng(1)
    drawn = [prior.draw(rng) for _ in range(300)]
    for parameter in STRIP:
        values = [settings[parameter.name] for settings in drawn]
        assert parameter.safe_low <= min(values) <= max(values) <= parameter.safe_high
    ratios = np.log([settings["ratio"] for settings in drawn])
    assert ratios.mean() == pytest.approx(math.log(3.0), abs=0.1)


def test_a_usual_range_is_one_standard_deviation_to_either_side() -> None:
    low, high = strip_prior("lead_vocals").usual_range("high_shelf_gain_db") or (0.0, 0.0)
    assert high - low == pytest.approx(3.6)
    low, high = strip_prior("lead_vocals").usual_range("ratio") or (0.0, 0.0)
    assert high / low == pytest.approx(1.4**2)
    assert strip_prior("bass").usual_range("makeup_db") is None


def test_finished_stems_are_known_in_the_bands_that_stems_are_modelled_in() -> None:
    assert pytest.approx(FINISHED_BANDS_HZ, rel=0.02) == BROAD_EDGES_HZ
    for name in ("drums", "bass", "lead_vocals", "keys"):
        stem = finished_stem(name)
        assert stem is not None
        assert len(stem.level_db) == len(FINISHED_BANDS_HZ) - 1
        power = sum(10.0 ** (level / 10.0) for level in stem.level_db)
        assert 10.0 * math.log10(power) == pytest.approx(0.0, abs=0.5)
    assert finished_stem("effects") is None
    assert reduction_limits().strip_p95_db > reduction_limits().strip_mean_db


def test_settings_cost_what_they_are_off_the_mean_and_only_where_they_are_free() -> None:
    typical = strip_prior("keys").typical()

    def price(match: frozenset[Aspect], **moved: float) -> float:
        strips, _ = settings_price(["keys"], match)
        row = [{**typical, **moved}[p.name] for p in STRIP]
        return float(strips(torch.tensor([row], dtype=torch.float64)))

    assert price(EVERY) == pytest.approx(0.0, abs=1e-9)
    assert price(EVERY, gain_db=9.0) == pytest.approx(0.0, abs=1e-9)  # the balance's to price
    once = price(EVERY, low_peak_gain_db=1.5)
    assert once == pytest.approx(0.5)
    assert price(EVERY, low_peak_gain_db=3.0) == pytest.approx(4.0 * once)
    assert price(EVERY - {Aspect.EQ}, low_peak_gain_db=3.0) == pytest.approx(0.0, abs=1e-9)


def _mix(bands_db: list[float], *, punch_db: float = 6.0, reduction_db: float = 0.0) -> ModelledMix:
    values = {f.name: torch.zeros(1, dtype=torch.float64) for f in fields(ModelledMix)}
    values["stem_bands_db"] = torch.tensor([bands_db], dtype=torch.float64)
    values["stem_punch_db"] = torch.tensor([punch_db], dtype=torch.float64)
    values["reductions_db"] = torch.tensor([reduction_db, 0.0], dtype=torch.float64)
    return ModelledMix(**values)


def test_a_boomy_voice_is_dear_and_one_inside_the_corridor_is_not() -> None:
    voice = finished_stem("lead_vocals")
    assert voice is not None
    usual = list(voice.level_db)
    boomy = [usual[0] + 16.0, usual[1] + 10.0, *usual[2:]]
    less = [usual[0] + 10.0, usual[1] + 8.0, *usual[2:]]
    inside = StemPrice(["lead_vocals"], _mix(usual))
    assert float(inside(_mix(usual))) == pytest.approx(0.0, abs=1e-9)
    price = StemPrice(["lead_vocals"], _mix(boomy))
    assert float(price(_mix(less))) < float(price(_mix(boomy)))


def test_punch_taken_and_reduction_without_end_cost() -> None:
    before = _mix(list(finished_stem("drums").level_db))  # type: ignore[union-attr]
    price = StemPrice(["drums"], before)
    plain = float(price(before))
    assert float(price(_mix(before.stem_bands_db[0].tolist(), punch_db=4.0))) > plain + 1.0
    assert float(price(_mix(before.stem_bands_db[0].tolist(), reduction_db=6.0))) > plain + 1.0
    neutral = default_settings(STRIP)
    assert neutral["ratio"] == 1.0
