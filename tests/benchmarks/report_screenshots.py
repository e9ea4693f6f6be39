"""Pictures of a mix report as a desk's and a phone's browser show it, light and dark.

    python tests/benchmarks/report_screenshots.py OUT/report.html FOLDER [--readme README.png]

Needs playwright (``pip install -e .[dev]``) and a Chromium; says how long it loads and how large it
is, and whether anything runs over the edge of the screen.
"""

from __future__ import annotations

import argparse
import io
import shutil
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

SIZES = {"desk": (1440, 900), "phone": (390, 844)}
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--readme", type=Path, help="the picture of the README, to be written")
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
                page.screenshot(path=path, full_page=True)
                print(f"{path}: loads in {loaded:.2f} s, {wide} of {width} px wide")  # noqa: T201
                page.close()
        if told.readme is not None:
            _picture_readme(browser, told.report.resolve().as_uri(), told.readme)
        browser.close()


def _picture_readme(browser: Browser, address: str, path: Path) -> None:
    """Write the top of the page on a desk beside its dynamics on a phone, below 150 kB."""
    pictures = []
    for width, theme, section in ((960, "light", None), (390, "dark", "dynamics")):
        page = browser.new_page(viewport={"width": width, "height": 1150}, color_scheme=theme)
        page.goto(address)
        if section is not None:
            page.evaluate(f"document.querySelector('#{section}').scrollIntoView()")
            page.wait_for_timeout(300)
        pictures.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        page.close()
    desk, phone = pictures
    both = Image.new("RGB", (desk.width + 30 + phone.width, desk.height), "white")
    both.paste(desk, (0, 0))
    both.paste(phone, (desk.width + 30, 0))
    both.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
