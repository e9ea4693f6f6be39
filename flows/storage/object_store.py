"""Objects below a URL: listed, read and written through fsspec, with second tries.

fsspec and what it needs for a scheme are loaded when the first URL is used. A failure that may
pass (a time-out, a server that is busy) is tried again with growing waits; a refusal is not.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from flows.storage.retries import RemoteError, retrying
from flows.thread_pool import map_in_threads
from pipeline.errors import InputError, Problem

__all__ = ["ObjectFolder", "StoredObject", "in_parallel"]

A = TypeVar("A")
T = TypeVar("T")

_DRIVERS = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs")}
# About twenty seconds in all.
_RETRIES, _FIRST_WAIT_S = 5, 0.6
_AT_ONCE = 8

# By name: the classes are the drivers', which are loaded only where they are used.
_NO_CREDENTIALS = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
    "TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOTokenLoadError",
    "DefaultCredentialsError", "RefreshError",
}  # fmt: skip


@dataclass(frozen=True)
class StoredObject:
    """One object.

    Parameters
    ----------
    name
        POSIX path below the folder that it was found in.
    identity
        Another for another content: its tag where the service gives one, else its time.
    modified_s
        When it was written, in seconds since 1970.
    """

    name: str
    size: int
    identity: str
    modified_s: float


class ObjectFolder:
    """The objects whose names begin with a URL and a slash.

    Parameters
    ----------
    url
        As :func:`flows.storage.locations.parse_place` returns it.

    Raises
    ------
    InputError
        If the package for the URL's scheme is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        scheme, _, self._path = url.partition("://")
        self._scheme = scheme
        self._files = _driver(scheme, os.getpid(), os.environ.get("AWS_ENDPOINT_URL", ""))

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path

    def list(self, below: str = "") -> dict[str, StoredObject]:
        """Return the objects below a name of this folder, by their names in this folder."""
        at = self._at(below)
        found: Mapping[str, Mapping[str, Any]] = self._try(
            below, lambda: self._files.find(at, detail=True)
        ) or {}  # fmt: skip
        objects = {}
        for path, info in found.items():
            # A folder made in a web page is an object whose name ends with a slash.
            if path.startswith(f"{at}/") and not path.endswith("/") and info["type"] == "file":
                stored = _stored(path[len(self._path) + 1 :], info)
                objects[stored.name] = stored
        return objects

    def look(self, name: str) -> StoredObject | None:
        """Return one object; None where there is none."""
        with contextlib.suppress(FileNotFoundError):
            info = self._try(name, lambda: self._files.info(self._at(name)), missing_is_said=False)
            return _stored(name, info) if info["type"] == "file" else None
        return None

    def read(self, name: str) -> bytes | None:
        """Return an object's content; None where there is none."""
        with contextlib.suppress(FileNotFoundError):
            content: bytes = self._try(
                name, lambda: self._files.cat_file(self._at(name)), missing_is_said=False
            )
            return content
        return None

    def write(self, name: str, content: bytes) -> None:
        """Write an object whole, over one that is there."""
        self._try(name, lambda: self._files.pipe_file(self._at(name), content))

    def upload(self, path: Path, name: str) -> None:
        """Write a file's content to an object; it is there when all of it is."""
        self._try(name, lambda: self._files.put_file(str(path), self._at(name)))

    def download(self, name: str, path: Path) -> None:
        """Write an object's content to a new file.

        Raises
        ------
        FileNotFoundError
            If there is no such object.
        """
        at = self._at(name)
        self._try(name, lambda: self._files.get_file(at, str(path)), missing_is_said=False)

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; one that is not there is no mistake."""

        def drop(name: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                self._try(name, lambda: self._files.rm_file(self._at(name)), missing_is_said=False)

        in_parallel(drop, list(names))

    def problems(self) -> tuple[Problem, ...]:
        """Return what keeps objects from being written, listed and removed, found by doing so."""
        probe = f".probe/{uuid.uuid4().hex}"
        try:
            self.write(probe, b"stemwright")
            self.list(".probe")
            self.remove([probe])
        except RemoteError as error:
            return (replace(error.problem, subject=self.url),)
        return ()

    def _try(self, name: str, work: Callable[[], T], *, missing_is_said: bool = True) -> T:
        url = f"{self.url}/{name}" if name else self.url

        def once() -> T:
            try:
                return work()
            except FileNotFoundError as error:
                if not missing_is_said:
                    raise
                # Lists and writes miss nothing but the bucket.
                what = "there is no such bucket"
                raise RemoteError(url, what, "check its name, or make it first") from error
            except Exception as error:
                raise self._failure(url, error) from error

        return retrying(_RETRIES, first_s=_FIRST_WAIT_S)(once)

    def _failure(self, url: str, error: Exception) -> RemoteError:
        """Return what to say of a failure: a refusal, or what may pass."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if isinstance(error, PermissionError) or getattr(error, "code", None) in (401, 403):
            what = f"permission denied ({_told(error)})"
            return RemoteError(url, what, "ask for access, or use other credentials")
        if kinds & _NO_CREDENTIALS:
            remedy = {
                "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
                "gs": "set GOOGLE_APPLICATION_CREDENTIALS",
            }[self._scheme]
            return RemoteError(url, "no credentials for it were found", remedy)
        local = isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC)
        if isinstance(error, ValueError | TypeError | FileExistsError) or local:
            return RemoteError(url, f"was refused ({_told(error)})", "check the URL and the disk")
        what = f"cannot be reached ({_told(error)})"
        remedy = "check the network and the endpoint, then run again"
        return RemoteError(url, what, remedy, may_pass=True)


def _told(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _stored(name: str, info: Mapping[str, Any]) -> StoredObject:
    when = next((w for k in ("LastModified", "updated", "mtime") if (w := info.get(k))), 0.0)
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    modified_s = when.timestamp() if isinstance(when, datetime) else float(when)
    tag = info.get("ETag") or info.get("md5Hash") or info.get("etag") or f"{modified_s:.6f}"
    size = int(info["size"])
    return StoredObject(name, size, f"{size}:{str(tag).strip(chr(34))}", modified_s)


_DRIVER_LOCK = threading.Lock()


def _driver(scheme: str, process: int, endpoint: str) -> Any:
    # One for all threads: each has a client, and connections, of its own.
    with _DRIVER_LOCK:
        return _new_driver(scheme, process, endpoint)


@functools.lru_cache(maxsize=4)
def _new_driver(scheme: str, process: int, endpoint: str) -> Any:
    package, extra = _DRIVERS[scheme]
    try:
        importlib.import_module(package)
    except ImportError as error:
        what = f"needs the package {package}, which is not installed"
        raise InputError(
            [Problem(f"{scheme}://", what, f"pip install 'stemwright[{extra}]'")]
        ) from error
    import fsspec

    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "s3":
        # Second tries are made here alone: those of three layers would multiply.
        patience = {
            "connect_timeout": 10,
            "read_timeout": 60,
            "retries": {"total_max_attempts": 1},
        }
        options["config_kwargs"] = patience
    files = fsspec.filesystem(scheme, **options)
    if scheme == "s3":
        files.retries = 1
        # Threads that connect at the same time would each make a client.
        with contextlib.suppress(Exception):  # the first request says what is wrong
            files.connect()
    return files


def in_parallel(
    work: Callable[[A], object], items: Sequence[A], on_done: Callable[[int], None] | None = None
) -> None:
    """Do something for each item, several at a time; see :func:`map_in_threads`."""
    # A transfer that is stopped would leave fsspec's event loop with a task that nobody waits for.
    map_in_threads(work, items, workers=_AT_ONCE, on_done=on_done, stops=False)
