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
import numpy.typing as npt
import torch

from pipeline.delivery import fit_delivery
from pipeline.loudness import measure
from pipeline.plan import BUS, STRIP, Aspect, Parameter, default_settings
from pipeline.processors import Bus, Strip
from pipeline.units import FloatArray
from stage2.bands import BandModel, ModelledMix, digest_stems, frame_powers
from stage2.envelopes import RANGES_HZ
from stage2.style import (
    SCALES,
    SPECTRUM_FLOOR_DB,
    THIRD_OCTAVES_HZ,
    WIDTH_FLOOR_DB,
    Style,
    StyleDistance,
    measure_style,
    style_distance,
)

__all__ = ["HIGHEST_STEM_LU", "RefineOptions", "Refined", "StemInput", "blend_settings", "refine"]

Float64 = npt.NDArray[np.float64]

# Crest that the limiter takes off after the compressors; left to it, it is inaudible.
_LIMITER_CREST_DB = 2.5
# Price of jumps between neighbouring bands of the bus: follow a tilt, not single notes.
_ROUGH_EQ = 0.2
#: No stem may be louder than this against the sum of all: a part is not the whole.
HIGHEST_STEM_LU = -0.5
_BANDS = len(THIRD_OCTAVES_HZ)
_WIDTH = _BANDS
_RANGES = slice(_BANDS + 1, _BANDS + 1 + len(RANGES_HZ))
_IMBALANCE = _RANGES.stop
_PUNCH = slice(_IMBALANCE + 1, _IMBALANCE + 1 + len(RANGES_HZ))
_CREST = _PUNCH.stop


@dataclass(frozen=True)
class StemInput:
    """One stem as refinement sees it.

    Parameters
    ----------
    name
        The subgroup's name.
    audio
        The balanced stem, ``(2, frames)``; all stems of one length.
    gain_db
        Fader that gives the intended balance; refinement starts there.
    centred
        Whether its pan must stay in the middle.
    max_spread
        How much decorrelated side it may get, 0 to 1.
    """

    name: str
    audio: FloatArray
    gain_db: float
    centred: bool = False
    max_spread: float = 0.7


@dataclass(frozen=True)
class RefineOptions:
    """How refinement works.

    Parameters
    ----------
    match
        Aspects of the style to follow; parameters of the others stay neutral.
    corridor_lu
        How far a stem may leave the intended balance, in LU.
    aligned_corridor_lu
        The same where the reference is a mix of this very song, and so tells the levels.
    rounds, steps
        Real renders, and gradient steps before each.
    rate
        Adam's step in normalised parameters.
    """

    match: frozenset[Aspect] = frozenset(Aspect)
    corridor_lu: float = 2.5
    aligned_corridor_lu: float = 9.0
    rounds: int = 4
    steps: int = 60
    rate: float = 0.06


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


class _Space:
    """Maps normalised 0..1 vectors to settings within the safe ranges."""

    def __init__(self, table: tuple[Parameter, ...], count: int) -> None:
        self.names = [p.name for p in table]
        self.low = np.tile([p.safe_low for p in table], (count, 1)).astype(np.float64)
        self.high = np.tile([p.safe_high for p in table], (count, 1)).astype(np.float64)
        self.start = np.tile([p.default for p in table], (count, 1)).astype(np.float64)
        self.log = np.asarray([p.scale == "log" for p in table])
        self.start = np.clip(self.start, self.low, self.high)

    def column(self, name: str) -> int:
        return self.names.index(name)

    def hold(self, name: str, row: int | slice = slice(None), value: float | None = None) -> None:
        """Keep a parameter where it starts, or at ``value``."""
        column = self.column(name)
        if value is not None:
            self.start[row, column] = value
        self.low[row, column] = self.start[row, column]
        self.high[row, column] = self.start[row, column]

    def _warp(self, values: Float64) -> Float64:
        return np.where(self.log, np.log(np.where(self.log, np.maximum(values, 1e-9), 1.0)), values)

    def normalised_start(self) -> torch.Tensor:
        low, high, start = self._warp(self.low), self._warp(self.high), self._warp(self.start)
        span = np.where(high > low, high - low, 1.0)
        return torch.from_numpy(np.clip((start - low) / span, 0.0, 1.0))

    def settings(self, normalised: torch.Tensor) -> torch.Tensor:
        low, high = torch.from_numpy(self._warp(self.low)), torch.from_numpy(self._warp(self.high))
        warped = low + (high - low) * normalised
        log = torch.from_numpy(self.log)
        return torch.where(log, torch.exp(torch.where(log, warped, 0.0)), warped)


def _as_dicts(values: torch.Tensor, table: tuple[Parameter, ...]) -> tuple[dict[str, float], ...]:
    rows = np.atleast_2d(values.detach().numpy())
    return tuple(
        {p.name: float(np.clip(value, p.low, p.high)) for p, value in zip(table, row, strict=True)}
        for row in rows
    )


def _strip_space(
    stems: Sequence[StemInput], match: frozenset[Aspect], loud_db: Sequence[float]
) -> _Space:
    space = _Space(STRIP, len(stems))
    for row, stem in enumerate(stems):
        gain = space.column("gain_db")
        space.start[row, gain] = stem.gain_db
        space.low[row, gain] = max(stem.gain_db - 12.0, STRIP[0].low)
        space.high[row, gain] = min(stem.gain_db + 12.0, STRIP[0].high)
        spread = space.column("spread")
        space.high[row, spread] = stem.max_spread
        # off zero, where a decorrelated side has no gradient
        space.start[row, spread] = min(0.1, stem.max_spread)
        pan = space.column("pan")
        space.low[row, pan], space.high[row, pan] = -0.5, 0.5
        # a threshold under the loud moments, so that the ratio has a gradient from the start
        threshold = space.column("threshold_db")
        space.start[row, threshold] = np.clip(loud_db[row] + stem.gain_db - 3.0, -60.0, -1.0)
        if stem.centred:
            space.hold("pan", row)
        if stem.max_spread == 0.0:
            space.high[row, space.column("width")] = 1.0
    space.hold("makeup_db")
    space.hold("knee_db")
    _hold_aspects(space, STRIP, match)
    return space


def _bus_space(match: frozenset[Aspect], sample_rate: int) -> _Space:
    space = _Space(BUS, 1)
    space.start[0, space.column("threshold_db")] = -15.0
    space.start[0, space.column("attack_ms")] = 30.0
    for frequency, parameter in zip(THIRD_OCTAVES_HZ, BUS, strict=False):
        if frequency > 0.4 * sample_rate:
            space.hold(parameter.name)
    space.hold("gain_db")
    space.hold("makeup_db")
    space.hold("knee_db")
    _hold_aspects(space, BUS, match)
    return space


def _hold_aspects(space: _Space, table: tuple[Parameter, ...], match: frozenset[Aspect]) -> None:
    for parameter in table:
        if parameter.aspect not in match:
            value = None if parameter.aspect is Aspect.LEVEL else parameter.default
            space.hold(parameter.name, value=value)


def _near(error: torch.Tensor, *, within: float = 0.3) -> torch.Tensor:
    """Return an absolute value with a smooth bottom."""
    return torch.sqrt(error.square() + within * within) - within


class _Objective:
    """The distance to the reference, with guardrails, as the optimiser sees it."""

    def __init__(
        self,
        reference: Style,
        options: RefineOptions,
        *,
        intended_lufs: torch.Tensor,
        aligned: torch.Tensor | None,
    ) -> None:
        self.spectrum = torch.tensor(reference.spectrum_db, dtype=torch.float64)
        self.width = max(reference.width_db, WIDTH_FLOOR_DB)
        self.ranges = torch.tensor(reference.width_by_range_db, dtype=torch.float64)
        self.imbalance = reference.imbalance_db
        self.punch = torch.tensor(reference.punch_by_range_db, dtype=torch.float64)
        self.crest = reference.crest_db
        self.match = options.match
        self.intended = intended_lufs - intended_lufs.mean()
        self.corridor = options.corridor_lu
        self.aligned: torch.Tensor | None = None
        if aligned is not None:
            self.corridor = options.aligned_corridor_lu
            self.aligned = 10.0 * torch.log10(aligned + 1e-12)
            self.audible = (self.aligned > self.aligned.max() - 55.0).double()
        self.offset = torch.zeros(_CREST + 1, dtype=torch.float64)
        self.stem_offset = torch.zeros_like(intended_lufs)
        self.sum_offset = 0.0

    def __call__(self, mix: ModelledMix, strips: torch.Tensor, bus: torch.Tensor) -> torch.Tensor:
        figures = mix.features + self.offset
        spectrum = figures[:_BANDS]
        spectrum = torch.maximum(spectrum, spectrum.detach().max() + SPECTRUM_FLOOR_DB)
        difference = spectrum - self.spectrum
        loss = torch.zeros((), dtype=torch.float64)
        if Aspect.EQ in self.match:
            centred = difference - difference.mean()
            loss = loss + _near(centred).mean() / SCALES["spectrum_db"] * 2.0
        if Aspect.WIDTH in self.match:
            loss = loss + _near(figures[_WIDTH] - self.width) / SCALES["width_db"]
            ranges = torch.clamp(figures[_RANGES], min=WIDTH_FLOOR_DB)
            loss = loss + 0.5 * _near(ranges - self.ranges).mean() / SCALES["width_db"]
        if {Aspect.PAN, Aspect.WIDTH} & self.match:
            imbalance = figures[_IMBALANCE] - self.imbalance
            loss = loss + _near(imbalance, within=0.05) / SCALES["imbalance_db"]
        if Aspect.DYNAMICS in self.match:
            over = torch.relu(figures[_CREST] - self.crest - _LIMITER_CREST_DB)
            under = torch.relu(self.crest - figures[_CREST])
            loss = loss + (over + under) / SCALES["crest_db"]
            punch = figures[_PUNCH] - self.punch
            loss = loss + _near(punch).mean() / SCALES["crest_db"]
        if self.aligned is not None and mix.frames is not None:
            level = 10.0 * torch.log10(mix.frames + 1e-12)
            apart = level - self.aligned
            count = self.audible.sum().clamp_min(1.0)
            apart = (apart - (apart * self.audible).sum() / count) * self.audible
            loss = loss + 2.0 * _near(apart, within=1.0).sum() / count / SCALES["spectrum_db"]
        level = mix.stem_lufs + self.stem_offset
        moved = level - level.mean() - self.intended
        outside = torch.relu(moved.abs() - self.corridor * 0.9)
        loss = loss + outside.square().mean() * 2.0 + moved.square().mean() * 0.002
        above = torch.relu(level - (mix.sum_lufs + self.sum_offset) - HIGHEST_STEM_LU + 0.3)
        loss = loss + above.square().mean() * 2.0
        return loss + self._effort(strips, bus)

    @staticmethod
    def _effort(strips: torch.Tensor, bus: torch.Tensor) -> torch.Tensor:
        """Return the price of settings: of two ways to one sound, the smaller move."""
        strip_eq = [i for i, p in enumerate(STRIP) if p.name.endswith("_gain_db")]
        bus_eq = bus[[i for i, p in enumerate(BUS) if p.name.startswith("eq_")]]
        ratio = strips[:, [p.name for p in STRIP].index("ratio")]
        pan = strips[:, [p.name for p in STRIP].index("pan")]
        return (
            (strips[:, strip_eq] / 6.0).square().mean() * 0.03
            + (bus_eq / 6.0).square().mean() * 0.03
            + (bus_eq.diff() / 6.0).square().mean() * _ROUGH_EQ
            + torch.log(ratio).square().mean() * 0.01
            + pan.square().mean() * 0.02
        )


def _render(
    stems: Sequence[StemInput],
    strips: Sequence[Mapping[str, float]],
    bus: Mapping[str, float],
    sample_rate: int,
) -> tuple[FloatArray, list[FloatArray], FloatArray]:
    """Render the excerpt for real: the mix up to the limiter, the stems, and their sum."""
    processed = []
    total = np.zeros(stems[0].audio.shape, dtype=np.float64)
    for stem, settings in zip(stems, strips, strict=True):
        out = Strip(settings, sample_rate=sample_rate).process(stem.audio)
        processed.append(out)
        total += out
    return np.asarray(Bus(bus, sample_rate=sample_rate).process(total)), processed, total


def _loudness(audio: FloatArray, sample_rate: int) -> float:
    return measure(audio.astype(np.float32), sample_rate=sample_rate).integrated_lufs


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
    loud = [
        10.0 * math.log10(float(np.percentile(digest.envelope[i].sum(axis=1), 90)) + 1e-12)
        for i in range(digest.stems)
    ]
    strip_space = _strip_space(stems, options.match, loud)
    bus_space = _bus_space(options.match, sample_rate)
    variables = [
        strip_space.normalised_start().requires_grad_(True),
        bus_space.normalised_start().requires_grad_(True),
    ]

    def evaluate() -> tuple[ModelledMix, torch.Tensor, torch.Tensor]:
        strips = strip_space.settings(variables[0])
        bus = bus_space.settings(variables[1])[0]
        return model(strips, bus, with_frames=truth is not None), strips, bus

    truth = None
    if aligned is not None:
        truth = torch.from_numpy(frame_powers(aligned, sample_rate=sample_rate, bands=digest.bands))
    with torch.no_grad():
        first, strips, bus = evaluate()
    objective = _Objective(reference, options, intended_lufs=first.stem_lufs, aligned=truth)
    optimiser = torch.optim.Adam(variables, lr=options.rate, betas=(0.9, 0.98))
    total_steps = options.rounds * options.steps
    history: list[StyleDistance] = []
    best: tuple[float, torch.Tensor, torch.Tensor] | None = None
    level_start = None
    drive_db: float | None = None
    for turn in range(options.rounds + 1):
        with torch.no_grad():
            modelled, strips, bus = evaluate()
        mix, processed, total = _render(
            stems, _as_dicts(strips, STRIP), _as_dicts(bus, BUS)[0], sample_rate
        )
        delivered = fit_delivery(
            mix,
            sample_rate=sample_rate,
            target_lufs=target_lufs,
            ceiling_dbtp=ceiling_dbtp,
            crest_db=reference.crest_db if Aspect.DYNAMICS in options.match else None,
            start_drive_db=drive_db,
        )
        drive_db = delivered.drive_db
        style = measure_style(delivered.audio, sample_rate=sample_rate)
        before_limiter = measure_style(mix.astype(np.float32), sample_rate=sample_rate)
        rendered = torch.tensor(
            [
                *style.spectrum_db,
                style.width_db,
                *style.width_by_range_db,
                style.imbalance_db,
                *style.punch_by_range_db,
                before_limiter.crest_db,
            ],
            dtype=torch.float64,
        )
        level = torch.tensor(
            [_loudness(out, sample_rate) for out in processed], dtype=torch.float64
        )
        level_start = level if level_start is None else level_start
        history.append(style_distance(style, reference))
        objective.offset = rendered - modelled.features
        objective.stem_offset = level - modelled.stem_lufs
        objective.sum_offset = _loudness(total, sample_rate) - float(modelled.sum_lufs)
        with torch.no_grad():
            price = float(objective(modelled, strips, bus))
        price += history[-1].crest_db / SCALES["crest_db"]
        if best is None or price < best[0]:
            best = (price, strips.clone(), bus.clone())
            level_end = level
        if turn == options.rounds:
            break
        for group in optimiser.param_groups:
            group["lr"] = options.rate * 0.6**turn
        for step in range(options.steps):
            optimiser.zero_grad()
            loss = objective(*evaluate())
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                for variable in variables:
                    variable.clamp_(0.0, 1.0)
            if on_step is not None:
                on_step(turn * options.steps + step + 1, total_steps)
    assert best is not None
    assert level_start is not None
    moved = (level_end - level_end.mean()) - (level_start - level_start.mean())
    return Refined(
        strips=tuple(_tidy(s, STRIP) for s in _as_dicts(best[1], STRIP)),
        bus=_tidy(_as_dicts(best[2], BUS)[0], BUS),
        start=history[0],
        end=min(history, key=lambda distance: distance.total),
        history=tuple(history),
        level_change_lu=tuple(float(v) for v in moved),
    )


def _tidy(settings: dict[str, float], table: tuple[Parameter, ...]) -> dict[str, float]:
    """Return readable settings: what does nothing goes back to neutral."""
    neutral = default_settings(table)
    tidy = {name: round(value, 4) for name, value in settings.items()}
    if tidy["ratio"] < 1.02:
        for name in ("threshold_db", "ratio", "attack_ms", "release_ms", "knee_db"):
            tidy[name] = neutral[name]
    for name in tidy:
        if name.endswith("_gain_db") and abs(tidy[name]) < 0.05:
            tidy[name] = 0.0
            stem = name.removesuffix("_gain_db")
            for part in (f"{stem}_frequency_hz", f"{stem}_q"):
                if part in tidy:
                    tidy[part] = neutral[part]
    return tidy


def blend_settings(
    settings: Mapping[str, float],
    table: tuple[Parameter, ...],
    strength: float,
    *,
    start: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return settings between neutral (strength 0) and ``settings`` (strength 1).

    Parameters
    ----------
    settings
        Complete settings of the table.
    table
        ``STRIP`` or ``BUS``.
    strength
        0 to 1. Gains, pan and widths move in their own unit, ratios geometrically; frequencies,
        qualities and times stay, since they do nothing where the gain or ratio is neutral.
    start
        Where strength 0 lies, for parameters that do not start at the table's default.
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength is {strength:g}: use a value from 0 to 1")
    neutral = default_settings(table) | dict(start or {})
    out = dict(settings)
    for name in settings:
        moves = name.endswith("gain_db") or name in {"width", "spread", "pan", "makeup_db"}
        if moves:
            out[name] = neutral[name] + strength * (settings[name] - neutral[name])
    out["ratio"] = settings["ratio"] ** strength
    return out
