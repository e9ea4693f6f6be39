"""The descriptors of a track's sound."""

import time

import numpy as np
import pytest

from pipeline.audio.samples import HeldSamples
from stage1.timbre.descriptors import TIMBRE_NAMES, measure_timbre

RATE = 44100


def timbre(audio, *, rate=RATE, active=None):
    audio = np.atleast_2d(np.asarray(audio, np.float32))
    flags = np.ones(-(-audio.shape[1] * 10 // rate), bool) if active is None else active
    values = measure_timbre(HeldSamples(audio, sample_rate=rate), active=flags)
    assert len(values) == len(TIMBRE_NAMES)
    assert np.isfinite(values).all()
    return dict(zip(TIMBRE_NAMES, values, strict=True))


def noise(seconds=6.0, seed=0, rate=RATE):
    return np.random.default_rng(seed).normal(0.0, 0.1, round(seconds * rate))


def tone(hertz, seconds=6.0, *, partials=8, rate=RATE, vibrato_cents=0.0):
    t = np.arange(round(seconds * rate)) / rate
    # Phase of a frequency that swings by vibrato_cents at 6 Hz.
    swing = np.log(2.0) / 1200.0 * vibrato_cents / (2 * np.pi * 6.0)
    phase = 2 * np.pi * hertz * (t - swing * np.cos(2 * np.pi * 6.0 * t))
    return sum(0.2 / k * np.sin(k * phase) for k in range(1, partials + 1))


def strokes(every_s=0.5, fade_s=0.03, seconds=6.0, rate=RATE):
    at = np.arange(round(seconds * rate)) / rate % every_s
    return noise(seconds) * np.exp(-at / fade_s)


def test_names_are_told_apart():
    assert len(set(TIMBRE_NAMES)) == len(TIMBRE_NAMES)
    assert TIMBRE_NAMES[-3:] == ("side_to_mid", "correlation", "width_over_2khz")


@pytest.mark.parametrize("hertz", [55.0, 110.0, 330.0, 880.0])
def test_pitch_of_a_tone(hertz):
    found = timbre(tone(hertz))
    # 0.01 octaves are 12 cents: parabolic interpolation at 11 kHz reaches that at 880 Hz.
    assert found["pitch_median"] == pytest.approx(np.log2(hertz / 220.0), abs=0.01)
    assert found["periodicity_mean"] > 0.95
    assert found["pitch_held_share"] > 0.95


def test_noise_has_no_pitch_and_is_flat():
    found = timbre(noise())
    assert found["periodic_share_80"] == 0.0
    # The spectrum of white noise is exponentially distributed: flatness e^-0.5772, -2.5 dB.
    assert found["flatness_1000_4000hz_mean"] == pytest.approx(-2.5, abs=0.1)


def test_vibrato_bends_the_pitch():
    still, moved = timbre(tone(440.0)), timbre(tone(440.0, vibrato_cents=60.0))
    assert still["pitch_bent_share"] < 0.05
    assert moved["pitch_bent_share"] > 0.5
    # The extremes of a swing of +-60 cents, between which 80 % of the time is spent, less what a
    # Hann window of 93 ms (its half-power width is 34 ms) smooths away of 6 Hz.
    octaves = moved["pitch_high"] - moved["pitch_low"]
    assert 1200.0 * octaves == pytest.approx(2 * 60.0 * np.sin(0.4 * np.pi), rel=0.15)


def test_strokes_have_onsets_and_decay():
    found, held = timbre(strokes()), timbre(noise())
    # Two a second, one of which the edge of a passage may take.
    assert 2.0 ** found["onsets"] - 1.0 == pytest.approx(2.0, abs=0.5)
    assert held["onsets"] == 0.0
    # e^-(t/0.03) in amplitude is 8.7 dB in 30 ms; measured over 20 ms of noise, after 100 ms.
    assert found["drop_100ms"] == pytest.approx(8.686 * 0.11 / 0.03, abs=5.0)


def test_tremolo_shows_in_its_band_of_modulation():
    t = np.arange(6 * RATE) / RATE
    found = timbre(noise() * (1.0 + 0.8 * np.sin(2 * np.pi * 4.0 * t)))
    others = [found[f"modulation_{band}"] for band in ("1.5_3hz", "6_12hz", "12_25hz")]
    assert found["modulation_3_6hz"] > max(others) + 6.0


def test_shares_of_the_spectrum():
    low = timbre(tone(60.0, partials=1))
    assert low["share_under_120hz"] > -0.5
    assert low["share_over_5khz"] < -50.0
    # White noise: (16000 - 5000) / 16000 of the energy that the mel bands hold, unevenly weighted.
    assert timbre(noise())["share_over_5khz"] > -6.0


@pytest.mark.parametrize("gain_db", [-60.0, -20.0, 12.0])
def test_level_changes_nothing(gain_db):
    song = tone(196.0) + strokes()
    plain, scaled = timbre(song), timbre(song * 10.0 ** (gain_db / 20.0))
    for name, value in plain.items():
        # float32 audio keeps 24 bits at any level; the floors are relative to the track.
        assert scaled[name] == pytest.approx(value, abs=0.02), name


def test_same_at_another_sample_rate():
    def song(rate):
        return tone(196.0, rate=rate)

    slow, fast = timbre(song(44100)), timbre(song(48000), rate=48000)
    for name in ("pitch_median", "centroid_mean", "harmonic_1_db", "mel_4_db", "low_125hz_db"):
        if name in slow:
            # The frames are 46.4 and 42.7 ms long.
            assert fast[name] == pytest.approx(slow[name], abs=0.4), name


@pytest.mark.parametrize("rate", [8000, 22050, 96000, 192000])
def test_any_rate(rate):
    found = timbre(tone(220.0, rate=rate, seconds=3.0), rate=rate)
    assert found["pitch_median"] == pytest.approx(0.0, abs=0.01)


def test_stereo_image():
    one, other = noise(seed=1), noise(seed=2)
    assert timbre(one)["side_to_mid"] == -60.0
    assert timbre([one, one])["side_to_mid"] == -60.0
    wide = timbre([one, other])
    # Two independent noises: side and mid are equal, to a sampling error of 1 %.
    assert wide["side_to_mid"] == pytest.approx(0.0, abs=0.1)
    assert wide["correlation"] == pytest.approx(0.0, abs=0.02)


def test_channels_that_cancel_are_still_heard():
    song = tone(220.0)
    assert timbre([song, -song])["pitch_median"] == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("frames", [0, 1, 100, 5000])
def test_short_and_silent(frames):
    assert not any(timbre(np.zeros(frames)).values())
    timbre(noise()[:frames])


def test_inactive_time_is_not_looked_at():
    song = np.concatenate([tone(110.0), noise(6.0)])
    active = np.arange(120) < 60
    assert timbre(song, active=active)["periodicity_mean"] > 0.95


def test_what_plays_behind_the_last_whole_passage_is_heard():
    sound = noise(0.5)
    track = np.concatenate([np.zeros(round(9.0 * RATE)), sound])
    active = np.zeros(95, bool)
    active[90:] = True
    found = timbre(track, active=active)
    alone = timbre(sound)
    assert found["centroid_mean"] == pytest.approx(alone["centroid_mean"], abs=0.1)  # octaves


def test_cost_does_not_grow_with_the_length():
    short, long = (np.tile(tone(196.0)[None] + strokes(), (2, k)) for k in (5, 40))
    timbre(short)

    def cost(song):
        samples = HeldSamples(song.astype(np.float32), sample_rate=RATE)
        flags = np.ones(-(-song.shape[1] * 10 // RATE), bool)
        spent = []
        for _ in range(3):
            start = time.process_time()
            measure_timbre(samples, active=flags)
            spent.append(time.process_time() - start)
        return min(spent)

    # Both have more than the 24 passages that are looked at; caches make a little difference.
    assert cost(long) < 2.0 * cost(short)
