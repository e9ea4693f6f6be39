"""The steps of stage 2: the style of a reference, and the console settings that lead to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.engine import one_torch_thread
from flows.steps import BalancedStem, cut
from flows.store import Store, code_version
from flows.track_steps import AUDIO_CODE, METER_CODE, TrackJob
from pipeline.audio import probe, read
from pipeline.plan import Aspect
from pipeline.units import FloatArray, db_to_amplitude
from stage2.alignment import find_alignment
from stage2.refine import Refined, RefineOptions, StemInput, refine
from stage2.style import Style, StyleDistance, measure_style

__all__ = ["RefineJob", "refine_step", "style_step"]

# The code that a step's results depend on.
STYLE_CODE = (
    "stage2.style", "stage2.envelopes", "pipeline.delivery", "pipeline.limiter",
    "pipeline.compressor", "pipeline.plan", *AUDIO_CODE, *METER_CODE,
)  # fmt: skip
REFINE_CODE = (
    "flows.style_steps", "stage2", *STYLE_CODE, "pipeline.processors", "pipeline.response"
)  # fmt: skip


def style_step(job: TrackJob) -> Style:
    """Measure the style of a reference."""
    store = Store(job.store)
    key = store.key(
        "style",
        inputs={"content": store.content_hash(job.path), "suffix": job.path.suffix.lower()},
        code_version=code_version(*STYLE_CODE),
    )
    with store.entry("style", key) as entry:
        if not entry.done:
            audio = read(job.path)
            style = measure_style(audio, sample_rate=probe(job.path).sample_rate)
            entry.commit({"style": style.to_record()})
        return Style.from_record(entry.record["style"])


@dataclass(frozen=True)
class RefineJob:
    """What stage 2 needs: the stems' excerpts, where they start, and the style that is wanted."""

    stems: tuple[BalancedStem, ...]
    start_gain_db: tuple[float, ...]
    centred: tuple[bool, ...]
    max_spread: tuple[float, ...]
    style: Style
    references: tuple[Path, ...]
    match: tuple[Aspect, ...]
    target_lufs: float
    ceiling_dbtp: float
    sample_rate: int
    pieces: tuple[tuple[int, int], ...]
    store: Path
    on_step: Callable[[int, int], None] | None = None


def refine_step(job: RefineJob) -> tuple[Refined, str]:
    """Find the console settings; return them and what is to be said about how."""
    store = Store(job.store)
    key = store.key(
        "refine",
        inputs={
            "stems": [[stem.name, stem.key] for stem in job.stems],
            "start_gain_db": job.start_gain_db,
            "centred": job.centred,
            "max_spread": job.max_spread,
            "style": job.style.to_record(),
            "references": [store.content_hash(path) for path in job.references],
            "match": list(job.match),
            "target_lufs": job.target_lufs,
            "ceiling_dbtp": job.ceiling_dbtp,
        },
        code_version=code_version(*REFINE_CODE, distributions=("torch",)),
    )
    with store.entry("refine", key) as entry:
        if not entry.done:
            # On one thread the settings do not depend on the machine, and on a busy one the many
            # small operations do not wait for each other.
            with one_torch_thread():
                refined, note = _refine(job)
            entry.commit({"refined": asdict(refined), "note": note})
        return _refined_from(entry.record["refined"]), entry.record["note"]


def _refine(job: RefineJob) -> tuple[Refined, str]:
    stems = tuple(
        StemInput(
            name=stem.name,
            audio=np.load(stem.excerpt),
            gain_db=gain_db,
            centred=centred,
            max_spread=spread,
        )
        for stem, gain_db, centred, spread in zip(
            job.stems, job.start_gain_db, job.centred, job.max_spread, strict=True
        )
    )
    aligned, note = _aligned_reference(job, stems)
    refined = refine(
        stems,
        job.style,
        sample_rate=job.sample_rate,
        target_lufs=job.target_lufs,
        ceiling_dbtp=job.ceiling_dbtp,
        aligned=aligned,
        options=RefineOptions(match=frozenset(job.match)),
        on_step=job.on_step,
    )
    return refined, note


def _aligned_reference(job: RefineJob, stems: Sequence[StemInput]) -> tuple[FloatArray | None, str]:
    """Return a reference that is a mix of this very song, cut to the excerpt, where there is one.

    Only where it is the one reference: with several, a blend of styles is wanted.
    """
    if len(job.references) != 1 or Aspect.LEVEL not in job.match:
        return None, ""
    reference = read(job.references[0], sample_rate=job.sample_rate)
    if reference.shape[0] == 1:
        reference = np.repeat(reference, 2, axis=0)
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
    name = job.references[0].name
    note = (
        f"{name} is a mix of this very song (onsets correlate {found.similarity:.2f} at "
        f"{found.lag_s:+.2f} s), so the stem levels follow it moment by moment"
    )
    return aligned, note


def _refined_from(record: Mapping[str, Any]) -> Refined:
    def distance(values: Mapping[str, float]) -> StyleDistance:
        return StyleDistance(**values)

    return Refined(
        strips=tuple(record["strips"]),
        bus=record["bus"],
        start=distance(record["start"]),
        end=distance(record["end"]),
        history=tuple(distance(values) for values in record["history"]),
        level_change_lu=tuple(record["level_change_lu"]),
    )
