"""How much of the way from a neutral to the true mix each method goes, where the truth is known.

Run ``python tests/benchmarks/synthetic.py SONGS`` where SONGS holds ``<song>/<subgroup>.npy``,
float32 ``(2, frames)`` at 44.1 kHz. Each song is mixed with drawn console settings by the real
processors and delivered at a drawn loudness. The first half of that mix is the reference; the
methods get the stems of the second half, and are judged against the second half of the true mix.
With ``--pieces 8`` the halves are every other eighth; with ``--pieces 1`` there are none, the
reference is the true mix of the very passage, which the product finds out and makes use of.

All get the same balanced start: the fader of each stem that the table of roles asks for. ``plain``
is that start, summed, at its working level. ``neutral`` is it and ``recipe`` the Diff-MST recipe's
mix with one gain to the reference's loudness; ours are delivered as in the product, by drive,
limiter and trim to that loudness. Two rows tell what can be reached: ``reference`` is the first
half itself (other music, the same mix) and ``true settings`` the true console, delivered like ours.

The tables are the mean error of each metric, and the share of the distance closed from ``neutral``
and from ``plain``: 1 - error / error of that start, of those means.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from public_metrics import errors, measure, multi_scale_spectral_distance

from flows.mix.plan import most_spread
from flows.mix.steps.balance import cut
from pipeline.console.delivery import Density, deliver_at, fit_delivery
from pipeline.console.parameters import STRIP
from pipeline.console.processors import Bus, Strip
from pipeline.loudness.meter import integrated_loudness
from pipeline.roles import CENTRED_SUBGROUPS, Role
from pipeline.units import FloatArray, db_to_amplitude
from stage1.balance.gains import stem_targets
from stage2.console.search_space import StemGuard, stem_guards
from stage2.console.statistics import digest_stems
from stage2.controller.inputs import reference_windows
from stage2.controller.predict import predict
from stage2.controller.weights_file import SHIPPED, load_controller
from stage2.refine.guardrails import settle_in_corridor
from stage2.refine.search import Start, StemInput, refine
from stage2.style.alignment import find_alignment
from stage2.style.measure import measure_style
from stage2.style.target import StyleTarget
from stage2.training.settings_prior import draw_settings

Settings = dict[str, float]
Stems = Mapping[str, FloatArray]
#: Stems, reference, sample rate in Hz, and the balanced start's faders in dB; returns the mix.
Method = Callable[[Stems, FloatArray, int, Mapping[str, float]], FloatArray]

RATE = 44_100
CEILING_DBTP = -1.0
HIGHEST_LUFS = -6.0
WORKING_LUFS = -20.0
# What a stem of each subgroup is made of, where only the subgroup is known.
TYPICAL_ROLES: dict[str, tuple[Role, ...]] = {
    "drums": (Role.KICK, Role.SNARE, Role.HI_HAT, Role.OVERHEAD),
    "percussion": (Role.PERCUSSION,),
    "bass": (Role.BASS,),
    "guitars": (Role.ELECTRIC_GUITAR,),
    "keys": (Role.PIANO,),
    "synths": (Role.SYNTH_PAD,),
    "strings": (Role.STRINGS,),
    "winds": (Role.BRASS,),
    "lead_vocals": (Role.LEAD_VOCAL,),
    "backing_vocals": (Role.BACKING_VOCAL,),
    "effects": (Role.EFFECT,),
    "dialogue": (Role.DIALOGUE,),
}


@dataclass(frozen=True)
class Example:
    """A song mixed with known settings, cut in two.

    Parameters
    ----------
    stems
        Of the second half, those that sound.
    start_gains_db
        Faders of the balanced start.
    strips, bus
        The true settings.
    reference, truth
        The first and the second half of the true mix, ``(2, frames)``.
    """

    name: str
    stems: dict[str, FloatArray]
    start_gains_db: dict[str, float]
    strips: dict[str, Settings]
    bus: Settings
    reference: FloatArray
    truth: FloatArray


def start_gains(stems: Stems) -> dict[str, float]:
    """Return the fader of each stem that gives the balance intended for the ensemble."""
    intended = stem_targets({name: TYPICAL_ROLES.get(name, (Role.UNKNOWN,)) for name in stems})
    fader = STRIP.parameter("gain_db")
    low, high = fader.low, fader.high
    return {
        name: float(np.clip(WORKING_LUFS + intended[name] - _lufs(audio), low, high))
        for name, audio in stems.items()
    }


def make_example(
    folder: Path, *, seed: int, seconds: float, pieces: int = 2, deliver_truth: bool = False
) -> Example:
    """Mix a song with drawn settings and cut it in two.

    Parameters
    ----------
    seconds
        Longest stretch of the song that is used, from its middle.
    pieces
        Into how many it is cut: the halves are every other one. With 1 it is not cut: the
        reference is the true mix itself.
    deliver_truth
        Bring the truth to the reference's loudness and crest, as ours are, where otherwise it
        keeps the drive and trim of the first half.
    """
    stems = {path.stem: np.load(path).astype(np.float32) for path in sorted(folder.glob("*.npy"))}
    frames = min(audio.shape[1] for audio in stems.values())
    wanted = min(frames, round(seconds * RATE))
    length = wanted // pieces
    starts = range((frames - wanted) // 2, (frames + wanted) // 2 - length + 1, length)
    first_half, second_half = (
        {
            name: np.concatenate([cut(audio, s, length, RATE) for s in starts[k::2]], axis=1)
            for name, audio in stems.items()
        }
        for k in (0, 1 if pieces > 1 else 0)
    )
    sounding = {
        name: np.concatenate([first_half[name], second_half[name]], axis=1)
        for name in stems
        if np.isfinite(_lufs(first_half[name])) or np.isfinite(_lufs(second_half[name]))
    }
    rng = np.random.default_rng([seed, *folder.name.encode()])
    gains_db = start_gains(sounding)
    drawn, bus = draw_settings(
        tuple(sounding),
        rng,
        gains_db=[gains_db[name] for name in sounding],
        guards=guards_of(sounding),
    )
    strips = dict(zip(sounding, drawn, strict=True))
    reference = fit_delivery(
        console(first_half, strips, bus),
        sample_rate=RATE,
        target_lufs=rng.uniform(-16.0, -9.0),
        ceiling_dbtp=CEILING_DBTP,
    )
    truth = deliver_at(
        console(second_half, strips, bus),
        sample_rate=RATE,
        ceiling_dbtp=CEILING_DBTP,
        drive_db=reference.drive_db,
        trim_db=reference.trim_db,
    ).audio
    heard = {name: audio for name, audio in second_half.items() if np.isfinite(_lufs(audio))}
    strips = {name: strips[name] for name in heard if name in strips}
    if deliver_truth:
        truth = delivered(heard, strips, bus, reference.audio)
    name = f"{folder.name} {seed}"
    return Example(name, heard, start_gains(heard), strips, bus, reference.audio, truth)


def console(stems: Stems, strips: Mapping[str, Settings], bus: Settings) -> FloatArray:
    """Return the mix of stems through the real processors, up to the limiter, float64."""
    frames = next(iter(stems.values())).shape[1]
    total = np.zeros((2, frames))
    for name, settings in strips.items():
        level = _lufs(stems[name])
        strip = Strip(settings, level_lufs=level, sample_rate=RATE)
        total += strip.process(stems[name])
    return np.asarray(Bus(bus, sample_rate=RATE).process(total))


def _lufs(audio: FloatArray) -> float:
    return integrated_loudness(audio, sample_rate=RATE)


def at_loudness_of(mix: FloatArray, reference: FloatArray) -> FloatArray:
    """Return a mix with one gain that gives it the reference's loudness."""
    gain = db_to_amplitude(_lufs(reference) - _lufs(mix))
    return np.asarray(mix * gain, dtype=np.float32)


def delivered(
    stems: Stems, strips: Mapping[str, Settings], bus: Settings, reference: FloatArray
) -> FloatArray:
    """Return a mix through the console, delivered at the reference's loudness and crest."""
    style = measure_style(reference, sample_rate=RATE)
    fitted = fit_delivery(
        console(stems, strips, bus),
        sample_rate=RATE,
        target_lufs=min(style.loudness_lufs, HIGHEST_LUFS),
        ceiling_dbtp=CEILING_DBTP,
        density=Density(style.crest_db, style.peak_to_loudness_db),
    )
    return fitted.audio


def plain(
    stems: Stems, reference: FloatArray, sample_rate: int, gains_db: Mapping[str, float]
) -> FloatArray:
    """Return the balanced start at its working level."""
    total = sum(stems[name] * db_to_amplitude(gain) for name, gain in gains_db.items())
    return np.asarray(total, dtype=np.float32)


def neutral(
    stems: Stems, reference: FloatArray, sample_rate: int, gains_db: Mapping[str, float]
) -> FloatArray:
    """Return the balanced start at the reference's loudness."""
    return at_loudness_of(plain(stems, reference, sample_rate, gains_db), reference)


STARTS: dict[str, Method] = {"plain": plain, "neutral": neutral}


def stem_inputs(stems: Stems, gains_db: Mapping[str, float]) -> list[StemInput]:
    """Return the stems with the guardrails that the product gives them."""
    return [
        StemInput(name, audio, gains_db[name], _lufs(audio), guard)
        for (name, audio), guard in zip(stems.items(), guards_of(stems), strict=True)
    ]


def guards_of(stems: Stems) -> tuple[StemGuard, ...]:
    """Return the guardrails of stems."""
    return stem_guards(
        digest_stems(list(stems.values()), sample_rate=RATE),
        centred=[name in CENTRED_SUBGROUPS for name in stems],
        max_spread=[most_spread(name) for name in stems],
    )


def same_song(
    stems: Stems, reference: FloatArray, sample_rate: int, gains_db: Mapping[str, float]
) -> dict[str, FloatArray]:
    """Return what refinement is told of a reference that is found to be a mix of these stems."""
    total = plain(stems, reference, sample_rate, gains_db)
    found = find_alignment([(0.0, total)], reference, sample_rate=sample_rate)
    if not found.same_song:
        return {}
    lag = round(found.lag_s * sample_rate)
    return {"aligned": cut(reference, -lag, total.shape[1], sample_rate)}


def ours(
    stems: Stems,
    reference: FloatArray,
    sample_rate: int,
    gains_db: Mapping[str, float],
    *,
    weights: Path | None,
    refined: bool,
) -> FloatArray:
    """Return the mix of the controller with these weights, of refinement, or of one after other."""
    style = measure_style(reference, sample_rate=sample_rate)
    inputs = stem_inputs(stems, gains_db)
    windows = reference_windows(reference, sample_rate=sample_rate)
    target = StyleTarget.of(style, [windows])
    start: Start | None = None
    if weights:
        told = predict(
            inputs, target, windows, sample_rate=sample_rate, controller=load_controller(weights)
        )
        start = Start(told.strips, told.bus)
    find = partial(
        refine if refined else settle_in_corridor,
        sample_rate=sample_rate,
        target_lufs=min(style.loudness_lufs, HIGHEST_LUFS),
        ceiling_dbtp=CEILING_DBTP,
    )
    aligned = {} if not refined else same_song(stems, reference, sample_rate, gains_db)
    found = find(inputs, target=target, start=start, **aligned)
    return delivered(stems, dict(zip(stems, found.strips, strict=True)), found.bus, reference)


def recipe(
    stems: Stems,
    reference: FloatArray,
    sample_rate: int,
    gains_db: Mapping[str, float],
    *,
    weights: Path,
) -> FloatArray:
    """Return the Diff-MST recipe's mix of the balanced stems, at the reference's loudness."""
    mix_with_recipe = importlib.import_module("diffmst_recipe").mix_with_recipe
    balanced = [audio * db_to_amplitude(gains_db[name]) for name, audio in stems.items()]
    mix = mix_with_recipe(weights, balanced, reference, sample_rate=sample_rate)
    return at_loudness_of(mix, reference)


def named_method(text: str) -> tuple[str, Method]:
    """Return the name and the method that ``NAME=MODULE:FUNCTION`` asks for."""
    name, _, place = text.partition("=")
    module, _, function = place.partition(":")
    method: Method = getattr(importlib.import_module(module), function)
    return name, method


def judge(example: Example, methods: Mapping[str, Method]) -> Iterable[dict[str, object]]:
    """Yield one row a method: its errors against the truth and its seconds."""
    truth = measure(example.truth, sample_rate=RATE)

    def row(name: str, mix: FloatArray, seconds: float) -> dict[str, object]:
        found = errors(measure(mix, sample_rate=RATE), truth)
        return {"song": example.name, "method": name, "seconds": seconds, **found}

    def aligned(name: str, mix: FloatArray, seconds: float) -> dict[str, object]:
        apart = multi_scale_spectral_distance(mix, example.truth, sample_rate=RATE)
        return {**row(name, mix, seconds), "multi_scale": apart}

    yield row("reference", example.reference, 0.0)
    true_mix = delivered(example.stems, example.strips, example.bus, example.reference)
    yield aligned("true settings", true_mix, 0.0)
    for name, method in methods.items():
        began = time.monotonic()
        mix = method(example.stems, example.reference, RATE, example.start_gains_db)
        yield aligned(name, mix, time.monotonic() - began)


def run_song(
    job: tuple[Path, int], *, methods: Mapping[str, Method], made: Mapping[str, Any]
) -> list[dict[str, object]]:
    """Return the rows of one song with one draw of settings; ``made`` is how to make it."""
    torch.set_num_threads(1)
    folder, seed = job
    return list(judge(make_example(folder, seed=seed, **made), methods))


def share_closed(mean: pd.DataFrame, start: str) -> pd.DataFrame:
    """Return 1 - error / error of the method ``start``, from a table of mean errors by method."""
    return 1.0 - mean.drop(index=[*STARTS]) / mean.loc[start]


def main() -> None:
    """Mix every song with every method and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("songs", type=Path)
    parser.add_argument("--draws", type=int, default=1, help="settings drawn for each song")
    parser.add_argument("--seconds", type=float, default=60.0, help="longest stretch of a song")
    parser.add_argument(
        "--pieces", type=int, default=2, help="halves are every other one; 1: no halves"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--deliver-truth",
        action="store_true",
        help="at the reference's loudness",
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--controller", type=Path, metavar="WEIGHTS", default=SHIPPED)
    parser.add_argument("--recipe", type=Path, metavar="WEIGHTS", help="of the Diff-MST recipe")
    parser.add_argument("--method", action="append", default=[], metavar="NAME=MODULE:FUNCTION")
    parser.add_argument("--csv", type=Path)
    chosen = parser.parse_args()
    methods: dict[str, Method] = {**STARTS}
    if chosen.recipe:
        methods["recipe"] = partial(recipe, weights=chosen.recipe)
    methods["refinement"] = partial(ours, weights=None, refined=True)
    methods["controller"] = partial(ours, weights=chosen.controller, refined=False)
    methods["both"] = partial(ours, weights=chosen.controller, refined=True)
    methods |= dict(map(named_method, chosen.method))
    folders = sorted(path.parent for path in chosen.songs.glob("*/*.npy"))
    jobs = [(f, chosen.seed + d) for f in dict.fromkeys(folders) for d in range(chosen.draws)]
    rows: list[dict[str, object]] = []
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
        made = {name: getattr(chosen, name) for name in ("seconds", "pieces", "deliver_truth")}
        work = partial(run_song, methods=methods, made=made)
        for found in pool.map(work, jobs):
            rows += found
            sys.stderr.write(f"{found[0]['song']}\n")
    table = pd.DataFrame(rows)
    if chosen.csv:
        table.to_csv(chosen.csv, index=False)
    mean = table.drop(columns="song").groupby("method", sort=False).mean()
    out = sys.stdout
    out.write(f"{len(jobs)} examples\n\nmean error\n{mean.T.round(4).to_string()}\n")
    for start in STARTS:
        closed = share_closed(mean.drop(columns="seconds"), start).T
        closed.loc["least"] = closed.min()
        out.write(f"\nshare of the distance closed from {start}\n{closed.round(3).to_string()}\n")


if __name__ == "__main__":
    main()
