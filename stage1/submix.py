"""Tracks that are the sum of others: group busses, stereo outs, rough mixes.

Power adds up in a sum, so the course of its power is a combination with positive weights of the
courses of what it sums: that finds candidates among hundreds of tracks at once. A sum is then told
from an overhead or a room, which hear the same instruments, in the samples: what a bus holds stands
in it at the same instant and with the same phase, what a microphone hears comes late and by many
ways. Gains are fitted for each second and each range of frequencies alone, so that automation, an
equaliser and a compressor on the bus are let pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.optimize import nnls
from threadpoolctl import threadpool_limits

from stage1.coherence import BIN_HZ, compare, spectral_weight

__all__ = ["Submix", "find_submixes"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Spectrum = Callable[[int, float], npt.NDArray[np.complex64]]
"""The spectrum of one second of a track, by its number and the time in seconds."""

_STEP = 5  # 50 ms: shorter, and what correlates by chance does not cancel in the mean
_SILENT_POWER = 1e-7
_CANDIDATE = 0.4
"""Share of the variation of a track's power that others must explain."""
_SHIFTS = (-2, -4, 2)
"""In 10 ms: a sum may come late, by what an encoder or a plug-in adds."""
_MOST_SUMMED = 48
_PASSAGES = 6
_FIRST_LOOK, _FIRST_OTHERS, _UNLIKELY = 2, 16, 0.25
_EDGES_HZ = (100.0, 400.0, 1200.0, 3500.0, 7100.0)
_LEAST_SHARE = 0.01
_SURE, _LIKELY = 0.85, 0.6
"""Share of the sound that the others explain: of a bus, and of one that was worked on."""
_ONE_TRACK = 0.9
_BETTER, _EXACT = 4.0, 1e-3
_COPY_COURSE = 0.95
_LATENCY_MS = 0.1


@dataclass(frozen=True)
class Submix:
    """A track that holds the sum of others.

    Parameters
    ----------
    track
        Its number.
    members
        Numbers of the tracks that it sums, the loudest first.
    explained
        Share of its sound that they explain, each third of an octave counted alike, 0 to 1.
    """

    track: int
    members: tuple[int, ...]
    explained: float

    @property
    def sure(self) -> bool:
        """Whether it can be nothing else."""
        return self.explained >= _SURE


def find_submixes(
    envelopes: Sequence[Float32Array],
    spectrum: Spectrum,
    *,
    asked: Sequence[bool] | None = None,
) -> list[Submix]:
    """Find the tracks that are sums of at least two others.

    Parameters
    ----------
    envelopes
        K-weighted power of each 10 ms from 0 s of the session, one a track.
    spectrum
        Reads a second of a track, as :meth:`stage1.coherence.Passages.spectrum`.
    asked
        For each track whether it may be one; by default all.

    Returns
    -------
    list of Submix
        In the order of the tracks.
    """
    # Small products: on several threads they wait for each other more than they compute.
    with threadpool_limits(1, user_api="blas"):
        return _find(envelopes, spectrum, asked)


def _find(
    envelopes: Sequence[Float32Array], spectrum: Spectrum, asked: Sequence[bool] | None
) -> list[Submix]:
    power = _courses(envelopes)
    heard = [int(i) for i in np.flatnonzero(power.any(axis=0))]
    if len(heard) < 3:
        return []
    targets = [i for i in heard if asked is None or asked[i]]
    moved = [power, *(_courses([_later(e, frames) for e in envelopes]) for frames in _SHIFTS)]
    size = max(course.shape[0] for course in moved)
    courses = np.concatenate([np.pad(c, ((0, size - c.shape[0]), (0, 0))) for c in moved], axis=1)
    factor = np.asarray(scipy.linalg.qr(courses - courses.mean(axis=0), mode="r")[0])
    factor = factor[: courses.shape[1]]
    left = set(heard)
    found = []
    # The widest sums first: what is a sum itself explains no other.
    for target in sorted(targets, key=lambda i: -float(power[:, i].sum())):
        others = sorted(left - {target})
        if len(others) < 2:
            break
        weights, best = np.zeros(len(others)), 0.0
        for shifted in range(target, factor.shape[1], power.shape[1]):
            whole = float(np.linalg.norm(factor[:, shifted]))
            if whole > 0.0 and best < _CANDIDATE:
                tried, rest = nnls(factor[:, others], factor[:, shifted])
                if 1.0 - (rest / whole) ** 2 > best:
                    weights, best = tried, 1.0 - (rest / whole) ** 2
        if best < _CANDIDATE:
            continue
        shares = weights * power[:, others].sum(axis=0)
        order = np.lexsort((-power[:, others].sum(axis=0), -shares))[:_MOST_SUMMED]
        chosen = [others[k] for k in order]
        alike = _alike(courses[:, target], courses[:, chosen])
        copies = [other for other, is_copy in zip(chosen, alike, strict=True) if is_copy]
        fit = _Fit(target, chosen, spectrum, alike=copies)
        submix = fit.judge(_loud_seconds(envelopes[target]))
        if submix is not None:
            found.append(submix)
            left.discard(target)
    return sorted(found, key=lambda submix: submix.track)


def _alike(course: Float64Array, others: Float64Array) -> npt.NDArray[np.bool_]:
    """Return which courses of power ``(steps, tracks)`` rise and fall as one does."""
    centred = others - others.mean(axis=0)
    own = course - course.mean()
    size = np.linalg.norm(own) * np.linalg.norm(centred, axis=0)
    return np.asarray(own @ centred >= _COPY_COURSE * np.maximum(size, 1e-30))


def _later(envelope: Float32Array, frames: int) -> Float32Array:
    """Return an envelope moved by so many 10 ms."""
    return np.pad(envelope, (frames, 0)) if frames > 0 else envelope[-frames:]


def _courses(envelopes: Sequence[Float32Array]) -> Float64Array:
    """Return the power of each 50 ms, ``(steps, tracks)``; silent tracks are zero."""
    steps = max((-(-e.size // _STEP) for e in envelopes), default=0)
    power = np.zeros((steps, len(envelopes)))
    for column, envelope in enumerate(envelopes):
        if envelope.size and envelope.max() >= _SILENT_POWER:
            mean = np.pad(envelope, (0, -envelope.size % _STEP)).reshape(-1, _STEP).mean(axis=1)
            power[: mean.size, column] = mean
    return power


def _loud_seconds(envelope: Float32Array) -> list[float]:
    """Return where a track plays loudest, spread over its length: the loudest of each part."""
    seconds = np.pad(envelope, (0, -envelope.size % 100)).reshape(-1, 100).mean(axis=1)
    playing = np.flatnonzero(seconds > 0.01 * seconds.max())
    parts = np.array_split(playing, min(_PASSAGES, playing.size))
    times = [float(part[int(np.argmax(seconds[part]))]) for part in parts]
    # A look at the first is a look at beginning and middle.
    return times[::3] + [time for k, time in enumerate(times) if k % 3]


class _Fit:
    """Fits a track's seconds with those of others."""

    def __init__(
        self, target: int, others: Sequence[int], spectrum: Spectrum, *, alike: Sequence[int]
    ) -> None:
        self._target = target
        self._others = list(others)
        self._alike = list(alike)
        self._spectrum = spectrum
        self._delay_s = 0.0

    def judge(self, times: Sequence[float]) -> Submix | None:
        first = times[:_FIRST_LOOK]
        explained, _ = self._explained(first, self._others[:_FIRST_OTHERS])
        if explained < _UNLIKELY and self._find_latency(first):
            explained, _ = self._explained(first, self._others[:_FIRST_OTHERS])
        if explained < _UNLIKELY:
            return None
        explained, shares = self._explained(times, self._others)
        if explained < _LIKELY:
            return None
        copies = self._copies(times, shares)
        rest = [other for other in self._others if other not in copies]
        without, shares_without = self._explained(times, rest) if copies else (0.0, shares)
        if without >= _LIKELY:
            self._others, explained, shares = rest, without, shares_without
        elif copies and 1.0 - max(copies.values()) < _BETTER * (1.0 - explained) + _EXACT:
            return None
        members = [
            (share, other)
            for share, other in zip(shares, self._others, strict=True)
            if share >= _LEAST_SHARE
        ]
        if len(members) < 2:
            return None
        members.sort(key=lambda pair: -pair[0])
        return Submix(self._target, tuple(other for _, other in members), round(explained, 3))

    def _copies(self, times: Sequence[float], shares: Float64Array) -> dict[int, float]:
        """Return the others that hold the whole sound alone, and how much of it.

        Of several that do, one or another is what it is fitted with: it is asked again without.
        """
        copies: dict[int, float] = {}
        others = self._others
        alike = set(self._alike)  # many copies share what each would hold alone
        while True:
            likely = [
                other
                for other, share in zip(others, shares, strict=True)
                if share >= 0.2 or other in alike
            ]
            alike.clear()
            alone = {other: self._explained(times, [other])[0] for other in likely}
            new = {other: single for other, single in alone.items() if single >= _ONE_TRACK}
            if not new:
                return copies
            copies |= new
            others = [other for other in others if other not in copies]
            _, shares = self._explained(times, others)

    def _find_latency(self, times: Sequence[float]) -> bool:
        """Take the delay that the loudest of the others agree on; False where they do not."""
        target = [self._spectrum(self._target, time) for time in times]
        delays = []
        for other in self._others[:3]:
            match = compare([self._spectrum(other, time) for time in times], target)
            if match is not None and match.coherence > 0.25 and match.correlation > 0.0:
                delays.append(match.delay_ms)
        if len(delays) < 2 or np.ptp(delays) > _LATENCY_MS or abs(delays[0]) < _LATENCY_MS / 2:
            return False
        self._delay_s = float(np.mean(delays)) / 1000.0
        return True

    def _explained(
        self, times: Sequence[float], others: Sequence[int]
    ) -> tuple[float, Float64Array]:
        """Return the share of the target's sound that others explain, and what each gives."""
        total = rest = 0.0
        given = np.zeros(len(others))
        turn = np.exp(-2j * np.pi * BIN_HZ * self._delay_s).astype(np.complex64)
        for time in times if others else ():
            target = self._spectrum(self._target, time)
            weight = spectral_weight(target)
            columns = [self._spectrum(other, time) for other in others]
            owner = np.repeat(np.arange(len(others)), [column.shape[0] for column in columns])
            sounds = np.concatenate(columns) * turn
            for low, high in pairwise(_EDGES_HZ):
                band = (low <= BIN_HZ) & (high > BIN_HZ) & (weight > 0.0)
                if not band.any():
                    continue
                root = np.sqrt(weight[band])
                x = sounds[:, band] * root
                y = target[:, band] * root
                gram = (x @ x.conj().T).real.astype(np.float64)
                heard = np.flatnonzero(np.diag(gram) > 1e-6 * np.diag(gram).max(initial=1e-30))
                upper = _factor(gram[np.ix_(heard, heard)]) if heard.size else None
                for channel in y:
                    size = float((np.abs(channel) ** 2).sum())
                    total += size
                    if upper is None:
                        rest += size
                        continue
                    cross = (x[heard].conj() @ channel).real.astype(np.float64)
                    side = scipy.linalg.solve_triangular(upper, cross, trans="T")
                    gains, _ = nnls(upper, side)
                    fit = 2.0 * float(gains @ cross) - float(np.sum((upper @ gains) ** 2))
                    rest += max(size - fit, 0.0)
                    np.add.at(given, owner[heard], gains**2 * np.diag(gram)[heard])
        if total <= 0.0:
            return 0.0, given
        return 1.0 - rest / total, given / total


def _factor(gram: Float64Array) -> Float64Array:
    """Return the upper Cholesky factor; what is there twice is parted by a trace of noise."""
    size = np.diag(gram)
    return np.asarray(scipy.linalg.cholesky(gram + np.diag(1e-9 * size + 1e-30)))
