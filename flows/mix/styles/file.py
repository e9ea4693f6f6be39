"""A saved style: what was measured of references, as a file without audio, to be followed again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.mix.steps.style import HeardReference
from pipeline.errors import InputError, Problem, Problems
from pipeline.text_files import parse_json, read_text
from pipeline.units import Float32Array
from stage2.controller.inputs import REFERENCE_FIGURES
from stage2.reference.faults import Condition
from stage2.style.measure import Style

__all__ = ["SavedReference", "load_style", "style_json", "style_problems"]

_VERSION = 1
_REMEDY = "save the style again with stemwright style"


@dataclass(frozen=True)
class SavedReference:
    """What was measured of one reference.

    Parameters
    ----------
    name
        Of its file.
    style, condition
        Of the whole recording, and its faults.
    segments
        Features of segments, ``(segments, REFERENCE_FIGURES)``.
    """

    name: str
    style: Style
    segments: Float32Array
    condition: Condition

    @classmethod
    def of(cls, name: str, measured: HeardReference, segments: Float32Array) -> SavedReference:
        """Return what a file keeps of a reference."""
        return cls(name, measured.style, segments, measured.condition)


def style_json(references: Sequence[SavedReference]) -> str:
    """Return a saved style as JSON."""
    document = {
        "version": _VERSION,
        "references": [
            {
                "name": one.name,
                "style": one.style.to_record(),
                "segments": one.segments.astype(np.float64).tolist(),
                "condition": one.condition.to_record(),
            }
            for one in references
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def load_style(path: Path) -> tuple[SavedReference, ...]:
    """Read a saved style.

    Raises
    ------
    InputError
        If there is none, or it is of another version or damaged.
    """
    raw = parse_json(read_text(path, remedy="name a style that exists"), str(path), _REMEDY)
    if not isinstance(raw, dict) or raw.get("version") != _VERSION:
        what = f"is no style of version {_VERSION}"
        raise InputError([Problem(str(path), what, _REMEDY)])
    try:
        references = tuple(_reference(record) for record in raw["references"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError([Problem(str(path), "is no style, or is damaged", _REMEDY)]) from error
    if not references:
        raise InputError([Problem(str(path), "holds no reference", _REMEDY)])
    return references


def style_problems(paths: Sequence[Path]) -> list[Problem]:
    """Return what is wrong with saved styles."""
    problems = Problems()
    for path in paths:
        with problems.collected():
            load_style(path)
    return problems


def _reference(record: dict[str, Any]) -> SavedReference:
    segments = np.asarray(record["segments"], dtype=np.float32)
    style = Style.from_record(record["style"])
    if segments.ndim != 2 or segments.shape[1] != REFERENCE_FIGURES or not segments.size:
        raise ValueError("segments")
    figures = [*style.spectrum_db, style.crest_db, style.loudness_lufs, *segments.ravel().tolist()]
    if not np.isfinite(figures).all():
        raise ValueError("figures")
    return SavedReference(
        str(record["name"]), style, segments, Condition.from_record(record["condition"])
    )
