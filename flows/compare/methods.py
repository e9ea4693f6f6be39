"""Each method's balance of a session: gains, what they aim at and why, and their plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from flows.mix.analysis import AnalysedSession
from pipeline.errors import InputError, Problem, suggest
from pipeline.plan import Delivery, Plan
from stage1.balance.gains import balance, balanced_lufs, published_gain_db
from stage1.loudness.narrowband import METHODS

__all__ = [
    "MethodBalance",
    "balance_plan",
    "chosen_methods",
    "decide_method",
    "faded_plan",
    "without_loudness",
]

PUBLISHED = ("lufs", "centroid", "p_lufs")
"""Methods whose gains are those of the public reference script, whatever the role."""
PUBLISHED_LUFS = -50.0


@dataclass(frozen=True)
class MethodBalance:
    """One method's balance of a session.

    Parameters
    ----------
    name
        Of :data:`stage1.loudness.narrowband.METHODS`.
    gains_db
        Of each track, as the method has them; what a mix lowers a stem by for its headroom is
        left away, as it changes no balance.
    inverted
        Whether each track's polarity is turned over.
    targets_lufs
        What each track was aimed at; NaN where there is none.
    reasons
        Why each track got its gain, in words.
    gain_db
        Of all tracks alike, so that all sums are equally loud.
    loudness_lufs, true_peak_dbtp
        Of the sum; the peak is the largest of the sum and its stems.
    spread_lu
        As :func:`flows.compare.metrics.spreads_lu`.
    audibility_db
        Of each track in its stem; see :func:`flows.compare.metrics.audibility_db`.
    """

    name: str
    gains_db: tuple[float, ...]
    inverted: tuple[bool, ...]
    targets_lufs: tuple[float, ...]
    reasons: tuple[str, ...]
    gain_db: float = 0.0
    loudness_lufs: float = -math.inf
    true_peak_dbtp: float = -math.inf
    spread_lu: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    audibility_db: tuple[float, ...] = ()


def chosen_methods(names: Sequence[str] | None, default: str) -> tuple[str, ...]:
    """Return the methods that names mean, each once, in the order of ``METHODS``.

    Parameters
    ----------
    names
        ``"all"`` stands for every method; None or none for ``default``.

    Raises
    ------
    InputError
        With every name that is no method.
    """
    wanted = [name.strip().lower() for name in names or (default,)]
    known = ["all", *METHODS]
    problems = [
        Problem("--method", f"is {name!r}", suggest(name, known))
        for name in dict.fromkeys(wanted)
        if name not in known
    ]
    if problems:
        raise InputError(problems)
    return tuple(name for name in METHODS if name in wanted or "all" in wanted)


def decide_method(analysed: AnalysedSession, method: str, *, mixed_by: str) -> MethodBalance:
    """Return each track's gain: as published for the classical methods, else by our rules.

    Parameters
    ----------
    mixed_by
        The method of ``analysed.balances``.
    """
    features = analysed.features
    overrides = [track.overrides for track in analysed.session.tracks]
    if method in PUBLISHED:
        loudness = [balanced_lufs(track, method) for track in features]
        gains = tuple(
            published_gain_db(lufs, track.levels.peak_dbfs) if math.isfinite(lufs) else 0.0
            for lufs, track in zip(loudness, features, strict=True)
        )
        reasons = tuple(
            _published_reason(lufs, gain_db, method)
            for lufs, gain_db in zip(loudness, gains, strict=True)
        )
        targets = tuple(PUBLISHED_LUFS if math.isfinite(x) else math.nan for x in loudness)
        inverted = tuple(wish.invert is True for wish in overrides)
        return MethodBalance(method, gains, inverted, targets, reasons)
    decided = analysed.balances
    if method != mixed_by:
        decided = balance(
            features,
            analysed.recognitions,
            overrides,
            method=method,
            relations=analysed.relations,
            offsets=analysed.session.offsets,
        )
    return MethodBalance(
        method,
        tuple(level.gain_db - level.trim_db for level in decided),
        tuple(level.invert for level in decided),
        tuple(
            level.target_lufs + wish.gain_offset_db
            for level, wish in zip(decided, overrides, strict=True)
        ),
        tuple(level.reason for level in decided),
    )


def _published_reason(loudness_lufs: float, gain_db: float, method: str) -> str:
    if not math.isfinite(loudness_lufs):
        return "silent: left as it is"
    reached = loudness_lufs + gain_db
    if reached < PUBLISHED_LUFS - 0.05:
        return f"held at -1 dBFS, {reached:.1f} LUFS by {method}"
    return f"brought to {PUBLISHED_LUFS:g} LUFS by {method}"


def balance_plan(plan: Plan, decided: MethodBalance, seed: int) -> Plan:
    """Return a method's balance as a plan: its gains, everything else neutral.

    Parameters
    ----------
    plan
        As stage 1 leaves it.
    seed
        Of the dither.
    """
    tracks = tuple(
        track.model_copy(
            update={"gain_db": gain_db, "pan": 0.0, "invert": invert, "reason": reason}
        )
        for track, gain_db, invert, reason in zip(
            plan.tracks, decided.gains_db, decided.inverted, decided.reasons, strict=True
        )
    )
    delivery = Delivery(target="none", limiter_ceiling_dbtp=0.0, subtype="PCM_24", dither_seed=seed)
    return plan.model_copy(update={"tracks": tracks, "delivery": delivery})


def faded_plan(plan: Plan, gain_db: float) -> Plan:
    """Return a plan with the fader of every stem at a gain in dB."""
    stems = tuple(
        stem.model_copy(
            update={
                "balance_gain_db": gain_db,
                "settings": {**stem.settings, "gain_db": gain_db},
                "reason": "equally loud sums",
            }
        )
        for stem in plan.stems
    )
    return plan.model_copy(update={"stems": stems})


def without_loudness(analysed: AnalysedSession, methods: Sequence[str]) -> tuple[str, ...]:
    """Say which tracks a published method has no loudness for."""
    found = []
    for method in methods:
        lost = [
            features.name
            for features in analysed.features
            if not np.isfinite(features.loudness(method))
            and np.isfinite(balanced_lufs(features, method))
        ]
        if lost:
            found.append(
                f"{method} finds no loudness in {', '.join(lost)} (never over -50 LUFS in mono); "
                "balanced by the informed one there"
            )
    return tuple(found)
