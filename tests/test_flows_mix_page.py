"""The page and the table of a mix, for eyes: names obeyed by nobody, figures rounded."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flows.dashboard.markdown import as_code, as_markdown
from flows.mix import page as mix_page

HOSTILE = (
    "<script>alert(1)</script>",
    "[click](http://evil.example)",
    "![x](https://evil.example/x.png)",
    "**bold** _it_ `code` ~~gone~~",
    "# heading | a | table",
    "www.evil.example https://evil.example a@evil.example",
    "&lt;b&gt; \\* 1. 2) - + = >",
    "a\nb\r\n\x1b[31m\u202egpj",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_text(name: str) -> None:
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
    for before in ("", "- ", "# "):
        tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(before + as_markdown(name))
        inline = [child for token in tokens for child in token.children or []]
        assert {child.type for child in inline} <= {"text", "text_special"}
        assert "".join(child.content for child in inline) == shown


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_any_text_is_text(name: str) -> None:
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(f"a {as_markdown(name)}")
    inline = [child for token in tokens for child in token.children or []]
    assert {child.type for child in inline} <= {"text", "text_special"}
    assert "".join(child.content for child in inline).rstrip() == f"a {shown}".rstrip()


@pytest.mark.parametrize(
    "name",
    [
        "Kick_In.wav",
        "01 Gtr L (dbl).wav",
        "⚠ clips once at 0:04.000; unsure",
        "−∞",
        "Vox ü 日本.wav",
    ],
)
def test_ordinary_names_stay_readable(name: str) -> None:
    assert as_markdown(name) == name


@pytest.mark.parametrize("path", ["/a b/mix", "/a`b``c/mix", "`/x`", "/<b>*x*"])
def test_a_path_is_code(path: str) -> None:
    (inline,) = [t for t in MarkdownIt().parse(as_code(path)) if t.type == "inline"]
    (code,) = inline.children or []
    assert (code.type, code.content) == ("code_inline", path)


ROW = {
    "track": "Kick.wav", "role": "lead_vocal", "subgroup": "lead_vocals", "confidence": 0.966,
    "unsure": False, "f0_hz": math.nan, "centroid_hz": 1234.5678, "loudness_lufs": -23.04,
    "loudness_centroid": -math.inf, "loudness_p_lufs": -20.0, "loudness_informed": -19.96,
    "loudness_sones": -0.04, "gain_db": -3.14159, "pan": -0.3, "flags": "",
}  # fmt: skip


def test_a_row_reads_well() -> None:
    assert mix_page._sheet_row(ROW) == {
        "Track": "Kick.wav", "Role": "lead vocal", "Subgroup": "lead vocals", "Notes": "",
        "Sure, %": 97, "Gain, dB": -3.1, "Pan": "30% left", "f0, Hz": "–", "Centroid, Hz": 1235,
        "Sones, LUFS": 0.0, "Informed, LUFS": -20.0, "BS.1770, LUFS": -23.0,
        "Centroid method, LUFS": "−∞", "P-LUFS, LUFS": -20.0,
    }  # fmt: skip
    odd = ROW | {"unsure": True, "flags": "clips once at 4.000 s", "pan": 0.0}
    assert mix_page._sheet_row(odd)["Notes"] == "⚠ clips once at 4.000 s; role uncertain"
    assert mix_page._sheet_row(odd)["Pan"] == "centre"


def test_distances_are_a_table() -> None:
    distances = {
        "balanced start": {"spectrum_db": 3.0, "loudness_lu": 1.0, "total": 0.5},
        "this mix": {"spectrum_db": 0.254, "loudness_lu": 0.0, "total": 0.03},
    }
    html = MarkdownIt("gfm-like", {"linkify": False}).render(mix_page._distance_table(distances))
    assert "Spectrum, dB" in html
    assert "Loudness, LU" in html
    assert "<strong>0.25</strong>" in html
    assert html.count("<tr>") == 3


def test_code_of_a_folder(tmp_path: Path) -> None:
    assert as_code(str(tmp_path)) == f"`{tmp_path}`"
