"""The steps by themselves: what they return, and when they work again."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from flows.mix.steps.balance import BalanceJob, balance_step, cut, passages
from flows.mix.steps.tracks import TrackJob, check_step, examine_step
from pipeline.audio.check import TrackCheck
from pipeline.plan import Plan, StemPlan, TrackPlan
from pipeline.render.stems import render_stems

Put = Callable[..., Path]
RATE = 22_050


def never(*_: object, **__: object) -> None:
    raise AssertionError("done again")


def noise(seconds: float, channels: int = 1, *, seed: int = 1, rate: int = RATE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(0.1 * rng.standard_normal((channels, round(seconds * rate))))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_a_file_is_checked_once(
    tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "Kick.wav", noise(0.5), RATE, subtype="FLOAT")
    job = TrackJob(path, "Kick.wav", store)
    first = check_step(job)
    assert first.failure is None
    assert first.frames == RATE // 2
    with monkeypatch.context() as patch:
        patch.setattr("flows.mix.steps.tracks.check_track", never)
        assert check_step(job) == first
        copy = shutil.copy(path, tmp_path / "Copy.wav")
        assert check_step(TrackJob(copy, "Copy.wav", store)) == first  # the same content
    spoilt = noise(0.5)
    spoilt[0, 100] = np.nan
    put(path, spoilt, RATE, subtype="FLOAT")
    again = check_step(job)
    assert again.failure is not None
    assert again.non_finite_s == pytest.approx(100 / RATE)
    silent = put(tmp_path / "Silent.wav", np.zeros((1, 100)), RATE)
    for _ in range(2):  # -inf dBFS survives the store
        assert check_step(TrackJob(silent, "Silent.wav", store)).peak_dbfs == -np.inf


@pytest.mark.parametrize("step", [check_step, lambda job: examine_step(job).check])
def test_what_cannot_be_read_fails_and_is_not_remembered(
    tmp_path: Path, store: Path, put: Put, step: Callable[[TrackJob], TrackCheck]
) -> None:
    job = TrackJob(tmp_path / "Kick.wav", "Kick.wav", store)
    assert "does not exist" in str(step(job).failure)
    put(job.path, noise(0.5), RATE)
    assert step(job).failure is None


@pytest.mark.parametrize("step", [check_step, lambda job: examine_step(job).check])
def test_what_the_system_refused_for_a_while_is_not_remembered(
    tmp_path: Path,
    store: Path,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    step: Callable[[TrackJob], TrackCheck],
) -> None:
    job = TrackJob(put(tmp_path / "Kick.wav", noise(0.5), RATE), "Kick.wav", store)

    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.audio.formats.pcm.PcmReader.read_into", refuse)
        assert step(job).failure is not None
    assert step(job).failure is None


def test_a_track_is_examined_once_and_known_by_its_own_name(
    tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "a.wav", noise(1.0), RATE)
    copy = shutil.copy(path, tmp_path / "b.wav")
    first = examine_step(TrackJob(path, "Kick.wav", store))
    assert first.check == check_step(TrackJob(path, "Kick.wav", store))
    assert first.features is not None
    with monkeypatch.context() as patch:
        patch.setattr("flows.mix.steps.tracks.examine", never)
        again = examine_step(TrackJob(copy, "Other/Kick.wav", store))
        assert again.features is not None
        assert again.features.name == "Other/Kick.wav"
        assert (again.check, again.envelope) == (first.check, first.envelope)
        # NaN is not equal to itself
        renamed = dataclasses.replace(again.features, name="Kick.wav")
        assert renamed.to_json() == first.features.to_json()
        with pytest.raises(AssertionError, match="done again"):  # another way to look at it
            examine_step(TrackJob(path, "Kick.wav", store, "full"))


def test_the_envelope_is_the_power_of_each_10_ms(tmp_path: Path, store: Path, put: Put) -> None:
    path = put(tmp_path / "a.wav", noise(1.0, 2), RATE, subtype="FLOAT")
    found = examine_step(TrackJob(path, "a.wav", store))
    assert found.envelope is not None
    envelope = np.load(found.envelope)
    assert (envelope.shape, envelope.dtype) == ((100,), np.float32)
    # Gating does nothing to steady noise but for its beginning and end.
    judged = pyloudnorm.Meter(RATE).integrated_loudness(soundfile.read(path)[0])
    assert -0.691 + 10 * np.log10(envelope.mean()) == pytest.approx(judged, abs=0.2)


def test_a_bad_track_has_no_features_and_is_remembered(
    tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = noise(0.5)
    spoilt[0, 100] = np.nan
    job = TrackJob(put(tmp_path / "a.wav", spoilt, RATE, subtype="FLOAT"), "a.wav", store)
    first = examine_step(job)
    assert "NaN or infinite" in str(first.check.failure)
    assert (first.features, first.envelope) == (None, None)
    monkeypatch.setattr("flows.mix.steps.tracks.examine", never)
    assert examine_step(job) == first


def test_a_track_is_decoded_once(
    tmp_path: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "a.flac", noise(2.0, 2), RATE)
    decoded: list[int] = []
    once = soundfile.SoundFile.read

    def counted(self: soundfile.SoundFile, frames: int, **options: Any) -> Any:
        block = once(self, frames, **options)
        decoded.append(len(block))
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    assert examine_step(TrackJob(path, "a.flac", store)).features is not None
    assert sum(decoded) == 2 * RATE


@given(st.integers(1, 400 * 48_000), st.sampled_from([8_000, 22_050, 48_000]))
def test_passages_are_in_order_inside_and_enough(frames: int, rate: int) -> None:
    found = passages(frames, rate)
    assert all(start >= 0 and start + length <= frames for start, length in found)
    assert all(a + n <= b for (a, n), (b, _) in itertools.pairwise(found))
    total_s = sum(length for _, length in found) / rate
    assert total_s == pytest.approx(min(frames / rate, 56.0), abs=0.01)
    assert found[0][0] == 0
    assert sum(found[-1]) == frames


def test_a_cut_has_soft_ends_and_is_zero_outside() -> None:
    audio = np.ones((2, 1000), np.float32)
    piece = cut(audio, 900, 200, 8_000)
    assert piece.shape == (2, 200)
    assert piece[:, 0].max() == 0.0  # the fade begins at nothing
    assert np.all(piece[:, 40:100] == 1.0)
    assert np.all(piece[:, 100:] == 0.0)
    assert np.all(np.diff(piece[0, :40]) > 0)
    assert np.all(cut(audio, 2000, 50, 8_000) == 0.0)
    assert np.all(cut(audio, -100, 200, 8_000)[:, :100] == 0.0)


def plan_of(frames: int, rate: int, **changes: Any) -> Plan:
    tracks = (
        TrackPlan(path="Kick.wav", role="kick", subgroup="drums", gain_db=-3.0, pan=-0.5),
        TrackPlan(path="Hat.wav", role="hi_hat", subgroup="drums", offset_s=0.25),
        TrackPlan(path="Bass.wav", role="bass", subgroup="bass", gain_db=2.0),
        TrackPlan(path="Loop.wav", role="loop", subgroup="drums", mute=True),
    )
    settings = {"gain_db": 3.0, "low_shelf_gain_db": -4.0, "threshold_lu": -30.0, "ratio": 3.0}
    stems = (StemPlan(name="drums", settings=settings), StemPlan(name="bass"))
    told = {"tracks": tracks, "stems": stems, "bus": {"width": 0.8, "mid_peak_gain_db": 2.0}}
    return Plan(session=".", sample_rate=rate, frames=frames, **(told | changes))


@pytest.fixture
def session(tmp_path: Path, put: Put) -> Path:
    put(tmp_path / "song" / "Kick.wav", noise(2.0), RATE, subtype="FLOAT")
    put(tmp_path / "song" / "Hat.wav", noise(1.0, 2, seed=2), RATE, subtype="FLOAT")
    put(tmp_path / "song" / "Bass.wav", noise(2.0, seed=3), RATE, subtype="FLOAT")
    return tmp_path / "song"


def test_a_balanced_stem_is_the_sum_of_its_tracks(session: Path, store: Path) -> None:
    plan = plan_of(2 * RATE, RATE)
    wanted = render_stems(plan, session, frames=plan.frames)
    for name in ("drums", "bass"):
        stem = balance_step(BalanceJob(plan, name, session, store))
        excerpt = np.load(stem.excerpt)
        assert np.array_equal(excerpt, wanted[name])
        judged = pyloudnorm.Meter(RATE).integrated_loudness(excerpt.T)
        assert stem.loudness_lufs == pytest.approx(judged, abs=0.1)
        assert not stem.silent


def test_a_stem_is_balanced_again_only_where_its_own_tracks_changed(
    session: Path, store: Path, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(2 * RATE, RATE)
    drums, bass = (BalanceJob(plan, name, session, store) for name in ("drums", "bass"))
    keys = balance_step(drums).key, balance_step(bass).key
    kick, *others = plan.tracks
    louder = plan.model_copy(update={"tracks": (kick.model_copy(update={"gain_db": 1.0}), *others)})
    assert balance_step(dataclasses.replace(drums, plan=louder)).key != keys[0]
    styled = plan_of(2 * RATE, RATE, bus={}, stems=plan.stems[::-1])
    with monkeypatch.context() as patch:
        patch.setattr("flows.mix.steps.balance.StemSum", never)
        assert balance_step(dataclasses.replace(bass, plan=louder)).key == keys[1]
        assert balance_step(dataclasses.replace(drums, plan=styled)).key == keys[0]
        put(session / "Loop.wav", noise(2.0), RATE)  # a muted track does not count
        assert balance_step(drums).key == keys[0]
    put(session / "Hat.wav", noise(1.0, 2, seed=9), RATE, subtype="FLOAT")
    assert balance_step(drums).key != keys[0]


def test_a_stem_of_nothing_is_silent(session: Path, store: Path) -> None:
    plan = plan_of(2 * RATE, RATE)
    muted = tuple(track.model_copy(update={"mute": True}) for track in plan.tracks)
    stem = balance_step(
        BalanceJob(plan.model_copy(update={"tracks": muted}), "drums", session, store)
    )
    assert stem.silent
    assert not np.load(stem.excerpt).any()


def test_of_a_long_stem_the_passages_are_kept(tmp_path: Path, store: Path, put: Put) -> None:
    rate = 8_000
    put(tmp_path / "Bass.wav", noise(100.0, rate=rate), rate, subtype="FLOAT")
    track = TrackPlan(path="Bass.wav", role="bass", subgroup="bass")
    stems = (StemPlan(name="bass"),)
    plan = Plan(session=".", sample_rate=rate, frames=100 * rate, tracks=(track,), stems=stems)
    whole = render_stems(plan, tmp_path, frames=plan.frames)["bass"]
    excerpt = np.load(balance_step(BalanceJob(plan, "bass", tmp_path, store)).excerpt)
    pieces = [cut(whole, start, length, rate) for start, length in passages(plan.frames, rate)]
    assert sum(piece.shape[1] for piece in pieces) == 56 * rate
    assert np.array_equal(excerpt, np.concatenate(pieces, axis=1))


def test_turning_a_track_over_is_another_balance(session: Path, store: Path) -> None:
    plan = plan_of(2 * RATE, RATE)
    kick, *others = plan.tracks
    turned = plan.model_copy(update={"tracks": (kick.model_copy(update={"invert": True}), *others)})
    keys = [balance_step(BalanceJob(p, "drums", session, store)).key for p in (plan, turned)]
    assert keys[0] != keys[1]
