"""The singers, speakers and noises of the corpus, and one-shots that play a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import signal

from pipeline.synth.effects import EFFECTS
from pipeline.synth.score import Note
from pipeline.synth.signals import hertz
from pipeline.synth.vocals import SINGERS, sing
from stage2.corpus.effects import Audio
from stage2.corpus.samples import SampleBank, resampled
from stage2.corpus.score import Score, log_uniform

__all__ = [
    "Person",
    "ambience",
    "choir",
    "draw_person",
    "effect",
    "play_samples",
    "sing_part",
    "speech",
]

_SPEAKING_RANGE = 7.0
# Below it the sibilants have no room.
_LOWEST_SUNG_HZ = 16000


@dataclass(frozen=True)
class Person:
    """A voice.

    Parameters
    ----------
    manner
        One of :data:`~pipeline.synth.vocals.SINGERS`.
    tract
        Scale of the formants: 0.85 a bass, 1 a tenor, 1.2 a soprano, 1.35 a child.
    centre
        MIDI pitch of the middle of the range.
    """

    manner: str
    tract: float
    centre: float


def draw_person(rng: np.random.Generator, *, backing: bool = False) -> Person:
    """Return a singer, a man, a woman or, rarely, a child."""
    kinds: tuple[tuple[tuple[float, float], tuple[float, float], tuple[str, ...]], ...] = (
        ((0.84, 0.95), (45.0, 53.0), ("bass", "tenor", "lead")),
        ((0.95, 1.06), (52.0, 60.0), ("tenor", "lead", "adlib", "gang")),
        ((1.06, 1.16), (57.0, 65.0), ("alto", "lead", "adlib")),
        ((1.12, 1.24), (63.0, 72.0), ("soprano", "lead", "alto")),
        ((1.25, 1.38), (64.0, 70.0), ("lead", "soprano")),
    )
    tract, centre, manners = kinds[int(rng.choice(5, p=(0.15, 0.32, 0.28, 0.2, 0.05)))]
    if backing:
        manners = ("ooh", "aah", "double", *manners)
    elif rng.uniform() < 0.05:
        manners = ("whisper",)
    return Person(
        manners[int(rng.integers(len(manners)))],
        float(rng.uniform(*tract)),
        float(rng.uniform(*centre)),
    )


def sing_part(person: Person, notes: Sequence[Note], frames: int, key: int, *, rate: int) -> Audio:
    """Return a line sung by a person, shape ``(frames,)``."""
    # Sung at another rate and heard at this one, the whole person is larger or smaller.
    other = round(rate * SINGERS[person.manner].tract / person.tract)
    size = rate / other
    lower = 12.0 * np.log2(size)
    scaled = [Note(n.start_s * size, n.length_s * size, n.pitch - lower, n.velocity) for n in notes]
    sung = sing(person.manner, scaled, frames, key, sample_rate=other).astype(np.float32)
    return _aired(sung, np.random.default_rng(key), rate)


def _aired(x: Audio, rng: np.random.Generator, rate: int) -> Audio:
    """Return a voice with breath above the partials of its source, which end too soon."""
    hop = 64
    blocks = np.pad(x, (0, -len(x) % hop)).reshape(-1, hop)
    level = np.sqrt((blocks**2).mean(axis=1))
    level = signal.lfilter([0.2], [1.0, -0.8], level)
    noisy = rng.standard_normal(len(x), dtype=np.float32)
    corner = min(log_uniform(rng, 4000.0, 8000.0) / rate, 0.2)
    bright = signal.sosfilt(signal.butter(2, 2.0 * corner, "highpass", output="sos"), noisy)
    gain = 10.0 ** (float(rng.uniform(-50.0, -31.0)) / 20.0)
    return np.asarray(x + gain * np.repeat(level, hop)[: len(x)] * bright, np.float32)


def choir(score: Score, plays: str, frames: int, rng: np.random.Generator, *, rate: int) -> Audio:
    """Return three or four voices on the chords, ``(2, frames)``; made at half a high rate."""
    fold = 2 if rate >= 2 * _LOWEST_SUNG_HZ else 1
    half = -(-frames // fold)
    out = np.zeros((2, half), np.float32)
    rhythm = str(rng.choice(["X---------------", "X-------x-------", "X---x---x---x---"]))
    for k in range(int(rng.integers(3, 5))):
        person = draw_person(rng, backing=True)
        notes = score.line(plays, rhythm, centre=person.centre, tone=k % 2)
        voice = sing_part(person, notes, half, int(rng.integers(2**31)), rate=rate // fold)
        turn = 0.5 * np.pi * float(rng.uniform(0.15, 0.85))
        out += np.stack([voice * np.cos(turn), voice * np.sin(turn)])
    return np.asarray(signal.resample_poly(out, fold, 1, axis=1)[:, :frames], np.float32)


def speech(frames: int, rng: np.random.Generator, *, rate: int) -> Audio:
    """Return something like talk, shape ``(frames,)``: syllables in phrases, and pauses."""
    person = Person("gang", float(rng.uniform(0.85, 1.2)), float(rng.uniform(45.0, 57.0)))
    notes = []
    at_s, end_s = float(rng.uniform(0.0, 1.0)), frames / rate
    while at_s < end_s:
        fall = float(rng.uniform(2.0, _SPEAKING_RANGE))
        count = int(rng.integers(4, 16))
        for k in range(count):
            length_s = log_uniform(rng, 0.07, 0.24)
            pitch = person.centre + fall * (0.5 - k / count) + float(rng.normal(0.0, 1.2))
            notes.append(Note(at_s, length_s, round(pitch, 1), float(rng.uniform(0.4, 1.0))))
            at_s += length_s
        at_s += log_uniform(rng, 0.25, 2.0)
    return sing_part(person, notes, frames, int(rng.integers(2**31)), rate=rate)


def effect(score: Score, frames: int, rng: np.random.Generator, *, rate: int) -> Audio:
    """Return one of the demo's effects, or sweeps of noise and tones far between: stereo."""
    if rng.uniform() < 0.5:
        name = str(rng.choice(list(EFFECTS)))
        return EFFECTS[name](score, frames, rate, rng).astype(np.float32)
    out = np.zeros((2, frames), np.float32)
    at = int(rng.uniform(0.0, 4.0) * rate)
    while at < frames - rate // 2:
        n = min(round(log_uniform(rng, 0.4, 6.0) * rate), frames - at)
        out[:, at : at + n] += _sweep(n, rng, rate)
        at += n + round(log_uniform(rng, 0.5, 8.0) * rate)
    return out


def _sweep(frames: int, rng: np.random.Generator, rate: int) -> Audio:
    line = np.linspace(0.0, 1.0, frames, dtype=np.float32)
    rise = line if rng.uniform() < 0.6 else line[::-1]
    f = np.float32(log_uniform(rng, 80.0, 900.0)) * 2.0 ** (float(rng.uniform(1.0, 5.0)) * rise)
    turns = np.cumsum(f, dtype=np.float64) / rate
    noisy = rng.standard_normal((2, frames), dtype=np.float32)
    # Noise times a moving tone is noise about a moving centre.
    slow = signal.lfilter([0.02], [1.0, -0.98], noisy, axis=1) * 10.0
    tone = np.sin(2.0 * np.pi * turns)
    share = float(rng.uniform(0.0, 1.0))
    shape = rise ** float(rng.uniform(0.5, 3.0)) * np.minimum(1.0, 30.0 * line[::-1])
    return np.asarray((share * slow * tone + (1.0 - share) * 0.4 * tone) * shape, np.float32)


def ambience(frames: int, rng: np.random.Generator, *, rate: int) -> Audio:
    """Return wind, rain, a street or a machine: noise whose colour and level drift, stereo."""
    wide = rng.standard_normal((2, frames), dtype=np.float32)
    pole = float(rng.choice([0.6, 0.9, 0.97, 0.99]))
    x = signal.lfilter([1.0 - pole], [1.0, -pole], wide, axis=1).astype(np.float32)
    knots = np.arange(0, frames + rate, rate // 2)
    level = np.exp(float(rng.uniform(0.1, 0.9)) * rng.normal(0.0, 1.0, len(knots)))
    out = x * np.interp(np.arange(frames), knots, level).astype(np.float32)
    if rng.uniform() < 0.4:
        drops = rng.integers(0, frames, round(frames / rate * log_uniform(rng, 2.0, 60.0)))
        out[int(rng.integers(2)), drops] += 20.0 * float(out.std())
    return np.asarray(out, np.float32)


def play_samples(
    bank: SampleBank,
    kind: str,
    notes: Sequence[Note],
    frames: int,
    rng: np.random.Generator,
    *,
    rate: int,
) -> Audio | None:
    """Return notes on one-shots moved to pitch, ``(frames,)``; None where the bank has none."""
    tuned = {name: bank.pitch(name, sample_rate=rate) for name in bank.names(kind)}
    tuned = {name: pitch for name, pitch in tuned.items() if np.isfinite(pitch)}
    if not tuned:
        return None
    if rng.uniform() < 0.5:  # one sound over the whole range, as in a sampler
        name = str(rng.choice(list(tuned)))
        tuned = {name: tuned[name]}
    out = np.zeros(frames, np.float32)
    octave = _octave_of(notes, list(tuned.values()))
    made: dict[float, Audio] = {}
    for note in notes:
        start = round(note.start_s * rate)
        if start >= frames:
            continue
        if note.pitch not in made:
            name = min(tuned, key=lambda n, p=note.pitch: abs(tuned[n] - p - octave))  # type: ignore[misc]
            ratio = hertz(note.pitch + octave) / hertz(tuned[name])
            made[note.pitch] = resampled(bank.sound(name, sample_rate=rate), ratio)
        take = made[note.pitch]
        held = min(round((note.length_s + 0.08) * rate), len(take), frames - start)
        edge = min(round(0.06 * rate), held)
        fade = np.ones(held, np.float32)
        fade[held - edge :] = np.linspace(1.0, 0.0, edge)
        out[start : start + held] += np.float32(note.velocity) * take[:held] * fade
    return out


def _octave_of(notes: Sequence[Note], pitches: Sequence[float]) -> float:
    """Return the octaves, in semitones, that bring notes nearest to the sounds' pitches."""
    if not notes:
        return 0.0
    gap = float(np.median(list(pitches)) - np.median([note.pitch for note in notes]))
    return 12.0 * round(gap / 12.0)
