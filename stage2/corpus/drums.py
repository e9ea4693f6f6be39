"""The drums and percussion of the corpus: kits, what strikes them and what hears them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.roles import Role
from pipeline.synth.drums import COMPONENTS, PERCUSSION
from pipeline.synth.filters import filtered
from pipeline.synth.score import Hit
from pipeline.synth.signals import Signal, decay, noise
from stage2.corpus.effects import Audio, coloured, room, saturated, tone_response
from stage2.corpus.samples import SampleBank, resampled
from stage2.corpus.score import log_uniform

__all__ = ["PIECES", "RawTrack", "acoustic_kit", "drum_tracks", "electronic_kit", "sampled_kit",
           "strike", "struck"]  # fmt: skip

PIECES = ("kick", "snare", "hat", "open", "tom1", "tom2", "floor", "crash", "ride")

_LAYERS = 3
_TAKES = 2
Stroke = Callable[[float, int, np.random.Generator], Signal]

_ROLES: Mapping[str, Role] = {
    "kick": Role.KICK,
    "snare": Role.SNARE,
    "hat": Role.HI_HAT,
    "tom": Role.TOM,
    "cymbal": Role.CYMBAL,
}
# Each track of a kit that has no microphones: the pieces on it.
_OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "kick": ("kick",),
    "snare": ("snare",),
    "hat": ("hat", "open"),
    "tom": ("tom1", "tom2", "floor"),
    "cymbal": ("crash", "ride"),
}
_SIDES: Mapping[str, float] = {
    "kick": 0.0, "snare": 0.1, "hat": 0.55, "open": 0.55, "tom1": 0.25, "tom2": -0.2,
    "floor": -0.55, "crash": 0.7, "ride": -0.7,
}  # fmt: skip


@dataclass(frozen=True)
class RawTrack:
    """A track before it is recorded.

    Parameters
    ----------
    audio
        ``(1 or 2, frames)`` at any level.
    pan
        Where its stem has it, from -1, left, to 1.
    level_lu
        Its loudness in the stem against that of a track that carries it.
    wet
        Whether its room is already in it.
    """

    name: str
    role: Role
    audio: Audio
    pan: float = 0.0
    level_lu: float = 0.0
    wet: bool = False


def struck(
    stroke: Stroke, hits: Sequence[Hit], frames: int, rng: np.random.Generator, *, rate: int
) -> Audio:
    """Return strokes, shape ``(frames,)``, from a few velocity layers in two takes."""
    out = np.zeros(frames, np.float32)
    made: dict[tuple[int, int], Audio] = {}
    for turn, hit in enumerate(hits):
        layer = max(round(hit.velocity * _LAYERS), 1)
        chosen = (layer, turn % _TAKES)
        if chosen not in made:
            made[chosen] = stroke(layer / _LAYERS, rate, rng).astype(np.float32)
        sound = made[chosen]
        start = round(hit.start_s * rate)
        stop = min(start + len(sound), frames)
        if start < frames:
            out[start:stop] += sound[: stop - start] * np.float32(hit.velocity * _LAYERS / layer)
    return out


def acoustic_kit(rng: np.random.Generator) -> dict[str, Stroke]:
    """Return a drum set of shells and bronze of drawn sizes."""
    shells, bronze = log_uniform(rng, 0.75, 1.3), log_uniform(rng, 0.75, 1.3)
    beater, wires = log_uniform(rng, 0.15, 2.0), log_uniform(rng, 0.4, 2.5)
    kit: dict[str, Stroke] = {}
    for piece in PIECES:
        size = bronze if piece in {"hat", "open", "crash", "ride"} else shells
        size *= log_uniform(rng, 0.9, 1.1)
        match piece:
            case "kick":
                kit[piece] = _sized(size, ("kick_body", 1.0), ("kick_beater", beater))
            case "snare":
                kit[piece] = _sized(size, ("snare_head", 1.0), ("snare_wires", wires))
            case _:
                kit[piece] = _sized(size, (piece, 1.0))
    return kit


def _sized(size: float, *components: tuple[str, float]) -> Stroke:
    """Return strokes on components as if all were ``size`` times as high."""

    def stroke(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
        # Made at another rate and played at this one, a drum is smaller or larger.
        made = [
            gain * COMPONENTS[name][0](velocity, round(rate / size), rng)
            for name, gain in components
        ]
        return _summed(made)

    return stroke


def _summed(sounds: Sequence[Signal]) -> Signal:
    out = np.zeros(max(len(sound) for sound in sounds))
    for sound in sounds:
        out[: len(sound)] += sound
    return out


def electronic_kit(rng: np.random.Generator) -> dict[str, Stroke]:
    """Return the drums of a machine, each synthesised."""
    metal = rng.uniform(1.0, 4.0, 6)
    base, noisy = log_uniform(rng, 220.0, 700.0), float(rng.uniform(0.0, 1.0))
    low = log_uniform(rng, 4000.0, 8500.0)
    tom = log_uniform(rng, 65.0, 130.0)
    fall, bend = log_uniform(rng, 0.015, 0.15), log_uniform(rng, 0.2, 1.5)

    def cymbal(t60_s: float) -> Stroke:
        return _metallic(base * metal, t60_s=t60_s, low_hz=low, noisy=noisy)

    def skin(hertz: float) -> Stroke:
        return _falling(hertz, bend=bend, fall_s=fall, t60_s=log_uniform(rng, 0.2, 0.9), click=0.2)

    snare = PERCUSSION["clap"] if rng.uniform() < 0.2 else _noisy_snare(rng)
    return {
        "kick": _falling(
            log_uniform(rng, 36.0, 62.0),
            bend=log_uniform(rng, 0.8, 7.0),
            fall_s=log_uniform(rng, 0.008, 0.06),
            t60_s=log_uniform(rng, 0.15, 1.6),
            click=float(rng.choice([0.0, log_uniform(rng, 0.05, 0.8)])),
        ),
        "snare": snare,
        "hat": cymbal(log_uniform(rng, 0.03, 0.12)),
        "open": cymbal(log_uniform(rng, 0.2, 0.7)),
        "tom1": skin(2.0 * tom),
        "tom2": skin(1.5 * tom),
        "floor": skin(tom),
        "crash": cymbal(log_uniform(rng, 1.0, 2.2)),
        "ride": cymbal(log_uniform(rng, 0.3, 0.8)),
    }


def _falling(hertz: float, *, bend: float, fall_s: float, t60_s: float, click: float) -> Stroke:
    def stroke(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
        frames = round(1.1 * t60_s * rate) + 64
        t = np.arange(frames) / rate
        turns = hertz * (t - bend * fall_s * np.expm1(-t / fall_s))
        out = np.sin(2.0 * np.pi * turns) * decay(frames, t60_s=t60_s, sample_rate=rate)
        short = min(round(0.012 * rate), frames)
        out[:short] += click * noise(short, rng) * np.linspace(1.0, 0.0, short) ** 2
        return velocity * out * np.minimum(1.0, np.arange(frames) / (0.0008 * rate))

    return stroke


def _noisy_snare(rng: np.random.Generator) -> Stroke:
    body_hz = log_uniform(rng, 150.0, 300.0)
    ratio, tone = float(rng.uniform(1.4, 2.2)), log_uniform(rng, 0.2, 1.5)
    t60_s, body_s = log_uniform(rng, 0.08, 0.45), log_uniform(rng, 0.06, 0.25)
    low, high = log_uniform(rng, 500.0, 3000.0), log_uniform(rng, 6000.0, 16000.0)

    def stroke(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
        frames = round(1.1 * max(t60_s, body_s) * rate)
        t = np.arange(frames) / rate
        body = np.sin(2 * np.pi * body_hz * t) + 0.6 * np.sin(2 * np.pi * body_hz * ratio * t)
        hiss = filtered(noise(frames, rng), highpass_hz=low, lowpass_hz=high, sample_rate=rate)
        body *= tone * decay(frames, t60_s=body_s, sample_rate=rate)
        return velocity * (body + hiss * decay(frames, t60_s=t60_s, sample_rate=rate))

    return stroke


def _metallic(hertz: Signal, *, t60_s: float, low_hz: float, noisy: float) -> Stroke:
    """Return a cymbal of square waves, as drum machines have it, and noise."""

    def stroke(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
        frames = round(1.1 * t60_s * rate) + 64
        t = np.arange(frames) / rate
        out = noisy * noise(frames, rng)
        for f in hertz:
            out += (1.0 - noisy) * 0.5 * np.sign(np.sin(2 * np.pi * (f * t + rng.uniform())))
        out = filtered(out, highpass_hz=min(low_hz, 0.4 * rate), sample_rate=rate)
        return velocity * out * decay(frames, t60_s=t60_s, sample_rate=rate)

    return stroke


def sampled_kit(rng: np.random.Generator, bank: SampleBank) -> dict[str, Stroke] | None:
    """Return a kit of one-shots, or None where the bank has no kick, snare or hi-hat."""
    kit: dict[str, Stroke] = {}
    for piece in PIECES:
        kind = piece.rstrip("12")
        kind = {"floor": "tom", "open": "open_hat", "hat": "hat"}.get(kind, kind)
        names = bank.names(kind)
        if names:
            kit[piece] = bank_stroke(bank, names[int(rng.integers(len(names)))], rng)
    return kit if {"kick", "snare", "hat"} <= set(kit) else None


def bank_stroke(bank: SampleBank, name: str, rng: np.random.Generator) -> Stroke:
    """Return strokes that play a one-shot at a drawn tuning."""
    ratio = 2.0 ** (float(rng.normal(0.0, 2.0)) / 12.0)

    def stroke(velocity: float, rate: int, rng: np.random.Generator) -> Signal:
        sound = bank.sound(name, sample_rate=rate)[: 3 * rate]
        tuning = ratio * 2.0 ** (float(rng.normal(0.0, 10.0)) / 1200.0)
        played = np.array(resampled(sound, tuning), np.float64)
        edge = min(round(0.01 * rate), len(played))
        played[len(played) - edge :] *= np.linspace(1.0, 0.0, edge)
        return np.asarray(velocity * played)

    return stroke


def strike(
    kit: Mapping[str, Stroke],
    hits: Sequence[Hit],
    frames: int,
    rng: np.random.Generator,
    *,
    rate: int,
) -> dict[str, Audio]:
    """Return the sound of each piece that is struck, shape ``(frames,)``."""
    pieces = {}
    for piece, stroke in kit.items():
        own = [h for h in hits if h.piece == piece and round(h.start_s * rate) < frames]
        if own:
            pieces[piece] = struck(stroke, own, frames, rng, rate=rate)
    return pieces


def drum_tracks(
    pieces: Mapping[str, Audio], rng: np.random.Generator, *, rate: int, layout: str
) -> list[RawTrack]:
    """Return a kit as tracks: ``microphones``, ``outputs`` or one stereo ``bounce``."""
    if layout == "microphones":
        return _microphones(pieces, rng, rate)
    tracks = []
    for output, names in _OUTPUTS.items():
        present = [pieces[name] for name in names if name in pieces]
        if present:
            audio = np.sum(present, axis=0)[None]
            side = _SIDES[names[0]] if output != "tom" else 0.0
            tracks.append(RawTrack(output.title(), _ROLES[output], audio, 0.6 * side))
    if layout == "outputs":
        return tracks
    mixed = np.zeros((2, len(next(iter(pieces.values())))), np.float32)
    for name, sound in pieces.items():
        gain = log_uniform(rng, 0.3, 1.2) / max(float(np.abs(sound).max(initial=0.0)), 1e-9)
        mixed += _panned(sound * np.float32(gain), _SIDES[name])
    if rng.uniform() < 0.5:
        mixed = saturated(mixed, drive=log_uniform(rng, 0.5, 4.0))
    return [RawTrack("Drums", Role.DRUM_KIT, mixed)]


def _panned(x: Audio, side: float) -> Audio:
    turn = 0.25 * np.pi * (1.0 + side)
    return np.asarray(np.stack([x * np.cos(turn), x * np.sin(turn)]), np.float32)


def _microphones(
    pieces: Mapping[str, Audio], rng: np.random.Generator, rate: int
) -> list[RawTrack]:
    mirrored = -1.0 if rng.uniform() < 0.2 else 1.0
    t60_s, bright = log_uniform(rng, 0.15, 1.3), float(rng.uniform(0.1, 0.9))
    bleed_db = float(rng.uniform(-40.0, -14.0))
    everything = np.sum(list(pieces.values()), axis=0)

    def close(*names: str) -> Audio | None:
        if not any(name in pieces for name in names):
            return None
        out = np.sum([pieces[n] for n in names if n in pieces], axis=0)
        return np.asarray(out[None] + _bleed(everything, bleed_db, rng, rate), np.float32)

    def far(distance: float, spread: float, wet: float, channels: int) -> Audio:
        out = np.zeros((channels, len(everything)), np.float32)
        for name, sound in pieces.items():
            gain = float(rng.uniform(0.5, 1.2)) * (0.5 if name == "kick" else 1.0)
            side = mirrored * spread * _SIDES[name]
            out += gain * (_panned(sound, side) if channels == 2 else sound)
        answer = np.stack(
            [
                room(rng, rate, t60_s=t60_s, brightness=bright, predelay_s=distance / 343.0)
                for _ in range(channels)
            ]
        )
        return np.asarray(out + wet * coloured(np.broadcast_to(everything, out.shape), answer))

    wanted: list[tuple[str, Role, Audio | None, float, float]] = [
        ("Kick In", Role.KICK, close("kick"), 0.0, 0.0),
        ("Snare Top", Role.SNARE, close("snare"), 0.0, -1.0),
    ]
    if rng.uniform() < 0.4:
        wanted.append(("Kick Out", Role.KICK, _darker(close("kick"), rng, rate), 0.0, -5.0))
    if rng.uniform() < 0.35:
        wanted.append(("Snare Bottom", Role.SNARE, _thinner(close("snare"), rng, rate), 0.0, -8.0))
    if rng.uniform() < 0.7:
        wanted.append(("Hi-Hat", Role.HI_HAT, close("hat", "open"), 0.5 * mirrored, -9.0))
    if rng.uniform() < 0.7:
        for k, name in enumerate(("tom1", "tom2", "floor")):
            side = 0.8 * mirrored * _SIDES[name]
            wanted.append((f"Tom {k + 1}", Role.TOM, close(name), side, -5.0))
    stereo = 2 if rng.uniform() < 0.85 else 1
    overhead = far(1.2, float(rng.uniform(0.4, 1.0)), log_uniform(rng, 0.03, 0.4), stereo)
    wanted.append(("OH", Role.OVERHEAD, overhead, 0.0, float(rng.uniform(-6.0, 0.0))))
    if rng.uniform() < 0.5:
        stereo = 2 if rng.uniform() < 0.7 else 1
        distant = far(4.0, 0.3, log_uniform(rng, 0.5, 3.0), stereo)
        if rng.uniform() < 0.4:
            distant = saturated(distant, drive=log_uniform(rng, 1.0, 10.0))
        wanted.append(("Room", Role.ROOM, distant, 0.0, float(rng.uniform(-14.0, -4.0))))
    return [
        RawTrack(name, role, audio, pan, level, wet=True)
        for name, role, audio, pan, level in wanted
        if audio is not None
    ]


def _bleed(everything: Audio, level_db: float, rng: np.random.Generator, rate: int) -> Audio:
    late = int(rng.uniform(0.001, 0.006) * rate)
    gain = 10.0 ** ((level_db + float(rng.normal(0.0, 3.0))) / 20.0)
    return np.asarray(gain * np.concatenate([np.zeros(late, np.float32), everything[:-late]]))


def _darker(x: Audio | None, rng: np.random.Generator, rate: int) -> Audio | None:
    if x is None:
        return None
    return coloured(x, tone_response(rng, rate, high_hz=log_uniform(rng, 100.0, 4000.0)))


def _thinner(x: Audio | None, rng: np.random.Generator, rate: int) -> Audio | None:
    if x is None:
        return None
    return -coloured(x, tone_response(rng, rate, low_hz=log_uniform(rng, 200.0, 900.0)))
