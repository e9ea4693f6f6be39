"""Addresses of databases: what cannot be used is said before a server starts, without passwords."""

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flows.dashboard.database import check_database, chosen_database, masked, password_aside
from pipeline.errors import InputError


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+asyncpg://ann:s3c:r@t@db:5432/runs", "postgresql+asyncpg://ann:***@db:5432/runs"),
        ("postgres://ann:s3cr/t@/runs?host=/run/pg", "postgres://ann:***@/runs?host=/run/pg"),
        ("postgresql://ann@db/runs?password=s3cr%74&a=b", "postgresql://ann@db/runs?password=***&a=b"),
        ("postgresql://ann@db/runs", "postgresql://ann@db/runs"),
        ("postgresql://db/runs", "postgresql://db/runs"),
    ],
)  # fmt: skip
def test_a_password_is_masked(address: str, shown: str) -> None:
    assert masked(address) == shown


def test_a_password_leaves_the_arguments() -> None:
    address = "postgresql://ann:secret@db/runs"
    for given in (["--database", address], [f"--database={address}"]):
        arguments = ["dashboard", *given, "--port", "4300"]
        assert password_aside(arguments) == (["dashboard", "--port", "4300"], address)
    assert password_aside(["dashboard", "--database", "postgresql://ann@db/runs"]) is None
    assert password_aside(["dashboard", "--database"]) is None


def test_the_environment_may_say_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEMWRIGHT_DATABASE", raising=False)
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:///x.db")
    assert chosen_database(None) is None
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://a/b")
    assert chosen_database(None) == "postgresql+asyncpg://a/b"
    monkeypatch.setenv("STEMWRIGHT_DATABASE", "postgresql://c/d")
    assert chosen_database(None) == "postgresql://c/d"
    assert chosen_database("postgresql://e/f") == "postgresql://e/f"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("runs.db", "is no database address"),
        ("mysql://ann:s3cret@db/runs", "is for 'mysql'"),
        ("sqlite+aiosqlite:///s3cret.db", "is for 'sqlite\\+aiosqlite'"),
        ("postgresql://ann:s3cret@db", "names no database"),
        ("postgresql://ann:s3cret@db:port/runs", "is no database address"),
    ],
)
def test_what_is_no_postgresql_address_is_said(address: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        check_database(address)
    assert "postgresql+asyncpg://USER:PASSWORD@HOST:5432/DATABASE" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_server_that_is_not_there_is_said() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        address = f"postgresql://ann:s3cret@127.0.0.1:{port}/runs"
        with pytest.raises(InputError, match=f"127.0.0.1, port {port} cannot be reached") as caught:
            check_database(address)
    assert "check that PostgreSQL runs there" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(InputError, match=r"no-such-host\.invalid, port 5432 cannot be reached"):
        check_database("postgresql://ann@no-such-host.invalid/runs")


def test_the_command_says_it_and_starts_nothing(
    workplace: Path, stemwright: Callable[..., Any]
) -> None:
    result = stemwright("dashboard", "--database", "postgresql://ann:s3cret@127.0.0.1:1/runs")
    assert result.exit_code == 2
    assert "1 problem, nothing was written" in result.stderr
    assert "s3cret" not in result.output
    assert not (workplace / "prefect").exists()


def test_what_a_database_refuses_is_said(postgres: Callable[[str], str]) -> None:
    address = postgres("refusals")
    secret = urlsplit(address).password
    assert secret
    assert check_database(address) == address
    assert check_database(address.replace("+asyncpg", "")) == address
    plain = f"{address}?sslmode=disable"
    assert check_database(plain) == f"{address}?ssl=disable"

    def refused(told: str, changed: str) -> None:
        with pytest.raises(InputError, match=told) as caught:
            check_database(changed)
        assert secret not in str(caught.value)

    refused("refuses user 'ann'", address.replace(secret, "wrong"))
    refused("there is no database 'missing'", address.replace("/refusals", "/missing"))
    refused("an option that asyncpg does not know", f"{address}?no_such_option=1")
    port = urlsplit(address).port
    for order in (
        "CREATE ROLE reader LOGIN PASSWORD 'reading'",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ):
        subprocess.run(
            [
                "psql",
                "-q",
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-U",
                "ann",
                "-c",
                order,
                "refusals",
            ],
            check=True,
            env={"PGPASSWORD": secret, "PATH": "/usr/bin:/bin"},
        )
    reader = address.replace(f"ann:{secret}", "reader:reading")
    refused("does not let its user make tables: GRANT CREATE ON SCHEMA public TO reader", reader)
