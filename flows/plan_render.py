"""``stemwright render``: a plan, as it is or edited, into a new folder."""

from __future__ import annotations

from pathlib import Path

from flows.output_folder import folder_problems, new_folder, relative_path
from flows.places import Place, is_url, parse_place
from flows.progress import Progress, guarded
from flows.remote_files import named
from flows.remote_input import bring_tracks_near
from pipeline.plan import Plan, load_plan
from pipeline.problems import InputError, Problem
from pipeline.render import RenderSummary, render_to_files

__all__ = ["render_plan"]

_PARTS = 100


def render_plan(
    path: Path, *, session: Place | None, folder: Place, workers: int, progress: Progress
) -> RenderSummary:
    """Render a plan to its mix and stems, with a copy of the plan beside them.

    Parameters
    ----------
    path
        The ``plan.json``.
    session
        Folder of the tracks, or its URL; None for the one that the plan names.
    folder
        New, or the URL of one; written whole or not at all.

    Raises
    ------
    InputError
        With everything that is wrong with the plan and the folders.
    """
    progress = guarded(progress)
    problems = list(folder_problems(folder))
    try:
        plan = load_plan(path)
    except InputError as error:
        raise InputError([*error.problems, *problems]) from error
    try:
        root = _near_root(plan, path, session)
    except InputError as error:
        raise InputError([*problems, *error.problems]) from error
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
        moved = plan.model_copy(update={"session": named(root) or relative_path(root, folder)})
        (part / "plan.json").write_text(moved.to_json(), encoding="utf-8")
        progress.finish("render")
    return summary


def _near_root(plan: Plan, path: Path, session: Place | None) -> Path:
    """Return where the tracks of a plan lie on this machine."""
    if session is None:
        session = plan.session if is_url(plan.session) else path.parent / plan.session
    session = parse_place(session, subject="session")
    if isinstance(session, str):
        muted = {stem.name for stem in plan.stems if stem.mute}
        return bring_tracks_near(
            session, [t.path for t in plan.tracks if not t.mute and t.subgroup not in muted]
        )
    if not session.is_dir():
        what = "the session's folder is not there"
        raise InputError([Problem(str(session), what, "name it with --session")])
    return session
