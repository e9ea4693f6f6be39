"""The demo's songs: form, chords, grooves and the notes of every part.

Composition is data: notes with a time, a pitch and a velocity. What plays them is elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from pipeline.synth.signals import rng_for

__all__ = ["Hit", "Note", "Section", "Song", "compose", "humanise"]

_SCALES = {"minor": (0, 2, 3, 5, 7, 8, 10), "major": (0, 2, 4, 5, 7, 9, 11)}
# Scale degrees, a chord a bar, by the letter of the section.
_PROGRESSIONS = {
    "minor": {"i": (0, 5), "v": (0, 5, 2, 6), "c": (5, 2, 6, 0), "b": (3, 5, 3, 4)},
    "major": {"i": (0, 3), "v": (0, 4, 5, 3), "c": (3, 0, 4, 5), "b": (1, 5, 3, 4)},
}
# Share of the song that has passed when each section ends.
_FORM = (("i", 0.11), ("v", 0.4), ("c", 0.62), ("b", 0.76), ("C", 1.0))
_SHORT_FORM = (("v", 0.5), ("C", 1.0))


class Note(NamedTuple):
    """One note; times in seconds, ``pitch`` in MIDI semitones, ``velocity`` in (0, 1]."""

    start_s: float
    length_s: float
    pitch: float
    velocity: float


class Hit(NamedTuple):
    """One stroke on a drum or a percussion instrument."""

    start_s: float
    piece: str
    velocity: float


@dataclass(frozen=True)
class Section:
    """A stretch of bars; ``letter`` is i(ntro), v(erse), c(horus), b(ridge) or C (last chorus)."""

    letter: str
    first_bar: int
    bars: int


@dataclass(frozen=True)
class Song:
    """Tempo, key, form; its methods write the parts.

    The argument ``plays`` of a part holds the letters of the sections in which it is heard.
    """

    seed: int
    bpm: float
    tonic: int
    mode: str
    swing: float
    sections: tuple[Section, ...]

    @property
    def step_s(self) -> float:
        """Length of a sixteenth in seconds."""
        return 15.0 / self.bpm

    @property
    def bar_s(self) -> float:
        """Length of a 4/4 bar in seconds."""
        return 240.0 / self.bpm

    @cached_property
    def bars(self) -> tuple[Section, ...]:
        """The section of every bar."""
        return tuple(s for s in self.sections for _ in range(s.bars))

    def time_s(self, bar: int, step: float) -> float:
        """Return when a sixteenth of a bar sounds; odd sixteenths are late by the swing."""
        late = self.swing if int(step) % 2 == 1 else 0.0
        return bar * self.bar_s + (step + late) * self.step_s

    def degree(self, bar: int) -> int:
        """Return the scale degree (0-based) of a bar's chord."""
        section = self.bars[bar]
        chords = _PROGRESSIONS[self.mode][section.letter.lower()]
        return chords[(bar - section.first_bar) % len(chords)]

    def scale_pitch(self, index: int) -> int:
        """Return the MIDI pitch of a scale step; 0 is the tonic in the octave above MIDI 0."""
        octave, step = divmod(index, 7)
        return self.tonic + 12 * octave + _SCALES[self.mode][step]

    def scale_index(self, pitch: float) -> int:
        """Return the scale step nearest to a pitch."""
        guess = math.floor((pitch - self.tonic) / 12.0 * 7.0)
        return min(range(guess - 2, guess + 4), key=lambda k: abs(self.scale_pitch(k) - pitch))

    def chord(self, bar: int, *, centre: float, size: int = 3) -> list[int]:
        """Return the pitches of a bar's chord, each in the octave nearest to ``centre``."""
        steps = [self.degree(bar) + 2 * k for k in range(size)]
        pitches = [self.scale_pitch(step) for step in steps]
        return sorted({round(p + 12 * round((centre - p) / 12.0)) for p in pitches})

    def _bars_of(self, plays: str) -> Iterator[int]:
        return (bar for bar, section in enumerate(self.bars) if section.letter in plays)

    def chords(
        self,
        plays: str,
        rhythm: str,
        *,
        centre: float,
        size: int = 3,
        strum_s: float = 0.0,
        bass: bool = False,
    ) -> list[Note]:
        """Return chords in a rhythm of 16 or 32 steps.

        ``X``, ``x`` and ``o`` strike, ever softer, ``-`` holds and ``.`` rests.
        """
        notes = []
        for bar in self._bars_of(plays):
            pitches = self.chord(bar, centre=centre, size=size)
            if bass:
                pitches = [self.root(bar, low=31), *pitches]
            for turn, (step, length, velocity) in enumerate(_onsets(rhythm, bar)):
                order = pitches if turn % 2 == 0 else pitches[::-1]
                for k, pitch in enumerate(order):
                    start = self.time_s(bar, step) + k * strum_s
                    notes.append(Note(start, length * self.step_s, pitch, velocity))
        return notes

    def root(self, bar: int, *, low: int) -> int:
        """Return the root of a bar's chord in the octave that begins at ``low``."""
        return low + (self.scale_pitch(self.degree(bar)) - low) % 12

    def bass(self, plays: str, rhythm: str, *, low: int = 28) -> list[Note]:
        """Return a bass line: roots, a fifth or octave off the beat, a step into the next bar."""
        rng = rng_for(self.seed, "bass", rhythm, low)
        notes = []
        for bar in self._bars_of(plays):
            root = self.root(bar, low=low)
            onsets = _onsets(rhythm, bar)
            for k, (step, length, velocity) in enumerate(onsets):
                pitch = root
                if step >= 12 and k == len(onsets) - 1 and bar + 1 < len(self.bars):
                    coming = self.root(bar + 1, low=low)
                    pitch = coming + (2 if coming < root else -1)
                elif step % 4 != 0:
                    pitch = root + int(rng.choice([0, 0, 7, 12 if root < low + 7 else 0]))
                notes.append(
                    Note(self.time_s(bar, step), length * self.step_s * 0.94, pitch, velocity)
                )
        return notes

    def arpeggio(
        self, plays: str, *, centre: float, rate: int = 1, size: int = 4, gate: float = 0.9
    ) -> list[Note]:
        """Return broken chords, a note each ``rate`` sixteenths, up and down."""
        notes = []
        for bar in self._bars_of(plays):
            up = self.chord(bar, centre=centre, size=size)
            up.append(up[0] + 12)
            cycle = up + up[-2:0:-1]
            for k, step in enumerate(range(0, 16, rate)):
                velocity = 0.95 if step % 4 == 0 else 0.7
                start = self.time_s(bar, step)
                length = rate * self.step_s * gate
                notes.append(Note(start, length, cycle[k % len(cycle)], velocity))
        return notes

    def line(
        self, plays: str, rhythm: str, *, centre: float, tone: int = 0, legato: float = 0.98
    ) -> list[Note]:
        """Return one voice of the chords, led by the smallest steps from note to note."""
        notes: list[Note] = []
        rng = rng_for(self.seed, "line", rhythm, centre, tone)
        previous = centre
        for bar in self._bars_of(plays):
            tones = [self.scale_pitch(self.degree(bar) + 2 * k) % 12 for k in range(3)]
            for step, length, velocity in _onsets(rhythm, bar):
                pull = 0.5 * previous + 0.5 * centre + float(rng.uniform(-2.0, 2.0))
                near = [p for p in range(round(centre) - 9, round(centre) + 10) if p % 12 in tones]
                near.sort(key=lambda p, at=pull: abs(p - at))  # type: ignore[misc]
                pitch = near[tone % 2]
                start = self.time_s(bar, step)
                notes.append(Note(start, length * self.step_s * legato, pitch, velocity))
                previous = pitch
        return notes

    def melody(self, plays: str, *, centre: float, voice: int = 0, busy: float = 0.6) -> list[Note]:
        """Return a sung line in phrases of two bars: chord tones on the beat, steps between.

        ``voice`` chooses another melody of the same song; ``busy`` in [0, 1] its density.
        """
        rng = rng_for(self.seed, "melody", voice)
        motifs = {letter: [_motif(rng, busy) for _ in range(2)] for letter in "ivcb"}
        notes: list[Note] = []
        position = self.scale_index(centre)
        for bar in self._bars_of(plays):
            section = self.bars[bar]
            lift = 2 if section.letter in "cC" else 0
            home = self.scale_index(centre) + lift
            turn = bar - section.first_bar
            for step, length in motifs[section.letter.lower()][turn % 2]:
                position += int(rng.choice([-2, -1, -1, 0, 1, 1, 2])) + round((home - position) / 4)
                if step % 8 == 0 or length >= 4:
                    tones = [(self.degree(bar) + 2 * k) % 7 for k in range(3)]
                    near = range(position - 3, position + 4)
                    position = min(
                        (k for k in near if k % 7 in tones), key=lambda k: abs(k - position)
                    )
                velocity = 0.75 + 0.15 * (step % 4 == 0) + 0.1 * (lift > 0)
                notes.append(
                    Note(
                        self.time_s(bar, step),
                        length * self.step_s * 0.95,
                        self.scale_pitch(position),
                        velocity,
                    )
                )
        return notes

    def harmony(self, notes: Sequence[Note], steps: int) -> list[Note]:
        """Return ``notes`` moved by a number of scale steps: 2 is a third up."""
        return [
            n._replace(pitch=self.scale_pitch(self.scale_index(n.pitch) + steps)) for n in notes
        ]

    def strokes(self, plays: str, rhythm: str, piece: str) -> list[Hit]:
        """Return strokes of one piece in a rhythm of 16 steps."""
        return [
            Hit(self.time_s(bar, step), piece, velocity)
            for bar in self._bars_of(plays)
            for step, _, velocity in _onsets(rhythm, bar)
        ]

    @cached_property
    def groove(self) -> tuple[Hit, ...]:
        """The drum kit's part with fills, velocities and timing of a player."""
        rng = rng_for(self.seed, "groove")
        hits: list[Hit] = []
        for section in self.sections:
            patterns = _GROOVES[section.letter]
            for bar in range(section.first_bar, section.first_bar + section.bars):
                last = bar == section.first_bar + section.bars - 1
                fill = last and (section.bars > 1 or bar == len(self.bars) - 1)
                for piece, rhythm in patterns.items():
                    for step, _, velocity in _onsets(rhythm, bar):
                        if not (fill and step >= 10 and piece != "kick"):
                            hits.append(Hit(self.time_s(bar, step), piece, velocity))
                if fill:
                    for k, piece in enumerate(_FILLS[bar % len(_FILLS)]):
                        hits.append(Hit(self.time_s(bar, 10 + k), piece, 0.65 + 0.06 * k))
                if bar == section.first_bar and section.letter in "cbC":
                    hits.append(Hit(self.time_s(bar, 0), "crash", 0.9))
        end = len(self.bars) * self.bar_s
        hits += [Hit(end, "kick", 0.9), Hit(end, "crash", 0.95), Hit(end, "snare", 0.6)]
        played = []
        for hit in hits:
            late = rng.normal(0.0, 0.004) + (0.006 if hit.piece == "snare" else 0.0)
            velocity = float(np.clip(hit.velocity * rng.normal(1.0, 0.07), 0.08, 1.0))
            played.append(Hit(max(hit.start_s + float(late), 0.0), hit.piece, velocity))
        return tuple(sorted(played))


_GROOVES: dict[str, dict[str, str]] = {
    "i": {"kick": "X.......X.......", "hat": "X...x...X...x...", "snare": "............o..."},
    "v": {
        "kick": "X......xX.x.....",
        "snare": "....X..o.o..X..o",
        "hat": "X.x.X.x.X.x.X.x.",
        "snare2": "................",
    },
    "c": {
        "kick": "X..x..x.X.x..x..",
        "snare": "....X..o....X.o.",
        "ride": "X.x.X.x.X.x.X.x.",
        "open": "..............x.",
    },
    "b": {
        "kick": "X.........x.....",
        "snare2": "........X.......",
        "floor": "..x..x....x..x..",
        "floor2": "...x.......x....",
        "tom2": "......x.......x.",
        "hat": "x...x...x...x...",
    },
    "C": {
        "kick": "X..x..x.X.x..xx.",
        "snare": "....X..o....X..o",
        "ride": "X.x.X.x.X.x.X.x.",
        "snare2": "............x...",
        "open": "......x.......x.",
    },
}
_FILLS = (
    ("snare", "tom1", "tom1", "tom2", "floor", "floor2"),
    ("tom1", "tom2", "snare", "floor", "floor", "floor2"),
    ("snare", "snare2", "tom1", "tom2", "floor2", "floor"),
)


def _onsets(rhythm: str, bar: int) -> list[tuple[int, int, float]]:
    """Return (step, length in steps, velocity); a rhythm of 32 steps alternates its bars."""
    pattern = rhythm[16 * (bar % 2) :][:16] if len(rhythm) == 32 else rhythm
    onsets = []
    for step, mark in enumerate(pattern):
        if mark in "Xxo":
            tail = pattern[step + 1 :]
            held = len(tail) - len(tail.lstrip("-"))
            onsets.append((step, 1 + held, {"X": 0.95, "x": 0.75, "o": 0.35}[mark]))
    return onsets


def _motif(rng: np.random.Generator, busy: float) -> list[tuple[int, int]]:
    """Return (step, length) of one bar of melody; it breathes before the bar line."""
    onsets = [0] if rng.uniform() < 0.7 else [2]
    while onsets[-1] < 12:
        onsets.append(onsets[-1] + int(rng.choice([2, 3, 4, 6], p=_density(busy))))
    onsets = [k for k in onsets if k <= 13]
    ends = [*onsets[1:], 15]
    return [(a, b - a) for a, b in zip(onsets, ends, strict=True)]


def _density(busy: float) -> list[float]:
    weights = [busy, 0.5 * busy, 0.6, 1.2 * (1.0 - busy) + 0.05]
    return [w / sum(weights) for w in weights]


def humanise(
    notes: Sequence[Note], *key: int | str, timing_ms: float = 7.0, velocity: float = 0.08
) -> list[Note]:
    """Return ``notes`` as a player plays them; another ``key`` is another take."""
    rng = rng_for("take", *key)
    out = []
    for note in notes:
        start = max(note.start_s + float(rng.normal(0.0, timing_ms / 1000.0)), 0.0)
        loud = float(np.clip(note.velocity * rng.normal(1.0, velocity), 0.1, 1.0))
        out.append(note._replace(start_s=start, velocity=loud))
    return out


def compose(seed: int, seconds: float, *, other: bool = False) -> Song:
    """Return the song of ``seed``; ``other`` is one in another key, mode, tempo and feel.

    Parameters
    ----------
    seconds
        The recording's length; the last bar ends a little before it, to ring out.
    """
    rng = rng_for("song", seed)
    mode = str(rng.choice(["minor", "major"]))
    tonic = int(rng.integers(0, 12))
    bpm = float(rng.integers(104, 122))
    if other:
        mode = "major" if mode == "minor" else "minor"
        tonic = (tonic + int(rng.choice([3, 5, 8, 10]))) % 12
        bpm -= float(rng.integers(14, 22))
    played_s = seconds - min(1.0, 0.1 * seconds)
    bars = int(played_s * bpm / 240.0)
    if bars < 2:  # faster, so that a verse and a chorus fit
        bars, bpm = 2, 480.0 / played_s
    sections = []
    passed = 0
    for letter, share in _FORM if bars >= 8 else _SHORT_FORM:
        end = round(share * bars)
        if end > passed:
            sections.append(Section(letter, passed, end - passed))
        passed = max(passed, end)
    return Song(
        seed=seed + (7919 if other else 0),
        bpm=bpm,
        tonic=tonic,
        mode=mode,
        swing=0.22 if other else 0.0,
        sections=tuple(sections),
    )
