"""Delivery: loudness targets, and the drive and trim that reach them under a true-peak ceiling.

:func:`fit_delivery` finds the drive into the limiter, and the trim follows from it:

1. A sketch of the limiter tells loudness and crest at any drive for a fiftieth of its time.
2. By it, take the drive that reaches the loudness.
3. Where a density is wanted, go on to the drive that reaches its crest, but not past the one at
   which peaks stand no higher over the loudness than is wanted.
4. Run the limiter at that drive, and trim what comes out down to the loudness.
5. Where loudness or crest is off, move the sketch by what it was off there, and go back to 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.optimize

from pipeline.console.compressor import GainReduction
from pipeline.console.limiter import TruePeakLimiter
from pipeline.console.limiter_estimate import LimiterSketch
from pipeline.console.parameters import BUS
from pipeline.errors import InputError, Problem, suggest
from pipeline.loudness.meter import LoudnessMeter, integrated_loudness
from pipeline.units import FloatArray, amplitude_to_db, db_to_amplitude

__all__ = [
    "CREST_WINDOW_S",
    "DEFAULT_LUFS",
    "HIGHEST_REFERENCE_LUFS",
    "TARGETS",
    "Delivered",
    "Density",
    "Target",
    "deliver_at",
    "fit_delivery",
    "is_as_loud",
    "median_crest_db",
    "parse_target",
    "peak_to_loudness_db",
    "usual_limiting_db",
]


@dataclass(frozen=True)
class Target:
    """A delivery specification.

    Parameters
    ----------
    loudness_lufs
        Integrated loudness; None follows the reference.
    ceiling_dbtp
        Highest true peak.
    source
        Where the figures come from.
    """

    loudness_lufs: float | None
    ceiling_dbtp: float
    source: str


#: Loudness without a reference and without a target: what most streaming services normalise to.
DEFAULT_LUFS = -14.0

#: A reference that is louder is not followed so far.
HIGHEST_REFERENCE_LUFS = -6.0

TARGETS: dict[str, Target] = {
    "reference": Target(None, -1.0, "the loudness of the reference"),
    "spotify": Target(-14.0, -1.0, "Spotify for Artists, loudness normalization"),
    "apple": Target(-16.0, -1.0, "Apple Sound Check; Apple Digital Masters ceiling"),
    "youtube": Target(-14.0, -1.0, "YouTube's content loudness normalisation"),
    "ebu-r128": Target(-23.0, -1.0, "EBU R 128-2023"),
    "netflix": Target(-27.0, -2.0, "Netflix sound mix specification v1.6"),
}

CREST_WINDOW_S = 0.35
_SILENT_POWER = 1e-6
_LOWEST_LUFS, _HIGHEST_LUFS = -50.0, -5.0
_TOLERANCE_LU = 0.05
_CREST_TOLERANCE_DB = 0.1
# Drives this near give the same delivery.
_LEAST_STEP_DB = 0.01
# A trim this near to the one of a plan is that one: a target is rounded where it is written.
_SAME_TRIM_DB = 0.01
# So little is left to win where the limiter is saturated.
_SATURATED_LU = 0.05
_BLOCK_FRAMES = 65_536
_PASSES = 4
_LIMITING_TOLERANCE_DB = 0.02
_USUAL_LIMITING_DB, _LOUD_LUFS = 4.0, -9.0
# More than this off a typical peak is heard as distortion; a crest that needs it is not chased.
_MAX_CREST_LIMITING_DB = 8.0
# What the console accepts: a plan with another drive could not be rendered again.
_DRIVE = BUS.parameter("gain_db")
_DRIVE_RANGE_DB = (_DRIVE.low, _DRIVE.high)


def parse_target(text: str) -> Target:
    """Return the target that a name or a loudness in LUFS asks for.

    Raises
    ------
    InputError
        If the name is unknown or the loudness out of range.

    Examples
    --------
    >>> parse_target("-12.5").loudness_lufs
    -12.5
    """
    name = text.strip().lower()
    if name in TARGETS:
        return TARGETS[name]
    try:
        loudness = float(name.removesuffix("lufs"))
    except ValueError:
        raise InputError(
            [Problem("target", f"{text!r} is unknown", suggest(name, [*TARGETS, "-14"]))]
        ) from None
    if not _LOWEST_LUFS <= loudness <= _HIGHEST_LUFS:
        raise InputError(
            [
                Problem(
                    "target",
                    f"{loudness:g} LUFS is out of range",
                    f"use a loudness from {_LOWEST_LUFS:g} to {_HIGHEST_LUFS:g} LUFS",
                )
            ]
        )
    return Target(loudness, -1.0, "asked for")


def usual_limiting_db(target_lufs: float) -> float:
    """Return what a limiter may take off, but for its worst 5 % of time, for a loudness.

    4 dB up to -9 LUFS, as far as mastering goes unheard; what is asked for beyond that is the
    limiter's to give.
    """
    return _USUAL_LIMITING_DB + max(target_lufs - _LOUD_LUFS, 0.0)


def is_as_loud(target_lufs: float, reference_lufs: float) -> bool:
    """Whether a target is as loud as a reference, so that the mix may be as dense.

    A master that is asked for at a lower loudness needs no such density: its peaks have room.

    Examples
    --------
    >>> is_as_loud(-9.0, -9.02), is_as_loud(-14.0, -9.02)
    (True, False)
    """
    return target_lufs >= min(reference_lufs, HIGHEST_REFERENCE_LUFS) - _TOLERANCE_LU


@dataclass(frozen=True)
class Delivered:
    """The limiter's settings, and what they make of the audio they were fitted on.

    Parameters
    ----------
    drive_db
        Gain into the limiter.
    trim_db
        Gain after it, at most 0.
    audio
        The limited and trimmed audio, ``(2, frames)`` float32.
    loudness_lufs
        Of ``audio``.
    limiting
        What the limiter took away.
    """

    drive_db: float
    trim_db: float
    audio: FloatArray
    loudness_lufs: float
    limiting: GainReduction


@dataclass(frozen=True)
class Density:
    """How dense a mix is wanted.

    Parameters
    ----------
    crest_db
        Median crest factor, as :func:`median_crest_db` tells it.
    peak_to_loudness_db
        Highest sample over integrated loudness: for the crest's sake the limiter goes no further.
        Typical peaks can be brought down by it, but then the highest come down to them.
    """

    crest_db: float
    peak_to_loudness_db: float


def _limited(
    audio: FloatArray, sample_rate: int, ceiling_dbtp: float, drive_db: float
) -> tuple[FloatArray, GainReduction]:
    limiter = TruePeakLimiter(ceiling_dbtp, sample_rate=sample_rate)
    drive = db_to_amplitude(drive_db)
    frames = audio.shape[1]
    late = np.empty((2, frames + limiter.latency))
    for start in range(0, frames, _BLOCK_FRAMES):
        block = np.asarray(audio[:, start : start + _BLOCK_FRAMES], dtype=np.float64) * drive
        late[:, start : start + block.shape[1]] = limiter.process(block)
    late[:, frames:] = limiter.flush()
    return late[:, limiter.latency :], limiter.gain_reduction


def _trimmed(limited: FloatArray, trim_db: float) -> FloatArray:
    trim = db_to_amplitude(trim_db)
    trimmed = np.empty(limited.shape, np.float32)
    for start in range(0, limited.shape[1], _BLOCK_FRAMES):  # an hour is never held twice over
        block = limited[:, start : start + _BLOCK_FRAMES]
        trimmed[:, start : start + _BLOCK_FRAMES] = block if trim == 1.0 else block * trim
    return trimmed


def _peak(audio: FloatArray) -> float:
    """Return the largest absolute sample."""
    return max(float(audio.max(initial=0.0)), -float(audio.min(initial=0.0)))


def median_crest_db(audio: FloatArray, *, sample_rate: int) -> float:
    """Return the median crest factor over windows of 0.35 s that are not silent.

    Parameters
    ----------
    audio
        ``(channels, frames)``.
    sample_rate
        In Hz.

    Returns
    -------
    float
        Peak of the louder channel over the RMS of all, in dB; 0 if every window is silent.
    """
    return _median_crest_db(*_windows(audio, sample_rate))


def _median_crest_db(peak: FloatArray, power: FloatArray) -> float:
    return float(np.median(10.0 * np.log10(np.square(peak) / power))) if peak.size else 0.0


def peak_to_loudness_db(audio: FloatArray, loudness_lufs: float) -> float:
    """Return sample peak - loudness in dB of ``(channels, frames)``; 0 for silence."""
    if not math.isfinite(loudness_lufs):
        return 0.0
    return amplitude_to_db(_peak(audio)) - loudness_lufs


def _windows(audio: FloatArray, sample_rate: int) -> tuple[FloatArray, FloatArray]:
    """Return peak and mean power of each window of 0.35 s that is not silent."""
    size = min(round(CREST_WINDOW_S * sample_rate), audio.shape[1])
    count = audio.shape[1] // max(size, 1)
    shaped = audio[:, : count * size].reshape(audio.shape[0], count, size)
    power = np.einsum("cwf,cwf->w", shaped, shaped, dtype=np.float64)
    power /= max(audio.shape[0] * size, 1)
    audible = power > _SILENT_POWER
    peak = np.maximum(
        shaped.max(axis=(0, 2), initial=0.0), -shaped.min(axis=(0, 2), initial=0.0)
    ).astype(np.float64)
    return peak[audible], power[audible]


def fit_delivery(
    audio: FloatArray,
    *,
    sample_rate: int,
    target_lufs: float,
    ceiling_dbtp: float,
    density: Density | None = None,
    most_limiting_db: float = math.inf,
) -> Delivered:
    """Find drive and trim that give a loudness under a ceiling, and a density where one is wanted.

    Parameters
    ----------
    audio
        The bus before the limiter, ``(2, frames)``.
    sample_rate
        In Hz.
    target_lufs
        Wanted integrated loudness, within 0.05 LU unless the limiter saturates or the drive is at
        the end of the bus's range.
    ceiling_dbtp
        The limiter's ceiling.
    density
        The drive goes up to reach its median crest factor within 0.1 dB, the trim down, so that
        loudness stays the target. Loudness goes first where both cannot be had; peaks come down no
        nearer to the loudness than is wanted, and a typical one by no more than 8 dB.
    most_limiting_db
        What the limiter may take off in all but its worst 5 % of time; with it, loudness is missed
        where it needs more.

    Returns
    -------
    Delivered
        With drive 0 for silence.
    """
    meter = LoudnessMeter(sample_rate=sample_rate, channels=2)
    for start in range(0, audio.shape[1], _BLOCK_FRAMES):
        meter.process(audio[:, start : start + _BLOCK_FRAMES].astype(np.float32))
    if not math.isfinite(meter.integrated_lufs):
        return Delivered(0.0, 0.0, audio.astype(np.float32), -math.inf, GainReduction(0.0, 0.0))
    search = _DriveSearch(audio, meter, sample_rate, ceiling_dbtp, target_lufs, density)
    drive_db = search.first_db()
    for _ in range(_PASSES):
        delivered, next_db = search.limit(drive_db)
        if abs(next_db - drive_db) < _LEAST_STEP_DB:
            break
        drive_db = next_db
    while delivered.limiting.p95_db > most_limiting_db + _LIMITING_TOLERANCE_DB:
        # A limiter takes off at most one decibel more for each that it is driven further.
        drive_db = round(drive_db - (delivered.limiting.p95_db - most_limiting_db), 4)
        delivered, _ = search.limit(drive_db)
    return delivered


def deliver_at(
    audio: FloatArray,
    *,
    sample_rate: int,
    ceiling_dbtp: float,
    drive_db: float,
    target_lufs: float | None = None,
    trim_db: float = 0.0,
) -> Delivered:
    """Return what a known drive gives, trimmed down to a loudness where one is wanted.

    Sample for sample what :func:`fit_delivery` returned with this drive for this target.

    Parameters
    ----------
    audio
        The bus before the limiter, ``(2, frames)``.
    target_lufs
        The trim goes down to it, never up; None for ``trim_db``.
    trim_db
        The trim that is known: it is kept where it is within 0.01 dB of the one for the target.
    """
    limited, limiting = _limited(audio, sample_rate, ceiling_dbtp, drive_db)
    if target_lufs is not None:
        return _trim_to(limited, limiting, drive_db, target_lufs, sample_rate, known_db=trim_db)
    reached = integrated_loudness(limited, sample_rate=sample_rate)
    return Delivered(drive_db, trim_db, _trimmed(limited, trim_db), reached + trim_db, limiting)


class _DriveSearch:
    """The drive that a delivery takes, by the limiter's sketch and what that was off."""

    def __init__(
        self,
        audio: FloatArray,
        meter: LoudnessMeter,
        sample_rate: int,
        ceiling_dbtp: float,
        target_lufs: float,
        density: Density | None,
    ) -> None:
        self._audio, self._rate, self._ceiling_dbtp = audio, sample_rate, ceiling_dbtp
        self._target_lufs, self._density = target_lufs, density
        self._plain_db = target_lufs - meter.integrated_lufs  # reaches it without the limiter
        self._open_db = ceiling_dbtp - meter.true_peak_dbtp  # up to here nothing is limited
        sketch = LimiterSketch(
            audio,
            meter.segment_power(),
            sample_rate=sample_rate,
            ceiling_dbtp=ceiling_dbtp,
            window_frames=min(round(CREST_WINDOW_S * sample_rate), audio.shape[1]),
            silent_power=_SILENT_POWER,
        )
        self._sketch = cache(sketch.at)  # searches begin at the same ends
        if density is None:
            return
        peaks, power = _windows(audio, sample_rate)
        if (
            _median_crest_db(peaks, power) <= density.crest_db
            or peak_to_loudness_db(audio, meter.integrated_lufs) <= density.peak_to_loudness_db
        ):
            self._density = None
            return
        typical_db = ceiling_dbtp - amplitude_to_db(float(np.median(peaks)))
        self._densest_db = max(typical_db, self._open_db) + _MAX_CREST_LIMITING_DB

    def first_db(self) -> float:
        """Return the drive by the sketch alone."""
        return self._drive_db(0.0, 0.0, self._ceiling_dbtp)

    def limit(self, drive_db: float) -> tuple[Delivered, float]:
        """Return what a drive gives, and the one to take next: the same if that will do."""
        limited, limiting = _limited(self._audio, self._rate, self._ceiling_dbtp, drive_db)
        delivered = _trim_to(limited, limiting, drive_db, self._target_lufs, self._rate)
        crest_db = off_db = 0.0
        if self._density:
            crest_db = median_crest_db(limited, sample_rate=self._rate)
            off_db = crest_db - self._density.crest_db
        dense = delivered.trim_db == 0.0 and off_db < 0.0  # for loudness' sake, not the crest's
        is_loud = abs(self._target_lufs - delivered.loudness_lufs) <= _TOLERANCE_LU
        if is_loud and (dense or abs(off_db) <= _CREST_TOLERANCE_DB):
            return delivered, drive_db
        sketched_lufs, sketched_db = self._sketch(drive_db)
        louder_lu = delivered.loudness_lufs - delivered.trim_db - sketched_lufs
        peak_dbfs = amplitude_to_db(_peak(limited))
        return delivered, self._drive_db(louder_lu, crest_db - sketched_db, peak_dbfs)

    def _drive_db(self, louder_lu: float, denser_db: float, peak_dbfs: float) -> float:
        """Return the drive where the limiter is louder and its crest higher than sketched.

        Its highest sample is at ``peak_dbfs``.
        """
        drive_db = self._plain_db
        if self._plain_db > self._open_db:
            drive_db = self._for_loudness(self._target_lufs - louder_lu)
        if self._density:
            flattest_lufs = peak_dbfs - self._density.peak_to_loudness_db
            most_db = self._for_loudness(flattest_lufs - louder_lu)
            wanted_db = self._for_crest(self._density.crest_db - denser_db)
            drive_db = max(drive_db, min(wanted_db, most_db))
        # Four decimals, as the plan stores them: what is measured here is what is rendered.
        return round(_in_range(drive_db), 4)

    def _for_loudness(self, lufs: float) -> float:
        low, high = _in_range(self._plain_db), _DRIVE_RANGE_DB[1]
        wanted = min(lufs, self._sketch(high)[0] - _SATURATED_LU)
        return _crossing(lambda drive: self._sketch(drive)[0] - wanted, low, high)

    def _for_crest(self, wanted_db: float) -> float:
        return _crossing(
            lambda drive: wanted_db - self._sketch(drive)[1], self._open_db, self._densest_db
        )


def _crossing(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function is 0, or the end of its range that is nearest to that."""
    if low >= high or rising(low) >= 0.0:
        return low
    if rising(high) <= 0.0:
        return high
    return float(scipy.optimize.toms748(rising, low, high, xtol=_LEAST_STEP_DB / 2.0))


def _in_range(drive_db: float) -> float:
    low, high = _DRIVE_RANGE_DB
    return min(max(drive_db, low), high)


def _trim_to(
    limited: FloatArray,
    limiting: GainReduction,
    drive_db: float,
    target_lufs: float,
    sample_rate: int,
    *,
    known_db: float | None = None,
) -> Delivered:
    """Trim what came out of the limiter down to the target."""
    reached = integrated_loudness(limited, sample_rate=sample_rate)
    trim = round(min(target_lufs - reached, 0.0), 4)
    if trim > -0.005:
        trim = 0.0
    if known_db is not None and abs(trim - known_db) <= _SAME_TRIM_DB:
        trim = known_db
    return Delivered(drive_db, trim, _trimmed(limited, trim), reached + trim, limiting)
