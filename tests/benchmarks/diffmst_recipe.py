"""A peer for the benchmarks: the recipe of Diff-MST, re-implemented from the paper at small size.

Run ``python tests/benchmarks/diffmst_recipe.py train SONGS OUT.safetensors --minutes 35``. Each
folder in SONGS is a song, with one ``.npy`` a stem: float32 (2, frames) at 44.1 kHz.

As in the paper: two convolutional encoders on ``|STFT|^0.3``; a transformer over the tokens
[tracks, reference left, reference right, effects bus, master]; sigmoid heads; a console of fader,
six-band EQ, compressor and pan on mono tracks, and fader, EQ, compressor, fader on the sum. It
learns by itself: uniformly random settings mix a song's tracks, the mix is cut into halves A and B,
settings are predicted from (tracks B, mix A) and judged against mix B, by a multi-resolution STFT
distance first and by audio features in the last third of the time.

Other than in the paper: two million parameters in place of 191 million; halves of 3 s; this
project's exact EQ and compressor in place of approximations; log-frequency and log-time ranges,
narrower ones; and what is left of the frequency axis is kept by the pooling, because a shallow
network cannot tell high from low otherwise. The effects bus drives nothing, as no reverb is used.

References
----------
S. S. Vanka, C. Steinmetz, J.-B. Rolland, J. Reiss, G. Fazekas, "Diff-MST: Differentiable mixing
style transfer", ISMIR 2024.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import soxr
import torch
from diffmst_console import MASTER, RATE, TRACK, Prediction, master, mix_down, strip
from diffmst_losses import feature_loss, stft_loss
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.loudness.meter import integrated_loudness
from pipeline.units import FloatArray

HALF = 3 * RATE
TRACK_LUFS = -24.0
MIX_LUFS = -16.0
GATE_LUFS = -60.0
MOST_TRACKS = 8
BATCH = 4
LEARNING_RATE = 5e-4
WIDTH = 128


class Encoder(nn.Module):
    """Mono audio (signals, frames) at 44.1 kHz to embeddings (signals, 128)."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(2048), persistent=False)
        layers: list[nn.Module] = []
        channels = (1, 16, 32, 64, 96, WIDTH)
        for i, (before, after) in enumerate(itertools.pairwise(channels)):
            size, stride = (5, 4) if i == 0 else (3, 2)
            layers += [
                nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.blocks = nn.Sequential(*layers)
        self.out = nn.Linear(2 * WIDTH * 16, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Embed."""
        spectrum = torch.stft(x, 2048, 512, window=self.window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        compressed = (power[:, :1024] + 1e-8).pow(0.15)  # (signals, 1024, time)
        h = self.blocks(compressed[:, None])  # (signals, 128, 16, time / 64)
        return cast("Tensor", self.out(torch.cat([h.mean(-1), h.amax(-1)], dim=1).flatten(1)))


class Recipe(nn.Module):
    """The whole network: audio of tracks and reference to settings."""

    def __init__(self) -> None:
        super().__init__()
        self.track_encoder = Encoder()
        self.reference_encoder = Encoder()
        self.kinds = nn.Parameter(0.1 * torch.randn(5, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(
            layer, 4, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False
        )
        self.track_head = nn.Linear(WIDTH, len(TRACK))
        self.master_head = nn.Linear(WIDTH, len(MASTER))

    def forward(self, tracks: Tensor, owners: Tensor, references: Tensor) -> Prediction:
        """Predict settings.

        Parameters
        ----------
        tracks
            Mono tracks of all mixes, those of a mix next to each other, shape (tracks, frames).
        owners
            Which mix each belongs to, shape (tracks,), ascending.
        references
            Shape (mixes, 2, frames).
        """
        mixes = len(references)
        place = torch.arange(len(owners)) - torch.searchsorted(owners, owners)
        most = int(place.max()) + 1
        tokens = tracks.new_zeros(mixes, most + 4, WIDTH)
        absent = torch.ones(mixes, most + 4, dtype=torch.bool)
        absent[owners, place] = False
        absent[:, most:] = False
        tokens[owners, place] = self.track_encoder(tracks) + self.kinds[0]
        sides = self.reference_encoder(references.flatten(0, 1)).reshape(mixes, 2, WIDTH)
        buses = self.kinds[3:].expand(mixes, 2, WIDTH)
        tokens[:, most:] = torch.cat([sides + self.kinds[1:3], buses], dim=1)
        out = self.transformer(tokens, src_key_padding_mask=absent)
        return Prediction(
            torch.sigmoid(self.track_head(out[owners, place])),
            torch.sigmoid(self.master_head(out[:, -1])),
        )


@dataclass(frozen=True)
class Song:
    """Stems on disk, each float32 (2, frames), and the frames that all of them have."""

    stems: tuple[Path, ...]
    frames: int


def open_songs(folder: Path) -> list[Song]:
    """Return the songs under a folder that have two halves' length; no file stays open."""
    songs = []
    for place in sorted(p for p in folder.iterdir() if p.is_dir()):
        stems = tuple(sorted(place.glob("*.npy")))
        frames = min((np.load(x, mmap_mode="r").shape[1] for x in stems), default=0)
        if frames >= 2 * HALF:
            songs.append(Song(stems, frames))
    if not songs:
        msg = f"{folder} has no song of {2 * HALF / RATE:g} s: put stems in {folder}/<song>/*.npy"
        raise ValueError(msg)
    return songs


def _mid(stem: Path, start: int, frames: int) -> FloatArray:
    cut = np.load(stem, mmap_mode="r")[:, start : start + frames]
    return np.asarray(cut.mean(axis=0), np.float32)


def _normalising_gain(x: FloatArray, wanted_lufs: float, sample_rate: int) -> float:
    loudness = integrated_loudness(x, sample_rate=sample_rate)
    return float(10.0 ** ((wanted_lufs - loudness) / 20.0)) if loudness > GATE_LUFS else 0.0


def _sounds(x: FloatArray) -> bool:
    return integrated_loudness(x[None], sample_rate=RATE) > GATE_LUFS


def draw_tracks(songs: Sequence[Song], rng: np.random.Generator) -> FloatArray:
    """Return two halves of 2 to 8 mono tracks of one song, each at -24 LUFS: (tracks, frames)."""
    for _ in range(100):
        song = songs[int(rng.integers(len(songs)))]
        start = int(rng.integers(song.frames - 2 * HALF + 1))
        order = rng.permutation(len(song.stems))[: rng.integers(2, MOST_TRACKS + 1)]
        tracks = [_mid(song.stems[i], start, 2 * HALF) for i in order]
        heard = [
            x * np.float32(_normalising_gain(x[None], TRACK_LUFS, RATE))
            for x in tracks
            if all(_sounds(half) for half in (x[:HALF], x[HALF:]))
        ]
        if len(heard) > 1:
            return np.stack(heard)
    msg = f"100 windows of {2 * HALF / RATE:g} s had no two stems that sound: use fuller songs"
    raise ValueError(msg)


@dataclass(frozen=True)
class Examples:
    """Several examples: tracks of half B (tracks, frames), owners, mixes A and B, the truth."""

    tracks: Tensor
    owners: Tensor
    reference: Tensor
    wanted: Tensor


@torch.no_grad()
def draw_examples(songs: Sequence[Song], rng: np.random.Generator, *, count: int) -> Examples:
    """Mix random tracks by uniformly random settings."""
    drawn = [torch.from_numpy(draw_tracks(songs, rng)) for _ in range(count)]
    owners = torch.repeat_interleave(torch.arange(count), torch.tensor([len(x) for x in drawn]))
    tracks = torch.cat(drawn)
    truth = Prediction(
        torch.from_numpy(rng.random((len(tracks), len(TRACK)), dtype=np.float32)),
        torch.from_numpy(rng.random((count, len(MASTER)), dtype=np.float32)),
    )
    mixes = mix_down(tracks, owners, truth)
    gains = [_normalising_gain(x.numpy(), MIX_LUFS, RATE) for x in mixes]
    mixes = mixes * torch.tensor(gains)[:, None, None]
    return Examples(tracks[:, HALF:], owners, mixes[..., :HALF], mixes[..., HALF:])


def step_loss(model: Recipe, examples: Examples, *, features: bool) -> Tensor:
    """Return the loss of one step, by audio features or by multi-resolution STFT."""
    settings = model(examples.tracks, examples.owners, examples.reference)
    mix = mix_down(examples.tracks, examples.owners, settings)
    return (feature_loss if features else stft_loss)(mix, examples.wanted)


def train(
    folder: Path,
    out: Path,
    *,
    minutes: float,
    seed: int = 0,
    steps: int | None = None,
    batch: int = BATCH,
) -> list[float]:
    """Train, write the weights, and return the loss of each step.

    Parameters
    ----------
    folder
        The songs.
    out
        The safetensors file.
    minutes
        How long, of the processor; the learning rate and the change of loss follow its clock.
    seed
        Of weights, windows and settings.
    steps
        In place of ``minutes``: a number of steps, which the same seed repeats to the bit.
    batch
        Mixes a step.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    songs = open_songs(folder)
    model = Recipe().train()
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=1e-2)
    losses: list[float] = []
    began, cpu_began = time.monotonic(), time.process_time()
    while True:
        elapsed = time.process_time() - cpu_began
        progress = len(losses) / steps if steps else elapsed / (60.0 * minutes)
        if progress >= 1.0:
            break
        warm = min(1.0, (len(losses) + 1) / 100.0)
        rate = LEARNING_RATE * warm * (0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * progress)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        features = progress >= 2.0 / 3.0
        loss = step_loss(model, draw_examples(songs, rng, count=batch), features=features)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if torch.isfinite(nn.utils.clip_grad_norm_(model.parameters(), 1.0)):
            optimiser.step()
        losses.append(float(loss.detach()))
        if len(losses) % 20 == 0:
            speed = len(losses) / (time.monotonic() - began)
            sys.stdout.write(
                f"step {len(losses)} {'features' if features else 'stft'} "
                f"{np.mean(losses[-20:]):.4f}  {speed:.2f} steps/s\n"
            )
            sys.stdout.flush()
    record = {
        "songs": len(songs),
        "steps": len(losses),
        "batch": batch,
        "seed": seed,
        "minutes": (time.monotonic() - began) / 60.0,
        "cpu_minutes": (time.process_time() - cpu_began) / 60.0,
    }
    save_file(model.state_dict(), out, {"training": json.dumps(record)})
    return losses


def _mono_tracks(stem: FloatArray, *, split: bool) -> list[FloatArray]:
    apart = split and not np.array_equal(stem[0], stem[1])
    return [np.asarray(x, np.float32) for x in (stem if apart else stem.mean(0, keepdims=True))]


def _window(audio: FloatArray, start: int, frames: int, sample_rate: int) -> Tensor:
    cut = audio[..., start : start + frames].T
    at_rate = soxr.resample(np.ascontiguousarray(cut), sample_rate, RATE).T[..., :HALF]
    out = np.zeros((*audio.shape[:-1], HALF), np.float32)
    out[..., : at_rate.shape[-1]] = at_rate
    return torch.from_numpy(out)


def _busiest(tracks: FloatArray, frames: int) -> int:
    """Return where the window starts in which most tracks sound, the loudest of those."""
    starts = np.arange(0, max(tracks.shape[1] - frames, 0) + 1, max(frames // 2, 1))
    power = np.stack([np.square(tracks[:, s : s + frames]).mean(1) for s in starts], 1)
    sounding = (power > 1e-3 * power.max(1, keepdims=True)) & (power > 0.0)
    return int(starts[np.lexsort((power.sum(0), sounding.sum(0)))[-1]])


@torch.no_grad()
def mix_with_recipe(
    weights: Path,
    stems: Sequence[FloatArray],
    reference: FloatArray,
    *,
    sample_rate: int,
    split_stereo: bool = False,
) -> FloatArray:
    """Mix stems in the style of a reference.

    Parameters
    ----------
    weights
        What :func:`train` wrote.
    stems
        Each (2, frames), any number, of one length.
    reference
        Shape (2, frames).
    sample_rate
        Of all of them, in Hz.
    split_stereo
        Whether the channels of a stereo stem are two tracks, else its mid is one.

    Returns
    -------
    ndarray
        float32 (2, frames). One window of 3 s sets the whole song.
    """
    model = Recipe().eval()
    model.load_state_dict(load_file(weights))
    frames = round(HALF * sample_rate / RATE)
    mono = [track for stem in stems for track in _mono_tracks(stem, split=split_stereo)]
    tracks = np.stack([x * np.float32(_normalising_gain(x[None], TRACK_LUFS, sample_rate))
                       for x in mono])  # fmt: skip
    start = _busiest(reference, frames)
    gain = _normalising_gain(reference[:, start : start + frames], MIX_LUFS, sample_rate)
    settings = model(
        _window(tracks, _busiest(tracks, frames), frames, sample_rate),
        torch.zeros(len(tracks), dtype=torch.long),
        _window(reference * np.float32(gain), start, frames, sample_rate)[None],
    )
    total = torch.zeros(1, 2, tracks.shape[1])
    for i, x in enumerate(tracks):
        total += strip(
            torch.from_numpy(x)[None], settings.tracks[i : i + 1], sample_rate=sample_rate
        )
    return cast("FloatArray", master(total, settings.master, sample_rate=sample_rate)[0].numpy())


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    trainer = commands.add_parser("train")
    trainer.add_argument("songs", type=Path)
    trainer.add_argument("out", type=Path)
    trainer.add_argument("--minutes", type=float, default=35.0)
    trainer.add_argument("--seed", type=int, default=0)
    trainer.add_argument("--steps", type=int)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    train(chosen.songs, chosen.out, minutes=chosen.minutes, seed=chosen.seed, steps=chosen.steps)


if __name__ == "__main__":
    main()
