"""The mix report: one HTML file to look at and listen to, which asks the network for nothing.

:class:`Report` is all that the page shows, in plain numbers, arrays and strings; whoever ran the
stages fills it. Names are data: the template escapes everything, control characters are made
visible, and the page's own policy forbids any script but its one and any request at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.compressor import COURSE_S, GainReduction
from pipeline.excerpts import Excerpt, loudest_excerpts
from pipeline.findings import AT_WORK_DB, Finding, clock, typical_db
from pipeline.html_page import page_environment, visible, write_whole
from pipeline.loudness import Loudness
from pipeline.masking import Masking
from pipeline.moves import plan_moves
from pipeline.plan import BUS_EQ_BANDS, STRIP_EQ_BANDS, Plan, StemPlan
from pipeline.plots import (
    Curve,
    compression_plot,
    correlation_plot,
    equaliser_plot,
    line_sample,
    loudness_plot,
    reduction_plot,
    spectrum_plot,
    true_peak_plot,
    waveform_path,
    width_plot,
)
from pipeline.report_tables import (
    distance_table,
    masking_table,
    moves_table,
    number,
    setting_rows,
    track_table,
)
from pipeline.stereo import StereoField
from pipeline.words import bus_phrase, describe, spoken, stem_phrase

__all__ = ["Curve", "FileNote", "Report", "StemLevel", "describe", "write_report"]

SHORT_TERM_INTERVAL_S = 0.1
TRUE_PEAK_INTERVAL_S = 1.0
WAVE_COLUMNS = 480
MOVES_SHOWN = 16


@dataclass(frozen=True)
class FileNote:
    """A file that is not in the mix, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class StemLevel:
    """How loud a stem is against the whole mix.

    Parameters
    ----------
    mix_lu
        Its loudness minus the mix's, after the console; at most about 0.
    start_lu
        The same in the balanced start, before stage 2; NaN if not known.
    """

    mix_lu: float
    start_lu: float = math.nan


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Parameters
    ----------
    title
        Name of the song or session.
    plan
        What was decided.
    mix_audio, reference_audio
        The delivered mix and the references, audio files on disk, for the players.
    loudness
        Measured on the delivered mix.
    target_lufs
        What was asked for; None where the reference gave it or nothing did.
    spectra
        Label → spectrum, in drawing order: this mix, the reference, the balanced start.
    widths
        Label → band in words → side over mid in dB, in the same order.
    true_peaks_dbtp
        Of each second of the mix; empty if not known.
    stereo
        Label → stereo field: this mix, the references.
    reductions
        Stem name → what its compressor did.
    bus_reduction, limiting
        What the bus's compressor and the limiter did.
    masking
        What of the stems covers what.
    findings
        What to look at in the mix.
    distances
        Label → metric with its unit at the end (``spectrum_db``) → distance to the reference.
    stem_levels
        Stem name → level.
    words
        What was done, in sentences; empty for those of :func:`describe`.
    tracks
        One mapping a track, the rows of ``results.csv``.
    left_out, skipped
        Files that were not meant to be mixed, and files that could not be.
    warnings
        Sentences.
    settings, versions
        Of the run, to be shown as they are.
    """

    title: str
    plan: Plan
    mix_audio: Path
    loudness: Loudness
    reference_audio: tuple[Path, ...] = ()
    target_lufs: float | None = None
    spectra: Mapping[str, Curve] = field(default_factory=dict)
    widths: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    true_peaks_dbtp: Sequence[float] = ()
    stereo: Mapping[str, StereoField] = field(default_factory=dict)
    reductions: Mapping[str, GainReduction] = field(default_factory=dict)
    bus_reduction: GainReduction | None = None
    limiting: GainReduction | None = None
    masking: Masking = field(default_factory=Masking)
    findings: tuple[Finding, ...] = ()
    distances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stem_levels: Mapping[str, StemLevel] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    tracks: Sequence[Mapping[str, object]] = ()
    left_out: tuple[FileNote, ...] = ()
    skipped: tuple[FileNote, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


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
    plan = report.plan
    return environment.get_template("report.html").render(
        report=report,
        facts=_facts(report),
        players=_players(report),
        words=report.words or describe(plan),
        distances=distance_table(report.distances),
        spectrum=_spectrum_view(report),
        loudness=_loudness_view(report),
        peaks=_peaks_view(report),
        limiting=_reduction_view(report.limiting, "the limiter"),
        width=_width_view(report),
        stereo=_stereo_view(report),
        masking=masking_table(report.masking),
        stems=[_stem_view(report, stem) for stem in plan.stems],
        bus=_bus_view(report),
        moves=moves_table(plan_moves(plan)[:MOVES_SHOWN]),
        tracks=track_table(report.tracks),
        settings=setting_rows(report.settings),
        versions=setting_rows(report.versions),
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    loudness = report.loudness
    target = report.target_lufs
    asked = "" if target is None else f" (target {number(target, 1)})"
    minutes, seconds = divmod(round(report.plan.frames / report.plan.sample_rate), 60)
    heard = sum(not track.mute for track in report.plan.tracks)
    return [
        ("Loudness", f"{number(loudness.integrated_lufs, 1)} LUFS{asked}"),
        ("True peak", f"{number(loudness.true_peak_dbtp, 1)} dBTP"),
        ("Loudness range", f"{number(loudness.loudness_range_lu, 1)} LU"),
        ("Length", f"{minutes}:{seconds:02d}"),
        ("Tracks", f"{heard} in {len(report.plan.stems)} stems"),
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


def _legend(labels: Sequence[str], *, markers: bool = False) -> list[tuple[Markup, str]]:
    # line_sample and the plots below are elements that the drawing code made; nothing in them
    # comes from a name.
    return [(Markup(line_sample(i, marker=markers)), label) for i, label in enumerate(labels)]


def _spectrum_view(report: Report) -> dict[str, Any] | None:
    if not report.spectra:
        return None
    alt = f"Third-octave spectra of {len(report.spectra)} signals over each other"
    return {
        "plot": Markup(spectrum_plot(report.spectra, alt=alt)),
        "legend": _legend(list(report.spectra)),
    }


def _width_view(report: Report) -> dict[str, Any] | None:
    if not report.widths:
        return None
    bands = list(next(iter(report.widths.values())))
    rows = [
        (label, [number(values.get(band, math.nan), 1) for band in bands])
        for label, values in report.widths.items()
    ]
    alt = "Side level against mid level by band; the table beside it has the figures"
    return {
        "plot": Markup(width_plot(report.widths, alt=alt)),
        "legend": _legend(list(report.widths), markers=True),
        "bands": bands,
        "rows": rows,
    }


def _loudness_view(report: Report) -> dict[str, Any]:
    loudness = report.loudness
    alt = (
        f"Short-term loudness over time, {number(loudness.integrated_lufs, 1)} LUFS as a whole, "
        f"at most {number(loudness.max_short_term_lufs, 1)}"
    )
    plot = loudness_plot(
        loudness.short_term_lufs,
        interval_s=SHORT_TERM_INTERVAL_S,
        integrated_lufs=loudness.integrated_lufs,
        target_lufs=report.target_lufs,
        alt=alt,
    )
    labels = ["Short-term (3 s)", f"Whole: {number(loudness.integrated_lufs, 1)} LUFS"]
    if report.target_lufs is not None:
        labels.append(f"Target: {number(report.target_lufs, 1)} LUFS")
    return {
        "plot": Markup(plot),
        "legend": _legend(labels),
    }


def _peaks_view(report: Report) -> dict[str, Any]:
    delivery = report.plan.delivery
    ceiling = delivery.limiter_ceiling_dbtp + delivery.trim_db
    whole = number(report.loudness.true_peak_dbtp, 1)
    told = f"True peak {whole} dBTP, with a ceiling of {number(ceiling, 1)} dBTP"
    plot = None
    if report.true_peaks_dbtp:
        plot = Markup(
            true_peak_plot(
                report.true_peaks_dbtp,
                interval_s=TRUE_PEAK_INTERVAL_S,
                ceiling_dbtp=ceiling,
                alt=f"True peak of each second; {told}",
            )
        )
    # The second style of line is that of the loudness' whole; the ceiling has the third.
    samples = _legend(["Highest in each second", "", f"Ceiling: {number(ceiling, 1)} dBTP"])
    return {"plot": plot, "legend": [samples[0], samples[2]], "words": f"{told}."}


def _reduction_view(reduction: GainReduction | None, name: str) -> dict[str, Any] | None:
    """Return what a compressor did over time; None where it did nothing, or that was not kept."""
    if reduction is None or not reduction.course_db or reduction.max_db < AT_WORK_DB:
        return None
    course = np.asarray(reduction.course_db)
    words = (
        f"{typical_db(reduction):.1f} dB while it works, {(course >= AT_WORK_DB).mean():.0%} of "
        f"the time; {reduction.max_db:.1f} dB at most, at {clock(COURSE_S * int(course.argmax()))}."
    )
    alt = f"Gain reduction of {name} over time, the most of each half second: {words}"
    return {
        "plot": Markup(reduction_plot(reduction.course_db, interval_s=COURSE_S, alt=alt)),
        "words": words,
    }


def _stereo_view(report: Report) -> dict[str, Any] | None:
    if not report.stereo:
        return None
    curves = {
        label: Curve(np.asarray(field.bands_hz), np.asarray(field.correlation_by_band))
        for label, field in report.stereo.items()
    }
    rows = [
        (
            label,
            [
                number(field.correlation, 2),
                _leaning(field.balance_db),
                f"{number(field.mono_loss_db, 1)} dB",
                f"{number(field.low_mono_loss_db, 1)} dB",
            ],
        )
        for label, field in report.stereo.items()
    ]
    mix = next(iter(report.stereo.values()))
    return {
        "plot": Markup(
            correlation_plot(curves, alt="Correlation of left and right by third octave")
        ),
        "legend": _legend(list(curves)),
        "rows": rows,
        "words": _mono_words(mix),
    }


def _leaning(balance_db: float) -> str:
    if abs(balance_db) < 0.05:
        return "even"
    return f"{abs(balance_db):.1f} dB to the {'right' if balance_db > 0.0 else 'left'}"


def _mono_words(mix: StereoField) -> str:
    if mix.mono_loss_db < 1.5:
        how = "It keeps its balance in mono"
    elif mix.mono_loss_db < 3.0:
        how = "In mono what is wide steps back a little"
    else:
        how = "In mono what is wide gets lost"
    return (
        f"{how}: the sum of both channels is {mix.mono_loss_db:.1f} dB under the same power in the "
        f"middle, and {mix.low_mono_loss_db:.1f} dB under 125 Hz."
    )


def _level_words(level: StemLevel | None) -> str:
    if level is None:
        return ""
    if not math.isfinite(level.mix_lu):
        return "Silent in this mix."
    text = f"{_under(level.mix_lu)} the mix"
    if math.isfinite(level.start_lu):
        text += f", {_under(level.start_lu)} it in the balanced start"
    return text + "."


def _under(level_lu: float) -> str:
    return f"{abs(level_lu):.1f} LU {'under' if level_lu <= 0.0 else 'over'}"


def _stem_view(report: Report, stem: StemPlan) -> dict[str, Any]:
    title = spoken(stem.name)
    name = str(visible(title))
    return {
        "title": title,
        "words": stem_phrase(stem),
        "reason": stem.reason,
        "level": _level_words(report.stem_levels.get(stem.name)),
        "count": sum(track.subgroup == stem.name for track in report.plan.tracks),
        **_curves(stem.settings, name, sample_rate=report.plan.sample_rate),
        "reduction": _reduction_view(report.reductions.get(stem.name), name),
        "settings": setting_rows(stem.settings),
    }


def _bus_view(report: Report) -> dict[str, Any]:
    plan = report.plan
    return {
        "words": bus_phrase(plan),
        "reason": plan.bus_reason,
        **_curves(plan.bus, "the whole mix", bus=True, sample_rate=plan.sample_rate),
        "reduction": _reduction_view(report.bus_reduction, "the bus's compressor"),
        "settings": setting_rows(plan.bus),
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
