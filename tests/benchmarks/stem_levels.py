"""How close stem levels come to an engineer's, where the reference is a mix of the same song.

Run ``python tests/benchmarks/stem_levels.py AUDIO``. Each half of a song is mixed towards the other
half of the engineer's mix, and the whole towards the whole. The engineer's processed stems are
known, and the mix is their sum, each times one gain. That gain is fitted to the band powers over
time of the mix, which a phase or a sample's shift between stem and mix does not disturb.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.optimize
import soundfile

from flows.mix.recipe import mix_session
from flows.settings import MixSettings
from pipeline.audio.stream import read
from pipeline.loudness.meter import measure
from pipeline.session.discovery import open_session
from pipeline.units import FloatArray
from stage1.recognition.recognise import recognise
from stage2.console.statistics import frame_powers
from stage2.style.measure import FineBands

SONGS = {"delta_rock": "rock_delta", "delta_hendrix": "psychedelic_rock_delta"}


def loudness(audio: FloatArray, rate: int) -> float:
    """Return integrated loudness in LUFS."""
    return measure(audio.astype(np.float32), sample_rate=rate).integrated_lufs


def fit(length: int, audio: FloatArray) -> FloatArray:
    """Return audio cut or padded to a length."""
    out = np.zeros((audio.shape[0], length), dtype=np.float32)
    out[:, : audio.shape[1]] = audio[:, :length]
    return out


def engineer_gains(stems: list[FloatArray], mix: FloatArray, rate: int) -> FloatArray:
    """Return each stem's gain in the mix, from band powers over time."""
    bands = FineBands.at(rate)
    powers = np.stack([frame_powers(x, sample_rate=rate, bands=bands).ravel() for x in stems], 1)
    wanted = frame_powers(mix, sample_rate=rate, bands=bands).ravel()
    # relative errors: a loud band must not hide a quiet one
    weight = 1.0 / (wanted + wanted.max() * 1e-5)
    squared, _ = scipy.optimize.nnls(powers * weight[:, None], wanted * weight)
    return np.sqrt(squared)


def relative(levels: dict[str, float]) -> dict[str, float]:
    """Return levels less their power sum."""
    total = 10.0 * np.log10(sum(10.0 ** (v / 10.0) for v in levels.values()))
    return {name: level - total for name, level in levels.items()}


def by_subgroup(stems: dict[str, FloatArray]) -> dict[str, str]:
    """Return the subgroup of each track."""
    return {r.name: r.subgroup for r in recognise(sorted(stems))}


def cut(audio: FloatArray, half: int | None) -> FloatArray:
    """Return the first (0) or second (1) half of audio, or all of it."""
    middle = audio.shape[1] // 2
    return audio if half is None else audio[:, :middle] if half == 0 else audio[:, middle:]


def compare(audio: Path, session: str, reference: str, half: int | None) -> list[dict[str, object]]:
    """Return a row a stem: its level by the engineer, at equal loudness, intended and mixed.

    Parameters
    ----------
    half
        Which half of the song is mixed, towards the other half of the engineer's mix; None for
        the whole towards the whole.
    """
    path = audio / "references" / f"{reference}.flac"
    rate = soundfile.info(path).samplerate
    mix = read(path)
    length = mix.shape[1]
    folder = audio / "engineer_stems" / session
    stems = {p.name: fit(length, read(p)) for p in sorted(folder.iterdir())}
    gains = engineer_gains(list(stems.values()), mix, rate)
    group = by_subgroup(stems)
    sums: dict[str, FloatArray] = {}
    for (name, engineer), gain in zip(stems.items(), gains, strict=True):
        sums[group[name]] = sums.get(group[name], 0.0) + cut(engineer, half) * gain
    truth = relative({name: loudness(x, rate) for name, x in sums.items()})

    opened, _ = open_session(audio / "sessions" / session)
    raw: dict[str, FloatArray] = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / session
        root.mkdir()
        for track in opened.tracks:
            piece = cut(fit(length, read(track.path)), half)
            soundfile.write(root / f"{track.path.stem}.wav", piece.T, rate, subtype="FLOAT")
            at = 10.0 ** ((-23.0 - loudness(piece, rate)) / 20.0)
            stereo = np.repeat(piece, 2, axis=0) if piece.shape[0] == 1 else piece
            name = group[track.name]
            raw[name] = raw.get(name, 0.0) + stereo * at
        equal = relative({name: loudness(x, rate) for name, x in raw.items()})
        told = Path(scratch) / "reference.wav"
        other = None if half is None else 1 - half
        soundfile.write(told, cut(mix, other).T, rate, subtype="FLOAT")
        mixed = {}
        for quality in ("fast", "best"):
            outcome = mix_session(
                root,
                settings=MixSettings(references=(told,), engine="local", quality=quality),
                folder=Path(scratch) / quality,
            )
            mixed[quality] = relative(
                {n: s.loudness.integrated_lufs for n, s in outcome.stems.items()}
            )
    return [
        {
            "session": session,
            "half": "whole" if half is None else ("first", "second")[half],
            "stem": name,
            "engineer": truth[name],
            "equal loudness": equal[name],
            "intended": outcome.stem_targets_lu[name],
            "controller": mixed["fast"][name],
            "both": mixed["best"][name],
        }
        for name in truth
        if np.isfinite(truth[name])
    ]


def main() -> None:
    """Print each stem's level by the engineer, at equal loudness, intended and mixed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    chosen = parser.parse_args()
    rows = []
    for session, reference in SONGS.items():
        for half in (0, 1, None):
            rows += compare(chosen.audio, session, reference, half)
    table = pd.DataFrame(rows)
    sys.stdout.write(table.round(2).to_string() + "\n\nmean absolute error, LU\n")
    columns = ["equal loudness", "intended", "controller", "both"]
    errors = table[columns].sub(table["engineer"], axis=0).abs()
    for name in ("session", "half"):
        errors[name] = table[name]
    errors["reference"] = np.where(errors["half"] == "whole", "same passage", "other half")
    sys.stdout.write(errors.groupby(["session", "half"])[columns].mean().round(2).to_string())
    sys.stdout.write("\n" + errors.groupby("reference")[columns].mean().round(2).to_string() + "\n")


if __name__ == "__main__":
    main()
