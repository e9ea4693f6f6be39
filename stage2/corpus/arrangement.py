"""A song of the corpus as raw tracks: each stem's parts, played and not yet recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.roles import Role, Subgroup
from pipeline.synth.drums import PERCUSSION
from pipeline.synth.score import Hit, Note, humanise
from stage2.corpus.drums import (
    RawTrack,
    acoustic_kit,
    bank_stroke,
    drum_tracks,
    electronic_kit,
    sampled_kit,
    strike,
    struck,
)
from stage2.corpus.effects import Audio
from stage2.corpus.instruments import INSTRUMENTS, play, write_part
from stage2.corpus.lineup import Style, draw_roles
from stage2.corpus.samples import SampleBank
from stage2.corpus.score import Score, groove, rhythm, rng_of
from stage2.corpus.voices import (
    ambience,
    choir,
    draw_person,
    effect,
    play_samples,
    sing_part,
    speech,
)

__all__ = ["Band", "arrange"]

_PERCUSSION: dict[Role, tuple[str, ...]] = {
    Role.SHAKER: ("shaker", "cabasa"),
    Role.TAMBOURINE: ("tambourine",),
    Role.PERCUSSION: (
        "conga_hi", "conga_lo", "bongo", "timbale", "cowbell", "block", "triangle", "guiro", "clap",
    ),
}  # fmt: skip
_SAMPLED: dict[Role, str] = {
    Role.BASS: "bass",
    Role.SYNTH_BASS: "synth_bass",
    Role.ELECTRIC_GUITAR: "electric_guitar",
    Role.ACOUSTIC_GUITAR: "acoustic_guitar",
    Role.PIANO: "piano",
    Role.MALLET: "mallet",
    Role.PLUCKED: "plucked",
    Role.FLUTE: "flute",
    Role.SAXOPHONE: "saxophone",
    Role.STRINGS: "strings",
    Role.SYNTH: "synth",
    Role.ARPEGGIO: "synth",
}
# Level in the stem against that of a track that carries it, in LU.
_LEVEL_LU: dict[Role, float] = {
    Role.LEAD_GUITAR: 1.0,
    Role.SYNTH_PAD: -4.0,
    Role.ARPEGGIO: -2.0,
    Role.SHAKER: -5.0,
    Role.TAMBOURINE: -4.0,
    Role.AMBIENCE: -8.0,
    Role.VOCAL_DOUBLE: -6.0,
    Role.STRINGS: -1.0,
}


@dataclass(frozen=True)
class Band:
    """What all parts of one song are written and played with.

    Parameters
    ----------
    frames
        Length in samples.
    samples
        Chance that a part is played on one-shots, where there is a bank.
    sparseness
        1 in the middle; above it parts rest in more sections and bars.
    """

    seed: int
    score: Score
    style: Style
    frames: int
    rate: int
    bank: SampleBank | None
    samples: float
    sparseness: float

    def rng(self, *key: int | str) -> np.random.Generator:
        """Return the generator of one part, so that parts do not depend on each other."""
        return rng_of(self.seed, *key)

    def plays(self, rng: np.random.Generator, *, always: float = 0.5) -> str:
        """Return the sections of a part: all with chance ``always``, else a few of them."""
        letters = self.score.letters
        if rng.uniform() < always**self.sparseness:
            return letters
        bars = [section.letter for section in self.score.bars]
        heard = ""
        for letter in rng.permutation(list(letters)):
            if sum(bar in heard for bar in bars) < float(rng.uniform(0.2, 0.8)) * len(bars):
                heard += str(letter)
        return heard


def _rested(song: Band, notes: list[Note], rng: np.random.Generator, *, most: float) -> list[Note]:
    """Return notes without those of some bars: a share of up to ``most`` in the middle."""
    share = min(float(rng.uniform(0.0, most)) * song.sparseness, 0.7)
    silent = rng.uniform(size=len(song.score.bars) + 1) < share
    bars = [int(note.start_s / song.score.bar_s) for note in notes]
    kept = [
        note for note, bar in zip(notes, bars, strict=True) if not silent[min(bar, len(silent) - 1)]
    ]
    return kept or notes


def arrange(song: Band, subgroup: Subgroup) -> list[RawTrack]:
    """Return the tracks of a subgroup."""
    match subgroup:
        case Subgroup.DRUMS:
            return _drums(song)
        case Subgroup.LEAD_VOCALS:
            return _lead(song)
        case Subgroup.DIALOGUE:
            talk = speech(song.frames, song.rng("talk"), rate=song.rate)
            return [RawTrack("Speaker", Role.DIALOGUE, talk[None])]
    tracks: list[RawTrack] = []
    for turn, role in enumerate(draw_roles(subgroup, song.style, song.rng("roles", subgroup))):
        rng = song.rng("part", subgroup, turn)
        match subgroup:
            case Subgroup.PERCUSSION:
                made = [_percussion(song, role, rng)]
            case Subgroup.BACKING_VOCALS:
                made = _backing(song, role, rng)
            case Subgroup.EFFECTS:
                made = [_effect(song, role, rng)]
            case _:
                made = _pitched(song, role, rng)
        level = _LEVEL_LU.get(role, 0.0) + float(rng.normal(0.0, 1.5))
        tracks += [replace(track, level_lu=track.level_lu + level) for track in made]
    return tracks


def _drums(song: Band) -> list[RawTrack]:
    rng = song.rng("drums")
    kind = str(rng.choice(["acoustic", "electronic", "sampled"], p=song.style.kits))
    kit = None
    if kind == "sampled" and song.bank is not None:
        kit = sampled_kit(rng, song.bank)
    if kit is None:
        kit = acoustic_kit(rng) if kind == "acoustic" else electronic_kit(rng)
    manner = str(rng.choice(list(song.style.grooves)))
    hits = groove(song.score, manner, song.plays(rng, always=0.7), rng)
    pieces = strike(kit, hits, song.frames, rng, rate=song.rate)
    if not pieces:
        return []
    chances = (0.75, 0.1, 0.15) if kind == "acoustic" else (0.05, 0.65, 0.3)
    layout = str(rng.choice(["microphones", "outputs", "bounce"], p=chances))
    tracks = drum_tracks(pieces, rng, rate=song.rate, layout=layout)
    loop = _loop(song, "drum_loop", rng) if rng.uniform() < 0.15 else None
    if loop is not None:
        tracks.append(RawTrack("Loop", Role.DRUM_KIT, loop, 0.0, -3.0))
    return [
        replace(track, level_lu=track.level_lu + float(rng.normal(0.0, 2.0))) for track in tracks
    ]


def _loop(song: Band, kind: str, rng: np.random.Generator) -> Audio | None:
    """Return a recorded loop, one turn each one, two or four bars; None without one."""
    names = song.bank.names(kind) if song.bank is not None else ()
    if song.bank is None or not names:
        return None
    sound = song.bank.sound(names[int(rng.integers(len(names)))], sample_rate=song.rate)
    bar = song.score.bar_s * song.rate
    turn = round(bar * min((1, 2, 4), key=lambda n: abs(np.log(n * bar / len(sound)))))
    # Read at another speed, as a sampler would, so that it fits the tempo.
    fitted = np.interp(np.linspace(0, len(sound) - 1, turn), np.arange(len(sound)), sound)
    return np.resize(fitted, song.frames).astype(np.float32)[None]


def _percussion(song: Band, role: Role, rng: np.random.Generator) -> RawTrack:
    loop = None
    if role is Role.PERCUSSION and rng.uniform() < 0.3 * song.samples:
        loop = _loop(song, "percussion_loop", rng)
    if loop is not None:
        return RawTrack("Percussion Loop", role, loop)
    piece = str(rng.choice(_PERCUSSION[role]))
    manners = ("eighths", "sixteenths") if role is Role.SHAKER else ("hands", "sparse", "backbeat")
    pattern = rhythm(rng, str(rng.choice(manners)), bars=1)
    hits = song.score.strokes(song.plays(rng), pattern, piece)
    loose = float(rng.uniform(0.0, 0.01))
    hits = [
        Hit(
            max(hit.start_s + float(rng.normal(0.0, loose)), 0.0),
            piece,
            float(np.clip(hit.velocity * rng.normal(1.0, 0.1), 0.1, 1.0)),
        )
        for hit in hits
    ]
    size = float(rng.uniform(0.75, 1.3))
    stroke = PERCUSSION[piece]
    names = song.bank.names(str(role)) if song.bank is not None else ()
    if song.bank is not None and names and rng.uniform() < song.samples:
        stroke = bank_stroke(song.bank, names[int(rng.integers(len(names)))], rng)
        size = 1.0
    audio = struck(
        lambda velocity, rate, own: stroke(velocity, round(rate / size), own),
        hits,
        song.frames,
        rng,
        rate=song.rate,
    )
    return RawTrack(
        piece.replace("_", " ").title(), role, audio[None], float(rng.uniform(-0.8, 0.8))
    )


def _pitched(song: Band, role: Role, rng: np.random.Generator) -> list[RawTrack]:
    instrument = INSTRUMENTS[role]
    manner = str(rng.choice(instrument.manners))
    centre = float(rng.uniform(*instrument.centre))
    bass = role in {Role.BASS, Role.SYNTH_BASS, Role.DOUBLE_BASS}
    plays = song.plays(rng, always=0.8 if bass else 0.5)
    notes = write_part(song.score, manner, plays, centre, rng)
    most = 0.05 if bass else 0.5 if manner in {"lead", "riff"} else 0.15
    notes = _rested(song, notes, rng, most=most)
    name = str(role).replace("_", " ").title()
    if song.bank is not None and role in _SAMPLED and rng.uniform() < song.samples:
        audio = play_samples(song.bank, _SAMPLED[role], notes, song.frames, rng, rate=song.rate)
        if audio is not None:
            return [RawTrack(name, role, audio[None], 0.0 if bass else _side(rng))]
    guitar = role in {Role.ELECTRIC_GUITAR, Role.ACOUSTIC_GUITAR}
    takes = 2 if guitar and rng.uniform() < 0.3 else 1
    made = play(role, notes, song.score, song.frames, rng, rate=song.rate, takes=takes)
    if takes == 2:
        side = float(rng.uniform(0.5, 1.0))
        return [
            RawTrack(f"{name} L", role, made[0], -side),
            RawTrack(f"{name} R", role, made[1], side),
        ]
    return [RawTrack(name, role, made[0], 0.0 if bass else _side(rng))]


def _side(rng: np.random.Generator) -> float:
    return 0.0 if rng.uniform() < 0.35 else float(rng.uniform(-0.8, 0.8))


def _lead(song: Band) -> list[RawTrack]:
    rng = song.rng("lead")
    person = draw_person(rng)
    notes = song.score.melody(
        song.plays(rng, always=0.7), centre=person.centre, busy=float(rng.uniform(0.2, 0.95))
    )
    notes = _rested(song, notes, rng, most=0.6)
    takes = [("Lead Vocal", Role.LEAD_VOCAL, 0.0)]
    if rng.uniform() < 0.2:
        takes.append(("Lead Double", Role.VOCAL_DOUBLE, float(rng.uniform(-0.4, 0.4))))
    tracks = []
    for k, (name, role, pan) in enumerate(takes):
        timing_ms, dynamics = float(rng.uniform(4.0, 18.0)), float(rng.uniform(0.08, 0.3))
        played = humanise(notes, song.seed, "lead", k, timing_ms=timing_ms, velocity=dynamics)
        audio = sing_part(person, played, song.frames, song.seed + k, rate=song.rate)
        tracks.append(RawTrack(name, role, audio[None], pan, _LEVEL_LU.get(role, 0.0)))
    return tracks


def _backing(song: Band, role: Role, rng: np.random.Generator) -> list[RawTrack]:
    plays = song.plays(rng, always=0.3)
    if role is Role.CHOIR:
        return [RawTrack("Choir", role, choir(song.score, plays, song.frames, rng, rate=song.rate))]
    person = draw_person(rng, backing=True)
    if rng.uniform() < 0.5:  # in thirds, fourths or sixths with the melody
        melody = song.score.melody(plays, centre=person.centre, busy=float(rng.uniform(0.2, 0.8)))
        notes = song.score.harmony(melody, int(rng.choice([-5, -3, -2, 2, 4])))
    else:
        pattern = rhythm(rng, str(rng.choice(["long", "halves", "quarters"])), gate=1.0)
        notes = song.score.line(plays, pattern, centre=person.centre, tone=int(rng.integers(2)))
    notes = _rested(song, notes, rng, most=0.9)
    if song.bank is not None and rng.uniform() < 0.5 * song.samples:
        kind = str(rng.choice(["female_voice", "male_voice", "choir"]))
        audio = play_samples(song.bank, kind, notes, song.frames, rng, rate=song.rate)
        if audio is not None:
            return [RawTrack("BGV", role, audio[None], float(rng.uniform(-0.8, 0.8)))]
    key = int(rng.integers(2**31))
    takes = 2 if rng.uniform() < 0.25 else 1
    side = float(rng.uniform(0.3, 1.0))
    tracks = []
    for k in range(takes):
        played = humanise(notes, key, k, timing_ms=float(rng.uniform(6.0, 22.0)))
        audio = sing_part(person, played, song.frames, key + k, rate=song.rate)
        pan = (-side, side)[k] if takes == 2 else side * (1.0 if key % 2 else -1.0)
        tracks.append(RawTrack(("BGV", "BGV R")[k], role, audio[None], pan))
    return tracks


def _effect(song: Band, role: Role, rng: np.random.Generator) -> RawTrack:
    if role is Role.AMBIENCE:
        loop = _loop(song, "ambience", rng) if rng.uniform() < song.samples else None
        if loop is None:
            loop = ambience(song.frames, rng, rate=song.rate)
        return RawTrack("Ambience", role, loop)
    names = song.bank.names("effect") if song.bank is not None else ()
    if song.bank is None or not names or (role is Role.EFFECT and rng.uniform() < 0.5):
        return RawTrack("FX", Role.EFFECT, effect(song.score, song.frames, rng, rate=song.rate))
    stroke = bank_stroke(song.bank, names[int(rng.integers(len(names)))], rng)
    hits = song.score.strokes(song.plays(rng), rhythm(rng, "sparse"), "sample")
    audio = struck(stroke, hits[:: int(rng.integers(1, 5))], song.frames, rng, rate=song.rate)
    return RawTrack("Sample", role, audio[None], _side(rng))
