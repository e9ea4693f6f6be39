from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio.writer import write
from pipeline.loudness.meter import integrated_loudness
from pipeline.roles import SUBGROUP_OF, Role
from pipeline.session.discovery import open_session
from stage2.corpus.drums import acoustic_kit, drum_tracks, electronic_kit, strike
from stage2.corpus.effects import coloured, room, saturated, tone_response
from stage2.corpus.instruments import INSTRUMENTS, play, write_part
from stage2.corpus.lineup import draw_style, draw_subgroups
from stage2.corpus.samples import resampled
from stage2.corpus.score import compose_score, groove, rhythm, rng_of
from stage2.corpus.song import CorpusSong, CorpusTrack, SampleBank, make_song, write_song

RATE = 22050
SEEDS = range(10)


@pytest.fixture(scope="module")
def songs() -> list[CorpusSong]:
    return [make_song(seed, seconds=6.0, sample_rate=RATE) for seed in SEEDS]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> SampleBank:
    folder = tmp_path_factory.mktemp("shots")
    t = np.arange(RATE // 2) / RATE
    for name, hertz in {
        "bd_a": 60.0, "sn_a": 190.0, "hat_a": 5000.0, "bass_a": 65.4, "piano_A3": 220.0,
        "unheard_of": 100.0,
    }.items():  # fmt: skip
        wave = 0.5 * np.sin(2 * np.pi * hertz * t) * np.exp(-6.0 * t)
        write(folder / f"{name}.wav", wave[None].astype(np.float32), sample_rate=RATE)
    return SampleBank.of(folder)


def test_same_seed_same_song(songs: list[CorpusSong]) -> None:
    for seed in (0, 5):
        again = make_song(seed, seconds=6.0, sample_rate=RATE)
        assert [t.name for t in again.tracks] == [t.name for t in songs[seed].tracks]
        for one, other in zip(again.tracks, songs[seed].tracks, strict=True):
            np.testing.assert_array_equal(one.audio, other.audio)


def test_songs_are_whole(songs: list[CorpusSong]) -> None:
    for song in songs:
        names = [track.name for track in song.tracks]
        assert len(set(names)) == len(names)
        assert 2 <= len({track.subgroup for track in song.tracks}) <= 10
        for track in song.tracks:
            assert track.audio.dtype == np.float32
            assert track.audio.shape in {(1, 6 * RATE), (2, 6 * RATE)}
            assert np.isfinite(track.audio).all()
            assert 0.0 < np.abs(track.audio).max() <= 1.0
            assert track.subgroup == SUBGROUP_OF[Role(track.role)]


def test_songs_differ(songs: list[CorpusSong]) -> None:
    assert len({song.tempo_bpm for song in songs}) >= 9
    assert len({tuple(t.role for t in song.tracks) for song in songs}) >= 9
    levels = [integrated_loudness(t.audio, sample_rate=RATE) for song in songs for t in song.tracks]
    assert np.ptp([level for level in levels if np.isfinite(level)]) > 15.0
    channels = {len(t.audio) for song in songs for t in song.tracks}
    assert channels == {1, 2}


def test_stems_are_stereo_sums_of_their_tracks(songs: list[CorpusSong]) -> None:
    for song in songs:
        stems = song.stems()
        assert set(stems) == {track.subgroup for track in song.tracks}
        for audio in stems.values():
            assert audio.shape == (2, 6 * RATE)
            assert np.isfinite(audio).all()
            assert -45.0 < integrated_loudness(audio, sample_rate=RATE) < -12.0


def test_a_stem_balances_and_places_its_tracks() -> None:
    t = np.arange(3 * RATE) / RATE
    low = 0.5 * np.sin(2 * np.pi * 500.0 * t)[None].astype(np.float32)
    high = 0.001 * np.sin(2 * np.pi * 2000.0 * t)[None].astype(np.float32)
    tracks = (
        CorpusTrack("a", "keys", "piano", low, pan=-1.0),
        CorpusTrack("b", "keys", "organ", high, pan=1.0, level_lu=-6.0),
        CorpusTrack("c", "bass", "bass", np.zeros_like(low)),
    )
    stems = CorpusSong(0, RATE, 120.0, tracks).stems()
    assert set(stems) == {"keys"}
    left, right = (integrated_loudness(row[None], sample_rate=RATE) for row in stems["keys"])
    assert left == pytest.approx(-26.0, abs=0.1)
    assert right == pytest.approx(-32.0, abs=0.1)


def test_most_songs_have_drums_and_bass_and_some_have_neither() -> None:
    drawn = []
    for seed in range(400):
        rng = rng_of(seed, "lineup")
        drawn.append(set(draw_subgroups(draw_style(rng), rng)))
    assert 5 <= np.median([len(names) for names in drawn]) <= 6
    both = np.mean([{"drums", "bass"} <= names for names in drawn])
    assert 0.5 < both < 0.85
    assert np.mean(["drums" not in names for names in drawn]) > 0.1


def test_length_follows_rate_and_seconds() -> None:
    song = make_song(3, seconds=2.5, sample_rate=48000)
    assert {track.audio.shape[1] for track in song.tracks} == {120000}


@pytest.mark.parametrize(
    ("seed", "seconds", "rate"),
    [(-1, 10.0, RATE), (1, 1.0, RATE), (1, float("nan"), RATE), (1, 10.0, 16000)],
)
def test_no_song_without_seed_length_and_rate(seed: int, seconds: float, rate: int) -> None:
    with pytest.raises(ValueError, match="make no song"):
        make_song(seed, seconds=seconds, sample_rate=rate)


@pytest.mark.parametrize("role", list(INSTRUMENTS))
def test_every_instrument_sounds(role: Role) -> None:
    score = compose_score(3, 3.0, bpm=(100, 120), swing=0.1)
    rng = np.random.default_rng(int(list(INSTRUMENTS).index(role)))
    notes = write_part(score, INSTRUMENTS[role].manners[0], score.letters, 60.0, rng)
    takes = play(role, notes, score, 3 * RATE, rng, rate=RATE, takes=2)
    for take in takes:
        assert take.shape[1] == 3 * RATE
        assert np.isfinite(take).all()
        assert np.sqrt(np.mean(take**2)) > 1e-3
    assert not np.array_equal(*takes)


@pytest.mark.parametrize("kit", [acoustic_kit, electronic_kit])
@pytest.mark.parametrize("layout", ["microphones", "outputs", "bounce"])
def test_kits_in_every_layout(kit: object, layout: str) -> None:
    score = compose_score(5, 4.0, bpm=(100, 120), swing=0.0)
    rng = np.random.default_rng(2)
    hits = groove(score, "rock", score.letters, rng)
    pieces = strike(kit(rng), hits, 4 * RATE, rng, rate=RATE)  # type: ignore[operator]
    tracks = drum_tracks(pieces, rng, rate=RATE, layout=layout)
    assert (len(tracks) == 1) == (layout == "bounce")
    for track in tracks:
        assert SUBGROUP_OF[track.role] == "drums"
        assert np.isfinite(track.audio).all()
        assert np.abs(track.audio).max() > 0.0


def test_grooves_keep_to_their_sections() -> None:
    score = compose_score(11, 60.0, bpm=(120, 121), swing=0.0)
    assert len(score.letters) > 1
    rng = np.random.default_rng(0)
    letter = score.letters[0]
    for hit in groove(score, "four", letter, rng):
        bar = min(int((hit.start_s + 0.05) / score.bar_s), len(score.bars) - 1)
        assert score.bars[bar].letter == letter


def test_rhythms_hold_their_notes() -> None:
    rng = np.random.default_rng(1)
    held = rhythm(rng, "halves", gate=1.0)
    assert len(held) == 32
    assert "." not in held[held.index("X") :].rstrip(".")
    assert "-" not in rhythm(rng, "sixteenths", gate=0.2)


def test_tone_response_follows_its_corners() -> None:
    response = tone_response(
        np.random.default_rng(0), 44100, low_hz=100.0, high_hz=5000.0, strength=0.0
    )
    level_db = 20.0 * np.log10(np.abs(np.fft.rfft(response, 44100)))
    # Second order Butterworth magnitudes: 3 dB at the corners, 12 dB an octave beyond.
    for hertz, expected in ((100, -3.0), (50, -12.3), (700, 0.0), (5000, -3.0), (10000, -12.3)):
        assert level_db[hertz] == pytest.approx(expected, abs=1.0)


def test_colouring_is_convolution() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 9000)).astype(np.float32)
    for taps in (300, 6000):
        response = rng.standard_normal((2, taps)).astype(np.float32)
        for heard, row, answer in zip(coloured(x, response), x, response, strict=True):
            expected = np.convolve(row, answer)[:9000]
            np.testing.assert_allclose(heard, expected, atol=2e-3)


def test_saturation_is_bounded_and_odd_without_bias() -> None:
    x = np.sin(np.linspace(0.0, 60.0, 4000))[None].astype(np.float32)
    out = saturated(x, drive=20.0)
    assert np.abs(out).max() <= 1.0
    np.testing.assert_allclose(saturated(-x, drive=20.0), -out, atol=1e-6)
    np.testing.assert_array_equal(saturated(0.0 * x, drive=20.0), 0.0 * x)


def test_rooms_have_unit_energy_and_decay() -> None:
    answer = room(np.random.default_rng(0), RATE, t60_s=0.5, brightness=0.5, predelay_s=0.01)
    assert np.sum(answer**2) == pytest.approx(1.0, rel=1e-4)
    late = np.sum(answer[len(answer) // 2 :] ** 2)
    assert late < 0.02


def test_bank_knows_kinds_and_pitches(bank: SampleBank) -> None:
    assert bank.names("kick") == ("bd_a",)
    assert bank.names("choir") == ()
    assert "unheard_of" not in bank.files
    assert bank.pitch("piano_A3", sample_rate=RATE) == 57.0
    assert bank.pitch("bass_a", sample_rate=RATE) == pytest.approx(36.0, abs=0.3)
    assert np.abs(bank.sound("bd_a", sample_rate=RATE)).max() == pytest.approx(1.0)


def test_bank_travels_without_its_sounds(bank: SampleBank) -> None:
    bank.sound("bd_a", sample_rate=RATE)
    other = pickle.loads(pickle.dumps(bank))
    assert other == bank
    np.testing.assert_array_equal(
        other.sound("bd_a", sample_rate=RATE), bank.sound("bd_a", sample_rate=RATE)
    )


def test_samples_change_some_songs_and_keep_the_rest(
    songs: list[CorpusSong], bank: SampleBank
) -> None:
    changed = 0
    for song in songs[:6]:
        sampled = make_song(song.seed, seconds=6.0, sample_rate=RATE, samples=bank)
        assert {t.subgroup for t in sampled.tracks} == {t.subgroup for t in song.tracks}
        changed += any(
            not np.array_equal(a.audio, b.audio)
            for a, b in zip(sampled.tracks, song.tracks, strict=False)
        )
    assert changed >= 1


def test_resampling_moves_the_pitch() -> None:
    t = np.arange(RATE) / RATE
    sound = np.sin(2 * np.pi * 440.0 * t).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(resampled(sound, 1.5)))
    assert np.argmax(spectrum) * 1.5 == pytest.approx(660.0, rel=0.01)


def test_a_written_song_is_a_session(songs: list[CorpusSong], tmp_path: Path) -> None:
    song = max(songs, key=lambda s: len(s.tracks))
    write_song(song, tmp_path / "deep" / "song")
    session, _ = open_session(tmp_path / "deep" / "song")
    assert session.sample_rate == RATE
    assert session.frames == 6 * RATE
    by_number = sorted(session.tracks, key=lambda track: track.name)
    assert [t.overrides.role for t in by_number] == [t.role for t in song.tracks]
    assert [t.overrides.subgroup for t in by_number] == [t.subgroup for t in song.tracks]
    assert not session.notes
    with pytest.raises(FileExistsError, match="exists"):
        write_song(song, tmp_path / "deep" / "song")
