"""The whole way with session, reference, store and output in a bucket, served on loopback."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from flows.engines.local import LocalEngine
from flows.mix import recipe as mix_module
from flows.mix.recipe import mix_session
from flows.mix.result import MixOutcome
from flows.progress import SilentProgress
from flows.settings import MixSettings
from flows.storage.object_store import ObjectFolder
from flows.storage.store import Entry
from pipeline.errors import InputError
from pipeline.plan_file import load_plan

FAST: dict[str, Any] = {"engine": "local", "quality": "fast"}


@pytest.fixture(scope="module")
def song(workplace: Path, make_song: Callable[[Path], Path]) -> Path:
    root = make_song(workplace / "song")
    (odd,) = root.glob("Gtr *")
    odd.rename(root / "Gtr [1]#?%20+&.wav")  # moto takes no new line in a name
    return root


@pytest.fixture(scope="module")
def reference(workplace: Path, make_reference: Callable[..., Path]) -> Path:
    return make_reference(workplace / "A Song.wav")


@pytest.fixture(scope="module")
def urls(bucket: Any, song: Path, reference: Path) -> tuple[str, str]:
    """Put song and reference into the bucket; return their URLs."""
    for path in song.rglob("*"):
        if path.is_file():
            bucket.upload_file(str(path), f"song/{path.relative_to(song).as_posix()}")
    bucket.upload_file(str(reference), "refs/A Song.wav")
    return f"s3://{bucket.name}/song", f"s3://{bucket.name}/refs/A Song.wav"


@pytest.fixture(scope="module")
def local(workplace: Path, song: Path, reference: Path) -> MixOutcome:
    """Mix the song as it lies on this machine."""
    settings = MixSettings(references=(reference,), **FAST)
    return mix_session(song, settings=settings, folder=workplace / "local")


def move_to(name: str, workplace: Path, patch: pytest.MonkeyPatch) -> None:
    """Be another machine, which has nothing of what was fetched before."""
    for variable in ("STEMWRIGHT_NEAR_STORE", "STEMWRIGHT_MIRROR"):
        patch.setenv(variable, str(workplace / name / variable.lower()))


def keys(bucket: Any, prefix: str) -> set[str]:
    found = bucket.objects.filter(Prefix=prefix)
    return {o.key.removeprefix(prefix) for o in found}


class ElsewhereEngine(LocalEngine):
    """Runs the steps of a phase in a process that shares nothing but the bucket and the output."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        super().__init__(1, SilentProgress())
        self.pool = pool
        self.phases: list[str] = []

    def map(
        self, step: Callable[[Any], Any], items: Sequence[Any], *, name: str, labels: Sequence[str]
    ) -> list[Any]:
        self.phases.append(name)
        return list(self.pool.map(step, items))


def test_a_mix_by_workers_that_share_only_a_bucket_is_the_local_one(
    workplace: Path, urls: tuple[str, str], local: MixOutcome, bucket: Any, samples: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    session, reference = urls
    store = f"s3://{bucket.name}/store"
    settings = MixSettings(references=(reference,), **FAST)
    move_to("worker", workplace, monkeypatch)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(os.getpid).result()  # it has its environment now
        move_to("lead", workplace, monkeypatch)
        engine = ElsewhereEngine(pool)
        with monkeypatch.context() as patch:
            patch.setattr(mix_module, "run_recipe", lambda title, recipe, **_: recipe(engine))
            outcome = mix_session(
                session, settings=settings, folder=workplace / "shared", store=store
            )
    assert {"check", "analyse", "balance", "style"} <= set(engine.phases)
    assert np.array_equal(
        samples(workplace / "shared" / "mix.wav"), samples(workplace / "local" / "mix.wav")
    )
    near = {path.parts[-3] for path in (workplace / "worker").rglob("done.json")}
    assert near >= {"check", "analyse", "balance", "style"}
    plan = load_plan(workplace / "shared" / "plan.json")
    assert plan.session == session
    assert plan.references == (reference,)
    for path in (workplace / "shared").rglob("*"):
        if path.suffix in (".json", ".csv", ".html"):
            assert "stemwright_mirror" not in path.read_text(encoding="utf-8"), path.name
    known = {t.path: t.gain_db for t in local.plan.tracks}
    assert {t.path: t.gain_db for t in outcome.plan.tracks} == known

    # Another machine finds every step done, and puts the same mix beside the session.
    move_to("third", workplace, monkeypatch)
    made: list[str] = []
    monkeypatch.setattr(Entry, "commit", lambda self, record=None: made.append(str(self.path)))
    again = mix_session(session, settings=settings, store=store)
    assert made == []
    assert isinstance(again.folder, str)
    assert again.folder.startswith(f"{session}/mixes/")
    assert again.folder.rpartition("-")[0].endswith("-A_Song")
    prefix = again.folder.split("/", 3)[3] + "/"
    listed = json.loads(bucket.Object(prefix + "uploaded.json").get()["Body"].read())["files"]
    there = keys(bucket, prefix)
    assert there == {*listed, "uploaded.json"}
    assert {"mix.wav", "plan.json", "report.html", "stems/drums.wav"} <= there
    assert str(again.files["mix"]) == f"{again.folder}/mix.wav"
    bucket.download_file(prefix + "mix.wav", str(workplace / "downloaded.wav"))
    assert np.array_equal(
        samples(workplace / "downloaded.wav"), samples(workplace / "local" / "mix.wav")
    )
    bucket.download_file(prefix + "session.dawproject", str(workplace / "daw.zip"))
    with zipfile.ZipFile(workplace / "daw.zip") as daw:
        project = daw.read("project.xml").decode()
    for path in ("../../Drums/Kick In.wav", "stems/drums.wav", "../../../refs/A Song.wav"):
        assert f'path="{path}"' in project
    assert not list((workplace / "stemwright_staging").iterdir())

    # The mix that now lies in the session is none of its tracks.
    assert "mixes/" in {left.name for left in mix_again(session, store).left_out}


def mix_again(session: str, store: str) -> Any:
    from flows.mix.analysis import analyse_session

    with LocalEngine(1) as engine:
        return analyse_session(engine, session, settings=MixSettings(), store=store).session


def test_a_plan_whose_session_is_a_url_renders(
    workplace: Path, urls: tuple[str, str], local: MixOutcome, stemwright: Callable[..., Result],
    samples: Any, bucket: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    move_to("rendering", workplace, monkeypatch)
    told = json.loads((workplace / "local" / "plan.json").read_text(encoding="utf-8"))
    plan = workplace / "remote plan.json"
    plan.write_text(json.dumps(told | {"session": urls[0]}), encoding="utf-8")
    result = stemwright("render", plan, "-o", f"s3://{bucket.name}/rendered", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["mix"] == f"s3://{bucket.name}/rendered/mix.wav"
    bucket.download_file("rendered/mix.wav", str(workplace / "rendered.wav"))
    assert np.array_equal(
        samples(workplace / "rendered.wav"), samples(workplace / "local" / "mix.wav")
    )
    again = json.loads(bucket.Object("rendered/plan.json").get()["Body"].read())
    assert again["session"] == urls[0]
    told["tracks"][0]["path"] = "gone.wav"
    plan.write_text(json.dumps(told | {"session": urls[0]}), encoding="utf-8")
    result = stemwright("render", plan, "-o", f"s3://{bucket.name}/rendered")
    assert result.exit_code == 2
    assert "rendered: exists already" in " ".join(result.stderr.split())
    assert "song/gone.wav: is not there" in " ".join(result.stderr.split())


def test_everything_wrong_with_urls_is_said_at_once(
    workplace: Path, bucket: Any, urls: tuple[str, str]
) -> None:
    url = f"s3://{bucket.name}"
    settings = MixSettings(references=(f"{url}/no.wav", workplace / "A Song.wav"), **FAST)
    with pytest.raises(InputError) as caught:
        mix_session(f"{url}/none", settings=settings, folder=urls[0], store=f"{url}-no/store")
    told = [str(problem) for problem in caught.value.problems]
    for words in (
        f"{urls[0]}: exists already",
        f"{url}/none: does not exist, or is empty",
        f"reference no.wav: is not at {url}/no.wav",
        f"store {url}-no/store: there is no such bucket",
    ):
        assert [line for line in told if line.startswith(words)], (words, told)
    assert len(told) == 4


def test_what_is_wrong_in_a_remote_session_names_its_url(workplace: Path, bucket: Any) -> None:
    bucket.put_object(Key="odd/._a.wav", Body=b"x")
    with pytest.raises(InputError, match=rf"^s3://{bucket.name}/odd: has no tracks"):
        mix_session(f"s3://{bucket.name}/odd", settings=MixSettings(**FAST))


def test_an_upload_that_fails_leaves_nothing(
    workplace: Path, song: Path, local: MixOutcome, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = ObjectFolder.upload

    def fail(self: ObjectFolder, path: Path, name: str) -> None:
        if name == "report.html":
            raise OSError("broken pipe")
        upload(self, path, name)

    monkeypatch.setattr(ObjectFolder, "upload", fail)
    settings = MixSettings(**FAST)
    with pytest.raises(OSError, match="broken pipe"):
        mix_session(song, settings=settings, folder=f"s3://{bucket.name}/broken")
    assert keys(bucket, "broken/") == set()
    assert not list((workplace / "stemwright_staging").iterdir())
    bucket.put_object(Key="half/plan.json", Body=b"{}")
    with pytest.raises(InputError, match="holds an upload that did not end"):
        mix_session(song, settings=settings, folder=f"s3://{bucket.name}/half")


def test_balance_and_init_work_at_urls(
    urls: tuple[str, str], bucket: Any, stemwright: Callable[..., Result]
) -> None:
    output = f"s3://{bucket.name}/balanced"
    result = stemwright("balance", urls[0], "-o", output, "--engine", "local", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["page"] == f"{output}/listen.html"
    assert {"listen.html", "sones/plan.json", "uploaded.json"} <= keys(bucket, "balanced/")
    bucket.Object("copy/Kick.wav").copy({"Bucket": bucket.name, "Key": "song/Drums/Kick In.wav"})
    result = stemwright("init", f"s3://{bucket.name}/copy", "--engine", "local")
    assert result.exit_code == 0, result.output
    assert keys(bucket, "copy/") == {"Kick.wav", "session.toml"}
    written = bucket.Object("copy/session.toml").get()["Body"].read().decode()
    assert 'match = "Kick.wav"' in written
    result = stemwright("init", f"s3://{bucket.name}/copy", "--engine", "local")
    assert result.exit_code == 2
    assert "exists already" in result.stderr


def test_a_local_run_loads_nothing_for_urls(workplace: Path, song: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from flows.mix.recipe import mix_session;"
        "from flows.settings import MixSettings;"
        f"mix_session(Path({str(song)!r}), settings=MixSettings(engine='local'),"
        f" folder=Path({str(workplace / 'plain')!r}));"
        "print(sorted({'s3fs', 'gcsfs', 'aiobotocore', 'boto3', 'aiohttp'} & set(sys.modules)))"
    )
    shutil.rmtree(workplace / "plain", ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
