import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.one_pass import (
    Renderer,
    apply_console,
    render_blocks,
    render_to_files,
)

from pipeline.console.parameters import BUS, STRIP, Parameter, default_settings
from pipeline.console.processors import Bus, Strip
from pipeline.errors import InputError
from pipeline.plan import Delivery, Plan, StemPlan, TrackPlan
from pipeline.plan_file import load_plan, plan_json
from pipeline.render.stems import render_stems
from pipeline.render.tracks import stem_file_names
from pipeline.units import FloatArray

RATE = 44100
FRAMES = 30000
AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"


def write(path: Path, audio: FloatArray, *, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, rate, subtype="FLOAT")


def drawn(table: tuple[Parameter, ...], *, seed: int) -> dict[str, float]:
    draw = np.random.default_rng(seed)
    settings = {p.name: p.low + draw.uniform(0.4, 0.6) * (p.high - p.low) for p in table}
    return settings | {"threshold_lu": -30.0, "ratio": 3.0, "gain_db": 3.0}


def track(path: str, subgroup: str, **more: float | bool) -> TrackPlan:
    return TrackPlan(path=path, role="other", subgroup=subgroup, **more)  # type: ignore[arg-type]


@pytest.fixture
def session(tmp_path: Path) -> Path:
    draw = np.random.default_rng(7)
    root = tmp_path / "session"
    for name, channels, frames, rate in (
        ("kick.wav", 1, FRAMES, RATE),
        ("snare.wav", 1, 12000, RATE),
        ("Room Ö.wav", 2, FRAMES, RATE),
        ("sub/bass.wav", 1, 24000, 48000),
        ("pad.wav", 2, 9000, RATE),
    ):
        write(root / name, 0.1 * draw.standard_normal((channels, frames)), rate=rate)
    return root


@pytest.fixture
def plan() -> Plan:
    return Plan(
        session="session",
        sample_rate=RATE,
        frames=FRAMES,
        tracks=(
            track("kick.wav", "drums", gain_db=-3.0),
            track("snare.wav", "drums", pan=0.3, offset_s=0.1),
            track("Room Ö.wav", "drums", gain_db=2.0, pan=-0.5),
            track("sub/bass.wav", "bass"),
            track("pad.wav", "keys", offset_s=0.4),
        ),
        stems=(
            StemPlan(name="drums", settings=drawn(STRIP, seed=1)),
            StemPlan(name="bass", settings=drawn(STRIP, seed=2)),
            StemPlan(name="keys", settings=drawn(STRIP, seed=3) | {"spread": 0.6}),
        ),
        bus=drawn(BUS, seed=4) | {"gain_db": 24.0},
        delivery=Delivery(limiter_ceiling_dbtp=-1.0, trim_db=-2.0, subtype="FLOAT"),
    )


def whole(plan: Plan, root: Path, *, block_frames: int = 65536, workers: int = 2) -> FloatArray:
    blocks = list(render_blocks(plan, root, block_frames=block_frames, workers=workers))
    assert [b.start for b in blocks] == list(range(0, plan.frames, block_frames))
    return np.concatenate([b.mix for b in blocks], axis=1)


@pytest.mark.parametrize(("block_frames", "workers"), [(64, 1), (100, 2), (4096, 3)])
def test_blocks_and_workers_never_change_a_sample(
    session: Path, plan: Plan, block_frames: int, workers: int
) -> None:
    plan = plan.model_copy(update={"frames": 12000})
    mix = whole(plan, session, block_frames=block_frames, workers=workers)
    np.testing.assert_array_equal(mix, whole(plan, session))


def test_exported_stems_through_the_bus_are_the_mix(
    session: Path, plan: Plan, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    summary = render_to_files(
        plan,
        session,
        mix_path=out / "mix.wav",
        stems_dir=out / "stems",
        balanced_dir=out / "balanced",
        block_frames=7000,
    )
    total = np.zeros((2, FRAMES))
    for name, stem in summary.stems.items():
        assert stem.path is not None
        assert stem.balanced_path is not None
        processed = soundfile.read(stem.path, dtype="float64")[0].T
        total += processed
        balanced = soundfile.read(stem.balanced_path, dtype="float32")[0].T
        found = next(s for s in plan.stems if s.name == name)
        strip = Strip(found.settings, level_lufs=found.level_lufs, sample_rate=RATE)
        np.testing.assert_array_equal(strip.process(balanced), processed.astype(np.float32))
    bus = Bus(
        plan.bus,
        sample_rate=RATE,
        ceiling_dbtp=plan.delivery.limiter_ceiling_dbtp,
        trim_db=plan.delivery.trim_db,
    )
    expected = np.concatenate([bus.process(total), bus.flush()], axis=1)[:, bus.latency :]
    mix, rate = soundfile.read(summary.mix_path, dtype="float64")
    assert (rate, mix.shape) == (RATE, (FRAMES, 2))
    assert summary.limiting.max_db > 3.0
    # The promise is -90 dBFS; the exported float32 stems are what the bus was given, so all that
    # is left is the rounding of the mix itself to float32, -150 dB of full scale.
    assert 20 * np.log10(np.abs(mix.T - expected).max()) < -140


def test_a_24_bit_mix_differs_from_its_stems_by_its_dither_alone(
    session: Path, plan: Plan, tmp_path: Path
) -> None:
    delivery = plan.delivery.model_copy(update={"subtype": "PCM_24"})
    plan = plan.model_copy(update={"delivery": delivery})
    summary = render_to_files(plan, session, mix_path=tmp_path / "mix.wav")
    mix = soundfile.read(summary.mix_path, dtype="float64")[0].T
    # Triangular dither and rounding: at most 1.5 steps of 2^-23, -135 dBFS.
    assert 20 * np.log10(np.abs(mix - whole(plan, session)).max()) < -134.9
    assert soundfile.info(summary.mix_path).subtype == "PCM_24"


def test_a_neutral_plan_is_the_plain_sum_in_place(tmp_path: Path) -> None:
    impulse = np.zeros((1, 500), dtype=np.float32)
    impulse[0, 100] = 0.5
    stereo = np.zeros((2, 500), dtype=np.float32)
    stereo[0, 499], stereo[1, 0] = 0.25, -0.25
    write(tmp_path / "a.wav", impulse)
    write(tmp_path / "b.wav", stereo)
    plan = Plan(
        session=".",
        sample_rate=RATE,
        frames=1500,
        tracks=(track("a.wav", "x"), track("b.wav", "y", offset_s=1000 / RATE)),
        stems=(StemPlan(name="x"), StemPlan(name="y")),
    )
    expected = np.zeros((2, 1500), dtype=np.float32)
    expected[:, 100] = 0.5
    expected[0, 1499], expected[1, 1000] = 0.25, -0.25
    for block_frames in (50, 1500):  # shorter than the limiter's latency, and the whole
        np.testing.assert_array_equal(whole(plan, tmp_path, block_frames=block_frames), expected)


def test_mono_is_given_to_both_channels_and_stereo_keeps_its_image(
    session: Path, plan: Plan
) -> None:
    stems = render_stems(plan, session, frames=FRAMES)
    read = {n: soundfile.read(session / n)[0].T for n in ("kick.wav", "snare.wav", "Room Ö.wav")}
    expected = np.zeros((2, FRAMES))
    expected += 10 ** (-3 / 20) * read["kick.wav"]
    angle = 1.3 * np.pi / 4
    gains = np.sqrt(2) * np.array([[np.cos(angle)], [np.sin(angle)]])
    expected[:, 4410:16410] += gains * read["snare.wav"]
    angle = 0.5 * np.pi / 4
    gains = 10 ** (2 / 20) * np.sqrt(2) * np.array([[np.cos(angle)], [np.sin(angle)]])
    expected += gains * read["Room Ö.wav"]
    # Written as float32 and summed in float64: the one rounding of the sum is left.
    np.testing.assert_allclose(stems["drums"], expected, atol=1e-7)


def test_a_track_of_inverted_polarity_cancels_itself(session: Path) -> None:
    twice = (
        track("Room Ö.wav", "drums", gain_db=2.0, pan=-0.5),
        track("Room Ö.wav", "drums", gain_db=2.0, pan=-0.5, invert=True),
    )
    stems = (StemPlan(name="drums"),)
    plan = Plan(session=".", sample_rate=RATE, frames=FRAMES, tracks=twice, stems=stems)
    assert not render_stems(plan, session, frames=FRAMES)["drums"].any()
    alone = plan.model_copy(update={"tracks": twice[:1]})
    assert render_stems(alone, session, frames=FRAMES)["drums"].any()


def test_an_excerpt_of_the_stems_is_that_part_of_the_whole_render(
    session: Path, plan: Plan
) -> None:
    blocks = list(render_blocks(plan, session, block_frames=FRAMES))
    excerpt = render_stems(plan, session, start_frame=11111, frames=9000, workers=2)
    assert list(excerpt) == ["drums", "bass", "keys"]
    for name, audio in excerpt.items():
        expected = blocks[0].balanced[name][:, 11111:20111]
        # The resampled bass is read from its middle: its filter starts from other zeros.
        tolerance = 1e-6 if name == "bass" else 0.0
        np.testing.assert_allclose(audio, expected, atol=tolerance)


def test_the_console_in_memory_renders_what_the_files_render(session: Path, plan: Plan) -> None:
    block = next(iter(render_blocks(plan, session, block_frames=FRAMES)))
    again = apply_console(plan, block.balanced)
    np.testing.assert_array_equal(again.mix, block.mix)
    for name, audio in block.stems.items():
        np.testing.assert_array_equal(again.stems[name], audio)


def test_a_plan_written_and_read_back_renders_the_same_samples(
    session: Path, plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / "plan.json").write_text(plan_json(plan), encoding="utf-8")
    again = load_plan(tmp_path / "plan.json")
    np.testing.assert_array_equal(whole(again, session), whole(plan, session))
    edited = again.model_copy(update={"delivery": Delivery(trim_db=-8.0)})
    assert np.abs(whole(edited, session) - whole(plan, session)).max() > 0.1


def test_muted_tracks_and_stems_are_not_heard_nor_read(session: Path, plan: Plan) -> None:
    (session / "pad.wav").unlink()
    (session / "snare.wav").unlink()
    tracks = tuple(t.model_copy(update={"mute": t.path == "snare.wav"}) for t in plan.tracks)
    stems = tuple(s.model_copy(update={"mute": s.name == "keys"}) for s in plan.stems)
    muted = plan.model_copy(update={"tracks": tracks, "stems": stems})
    block = next(iter(render_blocks(muted, session)))
    assert list(block.stems) == list(block.balanced) == ["drums", "bass"]
    assert np.isfinite(block.mix).all()


def test_every_track_that_cannot_be_read_is_named_before_anything_is_written(
    session: Path, plan: Plan, tmp_path: Path
) -> None:
    write(session / "surround.wav", np.zeros((6, 100)))
    write(tmp_path / "outside.wav", np.zeros((1, 100)))
    (session / "broken.wav").write_bytes(b"RIFF")
    bad = (
        str(tmp_path / "outside.wav"),
        "../outside.wav",
        "sub/../../outside.wav",
        "gone.wav",
        "broken.wav",
        "surround.wav",
    )
    plan = plan.model_copy(
        update={"tracks": (*plan.tracks, *(track(path, "bass") for path in bad))}
    )
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError) as caught:
        render_to_files(plan, session, mix_path=out / "mix.wav", stems_dir=out / "stems")
    said = [str(problem) for problem in caught.value.problems]
    assert len(said) == len(bad)
    assert all("leads out of the session's folder" in text for text in said[:3])
    assert "gone.wav" in said[3]
    assert "does not exist" in said[3]
    assert "broken.wav" in said[4]
    assert "has 6 channels" in said[5]
    assert list(out.iterdir()) == []


def test_a_path_that_comes_back_into_the_session_is_no_offence(session: Path, plan: Plan) -> None:
    tracks = (track("sub/../kick.wav", "drums"),)
    plan = plan.model_copy(update={"tracks": tracks})
    assert np.abs(render_stems(plan, session, frames=1000)["drums"]).max() > 0.1


def test_a_failure_on_the_way_leaves_no_file(session: Path, plan: Plan, tmp_path: Path) -> None:
    def stop(done: float) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        render_to_files(
            plan,
            session,
            mix_path=out / "mix.wav",
            stems_dir=out / "stems",
            on_progress=stop,
            block_frames=5000,
        )
    assert [p for p in out.rglob("*") if p.is_file()] == []


def test_the_summary_says_what_was_rendered(session: Path, plan: Plan, tmp_path: Path) -> None:
    seen: list[float] = []
    summary = render_to_files(
        plan,
        session,
        mix_path=tmp_path / "mix.wav",
        on_progress=seen.append,
        block_frames=10000,
    )
    assert seen == pytest.approx([1 / 3, 2 / 3, 1.0])
    # -1 dBTP and 2 dB of trim.
    assert -3.3 < summary.mix.true_peak_dbtp <= -3.0
    assert summary.clipped == 0
    assert list(summary.stems) == ["drums", "bass", "keys"]
    renderer = Renderer(plan, session)
    for _ in renderer.blocks():
        pass
    for name, stem in summary.stems.items():
        assert stem.path is None
        assert stem.compression == renderer.strips[name].compressor.gain_reduction
    assert summary.stems["drums"].compression.max_db > 1.0
    assert summary.frames == FRAMES


def test_file_names_of_stems_are_safe_and_distinct() -> None:
    names = ("drums", "Drums", "../../etc", "a/b", "a:b", "nul", "..", "lead vocals")
    plan = Plan(
        session=".",
        sample_rate=RATE,
        frames=1,
        tracks=(),
        stems=tuple(StemPlan(name=name) for name in names),
    )
    files = stem_file_names(plan)
    assert list(files) == list(names)
    assert files["drums"] == "drums.wav"
    assert files["lead vocals"] == "lead vocals.wav"
    assert len({file.casefold() for file in files.values()}) == len(names)
    for file in files.values():
        assert Path(file).name == file
        assert not file.startswith(".")


def test_three_hundred_tracks_are_the_sum_of_three_hundred(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    audio = (0.01 * draw.standard_normal((300, 1, 400))).astype(np.float32)
    for i, x in enumerate(audio):
        write(tmp_path / f"{i}.wav", x)
    plan = Plan(
        session=".",
        sample_rate=RATE,
        frames=400,
        tracks=tuple(track(f"{i}.wav", "all") for i in range(300)),
        stems=(StemPlan(name="all"),),
    )
    if sys.platform == "win32":
        mix = whole(plan, tmp_path, block_frames=150)
    else:
        import resource

        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            # Where macOS begins: fewer files than tracks that sound at once.
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
            mix = whole(plan, tmp_path, block_frames=150)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    expected = np.repeat(audio.astype(np.float64).sum(axis=0), 2, axis=0)
    # One rounding to float32 of a sum below 1.
    np.testing.assert_allclose(mix, expected, atol=6e-8)


@pytest.mark.skipif(not AUDIO.is_dir(), reason="needs the recordings in shared/audio")
def test_a_real_session_nulls_and_keeps_its_ceiling(tmp_path: Path) -> None:
    root = AUDIO / "sessions" / "delta_rock"
    paths = sorted(p for p in root.iterdir() if p.suffix in {".flac", ".ogg", ".wav"})
    info = soundfile.info(paths[0])
    names = [p.stem for p in paths]
    plan = Plan(
        session=str(root),
        sample_rate=info.samplerate,
        frames=min(info.frames, 5 * info.samplerate),
        tracks=tuple(track(p.name, p.stem) for p in paths),
        stems=tuple(StemPlan(name=n, settings=drawn(STRIP, seed=i)) for i, n in enumerate(names)),
        bus=default_settings(BUS) | drawn(BUS, seed=99) | {"gain_db": 12.0},
    )
    summary = render_to_files(
        plan, root, mix_path=tmp_path / "mix.wav", stems_dir=tmp_path / "stems"
    )
    total = np.zeros((2, plan.frames))
    for stem in summary.stems.values():
        assert stem.path is not None
        total += soundfile.read(stem.path)[0].T
    bus = Bus(
        plan.bus,
        sample_rate=plan.sample_rate,
        ceiling_dbtp=plan.delivery.limiter_ceiling_dbtp,
        trim_db=plan.delivery.trim_db,
    )
    expected = np.concatenate([bus.process(total), bus.flush()], axis=1)[:, bus.latency :]
    mix = soundfile.read(summary.mix_path)[0].T
    assert 20 * np.log10(np.abs(mix - expected).max()) < -90
    assert summary.limiting.max_db > 0.0
    assert summary.mix.true_peak_dbtp <= plan.delivery.limiter_ceiling_dbtp
    assert dataclasses.asdict(summary)["clipped"] == 0
