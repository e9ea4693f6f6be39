"""A plot of the report as a picture that stands alone: fixed colours, a ground, its legend in it.

The report's plots take their colours from the page. Where a page shows pictures only by address,
as a Prefect artifact does, they need their own; a white card is at home on light and dark pages.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape

from pipeline.report.plots import line_sample

__all__ = ["data_uri", "picture"]

_INK = "#1f2328"
_COLOURS = {
    "--series-1": "#0b62c4",
    "--series-2": "#b8500c",
    "--series-3": "#1a7f4b",
    "--series-4": "#7a3fb0",
    "--muted": "#6b7480",
    "--grid": "#dfe3e8",
}
_WIDTH, _MARGIN, _TITLE, _LINE = 520.0, 16.0, 34.0, 22.0
_SAMPLE = 34.0
_LETTER = 7.2  # px, of the legend's 13 px sans-serif, on average and a little more


def picture(plot: str, *, title: str, legend: Sequence[str] = (), markers: bool = False) -> str:
    """Return a plot as a whole SVG document.

    Parameters
    ----------
    plot
        What a function of :mod:`pipeline.report.plots` returned.
    legend
        A name for each of its series, in their order.
    markers
        Whether its series have markers.
    """
    inside = _WIDTH - 2.0 * _MARGIN
    view = re.search(r'viewBox="([^"]*)"', plot)
    if view is None:
        raise ValueError(
            "plot has no viewBox: give what a function of pipeline.report.plots returned"
        )
    _, _, width, height = (float(figure) for figure in view.group(1).split())
    entries, bottom = _legend(legend, inside, markers=markers)
    tall = inside * height / width
    whole = bottom + tall + _MARGIN
    body = _placed(plot, _MARGIN, bottom, inside, tall)
    drawn = (
        f'<rect width="{_WIDTH:g}" height="{whole:g}" rx="8" fill="#ffffff"/>'
        f'<text x="{_MARGIN:g}" y="26" font-size="16" font-weight="600" fill="{_INK}">'
        f"{escape(title)}</text>{entries}{body}"
    )
    for name, colour in _COLOURS.items():
        drawn = drawn.replace(f"var({name})", colour)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:g}" height="{whole:g}" '
        f'viewBox="0 0 {_WIDTH:g} {whole:g}" color="{_INK}" '
        f'font-family="system-ui, sans-serif">{drawn}</svg>'
    )


def data_uri(svg: str) -> str:
    """Return an SVG document as an address that holds all of it."""
    coded = base64.b64encode(svg.encode("utf-8", "replace")).decode("ascii")
    return f"data:image/svg+xml;base64,{coded}"


def _legend(names: Sequence[str], inside: float, *, markers: bool) -> tuple[str, float]:
    """Return the legend's drawing, in as many lines as it takes, and where it ends."""
    parts, x, y = [], 0.0, _TITLE + _LINE / 2.0
    for style, name in enumerate(names):
        wide = _SAMPLE + 6.0 + _LETTER * len(name)
        if x > 0.0 and x + wide > inside:
            x, y = 0.0, y + _LINE
        left = _MARGIN + x
        parts.append(_placed(line_sample(style, marker=markers), left, y - 6.0, _SAMPLE, 12.0))
        parts.append(
            f'<text x="{left + _SAMPLE + 6.0:g}" y="{y + 4.5:g}" font-size="13" fill="{_INK}">'
            f"{escape(name)}</text>"
        )
        x += wide + 14.0
    return "".join(parts), (y + _LINE if names else _TITLE + 6.0)


def _placed(element: str, x: float, y: float, width: float, height: float) -> str:
    place = f'<svg x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return element.replace("<svg", place, 1)
