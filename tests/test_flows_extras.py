"""Without an extra's packages a mix is made; what needs one names the command to install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from flows.extras import is_installed, require
from pipeline.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
HIDDEN = (
    "prefect", "uvicorn", "starlette", "fastapi", "distributed", "dask", "cryptography",
    "sqlalchemy", "asyncpg", "s3fs", "gcsfs",
)  # fmt: skip


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process in which no package of an extra can be imported."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({HIDDEN!r}))"
    code = f"{hide}; from flows.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=240,
    )


@pytest.fixture
def session(tmp_path: Path) -> Path:
    folder = tmp_path / "song"
    folder.mkdir()
    rng = np.random.default_rng(3)
    seconds = np.arange(2 * 22050) / 22050
    soundfile.write(folder / "bass.wav", 0.2 * np.sin(2 * np.pi * 55.0 * seconds), 22050)
    soundfile.write(folder / "shaker.wav", 0.1 * rng.standard_normal(len(seconds)), 22050)
    return folder


def test_a_plain_installation_mixes(tmp_path: Path, session: Path) -> None:
    done = run(tmp_path, "mix", str(session), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "mix.wav").is_file()


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("mix", "SESSION", "--engine", "prefect"), "prefect"),
        (("mix", "SESSION", "--engine", "dask"), "dask"),
        (("mix", "SESSION", "--dask", "tcp://127.0.0.1:9"), "dask"),
        (("dashboard",), "prefect"),
        (("mix", "s3://bucket/song"), "s3"),
        (("mix", "gs://bucket/song"), "gcs"),
    ],
)
def test_what_needs_an_extra_says_how_to_install_it(
    tmp_path: Path, session: Path, arguments: tuple[str, ...], extra: str
) -> None:
    filled = [str(session) if part == "SESSION" else part for part in arguments]
    out = ["-o", str(tmp_path / "out")] if arguments[0] == "mix" else []
    done = run(tmp_path, *filled, *out)
    assert done.returncode == 2, done.stderr
    assert f"pip install 'stemwright[{extra}]'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_team_s_database_needs_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    assert not is_installed("team")
    with pytest.raises(InputError, match=r"needs the package asyncpg.*stemwright\[team\]"):
        require("team", "database")
