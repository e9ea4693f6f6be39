"""A picture is read by an XML parser, and holds all that it needs."""

import base64
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.report.plots import Curve, spectrum_plot, width_plot
from pipeline.report.standalone_svg import data_uri, picture

SVG = "{http://www.w3.org/2000/svg}"


def test_a_picture_stands_alone() -> None:
    frequencies = np.geomspace(20.0, 20000.0, 30, dtype=np.float32)
    names = ["this mix", "a reference & <more>", "balanced start"]
    curves = {name: Curve(frequencies, 0.0 * frequencies - n) for n, name in enumerate(names)}
    drawn = picture(spectrum_plot(curves, alt="Spectrum"), title="Spectrum <1>", legend=names)
    root = ElementTree.fromstring(drawn)
    assert root.tag == f"{SVG}svg"
    texts = ["".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")]
    assert texts[0] == "Spectrum <1>"
    assert set(names) < set(texts)
    assert "Frequency in Hz" in texts
    assert "var(" not in drawn, "a colour of the page's"
    assert re.search(r"(?:href|src)=\"(?!#)", drawn) is None, "asks for a file"
    ground = root.find(f"{SVG}rect")
    assert ground is not None
    assert ground.get("fill") == "#ffffff"
    assert ground.get("height") == root.get("height")
    coded = data_uri(drawn)
    assert base64.b64decode(coded.removeprefix("data:image/svg+xml;base64,")).decode() == drawn
    assert len(coded) < 100_000


def test_a_long_legend_takes_more_lines() -> None:
    plot = width_plot({"a": {"low": -6.0, "high": -3.0}}, alt="Width")
    heights = [
        float(ElementTree.fromstring(picture(plot, title="", legend=legend)).get("height", "0"))
        for legend in (["a"], ["a", "b"], ["a" * 40, "b" * 40])
    ]
    assert heights[0] == heights[1] < heights[2]


def test_what_is_no_plot_is_refused() -> None:
    with pytest.raises(ValueError, match="no viewBox"):
        picture("<svg/>", title="")
