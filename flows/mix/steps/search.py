"""How a mix comes by its console settings: predicted, refined, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from flows.engines.base import Engine
from flows.mix.steps.style import ConsoleJob, predict_step, refine_step, settle_step
from flows.progress import Progress, guarded
from flows.settings import MixSettings
from stage2.controller.predict import Prediction
from stage2.refine.search import Refined, Start

__all__ = ["ConsoleSettings", "find_console_settings"]

_STEPS, _STEPS_SHOWN = "refine, gradient steps", 20


@dataclass(frozen=True)
class ConsoleSettings:
    """What stage 2 found.

    Parameters
    ----------
    stems
        Names of the stems, in the order of the settings.
    refined
        The settings; of quality "fast" the prediction, held within the guardrails.
    prediction
        Where they began; None without the controller.
    quality
        Whether they are the prediction alone or refined.
    note
        What is to be said about how they were found.
    """

    stems: tuple[str, ...]
    refined: Refined
    prediction: Prediction | None
    quality: str
    note: str = ""


def find_console_settings(
    engine: Engine, job: ConsoleJob, *, settings: MixSettings, progress: Progress
) -> ConsoleSettings:
    """Predict the settings with the controller, and refine them, as the run's settings say."""
    prediction = None
    if settings.controller:
        prediction = engine.run(predict_step, job, name="predict", label="console settings")
        job = replace(job, start=Start(prediction.strips, prediction.bus))
    if settings.quality == "fast":
        refined, note = engine.run(settle_step, job, name="settle", label="console settings")
    else:
        progress = guarded(progress)
        job = replace(job, on_step=_bar_of_steps(progress))
        try:
            refined, note = engine.run(refine_step, job, name="refine", label="console settings")
        finally:
            progress.finish(_STEPS)
    names = tuple(stem.name for stem in job.stems)
    return ConsoleSettings(names, refined, prediction, settings.quality, note)


def _bar_of_steps(progress: Progress) -> Callable[[int, int], None]:
    """Return what shows the gradient steps of the refinement as a bar of their own.

    There are more of them than was said at first while the reference is far: only the end of the
    refinement ends the bar.
    """
    told = 0

    def on_step(done: int, total: int) -> None:
        nonlocal told
        if total != told:
            progress.start(_STEPS, total // _STEPS_SHOWN)
            told = total
        if done % _STEPS_SHOWN == 0:
            progress.advance(_STEPS, f"step {done} of {total}")

    return on_step
