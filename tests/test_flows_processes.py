from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.processes import is_abandoned, is_dead, owner
from flows.storage.uploads import new_remote_folder, staging


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.skipif(os.name != "posix", reason="a process can be asked on POSIX alone")
def test_a_folder_is_abandoned_when_its_process_is_gone(tmp_path: Path, dead_pid: int) -> None:
    host = owner().partition("@")[2]
    mine, dead, other = (
        tmp_path / f"output.{name}" for name in (owner(), f"{dead_pid}@{host}", f"{dead_pid}@else")
    )
    for folder in (mine, dead, other):
        folder.mkdir()
    assert [is_abandoned(folder) for folder in (mine, dead, other)] == [False, True, False]
    old_s = time.time() - 4 * 86400.0
    os.utime(other, (old_s, old_s))
    assert is_abandoned(other), "of another machine, and older than any run"
    assert not is_abandoned(tmp_path / "not there")


@pytest.mark.skipif(os.name != "posix", reason="a process can be asked on POSIX alone")
def test_a_process_is_dead_or_not(dead_pid: int) -> None:
    assert is_dead(dead_pid)
    assert not is_dead(os.getpid())
    assert not is_dead(2**80), "no such number: nothing is known"


@pytest.mark.skipif(os.name != "posix", reason="a process can be asked on POSIX alone")
def test_the_next_upload_removes_what_a_killed_one_left(
    bucket: object, tmp_path: Path, dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMWRIGHT_STAGING", str(tmp_path))
    host = owner().partition("@")[2]
    lost, others = tmp_path / f"output-a.{dead_pid}@{host}", tmp_path / f"output-b.{owner()}"
    for folder in (lost, others):
        folder.mkdir()
    with new_remote_folder(f"s3://{bucket.name}/processes") as part:  # type: ignore[attr-defined]
        (part / "a.txt").write_text("a")
    assert list(staging().iterdir()) == [others]
