"""The command that mixes a session."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table
from rich.text import Text

from flows.cli.command import FILE, Flags, command
from flows.cli.options import OutputOption, SessionArgument, StoreOption, called
from flows.cli.terminal import EXIT_SKIPPED, Screen, number, printable, rounded
from flows.engines.run import begin_engine
from flows.storage.locations import Place

if TYPE_CHECKING:
    from flows.mix.result import MixOutcome
    from flows.settings import MixSettings

__all__ = ["app", "mix_shown", "present_mix"]

app = typer.Typer(add_completion=False)


@app.command()
@command(
    *("references", "genre", "output", "target", "ceiling_dbtp", "strength", "match", "quality"),
    *("controller", "method", "time_stamps", "full_length", "sample_rate", "format", "subtype"),
    *("keep", "collect", "f0_mode", "title", "artist", "album", "date", "seed", FILE),
    *("skip_bad", "salvage", "max_minutes", "engine", "dask", "workers", "store"),
)
def mix(
    screen: Screen,
    flags: Flags,
    session: SessionArgument,
    output: OutputOption = None,
    store: StoreOption = None,
) -> int:
    """Mix SESSION, in the style of the reference if one is given."""
    screen.begin(f"mixing {called(session)}")
    return mix_shown(screen, session, flags.settings(), output, store)


def mix_shown(
    screen: Screen,
    session: Place,
    settings: MixSettings,
    output: Place | None,
    store: Place | None,
) -> int:
    """Mix a session while the screen shows it; return the exit status."""
    begin_engine(settings.engine, settings.dask)
    # A command says what it begins before what takes seconds to load.
    from flows.mix.recipe import mix_session

    with screen.progress() as progress:
        outcome = mix_session(
            session, settings=settings, folder=output, store=store, progress=progress
        )
    present_mix(screen, outcome)
    return EXIT_SKIPPED if outcome.analysed.session.skipped else 0


def present_mix(screen: Screen, outcome: MixOutcome) -> None:
    """Show a finished mix: the summary, and the paths of everything written."""
    screen.result(_record(outcome))
    if screen.quiet or screen.as_json:
        return
    session, loudness = outcome.analysed.session, outcome.mixdown.loudness
    screen.table(_stem_table(outcome))
    distances = outcome.distances()
    if distances:
        screen.table(_distance_table(distances))
    for left in session.left_out:
        screen.say(f"left out: {left.name} ({left.why})")
    for problem in session.skipped:
        screen.say(f"skipped: {problem}")
    for warning in (*outcome.warnings, *outcome.findings()):
        screen.say(f"note: {warning}")
    summary = "the mix is silent"
    if math.isfinite(loudness.integrated_lufs):
        summary = f"{loudness.integrated_lufs:.1f} LUFS (target {outcome.target_lufs:.1f})"
        summary += f", true peak {loudness.true_peak_dbtp:.2f} dBTP"
    screen.say(f"{summary}, {outcome.seconds:.1f} s")
    if screen.verbose:
        screen.say(_steps_told(outcome.steps))
    for name, path in outcome.files.items():
        screen.say(f"{name}: {path}")


def _record(outcome: MixOutcome) -> dict[str, Any]:
    """Return what ``--json`` gives."""
    session, loudness = outcome.analysed.session, outcome.mixdown.loudness
    record: dict[str, Any] = {
        "folder": str(outcome.folder),
        "mix": str(outcome.files.get("mix", "")),
        "files": {name: str(path) for name, path in outcome.files.items()},
        "tracks": len(outcome.plan.tracks),
        "integrated_lufs": number(loudness.integrated_lufs),
        "true_peak_dbtp": number(loudness.true_peak_dbtp),
        "target_lufs": outcome.target_lufs,
        "skipped": [problem.subject for problem in session.skipped],
        "left_out": [item.name for item in session.left_out],
        "warnings": list(outcome.warnings),
        "findings": [str(finding) for finding in outcome.findings()],
        "steps": dict(outcome.steps),
        "seconds": round(outcome.seconds, 2),
    }
    distances = outcome.distances()
    return record | ({"distance": distances["this mix"]} if distances else {})


def _stem_table(outcome: MixOutcome) -> Table:
    name, tracks = outcome.analysed.session.root.name, outcome.plan.tracks
    table = Table(title=f"{name}: {len(tracks)} tracks", title_justify="left")
    table.add_column("stem", overflow="fold")
    for heading in ("tracks", "level LU", "intended LU", "compression dB"):
        table.add_column(heading, justify="right")
    for name, summary in outcome.stems.items():
        table.add_row(
            Text(printable(name)),
            str(sum(track.subgroup == name for track in tracks)),
            rounded(outcome.stem_levels_lu[name]),
            rounded(outcome.stem_targets_lu.get(name, math.nan)),
            f"{summary.compression.max_db:.1f}",
        )
    return table


def _distance_table(distances: Mapping[str, Mapping[str, float]]) -> Table:
    """Return a row for each figure of style: how far the reference is from each mix, dB or LU."""
    table = Table(title="distance from the reference (dB, LU)", title_justify="left")
    for label in ("", *distances):
        table.add_column(label, justify="right" if label else "left")
    for name in next(iter(distances.values())):
        figure = name.removesuffix("_db").removesuffix("_lu").replace("_", " ")
        table.add_row(figure, *(f"{figures[name]:.2f}" for figures in distances.values()))
    return table


def _steps_told(steps: Mapping[str, Any]) -> str:
    by_step = ", ".join(
        f"{name} {row['done']} + {row['found']}" for name, row in steps["by_step"].items()
    )
    return (
        f"steps: {steps['done']} done, {steps['found']} found in the store "
        f"(done + found: {by_step})"
    )
