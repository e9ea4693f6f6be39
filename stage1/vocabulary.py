"""The vocabulary of track names: every phrase of ``names.toml`` with all that it can mean."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import Any

from pipeline.roles import Subgroup

__all__ = [
    "CHUNK",
    "PIECE",
    "Entry",
    "Lexicon",
    "Strength",
    "context_lexicon",
    "fold",
    "lexicon",
    "marked_words",
    "role_words",
    "single_words",
    "vocabulary_data",
    "words_in_phrases",
]

CHUNK = re.compile(r"[^\W_]+|[&+]")
PIECE = re.compile(r"\d+|[^\W\d_]+")
_GERMAN = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"}
    | {"ø": "o", "Ø": "O", "œ": "oe", "Œ": "Oe", "æ": "ae", "Æ": "Ae", "ł": "l", "Ł": "L"}
)
_SPANISH_U = re.compile(r"(?<=[gG])ü(?=[eiéí])")


class Strength(IntEnum):
    """How much a word says about the role; see the head of ``names.toml``."""

    GUESS = 0
    WEAK = 1
    PLAIN = 2
    STRONG = 3


@dataclass(frozen=True)
class Entry:
    """One meaning of a phrase: a role, a mark, a microphone position or a piece of equipment."""

    kind: str
    value: str = ""
    strength: Strength = Strength.GUESS


Lexicon = dict[tuple[str, ...], list[Entry]]


@cache
def vocabulary_data() -> dict[str, Any]:
    """Return the tables of ``names.toml``."""
    text = resources.files("stage1").joinpath("names.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def fold(text: str) -> str:
    """Return a text without accents and umlauts ("ü" as "ue", in Spanish as "u")."""
    text = _SPANISH_U.sub("u", unicodedata.normalize("NFC", text)).translate(_GERMAN)
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _spelled(phrase: str) -> tuple[str, ...]:
    return tuple(
        piece.lower()
        for chunk in CHUNK.findall(fold(phrase))
        for piece in (PIECE.findall(chunk) or [chunk])
    )


@cache
def lexicon() -> Lexicon:
    """Return every phrase of the vocabulary, as tokens, with all that it can mean."""
    data = vocabulary_data()
    lexicon: Lexicon = {}

    def add(words: Iterable[str], entry: Entry) -> None:
        for word in words:
            entries = lexicon.setdefault(_spelled(word), [])
            if entry not in entries:
                entries.append(entry)

    for role, by_strength in data["roles"].items():
        for strength, words in by_strength.items():
            add(words, Entry("role", role, Strength[strength.upper()]))
    for mark, words in data["marks"].items():
        if mark not in {"numbers", "units"}:
            add(words, Entry(mark))
    for position, words in data["positions"].items():
        add(words, Entry("position", position))
    add(data["equipment"]["words"], Entry("equipment"))
    add(data["qualities"]["words"], Entry("quality"))
    for phrase in [p for p in lexicon if len(p) > 1]:
        glued = "".join(phrase)
        if len(glued) > 3 and glued.isalpha():
            known = lexicon.get((glued,), [])
            lexicon[glued,] = known + [e for e in lexicon[phrase] if e not in known]
    return lexicon


@cache
def context_lexicon(context: Subgroup) -> Lexicon:
    """Return what words mean in a folder of that subgroup alone."""
    return {
        _spelled(word): [Entry("role", role, Strength.STRONG)]
        for role, words in vocabulary_data()["context"].get(context, {}).items()
        for word in words
    }


@cache
def single_words() -> frozenset[str]:
    """Return the phrases of one word."""
    return frozenset(phrase[0] for phrase in lexicon() if len(phrase) == 1)


@cache
def words_in_phrases() -> frozenset[str]:
    """Return every word of every phrase."""
    return frozenset(token for phrase in lexicon() for token in phrase)


@cache
def role_words() -> frozenset[str]:
    """Return the single words that name a role plainly."""
    return frozenset(
        phrase[0]
        for phrase, entries in lexicon().items()
        if len(phrase) == 1
        and any(e.kind == "role" and e.strength >= Strength.PLAIN for e in entries)
    )


@cache
def marked_words() -> frozenset[str]:
    """Return the words for lead, backing and double."""
    marks = vocabulary_data()["marks"]
    return frozenset(word for mark in ("lead", "backing", "double") for word in marks[mark])
