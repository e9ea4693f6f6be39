"""The report's views of a whole signal: each a plot with its legend, its words and its figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pipeline.console.compressor import COURSE_S, GainReduction
from pipeline.report.findings import AT_WORK_DB, clock, typical_db
from pipeline.report.plots import (
    Curve,
    correlation_plot,
    line_sample,
    line_styles,
    loudness_plot,
    reduction_plot,
    spectrum_plot,
    true_peak_plot,
    width_plot,
)
from pipeline.report.stereo import StereoField
from pipeline.report.tables import number

if TYPE_CHECKING:
    from pipeline.report.record import Report

__all__ = [
    "loudness_view",
    "peaks_view",
    "reduction_view",
    "spectrum_view",
    "stereo_view",
    "width_view",
]

SHORT_TERM_INTERVAL_S = 0.1
TRUE_PEAK_INTERVAL_S = 1.0


def _legend(labels: Sequence[str], *, markers: bool = False) -> list[tuple[Markup, str]]:
    # line_sample and the plots below are elements that the drawing code made; nothing in them
    # comes from a name.
    return [
        (Markup(line_sample(style, marker=markers)), label)
        for style, label in zip(line_styles(labels), labels, strict=True)
    ]


def _samples(labels: Sequence[str]) -> list[tuple[Markup, str]]:
    """Return the legend of lines that are styled in their order."""
    return [(Markup(line_sample(style)), label) for style, label in enumerate(labels)]


def spectrum_view(report: Report) -> dict[str, Any] | None:
    """Return the spectra over each other; None where none is known."""
    if not report.spectra:
        return None
    alt = f"Third-octave spectra of {len(report.spectra)} signals over each other"
    return {
        "plot": Markup(spectrum_plot(report.spectra, alt=alt, spread=report.spread)),
        "legend": _legend(list(report.spectra)),
    }


def width_view(report: Report) -> dict[str, Any] | None:
    """Return the width by band as a plot and in figures; None where none is known."""
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


def loudness_view(report: Report) -> dict[str, Any]:
    """Return the short-term loudness over time, against the whole and the target."""
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
        "legend": _samples(labels),
    }


def peaks_view(report: Report) -> dict[str, Any]:
    """Return the true peak over time under its ceiling; no plot where it is not known."""
    delivery = report.plan.delivery
    ceiling = delivery.limiter_ceiling_dbtp + delivery.trim_db
    whole = number(report.loudness.true_peak_dbtp, 1)
    summary = f"True peak {whole} dBTP, with a ceiling of {number(ceiling, 1)} dBTP"
    plot = None
    if report.true_peaks_dbtp:
        plot = Markup(
            true_peak_plot(
                report.true_peaks_dbtp,
                interval_s=TRUE_PEAK_INTERVAL_S,
                ceiling_dbtp=ceiling,
                alt=f"True peak of each second; {summary}",
            )
        )
    # The second style of line is that of the loudness' whole; the ceiling has the third.
    samples = _samples(["Highest in each second", "", f"Ceiling: {number(ceiling, 1)} dBTP"])
    return {"plot": plot, "legend": [samples[0], samples[2]], "summary": f"{summary}."}


def reduction_view(reduction: GainReduction | None, name: str) -> dict[str, Any] | None:
    """Return what a compressor did over time; None where it did nothing, or that was not kept."""
    if reduction is None or not reduction.course_db or reduction.max_db < AT_WORK_DB:
        return None
    course = np.asarray(reduction.course_db)
    summary = (
        f"{typical_db(reduction):.1f} dB while it works, {(course >= AT_WORK_DB).mean():.0%} of "
        f"the time; {reduction.max_db:.1f} dB at most, at {clock(COURSE_S * int(course.argmax()))}."
    )
    alt = f"Gain reduction of {name} over time, the most of each half second: {summary}"
    return {
        "plot": Markup(reduction_plot(reduction.course_db, interval_s=COURSE_S, alt=alt)),
        "summary": summary,
    }


def stereo_view(report: Report) -> dict[str, Any] | None:
    """Return the correlation by band, what mono loses, and the balance; None if not known."""
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
        "summary": _mono_text(mix),
    }


def _leaning(balance_db: float) -> str:
    if abs(balance_db) < 0.05:
        return "even"
    return f"{abs(balance_db):.1f} dB to the {'right' if balance_db > 0.0 else 'left'}"


def _mono_text(mix: StereoField) -> str:
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
