"""What the controller hears: figures of each stem and of the reference.

Nothing here tells the level of a stem by itself: its spectrum, width and punch are relative to the
stem, and its weight in the mix is told by how far it agrees with the mix, band by band, and by its
share of the mix's power. A stem that is split into identical halves so gives two stems that look
the same, with half the share each, and the mix does not depend on how finely stems are cut.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.roles import Subgroup
from pipeline.units import Float32Array, Float64Array, FloatArray, db_to_amplitude
from stage2.console.search_space import StemGuard
from stage2.console.statistics import Digest
from stage2.style.envelopes import BAND_EDGES_HZ, RANGES_HZ, band_envelope, punch_db
from stage2.style.layout import FIGURES
from stage2.style.measure import (
    THIRD_OCTAVES_HZ,
    FineBands,
    band_powers,
    style_from_powers,
)

__all__ = [
    "REFERENCE_FIGURES",
    "SHARES",
    "STEM_FIGURES",
    "WINDOW_FIGURES",
    "StemFigures",
    "encode_stems",
    "reference_windows",
    "role_index",
]


_BANDS, _RANGES = len(THIRD_OCTAVES_HZ), len(RANGES_HZ)
SHARES = 1 + _RANGES
"""Shares of a stem in the mix: of the whole, and of each range."""
STEM_FIGURES = 2 * _BANDS + SHARES + 1 + SHARES + 3
WINDOW_FIGURES = SHARES
REFERENCE_FIGURES = FIGURES - 2
"""Features of a reference: all but crest and peak, which the limiter makes."""
_WINDOW_S = 7.0
_MOST_WINDOWS = 12
_FLOOR_DB = -60.0
_EPSILON = 1e-12
_ROLES = {str(subgroup): index + 1 for index, subgroup in enumerate(Subgroup)}


@dataclass(frozen=True)
class StemFigures:
    """What the controller hears of the stems of one session.

    Parameters
    ----------
    figures
        ``(stems, STEM_FIGURES)``: spectrum, agreement with the mix in each third octave, widths,
        imbalance, punch, and the guardrails (whether centred, most spread, highest high-pass).
    windows
        ``(stems, windows, WINDOW_FIGURES)``: level in each window of the song against the stem's
        own mean, of the whole and by range.
    shares
        ``(stems, SHARES)``: of the mix's power, of the whole and by range; they sum to 1.
    roles
        ``(stems,)``: index of the subgroup, 0 where it is not known.
    """

    figures: Float32Array
    windows: Float32Array
    shares: Float32Array
    roles: npt.NDArray[np.int64]


def role_index(subgroup: str) -> int:
    """Return the index of a subgroup's name, 0 for one of the user's own."""
    return _ROLES.get(subgroup, 0)


def reference_windows(audio: FloatArray, *, sample_rate: int) -> Float32Array:
    """Return the figures of windows spread over a whole recording.

    Parameters
    ----------
    audio
        ``(1 or 2, frames)``.
    sample_rate
        In Hz.

    Returns
    -------
    ndarray, shape (windows, REFERENCE_FIGURES)
        At least one window; silent ones are left out where others sound.
    """
    if audio.shape[0] == 1:
        audio = np.repeat(audio, 2, axis=0)
    length = min(round(_WINDOW_S * sample_rate), audio.shape[1])
    count = max(min(audio.shape[1] // length, _MOST_WINDOWS), 1)
    starts = np.linspace(0, audio.shape[1] - length, count).astype(int)
    pieces = [audio[:, start : start + length] for start in starts]
    power = np.asarray([float(np.mean(np.square(piece, dtype=np.float64))) for piece in pieces])
    heard = [p for p, level in zip(pieces, power, strict=True) if level >= 1e-4 * power.max()]
    return np.stack([_figures_of(piece, sample_rate) for piece in heard])


def _figures_of(audio: FloatArray, sample_rate: int) -> Float32Array:
    bands = FineBands.at(sample_rate)
    powers = band_powers(audio, sample_rate=sample_rate)
    level, width, ranges, balance = style_from_powers(powers, bands)
    typical = powers.typical_spectrum_db()
    envelope = band_envelope(audio, sample_rate=sample_rate)
    punch = _punch(envelope.T)
    return np.asarray([*level, width, *ranges, balance, *punch, *typical], dtype=np.float32)


def _by_range() -> Float64Array:
    """Return which coarse bands each range holds, ``(ranges, coarse)``."""
    edges = np.asarray(BAND_EDGES_HZ[:-1])
    return np.stack([(edges >= low) & (edges < high) for low, high in RANGES_HZ]).astype(np.float64)


def _punch(envelope: Float64Array) -> Float64Array:
    """Return the punch in each range of an envelope ``(coarse, frames)``."""
    return np.asarray(punch_db(torch.from_numpy(_by_range() @ envelope)).numpy(), dtype=np.float64)


def encode_stems(
    digest: Digest,
    *,
    gains_db: Sequence[float],
    subgroups: Sequence[str],
    guards: Sequence[StemGuard],
) -> StemFigures:
    """Return the figures of stems that are balanced by their faders.

    Parameters
    ----------
    digest
        Of the stems.
    gains_db
        Fader of each stem that gives the intended balance.
    subgroups
        Name of each stem; one that is no subgroup of ours is taken as unknown.
    guards
        The guardrails of each stem.
    """
    count, bands = digest.stems, digest.bands
    gain = np.asarray([db_to_amplitude(g) for g in gains_db])
    middle = digest.cross[:, 0::3, 0::3].real
    side = digest.cross[:, 1::3, 1::3].real
    together = (middle + side) * gain[None, :, None] * gain[None, None, :]  # (fine, stems, stems)
    third = np.zeros((_BANDS, bands.centre_hz.size))
    third[bands.third_octave, np.arange(bands.centre_hz.size)] = 1.0
    ranges = np.stack(
        [np.ones(bands.centre_hz.size, dtype=bool)]
        + [(bands.centre_hz >= low) & (bands.centre_hz < high) for low, high in RANGES_HZ]
    ).astype(np.float64)
    own = np.einsum("bss->bs", together)
    with_mix = together.sum(axis=2)  # (fine, stems)
    own_third, with_third = third @ own, third @ with_mix
    whole_third = with_third.sum(axis=1, keepdims=True)
    agreement = with_third / (np.sqrt(np.maximum(own_third * whole_third, 0.0)) + _EPSILON)
    spectrum = 10.0 * np.log10(own_third / (own_third.sum(axis=0) + _EPSILON) + 1e-6)
    with_range = ranges @ with_mix
    shares = with_range / (with_range.sum(axis=1, keepdims=True) + _EPSILON)
    # One-sided: cross-spectra of mid and side tell left from right.
    leaning = np.einsum("bss->bs", digest.cross[:, 0::3, 1::3]).real.sum(axis=0)
    power = np.einsum("bss->bs", middle + side).sum(axis=0) + _EPSILON
    per_stem = [
        10.0
        * np.log10(
            (ranges @ np.einsum("bss->bs", side) + _EPSILON)
            / (ranges @ np.einsum("bss->bs", middle) + _EPSILON)
        ).clip(-4.0, 1.0),
        np.clip(-2.0 * leaning / power, -1.0, 1.0)[None] * 10.0,
    ]
    envelope = digest.envelope.transpose(0, 2, 1)  # (stems, coarse, frames)
    punch = np.stack(
        [[*_punch(e), float(punch_db(torch.from_numpy(e.sum(axis=0)[None])))] for e in envelope]
    )
    figures = np.concatenate(
        (
            spectrum.T / 20.0,
            agreement.T,
            per_stem[0].T / 20.0,
            per_stem[1].T / 10.0,
            punch / 10.0,
            np.asarray([float(guard.centred) for guard in guards])[:, None],
            np.asarray([guard.max_spread for guard in guards])[:, None],
            np.log([[guard.highest_high_pass_hz / 100.0] for guard in guards]),
        ),
        axis=1,
    )
    return StemFigures(
        figures=figures.astype(np.float32),
        windows=_levels_over_time(digest).astype(np.float32),
        shares=shares.T.astype(np.float32),
        roles=np.asarray([role_index(name) for name in subgroups], dtype=np.int64).reshape(count),
    )


def _levels_over_time(digest: Digest) -> Float64Array:
    """Return each stem's level in windows of the song, relative to its mean, over 20 dB."""
    frames = digest.frames.shape[1]
    count = int(np.clip(frames * digest.frame_s / _WINDOW_S, 1, _MOST_WINDOWS))
    edges = np.linspace(0, frames, count + 1).astype(int)
    centres = digest.bands.centre_hz
    masks = [np.ones(centres.size, dtype=bool)]
    masks += [(centres >= low) & (centres < high) for low, high in RANGES_HZ]
    out = np.empty((digest.stems, count, SHARES))
    for index, mask in enumerate(masks):
        power = digest.frames[:, :, mask].sum(axis=2)  # (stems, frames)
        mean = power.mean(axis=1) + _EPSILON
        for window, (first, last) in enumerate(itertools.pairwise(edges)):
            level = power[:, first:last].mean(axis=1) / mean
            out[:, window, index] = 10.0 * np.log10(level + 1e-3)
    return np.clip(out, -30.0, 20.0) / 20.0
