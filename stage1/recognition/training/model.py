"""Fits the linear model, the forest and the calibration of recognition by sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression

from pipeline.roles import SUBGROUP_OF, Subgroup
from pipeline.units import Float64Array, IntArray
from stage1.recognition.classifier import (
    CLASSES,
    SUBGROUPS,
    calibrated,
    familiarity,
    forest_probabilities,
    linear_probabilities,
    membership,
    standardised,
    strangeness,
)
from stage1.recognition.training.examples import TrainingSet

__all__ = ["HeldOut", "calibrate", "fit", "held_out"]

Arrays = dict[str, npt.NDArray[Any]]

IMAGE = 3
PENALTY_INVERSE = 0.002
"""Strong: what is learnt has to hold for sources that were not heard."""
TREES = 100
LEAVES = 256
PRIOR: Mapping[Subgroup, float] = {
    Subgroup.DRUMS: 0.24,
    Subgroup.PERCUSSION: 0.07,
    Subgroup.BASS: 0.08,
    Subgroup.GUITARS: 0.17,
    Subgroup.KEYS: 0.09,
    Subgroup.SYNTHS: 0.09,
    Subgroup.STRINGS: 0.05,
    Subgroup.WINDS: 0.05,
    Subgroup.LEAD_VOCALS: 0.17,
    Subgroup.EFFECTS: 0.05,
}
"""How common each is among the tracks of a session: an assumption, no measurement."""
RECORDED_WEIGHT = 1.5
"""Of an example made from a recording, against a synthesised one."""
STRANGE_PERCENTILE = 90.0
"""Beyond it, held-out judgements are right little more than half as often as they are sure."""


@dataclass(frozen=True)
class HeldOut:
    """What is said of sources by models that did not hear them.

    Parameters
    ----------
    linear, forest
        ``(examples, subgroups)``.
    familiar
        What :func:`stage1.recognition.classifier.familiarity` says of each example.
    truth
        Indices into :data:`stage1.recognition.classifier.SUBGROUPS`.
    sources
        Of each example.
    plain
        Whether it is a recorded track as it is.
    """

    linear: Float64Array
    forest: Float64Array
    familiar: Float64Array
    truth: IntArray
    sources: npt.NDArray[np.str_]
    plain: npt.NDArray[np.bool_]


def _classes(data: TrainingSet) -> tuple[IntArray, IntArray]:
    roles = np.array([CLASSES.index(role) for role in data.roles])
    groups = np.array([SUBGROUPS.index(SUBGROUP_OF[role]) for role in data.roles])
    return roles, groups


def _weights(groups: IntArray, sources: npt.NDArray[np.str_]) -> Float64Array:
    weights = np.where(sources == "synthesised", 1.0, RECORDED_WEIGHT)
    totals = np.bincount(groups, weights, minlength=len(SUBGROUPS))
    prior = np.array([PRIOR[group] for group in SUBGROUPS])
    weights = weights / totals[groups] * prior[groups]
    return np.asarray(weights * len(weights) / weights.sum())


def fit(data: TrainingSet, *, use: npt.NDArray[np.bool_], seed: int) -> Arrays:
    """Fit all but the calibration to the examples ``use``.

    Parameters
    ----------
    data
        The training set.
    use
        Which of its examples.
    seed
        Of the forest's draws.

    Returns
    -------
    dict
        The arrays that :mod:`stage1.recognition.classifier` reads.
    """
    roles, groups = (labels[use] for labels in _classes(data))
    weights = _weights(groups, np.array(data.sources)[use])
    timbre = data.timbre[use, :-IMAGE].astype(np.float64)
    arrays: Arrays = {
        "centre": np.median(timbre, axis=0).astype(np.float32),
        "spread": (timbre.std(axis=0) + 1e-6).astype(np.float32),
        "calibration": np.array([0.5, 1.0], np.float32),
    }
    z = standardised(timbre, arrays)
    return (
        arrays
        | _linear(z, roles, weights)
        | _forest(z, groups, weights, seed=seed)
        | _familiar(z, groups)
    )


def _linear(z: Float64Array, roles: IntArray, weights: Float64Array) -> Arrays:
    """Return multinomial logistic regression on roles."""
    model = LogisticRegression(C=PENALTY_INVERSE, max_iter=500)
    model.fit(z, roles, sample_weight=weights)
    weight = np.zeros((z.shape[1], len(CLASSES)), np.float32)
    # A role of which there was no example is never heard.
    bias = np.full(len(CLASSES), -30.0, np.float32)
    columns = model.classes_.astype(int)
    weight[:, columns], bias[columns] = model.coef_.T, model.intercept_
    return {"linear_weight": weight, "linear_bias": bias}


def _forest(z: Float64Array, groups: IntArray, weights: Float64Array, *, seed: int) -> Arrays:
    """Return extremely randomised trees (Geurts, 2006) as arrays of equal length a tree."""
    # Thresholds are kept in half precision, so the trees are grown on such values.
    model = ExtraTreesClassifier(
        TREES, max_leaf_nodes=LEAVES, min_samples_leaf=2, max_features=0.15, random_state=seed
    )
    model.fit(z, groups, sample_weight=weights)
    nodes = max(tree.tree_.node_count for tree in model.estimators_)
    feature = np.zeros((TREES, nodes), np.uint8)
    limit = np.zeros((TREES, nodes), np.float16)
    child = np.zeros((TREES, nodes), np.uint16)
    leaf = np.zeros((TREES, nodes, len(SUBGROUPS)), np.uint8)
    columns = model.classes_.astype(int)
    for t, estimator in enumerate(model.estimators_):
        tree = estimator.tree_
        # Renumbered so that a right child follows its left one.
        order, place = [0], 0
        while place < len(order):
            old = order[place]
            if tree.children_left[old] >= 0:
                child[t, place] = len(order)
                feature[t, place] = tree.feature[old]
                limit[t, place] = tree.threshold[old]
                order += [tree.children_left[old], tree.children_right[old]]
            else:
                share = tree.value[old][0] / tree.value[old][0].sum()
                leaf[t, place, columns] = np.rint(255.0 * share)
            place += 1
    return {"tree_feature": feature, "tree_limit": limit, "tree_child": child, "tree_leaf": leaf}


def _familiar(z: Float64Array, groups: IntArray) -> Arrays:
    """Return the subgroups' means, what makes their common spread white, and the usual limit."""
    means = np.stack([z[groups == k].mean(axis=0) if (groups == k).any() else z.mean(axis=0)
                      for k in range(len(SUBGROUPS))])  # fmt: skip
    within = z - means[groups]
    covariance = within.T @ within / len(z)
    covariance = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance)
    whitening = vectors / np.sqrt(np.maximum(values, 1e-4))
    arrays: Arrays = {
        "group_mean": means.astype(np.float32),
        "whitening": whitening.astype(np.float16),
    }
    usual = np.percentile(strangeness(z, arrays), STRANGE_PERCENTILE)
    return arrays | {"strange_limit": np.array([usual], np.float32)}


def held_out(data: TrainingSet, sources: Sequence[str], *, seed: int) -> HeldOut:
    """Return what models say of each of ``sources`` that were fitted without it."""
    _, groups = _classes(data)
    where = np.array(data.sources)
    parts: list[tuple[Float64Array, ...]] = []
    for source in sources:
        test = where == source
        arrays = fit(data, use=~test, seed=seed)
        z = standardised(data.timbre[test, :-IMAGE].astype(np.float64), arrays)
        linear = linear_probabilities(z, arrays) @ membership()
        parts.append((linear, forest_probabilities(z, arrays), familiarity(z, arrays)))
    linear, forest, familiar = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.concatenate([np.flatnonzero(where == source) for source in sources])
    return HeldOut(linear, forest, familiar, groups[order], where[order], data.plain[order])


def calibrate(held: HeldOut) -> npt.NDArray[np.float32]:
    """Return the share of the linear model and the temperature of the least held-out surprise.

    Each source and subgroup counts by the root of its size.
    """
    cells = np.unique([f"{s}/{g}" for s, g in zip(held.sources, held.truth, strict=True)],
                      return_inverse=True)[1]  # fmt: skip
    prior = np.array([PRIOR[group] for group in SUBGROUPS])
    weights = prior[held.truth] / np.sqrt(np.bincount(cells)[cells])
    best = (np.inf, 0.5, 1.0)
    for share in np.linspace(0.0, 1.0, 11):
        for temperature in np.geomspace(0.25, 2.5, 31):
            setting: Mapping[str, Any] = {"calibration": np.array([share, temperature])}
            p = calibrated(held.linear, held.forest, setting)
            surprise = -np.log(p[np.arange(len(p)), held.truth])
            best = min(best, (float(np.average(surprise, weights=weights)), share, temperature))
    return np.array(best[1:], np.float32)
