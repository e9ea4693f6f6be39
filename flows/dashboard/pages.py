"""The dashboard's pages, kept to themselves: Prefect's, without a word to anybody, and reports.

Prefect's newer pages load a usage tracker in the browser, whatever the server's telemetry setting
says. Their files are copied into the home before they are served; there the tracker loses its key,
without which it does not start, and a policy keeps every page from asking another server.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from flows.dashboard.reports import PREFIX, Receive, Scope, Send

__all__ = ["Application", "quiet_files", "with_reports"]

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEY = re.compile(rb"return`[0-9a-f]{32}`")
_NO_KEY = b"return``"
_ALONE = (
    b"connect-src 'self' data: blob:; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    b"font-src 'self' data:; object-src 'none'; form-action 'self'; base-uri 'self'; "
    b"frame-ancestors 'none'"
)
# The newer pages ask for these at the root, where the older ones are served.
_ICONS = ("*.svg", "ico/*.ico")


def quiet_files(folder: Path) -> None:
    """Take the tracker's key out of the pages' copied files, and add the icons they lack.

    Parameters
    ----------
    folder
        Prefect's ``PREFECT_UI_STATIC_DIRECTORY``, with the copies of both generations of pages.
    """
    for script in sorted((folder / "v2" / "assets").glob("*.js")):
        said = script.read_bytes()
        if b"amplitude.com" in said:
            quiet = _KEY.sub(_NO_KEY, said)
            if quiet != said:
                script.write_bytes(quiet)
    root = folder / "v1"
    if not root.is_dir():
        return
    for icon in (icon for pattern in _ICONS for icon in (folder / "v2").glob(pattern)):
        if not (root / icon.name).exists():
            shutil.copyfile(icon, root / icon.name)


def with_reports(prefect: Application, shelf: Application) -> Application:
    """Return an application that serves reports beside Prefect, and keeps its pages alone."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or str(scope["path"]).startswith("/api/"):
            await prefect(scope, receive, send)
            return
        if str(scope["path"]).startswith(PREFIX):
            await shelf(scope, receive, send)
            return

        async def send_alone(message: Scope) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _ALONE)
                message = {**message, "headers": [*message.get("headers", ()), policy]}
            await send(message)

        await prefect(scope, receive, send_alone)

    return serve
