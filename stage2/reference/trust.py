"""The style that is wanted of references, some of whose figures cannot be trusted.

Where another reference tells a lost figure, it tells it; else the balanced mix keeps its own. A
lost part of a spectrum goes on from where it is known: as far over or under the other spectrum as
the nearest bands are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.fft

from pipeline.console.delivery import DEFAULT_LUFS
from pipeline.units import Float32Array, Float64Array, FloatArray
from stage2.controller.inputs import REFERENCE_FIGURES
from stage2.reference.faults import Trust
from stage2.style.layout import IMBALANCE, PUNCH, RANGES, SPECTRUM, TYPICAL, WIDTH
from stage2.style.measure import SPECTRUM_FLOOR_DB, THIRD_OCTAVES_HZ, TYPICAL_FLOOR_DB, Style, blend

__all__ = ["complete", "complete_windows", "wanted_style", "without_lost_bands"]


# Bands beside a lost part that tell how a spectrum goes on: two octaves, of two songs that are in
# different keys.
_NEAREST = 6
# Treble of records, against 2 kHz: 2 dB an octave under pink noise up to 8 kHz (Pestana et al., AES
# 135, 2013: power density falls by 5 dB an octave), more above. Where nothing tells the treble of a
# record, it goes on so.
_RECORDS_HZ, _RECORDS_DB = (2000.0, 8000.0, 16000.0), (0.0, -4.0, -10.0)
_LEVEL_HZ = (1000.0, 4000.0)
_RECORDS_PEAK_DBFS = -1.0


def wanted_style(
    references: Sequence[tuple[Style, Trust]], balanced: Style
) -> tuple[Style, tuple[Style, ...]]:
    """Return the style midway between references, and what each was completed from.

    Parameters
    ----------
    references
        Each one's style, and which of its figures can be trusted.
    balanced
        Style of the balanced mix, for what none of them tells.
    """
    donors = []
    for index, (_, trust) in enumerate(references):
        donor = replace(_with_treble_of_records(balanced), loudness_lufs=DEFAULT_LUFS)
        if not trust.whole:
            for other, known in [*references[:index], *references[index + 1 :]]:
                if not known.whole:
                    donor = complete(other, known, donor)
            whole = [other for other, known in references if known.whole]
            donor = blend(whole) if whole else donor
        donors.append(donor)
    completed = [
        complete(style, trust, donor)
        for (style, trust), donor in zip(references, donors, strict=True)
    ]
    return blend(completed), tuple(donors)


def _with_treble_of_records(balanced: Style) -> Style:
    """Return the balanced mix's style with the treble of records, for its own may be dull."""
    octaves = np.log2(THIRD_OCTAVES_HZ)
    records_db = np.interp(octaves, np.log2(_RECORDS_HZ), _RECORDS_DB)
    level = (_LEVEL_HZ[0] <= THIRD_OCTAVES_HZ) & (_LEVEL_HZ[1] >= THIRD_OCTAVES_HZ)
    spectrum = np.asarray(balanced.spectrum_db)
    shelf_db = records_db - (spectrum - spectrum[level].mean())
    shelf_db[_RECORDS_HZ[0] > THIRD_OCTAVES_HZ] = 0.0
    return replace(
        balanced,
        spectrum_db=tuple((spectrum + shelf_db).tolist()),
        typical_spectrum_db=tuple(
            np.maximum(balanced.typical_spectrum_db + shelf_db, TYPICAL_FLOOR_DB).tolist()
        ),
    )


def complete(style: Style, trust: Trust, donor: Style) -> Style:
    """Return a style whose figures without trust come from a donor; the same where all are trusted.

    Parameters
    ----------
    donor
        What its figures are completed from.
    """
    if trust.whole:
        return style
    figures = _completed(_figures(style), trust, _figures(donor))
    room_db = _room_db(style, trust, donor)
    return Style(
        spectrum_db=tuple(figures[SPECTRUM].tolist()),
        width_db=float(figures[WIDTH]),
        width_by_range_db=tuple(figures[RANGES].tolist()),
        imbalance_db=float(figures[IMBALANCE]),
        punch_by_range_db=tuple(figures[PUNCH].tolist()),
        crest_db=_loosened(style.crest_db, donor.crest_db, room_db),
        loudness_lufs=style.loudness_lufs if trust.loudness else donor.loudness_lufs,
        typical_spectrum_db=tuple(figures[TYPICAL].tolist()),
        peak_to_loudness_db=_loosened(
            style.peak_to_loudness_db, donor.peak_to_loudness_db, room_db
        ),
    )


def _room_db(style: Style, trust: Trust, donor: Style) -> float:
    """Return how much less dense than a reference the mix need be.

    One whose loudness is not followed was turned down after it was limited: with its peaks where
    records have them, it is louder than the mix is to be.
    """
    if not trust.dynamics:
        return math.inf
    if trust.loudness:
        return 0.0
    return max(_RECORDS_PEAK_DBFS - style.peak_to_loudness_db - donor.loudness_lufs, 0.0)


def _loosened(dense_db: float, plain_db: float, room_db: float) -> float:
    if math.isinf(room_db):
        return plain_db
    return max(dense_db, min(dense_db + room_db, plain_db)) if room_db > 0.0 else dense_db


def complete_windows(windows: Float32Array, trust: Trust, donor: Style) -> Float32Array:
    """Return what the controller hears in windows of a reference, completed in the same way.

    Parameters
    ----------
    windows
        ``(windows, REFERENCE_FIGURES)``; the very array where every figure is trusted.
    """
    if trust.whole:
        return windows
    told = _figures(donor)
    rows = [_completed(row.astype(np.float64), trust, told) for row in windows]
    return np.stack(rows).astype(np.float32)


def without_lost_bands(audio: FloatArray, trust: Trust, *, sample_rate: int) -> FloatArray:
    """Return audio ``(channels, frames)`` without the bands that are not trusted."""
    if all(trust.bands):
        return audio
    spectrum = scipy.fft.rfft(audio.astype(np.float64), axis=1)
    frequency = np.arange(spectrum.shape[1]) * sample_rate / audio.shape[1]
    edge = 2.0 ** (1.0 / 6.0)
    for centre, trusted in zip(THIRD_OCTAVES_HZ, trust.bands, strict=True):
        if not trusted:
            spectrum[:, (frequency >= centre / edge) & (frequency < centre * edge)] = 0.0
    return np.asarray(scipy.fft.irfft(spectrum, audio.shape[1], axis=1), np.float32)


def _figures(style: Style) -> Float64Array:
    """Return a style's figures ``(REFERENCE_FIGURES,)`` in :mod:`stage2.style.layout`'s order."""
    figures = np.empty(REFERENCE_FIGURES)
    figures[SPECTRUM], figures[TYPICAL] = style.spectrum_db, style.typical_spectrum_db
    figures[WIDTH], figures[RANGES] = style.width_db, style.width_by_range_db
    figures[IMBALANCE], figures[PUNCH] = style.imbalance_db, style.punch_by_range_db
    return figures


def _completed(figures: Float64Array, trust: Trust, donor: Float64Array) -> Float64Array:
    """Return figures with a donor's where they are not trusted."""
    completed = figures.copy()
    bands = np.asarray(trust.bands)
    if not bands.all():
        completed[SPECTRUM] = _gone_on(figures[SPECTRUM], bands, donor[SPECTRUM])
        completed[TYPICAL] = _gone_on(figures[TYPICAL], bands, donor[TYPICAL])
        power = 10.0 ** (completed[SPECTRUM] / 10.0)
        total_db = 10.0 * np.log10(power.sum())
        spectrum = completed[SPECTRUM] - total_db
        completed[SPECTRUM] = np.maximum(spectrum, spectrum.max() + SPECTRUM_FLOOR_DB)
        completed[TYPICAL] = np.maximum(completed[TYPICAL] - total_db, TYPICAL_FLOOR_DB)
    ranges = np.arange(REFERENCE_FIGURES)
    for place, trusted in (
        (ranges[WIDTH : WIDTH + 1], trust.width),
        (ranges[RANGES], trust.width_by_range),
        (ranges[IMBALANCE : IMBALANCE + 1], trust.imbalance),
        (ranges[PUNCH], trust.punch_by_range),
    ):
        lost = place[~np.atleast_1d(trusted)]
        completed[lost] = donor[lost]
    return completed


def _gone_on(
    spectrum_db: Float64Array, trusted: npt.NDArray[np.bool_], donor_db: Float64Array
) -> Float64Array:
    """Return a spectrum whose lost bands keep a donor's shape, at the level of their neighbours."""
    if not trusted.any():
        return donor_db.copy()
    known = np.flatnonzero(trusted)
    apart_db = spectrum_db - donor_db
    gone_on = spectrum_db.copy()
    for band in range(len(THIRD_OCTAVES_HZ)):
        if trusted[band]:
            continue
        edge = known[np.abs(known - band).argmin()]
        nearest = known[np.argsort(np.abs(known - edge), kind="stable")[:_NEAREST]]
        gone_on[band] = donor_db[band] + float(np.median(apart_db[nearest]))
    return gone_on
