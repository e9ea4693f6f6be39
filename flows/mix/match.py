"""The style that is wanted of a mix, and the console's settings that are found for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flows.engines.base import Engine
from flows.mix.plan import is_centred, most_spread
from flows.mix.steps.balance import BalancedStem, passages
from flows.mix.steps.search import ConsoleSettings, find_console_settings
from flows.mix.steps.style import ConsoleJob, HeardReference, reference_notes, style_step
from flows.mix.steps.tracks import TrackJob
from flows.mix.styles.file import SavedReference, load_style
from flows.progress import Progress
from flows.settings import MixSettings
from flows.storage.locations import Place
from flows.storage.mirror import shared_file
from flows.storage.store import Store
from pipeline.console.delivery import (
    DEFAULT_LUFS,
    HIGHEST_REFERENCE_LUFS,
    Density,
    Target,
    is_as_loud,
    parse_target,
)
from pipeline.console.parameters import Aspect
from pipeline.errors import InputError, Problem
from pipeline.plan import Plan
from pipeline.session.discovery import Session
from pipeline.units import Float32Array
from stage2.genre.targets import genre_target
from stage2.reference.trust import complete_windows, wanted_style
from stage2.style.measure import Style
from stage2.style.records import finished_records
from stage2.style.target import StyleTarget

__all__ = ["Balance", "Goal", "find_goal", "match_style"]


@dataclass(frozen=True)
class Balance:
    """The stems as they were balanced, which a style is brought to.

    Parameters
    ----------
    stems
        Without what ``session.toml`` asks of their tracks' levels.
    gains_db
        Fader of each stem, by name.
    style
        Of the stems together, on the excerpt.
    panned
        Stems that ``session.toml`` pans, by name, and whether all of their tracks.
    """

    stems: Sequence[BalancedStem]
    gains_db: Mapping[str, float]
    style: Style
    panned: Mapping[str, bool]


@dataclass(frozen=True)
class Goal:
    """What a mix is to become.

    Parameters
    ----------
    style
        Of the references; None without one.
    target
        The style that is followed, as a distribution.
    segments
        Features of segments of the references, ``(segments, REFERENCE_FIGURES)``.
    references
        What was measured of each reference.
    full_lufs, target_lufs
        Loudness at full strength, at which a style is judged, and the delivered one.
    ceiling_dbtp
        Highest true peak.
    notes
        What is to be said of the references.
    """

    style: Style | None
    target: StyleTarget
    segments: Float32Array
    references: tuple[HeardReference, ...]
    full_lufs: float
    target_lufs: float
    ceiling_dbtp: float
    notes: tuple[str, ...]

    def density(self, start: Style, settings: MixSettings) -> Density | None:
        """Return the density to follow; None where none is wanted or the loudness needs none."""
        if self.style is None:
            return None
        return _density_wanted(self.style, start, settings, self.full_lufs)


def find_goal(
    engine: Engine, session: Session, start: Style, *, settings: MixSettings, store: Place
) -> Goal:
    """Measure the references and return what the mix is to become.

    Raises
    ------
    InputError
        If a reference is too quiet to be measured.
    """
    paths = session.references
    references: list[HeardReference] = []
    style: Style | None = None
    saved = [one for path in settings.saved_styles for one in load_style(path)]
    target, segments = (
        finished_records() if settings.genre is None else genre_target(settings.genre)
    )
    if paths:
        references = engine.map(
            style_step,
            [TrackJob(shared_file(path), path.name, store) for path in paths],
            name="style",
            labels=[path.name for path in paths],
        )
        _refuse_unheard(paths, [reference.style for reference in references])
        kept = Store(store)
        measured = [
            SavedReference.of(path.name, one, np.load(kept.local(one.windows)))
            for path, one in zip(paths, references, strict=True)
        ]
        saved = [*measured, *saved]
    if saved:
        style, donors = wanted_style([(one.style, one.condition.trust) for one in saved], start)
        segments = np.concatenate(
            [
                complete_windows(one.segments, one.condition.trust, donor)
                for one, donor in zip(saved, donors, strict=True)
            ]
        )
        target = StyleTarget.of(style, [segments])
    delivery = parse_target(settings.target)
    full_lufs, target_lufs = _targets_lufs(delivery, style, settings.strength)
    return Goal(
        style=style,
        target=target,
        segments=segments,
        references=tuple(references),
        full_lufs=full_lufs,
        target_lufs=target_lufs,
        ceiling_dbtp=(
            delivery.ceiling_dbtp if settings.ceiling_dbtp is None else settings.ceiling_dbtp
        ),
        notes=(*reference_notes(paths, references), *_style_notes(settings)),
    )


def match_style(
    engine: Engine,
    plan: Plan,
    session: Session,
    balance: Balance,
    goal: Goal,
    *,
    settings: MixSettings,
    store: Place,
    progress: Progress,
) -> ConsoleSettings | None:
    """Find console settings that bring balanced stems to a style; None where none is wanted."""
    sounding = [stem for stem in balance.stems if not stem.silent]
    if settings.strength <= 0.0 or not sounding or not settings.match:
        return None
    target = goal.target
    if goal.style is not None:
        target = replace(target, style=_style_at(goal.style, balance.style, goal.full_lufs))
    panned = balance.panned
    job = ConsoleJob(
        stems=tuple(sounding),
        start_gain_db=tuple(balance.gains_db[stem.name] for stem in sounding),
        centred=tuple(
            stem.name in panned or is_centred(stem.name, plan.tracks) for stem in sounding
        ),
        max_spread=tuple(
            0.0 if panned.get(stem.name) else most_spread(stem.name, plan.tracks)
            for stem in sounding
        ),
        target=target,
        segments=goal.segments,
        references=tuple(shared_file(path) for path in session.references),
        match=settings.match,
        target_lufs=goal.full_lufs,
        ceiling_dbtp=goal.ceiling_dbtp,
        sample_rate=session.sample_rate,
        pieces=tuple(passages(session.frames, session.sample_rate)),
        store=store,
        conditions=tuple(reference.condition for reference in goal.references),
        is_blend=bool(settings.saved_styles) or len(session.references) > 1,
    )
    return find_console_settings(engine, job, settings=settings, progress=progress)


def _style_notes(settings: MixSettings) -> tuple[str, ...]:
    return tuple(f"the style saved in {path.name} is followed" for path in settings.saved_styles)


def _refuse_unheard(references: Sequence[Path], styles: Sequence[Style]) -> None:
    problems = [
        Problem(f"reference {path.name}", "is never over -70 LUFS", "name a recording with sound")
        for path, style in zip(references, styles, strict=True)
        if not math.isfinite(style.loudness_lufs)
    ]
    if problems:
        raise InputError(problems)


def _targets_lufs(target: Target, reference: Style | None, strength: float) -> tuple[float, float]:
    """Return the loudness at full strength, which the style is judged at, and the mix's."""
    if target.loudness_lufs is not None:
        full = wanted = target.loudness_lufs
    elif reference is None:
        full = wanted = DEFAULT_LUFS
    else:
        full = min(reference.loudness_lufs, HIGHEST_REFERENCE_LUFS)
        wanted = full if strength == 1.0 else DEFAULT_LUFS + strength * (full - DEFAULT_LUFS)
    return round(full, 2), round(wanted, 2)


def _style_at(reference: Style, start: Style, target_lufs: float) -> Style:
    """Return the style to be followed: the reference's, as dense as the loudness needs.

    What a limiter and compressors took off the reference's peaks for its loudness is given back by
    as much as the target is lower, as far as the balanced mix has it.
    """
    if is_as_loud(target_lufs, reference.loudness_lufs):
        return reference
    room_db = reference.loudness_lufs - target_lufs

    def restored(dense: float, plain: float) -> float:
        return max(dense, min(dense + room_db, plain))

    return replace(
        reference,
        crest_db=restored(reference.crest_db, start.crest_db),
        peak_to_loudness_db=restored(reference.peak_to_loudness_db, start.peak_to_loudness_db),
    )


def _density_wanted(
    reference: Style, start: Style, settings: MixSettings, full_lufs: float
) -> Density | None:
    """Return the density to follow; None where it is not wanted or the loudness needs none."""
    as_loud = is_as_loud(full_lufs, reference.loudness_lufs)
    if Aspect.DYNAMICS not in settings.match or not as_loud:
        return None

    def blended(name: str) -> float:
        first, last = getattr(start, name), getattr(reference, name)
        return float(first + settings.strength * (last - first))

    return Density(blended("crest_db"), blended("peak_to_loudness_db"))
