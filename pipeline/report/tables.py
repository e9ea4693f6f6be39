"""The report's tables: mappings of any keys in, rows of text with something to sort by out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real

from pipeline.console.compressor import GainReduction
from pipeline.console.parameters import STRIP_EQ_BANDS, Parameter
from pipeline.prose import spoken
from pipeline.report.changes import Move
from pipeline.report.masking import Masking

__all__ = [
    "Cell",
    "ConsoleRow",
    "Table",
    "console_table",
    "distance_table",
    "masking_table",
    "measures_table",
    "moves_table",
    "number",
    "setting_rows",
    "track_table",
]

UNITS = {
    "db": "dB",
    "dbtp": "dBTP",
    "dbfs": "dBFS",
    "hz": "Hz",
    "lu": "LU",
    "lufs": "LUFS",
    "ms": "ms",
    "s": "s",
}

# What the page shows of a track, by the names that the rows may give it.
_NAME = ("path", "track", "file", "name")
_CONFIDENCE = ("confidence", "role_confidence")
_UNSURE = ("unsure", "role_unsure")
_HEADINGS = ("Track", "Role", "Sure?", "Gain, dB", "Pan", "Flags", "Why")
_FIGURES = (
    ("f0_hz", "f0, Hz"),
    ("centroid_hz", "Centroid, Hz"),
    ("crest_db", "Crest, dB"),
    ("true_peak_dbtp", "True peak, dBTP"),
)
_MARKS = ("clips", "DC offset", "silent", "polarity inverted")
_LOUDNESS = "loudness_"
_WORTH_A_COLUMN = 0.1
_FLAGS = {
    "clips": "clips",
    "clipped": "clips",
    "clipping": "clips",
    "dc": "DC offset",
    "has_dc": "DC offset",
    "silent": "silent",
    "mute": "muted",
    "muted": "muted",
    "invert": "polarity inverted",
    "inverted": "polarity inverted",
}


@dataclass(frozen=True)
class Cell:
    """One cell: what it says, what it is sorted by, the marks beside it and a note under it."""

    text: str
    sort: str = ""
    numeric: bool = False
    strong: bool = False
    marks: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Headings and rows; the first cell of a row is its heading."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def number(value: object, digits: int = 1, *, sign: bool = False) -> str:
    """Return a number with a true minus sign; NaN and missing ones are a dash.

    Examples
    --------
    >>> number(-1.25, 1)
    '−1.2'
    """
    if not isinstance(value, Real) or math.isnan(float(value)):
        return "–"
    if math.isinf(float(value)):
        return "∞" if float(value) > 0 else "−∞"
    text = f"{float(value):{'+' if sign else ''}.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def distance_table(distances: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the style distances, the smallest of each column strong."""
    metrics = list(dict.fromkeys(metric for row in distances.values() for metric in row))
    best = {
        metric: min(
            (row[metric] for row in distances.values() if math.isfinite(row.get(metric, math.nan))),
            default=math.nan,
        )
        for metric in metrics
    }
    rows = tuple(
        (
            Cell(label, label),
            *(
                _figure(
                    row.get(metric),
                    2,
                    strong=len(distances) > 1 and row.get(metric) == best[metric],
                )
                for metric in metrics
            ),
        )
        for label, row in distances.items()
    )
    return Table(("Mix", *(_heading(metric) for metric in metrics)), rows)


def track_table(tracks: Sequence[Mapping[str, object]]) -> Table:
    """Return what each track was taken for and what it got; rows may lack any key."""
    return Table(_HEADINGS, tuple(_track_row(row) for row in tracks))


def measures_table(tracks: Sequence[Mapping[str, object]]) -> Table:
    """Return what was measured of each track; rows may have any keys, and lack any.

    Every key that ends in ``lufs``, or names a method after ``loudness_``, becomes a column, so all
    loudness methods stand side by side.
    """
    present = set().union(*(row.keys() for row in tracks)) if tracks else set()
    order = [key for row in tracks[:1] for key in row] + sorted(present)
    loudness = [key for key in dict.fromkeys(order) if _is_loudness(key)]
    figures = [(key, label) for key, label in _FIGURES if key in present]
    figures += [(key, _loudness_heading(key)) for key in loudness]
    return Table(
        ("Track", *(label for _, label in figures)),
        tuple(
            (
                _text_cell(_first(row, _NAME)),
                *(_figure(row.get(key), 0 if key.endswith("_hz") else 1) for key, _ in figures),
            )
            for row in tracks
        ),
    )


def masking_table(masking: Masking) -> Table:
    """Return how much of each stem each other covers; what is over half is strong.

    Every stem has a row; those that cover no other by a tenth are left out of the columns.
    """
    shares = masking.shares
    rows = range(len(shares))
    columns = [j for j in rows if any(shares[i][j] >= _WORTH_A_COLUMN for i in rows)]
    names = [spoken(name) for name in masking.stems]
    headings = ("Stem", "By all the others", *(f"By {names[j].lower()}" for j in columns))
    return Table(
        headings,
        tuple(
            (
                _text_cell(names[i]),
                _share(masking.by_all[i]),
                *(Cell("–", numeric=True) if i == j else _share(shares[i][j]) for j in columns),
            )
            for i in rows
        ),
    )


@dataclass(frozen=True)
class ConsoleRow:
    """One strip as a mixing desk shows it.

    Parameters
    ----------
    name
        In words.
    tracks
        How many are heard in it.
    level_lu, start_lu
        Its loudness against all stems together, in the mix and as it was balanced; NaN if unknown.
    settings
        Of the strip.
    reduction
        What its compressor did; None if not known.
    """

    name: str
    tracks: int
    level_lu: float
    start_lu: float
    settings: Mapping[str, float]
    reduction: GainReduction | None = None
    muted: bool = False


def console_table(rows: Sequence[ConsoleRow]) -> Table:
    """Return the strips side by side: level, fader, pan, sides, equaliser and compressor."""
    headings = ("Stem", "Tracks", "Level, LU", "Balanced, LU", "Fader, dB", "Pan", "Sides",
                "Equaliser, dB", "Reduction, dB")  # fmt: skip
    return Table(headings, tuple(_console_row(row) for row in rows))


def _console_row(row: ConsoleRow) -> tuple[Cell, ...]:
    settings = row.settings
    gains = [settings[band.gain_name] for band in STRIP_EQ_BANDS]
    low, high = min(0.0, *gains), max(0.0, *gains)
    equaliser = "flat" if high - low < 0.05 else f"{number(low, 1)} … {number(high, 1, sign=True)}"
    width_db = 20.0 * math.log10(max(settings["width"], 1e-3))
    sides = [] if abs(width_db) < 0.1 else [f"{number(width_db, 1, sign=True)} dB"]
    sides += [f"spread {settings['spread']:.0%}"] if settings["spread"] >= 0.01 else []
    most = 0.0 if row.reduction is None else row.reduction.max_db
    typical = 0.0 if row.reduction is None else row.reduction.mean_db
    return (
        replace(_text_cell(row.name), marks=("muted",) if row.muted else ()),
        _figure(row.tracks, 0),
        _figure(row.level_lu, 1),
        _figure(row.start_lu, 1),
        _figure(settings["gain_db"], 1, sign=True),
        _pan(settings["pan"]),
        _text_cell(", ".join(sides) or "as they are"),
        _text_cell(equaliser),
        Cell(
            "none" if most < 0.05 else f"{typical:.1f} mean, {most:.1f} most",
            f"{most:g}",
            numeric=True,
        ),
    )


def _share(value: float) -> Cell:
    return Cell(f"{value:.0%}", f"{value:g}", numeric=True, strong=value >= 0.5)


def moves_table(moves: Sequence[Move]) -> Table:
    """Return what was predicted of settings, how surely, and what became of it."""
    headings = ("Stem", "Setting", "Balanced", "Predicted", "Sure to", "In the mix")
    return Table(headings, tuple(_move_row(move) for move in moves))


def _move_row(move: Move) -> tuple[Cell, ...]:
    log = move.parameter.scale == "log"
    sure = "–"
    if move.spread is not None:
        sure = f"× {move.spread:.2f}" if log else f"± {move.spread:.2f}"
    return (
        _text_cell(move.where),
        _text_cell(_setting_text(move.parameter)),
        _figure(move.balanced, 2),
        _figure(move.predicted, 2),
        Cell(sure, _sort(move.spread), numeric=True),
        _figure(move.settled, 2, strong=True),
    )


def _setting_text(parameter: Parameter) -> str:
    _, _, unit = parameter.name.rpartition("_")
    if parameter.name == "gain_db":
        return "Fader, dB"
    return _heading(parameter.name) if unit in UNITS else spoken(parameter.name)


def setting_rows(
    settings: Mapping[str, object], usual: Mapping[str, tuple[float, float]] | None = None
) -> list[tuple[str, str]]:
    """Return name and value of each setting as text, with its usual range where it is known."""
    rows = []
    for name, value in settings.items():
        text = _plain(value)
        if usual and name in usual:
            low, high = usual[name]
            text += f" (usually {number(low, 2)} to {number(high, 2)})"
        rows.append((str(name), text))
    return rows


def _track_row(row: Mapping[str, object]) -> tuple[Cell, ...]:
    role, subgroup = (str(row.get(key, "")).replace("_", " ") for key in ("role", "subgroup"))
    return (
        replace(_text_cell(_first(row, _NAME)), marks=_marks(row)),
        replace(_text_cell(role), note="" if subgroup == role else subgroup),
        replace(_sureness(row), note=str(row.get("recognised_by", "") or "")),
        _figure(row.get("gain_db"), 1, sign=True),
        _pan(row.get("pan")),
        _text_cell(_flags(row)),
        _text_cell(row.get("reason", "") or ""),
    )


def _sureness(row: Mapping[str, object]) -> Cell:
    confidence = _first(row, _CONFIDENCE)
    text = number(confidence, 2) if isinstance(confidence, Real) else ""
    if _true(_first(row, _UNSURE)):
        text = f"unsure ({text})" if text else "unsure"
    return Cell(text, _sort(confidence), numeric=bool(text), strong=text.startswith("unsure"))


def _flags(row: Mapping[str, object]) -> str:
    flags = [word for key, word in _FLAGS.items() if _true(row.get(key))]
    given = row.get("flags", "")
    if isinstance(given, str):
        flags += [given] if given else []
    elif isinstance(given, Sequence):
        flags += [str(flag) for flag in given]
    return ", ".join(dict.fromkeys(flags))


def _marks(row: Mapping[str, object]) -> tuple[str, ...]:
    """Return in a word each what a reader should look at in a track."""
    flags = _flags(row)
    marks = [mark for mark in _MARKS if mark in flags]
    if _true(_first(row, _UNSURE)):
        marks.insert(0, "unsure")
    if _true(row.get("contradiction")):
        marks.insert(0, "sounds unlike its name")
    return tuple(marks)


def _true(value: object) -> bool:
    return bool(value) and str(value).lower() not in {"nan", "false", "no", "0"}


def _pan(value: object) -> Cell:
    if not isinstance(value, Real) or math.isnan(float(value)):
        return Cell("–", "", numeric=True)
    pan = float(value)
    if abs(pan) < 0.005:
        return Cell("centre", "0", numeric=True)
    return Cell(f"{abs(pan):.0%} {'left' if pan < 0 else 'right'}", f"{pan:g}", numeric=True)


def _first(row: Mapping[str, object], names: Sequence[str]) -> object:
    return next((row[name] for name in names if name in row), "")


def _text_cell(value: object) -> Cell:
    text = str(value)
    return Cell(text, text.casefold())


def _figure(value: object, digits: int, *, sign: bool = False, strong: bool = False) -> Cell:
    return Cell(number(value, digits, sign=sign), _sort(value), numeric=True, strong=strong)


def _sort(value: object) -> str:
    if not isinstance(value, Real) or math.isnan(float(value)):
        return ""
    return f"{float(value):.9g}"


def _heading(key: str) -> str:
    label, _, unit = key.rpartition("_")
    if unit not in UNITS:
        return key.replace("_", " ").capitalize()
    return f"{label.replace('_', ' ').capitalize()}, {UNITS[unit]}" if label else UNITS[unit]


def _is_loudness(key: str) -> bool:
    if key.endswith("lufs"):
        return True
    return key.startswith(_LOUDNESS) and key.rpartition("_")[2] not in UNITS


def _loudness_heading(key: str) -> str:
    if key.startswith(_LOUDNESS):
        return f"By {key.removeprefix(_LOUDNESS)}, LUFS"
    return _heading(key)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return str(value).replace("-", "−")
    if isinstance(value, Real):
        return f"{float(value):.4g}".replace("-", "−")
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(item) for item in value)
    return "–" if value is None else str(value)
