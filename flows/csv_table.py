"""Tables as CSV, in which text is text: no spreadsheet takes a name for a formula.

The rule: text that begins with ``=``, ``+``, ``-``, ``@``, a tab, a line's end or an apostrophe
has one apostrophe put before it. So a program that takes one leading apostrophe away from each text
has what was there; numbers are never touched.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

__all__ = ["as_cell", "as_text", "write_csv"]

# The full-width forms are signs to a spreadsheet set to Japanese or Chinese.
_MARKED = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")


def as_cell(value: object) -> object:
    """Return a value as it is written: text that would be a formula is marked as text.

    Examples
    --------
    >>> as_cell("=1+1"), as_cell("-3 dB"), as_cell("Kick.wav"), as_cell(-3.0)
    ("'=1+1", "'-3 dB", 'Kick.wav', -3.0)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_MARKED) else value


def as_text(cell: str) -> str:
    """Return the text of a cell that was written by :func:`as_cell`.

    Examples
    --------
    >>> as_text("'=1+1"), as_text("Kick.wav"), as_text(as_cell("'68 Comeback"))
    ('=1+1', 'Kick.wav', "'68 Comeback")
    """
    return cell.removeprefix("'")


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table; bytes of a name that are no Unicode become question marks."""
    # As objects: pyarrow, where it is installed, takes no name that is no valid Unicode.
    columns = {
        as_cell(name): pd.Series([as_cell(v) for v in frame[name].astype(object)], dtype=object)
        for name in frame.columns
    }
    cells = pd.DataFrame(columns)
    # Python's writer quotes a carriage return only where its lines end in one.
    texts = [*cells.columns, *(v for row in cells.itertuples(index=False) for v in row)]
    end = "\r\n" if any(isinstance(v, str) and "\r" in v for v in texts) else "\n"
    cells.to_csv(path, index=False, lineterminator=end, encoding="utf-8", errors="replace")
