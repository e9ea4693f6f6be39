"""What the listening page shows of a session's balances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flows.compare.methods import PUBLISHED
from flows.compare.render import Comparison
from flows.compare.steps import Written
from pipeline.report.listening_page import (
    SUM,
    ListenedMethod,
    ListenedSignal,
    ListeningPage,
    TrackRow,
    write_listening_page,
)

__all__ = ["write_page"]


def write_page(
    path: Path,
    comparison: Comparison,
    *,
    tested: bool,
    mixed_by: str,
    warnings: Sequence[str],
) -> None:
    """Write ``listen.html`` beside the files that it plays.

    Parameters
    ----------
    path
        The page, in the folder that holds one folder a method.
    tested
        Whether a listening test lies beside it.
    mixed_by
        The method of a mix: its reasons are shown where it is among the methods, else those of
        the last method that has rules of its own.
    """

    def signal(written: Written) -> ListenedSignal:
        file = written.path.relative_to(path.parent).as_posix()
        return ListenedSignal(file, written.loudness_lufs, written.wave)

    analysed, methods, rendered = comparison.analysed, comparison.methods, comparison.rendered
    told = next(
        (m for m in methods if m.name == mixed_by),
        next((m for m in reversed(methods) if m.name not in PUBLISHED), methods[-1]),
    )
    rows = [
        TrackRow(
            track.name,
            str(found.role),
            found.subgroup,
            tuple(method.gains_db[index] for method in methods),
            tuple(method.audibility_db[index] for method in methods),
            told.reasons[index] + ("; muted" if analysed.balances[index].mute else ""),
        )
        for index, (track, found) in enumerate(
            zip(analysed.session.tracks, analysed.recognitions, strict=True)
        )
    ]
    write_listening_page(
        path,
        ListeningPage(
            title=comparison.title,
            seconds=comparison.plan.frames / comparison.plan.sample_rate,
            sample_rate=comparison.plan.sample_rate,
            loudness_lufs=max(method.loudness_lufs for method in methods),
            methods=[
                ListenedMethod(
                    method.name,
                    method.gain_db,
                    method.true_peak_dbtp,
                    {judge: x["all"] for judge, x in method.spread_lu.items()},
                    _median(method.audibility_db),
                    {
                        SUM: signal(rendered.sums[method.name]),
                        **{
                            name: signal(stem) for name, stem in rendered.stems[method.name].items()
                        },
                    },
                )
                for method in methods
            ],
            tracks=rows,
            reason_of=told.name,
            passages=[(p.start_s, p.start_s + p.duration_s) for p in comparison.passages],
            tested=tested,
            warnings=warnings,
        ),
    )


def _median(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan
