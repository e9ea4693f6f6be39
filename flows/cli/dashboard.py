"""The command that serves the pages in which runs are watched."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from flows.cli.command import command
from flows.cli.terminal import Screen
from flows.dashboard.control import running_server, start_server
from flows.dashboard.database import VARIABLE, chosen_database, password_aside
from flows.dashboard.host_check import is_loopback
from flows.extras import require

__all__ = ["app", "start_without_password"]

app = typer.Typer(add_completion=False)


@app.command()
@command(speech=("quiet", "verbose"))
def dashboard(
    screen: Screen,
    port: Annotated[int | None, typer.Option(help="Port to serve on; default 4200.")] = None,
    host: Annotated[
        str,
        typer.Option(help="Address of this machine to serve on, without a login; 0.0.0.0 for all."),
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        typer.Option(help="Further name it is reached by, of a proxy for instance; repeatable."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            help="PostgreSQL for a team's runs: postgresql+asyncpg://USER@HOST/NAME; the password "
            "in ~/.pgpass or PGPASSWORD, or the whole address in STEMWRIGHT_DATABASE."
        ),
    ] = None,
) -> int:
    """Start a private Prefect server on this machine and watch runs in its pages; Ctrl-C stops."""
    require("prefect", "dashboard")
    running = running_server()

    def present(url: str) -> None:
        page = url.removesuffix("/api")
        if running is not None:
            screen.say(f"dashboard: {page} (it is running already, and stays as it is)")
            return
        if not is_loopback(host):
            screen.errors.print(
                f"warning: whoever reaches {host}, port {page.rpartition(':')[2]} of this "
                "machine sees these runs and can change them: there is no login"
            )
        screen.say(f"dashboard: {page} (runs started now appear in it; Ctrl-C stops it)")

    chosen = chosen_database(database)
    start_server(
        port,
        host=host,
        names=name or (),
        database=chosen,
        foreground=True,
        on_ready=present,
    )
    return 0


def start_without_password() -> None:
    """Start anew where the arguments hold a database's password: everybody can read those."""
    aside = password_aside(sys.argv[1:])
    if aside is not None and sys.platform != "win32":
        arguments, address = aside
        before = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
        environment = os.environ | {VARIABLE: address}
        os.execve(sys.executable, [sys.executable, *before, *arguments], environment)
