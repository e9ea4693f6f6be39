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
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.optimize import nnls
from threadpoolctl import threadpool_limits

from pipeline.units import Float32Array, Float64Array
from stage1.sources.coherence import BIN_HZ, compare, in_thirds, spectral_weight

__all__ = ["Submix", "find_submixes"]

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
_GLANCE_OTHERS, _NOTHING = 8, 0.1
"""What is no sum is under 0.03 in one passage against the likeliest; sums are over 0.25."""
_FIRST_LOOK, _FIRST_OTHERS, _UNLIKELY = 2, 16, 0.25
_EDGES_HZ = (100.0, 400.0, 1200.0, 3500.0, 7100.0)
_LEAST_SHARE, _GIVES = 0.01, 0.001
_LIKELY = 0.6
"""Share of the sound that the others explain, of a bus that was worked on."""
_ONE_TRACK = 0.9
_BETTER, _EXACT = 4.0, 1e-3
_WORST_THIRDS, _MISSING = 3, 0.3
"""Of the thirds of an octave that are explained worst. Effects on a bus are everywhere (0.25 with a
reverb 6 dB under it), an instrument that no other track has is in some of them (from 0.4)."""
_ALONE, _SOUNDS = 0.15, 1e-3
_COPY_COURSE = 0.95
_LATENCY_MS = 0.1
_ANOTHER_S, _CHANCE = 0.29, 0.15
"""Sums are explained by a tenth of that at most from another moment."""
_FINER_S = tuple(1e-6 * np.arange(-60.0, 61.0, 10.0))


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
    complete
        Whether they are all that is in it: no instrument would be lost with it.
    delay_ms
        How much later than they it is.
    """

    track: int
    members: tuple[int, ...]
    explained: float
    complete: bool = True
    delay_ms: float = 0.0


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
        Reads a second of a track, as :meth:`stage1.sources.coherence.Passages.spectrum`.
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
    audible = [int(i) for i in np.flatnonzero(power.any(axis=0))]
    if len(audible) < 3:
        return []
    targets = [i for i in audible if asked is None or asked[i]]
    moved = [power, *(_courses([_later(e, frames) for e in envelopes]) for frames in _SHIFTS)]
    size = max(course.shape[0] for course in moved)
    courses = np.concatenate([np.pad(c, ((0, size - c.shape[0]), (0, 0))) for c in moved], axis=1)
    factor = np.asarray(scipy.linalg.qr(courses - courses.mean(axis=0), mode="r")[0])
    factor = factor[: courses.shape[1]]
    left = set(audible)
    submixes = []
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
        order = np.lexsort((-power[:, others].sum(axis=0), -shares))
        chosen = [others[k] for k in order]
        alike = _alike(courses[:, target], courses[:, chosen])
        copies = [other for other, is_copy in zip(chosen, alike, strict=True) if is_copy]
        fit = _Fit(target, chosen, spectrum, alike=copies)
        submix = fit.judge(_loud_seconds(envelopes[target]))
        if submix is not None:
            alone = _sounds_alone(power[:, target], power[:, submix.members])
            submixes.append(replace(submix, complete=submix.complete and not alone))
            left.discard(target)
    return sorted(submixes, key=lambda submix: submix.track)


def _sounds_alone(course: Float64Array, others: Float64Array) -> bool:
    """Whether a track goes on where all of the others ``(steps, tracks)`` are silent."""
    sounds = course > _SOUNDS * course.max()
    alone = sounds & (others <= _SOUNDS * others.max(axis=0)).all(axis=1)
    return bool(alone.sum() > _ALONE * sounds.sum())


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


@dataclass(frozen=True)
class _Explained:
    """How others explain a track: what share, what each gives, and what is missing at worst."""

    share: float
    given: Float64Array
    missing: float


class _Fit:
    """Fits a track's seconds with those of others."""

    def __init__(
        self, target: int, others: Sequence[int], spectrum: Spectrum, *, alike: Sequence[int]
    ) -> None:
        self._target = target
        self._others = list(others)
        self._alike = list(alike)
        self._spectrum = spectrum
        self._delay_s = self._finer_s = 0.0

    def judge(self, times: Sequence[float]) -> Submix | None:
        first = times[:_FIRST_LOOK]
        glance = self._explained(times[:1], self._others[:_GLANCE_OTHERS]).share
        look = self._look(first) if glance >= _NOTHING else 0.0
        if look < _UNLIKELY and self._find_latency(first):
            look = self._look(first)
        if look < _UNLIKELY:
            return None
        fit = self._widest(times)
        if fit.share < _LIKELY:
            return None
        if self._by_chance(times) > _CHANCE * fit.share:
            return None
        copies = self._copies(times, fit.given)
        if copies:
            rest = [other for other in self._others if other not in copies]
            without = self._explained(times, rest)
            if without.share >= _LIKELY:
                self._others, fit = rest, without
            elif 1.0 - max(copies.values()) < _BETTER * (1.0 - fit.share) + _EXACT:
                return None
        members = [
            (share, other)
            for share, other in zip(fit.given, self._others, strict=True)
            if share >= _LEAST_SHARE
        ]
        if len(members) < 2:
            return None
        members.sort(key=lambda pair: -pair[0])
        return Submix(
            self._target,
            tuple(other for _, other in members),
            round(fit.share, 3),
            complete=fit.missing < _MISSING,
            delay_ms=1000.0 * (self._delay_s + self._finer_s),
        )

    def _look(self, times: Sequence[float]) -> float:
        return self._explained(times, self._others[:_FIRST_OTHERS]).share

    def _widest(self, times: Sequence[float]) -> _Explained:
        """Fit with as many as can be at once; the next take the places of those that give least."""
        waiting = self._others[_MOST_SUMMED:]
        self._others = self._others[:_MOST_SUMMED]
        fit = self._explained(times, self._others)
        while waiting and fit.share < _ONE_TRACK:
            kept = [o for o, share in zip(self._others, fit.given, strict=True) if share > _GIVES]
            room = _MOST_SUMMED - len(kept)
            if room <= 0:
                break
            self._others, waiting = kept + waiting[:room], waiting[room:]
            fit = self._explained(times, self._others)
        return fit

    def _by_chance(self, times: Sequence[float]) -> float:
        """Return what the others explain from another moment, as many may of a few tones."""
        delay_s = self._delay_s
        self._delay_s += _ANOTHER_S
        share = self._explained(times, self._others).share
        self._delay_s = delay_s
        return share

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
            alone = {other: self._explained(times, [other]).share for other in likely}
            new = {other: single for other, single in alone.items() if single >= _ONE_TRACK}
            if not new:
                return copies
            copies |= new
            others = [other for other in others if other not in copies]
            shares = self._explained(times, others).given

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
        # What sounds with a track moves its peak by some tens of microseconds; the sum's does not.
        shares = []
        for self._finer_s in _FINER_S:
            shares.append(self._explained(times, self._others[:_GLANCE_OTHERS]).share)
        self._finer_s = _FINER_S[int(np.argmax(shares))]
        return True

    def _explained(self, times: Sequence[float], others: Sequence[int]) -> _Explained:
        """Return how others explain the target's sound."""
        whole, rest = np.zeros(BIN_HZ.size), np.zeros(BIN_HZ.size)
        given = np.zeros(len(others))
        turn = np.exp(-2j * np.pi * BIN_HZ * self._finer_s).astype(np.complex64)
        for time in times if others else ():
            target = self._spectrum(self._target, time)
            weight = spectral_weight(target)
            columns = [self._spectrum(other, time - self._delay_s) for other in others]
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
                audible = np.flatnonzero(np.diag(gram) > 1e-6 * np.diag(gram).max(initial=1e-30))
                upper = _factor(gram[np.ix_(audible, audible)]) if audible.size else None
                for channel in y:
                    whole[band] += np.abs(channel) ** 2
                    if upper is not None:
                        cross = (x[audible].conj() @ channel).real.astype(np.float64)
                        side = scipy.linalg.solve_triangular(upper, cross, trans="T")
                        gains, _ = nnls(upper, side)
                        np.add.at(given, owner[audible], gains**2 * np.diag(gram)[audible])
                        channel = channel - gains.astype(np.float32) @ x[audible]
                    rest[band] += np.abs(channel) ** 2
        total = float(whole.sum())
        if total <= 0.0:
            return _Explained(0.0, given, 1.0)
        sizes, rests = in_thirds(whole), in_thirds(rest)
        worst = np.sort(rests[sizes > 0.0] / sizes[sizes > 0.0])[-_WORST_THIRDS:]
        return _Explained(1.0 - float(rest.sum()) / total, given / total, float(worst.mean()))


def _factor(gram: Float64Array) -> Float64Array:
    """Return the upper Cholesky factor; what is there twice is parted by a trace of noise."""
    size = np.diag(gram)
    return np.asarray(scipy.linalg.cholesky(gram + np.diag(1e-9 * size + 1e-30)))
