from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from scipy.signal import resample_poly

from pipeline.audio.stream import read
from pipeline.units import FloatArray
from stage2.style.alignment import find_alignment

AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"
HOP_S = 0.01


def hit(draw: np.random.Generator, kind: str, *, rate: int) -> FloatArray:
    """Return one sound of an instrument whose pitch, colour and decay are drawn."""
    low, high, decay = {
        "kick": (45.0, 75.0, 0.15),
        "snare": (800.0, 3000.0, 0.12),
        "hat": (5000.0, 9000.0, 0.04),
        "bass": (55.0, 110.0, 0.25),
        "chord": (200.0, 600.0, 1.0),
    }[kind]
    pitch, decay = draw.uniform(low, high), decay * draw.uniform(0.6, 1.6)
    t = np.arange(round(6 * decay * rate)) / rate
    if kind in ("snare", "hat"):
        band = scipy.signal.butter(
            1, [pitch / 1.6, min(pitch * 1.6, 0.45 * rate)], "band", fs=rate, output="sos"
        )
        sound = scipy.signal.sosfilt(band, draw.standard_normal(t.size))
    else:
        partials = {"kick": 1, "bass": 6, "chord": 8}[kind]
        sound = sum(
            (np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, partials + 1)),
            start=np.zeros(t.size),
        )
    sound *= np.exp(-t / decay)
    return np.asarray(sound * (0.2 / np.abs(sound).max()))


@cache
def song(
    seed: int, *, bpm: float, seconds: float = 16.0, rate: int = 44100, loose: bool = True
) -> FloatArray:
    """Return a stereo song over a bed of noise: a kick on each beat, the rest as the seed draws.

    A ``loose`` one has its kick where it likes, and is played, not programmed.
    """
    draw = np.random.default_rng(seed)
    out = 3e-4 * draw.standard_normal((2, round((seconds + 10.0) * rate)))
    step = 15.0 / bpm
    for kind, chance in (
        ("kick", 0.4),
        ("snare", 0.3),
        ("hat", 0.6),
        ("bass", 0.4),
        ("chord", 0.15),
    ):
        sounds = [hit(draw, kind, rate=rate) for _ in range(3)]
        side = draw.uniform(0.6, 1.4) if kind in ("hat", "chord") else 1.0
        pattern = draw.uniform(size=32) < chance
        if kind == "kick" and not loose:
            pattern = np.arange(32) % 4 == 0
        for k in range(int(seconds / step)):
            if pattern[k % 32] if not loose else draw.uniform() < chance:
                at = k * step + (draw.uniform(0.0, 0.02) if loose else 0.0)
                sound = sounds[draw.integers(3)] * draw.uniform(0.5, 1.0)
                first = round(at * rate)
                out[0, first : first + sound.size] += sound * side
                out[1, first : first + sound.size] += sound * (2.0 - side)
    return out[:, : round(seconds * rate)].astype(np.float32)


def another_mix(audio: FloatArray, *, rate: int = 44100) -> FloatArray:
    """Return the song filtered, compressed to half its range in dB, and with noise added."""
    band = scipy.signal.butter(1, [150.0, 5000.0], "band", fs=rate, output="sos")
    filtered = scipy.signal.sosfilt(band, audio, axis=1)
    power = scipy.signal.sosfilt(
        scipy.signal.butter(1, 8.0, fs=rate, output="sos"), np.square(filtered).mean(axis=0)
    )
    dense = filtered / (np.abs(power) + 1e-6) ** 0.25
    draw = np.random.default_rng(99)
    noise = 0.01 * np.std(dense) * draw.standard_normal(dense.shape)
    return np.asarray((dense + noise)[:, : audio.shape[1]], dtype=np.float32)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("lag_s", [-2.5, 0.0, 3.2, 6.0])
def test_another_mix_of_a_song_is_found_where_it_lies(rate: int, lag_s: float) -> None:
    audio = song(1, bpm=96.0, rate=rate)
    reference = another_mix(audio, rate=rate)
    shift = round(abs(lag_s) * rate)
    if lag_s < 0:
        reference = np.concatenate((np.zeros((2, shift), np.float32), reference), axis=1)
    else:
        reference = reference[:, shift : shift + 9 * rate]
    found = find_alignment([(0.0, audio)], reference, sample_rate=rate)
    assert found.lag_s == pytest.approx(lag_s, abs=HOP_S)
    assert found.similarity > 0.5
    assert found.same_song


def test_the_lag_stays_exact_far_into_a_song() -> None:
    audio = song(2, bpm=96.0, seconds=60.0, rate=22050)
    found = find_alignment([(0.0, audio)], audio[:, 45 * 22050 :], sample_rate=22050)
    assert found.lag_s == pytest.approx(45.0, abs=HOP_S)
    assert found.similarity > 0.9


@pytest.mark.parametrize("rate", [22050, 44100])
def test_passages_of_a_long_song_are_laid_on_its_time_line(rate: int) -> None:
    audio = song(3, bpm=101.0, seconds=80.0, rate=rate)
    passages = [
        (s, audio[:, round(s * rate) : round((s + 4.0) * rate)]) for s in (11.0, 34.5, 71.0)
    ]
    reference = another_mix(audio[:, 8 * rate : 76 * rate], rate=rate)
    found = find_alignment(passages, reference, sample_rate=rate)
    assert found.lag_s == pytest.approx(8.0, abs=HOP_S)
    assert found.same_song


@pytest.mark.parametrize("rate", [8000, 11025])
def test_a_low_sample_rate_leaves_fewer_bands_and_no_error(rate: int) -> None:
    audio = song(7, bpm=104.0)
    other = another_mix(audio)
    low, other = (resample_poly(x, rate, 44100, axis=1) for x in (audio, other))
    found = find_alignment([(0.0, low)], other, sample_rate=rate)
    assert found.lag_s == pytest.approx(0.0, abs=0.02)
    assert found.similarity > 0.5


def test_a_level_and_a_lost_channel_change_nothing() -> None:
    audio = song(1, bpm=96.0)
    whole = find_alignment([(0.0, audio)], audio[:, 88200:], sample_rate=44100)
    quiet = find_alignment([(0.0, audio)], 0.1 * audio[:1, 88200:], sample_rate=44100)
    assert whole.lag_s == quiet.lag_s == pytest.approx(2.0, abs=HOP_S)
    assert whole.similarity > 0.99
    assert quiet.similarity > 0.8


def test_a_short_reference_is_found() -> None:
    audio = song(1, bpm=96.0)
    found = find_alignment([(0.0, audio)], audio[:, 5 * 44100 : 8 * 44100], sample_rate=44100)
    assert found.lag_s == pytest.approx(5.0, abs=HOP_S)
    assert found.same_song


def test_songs_of_other_tempos_are_not_the_same() -> None:
    songs = [song(seed, bpm=90.0 + 7.0 * seed) for seed in range(10, 15)]
    for one, other in combinations(songs, 2):
        found = find_alignment([(0.0, one)], other, sample_rate=44100)
        assert not found.same_song
        assert found.similarity < 0.35


def test_programmed_songs_of_one_tempo_are_not_the_same() -> None:
    songs = [song(seed, bpm=124.0, loose=False) for seed in range(20, 26)]
    for audio in songs:
        assert find_alignment([(0.0, audio)], another_mix(audio), sample_rate=44100).same_song
    same = [
        find_alignment([(0.0, one)], other, sample_rate=44100).same_song
        for one, other in combinations(songs, 2)
    ]
    assert not any(same)


@pytest.mark.parametrize("which", ["song", "reference", "both"])
def test_silence_is_not_aligned(which: str) -> None:
    audio = song(1, bpm=96.0)
    nothing = np.zeros_like(audio)
    found = find_alignment(
        [(0.0, audio if which == "reference" else nothing)],
        audio if which == "song" else nothing,
        sample_rate=44100,
    )
    assert not found.same_song
    assert found.similarity == 0.0
    assert found.lag_s == 0.0


@pytest.mark.parametrize("frames", [1, 100, 4000])
def test_hardly_any_audio_is_not_aligned(frames: int) -> None:
    audio = song(1, bpm=96.0)
    found = find_alignment([(0.0, audio)], audio[:, :frames], sample_rate=44100)
    assert -1.0 <= found.similarity <= 1.0
    assert np.isfinite(found.lag_s)


def house(seed: int, *, bpm: float = 124.0, seconds: float = 20.0) -> FloatArray:
    """Return a house loop of recorded sounds, one bar over and over: a kick on every beat."""
    draw = np.random.default_rng(seed)
    step = 15.0 / bpm
    out = np.zeros((2, round((seconds + 10.0) * 44100)), dtype=np.float32)
    beats = np.arange(16) % 4 == 0
    for prefix, pattern, level in (
        ("bd", beats, 0.8),
        ("sn", np.arange(16) % 8 == 4, 0.5),
        ("hat", draw.uniform(size=16) < 0.5, 0.3),
        ("bass", draw.uniform(size=16) < 0.35, 0.4),
    ):
        files = sorted((AUDIO / "oneshots").glob(f"{prefix}_*.flac"))
        if not files:
            pytest.skip(f"no real audio: {AUDIO / 'oneshots'} is absent")
        sound = level * read(files[draw.integers(len(files))], sample_rate=44100)[:, :22050]
        for k in range(int(seconds / step)):
            if pattern[k % 16]:
                first = round(k * step * 44100)
                out[:, first : first + sound.shape[1]] += sound
    return out[:, : round(seconds * 44100)]


def test_house_loops_of_one_tempo_and_other_sounds_are_not_the_same() -> None:
    loops = [house(seed) for seed in range(6)]
    same = [
        find_alignment([(0.0, one)], other, sample_rate=44100).same_song
        for one, other in combinations(loops, 2)
    ]
    assert not any(same)


@cache
def real(name: str) -> FloatArray:
    """Return 25 s of a recording, or of the plain sum of a session's tracks."""
    files = sorted((AUDIO / name).glob("*.flac")) if (AUDIO / name).is_dir() else [AUDIO / name]
    if not files or not files[0].exists():
        pytest.skip(f"no real audio: {AUDIO / name} is absent")
    total = np.zeros((2, 25 * 44100), dtype=np.float32)
    for path in files:
        audio = read(path, sample_rate=44100)[:, : total.shape[1]]
        total[:, : audio.shape[1]] += audio
    return total


SESSIONS = {
    "sessions/delta_rock": "references/rock_delta.flac",
    "sessions/delta_hendrix": "references/psychedelic_rock_delta.flac",
    "sessions/caesium": "references/caesium_master.flac",
}
OTHERS = (
    "references/metal_viper.ogg",
    "references/hiphop_ripper.ogg",
    "references/folk_fishin.ogg",
)


@pytest.mark.parametrize("session", SESSIONS)
def test_a_real_session_knows_its_own_master(session: str) -> None:
    for reference in (*SESSIONS.values(), *OTHERS):
        found = find_alignment([(0.0, real(session))], real(reference), sample_rate=44100)
        own = reference == SESSIONS[session]
        assert found.same_song == own, reference
        if own:
            # The recordings were cut to start together: within a latency of some plug-ins.
            assert found.lag_s == pytest.approx(0.0, abs=0.1)
            assert found.similarity > 0.6
        else:
            assert found.similarity < 0.45, reference
