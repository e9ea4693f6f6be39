"""Everything known of one track, as a record, a table row and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from pipeline.audio import probe, read
from pipeline.loudness import BLOCK_FRAMES, EnergyMeter, LoudnessMeter
from pipeline.units import power_to_db
from stage1.f0 import Mode, estimate_f0
from stage1.narrowband import METHODS, informed_band, measure_narrowband
from stage1.spectral import THIRD_OCTAVES_HZ, analyse_spectrum

__all__ = ["TrackFeatures", "analyse", "analyse_audio"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NOISE_FLOOR_PERCENTILE = 5.0
ONSET_RISE_DB = 6.0
ONSET_SPACING = 5
"""In 10 ms segments: nobody plays two notes within 50 ms."""
ONSET_RANGE_LU = 20.0


@dataclass(frozen=True)
class TrackFeatures:
    """What was measured of one track.

    Parameters
    ----------
    name
        The track, as the session names it.
    duration_s, sample_rate, channels
        Length in seconds, rate in Hz (after resampling), 1 or 2.
    active_s, active_share
        Time in which the track plays, in seconds and as a share of its length.
    first_active_s, last_active_s
        Where it begins and stops to play; NaN if it never does.
    peak_dbfs, true_peak_dbtp, rms_dbfs, crest_db
        Largest sample; largest oversampled value; root mean square over the active time; peak
        over RMS (NaN for silence).
    noise_floor_dbfs
        RMS of the quietest 5 % of the 100 ms that are not digital silence: the hiss.
    integrated_lufs, loudness_range_lu, max_short_term_lufs
        BS.1770-5 loudness of all channels, EBU Tech 3342 range, largest 3 s loudness.
    f0_hz, f0_low_hz, f0_high_hz, voiced_share, f0_confidence
        As :class:`stage1.f0.F0Estimate`; NaN for an unpitched track.
    pyin_hz, pesto_hz, f0_agreement, harmonic_strength, published_f0_hz
        What the ensemble is made of, and the f0 of the published method.
    centroid_hz, bandwidth_hz, rolloff_hz
        Means over the active time; NaN for silence.
    published_centroid_hz, published_bandwidth_hz
        Plain means, as the published method has them.
    band_low_hz, band_high_hz
        The informed band.
    loudness_lufs, loudness_centroid, loudness_p_lufs, loudness_informed
        Loudness by each of :data:`stage1.narrowband.METHODS`, in LUFS.
    side_to_mid_db
        Level of the side against the mid; ``-inf`` for mono.
    correlation
        Of left and right, -1 to 1; 1 for mono, NaN where a channel is silent.
    lr_balance_db
        Level of right against left; 0 for mono and silence.
    onsets_per_s
        Attacks a second of active time.
    transient_db
        Median over the active time of the loudest 10 ms against the 400 ms around it.
    third_octaves_db
        Level of each of :data:`stage1.spectral.THIRD_OCTAVES_HZ` over the active time, in dBFS.
    """

    name: str
    duration_s: float
    sample_rate: int
    channels: int
    active_s: float
    active_share: float
    first_active_s: float
    last_active_s: float
    peak_dbfs: float
    true_peak_dbtp: float
    rms_dbfs: float
    crest_db: float
    noise_floor_dbfs: float
    integrated_lufs: float
    loudness_range_lu: float
    max_short_term_lufs: float
    f0_hz: float
    f0_low_hz: float
    f0_high_hz: float
    voiced_share: float
    f0_confidence: float
    pyin_hz: float
    pesto_hz: float
    f0_agreement: float
    harmonic_strength: float
    published_f0_hz: float
    centroid_hz: float
    bandwidth_hz: float
    rolloff_hz: float
    published_centroid_hz: float
    published_bandwidth_hz: float
    band_low_hz: float
    band_high_hz: float
    loudness_lufs: float
    loudness_centroid: float
    loudness_p_lufs: float
    loudness_informed: float
    side_to_mid_db: float
    correlation: float
    lr_balance_db: float
    onsets_per_s: float
    transient_db: float
    third_octaves_db: tuple[float, ...]

    @property
    def pitched(self) -> bool:
        """Whether the track has an f0."""
        return not math.isnan(self.f0_hz)

    @property
    def silent(self) -> bool:
        """Whether the track never plays."""
        return self.active_s == 0.0

    def loudness(self, method: str) -> float:
        """Return the loudness in LUFS by one of :data:`stage1.narrowband.METHODS`.

        Raises
        ------
        ValueError
            If there is no such method.
        """
        if method not in METHODS:
            msg = f"unknown loudness method {method!r}: use one of " + ", ".join(METHODS)
            raise ValueError(msg)
        return float(getattr(self, f"loudness_{method}"))

    def to_row(self) -> dict[str, str | int | float]:
        """Return the record as one row of a table: one plain value a column."""
        row: dict[str, str | int | float] = asdict(self)
        del row["third_octaves_db"]
        names = (f"level_{centre:g}hz_db".replace(".", "_") for centre in THIRD_OCTAVES_HZ)
        return row | dict(zip(names, self.third_octaves_db, strict=True))

    def to_json(self) -> str:
        """Return the record as JSON; NaN and infinity, which JSON lacks, as strings."""
        return json.dumps({name: _plain(value) for name, value in asdict(self).items()})

    @classmethod
    def from_json(cls, text: str) -> TrackFeatures:
        """Return the record that :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If a field is missing or unknown, as in a record of another version.
        """
        data = json.loads(text)
        names = {field.name for field in fields(cls)}
        if data.keys() != names:
            odd = ", ".join(sorted(data.keys() ^ names))
            msg = f"not a record of this version (missing or unknown: {odd}): analyse again"
            raise ValueError(msg)
        return cls(**{name: _restored(value, name=name) for name, value in data.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _restored(value: Any, *, name: str) -> Any:
    if isinstance(value, list):
        return tuple(float(item) for item in value)
    # A string is a name, or a number that JSON cannot hold.
    return float(value) if isinstance(value, str) and name != "name" else value


def analyse(
    path: Path, *, name: str, sample_rate: int | None = None, f0_mode: Mode = "windows"
) -> TrackFeatures:
    """Measure everything about one track.

    Parameters
    ----------
    path
        The audio file.
    name
        The track's name in the session.
    sample_rate
        Resample to this rate, in Hz; the file's own if not given.
    f0_mode
        ``"windows"`` or ``"full"``, as for :func:`stage1.f0.estimate_f0`.

    Returns
    -------
    TrackFeatures

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    if sample_rate is None:
        sample_rate = probe(path).sample_rate
    audio = np.asarray(read(path, sample_rate=sample_rate), np.float32)
    return analyse_audio(audio, name=name, sample_rate=sample_rate, f0_mode=f0_mode)


def analyse_audio(
    audio: Float32Array, *, name: str, sample_rate: int, f0_mode: Mode = "windows"
) -> TrackFeatures:
    """Measure everything about one track in memory.

    Parameters
    ----------
    audio
        ``(channels, frames)`` float32, mono or stereo.
    name
        The track's name in the session.
    sample_rate
        In Hz.
    f0_mode
        As for :func:`analyse`.

    Returns
    -------
    TrackFeatures

    Raises
    ------
    ValueError
        If ``audio`` is not two-dimensional, or has more than two channels.
    """
    if audio.ndim != 2 or not 1 <= audio.shape[0] <= 2:
        msg = f"expected audio of shape (1 or 2, frames), got {audio.shape}"
        raise ValueError(msg)
    audio = np.ascontiguousarray(audio, np.float32)
    meter = LoudnessMeter(sample_rate=sample_rate, channels=audio.shape[0])
    for start in range(0, audio.shape[1], BLOCK_FRAMES):
        meter.process(audio[:, start : start + BLOCK_FRAMES])
    active = meter.active()
    duration_s = audio.shape[1] / sample_rate
    f0 = estimate_f0(audio, sample_rate=sample_rate, active=active, mode=f0_mode)
    spectral = analyse_spectrum(audio, sample_rate=sample_rate, active=active)
    narrowband = measure_narrowband(audio, sample_rate=sample_rate, f0=f0, spectral=spectral)
    band = informed_band(f0, spectral, sample_rate=sample_rate)
    hops = np.flatnonzero(active)
    active_s = min(hops.size / 10.0, duration_s)
    rms_dbfs, noise_floor_dbfs = _levels(audio, sample_rate, active)
    side_to_mid_db, correlation, lr_balance_db = _stereo(audio)
    onsets, transient_db = _attacks(meter, active)
    return TrackFeatures(
        name=name,
        duration_s=duration_s,
        sample_rate=sample_rate,
        channels=audio.shape[0],
        active_s=active_s,
        active_share=active_s / duration_s if duration_s else 0.0,
        first_active_s=float(hops[0] / 10.0) if hops.size else math.nan,
        last_active_s=min(float((hops[-1] + 1) / 10.0), duration_s) if hops.size else math.nan,
        peak_dbfs=meter.sample_peak_dbfs,
        true_peak_dbtp=meter.true_peak_dbtp,
        rms_dbfs=rms_dbfs,
        crest_db=meter.sample_peak_dbfs - rms_dbfs if rms_dbfs > -math.inf else math.nan,
        noise_floor_dbfs=noise_floor_dbfs,
        integrated_lufs=meter.integrated_lufs,
        loudness_range_lu=meter.loudness_range_lu,
        max_short_term_lufs=meter.max_short_term_lufs,
        f0_hz=f0.f0_hz,
        f0_low_hz=f0.f0_low_hz,
        f0_high_hz=f0.f0_high_hz,
        voiced_share=f0.voiced_share,
        f0_confidence=f0.confidence,
        pyin_hz=f0.pyin_hz,
        pesto_hz=f0.pesto_hz,
        f0_agreement=f0.agreement,
        harmonic_strength=f0.strength,
        published_f0_hz=f0.published_hz,
        centroid_hz=spectral.centroid_hz,
        bandwidth_hz=spectral.bandwidth_hz,
        rolloff_hz=spectral.rolloff_hz,
        published_centroid_hz=spectral.published_centroid_hz,
        published_bandwidth_hz=spectral.published_bandwidth_hz,
        band_low_hz=band.low_hz,
        band_high_hz=band.high_hz,
        loudness_lufs=narrowband.lufs,
        loudness_centroid=narrowband.centroid,
        loudness_p_lufs=narrowband.p_lufs,
        loudness_informed=narrowband.informed,
        side_to_mid_db=side_to_mid_db,
        correlation=correlation,
        lr_balance_db=lr_balance_db,
        onsets_per_s=onsets / active_s if active_s else 0.0,
        transient_db=transient_db,
        third_octaves_db=spectral.third_octaves_db,
    )


def _levels(audio: Float32Array, sample_rate: int, active: BoolArray) -> tuple[float, float]:
    """RMS over the active time and noise floor, in dBFS, of the mean power of the channels."""
    edges = np.ceil(np.arange(active.size) * sample_rate / 10).astype(int)
    edges = edges[edges < audio.shape[1]]
    if edges.size == 0:
        return -math.inf, -math.inf
    energy = np.zeros(edges.size)
    for channel in audio:
        energy += np.add.reduceat(channel * channel, edges, dtype=np.float64)
    lengths = np.diff(edges, append=audio.shape[1]) * audio.shape[0]
    playing = active[: edges.size]
    rms = float(energy[playing].sum() / lengths[playing].sum()) if playing.any() else 0.0
    power = (energy / lengths)[energy > 0.0]
    floor = float(np.percentile(power, NOISE_FLOOR_PERCENTILE)) if power.size else 0.0
    return power_to_db(rms), power_to_db(floor)


def _stereo(audio: Float32Array) -> tuple[float, float, float]:
    """Side against mid in dB, correlation, and right against left in dB."""
    if audio.shape[0] == 1:
        return -math.inf, 1.0, 0.0
    ll, rr, lr = _products(audio[0], audio[1])
    if ll == 0.0 or rr == 0.0:
        balance = 0.0 if ll == rr else math.copysign(math.inf, rr - ll)
        return -math.inf if ll == rr else 0.0, math.nan, balance
    side, mid = max(ll + rr - 2 * lr, 0.0), max(ll + rr + 2 * lr, 0.0)
    # Two equal channels: what is left over is rounding, 140 dB down.
    side = side if side > 1e-14 * mid else 0.0
    side_to_mid_db = power_to_db(side / mid) if mid > 1e-14 * side else math.inf
    return side_to_mid_db, lr / math.sqrt(ll * rr), power_to_db(rr / ll)


@numba.njit(cache=True, nogil=True)
def _products(left: Float32Array, right: Float32Array) -> tuple[float, float, float]:
    """Return the sums of left², right² and left x right, in float64."""
    ll, rr, lr = 0.0, 0.0, 0.0
    for i in range(left.size):
        a, b = float(left[i]), float(right[i])
        ll += a * a
        rr += b * b
        lr += a * b
    return ll, rr, lr


def _attacks(meter: EnergyMeter, active: BoolArray) -> tuple[int, float]:
    """Count of attacks, and the median excess of the loudest 10 ms over 400 ms."""
    power = meter.segment_power()
    if power.size < 40 or not active.any():
        return (1 if active.any() else 0), 0.0
    floor = 10.0 ** ((meter.integrated_lufs - ONSET_RANGE_LU) / 10.0)
    level = 10.0 * np.log10(np.maximum(power, floor))
    # A rise over the last 30 ms, at its steepest point, one a note.
    before = np.maximum.reduce([np.r_[[level.min()] * k, level[:-k]] for k in (1, 2, 3)])
    rises = np.flatnonzero(level - before > ONSET_RISE_DB)
    onsets = 0
    last = -ONSET_SPACING
    for rise in rises:
        if rise - last >= ONSET_SPACING:
            onsets += 1
            last = int(rise)
    windows = np.lib.stride_tricks.sliding_window_view(power, 40)[::10]
    mean = windows.mean(axis=1)
    use = active[: mean.size] & (mean > 0.0)
    if not use.any():
        return onsets, 0.0
    return onsets, float(np.median(10.0 * np.log10(windows[use].max(axis=1) / mean[use])))
