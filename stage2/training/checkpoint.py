"""The folder of a training run: the checkpoint that it goes on from, and its curves."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import InputError, Problem

__all__ = ["HELD_OUT", "load_checkpoint", "run_problems", "save_checkpoint", "steps_done"]

HELD_OUT = "held out "
"""What the names of figures of songs held out begin with, in the curves."""

_CHECKPOINT, _CURVES = "checkpoint.pt", "curves.csv"
_REMEDY = "name a new folder, or delete this one"


def save_checkpoint(
    folder: Path, state: Mapping[str, Any], curves: Sequence[Mapping[str, float]]
) -> None:
    """Write a run's state and its curves, each whole or not at all."""
    part = folder / f".{_CHECKPOINT}.part"
    torch.save({**state, "curves": list(curves)}, part)
    part.replace(folder / _CHECKPOINT)
    names = list(dict.fromkeys(name for row in curves for name in row))
    part = folder / f".{_CURVES}.part"
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(curves)
    part.replace(folder / _CURVES)


def load_checkpoint(
    folder: Path, identity: Mapping[str, object], device: str
) -> dict[str, Any] | None:
    """Return the state of the folder's run, None where it has none yet.

    Parameters
    ----------
    identity
        What must be the same for the run to go on: its options and a hash of its songs.
    device
        Where tensors are to be.

    Raises
    ------
    InputError
        If the checkpoint is of another run, or damaged.
    """
    state = _read(folder / _CHECKPOINT, device)
    if state is not None and json.loads(state["identity"]) != json.loads(json.dumps(identity)):
        raise InputError([_of_another_run(folder / _CHECKPOINT)])
    return state


def run_problems(folder: Path, options: Mapping[str, object]) -> list[Problem]:
    """Return what keeps a run with these options from using a folder.

    Its songs, which may take long to make, are not looked at: :func:`load_checkpoint` does.
    """
    try:
        state = _read(folder / _CHECKPOINT, "cpu")
    except InputError as error:
        return list(error.problems)
    if state is not None:
        same = json.loads(state["identity"])["options"] == json.loads(json.dumps(options))
        return [] if same else [_of_another_run(folder / _CHECKPOINT)]
    if folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir()):
        return [Problem(str(folder), "holds files, and no training run", _REMEDY)]
    return []


def steps_done(folder: Path) -> int:
    """Return after how many steps the folder's run goes on, 0 where it has not begun."""
    state = _read(folder / _CHECKPOINT, "cpu")
    return 0 if state is None else int(state["step"])


def _read(path: Path, device: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
        json.loads(state["identity"])["options"]
    except Exception as error:  # torch raises many kinds for a file that is not its own
        problem = Problem(str(path), "is no checkpoint, or is damaged", _REMEDY)
        raise InputError([problem]) from error
    return state


def _of_another_run(path: Path) -> Problem:
    return Problem(str(path), "is of a run with other options or other songs", _REMEDY)
