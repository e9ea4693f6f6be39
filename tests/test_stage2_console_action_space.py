import pytest
import torch

from pipeline.console.parameters import BUS, STRIP, Aspect
from stage2.console.action_space import MOST_LEVEL_DB, Reach
from stage2.console.search_space import StemGuard
from stage2.priors.engineers import bus_prior, strip_prior

COLUMN = {p.name: i for i, p in enumerate(STRIP)}
BUS_COLUMN = {p.name: i for i, p in enumerate(BUS)}


GAINS_DB = (2.0, -5.0, -27.0)
NAMES = ("drums", "guitars", "lead_vocals")
GUARDS = (StemGuard(True, 0.0, 10.0), StemGuard(False, 0.3, 60.0), StemGuard(False, 0.02, 80.0))


def reach(*, match: frozenset[Aspect] = frozenset(Aspect)) -> Reach:
    """Return that of three stems: centred and never spread, free, very quiet."""
    typical = [*(strip_prior(name).typical() for name in NAMES), bus_prior().typical()]
    return Reach(gains_db=GAINS_DB, guards=GUARDS, typical=typical, match=match)


def moves(size: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return (
        size * torch.randn(3, len(STRIP), generator=draw, dtype=torch.float64),
        size * torch.randn(len(BUS), generator=draw, dtype=torch.float64),
    )


def test_no_move_is_what_engineers_usually_do() -> None:
    strips, bus = reach().settings(*moves(0.0))
    assert strips[:, COLUMN["gain_db"]].tolist() == pytest.approx(GAINS_DB)
    assert strips[:, COLUMN["pan"]].tolist() == pytest.approx([0.0] * 3)
    for name, guard, row in zip(NAMES, GUARDS, strips.tolist(), strict=True):
        typical = strip_prior(name).typical()
        for setting in ("threshold_lu", "low_mid_peak_gain_db", "attack_ms"):
            assert row[COLUMN[setting]] == pytest.approx(typical[setting], rel=0.02), name
        highest = min(typical["high_pass_hz"], guard.highest_high_pass_hz)
        assert row[COLUMN["high_pass_hz"]] == pytest.approx(highest, rel=0.1)
    assert bus[BUS_COLUMN["high_shelf_gain_db"]] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("size", [1.0, 10.0, 1000.0])
def test_any_move_is_a_setting_within_the_safe_range(size: float) -> None:
    for seed in range(5):
        strips, bus = reach().settings(*moves(size, seed))
        for values, table in ((strips, STRIP), (bus[None], BUS)):
            for row in values.tolist():
                for p, value in zip(table, row, strict=True):
                    assert p.safe_low - 1e-9 <= value <= p.safe_high + 1e-9, p.name


def test_guardrails_hold_whatever_is_asked_for() -> None:
    for sign in (-1.0, 1.0):
        far = sign * 50.0 * torch.ones(3, len(STRIP)), torch.zeros(len(BUS))
        strips, _ = reach().settings(*far)
        gain = strips[:, COLUMN["gain_db"]] - torch.tensor([2.0, -5.0, -27.0])
        assert gain[:2].tolist() == pytest.approx([sign * MOST_LEVEL_DB] * 2)
        assert strips[0, COLUMN["pan"]] == 0.0
        assert abs(float(strips[1, COLUMN["pan"]])) == pytest.approx(0.5)
        assert strips[0, COLUMN["spread"]] == 0.0
        assert strips[0, COLUMN["width"]] <= 1.0
        assert (strips[:, COLUMN["spread"]] <= torch.tensor([0.0, 0.3, 0.02]) + 1e-6).all()
        highest = torch.tensor([guard.highest_high_pass_hz for guard in GUARDS])
        assert (strips[:, COLUMN["high_pass_hz"]] <= highest + 1e-6).all()
        assert (strips[:, COLUMN["knee_db"]] == 6.0).all()
        assert (strips[:, COLUMN["makeup_db"]] == 0.0).all()


@pytest.mark.parametrize("aspect", list(Aspect))
def test_aspects_that_are_not_asked_for_stay_neutral(aspect: Aspect) -> None:
    strips, bus = reach(match=frozenset(Aspect) - {aspect}).settings(*moves(3.0))
    for p, column in zip(STRIP, strips.T, strict=True):
        if p.aspect is aspect:
            held = [2.0, -5.0, -27.0] if p.name == "gain_db" else [p.default] * 3
            assert column.tolist() == pytest.approx(held), p.name
    for p, value in zip(BUS, bus.tolist(), strict=True):
        if p.aspect is aspect:
            assert value == pytest.approx(p.default), p.name


def test_parts_of_the_reach_are_0_to_1_and_lead_back_to_the_moves() -> None:
    place = reach()
    given = moves(2.0)
    parts = place.parts(*place.settings(*given))
    start = place.parts(*place.settings(*moves(0.0)))
    for part, first, move, free in zip(parts, start, given, place.free(), strict=True):
        assert ((part >= 0.0) & (part <= 1.0)).all()
        assert (part[~free] == 0.5).all()
        back = torch.logit(part) - torch.logit(first)
        assert torch.allclose(back[free], move[free], atol=1e-9)


def test_spans_are_what_lies_between_the_ends() -> None:
    place = reach()
    far = torch.ones(3, len(STRIP)), torch.ones(len(BUS))
    highest = place.settings(*(60.0 * x for x in far))
    lowest = place.settings(*(-60.0 * x for x in far))
    for high, low, span, table in zip(highest, lowest, place.spans(), (STRIP, BUS), strict=True):
        log = torch.tensor([p.scale == "log" for p in table])
        lengths = torch.where(
            log, torch.log(high.clamp_min(1e-9) / low.clamp_min(1e-9)), high - low
        )
        assert torch.allclose(lengths, span, atol=1e-9)


@pytest.mark.parametrize("at", [-30.0, -4.0, 0.0, 4.0, 30.0])
def test_each_setting_has_a_finite_gradient_to_its_very_ends(at: float) -> None:
    strips = torch.full((3, len(STRIP)), at, dtype=torch.float64, requires_grad=True)
    bus = torch.full((len(BUS),), at, dtype=torch.float64, requires_grad=True)
    place = reach()
    settings = place.settings(strips, bus)
    (settings[0].sum() + settings[1].sum()).backward()
    for leaf, free in zip((strips, bus), place.free(), strict=True):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        assert (leaf.grad[free] > 0.0).all()
        assert (leaf.grad[~free] == 0.0).all()
