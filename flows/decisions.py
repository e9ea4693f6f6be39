"""What the stages decided, put into the plan: tracks first, then strips and bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from flows.analysis import AnalysedSession
from flows.output_folder import relative_path
from flows.steps import BalancedStem
from pipeline.loudness import integrated_loudness
from pipeline.plan import BUS, STRIP, Plan, StemPlan, TrackPlan, default_settings
from pipeline.roles import CENTRED_ROLES, CENTRED_SUBGROUPS, Presence, Role, Subgroup
from pipeline.units import FloatArray, db_to_amplitude
from stage1.balance import stem_targets
from stage2.refine import HIGHEST_STEM_LU, Refined, blend_settings

__all__ = [
    "first_plan",
    "intended_levels",
    "is_centred",
    "most_spread",
    "refined_plan",
    "start_gains",
]

# Loudness of the stems' sum before the bus: leaves headroom, and meets the thresholds' ranges.
_WORKING_LUFS = -20.0
_LEVEL_ROUNDS = 12

# How much decorrelated side a stem may get: what carries the groove and the words stays solid.
_MAX_SPREAD: dict[str, float] = {
    Subgroup.BASS: 0.0,
    Subgroup.DIALOGUE: 0.0,
    Subgroup.DRUMS: 0.35,
    Subgroup.LEAD_VOCALS: 0.35,
}
_DEFAULT_MAX_SPREAD = 0.7


def first_plan(analysed: AnalysedSession, folder: Path) -> Plan:
    """Return the plan as stage 1 leaves it: neutral strips and bus.

    Parameters
    ----------
    folder
        Where the plan will lie: it names the session's folder from there.
    """
    session = analysed.session
    tracks = tuple(
        TrackPlan(
            path=track.name,
            role=str(found.role),
            subgroup=found.subgroup,
            gain_db=round(level.gain_db, 4),
            pan=round(placed.pan, 4),
            invert=level.invert,
            offset_s=track.offset_s,
            mute=level.mute,
            reason=f"{level.reason}; {placed.reason}",
        )
        for track, found, level, placed in zip(
            session.tracks,
            analysed.recognitions,
            analysed.balances,
            analysed.placements,
            strict=True,
        )
    )
    present = {track.subgroup for track in tracks}
    order = [*(str(s) for s in Subgroup if s in present), *sorted(present - set(Subgroup))]
    return Plan(
        session=relative_path(session.root, folder),
        sample_rate=session.sample_rate,
        frames=session.frames,
        references=tuple(str(path) for path in session.references),
        tracks=tracks,
        stems=tuple(StemPlan(name=name) for name in order),
        notes=session.notes,
    )


def intended_levels(
    plan: Plan, analysed: AnalysedSession, stems: Sequence[BalancedStem]
) -> dict[str, float]:
    """Return the intended loudness of each sounding stem against the mix, in LU."""
    roles: dict[str, list[Role]] = {stem.name: [] for stem in stems if not stem.silent}
    leads: set[str] = set()
    for track, found, features in zip(
        plan.tracks, analysed.recognitions, analysed.features, strict=True
    ):
        if track.subgroup in roles and not track.mute and not features.silent:
            roles[track.subgroup].append(found.role)
            if found.presence is Presence.LEAD:
                leads.add(track.subgroup)
    return stem_targets(roles, leads=leads, offsets=analysed.session.offsets)


def start_gains(
    stems: Sequence[BalancedStem], intended_lu: Mapping[str, float], sample_rate: int
) -> tuple[dict[str, float], FloatArray]:
    """Return the fader of each stem that gives the intended balance, and the excerpt's sum.

    A stem that plays only where all play can be louder, gated, than the whole song: it is held
    under the sum, as far as rounds of correction get.
    """
    low, high = STRIP[0].low, STRIP[0].high
    gains_db = {
        stem.name: 0.0
        if stem.silent
        else min(max(_WORKING_LUFS + intended_lu[stem.name] - stem.loudness_lufs, low), high)
        for stem in stems
    }
    excerpts = {stem.name: np.load(stem.excerpt, mmap_mode="r") for stem in stems}
    for turn in range(_LEVEL_ROUNDS):
        total = np.zeros_like(excerpts[stems[0].name])
        for stem in stems:
            total += excerpts[stem.name] * np.float32(db_to_amplitude(gains_db[stem.name]))
        whole = integrated_loudness(total, sample_rate=sample_rate)
        above = {
            stem.name: stem.loudness_lufs + gains_db[stem.name] - whole - HIGHEST_STEM_LU
            for stem in stems
            if not stem.silent
        }
        if len(above) < 2 or max(above.values()) <= 0.0 or turn == _LEVEL_ROUNDS - 1:
            break
        for name, excess in above.items():
            if excess > 0.0:
                gains_db[name] = max(gains_db[name] - excess - 0.2, low)
    return {name: round(gain, 4) for name, gain in gains_db.items()}, total


def is_centred(name: str, tracks: Sequence[TrackPlan]) -> bool:
    """Whether a stem must stay in the middle: it holds what anchors a mix."""
    roles = {track.role for track in tracks if track.subgroup == name}
    return name in CENTRED_SUBGROUPS or not roles.isdisjoint(CENTRED_ROLES)


def most_spread(name: str) -> float:
    """Return how much decorrelated side a stem may get, 0 to 1."""
    return _MAX_SPREAD.get(name, _DEFAULT_MAX_SPREAD)


def refined_plan(
    plan: Plan,
    refined: Refined | None,
    sounding: Sequence[str],
    gains_db: Mapping[str, float],
    strength: float,
) -> Plan:
    """Return the plan with the strips and the bus that were found, so much of them.

    Parameters
    ----------
    refined
        What was found for the stems ``sounding``; None for a plain balanced mix.
    gains_db
        Fader of each stem in the balanced start.
    strength
        0 for that start, 1 for all that was found.
    """
    found = dict(zip(sounding, refined.strips, strict=True)) if refined else {}
    moved = dict(zip(sounding, refined.level_change_lu, strict=True)) if refined else {}
    stems = []
    for stem in plan.stems:
        start = {"gain_db": gains_db[stem.name]}
        settings = default_settings(STRIP) | start
        reason = "balanced"
        if stem.name in found and strength > 0.0:
            settings = blend_settings(found[stem.name], STRIP, strength, start=start)
            reason = f"towards the reference; level {moved[stem.name]:+.1f} LU against the balance"
        stems.append(
            stem.model_copy(
                update={
                    "balance_gain_db": gains_db[stem.name],
                    "settings": settings,
                    "reason": reason,
                }
            )
        )
    bus = default_settings(BUS)
    if refined and strength > 0.0:
        bus = blend_settings(refined.bus, BUS, strength)
    return plan.model_copy(update={"stems": tuple(stems), "bus": bus})
