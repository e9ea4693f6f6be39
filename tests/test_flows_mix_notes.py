"""Notes on a session's tracks: those of one kind stand in one line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from flows.mix.notes import track_notes
from pipeline.audio.check import TrackCheck
from pipeline.console.conditioning import ChannelUse, Conditioning
from pipeline.roles import Role
from stage1.recognition.recognise import Recognition
from stage1.signal.file_faults import ChannelFault, FileFaults


def _notes(
    *tracks: tuple[Recognition, TrackCheck, bool],
    lufs: float = -25.0,
    faults: tuple[FileFaults, ...] = (),
) -> tuple[str, ...]:
    records, checks, silent = zip(*tracks, strict=True)
    analysed: Any = SimpleNamespace(
        session=SimpleNamespace(
            tracks=[SimpleNamespace(name=record.name) for record in records], notes=("first",)
        ),
        recognitions=records,
        checks=checks,
        file_faults=faults,
        features=[
            SimpleNamespace(silent=one, levels=SimpleNamespace(integrated_lufs=lufs))
            for one in silent
        ],
    )
    return track_notes(analysed)


def _track(
    name: str,
    confidence: float = 0.9,
    *,
    role: Role = Role.KICK,
    by_sound: bool = False,
    check: TrackCheck | None = None,
    silent: bool = False,
) -> tuple[Recognition, TrackCheck, bool]:
    record = Recognition(name, role, "drums", confidence, "", by_sound=by_sound)
    return record, check or TrackCheck(frames=1, peak_dbfs=-6.0), silent


def test_tracks_of_one_kind_share_a_line() -> None:
    told = _notes(
        _track("Kick"),
        _track("Audio 1", by_sound=True),
        _track("Audio 2", by_sound=True),
        _track("Thing", 0.3),
        _track("Other", 1.0, role=Role.UNKNOWN),
        _track("Hiss", 0.1, silent=True),
        _track("Empty", silent=True),
    )
    assert told == (
        "first",
        "2 tracks have names that say nothing and are taken for what they sound like: "
        "'Audio 1', 'Audio 2'",
        "2 tracks were recognised with little confidence: 'Thing', 'Other' (name their roles in "
        "session.toml; `stemwright init` writes one to edit)",
        "2 tracks are silent: 'Hiss', 'Empty'",
    )


def test_one_track_is_no_plural_and_clipping_stands_by_itself() -> None:
    clipped = TrackCheck(frames=9, peak_dbfs=0.0, clipped_runs=2, clipped_first_s=1.5)
    told = _notes(_track("Audio 1", by_sound=True), _track("Vox", check=clipped))
    assert told[1] == (
        "1 track has a name that says nothing and is taken for what it sounds like: 'Audio 1'"
    )
    assert told[2] == (
        "Vox: clips 2 times, first at 1.500 s; use a take that does not clip, or repair it before "
        "mixing"
    )


def test_what_is_nearly_silent_is_told_from_what_is_silent() -> None:
    told = _notes(_track("Kick"), _track("Empty", silent=True), lufs=-60.5)
    assert told[1] == "1 track is silent: 'Empty'"
    assert told[2].startswith("1 track is nearly silent, under -60 LUFS: 'Kick' (")
    assert len(_notes(_track("Kick"), lufs=-59.5)) == 1


def test_three_hundred_faulty_files_make_one_line_a_kind() -> None:
    clipped = TrackCheck(frames=9, peak_dbfs=0.0, clipped_runs=2, clipped_first_s=1.5)
    tracks = [_track(f"Hit {i}", check=clipped) for i in range(300)]
    dc = FileFaults(Conditioning(dc=(0.1,)), dc=(0.1,))
    twice = FileFaults(Conditioning(ChannelUse.MONO), ChannelFault.DUAL_MONO, (0.0, 0.0))
    told = _notes(*tracks, faults=(*[dc] * 100, *[twice] * 100, *[FileFaults()] * 100))
    assert len(told) == 4
    assert told[1].startswith("300 tracks clip, the worst first: 'Hit 0', ")
    assert told[2].startswith("DC was taken out of 100 tracks, -20 dBFS at most: 'Hit 0', ")
    assert told[3].startswith("100 tracks are stereo files with the same on both channels")
    assert all(len(line) < 400 for line in told)
