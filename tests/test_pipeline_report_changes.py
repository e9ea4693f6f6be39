"""What became of a prediction, from the plan alone."""

from __future__ import annotations

import math

import pytest

from pipeline.console.parameters import BUS, STRIP, default_settings
from pipeline.plan import Plan, StemPlan
from pipeline.report.changes import plan_moves
from pipeline.report.tables import moves_table


def plan_of(
    settings: dict[str, float], predicted: dict[str, float], bus: dict[str, float] | None = None
) -> Plan:
    """Return a plan of one stem whose balanced fader is at -6 dB."""
    base = default_settings(STRIP) | {"gain_db": -6.0}
    return Plan(
        session=".", sample_rate=48_000, frames=1, tracks=(),
        stems=(
            StemPlan(
                name="lead_vocals", balance_gain_db=-6.0, settings=base | settings,
                predicted=base | predicted, predicted_spread={"gain_db": 0.8, "ratio": 1.2},
            ),
        ),
        bus=bus or {},
        bus_predicted=default_settings(BUS) if bus else {},
    )  # fmt: skip


def test_nothing_predicted_nothing_moved() -> None:
    plan = Plan(
        session=".", sample_rate=48_000, frames=1, tracks=(),
        stems=(StemPlan(name="bass", settings={"gain_db": 3.0}),),
    )  # fmt: skip
    assert plan_moves(plan) == []


def test_the_largest_move_comes_first_whoever_made_it() -> None:
    moves = plan_moves(
        plan_of(
            {"gain_db": -5.0, "pan": 0.1, "width": 1.6},
            {"gain_db": -5.0, "pan": 0.1, "width": 1.0},
            bus={"low_shelf_gain_db": 3.0},
        )
    )
    found = [(move.where, move.parameter.name) for move in moves]
    # of their safe ranges: 0.4, 3/8, 0.05, 1/60
    assert found == [
        ("Lead vocals", "width"), ("Whole mix", "low_shelf_gain_db"), ("Lead vocals", "pan"),
        ("Lead vocals", "gain_db"),
    ]  # fmt: skip
    assert moves[0].share == pytest.approx(0.4)
    fader = moves[-1]
    assert (fader.balanced, fader.predicted, fader.settled, fader.spread) == (-6.0, -5.0, -5.0, 0.8)


def test_what_does_nothing_has_not_moved() -> None:
    flat = {"low_peak_frequency_hz": 300.0, "threshold_lu": -30.0, "attack_ms": 5.0}
    assert plan_moves(plan_of({}, flat)) == []
    working = {"low_peak_gain_db": 3.0, "ratio": 2.0}
    moves = plan_moves(plan_of(working, flat | working))
    assert {move.parameter.name for move in moves} == {
        "low_peak_gain_db", "ratio", "low_peak_frequency_hz", "threshold_lu", "attack_ms",
    }  # fmt: skip
    # a frequency has no place to start from where its band was flat
    assert all(
        math.isnan(m.balanced) == (m.parameter.name not in working) for m in moves
    )  # fmt: skip
    # nor has a compressor that refinement took out
    gone = plan_moves(plan_of({}, flat | {"ratio": 2.0}))
    assert [move.parameter.name for move in gone] == ["ratio"]


def test_the_table_says_how_sure_in_each_setting_s_own_way() -> None:
    moves = plan_moves(
        plan_of(
            {"gain_db": -4.0, "ratio": 3.0, "high_peak_gain_db": 2.0},
            {"gain_db": -5.0, "ratio": 2.0},
            bus={"low_shelf_gain_db": -1.5},
        )
    )
    table = moves_table(moves)
    rows = {row[1].text: [cell.text for cell in row] for row in table.rows}
    assert rows["Fader, dB"] == ["Lead vocals", "Fader, dB", "−6.00", "−5.00", "± 0.80", "−4.00"]
    assert rows["Ratio"][2:] == ["1.00", "2.00", "× 1.20", "3.00"]
    assert rows["High peak gain, dB"][4] == "–"
    assert "Low shelf gain, dB" in rows
