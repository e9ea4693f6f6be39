"""True-peak limiter: a look-ahead gain that keeps the signal between the samples under a ceiling.

The gain is found from the eight-times oversampled peak. Held over the look-ahead, then smoothed by
a Hann window of the same length, it has come down fully when its peak arrives, without a corner.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Thread

import numpy as np
import numpy.typing as npt

from pipeline.console.compressor import (
    Course,
    GainReduction,
    percentile_of,
    smoothing_coefficient,
)
from pipeline.jit import kernel
from pipeline.units import Float64Array, FloatArray, db_to_amplitude

__all__ = ["LOOK_AHEAD_MS", "TruePeakLimiter"]


LOOK_AHEAD_MS = 3.0
FAST_RELEASE_MS = 50.0
SLOW_ATTACK_MS = 150.0
SLOW_RELEASE_MS = 500.0

MARGIN_DB = 0.1
"""Held back for what the gain's own motion adds between the samples, for the delivered file's
dither, and for meters with other interpolators than the two obeyed here."""

_OVERSAMPLING = 8
_TAPS = 32
_LEAST_PARALLEL_FRAMES = 16_384

# BS.1770-5, annex 2: the interpolator that meters follow to the letter. It reads up to 0.2 dB over
# a better one on noise, so it is obeyed too. Two phases; the other two are these backwards.
_STANDARD_PHASES = (
    (
        0.0017089843750, 0.0109863281250, -0.0196533203125, 0.0332031250000,
        -0.0594482421875, 0.1373291015625, 0.9721679687500, -0.1022949218750,
        0.0476074218750, -0.0266113281250, 0.0148925781250, -0.0083007812500,
    ),
    (
        -0.0291748046875, 0.0292968750000, -0.0517578125000, 0.0891113281250,
        -0.1665039062500, 0.4650878906250, 0.7797851562500, -0.2003173828125,
        0.1015625000000, -0.0582275390625, 0.0330810546875, -0.0189208984375,
    ),
)  # fmt: skip


@lru_cache(maxsize=1)
def _interpolator() -> tuple[Float64Array, float]:
    """Return the phases between two samples, shape (11, taps), and their largest sum of ``|h|``.

    Seven read the signal at 1/8 .. 7/8 of the way from tap 15 to tap 16: a Kaiser-windowed sinc.
    Four are the standard's.
    """
    offset = np.arange(1, _OVERSAMPLING)[:, np.newaxis] / _OVERSAMPLING
    distance = np.arange(_TAPS)[np.newaxis] - (_TAPS // 2 - 1) - offset  # (phases, taps)
    window = np.i0(8.0 * np.sqrt(np.clip(1.0 - (2.0 * distance / _TAPS) ** 2, 0.0, None)))
    phases = np.sinc(distance) * window
    phases /= phases.sum(axis=1, keepdims=True)
    standard = np.array(_STANDARD_PHASES)
    standard = np.concatenate([standard, standard[:, ::-1]])
    around = (_TAPS - standard.shape[1]) // 2
    phases = np.concatenate([phases, np.pad(standard, ((0, 0), (around, around)))])
    return np.ascontiguousarray(phases), float(np.abs(phases).sum(axis=1).max())


# Of the attenuation, as a part of the amplitude.
_BINS = 200


@kernel
def _limiting_gain(
    line: npt.NDArray[np.float64],
    phases: npt.NDArray[np.float64],
    bound: float,
    ceiling: float,
    last: npt.NDArray[np.float64],
    gain: npt.NDArray[np.float64],
) -> None:
    """Fill ``gain`` with what keeps each sample, and the signal on both sides of it, at ceiling.

    ``line`` is (2, taps - 1 + frames); gain[n] belongs to sample line[:, n + taps/2 - 1]. ``last``
    holds the peak between the previous sample and the first one.
    """
    taps = phases.shape[1]
    middle = taps // 2 - 1
    frames = gain.size
    chunk = 64
    between = np.empty(chunk)
    sums = np.empty(chunk)
    # Loops of a fixed length over slices are compiled to vector instructions: seven times faster
    # than over indices. What the copy holds behind the last sample is computed and not used.
    near = np.zeros(chunk + taps - 1)
    for start in range(0, frames, chunk):
        count = min(chunk, frames - start)
        local = 0.0
        for c in range(2):
            for value in line[c, start : start + count + taps - 1]:
                local = max(local, abs(value))
        between[:] = 0.0
        # Below this no interpolated value can reach the ceiling: skipping changes nothing.
        if local * bound > ceiling:
            for c in range(2):
                row = line[c, start : start + count + taps - 1]
                near[: row.size] = row
                for p in range(phases.shape[0]):
                    sums[:] = 0.0
                    for k in range(taps):
                        h = phases[p, k]
                        if h == 0.0:
                            continue
                        late = near[k : k + chunk]
                        for i in range(chunk):
                            sums[i] += h * late[i]
                    for i in range(chunk):
                        between[i] = max(between[i], abs(sums[i]))
        for i in range(count):
            j = start + i + middle
            peak = max(max(abs(line[0, j]), abs(line[1, j])), max(last[0], between[i]))
            last[0] = between[i]
            gain[start + i] = ceiling / peak if peak > ceiling else 1.0


@kernel
def _release(
    attenuation: npt.NDArray[np.float64],
    state: npt.NDArray[np.float64],
    fast_release: float,
    slow_attack: float,
    slow_release: float,
) -> None:
    """Let the attenuation (0 is none) fall slowly, in place; it never gets below its input.

    A peak alone is followed by the fast release; attenuation that lasts fills the slow memory,
    whose release then keeps the gain from pumping.
    """
    fast, slow = state[0], state[1]
    for n in range(attenuation.size):
        fast = max(attenuation[n], fast * fast_release)
        if fast > slow:
            slow = slow_attack * slow + (1.0 - slow_attack) * fast
        else:
            slow = slow * slow_release
        if slow < 1e-9:
            slow = 0.0
        if fast < 1e-9:
            fast = 0.0
        attenuation[n] = max(fast, slow)
    state[0], state[1] = fast, slow


@kernel
def _apply(
    line: npt.NDArray[np.float64],
    attenuation: npt.NDArray[np.float64],
    window: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    reduction: npt.NDArray[np.float64],
    course: npt.NDArray[np.float64],
    begun: int,
    step: int,
) -> None:
    """Smooth the attenuation with the window and multiply.

    Reduction is largest and sum in dB, then frames by attenuation, 0.005 of the amplitude a bin.
    ``course`` gets the largest reduction of each ``step`` frames, ``begun`` into the first.
    """
    taps = window.size
    frames = y.shape[1]
    chunk = 64
    sums = np.empty(chunk)
    near = np.zeros(chunk + taps - 1)
    deepest = np.zeros(course.size)
    for start in range(0, frames, chunk):
        count = min(chunk, frames - start)
        row = attenuation[start : start + count + taps - 1]
        local = 0.0
        for value in row:
            local = max(local, value)
        if local == 0.0:
            for c in range(2):
                for i in range(start, start + count):
                    y[c, i] = line[c, i]
            continue
        near[: row.size] = row
        sums[:] = 0.0
        for k in range(taps):
            w = window[k]
            late = near[k : k + chunk]
            for i in range(chunk):
                sums[i] += w * late[i]
        product = 1.0
        for i in range(count):
            gain = 1.0 - sums[i]
            y[0, start + i] = line[0, start + i] * gain
            y[1, start + i] = line[1, start + i] * gain
            product *= gain
            reduction[2 + min(int(sums[i] * _BINS), _BINS - 1)] += 1.0
            if product < 1e-150:  # logarithms are dear: one a chunk, or before it underflows
                reduction[1] -= 20.0 * np.log10(product)
                product = 1.0
            interval = (begun + start + i) // step
            if sums[i] > deepest[interval]:
                deepest[interval] = sums[i]
        reduction[1] -= 20.0 * np.log10(product)
    for interval in range(course.size):
        reduction_db = -20.0 * np.log10(1.0 - deepest[interval])
        reduction[0] = max(reduction[0], reduction_db)
        course[interval] = max(course[interval], reduction_db)


def _moving_minimum(x: Float64Array, length: int) -> Float64Array:
    """Return the minimum of each ``length`` consecutive values, by doubling windows."""
    width = 1
    while 2 * width <= length:
        x = np.minimum(x[:-width], x[width:])
        width *= 2
    rest = length - width
    return np.minimum(x[:-rest], x[rest:]) if rest else x


class TruePeakLimiter:
    """Linked stereo look-ahead limiter for the true peak.

    Below the ceiling it is a pure delay. The release depends on the programme: 50 ms after a peak
    alone, 500 ms after limiting that lasted.

    Parameters
    ----------
    ceiling_dbtp
        What the true peak of the output stays at or under.
    sample_rate
        In Hz.

    Attributes
    ----------
    latency
        Delay in frames: about 3 ms and half the interpolator's length.
    """

    def __init__(self, ceiling_dbtp: float, *, sample_rate: int) -> None:
        self._ceiling = db_to_amplitude(ceiling_dbtp - MARGIN_DB)
        hold = max(2, round(LOOK_AHEAD_MS * 1e-3 * sample_rate))
        self._hold = hold
        self._window = np.sin(np.pi * np.arange(1, hold + 1) / (hold + 1)) ** 2
        self._window /= self._window.sum()
        self._phases, self._bound = _interpolator()
        self.latency = _TAPS // 2 + hold - 1
        self._past = np.zeros((2, max(self.latency, _TAPS - 1)))
        self._past_gain = np.ones(hold - 1)
        self._past_attenuation = np.zeros(hold - 1)
        self._last_between = np.zeros(1)
        self._release_state = np.zeros(2)
        self._coefficients = tuple(
            smoothing_coefficient(ms, sample_rate=sample_rate)
            for ms in (FAST_RELEASE_MS, SLOW_ATTACK_MS, SLOW_RELEASE_MS)
        )
        self._reduction = np.zeros(2 + _BINS)
        self._course = Course(sample_rate)
        self._early = self.latency  # output frames that are still of before the first
        self._frames = 0

    @property
    def gain_reduction(self) -> GainReduction:
        """The reduction since the beginning; its course is that of the input's time."""
        largest, total = (float(v) for v in self._reduction[:2])
        mean = total / self._frames if self._frames else 0.0
        taken = np.minimum((np.arange(_BINS) + 0.5) / _BINS, 0.999)
        p95 = percentile_of(self._reduction[2:], -20.0 * np.log10(1.0 - taken), self._frames)
        return GainReduction(largest, mean, self._course.values_db(), p95)

    def process(self, x: FloatArray) -> FloatArray:
        """Return the limited block, shape (2, frames), late by ``latency`` frames."""
        frames = x.shape[1]
        if frames == 0:
            return x.copy()
        # Whatever the block's size, frame n of the line's end is the newest frame of the stream.
        line = np.concatenate([self._past, x], axis=1, dtype=np.float64)
        recent = np.ascontiguousarray(line[:, self._past.shape[1] - (_TAPS - 1) :])
        gain = np.concatenate([self._past_gain, self._gain(recent, frames)])
        attenuation = 1.0 - _moving_minimum(gain, self._hold)
        _release(attenuation, self._release_state, *self._coefficients)
        attenuation = np.concatenate([self._past_attenuation, attenuation])
        y = np.empty((2, frames))
        delayed = np.ascontiguousarray(line[:, self._past.shape[1] - self.latency :][:, :frames])
        self._apply_to(delayed, attenuation, y)
        self._past = line[:, frames:].copy()
        self._past_gain = gain[frames:].copy()
        self._past_attenuation = attenuation[frames:].copy()
        self._frames += frames
        return y.astype(x.dtype, copy=False)

    def _gain(self, line: Float64Array, frames: int) -> Float64Array:
        """Return the gain of each sample; long blocks are worked on from both halves at once."""
        detector = self._phases, self._bound, self._ceiling
        gain = np.empty(frames)
        if frames < _LEAST_PARALLEL_FRAMES:
            _limiting_gain(line, *detector, self._last_between, gain)
            return gain
        half = frames // 2
        # One sample early: what lies before its first is what the second half begins with.
        second, last = np.empty(frames - half + 1), np.zeros(1)
        part = np.ascontiguousarray(line[:, half - 1 :])
        other = Thread(target=_limiting_gain, args=(part, *detector, last, second))
        other.start()
        _limiting_gain(
            line[:, : half + _TAPS - 1].copy(), *detector, self._last_between, gain[:half]
        )
        other.join()
        gain[half:] = second[1:]
        self._last_between = last
        return gain

    def _apply_to(self, line: Float64Array, attenuation: Float64Array, y: Float64Array) -> None:
        """Fill ``y`` with the line, limited; long blocks from both halves at once."""
        frames = y.shape[1]
        half = frames // 2 if frames >= _LEAST_PARALLEL_FRAMES else 0
        reductions = np.zeros((2, 2 + _BINS))
        early = min(self._early, frames)
        self._early -= early
        course, begun = self._course.take(frames - early)
        # Of its own for each half, the frames before the first in front.
        courses = np.zeros((2, course.size + 1))
        offset = begun + self._course.step - early
        spans = [(0, half), (half, frames)] if half else [(0, frames)]
        work = [
            Thread(
                target=_apply,
                args=(
                    line[:, first:last],
                    attenuation[first : last + self._hold - 1],
                    self._window,
                    y[:, first:last],
                    reduction,
                    own,
                    offset + first,
                    self._course.step,
                ),
            )
            for (first, last), reduction, own in zip(spans, reductions, courses, strict=False)
        ]
        for thread in work[1:]:
            thread.start()
        work[0].run()
        for thread in work[1:]:
            thread.join()
        self._reduction[0] = max(self._reduction[0], *reductions[:, 0])
        self._reduction[1:] += reductions[:, 1:].sum(axis=0)
        np.maximum(course, courses.max(axis=0)[1:], out=course)

    def flush(self) -> Float64Array:
        """Return the ``latency`` frames still held, as if silence followed, shape (2, latency)."""
        return np.asarray(self.process(np.zeros((2, self.latency))), dtype=np.float64)
