"""What every sound of the demo starts from: seeded noise, pitch, envelopes.

Signals are float64 arrays of shape ``(frames,)`` (mono) unless said otherwise.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Signal",
    "adsr",
    "decay",
    "hertz",
    "hiss",
    "noise",
    "rng_for",
]

Signal: TypeAlias = npt.NDArray[np.float64]


def rng_for(*key: int | float | str) -> np.random.Generator:
    """Return a generator that depends on ``key`` alone, so never on the order of the work."""
    return np.random.default_rng(zlib.crc32("\x1f".join(map(str, key)).encode()))


def hertz(pitch: float) -> float:
    """Return the frequency of a MIDI pitch (69 is 440 Hz)."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def noise(frames: int, rng: np.random.Generator) -> Signal:
    """Return white noise of unit variance."""
    return rng.standard_normal(frames, dtype=np.float32).astype(np.float64)


@lru_cache(maxsize=1)
def _hiss() -> Signal:
    return noise(2**21, rng_for("hiss"))


def hiss(frames: int, *key: int | str) -> Signal:
    """Return the noise of a preamplifier, of unit variance: one long take, begun elsewhere.

    It repeats after 2**21 samples, and costs next to nothing.
    """
    take = _hiss()
    first = int(rng_for("hiss", *key).integers(len(take)))
    return np.resize(np.concatenate([take[first:], take[:first]]), frames)


def decay(frames: int, *, t60_s: float, sample_rate: int) -> Signal:
    """Return an exponential that falls 60 dB in ``t60_s``."""
    return np.exp(np.arange(frames) * (-math.log(1000.0) / (t60_s * sample_rate)))


def adsr(
    frames: int,
    *,
    sample_rate: int,
    attack_s: float,
    release_s: float,
    decay_s: float = 0.1,
    sustain: float = 1.0,
) -> Signal:
    """Return an envelope that starts and ends at zero; the release lies inside ``frames``.

    The flanks are raised cosines, so that no note edge clicks.
    """
    t = np.arange(frames) / sample_rate
    body = sustain + (1.0 - sustain) * np.exp(-np.maximum(t - attack_s, 0.0) / decay_s)
    rise = min(max(round(attack_s * sample_rate), 8), max(frames // 2, 1))
    fall = min(max(round(release_s * sample_rate), 8), max(frames - rise, 1))
    body[:rise] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(rise) / rise)
    body[frames - fall :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fall + 1) / fall)
    return body
