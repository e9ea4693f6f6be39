"""The plan as a JSON file: what can be edited, and apart from it the record of what was found.

Everything outside a ``record`` is obeyed when the plan is rendered. A ``record`` tells what was
found and why; a change in it changes nothing. Files of versions 1 and 2, which are for another
console, are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import InputError, Problem
from pipeline.plan import PLAN_VERSION, Plan
from pipeline.text_files import parse_json, read_text
from pipeline.validation import problems_from

__all__ = ["load_plan", "plan_json"]

_NOTE = "What was found and why. This is not for editing: edit what stands outside of records."

# For each part of a plan the keys that are a record, each with what to edit in its place.
_OLDER_CONSOLES = (1, 2)
_IN_SESSION = "name it in session.toml, and mix again"
_TRACK_RECORD = {"role": _IN_SESSION, "reason": "leave it out"}
_STEM_RECORD = {
    "balance_gain_db": "edit gain_db in settings",
    "reason": "leave it out",
    "predicted": "edit settings",
    "predicted_spread": "edit settings",
}
_DELIVERY_RECORD = {
    "target": "edit target_lufs",
    "trim_db": "edit target_lufs, from which it follows",
    "encoder_margin_db": "edit limiter_ceiling_dbtp",
    "fitted_lufs": "edit target_lufs",
    "integrated_lufs": "edit target_lufs",
}
_PLAN_RECORD = {name: "leave it out" for name in ("references", "notes", "contents")}
_BUS_RECORD = {
    "bus_predicted": "predicted",
    "bus_predicted_spread": "predicted_spread",
    "bus_reason": "reason",
}

_RECORDED = (
    _TRACK_RECORD.keys()
    | _STEM_RECORD.keys()
    | _DELIVERY_RECORD.keys()
    | _PLAN_RECORD.keys()
    | _BUS_RECORD.keys()
)


def plan_json(plan: Plan) -> str:
    """Return a plan as indented JSON, in the order of the tables."""
    document = plan.model_dump()
    document["tracks"] = [_apart(track, _TRACK_RECORD) for track in document["tracks"]]
    document["stems"] = [_apart(stem, _STEM_RECORD) for stem in document["stems"]]
    delivery = _apart(document["delivery"], _DELIVERY_RECORD)
    record: dict[str, Any] = {"note": _NOTE}
    record |= {key: document.pop(key) for key in _PLAN_RECORD}
    record |= {"bus": {name: document.pop(key) for key, name in _BUS_RECORD.items()}}
    document |= {"delivery": delivery, "record": record}
    # ASCII: a file name that is no valid Unicode survives as an escape.
    return json.dumps(document, indent=2) + "\n"


def load_plan(path: Path) -> Plan:
    """Read a plan from its JSON file.

    Raises
    ------
    InputError
        With every key and value that is wrong, each with its remedy.
    """
    text = read_text(path, remedy="name a plan.json that exists")
    raw = parse_json(text, str(path), "mend it there, or render the session again")
    if not isinstance(raw, dict):
        remedy = "name a plan.json as a mix writes it"
        raise InputError([Problem(str(path), "holds no plan", remedy)])
    version = raw.get("version", PLAN_VERSION)
    problems: list[Problem] = []
    if version in _OLDER_CONSOLES:
        what = f"is of version {version}, for a console with other equalisers and thresholds"
        remedy = "mix the session again, or render it with the Stemwright that wrote it"
        raise InputError([Problem(str(path), what, remedy)])
    if type(version) is not int or version != PLAN_VERSION:
        what = f"has version {version!r}"
        remedy = f"this Stemwright reads {PLAN_VERSION}: mix the session again, or update it"
        raise InputError([Problem(str(path), what, remedy)])
    document = _joined(raw, path, problems)
    try:
        plan = Plan.model_validate({**document, "version": PLAN_VERSION})
    except ValidationError as error:
        problems += problems_from(
            error,
            Plan,
            lambda location: f"{path} [{_place(document, location)}]",
            key_in_subject=False,
            missing="add it, or mix the session again",
            hidden=_RECORDED,
        )
    if problems:
        raise InputError(problems)
    return plan


def _apart(part: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return a part of a plan with its record in a block of its own."""
    edited = {key: value for key, value in part.items() if key not in keys}
    return {**edited, "record": {key: part[key] for key in keys if key in part}}


def _joined(raw: Mapping[str, Any], path: Path, problems: list[Problem]) -> dict[str, Any]:
    """Return a plan of today's version as one of flat parts; say what of a record is misplaced."""

    def flat(part: object, keys: Mapping[str, str], where: str) -> object:
        if not isinstance(part, dict):
            return part
        for key in keys.keys() & part.keys():
            what = f"{key} is a record of what was found, and would change nothing"
            problems.append(Problem(f"{path} [{where}]", what, keys[key]))
        record = part.get("record", {})
        known = record if isinstance(record, dict) else {}
        edited = {key: value for key, value in part.items() if key not in {"record", *keys}}
        return {**edited, **{key: known[key] for key in keys if key in known}}

    document = dict(raw)
    for name, keys in (("tracks", _TRACK_RECORD), ("stems", _STEM_RECORD)):
        parts = raw.get(name)
        if isinstance(parts, list):
            document[name] = [flat(part, keys, _part_name(name, part)) for part in parts]
    document["delivery"] = flat(raw.get("delivery", {}), _DELIVERY_RECORD, "delivery")
    document = dict(flat(document, _PLAN_RECORD, "plan"))  # type: ignore[call-overload]
    record = raw.get("record")
    bus = record.get("bus") if isinstance(record, dict) else None
    if isinstance(bus, dict):
        document |= {key: bus[name] for key, name in _BUS_RECORD.items() if name in bus}
    return document


def _part_name(kind: str, part: object) -> str:
    """Return what a track or a stem of a plan is called."""
    key = {"tracks": "path", "stems": "name"}[kind]
    name = part.get(key) if isinstance(part, dict) else None
    return f"{kind.removesuffix('s')} {name!r}" if isinstance(name, str) else kind


def _place(document: Mapping[str, Any], location: Sequence[int | str]) -> str:
    """Return where in a plan something is, tracks and stems by their names."""
    if not location:
        return "plan"
    if location[0] in ("tracks", "stems") and len(location) > 1 and isinstance(location[1], int):
        parts = document[str(location[0])]
        name = _part_name(str(location[0]), parts[location[1]])
        if name == location[0]:
            name = f"{str(location[0]).removesuffix('s')} {location[1] + 1}"
        rest = [str(part) for part in location[2:-1]]
        if location[-1] == "settings":
            rest.append("settings")
        return ", ".join([name, *rest])
    return str(location[0]) if len(location) > 1 or location[0] == "bus" else "plan"
