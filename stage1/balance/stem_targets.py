"""The level intended for each stem of an ensemble, against the whole mix.

A wrong role now and then must not turn the ensemble round: what a few tracks of many say of the
kind of music counts for as much as their share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pipeline.roles import SUBGROUP_OF, Role, Subgroup
from pipeline.units import power_to_db
from stage1.balance.offsets import Offsets, offset_table

__all__ = ["requested_levels", "stem_targets"]

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
_PLAYED = frozenset({Subgroup.GUITARS, Subgroup.WINDS, Subgroup.STRINGS})
_BASSES = frozenset({Role.BASS, Role.SYNTH_BASS, Role.DOUBLE_BASS})
# An accompanying stem of fewer than so many of a session's tracks takes less of the common place.
_FULL_SHARE = 0.15
# What fewer than so many of a session's tracks say of the kind of music is believed in part only.
_CERTAIN_SHARE = 0.25
# Backing vocals are named for a singer: where none is found he may be there by another name.
_BACKING_LEADS = 0.25
# Played against electronic tracks: from so few on it is no longer all electronic, and at as many
# not at all.
_STILL_ELECTRONIC, _NOT_ELECTRONIC = 0.1, 0.5


def stem_targets(
    roles: Mapping[str, Collection[Role]],
    *,
    leads: Collection[str] = (),
    offsets: Offsets | None = None,
) -> dict[str, float]:
    """Return the loudness intended for each stem against the whole mix.

    The table of ``offsets.toml`` is read for the ensemble at hand: without a singer an instrument
    leads; hats alone are no drum kit; several accompanying stems share their place.

    Parameters
    ----------
    roles
        The roles in each subgroup that sounds, best one a track, so that they can be counted; a
        subgroup of the user's own making is placed by its roles.
    leads
        Subgroups with a track of presence ``lead``: where nobody sings, no other stem takes the
        place in front. Presence itself is in the levels of the tracks.
    offsets
        Levels other than ours, as :func:`stage1.balance.offsets.offset_table` takes them.

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
    levels = offset_table(offsets)
    table, rule = levels["stem"], levels["ensemble"]
    kinds = {name: _kind(name, present) for name, present in roles.items()}
    everything = {role for present in roles.values() for role in present}
    present_kinds = set(kinds.values())
    level = {name: table[kind] for name, kind in kinds.items()}

    sung = {Subgroup.LEAD_VOCALS, Subgroup.DIALOGUE} & present_kinds
    front = {} if sung else _leading_stems(roles, kinds)
    if set(roles) & set(leads):
        front = {name: part for name, part in front.items() if name in leads}
    accompanying = {
        name: 1.0 - front.get(name, 0.0) for name, kind in kinds.items() if kind in _ACCOMPANIMENT
    }
    count = sum(len(present) for present in roles.values())
    places = sum(
        part * min(1.0, len(roles[name]) / (_FULL_SHARE * count))
        for name, part in accompanying.items()
    )
    if places > 1.0:
        share = rule["accompaniment_share"] * power_to_db(places)
        for name, part in accompanying.items():
            level[name] -= part * share
    for name, part in front.items():
        backing = sum(role == Role.BACKING_VOCAL for role in roles[name]) / len(roles[name])
        doubt = 0.0 if name in leads else backing * (1.0 - _BACKING_LEADS)
        level[name] += part * (1.0 - doubt) * rule["lead_instrument"]

    has_beat = bool(_BEAT & everything)
    electronic = _electronic(roles, kinds)
    basses = [role for present in roles.values() for role in present if role in _BASSES]
    uprights = basses.count(Role.DOUBLE_BASS)
    upright = _certainty(uprights, count) * uprights / len(basses) if basses else 0.0
    for name, kind in kinds.items():
        if kind == Subgroup.DRUMS:
            if not _BEAT & set(roles[name]):
                level[name] += rule["partial_drums"]
            else:
                level[name] += electronic * rule["electronic_drums"]
                level[name] += (1.0 - electronic) * upright * rule["acoustic_drums"]
        elif kind == Subgroup.BASS:
            level[name] += electronic * rule["electronic_bass"]
        elif kind == Subgroup.PERCUSSION and not has_beat:
            level[name] += rule["only_percussion"]

    total = power_to_db(sum(10.0 ** (lu / 10.0) for lu in level.values()))
    return {name: lu - total for name, lu in level.items()}


def requested_levels(roles: Mapping[str, Collection[Role]], offsets: Offsets) -> dict[str, float]:
    """Return by how much the user's levels of stems are over ours, in LU.

    Parameters
    ----------
    roles
        As :func:`stem_targets` takes them.
    offsets
        The user's levels.

    Examples
    --------
    >>> requested_levels({"drums": {Role.KICK}}, {"stem": {"drums": -1.0}})
    {'drums': 3.0}
    """
    own, wanted = offset_table()["stem"], offset_table(offsets)["stem"]
    kinds = {name: _kind(name, present) for name, present in roles.items()}
    return {name: wanted[kind] - own[kind] for name, kind in kinds.items()}


def _certainty(tracks: int, count: int) -> float:
    """Return how far so many of a session's tracks are believed, 0 to 1."""
    return min(1.0, tracks / (_CERTAIN_SHARE * count))


def _electronic(roles: Mapping[str, Collection[Role]], kinds: Mapping[str, Subgroup]) -> float:
    """Return how far the music is electronic, 0 to 1: synthesised, with hardly a played part."""
    synthesised = sum(
        kinds[name] == Subgroup.SYNTHS or role in _ELECTRONIC
        for name, present in roles.items()
        for role in present
    )
    played = sum(len(present) for name, present in roles.items() if kinds[name] in _PLAYED)
    if synthesised == 0:
        return 0.0
    share = played / (played + synthesised)
    pure = min(max((_NOT_ELECTRONIC - share) / (_NOT_ELECTRONIC - _STILL_ELECTRONIC), 0.0), 1.0)
    return pure * _certainty(synthesised, sum(len(present) for present in roles.values()))


def _kind(name: str, present: Collection[Role]) -> Subgroup:
    """Return the known subgroup that a stem is like: by its name, or by most of its roles."""
    if name in set(Subgroup):
        return Subgroup(name)
    kinds = [SUBGROUP_OF[role] for role in sorted(present)]
    return max(Subgroup, key=kinds.count) if kinds else Subgroup.OTHER


def _leading_stems(
    roles: Mapping[str, Collection[Role]],
    kinds: Mapping[str, Subgroup],
) -> dict[str, float]:
    """Return how far each stem leads an instrumental, 1 at most in all.

    The first that could lead takes the place as far as its tracks are many enough to be believed,
    and leaves the rest to the next. A percussion ensemble has nobody in front.
    """
    count = sum(len(present) for present in roles.values())
    claims = [
        (name, sum(role in group for role in present))
        for group in _LEADING_ROLES
        for name, present in roles.items()
    ]
    claims += [
        (name, len(roles[name]))
        for subgroup in _LEADING_SUBGROUPS
        for name, kind in kinds.items()
        if kind == subgroup
    ]
    parts: dict[str, float] = {}
    left = 1.0
    for name, tracks in claims:
        if tracks and left > 0.0:
            taken = left * _certainty(tracks, count)
            parts[name] = parts.get(name, 0.0) + taken
            left -= taken
    return parts
