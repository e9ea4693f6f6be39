"""What can be wrong with a user's input, said so that it can be mended.

Checks collect :class:`Problem` records and raise them together in one :class:`InputError`, so a
user sees everything that is wrong at once and before any work is done.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["InputError", "Problem", "StemwrightError", "suggest"]


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the input.

    Parameters
    ----------
    subject
        The file, key or value concerned, as the user would name it.
    what
        What is wrong, with the offending value.
    remedy
        What the user can do about it.
    """

    subject: str
    what: str
    remedy: str

    def __str__(self) -> str:
        # A file name is data: a newline or an escape sequence in it must not forge output lines.
        subject = "".join(c if c.isprintable() else repr(c)[1:-1] for c in self.subject)
        return f"{subject}: {self.what}: {self.remedy}"


class StemwrightError(Exception):
    """Any error that this project raises on purpose."""


class InputError(StemwrightError):
    """The user's input cannot be worked on; holds every problem that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


def suggest(word: str, known: Sequence[str]) -> str:
    """Return a remedy for an unknown word: the closest known one, or the list of them.

    Examples
    --------
    >>> suggest("gian_db", ["gain_db", "pan"])
    "did you mean 'gain_db'?"
    """
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "use one of " + ", ".join(known)
