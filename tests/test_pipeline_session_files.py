"""What a session's folder may hold beside tracks: nothing is passed over, nothing ends the walk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.session.file_names import NamedAs, named_as
from pipeline.session.files import DEEPEST_FOLDER, session_files
from pipeline.session.foreign_folders import Foreign, foreign_folder

posix = pytest.mark.skipif(os.name != "posix", reason="Windows forbids or lacks it")


def wav(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        soundfile.write(file, np.zeros(100), 8000, format="WAV")
    return path


def problems(root: Path) -> dict[str, str]:
    return {problem.subject: problem.what for problem in session_files(root).problems}


@posix
def test_audio_is_found_whatever_it_is_called(tmp_path: Path) -> None:
    names = ["Vox", "Kick.wav ", "Snare.wav.", "Take.1", "Phone.3gp", "Film.mov", "Radio.mp2",
             "Vocal.m4a", "Bass.WAV"]  # fmt: skip
    for name in names:
        wav(tmp_path / name)
    for name in ("notes", "Song.rpp", "Kick.reapeaks", "cover.jpg", "data.xyz"):
        (tmp_path / name).write_bytes(b"no audio")
    found = session_files(tmp_path)
    assert found.files.keys() == set(names)
    assert (found.left_out, found.problems) == ([], [])


def test_placeholders_and_unfinished_copies_are_problems(tmp_path: Path) -> None:
    cloud = "is a placeholder: the file itself is in the cloud"
    unfinished = "is a download or a copy that was not finished"
    expected = {
        ".Vox.wav.icloud": cloud,
        "Kick.wav.cloudf": cloud,
        "Snare.wav.part": unfinished,
        "Bass.flac.crdownload": unfinished,
        "Unconfirmed 7.crdownload": unfinished,
    }
    for name in expected:
        wav(tmp_path / name)
    (tmp_path / "Hat.wav.download").mkdir()
    (tmp_path / "other.tmp").write_bytes(b"no audio")
    (tmp_path / "film.txt.part").write_bytes(b"no audio")
    with (tmp_path / "Pad.wav").open("wb") as file:
        file.truncate(2_000_000)  # as sync programs leave what is not here
    found = problems(tmp_path)
    assert found.pop("Pad.wav").startswith("holds nothing but zero bytes")
    assert found == {**expected, "Hat.wav.download/": unfinished}


def test_copies_archives_and_notes_are_said(tmp_path: Path) -> None:
    for name in ("Kick.wav.bak", "Snare.wav~"):
        wav(tmp_path / name)
    for name in ("Stems.zip", "Keys.mid"):
        (tmp_path / name).write_bytes(b"?")
    (tmp_path / "Vocal").touch()
    found = session_files(tmp_path)
    assert {item.name: item.why for item in found.left_out} == {
        "Keys.mid": "holds notes and no sound: export what plays them",
        "Kick.wav.bak": "is a backup copy",
        "Snare.wav~": "is a backup copy",
        "Stems.zip": "is an archive: unpack it if it holds tracks",
        "Vocal": "is empty and has no name of an audio file",
    }
    assert not found.files


@posix
def test_links_that_lead_nowhere_end_nothing(tmp_path: Path) -> None:
    wav(tmp_path / "Kick.wav")
    (tmp_path / "self.wav").symlink_to("self.wav")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "gone.wav").symlink_to("nothing")
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "up").symlink_to("..")
    found = session_files(tmp_path)
    assert found.files.keys() == {"Kick.wav"}
    back = "is a link that leads back to itself"
    assert {item.name: item.why for item in found.left_out} == {
        "self.wav": back, "a": back, "b": back, "gone.wav": "is a link to nothing",
        "here/": "is a link to a folder", "deep/up/": "is a link to a folder",
    }  # fmt: skip
    assert found.problems == []


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    wav(tmp_path / "locked" / "Kick.wav")
    (tmp_path / "locked").chmod(0)
    try:
        assert problems(tmp_path) == {"locked/": "cannot be read (Permission denied)"}
    finally:
        (tmp_path / "locked").chmod(0o755)


def test_a_folder_that_the_system_refuses_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav(tmp_path / "locked" / "Kick.wav")
    wav(tmp_path / "Snare.wav")
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("pipeline.session.files.os.scandir", refusing)
    assert problems(tmp_path) == {"locked/": "cannot be read (Permission denied)"}
    assert session_files(tmp_path).files.keys() == {"Snare.wav"}


def test_folders_without_end_are_walked_around(tmp_path: Path) -> None:
    wav(tmp_path / "Kick.wav")
    folder = tmp_path
    for _ in range(DEEPEST_FOLDER + 3):
        folder = folder / "d"
    wav(folder / "Snare.wav")
    found = session_files(tmp_path)
    assert found.files.keys() == {"Kick.wav"}
    assert [p.what for p in found.problems] == [f"lies more than {DEEPEST_FOLDER} folders deep"]


@pytest.mark.parametrize(
    ("name", "beside", "kind"),
    [
        ("__MACOSX", (), Foreign.NEVER),
        ("System Volume Information", (), Foreign.NEVER),
        ("Undo History", (), Foreign.NEVER),
        ("Song_data", ("Song.aup",), Foreign.NEVER),
        ("Song_data", (), None),
        ("Backup", (), Foreign.SPARE),
        ("Freeze Files.nosync", (), Foreign.SPARE),
        ("Audio", ("Song.cpr",), Foreign.POOL),
        ("Samples", ("Song Project.als",), Foreign.POOL),
        ("Media", ("Mix.RPP",), Foreign.POOL),
        ("Song.band", (), Foreign.POOL),
        ("Audio", ("notes.txt",), None),
        ("Drums", ("Song.cpr",), None),
        ("Masters", (), None),
    ],
)
def test_folders_are_told_by_name_and_neighbours(
    name: str, beside: tuple[str, ...], kind: Foreign | None
) -> None:
    found = foreign_folder(name, beside=beside)
    assert (found and found.kind) == kind


def test_a_suffix_that_says_nothing_is_no_verdict() -> None:
    assert {named_as(name) for name in ("Vox", "Vox 1.2", "Gtr.L", "Vox.take")} == {NamedAs.UNKNOWN}


def test_zeros_before_the_frames_of_an_mp3_do_not_hide_it(tmp_path: Path) -> None:
    path = tmp_path / "Vox.mp3"
    soundfile.write(path, 0.1 * np.sin(np.arange(44_100) / 20.0), 44_100, format="MP3")
    path.write_bytes(bytes(6000) + path.read_bytes())
    (tmp_path / "Pad.mp3").write_bytes(bytes(60_000))
    files = session_files(tmp_path)
    assert list(files.files) == ["Vox.mp3"]
    assert [problem.subject for problem in files.problems] == ["Pad.mp3"]
