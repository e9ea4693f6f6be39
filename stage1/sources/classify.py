"""What a match between two tracks means: copies, microphones of one source, faults."""

from __future__ import annotations

import math
from dataclasses import replace

from pipeline.roles import Role
from stage1.recognition.recognise import Recognition
from stage1.sources.coherence import Match
from stage1.sources.records import Fault, Kind, Relation

__all__ = [
    "FAR_ROLES",
    "are_near",
    "is_flipped",
    "judge",
    "same_source",
]


# A recording is itself where nearly every band and all of the sum agree; two microphones never are.
_COPY_COHERENCE, _COPY_CORRELATION = 0.9, 0.97
_COPY_DELAY_MS = 0.05
# The same, heard through other microphones: what unrelated performances do not reach (0.15).
_SOURCE_COHERENCE = 0.25
# Named for different sources, yet the same sound, and in step: bleed does not reach all three.
_ONE_SOUND = (0.85, 0.45, 0.5)  # envelope, coherence, correlation as the files stand
# An overhead hears what it hangs over; only what is alike as two taps of one bass is one sound.
_ONE_SOUND_FAR = 0.95

# coherence, correlation: what is flipped unasked must be surer than what is only said
_NEAR_INVERTED, _NEAR_FLIPPED, _FAR_INVERTED = (0.25, 0.15), (0.25, 0.25), (0.35, 0.4)
_DELAY_COHERENCE, _NEAR_DELAY_COHERENCE = 0.3, 0.25
_DELAY_LIMIT_MS = {"di": 3.0, "amp": 3.0, "out": 3.0, "sub": 3.0, "trigger": 5.0, "room": 30.0}
# The halves of an overhead pair hang some 2 m apart at most, those of other pairs 3 m.
_CLOSE_LIMIT_MS, _OVERHEADS_LIMIT_MS, _HALVES_LIMIT_MS, _FAR_LIMIT_MS = 1.5, 6.0, 10.0, 30.0
# Where a delay hides how two microphones would sum: between unrelated and one, at most 1.5 dB off.
_IN_THE_MIDDLE = math.sqrt(2.0) - 1.0
FAR_ROLES = frozenset({Role.OVERHEAD, Role.ROOM, Role.DRUM_KIT})
"""Microphones that hear several sources from afar."""


def same_source(first: Recognition, second: Recognition) -> bool:
    """Whether names say that two tracks are of one source."""
    return (first.subgroup, first.source) == (second.subgroup, second.source)


def _limit_ms(first: Recognition, second: Recognition) -> float:
    """Return the longest delay that is nothing out of the ordinary between two microphones."""
    halves = first.side and second.side and first.side != second.side
    if halves and first.role == second.role == Role.OVERHEAD:
        return _OVERHEADS_LIMIT_MS
    if first.role in FAR_ROLES or second.role in FAR_ROLES:
        return _FAR_LIMIT_MS
    if halves:
        return _HALVES_LIMIT_MS
    return max(_DELAY_LIMIT_MS.get(r.position, _CLOSE_LIMIT_MS) for r in (first, second))


def are_near(first: Recognition, second: Recognition) -> bool:
    """Whether two microphones of a source stand close to it, so that their polarity must agree."""
    halves = first.side != second.side and "" not in {first.side, second.side}
    far = any(r.role in FAR_ROLES or r.position == "room" for r in (first, second))
    return not halves and not far


def judge(first: Recognition, second: Recognition, match: Match, alike: float) -> Relation | None:
    """Say what a match means, or None where it means nothing."""
    copy = match.coherence >= _COPY_COHERENCE and abs(match.correlation) >= _COPY_CORRELATION
    same = same_source(first, second)
    strong = (
        alike >= _ONE_SOUND[0]
        and match.coherence >= _ONE_SOUND[1]
        and abs(match.at_zero) >= _ONE_SOUND[2]
        and (alike >= _ONE_SOUND_FAR or (first.role in FAR_ROLES) == (second.role in FAR_ROLES))
    )
    if not (copy or strong or (same and match.coherence >= _SOURCE_COHERENCE)):
        return None
    relation = Relation(
        first.name,
        second.name,
        "microphones",
        correlation=round(match.correlation, 3),
        at_zero=round(match.at_zero, 3),
        coherence=round(match.coherence, 3),
        delay_ms=round(match.delay_ms, 3) + 0.0,
        inverted=match.correlation < 0.0,
        level_db=round(match.level_db, 2) + 0.0,
        counted=round(min(abs(match.at_zero), 1.0), 3),
    )
    if copy:
        return _copy(relation, first, second)
    return _microphones(relation, first, second, match)


def _copy(relation: Relation, first: Recognition, second: Recognition) -> Relation:
    kind: Kind = "inverted" if relation.inverted else "duplicate"
    if abs(relation.delay_ms) > _COPY_DELAY_MS:
        kind = "copy delayed"
    relation = replace(relation, kind=kind)
    return replace(relation, fault=Fault(is_flipped=is_flipped(relation, first, second)))


def _microphones(
    relation: Relation, first: Recognition, second: Recognition, match: Match
) -> Relation:
    near = are_near(first, second)
    coherence, correlation = _NEAR_INVERTED if near else _FAR_INVERTED
    certain = same_source(first, second) or first.role == second.role
    inverted = certain and match.coherence >= coherence and match.correlation <= -correlation
    usual_ms = _limit_ms(first, second)
    late = (
        certain
        and match.coherence >= (_NEAR_DELAY_COHERENCE if near else _DELAY_COHERENCE)
        and abs(match.delay_ms) > usual_ms
    )
    if not inverted and not late:
        counted = 0.0 if certain and match.at_zero < 0.0 else relation.counted
        return replace(relation, counted=counted)
    counted = _IN_THE_MIDDLE * abs(match.correlation) if late else relation.counted
    fault = Fault(
        is_inverted=inverted,
        is_flipped=is_flipped(relation, first, second),
        is_underside=second.position == "bottom",
        usual_delay_ms=usual_ms if late else None,
        delay_ms=match.delay_ms,
    )
    return replace(relation, counted=round(min(counted, 1.0), 3), fault=fault)


def is_flipped(relation: Relation, first: Recognition, second: Recognition) -> bool:
    """Whether the polarity of the second microphone is corrected without being asked.

    Only inside one recognised source and between close positions, and where both the delay found
    and the sum as the files stand say that they cancel.
    """
    coherence, correlation = _NEAR_FLIPPED
    return (
        same_source(first, second)
        and are_near(first, second)
        and relation.coherence >= coherence
        and relation.correlation <= -correlation
        and relation.at_zero <= -correlation
        and relation.kind in {"microphones", "inverted"}
    )
