"""The vocabulary of track names: every phrase of ``names.toml`` and ``languages.toml``.

With each phrase stands all that it can mean.
"""

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
    "SPACELESS",
    "Entry",
    "Lexicon",
    "Strength",
    "context_lexicon",
    "fold",
    "language_data",
    "lexicon",
    "marked_terms",
    "role_terms",
    "single_terms",
    "spaceless_terms",
    "terms_in_phrases",
    "tokens_of_mark",
    "vocabulary_data",
]

CHUNK = re.compile(r"[^\W_]+|[&+]")
PIECE = re.compile(r"\d+|[^\W\d_]+")
_GERMAN = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"}
    | {"ø": "o", "Ø": "O", "œ": "oe", "Œ": "Oe", "æ": "ae", "Æ": "Ae", "ł": "l", "Ł": "L"}
)
_GERMAN |= str.maketrans({"ı": "i", "đ": "d", "Đ": "D", "ð": "d", "þ": "th"})
_BARE = str.maketrans({"ø": "o", "æ": "ae", "ł": "l", "ı": "i", "đ": "d"})
SPACELESS = re.compile("[\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af々]")
"""A letter of Japanese, Chinese or Korean, which are written without spaces."""
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
    text = resources.files("stage1.recognition").joinpath("names.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def language_data() -> dict[str, Any]:
    """Return the tables of ``languages.toml``, by language."""
    text = (
        resources.files("stage1.recognition").joinpath("languages.toml").read_text(encoding="utf-8")
    )
    return tomllib.loads(text)


def fold(text: str) -> str:
    """Return a text without accents and umlauts ("ü" as "ue", in Spanish as "u").

    Letters of full and half width become the usual ones; the marks of Japanese and Korean letters
    are no accents and stay.
    """
    text = _SPANISH_U.sub("u", unicodedata.normalize("NFC", text)).translate(_GERMAN)
    return "".join(_without_accents(c) for c in unicodedata.normalize("NFKC", text))


@cache
def _without_accents(letter: str) -> str:
    if SPACELESS.match(letter):
        return letter
    return "".join(c for c in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(c))


def _without_umlauts(text: str) -> str:
    """Return a text as a keyboard without its letters writes it ("kör" as "kor")."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_BARE))
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

    def add(terms: Iterable[str], entry: Entry) -> None:
        for word in terms:
            entries = lexicon.setdefault(_spelled(word), [])
            if entry not in entries:
                entries.append(entry)

    for role, by_strength in data["roles"].items():
        for strength, terms in by_strength.items():
            add(terms, Entry("role", role, Strength[strength.upper()]))
    for mark, terms in data["marks"].items():
        if mark not in {"numbers", "units"}:
            add(terms, Entry(mark))
    for position, terms in data["positions"].items():
        add(terms, Entry("position", position))
    for language in language_data().values():
        for name, table in language.items():
            for key, terms in table.items():
                if name == "marks":
                    entry = Entry(key)
                elif name == "positions":
                    entry = Entry("position", key)
                else:
                    entry = Entry("role", key, Strength[name.upper()])
                spellings = [form for word in terms for form in (word, _without_umlauts(word))]
                add(spellings if not _is_spaceless(terms) else terms, entry)
    add(data["equipment"]["words"], Entry("equipment"))
    add(data["qualities"]["words"], Entry("quality"))
    for phrase in [p for p in lexicon if len(p) > 1]:
        glued = "".join(phrase)
        if len(glued) > 3 and glued.isalpha():
            known = lexicon.get((glued,), [])
            lexicon[glued,] = known + [e for e in lexicon[phrase] if e not in known]
    return lexicon


def _is_spaceless(spellings: Iterable[str]) -> bool:
    return any(SPACELESS.search(word) for word in spellings)


@cache
def spaceless_terms() -> frozenset[str]:
    """Return the words that may stand in a name without spaces around them."""
    return frozenset(token for phrase in lexicon() for token in phrase if SPACELESS.search(token))


@cache
def context_lexicon(context: Subgroup) -> Lexicon:
    """Return what words mean in a folder of that subgroup alone."""
    return {
        _spelled(word): [Entry("role", role, Strength.STRONG)]
        for role, terms in vocabulary_data()["context"].get(context, {}).items()
        for word in terms
    }


@cache
def single_terms() -> frozenset[str]:
    """Return the phrases of one word."""
    return frozenset(phrase[0] for phrase in lexicon() if len(phrase) == 1)


@cache
def terms_in_phrases() -> frozenset[str]:
    """Return every word of every phrase."""
    return frozenset(token for phrase in lexicon() for token in phrase)


@cache
def role_terms() -> frozenset[str]:
    """Return the single words that name a role plainly."""
    return frozenset(
        phrase[0]
        for phrase, entries in lexicon().items()
        if len(phrase) == 1
        and any(e.kind == "role" and e.strength >= Strength.PLAIN for e in entries)
    )


@cache
def tokens_of_mark(mark: str) -> frozenset[str]:
    """Return the single words of a mark such as "take", in all languages, as tokens."""
    tables = [vocabulary_data(), *language_data().values()]
    phrases = [_spelled(word) for table in tables for word in table.get("marks", {}).get(mark, ())]
    return frozenset(phrase[0] for phrase in phrases if len(phrase) == 1)


@cache
def marked_terms() -> frozenset[str]:
    """Return the words for lead, backing and double."""
    marks = vocabulary_data()["marks"]
    return frozenset(word for mark in ("lead", "backing", "double") for word in marks[mark])
