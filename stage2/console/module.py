"""The console as a torch module over the plan's parameter tables.

Settings are vectors of values from 0 to 1 in the order of :data:`pipeline.console.parameters.STRIP`
and :data:`pipeline.console.parameters.BUS`; the tables give each its range and scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.console.parameters import (
    BUS,
    BUS_EQ_BANDS,
    STRIP,
    STRIP_EQ_BANDS,
    WORKING_LUFS,
    Parameter,
    default_settings,
)
from pipeline.units import db_to_amplitude
from stage2.console import functional

__all__ = [
    "Console",
    "ConsoleOutput",
    "denormalise",
    "neutral",
    "normalise",
    "to_settings",
]

Table = tuple[Parameter, ...]


def normalise(settings: Mapping[str, float | Tensor], table: Table) -> Tensor:
    """Return settings as a float64 vector of values from 0 to 1, shape (..., parameters).

    Each setting is a number or a tensor of one common shape (...).
    """
    columns = []
    for parameter in table:
        value = torch.as_tensor(settings[parameter.name], dtype=torch.float64)
        low, high = parameter.low, parameter.high
        if parameter.scale == "log":
            value, low, high = torch.log(value), math.log(low), math.log(high)
        columns.append((value - low) / (high - low))
    return torch.stack(torch.broadcast_tensors(*columns), dim=-1)


def denormalise(vector: Tensor, table: Table) -> dict[str, Tensor]:
    """Return the settings, each of shape (...), of a vector of shape (..., parameters).

    Raises
    ------
    ValueError
        If the vector's length is not that of the table.
    """
    if vector.shape[-1] != len(table):
        msg = f"vector holds {vector.shape[-1]} values: the table has {len(table)} parameters"
        raise ValueError(msg)
    settings = {}
    for parameter, value in zip(table, vector.unbind(-1), strict=True):
        if parameter.scale == "log":
            ratio = math.log(parameter.high / parameter.low)
            settings[parameter.name] = parameter.low * torch.exp(value * ratio)
        else:
            settings[parameter.name] = parameter.low + value * (parameter.high - parameter.low)
    return settings


def neutral(table: Table) -> Tensor:
    """Return the vector of the table's defaults, shape (parameters,), float64."""
    return normalise(default_settings(table), table)


def to_settings(vector: Tensor, table: Table) -> dict[str, float]:
    """Return one vector's settings as the numbers of a plan, held within the table's ranges."""
    settings = denormalise(vector.detach().to(torch.float64), table)
    return {
        p.name: min(max(float(settings[p.name]), p.low), p.high)  # exp(log(x)) may miss by an ulp
        for p in table
    }


@dataclass(frozen=True)
class ConsoleOutput:
    """What the console gives back.

    Parameters
    ----------
    mix
        Before the limiter, shape (batch, 2, frames).
    stems
        After their strips, shape (batch, stems, 2, frames).
    """

    mix: Tensor
    stems: Tensor


class Console(nn.Module):
    """Strips and bus of the renderer, differentiable in all their settings.

    Parameters
    ----------
    sample_rate
        In Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate

    def strip(self, stems: Tensor, settings: Mapping[str, Tensor], *, level_lufs: Tensor) -> Tensor:
        """Process stems (..., 2, frames) with settings and levels of shape (...).

        The de-esser, which is set by rule and not by gradient, is left out.
        """
        x = functional.equalise(stems, settings, STRIP_EQ_BANDS, sample_rate=self.sample_rate)
        x = functional.compress(x, settings, level_lufs=level_lufs, sample_rate=self.sample_rate)
        x = functional.stereo_image(
            x, width=settings["width"], spread=settings["spread"], sample_rate=self.sample_rate
        )
        x = functional.pan(x, settings["pan"])
        return x * _amplitude(settings["gain_db"], x)

    def bus(self, mix: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """Process a sum of stems (..., 2, frames) up to the limiter, settings of shape (...)."""
        x = functional.equalise(mix, settings, BUS_EQ_BANDS, sample_rate=self.sample_rate)
        x = functional.compress(x, settings, level_lufs=WORKING_LUFS, sample_rate=self.sample_rate)
        x = functional.stereo_image(
            x, width=settings["width"], spread=None, sample_rate=self.sample_rate
        )
        return x * _amplitude(settings["gain_db"], x)

    def forward(
        self, stems: Tensor, strip_params: Tensor, bus_params: Tensor, *, levels_lufs: Tensor
    ) -> ConsoleOutput:
        """Mix stems.

        Parameters
        ----------
        stems
            Shape (batch, stems, 2, frames), float32 or float64.
        strip_params
            Values from 0 to 1, shape (batch, stems, len(STRIP)).
        bus_params
            Values from 0 to 1, shape (batch, len(BUS)).
        levels_lufs
            Loudness of each stem, shape (batch, stems): thresholds are relative to it.

        Raises
        ------
        ValueError
            If a shape does not fit or a value lies outside 0..1.
        """
        batch, count = stems.shape[:2]
        for name, vector, shape in (
            ("strip_params", strip_params, (batch, count, len(STRIP))),
            ("bus_params", bus_params, (batch, len(BUS))),
        ):
            if tuple(vector.shape) != shape:
                raise ValueError(f"{name} has shape {tuple(vector.shape)}: pass {shape}")
            if not bool(((vector >= 0.0) & (vector <= 1.0)).all()):
                raise ValueError(f"{name} leaves 0..1: squash it first, e.g. by a sigmoid")
        settings = denormalise(strip_params, STRIP)
        processed = self.strip(stems, settings, level_lufs=levels_lufs)
        mix = self.bus(processed.sum(dim=1), denormalise(bus_params, BUS))
        return ConsoleOutput(mix=mix, stems=processed)


def _amplitude(gain_db: Tensor, like: Tensor) -> Tensor:
    """Return gains (...) as factors that broadcast over ``like`` (..., 2, frames)."""
    return torch.exp(gain_db * math.log(db_to_amplitude(1.0)))[..., None, None].to(like.dtype)
