"""Unlimited multitrack music from seeds, to train a controller on.

A seed decides everything: style, tempo, key, form, who plays, on what, in which room, how it is
recorded. The same seed, length, rate and samples give the same song with the same versions.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tomlkit

from pipeline.audio.stream import write
from pipeline.loudness.meter import integrated_loudness
from pipeline.roles import SUBGROUP_OF
from pipeline.session.settings import SESSION_TOML
from pipeline.units import FloatArray
from stage2.corpus.arrangement import Band, arrange
from stage2.corpus.drums import RawTrack
from stage2.corpus.lineup import draw_style, draw_subgroups
from stage2.corpus.recording import draw_studio, record
from stage2.corpus.samples import SampleBank
from stage2.corpus.score import compose_score, log_uniform, rng_of

__all__ = ["CorpusSong", "CorpusTrack", "SampleBank", "make_song", "write_song"]

_STEM_LUFS = -26.0
# Below it a drum that is made at a lower rate has no room for its treble.
_LOWEST_RATE_HZ = 22050
# A seed whose parts all rest is rare; its next variant is then taken.
_VARIANTS = 8


@dataclass(frozen=True)
class CorpusTrack:
    """One raw track.

    Parameters
    ----------
    subgroup, role
        Values of :class:`~pipeline.roles.Subgroup` and :class:`~pipeline.roles.Role`.
    audio
        ``(1 or 2, frames)``, float32, at the level it was recorded.
    pan
        Where its stem has it, from -1, left, to 1, right.
    level_lu
        Its loudness in the stem against that of a track that carries it.
    """

    name: str
    subgroup: str
    role: str
    audio: FloatArray
    pan: float = 0.0
    level_lu: float = 0.0


@dataclass(frozen=True)
class CorpusSong:
    """A song as raw tracks of one length."""

    seed: int
    sample_rate: int
    tempo_bpm: float
    tracks: tuple[CorpusTrack, ...]

    def stems(self) -> dict[str, FloatArray]:
        """Return each subgroup's tracks in a plausible balance, ``(2, frames)`` float32.

        A track that carries its stem is at -26 LUFS; others lie above or below it by their role
        and by chance. Mono tracks are panned at constant power, stereo ones keep their image.
        """
        stems: dict[str, FloatArray] = {}
        for track in self.tracks:
            lufs = integrated_loudness(track.audio, sample_rate=self.sample_rate)
            if not np.isfinite(lufs):
                continue
            gain = 10.0 ** ((_STEM_LUFS + track.level_lu - lufs) / 20.0)
            out = stems.setdefault(track.subgroup, np.zeros((2, track.audio.shape[1]), np.float32))
            out += _placed(track) * np.float32(gain)
        return stems


def _placed(track: CorpusTrack) -> FloatArray:
    """Return a track in stereo; a mono one is as loud as before."""
    if len(track.audio) == 2:
        return track.audio
    turn = 0.25 * np.pi * (1.0 + track.pan)
    return np.asarray(track.audio * np.array([[np.cos(turn)], [np.sin(turn)]], np.float32))


def make_song(
    seed: int,
    *,
    seconds: float = 30.0,
    sample_rate: int = 44100,
    samples: SampleBank | None = None,
) -> CorpusSong:
    """Return the song of a seed, two to ten stems of one or more tracks each.

    Parameters
    ----------
    seed
        0 or more.
    seconds
        Length of the tracks, 2 or more.
    sample_rate
        In Hz, 22050 or more.
    samples
        One-shots that some parts are played on; without it all is synthesised.

    Raises
    ------
    ValueError
        If ``seed`` is negative, ``seconds`` is under 2 or ``sample_rate`` under 22050.
    """
    if seed < 0 or not seconds >= 2.0 or sample_rate < _LOWEST_RATE_HZ:
        msg = (
            f"seed {seed}, {seconds:g} s and {sample_rate} Hz make no song: use a seed from 0, "
            f"2 s or more and at least {_LOWEST_RATE_HZ} Hz"
        )
        raise ValueError(msg)
    for variant in range(_VARIANTS):
        rng = rng_of(seed, "song", variant)
        song = _make(seed, int(rng.integers(2**31)), seconds, sample_rate, samples)
        if len({track.subgroup for track in song.tracks}) >= 2:
            break
    return song


def _make(
    seed: int, key: int, seconds: float, sample_rate: int, samples: SampleBank | None
) -> CorpusSong:
    rng = rng_of(key, "make")
    style = draw_style(rng)
    swing = float(rng.uniform(0.08, 0.34)) if rng.uniform() < style.swing else 0.0
    score = compose_score(key, seconds, bpm=style.bpm, swing=swing)
    frames = round(seconds * sample_rate)
    sampled = float(rng.choice([0.0, 0.0, 0.3, 0.7]))
    sparseness = log_uniform(rng, 0.5, 2.5)
    song = Band(key, score, style, frames, sample_rate, samples, sampled, sparseness)
    raw = [
        track
        for subgroup in draw_subgroups(style, rng)
        for track in arrange(song, subgroup)
        if np.abs(track.audio).max(initial=0.0) > 0.0
    ]
    taken = record(raw, draw_studio(rng), rng_of(key, "record"), rate=sample_rate)
    names = _distinct(raw)
    tracks = tuple(
        CorpusTrack(
            name, str(SUBGROUP_OF[track.role]), str(track.role), audio, track.pan, track.level_lu
        )
        for name, track, audio in zip(names, raw, taken, strict=True)
    )
    return CorpusSong(seed, sample_rate, score.bpm, tracks)


def _distinct(tracks: list[RawTrack]) -> list[str]:
    """Return the names, numbered where two are the same."""
    names: list[str] = []
    for track in tracks:
        name, number = track.name, 1
        while name in names:
            number += 1
            name = f"{track.name} {number}"
        names.append(name)
    return names


def write_song(song: CorpusSong, folder: Path) -> None:
    """Write a song as a session: raw tracks as 24-bit FLAC, and ``session.toml`` with their roles.

    The folder appears when it is whole.

    Raises
    ------
    FileExistsError
        If ``folder`` is there already.
    """
    folder = Path(folder)
    if folder.exists():
        msg = f"{folder} exists: name a new folder"
        raise FileExistsError(msg)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    part.mkdir()
    try:
        settings = tomlkit.document()
        settings["sample_rate"] = song.sample_rate
        rules = tomlkit.aot()
        for number, track in enumerate(song.tracks, start=1):
            name = f"{number:02d} {track.name}.flac"
            write(
                part / name,
                track.audio,
                sample_rate=song.sample_rate,
                format="flac",
                subtype="PCM_24",
            )
            rule = tomlkit.table()
            rule.update({"match": name, "role": track.role, "subgroup": track.subgroup})
            rules.append(rule)
        settings["track"] = rules
        (part / SESSION_TOML).write_text(tomlkit.dumps(settings), encoding="utf-8")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
