"""What a mix engineer would want to know of a mix: each finding with its place and a remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.console.compressor import COURSE_S, GainReduction
from pipeline.prose import spoken, spoken_hz
from pipeline.report.masking import Covered, Masking
from pipeline.report.stereo import StereoField
from pipeline.roles import Subgroup

__all__ = [
    "BUS_LIMITS",
    "LIMITER_LIMITS",
    "STEM_LIMITS",
    "Finding",
    "Followed",
    "Limits",
    "clock",
    "compression_findings",
    "crest_findings",
    "masking_findings",
    "masking_summary",
    "stereo_findings",
    "typical_db",
]


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Parameters
    ----------
    where
        The stem, track or part of the chain, as a reader calls it, and when.
    what
        What was measured there, with figures.
    remedy
        What to do if it is not meant.
    """

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


@dataclass(frozen=True)
class Limits:
    """From where a gain reduction is worth a word: typically, while it works, and at most."""

    typical_db: float
    most_db: float


STEM_LIMITS = Limits(6.0, 12.0)
"""Instruments and voices are usually set to show 3 to 6 dB, up to 10 on a hard driven voice."""
BUS_LIMITS = Limits(4.0, 8.0)
"""A bus is held together by 1 to 3 dB; more pumps, as what is loud moves all else."""
LIMITER_LIMITS = Limits(4.0, 9.0)
"""A limiter that always takes more dulls every attack; what it takes at most distorts the lows."""

AT_WORK_DB = 0.5
"""Less is no gain reduction to speak of."""

CREST_LOST_DB = 6.0
"""Half of each peak's amplitude gone: transients are heard to be flatter."""

MONO_LOSS_DB = 3.0
"""What two unrelated channels lose; only what works against itself loses more."""
LOW_MONO_LOSS_DB = 1.5
"""Under 125 Hz, where clubs and cutting lathes know one channel."""
IMBALANCE_DB = 1.5
"""A step that is clearly heard as off centre."""
BAND_CORRELATION = -0.2
"""Under it a band loses 7 dB and more in mono."""
_AUDIBLE_BAND_DB = -20.0  # against the loudest band
_MASKED_MOST = 6  # pairs that are told
_IN_FRONT = frozenset({Subgroup.LEAD_VOCALS, Subgroup.DIALOGUE})  # told first

_IN_PLAN = "in plan.json"


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds.

    Examples
    --------
    >>> clock(83.5)
    '1:23'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def typical_db(reduction: GainReduction) -> float:
    """Return the median of a gain reduction while it works, 0 if it never does."""
    course = np.asarray(reduction.course_db)
    working = course[course >= AT_WORK_DB]
    return float(np.median(working)) if working.size else 0.0


@dataclass(frozen=True)
class Followed:
    """What of a style was followed: it decides what would help.

    Parameters
    ----------
    style
        Whether a style was followed at all, so that less ``--strength`` does less of it.
    dynamics
        Whether its dynamics were.
    """

    style: bool = False
    dynamics: bool = False

    @property
    def less(self) -> str:
        """What of a run's options leaves the dynamics more as they were; empty where none does."""
        options = [
            *(["mix with less --strength"] if self.style else []),
            *(["leave dynamics out of --match"] if self.dynamics else []),
        ]
        return " or ".join(options)


def compression_findings(
    stems: Mapping[str, GainReduction],
    bus: GainReduction,
    limiting: GainReduction,
    followed: Followed = Followed(),
) -> tuple[Finding, ...]:
    """Say which compressors work harder than is usual, and where most."""
    less = f", or {followed.less}" if followed.dynamics else ""
    findings = [
        Finding(
            f"{spoken(name)}{_when(reduction)}",
            f"compressed hard, {_reduced(reduction)}",
            f"raise its threshold_lu or lower its ratio {_IN_PLAN}{less}",
        )
        for name, reduction in stems.items()
        if _is_over(reduction, STEM_LIMITS)
    ]
    if _is_over(bus, BUS_LIMITS):
        findings.append(
            Finding(
                f"Bus compressor{_when(bus)}",
                f"works hard, {_reduced(bus)}",
                f"raise the bus's threshold_lu {_IN_PLAN}{less}",
            )
        )
    if _is_over(limiting, LIMITER_LIMITS):
        findings.append(
            Finding(
                f"Limiter{_when(limiting)}",
                f"works hard, {_reduced(limiting)}",
                f"a lower --target, or target_lufs {_IN_PLAN}, leaves it less to do; if it has to "
                "be so loud, compress the stems that peak",
            )
        )
    return tuple(findings)


def _is_over(reduction: GainReduction, limits: Limits) -> bool:
    return reduction.max_db >= limits.most_db or typical_db(reduction) >= limits.typical_db


def _when(reduction: GainReduction) -> str:
    course = reduction.course_db
    return f" (most at {clock(COURSE_S * int(np.argmax(course)))})" if course else ""


def _reduced(reduction: GainReduction) -> str:
    return f"{typical_db(reduction):.1f} dB while it works and {reduction.max_db:.1f} dB at most"


def crest_findings(
    start_db: float, mix_db: float, followed: Followed = Followed()
) -> tuple[Finding, ...]:
    """Say whether peaks lost much against the balanced start; both as median crest factors."""
    lost = start_db - mix_db
    if not math.isfinite(lost) or lost < CREST_LOST_DB:
        return ()
    return (
        Finding(
            "The whole mix",
            f"crest factor {mix_db:.1f} dB, {lost:.1f} dB less than in the balanced start",
            f"if attacks sound flat, ask for a lower --target, or target_lufs {_IN_PLAN}"
            + (f", or {followed.less}" if followed.dynamics else ""),
        ),
    )


def stereo_findings(field: StereoField) -> tuple[Finding, ...]:
    """Say what of a mix gets lost in mono, and whether it leans to a side."""
    findings = []
    if field.mono_loss_db >= MONO_LOSS_DB:
        findings.append(
            Finding(
                "The whole mix",
                f"loses {field.mono_loss_db:.1f} dB in mono (correlation "
                f"{field.correlation:.2f})".replace("-", "−"),
                f"narrow the widest stems: lower width and spread {_IN_PLAN}",
            )
        )
    if field.low_mono_loss_db >= LOW_MONO_LOSS_DB:
        findings.append(
            Finding(
                "The whole mix, under 125 Hz",
                f"loses {field.low_mono_loss_db:.1f} dB in mono",
                f"narrow the stems that play there: lower width {_IN_PLAN}",
            )
        )
    against = [
        hz
        for hz, rho, level_db in zip(
            field.bands_hz, field.correlation_by_band, field.level_by_band_db, strict=True
        )
        if rho <= BAND_CORRELATION and level_db >= _AUDIBLE_BAND_DB
    ]
    if against:
        edge = 2.0 ** (1.0 / 6.0)
        findings.append(
            Finding(
                f"Around {_span(against[0] / edge, against[-1] * edge)}",
                "left and right work against each other, which mono cancels",
                "look for a stereo track of inverted polarity, and narrow what plays there",
            )
        )
    if abs(field.balance_db) >= IMBALANCE_DB:
        side = "right" if field.balance_db > 0.0 else "left"
        findings.append(
            Finding(
                "The whole mix",
                f"{abs(field.balance_db):.1f} dB louder on the {side}",
                f"move the pan of a stem {_IN_PLAN}, unless the reference leans so too",
            )
        )
    return tuple(findings)


def masking_findings(masking: Masking) -> tuple[Finding, ...]:
    """Say which stems are covered by another most of the time, the worst pairs."""
    return tuple(
        Finding(
            f"{spoken(pair.stem)}, {_span(pair.low_hz, pair.high_hz)}",
            masking_summary(pair),
            f"if it should be heard there, make room by an equaliser band of either {_IN_PLAN}, "
            "or pan them apart",
        )
        for pair in sorted(masking.covered, key=lambda pair: pair.stem not in _IN_FRONT)[
            :_MASKED_MOST
        ]
    )


def masking_summary(pair: Covered) -> str:
    """Return what covers a stem, without the stem's name and the place.

    Examples
    --------
    >>> masking_summary(Covered("keys", "drums", 2000.0, 4400.0, 0.62, 0.4, 8.2))
    'covered by drums for 62% of the time that it sounds there, by 8 dB'
    """
    return (
        f"covered by {spoken(pair.by).lower()} for {pair.time_share:.0%} of the time that it "
        f"sounds there, by {pair.excess_db:.0f} dB"
    )


def _span(low_hz: float, high_hz: float) -> str:
    return f"{spoken_hz(low_hz)} to {spoken_hz(high_hz)}"
