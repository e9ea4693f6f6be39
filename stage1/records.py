"""The record of everything known of one track: as a table row and as JSON too."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from stage1.loudness.narrowband import METHODS, Band, NarrowbandLoudness
from stage1.loudness.sones import SonesLoudness
from stage1.pitch.f0 import F0Estimate
from stage1.signal.levels import Stereo
from stage1.signal.spectral import THIRD_OCTAVES_HZ, Spectral

__all__ = ["Attacks", "Extent", "TrackFeatures", "TrackLevels"]


@dataclass(frozen=True)
class Extent:
    """How long a track is, and when it plays.

    Parameters
    ----------
    duration_s, sample_rate, channels
        Length in seconds, rate in Hz (after resampling), 1 or 2.
    active_s, active_share
        Time in which the track plays, in seconds and as a share of its length.
    first_active_s, last_active_s
        Where it begins and stops to play; NaN if it never does.
    """

    duration_s: float
    sample_rate: int
    channels: int
    active_s: float
    active_share: float
    first_active_s: float
    last_active_s: float


@dataclass(frozen=True)
class TrackLevels:
    """How high the samples of a track are.

    Parameters
    ----------
    peak_dbfs, true_peak_dbtp, rms_dbfs, crest_db
        Largest sample; largest oversampled value; root mean square over the active time; peak
        over RMS (NaN for silence).
    noise_floor_dbfs
        RMS of the quietest 5 % of the 100 ms that are not digital silence: the hiss.
    integrated_lufs, loudness_range_lu, max_short_term_lufs
        BS.1770-5 loudness of all channels, EBU Tech 3342 range, largest 3 s loudness.
    """

    peak_dbfs: float
    true_peak_dbtp: float
    rms_dbfs: float
    crest_db: float
    noise_floor_dbfs: float
    integrated_lufs: float
    loudness_range_lu: float
    max_short_term_lufs: float


@dataclass(frozen=True)
class Attacks:
    """The attacks of a track.

    Parameters
    ----------
    onsets_per_s
        A second of active time.
    transient_db
        Median over the active time of the loudest 10 ms against the 400 ms around it.
    """

    onsets_per_s: float
    transient_db: float


# Columns that are not called as the field is; None for what is in no table.
_COLUMNS: dict[tuple[str, str], str | None] = {
    ("pitch", "confidence"): "f0_confidence",
    ("pitch", "pesto_share"): None,
    ("pitch", "agreement"): "f0_agreement",
    ("pitch", "strength"): "harmonic_strength",
    ("pitch", "published_hz"): "published_f0_hz",
    ("spectrum", "third_octaves_db"): None,
    ("band", "low_hz"): "band_low_hz",
    ("band", "high_hz"): "band_high_hz",
    **{("narrowband", method): f"loudness_{method}" for method in METHODS},
    ("sones", "lufs"): "loudness_sones",
    ("sones", "high_share"): None,
    ("sones", "rise_limit_lu"): None,
}


@dataclass(frozen=True)
class TrackFeatures:
    """What was measured of one track, in the order of its table.

    Parameters
    ----------
    name
        The track, as the session names it.
    band
        The informed band.
    timbre
        A value for each of :data:`stage1.timbre.descriptors.TIMBRE_NAMES`.
    """

    name: str
    extent: Extent
    levels: TrackLevels
    pitch: F0Estimate
    spectrum: Spectral
    band: Band
    narrowband: NarrowbandLoudness
    sones: SonesLoudness
    stereo: Stereo
    attacks: Attacks
    timbre: tuple[float, ...]

    @property
    def pitched(self) -> bool:
        """Whether the track has an f0."""
        return not math.isnan(self.pitch.f0_hz)

    @property
    def silent(self) -> bool:
        """Whether the track never plays."""
        return self.extent.active_s == 0.0

    @property
    def channels(self) -> int:
        """1 or 2."""
        return self.extent.channels

    @property
    def true_peak_dbtp(self) -> float:
        """The largest oversampled value."""
        return self.levels.true_peak_dbtp

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
        return self.sones.lufs if method == "sones" else self.narrowband.by(method)

    def to_row(self) -> dict[str, str | int | float]:
        """Return the record as one row of a table, one plain value a column, without the timbre."""
        row: dict[str, str | int | float] = {"name": self.name}
        for group, record in asdict(self).items():
            if isinstance(record, dict):
                columns = {_COLUMNS.get((group, name), name): v for name, v in record.items()}
                row |= {name: v for name, v in columns.items() if name is not None}
        levels = (f"level_{centre:g}hz_db".replace(".", "_") for centre in THIRD_OCTAVES_HZ)
        row |= zip(levels, self.spectrum.third_octaves_db, strict=True)
        return row

    def to_json(self) -> str:
        """Return the record as JSON; NaN and infinity, which JSON lacks, as strings."""
        return json.dumps(_plain(asdict(self)))

    @classmethod
    def from_json(cls, text: str) -> TrackFeatures:
        """Return the record that :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If a field is missing or unknown, as in a record of another version.
        """
        return _restored(cls, json.loads(text))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _restored(kind: Any, value: Any) -> Any:
    """Return a value of the type ``kind`` as :func:`_plain` wrote it."""
    if not is_dataclass(kind):
        if isinstance(value, list):
            return tuple(float(item) for item in value)
        return float(value) if kind is float else value
    names = {field.name for field in fields(kind)}
    if not isinstance(value, dict) or value.keys() != names:
        odd = ", ".join(sorted(names ^ (value.keys() if isinstance(value, dict) else set())))
        msg = f"not a record of this version (missing or unknown: {odd}): analyse again"
        raise ValueError(msg)
    hints = get_type_hints(kind)
    record: Any = kind
    return record(**{name: _restored(hints[name], item) for name, item in value.items()})
