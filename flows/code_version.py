"""The version of the code that a result depends on, computed from the source of what makes it.

From a function on, every definition that it uses is followed through the project's modules:
functions, classes, constants, and the data files that they name. Nothing is imported. A definition
counts without its docstrings and comments, and of a dataclass only the methods that somebody calls:
another sentence in a report, or another module of the same room, makes no result stale.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "ASIDE",
    "Dependencies",
    "SourceTree",
    "code_version",
    "libraries_version",
    "packages_version",
]

ROOT = Path(__file__).parents[1]
"""The folder that holds the packages."""

ASIDE = (
    "flows.code_version",
    "flows.engines",
    "flows.interrupts",
    "flows.progress",
    "flows.storage",
    "pipeline.errors",
)
"""Rooms and modules that change no result: where it runs, where it lies, how a problem is said."""

_DIGEST_BYTES = 20
_PACKAGES = ("flows", "pipeline", "stage1", "stage2")
# Called by name alone; a method with another decorator may be called by whoever decorated it.
_PLAIN = {"property", "cached_property", "classmethod", "staticmethod"}


@dataclass
class _Definition:
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
    methods: dict[str, _Definition] = field(default_factory=dict)


@dataclass
class _Module:
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
    definitions: dict[str, list[_Definition]] = field(default_factory=dict)
    loose: list[_Definition] = field(default_factory=list)
    imports: dict[str, set[tuple[str, str]]] = field(default_factory=dict)


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


class SourceTree:
    """The project's source, read as far as it is asked for.

    Parameters
    ----------
    root
        The folder that holds the packages.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._changed: dict[Path, bytes] = {}
        self._modules: dict[str, _Module | None] = {}

    def changed(self, contents: Mapping[Path, bytes]) -> SourceTree:
        """Return the tree as it would be with other contents of some files."""
        other = SourceTree(self._root)
        other._changed = {**self._changed, **contents}
        other._modules = {
            name: module
            for name, module in self._modules.items()
            if module is None or module.path not in contents
        }
        return other

    def read(self, path: Path) -> bytes:
        """Return the content of a file of the tree."""
        return self._changed[path] if path in self._changed else path.read_bytes()

    def module(self, name: str) -> _Module | None:
        """Return a module of the project, None where it has no such module."""
        if name not in self._modules:
            self._modules[name] = None
            if name.partition(".")[0] in _PACKAGES:
                stem = self._root.joinpath(*name.split("."))
                for path in (stem.with_suffix(".py"), stem / "__init__.py"):
                    if path.is_file():
                        self._modules[name] = _parsed(self.read(path), path)
                        break
        return self._modules[name]

    def dependencies(self, module: str, name: str) -> Dependencies:
        """Return what a top-level name of a module depends on.

        Raises
        ------
        LookupError
            If the project has no such module, or the module no such name.
        """
        start = self.module(module)
        if start is None or name not in start.definitions:
            raise LookupError(f"there is no {name} in the source of {module}")
        closure = _Closure(self)
        closure.follow(module, name)
        closure.settle()
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        for place, code in sorted(closure.code.items()):
            digest.update(f"{place}\0{len(code)}\0{code}".encode())
        data = sorted(closure.data)
        for path in data:
            content = self.read(path)
            digest.update(f"{path.relative_to(self._root).as_posix()}\0{len(content)}\0".encode())
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
        self._todo: list[tuple[str, _Definition]] = []
        self._methods: list[tuple[str, str, str, _Definition]] = []  # module, class, name
        self._suffixes: dict[str, set[str]] = {}

    def _module(self, name: str) -> _Module | None:
        found = self._tree.module(name)
        if found is not None:
            self.sources.add(found.path)
        return found

    def follow(self, module: str, name: str) -> None:
        """Add a name of a module, or where that was imported from; empty for all of it."""
        found = self._module(module)
        if found is None or (module, name) in self._seen or _stands_aside(module):
            return
        self._seen.add((module, name))
        if not name:
            for each in found.definitions:
                self.follow(module, each)
        for number, definition in enumerate(found.definitions.get(name, [])):
            self._add(module, name if not number else f"{name}#{number}", definition)
        for target, inner in found.imports.get(name, ()):
            self._follow_import(target, inner)
        if f"{module}:" not in self.code:
            self.code[f"{module}:"] = ""
            for definition in found.loose:
                self._add(module, "", definition)

    def _follow_import(self, module: str, name: str) -> None:
        found = self._module(module)
        if found is not None and (name in found.definitions or name in found.imports):
            self.follow(module, name)
        elif name and self._module(f"{module}.{name}") is None:
            self.follow(module, "")  # a name that comes about otherwise

    def _add(self, module: str, name: str, definition: _Definition) -> None:
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

    def _use(self, module: str, definition: _Definition) -> None:
        found = self._module(module)
        assert found is not None
        self._attributes |= definition.attributes
        for used in definition.names:
            root, _, attribute = used.partition(".")
            if not attribute and (root in found.definitions or root in found.imports):
                self.follow(module, root)
            for target, inner in found.imports.get(root, ()) if attribute else ():
                inside = f"{target}.{inner}" if inner else target
                if self._module(inside) is not None:
                    self._follow_import(inside, attribute)
        self._use_strings(module, found, definition.strings)

    def _use_strings(self, module: str, found: _Module, strings: Iterable[str]) -> None:
        """Add the data files that a module names; also by another suffix, as ``with_suffix``."""
        suffixes = self._suffixes.setdefault(module, set())
        suffixes |= {text for text in strings if text.startswith(".")}
        self.data |= {found.data[text] for text in strings if text in found.data}
        named = {path.with_suffix("") for path in found.data.values() if path in self.data}
        self.data |= {
            path
            for path in found.data.values()
            if path.suffix in suffixes and path.with_suffix("") in named
        }


def _stands_aside(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in ASIDE)


def _parsed(source: bytes, path: Path) -> _Module:
    """Return the top level of a source file."""
    module = _Module(path, {file.name: file for file in _data_files(path.parent)})
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
    """Whether a statement does nothing when its module is imported."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
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


def _definition(node: ast.stmt) -> _Definition:
    methods: dict[str, _Definition] = {}
    if isinstance(node, ast.ClassDef) and _is_dataclass(node):
        apart = [s for s in node.body if isinstance(s, ast.FunctionDef) and _is_plain(s)]
        methods = {method.name: _definition(method) for method in apart}
        node.body = [s for s in node.body if s not in apart] or [ast.Pass()]
    definition = _Definition("", methods=methods)
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


_LOCK = threading.Lock()  # steps of one process run in threads


@functools.cache
def _shared_tree() -> SourceTree:
    return SourceTree()


@functools.cache
def code_version(module: str, name: str, memory: Path | None = None) -> str:
    """Return the version of the code that a top-level function of the project stands on.

    Parameters
    ----------
    module, name
        Of the function.
    memory
        A folder to remember it in until one of the files changes: looking at their time stamps
        takes a hundredth of the time.

    Raises
    ------
    LookupError
        If there is no such function.
    """
    place = memory / f"{module}.{name}.json" if memory is not None else None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if place is not None:
            known = json.loads(place.read_text(encoding="utf-8"))
            if all(_stamp(Path(path)) == stamp for path, stamp in known["files"].items()):
                return str(known["version"])
    with _LOCK:
        found = _shared_tree().dependencies(module, name)
    if place is not None:
        # A store that cannot be written to costs time, not the result.
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = place.with_name(f"{place.name}.{uuid.uuid4().hex}")
            files = {str(path): _stamp(path) for path in found.files}
            text = json.dumps({"version": found.version, "files": files})
            draft.write_text(text, encoding="utf-8")
            draft.replace(place)
    return found.version


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def packages_version(*packages: str) -> str:
    """Return a hash of all the Python files in top-level packages of the project."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


@functools.cache
def libraries_version(libraries: tuple[str, ...]) -> str:
    """Return the installed versions of libraries, as ``name=version`` words."""
    return " ".join(f"{name}={importlib.metadata.version(name)}" for name in libraries)
