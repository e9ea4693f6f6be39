"""Versions for the keys of results: of the code and of the libraries that they stand on."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import sys
import threading
from pathlib import Path

from flows.dependencies.closure import dependencies
from flows.dependencies.content import DIGEST_BYTES, identity, remember
from flows.dependencies.source import ROOT, SourceTree

__all__ = ["code_version", "libraries_version", "packages_version"]

# Beside the compiled modules, where that can be written.
_BESIDE = Path(__file__).parent / "__pycache__"

_LOCK = threading.Lock()  # steps of one process run in threads
_KNOWN: dict[tuple[str, str], str] = {}


@functools.cache
def _shared_tree() -> SourceTree:
    return SourceTree()


def code_version(module: str, name: str, fallback: Path) -> str:
    """Return the version of the code that a top-level function of the project stands on.

    It is computed once and remembered until one of the files changes: that takes a second, looking
    at their time stamps a few milliseconds.

    Parameters
    ----------
    module, name
        Of the function.
    fallback
        A folder to remember it in where the installation cannot be written to.

    Raises
    ------
    LookupError
        If there is no such function.
    """
    with _LOCK:
        if (module, name) not in _KNOWN:
            # Another installation, or another Python, tells another version.
            where = hashlib.blake2b(f"{ROOT}\0{sys.version}".encode(), digest_size=4).hexdigest()
            places = [folder / f"{module}.{name}.{where}.json" for folder in (_BESIDE, fallback)]
            version = next(filter(None, map(_remembered, places)), None)
            _KNOWN[module, name] = version or _computed(module, name, places)
        return _KNOWN[module, name]


def _remembered(place: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        memory = json.loads(place.read_text(encoding="utf-8"))
        if all(identity(Path(path)) == known for path, known in memory["files"].items()):
            return str(memory["version"])
    return None


def _computed(module: str, name: str, places: list[Path]) -> str:
    tree = _shared_tree()
    known = dependencies(tree, module, name)
    files = {str(path): tree.identities[path] for path in known.files}
    text = json.dumps({"version": known.version, "files": files})
    any(remember(place, text) for place in places)  # in the first that can be written to
    return known.version


def packages_version(*packages: str) -> str:
    """Return a hash of all the source and data files in top-level packages of the project."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for package in packages:
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":
                content = path.read_bytes()
                digest.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
                digest.update(content)
    return digest.hexdigest()


@functools.cache
def libraries_version(libraries: tuple[str, ...]) -> str:
    """Return the installed versions of libraries, as ``name=version`` words."""
    return " ".join(f"{name}={importlib.metadata.version(name)}" for name in libraries)
