"""Exact time-domain processors of the console: equaliser, compressor, stereo image, strip, bus.

Each processor keeps its state from one ``process`` call to the next, so the size of the blocks
never changes the output, not by one bit. States and coefficients are float64; a block comes back
in the dtype that it came in. ``latency`` is in frames; only the limiter has any.

The chain of a strip: high-pass and 6-band EQ, de-esser, compressor, makeup, width and spread, pan,
fader. Of the bus: 5-band EQ, compressor, makeup, width, gain, and with a ceiling the true-peak
limiter and trim.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.console.compressor import Compressor, GainReduction, as_float64
from pipeline.console.deesser import DeEsser
from pipeline.console.limiter import TruePeakLimiter
from pipeline.console.parameters import BUS_EQ_BANDS, STRIP_EQ_BANDS, WORKING_LUFS, EqBand
from pipeline.console.response import Sections, decorrelator_sections, eq_sections
from pipeline.jit import kernel
from pipeline.units import Float64Array, FloatArray, db_to_amplitude

__all__ = [
    "SIDES_DB",
    "Bus",
    "Compressor",
    "Equaliser",
    "GainReduction",
    "StereoImage",
    "Strip",
    "TruePeakLimiter",
    "pan_gains",
]

SIDES_DB = -6.0
"""Level of a file of sides: 24-bit files end at full scale, sides may go beyond."""


def pan_gains(pan: float) -> tuple[float, float]:
    """Return the left and right gain of a constant-power pan with unity at the centre.

    ``√2 cos((pan + 1) π/4)`` and ``√2 sin((pan + 1) π/4)``: +3.01 dB on the side that is panned
    to. A mono signal is given to both channels first; a stereo one is balanced and keeps its image.

    Examples
    --------
    >>> pan_gains(0.0)
    (1.0, 1.0)
    """
    if pan == 0.0:
        return 1.0, 1.0
    angle = (pan + 1.0) * math.pi / 4.0
    return math.sqrt(2.0) * math.cos(angle), math.sqrt(2.0) * math.sin(angle)


@kernel
def _two_biquads(
    x: npt.NDArray[np.float64],
    sections: npt.NDArray[np.float64],
    state: npt.NDArray[np.float64],
    k: int,
    start: int,
    stop: int,
) -> None:
    """Run biquads k and k + 1 over part of a stereo block in place.

    Four recursions in one loop hide each other's latency.
    """
    b0, b1, b2 = sections[k, 0], sections[k, 1], sections[k, 2]
    a1, a2 = sections[k, 4], sections[k, 5]
    d0, d1, d2 = sections[k + 1, 0], sections[k + 1, 1], sections[k + 1, 2]
    c1, c2 = sections[k + 1, 4], sections[k + 1, 5]
    l1, l2, r1, r2 = state[k, 0, 0], state[k, 0, 1], state[k, 1, 0], state[k, 1, 1]
    m1, m2, s1, s2 = state[k + 1, 0, 0], state[k + 1, 0, 1], state[k + 1, 1, 0], state[k + 1, 1, 1]
    left, right = x[0], x[1]
    for i in range(start, stop):
        v = left[i]
        y = b0 * v + l1
        l1 = (b1 * v + l2) - a1 * y
        l2 = b2 * v - a2 * y
        z = d0 * y + m1
        m1 = (d1 * y + m2) - c1 * z
        m2 = d2 * y - c2 * z
        left[i] = z
        v = right[i]
        y = b0 * v + r1
        r1 = (b1 * v + r2) - a1 * y
        r2 = b2 * v - a2 * y
        z = d0 * y + s1
        s1 = (d1 * y + s2) - c1 * z
        s2 = d2 * y - c2 * z
        right[i] = z
    state[k, 0, 0], state[k, 0, 1], state[k, 1, 0], state[k, 1, 1] = l1, l2, r1, r2
    state[k + 1, 0, 0], state[k + 1, 0, 1] = m1, m2
    state[k + 1, 1, 0], state[k + 1, 1, 1] = s1, s2


@kernel
def _four_biquads(
    x: npt.NDArray[np.float64],
    sections: npt.NDArray[np.float64],
    state: npt.NDArray[np.float64],
    k: int,
    start: int,
    stop: int,
) -> None:
    """Run biquads k to k + 3 over part of one channel in place.

    Four recursions in one loop hide each other's latency.
    """
    b, a = sections[k : k + 4, :3].copy(), sections[k : k + 4, 4:].copy()
    p1, p2, q1, q2 = state[k, 0, 0], state[k, 0, 1], state[k + 1, 0, 0], state[k + 1, 0, 1]
    r1, r2, s1, s2 = state[k + 2, 0, 0], state[k + 2, 0, 1], state[k + 3, 0, 0], state[k + 3, 0, 1]
    line = x[0]
    for i in range(start, stop):
        v = line[i]
        y = b[0, 0] * v + p1
        p1 = (b[0, 1] * v + p2) - a[0, 0] * y
        p2 = b[0, 2] * v - a[0, 1] * y
        v = b[1, 0] * y + q1
        q1 = (b[1, 1] * y + q2) - a[1, 0] * v
        q2 = b[1, 2] * y - a[1, 1] * v
        y = b[2, 0] * v + r1
        r1 = (b[2, 1] * v + r2) - a[2, 0] * y
        r2 = b[2, 2] * v - a[2, 1] * y
        v = b[3, 0] * y + s1
        s1 = (b[3, 1] * y + s2) - a[3, 0] * v
        s2 = b[3, 2] * y - a[3, 1] * v
        line[i] = v
    state[k, 0, 0], state[k, 0, 1], state[k + 1, 0, 0], state[k + 1, 0, 1] = p1, p2, q1, q2
    state[k + 2, 0, 0], state[k + 2, 0, 1], state[k + 3, 0, 0], state[k + 3, 0, 1] = r1, r2, s1, s2


@kernel
def _one_biquad(
    x: npt.NDArray[np.float64],
    sections: npt.NDArray[np.float64],
    state: npt.NDArray[np.float64],
    k: int,
    start: int,
    stop: int,
) -> None:
    """Run biquad k over part of a block (channels, frames) in place."""
    b0, b1, b2 = sections[k, 0], sections[k, 1], sections[k, 2]
    a1, a2 = sections[k, 4], sections[k, 5]
    for c in range(x.shape[0]):
        line = x[c]
        z1, z2 = state[k, c, 0], state[k, c, 1]
        for i in range(start, stop):
            v = line[i]
            y = b0 * v + z1
            z1 = (b1 * v + z2) - a1 * y
            z2 = b2 * v - a2 * y
            line[i] = y
        state[k, c, 0], state[k, c, 1] = z1, z2


@kernel
def _cascade(
    x: npt.NDArray[np.float64],
    sections: npt.NDArray[np.float64],
    state: npt.NDArray[np.float64],
    position: int,
) -> None:
    """Run biquads over x (channels, frames) in place, transposed direct form II.

    A decaying state is set to zero once it is below 1e-30: denormal numbers are slow. That is done
    at fixed positions in the stream, so that the blocks do not matter.
    """
    channels, frames = x.shape
    start = 0
    until_flush = 256 - position % 256
    while start < frames:
        stop = min(frames, start + until_flush)
        k = 0
        while k < sections.shape[0]:
            if channels == 2 and k + 1 < sections.shape[0]:
                _two_biquads(x, sections, state, k, start, stop)
                k += 2
            elif channels == 1 and k + 3 < sections.shape[0]:
                _four_biquads(x, sections, state, k, start, stop)
                k += 4
            else:
                _one_biquad(x, sections, state, k, start, stop)
                k += 1
        if stop - start == until_flush:
            for k in range(sections.shape[0]):
                for c in range(channels):
                    for j in range(2):
                        if abs(state[k, c, j]) < 1e-30:
                            state[k, c, j] = 0.0
        start = stop
        until_flush = 256


class _Cascade:
    """Biquads with their memory, over a block of 1 or 2 channels."""

    def __init__(self, sections: Sections, *, channels: int) -> None:
        self._sections = sections
        self._state = np.zeros((len(sections), channels, 2))
        self._position = 0

    def run(self, x: Float64Array) -> None:
        """Process a float64 block, ``(channels, frames)``, in place."""
        if len(self._sections):
            _cascade(x, self._sections, self._state, self._position)
            self._position += x.shape[1]


class Equaliser:
    """A cascade of biquads over a stereo block; bands at 0 dB are skipped.

    Parameters
    ----------
    settings
        A strip's or the bus's settings.
    bands
        ``STRIP_EQ_BANDS`` or ``BUS_EQ_BANDS``; a frequency at or above 0.45 x ``sample_rate`` is
        clamped to it.
    sample_rate
        In Hz.
    """

    latency = 0

    def __init__(
        self, settings: Mapping[str, float], bands: Sequence[EqBand], *, sample_rate: int
    ) -> None:
        sections = eq_sections(settings, bands, sample_rate=sample_rate)
        self._cascade = _Cascade(sections, channels=2)
        self.is_neutral = len(sections) == 0

    def process(self, x: FloatArray) -> FloatArray:
        """Return the equalised block, shape (2, frames)."""
        y = as_float64(x)
        self.run(y)
        return y.astype(x.dtype, copy=False)

    def run(self, x: Float64Array) -> None:
        """Process a float64 block, ``(channels, frames)``, in place."""
        self._cascade.run(x)


class StereoImage:
    """Width and spread: ``S' = width S + spread D(M)``, with M = (L+R)/2 and S = (L-R)/2.

    D is the decorrelator of :mod:`pipeline.console.response`: linear, without latency. The mono sum
    of the block stays what it was.

    Parameters
    ----------
    width
        Gain of the side signal, 1 for unchanged.
    spread
        Amount of decorrelated side made from the mid, 0 for none.
    sample_rate
        In Hz.
    """

    latency = 0

    def __init__(self, *, width: float, spread: float = 0.0, sample_rate: int) -> None:
        self._width = float(width)
        self._spread = float(spread)
        self._cascade = _Cascade(decorrelator_sections(sample_rate=sample_rate), channels=1)
        self.is_neutral = self._width == 1.0 and self._spread == 0.0

    def process(self, x: FloatArray) -> FloatArray:
        """Return the widened or narrowed block, shape (2, frames)."""
        y = as_float64(x)
        self.run(y)
        return y.astype(x.dtype, copy=False)

    def run(self, x: Float64Array) -> None:
        """Process a float64 block, ``(channels, frames)``, in place."""
        if self.is_neutral:
            return
        mid = 0.5 * (x[0] + x[1])
        side = (0.5 * self._width) * (x[0] - x[1])
        if self._spread != 0.0:
            decorrelated = mid.copy()
            self._cascade.run(decorrelated[np.newaxis])
            side += self._spread * decorrelated
        np.add(mid, side, out=x[0])
        np.subtract(mid, side, out=x[1])


class Strip:
    """One stem's channel: EQ, de-esser, compressor and makeup, width and spread, pan, fader.

    Parameters
    ----------
    settings
        Values of every parameter of :data:`pipeline.console.parameters.STRIP`.
    level_lufs
        Loudness of the stem as it comes in, which the thresholds are relative to.
    sample_rate
        In Hz.
    """

    latency = 0

    def __init__(
        self, settings: Mapping[str, float], *, level_lufs: float, sample_rate: int
    ) -> None:
        self._equaliser = Equaliser(settings, STRIP_EQ_BANDS, sample_rate=sample_rate)
        self.deesser = DeEsser(settings, level_lufs=level_lufs, sample_rate=sample_rate)
        self.compressor = Compressor(settings, level_lufs=level_lufs, sample_rate=sample_rate)
        self._image = StereoImage(
            width=settings["width"], spread=settings["spread"], sample_rate=sample_rate
        )
        fader = db_to_amplitude(settings["gain_db"])
        left, right = pan_gains(settings["pan"])
        self._gains = (fader * left, fader * right)

    def process(self, x: FloatArray) -> FloatArray:
        """Return the processed block, shape (2, frames)."""
        y = as_float64(x)
        self._through_devices(y)
        self._place(y)
        return y.astype(x.dtype, copy=False)

    def process_apart(self, x: FloatArray, *, bus_width: float) -> tuple[FloatArray, FloatArray]:
        """Return the processed block, and what of it no equaliser, compressor or pan explains.

        Parameters
        ----------
        x
            Shape (2, frames).
        bus_width
            Gain of the side signal on the bus, which counts to the second.

        Returns
        -------
        processed, sides
            Each (2, frames): the second, added to the strip without width and spread, gives the
            first through the bus's width.
        """
        y = as_float64(x)
        self._through_devices(y)
        plain = y.copy()
        self._pan_and_fade(plain)
        self._place(y)
        half = 0.5 * (bus_width - 1.0) * (y[0] - y[1])
        sides = y - plain
        sides[0] += half
        sides[1] -= half
        return y.astype(x.dtype, copy=False), sides.astype(x.dtype, copy=False)

    def _through_devices(self, y: Float64Array) -> None:
        self._equaliser.run(y)
        self.deesser.run(y)
        self.compressor.run(y)

    def _place(self, y: Float64Array) -> None:
        self._image.run(y)
        self._pan_and_fade(y)

    def _pan_and_fade(self, y: Float64Array) -> None:
        if self._gains != (1.0, 1.0):
            y[0] *= self._gains[0]
            y[1] *= self._gains[1]


class Bus:
    """The mix bus: EQ, compressor and makeup, width, gain; then the limiter and trim, if asked.

    Parameters
    ----------
    settings
        Values of every parameter of :data:`pipeline.console.parameters.BUS`.
    sample_rate
        In Hz.
    ceiling_dbtp
        Of the limiter; None leaves it out, and with it the latency.
    trim_db
        Gain after the limiter.
    """

    def __init__(
        self,
        settings: Mapping[str, float],
        *,
        sample_rate: int,
        ceiling_dbtp: float | None = None,
        trim_db: float = 0.0,
    ) -> None:
        self._equaliser = Equaliser(settings, BUS_EQ_BANDS, sample_rate=sample_rate)
        self.compressor = Compressor(settings, level_lufs=WORKING_LUFS, sample_rate=sample_rate)
        self._image = StereoImage(width=settings["width"], sample_rate=sample_rate)
        self._gain = db_to_amplitude(settings["gain_db"])
        self.limiter: TruePeakLimiter | None = None
        if ceiling_dbtp is not None:
            self.limiter = TruePeakLimiter(ceiling_dbtp, sample_rate=sample_rate)
        self._trim = db_to_amplitude(trim_db)
        self.latency = self.limiter.latency if self.limiter else 0

    def process(self, x: FloatArray) -> FloatArray:
        """Return the processed block, shape (2, frames), late by ``latency`` frames."""
        y = as_float64(x)
        self._equaliser.run(y)
        self.compressor.run(y)
        self._image.run(y)
        if self._gain != 1.0:
            y *= self._gain
        if self.limiter is not None:
            y = np.asarray(self.limiter.process(y))
        if self._trim != 1.0:
            y *= self._trim
        return y.astype(x.dtype, copy=False)

    def flush(self) -> Float64Array:
        """Return the ``latency`` frames that the limiter still holds, shape (2, latency).

        The stream ends where its input ended: filters do not ring on into the limiter, so the
        true peak of the whole is kept even where a mix is cut off in full flight.
        """
        if self.limiter is None:
            return np.zeros((2, 0))
        return self.limiter.flush() * self._trim
