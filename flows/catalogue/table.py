"""A row a session: what became of it, as a record, as CSV and as Parquet."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from flows.csv_table import write_csv
from flows.storage.locations import Place
from pipeline.errors import InputError

__all__ = ["CatalogueRow", "catalogue_frame", "failed_row", "mixed_row", "write_tables"]

_UNKNOWN = math.nan


@dataclass(frozen=True)
class CatalogueRow:
    """What became of one session.

    Parameters
    ----------
    status
        ``"found"``: its mix was there already, of the same inputs and settings.
    seconds
        That it took, all attempts and waits together.
    skipped_tracks
        Tracks that were bad and are not in the mix.
    before_total, after_total, ...
        Distance of the balanced start, and of the mix, from the reference.
    session_folder, references
        Absolute.
    folder, mix, report
        Relative to the catalogue's folder, POSIX; empty where there is no mix.
    """

    session: str
    status: Literal["mixed", "found", "failed"]
    seconds: float = 0.0
    attempts: int = 0
    tracks: int | None = None
    skipped_tracks: int | None = None
    loudness_lufs: float = _UNKNOWN
    target_lufs: float = _UNKNOWN
    true_peak_dbtp: float = _UNKNOWN
    loudness_range_lu: float = _UNKNOWN
    before_total: float = _UNKNOWN
    after_total: float = _UNKNOWN
    before_spectrum_db: float = _UNKNOWN
    after_spectrum_db: float = _UNKNOWN
    before_width_db: float = _UNKNOWN
    after_width_db: float = _UNKNOWN
    before_imbalance_db: float = _UNKNOWN
    after_imbalance_db: float = _UNKNOWN
    before_crest_db: float = _UNKNOWN
    after_crest_db: float = _UNKNOWN
    before_loudness_lu: float = _UNKNOWN
    after_loudness_lu: float = _UNKNOWN
    warnings: int = 0
    warning_text: str = ""
    error: str = ""
    remedy: str = ""
    session_folder: str = ""
    references: str = ""
    folder: str = ""
    mix: str = ""
    report: str = ""


def mixed_row(
    folder: Path,
    *,
    status: Literal["mixed", "found"],
    session: Place,
    references: Sequence[Place],
    seconds: float,
    attempts: int,
) -> CatalogueRow:
    """Return the row of a mix, from the results that lie in its folder.

    Raises
    ------
    OSError, ValueError, KeyError
        If they are not those of a whole mix.
    """
    whole = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    mix = whole["mix"]
    audio = folder / f"mix.{whole['settings']['format']}"
    if not audio.is_file():
        raise FileNotFoundError(f"{audio} is not there")
    before, after = mix.get("distance_of_balanced_start", {}), mix.get("distance", {})
    distances: dict[str, Any] = {
        f"{when}_{name}": _figure(told.get(name))
        for when, told in (("before", before), ("after", after))
        for name in ("total", "spectrum_db", "width_db", "imbalance_db", "crest_db", "loudness_lu")
    }
    skipped = [f"skipped {item['name']}: {item['why']}" for item in whole["skipped"]]
    warnings = [*skipped, *whole["warnings"]]
    return CatalogueRow(
        session=folder.name,
        status=status,
        seconds=round(seconds, 2),
        attempts=attempts,
        tracks=len(whole["tracks"]),
        skipped_tracks=len(skipped),
        loudness_lufs=_figure(mix["integrated_lufs"]),
        target_lufs=_figure(mix["target_lufs"]),
        true_peak_dbtp=_figure(mix["true_peak_dbtp"]),
        loudness_range_lu=_figure(mix["loudness_range_lu"]),
        **distances,
        warnings=len(warnings),
        warning_text="; ".join(warnings),
        session_folder=str(session),
        references="; ".join(map(str, references)),
        folder=folder.name,
        mix=f"{folder.name}/{audio.name}",
        report=f"{folder.name}/report.html",
    )


def failed_row(
    name: str,
    error: BaseException | str,
    *,
    session: Place,
    references: Sequence[Place],
    seconds: float,
    attempts: int,
    remedy: str = "",
) -> CatalogueRow:
    """Return the row of a session that could not be mixed, with what is wrong and what to do."""
    if isinstance(error, InputError):
        what = "; ".join(f"{problem.subject}: {problem.what}" for problem in error.problems)
        remedy = "; ".join(dict.fromkeys(problem.remedy for problem in error.problems))
    elif isinstance(error, BaseException):
        notes = getattr(error, "__notes__", ())
        what = " ".join([f"{type(error).__name__}: {error}", *notes])
        remedy = remedy or f"mix {session} by itself with --verbose for the whole story"
    else:
        what = error
    return CatalogueRow(
        session=name,
        status="failed",
        seconds=round(seconds, 2),
        attempts=attempts,
        error=what,
        remedy=remedy,
        session_folder=str(session),
        references="; ".join(map(str, references)),
    )


def catalogue_frame(rows: Sequence[CatalogueRow]) -> pd.DataFrame:
    """Return the rows as a table whose columns have the same types however many rows there are."""
    columns = {}
    for declared in fields(CatalogueRow):
        values: list[Any] = [getattr(row, declared.name) for row in rows]
        if "int" in str(declared.type):
            columns[declared.name] = pd.Series(values, dtype="Int64")
        elif "float" in str(declared.type):
            columns[declared.name] = pd.Series(values, dtype="float64")
        else:
            columns[declared.name] = pd.Series(map(_unicode, values), dtype="object")
    return pd.DataFrame(columns)


def write_tables(folder: Path, rows: Sequence[CatalogueRow]) -> tuple[Path, Path]:
    """Write ``catalogue.csv`` and ``catalogue.parquet``, each whole or not at all."""
    frame = catalogue_frame(rows)
    csv, parquet = folder / "catalogue.csv", folder / "catalogue.parquet"
    _whole(csv, lambda path: write_csv(frame, path))
    _whole(parquet, lambda path: frame.to_parquet(path, engine="pyarrow", index=False))
    return csv, parquet


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    neighbour = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        write(neighbour)
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)


def _figure(value: object) -> float:
    return float(value) if isinstance(value, int | float) else _UNKNOWN


def _unicode(text: str) -> str:
    """Return text that every format can hold: bytes of a name that are no Unicode are marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
