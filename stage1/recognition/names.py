"""What the words of a track's name mean, by the vocabulary of ``names.toml``.

The longest phrase wins; the words that speak for a role are left to
:mod:`stage1.recognition.role_choice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Literal

from pipeline.roles import SUBGROUP_OF, Role, Subgroup
from stage1.recognition.spelling import FUZZY_LETTERS, near_terms, split_name
from stage1.recognition.vocabulary import (
    Entry,
    Lexicon,
    Strength,
    context_lexicon,
    lexicon,
    tokens_of_mark,
    vocabulary_data,
)

__all__ = ["Hit", "NameReading", "read_name"]

Side = Literal["left", "right", ""]

_SPELLED_SIDE = 4  # a side of fewer letters ("l", "rt") is believed only beside its counterpart
_TAPS = frozenset({"di", "amp", "sub", "trigger"})
_MAX_NUMBER = 48


@dataclass(frozen=True)
class Hit:
    """A phrase of a name that speaks for a role.

    Parameters
    ----------
    start
        Index of the phrase's first token in the name.
    fuzzy
        Whether the name has it misspelled.
    is_tap
        Whether the phrase can also mean a microphone or its place ("room", "sample", "SM7").
    """

    role: Role
    strength: Strength
    phrase: tuple[str, ...]
    start: int
    fuzzy: bool = False
    is_tap: bool = False


@dataclass(frozen=True)
class NameReading:
    """What the words of one name say.

    Parameters
    ----------
    hits
        Phrases that speak for a role, in the order of the name.
    position
        Key of ``[positions]`` for a microphone or tap of a source; ``""`` where none is named.
    joined
        Whether a conjunction stands between two hits ("kick + snare").
    equipment
        The microphones and amplifiers named, as one string.
    rest
        Tokens that tell this source from others of its role: unknown words and qualities.
    """

    hits: tuple[Hit, ...] = ()
    side: Side = ""
    side_spelled: bool = False
    position: str = ""
    number: int | None = None
    is_double: bool = False
    is_wet: bool = False
    is_lead: bool = False
    is_backing: bool = False
    is_guide: bool = False
    is_take: bool = False
    is_comp: bool = False
    joined: bool = False
    equipment: str = ""
    rest: tuple[str, ...] = ()


def _matches(tokens: list[str], lexicon: Lexicon) -> list[tuple[int, int, list[Entry]]]:
    """Return (start, end, entries) of the phrases found, longest first at each token."""
    longest = max(len(phrase) for phrase in lexicon)
    matches: list[tuple[int, int, list[Entry]]] = []
    start = 0
    while start < len(tokens):
        for length in range(min(longest, len(tokens) - start), 0, -1):
            entries = lexicon.get(tuple(tokens[start : start + length]))
            if entries:
                matches.append((start, start + length, entries))
                start += length
                break
        else:
            start += 1
    return matches


def _without_index(tokens: list[str], lexicon: Lexicon) -> list[str]:
    """Drop a leading track number, but not the first word of a phrase ("12 string")."""
    if len(tokens) < 2 or not tokens[0].isdigit() or len(tokens[0]) > 3:
        return tokens
    start, _, entries = next(iter(_matches(tokens, lexicon)), (1, 1, []))
    speaks = any(e.kind == "role" and e.strength > Strength.GUESS for e in entries)
    return tokens if start == 0 and speaks else tokens[1:]


def _number(tokens: list[str], used: set[int]) -> int | None:
    marks = vocabulary_data()["marks"]
    numerals = marks["numbers"]
    for index, token in enumerate(tokens):
        counts = tokens[index + 1 : index + 2]
        if index in used or (counts and counts[0] in marks["units"]):
            continue
        if token.isdigit() and 0 < int(token) <= _MAX_NUMBER:
            return int(token)
        if token in numerals and index > 0:
            return int(numerals.index(token)) + 1
    return None


def _fuzzy_hit(token: str, index: int, lexicon: Lexicon) -> Hit | None:
    """Return what a misspelled or abbreviated word means, where only one subgroup is near."""
    near = near_terms(token)
    entries = [e for word in near for e in lexicon.get((word,), []) if e.kind == "role"]
    if not entries or len({SUBGROUP_OF[Role(e.value)] for e in entries}) > 1:
        return None
    entry = max(entries, key=lambda e: e.strength)
    strength = Strength.WEAK if len(token) > FUZZY_LETTERS else Strength.GUESS
    return Hit(Role(entry.value), strength, (near[0],), index, fuzzy=True)


@cache
def read_name(name: str, context: Subgroup | None = None) -> NameReading:
    """Say what the words of a track's name mean.

    Parameters
    ----------
    name
        The file's stem or a folder's name, without path and extension.
    context
        Subgroup of the folder that it lies in, which gives meaning to words such as "top".

    Examples
    --------
    >>> read_name("03_LeadVox DBL").hits[0].role
    <Role.LEAD_VOCAL: 'lead_vocal'>
    """
    known = lexicon()
    if context is not None:
        plain = read_name(name)
        if any(hit.strength == Strength.STRONG for hit in plain.hits):
            return plain
        known = known | {
            phrase: entries + [e for e in known.get(phrase, []) if e.kind != "role"]
            for phrase, entries in context_lexicon(context).items()
        }
    tokens = _without_index(split_name(name), known)
    reading = _Reading(tokens)
    for start, end, entries in _matches(tokens, known):
        reading.add(start, end, entries)
    for index, token in enumerate(tokens):
        if index not in reading.used and (hit := _fuzzy_hit(token, index, known)):
            reading.hits.append(hit)
            reading.used.add(index)
    return reading.result()


@dataclass
class _Reading:
    """What is gathered of a name's tokens.

    Parameters
    ----------
    used
        Tokens that mean something.
    silent
        Tokens that do not tell one source from another.
    kinds
        Kinds of entries that were met.
    sides
        "left" or "right", and the token that says it.
    conjunctions
        Where tokens such as "and" stand.
    """

    tokens: list[str]
    used: set[int] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)
    hits: list[Hit] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    sides: list[tuple[str, str]] = field(default_factory=list)
    position: str = ""
    conjunctions: list[int] = field(default_factory=list)
    equipment: list[str] = field(default_factory=list)

    def add(self, start: int, end: int, entries: Sequence[Entry]) -> None:
        """Take a phrase of the vocabulary that stands at some tokens."""
        span, phrase = set(range(start, end)), self.tokens[start:end]
        by_kind = {entry.kind: entry for entry in entries}
        self.used |= span
        is_tap = bool({"position", "equipment"} & set(by_kind))
        self.hits.extend(
            Hit(Role(entry.value), entry.strength, tuple(phrase), start, is_tap=is_tap)
            for entry in entries
            if entry.kind == "role"
        )
        self.kinds |= set(by_kind) - {"role", "position", "quality"}
        if "left" in by_kind or "right" in by_kind:
            self.sides.append(("left" if "left" in by_kind else "right", self.tokens[start]))
        if not self.position:
            position = by_kind["position"].value if "position" in by_kind else ""
            self.position = position or _position_inside(phrase)
        if "equipment" in by_kind:
            self.equipment.extend(phrase)
        if "conjunctions" in by_kind:
            self.conjunctions.append(start)
        if "quality" not in by_kind:
            self.silent |= span

    def result(self) -> NameReading:
        """Return what the name means."""
        tokens, kinds = self.tokens, self.kinds
        hits = sorted(self.hits, key=lambda hit: hit.start)
        joined = any(
            first.start < where < second.start and first.role != second.role
            for first, second in pairwise(hits)
            for where in self.conjunctions
        )
        side, spelled = self.sides[-1] if self.sides else ("", "")
        rest = tuple(
            token
            for index, token in enumerate(tokens)
            if index not in self.silent and not token.isdigit() and len(token) > (index == 0)
        )
        return NameReading(
            hits=tuple(hits),
            side="left" if side == "left" else "right" if side == "right" else "",
            side_spelled=len(spelled) >= _SPELLED_SIDE,
            position=self.position,
            number=_number(tokens, self.used | _after_take(tokens)),
            is_double="double" in kinds,
            is_wet="wet" in kinds,
            is_lead="lead" in kinds,
            is_backing="backing" in kinds,
            is_guide="guide" in kinds,
            is_take="take" in kinds,
            # "vox comp" is a phrase of its own.
            is_comp=not tokens_of_mark("comp").isdisjoint(tokens),
            joined=joined,
            equipment=" ".join(self.equipment),
            rest=rest,
        )


def _position_inside(phrase: list[str]) -> str:
    """Return the tap that a phrase such as "bass di" names, or ``""``."""
    if len(phrase) < 2:
        return ""
    is_place = phrase[-1] in {"in", "out", "top", "bot", "btm", "bottom"}
    for entry in lexicon().get((phrase[-1],), []):
        if entry.kind == "position" and (is_place or entry.value in _TAPS):
            return entry.value
    return ""


def _after_take(tokens: list[str]) -> set[int]:
    """Return where a number counts takes or doubles, not sources."""
    counted = tokens_of_mark("take") | tokens_of_mark("double")
    return {index + 1 for index, token in enumerate(tokens) if token in counted}
