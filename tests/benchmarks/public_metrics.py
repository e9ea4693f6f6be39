"""Figures of finished mixes that others publish, and the errors between two mixes.

Everything is measured at 44.1 kHz, so that files of different rates compare, and on the level as
delivered. Centroid, mean spectra and MFCC end at 16 kHz: above, recordings differ by the low-pass
of their codec or resampler, which no mix can answer for. Sources:

* RMS, crest factor, stereo width, stereo imbalance and the Bark spectrum of mid and side, and the
  weighted sum of their squared errors ("AF"): Vanka et al., "Diff-MST: Differentiable Mixing Style
  Transfer", ISMIR 2024, after De Man et al., "An analysis and evaluation of audio features for
  multitrack music mixtures", ISMIR 2014.
* Integrated loudness: ITU-R BS.1770-5.
* Spectral centroid: Peeters, "A large set of audio features for sound description", IRCAM 2004.
* Multi-scale spectral distance: Engel et al., "DDSP", ICLR 2020.
* Fréchet distance between distributions of features: Kilgour et al., "Fréchet Audio Distance",
  Interspeech 2019; of MFCC (Davis and Mermelstein 1980) here, so that no trained network judges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import librosa
import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.linalg
import scipy.signal
import soxr

from pipeline.loudness.meter import integrated_loudness
from pipeline.units import FloatArray

__all__ = [
    "AF_WEIGHTS",
    "SAMPLE_RATE",
    "UNITS",
    "Metrics",
    "at_common_rate",
    "audio_feature_errors",
    "errors",
    "measure",
    "multi_scale_spectral_distance",
]

Float64 = npt.NDArray[np.float64]

SAMPLE_RATE = 44_100
#: Weights of the five mean squared errors in AF, as published.
AF_WEIGHTS = {"rms": 0.1, "crest": 0.001, "width": 1.0, "imbalance": 1.0, "bark": 0.1}
#: Each error that :func:`errors` returns and its unit; the last is that of
#: :func:`multi_scale_spectral_distance`, for mixes of the same passage alone.
UNITS = {
    "rms": "full scale",
    "rms_db": "dB",
    "crest_db": "dB",
    "width": "ratio",
    "width_db": "dB",
    "imbalance": "ratio",
    "bark": "neper",
    "af": "weighted square",
    "loudness_lu": "LU",
    "centroid_hz": "Hz",
    "centroid_oct": "octave",
    "mean_spectra_db": "dB",
    "mfcc_frechet": "dB",
    "multi_scale": "nepers and amplitude",
}

_FLOOR = 1e-8  # the published features' own, of powers and of magnitudes
_GATE_LUFS = -70.0  # the absolute gate of BS.1770: silence counts as this
_BARK_BANDS, _BARK_LOW_HZ, _BARK_HIGH_HZ, _BARK_FFT = 24, 20.0, 20_000.0, 32_768
_MFCC, _MEL_BANDS, _FRAME = 20, 128, 2048
_MEAN_SPECTRUM_FFTS = (512, _FRAME, 8192)
_COMMON_HZ = (20.0, 16_000.0)
_SCALES = (4096, 2048, 1024, 512, 256)
_POWER_FLOOR_DB = -100.0
_QUIET_DB = -60.0
_BLOCK = 1 << 21  # samples transformed at once


@dataclass(frozen=True)
class Metrics:
    """The public figures of one mix.

    Parameters
    ----------
    rms
        Of left and right, full scale 1, ``(2,)``; not below 1e-4.
    crest_db
        Sample peak over RMS of left and right, ``(2,)``.
    width
        Stereo width E[(L-R)²] / E[(L+R)²], the denominator not below 1e-8.
    imbalance
        (E[R²] - E[L²]) / (E[R²] + E[L²]), the denominator not below 1e-8.
    bark
        Natural log of the mean magnitude (+ 1e-8) of L+R and L-R in 24 triangular bands, evenly
        spaced on Traunmüller's Bark scale from 20 Hz to 20 kHz; ``(2, 24)``. Spectra of 32,768
        samples, rectangular window, hop a quarter, not normalised, as published. (The published
        code leaves the scale's correction above 20.1 Bark out on the way back to Hz; this does
        not, so its highest bands lie where the scale says.)
    loudness_lufs
        Integrated loudness; silence is the gate's -70.
    centroid_hz
        Mean over frames of the magnitude-weighted mean frequency of (L+R)/2, 20 Hz to 16 kHz; Hann
        frames of 2048, hop half, those 60 dB under the loudest left out; NaN for silence.
    mean_spectra_db
        Per FFT length 512, 2048 and 8192 (Hann, hop half): the power per bin in dB re full scale,
        not below -100, averaged in dB over left, right and frames; 20 Hz to 16 kHz.
    mfcc_mean, mfcc_covariance
        Of 20 MFCC (128 mel bands to 16 kHz in dB, not below -100; orthonormal DCT-II) over the
        centroid's frames, quiet ones included; ``(20,)`` and ``(20, 20)``.
    """

    rms: Float64
    crest_db: Float64
    width: float
    imbalance: float
    bark: Float64
    loudness_lufs: float
    centroid_hz: float
    mean_spectra_db: tuple[Float64, ...]
    mfcc_mean: Float64
    mfcc_covariance: Float64

    @property
    def width_db(self) -> float:
        """Width as 10 log10, not below the published floor of 1e-8, which is -80 dB."""
        return 10.0 * math.log10(max(self.width, _FLOOR))


def at_common_rate(audio: FloatArray, *, sample_rate: int) -> FloatArray:
    """Return audio as two channels at 44.1 kHz, float32; mono becomes two equal channels."""
    if audio.ndim != 2 or audio.shape[0] not in (1, 2) or audio.shape[1] == 0:
        raise ValueError(f"audio has shape {audio.shape}: give (1 or 2, frames), not empty")
    if sample_rate != SAMPLE_RATE:
        audio = soxr.resample(audio.T, sample_rate, SAMPLE_RATE, quality="HQ").T
    if audio.shape[0] == 1:
        audio = np.repeat(audio, 2, axis=0)
    return np.ascontiguousarray(audio, dtype=np.float32)


def measure(audio: FloatArray, *, sample_rate: int) -> Metrics:
    """Measure a finished mix.

    Parameters
    ----------
    audio
        ``(2, frames)``, or ``(1, frames)`` for two equal channels.
    sample_rate
        In Hz; anything but 44.1 kHz is resampled first.
    """
    audio = at_common_rate(audio, sample_rate=sample_rate)
    power: Float64 = np.mean(np.square(audio), axis=1, dtype=np.float64)
    cross = float(np.mean(audio[0] * audio[1], dtype=np.float64))
    rms = np.sqrt(np.maximum(power, _FLOOR))
    peak = np.abs(audio).max(axis=1).astype(np.float64)
    both = float(power.sum())
    centroid_hz, mfcc = _centroid_and_mfcc((audio[0] + audio[1]) / 2.0)
    return Metrics(
        rms=rms,
        crest_db=20.0 * np.log10(np.maximum(peak / rms, _FLOOR)),
        width=max(both - 2.0 * cross, 0.0) / max(both + 2.0 * cross, _FLOOR),
        imbalance=float(power[1] - power[0]) / max(both, _FLOOR),
        bark=_bark_spectrum(np.stack([audio[0] + audio[1], audio[0] - audio[1]])),
        loudness_lufs=max(integrated_loudness(audio, sample_rate=SAMPLE_RATE), _GATE_LUFS),
        centroid_hz=centroid_hz,
        mean_spectra_db=tuple(_mean_spectrum_db(audio, size) for size in _MEAN_SPECTRUM_FFTS),
        mfcc_mean=mfcc.mean(axis=1),
        mfcc_covariance=np.cov(mfcc) if mfcc.shape[1] > 1 else np.zeros((_MFCC, _MFCC)),
    )


def audio_feature_errors(mix: Metrics, reference: Metrics) -> dict[str, float]:
    """Return the mean squared error of each of the five published features, unweighted."""
    return {
        "rms": _mean_square(mix.rms - reference.rms),
        "crest": _mean_square(mix.crest_db - reference.crest_db),
        "width": (mix.width - reference.width) ** 2,
        "imbalance": (mix.imbalance - reference.imbalance) ** 2,
        "bark": _mean_square(mix.bark - reference.bark),
    }


def errors(mix: Metrics, reference: Metrics) -> dict[str, float]:
    """Return how far a mix is from a reference in each public figure.

    All are absolute errors but ``af``; those of several values (channels, bands) are means of
    absolute errors. None needs the two to be of the same music.

    Returns
    -------
    dict
        Units are in :data:`UNITS`.

        ``rms``, ``crest_db``, ``width``, ``imbalance``, ``bark``
            Of the five published features, in their own units.
        ``rms_db``, ``width_db``
            The same in dB, 20 log10 of RMS and 10 log10 of width.
        ``af``
            Weighted sum of the five mean *squared* errors with :data:`AF_WEIGHTS`: the published
            loss.
        ``loudness_lu``
            Of integrated loudness.
        ``centroid_hz``, ``centroid_oct``
            Of the spectral centroid, and the log2 of its ratio.
        ``mean_spectra_db``
            Of the mean log spectra, averaged over bins and then over the three resolutions.
        ``mfcc_frechet``
            The Fréchet (2-Wasserstein) distance between Gaussians with the mean and covariance of
            the MFCC; the square of it is what the Fréchet Audio Distance would report.
    """
    squares = audio_feature_errors(mix, reference)
    spectra = zip(mix.mean_spectra_db, reference.mean_spectra_db, strict=True)
    return {
        "rms": _mean_size(mix.rms - reference.rms),
        "rms_db": _mean_size(20.0 * np.log10(mix.rms / reference.rms)),
        "crest_db": _mean_size(mix.crest_db - reference.crest_db),
        "width": abs(mix.width - reference.width),
        "width_db": abs(mix.width_db - reference.width_db),
        "imbalance": abs(mix.imbalance - reference.imbalance),
        "bark": _mean_size(mix.bark - reference.bark),
        "af": sum(AF_WEIGHTS[name] * value for name, value in squares.items()),
        "loudness_lu": abs(mix.loudness_lufs - reference.loudness_lufs),
        "centroid_hz": abs(mix.centroid_hz - reference.centroid_hz),
        "centroid_oct": abs(math.log2(mix.centroid_hz / reference.centroid_hz)),
        "mean_spectra_db": float(np.mean([_mean_size(a - b) for a, b in spectra])),
        "mfcc_frechet": _frechet(mix, reference),
    }


def multi_scale_spectral_distance(
    mix: FloatArray, reference: FloatArray, *, sample_rate: int
) -> float:
    """Return the multi-scale spectral distance of two mixes of the same passage, time-aligned.

    The mean over FFT lengths 4096 to 256 (Hann, hop half), channels, frames and bins of
    ``|A - B| + |ln A - ln B|``, where A and B are magnitudes of which a full-scale sine has 1, not
    below 1e-5 in the logarithm. Phase does not count; time does.

    Parameters
    ----------
    mix, reference
        ``(2, frames)``, of the same length.
    sample_rate
        Of both, in Hz.
    """
    if mix.shape != reference.shape:
        raise ValueError(
            f"the mix is {mix.shape} and the reference {reference.shape}: "
            "give mixes of the same passage, cut alike"
        )
    a, b = (at_common_rate(audio, sample_rate=sample_rate) for audio in (mix, reference))
    return float(np.mean([_scale_distance(a, b, size) for size in _SCALES]))


def _mean_size(difference: Float64) -> float:
    return float(np.mean(np.abs(difference)))


def _mean_square(difference: Float64) -> float:
    return float(np.mean(np.square(difference)))


def _spectra(
    audio: FloatArray, size: int, hop: int, window: FloatArray | None
) -> Iterator[FloatArray]:
    """Yield magnitudes of blocks of frames of each channel, ``(frames, bins)`` float32."""
    for channel in audio:
        if channel.size < size:
            channel = np.pad(channel, (0, size - channel.size))
        frames = np.lib.stride_tricks.sliding_window_view(channel, size)[::hop]
        for first in range(0, len(frames), max(_BLOCK // size, 1)):
            block = frames[first : first + max(_BLOCK // size, 1)]
            yield np.abs(scipy.fft.rfft(block if window is None else block * window, axis=1))


@cache
def _hann(size: int) -> npt.NDArray[np.float32]:
    """Return a Hann window scaled so that a full-scale sine has magnitude 1."""
    window = scipy.signal.get_window("hann", size)
    return np.asarray(window * (2.0 / window.sum()), dtype=np.float32)


def _common_bins(size: int) -> tuple[Float64, npt.NDArray[np.bool_]]:
    """Return the frequency of each bin in Hz, and whether all recordings reach it."""
    bins = np.asarray(scipy.fft.rfftfreq(size, 1.0 / SAMPLE_RATE))
    return bins, (bins >= _COMMON_HZ[0]) & (bins <= _COMMON_HZ[1])


def _bark_from_hz(frequency_hz: float) -> float:
    """Return Traunmüller's critical-band rate (J. Acoust. Soc. Am. 88, 1990), corrected."""
    bark = 26.81 * frequency_hz / (1960.0 + frequency_hz) - 0.53
    if bark < 2.0:
        return bark + 0.15 * (2.0 - bark)
    return bark + 0.22 * (bark - 20.1) if bark > 20.1 else bark


def _hz_from_bark(bark: float) -> float:
    if bark < 2.0:
        bark = (bark - 0.3) / 0.85
    elif bark > 20.1:
        bark = (bark + 4.422) / 1.22
    return 1960.0 * (bark + 0.53) / (26.28 - bark)


@cache
def _bark_filters() -> Float64:
    """Return triangles over the bins of the Bark spectrum's FFT, ``(24, bins)``, peak 1."""
    ends = _bark_from_hz(_BARK_LOW_HZ), _bark_from_hz(_BARK_HIGH_HZ)
    corners = [_hz_from_bark(float(z)) for z in np.linspace(*ends, _BARK_BANDS + 2)]
    bins = scipy.fft.rfftfreq(_BARK_FFT, 1.0 / SAMPLE_RATE)
    heights = (0.0, 1.0, 0.0)
    return np.stack(
        [np.interp(bins, corners[k : k + 3], heights, 0.0, 0.0) for k in range(_BARK_BANDS)]
    )


def _bark_spectrum(mid_side: FloatArray) -> Float64:
    half = _BARK_FFT // 2
    rows = []
    for signal in mid_side:
        # mirrored at both ends as published, so at least half a spectrum's length is needed
        long = np.pad(signal, (0, max(half + 1 - signal.size, 0)))
        padded = np.pad(long, half, mode="reflect")[np.newaxis]
        blocks = list(_spectra(padded, _BARK_FFT, _BARK_FFT // 4, None))
        total = sum(block.sum(axis=0, dtype=np.float64) for block in blocks)
        rows.append(_bark_filters() @ (total / sum(len(block) for block in blocks)))
    return np.log(np.stack(rows) + _FLOOR)


def _centroid_and_mfcc(mono: FloatArray) -> tuple[float, Float64]:
    """Return the centroid in Hz and the MFCC of each frame, ``(20, frames)``."""
    magnitude = np.concatenate(
        list(_spectra(mono[np.newaxis], _FRAME, _FRAME // 2, _hann(_FRAME)))
    )  # (frames, bins)
    power = np.square(magnitude)
    level = power.sum(axis=1)
    heard = level > max(float(level.max()) * 10.0 ** (_QUIET_DB / 10.0), 1e-12)
    bins, common = _common_bins(_FRAME)
    some = magnitude[heard][:, common].astype(np.float64)
    centroid = float(np.mean((some @ bins[common]) / some.sum(axis=1))) if heard.any() else math.nan
    mel = power @ _mel_filters().T
    log_mel = 10.0 * np.log10(np.maximum(mel, 10.0 ** (_POWER_FLOOR_DB / 10.0)))
    coefficients = scipy.fft.dct(log_mel, type=2, norm="ortho", axis=1)[:, :_MFCC]
    return centroid, np.asarray(coefficients.T, dtype=np.float64)


@cache
def _mel_filters() -> npt.NDArray[np.float32]:
    filters: npt.NDArray[np.float32] = librosa.filters.mel(
        sr=SAMPLE_RATE, n_fft=_FRAME, n_mels=_MEL_BANDS, fmax=_COMMON_HZ[1]
    )
    return filters


def _mean_spectrum_db(audio: FloatArray, size: int) -> Float64:
    _, common = _common_bins(size)
    lowest = np.float32(10.0 ** (_POWER_FLOOR_DB / 20.0))
    total, frames = np.zeros(int(common.sum())), 0
    for block in _spectra(audio, size, size // 2, _hann(size)):
        level = np.log10(np.maximum(block[:, common], lowest))
        total += level.sum(axis=0, dtype=np.float64)
        frames += len(block)
    return 20.0 * total / frames


def _frechet(mix: Metrics, reference: Metrics) -> float:
    """Return the 2-Wasserstein distance of two Gaussians (Dowson and Landau 1982)."""
    product = mix.mfcc_covariance @ reference.mfcc_covariance
    # the product of two covariances has real eigenvalues, none below 0 but by rounding
    roots = np.sqrt(np.maximum(np.linalg.eigvals(product).real, 0.0))
    traces = np.trace(mix.mfcc_covariance) + np.trace(reference.mfcc_covariance)
    apart = np.sum(np.square(mix.mfcc_mean - reference.mfcc_mean))
    return math.sqrt(max(float(apart + traces - 2.0 * roots.sum()), 0.0))


def _scale_distance(a: FloatArray, b: FloatArray, size: int) -> float:
    window, hop, lowest = _hann(size), size // 2, np.float32(1e-5)
    total, count = 0.0, 0
    pairs = zip(_spectra(a, size, hop, window), _spectra(b, size, hop, window), strict=True)
    for x, y in pairs:
        ratio = np.log(np.maximum(x, lowest) / np.maximum(y, lowest))
        total += float(np.abs(x - y).sum(dtype=np.float64) + np.abs(ratio).sum(dtype=np.float64))
        count += x.size
    return total / count
