"""Whether stems get nearer to what a mix engineer made of them.

Run ``python tests/benchmarks/engineer_stems.py AUDIO FOLDER``. Two songs whose engineer's stems are
known are mixed through the command: towards the engineer's own mix, each other's, records of other
songs, and without a reference. Per stem, loudness-matched, against the engineer's: Bark spectrum
(bands weighted by what is there), median crest, level in the mix, width, left against right; of the
raw tracks at equal loudness, of stage 1 (strength 0), of the controller alone (fast), and of the
whole (best).
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.optimize
import soundfile

from pipeline.audio.stream import read
from pipeline.console.delivery import median_crest_db
from pipeline.loudness.meter import measure
from pipeline.units import Float64Array, FloatArray
from stage1.recognition.recognise import recognise
from stage2.console.statistics import frame_powers
from stage2.style.measure import FineBands, Style, measure_style

SONGS = {"delta_rock": "rock_delta", "delta_hendrix": "psychedelic_rock_delta"}
OTHERS = ("folk_fishin", "metal_viper", "hiphop_ripper")
METHODS: dict[str, Sequence[str]] = {
    "stage 1": ("--strength", "0"),
    "controller": ("--quality", "fast"),
    "full": ("--quality", "best"),
}
# E. Zwicker, "Subdivision of the audible frequency range into critical bands", JASA 33, 1961
BARK_HZ = np.asarray(
    (20, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150,
     3700, 4400, 5300, 6400, 7700, 9500, 12000, 15500),
    dtype=np.float64,
)  # fmt: skip
FIGURES = ("spectrum", "crest", "level", "width", "left/right")
LOUDNESS_EXPONENT = 0.3


def loudness(audio: FloatArray, rate: int) -> float:
    """Return integrated loudness in LUFS."""
    return measure(audio.astype(np.float32), sample_rate=rate).integrated_lufs


def fit(length: int, audio: FloatArray) -> FloatArray:
    """Return audio as stereo, cut or padded to a length."""
    stereo = np.repeat(audio, 2, axis=0) if audio.shape[0] == 1 else audio
    out = np.zeros((2, length), dtype=np.float32)
    out[:, : stereo.shape[1]] = stereo[:, :length]
    return out


def engineer_gains(stems: list[FloatArray], mix: FloatArray, rate: int) -> FloatArray:
    """Return each stem's gain in the mix, from band powers over time."""
    bands = FineBands.at(rate)
    powers = np.stack([frame_powers(x, sample_rate=rate, bands=bands).ravel() for x in stems], 1)
    wanted = frame_powers(mix, sample_rate=rate, bands=bands).ravel()
    weight = 1.0 / (wanted + wanted.max() * 1e-5)  # a loud band must not hide a quiet one
    squared, _ = scipy.optimize.nnls(powers * weight[:, None], wanted * weight)
    return np.sqrt(squared)


def bark_powers(audio: FloatArray, rate: int) -> Float64Array:
    """Return the power in each Bark band, as shares of all."""
    size = 16384
    window = np.hanning(size)
    frequency = np.fft.rfftfreq(size, 1.0 / rate)
    power = np.zeros(frequency.size)
    for start in range(0, max(audio.shape[1] - size, 1), size // 2):
        block = audio[:, start : start + size] * window[: audio.shape[1] - start]
        power += np.square(np.abs(np.fft.rfft(block, n=size, axis=1))).mean(axis=0)
    bands = np.asarray(
        [
            power[(frequency >= low) & (frequency < high)].sum()
            for low, high in itertools.pairwise(BARK_HZ)
        ]
    )
    return bands / max(float(bands.sum()), 1e-20)


def spectrum_apart_db(one: Float64Array, other: Float64Array) -> float:
    """Return the mean difference of two Bark spectra, weighted by what is there."""
    weight = (one + other) ** LOUDNESS_EXPONENT
    weight /= weight.sum()
    apart = 10.0 * np.log10((one + 1e-9) / (other + 1e-9))
    return float((weight * np.abs(apart - (weight * apart).sum())).sum())


def relative(levels: dict[str, float]) -> dict[str, float]:
    """Return levels less their power sum."""
    total = 10.0 * np.log10(sum(10.0 ** (v / 10.0) for v in levels.values()))
    return {name: level - total for name, level in levels.items()}


class Engineer:
    """What an engineer made of a song, by subgroup."""

    def __init__(self, audio: Path, session: str, mix: str) -> None:
        whole = read(audio / "references" / f"{mix}.flac")
        self.rate = soundfile.info(audio / "references" / f"{mix}.flac").samplerate
        length = whole.shape[1]
        folder = audio / "engineer_stems" / session
        tracks = {p.name: fit(length, read(p)) for p in sorted(folder.iterdir())}
        gains = engineer_gains(list(tracks.values()), fit(length, whole), self.rate)
        group = {r.name: r.subgroup for r in recognise(sorted(tracks))}
        self.stems: dict[str, FloatArray] = {}
        self.raw: dict[str, FloatArray] = {}
        for (name, track), gain in zip(tracks.items(), gains, strict=True):
            raw = fit(length, read(audio / "sessions" / session / name))
            at = 10.0 ** ((-23.0 - loudness(raw, self.rate)) / 20.0)
            for sums, part in ((self.stems, track * gain), (self.raw, raw * at)):
                sums[group[name]] = sums.get(group[name], 0.0) + part
        self._levels = relative({n: loudness(x, self.rate) for n, x in self.stems.items()})
        self._styles = {n: self._style(x) for n, x in self.stems.items()}
        self._barks = {n: bark_powers(x, self.rate) for n, x in self.stems.items()}

    def _style(self, audio: FloatArray) -> Style:
        return measure_style(audio, sample_rate=self.rate)

    def errors(self, stems: dict[str, FloatArray]) -> list[dict[str, float | str]]:
        """Return how far stems are from the engineer's, a row a stem."""
        levels = relative({name: loudness(audio, self.rate) for name, audio in stems.items()})
        rows: list[dict[str, float | str]] = []
        for name, wanted in self._styles.items():
            style = self._style(stems[name])
            crest = median_crest_db(stems[name], sample_rate=self.rate)
            bark = bark_powers(stems[name], self.rate)
            rows.append(
                {
                    "stem": name,
                    "spectrum": spectrum_apart_db(bark, self._barks[name]),
                    "crest": abs(crest - wanted.crest_db),
                    "level": abs(levels[name] - self._levels[name]),
                    "width": abs(style.width_db - wanted.width_db),
                    "left/right": abs(style.imbalance_db - wanted.imbalance_db),
                }
            )
        return rows


def mixed(session: Path, reference: Path | None, options: Sequence[str], out: Path) -> Path:
    """Mix a session through the command; return its folder of stems."""
    command = [str(Path(sys.executable).with_name("stemwright")), "mix", str(session)]
    command += ["-o", str(out), "--engine", "local", "-q", *options]
    if reference is not None:
        command += ["-r", str(reference)]
    if not (out / "stems").is_dir():
        subprocess.run(command, check=True)
    return out / "stems"


def main() -> None:
    """Print errors per stem and method, and their means by kind of reference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("folder", type=Path, help="where the mixes are kept")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--details", action="store_true", help="a row a stem")
    chosen = parser.parse_args()
    rows = []
    for session, own in SONGS.items():
        engineer = Engineer(chosen.audio, session, own)
        each_other = next(mix for song, mix in SONGS.items() if song != session)
        kinds = {"": "none", own: "own mix", each_other: "other song"}
        kinds |= dict.fromkeys(OTHERS, "other song")
        for reference, kind in kinds.items():
            path = None
            if reference:
                path = next((chosen.audio / "references").glob(f"{reference}.*"))
            for method in ("raw", *chosen.methods):
                stems = engineer.raw
                if method != "raw":
                    out = (
                        chosen.folder / f"{session}-{reference or 'none'}-{method.replace(' ', '')}"
                    )
                    folder = mixed(chosen.audio / "sessions" / session, path, METHODS[method], out)
                    stems = {
                        name: fit(audio.shape[1], read(next(folder.glob(f"{name}.*"))))
                        for name, audio in engineer.raw.items()
                    }
                rows += [
                    {"session": session, "kind": kind, "reference": reference, "method": method}
                    | row
                    for row in engineer.errors(stems)
                ]
    table = pd.DataFrame(rows)
    if chosen.details:
        sys.stdout.write(table.round(2).to_string() + "\n\n")
    order = ["raw", *chosen.methods]
    for keys in (["kind"], ["session", "kind"]):
        means = table.groupby([*keys, "method"])[list(FIGURES)].mean().round(2)
        means = means.reindex(order, level="method")
        sys.stdout.write(means.to_string() + "\n\n")


if __name__ == "__main__":
    main()
