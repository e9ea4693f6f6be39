"""Runs of the command line as processes of their own, to measure and to kill."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

__all__ = ["Demo", "Run", "demo_session", "hash_of_samples", "result_of"]

_MARK = "STEMWRIGHT_BENCHMARK_RUN"
_COMMAND = [sys.executable, "-c", "from flows.cli.main import main; main()"]


@dataclass(frozen=True)
class Demo:
    """The demo session and its reference."""

    session: Path
    reference: Path


def demo_session(folder: Path, *, seconds: float) -> Demo:
    """Synthesise the session of 112 tracks, unless it lies there already."""
    if not (folder / "reference.wav").exists():
        arguments = ["demo", str(folder), "--seconds", str(seconds), "--quiet"]
        subprocess.run([*_COMMAND, *arguments], check=True)
    return Demo(folder / "session", folder / "reference.wav")


class Run:
    """One ``stemwright mix`` in a fresh process; all that it starts can be found by a mark.

    Parameters
    ----------
    place
        Gets ``store``, ``home`` (Prefect's), ``tmp`` and ``mixes/out``.
    engine
        ``local``, ``prefect`` or ``dask``.
    server
        URL of a running Prefect server, for the engine ``prefect``.
    """

    def __init__(self, demo: Demo, place: Path, engine: str, *, server: str = "") -> None:
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        for name in ("tmp", "mixes"):
            (place / name).mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            _MARK: self.mark,
            "STEMWRIGHT_STORE": str(place / "store"),
            "STEMWRIGHT_PREFECT_HOME": str(place / "home"),
            "TMPDIR": str(place / "tmp"),
        }
        environment.pop("PREFECT_API_URL", None)
        if server:
            environment["PREFECT_API_URL"] = server
        arguments = ["mix", str(demo.session), "-r", str(demo.reference), "--engine", engine]
        arguments += ["-o", str(place / "mixes" / "out"), "--workers", "2", "--json"]
        self._log = (place / "log").open("a+")
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*_COMMAND, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()

    def pids(self) -> set[int]:
        """Return the live processes that this run started, itself among them."""
        mark = f"{_MARK}={self.mark}".encode()
        found = set()
        for place in Path("/proc").iterdir():
            try:
                if place.name.isdecimal() and mark in (place / "environ").read_bytes():
                    found.add(int(place.name))
            except OSError:
                continue
        return found

    def memory_bytes(self) -> int:
        """Return the memory of all of them: proportional shares, so none is counted twice."""
        total = 0
        for pid in self.pids():
            try:
                told = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += 1024 * sum(
                int(line.split()[1]) for line in told.splitlines() if line.startswith("Pss:")
            )
        return total

    def processor_s(self) -> dict[int, float]:
        """Return the processor time of each of them so far."""
        found = {}
        for pid in self.pids():
            try:
                told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[pid] = (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")
        return found

    def dask_workers(self) -> list[int]:
        """Return the worker processes of Dask: the grandchildren."""
        parents = {}
        for pid in self.pids():
            try:
                told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                parents[pid] = int(told[1])
            except OSError:
                continue
        return [p for p, parent in parents.items() if parents.get(parent) == self.process.pid]

    def result(self) -> dict[str, Any]:
        """Wait for the end and return what the run says."""
        told, _ = self.process.communicate()
        if self.process.returncode:
            self._log.seek(0)
            raise RuntimeError(f"exit status {self.process.returncode}: {self._log.read()[-2000:]}")
        record: dict[str, Any] = json.loads(told)
        record["wall_s"] = time.monotonic() - self.began
        return record


def result_of(demo: Demo, place: Path, engine: str, *, server: str = "") -> dict[str, Any]:
    """Run to the end and return what the run says."""
    with Run(demo, place, engine, server=server) as run:
        return run.result()


def hash_of_samples(folder: Path) -> str:
    """Return one hash of the mix and of all the stems of an output folder."""
    digest = hashlib.sha256()
    for path in [folder / "mix.wav", *sorted((folder / "stems").iterdir())]:
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
