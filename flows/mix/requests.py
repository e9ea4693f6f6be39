"""What ``session.toml`` asks of levels and pans, put on top of the balance and kept there.

The balance and the style are decided from the tracks without it; then it is added, and the levels
that thresholds are relative to go with it, so that neither a fader nor a compressor takes it back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from flows.mix.analysis import AnalysedSession
from flows.mix.steps.balance import BalancedStem
from pipeline.console.parameters import BUS, STRIP
from pipeline.console.processors import Strip, pan_gains
from pipeline.loudness.meter import integrated_loudness
from pipeline.plan import Plan, StemPlan, TrackPlan
from pipeline.roles import Presence
from pipeline.session.discovery import TrackOverrides
from pipeline.units import FloatArray, db_to_amplitude, power_to_db

__all__ = [
    "LevelRequests",
    "RequestResult",
    "panned_stems",
    "plan_without_requests",
    "request_results",
    "with_requests",
]

_LEAST_DB = 1e-9
# A measured level that is this near is the one that was asked for.
_KEPT_DB, _KEPT_PAN = 0.1, 0.02


@dataclass(frozen=True)
class LevelRequests:
    """By how much the levels of the stems were asked to be other than balanced, in dB.

    Parameters
    ----------
    fader_db
        Of whole stems, which their faders do.
    change_db
        What the requests for a stem's tracks make of its loudness before the fader.
    bus_db
        What all of it makes of the loudness of the stems' sum.
    """

    fader_db: Mapping[str, float] = field(default_factory=dict)
    change_db: Mapping[str, float] = field(default_factory=dict)
    bus_db: float = 0.0

    @classmethod
    def measured(
        cls,
        fader_db: Mapping[str, float],
        plain: Sequence[BalancedStem],
        stems: Sequence[BalancedStem],
        gains_db: Mapping[str, float],
        start: FloatArray,
        sample_rate: int,
    ) -> tuple[LevelRequests, FloatArray]:
        """Return the requests of a session, and the sum of the balanced excerpt with them.

        Parameters
        ----------
        plain, stems
            The stems without and with what was asked of their tracks.
        gains_db
            Fader of each stem in the balance.
        start
            The excerpt's sum in the balance, ``(2, frames)``.
        """
        change = {
            after.name: after.loudness_lufs - before.loudness_lufs
            if after.key != before.key and not (after.silent or before.silent)
            else 0.0
            for before, after in zip(plain, stems, strict=True)
        }
        same = all(a.key == b.key for a, b in zip(plain, stems, strict=True))
        if same and not any(fader_db.values()):
            return cls(), start
        total = np.zeros_like(start)
        for stem in stems:
            gain = db_to_amplitude(gains_db[stem.name] + fader_db.get(stem.name, 0.0))
            total += np.load(stem.excerpt, mmap_mode="r") * np.float32(gain)
        louder = integrated_loudness(total, sample_rate=sample_rate) - integrated_loudness(
            start, sample_rate=sample_rate
        )
        return cls(dict(fader_db), change, louder if math.isfinite(louder) else 0.0), total

    def of(self, stem: str) -> float:
        """Return by how much a stem was asked to be louder, in all."""
        return self.fader_db.get(stem, 0.0) + self.change_db.get(stem, 0.0)

    def levels(self, intended_lu: Mapping[str, float]) -> dict[str, float]:
        """Return the intended levels with the requests, their powers adding up to the mix again."""
        moved = {name: level + self.of(name) for name, level in intended_lu.items()}
        if not any(map(self.of, moved)):
            return dict(intended_lu)
        total = power_to_db(sum(10.0 ** (level / 10.0) for level in moved.values()))
        return {name: level - total for name, level in moved.items()}


@dataclass(frozen=True)
class RequestResult:
    """What came of one request.

    Parameters
    ----------
    subject
        The track, or the stem.
    request
        The key of ``session.toml``.
    asked, measured
        What was asked for, and what is in the mix: levels in dB against the mix without the
        request, as heard after the stem's strip.
    kept
        Whether that is what was asked for.
    """

    subject: str
    request: str
    asked: str | float | bool
    measured: str | float | bool
    kept: bool

    def __str__(self) -> str:
        end = "" if self.kept else ": not what was asked for"
        return (
            f"{self.subject}: {self.request} {_shown(self.asked)} asked for, "
            f"{_shown(self.measured)} in the mix{end}"
        )


def _shown(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:+.2f}"


def plan_without_requests(plan: Plan, analysed: AnalysedSession) -> Plan:
    """Return the plan with the gains that the tracks have without the user's requests."""
    tracks = tuple(
        track.model_copy(update={"gain_db": round(level.gain_db - level.requested_db, 4)})
        if abs(level.requested_db) > _LEAST_DB
        else track
        for track, level in zip(plan.tracks, analysed.balances, strict=True)
    )
    return plan.model_copy(update={"tracks": tracks})


def panned_stems(plan: Plan, analysed: AnalysedSession) -> dict[str, bool]:
    """Return the stems with a pan from the user, and whether all their tracks have one."""
    given: dict[str, list[bool]] = {}
    for track, source in zip(plan.tracks, analysed.session.tracks, strict=True):
        if not track.mute:
            given.setdefault(track.subgroup, []).append(source.overrides.pan is not None)
    return {name: all(pans) for name, pans in given.items() if any(pans)}


def with_requests(plan: Plan, requests: LevelRequests, panned: Mapping[str, bool]) -> Plan:
    """Return a plan whose strips and bus do with the requests what they do without.

    Parameters
    ----------
    plan
        Settings found for the balance without the requests.
    panned
        As :func:`panned_stems` returns it: what narrows, widens or moves these stems would undo it.
    """
    stems = tuple(
        _requested_strip(
            stem,
            requests.fader_db.get(stem.name, 0.0),
            requests.change_db.get(stem.name, 0.0),
            panned.get(stem.name),
        )
        for stem in plan.stems
    )
    bus = dict(plan.bus)
    predicted = dict(plan.bus_predicted)
    for settings in (bus, predicted):
        if settings and settings["ratio"] > 1.0 and requests.bus_db:
            limits = BUS.parameter("threshold_lu")
            moved = settings["threshold_lu"] + requests.bus_db
            settings["threshold_lu"] = round(min(max(moved, limits.low), limits.high), 4)
    return plan.model_copy(update={"stems": stems, "bus": bus, "bus_predicted": predicted})


def _requested_strip(
    stem: StemPlan, fader_db: float, change_db: float, panned: bool | None
) -> StemPlan:
    if not fader_db and not change_db and panned is None:
        return stem
    settings = _moved(stem.settings, fader_db)
    if panned is not None:
        settings |= {"pan": 0.0, "width": 1.0}
        if panned:
            settings["spread"] = 0.0
    return stem.model_copy(
        update={
            "level_lufs": round(stem.level_lufs + change_db, 4),
            "settings": settings,
            "predicted": _moved(stem.predicted, fader_db) if stem.predicted else {},
            "balance_gain_db": round(stem.balance_gain_db + fader_db, 4),
        }
    )


def _moved(settings: Mapping[str, float], fader_db: float) -> dict[str, float]:
    fader = STRIP.parameter("gain_db")
    gain_db = min(max(settings["gain_db"] + fader_db, fader.low), fader.high)
    return {**settings, "gain_db": round(gain_db, 4)}


def request_results(
    plan: Plan,
    before: Plan,
    analysed: AnalysedSession,
    plain: Sequence[BalancedStem],
    stems: Sequence[BalancedStem],
) -> tuple[RequestResult, ...]:
    """Return what came of each request, in the order of stems and tracks.

    Parameters
    ----------
    plan, before
        The plan with the requests, and the one that they were put upon.
    plain, stems
        The balanced stems without and with what was asked of their tracks.
    """
    strips = {stem.name: stem for stem in plan.stems}
    was = {stem.name: stem for stem in before.stems}
    changes = {}
    for first, second in zip(plain, stems, strict=True):
        old, new = was[second.name], strips[second.name]
        changes[second.name] = _StemChange(
            new.balance_gain_db - old.balance_gain_db,
            _strip_change(old, new, first, second, sample_rate=plan.sample_rate),
            second.silent,
        )
    results = _stem_results(plan, changes) if "stem" in analysed.session.offsets else []
    for track, level, source, record, features in zip(
        plan.tracks,
        analysed.balances,
        analysed.session.tracks,
        analysed.recognitions,
        analysed.features,
        strict=True,
    ):
        unheard = "muted" if track.mute else "silent" if features.silent else ""
        asked, stem = source.overrides, strips[track.subgroup]
        levels = {
            "gain_db": asked.gain_offset_db,
            "level of [offsets]"
            if record.presence == Presence.NORMAL
            else f"presence {record.presence}": level.requested_db - asked.gain_offset_db,
        }
        results += [
            *_level_results(track.path, levels, changes[track.subgroup].missed_db, unheard),
            *_pan_results(track, asked.pan, stem.settings, unheard),
            *_label_results(track, asked),
        ]
    return tuple(results)


@dataclass(frozen=True)
class _StemChange:
    """What a stem's fader was asked for, and what the strip does to its loudness, in dB."""

    asked_db: float
    measured_db: float
    silent: bool

    @property
    def missed_db(self) -> float:
        """What is in the mix more than was asked for.

        A strip that gives way, does so for the sum of what was asked.
        """
        return self.measured_db - self.asked_db


def _stem_results(plan: Plan, changes: Mapping[str, _StemChange]) -> list[RequestResult]:
    results = []
    for name in (stem.name for stem in plan.stems):
        change = changes[name]
        if abs(change.asked_db) > _LEAST_DB:
            measured: str | float = "silent" if change.silent else round(change.measured_db, 2)
            kept = not change.silent and abs(change.missed_db) <= _KEPT_DB
            asked_db = round(change.asked_db, 2)
            results.append(RequestResult(name, "level of [offsets.stem]", asked_db, measured, kept))
    return results


def _level_results(
    subject: str, asked_db: Mapping[str, float], missed_db: float, unheard: str
) -> list[RequestResult]:
    """Return what came of levels; ``unheard`` says why nothing is to be measured, if so."""
    kept = not unheard and abs(missed_db) <= _KEPT_DB
    return [
        RequestResult(
            subject, request, round(value, 2), unheard or round(value + missed_db, 2), kept
        )
        for request, value in asked_db.items()
        if abs(value) > _LEAST_DB
    ]


def _pan_results(
    track: TrackPlan, asked: float | None, strip: Mapping[str, float], unheard: str
) -> list[RequestResult]:
    if asked is None:
        return []
    pan = _heard_pan(track.pan, strip)
    kept = abs(pan - asked) <= _KEPT_PAN and not unheard
    return [RequestResult(track.path, "pan", asked, unheard or round(pan, 2) + 0.0, kept)]


def _label_results(track: TrackPlan, asked: TrackOverrides) -> list[RequestResult]:
    """Return what came of mute, polarity, role and subgroup."""
    labels: list[tuple[str, str | bool | None, str | bool]] = [
        ("mute", asked.mute or None, track.mute),
        ("invert", asked.invert, track.invert),
        ("role", None if asked.role is None else str(asked.role), track.role),
        ("subgroup", None if asked.subgroup is None else str(asked.subgroup), track.subgroup),
    ]
    return [
        RequestResult(track.path, request, wanted, there_is, wanted == there_is)
        for request, wanted, there_is in labels
        if wanted is not None
    ]


def _strip_change(
    before: StemPlan,
    after: StemPlan,
    plain: BalancedStem,
    stem: BalancedStem,
    *,
    sample_rate: int,
) -> float:
    """Return what a strip adds to its stem's loudness more than it did without the requests."""
    if plain.key == stem.key and before.settings == after.settings:
        return 0.0
    if plain.silent or stem.silent or after.settings["ratio"] == 1.0:
        # Nothing in the strip but the fader follows the level.
        return after.settings["gain_db"] - before.settings["gain_db"]

    def added(strip: StemPlan, audio: FloatArray) -> float:
        levels = {**strip.settings, "width": 1.0, "spread": 0.0, "pan": 0.0}
        out = Strip(levels, level_lufs=strip.level_lufs, sample_rate=sample_rate).process(
            np.array(audio)
        )
        return integrated_loudness(out, sample_rate=sample_rate) - integrated_loudness(
            np.asarray(audio), sample_rate=sample_rate
        )

    change = added(after, np.load(stem.excerpt, mmap_mode="r")) - added(
        before, np.load(plain.excerpt, mmap_mode="r")
    )
    return change if math.isfinite(change) else 0.0


def _heard_pan(pan: float, settings: Mapping[str, float]) -> float:
    """Return where a mono track at a pan stands after its strip's width and pan."""
    left, right = pan_gains(pan)
    middle, side = (left + right) / 2.0, (left - right) / 2.0 * settings["width"]
    by_strip = pan_gains(settings["pan"])
    left, right = abs(middle + side) * by_strip[0], abs(middle - side) * by_strip[1]
    return 4.0 / math.pi * math.atan2(right, left) - 1.0
