"""The mix report: one HTML file to look at and listen to, which asks the network for nothing.

:class:`Report` is all that the page shows, in plain numbers, arrays and strings; whoever ran the
stages fills it. Names are data: the template escapes everything, control characters are made
visible, and the page's own policy forbids any script but its one and any request at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.console.parameters import BUS_EQ_BANDS, STRIP_EQ_BANDS
from pipeline.plan import StemPlan
from pipeline.prose import spoken, typeset
from pipeline.report.changes import plan_moves
from pipeline.report.describe import bus_phrase, describe, stem_phrase
from pipeline.report.excerpts import Excerpt, loudest_excerpts
from pipeline.report.html import page_environment, visible, write_whole
from pipeline.report.plots import (
    Curve,
    compression_plot,
    equaliser_plot,
    waveform_path,
)
from pipeline.report.record import Report, StemLevel
from pipeline.report.tables import (
    ConsoleRow,
    console_table,
    distance_table,
    masking_table,
    measures_table,
    moves_table,
    number,
    setting_rows,
    track_table,
)
from pipeline.report.views import (
    loudness_view,
    peaks_view,
    reduction_view,
    spectrum_view,
    stereo_view,
    width_view,
)

__all__ = ["Curve", "describe", "write_report"]

WAVE_COLUMNS = 480
MOVES_SHOWN = 16


def write_report(path: Path, report: Report) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path
        The HTML file; its folder must exist.
    report
        What to show.

    Raises
    ------
    InputError
        If the mix or a reference cannot be read.
    """
    write_whole(path, _render(report))


def _render(report: Report) -> str:
    environment = page_environment()
    environment.filters["spoken"] = spoken
    environment.filters["typeset"] = typeset
    with ThreadPoolExecutor(1) as pool:  # encoding goes on while the plots are drawn
        players = pool.submit(_players, report)
        shown = _shown(report)
    return environment.get_template("report.html").render(
        report=report, players=players.result(), **shown
    )


def _shown(report: Report) -> dict[str, Any]:
    """Return what the template shows but the players."""
    plan = report.plan
    return dict(
        facts=_facts(report),
        plan_summary=report.plan_summary or describe(plan),
        distances=distance_table(report.distances),
        spectrum=spectrum_view(report),
        loudness=loudness_view(report),
        peaks=peaks_view(report),
        limiting=reduction_view(report.limiting, "the limiter"),
        width=width_view(report),
        stereo=stereo_view(report),
        masking=masking_table(report.masking),
        stems=[_stem_view(report, stem) for stem in plan.stems],
        bus=_bus_view(report),
        moves=moves_table(plan_moves(plan)[:MOVES_SHOWN]),
        tracks=track_table(report.tracks),
        measures=measures_table(report.tracks),
        console=console_table(_console_rows(report)),
        settings=setting_rows(report.settings),
        versions=setting_rows(report.versions),
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    loudness = report.loudness
    target = report.target_lufs
    asked = "" if target is None else f" (target {number(target, 1)})"
    minutes, seconds = divmod(int(report.plan.frames / report.plan.sample_rate), 60)
    audible = sum(not track.mute for track in report.plan.tracks)
    return [
        ("Loudness", f"{number(loudness.integrated_lufs, 1)} LUFS{asked}"),
        ("True peak", f"{number(loudness.true_peak_dbtp, 1)} dBTP"),
        ("Loudness range", f"{number(loudness.loudness_range_lu, 1)} LU"),
        ("Length", f"{minutes}:{seconds:02d}"),
        ("Tracks", f"{audible} in {len(report.plan.stems)} stems"),
        ("Sample rate", f"{report.plan.sample_rate:,} Hz".replace(",", "\N{NO-BREAK SPACE}")),
    ]


@dataclass(frozen=True)
class _Player:
    label: str
    file: str
    note: str
    uri: str
    wave: Markup
    columns: int
    seconds: float
    whole: bool


def _players(report: Report) -> list[_Player]:
    paths = (report.mix_audio, *report.reference_audio)
    labels = ["Mix"] + [
        "Reference" if len(report.reference_audio) == 1 else f"Reference {i}"
        for i in range(1, len(report.reference_audio) + 1)
    ]
    excerpts = loudest_excerpts(paths)
    # One scale for all: equally loud recordings are compared, and what is dense looks dense.
    peak = max(float(np.abs(excerpt.audio).max(initial=0.0)) for excerpt in excerpts)
    return [
        _Player(
            label,
            path.name,
            _excerpt_note(excerpt),
            excerpt.uri,
            Markup(waveform_path(excerpt.audio, columns=WAVE_COLUMNS, full_scale=peak)),
            WAVE_COLUMNS,
            excerpt.duration_s,
            excerpt.whole,
        )
        for label, path, excerpt in zip(labels, paths, excerpts, strict=True)
    ]


def _excerpt_note(excerpt: Excerpt) -> str:
    if excerpt.whole:
        piece = "whole"
    else:
        start = round(excerpt.start_s)
        piece = f"the loudest {round(excerpt.duration_s)} s, from {start // 60}:{start % 60:02d}"
    if abs(excerpt.gain_db) < 0.05:
        return f"{piece}, at its own level"
    return f"{piece}, played {abs(excerpt.gain_db):.1f} dB lower"


def _console_rows(report: Report) -> list[ConsoleRow]:
    rows = []
    for stem in report.plan.stems:
        level = report.stem_levels.get(stem.name, StemLevel(math.nan))
        rows.append(
            ConsoleRow(
                name=spoken(stem.name),
                tracks=sum(t.subgroup == stem.name for t in report.plan.tracks if not t.mute),
                level_lu=level.mix_lu,
                start_lu=level.start_lu,
                settings=stem.settings,
                reduction=report.reductions.get(stem.name),
                muted=stem.mute,
            )
        )
    return rows


def _level_text(level: StemLevel | None) -> str:
    if level is None:
        return ""
    if not math.isfinite(level.mix_lu):
        return "Silent in this mix."
    text = f"{_under(level.mix_lu)} all stems together"
    if math.isfinite(level.start_lu):
        text += f", {_under(level.start_lu)} them as balanced"
    return text + "."


def _under(level_lu: float) -> str:
    return f"{abs(level_lu):.1f} LU {'under' if level_lu <= 0.0 else 'over'}"


def _stem_view(report: Report, stem: StemPlan) -> dict[str, Any]:
    title = spoken(stem.name)
    name = str(visible(title))
    return {
        "title": title,
        "summary": stem_phrase(stem, report.plan.tracks),
        "reason": stem.reason,
        "level": _level_text(report.stem_levels.get(stem.name)),
        "count": sum(track.subgroup == stem.name for track in report.plan.tracks),
        **_curves(stem.settings, name, sample_rate=report.plan.sample_rate),
        "reduction": reduction_view(report.reductions.get(stem.name), name),
        "settings": setting_rows(stem.settings, report.usual.get(stem.name, {})),
    }


def _bus_view(report: Report) -> dict[str, Any]:
    plan = report.plan
    return {
        "summary": bus_phrase(plan),
        "reason": plan.bus_reason,
        **_curves(plan.bus, "the whole mix", bus=True, sample_rate=plan.sample_rate),
        "reduction": reduction_view(report.bus_reduction, "the bus's compressor"),
        "settings": setting_rows(plan.bus, report.usual.get("", {})),
    }


def _curves(
    settings: Mapping[str, float], name: str, *, bus: bool = False, sample_rate: int
) -> dict[str, Markup | None]:
    """Return the curves of what does something; None stands for a straight line."""
    bands = BUS_EQ_BANDS if bus else STRIP_EQ_BANDS
    equaliser = compression = None
    if any(settings[band.gain_name] != 0.0 for band in bands):
        alt = f"Equaliser curve of {name}"
        equaliser = Markup(equaliser_plot(settings, bus=bus, sample_rate=sample_rate, alt=alt))
    if settings["ratio"] > 1.0:
        alt = f"Compression curve of {name}: output level over input level"
        compression = Markup(compression_plot(settings, alt=alt))
    return {"equaliser": equaliser, "compression": compression}
