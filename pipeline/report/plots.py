"""The report's pictures as inline SVG: text stays text, and colours follow the page's theme.

Every function returns one ``<svg>`` element for an HTML page. Colours are CSS variables
(``--series-1`` ..., ``--grid``, ``--muted``), so light and dark themes both work; series differ in
line style as well, so the pictures read without colour. Names never enter a picture: the page
writes the legend, from :func:`line_sample` and its own text.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from textwrap import fill
from threading import Lock
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from pipeline.console.parameters import BUS_EQ_BANDS, STRIP_EQ_BANDS, EqBand
from pipeline.console.response import eq_response
from pipeline.units import Float64Array, FloatArray

__all__ = [
    "Curve",
    "compression_curve",
    "compression_plot",
    "correlation_plot",
    "equaliser_plot",
    "line_sample",
    "line_styles",
    "loudness_plot",
    "reduction_plot",
    "spectrum_plot",
    "true_peak_plot",
    "waveform_path",
    "width_plot",
]


# Colours that nothing else has, each replaced by what CSS calls it.
_INK, _MUTED, _GRID = "#010101", "#010102", "#010103"
_SERIES = ("#010111", "#010112", "#010113", "#010114")
_CSS = {
    _INK: "currentColor",
    _MUTED: "var(--muted)",
    _GRID: "var(--grid)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES, 1)},
}
_DASHES: tuple[tuple[float, ...], ...] = ((), (6.0, 2.5), (1.5, 2.0), (7.0, 2.0, 1.5, 2.0))
_USUAL_LABELS = ("this mix", "reference", "balanced start")
_MARKERS = ("o", "s", "^", "D")
_WIDTHS = (2.0, 1.8, 1.8, 1.6)

_WIDTH, _HEIGHT = 400, 260
_MARGINS = 62, 17, 48, 10  # left, right, bottom and top of a plot, for its labels
_MOST_STEPS = 480
_FREQUENCY_TICKS = {31.5: "31", 63: "63", 125: "125", 250: "250", 500: "500"} | {
    1000: "1k", 2000: "2k", 4000: "4k", 8000: "8k", 16000: "16k"
}  # fmt: skip
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "stemwright",
    "font.size": 12,
    "font.family": ["DejaVu Sans"],
    "axes.unicode_minus": True,
    "text.parse_math": False,
}
# matplotlib reads the SVG settings from one table for the whole process.
_LOCK = Lock()


@dataclass(frozen=True)
class Curve:
    """Levels over frequency.

    Parameters
    ----------
    frequencies_hz
        Ascending, ``(points,)``.
    level_db
        Same shape.
    """

    frequencies_hz: FloatArray
    level_db: FloatArray


def spectrum_plot(
    spectra: Mapping[str, Curve], *, alt: str, spread: tuple[Curve, Curve] | None = None
) -> str:
    """Draw spectra over each other, one line style each, in the order given; a spread is shaded."""
    figure, axes = _figure(_HEIGHT)
    if spread is not None:
        low, high = spread
        axes.fill_between(
            low.frequencies_hz, low.level_db, high.level_db, color=_GRID, linewidth=0.0
        )
    for style, curve in zip(line_styles(spectra), spectra.values(), strict=True):
        axes.plot(curve.frequencies_hz, curve.level_db, **_style(style))
    _frequency_axis(axes)
    axes.set_ylabel("Level in dB")
    return _svg(figure, alt)


def equaliser_plot(
    settings: Mapping[str, float], *, bus: bool = False, sample_rate: int, alt: str
) -> str:
    """Draw the gain of a strip's or the bus's equaliser over frequency."""
    bands: Sequence[EqBand] = BUS_EQ_BANDS if bus else STRIP_EQ_BANDS
    top = min(20000.0, 0.49 * sample_rate)
    frequencies = np.geomspace(20.0, top, 160)
    response = eq_response(settings, bands, sample_rate=sample_rate, frequencies_hz=frequencies)
    gain_db = 20.0 * np.log10(np.maximum(np.abs(response), 1e-6))
    figure, axes = _figure(190)
    axes.axhline(0.0, color=_MUTED, linewidth=1.0)
    axes.plot(frequencies, gain_db, **_style(0))
    reach = max(6.0, 3.0 * math.ceil(float(np.abs(gain_db).max()) / 3.0 + 0.1))
    axes.set_ylim(-reach, reach)
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    _frequency_axis(axes)
    axes.set_ylabel("Gain in dB")
    return _svg(figure, alt)


def compression_curve(settings: Mapping[str, float], level_db: Float64Array) -> Float64Array:
    """Return the static output level of a compressor for input levels, both against its level.

    D. Giannoulis, M. Massberg, J. D. Reiss, "Digital dynamic range compressor design", JAES 60(6),
    2012, eq. 4, plus the make-up gain.
    """
    knee = settings["knee_db"]
    slope = 1.0 / settings["ratio"] - 1.0
    over = level_db - settings["threshold_lu"]
    inside = slope * (over + knee / 2.0) ** 2 / (2.0 * knee) if knee > 0.0 else 0.0 * over
    change = np.where(over >= knee / 2.0, slope * over, np.where(over > -knee / 2.0, inside, 0.0))
    return level_db + change + settings["makeup_db"]


def compression_plot(settings: Mapping[str, float], *, alt: str) -> str:
    """Draw output over input level of a compressor at rest, beside the unchanged diagonal."""
    level = np.linspace(-40.0, 20.0, 121)
    figure, axes = _figure(190)
    axes.plot(level, level, color=_MUTED, linewidth=1.0, dashes=(2.0, 2.0))
    if settings["ratio"] > 1.0:
        axes.axvline(settings["threshold_lu"], color=_MUTED, linewidth=1.0)
    axes.plot(level, compression_curve(settings, level), **_style(0))
    axes.set_xlim(-40.0, 20.0)
    axes.set_ylim(-40.0, max(20.0, settings["makeup_db"] + 20.0))
    axes.set_xticks([-40, -20, 0, 20])
    axes.set_yticks([-40, -20, 0, 20])
    axes.set_xlabel("Input in dB against the level")
    axes.set_ylabel("Output in dB")
    return _svg(figure, alt)


def loudness_plot(
    short_term_lufs: FloatArray,
    *,
    interval_s: float,
    integrated_lufs: float,
    target_lufs: float | None,
    alt: str,
) -> str:
    """Draw the short-term loudness over time with the integrated value and the target.

    ``short_term_lufs`` holds windows of 3 s, ``interval_s`` apart; each is drawn at its end.
    Silence leaves a gap.
    """
    figure, axes = _figure(_HEIGHT)
    values = np.asarray(short_term_lufs, dtype=np.float64)
    step = max(1, values.size // 800)
    values = np.where(np.isfinite(values), values, np.nan)[::step]
    times = 3.0 + interval_s * step * np.arange(values.size)
    axes.plot(times, values, **_style(0))
    levels = [v for v in (integrated_lufs, target_lufs) if v is not None and math.isfinite(v)]
    for style, level in ((1, integrated_lufs), (2, target_lufs)):
        if level is not None and math.isfinite(level):
            look = _style(style)
            axes.axhline(level, color=look["color"], dashes=look["dashes"], linewidth=1.6)
    audible = values[values > -70.0]
    high = max([*levels, float(audible.max()) if audible.size else -20.0])
    low = min([*levels, float(np.percentile(audible, 2)) if audible.size else -40.0])
    axes.set_ylim(max(low - 3.0, high - 40.0), high + 2.0)
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True, prune="lower"))
    _time_axis(axes, float(times[-1]) if times.size else 0.0)
    axes.set_ylabel("Loudness in LUFS")
    return _svg(figure, alt)


def true_peak_plot(
    peaks_dbtp: Sequence[float], *, interval_s: float, ceiling_dbtp: float, alt: str
) -> str:
    """Draw the true peak of each interval as steps, under the ceiling."""
    figure, axes = _figure(_HEIGHT)
    peaks, interval_s = _thinned(np.asarray(peaks_dbtp, np.float64), interval_s)
    peaks = np.where(np.isfinite(peaks), peaks, np.nan)
    edges = interval_s * np.arange(peaks.size + 1)
    axes.stairs(peaks, edges, baseline=None, color=_SERIES[0], linewidth=_WIDTHS[0])
    look = _style(2)
    axes.axhline(ceiling_dbtp, color=look["color"], dashes=look["dashes"], linewidth=1.8)
    audible = peaks[np.isfinite(peaks)]
    low = float(np.percentile(audible, 5)) if audible.size else -12.0
    high = max(ceiling_dbtp, float(audible.max()) if audible.size else ceiling_dbtp)
    axes.set_ylim(max(min(low - 2.0, ceiling_dbtp - 5.0), high - 40.0), high + 1.0)
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True, prune="lower"))
    _time_axis(axes, float(edges[-1]))
    axes.set_ylabel("True peak in dBTP")
    return _svg(figure, alt)


def reduction_plot(course_db: Sequence[float], *, interval_s: float, alt: str) -> str:
    """Draw a gain reduction over time as it hangs down from 0 dB."""
    figure, axes = _figure(190)
    course, interval_s = _thinned(np.asarray(course_db, np.float64), interval_s)
    edges = interval_s * np.arange(course.size + 1)
    axes.stairs(-course, edges, baseline=0.0, fill=True, color=_SERIES[0], alpha=0.35, linewidth=0)
    axes.stairs(-course, edges, baseline=None, color=_SERIES[0], linewidth=1.4)
    axes.axhline(0.0, color=_MUTED, linewidth=1.0)
    deepest = float(course.max()) if course.size else 0.0
    axes.set_ylim(-max(3.0, 1.1 * deepest), 0.3)
    # No label at the bottom: it would stand on that of the time axis.
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=True, prune="lower"))
    _time_axis(axes, float(edges[-1]))
    axes.set_ylabel("Gain in dB")
    return _svg(figure, alt)


def _thinned(values: Float64Array, interval_s: float) -> tuple[Float64Array, float]:
    """Return the maxima of as many intervals together as leave no more than a picture shows."""
    group = -(-values.size // _MOST_STEPS)
    if group <= 1:
        return values, interval_s
    padded = np.pad(values, (0, -values.size % group), constant_values=-np.inf)
    return padded.reshape(-1, group).max(axis=1), group * interval_s


def correlation_plot(correlations: Mapping[str, Curve], *, alt: str) -> str:
    """Draw the correlation of left and right over frequency, one line style a recording."""
    figure, axes = _figure(_HEIGHT)
    axes.axhline(0.0, color=_MUTED, linewidth=1.2)
    for style, curve in zip(line_styles(correlations), correlations.values(), strict=True):
        axes.plot(curve.frequencies_hz, curve.level_db, **_style(style))
    _frequency_axis(axes)
    axes.set_ylim(-1.05, 1.05)
    axes.set_yticks([-1.0, -0.5, 0.0, 0.5, 1.0])
    axes.set_ylabel("Correlation")
    return _svg(figure, alt)


def _time_axis(axes: Axes, end_s: float) -> None:
    axes.set_xlim(0.0, max(end_s, 6.0))
    axes.xaxis.set_major_locator(
        matplotlib.ticker.MaxNLocator(6, steps=[1, 1.5, 2, 3, 6, 10], integer=True)
    )
    axes.xaxis.set_major_formatter(lambda x, _: f"{int(x) // 60}:{int(x) % 60:02d}")
    axes.set_xlabel("Time in minutes")


def width_plot(widths: Mapping[str, Mapping[str, float]], *, alt: str) -> str:
    """Draw the side-to-mid ratio in dB by band, one marker shape a mix.

    ``widths`` is label → band → dB; the bands of the first label give the order. They must be
    plain words of ours, for they are written into the picture.
    """
    figure, axes = _figure(_HEIGHT)
    bands = list(next(iter(widths.values()), {}))
    for style, values in zip(line_styles(widths), widths.values(), strict=True):
        level = [values.get(band, math.nan) for band in bands]
        shown = [v if math.isfinite(v) else math.nan for v in level]
        look = _style(style) | {"marker": _MARKERS[style % len(_MARKERS)], "markersize": 6.0}
        axes.plot(np.arange(len(bands)), shown, **look)
    axes.set_xticks(np.arange(len(bands)), [fill(band, 9) for band in bands])
    axes.set_xlim(-0.4, max(len(bands) - 0.6, 0.4))
    axes.set_ylabel("Side to mid in dB")
    return _svg(figure, alt)


def line_styles(labels: Iterable[str]) -> list[int]:
    """Return the line style of each label: what every report has looks alike in all of them.

    Examples
    --------
    >>> line_styles(["this mix", "balanced start"])
    [0, 2]
    """
    names = list(labels)
    usual = {name: style for style, name in enumerate(_USUAL_LABELS)}
    free = (style for style in itertools.count(1) if style not in {usual.get(n) for n in names})
    return [usual[name] if name in usual else next(free) for name in names]


def line_sample(style: int, *, marker: bool = False) -> str:
    """Return a short piece of the line that series ``style`` is drawn with, for a legend."""
    look = _style(style)
    dashes = " ".join(f"{d * look['linewidth']:g}" for d in look["dashes"])
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    colour = _CSS[look["color"]]
    shape = ""
    if marker:
        shape = {
            "o": '<circle cx="17" cy="6" r="4"/>',
            "s": '<rect x="13.5" y="2.5" width="7" height="7"/>',
            "^": '<path d="M17 1.5 21.5 10h-9z"/>',
            "D": '<path d="M17 1 22 6 17 11 12 6z"/>',
        }[_MARKERS[style % len(_MARKERS)]]
    return (
        f'<svg class="sample" viewBox="0 0 34 12" aria-hidden="true" style="color:{colour}">'
        f'<path d="M1 6H33" stroke="currentColor" stroke-width="2" fill="none"{dash}/>'
        f'<g fill="currentColor">{shape}</g></svg>'
    )


def waveform_path(audio: FloatArray, *, columns: int = 480, full_scale: float = 1.0) -> str:
    """Return an SVG path of the peaks of ``(channels, frames)``, 0..``columns`` by -50..50.

    ``full_scale`` is the amplitude that reaches 50.
    """
    frames = audio.shape[1]
    columns = max(1, min(columns, frames))
    edges = np.linspace(0, frames, columns + 1).astype(np.intp)[:-1]
    high = np.maximum.reduceat(audio.max(axis=0), edges) if frames else np.zeros(1)
    low = np.minimum.reduceat(audio.min(axis=0), edges) if frames else np.zeros(1)
    scale = -50.0 / max(full_scale, 1e-9)
    top = "L".join(f"{i} {max(scale * float(v), -50.0):.1f}" for i, v in enumerate(high))
    bottom = "L".join(
        f"{i} {min(scale * float(v), 50.0):.1f}" for i, v in reversed(list(enumerate(low)))
    )
    return f"M{top}L{bottom}Z"


def _style(index: int) -> dict[str, Any]:
    return {
        "color": _SERIES[index % len(_SERIES)],
        "dashes": _DASHES[index % len(_DASHES)],
        "linewidth": _WIDTHS[index % len(_WIDTHS)],
    }


def _figure(height: int) -> tuple[Figure, Axes]:
    with _LOCK, matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(_WIDTH / 72, height / 72), dpi=72)
        # Room for labels of four characters; finding it by drawing takes as long as the plot.
        left, right, bottom, top = _MARGINS
        place = left / _WIDTH, bottom / height, 1.0 - right / _WIDTH, 1.0 - top / height
        axes = figure.add_axes((place[0], place[1], place[2] - place[0], place[3] - place[1]))
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.grid(True, color=_GRID, linewidth=1.0)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, length=0, pad=5)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_MUTED)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    return figure, axes


def _frequency_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlim(20.0, 20000.0)
    axes.xaxis.set_major_locator(matplotlib.ticker.FixedLocator(list(_FREQUENCY_TICKS)))
    axes.xaxis.set_major_formatter(
        matplotlib.ticker.FixedFormatter(list(_FREQUENCY_TICKS.values()))
    )
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_xlabel("Frequency in Hz")


def _svg(figure: Figure, alt: str) -> str:
    """Return a figure as an element that is at home in a page: themed, labelled, without ids."""
    buffer = io.StringIO()
    with _LOCK, matplotlib.rc_context(_SETTINGS):
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # would rule the whole page
    body = body.replace("xlink:href", "href")
    # Groups carry ids that repeat from figure to figure; only what is referred to keeps one.
    body = re.sub(r'(<g) id="[^"]*"', r"\1", body)
    view = re.search(r'viewBox="([^"]*)"', text)
    salt = f"f{sha256((alt + body).encode('utf-8', 'replace')).hexdigest()[:10]}-"
    body = re.sub(r'id="(m|p|C)([0-9a-f_]+)"', rf'id="{salt}\1\2"', body)
    body = re.sub(r"#(m|p|C)([0-9a-f_]{8,})", rf"#{salt}\1\2", body)
    for colour, name in _CSS.items():
        body = body.replace(colour, name)
    body = re.sub(r"'DejaVu Sans'(, sans-serif)?", "inherit", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    return (
        f'<svg class="plot" viewBox="{view.group(1) if view else ""}" role="img" '
        f'aria-label="{escape(alt)}">{body}'
    ).strip()
