"""How the tracks of a song of the corpus are recorded: microphones, rooms, noise and levels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import signal

from pipeline.roles import SUBGROUP_OF, Role, Subgroup
from stage2.corpus.drums import RawTrack
from stage2.corpus.effects import Audio, coloured, compressed, room, saturated, tone_response
from stage2.corpus.score import log_uniform

__all__ = ["Studio", "draw_studio", "record"]

_NOISE_FRAMES = 2**20
_MICROPHONED = frozenset(
    {
        Subgroup.PERCUSSION,
        Subgroup.GUITARS,
        Subgroup.STRINGS,
        Subgroup.WINDS,
        Subgroup.LEAD_VOCALS,
        Subgroup.BACKING_VOCALS,
        Subgroup.DIALOGUE,
    }
)
_WIDE_ROLES = frozenset(
    {Role.PIANO, Role.STRINGS, Role.CHOIR, Role.SYNTH_PAD, Role.ORGAN, Role.BRASS,
     Role.ACOUSTIC_GUITAR, Role.MALLET, Role.BACKING_VOCAL, Role.SYNTH, Role.KEYS}
)  # fmt: skip
_VOICES = frozenset({Subgroup.LEAD_VOCALS, Subgroup.BACKING_VOCALS, Subgroup.DIALOGUE})
# What the synthesised instruments lack in treble, in dB per octave.
_TILT_DB = {Subgroup.KEYS: 1.5, Subgroup.WINDS: 1.5, Subgroup.LEAD_VOCALS: 0.5}
_LOW_ROLES = frozenset({Role.KICK, Role.BASS, Role.SYNTH_BASS, Role.DOUBLE_BASS})


@dataclass(frozen=True)
class Studio:
    """What the tracks of one song share.

    Parameters
    ----------
    t60_s, brightness
        Of its room.
    wet
        How reverberant its recordings are, 1 in the middle.
    noise_db
        Of its preamplifiers, against a track's level.
    mains_hz
        50 or 60.
    bleed_db
        How loud the others are at a microphone; ``-inf`` where all play alone.
    tilt_db
        Slope of its sound in dB per octave.
    processed
        Share of tracks that were treated while they were recorded.
    """

    t60_s: float
    brightness: float
    wet: float
    noise_db: float
    mains_hz: float
    bleed_db: float
    tilt_db: float
    processed: float


def draw_studio(rng: np.random.Generator) -> Studio:
    """Return a studio, from a dead booth to a church, from a laptop to a desk."""
    return Studio(
        t60_s=log_uniform(rng, 0.15, 2.0),
        brightness=float(rng.uniform(0.1, 0.95)),
        wet=log_uniform(rng, 0.3, 3.0),
        noise_db=float(rng.uniform(-95.0, -48.0)),
        mains_hz=float(rng.choice([50.0, 60.0])),
        bleed_db=float(rng.uniform(-45.0, -22.0)) if rng.uniform() < 0.25 else -np.inf,
        tilt_db=float(rng.normal(0.0, 0.6)),
        processed=float(rng.uniform(0.0, 0.8)),
    )


def record(
    tracks: list[RawTrack], studio: Studio, rng: np.random.Generator, *, rate: int
) -> list[Audio]:
    """Return the audio of each track as its file has it, ``(1 or 2, frames)``."""
    taken = [_taken(track, studio, rng, rate) for track in tracks]
    loud = [_level(x) for x in taken]
    if np.isfinite(studio.bleed_db):
        taken = _with_bleed(tracks, taken, loud, studio, rng)
    return [
        _put_down(track, x, level, studio, rng, rate)
        for track, x, level in zip(tracks, taken, loud, strict=True)
    ]


def _level(x: Audio) -> float:
    """Return the level of the loud parts: the mean square of what exceeds the overall one."""
    # Every eighth sample is enough for a level.
    power = x[:, ::8].astype(np.float64) ** 2
    mean = float(power.mean())
    return float(np.sqrt(power[power >= 0.5 * mean].mean())) if mean > 0.0 else 0.0


def _taken(track: RawTrack, studio: Studio, rng: np.random.Generator, rate: int) -> Audio:
    """Return a track through its microphone, in its room, and what it was treated with."""
    x = track.audio
    low_hz = log_uniform(rng, 15.0, 45.0) if track.role in _LOW_ROLES else log_uniform(rng, 20, 140)
    high_hz = log_uniform(rng, 4500.0, 18000.0) if rng.uniform() < 0.25 else None
    tilt_db = studio.tilt_db + float(rng.normal(0.0, 1.1))
    tilt_db += _TILT_DB.get(SUBGROUP_OF[track.role], 0.0)
    voice = SUBGROUP_OF[track.role] in _VOICES
    response: Audio = tone_response(
        rng,
        rate,
        low_hz=low_hz,
        high_hz=high_hz,
        tilt_db=tilt_db,
        presence_db=float(rng.normal(5.0, 3.0)) if voice else 0.0,
    )
    if not track.wet:
        response = _in_room(response, track, studio, rng, rate)
        if len(np.atleast_2d(response)) > len(x):
            x = np.concatenate([x, x])
    x = coloured(x, response)
    if rng.uniform() < studio.processed:
        x = compressed(x, rng, rate)
    if rng.uniform() < 0.25:
        x = saturated(x, drive=log_uniform(rng, 0.1, 2.0), bias=float(rng.uniform(0.0, 0.2)))
    return x


def _in_room(
    response: Audio, track: RawTrack, studio: Studio, rng: np.random.Generator, rate: int
) -> Audio:
    """Return a response with the room in it; two rows make a pair of microphones."""
    subgroup = SUBGROUP_OF[track.role]
    bass = track.role in _LOW_ROLES
    pair = len(track.audio) == 2 or rng.uniform() < (0.35 if track.role in _WIDE_ROLES else 0.04)
    printed = rng.uniform() < 0.22 and not bass  # a reverberator, not a room
    if not printed and not pair and (bass or subgroup not in _MICROPHONED):
        return response
    t60_s = log_uniform(rng, 0.4, 2.5) if printed else studio.t60_s
    wet = log_uniform(rng, 0.1, 0.8) if printed else log_uniform(rng, 0.02, 0.15) * studio.wet
    wide = pair or (printed and rng.uniform() < 0.6)
    rows = []
    for side in range(2 if wide else 1):
        predelay_s = log_uniform(rng, 0.002, 0.04)
        answer = room(rng, rate, t60_s=t60_s, brightness=studio.brightness, predelay_s=predelay_s)
        answer *= np.float32(wet)
        answer[round(side * rng.uniform(0.0, 0.0008) * rate)] += 1.0
        rows.append(signal.oaconvolve(answer, response))
    size = max(len(row) for row in rows)
    return np.stack([np.pad(row, (0, size - len(row))) for row in rows]).astype(np.float32)


def _with_bleed(
    tracks: list[RawTrack],
    taken: list[Audio],
    loud: list[float],
    studio: Studio,
    rng: np.random.Generator,
) -> list[Audio]:
    heard = [SUBGROUP_OF[track.role] in _MICROPHONED or track.wet for track in tracks]
    played = [x.mean(axis=0) / max(level, 1e-9) for x, level in zip(taken, loud, strict=True)]
    total = np.sum(
        [x for x, live in zip(played, heard, strict=True) if live] or [0.0 * played[0]], axis=0
    )
    out = []
    for x, own, level, live, track in zip(taken, played, loud, heard, tracks, strict=True):
        if live and not track.wet:
            gain = level * 10.0 ** ((studio.bleed_db + float(rng.normal(0.0, 4.0))) / 20.0)
            late = int(rng.integers(100, 700))
            others = np.float32(gain) * (total - own)
            x = x + np.concatenate([np.zeros(late, np.float32), others[:-late]])
        out.append(np.asarray(x, np.float32))
    return out


def _put_down(
    track: RawTrack,
    x: Audio,
    level: float,
    studio: Studio,
    rng: np.random.Generator,
    rate: int,
) -> Audio:
    """Return a track with its noise, at the level of its file, within full scale."""
    if level == 0.0:
        return np.zeros_like(x)
    x = x * np.float32(1.0 / level)
    noise_db = studio.noise_db + float(rng.normal(0.0, 6.0))
    if noise_db > -85.0:
        x += np.float32(10.0 ** (min(noise_db, -38.0) / 20.0)) * _hiss(x.shape, rng)
    if SUBGROUP_OF[track.role] in _MICROPHONED and rng.uniform() < 0.5:
        gain = 10.0 ** (float(rng.uniform(-65.0, -33.0)) / 20.0)
        x += np.float32(gain) * _rumble(x.shape[1], rng)
    electric = SUBGROUP_OF[track.role] in {Subgroup.GUITARS, Subgroup.BASS, Subgroup.KEYS}
    if rng.uniform() < (0.3 if electric else 0.06):
        gain = 10.0 ** (float(rng.uniform(-70.0, -38.0)) / 20.0)
        x += np.float32(gain) * _hum(x.shape[1], studio.mains_hz, rate)
    if rng.uniform() < 0.08:
        x += np.float32(10.0 ** (float(rng.uniform(-70.0, -35.0)) / 20.0))
    gain_db = float(np.clip(rng.normal(-20.0, 6.5), -36.0, -8.0))
    x *= np.float32(10.0 ** (gain_db / 20.0))
    peak = float(np.abs(x).max())
    if rng.uniform() < 0.05:  # recorded too hot
        x *= np.float32(10.0 ** (float(rng.uniform(1.0, 6.0)) / 20.0) / peak)
        return np.clip(x, -1.0, 1.0, dtype=np.float32)
    return np.asarray(x * np.float32(0.97 / peak), np.float32) if peak > 0.97 else x


@lru_cache(maxsize=1)
def _noise() -> Audio:
    return np.random.default_rng(0).standard_normal(_NOISE_FRAMES, dtype=np.float32)


@lru_cache(maxsize=1)
def _low_noise() -> Audio:
    # Steps, traffic and breath at a microphone: 1/f noise from 20 to 150 Hz, roughly.
    low = signal.lfilter([1.0, -1.0], [1.0, -0.997], _noise())
    low = signal.lfilter([1.0], [1.0, -0.985], low)
    return np.asarray(low / low.std(), np.float32)


def _rumble(frames: int, rng: np.random.Generator) -> Audio:
    first = int(rng.integers(_NOISE_FRAMES))
    return np.resize(np.roll(_low_noise(), -first), frames)


def _hiss(shape: tuple[int, ...], rng: np.random.Generator) -> Audio:
    """Return noise of unit variance: one long take, begun elsewhere for each channel."""
    rows = []
    for _ in range(shape[0]):
        first = int(rng.integers(_NOISE_FRAMES))
        rows.append(np.resize(np.roll(_noise(), -first), shape[1]))
    return np.stack(rows)


@lru_cache(maxsize=8)
def _hum(frames: int, mains_hz: float, rate: int) -> Audio:
    t = np.arange(rate) / rate
    second = sum(np.sin(2 * np.pi * mains_hz * k * t + k) / k for k in range(1, 10))
    return np.resize(np.asarray(second, np.float32), frames)
