"""Whether an engineer would leave the settings of mixes standing.

Run ``python tests/benchmarks/sanity.py AUDIO FOLDER``. Sessions are mixed through the command
towards references and without one, and each plan is looked at: steps between neighbouring third
octaves of every equaliser's response (the high-pass aside), how far the bus bends the whole, mean
and 95th percentile of gain reduction, what the limiter takes, spread, and how even a chromatic
scale of sines stays through bass strip and bus.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.console.parameters import BUS, BUS_EQ_BANDS, STRIP, STRIP_EQ_BANDS
from pipeline.console.response import eq_response
from pipeline.plan import Plan
from pipeline.plan_file import load_plan
from pipeline.units import Float64Array
from stage2.console.tame import curve_db

SESSIONS = (
    "sodium", "caesium", "delta_rock", "delta_hendrix", "delta_beatles", "delta_punk",
    "delta_country1",
)  # fmt: skip
REFERENCES = (
    "", "caesium_master", "metal_viper", "hiphop_ripper", "hiphop_content", "jazz_vibeace",
    "folk_fishin", "classical_hungarian", "rock_ontherun",
)  # fmt: skip
# Figure, and the most of it that is allowed.
LIMITS = {
    "step dB": 3.0,
    "bus dB": 4.0,
    "strip mean dB": 4.0,
    "strip p95 dB": 8.0,
    "bus mean dB": 3.0,
    "limiter p95 dB": 4.0,
    "spread": 0.3,
    "solid spread": 0.0,
    "scale dB": 0.7,
}
SOLID = {"bass", "drums", "lead_vocals", "dialogue"}


def scale_unevenness_db(plan: Plan) -> float:
    """Return the deviation of a chromatic scale, 40 Hz to 2 kHz, from its two-octave trend.

    Through the bass's strip, high-pass aside, and the bus; 0 without a bass.
    """
    strips = [stem.settings for stem in plan.stems if stem.name == "bass"]
    if not strips:
        return 0.0
    notes = 40.0 * 2.0 ** (np.arange(0, 68) / 12.0)
    level: Float64Array = np.zeros(notes.size)
    flat = {**strips[0], "high_pass_hz": STRIP.parameter("high_pass_hz").default}
    for settings, bands in ((flat, STRIP_EQ_BANDS), (plan.bus, BUS_EQ_BANDS)):
        response = eq_response(settings, bands, sample_rate=plan.sample_rate, frequencies_hz=notes)
        level = level + 20.0 * np.log10(np.abs(response))
    half = 12
    trend = [level[max(i - half, 0) : i + half + 1].mean() for i in range(notes.size)]
    return float(np.std(level - trend))


def figures(folder: Path) -> dict[str, float]:
    """Return the figures of one mix."""
    plan = load_plan(folder / "plan.json")
    results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    rate = plan.sample_rate
    bus = curve_db(plan.bus, BUS, sample_rate=rate)
    strips = [curve_db(stem.settings, STRIP, sample_rate=rate) for stem in plan.stems]
    steps = [float(np.abs(np.diff(curve)).max()) for curve in (bus, *strips)]
    stems, mix = results["stems"], results["mix"]
    spreads = {stem.name: stem.settings["spread"] for stem in plan.stems}
    return {
        "step dB": max(steps),
        "bus dB": float(np.abs(bus).max()),
        "strip mean dB": max([0.0, *(row["compression_mean_db"] for row in stems)]),
        "strip p95 dB": max([0.0, *(row["compression_p95_db"] for row in stems)]),
        "bus mean dB": mix["bus_compression_mean_db"],
        "limiter p95 dB": mix["limiting_p95_db"],
        "spread": max(spreads.values()),
        "solid spread": max([0.0, *(v for k, v in spreads.items() if k in SOLID)]),
        "scale dB": scale_unevenness_db(plan),
    }


def main() -> int:
    """Print the worst of each figure, and every mix that is over a limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("folder", type=Path, help="where the mixes are kept")
    parser.add_argument("--sessions", nargs="+", default=SESSIONS)
    parser.add_argument("--references", nargs="*", default=REFERENCES)
    parser.add_argument("--quality", default="best", choices=("fast", "best"))
    chosen = parser.parse_args()
    command = [str(Path(sys.executable).with_name("stemwright")), "mix"]
    rows = []
    for session in chosen.sessions:
        for name in chosen.references:
            out = chosen.folder / f"{session}-{name or 'none'}"
            words = [*command, str(chosen.audio / "sessions" / session), "-o", str(out), "-q"]
            words += ["--engine", "local", "--quality", chosen.quality]
            if name:
                words += ["-r", str(next((chosen.audio / "references").glob(f"{name}.*")))]
            if not (out / "plan.json").is_file():
                subprocess.run(words, check=True)
            rows.append({"session": session, "reference": name or "none"} | figures(out))
    table = pd.DataFrame(rows)
    over = table[[any(row[name] > most + 1e-6 for name, most in LIMITS.items()) for row in rows]]
    names = list(LIMITS)
    summary = pd.DataFrame(
        {"limit": LIMITS, "worst": table[names].max(), "mean": table[names].mean()}
    )
    sys.stdout.write(f"{len(rows)} mixes\n{summary.round(2).to_string()}\n\n")
    sys.stdout.write(f"over a limit: {len(over)}\n{over.round(2).to_string()}\n")
    return 1 if len(over) else 0


if __name__ == "__main__":
    sys.exit(main())
