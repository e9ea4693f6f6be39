"""The pitched instruments of the corpus: what each role plays, where, and on what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.roles import Role
from pipeline.synth.score import Note, humanise
from pipeline.synth.voices import Voice
from stage2.corpus import patches
from stage2.corpus.effects import (
    Audio,
    amplified,
    echoed,
    modulated,
    pumped,
    saturated,
    tone_response,
)
from stage2.corpus.effects import coloured as _coloured
from stage2.corpus.score import Score, log_uniform, rhythm

__all__ = ["INSTRUMENTS", "Instrument", "play", "write_part"]

Draw = Callable[[np.random.Generator], Voice]
Finish = Callable[[Audio, np.random.Generator, int], Audio]


@dataclass(frozen=True)
class Instrument:
    """How a role is played in the corpus.

    Parameters
    ----------
    manners
        What it plays, one drawn for a song; see :func:`write_part`.
    centre
        Between which MIDI pitches the middle of its part lies.
    voice
        Draws its sound.
    finish
        What it is heard through.
    paired
        Share of songs in which left and right are two performances.
    moving
        Share of songs with chorus, tremolo or rotation.
    echo
        Share of songs with an echo.
    """

    manners: tuple[str, ...]
    centre: tuple[float, float]
    voice: Draw
    finish: Finish | None = None
    paired: float = 0.0
    moving: float = 0.0
    echo: float = 0.0


def write_part(
    score: Score, manner: str, plays: str, centre: float, rng: np.random.Generator
) -> list[Note]:
    """Return the notes of a part about a MIDI pitch, as a player plays them."""
    notes = _written(score, manner, plays, centre, rng)
    tight = rng.uniform() < 0.3
    return humanise(
        notes,
        int(rng.integers(2**31)),
        timing_ms=0.0 if tight else float(rng.uniform(2.0, 12.0)),
        velocity=float(rng.uniform(0.02, 0.14)),
    )


def _written(
    score: Score, manner: str, plays: str, centre: float, rng: np.random.Generator
) -> list[Note]:
    gate = float(rng.choice([0.3, 0.6, 0.9, 1.0]))
    size = int(rng.choice([3, 3, 4]))

    def steps(*manners: str, held: float = gate) -> str:
        return rhythm(rng, str(rng.choice(manners)), gate=held)

    match manner:
        case "pad":
            pattern = steps("long", "long", "halves", held=1.0)
            return score.chords(plays, pattern, centre=centre, size=size)
        case "comp":
            pattern = steps("quarters", "offbeats", "syncopated", "eighths", "halves")
            bass = bool(rng.uniform() < 0.25) and centre > 54
            return score.chords(plays, pattern, centre=centre, size=size, bass=bass)
        case "strum":
            late = float(rng.uniform(0.005, 0.022))
            pattern = steps("strum", "eighths", "quarters", held=1.0)
            return score.chords(plays, pattern, centre=centre, size=4, strum_s=late)
        case "power":
            pattern = steps("eighths", "syncopated", "quarters", "halves")
            return score.chords(plays, pattern, centre=centre, size=2)
        case "bass":
            pattern = steps("quarters", "eighths", "syncopated", "syncopated", "halves")
            return score.bass(plays, pattern, low=round(centre) - 6)
        case "sub":
            return score.bass(plays, steps("long", "halves", "sparse"), low=round(centre) - 6)
        case "arpeggio":
            rate = int(rng.choice([1, 2, 2, 4]))
            return score.arpeggio(plays, centre=centre, rate=rate, size=size, gate=gate)
        case "riff":
            pattern = steps("syncopated", "eighths", "sixteenths", "sparse")
            return score.line(plays, pattern, centre=centre, tone=int(rng.integers(2)))
        case "line":
            pattern = steps("long", "halves", "quarters", held=1.0)
            return score.line(plays, pattern, centre=centre, tone=int(rng.integers(2)))
        case _:
            voice, busy = int(rng.integers(1000)), float(rng.uniform(0.1, 0.9))
            return score.melody(plays, centre=centre, voice=voice, busy=busy)


def play(
    role: Role,
    notes: list[Note],
    score: Score,
    frames: int,
    rng: np.random.Generator,
    *,
    rate: int,
    takes: int = 1,
) -> list[Audio]:
    """Return ``takes`` performances of a part on one instrument, each ``(1 or 2, frames)``."""
    instrument = INSTRUMENTS[role]
    voice = instrument.voice(rng)
    tuning = float(rng.normal(0.0, 5.0))
    channels = 2 if rng.uniform() < instrument.paired else 1
    moving, echo = rng.uniform() < instrument.moving, rng.uniform() < instrument.echo
    settings = int(rng.integers(2**31))
    made = []
    for take in range(takes):
        again = notes if take == 0 else humanise(notes, settings, take, timing_ms=9.0)
        x = np.stack(
            [
                patches.perform(voice, again, frames, rng, rate=rate, tuning_cents=tuning)
                for _ in range(channels)
            ]
        ).astype(np.float32)
        # The same amplifier and pedals for every take.
        same = np.random.default_rng(settings)
        if instrument.finish is not None:
            x = instrument.finish(x, same, rate)
        if moving:
            x = modulated(x, same, rate)
        if echo:
            x = echoed(x, same, rate, step_s=score.step_s)
        made.append(x)
    return made


def _guitar_amplifier(x: Audio, rng: np.random.Generator, rate: int) -> Audio:
    return amplified(x, rng, rate, drive=(0.3, 25.0))


def _lead_amplifier(x: Audio, rng: np.random.Generator, rate: int) -> Audio:
    return amplified(x, rng, rate, drive=(1.5, 40.0))


def _bass_amplifier(x: Audio, rng: np.random.Generator, rate: int) -> Audio:
    x = saturated(x, drive=log_uniform(rng, 0.3, 8.0), bias=0.15)
    high = log_uniform(rng, 900.0, 7000.0)
    return _coloured(x, tone_response(rng, rate, low_hz=35.0, high_hz=high, strength=0.8))


def _body(x: Audio, rng: np.random.Generator, rate: int) -> Audio:
    return _coloured(x, tone_response(rng, rate, low_hz=75.0, tilt_db=1.0, strength=1.3))


def _driven(x: Audio, rng: np.random.Generator, rate: int) -> Audio:
    return saturated(x, drive=log_uniform(rng, 0.2, 5.0), bias=0.1) if rng.uniform() < 0.4 else x


def _ducked(x: Audio, rng: np.random.Generator, rate: int) -> Audio:
    if rng.uniform() < 0.25:
        return pumped(x, rng, rate, beat_s=float(rng.choice([0.4, 0.48, 0.5, 0.6])))
    return x


def _electric(rng: np.random.Generator) -> Voice:
    return patches.string(rng, bright=(0.5, 1.0), ring_s=(0.3, 4.5))


def _steel(rng: np.random.Generator) -> Voice:
    return patches.string(rng, bright=(0.6, 1.0), ring_s=(1.0, 5.0))


def _finger(rng: np.random.Generator) -> Voice:
    return patches.string(rng, bright=(0.2, 0.8), ring_s=(0.6, 5.0))


def _any_keys(rng: np.random.Generator) -> Voice:
    return patches.operators(rng) if rng.uniform() < 0.5 else _steel(rng)


def _keyed_synth(rng: np.random.Generator) -> Voice:
    if rng.uniform() < 0.25:
        return patches.operators(rng)
    return patches.analogue(rng, attack=(0.001, 0.04))


def _pad(rng: np.random.Generator) -> Voice:
    if rng.uniform() < 0.15:
        return patches.operators(rng, sustained=True)
    return patches.analogue(rng, attack=(0.05, 1.0))


def _synth_bass(rng: np.random.Generator) -> Voice:
    kind = rng.uniform()
    if kind < 0.35:
        return patches.pure_bass(rng)
    if kind < 0.5:
        return patches.operators(rng)
    return patches.analogue(rng, attack=(0.002, 0.02), bright=0.35)


def _desk(size: float, players: tuple[int, ...]) -> Draw:
    return lambda rng: patches.desk(rng, size=size, players=int(rng.choice(players)))


def _brass(bright: float) -> Draw:
    return lambda rng: patches.brass(rng, bright=bright)


INSTRUMENTS: Mapping[Role, Instrument] = {
    Role.BASS: Instrument(("bass", "bass", "riff"), (32, 38), _finger, _bass_amplifier),
    Role.SYNTH_BASS: Instrument(
        ("bass", "sub", "riff"), (30, 38), _synth_bass, _driven, paired=0.08, moving=0.08
    ),
    Role.DOUBLE_BASS: Instrument(("bass", "line"), (32, 36), _finger, _body),
    Role.ELECTRIC_GUITAR: Instrument(
        ("strum", "comp", "power", "riff", "arpeggio"),
        (45, 60), _electric, _guitar_amplifier, moving=0.2, echo=0.1,
    ),
    Role.LEAD_GUITAR: Instrument(
        ("lead", "riff", "line"), (60, 74), _electric, _lead_amplifier, moving=0.15, echo=0.3
    ),
    Role.ACOUSTIC_GUITAR: Instrument(("strum", "strum", "arpeggio"), (50, 60), _steel, _body),
    Role.PLUCKED: Instrument(("arpeggio", "riff", "lead"), (55, 72), _steel, _body),
    Role.PIANO: Instrument(
        ("comp", "comp", "arpeggio", "pad"), (54, 66), patches.piano, paired=0.4
    ),
    Role.ELECTRIC_PIANO: Instrument(
        ("comp", "pad", "arpeggio"), (54, 64), patches.electric_piano, _driven, moving=0.5
    ),
    Role.ORGAN: Instrument(("pad", "comp"), (54, 64), patches.organ, _driven, moving=0.7),
    Role.KEYS: Instrument(("comp", "arpeggio"), (54, 66), _any_keys, _driven, moving=0.3),
    Role.MALLET: Instrument(("arpeggio", "riff", "line"), (62, 76), patches.mallet, moving=0.3),
    Role.SYNTH: Instrument(
        ("comp", "riff", "comp"), (50, 68), _keyed_synth, _ducked, paired=0.3, moving=0.3, echo=0.3
    ),
    Role.SYNTH_LEAD: Instrument(
        ("lead", "riff", "line"), (60, 78), _keyed_synth, _driven, moving=0.2, echo=0.4
    ),
    Role.SYNTH_PAD: Instrument(("pad",), (50, 66), _pad, _ducked, paired=0.6, moving=0.4),
    Role.ARPEGGIO: Instrument(("arpeggio",), (55, 74), _keyed_synth, _ducked, moving=0.2, echo=0.5),
    Role.VIOLIN: Instrument(("line", "lead", "riff"), (68, 78), _desk(1.0, (1, 2, 3))),
    Role.VIOLA: Instrument(("line", "riff"), (58, 66), _desk(1.4, (1, 2))),
    Role.CELLO: Instrument(("line", "riff"), (45, 54), _desk(2.4, (1, 2))),
    Role.STRINGS: Instrument(("pad", "line"), (55, 68), _desk(1.3, (1, 2)), paired=0.4),
    Role.TRUMPET: Instrument(("line", "riff", "lead"), (62, 72), _brass(1.0)),
    Role.TROMBONE: Instrument(("line", "riff"), (48, 58), _brass(0.6)),
    Role.HORN: Instrument(("line",), (50, 60), _brass(0.35)),
    Role.BRASS: Instrument(("comp", "line"), (55, 66), _brass(0.8), paired=0.2),
    Role.SAXOPHONE: Instrument(
        ("lead", "riff", "line"), (52, 68), lambda rng: patches.woodwind(rng, "reed", "saw")
    ),
    Role.FLUTE: Instrument(
        ("lead", "line"), (70, 82), lambda rng: patches.woodwind(rng, "sine", "triangle")
    ),
    Role.WOODWIND: Instrument(
        ("lead", "line"), (58, 72), lambda rng: patches.woodwind(rng, "square", "reed", "triangle")
    ),
}  # fmt: skip
"""An instrument for each pitched role."""
