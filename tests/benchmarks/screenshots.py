"""Pictures of the dashboard in a real browser, and what the browser complains of.

Makes a short demo session, starts ``stemwright dashboard`` on a port of its own, mixes the demo
while it runs, and takes pictures of the run's page, its artifacts and its report at the widths of
a desk and a phone. Any request off the loopback, any request to another port, any error on the
console and any failed request is printed, and makes the exit status 1.

    python tests/benchmarks/screenshots.py FOLDER [--browser /usr/bin/chromium] [--seconds 12]

Needs ``playwright`` (the package alone: the browser is the system's).
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.dashboard.client import ask

WIDTHS = {1440: 900, 390: 844}
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Prefect's own pages ask so about an artifact that belongs to no task run.
PREFECTS_OWN = re.compile(r"(422|status of 422).*/api/task_runs/filter")
COMMAND = (sys.executable, "-c", "from flows.cli.main import main; main()")


def command(*arguments: object) -> list[str]:
    return [*COMMAND, *map(str, arguments)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Watched:
    """A browser's page that notes what must not be."""

    def __init__(self, page: Any, port: int) -> None:
        self.page = page
        self.faults: list[str] = []
        self._port = port
        page.on("request", self._request)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"error on the page: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._response)

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("data", "blob", "about"):
            return
        if parts.hostname not in ("127.0.0.1", "localhost") or parts.port != self._port:
            self.faults.append(f"asked {request.url}")

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _failed(self, request: Any) -> None:
        if "ERR_ABORTED" not in str(request.failure):  # left for another page
            self.faults.append(f"failed: {request.url}: {request.failure}")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status}: {response.url}")


def take(browser: Any, base: str, paths: dict[str, str], folder: Path) -> list[str]:
    """Take a picture of each page at each width; return what was wrong."""
    faults = []
    for width, height in WIDTHS.items():
        for name, path in paths.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            watched = Watched(page, urlsplit(base).port or 80)
            page.goto(base + path, wait_until="networkidle")
            page.wait_for_timeout(1500)
            target = folder / f"{name}-{width}.png"
            page.screenshot(path=target, full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if wide > 0:
                watched.faults.append(f"{wide} px wider than the window")
            ours = [fault for fault in watched.faults if not PREFECTS_OWN.search(fault)]
            faults += [f"{target.name}: {fault}" for fault in dict.fromkeys(ours)]
            page.close()
    return faults


def pages(api: str, title: str) -> dict[str, str]:
    """Return the addresses of the pages of a run, by a name for their pictures."""
    (run,) = ask(f"{api}/flow_runs/filter", {"flow_runs": {"name": {"any_": [title]}}})
    of_run = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    found = {artifact["type"]: artifact for artifact in ask(f"{api}/artifacts/filter", of_run)}
    report = re.search(r"\]\((/reports/[^)]+)\)", str(found["markdown"]["data"]))
    assert report is not None, "the page of the mix links to no report"
    return {
        "runs": "/v2/runs",
        "run": f"/v2/runs/flow-run/{run['id']}",
        "run-tasks": f"/v2/runs/flow-run/{run['id']}?tab=TaskRuns",
        "run-artifacts": f"/v2/runs/flow-run/{run['id']}?tab=Artifacts",
        "table": f"/v2/artifacts/artifact/{found['table']['id']}",
        "mix": f"/v2/artifacts/artifact/{found['markdown']['id']}",
        "progress": f"/v2/artifacts/artifact/{found['progress']['id']}",
        "report": report.group(1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--seconds", type=float, default=12.0)
    options = parser.parse_args()
    folder: Path = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["STEMWRIGHT_PREFECT_HOME"] = str(folder / "prefect")
    os.environ["STEMWRIGHT_STORE"] = str(folder / "store")
    os.environ.pop("PREFECT_API_URL", None)

    demo = folder / "demo"
    if not demo.exists():
        subprocess.run(command("demo", demo, "--seconds", options.seconds, "--quiet"), check=True)
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command("dashboard", "--port", port), stdout=subprocess.PIPE) as served:
        try:
            assert served.stdout is not None
            served.stdout.readline()
            mixed = folder / f"mix-{time.strftime('%H%M%S')}"
            mixing = ("mix", demo / "session", "-r", demo / "reference.wav", "-o", mixed, "--quiet")
            subprocess.run(command(*mixing), check=True)
            faults = _look(base, folder, options.browser)
        finally:
            served.send_signal(signal.SIGTERM)
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    return 1 if faults else 0


def _look(base: str, folder: Path, browser: str) -> list[str]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=list(SWITCHES))
        try:
            return take(opened, base, pages(f"{base}/api", "session"), folder)
        finally:
            opened.close()


if __name__ == "__main__":
    sys.exit(main())
