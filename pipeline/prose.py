"""Names, numbers and lists as they stand in a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["listed", "spoken", "spoken_hz", "typeset"]


_HYPHEN_MINUS = re.compile(r"(?<![\w.)\-])-(?=\d)")

NAMES_LISTED = 12


def listed(names: Sequence[str]) -> str:
    """Return names for a sentence, a long list cut short.

    Examples
    --------
    >>> listed(["a.wav", "b.wav"])
    "'a.wav', 'b.wav'"
    >>> listed([str(i) for i in range(100)])[-18:]
    "'11' and 88 others"
    """
    if len(names) <= NAMES_LISTED + 1:
        return ", ".join(map(repr, names))
    shown = ", ".join(map(repr, names[:NAMES_LISTED]))
    return f"{shown} and {len(names) - NAMES_LISTED} others"


def typeset(text: str) -> str:
    """Return prose with a true minus sign before its numbers.

    Examples
    --------
    >>> typeset("fader -3.2 dB, 2-4 kHz")
    'fader −3.2 dB, 2-4 kHz'
    """
    return _HYPHEN_MINUS.sub("\N{MINUS SIGN}", text)


def spoken(name: str) -> str:
    """Return an identifier as words: ``lead_vocals`` is ``Lead vocals``."""
    phrase = name.replace("_", " ")
    return phrase[:1].upper() + phrase[1:]


def spoken_hz(frequency_hz: float) -> str:
    """Return a frequency with two significant digits: ``315`` is ``320 Hz``."""
    rounded = float(f"{frequency_hz:.2g}")
    return f"{rounded / 1000.0:g} kHz" if rounded >= 1000.0 else f"{rounded:g} Hz"
