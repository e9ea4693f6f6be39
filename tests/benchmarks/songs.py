"""Songs of the corpus as stems on disk, for the benchmarks that know the truth and for the peer.

Run ``python tests/benchmarks/songs.py OUT --first-seed 100000 --count 12``: writes
``OUT/<seed>/<subgroup>.npy``, float32 ``(2, frames)`` at 44.1 kHz, silent stems left out. Songs of
the shipped controller's training have seeds from 1; those from 100000 it has never seen.
``--one-shots`` names folders of recorded sounds that the corpus may play, as its training did.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from stage2.corpus.samples import SampleBank
from stage2.corpus.song import make_song

RATE = 44_100


def write_song(seed: int, *, out: Path, seconds: float, one_shots: tuple[Path, ...]) -> None:
    """Make one song and write its stems."""
    bank = SampleBank.of(*one_shots) if one_shots else None
    song = make_song(seed, seconds=seconds, sample_rate=RATE, samples=bank)
    folder = out / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, audio in song.stems().items():
        if np.abs(audio).max(initial=0.0) > 0.0:
            np.save(folder / f"{name}.npy", audio.astype(np.float32))


def main() -> None:
    """Make songs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--first-seed", type=int, default=100_000)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--one-shots", type=Path, nargs="*", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    work = partial(
        write_song, out=chosen.out, seconds=chosen.seconds, one_shots=tuple(chosen.one_shots)
    )
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.count)
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(work, seeds))


if __name__ == "__main__":
    main()
