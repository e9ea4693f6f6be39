"""Files set right as they are decoded: any block size, any place, any rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio.samples import FileSamples
from pipeline.audio.stream import AudioStream, read, write
from pipeline.console.conditioning import ChannelUse, Conditioning
from pipeline.errors import InputError
from pipeline.plan import Plan, StemPlan, TrackPlan
from pipeline.render.stems import StemSum, render_stems
from pipeline.render.tracks import place_tracks

RATE = 44100


def stereo(path: Path, *, dc: tuple[float, float] = (0.0, 0.0), seconds: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    audio = (0.1 * rng.standard_normal((2, round(seconds * RATE)))).astype(np.float32)
    write(
        path,
        (audio + np.array(dc, np.float32)[:, None]).astype(np.float32),
        sample_rate=RATE,
        subtype="FLOAT",
    )
    return audio


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (ChannelUse.LEFT, lambda x: x[:1]),
        (ChannelUse.RIGHT, lambda x: x[1:]),
        (ChannelUse.MONO, lambda x: (x[:1] + x[1:]) / 2),
        (ChannelUse.MID_SIDE, lambda x: np.stack([x[0] + x[1], x[0] - x[1]])),
        (ChannelUse.SWAP, lambda x: x[::-1]),
        (ChannelUse.INVERT_LEFT, lambda x: np.stack([-x[0], x[1]])),
        (ChannelUse.INVERT_RIGHT, lambda x: np.stack([x[0], -x[1]])),
    ],
)
def test_channels_of_a_stereo_file_are_used_as_said(
    tmp_path: Path, use: ChannelUse, expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    audio = stereo(tmp_path / "a.wav")
    got = read(tmp_path / "a.wav", conditioning=Conditioning(use))
    np.testing.assert_allclose(got, expected(audio), atol=1e-7)


def test_a_side_file_is_opposite_on_both_sides(tmp_path: Path) -> None:
    audio = stereo(tmp_path / "a.wav")
    write(tmp_path / "s.wav", audio[:1], sample_rate=RATE, subtype="FLOAT")
    got = read(tmp_path / "s.wav", conditioning=Conditioning(ChannelUse.SIDE))
    assert np.array_equal(got, np.stack([audio[0], -audio[0]]))


@pytest.mark.parametrize("rate", [RATE, 48000])
def test_constant_dc_leaves_what_a_file_without_it_holds_ends_included(
    tmp_path: Path, rate: int
) -> None:
    stereo(tmp_path / "clean.wav")
    stereo(tmp_path / "dc.wav", dc=(0.02, -0.1))
    clean = read(tmp_path / "clean.wav", sample_rate=rate)
    got = read(tmp_path / "dc.wav", sample_rate=rate, conditioning=Conditioning(dc=(0.02, -0.1)))
    assert got.shape == clean.shape
    # What 32-bit floats round at 0.1, in the file and after it.
    np.testing.assert_allclose(got, clean, atol=1e-7)


@pytest.mark.parametrize("rate", [RATE, 48000])
def test_a_high_pass_gives_the_same_samples_in_any_blocks_and_from_any_place(
    tmp_path: Path, rate: int
) -> None:
    stereo(tmp_path / "a.wav", dc=(0.1, 0.1))
    drift = Conditioning(dc_highpass_hz=5.0)
    whole = read(tmp_path / "a.wav", sample_rate=rate, conditioning=drift)
    assert abs(whole[:, : rate // 10].mean()) < 0.005  # no click at the start
    with AudioStream(tmp_path / "a.wav", sample_rate=rate, conditioning=drift) as stream:
        pieces = [stream.read(n) for n in (1, 999, 70_000, whole.shape[1] - 71_000)]
    assert np.array_equal(np.concatenate(pieces, axis=1), whole)
    with FileSamples(tmp_path / "a.wav", sample_rate=rate, conditioning=drift) as samples:
        later = samples.read_at(2 * rate + 17, 1000)
    # -140 dBFS, the promise of a resampled excerpt
    np.testing.assert_allclose(later, whole[:, 2 * rate + 17 :][:, :1000], atol=1e-7)


def test_what_does_not_fit_the_file_is_refused(tmp_path: Path) -> None:
    audio = stereo(tmp_path / "a.wav")
    write(tmp_path / "mono.wav", audio[:1], sample_rate=RATE)
    with pytest.raises(InputError, match="is mono, and channels = 'left' is for stereo"):
        read(tmp_path / "mono.wav", conditioning=Conditioning(ChannelUse.LEFT))
    with pytest.raises(InputError, match="'side' is for mono"):
        read(tmp_path / "a.wav", conditioning=Conditioning(ChannelUse.SIDE))
    with pytest.raises(InputError, match="dc has 1 values"):
        read(tmp_path / "a.wav", conditioning=Conditioning(dc=(0.1,)))


def test_a_plan_is_rendered_as_it_says_whole_and_in_excerpts(tmp_path: Path) -> None:
    audio = stereo(tmp_path / "a.wav", dc=(0.05, 0.05))
    plan = Plan(
        session=".",
        sample_rate=RATE,
        frames=audio.shape[1],
        tracks=(
            TrackPlan(
                path="a.wav",
                role="keys",
                subgroup="keys",
                channels=ChannelUse.LEFT,
                dc=(0.05, 0.05),
            ),
        ),
        stems=(StemPlan(name="keys"),),
    )
    plan = Plan.model_validate_json(plan.model_dump_json())
    whole = StemSum([place_tracks(plan, tmp_path)["keys"]], sample_rate=RATE).read(plan.frames)[0]
    np.testing.assert_allclose(whole, np.stack([audio[0], audio[0]]), atol=1e-7)
    piece = render_stems(plan, tmp_path, start_frame=40_000, frames=1000)["keys"]
    assert np.array_equal(piece, whole[:, 40_000:41_000])
    wrong = plan.model_copy(update={"tracks": (plan.tracks[0].model_copy(update={"dc": (0.05,)}),)})
    with pytest.raises(InputError, match="dc has 1 values"):
        place_tracks(wrong, tmp_path)
