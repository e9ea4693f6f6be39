"""How a track of the demo is recorded: a stage, sources on it, and the level of the take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.synth.drums import PERCUSSION, Kit, hear, perform
from pipeline.synth.effects import EFFECTS
from pipeline.synth.filters import filtered
from pipeline.synth.instruments import play
from pipeline.synth.score import Hit, Note, Song, humanise
from pipeline.synth.signals import Signal, hiss, rng_for
from pipeline.synth.vocals import sing
from pipeline.units import FloatArray

__all__ = [
    "Part",
    "Source",
    "Stage",
    "TrackSpec",
    "effect",
    "mic",
    "played",
    "render_track",
    "silence",
    "spread",
    "strokes",
    "sung",
    "trigger",
]


@dataclass(frozen=True)
class Stage:
    """One song, one sample rate, one length: where the tracks are recorded.

    Parameters
    ----------
    seconds
        Length of the recording.
    kit
        The drum kit as struck, where drums are recorded.
    """

    song: Song
    seconds: float
    rate: int
    kit: Kit | None = None

    @property
    def frames(self) -> int:
        """Length in samples."""
        return round(self.seconds * self.rate)


Source = Callable[[Stage, str], Signal]
"""Renders a track of a given name on a stage: ``(frames,)`` or ``(2, frames)``."""
Part = Callable[[Song], Sequence[Note]]


@dataclass(frozen=True)
class TrackSpec:
    """One track of the session.

    Parameters
    ----------
    name
        Path inside the session; its suffix is the format.
    peak_db
        Sample peak in dBFS: raw tracks are at whatever level they were recorded.
    clip_db
        How far above full scale the take was recorded before it clipped; 0 is clean.
    cut
        Whether the file ends soon after its last sound.
    """

    name: str
    peak_db: float
    source: Source
    rate: int = 48000
    subtype: str = "PCM_24"
    clip_db: float = 0.0
    cut: bool = False


def render_track(spec: TrackSpec, stage: Stage) -> FloatArray:
    """Return a track at its recorded level, float32 ``(channels, frames)``."""
    audio = np.atleast_2d(spec.source(stage, spec.name))
    peak = float(np.abs(audio).max(initial=0.0))
    if peak > 0.0:
        audio = audio * (10.0 ** ((spec.peak_db + spec.clip_db) / 20.0) / peak)
        if spec.clip_db:
            audio = np.clip(audio, -(10.0 ** (spec.peak_db / 20.0)), 10.0 ** (spec.peak_db / 20.0))
    if spec.cut:
        level = np.abs(audio).max(axis=0)
        audible = np.flatnonzero(level > 0.003 * level.max(initial=0.0))
        last = int(audible[-1]) if audible.size else 0
        audio = audio[:, : max(last + stage.rate // 2, stage.rate)]
        fade = min(stage.rate // 50, audio.shape[1])
        audio[:, audio.shape[1] - fade :] *= np.linspace(1.0, 0.0, fade)
    return np.ascontiguousarray(audio, dtype=np.float32)


def mic(name: str) -> Source:
    """Return a microphone of the drum kit."""
    return lambda stage, track: hear(_kit(stage), name, seed=stage.song.seed, rate=stage.rate)


def trigger(*components: str) -> Source:
    """Return a sample laid over a drum: its components alone, no bleed."""

    def source(stage: Stage, track: str) -> Signal:
        parts = _kit(stage).parts
        return filtered(
            sum((parts[name] for name in components), np.zeros(stage.frames)),
            highpass_hz=25.0,
            sample_rate=stage.rate,
        )

    return source


def _kit(stage: Stage) -> Kit:
    if stage.kit is None:
        raise ValueError(f"no drum kit was struck on the stage at {stage.rate} Hz")
    return stage.kit


def strokes(plays: str, **layers: str) -> Source:
    """Return percussion heard in the sections ``plays``: ``piece="rhythm"``."""

    def source(stage: Stage, track: str) -> Signal:
        rng = rng_for("hands", track, stage.song.seed)
        out = np.zeros(stage.frames)
        for piece, rhythm in layers.items():
            hits = [
                Hit(
                    max(hit.start_s + float(rng.normal(0.0, 0.006)), 0.0),
                    piece,
                    float(np.clip(hit.velocity * rng.normal(1.0, 0.09), 0.1, 1.0)),
                )
                for hit in stage.song.strokes(plays, rhythm, piece)
            ]
            out += perform(
                PERCUSSION[piece], hits, stage.frames, track, piece, sample_rate=stage.rate
            )
        out = filtered(out, highpass_hz=25.0, sample_rate=stage.rate)
        return _with_hiss(out, track, -80.0)

    return source


def spread(source: Source, late_ms: float) -> Source:
    """Return a mono source heard by a spaced pair."""

    def stereo(stage: Stage, track: str) -> Signal:
        left = source(stage, track + " left")
        right = source(stage, track + " right")
        lag = round(late_ms * stage.rate / 1000.0)
        far = np.zeros_like(left)
        far[lag:] = left[: len(left) - lag]
        return np.stack([left + 0.3 * right, right + 0.3 * far])

    return stereo


def _with_hiss(x: Signal, track: str, level_db: float) -> Signal:
    """Return ``x`` with the noise of its preamplifier, relative to its peak."""
    peak = float(np.abs(x).max(initial=0.0))
    return x + peak * 10.0 ** (level_db / 20.0) * hiss(x.shape[-1], track)


def played(instrument: str, part: Part, *, take: str = "", side: int | None = None) -> Source:
    """Return ``part`` on an instrument; tracks of the same ``take`` share the performance."""

    def source(stage: Stage, track: str) -> Signal:
        key = (take or track, stage.song.seed)
        notes = humanise(part(stage.song), *key)
        out = play(instrument, notes, stage.frames, *key, sample_rate=stage.rate)
        out = _with_hiss(out, track, -82.0)
        return out if side is None else out[side]

    return source


def sung(singer: str, part: Part, *, voices: int = 1, timing_ms: float = 10.0) -> Source:
    """Return ``part`` by one singer or by a few at one microphone."""

    def source(stage: Stage, track: str) -> Signal:
        out = np.zeros(stage.frames)
        for person in range(voices):
            key = (track, person, stage.song.seed)
            notes = humanise(part(stage.song), *key, timing_ms=timing_ms)
            out += sing(singer, notes, stage.frames, *key, sample_rate=stage.rate)
        return _with_hiss(out, track, -76.0)

    return source


def effect(name: str) -> Source:
    """Return a sound effect."""
    return lambda stage, track: EFFECTS[name](
        stage.song, stage.frames, stage.rate, rng_for("effect", track, stage.song.seed)
    )


def silence(stage: Stage, track: str) -> Signal:
    """Return an armed track on which nothing was played."""
    return np.zeros(stage.frames)
