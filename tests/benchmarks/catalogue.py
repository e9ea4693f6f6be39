"""A catalogue of 60 sessions, 6 of them broken: what comes of it, how long, and how much memory.

Run ``python tests/benchmarks/catalogue.py AUDIO OUT`` where AUDIO holds ``sessions/`` and
``references/``. Sessions are cuts of 6 to 10 s of other songs, passages and tracks each, and of the
demo. Broken are: an empty folder, a WAV file that ends in its header, samples that are no number,
text that calls itself WAV, a mistake in ``session.toml``, and a FLAC file that ends early.

Printed are the mixes that exist, what is said of the others, the exit status, the time, and the
memory of the process tree (proportional set size, sampled twice a second): its peak for each
session and the slope over the sessions, in MB a session. ``memory.png`` in OUT shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from pipeline.demo.session import make_demo

SESSIONS, OF_DEMO = 60, 8
EVERY_S = 0.5
ROOT = Path(__file__).resolve().parents[2]


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def cut_session(sources: list[Path], place: Path, rng: random.Random) -> None:
    """Write the same few seconds of some tracks of a song."""
    chosen = rng.sample(sources, rng.randint(min(3, len(sources)), min(16, len(sources))))
    seconds = rng.uniform(6.0, 10.0)
    shortest_s = min(soundfile.info(path).duration for path in chosen)
    start_s = rng.uniform(0.0, max(shortest_s - seconds, 0.0))
    place.mkdir(parents=True)
    for path in chosen:
        rate = soundfile.info(path).samplerate
        audio, _ = soundfile.read(
            path, start=round(start_s * rate), frames=round(seconds * rate), always_2d=True
        )
        if not len(audio) or not np.abs(audio).max():
            audio = np.zeros((round(seconds * rate), 1))
        soundfile.write(place / f"{path.stem}.wav", audio, rate, subtype="PCM_24")


def _first(folder: Path) -> Path:
    return min(folder.glob("*.wav"))


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _header(folder: Path) -> None:
    _first(folder).write_bytes(_first(folder).read_bytes()[:30])


def _not_a_number(folder: Path) -> None:
    audio, rate = soundfile.read(_first(folder), always_2d=True)
    audio[len(audio) // 2] = np.nan
    soundfile.write(_first(folder), audio, rate, subtype="FLOAT")


def _text(folder: Path) -> None:
    _first(folder).write_text("no audio at all, " * 100)


def _toml(folder: Path) -> None:
    (folder / "session.toml").write_text('[[track]]\nmatch = "*"\nrolle = "kick"\n')


def _cut_flac(folder: Path) -> None:
    audio, rate = soundfile.read(_first(folder), always_2d=True)
    flac = _first(folder).with_suffix(".flac")
    soundfile.write(flac, audio, rate)
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])


BREAKS: tuple[Callable[[Path], None], ...] = (
    _empty, _header, _not_a_number, _text, _toml, _cut_flac,
)  # fmt: skip


def make_catalogue(audio: Path, place: Path) -> list[str]:
    """Make the sessions; return the names of those that are broken."""
    rng = random.Random(60)
    songs = [sorted(folder.glob("*.flac")) for folder in sorted((audio / "sessions").iterdir())]
    songs = [song for song in songs if song]
    made = make_demo(place / "demo", seconds=12.0)
    demo = sorted(p for p in made.session.rglob("*.wav") if not p.name.startswith("."))
    broken = []
    for number in range(SESSIONS):
        of_demo = number % (SESSIONS // OF_DEMO) == 3
        folder = place / "sessions" / f"{number:02d}"
        cut_session(demo if of_demo else songs[number % len(songs)], folder, rng)
        if number % 10 == 5:
            BREAKS[number // 10](folder)
            broken.append(folder.name)
    return broken


def tree_bytes(pid: int) -> int:
    """Return the proportional set size of a process and all below it."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(told[1]), []).append(int(folder.name))
    todo, total = [pid], 0
    while todo:
        one = todo.pop()
        todo += parents.get(one, [])
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def watch(process: subprocess.Popen[str]) -> tuple[list[tuple[float, float]], list[float]]:
    """Return the memory in MB over time, and when each session was done; print as they are."""
    began = time.monotonic()
    memory: list[tuple[float, float]] = []
    done: list[float] = []

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            told = json.loads(line) if line.startswith("{") else {}
            if told.get("event") == "advance":
                done.append(time.monotonic() - began)
                say(f"{done[-1]:7.1f} s  {told['label']}")

    listener = threading.Thread(target=listen)
    listener.start()
    while process.poll() is None:
        memory.append((time.monotonic() - began, tree_bytes(process.pid) / 1e6))
        time.sleep(EVERY_S)
    listener.join()
    return memory, done


def peaks(memory: list[tuple[float, float]], done: list[float]) -> list[float]:
    """Return the largest memory while each session was worked on."""
    found, since = [], 0.0
    for until in done:
        inside = [held for at, held in memory if since <= at <= until]
        found.append(max(inside, default=float("nan")))
        since = until
    return found


def plot(path: Path, memory: list[tuple[float, float]], done: list[float]) -> None:
    """Draw memory over time, with a line where each session was done."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 4))
    axes.plot(*zip(*memory, strict=True), linewidth=1)
    for at in done:
        axes.axvline(at, color="0.85", linewidth=0.5, zorder=0)
    axes.set(xlabel="s", ylabel="MB", title="Memory of all processes", ylim=(0, None))
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> None:
    """Make the catalogue, mix it, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quality", default="best")
    chosen = parser.parse_args()
    broken = make_catalogue(chosen.audio, chosen.out)
    say(f"{SESSIONS} sessions, broken: {', '.join(broken)}")
    command = [
        sys.executable, "-c", "from flows.cli.main import main; main()", "catalogue",
        chosen.out / "sessions", "-r", chosen.audio / "references" / "rock_ontherun.ogg",
        "-o", chosen.out / "mixes", "--jobs", str(chosen.jobs), "--quality", chosen.quality,
        "--store", chosen.out / "store", "--engine", "local", "--json",
    ]  # fmt: skip
    with subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        memory, done = watch(process)
        assert process.stdout is not None
        record = json.loads(process.stdout.read())
    plot(chosen.out / "memory.png", memory, done)
    table = pd.read_csv(chosen.out / "mixes" / "catalogue.csv", dtype={"session": str})
    mixes = list((chosen.out / "mixes").glob("*/mix.wav"))
    say(f"\n{len(mixes)} mixes, exit status {process.returncode}, {record['seconds']:.0f} s")
    failed = table[table["status"] == "failed"]
    say(f"failed as they should: {sorted(failed['session']) == broken}")
    for _, row in failed.iterrows():
        say(f"  {row['session']}: {row['error']}: {row['remedy']}")
    worked = [p for p, session in zip(peaks(memory, done), table["session"], strict=True)
              if session not in broken]  # fmt: skip
    held = np.asarray(worked)[np.isfinite(worked)]
    slope = np.polyfit(np.arange(len(held)), held, 1)[0]
    half = len(held) // 2
    say(f"seconds a mix: median {table.loc[table['status'] == 'mixed', 'seconds'].median():.1f}")
    say(f"memory: peak {max(m for _, m in memory):.0f} MB; a session's peak, median of the first "
        f"half {np.median(held[:half]):.0f} MB, of the second {np.median(held[half:]):.0f} MB; "
        f"slope {slope:+.2f} MB a session")  # fmt: skip


if __name__ == "__main__":
    main()
