"""The demo's drum kit, struck once and heard by many microphones, and its hand percussion.

The kit is a set of sounding components at places in a room; a microphone hears each of them by
distance and angle, and the room on top, so that bleed, delays and polarity come by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from pipeline.synth.filters import convolve, filtered, overdrive, peaking, room_response
from pipeline.synth.oscillators import modal
from pipeline.synth.score import Hit, Song
from pipeline.synth.signals import Signal, decay, hiss, noise, rng_for

__all__ = [
    "COMPONENTS",
    "MICROPHONES",
    "PERCUSSION",
    "Kit",
    "Microphone",
    "hear",
    "perform",
    "strike",
]

_SPEED_OF_SOUND = 343.0
# Round robins and velocity layers: enough that repeated strokes differ.
_VARIANTS = 3
_LAYERS = 5

Stroke = Callable[[float, int, np.random.Generator], Signal]


def _burst(
    seconds: float,
    t60_s: float,
    rate: int,
    rng: np.random.Generator,
    *,
    low_hz: float,
    high_hz: float,
) -> Signal:
    frames = round(seconds * rate)
    out = filtered(noise(frames, rng), highpass_hz=low_hz, lowpass_hz=high_hz, sample_rate=rate)
    return _edged(out * decay(frames, t60_s=t60_s, sample_rate=rate), rate)


def _edged(x: Signal, rate: int) -> Signal:
    """Return ``x`` with a start of 0.2 ms and an end of 5 ms that do not click."""
    rise, fall = max(round(0.0002 * rate), 2), round(0.005 * rate)
    x[:rise] *= np.linspace(0.0, 1.0, rise)
    x[-fall:] *= np.linspace(1.0, 0.0, fall)
    return x


def _skin(
    pitch_hz: float, bend: float, t60_s: float, seconds: float, rate: int, *, overtones: float
) -> Signal:
    """Return a drum head: a tone that falls to ``pitch_hz``, with the modes of a membrane."""
    t = np.arange(round(seconds * rate)) / rate
    out = np.zeros(len(t))
    ratios = (1.0, 1.593, 2.136, 2.653)
    for k, ratio in enumerate(ratios):
        hertz = pitch_hz * ratio * (1.0 + bend * np.exp(-t / 0.035))
        level = 1.0 if k == 0 else overtones / k
        fade = decay(len(t), t60_s=t60_s / (1.0 + 0.9 * k), sample_rate=rate)
        out += level * fade * np.sin(2.0 * np.pi * np.cumsum(hertz) / rate)
    return _edged(out, rate)


def _plate(
    lowest_hz: float, highest_hz: float, count: int, t60_s: float, seconds: float, rate: int,
    rng: np.random.Generator,
) -> Signal:  # fmt: skip
    """Return a cymbal: many inharmonic modes, the high ones dying first."""
    hertz = lowest_hz * (highest_hz / lowest_hz) ** rng.uniform(0.0, 1.0, count)
    fade = t60_s * (lowest_hz / hertz) ** 0.35 * rng.uniform(0.5, 1.2, count)
    level = rng.uniform(0.3, 1.0, count) / math.sqrt(count)
    phase = rng.uniform(0.0, 2.0 * np.pi, count)
    return _edged(
        modal(hertz, level, fade, round(seconds * rate), sample_rate=rate, phase=phase), rate
    )


def _kick_body(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
    pitch = 51.0 * rng.uniform(0.99, 1.01)
    return velocity * _skin(pitch, 1.3, 0.42, 0.5, rate, overtones=0.12 + 0.15 * velocity)


def _kick_beater(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
    click = _burst(0.04, 0.025, rate, rng, low_hz=900.0, high_hz=7000.0)
    knock = modal(np.array([2700.0, 410.0]), np.array([0.5, 0.6]), np.array([0.02, 0.05]), len(click), sample_rate=rate)  # fmt: skip # noqa: E501
    return velocity**1.6 * _edged(0.5 * click + knock, rate)


def _snare_head(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
    body = _skin(186.0 * rng.uniform(0.99, 1.01), 0.12, 0.2, 0.3, rate, overtones=0.5)
    stick = _burst(0.3, 0.03, rate, rng, low_hz=1500.0, high_hz=9000.0)
    return velocity * (body + (0.25 + 0.3 * velocity) * stick)


def _snare_wires(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
    buzz = _burst(0.4, 0.15 + 0.12 * velocity, rate, rng, low_hz=1400.0, high_hz=11000.0)
    return 0.5 * velocity**0.9 * buzz


def _snare2(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
    body = _skin(238.0, 0.1, 0.16, 0.3, rate, overtones=0.6)
    return velocity * (body + 0.6 * _burst(0.3, 0.2, rate, rng, low_hz=2000.0, high_hz=12000.0))


def _hat(t60_s: float) -> Stroke:
    def stroke(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
        seconds = 1.2 * t60_s
        metal = _plate(2800.0, 15000.0, 40, t60_s, seconds, rate, rng)
        air = _burst(seconds, 0.7 * t60_s, rate, rng, low_hz=6500.0, high_hz=17000.0)
        return velocity**1.2 * (0.8 * metal + 0.4 * air[: len(metal)])

    return stroke


def _tom(pitch_hz: float, t60_s: float) -> Stroke:
    def stroke(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
        pitch = pitch_hz * rng.uniform(0.992, 1.008)
        body = _skin(pitch, 0.18 + 0.2 * velocity, t60_s, 1.1 * t60_s, rate, overtones=0.45)
        stick = _burst(0.05, 0.03, rate, rng, low_hz=800.0, high_hz=7000.0)
        body[: len(stick)] += (0.15 + 0.2 * velocity) * stick
        return velocity * body

    return stroke


def _crash(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
    metal = _plate(380.0, 14000.0, 90, 2.6, 2.4, rate, rng)
    wash = _burst(2.4, 1.1, rate, rng, low_hz=4000.0, high_hz=15000.0)
    return velocity**1.3 * (metal + 0.35 * wash)


def _ride(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
    bell = np.array([2380.0, 3560.0, 4730.0, 6210.0])
    ping = modal(bell, np.full(4, 0.35), np.array([0.9, 0.7, 0.5, 0.4]), round(1.4 * rate), sample_rate=rate)  # fmt: skip # noqa: E501
    wash = _plate(520.0, 12000.0, 50, 1.3, 1.4, rate, rng)
    return velocity**1.2 * _edged(ping + 0.6 * wash, rate)


def _bars(
    hertz: tuple[float, ...], t60_s: float, *, click: float = 0.2, seconds: float | None = None
) -> Stroke:
    """Return a stroke on something rigid: bells, blocks, triangles."""

    def stroke(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
        frames = round((1.1 * t60_s if seconds is None else seconds) * rate)
        pitch = np.array(hertz) * rng.uniform(0.997, 1.003)
        fade = t60_s / np.arange(1.0, len(hertz) + 1.0) ** 0.6
        level = 1.0 / np.arange(1.0, len(hertz) + 1.0)
        out = modal(pitch, level, fade, frames, sample_rate=rate)
        hit = _burst(0.02, 0.012, rate, rng, low_hz=1500.0, high_hz=9000.0)
        out[: len(hit)] += click * hit[: len(out)]
        return velocity * _edged(out, rate)

    return stroke


def _hand_drum(pitch_hz: float, t60_s: float, slap: float) -> Stroke:
    def stroke(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
        body = _skin(pitch_hz, 0.06, t60_s, 0.4, rate, overtones=0.3 + 0.4 * velocity)
        palm = _burst(0.4, 0.04, rate, rng, low_hz=700.0, high_hz=6000.0)
        return velocity * (body + slap * velocity * palm)

    return stroke


def _shaken(t60_s: float, swell_s: float, low_hz: float, jingles: int = 0) -> Stroke:
    def stroke(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
        frames = round((swell_s + 1.1 * t60_s) * rate)
        grain = filtered(noise(frames, rng), highpass_hz=low_hz, lowpass_hz=14000.0, sample_rate=rate)  # fmt: skip # noqa: E501
        t = np.arange(frames) / rate
        shape = np.where(t < swell_s, (t / swell_s) ** 2, 10.0 ** (-3.0 * (t - swell_s) / t60_s))
        out = grain * shape
        if jingles:
            metal = _plate(4200.0, 12000.0, jingles, 2.0 * t60_s, frames / rate, rate, rng)
            out = 0.35 * out + 1.5 * metal[:frames]
        return velocity * _edged(out, rate)

    return stroke


def _clap(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
    out = np.zeros(round(0.3 * rate))
    for hand in range(7):
        at = round(float(rng.uniform(0.0, 0.024)) * rate)
        last = 0.16 if hand == 6 else 0.03
        one = _burst(0.25, last, rate, rng, low_hz=700.0, high_hz=6500.0)
        out[at : at + len(one)] += rng.uniform(0.5, 1.0) * one[: len(out) - at]
    return velocity * _edged(out, rate)


def _guiro(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
    out = np.zeros(round(0.24 * rate))
    for notch in range(18):
        at = round((0.004 + 0.011 * notch * (1.0 - 0.012 * notch)) * rate)
        one = _burst(0.02, 0.012, rate, rng, low_hz=1800.0, high_hz=8000.0)
        stop = min(at + len(one), len(out))
        out[at:stop] += (0.4 + 0.03 * notch) * one[: stop - at]
    return velocity * _edged(out, rate)


COMPONENTS: Mapping[str, tuple[Stroke, str]] = {
    # component: (its sound, the piece whose strokes it answers)
    "kick_body": (_kick_body, "kick"),
    "kick_beater": (_kick_beater, "kick"),
    "snare_head": (_snare_head, "snare"),
    "snare_wires": (_snare_wires, "snare"),
    "snare2": (_snare2, "snare2"),
    "hat": (_hat(0.09), "hat"),
    "open": (_hat(0.55), "open"),
    "tom1": (_tom(142.0, 0.5), "tom1"),
    "tom2": (_tom(112.0, 0.6), "tom2"),
    "floor": (_tom(82.0, 0.8), "floor"),
    "floor2": (_tom(68.0, 0.9), "floor2"),
    "crash": (_crash, "crash"),
    "ride": (_ride, "ride"),
}

PERCUSSION: Mapping[str, Stroke] = {
    "shaker": _shaken(0.07, 0.03, 4500.0),
    "cabasa": _shaken(0.05, 0.05, 6000.0),
    "tambourine": _shaken(0.16, 0.004, 5000.0, jingles=24),
    "conga_hi": _hand_drum(248.0, 0.24, 0.7),
    "conga_lo": _hand_drum(172.0, 0.34, 0.4),
    "bongo": _hand_drum(392.0, 0.14, 0.8),
    "timbale": _hand_drum(318.0, 0.3, 0.5),
    "cowbell": _bars((562.0, 845.0, 1410.0), 0.28),
    "block": _bars((1180.0, 2690.0), 0.08),
    "triangle": _bars((1620.0, 4510.0, 6840.0, 9200.0), 1.6, click=0.1),
    "clap": _clap,
    "guiro": _guiro,
}

# Metres: right of the drummer, in front of the drummer, above the floor.
_PLACES: Mapping[str, tuple[float, float, float]] = {
    "kick_body": (0.0, 0.5, 0.3),
    "kick_beater": (0.0, 0.3, 0.3),
    "snare_head": (-0.25, 0.05, 0.68),
    "snare_wires": (-0.25, 0.05, 0.54),
    "snare2": (-0.75, 0.1, 0.65),
    "hat": (-0.6, 0.15, 0.9),
    "open": (-0.6, 0.15, 0.9),
    "tom1": (-0.17, 0.5, 0.85),
    "tom2": (0.2, 0.5, 0.85),
    "floor": (0.5, 0.05, 0.65),
    "floor2": (0.95, -0.05, 0.6),
    "crash": (-0.65, 0.6, 1.25),
    "ride": (0.65, 0.5, 1.05),
}


@dataclass(frozen=True)
class Microphone:
    """Where a microphone stands, what it points at, and how it sounds.

    Parameters
    ----------
    place
        Metres right of, before and above the drummer's stool.
    aim
        The component it points at; bleed from behind is 12 dB down. Empty is omnidirectional.
    room
        Level of the room's answer against the direct sound.
    drive
        Above 0 the preamplifier is driven into distortion.
    flipped
        Components heard from their other side, so in opposite polarity.
    """

    place: tuple[float, float, float]
    aim: str = ""
    highpass_hz: float = 30.0
    lowpass_hz: float = 19000.0
    presence_db: float = 3.0
    room: float = 0.03
    t60_s: float = 0.35
    drive: float = 0.0
    flipped: tuple[str, ...] = ()


MICROPHONES: Mapping[str, Microphone] = {
    "kick_in": Microphone((0.0, 0.42, 0.3), "kick_body", presence_db=6.0, room=0.01),
    "kick_out": Microphone((0.0, 0.85, 0.35), "kick_body", lowpass_hz=12000.0, presence_db=-2.0),
    "kick_sub": Microphone((0.0, 0.95, 0.3), "kick_body", lowpass_hz=110.0, presence_db=0.0),
    "snare_top": Microphone((-0.25, 0.13, 0.74), "snare_head", highpass_hz=60.0, presence_db=4.0),
    "snare_bottom": Microphone(
        (-0.25, 0.08, 0.46), "snare_wires", highpass_hz=90.0, flipped=("snare_head",)
    ),
    "snare2": Microphone((-0.75, 0.18, 0.71), "snare2", highpass_hz=70.0),
    "hat": Microphone((-0.66, 0.2, 1.03), "hat", highpass_hz=250.0),
    "tom1": Microphone((-0.17, 0.58, 0.92), "tom1", highpass_hz=45.0),
    "tom2": Microphone((0.2, 0.58, 0.92), "tom2", highpass_hz=40.0),
    "floor": Microphone((0.5, 0.13, 0.72), "floor"),
    "floor2": Microphone((0.95, 0.03, 0.67), "floor2"),
    "crash": Microphone((-0.7, 0.65, 1.5), "crash", highpass_hz=200.0),
    "ride": Microphone((0.7, 0.55, 1.25), "ride", highpass_hz=150.0),
    "overhead_left": Microphone((-0.55, 0.25, 1.75), presence_db=2.0, room=0.12),
    "overhead_right": Microphone((0.55, 0.25, 1.75), presence_db=2.0, room=0.12),
    "near_left": Microphone((-1.0, 2.4, 1.2), room=0.6, t60_s=0.5),
    "near_right": Microphone((1.0, 2.4, 1.2), room=0.6, t60_s=0.5),
    "far_left": Microphone((-2.2, 5.0, 1.8), lowpass_hz=13000.0, room=1.6, t60_s=0.9),
    "far_right": Microphone((2.2, 5.0, 1.8), lowpass_hz=13000.0, room=1.6, t60_s=0.9),
    "trash": Microphone((0.3, 1.5, 0.8), lowpass_hz=7500.0, room=0.7, drive=9.0),
}


def perform(
    stroke: Stroke, hits: Iterable[Hit], frames: int, *key: str | int, sample_rate: int
) -> Signal:
    """Return ``frames`` samples of strokes, each from a few velocity layers and variants."""
    out = np.zeros(frames)
    takes: dict[tuple[int, int], Signal] = {}
    for turn, hit in enumerate(hits):
        layer = max(round(hit.velocity * _LAYERS), 1)
        chosen = (layer, turn % _VARIANTS)
        if chosen not in takes:
            takes[chosen] = stroke(layer / _LAYERS, sample_rate, rng_for(*key, *chosen))
        sound = takes[chosen]
        start = round(hit.start_s * sample_rate)
        stop = min(start + len(sound), frames)
        if start < frames:
            out[start:stop] += sound[: stop - start] * (hit.velocity * _LAYERS / layer)
    return out


@dataclass(frozen=True)
class Kit:
    """The components of a kit as struck, heard dry from a metre away, and their sum."""

    parts: Mapping[str, Signal]
    together: Signal


def strike(song: Song, frames: int, *, rate: int) -> Kit:
    """Return the drum kit playing the groove of a song."""
    parts = {}
    for name, (stroke, piece) in COMPONENTS.items():
        hits = [hit for hit in song.groove if hit.piece == piece]
        parts[name] = perform(stroke, hits, frames, "kit", song.seed, name, sample_rate=rate)
    return Kit(parts, sum(parts.values(), np.zeros(frames)))


def hear(kit: Kit, name: str, *, seed: int, rate: int) -> Signal:
    """Return what a microphone of :data:`MICROPHONES` picks up of a kit."""
    mic = MICROPHONES[name]
    out = np.zeros(len(kit.together))
    for part, sound in kit.parts.items():
        gain, late = _path(name, part)
        lag = round(late * rate)
        out[lag:] += gain * sound[: len(out) - lag]
    if mic.room:
        response = room_response(
            mic.t60_s, sample_rate=rate, rng=rng_for("kit room", seed, name), predelay_s=0.004
        )
        out += mic.room * convolve(kit.together, response)
    if mic.drive:
        out = overdrive(out, drive=mic.drive, bias=0.1, sample_rate=rate)
    if mic.presence_db:
        out = peaking(out, 4200.0, mic.presence_db, q=0.8, sample_rate=rate)
    out = filtered(out, highpass_hz=mic.highpass_hz, lowpass_hz=mic.lowpass_hz, sample_rate=rate)
    level = 10.0 ** (-84.0 / 20.0) * float(np.abs(out).max(initial=0.0))
    return out + level * hiss(len(out), "kit", seed, name)


@cache
def _path(name: str, part: str) -> tuple[float, float]:
    """Return gain and delay in seconds from a component to a microphone."""
    mic = MICROPHONES[name]
    place, source = np.array(mic.place), np.array(_PLACES[part])
    distance = max(float(np.linalg.norm(source - place)), 0.05)
    gain = 1.0 / distance
    if mic.aim:
        axis = np.array(_PLACES[mic.aim]) - place
        cosine = float(axis @ (source - place)) / (float(np.linalg.norm(axis)) * distance)
        gain *= 0.625 + 0.375 * cosine
    return (-gain if part in mic.flipped else gain), distance / _SPEED_OF_SOUND
