"""Delivery: loudness targets, and the drive and trim that reach them under a true-peak ceiling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.limiter import TruePeakLimiter
from pipeline.loudness import integrated_loudness, measure
from pipeline.plan import BUS
from pipeline.problems import InputError, Problem, suggest
from pipeline.units import FloatArray, amplitude_to_db, db_to_amplitude

__all__ = [
    "CREST_WINDOW_S",
    "DEFAULT_LUFS",
    "TARGETS",
    "Delivered",
    "Target",
    "fit_delivery",
    "limit",
    "median_crest_db",
    "parse_target",
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
_BLOCK_FRAMES = 65_536
_PASSES = 10
_CREST_PASSAGES, _CREST_PASSAGE_S = 10, 1.05
# More than this off a typical peak is heard as distortion; a crest that needs it is not chased.
_MAX_CREST_LIMITING_DB = 8.0
_CREST_PASSES = 6
# What the console accepts: a plan with another drive could not be rendered again.
_DRIVE_RANGE_DB = next((p.low, p.high) for p in BUS if p.name == "gain_db")


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
    """

    drive_db: float
    trim_db: float
    audio: FloatArray
    loudness_lufs: float


def limit(
    audio: FloatArray,
    *,
    sample_rate: int,
    ceiling_dbtp: float,
    drive_db: float = 0.0,
    trim_db: float = 0.0,
) -> FloatArray:
    """Return what the bus's limiter and trim make of its audio, latency compensated.

    Sample for sample what :class:`pipeline.processors.Bus` gives with these settings.

    Parameters
    ----------
    audio
        The bus before its gain, ``(2, frames)`` float64.

    Returns
    -------
    FloatArray
        float32, ``(2, frames)``.
    """
    return _trimmed(_limited(audio, sample_rate, ceiling_dbtp, drive_db), trim_db)


def _limited(
    audio: FloatArray, sample_rate: int, ceiling_dbtp: float, drive_db: float
) -> FloatArray:
    limiter = TruePeakLimiter(ceiling_dbtp, sample_rate=sample_rate)
    drive = db_to_amplitude(drive_db)
    frames = audio.shape[1]
    late = np.empty((2, frames + limiter.latency))
    for start in range(0, frames, _BLOCK_FRAMES):
        block = np.asarray(audio[:, start : start + _BLOCK_FRAMES], dtype=np.float64) * drive
        late[:, start : start + block.shape[1]] = limiter.process(block)
    late[:, frames:] = limiter.flush()
    return late[:, limiter.latency :]


def _trimmed(limited: FloatArray, trim_db: float) -> FloatArray:
    trim = db_to_amplitude(trim_db)
    return np.asarray(limited if trim == 1.0 else limited * trim, dtype=np.float32)


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
    peak, power = _windows(audio, sample_rate)
    return float(np.median(10.0 * np.log10(np.square(peak) / power))) if peak.size else 0.0


def _windows(audio: FloatArray, sample_rate: int) -> tuple[FloatArray, FloatArray]:
    """Return peak and mean power of each window of 0.35 s that is not silent."""
    size = min(round(CREST_WINDOW_S * sample_rate), audio.shape[1])
    count = audio.shape[1] // max(size, 1)
    shaped = audio[:, : count * size].reshape(audio.shape[0], count, size)
    power = np.einsum("cwf,cwf->w", shaped, shaped, dtype=np.float64)
    power /= max(audio.shape[0] * size, 1)
    heard = power > _SILENT_POWER
    peak = np.abs(shaped).max(axis=(0, 2), initial=0.0).astype(np.float64)
    return peak[heard], power[heard]


def fit_delivery(
    audio: FloatArray,
    *,
    sample_rate: int,
    target_lufs: float,
    ceiling_dbtp: float,
    crest_db: float | None = None,
    start_drive_db: float | None = None,
    whole_crest: bool = False,
) -> Delivered:
    """Find drive and trim that give a loudness under a ceiling, and a crest where one is wanted.

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
    crest_db
        Wanted median crest factor; the drive goes up to reach it, the trim down, so that loudness
        stays the target. Loudness goes first where both cannot be had.
    start_drive_db
        A drive that reached the target on similar audio, to begin the search at.
    whole_crest
        Judge the crest on all of the audio, not on ten seconds spread over it.

    Returns
    -------
    Delivered
        With drive 0 for silence.
    """
    loudness = measure(audio.astype(np.float32), sample_rate=sample_rate)
    if not math.isfinite(loudness.integrated_lufs):
        return Delivered(0.0, 0.0, audio.astype(np.float32), -math.inf)
    open_drive = ceiling_dbtp - loudness.true_peak_dbtp
    drive = target_lufs - loudness.integrated_lufs
    if crest_db is not None:
        some = audio if whole_crest else _spread_excerpt(audio, sample_rate)
        wanted = _drive_for_crest(some, sample_rate, ceiling_dbtp, crest_db, open_drive)
        drive = max(drive, wanted)
    drive = _in_range(drive)
    if drive <= open_drive:
        return _deliver(audio, sample_rate, ceiling_dbtp, drive, target_lufs)
    return _reach_loudness(
        audio, sample_rate, ceiling_dbtp, drive, target_lufs, start_drive_db=start_drive_db
    )


def _in_range(drive_db: float) -> float:
    low, high = _DRIVE_RANGE_DB
    return min(max(drive_db, low), high)


def _spread_excerpt(audio: FloatArray, sample_rate: int) -> FloatArray:
    """Return passages spread over ``audio``: enough for a median crest."""
    length = round(_CREST_PASSAGE_S * sample_rate)
    if audio.shape[1] <= _CREST_PASSAGES * length:
        return audio
    starts = np.linspace(0, audio.shape[1] - length, _CREST_PASSAGES).astype(int)
    return np.concatenate([audio[:, s : s + length] for s in starts], axis=1)


def _drive_for_crest(
    audio: FloatArray, sample_rate: int, ceiling_dbtp: float, crest_db: float, open_drive: float
) -> float:
    """Return the least drive whose limited audio has the wanted crest; ``-inf`` if it has less."""
    if median_crest_db(audio, sample_rate=sample_rate) <= crest_db:
        return -math.inf
    typical_db = amplitude_to_db(float(np.median(_windows(audio, sample_rate)[0])))
    low = open_drive
    high = max(ceiling_dbtp - typical_db, open_drive) + _MAX_CREST_LIMITING_DB
    for _ in range(_CREST_PASSES):
        middle = (low + high) / 2.0
        limited = limit(audio, sample_rate=sample_rate, ceiling_dbtp=ceiling_dbtp, drive_db=middle)
        if median_crest_db(limited, sample_rate=sample_rate) > crest_db:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _deliver(
    audio: FloatArray, sample_rate: int, ceiling_dbtp: float, drive_db: float, target_lufs: float
) -> Delivered:
    """Limit at a drive and trim down to the target."""
    # Four decimals, as the plan stores them: what is measured here is what is rendered.
    drive = round(drive_db, 4)
    limited = _limited(audio, sample_rate, ceiling_dbtp, drive)
    reached = integrated_loudness(limited, sample_rate=sample_rate)
    trim = round(min(target_lufs - reached, 0.0), 4)
    if trim > -0.005:
        trim = 0.0
    return Delivered(drive, trim, _trimmed(limited, trim), reached + trim)


def _reach_loudness(
    audio: FloatArray,
    sample_rate: int,
    ceiling_dbtp: float,
    least_drive_db: float,
    target_lufs: float,
    *,
    start_drive_db: float | None,
) -> Delivered:
    """Find the least drive from ``least_drive_db`` up that makes the limited audio loud enough."""
    drive = max(least_drive_db, -math.inf if start_drive_db is None else start_drive_db)
    best = _deliver(audio, sample_rate, ceiling_dbtp, drive, target_lufs)
    slope = 0.8
    for _ in range(_PASSES):
        # what the trim takes off is too much drive, but for the least that is wanted
        missing = target_lufs - best.loudness_lufs + best.trim_db
        if abs(missing) <= _TOLERANCE_LU or (missing < 0.0 and best.drive_db <= least_drive_db):
            break
        step = min(max(missing / slope, least_drive_db - drive), 6.0)
        step = _in_range(drive + step) - drive
        if abs(step) < 1e-3:
            break
        drive += step
        following = _deliver(audio, sample_rate, ceiling_dbtp, drive, target_lufs)
        gained = (following.loudness_lufs - following.trim_db) - (best.loudness_lufs - best.trim_db)
        if step > 0.0 and gained < 0.01:  # the limiter is saturated
            break
        slope = min(max(gained / step, 0.15), 1.0)
        best = following
    return best
