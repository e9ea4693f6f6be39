import numpy as np
import pytest

from pipeline.console.parameters import BUS, STRIP
from pipeline.roles import Subgroup
from stage2.console.search_space import StemGuard
from stage2.training.settings_prior import Settings, draw_settings

NAMES = [str(subgroup) for subgroup in Subgroup] + ["my own"]
GAINS_DB = np.linspace(-12.0, 8.0, len(NAMES)).tolist()
GUARDS = [
    StemGuard(name in ("bass", "drums", "lead_vocals"), 0.0 if name == "bass" else 0.3, 90.0)
    for name in NAMES
]


def drawn(seed: int, *, gains_db: list[float] = GAINS_DB) -> tuple[list[Settings], Settings]:
    return draw_settings(NAMES, np.random.default_rng(seed), gains_db=gains_db, guards=GUARDS)


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
    assert moved.std() == pytest.approx(2.0, abs=0.2)


def test_guardrails_are_kept(many: list[tuple[list[Settings], Settings]]) -> None:
    for strips, _ in many:
        for settings, guard in zip(strips, GUARDS, strict=True):
            assert not guard.centred or settings["pan"] == 0.0
            assert settings["spread"] <= guard.max_spread
            assert guard.max_spread > 0.0 or settings["width"] <= 1.0
            assert settings["high_pass_hz"] <= guard.highest_high_pass_hz


def test_sides_are_even_and_the_bus_tilts_either_way(
    many: list[tuple[list[Settings], Settings]],
) -> None:
    free = [not guard.centred for guard in GUARDS]
    pans = np.array([[s["pan"] for s in strips] for strips, _ in many])[:, free]
    assert abs(pans.mean()) < 0.01
    assert 0.02 < pans.std() < 0.25
    shelves = np.array([bus["high_shelf_gain_db"] for _, bus in many])
    assert abs(shelves.mean()) < 0.3
    assert 1.0 < shelves.std() < 2.5


def test_habits_are_those_of_the_subgroup(many: list[tuple[list[Settings], Settings]]) -> None:
    def mean(name: str, parameter: str) -> float:
        return float(np.mean([strips[NAMES.index(name)][parameter] for strips, _ in many]))

    assert mean("lead_vocals", "high_pass_hz") > mean("bass", "high_pass_hz") + 30.0
    assert mean("lead_vocals", "ratio") > mean("effects", "ratio") + 0.5
    assert mean("bass", "width") < mean("synths", "width") - 0.2
    assert mean("drums", "low_shelf_gain_db") > mean("guitars", "low_shelf_gain_db") + 1.0


def test_the_same_seed_draws_the_same() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
