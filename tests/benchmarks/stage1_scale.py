"""How long stage 1 takes, and how much memory, by number, length and kind of tracks.

Run ``python tests/benchmarks/stage1_scale.py``, or with ``--all`` for every size and kind. Each
session is analysed, balanced and summed to stems by a fresh process with an empty store; its wall
and CPU time count from the start of the interpreter to its end, its memory is the kernel's count of
the largest resident set. Compiled kernels are cached on disk before, by a small session that is not
measured; the files have been written just before, so most of them come from the system's cache.

The tracks are those of the demo, looped to length, each at a gain of its own, its loops begun at
different places, over a hiss at -84 dBFS, so that no track has digital silence to skip; in stereo
sessions the right channel is a little late and has a hiss of its own. A session is deleted when it
was measured.

The published way is the rules of the AES 2025 script with the libraries as they come: librosa's
pYIN from C1 to C8 at the file's own rate, PESTO every 10 ms, centroid and bandwidth, pyloudnorm
over the full band and over two bands of first order. It is measured on a few excerpts, one after
another as the script works, and extrapolated by length.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr

LOOP_S = 24.0
HISS = 10.0 ** (-84.0 / 20.0)
SPARE_BYTES = 4 * 1024**3
PUBLISHED_EXCERPTS = 3
PUBLISHED_S = 10.0

Audio = np.ndarray


@dataclass(frozen=True)
class Case:
    """One session to make."""

    tracks: int
    seconds: float = 240.0
    rate: int = 48_000
    channels: int = 2
    kind: str = "wav"

    @property
    def name(self) -> str:
        """A line of the table."""
        layout = "stereo" if self.channels == 2 else "mono"
        return f"{self.tracks} x {self.seconds:g} s, {self.rate} Hz, {layout}, {self.kind}"

    @property
    def wanted_bytes(self) -> float:
        """Disk space of the session, with the stems in the store."""
        frames = self.seconds * self.rate
        return frames * (self.tracks * self.channels * 3 + 20 * 2 * 4) + SPARE_BYTES


WARM = Case(12, 45.0)
SUBSET = (
    Case(25), Case(50), Case(100),
    Case(25, seconds=480.0),
    Case(25, rate=44_100, channels=1),
    Case(25, rate=44_100, kind="flac"),
)  # fmt: skip
EVERYTHING = (
    *(Case(n) for n in (25, 50, 100, 200)),
    *(Case(25, seconds=s) for s in (60.0, 120.0, 480.0, 960.0)),
    *(
        Case(100, rate=rate, channels=channels, kind=kind)
        for rate in (44_100, 48_000)
        for channels in (1, 2)
        for kind in ("wav", "flac")
        if (rate, channels, kind) != (48_000, 2, "wav")
    ),
)


def loops() -> list[tuple[str, Audio, int]]:
    """Return name, ``(frames, channels)`` and rate of each sounding track of a short demo song."""
    from pipeline.demo.session import make_demo
    from pipeline.session.discovery import find_session

    with tempfile.TemporaryDirectory() as scratch:
        made = make_demo(Path(scratch) / "demo", seconds=LOOP_S, workers=os.cpu_count() or 1)
        found = find_session(made.session)
        heard = []
        for track in found.tracks:
            audio, rate = soundfile.read(track.path, dtype="float32", always_2d=True)
            if np.abs(audio).max(initial=0.0) > 1e-3:
                heard.append((track.name, audio, rate))
    return heard


def make_track(path: Path, loop: Audio, loop_rate: int, case: Case, index: int) -> None:
    """Write one track."""
    rng = np.random.default_rng(index)
    if loop_rate != case.rate:
        loop = np.asarray(soxr.resample(loop, loop_rate, case.rate))
    frames = round(case.seconds * case.rate)
    rolled = np.roll(loop, int(rng.integers(len(loop))), axis=0)
    audio = np.tile(rolled, (math.ceil(frames / len(rolled)), 1))[:frames]
    if case.channels == 1:
        audio = audio.mean(axis=1, keepdims=True)
    elif audio.shape[1] == 1:
        audio = np.concatenate([audio, np.roll(audio, 11, axis=0)], axis=1)
    gain = 10.0 ** (rng.uniform(-12.0, 0.0) / 20.0)
    hiss = rng.standard_normal((1 << 18, case.channels), dtype=np.float32)
    audio = np.float32(0.9 * gain) * audio
    for start in range(0, frames, len(hiss)):
        part = audio[start : start + len(hiss)]
        part += np.float32(HISS) * hiss[: len(part)]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(audio, -1.0, 1.0), case.rate, subtype="PCM_24")


def make_session(folder: Path, case: Case, material: list[tuple[str, Audio, int]]) -> None:
    """Write a session; no two of its tracks are the same."""

    def put(index: int) -> None:
        name, loop, rate = material[index % len(material)]
        again = index // len(material)
        stem = Path(name).with_suffix("")
        told = stem.with_name(f"{stem.name} {again + 1}" if again else stem.name)
        # "Kick.wav" beside "Kick.flac"
        path = folder / f"{told} {index}.{case.kind}"
        make_track(path, loop, rate, case, index)

    # Spread over the demo's instruments, however few tracks there are.
    step = max(len(material) // case.tracks, 1)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(put, range(0, case.tracks * step, step)))


def peak_mb() -> float:
    """Return the largest resident set of this process so far, in MiB.

    The kernel's record of the memory map, not ``ru_maxrss``, which a process inherits from the one
    that started it: here that is the one that made the tracks.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024.0
    raise SystemExit("this system does not tell a process's peak memory: run it on Linux")


def work(session: Path, store: Path, workers: int) -> None:
    """Analyse, balance and sum a session; write what it took as one line of JSON."""
    began = time.monotonic()
    from flows.engines.local import LocalEngine
    from flows.mix.analysis import analyse_session
    from flows.mix.plan import first_plan
    from flows.mix.steps.balance import BalanceJob, balance_step
    from flows.settings import MixSettings
    from pipeline.render.tracks import allow_open_files

    with LocalEngine(workers) as engine:
        loaded = time.monotonic()
        analysed = analyse_session(engine, session, settings=MixSettings(), store=store)
        done = time.monotonic()
        analysis_cpu = time.process_time()
        analysis_mb = peak_mb()
        plan = first_plan(analysed, store)
        names = [stem.name for stem in plan.stems]
        allow_open_files(len(plan.tracks))
        engine.map(
            balance_step,
            [BalanceJob(plan, name, analysed.session.root, store) for name in names],
            name="balance",
            labels=names,
        )
    record = {
        "import s": loaded - began,
        "analysis s": done - loaded,
        "stems s": time.monotonic() - done,
        "analysis CPU s": analysis_cpu,
        "analysis peak MB": analysis_mb,
        "peak MB": peak_mb(),
        "stems": len(names),
        "playing": float(np.mean([f.extent.active_share for f in analysed.features])),
    }
    sys.stdout.write(json.dumps(record) + "\n")


def measured(session: Path, workers: int) -> dict[str, float]:
    """Run :func:`work` in a process of its own and return what it took."""
    with tempfile.TemporaryDirectory(dir=session.parent) as store:
        words = [sys.executable, __file__, "--work", str(session), store, str(workers)]
        began = time.monotonic()
        child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        told = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        if status != 0:
            raise SystemExit(f"the measured process ended with status {status}")
    return {
        "wall s": wall,
        "CPU s": usage.ru_utime + usage.ru_stime,
        **json.loads(told),
    }


def published_seconds(material: list[tuple[str, Audio, int]]) -> float:
    """Return how long the published rules take for a second of audio, with libraries as they come.

    Mean over a few excerpts at 48 kHz, one after another.
    """
    import librosa
    import pyloudnorm
    import scipy.signal

    from stage1.pitch.pesto import load_pesto

    load_pesto()  # also where the installed torchaudio does not load
    import pesto
    import torch

    def analyse(path: Path) -> None:
        y, rate = librosa.load(path, sr=None, mono=True)
        meter = pyloudnorm.Meter(rate)
        meter.integrated_loudness(y)
        f0, _, _ = librosa.pyin(y, fmin=32.70319566257483, fmax=4186.009044809578, sr=rate)
        _, other, _, _ = pesto.predict(torch.from_numpy(y), rate)
        f0_hz = max(float(np.nanmean(f0)) if np.isfinite(f0).any() else 100.0, float(other.mean()))
        centroid = float(librosa.feature.spectral_centroid(y=y, sr=rate).mean())
        bandwidth = float(librosa.feature.spectral_bandwidth(y=y, sr=rate).mean())
        for low, high in (
            (2.0 * f0_hz, 4.0 * f0_hz),
            (max(centroid - bandwidth / 2.0, 1.0), min(centroid + bandwidth / 2.0, 22_000.0)),
        ):
            b, a = scipy.signal.butter(1, min(low, 23_900.0), "highpass", fs=rate)
            inside = scipy.signal.lfilter(b, a, y)
            b, a = scipy.signal.butter(1, min(high, 23_900.0), fs=rate)
            meter.integrated_loudness(scipy.signal.lfilter(b, a, inside))

    took = []
    with tempfile.TemporaryDirectory() as scratch:
        step = len(material) // PUBLISHED_EXCERPTS
        for index in range(PUBLISHED_EXCERPTS + 1):
            _, loop, rate = material[index * step % len(material)]
            path = Path(scratch) / f"{index}.wav"
            make_track(path, loop, rate, Case(1, PUBLISHED_S), index)
            began = time.monotonic()
            analyse(path)
            took.append(time.monotonic() - began)
    return float(np.mean(took[1:])) / PUBLISHED_S  # the first compiles


def main() -> None:
    """Make, measure and delete each session; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--all", action="store_true", help="every size and kind: hours")
    parser.add_argument("--tracks", type=int, help="one session of so many tracks")
    parser.add_argument("--seconds", type=float, default=240.0, help="their length")
    parser.add_argument("--rate", type=int, default=48_000)
    parser.add_argument("--mono", action="store_true")
    parser.add_argument("--flac", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the sessions are made")
    parser.add_argument("--no-published", action="store_true", help="leave the comparison out")
    chosen = parser.parse_args()
    if chosen.work:
        session, store, workers = chosen.work
        work(Path(session), Path(store), int(workers))
        return
    cases: tuple[Case, ...] = EVERYTHING if chosen.all else SUBSET
    if chosen.tracks:
        channels, kind = 1 if chosen.mono else 2, "flac" if chosen.flac else "wav"
        cases = (Case(chosen.tracks, chosen.seconds, chosen.rate, channels, kind),)
    material = loops()
    published = math.nan if chosen.no_published else published_seconds(material)
    rows = []
    with tempfile.TemporaryDirectory(dir=chosen.folder) as scratch:
        for case in (WARM, *cases):
            if shutil.disk_usage(scratch).free < case.wanted_bytes:
                sys.stderr.write(f"{case.name}: left out, the disk is too full\n")
                continue
            session = Path(scratch) / "session"
            make_session(session, case, material)
            found = measured(session, chosen.workers)
            shutil.rmtree(session)
            if case is WARM:
                continue
            rows.append(
                {
                    "session": case.name,
                    **found,
                    "tracks/s": case.tracks / found["wall s"],
                    "CPU s a track": found["CPU s"] / case.tracks,
                    "published h": published * case.tracks * case.seconds / 3600.0,
                    "times faster": published * case.tracks * case.seconds / found["wall s"],
                }
            )
            sys.stderr.write(f"{case.name}: {found['wall s']:.1f} s\n")
    pd.set_option("display.width", 220, "display.max_columns", 30)
    table = pd.DataFrame(rows).set_index("session").T
    sys.stdout.write(f"\n{chosen.workers} workers\n{table.round(2).to_string()}\n")
    if not chosen.no_published:
        sys.stdout.write(
            f"\nThe published way is extrapolated from {PUBLISHED_EXCERPTS} excerpts of "
            f"{PUBLISHED_S:g} s: {published:.2f} s a second of audio, one track after another.\n"
        )


if __name__ == "__main__":
    main()
