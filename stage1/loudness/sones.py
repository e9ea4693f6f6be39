"""Loudness as it is heard, in LUFS: which gain makes a track's N5 equal to everyone's.

Tracks balanced by LUFS are not equally loud: K-weighting adds powers, the ear adds critical bands.
A bass at the same LUFS is 10 phon quieter than a guitar, a sound spread over the spectrum louder
than one in a narrow band. Here a track is played at a stated level, its ISO 532-1 loudness over
time is computed on passages spread over its active parts, and the gain is solved for that brings
N5, the loudness exceeded in 5 % of the time, to that of speech-shaped noise. The result is given as
the LUFS-like figure that yields this gain, so it can stand where LUFS stand.

*Level.* A track at -23 LUFS is heard at 73 dB SPL: a mix of a dozen such tracks stands some 8 dB
higher, at the 80 to 83 dB SPL that mixing rooms are set to.

*Ears.* ISO 532-1 has one ear, or two that hear the same. A track's channels are summed in power in
each band, as LUFS does, and as two loudspeakers do at a listener's head.

*Bounds.* No track moves more than :data:`MAX_SHIFT_LU` against LUFS. Upwards, two kinds of sound
do not move at all: what lies mostly above 5 kHz (hi-hats, hiss: the ear hears less of it than
K-weighting counts, and turning it up 10 dB is what makes a mix harsh) and steady noise. Both are
told from the band powers. They are still turned *down* where they are louder than LUFS say. Noise
under about 120 Hz cannot be told from a bass or a kick this way, and moves up like one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.signal

from pipeline.audio.samples import Samples
from pipeline.loudness.meter import k_weighting, lufs_to_power
from pipeline.units import BoolArray, Float64Array
from stage1.loudness.zwicker import (
    BAND_RATE_HZ,
    BANDS,
    LOUDNESS_RATE_HZ,
    SAMPLE_RATE,
    band_powers,
    loudness,
    percentile_loudness,
    sone_to_phon,
)

__all__ = ["LISTENING_DB_SPL", "MAX_SHIFT_LU", "WORKING_LUFS", "SonesLoudness", "measure_sones"]


WORKING_LUFS = -23.0
LISTENING_DB_SPL = 73.0
"""Level at which a track of :data:`WORKING_LUFS` is heard."""
MAX_SHIFT_LU = 8.0
QUIET_LUFS = -60.0
"""Below this a track is hiss or bleed and keeps its LUFS."""

PASSAGES = 16
PASSAGE_HOPS = 4
"""In 100 ms; 6.4 s in all."""
PRE_ROLL_S = 0.2
"""The slowest filter and the temporal weighting settle within."""
RISE_S = 0.1
"""The filters of all but the lowest bands rise within."""

HIGH_HZ = 5000.0
HIGH_SHARES = (0.25, 0.5)
"""Share of the K-weighted power above :data:`HIGH_HZ` from which the way up narrows, and closes."""
STEADY_PHON = (1.0, 2.0)
"""N5 over the median loudness: noise stays below the first, music above the second."""
NOISE_DB = (2.0, 3.0)
"""Fluctuation of the band powers within a passage: partials stay below, Gaussian noise above."""
TOLERANCE_PHON = 0.05

_CENTRES_HZ = 1000.0 * 10.0 ** ((np.arange(BANDS) - 16) / 10.0)
# Long-term average speech in third octaves of 63 Hz to 12.5 kHz (Byrne et al., JASA 96, 1994).
_SPEECH_DB = np.array([
    38.6, 43.5, 54.4, 57.7, 56.8, 60.2, 60.3, 59.0, 62.1, 62.1, 60.5, 56.8,
    53.7, 53.0, 52.0, 48.7, 48.1, 46.8, 45.6, 44.5, 44.3, 43.7, 43.4, 41.3,
])  # fmt: skip


@dataclass(frozen=True)
class SonesLoudness:
    """How loud a track is heard.

    Parameters
    ----------
    lufs
        Tracks balanced by it have equal N5, within its bounds; ``-inf`` for silence.
    n5_sone, n5_phon
        N5 of the active parts with the track at :data:`WORKING_LUFS` by its integrated loudness;
        NaN where it was not computed (silence, or hardly more than that).
    high_share
        Share of the K-weighted power above 5 kHz; NaN as above.
    rise_limit_lu
        How far the track could have been moved up; NaN as above.
    """

    lufs: float
    n5_sone: float
    n5_phon: float
    high_share: float
    rise_limit_lu: float


@lru_cache(maxsize=1)
def _k_weights() -> Float64Array:
    """Power gain of the K-weighting at the bands' centres."""
    _, response = scipy.signal.sosfreqz(k_weighting(SAMPLE_RATE), worN=_CENTRES_HZ, fs=SAMPLE_RATE)
    weights = np.abs(response) ** 2
    weights.flags.writeable = False
    return np.asarray(weights)


@lru_cache(maxsize=8)
def _reference_phon(listening_db_spl: float) -> float:
    """N5 of steady speech-shaped noise at the working level."""
    speech = np.zeros(BANDS)
    speech[-_SPEECH_DB.size :] = 10.0 ** (_SPEECH_DB / 10.0)
    speech *= lufs_to_power(0.0) / (speech * _k_weights()).sum()
    steady = np.repeat(speech[:, None], BAND_RATE_HZ, axis=1)
    return sone_to_phon(float(loudness(steady, unit_db_spl=listening_db_spl)[-1]))


def _passage_starts(active: BoolArray) -> list[int]:
    """Return the hops at which passages begin: evenly spread over the active ones."""
    playing = np.flatnonzero(active)
    if playing.size <= PASSAGES * PASSAGE_HOPS:
        count = -(-playing.size // PASSAGE_HOPS)
        return [int(playing[i * PASSAGE_HOPS]) for i in range(count)]
    last = playing.size - PASSAGE_HOPS
    return [int(playing[round(i * last / (PASSAGES - 1))]) for i in range(PASSAGES)]


def _passages(samples: Samples, active: BoolArray) -> list[tuple[Float64Array, BoolArray]]:
    """Return the band powers of each passage, pre-roll and all, and which loudness frames count."""
    rate = samples.sample_rate
    lead = round(PRE_ROLL_S * rate)
    length = PASSAGE_HOPS * rate // 10
    passages = []
    for hop in _passage_starts(active):
        audio = samples.read_at(hop * rate // 10 - lead, lead + length)
        doubled = audio.shape[0] == 2 and np.array_equal(audio[0], audio[1])
        powers = band_powers(audio[:1] if doubled else audio, sample_rate=rate)
        if doubled:
            powers *= 2.0
        frames = -(-powers.shape[1] * LOUDNESS_RATE_HZ // BAND_RATE_HZ)
        time_s = np.arange(frames) / LOUDNESS_RATE_HZ - PRE_ROLL_S
        hops = hop + np.floor(time_s * 10.0 + 1e-9).astype(int)
        inside = (time_s >= 0.0) & (hops < active.size)
        inside[inside] = active[hops[inside]]
        passages.append((powers, inside))
    return passages


def _n5(passages: list[tuple[Float64Array, BoolArray]], unit_db_spl: float) -> tuple[float, float]:
    """Return N5 and the median of the loudness over all passages, in sone."""
    sone = np.concatenate(
        [loudness(powers, unit_db_spl=unit_db_spl)[inside] for powers, inside in passages]
    )
    return percentile_loudness(sone), percentile_loudness(sone, exceeded_percent=50.0)


def _fluctuation_db(passages: list[tuple[Float64Array, BoolArray]], mean: Float64Array) -> float:
    """Return how much the band levels vary within a typical passage, loud bands first."""
    weight = mean * _k_weights()
    # A band that holds nothing would say how the rounding fluctuates.
    used = np.flatnonzero(weight > 1e-3 * weight.sum())
    floor = 1e-9 * mean[used, None]
    deviation = [
        (10.0 * np.log10(powers[used][:, _settled(powers, inside)] + floor)).std(axis=1)
        for powers, inside in passages
    ]
    return float(np.median(np.array(deviation) @ weight[used]) / weight[used].sum())


def _settled(powers: Float64Array, inside: BoolArray) -> npt.NDArray[np.int64]:
    """Return the steps, each 2 ms, in which a passage plays and its filters do not rise any more.

    The silence that a short sound is filled up with, and its onset out of nothing, are no noise.
    """
    step = BAND_RATE_HZ // LOUDNESS_RATE_HZ
    steps = np.flatnonzero(inside) * step
    rise = 0.0 if powers[:, : round(PRE_ROLL_S * BAND_RATE_HZ)].any() else RISE_S
    settled = steps[steps >= round((PRE_ROLL_S + rise) * BAND_RATE_HZ)]
    return settled if settled.size else steps


def _ramp(value: float, edges: tuple[float, float]) -> float:
    """0 below the first edge, 1 above the second, straight between."""
    return min(max((value - edges[0]) / (edges[1] - edges[0]), 0.0), 1.0)


def _solve(
    passages: list[tuple[Float64Array, BoolArray]],
    unit_db_spl: float,
    phon: float,
    wanted: float,
    limit_lu: float,
) -> float:
    """Return the gain in dB, -MAX_SHIFT_LU to ``limit_lu``, at which N5 is ``wanted`` phon."""
    gain, slope = 0.0, 1.0
    for _ in range(4):
        step = (wanted - phon) / slope
        moved = min(max(gain + step, -MAX_SHIFT_LU), limit_lu)
        if abs(wanted - phon) < TOLERANCE_PHON or moved == gain:
            break
        before = phon
        phon = sone_to_phon(_n5(passages, unit_db_spl + moved)[0])
        slope = min(max((phon - before) / (moved - gain), 0.5), 3.0)
        gain = moved
    return gain


def measure_sones(
    samples: Samples,
    *,
    active: BoolArray,
    integrated_lufs: float,
    listening_db_spl: float = LISTENING_DB_SPL,
) -> SonesLoudness:
    """Measure how loud a track is heard, at a cost that does not grow with its length.

    Parameters
    ----------
    samples
        The track.
    active
        One flag each 100 ms, as :meth:`pipeline.loudness.meter.EnergyMeter.active` returns.
    integrated_lufs
        Its BS.1770 loudness, of all channels.
    listening_db_spl
        Level at which a track of :data:`WORKING_LUFS` is heard.

    Returns
    -------
    SonesLoudness
    """
    if not math.isfinite(integrated_lufs) or integrated_lufs < QUIET_LUFS or not active.any():
        return SonesLoudness(integrated_lufs, *(math.nan,) * 4)
    passages = _passages(samples, active)
    mean = np.mean([powers.mean(axis=1) for powers, _ in passages], axis=0)
    if not mean.any():
        return SonesLoudness(integrated_lufs, *(math.nan,) * 4)
    unit_db_spl = listening_db_spl - integrated_lufs
    sone, median = _n5(passages, unit_db_spl)
    phon = sone_to_phon(sone)
    weighted = mean * _k_weights()
    high_share = float(weighted[_CENTRES_HZ > HIGH_HZ * 10.0**0.05].sum() / weighted.sum())
    steady = 1.0 - _ramp(phon - sone_to_phon(median), STEADY_PHON)
    noise = steady * _ramp(_fluctuation_db(passages, mean), NOISE_DB) if steady else 0.0
    limit_lu = MAX_SHIFT_LU * (1.0 - _ramp(high_share, HIGH_SHARES)) * (1.0 - noise)
    shift = _solve(passages, unit_db_spl, phon, _reference_phon(listening_db_spl), limit_lu)
    return SonesLoudness(integrated_lufs - shift, sone, phon, high_share, limit_lu)
