"""The steps that render: a balanced stem through its strip, and all stems to the delivered mix.

What they render lies in the store, so that it is made once, wherever that was; who wants it in an
output folder copies it there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.mix.steps.balance import BalancedStem, BalanceJob, balance_step
from flows.storage.locations import Place
from flows.storage.step import Kept, Record, step
from flows.storage.store import Store
from pipeline.audio.stream import read
from pipeline.console.delivery import (
    Delivered,
    Density,
    deliver_at,
    fit_delivery,
    usual_limiting_db,
)
from pipeline.console.parameters import BUS
from pipeline.console.processors import GainReduction
from pipeline.loudness.meter import Loudness, measure
from pipeline.loudness.true_peak import true_peaks_dbtp
from pipeline.plan import Delivery
from pipeline.render.delivered_file import delivery_writer, tag_delivery
from pipeline.render.mixdown import sum_through_bus
from pipeline.render.strips import render_strip
from pipeline.report.masking import MaskingMeter
from pipeline.report.stereo import StereoField, measure_stereo
from pipeline.units import FloatArray
from stage2.style.measure import Style, measure_style

__all__ = ["DeliverJob", "Drive", "Mixdown", "RenderedStem", "StemJob", "deliver_step", "stem_step"]

_THREADS = 2  # that read stems, write and measure the mix; sums are made in the plan's order
_SIDES = "sides.flac"
# Of one mix at most; each lowers the ceiling by what was over it, and a little.
_ENCODINGS, _SPARE_DB, _LOWEST_CEILING_DBTP = 5, 0.02, -20.0
_LOWEST_DRIVE_DB = BUS.parameter("gain_db").low
# Under it a loudness is what was wanted; under the second it is the one that was measured.
_TOLERANCE_LU, _SAME_LU = 0.06, 0.02
_LIBRARIES = ("numpy", "scipy", "numba", "soundfile")


@dataclass(frozen=True)
class StemJob:
    """One balanced stem to render through its strip.

    Parameters
    ----------
    balance
        How the balanced stem was made: it is made again where the store lost it.
    settings
        Of the strip.
    level_lufs
        What its thresholds are relative to.
    bus_width
        Gain of the side signal on the bus, for the sides that a DAW session plays.
    """

    balance: BalanceJob
    balanced: BalancedStem
    settings: Mapping[str, float]
    level_lufs: float
    bus_width: float = 1.0

    @property
    def store(self) -> Place:
        """The store that keeps the stem."""
        return self.balance.store


@dataclass(frozen=True)
class RenderedStem:
    """A stem after its strip: a file of the store, 32-bit float WAV, and what it was made from.

    Parameters
    ----------
    sides
        What width and spread add to it, 24-bit FLAC, :data:`pipeline.console.processors.SIDES_DB`
        lower; None where they add nothing.
    """

    path: Path
    key: str
    loudness: Loudness
    compression: GainReduction
    deessing: GainReduction
    sides: Path | None = None


def _stem_inputs(job: StemJob, _contents: Mapping[str, str]) -> dict[str, Any]:
    return {
        "balanced": job.balanced.key,
        "settings": dict(job.settings),
        "level_lufs": job.level_lufs,
        "bus_width": job.bus_width,
    }


def _rendered_stem(_job: StemJob, kept: Kept) -> RenderedStem:
    return RenderedStem(
        kept.folder / "stem.wav",
        kept.key,
        _loudness(kept.record["loudness"]),
        _reduction(kept.record["compression"]),
        _reduction(kept.record["deessing"]),
        kept.folder / _SIDES if kept.record["has_sides"] else None,
    )


@step("console", inputs=_stem_inputs, result=_rendered_stem, libraries=_LIBRARIES)
def stem_step(job: StemJob, folder: Path) -> Record:
    """Render one balanced stem through its strip."""
    whole = Store(job.store).local(balance_step(job.balance).whole)
    plan = job.balance.plan
    done = render_strip(
        whole,
        job.settings,
        level_lufs=job.level_lufs,
        frames=plan.frames,
        sample_rate=plan.sample_rate,
        stem=folder / "stem.wav",
        sides=folder / _SIDES,
        bus_width=job.bus_width,
    )
    return {
        "loudness": _loudness_record(done.loudness),
        "compression": asdict(done.compression),
        "deessing": asdict(done.deessing),
        "has_sides": done.has_sides,
    }


@dataclass(frozen=True)
class Drive:
    """The drive into the limiter as a plan has it.

    Parameters
    ----------
    drive_db
        The bus's ``gain_db``.
    as_is
        Keep the plan's trim too, whatever loudness comes of it. Otherwise the trim follows the
        target, and the drive goes up where it is too low for that.
    """

    drive_db: float
    as_is: bool = False


@dataclass(frozen=True)
class DeliverJob:
    """Rendered stems to sum through the bus, limit and deliver.

    Parameters
    ----------
    stems
        In the order of the plan.
    bus
        Its settings; the drive is found here.
    target_lufs, density
        The loudness and, where one is wanted, the density of the mix.
    delivery
        The file to be written, and the ceiling.
    drive
        The drive of a plan, to be kept; None to find one.
    """

    stems: tuple[RenderedStem, ...]
    bus: Mapping[str, float]
    sample_rate: int
    frames: int
    target_lufs: float | None
    density: Density | None
    delivery: Delivery
    store: Place
    drive: Drive | None = None


@dataclass(frozen=True)
class Mixdown:
    """The delivered mix, a file of the store, and the drive and trim that were found for it.

    Parameters
    ----------
    true_peaks_dbtp
        Of each second of the mix.
    stereo
        The stereo field of the whole mix.
    masking
        :meth:`pipeline.report.masking.Masking.to_record` of the stems as they go into the bus.
    ceiling_dbtp
        The limiter's: lower than was asked for where an encoder raises peaks.
    limited_lufs
        Loudness after limiter and trim, before an encoder changed it.
    """

    path: Path
    drive_db: float
    trim_db: float
    loudness: Loudness
    style: Style
    bus_compression: GainReduction
    limiting: GainReduction
    stem_sum_lufs: float
    true_peaks_dbtp: tuple[float, ...]
    stereo: StereoField
    masking: Mapping[str, Any]
    ceiling_dbtp: float
    limited_lufs: float


def _deliver_inputs(job: DeliverJob, _contents: Mapping[str, str]) -> dict[str, Any]:
    delivery = job.delivery
    return {
        "stems": [stem.key for stem in job.stems],
        "bus": {**job.bus, "gain_db": 0.0},
        "sample_rate": job.sample_rate,
        "frames": job.frames,
        "target_lufs": job.target_lufs,
        "density": asdict(job.density) if job.density else None,
        "ceiling_dbtp": delivery.limiter_ceiling_dbtp,
        "format": delivery.format,
        "subtype": delivery.subtype,
        "dither_seed": delivery.dither_seed,
        "tags": [delivery.title, delivery.artist, delivery.album, delivery.date],
        "drive": None if job.drive is None else [asdict(job.drive), delivery.model_dump()],
    }


def _mixdown(job: DeliverJob, kept: Kept) -> Mixdown:
    record = kept.record
    return Mixdown(
        **{
            **record,
            "path": kept.folder / _mix_name(job),
            "loudness": _loudness(record["loudness"]),
            "style": Style.from_record(record["style"]),
            "bus_compression": _reduction(record["bus_compression"]),
            "limiting": _reduction(record["limiting"]),
            "true_peaks_dbtp": tuple(record["true_peaks_dbtp"]),
            "stereo": StereoField.from_record(record["stereo"]),
        }
    )


def _mix_name(job: DeliverJob) -> str:
    return f"mix.{job.delivery.format}"


@step("deliver", inputs=_deliver_inputs, result=_mixdown, libraries=(*_LIBRARIES, "torch"))
def deliver_step(job: DeliverJob, folder: Path) -> Record:
    """Sum stems through the bus, find the drive and trim of the delivery, and write the mix."""
    return _deliver(job, folder / _mix_name(job))


def _deliver(job: DeliverJob, path: Path) -> dict[str, Any]:
    rate, store = job.sample_rate, Store(job.store)
    masking = MaskingMeter([str(row) for row in range(len(job.stems))], sample_rate=rate)
    total = sum_through_bus(
        [store.local(stem.path) for stem in job.stems],
        job.bus,
        frames=job.frames,
        sample_rate=rate,
        on_stem=masking.process,
    )
    fitted, audio, ceiling_dbtp = _encoded(job, total.audio, path)
    with ThreadPoolExecutor(_THREADS) as pool:
        peaks = pool.submit(true_peaks_dbtp, audio, sample_rate=rate)
        loudness = pool.submit(measure, audio, sample_rate=rate)
        style = pool.submit(measure_style, audio, sample_rate=rate)
        stereo = pool.submit(measure_stereo, audio, sample_rate=rate)
        hidden = pool.submit(masking.result)
    tag_delivery(path, job.delivery, loudness.result(), sample_rate=rate)
    return {
        "ceiling_dbtp": ceiling_dbtp,
        "limited_lufs": fitted.loudness_lufs,
        "drive_db": fitted.drive_db,
        "trim_db": fitted.trim_db,
        "loudness": _loudness_record(loudness.result()),
        "style": style.result().to_record(),
        "bus_compression": asdict(total.compression),
        "limiting": asdict(fitted.limiting),
        "stem_sum_lufs": total.sum_lufs,
        "true_peaks_dbtp": peaks.result(),
        "stereo": stereo.result().to_record(),
        "masking": hidden.result().to_record(),
    }


def _encoded(
    job: DeliverJob, driven: FloatArray, path: Path
) -> tuple[Delivered, FloatArray, float]:
    """Fit the delivery and write the mix; return it, what is heard of it, and its ceiling.

    What a lossy encoder writes can be decoded to higher peaks than it was given: the limiter's
    ceiling is lowered by what they are over it, and the mix is limited and encoded again.
    """
    rate, wanted_dbtp = job.sample_rate, job.delivery.limiter_ceiling_dbtp
    ceiling_dbtp = wanted_dbtp
    margin_db = job.delivery.encoder_margin_db
    if job.drive is not None and job.delivery.format == "mp3" and margin_db > 0.0:
        # A plan knows what its encoder adds; rounded as the plan has the margin.
        ceiling_dbtp = round(wanted_dbtp - margin_db, 4)
    for turn in range(_ENCODINGS):
        fitted = _fitted(job, driven, ceiling_dbtp)
        _write(fitted.audio, path, rate, job.delivery)
        if job.delivery.format != "mp3":
            return fitted, fitted.audio, ceiling_dbtp
        decoded = read(path)
        over_db = max(true_peaks_dbtp(decoded, sample_rate=rate)) - wanted_dbtp
        if over_db <= 0.0 or turn == _ENCODINGS - 1:
            break
        ceiling_dbtp = max(round(ceiling_dbtp - over_db - _SPARE_DB, 2), _LOWEST_CEILING_DBTP)
    return fitted, decoded, ceiling_dbtp


def _fitted(job: DeliverJob, driven: FloatArray, ceiling: float) -> Delivered:
    """Return the delivery that is wanted of the bus before the limiter, ``(2, frames)``."""
    rate, delivery, target = job.sample_rate, job.delivery, job.target_lufs
    if job.drive is not None:
        # A lower loudness needs less of the limiter than the one that the drive was found for.
        softer = 0.0
        if not job.drive.as_is and target is not None and delivery.fitted_lufs is not None:
            softer = min(target - delivery.fitted_lufs, 0.0)
        kept = deliver_at(
            driven,
            sample_rate=rate,
            ceiling_dbtp=ceiling,
            drive_db=max(round(job.drive.drive_db + softer, 4), _LOWEST_DRIVE_DB),
            target_lufs=None if job.drive.as_is else target,
            trim_db=delivery.trim_db,
        )
        if job.drive.as_is or target is None or not math.isfinite(kept.loudness_lufs):
            return kept
        # Where the limiter could give no more for the same target, it is not asked again.
        as_before = (
            delivery.fitted_lufs == target
            and delivery.integrated_lufs is not None
            and abs(kept.loudness_lufs - delivery.integrated_lufs) <= _SAME_LU
        )
        if as_before or target - kept.loudness_lufs <= _TOLERANCE_LU:
            return kept
    if target is None:
        raise ValueError("there is neither a drive to keep nor a loudness to find one for")
    return fit_delivery(
        driven,
        sample_rate=rate,
        target_lufs=target,
        ceiling_dbtp=ceiling,
        density=job.density,
        most_limiting_db=usual_limiting_db(target),
    )


def _write(audio: FloatArray, path: Path, sample_rate: int, delivery: Delivery) -> None:
    with delivery_writer(path, delivery, sample_rate=sample_rate) as mix:
        mix.write(audio)


def _reduction(record: Mapping[str, Any]) -> GainReduction:
    return GainReduction(**{**record, "course_db": tuple(record["course_db"])})


def _loudness_record(loudness: Loudness) -> dict[str, Any]:
    return {**asdict(loudness), "short_term_lufs": loudness.short_term_lufs.tolist()}


def _loudness(record: Mapping[str, Any]) -> Loudness:
    return Loudness(**{**record, "short_term_lufs": np.asarray(record["short_term_lufs"])})
