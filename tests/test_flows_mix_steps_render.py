"""Rendering through the store: the renderer's own samples, made once, and made again if lost."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.one_pass import render_blocks

from flows.mix.steps.balance import BalanceJob, balance_step
from flows.mix.steps.render import (
    DeliverJob,
    Mixdown,
    RenderedStem,
    StemJob,
    deliver_step,
    stem_step,
)
from flows.storage.lookups import StepCounts
from flows.storage.output_folder import copy_file
from pipeline.console.delivery import Density
from pipeline.loudness.true_peak import true_peaks_dbtp
from pipeline.plan import Delivery, Plan, StemPlan, TrackPlan
from stage2.style.measure import measure_style

Put = Callable[..., Path]
RATE = 22_050


def never(*_: object, **__: object) -> None:
    raise AssertionError("done again")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, put: Put) -> Path:
    root = tmp_path_factory.mktemp("song")
    rng = np.random.default_rng(7)
    for name, channels in (("Kick", 1), ("Hat", 2), ("Bass", 1)):
        audio = 0.1 * rng.standard_normal((channels, 2 * RATE))
        put(root / f"{name}.wav", audio, RATE, subtype="FLOAT")
    return root


@pytest.fixture(scope="module")
def plan() -> Plan:
    settings = {"gain_db": 3.0, "low_shelf_gain_db": -4.0, "threshold_lu": -30.0, "ratio": 3.0}
    return Plan(
        session=".",
        sample_rate=RATE,
        frames=2 * RATE,
        tracks=(
            TrackPlan(path="Kick.wav", role="kick", subgroup="drums", gain_db=-3.0, pan=-0.5),
            TrackPlan(path="Hat.wav", role="hi_hat", subgroup="drums", offset_s=0.25),
            TrackPlan(path="Bass.wav", role="bass", subgroup="bass", gain_db=2.0),
        ),
        stems=(StemPlan(name="drums", settings=settings), StemPlan(name="bass")),
        bus={"width": 0.8, "mid_peak_gain_db": 2.0},
        delivery=Delivery(subtype="FLOAT", dither_seed=3),
    )


def stem_jobs(plan: Plan, session: Path, store: Path) -> list[StemJob]:
    jobs = [BalanceJob(plan, stem.name, session, store) for stem in plan.stems]
    return [
        StemJob(job, balance_step(job), stem.settings, stem.level_lufs)
        for job, stem in zip(jobs, plan.stems, strict=True)
    ]


def deliver_job(plan: Plan, stems: list[RenderedStem], store: Path, **changes: Any) -> DeliverJob:
    delivery = plan.delivery.model_copy(update=changes.pop("delivery", {}))
    job = DeliverJob(
        tuple(stems), plan.bus, plan.sample_rate, plan.frames, -14.0, None, delivery, store
    )
    return dataclasses.replace(job, **changes)


def rendered(plan: Plan, session: Path, store: Path) -> tuple[list[RenderedStem], Mixdown]:
    stems = [stem_step(job) for job in stem_jobs(plan, session, store)]
    return stems, deliver_step(deliver_job(plan, stems, store))


def test_stems_and_mix_are_what_the_renderer_gives(
    session: Path, plan: Plan, tmp_path: Path
) -> None:
    stems, done = rendered(plan, session, tmp_path)
    final = plan.model_copy(
        update={
            "bus": {**plan.bus, "gain_db": done.drive_db},
            "delivery": plan.delivery.model_copy(update={"trim_db": done.trim_db}),
        }
    )
    blocks = list(render_blocks(final, session, block_frames=1000))
    mix = np.concatenate([block.mix for block in blocks], axis=1)
    assert np.array_equal(soundfile.read(done.path, dtype="float32")[0].T, mix)
    for planned, stem in zip(plan.stems, stems, strict=True):
        wanted = np.concatenate([block.stems[planned.name] for block in blocks], axis=1)
        assert np.array_equal(soundfile.read(stem.path, dtype="float32")[0].T, wanted)
    assert done.loudness.integrated_lufs == pytest.approx(-14.0, abs=0.1)
    assert done.style == measure_style(mix, sample_rate=RATE)


def test_what_is_rendered_is_found_again_with_all_its_figures(
    session: Path, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stems, done = rendered(plan, session, tmp_path)
    for name in (
        "flows.mix.steps.balance.StemSum",
        "pipeline.render.strips.Strip",
        "pipeline.render.mixdown.Bus",
    ):
        monkeypatch.setattr(name, never)
    again_stems, again = rendered(plan, session, tmp_path)
    assert (again_stems, again) == (stems, done)
    for one, other in zip([*stems, done], [*again_stems, again], strict=True):
        assert np.array_equal(one.loudness.short_term_lufs, other.loudness.short_term_lufs)


def count(work: Callable[[], object]) -> dict[str, dict[str, int]]:
    """Return what the work did and found in the store, by step."""
    counts = StepCounts()
    counts.counting(lambda _: work())(None)
    by_step: dict[str, dict[str, int]] = counts.record()["by_step"]
    return by_step


def test_a_setting_costs_what_it_touches(session: Path, plan: Plan, tmp_path: Path) -> None:
    fresh = count(lambda: rendered(plan, session, tmp_path))
    assert fresh == {
        "balance": {"done": 2, "found": 0},
        "console": {"done": 2, "found": 0},
        "deliver": {"done": 1, "found": 0},
    }
    drums, _ = plan.stems
    louder = StemPlan(name="bass", settings={"gain_db": -3.0})
    changed = plan.model_copy(update={"stems": (drums, louder)})
    assert count(lambda: rendered(changed, session, tmp_path)) == {
        "balance": {"done": 0, "found": 2},
        "console": {"done": 1, "found": 1},
        "deliver": {"done": 1, "found": 0},
    }
    wider = plan.model_copy(update={"bus": {**plan.bus, "width": 1.2}})
    assert count(lambda: rendered(wider, session, tmp_path))["console"]["done"] == 0
    kick, *others = plan.tracks
    renamed = plan.model_copy(
        update={"tracks": (kick.model_copy(update={"role": "tom", "reason": "told"}), *others)}
    )
    nothing = count(lambda: rendered(renamed, session, tmp_path))
    assert {name: row["done"] for name, row in nothing.items()} == dict.fromkeys(nothing, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"target_lufs": -20.0},
        {"density": Density(14.0, 10.0)},
        {"density": Density(14.0, 12.0)},
        {"delivery": {"dither_seed": 9}},
        {"delivery": {"subtype": "PCM_16"}},
        {"delivery": {"limiter_ceiling_dbtp": -3.0}},
        {"delivery": {"format": "flac", "subtype": "PCM_24"}},
    ],
)
def test_every_choice_of_the_delivery_counts(
    session: Path, plan: Plan, tmp_path: Path, changes: dict[str, Any]
) -> None:
    stems, done = rendered(plan, session, tmp_path)
    other = deliver_step(deliver_job(plan, stems, tmp_path, **changes))
    assert other.path.parent != done.path.parent
    # and what only has another name does not
    named = deliver_job(plan, stems, tmp_path, delivery={"target": "spotify"})
    assert deliver_step(named) == done


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("harm", [Path.unlink, spoil, lambda path: shutil.rmtree(path.parent)])
def test_what_the_store_lost_or_spoilt_is_made_again(
    session: Path, plan: Plan, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    jobs = stem_jobs(plan, session, tmp_path)
    stems, done = rendered(plan, session, tmp_path)
    wanted = [path.read_bytes() for path in (stems[0].path, done.path)]
    harm(jobs[0].balanced.whole)
    assert stem_step(jobs[0]) == stems[0]  # it is there: nobody needs the balanced stem
    harm(stems[0].path)
    harm(done.path)
    assert stem_step(jobs[0]) == stems[0]
    assert deliver_step(deliver_job(plan, stems, tmp_path)) == done
    assert [path.read_bytes() for path in (stems[0].path, done.path)] == wanted


def test_what_is_done_to_a_copy_does_not_touch_the_store(
    session: Path, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, done = rendered(plan, session, tmp_path / "store")
    before = done.path.read_bytes()
    for by_kernel in (True, False):
        copy = copy_file(done.path, tmp_path / f"{by_kernel}" / "mix.wav")
        assert copy.read_bytes() == before
        assert not copy.samefile(done.path)
        copy.write_bytes(b"edited")
        assert done.path.read_bytes() == before
        monkeypatch.setattr("flows.storage.output_folder._copied_by_kernel", lambda *_: False)
    with pytest.raises(FileExistsError):
        copy_file(done.path, copy)


def test_an_mp3_is_under_the_ceiling_when_it_is_decoded(
    session: Path, plan: Plan, tmp_path: Path
) -> None:
    stems = [stem_step(job) for job in stem_jobs(plan, session, tmp_path)]
    loud = deliver_job(plan, stems, tmp_path, target_lufs=-6.5, delivery={"format": "mp3"})
    wav = deliver_step(dataclasses.replace(loud, delivery=plan.delivery))
    mp3 = deliver_step(loud)
    ceiling = plan.delivery.limiter_ceiling_dbtp
    decoded, rate = soundfile.read(mp3.path, dtype="float32")
    assert max(true_peaks_dbtp(decoded.T, sample_rate=rate)) <= ceiling
    assert wav.ceiling_dbtp == ceiling
    assert mp3.ceiling_dbtp <= ceiling
    assert mp3.loudness.true_peak_dbtp <= ceiling
    # of white noise the encoder takes the highest frequencies away
    assert mp3.loudness.integrated_lufs == pytest.approx(wav.loudness.integrated_lufs, abs=1.0)
