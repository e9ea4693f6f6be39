import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.storage import store as store_module
from flows.storage.store import (
    DamagedEntryError,
    Store,
    chosen_root,
    default_root,
    made_whole,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def leftovers(store: Store) -> list[Path]:
    unfinished = store.root / ".unfinished"
    return list(unfinished.iterdir()) if unfinished.exists() else []


def make(store: Store, key: str, text: str = "hello", step: str = "greet") -> bool:
    """Make an entry unless it is done; return whether it was."""
    with store.entry(step, key) as entry:
        if entry.done:
            return True
        (entry.path / "sub").mkdir()
        (entry.path / "sub" / "text.txt").write_text(text)
        entry.commit({"text": text, "pair": (1, 2)})
        return False


def test_second_look_finds_files_and_record(store: Store) -> None:
    assert not make(store, "k")
    with store.entry("greet", "k") as entry:
        assert entry.done
        assert entry.record == {"text": "hello", "pair": [1, 2]}
        assert (entry.path / "sub" / "text.txt").read_text() == "hello"
        assert entry.path == store.root / "greet" / "k"


def test_commit_leads_to_what_a_hit_would_see(store: Store) -> None:
    with store.entry("greet", "k") as entry:
        (entry.path / "a").write_text("a")
        place = entry.commit({"pair": (1, 2)})
        assert (entry.done, entry.path, entry.record) == (True, place, {"pair": [1, 2]})
        with pytest.raises(RuntimeError, match="committed already"):
            entry.commit({})
    assert (place / "a").read_text() == "a"
    assert leftovers(store) == []


def test_without_commit_nothing_remains(store: Store) -> None:
    with store.entry("greet", "k") as entry:
        (entry.path / "a").write_text("a")
    assert leftovers(store) == []
    assert not (store.root / "greet").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_half_written_after_an_exception(store: Store, error: type[BaseException]) -> None:
    def fail_halfway() -> None:
        with store.entry("greet", "k") as entry:
            (entry.path / "a").write_text("a")
            raise error

    with pytest.raises(error):
        fail_halfway()
    assert leftovers(store) == []
    assert not make(store, "k")


def flip(path: Path, at: int) -> None:
    """Turn one bit over, as a disk does: the file's times stay."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_large_file_is_looked_through_when_it_is_used(store: Store) -> None:
    key = "ab" * 20

    def made(content: bytes) -> Path:
        with store.entry("render", key) as entry:
            if not entry.done:
                (entry.path / "stem.wav").write_bytes(content)
                entry.commit()
            return entry.path / "stem.wav"

    path = made(b"0" * 3_000_000)
    assert store.local(path) == path
    flip(path, 2_000_000)
    assert made(b"") == path, "it is not looked through where it is only found"
    times: list[bytes] = []

    def use() -> bytes:
        times.append(store.local(made(b"1" * 3_000_000)).read_bytes())
        return times[-1]

    assert made_whole(use, store.place) == b"1" * 3_000_000
    assert len(times) == 1
    shutil.rmtree(path.parent)
    with pytest.raises(DamagedEntryError, match="run again"):
        store.local(path)


def test_what_is_damaged_over_and_over_is_given_up(store: Store) -> None:
    tries: list[int] = []

    def never() -> None:
        tries.append(1)
        raise DamagedEntryError("again")

    with pytest.raises(DamagedEntryError):
        made_whole(never, store.place)
    assert 2 <= len(tries) < 10


@pytest.mark.parametrize("damage", [
    "missing", "short", "flipped", "done.json", "not json", "no record", "flipped record",
    "deep record",
])  # fmt: skip
def test_damaged_entry_is_made_anew(store: Store, damage: str) -> None:
    make(store, "k")
    place = store.root / "greet" / "k"
    match damage:
        case "missing":
            (place / "sub" / "text.txt").unlink()
        case "short":
            (place / "sub" / "text.txt").write_text("hell")
        case "flipped":
            flip(place / "sub" / "text.txt", 2)
        case "flipped record":
            done = (place / "done.json").read_text()
            assert '"hello"' in done or '"text"' in done
            (place / "done.json").write_text(done.replace("text", "tekt"))
        case "deep record":
            (place / "done.json").write_text("[" * 100_000)
        case "done.json":
            (place / "done.json").unlink()
        case "not json":
            (place / "done.json").write_text('{"record": {"te')
        case "no record":
            (place / "done.json").write_text('{"files": {}}')
    assert not make(store, "k", text="anew")
    assert make(store, "k")
    assert (place / "sub" / "text.txt").read_text() == "anew"
    assert leftovers(store) == []


def test_the_first_of_two_commits_stays(store: Store) -> None:
    with store.entry("greet", "k") as slow:
        (slow.path / "a").write_text("slow")
        with store.entry("greet", "k") as quick:
            assert not quick.done
            (quick.path / "a").write_text("quick")
            quick.commit({"by": "quick"})
        place = slow.commit({"by": "slow"})
        assert slow.record == {"by": "quick"}
    assert (place / "a").read_text() == "quick"
    assert leftovers(store) == []


RACER = """
import sys
from pathlib import Path
from flows.storage.store import Store

store = Store(Path(sys.argv[1]))
for number in range(60):
    with store.entry("race", str(number)) as entry:
        if not entry.done:
            for name in "abc":
                (entry.path / name).write_text(str(number) * 1000)
            entry.commit({"number": number})
        assert entry.record == {"number": number}, entry.record
        for name in "abc":
            assert (entry.path / name).read_text() == str(number) * 1000
"""


def test_two_processes_race_through_one_store(store: Store) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(store.root)], stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.wait(60) == 0, racer.communicate()[1]
        racer.communicate()
    assert leftovers(store) == []
    assert len(list((store.root / "race").glob("*/done.json"))) == 60


SLEEPER = """
import sys, time
from pathlib import Path
from flows.storage.store import Store

with Store(Path(sys.argv[1])).entry("sleep", "k") as entry:
    (entry.path / "half").write_text("half")
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="a process is asked for with POSIX signal 0")
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_killed_run_leaves_nothing_that_counts(store: Store, kill: signal.Signals) -> None:
    sleeper = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(store.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with sleeper:
        assert sleeper.stdout is not None
        assert sleeper.stdout.readline() == b"ready\n"
        assert Store(store.root).sweep() == 0, "the folder of a living run was taken away"
        assert len(leftovers(store)) == 1
        sleeper.send_signal(kill)
        sleeper.wait(30)
    assert len(leftovers(store)) == (1 if kill == signal.SIGKILL else 0)
    assert not (store.root / "sleep").exists()
    Store(store.root)
    assert leftovers(store) == []


def test_unfinished_of_another_machine_goes_after_days(store: Store) -> None:
    folder = store.root / ".unfinished" / "0123.1@elsewhere.example"
    folder.mkdir(parents=True)
    assert store.sweep() == 0
    old = time.time() - 4 * 86400
    os.utime(folder, (old, old))
    assert store.sweep() == 1
    assert not folder.exists()


@given(inputs=st.dictionaries(st.text(), JSON, min_size=1, max_size=4))
def test_key_depends_on_values_and_not_on_order(inputs: dict[str, object]) -> None:
    store = Store(Path("/nowhere-that-exists"))
    key = store.key("s", inputs=inputs, code_version="1")
    backwards = dict(reversed(inputs.items()))
    assert store.key("s", inputs=backwards, code_version="1") == key
    again = json.loads(json.dumps(inputs))
    assert store.key("s", inputs=again, code_version="1") == key
    name = next(iter(inputs))
    changed = {**inputs, name: [inputs[name], "changed"]}
    others = {
        store.key("s", inputs=changed, code_version="1"),
        store.key("t", inputs=inputs, code_version="1"),
        store.key("s", inputs=inputs, code_version="2"),
    }
    assert len(others | {key}) == 4


@pytest.mark.parametrize("value", [{1, 2}, Path("a"), object()])
def test_key_refuses_what_has_no_json(store: Store, value: object) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        store.key("s", inputs={"x": value}, code_version="1")


def settle(path: Path) -> None:
    """Date a file back, to when a clock's tick is long over."""
    old = time.time() - 60.0
    os.utime(path, (old, old))


def test_content_hash_is_of_the_content_and_remembered(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a", tmp_path / "b\n'ü"
    for path in (first, second):
        path.write_bytes(b"x" * 100_000)
        settle(path)
    digest = store.content_hash(first)
    assert store.content_hash(second) == digest

    def unreadable(*arguments: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(store_module.hashlib, "file_digest", unreadable)
    assert Store(store.root).content_hash(first) == digest
    assert Store(store.root).content_hash(second) == digest
    first.write_bytes(b"y" * 100_000)
    with pytest.raises(AssertionError, match="read again"):
        store.content_hash(first)


def test_content_hash_sees_a_rewrite_that_hides_itself(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"first")
    settle(path)
    before, times = store.content_hash(path), path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert store.content_hash(path) != before


def test_content_hash_needs_no_store_that_can_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    settle(blocked)
    there = Store(tmp_path / "store").content_hash(blocked)
    assert Store(blocked / "store").content_hash(blocked) == there


def test_prune_takes_the_longest_unused(store: Store) -> None:
    keys = {name: store.key(name, inputs={}, code_version="1") for name in ("new", "middle", "old")}
    for age, key in enumerate(keys.values()):
        make(store, key, text="x" * 1000)
        used = time.time() - 100_000 * age
        os.utime(store.root / "greet" / key / "done.json", (used, used))
    each = store.size_bytes() // 3
    assert each > 1000
    with store.entry("greet", keys["old"]) as entry:  # used: the middle one is the oldest now
        assert entry.done
    freed = store.prune(2 * each + 10)
    assert freed == pytest.approx(each, abs=10)  # bytes; the keys' lengths differ
    assert sorted(p.name for p in (store.root / "greet").iterdir()) == sorted(
        [keys["new"], keys["old"]]
    )
    assert store.prune(0) == 0, "what was used within the hour stays"
    assert store.prune(0, unused_s=0.0) > 0
    assert store.size_bytes() == 0
    assert leftovers(store) == []


def test_what_another_run_takes_up_meanwhile_is_not_pruned(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    young, old = "a" * 40, "b" * 40
    for age, key in enumerate([young, old], start=1):
        make(store, key, text="x" * 1000)
        used = time.time() - 100_000 * age
        os.utime(store.root / "greet" / key / "done.json", (used, used))
    discard = store_module._discard

    def slow(place: Path, aside: Path) -> None:
        discard(place, aside)
        os.utime(store.root / "greet" / young / "done.json")  # as another run's look-up does

    monkeypatch.setattr(store_module, "_discard", slow)
    store.prune(0)
    assert [p.name for p in (store.root / "greet").iterdir()] == [young]


def test_other_folders_in_the_store_s_folder_are_none_of_ours(tmp_path: Path) -> None:
    master = tmp_path / "songs" / "take 1" / "master.wav"
    master.parent.mkdir(parents=True)
    master.write_bytes(b"a master")
    done = master.with_name("done.json")
    done.write_text('{"files": {}, "record": {}}')
    os.utime(done, (1.0, 1.0))
    store = Store(tmp_path)
    assert store.size_bytes() == store.prune(0, unused_s=0.0) == store.sweep() == 0
    assert list(store.entries()) == []
    assert master.read_bytes() == b"a master"


def test_a_store_is_named_alike_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMWRIGHT_STORE", "mine")
    assert chosen_root("cache") == chosen_root(Path("cache")) == tmp_path / "cache"
    assert chosen_root(None) == chosen_root("") == tmp_path / "mine"
    assert chosen_root("s3://bucket/cache/") == "s3://bucket/cache"
    assert chosen_root("file:///data/cache") == Path("/data/cache")
    assert Store.problems_of(chosen_root("ftp://a/b"))[0].subject == "--store"


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STEMWRIGHT_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "stemwright" / "store"
    monkeypatch.setenv("STEMWRIGHT_STORE", str(tmp_path / "mine"))
    assert default_root() == tmp_path / "mine"
    monkeypatch.setenv("STEMWRIGHT_STORE", f"file://{tmp_path}/theirs")
    assert default_root() == tmp_path / "theirs"
    assert not list(tmp_path.iterdir()), "asking makes nothing"
