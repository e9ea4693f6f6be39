"""The steps that look at one file: checked, or checked and measured, in one decode."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from flows.storage.locations import Place
from flows.storage.mirror import FilePlace, near_file
from flows.storage.source_files import SourceFiles
from flows.storage.store import Store, code_version
from pipeline.audio.check import TrackCheck, check_track
from pipeline.console.conditioning import ChannelUse
from stage1.features import TrackFeatures, examine
from stage1.pitch.f0 import Mode
from stage1.signal.file_faults import FileFaults, names_mid_side

__all__ = [
    "ANALYSE_CODE",
    "AUDIO_CODE",
    "CHECK_CODE",
    "METER_CODE",
    "Examined",
    "TrackJob",
    "check_step",
    "examine_step",
]

# The code that a step's results depend on: what :func:`flows.storage.store.code_version` takes.
AUDIO_CODE = (
    "pipeline.audio.stream",
    "pipeline.audio.info",
    "pipeline.audio.formats.kind",
    "pipeline.console.conditioning",
    "pipeline.audio.formats.containers",
    "pipeline.audio.formats.data_length",
    "pipeline.audio.formats.decoders",
    "pipeline.audio.formats.ffmpeg",
    "pipeline.audio.formats.flac_length",
    "pipeline.audio.formats.foreign",
    "pipeline.jit",
    "pipeline.audio.formats.mpeg_frames",
    "pipeline.audio.formats.mpeg_stream",
    "pipeline.audio.formats.ogg_pages",
    "pipeline.audio.formats.pcm",
    "pipeline.audio.formats.pyav",
    "pipeline.audio.formats.recordings",
    "pipeline.audio.formats.spliced_file",
    "pipeline.units",
)
METER_CODE = ("pipeline.loudness.meter", "pipeline.loudness.energy", "pipeline.loudness.true_peak")
CHECK_CODE = ("pipeline.audio.check", *AUDIO_CODE)
ANALYSE_CODE = ("stage1", "pipeline.audio.samples", *CHECK_CODE, *METER_CODE)


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


def check_step(job: TrackJob) -> TrackCheck:
    """Decode a file from end to end and say what is wrong with it."""
    store, path = Store(job.store), near_file(job.path)
    try:
        source = SourceFiles(store, {job.name: path})
    except OSError:
        return check_track(path)  # says what keeps it from being read
    key = store.key(
        "check",
        # MP3 and CAF are told from raw data by their suffix too
        inputs={"content": source.contents[job.name], "suffix": path.suffix.lower()},
        code_version=code_version(*CHECK_CODE),
    )
    with store.entry("check", key) as entry:
        if not entry.done:
            check = source.read(lambda: check_track(path))
            if not _lasts(check):
                return check
            entry.commit(asdict(check))
        return TrackCheck(**entry.record)


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


def examine_step(job: TrackJob) -> Examined:
    """Check a track and measure everything about it, in one decode."""
    store, path = Store(job.store), near_file(job.path)
    try:
        source = SourceFiles(store, {job.name: path})
    except OSError:
        return Examined(check_track(path), None, None)  # says what keeps it from being read
    content = source.contents[job.name]
    mid_side_name = names_mid_side(job.name)
    key = store.key(
        "analyse",
        inputs={
            "content": content,
            "suffix": path.suffix.lower(),
            "f0_mode": job.f0_mode,
            "channels": job.channels,
            "mid_side_name": mid_side_name,
        },
        code_version=code_version(
            *ANALYSE_CODE,
            distributions=("librosa", "pesto-pitch", "numpy", "scipy", "soxr", "torch"),
        ),
    )
    with store.entry("analyse", key) as entry:
        if not entry.done:
            found = source.read(
                lambda: examine(
                    path,
                    name=job.name,
                    f0_mode=job.f0_mode,
                    mid_side_name=mid_side_name,
                    use=job.channels,
                )
            )
            if not _lasts(found.check):
                return Examined(found.check, None, None, content)
            np.save(entry.path / "envelope.npy", found.envelope)
            told = None if found.features is None else found.features.to_json()
            entry.commit(
                {
                    "check": asdict(found.check),
                    "features": told,
                    "faults": found.faults.to_record(),
                }
            )
        check = TrackCheck(**entry.record["check"])
        if entry.record["features"] is None:
            return Examined(check, None, None, content)
        # The same file may be known by another name in another session.
        features = replace(TrackFeatures.from_json(entry.record["features"]), name=job.name)
        faults = FileFaults.from_record(entry.record["faults"])
        return Examined(check, features, entry.path / "envelope.npy", content, faults)
