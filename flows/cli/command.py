"""What makes a function a command: options from the settings' declarations, screen, exit status."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.terminal import Screen, guard
from flows.settings import MixSettings, description, flag, from_toml, kind, shown_as

__all__ = ["FILE", "Flags", "command"]

FILE = "settings_file"
"""In a command's layout the place of ``--settings``."""

_SPEECH = {
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Say every step.")],
    "as_json": Annotated[
        bool,
        typer.Option("--json", help="Result as JSON on stdout, progress as JSON lines on stderr."),
    ],
}


@dataclass(frozen=True)
class Flags:
    """The settings that a command was given: by flags, and in the file that these go over."""

    given: Mapping[str, Any]
    file: Path | None = None

    def settings(self, **more: Any) -> MixSettings:
        """Return them, and ``more`` by the names of the fields.

        Raises
        ------
        InputError
            With everything that is wrong, each under the name of its flag.
        """
        return from_toml(self.file, {**self.given, **more})


def command(
    *layout: str, speech: tuple[str, ...] = tuple(_SPEECH)
) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Make a command of a function that does its work and returns its exit status.

    The function takes a ``screen``, where it has settings ``flags`` too, and parameters of its
    own, declared as for Typer.

    Parameters
    ----------
    *layout
        Options in the order of the help: fields of :class:`~flows.settings.MixSettings`,
        :data:`FILE`, and parameters of the function; those that are not named come first.
    speech
        Which of ``quiet``, ``verbose`` and ``as_json`` it has.
    """

    def wrap(work: Callable[..., int]) -> Callable[..., None]:
        declared = {
            name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(work, eval_str=True).parameters.items()
        }
        declared.pop("screen")
        takes_flags = declared.pop("flags", None) is not None
        fields = [name for name in layout if name not in declared and name != FILE]
        options = declared | {name: _setting(name) for name in fields}
        options[FILE] = _option(
            FILE, Path | None, "--settings", help="TOML file with any of these options."
        )
        parameters = [
            *(options[name] for name in declared if name not in layout),
            *(options[name] for name in layout),
            *(_parameter(name, _SPEECH[name], default=False) for name in speech),
        ]

        @functools.wraps(work)
        def run(**given: Any) -> None:
            screen = Screen(**{name: given.pop(name, False) for name in _SPEECH})
            if takes_flags:
                file = given.pop(FILE, None)
                values = {name: _meant(name, given.pop(name)) for name in fields}
                given["flags"] = Flags(values, file)
            guard(screen, functools.partial(work, screen=screen, **given))

        # Typer asks for both.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return wrap


def _setting(name: str) -> inspect.Parameter:
    """Return the option of a setting; left out it is None, and the default or the file counts."""
    text = shown_as(name, "off") or description(name).removesuffix(".")
    many, short = shown_as(name, "many"), shown_as(name, "short")
    type_: Any = list[str] if many else kind(name)
    names = [flag(name), *([short] if short else [])]
    return _option(name, type_ | None, *names, help=f"{text}; {many}." if many else f"{text}.")


def _meant(name: str, value: Any) -> Any:
    """Return the setting that a flag's value stands for."""
    if value is None:
        return None
    if shown_as(name, "off"):
        return not value
    return (tuple(value) or None) if isinstance(value, list) else value


def _option(name: str, type_: Any, *names: str, help: str) -> inspect.Parameter:
    return _parameter(name, Annotated[type_, typer.Option(*names, help=help)], default=None)


def _parameter(name: str, annotation: Any, *, default: Any) -> inspect.Parameter:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, annotation=annotation, default=default)
