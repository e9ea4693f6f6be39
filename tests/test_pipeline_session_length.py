"""What a song may last is known by headers, before anything is decoded."""

from pathlib import Path

import numpy as np
import soundfile

from pipeline.session.discovery import find_session, settle
from pipeline.session.length import without_too_long

RATE = 8_000


def put(path: Path, minutes: float) -> Path:
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(round(minutes * 6)):
            file.write(np.zeros(10 * RATE))
    return path


def test_a_small_file_of_much_silence_is_a_bad_track_with_a_remedy(tmp_path: Path) -> None:
    session = tmp_path / "session"
    session.mkdir()
    put(session / "Bass.flac", 1)
    long = put(session / "Room.flac", 61)
    assert long.stat().st_size < 2**20
    reference = put(tmp_path / "ref.flac", 62)
    headers = find_session(session, references=(reference,))
    bounded = without_too_long(headers, max_minutes=60)
    assert [track.name for track in bounded.tracks] == ["Bass.flac"]
    (bad,) = bounded.bad_tracks
    assert str(bad).startswith(
        "Room.flac: lasts 61.0 minutes, more than the 60 that a song may last here: cut it"
    )
    assert "--max-minutes 62" in bad.remedy
    (fault,) = bounded.faults
    assert fault.subject == "reference ref.flac"
    assert without_too_long(headers, max_minutes=63) is headers


def test_a_track_that_starts_too_late_is_told_with_what_places_it(tmp_path: Path) -> None:
    put(tmp_path / "Bass.flac", 0.5)
    put(tmp_path / "Vox.flac", 0.5)
    (tmp_path / "session.toml").write_text('[[track]]\nmatch = "Vox*"\nstart_s = 86400\n')
    bounded = without_too_long(find_session(tmp_path), max_minutes=60)
    assert [track.name for track in bounded.tracks] == ["Bass.flac"]
    (bad,) = bounded.bad_tracks
    assert str(bad).startswith(
        "Vox.flac: starts 1440.0 minutes after the song and ends at 1440.5, more than the 60 that "
        "a song may last here: correct it (start_s in session.toml, or --time-stamps ignore), or"
    )


def test_what_is_too_long_can_be_left_out(tmp_path: Path) -> None:
    put(tmp_path / "Bass.flac", 0.5)
    put(tmp_path / "Room.flac", 2)
    from pipeline.audio.check import check_track

    bounded = without_too_long(find_session(tmp_path), max_minutes=1)
    checks = {track.name: check_track(track.path) for track in bounded.tracks}
    session = settle(bounded, checks, {}, skip_bad=True)
    assert [track.name for track in session.tracks] == ["Bass.flac"]
    assert [problem.subject for problem in session.skipped] == ["Room.flac"]
