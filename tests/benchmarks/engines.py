"""What orchestration costs: the demo session mixed by each engine, with an empty store each time.

``python tests/benchmarks/engines.py [--seconds 40] [--rounds 1]``

Each run is a fresh process with two workers. Printed are the wall and processor time, the largest
memory of all its processes together (proportional set size, sampled four times a second, so shared
pages count once), what the wall time adds to the local engine's, and whether mix and stems are the
same, bit by bit. Prefect's server runs already, as it does beside a dashboard, and is not counted.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from runs import Demo, Run, demo_session, hash_of_samples

_ENGINES = ("local", "prefect", "dask")
_SAMPLED_EVERY_S = 0.25


@dataclass(frozen=True)
class Figures:
    """What one run took."""

    wall_s: float
    processor_s: float
    memory_bytes: int
    samples: str


def main() -> int:
    """Print the table; the exit status tells whether all engines gave the same samples."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="length of the song")
    parser.add_argument("--rounds", type=int, default=1, help="the median of so many is told")
    parser.add_argument("--engines", default=",".join(_ENGINES))
    parser.add_argument("--demo", type=Path, help="where the demo session lies, or is made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="engines-") as made:
        work = Path(made)
        demo = demo_session(options.demo or work / "demo", seconds=options.seconds)
        found: dict[str, list[Figures]] = {name: [] for name in options.engines.split(",")}
        for _ in range(options.rounds):  # in turn, so that a slow minute slows all
            for engine, figures in found.items():
                figures.append(_measure(demo, work / "run", engine))
    local = found.get("local")
    base_s = statistics.median(x.wall_s for x in local) if local else float("nan")
    samples = {x.samples for figures in found.values() for x in figures}
    _say("engine", "wall s", "over local", "processor s", "memory MB", "samples")
    for engine, figures in found.items():
        wall_s = statistics.median(x.wall_s for x in figures)
        _say(
            engine,
            f"{wall_s:.1f}",
            f"{100.0 * (wall_s / base_s - 1.0):+.1f} %",
            f"{statistics.median(x.processor_s for x in figures):.1f}",
            f"{max(x.memory_bytes for x in figures) / 1e6:.0f}",
            figures[0].samples[:12],
        )
    _say("identical", "yes" if len(samples) == 1 else "NO", "", "", "", "")
    return 0 if len(samples) == 1 else 1


def _measure(demo: Demo, place: Path, engine: str) -> Figures:
    server, url = _prefect_server(place) if engine == "prefect" else (None, "")
    try:
        with Run(demo, place, engine, server=url) as run:
            largest, ended = [0], threading.Event()
            processor_s: dict[int, float] = {}

            def watch() -> None:
                while not ended.wait(_SAMPLED_EVERY_S):
                    largest[0] = max(largest[0], run.memory_bytes())
                    processor_s.update(run.processor_s())

            watching = threading.Thread(target=watch)
            watching.start()
            try:
                told = run.result()
            finally:
                ended.set()
                watching.join()
        return Figures(
            told["wall_s"],
            sum(processor_s.values()),
            largest[0],
            hash_of_samples(place / "mixes" / "out"),
        )
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        shutil.rmtree(place, ignore_errors=True)


_SERVE = """
import sys
from flows.dashboard.control import private_server
from pathlib import Path
with private_server(Path(sys.argv[1])) as (url, _):
    print(url, flush=True)
    sys.stdin.read()
"""


def _prefect_server(place: Path) -> tuple[subprocess.Popen[str], str]:
    home = place / "server"
    home.mkdir(parents=True)
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


def _say(*cells: str) -> None:
    line = "  ".join(cell.rjust(12) for cell in cells)
    print(line.rstrip(), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
