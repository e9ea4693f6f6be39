"""The console of the Diff-MST recipe: settings from 0 to 1, and what they do to mono tracks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from pipeline.console.parameters import EqBand
from stage2.console.functional import compressor_reduction_db, eq_response, pan

RATE = 44100
EQ_TAPS = 16384
"""The slowest band has rung out by 150 dB: shorter to compute than a response at every bin."""


@dataclass(frozen=True)
class Range:
    """One setting: what a head's output from 0 to 1 spans."""

    name: str
    low: float
    high: float
    log: bool = False

    def scaled(self, u: Tensor) -> Tensor:
        """Return the setting at ``u`` in 0..1."""
        if self.log:
            return self.low * torch.exp(u * math.log(self.high / self.low))
        return self.low + u * (self.high - self.low)


EQ_RANGES_HZ = {
    "low_shelf": (30.0, 400.0),
    "peak_1": (60.0, 500.0),
    "peak_2": (200.0, 2000.0),
    "peak_3": (800.0, 6000.0),
    "peak_4": (2000.0, 14000.0),
    "high_shelf": (3000.0, 16000.0),
}
SHAPES: dict[str, Literal["low_shelf", "high_shelf"]] = {
    "low_shelf": "low_shelf",
    "high_shelf": "high_shelf",
}
BANDS = tuple(
    EqBand(SHAPES.get(name, "peak"), f"{name}_gain_db", f"{name}_frequency_hz", f"{name}_q")
    for name in EQ_RANGES_HZ
)
PROCESSORS = (
    *(
        setting
        for name, (low, high) in EQ_RANGES_HZ.items()
        for setting in (
            Range(f"{name}_gain_db", -12.0, 12.0),
            Range(f"{name}_frequency_hz", low, high, log=True),
            Range(f"{name}_q", 0.4, 4.0 if name.startswith("peak") else 1.0, log=True),
        )
    ),
    Range("threshold_db", -48.0, 0.0),
    Range("ratio", 1.0, 10.0, log=True),
    Range("attack_ms", 1.0, 100.0, log=True),
    Range("release_ms", 20.0, 500.0, log=True),
    Range("knee_db", 1.0, 12.0),
    Range("makeup_db", 0.0, 12.0),
)
COMPRESSOR = ("threshold_db", "ratio", "attack_ms", "release_ms", "knee_db")
TRACK = (Range("fader_db", -12.0, 12.0), *PROCESSORS, Range("pan", -1.0, 1.0))
MASTER = (Range("fader_db", -12.0, 12.0), *PROCESSORS, Range("output_db", -24.0, 24.0))


def _settings(ranges: Sequence[Range], u: Tensor) -> dict[str, Tensor]:
    return {r.name: r.scaled(u[..., i]) for i, r in enumerate(ranges)}


def _amplitude(gain_db: Tensor) -> Tensor:
    return torch.exp(gain_db * (math.log(10.0) / 20.0))


def _fade(x: Tensor, gain_db: Tensor) -> Tensor:
    return x * _amplitude(gain_db)[..., None, None]


def _process(x: Tensor, settings: Mapping[str, Tensor], sample_rate: int) -> Tensor:
    frequencies = torch.fft.rfftfreq(EQ_TAPS, 1.0 / sample_rate, dtype=torch.float64)
    response = eq_response(settings, BANDS, sample_rate=sample_rate, frequencies_hz=frequencies)
    impulse = torch.fft.irfft(response, EQ_TAPS).to(x.dtype)[:, None]  # (signals, 1, taps)
    length = int(next_fast_len(x.shape[-1] + EQ_TAPS, real=True))
    spectrum = torch.fft.rfft(x, length) * torch.fft.rfft(impulse, length)
    x = _fade(torch.fft.irfft(spectrum, length)[..., : x.shape[-1]], settings["fader_db"])
    reduction_db = compressor_reduction_db(
        x.square().mean(dim=-2),
        **{name: settings[name] for name in COMPRESSOR},
        sample_rate=sample_rate,
    )
    makeup_db = settings["makeup_db"][..., None]
    return x * _amplitude(makeup_db - reduction_db.to(x.dtype))[..., None, :]


def strip(x: Tensor, u: Tensor, *, sample_rate: int) -> Tensor:
    """Return mono tracks (tracks, frames) as they leave their strips, (tracks, 2, frames)."""
    settings = _settings(TRACK, u)
    return pan(_process(x[:, None], settings, sample_rate), settings["pan"])


def master(x: Tensor, u: Tensor, *, sample_rate: int) -> Tensor:
    """Return sums (mixes, 2, frames) as they leave the master bus."""
    settings = _settings(MASTER, u)
    return _fade(_process(x, settings, sample_rate), settings["output_db"])


@dataclass(frozen=True)
class Prediction:
    """Settings from 0 to 1: ``tracks`` (tracks, TRACK) and ``master`` (mixes, MASTER)."""

    tracks: Tensor
    master: Tensor


def mix_down(tracks: Tensor, owners: Tensor, settings: Prediction) -> Tensor:
    """Return the mixes (mixes, 2, frames) of tracks (tracks, frames); owners say whose each is."""
    sums = tracks.new_zeros(len(settings.master), 2, tracks.shape[-1])
    sums = sums.index_add(0, owners, strip(tracks, settings.tracks, sample_rate=RATE))
    return master(sums, settings.master, sample_rate=RATE)
