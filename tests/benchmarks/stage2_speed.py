"""How long stage 2 takes: eight stems of a four-minute song, from balanced stems to delivered mix.

Run ``python tests/benchmarks/stage2_speed.py [--seconds 240]``. A song of the corpus with eight
subgroups is a session of one stereo track each. It is analysed and balanced before, and everything
has been compiled by a mix that is not counted; measured are the reference's style, the prediction
(``fast``) or prediction and refinement (``best``), the console, delivery, and all that is written.
The prediction alone, from stems in memory to settings, is told beside them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from flows.mix.recipe import mix_session
from flows.settings import MixSettings
from stage2.console.search_space import StemInput
from stage2.controller.inputs import reference_windows
from stage2.controller.predict import predict
from stage2.corpus.song import make_song
from stage2.style.measure import measure_style
from stage2.style.target import StyleTarget

RATE = 44_100
STEMS = 8
EXCERPT_S = 56


def make_session(folder: Path, seconds: float) -> dict[str, np.ndarray]:
    """Write a session of eight tracks; return them by name."""
    for seed in range(200_000, 200_100):
        stems = make_song(seed, seconds=24.0, sample_rate=RATE).stems()
        sounding = [n for n, x in stems.items() if np.abs(x).max(initial=0.0) > 1e-3]
        if len(sounding) >= STEMS:
            break
    whole = make_song(seed, seconds=seconds, sample_rate=RATE).stems()
    chosen = {name: whole[name] for name in sounding[:STEMS]}
    folder.mkdir(parents=True)
    for name, audio in chosen.items():
        soundfile.write(folder / f"{name}.wav", audio.T, RATE, subtype="PCM_24")
    return chosen


def main() -> None:
    """Print the seconds of each quality."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        stems = make_session(work / "song", chosen.seconds)
        reference = work / "reference.wav"
        audio = sum(make_song(300_001, seconds=60.0, sample_rate=RATE).stems().values())
        audio = np.asarray(audio / np.abs(audio).max(), dtype=np.float32)
        soundfile.write(reference, audio.T, RATE, subtype="PCM_24")
        plain = MixSettings(engine="local")
        mix_session(work / "song", settings=plain, folder=work / "plain", store=work / "store")
        for quality in ("fast", "best"):
            settings = MixSettings(references=(reference,), engine="local", quality=quality)
            took = []
            for turn in range(chosen.rounds + 1):
                store = work / f"store-{quality}-{turn}"
                shutil.copytree(work / "store", store)
                began = time.monotonic()
                mix_session(work / "song", settings=settings, folder=work / "out", store=store)
                took.append(time.monotonic() - began)
                shutil.rmtree(work / "out")
                shutil.rmtree(store)
            seconds = ", ".join(f"{s:.1f}" for s in took[1:])
            sys.stdout.write(
                f"{quality}: {len(stems)} stems of {chosen.seconds:g} s: {seconds} s\n"
            )
        excerpts = [
            StemInput(name, np.ascontiguousarray(x[:, : EXCERPT_S * RATE]), -6.0, -20.0)
            for name, x in stems.items()
        ]
        style = measure_style(audio, sample_rate=RATE)
        windows = reference_windows(audio, sample_rate=RATE)
        took = []
        for _ in range(chosen.rounds + 1):
            began = time.monotonic()
            predict(excerpts, StyleTarget.of(style, [windows]), windows, sample_rate=RATE)
            took.append(time.monotonic() - began)
        seconds = ", ".join(f"{s:.2f}" for s in took[1:])
        sys.stdout.write(f"prediction alone, digest of the stems included: {seconds} s\n")


if __name__ == "__main__":
    main()
