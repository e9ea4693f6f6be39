"""Broadcast time stamps, samples since midnight, as starts on one song's time line.

A stamp tells where a track belongs only if the stamps tell one story. Tracks of one take, or of one
arrangement, overlap; an overdub that a recorder stamped with the time of day does not, and neither
does a stamp that was counted in another sample rate, or one of zero for "none". What does not
belong to the story starts with the song, and is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.prose import listed

__all__ = ["LONGEST_GAP_S", "StampUse", "StampedTrack", "Starts", "starts_from_stamps"]

LONGEST_GAP_S = 5.0
"""A song may pause so long before a track comes in; no overdub follows its song so soon."""

_DAY_S = 86_400.0
_LATEST_S = 2.0 * _DAY_S
_AUDIBLE_S = 0.0005
# A recorder's clock and that of the session it goes into.
_CONVERTED_HZ = {44_100: 48_000, 48_000: 44_100, 88_200: 96_000, 96_000: 88_200}
_OTHERWISE = "(--time-stamps use or ignore, or start_s of a track in session.toml, decides)"


class StampUse(StrEnum):
    """What becomes of time stamps."""

    AUTO = "auto"
    """They count as far as they tell one story."""
    USE = "use"
    IGNORE = "ignore"


@dataclass(frozen=True)
class StampedTrack:
    """A track as far as its place in time is concerned.

    Parameters
    ----------
    stamp
        In samples since midnight; None without one.
    """

    name: str
    sample_rate: int
    duration_s: float
    stamp: int | None


@dataclass(frozen=True)
class Starts:
    """Where each track starts after the earliest one, and what is to be said of it."""

    starts_s: tuple[float, ...]
    notes: tuple[str, ...] = ()


def starts_from_stamps(tracks: Sequence[StampedTrack], *, use: StampUse = StampUse.AUTO) -> Starts:
    """Return where each track starts, by those stamps that tell one story.

    Examples
    --------
    >>> band = [StampedTrack("Kick.wav", 100, 60.0, 500_000)] * 2
    >>> starts_from_stamps([*band, StampedTrack("Vox.wav", 100, 50.0, 500_300)]).starts_s
    (0.0, 0.0, 3.0)
    """
    count = len(tracks)
    none = Starts((0.0,) * count)
    stamped = {
        i: track.stamp / track.sample_rate
        for i, track in enumerate(tracks)
        if track.stamp is not None and track.stamp / track.sample_rate < _LATEST_S
    }
    notes: list[str] = []
    impossible = [t.name for i, t in enumerate(tracks) if t.stamp is not None and i not in stamped]
    if impossible and use is not StampUse.IGNORE:
        notes.append(f"time stamps beyond any day are ignored: {listed(impossible)}")
    if len(stamped) < 2:
        if stamped and count > 1 and use is not StampUse.IGNORE:
            name = tracks[next(iter(stamped))].name
            notes.append(f"{name!r} alone has a time stamp: it is ignored, all start together")
        return Starts(none.starts_s, tuple(notes))
    starts = _past_midnight(tracks, stamped, use=use)
    if use is StampUse.IGNORE:
        apart = max(starts.values()) - min(starts.values()) > _AUDIBLE_S
        return Starts(
            none.starts_s, ("time stamps are ignored: all tracks start together",) if apart else ()
        )
    if use is StampUse.AUTO:
        starts, doubts = _one_story(tracks, starts)
        notes += doubts
    first = min(starts.values(), default=0.0)
    placed = tuple(starts.get(i, first) - first for i in range(count))
    return Starts(placed, (*_used(tracks, placed, starts), *notes))


def _past_midnight(
    tracks: Sequence[StampedTrack], stamped: dict[int, float], *, use: StampUse
) -> dict[int, float]:
    if max(stamped.values()) - min(stamped.values()) <= _DAY_S / 2.0:
        return stamped
    late = {i for i, s in stamped.items() if s >= _DAY_S / 2.0}
    early = [s for i, s in stamped.items() if i not in late and s > 0.0]
    until = max(stamped[i] + tracks[i].duration_s for i in late)
    # Another recorder may count from zero where this one counts from midnight.
    if use is StampUse.AUTO and early and min(early) + _DAY_S - until > LONGEST_GAP_S:
        return stamped
    # A stamp of zero stands for "none" more often than for midnight.
    return {i: s if i in late or s == 0.0 else s + _DAY_S for i, s in stamped.items()}


def _one_story(
    tracks: Sequence[StampedTrack], stamped: dict[int, float]
) -> tuple[dict[int, float], list[str]]:
    """Return the starts of those tracks whose stamps fit together, and what is said of others."""
    starts, recounted = _counted_alike(tracks, stamped)
    takes = _takes(tracks, starts)
    main = max(takes, key=lambda take: (len(take), sum(tracks[i].duration_s for i in take)))
    if len(takes) == len(starts):
        what = "time stamps are ignored: no two tracks overlap by them, as in takes of one song"
        return {}, [f"{what} {_OTHERWISE}"]
    first = min(starts[i] for i in main)
    last = max(starts[i] + tracks[i].duration_s for i in main)
    story = {i: starts[i] for i in main}
    rates_hz = {tracks[i].sample_rate for i in main}
    alone: list[str] = []
    zero: list[str] = []
    for take in takes:
        if take == main:
            continue
        begin = min(starts[i] for i in take)
        # Zero is where a recorder began to count if it has tracks that come in later.
        is_origin = any(tracks[i].stamp for i in take)
        for i in take:
            track = tracks[i]
            counted = (
                None
                if is_origin and begin == 0.0
                else _in_another_rate(track, first, last, rates_hz)
            )
            if track.stamp == 0 and not is_origin:
                zero.append(track.name)
            elif counted is not None:
                story[i], rate_hz = counted
                recounted.append((track.name, rate_hz))
            else:
                # The tracks of an overdub keep their places against each other.
                story[i] = first + starts[i] - begin
                alone.append(track.name)
    return story, _doubts(alone, zero, recounted)


def _doubts(
    alone: Sequence[str], zero: Sequence[str], recounted: Sequence[tuple[str, int]]
) -> list[str]:
    doubts = []
    if alone:
        stamp, they = ("a time stamp", "it starts") if len(alone) == 1 else ("stamps", "they start")
        doubts.append(
            f"{listed(alone)}: {stamp} at another time than all others, as an overdub gets by the "
            f"clock: {they} with the song {_OTHERWISE}"
        )
    if zero:
        doubts.append(f"{listed(zero)}: a time stamp of zero is taken for none {_OTHERWISE}")
    for rate_hz in sorted({rate for _, rate in recounted}):
        names = [name for name, rate in recounted if rate == rate_hz]
        doubts.append(
            f"{listed(names)}: a time stamp that fits only if it was counted at {rate_hz} Hz, "
            f"which is not the file's rate: taken so {_OTHERWISE}"
        )
    return doubts


def _counted_alike(
    tracks: Sequence[StampedTrack], starts: dict[int, float]
) -> tuple[dict[int, float], list[tuple[str, int]]]:
    """Give one start to files whose stamps are one number at several rates: it was copied."""
    rates = Counter(tracks[i].sample_rate for i in starts)
    by_stamp: dict[int, list[int]] = {}
    for i in starts:
        if tracks[i].stamp:
            by_stamp.setdefault(tracks[i].stamp or 0, []).append(i)
    alike = dict(starts)
    recounted = []
    for members in by_stamp.values():
        own = {tracks[i].sample_rate for i in members}
        if len(own) < 2:
            continue
        rate_hz = max(own, key=lambda rate: (rates[rate], rate))
        model = next(i for i in members if tracks[i].sample_rate == rate_hz)
        for i in members:
            if tracks[i].sample_rate != rate_hz:
                alike[i] = starts[model]
                recounted.append((tracks[i].name, rate_hz))
    return alike, recounted


def _takes(tracks: Sequence[StampedTrack], starts: dict[int, float]) -> list[list[int]]:
    """Return the groups of tracks that follow each other without a gap."""
    takes: list[list[int]] = []
    until = float("-inf")
    for i in sorted(starts, key=lambda i: (starts[i], i)):
        if not takes or starts[i] - until > LONGEST_GAP_S:
            takes.append([])
        takes[-1].append(i)
        until = max(until, starts[i] + tracks[i].duration_s)
    return takes


def _in_another_rate(
    track: StampedTrack, first: float, last: float, rates_hz: set[int]
) -> tuple[float, int] | None:
    """Return where a track starts in a take if its stamp was counted at one of its rates."""
    usual = {_CONVERTED_HZ[track.sample_rate]} if track.sample_rate in _CONVERTED_HZ else set()
    for rate_hz in sorted(usual | rates_hz):
        if rate_hz != track.sample_rate and track.stamp is not None:
            start = track.stamp / rate_hz
            if first - _AUDIBLE_S <= start < last:
                return max(start, first), rate_hz
    return None


def _used(
    tracks: Sequence[StampedTrack], placed: Sequence[float], starts: dict[int, float]
) -> list[str]:
    later = [i for i, start in enumerate(placed) if start > _AUDIBLE_S]
    if not later:
        return []
    shown = [f"{tracks[i].name!r} {placed[i]:.3f} s" for i in later[:6]]
    if len(later) > len(shown):
        shown.append(f"{len(later) - len(shown)} others")
    notes = [f"time stamps are used: {', '.join(shown)} after the first (see --time-stamps)"]
    without = [track.name for i, track in enumerate(tracks) if i not in starts and not track.stamp]
    if without:
        start = "it starts" if len(without) == 1 else "they start"
        notes.append(f"without a time stamp, {start} with the earliest: {listed(without)}")
    return notes
