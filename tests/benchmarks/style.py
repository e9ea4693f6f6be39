"""How close mixes come to their references: equal-loudness sum, Matchering on it, and Stemwright.

Run ``python tests/benchmarks/style.py AUDIO`` where AUDIO holds ``sessions/`` and ``references/``.
Matchering is GPL and so lives in an environment of its own: name its Python in
``MATCHERING_PYTHON`` (``pip install matchering`` there), else it is left out of the table.

Figures are distances of :func:`stage2.style.style_distance` on the delivered files; also checked
are the promises of delivery: true peak, loudness, and the levels of the stems.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyloudnorm
import soundfile

from flows.mix import mix_session
from flows.settings import MixSettings
from pipeline.audio import read
from pipeline.loudness import LoudnessMeter, measure
from pipeline.session import open_session
from pipeline.units import FloatArray
from stage2.style import Style, measure_style, style_distance

REFERENCES = ("rock_ontherun", "metal_viper", "hiphop_ripper", "jazz_vibeace", "folk_fishin")
MATCHERING = """
import sys, matchering
matchering.process(target=sys.argv[1], reference=sys.argv[2],
                   results=[matchering.pcm24(sys.argv[3])])
"""


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


def style_of(path: Path) -> Style:
    """Return the style of a file on disk."""
    return measure_style(read(path), sample_rate=soundfile.info(path).samplerate)


def row(
    method: str, session: str, reference: str, style: Style, wanted: Style
) -> dict[str, object]:
    """Return one row of the long table."""
    return {
        "session": session,
        "reference": reference,
        "method": method,
        **style_distance(style, wanted).to_record(),
    }


def promises(folder: Path) -> dict[str, float]:
    """Return what delivery promises, measured on the delivered files by independent meters."""
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
    delivery = plan["delivery"]
    return {
        "peak over ceiling dB": peak - delivery["limiter_ceiling_dbtp"],
        "loudness off target LU": meter.integrated_loudness(audio) - delivery["target_lufs"],
        "lowest stem LU": min(levels),
        "highest stem LU": max(levels),
    }


def main() -> None:
    """Mix every session against every reference and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--sessions", default="")
    parser.add_argument("--references", default=",".join(REFERENCES))
    parser.add_argument("--csv", type=Path)
    chosen = parser.parse_args()
    roots = sorted(p for p in (chosen.audio / "sessions").iterdir() if p.is_dir())
    if chosen.sessions:
        roots = [p for p in roots if p.name in chosen.sessions.split(",")]
    rows: list[dict[str, object]] = []
    kept: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for root in roots:
            start, rate = equal_loudness_sum(root)
            source = Path(scratch) / f"{root.name}.wav"
            soundfile.write(source, start.T, rate, subtype="PCM_24")
            for name in chosen.references.split(","):
                reference = next((chosen.audio / "references").glob(f"{name}.*"))
                wanted = style_of(reference)
                rows.append(row("equal loudness", root.name, name, style_of(source), wanted))
                other = Path(scratch) / f"{root.name}-{name}-matchering.wav"
                if matchering(source, reference, other):
                    rows.append(row("matchering", root.name, name, style_of(other), wanted))
                folder = Path(scratch) / f"{root.name}-{name}"
                began = time.monotonic()
                mix_session(
                    root,
                    settings=MixSettings(references=(reference,), engine="local"),
                    folder=folder,
                )
                seconds = time.monotonic() - began
                rows.append(
                    row("stemwright", root.name, name, style_of(folder / "mix.wav"), wanted)
                )
                kept.append(
                    {"session": root.name, "reference": name, "s": seconds, **promises(folder)}
                )
                sys.stderr.write(f"{root.name} {name} {seconds:.1f} s\n")
    table = pd.DataFrame(rows)
    delivered = pd.DataFrame(kept)
    if chosen.csv:
        table.to_csv(chosen.csv, index=False)
    figures = table.columns[3:]
    pd.set_option("display.width", 160, "display.max_columns", 20, "display.max_rows", 200)
    out = sys.stdout
    for title, shown in (
        ("stemwright, each", table[table.method == "stemwright"].drop(columns="method").round(2)),
        ("promises", delivered.round(2)),
        ("worst promise", delivered.describe().loc[["min", "max"]].round(3)),
        ("mean distances", table.groupby("method")[list(figures)].mean().round(2)),
        ("by session", table.groupby(["session", "method"])[list(figures)].mean().round(2)),
    ):
        out.write(f"\n{title}\n{shown.to_string()}\n")
    mean = table.groupby("method")["total"].mean()
    out.write(
        f"\ntotal, ours over equal loudness: {mean['stemwright'] / mean['equal loudness']:.3f}\n"
    )


if __name__ == "__main__":
    main()
