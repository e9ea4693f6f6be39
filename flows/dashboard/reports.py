"""The reports of runs, served beside the dashboard: those that were put on the shelf, no others.

A run puts its report's path into ``<home>/reports`` under a name that cannot be guessed, and the
dashboard links to it. What is served is read from that path and shown in a sandbox: the page's
script is held to the page's own policy, can ask no network, and is a stranger to the server that
it came from. Standard library alone but for what the server's process has loaded anyway.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

__all__ = ["PREFIX", "Shelf", "put_on_shelf"]

PREFIX = "/reports/"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_FOLDER = "reports"
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")
_LARGEST_BYTES = 512 * 1024**2
_GONE_S = 90 * 86400.0
_POLICY = re.compile(rb'<meta http-equiv="Content-Security-Policy" content="([^"]{1,2000})">')
# allow-same-origin is left out on purpose: the page may not call the server's API.
_SANDBOX = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; media-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_NOTHING_RUNS = "default-src 'none'; style-src 'unsafe-inline'"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 15vh auto }}
code {{ overflow-wrap: anywhere }}
</style></head><body><h1>{title}</h1><p>{text}</p></body></html>
"""


def put_on_shelf(home: Path, report: Path) -> str:
    """Have the dashboard of ``home`` serve a report, which may be written later; return its path.

    The path is that of an address: ``/reports/<what cannot be guessed>/``.
    """
    folder = home / _FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _tidy(folder)
    key = secrets.token_urlsafe(32)
    draft = folder / f".{key}.part"
    draft.write_text(json.dumps({"report": os.fspath(report.absolute())}), encoding="utf-8")
    draft.replace(folder / f"{key}.json")
    return f"{PREFIX}{key}/"


class Shelf:
    """An ASGI application that answers for ``/reports/<key>/`` from the shelf of a home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / _FOLDER

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(scope, send, 405, _page("Not allowed", "Reports are only read."))
            return
        key = str(scope["path"]).removeprefix(PREFIX).removesuffix("/")
        report = _look_up(self._folder / f"{key}.json") if _KEY.fullmatch(key) else None
        if report is None:
            text = "No report has this address. The page of its run has the right one."
            await _answer(scope, send, 404, _page("No such report", text))
            return
        try:
            body = _read(report)
        except OSError:
            text = (
                "This report is no longer where its run wrote it; the mix may have been moved or "
                f"deleted. It was <code>{html.escape(_printable(report))}</code>."
            )
            await _answer(scope, send, 404, _page("The report has moved", text))
            return
        await _answer(scope, send, 200, body)


def _look_up(record: Path) -> Path | None:
    try:
        return Path(json.loads(record.read_text(encoding="utf-8"))["report"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(report: Path) -> bytes:
    """Return what is in a report: a regular file, not a link to one."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(report, flags), "rb") as file:
        told = os.fstat(file.fileno())
        if not stat.S_ISREG(told.st_mode) or told.st_size > _LARGEST_BYTES:
            raise OSError("no report")
        return file.read(_LARGEST_BYTES)


def _policy(body: bytes) -> str:
    """Return the policy that a page has itself, so that it is in force from the first byte."""
    found = _POLICY.search(body[:100_000])
    if found is None:
        return _NOTHING_RUNS
    own = html.unescape(found.group(1).decode("ascii", "replace"))
    return own if own.isascii() and own.isprintable() else _NOTHING_RUNS


async def _answer(scope: Scope, send: Send, status: int, body: bytes) -> None:
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(body)),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    pairs = [*headers.items(), ("Content-Security-Policy", _SANDBOX)]
    pairs.append(("Content-Security-Policy", _policy(body)))
    if status == 405:
        pairs.append(("Allow", "GET, HEAD"))
    raw = [(name.lower().encode(), value.encode("ascii")) for name, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _page(title: str, text: str) -> bytes:
    return _PAGE.format(title=title, text=text).encode("utf-8", "replace")


def _printable(path: Path) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in os.fspath(path))


def _tidy(folder: Path) -> None:
    """Forget reports that have long been gone."""
    for record in folder.glob("*.json"):
        with contextlib.suppress(OSError):
            if time.time() - record.stat().st_mtime > _GONE_S:
                report = _look_up(record)
                if report is None or not report.exists():
                    record.unlink(missing_ok=True)
