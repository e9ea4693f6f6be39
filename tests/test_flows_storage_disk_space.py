"""A full disk is told by its name, with what to do about it."""

from __future__ import annotations

import errno
import os
from collections import namedtuple
from pathlib import Path

import pytest

from flows.storage.disk_space import space_told
from flows.storage.output_folder import new_folder
from flows.storage.store import Store
from pipeline.errors import InputError

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 10**9, 4096))


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("error", [FULL, RuntimeError("Internal psf_fwrite() failed.")])
def test_what_fails_in_the_store_for_want_of_room_is_told(tmp_path: Path, error: Exception) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(InputError) as told, store.entry("render", "ab" * 20):
        raise error
    (problem,) = told.value.problems
    assert problem.subject == str(tmp_path / "store")
    assert problem.what.startswith("the disk at /")
    assert problem.what.endswith("is full: 0.0 MB are free")
    assert "stemwright cache prune" in problem.remedy
    assert list(store.entries()) == []


@pytest.mark.usefixtures("full_disk")
def test_what_fails_in_the_output_for_want_of_room_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"disk at /.* is full.*--output"),
        new_folder(tmp_path / "mix"),
    ):
        raise FULL
    assert list(tmp_path.iterdir()) == []


def test_other_failures_stay_what_they_are(tmp_path: Path) -> None:
    for error in (RuntimeError("x"), OSError(errno.EIO, "x"), FULL):
        with pytest.raises(type(error)) as told, space_told(tmp_path, "make room"):
            raise error
        assert told.value is error  # the disk here has room
