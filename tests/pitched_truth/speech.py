"""Sentences that espeak-ng speaks at one pitch."""

from __future__ import annotations

import html
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from .parts import (
    Array,
    Case,
    finish,
)

SENTENCES = (
    "We were away a year ago along the river, mowing a low meadow.",
    "Many men on the moon are running on a narrow lane.",
    "She sells sea shells by the old stone bridge in summer.",
)


def espeak_found() -> bool:
    """Whether espeak-ng is installed."""
    return shutil.which("espeak-ng") is not None


def autocorrelation_hz(signal: Array, rate: int) -> float:
    """Return the f0 of speech at one pitch, by Boersma's (1993) autocorrelation, whole utterance.

    Autocorrelations of Hann windows of 80 ms over that of the window, summed over the frames that
    are louder than the mean: at one pitch all have their peak at one lag, and formants none.
    """
    length = round(0.08 * rate)
    hops = np.lib.stride_tricks.sliding_window_view(signal, length)[:: length // 4]
    hops = hops[np.mean(hops**2, axis=1) > np.mean(signal**2)]
    window = np.hanning(length)
    spectra = np.abs(np.fft.rfft(hops * window, 2 * length, axis=1)) ** 2
    shape = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * length)) ** 2)
    lags = np.fft.irfft(spectra, axis=1)
    mean = np.mean(lags / lags[:, :1], axis=0) / (shape / shape[0]).clip(1e-6)
    first, last = round(rate / 400), round(rate / 45)
    part = mean[first:last]
    # The shortest lag among the equals: at multiples of the period the peak is as high.
    peaks, _ = scipy.signal.find_peaks(part, height=0.9 * part.max())
    k = first + int(peaks[0])
    a, b, c = mean[k - 1 : k + 2]
    return float(rate / (k + 0.5 * (a - c) / (a - 2 * b + c)))


def speak(seed: int) -> Case:
    """Return a sentence that espeak-ng speaks at one pitch.

    It does not print that pitch, so the truth is measured by autocorrelation of the whole.
    """
    rng = np.random.default_rng([999, seed])
    voice = str(rng.choice(["en-us", "en-us+f2", "en-us+m3", "en-us+f4", "de", "fr", "it", "es"]))
    text = html.escape(SENTENCES[int(rng.integers(len(SENTENCES)))])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(
            ["espeak-ng", "-m", "-v", voice, "-p", str(int(rng.integers(0, 100))), "-w", str(path),
             f'<speak><prosody range="0%">{text}</prosody></speak>'],
            check=True,
        )  # fmt: skip
        signal, rate = soundfile.read(path)
    f0_hz = autocorrelation_hz(signal, rate)
    return finish("espeak", rng, signal, rate, [(f0_hz, f0_hz)])
