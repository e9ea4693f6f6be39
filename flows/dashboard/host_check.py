"""Who may ask the dashboard: programs, and the pages that it served itself.

A browser lets any page send requests and open WebSockets to this machine, and a name in the DNS can
be made to point here after its page was loaded. So each request has to name a host that this server
is known by, and, where a browser says which page it comes from, that page has to be one of its own.
Programs, such as workers and Prefect's client, send no ``Origin``.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flows.dashboard.reports import Receive, Scope, Send

__all__ = ["Authority", "HostCheck", "is_loopback", "parse_authority"]

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_PORTS = {"http": 80, "https": 443}
_POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class Authority:
    """A host, lower case or an IP address in its short form, and a port where one is named."""

    host: str
    port: int | None = None

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address: nobody can make that point elsewhere."""
        return _address(self.host) is not None


def parse_authority(text: str) -> Authority | None:
    """Return what a ``Host`` header, or such a name, says; None for what is neither."""
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        return None
    if parts.netloc != text or not text or parts.username is not None:
        return None
    host = (parts.hostname or "").removesuffix(".")
    address = _address(host)
    if address is not None:
        return Authority(address, port)
    return Authority(host, port) if _NAME.fullmatch(host) else None


def is_loopback(host: str) -> bool:
    """Tell whether an address of this machine is for this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HostCheck:
    """An ASGI application that refuses strangers' requests and WebSockets before another.

    Parameters
    ----------
    app
        What answers the others.
    host
        The address of this machine, or the name of one, that is served on.
    names
        Further names that it is known by, such as that of a proxy before it: pages of theirs are
        its own. With a port where that is not the usual one.
    """

    def __init__(self, app: Application, host: str, names: Iterable[str] = ()) -> None:
        self._app = app
        # Other machines may know this one by an address that it does not know itself.
        self._any_address = not is_loopback(host)
        known = (parse_authority(_bracketed(name)) for name in names)
        self._names = {name for name in known if name is not None}
        self._hosts = {name.host for name in self._names} | _names_of(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            refusal = self._refusal(scope)
            if refusal is not None:
                await _refuse(scope, receive, send, *refusal)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return the status and the reason to refuse a request; None for what may pass."""
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        called = headers.get("host", [])
        host = parse_authority(called[0]) if len(called) == 1 else None
        if host is None:
            return 400, "A request has to name the host that it is for, once."
        if host.host not in self._hosts and not (self._any_address and host.is_address):
            return 400, (
                f"This dashboard is not known as {host.host}. If that is a name of it, start it "
                f"with: stemwright dashboard --name {host.host}"
            )
        origins = headers.get("origin", [])
        if any(not self._is_ours(origin, host) for origin in origins):
            return 403, "This comes from a page of another origin, which may ask nothing here."
        if not origins and _is_foreign(scope, headers):
            return 403, "This comes from a page of another site, which may only link here."
        return None

    def _is_ours(self, origin: str, host: Authority) -> bool:
        """Whether a page's origin is the host that it asks, or a name that it was declared by."""
        scheme, _, rest = origin.partition("://")
        usual = _PORTS.get(scheme.lower())
        page = parse_authority(rest)
        if usual is None or page is None:
            return False  # "null" too: a file, or a page in a sandbox
        plain = Authority(page.host, None if page.port == usual else page.port)
        asked = Authority(host.host, None if host.port == usual else host.port)
        return plain == asked or plain in self._names


def _is_foreign(scope: Scope, headers: Mapping[str, list[str]]) -> bool:
    """Whether a browser says that another site asks, for more than to be linked to."""

    def said(name: str) -> str:
        return headers.get(name, [""])[0].lower()

    if said("sec-fetch-site") not in ("cross-site", "same-site"):
        return False
    followed = said("sec-fetch-mode") == "navigate" and said("sec-fetch-dest") == "document"
    return not (followed and scope.get("method") in ("GET", "HEAD"))


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        # Before it is accepted, which the server answers with status 403.
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": why[:120]})
        return
    body = f"{why}\n".encode("ascii", "backslashreplace")
    headers = {
        b"content-type": b"text/plain; charset=us-ascii",
        b"content-length": str(len(body)).encode(),
        b"x-content-type-options": b"nosniff",
        b"connection": b"close",  # what it sent is not read
    }
    start: dict[str, Any] = {"type": "http.response.start", "status": status}
    await send({**start, "headers": list(headers.items())})
    await send({"type": "http.response.body", "body": b"" if _is_head(scope) else body})


def _is_head(scope: Scope) -> bool:
    return bool(scope.get("method") == "HEAD")


def _names_of(host: str) -> set[str]:
    names = {*_LOOPBACK, _address(host) or host.lower().removesuffix(".")}
    if not is_loopback(host):
        here = socket.gethostname().lower()
        names |= {here, f"{here.partition('.')[0]}.local", socket.getfqdn().lower()}
    return names


def _bracketed(name: str) -> str:
    return f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name


def _address(host: str) -> str | None:
    """Return an IP address in its short form; None for what is a name."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None
