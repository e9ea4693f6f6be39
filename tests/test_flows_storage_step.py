"""The harness of steps: looked up, made, kept, and made into what the step returns."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flows.storage import step as harness
from flows.storage.locations import Place
from flows.storage.lookups import Lookup, looked_up
from flows.storage.source_files import SourceFiles
from flows.storage.step import Kept, Record, Unkept, step
from flows.storage.store import Store
from pipeline.errors import InputError


@dataclass(frozen=True)
class LengthJob:
    file: Path
    store: Place
    unit: str = "bytes"
    note: str = ""


@dataclass(frozen=True)
class Length:
    size: int
    unit: str
    copy: Path | None
    content: str
    key: str


CALLS: list[str] = []


def _source(job: LengthJob, store: Store) -> SourceFiles:
    return SourceFiles(store, {job.file.name: job.file})


def _inputs(job: LengthJob, contents: Mapping[str, str]) -> dict[str, Any]:
    return {"content": contents[job.file.name], "unit": job.unit}


def _length(job: LengthJob, kept: Kept) -> Length:
    copy = kept.folder / "copy"
    content = kept.contents[job.file.name]
    return Length(kept.record["size"], job.unit, copy if copy.exists() else None, content, kept.key)


@step(
    "length",
    sources=_source,
    unreadable=lambda job: Length(-1, job.unit, None, "", ""),
    inputs=_inputs,
    result=_length,
    libraries=("numpy",),
)
def length_step(job: LengthJob, folder: Path) -> Record | Unkept:
    """Return how long a file is."""
    CALLS.append(job.file.name)
    data = job.file.read_bytes()
    if not data:
        return Unkept({"size": 0})
    (folder / "copy").write_bytes(data)
    return {"size": len(data)}


@step("strict", sources=_source, inputs=_inputs, result=_length)
def strict_step(job: LengthJob, _folder: Path) -> Record:
    job.file.write_bytes(b"written over")
    return {"size": 0}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LengthJob:
    CALLS.clear()
    monkeypatch.setattr(harness, "code_version", lambda _module, name, _fallback: f"code of {name}")
    file = tmp_path / "a.txt"
    file.write_bytes(b"12345")
    return LengthJob(file, tmp_path / "store")


def test_a_result_is_made_once_and_built_of_what_is_kept(job: LengthJob) -> None:
    with looked_up() as lookups:
        first, again = length_step(job), length_step(replace(job, note="counts for nothing"))
    assert first == again
    assert CALLS == ["a.txt"]
    assert first.size == 5
    assert first.copy is not None
    assert first.copy.read_bytes() == b"12345"
    assert first.copy.is_relative_to(job.store)
    assert lookups == [Lookup("length", first.key, True), Lookup("length", first.key, False)]


def test_what_a_result_depends_on_makes_another(
    job: LengthJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [length_step(job).key, length_step(replace(job, unit="words")).key]
    monkeypatch.setattr(harness, "libraries_version", lambda _: "numpy=99")
    keys.append(length_step(job).key)
    monkeypatch.setattr(harness, "code_version", lambda *_: "other code")
    keys.append(length_step(job).key)
    job.file.write_bytes(b"1234567")
    keys.append(length_step(job).key)
    assert len(set(keys)) == 5


def test_what_may_be_otherwise_another_time_is_not_kept(job: LengthJob) -> None:
    job.file.write_bytes(b"")
    assert length_step(job) == length_step(job)
    assert length_step(job).size == 0
    assert len(CALLS) == 3
    assert list(Store(job.store).entries()) == []


def test_a_file_that_cannot_be_read_is_the_steps_affair(job: LengthJob) -> None:
    gone = replace(job, file=job.file.with_name("gone.txt"))
    assert length_step(gone).size == -1
    assert CALLS == []
    with pytest.raises(FileNotFoundError):
        strict_step(gone)


def test_a_file_that_changes_meanwhile_is_refused(job: LengthJob) -> None:
    with pytest.raises(InputError, match=r"a\.txt.*changed while"):
        strict_step(job)
    assert list(Store(job.store).entries()) == []


def test_a_step_goes_to_other_processes_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(length_step)) is length_step
    assert length_step.__doc__ == "Return how long a file is."
