"""What a track's name says, weighed against what it sounds like.

A name is written by someone who knows the track, so it is believed; sound decides where the name
says nothing, and a strong contradiction is said aloud: a file exported under the wrong name is
found that way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.roles import SUBGROUP_OF, Role, Subgroup

__all__ = ["Evidence", "Verdict", "weigh"]

SILENT_NAME = 0.3
"""A name of less confidence says nothing."""
WEAK_NAME = 0.5
BELIEVED = 0.5
"""From here the sound decides for a name that says nothing."""
STRONG = 0.9
"""From here the sound overrules a weak name, and is reported against a clear one."""
DOUBT = 0.3
"""What a contradiction takes from a clear name's confidence."""

# Only these are told from the rest surely enough to speak against a name.
_RELIABLE: frozenset[str] = frozenset(
    {Subgroup.DRUMS, Subgroup.GUITARS, Subgroup.LEAD_VOCALS, Subgroup.BACKING_VOCALS}
)
# One voice sings like another, and speech is a voice too; hands and sticks strike alike.
_FAMILIES: tuple[frozenset[str], ...] = (
    frozenset({Subgroup.LEAD_VOCALS, Subgroup.BACKING_VOCALS, Subgroup.DIALOGUE}),
    frozenset({Subgroup.DRUMS, Subgroup.PERCUSSION}),
)
# These are named for what they are for: the reverb of a voice sounds like a voice.
_NAMED_BY_USE = frozenset({Role.EFFECT, Role.SAMPLE, Role.AMBIENCE})


class Evidence(Protocol):
    """What a track sounds like, as :func:`stage1.recognition.classifier.hear` returns it."""

    @property
    def role(self) -> Role:
        """The likeliest role."""
        ...

    @property
    def subgroup(self) -> str:
        """The likeliest subgroup."""
        ...

    @property
    def confidence(self) -> float:
        """Probability that the subgroup is right."""
        ...


@dataclass(frozen=True)
class Verdict:
    """A role, how sure it is, why, and what speaks against it (``""`` if nothing does)."""

    role: Role
    confidence: float
    reason: str
    contradiction: str = ""


def _alike(one: str, other: str) -> bool:
    return one == other or any(one in family and other in family for family in _FAMILIES)


def weigh(
    role: Role, confidence: float, reason: str, sound: Evidence | None, *, by_user: bool = False
) -> Verdict:
    """Weigh a name's role against the sound.

    Parameters
    ----------
    role, confidence, reason
        What the name says.
    sound
        What the sound says; None if it was not asked, or is silent.
    by_user
        The role is the user's own and stands, whatever it sounds like.

    Returns
    -------
    Verdict
    """
    if sound is None:
        return Verdict(role, confidence, reason)
    sounds = f"sounds like {sound.role.value.replace('_', ' ')} ({sound.confidence:.2f})"
    if role == Role.UNKNOWN or (confidence < SILENT_NAME and not by_user):
        if sound.confidence >= BELIEVED and not by_user:
            return Verdict(sound.role, sound.confidence, f"{sounds}; {reason}")
        return Verdict(role, confidence, reason)
    if _alike(SUBGROUP_OF[role], sound.subgroup):
        agreed = 1.0 - (1.0 - confidence) * (1.0 - 0.5 * sound.confidence)
        return Verdict(role, max(confidence, round(agreed, 2)), reason)
    unsure = sound.confidence < STRONG or sound.subgroup not in _RELIABLE
    if unsure or role in _NAMED_BY_USE:
        return Verdict(role, confidence, reason)
    if by_user or confidence >= WEAK_NAME:
        sure = confidence if by_user else max(confidence - DOUBT, SILENT_NAME)
        return Verdict(role, sure, reason, f"{sounds}, not like {role.value.replace('_', ' ')}")
    said = f"{sounds}, though its name may mean {role.value.replace('_', ' ')}"
    return Verdict(sound.role, sound.confidence * 0.9, f"{said} ({reason})", said)
