"""What a run writes beside its audio: plan, tables, report and DAW session."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flows.csv_table import write_csv
from flows.mix.analysis import AnalysedSession
from flows.mix.requests import RequestResult
from flows.mix.steps.render import Mixdown
from flows.mix.steps.search import ConsoleSettings
from flows.mix.steps.style import HeardReference
from flows.settings import MixSettings
from flows.storage.locations import Place, relative_url
from flows.storage.mirror import named
from flows.versions import versions
from pipeline.console.parameters import Aspect
from pipeline.console.processors import GainReduction
from pipeline.dawproject.writer import ProjectAudio, write_dawproject
from pipeline.loudness.meter import Loudness
from pipeline.plan import Plan
from pipeline.plan_file import plan_json
from pipeline.report.findings import (
    Finding,
    Followed,
    compression_findings,
    crest_findings,
    masking_findings,
    stereo_findings,
    typical_db,
)
from pipeline.report.masking import Masking
from pipeline.report.page import Curve, describe, write_report
from pipeline.report.record import FileNote, Report, StemLevel
from pipeline.report.stereo import StereoField
from pipeline.units import power_to_db
from stage2.priors.engineers import bus_prior, strip_prior
from stage2.style.broad import BROAD_HZ, Broad, broad_spectrum_db
from stage2.style.measure import Style, style_distance
from stage2.style.target import StyleTarget

__all__ = ["MixOutcome", "StemSummary", "track_rows", "write_outcome"]

_BRIEF = (
    "track", "role", "subgroup", "confidence", "unsure", "f0_hz", "centroid_hz", "loudness_lufs",
    "loudness_centroid", "loudness_p_lufs", "loudness_informed", "loudness_sones", "gain_db", "pan",
    "flags",
)  # fmt: skip


@dataclass(frozen=True)
class StemSummary:
    """What was rendered of one stem, after its strip.

    ``path`` and ``balanced_path`` are None where the file was not asked for, ``sides_path``, what
    width and spread add, where they add nothing.
    """

    loudness: Loudness
    compression: GainReduction
    path: Path | None
    balanced_path: Path | None
    sides_path: Path | None = None


@dataclass(frozen=True)
class MixOutcome:
    """What a run made, for whoever presents it.

    Parameters
    ----------
    folder
        Where everything lies, in its final place, which may be a URL.
    start_style
        Style of the balanced stems before stage 2, on the excerpt.
    style, reference_style
        Of the whole mix, and the one that was wanted (None without a reference).
    target
        What was followed, as a distribution; None where nothing was.
    found
        The console settings, as they were predicted and as they are; None where no style was
        followed.
    references
        What was measured of each reference.
    steps
        How many were done and found in the store: :meth:`flows.storage.lookups.StepCounts.record`.
    requests
        What came of each request of ``session.toml``.
    url
        Where ``folder`` will be uploaded to; empty where it stays on this machine.
    """

    folder: Place
    plan: Plan
    analysed: AnalysedSession
    settings: MixSettings
    stems: Mapping[str, StemSummary]
    stem_targets_lu: Mapping[str, float]
    mixdown: Mixdown
    start_style: Style
    reference_style: Style | None
    target: StyleTarget | None
    found: ConsoleSettings | None
    target_lufs: float
    seconds: float
    warnings: tuple[str, ...] = ()
    references: tuple[HeardReference, ...] = ()
    steps: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""
    requests: tuple[RequestResult, ...] = ()
    files: Mapping[str, Place] = field(default_factory=dict)

    @property
    def style(self) -> Style:
        """Style of the delivered mix."""
        return self.mixdown.style

    @property
    def masking(self) -> Masking:
        """What of the stems covers what."""
        return Masking.from_record(self.mixdown.masking, list(self.stems))

    @property
    def stem_levels_lu(self) -> dict[str, float]:
        """Loudness of each stem after its strip against all stems together, powers added."""
        lufs = {name: stem.loudness.integrated_lufs for name, stem in self.stems.items()}
        together = power_to_db(sum(10.0 ** (level / 10.0) for level in lufs.values()))
        return {
            name: level - together if math.isfinite(level) else -math.inf
            for name, level in lufs.items()
        }

    def findings(self) -> tuple[Finding, ...]:
        """Return what an engineer would look at in the mix."""
        reductions = {name: summary.compression for name, summary in self.stems.items()}
        style = self.found is not None
        followed = Followed(style, style and Aspect.DYNAMICS in self.settings.match)
        return (
            *compression_findings(
                reductions, self.mixdown.bus_compression, self.mixdown.limiting, followed
            ),
            *crest_findings(self.start_style.crest_db, self.style.crest_db, followed),
            *stereo_findings(self.mixdown.stereo),
            *masking_findings(self.masking),
        )

    def distances(self) -> dict[str, dict[str, float]]:
        """Return how far start, prediction and mix are from the reference; empty without one.

        The prediction is there where refinement followed; like the start it was judged on the
        excerpt, and at full strength.
        """
        wanted = self.reference_style
        if wanted is None:
            return {}
        told = {"balanced start": style_distance(self.start_style, wanted)}
        if self.found is not None and self.found.quality == "best":
            predicted = self.found.refined.predicted
            told |= {} if predicted is None else {"prediction": predicted}
        told["this mix"] = style_distance(self.style, wanted)
        return {label: distance.to_record() for label, distance in told.items()}


def track_rows(
    plan: Plan, analysed: AnalysedSession, *, brief: bool = False
) -> list[dict[str, str | int | float | bool]]:
    """Return one row a track: what it is, what was measured of it, what was decided for it.

    Parameters
    ----------
    brief
        Only the columns that fit a screen.
    """
    measured = {
        record.name: (record, features, check)
        for record, features, check in zip(
            analysed.recognitions, analysed.features, analysed.checks, strict=True
        )
    }
    rows = []
    flags = {
        track.name: fault.flags
        for track, fault in zip(analysed.session.tracks, analysed.file_faults, strict=False)
    }
    for planned in plan.tracks:
        row: dict[str, str | int | float | bool] = {
            "track": planned.path,
            "role": planned.role,
            "subgroup": planned.subgroup,
        }
        decided: dict[str, str | int | float | bool] = {
            "gain_db": planned.gain_db,
            "pan": planned.pan,
            "mute": planned.mute,
            "invert": planned.invert,
            "offset_s": planned.offset_s,
            "reason": planned.reason,
        }
        if planned.path not in measured:  # muted in a plan, and not looked at
            rows.append(row | decided)
            continue
        record, features, check = measured[planned.path]
        figures = features.to_row()
        del figures["name"]
        row |= {
            "confidence": round(record.confidence, 3),
            "unsure": record.unsure,
            "recognised_by": record.reason,
            "contradiction": record.contradiction,
            "presence": str(record.presence),
            "source": record.source,
            **decided,
            "channels_used": str(planned.channels),
            "flags": "; ".join((*check.flags, *flags.get(planned.path, ()))),
            "dc_dbfs": check.dc_dbfs,
            "clipped_runs": check.clipped_runs,
            **figures,
        }
        rows.append({name: row[name] for name in _BRIEF} if brief else row)
    return rows


def _finite(value: Any) -> Any:
    """Return a value that JSON can hold: what is not a number is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return [_finite(item) for item in value]


def write_outcome(outcome: MixOutcome) -> dict[str, Path]:
    """Write plan, results, report and DAW session into the outcome's folder; return their paths."""
    folder, plan = Path(outcome.folder), outcome.plan
    rows = track_rows(plan, outcome.analysed)
    paths = {
        "mix": folder / f"mix.{plan.delivery.format}",
        "plan": folder / "plan.json",
        "stems": folder / "stems",
        "results": folder / "results.csv",
        "results with settings": folder / "results.json",
        "report": folder / "report.html",
        "DAW session": folder / "session.dawproject",
    }
    if (folder / "balanced").is_dir():
        paths["balanced stems"] = folder / "balanced"
    paths["plan"].write_text(plan_json(plan), encoding="utf-8")
    write_csv(pd.DataFrame(rows, dtype=object), paths["results"])
    whole = {
        "tracks": rows,
        "stems": _stem_rows(outcome),
        "bus": {
            "settings": plan.bus,
            "predicted": plan.bus_predicted,
            "predicted_spread": plan.bus_predicted_spread,
        },
        "mix": _mix_record(outcome),
        "settings": outcome.settings.model_dump(mode="json"),
        "left_out": [{"name": x.name, "why": x.why} for x in outcome.analysed.session.left_out],
        "skipped": [{"name": p.subject, "why": p.what} for p in outcome.analysed.session.skipped],
        "warnings": list(outcome.warnings),
        "reference_faults": [
            [asdict(fault) for fault in reference.condition.faults]
            for reference in outcome.references
        ],
        "findings": [asdict(finding) for finding in outcome.findings()],
        "requests": [asdict(result) for result in outcome.requests],
        "masking": asdict(outcome.masking),
        "steps": dict(outcome.steps),
        "versions": versions(),
    }
    paths["results with settings"].write_text(
        json.dumps(_finite(whole), indent=1) + "\n", encoding="utf-8"
    )
    write_report(paths["report"], _report(outcome, rows, paths["mix"]))
    session = outcome.analysed.session
    write_dawproject(
        paths["DAW session"],
        plan,
        ProjectAudio(
            session.root,
            stems={name: s.path for name, s in outcome.stems.items() if s.path is not None},
            sides={
                name: s.sides_path for name, s in outcome.stems.items() if s.sides_path is not None
            },
            reference=session.references[0] if session.references else None,
        ),
        collect=outcome.settings.collect,
        title=session.root.name,
        refer=partial(_referred, outcome) if outcome.url else None,
    )
    return paths


def _referred(outcome: MixOutcome, audio: Path) -> str | None:
    """Return how an uploaded DAW session refers to a file: from where it will lie."""
    if audio.is_relative_to(Path(outcome.folder)):
        return None
    url = named(audio)
    return audio.resolve().as_posix() if url is None else relative_url(url, outcome.url)


def _stem_rows(outcome: MixOutcome) -> list[dict[str, object]]:
    levels = outcome.stem_levels_lu
    planned = {stem.name: stem for stem in outcome.plan.stems}
    return [
        {
            "stem": name,
            "loudness_lufs": summary.loudness.integrated_lufs,
            "level_lu": levels[name],
            "intended_lu": outcome.stem_targets_lu.get(name),
            "true_peak_dbtp": summary.loudness.true_peak_dbtp,
            "compression_max_db": summary.compression.max_db,
            "compression_mean_db": summary.compression.mean_db,
            "compression_p95_db": summary.compression.p95_db,
            "compression_typical_db": typical_db(summary.compression),
            "settings": planned[name].settings,
            "predicted": planned[name].predicted,
            "predicted_spread": planned[name].predicted_spread,
        }
        for name, summary in outcome.stems.items()
    ]


def _mix_record(outcome: MixOutcome) -> dict[str, object]:
    loudness = outcome.mixdown.loudness
    record: dict[str, object] = {
        "integrated_lufs": loudness.integrated_lufs,
        "target_lufs": outcome.target_lufs,
        "true_peak_dbtp": loudness.true_peak_dbtp,
        "ceiling_dbtp": outcome.plan.delivery.limiter_ceiling_dbtp,
        "loudness_range_lu": loudness.loudness_range_lu,
        "bus_compression_max_db": outcome.mixdown.bus_compression.max_db,
        "bus_compression_mean_db": outcome.mixdown.bus_compression.mean_db,
        "bus_compression_p95_db": outcome.mixdown.bus_compression.p95_db,
        "limiting_max_db": outcome.mixdown.limiting.max_db,
        "limiting_mean_db": outcome.mixdown.limiting.mean_db,
        "limiting_p95_db": outcome.mixdown.limiting.p95_db,
        "mono_loss_db": outcome.mixdown.stereo.mono_loss_db,
        "correlation": outcome.mixdown.stereo.correlation,
        "style": outcome.style.to_record(),
        "seconds": round(outcome.seconds, 2),
    }
    if outcome.reference_style is not None:
        distances = outcome.distances()
        record["reference_style"] = outcome.reference_style.to_record()
        record["distance_of_balanced_start"] = distances["balanced start"]
        if "prediction" in distances:
            record["distance_of_prediction"] = distances["prediction"]
        record["distance"] = distances["this mix"]
    return record


def _styles(outcome: MixOutcome) -> dict[str, Style]:
    styles = {"this mix": outcome.style}
    if outcome.reference_style is not None:
        styles["reference"] = outcome.reference_style
    return {**styles, "balanced start": outcome.start_style}


def _stereo(outcome: MixOutcome) -> dict[str, StereoField]:
    fields = [reference.stereo for reference in outcome.references]
    several = [f"reference {number}" for number in range(1, len(fields) + 1)]
    labels = ["reference"] if len(fields) == 1 else several
    return {"this mix": outcome.mixdown.stereo, **dict(zip(labels, fields, strict=True))}


_WIDTH_WORDS = ("under 200 Hz", "200 Hz to 1 kHz", "1 to 4 kHz", "over 4 kHz")


def _spread(outcome: MixOutcome) -> tuple[Curve, Curve] | None:
    """Return the edges of what the spectrum of the wanted style varies by."""
    if outcome.target is None:
        return None
    middle = broad_spectrum_db(outcome.target.style)
    spread = np.asarray(outcome.target.spread)[Broad.SPECTRUM]
    centres = np.asarray(BROAD_HZ)
    return Curve(centres, middle - spread), Curve(centres, middle + spread)


def _usual(plan: Plan) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the usual range of each setting by stem, and of the bus under ""."""
    priors = {stem.name: strip_prior(stem.name) for stem in plan.stems} | {"": bus_prior()}
    return {
        name: {
            setting: usual
            for setting in prior.table.columns
            if setting != "gain_db" and (usual := prior.usual_range(setting)) is not None
        }
        for name, prior in priors.items()
    }


def _report(
    outcome: MixOutcome, rows: list[dict[str, str | int | float | bool]], mix: Path
) -> Report:
    session = outcome.analysed.session
    return Report(
        title=session.root.name,
        plan=outcome.plan,
        mix_audio=mix,
        loudness=outcome.mixdown.loudness,
        reference_audio=session.references,
        target_lufs=outcome.target_lufs,
        spectra={
            label: Curve(np.asarray(BROAD_HZ), broad_spectrum_db(style))
            for label, style in _styles(outcome).items()
        },
        spread=_spread(outcome),
        usual=_usual(outcome.plan),
        widths={
            label: dict(zip(_WIDTH_WORDS, style.width_by_range_db, strict=True))
            for label, style in _styles(outcome).items()
        },
        true_peaks_dbtp=outcome.mixdown.true_peaks_dbtp,
        stereo=_stereo(outcome),
        reductions={name: summary.compression for name, summary in outcome.stems.items()},
        bus_reduction=outcome.mixdown.bus_compression,
        limiting=outcome.mixdown.limiting,
        masking=outcome.masking,
        findings=outcome.findings(),
        distances=outcome.distances(),
        stem_levels={
            name: StemLevel(
                mix_lu=level,
                start_lu=outcome.stem_targets_lu.get(name, math.nan),
            )
            for name, level in outcome.stem_levels_lu.items()
        },
        plan_summary=(*describe(outcome.plan), *(f"{result}." for result in outcome.requests)),
        tracks=rows,
        left_out=tuple(FileNote(x.name, x.why) for x in session.left_out),
        skipped=tuple(FileNote(p.subject, p.what) for p in session.skipped),
        warnings=outcome.warnings,
        settings=outcome.settings.model_dump(mode="json"),
        versions=versions(),
    )
