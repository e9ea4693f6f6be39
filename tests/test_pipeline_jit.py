"""Compiled loops whose cache several processes share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = """
import sys
import numpy as np
from pipeline.jit import kernel

@kernel
def double(values, out):
    for i in range(values.size):
        out[i] = 2 * values[i]

for kind in sys.argv[1:]:
    values = np.arange(5).astype(kind)
    out = np.zeros_like(values)
    double(values, out)
    assert out.tolist() == [0, 2, 4, 6, 8], (kind, out)
"""
KINDS = ["float32", "float64", "int16", "int32", "int64", "complex64"]


def test_processes_that_compile_at_once_do_not_get_each_other_s_code(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SOURCE)
    orders = [KINDS, KINDS[::-1], KINDS[3:] + KINDS[:3]]
    running = [subprocess.Popen([sys.executable, script, *order]) for order in orders]
    assert [process.wait() for process in running] == [0, 0, 0]
    # Everything is cached by now, each type of argument in a file of its own.
    subprocess.run([sys.executable, script, *KINDS], check=True)
    assert len(list(tmp_path.rglob("*.nbc"))) == len(KINDS)


UNWRITABLE = """
import os
from numba.core import caching

for locator in (caching.InTreeCacheLocator, caching.UserWideCacheLocator,
                caching.IPythonCacheLocator, caching.ZipCacheLocator):
    locator.from_function = classmethod(lambda cls, *arguments: None)
"""


def test_where_nothing_can_be_kept_it_is_said_and_work_goes_on(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNWRITABLE + SOURCE + 'print(os.environ["NUMBA_CACHE_DIR"])\n')
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, script, "float32"],
        check=True,
        capture_output=True,
        text=True,
        env=environment | {"TMPDIR": str(tmp_path), "HOME": "/of/nobody"},
    )
    assert f"neither in {tmp_path} nor in the cache of /of/nobody" in done.stderr
    assert done.stderr.count("NUMBA_CACHE_DIR") == 1
    folder = Path(done.stdout.strip())
    assert folder.parent == tmp_path
    assert not folder.exists()
