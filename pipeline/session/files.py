"""Which files of a session's folder are candidates for tracks, and which are left out and why.

What holds audio is found by name or, where the name says nothing, by content; nothing that might
be a track is passed over without a word. The folder may be any: loops of links, folders that
cannot be read or never end, and pipes are said and walked around.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.audio.formats.kind import open_regular, sniff
from pipeline.errors import Problem
from pipeline.session.file_names import NamedAs, inner_name, named_as
from pipeline.session.foreign_folders import Foreign, ForeignFolder, foreign_folder

__all__ = ["DEEPEST_FOLDER", "MARKERS", "LeftOut", "SessionFiles", "SetAside", "session_files"]

DEEPEST_FOLDER = 32
"""Folders inside one another; what goes deeper is no session but a loop or an accident."""

_PLAN_KEYS = frozenset({"version", "tracks", "stems", "bus"})
_LONGEST_PLAN_BYTES = 64 * 2**20
_TEST_FILES = ("webmushra.yaml", "trials.csv")
MARKERS = frozenset({"plan.json", *_TEST_FILES})
"""Names of the files whose presence or content decides which others are tracks."""

_OUTPUT_FOLDERS = frozenset({"stems", "balanced"})
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is no track, by its name in the session, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class SetAside:
    """A folder whose audio is taken for tracks only where there is too little else.

    Parameters
    ----------
    name
        In the session, with a slash at its end.
    files
        Candidates in it: POSIX path relative to the session → absolute path.
    """

    name: str
    folder: ForeignFolder
    files: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class SessionFiles:
    """What a session's folder holds.

    Parameters
    ----------
    files
        Candidates for tracks: POSIX path relative to the session → absolute path.
    left_out
        Other than files that hold no audio, which are passed over.
    problems
        What might be a track and cannot be one as it is, each with its remedy.
    aside
        Folders of programs, by their names.
    """

    files: dict[str, Path]
    left_out: list[LeftOut]
    problems: list[Problem]
    aside: list[SetAside]

    @property
    def every(self) -> dict[str, Path]:
        """All candidates, those of folders that are set aside too."""
        every = dict(self.files)
        for part in self.aside:
            every.update(part.files)
        return every


def session_files(
    root: Path,
    *,
    references: Sequence[Path] = (),
    keep: Callable[[str], bool] | None = None,
    by_name: bool = False,
) -> SessionFiles:
    """Search a folder and its subfolders for audio files.

    Parameters
    ----------
    root
        The session's folder, resolved.
    references
        Files that are no tracks even if they lie in it.
    keep
        Whether the user wants a file, by its name in the session, that lies in a folder which is
        left out.
    by_name
        Do not look into files: where only their names are there, all that may be audio is.
    """
    walk = _Walk(root, references, keep, by_name=by_name)
    walk.everything()
    walk.drop_doubles()
    return SessionFiles(walk.files, walk.left_out, walk.problems, walk.aside)


@dataclass(frozen=True)
class _Folder:
    """A folder that is still to be searched; ``kept_only`` takes no file but those to keep."""

    path: Path
    name: str
    depth: int
    aside: SetAside | None = None
    kept_only: bool = False


class _Walk:
    def __init__(
        self,
        root: Path,
        references: Sequence[Path],
        keep: Callable[[str], bool] | None,
        *,
        by_name: bool,
    ) -> None:
        self.root = root
        self.files: dict[str, Path] = {}
        self.left_out: list[LeftOut] = []
        self.problems: list[Problem] = []
        self.aside: list[SetAside] = []
        self._links: list[str] = []
        self._keep = keep
        self._by_name = by_name
        self._references = {os.path.realpath(path) for path in references}

    def _leave_out(self, name: str, why: str) -> None:
        self.left_out.append(LeftOut(name, why))

    def _wrong(self, name: str, what: str, remedy: str) -> None:
        self.problems.append(Problem(name, what, remedy))

    def everything(self) -> None:
        """Take what lies in the session's folder, and in its subfolders."""
        left = [_Folder(self.root, "", 0)]
        while left:
            # The next folder is the first subfolder of the last one.
            left += reversed(list(self._folder(left.pop())))

    def _folder(self, folder: _Folder) -> Iterator[_Folder]:
        """Take the files of one folder, and yield those of its subfolders that are searched."""
        try:
            with os.scandir(folder.path) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not folder.kept_only:
                what = f"cannot be read ({error.strerror or error})"
                remedy = "make it readable, or move it out of the session"
                self._wrong(folder.name or str(folder.path), what, remedy)
            return
        output = _is_output(folder.path)
        names = [entry.name for entry in ordered]
        for entry in ordered:
            name = folder.name + entry.name
            if _is_folder(entry):
                inner = self._subfolder(entry, folder, names, output=output)
                if inner is not None:
                    yield inner
            elif folder.kept_only:
                if self._keep is not None and self._keep(name):
                    self._file(folder.path / entry.name, name, None)
            elif output and Path(entry.name).stem == "mix":
                self._leave_out(name, "is an earlier mix")
            else:
                self._file(folder.path / entry.name, name, folder.aside)

    def _subfolder(
        self, entry: os.DirEntry[str], outer: _Folder, names: Sequence[str], *, output: bool
    ) -> _Folder | None:
        name = f"{outer.name}{entry.name}/"
        path, depth = Path(entry.path), outer.depth + 1
        if depth > DEEPEST_FOLDER:
            if not outer.kept_only:
                what = f"lies more than {DEEPEST_FOLDER} folders deep"
                self._wrong(name, what, "move what is of the song further up")
            return None
        if entry.is_symlink():
            if not outer.kept_only:
                self._leave_out(name, "is a link to a folder")
            return None
        if outer.kept_only:
            return _Folder(path, name, depth, kept_only=True)
        if _is_unfinished(entry.name):  # browsers of macOS download into folders
            self._unfinished(name)
            return None
        foreign = foreign_folder(entry.name, beside=names)
        why = _why_not_enter(entry)
        if why is None and output and entry.name in _OUTPUT_FOLDERS:
            why = "holds an earlier mix"
        if why is None and foreign is not None and foreign.kind is Foreign.NEVER:
            why = foreign.why
        if why is not None:
            self._leave_out(name, why)
            return None if self._keep is None else _Folder(path, name, depth, kept_only=True)
        aside = outer.aside
        if foreign is not None:
            aside = SetAside(name, foreign)
            self.aside.append(aside)
        return _Folder(path, name, depth, aside)

    def _file(self, path: Path, name: str, aside: SetAside | None) -> None:
        named = named_as(path.name)
        if named is NamedAs.CLOUD:
            what = "is a placeholder: the file itself is in the cloud"
            self._wrong(name, what, "have it downloaded to this machine")
        elif path.name.startswith("."):
            # ".wav" alone is a hidden file too.
            if NamedAs.AUDIO in (named, named_as(f"x{path.name}")):
                macos = path.name.startswith("._")
                self._leave_out(name, "is a macOS resource file" if macos else "is a hidden file")
        elif named is NamedAs.UNFINISHED:
            if _is_unfinished(path.name) or self._sounds(path):
                self._unfinished(name)
        elif named is NamedAs.BACKUP:
            if named_as(inner_name(path.name)) is NamedAs.AUDIO or self._sounds(path):
                self._leave_out(name, "is a backup copy")
        elif named is NamedAs.ARCHIVE:
            self._leave_out(name, "is an archive: unpack it if it holds tracks")
        elif named is NamedAs.MIDI:
            self._leave_out(name, "holds notes and no sound: export what plays them")
        elif named in (NamedAs.AUDIO, NamedAs.UNKNOWN):
            self._candidate(path, name, named, aside)

    def _sounds(self, path: Path) -> bool:
        try:
            return not self._by_name and sniff(path) is not None
        except OSError:
            return False

    def _unfinished(self, name: str) -> None:
        what = "is a download or a copy that was not finished"
        self._wrong(name, what, "fetch it again to its end")

    def _candidate(self, path: Path, name: str, named: NamedAs, aside: SetAside | None) -> None:
        try:
            why = self._why_not_take(path)
            if why is None and not self._by_name:
                why = _empty_or_silent(path, named)
                if why is None and named is NamedAs.AUDIO and _is_placeholder(path):
                    what = "holds nothing but zero bytes where its header should be: it stands in "
                    what += "for a file that lies elsewhere, or its copy broke off"
                    self._wrong(name, what, "download or copy it again")
                    return
        except OSError as error:
            what = f"cannot be read ({error.strerror or error})"
            if named is NamedAs.AUDIO:
                self._wrong(name, what, "make it readable and try again")
            else:
                self._leave_out(name, what)
            return
        if why is None:
            files = self.files if aside is None else aside.files
            files[name] = path
            if path.is_symlink():
                self._links.append(name)
        elif why:
            self._leave_out(name, why)

    def _why_not_take(self, path: Path) -> str | None:
        try:
            target = path.resolve(strict=True)
            is_file = stat.S_ISREG(target.stat().st_mode)
        except (OSError, RuntimeError):
            if not path.is_symlink():
                raise
            # A loop has an error of its own, which differs between systems.
            loop = os.path.lexists(path) and _leads_back(path)
            return "is a link that leads back to itself" if loop else "is a link to nothing"
        if str(target) in self._references:
            return "is the reference"
        if not target.is_relative_to(self.root):
            return "is a link to a file outside the session: copy the file into it to have it mixed"
        # To open a named pipe would wait for ever.
        return None if is_file else "is not a regular file"

    def drop_doubles(self) -> None:
        """Leave out links to files that are tracks by themselves."""
        parts: list[dict[str, Path]] = [self.files, *(part.files for part in self.aside)]
        own = {
            path: name for files in parts for name, path in files.items() if name not in self._links
        }
        for name in self._links:
            files = next(files for files in parts if name in files)
            target = files[name].resolve()
            if target in own:
                del files[name]
                self._leave_out(name, f"is a link to {own[target]}")
            else:
                own[target] = name


def _is_unfinished(name: str) -> bool:
    return named_as(name) is NamedAs.UNFINISHED and named_as(inner_name(name)) is NamedAs.AUDIO


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _leads_back(path: Path) -> bool:
    """Whether following a link comes to a place where it has been."""
    been: set[str] = set()
    place = os.path.abspath(path)  # noqa: PTH100 - resolve() follows links
    while os.path.islink(place):  # noqa: PTH114
        if place in been:
            return True
        been.add(place)
        place = os.path.normpath(Path(place).parent / os.readlink(place))  # noqa: PTH115
    return False


def _why_not_enter(entry: os.DirEntry[str]) -> str | None:
    if entry.name.startswith("."):
        return "is a hidden folder"
    path = Path(entry.path)
    if entry.name.casefold() == "mixes" or _is_output(path):
        return "holds earlier mixes"
    if all(os.path.isfile(path / name) for name in _TEST_FILES):  # noqa: PTH113 - never raises
        return "holds a listening test"
    return None


def _empty_or_silent(path: Path, named: NamedAs) -> str | None:
    """Return why a file is no candidate: "" without a word, None if it is one."""
    if named is NamedAs.AUDIO:
        return None
    if path.stat().st_size == 0:
        return "is empty and has no name of an audio file"
    return "" if sniff(path) is None else None


def _is_placeholder(path: Path) -> bool:
    """Whether a file begins with zeros and no audio follows: it has a size and no content."""
    with open_regular(path) as file:
        head = os.read(file, _HEAD_BYTES)
    return bool(head) and not head.strip(b"\0") and sniff(path) is None


def _is_output(folder: Path) -> bool:
    """Whether a mix was written there: its ``plan.json`` has the keys of ours."""
    plan = folder / "plan.json"
    try:
        if not plan.is_file() or plan.stat().st_size > _LONGEST_PLAN_BYTES:
            return False
        raw = json.loads(plan.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(raw, dict) and raw.keys() >= _PLAN_KEYS
