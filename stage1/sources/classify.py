"""What a match between two tracks means: copies, microphones of one source, faults; in words."""

from __future__ import annotations

import math
from dataclasses import replace

from pipeline.roles import Role
from stage1.recognition.recognise import Recognition
from stage1.sources.coherence import Match
from stage1.sources.records import Kind, Relation

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
    inverted = match.correlation < 0.0
    relation = Relation(
        first.name,
        second.name,
        "microphones",
        round(match.correlation, 3),
        round(match.at_zero, 3),
        round(match.coherence, 3),
        round(match.delay_ms, 3) + 0.0,
        inverted,
        round(match.level_db, 2) + 0.0,
        round(min(abs(match.at_zero), 1.0), 3),
        "",
    )
    if copy:
        return _copy(relation, first, second)
    return _microphones(relation, first, second, match)


def _copy(relation: Relation, one: Recognition, other: Recognition) -> Relation:
    first, second = relation.first, relation.second
    at = f"at {relation.level_db:+.1f} dB"
    remedy = "counted once; mute one in session.toml"
    if abs(relation.delay_ms) > _COPY_DELAY_MS:
        kind: Kind = "copy delayed"
        order = "later" if relation.delay_ms > 0.0 else "earlier"
        turned = "inverted and " if relation.inverted else ""
        message = (
            f"{second!r} is the recording of {first!r}, {turned}{abs(relation.delay_ms):.2f} ms "
            f"{order} {at}: together they comb; {remedy}"
        )
    elif relation.inverted:
        kind = "inverted"
        flipped = is_flipped(replace(relation, kind=kind), one, other)
        message = (
            f"{second!r} is the recording of {first!r} with inverted polarity {at}: "
            + ("flipped in the mix; " if flipped else "together they cancel; ")
            + remedy
            + ("" if flipped else ", or set invert = true there for one")
        )
    else:
        kind = "duplicate"
        message = f"{second!r} is the same recording as {first!r} {at}: {remedy}"
    return replace(relation, kind=kind, message=message, is_fault=True)


def _microphones(
    relation: Relation, first: Recognition, second: Recognition, match: Match
) -> Relation:
    near = are_near(first, second)
    coherence, correlation = _NEAR_INVERTED if near else _FAR_INVERTED
    certain = same_source(first, second) or first.role == second.role
    inverted = certain and match.coherence >= coherence and match.correlation <= -correlation
    late = (
        certain
        and match.coherence >= (_NEAR_DELAY_COHERENCE if near else _DELAY_COHERENCE)
        and abs(match.delay_ms) > _limit_ms(first, second)
    )
    a, b = relation.first, relation.second
    if not inverted and not late:
        order = "later" if relation.delay_ms >= 0.0 else "earlier"
        message = (
            f"{b!r} hears what {a!r} hears, {abs(relation.delay_ms):.1f} ms {order} "
            f"(correlation {relation.correlation:.2f})"
        )
        counted = 0.0 if certain and match.at_zero < 0.0 else relation.counted
        return replace(relation, counted=counted, message=message)
    parts = []
    if inverted:
        usual = ": usual for a microphone on the other side of the skin" * (
            second.position == "bottom"
        )
        remedy = f"set invert = true for it in session.toml if it sounds thin with {a!r}"
        flipped = is_flipped(relation, first, second)
        parts.append(
            f"{b!r} is inverted against {a!r} (correlation {relation.correlation:.2f}){usual}"
            + (", flipped in the mix" if flipped else f": {remedy}")
        )
    if late:
        order, move = ("later", "earlier") if match.delay_ms > 0.0 else ("earlier", "later")
        limit = _limit_ms(first, second)
        parts.append(
            f"{b!r} is {abs(match.delay_ms):.1f} ms {order} than {a!r}, and {limit:g} ms are usual "
            f"between such microphones: move it {abs(match.delay_ms):.1f} ms {move} in your "
            "workstation if that is not meant"
        )
    counted = _IN_THE_MIDDLE * abs(match.correlation) if late else relation.counted
    return replace(
        relation, counted=round(min(counted, 1.0), 3), message="; ".join(parts), is_fault=True
    )


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
