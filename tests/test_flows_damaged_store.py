"""What a disk damages in the store is never delivered: it is made again, through the command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Contents = Callable[[Path], dict[str, str]]


def flip(path: Path, share: float) -> None:
    """Turn one bit over, as a disk does: the file's times stay."""
    before = path.stat()
    at = min(int(share * before.st_size), before.st_size - 1)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_flipped_bit_in_every_stored_file_changes_nothing(
    workplace: Path, make_song: Callable[[Path], Path], stemwright: Callable[..., Result],
    contents: Contents, share: float,
) -> None:  # fmt: skip
    song, store = workplace / "song", Path(os.environ["STEMWRIGHT_STORE"])
    if not song.exists():
        make_song(song)

    def mixed(name: str) -> dict[str, str]:
        result = stemwright("mix", song, "-o", workplace / name)
        assert result.exit_code == 0, result.output
        return {
            path: content
            for path, content in contents(workplace / name).items()
            if path.startswith(("mix.", "stems/"))
        }

    first = mixed(f"first {share}")
    files = [p for p in store.glob("[!.]*/*/**/*") if p.is_file()]
    assert {path.name for path in files} >= {"mix.wav", "stem.wav", "whole.wav", "excerpt.npy"}
    for path in files:
        flip(path, share)
    assert mixed(f"second {share}") == first


def test_audio_damaged_since_it_was_found_is_made_again(
    workplace: Path, make_song: Callable[[Path], Path], stemwright: Callable[..., Result],
    contents: Contents, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Larger files are looked through as they are used, not as they are found."""
    monkeypatch.setattr("flows.storage.store._SMALL_BYTES", 0)
    song, store = make_song(workplace / "another"), Path(os.environ["STEMWRIGHT_STORE"])
    first = stemwright("mix", song, "--keep", "-o", workplace / "kept")
    assert first.exit_code == 0, first.output
    for pattern in ("console/*/*.wav", "deliver/*/mix.wav", "balance/*/*", "analyse/*/*.npy"):
        for path in store.glob(pattern):
            if path.name != "done.json":
                flip(path, 0.9)
    second = stemwright("mix", song, "--keep", "-o", workplace / "kept again")
    assert second.exit_code == 0, second.output
    for folder in ("stems", "balanced"):
        assert contents(workplace / "kept again" / folder) == contents(workplace / "kept" / folder)
    mix = (workplace / "kept again" / "mix.wav").read_bytes()
    assert mix == (workplace / "kept" / "mix.wav").read_bytes()


def test_a_session_is_looked_at_though_the_store_was_damaged(
    workplace: Path, make_song: Callable[[Path], Path], stemwright: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("flows.storage.store._SMALL_BYTES", 0)
    song, store = make_song(workplace / "looked at"), Path(os.environ["STEMWRIGHT_STORE"])
    settings = song / "session.toml"
    assert stemwright("init", song).exit_code == 0
    first = settings.read_text(encoding="utf-8")
    settings.unlink()
    for path in store.glob("analyse/*/*.npy"):
        flip(path, 0.9)
    again = stemwright("init", song)
    assert again.exit_code == 0, again.output
    assert settings.read_text(encoding="utf-8") == first
