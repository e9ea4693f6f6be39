"""A prediction taken as it is, its stem levels held in the corridor that refinement keeps to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.console.parameters import STRIP, Aspect
from pipeline.units import Float64Array
from stage2.console.search_space import Start, StemInput, blend_settings
from stage2.console.statistics import Digest, digest_stems
from stage2.refine.objective import RefineOptions
from stage2.refine.search import Refined, settle
from stage2.style.target import StyleTarget

__all__ = ["settle_in_corridor"]


_TURNS = 3
_TOLERANCE_LU = 0.05
_FADER = STRIP.parameter("gain_db")


def settle_in_corridor(
    stems: Sequence[StemInput],
    start: Start,
    target: StyleTarget,
    *,
    sample_rate: int,
    target_lufs: float,
    ceiling_dbtp: float,
    match: frozenset[Aspect] = frozenset(Aspect),
    digest: Digest | None = None,
    corridor_lu: float = RefineOptions.corridor_lu,
) -> Refined:
    """Settle a prediction, and where a stem's rendered loudness leaves the corridor, hold it there.

    Where levels are not to be matched the faders stay, and the strip does less.

    Parameters
    ----------
    corridor_lu
        How far a stem may leave the intended balance, against the others, in LU. All else is as
        in :func:`stage2.refine.search.settle`.

    Returns
    -------
    Refined
        ``predicted`` is the distance of the prediction before it was held.
    """
    history = []
    digest = digest or digest_stems([stem.audio for stem in stems], sample_rate=sample_rate)
    for _ in range(_TURNS):
        settled = settle(
            stems,
            start,
            target,
            sample_rate=sample_rate,
            target_lufs=target_lufs,
            ceiling_dbtp=ceiling_dbtp,
            match=match,
            digest=digest,
        )
        history.append(settled.end)
        moved = np.asarray(settled.level_change_lu)
        if np.abs(moved).max() <= corridor_lu + _TOLERANCE_LU:
            break
        if Aspect.LEVEL in match:
            shifts = _inside(moved, corridor_lu) - moved
            strips = [_turned(s, d) for s, d in zip(settled.strips, shifts.tolist(), strict=True)]
        else:
            parts = np.minimum(corridor_lu / np.maximum(np.abs(moved), corridor_lu), 1.0)
            strips = [
                blend_settings(settings, STRIP, part, start={"gain_db": settings["gain_db"]})
                for settings, part in zip(settled.strips, parts.tolist(), strict=True)
            ]
        start = Start(tuple(strips), settled.bus)
    return replace(settled, history=tuple(history), predicted=history[0])


def _inside(moved_lu: Float64Array, corridor_lu: float) -> Float64Array:
    """Return the nearest changes within the corridor whose mean is 0 again."""
    wanted = moved_lu
    for _ in range(50):
        wanted = np.clip(wanted - wanted.mean(), -corridor_lu, corridor_lu)
    return wanted


def _turned(settings: dict[str, float], change_db: float) -> dict[str, float]:
    moved = min(max(settings["gain_db"] + change_db, _FADER.low), _FADER.high)
    return settings | {"gain_db": moved}
