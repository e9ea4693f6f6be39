"""Tracks that serve the recording and not the song, told by their signal: timecode and clicks.

Timecode is decoded: linear timecode (SMPTE ST 12-1) is a biphase mark signal of 80 bits a frame
whose last 16 are a fixed word, which nothing else has. A click is one short pip, or two with an
accent, sample by sample the same from the first beat to the last without a rest. Music does not do
that; where a name says that it is an instrument it is not asked.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.audio.samples import Samples
from pipeline.units import Float32Array, Float64Array

__all__ = ["is_click", "is_timecode", "may_be_timecode"]


_SILENT_POWER = 1e-7

# SMPTE ST 12-1: 24 to 30 frames of 80 bits a second, played at up to some per cent off.
_BITS_HZ = (1800.0, 2550.0)
_SYNC = np.array([0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1], np.int8)
_FRAME_BITS = 80
_LOOK_S = 1.0
_STEADY_DB = 1.5
_FEWEST_FRAMES = 10

_FEWEST_CLICKS = 16
_CLICK_FRAMES = 6  # 60 ms
_REST_POWER = 1e-4  # against the loudest 10 ms
_TEMPO_S = (0.2, 1.6)
_EVEN_FRAMES = 1.5
_SPAN = 0.9
_SAME_CLICK = 0.98
_CLICK_HZ = (400.0, 6000.0)
_COMPARED = 24


def may_be_timecode(envelope: Float32Array) -> bool:
    """Whether K-weighted power each 10 ms, ``(segments,)``, is as steady as timecode."""
    audible = envelope[envelope > _SILENT_POWER]
    if audible.size < 100 * _LOOK_S:
        return False
    low, high = 10.0 * np.log10(np.percentile(audible, [10, 90]))
    return bool(high - low < _STEADY_DB)


def is_timecode(samples: Samples, envelope: Float32Array) -> bool:
    """Whether a track is linear timecode.

    Parameters
    ----------
    samples
        The track.
    envelope
        Its K-weighted power each 10 ms.
    """
    if not may_be_timecode(envelope):
        return False
    middle = int(np.median(np.flatnonzero(envelope > _SILENT_POWER)))
    rate = samples.sample_rate
    start = max(round((middle / 100.0 - _LOOK_S / 2.0) * rate), 0)
    audio = samples.read_at(start, round(_LOOK_S * rate))
    return any(_has_sync_codes(channel.astype(np.float64), rate) for channel in audio)


def _has_sync_codes(x: Float64Array, rate: int) -> bool:
    x = x - x.mean()
    negative = np.signbit(x)
    before = np.flatnonzero(negative[1:] != negative[:-1])
    if before.size < 2 * _FRAME_BITS:
        return False
    step = x[before + 1] - x[before]
    edges = before - x[before] / np.where(step == 0.0, 1.0, step)
    bits = _biphase_bits(np.diff(edges) / rate)
    if bits.size < _FRAME_BITS:
        return False
    for word in (_SYNC, _SYNC[::-1]):  # played backwards too
        windows = np.lib.stride_tricks.sliding_window_view(bits, word.size)
        matches = np.flatnonzero((windows == word).all(axis=1))
        if matches.size >= _FEWEST_FRAMES and np.median(np.diff(matches)) == _FRAME_BITS:
            return True
    return False


def _biphase_bits(lengths_s: Float64Array) -> npt.NDArray[np.int8]:
    """Read half cells in pairs as ones and whole cells as zeros; empty where it is no such code."""
    if lengths_s.size == 0:
        return np.zeros(0, np.int8)
    whole = lengths_s > 0.72 * np.percentile(lengths_s, 95)
    if not 0 < whole.sum() < whole.size:
        return np.zeros(0, np.int8)
    half_s, whole_s = float(lengths_s[~whole].mean()), float(lengths_s[whole].mean())
    if not (1.7 < whole_s / half_s < 2.3 and _BITS_HZ[0] < 1.0 / whole_s < _BITS_HZ[1]):
        return np.zeros(0, np.int8)
    bits: list[int] = []
    index = 0
    while index < whole.size:
        if whole[index]:
            bits.append(0)
            index += 1
        elif index + 1 < whole.size and not whole[index + 1]:
            bits.append(1)
            index += 2
        else:  # out of step: the other half is lost
            index += 1
    return np.array(bits, np.int8)


def is_click(samples: Samples, envelope: Float32Array, *, song_s: float) -> bool:
    """Whether a track is a metronome: one or two short pips on every beat, always the same.

    Parameters
    ----------
    samples
        The track.
    envelope
        Its K-weighted power each 10 ms.
    song_s
        Length of the session: a click runs through it.
    """
    starts = _pips(envelope)
    if starts.size < _FEWEST_CLICKS:
        return False
    beat = float(np.median(np.diff(starts)))
    even = np.abs(np.diff(starts) - beat) <= _EVEN_FRAMES
    span_s = (starts[-1] - starts[0]) / 100.0 + beat / 100.0
    if not (_TEMPO_S[0] <= beat / 100.0 <= _TEMPO_S[1] and even.all() and span_s >= _SPAN * song_s):
        return False
    return _are_same(samples, starts)


def _pips(envelope: Float32Array) -> npt.NDArray[np.int64]:
    """Return where short sounds between rests begin, in 10 ms; none where one is longer."""
    if not envelope.size or envelope.max() < _SILENT_POWER:
        return np.zeros(0, np.int64)
    on = np.r_[False, envelope > _REST_POWER * envelope.max(), False]
    edges = np.flatnonzero(on[1:] != on[:-1])
    starts, ends = edges[::2], edges[1::2]
    if starts.size == 0 or (ends - starts).max() > _CLICK_FRAMES:
        return np.zeros(0, np.int64)
    return starts.astype(np.int64)


def _are_same(samples: Samples, starts: npt.NDArray[np.int64]) -> bool:
    """Whether all pips are one of at most two, and as high as metronomes sound."""
    rate = samples.sample_rate
    size = round(0.12 * rate)
    chosen = starts[np.linspace(0, starts.size - 1, min(_COMPARED, starts.size)).astype(int)]
    spectra = []
    for start in chosen:
        audio = samples.read_at(round((start / 100.0 - 0.03) * rate), size).mean(axis=0)
        spectra.append(np.fft.rfft(audio.astype(np.float64), 2 * size))
    power = np.sum([np.abs(s) ** 2 for s in spectra], axis=0)
    hz = np.fft.rfftfreq(2 * size, 1.0 / rate)
    centroid_hz = float((hz * power).sum() / max(power.sum(), 1e-30))
    if not _CLICK_HZ[0] <= centroid_hz <= _CLICK_HZ[1]:
        return False
    kinds: list[npt.NDArray[np.complex128]] = []
    for spectrum in spectra:
        if not any(_likeness(spectrum, kind) >= _SAME_CLICK for kind in kinds):
            kinds.append(spectrum)
    return len(kinds) <= 2


def _likeness(one: npt.NDArray[np.complex128], other: npt.NDArray[np.complex128]) -> float:
    curve = np.fft.irfft(one * other.conj())
    size = np.sqrt(np.fft.irfft(np.abs(one) ** 2)[0] * np.fft.irfft(np.abs(other) ** 2)[0])
    return float(np.abs(curve).max() / max(size, 1e-30))
