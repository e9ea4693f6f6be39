"""How well a balance did: how equally loud its tracks are, and how audible each is in its stem."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pipeline.units import power_to_db
from stage1.features import TrackFeatures
from stage1.loudness.narrowband import METHODS

__all__ = ["audibility_db", "spreads_lu"]

STRONG_BAND_DB = 10.0
"""A track's strongest bands are the third octaves within 10 dB of its strongest one."""


def spreads_lu(
    features: Sequence[TrackFeatures],
    subgroups: Sequence[str],
    gains_db: Sequence[float],
    targets_lufs: Sequence[float],
) -> dict[str, dict[str, float]]:
    """Return how far the loudness of a balance's tracks lies from what it meant, by each method.

    The deviation of a track is its loudness after the gain less the one that was aimed at, so
    that a room microphone meant to lie lower counts as equal. The spread is the standard
    deviation inside a subgroup.

    Parameters
    ----------
    features, subgroups
        Of each track.
    gains_db
        Of each track; NaN for one that is not heard.
    targets_lufs
        What the balance aimed at, apart from a gain of all tracks.

    Returns
    -------
    dict
        Method that judges → subgroup → LU, with ``"all"`` for the subgroups pooled; those of
        fewer than two tracks that sound have none, and NaN stands for no such subgroup at all.
    """
    found: dict[str, dict[str, float]] = {}
    for judge in METHODS:
        members: dict[str, list[float]] = defaultdict(list)
        for track, subgroup, gain_db, target in zip(
            features, subgroups, gains_db, targets_lufs, strict=True
        ):
            deviation = track.loudness(judge) + gain_db - target
            if math.isfinite(deviation):
                members[subgroup].append(deviation)
        several = {name: values for name, values in members.items() if len(values) > 1}
        found[judge] = {name: float(np.std(values)) for name, values in several.items()}
        squares = sum(len(v) * found[judge][name] ** 2 for name, v in several.items())
        count = sum(map(len, several.values()))
        found[judge]["all"] = math.sqrt(squares / count) if count else math.nan
    return found


def audibility_db(
    features: Sequence[TrackFeatures], subgroups: Sequence[str], gains_db: Sequence[float]
) -> tuple[float, ...]:
    """Return the level of each track against the rest of its stem in its own strongest bands.

    Powers are those of the time in which a track plays; of the rest, over the whole song.

    Parameters
    ----------
    features, subgroups
        Of each track.
    gains_db
        Of each track; NaN for one that is not heard.

    Returns
    -------
    tuple of float
        In dB; ``inf`` for a track that is alone, NaN for one that is silent or not heard.
    """
    power = np.array(
        [
            10.0 ** ((np.asarray(track.spectrum.third_octaves_db) + gain_db) / 10.0)
            if math.isfinite(gain_db) and not track.silent
            else np.zeros(len(track.spectrum.third_octaves_db))
            for track, gain_db in zip(features, gains_db, strict=True)
        ]
    )
    power = np.nan_to_num(power, nan=0.0)
    average = power * np.array([[track.extent.active_share] for track in features])
    result = []
    for index, subgroup in enumerate(subgroups):
        own = power[index]
        if not own.any():
            result.append(math.nan)
            continue
        strong = own >= own.max() * 10.0 ** (-STRONG_BAND_DB / 10.0)
        others = [i for i, name in enumerate(subgroups) if name == subgroup and i != index]
        rest = float(average[others][:, strong].sum())
        result.append(power_to_db(float(own[strong].sum()) / rest) if rest > 0.0 else math.inf)
    return tuple(result)
