"""``stemwright balance``: a session by several methods, equally loud, to compare by ear."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flows.compare.listening_test import (
    FOLDER,
    Passage,
    busiest_passages,
    write_listening_test,
)
from flows.compare.methods import (
    MethodBalance,
    balance_plan,
    decide_method,
    faded_plan,
    without_loudness,
)
from flows.compare.metrics import audibility_db, spreads_lu
from flows.compare.page import write_page
from flows.compare.render import Comparison, RenderedBalances, render_balances, room_problems
from flows.csv_table import write_csv
from flows.engines.base import Engine
from flows.mix.analysis import AnalysedSession, analyse_session
from flows.mix.notes import track_notes
from flows.mix.plan import first_plan
from flows.progress import Progress
from flows.settings import MixSettings
from flows.storage.locations import Place, inside
from flows.storage.output_folder import choose_folder, new_folder, reserved
from flows.storage.source_files import refuse_changed
from flows.storage.store import Store, made_whole
from flows.versions import versions
from pipeline.errors import InputError
from pipeline.plan import Plan
from pipeline.plan_file import plan_json
from stage1.loudness.narrowband import METHODS

__all__ = ["BalanceOutcome", "balance_session"]


@dataclass(frozen=True)
class BalanceOutcome:
    """What was written.

    Parameters
    ----------
    table
        One row a track: loudness, gain and audibility by each method.
    methods
        One row a method: gain, loudness, peak, spread and audibility.
    sum_lufs
        Loudness of each method's sum: the same for all but silent ones.
    warnings
        What else the user should know.
    """

    folder: Place
    table: pd.DataFrame
    methods: pd.DataFrame
    sum_lufs: dict[str, float]
    analysed: AnalysedSession
    warnings: tuple[str, ...] = ()


def _judged(
    analysed: AnalysedSession, decided: MethodBalance, rendered: RenderedBalances
) -> MethodBalance:
    """Return a method's balance with what came of it."""
    subgroups = [found.subgroup for found in analysed.recognitions]
    heard_db = [
        math.nan if level.mute else gain_db
        for level, gain_db in zip(analysed.balances, decided.gains_db, strict=True)
    ]
    name, gain_db = decided.name, rendered.gains_db[decided.name]
    return replace(
        decided,
        gain_db=gain_db,
        loudness_lufs=rendered.sums[name].loudness_lufs,
        true_peak_dbtp=rendered.raw[name].true_peak_dbtp + gain_db,
        spread_lu=spreads_lu(analysed.features, subgroups, heard_db, decided.targets_lufs),
        audibility_db=audibility_db(analysed.features, subgroups, heard_db),
    )


def _track_table(analysed: AnalysedSession, methods: Sequence[MethodBalance]) -> pd.DataFrame:
    rows = [
        {
            "track": track.name,
            "role": str(found.role),
            "subgroup": found.subgroup,
            "confidence": found.confidence,
            "recognised_by": found.reason,
            "mute": level.mute,
            "f0_hz": features.pitch.f0_hz,
            "centroid_hz": features.spectrum.centroid_hz,
            "bandwidth_hz": features.spectrum.bandwidth_hz,
            **{f"loudness_{m.name}": features.loudness(m.name) for m in methods},
            **{f"gain_{m.name}_db": m.gains_db[index] for m in methods},
            **{f"level_gain_{m.name}_db": m.gain_db for m in methods},
            **{f"audibility_{m.name}_db": m.audibility_db[index] for m in methods},
            **{f"reason_{m.name}": m.reasons[index] for m in methods},
        }
        for index, (track, found, features, level) in enumerate(
            zip(
                analysed.session.tracks,
                analysed.recognitions,
                analysed.features,
                analysed.balances,
                strict=True,
            )
        )
    ]
    return pd.DataFrame(rows)


def _spread_table(methods: Sequence[MethodBalance]) -> pd.DataFrame:
    rows = [
        {"method": method.name, "judged_by": judge, "subgroup": subgroup, "spread_lu": spread_lu}
        for method in methods
        for judge, spreads in method.spread_lu.items()
        for subgroup, spread_lu in spreads.items()
    ]
    return pd.DataFrame(rows)


def _method_table(methods: Sequence[MethodBalance]) -> pd.DataFrame:
    rows = []
    for method in methods:
        heard = [x for x in method.audibility_db if math.isfinite(x)]
        rows.append(
            {
                "method": method.name,
                "gain_db": method.gain_db,
                "loudness_lufs": method.loudness_lufs,
                "true_peak_dbtp": method.true_peak_dbtp,
                **{f"spread_by_{j}_lu": found["all"] for j, found in method.spread_lu.items()},
                "median_audibility_db": float(np.median(heard)) if heard else math.nan,
                "lowest_audibility_db": min(heard, default=math.nan),
            }
        )
    return pd.DataFrame(rows)


def _passages(rendered: RenderedBalances, plan: Plan) -> tuple[Passage, ...]:
    powers = [raw.power / max(float(raw.power.max()), 1e-30) for raw in rendered.raw.values()]
    return busiest_passages(
        rendered.playing, np.mean(powers, axis=0), duration_s=plan.frames / plan.sample_rate
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def balance_session(
    engine: Engine,
    root: Place,
    *,
    methods: Sequence[str],
    settings: MixSettings,
    folder: Place | None,
    store: Place,
    tracks: bool = False,
    progress: Progress | None = None,
) -> BalanceOutcome:
    """Balance a session by several methods, each into a folder of its own, all equally loud.

    Parameters
    ----------
    methods
        Of :data:`stage1.loudness.narrowband.METHODS`.
    folder
        New; None for one in the session's ``mixes``. Gets ``<method>/stems/``,
        ``<method>/sum.wav``, ``<method>/plan.json``, ``results.csv``, ``methods.csv``,
        ``spread.csv``, ``results.json``, ``listen.html`` and, for two methods or more,
        ``listening_test/``.
    tracks
        Write ``<method>/tracks/`` too: each track at the method's own gain.
    progress
        Told of what is fetched from URLs.

    Raises
    ------
    InputError
        With every problem of the session, or if ``folder`` exists or has no room.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        what = f"unknown method {unknown[0]!r}" if unknown else "no method"
        raise ValueError(f"{what}: use one of {', '.join(METHODS)}")
    chosen, faults = choose_folder(folder, root, "balances")
    analysed = made_whole(
        lambda: analyse_session(
            engine, root, settings=settings, store=store, faults=faults, progress=progress
        ),
        store,
    )
    with reserved(chosen, is_own=folder is None) as chosen:
        return _balance_analysed(
            engine,
            analysed,
            chosen,
            methods=methods,
            settings=settings,
            store=store,
            tracks=tracks,
        )


def _balance_analysed(
    engine: Engine,
    analysed: AnalysedSession,
    chosen: Place,
    *,
    methods: Sequence[str],
    settings: MixSettings,
    store: Place,
    tracks: bool,
) -> BalanceOutcome:
    decided = {m: decide_method(analysed, m, mixed_by=settings.method) for m in methods}
    plans = {
        method: balance_plan(
            first_plan(analysed, inside(chosen, method)), decided[method], settings.seed
        )
        for method in methods
    }
    plan = plans[methods[0]]
    full = room_problems(chosen, plan, len(methods), tracks=tracks)
    if full:
        raise InputError(full)
    warnings = [*track_notes(analysed), *without_loudness(analysed, methods)]
    with new_folder(chosen) as part:
        for method in methods:
            (part / method).mkdir()
        rendered = render_balances(
            engine, plans, analysed.session.root, part, tracks=tracks, seed=settings.seed
        )
        judged = [_judged(analysed, decided[method], rendered) for method in methods]
        for balanced in judged:
            faded = faded_plan(plans[balanced.name], balanced.gain_db)
            (part / balanced.name / "plan.json").write_text(plan_json(faded), encoding="utf-8")
        comparison = Comparison(analysed, plan, judged, rendered, _passages(rendered, plan))
        tested = _listening_test(part, comparison, settings.seed)
        if not tested and len(methods) > 1:
            warnings.append("no listening test was written: a sum is silent in every passage")
        table, by_method = _write_tables(part, comparison, warnings)
        write_page(
            part / "listen.html",
            comparison,
            tested=tested,
            mixed_by=settings.method,
            warnings=warnings,
        )
        refuse_changed(
            Store(store),
            {track.name: track.path for track in analysed.session.tracks},
            analysed.contents,
        )
    for warning in warnings:
        engine.log(warning, warning=True)
    engine.log(f"balances: {chosen}")
    sums = {method.name: method.loudness_lufs for method in judged}
    return BalanceOutcome(chosen, table, by_method, sums, analysed, tuple(warnings))


def _listening_test(part: Path, comparison: Comparison, seed: int) -> bool:
    """Write the blind comparison of several methods; False where there is nothing to compare."""
    if len(comparison.methods) < 2:
        return False
    return bool(
        write_listening_test(
            part / FOLDER,
            {method.name: part / method.name / "sum.wav" for method in comparison.methods},
            comparison.passages,
            title=comparison.title,
            sample_rate=comparison.plan.sample_rate,
            seed=seed,
        )
    )


def _write_tables(
    part: Path, comparison: Comparison, warnings: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write tables and ``results.json``; return the tables of the tracks and of the methods."""
    analysed, methods = comparison.analysed, comparison.methods
    table, by_method = _track_table(analysed, methods), _method_table(methods)
    write_csv(table, part / "results.csv")
    write_csv(by_method, part / "methods.csv")
    write_csv(_spread_table(methods), part / "spread.csv")
    record = {
        "tracks": json.loads(table.to_json(orient="records")),
        "methods": json.loads(by_method.to_json(orient="records")),
        **_levels_record(methods, comparison.rendered),
        "skipped": [{"name": p.subject, "why": p.what} for p in analysed.session.skipped],
        "warnings": warnings,
        "versions": versions(),
    }
    (part / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return table, by_method


def _levels_record(judged: Sequence[MethodBalance], rendered: RenderedBalances) -> dict[str, Any]:
    """Return the loudness of sums and stems, and spreads, by method, for JSON."""
    return {
        "sum_lufs": {method.name: _finite(method.loudness_lufs) for method in judged},
        "stem_lufs": {
            method: {name: _finite(stem.loudness_lufs) for name, stem in stems.items()}
            for method, stems in rendered.stems.items()
        },
        "spread_lu": {method.name: _finite_spreads(method) for method in judged},
    }


def _finite_spreads(method: MethodBalance) -> dict[str, dict[str, float | None]]:
    return {
        judge: {name: _finite(value) for name, value in spreads.items()}
        for judge, spreads in method.spread_lu.items()
    }
