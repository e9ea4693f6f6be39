"""Places: a path on this machine, or the URL of a folder or file that several machines share."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from pipeline.errors import InputError, Problem

__all__ = [
    "Place",
    "cache_root",
    "inside",
    "is_url",
    "name_of",
    "parse_place",
    "relative_url",
    "stem_of",
]

Place = Path | str
"""A local path, or a URL as :func:`parse_place` returns it."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_USE = "use a folder on this machine, or a URL with s3://, gs:// or file://"


def is_url(place: object) -> bool:
    """Whether a place is the URL of something that is not on this machine."""
    return isinstance(place, str) and _URL.match(place) is not None


def parse_place(given: Place, *, subject: str | None = None) -> Place:
    """Return what a user named: a path, or a URL without the slashes at its end.

    ``file://`` is a path. What follows the bucket in an ``s3://`` or ``gs://`` URL is taken as it
    stands: a space is a space, and ``%20`` is those three characters.

    Parameters
    ----------
    subject
        What the place is for, such as ``"--store"``; None for the place itself.

    Raises
    ------
    InputError
        If the URL is of no kind that can be worked with.
    """
    text = str(given)
    match = _URL.match(text)
    if isinstance(given, Path) or match is None:
        return Path(given)
    subject, scheme, rest = subject or text, match[1].lower(), text[match.end() :]
    if scheme == "file":
        path = unquote(rest.removeprefix("localhost"))
        if not path.startswith("/"):
            raise InputError([Problem(subject, f"is {text!r}", "write it as file:///folder/name")])
        return Path(path[1:] if re.match(r"/[A-Za-z]:", path) and os.name == "nt" else path)
    if scheme == "memory":
        what = f"is {text!r}, which no other process sees"
        raise InputError([Problem(subject, what, _USE)])
    if scheme not in _SCHEMES:
        raise InputError([Problem(subject, f"is {text!r}: {scheme}:// is not known", _USE)])
    parts = rest.rstrip("/").split("/")
    if not parts[0] or any(part in ("", ".", "..") for part in parts):
        what = f"is {text!r}, which has an empty or a dotted name in it"
        raise InputError([Problem(subject, what, f"write it as {scheme}://bucket/folder/name")])
    return f"{_SCHEMES[scheme]}://{'/'.join(parts)}"


def name_of(place: Place) -> str:
    """Return the last name of a place: what a song or a recording is called by."""
    if isinstance(place, Path):
        return place.resolve().name
    return place.rpartition("/")[2]


def stem_of(place: Place) -> str:
    """Return the last name of a place without its suffix."""
    return place.stem if isinstance(place, Path) else PurePosixPath(name_of(place)).stem


def inside(place: Place, *names: str) -> Place:
    """Return a place in a place."""
    return place.joinpath(*names) if isinstance(place, Path) else "/".join((place, *names))


def relative_url(target: str, folder: str) -> str:
    """Return how to get from the URL of a folder to another URL; as it is in another bucket."""
    if target.split("/")[:3] != folder.split("/")[:3]:
        return target
    return posixpath.relpath(target.partition("://")[2], folder.partition("://")[2])


def cache_root(variable: str, name: str) -> Path:
    """Return a folder of this user on this machine: what a variable says, else in the cache."""
    chosen = os.environ.get(variable)
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(cache) if cache else Path.home() / ".cache"
    except RuntimeError as error:  # a user without a home, as in some containers
        what = "is not known: this user has no home folder"
        remedy = f"set {variable}, or HOME, to a folder that can be written"
        raise InputError([Problem(f"the folder of the {name}", what, remedy)]) from error
    return (root / "stemwright" / name).absolute()
