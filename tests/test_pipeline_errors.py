import doctest
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import errors as problems
from pipeline.errors import InputError, Problem, StemwrightError, suggest


def test_the_examples_in_the_docstrings_hold() -> None:
    failed, tried = doctest.testmod(problems)
    assert failed == 0
    assert tried > 0


def test_an_input_error_says_every_problem_on_a_line_of_its_own() -> None:
    first = Problem("kick.wav", "is 96000 Hz", "convert it")
    second = Problem("target", "'loud' is unknown", "use one of spotify, -14")
    error = InputError(p for p in (first, second))
    assert error.problems == (first, second)
    assert str(error) == (
        "kick.wav: is 96000 Hz: convert it\ntarget: 'loud' is unknown: use one of spotify, -14"
    )


def test_an_input_error_is_caught_as_the_projects_own() -> None:
    with pytest.raises(StemwrightError):
        raise InputError([Problem("a", "b", "c")])


def test_an_input_error_crosses_processes_with_its_problems() -> None:
    error = InputError([Problem("bass.wav", "is missing", "put it back")])
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is InputError
    assert arrived.problems == error.problems
    assert str(arrived) == str(error)


@pytest.mark.parametrize(
    "name",
    ["a\nok: all is well", "a\r", "a\x1b[31mred", "a\u2028b", "a\u202eb", "a\udcffb", "a\x00b"],
)
def test_a_file_name_cannot_forge_lines_or_colours(name: str) -> None:
    said = str(Problem(name, "is silent", "remove it"))
    assert said.isprintable()
    assert len(said.splitlines()) == 1
    said.encode("utf-8")


@given(st.text())
def test_any_subject_stays_on_one_printable_line(name: str) -> None:
    assert str(Problem(name, "what", "remedy")).isprintable()


def test_names_in_any_script_are_left_as_they_are() -> None:
    assert str(Problem("Größe – ドラム.wav", "w", "r")) == "Größe – ドラム.wav: w: r"


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("treshold_db", "did you mean 'threshold_db'?"),
        ("pan", "did you mean 'pan'?"),
        ("xyz", "use one of threshold_db, ratio, pan"),
        ("", "use one of threshold_db, ratio, pan"),
    ],
)
def test_suggestions(word: str, remedy: str) -> None:
    assert suggest(word, ["threshold_db", "ratio", "pan"]) == remedy
