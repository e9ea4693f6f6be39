"""Tracks that are one source: which they are, whose polarity is turned, how loud their sum is.

Names say first which tracks belong together; what was measured confirms it, parts what never sounds
alike, and joins what is the same sound under two names.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pipeline.roles import SUBGROUP_OF, Role
from pipeline.session.settings import TrackOverrides
from pipeline.units import power_to_db
from stage1.recognition.recognise import Recognition, recognise
from stage1.sources.classify import is_flipped

if TYPE_CHECKING:
    from stage1.sources.records import Relations

__all__ = [
    "ONE_SOUND_COHERENCE",
    "by_kinship",
    "coherent_level",
    "copy_counts",
    "halves",
    "polarities",
    "source_groups",
]

# Envelopes of one source are alike; under this two tracks share a name by chance.
_UNLIKE = 0.5
# So alike are envelopes of what is named for two sources and may still be one.
_ALIKE = 0.75
# A half that is so much less like the rest of its source than like its other half.
_AMONG_STRANGERS = 0.15
ONE_SOUND_COHERENCE = 0.45
"""Tracks of at least this coherence are one sound, whatever their names say."""


_SIDES = {"l": "r", "left": "right", "links": "rechts", "gauche": "droite", "izq": "der"}
_SIDE = re.compile(
    rf"(?<![A-Za-z])(?i:{'|'.join(_SIDES)})(?![A-Za-z])|(?<=[a-z])(?:L|Left)(?![A-Za-z])"
)


def halves(recognitions: Sequence[Recognition]) -> list[tuple[int, int]]:
    """Return the tracks whose names differ in nothing but left and right, whatever their roles.

    Returns
    -------
    list of (int, int)
        Indices, the left half first.

    Examples
    --------
    >>> from stage1.recognition.recognise import recognise
    >>> halves(recognise(["OH R.wav", "Kick.wav", "OH L.wav"]))
    [(2, 0)]
    """
    place = {record.name.lower(): index for index, record in enumerate(recognitions)}
    pairs = []
    for left, record in enumerate(recognitions):
        name = record.name
        for side in _SIDE.finditer(name):
            other = name[: side.start()] + _SIDES[side[0].lower()] + name[side.end() :]
            right = place.get(other.lower())
            if right is not None:
                pairs.append((left, right))
    return pairs


def by_kinship(
    recognitions: Sequence[Recognition], relations: Relations | None
) -> tuple[Recognition, ...]:
    """Return what each track counts as among the microphones, halves and doubles of its source.

    A wrong role must not take a track from the source that it was recorded from: the others would
    be raised to make good for it. Where its role is not the one that its name tells, it still
    counts as named if it sounds when the others of that name do; and it joins the source that its
    role tells only if it sounds when that does. A copy counts as what it is a copy of.

    Parameters
    ----------
    recognitions
        One a track, with the roles that are believed.
    relations
        What was measured between them; without it roles are all that is known.

    Returns
    -------
    tuple of Recognition
        In the same order, as :func:`source_groups` and :func:`coherent_level` want them.
    """
    named = recognise([record.name for record in recognitions])
    siblings: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in named:
        siblings[record.subgroup, record.source].append(record.name)
    believed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in recognitions:
        believed[record.subgroup, record.source].append(record.name)

    def likest(name: str, others: Sequence[str]) -> float:
        if relations is None:
            return math.nan
        known = [relations.likeness_of(name, other) for other in others if other != name]
        return max((alike for alike in known if not math.isnan(alike)), default=math.nan)

    result = []
    for record, by_name in zip(recognitions, named, strict=True):
        if record.role == by_name.role:
            # The user may have parted a source's microphones by stems of their own.
            result.append(by_name if record.subgroup == by_name.subgroup else record)
        elif relations is None or record.subgroup != SUBGROUP_OF[record.role]:
            result.append(record)
        elif likest(record.name, siblings[by_name.subgroup, by_name.source]) >= _UNLIKE:
            result.append(by_name)
        elif (
            by_name.role == Role.UNKNOWN
            or likest(record.name, believed[record.subgroup, record.source]) >= _ALIKE
        ):
            result.append(record)
        else:
            result.append(replace(record, source=f"{record.source} {record.name}"))
    place = {record.name: index for index, record in enumerate(named)}
    for relation in relations.pairs if relations is not None else ():
        if relation.one_recording:
            original, copy = place[relation.first], place[relation.second]
            if named[original].confidence < named[copy].confidence:
                original, copy = copy, original
            twin = result[original]
            result[copy] = replace(
                result[copy], role=twin.role, position=twin.position, is_double=twin.is_double
            )
    return tuple(result)


def copy_counts(
    members: Sequence[int], recognitions: Sequence[Recognition], relations: Relations | None
) -> dict[int, int]:
    """Return for each track of a source how many of its tracks are that recording: 1 or more."""
    pairs = {
        frozenset({relation.first, relation.second})
        for relation in (relations.pairs if relations is not None else ())
        if relation.one_recording
    }
    return {
        index: 1
        + sum(
            frozenset({recognitions[index].name, recognitions[other].name}) in pairs
            for other in members
            if other != index
        )
        for index in members
    }


def source_groups(
    recognitions: Sequence[Recognition],
    *,
    audible: Sequence[bool],
    relations: Relations | None = None,
) -> list[list[int]]:
    """Return the tracks that share one source's level.

    Parameters
    ----------
    recognitions
        One a track.
    audible
        Whether each sounds: silent and muted tracks belong nowhere.
    relations
        What was measured between them; without it names alone decide.

    Returns
    -------
    list of list of int
        Indices in ascending order.
    """
    parent = list(range(len(recognitions)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    def join(first: int, second: int) -> None:
        low, high = sorted((root(first), root(second)))
        parent[high] = low

    named: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, record in enumerate(recognitions):
        if audible[index]:
            named[record.subgroup, record.source].append(index)
    pairs = [pair for pair in halves(recognitions) if audible[pair[0]] and audible[pair[1]]]
    strays = {_stray(pair, named, recognitions, relations) for pair in pairs}
    for members in named.values():
        settled = [index for index in members if index not in strays]
        for first, second in combinations(settled, 2):
            if _belong(recognitions[first], recognitions[second], relations):
                join(first, second)
    for first, second in pairs:
        join(first, second)
    if relations is not None:
        place = {record.name: index for index, record in enumerate(recognitions)}
        for relation in relations.pairs:
            first, second = place[relation.first], place[relation.second]
            sure = relation.one_recording or relation.coherence >= ONE_SOUND_COHERENCE
            if sure and audible[first] and audible[second]:
                join(first, second)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, is_audible in enumerate(audible):
        if is_audible:
            groups[root(index)].append(index)
    return list(groups.values())


def _stray(
    pair: tuple[int, int],
    named: Mapping[tuple[str, str], Sequence[int]],
    recognitions: Sequence[Recognition],
    relations: Relations | None,
) -> int:
    """Return which half of a pair is taken for another source than it is; -1 for neither."""
    keys = [(recognitions[index].subgroup, recognitions[index].source) for index in pair]
    if relations is None or keys[0] == keys[1]:
        return -1
    fits = []
    for index, key in zip(pair, keys, strict=True):
        name = recognitions[index].name
        others = [recognitions[other].name for other in named[key] if other != index]
        alike = np.array([relations.likeness_of(name, other) for other in others])
        fits.append(float(np.nanmean(alike)) if np.isfinite(alike).any() else math.nan)
    if not any(map(math.isnan, fits)):
        return pair[int(np.argmin(fits))]
    # One is alone: either it lost its source, or its half is among strangers.
    alike_pair = relations.likeness_of(*(recognitions[index].name for index in pair))
    for index, fit in zip(pair, fits, strict=True):
        if fit < alike_pair - _AMONG_STRANGERS:
            return index
    return -1


def _belong(first: Recognition, second: Recognition, relations: Relations | None) -> bool:
    """Whether what was measured lets two tracks of one recognised source be one."""
    # A double may sing a few lines only, and is no less a double.
    if relations is None or first.is_double or second.is_double:
        return True
    alike = relations.likeness_of(first.name, second.name)
    return not alike < _UNLIKE  # NaN says nothing against the names


def polarities(
    recognitions: Sequence[Recognition],
    overrides: Sequence[TrackOverrides | None],
    relations: Relations | None,
) -> list[tuple[bool, str]]:
    """Return for each track whether its polarity is turned over, and why.

    Parameters
    ----------
    recognitions, overrides
        One entry a track; ``invert`` of an override always wins.
    relations
        What was measured between the tracks.

    Returns
    -------
    list of (bool, str)
        In the order given; the reason is empty where nothing was decided.
    """
    place = {record.name: index for index, record in enumerate(recognitions)}
    result = [(False, "")] * len(recognitions)
    for relation in relations.pairs if relations is not None else ():
        first, second = place[relation.first], place[relation.second]
        if relation.fault and is_flipped(relation, recognitions[first], recognitions[second]):
            result[second] = (
                True,
                f"polarity turned over: inverted against {relation.first!r} "
                f"(correlation {relation.correlation:.2f})",
            )
    for index, override in enumerate(overrides):
        if override is not None and override.invert is not None:
            state = "polarity turned over" if override.invert else "polarity kept"
            result[index] = (override.invert, f"{state} by session.toml")
    return result


def coherent_level(
    levels_db: Mapping[int, float],
    recognitions: Sequence[Recognition],
    *,
    relations: Relations | None = None,
    inverted: Sequence[bool] | None = None,
) -> float:
    """Return the level of a source: the power of the sum of its tracks, as they correlate.

    The sum over all i and j of gᵢ·gⱼ·ρᵢⱼ, with ρ as :attr:`Relation.counted` says; 0 for what was
    not measured, for halves that go to opposite sides, and for what a user turned over to cancel.

    Parameters
    ----------
    levels_db
        Level of each of the tracks, by index.
    recognitions
        One for every track of the session.
    relations
        What was measured between them.
    inverted
        Whose polarity is turned over.

    Returns
    -------
    float
        In dB.

    Examples
    --------
    Two tracks that were not measured sum in power.

    >>> from stage1.recognition.recognise import recognise
    >>> round(coherent_level({0: 0.0, 1: 0.0}, recognise(["Gtr 57.wav", "Gtr 121.wav"])), 2)
    3.01
    """
    total = sum(10.0 ** (level / 10.0) for level in levels_db.values())
    for first, second in combinations(levels_db, 2):
        a, b = recognitions[first], recognitions[second]
        relation = relations.between(a.name, b.name) if relations is not None else None
        if relation is None or {a.side, b.side} == {"left", "right"}:
            continue
        turned = inverted is not None and inverted[first] != inverted[second]
        rho = 0.0 if turned and not relation.inverted else relation.counted
        total += 2.0 * rho * 10.0 ** ((levels_db[first] + levels_db[second]) / 20.0)
    return power_to_db(total)
