"""What can be wrong with a user's input, said so that it can be mended.

Checks collect :class:`Problem` records and raise them together in one :class:`InputError`, so a
user sees everything that is wrong at once and before any work is done.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["InputError", "Problem", "Problems", "StemwrightError", "missing_remedy", "suggest"]

# Of a folder with more entries than this, as a disk of samples, not all are looked at.
_MOST_ENTRIES = 5000


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


class Problems(list[Problem]):
    """What several checks find wrong, to be raised together.

    Examples
    --------
    >>> problems = Problems()
    >>> with problems.collected():
    ...     raise InputError([Problem("a.wav", "is empty", "export it again")])
    >>> len(problems)
    1
    """

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep the problems of an :class:`InputError` that is raised inside."""
        try:
            yield
        except InputError as error:
            self.extend(error.problems)

    def raise_all(self) -> None:
        """Raise an :class:`InputError` if there are any."""
        if self:
            raise InputError(self)


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


def missing_remedy(path: Path, remedy: str) -> str:
    """Return what to do about a path that does not exist: the closest name beside it, if one is.

    Parameters
    ----------
    remedy
        Given where nothing there is called alike.

    Examples
    --------
    >>> missing_remedy(Path("/nowhere at all/x.wav"), "correct the name")
    'correct the name'
    """
    missing = path.absolute()
    try:
        while not missing.parent.is_dir():
            if missing.parent == missing:
                return remedy
            missing = missing.parent
        names = []
        for count, entry in enumerate(missing.parent.iterdir()):
            if count == _MOST_ENTRIES:
                break
            if not entry.name.startswith(".") and entry.name != missing.name:  # a link to nothing
                names.append(entry.name)
    except (OSError, ValueError):  # a folder that cannot be listed, a name that no disk takes
        return remedy
    folded = {name.casefold(): name for name in sorted(names, reverse=True)}
    close = difflib.get_close_matches(missing.name.casefold(), folded, n=1, cutoff=0.7)
    if not close:
        return remedy
    return f"did you mean {str(missing.with_name(folded[close[0]]))!r}? Otherwise {remedy}"
