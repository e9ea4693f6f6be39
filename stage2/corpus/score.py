"""What a song of the corpus is made of: tempo, key, chords, form, rhythms and grooves, by seed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.synth.score import Hit, Section, Song

__all__ = ["LETTERS", "Score", "compose_score", "groove", "log_uniform", "rhythm", "rng_of"]

LETTERS = "ivcbC"

_MODES: Mapping[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "harmonic": (0, 2, 3, 5, 7, 8, 11),
}
# Which letters follow which, so that an excerpt may begin anywhere in a song.
_FOLLOWS: Mapping[str, str] = {"i": "vvc", "v": "vccb", "c": "vbCi", "b": "cCCv", "C": "Cbvi"}

# Chance of a stroke on each sixteenth of a bar.
_RHYTHMS: Mapping[str, tuple[float, ...]] = {
    "long": (1, 0, 0, 0, 0, 0, 0, 0, .15, 0, 0, 0, 0, 0, 0, 0),
    "halves": (1, 0, 0, 0, 0, 0, .1, 0, .9, 0, 0, 0, .1, 0, .1, 0),
    "quarters": (1, 0, 0, 0, .95, 0, .1, 0, .95, 0, 0, 0, .95, 0, .1, 0),
    "eighths": (1, .02, .95, .02, .95, .02, .95, .05, .95, .02, .95, .02, .95, .02, .95, .08),
    "sixteenths": (1, .8, .9, .8, .95, .8, .9, .8, 1, .8, .9, .8, .95, .8, .9, .8),
    "offbeats": (.1, 0, .95, 0, .05, 0, .95, 0, .05, 0, .95, 0, .05, 0, .95, .1),
    "syncopated": (.95, .05, .2, .55, .25, .1, .6, .2, .35, .15, .5, .3, .3, .1, .55, .2),
    "strum": (1, 0, .25, .1, .9, .1, .8, .3, .5, .1, .8, .3, .85, .15, .75, .3),
    "sparse": (.6, .02, .06, .1, .12, .02, .12, .06, .3, .02, .08, .06, .15, .02, .12, .05),
    "hands": (.7, .25, .4, .5, .4, .25, .6, .3, .6, .25, .4, .5, .4, .3, .6, .4),
    "backbeat": (0, 0, 0, 0, 1, 0, 0, .03, 0, .03, 0, 0, 1, 0, 0, .05),
}  # fmt: skip

_GROOVES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "rock": {
        "kick": (1, 0, .1, .1, .1, 0, .35, .2, .7, .05, .45, .1, .1, 0, .2, .1),
        "snare": (0, 0, 0, .02, 1, 0, 0, .12, .02, .1, 0, .02, 1, 0, .02, .1),
        "hat": _RHYTHMS["eighths"],
    },
    "four": {
        "kick": (1, 0, 0, 0, 1, 0, 0, .03, 1, 0, 0, 0, 1, 0, .05, .05),
        "snare": (0, 0, 0, 0, .9, 0, 0, .05, 0, 0, 0, 0, .9, 0, 0, .08),
        "open": (0, 0, .9, 0, 0, 0, .9, 0, 0, 0, .9, 0, 0, 0, .9, 0),
        "hat": (.4, .5, .2, .6, .4, .5, .2, .6, .4, .5, .2, .6, .4, .5, .2, .6),
    },
    "hiphop": {
        "kick": (1, .05, .15, .3, .05, .1, .2, .3, .4, .1, .6, .2, .05, .1, .25, .15),
        "snare": (0, 0, 0, .02, 1, 0, 0, .2, 0, .15, 0, .02, 1, 0, 0, .15),
        "hat": (1, .15, .9, .2, 1, .15, .9, .3, 1, .15, .9, .2, 1, .15, .9, .3),
    },
    "trap": {
        "kick": (1, 0, .1, .15, 0, 0, .3, .25, .15, 0, .5, .1, 0, .1, .3, .2),
        "snare": (0, 0, 0, 0, 0, 0, 0, .02, 1, 0, 0, 0, 0, 0, 0, .1),
        "hat": _RHYTHMS["sixteenths"],
    },
    "break": {
        "kick": (1, 0, .5, 0, 0, 0, .1, .1, .1, 0, .9, .2, 0, .1, .1, .1),
        "snare": (0, 0, .02, .05, 1, 0, .05, .5, .05, .5, 0, .05, 1, 0, .1, .5),
        "hat": _RHYTHMS["eighths"],
    },
    "ballad": {
        "kick": (1, 0, 0, 0, 0, 0, .15, .05, .3, 0, .35, 0, 0, 0, .05, .05),
        "snare": (0, 0, 0, 0, .1, 0, 0, 0, .9, 0, 0, 0, .1, 0, 0, .05),
        "ride": _RHYTHMS["quarters"],
    },
    "swing": {
        "kick": (.5, 0, .02, .05, .2, 0, .05, .1, .4, 0, .1, .1, .2, 0, .1, .1),
        "snare": (.05, 0, .1, .1, .1, .05, .15, .2, .05, .05, .15, .15, .1, .05, .15, .2),
        "ride": (1, 0, 0, 0, 1, 0, .05, .85, 1, 0, 0, 0, 1, 0, .05, .85),
        "hat": (0, 0, 0, 0, .9, 0, 0, 0, 0, 0, 0, 0, .9, 0, 0, 0),
    },
    "tribal": {
        "kick": (1, 0, .1, .3, .1, 0, .3, .1, .8, 0, .2, .1, .2, 0, .2, .1),
        "floor": (.3, .1, .5, .4, .2, .1, .5, .3, .3, .1, .5, .3, .4, .1, .5, .3),
        "tom2": (.05, .05, .2, .1, .3, .1, .2, .3, .05, .1, .2, .1, .3, .1, .4, .3),
        "snare": (0, 0, 0, 0, .4, 0, 0, .1, 0, 0, .1, 0, .5, 0, .1, .1),
    },
}  # fmt: skip


def rng_of(seed: int, *key: int | str) -> np.random.Generator:
    """Return a generator that depends on the seed and the key alone."""
    return np.random.default_rng([seed, zlib.crc32("\x1f".join(map(str, key)).encode())])


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number whose logarithm is drawn evenly."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@dataclass(frozen=True)
class Score(Song):
    """A song whose scale and chords are drawn; its parts are written by :class:`Song`.

    Parameters
    ----------
    progressions
        Scale degrees, a chord for each ``hold`` bars, by the letter of the section.
    hold
        Bars a chord lasts.
    """

    progressions: Mapping[str, tuple[int, ...]]
    hold: int

    @property
    def letters(self) -> str:
        """The letters of the sections that there are."""
        return "".join(letter for letter in LETTERS if letter in {s.letter for s in self.sections})

    def degree(self, bar: int) -> int:
        """Return the scale degree (0-based) of a bar's chord."""
        section = self.bars[bar]
        chords = self.progressions[section.letter.lower()]
        return chords[(bar - section.first_bar) // self.hold % len(chords)]

    def scale_pitch(self, index: int) -> int:
        """Return the MIDI pitch of a scale step; 0 is the tonic in the octave above MIDI 0."""
        octave, step = divmod(index, 7)
        return self.tonic + 12 * octave + _MODES[self.mode][step]


def compose_score(seed: int, seconds: float, *, bpm: tuple[float, float], swing: float) -> Score:
    """Return the score of a seed.

    Parameters
    ----------
    seconds
        Of the recording, which may end amid a bar, as an excerpt does.
    bpm
        Between which tempos.
    swing
        How much, of a sixteenth, each second one is late.
    """
    rng = rng_of(seed, "score")
    tempo = round(float(rng.uniform(*bpm)), 1)
    bars = max(int(np.ceil(seconds * tempo / 240.0)), 2)
    mode = str(rng.choice(list(_MODES), p=(0.33, 0.33, 0.12, 0.1, 0.05, 0.07)))
    sections: list[Section] = []
    letter, first = LETTERS[int(rng.choice(5, p=(0.15, 0.4, 0.25, 0.1, 0.1)))], 0
    unit = int(rng.choice([2, 4])) if bars >= 10 else 2
    while first < bars:
        length = min(int(rng.choice([1, 2, 2])) * unit, bars - first)
        sections.append(Section(letter, first, length))
        letter = str(rng.choice(list(_FOLLOWS[letter])))
        first += length
    size = int(rng.choice([1, 2, 4, 4, 4]))
    return Score(
        seed=int(rng.integers(2**31)),
        bpm=tempo,
        tonic=int(rng.integers(12)),
        mode=mode,
        swing=swing,
        sections=tuple(sections),
        progressions={letter: _progression(rng, size) for letter in "ivcb"},
        hold=int(rng.choice([1, 1, 1, 2])),
    )


def _progression(rng: np.random.Generator, size: int) -> tuple[int, ...]:
    # The seventh degree is rare, the first the usual place to begin.
    weights = np.array([3.0, 1.5, 1.0, 3.0, 3.0, 2.5, 0.7])
    degrees = rng.choice(7, size, p=weights / weights.sum())
    if rng.uniform() < 0.6:
        degrees[0] = 0
    return tuple(int(degree) for degree in degrees)


def rhythm(rng: np.random.Generator, manner: str, *, gate: float = 1.0, bars: int = 2) -> str:
    """Return one or two bars of a rhythm as :meth:`~pipeline.synth.score.Song.chords` reads it.

    Parameters
    ----------
    manner
        One of the rhythms of this module: ``long``, ``eighths``, ``strum``, ...
    gate
        Share of the time until the next stroke that a note is held.
    """
    marks = []
    for _ in range(bars):
        onsets = np.flatnonzero(rng.uniform(size=16) < np.asarray(_RHYTHMS[manner]))
        if not onsets.size:
            onsets = np.array([0])
        bar = ["."] * 16
        for onset, coming in zip(onsets, [*onsets[1:], 16], strict=True):
            strong = onset % 4 == 0
            bar[onset] = "X" if strong and rng.uniform() < 0.8 else str(rng.choice(list("Xxxo")))
            held = round(gate * (coming - onset)) - 1
            bar[onset + 1 : onset + 1 + held] = "-" * max(held, 0)
        marks.append("".join(bar))
    return "".join(marks)


def groove(score: Score, manner: str, plays: str, rng: np.random.Generator) -> list[Hit]:
    """Return a drummer's part: a pattern a section, fills at the seams, a player's timing.

    Parameters
    ----------
    manner
        One of the grooves of this module: ``rock``, ``four``, ``swing``, ...
    plays
        The letters of the sections in which there are drums.
    """
    ghosts = float(rng.uniform(0.15, 0.5))
    patterns = {letter: _pattern(manner, letter, rng) for letter in LETTERS}
    hits: list[Hit] = []
    for section in score.sections:
        if section.letter not in plays:
            continue
        for bar in range(section.first_bar, section.first_bar + section.bars):
            last = bar == section.first_bar + section.bars - 1
            fill = last and rng.uniform() < 0.6
            for piece, steps in patterns[section.letter].items():
                chance = np.asarray(_GROOVES[manner].get(piece, _RHYTHMS["eighths"]))
                for step in steps:
                    if fill and step >= 10 and piece != "kick":
                        continue
                    strong = 1.0 if chance[step] > 0.5 else ghosts if piece == "snare" else 0.7
                    if piece in {"hat", "ride"} and step % 4:
                        strong *= 0.75
                    hits.append(Hit(score.time_s(bar, int(step)), piece, strong))
            if fill:
                hits += _fill(score, bar, rng)
            elif bar == section.first_bar and rng.uniform() < 0.45:
                hits.append(Hit(score.time_s(bar, 0), "crash", 0.9))
    return _played(hits, rng)


def _pattern(manner: str, letter: str, rng: np.random.Generator) -> dict[str, Sequence[int]]:
    pieces = dict(_GROOVES[manner])
    if "hat" in pieces and letter in "cC" and rng.uniform() < 0.4:
        pieces["ride"] = pieces.pop("hat")
    drawn: dict[str, Sequence[int]] = {
        piece: [int(k) for k in np.flatnonzero(rng.uniform(size=16) < np.asarray(chance))]
        for piece, chance in pieces.items()
    }
    if letter in "ib" and rng.uniform() < 0.4:
        del drawn[str(rng.choice(list(drawn)))]
    return drawn


def _fill(score: Score, bar: int, rng: np.random.Generator) -> list[Hit]:
    pieces = sorted(rng.choice(["snare", "tom1", "tom2", "floor"], 6), key=["snare", "tom1", "tom2", "floor"].index)  # fmt: skip # noqa: E501
    return [
        Hit(score.time_s(bar, 10 + k), str(piece), 0.65 + 0.06 * k)
        for k, piece in enumerate(pieces)
        if rng.uniform() < 0.85
    ]


def _played(hits: Sequence[Hit], rng: np.random.Generator) -> list[Hit]:
    loose = float(rng.choice([0.0, rng.uniform(0.002, 0.012)]))
    dynamics = float(rng.uniform(0.02, 0.15))
    lag = {"snare": float(rng.normal(0.0, loose)), "hat": float(rng.normal(0.0, loose))}
    return sorted(
        Hit(
            max(hit.start_s + float(rng.normal(0.0, loose)) + lag.get(hit.piece, 0.0), 0.0),
            hit.piece,
            float(np.clip(hit.velocity * rng.normal(1.0, dynamics), 0.08, 1.0)),
        )
        for hit in hits
    )
