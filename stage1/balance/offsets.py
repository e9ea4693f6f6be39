"""The levels that the balance aims at: the table of ``offsets.toml``, and what a user changes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from pipeline.errors import suggest

__all__ = ["Offsets", "offset_table"]

Offsets = Mapping[str, Mapping[str, float]]


@cache
def _own() -> dict[str, dict[str, float]]:
    text = resources.files("stage1.balance").joinpath("offsets.toml").read_text(encoding="utf-8")
    return {
        table: {key: float(value) for key, value in values.items() if key != "source"}
        for table, values in tomllib.loads(text).items()
    }


def offset_table(changes: Offsets | None = None) -> dict[str, dict[str, float]]:
    """Return the table of levels, in LU.

    Parameters
    ----------
    changes
        What is other than ours, table by table: ``offsets`` of
        :class:`pipeline.session.settings.SessionSettings`.

    Returns
    -------
    dict of dict of float
        The tables of ``offsets.toml`` without their sources.

    Raises
    ------
    ValueError
        For a table that does not exist.

    Examples
    --------
    >>> offset_table({"role": {"hi_hat": -6.0}})["role"]["hi_hat"]
    -6.0
    """
    table = {name: dict(levels) for name, levels in _own().items()}
    for name, levels in (changes or {}).items():
        if name not in table:
            raise ValueError(f"no table {name!r} of levels: {suggest(name, list(table))}")
        table[name] |= levels
    return table
