"""The listening page: balances of one song beside each other, equally loud, to switch between.

The page plays the files that lie beside it, by plain ``<audio>`` elements, so that it works from
a disk as from a server; all else that it needs is in it.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from pipeline.prose import spoken
from pipeline.report.html import page_environment, visible, write_whole
from pipeline.report.tables import Cell, Table, number

__all__ = ["ListenedMethod", "ListenedSignal", "ListeningPage", "TrackRow", "write_listening_page"]

SUM = ""
"""What a method's sum is called among its signals: no stem has that name."""


@dataclass(frozen=True)
class ListenedSignal:
    """One file that can be heard.

    Parameters
    ----------
    file
        Relative to the page, with slashes.
    loudness_lufs
        Integrated.
    wave
        The largest amplitude in each of some hundred stretches of equal length.
    """

    file: str
    loudness_lufs: float
    wave: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ListenedMethod:
    """One balance.

    Parameters
    ----------
    name
        Of the method.
    gain_db
        Of all its tracks alike, to make the sums equally loud.
    true_peak_dbtp
        The largest of its sum and stems.
    spread_lu
        Method that judges → how unequally loud the tracks of a subgroup are.
    audibility_db
        Median over the tracks of the level against the rest of the stem.
    signals
        The sum and its stems, by name; of each method the same names in the same order.
    """

    name: str
    gain_db: float
    true_peak_dbtp: float
    spread_lu: Mapping[str, float]
    audibility_db: float
    signals: Mapping[str, ListenedSignal]


@dataclass(frozen=True)
class TrackRow:
    """One track of the table.

    Parameters
    ----------
    gains_db, audibility_db
        By method, in the order of the page's methods.
    """

    name: str
    role: str
    subgroup: str
    gains_db: tuple[float, ...]
    audibility_db: tuple[float, ...]
    reason: str


@dataclass(frozen=True)
class ListeningPage:
    """All that the page shows.

    Parameters
    ----------
    title
        Of the song.
    methods
        In the order of the keys 1 to 9.
    tracks
        One row a track.
    passages
        Stretches worth a loop: start and end in seconds.
    tested
        Whether a listening test lies beside the page.
    reason_of
        The method whose reasons the tracks' table gives.
    """

    title: str
    seconds: float
    sample_rate: int
    loudness_lufs: float
    methods: Sequence[ListenedMethod]
    tracks: Sequence[TrackRow]
    reason_of: str
    passages: Sequence[tuple[float, float]] = ()
    tested: bool = False
    warnings: Sequence[str] = field(default_factory=tuple)


def write_listening_page(path: Path, page: ListeningPage) -> None:
    """Write the page, whole or not at all; its folder must exist."""
    text = (
        page_environment()
        .get_template("listening_page.html")
        .render(
            page=page,
            facts=_facts(page),
            methods=[_method_view(m, key) for key, m in enumerate(page.methods, start=1)],
            signals=[(name, _spoken(name)) for name in page.methods[0].signals],
            passages=[(start, end, _clock(start), _clock(end)) for start, end in page.passages],
            by_method=_method_table(page),
            tracks=_track_table(page),
            data=Markup(_data(page)),
        )
    )
    write_whole(path, text)


def _spoken(name: str) -> str:
    return "Whole mix" if name == SUM else spoken(name)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(math.floor(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _facts(page: ListeningPage) -> list[tuple[str, str]]:
    highest = max((method.true_peak_dbtp for method in page.methods), default=-math.inf)
    return [
        ("Loudness of every sum", f"{number(page.loudness_lufs, 1)} LUFS"),
        ("Highest true peak", f"{number(highest, 1)} dBTP"),
        ("Methods", str(len(page.methods))),
        ("Tracks", str(len(page.tracks))),
        ("Length", _clock(page.seconds)),
        ("Sample rate", f"{page.sample_rate:,} Hz".replace(",", "\N{NO-BREAK SPACE}")),
    ]


def _address(file: str) -> str:
    # "./": a file name is no scheme, whatever stands in it.
    return "./" + quote(file, safe="/", errors="replace")


def _method_view(method: ListenedMethod, key: int) -> dict[str, Any]:
    signal = method.signals[SUM]
    return {
        "name": method.name,
        "key": key if key <= 9 else "",
        "file": _address(signal.file),
        "columns": max(signal.wave.size, 2),
        "gain": number(method.gain_db, 1, sign=True),
    }


def _data(page: ListeningPage) -> str:
    """Return what the script needs, as JSON that cannot end its element."""
    names = list(page.methods[0].signals)
    full = {
        name: max(float(m.signals[name].wave.max(initial=0.0)) for m in page.methods)
        for name in names
    }
    record = {
        "seconds": round(page.seconds, 6),
        "methods": [
            {
                "name": visible(method.name),
                "signals": {
                    visible(name): {
                        "file": _address(signal.file),
                        "lufs": _finite(signal.loudness_lufs),
                        "wave": _wave(signal.wave, full[name]),
                    }
                    for name, signal in method.signals.items()
                },
            }
            for method in page.methods
        ],
    }
    text = json.dumps(record, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finite(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None


def _wave(wave: npt.NDArray[np.float32], full_scale: float) -> str:
    """Return the columns as bytes in base64, 255 for the largest of all methods."""
    scaled = np.clip(np.rint(255.0 * wave / max(full_scale, 1e-9)), 0, 255).astype(np.uint8)
    return base64.b64encode(scaled.tobytes()).decode("ascii")


def _figure(value: float, digits: int = 1, *, sign: bool = False, strong: bool = False) -> Cell:
    text = number(value, digits, sign=sign)
    sort = "" if math.isnan(value) else f"{value:.9g}"
    return Cell(text, sort, numeric=True, strong=strong)


def _method_table(page: ListeningPage) -> Table:
    judges = list(page.methods[0].spread_lu)
    # A method judges its own balance as equal, which says nothing.
    least = {
        judge: min((m.spread_lu[judge] for m in page.methods if m.name != judge), default=math.nan)
        for judge in judges
    }
    rows = tuple(
        (
            Cell(method.name, method.name.casefold()),
            _figure(method.gain_db, 2, sign=True),
            _figure(method.signals[SUM].loudness_lufs, 2),
            _figure(method.true_peak_dbtp, 2),
            _figure(method.audibility_db, 1, sign=True),
            *(
                _figure(value, 2, strong=judge != method.name and value == least[judge])
                for judge, value in method.spread_lu.items()
            ),
        )
        for method in page.methods
    )
    heads = ("Method", "Gain of all, dB", "Sum, LUFS", "True peak, dBTP", "Median audibility, dB")
    return Table((*heads, *(f"Spread by {judge}, LU" for judge in judges)), rows)


def _audible(value: float) -> Cell:
    if value == math.inf:
        return Cell("alone", "1e9", numeric=True)
    return _figure(value, 0, sign=True)


def _track_table(page: ListeningPage) -> Table:
    names = [method.name for method in page.methods]
    rows = tuple(
        (
            Cell(track.name, track.name.casefold()),
            Cell(track.role.replace("_", " "), track.role),
            Cell(track.subgroup.replace("_", " "), track.subgroup.casefold()),
            *(_figure(gain_db, 1, sign=True) for gain_db in track.gains_db),
            Cell(track.reason, track.reason.casefold()),
            *(_audible(value) for value in track.audibility_db),
        )
        for track in page.tracks
    )
    return Table(
        (
            "Track",
            "Role",
            "Subgroup",
            *(f"{name}, dB" for name in names),
            f"Why ({page.reason_of})",
            *(f"Audible, {name}, dB" for name in names),
        ),
        rows,
    )
