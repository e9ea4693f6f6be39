"""The demo's singers: a glottal pulse through moving formants, with consonants and breath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import signal

from pipeline.synth.filters import filtered, resonators
from pipeline.synth.oscillators import oscillator
from pipeline.synth.score import Note
from pipeline.synth.signals import Signal, adsr, decay, hertz, noise, rng_for

__all__ = ["SINGERS", "Singer", "sing"]

_HOP = 64
_BANDWIDTH_HZ = (80.0, 90.0, 120.0, 150.0, 220.0)
# Formants in Hz and their levels in dB, of a tenor; others scale the frequencies.
_VOWELS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "a": ((650.0, 1080.0, 2650.0, 2900.0, 3250.0), (0.0, -6.0, -10.0, -11.0, -18.0)),
    "e": ((400.0, 1700.0, 2600.0, 3200.0, 3580.0), (0.0, -11.0, -13.0, -14.0, -20.0)),
    "i": ((290.0, 1870.0, 2800.0, 3250.0, 3540.0), (0.0, -13.0, -15.0, -17.0, -24.0)),
    "o": ((400.0, 800.0, 2600.0, 2800.0, 3000.0), (0.0, -9.0, -13.0, -15.0, -24.0)),
    "u": ((350.0, 600.0, 2700.0, 2900.0, 3300.0), (0.0, -17.0, -19.0, -20.0, -28.0)),
}
# Consonants: noise band in Hz, length in s, level.
_CONSONANTS: Mapping[str, tuple[float, float, float, float]] = {
    "s": (4800.0, 11000.0, 0.09, 0.16),
    "sh": (2400.0, 7000.0, 0.09, 0.14),
    "f": (1500.0, 9000.0, 0.07, 0.05),
    "t": (3000.0, 9000.0, 0.018, 0.22),
    "k": (1400.0, 4500.0, 0.022, 0.2),
    "h": (600.0, 4000.0, 0.06, 0.05),
}


@dataclass(frozen=True)
class Singer:
    """How a voice sounds.

    Parameters
    ----------
    tract
        Scale of the formants: 1 is a tenor, 1.17 a soprano, 0.9 a bass.
    vowels
        The vowels of the syllables, in random order.
    consonants
        Share of syllables that begin with an audible consonant.
    breath
        Level of noise in the tone; above 1 is a whisper.
    attack_s
        How gently notes begin.
    """

    tract: float = 1.0
    vowels: str = "aeiou"
    consonants: float = 0.7
    breath: float = 0.03
    vibrato_cents: float = 28.0
    attack_s: float = 0.035
    drift_cents: float = 8.0


SINGERS: Mapping[str, Singer] = {
    "lead": Singer(tract=1.08, breath=0.03),
    "double": Singer(tract=1.08, breath=0.05, vibrato_cents=18.0, consonants=0.5, drift_cents=12.0),
    "adlib": Singer(tract=1.08, vowels="aoe", consonants=0.3, vibrato_cents=40.0),
    "whisper": Singer(tract=1.08, breath=2.5, vibrato_cents=0.0, consonants=1.0),
    "soprano": Singer(tract=1.17, vowels="aoi", breath=0.06, consonants=0.25, attack_s=0.06),
    "alto": Singer(tract=1.1, vowels="aou", breath=0.05, consonants=0.25, attack_s=0.06),
    "tenor": Singer(tract=1.0, vowels="aoe", consonants=0.3, attack_s=0.05),
    "bass": Singer(tract=0.9, vowels="oau", consonants=0.3, attack_s=0.05),
    "ooh": Singer(tract=1.12, vowels="u", breath=0.09, consonants=0.0, attack_s=0.16),
    "aah": Singer(tract=1.08, vowels="a", breath=0.06, consonants=0.0, attack_s=0.2),
    "gang": Singer(tract=0.98, vowels="ae", consonants=0.9, vibrato_cents=5.0, drift_cents=35.0),
}


def sing(
    name: str, notes: Sequence[Note], frames: int, *key: str | int, sample_rate: int
) -> Signal:
    """Return a monophonic line sung by one of :data:`SINGERS`, shape ``(frames,)``.

    A note is a syllable. ``key`` names the take; the words depend on the notes alone, so that
    doubles sing the same.
    """
    singer = SINGERS[name]
    rng = rng_for("sing", name, *key)
    ordered = sorted(n for n in notes if round(n.start_s * sample_rate) < frames - 2)
    if not ordered:
        return np.zeros(frames)
    pitch, level = _contours(singer, ordered, frames, sample_rate, rng)
    tone = oscillator("glottal", pitch, sample_rate=sample_rate, phase=float(rng.uniform()))
    shimmer = np.interp(np.arange(frames), np.arange(0, frames + 900, 900), rng.normal(
        1.0, 0.03, len(range(0, frames + 900, 900))))  # fmt: skip
    aspiration = filtered(noise(frames, rng), highpass_hz=700.0, sample_rate=sample_rate)
    voiced = 0.0 if singer.breath > 1.0 else 1.0
    source = (voiced * tone * shimmer + singer.breath * aspiration) * level
    centre, gain = _formants(singer, ordered, frames, sample_rate)
    width = np.repeat(np.array(_BANDWIDTH_HZ)[:, None], centre.shape[1], axis=1)
    out = resonators(source, centre, width, gain, hop=_HOP, sample_rate=sample_rate)
    loudness = float(np.sqrt(np.mean(out[level > 0.3] ** 2))) if (level > 0.3).any() else 0.0
    out += 4.0 * loudness * _syllables(singer, ordered, frames, sample_rate, rng)
    return filtered(out, highpass_hz=80.0, lowpass_hz=15000.0, sample_rate=sample_rate)


def _contours(
    singer: Singer,
    notes: Sequence[Note],
    frames: int,
    rate: int,
    rng: np.random.Generator,
) -> tuple[Signal, Signal]:
    """Return f0 in Hz, gliding from note to note, and the level of the tone."""
    cents = np.full(frames, 1200.0 * np.log2(hertz(notes[0].pitch)))
    depth, level = np.zeros(frames), np.zeros(frames)
    for k, note in enumerate(notes):
        start = round(note.start_s * rate)
        until = round(notes[k + 1].start_s * rate) if k + 1 < len(notes) else frames
        # A good singer is in tune within some cents, and scoops into the note from below.
        goal = 1200.0 * np.log2(hertz(note.pitch)) + rng.normal(0.0, singer.drift_cents)
        cents[start:until] = goal
        age = np.arange(max(until - start, 0)) / rate
        cents[start : start + len(age)] -= rng.uniform(20.0, 90.0) * np.exp(-age / 0.05)
        depth[start : start + len(age)] = np.clip((age - 0.22) / 0.35, 0.0, 1.0)
        span = min(round((note.length_s + 0.04) * rate), frames - start)
        if span > 16:
            shape = adsr(
                span,
                sample_rate=rate,
                attack_s=singer.attack_s,
                release_s=0.07,
                decay_s=0.4,
                sustain=0.8,
            )
            level[start : start + span] = np.maximum(
                level[start : start + span], note.velocity * shape
            )
    t = np.arange(frames) / rate
    wave = np.sin(2 * np.pi * (rng.uniform(5.2, 6.0) * t + rng.uniform()))
    cents = _smooth(cents, 0.022, rate) + singer.vibrato_cents * _smooth(depth, 0.02, rate) * wave
    knots = int(t[-1] * 9) + 3
    cents += np.interp(t, np.arange(knots) / 9.0, rng.normal(0.0, 4.0, knots))
    return np.exp2(cents / 1200.0), _smooth(level, 0.004, rate)


def _smooth(x: Signal, seconds: float, rate: float) -> Signal:
    a = 1.0 - np.exp(-1.0 / (seconds * rate))
    out, _ = signal.lfilter([a], [1.0, a - 1.0], x, zi=[(1.0 - a) * x[0]])
    return np.asarray(out, dtype=np.float64)


def _syllable(singer: Singer, note: Note, turn: int) -> tuple[str, str]:
    """Return consonant (or nothing) and vowel of a note."""
    rng = rng_for("word", turn, note.pitch % 12)
    vowel = singer.vowels[int(rng.integers(len(singer.vowels)))]
    spoken = rng.uniform() < singer.consonants
    return (str(rng.choice(list(_CONSONANTS))) if spoken else ""), vowel


def _formants(
    singer: Singer, notes: Sequence[Note], frames: int, rate: int
) -> tuple[Signal, Signal]:
    """Return centres in Hz and gains of the five formants, one column a hop."""
    columns = frames // _HOP + 1
    centre, gain = np.empty((5, columns)), np.empty((5, columns))
    for k, note in enumerate(notes):
        hz, db = _VOWELS[_syllable(singer, note, k)[1]]
        first = 0 if k == 0 else min(round(note.start_s * rate) // _HOP, columns - 1)
        centre[:, first:] = np.array(hz)[:, None] * singer.tract
        # A first formant below the fundamental is tuned up to it, as trained singers do.
        centre[0, first:] = max(hz[0] * singer.tract, 1.05 * hertz(note.pitch))
        gain[:, first:] = 10.0 ** (np.array(db)[:, None] / 20.0)
    control = rate / _HOP
    for row in range(5):
        centre[row] = np.minimum(_smooth(centre[row], 0.03, control), 0.45 * rate)
        gain[row] = _smooth(gain[row], 0.03, control)
    return centre, gain


def _syllables(
    singer: Singer,
    notes: Sequence[Note],
    frames: int,
    rate: int,
    rng: np.random.Generator,
) -> Signal:
    """Return the consonants, each ending as its vowel begins; unit is the tone's level."""
    out = np.zeros(frames)
    for k, note in enumerate(notes):
        consonant, _ = _syllable(singer, note, k)
        if not consonant:
            continue
        low, high, seconds, level = _CONSONANTS[consonant]
        span = round(seconds * rate)
        at = round(note.start_s * rate) - span + round(0.01 * rate)
        if at < 0 or at + span > frames:
            continue
        hiss = filtered(noise(span, rng), highpass_hz=low, lowpass_hz=high, sample_rate=rate)
        if seconds < 0.03:
            shape = decay(span, t60_s=1.2 * seconds, sample_rate=rate)
            shape *= adsr(span, sample_rate=rate, attack_s=0.001, release_s=0.003)
        else:
            shape = adsr(span, sample_rate=rate, attack_s=0.03, release_s=0.02)
        out[at : at + span] += level * note.velocity * hiss * shape
    return out
