"""Training of the controller: examples drawn without end, the console in the loop.

What a prediction is worth is heard through the band model: its loss has a gradient in every
setting, which goes on through the network. A run is a folder: a checkpoint to resume from, the
curves, and at its end the weights with their record. Each step draws its examples from the seed and
its own number, so a run that was interrupted ends in the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline.errors import InputError, Problem
from stage2.controller.network import (
    Controller,
    ControllerSize,
    batch_scenes,
)
from stage2.controller.weights_file import save_controller
from stage2.style.broad import before_limiter
from stage2.training.checkpoint import HELD_OUT, load_checkpoint, run_problems, save_checkpoint
from stage2.training.examples import Example, TrainingSong, draw_example
from stage2.training.losses import Lesson, errors_of, lesson_loss

__all__ = ["TrainingOptions", "TrainingResult", "identity_of", "train_controller"]

_VALIDATION_SEED = 2**31
_WEIGHTS = "controller.safetensors"


@dataclass(frozen=True)
class TrainingOptions:
    """How a controller is trained.

    Parameters
    ----------
    steps, batch
        Steps, and examples in each.
    rate
        Highest learning rate of AdamW, reached after ``warm_up`` steps, then falling as a cosine.
    weight_decay
        Of AdamW.
    average
        Decay of the moving average of the weights, which is what is validated and kept.
    seed
        Of everything drawn.
    validate_every, validation_examples
        Steps between validations on songs held out, and how many examples they take.
    checkpoint_every
        Steps between checkpoints.
    device
        ``"cpu"`` or ``"cuda"``: where the network runs, there with mixed precision. The band model
        runs on the processor.
    workers
        Threads that draw examples and hear predictions; they never change the weights.
    size
        Of the network.
    """

    steps: int = 4000
    batch: int = 12
    rate: float = 6e-4
    warm_up: int = 200
    weight_decay: float = 0.01
    average: float = 0.998
    seed: int = 0
    validate_every: int = 250
    validation_examples: int = 48
    checkpoint_every: int = 250
    device: str = "cpu"
    workers: int = 1
    size: ControllerSize = field(default_factory=ControllerSize)


@dataclass(frozen=True)
class TrainingResult:
    """What training made.

    Parameters
    ----------
    weights
        The file; its record lies beside it.
    metrics
        Of songs held out.
    steps_per_s
        Steps a second, of all the run.
    seconds
        Spent training, interruptions left out.
    """

    weights: Path
    metrics: dict[str, float]
    steps_per_s: float
    seconds: float


def _songs_hash(songs: Sequence[TrainingSong]) -> str:
    digest = hashlib.sha256()
    for song in songs:
        digest.update(song.name.encode())
        for passage in song.passages:
            digest.update(passage.cross.astype(np.complex64).tobytes())
    return digest.hexdigest()[:16]


def identity_of(options: TrainingOptions) -> dict[str, object]:
    """Return the options that must be the same for a run to be resumed."""
    told = asdict(options)
    for name in ("workers", "device", "checkpoint_every"):
        told.pop(name)
    return told


def _learning_rate(options: TrainingOptions, step: int) -> float:
    if step < options.warm_up:
        return options.rate * (step + 1) / options.warm_up
    done = (step - options.warm_up) / max(options.steps - options.warm_up, 1)
    return options.rate * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0))))


class _Run:
    """One training run in its folder."""

    def __init__(
        self,
        songs: Sequence[TrainingSong],
        held_out: Sequence[TrainingSong],
        options: TrainingOptions,
        folder: Path,
    ) -> None:
        self.songs, self.held_out = songs, held_out
        self.options, self.folder = options, folder
        torch.manual_seed(options.seed)
        self.controller = Controller(options.size).to(options.device)
        self.optimiser = torch.optim.AdamW(
            self.controller.parameters(), lr=options.rate, weight_decay=options.weight_decay
        )
        self.averaged = AveragedModel(
            self.controller, multi_avg_fn=get_ema_multi_avg_fn(options.average)
        )
        self.step = 0
        self.seconds = 0.0
        self.curves: list[dict[str, float]] = []
        # False while a step has changed some of the state and not yet all of it.
        self.whole = True
        self.data = _songs_hash([*songs, *held_out])
        self.pool = ThreadPoolExecutor(options.workers) if options.workers > 1 else None

    def map(self, function: Callable[..., object], *items: Sequence[object]) -> list[object]:
        return list((self.pool.map if self.pool else map)(function, *items))

    def identity(self) -> dict[str, object]:
        """Return what must be the same for a run to be resumed."""
        return {"options": identity_of(self.options), "data": self.data}

    def draw(self, step: int) -> list[Example]:
        seeds = [[self.options.seed, step, i] for i in range(self.options.batch)]
        return self.map(  # type: ignore[return-value]
            lambda s: draw_example(self.songs, np.random.default_rng(s)), seeds
        )

    def listen(self, controller: nn.Module, examples: Sequence[Example], passes: int) -> Lesson:
        """Let a controller work on examples; return its settings."""
        device = self.options.device
        scene = batch_scenes(
            [e.stems for e in examples], [(e.reference, e.reference_windows) for e in examples]
        ).to(device)
        count = scene.heard.shape[1]
        lesson = Lesson.start(len(examples), count, device)
        for turn in range(passes):
            told = lesson.detached()
            figures = self.map(
                lambda i, told=told: _figures(examples[i], told, i), list(range(len(examples)))
            )
            mix = torch.stack(figures).float().to(device)  # type: ignore[arg-type]
            with torch.autocast(device, dtype=torch.bfloat16, enabled=device != "cpu"):
                moves = controller(scene, lesson.strips, lesson.bus, mix, turn)
            lesson = lesson.moved(moves)
        return lesson

    def learn(self) -> None:
        """Take one step, and note its loss."""
        options, began = self.options, time.monotonic()
        rng = np.random.default_rng([options.seed, self.step, options.batch])
        passes = int(rng.integers(1, options.size.passes + 1))
        examples = self.draw(self.step)
        self.controller.train()
        for group in self.optimiser.param_groups:
            group["lr"] = _learning_rate(options, self.step)
        lesson = self.listen(self.controller, examples, passes)
        told = lesson.detached()
        heard = self.map(lambda i: lesson_loss(examples[i], told, i), list(range(len(examples))))
        loss = sum(h.loss for h in heard) / len(heard)  # type: ignore[attr-defined]
        self.optimiser.zero_grad()
        lesson.backward([h.gradient for h in heard])  # type: ignore[attr-defined]
        norm = torch.nn.utils.clip_grad_norm_(self.controller.parameters(), 1.0)
        self.whole = False
        self.optimiser.step()
        self.averaged.update_parameters(self.controller)
        self.step += 1
        self.seconds += time.monotonic() - began
        self.curves.append(
            {
                "step": self.step,
                "loss": float(loss),
                "gradient": float(norm),
                "passes": float(passes),
                "seconds": round(self.seconds, 3),
            }
        )
        self.whole = True

    def due(self, every: int) -> bool:
        """Tell whether something that is done every so many steps, and at the end, is due."""
        return self.step > 0 and (self.step % every == 0 or self.step == self.options.steps)

    def judge(self) -> None:
        """Validate where it is due and was not done."""
        if self.due(self.options.validate_every) and not self.metrics():
            began = time.monotonic()
            found = {HELD_OUT + name: value for name, value in self.validate().items()}
            self.seconds += time.monotonic() - began
            self.curves[-1].update(found)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return mean errors on songs held out, and the share of the distance that was closed."""
        self.averaged.eval()
        before: list[dict[str, float]] = []
        after: list[dict[str, float]] = []
        total = self.options.validation_examples
        for first in range(0, total, self.options.batch):
            examples = [
                draw_example(self.held_out, np.random.default_rng([_VALIDATION_SEED, i]))
                for i in range(first, min(first + self.options.batch, total))
            ]
            lesson = self.listen(self.averaged, examples, self.options.size.passes)
            start = Lesson.start(len(examples), lesson.strips.shape[1], self.options.device)
            for i, example in enumerate(examples):
                before.append(errors_of(example, start, i))
                after.append(errors_of(example, lesson.detached(), i))
        out = {}
        for name in before[0]:
            known = [k for k, b in enumerate(before) if not math.isnan(b[name])]
            at_first = float(np.mean([before[k][name] for k in known]))
            at_last = float(np.mean([after[k][name] for k in known]))
            out[name] = at_last
            out[f"{name} closed"] = 1.0 - at_last / max(at_first, 1e-9)
        return out

    def save(self) -> None:
        state = {
            "controller": self.controller.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "identity": json.dumps(self.identity(), sort_keys=True),
        }
        save_checkpoint(self.folder, state, self.curves)

    def resume(self) -> None:
        """Go on from the folder's checkpoint, if it has one of this very run."""
        state = load_checkpoint(self.folder, self.identity(), self.options.device)
        if state is None:
            return
        self.controller.load_state_dict(state["controller"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.curves = state["step"], state["curves"]
        self.seconds = state.get("seconds", 0.0)

    def metrics(self) -> dict[str, float]:
        """Return the held-out figures of the last validation."""
        return {
            name.removeprefix(HELD_OUT): value
            for name, value in self.curves[-1].items()
            if name.startswith(HELD_OUT)
        }


def _figures(example: Example, told: Lesson, index: int) -> Tensor:
    """Return the figures of the mix that settings make."""
    with torch.no_grad():
        strips, bus = told.of(index, example)
        return before_limiter(example.model(*example.reach.settings(strips, bus)).features)


def train_controller(
    songs: Sequence[TrainingSong],
    held_out: Sequence[TrainingSong],
    *,
    options: TrainingOptions,
    folder: Path,
    record: dict[str, object] | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
    on_checkpoint: Callable[[Sequence[Mapping[str, float]]], None] | None = None,
) -> TrainingResult:
    """Train a controller, or go on with a run that was interrupted.

    Parameters
    ----------
    songs, held_out
        To learn from, and to validate on.
    options
        How.
    folder
        Of the run; made if it is not there.
    record
        What else is to be written beside the weights: sources, licences, commit.
    on_step
        Called with the steps done, their total, and what was measured.
    on_checkpoint
        Called with the curves so far, one row a step, whenever they were written.

    Returns
    -------
    TrainingResult
        Of a run that had ended before, what it made then; nothing is written anew.

    Raises
    ------
    InputError
        If the folder holds a run of other options or songs, or files that are of no run, or a song
        has fewer than two passages.
    """
    problems = [
        Problem(song.name, f"has {len(song.passages)} passage", "give songs of 15 s or more")
        for song in (*songs, *held_out)
        if len(song.passages) < 2
    ]
    if not songs or not held_out:
        problems.append(Problem("songs", "are too few", "give at least one, and one held out"))
    problems += run_problems(folder, identity_of(options))
    if problems:
        raise InputError(problems)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(songs, held_out, options, folder)
    run.resume()
    weights = folder / _WEIGHTS
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same sums on any machine
    try:
        _learn(run, on_step, on_checkpoint)
    except KeyboardInterrupt:
        if run.whole and run.step:
            run.save()
        raise
    finally:
        torch.set_num_threads(threads)
        if run.pool is not None:
            run.pool.shutdown()
    metrics, rate = run.metrics(), run.step / max(run.seconds, 1e-9)
    if not weights.is_file():
        controller = cast(Controller, run.averaged.module.cpu())
        told = {
            **(record or {}),
            "data_hash": run.data,
            "songs": len(songs),
            "songs_held_out": len(held_out),
            "options": asdict(options),
            "seconds": round(run.seconds, 1),
            "steps_per_s": round(rate, 3),
            "metrics": {name: round(value, 4) for name, value in metrics.items()},
        }
        save_controller(controller, weights, record=told)
    return TrainingResult(weights, metrics, rate, run.seconds)


def _learn(
    run: _Run,
    on_step: Callable[[int, int, dict[str, float]], None] | None,
    on_checkpoint: Callable[[Sequence[Mapping[str, float]]], None] | None,
) -> None:
    run.judge()  # what an interruption cut off
    while run.step < run.options.steps:
        run.learn()
        run.judge()
        if run.due(run.options.checkpoint_every):
            run.save()
            if on_checkpoint is not None:
                on_checkpoint(run.curves)
        if on_step is not None:
            on_step(run.step, run.options.steps, run.curves[-1])
