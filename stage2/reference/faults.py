"""What is wrong with a reference, what of it can be mended, and which of its figures to trust.

A reference may be a low-rate copy, a vinyl rip, a file with a dead or an inverted channel. Such a
fault is of the copy, not of the record, and no engineer would follow it. What can be undone is
undone before the style is measured; figures that are lost are named by a :class:`Trust`, and
:mod:`stage2.reference.trust` fills them in from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import scipy.signal

from pipeline.units import FloatArray
from stage2.style.envelopes import RANGES_HZ
from stage2.style.measure import THIRD_OCTAVES_HZ

__all__ = ["Condition", "Fault", "Repair", "Trust"]

# Of the high-pass of the side against that of the middle.
_ELLIPTIC = 3.0


@dataclass(frozen=True)
class Trust:
    """Which figures of a style can be followed.

    Parameters
    ----------
    bands
        Of each third octave: of the spectrum and of that of typical moments.
    width, width_by_range, imbalance, punch_by_range
        As in :class:`stage2.style.measure.Style`.
    dynamics
        Of the crest factor and of the highest peak.
    loudness
        Of the integrated loudness.
    """

    bands: tuple[bool, ...] = (True,) * len(THIRD_OCTAVES_HZ)
    width: bool = True
    width_by_range: tuple[bool, ...] = (True,) * len(RANGES_HZ)
    imbalance: bool = True
    punch_by_range: tuple[bool, ...] = (True,) * len(RANGES_HZ)
    dynamics: bool = True
    loudness: bool = True

    @property
    def whole(self) -> bool:
        """Whether every figure can be followed."""
        return self == Trust()


@dataclass(frozen=True)
class Repair:
    """What undoes the faults of channels and of the lowest frequencies, on any excerpt.

    Parameters
    ----------
    offset
        Taken from each channel first.
    sources
        The channel that each channel of the mended audio is made of.
    gains
        Of each channel, after that.
    high_pass_hz
        Under it nothing stays, and an octave and a half over it only the middle does, as in a
        record cutter's elliptic filter; 0 for no filter.
    """

    offset: tuple[float, ...] = (0.0, 0.0)
    sources: tuple[int, int] = (0, 1)
    gains: tuple[float, float] = (1.0, 1.0)
    high_pass_hz: float = 0.0

    def apply(self, audio: FloatArray, *, sample_rate: int) -> FloatArray:
        """Return ``(2, frames)`` mended; the very array where there is nothing to mend."""
        if self == Repair():
            return audio
        mended = audio.astype(np.float64) - np.asarray(self.offset)[:, None]
        mended = mended[list(self.sources)] * np.asarray(self.gains)[:, None]
        if self.high_pass_hz:
            middle, side = (mended[0] + mended[1]) / 2.0, (mended[0] - mended[1]) / 2.0
            middle = _high_pass(middle, self.high_pass_hz, sample_rate)
            side = _high_pass(side, _ELLIPTIC * self.high_pass_hz, sample_rate)
            mended = np.stack((middle + side, middle - side))
        return np.asarray(mended, np.float32)


@dataclass(frozen=True)
class Fault:
    """One fault of a reference.

    Parameters
    ----------
    kind
        Its name, for programs: ``"band-limited"``, ``"dead channel"``.
    what
        What is wrong, with the figure.
    consequence
        What is done about it.
    """

    kind: str
    what: str
    consequence: str

    def __str__(self) -> str:
        return f"{self.what}: {self.consequence}"


@dataclass(frozen=True)
class Condition:
    """The state that a reference is in."""

    faults: tuple[Fault, ...] = ()
    trust: Trust = field(default_factory=Trust)
    repair: Repair = field(default_factory=Repair)

    def to_record(self) -> dict[str, Any]:
        """Return the condition as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Condition:
        """Return the condition that :meth:`to_record` wrote."""

        def tuples(values: Mapping[str, Any]) -> dict[str, Any]:
            return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}

        return cls(
            tuple(Fault(**fault) for fault in record["faults"]),
            Trust(**tuples(record["trust"])),
            Repair(**tuples(record["repair"])),
        )


def _high_pass(signal: FloatArray, cutoff_hz: float, sample_rate: int) -> FloatArray:
    sections = scipy.signal.butter(8, cutoff_hz, "highpass", fs=sample_rate, output="sos")
    return np.asarray(scipy.signal.sosfiltfilt(sections, signal))
