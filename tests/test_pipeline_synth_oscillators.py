"""The demo's sound sources against what is known of them analytically."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.synth.drums import MICROPHONES, hear, strike
from pipeline.synth.filters import filtered, overdrive, room_response
from pipeline.synth.instruments import INSTRUMENTS, play
from pipeline.synth.oscillators import modal, oscillator, pluck
from pipeline.synth.score import Note, compose
from pipeline.synth.signals import adsr, hiss, noise, rng_for
from pipeline.synth.vocals import SINGERS, sing

RATE = 48000


def peak_hz(x: np.ndarray, low: float, high: float) -> float:
    """Return the frequency of the highest spectral peak, interpolated."""
    size = 2 ** math.ceil(math.log2(8 * len(x)))
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), size))
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    span = np.flatnonzero((hertz >= low) & (hertz <= high))
    return float(hertz[span[np.argmax(spectrum[span])]])


def cents(a: float, b: float) -> float:
    return abs(1200.0 * math.log2(a / b))


@pytest.mark.parametrize("f0", [55.0, 440.0, 3010.0])
def test_a_saw_has_its_partials_and_nothing_between_them(f0: float) -> None:
    x = oscillator("saw", np.full(RATE, f0), sample_rate=RATE)
    spectrum = np.abs(np.fft.rfft(x * np.blackman(RATE))) ** 2
    hertz = np.fft.rfftfreq(RATE, 1 / RATE)
    off = np.abs((hertz / f0 + 0.5) % 1.0 - 0.5) * f0 > 5.0
    # Linear interpolation in a table of 4096 samples is the only error.
    assert 10.0 * math.log10(spectrum[off].sum() / spectrum.sum()) < -60.0
    second = spectrum[np.abs(hertz - 2 * f0) < 5.0].sum() / spectrum[np.abs(hertz - f0) < 5.0].sum()
    assert 10.0 * math.log10(second) == pytest.approx(-6.02, abs=0.2)


@pytest.mark.parametrize("f0", [41.2, 110.0, 329.6, 880.0])
def test_a_plucked_string_is_in_tune_and_decays_as_told(f0: float) -> None:
    x = pluck(f0, RATE, sample_rate=RATE, rng=rng_for("t"), t60_s=2.0)
    # The loop's phase delay is exact at 0 Hz and within a few cents at the fundamental.
    assert cents(peak_hz(x, 0.8 * f0, 1.25 * f0), f0) < 6.0
    band = filtered(x, highpass_hz=0.7 * f0, lowpass_hz=1.4 * f0, sample_rate=RATE)
    early = np.sqrt((band[RATE // 4 : RATE // 2] ** 2).mean())
    late = np.sqrt((band[3 * RATE // 4 :] ** 2).mean())
    # Half a second of 60 dB in 2 s.
    assert 20.0 * math.log10(early / late) == pytest.approx(15.0, abs=1.5)


def test_a_mode_is_its_closed_form() -> None:
    x = modal(np.array([1000.0]), np.array([0.5]), np.array([0.4]), 9600, sample_rate=RATE)
    t = np.arange(9600) / RATE
    expected = 0.5 * np.sin(2 * np.pi * 1000.0 * t) * 10.0 ** (-3.0 * t / 0.4)
    assert float(np.abs(x - expected).max()) < 1e-7  # rounding of the recursion
    assert not modal(np.array([23000.0]), np.ones(1), np.ones(1), 100, sample_rate=RATE).any()


def test_an_envelope_begins_and_ends_without_a_step() -> None:
    for frames in (1, 9, 400, 48000):
        shape = adsr(frames, sample_rate=RATE, attack_s=0.01, release_s=0.05)
        assert shape.shape == (frames,)
        assert abs(shape[0]) < 1e-9
        assert abs(shape[-1]) < 1e-9


def test_overdrive_takes_away_the_offset_of_its_bias() -> None:
    x = 0.1 * np.sin(2 * np.pi * 200.0 * np.arange(RATE) / RATE)
    y = overdrive(x, drive=5.0, bias=0.3, sample_rate=RATE)
    assert abs(float(y[RATE // 4 :].mean())) < 1e-3
    assert y.shape == x.shape
    assert not overdrive(np.zeros(64), drive=5.0, bias=0.3, sample_rate=RATE).any()


def test_a_room_has_unit_energy_and_its_reverberation_time() -> None:
    response = room_response(0.8, sample_rate=RATE, rng=rng_for("room"), brightness=1.0)
    assert float(response @ response) == pytest.approx(1.0)
    low = filtered(response, lowpass_hz=350.0, sample_rate=RATE)
    remaining = 10.0 * np.log10(np.cumsum(low[::-1] ** 2)[::-1] / (low**2).sum())
    at = np.flatnonzero(remaining < -5.0)[0], np.flatnonzero(remaining < -25.0)[0]
    # T20 of noise: a tenth or so of scatter (Schroeder, 1965).
    assert 3.0 * (at[1] - at[0]) / RATE == pytest.approx(0.8, rel=0.2)


def test_hiss_repeats_in_no_two_tracks() -> None:
    a, b = hiss(RATE, "one"), hiss(RATE, "two")
    assert abs(float(np.corrcoef(a, b)[0, 1])) < 0.03
    assert float(a.std()) == pytest.approx(1.0, abs=0.02)
    assert len(hiss(2**21 + 5, "long")) == 2**21 + 5


def test_random_streams_depend_on_their_key_alone() -> None:
    assert np.array_equal(noise(50, rng_for("a", 1)), noise(50, rng_for("a", 1)))
    assert not np.array_equal(noise(50, rng_for("a", 1)), noise(50, rng_for("a", 2)))


PITCHES = {
    "bass_di": 33, "bass_sub": 36, "bass_synth": 36, "contrabass": 36, "cello": 48, "sax": 60,
    "trombone": 53, "horn": 57, "organ": 60,
}  # fmt: skip


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_an_instrument_plays_the_pitch_it_is_given(name: str) -> None:
    pitch = PITCHES.get(name, 69)
    f0 = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
    audio = play(name, [Note(0.1, 1.2, pitch, 0.8)], 2 * RATE, "test", sample_rate=RATE)
    assert np.isfinite(audio).all()
    x = np.atleast_2d(audio)[0]
    span = (0.13, 0.35) if name == "guitar_muted" else (0.3, 1.2)
    held = x[round(span[0] * RATE) : round(span[1] * RATE)]
    # Vibrato, chorus and desks spread a tone; a quarter of a semitone is in tune.
    found = peak_hz(held, 0.94 * f0, 1.06 * f0)
    assert cents(found, f0) < 25.0
    spectrum = np.abs(np.fft.rfft(held * np.hanning(len(held)))) ** 2
    hertz = np.fft.rfftfreq(len(held), 1 / RATE)
    ratio = hertz / f0
    if name not in ("bells", "vibraphone", "drone", "synth_lead"):
        near = np.abs(ratio * 2 - np.round(ratio * 2)) * f0 / 2 < 0.03 * hertz + 3.0
        assert spectrum[near].sum() > 0.8 * spectrum.sum()
    assert float(np.abs(x[: round(0.09 * RATE)]).max()) < 0.12 * float(np.abs(x).max())
    assert float(np.abs(np.diff(x)).max()) < float(np.abs(x).max())


def test_a_note_is_louder_and_brighter_when_struck_harder() -> None:
    for name in ("piano_mono", "trumpet", "guitar_steel"):
        soft, hard = (
            play(name, [Note(0.0, 1.0, 57, v)], RATE, "v", sample_rate=RATE) for v in (0.3, 1.0)
        )
        hertz = np.fft.rfftfreq(RATE, 1 / RATE)
        powers = [np.abs(np.fft.rfft(x)) ** 2 for x in (soft, hard)]
        assert powers[1].sum() > 2.0 * powers[0].sum()
        centroids = [float((hertz * p).sum() / p.sum()) for p in powers]
        assert centroids[1] > 1.02 * centroids[0], name


@pytest.mark.parametrize("name", [n for n in SINGERS if n != "whisper"])
def test_a_singer_holds_the_pitch_and_has_formants(name: str) -> None:
    notes = [Note(0.2, 1.6, 57, 0.9)]
    x = sing(name, notes, 2 * RATE, "test", sample_rate=RATE)
    held = x[round(0.6 * RATE) : round(1.6 * RATE)]
    singer = SINGERS[name]
    limit = 3.0 * singer.drift_cents + singer.vibrato_cents + 10.0
    assert cents(peak_hz(held, 195.0, 248.0), 220.0) < limit
    spectrum = np.abs(np.fft.rfft(held)) ** 2
    hertz = np.fft.rfftfreq(len(held), 1 / RATE)
    band = [spectrum[(hertz > a) & (hertz < b)].sum() for a, b in ((150, 1500), (6000, 20000))]
    assert band[0] > 100.0 * band[1]
    assert not sing(name, [], 100, "test", sample_rate=RATE).any()


def test_a_whisper_has_no_pitch() -> None:
    notes = [Note(0.2, 1.6, 57, 0.9)]
    held = sing("whisper", notes, 2 * RATE, "t", sample_rate=RATE)[RATE // 2 : 3 * RATE // 2]
    spectrum = np.abs(np.fft.rfft(held)) ** 2
    assert spectrum[200:240].sum() < 0.05 * spectrum.sum()


def test_microphones_hear_their_own_drum_loudest_and_others_later() -> None:
    song = compose(3, 6.0)
    kit = strike(song, 6 * RATE, rate=RATE)
    only = {
        name: type(kit)(
            {k: (v if k == name else np.zeros_like(v)) for k, v in kit.parts.items()},
            kit.parts[name],
        )
        for name in ("snare_head", "tom2", "floor", "hat")
    }
    for name in ("snare_head", "floor", "hat"):
        own = {"snare_head": "snare_top"}.get(name, name)
        close = hear(only[name], own, seed=1, rate=RATE)
        for other in {"snare_top", "floor", "hat"} - {own}:
            bleed = hear(only[name], other, seed=1, rate=RATE)
            assert (bleed**2).mean() < 0.1 * (close**2).mean(), (name, other)
    assert set(MICROPHONES) > {"snare_bottom", "far_left", "far_right"}
