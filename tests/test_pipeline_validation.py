"""What pydantic refuses, said in this project's words off the declaration of each field."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.validation import Location, Number, Switch, Whole, invalid, problems_from


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


def checked_odd(value: int) -> int:
    if value % 2 == 0:
        raise invalid(f"is {value}, which is even", "use an odd one", "parity")
    return value


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Part:
    name: str = Field(json_schema_extra={"remedy": "give it a name"})
    gain_db: Number | None = Field(
        default=None, ge=-60.0, le=12.0, json_schema_extra={"unit": "dB"}
    )
    mute: Switch = False


class Song(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: Whole = Field(default=1, ge=1, lt=5)
    share: Number = Field(default=1.0, gt=0.0, le=1.0)
    least: Number = Field(default=0.0, ge=0.0)
    odd: Annotated[Whole, AfterValidator(checked_odd)] = 1
    colour: Colour = Colour.RED
    kind: Literal["fast", "best"] | None = None
    text: str = ""
    parts: tuple[Part, ...] = ()
    levels: dict[str, Annotated[Number, Field(ge=0.0, le=1.0)]] = {}
    record: str = ""


def said(values: dict[str, Any], **options: Any) -> list[str]:
    def subject(location: Location) -> str:
        return f"file [{'.'.join(map(str, location))}]"

    with pytest.raises(ValidationError) as caught:
        Song.model_validate(values)
    return [str(problem) for problem in problems_from(caught.value, Song, subject, **options)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 5}, "[count]: is 5: use a whole number from 1 to 4"),
        ({"count": 1.5}, "[count]: is 1.5: use a whole number from 1 to 4"),
        ({"count": True}, "[count]: is True: use a whole number from 1 to 4"),
        ({"share": 0}, "[share]: is 0: use a number over 0 and up to 1"),
        ({"share": float("nan")}, "[share]: is nan: use a number over 0 and up to 1"),
        ({"least": -1}, "[least]: is -1: use a number of 0 or more"),
        ({"odd": 2}, "[odd]: is 2, which is even: use an odd one"),
        ({"colour": "gren"}, "[colour]: is 'gren': did you mean 'green'?"),
        ({"colour": 3}, "[colour]: is 3: use one of red, green"),
        ({"kind": "FASD"}, "[kind]: is 'FASD': did you mean 'fast'?"),
        ({"text": 3}, "[text]: is 3: give it in quotes"),
        ({"parts": 3}, "[parts]: is 3: give a list of them"),
        ({"parts": ["a"]}, "[parts.0]: is 'a': use names and values in braces"),
        ({"parts": [{}]}, "[parts.0.name]: is missing: give it a name"),
        ({"parts": [{"name": 3}]}, "[parts.0.name]: is 3: give it a name"),
        (
            {"parts": [{"name": "a"}, {"name": "b", "gain_db": 13}]},
            "[parts.1.gain_db]: is 13: use a number from -60 to 12 dB",
        ),
        ({"parts": [{"name": "a", "mute": 1}]}, "[parts.0.mute]: is 1: use true or false"),
        (
            {"parts": [{"name": "a", "gian_db": 1}]},
            "[parts.0.gian_db]: is no setting (given 1): did you mean 'gain_db'?",
        ),
        ({"levels": {"kick": 2}}, "[levels.kick]: is 2: use a number from 0 to 1"),
        ({"recrd": 1}, "[recrd]: is no setting (given 1): did you mean 'record'?"),
    ],
)
def test_a_value_is_said_with_what_is_accepted(values: dict[str, Any], message: str) -> None:
    assert said(values) == [f"file {message}"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"odd": 2}, "odd is 2, which is even: use an odd one"),
        ({"colour": "gren"}, "unknown colour 'gren': did you mean 'green'?"),
        ({"parts": ["a"]}, "it is 'a': use names and values in braces"),
        ({"parts": [{}]}, "name is missing: give it a name"),
        ({"recrd": 1}, "unknown key 'recrd': use one of count, share, least"),
    ],
)
def test_the_key_is_named_where_the_place_does_not(values: dict[str, Any], message: str) -> None:
    (line,) = said(values, key_in_subject=False, hidden={"record"})
    assert message in line


def test_the_whole_comes_before_its_parts() -> None:
    lines = said({"parts": [{"nme": "a"}], "colur": "red", "count": 0})
    assert [line.partition("]")[0] for line in lines] == [
        "file [count", "file [colur", "file [parts.0.name", "file [parts.0.nme",
    ]  # fmt: skip
