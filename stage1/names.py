"""Track names: cut into words, and the words looked up in the vocabulary of ``names.toml``.

A name is cut at separators, at changes of case and between letters and digits; words glued without
any of these ("leadvoxdbl") are taken apart with the vocabulary itself. The longest phrase wins.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any, Literal

from pipeline.roles import SUBGROUP_OF, Role, Subgroup

__all__ = ["Hit", "Strength", "Words", "read_name", "vocabulary_data"]

Side = Literal["left", "right", ""]

_CHUNK = re.compile(r"[^\W_]+|[&+]")
_PIECE = re.compile(r"\d+|[^\W\d_]+")
_POSSESSIVE = re.compile(r"\b[^\W\d_]+['’]s\b")
_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t"}
_DOLLAR = re.compile(r"[$](?=[^\W\d_])")
_LONG_RUN = re.compile(r"(.)\1{2,}")
_EIGHT_O_EIGHT = re.compile(r"(?<=\d)[oO](?=\d)")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_GERMAN = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"}
    | {"ø": "o", "Ø": "O", "œ": "oe", "Œ": "Oe", "æ": "ae", "Æ": "Ae", "ł": "l", "Ł": "L"}
)
_SPANISH_U = re.compile(r"(?<=[gG])ü(?=[eiéí])")
_SPELLED_SIDE = 4  # a side of fewer letters ("l", "rt") is believed only beside its counterpart
_TAPS = frozenset({"di", "amp", "sub", "trigger"})
_FUZZY_LETTERS = 5
_SKELETON_LETTERS = 3
_MAX_NUMBER = 48


class Strength(IntEnum):
    """How much a word says about the role; see the head of ``names.toml``."""

    GUESS = 0
    WEAK = 1
    PLAIN = 2
    STRONG = 3


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
class Words:
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
    joined: bool = False
    equipment: str = ""
    rest: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Entry:
    kind: str
    value: str = ""
    strength: Strength = Strength.GUESS


_Lexicon = dict[tuple[str, ...], list[_Entry]]


@cache
def vocabulary_data() -> dict[str, Any]:
    """Return the tables of ``names.toml``."""
    text = resources.files("stage1").joinpath("names.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _fold(text: str) -> str:
    text = _SPANISH_U.sub("u", unicodedata.normalize("NFC", text)).translate(_GERMAN)
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _spelled(phrase: str) -> tuple[str, ...]:
    return tuple(
        piece.lower()
        for chunk in _CHUNK.findall(_fold(phrase))
        for piece in (_PIECE.findall(chunk) or [chunk])
    )


@cache
def _lexicon() -> _Lexicon:
    """Return every phrase of the vocabulary, as tokens, with all that it can mean."""
    data = vocabulary_data()
    lexicon: _Lexicon = {}

    def add(words: Iterable[str], entry: _Entry) -> None:
        for word in words:
            entries = lexicon.setdefault(_spelled(word), [])
            if entry not in entries:
                entries.append(entry)

    for role, by_strength in data["roles"].items():
        for strength, words in by_strength.items():
            add(words, _Entry("role", role, Strength[strength.upper()]))
    for mark, words in data["marks"].items():
        if mark not in {"numbers", "units"}:
            add(words, _Entry(mark))
    for position, words in data["positions"].items():
        add(words, _Entry("position", position))
    add(data["equipment"]["words"], _Entry("equipment"))
    add(data["qualities"]["words"], _Entry("quality"))
    for phrase in [p for p in lexicon if len(p) > 1]:
        glued = "".join(phrase)
        if len(glued) > 3 and glued.isalpha():
            known = lexicon.get((glued,), [])
            lexicon[glued,] = known + [e for e in lexicon[phrase] if e not in known]
    return lexicon


@cache
def _context_lexicon(context: Subgroup) -> _Lexicon:
    return {
        _spelled(word): [_Entry("role", role, Strength.STRONG)]
        for role, words in vocabulary_data()["context"].get(context, {}).items()
        for word in words
    }


@cache
def _single_words() -> frozenset[str]:
    return frozenset(phrase[0] for phrase in _lexicon() if len(phrase) == 1)


@cache
def _words_in_phrases() -> frozenset[str]:
    return frozenset(token for phrase in _lexicon() for token in phrase)


@cache
def _role_words() -> frozenset[str]:
    return frozenset(
        phrase[0]
        for phrase, entries in _lexicon().items()
        if len(phrase) == 1
        and any(e.kind == "role" and e.strength >= Strength.PLAIN for e in entries)
    )


@cache
def _fuzzy_words() -> tuple[str, ...]:
    return tuple(sorted(word for word in _role_words() if len(word) >= _FUZZY_LETTERS))


def _known(word: str) -> str | None:
    """Return the vocabulary's spelling of a word or of its plural, or None."""
    if word in _single_words() or word in _words_in_phrases():
        return word
    # "Saxx", "Basss"
    single = re.sub(r"(.)\1+$", r"\1", word)
    if len(single) > 2 and single in _role_words():
        return single
    singular = word[:-1]
    if len(word) > 3 and word.endswith(("s", "z")) and singular in _single_words():
        return singular
    return None


def _without_leet(chunk: str) -> str | None:
    """Return the known word that is spelled with digits for letters ("K1ck", "v0x"), or None."""
    inside = any(
        a.isalpha() and b in _LEET and any(c.isalpha() for c in chunk[i + 2 :])
        for i, (a, b) in enumerate(pairwise(chunk))
    )
    if not inside:
        return None
    for one in ("i", "l"):
        word = "".join((_LEET | {"1": one}).get(c, c) for c in chunk.lower())
        if word.isalpha() and word in _role_words():
            return word
    return None


@cache
def _marked_words() -> frozenset[str]:
    marks = vocabulary_data()["marks"]
    return frozenset(word for mark in ("lead", "backing", "double") for word in marks[mark])


@cache
def _without_swap(word: str) -> str | None:
    """Return the one known word that differs by two swapped neighbours ("backign"), or None."""
    if len(word) < 4 or not word.isalpha():
        return None
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)} - {
        word
    }
    found = swapped & (_role_words() | _marked_words())
    return found.pop() if len(found) == 1 else None


@cache
def _skeletons() -> dict[str, frozenset[str]]:
    """Return the words of the vocabulary by what is left of them without vowels."""
    words: dict[str, set[str]] = {}
    for word in _role_words():
        if len(word) >= _FUZZY_LETTERS - 1:
            words.setdefault(_skeleton(word), set()).add(word)
    return {key: frozenset(found) for key, found in words.items()}


def _skeleton(word: str) -> str:
    """Return what is heard of a word without its vowels: "plkz", "pluck" and "plucks" are one."""
    heard = word.replace("ck", "k").replace("ph", "f").replace("c", "k").replace("z", "s")
    bones = heard[:1] + "".join(c for c in heard[1:] if c not in "aeiouy")
    return re.sub(r"(.)\1+", r"\1", bones).removesuffix("s")


@cache
def _unglue(word: str) -> tuple[str, ...]:
    """Take a glued word apart into the fewest known words; ``()`` where it cannot be."""
    best: list[tuple[str, ...] | None] = [()] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(end):
            head = best[start]
            if head is None:
                continue
            part = word[start:end]
            is_last_side = part in {"l", "r"} and end == len(word) > start > 1 and word[-2] != "e"
            is_word = len(part) > 1 and (known := _known(part)) is not None
            if not (is_word or is_last_side):
                continue
            candidate = (*head, known if is_word and known else part)
            current = best[end]
            if current is None or len(candidate) < len(current):
                best[end] = candidate
    found = best[-1] or ()
    short = sum(len(part) == 2 and part not in {"in", "di"} for part in found)
    if not 1 < len(found) <= 4 or short > 1 or not any(part in _role_words() for part in found):
        return ()
    return found


def _tokens(name: str) -> list[str]:
    """Cut a name (without folder and extension) into lower-case tokens."""
    tokens: list[str] = []
    # "Tom's vocal" is no tom: an owner's name says nothing.
    for chunk in _CHUNK.findall(
        _EIGHT_O_EIGHT.sub("0", _DOLLAR.sub("s", _POSSESSIVE.sub(" ", _fold(name))))
    ):
        spelled = _without_leet(chunk)
        if spelled is not None:
            tokens.append(spelled)
            continue
        if _known(chunk.lower()):
            tokens.append(_known(chunk.lower()) or "")
            continue
        for piece in _PIECE.findall(chunk) or [chunk]:
            whole = _known(piece.lower())
            if whole:
                tokens.append(whole)
                continue
            tokens.extend(_camel_words(piece))
    return tokens


def _camel_words(piece: str) -> list[str]:
    """Cut a run of letters where its case changes, or, where that gives no words, by the words."""
    parts = [part.lower() for part in _CAMEL.split(piece)]
    if len(parts) > 1 and not all(_known(part) or _unglue(part) for part in parts):
        whole = _unglue(piece.lower())
        if whole:
            return list(whole)
    words: list[str] = []
    for part in parts:
        word = _LONG_RUN.sub(r"\1\1", part).rstrip("z") if _LONG_RUN.search(part) else part
        known = _known(word)
        words.extend([known] if known else _unglue(word) or [_without_swap(word) or word])
    return words


def _matches(tokens: list[str], lexicon: _Lexicon) -> list[tuple[int, int, list[_Entry]]]:
    """Return (start, end, entries) of the phrases found, longest first at each token."""
    longest = max(len(phrase) for phrase in lexicon)
    found: list[tuple[int, int, list[_Entry]]] = []
    start = 0
    while start < len(tokens):
        for length in range(min(longest, len(tokens) - start), 0, -1):
            entries = lexicon.get(tuple(tokens[start : start + length]))
            if entries:
                found.append((start, start + length, entries))
                start += length
                break
        else:
            start += 1
    return found


def _without_index(tokens: list[str], lexicon: _Lexicon) -> list[str]:
    """Drop a leading track number, but not the first word of a phrase ("12 string")."""
    if len(tokens) < 2 or not tokens[0].isdigit() or len(tokens[0]) > 3:
        return tokens
    start, _, entries = next(iter(_matches(tokens, lexicon)), (1, 1, []))
    speaks = any(e.kind == "role" and e.strength > Strength.GUESS for e in entries)
    return tokens if start == 0 and speaks else tokens[1:]


def _number(tokens: list[str], used: set[int]) -> int | None:
    marks = vocabulary_data()["marks"]
    words = marks["numbers"]
    for index, token in enumerate(tokens):
        counts = tokens[index + 1 : index + 2]
        if index in used or (counts and counts[0] in marks["units"]):
            continue
        if token.isdigit() and 0 < int(token) <= _MAX_NUMBER:
            return int(token)
        if token in words and index > 0:
            return int(words.index(token)) + 1
    return None


def _fuzzy_hit(token: str, index: int, lexicon: _Lexicon) -> Hit | None:
    """Return what a misspelled or abbreviated word means, where only one subgroup is near."""
    near = _near_words(token)
    entries = [e for word in near for e in lexicon.get((word,), []) if e.kind == "role"]
    if not entries or len({SUBGROUP_OF[Role(e.value)] for e in entries}) > 1:
        return None
    entry = max(entries, key=lambda e: e.strength)
    strength = Strength.WEAK if len(token) > _FUZZY_LETTERS else Strength.GUESS
    return Hit(Role(entry.value), strength, (near[0],), index, fuzzy=True)


@cache
def _near_words(token: str) -> tuple[str, ...]:
    if not token.isalpha():
        return ()
    alike = _skeletons().get(_skeleton(token), frozenset())
    if len(token) >= _SKELETON_LETTERS and not set(token[1:]) & set("aeiouy"):
        return tuple(sorted(alike))
    if len(token) < _FUZZY_LETTERS:
        return ()
    near = [word for word in sorted(alike) if abs(len(word) - len(token)) <= 2]
    if near and len(_skeleton(token)) >= _SKELETON_LETTERS:
        return tuple(near)
    return tuple(difflib.get_close_matches(token, _fuzzy_words(), n=3, cutoff=_cutoff(token)))


def _cutoff(token: str) -> float:
    """Return the similarity that one wrong letter, or two swapped ones, leave."""
    return 0.78 if len(token) <= _FUZZY_LETTERS + 2 else 0.85


@cache
def read_name(name: str, context: Subgroup | None = None) -> Words:
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
    lexicon = _lexicon()
    if context is not None:
        plain = read_name(name)
        if any(hit.strength == Strength.STRONG for hit in plain.hits):
            return plain
        lexicon = lexicon | {
            phrase: entries + [e for e in lexicon.get(phrase, []) if e.kind != "role"]
            for phrase, entries in _context_lexicon(context).items()
        }
    tokens = _without_index(_tokens(name), lexicon)
    used: set[int] = set()
    silent: set[int] = set()  # tokens that do not tell one source from another
    hits: list[Hit] = []
    kinds: set[str] = set()
    sides: list[tuple[str, str]] = []
    position = ""
    conjunctions: list[int] = []
    equipment: list[str] = []
    for start, end, entries in _matches(tokens, lexicon):
        span = set(range(start, end))
        by_kind = {entry.kind: entry for entry in entries}
        roles = [entry for entry in entries if entry.kind == "role"]
        used |= span
        phrase = tuple(tokens[start:end])
        is_tap = bool({"position", "equipment"} & set(by_kind))
        hits.extend(
            Hit(Role(entry.value), entry.strength, phrase, start, is_tap=is_tap) for entry in roles
        )
        kinds |= set(by_kind) - {"role", "position", "quality"}
        if "left" in by_kind or "right" in by_kind:
            sides.append(("left" if "left" in by_kind else "right", tokens[start]))
        if not position:
            position = by_kind["position"].value if "position" in by_kind else ""
            position = position or _position_inside(tokens[start:end])
        if "equipment" in by_kind:
            equipment.extend(tokens[start:end])
        if "conjunctions" in by_kind:
            conjunctions.append(start)
        if not {"quality"} & set(by_kind):
            silent |= span
    for index, token in enumerate(tokens):
        if index not in used and (hit := _fuzzy_hit(token, index, lexicon)):
            hits.append(hit)
            used.add(index)
    hits.sort(key=lambda hit: hit.start)
    joined = any(
        first.start < where < second.start and first.role != second.role
        for first, second in pairwise(hits)
        for where in conjunctions
    )
    side, spelled = sides[-1] if sides else ("", "")
    number = _number(tokens, used | _after_take(tokens))
    rest = tuple(
        token
        for index, token in enumerate(tokens)
        if index not in silent and not token.isdigit() and len(token) > (index == 0)
    )
    return Words(
        hits=tuple(hits),
        side="left" if side == "left" else "right" if side == "right" else "",
        side_spelled=len(spelled) >= _SPELLED_SIDE,
        position=position,
        number=number,
        is_double="double" in kinds,
        is_wet="wet" in kinds,
        is_lead="lead" in kinds,
        is_backing="backing" in kinds,
        joined=joined,
        equipment=" ".join(equipment),
        rest=rest,
    )


def _position_inside(phrase: list[str]) -> str:
    """Return the tap that a phrase such as "bass di" names, or ``""``."""
    if len(phrase) < 2:
        return ""
    is_place = phrase[-1] in {"in", "out", "top", "bot", "btm", "bottom"}
    for entry in _lexicon().get((phrase[-1],), []):
        if entry.kind == "position" and (is_place or entry.value in _TAPS):
            return entry.value
    return ""


def _after_take(tokens: list[str]) -> set[int]:
    """Return where a number counts takes or doubles, not sources."""
    marks = vocabulary_data()["marks"]
    counted = {*marks["take"], *marks["double"]}
    return {index + 1 for index, token in enumerate(tokens) if token in counted}
