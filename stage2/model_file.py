"""A controller as a file: safetensors with its record beside it."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from stage2.controller import Controller, ControllerSize

__all__ = ["load_controller", "load_record", "save_controller", "shipped_controller"]

_WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = _WEIGHTS / "controller.safetensors"


def save_controller(controller: Controller, path: Path, *, record: dict[str, object]) -> None:
    """Write weights, and their record beside them as JSON; each whole or not at all."""
    told = {**record, "size": controller.size.to_record()}
    for target, write in (
        (path, lambda part: save_file(controller.state_dict(), part)),
        (path.with_suffix(".json"), lambda part: part.write_text(json.dumps(told, indent=1))),
    ):
        part = target.with_name(f".{target.name}.part")
        write(part)
        part.replace(target)


def load_record(path: Path = SHIPPED) -> dict[str, Any]:
    """Return what is recorded of weights: data, options, metrics."""
    record: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return record


def load_controller(path: Path = SHIPPED) -> Controller:
    """Read a controller that :func:`save_controller` wrote, ready to predict."""
    controller = Controller(ControllerSize(**load_record(path)["size"]))
    controller.load_state_dict(load_file(path))
    return controller.eval()


@lru_cache(maxsize=1)
def shipped_controller() -> Controller:
    """Return the controller that comes with the package."""
    return load_controller()
