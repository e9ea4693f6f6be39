"""Gains that balance the tracks of each subgroup, and the level intended for each stem.

Equal loudness inside a subgroup is the start. From it each role and microphone position departs by
the offsets of ``offsets.toml``, the microphones and doubles of one source share its level, and the
presence that the user asked for comes on top.
"""

from __future__ import annotations

import math
import tomllib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Protocol

from pipeline.roles import SUBGROUP_OF, Presence, Role, Subgroup
from pipeline.session_settings import TrackOverrides
from pipeline.units import power_to_db
from stage1.subgroups import Recognition

__all__ = [
    "Levels",
    "TrackBalance",
    "balance",
    "balanced_lufs",
    "published_gain_db",
    "stem_targets",
]

_PUBLISHED_TARGET_LUFS = -50.0
_PUBLISHED_PEAK_DBFS = -1.0

_BEAT = frozenset({Role.KICK, Role.SNARE, Role.DRUM_KIT, Role.OVERHEAD, Role.ROOM, Role.TOM})
_ACCOMPANIMENT = (
    Subgroup.GUITARS,
    Subgroup.KEYS,
    Subgroup.SYNTHS,
    Subgroup.WINDS,
    Subgroup.STRINGS,
)
# Who leads where nobody sings, in this order.
_LEADING_ROLES = (
    frozenset({Role.LEAD_GUITAR}),
    frozenset({Role.SYNTH_LEAD}),
    frozenset({Role.SAXOPHONE, Role.TRUMPET, Role.FLUTE}),
)
_LEADING_SUBGROUPS = (
    Subgroup.BACKING_VOCALS,
    Subgroup.WINDS,
    Subgroup.GUITARS,
    Subgroup.KEYS,
    Subgroup.SYNTHS,
    Subgroup.STRINGS,
)
_ELECTRONIC = frozenset({Role.SYNTH_BASS, Role.CLAP})
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
    """

    name: str
    gain_db: float
    target_lufs: float
    reason: str
    mute: bool = False


@cache
def _offsets() -> dict[str, dict[str, float]]:
    text = resources.files("stage1").joinpath("offsets.toml").read_text(encoding="utf-8")
    return {
        table: {key: float(value) for key, value in values.items() if key != "source"}
        for table, values in tomllib.loads(text).items()
    }


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
    method: str = "informed",
) -> tuple[TrackBalance, ...]:
    """Decide the gain of every track of a session.

    Parameters
    ----------
    features, recognitions, overrides
        One entry a track, in the same order.
    method
        The loudness that is made equal: any that ``features`` knows.

    Returns
    -------
    tuple of TrackBalance
        In the order given. Gains stay within ±30 dB before the user's offset is added.

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
    muted = [wish is not None and wish.mute for wish in wishes]
    loudness = [balanced_lufs(levels, method) for levels in features]
    heard = [math.isfinite(lufs) and not mute for lufs, mute in zip(loudness, muted, strict=True)]
    shares = _shares(recognitions, heard)
    level = _pair_loudness(recognitions, loudness)
    result = []
    for index, record in enumerate(recognitions):
        wish = wishes[index]
        user_db = wish.gain_offset_db if wish is not None else 0.0
        share = shares.get(index, 0.0)
        gain_db, target, reason = _decide(record, level[index], share)
        if user_db:
            gain_db += user_db
            reason += f"; {user_db:+g} dB from session.toml"
        result.append(TrackBalance(record.name, gain_db, target, reason, muted[index]))
    return tuple(result)


def _inside_source(record: Recognition) -> float:
    """Return the level of a microphone or double against the one that leads its source."""
    offsets = _offsets()
    level = offsets["position"].get(record.position, 0.0)
    if record.role == Role.ROOM:
        level = 0.0  # every microphone of this source is a room; the role has its own offset
    if record.is_double:
        level += offsets["double"]["offset"]
    return level


def _shares(recognitions: Sequence[Recognition], heard: Sequence[bool]) -> dict[int, float]:
    """Return what each track gives so that its source, in power sum, keeps one source's level.

    A double that is alone in its source (the track it doubles is named otherwise) stays a double.
    """
    sources: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, record in enumerate(recognitions):
        if heard[index]:
            sources[record.subgroup, record.source].append(index)
    shares: dict[int, float] = {}
    for members in sources.values():
        levels = {index: _inside_source(recognitions[index]) for index in members}
        total = power_to_db(sum(10.0 ** (level / 10.0) for level in levels.values()))
        only_doubles = all(recognitions[index].is_double for index in members)
        kept = _offsets()["double"]["offset"] if only_doubles else 0.0
        shares |= {index: level - total + kept for index, level in levels.items()}
    return shares


def _pair_loudness(recognitions: Sequence[Recognition], loudness: Sequence[float]) -> list[float]:
    """Return each track's loudness; the halves of a stereo recording share their mean power."""
    pairs: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, record in enumerate(recognitions):
        if record.side and record.role not in _PERFORMED_TWICE:
            key = (record.subgroup, record.source, record.position, record.is_double)
            pairs[key].append(index)
    level = list(loudness)
    for members in pairs.values():
        heard = [index for index in members if math.isfinite(loudness[index])]
        if len(heard) > 1 and {recognitions[i].side for i in heard} == {"left", "right"}:
            mean = sum(10.0 ** (loudness[i] / 10.0) for i in heard) / len(heard)
            for index in heard:
                level[index] = power_to_db(mean)
    return level


def _decide(record: Recognition, lufs: float, share: float) -> tuple[float, float, str]:
    """Return gain, target and reason of one track, before the user's own offset."""
    offsets = _offsets()
    if not math.isfinite(lufs):
        return 0.0, math.nan, "silent: left as it is"
    role = offsets["role"].get(record.role, 0.0)
    presence = offsets["presence"][record.presence]
    target = offsets["working"]["lufs"] + role + presence + share
    parts = [f"{record.role.replace('_', ' ')} to {target:.1f} LUFS"]
    if role:
        parts.append(f"{role:+g} LU for the role")
    if record.presence != Presence.NORMAL:
        parts.append(f"{presence:+g} LU as {record.presence.value}")
    if abs(share) > 0.05:
        parts.append(f"{share:+.1f} LU as part of {record.source!r}")
    gain_db = target - lufs
    limit = offsets["limits"]["gain_db"]
    if lufs < offsets["limits"]["quiet_lufs"] and gain_db > offsets["limits"]["quiet_gain_db"]:
        gain_db = offsets["limits"]["quiet_gain_db"]
        parts.append(f"only {gain_db:+g} dB, as {lufs:.0f} LUFS is hardly more than noise")
    elif abs(gain_db) > limit:
        gain_db = math.copysign(limit, gain_db)
        parts.append(f"held at {gain_db:+g} dB")
    return gain_db, target, ", ".join(parts)


def stem_targets(
    roles: Mapping[str, Collection[Role]],
    *,
    leads: Collection[str] = (),
) -> dict[str, float]:
    """Return the loudness intended for each stem against the whole mix.

    The table of ``offsets.toml`` is read for the ensemble at hand: without a singer an instrument
    leads; hats alone are no drum kit; several accompanying stems share their place.

    Parameters
    ----------
    roles
        The roles present in each subgroup that sounds; a subgroup of the user's own making is
        placed by its roles.
    leads
        Subgroups with a track of presence ``lead``: one of them leads where nobody sings.

    Returns
    -------
    dict of str to float
        LU relative to the mix, in the order given; their powers sum to the mix (0 LU).

    Examples
    --------
    >>> targets = stem_targets({"drums": {Role.KICK}, "lead_vocals": {Role.LEAD_VOCAL}})
    >>> round(targets["lead_vocals"] - targets["drums"], 1)
    4.0
    """
    offsets = _offsets()
    table, rule = offsets["stem"], offsets["ensemble"]
    kinds = {name: _kind(name, present) for name, present in roles.items()}
    everything = {role for present in roles.values() for role in present}
    present_kinds = set(kinds.values())
    level = {name: table[kind] for name, kind in kinds.items()}

    sung = {Subgroup.LEAD_VOCALS, Subgroup.DIALOGUE} & present_kinds
    front = None if sung else _leading_stem(roles, kinds, leads)
    accompanying = [
        name for name, kind in kinds.items() if kind in _ACCOMPANIMENT and name != front
    ]
    if len(accompanying) > 1:
        share = rule["accompaniment_share"] * power_to_db(len(accompanying))
        for name in accompanying:
            level[name] -= share
    if front is not None:
        level[front] += rule["lead_instrument"]

    has_beat = bool(_BEAT & everything)
    electronic = bool(_ELECTRONIC & everything or Subgroup.SYNTHS in present_kinds) and not (
        present_kinds & {Subgroup.GUITARS, Subgroup.WINDS, Subgroup.STRINGS}
    )
    for name, kind in kinds.items():
        if kind == Subgroup.DRUMS:
            if not _BEAT & set(roles[name]):
                level[name] += rule["partial_drums"]
            elif electronic:
                level[name] += rule["electronic_drums"]
            elif Role.DOUBLE_BASS in everything:
                level[name] += rule["acoustic_drums"]
        elif kind == Subgroup.BASS and electronic:
            level[name] += rule["electronic_bass"]
        elif kind == Subgroup.PERCUSSION and not has_beat:
            level[name] += rule["only_percussion"]

    total = power_to_db(sum(10.0 ** (lu / 10.0) for lu in level.values()))
    return {name: lu - total for name, lu in level.items()}


def _kind(name: str, present: Collection[Role]) -> Subgroup:
    """Return the known subgroup that a stem is like: by its name, or by most of its roles."""
    if name in set(Subgroup):
        return Subgroup(name)
    kinds = [SUBGROUP_OF[role] for role in sorted(present)]
    return max(Subgroup, key=kinds.count) if kinds else Subgroup.OTHER


def _leading_stem(
    roles: Mapping[str, Collection[Role]],
    kinds: Mapping[str, Subgroup],
    leads: Collection[str],
) -> str | None:
    """Return the stem that leads an instrumental, or None (a percussion ensemble, one stem)."""
    wanted = [name for name in roles if name in leads]
    if wanted:
        return wanted[0]
    for group in _LEADING_ROLES:
        for name, present in roles.items():
            if group & set(present):
                return name
    for subgroup in _LEADING_SUBGROUPS:
        for name, kind in kinds.items():
            if kind == subgroup:
                return name
    return None
