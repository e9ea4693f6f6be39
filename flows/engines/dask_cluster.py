"""A Dask cluster that runs already: reached, and its workers looked at before any step runs there.

They must have the versions that this process has, and see the folders that it sees.
"""

from __future__ import annotations

import contextlib
import socket
import uuid
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flows.engines.dask_worker import glimpse, told_versions
from pipeline.errors import InputError, Problem

__all__ = ["look_at_workers", "reach"]

_REACHED_S = 10.0
# What must be alike for the two ends to understand each other.
_SPOKEN = ("dask", "distributed", "cloudpickle", "msgpack")


def reach(address: str) -> Any:
    """Return a client of the scheduler at an address; it is a context manager.

    Raises
    ------
    InputError
        If it cannot be reached.
    """
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    try:
        host, _, port = address.partition("://")[2].rpartition(":")
        # Dask would go on asking where nobody listens.
        socket.create_connection((host.strip("[]"), int(port)), _REACHED_S).close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)  # told below, as an error
            return Client(  # type: ignore[no-untyped-call]
                address, set_as_default=False, timeout=_REACHED_S
            )
    except (OSError, TimeoutError, ValueError) as error:
        what = f"cannot be reached ({str(error) or type(error).__name__})".replace("\n", " ")
        remedy = "start it there with: dask scheduler --host ADDRESS; or leave --dask out"
        raise InputError([Problem(f"--dask {address}", what, remedy)]) from error


def look_at_workers(
    client: Any, address: str, *, workers: int | None, reads: Sequence[Path], writes: Sequence[Path]
) -> list[str]:
    """Return the addresses of the workers to use; empty for all of them.

    Parameters
    ----------
    client
        From :func:`reach`.
    workers, reads, writes
        As for :class:`flows.engines.dask.DaskEngine`.

    Raises
    ------
    InputError
        If there are none, or with all in which they differ from this process.
    """
    nthreads = client.nthreads()
    if not nthreads:
        remedy = f"start some with: dask worker {address} --nthreads 1"
        raise InputError([Problem(f"--dask {address}", "has no workers", remedy)])
    problems = [*_unlike(client, address), *_unseen(client, reads, writes)]
    if problems:
        raise InputError(problems)
    return [] if workers is None else sorted(nthreads)[:workers]


def _unlike(client: Any, address: str) -> list[Problem]:
    """Return where versions differ from those here."""
    told = client.get_versions(check=False)
    here = told["client"]["packages"]
    remedy = "install the same version there as here"
    problems = []
    there = told["scheduler"]["packages"]
    for name in _SPOKEN:
        if there.get(name) != here.get(name):
            what = f"the scheduler has {name} {there.get(name)}, and here it is {here[name]}"
            problems.append(Problem(f"--dask {address}", what, remedy))
    ours = told_versions()
    for worker, theirs in client.run(told_versions, on_error="return").items():
        subject = f"worker {worker}"
        if isinstance(theirs, BaseException):
            what = f"cannot run Stemwright ({type(theirs).__name__}: {theirs})"
            problems.append(Problem(subject, what.replace("\n", " "), remedy))
            continue
        unlike = [
            f"{name} {theirs.get(name)} (here {version})"
            for name, version in ours.items()
            if theirs.get(name) != version
        ]
        if unlike:
            problems.append(Problem(subject, f"has {', '.join(unlike)}", remedy))
    return problems


def _unseen(client: Any, reads: Sequence[Path], writes: Sequence[Path]) -> list[Problem]:
    """Return which workers see other folders and files than this process does."""
    problems = []
    for path in (*reads, *writes):
        if path in writes:
            with contextlib.suppress(OSError):
                path.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            continue  # told elsewhere
        with _sign(path, written=path in writes) as (folder, name):
            here = glimpse(folder, name)
            answers = client.run(glimpse, folder, name, on_error="return")
        remedy = "share that folder with every worker, at the same path"
        if path.is_file():
            remedy = "share its folder with every worker, at the same path"
        problems += [
            Problem(f"worker {worker}", f"does not see {path} as it is here", remedy)
            for worker, there in answers.items()
            if there != here and not isinstance(there, BaseException)
        ]
    return problems


@contextlib.contextmanager
def _sign(path: Path, *, written: bool) -> Iterator[tuple[str, str]]:
    """Give a folder, and the name in it that tells it from others; no name where there is none.

    In a folder that is written to, a file is left as long as it is asked for.
    """
    if not path.is_dir():
        yield str(path.absolute().parent), path.name
        return
    folder = path.resolve()
    token = folder / f".seen-{uuid.uuid4().hex}"
    try:
        if written:
            token.touch()
    except OSError:
        written = False
    try:
        yield str(folder), token.name if written else ""
    finally:
        if written:
            token.unlink(missing_ok=True)
