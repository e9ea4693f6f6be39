"""What pydantic finds wrong in a file or a flag, said as this project says it.

A message names the key, its value and what is accepted, and the last is read off the field's own
declaration: its type, range, unit and choices as they stand in the model's JSON schema.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, LiteralString

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from pipeline.errors import Problem, suggest
from pipeline.text_files import shown

__all__ = [
    "Location",
    "Number",
    "Switch",
    "Whole",
    "invalid",
    "problems_from",
]

Location = tuple[int | str, ...]
"""The keys and indices that lead to a value."""

# A number is a number: "0.5" and true are mistakes, not 0.5 and 1.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]
Switch = Annotated[bool, Field(strict=True)]

_Schema = Mapping[str, Any]

_KINDS = {
    "boolean": "use true or false",
    "array": "give a list of them",
    "string": "give it in quotes",
    "object": "use names and values in braces",
}


def invalid(what: str, remedy: str, kind: LiteralString = "value") -> PydanticCustomError:
    """Return the error that a validator raises about its value.

    Parameters
    ----------
    what
        What is wrong, to follow the key's name: ``"is 3, and FLAC holds 24 bits"``.
    remedy
        What to do about it.
    kind
        The error's type, for who tells errors apart.
    """
    return PydanticCustomError(kind, "{what}: {remedy}", {"what": what, "remedy": remedy})


def problems_from(
    error: ValidationError | Iterable[ErrorDetails],
    model: type[Any],
    subject: Callable[[Location], str],
    *,
    key_in_subject: bool = True,
    missing: str = "add it",
    hidden: Collection[str] = (),
) -> list[Problem]:
    """Return what is wrong with the values that a model refused.

    Parameters
    ----------
    error
        What validation raised, or some of its details.
    model
        Pydantic's model or dataclass; a field's ``json_schema_extra`` may have a ``unit``, and a
        ``remedy`` in place of the one that follows from its type.
    subject
        Names the place of a value, for a user to find it.
    key_in_subject
        Whether ``subject`` names the key itself, so that the message does not.
    missing
        The remedy for a key that is missing.
    hidden
        Keys that are not suggested.
    """
    schema = TypeAdapter(model).json_schema()
    problems: list[Problem] = []
    details = error.errors(include_url=False) if isinstance(error, ValidationError) else error
    # What is wrong with the whole comes before what is wrong in its parts.
    for detail in sorted(details, key=lambda detail: len(detail["loc"])):
        where, context = subject(detail["loc"]), detail.get("ctx", {})
        if detail["type"] == "value_error":  # says what and remedy of all that is wrong in one
            said = (part.partition(": ") for part in str(context["error"]).split("; "))
            problems += (Problem(where, what, remedy or "correct it") for what, _, remedy in said)
        else:
            key = "" if key_in_subject else _key(detail["loc"])
            problems.append(Problem(where, *_said(detail, schema, key, missing, hidden)))
    return problems


def _key(location: Location) -> str:
    """Return the key of a value, of one in a list that of the list; a table in a list has none."""
    keys = [part for part in location if isinstance(part, str)]
    whole_table = len(location) == 2 and isinstance(location[1], int)
    return "it" if not keys or whole_table else keys[-1]


def _said(
    detail: ErrorDetails, schema: _Schema, key: str, missing: str, hidden: Collection[str]
) -> tuple[str, str]:
    """Return what is wrong with a value, after its key if that is to be named, and the remedy."""
    location, kind = detail["loc"], detail["type"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    value = shown(detail["input"])
    name = f"{key} " if key else ""
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _declared(schema, location[:-1]).get("properties", {})
        what = f"unknown key {shown(location[-1])}" if key else f"is no setting (given {value})"
        return what, suggest(str(location[-1]), [name for name in known if name not in hidden])
    field = _declared(schema, location)
    if kind == "missing":
        return f"{name}is missing", field.get("remedy", missing)
    if "remedy" in context:
        return f"{name}{context['what']}", str(context["remedy"])
    if key and kind in ("enum", "literal_error"):
        return f"unknown {key} {value}", _accepted(field, detail["input"])
    return f"{name}is {value}", _accepted(field, detail["input"])


def _declared(schema: _Schema, location: Location) -> _Schema:
    """Return what a JSON schema says of the value at a location; empty where it says nothing."""
    field = _resolved(schema, schema)
    for part in location:
        inner = field.get("items" if isinstance(part, int) else "additionalProperties")
        if isinstance(part, str):
            inner = field.get("properties", {}).get(part, inner)
        if not isinstance(inner, Mapping):
            break  # the rest names a validator or a member of a union
        field = _resolved(inner, schema)
    return field


def _resolved(field: _Schema, schema: _Schema) -> dict[str, Any]:
    """Return a field's schema without references, and of a value that may be absent the value's."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    for inner in (*kinds[:1], *field.get("allOf", ())):
        field = {**_resolved(inner, schema), **field}
    if "$ref" in field:
        target = schema["$defs"][str(field["$ref"]).rpartition("/")[2]]
        field = {**_resolved(target, schema), **field}
    return dict(field)


def _accepted(field: _Schema, value: object) -> str:
    """Return the remedy for a value that is not accepted: what is.

    Parameters
    ----------
    field
        The JSON schema of the value, as of :func:`_declared`.

    Examples
    --------
    >>> _accepted({"type": "number", "minimum": -20, "maximum": 0, "unit": "dBTP"}, 3)
    'use a number from -20 to 0 dBTP'
    """
    if "remedy" in field:
        return str(field["remedy"])
    if "enum" in field or "const" in field:
        known = [str(choice) for choice in field.get("enum", [field.get("const")])]
        return suggest(shown(value).strip("'\"").lower(), known)
    kind = field.get("type")
    if kind not in ("number", "integer"):
        return _KINDS.get(str(kind), "correct it")
    number = "a whole number" if kind == "integer" else "a number"
    low, high = field.get("minimum"), field.get("maximum")
    over, under = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    if kind == "integer" and under is not None:
        high, under = under - 1, None
    limits = (
        f"from {low:.15g} to {high:.15g}" if low is not None and high is not None else "",
        f"of {low:.15g} or more" if low is not None and high is None else "",
        f"over {over:.15g}" if over is not None else "",
        f"up to {high:.15g}" if high is not None and low is None else "",
        f"under {under:.15g}" if under is not None else "",
    )
    range_said = " and ".join(filter(None, limits))
    return " ".join(filter(None, ("use", number, range_said, field.get("unit"))))
