import numpy as np
import pytest

from pipeline.console.parameters import BUS, STRIP
from pipeline.roles import Subgroup
from stage2.training.settings_prior import Settings, draw_settings

NAMES = [str(subgroup) for subgroup in Subgroup] + ["my own"]
GAINS_DB = np.linspace(-12.0, 8.0, len(NAMES)).tolist()
LOUD_DB = np.linspace(-30.0, -12.0, len(NAMES)).tolist()
CENTRED = [name in ("bass", "drums", "lead_vocals") for name in NAMES]
MAX_SPREAD = [0.0 if name == "bass" else 0.4 for name in NAMES]


def drawn(seed: int, *, gains_db: list[float] = GAINS_DB) -> tuple[list[Settings], Settings]:
    return draw_settings(
        NAMES,
        np.random.default_rng(seed),
        gains_db=gains_db,
        loud_db=LOUD_DB,
        centred=CENTRED,
        max_spread=MAX_SPREAD,
    )


@pytest.fixture(scope="module")
def many() -> list[tuple[list[Settings], Settings]]:
    return [drawn(seed) for seed in range(400)]


def test_all_settings_lie_within_the_safe_ranges(
    many: list[tuple[list[Settings], Settings]],
) -> None:
    for strips, bus in many:
        assert list(bus) == [p.name for p in BUS]
        for settings, table in [*((s, STRIP) for s in strips), (bus, BUS)]:
            assert set(settings) == {p.name for p in table}
            for p in table:
                assert p.safe_low <= settings[p.name] <= p.safe_high, p.name


def test_faders_lie_around_the_balance(many: list[tuple[list[Settings], Settings]]) -> None:
    moved = np.array([[s["gain_db"] for s in strips] for strips, _ in many]) - GAINS_DB
    assert np.abs(moved.mean(axis=0)).max() < 0.5
    assert moved.std() == pytest.approx(2.2, abs=0.2)


def test_guardrails_are_kept(many: list[tuple[list[Settings], Settings]]) -> None:
    for strips, _ in many:
        for settings, middle, most in zip(strips, CENTRED, MAX_SPREAD, strict=True):
            assert not middle or settings["pan"] == 0.0
            assert settings["spread"] <= most
            assert most > 0.0 or settings["width"] <= 1.0


def test_sides_are_even_and_the_bus_tilts_either_way(
    many: list[tuple[list[Settings], Settings]],
) -> None:
    pans = np.array([[s["pan"] for s in strips] for strips, _ in many])[:, ~np.array(CENTRED)]
    assert abs(pans.mean()) < 0.01
    assert 0.1 < pans.std() < 0.25
    curves = np.array([[v for k, v in bus.items() if k.startswith("eq_")] for _, bus in many])
    assert np.abs(curves.mean(axis=0)).max() < 0.6
    assert np.abs(curves.mean(axis=1)).max() < 1.0  # a curve, not a level
    # Neighbours move together, ends apart.
    assert np.corrcoef(curves[:, 10], curves[:, 11])[0, 1] > 0.8
    assert np.corrcoef(curves[:, 0], curves[:, -1])[0, 1] < 0.0


def test_habits_are_those_of_the_subgroup(many: list[tuple[list[Settings], Settings]]) -> None:
    def mean(name: str, parameter: str) -> float:
        return float(np.mean([strips[NAMES.index(name)][parameter] for strips, _ in many]))

    assert mean("lead_vocals", "low_shelf_gain_db") < mean("bass", "low_shelf_gain_db") - 2.0
    assert mean("lead_vocals", "ratio") > mean("effects", "ratio") + 0.5
    assert mean("bass", "width") < mean("synths", "width") - 0.3


def test_compressors_work_wherever_the_fader_is() -> None:
    quiet = drawn(3, gains_db=[-30.0] * len(NAMES))[0]
    loud = drawn(3, gains_db=[0.0] * len(NAMES))[0]
    for low, high in zip(quiet, loud, strict=True):
        if low["ratio"] > 1.0 and low["threshold_db"] > -60.0:
            assert high["threshold_db"] - low["threshold_db"] == pytest.approx(30.0)


def test_the_same_seed_draws_the_same() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
