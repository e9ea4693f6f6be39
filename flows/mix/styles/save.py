"""The style of references, measured and written as a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flows.engines.local import LocalEngine
from flows.mix.steps.style import style_step
from flows.mix.steps.tracks import TrackJob, check_step
from flows.mix.styles.file import SavedReference, style_json
from flows.storage.locations import Place
from flows.storage.store import Store, chosen_root, made_whole
from pipeline.errors import InputError, Problem, Problems
from pipeline.report.html import write_whole
from pipeline.session.discovery import check_references

__all__ = ["save_style"]


def save_style(
    references: Sequence[Path],
    output: Path,
    *,
    store: Place | None = None,
    problems: Sequence[Problem] = (),
) -> Path:
    """Measure references and write their style, whole or not at all.

    Parameters
    ----------
    output
        The file, which must not exist.
    store
        The cache of steps; the user's own by default.
    problems
        What is wrong beside the references, to be said together with it.

    Raises
    ------
    InputError
        With everything that is wrong, before anything is written.
    """
    kept = chosen_root(store)
    found = Problems([*problems, *check_references(references), *Store.problems_of(kept)])
    found.raise_all()
    jobs = [TrackJob(path.absolute(), path.name, kept) for path in references]
    labels = [path.name for path in references]
    with LocalEngine() as engine:
        checks = engine.map(check_step, jobs, name="check", labels=labels)
        for path, check in zip(references, checks, strict=True):
            if check.failure is not None or check.silent:
                why = check.failure or "is silent"
                found.append(Problem(f"reference {path.name}", why, "name a recording with sound"))
        found.raise_all()
        measured = made_whole(
            lambda: engine.map(style_step, jobs, name="style", labels=labels), kept
        )
    local = Store(kept)
    quiet = [
        Problem(f"reference {path.name}", "is never over -70 LUFS", "name a recording with sound")
        for path, one in zip(references, measured, strict=True)
        if not math.isfinite(one.style.loudness_lufs)
    ]
    if quiet:
        raise InputError(quiet)
    saved = [
        SavedReference.of(path.name, one, np.load(local.local(one.windows)))
        for path, one in zip(references, measured, strict=True)
    ]
    write_whole(output, style_json(saved))
    return output
