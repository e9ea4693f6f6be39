"""What a user may name as a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.storage.locations import (
    cache_root,
    inside,
    is_url,
    name_of,
    parse_place,
    relative_url,
    stem_of,
)
from pipeline.errors import InputError


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("song", Path("song")),
        ("C:/song", Path("C:/song")),
        (Path("a:b//c"), Path("a:b/c")),
        ("file:///tmp/a%20song", Path("/tmp/a song")),
        ("file://localhost/tmp/a", Path("/tmp/a")),
        ("s3://bucket/a song/", "s3://bucket/a song"),
        ("S3://bucket", "s3://bucket"),
        ("s3a://bucket/50%25 #1?.wav", "s3://bucket/50%25 #1?.wav"),
        ("gcs://bucket/ü", "gs://bucket/ü"),
    ],
)
def test_what_is_a_path_and_what_a_url(given: str | Path, place: str | Path) -> None:
    assert parse_place(given) == place
    assert is_url(parse_place(given)) == isinstance(place, str)
    assert parse_place(parse_place(given)) == place


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("memory://a/b", "no other process sees"),
        ("https://example.org/a.wav", "https:// is not known"),
        ("s3://", "empty or a dotted name"),
        ("s3:///a", "empty or a dotted name"),
        ("s3://bucket//a", "empty or a dotted name"),
        ("s3://bucket/../a", "empty or a dotted name"),
        ("file://host/a", "file:///folder/name"),
    ],
)
def test_what_cannot_be_worked_with_is_said_with_a_remedy(given: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        parse_place(given, subject="--store")
    assert caught.value.problems[0].subject == "--store"
    assert given in caught.value.problems[0].what


def test_names_in_places() -> None:
    assert name_of("s3://bucket/songs/My Song.v2") == "My Song.v2"
    assert stem_of("s3://bucket/refs/A Song.wav") == stem_of(Path("refs/A Song.wav")) == "A Song"
    assert inside("s3://bucket/a", "b", "c") == "s3://bucket/a/b/c"
    assert inside(Path("a"), "b", "c") == Path("a/b/c")
    song = "s3://bucket/song"
    assert relative_url(f"{song}/Drums/Kick.wav", f"{song}/mixes/1") == "../../Drums/Kick.wav"
    assert relative_url("s3://other/a.wav", song) == "s3://other/a.wav"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("STEMWRIGHT_STORE", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(
        InputError, match=r"folder of the store: is not known.*set STEMWRIGHT_STORE"
    ):
        cache_root("STEMWRIGHT_STORE", "store")
