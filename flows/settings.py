"""The settings of a whole run: typed, frozen, from a TOML file and the flags given over it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, LiteralString

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from flows.storage.locations import Place, is_url, parse_place
from pipeline.console.parameters import Aspect
from pipeline.errors import InputError, Problem, suggest
from pipeline.text_files import parse_toml, read_text, shown

__all__ = ["MixSettings", "checked_settings", "from_toml"]

_COMBINATION: LiteralString = "combination"

_ADDRESS = re.compile(r"(tcp|tls)://([\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}")

# A number is a number: "0.5" and true are mistakes, not 0.5 and 1.
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Whole = Annotated[int, Field(strict=True)]
# A string first: as a path, a URL would lose one of its slashes.
_Place = Annotated[str | Path, Field(union_mode="left_to_right")]
_Switch = Annotated[bool, Field(strict=True)]


class MixSettings(BaseModel):
    """All that a user can choose about a mix.

    Parameters
    ----------
    references
        Recordings whose style is wanted, blended, by path or URL; none for a plain balanced mix.
    target
        Loudness of the delivered mix: a name or a number in LUFS, as
        :func:`pipeline.console.delivery.parse_target` reads it.
    ceiling_dbtp
        Highest true peak; ``None`` is what the target asks for.
    strength
        How much of the reference's style, 0 to 1.
    match
        The aspects of style to follow, in the order of :class:`pipeline.console.parameters.Aspect`.
    quality
        ``"fast"`` takes the console settings that the controller predicts as they are;
        ``"best"`` refines them by rendering and listening.
    controller
        Off, refinement begins at the balanced mix instead of at a prediction.
    method
        How loudness is judged in the balance of stage 1.
    f0_mode
        Where the fundamental is tracked: in the loudest ``"windows"`` of a track, or in
        ``"full"``.
    sample_rate
        Of the mix in Hz; ``None`` is the most common among the tracks.
    time_stamps
        Whether broadcast time stamps place the tracks: ``"auto"`` as far as they tell one story,
        ``"use"`` or ``"ignore"``; ``None`` is what ``session.toml`` says.
    full_length
        Keep silence after the last sound, however long.
    format, subtype
        Of the delivered file; ``subtype`` counts for WAV and FLAC.
    keep
        Keep the balanced stems of stage 1 too.
    collect
        Put the raw tracks and the reference inside the DAW session, so that it can be handed on
        alone.
    skip_bad
        Leave out tracks that cannot be used instead of stopping.
    max_minutes
        The longest that a track or a reference may last.
    salvage
        Use what there is of files that end before their time, instead of stopping.
    engine, workers
        Where steps run and how many at once; they never change the result.
    dask
        Address of a running Dask scheduler to work on, such as ``"tcp://10.0.0.5:8786"``.
    title, artist, album, date
        What the delivered file says of itself; title and artist by default as the session's folder
        names them: "Artist - Title" or "Title". No date is written but one that is given.
    seed
        Of the dither, which is all that is drawn at random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    references: tuple[_Place, ...] = ()
    target: str = "reference"
    ceiling_dbtp: Annotated[_Number, Field(ge=-20.0, le=0.0)] | None = None
    strength: Annotated[_Number, Field(ge=0.0, le=1.0)] = 1.0
    match: tuple[Aspect, ...] = tuple(Aspect)
    quality: Literal["fast", "best"] = "best"
    controller: _Switch = True
    method: Literal["sones", "informed", "lufs", "centroid", "p_lufs"] = "sones"
    f0_mode: Literal["windows", "full"] = "windows"
    sample_rate: Annotated[_Whole, Field(ge=8000, le=768000)] | None = None
    time_stamps: Literal["auto", "use", "ignore"] | None = None
    full_length: _Switch = False
    format: Literal["wav", "flac", "mp3"] = "wav"
    subtype: Literal["16", "24", "float"] = "24"
    keep: _Switch = False
    collect: _Switch = False
    skip_bad: _Switch = False
    salvage: _Switch = False
    max_minutes: Annotated[_Number, Field(gt=0.0, le=100_000.0)] = 60.0
    engine: Literal["auto", "local", "prefect", "dask"] = "auto"
    dask: str | None = None
    workers: Annotated[_Whole, Field(ge=1, le=1024)] | None = None
    title: str | None = None
    artist: str | None = None
    album: str | None = None
    date: str | None = None
    seed: Annotated[_Whole, Field(ge=0, le=2**32 - 1)] = 0

    @field_validator("references", mode="before")
    @classmethod
    def _one_reference_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("references")
    @classmethod
    def _path_or_url(cls, value: tuple[Place, ...]) -> tuple[Place, ...]:
        try:
            return tuple(map(parse_place, value))
        except InputError as error:
            raise _wrong(error.problems[0].what, error.problems[0].remedy) from error

    @field_validator("target", mode="before")
    @classmethod
    def _name_or_lufs(cls, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return value
        # Loads the limiter, so only where a target is given.
        from pipeline.console.delivery import parse_target

        try:
            parse_target(str(value))
        except InputError as error:
            raise _wrong(error.problems[0].what, error.problems[0].remedy) from error
        return str(value).strip().lower()

    @field_validator("match", mode="before")
    @classmethod
    def _known_aspects(cls, value: object) -> object:
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, list | tuple | set | frozenset):
            return value
        known = [str(aspect) for aspect in Aspect]
        given = [str(word).strip().lower() for word in words]
        unknown = sorted({word for word in given if word not in known})
        if unknown:
            raise _wrong(
                f"names {', '.join(map(repr, unknown))}",
                " ".join(dict.fromkeys(suggest(word, known) for word in unknown)),
            )
        return tuple(aspect for aspect in Aspect if aspect in given)

    @field_validator("controller")
    @classmethod
    def _fast_is_the_controller_s(cls, value: bool, info: ValidationInfo) -> bool:
        if not value and info.data.get("quality") == "fast":
            raise _wrong(
                "leaves nothing to predict, and quality 'fast' is the prediction alone",
                "use quality best, or the controller",
                _COMBINATION,
            )
        return value

    @field_validator("dask")
    @classmethod
    def _is_an_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if not _ADDRESS.fullmatch(value):
            raise _wrong(f"is {value!r}", "give the scheduler's address, as tcp://10.0.0.5:8786")
        if info.data.get("engine") in ("local", "prefect"):
            raise _wrong(
                f"names a Dask scheduler, and the engine is {info.data['engine']!r}",
                "use engine dask, or leave dask out",
                _COMBINATION,
            )
        return value

    @field_validator("subtype", mode="before")
    @classmethod
    def _bits_are_a_word(cls, value: object) -> object:
        return str(value) if type(value) is int else value

    @field_validator("subtype")
    @classmethod
    def _fits_the_format(cls, value: str, info: ValidationInfo) -> str:
        if value == "float" and info.data.get("format") == "flac":
            raise _wrong(
                "is 'float', and FLAC holds whole numbers", "use 24, or format wav", _COMBINATION
            )
        return value


def from_toml(path: Path | None, overrides: Mapping[str, Any] | None = None) -> MixSettings:
    """Return the settings of a TOML file with the flags given over it.

    Parameters
    ----------
    path
        A file with keys of :class:`MixSettings`; ``None`` for no file. Paths in it are relative
        to its folder.
    overrides
        Flags by key; one that is ``None`` was not given. Paths are relative to the current
        folder.

    Raises
    ------
    InputError
        With all that is wrong in the file and in the flags; each names file or flag, key and
        value.
    """
    told = {} if path is None else _read(path)
    flags = {key: value for key, value in (overrides or {}).items() if value is not None}

    def subject(key: str) -> str:
        return f"--{key.replace('_', '-')}" if key in flags else f"{path} [{key}]"

    # A mistake in the file is one even where a flag goes over it.
    problems = [
        *_problems(told, lambda key: f"{path} [{key}]", together=False),
        *_problems(flags, subject, together=False),
    ] or _problems(told | flags, subject, together=True)
    if problems:
        raise InputError(problems)
    return MixSettings.model_validate(told | flags)


def checked_settings(values: Mapping[str, Any], subject: Callable[[str], str]) -> MixSettings:
    """Return settings of values by key.

    Parameters
    ----------
    subject
        What a key's value is called before the user.

    Raises
    ------
    InputError
        With all that is wrong.
    """
    problems = _problems(values, subject, together=True)
    if problems:
        raise InputError(problems)
    return MixSettings.model_validate(values)


def _read(path: Path) -> dict[str, Any]:
    told = parse_toml(read_text(path, remedy="name a TOML file that exists"), str(path))
    references = told.get("references")
    if isinstance(references, str):
        references = [references]
    if isinstance(references, list) and all(isinstance(name, str) for name in references):
        told["references"] = [
            name if is_url(name) else str(path.parent / Path(name).expanduser())
            for name in references
        ]
    return told


def _problems(
    values: Mapping[str, Any], subject: Callable[[str], str], *, together: bool
) -> list[Problem]:
    """Return what is wrong with values, one problem a key; ``together``: how they combine too."""
    found: dict[str, Problem] = {}
    try:
        MixSettings.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = str(detail["loc"][0])
            if together or detail["type"] != _COMBINATION:
                found.setdefault(key, _problem(subject(key), key, values[key], detail))
    return list(found.values())


def _problem(subject: str, key: str, value: object, detail: ErrorDetails) -> Problem:
    context = detail.get("ctx", {})
    if detail["type"] == "extra_forbidden":
        remedy = suggest(key, list(MixSettings.model_fields))
        return Problem(subject, f"is no setting (given {shown(value)})", remedy)
    if "remedy" in context:
        return Problem(subject, str(context["what"]), str(context["remedy"]))
    return Problem(subject, f"is {shown(value)}", _accepted(key, value))


def _accepted(key: str, value: object) -> str:
    """Return what a setting accepts, read off its own declaration."""
    schema = MixSettings.model_json_schema()["properties"][key]
    schema = next(kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null")
    if "enum" in schema:
        return suggest(shown(value).strip("'\""), schema["enum"])
    if "minimum" in schema:
        number = "a whole number" if schema["type"] == "integer" else "a number"
        low, high = (f"{schema[end]:.10g}" for end in ("minimum", "maximum"))
        return f"use {number} from {low} to {high}"
    return {
        "boolean": "use true or false",
        "array": "give a list of them",
        "string": "give it in quotes",
    }[schema["type"]]


def _wrong(what: str, remedy: str, kind: LiteralString = "value") -> PydanticCustomError:
    return PydanticCustomError(kind, "{what}: {remedy}", {"what": what, "remedy": remedy})
