"""The audio files of a mix, copied from the store into the folder that a user opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flows.mix.result import MixOutcome, StemSummary
from flows.mix.steps.balance import BalancedStem
from flows.mix.steps.render import Mixdown, RenderedStem
from flows.storage.locations import Place, inside
from flows.storage.output_folder import copy_file
from flows.storage.store import Store
from pipeline.plan import Plan
from pipeline.render.tracks import stem_file_names

__all__ = ["copy_mix", "copy_rendered", "in_their_place"]


def copy_rendered(
    store: Store,
    plan: Plan,
    rendered: Mapping[str, RenderedStem],
    part: Path,
    *,
    balanced: Sequence[BalancedStem] = (),
) -> dict[str, StemSummary]:
    """Copy stems into ``stems``, what the DAW session plays beside them into ``daw``.

    Parameters
    ----------
    rendered
        The stems after their strips, by name.
    part
        The folder that is being made.
    balanced
        Stems of stage 1 to be copied into ``balanced``.
    """
    files = stem_file_names(plan)
    before = {stem.name: stem for stem in balanced}
    summaries = {}
    for name, stem in rendered.items():
        sides = part / "daw" / f"{Path(files[name]).stem} sides.flac"
        whole = before.get(name)
        summaries[name] = StemSummary(
            stem.loudness,
            stem.compression,
            copy_file(store.local(stem.path), part / "stems" / files[name]),
            None
            if whole is None
            else copy_file(store.local(whole.whole), part / "balanced" / files[name]),
            None if stem.sides is None else copy_file(store.local(stem.sides), sides),
        )
    return summaries


def copy_mix(store: Store, mixdown: Mixdown, plan: Plan, part: Path) -> None:
    """Copy the delivered mix into the folder that is being made."""
    copy_file(store.local(mixdown.path), part / f"mix.{plan.delivery.format}")


def in_their_place(
    outcome: MixOutcome,
    part: Path,
    folder: Place,
    written: Mapping[str, Path],
    *,
    seconds: float,
) -> MixOutcome:
    """Return an outcome whose files lie where they were moved to."""

    def moved(path: Path | None) -> Path | None:
        if path is None or isinstance(folder, str):
            return None
        return folder / path.relative_to(part)

    return replace(
        outcome,
        folder=folder,
        stems={
            name: replace(
                summary,
                path=moved(summary.path),
                balanced_path=moved(summary.balanced_path),
                sides_path=moved(summary.sides_path),
            )
            for name, summary in outcome.stems.items()
        },
        seconds=seconds,
        files={
            name: inside(folder, *path.relative_to(part).parts) for name, path in written.items()
        },
    )
