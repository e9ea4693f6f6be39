"""What the stages decided, put into the plan: tracks first, then strips and bus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from flows.mix.analysis import AnalysedSession
from flows.mix.steps.balance import BalancedStem
from flows.mix.steps.render import Mixdown
from flows.mix.steps.search import ConsoleSettings
from flows.storage.locations import Place
from flows.storage.mirror import named
from flows.storage.output_folder import relative_path
from pipeline.console.compressor import LOWEST_LEVEL_LUFS
from pipeline.console.parameters import (
    BUS,
    BUS_EQ_BANDS,
    STRIP,
    WORKING_LUFS,
    ParameterTable,
    default_settings,
)
from pipeline.console.response import band_values
from pipeline.loudness.meter import integrated_loudness
from pipeline.plan import Plan, StemPlan, TrackPlan
from pipeline.prose import spoken_hz
from pipeline.roles import CENTRED_ROLES, CENTRED_SUBGROUPS, Presence, Role, Subgroup
from pipeline.units import FloatArray, db_to_amplitude
from stage1.balance.stem_targets import requested_levels, stem_targets
from stage1.signal.file_faults import FileFaults
from stage2.refine.search import HIGHEST_STEM_LU, blend_settings

__all__ = [
    "delivered_plan",
    "encoder_notes",
    "first_plan",
    "intended_levels",
    "is_centred",
    "most_spread",
    "refined_plan",
    "requested_faders",
    "start_gains",
]

_LEVEL_ROUNDS = 12

# What carries the groove and the words stays solid: no decorrelated side for these.
_SOLID_SUBGROUPS = {Subgroup.BASS, Subgroup.DIALOGUE, Subgroup.DRUMS, Subgroup.LEAD_VOCALS}
_SOLID_ROLES = {
    Role.BASS, Role.SYNTH_BASS, Role.DOUBLE_BASS, Role.KICK, Role.SNARE, Role.LEAD_VOCAL,
    Role.DIALOGUE,
}  # fmt: skip

# Smaller differences of a fader, and smaller gains of a band, are not worth a word.
_HELD_DB, _HEARD_DB = 0.05, 0.5


def first_plan(analysed: AnalysedSession, folder: Place) -> Plan:
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
            salvaged=track.info.incomplete is not None,
            channels=fault.conditioning.channels,
            dc=fault.conditioning.dc,
            dc_highpass_hz=fault.conditioning.dc_highpass_hz,
            reason=f"{level.reason}; {placed.reason}",
        )
        for track, found, level, placed, fault in zip(
            session.tracks,
            analysed.recognitions,
            analysed.balances,
            analysed.placements,
            analysed.file_faults or [FileFaults()] * len(session.tracks),
            strict=True,
        )
    )
    present = {track.subgroup for track in tracks}
    order = [*(str(s) for s in Subgroup if s in present), *sorted(present - set(Subgroup))]
    return Plan(
        session=named(session.root) or relative_path(session.root, folder),
        sample_rate=session.sample_rate,
        frames=session.frames,
        references=tuple(named(path) or str(path) for path in session.references),
        tracks=tracks,
        contents=dict(analysed.contents),
        stems=tuple(StemPlan(name=name) for name in order),
        notes=session.notes,
    )


def intended_levels(
    plan: Plan, analysed: AnalysedSession, stems: Sequence[BalancedStem]
) -> dict[str, float]:
    """Return the intended loudness of each sounding stem against the mix, in LU.

    What the user asked for is not in it: see :mod:`flows.mix.requests`.
    """
    roles, leads = _sounding_roles(plan, analysed, stems)
    return stem_targets(roles, leads=leads)


def requested_faders(
    plan: Plan, analysed: AnalysedSession, stems: Sequence[BalancedStem]
) -> dict[str, float]:
    """Return by how much the user's levels of whole stems are over ours, in LU."""
    roles, _ = _sounding_roles(plan, analysed, stems)
    return requested_levels(roles, analysed.session.offsets)


def _sounding_roles(
    plan: Plan, analysed: AnalysedSession, stems: Sequence[BalancedStem]
) -> tuple[dict[str, list[Role]], set[str]]:
    """Return the roles in each stem that sounds, and the stems with a track that leads."""
    roles: dict[str, list[Role]] = {stem.name: [] for stem in stems if not stem.silent}
    leads: set[str] = set()
    for track, found, features in zip(
        plan.tracks, analysed.recognitions, analysed.features, strict=True
    ):
        if track.subgroup in roles and not track.mute and not features.silent:
            roles[track.subgroup].append(found.role)
            if found.presence is Presence.LEAD:
                leads.add(track.subgroup)
    return roles, leads


def start_gains(
    stems: Sequence[BalancedStem], intended_lu: Mapping[str, float], sample_rate: int
) -> tuple[dict[str, float], FloatArray]:
    """Return the fader of each stem that gives the intended balance, and the excerpt's sum.

    A stem that plays only where all play can be louder, gated, than the whole song: it is held
    under the sum, as far as rounds of correction get.
    """
    fader = STRIP.parameter("gain_db")
    low, high = fader.low, fader.high
    gains_db = {
        stem.name: 0.0
        if stem.silent
        else min(max(WORKING_LUFS + intended_lu[stem.name] - stem.loudness_lufs, low), high)
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


def most_spread(name: str, tracks: Sequence[TrackPlan] = ()) -> float:
    """Return how much decorrelated side a stem may get, 0 to 1."""
    roles = {track.role for track in tracks if track.subgroup == name and not track.mute}
    if name in _SOLID_SUBGROUPS or not roles.isdisjoint(_SOLID_ROLES):
        return 0.0
    return STRIP.parameter("spread").safe_high


def refined_plan(
    plan: Plan,
    found: ConsoleSettings | None,
    gains_db: Mapping[str, float],
    levels_lufs: Mapping[str, float],
    strength: float,
) -> Plan:
    """Return the plan with the strips and the bus that were found, so much of them.

    Parameters
    ----------
    found
        What was found for the stems that sound; None for a plain balanced mix.
    gains_db, levels_lufs
        Fader of each stem in the balanced start, and its loudness before it.
    strength
        0 for that start, 1 for all that was found.
    """
    rows = {name: row for row, name in enumerate(found.stems)} if found and strength > 0.0 else {}
    stems = []
    for stem in plan.stems:
        start = {"gain_db": gains_db[stem.name]}
        updates: dict[str, object] = {
            "balance_gain_db": gains_db[stem.name],
            "level_lufs": round(max(levels_lufs[stem.name], LOWEST_LEVEL_LUFS), 4),
            "settings": default_settings(STRIP) | start,
            "reason": "balanced",
        }
        if found is not None and stem.name in rows:
            updates |= _strip_updates(found, rows[stem.name], strength, start)
        stems.append(stem.model_copy(update=updates))
    bus: dict[str, object] = {"bus": default_settings(BUS)}
    if found is not None and strength > 0.0:
        bus = _bus_updates(found, strength)
    return plan.model_copy(update={"stems": tuple(stems), **bus})


def delivered_plan(plan: Plan, mixdown: Mixdown, *, fitted: bool = True) -> Plan:
    """Return the plan with the drive and the trim that its mix was delivered with.

    Parameters
    ----------
    fitted
        Whether they were fitted to the plan's loudness.
    """
    delivery: dict[str, object] = {
        "trim_db": mixdown.trim_db,
        "encoder_margin_db": round(plan.delivery.limiter_ceiling_dbtp - mixdown.ceiling_dbtp, 4),
    }
    if fitted:
        reached = mixdown.limited_lufs
        delivery["fitted_lufs"] = plan.delivery.target_lufs
        delivery["integrated_lufs"] = reached if math.isfinite(reached) else None
    return plan.model_copy(
        update={
            "bus": {**plan.bus, "gain_db": mixdown.drive_db},
            "delivery": plan.delivery.model_copy(update=delivery),
        }
    )


def encoder_notes(plan: Plan, mixdown: Mixdown) -> tuple[str, ...]:
    """Return what is to be said of a ceiling that an encoder's peaks asked for."""
    ceiling = plan.delivery.limiter_ceiling_dbtp
    if mixdown.ceiling_dbtp >= ceiling:
        return ()
    return (
        f"the MP3 is limited to {mixdown.ceiling_dbtp:.2f} dBTP, so that it is under {ceiling:g} "
        "when it is decoded",
    )


def _strip_updates(
    found: ConsoleSettings, row: int, strength: float, start: Mapping[str, float]
) -> dict[str, object]:
    settings = blend_settings(found.refined.strips[row], STRIP, strength, start=start)
    level = f"level {found.refined.level_change_lu[row]:+.1f} LU against the balance"
    if found.prediction is None:
        return {"settings": settings, "reason": f"as engineers set it, refined; {level}"}
    told, spread = found.prediction.strips[row], found.prediction.strips_spread[row]
    predicted, spread = _predicted(told, spread, STRIP, strength, start)
    words = _fader_words(predicted, spread, settings, start["gain_db"], found.quality)
    return {
        "settings": settings,
        "predicted": predicted,
        "predicted_spread": spread,
        "reason": f"{words}; {level}",
    }


def _bus_updates(found: ConsoleSettings, strength: float) -> dict[str, object]:
    settings = blend_settings(found.refined.bus, BUS, strength)
    if found.prediction is None:
        return {"bus": settings}
    told, spread = found.prediction.bus, found.prediction.bus_spread
    predicted, spread = _predicted(told, spread, BUS, strength, {})
    for record in (predicted, spread):
        record.pop("gain_db", None)  # the delivery's to find
    return {
        "bus": settings,
        "bus_predicted": predicted,
        "bus_predicted_spread": spread,
        "bus_reason": _bus_words(predicted, spread, settings, found.quality),
    }


def _predicted(
    settings: Mapping[str, float],
    spread: Mapping[str, float],
    table: ParameterTable,
    strength: float,
    start: Mapping[str, float],
) -> tuple[dict[str, float], dict[str, float]]:
    """Return a prediction and its spread, so much of them; no spread of what is held."""
    log = {p.name for p in table if p.scale == "log"}
    further = {
        name: value * spread[name] if name in log else value + spread[name]
        for name, value in settings.items()
    }
    there = blend_settings(settings, table, strength, start=start)
    edge = blend_settings(further, table, strength, start=start)
    apart = {name: edge[name] / there[name] if name in log else edge[name] - there[name]
             for name in there}  # fmt: skip
    return (
        {name: round(value, 4) for name, value in there.items()},
        {
            name: round(value, 4)
            for name, value in apart.items()
            if value > (1.0 if name in log else 0.0)
        },
    )


def _fader_words(
    predicted: Mapping[str, float],
    spread: Mapping[str, float],
    settings: Mapping[str, float],
    balance_db: float,
    quality: str,
) -> str:
    """Return what was predicted of a fader, and what became of that."""
    words = f"predicted fader {predicted['gain_db'] - balance_db:+.1f} dB"
    if "gain_db" in spread:
        words += f" (± {spread['gain_db']:.1f})"
    settled = f"{settings['gain_db'] - balance_db:+.1f} dB"
    if quality == "best":
        return f"{words}, refined to {settled}"
    held = abs(settings["gain_db"] - predicted["gain_db"]) >= _HELD_DB
    return f"{words}, held at {settled} by the corridor of levels" if held else words


def _bus_words(
    predicted: Mapping[str, float],
    spread: Mapping[str, float],
    settings: Mapping[str, float],
    quality: str,
) -> str:
    """Return the largest of what was predicted of the bus's equaliser, and what became of it."""
    moves = sorted(BUS_EQ_BANDS, key=lambda band: -abs(predicted[band.gain_name]))
    gain_db, frequency_hz, _ = band_values(moves[0], predicted)
    if abs(gain_db) < _HEARD_DB:
        words = "predicted a flat equaliser"
    else:
        words = f"predicted {gain_db:+.1f} dB"
        if moves[0].gain_name in spread:
            words += f" (± {spread[moves[0].gain_name]:.1f})"
        words += f" at {spoken_hz(frequency_hz)}"
    if quality != "best":
        return words
    far = max(abs(settings[band.gain_name] - predicted[band.gain_name]) for band in BUS_EQ_BANDS)
    return f"{words}, refined by at most {far:.1f} dB"
