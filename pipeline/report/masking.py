"""Masking between the stems of a mix: where, and how much of the time, one covers another.

Stem by stem the power in critical bands is followed in steps of 0.1 s. A stem is covered in a band
where another's excitation, which spreads into the bands around, is 6 dB over its own: noise hides
what is 2 to 6 dB under it in its critical band (H. Fastl, E. Zwicker, "Psychoacoustics", 2007,
ch. 4). The spread is M. R. Schroeder, B. S. Atal, J. L. Hall, "Optimizing digital speech coders by
exploiting masking properties of the human ear", JASA 66(6), 1979. Only the bands that carry a stem
count, and only while it sounds in them. As in Z. Ma, J. D. Reiss, D. A. A. Black, "Partial loudness
in multitrack mixing", AES 53rd Conference, 2014, each stem is judged against what else plays, but
by thresholds, not by loudness: it tells where to listen, not how it sounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.signal

from pipeline.loudness.meter import (
    ACTIVITY_FLOOR_LUFS,
    ACTIVITY_RANGE_LU,
    k_weighting,
    lufs_to_power,
)
from pipeline.units import Float32Array, Float64Array, FloatArray

__all__ = ["BARK_EDGES_HZ", "COVER_DB", "Covered", "Masking", "MaskingMeter"]


# E. Zwicker, "Subdivision of the audible frequency range into critical bands", JASA 33, 1961; the
# last one, up to the end of hearing, added.
BARK_EDGES_HZ = (
    20.0, 100.0, 200.0, 300.0, 400.0, 510.0, 630.0, 770.0, 920.0, 1080.0, 1270.0, 1480.0, 1720.0,
    2000.0, 2320.0, 2700.0, 3150.0, 3700.0, 4400.0, 5300.0, 6400.0, 7700.0, 9500.0, 12000.0,
    15500.0, 20000.0,
)  # fmt: skip
_BANDS = len(BARK_EDGES_HZ) - 1

COVER_DB = 6.0
"""So far over a stem, in its own band, another covers it."""

_STEP_S = 0.1
_CARRIES = 0.7  # of a stem's K-weighted energy: its loudest bands that hold so much carry it
_SOUNDS = 10.0**-1.5  # of a band's mean power: under it the stem rests in that band
_MOSTLY = 0.5  # of the time
_LEAST_SHARE = 0.25  # of a stem's energy: smaller pieces are not worth a word


@dataclass(frozen=True)
class Covered:
    """A stem that another covers, in neighbouring bands, most of the time.

    Parameters
    ----------
    stem, by
        Names of the stems.
    low_hz, high_hz
        Where.
    time_share
        How much of the time that the stem sounds there, 0 to 1.
    energy_share
        How much of the stem's energy lies there, 0 to 1.
    excess_db
        How far the other is over it, the median while it is covered.
    """

    stem: str
    by: str
    low_hz: float
    high_hz: float
    time_share: float
    energy_share: float
    excess_db: float


@dataclass(frozen=True)
class Masking:
    """What covers what.

    Parameters
    ----------
    stems
        Names, in the mix's order.
    shares
        ``shares[i][j]``: how much of stem i, its bands and time weighed by energy, stem j covers, 0
        to 1; 0 on the diagonal.
    by_all
        The same by all others together.
    covered
        The pairs worth a word, the worst first.
    """

    stems: tuple[str, ...] = ()
    shares: tuple[tuple[float, ...], ...] = ()
    by_all: tuple[float, ...] = ()
    covered: tuple[Covered, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return all but the names as JSON-ready values: stems are numbered."""
        rows = {name: index for index, name in enumerate(self.stems)}
        return {
            "shares": [list(row) for row in self.shares],
            "by_all": list(self.by_all),
            "covered": [
                {**asdict(pair), "stem": rows[pair.stem], "by": rows[pair.by]}
                for pair in self.covered
            ],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], stems: Sequence[str]) -> Masking:
        """Return what :meth:`to_record` wrote, of stems with these names."""
        return cls(
            tuple(stems),
            tuple(tuple(row) for row in record["shares"]),
            tuple(record["by_all"]),
            tuple(
                Covered(**{**pair, "stem": stems[pair["stem"]], "by": stems[pair["by"]]})
                for pair in record["covered"]
            ),
        )


class MaskingMeter:
    """Gathers the stems' powers block by block; the size of the blocks changes nothing.

    Parameters
    ----------
    stems
        Names of the stems.
    sample_rate
        In Hz.
    """

    def __init__(self, stems: Sequence[str], *, sample_rate: int) -> None:
        self.stems = tuple(stems)
        self._size = scipy.fft.next_fast_len(round(_STEP_S * sample_rate), real=True)
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._gather = _gather(self._size, sample_rate) / float(np.square(self._window).sum())
        self._open = [np.zeros((2, 0), np.float32) for _ in self.stems]
        self._powers: list[list[Float32Array]] = [[] for _ in self.stems]

    def process(self, index: int, block: FloatArray) -> None:
        """Take the next block ``(2, frames)`` of stem ``index``."""
        line = np.concatenate([self._open[index], np.asarray(block, np.float32)], axis=1)
        count = line.shape[1] // self._size
        whole = line[:, : count * self._size].reshape(2, count, self._size)
        self._open[index] = line[:, count * self._size :].copy()
        if not count:
            return
        power = np.zeros((count, _BANDS), np.float32)
        if whole.any():
            spectra = scipy.fft.rfft(whole * self._window, axis=-1)
            density = np.square(spectra.real) + np.square(spectra.imag)
            power = density.sum(axis=0) @ self._gather
        self._powers[index].append(power)

    def result(self) -> Masking:
        """Return what covers what, of all that was taken."""
        powers = [
            np.concatenate(kept) if kept else np.zeros((0, _BANDS), np.float32)
            for kept in self._powers
        ]
        spread = _spreading()
        excitations = [power @ spread for power in powers]
        total = np.sum(excitations, axis=0) if excitations else np.zeros((0, _BANDS))
        shares, by_all, covered = [], [], []
        for index, power in enumerate(powers):
            masked = _Audible(power, excitations[index])
            row = []
            for other, excitation in enumerate(excitations):
                if other == index:
                    row.append(0.0)
                    continue
                over_db = masked.over_db(excitation)
                row.append(masked.covered(over_db))
                pair = masked.worst(over_db, self.stems[index], self.stems[other])
                covered += [pair] if pair is not None else []
            shares.append(tuple(row))
            by_all.append(masked.covered(masked.over_db(total - excitations[index])))
        covered.sort(key=lambda c: -c.time_share * c.energy_share)
        return Masking(self.stems, tuple(shares), tuple(by_all), tuple(covered))


class _Audible:
    """One stem: the bands that carry it, and when it sounds in them."""

    def __init__(self, power: Float32Array, excitation: Float32Array) -> None:
        whole = power.sum(axis=1)
        floor = lufs_to_power(ACTIVITY_FLOOR_LUFS)
        loud = whole[whole > floor]
        gate = floor
        if loud.size:
            gate = max(floor, float(loud.mean()) * 10.0 ** (-ACTIVITY_RANGE_LU / 10.0))
        active = power[whole > gate].astype(np.float64)
        self._active = whole > gate
        mean = active.mean(axis=0) if active.size else np.zeros(_BANDS)
        share = mean / max(float(mean.sum()), 1e-20)
        order = np.argsort(-share, kind="stable")
        needed = int(np.searchsorted(np.cumsum(share[order]), _CARRIES)) + 1
        self.bands = np.sort(order[:needed]) if active.size else order[:0]
        self.share = share[self.bands]
        self._own = excitation[self._active][:, self.bands].astype(np.float64)
        self._sounds = active[:, self.bands] > _SOUNDS * mean[self.bands]

    def over_db(self, excitation: FloatArray) -> Float64Array:
        """Return excitation - stem in dB, ``(active, bands)``."""
        theirs = np.asarray(excitation, np.float64)[self._active][:, self.bands]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(10.0 * np.log10(np.maximum(theirs, 0.0) / self._own))

    def time_share(self, over_db: Float64Array) -> Float64Array:
        """Return the share of time that the stem is masked in each band, ``(bands,)``."""
        hidden = (over_db >= COVER_DB) & self._sounds
        return np.asarray(hidden.sum(axis=0) / np.maximum(self._sounds.sum(axis=0), 1))

    def covered(self, over_db: Float64Array) -> float:
        """Return the masked share of the stem, its bands weighted by energy."""
        if not self.bands.size:
            return 0.0
        return round(float(self.time_share(over_db) @ self.share / self.share.sum()), 4)

    def worst(self, over_db: Float64Array, stem: str, by: str) -> Covered | None:
        """Return the heaviest run of neighbouring bands that are covered most of the time."""
        times = self.time_share(over_db) if self.bands.size else np.zeros(0)
        worst: Covered | None = None
        chosen = np.flatnonzero(times >= _MOSTLY)
        for run in np.split(chosen, np.flatnonzero(np.diff(self.bands[chosen]) > 1) + 1):
            weight = float(self.share[run].sum())
            if weight < _LEAST_SHARE or (worst is not None and weight <= worst.energy_share):
                continue
            hidden = (over_db[:, run] >= COVER_DB) & self._sounds[:, run]
            worst = Covered(
                stem,
                by,
                BARK_EDGES_HZ[self.bands[run[0]]],
                BARK_EDGES_HZ[self.bands[run[-1]] + 1],
                round(float(times[run] @ self.share[run]) / weight, 3),
                round(weight, 3),
                round(float(np.median(np.minimum(over_db[:, run][hidden], 60.0))), 1),
            )
        return worst


def _gather(size: int, sample_rate: int) -> Float32Array:
    """Return the weight of each FFT bin in each band, ``(bins, bands)``, K-weighting included.

    With a window whose squares sum to one, the sum is the K-weighted mean square.
    """
    frequency = np.arange(size // 2 + 1) * sample_rate / size
    band = np.searchsorted(BARK_EDGES_HZ, frequency, side="right") - 1
    _, response = scipy.signal.sosfreqz(
        k_weighting(sample_rate).copy(), worN=2.0 * math.pi * frequency / sample_rate
    )
    inside = (band >= 0) & (band < _BANDS)
    gather = np.zeros((frequency.size, _BANDS))
    gather[inside, band[inside]] = 2.0 * np.square(np.abs(response[inside])) / size
    return gather.astype(np.float32)


def _spreading() -> Float32Array:
    """Return how much of a band's power excites each other one, ``(from, to)``."""
    steps = np.arange(_BANDS)[np.newaxis] - np.arange(_BANDS)[:, np.newaxis] + 0.474
    level_db = 15.81 + 7.5 * steps - 17.5 * np.sqrt(1.0 + np.square(steps))
    return np.asarray(10.0 ** (np.minimum(level_db, 0.0) / 10.0), np.float32)
