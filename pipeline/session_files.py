"""Which files of a session's folder are candidates for tracks, and which are left out and why."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.audio import AUDIO_SUFFIXES, UNREADABLE_SUFFIXES

__all__ = ["MARKERS", "LeftOut", "session_files"]

# Folders that DAWs fill with what is no track, in lower case.
_FOREIGN_FOLDERS = {
    "__macosx": "holds what macOS adds to archives",
    "fade files": "holds a DAW's cross-fades",
}

_PLAN_KEYS = frozenset({"version", "tracks", "stems", "bus"})
_LONGEST_PLAN_BYTES = 64 * 2**20
_TEST_FILES = ("webmushra.yaml", "trials.csv")
MARKERS = frozenset({"plan.json", *_TEST_FILES})
"""Names of the files whose presence or content decides which others are tracks."""

_OUTPUT_FOLDERS = frozenset({"stems", "balanced"})


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is no track, by its name in the session, and why."""

    name: str
    why: str


def session_files(
    root: Path, *, references: Sequence[Path] = ()
) -> tuple[dict[str, Path], list[LeftOut]]:
    """Search a folder and its subfolders for audio files.

    Parameters
    ----------
    root
        The session's folder, resolved.
    references
        Files that are no tracks even if they lie in it.

    Returns
    -------
    files : dict
        POSIX path relative to ``root`` → absolute path.
    left_out : list of LeftOut
        Other than files that hold no audio, which are passed over.
    """
    walk = _Walk(root, references)
    walk.folder(root, "")
    walk.drop_doubles()
    return walk.files, walk.left_out


class _Walk:
    def __init__(self, root: Path, references: Sequence[Path]) -> None:
        self.root = root
        self.files: dict[str, Path] = {}
        self.left_out: list[LeftOut] = []
        self._links: list[str] = []
        self._references = {os.path.realpath(path) for path in references}

    def _leave_out(self, name: str, why: str) -> None:
        self.left_out.append(LeftOut(name, why))

    def folder(self, folder: Path, prefix: str) -> None:
        """Take what lies in one folder, and in its subfolders."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self._leave_out(prefix, f"cannot be read ({error.strerror or error})")
            return
        output = _is_output(folder)
        for entry in entries:
            name = prefix + entry.name
            path = folder / entry.name
            if entry.is_dir():
                why = self._why_not_enter(entry)
                if why is None and output and entry.name in _OUTPUT_FOLDERS:
                    why = "holds an earlier mix"
                if why is None:
                    self.folder(path, name + "/")
                else:
                    self._leave_out(name + "/", why)
            elif output and path.stem == "mix":
                self._leave_out(name, "is an earlier mix")
            else:
                self._file(path, name)

    def _why_not_enter(self, entry: os.DirEntry[str]) -> str | None:
        if entry.name.startswith("."):
            return "is a hidden folder"
        if entry.is_symlink():
            return "is a link to a folder"
        if entry.name.casefold() == "mixes" or _is_output(Path(entry.path)):
            return "holds earlier mixes"
        if all((Path(entry.path) / name).is_file() for name in _TEST_FILES):
            return "holds a listening test"
        return _FOREIGN_FOLDERS.get(entry.name.casefold())

    def _file(self, path: Path, name: str) -> None:
        suffix = path.suffix.lower()
        if path.name.startswith("."):
            # A hidden "._Kick.wav" has a suffix, and ".wav" alone is a hidden file too.
            if {suffix, path.name.lower()} & (AUDIO_SUFFIXES | UNREADABLE_SUFFIXES):
                macos = path.name.startswith("._")
                self._leave_out(name, "is a macOS resource file" if macos else "is a hidden file")
            return
        if suffix in UNREADABLE_SUFFIXES:
            self._leave_out(name, f"{suffix} files are not read: convert it to WAV or FLAC")
            return
        if suffix not in AUDIO_SUFFIXES:
            return
        why = self._why_not_take(path)
        if why is None:
            self.files[name] = path
            if path.is_symlink():
                self._links.append(name)
        else:
            self._leave_out(name, why)

    def _why_not_take(self, path: Path) -> str | None:
        try:
            target = path.resolve(strict=True)
            is_file = stat.S_ISREG(target.stat().st_mode)
        except (OSError, RuntimeError):  # a loop of links
            return "is a link to nothing" if path.is_symlink() else None
        if str(target) in self._references:
            return "is the reference"
        if not target.is_relative_to(self.root):
            return "is a link to a file outside the session"
        # To open a named pipe would wait for ever.
        return None if is_file else "is not a regular file"

    def drop_doubles(self) -> None:
        """Leave out links to files that are tracks by themselves."""
        own = {path: name for name, path in self.files.items() if name not in self._links}
        for name in self._links:
            target = self.files[name].resolve()
            if target in own:
                del self.files[name]
                self._leave_out(name, f"is a link to {own[target]}")
            else:
                own[target] = name


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
