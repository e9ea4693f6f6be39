"""Find the console settings that bring a set of stems to the style of a reference.

Settings start neutral and are optimised by gradient through the band model; after each round the
excerpt is rendered for real, and the difference between the rendered and the modelled figures is
added to the model. Guardrails keep it music: stem levels stay in a corridor around the intended
balance, EQ and ratios within the tables' safe ranges, and bass, kick and lead vocal centred.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from pipeline.delivery import fit_delivery, median_crest_db
from pipeline.loudness import integrated_loudness
from pipeline.plan import BUS, STRIP, Aspect, default_settings
from pipeline.processors import Bus, Strip
from pipeline.units import FloatArray
from stage2.bands import BandModel, ModelledMix, digest_stems, frame_powers
from stage2.objective import HIGHEST_STEM_LU, Objective, RefineOptions, figures_of
from stage2.space import StemInput, as_dicts, blend_settings, bus_space, strip_space, tidy
from stage2.style import SCALES, Style, StyleDistance, measure_style, style_distance

__all__ = ["HIGHEST_STEM_LU", "RefineOptions", "Refined", "StemInput", "blend_settings", "refine"]


@dataclass(frozen=True)
class Refined:
    """What refinement found.

    Parameters
    ----------
    strips
        Settings per stem, in the order of the stems.
    bus
        Settings of the bus, its ``gain_db`` and the delivery's trim not included.
    start, end
        Distance of the excerpt from the reference before and after.
    history
        The distance after each real render.
    level_change_lu
        What became of each stem's level against the others, in LU.
    """

    strips: tuple[dict[str, float], ...]
    bus: dict[str, float]
    start: StyleDistance
    end: StyleDistance
    history: tuple[StyleDistance, ...]
    level_change_lu: tuple[float, ...] = field(default=())


@dataclass(frozen=True)
class _Rendered:
    """An excerpt rendered for real: the mix before the limiter, and meters of its parts.

    ``reductions_db`` holds the most that each strip's compressor took off, and last the bus's.
    """

    mix: FloatArray
    stem_lufs: list[float]
    sum_lufs: float
    reductions_db: list[float]


@dataclass(frozen=True)
class _Found:
    """Settings that were rendered, and how good they are; the lower the price the better."""

    price: float
    strips: torch.Tensor
    bus: torch.Tensor
    rendered: _Rendered
    distance: StyleDistance


def _render(
    stems: Sequence[StemInput],
    strips: Sequence[Mapping[str, float]],
    bus: Mapping[str, float],
    sample_rate: int,
) -> _Rendered:
    """Render the excerpt for real, up to the limiter."""
    processed, reductions = [], []
    total = np.zeros(stems[0].audio.shape, dtype=np.float64)
    for stem, settings in zip(stems, strips, strict=True):
        strip = Strip(settings, sample_rate=sample_rate)
        out = strip.process(stem.audio)
        processed.append(_loudness(out, sample_rate))
        reductions.append(strip.compressor.gain_reduction.max_db)
        total += out
    whole = _loudness(total, sample_rate)
    chain = Bus(bus, sample_rate=sample_rate)
    mix = np.asarray(chain.process(total))
    reductions.append(chain.compressor.gain_reduction.max_db)
    return _Rendered(mix, processed, whole, reductions)


def _loudness(audio: FloatArray, sample_rate: int) -> float:
    return integrated_loudness(audio, sample_rate=sample_rate)


def refine(
    stems: Sequence[StemInput],
    reference: Style,
    *,
    sample_rate: int,
    target_lufs: float,
    ceiling_dbtp: float,
    aligned: FloatArray | None = None,
    options: RefineOptions | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Refined:
    """Find the settings that bring ``stems`` to the style ``reference``.

    Parameters
    ----------
    stems
        The balanced stems of an excerpt; silent ones must be left out.
    reference
        The wanted style, measured or blended.
    sample_rate
        Of the stems, in Hz.
    target_lufs, ceiling_dbtp
        The delivery that the style is judged after.
    aligned
        The reference cut to the excerpt's time line, ``(2, frames)``, where it is a mix of this
        very song.
    options
        Defaults to following every aspect.
    on_step
        Called with the steps done and the steps in all.

    Returns
    -------
    Refined
        The best of the rendered settings.
    """
    options = options or RefineOptions()
    digest = digest_stems([stem.audio for stem in stems], sample_rate=sample_rate)
    model = BandModel(digest)
    strip_axes = strip_space(stems, options.match, [_loud_db(e) for e in digest.envelope])
    bus_axes = bus_space(options.match, sample_rate)
    variables = [
        strip_axes.normalised_start().requires_grad_(True),
        bus_axes.normalised_start().requires_grad_(True),
    ]

    def evaluate() -> tuple[ModelledMix, torch.Tensor, torch.Tensor]:
        strips = strip_axes.settings(variables[0])
        bus = bus_axes.settings(variables[1])[0]
        return model(strips, bus, with_frames=truth is not None), strips, bus

    def judge(mix: FloatArray, start_drive_db: float | None) -> tuple[Style, float]:
        """Return the style of a mix as it would be delivered, and the drive that takes."""
        delivered = fit_delivery(
            mix,
            sample_rate=sample_rate,
            target_lufs=target_lufs,
            ceiling_dbtp=ceiling_dbtp,
            crest_db=reference.crest_db if Aspect.DYNAMICS in options.match else None,
            start_drive_db=start_drive_db,
        )
        return measure_style(delivered.audio, sample_rate=sample_rate), delivered.drive_db

    truth = None
    if aligned is not None:
        truth = torch.from_numpy(frame_powers(aligned, sample_rate=sample_rate, bands=digest.bands))
    with torch.no_grad():
        first, strips, bus = evaluate()
    optimiser = torch.optim.Adam(variables, lr=options.rate, betas=(0.9, 0.98))
    total_steps = options.rounds * options.steps
    history: list[StyleDistance] = []
    found: list[_Found] = []  # each better than the one before
    neutral = [default_settings(STRIP) | {"gain_db": stem.gain_db} for stem in stems]
    before = _render(stems, neutral, default_settings(BUS), sample_rate)
    style, drive_db = judge(before.mix, None)
    start = style_distance(style, reference)
    balanced = torch.tensor(before.stem_lufs, dtype=torch.float64)
    intended = torch.where(torch.isfinite(balanced), balanced, first.stem_lufs)
    objective = Objective(reference, options, intended_lufs=intended, aligned=truth)
    for turn in range(options.rounds + 1):
        with torch.no_grad():
            modelled, strips, bus = evaluate()
        rendered = _render(stems, as_dicts(strips, STRIP), as_dicts(bus, BUS)[0], sample_rate)
        style, drive_db = judge(rendered.mix, drive_db)
        distance = style_distance(style, reference)
        history.append(distance)
        stem_lufs = torch.tensor(rendered.stem_lufs, dtype=torch.float64)
        crest_db = median_crest_db(rendered.mix, sample_rate=sample_rate)
        objective.correct(
            modelled,
            figures=figures_of(style, crest_db=crest_db),
            stem_lufs=stem_lufs,
            sum_lufs=rendered.sum_lufs,
        )
        with torch.no_grad():
            price = float(objective(modelled, strips, bus))
        price += distance.crest_db / SCALES["crest_db"]
        if not found or price < found[-1].price:
            found.append(_Found(price, strips, bus, rendered, distance))
        if turn == options.rounds:
            break
        for group in optimiser.param_groups:
            group["lr"] = options.rate * 0.6**turn
        for step in range(options.steps):
            optimiser.zero_grad()
            loss = objective(*evaluate())
            loss.backward()
            with torch.no_grad():
                for variable in variables:
                    assert variable.grad is not None
                    variable.grad.nan_to_num_(0.0, 0.0, 0.0)
            optimiser.step()
            with torch.no_grad():
                for variable in variables:
                    variable.clamp_(0.0, 1.0)
            if on_step is not None:
                on_step(turn * options.steps + step + 1, total_steps)
    best = found[-1]
    reductions_db = best.rendered.reductions_db
    return Refined(
        strips=tuple(
            tidy(settings, STRIP, reduction_db)
            for settings, reduction_db in zip(
                as_dicts(best.strips, STRIP), reductions_db[:-1], strict=True
            )
        ),
        bus=tidy(as_dicts(best.bus, BUS)[0], BUS, reductions_db[-1]),
        start=start,
        end=best.distance,
        history=tuple(history),
        level_change_lu=_level_changes(intended, best.rendered),
    )


def _loud_db(envelope: FloatArray) -> float:
    """Return the power of a stem, ``(frames, bands)``, in the loud moments of where it plays."""
    power = envelope.sum(axis=1)
    playing = power[power >= 1e-3 * power.max()]
    return 10.0 * math.log10(float(np.percentile(playing, 75)) + 1e-12)


def _level_changes(intended_lufs: torch.Tensor, end: _Rendered) -> tuple[float, ...]:
    """Return what became of each stem's level against the mean of all, in LU."""
    moved = np.asarray(end.stem_lufs) - intended_lufs.numpy()
    moved = np.where(np.isfinite(moved), moved, 0.0)
    return tuple(float(value) for value in moved - moved.mean())
