"""What a track is, by its sound alone: for tracks whose name says nothing.

A small forest and a linear model, trained on recordings and on synthesised tracks by
:mod:`stage1.recognition.training.train`, look at :mod:`stage1.timbre.descriptors`'s descriptors.
The forest tells subgroups apart, the linear model roles as well; what both say is averaged and
calibrated on sources that neither had heard. A track unlike all that was trained on is not judged
with confidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from pipeline.roles import SUBGROUP_OF, Role, Subgroup
from pipeline.units import Float64Array
from stage1.timbre.descriptors import TIMBRE_NAMES

__all__ = [
    "CLASSES",
    "CLASS_OF",
    "CONFIDENT",
    "SUBGROUPS",
    "WEIGHTS",
    "Audible",
    "SoundRole",
    "hear",
]


WEIGHTS = Path(__file__).parent / "weights" / "sound.safetensors"

CONFIDENT = 0.5
"""From this confidence on, a track's sound may decide what it is."""

WIDE_DB = -12.0
"""Side against mid: a voice this wide is a stack of backing vocals rather than the lead."""

SPREAD_LIMIT = 4.0
"""Descriptors are clipped this many spreads from their mean, in training as here."""

CLASSES: tuple[Role, ...] = (
    Role.KICK,
    Role.SNARE,
    Role.CLAP,
    Role.TOM,
    Role.HI_HAT,
    Role.CYMBAL,
    Role.DRUM_KIT,
    Role.PERCUSSION,
    Role.SHAKER,
    Role.TAMBOURINE,
    Role.BASS,
    Role.SYNTH_BASS,
    Role.ELECTRIC_GUITAR,
    Role.ACOUSTIC_GUITAR,
    Role.PLUCKED,
    Role.PIANO,
    Role.ELECTRIC_PIANO,
    Role.ORGAN,
    Role.MALLET,
    Role.SYNTH,
    Role.SYNTH_PAD,
    Role.STRINGS,
    Role.BRASS,
    Role.WOODWIND,
    Role.LEAD_VOCAL,
    Role.EFFECT,
)
"""The roles that are told apart; the order is that of the linear model's outputs."""

CLASS_OF: Mapping[Role, Role] = {
    **{role: role for role in CLASSES},
    Role.OVERHEAD: Role.DRUM_KIT,
    Role.ROOM: Role.DRUM_KIT,
    Role.LEAD_GUITAR: Role.ELECTRIC_GUITAR,
    Role.KEYS: Role.ELECTRIC_PIANO,
    Role.SYNTH_LEAD: Role.SYNTH,
    Role.ARPEGGIO: Role.SYNTH,
    Role.VIOLIN: Role.STRINGS,
    Role.VIOLA: Role.STRINGS,
    Role.CELLO: Role.STRINGS,
    Role.TRUMPET: Role.BRASS,
    Role.TROMBONE: Role.BRASS,
    Role.HORN: Role.BRASS,
    Role.TUBA: Role.BRASS,
    Role.SAXOPHONE: Role.WOODWIND,
    Role.FLUTE: Role.WOODWIND,
    Role.REED: Role.WOODWIND,
    Role.VOCAL_DOUBLE: Role.LEAD_VOCAL,
    Role.BACKING_VOCAL: Role.LEAD_VOCAL,
    Role.CHOIR: Role.LEAD_VOCAL,
    Role.AMBIENCE: Role.EFFECT,
    Role.SAMPLE: Role.EFFECT,
}
"""The class that each role is trained as: what cannot be told apart is one."""

SUBGROUPS: tuple[Subgroup, ...] = tuple(dict.fromkeys(SUBGROUP_OF[role] for role in CLASSES))
"""The subgroups that are told apart; ``lead_vocals`` stands for all voices."""

_IMAGE = 3
_SIDE_TO_MID = TIMBRE_NAMES.index("side_to_mid")


class Audible(Protocol):
    """What knows how a track sounds, as a record of its features does."""

    @property
    def timbre(self) -> Sequence[float]:
        """The values of :func:`stage1.timbre.descriptors.measure_timbre`."""
        ...


@dataclass(frozen=True)
class SoundRole:
    """What a track is taken for by its sound.

    Parameters
    ----------
    role
        The likeliest role of the likeliest subgroup; ``unknown`` for silence.
    subgroup
        The likeliest subgroup. The sound of one track does not tell a lead from a backing vocal:
        a wide voice is called backing.
    confidence
        The chance that the subgroup is right, 0 to 1, lead and backing vocals counted as one; from
        :data:`CONFIDENT` on it may be relied upon.
    scores
        The chance of each subgroup; they add up to 1 (empty for silence).
    """

    role: Role
    subgroup: str
    confidence: float
    scores: dict[str, float]


def hear(features: Audible) -> SoundRole:
    """Tell what a track is from its sound.

    Parameters
    ----------
    features
        Anything with the track's ``timbre``.

    Returns
    -------
    SoundRole

    Raises
    ------
    ValueError
        If ``timbre`` has not one value for each of :data:`stage1.timbre.descriptors.TIMBRE_NAMES`.
    """
    timbre = np.asarray(features.timbre, np.float64)
    if timbre.shape != (len(TIMBRE_NAMES),):
        msg = f"expected {len(TIMBRE_NAMES)} descriptors, got {timbre.size}: analyse again"
        raise ValueError(msg)
    if not timbre.any():
        return SoundRole(Role.UNKNOWN, Subgroup.OTHER.value, 0.0, {})
    weights = _weights(WEIGHTS)
    z = standardised(timbre[:-_IMAGE], weights)
    of_roles = linear_probabilities(z, weights)
    chances = calibrated(of_roles @ membership(), forest_probabilities(z, weights), weights)
    best = SUBGROUPS[int(chances.argmax())]
    inside = np.array([SUBGROUP_OF[role] == best for role in CLASSES])
    role = CLASSES[int(np.where(inside, of_roles, -1.0).argmax())]
    confidence = float(chances.max() * familiarity(z, weights))
    scores = {group.value: round(float(p), 6) for group, p in zip(SUBGROUPS, chances, strict=True)}
    if best == Subgroup.LEAD_VOCALS and timbre[_SIDE_TO_MID] > WIDE_DB:
        scores[Subgroup.BACKING_VOCALS.value] = scores.pop(Subgroup.LEAD_VOCALS.value)
        role, best = Role.BACKING_VOCAL, Subgroup.BACKING_VOCALS
    return SoundRole(role, best.value, round(confidence, 4), scores)


Weights = Mapping[str, npt.NDArray[Any]]


@cache
def _weights(path: Path) -> Weights:
    return load_file(path)


def membership() -> Float64Array:
    """Return ``(classes, subgroups)``: 1 where a role belongs to a subgroup."""
    return np.array([[float(SUBGROUP_OF[r] == g) for g in SUBGROUPS] for r in CLASSES])


def standardised(timbre: Float64Array, weights: Weights) -> Float64Array:
    """Return descriptors without the image, ``(..., descriptors)``, in clipped spreads."""
    z = (timbre - weights["centre"]) / weights["spread"]
    return np.asarray(np.clip(z, -SPREAD_LIMIT, SPREAD_LIMIT), np.float64)


def linear_probabilities(z: Float64Array, weights: Weights) -> Float64Array:
    """Return the chance of each of :data:`CLASSES`, ``(..., classes)``, by the linear model."""
    x = z @ weights["linear_weight"].astype(np.float64) + weights["linear_bias"]
    p = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def forest_probabilities(z: Float64Array, weights: Weights) -> Float64Array:
    """Return the chance of each of :data:`SUBGROUPS`, ``(..., subgroups)``: mean of the trees."""
    feature, limit = weights["tree_feature"].astype(int), weights["tree_limit"]
    child, leaf = weights["tree_child"].astype(int), weights["tree_leaf"]
    trees = np.arange(feature.shape[0])
    flat = z.reshape(-1, z.shape[-1]).astype(np.float32)
    node = np.zeros((len(flat), len(trees)), int)
    # The right child follows the left one; a leaf is its own child.
    while True:
        left = child[trees, node]
        is_leaf = left == 0
        if is_leaf.all():
            break
        goes = np.take_along_axis(flat, feature[trees, node], axis=1) > limit[trees, node]
        node = np.where(is_leaf, node, left + goes)
    p = leaf[trees, node].astype(np.float64)  # (tracks, trees, subgroups)
    p /= p.sum(axis=-1, keepdims=True)
    return np.asarray(p.mean(axis=1).reshape(*z.shape[:-1], len(SUBGROUPS)))


def calibrated(linear: Float64Array, forest: Float64Array, weights: Weights) -> Float64Array:
    """Return the mixture of both, its logarithm divided by the calibrated temperature."""
    share, temperature = (float(v) for v in weights["calibration"])
    p = np.maximum(share * linear + (1.0 - share) * forest, 1e-6) ** (1.0 / temperature)
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def strangeness(z: Float64Array, weights: Weights) -> Float64Array:
    """Return the Mahalanobis distance to the nearest subgroup, squared, per dimension."""
    means, whitening = weights["group_mean"], weights["whitening"]
    away = (z[..., None, :] - means) @ whitening.astype(np.float64)
    return np.asarray((away**2).mean(axis=-1).min(axis=-1))


def familiarity(z: Float64Array, weights: Weights) -> Float64Array:
    """Return 1 within the range of what was trained on, less the farther a track is outside."""
    limit = float(weights["strange_limit"][0])
    return np.asarray(np.minimum(1.0, (limit / np.maximum(strangeness(z, weights), 1e-9)) ** 2))
