"""The project's source, read as text: what each module defines, and what each definition uses.

A definition is a top-level statement, or a method of a dataclass. Its docstrings and comments are
no part of it. Nothing is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flows.dependencies.content import identity

__all__ = ["ROOT", "Definition", "Module", "SourceTree"]

ROOT = Path(__file__).parents[2]
"""The folder that holds the packages."""

_PACKAGES = ("flows", "pipeline", "stage1", "stage2")
# Called by name alone; a method with another decorator may be called by whoever decorated it.
_PLAIN = {"property", "cached_property", "classmethod", "staticmethod"}


@dataclass
class Definition:
    """A statement, or a method: its code, and what that uses.

    Parameters
    ----------
    code
        Without docstrings, comments and places.
    names
        Names as they stand in the module, also the first two parts of dotted ones.
    attributes
        What is asked of objects.
    strings
        Constants that may name a file, or a suffix.
    methods
        Those that count only where an attribute of their name is used.
    """

    code: str
    names: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    methods: dict[str, Definition] = field(default_factory=dict)


@dataclass
class Module:
    """The top level of one source file.

    Parameters
    ----------
    path
        Of the source file.
    data
        The other files in its folder and below, up to the next package; by name.
    loose
        Statements that run whenever the module is imported and define no name.
    imports
        What a name was imported as: a module, and the name in it, empty for the module itself.
    """

    path: Path
    data: dict[str, Path]
    definitions: dict[str, list[Definition]] = field(default_factory=dict)
    loose: list[Definition] = field(default_factory=list)
    imports: dict[str, set[tuple[str, str]]] = field(default_factory=dict)


class SourceTree:
    """The project's source, read as far as it is asked for.

    Parameters
    ----------
    root
        The folder that holds the packages.

    Attributes
    ----------
    root
        That folder.
    identities
        Of the files that were read, from the moment before.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.identities: dict[Path, str] = {}
        self._changed: dict[Path, bytes] = {}
        self._modules: dict[str, Module | None] = {}

    def changed(self, contents: Mapping[Path, bytes]) -> SourceTree:
        """Return the tree as it would be with other contents of some files."""
        other = SourceTree(self.root)
        other._changed = {**self._changed, **contents}
        other._modules = {
            name: module
            for name, module in self._modules.items()
            if module is None or module.path not in contents
        }
        return other

    def read(self, path: Path) -> bytes:
        """Return the content of a file of the tree."""
        self.identities[path] = identity(path)
        return self._changed[path] if path in self._changed else path.read_bytes()

    def module(self, name: str) -> Module | None:
        """Return a module of the project, None where it has no such module."""
        if name not in self._modules:
            self._modules[name] = None
            if name.partition(".")[0] in _PACKAGES:
                stem = self.root.joinpath(*name.split("."))
                for path in (stem.with_suffix(".py"), stem / "__init__.py"):
                    if path.is_file():
                        self._modules[name] = _parsed(self.read(path), path)
                        break
        return self._modules[name]


def _parsed(source: bytes, path: Path) -> Module:
    """Return the top level of a source file."""
    module = Module(path, {file.name: file for file in _data_files(path.parent)})
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                target = (node.module, alias.name)
                module.imports.setdefault(alias.asname or alias.name, set()).add(target)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                target = (alias.name if alias.asname else alias.name.partition(".")[0], "")
                module.imports.setdefault(alias.asname or target[0], set()).add(target)
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom) or _is_idle(statement):
            continue
        names = _defined(statement)
        definition = _definition(statement)
        if not names:
            module.loose.append(definition)
        for name in names:
            module.definitions.setdefault(name, []).append(definition)
    return module


def _data_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.name != "__pycache__" and not (path / "__init__.py").exists():
                yield from _data_files(path)
        elif path.suffix not in (".py", ".pyc"):
            yield path


def _is_idle(node: ast.stmt) -> bool:
    """Whether a statement changes no result: docstrings, log messages, imports for types alone."""
    if isinstance(node, ast.Expr):
        log = isinstance(node.value, ast.Call) and ast.unparse(node.value.func).startswith("_LOG.")
        return log or isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.dump(node.test) or "__main__" in ast.dump(node.test)
    return False


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines, none where it does more than that."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    names: list[str] = []
    for target in targets:
        inner = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
        for each in inner:
            if not isinstance(each, ast.Name):
                return []
            names.append(each.id)
    return names


def _definition(node: ast.stmt) -> Definition:
    methods: dict[str, Definition] = {}
    if isinstance(node, ast.ClassDef) and _is_dataclass(node):
        apart = [s for s in node.body if isinstance(s, ast.FunctionDef) and _is_plain(s)]
        methods = {method.name: _definition(method) for method in apart}
        node.body = [s for s in node.body if s not in apart] or [ast.Pass()]
    definition = Definition("", methods=methods)
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            kept = [s for s in inner.body if not _is_idle(s)]
            inner.body = kept or [ast.Pass()]
        elif isinstance(inner, ast.Name):
            definition.names.add(inner.id)
        elif isinstance(inner, ast.Attribute):
            definition.attributes.add(inner.attr)
            if isinstance(inner.value, ast.Name):
                definition.names.add(f"{inner.value.id}.{inner.attr}")
        elif (
            isinstance(inner, ast.Constant) and isinstance(inner.value, str) and "." in inner.value
        ):
            definition.strings.add(inner.value)
    definition.code = ast.dump(node)
    return definition


def _is_dataclass(node: ast.ClassDef) -> bool:
    """Whether a class is a record of ours, whose methods nobody outside calls by themselves."""
    return not node.bases and any("'dataclass'" in ast.dump(d) for d in node.decorator_list)


def _is_plain(node: ast.FunctionDef) -> bool:
    if node.name.startswith("__"):
        return False
    return all(isinstance(d, ast.Name) and d.id in _PLAIN for d in node.decorator_list)
