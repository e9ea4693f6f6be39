"""Who may ask the dashboard, by the address that it serves on and the names that it has."""

import asyncio
from typing import Any

import pytest

from flows.dashboard.host_check import Authority, HostCheck, parse_authority


def ask(check: HostCheck, kind: str = "http", method: str = "GET", **headers: str) -> int | str:
    """Return the status that a request is answered with."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": f"{kind}.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": method, "path": "/api/flows/", "headers": raw}
    asyncio.run(check(scope, receive, send))
    return sent[0].get("status", sent[0]["type"])


async def welcome(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def served_on(host: str, *names: str) -> HostCheck:
    return HostCheck(welcome, host, names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", Authority("localhost")),
        ("LocalHost.:4200", Authority("localhost", 4200)),
        ("[0:0:0:0:0:0:0:1]:80", Authority("::1", 80)),
        ("10.0.0.7:4200", Authority("10.0.0.7", 4200)),
        ("", None),
        ("a@b", None),
        ("a/b", None),
        ("a b", None),
        ("localhost:port", None),
        ("localhost:99999", None),
        ("[::1", None),
        ("local\thost", None),
        ("<b>", None),
    ],
)
def test_a_host_is_read_strictly(text: str, expected: Authority | None) -> None:
    assert parse_authority(text) == expected


@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_on_loopback_only_loopback_names_are_answered(bound: str) -> None:
    check = served_on(bound)
    for host in ("localhost:4200", "127.0.0.1:4200", "[::1]:4200"):
        assert ask(check, host=host) == 200
    for host in ("evil.example:4200", "10.0.0.7:4200", "localhost.evil.example", ""):
        assert ask(check, host=host) == 400
    assert ask(check) == 400


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "10.0.0.7", "mixes.local"])
def test_on_the_network_addresses_and_its_own_names_are_answered(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Console")
    monkeypatch.setattr("socket.getfqdn", lambda: "console.studio.example")
    check = served_on(bound)
    for host in (
        "10.0.0.7:4200", "[fe80::1]:4200", "localhost:4200", "console", "console.local:4200",
        "console.studio.example:4200",
    ):  # fmt: skip
        assert ask(check, host=host) == 200, host
    assert ask(check, host="evil.example:4200") == 400
    assert (ask(check, host="mixes.local:4200") == 200) == (bound == "mixes.local")


def test_pages_of_its_own_and_programs_may_ask() -> None:
    check = served_on("127.0.0.1")
    for host in ("localhost:4200", "127.0.0.1:9000", "[::1]:4200"):
        assert ask(check, method="POST", host=host) == 200
        assert ask(check, method="POST", host=host, origin=f"http://{host}") == 200
    assert ask(check, host="localhost", origin="http://localhost:80") == 200


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "null", "", "http://localhost:8080", "http://127.0.0.1:4200",
        "file://", "http://localhost:4200.evil.example", "chrome-extension://abc",
    ],
)  # fmt: skip
def test_other_pages_may_not(kind: str, origin: str) -> None:
    expected = 403 if kind == "http" else "websocket.close"
    assert ask(served_on("0.0.0.0"), kind, host="localhost:4200", origin=origin) == expected


def test_a_proxy_s_pages_are_the_dashboard_s_own() -> None:
    check = served_on("127.0.0.1", "mixes.example", "studio.example:8443")
    assert ask(check, host="mixes.example") == 200
    # The proxy may keep the name or not.
    for host in ("mixes.example", "127.0.0.1:4200"):
        assert ask(check, "http", "POST", host=host, origin="https://mixes.example") == 200
        assert ask(check, "http", "POST", host=host, origin="https://studio.example:8443") == 200
        assert ask(check, "http", "POST", host=host, origin="https://studio.example") == 403
    assert ask(check, host="other.example") == 400


def test_other_sites_may_link_here_and_no_more() -> None:
    check = served_on("127.0.0.1")

    def told(site: str, mode: str, dest: str, method: str = "GET") -> int | str:
        return ask(
            check, "http", method, host="localhost",
            **{"sec_fetch_site": site, "sec_fetch_mode": mode, "sec_fetch_dest": dest},
        )  # fmt: skip

    assert told("cross-site", "navigate", "document") == 200
    assert told("cross-site", "navigate", "document", "POST") == 403
    assert told("cross-site", "navigate", "iframe") == 403
    assert told("same-site", "no-cors", "script") == 403
    assert told("same-origin", "cors", "empty") == 200
    assert told("none", "navigate", "document") == 200
