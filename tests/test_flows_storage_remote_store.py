"""A store that machines share: two near copies stand for two machines, S3 is served on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.storage import object_store as object_storage
from flows.storage import remote_store as far_store
from flows.storage import store as store_module
from flows.storage.manifest import Manifest, StoredFile
from flows.storage.object_store import ObjectFolder
from flows.storage.retries import RemoteError
from flows.storage.store import DamagedEntryError, Store, default_root
from pipeline.errors import InputError

KEY = "ab" * 20
DONE = f"greet/{KEY}/done.json"
TEXT = f"greet/{KEY}/sub/text.txt"

Machine = Callable[[str], Store]


@pytest.fixture
def url(bucket: Any) -> str:
    return f"s3://{bucket.name}/{uuid.uuid4().hex}"


@pytest.fixture
def machine(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Give the store as a machine of that name has it."""

    def look(name: str) -> Store:
        monkeypatch.setenv("STEMWRIGHT_NEAR_STORE", str(tmp_path / name))
        return Store(url)

    return look


@pytest.fixture
def objects(bucket: Any, url: str) -> Callable[[], dict[str, bytes]]:
    """Return what is in the bucket below the store's URL, as boto3 sees it."""
    prefix = url.split("/", 3)[3] + "/"

    def look() -> dict[str, bytes]:
        found = bucket.objects.filter(Prefix=prefix)
        return {o.key.removeprefix(prefix): o.get()["Body"].read() for o in found}

    return look


@pytest.fixture
def overwrite(bucket: Any, url: str) -> Callable[[str, bytes | None], None]:
    prefix = url.split("/", 3)[3] + "/"

    def change(name: str, content: bytes | None) -> None:
        if content is None:
            bucket.Object(prefix + name).delete()
        else:
            bucket.put_object(Key=prefix + name, Body=content)

    return change


def make(store: Store, text: str = "hello") -> bool:
    """Make the entry unless it is done; return whether it was."""
    with store.entry("greet", KEY) as entry:
        if entry.done:
            assert (entry.path / "sub" / "text.txt").read_text() == text
            assert entry.record == {"text": text}
            return True
        (entry.path / "sub").mkdir()
        (entry.path / "sub" / "text.txt").write_text(text)
        entry.commit({"text": text})
        return False


def test_another_machine_finds_what_one_made(machine: Machine, objects: Any) -> None:
    first = machine("first")
    assert not make(first)
    assert objects().keys() == {DONE, TEXT}
    second = machine("second")
    assert second.root != first.root
    assert make(second)
    assert (second.root / TEXT).read_text() == "hello"
    assert not list((second.root / ".unfinished").iterdir())


def test_a_path_of_one_machine_is_found_on_another(machine: Machine) -> None:
    first = machine("first")
    make(first)
    path = first.root / TEXT
    second = machine("second")
    near = second.local(path)
    assert near.is_relative_to(second.root)
    assert near.read_text() == "hello"
    assert second.local(near) == near
    third = machine("third")
    with pytest.raises(DamagedEntryError, match="not in the store any more"):
        third.local(Path("/elsewhere/greet") / ("cd" * 20) / "a.npy")


def test_paths_of_a_local_store_stay_as_they_are(tmp_path: Path) -> None:
    for store in (Store(tmp_path / "store"), Store(f"file://{tmp_path}/store")):
        assert store.root == tmp_path / "store"
        assert store.local(Path("/a") / KEY / "b") == Path("/a") / KEY / "b"


@pytest.mark.parametrize(
    "damage", [(TEXT, b"hell"), (TEXT, b"Hello"), (TEXT, None), (DONE, None), (DONE, b"{}")]
)
def test_a_damaged_entry_is_made_anew_and_replaced(
    machine: Machine, objects: Any, overwrite: Any, damage: tuple[str, bytes | None]
) -> None:
    make(machine("first"))
    whole = objects()
    overwrite(*damage)
    assert not make(machine("second"))
    assert objects() == whole
    assert make(machine("third"))


def test_done_is_written_last_and_removed_first(
    machine: Machine, overwrite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def spy(name: str) -> None:
        work = getattr(ObjectFolder, name)

        def heard(self: ObjectFolder, *arguments: Any) -> None:
            said.append(f"{name} {arguments[-1] if name == 'upload' else arguments[0]}")
            work(self, *arguments)

        monkeypatch.setattr(ObjectFolder, name, heard)

    for name in ("upload", "write", "remove"):
        spy(name)
    make(machine("first"))
    assert said == [f"upload {TEXT}", f"write {DONE}"]
    overwrite(TEXT, b"hell")
    said.clear()
    make(machine("second"))
    assert said == [f"remove {[DONE]}", f"upload {TEXT}", f"write {DONE}"]


def run_python(code: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


_MAKE = """
import os, signal, sys, time
from flows.storage.object_store import ObjectFolder
from flows.storage.store import Store
store = Store({url!r})
{kill}
with store.entry("greet", {key!r}) as entry:
    if not entry.done:
        (entry.path / "sub").mkdir()
        (entry.path / "sub" / "text.txt").write_text("hello")
        entry.commit({{"text": "hello"}})
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_killed_upload_leaves_no_entry(
    machine: Machine, objects: Any, url: str, tmp_path: Path
) -> None:
    kill = "ObjectFolder.write = lambda *a: os.kill(os.getpid(), signal.SIGKILL)"
    code = _MAKE.format(url=url, key=KEY, kill=kill)
    process = run_python(code, STEMWRIGHT_NEAR_STORE=str(tmp_path / "killed"))
    assert process.wait(60) == -signal.SIGKILL
    assert objects().keys() == {TEXT}
    assert not make(machine("second"))
    assert objects().keys() == {TEXT, DONE}


def test_two_machines_at_once_make_one_entry(
    machine: Machine, objects: Any, url: str, tmp_path: Path
) -> None:
    code = _MAKE.format(url=url, key=KEY, kill="")
    both = [run_python(code, STEMWRIGHT_NEAR_STORE=str(tmp_path / name)) for name in "ab"]
    assert [process.wait(60) for process in both] == [0, 0]
    assert objects().keys() == {TEXT, DONE}
    assert make(machine("third"))


def test_what_is_near_and_was_removed_far_is_shared_again(
    machine: Machine, objects: Any, overwrite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = machine("first")
    make(store)
    overwrite(DONE, None)
    assert make(store)  # seen there a moment ago: not asked for again
    assert objects().keys() == {TEXT}
    monkeypatch.setattr(store_module, "_SEEN_S", 0.0)
    assert make(store)
    assert objects().keys() == {TEXT, DONE}


def test_use_is_marked_by_the_day(
    machine: Machine, bucket: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_SEEN_S", 0.0)
    store = machine("first")
    make(store)
    done = bucket.Object(f"{url.split('/', 3)[3]}/{DONE}")
    etag_and_time = (done.e_tag, done.last_modified)
    make(store)
    done.reload()
    assert (done.e_tag, done.last_modified) == etag_and_time
    written: list[str] = []
    monkeypatch.setattr(ObjectFolder, "write", lambda self, name, content: written.append(name))
    monkeypatch.setattr(far_store, "_MARK_S", -10.0)
    make(store)
    assert written == [DONE]


def test_prune_frees_the_far_side(
    machine: Machine, objects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = machine("first")
    make(store)
    size = store.size_bytes()
    assert size == sum(len(content) for content in objects().values())
    assert store.prune(0) == 0, "what was used lately went"
    monkeypatch.setattr(far_store, "_MARK_S", 0.0)
    assert store.prune(size, unused_s=-10.0) == 0
    assert store.prune(0, unused_s=-10.0) == size
    assert objects() == {}
    assert store.size_bytes() == 0
    assert not make(store)


def test_sweep_removes_what_killed_uploads_left(
    machine: Machine, objects: Any, overwrite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = machine("first")
    make(store)
    lost = f"greet/{'cd' * 20}/a.npy"
    overwrite(lost, b"half")
    assert store.sweep() == 0
    assert lost in objects()
    monkeypatch.setattr(far_store, "_ABANDONED_S", -10.0)
    assert store.sweep() == 1
    assert objects().keys() == {DONE, TEXT}


def test_other_objects_in_the_bucket_are_none_of_ours(
    machine: Machine, objects: Any, overwrite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = machine("first")
    make(store)
    theirs = {"songs/one/Kick.wav", "songs/two/take/Bass.wav", "songs/two/done.json"}
    for name in theirs:
        overwrite(name, b"a track")
    monkeypatch.setattr(far_store, "_ABANDONED_S", -10.0)
    monkeypatch.setattr(far_store, "_MARK_S", -10.0)
    assert store.sweep() == 0
    assert store.prune(0, unused_s=-10.0) > 0
    assert objects().keys() == theirs


def test_names_that_lead_out_of_an_entry_are_not_followed(
    machine: Machine, overwrite: Any, tmp_path: Path
) -> None:
    make(machine("first"))
    for name in ("../evil", "/tmp/evil", "a/../../../evil", "..\\evil"):
        overwrite(DONE, Manifest({name: StoredFile(4, 0)}).dump())
        assert not make(machine(f"second {uuid.uuid4().hex}"))
    assert not list(tmp_path.rglob("*evil*"))


def test_refusals_are_said_before_any_work(bucket: Any, machine: Machine, objects: Any) -> None:
    assert machine("first").problems() == ()
    assert objects() == {}, "the probe stayed"
    (problem,) = Store(f"s3://{bucket.name}-not-there/x").problems()
    assert problem.subject == f"store s3://{bucket.name}-not-there/x"
    assert "no such bucket" in problem.what


@contextlib.contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, url: str, *errors: Exception) -> Iterator[list[str]]:
    """Have the first requests fail; give the list of those that were made."""
    files = ObjectFolder(url)._files
    left, asked = list(errors), []
    find = files.find

    def broken(*arguments: Any, **options: Any) -> Any:
        asked.append(str(arguments[0]))
        if left:
            raise left.pop(0)
        return find(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(object_storage, "_RETRIES", 2)
        patch.setattr(object_storage, "_FIRST_WAIT_S", 0.0)
        patch.setattr(files, "find", broken)
        yield asked


def test_what_may_pass_is_tried_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with failing(monkeypatch, url, TimeoutError(), OSError(5, "503 Slow Down")) as asked:
        assert ObjectFolder(url).list() == {}
    assert len(asked) == 3
    three = [TimeoutError("too slow") for _ in range(3)]
    with (
        failing(monkeypatch, url, *three) as asked,
        pytest.raises(RemoteError, match=r"cannot be reached \(too slow\): check the network"),
    ):
        ObjectFolder(url).list()
    assert len(asked) == 3


def test_a_refusal_is_not_tried_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        failing(monkeypatch, url, PermissionError("Forbidden")) as asked,
        pytest.raises(RemoteError, match=r"permission denied \(Forbidden\): ask for access"),
    ):
        ObjectFolder(url).list()
    assert len(asked) == 1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    object_storage._new_driver.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'stemwright\[gcs\]'"):
        Store("gs://bucket/store")


def test_the_user_s_store_may_be_a_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEMWRIGHT_STORE", f"{url}/")
    assert default_root() == url
    assert Store().place == url
    monkeypatch.setenv("STEMWRIGHT_STORE", "memory://x")
    with pytest.raises(InputError, match="STEMWRIGHT_STORE"):
        default_root()


def test_the_near_copy_may_go_at_any_time(machine: Machine) -> None:
    store = machine("first")
    make(store)
    shutil.rmtree(store.root)
    assert make(store)
