"""What the report shows, as one record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.console.compressor import GainReduction
from pipeline.loudness.meter import Loudness
from pipeline.plan import Plan
from pipeline.report.findings import Finding
from pipeline.report.masking import Masking
from pipeline.report.plots import (
    Curve,
)
from pipeline.report.stereo import StereoField

__all__ = ["FileNote", "Report", "StemLevel"]


@dataclass(frozen=True)
class FileNote:
    """A file that is not in the mix, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class StemLevel:
    """How loud a stem is against all stems together, whose powers are added.

    Parameters
    ----------
    mix_lu
        After the strips; at most 0.
    start_lu
        The same as it was intended before stage 2; NaN if not known.
    """

    mix_lu: float
    start_lu: float = math.nan


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Parameters
    ----------
    title
        Name of the song or session.
    plan
        What was decided.
    mix_audio, reference_audio
        The delivered mix and the references, audio files on disk, for the players.
    loudness
        Measured on the delivered mix.
    target_lufs
        What was asked for; None where the reference gave it or nothing did.
    spectra
        Label → spectrum, in drawing order: this mix, the reference, the balanced start.
    spread
        Lower and upper edge of what the wanted style's spectrum varies by; None where none is
        followed.
    usual
        Stem → setting → what engineers usually set, lowest and highest; of the bus under "".
    widths
        Label → band in words → side over mid in dB, in the same order.
    true_peaks_dbtp
        Of each second of the mix; empty if not known.
    stereo
        Label → stereo field: this mix, the references.
    reductions
        Stem name → what its compressor did.
    bus_reduction, limiting
        What the bus's compressor and the limiter did.
    masking
        What of the stems covers what.
    findings
        What to look at in the mix.
    distances
        Label → metric with its unit at the end (``spectrum_db``) → distance to the reference.
    stem_levels
        Stem name → level.
    plan_summary
        What was done, in sentences; empty for those of :func:`describe`.
    tracks
        One mapping a track, the rows of ``results.csv``.
    left_out, skipped
        Files that were not meant to be mixed, and files that could not be.
    warnings
        Sentences.
    settings, versions
        Of the run, to be shown as they are.
    """

    title: str
    plan: Plan
    mix_audio: Path
    loudness: Loudness
    reference_audio: tuple[Path, ...] = ()
    target_lufs: float | None = None
    spectra: Mapping[str, Curve] = field(default_factory=dict)
    spread: tuple[Curve, Curve] | None = None
    usual: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    widths: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    true_peaks_dbtp: Sequence[float] = ()
    stereo: Mapping[str, StereoField] = field(default_factory=dict)
    reductions: Mapping[str, GainReduction] = field(default_factory=dict)
    bus_reduction: GainReduction | None = None
    limiting: GainReduction | None = None
    masking: Masking = field(default_factory=Masking)
    findings: tuple[Finding, ...] = ()
    distances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stem_levels: Mapping[str, StemLevel] = field(default_factory=dict)
    plan_summary: tuple[str, ...] = ()
    tracks: Sequence[Mapping[str, object]] = ()
    left_out: tuple[FileNote, ...] = ()
    skipped: tuple[FileNote, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
