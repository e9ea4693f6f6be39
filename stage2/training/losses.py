"""What a prediction is worth: the loss of settings, heard through the band model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pipeline.console.parameters import BUS, STRIP, Aspect, ParameterTable
from stage2.console.band_model import ModelledMix
from stage2.controller.network import Moves
from stage2.priors.price import StemPrice, settings_price
from stage2.style.broad import Broad, before_limiter
from stage2.style.target import StylePrice, segment_spread
from stage2.training.examples import Example

__all__ = ["Heard", "Lesson", "errors_of", "lesson_loss"]

_AUDIBLE_DB = 55.0
_FREE_LEVEL_LU = 1.0
_POSTERIOR, _FRAMES_DB = 0.4, 3.0


@dataclass(frozen=True)
class Lesson:
    """Settings of several sessions, in the units of :class:`stage2.console.action_space.Reach`.

    ``strips`` and ``bus`` are moves so far, ``(batch, stems, len(STRIP))`` and
    ``(batch, len(BUS))``; the spreads are logarithms, of the same shapes.
    """

    strips: Tensor
    bus: Tensor
    strips_log_spread: Tensor
    bus_log_spread: Tensor

    @classmethod
    def start(cls, batch: int, stems: int, device: str = "cpu") -> Lesson:
        """Return the settings that every session starts from."""
        strips = torch.zeros(batch, stems, len(STRIP), device=device)
        bus = torch.zeros(batch, len(BUS), device=device)
        return cls(strips, bus, torch.zeros_like(strips), torch.zeros_like(bus))

    def moved(self, moves: Moves) -> Lesson:
        """Return the settings one pass later."""
        return Lesson(
            self.strips + moves.strips.float(),
            self.bus + moves.bus.float(),
            moves.strips_log_spread.float(),
            moves.bus_log_spread.float(),
        )

    def detached(self) -> Lesson:
        """Return the same numbers on the processor, without their history."""
        return Lesson(*(getattr(self, f.name).detach().cpu() for f in fields(self)))

    def of(self, index: int, example: Example) -> tuple[Tensor, Tensor]:
        """Return the moves of one session, without the padding."""
        return self.strips[index, : example.reach.stems], self.bus[index]

    def backward(self, gradients: Sequence[Lesson]) -> None:
        """Send the gradients of each session's loss into the network."""
        whole = Lesson(*(torch.zeros_like(getattr(self, f.name)) for f in fields(self)))
        for index, gradient in enumerate(gradients):
            count = gradient.strips.shape[0]
            scale = 1.0 / len(gradients)
            whole.strips[index, :count] = gradient.strips * scale
            whole.strips_log_spread[index, :count] = gradient.strips_log_spread * scale
            whole.bus[index] = gradient.bus * scale
            whole.bus_log_spread[index] = gradient.bus_log_spread * scale
        names = [f.name for f in fields(self)]
        torch.autograd.backward(
            [getattr(self, n) for n in names], [getattr(whole, n) for n in names]
        )


@dataclass(frozen=True)
class Heard:
    """The loss of one session and its gradient in the settings and the spreads."""

    loss: float
    gradient: Lesson


def _frames_apart(mix: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return differences of levels per frame and band in dB, and where they are audible."""
    level = 10.0 * torch.log10(truth + 1e-12)
    audible = (level > level.max() - _AUDIBLE_DB).double()
    apart = 10.0 * torch.log10(mix + 1e-12) - level
    count = audible.sum().clamp_min(1.0)
    return (apart - (apart * audible).sum() / count) * audible, audible


def _stem_errors(mix: ModelledMix, example: Example) -> Tensor:
    """Return how far each stem's level against the others is from the truth's, or the balance's."""
    balanced_lufs = example.balanced.stem_lufs
    wanted = balanced_lufs if example.truth is None else example.truth.stem_lufs
    apart = mix.stem_lufs - wanted
    sounds = balanced_lufs > balanced_lufs.max() - 50.0
    apart = torch.where(sounds, apart, 0.0)
    return torch.where(sounds, apart - apart.sum() / sounds.sum(), 0.0)


def _posterior(mix: ModelledMix, example: Example, strips: Tensor, bus: Tensor) -> Tensor:
    """Return the price that refinement minimises, per stem, for the example's reference."""
    target = StylePrice(example.reference.double(), segment_spread())
    price = target(before_limiter(mix.features))
    on_strips, on_bus = settings_price(example.subgroups, frozenset(Aspect))
    price = price + on_strips(strips) + on_bus(bus[None])
    return (price + StemPrice(example.subgroups, example.balanced)(mix)) / len(strips)


def _settings_loss(parts: Tensor, truth: Tensor, log_spread: Tensor, weight: Tensor) -> Tensor:
    """Return a Gaussian's negative log likelihood, weighed as in Seitzer et al. (2022)."""
    spread = torch.exp(log_spread)
    loss = 0.5 * ((parts - truth.clamp(0.0, 1.0)) / spread).square() + log_spread
    return (loss * spread.detach() * weight).sum() / weight.sum().clamp_min(1.0)


def _tells(settings: Tensor, table: ParameterTable, free: Tensor) -> Tensor:
    """Return how much each true setting can be heard, 0 to 1: what a flat band is tuned to, not."""
    column = table.columns
    weight = torch.ones_like(settings)
    ratio = (settings[..., column["ratio"]] - 1.0).clamp(0.0, 1.0)
    for name in ("threshold_lu", "attack_ms", "release_ms"):
        weight[..., column[name]] = ratio
    for band in table.eq_bands:
        gain = settings[..., column[band.gain_name]]
        for driven in (band.frequency_hz, band.q):
            if isinstance(driven, str):
                weight[..., column[driven]] = (gain.abs() / 3.0).clamp(max=1.0)
    return weight * free


def lesson_loss(example: Example, told: Lesson, index: int) -> Heard:
    """Hear the settings of one session through the band model.

    Parameters
    ----------
    told
        Settings of all sessions, without history.
    index
        Which of them is the example's.
    """
    count = example.reach.stems
    leaves = [
        told.strips[index, :count].double(),
        told.bus[index].double(),
        told.strips_log_spread[index, :count].double(),
        told.bus_log_spread[index].double(),
    ]
    for leaf in leaves:
        leaf.requires_grad_(True)
    strips, bus = example.reach.settings(leaves[0], leaves[1])
    mix = example.model(strips, bus, with_frames=example.truth is not None)
    loss = _POSTERIOR * _posterior(mix, example, strips, bus)
    level = _stem_errors(mix, example)
    truth = example.truth
    if truth is not None and mix.frames is not None:
        apart, audible = _frames_apart(mix.frames, truth.frames)
        near = torch.sqrt(apart.square() + 1.0) - 1.0
        loss = loss + 0.5 * near.sum() / audible.sum() / _FRAMES_DB
        loss = loss + 0.5 * level.abs().mean() / _FRAMES_DB
        parts = example.reach.parts(strips, bus)
        wanted = example.reach.parts(truth.strips, truth.bus)
        free = example.reach.free()
        weights = (
            _tells(truth.strips, STRIP, free[0].double()),
            _tells(truth.bus, BUS, free[1].double()),
        )
        for k in range(2):
            loss = loss + 0.3 * _settings_loss(parts[k], wanted[k], leaves[2 + k], weights[k])
    else:
        outside = torch.relu(level.abs() - _FREE_LEVEL_LU)
        loss = loss + 0.5 * outside.square().mean() + 0.1 * level.square().mean()
    loss.backward()
    gradient = [
        torch.nan_to_num(leaf.grad, 0.0, 0.0, 0.0).float()
        if leaf.grad is not None
        else torch.zeros_like(leaf, dtype=torch.float32)
        for leaf in leaves
    ]
    return Heard(float(loss.detach()), Lesson(*gradient))


@torch.no_grad()
def errors_of(example: Example, told: Lesson, index: int) -> dict[str, float]:
    """Return the errors of settings, in dB or LU; NaN where there is no truth to tell them."""
    strips, bus = example.reach.settings(*told.of(index, example))
    mix = example.model(strips, bus, with_frames=example.truth is not None)
    apart = before_limiter(mix.features) - example.reference.double()
    spectrum = apart[Broad.SPECTRUM] - apart[Broad.SPECTRUM].mean()
    typical = apart[Broad.TYPICAL] - apart[Broad.TYPICAL].mean()
    out = {
        "spectrum_db": float(spectrum.abs().mean()),
        "typical_spectrum_db": float(typical.abs().mean()),
        "width_db": float(apart[Broad.WIDTH].abs()),
        "width_by_range_db": float(apart[Broad.RANGES].abs().mean()),
        "imbalance_db": float(apart[Broad.IMBALANCE].abs()),
        "punch_db": float(apart[Broad.PUNCH].abs().mean()),
        "price": float(_posterior(mix, example, strips, bus)),
        "frames_db": float("nan"),
        "level_lu": float("nan"),
    }
    if example.truth is not None and mix.frames is not None:
        frames, audible = _frames_apart(mix.frames, example.truth.frames)
        out["frames_db"] = float(frames.abs().sum() / audible.sum())
        out["level_lu"] = float(_stem_errors(mix, example).abs().mean())
    return out
