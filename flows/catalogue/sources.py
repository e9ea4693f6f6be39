"""Which sessions a catalogue has, and with which settings each of them is mixed."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.settings import MixSettings, checked_settings, kind
from flows.storage.locations import Place, is_url, name_of, parse_place
from pipeline.errors import InputError, Problem, missing_remedy, suggest
from pipeline.session.files import session_files
from pipeline.text_files import parse_toml, read_text, shown

__all__ = ["RESERVED_NAMES", "CatalogueEntry", "CatalogueSource", "read_catalogue"]

# What a catalogue writes beside its sessions' folders.
RESERVED_NAMES = ("catalogue.csv", "catalogue.parquet", "catalogue.html")

_OWN_KEYS = ("session", "name", "reference")
_TABLE = "mix"
_LONGEST_NAME_BYTES = 200
_OTHER_FOLDERS = {"mixes": "holds earlier mixes", "__macosx": "holds what macOS adds to archives"}


@dataclass(frozen=True)
class CatalogueEntry:
    """One session of a catalogue.

    Parameters
    ----------
    name
        Of its folder in the output; no two entries have one name, whatever its case.
    session
        The folder of raw tracks, absolute, or the URL of one; whether it is good is seen when it
        is mixed.
    """

    name: str
    session: Place
    settings: MixSettings


@dataclass(frozen=True)
class CatalogueSource:
    """What was read: the entries, where mixes go by default, and what was left out and why."""

    entries: tuple[CatalogueEntry, ...]
    default_folder: Path
    left_out: tuple[str, ...] = ()


def read_catalogue(
    source: Path, settings: MixSettings, *, output: Path | None = None
) -> CatalogueSource:
    """Return the sessions of a folder or a list.

    Parameters
    ----------
    source
        A folder, each subfolder of which is a session; a CSV file with a column ``session``; or a
        TOML file with a ``[[mix]]`` table a session. Other columns and keys are ``name`` (of the
        output folder), ``reference`` (several as a TOML list, or separated by semicolons) and
        those of :class:`~flows.settings.MixSettings`. Paths are relative to the file.
    settings
        Of every session; what the list says of one goes over them.
    output
        Where the mixes go: that folder is no session.

    Raises
    ------
    InputError
        With everything that is wrong with the source.
    """
    if settings.references:
        absolute = tuple(p if isinstance(p, str) else p.absolute() for p in settings.references)
        settings = settings.model_copy(update={"references": absolute})
    if source.is_dir():
        return _folder(source.resolve(), settings, output)
    if not source.exists():
        remedy = "name a folder of sessions, or a list of them (.csv, .toml)"
        raise InputError([Problem(str(source), "does not exist", missing_remedy(source, remedy))])
    readers = {".csv": _csv_rows, ".toml": _toml_rows}
    if source.suffix.lower() not in readers:
        remedy = "name a folder of sessions, a .csv or a .toml"
        raise InputError([Problem(str(source), "is no list of sessions", remedy)])
    text = read_text(source, remedy="name a list that can be read")
    rows = list(readers[source.suffix.lower()](text, source))
    if not rows:
        raise InputError([Problem(str(source), "lists no session", "add one")])
    here = source.resolve()
    return CatalogueSource(
        _entries(rows, here.parent, settings), here.with_name(f"{here.stem} mixes")
    )


def _folder(root: Path, settings: MixSettings, output: Path | None) -> CatalogueSource:
    default = root / "mixes"
    ours = {(output or default).resolve()}
    references = {path.resolve() for path in settings.references if isinstance(path, Path)}
    sessions: list[Path] = []
    left_out: list[str] = []
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError as error:
        remedy = "name a folder that can be read"
        raise InputError([Problem(str(root), f"cannot be read ({error})", remedy)]) from error
    for entry in entries:
        path = Path(entry.path)
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        why = _OTHER_FOLDERS.get(entry.name.casefold())
        if entry.is_symlink():
            why = "is a link to a folder (name it in a list instead)"
        elif path in ours or all((path / name).is_file() for name in RESERVED_NAMES):
            why = "holds a catalogue's mixes"
        elif why is None and references:
            why = _holds_only(path, references)
        if why is None:
            sessions.append(path)
        else:
            left_out.append(f"{entry.name}/ ({why})")
    if not sessions:
        tracks = [entry for entry in entries if entry.is_file()]
        what = "has no subfolder that is a session"
        remedy = "name the folder that holds the sessions' folders"
        if tracks:
            remedy += f", or mix this one with `stemwright mix {root}`"
        raise InputError([Problem(str(root), what, remedy)])
    names = _Names()
    return CatalogueSource(
        tuple(CatalogueEntry(names.take(path.name), path, settings) for path in sessions),
        default,
        tuple(left_out),
    )


def _holds_only(folder: Path, references: set[Path]) -> str | None:
    """Return why a folder is no session, where it holds a reference and no track."""
    if not any(path.is_relative_to(folder) for path in references):
        return None
    candidates = session_files(folder, references=list(references))
    return None if candidates.every else "holds the reference"


@dataclass(frozen=True)
class _Row:
    """What the list says of one session, and how a key of it is called before the user."""

    values: Mapping[str, Any]
    place: str

    def subject(self, key: str) -> str:
        return f"{self.place} [{key}]"


def _csv_rows(text: str, path: Path) -> Iterator[_Row]:
    head = text.split("\n", 1)[0]
    # Spreadsheets of half the world write semicolons.
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    problems: list[Problem] = []
    rows: list[_Row] = []
    try:
        keys = [cell.strip() for cell in next(reader, [])]
        problems += _header_problems(keys, path)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            row = _Row(dict(_typed_cells(keys, cells)), f"{path} line {reader.line_num}")
            if len(cells) > len(keys):
                what = f"has {len(cells)} cells, and the first line names {len(keys)} columns"
                problems.append(Problem(row.place, what, "put text with separators into quotes"))
            rows.append(row)
    except csv.Error as error:
        problems.append(
            Problem(f"{path} line {reader.line_num}", f"is not CSV ({error})", "mend it there")
        )
    if problems:
        raise InputError(problems)
    yield from rows


def _header_problems(keys: list[str], path: Path) -> Iterator[Problem]:
    known = [*_OWN_KEYS, *MixSettings.model_fields]
    subject = f"{path} line 1"
    if "session" not in keys:
        told = ", ".join(map(repr, keys)) or "nothing"
        yield Problem(subject, f"has no column 'session' (it has {told})", "name the columns there")
    for key in dict.fromkeys(keys):
        if key not in known:
            yield Problem(subject, f"has an unknown column {key!r}", suggest(key, known))
        if keys.count(key) > 1:
            yield Problem(subject, f"has the column {key!r} {keys.count(key)} times", "keep one")


def _typed_cells(keys: list[str], cells: list[str]) -> Iterator[tuple[str, Any]]:
    """Return the cells that say something, those of numbers and switches as what they mean."""
    for key, cell in zip(keys, cells, strict=False):
        told = cell.strip()
        if not told:
            continue
        type_ = kind(key) if key in MixSettings.model_fields else str
        value: Any = told
        if key in ("reference", "references"):
            value = [part.strip() for part in told.split(";") if part.strip()]
        elif key == "match":
            value = told.replace(";", ",")
        elif type_ is bool:
            value = {"true": True, "false": False}.get(told.casefold(), told)
        elif type_ is not str:
            value = _number(told)
        yield key, value


def _number(text: str) -> int | float | str:
    for type_ in (int, float):
        try:
            return type_(text)
        except ValueError:
            continue
    return text


def _toml_rows(text: str, path: Path) -> Iterator[_Row]:
    told = parse_toml(text, str(path))
    tables = told.pop(_TABLE, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        what = f"[{_TABLE}] is {shown(tables)}"
        raise InputError([Problem(str(path), what, f"write [[{_TABLE}]] before each session")])
    known = [_TABLE, *MixSettings.model_fields, "reference"]
    # Keys at the top are of every session.
    problems = [
        Problem(str(path), f"has an unknown key {key!r}", suggest(key, known))
        for key in told
        if key not in known
    ]
    for number, table in enumerate(tables, 1):
        row = _Row(told | table, f"{path} [[{_TABLE}]] {number}")
        known_here = [*_OWN_KEYS, *MixSettings.model_fields]
        problems += [
            Problem(row.place, f"has an unknown key {key!r}", suggest(key, known_here))
            for key in table
            if key not in known_here
        ]
        yield row
    if problems:
        raise InputError(problems)


def _entries(rows: list[_Row], folder: Path, settings: MixSettings) -> tuple[CatalogueEntry, ...]:
    problems: list[Problem] = []
    entries: list[CatalogueEntry] = []
    names = _Names()
    for row in rows:
        wrong = list(_own_problems(row, names))
        values = settings.model_dump(exclude_unset=True)
        values |= {k: v for k, v in row.values.items() if k not in _OWN_KEYS}
        values |= dict(_references(row.values, folder))
        try:
            chosen = checked_settings(values, row.subject)
        except InputError as error:
            wrong += error.problems
        if wrong:
            problems += wrong
            continue
        session = _session(row.values["session"], folder)
        wish = str(row.values.get("name") or name_of(session))
        name = names.take(wish, named="name" in row.values)
        entries.append(CatalogueEntry(name, session, chosen))
    if problems:
        raise InputError(problems)
    return tuple(entries)


def _session(told: str, folder: Path) -> Place:
    place = parse_place(told)
    return place if isinstance(place, str) else (folder / place.expanduser()).resolve()


def _references(values: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, Any]]:
    told = values.get("reference", values.get("references"))
    if told is None:
        return
    told = [told] if isinstance(told, str) else told
    if isinstance(told, list) and all(isinstance(name, str) for name in told):
        told = [n if is_url(n) else str(folder / Path(n).expanduser()) for n in told]
    yield "references", told


def _own_problems(row: _Row, names: _Names) -> Iterator[Problem]:
    session = row.values.get("session")
    if not isinstance(session, str) or not session:
        given = "is missing" if session is None else f"is {shown(session)}"
        yield Problem(row.subject("session"), given, "give the path of the session's folder")
    elif "\0" in session:
        yield Problem(row.subject("session"), f"is {shown(session)}", "leave the zero byte out")
    elif is_url(session):
        try:
            parse_place(session, subject=row.subject("session"))
        except InputError as error:
            yield from error.problems
    if "reference" in row.values and "references" in row.values:
        yield Problem(row.subject("reference"), "is there beside 'references'", "keep one of them")
    name = row.values.get("name")
    if name is None:
        return
    if not isinstance(name, str) or not name or name != _as_name(name) or "/" in name:
        remedy = "give a plain folder name, without separators or a dot before it"
        yield Problem(row.subject("name"), f"is {shown(name)}", remedy)
    elif names.is_taken(name):
        yield Problem(row.subject("name"), f"is {name!r}, as before", "give each its own")


class _Names:
    """Names of output folders that do not collide, also where the disk takes cases for one."""

    def __init__(self) -> None:
        self._taken = {_folded(name) for name in RESERVED_NAMES}

    def is_taken(self, name: str) -> bool:
        return _folded(name) in self._taken

    def take(self, wish: str, *, named: bool = False) -> str:
        name = base = wish if named else _as_name(wish)
        count = 2
        while self.is_taken(name):
            name, count = f"{base}-{count}", count + 1
        self._taken.add(_folded(name))
        return name


def _as_name(text: str) -> str:
    """Return the folder name that a session's own becomes: not hidden, not too long, not empty."""
    name = text.replace("/", "_").replace("\\", "_").replace("\0", "_").lstrip(".").strip()
    while len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        name = name[:-1]
    return name or "session"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
