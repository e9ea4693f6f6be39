"""The demo's instruments: a voice, and the amplifier, pedal or rotor behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.synth.filters import delayed, filtered, overdrive, peaking
from pipeline.synth.oscillators import Shape
from pipeline.synth.score import Note
from pipeline.synth.signals import Signal, hertz, noise, rng_for
from pipeline.synth.voices import (
    Envelope,
    Sweep,
    Voice,
    blown,
    bowed,
    frequency_modulated,
    plucked_string,
    struck_bar,
    struck_string,
    sub_bass,
    subtractive,
    tonewheels,
)

__all__ = [
    "INSTRUMENTS",
    "Instrument",
    "play",
]

_LAYERS = 4
Finish = Callable[[Signal, int, np.random.Generator], Signal]


@dataclass(frozen=True)
class Instrument:
    """A voice and what follows it.

    Parameters
    ----------
    voice
        Makes one note.
    finish
        Applied to the sum of the notes; may return two channels.
    pair
        Whether left and right are two performances of the voice.
    takes
        Variants of each note, played in turn.
    """

    voice: Voice
    finish: Finish | None = None
    pair: bool = False
    takes: int = 2


def play(
    name: str, notes: Sequence[Note], frames: int, *key: str | int, sample_rate: int
) -> Signal:
    """Return ``notes`` on an instrument of :data:`INSTRUMENTS`: ``(frames,)`` or ``(2, frames)``.

    Parameters
    ----------
    key
        Names the take: another key gives another, equally good performance.
    """
    instrument = INSTRUMENTS[name]
    if instrument.pair:
        out = np.stack(
            [_sum(instrument, notes, frames, sample_rate, (*key, side)) for side in "LR"]
        )
    else:
        out = _sum(instrument, notes, frames, sample_rate, key)
    if instrument.finish is not None:
        out = instrument.finish(out, sample_rate, rng_for("finish", *key))
    return out


def _sum(
    instrument: Instrument,
    notes: Sequence[Note],
    frames: int,
    rate: int,
    key: tuple[str | int, ...],
) -> Signal:
    out = np.zeros(frames)
    made: dict[tuple[float, float, int, int], Signal] = {}
    for turn, note in enumerate(notes):
        layer = max(round(note.velocity * _LAYERS), 1)
        # Notes of a fiftieth of a second's difference share their sound.
        length_s = max(round(note.length_s * 50.0), 2) / 50.0
        chosen = (note.pitch, length_s, layer, turn % instrument.takes)
        if chosen not in made:
            rng = rng_for("note", *key, *chosen)
            made[chosen] = instrument.voice(hertz(note.pitch), length_s, layer / _LAYERS, rate, rng)
        sound = made[chosen]
        start = round(note.start_s * rate)
        stop = min(start + len(sound), frames)
        if start < frames:
            out[start:stop] += sound[: stop - start] * (note.velocity * _LAYERS / layer)
    return out


def _amplifier(drive: float, *, lowpass_hz: float = 4800.0, hiss_db: float = -75.0) -> Finish:
    def finish(x: Signal, rate: int, rng: np.random.Generator) -> Signal:
        out = filtered(x, highpass_hz=90.0, sample_rate=rate)
        out = overdrive(out, drive=drive, bias=0.15, sample_rate=rate)
        out = filtered(out, highpass_hz=75.0, lowpass_hz=lowpass_hz, order=3, sample_rate=rate)
        out = peaking(out, 2600.0 * rng.uniform(0.9, 1.1), 5.0, q=1.2, sample_rate=rate)
        out = peaking(out, 420.0, -3.0, q=0.9, sample_rate=rate)
        peak = float(np.abs(out).max(initial=0.0))
        return out + peak * 10.0 ** (hiss_db / 20.0) * noise(len(out), rng)

    return finish


def _bass_cabinet(x: Signal, rate: int, rng: np.random.Generator) -> Signal:
    out = overdrive(x, drive=2.2, bias=0.2, sample_rate=rate)
    out = peaking(out, 90.0, 3.0, q=0.8, sample_rate=rate)
    return filtered(out, highpass_hz=38.0, lowpass_hz=3800.0, sample_rate=rate)


def _wooden_body(x: Signal, rate: int, rng: np.random.Generator) -> Signal:
    for centre, gain in ((108.0, 5.0), (215.0, 4.0), (430.0, 2.0), (3200.0, 3.0)):
        x = peaking(x, centre * rng.uniform(0.96, 1.04), gain, q=2.0, sample_rate=rate)
    return filtered(x, highpass_hz=70.0, sample_rate=rate)


def _moving_pair(depth_ms: float, rate_hz: float, *, base_ms: float, wet: float) -> Finish:
    """Return a stereo chorus: opposite delays left and right."""

    def finish(x: Signal, rate: int, rng: np.random.Generator) -> Signal:
        turn = 2 * np.pi * rate_hz * np.arange(x.shape[-1]) / rate
        sides = np.atleast_2d(x)
        return np.stack(
            [
                (1.0 - 0.5 * wet) * sides[k % len(sides)]
                + wet
                * delayed(
                    sides[k % len(sides)],
                    (base_ms + depth_ms * np.sin(turn + k * np.pi)) * rate / 1000.0,
                )
                for k in range(2)
            ]
        )

    return finish


def _auto_pan(rate_hz: float, depth: float) -> Finish:
    def finish(x: Signal, rate: int, rng: np.random.Generator) -> Signal:
        swing = 0.5 * depth * np.sin(2 * np.pi * rate_hz * np.arange(len(x)) / rate)
        return np.stack([x * (0.7 + swing), x * (0.7 - swing)])

    return finish


def _rotor(x: Signal, rate: int, rng: np.random.Generator) -> Signal:
    """Return a Leslie's horn and drum: Doppler, level and side turn together."""
    warm = overdrive(x, drive=1.4, bias=0.1, sample_rate=rate)
    low = filtered(warm, lowpass_hz=800.0, sample_rate=rate)
    high = warm - low
    t = np.arange(len(x)) / rate
    sides = []
    for offset in (0.0, 0.35 * np.pi):
        horn, drum = 2 * np.pi * 6.4 * t + offset, 2 * np.pi * 5.7 * t - offset
        top = delayed(high, (0.9 + 0.35 * np.sin(horn)) * rate / 1000.0)
        sides.append(top * (1.0 + 0.4 * np.cos(horn)) + low * (1.0 + 0.15 * np.cos(drum)))
    return np.stack(sides)


def _echo(beat_s: float) -> Finish:
    def finish(x: Signal, rate: int, rng: np.random.Generator) -> Signal:
        sides = np.array([x, x]) if x.ndim == 1 else x.copy()
        for k in range(1, 5):
            lag = round(k * beat_s * rate)
            if lag < x.shape[-1]:
                source = x if x.ndim == 1 else x[k % 2]
                sides[k % 2, lag:] += 0.45**k * source[: len(source) - lag]
        return sides

    return finish


def _bend(x: Signal, rate: int, rng: np.random.Generator) -> Signal:
    """Return a lead guitar: finger vibrato, then a singing amplifier."""
    depth = 1.2e-4 * rate * np.sin(2 * np.pi * 5.4 * np.arange(len(x)) / rate)
    return _amplifier(14.0, lowpass_hz=5500.0)(delayed(x, 4.0 + depth + 1.2e-4 * rate), rate, rng)


_ELECTRIC = plucked_string(t60_s=3.5, brightness=0.75, damping=0.22, position=0.22)
_CLEAN = plucked_string(t60_s=3.0, brightness=0.85, damping=0.16, position=0.13)
_MUTED = plucked_string(t60_s=0.35, brightness=0.6, damping=0.4, position=0.2, release_s=0.03)
_STEEL = plucked_string(t60_s=3.2, brightness=0.95, damping=0.1, position=0.16, release_s=0.15)
_FINGER = plucked_string(t60_s=3.5, brightness=0.5, damping=0.42, position=0.21, lowpass_hz=5000.0)
_SAWS: tuple[tuple[Shape, float], ...] = (("saw", -9.0), ("saw", -3.0), ("saw", 4.0), ("saw", 10.0))
INSTRUMENTS: Mapping[str, Instrument] = {
    "bass_di": Instrument(_FINGER),
    "bass_amp": Instrument(_FINGER, _bass_cabinet),
    "bass_sub": Instrument(sub_bass),
    "bass_synth": Instrument(
        subtractive(
            ("saw", -4.0),
            ("square", 5.0),
            envelope=Envelope(attack_s=0.004, release_s=0.05),
            sweep=Sweep(open_hz=1600.0, rest_hz=180.0, time_s=0.16, q=2.2),
        )
    ),
    "guitar_crunch": Instrument(_ELECTRIC, _amplifier(5.0)),
    "guitar_heavy": Instrument(_ELECTRIC, _amplifier(18.0, lowpass_hz=4200.0, hiss_db=-62.0)),
    "guitar_clean": Instrument(_CLEAN, _amplifier(0.8, lowpass_hz=6500.0)),
    "guitar_muted": Instrument(_MUTED, _amplifier(1.5, lowpass_hz=6000.0)),
    "guitar_chorus": Instrument(_CLEAN, _moving_pair(1.8, 0.7, base_ms=9.0, wet=0.7)),
    "guitar_lead": Instrument(_ELECTRIC, _bend),
    "guitar_steel": Instrument(_STEEL, _wooden_body, takes=3),
    "guitar_noisy": Instrument(_CLEAN, _amplifier(3.0, lowpass_hz=9000.0, hiss_db=-32.0)),
    "piano": Instrument(struck_string, pair=True, takes=1),
    "piano_mono": Instrument(struck_string, takes=1),
    "electric_piano": Instrument(
        frequency_modulated(
            ratio=1.0, index=1.3, index_t60_s=2.0, t60_s=4.5, release_s=0.12, tine=0.12
        ),
        _auto_pan(4.6, 0.6),
    ),
    "reed_piano": Instrument(
        frequency_modulated(ratio=1.0, index=2.2, index_t60_s=1.4, t60_s=2.6, release_s=0.08)
    ),
    "organ": Instrument(tonewheels, _rotor, takes=1),
    "clavinet": Instrument(
        plucked_string(t60_s=1.6, brightness=0.95, damping=0.12, position=0.09, release_s=0.02)
    ),
    "vibraphone": Instrument(struck_bar, _auto_pan(5.1, 0.5), takes=1),
    "bells": Instrument(
        frequency_modulated(ratio=3.51, index=2.8, index_t60_s=1.6, t60_s=2.6, release_s=0.9)
    ),
    "pad_warm": Instrument(
        subtractive(
            *_SAWS,
            envelope=Envelope(attack_s=0.5, release_s=0.9),
            sweep=Sweep(open_hz=500.0, rest_hz=1400.0, time_s=1.2),
        ),
        pair=True,
        takes=1,
    ),
    "pad_air": Instrument(
        subtractive(
            ("triangle", -6.0),
            ("saw", 7.0),
            ("sine", 1200.0),
            envelope=Envelope(attack_s=0.7, release_s=1.0),
            sweep=Sweep(open_hz=2500.0, rest_hz=6000.0, time_s=1.5),
            breath=0.08,
        ),
        _moving_pair(2.5, 0.31, base_ms=14.0, wet=0.6),
        pair=True,
        takes=1,
    ),
    "drone": Instrument(
        subtractive(
            ("saw", -7.0),
            ("saw", 6.0),
            ("square", -1200.0),
            envelope=Envelope(attack_s=0.8, release_s=0.8),
            sweep=Sweep(open_hz=300.0, rest_hz=800.0, time_s=2.0, q=1.6),
        ),
        takes=1,
    ),
    "arp_saw": Instrument(
        subtractive(
            ("saw", -5.0),
            ("square", 5.0),
            envelope=Envelope(attack_s=0.002, release_s=0.08, sustain=0.3),
            sweep=Sweep(open_hz=6500.0, rest_hz=700.0, time_s=0.06, q=1.8),
        ),
        _echo(0.375),
    ),
    "arp_sine": Instrument(
        subtractive(
            ("triangle", 0.0),
            ("sine", 1200.0),
            envelope=Envelope(attack_s=0.002, release_s=0.15, decay_s=0.1, sustain=0.2),
            sweep=Sweep(open_hz=5000.0, rest_hz=1500.0, time_s=0.1),
        ),
        _echo(0.25),
    ),
    "synth_lead": Instrument(
        subtractive(
            ("saw", -6.0),
            ("saw", 6.0),
            ("square", -1200.0),
            envelope=Envelope(attack_s=0.01, release_s=0.12),
            sweep=Sweep(open_hz=7000.0, rest_hz=2600.0, time_s=0.3, q=1.4),
            vibrato_cents=14.0,
        )
    ),
    "synth_pluck": Instrument(
        subtractive(
            ("saw", -4.0),
            ("triangle", 3.0),
            envelope=Envelope(attack_s=0.002, release_s=0.2, decay_s=0.12, sustain=0.05),
            sweep=Sweep(open_hz=7000.0, rest_hz=350.0, time_s=0.05),
        )
    ),
    "synth_stab": Instrument(
        subtractive(
            *_SAWS,
            envelope=Envelope(attack_s=0.003, release_s=0.1, sustain=0.6),
            sweep=Sweep(open_hz=9000.0, rest_hz=2500.0, time_s=0.12),
        ),
        pair=True,
        takes=1,
    ),
    "violin": Instrument(
        bowed(body_hz=(290.0, 460.0, 2600.0), lowpass_hz=7500.0, players=3, cents=14.0)
    ),
    "viola": Instrument(
        bowed(body_hz=(220.0, 380.0, 1900.0), lowpass_hz=6000.0, players=2, cents=12.0)
    ),
    "cello": Instrument(
        bowed(body_hz=(110.0, 240.0, 1500.0), lowpass_hz=4800.0, players=2, cents=11.0)
    ),
    "contrabass": Instrument(
        bowed(body_hz=(70.0, 120.0, 900.0), lowpass_hz=3000.0, players=2, cents=7.0)
    ),
    "solo_violin": Instrument(
        bowed(body_hz=(290.0, 460.0, 2600.0), lowpass_hz=9000.0, players=1, cents=18.0)
    ),
    "trumpet": Instrument(
        blown(shape="saw", open_hz=6500.0, attack_s=0.03, breath=0.02, formant_hz=1300.0)
    ),
    "trombone": Instrument(
        blown(shape="saw", open_hz=3600.0, attack_s=0.045, breath=0.02, formant_hz=600.0)
    ),
    "horn": Instrument(
        blown(shape="saw", open_hz=1700.0, attack_s=0.06, breath=0.015, formant_hz=420.0)
    ),
    "sax": Instrument(
        blown(shape="reed", open_hz=5200.0, attack_s=0.03, breath=0.07, formant_hz=900.0)
    ),
    "flute": Instrument(
        blown(shape="triangle", open_hz=5000.0, attack_s=0.05, breath=0.2, formant_hz=1100.0)
    ),
}
