"""A mid and a side microphone in two mono files ("Room M", "Room S"): played as one stereo pair.

The names must say it and the sound agree: both play the same at the same time, the side no louder
than a figure of eight is, and neither is a copy of the other. The side then takes the gain of the
mid, as the microphones recorded them, +S on the left and -S on the right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from pipeline.console.conditioning import ChannelUse
from pipeline.session.settings import TrackOverrides
from stage1.balance.gains import TrackBalance
from stage1.balance.placement import Placement
from stage1.records import TrackFeatures
from stage1.signal.file_faults import ChannelFault, FileFaults
from stage1.sources.records import Relations

__all__ = ["MidSidePair", "as_pairs", "mid_side_pairs", "side_of_pairs"]

_ALIKE = 0.5
"""Of two envelopes from which they are of one performance; bars of one song reach 0.3."""
_LOUDEST_SIDE_LU = 6.0
_LENGTH_S = 0.5

# Beside an alto or a tenor they are a mezzo and a soprano.
_OTHER_VOICES = frozenset("at")

_END = re.compile(r"^(?P<base>.*?)[-_ .(]*\b(?P<end>mid|side|[msat])\)?$", re.IGNORECASE)


@dataclass(frozen=True)
class MidSidePair:
    """Two mono tracks of a session, by their index; whether their sound agrees with the names."""

    mid: int
    side: int
    agrees: bool


def mid_side_pairs(
    features: Sequence[TrackFeatures],
    relations: Relations,
    overrides: Sequence[TrackOverrides],
) -> tuple[MidSidePair, ...]:
    """Return the tracks that are named as mid and side of one source.

    Parameters
    ----------
    features, overrides
        One entry a track, in the same order. A track whose channels the user decided is left out.
    relations
        What was measured between the tracks.
    """
    ends: dict[tuple[str, str], list[int]] = {}
    for index, (track, override) in enumerate(zip(features, overrides, strict=True)):
        path = PurePosixPath(track.name)
        named = _END.match(path.stem.replace("_", " "))
        if named is None or track.channels != 1 or override.channels is not None:
            continue
        base = (path.parent / named["base"].strip(" -_.(")).as_posix().casefold()
        ends.setdefault((base, named["end"][0].lower()), []).append(index)
    voices = {base for base, end in ends if end in _OTHER_VOICES}
    pairs = []
    for (base, end), mids in ends.items():
        sides = ends.get((base, "s"), [])
        if end != "m" or len(mids) != 1 or len(sides) != 1 or base in voices:
            continue
        mid, side = mids[0], sides[0]
        pairs.append(MidSidePair(mid, side, _agree(features[mid], features[side], relations)))
    return tuple(pairs)


def _agree(mid: TrackFeatures, side: TrackFeatures, relations: Relations) -> bool:
    relation = relations.between(mid.name, side.name)
    if relation is not None and relation.one_recording:
        return False
    louder = side.levels.integrated_lufs - mid.levels.integrated_lufs
    alike = relations.likeness_of(mid.name, side.name)
    return (
        abs(mid.extent.duration_s - side.extent.duration_s) < _LENGTH_S
        and mid.extent.sample_rate == side.extent.sample_rate
        and math.isfinite(louder)
        and louder < _LOUDEST_SIDE_LU
        and alike > _ALIKE
    )


def side_of_pairs(
    faults: Sequence[FileFaults], pairs: Sequence[MidSidePair]
) -> tuple[FileFaults, ...]:
    """Return how the files are set right, the side of each pair made opposite left and right."""
    result = list(faults)
    for pair in pairs:
        if pair.agrees:
            held = result[pair.side]
            result[pair.side] = replace(
                held,
                conditioning=replace(held.conditioning, channels=ChannelUse.SIDE),
                channel_fault=ChannelFault.MID_SIDE,
            )
    return tuple(result)


def as_pairs(
    balances: Sequence[TrackBalance],
    placements: Sequence[Placement],
    pairs: Sequence[MidSidePair],
    overrides: Sequence[TrackOverrides],
) -> tuple[tuple[TrackBalance, ...], tuple[Placement, ...]]:
    """Return gains and pans with the two of each pair at one gain and in the middle."""
    levels, places = list(balances), list(placements)
    for pair in pairs:
        if not pair.agrees:
            continue
        mid = balances[pair.mid]
        moved_db = overrides[pair.side].gain_offset_db - overrides[pair.mid].gain_offset_db
        reason = f"the side of {mid.name!r}: at its gain"
        if moved_db:
            reason += f", {moved_db:+g} dB from session.toml"
        wanted = overrides[pair.side].invert
        levels[pair.side] = replace(
            balances[pair.side],
            gain_db=mid.gain_db + moved_db,
            trim_db=mid.trim_db,
            invert=mid.invert if wanted is None else wanted,
            reason=reason,
        )
        for index in (pair.mid, pair.side):
            if overrides[index].pan is None:
                places[index] = replace(
                    places[index], pan=0.0, reason="mid and side make one stereo image"
                )
    return tuple(levels), tuple(places)
