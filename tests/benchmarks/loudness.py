"""Meters against independent ones, and how equally loud the methods leave the tracks of a stem.

Run ``python tests/benchmarks/loudness.py AUDIO`` where AUDIO holds ``sessions/``; with ``--folder
stems`` on the sessions that no constant of ``sones`` was chosen on.

1. ISO 532-1 N5 against mosqito, LUFS against pyloudnorm, true peak against its interpolator
   evaluated everywhere, and against one three times as long.
2. The spread: each subgroup with two tracks or more is balanced to equal loudness by one method
   alone; then the standard deviation of N5 over its tracks. N5 is of all active time at once, with
   no passages. Second opinion: ECMA-418-2 (Sottek) by mosqito, N5 of its loudness over time on up
   to 4 s of active time that begin elsewhere than the passages of ``sones``; its sone_HMS are put
   on the scale of 40 + 10 log2. A method's gains are shifted per subgroup to the mean gain of
   ``lufs``: every method is heard at the same level.
3. Audibility: each track against the sum of the others, while both play, in the third octaves that
   hold 80 % of its K-weighted power; within its subgroup, at most 30 dB either way.
4. How each method moves hi-hats, noise and hiss against BS.1770 of all channels.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyloudnorm
import scipy.signal
import soundfile
from mosqito.sq_metrics import loudness_ecma, loudness_zwtv
from mosqito.sq_metrics.loudness.utils.sone_to_phon import sone_to_phon as mosqito_phon

from pipeline.audio.samples import HeldSamples
from pipeline.audio.stream import read
from pipeline.loudness.meter import EnergyMeter, k_weighting, measure
from stage1.features import TrackAnalyser
from stage1.loudness.sones import LISTENING_DB_SPL, SonesLoudness, measure_sones
from stage1.loudness.zwicker import band_powers, loudness, percentile_loudness, sone_to_phon
from stage1.recognition.recognise import recognise

METHODS = ("lufs", "centroid", "p_lufs", "informed", "sones", "bs1770")
"""The five methods, and plain BS.1770 of all channels: the published ``lufs`` is of the fold."""
EXCERPTS = 20
EXCERPT_S = 2.0
ECMA_S = 4.0
WORKING_LUFS = -23.0
RATE = 48000


@dataclass
class Track:
    """One track of a session and what the tables need of it."""

    session: str
    name: str
    role: str
    subgroup: str
    audio: np.ndarray
    rate: int
    active: np.ndarray
    lufs: float
    sones: SonesLoudness
    sones_cpu_s: float
    by: dict[str, float]
    powers: np.ndarray

    @property
    def key(self) -> str:
        """Session and name."""
        return f"{self.session}/{Path(self.name).stem}"


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def level(power: float) -> float:
    """Return dB."""
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf


def all_methods(
    audio: np.ndarray, rate: int, name: str
) -> tuple[dict[str, float], SonesLoudness, float]:
    """Return the loudness by every method, and the CPU time that ``sones`` took."""
    meter = EnergyMeter(sample_rate=rate, channels=audio.shape[0])
    meter.process(audio)
    started = time.process_time()
    heard = measure_sones(
        HeldSamples(audio, sample_rate=rate),
        active=meter.active(),
        integrated_lufs=meter.integrated_lufs,
    )
    spent = time.process_time() - started
    analyser = TrackAnalyser(sample_rate=rate, channels=audio.shape[0], frames=audio.shape[1])
    analyser.process(audio)
    features = analyser.result(HeldSamples(audio, sample_rate=rate), name=name)
    by = {
        method: features.loudness(method) for method in METHODS if method not in ("sones", "bs1770")
    }
    # The published methods leave out what never exceeds -50 LUFS; the balance then takes ours.
    by = {m: v if math.isfinite(v) else features.loudness("informed") for m, v in by.items()}
    return by | {"sones": heard.lufs, "bs1770": meter.integrated_lufs}, heard, spent


def load(root: Path) -> list[Track]:
    """Return the sounding tracks of a session."""
    names = sorted(path.name for path in root.iterdir() if path.is_file())
    tracks = []
    for record in recognise(names):
        audio = np.ascontiguousarray(read(root / record.name), np.float32)
        rate = soundfile.info(root / record.name).samplerate
        meter = EnergyMeter(sample_rate=rate, channels=audio.shape[0])
        meter.process(audio)
        if not math.isfinite(meter.integrated_lufs):
            continue
        by, heard, spent = all_methods(audio, rate, record.name)
        tracks.append(
            Track(
                session=root.name, name=record.name, role=record.role.value,
                subgroup=str(record.subgroup), audio=audio, rate=rate, active=meter.active(),
                lufs=meter.integrated_lufs, sones=heard, sones_cpu_s=spent, by=by,
                powers=band_powers(audio, sample_rate=rate),
            )
        )  # fmt: skip
    return tracks


def loudest(track: Track) -> np.ndarray:
    """Return the loudest excerpt of a track's first channel, at 70 dB SPL, in Pa at 48 kHz."""
    frames = round(EXCERPT_S * track.rate)
    energy = np.cumsum(np.pad(track.audio[0].astype(np.float64) ** 2, (1, frames)))
    start = int(np.argmax(energy[frames:] - energy[:-frames])) if energy.size > frames else 0
    excerpt = track.audio[0, start : start + frames].astype(np.float64)
    if track.rate != RATE:
        excerpt = scipy.signal.resample(excerpt, round(excerpt.size * RATE / track.rate))
    excerpt *= 2e-5 * 10.0 ** (70.0 / 20.0) / np.sqrt(np.mean(excerpt**2))
    return np.asarray(excerpt)


def whole_true_peak(track: Track, taps: int) -> float:
    """Return the peak of four times oversampling, every value computed, in dBTP."""
    distance = np.arange(-2 * taps, 2 * taps + 1) / 4.0
    response = np.sinc(distance) * np.kaiser(distance.size, 8.0)
    phases = [response[p::4] / response[p::4].sum() for p in range(4)]
    peak = max(
        float(np.abs(scipy.signal.oaconvolve(channel.astype(np.float64), phase)).max())
        for phase in phases
        for channel in track.audio
    )
    return 20.0 * math.log10(peak)


def meters(tracks: list[Track]) -> None:
    """Print the agreement with independent meters."""
    say("\n1. Meters against independent ones")
    chosen = [tracks[i] for i in np.linspace(0, len(tracks) - 1, EXCERPTS).round().astype(int)]
    rows = []
    ours_s = theirs_s = 0.0
    for track in chosen:
        pascal = loudest(track)
        started = time.process_time()
        powers = band_powers(pascal.astype(np.float32)[None], sample_rate=RATE)
        ours = loudness(powers)
        middle = time.process_time()
        theirs = loudness_zwtv(pascal, RATE)[0]
        ours_s, theirs_s = ours_s + middle - started, theirs_s + time.process_time() - middle
        meter = pyloudnorm.Meter(track.rate, filter_class="DeMan")
        own = measure(track.audio, sample_rate=track.rate)
        # pyloudnorm rounds the number of gating blocks: its last one may run past the end.
        whole = track.audio[:, : track.audio.shape[1] // (track.rate // 10) * (track.rate // 10)]
        phon = sone_to_phon(percentile_loudness(ours))
        rows.append(
            {
                "track": track.key,
                "N5 phon": phon,
                "off mosqito": phon - mosqito_phon(np.percentile(theirs, 95)),
                "LUFS": own.integrated_lufs,
                "off pyloudnorm": measure(whole, sample_rate=track.rate).integrated_lufs
                - meter.integrated_loudness(whole.T.astype(np.float64)),
                "dBTP": own.true_peak_dbtp,
                "off whole FIR": own.true_peak_dbtp - whole_true_peak(track, 32),
                "off 96 taps": own.true_peak_dbtp - whole_true_peak(track, 96),
            }
        )
    table = pd.DataFrame(rows).set_index("track")
    say(table.round(4).to_string())
    worst = table.filter(like="off").abs().max()
    say("largest: " + ", ".join(f"{name} {value:.5f}" for name, value in worst.items()))
    seconds = EXCERPT_S * len(chosen)
    say(f"N5: {seconds / ours_s:.0f} x real time, mosqito {seconds / theirs_s:.2f} x")
    spent = sorted(track.sones_cpu_s for track in tracks)
    say(f"sones: {np.mean(spent):.3f} core-s a track on average, {spent[-2]:.3f} at most but one")


def n5(track: Track, gain_db: float, listening_db_spl: float = LISTENING_DB_SPL) -> float:
    """Return N5 in phon over all active time."""
    sone = loudness(track.powers, unit_db_spl=listening_db_spl - WORKING_LUFS + gain_db)
    hops = np.minimum(np.arange(sone.size) // 50, track.active.size - 1)
    return sone_to_phon(percentile_loudness(sone[track.active[hops]]))


def ecma_excerpt(track: Track) -> np.ndarray:
    """Return up to 4 s of active time of the power sum of the channels, faded at the seams."""
    hop = track.rate // 10
    playing = np.flatnonzero(track.active)
    playing = playing[(playing + 1) * hop <= track.audio.shape[1]]
    pieces, length = 5, 8
    if playing.size > pieces * length:
        starts = np.linspace(length / 2, playing.size - 1.5 * length, pieces).astype(int)
        chosen = [playing[s] for s in starts]
    else:
        chosen = list(playing[::length])
    # Mid and side in one signal of the same power: as loud as both, whatever their phase.
    audio = track.audio.astype(np.float64)
    if audio.shape[0] == 2:
        mid, side = (audio[0] + audio[1]) / math.sqrt(2), (audio[0] - audio[1]) / math.sqrt(2)
        audio = (mid + np.imag(scipy.signal.hilbert(side, next_length(side.size)))[: side.size])[
            None
        ]
    fade = np.minimum(np.arange(length * hop), hop // 20) / (hop // 20)
    window = fade * fade[::-1]
    cuts = [audio[0, s * hop : (s + length) * hop] for s in chosen]
    signal = np.concatenate([cut * window[: cut.size] for cut in cuts if cut.size])
    if track.rate != RATE:
        signal = scipy.signal.resample(signal, round(signal.size * RATE / track.rate))
    return signal[: round(ECMA_S * RATE)]


def next_length(size: int) -> int:
    """Return a length whose transform is quick."""
    return int(scipy.fft.next_fast_len(size))


def ecma(signal: np.ndarray, gain_db: float) -> float:
    """Return N5 of ECMA-418-2 on a scale of 10 for each doubling."""
    unit = LISTENING_DB_SPL - WORKING_LUFS + gain_db
    pascal = signal * 2e-5 * 10.0 ** (unit / 20.0)
    over_time = np.asarray(loudness_ecma(pascal, RATE)[1])
    return 40.0 + 10.0 * math.log2(max(float(np.percentile(over_time, 95)), 1e-3))


def gains(group: list[Track], method: str) -> list[float]:
    """Return the gains that make a group equally loud by a method, at the mean level of LUFS."""
    plain = np.mean([WORKING_LUFS - track.lufs for track in group])
    own = np.array([WORKING_LUFS - track.by[method] for track in group])
    return list(own - own.mean() + plain)


def groups(tracks: list[Track]) -> dict[tuple[str, str], list[Track]]:
    """Return the subgroups with two tracks or more."""
    found: dict[tuple[str, str], list[Track]] = {}
    for track in tracks:
        found.setdefault((track.session, track.subgroup), []).append(track)
    return {key: group for key, group in found.items() if len(group) > 1}


def spread(tracks: list[Track], with_ecma: bool) -> None:
    """Print the spread of N5 after balancing by each method."""
    say("\n2. Standard deviation of N5 inside subgroups (phon)")
    iso: list[dict[str, object]] = []
    second: list[dict[str, object]] = []
    loud_room: list[dict[str, object]] = []
    soft_room: list[dict[str, object]] = []
    for (session, subgroup), group in groups(tracks).items():
        row: dict[str, object] = {"session": session, "subgroup": subgroup, "tracks": len(group)}
        excerpts = [ecma_excerpt(track) for track in group] if with_ecma else []
        for rows in (iso, second, loud_room, soft_room):
            rows.append(dict(row))
        for method in METHODS:
            given = gains(group, method)
            for rows, spl in ((iso, 73.0), (loud_room, 83.0), (soft_room, 63.0)):
                values = [n5(t, g, spl) for t, g in zip(group, given, strict=True)]
                rows[-1][method] = float(np.std(values))
            if with_ecma:
                heard = [ecma(x, g) for x, g in zip(excerpts, given, strict=True)]
                second[-1][method] = float(np.std(heard))
    named = {"ISO 532-1, 73 dB SPL": iso, "ISO 532-1, 83": loud_room, "ISO 532-1, 63": soft_room}
    if with_ecma:
        named["ECMA-418-2"] = second
    for title in ("ISO 532-1, 73 dB SPL", "ECMA-418-2"):
        if title in named:
            say(f"\n{title}")
            say(pd.DataFrame(named[title]).round(2).to_string(index=False))
    means = pd.DataFrame(
        {title: pd.DataFrame(rows)[list(METHODS)].mean() for title, rows in named.items()}
    )
    say("\nmean over subgroups")
    say(means.round(2).to_string())
    say("against lufs")
    say((means / means.loc["lufs"]).round(2).to_string())


def in_own_bands(group: list[Track], given: list[float]) -> list[float]:
    """Return how far each track stands over the others in its own strongest bands, in dB."""
    centres = 1000.0 * 10.0 ** ((np.arange(28) - 16) / 10.0)
    _, response = scipy.signal.sosfreqz(k_weighting(RATE), worN=centres, fs=RATE)
    hops = max(track.powers.shape[1] // 200 for track in group)
    power = np.zeros((len(group), 28, hops))
    playing = np.zeros((len(group), hops), bool)
    for i, (track, gain) in enumerate(zip(group, given, strict=True)):
        n = track.powers.shape[1] // 200
        mean = track.powers[:, : 200 * n].reshape(28, n, 200).mean(axis=2)
        power[i, :, :n] = mean * (np.abs(response) ** 2)[:, None] * 10.0 ** (gain / 10.0)
        playing[i, : min(n, track.active.size)] = track.active[:n]
    found = []
    for i in range(len(group)):
        others = [j for j in range(len(group)) if j != i]
        both = playing[i] & playing[others].any(axis=0)
        if not both.any():
            continue
        own = power[i][:, both].sum(axis=1)
        rest = power[others][:, :, both].sum(axis=(0, 2))
        order = np.argsort(-own)
        count = 1 + int(np.searchsorted(np.cumsum(own[order]), 0.8 * own.sum()))
        bands = order[:count]
        found.append(float(np.clip(level(own[bands].sum() / rest[bands].sum()), -30.0, 30.0)))
    return found


def audibility(tracks: list[Track]) -> None:
    """Print how far tracks stand over the rest of their stem in their own bands."""
    say("\n3. Level over the rest of the stem in a track's own strongest third octaves (dB)")
    rows = []
    for method in METHODS:
        values = [
            v
            for group in groups(tracks).values()
            for v in in_own_bands(group, gains(group, method))
        ]
        rows.append(
            {
                "method": method, "tracks": len(values), "mean": np.mean(values),
                "min": np.min(values), "10th percentile": np.percentile(values, 10),
                "spread": np.std(values), "under -10 dB": sum(v < -10.0 for v in values),
            }
        )  # fmt: skip
    say(pd.DataFrame(rows).round(2).to_string(index=False))


def synthetic() -> dict[str, np.ndarray]:
    """Return hats, noises and hiss, 6 s each."""
    size = 6 * RATE
    rng = np.random.default_rng(0)
    hz = np.fft.rfftfreq(size, 1.0 / RATE)
    time_s = np.arange(size) / RATE

    def shaped(slope: float, low_hz: float = 20.0, high_hz: float = 20000.0) -> np.ndarray:
        spectrum = np.fft.rfft(rng.standard_normal(size))
        spectrum[(hz < low_hz) | (hz > high_hz)] = 0.0
        spectrum[1:] *= hz[1:] ** (-slope / 2.0)
        signal = np.fft.irfft(spectrum)
        return np.asarray(0.1 * signal / signal.std())

    hat = np.exp(-(time_s % 0.25) / 0.03)
    signals = {
        "white noise": shaped(0.0),
        "pink noise": shaped(1.0),
        "brown noise": shaped(2.0),
        "rumble 20-120 Hz": shaped(1.0, 20.0, 120.0),
        "hats over 5 kHz": shaped(0.0, 5000.0) * hat,
        "hats over 8 kHz": shaped(0.0, 8000.0) * hat,
        "shaker 3-9 kHz": shaped(0.0, 3000.0, 9000.0) * np.exp(-(time_s % 0.125) / 0.05),
        "hiss at -52 LUFS": shaped(0.0) * 10.0 ** (-34.0 / 20.0),
        "hiss at -65 LUFS": shaped(0.0) * 10.0 ** (-47.0 / 20.0),
    }
    return {name: signal.astype(np.float32)[None] for name, signal in signals.items()}


def moves(tracks: list[Track]) -> None:
    """Print how far each method turns hats, noise and hiss up against LUFS."""
    say("\n4. Turned up against LUFS (LU; the mean of all real tracks in the last row)")
    rows = []
    for track in tracks:
        if track.role in {"hi_hat", "cymbal", "shaker"} or track.sones.high_share > 0.5:
            moved = {m: track.lufs - track.by[m] for m in METHODS}
            rows.append({"track": track.key, "high share": track.sones.high_share} | moved)
    for name, audio in synthetic().items():
        by, heard, _ = all_methods(audio, RATE, name)
        plain = measure(audio, sample_rate=RATE).integrated_lufs
        moved = {m: plain - by[m] for m in METHODS}
        rows.append({"track": name, "high share": heard.high_share} | moved)
    mean = {m: float(np.mean([t.lufs - t.by[m] for t in tracks])) for m in METHODS}
    rows.append({"track": "mean of all", "high share": math.nan} | mean)
    say(pd.DataFrame(rows).round(2).to_string(index=False))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--folder", default="sessions", help="where the sessions lie in AUDIO")
    parser.add_argument("--sessions", default="", help="only these, by commas")
    parser.add_argument("--no-ecma", action="store_true", help="leave out the slow second opinion")
    chosen = parser.parse_args()
    roots = sorted(p for p in (chosen.audio / chosen.folder).iterdir() if p.is_dir())
    if chosen.sessions:
        roots = [p for p in roots if p.name in chosen.sessions.split(",")]
    band_powers(np.zeros((1, RATE), np.float32), sample_rate=RATE)  # compile outside the timing
    tracks = [track for root in roots for track in load(root)]
    meters(tracks)
    spread(tracks, not chosen.no_ecma)
    audibility(tracks)
    moves(tracks)


if __name__ == "__main__":
    main()
