"""Folders that programs and systems fill with what is no track of the song.

Three kinds. What is never a track: fades, undo data, waste. What is one only for want of anything
better: backups, edits, frozen tracks. And the pool of a project, which holds every recording ever
made for it: beside exported tracks it is left out, on its own it is all there is.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

__all__ = ["Foreign", "ForeignFolder", "foreign_folder"]


class Foreign(Enum):
    """When the audio of a foreign folder is taken for tracks."""

    NEVER = "never"
    SPARE = "spare"
    """Where the session has no other track."""
    POOL = "pool"
    """Where the session has not two others."""


@dataclass(frozen=True)
class ForeignFolder:
    """What a foreign folder is: ``why`` goes on from its name, as in "holds cross-fades"."""

    kind: Foreign
    why: str


_FADES = "holds a DAW's cross-fades"
_UNDO = "holds a program's undo data"
_WASTE = "holds deleted files"
_CACHE = "holds a program's cache"
_PEAKS = "holds drawings of waveforms"
_BACKUP = "holds backups"
_FROZEN = "holds frozen tracks"
_UNUSED = "holds what is not used"
_SYSTEM = "belongs to the system"

# Names without case, spaces, hyphens, underscores and a ".nosync" at their end.
_NEVER = {
    "macosx": "holds what macOS adds to archives",
    "fadefiles": _FADES, "fades": _FADES, "crossfades": _FADES, "fadeaudio": _FADES,
    "undo": _UNDO, "undodata": _UNDO, "undofiles": _UNDO, "undohistory": _UNDO,
    "undos": _UNDO, "undocache": _UNDO,
    "$recycle.bin": _WASTE, "recycle.bin": _WASTE, "recyclebin": _WASTE, "recycler": _WASTE,
    "recycled": _WASTE, "#recycle": _WASTE, "@recycle": _WASTE, "trash": _WASTE,
    "trashes": _WASTE, "trashbin": _WASTE, "papierkorb": _WASTE, "corbeille": _WASTE,
    "deletedfiles": _WASTE, "deleteditems": _WASTE, "deletedaudio": _WASTE, "deleted": _WASTE,
    "cache": _CACHE, "caches": _CACHE, "audiocache": _CACHE, "wavecache": _CACHE,
    "diskcache": _CACHE, "mediacache": _CACHE, "picturecache": _CACHE, "analysisfiles": _CACHE,
    "plugindata": _CACHE, "resamplecache": _CACHE, "stretchcache": _CACHE, "tempfiles": _CACHE,
    "peaks": _PEAKS, "peakfiles": _PEAKS, "peakdata": _PEAKS, "peakcache": _PEAKS,
    "waveforms": _PEAKS, "waveformcache": _PEAKS, "waveformdata": _PEAKS, "overviews": _PEAKS,
    "reapeaks": _PEAKS,
    "abletonprojectinfo": "holds what Ableton Live knows of a project",
    "systemvolumeinformation": _SYSTEM, "lost+found": _SYSTEM, "lost.dir": _SYSTEM,
    "found.000": _SYSTEM, "@eadir": _SYSTEM, "#snapshot": _SYSTEM,
}  # fmt: skip

_SPARE = {
    "backup": _BACKUP, "backups": _BACKUP, "bak": _BACKUP, "sessionfilebackups": _BACKUP,
    "projectfilebackups": _BACKUP, "autobackup": _BACKUP, "autobackups": _BACKUP,
    "autosave": _BACKUP, "autosaves": _BACKUP, "autosaved": _BACKUP, "projectbackups": _BACKUP,
    "sicherung": _BACKUP, "sicherungen": _BACKUP, "sauvegarde": _BACKUP, "history": _BACKUP,
    "edits": "holds a DAW's edited copies", "processedaudio": "holds a DAW's edited copies",
    "renderedfiles": "holds a DAW's rendered copies", "clipgroups": "holds a DAW's clip groups",
    "slicedbeats": "holds a DAW's edited copies",
    "freeze": _FROZEN, "freezes": _FROZEN, "frozen": _FROZEN, "freezefiles": _FROZEN,
    "freezedata": _FROZEN, "frozentracks": _FROZEN, "freezetracks": _FROZEN,
    "frozenfiles": _FROZEN,
    "unused": _UNUSED, "unusedfiles": _UNUSED, "unusedaudio": _UNUSED, "unusedmedia": _UNUSED,
    "unusedaudiofiles": _UNUSED, "notused": _UNUSED, "dead": _UNUSED,
}  # fmt: skip

_POOLS = frozenset(
    """audiofiles audio samples media recordings recorded recordedaudio interchange importedfiles
    importedaudio soundfiles mediafiles audiopool pool""".split()  # noqa: SIM905
)

# Files whose presence makes such a folder a project's, and what writes them.
_PROJECTS = {
    ".ptx": "Pro Tools", ".ptf": "Pro Tools", ".pts": "Pro Tools", ".logicx": "Logic",
    ".logic": "Logic", ".band": "GarageBand", ".cpr": "Cubase", ".npr": "Nuendo",
    ".als": "Ableton Live", ".rpp": "REAPER", ".song": "Studio One", ".flp": "FL Studio",
    ".aup": "Audacity", ".aup3": "Audacity", ".bwproject": "Bitwig Studio", ".ardour": "Ardour",
    ".cwp": "Cakewalk", ".vip": "Samplitude", ".sesx": "Audition", ".luna": "LUNA",
    ".tracktionedit": "Waveform", ".dpdoc": "Digital Performer", ".reason": "Reason",
    ".mmpz": "LMMS", ".xrns": "Renoise", ".hprj": "Hindenburg",
}  # fmt: skip

_PACKAGES = frozenset({".logicx", ".logic", ".band", ".luna"})
_AUDACITY_DATA = "_data"


def foreign_folder(name: str, *, beside: Collection[str] = ()) -> ForeignFolder | None:
    """Say whether a folder is a program's or the system's.

    Parameters
    ----------
    name
        Of the folder itself.
    beside
        Names of the files and folders that lie beside it: a project's file makes a pool of its
        folder "Audio".

    Returns
    -------
    ForeignFolder or None
        None for a folder like any other.

    Examples
    --------
    >>> foreign_folder("Fade Files").why
    "holds a DAW's cross-fades"
    >>> foreign_folder("Audio Files", beside=["Song.ptx"]).kind
    <Foreign.POOL: 'pool'>
    >>> foreign_folder("Audio Files") is None
    True
    """
    suffix = PurePath(name).suffix.casefold()
    if suffix in _PACKAGES:
        return ForeignFolder(Foreign.POOL, f"is a project of {_PROJECTS[suffix]}")
    plain = re.sub(r"[\s_-]+", "", name.casefold().removesuffix(".nosync"))
    if plain in _NEVER:
        return ForeignFolder(Foreign.NEVER, _NEVER[plain])
    if plain in _SPARE:
        return ForeignFolder(Foreign.SPARE, _SPARE[plain])
    projects = [PurePath(other) for other in beside]
    programs = {path.suffix.casefold(): _PROJECTS.get(path.suffix.casefold()) for path in projects}
    program = next((program for program in programs.values() if program is not None), None)
    audacity = {f"{path.stem}{_AUDACITY_DATA}" for path in projects if ".aup" in path.suffix}
    if name in audacity:
        return ForeignFolder(Foreign.NEVER, "holds the pieces of an Audacity project")
    if program is not None and plain in _POOLS:
        return ForeignFolder(Foreign.POOL, f"is the audio pool of a project of {program}")
    return None
