"""The mix report: one page that asks for nothing, escapes everything and says what was done."""

from __future__ import annotations

import base64
import io
import math
import re
import shutil
import subprocess
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from pipeline.console.compressor import GainReduction
from pipeline.console.parameters import STRIP, default_settings
from pipeline.errors import InputError
from pipeline.loudness.meter import measure
from pipeline.plan import Plan, StemPlan, TrackPlan
from pipeline.report import excerpts
from pipeline.report.describe import stem_phrase
from pipeline.report.excerpts import loudest_excerpts
from pipeline.report.findings import Finding
from pipeline.report.masking import Covered, Masking
from pipeline.report.page import Curve, describe, write_report
from pipeline.report.plots import (
    compression_curve,
    equaliser_plot,
    reduction_plot,
    true_peak_plot,
    waveform_path,
)
from pipeline.report.record import FileNote, Report, StemLevel
from pipeline.report.stereo import measure_stereo
from pipeline.report.tables import (
    distance_table,
    masking_table,
    measures_table,
    number,
    setting_rows,
    track_table,
)
from pipeline.units import THIRD_OCTAVES_HZ

RATE = 44100
EVIL = '</script><img src=x onerror="alert(1)">\'&\n\u202etxt $x^2$ {{ 7*7 }}\udcff'
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"}


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


def _noise(path: Path, *, level: float, seconds: float = 4.0, seed: int = 1) -> Path:
    rng = np.random.default_rng(seed)
    soundfile.write(path, level * rng.normal(size=(round(seconds * RATE), 2)), RATE, "FLOAT")
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("audio")
    mix = _noise(folder / "mix.wav", level=0.05)
    reference = _noise(folder / "ré <ference>.wav", level=0.2, seed=2)
    audio, _ = soundfile.read(mix, dtype="float32")
    drums = StemPlan(
        name="drums",
        settings={"gain_db": 1.5, "ratio": 2.0, "threshold_lu": -20.0},
        predicted={"gain_db": 0.25, "ratio": 1.5, "threshold_lu": -17.5, "pan": 0.0},
        predicted_spread={"gain_db": 0.75, "ratio": 1.25},
        reason=EVIL,
    )
    tracks = (
        TrackPlan(path=EVIL, role="kick", subgroup="drums", gain_db=-3.0),
        TrackPlan(path="hat.wav", role="hi_hat", subgroup="drums", pan=0.5),
    )
    bass = StemPlan(name="bass", settings={"low_shelf_gain_db": -2.0})
    plan = Plan(
        session="s",
        sample_rate=RATE,
        frames=4 * RATE,
        tracks=tracks,
        stems=(drums, bass),
        bus={"mid_peak_gain_db": 2.0},
    )
    flat = Curve(np.array(THIRD_OCTAVES_HZ), np.linspace(-10.0, -40.0, len(THIRD_OCTAVES_HZ)))
    return Report(
        title=f"Song {EVIL}",
        plan=plan,
        mix_audio=mix,
        reference_audio=(reference,),
        loudness=measure(audio.T, sample_rate=RATE),
        target_lufs=-14.0,
        spectra={"This mix": flat, EVIL: flat},
        widths={"This mix": {"low": -12.0, "high": -3.0}, EVIL: {"low": -9.0, "high": math.nan}},
        distances={
            "Equal-loudness sum": {"spectrum_db": 4.0, "total": 2.0},
            "This mix": {"spectrum_db": 0.5, "total": 0.25},
        },
        true_peaks_dbtp=(-3.0, -math.inf, -1.0, -2.5),
        stereo={"This mix": measure_stereo(audio.T, sample_rate=RATE)},
        reductions={"drums": GainReduction(6.5, 2.0, (0.0, 3.0, 6.5, 4.0, 0.2))},
        limiting=GainReduction(0.2, 0.0, (0.2, 0.0)),
        masking=Masking(
            ("drums", "bass", EVIL), ((0.0, 0.05, 0.0), (0.62, 0.0, 0.3), (0.0, 0.0, 0.0)),
            (0.05, 0.7, 0.0), (Covered("bass", "drums", 100.0, 300.0, 0.62, 0.5, 8.0),),
        ),
        findings=(Finding(EVIL, "works hard", "ask for less"),),
        stem_levels={"drums": StemLevel(-4.25, -6.0), "bass": StemLevel(-math.inf)},
        tracks=(
            {"path": EVIL, "role": "kick", "confidence": 0.4, "unsure": True, "clips": True,
             "f0_hz": math.nan, "p_lufs": -31.25, "gain_db": -3.0, "pan": 0.0, "reason": EVIL},
            {"path": "hat.wav", "role": "hi_hat", "confidence": 0.95, "unsure": False,
             "f0_hz": 440.0, "p_lufs": -28.5, "gain_db": 2.0, "pan": 0.5, "reason": "a"},
        ),
        left_out=(FileNote(EVIL, "a bounce"),),
        skipped=(FileNote("broken.wav", "is truncated"),),
        warnings=("Careful: " + EVIL,),
        settings={"strength": 0.5, EVIL: EVIL},
        versions={"python": "3.11"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def text(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, report)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> _Page:
    return _Page(text)


def test_it_asks_for_nothing(text: str, page: _Page) -> None:
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "poster", "data", "formaction"):
            value = attributes.get(name, "#")
            assert value.startswith(("data:", "#")), (tag, name, value[:40])


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
    assert len(page.all("script")) == 1
    assert "\u202e" not in text
    assert "$ 49" not in text
    shown = "".join(page.text)
    visible = '</script><img src=x onerror="alert(1)">\'&\\n\\u202etxt $x^2$ {{ 7*7 }}\\udcff'
    # Title twice, warning, stem's reason, track and its reason, left out, setting and its value,
    # legends of the spectrum and width plots, width table.
    assert shown.count(visible) >= 11


def test_every_part_is_there(page: _Page) -> None:
    sections = [a["id"] for a in page.all("section")]
    assert sections == [
        "listen", "done", "warnings", "style", "dynamics", "stereo", "stems", "masking",
        "predicted", "tracks", "files", "settings",
    ]  # fmt: skip
    identities = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identities) == len(set(identities))
    for anchor in page.all("a"):
        assert unquote(anchor["href"][1:]) in identities
    shown = " ".join(" ".join(page.text).split())
    for words in (
        "Drums: 1.5 dB louder; compressed 2:1 from 20 dB under its level.",
        "4.2 LU under all stems together, 6.0 LU under them as balanced.",
        "Silent in this mix.",
        "Bass: 2.0 dB less below 100 Hz.",
        "unsure (0.40)",
        "broken.wav is truncated",
        "50% right",
        "Not compressed.",
        "LUFS (target −14.0)",
        "Fader, dB 0.00 0.25 ± 0.75 1.50",
        "Ratio 1.00 1.50 × 1.25 2.00",
        "works hard. Ask for less.",
        "4.0 dB while it works, 60% of the time; 6.5 dB at most, at 0:01.",
        "Bass 70% 62%",
        "True peak −",
        "In mono what is wide gets lost",
    ):
        assert words in shown, words


def test_pictures_have_words_and_follow_the_theme(text: str, page: _Page) -> None:
    plots = [a for a in page.all("svg") if a.get("class") == "plot"]
    # spectrum, loudness, true peak, correlation, width, drums' compressor and its gain reduction,
    # bass's equaliser, the bus's equaliser; the limiter did nothing to speak of
    assert len(plots) == 9
    for plot in plots:
        assert plot["role"] == "img"
        assert len(plot["aria-label"]) > 15
    pictures = "".join(re.findall(r'<svg class="plot".*?</svg>', text, flags=re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}\b", pictures)) == set()
    assert "var(--series-1)" in pictures
    assert "Frequency in Hz" in re.findall(r"<text[^>]*>([^<]*)</text>", pictures)
    assert "stroke-dasharray" in pictures


def test_players_hold_equally_loud_excerpts(text: str, page: _Page) -> None:
    players = page.all("audio")
    assert len(players) == 2
    levels = []
    for player in players:
        kind, _, data = player["src"].partition(",")
        assert kind == "data:audio/mpeg;base64"
        audio, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float32")
        assert abs(len(audio) / rate - 4.0) < 0.1
        levels.append(measure(audio.T, sample_rate=rate).integrated_lufs)
    # White noise loses a little above the encoder's low-pass, the same in both.
    assert levels[0] == pytest.approx(levels[1], abs=0.2)
    (lowered,) = re.findall(r"whole, played ([\d.]+) dB lower", "".join(page.text))
    assert float(lowered) == pytest.approx(20 * math.log10(0.2 / 0.05), abs=0.15)  # two noises


def test_same_report_same_bytes(report: Report, text: str, tmp_path: Path) -> None:
    write_report(tmp_path / "again.html", report)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text


def test_a_report_without_a_reference(report: Report, tmp_path: Path) -> None:
    bare = Report(
        title="Plain", plan=report.plan, mix_audio=report.mix_audio, loudness=report.loudness
    )
    write_report(tmp_path / "r.html", bare)
    page = _Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert len(page.all("audio")) == 1
    shown = "".join(page.text)
    assert "How close it came" not in shown
    assert "Spectrum" in shown


def test_nothing_is_said_of_a_prediction_where_there_was_none(
    report: Report, tmp_path: Path
) -> None:
    stems = tuple(stem.model_copy(update={"predicted": {}}) for stem in report.plan.stems)
    plan = report.plan.model_copy(update={"stems": stems})
    write_report(tmp_path / "r.html", replace(report, plan=plan))
    page = _Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "predicted" not in [section["id"] for section in page.all("section")]
    assert "#predicted" not in [anchor["href"] for anchor in page.all("a")]


def test_nothing_is_left_of_a_failed_report(report: Report, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.wav"):
        write_report(tmp_path / "r.html", replace(report, mix_audio=tmp_path / "gone.wav"))
    assert list(tmp_path.iterdir()) == []


def test_the_loudest_excerpt_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "MAX_SECONDS", 2.0)
    quiet = np.random.default_rng(3).normal(0.0, 0.01, (10 * RATE, 1))
    quiet[6 * RATE : 8 * RATE] *= 10.0
    soundfile.write(tmp_path / "a.wav", quiet, RATE, "FLOAT")
    (excerpt,) = loudest_excerpts([tmp_path / "a.wav"])
    assert excerpt.start_s == pytest.approx(6.0, abs=0.02)  # the meter's grid is 10 ms
    assert excerpt.duration_s == pytest.approx(2.0)
    assert not excerpt.whole


def test_loud_and_silent_excerpts(tmp_path: Path) -> None:
    loud = _noise(tmp_path / "loud.wav", level=0.9, seconds=2.0)
    soundfile.write(tmp_path / "silent.wav", np.zeros((RATE, 2)), RATE, "FLOAT")
    high, silent = loudest_excerpts([loud, tmp_path / "silent.wav"])
    assert np.abs(high.audio).max() == pytest.approx(10 ** (-1 / 20), rel=1e-4)
    assert not silent.audio.any()
    assert silent.gain_db == 0.0


def test_high_sample_rates_are_brought_to_what_mp3_holds(tmp_path: Path) -> None:
    time_s = np.arange(96000) / 96000
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sin(2 * np.pi * 997 * time_s), 96000, "FLOAT")
    (excerpt,) = loudest_excerpts([tmp_path / "a.wav"])
    data = base64.b64decode(excerpt.uri.partition(",")[2])
    audio, rate = soundfile.read(io.BytesIO(data))
    assert rate == 48000
    peak_hz = np.argmax(np.abs(np.fft.rfft(audio[12000:36000]))) * rate / 24000
    assert peak_hz == pytest.approx(997.0, abs=2.0)


def test_words_of_a_strip() -> None:
    stem = StemPlan(
        name="lead_vocals",
        settings={
            "gain_db": -2.1,
            "low_peak_gain_db": 0.3,
            "low_mid_peak_gain_db": -3.0,
            "low_mid_peak_frequency_hz": 315.0,
            "high_shelf_gain_db": 1.5,
            "threshold_lu": -24.4,
            "ratio": 2.5,
            "makeup_db": 3.0,
            "width": 0.5,
            "spread": 0.2,
            "pan": -0.25,
        },
    )
    plain = StemPlan(name="bass")
    muted = StemPlan(name="keys", mute=True)
    plan = Plan(session="s", sample_rate=48000, frames=1, tracks=(), stems=(stem, plain, muted))
    assert describe(plan) == (
        "Lead vocals: 2.1 dB quieter; 3.0 dB less around 320 Hz; 1.5 dB more above 9 kHz; "
        "compressed 2.5:1 from 24 dB under its level; +3.0 dB make-up gain; sides 6.0 dB narrower; "
        "spread by 20%; panned 25% left.",
        "Bass: balanced, fader +0.0 dB.",
        "Keys: muted.",
        "Whole mix: true peaks limited to −1 dBTP.",
    )


def test_where_a_strip_does_nothing_the_balance_is_told() -> None:
    tracks = (
        TrackPlan(path="l.wav", role="electric_guitar", subgroup="guitars", gain_db=-3.0, pan=-0.6),
        TrackPlan(path="r.wav", role="electric_guitar", subgroup="guitars", gain_db=1.5, pan=0.6),
        TrackPlan(path="off.wav", role="electric_guitar", subgroup="guitars", gain_db=9, mute=True),
        TrackPlan(path="b.wav", role="bass", subgroup="bass", gain_db=-2.0),
    )
    stems = (
        StemPlan(name="guitars", balance_gain_db=-5.5, settings={"gain_db": -5.5}),
        StemPlan(name="bass"),
    )
    plan = Plan(session="s", sample_rate=48000, frames=1, tracks=tracks, stems=stems)
    assert describe(plan)[:2] == (
        "Guitars: balanced, fader −5.5 dB; 2 tracks at −3.0 to +1.5 dB, "
        "from 60% left to 60% right.",
        "Bass: balanced, fader +0.0 dB; one track at −2.0 dB, in the centre.",
    )


def test_words_of_a_bus_leave_out_what_is_not_heard() -> None:
    bus = {
        "low_peak_gain_db": -3.0, "low_shelf_gain_db": 0.7, "high_mid_peak_gain_db": 0.3,
        "high_shelf_gain_db": 1.2, "ratio": 1.5, "threshold_lu": 2.0, "gain_db": 6.0,
    }  # fmt: skip
    plan = Plan(session="s", sample_rate=48000, frames=1, tracks=(), stems=(), bus=bus)
    assert describe(plan) == (
        "Whole mix: 0.7 dB more below 90 Hz; 3.0 dB less around 220 Hz; 1.2 dB more above 9 kHz; "
        "compressed 1.5:1 from 2 dB over the mix's level; raised 6.0 dB into the limiter; "
        "true peaks limited to −1 dBTP.",
    )


def test_words_of_a_voice_name_high_pass_and_de_esser() -> None:
    stem = StemPlan(
        name="lead_vocals",
        settings={"high_pass_hz": 95.0, "deess_db": 4.0, "deess_hz": 6500.0},
    )
    assert stem_phrase(stem) == "high-pass at 95 Hz; de-essed by up to 4.0 dB above 6.5 kHz"


def test_compression_curve_keeps_the_ratio_outside_the_knee() -> None:
    values = default_settings(STRIP) | {
        "threshold_lu": -30.0, "ratio": 4.0, "knee_db": 6.0, "makeup_db": 2.0,
    }  # fmt: skip
    level = np.array([-60.0, -33.0, -30.0, -27.0, -10.0])
    # Knee: (1/4 - 1) * 3^2 / 12 = -0.5625 dB at the threshold.
    expected = np.array([-58.0, -31.0, -28.5625, -27.25, -23.0])
    np.testing.assert_allclose(compression_curve(values, level), expected, atol=1e-9)


def test_equaliser_plot_is_drawn_where_the_response_is() -> None:
    values = default_settings(STRIP) | {"low_mid_peak_gain_db": 6.0}
    svg = equaliser_plot(values, sample_rate=48000, alt="a <b>")
    assert 'aria-label="a &lt;b&gt;"' in svg
    curves = re.findall(r'<path d="([^"]*)"[^>]*var\(--series-1\)', svg)
    points = np.array([[float(v) for v in p] for p in re.findall(r"([\d.]+) ([\d.]+)", curves[0])])
    ticks = dict(
        (label, float(x))
        for x, label in re.findall(r'<text[^>]* x="([\d.]+)"[^>]*>([^<]*)</text>', svg)
    )
    top = points[np.argmin(points[:, 1]), 0]
    assert top == pytest.approx(ticks["500"], abs=2.0)  # the grid of frequencies, in pixels


def test_waveform_path_holds_the_peaks() -> None:
    audio = np.zeros((2, 1000), np.float32)
    audio[0, 250] = 0.5
    audio[1, 750] = -1.0
    path = waveform_path(audio, columns=10, full_scale=1.0)
    points = [tuple(float(v) for v in p.split()) for p in re.split("[MLZ]", path) if p]
    assert min(points, key=lambda p: p[1]) == (2.0, -25.0)
    assert max(points, key=lambda p: p[1]) == (7.0, 50.0)


def test_the_closest_mix_is_strong() -> None:
    table = distance_table({"a": {"spectrum_db": 4.0, "x": math.nan}, "b": {"spectrum_db": 0.5}})
    assert table.headings == ("Mix", "Spectrum, dB", "X")
    assert [[c.text for c in row] for row in table.rows] == [["a", "4.00", "–"], ["b", "0.50", "–"]]
    assert [[c.strong for c in row[1:]] for row in table.rows] == [[False, False], [True, False]]


def test_track_rows_may_be_of_any_shape() -> None:
    tracks = [
        {"file": "a", "our_lufs": np.float64(-20.0), "dc": np.True_, "muted": "True"},
        {"file": "b", "p_lufs": -math.inf, "pan": -1.0, "flags": ["silent"], "other": object()},
    ]
    measures = measures_table(tracks)
    assert measures.headings == ("Track", "Our, LUFS", "P, LUFS")
    rows = [
        dict(zip((*table.headings, *measures.headings), (*row, *figures), strict=True))
        for table in (track_table(tracks),)
        for row, figures in zip(table.rows, measures.rows, strict=True)
    ]
    assert rows[0]["Flags"].text == "DC offset, muted"
    assert rows[0]["Our, LUFS"].text == "−20.0"
    assert rows[0]["P, LUFS"].text == "–"
    assert rows[0]["P, LUFS"].sort == ""
    assert rows[1]["P, LUFS"].text == "−∞"
    assert rows[1]["Pan"].text == "100% left"
    assert rows[1]["Flags"].text == "silent"
    assert track_table([]).rows == ()


def test_every_loudness_method_and_a_flipped_polarity_are_shown() -> None:
    row = {"track": "a", "loudness_lufs": -20.0, "loudness_sones": -21.0, "loudness_range_lu": 3.0}
    tracks = [{**row, "invert": True}, {**row, "invert": False}]
    measures, table = measures_table(tracks), track_table(tracks)
    assert measures.headings == ("Track", "By lufs, LUFS", "By sones, LUFS")
    assert measures.rows[0][-1].text == "−21.0"
    flags = [cells[table.headings.index("Flags")].text for cells in table.rows]
    assert flags == ["polarity inverted", ""]


def test_it_says_what_a_track_was_recognised_by() -> None:
    table = track_table(
        [{"track": "a", "recognised_by": "sounds like kick (0.94)"}, {"track": "b"}]
    )
    notes = [row[table.headings.index("Sure?")].note for row in table.rows]
    assert notes == ["sounds like kick (0.94)", ""]


def test_numbers_and_settings_as_text() -> None:
    assert number(-0.04, 1) == "0.0"
    assert number(0.04, 1, sign=True) == "0.0"
    assert number(1.25, 1, sign=True) == "+1.2"
    assert number(None) == "–"
    assert setting_rows({"a": True, "b": 48000, "c": [1.5, "x"], "d": {"k": -2.0}, "e": None}) == [
        ("a", "yes"),
        ("b", "48000"),
        ("c", "1.5, x"),
        ("d", "k −2"),
        ("e", "–"),
    ]


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


@pytest.mark.skipif(BROWSER is None, reason="needs the Debian package chromium")
def test_a_real_browser_shows_the_page_without_a_complaint(text: str, tmp_path: Path) -> None:
    assert BROWSER is not None
    page = tmp_path / "report.html"
    page.write_text(text, encoding="utf-8")
    shown = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=3000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in shown.stderr  # no script error, nothing that the page's policy refused
    before, after = (
        next(a for a in _Page(html).all("div") if "data-transport" in a)
        for html in (text, shown.stdout)
    )
    # The script has run to its end: its own controls take the place of the browser's.
    assert "hidden" in before
    assert "hidden" not in after


def test_gain_reduction_hangs_from_the_top_and_peaks_stay_under_the_ceiling() -> None:
    svg = reduction_plot([0.0, 6.0, 3.0], interval_s=0.5, alt="a")
    curve = re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--series-1\)', svg)[-1]
    heights = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", curve)]
    ticks = {
        label: float(y)
        for y, label in re.findall(r'<text[^>]* y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
    }
    assert min(heights) == pytest.approx(ticks["0"] - 4.0, abs=2.0)  # half a letter, in pixels
    assert max(heights) > ticks["0"] + 30.0
    assert "<svg" in reduction_plot([], interval_s=0.5, alt="nothing was heard")
    silent = true_peak_plot([-math.inf] * 3, interval_s=1.0, ceiling_dbtp=-1.0, alt="silence")
    assert "True peak in dBTP" in silent


def test_a_long_course_is_drawn_by_its_maxima() -> None:
    course = np.zeros(7200)
    course[4321] = 9.0
    svg = reduction_plot(course, interval_s=0.5, alt="an hour")
    assert len(svg) < 60_000
    assert "−9" in svg or "−8" in svg  # the axis reaches down to the one deep moment


def test_every_stem_stands_in_what_covers_what() -> None:
    masking = Masking(("a", "b", "c"), ((0.0, 0.0, 0.0), (0.55, 0.0, 0.0), (0.04, 0.0, 0.0)),
                      (0.0, 0.6, 0.04))  # fmt: skip
    table = masking_table(masking)
    assert table.headings == ("Stem", "By all the others", "By a")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["A", "0%", "–"], ["B", "60%", "55%"], ["C", "4%", "4%"],
    ]  # fmt: skip
    assert [cell.strong for cell in table.rows[1]] == [False, True, True]


def test_tracks_are_marked_where_a_reader_should_look() -> None:
    rows = [
        {"track": "a", "unsure": True, "flags": "clips 3 times, first at 0.1 s", "invert": True},
        {"track": "b", "contradiction": "sounds like bass (0.95), not like kick"},
        {"track": "c", "contradiction": ""},
    ]
    marks = [row[0].marks for row in track_table(rows).rows]
    assert marks == [("unsure", "clips", "polarity inverted"), ("sounds unlike its name",), ()]
