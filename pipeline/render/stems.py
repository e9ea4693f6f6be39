"""Raw tracks to stems: the tracks of a plan summed at their gains, pans and offsets.

A mono track is given to both channels, a stereo one keeps its image; both are balanced by
:func:`pipeline.console.processors.pan_gains`, after the file was set right as the plan says. Sums
are float64 in the order of the plan and become float32 once, so the exported stems are exactly what
the console processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pipeline.audio.stream import AudioStream, read
from pipeline.jit import kernel
from pipeline.plan import Plan
from pipeline.render.tracks import PlacedTrack, place_tracks
from pipeline.units import Float32Array, Float64Array, FloatArray

__all__ = ["BLOCK_FRAMES", "StemSum", "TrackReader", "render_stems"]

BLOCK_FRAMES = 65536

OnBlock = Callable[[int, int, Float32Array], None]


@kernel
def _add(
    totals: Float64Array, block: Float32Array, start: int, gains: Float64Array
) -> None:  # pragma: no cover - compiled
    """Add a block to each balance's sum; the arithmetic of one sample is that of one plan."""
    first = block[0]
    second = block[block.shape[0] - 1]
    for k in range(totals.shape[0]):
        left, right = totals[k, 0], totals[k, 1]
        gain_left, gain_right = gains[k, 0], gains[k, 1]
        for n in range(first.size):
            left[start + n] += gain_left * np.float64(first[n])
            right[start + n] += gain_right * np.float64(second[n])


class TrackReader:
    """Tracks read together, block by block from the start of the mix.

    A track's file is open only while it sounds.

    Parameters
    ----------
    tracks
        Where each lies.
    sample_rate
        Of the mix, in Hz.
    """

    def __init__(self, tracks: Sequence[PlacedTrack], *, sample_rate: int) -> None:
        self._tracks = tracks
        self._sample_rate = sample_rate
        self._streams: dict[int, AudioStream] = {}
        self._position = 0

    def read(self, frames: int) -> Iterator[tuple[int, int, FloatArray]]:
        """Yield index, first frame in the mix and samples of each track in the next block."""
        start, stop = self._position, self._position + frames
        self._position = stop
        for index, track in enumerate(self._tracks):
            first, last = max(start, track.start), min(stop, track.end)
            if first >= last:
                continue
            if index not in self._streams:
                self._streams[index] = AudioStream(
                    track.path, sample_rate=self._sample_rate, conditioning=track.conditioning
                )
            yield index, first, self._streams[index].read(last - first)
            if last == track.end:
                self._streams.pop(index).close()

    def close(self) -> None:
        """Close the files that are still open."""
        while self._streams:
            self._streams.popitem()[1].close()


class StemSum:
    """The sum of one stem's tracks by each balance, block by block from the mix's start.

    Each track is decoded once, whatever the number of balances.

    Parameters
    ----------
    balances
        The same tracks in the same order, placed by each balance.
    sample_rate
        Of the mix in Hz.
    on_block
        Called with each track's index, the frame of the mix where a block of it begins, and the
        block, ``(channels, frames)`` before any gain.

    Raises
    ------
    ValueError
        If the balances are not of the same tracks at the same places.
    """

    def __init__(
        self,
        balances: Sequence[Sequence[PlacedTrack]],
        *,
        sample_rate: int,
        on_block: OnBlock | None = None,
    ) -> None:
        places = [[(t.path, t.start, t.end, t.conditioning) for t in tracks] for tracks in balances]
        if not places or any(place != places[0] for place in places):
            raise ValueError("balances are not of the same tracks: give each of them every track")
        placed = balances[0]
        self._gains = np.array(
            [
                [[tracks[index].gain_left, tracks[index].gain_right] for tracks in balances]
                for index in range(len(placed))
            ]
        ).reshape(len(placed), len(balances), 2)
        self._balances = len(balances)
        self._on_block = on_block
        self._reader = TrackReader(placed, sample_rate=sample_rate)
        self._position = 0

    def read(self, frames: int) -> FloatArray:
        """Return the next block by each balance, float32, shape (balances, 2, frames)."""
        totals = np.zeros((self._balances, 2, frames))
        for index, first, samples in self._reader.read(frames):
            block = np.ascontiguousarray(samples, np.float32)
            _add(totals, block, first - self._position, self._gains[index])
            if self._on_block is not None:
                self._on_block(index, first, block)
        self._position += frames
        return totals.astype(np.float32)

    def close(self) -> None:
        """Close the files that are still open."""
        self._reader.close()


def render_stems(
    plan: Plan, session_root: Path, *, start_frame: int = 0, frames: int, workers: int = 1
) -> dict[str, FloatArray]:
    """Return an excerpt of the stems before the console, float32, each of shape (2, frames).

    Sample for sample what the whole render feeds to the strips, but read from ``start_frame``.

    Raises
    ------
    InputError
        As :func:`place_tracks`.
    """

    def excerpt(tracks: tuple[PlacedTrack, ...]) -> FloatArray:
        total = np.zeros((1, 2, frames))
        for track in tracks:
            first = max(start_frame, track.start)
            last = min(start_frame + frames, track.end)
            if first >= last:
                continue
            block = read(
                track.path,
                sample_rate=plan.sample_rate,
                start_s=(first - track.start) / plan.sample_rate,
                duration_s=(last - first) / plan.sample_rate,
                conditioning=track.conditioning,
            )
            gains = np.array([[track.gain_left, track.gain_right]])
            _add(total, np.ascontiguousarray(block, np.float32), first - start_frame, gains)
        return total[0].astype(np.float32)

    placed = place_tracks(plan, session_root)
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(placed, pool.map(excerpt, placed.values()), strict=True))
