"""The training set of recognition by sound: thousands of short tracks, each measured once.

An example is drawn by a generator that depends on the seed and the example's own number, so the
set does not depend on the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from pipeline.audio.samples import HeldSamples
from pipeline.demo.stage import Stage
from pipeline.demo.tracks import TRACKS
from pipeline.loudness.meter import EnergyMeter
from pipeline.roles import Role
from pipeline.synth.drums import strike
from pipeline.synth.score import compose
from pipeline.synth.signals import Signal
from pipeline.units import Float32Array
from stage1.recognition.classifier import CLASS_OF
from stage1.recognition.recognise import recognise
from stage1.recognition.training.augment import augmented
from stage1.recognition.training.drums import DRUMS
from stage1.recognition.training.guitars import amplifier
from stage1.recognition.training.instruments import INSTRUMENTS
from stage1.recognition.training.performance import (
    Manner,
    phrase,
    play_hits,
    play_notes,
    sing_notes,
)
from stage1.recognition.training.recordings import SAMPLE_RATE, Corpus, Shots
from stage1.timbre.descriptors import measure_timbre

__all__ = ["TrainingSet", "build_examples"]

SECONDS = (9.0, 20.0)
DEMO_SONGS = 4
DEMO_SECONDS = 18.0
VARIANTS = 18
"""Of each recorded track, besides the plain one."""
INSTRUMENT_EXAMPLES = 75
SHOT_EXAMPLES = 26
KIT_EXAMPLES = 220


@dataclass(frozen=True)
class TrainingSet:
    """A measured training set.

    Parameters
    ----------
    timbre
        ``(examples, descriptors)``.
    roles, sources
        Of each example.
    plain
        Whether it is a recorded track as it is, which held-out scores are of.
    """

    timbre: Float32Array
    roles: tuple[Role, ...]
    sources: tuple[str, ...]
    plain: npt.NDArray[np.bool_]


_SYNTHESISED = {**INSTRUMENTS, **DRUMS}


@dataclass(frozen=True)
class _Job:
    """One example, or the few that share a file."""

    kind: str
    index: int
    seed: tuple[int, ...]


_Row = tuple[tuple[float, ...], Role, str, bool]


@lru_cache(maxsize=1)
def _corpus(folder: Path) -> Corpus:
    return Corpus(folder)


@lru_cache(maxsize=1)
def _bleed(seed: int) -> tuple[Signal, ...]:
    """Return some seconds of other instruments, as a microphone may hear them."""
    roles = (Role.ELECTRIC_GUITAR, Role.BASS, Role.LEAD_VOCAL, Role.SYNTH, Role.PIANO)
    made = [
        INSTRUMENTS[role][0](np.random.default_rng([seed, 99, k]), 6.0, SAMPLE_RATE)
        for k, role in enumerate(roles)
    ]
    kit = strike(compose(seed + 99, 6.0), 6 * SAMPLE_RATE, rate=SAMPLE_RATE)
    return (*made, kit.together)


@lru_cache(maxsize=1)
def _demo_stage(seed: int) -> Stage:
    song = compose(seed, DEMO_SECONDS, other=bool(seed % 2))
    frames = round(DEMO_SECONDS * SAMPLE_RATE)
    return Stage(song, DEMO_SECONDS, SAMPLE_RATE, strike(song, frames, rate=SAMPLE_RATE))


def _measured(audio: Signal) -> tuple[float, ...]:
    block = np.ascontiguousarray(audio, np.float32)
    meter = EnergyMeter(sample_rate=SAMPLE_RATE, channels=block.shape[0])
    meter.process(block)
    return measure_timbre(HeldSamples(block, sample_rate=SAMPLE_RATE), active=meter.active())


_WANTED: Mapping[Role, float] = {Role.BASS: 4.0, Role.ACOUSTIC_GUITAR: 2.5}
"""How many more of what few recordings show and many sessions have."""


def _jobs(corpus: Corpus, seed: int, scale: float) -> list[_Job]:
    jobs = [_Job("recorded", k, (seed, 1, k)) for k in range(len(corpus.recordings))]
    for k, shots in enumerate(corpus.shots):
        more = 1.0 + 0.35 * len(shots.manners)
        wanted = _WANTED.get(shots.role, 1.0)
        count = round(
            scale * SHOT_EXAMPLES * wanted * more * min(1.0, 0.4 + 0.15 * len(shots.paths))
        )
        jobs += [_Job("shots", k, (seed, 2, k, n)) for n in range(count)]
    for k, (_, share) in enumerate(_SYNTHESISED.values()):
        count = round(scale * INSTRUMENT_EXAMPLES * share)
        jobs += [_Job("instrument", k, (seed, 3, k, n)) for n in range(count)]
    jobs += [_Job("kit", 0, (seed, 4, n)) for n in range(round(scale * KIT_EXAMPLES))]
    for song in range(max(round(scale * DEMO_SONGS), 1)):
        jobs += [_Job("demo", k, (seed, 5, song, k)) for k in range(len(TRACKS))]
    return jobs


def _rows(task: tuple[Path, int, float, _Job]) -> list[_Row]:
    folder, seed, scale, job = task
    rng = np.random.default_rng(list(job.seed))
    maker: Callable[..., Iterator[tuple[Signal, Role, str, bool]]] = _MAKERS[job.kind]
    rows = []
    for audio, role, source, plain in maker(_corpus(folder), job, rng, scale):
        if not plain:
            audio = augmented(audio, rng, sample_rate=SAMPLE_RATE, bleed=_bleed(seed))
        timbre = _measured(audio)
        if any(timbre):
            rows.append((timbre, role, source, plain))
    return rows


def _recorded(
    corpus: Corpus, job: _Job, rng: np.random.Generator, scale: float
) -> Iterator[tuple[Signal, Role, str, bool]]:
    recording = corpus.recordings[job.index]
    audio = recording.load()
    if float(np.abs(audio).max(initial=0.0)) < 1e-4:
        return
    yield np.asarray(audio, np.float64), recording.role, recording.source, True
    sounding = np.flatnonzero(np.abs(audio).max(axis=0) > 0.02 * np.abs(audio).max())
    more = 2.0 if recording.role == Role.LEAD_VOCAL else 1.0
    for _ in range(round(scale * VARIANTS * more)):
        frames = round(float(rng.uniform(*SECONDS)) * SAMPLE_RATE)
        middle = int(sounding[int(rng.integers(len(sounding)))])
        first = int(np.clip(middle - frames // 2, 0, max(audio.shape[1] - frames, 0)))
        piece = np.asarray(audio[:, first : first + frames], np.float64)
        yield piece, recording.role, recording.source, False


_REGISTERS: Mapping[Role, tuple[int, int]] = {
    Role.BASS: (26, 52),
    Role.SYNTH_BASS: (26, 50),
    Role.ELECTRIC_GUITAR: (38, 78),
    Role.ACOUSTIC_GUITAR: (40, 74),
    Role.PLUCKED: (48, 76),
    Role.PIANO: (30, 86),
    Role.MALLET: (52, 84),
    Role.SYNTH: (45, 84),
    Role.STRINGS: (38, 84),
    Role.FLUTE: (58, 90),
    Role.SAXOPHONE: (46, 76),
}
"""MIDI pitches that each plays between."""


def _performed(
    shots: Shots, role: Role, manner: str, rng: np.random.Generator, seconds: float
) -> Signal:
    sounds = shots.sounds
    register = _REGISTERS.get(role, (40, 76))
    if manner == "loop":
        loop = sounds[int(rng.integers(len(sounds)))]
        first = int(rng.integers(len(loop)))
        return np.resize(np.roll(loop, -first), round(seconds * SAMPLE_RATE))
    if manner == "sung":
        line: Manner = "line" if rng.uniform() < 0.5 else "lead"
        notes = phrase(line, rng, seconds=seconds, low=50, high=62)
        gap = float(rng.uniform(0.0, 0.6))
        notes = [note for note in notes if rng.uniform() > 0.3 * gap]
        return sing_notes(sounds, notes, rng, seconds=seconds, sample_rate=SAMPLE_RATE)
    if manner.startswith("notes:"):
        kind = cast("Manner", manner.removeprefix("notes:"))
        low, high = register
        span = int(rng.integers(9, 20))
        start = int(rng.integers(low, max(high - span, low) + 1))
        notes = phrase(kind, rng, seconds=seconds, low=start, high=min(start + span, high))
        return play_notes(
            sounds, shots.pitches, notes, rng, seconds=seconds, sample_rate=SAMPLE_RATE
        )
    return play_hits(sounds, manner, rng, seconds=seconds, sample_rate=SAMPLE_RATE)


def _from_shots(
    corpus: Corpus, job: _Job, rng: np.random.Generator, scale: float
) -> Iterator[tuple[Signal, Role, str, bool]]:
    shots = corpus.shots[job.index]
    manner = shots.manners[int(rng.integers(len(shots.manners)))]
    role = shots.role
    strings = role == Role.ACOUSTIC_GUITAR and "notes:strum" in shots.manners
    if strings and rng.uniform() < 0.2:
        # The low strings an octave down: thicker ones on a longer neck.
        role, manner = Role.BASS, "notes:bass"
    out = _performed(shots, role, manner, rng, float(rng.uniform(*SECONDS)))
    if role in {Role.ACOUSTIC_GUITAR, Role.ELECTRIC_GUITAR} and rng.uniform() < 0.6:
        out, role = amplifier(out, rng, SAMPLE_RATE), Role.ELECTRIC_GUITAR
    yield out[None], role, shots.source, False


def _kit(
    corpus: Corpus, job: _Job, rng: np.random.Generator, scale: float
) -> Iterator[tuple[Signal, Role, str, bool]]:
    """Several pieces of a kit, as its overheads or its room hear them, or its submix."""
    seconds = float(rng.uniform(*SECONDS))
    source = "oneshots" if rng.uniform() < 0.8 else "berklee"
    out = np.zeros(round(seconds * SAMPLE_RATE))
    tilt = float(rng.uniform(-0.8, 0.8))
    bright = {Role.HI_HAT, Role.CYMBAL}
    bpm = float(rng.uniform(72.0, 172.0))
    for shots in corpus.shots:
        if shots.source != source or shots.role not in {
            Role.KICK, Role.SNARE, Role.HI_HAT, Role.CYMBAL, Role.TOM,
        }:  # fmt: skip
            continue
        if shots.role in {Role.TOM, Role.CYMBAL} and rng.uniform() < 0.4:
            continue
        manner = shots.manners[int(rng.integers(len(shots.manners)))]
        x = play_hits(shots.sounds, manner, rng, seconds=seconds, sample_rate=SAMPLE_RATE, bpm=bpm)
        level = {Role.KICK: 1.0, Role.SNARE: 0.8, Role.TOM: 0.6}.get(shots.role, 0.3)
        gain = level * 10.0 ** (float(rng.normal(0.0, 3.0)) / 20.0)
        out += gain * x * 10.0 ** (tilt * (0.5 if shots.role in bright else -0.5))
    yield out[None], Role.DRUM_KIT, source, False


def _instrument(
    corpus: Corpus, job: _Job, rng: np.random.Generator, scale: float
) -> Iterator[tuple[Signal, Role, str, bool]]:
    role, (make, _) = list(_SYNTHESISED.items())[job.index]
    yield make(rng, float(rng.uniform(*SECONDS)), SAMPLE_RATE)[None], role, "synthesised", False


def _demo(
    corpus: Corpus, job: _Job, rng: np.random.Generator, scale: float
) -> Iterator[tuple[Signal, Role, str, bool]]:
    spec = TRACKS[job.index]
    role = recognise([track.name for track in TRACKS])[job.index].role
    if role not in CLASS_OF or role == Role.DOUBLE_BASS:
        return
    stage = _demo_stage(job.seed[0] * 100 + job.seed[2])
    yield np.atleast_2d(spec.source(stage, spec.name)), role, "synthesised", False


_MAKERS = {
    "recorded": _recorded,
    "shots": _from_shots,
    "kit": _kit,
    "instrument": _instrument,
    "demo": _demo,
}


def build_examples(
    folder: Path, *, seed: int = 1, scale: float = 1.0, workers: int = 1
) -> TrainingSet:
    """Make and measure the training set.

    Parameters
    ----------
    folder
        Holds the sets; see :class:`stage1.recognition.training.recordings.Corpus`.
    seed
        Another seed gives another, equally good set.
    scale
        Size of the set; 0.8 is five thousand examples.
    workers
        Processes; the result does not depend on it.

    Returns
    -------
    TrainingSet

    Raises
    ------
    FileNotFoundError
        If a set is not there.
    """
    jobs = _jobs(Corpus(folder), seed, scale)
    tasks = [(folder, seed, scale, job) for job in jobs]
    rows: list[_Row] = []
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            for examples in pool.map(_rows, tasks, chunksize=8):
                rows += examples
    else:
        for task in tasks:
            rows += _rows(task)
    return TrainingSet(
        np.array([row[0] for row in rows], np.float32),
        tuple(CLASS_OF[row[1]] for row in rows),
        tuple(row[2] for row in rows),
        np.array([row[3] for row in rows]),
    )
