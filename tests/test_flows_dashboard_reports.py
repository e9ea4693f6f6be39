"""The shelf of reports, asked as a server asks it: what is on it is served, and nothing else."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from flows.dashboard.reports import Shelf, put_on_shelf

POLICY = "default-src 'none'; script-src 'sha256-abc='"
REPORT = (
    f'<html><meta http-equiv="Content-Security-Policy" content="{POLICY}"><p>ü</html>'
).replace("'", "&#39;")


def get(home: Path, path: str, method: str = "GET") -> tuple[int, list[tuple[str, str]], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing of a request is read")

    asyncio.run(Shelf(home)({"type": "http", "method": method, "path": path}, receive, send))
    start, body = sent
    headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return start["status"], headers, body["body"]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "mix" / "report.html"
    path.parent.mkdir()
    path.write_text(REPORT, encoding="utf-8")
    return path


def test_a_report_is_served_in_a_sandbox_under_its_own_policy(tmp_path: Path, report: Path) -> None:
    address = put_on_shelf(tmp_path, report)
    status, headers, body = get(tmp_path, address)
    assert (status, body) == (200, report.read_bytes())
    policies = [value for name, value in headers if name == "content-security-policy"]
    assert policies[0].startswith("sandbox allow-scripts allow-downloads; default-src 'none'; ")
    assert "allow-same-origin" not in policies[0]
    assert policies[1] == POLICY
    assert dict(headers)["x-content-type-options"] == "nosniff"
    assert dict(headers)["content-length"] == str(len(body))
    status, headers, body = get(tmp_path, address, "HEAD")
    assert (status, body) == (200, b"")
    assert get(tmp_path, address, "POST")[0] == 405
    assert put_on_shelf(tmp_path, report) != address


def test_no_script_runs_in_what_has_no_policy(tmp_path: Path, report: Path) -> None:
    report.write_text("<script>alert(1)</script>")
    _, headers, _ = get(tmp_path, put_on_shelf(tmp_path, report))
    policies = [value for name, value in headers if name == "content-security-policy"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policies


def test_only_what_is_on_the_shelf_is_served(tmp_path: Path, report: Path) -> None:
    address = put_on_shelf(tmp_path, report)
    key = address.split("/")[2]
    for path in (
        "/reports/",
        "/reports/" + "A" * 43 + "/",
        f"/reports/{key[:-1]}/",
        f"/reports/{key}/../../mix/report.html",
        "/reports/../reports/" + key,
        f"/reports/{key}.json",
        "/reports//etc/passwd",
        f"/reports/{key}\n/",
    ):
        status, headers, body = get(tmp_path, path)
        assert status == 404, path
        assert b"No such report" in body
        assert "default-src 'none'; style-src 'unsafe-inline'" in [value for _, value in headers]


@pytest.mark.skipif(os.name != "posix", reason="links and FIFOs")
def test_what_took_the_place_of_a_report_is_not_served(tmp_path: Path, report: Path) -> None:
    address = put_on_shelf(tmp_path, report)
    moved = report.parent.rename(tmp_path / "<b>away")
    assert get(tmp_path, address)[0] == 404
    report.parent.mkdir()
    report.symlink_to(moved / "report.html")
    assert get(tmp_path, address)[0] == 404
    report.unlink()
    os.mkfifo(report)
    began = time.monotonic()
    status, _, body = get(tmp_path, address)
    assert (status, time.monotonic() - began < 5.0) == (404, True)
    assert b"no longer where its run wrote it" in body

    hostile = put_on_shelf(tmp_path, tmp_path / "<script>\n" / "report.html")
    _, _, body = get(tmp_path, hostile)
    assert b"<script>" not in body
    assert b"&lt;script&gt;\\n/report.html" in body


def test_what_has_long_been_gone_is_forgotten(tmp_path: Path, report: Path) -> None:
    kept = put_on_shelf(tmp_path, report)
    gone = put_on_shelf(tmp_path, tmp_path / "gone" / "report.html")
    young = put_on_shelf(tmp_path, tmp_path / "not yet" / "report.html")
    year_ago = time.time() - 365 * 86400
    for address in (kept, gone):
        record = tmp_path / "reports" / f"{address.split('/')[2]}.json"
        os.utime(record, (year_ago, year_ago))
    put_on_shelf(tmp_path, report)
    left = {path.stem for path in (tmp_path / "reports").glob("*.json")}
    assert {address.split("/")[2] for address in (kept, young)} <= left
    assert gone.split("/")[2] not in left
