"""Pictures of a mix report as a desk's and a phone's browser show it, light and dark.

    python tests/benchmarks/report_screenshots.py OUT/report.html FOLDER

Needs playwright (``pip install -e .[dev]``) and a Chromium; says how long it loads and how large it
is, and whether anything runs over the edge of the screen.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

SIZES = {"desk": (1440, 900), "phone": (390, 844)}
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--top", action="store_true", help="the first screens only, for the README")
    told = parser.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    print(f"{told.report.stat().st_size / 2**20:.2f} MiB")  # noqa: T201
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        for name, (width, height) in SIZES.items():
            for theme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme=theme,
                    has_touch=name == "phone",
                )
                began = time.perf_counter()
                page.goto(told.report.resolve().as_uri())
                loaded = time.perf_counter() - began
                wide = page.evaluate("document.scrollingElement.scrollWidth")
                path = told.folder / f"{name}-{theme}.png"
                page.screenshot(path=path, full_page=not told.top)
                print(f"{path}: loads in {loaded:.2f} s, {wide} of {width} px wide")  # noqa: T201
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
