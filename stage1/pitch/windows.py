"""What is heard of a pitch in each of many short windows: pYIN, PESTO, and what fits both."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from pipeline.units import BoolArray, Float32Array, Float64Array
from stage1.pitch.harmonicity import SPECTRUM_LENGTH, fit_pitches
from stage1.pitch.pesto import SAMPLE_RATE as PESTO_RATE
from stage1.pitch.pesto import load_pesto
from stage1.pitch.pyin import pyin
from stage1.signal.segments import Passages

__all__ = ["C8_HZ", "FMIN_HZ", "WINDOW_S", "WindowPitch", "hear", "joined"]


C8_HZ = 4186.009044809578
FMIN_HZ = 29.13523509488062
"""A sharp 0: a five-string bass goes down to B0."""
PYIN_RATE = 22050
PYIN_FRAME = 2048
PYIN_HOP = 512
PYIN_FRAMES = 8
WINDOW_S = SPECTRUM_LENGTH / PYIN_RATE
PESTO_OFFSETS_S = (-0.09375, -0.03125, 0.03125, 0.09375)
PESTO_MIN_CONFIDENCE = 0.5
MAX_ENCODED = 160
MAX_PUBLISHED = 96
"""PESTO frames of any confidence, for the published mean."""

PYIN_RATIOS = (1.0, 2.0, 3.0, 4.0, 1 / 2, 1 / 3)
PESTO_RATIOS = (1.0, 1 / 2, 1 / 4, 2.0, 1 / 3)
AHEAD_PYIN = 0.05
AHEAD_PESTO = 0.03
"""What the estimators' own pitch has ahead of others: it decides between equals."""
GLIDE_SCORE = 0.3
"""A glide smears its spectrum: below this score, pYIN is believed where it is voiced throughout."""
GLIDE_VOICED = 0.75
SAME_CENTS, NOTE_CENTS = 25.0, 150.0
"""Where pYIN and the spectrum differ by so much, they hear one note that moves."""
AGREEMENT_CENTS = 50.0
PIECES = 8


@dataclass(frozen=True)
class WindowPitch:
    """What was heard; the first axis of all is the window.

    Parameters
    ----------
    level
        Root mean square.
    decay_db
        Fall of the level a second, from the loudest eighth of the window to its end; NaN where
        that is no eighth of the first half.
    pyin_hz, voiced
        ``(windows, 8)``: pYIN's frames.
    pesto_hz, confident
        ``(windows, 4)``: PESTO's frames; NaN where the encoder did not run.
    f0_hz, score
        The pitch that fits best and how well, about 0 to 1; NaN and 0 where nothing does.
    recall
        Share of the spectrum's peaks that it explains beyond chance.
    agree
        1 where an estimator's own pitch is within 50 cents of it, else 0.
    fall_cents
        By how much pYIN's pitch falls from the first to the last of its voiced frames; NaN with
        less than four of them.
    """

    level: Float64Array
    decay_db: Float64Array
    pyin_hz: Float64Array
    voiced: BoolArray
    pesto_hz: Float64Array
    confident: BoolArray
    f0_hz: Float64Array
    score: Float64Array
    recall: Float64Array
    agree: Float64Array
    fall_cents: Float64Array


def joined(parts: list[WindowPitch]) -> WindowPitch:
    """Return what was heard in several batches of windows, in their order."""
    names = [field.name for field in fields(WindowPitch)]
    return WindowPitch(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def hear(passages: Passages, *, sparse: bool) -> WindowPitch:
    """Run both estimators on windows of :data:`WINDOW_S` and find the pitch that fits each.

    Parameters
    ----------
    passages
        The windows.
    sparse
        Run PESTO's encoder on some of the confident frames only, and a few of all.
    """
    windows = np.ascontiguousarray(passages.at(PYIN_RATE))
    span = PYIN_FRAME + (PYIN_FRAMES - 1) * PYIN_HOP
    first = (SPECTRUM_LENGTH - span) // 2
    frames = pyin(
        windows[:, first : first + span],
        sample_rate=PYIN_RATE,
        fmin_hz=FMIN_HZ,
        fmax_hz=C8_HZ,
        frame_length=PYIN_FRAME,
        hop_length=PYIN_HOP,
    )
    pesto_hz, confident = _hear_pesto(passages.at(PESTO_RATE), sparse=sparse)
    from_pyin = _row_median(frames.f0_hz, frames.voiced)
    from_pesto = _row_median(pesto_hz, confident & np.isfinite(pesto_hz))
    ahead = np.zeros(len(PYIN_RATIOS) + len(PESTO_RATIOS))
    ahead[0], ahead[len(PYIN_RATIOS)] = AHEAD_PYIN, AHEAD_PESTO
    fit = fit_pitches(
        windows,
        np.concatenate(
            [from_pyin[:, None] * PYIN_RATIOS, from_pesto[:, None] * PESTO_RATIOS], axis=1
        ),
        ahead,
        sample_rate=PYIN_RATE,
        low_hz=FMIN_HZ,
        high_hz=C8_HZ,
    )
    apart = _cents(fit.f0_hz, from_pyin)
    throughout = frames.voiced.mean(axis=1) >= GLIDE_VOICED
    # Vibrato shows its turning points, a glide next to nothing: pYIN follows both.
    gliding = throughout & (
        (fit.score < GLIDE_SCORE) | ((apart > SAME_CENTS) & (apart < NOTE_CENTS))
    )
    f0_hz = np.where(gliding, from_pyin, fit.f0_hz)
    level, decay_db = _levels(windows)
    return WindowPitch(
        level=level,
        decay_db=decay_db,
        pyin_hz=frames.f0_hz,
        voiced=frames.voiced,
        pesto_hz=pesto_hz,
        confident=confident,
        f0_hz=f0_hz,
        score=np.minimum(fit.score, 1.0),
        recall=fit.recall,
        agree=np.asarray(
            np.fmin(_cents(f0_hz, from_pyin), _cents(f0_hz, from_pesto)) < AGREEMENT_CENTS,
            np.float64,
        ),
        fall_cents=_falls(frames.f0_hz, frames.voiced),
    )


def _hear_pesto(windows: Float32Array, *, sparse: bool) -> tuple[Float64Array, BoolArray]:
    count, length = windows.shape
    offsets = np.round(np.array(PESTO_OFFSETS_S) * PESTO_RATE).astype(np.int64)
    centres = np.arange(count)[:, None] * length + length // 2 + offsets
    model = load_pesto()
    # The kernels of all frames lie inside their own window.
    frames, confidence = model.frames(windows.ravel(), centres.ravel())
    confident = confidence > PESTO_MIN_CONFIDENCE
    chosen = np.union1d(
        _spread(np.flatnonzero(confident), MAX_ENCODED if sparse else None),
        _spread(np.arange(confident.size), MAX_PUBLISHED if sparse else None),
    )
    f0_hz = np.full(confident.size, np.nan)
    f0_hz[chosen] = model.pitch(frames[chosen])
    return f0_hz.reshape(centres.shape), confident.reshape(centres.shape)


def _spread(indices: npt.NDArray[np.int64], limit: int | None) -> npt.NDArray[np.int64]:
    if limit is None or indices.size <= limit:
        return indices
    return indices[np.linspace(0, indices.size - 1, limit).round().astype(int)]


def _row_median(values: Float64Array, use: BoolArray) -> Float64Array:
    """Median along the rows of the values in use; NaN for a row without one."""
    held = np.sort(np.where(use, values, np.inf), axis=1)
    count = use.sum(axis=1)
    rows = np.arange(len(values))
    lower = held[rows, np.maximum(count - 1, 0) // 2]
    upper = held[rows, np.minimum(count // 2, held.shape[1] - 1)]
    return np.where(count > 0, (lower + upper) / 2.0, np.nan)


def _cents(one_hz: Float64Array, other_hz: Float64Array) -> Float64Array:
    """Distance of two pitches; NaN without one of them."""
    with np.errstate(invalid="ignore"):
        return np.asarray(1200.0 * np.abs(np.log2(one_hz / other_hz)))


def _levels(windows: Float32Array) -> tuple[Float64Array, Float64Array]:
    """Root mean square, and the fall in dB a second from the loudest piece to the last."""
    pieces = windows.reshape(len(windows), PIECES, -1)
    power = np.einsum("wpn,wpn->wp", pieces, pieces).astype(np.float64) / pieces.shape[2]
    loudest = power.argmax(axis=1)
    largest = power[np.arange(len(power)), loudest]
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = 10.0 * np.log10(largest / np.maximum(power[:, -1], 1e-6 * largest))
        after_s = (PIECES - 1 - loudest) * WINDOW_S / PIECES
        decay_db = np.where((loudest < PIECES // 2) & (largest > 0.0), fall / after_s, np.nan)
    return np.sqrt(power.mean(axis=1)), decay_db


def _falls(f0_hz: Float64Array, voiced: BoolArray) -> Float64Array:
    count = voiced.sum(axis=1)
    rows = np.arange(len(voiced))
    first = f0_hz[rows, voiced.argmax(axis=1)]
    last = f0_hz[rows, voiced.shape[1] - 1 - voiced[:, ::-1].argmax(axis=1)]
    return np.where(count >= 4, 1200.0 * np.log2(first / last), np.nan)
