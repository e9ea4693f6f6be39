"""Gains that balance the tracks of each subgroup, and the level intended for each stem.

Equal loudness inside a subgroup is the start. From it each role and microphone position departs by
the offsets of ``offsets.toml``, and the microphones and doubles of one source share its level as
they correlate. What the user asked for (gain, presence, levels of his own) comes on top, and is
told apart: a stem's fader must not take it back.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.roles import Presence, Role
from pipeline.session.settings import TrackOverrides
from pipeline.units import power_to_db
from stage1.balance.offsets import Offsets, offset_table
from stage1.balance.stem_targets import stem_targets
from stage1.recognition.recognise import Recognition
from stage1.sources.grouping import (
    by_kinship,
    coherent_level,
    copy_counts,
    halves,
    polarities,
    source_groups,
)
from stage1.sources.records import Relations

__all__ = [
    "Levels",
    "TrackBalance",
    "balance",
    "balanced_lufs",
    "published_gain_db",
    "stem_targets",
]

# LUFS of a broadband sound as loud; what the words of a reason say after the figure.
_MEASURED_AS = {"sones": " as heard", "informed": " in its band"}
_PUBLISHED_TARGET_LUFS = -50.0
_PUBLISHED_PEAK_DBFS = -1.0

_STEM_PEAK_DBFS = -3.0
# A stem's fader makes good what it was lowered by, and has so much to give.
_MOST_TRIM_DB = 18.0

# Two performances, not two microphones: each half is levelled by itself.
_PERFORMED_TWICE = frozenset(
    {
        Role.ELECTRIC_GUITAR,
        Role.LEAD_GUITAR,
        Role.ACOUSTIC_GUITAR,
        Role.LEAD_VOCAL,
        Role.VOCAL_DOUBLE,
        Role.BACKING_VOCAL,
    }
)


class Levels(Protocol):
    """What the balance needs to know of a track's sound."""

    @property
    def name(self) -> str:
        """The track's path inside the session."""
        ...

    @property
    def true_peak_dbtp(self) -> float:
        """Its true peak."""
        ...

    def loudness(self, method: str) -> float:
        """Return its loudness in LUFS by a method; ``-inf`` for silence."""
        ...


@dataclass(frozen=True)
class TrackBalance:
    """What was decided for the level of one track.

    Parameters
    ----------
    target_lufs
        Loudness aimed at before bounds and the user's offset; NaN where there is none (silence).
    mute
        Whether ``session.toml`` mutes the track; its gain is the one that it would have.
    invert
        Whether its polarity is turned over.
    trim_db
        The part of ``gain_db`` that all tracks of the stem share for its headroom: 0 or less. The
        stem's fader makes good for it, so it changes no balance.
    requested_db
        The part of ``gain_db`` that the user asked for, against the balance without any request:
        it stays in the mix.
    """

    name: str
    gain_db: float
    target_lufs: float
    reason: str
    mute: bool = False
    invert: bool = False
    trim_db: float = 0.0
    requested_db: float = 0.0


def balanced_lufs(levels: Levels, method: str) -> float:
    """Return the loudness in LUFS that a track is balanced by; ``-inf`` for silence alone.

    The published methods find none in a track that never exceeds -50 LUFS, and none where left
    and right cancel in the mono fold. Such a track is no silence: it is balanced by our own.
    """
    lufs = levels.loudness(method)
    return lufs if math.isfinite(lufs) else levels.loudness("informed")


def published_gain_db(loudness_lufs: float, peak_dbfs: float) -> float:
    """Return the gain of the published method: -50 LUFS, without exceeding -1 dBFS.

    Parameters
    ----------
    loudness_lufs
        Loudness of the track by the method compared (full band or inside its band).
    peak_dbfs
        Its sample peak.

    Returns
    -------
    float
        ``min(-50 - loudness_lufs, -1 - peak_dbfs)``; 0 for silence, which it leaves undefined.

    Examples
    --------
    >>> published_gain_db(-20.0, -3.0)
    -30.0
    """
    gain_db = min(_PUBLISHED_TARGET_LUFS - loudness_lufs, _PUBLISHED_PEAK_DBFS - peak_dbfs)
    return gain_db if math.isfinite(gain_db) else 0.0


def balance(
    features: Sequence[Levels],
    recognitions: Sequence[Recognition],
    overrides: Sequence[TrackOverrides | None] | None = None,
    *,
    method: str = "sones",
    relations: Relations | None = None,
    offsets: Offsets | None = None,
) -> tuple[TrackBalance, ...]:
    """Decide the gain and the polarity of every track of a session.

    Parameters
    ----------
    features, recognitions, overrides
        One entry a track, in the same order.
    method
        The loudness that is made equal: any that ``features`` knows.
    relations
        What was measured between the tracks: what is correlated is not counted twice. Without it
        names alone say what is one source, and its tracks are summed in power.
    offsets
        Levels other than ours, as :func:`stage1.balance.offsets.offset_table` takes them.

    Returns
    -------
    tuple of TrackBalance
        In the order given. Gains stay from -50 to 30 dB before the user's offset is added and the
        stem is lowered for headroom.

    Raises
    ------
    ValueError
        Where the sequences differ in length or order.
    """
    wishes = overrides if overrides is not None else [None] * len(features)
    if not len(features) == len(recognitions) == len(wishes):
        raise ValueError(
            f"{len(features)} features, {len(recognitions)} recognitions, {len(wishes)} overrides"
        )
    for levels, record in zip(features, recognitions, strict=True):
        if levels.name != record.name:
            raise ValueError(f"features of {levels.name!r} stand beside {record.name!r}")
    table = offset_table(offsets)
    muted = [override is not None and override.mute for override in wishes]
    loudness = [balanced_lufs(levels, method) for levels in features]
    audible = [math.isfinite(lufs) and not mute for lufs, mute in zip(loudness, muted, strict=True)]
    related = by_kinship(recognitions, relations)
    turned = polarities(related, wishes, relations)
    groups = source_groups(related, audible=audible, relations=relations)
    own = offset_table()
    inverted = [flip for flip, _ in turned]
    own_shares = shares = _shares(groups, related, relations, inverted, own)
    if table != own:
        shares = _shares(groups, related, relations, inverted, table)
    level = _pair_loudness(related, loudness, halves(related))
    result = []
    for index, record in enumerate(recognitions):
        override = wishes[index]
        user_db = override.gain_offset_db if override is not None else 0.0
        share, with_others = shares.get(index, (0.0, ""))
        asked = own_shares.get(index, (0.0, ""))[0]
        own_target = own["working"]["lufs"] + own["role"].get(record.role, 0.0) + asked
        quiet = features[index].loudness("informed") < table["limits"]["quiet_lufs"]
        gain_db, target, reason = _decide(
            record,
            level[index],
            share,
            with_others,
            table,
            own_target=own_target,
            quiet=quiet,
            method=method,
        )
        requested_db = user_db + (0.0 if math.isnan(target) else target - own_target)
        if user_db:
            gain_db += user_db
            reason += f"; {user_db:+g} dB from session.toml"
        invert, why = turned[index]
        if why:
            reason += f"; {why}"
        result.append(
            TrackBalance(
                record.name,
                gain_db,
                target,
                reason,
                muted[index],
                invert,
                requested_db=requested_db,
            )
        )
    return _with_headroom(result, features, recognitions, groups, relations)


def _inside_source(record: Recognition, table: Offsets, *, is_room_source: bool) -> float:
    """Return the level of a microphone or double against the one that leads its source."""
    # Where every microphone of a source is a room there is no nearer one to support.
    level = 0.0 if is_room_source else table["position"].get(record.position, 0.0)
    if record.is_double:
        level += table["double"]["offset"]
    return level


def _shares(
    groups: Sequence[Sequence[int]],
    recognitions: Sequence[Recognition],
    relations: Relations | None,
    inverted: Sequence[bool],
    table: Offsets,
) -> dict[int, tuple[float, str]]:
    """Return what each track gives so that the sum of its source keeps one source's level.

    A double that is alone in its source (the track it doubles is named otherwise) stays a double.
    """
    shares: dict[int, tuple[float, str]] = {}
    for members in groups:
        all_far = all(
            recognitions[i].role == Role.ROOM or recognitions[i].position == "room" for i in members
        )
        levels = {
            index: _inside_source(recognitions[index], table, is_room_source=all_far)
            - 20.0 * math.log10(copies)
            for index, copies in copy_counts(members, recognitions, relations).items()
        }
        total = coherent_level(levels, recognitions, relations=relations, inverted=inverted)
        only_doubles = all(recognitions[index].is_double for index in members)
        kept = table["double"]["offset"] if only_doubles else 0.0
        for index, level in levels.items():
            shares[index] = (level - total + kept, _companions(index, members, recognitions))
    return shares


def _companions(index: int, members: Sequence[int], recognitions: Sequence[Recognition]) -> str:
    """Return in words what a track is a part of."""
    mine = recognitions[index].source
    others = [i for i in members if i != index]
    if others and all(recognitions[i].source != mine for i in others):
        return f"the same sound as {recognitions[others[0]].name!r}"
    return f"part of {mine!r}"


def _pair_loudness(
    recognitions: Sequence[Recognition],
    loudness: Sequence[float],
    named_pairs: Sequence[tuple[int, int]],
) -> list[float]:
    """Return each track's loudness; the halves of a stereo recording share their mean power."""
    pairs: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, record in enumerate(recognitions):
        if record.side:
            key = (record.subgroup, record.source, record.position, record.is_double)
            pairs[key].append(index)
    recognised = [
        members
        for members in pairs.values()
        if {recognitions[i].side for i in members} == {"left", "right"}
    ]
    level = list(loudness)
    # What is recognised comes last: it may know more than two halves.
    for members in [*map(list, named_pairs), *recognised]:
        audible = [index for index in members if math.isfinite(loudness[index])]
        if len(audible) < 2:
            continue
        mean = power_to_db(sum(10.0 ** (loudness[i] / 10.0) for i in audible) / len(audible))
        for index in audible:
            if recognitions[index].role not in _PERFORMED_TWICE:
                level[index] = mean
    return level


def _decide(
    record: Recognition,
    lufs: float,
    share: float,
    with_others: str,
    table: Offsets,
    *,
    own_target: float,
    quiet: bool,
    method: str,
) -> tuple[float, float, str]:
    """Return gain, target and reason of one track, before the user's own offset.

    The bounds are for what is decided here; levels that the user set come on top of them.
    """
    if not math.isfinite(lufs):
        return 0.0, math.nan, "silent: left as it is"
    role = table["role"].get(record.role, 0.0)
    presence = table["presence"][record.presence]
    target = table["working"]["lufs"] + role + presence + share
    parts = [f"{record.role.replace('_', ' ')} to {target:.1f} LUFS{_MEASURED_AS.get(method, '')}"]
    if role:
        parts.append(f"{role:+g} LU for the role")
    if record.presence != Presence.NORMAL:
        parts.append(f"{presence:+g} LU as {record.presence.value}")
    if abs(share) > 0.05:
        parts.append(f"{share:+.1f} LU as {with_others}")
    gain_db = own_target - lufs
    most, least = table["limits"]["gain_db"], -table["limits"]["cut_db"]
    if quiet and gain_db > table["limits"]["quiet_gain_db"]:
        gain_db = table["limits"]["quiet_gain_db"]
        parts.append(f"only {gain_db:+g} dB, as {lufs:.0f} LUFS is hardly more than noise")
    elif not least <= gain_db <= most:
        gain_db = min(max(gain_db, least), most)
        parts.append(f"held at {gain_db:+g} dB")
    gain_db += target - own_target
    return gain_db, target, ", ".join(parts)


def _with_headroom(
    balances: Sequence[TrackBalance],
    features: Sequence[Levels],
    recognitions: Sequence[Recognition],
    groups: Sequence[Sequence[int]],
    relations: Relations | None,
) -> tuple[TrackBalance, ...]:
    """Lower all tracks of a stem alike where its peak would stand above -3 dBFS.

    Peaks are summed as levels are: in power, and what is correlated in amplitude.
    """
    inverted = [track.invert for track in balances]
    power: dict[str, float] = defaultdict(float)
    for members in groups:
        stems = {recognitions[index].subgroup for index in members}
        for stem in stems:
            peaks = {
                index: features[index].true_peak_dbtp + balances[index].gain_db
                for index in members
                if recognitions[index].subgroup == stem
            }
            level = coherent_level(peaks, recognitions, relations=relations, inverted=inverted)
            power[stem] += 10.0 ** (level / 10.0)
    trims = {
        stem: min(power_to_db(total) - _STEM_PEAK_DBFS, _MOST_TRIM_DB)
        for stem, total in power.items()
    }
    result = []
    for track, record in zip(balances, recognitions, strict=True):
        trim = trims.get(record.subgroup, 0.0)
        if trim > 0.0 and not math.isnan(track.target_lufs):
            note = f"; {-trim:.1f} dB with all of its stem, for headroom"
            track = replace(
                track,
                gain_db=track.gain_db - trim,
                trim_db=-trim,
                reason=track.reason + note,
            )
        result.append(track)
    return tuple(result)
