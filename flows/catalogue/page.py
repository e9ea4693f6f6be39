"""A catalogue as one page that asks the network for nothing: what became of each session."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from flows.catalogue.table import CatalogueRow
from pipeline.report.html import page_environment, write_whole

__all__ = ["write_catalogue_page"]

_ORDER = {"failed": 0, "mixed": 1, "found": 2}


@dataclass(frozen=True)
class _Cell:
    """A cell: its heading, what is shown, and what it is sorted by."""

    heading: str
    text: str
    sort: str


def write_catalogue_page(
    path: Path,
    rows: Sequence[CatalogueRow],
    *,
    title: str,
    total: int,
    seconds: float,
    running: bool = False,
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path
        In the catalogue's folder: it links to each session's report there.
    rows
        Those that are done, of ``total``.
    seconds
        That the run has taken so far.
    running
        The page is to renew itself.
    """
    ordered = sorted(rows, key=lambda row: _ORDER[row.status])
    failed = [row for row in ordered if row.status == "failed"]
    facts = [
        ("Sessions", f"{len(rows)} of {total}" if len(rows) < total else str(total)),
        *(
            (name.capitalize(), str(count))
            for name in ("mixed", "found", "failed")
            if (count := sum(row.status == name for row in rows))
        ),
        ("Time", _duration(seconds)),
    ]
    skipped = sum(row.skipped_tracks or 0 for row in rows)
    if skipped:
        facts.append(("Tracks skipped", str(skipped)))
    template = (Path(__file__).parent / "catalogue_page.html").read_text(encoding="utf-8")
    text = (
        page_environment()
        .from_string(template)
        .render(
            title=title,
            facts=facts,
            failed=failed,
            rows=[(row, _link(row.report), _cells(row)) for row in ordered],
            headings=[cell.heading for cell in _cells(ordered[0])] if ordered else [],
            running=running,
        )
    )
    write_whole(path, text)


def _cells(row: CatalogueRow) -> list[_Cell]:
    return [
        _Cell("Status", row.status, str(_ORDER[row.status])),
        _count("Tracks", row.tracks),
        _figure("Loudness LUFS", row.loudness_lufs),
        _figure("Target LUFS", row.target_lufs),
        _figure("True peak dBTP", row.true_peak_dbtp, 2),
        _figure("Range LU", row.loudness_range_lu),
        _figure("Distance before", row.before_total, 2),
        _figure("Distance after", row.after_total, 2),
        _count("Warnings", row.warnings if row.status != "failed" else None),
        _figure("Seconds", row.seconds),
    ]


def _figure(heading: str, value: float, digits: int = 1) -> _Cell:
    if not math.isfinite(value):
        return _Cell(heading, "–", "")
    return _Cell(heading, f"{value:.{digits}f}".replace("-", "−"), repr(value))


def _count(heading: str, value: int | None) -> _Cell:
    return _Cell(heading, "–" if value is None else str(value), "" if value is None else str(value))


def _link(report: str) -> str:
    # Bytes of a name that are no Unicode are quoted as they are.
    return quote(report.encode("utf-8", "surrogateescape"))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
