"""The steps that look at one file: checked, or checked and measured, in one decode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from flows.storage.locations import Place
from flows.storage.mirror import FilePlace, near_file
from flows.storage.source_files import SourceFiles
from flows.storage.step import Kept, Record, Unkept, step
from flows.storage.store import Store
from pipeline.audio.check import TrackCheck, check_track
from pipeline.console.conditioning import ChannelUse
from stage1.features import TrackFeatures, examine
from stage1.pitch.f0 import Mode
from stage1.signal.file_faults import FileFaults, names_mid_side

__all__ = [
    "Examined",
    "TrackJob",
    "check_step",
    "examine_step",
]


@dataclass(frozen=True)
class TrackJob:
    """One file to look at: a track by its name, or a reference.

    ``channels`` is what the user says of its channels; None where the sound decides.
    """

    path: FilePlace
    name: str
    store: Place
    f0_mode: Mode = "windows"
    channels: ChannelUse | None = None


def _lasts(check: TrackCheck) -> bool:
    """Whether the same content will fail again, if it failed: the system may have refused it."""
    return check.failure is None or check.non_finite_s is not None


def track_source(job: TrackJob, store: Store) -> SourceFiles:
    """Return the one file of a job."""
    return SourceFiles(store, {job.name: near_file(job.path)})


def track_inputs(job: TrackJob, contents: Mapping[str, str]) -> dict[str, Any]:
    """Return what tells one file from another: MP3 and CAF are told from raw data by suffix too."""
    return {"content": contents[job.name], "suffix": near_file(job.path).suffix.lower()}


@step(
    "check",
    sources=track_source,
    unreadable=lambda job: check_track(near_file(job.path)),  # says what keeps it from being read
    inputs=track_inputs,
    result=lambda _job, kept: TrackCheck(**kept.record),
)
def check_step(job: TrackJob, _folder: Path) -> Record | Unkept:
    """Decode a file from end to end and say what is wrong with it."""
    check = check_track(near_file(job.path))
    return asdict(check) if _lasts(check) else Unkept(asdict(check))


@dataclass(frozen=True)
class Examined:
    """What one decode of a track told.

    Parameters
    ----------
    check
        What is wrong with it, and what a mixer should know of it.
    features
        None where the check failed.
    envelope
        A numpy file: K-weighted power of each 10 ms, float32; None where the check failed.
    content
        A hash of the file's content: what is done with the track later is done with the same.
    faults
        What is wrong with its samples; all of the above but the check is of what was set right.
    """

    check: TrackCheck
    features: TrackFeatures | None
    envelope: Path | None
    content: str = ""
    faults: FileFaults = field(default_factory=FileFaults)


def _examine_inputs(job: TrackJob, contents: Mapping[str, str]) -> dict[str, Any]:
    return {
        **track_inputs(job, contents),
        "f0_mode": job.f0_mode,
        "channels": job.channels,
        "mid_side_name": names_mid_side(job.name),
    }


def _examined(job: TrackJob, kept: Kept) -> Examined:
    check, content = TrackCheck(**kept.record["check"]), kept.contents[job.name]
    if kept.record["features"] is None:
        return Examined(check, None, None, content)
    # The same file may be known by another name in another session.
    features = replace(TrackFeatures.from_json(kept.record["features"]), name=job.name)
    faults = FileFaults.from_record(kept.record["faults"])
    return Examined(check, features, kept.folder / "envelope.npy", content, faults)


@step(
    "analyse",
    sources=track_source,
    unreadable=lambda job: Examined(check_track(near_file(job.path)), None, None),
    inputs=_examine_inputs,
    result=_examined,
    libraries=("librosa", "pesto-pitch", "numpy", "scipy", "soxr", "torch"),
)
def examine_step(job: TrackJob, folder: Path) -> Record | Unkept:
    """Check a track and measure everything about it, in one decode."""
    examined = examine(
        near_file(job.path),
        name=job.name,
        f0_mode=job.f0_mode,
        mid_side_name=names_mid_side(job.name),
        use=job.channels,
    )
    if not _lasts(examined.check):
        return Unkept({"check": asdict(examined.check), "features": None})
    np.save(folder / "envelope.npy", examined.envelope)
    return {
        "check": asdict(examined.check),
        "features": None if examined.features is None else examined.features.to_json(),
        "faults": examined.faults.to_record(),
    }
