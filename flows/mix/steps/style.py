"""The steps of stage 2: the style of a reference, and the console settings that lead to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flows.engines.threads import one_torch_thread
from flows.mix.steps.balance import BalancedStem, cut
from flows.mix.steps.tracks import TrackJob, track_inputs, track_source
from flows.storage.locations import Place
from flows.storage.mirror import FilePlace, near_file
from flows.storage.source_files import SourceFiles
from flows.storage.step import Kept, Record, step
from flows.storage.store import Store
from pipeline.audio.stream import probe, read
from pipeline.console.parameters import Aspect
from pipeline.report.stereo import StereoField, measure_stereo
from pipeline.units import FloatArray, db_to_amplitude
from stage2.console.search_space import stem_guards
from stage2.console.statistics import Digest, digest_stems
from stage2.controller.inputs import reference_windows
from stage2.controller.predict import Prediction, predict
from stage2.priors.sibilance import deesser_settings
from stage2.reference.faults import Condition
from stage2.reference.inspection import inspect_reference
from stage2.reference.trust import without_lost_bands
from stage2.refine.guardrails import settle_in_corridor
from stage2.refine.search import Refined, RefineOptions, Start, StemInput, refine
from stage2.style.alignment import find_alignment
from stage2.style.measure import Style, StyleDistance, measure_style
from stage2.style.target import StyleTarget

__all__ = [
    "ConsoleJob",
    "HeardReference",
    "predict_step",
    "reference_notes",
    "refine_step",
    "settle_step",
    "style_step",
]


@dataclass(frozen=True)
class HeardReference:
    """What one read of a reference told.

    Parameters
    ----------
    style
        Of the whole recording, mended.
    windows
        A numpy file: what the controller hears in windows over it, mended,
        ``(windows, stage2.controller.inputs.REFERENCE_FIGURES)`` float32.
    stereo
        The stereo field of the whole recording, as it is.
    content
        A hash of the file's content.
    condition
        The faults of the recording, and which figures can be trusted all the same.
    """

    style: Style
    windows: Path
    stereo: StereoField
    content: str = ""
    condition: Condition = field(default_factory=Condition)


def _reference_style(job: TrackJob, kept: Kept) -> HeardReference:
    return HeardReference(
        Style.from_record(kept.record["style"]),
        kept.folder / "windows.npy",
        StereoField.from_record(kept.record["stereo"]),
        kept.contents[job.name],
        Condition.from_record(kept.record["condition"]),
    )


@step(
    "style",
    sources=track_source,
    inputs=track_inputs,
    result=_reference_style,
    libraries=("numpy", "scipy", "soundfile", "torch"),
)
def style_step(job: TrackJob, folder: Path) -> Record:
    """Measure the style of a reference, and what the controller hears of it, in one read."""
    path = near_file(job.path)
    audio = read(path)
    rate = probe(path).sample_rate
    stereo = measure_stereo(audio, sample_rate=rate)
    audio, condition = inspect_reference(audio, sample_rate=rate)
    np.save(folder / "windows.npy", reference_windows(audio, sample_rate=rate))
    return {
        "style": measure_style(audio, sample_rate=rate).to_record(),
        "stereo": stereo.to_record(),
        "condition": condition.to_record(),
    }


def reference_notes(paths: Sequence[Path], references: Sequence[HeardReference]) -> tuple[str, ...]:
    """Return what is to be said about the faults of references."""
    return tuple(
        f"reference {path.name} {fault}"
        for path, reference in zip(paths, references, strict=True)
        for fault in reference.condition.faults
    )


@dataclass(frozen=True)
class ConsoleJob:
    """What stage 2 needs: the stems' excerpts, where they start, and the style that is wanted.

    Parameters
    ----------
    target
        The style that is wanted.
    segments
        Features of segments of the references, ``(segments, REFERENCE_FIGURES)`` float32.
    conditions
        Faults of the references.
    is_blend
        Whether several styles make the target, so that none of them is followed moment by moment.
    target_lufs, ceiling_dbtp
        The delivery that refinement judges after.
    start
        A prediction to refine or to settle; None for the balanced mix.
    on_step
        Told of refinement's steps, those done and those in all.
    """

    stems: tuple[BalancedStem, ...]
    start_gain_db: tuple[float, ...]
    centred: tuple[bool, ...]
    max_spread: tuple[float, ...]
    target: StyleTarget
    segments: npt.NDArray[np.float32]
    references: tuple[FilePlace, ...]
    match: tuple[Aspect, ...]
    target_lufs: float
    ceiling_dbtp: float
    sample_rate: int
    pieces: tuple[tuple[int, int], ...]
    store: Place
    conditions: tuple[Condition, ...] = ()
    is_blend: bool = False
    start: Start | None = None
    on_step: Callable[[int, int], None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Nobody in another process can be told of the steps.
        return {**self.__dict__, "on_step": None}

    def prediction_inputs(self, contents: Mapping[str, str]) -> dict[str, Any]:
        """Return what the controller's prediction depends on; ``contents`` of the references."""
        return {
            "stems": [[stem.name, stem.key] for stem in self.stems],
            "start_gain_db": self.start_gain_db,
            "centred": self.centred,
            "max_spread": self.max_spread,
            "levels_lufs": [stem.loudness_lufs for stem in self.stems],
            "target": self.target.to_record(),
            "segments": self.segments.tolist(),
            "references": [contents[str(near_file(path))] for path in self.references],
            "match": list(self.match),
        }

    def digest(self) -> Digest:
        """Return the digest of the stems' excerpts."""
        store = Store(self.store)
        excerpts = tuple((store.local(stem.excerpt), stem.key) for stem in self.stems)
        return _digest(excerpts, self.sample_rate)

    def read_stems(self) -> tuple[StemInput, ...]:
        """Return the stems with their audio."""
        store = Store(self.store)
        digest = self.digest()
        guards = stem_guards(digest, centred=self.centred, max_spread=self.max_spread)
        return tuple(
            StemInput(
                name=stem.name,
                audio=np.load(store.local(stem.excerpt)),
                gain_db=gain_db,
                level_lufs=stem.loudness_lufs,
                guard=guard,
                deesser=deesser_settings(stem.name, digest, row),
            )
            for row, (stem, gain_db, guard) in enumerate(
                zip(self.stems, self.start_gain_db, guards, strict=True)
            )
        )


@lru_cache(maxsize=1)
def _digest(excerpts: tuple[tuple[Path, str], ...], sample_rate: int) -> Digest:
    """Digest excerpts, named by file and content: prediction and refinement start from the same."""
    stems = [np.load(path) for path, _ in excerpts]
    digest: Digest = digest_stems(stems, sample_rate=sample_rate)
    return digest


def _reference_files(job: ConsoleJob, store: Store) -> SourceFiles:
    return SourceFiles(store, {str(path): path for path in map(near_file, job.references)})


def _prediction(_job: ConsoleJob, kept: Kept) -> Prediction:
    return Prediction(
        strips=tuple(kept.record["strips"]),
        bus=kept.record["bus"],
        strips_spread=tuple(kept.record["strips_spread"]),
        bus_spread=kept.record["bus_spread"],
    )


@step(
    "predict",
    sources=_reference_files,
    inputs=ConsoleJob.prediction_inputs,
    result=_prediction,
    libraries=("torch",),
)
def predict_step(job: ConsoleJob, _folder: Path) -> Record:
    """Let the controller predict the console settings."""
    with one_torch_thread():
        prediction = predict(
            job.read_stems(),
            job.target,
            job.segments,
            sample_rate=job.sample_rate,
            match=frozenset(job.match),
            digest=job.digest(),
        )
    return asdict(prediction)


def _refine_inputs(job: ConsoleJob, contents: Mapping[str, str]) -> dict[str, Any]:
    return {
        **job.prediction_inputs(contents),
        "target_lufs": job.target_lufs,
        "ceiling_dbtp": job.ceiling_dbtp,
        "start": None if job.start is None else asdict(job.start),
    }


def _refined(_job: ConsoleJob, kept: Kept) -> tuple[Refined, str]:
    return _refined_from(kept.record["refined"]), kept.record["note"]


@step(
    "refine",
    sources=_reference_files,
    inputs=_refine_inputs,
    result=_refined,
    libraries=("torch",),
)
def refine_step(job: ConsoleJob, _folder: Path) -> Record:
    """Find the console settings; return them and what is to be said about how."""
    # On one thread the settings do not depend on the machine, and on a busy one the many small
    # operations do not wait for each other.
    with one_torch_thread():
        stems = job.read_stems()
        aligned, note = _aligned_reference(job, stems)
        refined = refine(
            stems,
            job.target,
            sample_rate=job.sample_rate,
            target_lufs=job.target_lufs,
            ceiling_dbtp=job.ceiling_dbtp,
            start=job.start,
            digest=job.digest(),
            aligned=aligned,
            options=RefineOptions(match=frozenset(job.match)),
            on_step=job.on_step,
        )
    return {"refined": asdict(refined), "note": note}


@step(
    "settle",
    sources=_reference_files,
    inputs=_refine_inputs,
    result=_refined,
    libraries=("torch",),
)
def settle_step(job: ConsoleJob, _folder: Path) -> Record:
    """Take the prediction that the job starts at; return it held within the guardrails."""
    if job.start is None:
        raise ValueError("there is no prediction to settle: give the job a start")
    with one_torch_thread():
        settled = settle_in_corridor(
            job.read_stems(),
            job.start,
            job.target,
            sample_rate=job.sample_rate,
            target_lufs=job.target_lufs,
            ceiling_dbtp=job.ceiling_dbtp,
            match=frozenset(job.match),
            digest=job.digest(),
        )
    return {"refined": asdict(settled), "note": ""}


def _aligned_reference(
    job: ConsoleJob, stems: Sequence[StemInput]
) -> tuple[FloatArray | None, str]:
    """Return a reference that is a mix of this very song, cut to the excerpt, where there is one.

    Only where it is the one reference: with several, a blend of styles is wanted.
    """
    if job.is_blend or len(job.references) != 1 or Aspect.LEVEL not in job.match:
        return None, ""
    path = near_file(job.references[0])
    reference = read(path, sample_rate=job.sample_rate)
    if reference.shape[0] == 1:
        reference = np.repeat(reference, 2, axis=0)
    condition = job.conditions[0] if job.conditions else Condition()
    reference = condition.repair.apply(reference, sample_rate=job.sample_rate)
    total = np.zeros_like(stems[0].audio)
    for stem in stems:
        total += stem.audio * np.float32(db_to_amplitude(stem.gain_db))
    edges = np.cumsum([0, *(length for _, length in job.pieces)])
    found = find_alignment(
        [
            (start / job.sample_rate, total[:, first:last])
            for (start, _), first, last in zip(job.pieces, edges[:-1], edges[1:], strict=True)
        ],
        reference,
        sample_rate=job.sample_rate,
    )
    if not found.same_song:
        return None, ""
    lag = round(found.lag_s * job.sample_rate)
    aligned = np.concatenate(
        [cut(reference, start - lag, length, job.sample_rate) for start, length in job.pieces],
        axis=1,
    )
    aligned = without_lost_bands(aligned, condition.trust, sample_rate=job.sample_rate)
    note = (
        f"the reference is a mix of this very song (onsets correlate {found.similarity:.2f} at "
        f"{found.lag_s:+.2f} s), so the stem levels follow it moment by moment"
    )
    return aligned, note


def _refined_from(record: Mapping[str, Any]) -> Refined:
    def distance(values: Mapping[str, float]) -> StyleDistance:
        return StyleDistance(**values)

    predicted = record["predicted"]
    return Refined(
        strips=tuple(record["strips"]),
        bus=record["bus"],
        start=distance(record["start"]),
        end=distance(record["end"]),
        history=tuple(distance(values) for values in record["history"]),
        level_change_lu=tuple(record["level_change_lu"]),
        predicted=None if predicted is None else distance(predicted),
    )
