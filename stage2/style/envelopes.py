"""Envelopes of a signal in a few bands, and the punch they show: how far peaks stand out.

What a compressor changes is how power moves within a fraction of a second. Both the style of a
finished recording and the band model of the console judge it by these envelopes.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.fft
import torch

from pipeline.console.delivery import CREST_WINDOW_S
from pipeline.units import Float64Array, FloatArray

__all__ = [
    "BAND_EDGES_HZ",
    "CONTROL_RATE_HZ",
    "RANGES_HZ",
    "analysis_window",
    "band_envelope",
    "loud_db",
    "punch_db",
]


BAND_EDGES_HZ = (0.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, math.inf)
#: Frames of an envelope a second.
CONTROL_RATE_HZ = 187.5
#: Ranges that width and punch are told apart in; each spans whole bands.
RANGES_HZ: tuple[tuple[float, float], ...] = (
    (0.0, 200.0),
    (200.0, 1000.0),
    (1000.0, 4000.0),
    (4000.0, math.inf),
)
# Dynamics are judged on a few passages spread over the song: more costs time and changes nothing.
_PASSAGES, _PASSAGE_S = 6, 4.0
_EPSILON = 1e-12
# A window this far under the loudest is a pause.
_PAUSE = 1e-5


def analysis_window(size: int) -> tuple[npt.NDArray[np.float32], float]:
    """Return a periodic Hann window, and what the power of its one-sided spectrum is over by.

    Returns
    -------
    window : ndarray
        ``(size,)`` float32.
    scale : float
        A spectrum's power summed over the bins, over this, is the signal's mean power.
    """
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    return window, float(np.sum(np.square(window))) * size / 2.0


def band_envelope(audio: FloatArray, *, sample_rate: int) -> Float64Array:
    """Return the mean power ``(left² + right²) / 2`` per control frame and band.

    Parameters
    ----------
    audio
        ``(2, frames)``.
    sample_rate
        In Hz.

    Returns
    -------
    Float64Array
        ``(frames, bands)`` at :data:`CONTROL_RATE_HZ`; of audio over 24 s, six passages of 4 s.
    """
    hop = max(round(sample_rate / CONTROL_RATE_HZ), 1)
    size = 2 * hop
    frequency = np.arange(size // 2 + 1) * sample_rate / size
    bands = len(BAND_EDGES_HZ) - 1
    owner = np.clip(np.searchsorted(BAND_EDGES_HZ, frequency, side="right") - 1, 0, bands - 1)
    gather = np.zeros((frequency.size, bands))
    gather[np.arange(frequency.size), owner] = 1.0
    window, scale = analysis_window(size)
    if audio.shape[1] < size:
        audio = np.pad(audio, ((0, 0), (0, size - audio.shape[1])))
    length = round(_PASSAGE_S * sample_rate)
    starts = [0]
    if audio.shape[1] > _PASSAGES * length:
        starts = [int(v) for v in np.linspace(0, audio.shape[1] - length, _PASSAGES)]
    else:
        length = audio.shape[1]
    out = []
    for start in starts:
        piece = audio[:, start : start + length]
        framed = np.lib.stride_tricks.sliding_window_view(piece, size, axis=1)[:, ::hop]
        spectra = scipy.fft.rfft(framed * window, axis=-1)
        power = np.square(np.abs(spectra)).sum(axis=0, dtype=np.float64) / 2.0
        power[:, [0, -1]] /= 2.0  # DC and Nyquist have no mirror image
        out.append(power @ gather / scale)
    return np.concatenate(out)


def loud_db(envelope: Float64Array) -> float:
    """Return the power of an envelope ``(frames, bands)`` in its loud moments, in dB."""
    power = envelope.sum(axis=1)
    playing = power[power >= 1e-3 * power.max()]
    return 10.0 * math.log10(float(np.percentile(playing, 75)) + _EPSILON)


def punch_db(envelope: torch.Tensor) -> torch.Tensor:
    """Return how far the loudest moment of a third of a second stands over its mean, in dB.

    Parameters
    ----------
    envelope
        Power per control frame, ``(rows, frames)``.

    Returns
    -------
    torch.Tensor
        ``(rows,)``: mean over the middle half of all windows that are no pause, 0 for silence.
    """
    length = round(CREST_WINDOW_S * CONTROL_RATE_HZ)
    count = max(envelope.shape[1] // length, 1)
    windows = envelope[:, : count * length].reshape(envelope.shape[0], count, -1)
    mean = windows.mean(dim=2)
    crest = 10.0 * torch.log10((windows.amax(dim=2) + _EPSILON) / (mean + _EPSILON))
    rows = []
    for row, level in zip(crest, mean, strict=True):
        ordered = torch.sort(row[level >= level.max() * _PAUSE]).values
        quarter = ordered.shape[0] // 4
        rows.append(ordered[quarter : ordered.shape[0] - quarter].mean())
    return torch.stack(rows)
