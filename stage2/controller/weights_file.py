"""A controller as a file: safetensors with its record beside it."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors.torch import load, save_file

from pipeline.errors import InputError, Problem
from stage2.controller.network import Controller, ControllerSize

__all__ = [
    "LICENCE",
    "SHIPPED",
    "load_controller",
    "load_record",
    "save_controller",
    "shipped_controller",
]

LICENCE = "Apache-2.0"
"""Of the weights that this project trains."""

_WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = _WEIGHTS / "controller.safetensors"


def save_controller(controller: Controller, path: Path, *, record: dict[str, object]) -> None:
    """Write weights, and their record beside them as JSON; each whole or not at all.

    The record also gets the network's size and number of parameters, the licence, and the
    SHA-256 of the weights' file.
    """
    part = path.with_name(f".{path.name}.part")
    save_file(controller.state_dict(), part)
    told = {
        "licence": LICENCE,
        **record,
        "size": controller.size.to_record(),
        "parameters": sum(p.numel() for p in controller.parameters()),
        "sha256": hashlib.sha256(part.read_bytes()).hexdigest(),
    }
    # The weights come last: where they lie, their record does.
    record_part = path.with_name(f".{path.stem}.json.part")
    record_part.write_text(json.dumps(told, indent=1), encoding="utf-8")
    record_part.replace(path.with_suffix(".json"))
    part.replace(path)


def load_record(path: Path = SHIPPED) -> dict[str, Any]:
    """Return what is recorded of weights: data, options, metrics."""
    record: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return record


def load_controller(path: Path = SHIPPED) -> Controller:
    """Read a controller that :func:`save_controller` wrote, ready to predict.

    Raises
    ------
    InputError
        If the weights are not those that their record tells of, or of a network that this version
        no longer has.
    """
    record, data = load_record(path), path.read_bytes()
    if hashlib.sha256(data).hexdigest() != record.get("sha256"):
        raise InputError(
            [Problem(path.name, "is not what its record tells of", "put both back from one run")]
        )
    try:
        controller = Controller(ControllerSize(**record["size"]))
        controller.load_state_dict(load(data))
    except (KeyError, TypeError, RuntimeError):
        raise InputError(
            [Problem(path.name, "is of another version's network", "train it anew")]
        ) from None
    return controller.eval()


@lru_cache(maxsize=1)
def shipped_controller() -> Controller:
    """Return the controller that comes with the package."""
    return load_controller()
