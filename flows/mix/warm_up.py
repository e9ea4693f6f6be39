"""What Dask's worker processes find loaded: imported once, by the process that forks them.

It takes seconds to import torch and numba and to load compiled loops; the fork server does so while
the run's own process gets ready, and its children share the memory.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from flows.engines.dask_worker import SCRATCH_VARIABLE

__all__: list[str] = []


def _warm_up() -> None:
    """Take a second of noise through the steps that are run by the hundred."""
    # Inside, so that what fails is suppressed with the rest, and the fork server goes on.
    import numpy as np
    import torch

    from flows.mix.steps.balance import BalanceJob, balance_step
    from flows.mix.steps.render import StemJob, stem_step
    from flows.mix.steps.tracks import TrackJob, examine_step
    from pipeline.audio.stream import AudioWriter
    from pipeline.plan import Plan, StemPlan, TrackPlan

    # A process that has begun threads cannot be forked in peace.
    torch.set_num_threads(1)
    rate = 48_000
    with tempfile.TemporaryDirectory(dir=os.environ.get(SCRATCH_VARIABLE)) as made:
        folder = Path(made)
        noise = 0.1 * np.random.default_rng(0).standard_normal((2, rate)).astype(np.float32)
        for channels, name in ((1, "a.wav"), (2, "b.wav")):
            with AudioWriter(
                folder / name, sample_rate=rate, channels=channels, format="wav", subtype="PCM_24"
            ) as file:
                file.write(noise[:channels])
            examine_step(TrackJob(folder / name, name, folder / "store"))
        tracks = tuple(TrackPlan(path=p, role="kick", subgroup="drums") for p in ("a.wav", "b.wav"))
        stem = StemPlan(name="drums")
        plan = Plan(session=".", sample_rate=rate, frames=rate, tracks=tracks, stems=(stem,))
        job = BalanceJob(plan, "drums", folder, folder / "store")
        stem_step(StemJob(job, balance_step(job), stem.settings, stem.level_lufs))


# The fork server ends a moment after the run, also after one that was killed.
if SCRATCH_VARIABLE in os.environ:
    atexit.register(shutil.rmtree, os.environ[SCRATCH_VARIABLE], ignore_errors=True)
# Whatever fails here will fail, and be told, where it is wanted; here it would end the fork server.
with contextlib.suppress(Exception):
    _warm_up()
