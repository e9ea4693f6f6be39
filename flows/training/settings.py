"""The settings of a training run, from a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic import field_validator as check

from pipeline.errors import InputError
from pipeline.text_files import parse_toml, read_text
from pipeline.validation import invalid, problems_from
from stage2.controller.inputs import SHARES
from stage2.controller.network import ControllerSize
from stage2.training.train import TrainingOptions

__all__ = [
    "LearningSettings",
    "NetworkSettings",
    "SongSettings",
    "TrainingSettings",
    "load_training_settings",
]


def _folder(path: Path, info: ValidationInfo) -> Path:
    """Return a folder named in a file; one that is not absolute lies beside the file."""
    whole = _beside(path, info)
    if not whole.is_dir():
        raise invalid(f"is {str(path)!r}, which is no folder", "name one that is there")
    return whole


def _beside(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("base", "")) / path.expanduser()


_Folder = Annotated[Path, AfterValidator(_folder)]


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
        Name, licence and credit of each thing that is recorded, for the card.
    """

    synthesised: int = Field(default=200, ge=2)
    first_seed: int = Field(default=1, ge=0)
    seconds: float = Field(default=36.0, ge=15.0, le=1200.0)
    one_shots: tuple[_Folder, ...] = ()
    sessions: tuple[_Folder, ...] = ()
    repeat_sessions: int = Field(default=1, ge=1)
    held_out: int = Field(default=16, ge=1)
    sources: tuple[str, ...] = ()

    @check("held_out")
    @classmethod
    def _leaves_some(cls, value: int, info: ValidationInfo) -> int:
        made = info.data.get("synthesised", value + 1)
        if value >= made:
            raise invalid(
                f"is {value} of {made} synthesised songs", "hold out fewer than there are"
            )
        return value


class LearningSettings(_Section):
    """How it is learned: see :class:`stage2.training.train.TrainingOptions`."""

    steps: int = Field(default=TrainingOptions.steps, ge=1)
    batch: int = Field(default=TrainingOptions.batch, ge=1)
    rate: float = Field(default=TrainingOptions.rate, gt=0.0, le=1.0)
    warm_up: int = Field(default=TrainingOptions.warm_up, ge=1)
    weight_decay: float = Field(default=TrainingOptions.weight_decay, ge=0.0)
    average: float = Field(default=TrainingOptions.average, ge=0.0, lt=1.0)
    seed: int = Field(default=TrainingOptions.seed, ge=0)
    validate_every: int = Field(default=TrainingOptions.validate_every, ge=1)
    validation_examples: int = Field(default=TrainingOptions.validation_examples, ge=1)
    checkpoint_every: int = Field(default=TrainingOptions.checkpoint_every, ge=1)
    device: Literal["cpu", "cuda"] = "cpu"
    workers: int = Field(default=TrainingOptions.workers, ge=1)

    @check("device")
    @classmethod
    def _is_there(cls, value: str) -> str:
        if value == "cuda" and not torch.cuda.is_available():
            raise invalid("is 'cuda', and torch finds no such device", "use 'cpu'")
        return value


class NetworkSettings(_Section):
    """The shape of the network: see :class:`stage2.controller.network.ControllerSize`."""

    width: int = Field(default=ControllerSize.width, ge=20)
    blocks: int = Field(default=ControllerSize.blocks, ge=1)
    heads: int = Field(default=ControllerSize.heads, ge=SHARES)
    passes: int = Field(default=ControllerSize.passes, ge=1, le=8)

    @check("heads")
    @classmethod
    def _share_the_width(cls, value: int, info: ValidationInfo) -> int:
        width = info.data.get("width", value)
        if width % value:
            raise invalid(f"is {value}, of a width of {width}", "use heads that divide the width")
        return value


class TrainingSettings(_Section):
    """A whole training run.

    Parameters
    ----------
    output
        Folder of the run: checkpoint, curves, and the weights with their record and card.
    """

    output: Path = Field(json_schema_extra={"remedy": "name a new folder there, or with --output"})
    songs: SongSettings = SongSettings()
    learning: LearningSettings = LearningSettings()
    network: NetworkSettings = NetworkSettings()

    def options(self) -> TrainingOptions:
        """Return how the controller is trained."""
        return TrainingOptions(
            **self.learning.model_dump(), size=ControllerSize(**self.network.model_dump())
        )


def load_training_settings(
    path: Path, *, output: Path | None = None, workers: int | None = None
) -> TrainingSettings:
    """Read the settings of a training run from a TOML file; paths in it are relative to it.

    Parameters
    ----------
    output, workers
        Over what the file says.

    Raises
    ------
    InputError
        With all that is wrong in the file.
    """
    values = parse_toml(read_text(path, remedy="name a TOML file that exists"), str(path))
    if output is not None:
        values["output"] = output.absolute()
    if workers is not None:
        learning = values.setdefault("learning", {})
        if isinstance(learning, dict):
            learning["workers"] = workers
    base = path.absolute().parent
    try:
        settings = TrainingSettings.model_validate(values, context={"base": base})
    except ValidationError as error:
        raise InputError(
            problems_from(
                error, TrainingSettings, lambda location: f"{path} [{'.'.join(map(str, location))}]"
            )
        ) from error
    return settings.model_copy(update={"output": base / settings.output.expanduser()})
