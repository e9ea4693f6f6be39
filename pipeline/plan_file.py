"""The plan as a JSON file: what can be edited, and apart from it the record of what was found.

Everything outside a ``record`` is obeyed when the plan is rendered. A ``record`` tells what was
found and why; a change in it changes nothing. Files of version 1, which had no such blocks, are
read too, and render to the samples that they always had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipeline.errors import InputError, Problem, suggest
from pipeline.plan import PLAN_VERSION, Delivery, Plan, StemPlan, TrackPlan
from pipeline.text_files import parse_json, read_text

__all__ = ["load_plan", "plan_json"]

_NOTE = "What was found and why. This is not for editing: edit what stands outside of records."

# For each part of a plan the keys that are a record, each with what to edit in its place.
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
    document = raw
    if type(version) is not int or version not in (1, PLAN_VERSION):
        what = f"has version {version!r}"
        remedy = f"this Stemwright reads 1 and {PLAN_VERSION}: mix the session again, or update it"
        raise InputError([Problem(str(path), what, remedy)])
    if version == PLAN_VERSION:
        document = _joined(raw, path, problems)
    try:
        plan = Plan.model_validate({**document, "version": PLAN_VERSION})
    except ValidationError as error:
        for detail in error.errors():
            problems += _problems(path, document, detail)
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


def _problems(path: Path, document: Mapping[str, Any], detail: ErrorDetails) -> list[Problem]:
    """Return one finding of pydantic in this project's words, the part of the plan by its name."""
    location = detail["loc"]
    subject = f"{path} [{_place(document, location)}]"
    if detail["type"] == "value_error":
        # Settings tell all that is wrong with them in one.
        said = str((detail.get("ctx") or {})["error"]).split("; ")
        return [
            Problem(subject, what, remedy or "correct it")
            for what, _, remedy in (part.partition(": ") for part in said)
        ]
    return [_problem(subject, location, detail)]


def _problem(subject: str, location: Sequence[int | str], detail: ErrorDetails) -> Problem:
    # Of a list the key that holds it; a whole track or stem has none.
    names = [str(part) for part in location if not isinstance(part, int)]
    key = "it" if len(location) == 2 and isinstance(location[1], int) else (names or ["plan"])[-1]
    context: Mapping[str, Any] = detail.get("ctx") or {}
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return Problem(subject, f"unknown key {key!r}", suggest(key, _fields_at(location)))
    if kind == "missing":
        return Problem(subject, f"{key} is missing", "add it, or mix the session again")
    if kind in ("literal_error", "enum"):
        known = [str(word).strip("'\"") for word in str(context["expected"]).split(" or ")]
        known = [word for part in known for word in part.replace("'", "").split(", ")]
        return Problem(subject, f"{key} is {_shown(value)}", suggest(str(value), known))
    if {"ge", "le", "gt", "lt"} & context.keys():
        low, high = _range(location[0], key)
        remedy = f"use a value from {low} to {high}" if high else f"use a value of {low} or more"
        return Problem(subject, f"{key} is {_shown(value)}", remedy)
    return Problem(subject, f"{key} is {_shown(value)}", f"use {_wanted(kind)}")


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


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _fields_at(location: Sequence[int | str]) -> list[str]:
    """Return the keys that can be edited where an unknown one was found."""
    known: dict[str, tuple[type[BaseModel], Mapping[str, str]]] = {
        "tracks": (TrackPlan, _TRACK_RECORD),
        "stems": (StemPlan, _STEM_RECORD),
        "delivery": (Delivery, _DELIVERY_RECORD),
    }
    part = str(location[0]) if len(location) > 1 else ""
    owner, record = known.get(part, (Plan, {**_PLAN_RECORD, **_BUS_RECORD}))
    return [name for name in owner.model_fields if name not in record]


def _range(part: int | str, key: str) -> tuple[str, str]:
    """Return the range of a field, or of its values, as its record declares it.

    Empty where it has no end.
    """
    models: dict[str, type[BaseModel]] = {
        "tracks": TrackPlan,
        "stems": StemPlan,
        "delivery": Delivery,
    }
    declared = models.get(str(part), Plan).model_fields[key]
    inner = [limit for kind in get_args(declared.annotation) for limit in get_args(kind)[1:]]
    limits = {
        name: getattr(limit, name)
        for of in (*declared.metadata, *inner)
        for limit in (of.metadata if isinstance(of, FieldInfo) else [of])
        for name in ("ge", "le", "lt")
        if getattr(limit, name, None) is not None
    }
    low, high = limits.get("ge"), limits.get("le", limits["lt"] - 1 if "lt" in limits else None)
    return tuple("" if end is None else f"{end:.15g}" for end in (low, high))  # type: ignore[return-value]


def _wanted(kind: str) -> str:
    """Return what a field of a kind takes."""
    for begin, words in {
        "bool": "true or false",
        "int": "a whole number",
        "float": "a number",
        "finite": "a number",
        "string": "text in quotes",
        "too_long": "fewer values",
        "tuple": "a list",
        "list": "a list",
        "dict": "names and values in braces",
        "model": "names and values in braces",
    }.items():
        if kind.startswith(begin):
            return words
    return "what a mix writes there"
