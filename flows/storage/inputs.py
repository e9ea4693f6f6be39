"""Sessions and references at URLs, brought to this machine under the rules of local ones."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from flows.progress import Progress, guarded
from flows.storage.locations import Place, is_url, parse_place
from flows.storage.mirror import mirror
from flows.storage.object_store import ObjectFolder, StoredObject
from flows.storage.retries import as_input_error
from pipeline.errors import InputError, Problem, Problems
from pipeline.session.file_names import NamedAs, named_as
from pipeline.session.files import MARKERS, session_files
from pipeline.session.settings import SESSION_TOML, readable_settings

__all__ = ["NearInput", "bring_near", "bring_tracks_near", "named_by_url"]

# A bucket named in place of a song's folder is told by its size.
_MOST_OBJECTS = 20_000
_LONGEST_NAME_BYTES = 255
_LONGEST_MARKER_BYTES = 64 * 2**20


@dataclass(frozen=True)
class NearInput:
    """A session and its references on this machine.

    Parameters
    ----------
    root
        None where the session could not be brought here.
    references
        Those that could.
    faults
        What is wrong with the others.
    """

    root: Path | None
    references: tuple[Path, ...]
    faults: tuple[Problem, ...] = ()


def bring_near(
    session: Place, references: Sequence[Place], *, progress: Progress | None = None
) -> NearInput:
    """Return where a session and references lie on this machine; what is at a URL is mirrored.

    Nothing is raised for a bad input: what is wrong is in the result.
    """
    faults = Problems()
    root = session if isinstance(session, Path) else None
    if isinstance(session, str):
        inner = {name for place in references if (name := _name_inside(session, place))}
        with faults.collected(), as_input_error():
            root = _mirror_session(session, inner, progress)
    on_disk: list[Path] = []
    for place in references:
        with faults.collected(), as_input_error():
            on_disk.append(_bring_reference(place, session, root))
    return NearInput(root, tuple(on_disk), tuple(faults))


def _name_inside(session: Place, place: Place) -> str | None:
    """Return the name in a session at a URL of what lies in it; None for what does not."""
    if isinstance(session, str) and isinstance(place, str) and place.startswith(f"{session}/"):
        return place.removeprefix(f"{session}/")
    return None


def _bring_reference(place: Place, session: Place, root: Path | None) -> Path:
    if isinstance(place, Path):
        return place
    name = _name_inside(session, place)
    if root is not None and name is not None:
        path = root / name
        if path.is_file() and path.stat().st_size:
            return path
    return _mirror_reference(place)


def bring_tracks_near(url: str, names: Iterable[str]) -> Path:
    """Return a folder of this machine with the tracks of a plan whose session is at a URL.

    Raises
    ------
    InputError
        With everything that keeps them from being mirrored.
    """
    url = str(parse_place(url, subject="session"))
    wanted = {str(PurePosixPath(name)) for name in names}
    with as_input_error():
        objects = ObjectFolder(url).list()
        taken = [stored for name, stored in objects.items() if name in wanted]
        problems = Problems(
            Problem(
                f"{url}/{name}", "is not there", "put it back, or name a session with --session"
            )
            for name in sorted(wanted - objects.keys())
        )
        problems += name_problems(taken)
        problems.raise_all()
        return mirror(url, taken, wanted=lambda root: [stored.name for stored in taken])


def _mirror_session(url: str, references: set[str], progress: Progress | None) -> Path:
    objects = ObjectFolder(url).list()
    if not objects:
        raise InputError(
            [Problem(url, "does not exist, or is empty", "name the folder that holds the tracks")]
        )
    if len(objects) > _MOST_OBJECTS:
        what = f"holds {len(objects)} files, which is no session"
        raise InputError([Problem(url, what, "name the folder of one song")])
    taken = [stored for stored in objects.values() if _counts(stored)]
    Problems(name_problems(taken)).raise_all()

    def wanted(root: Path) -> list[str]:
        settings = readable_settings(root)
        files = session_files(root.resolve(), keep=settings.keeps, by_name=True).every
        there = {stored.name for stored in taken}
        return sorted(files.keys() | (references & there))

    shown = guarded(progress)

    def on_file(done: int, total: int) -> None:
        shown.start("fetch", total)
        shown.advance("fetch", f"{done} of {total}")

    try:
        return mirror(
            url,
            taken,
            first=[stored.name for stored in taken if _is_marker(stored)],
            wanted=wanted,
            on_file=on_file,
        )
    finally:
        shown.finish("fetch")


def _mirror_reference(url: str) -> Path:
    folder, _, name = url.rpartition("/")
    subject = f"reference {name}"
    if folder.endswith("/"):  # a bucket alone
        raise InputError([Problem(f"reference {url}", "is a bucket", "name a recording in it")])
    stored = ObjectFolder(folder).look(name)
    if stored is None:
        raise InputError([Problem(subject, f"is not at {url}", "name a recording that is there")])
    return mirror(folder, [stored], wanted=lambda root: [name]) / name


def _is_marker(stored: StoredObject) -> bool:
    """Whether what is in a file tells which others are tracks, or how they are taken."""
    name = PurePosixPath(stored.name).name
    return stored.size <= _LONGEST_MARKER_BYTES and (name in MARKERS or stored.name == SESSION_TOML)


def _counts(stored: StoredObject) -> bool:
    path = PurePosixPath(stored.name)
    return _is_marker(stored) or named_as(path.name) is not NamedAs.OTHER


def name_problems(objects: Iterable[StoredObject]) -> list[Problem]:
    """Return what keeps objects from being files of a folder, whatever the system."""
    problems = []
    spelled: dict[str, str] = {}
    folders: set[str] = set()
    names = {stored.name for stored in objects}
    for name in sorted(names):
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            what = "is no name that a file can have: a part of it is empty, dots or has a backslash"
            problems.append(Problem(name, what, "rename the object"))
            continue
        if any(len(part.encode()) > _LONGEST_NAME_BYTES for part in parts):
            what = f"has a name of more than {_LONGEST_NAME_BYTES} bytes"
            problems.append(Problem(name, what, "give the object a shorter name"))
            continue
        folders.update("/".join(parts[:n]) for n in range(1, len(parts)))
        for n in range(1, len(parts) + 1):
            way = "/".join(parts[:n])
            other = spelled.setdefault(unicodedata.normalize("NFC", way).casefold(), way)
            if other != way:
                what = f"is written like {other!r} but for capital letters or accents"
                problems.append(Problem(name, what, "rename one: some disks cannot hold both"))
                break
    problems += [
        Problem(name, "is an object, and a folder of others too", "rename the object")
        for name in sorted(names & folders)
    ]
    return problems


@contextlib.contextmanager
def named_by_url(session: Place, near: NearInput) -> Iterator[None]:
    """Say the URL of a session in place of where its mirror lies, in what is wrong with it."""
    try:
        yield
    except InputError as error:
        if near.root is None or not is_url(session):
            raise
        here = {str(near.root), str(near.root.resolve())}

        def renamed(text: str) -> str:
            for path in here:
                text = text.replace(path, str(session))
            return text

        raise InputError(
            replace(p, subject=renamed(p.subject), what=renamed(p.what)) for p in error.problems
        ) from error
