"""The mix report in a real browser: it plays, switches, sorts, and fits a phone, by keys alone."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipeline.console.compressor import GainReduction
from pipeline.loudness.meter import measure
from pipeline.plan import Plan, StemPlan, TrackPlan
from pipeline.report.findings import Finding
from pipeline.report.masking import Covered, Masking
from pipeline.report.page import write_report
from pipeline.report.plots import Curve
from pipeline.report.record import Report
from pipeline.report.stereo import measure_stereo

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs the Debian package chromium")

RATE = 44_100
SECONDS = 8.0
LONG_NAME = "Drums/" + "A_very_long_name_without_a_gap_" * 4 + ".wav"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=user-gesture-required",
]  # fmt: skip


def _until(page: Any, condition: str, seconds: float = 15.0) -> None:
    # The page's policy keeps the browser from waiting itself.
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never true: {condition}"
        time.sleep(0.02)


def _noise(path: Path, level: float, seed: int) -> Path:
    noise = np.random.default_rng(seed).normal(size=(round(SECONDS * RATE), 2))
    soundfile.write(path, level * noise, RATE, "FLOAT")
    return path


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    mix, reference = _noise(folder / "m.wav", 0.05, 1), _noise(folder / "r.wav", 0.2, 2)
    audio = soundfile.read(mix, dtype="float32")[0].T
    names = ("drums", "lead_vocals", "backing_vocals_" + "long" * 12)
    settings = {"ratio": 3.0, "threshold_lu": -30.0, "high_shelf_gain_db": 3.0}
    tracks = [
        {"track": LONG_NAME if n == 7 else f"Track {n}.wav", "role": "kick", "subgroup": "drums",
         "confidence": round(n / 112, 2), "unsure": n < 5, "flags": "clips 3 times" * (n % 9 == 0),
         "gain_db": (n * 37 % 112) / 4 - 14, "pan": 0.0, "reason": "a reason", "f0_hz":
         math.nan if n % 3 else 50.0 + n, "loudness_lufs": -20.0 - n,
         **dict.fromkeys(("centroid_hz", "crest_db", "true_peak_dbtp", "integrated_lufs",
                          "max_short_term_lufs", "loudness_centroid", "loudness_p_lufs",
                          "loudness_informed", "loudness_sones"), -12345.6)}
        for n in range(112)
    ]  # fmt: skip
    field = measure_stereo(audio, sample_rate=RATE)
    pair = Covered(names[1], names[0], 2000.0, 4400.0, 0.6, 0.4, 8.0)
    reduction = GainReduction(9.0, 4.0, tuple(float(n % 9) for n in range(16)))
    flat = Curve(np.array([25.0, 16000.0]), np.array([-20.0, -40.0]))
    write_report(
        folder / "report.html",
        Report(
            title="Song " + "w" * 60,
            plan=Plan(
                session="s", sample_rate=RATE, frames=round(SECONDS * RATE),
                tracks=tuple(TrackPlan(path=str(t["track"]), role="kick", subgroup="drums")
                             for t in tracks),
                stems=tuple(StemPlan(name=name, settings=settings) for name in names),
            ),
            mix_audio=mix, reference_audio=(reference,), target_lufs=-14.0,
            loudness=measure(audio, sample_rate=RATE),
            spectra={"this mix": flat, "reference": flat},
            widths={"this mix": {"under 200 Hz": -12.0, "over 4 kHz": -3.0}},
            stereo={"this mix": field, "reference": field},
            true_peaks_dbtp=(-3.0, -1.0, -math.inf, -2.0),
            reductions={names[0]: reduction}, bus_reduction=reduction, limiting=reduction,
            masking=Masking(names, ((0.0, 0.2, 0.0), (0.6, 0.0, 0.0), (0.9, 0.1, 0.0)),
                            (0.2, 0.7, 0.95), (pair,)),
            findings=(Finding("Limiter (most at 0:04)", "works hard", "ask for less"),),
            distances={"this mix": {"spectrum_db": 0.5}}, tracks=tracks,
            warnings=("Vox: clips 3 times, first at 1.5 s; " + "x" * 80,),
            settings={"strength": 1.0, "references": "/" + "deep/" * 40},
        ),
    )  # fmt: skip
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Open the report in a window of the width asked for; nothing may complain or be asked for."""
    width = getattr(request, "param", 1440)
    context = browser.new_context(
        viewport={"width": width, "height": 844}, has_touch=width < 500, is_mobile=width < 500
    )
    shown = context.new_page()
    told: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: told.append(message.text))
    shown.on("pageerror", lambda error: told.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(address)
    _until(shown, "[...document.querySelectorAll('audio')].every((a) => a.readyState === 4)")
    yield shown
    context.close()
    assert told == []
    assert [url for url in asked if url != address and not url.startswith("data:")] == []


PLACE = "(n) => document.querySelectorAll('audio')[n].currentTime"
RUNS = "() => [...document.querySelectorAll('audio')].map((a) => !a.paused)"


def _is_on(page: Any) -> str:
    return str(page.evaluate("document.querySelector('.source.on').dataset.source"))


def test_keys_play_and_switch_at_the_same_place(page: Any) -> None:
    page.keyboard.press("Space")
    _until(page, "document.querySelectorAll('audio')[0].currentTime > 0.4")
    assert page.evaluate(RUNS) == [True, False]
    assert page.inner_text("[data-play]") == "Pause"
    before = page.evaluate(PLACE, 0)
    page.keyboard.press("b")
    _until(page, f"document.querySelectorAll('audio')[1].currentTime > {before} + 0.1")
    assert page.evaluate(RUNS) == [False, True]
    assert _is_on(page) == "Reference"
    assert page.evaluate(PLACE, 1) == pytest.approx(before, abs=1.5)  # a loaded machine is slow
    page.keyboard.press("Space")
    _until(page, "[...document.querySelectorAll('audio')].every((a) => a.paused)")
    stopped = page.evaluate(PLACE, 1)
    page.keyboard.press("a")
    assert _is_on(page) == "Mix"
    assert page.evaluate(PLACE, 0) == pytest.approx(stopped, abs=0.01)
    page.keyboard.press("2")
    assert _is_on(page) == "Reference"


def test_it_is_equally_loud_without_touching_the_volume(page: Any) -> None:
    """What a browser decodes of both is equally loud, though one file is 12 dB louder."""
    power = page.evaluate(
        """async () => {
          const found = [];
          for (const audio of document.querySelectorAll('audio')) {
            const text = atob(audio.src.split(',')[1]);
            const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
            const heard = await new OfflineAudioContext(2, 1, 44100).decodeAudioData(bytes.buffer);
            const left = heard.getChannelData(0);
            found.push([left.reduce((sum, x) => sum + x * x, 0) / left.length, audio.volume]);
          }
          return found;
        }"""
    )
    (mix, mix_volume), (reference, reference_volume) = power
    assert (mix_volume, reference_volume) == (1, 1)
    assert 10 * math.log10(mix / reference) == pytest.approx(0.0, abs=0.1)


def test_the_transport_is_reached_and_used_by_keys_alone(page: Any) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.hasAttribute('data-switch')"):
            break
    page.keyboard.press("Enter")
    assert _is_on(page) == "Reference"
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert page.evaluate(PLACE, 1) == pytest.approx(SECONDS, abs=0.2)
    page.keyboard.press("Home")
    assert page.evaluate(PLACE, 1) == 0.0
    assert "0:00 of 0:08" in page.get_attribute("[data-seek]", "aria-valuetext")


def _column(page: Any, name: str, *, table: int = 0) -> list[str]:
    return list(
        page.evaluate(
            """([name, number]) => {
              const table = document.querySelectorAll('#tracks table')[number];
              const heads = [...table.tHead.rows[0].cells];
              const at = heads.findIndex((head) => head.textContent.trim() === name);
              return [...table.tBodies[0].rows].map((row) => row.cells[at].dataset.sort);
            }""",
            [name, table],
        )
    )


def _sort_by(page: Any, name: str) -> None:
    button = page.locator("#tracks thead button", has_text=name).first
    button.focus()
    page.keyboard.press("Enter")


def test_the_table_is_sorted_by_any_column_both_ways(page: Any) -> None:
    _sort_by(page, "Gain, dB")
    gains = [float(value) for value in _column(page, "Gain, dB")]
    assert gains == sorted(gains)
    assert len(gains) == 112
    _sort_by(page, "Gain, dB")
    assert [float(value) for value in _column(page, "Gain, dB")] == sorted(gains, reverse=True)
    assert page.locator("#tracks th[aria-sort=descending]").count() == 1
    _sort_by(page, "f0, Hz")
    _sort_by(page, "f0, Hz")
    pitches = _column(page, "f0, Hz", table=1)
    known = [float(value) for value in pitches if value]
    assert known == sorted(known, reverse=True)
    assert pitches[len(known) :] == [""] * (112 - len(known))  # what has none stays at the end
    _sort_by(page, "Track")
    assert _column(page, "Track") == sorted(_column(page, "Track"))


def test_unsure_and_flagged_tracks_are_marked_beside_their_names(page: Any) -> None:
    marked = page.locator("#tracks tbody th", has=page.locator(".mark", has_text="unsure"))
    assert marked.count() == 5
    assert page.locator("#tracks .mark", has_text="clips").count() == 13


@pytest.mark.parametrize("page", [1440], indirect=True)
def test_a_wide_screen_shows_every_column_of_the_tracks(page: Any) -> None:
    hidden = page.evaluate(
        """() => [...document.querySelectorAll('#tracks .scroll, #stems .scroll')].map(
          (box) => box.scrollWidth - box.clientWidth)"""
    )
    assert hidden == [0] * len(hidden)
    assert len(hidden) == 3


def test_paper_shows_every_column_of_the_tracks(page: Any) -> None:
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1030, "height": 700})  # A4 across, less its margins
    over = page.evaluate(
        """() => [...document.querySelectorAll('.scroll table')].filter(
          (table) => table.getBoundingClientRect().right > innerWidth + 0.5).length"""
    )
    assert over == 0


@pytest.mark.parametrize("page", [390, 1440], indirect=True)
def test_nothing_runs_over_the_edge_of_the_screen(page: Any) -> None:
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    out = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter((e) =>
          !e.closest('.scroll') && !e.closest('svg')
          && e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.outerHTML)"""
    )
    assert out == []


@pytest.mark.parametrize("page", [390], indirect=True)
def test_a_finger_plays_from_where_it_taps(page: Any) -> None:
    page.locator(".wave").nth(1).tap()  # in its middle
    _until(page, "!document.querySelectorAll('audio')[1].paused")
    assert _is_on(page) == "Reference"
    assert page.evaluate(PLACE, 1) == pytest.approx(0.5 * SECONDS, abs=1.5)
    small = page.evaluate(
        "[...document.querySelectorAll('.transport button')].filter((b) => b.offsetHeight < 40)"
        ".length"
    )
    assert small == 0  # large enough for a finger
