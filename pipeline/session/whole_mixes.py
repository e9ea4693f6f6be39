"""Which tracks of a session are mixes of the whole song, and what the song would be without them.

A mix that lies among its tracks is left out, unless too little would remain: a beat beside vocals
is often called "Instrumental Mix", and a mix of the vocals alone is nobody's wish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.session.rough_mixes import (
    Bounce,
    MixKind,
    Part,
    bounce,
    mix_kind,
    part,
    shared_tokens,
)

__all__ = ["Candidate", "WholeMixes", "whole_mixes"]

# A bounce lasts about as long as what it is a bounce of.
_BOUNCE_LENGTH = 0.8

# A beat is heard under few tracks that were added to it, and left out beside many.
_TRACKS_WITHOUT_BEAT = 3
_TRACKS_WITHOUT_MIX = 2


@dataclass(frozen=True)
class Candidate:
    """A track as its header tells: its name in the session, its channels and its length."""

    name: str
    channels: int
    duration_s: float

    @property
    def stem(self) -> str:
        """The file's name without folder and suffix."""
        return PurePosixPath(self.name).stem


@dataclass(frozen=True)
class WholeMixes:
    """What is left out, and which of the files named like mixes are tracks, by their names."""

    left_out: tuple[str, ...]
    kept: tuple[str, ...]


def whole_mixes(
    candidates: Sequence[Candidate], *, song: str, wanted: Callable[[str], bool]
) -> WholeMixes:
    """Tell mixes of the whole song from its tracks, by their names, and ask what would remain.

    Parameters
    ----------
    song
        Name of the session's folder.
    wanted
        Whether the user said that a file is a track.
    """
    named = _named_like_mixes(candidates, song)
    mixes = [c for c in candidates if c.name in named and not wanted(c.name)]
    others = [c for c in candidates if c not in mixes]
    # A mix that the user wants is the song's, and no other is.
    kept = [] if any(c.name in named for c in others) else _needed(mixes, others)
    return WholeMixes(tuple(c.name for c in mixes if c not in kept), tuple(c.name for c in kept))


def _named_like_mixes(candidates: Sequence[Candidate], song: str) -> set[str]:
    song_tokens = shared_tokens(c.stem for c in candidates)
    sure = {
        c.name: bounce(
            c.stem,
            folders=PurePosixPath(c.name).parent.parts,
            song=song,
            song_tokens=song_tokens,
        )
        for c in candidates
    }
    counts = Counter(sure.values())
    # Where most names say "master", the word tells nothing.
    telling = counts[Bounce.LIKELY] <= counts[Bounce.NO]
    longest_s = max((c.duration_s for c in candidates if sure[c.name] is Bounce.NO), default=0.0)
    return {
        c.name
        for c in candidates
        if sure[c.name] is Bounce.SURE
        or (
            sure[c.name] is Bounce.LIKELY
            and telling
            and c.channels == 2
            and c.duration_s >= _BOUNCE_LENGTH * longest_s
        )
    }


def _needed(mixes: Sequence[Candidate], others: Sequence[Candidate]) -> list[Candidate]:
    """Return the mixes without which the others could not be a song."""
    kinds = {c.name: mix_kind(c.stem) for c in mixes}
    voices = [c for c in mixes if kinds[c.name] is MixKind.VOCALS]
    beats = [c for c in mixes if kinds[c.name] is MixKind.INSTRUMENTAL]
    fulls = [c for c in mixes if kinds[c.name] is MixKind.FULL]
    parts = Counter(part(c.stem) for c in others)
    # A name that says nothing may be that of a singer.
    playing = parts[Part.INSTRUMENT] + parts[Part.NUMBERED] + parts[Part.UNKNOWN] // 2
    sung = parts[Part.VOCALS] > 0
    kept: list[Candidate] = []
    if not others and len(beats or fulls) != 1:
        return kept  # several versions of one song: which one is for the user to say
    if beats and playing < _TRACKS_WITHOUT_BEAT:
        # Beside a full mix of them, few instruments are the song's own.
        if not (fulls and playing >= _TRACKS_WITHOUT_MIX):
            kept = beats[:1]
    elif fulls and not beats:
        whole = playing >= _TRACKS_WITHOUT_MIX or (parts[Part.INSTRUMENT] and len(others) > 1)
        kept = [] if whole else fulls[:1]
    if kept and kept[0] in beats and voices and not sung:
        kept += voices[:1]
    return kept
