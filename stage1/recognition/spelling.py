"""Track names cut into known words, however they are spelled.

Names are cut at separators, at changes of case and between letters and digits; words glued without
any of these ("leadvoxdbl") are taken apart with the vocabulary itself. Digits for letters, swapped
and doubled letters, and words without their vowels are read as they are meant.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from itertools import chain, pairwise

from stage1.recognition.vocabulary import (
    CHUNK,
    PIECE,
    SPACELESS,
    fold,
    marked_terms,
    role_terms,
    single_terms,
    spaceless_terms,
    terms_in_phrases,
)

__all__ = ["FUZZY_LETTERS", "near_terms", "split_name"]

_POSSESSIVE = re.compile(r"\b[^\W\d_]+['’]s\b")
_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t"}
_DOLLAR = re.compile(r"[$](?=[^\W\d_])")
_LONG_RUN = re.compile(r"(.)\1{2,}")
_EIGHT_O_EIGHT = re.compile(r"(?<=\d)[oO](?=\d)")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SCRIPTS = re.compile(
    rf"(?:{SPACELESS.pattern})[{SPACELESS.pattern[1:-1]}ー]*|(?:(?!{SPACELESS.pattern}).)+"
)
FUZZY_LETTERS = 5
_SKELETON_LETTERS = 3


@cache
def _fuzzy_terms() -> tuple[str, ...]:
    return tuple(sorted(word for word in role_terms() if len(word) >= FUZZY_LETTERS))


def _known(word: str) -> str | None:
    """Return the vocabulary's spelling of a word or of its plural, or None."""
    if word in single_terms() or word in terms_in_phrases():
        return word
    # "Saxx", "Basss"
    single = re.sub(r"(.)\1+$", r"\1", word)
    if len(single) > 2 and single in role_terms():
        return single
    singular = word[:-1]
    if len(word) > 3 and word.endswith(("s", "z")) and singular in single_terms():
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
        if word.isalpha() and word in role_terms():
            return word
    return None


@cache
def _without_swap(word: str) -> str | None:
    """Return the one known word that differs by two swapped neighbours ("backign"), or None."""
    if len(word) < 4 or not word.isalpha():
        return None
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)} - {
        word
    }
    matches = swapped & (role_terms() | marked_terms())
    return matches.pop() if len(matches) == 1 else None


@cache
def _skeletons() -> dict[str, frozenset[str]]:
    """Return the words of the vocabulary by what is left of them without vowels."""
    by_skeleton: dict[str, set[str]] = {}
    for word in role_terms():
        if len(word) >= FUZZY_LETTERS - 1:
            by_skeleton.setdefault(_skeleton(word), set()).add(word)
    return {key: frozenset(spellings) for key, spellings in by_skeleton.items()}


def _skeleton(word: str) -> str:
    """Return what is heard of a word without its vowels: "plkz", "pluck" and "plucks" are one."""
    phonetic = word.replace("ck", "k").replace("ph", "f").replace("c", "k").replace("z", "s")
    bones = phonetic[:1] + "".join(c for c in phonetic[1:] if c not in "aeiouy")
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
    parts = best[-1] or ()
    short = sum(len(part) == 2 and part not in {"in", "di"} for part in parts)
    if not 1 < len(parts) <= 4 or short > 1 or not any(part in role_terms() for part in parts):
        return ()
    return parts


def split_name(name: str) -> list[str]:
    """Cut a name (without folder and extension) into lower-case tokens."""
    tokens: list[str] = []
    # "Tom's vocal" is no tom: an owner's name says nothing.
    chunks = CHUNK.findall(
        _EIGHT_O_EIGHT.sub("0", _DOLLAR.sub("s", _POSSESSIVE.sub(" ", fold(name))))
    )
    for chunk in chain.from_iterable(map(_by_script, chunks)):
        if SPACELESS.match(chunk):
            tokens.extend(_spaceless(chunk))
            continue
        spelled = _without_leet(chunk)
        if spelled is not None:
            tokens.append(spelled)
            continue
        if _known(chunk.lower()):
            tokens.append(_known(chunk.lower()) or "")
            continue
        for piece in PIECE.findall(chunk) or [chunk]:
            whole = _known(piece.lower())
            if whole:
                tokens.append(whole)
                continue
            tokens.extend(_camel_tokens(piece))
    return tokens


def _by_script(chunk: str) -> list[str]:
    """Cut where letters that are written without spaces begin and end ("主唱Lead2")."""
    return _SCRIPTS.findall(chunk) if SPACELESS.search(chunk) else [chunk]


@cache
def _spaceless(run: str) -> tuple[str, ...]:
    """Cut a run of letters without spaces into words of the vocabulary.

    Of all ways the one that leaves the fewest letters over, and of these the one of fewest words.
    """
    vocabulary = spaceless_terms()
    longest = max(map(len, vocabulary), default=1)
    best: list[tuple[int, int, tuple[str, ...]]] = [(0, 0, ())]
    for end in range(1, len(run) + 1):
        unknown, count, head = best[end - 1]
        options = [(unknown + 1, count + 1, (*head, run[end - 1]))]
        for start in range(max(end - longest, 0), end):
            if run[start:end] in vocabulary:
                unknown, count, head = best[start]
                options.append((unknown, count + 1, (*head, run[start:end])))
        best.append(min(options, key=lambda option: option[:2]))
    return best[-1][2]


def _camel_tokens(piece: str) -> list[str]:
    """Cut a run of letters where its case changes, or, where that gives no words, by the words."""
    parts = [part.lower() for part in _CAMEL.split(piece)]
    if len(parts) > 1 and not all(_known(part) or _unglue(part) for part in parts):
        whole = _unglue(piece.lower())
        if whole:
            return list(whole)
    tokens: list[str] = []
    for part in parts:
        word = _LONG_RUN.sub(r"\1\1", part).rstrip("z") if _LONG_RUN.search(part) else part
        known = _known(word)
        tokens.extend([known] if known else _unglue(word) or [_without_swap(word) or word])
    return tokens


@cache
def near_terms(token: str) -> tuple[str, ...]:
    """Return the words for a role that a misspelled or shortened word may stand for."""
    if not token.isalpha():
        return ()
    alike = _skeletons().get(_skeleton(token), frozenset())
    if len(token) >= _SKELETON_LETTERS and not set(token[1:]) & set("aeiouy"):
        return tuple(sorted(alike))
    if len(token) < FUZZY_LETTERS:
        return ()
    near = [word for word in sorted(alike) if abs(len(word) - len(token)) <= 2]
    if near and len(_skeleton(token)) >= _SKELETON_LETTERS:
        return tuple(near)
    return tuple(difflib.get_close_matches(token, _fuzzy_terms(), n=3, cutoff=_cutoff(token)))


def _cutoff(token: str) -> float:
    """Return the similarity that one wrong letter, or two swapped ones, leave."""
    return 0.78 if len(token) <= FUZZY_LETTERS + 2 else 0.85
