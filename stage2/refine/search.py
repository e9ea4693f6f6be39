"""Refinement: console settings as a maximum a posteriori estimate, checked on rendered sound.

Settings start where the controller's prediction puts them, or where engineers usually have them,
and follow the gradient of their price through the band model; after each round passages of the
excerpt are rendered for real, and the difference between the rendered and the modelled figures is
added to the model. Whatever wins is then held to smooth curves and modest gain reduction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.console.parameters import BUS, STRIP, Aspect
from pipeline.units import FloatArray
from stage2.console.band_model import BandModel, ModelledMix
from stage2.console.search_space import (
    Start,
    StemInput,
    as_dicts,
    blend_settings,
    bus_space,
    strip_space,
    tidy,
)
from stage2.console.statistics import Digest, digest_stems, frame_powers
from stage2.console.tame import smooth_equaliser, softer
from stage2.priors.engineers import bus_prior, reduction_limits, strip_prior
from stage2.refine.adam import Descent
from stage2.refine.objective import HIGHEST_STEM_LU, Objective, RefineOptions
from stage2.refine.render_check import Trial, Trials, passages
from stage2.style.measure import StyleDistance, style_distance
from stage2.style.target import StyleTarget

__all__ = [
    "HIGHEST_STEM_LU",
    "RefineOptions",
    "Refined",
    "Start",
    "StemInput",
    "blend_settings",
    "refine",
    "settle",
    "typical_settings",
]

# The rate falls by so much from one round to the next.
_COOLING = 0.6
# After the last render, which is of the whole excerpt: to go where that shows that it lies.
_LAST_STEPS, _LAST_RATE = 25, 0.2
# Turns in which thresholds are raised until compressors take off little enough.
_SOFTER_TURNS = 5
# The whole song may be louder than the passages are: reductions are held this far within limits.
_MARGIN = 0.9
_BUS_EQ_DB, _STRIP_EQ_DB = 3.9, 5.9


@dataclass(frozen=True)
class Refined:
    """Refined settings, and what they do.

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
    predicted
        Distance of the prediction, within the guardrails; None where there was none.
    """

    strips: tuple[dict[str, float], ...]
    bus: dict[str, float]
    start: StyleDistance
    end: StyleDistance
    history: tuple[StyleDistance, ...]
    level_change_lu: tuple[float, ...] = field(default=())
    predicted: StyleDistance | None = None


@dataclass(frozen=True)
class _Candidate:
    """Settings that were tried, and their price."""

    price: float
    strips: Tensor
    bus: Tensor


def typical_settings(stems: Sequence[StemInput]) -> Start:
    """Return what engineers usually do, on the balance, within each stem's guardrails."""
    strips = []
    for stem in stems:
        settings = strip_prior(stem.name).typical() | {"gain_db": stem.gain_db, **stem.deesser}
        settings["spread"] = min(settings["spread"], stem.guard.max_spread)
        settings["high_pass_hz"] = min(settings["high_pass_hz"], stem.guard.highest_high_pass_hz)
        if stem.guard.max_spread == 0.0:
            settings["width"] = min(settings["width"], 1.0)
        strips.append(settings)
    return Start(tuple(strips), bus_prior().typical())


def refine(
    stems: Sequence[StemInput],
    target: StyleTarget,
    *,
    sample_rate: int,
    target_lufs: float,
    ceiling_dbtp: float,
    start: Start | None = None,
    digest: Digest | None = None,
    aligned: FloatArray | None = None,
    options: RefineOptions | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Refined:
    """Find the most likely settings of ``stems`` under the style ``target``.

    Parameters
    ----------
    stems
        The balanced stems of an excerpt; silent ones must be left out.
    target
        The wanted style.
    sample_rate
        Of the stems, in Hz.
    target_lufs, ceiling_dbtp
        The delivery that the style is judged after.
    start
        Predicted settings to begin at, clamped into what the guardrails allow; None for what
        engineers usually do.
    digest
        Of the stems, where it is known already.
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
        The best of the settings that were tried.

    Raises
    ------
    ValueError
        If ``start`` has other strips than the stems, or settings that are missing or not finite.
    """
    options = options or RefineOptions()
    search = _Search(
        stems,
        target,
        options,
        sample_rate=sample_rate,
        target_lufs=target_lufs,
        ceiling_dbtp=ceiling_dbtp,
        start=start,
        digest=digest,
        aligned=aligned,
    )
    descent = Descent(search.points)
    rounds, steps = options.rounds, options.steps
    for turn in range(rounds):
        search.judge()
        for step in range(steps):
            descent.step(search.loss, options.rate * _COOLING**turn)
            if on_step is not None:
                on_step(turn * steps + step + 1, rounds * steps)
    search.judge_whole()
    descent = Descent(search.points)
    for _ in range(_LAST_STEPS):
        descent.step(search.loss, options.rate * _LAST_RATE)
    return search.result()


def settle(
    stems: Sequence[StemInput],
    start: Start,
    target: StyleTarget,
    *,
    sample_rate: int,
    target_lufs: float,
    ceiling_dbtp: float,
    match: frozenset[Aspect] = frozenset(Aspect),
    digest: Digest | None = None,
) -> Refined:
    """Take a prediction as it is: within the guardrails, tidied, rendered once and judged.

    Parameters are those of :func:`refine`; aspects that are not in ``match`` stay neutral.

    Raises
    ------
    ValueError
        As :func:`refine` does.
    """
    search = _Search(
        stems,
        target,
        RefineOptions(match=match),
        sample_rate=sample_rate,
        target_lufs=target_lufs,
        ceiling_dbtp=ceiling_dbtp,
        start=start,
        digest=digest,
        aligned=None,
    )
    search.judge()
    return search.result()


class _Search:
    """One refinement: where it stands, and the best of what it tried."""

    def __init__(
        self,
        stems: Sequence[StemInput],
        target: StyleTarget,
        options: RefineOptions,
        *,
        sample_rate: int,
        target_lufs: float,
        ceiling_dbtp: float,
        start: Start | None,
        digest: Digest | None,
        aligned: FloatArray | None,
    ) -> None:
        self._target, self._rate, self._stems = target, sample_rate, stems
        self._match = options.match
        digest = digest or digest_stems([s.audio for s in stems], sample_rate=sample_rate)
        levels = [stem.level_lufs for stem in stems]
        self._whole = self._cut = BandModel(digest, levels)
        some = _cut(stems, sample_rate)
        if some is not stems:
            audio = [stem.audio for stem in some]
            self._cut = BandModel(digest_stems(audio, sample_rate=sample_rate), levels)
        typical = typical_settings(stems)
        self._strips = strip_space(some, options.match, typical.strips)
        self._bus = bus_space(options.match, typical.bus)
        begin = start or typical
        self.points = [
            self._strips.normalised(begin.strips), self._bus.normalised([begin.bus])
        ]  # fmt: skip
        for point in self.points:
            point.requires_grad_(True)
        truth = None
        if aligned is not None:
            powers = frame_powers(aligned, sample_rate=sample_rate, bands=digest.bands)
            truth = torch.from_numpy(powers)
        self._is_aligned = truth is not None
        self._some, self._all = (
            Trials(
                chosen,
                target.style,
                sample_rate=sample_rate,
                target_lufs=target_lufs,
                ceiling_dbtp=ceiling_dbtp,
                match=options.match,
            )
            for chosen in (some, stems)
        )
        if some is stems:
            self._all = self._some
        self._begins_predicted = start is not None
        self._history: list[StyleDistance] = []
        self._best: _Candidate | None = None

        before = self._some.neutral()
        strips, bus = _tensors(self._some.neutral_settings())
        whole, cut = self._whole(strips, bus), self._cut(strips, bus)
        rendered = torch.tensor(before.stem_lufs, dtype=torch.float64) - cut.stem_lufs
        self._intended = whole.stem_lufs + torch.where(torch.isfinite(rendered), rendered, 0.0)
        self._objective = Objective(
            target,
            options,
            subgroups=[stem.name for stem in stems],
            before=whole,
            intended_lufs=self._intended,
            aligned=truth,
        )
        self._objective.correct(cut, before)
        self._trial = before
        self._before = self._distance(whole)

    def _settings(self) -> tuple[Tensor, Tensor]:
        return self._strips.settings(self.points[0]), self._bus.settings(self.points[1])[0]

    def loss(self) -> Tensor:
        """Return the objective where the search stands, with its gradient."""
        strips, bus = self._settings()
        modelled = self._whole(strips, bus, with_frames=self._is_aligned)
        return self._objective(modelled, strips, bus)

    def judge(self) -> None:
        """Render passages where the search stands, correct the model, and keep what is best."""
        self._judge(self._some, self._cut)

    def judge_whole(self) -> None:
        """Render all of the excerpt where the search stands."""
        self._best = None
        self._judge(self._all, self._whole)

    @torch.no_grad()
    def _judge(self, trials: Trials, model: BandModel) -> None:
        strips, bus = self._settings()
        self._trial = trials.run(as_dicts(strips, STRIP), as_dicts(bus, BUS)[0])
        self._objective.correct(model(strips, bus), self._trial)
        self._history.append(self._take())

    def _distance(self, whole: ModelledMix) -> StyleDistance:
        return style_distance(self._objective.style(whole, self._trial), self._target.style)

    @torch.no_grad()
    def _take(self) -> StyleDistance:
        """Keep where the search stands if it is best, by the corrected model; return how far."""
        strips, bus = self._settings()
        whole = self._whole(strips, bus, with_frames=self._is_aligned)
        price = float(self._objective(whole, strips, bus))
        if self._best is None or price < self._best.price:
            self._best = _Candidate(price, strips, bus)
        return self._distance(whole)

    def result(self) -> Refined:
        """Return the best that was tried, held to what an engineer would leave standing."""
        predicted = self._history[0] if self._begins_predicted else None
        self._take()
        assert self._best is not None
        strips, bus, trial = self._held(self._best)
        with torch.no_grad():
            values = _tensors(Start(tuple(strips), bus))
            whole = self._whole(*values)
            self._trial = trial
            self._objective.correct(self._cut(*values), trial)
            moved = whole.stem_lufs + self._objective.stem_offset - self._intended
            moved = torch.nan_to_num(moved, 0.0, 0.0, 0.0)
            end = self._distance(whole)
        return Refined(
            strips=tuple(strips),
            bus=bus,
            start=self._before,
            end=end,
            history=(*self._history, end),
            level_change_lu=tuple((moved - moved.mean()).tolist()),
            predicted=predicted,
        )

    def _held(self, best: _Candidate) -> tuple[list[dict[str, float]], dict[str, float], Trial]:
        """Return settings with smooth curves and modest reductions, and what they make."""
        limits = reduction_limits()
        strips = [
            smooth_equaliser(row, STRIP, sample_rate=self._rate, most_db=_STRIP_EQ_DB)
            for row in as_dicts(best.strips, STRIP)
        ]
        bus = smooth_equaliser(
            as_dicts(best.bus, BUS)[0], BUS, sample_rate=self._rate, most_db=_BUS_EQ_DB
        )
        for _ in range(_SOFTER_TURNS):
            trial = self._some.run(strips, bus)
            eased = [
                softer(
                    row,
                    reduction,
                    most_mean_db=_MARGIN * mean_db,
                    most_p95_db=_MARGIN * limits.strip_p95_db,
                    highest_lu=STRIP.parameter("threshold_lu").safe_high,
                )
                for row, reduction, mean_db in zip(
                    [*strips, bus],
                    trial.reductions,
                    [limits.strip_mean_db] * len(strips) + [limits.bus_mean_db],
                    strict=True,
                )
            ]
            if not any(eased):
                break
            strips = [new or old for new, old in zip(eased[:-1], strips, strict=True)]
            bus = eased[-1] or bus
        *reductions, on_bus = (reduction.max_db for reduction in trial.reductions)
        strips = [tidy(row, STRIP, most) for row, most in zip(strips, reductions, strict=True)]
        bus = tidy(bus, BUS, on_bus)
        return strips, bus, self._some.run(strips, bus)


def _cut(stems: Sequence[StemInput], sample_rate: int) -> Sequence[StemInput]:
    """Return the stems' passages; the stems themselves where those are all there is."""
    cut = [passages(stem.audio, sample_rate) for stem in stems]
    if all(audio is stem.audio for audio, stem in zip(cut, stems, strict=True)):
        return stems
    return [replace(stem, audio=audio) for audio, stem in zip(cut, stems, strict=True)]


def _tensors(settings: Start) -> tuple[Tensor, Tensor]:
    strips = np.asarray([[row[p.name] for p in STRIP] for row in settings.strips])
    bus = np.asarray([settings.bus[p.name] for p in BUS])
    return torch.from_numpy(strips), torch.from_numpy(bus)
