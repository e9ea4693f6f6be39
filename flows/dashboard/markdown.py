"""Names, paths and messages in Markdown: shown as they are, obeyed by nothing."""

from __future__ import annotations

import re

__all__ = ["as_code", "as_markdown"]

_SIGNS = re.compile(r"([!-/:-@\[-`{-~])")
# What no reader of Markdown takes for more than text, so that the source stays readable: a
# dashboard shows some of it as it stands. An underscore between letters emphasises nothing.
_HARMLESS = re.compile(
    r"""(?![-+=#>] | \d+[.)](?:[ ]|$) | \s)
        (?: [^\W_] | (?<=[^\W_]) _+ (?=[^\W_]) | [ ,;'"()/%+?=\u2013\u2014\u2212\u221e\u26a0-]
          | [.] (?! /) | [:] (?! // | \S*:) )*""",
    re.VERBOSE,
)
_ADDRESS = re.compile(r"www[.]", re.IGNORECASE)


def as_markdown(text: str) -> str:
    r"""Return Markdown that shows a text, on one line, whatever the text has in it.

    Examples
    --------
    >>> print(as_markdown("Lead_Vox (dbl).wav"), as_markdown("![x](a)"))
    Lead_Vox (dbl).wav \!\[x\]\(a\)
    """
    seen = _visible(text)
    if _HARMLESS.fullmatch(seen) and not _ADDRESS.search(seen):
        return seen
    return _SIGNS.sub(r"\\\1", seen)


def as_code(text: str) -> str:
    """Return a text as Markdown's code, on one line."""
    seen = _visible(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", seen)), default=0))
    pad = " " if "`" in seen else ""
    return f"{fence}{pad}{seen}{pad}{fence}"


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
