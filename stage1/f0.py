"""The fundamental frequency of a track: pYIN, PESTO, and an ensemble of the two.

A track is sampled by many short windows spread over its active time: 240 windows of a quarter of a
second say nearly as much as the whole track and cost as much as one minute of it. In each window
both estimators propose pitches; the proposals, with their octaves, are weighed against the window's
own spectrum (:mod:`stage1.harmonicity`). That settles the typical errors: pYIN reads low guitars an
octave down, PESTO reads basses an octave or two up, and either hears a pitch in drums.

An unpitched track has f0 NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt
import soxr

from pipeline.loudness import EnergyMeter
from stage1.harmonicity import SPECTRUM_LENGTH, harmonic_strength
from stage1.pesto_encoder import SAMPLE_RATE as PESTO_RATE
from stage1.pesto_encoder import load_pesto
from stage1.pyin import pyin

__all__ = ["F0Estimate", "Mode", "estimate_f0", "published_f0"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Mode = Literal["windows", "full"]

PYIN_RATE = 22050
PYIN_FRAME = 2048
PYIN_HOP = 512
C1_HZ = 32.70319566257483
C8_HZ = 4186.009044809578
FMIN_HZ = 29.13523509488062
"""A sharp 0: a five-string bass goes down to B0."""

WINDOW_S = 0.25
MAX_WINDOWS = 240
PESTO_FRAMES_A_WINDOW = 4
PESTO_MIN_CONFIDENCE = 0.5
AGREEMENT_CENTS = 50.0
MAX_ENCODED = 240
MAX_PUBLISHED = 120
"""PESTO frames of any confidence, for the published mean."""
BATCH_WINDOWS = 256

MIN_STRENGTH = 0.3
"""A window whose best proposal matches less says nothing about the pitch."""

PYIN_RATIOS = (1.0, 2.0, 3.0, 4.0, 0.5)
PESTO_RATIOS = (1.0, 0.5, 0.25, 2.0)


@dataclass(frozen=True)
class F0Estimate:
    """The pitch of one track.

    Parameters
    ----------
    f0_hz
        Median of the ensemble over the pitched windows; NaN if the track is unpitched.
    f0_low_hz, f0_high_hz
        5th and 95th percentile of the same; NaN if unpitched.
    voiced_share
        Share of active frames that pYIN calls voiced, 0 to 1.
    confidence
        That the track is pitched and its pitch right, 0 to 1; the track counts as pitched from 0.5.
    pyin_hz
        Median of pYIN's voiced frames alone; NaN without one.
    pesto_hz
        Median of PESTO's confident frames alone; NaN without one.
    pesto_share
        Share of active frames that PESTO is confident of, 0 to 1.
    agreement
        Share of the windows heard by both in which they agree within 50 cents, 0 to 1.
    strength
        Mean match of the windows with the harmonic kernel, about 0 (noise) to 1 (harmonic tone).
    published_hz
        What :func:`published_f0` returns.
    """

    f0_hz: float
    f0_low_hz: float
    f0_high_hz: float
    voiced_share: float
    confidence: float
    pyin_hz: float
    pesto_hz: float
    pesto_share: float
    agreement: float
    strength: float
    published_hz: float


_NOTHING = F0Estimate(
    math.nan, math.nan, math.nan, 0.0, 0.0, math.nan, math.nan, 0.0, 0.0, 0.0, math.nan
)


def _fold(audio: Float32Array) -> Float32Array:
    """Mono for pitch: the mean, or the stronger channel where the mean would cancel."""
    if audio.ndim != 2:
        msg = f"expected audio of shape (channels, frames), got {audio.shape}"
        raise ValueError(msg)
    if audio.shape[0] == 1:
        return audio[0]
    mean = audio.mean(axis=0, dtype=np.float32)
    energies = np.einsum("cn,cn->c", audio, audio)
    if float(mean @ mean) < 0.1 * float(energies.max()):
        return audio[int(energies.argmax())]
    return np.asarray(mean)


def _activity(audio: Float32Array, sample_rate: int) -> BoolArray:
    meter = EnergyMeter(sample_rate=sample_rate, channels=audio.shape[0])
    meter.process(audio)
    return meter.active()


def _window_starts(active: BoolArray, duration_s: float, limit: int | None) -> Float64Array:
    """Start times of the windows whose middle is active, at most ``limit``, evenly spread."""
    count = max(1, math.floor(duration_s / WINDOW_S))
    starts = np.arange(count) * WINDOW_S
    hops = np.minimum(((starts + WINDOW_S / 2) * 10).astype(int), active.size - 1)
    starts = starts[active[hops]] if active.size else starts[:0]
    if limit is not None and starts.size > limit:
        starts = starts[np.linspace(0, starts.size - 1, limit).round().astype(int)]
    return np.asarray(starts)


def _cut(signal: Float32Array, starts: npt.NDArray[np.int64], length: int) -> Float32Array:
    """Return ``(starts, length)`` windows of a signal with silence before and after it."""
    before = max(0, -int(starts.min()))
    after = max(0, int(starts.max()) + length - signal.size)
    padded = np.pad(signal, (before, after))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[starts + before]


def _median(values: Float64Array) -> float:
    return float(np.median(values)) if values.size else math.nan


def _row_median(values: Float64Array, use: BoolArray) -> Float64Array:
    """Median along the rows of the values in use; NaN for a row without one."""
    result = np.full(len(values), np.nan)
    for row in np.flatnonzero(use.any(axis=1)):
        result[row] = np.median(values[row, use[row]])
    return result


@dataclass(frozen=True)
class _Heard:
    """What was heard in each window; the first axis is the window."""

    pyin_hz: Float64Array  # (windows, frames)
    voiced: BoolArray
    pesto_hz: Float64Array  # (windows, frames), NaN where not encoded
    confident: BoolArray
    best_hz: Float64Array  # (windows,), NaN where nobody proposed a pitch
    strength: Float64Array
    agree: Float64Array  # 1 or 0, NaN where not heard by both


def _spread(indices: npt.NDArray[np.int64], limit: int | None) -> npt.NDArray[np.int64]:
    if limit is None or indices.size <= limit:
        return indices
    return indices[np.linspace(0, indices.size - 1, limit).round().astype(int)]


def _at_rate(signal: Float32Array, sample_rate: int, wanted: int) -> Float32Array:
    if sample_rate == wanted:
        return signal
    return np.asarray(soxr.resample(signal, sample_rate, wanted), np.float32)


def _listen(
    signal: Float32Array, lower: Float32Array, starts: Float64Array, *, sparse: bool
) -> _Heard:
    """Run both estimators on the windows at ``starts`` and weigh their proposals.

    ``signal`` is at :data:`PYIN_RATE`, ``lower`` the same at PESTO's rate.
    """
    span = round(WINDOW_S * PYIN_RATE)
    first = np.round(starts * PYIN_RATE).astype(np.int64)
    frames = pyin(
        _cut(signal, first - PYIN_FRAME // 2, span + PYIN_FRAME),
        sample_rate=PYIN_RATE,
        fmin_hz=FMIN_HZ,
        fmax_hz=C8_HZ,
        frame_length=PYIN_FRAME,
        hop_length=PYIN_HOP,
    )
    pesto_hz, confident = _listen_pesto(lower, starts, sparse=sparse)

    from_pyin = _row_median(frames.f0_hz, frames.voiced)
    from_pesto = _row_median(pesto_hz, confident & np.isfinite(pesto_hz))
    proposals = np.concatenate(
        [from_pyin[:, None] * PYIN_RATIOS, from_pesto[:, None] * PESTO_RATIOS], axis=1
    )
    proposals[(proposals < FMIN_HZ) | (proposals > C8_HZ)] = np.nan
    long = _cut(signal, first + (span - SPECTRUM_LENGTH) // 2, SPECTRUM_LENGTH)
    strengths = harmonic_strength(long, proposals, sample_rate=PYIN_RATE)
    best = strengths.argmax(axis=1)
    rows = np.arange(len(proposals))
    return _Heard(
        pyin_hz=frames.f0_hz,
        voiced=frames.voiced,
        pesto_hz=pesto_hz,
        confident=confident,
        best_hz=proposals[rows, best],
        strength=np.clip(strengths[rows, best], 0.0, 1.0),
        agree=np.where(
            np.isnan(from_pyin) | np.isnan(from_pesto),
            np.nan,
            1200.0 * np.abs(np.log2(from_pyin / from_pesto)) < AGREEMENT_CENTS,
        ),
    )


def _listen_pesto(
    signal: Float32Array, starts: Float64Array, *, sparse: bool
) -> tuple[Float64Array, BoolArray]:
    """PESTO's f0 and whether it is confident, ``(windows, frames)`` each.

    ``sparse`` encodes only some of the confident frames, and a few of all.
    """
    offsets = (np.arange(PESTO_FRAMES_A_WINDOW) + 0.5) * (WINDOW_S / PESTO_FRAMES_A_WINDOW)
    centres = np.round((starts[:, None] + offsets) * PESTO_RATE).astype(np.int64)
    centres = np.minimum(centres, signal.size - 1)
    model = load_pesto()
    frames, confidence = model.frames(signal, centres.ravel())
    confident = confidence > PESTO_MIN_CONFIDENCE
    chosen = np.union1d(
        _spread(np.flatnonzero(confident), MAX_ENCODED if sparse else None),
        _spread(np.arange(confident.size), MAX_PUBLISHED if sparse else None),
    )
    f0_hz = np.full(confident.size, np.nan)
    f0_hz[chosen] = model.pitch(frames[chosen])
    return f0_hz.reshape(centres.shape), confident.reshape(centres.shape)


def _confidence(strength: float, pesto_share: float, agreement: float) -> float:
    """Probability that a track is pitched.

    Logistic regression over 296 recordings of instruments, voices and percussion (area under the
    curve 0.977; 0.95 without the harmonic strength). pYIN's voiced share added nothing to it.
    """
    return 1.0 / (1.0 + math.exp(4.5 - 11.4 * strength - 2.1 * pesto_share - 2.1 * agreement))


def estimate_f0(
    audio: Float32Array,
    *,
    sample_rate: int,
    active: BoolArray | None = None,
    mode: Mode = "windows",
) -> F0Estimate:
    """Estimate whether a track is pitched, and its f0.

    Parameters
    ----------
    audio
        ``(channels, frames)`` float32.
    sample_rate
        In Hz.
    active
        One flag each 100 ms, as :meth:`pipeline.loudness.EnergyMeter.active` returns; measured if
        not given.
    mode
        ``"windows"`` listens to at most 240 windows, ``"full"`` to all of the active time.

    Returns
    -------
    F0Estimate

    Raises
    ------
    ValueError
        If ``audio`` is not two-dimensional, or ``mode`` is unknown.
    """
    if mode not in ("windows", "full"):
        msg = f"unknown f0 mode {mode!r}: use 'windows' or 'full'"
        raise ValueError(msg)
    signal = _fold(audio)
    if active is None:
        active = _activity(audio, sample_rate)
    sparse = mode == "windows"
    starts = _window_starts(active, signal.size / sample_rate, MAX_WINDOWS if sparse else None)
    if starts.size == 0:
        return _NOTHING
    middle = _at_rate(signal, sample_rate, PYIN_RATE)
    lower = _at_rate(signal, sample_rate, PESTO_RATE)
    batches = [
        _listen(middle, lower, starts[i : i + BATCH_WINDOWS], sparse=sparse)
        for i in range(0, starts.size, BATCH_WINDOWS)
    ]
    names = [field.name for field in fields(_Heard)]
    heard = _Heard(*(np.concatenate([getattr(b, name) for b in batches]) for name in names))
    published_hz = (
        _larger_mean(heard.pyin_hz[heard.voiced], heard.pesto_hz)
        if sparse
        else _published_full(audio, sample_rate)
    )
    return _decide(heard, published_hz)


def _decide(heard: _Heard, published_hz: float) -> F0Estimate:
    agreement = heard.agree[~np.isnan(heard.agree)]
    share = float(agreement.mean()) if agreement.size else 0.0
    pesto_share = float(heard.confident.mean())
    strength = float(heard.strength.mean())
    confidence = _confidence(strength, pesto_share, share)
    clear = heard.best_hz[np.isfinite(heard.best_hz) & (heard.strength >= MIN_STRENGTH)]
    pitched = confidence >= 0.5 and clear.size > 0
    low, middle, high = np.percentile(clear, (5, 50, 95)) if pitched else (math.nan,) * 3
    return F0Estimate(
        f0_hz=float(middle),
        f0_low_hz=float(low),
        f0_high_hz=float(high),
        voiced_share=float(heard.voiced.mean()),
        confidence=confidence if pitched else min(confidence, 0.49),
        pyin_hz=_median(heard.pyin_hz[heard.voiced]),
        pesto_hz=_median(heard.pesto_hz[heard.confident & np.isfinite(heard.pesto_hz)]),
        pesto_share=pesto_share,
        agreement=share,
        strength=strength,
        published_hz=published_hz,
    )


def _larger_mean(pyin_hz: Float64Array, pesto_hz: Float64Array) -> float:
    """Return the larger of two means over the frames with a frequency; NaN without any."""
    pyin_hz = pyin_hz[pyin_hz >= C1_HZ]
    means = [float(hz.mean()) for hz in (pyin_hz, pesto_hz[np.isfinite(pesto_hz)]) if hz.size]
    return max(means, default=math.nan)


def _published_full(audio: Float32Array, sample_rate: int) -> float:
    mono = audio.mean(axis=0, dtype=np.float32)
    if not mono.any():
        return math.nan
    frames = pyin(mono[None], sample_rate=sample_rate, fmin_hz=C1_HZ, fmax_hz=C8_HZ, center=True)
    lower = _at_rate(mono, sample_rate, PESTO_RATE)
    centres = np.arange(0, lower.size, PESTO_RATE // 100)
    model = load_pesto()
    parts = [
        model.pitch(model.frames(lower, centres[i : i + 4096])[0])
        for i in range(0, centres.size, 4096)
    ]
    return _larger_mean(frames.f0_hz[frames.voiced], np.concatenate(parts))


def published_f0(
    audio: Float32Array,
    *,
    sample_rate: int,
    active: BoolArray | None = None,
    mode: Mode = "windows",
) -> float:
    """Return f0 as the published method has it: the larger of the two plain means.

    The mean of pYIN's frames (C1 to C8, without those it leaves NaN) and the mean of all PESTO
    frames, whatever their confidence, on the mean of the channels. In mode ``"full"`` pYIN runs at
    the file's own rate on every frame and PESTO every 10 ms, as in the original. In mode
    ``"windows"`` the means are over the windows of :func:`estimate_f0`, at pYIN's 22.05 kHz.

    Parameters
    ----------
    audio, sample_rate, active, mode
        As for :func:`estimate_f0`.

    Returns
    -------
    float
        In Hz; NaN for silence.

    Raises
    ------
    ValueError
        If ``audio`` is not two-dimensional, or ``mode`` is unknown.
    """
    if mode == "full":
        if audio.ndim != 2:
            msg = f"expected audio of shape (channels, frames), got {audio.shape}"
            raise ValueError(msg)
        return _published_full(audio, sample_rate)
    return estimate_f0(audio, sample_rate=sample_rate, active=active, mode=mode).published_hz
