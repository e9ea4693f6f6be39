"""What lies in the current folder is data, whatever it is called: no process of ours runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.engines.interpreters import folder_kept_out

ROOT = Path(__file__).resolve().parents[1]
NAMES = (
    "multiprocessing", "numpy", "torch", "distributed", "dask", "flows", "pipeline", "socket",
    "sitecustomize", "selectors", "pickle",
)  # fmt: skip

RUNS = {
    "catalogue --jobs": """
from flows.catalogue.workers import work_in_processes
if __name__ == "__main__":
    print(sorted(work_in_processes(len, ["a", "bc"], jobs=2)))
""",
    "--engine dask": """
from flows.engines.run import run_recipe
if __name__ == "__main__":
    print(run_recipe("x", lambda e: list(enumerate(e.map(len, ["a", "bc"], name="n",
                                                         labels=["a", "b"]))),
                     engine="dask", workers=1))
""",
    "dashboard": """
from pathlib import Path
from flows.dashboard.control import private_server
if __name__ == "__main__":
    with private_server(Path("../home")) as (url, home):
        print([(0, 1), (1, 2)])
""",
}


@pytest.mark.parametrize("what", RUNS)
@pytest.mark.skipif(os.name != "posix", reason="processes are forked or spawned as on POSIX")
@pytest.mark.timeout(180)
def test_modules_in_the_current_folder_are_not_run(tmp_path: Path, what: str) -> None:
    session = tmp_path / "session"
    session.mkdir()
    for name in NAMES:
        # Told by a file: what a child prints goes nowhere.
        (session / f"{name}.py").write_text(
            f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r} + ' ')\n"
        )
    (session / "prefect.toml").write_text('[logging]\nsettings_path = "logging.yml"\n')
    (session / "logging.yml").write_text(
        "version: 1\nhandlers:\n  evil:\n    (): subprocess.call\n"
        f"    args: [touch, {tmp_path / 'executed'}]\n"
    )
    script = tmp_path / "run.py"
    script.write_text(RUNS[what])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=session,
        env={
            **{k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"},
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[(0, 1), (1, 2)]", done.stderr
    executed = tmp_path / "executed"
    assert not executed.exists(), executed.read_text()


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "0"):
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
        if before is not None:
            monkeypatch.setenv("PYTHONSAFEPATH", before)
        with folder_kept_out(), folder_kept_out():
            assert os.environ["PYTHONSAFEPATH"] == "1"
        assert os.environ.get("PYTHONSAFEPATH") == before
