"""The demo's reference: another song, mixed by fixed settings as a finished record would be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from pipeline.demo.stage import Source, Stage, mic, played, spread, strokes, sung
from pipeline.demo.tracks import arpeggio, bass, chords, line, melody, under
from pipeline.loudness.meter import EnergyMeter
from pipeline.synth.drums import strike
from pipeline.synth.filters import convolve, filtered, peaking, room_response
from pipeline.synth.score import compose
from pipeline.synth.signals import Signal, rng_for
from pipeline.units import FloatArray

__all__ = ["REFERENCE_RATE", "mix_reference"]

REFERENCE_RATE = 44_100

_LOUDNESS_LUFS = -11.5
_CEILING = 10.0 ** (-2.8 / 20.0)
_SIDE_TO_MID_DB = -10.0


@dataclass(frozen=True)
class _Fader:
    """One part of the mix.

    Parameters
    ----------
    level_db
        Level where the part plays, against the others.
    pan
        -1 (left) to 1 (right), of constant power.
    send_db
        Level into the hall.
    """

    name: str
    source: Source
    level_db: float
    pan: float = 0.0
    send_db: float = -30.0


_LEAD = melody("vcC", 62, voice=1, busy=0.6)
_FADERS = (
    _Fader("kick", mic("kick_in"), -9.0, send_db=-60.0),
    _Fader("snare", mic("snare_top"), -9.0, send_db=-18.0),
    _Fader("overhead left", mic("overhead_left"), -16.0, -0.9),
    _Fader("overhead right", mic("overhead_right"), -16.0, 0.9),
    _Fader("room left", mic("near_left"), -21.0, -1.0),
    _Fader("room right", mic("near_right"), -21.0, 1.0),
    _Fader("toms", mic("floor"), -18.0, 0.3, -22.0),
    _Fader("shaker", strokes("cbC", shaker="o.Xoo.Xoo.Xoo.Xo"), -27.0, 0.5),
    _Fader("bass", played("bass_amp", bass("vcbC", "X---..x-X-..x-x-")), -9.0, send_db=-60.0),
    _Fader(
        "electric piano",
        played("electric_piano", chords("ivbC", "X-----x---x-----", 60, size=4)),
        -16.0,
    ),
    _Fader(
        "guitar left", played("guitar_clean", chords("vcC", "..X..X..X..X..X.", 60)), -17.0, -0.85
    ),
    _Fader(
        "guitar right", played("guitar_crunch", chords("cC", "X-----X-X---X---", 52)), -16.0, 0.85
    ),
    _Fader(
        "strings",
        spread(played("violin", line("cbC", "X-------x-------", 74)), 9.0),
        -20.0,
        send_db=-14.0,
    ),
    _Fader("pad", played("pad_warm", chords("vcbC", "X---------------", 57)), -20.0),
    _Fader("vibes", played("vibraphone", arpeggio("iv", 72, 2)), -21.0, 0.3, -16.0),
    _Fader("voice", sung("lead", _LEAD), -9.0, send_db=-18.0),
    _Fader("voices left", sung("alto", under(_LEAD, 2)), -18.0, -0.8, -15.0),
    _Fader("voices right", sung("tenor", under(_LEAD, -3)), -18.0, 0.8, -15.0),
)


def mix_reference(seed: int, seconds: float) -> FloatArray:
    """Return the reference of a demo, float32 ``(2, frames)`` at :data:`REFERENCE_RATE`.

    About -12 LUFS, a crest of about 12 dB, the side about 10 dB under the middle, and no sample
    above -2.8 dBFS.
    """
    song = compose(seed, seconds, other=True)
    frames = round(seconds * REFERENCE_RATE)
    kit = strike(song, frames, rate=REFERENCE_RATE)
    stage = Stage(song, seconds, REFERENCE_RATE, kit)
    mix, send = np.zeros((2, frames)), np.zeros((2, frames))
    for fader in _FADERS:
        part = fader.source(stage, f"reference {fader.name}")
        sides = np.stack([part, part]) if part.ndim == 1 else part
        angle = 0.25 * math.pi * (1.0 + fader.pan)
        gains = np.array([[math.cos(angle)], [math.sin(angle)]]) * math.sqrt(2.0)
        sides = sides * gains * (10.0 ** (fader.level_db / 20.0) / _level(sides))
        mix += sides
        send += sides * 10.0 ** (fader.send_db / 20.0)
    mix += _hall(send, seed)
    mix = _tone(mix)
    mix = _widen(_glue(mix))
    return np.asarray(_loud(mix), dtype=np.float32)


def _level(sides: Signal) -> float:
    """Return the RMS of the louder half of the signal's blocks of 0.1 s."""
    power = (sides**2).mean(axis=0)
    size = REFERENCE_RATE // 10
    blocks = power[: len(power) // size * size].reshape(-1, size).mean(axis=1)
    loud = np.sort(blocks)[len(blocks) // 2 :]
    return max(float(np.sqrt(loud.mean())), 1e-6)


def _hall(send: Signal, seed: int) -> Signal:
    wet = []
    for side in range(2):
        response = room_response(
            1.7,
            sample_rate=REFERENCE_RATE,
            rng=rng_for("hall", seed, side),
            predelay_s=0.025,
            brightness=0.5,
        )
        wet.append(convolve(send[side], response))
    return filtered(np.stack(wet), highpass_hz=180.0, sample_rate=REFERENCE_RATE)


def _tone(mix: Signal) -> Signal:
    """Return the mix a little warmer below and airier above."""
    mix = filtered(mix, highpass_hz=28.0, sample_rate=REFERENCE_RATE)
    for frequency_hz, gain_db, q in (
        (75.0, 1.0, 0.7),
        (300.0, -2.5, 0.7),
        (2600.0, 4.0, 0.5),
        (11000.0, 3.0, 0.6),
    ):
        mix = peaking(mix, frequency_hz, gain_db, q=q, sample_rate=REFERENCE_RATE)
    return mix


def _glue(mix: Signal) -> Signal:
    """Return the mix through a slow compressor of ratio 2, both sides alike."""
    rate = REFERENCE_RATE
    power = np.maximum((mix**2).mean(axis=0), 1e-12)
    slow = np.asarray(signal.sosfiltfilt(signal.butter(1, 4.0, fs=rate, output="sos"), power))
    slow = np.maximum(slow, 1e-12)
    threshold = float(np.quantile(slow, 0.5))
    return mix * np.minimum(1.0, np.sqrt(threshold / slow)) ** 0.5


def _widen(mix: Signal) -> Signal:
    """Return the mix with its side at a fixed level under the middle."""
    middle, side = 0.5 * (mix[0] + mix[1]), 0.5 * (mix[0] - mix[1])
    ratio = math.sqrt(float(side @ side) / float(middle @ middle))
    side = side * min(10.0 ** (_SIDE_TO_MID_DB / 20.0) / max(ratio, 1e-6), 4.0)
    return np.stack([middle + side, middle - side])


def _loud(mix: Signal) -> Signal:
    """Return the mix limited, at the loudness of the reference."""
    gain_db = -18.0 - 20.0 * math.log10(_level(mix))
    for _ in range(10):
        limited = _limit(mix * 10.0 ** (gain_db / 20.0))
        meter = EnergyMeter(sample_rate=REFERENCE_RATE, channels=2)
        meter.process(limited.astype(np.float32))
        error_lu = _LOUDNESS_LUFS - meter.integrated_lufs
        if abs(error_lu) < 0.05:
            return limited
        # The limiter takes back a part of each step, so the step may be a little longer.
        gain_db += 1.2 * error_lu
    return _limit(mix * 10.0 ** (gain_db / 20.0))


def _limit(mix: Signal) -> Signal:
    """Return the mix under the ceiling: the gain looks ahead, and moves over 12 ms."""
    span = round(0.012 * REFERENCE_RATE) | 1
    needed = np.minimum(1.0, _CEILING / np.maximum(np.abs(mix).max(axis=0), 1e-9))
    held = ndimage.minimum_filter1d(needed, span, mode="nearest")
    window = np.hanning(span + 2)[1:-1]
    padded = np.pad(held, span // 2, mode="edge")
    smooth = signal.oaconvolve(padded, window / window.sum(), mode="valid")
    return np.clip(mix * smooth, -_CEILING, _CEILING)
