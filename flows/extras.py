"""Packages that only some commands need: extras of the installation."""

from __future__ import annotations

import importlib.util

from pipeline.errors import InputError, Problem

__all__ = ["is_installed", "require"]

_PACKAGES = {
    "prefect": ("prefect", "uvicorn"),
    "dask": ("distributed", "cryptography"),
    "team": ("prefect", "uvicorn", "sqlalchemy", "asyncpg"),
}


def is_installed(extra: str) -> bool:
    """Return whether the packages of an extra are there; nothing is imported."""
    return not _missing(extra)


def require(extra: str, subject: str) -> None:
    """Refuse what needs packages that are not installed.

    Parameters
    ----------
    extra
        As in ``pip install 'stemwright[extra]'``.
    subject
        What needs them.

    Raises
    ------
    InputError
        With the packages and the command that installs them.
    """
    missing = _missing(extra)
    if missing:
        kind = "packages" if len(missing) > 1 else "package"
        verb = "are" if len(missing) > 1 else "is"
        what = f"needs the {kind} {' and '.join(missing)}, which {verb} not installed"
        raise InputError([Problem(subject, what, f"pip install 'stemwright[{extra}]'")])


def _missing(extra: str) -> list[str]:
    return [name for name in _PACKAGES[extra] if importlib.util.find_spec(name) is None]
