"""The PostgreSQL database of a team's dashboard: its address, checked before a server starts.

Its password is never in an argument of a process, a file, a log or an error of ours: it travels in
the environment of the server's process alone. SQLAlchemy, which Prefect connects with, is loaded
only here.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from flows.extras import require
from pipeline.errors import InputError, Problem

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = ["VARIABLE", "check_database", "chosen_database", "masked", "password_aside"]

# An address given here is as good as the flag, and is in no process list.
VARIABLE = "STEMWRIGHT_DATABASE"

_DRIVER = "postgresql+asyncpg"
_EXAMPLE = f"{_DRIVER}://USER:PASSWORD@HOST:5432/DATABASE"
_TIMEOUT_S = 10.0
_PASSWORD = re.compile(r"(?P<before>^[a-z0-9+]*://[^:@/?#]*:)(?P<password>.+)(?=@)")


def chosen_database(given: str | None) -> str | None:
    """Return the address that was asked for, by a flag or else in the environment."""
    prefect = os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "")
    return given or os.environ.get(VARIABLE) or (prefect if prefect[:8] == "postgres" else None)


def masked(url: str) -> str:
    """Return an address without its password.

    Examples
    --------
    >>> masked("postgresql+asyncpg://ann:secret@db:5432/runs")
    'postgresql+asyncpg://ann:***@db:5432/runs'
    """
    shown = _PASSWORD.sub(r"\g<before>***", url)
    return re.sub(r"(?i)([?&](?:password|sslpassword)=)[^&]*", r"\1***", shown)


def password_aside(arguments: list[str]) -> tuple[list[str], str] | None:
    """Return a command's arguments without the database's password, and the address that had it.

    ``None`` where there is none to hide.
    """
    for index, argument in enumerate(arguments):
        if argument == "--database":
            url, taken = "".join(arguments[index + 1 : index + 2]), 2
        elif argument.startswith("--database="):
            url, taken = argument.removeprefix("--database="), 1
        else:
            continue
        if masked(url) != url:
            return [*arguments[:index], *arguments[index + taken :]], url
    return None


def check_database(url: str) -> str:
    """Connect to a database as the server will, and return its address as Prefect wants it.

    Raises
    ------
    InputError
        If it is no PostgreSQL address, cannot be reached, or does not let the user make tables.
    """
    require("team", "database")
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _wrong("is no database address", f"write {_EXAMPLE}") from None
    if parsed.drivername not in ("postgres", "postgresql", _DRIVER):
        raise _wrong(
            f"is for {parsed.drivername!r}, and a team's dashboard keeps its runs in PostgreSQL",
            f"write {_EXAMPLE}, or leave --database out for a file of your own",
        )
    if not parsed.database:
        raise _wrong(f"{_shown(parsed)} names no database", f"write {_EXAMPLE}")
    parsed = parsed.set(drivername=_DRIVER)
    if "sslmode" in parsed.query:  # libpq's word for it
        mode = parsed.query["sslmode"]
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    import asyncio

    problem = asyncio.run(_try(parsed))
    if problem is not None:
        raise InputError([problem])
    return parsed.render_as_string(hide_password=False)


async def _try(url: URL) -> Problem | None:
    import asyncio

    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    try:
        engine = create_async_engine(url, poolclass=NullPool)
        async with asyncio.timeout(_TIMEOUT_S), engine.connect() as connection:
            found = await connection.execute(
                text(
                    "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),"
                    " EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')"
                )
            )
            may_create, has_trigrams = found.one()
    except Exception as error:
        return _unreachable(url, error)
    if not may_create:
        return _problem(
            f"{_shown(url)} does not let its user make tables",
            f"GRANT CREATE ON SCHEMA public TO {url.username or 'the user'}, or make the user the "
            "database's owner",
        )
    if not has_trigrams:
        return _problem(
            f"the server of {_shown(url)} lacks the extension pg_trgm",
            "install PostgreSQL's contrib modules there",
        )
    return None


def _unreachable(url: URL, error: BaseException) -> Problem:
    # SQLAlchemy wraps what the driver raised, twice.
    while not type(error).__module__.startswith("asyncpg"):
        cause = getattr(error, "orig", None) or error.__cause__
        if cause is None:
            break
        error = cause
    kind = type(error).__name__
    if kind in ("InvalidPasswordError", "InvalidAuthorizationSpecificationError"):
        return _problem(
            f"{_shown(url)} refuses user {url.username or os.environ.get('PGUSER', '')!r}",
            f"give the right user and password, in {VARIABLE}, PGPASSWORD or ~/.pgpass",
        )
    if kind == "InvalidCatalogNameError":
        return _problem(
            f"there is no database {url.database!r} on {_server(url)}",
            f"make it there: createdb {url.database}",
        )
    if isinstance(error, TypeError):  # asyncpg's own for an option it does not have
        return _problem(
            f"{_shown(url)} has an option that asyncpg does not know",
            f"use those of asyncpg.connect, such as {_EXAMPLE}?ssl=require",
        )
    said = "it did not answer" if isinstance(error, TimeoutError) else _one_line(error, url)
    return _problem(
        f"{_server(url)} cannot be reached ({said})",
        "check that PostgreSQL runs there, listens to this machine, and that host and port are "
        "right",
    )


def _one_line(error: BaseException, url: URL) -> str:
    said = str(error).strip().split("\n")[0][:200] or type(error).__name__
    return said.replace(url.password, "***") if url.password else said


def _shown(url: URL) -> str:
    return masked(url.render_as_string(hide_password=True))


def _server(url: URL) -> str:
    host = url.host or url.query.get("host") or os.environ.get("PGHOST") or "localhost"
    return f"the database server {host}, port {url.port or 5432}"


def _problem(what: str, remedy: str) -> Problem:
    return Problem("--database", what, remedy)


def _wrong(what: str, remedy: str) -> InputError:
    return InputError([_problem(what, remedy)])
