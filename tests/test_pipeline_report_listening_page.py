"""The listening page: asks for nothing but the files beside it, and works in a real browser."""

from __future__ import annotations

import base64
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from pipeline.report.listening_page import (
    SUM,
    ListenedMethod,
    ListenedSignal,
    ListeningPage,
    TrackRow,
    write_listening_page,
)

RATE = 22_050
SECONDS = 20.0
EVIL = '</script><img src=x onerror="alert(1)">\'&\n\u202e {{ 7*7 }}\udcff'
ODD = "50% #1 ü?.wav"
METHODS = ("lufs", "p_lufs", "informed")
VOID = {"br", "img", "input", "link", "meta", "source"}


class _Page(HTMLParser):
    """A strict reader: every element is closed where HTML wants it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page #1")
    noise = np.random.default_rng(1).standard_normal((round(SECONDS * RATE), 2))
    methods = []
    for index, name in enumerate(METHODS):
        signals = {}
        for signal, file, level in ((SUM, "sum.wav", 0.05), (EVIL, ODD, 0.02 * 2**index)):
            path = folder / name / file
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, level * noise, RATE, "PCM_24")
            wave = np.linspace(0.0, level, 480, dtype=np.float32)
            signals[signal] = ListenedSignal(f"{name}/{file}", 20.0 * math.log10(level), wave)
        spread = {judge: 1.0 + abs(METHODS.index(judge) - index) for judge in METHODS}
        methods.append(ListenedMethod(name, 3.5 - index, -4.0 - index, spread, 2.0, signals))
    tracks = [
        TrackRow(f"Drums/{EVIL}", "kick", EVIL, (-31.25, 0.0, 5.5), (-3.0, 1.0, math.inf), EVIL),
        TrackRow("Bass.wav", "bass", "bass", (-8.0, 2.0, 4.5), (math.nan,) * 3, "held"),
        TrackRow("Vox.wav", "lead_vocal", "lead_vocals", (-100.5, 1.0, -4.5), (7.0,) * 3, "b"),
    ]
    write_listening_page(
        folder / "listen.html",
        ListeningPage(
            f"Song {EVIL}", SECONDS, RATE, -23.0, methods, tracks, "informed",
            passages=((2.0, 17.0),), tested=True, warnings=("Careful: " + EVIL,),
        ),
    )  # fmt: skip
    return folder / "listen.html"


@pytest.fixture(scope="module")
def text(written: Path) -> str:
    return written.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> _Page:
    return _Page(text)


def _data(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    data: dict[str, Any] = json.loads(found)
    return data


def test_it_asks_only_for_the_files_beside_it(text: str, page: _Page, written: Path) -> None:
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "fetch(" not in text
    assert re.findall(r"url\((?!#)", text) == []
    asked = [signal["file"] for m in _data(text)["methods"] for signal in m["signals"].values()]
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "poster", "data", "formaction"):
            value = attributes.get(name, "#")
            if tag == "audio" and name == "src":
                asked.append(value)
            else:
                assert value.startswith(("data:", "#")), (tag, name, value[:40])
    assert len(asked) == 3 * len(METHODS)
    for address in asked:
        assert address.startswith("./")
        assert not set("#? ") & set(address)
        assert (written.parent / unquote(address)).is_file()


def test_its_policy_allows_its_one_script_only(text: str, page: _Page) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    (policy,) = (m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]


def test_names_stay_text(text: str, page: _Page) -> None:
    assert page.all("img") == []
    assert len(page.all("script")) == 2
    assert "\u202e" not in text
    visible = '</script><img src=x onerror="alert(1)">\'&\\n\\u202e {{ 7*7 }}\\udcff'
    # title twice, warning, stem to hear, track, its subgroup and its reason
    assert "".join(page.text).count(visible) >= 6
    assert visible in _data(text)["methods"][0]["signals"]


def test_tables_say_what_can_be_sorted(page: _Page, text: str) -> None:
    heads = re.findall(r'<th scope="col">(.*?)</th>', text)
    assert heads[5:8] == [f"Spread by {method}, LU" for method in METHODS]
    assert heads[8:] == [
        "Track", "Role", "Subgroup", *(f"{method}, dB" for method in METHODS), "Why (informed)",
        *(f"Audible, {method}, dB" for method in METHODS),
    ]  # fmt: skip
    assert len([a for a in page.all("table") if "data-sortable" in a]) == 2
    # of the two others, the nearer to the judge; its own judgement says nothing
    assert re.findall(r"<strong>([\d.]+)</strong>", text) == ["2.00"] * 4
    shown = " ".join(" ".join(page.text).split())
    for words in ("−31.2", "alone", "−23.0 LUFS", "0:20", "listening_test"):
        assert words in shown, words


def test_everything_can_be_told_without_seeing(page: _Page) -> None:
    identities = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identities) == len(set(identities))
    for section in page.all("section"):
        assert section["aria-labelledby"] in identities
    for region in page.all("div"):
        if "tabindex" in region:
            assert region["role"] == "region"
            assert region["aria-label"]
    assert [a for _, a in page.elements if a.get("role") == "status"]
    assert all(a["aria-hidden"] == "true" for a in page.all("svg"))
    assert page.all("html")[0]["lang"] == "en"


def test_same_page_same_bytes(written: Path) -> None:
    assert [path.name for path in written.parent.glob("*listen*")] == ["listen.html"]


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
needs_browser = pytest.mark.skipif(
    BROWSER is None or os.name != "posix", reason="needs the Debian package chromium"
)


# The browser hears on 3 and answers on 4.
LAUNCH = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, pipe in zip((3, 4), pipes):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


class _Browser:
    """A headless Chromium, driven by its own protocol over two pipes."""

    def __init__(self, profile: Path) -> None:
        assert BROWSER is not None
        hear, say = os.pipe()
        answer, reply = os.pipe()
        self.process = subprocess.Popen(
            [
                sys.executable, "-c", LAUNCH, str(hear), str(reply), BROWSER, "--headless",
                "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank",
            ],
            pass_fds=(hear, reply), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(hear)
        os.close(reply)
        self._say, self._answer = say, answer
        self._count, self._rest = 0, b""
        self._session = ""
        self.events: list[dict[str, Any]] = []

    def open(self, address: str) -> None:
        targets = self._call("Target.getTargets")["targetInfos"]
        target = next(found["targetId"] for found in targets if found["type"] == "page")
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = str(attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")
        self.do("Page.navigate", url=address)

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._say, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                read = os.read(self._answer, 1 << 20)
                assert read, "the browser has closed"
                self._rest += read
            one, _, self._rest = self._rest.partition(b"\0")
            told = json.loads(one)
            if told.get("id") == self._count:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result
            self.events.append(told)

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._call(method, self._session, **parameters)

    def run(self, script: str) -> Any:
        told = self.do(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True,
            userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            typed = {"text": key} if kind == "keyDown" else {}
            self.do("Input.dispatchKeyEvent", type=kind, key=key, **typed)

    def until(self, script: str, seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._say)
        os.close(self._answer)


@pytest.fixture(scope="module")
def browser(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Browser]:
    found = _Browser(tmp_path_factory.mktemp("profile"))
    try:
        found.open(written.as_uri())
        found.until("document.readyState === 'complete' && !document.querySelector"
                    "('[data-transport]').hidden")  # fmt: skip
        found.run("window.players = [...document.querySelectorAll('audio')]; 0")
        found.run("window.one = (name) => document.querySelector(`[data-${name}]`); 0")
        yield found
    finally:
        found.close()


HEARD = "players.findIndex((a) => !a.muted)"


@pytest.fixture
def complaints(browser: _Browser) -> Callable[[], list[str]]:
    return lambda: [
        json.dumps(event)
        for event in browser.events
        if event["method"]
        in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    ]


@needs_browser
def test_keys_play_and_switch_at_the_same_place(
    browser: _Browser, complaints: Callable[[], list[str]]
) -> None:
    browser.until("players.every((a) => a.readyState > 0)")
    assert browser.run("players.map((a) => a.duration)") == [SECONDS] * 3  # 24-bit WAV is played
    browser.press(" ")
    browser.until("players[0].currentTime > 0.3 && !players[0].paused")
    assert browser.run("one('play').textContent") == "Pause"
    assert browser.run(HEARD) == 0
    browser.press("3")
    before, after, heard = browser.run(f"[players[0].currentTime, players[2].currentTime, {HEARD}]")
    assert heard == 2
    assert after == pytest.approx(before, abs=0.3)  # s; a loaded machine falls behind a little
    browser.until("Math.abs(players[2].currentTime - players[0].currentTime) < 0.05")
    browser.until(f"players[2].currentTime > {after} + 0.2")  # it goes on
    assert browser.run("[...document.querySelectorAll('[name=method]')].map((r) => r.checked)") == [
        False, False, True,
    ]  # fmt: skip
    browser.press(" ")
    browser.until("players.every((a) => a.paused)")
    assert complaints() == []


@needs_browser
def test_a_stem_is_heard_at_the_same_place_and_matched_if_asked(
    browser: _Browser, complaints: Callable[[], list[str]]
) -> None:
    browser.run("one('seek').value = 4; one('seek').dispatchEvent(new Event('input')); 0")
    browser.run("one('signal').selectedIndex = 1;"
                "one('signal').dispatchEvent(new Event('change')); 0")  # fmt: skip
    browser.until("players.every((a) => a.readyState > 0 && a.currentTime === 4)")
    assert all(unquote(src).endswith(ODD) for src in browser.run("players.map((a) => a.src)"))
    assert browser.run("players.map((a) => a.volume)") == [1, 1, 1]
    browser.run("one('match').click(); 0")
    volumes = browser.run("players.map((a) => a.volume)")
    assert volumes == pytest.approx([1.0, 0.5, 0.25], abs=2e-3)  # loudness is told to 0.01 LU
    browser.run("one('signal').selectedIndex = 0;"
                "one('signal').dispatchEvent(new Event('change')); 0")  # fmt: skip
    assert browser.run("players.map((a) => a.volume)") == [1, 1, 1]
    assert complaints() == []


@needs_browser
def test_a_section_is_looped(browser: _Browser, complaints: Callable[[], list[str]]) -> None:
    browser.run("one('passage').click(); 0")
    assert browser.run("one('loop').checked")
    assert browser.run("one('says').textContent") == "Loop from 0:02.0 to 0:17.0."
    browser.run("one('seek').value = 16.6; one('seek').dispatchEvent(new Event('input')); 0")
    browser.until("players.every((a) => !a.seeking && Math.abs(a.currentTime - 16.6) < 0.01)")
    browser.press(" ")
    browser.until("Math.min(...players.map((a) => a.currentTime)) < 10")
    assert browser.run("Math.min(...players.map((a) => a.currentTime))") >= 1.9
    browser.press(" ")
    browser.press("l")
    assert not browser.run("one('loop').checked")
    assert complaints() == []


@needs_browser
def test_a_blind_comparison_hides_names_until_they_are_revealed(
    browser: _Browser, complaints: Callable[[], list[str]]
) -> None:
    labels = "[...document.querySelectorAll('[data-label]')].map((e) => e.textContent)"
    assert browser.run(labels) == list(METHODS)
    browser.press("b")
    assert browser.run(labels) == ["A", "B", "C"]
    shown = browser.run("one('deck').innerText")
    assert not any(method in shown for method in METHODS)
    assert "dB" not in shown
    browser.press("2")
    second = browser.run("document.querySelectorAll('[name=method]')[1].checked")
    assert second
    browser.run("one('reveal').click(); 0")
    revealed = browser.run(labels)
    assert sorted(label.removeprefix(f"{'ABC'[i]} is ") for i, label in enumerate(revealed)) == (
        sorted(METHODS)
    )
    heard = METHODS[browser.run(HEARD)]
    assert revealed[1] == f"B is {heard}"
    browser.press("b")
    assert browser.run(labels) == list(METHODS)
    assert complaints() == []


@needs_browser
def test_the_table_of_gains_is_sorted(
    browser: _Browser, complaints: Callable[[], list[str]]
) -> None:
    table = "document.querySelector('table.tracks')"
    rows = f"[...{table}.tBodies[0].rows].map((row) => row.cells[5].textContent)"
    click = f"{table}.tHead.rows[0].cells[{{}}].querySelector('button').click(); 0"
    browser.run(click.format(5))
    assert browser.run(rows) == ["−4.5", "+4.5", "+5.5"]
    browser.run(click.format(5))
    assert browser.run(rows) == ["+5.5", "+4.5", "−4.5"]
    browser.run(click.format(3))
    first = f"[...{table}.tBodies[0].rows].map((row) => row.cells[3].textContent)"
    assert browser.run(first) == ["−100.5", "−31.2", "−8.0"]  # by value, not by letters
    assert browser.run(f"{table}.tHead.rows[0].cells[3].ariaSort") == "ascending"
    assert complaints() == []


@needs_browser
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_runs_over_the_edge_of_the_screen(width: int, browser: _Browser) -> None:
    browser.do(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
        mobile=True,
    )  # fmt: skip
    assert browser.run("document.documentElement.scrollWidth") <= width
    small = browser.run(
        "[...document.querySelectorAll('main button, main select')]"
        ".filter((e) => !e.closest('table') && e.offsetHeight && e.offsetHeight < 40).length"
    )
    assert small == 0  # large enough for a finger
    asked = {
        event["params"]["request"]["url"].partition(":")[0]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked == {"file"} or asked == {"file", "data"}
