"""DAWproject files: the schema's shape, every decision back out of the XML, and safe names."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.console.compressor import Compressor
from pipeline.console.parameters import WORKING_LUFS
from pipeline.console.processors import SIDES_DB, StereoImage, Strip, pan_gains
from pipeline.dawproject.writer import ProjectAudio, write_dawproject
from pipeline.errors import InputError
from pipeline.plan import Delivery, Plan, StemPlan, TrackPlan

RATE = 48000

# Children in the order of Project.xsd 1.0, for every element that has any.
ORDER = {
    "Project": "Application Transport Structure Arrangement Scenes",
    "Transport": "Tempo TimeSignature",
    "Structure": "Track",
    "Track": "Channel Track",
    "Channel": "Devices Mute Pan Sends Volume",
    "Devices": "Equalizer Compressor Limiter",
    "Equalizer": "Parameters Enabled State Band InputGain OutputGain",
    "Band": "Freq Gain Q Enabled",
    "Compressor": "Parameters Enabled State Attack AutoMakeup InputGain OutputGain Ratio Release "
    "Threshold",
    "Limiter": "Parameters Enabled State Attack InputGain OutputGain Release Threshold",
    "Arrangement": "Lanes Markers",
    "Lanes": "Lanes Clips",
    "Clips": "Clip",
    "Clip": "Audio",
    "Audio": "File",
}
REQUIRED = {
    "Project": {"version"},
    "Application": {"name", "version"},
    "TimeSignature": {"numerator", "denominator"},
    "Equalizer": {"deviceName", "deviceRole"},
    "Compressor": {"deviceName", "deviceRole"},
    "Limiter": {"deviceName", "deviceRole"},
    "Band": {"type"},
    "Clip": {"time"},
    "Audio": {"channels", "duration", "sampleRate"},
    "File": {"path"},
}


def _sound(path: Path, *, seconds: float = 0.25, channels: int = 1, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(seconds * rate)) / rate
    tone = 0.1 * np.sin(2 * np.pi * 440 * time_s)
    soundfile.write(path, np.repeat(tone[:, None], channels, 1), rate, subtype="FLOAT")
    return path


def _plan(**changes: object) -> Plan:
    values: dict[str, object] = {
        "session": "session",
        "sample_rate": RATE,
        "frames": RATE,
        "tracks": (
            TrackPlan(path="kick.wav", role="kick", subgroup="drums", gain_db=-4.5),
            TrackPlan(
                path="sub/hat <&>.wav",
                role="hi_hat",
                subgroup="drums",
                gain_db=2.0,
                pan=-0.4,
                offset_s=1.25,
                mute=True,
                reason='spread "wide"',
            ),
            TrackPlan(path="bass.wav", role="bass", subgroup="bass", gain_db=0.5),
        ),
        "stems": (
            StemPlan(
                name="drums",
                settings={
                    "gain_db": -1.5,
                    "low_shelf_gain_db": 2.5,
                    "high_peak_gain_db": -3.0,
                    "high_peak_frequency_hz": 6100.0,
                    "high_peak_q": 1.7,
                    "threshold_lu": -2.0,
                    "ratio": 2.5,
                    "attack_ms": 12.0,
                    "release_ms": 150.0,
                    "makeup_db": 1.0,
                    "pan": 0.1,
                    "width": 1.3,
                },
            ),
            StemPlan(name="bass", mute=True),
        ),
        "bus": {"mid_peak_gain_db": 1.5, "gain_db": 3.0, "threshold_lu": -14.0, "ratio": 1.5},
        "delivery": Delivery(limiter_ceiling_dbtp=-1.0, trim_db=-2.0),
    }
    return Plan.model_validate(values | changes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "session"
    _sound(folder / "kick.wav")
    _sound(folder / "sub" / "hat <&>.wav", seconds=0.5, channels=2, rate=44100)
    _sound(folder / "bass.wav")
    (tmp_path / "out").mkdir()
    return folder


def _project(path: Path) -> ET.Element:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        ET.fromstring(archive.read("metadata.xml"))
        return ET.fromstring(archive.read("project.xml"))


def _write(root: Path, plan: Plan | None = None, **options: object) -> ET.Element:
    path = root.parent / "out" / "session.dawproject"
    names = {"stems", "sides", "reference"} & options.keys()
    files: dict[str, object] = {"stems": {}} | {name: options.pop(name) for name in names}
    audio = ProjectAudio(root, **files)  # type: ignore[arg-type]
    write_dawproject(path, plan or _plan(), audio, **options)  # type: ignore[arg-type]
    return _project(path)


def _track(project: ET.Element, name: str) -> ET.Element:
    (track,) = (t for t in project.iter("Track") if t.get("name") == name)
    return track


def _value(parent: ET.Element, path: str) -> float:
    return float(parent.find(path).attrib["value"])  # type: ignore[union-attr]


def _db(amplitude: float) -> float:
    return 20.0 * math.log10(amplitude)


@pytest.mark.parametrize("content", ["tracks", "stems"])
def test_shape_follows_the_schema(root: Path, content: str) -> None:
    stem = _sound(root.parent / "stem.wav", channels=2)
    reference = _sound(root.parent / "reference.wav", channels=2)
    project = _write(
        root, stems={"drums": stem, "bass": stem}, reference=reference, content=content
    )
    assert project.tag == "Project"
    assert project.get("version") == "1.0"
    for element in project.iter():
        assert REQUIRED.get(element.tag, set()) <= set(element.attrib), element.tag
        order = ORDER.get(element.tag, "").split()
        places = [order.index(child.tag) for child in element]
        assert places == sorted(places), element.tag
    identities = [e.attrib["id"] for e in project.iter() if "id" in e.attrib]
    assert len(identities) == len(set(identities))
    tracks = {t.get("id") for t in project.iter("Track")}
    channels = {c.get("id") for c in project.iter("Channel")}
    assert {lane.get("track") for lane in project.iter("Lanes")} - {None} <= tracks
    assert {c.get("destination") for c in project.iter("Channel")} - {None} <= channels
    (master,) = (c for c in project.iter("Channel") if c.get("role") == "master")
    assert master.get("destination") is None


def test_tracks_carry_gain_pan_mute_and_place(root: Path) -> None:
    project = _write(root)
    drums = _track(project, "Drums")
    assert [t.get("name") for t in drums.findall("Track")] == ["kick.wav", "hat <&>.wav"]
    kick, hat = drums.findall("Track")
    assert _db(_value(kick, "Channel/Volume")) == pytest.approx(-4.5, abs=1e-6)
    assert _db(_value(hat, "Channel/Volume")) == pytest.approx(2.0, abs=1e-6)
    assert _value(hat, "Channel/Pan") == pytest.approx((1 - 0.4) / 2)
    assert hat.find("Channel/Mute").get("value") == "true"  # type: ignore[union-attr]
    assert kick.find("Channel/Mute").get("value") == "false"  # type: ignore[union-attr]
    group = drums.find("Channel")
    assert group is not None
    assert hat.find("Channel").get("destination") == group.get("id")  # type: ignore[union-attr]
    assert 'spread "wide"' in hat.get("comment", "")
    (lane,) = (x for x in project.iter("Lanes") if x.get("track") == hat.get("id"))
    clip = lane.find("Clips/Clip")
    assert clip is not None
    assert float(clip.attrib["time"]) == 1.25
    audio = clip.find("Audio")
    assert audio is not None
    assert audio.attrib | {"id": ""} == {
        "channels": "2",
        "duration": "0.5",
        "sampleRate": "44100",
        "id": "",
    }
    assert float(clip.attrib["duration"]) == 0.5


@pytest.mark.parametrize(
    ("changes", "comment"),
    [
        ({"channels": "left"}, "in the mix its left channel is a mono track"),
        (
            {"channels": "mid_side", "dc": (0.1, 0.0)},
            "in the mix its DC is taken out and its channels are decoded from mid and side",
        ),
        ({"dc_highpass_hz": 10.0}, "in the mix its DC is taken out"),
    ],
)
def test_what_the_mix_makes_of_a_raw_file_is_said(
    root: Path, changes: dict[str, object], comment: str
) -> None:
    raw = TrackPlan.model_validate({"path": "kick.wav", "role": "kick", "subgroup": "drums"})
    plan = _plan(tracks=(raw.model_copy(update=changes),), stems=(StemPlan(name="drums"),))
    said = _track(_write(root, plan), "kick.wav").get("comment", "")
    assert said == f"kick; the file plays here as it is: {comment}"


def test_raw_files_are_found_from_the_project(root: Path) -> None:
    project = _write(root)
    files = [f for f in project.iter("File")]
    assert len(files) == 3
    for file in files:
        assert file.get("external") == "true"
        assert (root.parent / "out" / file.attrib["path"]).is_file()
        assert not Path(file.attrib["path"]).is_absolute()


def test_strip_settings_are_the_devices(root: Path) -> None:
    project = _write(root)
    devices = _track(project, "Drums").find("Channel/Devices")
    assert devices is not None
    bands = [
        (b.get("type"), _value(b, "Freq"), _value(b, "Gain"), _value(b, "Q"))
        for b in devices.iter("Band")
    ]
    assert bands == [
        ("lowShelf", 100.0, 2.5, pytest.approx(math.sqrt(0.5))),
        ("bell", 6100.0, -3.0, 1.7),
    ]
    compressor = devices.find("Compressor")
    assert compressor is not None
    assert _value(compressor, "Ratio") == 2.5
    assert _value(compressor, "Attack") == pytest.approx(0.012)
    assert _value(compressor, "Release") == pytest.approx(0.150)
    assert _value(compressor, "OutputGain") == 1.0
    assert _value(compressor, "Threshold") == pytest.approx(-23.0 - 2.0)  # against its level
    assert _db(_value(_track(project, "Drums"), "Channel/Volume")) == pytest.approx(-1.5, abs=1e-6)
    assert "side gain 1.30" in _track(project, "Drums").get("comment", "")
    neutral = _track(project, "Bass").find("Channel")
    assert neutral is not None
    devices = neutral.find("Devices")
    assert devices is None or len(devices) == 0
    assert _value(neutral, "Volume") == 1.0
    assert neutral.find("Mute").get("value") == "true"  # type: ignore[union-attr]


def test_bus_is_a_group_before_the_master(root: Path) -> None:
    reference = _sound(root.parent / "reference.wav", channels=2)
    project = _write(root, reference=reference)
    master = _track(project, "Mix bus").find("Channel")
    assert master is not None
    (band,) = master.iter("Band")
    assert (_value(band, "Freq"), _value(band, "Gain")) == (800.0, 1.5)
    assert _value(master, "Devices/Limiter/InputGain") == 3.0
    assert _value(master, "Devices/Limiter/Threshold") == -1.0
    assert _db(_value(master, "Volume")) == pytest.approx(-2.0, abs=1e-6)
    last = _track(project, "Master").find("Channel")
    assert last is not None
    assert last.find("Devices") is None
    assert _value(last, "Volume") == 1.0
    assert master.get("destination") == last.get("id")
    for name in ("Drums", "Bass"):
        group = _track(project, name).find("Channel")
        assert group is not None
        assert group.get("destination") == master.get("id")
    past = _track(project, "Reference: reference.wav").find("Channel")
    assert past is not None
    assert past.get("destination") == last.get("id")


def test_width_and_spread_are_heard_as_in_the_mix(root: Path, tmp_path: Path) -> None:
    """Strip and sides, read back from the XML, null against the console's stem to 24 bits."""
    strip = {"width": 1.4, "spread": 0.5, "pan": -0.3, "gain_db": 3.0, "makeup_db": 1.0}
    plan = _plan(
        stems=(StemPlan(name="drums", settings=strip), StemPlan(name="bass")),
        bus={"width": 1.25},
    )
    audio = 0.1 * np.random.default_rng(1).standard_normal((2, RATE)).astype(np.float32)
    stem, sides = Strip(plan.stems[0].settings, level_lufs=0.0, sample_rate=RATE).process_apart(
        audio, bus_width=1.25
    )
    wide = StereoImage(width=1.25, sample_rate=RATE).process(stem)
    file = tmp_path / "drums sides.flac"
    soundfile.write(file, sides.T * 10 ** (SIDES_DB / 20), RATE, subtype="PCM_24")
    project = _write(root, plan, sides={"drums": file})
    outer, inner = _track(project, "Drums"), _track(project, "Drums: strip")
    assert inner in outer.findall("Track")
    track = _track(project, "Drums: width and spread")
    assert track in outer.findall("Track")
    (lane,) = (x for x in project.iter("Lanes") if x.get("track") == track.get("id"))
    path = lane.find("Clips/Clip/Audio/File")
    assert path is not None
    read = soundfile.read(root.parent / "out" / path.attrib["path"], always_2d=True)[0].T
    pan = 2.0 * _value(inner, "Channel/Pan") - 1.0
    plain = audio * np.asarray(pan_gains(pan))[:, None] * _value(inner, "Channel/Volume")
    total = plain + read * _value(track, "Channel/Volume")
    assert np.abs(total * _value(outer, "Channel/Volume") - wide).max() < 4 / 2**23


def test_all_audio_can_be_collected_in_the_file(root: Path) -> None:
    reference = _sound(root.parent / "reference.wav", channels=2)
    project = _write(root, reference=reference, collect=True)
    with zipfile.ZipFile(root.parent / "out" / "session.dawproject") as archive:
        inside = archive.namelist()[2:]
        assert archive.read(inside[0]) == (root / "kick.wav").read_bytes()
    assert len(inside) == 4
    assert [f.get("path") for f in project.iter("File")] == inside
    assert all(f.get("external") is None for f in project.iter("File"))


def test_a_high_pass_is_a_band_of_the_equaliser(root: Path) -> None:
    stem = StemPlan(name="drums", settings={"high_pass_hz": 80.0, "low_peak_gain_db": -2.0})
    project = _write(root, _plan(stems=(stem, StemPlan(name="bass"))))
    bands = list(_track(project, "Drums").find("Channel").iter("Band"))
    assert [(b.get("type"), _value(b, "Freq")) for b in bands] == [
        ("highPass", 80.0), ("bell", 180.0),
    ]  # fmt: skip


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    track_db=st.floats(-30.0, 30.0),
    strip_db=st.floats(-48.0, 24.0),
    makeup_db=st.floats(-12.0, 24.0),
    ratio=st.sampled_from([1.0, 3.0]),
)
def test_faders_beyond_their_end_still_give_the_same_sum(
    root: Path, track_db: float, strip_db: float, makeup_db: float, ratio: float
) -> None:
    """The chain read back from the XML gives the console's samples, within 1e-4 dB of rounding."""
    strip = {"gain_db": strip_db, "threshold_lu": -7.0, "ratio": ratio, "makeup_db": makeup_db}
    bus = {"threshold_lu": 0.0, "ratio": 2.0, "makeup_db": 1.0, "gain_db": 4.0}
    plan = _plan(
        tracks=(TrackPlan(path="kick.wav", role="kick", subgroup="drums", gain_db=track_db),),
        stems=(StemPlan(name="drums", settings=strip),),
        bus=bus,
    )
    x = np.random.default_rng(5).normal(0.0, 0.1, (2, 4000)).astype(np.float32)
    (stem,) = plan.stems
    y = _compressed(x * 10 ** (track_db / 20), stem.settings, stem.level_lufs)
    y = _compressed(y * 10 ** (strip_db / 20), plan.bus, WORKING_LUFS)
    y = y * 10 ** (plan.bus["gain_db"] / 20)

    project = _write(root, plan)
    group, master = _track(project, "Drums"), _track(project, "Mix bus")
    for volume in project.iter("Volume"):
        assert float(volume.attrib["value"]) <= 2.0 + 1e-6
    z = _through(x * _value(group, "Track/Channel/Volume"), group, plan.stems[0].settings)
    z = _through(z * _value(group, "Channel/Volume"), master, plan.bus)
    z = z * 10 ** (_value(master, "Channel/Devices/Limiter/InputGain") / 20)
    assert np.abs(z - y).max() <= 1e-4 * np.abs(y).max()


def _compressed(x: np.ndarray, values: dict[str, float], level_lufs: float = 0.0) -> np.ndarray:
    return Compressor(values, level_lufs=level_lufs, sample_rate=RATE).process(x.astype(np.float32))


def _through(x: np.ndarray, track: ET.Element, values: dict[str, float]) -> np.ndarray:
    device = track.find("Channel/Devices/Compressor")
    if device is None:
        return x
    read = {
        "threshold_lu": _value(device, "Threshold"),
        "ratio": _value(device, "Ratio"),
        "attack_ms": 1000 * _value(device, "Attack"),
        "release_ms": 1000 * _value(device, "Release"),
        "makeup_db": _value(device, "OutputGain"),
    }
    return _compressed(x, values | read)


def test_stems_travel_inside(root: Path) -> None:
    stem = _sound(root.parent / "a stem.wav", channels=2)
    evil = _sound(root.parent / "..evil name;.wav", channels=2)
    reference = _sound(root.parent / "réf.wav", channels=2)
    name = "../../etc/passwd"
    plan = _plan(
        tracks=(),
        stems=(StemPlan(name="drums", settings={"gain_db": 5.0}), StemPlan(name=name)),
    )
    project = _write(
        root, plan, stems={"drums": stem, name: evil}, reference=reference, content="stems"
    )
    path = root.parent / "out" / "session.dawproject"
    with zipfile.ZipFile(path) as archive:
        inside = archive.namelist()
        assert archive.read(inside[2]) == stem.read_bytes()
        assert archive.read(inside[3]) == evil.read_bytes()
    assert inside[:2] == ["project.xml", "metadata.xml"]
    assert all(n.startswith("audio/") and ".." not in n and n.isascii() for n in inside[2:])
    assert [f.get("path") for f in project.iter("File")] == inside[2:]
    assert all(f.get("external") is None for f in project.iter("File"))
    assert _value(_track(project, "Drums"), "Channel/Volume") == 1.0
    assert not list(_track(project, "Drums").iter("Equalizer"))
    muted = _track(project, "Reference: réf.wav").find("Channel/Mute")
    assert muted is not None
    assert muted.get("value") == "true"


def test_a_stem_without_a_file_is_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"stem drums: has no rendered file"):
        _write(root, content="stems")
    assert list((root.parent / "out").iterdir()) == []


def test_nothing_is_left_of_a_failed_write(root: Path) -> None:
    (root / "kick.wav").unlink()
    with pytest.raises(InputError, match=r"kick\.wav"):
        _write(root)
    assert list((root.parent / "out").iterdir()) == []


def test_unknown_content_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'stems'"):
        _write(root, content="stem")


def test_a_name_that_xml_cannot_hold_is_embedded(root: Path) -> None:
    bell = "bell\x07 ring\n.wav"
    _sound(root / bell)
    plan = _plan(tracks=(TrackPlan(path=bell, role="kick", subgroup="drums"),))
    project = _write(root, plan)
    (file,) = project.iter("File")
    assert file.get("external") is None
    with zipfile.ZipFile(root.parent / "out" / "session.dawproject") as archive:
        assert archive.read(file.attrib["path"]) == (root / bell).read_bytes()
    assert _track(project, "bell\N{REPLACEMENT CHARACTER} ring\n.wav") is not None


def test_same_plan_same_bytes(root: Path) -> None:
    path = root.parent / "out" / "session.dawproject"
    stem = _sound(root.parent / "stem.wav", channels=2)
    files = {"drums": stem, "bass": stem}
    written = []
    for _ in range(2):
        write_dawproject(path, _plan(), ProjectAudio(root, files), content="stems")
        written.append(path.read_bytes())
    assert written[0] == written[1]
