from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch

from pipeline.delivery import fit_delivery
from pipeline.loudness import measure
from pipeline.plan import BUS, STRIP, Aspect, Parameter, default_settings
from pipeline.processors import Bus, Strip
from pipeline.units import FloatArray
from stage2.refine import Refined, RefineOptions, StemInput, blend_settings, refine
from stage2.style import Style, measure_style, style_distance

torch.set_num_threads(1)  # many tiny operations: on a busy machine threads wait for each other

RATE = 44100
TARGET_LUFS, CEILING_DBTP = -14.0, -1.0
QUICK = RefineOptions(rounds=1, steps=12)
Settings = dict[str, float]


@cache
def stems() -> tuple[StemInput, ...]:
    """Return 4 s of drums, bass with harmonics, and wide chords, at one loudness but for a bit."""
    t = np.arange(4 * RATE) / RATE
    draw = np.random.default_rng(5)
    beat = t % 0.5
    kick = np.sin(2 * np.pi * 55.0 * t) * np.exp(-beat / 0.1)
    noise = draw.standard_normal(t.size) * np.exp(-((t + 0.25) % 0.5) / 0.06)
    drums = kick + 0.3 * noise
    note = 55.0 * 2.0 ** (np.array([0, 3, 5, 7])[(t / 0.5).astype(int) % 4] / 12.0)
    phase = 2 * np.pi * np.cumsum(note) / RATE
    bass = sum((np.sin(k * phase) / k**1.5 for k in range(1, 30)), start=np.zeros_like(t))
    bass *= 0.2 + np.exp(-beat / 0.2)
    chords = np.zeros((2, t.size))
    for pitch in (220.0, 277.2, 329.6, 440.0):
        for side in range(2):
            for k in range(1, 20):
                turn = draw.uniform(0.0, 2 * np.pi)
                chords[side] += np.sin(2 * np.pi * pitch * k * t * (1 + 1e-3 * side) + turn) / k
    chords += 0.05 * draw.standard_normal(chords.shape)
    chords *= 0.6 + 0.4 * np.sin(2 * np.pi * 0.5 * t)
    stereo = {
        "drums": np.stack((drums, drums)),
        "bass": np.stack((bass, bass)),
        "chords": chords,
    }
    inputs = []
    for name, audio in stereo.items():
        loudness = measure(audio.astype(np.float32), sample_rate=RATE).integrated_lufs
        inputs.append(
            StemInput(
                name=name,
                audio=(audio * 10 ** ((-26.0 - loudness) / 20)).astype(np.float32),
                gain_db={"drums": 2.0, "bass": -1.0, "chords": 0.0}[name],
                centred=name in ("drums", "bass"),
                max_spread=0.0 if name == "bass" else 0.6,
            )
        )
    return tuple(inputs)


def musical(seed: int) -> tuple[list[Settings], Settings]:
    """Return settings that an engineer might choose, within the guardrails."""
    draw = np.random.default_rng(seed)
    strips = []
    for stem in stems():
        values = default_settings(STRIP)
        values["gain_db"] = stem.gain_db + draw.uniform(-2.0, 2.0)
        for band in ("low_shelf", "low_mid_peak", "high_mid_peak", "high_shelf"):
            values[f"{band}_gain_db"] = draw.uniform(-4.0, 4.0)
        values |= {"threshold_db": -24.0, "ratio": draw.uniform(1.5, 3.0), "attack_ms": 20.0}
        if not stem.centred:
            values |= {"pan": draw.uniform(-0.3, 0.3), "width": draw.uniform(0.5, 1.4)}
        strips.append(values)
    names = [p.name for p in BUS if p.aspect is Aspect.EQ]
    tilt = np.interp(np.arange(len(names)), (0, 10, 20, 28), draw.uniform(-3.0, 3.0, 4))
    bus = default_settings(BUS) | dict(zip(names, tilt.tolist(), strict=True))
    return strips, bus | {"threshold_db": -18.0, "ratio": 1.5, "attack_ms": 30.0}


def rendered(
    strips: Sequence[Settings], bus: Settings, *, target_lufs: float = TARGET_LUFS
) -> tuple[FloatArray, list[FloatArray]]:
    """Return the delivered mix and each stem after its strip, without any crest asked for."""
    outs = [
        Strip(s, sample_rate=RATE).process(stem.audio)
        for s, stem in zip(strips, stems(), strict=True)
    ]
    total = np.asarray(np.sum(outs, axis=0, dtype=np.float64))
    mix = Bus(bus, sample_rate=RATE).process(total)
    out = fit_delivery(
        mix, sample_rate=RATE, target_lufs=target_lufs, ceiling_dbtp=CEILING_DBTP
    )
    return out.audio, outs


def relative_lufs(outs: Sequence[FloatArray]) -> FloatArray:
    """Return the loudness of each stem against the mean of all, in LU."""
    levels = np.array([measure(out, sample_rate=RATE).integrated_lufs for out in outs])
    return levels - levels.mean()


class Case(NamedTuple):
    reference: Style
    audio: FloatArray
    levels_lu: FloatArray


@cache
def case(seed: int) -> Case:
    audio, outs = rendered(*musical(seed))
    return Case(measure_style(audio, sample_rate=RATE), audio, relative_lufs(outs))


def refined(
    reference: Style, options: RefineOptions | None = None, *, aligned: FloatArray | None = None
) -> Refined:
    return refine(
        stems(),
        reference,
        sample_rate=RATE,
        target_lufs=TARGET_LUFS,
        ceiling_dbtp=CEILING_DBTP,
        aligned=aligned,
        options=options,
    )


@cache
def found(seed: int) -> Refined:
    return refined(case(seed).reference)
