"""Sounds whose pitch is known, or that have none: the truth that f0 is tested against.

``make(kind, seed)`` returns a :class:`Case`; every parameter is drawn from the seed. What counts as
right, ``Case.tones``, is a list of pitches, any of which will do:

- one sound: its f0. Where it glides, vibrates or plays a melody, the values between the 40th and
  the 60th percentile of the f0 over its sounding time (``Case.spread``);
- an inharmonic string: the fundamental that is played;
- a chord: any of its tones, or its root one or two octaves down (which the ear may hear as the
  fundamental of all); no tone is called right for lying an octave off another;
- a duet: either voice, as for one sound.

A kick that falls in pitch, drums, cymbals and noise have no pitch to balance by. Tuned toms and
808s that hold their pitch are left out: they are drums to some and basses to others.
"""

from __future__ import annotations

import zlib

import numpy as np

from .parts import Case
from .pitched import PITCHED
from .speech import autocorrelation_hz, espeak_found, speak
from .unpitched import UNPITCHED

__all__ = [
    "PITCHED",
    "UNPITCHED",
    "Case",
    "autocorrelation_hz",
    "espeak_found",
    "make",
    "speak",
]


def make(kind: str, seed: int) -> Case:
    """Return a sound of a kind of :data:`PITCHED` or :data:`UNPITCHED`, drawn from a seed."""
    makers = PITCHED | UNPITCHED
    return makers[kind](np.random.default_rng([zlib.crc32(kind.encode()), seed]))
