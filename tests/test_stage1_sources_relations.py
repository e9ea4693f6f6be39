"""Copies and microphones: found in synthesised sessions of known relations, none where none is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal

from pipeline.audio.samples import HeldSamples
from pipeline.audio.stream import read
from pipeline.loudness.meter import EnergyMeter
from pipeline.roles import Role
from pipeline.session.discovery import find_session
from stage1.balance.gains import TrackBalance, balance
from stage1.balance.stem_targets import stem_targets
from stage1.recognition.recognise import Recognition, recognise
from stage1.sources.coherence import Match, Passages, compare, joint_passages
from stage1.sources.messages import fault_messages
from stage1.sources.records import Relations
from stage1.sources.relations import TrackSound, find_relations, inherit_roles, likeness

AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"
RATE = 22050
SECONDS = 10

Float32Array = npt.NDArray[np.float32]


def envelope_of(audio: Float32Array, rate: int) -> Float32Array:
    meter = EnergyMeter(sample_rate=rate, channels=audio.shape[0])
    meter.process(audio)
    return meter.segment_power().astype(np.float32)


def lufs_of(audio: Float32Array, rate: int) -> float:
    meter = EnergyMeter(sample_rate=rate, channels=audio.shape[0])
    meter.process(audio)
    return meter.integrated_lufs


@dataclass(frozen=True)
class Levels:
    name: str
    lufs: float
    true_peak_dbtp: float

    def loudness(self, method: str) -> float:
        return self.lufs


@dataclass
class Song:
    """Tracks in memory, by name."""

    audio: dict[str, Float32Array] = field(default_factory=dict)
    offsets_s: dict[str, float] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, signal: npt.NDArray[np.floating]) -> None:
        self.audio[name] = np.atleast_2d(signal).astype(np.float32)

    def recognitions(self) -> tuple[Recognition, ...]:
        return recognise(list(self.audio))

    def relations(self, recognitions: tuple[Recognition, ...] | None = None) -> Relations:
        tracks, samples = [], []
        for name, audio in self.audio.items():
            rate = self.rates.get(name, RATE)
            offset = self.offsets_s.get(name, 0.0)
            tracks.append(TrackSound(name, Path(name), offset, envelope_of(audio, rate)))
            samples.append(HeldSamples(audio, sample_rate=rate))
        return find_relations(tracks, recognitions or self.recognitions(), samples=samples)

    def balanced(self) -> tuple[dict[str, TrackBalance], dict[str, float], Relations]:
        """Return gains, the levels intended for stems, and what was found."""
        relations = self.relations()
        recognitions = inherit_roles(self.recognitions(), relations)
        levels = [
            Levels(name, lufs_of(audio, RATE), 20.0 * math.log10(float(np.abs(audio).max())))
            for name, audio in self.audio.items()
        ]
        roles: dict[str, list[Role]] = {}
        for record in recognitions:
            roles.setdefault(record.subgroup, []).append(record.role)
        gains = balance(levels, recognitions, relations=relations)
        return {track.name: track for track in gains}, stem_targets(roles), relations


def performance(seed: int, *, low_hz: float = 80.0, high_hz: float = 6000.0) -> Float32Array:
    """Return notes of noise with a rhythm of their own."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(SECONDS * RATE) / RATE
    level = np.zeros(time_s.size)
    for start in np.sort(rng.uniform(0.0, SECONDS, 3 * SECONDS)):
        after = time_s - start
        level += np.where(after > 0.0, rng.uniform(0.3, 1.0) * np.exp(-after / 0.12), 0.0)
    sections = scipy.signal.butter(2, (low_hz, high_hz), "bandpass", fs=RATE, output="sos")
    noise = scipy.signal.sosfilt(sections, rng.standard_normal(time_s.size))
    return (0.1 * level * noise).astype(np.float32)


def later(signal: Float32Array, delay_ms: float) -> Float32Array:
    """Return the signal delayed by any part of a sample."""
    padded = np.pad(signal, (0, RATE))
    hz = np.fft.rfftfreq(padded.size, 1.0 / RATE)
    turned = np.fft.rfft(padded) * np.exp(-2j * np.pi * hz * delay_ms / 1000.0)
    return np.fft.irfft(turned, padded.size)[: signal.size].astype(np.float32)


def microphone(signal: Float32Array, seed: int, *, delay_ms: float = 0.0) -> Float32Array:
    """Return what another microphone hears: another tone, a few reflections, some noise."""
    rng = np.random.default_rng(seed)
    response = np.zeros(RATE // 100)
    response[0] = 1.0
    response[rng.integers(20, response.size, 12)] += rng.normal(0.0, 0.12, 12)
    heard = scipy.signal.fftconvolve(later(signal, delay_ms), response)[: signal.size]
    tone = scipy.signal.butter(1, rng.uniform(2500.0, 5000.0), fs=RATE, output="sos")
    heard = scipy.signal.sosfilt(tone, heard)
    return (heard + 1e-4 * rng.standard_normal(heard.size)).astype(np.float32)


def band() -> Song:
    song = Song()
    kick = performance(1, low_hz=40.0, high_hz=200.0)
    snare = performance(2, low_hz=150.0, high_hz=900.0)
    bass = performance(3, low_hz=50.0, high_hz=2500.0)
    song.add("Kick In.wav", microphone(kick, 11))
    song.add("Kick Out.wav", microphone(kick, 12, delay_ms=0.9))
    song.add("Snare Top.wav", microphone(snare, 13))
    song.add("Snare Bottom.wav", -microphone(snare, 14, delay_ms=0.3))
    song.add("Bass DI.wav", microphone(bass, 15))
    song.add("Bass Amp.wav", microphone(bass, 16, delay_ms=1.0))
    names = ("HH", "Gtr 1", "Gtr 2", "Piano", "Organ", "Lead Vox", "BV 1", "BV 2", "Shaker", "Pad")
    for seed, name in enumerate(names, 30):
        song.add(f"{name}.wav", performance(seed))
    return song


def match_of(first: Float32Array, second: Float32Array, rates: tuple[int, int]) -> Match:
    reader = Passages()
    pieces = []
    for track, (audio, rate) in enumerate(zip((first, second), rates, strict=True)):
        samples = HeldSamples(np.atleast_2d(audio).astype(np.float32), sample_rate=rate)
        pieces.append([reader.spectrum(track, samples, 0.0, float(at)) for at in range(2, 8)])
    found = compare(*pieces)
    assert found is not None
    return found


@pytest.mark.parametrize("delay_ms", [0.0, 0.013, -1.234, 7.77, 33.3])
def test_delay_sign_and_level_are_measured(delay_ms: float) -> None:
    signal = performance(5)
    found = match_of(signal, -0.5 * later(signal, delay_ms), (RATE, RATE))
    # A hundredth of a sample at 32.8 kHz and the parabola's error.
    assert found.delay_ms == pytest.approx(delay_ms, abs=0.002)
    assert found.correlation < -0.9
    assert found.level_db == pytest.approx(-6.02, abs=0.5)  # the passage's end is another
    assert found.agreement == 1.0


def test_files_of_different_rates_are_compared() -> None:
    signal = performance(6)
    other = scipy.signal.resample_poly(signal, 320, 147)  # 48 kHz
    found = match_of(signal, np.stack([other, other]), (RATE, 48000))
    assert found.delay_ms == pytest.approx(0.0, abs=0.002)
    assert found.correlation > 0.999
    assert found.coherence > 0.99


def test_the_correlation_is_that_of_numpy_without_delay() -> None:
    rng = np.random.default_rng(7)
    signal = performance(7, low_hz=900.0, high_hz=1400.0)  # where the K-weighting is nearly flat
    noise = performance(8, low_hz=900.0, high_hz=1400.0) * rng.uniform(0.9, 1.1)
    mixed = 0.8 * signal + 0.5 * noise
    span = slice(2 * RATE, 8 * RATE)
    pieces = np.stack([signal[span].reshape(6, -1), mixed[span].reshape(6, -1)])
    expected = np.median([np.corrcoef(a, b)[0, 1] for a, b in zip(*pieces, strict=True)])
    found = match_of(signal, mixed, (RATE, RATE))
    assert found.at_zero == pytest.approx(expected, abs=0.02)  # fades of 10 ms at either end


def test_unrelated_performances_have_no_coherence() -> None:
    for seed in range(50, 56):
        found = match_of(performance(seed), performance(seed + 100), (RATE, RATE))
        assert found.coherence < 0.15


def test_passages_are_where_both_play() -> None:
    first = np.array([0, 1, 9, 0, 5, 0, 0, 0, 0, 0], np.float32)
    second = np.array([9, 1, 1, 0, 2, 0, 0, 0, 0, 5], np.float32)
    assert joint_passages(first, second) == (1.0, 2.0, 4.0)
    assert joint_passages(first, np.zeros(10, np.float32)) == ()
    assert joint_passages(first, second[:0]) == ()


def test_likeness_is_of_the_shape_alone() -> None:
    shape = envelope_of(np.atleast_2d(performance(1)), RATE)
    other = envelope_of(np.atleast_2d(performance(2)), RATE)
    alike = likeness([shape, 1e-3 * shape, np.pad(shape, (3, 0)), other, 0.0 * shape])
    assert alike[0, 1] == pytest.approx(1.0, abs=1e-5)
    assert alike[0, 2] > 0.75  # 30 ms later
    assert alike[0, 3] < 0.5
    assert np.isnan(alike[4]).all()
    assert np.array_equal(alike, alike.T, equal_nan=True)


def test_three_hundred_tracks_are_compared_in_a_moment() -> None:
    rng = np.random.default_rng(0)
    envelopes = [rng.exponential(size=24_000).astype(np.float32) for _ in range(300)]
    start = time.process_time()
    likeness(envelopes)
    assert time.process_time() - start < 5.0  # 0.4 s on one free core


def test_a_band_without_faults_has_the_relations_that_it_was_made_of() -> None:
    relations = band().relations()
    found = {(r.first, r.second): r for r in relations.pairs}
    assert set(found) == {
        ("Kick In.wav", "Kick Out.wav"),
        ("Snare Top.wav", "Snare Bottom.wav"),
        ("Bass Amp.wav", "Bass DI.wav"),
    }
    assert all(r.kind == "microphones" for r in found.values())
    kick, snare, bass = (found[pair] for pair in found)
    assert not kick.inverted
    assert kick.delay_ms == pytest.approx(0.9, abs=0.1)  # the microphones' own responses
    assert snare.inverted
    assert bass.delay_ms == pytest.approx(-1.0, abs=0.1)
    # The one that is usual is said all the same, as it is flipped.
    (fault,) = fault_messages(relations)
    assert fault.startswith(
        "'Snare Bottom.wav' is inverted against 'Snare Top.wav' (correlation -0"
    )
    assert "usual for a microphone on the other side of the skin, flipped in the mix" in fault


@pytest.mark.parametrize(
    ("name", "change", "kind", "message"),
    [
        ("Gtr 9.wav", lambda x: 0.7 * x, "duplicate", "is the same recording as 'Gtr 1.wav' at -3"),
        ("Audio 12.wav", lambda x: -x, "inverted", "with inverted polarity at +0.0 dB: together"),
        ("Gtr 1 copy.wav", lambda x: later(x, 12.0), "copy delayed", "12.00 ms later at "),
        ("Gtr 9.wav", lambda x: np.stack([x, x]), "duplicate", "is the same recording"),
    ],
)
def test_copies_are_found_under_any_name(name: str, change, kind: str, message: str) -> None:  # type: ignore[no-untyped-def]
    song = band()
    song.add(name, change(song.audio["Gtr 1.wav"][0]))
    relations = song.relations()
    relation = relations.between("Gtr 1.wav", name)
    assert relation is not None
    assert relation.kind == kind
    (told,) = (words for words in fault_messages(relations) if repr(name) in words)
    assert message in told
    assert "mute one in session.toml" in told


def test_a_copy_that_starts_later_in_its_file_is_found_by_its_offset() -> None:
    song = band()
    song.add("Gtr 9.wav", song.audio["Gtr 1.wav"][0, 2 * RATE :])
    song.offsets_s["Gtr 9.wav"] = 2.0
    relation = song.relations().between("Gtr 1.wav", "Gtr 9.wav")
    assert relation is not None
    assert relation.kind == "duplicate"


def test_two_performances_of_one_part_are_no_copies() -> None:
    song = band()
    rng = np.random.default_rng(3)
    envelope = np.abs(scipy.signal.hilbert(song.audio["Gtr 1.wav"][0]))
    smooth = np.convolve(envelope, np.ones(800) / 800.0, "same")
    time_s = np.arange(smooth.size) / RATE
    for name in ("Gtr 5 L.wav", "Gtr 5 R.wav", "Synth 1.wav", "Synth 2.wav"):
        # the same notes in the same rhythm: partials of their own phase, a few cents apart
        f0 = 220.0 * 2.0 ** (rng.uniform(-5.0, 5.0) / 1200.0)
        tone = sum(
            np.sin(2 * np.pi * f0 * k * time_s + rng.uniform(0, 2 * np.pi)) / k for k in range(1, 9)
        )
        song.add(name, smooth * tone)
    relations = song.relations()
    assert relations.likeness_of("Gtr 5 L.wav", "Synth 1.wav") > 0.9
    assert not [r for r in relations.pairs if r.one_recording or r.second.startswith("Synth")]
    assert len(fault_messages(relations)) == 1  # of the snare's bottom


def test_a_name_that_says_nothing_takes_the_role_of_its_twin() -> None:
    song = band()
    song.add("Audio 12.wav", 0.5 * song.audio["Piano.wav"])
    relations = song.relations()
    before = {r.name: r for r in song.recognitions()}["Audio 12.wav"]
    after = {r.name: r for r in inherit_roles(song.recognitions(), relations)}["Audio 12.wav"]
    assert (before.role, after.role, after.subgroup) == ("unknown", "piano", "keys")
    assert after.reason == "holds the same sound as 'Piano.wav'"


def _injected(fault: str) -> tuple[Song, set[str], str]:
    song = band()
    if fault == "duplicate":
        song.add("Audio 12.wav", 0.7 * song.audio["Gtr 1.wav"])
        return song, {"Audio 12.wav", "Gtr 1.wav"}, "'Audio 12.wav' is the same recording as 'Gtr"
    if fault == "inverted":
        song.audio["Kick Out.wav"] *= -1.0
        return song, {"Kick Out.wav"}, "'Kick Out.wav' is inverted against 'Kick In.wav'"
    song.add("Bass Amp.wav", later(song.audio["Bass Amp.wav"][0], 9.0))
    return song, {"Bass Amp.wav"}, "'Bass DI.wav' is 10.0 ms earlier than 'Bass Amp.wav'"


@pytest.mark.parametrize("fault", ["duplicate", "inverted", "delayed"])
def test_a_fault_is_reported_and_moves_nothing_else(fault: str) -> None:
    before, stems_before, _ = band().balanced()
    song, touched, words = _injected(fault)
    after, stems_after, relations = song.balanced()
    assert any(told.startswith(words) for told in fault_messages(relations)), fault_messages(
        relations
    )
    for name in set(before) - touched:
        # LU: the promise; a late microphone hides how it would sum with the others of its source
        assert after[name].gain_db == pytest.approx(before[name].gain_db, abs=1.5), name
    for name, level in stems_before.items():
        assert stems_after[name] == pytest.approx(level, abs=0.5)


def test_an_inverted_close_microphone_is_flipped_and_a_copy_counted_once() -> None:
    song, _, _ = _injected("inverted")
    gains, _, _ = song.balanced()
    assert gains["Kick Out.wav"].invert
    assert not gains["Kick In.wav"].invert
    assert "polarity turned over: inverted against 'Kick In.wav'" in gains["Kick Out.wav"].reason
    before, _, _ = band().balanced()
    song, _, _ = _injected("duplicate")
    gains, _, _ = song.balanced()
    for name, audio in (("Gtr 1.wav", 1.0), ("Audio 12.wav", 0.7)):
        # each at half the amplitude that the one had
        expected = before["Gtr 1.wav"].gain_db - 6.02 - 20.0 * math.log10(audio)
        assert gains[name].gain_db == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    "name", ["caesium", "sodium", "delta_rock", "delta_punk", "delta_hendrix", "delta_country1",
             "delta_beatles"],
)  # fmt: skip
def test_real_sessions_of_single_recordings_raise_no_alarm(name: str) -> None:
    folder = AUDIO / "sessions" / name
    if not folder.is_dir():
        pytest.skip(f"no recordings in {AUDIO}")
    tracks = find_session(folder).tracks
    sounds = [
        TrackSound(
            track.name,
            track.path,
            track.offset_s,
            envelope_of(np.asarray(read(track.path), np.float32), track.info.sample_rate),
        )
        for track in tracks
    ]
    assert find_relations(sounds, recognise([track.name for track in tracks])).pairs == ()


def test_tracks_and_recognitions_must_be_of_one_session(tmp_path: Path) -> None:
    sound = TrackSound("a.wav", tmp_path / "a.wav", 0.0, np.ones(10, np.float32))
    with pytest.raises(ValueError, match="same order"):
        find_relations([sound], recognise(["b.wav"]))


def test_envelopes_are_read_from_files_and_moved_by_the_offset(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.arange(3, dtype=np.float32))
    sound = TrackSound("a.wav", tmp_path / "a.wav", 0.02, tmp_path / "e.npy")
    assert sound.power().tolist() == [0.0, 0.0, 0.0, 1.0, 2.0]
