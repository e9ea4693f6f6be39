"""What each track is and with which others it is balanced: from name, folder and sound.

All names of a session are read together: pairs, the microphones of one source and the meaning of
"Vox 2" or "Lead" only show beside the other tracks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePosixPath
from typing import Literal

from pipeline.roles import SUBGROUP_OF, Presence, Role, Subgroup
from pipeline.session.settings import TrackOverrides
from stage1.recognition.fusion import Evidence, weigh
from stage1.recognition.names import NameReading, read_name
from stage1.recognition.role_choice import FLAVOURS, choose, fallback, with_marks
from stage1.recognition.vocabulary import Strength, vocabulary_data

__all__ = ["UNSURE_BELOW", "Recognition", "recognise"]

UNSURE_BELOW = 0.5

# Roles that hold several instruments: the word itself tells one source from another.
_BROAD = frozenset(
    {
        Role.TOM,
        Role.CYMBAL,
        Role.PERCUSSION,
        Role.ELECTRIC_PIANO,
        Role.SAXOPHONE,
        Role.SYNTH,
        Role.KEYS,
        Role.PLUCKED,
        Role.MALLET,
        Role.REED,
        Role.WOODWIND,
        Role.EFFECT,
        Role.SAMPLE,
        Role.AMBIENCE,
    }
)
# "Kick 1" and "Kick 2" are two microphones far more often than two kick drums.
_ONE_SOURCE = frozenset({Role.KICK, Role.SNARE, Role.OVERHEAD, Role.ROOM})
_MANY_SINGERS = 3
_ENDS = frozenset({"low", "lo", "high", "hi"})
_EXTENSION = re.compile(
    r"\.(wave?|bwf|rf64|w64|aiff?|aifc|flac|og[ga]|opus|mp3|caf|au|snd)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Recognition:
    """What a track is taken for.

    Parameters
    ----------
    name
        The track's POSIX path inside the session.
    subgroup
        A :class:`~pipeline.roles.Subgroup` or the name that ``session.toml`` gives.
    confidence
        0 (nothing known) to 1 (the user said so).
    reason
        What it was recognised by, in words.
    side
        Which half of a left/right pair it is; ``""`` where there is no such pair.
    source
        Shared by the microphones and taps of one source, the halves of a pair and its doubles.
    position
        Where the microphone stood: ``close``, ``out``, ``bottom``, ``sub``, ``room``, ``di``,
        ``amp``, ``trigger`` or ``""``.
    number
        The source's number ("Gtr 2"), or None.
    contradiction
        What the track sounds like where that speaks strongly against its name; ``""`` if nothing.
    by_sound
        Whether the role is what the track sounds like, because its name says nothing.
    is_guide
        Whether it was sung or played to be replaced ("guide vocal").
    is_take, is_comp
        Whether the name says that it is one of several takes, or cut together from them.
    """

    name: str
    role: Role
    subgroup: str
    confidence: float
    reason: str
    presence: Presence = Presence.NORMAL
    side: Literal["left", "right", ""] = ""
    source: str = ""
    position: str = ""
    number: int | None = None
    is_double: bool = False
    contradiction: str = ""
    by_sound: bool = False
    is_guide: bool = False
    is_take: bool = False
    is_comp: bool = False

    @property
    def unsure(self) -> bool:
        """Whether the user should look at it."""
        return self.confidence < UNSURE_BELOW


@dataclass
class _Draft:
    """A recognition under work, with the words that it came from."""

    name: str
    reading: NameReading
    folder: str
    role: Role
    confidence: float
    reason: str
    subgroup: str = ""
    explicit: bool = False
    number: int | None = None
    side: Literal["left", "right", ""] = ""
    by_sound: bool = False
    contradiction: str = ""


def recognise(
    names: Sequence[str],
    *,
    folders: Sequence[str] | None = None,
    overrides: Sequence[TrackOverrides | None] | None = None,
    sounds: Sequence[Evidence | None] | None = None,
) -> tuple[Recognition, ...]:
    """Recognise all tracks of a session together.

    Parameters
    ----------
    names
        POSIX paths inside the session, e.g. ``"Strings/Vln 1a.wav"``.
    folders
        The folder of each name, where it is not the path's own parent.
    overrides
        What ``session.toml`` says, one entry (or None) a name; it always wins.
    sounds
        What each track sounds like; it decides where the name says nothing.

    Returns
    -------
    tuple of Recognition
        In the order of ``names``.

    Raises
    ------
    ValueError
        Where the sequences differ in length.

    Examples
    --------
    >>> [r.role.value for r in recognise(["Kick In.wav", "Gtr L.wav", "Gtr R.wav"])]
    ['kick', 'electric_guitar', 'electric_guitar']
    """
    for other in (folders, overrides, sounds):
        if other is not None and len(other) != len(names):
            raise ValueError(f"{len(other)} entries for {len(names)} names")
    parents = folders if folders is not None else [_parent(name) for name in names]
    wishes = overrides if overrides is not None else [None] * len(names)
    drafts = [_draft(name, folder) for name, folder in zip(names, parents, strict=True)]
    for draft, override in zip(drafts, wishes, strict=True):
        if override is not None and override.role is not None:
            draft.role, draft.confidence = override.role, 1.0
            draft.subgroup = SUBGROUP_OF[draft.role].value
            draft.reason, draft.explicit = "role from session.toml", True
    if sounds is not None:
        for draft, sound, override in zip(drafts, sounds, wishes, strict=True):
            _weigh_sound(draft, sound, by_user=override is not None and override.role is not None)
    _settle_leads(drafts)
    _settle_singers(drafts)
    _settle_sides(drafts)
    records = _distinguished(drafts, [_finish(draft) for draft in drafts])
    return tuple(
        record if override is None else _overridden(record, override)
        for record, override in zip(records, wishes, strict=True)
    )


def _parent(name: str) -> str:
    parent = PurePosixPath(name).parent.as_posix()
    return "" if parent == "." else parent


def _stem(name: str) -> str:
    """Return a file's name without its extension; a dot inside a name ("Kick.L") stays."""
    return _EXTENSION.sub("", PurePosixPath(name).name)


def _draft(name: str, folder: str) -> _Draft:
    folder_role, folder_subgroup, folder_sure = _folder(folder)
    reading = read_name(_stem(name), folder_subgroup)
    role, confidence, reason = choose(reading)
    if role is None and folder_role is not None:
        role, confidence = folder_role, folder_sure
        reason = f"inherited from the folder {folder!r}"
    elif role is None:
        role, confidence, reason = fallback(reading)
    elif folder_subgroup is not None and SUBGROUP_OF[role] == folder_subgroup:
        confidence = min(0.98, confidence + 0.25)
        reason += f", in the folder {folder!r}"
    elif folder_role is not None and (
        confidence < UNSURE_BELOW
        or (role in FLAVOURS and folder_role not in FLAVOURS and confidence < 0.9)
    ):
        role, confidence = folder_role, folder_sure
        reason = f"inherited from the folder {folder!r}"
    role = with_marks(role, reading, folder_subgroup)
    subgroup: str = SUBGROUP_OF[role]
    if folder_subgroup is not None and subgroup in vocabulary_data()["folder_keeps"].get(
        folder_subgroup, []
    ):
        subgroup = folder_subgroup
        reason += f", kept with the folder {folder!r}"
    explicit = any(
        h.strength == Strength.STRONG and h.role == Role.LEAD_VOCAL for h in reading.hits
    )
    return _Draft(
        name,
        reading,
        folder,
        role,
        confidence,
        reason,
        subgroup=str(subgroup),
        explicit=explicit,
        number=reading.number,
        side=reading.side,
    )


@cache
def _folder(folder: str) -> tuple[Role | None, Subgroup | None, float]:
    """Return the role and subgroup that a folder names, the innermost first.

    A folder "Loops" or "FX" in one that names an instrument says nothing more.
    """
    parts = [_folder_part(part) for part in reversed(PurePosixPath(folder).parts)]
    named = [one for one in parts if one[1] is not None]
    instruments = [one for one in named if one[0] not in FLAVOURS]
    return next(iter(instruments or named), (None, None, 0.0))


def _folder_part(part: str) -> tuple[Role | None, Subgroup | None, float]:
    reading = read_name(part)
    role, confidence, _ = choose(reading)
    if role is None and part.lower() in set(Subgroup):
        return None, Subgroup(part.lower()), 0.8
    if role is not None and confidence >= UNSURE_BELOW:
        role = with_marks(role, reading, None)
        return role, SUBGROUP_OF[role], round(confidence * 0.85, 2)
    return None, None, 0.0


def _change(draft: _Draft, role: Role, confidence: float, reason: str) -> None:
    draft.role, draft.confidence, draft.reason = role, confidence, reason
    draft.subgroup = SUBGROUP_OF[role].value


def _weigh_sound(draft: _Draft, sound: Evidence | None, *, by_user: bool) -> None:
    verdict = weigh(draft.role, draft.confidence, draft.reason, sound, by_user=by_user)
    if verdict.role != draft.role:
        draft.subgroup = SUBGROUP_OF[verdict.role].value
        draft.by_sound = True
    draft.role, draft.confidence = verdict.role, verdict.confidence
    draft.reason, draft.contradiction = verdict.reason, verdict.contradiction


def _settle_leads(drafts: list[_Draft]) -> None:
    """Take a bare "Lead" for the singer where there are backing vocals and no other lead."""
    roles = {draft.role for draft in drafts}
    if Role.LEAD_VOCAL in roles or Role.BACKING_VOCAL not in roles:
        return
    for draft in drafts:
        if draft.role == Role.SYNTH_LEAD and not draft.reading.hits and not draft.explicit:
            role = Role.VOCAL_DOUBLE if draft.reading.is_double else Role.LEAD_VOCAL
            _change(draft, role, 0.6, "the only lead beside backing vocals")


def _settle_singers(drafts: list[_Draft]) -> None:
    """Beside an explicit lead, or in a crowd, numbered voices are backing vocals."""
    generic = [d for d in drafts if d.role == Role.LEAD_VOCAL and not d.explicit]
    has_lead = any(d.role == Role.LEAD_VOCAL and d.explicit for d in drafts)
    singers = sum(not d.reading.is_take for d in generic)  # takes are of one of them
    for draft in generic:
        first = (draft.number or 1) == 1
        # A numbered voice beside "Lead Vox" sings behind it; a lone "Vox" may be a second lead.
        if has_lead and draft.number is not None and not draft.reading.is_lead:
            _change(draft, Role.BACKING_VOCAL, 0.55, f"{draft.reason}, beside a lead vocal")
        elif not has_lead and singers > _MANY_SINGERS and not first:
            _change(draft, Role.BACKING_VOCAL, 0.45, f"{draft.reason}, one of many voices")


def _settle_sides(drafts: list[_Draft]) -> None:
    """Believe a side where its counterpart exists; read "OH 1" and "OH 2" as left and right."""
    for draft in drafts:
        if draft.side and not draft.reading.side_spelled:
            counterpart = any(
                other.role == draft.role and other.side not in {"", draft.side} for other in drafts
            )
            if not counterpart:
                draft.side = ""
    for role in (Role.OVERHEAD, Role.ROOM):
        mine = [d for d in drafts if d.role == role and not d.side]
        if len(mine) == 2 and {d.number for d in mine} == {1, 2}:
            for draft in mine:
                draft.side = "left" if draft.number == 1 else "right"
                draft.reason += ", 1 and 2 read as left and right"
    for role in (Role.PIANO, Role.ORGAN):
        mine = [d for d in drafts if d.role == role and not d.side]
        ends = {_register(d.reading): d for d in mine}
        if len(mine) == 2 and set(ends) == {"low", "high"}:
            ends["low"].side, ends["high"].side = "left", "right"


def _register(reading: NameReading) -> str:
    tokens = {token for hit in reading.hits for token in hit.phrase} | set(reading.rest)
    if tokens & {"low", "lo"}:
        return "low"
    return "high" if tokens & {"high", "hi", "top"} else ""


def _source(draft: _Draft) -> str:
    """Return the key shared by the microphones, the pair's halves and the doubles of a source."""
    reading = draft.reading
    family = Role.LEAD_VOCAL if draft.role == Role.VOCAL_DOUBLE else draft.role
    parts: list[str] = [family.value]
    chosen = {draft.role, family}
    for hit in reading.hits:
        tells = draft.role in _BROAD if hit.role in chosen else draft.role not in _ONE_SOURCE
        if hit.is_tap and hit.role != draft.role:
            continue
        if tells and hit.strength > Strength.GUESS and not hit.fuzzy:
            parts.extend(hit.phrase)
    is_end = (draft.side and not reading.side) or draft.role in {Role.KICK, Role.SNARE}
    parts.extend(token for token in reading.rest if not (is_end and token in _ENDS))
    if draft.number is not None and draft.role not in _ONE_SOURCE:
        parts.append(str(draft.number))
    if family == Role.UNKNOWN or draft.by_sound:  # the name tells no source
        parts.append(draft.name)
    return " ".join(dict.fromkeys(parts))


def _finish(draft: _Draft) -> Recognition:
    reading = draft.reading
    # "Conga Lo" and "Piano Low" are registers; only a drum has an underside.
    has_underside = draft.role in {Role.SNARE, Role.KICK, Role.TOM, Role.HI_HAT}
    position = "" if reading.position == "bottom" and not has_underside else reading.position
    return Recognition(
        name=draft.name,
        role=draft.role,
        subgroup=draft.subgroup,
        confidence=round(draft.confidence, 2),
        reason=draft.reason,
        side=draft.side,
        source=_source(draft),
        position=position,
        number=draft.number,
        is_double=reading.is_double or reading.is_wet or draft.role == Role.VOCAL_DOUBLE,
        contradiction=draft.contradiction,
        by_sound=draft.by_sound,
        is_guide=reading.is_guide,
        is_take=reading.is_take,
        is_comp=reading.is_comp,
    )


def _distinguished(drafts: list[_Draft], records: list[Recognition]) -> list[Recognition]:
    """Give a number to each source that the file index alone tells apart ("03 Gtr", "04 Gtr").

    Microphones of one source differ in position, microphone or amplifier; its halves in the side.
    """
    seen: dict[tuple[object, ...], int] = {}
    result = []
    for draft, record in zip(drafts, records, strict=True):
        key = (
            record.subgroup,
            record.source,
            record.side,
            record.position,
            record.is_double,
            draft.reading.equipment,
        )
        seen[key] = seen.get(key, 0) + 1
        is_another = seen[key] > 1 and record.role not in _ONE_SOURCE and not record.is_double
        result.append(
            replace(record, source=f"{record.source} #{seen[key]}") if is_another else record
        )
    return result


def _overridden(record: Recognition, override: TrackOverrides) -> Recognition:
    if override.presence is not None:
        record = replace(record, presence=override.presence)
    if override.subgroup is not None:
        sure = max(record.confidence, 0.9)
        record = replace(
            record,
            subgroup=override.subgroup,
            confidence=sure,
            reason=f"{record.reason}; subgroup from session.toml",
        )
    return record
