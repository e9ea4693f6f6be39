"""The settings of a whole run: typed, frozen, from a TOML file and the flags given over it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, LiteralString, TypedDict, Unpack, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from flows.storage.locations import Place, is_url, parse_place
from pipeline.console.parameters import Aspect
from pipeline.errors import InputError, Problem, suggest
from pipeline.text_files import parse_toml, read_text
from pipeline.validation import Number, Switch, Whole, invalid, problems_from
from stage2.genre.names import genre_names, parse_genre

__all__ = [
    "STYLE_ENDING",
    "MixSettings",
    "checked_settings",
    "description",
    "flag",
    "from_toml",
    "is_style_file",
    "kind",
    "shown_as",
]

#: What the names of saved styles end in.
STYLE_ENDING = ".style.json"

_COMBINATION: LiteralString = "combination"

_ADDRESS = re.compile(r"(tcp|tls)://([\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}")

# A string first: as a path, a URL would lose one of its slashes.
_Place = Annotated[str | Path, Field(union_mode="left_to_right")]


class _Shown(TypedDict, total=False):
    """How a setting is shown to a user.

    ``unit`` of a number; the command's ``flag`` where it is not the field's name, with its
    ``short`` form; ``unset``: what counts where the default is ``None``; ``off``: what a flag does
    that switches the setting off; ``many``: how a flag is given for several values.
    """

    unit: str
    flag: str
    short: str
    unset: str
    off: str
    many: str


def _setting(
    default: object,
    description: str,
    *,
    limits: tuple[float | None, float] | None = None,
    **shown: Unpack[_Shown],
) -> Any:
    """Return pydantic's field of a setting; ``limits`` are its lowest and highest value."""
    low, high = limits or (None, None)
    extra: dict[str, Any] = {**shown}
    return Field(default, description=description, ge=low, le=high, json_schema_extra=extra)


class MixSettings(BaseModel):
    """All that a user can choose about a mix.

    Each field is declared here alone: the command's flags with their help, the keys of a TOML
    file, the deployments' form and the messages about values out of range follow from it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    references: tuple[_Place, ...] = _setting(
        (), f"Finished mix whose style is wanted, or its URL, or a saved style, FILE{STYLE_ENDING}",
        flag="--reference", short="-r", many="repeatable",
    )  # fmt: skip
    target: str = _setting(
        "reference",
        "Loudness of the mix: reference, spotify, apple, youtube, ebu-r128, netflix, or a number "
        "in LUFS",
    )
    genre: str | None = _setting(
        None, f"Genre to sound like, without a reference: {', '.join(genre_names())}",
        unset="any",
    )  # fmt: skip
    ceiling_dbtp: Number | None = _setting(
        None, "Highest true peak", limits=(-20.0, 0.0),
        unit="dBTP", flag="--ceiling", unset="by target",
    )  # fmt: skip
    strength: Number = _setting(1.0, "How much of what was found for the style", limits=(0.0, 1.0))
    match: tuple[Aspect, ...] = _setting(
        tuple(Aspect), f"Aspects of style to follow, of {','.join(Aspect)}", unset="all"
    )
    quality: Literal["fast", "best"] = _setting(
        "best", "best refines the predicted settings by rendering; fast takes them"
    )
    controller: Switch = _setting(
        True, "Predict the settings; off, refinement starts at what engineers usually do",
        flag="--no-controller", off="Refine from what engineers usually do; nothing is predicted",
    )  # fmt: skip
    method: Literal["sones", "informed", "lufs", "centroid", "p_lufs"] = _setting(
        "sones", "How the loudness of the balance is judged"
    )
    f0_mode: Literal["windows", "full"] = _setting(
        "windows", "Where f0 is tracked: in the loudest windows of a track, or in full", flag="--f0"
    )
    sample_rate: Whole | None = _setting(
        None, "Sample rate of the mix", limits=(8000, 768000),
        unit="Hz", unset="that of most tracks",
    )  # fmt: skip
    time_stamps: Literal["auto", "use", "ignore"] | None = _setting(
        None,
        "Whether broadcast time stamps place the tracks",
        unset="as session.toml says, or auto",
    )
    full_length: Switch = _setting(False, "Keep long silence after the last sound")
    format: Literal["wav", "flac", "mp3"] = _setting("wav", "Format of the delivered file")
    subtype: Literal["16", "24", "float"] = _setting(
        "24", "Bits of a sample in a WAV or FLAC file", flag="--bits"
    )
    keep: Switch = _setting(False, "Write the stems before the console too")
    collect: Switch = _setting(False, "Put all audio inside the DAW session, to hand it on alone")
    skip_bad: Switch = _setting(False, "Mix without the tracks that cannot be read; exit status 3")
    salvage: Switch = _setting(False, "Use what there is of files that end before their time")
    max_minutes: Annotated[Number, Field(gt=0.0)] = _setting(
        60.0, "For memory's sake, the longest that a track or reference may last",
        limits=(None, 100_000.0), unit="minutes",
    )  # fmt: skip
    engine: Literal["auto", "local", "prefect", "dask"] = _setting(
        "auto",
        "Where steps run: local, prefect, dask, or auto, which is prefect while a dashboard runs, "
        "else local",
    )
    dask: str | None = _setting(
        None, "Running Dask scheduler to work on, as tcp://HOST:PORT; see --engine dask"
    )
    workers: Whole | None = _setting(None, "Tracks at a time", limits=(1, 1024), unset="one a core")
    title: str | None = _setting(None, "In the mix's tags", unset="by the folder's name")
    artist: str | None = _setting(None, "In the tags", unset="by a folder named Artist - Title")
    album: str | None = _setting(None, "In the tags")
    date: str | None = _setting(None, "In the tags, as 2026-05-31 or 2026")
    seed: Whole = _setting(
        0, "Seed of the dither, and of the order in balance's listening test",
        limits=(0, 2**32 - 1),
    )  # fmt: skip

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
            raise invalid(error.problems[0].what, error.problems[0].remedy) from error

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
            raise invalid(error.problems[0].what, error.problems[0].remedy) from error
        return str(value).strip().lower()

    @field_validator("match", mode="before")
    @classmethod
    def _known_aspects(cls, value: object) -> object:
        aspects = value.split(",") if isinstance(value, str) else value
        if not isinstance(aspects, list | tuple | set | frozenset):
            return value
        known = [str(aspect) for aspect in Aspect]
        given = [str(aspect).strip().lower() for aspect in aspects]
        unknown = sorted({aspect for aspect in given if aspect not in known})
        if unknown:
            raise invalid(
                f"names {', '.join(map(repr, unknown))}",
                " ".join(dict.fromkeys(suggest(aspect, known) for aspect in unknown)),
            )
        return tuple(aspect for aspect in Aspect if aspect in given)

    @property
    def recordings(self) -> tuple[Path | str, ...]:
        """The references that are recordings, or their URLs."""
        return tuple(place for place in self.references if not is_style_file(place))

    @property
    def saved_styles(self) -> tuple[Path, ...]:
        """The references that are saved styles."""
        return tuple(Path(place) for place in self.references if is_style_file(place))

    @field_validator("genre")
    @classmethod
    def _is_a_genre(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or value.strip().lower() in ("none", "any"):
            return None
        try:
            name = parse_genre(value)
        except ValueError as error:
            raise invalid(f"is {value!r}", str(error)) from None
        if info.data.get("references"):
            raise invalid(
                f"is {name!r}, and a reference is named, whose style is followed",
                "leave one of the two out",
                _COMBINATION,
            )
        return name

    @field_validator("controller")
    @classmethod
    def _fast_is_the_controller_s(cls, value: bool, info: ValidationInfo) -> bool:
        if not value and info.data.get("quality") == "fast":
            raise invalid(
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
            raise invalid(f"is {value!r}", "give the scheduler's address, as tcp://10.0.0.5:8786")
        if info.data.get("engine") in ("local", "prefect"):
            raise invalid(
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
            raise invalid(
                "is 'float', and FLAC holds whole numbers", "use 24, or format wav", _COMBINATION
            )
        return value


def is_style_file(place: Place) -> bool:
    """Whether a reference that is named is a saved style, not a recording."""
    return str(place).lower().endswith(STYLE_ENDING)


def shown_as(name: str, key: str) -> str:
    """Return of how a setting is shown one thing, as :class:`_Shown` has them; empty for none."""
    extra = MixSettings.model_fields[name].json_schema_extra
    return str(extra.get(key, "")) if isinstance(extra, dict) else ""


def kind(name: str) -> type:
    """Return as what a setting is typed on a command line: a number, a switch or text."""
    return next((type_ for type_ in (bool, int, float) if type_ in _members(name)), str)


def _members(name: str) -> tuple[Any, ...]:
    """Return what a setting can be: types, and of one with choices each of them."""
    left, members = [MixSettings.model_fields[name].annotation], []
    while left:
        annotation = left.pop()
        if get_origin(annotation) is Annotated:
            left.append(get_args(annotation)[0])
        elif get_args(annotation):
            left += reversed(get_args(annotation))
        else:
            members.append(annotation)
    return tuple(members)


def description(name: str) -> str:
    """Return what a setting is, with its unit, range or choices, and default, in a sentence.

    Examples
    --------
    >>> description("ceiling_dbtp")
    'Highest true peak in dBTP, -20 to 0; default by target.'
    """
    field = MixSettings.model_fields[name]
    text = str(field.description)
    if shown_as(name, "unit"):
        text += f" in {shown_as(name, 'unit')}"
    limits = {key: getattr(item, key) for item in field.metadata for key in ("ge", "le")
              if getattr(item, key, None) is not None}  # fmt: skip
    if limits:
        text += f", {limits['ge']:.10g} to" if "ge" in limits else ", up to"
        text += f" {limits['le']:.10g}"
    choices = [choice for choice in _members(name) if isinstance(choice, str)]
    if not all(re.search(rf"\b{choice}\b", text) for choice in choices):
        text += f": {', '.join(choices[:-1])} or {choices[-1]}"
    default = shown_as(name, "unset")
    if not (default or field.default is None or isinstance(field.default, bool | tuple)):
        default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
    return f"{text}{default and f'; default {default}'}."


def flag(name: str) -> str:
    """Return what the command's flag for a setting is called."""
    return shown_as(name, "flag") or f"--{name.replace('_', '-')}"


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
    values = {} if path is None else _read(path)
    flags = {key: value for key, value in (overrides or {}).items() if value is not None}

    def subject(key: str) -> str:
        return flag(key) if key in flags and key in MixSettings.model_fields else f"{path} [{key}]"

    # A mistake in the file is one even where a flag goes over it.
    problems = [
        *_problems(values, lambda key: f"{path} [{key}]", together=False),
        *_problems(flags, subject, together=False),
    ] or _problems(values | flags, subject, together=True)
    if problems:
        raise InputError(problems)
    return MixSettings.model_validate(values | flags)


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
    values = parse_toml(read_text(path, remedy="name a TOML file that exists"), str(path))
    references = values.get("references")
    if isinstance(references, str):
        references = [references]
    if isinstance(references, list) and all(isinstance(name, str) for name in references):
        values["references"] = [
            name if is_url(name) else str(path.parent / Path(name).expanduser())
            for name in references
        ]
    return values


def _problems(
    values: Mapping[str, Any], subject: Callable[[str], str], *, together: bool
) -> list[Problem]:
    """Return what is wrong with values, one problem a key; ``together``: how they combine too."""
    try:
        MixSettings.model_validate(values)
    except ValidationError as error:
        first: dict[str, ErrorDetails] = {}
        for detail in error.errors(include_url=False):
            key = str(detail["loc"][0])
            if together or detail["type"] != _COMBINATION:
                first.setdefault(key, {**detail, "loc": (key,), "input": values[key]})
        return problems_from(
            first.values(), MixSettings, lambda location: subject(str(location[0]))
        )
    return []
