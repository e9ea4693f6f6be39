"""``stemwright init``: a ``session.toml`` with what a mix would take each track for."""

from __future__ import annotations

from pathlib import Path

from flows.analysis import AnalysedSession, analyse_session
from flows.engine import run_recipe
from flows.places import Place
from flows.progress import Progress
from flows.settings import MixSettings
from pipeline.problems import InputError, Problem
from pipeline.session_settings import SESSION_TOML
from pipeline.session_template import write_session_toml

__all__ = ["init_session"]


def init_session(
    root: Place, *, settings: MixSettings, store: Place, progress: Progress
) -> tuple[Path, AnalysedSession]:
    """Analyse a session and write what was recognised, by name and by sound, to be edited.

    Returns
    -------
    path : Path
        The file.
    analysed : AnalysedSession

    Raises
    ------
    InputError
        If the file exists already, or with every problem of the session.
    """
    if isinstance(root, str):
        remedy = f"write a {SESSION_TOML} yourself and upload it, or copy the session here"
        raise InputError([Problem(root, "is a URL, and init writes on this machine", remedy)])
    path = root / SESSION_TOML
    if path.exists():
        raise InputError([Problem(str(path), "exists already", "edit it, or move it away")])
    analysed = run_recipe(
        root.resolve().name,
        lambda engine: analyse_session(engine, root, settings=settings, store=store),
        engine=settings.engine,
        workers=settings.workers,
        progress=progress,
    )
    found = {record.name: record for record in analysed.recognitions}
    write_session_toml(analysed.session, found, path)
    return path, analysed
