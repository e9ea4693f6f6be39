"""What is left out of a mix, told by names and by signals, with tracks made here."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
import soundfile

from pipeline.audio.samples import HeldSamples
from pipeline.loudness.meter import LoudnessMeter
from pipeline.session.settings import TrackOverrides
from stage1.exclusions.choice import Exclusions, find_exclusions
from stage1.exclusions.utility import is_timecode
from stage1.recognition.recognise import recognise
from stage1.sources.relations import TrackSound

RATE = 16000
SECONDS = 12
Audio = npt.NDArray[np.float32]


def part(seed: int, *, low_hz: float, high_hz: float, every_s: float = 0.4) -> Audio:
    """Return bursts of band noise at odd moments: no two parts have anything in common."""
    rng = np.random.default_rng(seed)
    sos = scipy.signal.butter(2, [low_hz, high_hz], "bandpass", fs=RATE, output="sos")
    noise = scipy.signal.sosfilt(sos, rng.standard_normal(SECONDS * RATE))
    course = np.zeros(SECONDS * RATE)
    for start in np.arange(rng.uniform(0.0, 0.3), SECONDS - 0.5, every_s):
        at = round((start + rng.uniform(0.0, 0.5 * every_s)) * RATE)
        length = round(0.4 * RATE)
        shape = rng.uniform(0.2, 1.0) * np.exp(-np.arange(length) / (0.1 * RATE))
        course[at : at + length] = np.maximum(course[at : at + length], shape[: course.size - at])
    sound = noise * course
    return np.asarray(0.3 * sound / np.abs(sound).max(), np.float32)


def band() -> dict[str, Audio]:
    return {
        "Kick.wav": part(1, low_hz=60.0, high_hz=400.0),
        "Snare.wav": part(2, low_hz=200.0, high_hz=5000.0, every_s=0.8),
        "HiHat.wav": part(3, low_hz=3000.0, high_hz=7000.0, every_s=0.25),
        "Guitar.wav": part(4, low_hz=150.0, high_hz=3000.0, every_s=0.6),
        "Lead Vox.wav": part(5, low_hz=200.0, high_hz=6000.0, every_s=0.9),
    }


def search(
    session: Mapping[str, Audio],
    *,
    references: tuple[Path, ...] = (),
    overrides: Mapping[str, TrackOverrides] | None = None,
) -> Exclusions:
    names = list(session)
    tracks = []
    for name in names:
        audio = np.atleast_2d(session[name])
        meter = LoudnessMeter(sample_rate=RATE, channels=audio.shape[0])
        meter.process(audio)
        power = meter.segment_power().astype(np.float32)
        tracks.append(TrackSound(name, Path(name), 0.0, power))
    return find_exclusions(
        tracks,
        recognise(names),
        [(overrides or {}).get(name, TrackOverrides()) for name in names],
        references=references,
        samples=[HeldSamples(np.atleast_2d(session[name]), sample_rate=RATE) for name in names],
    )


def left_out(found: Exclusions) -> set[str]:
    return {track.name for track in found.tracks}


def stereo(sounds: Mapping[str, Audio], seed: int = 0) -> Audio:
    """Return a sum with gains and pans."""
    rng = np.random.default_rng(seed)
    total = np.zeros((2, SECONDS * RATE))
    for sound in sounds.values():
        left = rng.uniform(0.2, 0.8)
        total += rng.uniform(0.4, 1.0) * np.array([[left], [1.0 - left]]) * sound
    return np.asarray(total, np.float32)


def compressed(audio: Audio) -> Audio:
    """Return a bus that was worked on: two shelves' worth of tone, compression, saturation."""
    sos = scipy.signal.butter(1, 2000.0, "high", fs=RATE, output="sos")
    toned = audio + 0.6 * scipy.signal.sosfilt(sos, audio, axis=-1)
    window = np.ones(800) / 800.0
    level = np.sqrt(np.convolve((toned**2).mean(axis=0), window, "same") + 1e-8)
    gain = np.minimum(1.0, (0.02 / level) ** 0.6)
    return np.asarray(np.tanh(6.0 * toned * gain) / 6.0, np.float32)


def test_an_untouched_session_loses_nothing() -> None:
    assert search(band()) == Exclusions()


def test_busses_and_whole_mixes_are_left_out() -> None:
    tracks = band()
    drums = {name: tracks[name] for name in ("Kick.wav", "Snare.wav", "HiHat.wav")}
    session = tracks | {
        "Drums.wav": 0.5 * sum(drums.values()),
        "Stereo Out.wav": stereo(tracks),
        "My Song.wav": 0.7 * stereo(tracks),
    }
    found = search(session)
    assert left_out(found) == {"Drums.wav", "Stereo Out.wav", "My Song.wav"}
    assert "'Snare.wav'" in {t.name: t.why for t in found.tracks}["Drums.wav"]


def test_copies_of_one_track_are_no_sums_of_each_other() -> None:
    tracks = band()
    copies = {f"Guitar {n}.wav": tracks["Guitar.wav"] for n in range(2, 9)}
    assert search(tracks | copies) == Exclusions()


def test_a_bus_that_was_worked_on_and_comes_late_is_left_out() -> None:
    tracks = band()
    mixed = np.roll(compressed(stereo(tracks)), 400, axis=1)  # 25 ms, as an encoder adds
    assert left_out(search(tracks | {"Neon.wav": mixed})) == {"Neon.wav"}


@pytest.mark.parametrize(("missing", "gain"), [("HiHat.wav", 0.4), ("Guitar.wav", 0.8)])
def test_a_bus_with_an_instrument_that_no_other_track_has_is_kept(
    missing: str, gain: float
) -> None:
    tracks = band()
    softer = {missing: np.float32(gain) * tracks.pop(missing)}
    bus = stereo({name: tracks[name] for name in tracks if name != "Lead Vox.wav"} | softer)
    found = search(tracks | {"Backing.wav": bus})
    assert left_out(found) == set()
    assert [note for note in found.notes if "'Backing.wav'" in note]


def test_a_bus_that_goes_on_alone_is_kept() -> None:
    tracks = band()
    bus = stereo(tracks)
    half = bus.shape[1] // 2
    quiet = {
        name: np.where(np.arange(sound.size) < half, sound, 0.0) for name, sound in tracks.items()
    }
    found = search({n: np.asarray(s, np.float32) for n, s in quiet.items()} | {"Neon.wav": bus})
    assert left_out(found) == set()


def test_a_tone_that_many_others_share_is_no_sum() -> None:
    rng = np.random.default_rng(3)
    time = np.arange(SECONDS * RATE) / RATE
    pulse = np.exp(-(time % 2.0) / 0.3)
    session = {"Sub Drop.wav": np.asarray(0.3 * np.sin(2 * np.pi * 110.0 * time) * pulse, "f4")}
    for k in range(12):
        tones = sum(
            np.sin(2 * np.pi * 110.0 * h * time + rng.uniform(0.0, 6.28)) / h for h in range(1, 6)
        )
        course = 0.2 + pulse * rng.uniform(0.5, 1.0)
        session[f"Pad {k}.wav"] = np.asarray(0.05 * tones * course, np.float32)
    assert search(session) == Exclusions()


def test_a_sum_is_found_among_more_tracks_than_are_fitted_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stage1.exclusions.submix._MOST_SUMMED", 4)
    tracks = band()
    bus = stereo({name: tracks[name] for name in ("Kick.wav", "Snare.wav", "HiHat.wav")})
    others = {f"Synth {k}.wav": part(60 + k, low_hz=100.0, high_hz=6000.0) for k in range(4)}
    assert left_out(search(tracks | others | {"Neon.wav": bus})) == {"Neon.wav"}


def test_an_echo_of_several_tracks_is_no_sum() -> None:
    tracks = band()
    echo = np.roll(0.4 * stereo(tracks), 480, axis=1)  # 30 ms
    assert search(tracks | {"Slap.wav": echo}) == Exclusions()


def test_what_the_user_wants_is_kept() -> None:
    tracks = band()
    session = tracks | {
        "Stereo Out.wav": stereo(tracks),
        "Click.wav": part(9, low_hz=900.0, high_hz=2000.0),
    }
    keep = TrackOverrides(use=True)
    wanted = {"Stereo Out.wav": keep, "Click.wav": keep}
    assert not search(session, overrides=wanted).tracks
    assert left_out(search(session)) == {"Stereo Out.wav", "Click.wav"}


def test_overheads_rooms_and_returns_are_no_sums() -> None:
    tracks = band()
    rng = np.random.default_rng(7)
    session = dict(tracks)
    for name, first_ms, length_s, direct in (
        ("OH L.wav", 4.0, 0.15, 1.0),
        ("Room.wav", 15.0, 0.5, 0.5),
        ("Plate.wav", 20.0, 0.8, 0.0),
    ):
        heard = np.zeros(SECONDS * RATE)
        for k, drum in enumerate(("Kick.wav", "Snare.wav", "HiHat.wav")):
            size = round(length_s * RATE)
            tail = rng.standard_normal(size) * np.exp(-5.0 * np.arange(size) / size) * 0.08
            tail[0] = direct
            way = np.r_[np.zeros(round((first_ms + 1.3 * k) * RATE / 1000.0)), tail]
            heard += scipy.signal.fftconvolve(tracks[drum], way)[: heard.size]
        session[name] = np.asarray(0.3 * heard / np.abs(heard).max(), np.float32)
    assert search(session) == Exclusions()


def test_doubles_and_their_group_are_told_apart() -> None:
    tracks = band()
    other = part(40, low_hz=150.0, high_hz=3000.0, every_s=0.6)
    doubled = tracks | {"Guitar 2.wav": other}
    assert search(doubled) == Exclusions()
    # An even mix of the two, which stand in the session.
    doubled["Gtrs.wav"] = 0.5 * (tracks["Guitar.wav"] + other)
    assert left_out(search(doubled)) == {"Gtrs.wav"}


def test_takes_make_way_for_their_comp() -> None:
    session = band()
    takes = [part(20 + k, low_hz=200.0, high_hz=6000.0, every_s=0.7) for k in range(3)]
    cut = [0, 4 * RATE, 7 * RATE, SECONDS * RATE]
    del session["Lead Vox.wav"]
    for k, take in enumerate(takes):
        session[f"Audio {k + 1}.wav"] = take
    session["Audio 7.wav"] = np.concatenate(
        [0.5 * take[cut[k] : cut[k + 1]] for k, take in enumerate(takes)]
    )
    found = search(session)
    assert left_out(found) == {f"Audio {k}.wav" for k in (1, 2, 3)}
    assert all("'Audio 7.wav'" in track.why for track in found.tracks)


@pytest.mark.parametrize(
    ("takes", "comp"),
    [
        ("Gesang Versuch {}.wav", "Gesang Endfassung.wav"),
        ("Chant prise {}.wav", "Chant 07.wav"),
        ("Voz toma {}.wav", "Voz.wav"),
        ("Sång tagning {}.wav", "Sång.wav"),
        ("Вокал дубль {}.wav", "Вокал.wav"),
    ],
)
def test_a_take_that_the_comp_has_no_part_of_is_told_by_its_name(takes: str, comp: str) -> None:
    voices = [part(20 + k, low_hz=200.0, high_hz=6000.0, every_s=0.7) for k in range(3)]
    middle = SECONDS * RATE // 2
    session = band()
    del session["Lead Vox.wav"]
    session |= {takes.format(k + 1): voice for k, voice in enumerate(voices)}
    session[comp] = np.r_[voices[0][:middle], voices[2][middle:]]
    assert left_out(search(session)) == {takes.format(k) for k in (1, 2, 3)}


def test_parts_that_a_synthesiser_plays_of_the_same_notes_are_no_takes() -> None:
    time = np.arange(RATE // 4) / RATE
    notes = [0.2 * np.sign(np.sin(2 * np.pi * hz * time)) for hz in (220.0, 262.0, 330.0)]
    session = {}
    for k in range(6):
        chosen = np.random.default_rng(k).integers(0, 3, 4 * SECONDS)
        melody = np.concatenate([notes[note] for note in chosen])
        session[f"Synth Lead {k}.wav"] = np.asarray(melody, np.float32)
    assert left_out(search(session)) == set()


def test_verse_and_chorus_of_one_voice_are_no_takes() -> None:
    session = band()
    voice = session.pop("Lead Vox.wav")
    middle = SECONDS * RATE // 2
    session["Vox Verse.wav"] = np.r_[voice[:middle], np.zeros(middle, np.float32)]
    session["Vox Chorus.wav"] = np.r_[np.zeros(middle, np.float32), voice[middle:]]
    assert search(session) == Exclusions()


def test_layers_without_a_comp_are_wanted() -> None:
    layers = {f"Vox take {k}.wav": part(30 + k, low_hz=200.0, high_hz=6000.0) for k in range(1, 4)}
    assert search(band() | layers) == Exclusions()


def test_takes_are_told_by_name_where_the_comp_was_tuned() -> None:
    session = band()
    session["Vox take 1.wav"] = part(50, low_hz=200.0, high_hz=6000.0)
    session["Vox take 2.wav"] = part(51, low_hz=200.0, high_hz=6000.0)
    session["Vox comp.wav"] = part(52, low_hz=200.0, high_hz=6000.0)
    assert left_out(search(session)) == {"Vox take 1.wav", "Vox take 2.wav"}


def test_a_guide_makes_way_for_the_real_voice_alone() -> None:
    session = band() | {"Guide Vocal.wav": part(8, low_hz=200.0, high_hz=4000.0)}
    assert left_out(search(session)) == {"Guide Vocal.wav"}
    del session["Lead Vox.wav"]
    assert search(session) == Exclusions()


@pytest.mark.parametrize(
    "name", ["Click.wav", "Metronom.wav", "Count-In.wav", "Talkback.wav", "Slate.wav", "SMPTE.wav"]
)
def test_names_that_serve_the_recording(name: str) -> None:
    assert left_out(search(band() | {name: part(6, low_hz=500.0, high_hz=2000.0)})) == {name}


@pytest.mark.parametrize(
    "name",
    [
        "Kick Click.wav",
        "Finger Clicks.wav",
        "Snare Slate.wav",
        "Click Perc.wav",
        "Synth Click.wav",
        "Cowbell.wav",
    ],
)
def test_instruments_that_share_a_word_with_it(name: str) -> None:
    assert search(band() | {name: part(6, low_hz=500.0, high_hz=2000.0)}) == Exclusions()


def test_what_would_be_left_alone_is_kept_and_told() -> None:
    found = search({"Click.wav": part(6, low_hz=500.0, high_hz=2000.0)})
    assert not found.tracks
    assert "nothing else would be left" in found.notes[0]


def metronome(*, even: bool = True, length_s: float = 0.02, alike: bool = True) -> Audio:
    rng = np.random.default_rng(3)
    sound = np.zeros(SECONDS * RATE, np.float32)
    time = np.arange(round(length_s * RATE)) / RATE
    for beat, start in enumerate(np.arange(0.1, SECONDS - 0.2, 0.5)):
        hz = (1800.0 if beat % 4 == 0 else 1200.0) * (1.0 if alike else rng.uniform(0.9, 1.1))
        at = round((start if even else start + rng.uniform(0.0, 0.05)) * RATE)
        sound[at : at + time.size] = 0.5 * np.sin(2 * np.pi * hz * time)
    return sound


def test_a_click_without_a_name_is_told_by_its_signal() -> None:
    assert left_out(search(band() | {"Audio 12.wav": metronome()})) == {"Audio 12.wav"}


@pytest.mark.parametrize(
    "sound",
    [metronome(even=False), metronome(length_s=0.15), metronome(alike=False)],
    ids=["played", "rings", "varies"],
)
def test_percussion_without_a_name_is_no_click(sound: Audio) -> None:
    assert search(band() | {"Audio 12.wav": sound}) == Exclusions()


def test_a_cowbell_is_no_click_whatever_it_plays() -> None:
    assert search(band() | {"Cowbell.wav": metronome()}) == Exclusions()


def timecode(rate: int, bits_hz: float) -> Audio:
    """Return biphase mark code of frames that end in the sync word."""
    rng = np.random.default_rng(1)
    sync = [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1]
    bits = np.concatenate([np.r_[rng.integers(0, 2, 64), sync] for _ in range(60)])
    flips = np.zeros(2 * bits.size, bool)
    flips[::2] = True
    flips[1::2] = bits == 1
    level = 1.0 - 2.0 * (np.cumsum(flips) % 2)
    cell = (np.arange(round(bits.size / bits_hz * rate)) * 2.0 * bits_hz / rate).astype(int)
    return np.asarray(0.4 * level[cell], np.float32)


@pytest.mark.parametrize(("rate", "bits_hz"), [(44100, 2000.0), (48000, 2397.6), (16000, 1920.0)])
def test_timecode_is_decoded(rate: int, bits_hz: float) -> None:
    sound = timecode(rate, bits_hz)
    steady = np.full(200, 0.1, np.float32)
    rng = np.random.default_rng(2)
    square = np.sign(np.sin(2 * np.pi * 1000.0 * np.arange(2 * rate) / rate))
    noise = rng.standard_normal(2 * rate)
    assert is_timecode(HeldSamples(sound[None], sample_rate=rate), steady)
    for other in (square, noise):
        held = HeldSamples(np.asarray(other, np.float32)[None], sample_rate=rate)
        assert not is_timecode(held, steady)


def test_a_copy_of_the_reference_is_left_out(tmp_path: Path) -> None:
    song = stereo({str(k): part(60 + k, low_hz=100.0 * k, high_hz=5000.0) for k in range(1, 5)})
    reference = tmp_path / "like this.wav"
    soundfile.write(reference, song.T, RATE, subtype="PCM_16")
    # Quieter, without its beginning, and beginning later in the session.
    copy = np.concatenate([np.zeros((2, 2 * RATE)), 0.3 * song[:, 3 * RATE :]], axis=1)
    session = band() | {"Untitled.wav": np.asarray(copy, np.float32)}
    found = search(session, references=(reference,))
    assert [t.name for t in found.tracks] == ["Untitled.wav"]
    assert "like this.wav" in found.tracks[0].why
    assert search(session) == Exclusions()
