"""How close mixes come to their references, by public metrics and by our own: ours and its peers.

Run ``python tests/benchmarks/style.py AUDIO`` where AUDIO holds ``sessions/`` and ``references/``.
No reference is a mix of the session it is used for. The methods:

``equal loudness``
    Every track at -23 LUFS, summed, peak at -1 dBFS.
``matchering``
    Matchering on that sum. It is GPL and so lives in an environment of its own: name its Python in
    ``MATCHERING_PYTHON`` (``pip install matchering`` there), else it is left out.
``recipe``
    The Diff-MST recipe (``--recipe WEIGHTS``) on our balanced stems, with one gain to the
    reference's loudness.
``controller``, ``refinement``, ``both``
    Stemwright with the controller alone, with refinement alone, and as it comes.

Metrics are those of ``public_metrics.py`` on mixes as delivered, and
:func:`stage2.style.measure.style_distance`; also checked are the promises of delivery: true peak,
loudness, and the levels of the stems. Seconds are those of one mix after the session has been
analysed, rendering and report included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyloudnorm
import soundfile
import torch
from public_metrics import UNITS, Metrics, errors
from public_metrics import measure as measure_metrics

from flows.mix.recipe import mix_session
from flows.mix.result import MixOutcome
from flows.settings import MixSettings
from pipeline.audio.stream import read
from pipeline.loudness.meter import LoudnessMeter, integrated_loudness, measure
from pipeline.session.discovery import open_session
from pipeline.units import FloatArray, db_to_amplitude
from stage2.style.measure import Style, measure_style, style_distance

REFERENCES = (
    "classical_hungarian", "folk_fishin", "hiphop_content", "hiphop_ripper", "jazz_vibeace",
    "metal_viper", "ragtime_pistachio", "rock_ontherun",
)  # fmt: skip
#: Mixes of the very session: left out for it.
OWN_MIX = {
    "caesium": "caesium_master",
    "delta_hendrix": "psychedelic_rock_delta",
    "delta_rock": "rock_delta",
}
#: Sessions that the shipped controller was trained on; marked with a star.
TRAINED_ON = ("caesium", "sodium")
#: What each of our methods asks of the settings.
OURS: dict[str, dict[str, Any]] = {
    "controller": {"quality": "fast"},
    "refinement": {"controller": False},
    "both": {},
}
MATCHERING = """
import sys, matchering
matchering.process(target=sys.argv[1], reference=sys.argv[2],
                   results=[matchering.pcm24(sys.argv[3])])
"""
Row = dict[str, object]


@dataclass(frozen=True)
class Job:
    """One session and all its references.

    Parameters
    ----------
    methods
        Ours, by name: see :data:`OURS`.
    workers
        For the steps of one mix; None for one a core.
    """

    root: Path
    references: tuple[Path, ...]
    recipe: Path | None
    methods: tuple[str, ...]
    workers: int | None


@dataclass
class Found:
    """The rows of the tables."""

    errors: list[Row] = field(default_factory=list)
    promises: list[Row] = field(default_factory=list)


def equal_loudness_sum(root: Path) -> tuple[FloatArray, int]:
    """Return every track of a session at -23 LUFS, summed, peak at -1 dBFS, and its rate."""
    session, _ = open_session(root)
    total = np.zeros((2, session.frames))
    for track in session.tracks:
        audio = read(track.path, sample_rate=session.sample_rate)
        loudness = measure(audio, sample_rate=session.sample_rate).integrated_lufs
        if np.isfinite(loudness):
            total[:, : audio.shape[1]] += audio * 10.0 ** ((-23.0 - loudness) / 20.0)
    total *= 10.0 ** (-1.0 / 20.0) / np.abs(total).max()
    return total.astype(np.float32), session.sample_rate


def matchering(source: Path, reference: Path, result: Path) -> bool:
    """Run Matchering in its own environment; False where there is none."""
    python = os.environ.get("MATCHERING_PYTHON")
    if not python:
        return False
    wav = result.with_suffix(".reference.wav")
    audio, rate = soundfile.read(reference)
    soundfile.write(wav, audio, rate, subtype="PCM_24")
    subprocess.run(
        [python, "-c", MATCHERING, str(source), str(wav), str(result)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return True


def recipe_mix(
    weights: Path, stems: Sequence[FloatArray], reference: Path, sample_rate: int
) -> FloatArray:
    """Return the recipe's mix of balanced stems, at the loudness of the reference."""
    from diffmst_recipe import mix_with_recipe

    wanted = read(reference, sample_rate=sample_rate)
    if wanted.shape[0] == 1:
        wanted = np.repeat(wanted, 2, axis=0)
    mix = mix_with_recipe(weights, stems, wanted, sample_rate=sample_rate)
    lufs = [integrated_loudness(audio, sample_rate=sample_rate) for audio in (wanted, mix)]
    return np.asarray(mix * db_to_amplitude(lufs[0] - lufs[1]), dtype=np.float32)


@cache
def wanted_of(reference: Path) -> tuple[Metrics, Style]:
    """Return the public metrics and the style of a reference."""
    audio, rate = read(reference), soundfile.info(reference).samplerate
    return measure_metrics(audio, sample_rate=rate), measure_style(audio, sample_rate=rate)


def figures(audio: FloatArray, sample_rate: int, reference: Path) -> Row:
    """Return all errors of a mix against a reference."""
    metrics, style = wanted_of(reference)
    return {
        **errors(measure_metrics(audio, sample_rate=sample_rate), metrics),
        **{
            f"style {name}": value
            for name, value in style_distance(measure_style(audio, sample_rate=sample_rate), style)
            .to_record()
            .items()
        },
    }


def promises(outcome: MixOutcome) -> dict[str, float]:
    """Return what delivery promises, measured on the delivered files by independent meters."""
    folder = outcome.folder
    plan = json.loads((folder / "plan.json").read_text())
    audio, rate = soundfile.read(folder / "mix.wav", always_2d=True)
    meter = pyloudnorm.Meter(rate, filter_class="DeMan")
    peak = measure(audio.T.astype(np.float32), sample_rate=rate).true_peak_dbtp
    levels = []
    whole = LoudnessMeter(sample_rate=rate, channels=2)
    stems = [read(path) for path in sorted((folder / "stems").glob("*.wav"))]
    whole.process(sum(stems))
    for stem in stems:
        loudness = measure(stem, sample_rate=rate).integrated_lufs
        if np.isfinite(loudness):
            levels.append(loudness - whole.integrated_lufs)
    moved = np.asarray(
        [
            outcome.stems[name].loudness.integrated_lufs - intended
            for name, intended in outcome.stem_targets_lu.items()
        ]
    )
    delivery = plan["delivery"]
    return {
        "peak over ceiling dB": peak - delivery["limiter_ceiling_dbtp"],
        "loudness off target LU": meter.integrated_loudness(audio) - delivery["target_lufs"],
        "lowest stem LU": min(levels),
        "highest stem LU": max(levels),
        "farthest from balance LU": float(np.abs(moved - moved.mean()).max()),
    }


def run_session(job: Job) -> Found:
    """Mix one session by every method against every reference."""
    torch.set_num_threads(1)
    found = Found()
    star = "*" if job.root.name in TRAINED_ON else ""
    with tempfile.TemporaryDirectory() as scratch:
        for reference in job.references:
            for method, seconds, audio, rate, outcome in mixes(job, reference, Path(scratch)):
                about = {
                    "session": job.root.name + star,
                    "reference": reference.stem,
                    "method": method,
                    "seconds": seconds,
                }
                found.errors.append({**about, **figures(audio, rate, reference)})
                if outcome is not None:
                    found.promises.append({**about, **promises(outcome)})
    return found


def mixes(
    job: Job, reference: Path, scratch: Path
) -> Iterator[tuple[str, float, FloatArray, int, MixOutcome | None]]:
    """Yield each method's name, seconds, mix, sample rate, and what else it told."""
    source, balanced = scratch / "equal.wav", scratch / "balanced"
    if not source.exists():
        audio, rate = equal_loudness_sum(job.root)
        soundfile.write(source, audio.T, rate, subtype="PCM_24")
        settings = MixSettings(keep=True, engine="local", workers=job.workers)
        mix_session(job.root, settings=settings, folder=balanced, store=scratch / "store")
    rate = soundfile.info(source).samplerate
    yield "equal loudness", 0.0, read(source), rate, None
    other = scratch / f"{reference.stem}-matchering.wav"
    began = time.monotonic()
    if matchering(source, reference, other):
        yield "matchering", time.monotonic() - began, read(other), rate, None
    if job.recipe:
        stems = [read(path) for path in sorted((balanced / "balanced").glob("*.wav"))]
        began = time.monotonic()
        mix = recipe_mix(job.recipe, stems, reference, rate)
        yield "recipe", time.monotonic() - began, mix, rate, None
    for method in job.methods:
        settings = MixSettings(
            references=(reference,), engine="local", workers=job.workers, **OURS[method]
        )
        folder, store = scratch / f"{reference.stem}-{method}", scratch / f"store-{method}"
        if not store.exists():  # one each, so that no method finds what another has paid for
            shutil.copytree(scratch / "store", store)
        began = time.monotonic()
        outcome = mix_session(job.root, settings=settings, folder=folder, store=store)
        seconds = time.monotonic() - began
        yield method, seconds, read(folder / "mix.wav"), rate, outcome
        shutil.rmtree(folder)


def print_tables(table: pd.DataFrame, kept: pd.DataFrame) -> None:
    """Print every table."""
    own = {str(n): str(n).removeprefix("style ") for n in table if str(n).startswith("style ")}
    public = [name for name in UNITS if name in table]
    mean, untrained = (
        rows.groupby("method", sort=False).mean(numeric_only=True)
        for rows in (table, table[~table.session.str.endswith("*")])
    )
    seconds = table.groupby("method", sort=False)["seconds"].agg(["mean", "max"])
    by_session = table.groupby(["session", "method"], sort=False)[[*own]].mean()
    each = table[table.method == "both"][["session", "reference", "seconds", *own]]
    shown = {
        "both, each: our own distance": each.rename(columns=own).round(2),
        "seconds a mix": seconds.round(1),
        "our own distance by session": by_session.rename(columns=own).round(2),
        "our own distance, mean": mean[[*own]].rename(columns=own).round(3),
        "public metrics, mean error": mean[public].T.round(4),
        "public metrics, sessions never trained on": untrained[public].T.round(4),
        "best of all in each metric": mean[[*public, *own]].idxmin().to_frame("method"),
        "total over equal loudness": (mean / mean.loc["equal loudness"])[["style total"]].round(3),
    }
    if len(kept):
        ends = kept.drop(columns=["session", "reference"]).groupby("method", sort=False)
        shown["promises"] = kept.round(2)
        shown["worst promise"] = ends.agg(["min", "max"]).T.round(3)
    for title, part in shown.items():
        sys.stdout.write(f"\n{title}\n{part.to_string()}\n")


def main() -> None:
    """Mix every session against every reference and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("audio", type=Path)
    parser.add_argument("--sessions", default="", help="names, comma-separated; all by default")
    parser.add_argument("--references", default=",".join(REFERENCES))
    parser.add_argument("--methods", default=",".join(OURS), help="of ours")
    parser.add_argument("--recipe", type=Path, metavar="WEIGHTS", help="of the Diff-MST recipe")
    parser.add_argument("--jobs", type=int, default=1, help="sessions at once, one core each")
    parser.add_argument("--csv", type=Path)
    chosen = parser.parse_args()
    roots = sorted(p for p in (chosen.audio / "sessions").iterdir() if p.is_dir())
    if chosen.sessions:
        roots = [p for p in roots if p.name in chosen.sessions.split(",")]
    folder = chosen.audio / "references"
    references = [next(folder.glob(f"{name}.*")) for name in chosen.references.split(",")]
    jobs = [
        Job(
            root=root,
            references=tuple(r for r in references if r.stem != OWN_MIX.get(root.name)),
            recipe=chosen.recipe,
            methods=tuple(name for name in chosen.methods.split(",") if name),
            workers=1 if chosen.jobs > 1 else None,
        )
        for root in roots
    ]
    found = Found()
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run_session, job): job for job in jobs}
        for done in as_completed(running):
            found.errors += done.result().errors
            found.promises += done.result().promises
            sys.stderr.write(f"{running[done].root.name}\n")
    order = ["session", "reference"]
    table = pd.DataFrame(found.errors).sort_values(order, kind="stable", ignore_index=True)
    if chosen.csv:
        table.to_csv(chosen.csv, index=False)
    kept = pd.DataFrame(found.promises)
    if len(kept):
        kept = kept.sort_values(order, kind="stable", ignore_index=True)
    print_tables(table, kept)


if __name__ == "__main__":
    main()
