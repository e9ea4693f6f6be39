"""The versions of code that keys hold: computed once, remembered until a file changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.dependencies import version as versions
from flows.dependencies.closure import dependencies
from flows.dependencies.source import SourceTree
from flows.dependencies.version import code_version, libraries_version, packages_version


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "pipeline").mkdir(parents=True)
    (root / "pipeline" / "table.toml").write_text("x = 1")
    (root / "pipeline" / "sums.py").write_text("def work(): return open('table.toml')")
    monkeypatch.setattr(versions, "_BESIDE", tmp_path / "beside")
    begin_anew(root, monkeypatch)
    return root


def begin_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process knows, as a new one would."""
    tree = SourceTree(root)
    monkeypatch.setattr(versions, "_KNOWN", {})
    monkeypatch.setattr(versions, "_shared_tree", lambda: tree)


def never(*_: object) -> None:
    raise AssertionError("computed again")


def test_a_version_is_remembered_until_a_file_changes(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version() -> str:
        begin_anew(project, monkeypatch)
        return code_version("pipeline.sums", "work", tmp_path / "fallback")

    first = version()
    with monkeypatch.context() as patch:
        patch.setattr(versions, "dependencies", never)
        assert version() == first
    (project / "pipeline" / "table.toml").write_text("x = 1000")
    second = version()
    assert second != first
    [memory] = (tmp_path / "beside").iterdir()
    assert not (tmp_path / "fallback").exists()
    for damage in ("damaged", "[]", "{}"):
        memory.write_text(damage)
        assert version() == second


def test_an_installation_that_cannot_be_written_to_is_remembered_elsewhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside").write_text("a file, no folder")
    fallback = tmp_path / "fallback"
    first = code_version("pipeline.sums", "work", fallback)
    begin_anew(project, monkeypatch)
    monkeypatch.setattr(versions, "dependencies", never)
    assert code_version("pipeline.sums", "work", fallback) == first


def test_a_file_that_changes_after_it_was_read_is_read_again_next_time(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions._shared_tree().module("pipeline.sums")
    (project / "pipeline" / "sums.py").write_text("def work(): return 1")
    before = code_version("pipeline.sums", "work", tmp_path)
    begin_anew(project, monkeypatch)
    assert code_version("pipeline.sums", "work", tmp_path) != before


def test_another_installation_that_shares_the_memory_has_its_own(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = code_version("pipeline.sums", "work", tmp_path)
    other = tmp_path / "other"
    (other / "pipeline").mkdir(parents=True)
    (other / "pipeline" / "sums.py").write_text("def work(): return 1")
    begin_anew(other, monkeypatch)
    monkeypatch.setattr(versions, "ROOT", other)
    assert code_version("pipeline.sums", "work", tmp_path) != first


def test_threads_that_ask_at_once_are_told_the_same(project: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(code_version, "pipeline.sums", "work", tmp_path) for _ in range(16)]
        answers = {job.result() for job in jobs}
    assert answers == {dependencies(SourceTree(project), "pipeline.sums", "work").version}


def test_a_hash_of_whole_packages() -> None:
    assert packages_version("pipeline") == packages_version("pipeline")
    assert packages_version("pipeline") != packages_version("stage1")


def test_versions_of_libraries() -> None:
    assert libraries_version(()) == ""
    assert libraries_version(("numpy", "scipy")).startswith("numpy=")
