"""The recipe of training: songs made or balanced, digested, learned from, and recorded."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flows.dashboard.tags import Listing, run_tags
from flows.engines.base import Engine
from flows.engines.run import EngineName, SharedFolders, run_recipe
from flows.engines.threads import one_blas_thread
from flows.progress import Progress
from flows.storage.locations import Place
from flows.storage.output_folder import place_problems
from flows.storage.store import Store, chosen_root, made_whole
from flows.training.model_card import write_card
from flows.training.page import write_training_page
from flows.training.settings import TrainingSettings, load_training_settings
from flows.training.steps import (
    RecordedSong,
    SynthesisedSong,
    recorded_song_step,
    synthesised_song_step,
)
from pipeline.errors import InputError
from stage2.controller.weights_file import load_record
from stage2.training.checkpoint import run_problems
from stage2.training.examples import TrainingSong, load_song
from stage2.training.train import TrainingResult, identity_of, train_controller

__all__ = ["TrainingSettings", "load_training_settings", "train", "train_recipe"]

OnStep = Callable[[int, int, dict[str, float]], None]


def train_recipe(
    engine: Engine,
    settings: TrainingSettings,
    *,
    config: str = "",
    store: Place | None = None,
    on_step: OnStep | None = None,
) -> TrainingResult:
    """Make the songs, train the controller on them, and write weights, record and card.

    Parameters
    ----------
    engine
        Where songs are made; learning runs in this process.
    settings
        Of the run.
    config
        The text that they were read from, for the record.
    store
        The cache of steps; the user's own by default.
    on_step
        Told of each step of learning: done, total, what was measured.

    Raises
    ------
    InputError
        If the output folder holds another run or other files; before any song is made, unless
        only the songs differ.
    """
    folder, told = settings.output, settings.songs
    problems = run_problems(folder, identity_of(settings.options()))
    problems += place_problems(folder, "name another one with --output")
    problems += Store.problems_of(chosen_root(store))
    if problems:
        raise InputError(problems)
    with one_blas_thread():
        place = chosen_root(store)
        made, balanced = made_whole(lambda: _songs(engine, settings, place), place)
    learned, held_out = made[: -told.held_out], made[-told.held_out :]

    def write_page(curves: Sequence[Mapping[str, float]]) -> None:
        write_training_page(
            folder / "curves.html", curves, steps=settings.learning.steps, title=folder.name
        )

    result = train_controller(
        _usable([load_song(path) for path in (*learned, *balanced * told.repeat_sessions)]),
        _usable([load_song(path) for path in held_out]),
        options=settings.options(),
        folder=folder,
        record={
            "sources": list(told.sources),
            "synthesised": len(learned),
            "recorded": [path.name for path in told.sessions],
            "commit": _commit(),
            "versions": {
                name: importlib.metadata.version(name) for name in ("stemwright", "torch", "numpy")
            },
            "config": config,
        },
        on_step=on_step,
        on_checkpoint=write_page,
    )
    card = write_card(result.weights.with_suffix(".md"), load_record(result.weights))
    engine.publish_markdown("training", card, title=folder.name)
    engine.log(f"weights: {result.weights}")
    return result


def _songs(
    engine: Engine, settings: TrainingSettings, store: Place
) -> tuple[list[Path], list[Path]]:
    """Return the files of the synthesised songs and of the recorded ones."""
    told = settings.songs
    seeds = [told.first_seed + i for i in range(told.synthesised)]
    made = engine.map(
        synthesised_song_step,
        [SynthesisedSong(seed, told.seconds, told.one_shots, store) for seed in seeds],
        name="songs",
        labels=[f"song {seed}" for seed in seeds],
    )
    kept = Store(store)
    made = [kept.local(path) for path in made]
    if not told.sessions:
        return made, []
    balanced = engine.map(
        recorded_song_step,
        [RecordedSong(path, store) for path in told.sessions],
        name="sessions",
        labels=[path.name for path in told.sessions],
    )
    return made, [kept.local(path) for path in balanced]


def train(
    settings: TrainingSettings,
    *,
    config: str = "",
    store: Place | None = None,
    engine: EngineName = "auto",
    dask: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    on_step: OnStep | None = None,
) -> TrainingResult:
    """Run :func:`train_recipe` on the engine of that name, in Prefect as a flow ``train``.

    Parameters
    ----------
    workers
        Songs at a time; default one a core.
    progress
        Told of the songs.
    config, store, on_step
        As for :func:`train_recipe`.
    """

    def recipe(chosen: Engine) -> TrainingResult:
        return train_recipe(chosen, settings, config=config, store=store, on_step=on_step)

    songs = settings.songs
    return run_recipe(
        settings.output.name,
        recipe,
        engine=engine,
        dask=dask,
        workers=workers,
        progress=progress,
        folders=SharedFolders(
            reads=[path for path in (*songs.sessions, *songs.one_shots) if path.is_dir()],
            writes=[chosen_root(store)],
        ),
        listing=Listing("train", run_tags("train")),
    )


def _usable(songs: Sequence[TrainingSong]) -> list[TrainingSong]:
    """Return the songs of two passages and two stems or more."""
    return [s for s in songs if len(s.passages) > 1 and len(s.subgroups) > 1]


def _commit(file: Path = Path(__file__)) -> str:
    """Return the commit that the code is at, or nothing where it is no checkout.

    Code that was changed since says so. A package that is installed somewhere below a checkout of
    something else is none.
    """

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=file.parent, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", file.name)
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit}, with changes" if changed else commit
