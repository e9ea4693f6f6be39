"""``stemwright render``: a plan, as it is or edited, into a new folder."""

from __future__ import annotations

from pathlib import Path

from flows.output_folder import folder_problems, new_folder, relative_path
from flows.progress import Progress
from pipeline.plan import load_plan
from pipeline.problems import InputError, Problem
from pipeline.render import RenderSummary, render_to_files

__all__ = ["render_plan"]

_PARTS = 100


def render_plan(
    path: Path, *, session: Path | None, folder: Path, workers: int, progress: Progress
) -> RenderSummary:
    """Render a plan to its mix and stems, with a copy of the plan beside them.

    Parameters
    ----------
    path
        The ``plan.json``.
    session
        Folder of the tracks; None for the one that the plan names.
    folder
        New; written whole or not at all.

    Raises
    ------
    InputError
        With everything that is wrong with the plan and the folders.
    """
    problems = list(folder_problems(folder))
    try:
        plan = load_plan(path)
    except InputError as error:
        raise InputError([*error.problems, *problems]) from error
    root = session or (path.parent / plan.session)
    if not root.is_dir():
        what = "the session's folder is not there"
        problems.append(Problem(str(root), what, "name it with --session"))
    if problems:
        raise InputError(problems)
    with new_folder(folder) as part:
        progress.start("render", _PARTS)
        done = 0

        def advance(share: float) -> None:
            nonlocal done
            while done < int(_PARTS * share):
                done += 1
                progress.advance("render", "")

        summary = render_to_files(
            plan,
            root,
            mix_path=part / f"mix.{plan.delivery.format}",
            stems_dir=part / "stems",
            on_progress=advance,
            workers=workers,
        )
        moved = plan.model_copy(update={"session": relative_path(root, folder)})
        (part / "plan.json").write_text(moved.to_json(), encoding="utf-8")
        progress.finish("render")
    return summary
