"""The commands that train a controller and that tell what one is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    DaskOption,
    EngineOption,
    JsonOption,
    OutputOption,
    QuietOption,
    StoreOption,
    VerboseOption,
    WorkersOption,
    chosen_settings,
    local_folder,
)
from flows.cli.terminal import Screen, guard, number
from pipeline.errors import InputError, Problem

if TYPE_CHECKING:
    from flows.progress import Progress
    from flows.settings import MixSettings
    from flows.storage.locations import Place
    from flows.training.settings import TrainingSettings

__all__ = ["add_train_commands"]


def add_train_commands(app: typer.Typer) -> None:
    """Add ``train`` and ``model`` to the command line."""
    app.command()(train)
    app.command()(model)


def train(
    config: Annotated[
        Path, typer.Argument(help="TOML file: songs, learning, network.", metavar="CONFIG")
    ],
    output: OutputOption = None,
    engine: EngineOption = None,
    dask: DaskOption = None,
    workers: WorkersOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Train a controller as CONFIG says, or go on with a run that was interrupted.

    Writes weights, their record and card, and the curves, to watch in curves.html meanwhile.
    """
    screen = Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        chosen, settings = _settings(
            config, output=output, engine=engine, dask=dask, workers=workers
        )
        return _train(screen, config, chosen, settings, store)

    guard(screen, work)


def _settings(
    config: Path, *, output: str | None, engine: str | None, dask: str | None, workers: int | None
) -> tuple[MixSettings, TrainingSettings]:
    """Return the settings of the flags and of the file; raise with all that is wrong in both."""
    from flows.training.settings import load_training_settings

    problems: list[Problem] = []
    folder = None
    try:
        folder = local_folder(output, "--output")
    except InputError as error:
        problems += error.problems
    try:
        chosen = chosen_settings(None, {"engine": engine, "dask": dask, "workers": workers})
    except InputError as error:
        problems += error.problems
    try:
        settings = load_training_settings(
            config, output=folder, workers=None if problems else workers
        )
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return chosen, settings


def _train(
    screen: Screen,
    config: Path,
    chosen: MixSettings,
    settings: TrainingSettings,
    store: Place | None,
) -> int:
    from flows.training.recipe import train as run
    from stage2.training.checkpoint import steps_done

    total, done = settings.learning.steps, steps_done(settings.output)
    if done:
        screen.say(f"goes on after step {done} of {total}" if done < total else "has ended already")
    try:
        with screen.progress() as progress:
            result = run(
                settings,
                config=config.read_text(encoding="utf-8-sig"),
                store=store,
                engine=chosen.engine,
                dask=chosen.dask,
                workers=chosen.workers,
                progress=progress,
                on_step=_teller(screen, progress),
            )
    except KeyboardInterrupt:
        screen.say(f"stopped after step {steps_done(settings.output)}: the same command goes on")
        raise
    folder = result.weights.parent
    screen.result(
        {
            "folder": str(folder),
            "weights": str(result.weights),
            "resumed_from_step": done,
            "steps": total,
            "seconds": round(result.seconds, 1),
            "steps_per_s": number(result.steps_per_s),
            "metrics": {name: number(value) for name, value in result.metrics.items()},
        }
    )
    screen.say(f"{total} steps in {result.seconds:.0f} s, {result.steps_per_s:.2g} a second")
    screen.say(f"held out: {_figures(result.metrics)}")
    for name, file in (
        ("weights", result.weights.name),
        ("record", result.weights.with_suffix(".json").name),
        ("card", result.weights.with_suffix(".md").name),
        ("curves", "curves.html"),
    ):
        screen.say(f"{name}: {folder / file}")
    return 0


def _teller(screen: Screen, progress: Progress) -> Callable[[int, int, dict[str, float]], None]:
    """Return what shows the steps as a phase, and where there is no terminal says figures too."""
    from stage2.training.checkpoint import HELD_OUT

    begun, held_out = False, ""

    def on_step(done: int, total: int, row: dict[str, float]) -> None:
        nonlocal begun, held_out
        if not begun:
            progress.start("learn", total - done + 1)
            begun = True
        heard = {
            name.removeprefix(HELD_OUT): value
            for name, value in row.items()
            if name.startswith(HELD_OUT)
        }
        label = f"step {done} of {total}, loss {row['loss']:.3f}"
        if heard:
            held_out = f"; held out: {_figures(heard)}"
            if not (screen.quiet or screen.as_json or screen.errors.is_terminal):
                screen.errors.print(label + held_out)
        progress.advance("learn", label + held_out)
        if done == total:
            progress.finish("learn")

    return on_step


def _figures(metrics: dict[str, float]) -> str:
    return ", ".join(
        f"{name.removesuffix('_db').removesuffix('_lu').replace('_', ' ')} {value:.2f} "
        f"{'LU' if name.endswith('_lu') else 'dB'}"
        for name, value in metrics.items()
        if not name.endswith(" closed")
    )


def model(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Weights, or the folder of a training run; default the shipped ones.",
            metavar="[PATH]",
        ),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Say what a controller is: data, training, metrics, limits."""
    screen = Screen(quiet=False, verbose=False, as_json=json_)

    def work() -> int:
        from flows.training.model_card import model_card
        from stage2.controller.weights_file import SHIPPED, load_record

        weights = path or SHIPPED
        if weights.is_dir():
            weights = weights / SHIPPED.name
        record = weights.with_suffix(".json")
        try:
            told = load_record(weights)
        except (OSError, ValueError) as error:
            remedy = "name weights that have their record beside them"
            raise InputError([Problem(str(record), f"cannot be read ({error})", remedy)]) from error
        screen.result(told)
        if not json_:
            screen.out.file.write(model_card(told))
        return 0

    guard(screen, work)
