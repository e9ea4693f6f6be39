"""The commands that show and tidy the cache of steps."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from flows.cli.command import command
from flows.cli.options import StoreOption
from flows.cli.terminal import Screen, printable
from flows.storage.locations import parse_place
from flows.storage.store import Store
from pipeline.errors import InputError, Problem

__all__ = ["app", "parse_age_s", "parse_size"]

app = typer.Typer(
    help="Show or tidy the cache of steps.", invoke_without_command=True, add_completion=False
)

# What was used within an hour a run may be reading.
_IN_USE_S = 3600.0
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {f"{unit[0]}ib": 1024**power for power, unit in enumerate(("b", "kb", "mb", "gb", "tb"))}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def parse_size(text: str) -> int:
    """Return the bytes that a size names.

    Raises
    ------
    ValueError
        If it names none.

    Examples
    --------
    >>> parse_size("2GB"), parse_size("1.5 MiB"), parse_size("0")
    (2000000000, 1572864, 0)
    """
    number, unit = _measure(text)
    if unit not in _BYTES and not (unit == "" and number == 0.0):
        raise ValueError(f"no size: {text!r}")
    return round(number * _BYTES.get(unit, 1))


def parse_age_s(text: str) -> float:
    """Return the seconds that an age names.

    Raises
    ------
    ValueError
        If it names none.

    Examples
    --------
    >>> parse_age_s("7d"), parse_age_s("90 m")
    (604800.0, 5400.0)
    """
    number, unit = _measure(text)
    if unit not in _SECONDS:
        raise ValueError(f"no age: {text!r}")
    return number * _SECONDS[unit]


def _measure(text: str) -> tuple[float, str]:
    measure = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([A-Za-z]*)\s*", text)
    if measure is None:
        raise ValueError(f"no measure: {text!r}")
    return float(measure[1]), measure[2].lower()


@dataclass(frozen=True)
class _Use:
    entries: int = 0
    size_bytes: int = 0


def _used(store: Store) -> dict[str, _Use]:
    """Return what the store holds, by step."""
    by_step: dict[str, _Use] = {}
    for step, _, size in store.entries():
        before = by_step.get(step, _Use())
        by_step[step] = _Use(before.entries + 1, before.size_bytes + size)
    return dict(sorted(by_step.items(), key=lambda item: -item[1].size_bytes))


def _open(named: str | None) -> Store:
    place = None if named is None else parse_place(named, subject="--store")
    if isinstance(place, Path) and not place.is_dir():
        remedy = "name the folder that was given to --store of a run, or leave it out"
        raise InputError([Problem(f"--store {place}", "is no folder", remedy)])
    store = Store(place)
    problems = store.problems() if isinstance(store.place, str) else ()
    if problems:
        raise InputError(problems)
    return store


@app.callback()
@command(speech=("as_json",))
def show(
    screen: Screen,
    context: typer.Context,
    store: StoreOption = None,
) -> int:
    """Show where the cache of steps is, how large it is, and what is in it."""
    if context.invoked_subcommand is not None:
        return 0
    opened = _open(store)
    used = _used(opened)
    total = sum(use.size_bytes for use in used.values())
    entries = sum(use.entries for use in used.values())
    screen.result(
        {
            "store": str(opened.place),
            "size_bytes": total,
            "entries": entries,
            "steps": {
                name: {"entries": use.entries, "size_bytes": use.size_bytes}
                for name, use in used.items()
            },
        }
    )
    screen.say(f"{opened.place}: {size_told(total)}, {entries} entries")
    if used and not screen.as_json:
        table = Table("step")
        for heading in ("entries", "size"):
            table.add_column(heading, justify="right")
        for name, use in used.items():
            table.add_row(Text(printable(name)), str(use.entries), size_told(use.size_bytes))
        screen.table(table)
    return 0


@app.command()
@command(speech=("quiet", "as_json"))
def prune(
    screen: Screen,
    max_size: Annotated[
        str | None, typer.Option(help="What may stay, as 2GB: the least recently used go.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Remove what was not used for so long, as 7d or 12h.")
    ] = None,
    store: StoreOption = None,
) -> int:
    """Remove results not used for long; never those used within an hour, as a run may read them.

    Of a store at a URL, use is marked by the day: there it is two days and an hour.
    """
    problems = []
    limit, age_s = None, None
    if max_size is None and older_than is None:
        remedy = "give --max-size 2GB or --older-than 7d, or both; or use: cache clear"
        problems.append(Problem("cache prune", "is told no limit", remedy))
    try:
        limit = None if max_size is None else parse_size(max_size)
    except ValueError:
        remedy = "give a number and a unit, as 500MB, 2GB or 2GiB"
        problems.append(Problem("--max-size", f"is {max_size!r}", remedy))
    try:
        age_s = None if older_than is None else parse_age_s(older_than)
    except ValueError:
        remedy = "give a number and a unit, as 90m, 12h, 7d or 4w"
        problems.append(Problem("--older-than", f"is {older_than!r}", remedy))
    if problems:
        raise InputError(problems)
    opened = _open(store)
    removed, freed = 0, 0
    if age_s is not None:
        removed, freed = _tidy(opened, 0, unused_s=max(age_s, _IN_USE_S))
    if limit is not None:
        more, bytes_more = _tidy(opened, limit, unused_s=_IN_USE_S)
        removed, freed = removed + more, freed + bytes_more
    _tell(screen, opened, removed, freed)
    return 0


@app.command()
@command(speech=("quiet", "as_json"))
def clear(
    screen: Screen,
    store: StoreOption = None,
) -> int:
    """Remove all results but those used within an hour, as a run may read them.

    Of a store at a URL, use is marked by the day: there it is two days and an hour.
    """
    opened = _open(store)
    removed, freed = _tidy(opened, 0, unused_s=_IN_USE_S)
    _tell(screen, opened, removed, freed)
    return 0


def _tidy(store: Store, max_bytes: int, *, unused_s: float) -> tuple[int, int]:
    """Prune; return the number of entries removed, and their bytes."""
    store.sweep()
    before = sum(use.entries for use in _used(store).values())
    freed = store.prune(max_bytes, unused_s=unused_s)
    return max(before - sum(use.entries for use in _used(store).values()), 0), freed


def _tell(screen: Screen, store: Store, removed: int, freed: int) -> None:
    left = _used(store)
    size = sum(use.size_bytes for use in left.values())
    in_use_s = _IN_USE_S + store.mark_lag_s
    kept = sum(time.time() - used < in_use_s for _, used, _ in store.entries())
    screen.result(
        {
            "store": str(store.place),
            "removed": removed,
            "freed_bytes": freed,
            "size_bytes": size,
            "in_use": kept,
        }
    )
    summary = f"{removed} entries removed, {size_told(freed)} freed, {size_told(size)} left"
    screen.say(f"{store.place}: {summary}")
    if kept:
        lately = "within an hour" if in_use_s == _IN_USE_S else "lately, by the day that is marked"
        screen.say(f"{kept} entries were used {lately}: they stay, as a run may read them")


def size_told(size_bytes: int) -> str:
    """Return a size in words."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} bytes"
