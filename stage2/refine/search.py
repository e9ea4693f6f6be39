"""Find the console settings that bring a set of stems to the style of a reference.

Settings start neutral, or where a prediction puts them, and are optimised by gradient through the
band model; after each round passages of the excerpt are rendered for real, and the difference
between the rendered and the modelled figures is added to the model. Guardrails keep it music: stem
levels stay in a corridor around the intended balance, EQ and ratios within the tables' safe ranges,
compressors at the level of what they see, and bass, kick and lead vocal centred.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from pipeline.console.parameters import BUS, STRIP, Aspect
from pipeline.units import FloatArray, db_to_amplitude
from stage2.console.band_model import BandModel, ModelledMix
from stage2.console.search_space import (
    Space,
    Start,
    StemInput,
    as_dicts,
    blend_settings,
    bus_space,
    strip_space,
    tidy,
)
from stage2.console.statistics import Digest, digest_stems, frame_powers
from stage2.refine.adam import Descent
from stage2.refine.objective import HIGHEST_STEM_LU, LONG, SHORT, Objective, RefineOptions
from stage2.refine.render_check import Trial, Trials, passages
from stage2.style.envelopes import band_envelope, loud_db
from stage2.style.measure import SCALES, Style, StyleDistance, style_distance

__all__ = [
    "HIGHEST_STEM_LU",
    "RefineOptions",
    "Refined",
    "Start",
    "StemInput",
    "blend_settings",
    "refine",
    "settle",
]

# A total distance by which it is worth going on.
_FAR = 0.12
# The rate falls by so much from one round to the next.
_COOLING = 0.6
# After the last render, which is of the whole excerpt: to go where that shows that it lies.
_LAST_STEPS, _LAST_RATE = 25, 0.2


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
class _Found:
    """Settings that were tried, and how good they are; the lower the price the better."""

    price: float
    strips: torch.Tensor
    bus: torch.Tensor
    trial: Trial
    distance: StyleDistance
    moved_lu: torch.Tensor


def refine(
    stems: Sequence[StemInput],
    reference: Style,
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
    start
        Predicted settings to begin at, clamped into what the guardrails allow; None for neutral.
        The corridor of the levels lies around the intended balance all the same. With ``aligned``
        it is judged and left: a mix of this very song tells more, and is followed more closely
        from the balanced mix.
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
        The best of the settings that were rendered.

    Raises
    ------
    ValueError
        If ``start`` has other strips than the stems, or settings that are missing or not finite.
    """
    options = options or RefineOptions()
    search = _Search(
        stems,
        reference,
        options,
        sample_rate=sample_rate,
        target_lufs=target_lufs,
        ceiling_dbtp=ceiling_dbtp,
        start=start,
        digest=digest,
        aligned=aligned,
    )
    rounds, steps, rate = _effort(options, search)
    most = LONG[0] if options.rounds is None else rounds
    search.judge()
    if search.is_aligned and search.begins_predicted:
        search.start_over()
    descent = Descent(search.points)
    turn = 0
    while turn < rounds:
        for step in range(steps):
            descent.step(search.loss, rate * _COOLING**turn)
            if on_step is not None:
                on_step(turn * steps + step + 1, rounds * steps)
        turn += 1
        if turn == rounds < most and search.distance().total > _FAR:
            rounds += 1
        if turn < rounds or search.is_short:
            search.judge()
    if search.judge_whole():
        descent = Descent(search.points)
        for _ in range(_LAST_STEPS):
            descent.step(search.loss, rate * _LAST_RATE)
        search.take()
    return search.result()


def settle(
    stems: Sequence[StemInput],
    start: Start,
    reference: Style,
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
        reference,
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


def _effort(options: RefineOptions, search: _Search) -> tuple[int, int, float]:
    """Return the rounds, the steps in each, and the rate of the first."""
    from_afar = search.is_aligned or not search.begins_predicted
    rounds, steps, rate = LONG if from_afar else SHORT
    if search.is_short and not from_afar:
        rounds += 2  # there is no last render of the whole to go on from, and it costs little
    return (
        rounds if options.rounds is None else options.rounds,
        steps if options.steps is None else options.steps,
        rate if options.rate is None else options.rate,
    )


class _Search:
    """One refinement: where it stands, and the best of what it tried."""

    def __init__(
        self,
        stems: Sequence[StemInput],
        reference: Style,
        options: RefineOptions,
        *,
        sample_rate: int,
        target_lufs: float,
        ceiling_dbtp: float,
        start: Start | None,
        digest: Digest | None,
        aligned: FloatArray | None,
    ) -> None:
        self._reference = reference
        digest = digest or digest_stems([s.audio for s in stems], sample_rate=sample_rate)
        self._whole = self._cut = BandModel(digest)
        some = _cut(stems, sample_rate)
        if some is not stems:
            audio = [stem.audio for stem in some]
            self._cut = BandModel(digest_stems(audio, sample_rate=sample_rate))
        self._strips, self._bus = _spaces(some, options.match, sample_rate)
        if start is None:
            self.points = [self._strips.normalised_start(), self._bus.normalised_start()]
        else:
            strips, bus = self._strips.normalised(start.strips), self._bus.normalised([start.bus])
            self.points = [strips, bus]
        for point in self.points:
            point.requires_grad_(True)
        truth = None
        if aligned is not None:
            powers = frame_powers(aligned, sample_rate=sample_rate, bands=digest.bands)
            truth = torch.from_numpy(powers)
        self.is_aligned = truth is not None
        self._some, self._all = (
            Trials(
                chosen,
                reference,
                sample_rate=sample_rate,
                target_lufs=target_lufs,
                ceiling_dbtp=ceiling_dbtp,
                match=options.match,
            )
            for chosen in (some, stems)
        )
        if some is stems:
            self._all = self._some
        self.begins_predicted = start is not None
        self._history: list[StyleDistance] = []
        self._best: _Found | None = None

        before = self._some.neutral()
        strips, bus = _tensors(self._some.neutral_settings())
        whole, cut = self._whole(strips, bus), self._cut(strips, bus)
        heard = torch.tensor(before.stem_lufs, dtype=torch.float64) - cut.stem_lufs
        self._intended = whole.stem_lufs + torch.where(torch.isfinite(heard), heard, 0.0)
        self._neutral = origin = strips, bus
        if start is not None:
            with torch.no_grad():
                origin = self._settings()
        self._objective = Objective(
            reference, options, intended_lufs=self._intended, aligned=truth, origin=origin
        )
        self._objective.correct(cut, before)
        self._before = style_distance(self._objective.style(whole, before), reference)

    def _settings(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._strips.settings(self.points[0]), self._bus.settings(self.points[1])[0]

    def loss(self) -> torch.Tensor:
        """Return the objective where the search stands, with its gradient."""
        strips, bus = self._settings()
        modelled = self._whole(strips, bus, with_frames=self.is_aligned)
        return self._objective(modelled, strips, bus)

    @property
    def is_short(self) -> bool:
        """Whether the passages are all of the excerpt."""
        return self._some is self._all

    def judge(self) -> None:
        """Render passages where the search stands, correct the model, and keep what is best."""
        self._judge(self._some, self._cut)

    def start_over(self) -> None:
        """Begin at the balanced mix, whatever was tried, and judge it."""
        with torch.no_grad():
            self.points[0].copy_(self._strips.normalised_start())
            self.points[1].copy_(self._bus.normalised_start())
        self._objective.origin = self._neutral
        self._best = None
        self.judge()

    def judge_whole(self) -> bool:
        """Render all of the excerpt where the search stands; False where that is done."""
        if self.is_short:
            return False
        self._best = None
        self._judge(self._all, self._whole)
        return True

    @torch.no_grad()
    def _judge(self, trials: Trials, model: BandModel) -> None:
        strips, bus = self._settings()
        self._trial = trials.run(as_dicts(strips, STRIP), as_dicts(bus, BUS)[0])
        self._objective.correct(model(strips, bus), self._trial)
        self._history.append(self.take())

    @torch.no_grad()
    def distance(self) -> StyleDistance:
        """Return how far the search stands from the reference, by the corrected model."""
        return self._distance(self._whole(*self._settings()))

    def _distance(self, whole: ModelledMix) -> StyleDistance:
        return style_distance(self._objective.style(whole, self._trial), self._reference)

    @torch.no_grad()
    def take(self) -> StyleDistance:
        """Keep where the search stands if it is best, by the corrected model; return how far."""
        strips, bus = self._settings()
        whole = self._whole(strips, bus, with_frames=self.is_aligned)
        distance = self._distance(whole)
        price = float(self._objective(whole, strips, bus)) + distance.crest_db / SCALES["crest_db"]
        if self._best is None or price < self._best.price:
            moved = whole.stem_lufs + self._objective.stem_offset - self._intended
            self._best = _Found(price, strips, bus, self._trial, distance, moved)
        return distance

    def result(self) -> Refined:
        """Return the best that was tried."""
        assert self._best is not None
        predicted = self._history[0] if self.begins_predicted else None
        return _refined(self._best, self._before, tuple(self._history), predicted)


def _cut(stems: Sequence[StemInput], sample_rate: int) -> Sequence[StemInput]:
    """Return the stems' passages; the stems themselves where those are all there is."""
    cut = [passages(stem.audio, sample_rate) for stem in stems]
    if all(audio is stem.audio for audio, stem in zip(cut, stems, strict=True)):
        return stems
    return [replace(stem, audio=audio) for audio, stem in zip(cut, stems, strict=True)]


def _spaces(
    stems: Sequence[StemInput], match: frozenset[Aspect], sample_rate: int
) -> tuple[Space, Space]:
    """Return the spaces of strips and bus, their thresholds at the level of the balanced stems."""
    envelopes = [band_envelope(stem.audio, sample_rate=sample_rate) for stem in stems]
    total = sum(
        db_to_amplitude(stem.gain_db) ** 2 * envelope
        for stem, envelope in zip(stems, envelopes, strict=True)
    )
    strips = strip_space(stems, match, [loud_db(envelope) for envelope in envelopes])
    return strips, bus_space(match, sample_rate, loud_db(np.asarray(total)))


def _tensors(settings: Start) -> tuple[torch.Tensor, torch.Tensor]:
    strips = [[row[p.name] for p in STRIP] for row in settings.strips]
    bus = [settings.bus[p.name] for p in BUS]
    return torch.tensor(strips, dtype=torch.float64), torch.tensor(bus, dtype=torch.float64)


def _refined(
    found: _Found,
    before: StyleDistance,
    history: tuple[StyleDistance, ...],
    predicted: StyleDistance | None,
) -> Refined:
    """Return what was found as readable settings and figures."""
    reductions_db = found.trial.reductions_db
    moved = torch.nan_to_num(found.moved_lu, 0.0, 0.0, 0.0)
    return Refined(
        strips=tuple(
            tidy(settings, STRIP, reduction_db)
            for settings, reduction_db in zip(
                as_dicts(found.strips, STRIP), reductions_db[:-1], strict=True
            )
        ),
        bus=tidy(as_dicts(found.bus, BUS)[0], BUS, reductions_db[-1]),
        start=before,
        end=found.distance,
        history=history,
        level_change_lu=tuple((moved - moved.mean()).tolist()),
        predicted=predicted,
    )
