"""What the dashboard shows of a mix: a table of its tracks, and a page with plots and words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from flows.dashboard.markdown import as_code, as_markdown
from flows.mix.analysis import AnalysedSession
from flows.mix.result import MixOutcome, track_rows
from flows.storage.locations import Place, inside
from pipeline.plan import Plan
from pipeline.report.describe import describe
from pipeline.report.plots import Curve, loudness_plot, spectrum_plot, width_plot
from pipeline.report.standalone_svg import data_uri, picture
from pipeline.report.views import SHORT_TERM_INTERVAL_S
from stage2.style.broad import BROAD_HZ, broad_spectrum_db
from stage2.style.measure import Style

__all__ = ["mix_page", "track_sheet"]

_MISSING = "–"
_MARK = "⚠"
_METHODS = {
    "loudness_sones": "Sones, LUFS",
    "loudness_informed": "Informed, LUFS",
    "loudness_lufs": "BS.1770, LUFS",
    "loudness_centroid": "Centroid method, LUFS",
    "loudness_p_lufs": "P-LUFS, LUFS",
}
_UNITS = {"db": "dB", "lu": "LU"}
_BANDS = ("under 200 Hz", "200 Hz to 1 kHz", "1 to 4 kHz", "over 4 kHz")
_WARNINGS_SHOWN = 40
Cell = str | int | float


def track_sheet(plan: Plan, analysed: AnalysedSession) -> list[dict[str, Cell]]:
    """Return one row a track for people to read: rounded, with units, what is odd marked."""
    return [_sheet_row(row) for row in track_rows(plan, analysed, brief=True)]


def _sheet_row(row: Mapping[str, Any]) -> dict[str, Cell]:
    notes = [str(row["flags"])] if row["flags"] else []
    if row["unsure"]:
        notes.append("role uncertain")
    return {
        "Track": str(row["track"]),
        "Role": _words(row["role"]),
        "Subgroup": _words(row["subgroup"]),
        "Notes": f"{_MARK} {'; '.join(notes)}" if notes else "",
        "Sure, %": _rounded(100.0 * row["confidence"]),
        "Gain, dB": _rounded(row["gain_db"], 1),
        "Pan": _pan(float(row["pan"])),
        "f0, Hz": _rounded(row["f0_hz"], 1),
        "Centroid, Hz": _rounded(row["centroid_hz"]),
        **{heading: _rounded(row[key], 1) for key, heading in _METHODS.items()},
    }


def mix_page(outcome: MixOutcome, folder: Place, report: str | None) -> str:
    """Return the page of a mix as Markdown, with its plots as pictures in it.

    Parameters
    ----------
    folder
        Where everything lies in the end.
    report
        The address of the report, if it can be read at one.
    """
    loudness = outcome.mixdown.loudness
    minutes, seconds = divmod(round(outcome.plan.frames / outcome.plan.sample_rate), 60)
    where = as_code(str(inside(folder, "report.html")))
    listen = f"**[Listen: open the report]({report})** · {where}" if report else f"Report: {where}"
    distances = outcome.distances()
    parts = [
        f"# {as_markdown(outcome.analysed.session.root.name)}",
        listen,
        f"**{_level(loudness.integrated_lufs)} LUFS** (asked for {outcome.target_lufs:.1f}), true "
        f"peak **{_level(loudness.true_peak_dbtp)} dBTP**, {len(outcome.plan.tracks)} tracks in "
        f"{len(outcome.plan.stems)} stems, {minutes}:{seconds:02d}.",
        *(["## Distance from the reference", _distance_table(distances)] if distances else []),
        *_pictures(outcome),
        "## What was done",
        "\n".join(f"- {as_markdown(sentence)}" for sentence in describe(outcome.plan)),
    ]
    if outcome.warnings:
        shown = [f"- {_MARK} {as_markdown(line)}" for line in outcome.warnings[:_WARNINGS_SHOWN]]
        if len(outcome.warnings) > len(shown):
            shown.append(f"- and {len(outcome.warnings) - len(shown)} more in the report")
        parts += ["## To know", "\n".join(shown)]
    parts += ["## Files", f"Everything lies in {as_code(str(folder))}."]
    return "\n\n".join(parts) + "\n"


def _distance_table(distances: Mapping[str, Mapping[str, float]]) -> str:
    names = list(distances["this mix"])
    headings = [as_markdown(_heading(name)) for name in names]
    lines = [f"| | {' | '.join(headings)} |", "|---" + "|---:" * len(names) + "|"]
    for label, row in distances.items():
        strong = "**" if label == "this mix" else ""
        figures = " | ".join(f"{strong}{row[name]:.2f}{strong}" for name in names)
        lines.append(f"| {strong}{as_markdown(label)}{strong} | {figures} |")
    return "\n".join(lines)


def _heading(name: str) -> str:
    words, _, unit = name.rpartition("_")
    if unit in _UNITS:
        return f"{words.replace('_', ' ').capitalize()}, {_UNITS[unit]}"
    return name.replace("_", " ").capitalize()


def _pictures(outcome: MixOutcome) -> list[str]:
    loudness = outcome.mixdown.loudness
    styles: dict[str, Style] = {"this mix": outcome.style}
    if outcome.reference_style is not None:
        styles["reference"] = outcome.reference_style
    styles["balanced start"] = outcome.start_style
    spectra = {
        label: Curve(np.asarray(BROAD_HZ), broad_spectrum_db(style))
        for label, style in styles.items()
    }
    widths = {
        label: dict(zip(_BANDS, style.width_by_range_db, strict=True))
        for label, style in styles.items()
    }
    over_time = loudness_plot(
        loudness.short_term_lufs,
        interval_s=SHORT_TERM_INTERVAL_S,
        integrated_lufs=loudness.integrated_lufs,
        target_lufs=outcome.target_lufs,
        alt="Loudness over time",
    )
    levels = [
        "short-term (3 s)",
        f"whole: {_level(loudness.integrated_lufs)} LUFS",
        f"asked for: {outcome.target_lufs:.1f} LUFS",
    ]
    names = list(styles)
    drawn = {
        "Spectrum": picture(spectrum_plot(spectra, alt="Spectrum"), title="Spectrum", legend=names),
        "Loudness": picture(over_time, title="Loudness over time", legend=levels),
        "Width": picture(
            width_plot(widths, alt="Width"), title="Width by range", legend=names, markers=True
        ),
    }
    return [f"![{name}]({data_uri(svg)})" for name, svg in drawn.items()]


def _rounded(value: Any, digits: int = 0) -> Cell:
    number = float(value)
    if math.isnan(number):
        return _MISSING
    if math.isinf(number):
        return "−∞" if number < 0.0 else "∞"
    return round(number) if digits == 0 else round(number, digits) + 0.0


def _level(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "−∞"


def _pan(pan: float) -> str:
    if abs(pan) < 0.005:
        return "centre"
    return f"{abs(pan):.0%} {'left' if pan < 0.0 else 'right'}"


def _words(name: Any) -> str:
    return str(name).replace("_", " ")
