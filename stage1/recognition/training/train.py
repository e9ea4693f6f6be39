"""Trains recognition by sound, and writes its weights and their card.

``python -m stage1.recognition.training.train FOLDER --out stage1/recognition/weights`` makes both
again from the recordings in ``FOLDER``; the same seed and the same versions of the libraries give
the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from pipeline.roles import SUBGROUP_OF
from stage1.recognition.classifier import CLASSES, CONFIDENT, SUBGROUPS, WEIGHTS, calibrated
from stage1.recognition.training.examples import TrainingSet, build_examples
from stage1.recognition.training.model import HeldOut, calibrate, fit, held_out
from stage1.recognition.training.recordings import CREDITS, Corpus
from stage1.timbre.descriptors import TIMBRE_NAMES

__all__ = ["card", "main", "scores", "train"]

SCALE = 0.8
"""Size of the training set of the weights that are shipped: 5,002 examples."""
LIBRARIES = ("numba", "numpy", "safetensors", "scikit-learn", "scipy")


def scores(held: HeldOut, calibration: Any) -> dict[str, Any]:
    """Return how right and how sure held-out judgements were: all, by source and by subgroup."""
    p = calibrated(held.linear, held.forest, {"calibration": calibration})
    right, sure_of = p.argmax(axis=1) == held.truth, p.max(axis=1) * held.familiar
    sure = sure_of >= CONFIDENT

    def of(use: Any) -> dict[str, Any]:
        both = use & sure
        return {
            "examples": int(use.sum()),
            "right": round(float(right[use].mean()), 3) if use.any() else None,
            "confident": round(float(sure[use].mean()), 3) if use.any() else None,
            "right_of_confident": round(float(right[both].mean()), 3) if both.any() else None,
        }

    return {
        "all": of(np.ones(len(right), np.bool_)),
        "recorded_tracks_as_they_are": of(held.plain),
        "by_least_confidence": {
            f"{least:g}": {
                "covers": round(float((sure_of >= least).mean()), 3),
                "right": round(float(right[sure_of >= least].mean()), 3),
            }
            for least in (0.3, 0.5, 0.7, 0.9)
            if (sure_of >= least).any()
        },
        "by_source": {s: of(held.sources == s) for s in sorted(set(held.sources.tolist()))},
        "by_subgroup": {g.value: of(held.truth == k) for k, g in enumerate(SUBGROUPS)},
    }


def train(data: TrainingSet, *, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit, calibrate and score.

    Parameters
    ----------
    data
        The training set.
    seed
        Of the models.

    Returns
    -------
    arrays : dict
        What goes into the weights' file.
    metrics : dict
        Scores on each source by models that had not heard it.
    """
    sources = sorted({source for source in data.sources if source != "synthesised"})
    held = held_out(data, sources, seed=seed)
    arrays = fit(data, use=np.ones(len(data.roles), np.bool_), seed=seed)
    arrays["calibration"] = calibrate(held)
    return arrays, scores(held, arrays["calibration"])


def card(
    weights: Path, corpus: Corpus, data: TrainingSet, metrics: dict[str, Any], *, seed: int,
    scale: float,
) -> dict[str, Any]:  # fmt: skip
    """Return what is to be known of the weights: data, licences, credits, hash and scores."""
    recordings = hashlib.sha256()
    for path in corpus.files():
        recordings.update(path.name.encode())
        recordings.update(hashlib.sha256(path.read_bytes()).digest())
    groups = Counter(SUBGROUP_OF[role].value for role in data.roles)
    return {
        "what": "Tells a track's role and subgroup from its sound.",
        "licence": "Apache-2.0",
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "input": list(TIMBRE_NAMES[:-3]),
        "roles": [role.value for role in CLASSES],
        "data": {
            source: {"examples": count, "credit": CREDITS[source]}
            for source, count in sorted(Counter(data.sources).items())
        },
        "data_sha256": recordings.hexdigest(),
        "examples_by_subgroup": dict(sorted(groups.items())),
        "held_out": {
            "how": "each source judged by models trained without it; the weights themselves were "
            "trained on all sources",
            "confident_from": CONFIDENT,
            **metrics,
        },
        "limits": "Lead and backing vocals are one class. Percussion, keys, synths, strings, winds "
        "and effects had one or two sources each: what held_out says of them is of models that had "
        "heard synthesised ones alone, and was seldom right.",
        "made_by": {"seed": seed, "scale": scale, **{name: version(name) for name in LIBRARIES}},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the training set, train, and write the weights and their card."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds sessions/, stems/ and oneshots*/")
    parser.add_argument("--out", type=Path, default=WEIGHTS.parent)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=SCALE, help="size of the training set")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    data = build_examples(
        options.folder, seed=options.seed, scale=options.scale, workers=options.workers
    )
    arrays, metrics = train(data, seed=options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / WEIGHTS.name
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, weights)
    weights.chmod(0o644)
    content = card(
        weights, Corpus(options.folder), data, metrics, seed=options.seed, scale=options.scale
    )
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    weights.with_suffix(".json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
