"""``stemwright render``: a plan, as it is or edited, into a new folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flows.output_folder import folder_problems, new_folder, relative_path
from flows.places import Place, is_url, parse_place
from flows.progress import Progress, guarded
from flows.remote_files import named
from flows.remote_input import bring_tracks_near
from flows.source_files import SourceFiles
from flows.store import Store
from pipeline.plan import Plan
from pipeline.plan_file import load_plan, plan_json
from pipeline.problems import InputError, Problem
from pipeline.render import RenderSummary, render_to_files

__all__ = ["render_plan"]

_PARTS = 100


def render_plan(
    path: Path,
    *,
    session: Place | None,
    folder: Place,
    workers: int,
    progress: Progress,
    on_warning: Callable[[str], None] = lambda _: None,
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
    on_warning
        Told of each file that does not hold what it held when the plan was made.

    Raises
    ------
    InputError
        With everything that is wrong with the plan and the folders; or if a track changes while
        it is rendered.
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
    sources = _sources(plan, root)
    changed = _changed_tracks(plan, sources)
    for warning in changed:
        on_warning(warning)
    with new_folder(folder) as part:
        progress.start("render", _PARTS)
        done = 0

        def advance(share: float) -> None:
            nonlocal done
            while done < int(_PARTS * share):
                done += 1
                progress.advance("render", "")

        def render() -> RenderSummary:
            return render_to_files(
                plan,
                root,
                mix_path=part / f"mix.{plan.delivery.format}",
                stems_dir=part / "stems",
                on_progress=advance,
                workers=workers,
            )

        summary = render() if sources is None else sources.read(render)
        moved = plan.model_copy(
            update={
                "session": named(root) or relative_path(root, folder),
                "contents": {**plan.contents, **(sources.contents if sources else {})},
                "notes": (*plan.notes, *changed),
            }
        )
        (part / "plan.json").write_text(plan_json(moved), encoding="utf-8")
        progress.finish("render")
    return summary


def _sources(plan: Plan, root: Path) -> SourceFiles | None:
    """Return the tracks that are rendered; None where one cannot be read, which rendering says."""
    muted = {stem.name for stem in plan.stems if stem.mute}
    paths = [t.path for t in plan.tracks if not t.mute and t.subgroup not in muted]
    try:
        return SourceFiles(Store(), {path: root / path for path in paths})
    except OSError:
        return None


def _changed_tracks(plan: Plan, sources: SourceFiles | None) -> tuple[str, ...]:
    """Return which tracks do not hold what they held when the plan was made, in words."""
    now = {} if sources is None else sources.contents
    return tuple(
        f"{path!r} has changed since the plan was made: its gain and place are those of what it "
        "was; mix the session again to have them decided anew"
        for path, content in now.items()
        if plan.contents.get(path, content) != content
    )


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
