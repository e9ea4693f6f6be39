"""Which engine runs a recipe: chosen by name, imported only when it is wanted.

Prefect and Dask take seconds to import; a local run starts at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from flows.dashboard.tags import Listing
from flows.engines.base import Engine
from flows.engines.local import LocalEngine
from flows.extras import is_installed, require
from flows.progress import Progress
from flows.storage.locations import Place

__all__ = [
    "EngineName",
    "SharedFolders",
    "begin_engine",
    "make_engine",
    "resolve_engine",
    "run_recipe",
]


T = TypeVar("T")

EngineName = Literal["auto", "local", "prefect", "dask"]


@dataclass(frozen=True)
class SharedFolders:
    """Folders that the steps read and write: every machine that works on them must see them."""

    reads: Sequence[Place] = ()
    writes: Sequence[Place] = ()


def resolve_engine(
    name: EngineName, dask: str | None = None
) -> Literal["local", "prefect", "dask"]:
    """Return what ``"auto"`` means now: Prefect where a server is known, else local.

    A server is known when ``PREFECT_API_URL`` is set or ``stemwright dashboard`` is running.

    Parameters
    ----------
    dask
        Address of a running Dask scheduler; it stands for the engine ``"dask"``.

    Raises
    ------
    InputError
        If the engine's packages are not installed.
    """
    if dask is not None:
        name = "dask"
    if name != "auto":
        if name != "local":
            require(name, f"engine {name}")
        return name
    if not is_installed("prefect"):
        return "local"
    # Loaded only where its answer is wanted, as the engines below.
    from flows.dashboard.control import running_server

    return "prefect" if os.environ.get("PREFECT_API_URL") or running_server() else "local"


def make_engine(
    name: EngineName,
    *,
    dask: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    folders: SharedFolders | None = None,
) -> Engine:
    """Return an engine by name.

    A Prefect engine works inside a flow run; :func:`run_recipe`, which has the parameters told,
    makes one around a recipe.
    """
    resolved = resolve_engine(name, dask)
    if resolved == "prefect":
        # Prefect takes a second to import.
        from flows.engines.prefect import PrefectEngine

        return PrefectEngine(workers=workers, progress=progress)
    if resolved == "dask":
        from flows.engines.dask import DaskEngine

        shared = folders or SharedFolders()
        return DaskEngine(workers, progress, address=dask, reads=shared.reads, writes=shared.writes)
    return LocalEngine(workers, progress)


def begin_engine(name: EngineName, dask: str | None = None) -> None:
    """Begin what an engine needs long for, in the background, before the recipe is imported."""
    if name == "dask":
        require(name, f"engine {name}")
    if name == "dask" and dask is None:
        from flows.engines.dask import begin_fork_server

        begin_fork_server()


def run_recipe(
    title: str,
    recipe: Callable[[Engine], T],
    *,
    engine: EngineName = "auto",
    dask: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    folders: SharedFolders | None = None,
    listing: Listing | None = None,
) -> T:
    """Run a recipe on the engine of that name and return what it returns.

    Parameters
    ----------
    title
        What is worked on, such as the session's name: the flow run's name in Prefect.
    recipe
        A function over an :class:`Engine`.
    dask
        Address of a running Dask scheduler to work on.
    folders
        That the steps read and write.
    listing
        What Prefect's dashboard shows the run under.

    Examples
    --------
    >>> run_recipe("demo", lambda engine: engine.map(len, ["a", "bc"], name="n", labels=["1", "2"]),
    ...            engine="local")
    [1, 2]
    """
    resolved = resolve_engine(engine, dask)
    if resolved == "prefect":
        from flows.engines.prefect import run_as_flow

        return run_as_flow(title, recipe, listing=listing, workers=workers, progress=progress)
    with make_engine(
        resolved, dask=dask, workers=workers, progress=progress, folders=folders
    ) as made:
        return recipe(made)
