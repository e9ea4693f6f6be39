"""Names in the product say what a thing is, not what the last call gave."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "stage1")
BANNED = {"found", "heard", "told", "words", "kin", "wish"}
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def parts(name: str) -> set[str]:
    """Return the parts of a name in snake case or camel case, in lower case.

    >>> sorted(parts("_HeardSound")), sorted(parts("WORDS_dB"))
    (['heard', 'sound'], ['b', 'd', 'words'])
    """
    return {part.lower() for part in _PART.findall(name)}


def defined_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and name of each definition, argument, variable, field and alias."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name
            case ast.MatchMapping(rest=str(name)):
                yield node.lineno, name


@pytest.mark.parametrize("package", PACKAGES)
def test_no_name_is_of_the_words_that_say_nothing(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, name in defined_names(ast.parse(path.read_text(encoding="utf-8")))
        if parts(name) & BANNED
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "code",
    [
        "found = 1", "for heard in x: pass", "def f(*, wish): pass", "class HeardSound: pass",
        "self.told_once = 1", "import re as words", "x = [kin for kin in y]", "a: int; words: str",
        "f = lambda found: 0", "if (found := 1): pass", "match x:\n case [*words]: pass",
        "match x:\n case {**found}: pass", "async def told(): pass", "_WORDS = 1",
    ],
)  # fmt: skip
def test_every_way_to_give_a_name_is_seen(code: str) -> None:
    assert any(parts(name) & BANNED for _, name in defined_names(ast.parse(code)))


@pytest.mark.parametrize("code", ["foundation = 1", "x.found()", "kind = swords = 1", "f('told')"])
def test_other_names_are_not_refused(code: str) -> None:
    assert not any(parts(name) & BANNED for _, name in defined_names(ast.parse(code)))
