"""A prediction alone keeps stem levels where refinement would."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pipeline.console.parameters import BUS, STRIP, Aspect, default_settings
from pipeline.console.processors import Strip
from pipeline.loudness.meter import integrated_loudness
from pipeline.units import FloatArray
from stage2.refine.guardrails import settle_in_corridor
from stage2.refine.search import Refined, RefineOptions, Start, StemInput, settle
from stage2.style.measure import measure_style
from stage2.style.target import StyleTarget, segment_spread

RATE = 22_050
GAINS_DB = (-3.0, -6.0, -4.0)
EVERY = frozenset(Aspect)


@cache
def stems() -> tuple[StemInput, ...]:
    """Return three stems of struck noise."""
    rng = np.random.default_rng(11)
    time = np.arange(5 * RATE) / RATE
    made = []
    for name, every_s, gain_db in zip(
        ("drums", "bass", "keys"), (0.5, 0.7, 1.1), GAINS_DB, strict=True
    ):
        struck = 0.05 + np.exp(-(time % every_s) / 0.1)
        audio = (0.1 * rng.standard_normal((2, time.size)) * struck).astype(np.float32)
        made.append(StemInput(name, audio, gain_db, level_of(audio)))
    return tuple(made)


def level_of(audio: FloatArray) -> float:
    return integrated_loudness(audio, sample_rate=RATE)


@cache
def reference() -> StyleTarget:
    audio = sum(stem.audio for stem in stems())
    style = measure_style(np.asarray(audio, dtype=np.float32), sample_rate=RATE)
    return StyleTarget(style, segment_spread())


def start(*strips: dict[str, float]) -> Start:
    """Return predicted strips over the balanced mix."""
    return Start(
        tuple(
            default_settings(STRIP) | {"gain_db": gain_db} | strip
            for gain_db, strip in zip(GAINS_DB, strips, strict=True)
        ),
        default_settings(BUS),
    )


def settled(begin: Start, match: frozenset[Aspect] = EVERY) -> Refined:
    return settle_in_corridor(
        stems(), begin, reference(), sample_rate=RATE, target_lufs=-16.0, ceiling_dbtp=-1.0,
        match=match,
    )  # fmt: skip


def changes_lu(found: Refined) -> FloatArray:
    """Return by how much each stem's rendered loudness moved against the others."""
    moved = []
    for stem, settings in zip(stems(), found.strips, strict=True):
        after = Strip(settings, level_lufs=stem.level_lufs, sample_rate=RATE).process(stem.audio)
        before = integrated_loudness(stem.audio, sample_rate=RATE) + stem.gain_db
        moved.append(integrated_loudness(after, sample_rate=RATE) - before)
    return np.asarray(moved) - np.mean(moved)


def test_inside_the_corridor_a_prediction_is_taken_as_it_is() -> None:
    begin = start({"gain_db": -2.0, "width": 1.2}, {}, {"high_shelf_gain_db": 3.0})
    plain = settle(
        stems(), begin, reference(), sample_rate=RATE, target_lufs=-16.0, ceiling_dbtp=-1.0
    )
    held = settled(begin)
    assert (held.strips, held.bus, held.end) == (plain.strips, plain.bus, plain.end)


@pytest.mark.parametrize(
    "strip",
    [
        {"gain_db": 5.0},
        {"gain_db": -11.0},
        {"gain_db": 8.0, "ratio": 2.0, "threshold_lu": 0.0, "attack_ms": 5.0},
    ],
    ids=["loud", "soft", "loud and compressed"],
)
def test_a_stem_that_leaves_the_corridor_is_held_at_its_edge(strip: dict[str, float]) -> None:
    found = settled(start(strip, {"gain_db": -5.5}, {}))
    moved = changes_lu(found)
    corridor = RefineOptions.corridor_lu
    # rendered again by the strips of the console; settings are rounded to four decimals
    assert np.abs(moved).max() == pytest.approx(corridor, abs=0.1)
    assert np.asarray(found.level_change_lu) == pytest.approx(moved, abs=0.02)
    # all else is as predicted
    for name in strip.keys() - {"gain_db"}:
        assert found.strips[0][name] == pytest.approx(strip[name]), name
    assert found.predicted == found.history[0]
    assert found.end == found.history[-1] != found.history[0]


def test_without_levels_to_match_a_strip_does_less_and_no_fader_moves() -> None:
    loud = {
        f"{band}_gain_db": 4.5 for band in ("low_mid_peak", "high_mid_peak", "high_peak")
    }  # fmt: skip
    found = settled(start(loud, {"gain_db": 0.0}, {}), frozenset({Aspect.EQ}))
    assert np.abs(changes_lu(found)).max() <= RefineOptions.corridor_lu + 0.1
    assert [strip["gain_db"] for strip in found.strips] == list(GAINS_DB)
    eased = [found.strips[0][name] for name in loud]
    assert eased == pytest.approx([eased[0]] * 3)
    assert 1.0 < eased[0] <= 4.5
