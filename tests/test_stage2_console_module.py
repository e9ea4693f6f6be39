import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.console.parameters import BUS, STRIP, Parameter, default_settings
from pipeline.console.processors import Bus, Strip
from pipeline.plan import Plan, StemPlan
from stage2.console import functional
from stage2.console.module import Console, denormalise, neutral, normalise, to_settings

RATE = 44100
LEVEL_LUFS = -25.0
TABLES = pytest.mark.parametrize("table", [STRIP, BUS], ids=["strip", "bus"])


def stems(count: int, frames: int, *, level: float = 0.2) -> torch.Tensor:
    draw = np.random.default_rng(0)
    swell = 0.6 + 0.4 * np.sin(np.arange(frames) / 2000)
    return torch.from_numpy(level * draw.standard_normal((1, count, 2, frames)) * swell)


def levels(count: int) -> torch.Tensor:
    return torch.full((1, count), LEVEL_LUFS)


@TABLES
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_denormalise_after_normalise_is_identity_both_ways(
    table: tuple[Parameter, ...], data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.floats(0, 1), min_size=len(table), max_size=len(table)))
    vector = torch.tensor(values, dtype=torch.float64)
    settings_ = denormalise(vector, table)
    # Float64 through one exponential and one logarithm.
    torch.testing.assert_close(normalise(settings_, table), vector, rtol=0.0, atol=1e-12)
    for parameter in table:
        value = float(settings_[parameter.name])
        assert parameter.low * (1 - 1e-12) - 1e-9 <= value <= parameter.high * (1 + 1e-12) + 1e-9


@TABLES
def test_the_ends_of_a_vector_are_the_ends_of_the_ranges(table: tuple[Parameter, ...]) -> None:
    low, high = (to_settings(torch.full((len(table),), v), table) for v in (0.0, 1.0))
    assert low == pytest.approx({p.name: p.low for p in table}, rel=1e-12)
    assert high == pytest.approx({p.name: p.high for p in table}, rel=1e-12)
    assert to_settings(neutral(table), table) == pytest.approx(
        default_settings(table), rel=1e-12, abs=1e-12
    )


def test_a_log_parameter_is_halfway_at_its_geometric_mean() -> None:
    halfway = to_settings(torch.full((len(STRIP),), 0.5), STRIP)
    assert halfway["attack_ms"] == pytest.approx((0.1 * 200.0) ** 0.5)
    assert halfway["gain_db"] == pytest.approx(-12.0)


def test_settings_of_any_vector_make_a_valid_plan() -> None:
    draw = np.random.default_rng(3)
    for _ in range(50):
        ends = torch.from_numpy(draw.choice([0.0, 1.0, 0.3], len(STRIP)))
        bus = torch.from_numpy(draw.choice([0.0, 1.0, 0.3], len(BUS)))
        plan = Plan(
            session=".",
            sample_rate=RATE,
            frames=1,
            tracks=(),
            stems=(StemPlan(name="a", settings=to_settings(ends, STRIP)),),
            bus=to_settings(bus, BUS),
        )
        assert list(plan.bus) == [p.name for p in BUS]


def test_console_agrees_with_the_renderer() -> None:
    draw = np.random.default_rng(2)
    x = stems(3, 20000)
    strip_params = torch.from_numpy(draw.uniform(0.3, 0.7, (1, 3, len(STRIP))))
    bus_params = torch.from_numpy(draw.uniform(0.4, 0.6, (1, len(BUS))))
    # A vector in the middle of its range may leave a compressor idle: these work.
    for vector, table in ((strip_params, STRIP), (bus_params, BUS)):
        names = [p.name for p in table]
        vector[..., names.index("threshold_lu")] = 0.3
        vector[..., names.index("ratio")] = 0.4
        vector[..., names.index("gain_db")] = 0.6
        if "deess_db" in names:
            vector[..., names.index("deess_db")] = 0.0
    out = Console(RATE)(x, strip_params, bus_params, levels_lufs=levels(3))
    total = np.zeros((2, 20000))
    for i in range(3):
        strip = Strip(
            to_settings(strip_params[0, i], STRIP), level_lufs=LEVEL_LUFS, sample_rate=RATE
        )
        expected = strip.process(x[0, i].numpy())
        assert strip.compressor.gain_reduction.max_db > 1.0
        total += expected
        assert 20 * np.log10(np.abs(out.stems[0, i].numpy() - expected).max()) < -90
    bus = Bus(to_settings(bus_params[0], BUS), sample_rate=RATE)
    expected = bus.process(total)
    assert bus.compressor.gain_reduction.max_db > 1.0
    assert 20 * np.log10(np.abs(out.mix[0].numpy() - expected).max()) < -90


def test_a_neutral_console_is_the_plain_sum() -> None:
    x = stems(4, 5000)
    out = Console(RATE)(
        x, neutral(STRIP).expand(1, 4, -1), neutral(BUS)[None], levels_lufs=levels(4)
    )
    # Through FFTs in float64, and defaults that passed through a logarithm.
    torch.testing.assert_close(out.stems, x, rtol=0.0, atol=1e-10)
    torch.testing.assert_close(out.mix, x.sum(dim=1), rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("where", [0.0, 0.5, 1.0, "neutral", "silence"])
def test_every_gradient_is_finite_anywhere_in_the_range(where: float | str) -> None:
    x = stems(2, 4000)
    if where == "silence":
        x = x * 0.0
    if isinstance(where, str):
        strip, bus = neutral(STRIP).repeat(1, 2, 1), neutral(BUS)[None].clone()
    else:
        strip = torch.full((1, 2, len(STRIP)), where, dtype=torch.float64)
        bus = torch.full((1, len(BUS)), where, dtype=torch.float64)
    x, strip, bus = (v.requires_grad_() for v in (x, strip, bus))
    Console(RATE)(x, strip, bus, levels_lufs=levels(2)).mix.square().mean().backward()
    for tensor in (x, strip, bus):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_every_parameter_has_a_gradient_where_all_processors_work() -> None:
    draw = np.random.default_rng(5)
    vectors = {}
    for name, table in (("strip", STRIP), ("bus", BUS)):
        names = [p.name for p in table]
        vector = torch.from_numpy(draw.uniform(0.35, 0.65, len(table)))
        vector[names.index("threshold_lu")] = 0.4
        vector[names.index("gain_db")] = 0.6
        vectors[name] = vector
    strip = vectors["strip"].repeat(1, 2, 1).requires_grad_()
    bus = vectors["bus"][None].clone().requires_grad_()
    # Enough level below and above the knees, and a loss that tells left from right.
    mix = Console(RATE)(stems(2, 12000, level=0.3), strip, bus, levels_lufs=levels(2)).mix
    (mix[:, 0].square().mean() + 2 * mix[:, 1].square().mean()).backward()
    for tensor, table in ((strip, STRIP), (bus, BUS)):
        assert tensor.grad is not None
        still = [
            p.name
            for p, g in zip(table, tensor.grad.reshape(-1, len(table))[0], strict=True)
            if float(g.abs()) == 0.0
        ]
        # The de-esser is set by rule: it is no part of the torch console.
        assert [name for name in still if not name.startswith("deess")] == []


@pytest.mark.parametrize(
    ("strip_shape", "bus_value", "message"),
    [((1, 3), 0.5, r"strip_params has shape"), ((1, 2), 1.5, r"bus_params leaves 0\.\.1")],
)
def test_vectors_that_do_not_fit_are_refused(
    strip_shape: tuple[int, int], bus_value: float, message: str
) -> None:
    strip = torch.full((*strip_shape, len(STRIP)), 0.5)
    bus = torch.full((1, len(BUS)), bus_value)
    with pytest.raises(ValueError, match=message):
        Console(RATE)(stems(2, 100), strip, bus, levels_lufs=levels(2))
    with pytest.raises(ValueError, match="the table has"):
        denormalise(torch.zeros(3), STRIP)


# Where settings differ from the ends as little as a user can tell, at the ends, and between.
PLACES = (0.0, 0.001, 0.5, 0.999, 1.0)


@TABLES
def test_every_gradient_is_what_finite_differences_say_to_the_ends_of_the_range(
    table: tuple[Parameter, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without room for their ring-out responses wrap around: cheaper, and no less differentiable.
    monkeypatch.setattr(functional, "EQ_TAIL_S", 0.0)
    monkeypatch.setattr(functional, "DECORRELATOR_TAIL_S", 0.0)
    console = Console(RATE)

    def process(x: torch.Tensor, values: dict[str, torch.Tensor]) -> torch.Tensor:
        if table is BUS:
            return console.bus(x, values)
        return console.strip(x, values, level_lufs=torch.full((len(table),), LEVEL_LUFS))

    draw = np.random.default_rng(8)
    x = stems(1, 1200, level=0.3)[0, 0]
    x[:, 700:] *= 0.05  # the compressor recovers
    ear = torch.from_numpy(draw.standard_normal((2, 1200)))
    names = [p.name for p in table]
    working = torch.from_numpy(draw.uniform(0.35, 0.65, len(table)))
    for name, value in (("threshold_lu", 0.4), ("ratio", 0.4), ("gain_db", 0.6)):
        working[names.index(name)] = value

    def heard(values: torch.Tensor) -> torch.Tensor:
        """Return what is heard in as many rooms as there are settings: each is moved in its own."""
        vectors = torch.where(torch.eye(len(table), dtype=torch.bool), values, working)
        out = process(x.expand(len(table), -1, -1), denormalise(vectors, table))
        return (ear * out).sum(dim=(1, 2))

    for at in PLACES:
        values = torch.full((len(table),), at, dtype=torch.float64, requires_grad=True)
        (ours,) = torch.autograd.grad(heard(values).sum(), values)
        # Differences of second order that stay within the range.
        h = 1e-5 if at < 0.5 else -1e-5
        f = [heard(values.detach() + k * h) for k in range(3)]
        expected = (-3.0 * f[0] + 4.0 * f[1] - f[2]) / (2.0 * h)
        wrong = (ours - expected).abs() > 1e-4 * (1.0 + expected.abs())
        # A high-pass at its lowest frequency is off, and goes on at the next.
        off = {"high_pass_hz"} if at == 0.0 else set()
        assert {n for n, w in zip(names, wrong.tolist(), strict=True) if w} <= off, at
        if 0.0 < at < 1.0:
            assert torch.autograd.gradcheck(heard, values, atol=1e-4, rtol=1e-4, fast_mode=True)
