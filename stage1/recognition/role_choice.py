"""From the words of one name to the role that they mean together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from pipeline.roles import SUBGROUP_OF, Role, Subgroup
from stage1.recognition.names import Hit, NameReading
from stage1.recognition.vocabulary import Strength, vocabulary_data

__all__ = ["FLAVOURS", "choose", "fallback", "with_marks"]

_CONFIDENCE = {
    Strength.STRONG: 0.95,
    Strength.PLAIN: 0.85,
    Strength.WEAK: 0.6,
    Strength.GUESS: 0.4,
}
_CLOSE_DRUMS = frozenset({Role.KICK, Role.SNARE, Role.HI_HAT, Role.TOM, Role.CYMBAL, Role.CLAP})
FLAVOURS = frozenset({Role.EFFECT, Role.SAMPLE, Role.AMBIENCE})
_LOUD_WEAK = frozenset({Role.SYNTH, Role.SAXOPHONE})
_PERCUSSIVE = frozenset({Role.PERCUSSION, Role.SHAKER, Role.TAMBOURINE})


def choose(reading: NameReading) -> tuple[Role | None, float, str]:
    """Weigh the hits of a name: the strongest wins, and of equals the last.

    Returns
    -------
    role, confidence, reason
        ``(None, 0.0, "")`` where no word speaks for a role.
    """
    if not reading.hits:
        return None, 0.0, ""
    if reading.joined:
        return _both(reading)
    hits = _without_rooms(reading.hits)
    top = max(hit.strength for hit in hits)
    best = [hit for hit in hits if hit.strength == top]
    roles = list(dict.fromkeys(hit.role for hit in best))
    said = _quoted(best)
    confidence = _CONFIDENCE[top] * (0.8 if all(hit.fuzzy for hit in best) else 1.0)
    drums = _CLOSE_DRUMS.intersection(roles)
    # "Brass Stab" is no synth and "Fill Scratch" no drum kit: a weak word changes neither.
    steady = best[0].role in FLAVOURS
    weaker = [
        hit.role
        for hit in hits
        if Strength.WEAK <= hit.strength < top
        and (hit.strength > Strength.WEAK or not (steady or hit.role in _LOUD_WEAK))
    ]
    if len(roles) == 1:
        role = next((c for r in weaker if (c := _combined(roles[0], r))), roles[0])
        confidence *= _doubt(role, hits, top)
        return role, confidence, f"named {said}"
    if {Role.OVERHEAD, Role.ROOM} & set(roles) and Role.AMBIENCE not in roles:
        role = Role.OVERHEAD if Role.OVERHEAD in roles else Role.ROOM
        return role, confidence * 0.9, f"named {said}"
    role = roles[0]
    merged: Role | None = role
    for other in roles[1:]:
        merged = _combined(merged, other) if merged is not None else None
    if merged is not None:
        return merged, confidence * 0.95, f"named {said}"
    if len(drums) == len(roles):
        return Role.DRUM_KIT, 0.45, f"named {said}: several drums in one track"
    if top == Strength.GUESS:
        return roles[-1], 0.3, f"perhaps {said}"
    return roles[-1], 0.45, f"named {said}, of which the last"


def _doubt(role: Role, hits: Sequence[Hit], top: Strength) -> float:
    """Return what other words leave of a role's confidence.

    "Marimba Vox" may be either; a song's or a player's name often holds an instrument's.
    """
    others = [
        hit.strength
        for hit in hits
        if hit.strength < top
        and SUBGROUP_OF[hit.role] != SUBGROUP_OF[role]
        and hit.role not in FLAVOURS
        and _combined(role, hit.role) is None
    ]
    if not others or max(others) == Strength.GUESS:
        return 1.0
    return 0.5 if max(others) == Strength.PLAIN else 0.75


def _without_rooms(hits: Sequence[Hit]) -> Sequence[Hit]:
    """Drop the room and overhead of another instrument: "Gtr Room" is a guitar."""
    distant = {Role.ROOM, Role.OVERHEAD}
    if any(hit.role == Role.DRUM_KIT or {"drum", "kit"} & set(hit.phrase) for hit in hits):
        return hits
    has_other = any(
        hit.strength >= Strength.PLAIN and SUBGROUP_OF[hit.role] != Subgroup.DRUMS for hit in hits
    )
    return [hit for hit in hits if hit.role not in distant] if has_other else hits


def _both(reading: NameReading) -> tuple[Role, float, str]:
    roles = list(dict.fromkeys(hit.role for hit in reading.hits))
    said = _quoted(reading.hits)
    if all(SUBGROUP_OF[role] == Subgroup.DRUMS for role in roles):
        return Role.DRUM_KIT, 0.45, f"named {said}: several drums in one track"
    if all(role in _PERCUSSIVE for role in roles):
        return Role.PERCUSSION, 0.8, f"named {said}"
    strongest = max(reading.hits, key=lambda hit: hit.strength)
    return strongest.role, 0.4, f"named {said}: several sources in one track"


def _quoted(hits: Sequence[Hit]) -> str:
    phrases = dict.fromkeys(" ".join(hit.phrase) for hit in hits)
    return " and ".join(repr(phrase) for phrase in phrases)


@cache
def _combinations() -> Mapping[frozenset[str], Role]:
    return {
        frozenset(pair.split()): Role(role) for pair, role in vocabulary_data()["combine"].items()
    }


def _combined(one: Role, other: Role) -> Role | None:
    """Return the role that two roles in one name mean together, or None."""
    pair = {one, other}
    # "Brass Swell" is brass and "Piano Loop" a piano; a cymbal's swell is an effect.
    if pair & FLAVOURS and not pair <= FLAVOURS | {Role.CYMBAL, Role.ROOM, Role.CLAP}:
        return (pair - FLAVOURS).pop()
    if Role.DRUM_KIT in pair and (close := pair & (_CLOSE_DRUMS | {Role.ROOM, Role.OVERHEAD})):
        return close.pop()
    return _combinations().get(frozenset(pair))


def fallback(reading: NameReading) -> tuple[Role, float, str]:
    """Return role, confidence and reason of a name without a word for a role."""
    if reading.is_backing:
        return Role.BACKING_VOCAL, 0.45, "named as a backing part"
    if reading.is_lead:
        return Role.SYNTH_LEAD, 0.4, "named as a lead, of what is not said"
    if reading.is_wet:
        return Role.EFFECT, 0.6, "named as an effect return"
    if reading.position in {"di", "amp"}:
        return Role.ELECTRIC_GUITAR, 0.3, "perhaps an instrument's amplifier or direct signal"
    return Role.UNKNOWN, 0.0, "the name says nothing"


def with_marks(role: Role, reading: NameReading, folder: Subgroup | None) -> Role:
    """Apply words such as "lead", "backing" and "double" to the role."""
    if role == Role.LEAD_VOCAL and (reading.is_backing or folder == Subgroup.BACKING_VOCALS):
        return Role.BACKING_VOCAL
    if role == Role.LEAD_VOCAL and (reading.is_double or reading.is_wet):
        return Role.VOCAL_DOUBLE
    if reading.is_lead and role == Role.ELECTRIC_GUITAR:
        return Role.LEAD_GUITAR
    if reading.is_lead and role == Role.SYNTH:
        return Role.SYNTH_LEAD
    return role
