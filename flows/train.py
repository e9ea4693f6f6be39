"""The recipe of training: songs made or balanced, digested, learned from, and recorded."""

from __future__ import annotations

import importlib.metadata
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from flows.engine import Engine
from flows.store import default_root
from flows.train_steps import (
    RecordedSong,
    SynthesisedSong,
    recorded_song_step,
    synthesised_song_step,
)
from pipeline.problems import InputError, Problem, suggest
from stage2.controller import ControllerSize
from stage2.scenes import TrainingSong, load_song
from stage2.training import TrainingOptions, TrainingResult, train_controller

__all__ = ["TrainingSettings", "load_training_settings", "train_recipe"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SongSettings(_Section):
    """What is learned from.

    Parameters
    ----------
    synthesised, first_seed, seconds
        How many songs the corpus makes, the seed of the first, and how long they are.
    one_shots
        Folders of single sounds that the corpus may play.
    sessions
        Folders of raw tracks, each balanced by stage 1.
    repeat_sessions
        How often a recorded session counts as against a synthesised song.
    held_out
        How many of the synthesised songs, the last ones, are for validation.
    sources
        Name and licence of what is recorded, for the card.
    """

    synthesised: int = Field(default=200, ge=0)
    first_seed: int = Field(default=1, ge=0)
    seconds: float = Field(default=36.0, ge=15.0)
    one_shots: tuple[Path, ...] = ()
    sessions: tuple[Path, ...] = ()
    repeat_sessions: int = Field(default=1, ge=1)
    held_out: int = Field(default=16, ge=1)
    sources: tuple[str, ...] = ()


class LearningSettings(_Section):
    """How it is learned: see :class:`stage2.training.TrainingOptions`."""

    steps: int = Field(default=4000, ge=1)
    batch: int = Field(default=12, ge=1)
    rate: float = Field(default=6e-4, gt=0.0)
    warm_up: int = Field(default=200, ge=1)
    weight_decay: float = Field(default=0.01, ge=0.0)
    average: float = Field(default=0.998, ge=0.0, lt=1.0)
    seed: int = Field(default=0, ge=0)
    validate_every: int = Field(default=250, ge=1)
    validation_examples: int = Field(default=48, ge=1)
    checkpoint_every: int = Field(default=250, ge=1)
    device: str = Field(default="cpu", pattern="^(cpu|cuda)$")
    workers: int = Field(default=1, ge=1)


class NetworkSettings(_Section):
    """The shape of the network: see :class:`stage2.controller.ControllerSize`."""

    width: int = Field(default=200, ge=20)
    blocks: int = Field(default=4, ge=1)
    heads: int = Field(default=10, ge=5)
    passes: int = Field(default=3, ge=1, le=8)


class TrainingSettings(_Section):
    """A whole training run.

    Parameters
    ----------
    output
        Folder of the run: checkpoint, curves, and the weights with their record.
    """

    output: Path
    songs: SongSettings = SongSettings()
    learning: LearningSettings = LearningSettings()
    network: NetworkSettings = NetworkSettings()

    def options(self) -> TrainingOptions:
        """Return how the controller is trained."""
        return TrainingOptions(
            **self.learning.model_dump(), size=ControllerSize(**self.network.model_dump())
        )


def load_training_settings(path: Path) -> TrainingSettings:
    """Read the settings of a training run from a TOML file; paths in it are relative to it.

    Raises
    ------
    InputError
        With all that is wrong in the file.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            [Problem(str(path), f"cannot be read ({error})", "name a TOML file that exists")]
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError([Problem(str(path), f"is not TOML ({error})", "mend it there")]) from error
    try:
        settings = TrainingSettings.model_validate(told)
    except ValidationError as error:
        raise InputError([_problem(path, e) for e in error.errors(include_url=False)]) from error
    base = path.parent

    def beside(folder: Path) -> Path:
        return base / folder.expanduser()

    songs = settings.songs.model_copy(
        update={
            "one_shots": tuple(beside(p) for p in settings.songs.one_shots),
            "sessions": tuple(beside(p) for p in settings.songs.sessions),
        }
    )
    missing = [p for p in (*songs.one_shots, *songs.sessions) if not p.is_dir()]
    if missing:
        raise InputError([Problem(str(p), "is no folder", f"mend it in {path}") for p in missing])
    if songs.held_out >= songs.synthesised:
        raise InputError(
            [
                Problem(
                    f"{path} [songs.held_out]",
                    f"is {songs.held_out} of {songs.synthesised} synthesised songs",
                    "hold out fewer than there are",
                )
            ]
        )
    return settings.model_copy(update={"songs": songs, "output": beside(settings.output)})


_SECTIONS: dict[str, type[BaseModel]] = {
    "songs": SongSettings,
    "learning": LearningSettings,
    "network": NetworkSettings,
}


def _problem(path: Path, detail: ErrorDetails) -> Problem:
    names = [str(part) for part in detail["loc"]]
    subject = f"{path} [{'.'.join(names)}]"
    if detail["type"] == "extra_forbidden":
        section = _SECTIONS.get(names[0], TrainingSettings) if names[1:] else TrainingSettings
        return Problem(subject, "is no setting", suggest(names[-1], list(section.model_fields)))
    return Problem(subject, f"is {detail['input']!r}", detail["msg"].lower())


def train_recipe(
    engine: Engine,
    settings: TrainingSettings,
    *,
    store: Path | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> TrainingResult:
    """Make the songs, train the controller on them, and write weights and record.

    Parameters
    ----------
    engine
        Where songs are made; learning runs in this process.
    settings
        Of the run.
    store
        The cache of steps; the user's own by default.
    on_step
        Told of each step of learning: done, total, what was measured.
    """
    began = time.monotonic()
    place = store or default_root()
    told = settings.songs
    seeds = [told.first_seed + i for i in range(told.synthesised)]
    made = engine.map(
        synthesised_song_step,
        [SynthesisedSong(seed, told.seconds, told.one_shots, place) for seed in seeds],
        name="songs",
        labels=[f"song {seed}" for seed in seeds],
    )
    balanced = engine.map(
        recorded_song_step,
        [RecordedSong(path, place) for path in told.sessions],
        name="sessions",
        labels=[path.name for path in told.sessions],
    )
    learned, held_out = made[: len(made) - told.held_out], made[len(made) - told.held_out :]
    songs = _usable([load_song(path) for path in (*learned, *balanced * told.repeat_sessions)])
    result = train_controller(
        songs,
        _usable([load_song(path) for path in held_out]),
        options=settings.options(),
        folder=settings.output,
        record={
            "sources": list(told.sources),
            "synthesised": len(learned),
            "recorded": [path.name for path in told.sessions],
            "commit": _commit(),
            "versions": {
                name: importlib.metadata.version(name) for name in ("stemwright", "torch", "numpy")
            },
        },
        on_step=on_step,
    )
    engine.publish_markdown(
        "training",
        f"**{settings.learning.steps} steps** in {time.monotonic() - began:.0f} s: "
        f"`{result.weights}`",
        title=settings.output.name,
    )
    return result


def _usable(songs: list[TrainingSong]) -> list[TrainingSong]:
    """Return the songs of two passages and two stems or more."""
    return [s for s in songs if len(s.passages) > 1 and len(s.subgroups) > 1]


def _commit() -> str:
    """Return the commit that the code is at, or nothing where it is no checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
