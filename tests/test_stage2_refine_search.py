from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch

from pipeline.console.delivery import Density, fit_delivery
from pipeline.console.parameters import BUS, STRIP, Aspect, Parameter, default_settings
from pipeline.console.processors import Bus, Strip
from pipeline.loudness.meter import measure
from pipeline.units import FloatArray
from stage2.console.search_space import StemGuard
from stage2.console.tame import curve_db
from stage2.refine.search import (
    Refined,
    RefineOptions,
    Start,
    StemInput,
    blend_settings,
    refine,
    settle,
)
from stage2.style.measure import Style, measure_style, style_distance
from stage2.style.target import StyleTarget, segment_spread

torch.set_num_threads(1)  # many tiny operations: on a busy machine threads wait for each other

RATE = 44100
TARGET_LUFS, CEILING_DBTP = -14.0, -1.0
QUICK = RefineOptions(rounds=1, steps=10)
Settings = dict[str, float]


@cache
def stems() -> tuple[StemInput, ...]:
    """Return 4 s of drums, bass with harmonics, and wide chords, at one loudness but for a bit."""
    t = np.arange(4 * RATE) / RATE
    draw = np.random.default_rng(5)
    beat = t % 0.5
    kick = np.sin(2 * np.pi * 55.0 * t) * np.exp(-beat / 0.1)
    noise = draw.standard_normal(t.size) * np.exp(-((t + 0.25) % 0.5) / 0.06)
    drums = kick + 0.3 * noise
    note = 55.0 * 2.0 ** (np.array([0, 3, 5, 7])[(t / 0.5).astype(int) % 4] / 12.0)
    phase = 2 * np.pi * np.cumsum(note) / RATE
    bass = sum((np.sin(k * phase) / k**1.5 for k in range(1, 30)), start=np.zeros_like(t))
    bass *= 0.2 + np.exp(-beat / 0.2)
    chords = np.zeros((2, t.size))
    for pitch in (220.0, 277.2, 329.6, 440.0):
        for side in range(2):
            for k in range(1, 20):
                turn = draw.uniform(0.0, 2 * np.pi)
                chords[side] += np.sin(2 * np.pi * pitch * k * t * (1 + 1e-3 * side) + turn) / k
    chords += 0.05 * draw.standard_normal(chords.shape)
    chords *= 0.6 + 0.4 * np.sin(2 * np.pi * 0.5 * t)
    stereo = {
        "drums": np.stack((drums, drums)),
        "bass": np.stack((bass, bass)),
        "chords": chords,
    }
    inputs = []
    for name, audio in stereo.items():
        loudness = measure(audio.astype(np.float32), sample_rate=RATE).integrated_lufs
        inputs.append(
            StemInput(
                name=name,
                audio=(audio * 10 ** ((-26.0 - loudness) / 20)).astype(np.float32),
                gain_db={"drums": 2.0, "bass": -1.0, "chords": 0.0}[name],
                level_lufs=-26.0,
                guard=StemGuard(name in ("drums", "bass"), 0.3 if name == "chords" else 0.0, 30.0),
            )
        )
    return tuple(inputs)


def musical(seed: int) -> tuple[list[Settings], Settings]:
    """Return settings that an engineer might choose, within the guardrails."""
    draw = np.random.default_rng(seed)
    strips = []
    for stem in stems():
        values = default_settings(STRIP)
        values["gain_db"] = stem.gain_db + draw.uniform(-2.0, 2.0)
        for band in ("low_shelf", "low_mid_peak", "high_mid_peak", "high_shelf"):
            values[f"{band}_gain_db"] = draw.uniform(-4.0, 4.0)
        values |= {"threshold_lu": 0.0, "ratio": draw.uniform(1.5, 3.0), "attack_ms": 20.0}
        if not stem.guard.centred:
            values |= {"pan": draw.uniform(-0.3, 0.3), "width": draw.uniform(0.5, 1.4)}
        strips.append(values)
    names = [band.gain_name for band in BUS.eq_bands]
    bus = default_settings(BUS) | dict(zip(names, draw.uniform(-3.0, 3.0, 5).tolist(), strict=True))
    return strips, bus | {"threshold_lu": 2.0, "ratio": 1.5, "attack_ms": 30.0}


def rendered(
    strips: Sequence[Settings], bus: Settings, *, target_lufs: float = TARGET_LUFS
) -> tuple[FloatArray, list[FloatArray]]:
    """Return the delivered mix and each stem after its strip, without any crest asked for."""
    outs = [
        Strip(s, level_lufs=-26.0, sample_rate=RATE).process(stem.audio)
        for s, stem in zip(strips, stems(), strict=True)
    ]
    total = np.asarray(np.sum(outs, axis=0, dtype=np.float64))
    mix = Bus(bus, sample_rate=RATE).process(total)
    out = fit_delivery(mix, sample_rate=RATE, target_lufs=target_lufs, ceiling_dbtp=CEILING_DBTP)
    return out.audio, outs


def relative_lufs(outs: Sequence[FloatArray]) -> FloatArray:
    """Return the loudness of each stem against the mean of all, in LU."""
    levels = np.array([measure(out, sample_rate=RATE).integrated_lufs for out in outs])
    return np.asarray(levels - levels.mean())


class Case(NamedTuple):
    reference: Style
    audio: FloatArray
    levels_lu: FloatArray


@cache
def case(seed: int) -> Case:
    audio, outs = rendered(*musical(seed))
    return Case(measure_style(audio, sample_rate=RATE), audio, relative_lufs(outs))


def refined(
    reference: Style, options: RefineOptions | None = None, *, aligned: FloatArray | None = None
) -> Refined:
    return refine(
        stems(),
        target(reference),
        sample_rate=RATE,
        target_lufs=TARGET_LUFS,
        ceiling_dbtp=CEILING_DBTP,
        aligned=aligned,
        options=options,
    )


def target(style: Style) -> StyleTarget:
    """Return a style as a target, its spread that of any record."""
    return StyleTarget(style, segment_spread())


def delivered(found: Refined, reference: Style) -> Style:
    """Return the style of what the settings found sound like, as the user will get it."""
    outs = [
        Strip(s, level_lufs=-26.0, sample_rate=RATE).process(stem.audio)
        for s, stem in zip(found.strips, stems(), strict=True)
    ]
    total = np.asarray(np.sum(outs, axis=0, dtype=np.float64))
    mix = Bus(found.bus, sample_rate=RATE).process(total)
    out = fit_delivery(
        mix,
        sample_rate=RATE,
        target_lufs=TARGET_LUFS,
        ceiling_dbtp=CEILING_DBTP,
        density=Density(reference.crest_db, reference.peak_to_loudness_db),
    )
    return measure_style(out.audio, sample_rate=RATE)


def intended() -> FloatArray:
    """Return the stems' relative loudness at the intended balance, in LU."""
    return relative_lufs([stem.audio * 10 ** (stem.gain_db / 20) for stem in stems()])


def test_the_style_comes_close_to_a_reference_made_by_known_settings() -> None:
    reference = case(0).reference
    found = refined(reference)
    # Inside the spread of its segments nothing is gained, so what is left is what records vary by.
    assert found.end.total < 0.7 * found.start.total
    again = style_distance(delivered(found, reference), reference)
    assert again.total < 0.7 * found.start.total
    assert again.spectrum_db < found.start.spectrum_db
    assert again.loudness_lu < 0.1
    assert np.abs(relative_lufs(rendered(found.strips, found.bus)[1]) - intended()).max() < 3.0


@cache
def in_short_rounds() -> Refined:
    return refined(case(0).reference, RefineOptions(rounds=4, steps=8))


def test_it_starts_at_the_intended_balance() -> None:
    reference, found = case(0).reference, in_short_rounds()
    neutral = [default_settings(STRIP) | {"gain_db": stem.gain_db} for stem in stems()]
    plain = replace(found, strips=tuple(neutral), bus=default_settings(BUS))
    distance = style_distance(delivered(plain, reference), reference)
    assert found.start.total == pytest.approx(distance.total, abs=1e-6)
    # One render before each round, one of the whole, and one of what is held to usual ranges.
    assert len(found.history) == 6


def test_the_distance_reported_is_that_of_the_settings_returned() -> None:
    reference, found = case(0).reference, in_short_rounds()
    again = style_distance(delivered(found, reference), reference).to_record()
    # Settings are rounded to four decimals, and equalisers under 0.05 dB left out; the drive that
    # reaches loudness and crest is found to 0.25 dB.
    for name, value in found.end.to_record().items():
        assert value == pytest.approx(again[name], abs=0.3 if "crest" in name else 0.1), name


def test_the_level_change_reported_is_that_of_the_settings_returned() -> None:
    found = in_short_rounds()
    levels = relative_lufs(rendered(found.strips, found.bus)[1])
    # The start has a little spread: hundredths of an LU.
    assert np.asarray(found.level_change_lu) == pytest.approx(levels - intended(), abs=0.1)


@cache
def far_off() -> Refined:
    """Return what becomes of a reference that no guardrail lets anyone reach."""
    style = case(0).reference
    bent = np.asarray(style.spectrum_db) + np.linspace(-20.0, 20.0, len(style.spectrum_db))
    reference = replace(
        style,
        spectrum_db=tuple(bent.tolist()),
        width_db=4.0,
        width_by_range_db=tuple(4.0 for _ in style.width_by_range_db),
        imbalance_db=3.0,
        crest_db=5.0,
        punch_by_range_db=tuple(0.0 for _ in style.punch_by_range_db),
        typical_spectrum_db=tuple(np.add(style.typical_spectrum_db, np.linspace(-20, 20, 29))),
    )
    return refined(reference, RefineOptions(rounds=2, steps=25))


def test_a_reference_far_off_bends_no_curve_out_of_shape() -> None:
    assert far_off().end.total < far_off().start.total
    bus = curve_db(far_off().bus, BUS, sample_rate=RATE)
    assert 1.0 < np.abs(bus).max() <= 4.0
    strips = [curve_db(row, STRIP, sample_rate=RATE) for row in far_off().strips]
    for curve in (bus, *strips):
        assert np.abs(np.diff(curve)).max() <= 3.0
        assert np.abs(curve).max() <= 6.0


def test_levels_stay_in_the_corridor() -> None:
    corridor = RefineOptions().corridor_lu
    moved = relative_lufs(rendered(far_off().strips, far_off().bus)[1]) - intended()
    # Its walls are soft: a strong pull leans on them.
    assert np.abs(moved).max() < corridor + 0.5


def test_settings_stay_in_the_safe_ranges() -> None:
    tables = [(STRIP, s) for s in far_off().strips] + [(BUS, far_off().bus)]
    for table, values in tables:
        assert list(values) == [p.name for p in table]
        for p in table:
            # Four decimals.
            assert p.safe_low - 1e-4 <= values[p.name] <= p.safe_high + 1e-4, p.name


def test_stems_that_must_stay_centred_and_narrow_do() -> None:
    for stem, values in zip(stems(), far_off().strips, strict=True):
        if stem.guard.centred:
            assert values["pan"] == 0.0
        assert values["spread"] <= stem.guard.max_spread + 1e-4
        if stem.guard.max_spread == 0.0:
            assert values["width"] <= 1.0 + 1e-4


def neutral_but_for(aspects: frozenset[Aspect], found: Refined) -> None:
    tables: list[tuple[tuple[Parameter, ...], Settings, float]] = [(BUS, found.bus, 0.0)]
    tables += [(STRIP, s, stem.gain_db) for s, stem in zip(found.strips, stems(), strict=True)]
    for table, values, gain_db in tables:
        for p in table:
            if p.aspect not in aspects:
                wanted = gain_db if p.name == "gain_db" else p.default
                assert values[p.name] == pytest.approx(wanted, abs=1e-4), p.name


@pytest.mark.parametrize(
    ("aspects", "figure"),
    [
        ({Aspect.EQ}, "spectrum_db"),
        ({Aspect.PAN}, None),
        ({Aspect.WIDTH}, "width_db"),
        (set(), None),
    ],
    ids=str,
)
def test_what_is_not_to_be_matched_stays_neutral(aspects: set[Aspect], figure: str | None) -> None:
    match = frozenset(aspects)
    found = refined(case(0).reference, replace(QUICK, match=match))
    neutral_but_for(match, found)
    if figure is not None:
        assert getattr(found.end, figure) < getattr(found.start, figure)
    if not match:
        assert found.level_change_lu == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


def test_dynamics_alone_follow_a_dense_reference() -> None:
    dense = {"threshold_lu": -10.0, "ratio": 4.0, "attack_ms": 5.0, "release_ms": 80.0}
    strips = [default_settings(STRIP) | dense | {"gain_db": s.gain_db} for s in stems()]
    reference = measure_style(rendered(strips, default_settings(BUS))[0], sample_rate=RATE)
    match = frozenset({Aspect.DYNAMICS})
    found = refined(reference, RefineOptions(match=match, rounds=2, steps=20))
    neutral_but_for(match, found)
    assert max(s["ratio"] for s in (*found.strips, found.bus)) > 1.2
    assert found.end.punch_by_range_db < found.start.punch_by_range_db


def test_the_same_input_gives_the_same_settings_and_steps_are_counted_to_the_end() -> None:
    before = [stem.audio.copy() for stem in stems()]
    told: list[tuple[int, int]] = []
    first, second = (
        refine(
            stems(),
            target(case(0).reference),
            sample_rate=RATE,
            target_lufs=TARGET_LUFS,
            ceiling_dbtp=CEILING_DBTP,
            aligned=case(0).audio,
            options=RefineOptions(rounds=1, steps=6),
            on_step=on_step,
        )
        for on_step in (lambda done, total: told.append((done, total)), None)
    )
    assert first == second  # to the last bit
    for audio, stem in zip(before, stems(), strict=True):
        np.testing.assert_array_equal(audio, stem.audio)
    done = [d for d, _ in told]
    assert done == sorted(set(done))
    assert {total for _, total in told} == {done[-1]}


def test_an_aligned_reference_tells_the_stem_levels() -> None:
    gains = (5.4, -2.3, -0.9)
    strips = [
        default_settings(STRIP) | {"gain_db": stem.gain_db + gain}
        for stem, gain in zip(stems(), gains, strict=True)
    ]
    audio, outs = rendered(strips, default_settings(BUS))
    wanted = relative_lufs(outs)
    assert np.abs(wanted - intended()).max() > 3.0
    reference = measure_style(audio, sample_rate=RATE)
    found = refined(reference, RefineOptions(rounds=2, steps=40), aligned=audio)
    # EQ can stand in for some of a level where stems share a band.
    assert np.abs(relative_lufs(rendered(found.strips, found.bus)[1]) - wanted).max() < 1.0


@cache
def settled(seed: int) -> tuple[Start, Refined]:
    """Return settings that made a reference, bent a little, and what becomes of them alone."""
    strips, bus = musical(seed)
    for values in strips:
        values["high_shelf_gain_db"] = min(values["high_shelf_gain_db"] + 2.0, 5.5)
    start = Start(tuple(strips), bus)
    found = settle(
        stems(),
        start,
        target(case(seed).reference),
        sample_rate=RATE,
        target_lufs=TARGET_LUFS,
        ceiling_dbtp=CEILING_DBTP,
    )
    return start, found


def refined_from(start: Start, options: RefineOptions, reference: Style) -> Refined:
    return refine(
        stems(),
        target(reference),
        sample_rate=RATE,
        target_lufs=TARGET_LUFS,
        ceiling_dbtp=CEILING_DBTP,
        start=start,
        options=options,
    )


def test_a_prediction_alone_is_rendered_as_it_is() -> None:
    start, found = settled(0)
    for wanted, values in zip(start.strips, found.strips, strict=True):
        for name in ("gain_db", "high_shelf_gain_db", "ratio", "pan", "width"):
            assert values[name] == pytest.approx(wanted[name], abs=1e-3), name
    assert found.end.total < found.start.total
    again = style_distance(delivered(found, case(0).reference), case(0).reference)
    assert again.total == pytest.approx(found.end.total, abs=0.05)


def test_refinement_begins_at_the_prediction_and_betters_it() -> None:
    start, alone = settled(0)
    found = refined_from(start, RefineOptions(rounds=1, steps=30), case(0).reference)
    assert found.predicted is not None
    assert found.predicted == found.history[0]
    assert found.predicted.total == pytest.approx(alone.end.total, abs=0.05)
    assert found.start.total == pytest.approx(alone.start.total, abs=1e-6)
    assert found.end.total < found.start.total


def test_a_prediction_is_held_within_the_guardrails() -> None:
    strips, bus = musical(1)
    for values in strips:
        values |= {"pan": 0.9, "spread": 1.0, "width": 2.0, "threshold_lu": -40.0, "ratio": 20.0}
    bus |= {"threshold_lu": -40.0, "ratio": 20.0}
    found = refined_from(Start(tuple(strips), bus), RefineOptions(rounds=0), case(1).reference)
    for stem, values in zip(stems(), found.strips, strict=True):
        assert abs(values["pan"]) <= (0.0 if stem.guard.centred else 0.5)
        assert values["spread"] <= stem.guard.max_spread + 1e-4
        assert values["ratio"] <= 4.0
    assert found.bus["threshold_lu"] >= -24.0


@pytest.mark.parametrize("fault", ["count", "name", "number"])
def test_a_prediction_that_does_not_fit_is_refused(fault: str) -> None:
    strips, bus = musical(0)
    if fault == "count":
        strips.pop()
    elif fault == "name":
        del strips[1]["pan"]
    else:
        bus["ratio"] = float("nan")
    said = {"count": "2 strips", "name": "no pan", "number": "not finite"}[fault]
    with pytest.raises(ValueError, match=said):
        refined_from(Start(tuple(strips), bus), QUICK, case(0).reference)


def test_no_compressor_is_a_volume_control() -> None:
    # Compressed without end, as by a bus at -60 dBFS, a mix is only quieter.
    outs = [
        Strip(s, level_lufs=-26.0, sample_rate=RATE).process(stem.audio)
        for s, stem in zip(far_off().strips, stems(), strict=True)
    ]
    chain = Bus(far_off().bus, sample_rate=RATE)
    chain.process(np.asarray(np.sum(outs, axis=0, dtype=np.float64)))
    assert chain.compressor.gain_reduction.mean_db < 6.0


def test_of_a_long_excerpt_all_is_judged_at_last() -> None:
    long = tuple(
        replace(stem, audio=np.tile(stem.audio, 7) * ramp)
        for stem, ramp in zip(
            stems(),
            np.linspace((1.0, 0.5, 1.0), (0.5, 1.0, 1.0), 28 * RATE, dtype=np.float32).T,
            strict=True,
        )
    )
    reference = case(0).reference
    found = refine(
        long,
        target(reference),
        sample_rate=RATE,
        target_lufs=TARGET_LUFS,
        ceiling_dbtp=CEILING_DBTP,
        options=RefineOptions(rounds=1, steps=20),
    )
    assert len(found.history) == 3  # the passages, the whole, and what is held to usual ranges
    outs = [
        Strip(s, level_lufs=-26.0, sample_rate=RATE).process(stem.audio)
        for s, stem in zip(found.strips, long, strict=True)
    ]
    mix = Bus(found.bus, sample_rate=RATE).process(np.sum(outs, axis=0, dtype=np.float64))
    out = fit_delivery(
        mix,
        sample_rate=RATE,
        target_lufs=TARGET_LUFS,
        ceiling_dbtp=CEILING_DBTP,
        density=Density(reference.crest_db, reference.peak_to_loudness_db),
    )
    heard = style_distance(measure_style(out.audio, sample_rate=RATE), reference)
    assert heard.total == pytest.approx(found.end.total, abs=0.15)


TABLES = pytest.mark.parametrize("table", [STRIP, BUS], ids=["strip", "bus"])
MOVING = ("gain_db", "makeup_db", "width", "spread", "pan")


def some_settings(table: tuple[Parameter, ...]) -> Settings:
    draw = np.random.default_rng(len(table))
    return {p.name: float(draw.uniform(p.low, p.high)) for p in table}


@TABLES
def test_full_strength_is_what_was_found(table: tuple[Parameter, ...]) -> None:
    values = some_settings(table)
    before = dict(values)
    assert blend_settings(values, table, 1.0) == pytest.approx(values, abs=1e-12)
    assert blend_settings(values, table, 1.0, start={"width": 0.7}) == pytest.approx(
        values, abs=1e-12
    )
    assert values == before


@TABLES
def test_no_strength_is_where_it_started(table: tuple[Parameter, ...]) -> None:
    start = {"gain_db": -7.0, "width": 0.8}
    none = blend_settings(some_settings(table), table, 0.0, start=start)
    neutral = default_settings(table) | start
    for name, value in none.items():
        if name.endswith(MOVING) or name == "ratio":
            assert value == pytest.approx(neutral[name], abs=1e-12), name


def test_no_strength_changes_no_sample() -> None:
    audio = stems()[2].audio
    strip = blend_settings(some_settings(STRIP), STRIP, 0.0)
    bus = blend_settings(some_settings(BUS), BUS, 0.0)
    for chain in (
        Strip(strip, level_lufs=-26.0, sample_rate=RATE), Bus(bus, sample_rate=RATE),
    ):  # fmt: skip
        np.testing.assert_array_equal(chain.process(audio), audio)


@TABLES
def test_strength_moves_every_setting_one_way(table: tuple[Parameter, ...]) -> None:
    values = some_settings(table)
    steps = [blend_settings(values, table, s) for s in np.linspace(0.0, 1.0, 6).tolist()]
    moving = 0
    for p in table:
        path = np.diff([step[p.name] for step in steps])
        assert (path >= 0.0).all() or (path <= 0.0).all(), p.name
        assert all(p.low <= step[p.name] <= p.high for step in steps), p.name
        moving += bool(np.abs(path).min() > 0.0)
    assert moving >= 3


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_that_is_none_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="use a value from 0 to 1"):
        blend_settings(default_settings(STRIP), STRIP, strength)
