"""Text that a user may have edited, TOML and JSON, read whatever a file turns out to be.

An editor may have saved it with a byte order mark or as UTF-16; what bears the name may be a pipe
that never ends, gigabytes of something else, or text made to break a parser. All of that is an
:class:`~pipeline.errors.InputError` that names the file, or it is read.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from pipeline.audio.formats.kind import open_regular
from pipeline.errors import InputError, Problem, missing_remedy

__all__ = ["LONGEST_BYTES", "parse_json", "parse_toml", "read_text", "shown"]

LONGEST_BYTES = 64 * 2**20
"""No settings, list or plan is as long; a plan of a thousand tracks has 1 MB."""

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_LONGEST_SHOWN = 60

# Surrogates from U+DC80 to U+DCFF stand for bytes of file names that are no UTF-8 (PEP 383).
_BROKEN_CHARACTER = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
_BROKEN = re.compile(r"\\u(0000|[dD][89a-fA-F])")  # as JSON escapes them


def read_text(path: Path, *, subject: str | None = None, remedy: str = "make it readable") -> str:
    """Read a text in UTF-8, or in UTF-16 or UTF-32 as some editors save it.

    Parameters
    ----------
    subject
        What the file is called before the user; its path by default.
    remedy
        What to do about a file that cannot be read.

    Raises
    ------
    InputError
        If it cannot be read, is no regular file, is longer than :data:`LONGEST_BYTES` or no text.
    """
    name = str(path) if subject is None else subject
    try:
        with open_regular(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(LONGEST_BYTES + 1)
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        if isinstance(error, FileNotFoundError):
            remedy = missing_remedy(path, remedy)
        raise InputError([Problem(name, what, remedy)]) from error
    if len(data) > LONGEST_BYTES:
        what = f"is longer than {LONGEST_BYTES // 2**20} MB, which no such file is"
        raise InputError([Problem(name, what, "name the right file")])
    mark, encoding = next(
        ((mark, encoding) for mark, encoding in _MARKS if data.startswith(mark)),
        (b"", _unmarked(data)),
    )
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        what = f"is not {encoding.upper().removesuffix('-LE').removesuffix('-BE')} text"
        what += f" (byte {error.start + len(mark)})"
        raise InputError([Problem(name, what, "save it as UTF-8")]) from error


def _unmarked(data: bytes) -> str:
    """Return the encoding of text without a mark: the first character of ours is ASCII."""
    if len(data) >= 2 and len(data) % 2 == 0:
        if data[0] and not data[1]:
            return "utf-16-le"
        if data[1] and not data[0]:
            return "utf-16-be"
    return "utf-8"


def parse_toml(text: str, subject: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises
    ------
    InputError
        If it is none, or nested or with numbers beyond what can be read.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError([Problem(subject, f"is not TOML ({error})", "mend it there")]) from error
    except RecursionError as error:
        raise _too_deep(subject) from error
    except ValueError as error:
        raise _too_long(subject) from error


def parse_json(text: str, subject: str, remedy: str) -> Any:
    """Return what a JSON text holds.

    Raises
    ------
    InputError
        If it is none, nested or with numbers beyond what can be read, or holds text that is none.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise InputError([Problem(subject, f"is not JSON ({where})", remedy)]) from error
    except RecursionError as error:
        raise _too_deep(subject) from error
    except ValueError as error:
        raise _too_long(subject) from error
    broken = _BROKEN.search(text) and _broken_string(value)
    if broken:
        what = f"holds a text that no file or name can have: {shown(broken)}"
        raise InputError([Problem(subject, what, "mend it there")])
    return value


def _broken_string(value: Any) -> str | None:
    """Return a string with a NUL, or half a character that stands for no byte of a file's name."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str) and _BROKEN_CHARACTER.search(item):
            return item
        if isinstance(item, dict):
            left += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            left += item
    return None


def _too_deep(subject: str) -> InputError:
    return InputError([Problem(subject, "is nested too deeply to be read", "mend it there")])


def _too_long(subject: str) -> InputError:
    what = "holds a number with thousands of digits"
    return InputError([Problem(subject, what, "mend it there")])


def shown(value: object) -> str:
    """Return a value of a file for a message, cut short where it is long.

    Examples
    --------
    >>> shown("kik"), shown(10**70)[-4:]
    ("'kik'", '000…')
    """
    try:
        text = repr(value)
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return "a number with thousands of digits"
    except RecursionError:
        return "nested too deeply to be shown"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
