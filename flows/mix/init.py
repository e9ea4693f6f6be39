"""``stemwright init``: a ``session.toml`` with what a mix would take each track for."""

from __future__ import annotations

import tempfile
from pathlib import Path

from flows.dashboard.tags import Listing, run_tags
from flows.engines.run import SharedFolders, run_recipe
from flows.mix.analysis import AnalysedSession, analyse_session
from flows.progress import Progress
from flows.settings import MixSettings
from flows.storage.locations import Place, inside, name_of
from flows.storage.object_store import ObjectFolder
from flows.storage.retries import as_input_error
from flows.storage.store import made_whole
from pipeline.errors import InputError, Problem
from pipeline.session.settings import SESSION_TOML
from pipeline.session.template import write_session_toml

__all__ = ["init_session"]


def init_session(
    root: Place, *, settings: MixSettings, store: Place, progress: Progress
) -> tuple[Place, AnalysedSession]:
    """Analyse a session and write what was recognised, by name and by sound, to be edited.

    Returns
    -------
    path : Path or str
        The file, or its URL.
    analysed : AnalysedSession

    Raises
    ------
    InputError
        If the file exists already, or with every problem of the session.
    """
    path = inside(root, SESSION_TOML)
    _refuse_existing(path)
    analysed = run_recipe(
        name_of(root),
        lambda engine: made_whole(
            lambda: analyse_session(
                engine, root, settings=settings, store=store, progress=progress
            ),
            store,
        ),
        engine=settings.engine,
        dask=settings.dask,
        folders=SharedFolders(reads=[root], writes=[store]),
        workers=settings.workers,
        progress=progress,
        listing=Listing(tags=run_tags("init", session=name_of(root))),
    )
    found = {record.name: record for record in analysed.recognitions}
    if isinstance(path, Path):
        write_session_toml(analysed.session, found, path)
    else:
        with tempfile.TemporaryDirectory(prefix="stemwright-") as folder:
            draft = Path(folder) / SESSION_TOML
            write_session_toml(analysed.session, found, draft)
            _refuse_existing(path)  # somebody may have written one meanwhile
            _folder_of(path).upload(draft, SESSION_TOML)
    return path, analysed


def _folder_of(url: str) -> ObjectFolder:
    return ObjectFolder(url.rpartition("/")[0])


def _refuse_existing(path: Place) -> None:
    if _exists(path):
        raise InputError([Problem(str(path), "exists already", "edit it, or move it away")])


def _exists(path: Place) -> bool:
    if isinstance(path, Path):
        return path.exists()
    with as_input_error():
        return _folder_of(path).look(SESSION_TOML) is not None
