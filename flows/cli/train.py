"""The commands that train a controller and that tell what one is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.command import Flags, command
from flows.cli.options import OutputOption, StoreOption, local_folder
from flows.cli.terminal import Screen, number
from pipeline.errors import InputError, Problem, Problems

if TYPE_CHECKING:
    from flows.progress import Progress
    from flows.settings import MixSettings
    from flows.storage.locations import Place
    from flows.training.settings import TrainingSettings

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
@command("engine", "dask", "workers", "store")
def train(
    screen: Screen,
    flags: Flags,
    config: Annotated[
        Path, typer.Argument(help="TOML file: songs, learning, network.", metavar="CONFIG")
    ],
    output: OutputOption = None,
    store: StoreOption = None,
) -> int:
    """Train a controller as CONFIG says, or go on with a run that was interrupted.

    Writes weights, their record and card, and the curves, to watch in curves.html meanwhile.
    """
    # It loads torch, which --help does without.
    from flows.training.settings import load_training_settings

    problems = Problems()
    folder = None
    with problems.collected():
        folder = local_folder(output, "--output")
    with problems.collected():
        chosen = flags.settings()
    with problems.collected():
        workers = None if problems else flags.given["workers"]
        settings = load_training_settings(config, output=folder, workers=workers)
    problems.raise_all()
    return _train(screen, config, chosen, settings, store)


def _train(
    screen: Screen,
    config: Path,
    chosen: MixSettings,
    settings: TrainingSettings,
    store: Place | None,
) -> int:
    # These load torch too.
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
    from stage2.training.checkpoint import HELD_OUT  # it loads torch

    begun, held_out = False, ""

    def on_step(done: int, total: int, row: dict[str, float]) -> None:
        nonlocal begun, held_out
        if not begun:
            progress.start("learn", total - done + 1)
            begun = True
        metrics = {
            name.removeprefix(HELD_OUT): value
            for name, value in row.items()
            if name.startswith(HELD_OUT)
        }
        label = f"step {done} of {total}, loss {row['loss']:.3f}"
        if metrics:
            held_out = f"; held out: {_figures(metrics)}"
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


@app.command()
@command(speech=("as_json",))
def model(
    screen: Screen,
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Weights, or the folder of a training run; default the shipped ones.",
            metavar="[PATH]",
        ),
    ] = None,
) -> int:
    """Say what a controller is: data, training, metrics, limits."""
    # These load torch, which --help does without.
    from flows.training.model_card import model_card
    from stage2.controller.weights_file import SHIPPED, load_record

    weights = path or SHIPPED
    if weights.is_dir():
        weights = weights / SHIPPED.name
    record = weights.with_suffix(".json")
    try:
        model_record = load_record(weights)
    except (OSError, ValueError) as error:
        remedy = "name weights that have their record beside them"
        raise InputError([Problem(str(record), f"cannot be read ({error})", remedy)]) from error
    screen.result(model_record)
    if not screen.as_json:
        screen.out.file.write(model_card(model_record))
    return 0
