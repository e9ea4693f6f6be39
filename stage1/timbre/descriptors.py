"""What a track sounds like, in numbers that tell instruments apart whatever their level.

Passages spread over the active time are looked at, so that a track costs the same however long it
is. All but the last descriptors are of the mono fold, and none depends on the track's gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.audio.samples import Samples
from pipeline.jit import kernel
from pipeline.units import BoolArray, Float32Array, Float64Array
from stage1.signal.framing import hann
from stage1.signal.segments import fold
from stage1.timbre.harmonics import PITCH_NAMES, PitchFrames, pitch_descriptors, pitch_frames
from stage1.timbre.image import IMAGE_NAMES, NO_IMAGE, image_descriptors, image_products

__all__ = ["TIMBRE_NAMES", "measure_timbre"]


PASSAGES = 24
PASSAGE_S = 1.2
FRAME_S = 0.0464
"""2048 samples at 44.1 and 48 kHz; the frame is the power of two nearest to it."""
FINE_S = 0.005

MELS = 40
MEL_LOW_HZ, MEL_HIGH_HZ = 20.0, 16000.0
COEFFICIENTS = 16
MOVING = 8
FLAT_HZ = ((100.0, 1000.0), (1000.0, 4000.0), (4000.0, 12000.0))
ENVELOPE_HZ = (0.0, 250.0, 2000.0, 8000.0, 24000.0)
MODULATION_HZ = (1.5, 3.0, 6.0, 12.0, 25.0)
DROPS_S = (0.05, 0.1, 0.2, 0.4)
ONSET_RISE_DB = 8.0
SOUNDING_DB = 30.0
"""Frames this far under the loud ones say more of the room and the noise than of the source."""
FLOOR_DB = 70.0
LOW_HZ = (25.0, 50.0, 80.0, 120.0, 200.0, 315.0, 500.0)


def _names() -> tuple[str, ...]:
    flat = [f"{low:g}_{high:g}hz" for low, high in FLAT_HZ]
    bands = [f"{ENVELOPE_HZ[k]:g}_{ENVELOPE_HZ[k + 1]:g}hz" for k in range(4)]
    rates = [f"{MODULATION_HZ[k]:g}_{MODULATION_HZ[k + 1]:g}hz" for k in range(4)]
    return (
        *(f"cepstrum_{k}_mean" for k in range(1, COEFFICIENTS + 1)),
        *(f"cepstrum_{k}_spread" for k in range(1, COEFFICIENTS + 1)),
        *(f"cepstrum_{k}_movement" for k in range(1, MOVING + 1)),
        *(f"cepstrum_{k}_attack" for k in range(1, MOVING + 1)),
        *(f"mel_{k}_db" for k in range(MELS // 2)),
        *(f"low_{LOW_HZ[k]:g}hz_db" for k in range(len(LOW_HZ) - 1)),
        *(f"flatness_{band}_mean" for band in flat),
        *(f"flatness_{band}_spread" for band in flat),
        *(f"steadiness_{band}_mean" for band in flat),
        *(f"steadiness_{band}_low" for band in flat),
        "centroid_mean", "centroid_spread", "centroid_attack", "rolloff_mean",
        "share_over_5khz", "share_over_5khz_p90", "share_under_120hz",
        *(f"envelope_{band}_{what}" for band in bands for what in ("spread", "movement", "skew")),
        *(f"modulation_{rate}" for rate in rates),
        *(f"voice_band_modulation_{rate}" for rate in rates),
        "onsets", "attack_rise", *(f"drop_{1000 * s:g}ms" for s in DROPS_S),
        "gap_share_20db", "gap_share_40db", "level_spread", "crest",
        *PITCH_NAMES,
        *IMAGE_NAMES,
    )  # fmt: skip


TIMBRE_NAMES: tuple[str, ...] = _names()
"""What each value of :func:`measure_timbre` is; the last three alone are of the stereo image."""


@dataclass
class _Frames:
    """Short-time spectra of all passages, one row a frame."""

    power: Float64Array
    mel_db: Float32Array
    flatness: Float64Array
    steadiness: Float64Array
    shape: Float64Array
    first: BoolArray


def measure_timbre(samples: Samples, *, active: BoolArray) -> tuple[float, ...]:
    """Measure what a track sounds like.

    Parameters
    ----------
    samples
        The track, mono or stereo.
    active
        One flag each 100 ms, as :meth:`pipeline.loudness.meter.EnergyMeter.active` returns.

    Returns
    -------
    tuple of float
        One finite value for each of :data:`TIMBRE_NAMES`; all 0 for silence.
    """
    rate = samples.sample_rate
    step = max(round(rate / 11500.0), 1)
    length = step * math.ceil(PASSAGE_S * rate / step)
    starts = _passage_starts(active, samples.frames, rate=rate, length=length)
    passages, stereo = [], NO_IMAGE.copy()
    for start in starts:
        piece = samples.read_at(start, length)
        passages.append(fold(piece[None])[0])
        if piece.shape[0] == 2:
            stereo += image_products(piece)
    peak = max((float(np.abs(x).max()) for x in passages), default=0.0)
    if peak < 1e-7:
        return (0.0,) * len(TIMBRE_NAMES)
    signal = np.asarray(np.stack(passages) / np.float32(peak), np.float32)  # (passages, length)
    frames = _analyse(signal, rate)
    pitch = pitch_frames(_decimated(signal, step), rate=rate / step)
    values = np.concatenate(
        [
            _spectral(frames, pitch, rate),
            _envelopes(frames, len(starts), rate),
            _attacks(signal, rate),
            pitch_descriptors(pitch),
            image_descriptors(stereo),
        ]
    )
    return tuple(float(v) for v in np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0))


def _passage_starts(active: BoolArray, frames: int, *, rate: int, length: int) -> list[int]:
    """Return the first samples of the passages, spread evenly over those that are mostly active."""
    count = max(frames // length, 1)
    edges = np.arange(count + 1) * length * 10 // rate
    total = np.concatenate([[0], np.cumsum(active)])
    playing = np.diff(total[np.minimum(edges, active.size)])
    use = np.flatnonzero(playing >= max(1.0, 0.5 * float(playing.max(initial=0))))
    if use.size == 0 and active.any():  # it plays behind the last whole passage alone
        return [max(frames - length, 0)]
    if use.size > PASSAGES:
        use = use[np.linspace(0, use.size - 1, PASSAGES).round().astype(int)]
    return [int(k) * length for k in use]


def _decimated(signal: Float32Array, step: int) -> Float32Array:
    if step == 1:
        return signal
    spectrum = scipy.fft.rfft(signal, axis=1)
    short = signal.shape[1] // step
    return np.asarray(scipy.fft.irfft(spectrum[:, : short // 2 + 1], short, axis=1) / step)


def _mel_bands(bins: int, bin_hz: float) -> Float32Array:
    """Return ``(bins, MELS)`` triangles of unit sum on the mel scale (O'Shaughnessy)."""
    top = 2595.0 * math.log10(1.0 + MEL_HIGH_HZ / 700.0)
    low = 2595.0 * math.log10(1.0 + MEL_LOW_HZ / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(low, top, MELS + 2) / 2595.0) - 1.0)
    hertz = np.arange(bins)[:, None] * bin_hz
    rise = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    weights = np.maximum(np.minimum(rise, fall), 0.0)
    # A band that lies between two bins still hears the nearest.
    nearest = np.rint(edges[1:-1] / bin_hz).astype(int)
    for band in np.flatnonzero((weights.sum(axis=0) == 0.0) & (nearest < bins)):
        weights[nearest[band], band] = 1.0
    return np.asarray(weights, np.float32)


@kernel
def _spectra(
    power: Float32Array,
    bounds: npt.NDArray[np.int64],
    flatness: Float64Array,
    steadiness: Float64Array,
    shape: Float64Array,
) -> None:
    """Fill flatness in dB and likeness to the frame before, by band, and the frame's shape."""
    frames, bins = power.shape
    for t in range(frames):
        for b in range(bounds.shape[0]):
            low, high = bounds[b, 0], min(bounds[b, 1], bins)
            logs, total, dot, before = 0.0, 1e-20, 0.0, 1e-20
            for k in range(low, high):
                p = power[t, k]
                logs += math.log(p + 1e-30)
                total += p
                if t:
                    q = power[t - 1, k]
                    dot += math.sqrt(p * q)
                    before += q
            n = max(high - low, 1)
            flatness[t, b] = 4.342944819 * (logs / n - math.log(total / n))
            steadiness[t, b] = dot / math.sqrt(total * before) if t else 1.0
        total, moment = 1e-20, 0.0
        for k in range(1, bins):
            total += power[t, k]
            moment += power[t, k] * k
        rest = 0.85 * total
        roll = 1
        for k in range(1, bins):
            rest -= power[t, k]
            roll = k
            if rest <= 0.0:
                break
        shape[t, 0] = math.log2(max(moment / total, 1.0))
        shape[t, 1] = math.log2(roll)


def _analyse(signal: Float32Array, rate: int) -> _Frames:
    length = 2 ** round(math.log2(FRAME_S * rate))
    hop = length // 4
    window = hann(length).astype(np.float32)
    bins, bin_hz = length // 2 + 1, rate / length
    bands = _mel_bands(bins, bin_hz)
    bounds = np.array([[round(edge / bin_hz) for edge in pair] for pair in FLAT_HZ])
    scale = np.float32(1.0 / float((window**2).sum()) / length)
    count = 1 + (signal.shape[1] - length) // hop if signal.shape[1] >= length else 0
    power = np.empty((len(signal), count, bins), np.float32)
    for passage, out in zip(signal, power, strict=True):
        spectrum = scipy.fft.rfft(sliding_window_view(passage, length)[::hop] * window, axis=1)
        np.multiply(spectrum.real**2 + spectrum.imag**2, scale, out=out)
    total = power.reshape(-1, bins).sum(axis=1, dtype=np.float64)
    floor = max(float(np.percentile(total, 95.0)), 1e-20) * 10.0 ** (-FLOOR_DB / 10.0)
    # As if every track had been recorded with some hiss: else silence between the partials of a
    # synthesiser would be what tells it from a microphone's.
    power += np.float32(floor / bins)
    flat, steady, shape = (np.empty((len(signal), count, n)) for n in (3, 3, 2))
    for k in range(len(signal)):
        _spectra(power[k], bounds, flat[k], steady[k], shape[k])
    shape += math.log2(bin_hz)
    mel = np.maximum(power.reshape(-1, bins) @ bands, np.float32(floor))
    first = np.zeros(len(total), np.bool_)
    first[::count] = True
    return _Frames(
        total,
        np.asarray(10.0 * np.log10(mel), np.float32),
        flat.reshape(-1, 3),
        steady.reshape(-1, 3),
        shape.reshape(-1, 2),
        first,
    )


def _sounding(power: Float64Array) -> BoolArray:
    loud = float(np.percentile(power, 95.0))
    use = (power >= loud * 10.0 ** (-SOUNDING_DB / 10.0)) & (power > 0.0)
    return np.asarray(use) if use.any() else np.ones(power.size, np.bool_)


def _spectral(frames: _Frames, pitch: PitchFrames, rate: int) -> Float64Array:
    use = _sounding(frames.power)
    cepstrum = scipy.fft.dct(frames.mel_db.astype(np.float64), axis=1, norm="ortho")
    cepstrum = cepstrum[:, 1 : COEFFICIENTS + 1]
    follows = use & ~frames.first
    follows[0] = False
    moved = np.abs(np.diff(cepstrum[:, :MOVING], axis=0, prepend=cepstrum[:1, :MOVING]))
    # The frames that are louder than the one before by most: where notes and strokes begin.
    level = 10.0 * np.log10(frames.power + 1e-12)
    rise = np.where(follows, np.diff(level, prepend=level[0]), -np.inf)
    attack = np.argsort(-rise, kind="stable")[: max(follows.sum() // 20, 1)]
    mean = cepstrum[use].mean(axis=0)
    weights = frames.power[use] + 1e-20
    mels = 10.0 ** (frames.mel_db[use] / 10.0)
    pairs = mels.mean(axis=0).reshape(MELS // 2, 2).sum(axis=1)
    low = pitch.power_between(LOW_HZ)
    over = (mels[:, _mel_above(5000.0) :].sum(axis=1)) / mels.sum(axis=1)
    centroid = frames.shape[:, 0]
    still = frames.steadiness[follows] if follows.any() else np.ones((1, 3))
    return np.concatenate(
        [
            mean,
            cepstrum[use].std(axis=0),
            moved[follows].mean(axis=0) if follows.any() else np.zeros(MOVING),
            cepstrum[attack, :MOVING].mean(axis=0) - mean[:MOVING],
            _share_db(pairs / pairs.sum()),
            _share_db(low),
            frames.flatness[use].mean(axis=0),
            frames.flatness[use].std(axis=0),
            10.0 * np.log10(1.001 - still.mean(axis=0).clip(0.0, 1.0)),
            10.0 * np.log10(1.001 - np.percentile(still, 10.0, axis=0).clip(0.0, 1.0)),
            [
                np.average(centroid[use], weights=weights),
                centroid[use].std(),
                centroid[attack].mean() - centroid[use].mean(),
                np.average(frames.shape[use, 1], weights=weights),
            ],
            _share_db(np.array([over.mean(), np.percentile(over, 90.0), low[:3].sum()])),
        ]
    )


def _mel_above(hertz: float) -> int:
    mel = [2595.0 * math.log10(1.0 + f / 700.0) for f in (MEL_LOW_HZ, MEL_HIGH_HZ, hertz)]
    return math.ceil((mel[2] - mel[0]) / (mel[1] - mel[0]) * (MELS + 1)) - 1


def _share_db(share: Float64Array) -> Float64Array:
    return np.asarray(10.0 * np.log10(np.maximum(share, 1e-6)))


def _envelopes(frames: _Frames, passages: int, rate: int) -> Float64Array:
    """Return how the level moves in four bands, and how fast it pulsates."""
    mels = 10.0 ** (frames.mel_db.astype(np.float64) / 10.0)
    edges = [max(min(_mel_above(hz), MELS), 0) if hz > 20.0 else 0 for hz in ENVELOPE_HZ]
    bands = np.stack([mels[:, a:b].sum(axis=1) for a, b in pairwise(edges)])
    values = []
    for band in bands:
        floor = float(np.percentile(band, 95.0)) * 10.0 ** (-SOUNDING_DB / 10.0) + 1e-20
        db = 10.0 * np.log10(np.maximum(band, floor))
        step = np.abs(np.diff(db))[~frames.first[1:]]
        values += [db.std(), step.mean() if step.size else 0.0, db.mean() - np.median(db)]
    hop_s = 2 ** round(math.log2(FRAME_S * rate)) / 4 / rate
    for envelope in (bands.sum(axis=0), bands[1] + bands[2]):
        rows = np.sqrt(envelope.reshape(passages, -1))
        spectrum = np.abs(np.fft.rfft(rows * np.hanning(rows.shape[1]), axis=1)) ** 2
        hertz = np.fft.rfftfreq(rows.shape[1], hop_s)
        carried = spectrum[:, 0].sum() + 1e-20
        for low, high in pairwise(MODULATION_HZ):
            inside = spectrum[:, (hertz >= low) & (hertz < high)].sum()
            values.append(10.0 * math.log10(inside / carried + 1e-5))
    return np.array(values)


def _attacks(signal: Float32Array, rate: int) -> Float64Array:
    """Return how notes begin and die, from the level of each 5 ms."""
    size = round(FINE_S * rate)
    blocks = signal.shape[1] // size
    energy = np.square(signal[:, : blocks * size], dtype=np.float64)
    power = energy.reshape(len(signal), blocks, size).mean(axis=2)
    loud = float(np.percentile(power, 95.0)) + 1e-20
    level = 10.0 * np.log10(np.maximum(power / loud, 1e-6))
    rises, drops, onsets = [], [], 0
    for row in level:
        before = np.minimum.reduce([np.roll(row, k) for k in (4, 5, 6)])
        before[:6] = row[:6]
        rise = row - before
        last = -20
        for at in np.flatnonzero((rise > ONSET_RISE_DB) & (row > -SOUNDING_DB)):
            if at - last < 16:
                continue
            peak = int(at) + int(np.argmax(row[at : at + 8]))
            onsets, last = onsets + 1, peak
            rises.append(float(np.max(np.diff(row[max(peak - 8, 0) : peak + 1], prepend=row[at]))))
            after = [peak + round(s / FINE_S) for s in DROPS_S]
            drops.append([row[peak] - row[k : k + 4].mean() if k < blocks else np.nan
                          for k in after])  # fmt: skip
    audible = level[level > -SOUNDING_DB]
    held = np.array(drops) if drops else np.zeros((1, len(DROPS_S)))
    known = [column[~np.isnan(column)] for column in held.T]
    return np.array(
        [
            math.log2(1.0 + onsets / (signal.size / rate)),
            float(np.median(rises)) if rises else 0.0,
            *(float(np.median(column)) if column.size else 0.0 for column in known),
            float((level < -20.0).mean()),
            float((level < -40.0).mean()),
            float(audible.std()),
            10.0 * math.log10(float(power.max()) / (float(power.mean()) + 1e-20) + 1e-9),
        ]
    )
