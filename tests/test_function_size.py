"""Functions stay short: at most 60 lines of code, and 8 parameters where they are no command's."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINES, PARAMETERS = 60, 8
# Commands, whose parameters are their options.
COMMANDS = "flows/cli/"
# What is over the limits still; the list may only become shorter.
OVER = {
    "stage2/console/band_model.py:__call__",
    "stage2/refine/guardrails.py:settle_in_corridor",
    "stage2/refine/search.py:__init__",
    "stage2/refine/search.py:refine",
}


def functions() -> Iterator[tuple[str, int, int]]:
    """Yield name, lines of code without docstring and comments, and parameters of each function."""
    for package in ("pipeline", "stage1", "stage2", "flows"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            lines = text.split("\n")
            for node in ast.walk(ast.parse(text)):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                body = node.body[1:] if ast.get_docstring(node) else node.body
                first = body[0].lineno - 1 if body else node.end_lineno or 0
                code = [line.strip() for line in lines[first : node.end_lineno]]
                code = [line for line in code if line and not line.startswith("#")]
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
                bound = int(names[:1] in (["self"], ["cls"]))
                parameters = len(names) + len(node.args.kwonlyargs) - bound
                place = path.relative_to(ROOT).as_posix()
                yield f"{place}:{node.name}", len(code), parameters


def test_no_function_is_longer_or_takes_more_than_what_is_left_over() -> None:
    over = {
        name
        for name, lines, parameters in functions()
        if lines > LINES or (parameters > PARAMETERS and not name.startswith(COMMANDS))
    }
    assert over == OVER, "cut new ones into phases or records; take what is mended off the list"
