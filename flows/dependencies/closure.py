"""What a function stands on: every definition and data file that it uses, however far away.

From a function on, its names are followed through the project's modules: functions, classes,
constants, and the data files that they name. Of a dataclass only the methods count that somebody
calls. So another sentence in a report, or another module of the same room, is no dependency.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flows.dependencies.content import DIGEST_BYTES
from flows.dependencies.source import Definition, Module, SourceTree

__all__ = ["ASIDE", "Dependencies", "dependencies"]

ASIDE = (
    "flows.dependencies",
    "flows.engines",
    "flows.interrupts",
    "flows.progress",
    "flows.storage",
    "pipeline.errors",
    "pipeline.plan",
)
"""Rooms and modules that change no result: where it runs, where it lies, how a problem is said.

Nor what a plan may hold: what a step takes of one stands in its key as a value.
"""


@dataclass(frozen=True)
class Dependencies:
    """What a function's result depends on.

    Parameters
    ----------
    definitions
        ``module:name``, of a method ``module:Class.name``; ``module:`` for what runs on import.
    files
        Source files and data files, all that were read to tell.
    data
        Data files alone.
    version
        A hash of all definitions and data files.
    """

    definitions: tuple[str, ...]
    files: tuple[Path, ...]
    data: tuple[Path, ...]
    version: str


def dependencies(tree: SourceTree, module: str, name: str) -> Dependencies:
    """Return what a top-level name of a module depends on.

    Raises
    ------
    LookupError
        If the project has no such module, or the module no such name.
    """
    start = tree.module(module)
    if start is None or name not in start.definitions:
        raise LookupError(f"there is no {name} in the source of {module}")
    closure = _Closure(tree)
    closure.follow(module, name)
    closure.settle()
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for place, code in sorted(closure.code.items()):
        digest.update(f"{place}\0{len(code)}\0{code}".encode())
    data = sorted(closure.data)
    for path in data:
        content = tree.read(path)
        digest.update(f"{path.relative_to(tree.root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return Dependencies(
        tuple(sorted(closure.code)),
        tuple(sorted(closure.sources | closure.data)),
        tuple(data),
        digest.hexdigest(),
    )


class _Closure:
    """All that is used from a name on, collected until nothing is new."""

    def __init__(self, tree: SourceTree) -> None:
        self.code: dict[str, str] = {}
        self.data: set[Path] = set()
        self.sources: set[Path] = set()
        self._tree = tree
        self._seen: set[tuple[str, str]] = set()
        self._attributes: set[str] = set()
        self._todo: list[tuple[str, Definition]] = []
        self._methods: list[tuple[str, str, str, Definition]] = []  # module, class, name
        self._suffixes: dict[str, set[str]] = {}

    def _module(self, name: str) -> Module | None:
        parsed = self._tree.module(name)
        if parsed is not None:
            self.sources.add(parsed.path)
        return parsed

    def follow(self, module: str, name: str) -> None:
        """Add a name of a module, or where that was imported from; empty for all of it."""
        parsed = self._module(module)
        if parsed is None or (module, name) in self._seen or _stands_aside(module):
            return
        self._seen.add((module, name))
        if not name:
            for each in parsed.definitions:
                self.follow(module, each)
        for number, definition in enumerate(parsed.definitions.get(name, [])):
            self._add(module, name if not number else f"{name}#{number}", definition)
        for target, inner in parsed.imports.get(name, ()):
            self._follow_import(target, inner)
        if f"{module}:" not in self.code:
            self.code[f"{module}:"] = ""
            for definition in parsed.loose:
                self._add(module, "", definition)

    def _follow_import(self, module: str, name: str) -> None:
        parsed = self._module(module)
        if parsed is not None and (name in parsed.definitions or name in parsed.imports):
            self.follow(module, name)
        elif name and self._module(f"{module}.{name}") is None:
            self.follow(module, "")  # a name that comes about otherwise

    def _add(self, module: str, name: str, definition: Definition) -> None:
        place = f"{module}:{name}"
        self.code[place] = self.code.get(place, "") + definition.code
        self._todo.append((module, definition))
        for method, inner in definition.methods.items():
            self._methods.append((module, name, method, inner))

    def settle(self) -> None:
        """Follow what was added, and what that uses, to the end."""
        while self._todo:
            while self._todo:
                self._use(*self._todo.pop())
            waiting, self._methods = self._methods, []
            for module, owner, name, method in waiting:
                if name in self._attributes:
                    self._add(module, f"{owner}.{name}", method)
                else:
                    self._methods.append((module, owner, name, method))

    def _use(self, module: str, definition: Definition) -> None:
        parsed = self._module(module)
        assert parsed is not None
        self._attributes |= definition.attributes
        for used in definition.names:
            root, _, attribute = used.partition(".")
            if not attribute and (root in parsed.definitions or root in parsed.imports):
                self.follow(module, root)
            for target, inner in parsed.imports.get(root, ()) if attribute else ():
                inside = f"{target}.{inner}" if inner else target
                if self._module(inside) is not None:
                    self._follow_import(inside, attribute)
        self._use_strings(module, parsed, definition.strings)

    def _use_strings(self, module: str, parsed: Module, strings: Iterable[str]) -> None:
        """Add the data files that a module names; also by another suffix, as ``with_suffix``."""
        suffixes = self._suffixes.setdefault(module, set())
        suffixes |= {text for text in strings if text.startswith(".")}
        self.data |= {parsed.data[text] for text in strings if text in parsed.data}
        named = {path.with_suffix("") for path in parsed.data.values() if path in self.data}
        self.data |= {
            path
            for path in parsed.data.values()
            if path.suffix in suffixes and path.with_suffix("") in named
        }


def _stands_aside(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in ASIDE)
