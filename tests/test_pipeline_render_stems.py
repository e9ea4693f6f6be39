"""Many balances of one stem from one reading: sample for sample what one plan gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio.stream import AudioStream, read
from pipeline.plan import Plan, StemPlan, TrackPlan
from pipeline.render import stems as stem_sum
from pipeline.render.stems import StemSum
from pipeline.render.tracks import PlacedTrack, place_tracks

RATE = 48_000
FRAMES = 60_000


@pytest.fixture(scope="module")
def placed(
    tmp_path_factory: pytest.TempPathFactory, put: Callable[..., Path]
) -> list[tuple[PlacedTrack, ...]]:
    root = tmp_path_factory.mktemp("session")
    noise = np.random.default_rng(2).standard_normal((4, FRAMES))
    put(root / "a.wav", 0.1 * noise[:1, :50_000], RATE, subtype="PCM_24")
    put(root / "b.flac", 0.1 * noise[1:3], RATE, subtype="PCM_16")
    put(root / "c.wav", 0.1 * noise[3:, :20_000], 44_100, subtype="FLOAT")
    balances = ((-3.0, 2.5, 0.0), (11.0, -40.0, 6.0))
    return [
        place_tracks(
            Plan(
                session=".",
                sample_rate=RATE,
                frames=FRAMES,
                tracks=tuple(
                    TrackPlan(path=name, role="kick", subgroup="s", gain_db=g, pan=p, offset_s=o)
                    for name, g, p, o in zip(
                        ("a.wav", "b.flac", "c.wav"),
                        gains_db,
                        (0.0, -0.3, 1.0),
                        (0.01, 0.0, 0.5),
                        strict=True,
                    )
                ),
                stems=(StemPlan(name="s"),),
            ),
            root,
        )["s"]
        for gains_db in balances
    ]


def summed(tracks: tuple[PlacedTrack, ...]) -> np.ndarray:
    """Return the sum of whole files at their gains, in float64 and in their order."""
    total = np.zeros((2, FRAMES))
    for track in tracks:
        audio = read(track.path, sample_rate=RATE).astype(np.float64)
        total[0, track.start : track.end] += track.gain_left * audio[0]
        total[1, track.start : track.end] += track.gain_right * audio[-1]
    return total.astype(np.float32)


@pytest.mark.parametrize("block", [1000, 65_536])
def test_each_balance_is_that_of_its_own_plan(
    block: int, placed: list[tuple[PlacedTrack, ...]]
) -> None:
    expected = [summed(tracks) for tracks in placed]
    stems = StemSum(placed, sample_rate=RATE)
    found = [stems.read(min(block, FRAMES - start)) for start in range(0, FRAMES, block)]
    assert np.array_equal(np.concatenate(found, axis=2), np.stack(expected))
    for tracks, alone in zip(placed, expected, strict=True):
        assert np.array_equal(StemSum([tracks], sample_rate=RATE).read(FRAMES)[0], alone)


def test_each_track_is_decoded_once(
    placed: list[tuple[PlacedTrack, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    class Counted(AudioStream):
        def __init__(self, path: Path, **rest: int) -> None:
            opened.append(path.name)
            super().__init__(path, **rest)

    monkeypatch.setattr(stem_sum, "AudioStream", Counted)
    seen = np.zeros(3, int)

    def on_block(index: int, start: int, block: np.ndarray) -> None:
        assert start >= placed[0][index].start
        seen[index] += block.shape[1]

    stems = StemSum([*placed, *placed], sample_rate=RATE, on_block=on_block)
    for start in range(0, FRAMES, 7000):
        stems.read(min(7000, FRAMES - start))
    assert sorted(opened) == ["a.wav", "b.flac", "c.wav"]
    assert seen.tolist() == [track.end - track.start for track in placed[0]]
    stems.close()


def test_other_tracks_are_refused(placed: list[tuple[PlacedTrack, ...]]) -> None:
    with pytest.raises(ValueError, match="not of the same tracks"):
        StemSum([placed[0], placed[1][:2]], sample_rate=RATE)


def test_a_stem_without_tracks_is_silent() -> None:
    assert not StemSum([(), ()], sample_rate=RATE).read(10).any()
