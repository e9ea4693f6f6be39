"""Songs as training sees them, and the examples that are drawn from them.

An example is a set of stems, a passage of theirs, and the figures of a reference: another passage
of the same song, mixed with settings that are known, or another song altogether. What is to be
copied is never in the passage that is heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor

from pipeline.console.parameters import BUS, STRIP
from pipeline.units import FloatArray
from stage2.console.action_space import Reach
from stage2.console.band_model import BandModel, ModelledMix
from stage2.console.search_space import StemGuard, stem_guards
from stage2.console.statistics import Digest, digest_stems
from stage2.controller.inputs import StemFigures, encode_stems
from stage2.priors.engineers import bus_prior, strip_prior
from stage2.style.broad import before_limiter
from stage2.style.measure import FineBands
from stage2.training.settings_prior import Settings, draw_settings

__all__ = [
    "Example",
    "TrainingSong",
    "Truth",
    "digest_song",
    "draw_example",
    "load_song",
    "save_song",
]

_SAME_SONG = 0.65
_MOST_STEMS = 16
_MOST_WINDOWS = 3
_PASSAGE_S = 6.0
_MOST_PASSAGES = 8
_START_SPREAD_DB = 1.0
_NAMED = 0.8
_WORKING_DB = -20.0
_MOST_SPREAD = STRIP.parameter("spread").safe_high
_SILENT_POWER = 1e-8


@dataclass(frozen=True)
class TrainingSong:
    """The stems of a song, digested passage by passage.

    Parameters
    ----------
    name
        For messages.
    subgroups, gains_db, centred, max_spread
        Of each stem: its name, the fader that gives the intended balance, and its guardrails.
    passages
        At least two digests of the same stems.
    """

    name: str
    subgroups: tuple[str, ...]
    gains_db: tuple[float, ...]
    centred: tuple[bool, ...]
    max_spread: tuple[float, ...]
    passages: tuple[Digest, ...]


@dataclass(frozen=True)
class Truth:
    """What the reference was made with, where it is the same song.

    Parameters
    ----------
    strips, bus
        The settings in the tables' units.
    frames, stem_lufs
        What they make of the passage that is heard: power per style frame and fine band, and the
        loudness of each stem.
    """

    strips: Tensor
    bus: Tensor
    frames: Tensor
    stem_lufs: Tensor


@dataclass(frozen=True)
class Example:
    """One thing to learn from.

    ``reference`` holds the broad figures that are wanted of the mix, ``(HEARD_FIGURES,)``;
    ``balanced`` is the mix that is departed from, and ``subgroups`` its stems' names as far as they
    are known.
    """

    model: BandModel
    stems: StemFigures
    reach: Reach
    reference: Tensor
    reference_windows: Tensor
    balanced: ModelledMix
    subgroups: tuple[str, ...]
    truth: Truth | None


@dataclass(frozen=True)
class _Cut:
    """Some stems of a song."""

    song: TrainingSong
    chosen: tuple[int, ...]

    def passages(self, indices: Sequence[int]) -> Digest:
        """Return the digest of some passages one after the other."""
        return _joined([_subset(self.song.passages[i], self.chosen) for i in indices])


def _subset(digest: Digest, chosen: Sequence[int]) -> Digest:
    """Return the digest of some stems."""
    if tuple(chosen) == tuple(range(digest.stems)):
        return digest
    rows = list(chosen)
    index = np.asarray([3 * i + k for i in rows for k in range(3)])
    return replace(
        digest,
        cross=digest.cross[:, index][:, :, index],
        envelope=digest.envelope[rows],
        frames=digest.frames[rows],
        level_offset_lu=digest.level_offset_lu[rows],
    )


def _joined(digests: Sequence[Digest]) -> Digest:
    """Return the digest of passages of equal length, played one after the other."""
    if len(digests) == 1:
        return digests[0]
    return replace(
        digests[0],
        cross=np.mean([d.cross for d in digests], axis=0),
        envelope=np.concatenate([d.envelope for d in digests], axis=1),
        frames=np.concatenate([d.frames for d in digests], axis=1),
        level_offset_lu=np.mean([d.level_offset_lu for d in digests], axis=0),
    )


def digest_song(
    name: str,
    stems: Mapping[str, FloatArray],
    *,
    sample_rate: int,
    gains_db: Mapping[str, float],
    centred: Mapping[str, bool],
    max_spread: Mapping[str, float],
) -> TrainingSong:
    """Digest the stems of a song, passage by passage.

    Parameters
    ----------
    name
        Of the song.
    stems
        ``(2, frames)`` each, all of one length.
    sample_rate
        In Hz.
    gains_db, centred, max_spread
        Of each stem: the fader that gives the intended balance, and its guardrails.

    Returns
    -------
    TrainingSong
        Of the passages in which something sounds, spread over the song; there may be too few of
        them to train on.
    """
    names = list(stems)
    frames = stems[names[0]].shape[1]
    length = round(_PASSAGE_S * sample_rate)
    starts = np.linspace(0, frames - length, min(frames // length, _MOST_PASSAGES)).astype(int)
    passages = []
    for start in starts if frames >= length else []:
        pieces = [np.ascontiguousarray(stems[n][:, start : start + length]) for n in names]
        power = [float(np.square(piece, dtype=np.float64).mean()) for piece in pieces]
        if max(power) > _SILENT_POWER:
            passages.append(digest_stems(pieces, sample_rate=sample_rate))
    return TrainingSong(
        name=name,
        subgroups=tuple(names),
        gains_db=tuple(gains_db[n] for n in names),
        centred=tuple(centred[n] for n in names),
        max_spread=tuple(max_spread[n] for n in names),
        passages=tuple(passages),
    )


def _sounding(digest: Digest) -> list[int]:
    power = digest.frames.mean(axis=(1, 2))
    return [i for i in range(digest.stems) if power[i] > 1e-5 * power.max()]


def _cut(song: TrainingSong, heard: Sequence[int], rng: np.random.Generator) -> _Cut:
    """Return all stems that sound in the passages heard, or half of the time some of them."""
    chosen = sorted({stem for i in heard for stem in _sounding(song.passages[i])})
    if len(chosen) > 2 and rng.random() < 0.5:
        keep = int(rng.integers(2, len(chosen) + 1))
        chosen = sorted(rng.choice(chosen, size=keep, replace=False).tolist())
    return _Cut(song, tuple(chosen[:_MOST_STEMS]))


def _start(cut: _Cut, digest: Digest, rng: np.random.Generator) -> list[float]:
    """Return faders of the intended balance, at the working level, a little off."""
    gains = np.asarray([cut.song.gains_db[i] for i in cut.chosen])
    gains = gains + rng.normal(0.0, _START_SPREAD_DB, gains.size)
    power = digest.frames.mean(axis=1).sum(axis=1)  # of each stem
    whole = 10.0 * np.log10(float((power * 10.0 ** (gains / 10.0)).sum()) + 1e-12)
    return [float(np.clip(g - whole + _WORKING_DB, -47.0, 23.0)) for g in gains]


def _tensors(strips: list[Settings], bus: Settings) -> tuple[Tensor, Tensor]:
    rows = [[strip[p.name] for p in STRIP] for strip in strips]
    return (
        torch.tensor(rows, dtype=torch.float64),
        torch.tensor([bus[p.name] for p in BUS], dtype=torch.float64),
    )


@dataclass(frozen=True)
class _Mix:
    """Stems of a song in some passages, the balance that is departed from, and settings."""

    cut: _Cut
    digest: Digest
    gains_db: list[float]
    guards: tuple[StemGuard, ...]
    strips: Tensor
    bus: Tensor

    def figures(self, passages: Sequence[int]) -> Tensor:
        """Return the figures of the mix of each passage, ``(passages, HEARD_FIGURES)``."""
        digests = [self.cut.passages([i]) for i in passages]
        mixes = [BandModel(d)(self.strips, self.bus).features for d in digests]
        return before_limiter(torch.stack(mixes)).float()


def _mix(song: TrainingSong, heard: Sequence[int], rng: np.random.Generator) -> _Mix:
    cut = _cut(song, heard, rng)
    digest = cut.passages(heard)
    gains = _start(cut, digest, rng)
    guards = stem_guards(
        digest,
        centred=[song.centred[i] for i in cut.chosen],
        max_spread=[min(song.max_spread[i], _MOST_SPREAD) for i in cut.chosen],
    )
    names = [song.subgroups[i] for i in cut.chosen]
    strips, bus = draw_settings(names, rng, gains_db=gains, guards=guards)
    return _Mix(cut, digest, gains, guards, *_tensors(strips, bus))


@torch.no_grad()
def draw_example(songs: Sequence[TrainingSong], rng: np.random.Generator) -> Example:
    """Draw an example.

    Parameters
    ----------
    songs
        At least one, of at least two passages each.
    """
    song = songs[int(rng.integers(len(songs)))]
    order = rng.permutation(len(song.passages)).tolist()
    count = int(rng.integers(1, min(3, len(order))))
    heard, others = sorted(order[:count]), sorted(order[count : count + _MOST_WINDOWS])
    mix = _mix(song, heard, rng)
    model = BandModel(mix.digest)
    truth = None
    if len(songs) == 1 or rng.random() < _SAME_SONG:
        windows = mix.figures(others)
        mixed = model(mix.strips, mix.bus, with_frames=True)
        assert mixed.frames is not None
        truth = Truth(mix.strips, mix.bus, mixed.frames, mixed.stem_lufs)
    else:
        other = songs[int(rng.integers(len(songs)))]
        played = sorted(rng.permutation(len(other.passages))[:_MOST_WINDOWS].tolist())
        windows = _mix(other, played, rng).figures(played)
    reference = windows.mean(dim=0)
    gains, chosen = mix.gains_db, mix.cut.chosen
    subgroups = tuple(song.subgroups[i] for i in chosen)
    # Sessions of one's own have names of their own, which say nothing.
    names = [name if rng.random() < _NAMED else "" for name in subgroups]
    neutral = torch.tensor([[p.default for p in STRIP]] * len(gains), dtype=torch.float64)
    neutral[:, STRIP.columns["gain_db"]] = torch.tensor(gains, dtype=torch.float64)
    flat = torch.tensor([p.default for p in BUS], dtype=torch.float64)
    return Example(
        model=model,
        stems=encode_stems(mix.digest, gains_db=gains, subgroups=names, guards=mix.guards),
        reach=Reach(
            gains_db=gains,
            guards=mix.guards,
            typical=[*(strip_prior(name).typical() for name in names), bus_prior().typical()],
        ),
        subgroups=tuple(names),
        reference=reference,
        reference_windows=windows,
        balanced=model(neutral, flat),
        truth=truth,
    )


def save_song(song: TrainingSong, path: Path) -> None:
    """Write a song to a safetensors file."""
    arrays: dict[str, np.ndarray] = {}
    for index, digest in enumerate(song.passages):
        arrays[f"{index}.cross.real"] = digest.cross.real.astype(np.float32)
        arrays[f"{index}.cross.imag"] = digest.cross.imag.astype(np.float32)
        arrays[f"{index}.envelope"] = digest.envelope.astype(np.float32)
        arrays[f"{index}.frames"] = digest.frames.astype(np.float32)
        arrays[f"{index}.level_offset_lu"] = digest.level_offset_lu.astype(np.float32)
    for name in ("gains_db", "centred", "max_spread"):
        arrays[name] = np.asarray(getattr(song, name), dtype=np.float32)
    first = song.passages[0]
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        path,
        metadata={
            "name": song.name,
            "subgroups": "\n".join(song.subgroups),
            "sample_rate": str(first.sample_rate),
            "frame_s": repr(first.frame_s),
            "passages": str(len(song.passages)),
        },
    )


def load_song(path: Path) -> TrainingSong:
    """Read a song that :func:`save_song` wrote."""
    arrays = load_file(path)
    with safe_open(path, framework="numpy") as file:
        about = file.metadata()
    rate = int(about["sample_rate"])
    bands = FineBands.at(rate)
    passages = tuple(
        Digest(
            sample_rate=rate,
            bands=bands,
            cross=arrays[f"{i}.cross.real"] + 1j * arrays[f"{i}.cross.imag"].astype(np.float64),
            envelope=arrays[f"{i}.envelope"].astype(np.float64),
            frames=arrays[f"{i}.frames"].astype(np.float64),
            level_offset_lu=arrays[f"{i}.level_offset_lu"].astype(np.float64),
            frame_s=float(about["frame_s"]),
        )
        for i in range(int(about["passages"]))
    )
    return TrainingSong(
        name=about["name"],
        subgroups=tuple(about["subgroups"].split("\n")),
        gains_db=tuple(float(v) for v in arrays["gains_db"]),
        centred=tuple(bool(v) for v in arrays["centred"]),
        max_spread=tuple(float(v) for v in arrays["max_spread"]),
        passages=passages,
    )
