"""Remote folders mirrored on this machine: what is fetched, what is refused, what is kept."""

from __future__ import annotations

import os
import pickle
import unicodedata
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.storage import inputs as remote_input
from flows.storage import mirror as remote_files
from flows.storage.inputs import bring_near, name_problems
from flows.storage.mirror import (
    RemoteFile,
    mirrors,
    named,
    near_file,
    near_folder,
    shared_file,
    shared_folder,
)
from flows.storage.object_store import ObjectFolder, StoredObject
from pipeline.errors import InputError
from pipeline.session.files import session_files

PLAN = b'{"version": 1, "tracks": [], "stems": [], "bus": {}}'

# A folder as it comes from studios: the first two are its tracks.
MESSY = {
    "Drums/Kick.wav": b"kick",
    "Bass ü.flac": b"bass!",
    "notes.txt": b"no audio",
    ".hidden.wav": b"x",
    "._Kick.wav": b"x",
    ".git/a.wav": b"x",
    "mixes/1/stems/bass.wav": b"x" * 1000,
    "take/plan.json": PLAN,
    "take/mix.wav": b"x",
    "take/stems/bass.wav": b"x",
    "test/webmushra.yaml": b"",
    "test/trials.csv": b"",
    "test/stimuli/a.wav": b"x",
    "Fade Files/a.wav": b"x",
    "Vox.m4a": b"x",
    "__MACOSX/a.wav": b"x",
}


class Song:
    """A folder in a bucket, written by boto3."""

    def __init__(self, bucket: Any) -> None:
        self._bucket = bucket
        self._prefix = uuid.uuid4().hex + "/My Song/"
        self.url = f"s3://{bucket.name}/{self._prefix}".rstrip("/")

    def put(self, name: str, content: bytes) -> None:
        self._bucket.put_object(Key=self._prefix + name, Body=content)

    def remove(self, name: str) -> None:
        self._bucket.Object(self._prefix + name).delete()

    def root(self, *references: str) -> Path:
        near = bring_near(self.url, [f"{self.url}/{name}" for name in references])
        assert near.faults == ()
        assert near.root is not None
        return near.root

    def problems(self) -> list[str]:
        near = bring_near(self.url, [])
        assert near.root is None
        return [str(problem) for problem in near.faults]


@pytest.fixture
def song(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Song:
    monkeypatch.setenv("STEMWRIGHT_MIRROR", str(tmp_path / "mirror"))
    return Song(bucket)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the list of what is downloaded from now on."""
    names: list[str] = []
    download = ObjectFolder.download

    def heard(self: ObjectFolder, name: str, path: Path) -> None:
        names.append(name)
        download(self, name, path)

    monkeypatch.setattr(ObjectFolder, "download", heard)
    return names


def test_a_remote_folder_has_the_tracks_that_it_would_have_here(
    song: Song, tmp_path: Path, fetched: list[str]
) -> None:
    for name, content in MESSY.items():
        song.put(name, content)
        path = tmp_path / "local" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    root = song.root()
    assert root.name == "My Song"
    there, local = session_files(root), session_files(tmp_path / "local")
    assert (there.left_out, there.problems) == (local.left_out, local.problems)
    files, here = there.files, local.files
    assert files.keys() == here.keys() == {"Drums/Kick.wav", "Bass ü.flac", "Vox.m4a"}
    assert {name: path.read_bytes() for name, path in files.items()} == {
        name: MESSY[name] for name in files
    }
    markers = {"take/plan.json", "test/webmushra.yaml", "test/trials.csv"}
    assert set(fetched) - markers == set(files), "more was fetched than is needed"


def test_only_what_changed_is_fetched_anew(song: Song, fetched: list[str]) -> None:
    song.put("a.wav", b"a" * 10)
    song.put("b.wav", b"b" * 10)
    first = song.root()
    assert sorted(fetched) == ["a.wav", "b.wav"]
    fetched.clear()
    times = [(first / name).stat().st_mtime_ns for name in ("a.wav", "b.wav")]
    assert song.root() == first
    assert fetched == []
    # Of a file with another time the content would be hashed anew.
    assert times == [(first / name).stat().st_mtime_ns for name in ("a.wav", "b.wav")]
    song.put("b.wav", b"B" * 10)
    second = song.root()
    assert fetched == ["b.wav"]
    assert [(second / name).read_bytes()[:1] for name in ("a.wav", "b.wav")] == [b"a", b"B"]
    # A run that began before reads on what it began with.
    assert (first / "b.wav").read_bytes() == b"b" * 10
    song.remove("a.wav")
    assert [path.name for path in song.root().iterdir()] == ["b.wav"]


def test_a_reference_in_the_session_is_the_session_s_own_file(song: Song) -> None:
    song.put("a.wav", b"a")
    song.put("Ref/song.wav", b"reference")
    near = bring_near(song.url, [f"{song.url}/Ref/song.wav"])
    assert near.root is not None
    assert near.references == (near.root / "Ref/song.wav",)
    there = session_files(near.root.resolve(), references=near.references)
    assert there.files.keys() == {"a.wav"}
    assert [str(x.why) for x in there.left_out] == ["is the reference"]


def test_another_machine_fetches_just_what_a_step_needs(
    song: Song, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetched: list[str]
) -> None:
    for name in ("Drums/Kick.wav", "Drums/Snare.wav", "Bass.wav"):
        song.put(name, name.encode())
    root = song.root()
    file = shared_file(root / "Bass.wav")
    folder = shared_folder(root, ["Drums/Kick.wav", "Drums/Snare.wav"])
    assert near_file(file) == root / "Bass.wav"
    assert near_folder(folder) == root
    fetched.clear()
    told = pickle.dumps((file, folder))
    monkeypatch.setenv("STEMWRIGHT_MIRROR", str(tmp_path / "another machine"))
    file, folder = pickle.loads(told)
    assert near_file(file).read_bytes() == b"Bass.wav"
    assert fetched == ["Bass.wav"]
    there = near_folder(folder)
    assert there.is_relative_to(tmp_path / "another machine")
    assert (there / "Drums/Snare.wav").read_bytes() == b"Drums/Snare.wav"
    assert sorted(fetched) == ["Bass.wav", "Drums/Kick.wav", "Drums/Snare.wav"]
    near_file(file)
    assert len(fetched) == 3


def test_a_relative_path_is_named_so_that_other_folders_know_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shared_file(Path("a.wav")) == tmp_path / "a.wav"
    assert shared_folder(Path("song"), ["a.wav"]) == tmp_path / "song"


def test_what_lies_on_this_machine_is_named_by_its_path(song: Song, tmp_path: Path) -> None:
    song.put("Drums/Kick.wav", b"kick")
    root = song.root()
    assert named(root) == song.url
    assert named(root / "Drums/Kick.wav") == f"{song.url}/Drums/Kick.wav"
    for path in (tmp_path / "a.wav", tmp_path, mirrors() / "nothing" / "song" / "a.wav"):
        assert named(path) is None
        assert shared_file(path) == path
        assert shared_folder(path, ["a.wav"]) == path
        assert near_file(path) == near_folder(path) == path


def test_a_file_that_changed_after_the_listing_is_said(
    song: Song, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song.put("a.wav", b"a" * 10)
    file = shared_file(song.root() / "a.wav")
    monkeypatch.setenv("STEMWRIGHT_MIRROR", str(tmp_path / "another machine"))
    song.put("a.wav", b"b" * 10)
    with pytest.raises(InputError, match=r"a\.wav: changed or went away .*: run again"):
        near_file(file)
    song.remove("a.wav")
    with pytest.raises(InputError, match="changed or went away"):
        near_file(file)
    assert not [p for p in (tmp_path / "another machine").rglob("*") if p.suffix == ".wav"]
    assert not list((tmp_path / "another machine").rglob(".part*"))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["../evil.wav"], "is no name that a file can have"),
        (["a//b.wav"], "is no name that a file can have"),
        (["a/./b.wav"], "is no name that a file can have"),
        (["/etc/a.wav"], "is no name that a file can have"),
        (["a\\..\\b.wav"], "is no name that a file can have"),
        (["x" * 300 + ".wav"], "more than 255 bytes"),
        (["Kick.wav", "kick.WAV"], "but for capital letters or accents"),
        (["Drums/a.wav", "drums/b.wav"], "but for capital letters or accents"),
        (["ü.wav", unicodedata.normalize("NFD", "ü.wav")], "but for capital letters or accents"),
        (["a.wav", "a.wav/b.wav"], "an object, and a folder of others too"),
    ],
)
def test_names_that_no_folder_can_hold_are_refused(
    song: Song, tmp_path: Path, names: list[str], told: str
) -> None:
    song.put("good.wav", b"x")
    for name in names:
        song.put(name, b"x")
    (problem,) = song.problems()
    assert told in problem
    assert not list(tmp_path.rglob("*.wav"))


@given(
    st.lists(
        st.text(st.sampled_from("./\\\0aAü:") | st.characters(codec="utf-8"), min_size=1),
        min_size=1,
        max_size=4,
    )
)
def test_a_name_is_refused_or_stays_in_its_folder(names: list[str]) -> None:
    objects = [StoredObject(name, 1, "1", 0.0) for name in names]
    refused = {problem.subject for problem in name_problems(objects)}
    for name in set(names) - refused:
        normal = os.path.normpath(f"/mirror/song/{name}")
        assert normal == f"/mirror/song/{name}"
        assert remote_files._safe(name) == name


@pytest.mark.parametrize("name", ["../a", "/a", "", "a/../../b", "a\0b"])
def test_a_job_cannot_name_a_file_outside(song: Song, name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a file"):
        near_file(RemoteFile(song.url, "ab", name, 1, "1:x"))
    with pytest.raises(ValueError, match="is no view"):
        near_file(RemoteFile(song.url, "../x", "a", 1, "1:x"))


def test_what_is_no_session_is_said(song: Song, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not exist, or is empty" in song.problems()[0]
    song.put("a.wav", b"x")
    song.put("b.wav", b"x")
    monkeypatch.setattr(remote_input, "_MOST_OBJECTS", 1)
    assert "holds 2 files, which is no session" in song.problems()[0]
    missing = f"{song.url}/no.wav"
    near = bring_near(Path("here"), [missing, "s3://no-such-bucket-at-all/a.wav"])
    assert [p.subject for p in near.faults] == ["reference no.wav", "reference a.wav"]
    assert missing in near.faults[0].what


def test_a_full_disk_is_said_before_the_download(
    song: Song, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    song.put("a.wav", b"x")
    monkeypatch.setattr(remote_files, "_SPARE_BYTES", 2**62)
    assert "set STEMWRIGHT_MIRROR to a folder with more room" in song.problems()[0]
    assert fetched == []


def test_the_views_not_used_for_longest_go_first(
    song: Song, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[Path] = []
    for turn in range(4):
        song.put("a.wav", bytes([turn]) * 1000)
        views.append(song.root())
        os.utime(views[-1].parent / "used", (turn, turn))
        if turn == 1:
            os.utime(views[0].parent / "used", None)  # in use
        if turn == 2:
            monkeypatch.setattr(remote_files, "_MIRROR_BYTES", 0)
    assert [view.exists() for view in views] == [True, False, False, True]


def test_progress_is_told(song: Song) -> None:
    class Heard:
        def __init__(self) -> None:
            self.said: list[tuple[object, ...]] = []

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *arguments: self.said.append((name, *arguments))

    song.put("a.wav", b"x")
    song.put("b.wav", b"x")
    heard = Heard()
    bring_near(song.url, [], progress=heard)  # type: ignore[arg-type]
    assert list(dict.fromkeys(heard.said)) == [  # a total may be told again
        ("start", "fetch", 2), ("advance", "fetch", "1 of 2"), ("advance", "fetch", "2 of 2"),
        ("finish", "fetch"),
    ]  # fmt: skip
