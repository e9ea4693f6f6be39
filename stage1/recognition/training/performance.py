"""What is played in the training tracks: random phrases, rhythms, and one-shots put in their place.

A recording of one stroke or note becomes a track by being played: many times, at other pitches and
levels, in the rhythms that its kind of instrument plays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from pipeline.synth.filters import filtered
from pipeline.synth.score import Note
from pipeline.synth.signals import Signal, adsr, noise

__all__ = ["GROOVES", "Manner", "phrase", "play_hits", "play_notes", "sing_notes"]

Manner = Literal["line", "bass", "riff", "lead", "power", "strum", "arpeggio", "pad", "comp"]

_CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 11), (0, 3, 7, 10), (0, 5, 7), (0, 4, 7, 10), (0, 2, 7))
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10), (0, 2, 4, 7, 9))

# Chance of a stroke on each sixteenth of a bar, by what is struck.
GROOVES: Mapping[str, tuple[float, ...]] = {
    "kick": (.95, .02, .15, .15, .35, .05, .3, .15, .65, .05, .35, .1, .35, .05, .2, .1),
    "four": (1.0, 0, 0, 0, 1.0, 0, 0, 0.05, 1.0, 0, 0, 0, 1.0, 0, 0.05, 0.05),
    "snare": (.02, .03, .03, .08, .95, .03, .05, .15, .05, .12, .06, .05, .95, .03, .1, .12),
    "eighths": (1, 0.02, 1, 0.02, 1, 0.02, 1, 0.05, 1, 0.02, 1, 0.02, 1, 0.02, 1, 0.1),
    "sixteenths": (1, 0.85, 1, 0.85, 1, 0.85, 1, 0.85, 1, 0.85, 1, 0.85, 1, 0.85, 1, 0.85),
    "offbeats": (0.05, 0, 1, 0, 0.05, 0, 1, 0, 0.05, 0, 1, 0, 0.05, 0, 1, 0.1),
    "ride": (1, 0, 0.1, 0, 1, 0, 0.6, 0.4, 1, 0, 0.1, 0, 1, 0, 0.6, 0.4),
    "crash": (0.5, 0, 0, 0, 0.02, 0, 0, 0, 0.1, 0, 0, 0, 0.05, 0, 0, 0.05),
    "fills": (.1, .05, .1, .05, .1, .05, .1, .1, .15, .1, .2, .15, .35, .3, .35, .3),
    "hands": (0.7, 0.25, 0.4, 0.5, 0.4, 0.25, 0.6, 0.3, 0.6, 0.25, 0.4, 0.5, 0.4, 0.3, 0.6, 0.4),
    "sparse": (.5, .03, .06, .1, .12, .03, .1, .08, .3, .03, .08, .08, .12, .03, .1, .05),
    "rare": (0.22, 0, 0, 0, 0.02, 0, 0.02, 0, 0.08, 0, 0.02, 0, 0.04, 0, 0, 0),
}  # fmt: skip


def _steps(
    rng: np.random.Generator, chances: Sequence[float], seconds: float, bpm: float
) -> list[tuple[float, float]]:
    """Return times and velocities: one bar's pattern, with changes and a human's timing."""
    step = 60.0 / bpm / 4.0
    swing = float(rng.choice([0.0, 0.0, rng.uniform(0.05, 0.33)]))
    loose = float(rng.choice([0.0, rng.uniform(0.002, 0.012)]))
    dynamic = float(rng.uniform(0.02, 0.35))
    pattern = rng.uniform(size=16) < np.asarray(chances)
    strokes: list[tuple[float, float]] = []
    for at in range(int(seconds / step)):
        if at % 16 == 0 and rng.uniform() < 0.3:
            pattern = rng.uniform(size=16) < np.asarray(chances)
        if not pattern[at % 16]:
            continue
        late = swing * step if at % 2 else 0.0
        strong = 1.0 if chances[at % 16] > 0.6 else 0.65
        loud = strong * (1.0 - dynamic * float(rng.uniform()))
        strokes.append((max(at * step + late + float(rng.normal(0.0, loose)), 0.0), loud))
    return strokes


def _put(out: Signal, sound: Signal, start: int, gain: float) -> None:
    stop = min(start + len(sound), len(out))
    if 0 <= start < stop:
        out[start:stop] += gain * sound[: stop - start]


def _resampled(sound: Signal, ratio: float) -> Signal:
    """Return ``sound`` read ``ratio`` times as fast."""
    if abs(ratio - 1.0) < 1e-4:
        return sound
    if ratio > 1.05:
        sound = filtered(sound, lowpass_hz=0.46 / ratio * 44100, sample_rate=44100, order=4)
    return np.interp(np.arange(0.0, len(sound) - 1.0, ratio), np.arange(len(sound)), sound)


def play_hits(
    sounds: Sequence[Signal],
    groove: str,
    rng: np.random.Generator,
    *,
    seconds: float,
    sample_rate: int,
    bpm: float | None = None,
) -> Signal:
    """Return strokes of ``sounds`` in one of :data:`GROOVES`, shape ``(frames,)``."""
    bpm = float(rng.uniform(72.0, 172.0)) if bpm is None else bpm
    out = np.zeros(round(seconds * sample_rate))
    tuning = 2.0 ** (float(rng.normal(0.0, 2.5)) / 12.0)
    chosen = rng.permutation(len(sounds))[: int(rng.integers(1, 4))]
    takes = []
    for index in chosen:
        for _ in range(2):
            cents = float(rng.normal(0.0, 12.0))
            takes.append(_resampled(sounds[index], tuning * 2.0 ** (cents / 1200.0)))
    for at, loud in _steps(rng, GROOVES[groove], seconds, bpm):
        take = takes[int(rng.integers(len(takes)))]
        _put(out, take, round(at * sample_rate), loud**1.5)
    return out


def phrase(
    manner: Manner, rng: np.random.Generator, *, seconds: float, low: float, high: float
) -> list[Note]:
    """Return notes as an instrument plays them in ``manner``, between two MIDI pitches."""
    beat = 60.0 / float(rng.uniform(66.0, 168.0))
    scale = np.asarray(_SCALES[int(rng.integers(len(_SCALES)))])
    tonic = int(rng.integers(12))
    span = np.arange(int(low), int(high) + 1, dtype=np.float64)
    ladder = span[np.isin((span - tonic) % 12, scale)]
    if len(ladder) < 3:
        ladder = span
    match manner:
        case "line" | "lead" | "riff" | "bass":
            return _melody(manner, rng, ladder, beat, seconds)
        case "arpeggio":
            return _arpeggio(rng, ladder, beat, seconds)
        case _:
            return _chordal(manner, rng, ladder, beat, seconds)


def _melody(
    manner: Manner, rng: np.random.Generator, ladder: Signal, beat: float, seconds: float
) -> list[Note]:
    lengths = {
        "line": (0.5, 1.0, 1.0, 2.0, 3.0),
        "lead": (0.25, 0.5, 0.5, 1.0, 2.0),
        "riff": (0.25, 0.5, 0.5, 0.5, 1.0),
        "bass": (0.5, 0.5, 0.5, 1.0, 1.0, 2.0),
    }[manner]
    if rng.uniform() < 0.4:
        lengths = (float(rng.choice(lengths)),)
    rests = float(rng.uniform(0.0, 0.25))
    gate = float(rng.uniform(0.45, 1.05))
    leap = 1.2 if manner == "line" else 2.2
    place, at = len(ladder) // 2, 0.0
    stay = 0.7 if manner == "bass" else 0.15
    notes = []
    while at < seconds:
        length = float(rng.choice(lengths)) * beat
        if rng.uniform() >= stay:
            place = int(np.clip(place + round(rng.normal(0.0, leap)), 0, len(ladder) - 1))
        if rng.uniform() >= rests:
            loud = float(np.clip(rng.normal(0.75, 0.15), 0.2, 1.0))
            start = max(at + float(rng.normal(0.0, 0.006)), 0.0)
            notes.append(Note(start, max(gate * length, 0.05), float(ladder[place]), loud))
        at += length
    return notes


def _arpeggio(
    rng: np.random.Generator, ladder: Signal, beat: float, seconds: float
) -> list[Note]:  # fmt: skip
    step = beat * float(rng.choice([0.25, 0.25, 0.5]))
    gate = float(rng.uniform(0.4, 2.5))
    order = rng.permutation(int(rng.integers(3, 7)))
    notes, root = [], int(rng.integers(max(len(ladder) // 2, 1)))
    for k in range(int(seconds / step)):
        if k % 16 == 0:
            root = int(rng.integers(max(len(ladder) // 2, 1)))
        pitch = ladder[min(root + 2 * int(order[k % len(order)]), len(ladder) - 1)]
        loud = float(np.clip(rng.normal(0.7, 0.1), 0.2, 1.0))
        notes.append(Note(k * step, gate * step, float(pitch), loud))
    return notes


def _chordal(
    manner: Manner, rng: np.random.Generator, ladder: Signal, beat: float, seconds: float
) -> list[Note]:
    shape: tuple[int, ...] = _CHORDS[int(rng.integers(len(_CHORDS)))]
    if manner == "power":
        shape = (0, 7, 12) if rng.uniform() < 0.6 else (0, 7)
    if manner == "strum":
        shape = (*shape, 12, 12 + shape[1])[: int(rng.integers(4, 7))]
    spread = {"strum": float(rng.uniform(0.004, 0.03)), "comp": 0.004}.get(manner, 0.002)
    if manner == "pad":
        rhythm = [(0.0, float(rng.choice([2.0, 4.0, 8.0])))]
    else:
        grid = float(rng.choice([0.25, 0.5, 0.5, 1.0]))
        hits = [k * grid for k in range(int(4.0 / grid)) if rng.uniform() < 0.65] or [0.0]
        rhythm = [(a, b - a) for a, b in zip(hits, [*hits[1:], 4.0], strict=True)]
    gate = float(rng.choice([rng.uniform(0.2, 0.5), rng.uniform(0.8, 1.0), 1.0]))
    bar = max(4.0, rhythm[-1][0] + rhythm[-1][1]) * beat
    notes: list[Note] = []
    for number in range(int(seconds / bar) + 1):
        root = float(ladder[int(rng.integers(max(len(ladder) // 2, 1)))])
        chord = [root + k for k in shape]
        for start, length in rhythm:
            down = rng.uniform() < 0.65
            loud = float(np.clip(rng.normal(0.75, 0.12), 0.2, 1.0))
            for k, pitch in enumerate(chord if down else chord[::-1]):
                at = number * bar + start * beat + k * spread * float(rng.uniform(0.7, 1.3))
                notes.append(Note(at, max(gate * length * beat, 0.05), pitch, loud))
    return [note for note in notes if note.start_s < seconds]


def play_notes(
    sounds: Sequence[Signal],
    pitches: Sequence[float],
    notes: Sequence[Note],
    rng: np.random.Generator,
    *,
    seconds: float,
    sample_rate: int,
) -> Signal:
    """Return ``notes`` on recordings of single notes, each moved to the pitch that is asked for.

    Parameters
    ----------
    sounds
        The recordings.
    pitches
        Their MIDI pitches; NaN where one has none, and is played as if it had that of the note.
    """
    out = np.zeros(round(seconds * sample_rate))
    rings = rng.uniform() < 0.3
    tuning = np.nan_to_num(np.asarray(pitches), nan=1000.0)
    made: dict[tuple[int, float], Signal] = {}
    for note in notes:
        # One of the two nearest: the same key of an instrument does not always sound the same.
        near = np.argsort(np.abs(tuning - note.pitch), kind="stable")[:2]
        index = int(near[int(rng.integers(len(near)))])
        shift = 0.0 if tuning[index] == 1000.0 else note.pitch - tuning[index]
        shift = float(np.clip(shift, -14.0, 9.0))
        key = (index, round(shift, 2))
        if key not in made:
            made[key] = _resampled(sounds[index], 2.0 ** (shift / 12.0))
        take = made[key]
        if not rings:
            frames = min(round((note.length_s + 0.06) * sample_rate), len(take))
            edge = min(round(0.05 * sample_rate), frames)
            take = take[:frames].copy()
            take[frames - edge :] *= np.linspace(1.0, 0.0, edge)
        _put(out, take, round(note.start_s * sample_rate), note.velocity)
    return out


def sing_notes(
    vowels: Sequence[Signal],
    notes: Sequence[Note],
    rng: np.random.Generator,
    *,
    seconds: float,
    sample_rate: int,
    syllables: float = 0.6,
) -> Signal:
    """Return recorded vowels sung on ``notes``: with glides, vibrato, and some consonants."""
    out = np.zeros(round(seconds * sample_rate))
    if not notes:
        return out
    middle = float(np.median([note.pitch for note in notes]))
    depth = float(rng.uniform(0.0, 0.6))
    scoop = float(rng.uniform(0.0, 1.5))
    for note in notes:
        vowel = vowels[int(rng.integers(len(vowels)))]
        frames = round((note.length_s + 0.05) * sample_rate)
        t = np.arange(frames) / sample_rate
        shift = float(np.clip(note.pitch - middle, -5.0, 5.0))
        wave = np.sin(2 * np.pi * float(rng.uniform(4.8, 6.4)) * t)
        bend = depth * np.clip((t - 0.15) / 0.3, 0.0, 1.0) * wave - scoop * np.exp(-t / 0.05)
        ratio = np.exp2((shift + bend) / 12.0)
        first = float(rng.uniform(0.0, 0.15)) * len(vowel)
        position = first + np.cumsum(ratio)
        # There and back again, where a note is longer than its recording.
        room = max(len(vowel) - 2.0, 1.0)
        position = room - np.abs(position % (2.0 * room) - room)
        sound = np.interp(position, np.arange(len(vowel)), vowel)
        sound *= adsr(frames, sample_rate=sample_rate, attack_s=float(rng.uniform(0.01, 0.08)),
                      release_s=0.05)  # fmt: skip
        start = round(note.start_s * sample_rate)
        _put(out, sound, start, note.velocity)
        if rng.uniform() < syllables:
            loud = float(np.abs(sound).max(initial=0.0)) * note.velocity
            burst = _consonant(rng, sample_rate)
            _put(out, burst, start - len(burst) + round(0.01 * sample_rate), loud)
    return out


def _consonant(rng: np.random.Generator, sample_rate: int) -> Signal:
    kinds: tuple[Callable[[], tuple[float, float, float, float]], ...] = (
        lambda: (4500.0, 12000.0, float(rng.uniform(0.05, 0.14)), 0.25),
        lambda: (2200.0, 7000.0, float(rng.uniform(0.05, 0.12)), 0.25),
        lambda: (1500.0, 9000.0, float(rng.uniform(0.04, 0.08)), 0.06),
        lambda: (2500.0, 9000.0, 0.02, 0.3),
        lambda: (600.0, 4000.0, 0.03, 0.2),
    )
    low, high, length, level = kinds[int(rng.integers(len(kinds)))]()
    frames = round(length * sample_rate)
    hiss = filtered(noise(frames, rng), highpass_hz=low, lowpass_hz=high, sample_rate=sample_rate)
    shape = adsr(frames, sample_rate=sample_rate, attack_s=0.3 * length, release_s=0.3 * length)
    return np.asarray(level * float(rng.uniform(0.3, 1.5)) * hiss * shape)
