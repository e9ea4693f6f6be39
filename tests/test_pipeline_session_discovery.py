"""Sessions: what is a track, what is left out, and what is wrong, all said together."""

from __future__ import annotations

import json
import math
import os
import struct
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio.check import TrackCheck
from pipeline.errors import InputError
from pipeline.roles import Presence, Role
from pipeline.session.discovery import LeftOut, Session, TrackOverrides, find_session, open_session
from pipeline.session.timecode import StampUse
from pipeline.units import FloatArray

SHARED = Path(__file__).resolve().parents[2] / "shared" / "audio"


def noise(seconds: float = 0.1, channels: int = 1, sample_rate: int = 48_000) -> FloatArray:
    rng = np.random.default_rng(7)
    frames = round(seconds * sample_rate)
    return np.asarray(rng.uniform(-0.3, 0.3, (channels, frames)), np.float32)


def put(
    root: Path, name: str, *, sample_rate: int = 48_000, audio: FloatArray | None = None
) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = noise(sample_rate=sample_rate) if audio is None else audio
    suffix = path.suffix.lower()
    kind = {".flac": "FLAC", ".mp3": "MP3", ".ogg": "OGG", ".caf": "CAF", ".aiff": "AIFF"}
    file = os.fsencode(path) if os.name == "posix" else str(path)
    soundfile.write(file, samples.T, sample_rate, format=kind.get(suffix, "WAV"))
    return path


def stamped(root: Path, name: str, stamp_s: float, *, sample_rate: int, seconds: float) -> None:
    """Write a Broadcast-WAV with a time stamp."""
    path = put(root, name, sample_rate=sample_rate, audio=noise(seconds, 1, sample_rate))
    data = path.read_bytes()
    body = bytes(338) + struct.pack("<Q", round(stamp_s * sample_rate)) + bytes(256)
    chunk = b"bext" + struct.pack("<I", len(body)) + body
    size = struct.pack("<I", len(data) + len(chunk) - 8)
    path.write_bytes(data[:4] + size + data[8:12] + chunk + data[12:])


def opened(root: Path, *references: Path, skip_bad: bool = False) -> Session:
    return open_session(root, references=references, skip_bad=skip_bad)[0]


def messages(root: Path, *references: Path, skip_bad: bool = False) -> list[str]:
    before = sorted(root.rglob("*")) if root.is_dir() else []
    with pytest.raises(InputError) as caught:
        opened(root, *references, skip_bad=skip_bad)
    assert before == (sorted(root.rglob("*")) if root.is_dir() else [])
    return str(caught.value).split("\n")


def test_tracks_are_found_in_folders_and_sorted_by_number(tmp_path: Path) -> None:
    for name in ("Tom 10.wav", "Tom 2.flac", "Drums/Mics/Kick.WAV", "Vox.mp3", "b.ogg", "A.aiff"):
        put(tmp_path, name)
    (tmp_path / "notes.txt").write_text("not a track")
    (tmp_path / "cover.jpg").write_bytes(b"nor this")
    session = opened(tmp_path)
    assert [track.name for track in session.tracks] == [
        "A.aiff", "b.ogg", "Drums/Mics/Kick.WAV", "Tom 2.flac", "Tom 10.wav", "Vox.mp3",
    ]  # fmt: skip
    assert session.tracks[2].folder == "Drums/Mics"
    assert session.tracks[3].folder == ""
    assert all(track.path.is_absolute() for track in session.tracks)
    assert session.tracks[2].path == (tmp_path / "Drums/Mics/Kick.WAV").resolve()
    assert (session.left_out, session.skipped, session.notes) == ((), (), ())


@pytest.mark.skipif(os.name != "posix", reason="Windows forbids some of these names")
def test_any_name_is_a_track(tmp_path: Path) -> None:
    names = ['Gtr "L".wav', "Kick\nIn.wav", "Stimme ü 日本語 🎸.wav", " x .wav", "[a]*?.wav"]
    if sys.platform == "linux":
        names.append(os.fsdecode(b"Caf\xe9.wav"))
    for name in names:
        put(tmp_path, name)
    session, checks = open_session(tmp_path)
    assert {track.name for track in session.tracks} == set(names) == set(checks)


def test_rate_is_the_most_common_and_the_higher_of_two(tmp_path: Path) -> None:
    put(tmp_path, "a.wav", sample_rate=44_100)
    put(tmp_path, "b.wav", sample_rate=96_000)
    assert opened(tmp_path).sample_rate == 96_000
    put(tmp_path, "c.wav", sample_rate=44_100)
    assert opened(tmp_path).sample_rate == 44_100
    assert open_session(tmp_path, sample_rate=48_000)[0].sample_rate == 48_000
    (tmp_path / "session.toml").write_text("sample_rate = 88200")
    assert opened(tmp_path).sample_rate == 88_200
    assert open_session(tmp_path, sample_rate=48_000)[0].sample_rate == 48_000


def test_recordings_of_a_telephone_do_not_set_the_rate(tmp_path: Path) -> None:
    for name, rate in (("a", 8_000), ("b", 8_000), ("c", 22_050)):
        put(tmp_path, f"{name}.wav", sample_rate=rate)
    session = opened(tmp_path)
    assert session.sample_rate == 22_050
    assert session.notes == ()
    put(tmp_path, "d.wav", sample_rate=44_100)
    session = opened(tmp_path)
    assert session.sample_rate == 44_100
    assert session.notes == (
        "the mix is at 44100 Hz, and 3 of 4 tracks are under 44100 Hz and have no treble: "
        "'a.wav', 'b.wav', 'c.wav'",
    )
    assert open_session(tmp_path, sample_rate=8_000)[0].sample_rate == 8_000


def tail(seconds: float, silence_s: float, rate: int = 8_000) -> FloatArray:
    silence = np.zeros((1, round(silence_s * rate)), np.float32)
    return np.concatenate([noise(seconds, 1, rate), silence], axis=1)


def test_long_silence_after_the_last_sound_is_left_out_and_said(tmp_path: Path) -> None:
    put(tmp_path, "a.wav", sample_rate=8_000, audio=tail(2.0, 90.0))
    put(tmp_path, "b.wav", sample_rate=8_000, audio=tail(1.0, 5.0))
    put(tmp_path, "silent.wav", sample_rate=8_000, audio=tail(0.0, 100.0))
    session = opened(tmp_path)
    assert session.frames == 4 * 8_000
    assert session.end_notes == (
        "96.0 s of silence after the last sound are left out: the mix ends at 4.0 s "
        "(--full-length keeps them)",
    )
    (tmp_path / "session.toml").write_text("full_length = true\n")
    session = opened(tmp_path)
    assert (session.frames, session.end_notes) == (100 * 8_000, ())
    (tmp_path / "session.toml").write_text('[[track]]\nmatch = "a.wav"\nmute = true\n')
    assert opened(tmp_path).frames == 3 * 8_000  # what is muted does not sound


def test_an_end_that_still_sounds_is_kept_whole(tmp_path: Path) -> None:
    time_s = np.arange(20 * 8_000) / 8_000
    # A hall of 4 s: it goes on to -90 dBFS, and in a faint file to 80 dB under the peak.
    decay = 10.0 ** (-3.0 * time_s / 4.0)
    hall = (0.5 * decay * np.cos(2.0 * np.pi * 440.0 * time_s)).astype(np.float32)[None]
    for gain in (1.0, 1e-4):
        soundfile.write(tmp_path / "hall.wav", gain * hall.T, 8_000, subtype="FLOAT")
        session = opened(tmp_path)
        until_s = session.tracks[0].sounds_until_s
        assert until_s is not None
        assert decay[round(until_s * 8_000)] < 10.0 ** (-75.0 / 20.0)
        assert session.frames == math.ceil(until_s * 8_000) + 2 * 8_000
    for silence_s in (0.0, 9.9):
        put(tmp_path, "hall.wav", sample_rate=8_000, audio=tail(1.0, silence_s))
        assert opened(tmp_path).frames == round((1.0 + silence_s) * 8_000)


def test_length_is_that_of_the_longest_at_the_session_s_rate(tmp_path: Path) -> None:
    put(tmp_path, "a.wav", audio=noise(0.5))
    put(tmp_path, "b.wav", sample_rate=44_100, audio=np.zeros((1, 44_101), np.float32))
    put(tmp_path, "c.wav")
    session = opened(tmp_path)
    assert session.sample_rate == 48_000
    assert session.frames == 48_002  # 44,101 samples of 44.1 kHz are 48,001.09 of 48 kHz


def test_time_stamps_place_the_tracks(tmp_path: Path) -> None:
    stamped(tmp_path, "a.wav", 3_600.0, sample_rate=48_000, seconds=1.0)
    stamped(tmp_path, "b.wav", 3_602.5, sample_rate=44_100, seconds=2.0)
    stamped(tmp_path, "c.wav", 3_600.25, sample_rate=48_000, seconds=1.0)
    put(tmp_path, "d.wav")
    session = opened(tmp_path)
    assert [track.offset_s for track in session.tracks] == [0.0, 2.5, 0.25, 0.0]
    assert session.frames == round(4.5 * 48_000)
    assert session.notes == (
        "time stamps are used: 'b.wav' 2.500 s, 'c.wav' 0.250 s after the first "
        "(see --time-stamps)",
        "without a time stamp, it starts with the earliest: 'd.wav'",
    )
    (tmp_path / "session.toml").write_text(
        'time_stamps = "ignore"\n[[track]]\nmatch = "d.wav"\nstart_s = 1.5\n'
    )
    session = opened(tmp_path)
    assert [track.offset_s for track in session.tracks] == [0.0, 0.0, 0.0, 1.5]
    assert session.notes == ("time stamps are ignored: all tracks start together",)
    found = find_session(tmp_path, time_stamps=StampUse.USE)
    assert found.time_stamps is StampUse.USE


@pytest.mark.skipif(os.name != "posix", reason="Windows has neither links nor pipes for all")
def test_what_is_no_track_is_left_out_and_said(tmp_path: Path) -> None:
    root = tmp_path / "Sunlight"
    track = put(root, "Kick.wav", audio=noise(1.0))
    for name in ("._Kick.wav", ".hidden.wav", ".cache/a.wav", "mixes/x/mix.wav", "__MACOSX/a.wav"):
        put(root, name)
    put(root, "old/mix.wav")
    plan = {"version": 1, "session": "..", "tracks": [], "stems": [], "bus": {}}
    (root / "old" / "plan.json").write_text(json.dumps(plan))
    put(root, "other/Snare.wav")
    (root / "other" / "plan.json").write_text('{"version": 1}')
    put(root, "Bass.wav")
    put(root, "Sunlight Rough Mix.wav")
    put(root, "Katrin Mix.wav", audio=noise(0.9, channels=2))
    put(root, "Jonas Master.wav", audio=noise(0.9, channels=1))
    put(root, "Lieder Master.wav", audio=noise(0.5, channels=2))
    (root / ".DS_Store").write_bytes(b"?")
    (root / "link.wav").symlink_to(track)
    (root / "gone.wav").symlink_to(root / "nothing")
    (root / "outside.wav").symlink_to(put(tmp_path, "secret.wav"))
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.wav")
    reference = put(root, "ref.wav", audio=noise(3.5, channels=2))
    session = opened(root, reference)
    assert [track.name for track in session.tracks] == [
        "Bass.wav", "Jonas Master.wav", "Kick.wav", "Lieder Master.wav", "other/Snare.wav",
    ]  # fmt: skip
    bounce = "looks like a mix of the whole song (to keep it, give it use = true in session.toml)"
    assert {item.name: item.why for item in session.left_out} == {
        "._Kick.wav": "is a macOS resource file",
        ".hidden.wav": "is a hidden file",
        ".cache/": "is a hidden folder",
        "__MACOSX/": "holds what macOS adds to archives",
        "mixes/": "holds earlier mixes",
        "old/": "holds earlier mixes",
        "Sunlight Rough Mix.wav": bounce,
        "Katrin Mix.wav": bounce,
        "link.wav": "is a link to Kick.wav",
        "gone.wav": "is a link to nothing",
        "outside.wav": "is a link to a file outside the session: copy the file into it to have it "
        "mixed",
        "folder/": "is a link to a folder",
        "pipe.wav": "is not a regular file",
        "ref.wav": "is the reference",
    }
    assert session.references == (reference,)


def test_a_mix_written_into_the_session_itself_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, "Kick.wav")
    put(tmp_path, "mix.flac")
    put(tmp_path, "stems/drums.wav")
    plan = {"version": 1, "session": ".", "tracks": [], "stems": [], "bus": {}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    session = opened(tmp_path)
    assert [track.name for track in session.tracks] == ["Kick.wav"]
    assert [item.name for item in session.left_out] == ["mix.flac", "stems/"]


def test_a_bounce_that_the_user_names_is_a_track(tmp_path: Path) -> None:
    for name in ("Mix.wav", "Mix 2.wav"):
        put(tmp_path, name)
    assert messages(tmp_path) == [
        f"{tmp_path}: has no tracks (2 left out; Mix 2.wav: looks like a mix of the whole song "
        "(to keep it, give it use = true in session.toml)): add tracks, or rename what is one"
    ]
    (tmp_path / "session.toml").write_text('[[track]]\nmatch = "Mix.wav"\n')
    session = opened(tmp_path)
    assert [track.name for track in session.tracks] == ["Mix.wav"]
    assert [item.name for item in session.left_out] == ["Mix 2.wav"]


@pytest.mark.parametrize("beat", ["Instrumental Mix", "2track", "Beatless Master", "Rough Mix"])
def test_a_beat_named_like_a_mix_is_kept_beside_vocals(tmp_path: Path, beat: str) -> None:
    for name in ("Lead Vox", "Adlibs", beat):
        put(tmp_path, f"{name}.wav", audio=noise(1.0, channels=2))
    session = opened(tmp_path)
    assert len(session.tracks) == 3
    assert session.left_out == ()
    (note,) = session.notes
    assert note.startswith(f"'{beat}.wav' is named like a mix of the whole song")
    # It is the whole accompaniment, and no small part of it.
    (track,) = [track for track in session.tracks if track.name == f"{beat}.wav"]
    assert track.overrides.subgroup == "other"
    assert session.offsets == {"stem": {"other": -1.0}}
    (tmp_path / "session.toml").write_text(f'[[track]]\nmatch = "{beat}*"\nuse = false\n')
    session = opened(tmp_path)
    assert len(session.tracks) == 2
    assert session.notes == ()


def test_folders_of_daws_and_systems_are_left_out_and_said(tmp_path: Path) -> None:
    put(tmp_path, "Kick.wav")
    put(tmp_path, "Bass.wav")
    (tmp_path / "Song.ptx").write_bytes(b"?")
    out = {
        "Audio Files/Kick_01.wav": "is the audio pool of a project",
        "Fade Files/a.wav": "holds a DAW's cross-fades",
        "Freeze Files.nosync/Bass.wav": "holds frozen tracks",
        "Undo Data/Kick.wav": "holds a program's undo data",
        "Edits/Kick.wav": "holds a DAW's edited copies",
        "$RECYCLE.BIN/S-1-5/Kick.wav": "holds deleted files",
        "Cache/x.wav": "holds a program's cache",
        "Session File Backups/Kick.wav": "holds backups",
        "Song.logicx/Media/Audio Files/k.wav": "is a project of Logic",
    }
    for name in out:
        put(tmp_path, name)
    put(tmp_path, "Freeze Bass [2024-03-01 120000].wav")
    session = opened(tmp_path)
    assert [track.name for track in session.tracks] == ["Bass.wav", "Kick.wav"]
    reasons = {item.name: item.why for item in session.left_out}
    assert reasons.pop("Freeze Bass [2024-03-01 120000].wav").startswith("is a frozen copy of Bass")
    assert reasons.keys() == {name.split("/")[0] + "/" for name in out}
    for name, why in out.items():
        assert reasons[name.split("/")[0] + "/"].startswith(why)
    (tmp_path / "session.toml").write_text(
        '[[track]]\nmatch = "Undo Data/*"\nuse = true\n'
        '[[track]]\nmatch = "Edits/Kick.wav"\nuse = true\n'
        '[[track]]\nmatch = "Freeze Bass*"\nuse = true\n'
    )
    assert {track.name for track in opened(tmp_path).tracks} == {
        "Bass.wav", "Kick.wav", "Undo Data/Kick.wav", "Edits/Kick.wav",
        "Freeze Bass [2024-03-01 120000].wav",
    }  # fmt: skip


def test_a_pool_is_taken_where_there_is_little_else(tmp_path: Path) -> None:
    (tmp_path / "Song.cpr").write_bytes(b"?")
    for name in ("Audio/Kick_01.wav", "Audio/Bass_01.wav", "Edits/Kick.wav", "Mixdown/Song.wav"):
        put(tmp_path, name, audio=noise(channels=2))
    session = opened(tmp_path)
    assert [track.name for track in session.tracks] == ["Audio/Bass_01.wav", "Audio/Kick_01.wav"]
    assert [item.name for item in session.left_out] == ["Edits/", "Mixdown/Song.wav"]
    assert session.notes[0].startswith("Audio/ is the audio pool of a project of Cubase, and there")


def test_use_of_a_file_named_in_full_means_that_file_alone(tmp_path: Path) -> None:
    for name in ("Kick.wav", "Vox.wav", "Double/Vox.wav", "Recycled/Kick.wav"):
        put(tmp_path, name)
    (tmp_path / "session.toml").write_text(
        '[[track]]\nmatch = "Vox.wav"\nuse = false\n[[track]]\nmatch = "Kick.wav"\nuse = true\n'
    )
    session = opened(tmp_path)
    assert [track.name for track in session.tracks] == ["Double/Vox.wav", "Kick.wav"]
    assert [item.name for item in session.left_out] == ["Recycled/", "Vox.wav"]


@pytest.mark.parametrize("target", ["session.toml", "settings of the song.toml"])
def test_settings_that_are_a_link_to_nothing_are_told(tmp_path: Path, target: str) -> None:
    put(tmp_path, "Kick.wav")
    (tmp_path / "session.toml").symlink_to(target)
    (said,) = messages(tmp_path)
    assert said.startswith("session.toml: cannot be read (")
    assert said.endswith("): make it readable")


def test_use_keeps_what_would_be_left_out_and_leaves_out_what_would_be_kept(
    tmp_path: Path,
) -> None:
    for name in ("Kick.wav", "Old/Bass.wav", "Rough Mix.wav", "Rough Mix 2.wav"):
        put(tmp_path, name, audio=noise(channels=2))
    (tmp_path / "session.toml").write_text(
        '[[track]]\nmatch = "rough*"\nuse = true\n'
        '[[track]]\nmatch = "Rough Mix 2.wav"\nuse = false\n'
        '[[track]]\nmatch = "Old/*"\nuse = false\n'
    )
    session = opened(tmp_path)
    assert [track.name for track in session.tracks] == ["Kick.wav", "Rough Mix.wav"]
    assert session.tracks[1].overrides.use is True
    assert session.left_out == (
        LeftOut("Old/Bass.wav", "session.toml says use = false"),
        LeftOut("Rough Mix 2.wav", "session.toml says use = false"),
    )
    assert session.notes == ()


def test_a_word_that_most_names_have_makes_no_bounce(tmp_path: Path) -> None:
    for name in ("Glocke Master.wav", "Katrin Master.wav", "Jonas Master.wav", "Kick Master.wav"):
        put(tmp_path, name, audio=noise(channels=2))
    assert len(opened(tmp_path).tracks) == 4


@pytest.mark.skipif(os.name != "posix", reason="Windows has no links for all")
def test_links_inside_the_session_are_followed(tmp_path: Path) -> None:
    target = put(tmp_path, ".store/7f3a.wav")
    (tmp_path / "Kick.wav").symlink_to(target)
    assert [track.name for track in opened(tmp_path).tracks] == ["Kick.wav"]


def test_overrides_and_unmatched_globs(tmp_path: Path) -> None:
    put(tmp_path, "Drums/BIG Kick.wav")
    put(tmp_path, "Vox.wav")
    (tmp_path / "session.toml").write_text(
        '[[track]]\nmatch = "drums/*"\nsubgroup = "Room Mics"\ngain_db = 2\npan = -0.5\n'
        '[[track]]\nmatch = "*kick*"\nrole = "kick"\npresence = "lead"\ngain_db = -3.5\n'
        '[[track]]\nmatch = "Flute*"\nmute = true\n'
    )
    session = opened(tmp_path)
    assert session.tracks[0].overrides == TrackOverrides(
        role=Role.KICK,
        subgroup="room_mics",
        presence=Presence.LEAD,
        gain_offset_db=-3.5,
        pan=-0.5,
    )
    assert session.tracks[1].overrides == TrackOverrides()
    assert session.notes == ("session.toml: 'Flute*' matches no track",)


def bad_tracks(root: Path) -> None:
    put(root, "Bass.wav")
    (root / "text.wav").write_text("no audio")
    (root / "zero.flac").touch()
    cut = put(root, "cut.wav", audio=noise(1.0))
    cut.write_bytes(cut.read_bytes()[:47_044])
    torn = put(root, "torn.flac", audio=noise(3.0))
    torn.write_bytes(torn.read_bytes()[:90_000])
    put(root, "surround.wav", audio=noise(channels=6))
    broken = noise(2.0, channels=2)
    broken[1, 60_000] = np.nan
    soundfile.write(root / "nan.wav", broken.T, 48_000, subtype="FLOAT")
    broken[1, 60_000] = np.inf
    soundfile.write(root / "sub inf.wav", broken.T, 48_000, subtype="FLOAT")


BAD_TRACKS = [
    "cut.wav: is truncated: it holds 47,000 of the 96,000 bytes of audio that its header promises "
    "(0.490 of 1.000 s): copy or export it again, or use what is there with --salvage, "
    "or leave it out with --skip-bad",
    "nan.wav: holds a sample that is NaN or infinite at 1.250 s in channel 2: "
    "export it again, or leave it out with --skip-bad",
    "sub inf.wav: holds a sample that is NaN or infinite at 1.250 s in channel 2: "
    "export it again, or leave it out with --skip-bad",
    "surround.wav: has 6 channels: "
    "split it into mono or stereo files, or leave it out with --skip-bad",
    "text.wav: is not readable audio (its content is not WAV, AIFF, FLAC, Ogg, MP3 or CAF): "
    "export it again as WAV, AIFF, FLAC, Ogg, MP3 or CAF, or leave it out with --skip-bad",
    "torn.flac: cannot be decoded after 0.683 s of 3.000 s: "
    "export it again, or leave it out with --skip-bad",
    "zero.flac: is empty (0 bytes): export it again, or leave it out with --skip-bad",
]


def test_every_bad_input_is_told_together(tmp_path: Path) -> None:
    root = tmp_path / "session"
    root.mkdir()
    bad_tracks(root)
    (root / "session.toml").write_text('tempo = 120\n[[track]]\nmatch = "*"\ngian_db = 1\n')
    silent = put(tmp_path, "silent.wav", audio=np.zeros((2, 200_000), np.float32))
    short = put(tmp_path, "short.wav", audio=noise(2.9, channels=2))
    text = tmp_path / "text.wav"
    text.write_text("no audio")
    surround = put(tmp_path, "surround.wav", audio=noise(3.0, channels=6))
    found = messages(root, silent, short, tmp_path / "gone.wav", text, surround)
    assert found == [
        "reference short.wav: lasts 2.90 s: name a recording of at least 3 s",
        "reference gone.wav: does not exist: correct the name",
        "reference text.wav: is not readable audio (its content is not WAV, AIFF, FLAC, Ogg, MP3 "
        "or CAF): export it again as WAV, AIFF, FLAC, Ogg, MP3 or CAF",
        "reference surround.wav: has 6 channels: split it into mono or stereo files",
        "session.toml: unknown key 'tempo': use one of sample_rate, track, offsets, "
        "time_stamps, full_length",
        "session.toml [track 1]: unknown key 'gian_db': did you mean 'gain_db'?",
        "reference silent.wav: is silent: name a recording with sound",
        *BAD_TRACKS,
    ]
    # Bad tracks can be skipped, the rest cannot.
    assert messages(root, silent, short, skip_bad=True) == [found[0], *found[4:7]]


def test_skip_bad_keeps_the_rest_and_lists_the_skipped(tmp_path: Path) -> None:
    bad_tracks(tmp_path)
    assert messages(tmp_path) == BAD_TRACKS
    session, checks = open_session(tmp_path, skip_bad=True)
    assert [track.name for track in session.tracks] == ["Bass.wav"]
    assert set(checks) == {"Bass.wav"}
    assert [str(problem) for problem in session.skipped] == BAD_TRACKS


def test_what_is_there_of_a_cut_file_is_used_if_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "Bass.wav")
    cut = put(tmp_path, "cut.wav", audio=noise(1.0))
    cut.write_bytes(cut.read_bytes()[:47_044])
    assert "--salvage" in messages(tmp_path)[0]
    session, _ = open_session(tmp_path, salvage=True)
    assert [track.name for track in session.tracks] == ["Bass.wav", "cut.wav"]
    assert session.track_frames(session.tracks[1]) == 23_500
    assert any("0.490 of 1.000 s" in note for note in session.notes)


def test_a_cut_reference_is_a_problem_unless_what_is_there_is_wanted(tmp_path: Path) -> None:
    root = tmp_path / "session"
    root.mkdir()
    put(root, "Bass.wav")
    reference = put(tmp_path, "ref.wav", audio=noise(9.0, channels=2))
    reference.write_bytes(reference.read_bytes()[:1_000_000])
    (message,) = messages(root, reference)
    assert message.startswith("reference ref.wav: is truncated: it holds 999,9")
    assert message.endswith("name another recording, or use what is there with --salvage")
    session, _ = open_session(root, references=(reference,), salvage=True)
    assert session.references == (reference,)


def test_nothing_good_left_is_told_even_when_skipping(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    found = messages(tmp_path, skip_bad=True)
    assert found[0] == (f"{tmp_path}: has no good track (1 bad): export at least one of them again")
    assert found[1].startswith("text.wav: is not readable audio")


def test_no_tracks_and_no_folder(tmp_path: Path) -> None:
    assert messages(tmp_path) == [
        f"{tmp_path}: has no tracks: put WAV, AIFF, FLAC, Ogg, MP3 or CAF files into it"
    ]
    gone = tmp_path / "gone"
    assert messages(gone, tmp_path / "ref.wav") == [
        "reference ref.wav: does not exist: correct the name",
        f"{gone}: does not exist: name the folder that holds the tracks",
    ]
    file = put(tmp_path, "a.wav")
    assert messages(file) == [f"{file}: is not a folder: name the folder that holds the tracks"]
    with pytest.raises(InputError, match="sample rate: is 100 Hz: use a rate from 8000 to 768000"):
        open_session(tmp_path, sample_rate=100)


@pytest.mark.skipif(os.name != "posix", reason="Windows forbids such a name")
def test_a_name_cannot_forge_a_line_of_the_message(tmp_path: Path) -> None:
    (tmp_path / "a\nKick.wav: is fine\x1b[2J.wav").write_text("no audio")
    found = messages(tmp_path)
    assert len(found) == 2
    assert found[1].startswith("a\\nKick.wav: is fine\\x1b[2J.wav: is not readable audio")


def test_silence_clipping_and_dc_are_flags_not_errors(tmp_path: Path) -> None:
    put(tmp_path, "silent.wav", audio=np.zeros((1, 1_000), np.float32))
    hot = np.clip(noise() * 9.0, -1.0, 1.0)
    put(tmp_path, "hot.wav", audio=np.asarray(hot, np.float32))
    put(tmp_path, "dc.wav", audio=noise() + np.float32(0.1))
    session, checks = open_session(tmp_path)
    assert len(session.tracks) == 3
    assert checks["silent.wav"].flags == ("silent",)
    assert checks["hot.wav"].flags[0].startswith("clips ")
    assert checks["dc.wav"].dc_dbfs > -60.0


def test_workers_change_nothing(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path, f"Track {i}.wav", audio=noise(0.05 + 0.01 * i))
    with ThreadPoolExecutor(4) as pool:

        def spread(
            check: Callable[[Path], TrackCheck], paths: Iterable[Path]
        ) -> Iterable[TrackCheck]:
            return pool.map(check, paths)

        assert open_session(tmp_path, map_=spread) == open_session(tmp_path)


def test_finding_decodes_nothing(tmp_path: Path) -> None:
    bad_tracks(tmp_path)
    found = find_session(tmp_path)
    assert {track.name for track in found.tracks} == {
        "Bass.wav", "cut.wav", "nan.wav", "sub inf.wav", "torn.flac",
    }  # fmt: skip
    assert len(found.bad_tracks) == 3


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared recordings beside the repository")
@pytest.mark.parametrize("name", ["sodium", "caesium", "delta_beatles"])
def test_real_sessions_are_taken_whole(name: str) -> None:
    root = SHARED / "sessions" / name
    session, checks = open_session(root, references=[SHARED / "references" / "rock_delta.flac"])
    assert len(session.tracks) == len(list(root.glob("*.flac"))) == len(checks)
    assert session.left_out == ()
