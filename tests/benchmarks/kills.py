"""Kill runs at random moments, go on with them, and look at what is left.

``python tests/benchmarks/kills.py [--quick] [--kills N] [--engines local,prefect,dask]``

A run of the demo session is ended by SIGKILL at a moment drawn from its whole length, and the same
command is given again. Per kill: are the samples those of an undisturbed run; are processes or
files left behind; and was any step done twice (done before the kill, counted in the store, and
after it, as the run says, must add up to the steps of an undisturbed run). Then one of Dask's
workers is killed in a run that must end well by itself.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from runs import Demo, Run, demo_session, hash_of_samples, result_of

_GRACE_S = 15.0


@dataclass(frozen=True)
class Undisturbed:
    """What a run does that nobody kills."""

    samples: str
    done: int
    wall_s: float


def main() -> int:
    """Print a line a kill; the exit status tells whether all went well."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two kills an engine")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engines", default="local,prefect,dask")
    parser.add_argument("--demo", type=Path, help="where the demo session lies, or is made")
    options = parser.parse_args()
    drawn = random.Random(options.seed)
    well = True
    with tempfile.TemporaryDirectory(prefix="kills-") as made:
        work = Path(made)
        demo = demo_session(options.demo or work / "demo", seconds=options.seconds)
        say("engine", "killed at", "identical", "processes left", "files left", "steps done")
        for engine in options.engines.split(","):
            wanted = _undisturbed(demo, work / engine, engine)
            say(engine, "never", "-", "-", "-", f"{wanted.done} in {wanted.wall_s:.1f} s")
            for index in range(2 if options.quick else options.kills):
                place = work / f"{engine}-{index}"
                at_s = drawn.uniform(0.3, wanted.wall_s)
                well &= _killed_and_resumed(demo, place, engine, at_s, wanted)
                shutil.rmtree(place)
            if engine == "dask":
                place = work / "worker"
                well &= _worker_killed(demo, place, drawn, wanted)
                shutil.rmtree(place)
    return 0 if well else 1


def _undisturbed(demo: Demo, place: Path, engine: str) -> Undisturbed:
    if engine == "prefect":  # its first start makes a database
        result_of(demo, place, engine)
        shutil.rmtree(place / "store")
        shutil.rmtree(place / "mixes")
    told = result_of(demo, place, engine)
    found = Undisturbed(
        hash_of_samples(place / "mixes" / "out"), told["steps"]["done"], told["wall_s"]
    )
    for name in ("store", "mixes"):
        shutil.rmtree(place / name)
    return found


def _killed_and_resumed(
    demo: Demo, place: Path, engine: str, at_s: float, wanted: Undisturbed
) -> bool:
    if engine == "prefect":
        shutil.copytree(place.with_name(engine) / "home", place / "home")
    with Run(demo, place, engine) as run:
        time.sleep(max(at_s - (time.monotonic() - run.began), 0.0))
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()
        orphans = _left_alive(run)
    done_before = len(list((place / "store").glob("[!.]*/*/done.json")))
    if (place / "mixes" / "out").exists():  # too late: it had ended
        say(engine, f"{at_s:.1f} s", "ended before", "-", "-", f"{done_before}")
        return True
    told = result_of(demo, place, engine)
    return _judge(engine, f"{at_s:.1f} s", place, orphans, done_before, told, wanted)


def _worker_killed(demo: Demo, place: Path, drawn: random.Random, wanted: Undisturbed) -> bool:
    with Run(demo, place, "dask") as run:
        begun = place / "store" / "analyse"
        while run.process.poll() is None and len(list(begun.glob("*/done.json"))) < 10:
            time.sleep(0.05)
        time.sleep(drawn.uniform(0.0, 2.0))
        at_s = time.monotonic() - run.began
        victim = drawn.choice(run.dask_workers())
        import os

        os.kill(victim, signal.SIGKILL)
        told = run.result()
        orphans = _left_alive(run)
    return _judge("a dask worker", f"{at_s:.1f} s", place, orphans, 0, told, wanted)


def _left_alive(run: Run) -> int:
    until = time.monotonic() + _GRACE_S
    while run.pids() and time.monotonic() < until:
        time.sleep(0.2)
    return len(run.pids())


def _judge(
    who: str,
    when: str,
    place: Path,
    orphans: int,
    done_before: int,
    told: dict[str, Any],
    wanted: Undisturbed,
) -> bool:
    identical = hash_of_samples(place / "mixes" / "out") == wanted.samples
    strays = [path.name for path in (place / "mixes").iterdir() if path.name != "out"]
    strays += [path.name for path in (place / "tmp").iterdir()]
    strays += [path.name for path in (place / "store").glob(".unfinished/*")]
    done = told["steps"]["done"]
    # What a killed worker had stored and not reported yet is found, and was done once all the same.
    used = done + told["steps"]["found"]
    once = done_before + done == wanted.done or (done_before == 0 and used == wanted.done)
    say(
        who,
        when,
        "yes" if identical else "NO",
        str(orphans),
        ", ".join(strays) or "0",
        f"{done_before} + {done}" + ("" if once else f", NOT {wanted.done}"),
    )
    return identical and once and not orphans and not strays


def say(*cells: str) -> None:
    """Print one line of the table."""
    widths = (14, 10, 13, 15, 12, 20)
    line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    print(line.rstrip(), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
