"""A plan becomes sound in one streaming pass: what the renderer is compared with.

Filters and compressors keep their state from the first frame to the last, the limiter's latency is
taken out again, and sums are made in the plan's order: the same plan gives the same samples,
whatever the size of the blocks and the number of workers. The mix is exactly the exported stems
through the bus.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio.stream import AudioWriter
from pipeline.console.processors import Bus, GainReduction, Strip
from pipeline.loudness.meter import Loudness, LoudnessMeter
from pipeline.plan import Plan
from pipeline.render.delivered_file import delivery_writer, tag_delivery
from pipeline.render.stems import BLOCK_FRAMES, StemSum
from pipeline.render.tracks import allow_open_files, place_tracks, stem_file_names
from pipeline.units import FloatArray


@dataclass(frozen=True)
class RenderedBlock:
    """The same stretch of time at three places of the chain, float32, each (2, frames).

    Parameters
    ----------
    start
        First frame on the mix's time line.
    balanced
        Stems before the console, by name in the plan's order; muted ones are left out.
    stems
        The same after their strips.
    mix
        After the limiter and the trim, its latency taken out.
    """

    start: int
    balanced: dict[str, FloatArray]
    stems: dict[str, FloatArray]
    mix: FloatArray


class _Channel:
    """One stem: its tracks' sum and its strip."""

    def __init__(self, tracks: StemSum, strip: Strip) -> None:
        self.tracks = tracks
        self.strip = strip

    def render(self, frames: int) -> tuple[FloatArray, FloatArray]:
        balanced = self.tracks.read(frames)[0]
        return balanced, self.strip.process(balanced)


class Renderer:
    """One pass over a plan.

    Parameters
    ----------
    plan
        What to render.
    session_root
        The folder that its tracks' paths are relative to.
    block_frames
        Frames of a block; the last one is shorter.
    workers
        Threads that read and process stems.

    Attributes
    ----------
    strips, bus
        The processors, for what their compressors did.

    Raises
    ------
    InputError
        With every track that cannot be read, before anything is rendered.
    """

    def __init__(
        self,
        plan: Plan,
        session_root: Path,
        *,
        block_frames: int = BLOCK_FRAMES,
        workers: int = 2,
    ) -> None:
        if block_frames < 1 or workers < 1:
            raise ValueError(f"block_frames {block_frames}, workers {workers}: use 1 or more")
        self._plan = plan
        self._block_frames = block_frames
        self._workers = workers
        placed = place_tracks(plan, session_root)
        allow_open_files(sum(len(tracks) for tracks in placed.values()))
        self.strips: dict[str, Strip] = {
            stem.name: Strip(
                stem.settings, level_lufs=stem.level_lufs, sample_rate=plan.sample_rate
            )
            for stem in plan.stems
            if not stem.mute
        }
        self.bus = Bus(
            plan.bus,
            sample_rate=plan.sample_rate,
            ceiling_dbtp=plan.delivery.limiter_ceiling_dbtp,
            trim_db=plan.delivery.trim_db,
        )
        self._channels = {
            name: _Channel(StemSum([placed[name]], sample_rate=plan.sample_rate), strip)
            for name, strip in self.strips.items()
        }

    def blocks(self) -> Generator[RenderedBlock, None, None]:
        """Yield the blocks of the mix in order; may be called once."""
        with ExitStack() as stack:
            for channel in self._channels.values():
                stack.callback(channel.tracks.close)
            # Entered last, left first: no worker reads from a stream that is being closed.
            pool = stack.enter_context(ThreadPoolExecutor(self._workers))
            yield from self._align(self._process(pool))

    def _process(self, pool: ThreadPoolExecutor) -> Iterator[RenderedBlock]:
        """Yield blocks whose mix is late; the next block's stems are rendered meanwhile."""
        total = self._plan.frames

        def submit(start: int) -> dict[str, Future[tuple[FloatArray, FloatArray]]]:
            frames = min(self._block_frames, total - start)
            return {n: pool.submit(c.render, frames) for n, c in self._channels.items()}

        pending = submit(0)
        for start in range(0, total, self._block_frames):
            frames = min(self._block_frames, total - start)
            done = {name: future.result() for name, future in pending.items()}
            if start + frames < total:
                pending = submit(start + frames)
            bus_input = np.zeros((2, frames))
            for _, processed in done.values():
                bus_input += processed
            yield RenderedBlock(
                start,
                {name: balanced for name, (balanced, _) in done.items()},
                {name: processed for name, (_, processed) in done.items()},
                self.bus.process(bus_input).astype(np.float32),
            )

    def _align(self, late: Iterator[RenderedBlock]) -> Iterator[RenderedBlock]:
        """Hold the stems back until the mix of the same time is there."""
        waiting: deque[RenderedBlock] = deque()
        mix = np.zeros((2, 0), dtype=np.float32)
        skip = self.bus.latency

        def ready() -> Iterator[RenderedBlock]:
            nonlocal mix
            while waiting and mix.shape[1] >= waiting[0].mix.shape[1]:
                block = waiting.popleft()
                frames = block.mix.shape[1]
                yield RenderedBlock(block.start, block.balanced, block.stems, mix[:, :frames])
                mix = mix[:, frames:]

        for block in late:
            waiting.append(block)
            dropped = min(skip, block.mix.shape[1])
            skip -= dropped
            mix = np.concatenate([mix, block.mix[:, dropped:]], axis=1)
            yield from ready()
        rest = self.bus.flush().astype(np.float32)
        mix = np.concatenate([mix, rest[:, skip:]], axis=1)
        yield from ready()


def render_blocks(
    plan: Plan, session_root: Path, *, block_frames: int = BLOCK_FRAMES, workers: int = 2
) -> Generator[RenderedBlock, None, None]:
    """Yield a plan's stems and mix, block by block; ``plan.frames`` frames in all.

    Raises
    ------
    InputError
        With every track that cannot be read, before anything is rendered.
    """
    return Renderer(plan, session_root, block_frames=block_frames, workers=workers).blocks()


def apply_console(plan: Plan, balanced: Mapping[str, FloatArray]) -> RenderedBlock:
    """Render stems that are in memory already, from silent filters: an excerpt, for instance.

    Parameters
    ----------
    balanced
        Stems before the console by name, each (2, frames), as from :func:`render_stems`; every
        unmuted stem of the plan.
    """
    rate = plan.sample_rate
    names = [stem.name for stem in plan.stems if not stem.mute]
    before = {name: np.asarray(balanced[name], dtype=np.float32) for name in names}
    after = {
        stem.name: Strip(stem.settings, level_lufs=stem.level_lufs, sample_rate=rate).process(
            before[stem.name]
        )
        for stem in plan.stems
        if not stem.mute
    }
    bus = Bus(
        plan.bus,
        sample_rate=rate,
        ceiling_dbtp=plan.delivery.limiter_ceiling_dbtp,
        trim_db=plan.delivery.trim_db,
    )
    bus_input = np.zeros((2, max((x.shape[1] for x in after.values()), default=0)))
    for processed in after.values():
        bus_input += processed
    mix = np.concatenate([bus.process(bus_input), bus.flush()], axis=1)[:, bus.latency :]
    return RenderedBlock(0, before, after, mix.astype(np.float32))


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
class RenderSummary:
    """What was rendered.

    Parameters
    ----------
    mix
        The delivered mix's meters, read before quantisation.
    stems
        By name, in the plan's order, muted ones left out.
    bus_compression, limiting
        What the bus's compressor and the limiter took away.
    clipped
        Samples of the mix over full scale; 0 under any ceiling at or below 0 dBTP.
    """

    mix_path: Path
    frames: int
    sample_rate: int
    mix: Loudness
    stems: dict[str, StemSummary]
    bus_compression: GainReduction
    limiting: GainReduction
    clipped: int


class _Output:
    """Where one signal goes: a meter, a file, or both."""

    def __init__(self, writer: AudioWriter | None, meter: LoudnessMeter | None) -> None:
        self.writer = writer
        self.meter = meter

    def put(self, block: FloatArray) -> None:
        if self.meter is not None:
            self.meter.process(block)
        if self.writer is not None:
            self.writer.write(block)


def render_to_files(
    plan: Plan,
    session_root: Path,
    *,
    mix_path: Path,
    stems_dir: Path | None = None,
    balanced_dir: Path | None = None,
    on_progress: Callable[[float], None] | None = None,
    workers: int = 2,
    block_frames: int = BLOCK_FRAMES,
) -> RenderSummary:
    """Render a plan to its mix and, if asked for, its stems.

    The mix is written in the plan's delivery format, stems as 32-bit float WAV under
    :func:`stem_file_names`. A file appears when all of the pass is done, or not at all.

    Parameters
    ----------
    mix_path
        The mix; its folder exists.
    stems_dir, balanced_dir
        Folders, made if missing, for the stems after and before the console.
    on_progress
        Called after each block with the fraction done, 0 to 1.
    workers
        Threads; the samples do not depend on them.

    Raises
    ------
    InputError
        With every track that cannot be read, before anything is written.
    """
    renderer = Renderer(plan, session_root, block_frames=block_frames, workers=workers)
    rate, delivery = plan.sample_rate, plan.delivery
    files = stem_file_names(plan)
    with ExitStack() as stack:

        def float_file(folder: Path | None, name: str) -> AudioWriter | None:
            if folder is None:
                return None
            folder.mkdir(parents=True, exist_ok=True)
            return stack.enter_context(
                AudioWriter(
                    folder / files[name],
                    sample_rate=rate,
                    channels=2,
                    format="wav",
                    subtype="FLOAT",
                )
            )

        mix = delivery_writer(mix_path, delivery, sample_rate=rate)
        stack.enter_context(mix)
        mix_meter = LoudnessMeter(sample_rate=rate, channels=2)
        mix_output = _Output(mix, mix_meter)
        meters = {name: LoudnessMeter(sample_rate=rate, channels=2) for name in files}
        stems = {name: _Output(float_file(stems_dir, name), meters[name]) for name in files}
        balanced = {name: _Output(float_file(balanced_dir, name), None) for name in files}
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        for block in stack.enter_context(closing(renderer.blocks())):
            work = [pool.submit(mix_output.put, block.mix)]
            work += [pool.submit(stems[name].put, block.stems[name]) for name in files]
            work += [pool.submit(balanced[name].put, block.balanced[name]) for name in files]
            for future in work:
                future.result()
            if on_progress is not None:
                on_progress((block.start + block.mix.shape[1]) / plan.frames)
    tag_delivery(mix_path, delivery, mix_meter.result(), sample_rate=rate)
    limiter = renderer.bus.limiter
    return RenderSummary(
        mix_path=mix_path,
        frames=mix.frames,
        sample_rate=rate,
        mix=mix_meter.result(),
        stems={
            name: StemSummary(
                loudness=meters[name].result(),
                compression=renderer.strips[name].compressor.gain_reduction,
                path=None if stems_dir is None else stems_dir / file,
                balanced_path=None if balanced_dir is None else balanced_dir / file,
            )
            for name, file in files.items()
        },
        bus_compression=renderer.bus.compressor.gain_reduction,
        limiting=limiter.gain_reduction if limiter else GainReduction(0.0, 0.0),
        clipped=mix.clipped,
    )
