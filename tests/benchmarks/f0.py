"""How far f0 can be trusted and what it costs: truth by kind, real sessions, pYIN against librosa.

Run ``python tests/benchmarks/f0.py AUDIO`` where AUDIO holds ``sessions/``; without it the real
recordings are left out. The sounds are those of ``tests/pitched_truth``, with the rules for what
counts as right; the seeds start where nothing was fitted (weights: 1000 to 1119). One thread; times
are of the processor.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pandas as pd
import soundfile
import threadpoolctl
import torch

from pipeline.audio.samples import FileSamples, HeldSamples, Samples
from stage1.pitch.f0 import estimate_f0
from stage1.pitch.pyin import pyin
from stage1.signal.segments import measure_activity

C1_HZ, C8_HZ = 32.70319566257483, 4186.009044809578
PYIN_RATE = 22050
TEN = (
    "delta_rock/01_drum_set", "delta_rock/02_electric_bass", "delta_rock/05_male_singer",
    "delta_punk/03_distorted_electric_guitar", "delta_punk/04_male_singer",
    "delta_beatles/05_acoustic_guitar", "delta_beatles/08_female_singer",
    "delta_country1/04_acoustic_guitar", "caesium/14_MINILOGUE_SYNTH", "sodium/19_PLUCK",
)  # fmt: skip
DRUMS = ("kick", "hat", "_hh", "snare", "_sn", "clap", "drum_set", "tops")


def load_truth() -> Any:
    """Return the module ``tests/pitched_truth``."""
    path = Path(__file__).resolve().parents[1] / "pitched_truth" / "__init__.py"
    spec = importlib.util.spec_from_file_location("pitched_truth", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["pitched_truth"] = module
    spec.loader.exec_module(module)
    return module


def seconds(action: Callable[[], object], repeats: int = 1) -> float:
    """Return the least processor time of some runs."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        action()
        times.append(time.process_time() - began)
    return min(times)


def row_of(cases: list[Any]) -> dict[str, float]:
    """Return the shares of right, octave-wrong, missed and falsely pitched sounds."""
    right = octave = missed = pitched = 0
    errors, confidences = [], []
    for case in cases:
        estimate = estimate_f0(HeldSamples(case.audio, sample_rate=case.sample_rate))
        confidences.append(estimate.confidence)
        if not case.tones:
            pitched += not np.isnan(estimate.f0_hz)
            continue
        off = case.cents_off(estimate.f0_hz)
        missed += bool(np.isnan(off))
        right += abs(off) <= 50.0
        octave += abs(off) > 50.0 and abs(off - 1200.0 * round(off / 1200.0)) <= 50.0
        if abs(off) <= 50.0:
            errors.append(abs(off))
    count = len(cases)
    if not cases[0].tones:
        return {"sounds": count, "called unpitched": 1.0 - pitched / count,
                "highest confidence": max(confidences)}  # fmt: skip
    return {
        "sounds": count, "within 50 cents": right / count, "octave": octave / count,
        "called unpitched": missed / count, "other": (count - right - octave - missed) / count,
        "median cents off": float(np.median(errors)) if errors else float("nan"),
        "lowest confidence": min(confidences),
    }  # fmt: skip


def truth_tables(first: int, count: int) -> None:
    """Print the accuracy on synthesised sounds, by kind."""
    truth = load_truth()
    out = sys.stdout
    for title, kinds in (("pitched", truth.PITCHED), ("unpitched", truth.UNPITCHED)):
        rows = {}
        for kind in kinds:
            rows[kind] = row_of([truth.make(kind, seed) for seed in range(first, first + count)])
            sys.stderr.write(f"{kind} {rows[kind]}\n")
        if title == "pitched":
            if truth.espeak_found():
                rows["espeak-ng"] = row_of(
                    [truth.speak(seed) for seed in range(first, first + count)]
                )
            else:
                out.write("espeak-ng is not installed: its voices are left out\n")
        table = pd.DataFrame(rows).T
        total = table.mean()
        total["sounds"] = table["sounds"].sum()
        table.loc["all"] = total
        out.write(
            f"\n{title}, seeds {first} to {first + count - 1}\n{table.round(3).to_string()}\n"
        )


def read(path: Path) -> Samples:
    """Return a file in memory."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return HeldSamples(np.ascontiguousarray(audio.T), sample_rate=rate)


def sessions(root: Path) -> None:
    """Print what is heard on each real track, and the checks on basses and drums."""
    out = sys.stdout
    rows, wrong = {}, []
    for path in sorted((root / "sessions").rglob("*.flac")):
        name = f"{path.parent.name}/{path.stem}"
        samples = read(path)
        if not measure_activity(samples).any():
            rows[name] = {"confidence": float("nan")}
            continue
        heard = estimate_f0(samples)
        rows[name] = {
            "f0": heard.f0_hz, "5 %": heard.f0_low_hz, "95 %": heard.f0_high_hz,
            "confidence": heard.confidence, "voiced": heard.voiced_share,
            "agreement": heard.agreement, "strength": heard.strength, "pYIN": heard.pyin_hz,
            "PESTO": heard.pesto_hz,
        }  # fmt: skip
        part = path.stem.lower()
        if "bass" in part and not heard.f0_hz < 130.0:
            wrong.append(f"{name}: a bass at {heard.f0_hz:.1f} Hz")
        if any(word in part for word in DRUMS) and not np.isnan(heard.f0_hz):
            wrong.append(f"{name}: a drum at {heard.f0_hz:.1f} Hz")
    table = pd.DataFrame(rows).T.round(2)
    out.write(f"\nsessions (all NaN: silent in the excerpt)\n{table.to_string()}\n")
    out.write("\nbasses over 130 Hz, drums called pitched: " + ("; ".join(wrong) or "none") + "\n")


def against_librosa(root: Path, length_s: float) -> None:
    """Print whether pYIN equals librosa's frame by frame, and the ratio of their times."""
    rows = {}
    for name in TEN:
        path = root / "sessions" / f"{name}.flac"
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = librosa.resample(audio.mean(axis=1), orig_sr=rate, target_sr=PYIN_RATE)
        energy = np.convolve(mono**2, np.ones(PYIN_RATE), "same")
        middle = int(np.clip(energy.argmax(), length_s / 2 * PYIN_RATE, None))
        mono = mono[middle - round(length_s / 2 * PYIN_RATE) :][: round(length_s * PYIN_RATE)]
        results: dict[str, Any] = {}

        def ours(mono: Any = mono, results: dict[str, Any] = results) -> None:
            results["ours"] = pyin(
                mono[None], sample_rate=PYIN_RATE, fmin_hz=C1_HZ, fmax_hz=C8_HZ, center=True
            )

        def theirs(mono: Any = mono, results: dict[str, Any] = results) -> None:
            results["theirs"] = librosa.pyin(
                mono, sr=PYIN_RATE, fmin=C1_HZ, fmax=C8_HZ, frame_length=2048, fill_na=None
            )

        fast, slow = seconds(ours, 5), seconds(theirs)
        mine, (f0_hz, voiced, _) = results["ours"], results["theirs"]
        rows[name] = {
            "frames": voiced.size,
            "same f0": int((mine.f0_hz[0] == f0_hz).sum()),
            "same voicing": int((mine.voiced[0] == voiced).sum()),
            "times faster": slow / fast,
            "x real time": mono.size / PYIN_RATE / fast,
        }
        sys.stderr.write(f"{name} {rows[name]}\n")
    sys.stdout.write(f"\npYIN against librosa.pyin\n{pd.DataFrame(rows).T.round(1).to_string()}\n")


def costs(root: Path) -> None:
    """Print what f0 costs on tracks of 1 to 8 minutes."""
    rows = {}
    source = read(root / "sessions" / "delta_beatles/05_acoustic_guitar.flac")
    piece = source.read_at(0, source.frames)
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 4, 8):
            for channels in (1, 2):
                frames = minutes * 60 * source.sample_rate
                audio = np.tile(piece, (channels, -(-frames // piece.shape[1])))[:, :frames]
                held = HeldSamples(np.ascontiguousarray(audio), sample_rate=source.sample_rate)
                path = Path(folder) / "track.wav"
                soundfile.write(path, audio.T, source.sample_rate, subtype="PCM_24")
                file = FileSamples(path)
                active = measure_activity(held)
                rows[f"{minutes} min, {channels} channel(s)"] = {
                    "in memory": seconds(lambda h=held, a=active: estimate_f0(h, active=a), 4),
                    "from a 24-bit WAV": seconds(
                        lambda f=file, a=active: estimate_f0(f, active=a), 4
                    ),
                }
    sys.stdout.write(f"\nprocessor seconds a track\n{pd.DataFrame(rows).T.round(3).to_string()}\n")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path, nargs="?")
    parser.add_argument("--first-seed", type=int, default=11000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--librosa-s", type=float, default=6.0)
    parser.add_argument("--only", choices=("truth", "sessions", "librosa", "costs"))
    chosen = parser.parse_args()
    pd.set_option("display.width", 160, "display.max_columns", 20, "display.max_rows", 200)
    torch.set_num_threads(1)
    with threadpoolctl.threadpool_limits(1):
        if chosen.only in (None, "truth"):
            truth_tables(chosen.first_seed, chosen.seeds)
        if chosen.audio is None:
            sys.stdout.write("no AUDIO given: sessions, librosa and costs are left out\n")
            return
        if chosen.only in (None, "sessions"):
            sessions(chosen.audio)
        if chosen.only in (None, "librosa"):
            against_librosa(chosen.audio, chosen.librosa_s)
        if chosen.only in (None, "costs"):
            costs(chosen.audio)


if __name__ == "__main__":
    main()
