"""The record of everything known of one track: as a table row and as JSON too."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from stage1.loudness.narrowband import METHODS
from stage1.signal.spectral import THIRD_OCTAVES_HZ

__all__ = ["TrackFeatures"]


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
        As :class:`stage1.pitch.f0.F0Estimate`; NaN for an unpitched track.
    pyin_hz, pesto_hz, f0_agreement, harmonic_strength, published_f0_hz
        What the ensemble is made of, and the f0 of the published method.
    centroid_hz, bandwidth_hz, rolloff_hz
        Means over the active time; NaN for silence.
    published_centroid_hz, published_bandwidth_hz
        Plain means, as the published method has them.
    band_low_hz, band_high_hz
        The informed band.
    loudness_lufs, loudness_centroid, loudness_p_lufs, loudness_informed, loudness_sones
        Loudness by each of :data:`stage1.loudness.narrowband.METHODS`, in LUFS.
    n5_sone, n5_phon
        As :class:`stage1.loudness.sones.SonesLoudness`.
    side_to_mid_db
        Level of the side against the mid; ``-inf`` for mono.
    correlation
        Of left and right, -1 to 1; 1 for mono, NaN where a channel is silent.
    lr_balance_db
        Level of right against left; 0 for mono and silence, infinite where one channel is silent.
    onsets_per_s
        Attacks a second of active time.
    transient_db
        Median over the active time of the loudest 10 ms against the 400 ms around it.
    third_octaves_db
        Level of each of :data:`stage1.signal.spectral.THIRD_OCTAVES_HZ` over the active time, in
        dBFS.
    timbre
        A value for each of :data:`stage1.timbre.descriptors.TIMBRE_NAMES`.
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
    loudness_sones: float
    n5_sone: float
    n5_phon: float
    side_to_mid_db: float
    correlation: float
    lr_balance_db: float
    onsets_per_s: float
    transient_db: float
    third_octaves_db: tuple[float, ...]
    timbre: tuple[float, ...]

    @property
    def pitched(self) -> bool:
        """Whether the track has an f0."""
        return not math.isnan(self.f0_hz)

    @property
    def silent(self) -> bool:
        """Whether the track never plays."""
        return self.active_s == 0.0

    def loudness(self, method: str) -> float:
        """Return the loudness in LUFS by one of :data:`stage1.loudness.narrowband.METHODS`.

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
        """Return the record as one row of a table, one plain value a column, without the timbre."""
        row: dict[str, str | int | float] = asdict(self)
        del row["third_octaves_db"], row["timbre"]
        levels = (f"level_{centre:g}hz_db".replace(".", "_") for centre in THIRD_OCTAVES_HZ)
        row |= zip(levels, self.third_octaves_db, strict=True)
        return row

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
