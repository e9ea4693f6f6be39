"""Takes that a comp was made of: at each moment the comp is one of them, sample by sample.

Tracks that sound together may be alike; only what was cut from a track has the power of its every
10 ms. Takes play the same bars, of which the comp uses one: tracks that take turns, such as the
verse and the chorus of one voice, are no takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_closing, binary_opening

from pipeline.units import BoolArray, Float32Array

__all__ = ["Comp", "find_comps"]


_SILENT_POWER = 1e-7
_SAME_DB = 0.02
_RUN_FRAMES = 20
"""Only 200 ms and more in a row are a cut of the same recording."""
_PIECE_FRAMES, _IN_PIECES = 150, 0.5
"""Half of a comp is in pieces of 1.5 s and more; notes that two parts share are shorter."""
_LEAST_SHARE = 0.04
_COVERED = 0.85
_WHOLE = 0.97
"""A track of which another holds so much is its copy."""
_UNUSED = 0.25
"""Share of what the takes play that the comp leaves out: played by another take at that time."""


@dataclass(frozen=True)
class Comp:
    """A track that was cut together from takes.

    Parameters
    ----------
    track
        Its number.
    takes
        Numbers of the takes that it has parts of.
    covered
        Share of its sound that is in them, 0 to 1.
    """

    track: int
    takes: tuple[int, ...]
    covered: float


def find_comps(envelopes: Sequence[Float32Array], kinds: Sequence[str]) -> list[Comp]:
    """Find the tracks that were cut together from others.

    Parameters
    ----------
    envelopes
        K-weighted power of each 10 ms from 0 s of the session, one a track.
    kinds
        Only tracks of one kind, such as a subgroup, are compared.

    Returns
    -------
    list of Comp
        In the order of the tracks; no comp is a take of another.
    """
    size = max((e.size for e in envelopes), default=0)
    levels = np.full((len(envelopes), size), np.nan, np.float32)
    for row, envelope in zip(levels, envelopes, strict=True):
        audible = envelope > _SILENT_POWER
        row[: envelope.size][audible] = 10.0 * np.log10(envelope[audible])
    audible = np.isfinite(levels)
    comps = []
    for kind in dict.fromkeys(kinds):
        members = [i for i, k in enumerate(kinds) if k == kind and audible[i].any()]
        if len(members) < 3:
            continue
        same = _same_frames(levels, members)
        for comp in members:
            takes = {i: same[comp, i] for i in members if (comp, i) in same}
            result = _judge(comp, takes, audible)
            if result is not None:
                comps.append(result)
    return _one_way(comps)


def _same_frames(levels: Float32Array, members: Sequence[int]) -> dict[tuple[int, int], BoolArray]:
    """Return where each two tracks are the same, for those that have something in common."""
    same: dict[tuple[int, int], BoolArray] = {}
    for place, first in enumerate(members):
        for second in members[place + 1 :]:
            apart = levels[first] - levels[second]
            both = np.flatnonzero(np.isfinite(apart))
            if both.size < _RUN_FRAMES:
                continue
            steps = np.round(apart[both] / _SAME_DB).astype(np.int64)
            values, counts = np.unique(steps, return_counts=True)
            gain_db = values[int(np.argmax(counts))] * _SAME_DB
            alike = np.zeros(apart.size, np.bool_)
            alike[both] = np.abs(apart[both] - gain_db) <= _SAME_DB
            alike = binary_opening(alike, np.ones(_RUN_FRAMES, np.bool_))
            if alike.any():
                same[first, second] = same[second, first] = alike
    return same


def _judge(comp: int, takes: dict[int, BoolArray], audible: BoolArray) -> Comp | None:
    length = int(audible[comp].sum())
    parts = {i: s for i, s in takes.items() if s.sum() >= _LEAST_SHARE * length}
    if len(parts) < 2 or any(s.sum() >= _WHOLE * length for s in parts.values()):
        return None
    everything = np.logical_or.reduce(list(parts.values()))
    covered = float(everything.sum() / length)
    if covered < _COVERED:
        return None
    piece = np.ones(_PIECE_FRAMES, np.bool_)
    pieces = [binary_opening(_closed(s, ~audible[comp]), piece) for s in parts.values()]
    if (np.logical_or.reduce(pieces) & everything).sum() < _IN_PIECES * everything.sum():
        return None
    # Some take plays on while the comp has another: else they take turns, and all are wanted.
    if not any(_plays_on(take, parts, audible) for take in parts):
        return None
    order = sorted(parts, key=lambda i: -int(parts[i].sum()))
    return Comp(comp, tuple(order), round(covered, 3))


def _closed(same: BoolArray, silent: BoolArray) -> BoolArray:
    """Return the frames of a piece with the rests and short gaps in it."""
    joined = binary_closing(np.pad(same, _RUN_FRAMES), np.ones(_RUN_FRAMES + 1, np.bool_))
    joined = joined[_RUN_FRAMES:-_RUN_FRAMES] | silent
    return np.asarray(joined)


def _plays_on(take: int, parts: dict[int, BoolArray], audible: BoolArray) -> bool:
    elsewhere = np.logical_or.reduce([s for i, s in parts.items() if i != take]) & ~parts[take]
    return bool((audible[take] & elsewhere).sum() > _UNUSED * elsewhere.sum())


def _one_way(comps: Sequence[Comp]) -> list[Comp]:
    """Keep of two that are made of each other the one that is covered more."""
    kept: list[Comp] = []
    for comp in sorted(comps, key=lambda c: -c.covered):
        if not any(comp.track in other.takes for other in kept):
            kept.append(comp)
    return sorted(kept, key=lambda c: c.track)
