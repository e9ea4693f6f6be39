"""Where each mono track stands between left and right inside its subgroup.

Stereo tracks keep their own image. Drums are seen from the audience, sections sit by register, what
holds the same sound stands together, and what is free to go either way goes where the loudness of
both sides stays even.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.roles import CENTRED_ROLES, Presence, Role, Subgroup
from pipeline.session.settings import TrackOverrides
from stage1.recognition.recognise import Recognition
from stage1.sources.grouping import ONE_SOUND_COHERENCE
from stage1.sources.records import Relations

__all__ = ["LOW_HZ", "Placement", "place"]

LOW_HZ = 120.0
LOW_SHARE = 0.5
"""Of a track's power that must lie in its low fundamentals, for it to weigh on a side."""
LOW_GUITAR_SHARE = 0.75
"""A guitar's lowest notes are heard by their overtones, and guitars stand at the sides."""

_HARD = 1.0
_LONE_SIDE = 0.7
_DOUBLES = 0.8
_HAT = 0.3
_RIDE = 0.4
_CRASH = 0.5
_TOMS = 0.5

# How far the outermost of several goes, and a single one that has something to balance it.
_WIDTH: dict[Subgroup, float] = {
    Subgroup.GUITARS: 0.8,
    Subgroup.BACKING_VOCALS: 0.8,
    Subgroup.STRINGS: 0.7,
    Subgroup.WINDS: 0.6,
    Subgroup.KEYS: 0.6,
    Subgroup.SYNTHS: 0.6,
    Subgroup.PERCUSSION: 0.6,
}
_SINGLE = 0.3
_SECTIONS = frozenset({Subgroup.STRINGS, Subgroup.WINDS})
_MIDDLE_ROLES = CENTRED_ROLES | {
    Role.LEAD_GUITAR,
    Role.SYNTH_LEAD,
    Role.DOUBLE_BASS,
    Role.DRUM_KIT,
    Role.CLAP,
    Role.OVERHEAD,
    Role.ROOM,
}
_GUITARS = frozenset({Role.ELECTRIC_GUITAR, Role.LEAD_GUITAR, Role.ACOUSTIC_GUITAR})
_NEVER_PAIRED = frozenset({Role.BASS, Role.SYNTH_BASS, Role.DIALOGUE, Role.TOM})
# From left to right as a section sits, high register to low.
_SEATING = (
    Role.VIOLIN, Role.VIOLA, Role.STRINGS, Role.CELLO, Role.DOUBLE_BASS,
    Role.FLUTE, Role.REED, Role.WOODWIND, Role.SAXOPHONE, Role.TRUMPET, Role.BRASS, Role.HORN,
    Role.TROMBONE, Role.TUBA,
)  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """Where one track stands: ``pan`` from -1 (left) to 1 (right), and why."""

    name: str
    pan: float
    reason: str


@dataclass
class _Seat:
    """Tracks that must stand at one place: the microphones of one source."""

    members: list[int]
    record: Recognition
    power: float
    f0_hz: float


def place(
    recognitions: Sequence[Recognition],
    overrides: Sequence[TrackOverrides | None] | None = None,
    *,
    channels: Sequence[int],
    loudness_lufs: Sequence[float] | None = None,
    f0_hz: Sequence[float] | None = None,
    low_share: Sequence[float] | None = None,
    relations: Relations | None = None,
) -> tuple[Placement, ...]:
    """Decide the pan of every track of a session.

    Parameters
    ----------
    recognitions, overrides
        One entry a track, in the same order; a pan in an override always wins.
    channels
        1 or 2 a track.
    loudness_lufs
        Loudness of each track after the balance, to keep both sides even; equal where absent.
    f0_hz
        Typical f0 of each track, NaN where it has none; under 120 Hz a track stays centred, if that
        is where its power lies.
    low_share
        Share of each track's power under about :data:`LOW_HZ`; all where absent.
    relations
        What was measured between the tracks: the microphones of one source, and copies, stand
        together whatever their names say.

    Returns
    -------
    tuple of Placement
        In the order given.

    Raises
    ------
    ValueError
        Where the sequences differ in length.
    """
    count = len(recognitions)
    wishes = overrides if overrides is not None else [None] * count
    loudness = loudness_lufs if loudness_lufs is not None else [0.0] * count
    pitch = f0_hz if f0_hz is not None else [math.nan] * count
    shares = low_share if low_share is not None else [1.0] * count
    for name, values in (
        ("overrides", wishes),
        ("channels", channels),
        ("loudness_lufs", loudness),
        ("f0_hz", pitch),
        ("low_share", shares),
    ):
        if len(values) != count:
            raise ValueError(f"{len(values)} {name} for {count} recognitions")
    power = np.array([0.0 if not math.isfinite(x) else 10.0 ** (x / 10.0) for x in loudness])
    muted = [override is not None and override.mute for override in wishes]
    power[muted] = 0.0
    stage = _Stage(recognitions, power, pitch, relations)
    copies = _copies(recognitions, channels, relations)
    free: list[int] = []
    for index, override in enumerate(wishes):
        if override is not None and override.pan is not None:
            stage.put([index], override.pan, "pan from session.toml")
        elif channels[index] > 1:
            stage.put([index], 0.0, "stereo: its own image kept")
        elif index not in copies and not stage.put_half(index, channels):
            free.append(index)
    low = [
        hz < LOW_HZ and share > (LOW_GUITAR_SHARE if record.role in _GUITARS else LOW_SHARE)
        for hz, share, record in zip(pitch, shares, recognitions, strict=True)
    ]  # no f0, NaN, is not low
    stage.put_fixed(free, low)
    stage.put_doubles(free)
    stage.put_drums(free)
    stage.put_groups(free)
    for index, original in copies.items():
        if index not in stage.decided:
            reason = f"beside {recognitions[original].name!r}, the same recording"
            stage.put([index], stage.decided[original][0], reason)
    return tuple(
        Placement(record.name, *stage.decided[index]) for index, record in enumerate(recognitions)
    )


def _copies(
    recognitions: Sequence[Recognition], channels: Sequence[int], relations: Relations | None
) -> dict[int, int]:
    """Return for each mono copy the track that it is a copy of, itself none."""
    place = {record.name: index for index, record in enumerate(recognitions)}
    copies: dict[int, int] = {}
    for relation in relations.pairs if relations is not None else ():
        first, second = sorted((place[relation.first], place[relation.second]))
        sides = {recognitions[first].side, recognitions[second].side}
        if relation.one_recording and sides != {"left", "right"} and channels[second] == 1:
            copies.setdefault(second, copies.get(first, first))
    return copies


class _Stage:
    """The places given so far, and how uneven they leave left and right."""

    def __init__(
        self,
        recognitions: Sequence[Recognition],
        power: np.ndarray,
        pitch: Sequence[float],
        relations: Relations | None,
    ) -> None:
        self.records = recognitions
        self.power = power
        self.pitch = pitch
        # The source that a track stands with: its own, or that of what holds the same sound.
        self.standing = {record.name: record.source for record in recognitions}
        subgroup = {record.name: record.subgroup for record in recognitions}
        for relation in relations.pairs if relations is not None else ():
            a, b = relation.first, relation.second
            if subgroup[a] == subgroup[b] and relation.coherence >= ONE_SOUND_COHERENCE:
                moved = self.standing[b]
                for name, source in self.standing.items():
                    if source == moved and subgroup[name] == subgroup[b]:
                        self.standing[name] = self.standing[a]
        self.decided: dict[int, tuple[float, str]] = {}
        self.imbalance = 0.0

    def put(self, members: Iterable[int], pan: float, reason: str) -> None:
        pan = round(pan, 3) + 0.0
        for index in members:
            self.decided[index] = (pan, reason)
            # A constant-power pan puts sin²-cos² = sin(pan·π/2) of the power on the right.
            self.imbalance += float(self.power[index]) * math.sin(pan * math.pi / 2.0)

    def put_half(self, index: int, channels: Sequence[int]) -> bool:
        """Place a track whose name says a side; return whether it was placed."""
        record = self.records[index]
        if not record.side or record.role in _NEVER_PAIRED:
            return False
        sign = -1.0 if record.side == "left" else 1.0
        paired = any(
            other.side not in {"", record.side}
            and other.role == record.role
            and channels[position] == 1
            for position, other in enumerate(self.records)
        )
        if paired:
            self.put([index], sign * _HARD, f"{record.side} half of a pair")
        else:
            self.put([index], sign * _LONE_SIDE, f"named {record.side}")
        return True

    def seats(self, free: list[int], wanted: Iterable[int]) -> list[_Seat]:
        """Group open tracks by source, in the session's order."""
        groups: dict[tuple[str, str, bool, str], list[int]] = defaultdict(list)
        chosen = set(wanted)
        for index in free:
            if index in chosen and index not in self.decided:
                record = self.records[index]
                standing = self.standing[record.name]
                key = (record.subgroup, standing, record.is_double, record.side)
                groups[key].append(index)
        return [
            _Seat(
                members,
                self.records[members[0]],
                float(self.power[members].sum()),
                _register_hz(self.pitch[index] for index in members),
            )
            for members in groups.values()
        ]

    def put_fixed(self, free: list[int], low: Sequence[bool]) -> None:
        """Centre what belongs there by role or by register."""
        doubled = {r.source for r in self.records if r.is_double}
        for index in free:
            record = self.records[index]
            if record.role in _MIDDLE_ROLES:
                if record.role == Role.LEAD_GUITAR and record.source in doubled:
                    continue
                what = record.role.replace("_", " ")
                self.put([index], 0.0, f"{what} stands in the middle")
            elif low[index] and record.role != Role.TOM and record.source not in doubled:
                self.put([index], 0.0, f"f0 of {self.pitch[index]:.0f} Hz: low notes stay centred")

    def put_doubles(self, free: list[int]) -> None:
        """Spread a part and its doubles; beside a centred voice only the doubles."""
        sources: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index in free:
            record = self.records[index]
            if index not in self.decided and record.subgroup != Subgroup.DRUMS:
                sources[record.subgroup, record.source].append(index)
        for members in sources.values():
            doubles = [index for index in members if self.records[index].is_double]
            if not doubles:
                continue
            mains = [index for index in members if index not in doubles]
            # Microphones of the one main performance stand together, each double by itself.
            units = ([mains] if mains else []) + [[index] for index in doubles]
            pans = _spread(len(units), _DOUBLES)
            if len(units) == 1:
                self.put(units[0], 0.0, "one double: behind its lead")
                continue
            for unit, pan in zip(units, self._turned(pans, units), strict=True):
                self.put(unit, pan, "doubles spread")

    def put_drums(self, free: list[int]) -> None:
        """Place hats, cymbals and toms as the audience sees a right-handed drummer."""
        seats = self.seats(free, (i for i in free if self.records[i].subgroup == Subgroup.DRUMS))
        toms = sorted((s for s in seats if s.record.role == Role.TOM), key=_tom_order)
        for seat, pan in zip(toms, np.linspace(_TOMS, -_TOMS, max(len(toms), 2)), strict=False):
            self.put(seat.members, float(pan) if len(toms) > 1 else 0.0, "tom, audience's view")
        sides: dict[str, int] = defaultdict(int)
        for seat in seats:
            role = seat.record.role
            if role == Role.HI_HAT:
                self.put(seat.members, _HAT * _flip(sides["hat"]), "hi-hat, audience's view")
                sides["hat"] += 1
            elif role == Role.CYMBAL and "ride" in seat.record.source.split():
                self.put(seat.members, -_RIDE, "ride, audience's view")
            elif role == Role.CYMBAL:
                self.put(seat.members, _CRASH * _flip(sides["crash"]), "cymbals to both sides")
                sides["crash"] += 1
            elif role != Role.TOM:
                self.put(seat.members, 0.0, f"{role.replace('_', ' ')} in the middle of the kit")

    def put_groups(self, free: list[int]) -> None:
        """Spread the sections and parts, the loudest group first."""
        groups: dict[str, list[_Seat]] = defaultdict(list)
        for seat in self.seats(free, free):
            groups[seat.record.subgroup].append(seat)
        singles: list[_Seat] = []
        for name, seats in sorted(
            groups.items(), key=lambda item: (-sum(s.power for s in item[1]), item[0])
        ):
            width = _WIDTH.get(Subgroup(name), 0.0) if name in set(Subgroup) else 0.4
            if width == 0.0:
                for seat in seats:
                    self.put(seat.members, 0.0, f"{name.replace('_', ' ')}: left in the middle")
            elif len(seats) == 1:
                singles.extend(seats)
            elif name in _SECTIONS:
                self._put_section(sorted(seats, key=_seating), width)
            elif name == Subgroup.BACKING_VOCALS:
                # Voices of one register face each other, high ones outside.
                ordered = sorted(seats, key=lambda seat: -seat.f0_hz)
                self._put_spread(ordered, width, name)
            else:
                self._put_spread(_twins_together(seats), width, name)
        self._put_singles(singles)

    def _put_section(self, seats: list[_Seat], width: float) -> None:
        for seat, pan in zip(seats, np.linspace(-width, width, len(seats)), strict=True):
            self.put(seat.members, float(pan), "seated by register, high to the left")

    def _put_spread(self, seats: list[_Seat], width: float, name: str) -> None:
        pans = _spread(len(seats), width)
        turned = self._turned(pans, [seat.members for seat in seats])
        for seat, pan in zip(seats, turned, strict=True):
            near = 0.5 if seat.record.presence == Presence.LEAD else 1.0
            self.put(seat.members, pan * near, f"{len(seats)} {name.replace('_', ' ')} spread")

    def _put_singles(self, seats: list[_Seat]) -> None:
        """Put lone parts slightly to the side of less power; one alone stays in the middle."""
        for seat in sorted(seats, key=lambda s: -s.power):
            if len(seats) == 1 or seat.record.presence == Presence.LEAD:
                self.put(seat.members, 0.0, "no other part to balance it")
                continue
            sign = -1.0 if self.imbalance > 0.0 else 1.0
            self.put(seat.members, sign * _SINGLE, "slightly off centre, against the other parts")

    def _turned(self, pans: list[float], units: Sequence[list[int]]) -> list[float]:
        """Return the places or their mirror image, whichever leaves left and right more even."""
        lean = sum(
            float(self.power[unit].sum()) * math.sin(pan * math.pi / 2.0)
            for unit, pan in zip(units, pans, strict=True)
        )
        if abs(self.imbalance - lean) < abs(self.imbalance + lean):
            return [-pan for pan in pans]
        return pans


def _twins_together(seats: list[_Seat]) -> list[_Seat]:
    """Bring players of one part ("ElecGtr1", "ElecGtr2") side by side, two of them first.

    Places go out in mirrored pairs: so each pair is of two that belong together.
    """
    families: dict[str, list[_Seat]] = defaultdict(list)
    for seat in seats:
        family = re.sub(r"[ #]*\d+$", "", seat.record.source)
        families[f"{seat.record.role} {family}"].append(seat)
    if len(families) == len(seats):
        return seats
    pairs = [seat for those in families.values() for seat in those[: len(those) // 2 * 2]]
    return pairs + [those[-1] for those in families.values() if len(those) % 2]


def _flip(count: int) -> float:
    return 1.0 if count % 2 == 0 else -1.0


def _spread(count: int, width: float) -> list[float]:
    """Return symmetric places, outermost pair first, the odd one in the middle.

    Examples
    --------
    >>> _spread(3, 0.8)
    [-0.8, 0.8, 0.0]
    """
    if count == 1:
        return [0.0]
    pairs = count // 2
    steps = [width * (1.0 - pair / (pairs + count % 2)) for pair in range(pairs)]
    places = [place for step in steps for place in (-step, step)]
    return places + [0.0] * (count % 2)


def _tom_order(seat: _Seat) -> tuple[int, int, int]:
    """Order toms from high, on the audience's right, to the floor tom on its left."""
    tokens = set(seat.record.source.split())
    is_low = bool(tokens & {"floor", "flr", "ft", "ftom", "fl", "low", "lo", "lt", "standtom"})
    is_high = bool(tokens & {"high", "hi", "ht"})
    register = 2 if is_low else 0 if is_high else 1
    return register, seat.record.number or 0, 1 if seat.record.side == "left" else 0


def _register_hz(pitches: Iterable[float]) -> float:
    """Return a typical f0, 0 where there is none."""
    known = [pitch for pitch in pitches if not math.isnan(pitch)]
    return float(np.median(known)) if known else 0.0


def _seating(seat: _Seat) -> tuple[int, int, float]:
    role = seat.record.role
    place = _SEATING.index(role) if role in _SEATING else len(_SEATING)
    return place, seat.record.number or 0, -seat.f0_hz
