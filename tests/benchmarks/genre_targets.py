"""Derive the genre targets of ``stage2/genre/targets.toml`` from published figures.

Run ``python tests/benchmarks/genre_targets.py GTZAN.csv > targets.toml`` with the table
of descriptors ``features_30_sec.csv`` (G. Tzanetakis, P. Cook, IEEE TSAP 10(5), 2002; it holds
repeats and mislabels, B. Sturm 2013). Spectra of typical moments are the inverse DCT of the mean
MFCC (librosa: 128 Slaney mel bands at 22.05 kHz, orthonormal), summed into broad bands; over 11 kHz
they go on at 9 dB an octave (A. Elowsson, A. Friberg, AES 142, 2017), half-way to finished records.
The mean-power spectrum lies over the typical one by what eleven finished records show. Loudness,
range, crest and width are practice and measurements as named in each row.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import scipy.fft

EDGES_HZ = np.asarray((22.4, 112.0, 224.0, 447.0, 891.0, 1778.0, 3548.0, 7079.0, 17783.0))
TOP_HZ, TOP_SLOPE_DB = 11025.0, 9.0
# Mean power over a typical moment, of eleven finished records: loud moments are bass-heavy.
LOUD_OVER_TYPICAL_DB = np.asarray((6.9, 4.7, 3.5, 4.2, 3.6, 3.2, 5.0, 6.2))
# Of the top band under the one below it, mean of eleven finished records.
RECORDS_FALL_DB = 6.1
GTZAN = "GTZAN descriptors, n = {n} (Tzanetakis and Cook 2002)"
# name: classes, loudness, its spread, crest, its spread, width, its spread, loudness range
GENRES: dict[str, tuple[tuple[str, ...], float, float, float, float, float, float, float]] = {
    "rock": (("rock",), -9.0, 2.0, 11.5, 1.5, -10.5, 4.0, 6.0),
    "pop": (("pop",), -9.0, 2.0, 11.0, 1.5, -9.5, 4.0, 6.0),
    "hip-hop": (("hiphop",), -9.5, 2.0, 10.5, 2.0, -14.0, 5.0, 5.5),
    "electronic": (("disco", "pop", "hiphop"), -8.5, 2.0, 10.5, 1.5, -9.5, 4.0, 4.5),
    "metal": (("metal",), -8.0, 1.5, 11.0, 1.5, -9.0, 3.0, 5.0),
    "jazz": (("jazz",), -16.0, 3.0, 13.5, 2.0, -8.0, 4.0, 10.0),
    "country-folk": (("country",), -11.5, 2.5, 12.5, 1.5, -10.0, 4.0, 7.0),
    "reggae": (("reggae",), -11.0, 2.5, 11.5, 1.5, -12.0, 4.0, 6.0),
    "blues": (("blues",), -13.0, 3.0, 13.0, 2.0, -10.0, 4.0, 8.0),
    "disco-funk": (("disco",), -11.0, 2.5, 11.5, 1.5, -10.0, 4.0, 5.5),
    "classical": (("classical",), -20.0, 3.0, 14.0, 2.5, -7.5, 3.0, 16.0),
    "acoustic": (("country", "blues"), -14.0, 3.0, 13.0, 2.0, -9.5, 4.0, 8.0),
}
PRACTICE = "mastering practice and eleven measured records"


def typical_db(table: pd.DataFrame) -> np.ndarray:
    """Return each record's spectrum of typical moments in broad bands, against their sum, in dB."""
    means = table[[f"mfcc{i}_mean" for i in range(1, 21)]].to_numpy()
    mel_db = scipy.fft.idct(np.pad(means, ((0, 0), (0, 108))), norm="ortho", axis=1)
    centres = librosa.mel_frequencies(130, fmin=0.0, fmax=TOP_HZ)[1:-1]
    power = 10.0 ** (mel_db / 10.0) * np.gradient(centres)  # Slaney's filters give densities
    bands = np.stack(
        [
            power[:, (centres >= low) & (centres < min(high, TOP_HZ))].sum(axis=1)
            for low, high in itertools.pairwise(EDGES_HZ)
        ],
        axis=1,
    )
    hertz = np.linspace(EDGES_HZ[-2], EDGES_HZ[-1], 500)
    fall = (hertz / np.sqrt(EDGES_HZ[-2] * TOP_HZ)) ** (-TOP_SLOPE_DB / 3.01)
    density = bands[:, -1] / (TOP_HZ - EDGES_HZ[-2])
    bands[:, -1] = density * fall.mean() * (EDGES_HZ[-1] - EDGES_HZ[-2])
    levels = 10.0 * np.log10(bands)
    # The set's treble is of worn and distorted copies: half of it is what records fall by.
    levels[:, -1] = 0.5 * levels[:, -1] + 0.5 * (levels[:, -2] - RECORDS_FALL_DB)
    return np.asarray(levels - 10.0 * np.log10((10.0 ** (levels / 10.0)).sum(axis=1))[:, None])


def row(values: np.ndarray) -> str:
    """Return numbers as a TOML array."""
    return "[" + ", ".join(f"{v:.1f}" for v in values) + "]"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("gtzan", type=Path)
    table = pd.read_csv(parser.parse_args().gtzan)
    typical = typical_db(table)
    out = sys.stdout.write
    out("# How records of a genre sound: mean and standard deviation between records.\n")
    out("# Written by tests/benchmarks/genre_targets.py, which says how. Levels in dB in broad\n")
    out("# bands with the edges " + ", ".join(f"{hz:g}" for hz in EDGES_HZ) + " Hz.\n")
    for name, (classes, loud, loud_sd, crest, crest_sd, width, width_sd, span) in GENRES.items():
        chosen = typical[table.label.isin(classes).to_numpy()]
        mean, spread = chosen.mean(axis=0), chosen.std(axis=0, ddof=1)
        whole = mean + LOUD_OVER_TYPICAL_DB
        whole = whole - 10.0 * np.log10((10.0 ** (whole / 10.0)).sum())
        out(f"\n[{name}]\ncount = {len(chosen)}\n")
        out(f'spectrum_source = "{GTZAN.format(n=len(chosen))}: {", ".join(classes)}"\n')
        out(f'other_source = "{PRACTICE}"\n')
        out(f"typical_db = {row(mean)}\ntypical_spread_db = {row(spread)}\n")
        out(f"spectrum_db = {row(whole)}\nspectrum_spread_db = {row(spread)}\n")
        out(f"width_db = [{width}, {width_sd}]\ncrest_db = [{crest}, {crest_sd}]\n")
        out(f"loudness_lufs = [{loud}, {loud_sd}]\nloudness_range_lu = {span}\n")


if __name__ == "__main__":
    main()
