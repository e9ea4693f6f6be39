"""A track read anywhere: from memory and from its file alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.audio.samples import FileSamples, HeldSamples
from pipeline.audio.stream import read

RATE = 44_100
FRAMES = 60_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the same stereo noise as PCM, which lies open, and FLAC, which is decoded."""
    folder = tmp_path_factory.mktemp("samples")
    audio = np.random.default_rng(4).uniform(-0.5, 0.5, (FRAMES, 2))
    paths = {suffix: folder / f"track.{suffix}" for suffix in ("wav", "flac")}
    for path in paths.values():
        soundfile.write(path, audio, RATE, subtype="PCM_24")
    return paths


@given(
    pieces=st.lists(
        st.tuples(st.integers(-9_000, FRAMES + 9_000), st.integers(0, 40_000)),
        min_size=1,
        max_size=6,
    ),
    suffix=st.sampled_from(["wav", "flac"]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_piece_is_that_of_the_padded_whole(
    files: dict[str, Path], pieces: list[tuple[int, int]], suffix: str
) -> None:
    whole = soundfile.read(files[suffix], dtype="float32")[0].T
    padded = np.pad(whole, ((0, 0), (10_000, 60_000)))
    with FileSamples(files[suffix]) as stored:
        held = HeldSamples(whole, sample_rate=RATE)
        for samples in (held, stored):
            assert (samples.sample_rate, samples.channels, samples.frames) == (RATE, 2, FRAMES)
            for start, frames in pieces:
                wanted = padded[:, 10_000 + start : 10_000 + start + frames]
                np.testing.assert_array_equal(samples.read_at(start, frames), wanted)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_pieces_one_behind_the_other_are_not_sought_for(
    files: dict[str, Path], suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FileSamples(files[suffix]) as samples:
        samples.read_at(100, 50)

        def never(*_: object) -> None:
            raise AssertionError("sought")

        monkeypatch.setattr("pipeline.audio.stream.AudioStream._start", never)
        assert samples.read_at(150, 20_000).any()
        with pytest.raises(AssertionError, match="sought"):
            samples.read_at(0, 10)


def test_at_another_rate_a_piece_is_that_of_the_whole(files: dict[str, Path]) -> None:
    whole = read(files["wav"], sample_rate=48_000)
    with FileSamples(files["wav"], sample_rate=48_000) as samples:
        assert samples.frames == whole.shape[1]
        for start in (30_000, 0, 65_000):
            # Started elsewhere, the resampler rounds differently: -140 dBFS.
            np.testing.assert_allclose(
                samples.read_at(start, 300), whole[:, start : start + 300], atol=1e-7
            )


def test_reading_to_the_end_and_again(files: dict[str, Path]) -> None:
    with FileSamples(files["flac"]) as samples:
        first = samples.read_at(0, FRAMES)
        np.testing.assert_array_equal(samples.read_at(0, FRAMES), first)
    np.testing.assert_array_equal(samples.read_at(7, 7), first[:, 7:14])
    samples.close()


def test_a_signal_of_one_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(channels, frames\)"):
        HeldSamples(np.zeros(4, np.float32), sample_rate=RATE)
