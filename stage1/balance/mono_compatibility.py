"""What is lost where left and right are folded to one: mono compatibility of tracks and pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from pipeline.prose import listed
from pipeline.units import power_to_db
from stage1.balance.gains import TrackBalance
from stage1.balance.placement import Placement
from stage1.signal.levels import Stereo
from stage1.sources.records import Relations
from stage1.sources.relations import Relation

__all__ = ["WORTH_A_WORD_DB", "Width", "mono_loss_db", "mono_warnings"]

WORTH_A_WORD_DB = 4.5
"""Wide, uncorrelated sound loses 3 dB against the centre, and nobody minds."""

_FLOOR = 1e-6
_LISTED_SINGLY = 2


class Width(Protocol):
    """What is needed to know of a track's channels."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def channels(self) -> int: ...  # noqa: D102
    @property
    def stereo(self) -> Stereo: ...  # noqa: D102


def mono_loss_db(correlation: float, right_db: float = 0.0) -> float:
    """Return what a stereo signal loses in mono, against the same power in the middle.

    Parameters
    ----------
    correlation
        Of left and right, -1 to 1; NaN where a channel is silent.
    right_db
        Level of right against left.

    Returns
    -------
    float
        0 dB for two equal channels, 3 for unrelated ones, 60 at most for opposite ones.

    Examples
    --------
    >>> [round(mono_loss_db(rho), 1) for rho in (1.0, 0.0, -0.5)]
    [0.0, 3.0, 6.0]
    """
    if math.isnan(correlation) or not math.isfinite(right_db):
        return power_to_db(2.0)
    ratio = 10.0 ** (right_db / 20.0)
    kept = 0.5 + correlation * ratio / (1.0 + ratio * ratio)
    return -power_to_db(max(kept, _FLOOR)) + 0.0


def mono_warnings(
    features: Sequence[Width],
    placements: Sequence[Placement],
    *,
    balances: Sequence[TrackBalance] | None = None,
    relations: Relations | None = None,
) -> tuple[str, ...]:
    """Say which stereo tracks and which related pairs lose much in mono.

    Parameters
    ----------
    features, placements, balances
        One entry a track, in the same order; without ``balances`` gains are taken as equal and no
        polarity as turned over.
    relations
        What was measured between the tracks.

    Returns
    -------
    tuple of str
        In words, stereo tracks first, three or more in one sentence; muted tracks are left out.
    """
    muted = {track.name for track in balances or () if track.mute}
    losses = []
    for track in features:
        if track.channels != 2 or track.name in muted:
            continue
        loss_db = mono_loss_db(track.stereo.correlation, track.stereo.lr_balance_db)
        if loss_db >= WORTH_A_WORD_DB:
            losses.append((track, loss_db))
    warnings = _stereo_warnings(losses)
    mono = {track.name for track in features if track.channels == 1}
    pans = {placement.name: placement.pan for placement in placements}
    gains = {track.name: track for track in balances or ()}
    for relation in relations.pairs if relations is not None else ():
        pair = {relation.first, relation.second}
        if pair & muted or not pair <= mono:
            continue
        loss_db, rho = _pair_loss(relation, pans, gains)
        if loss_db >= WORTH_A_WORD_DB:
            warnings.append(
                f"{relation.first!r} and {relation.second!r} lose {loss_db:.0f} dB in mono "
                f"(correlation {rho:.2f}): set invert = true for one of them in session.toml, or "
                "pan them together and listen"
            )
    return tuple(warnings)


def _stereo_warnings(losses: Sequence[tuple[Width, float]]) -> list[str]:
    """Say what stereo tracks lose, the greatest loss first where several share a sentence."""
    if len(losses) > _LISTED_SINGLY:
        order = sorted(losses, key=lambda each: -each[1])
        names = listed([track.name for track, _ in order])
        return [
            f"{len(order)} stereo tracks lose {order[-1][1]:.0f} to {order[0][1]:.0f} dB in mono, "
            f"as their sides work against each other: {names}; narrow them, or turn the polarity "
            "of one channel of each over"
        ]
    return [
        f"{track.name!r} loses {loss_db:.0f} dB in mono: its sides work against each other "
        f"(correlation {track.stereo.correlation:.2f}); narrow it, or turn the polarity of one of "
        "its channels over"
        for track, loss_db in losses
    ]


def _pair_loss(
    relation: Relation, pans: dict[str, float], gains: dict[str, TrackBalance]
) -> tuple[float, float]:
    """Return what two mono tracks lose in mono at their pans, and their correlation as mixed."""
    first, second = gains.get(relation.first), gains.get(relation.second)
    rho, level_db = relation.at_zero, relation.level_db
    if first is not None and second is not None:
        rho = -rho if first.invert != second.invert else rho
        level_db += second.gain_db - first.gain_db
    size = 10.0 ** (level_db / 20.0)
    angles = [(pans[name] + 1.0) * math.pi / 4.0 for name in (relation.first, relation.second)]
    (left_a, left_b), (right_a, right_b) = (
        (side(angles[0]), size * side(angles[1])) for side in (math.cos, math.sin)
    )
    left = left_a**2 + left_b**2 + 2.0 * rho * left_a * left_b
    right = right_a**2 + right_b**2 + 2.0 * rho * right_a * right_b
    cross = left_a * right_a + left_b * right_b + rho * (left_a * right_b + left_b * right_a)
    # Against the power that the two have, so that what cancels before the fold counts too.
    power = 1.0 + size**2
    kept = (left + right + 2.0 * cross) / (2.0 * power)
    return -power_to_db(max(kept, _FLOOR)) + 0.0, rho
