"""Everything that is measured of one track, in one pass and a look at passages.

A track is decoded once. What a single pass can measure is measured block by block; what needs to
know first where the track plays (pitch, bands) reads passages afterwards, of a track that had to be
decoded from memory unless it is longer than :data:`HELD_BYTES`, else from the file again: memory is
bounded however long a track is. Plain PCM is not kept: reading it again takes less time than it
takes to get the memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.audio.check import TrackCheck, check_track
from pipeline.audio.samples import FileSamples, HeldSamples, Samples
from pipeline.audio.stream import AudioInfo, AudioStream, probe
from pipeline.console.conditioning import ChannelUse, Conditioning
from pipeline.errors import InputError
from pipeline.loudness.meter import BLOCK_FRAMES, LoudnessMeter
from pipeline.loudness.true_peak import as_block
from pipeline.units import BoolArray, Float32Array
from stage1.loudness.narrowband import informed_band, measure_narrowband
from stage1.loudness.sones import measure_sones
from stage1.pitch.f0 import Mode, estimate_f0
from stage1.records import Attacks, Extent, TrackFeatures, TrackLevels
from stage1.signal.file_faults import FileFaults, Moments, find_faults
from stage1.signal.levels import LevelMeter, measure_attacks
from stage1.signal.spectral import SpectrumMeter
from stage1.timbre.descriptors import measure_timbre

__all__ = [
    "HELD_BYTES",
    "Examination",
    "TrackAnalyser",
    "TrackFeatures",
    "examine",
]


HELD_BYTES = 128 * 1024**2
"""A longer track is not kept in memory: 5 minutes 50 of stereo at 48 kHz."""


class TrackAnalyser:
    """Measures a track that comes in blocks; the size of the blocks changes no bit.

    Parameters
    ----------
    sample_rate
        In Hz.
    channels
        1 or 2.
    frames
        Length of the track, in samples.

    Raises
    ------
    ValueError
        If there are more channels.
    """

    def __init__(self, *, sample_rate: int, channels: int, frames: int) -> None:
        if not 1 <= channels <= 2:
            msg = f"a track has 1 or 2 channels, not {channels}"
            raise ValueError(msg)
        self._frames = frames
        self._rate = sample_rate
        self._channels = channels
        self.meter = LoudnessMeter(sample_rate=sample_rate, channels=channels)
        self._levels = LevelMeter(sample_rate=sample_rate, channels=channels)
        self._spectrum = SpectrumMeter(sample_rate=sample_rate, channels=channels, frames=frames)

    def process(self, block: npt.ArrayLike) -> None:
        """Take the next block, ``(channels, frames)`` float32, of any length."""
        samples = as_block(block, self._channels)
        self.meter.process(samples)
        self._levels.process(samples)
        self._spectrum.process(samples)

    def moments(self) -> Moments:
        """Return the sums of each 100 ms so far."""
        return self._levels.moments()

    def result(self, samples: Samples, *, name: str, f0_mode: Mode = "windows") -> TrackFeatures:
        """Return the features; ends the measurement.

        Parameters
        ----------
        samples
            The same track, to look at passages of it.
        name, f0_mode
            As for :func:`examine`.
        """
        active = self.meter.active()
        extent = self._extent(active)
        spectrum = self._spectrum.result(active)
        pitch = estimate_f0(samples, active=active, mode=f0_mode)
        lufs = self.meter.integrated_lufs
        onsets, transient_db = measure_attacks(self.meter, active)
        return TrackFeatures(
            name=name,
            extent=extent,
            levels=self._measured_levels(active),
            pitch=pitch,
            spectrum=spectrum,
            band=informed_band(pitch, spectrum, sample_rate=self._rate),
            narrowband=measure_narrowband(samples, f0=pitch, spectral=spectrum, meter=self.meter),
            sones=measure_sones(samples, active=active, integrated_lufs=lufs),
            stereo=self._levels.image(),
            attacks=Attacks(onsets / extent.active_s if extent.active_s else 0.0, transient_db),
            timbre=measure_timbre(samples, active=active),
        )

    def _extent(self, active: BoolArray) -> Extent:
        hops = np.flatnonzero(active)
        duration_s = self._frames / self._rate
        active_s = min(hops.size / 10.0, duration_s)
        return Extent(
            duration_s=duration_s,
            sample_rate=self._rate,
            channels=self._channels,
            active_s=active_s,
            active_share=active_s / duration_s if duration_s else 0.0,
            first_active_s=float(hops[0] / 10.0) if hops.size else math.nan,
            last_active_s=min(float((hops[-1] + 1) / 10.0), duration_s) if hops.size else math.nan,
        )

    def _measured_levels(self, active: BoolArray) -> TrackLevels:
        meter = self.meter
        rms_dbfs, noise_floor_dbfs = self._levels.levels(active)
        return TrackLevels(
            peak_dbfs=meter.sample_peak_dbfs,
            true_peak_dbtp=meter.true_peak_dbtp,
            rms_dbfs=rms_dbfs,
            crest_db=meter.sample_peak_dbfs - rms_dbfs if rms_dbfs > -math.inf else math.nan,
            noise_floor_dbfs=noise_floor_dbfs,
            integrated_lufs=meter.integrated_lufs,
            loudness_range_lu=meter.loudness_range_lu,
            max_short_term_lufs=meter.max_short_term_lufs,
        )


class _Kept:
    """A track on its way through, kept in memory where reading it again is dear."""

    def __init__(
        self,
        info: AudioInfo,
        *,
        frames: int,
        conditioning: Conditioning | None = None,
    ) -> None:
        self._path = info.path
        self._conditioning = conditioning
        self._rate = info.sample_rate
        self._audio: Float32Array | None = None
        self._done = 0
        if not info.plain and 4 * info.channels * frames <= HELD_BYTES:
            self._audio = np.empty((info.channels, frames), np.float32)

    def add(self, block: Float32Array) -> None:
        if self._audio is not None:
            self._audio[:, self._done : self._done + block.shape[1]] = block
            self._done += block.shape[1]

    @contextmanager
    def samples(self) -> Iterator[Samples]:
        if self._audio is not None:
            yield HeldSamples(self._audio, sample_rate=self._rate)
        else:
            with FileSamples(
                self._path, sample_rate=self._rate, conditioning=self._conditioning
            ) as stored:
                yield stored


@dataclass(frozen=True)
class Examination:
    """What one decode of a file told.

    Parameters
    ----------
    check
        What is wrong with the file, and what a mixer should know of it.
    features
        None if the file cannot be worked on.
    envelope
        K-weighted power of each 10 ms, float32; empty without features.
    faults
        What is wrong with its samples and was set right before anything of ``features`` and
        ``envelope`` was measured.
    """

    check: TrackCheck
    features: TrackFeatures | None
    envelope: Float32Array
    faults: FileFaults = field(default_factory=FileFaults)


def examine(
    path: Path,
    *,
    name: str,
    f0_mode: Mode = "windows",
    mid_side_name: bool = False,
    use: ChannelUse | None = None,
) -> Examination:
    """Check and measure a track of one or two channels in one decode.

    A file whose samples must be set right is decoded again, to be measured as it will be mixed.
    Never raises for what a file holds, as :func:`pipeline.audio.check.check_track`.

    Parameters
    ----------
    path, name
        The audio file, and the track's name in the session.
    f0_mode
        ``"windows"`` or ``"full"``, as for :func:`stage1.pitch.f0.estimate_f0`.
    mid_side_name, use
        As for :func:`stage1.signal.file_faults.find_faults`.
    """
    nothing = np.zeros(0, np.float32)
    try:
        info = probe(path)
    except (InputError, OSError):
        return Examination(check_track(path), None, nothing)
    if info.channels > 2:
        return Examination(check_track(path), None, nothing)
    analyser = TrackAnalyser(
        sample_rate=info.sample_rate, channels=info.channels, frames=info.frames
    )
    kept = _Kept(info, frames=info.frames)

    def listen(block: Float32Array) -> None:
        analyser.process(block)
        kept.add(block)

    check = check_track(path, listen=listen)
    if check.failure is not None:
        return Examination(check, None, nothing)
    faults = find_faults(analyser.moments(), mid_side_name=mid_side_name, use=use)
    if not faults.conditioning.neutral:
        analyser, kept = _measured(path, conditioning=faults.conditioning)
    with kept.samples() as samples:
        features = analyser.result(samples, name=name, f0_mode=f0_mode)
    envelope = analyser.meter.segment_power().astype(np.float32)
    return Examination(check, features, envelope, faults)


def _measured(path: Path, *, conditioning: Conditioning) -> tuple[TrackAnalyser, _Kept]:
    """Feed a file to an analyser, and keep it where reading it again is dear."""
    with AudioStream(path, conditioning=conditioning) as stream:
        rate, channels, frames = stream.sample_rate, stream.channels, stream.frames
        analyser = TrackAnalyser(sample_rate=rate, channels=channels, frames=frames)
        kept = _Kept(stream.info, frames=frames, conditioning=conditioning)
        for start in range(0, frames, BLOCK_FRAMES):
            block = stream.read(min(BLOCK_FRAMES, frames - start))
            analyser.process(block)
            kept.add(block)
    return analyser, kept
