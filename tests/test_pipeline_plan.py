import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.console.parameters import (
    BUS,
    BUS_EQ_BANDS,
    STRIP,
    STRIP_EQ_BANDS,
    Aspect,
    EqBand,
    Parameter,
    default_settings,
)
from pipeline.errors import InputError
from pipeline.plan import PLAN_VERSION, Delivery, Plan, StemPlan, TrackPlan
from pipeline.plan_file import load_plan, plan_json

TABLES = pytest.mark.parametrize("table", [STRIP, BUS], ids=["strip", "bus"])


def record(**changes: Any) -> dict[str, Any]:
    """Return a small plan as its JSON's values."""
    return {
        "version": 3,
        "session": "song",
        "sample_rate": 44100,
        "frames": 1000,
        "tracks": [{"path": "kick.wav", "role": "kick", "subgroup": "drums"}],
        "stems": [{"name": "drums"}],
    } | changes


def validated(values: dict[str, Any]) -> Plan:
    """Return a plan of a file's values."""
    return Plan.model_validate({**values, "version": PLAN_VERSION})


def stored(folder: Path, content: object) -> Path:
    path = folder / "plan.json"
    if isinstance(content, dict) and "tracks" in content:
        tracks = [_as_written(track) for track in content["tracks"]]
        content = {**content, "tracks": tracks}
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def _as_written(track: object) -> object:
    """Return a track with its role in a record, as files have it."""
    if not isinstance(track, dict) or "record" in track or "role" not in track:
        return track
    rest = {key: value for key, value in track.items() if key != "role"}
    return {**rest, "record": {"role": track["role"]}}


def problems_of(folder: Path, content: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_plan(stored(folder, content))
    return [str(problem) for problem in caught.value.problems]


@TABLES
def test_names_are_unique_and_end_in_their_unit(table: tuple[Parameter, ...]) -> None:
    names = [p.name for p in table]
    assert len(set(names)) == len(names)
    units = ("_db", "_lu", "_hz", "_ms", "_q")
    assert {n for n in names if not n.endswith(units)} <= {"ratio", "width", "spread", "pan"}


@TABLES
def test_defaults_lie_in_the_safe_range_and_that_in_the_range(
    table: tuple[Parameter, ...],
) -> None:
    for p in table:
        assert p.low <= p.safe_low <= p.default <= p.safe_high <= p.high, p.name
        assert p.low < p.high, p.name
        assert p.scale == "linear" or p.low > 0.0, p.name
        assert p.doc, p.name


@pytest.mark.parametrize(
    ("table", "bands"), [(STRIP, STRIP_EQ_BANDS), (BUS, BUS_EQ_BANDS)], ids=["strip", "bus"]
)
def test_every_band_is_driven_by_parameters_of_the_table(
    table: tuple[Parameter, ...], bands: tuple[EqBand, ...]
) -> None:
    known = {p.name: p for p in table}
    driven = set()
    for band in bands:
        assert known[band.gain_name].default == 0.0
        driven.add(band.gain_name)
        for value in (band.frequency_hz, band.q):
            if isinstance(value, str):
                assert known[value].low > 0.0
                driven.add(value)
            else:
                assert value > 0.0
    assert driven | {"high_pass_hz"} >= {p.name for p in table if p.aspect is Aspect.EQ} >= driven


def test_the_bus_equaliser_is_broad_and_modest() -> None:
    assert [band.shape for band in BUS_EQ_BANDS] == [
        "low_shelf",
        "peak",
        "peak",
        "peak",
        "high_shelf",
    ]
    for band in BUS_EQ_BANDS:
        gain = BUS.parameter(band.gain_name)
        assert (gain.safe_low, gain.safe_high) == (-4.0, 4.0)
        assert BUS.parameter(str(band.q)).safe_high <= 1.2


@TABLES
def test_default_settings_are_neutral_and_in_the_tables_order(
    table: tuple[Parameter, ...],
) -> None:
    neutral = default_settings(table)
    assert list(neutral) == [p.name for p in table]
    assert {v for k, v in neutral.items() if k.endswith("gain_db")} == {0.0}
    wanted = {"ratio": 1.0, "makeup_db": 0.0, "width": 1.0, "spread": 0.0, "pan": 0.0}
    assert {k: neutral[k] for k in wanted if k in neutral} == {
        k: v for k, v in wanted.items() if k in neutral
    }


def test_default_settings_are_a_copy_each_time() -> None:
    default_settings(STRIP)["pan"] = 1.0
    assert default_settings(STRIP)["pan"] == 0.0
    assert StemPlan(name="a").settings["pan"] == 0.0


def in_range(table: tuple[Parameter, ...]) -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries({}, optional={p.name: st.floats(p.low, p.high) for p in table})


# What no file or name can have is refused: NUL and lone surrogates.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
NAMES = st.text(CHARACTERS, min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(
    strip=in_range(STRIP),
    bus=in_range(BUS),
    names=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    text=st.text(CHARACTERS, max_size=20),
    gain_db=st.floats(-120.0, 120.0),
    trim_db=st.floats(-80.0, 0.0),
)
def test_a_plan_survives_its_json(
    tmp_path_factory: pytest.TempPathFactory,
    strip: dict[str, float],
    bus: dict[str, float],
    names: list[str],
    text: str,
    gain_db: float,
    trim_db: float,
) -> None:
    plan = Plan(
        session=text,
        sample_rate=48000,
        frames=7,
        references=(text,),
        tracks=tuple(
            TrackPlan(path=f"{text}/{n}", role="kick", subgroup=n, gain_db=gain_db, reason=text)
            for n in names
        ),
        stems=tuple(StemPlan(name=n, settings=strip) for n in names),
        bus=bus,
        delivery=Delivery(trim_db=trim_db, target_lufs=-9.5, format="flac"),
        notes=(text,),
    )
    path = stored(tmp_path_factory.mktemp("plan"), plan_json(plan))
    assert load_plan(path) == plan  # every float to the last bit
    assert plan_json(load_plan(path)) == plan_json(plan)


def test_a_path_that_is_no_unicode_survives(tmp_path: Path) -> None:
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    plan = validated(record(tracks=[{"path": name, "role": "kick", "subgroup": "drums"}]))
    written = plan_json(plan)
    assert written.isascii()
    read = load_plan(stored(tmp_path, written))
    assert read.tracks[0].path.encode("utf-8", "surrogateescape") == b"caf\xe9.wav"


def test_what_is_left_out_is_neutral(tmp_path: Path) -> None:
    plan = load_plan(stored(tmp_path, record(stems=[{"name": "drums", "settings": {"pan": 0.5}}])))
    assert plan.stems[0].settings == default_settings(STRIP) | {"pan": 0.5}
    assert list(plan.stems[0].settings) == [p.name for p in STRIP]
    assert plan.bus == default_settings(BUS)
    assert plan.delivery == Delivery()


def test_a_plan_cannot_be_changed_after_its_checks() -> None:
    plan = validated(record())
    with pytest.raises(ValidationError):
        plan.frames = 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sesion": "x"}, "did you mean 'session'?"),
        ({"delivery": {"target_luf": -1.0}}, "did you mean 'target_lufs'?"),
        (
            {"tracks": [{"path": "a", "role": "kick", "subgroup": "drums", "gain": 1.0}]},
            "did you mean 'gain_db'?",
        ),
        ({"stems": [{"name": "drums", "setings": {}}]}, "did you mean 'settings'?"),
        ({"stems": [{"name": "drums", "settings": {"treshold_lu": -9}}]}, "'threshold_lu'?"),
        ({"bus": {"widht": 1.0}}, "did you mean 'width'?"),
        ({"stems": [{"name": "drum"}]}, "no stem for subgroup 'drums': did you mean 'drum'?"),
        ({"stems": [{"name": "drums"}, {"name": "drums"}]}, "stem 'drums' stands twice"),
    ],
)
def test_a_misspelling_is_named_with_its_remedy(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    assert any(said in problem for problem in problems_of(tmp_path, record(**changes)))


@TABLES
def test_a_value_outside_its_range_is_named_with_the_range(
    tmp_path: Path, table: tuple[Parameter, ...]
) -> None:
    for p in table:
        for value in (math.nextafter(p.low, -math.inf), math.nextafter(p.high, math.inf)):
            values = {p.name: value}
            if table is STRIP:
                content = record(stems=[{"name": "drums", "settings": values}])
            else:
                content = record(bus=values)
            (said,) = problems_of(tmp_path, content)
            assert p.name in said
            assert f"use a value from {p.low:g} to {p.high:g}" in said


@TABLES
def test_the_ends_of_every_range_are_allowed(table: tuple[Parameter, ...]) -> None:
    for ends in ({p.name: p.low for p in table}, {p.name: p.high for p in table}):
        if table is STRIP:
            assert StemPlan(name="a", settings=ends).settings == ends
        else:
            assert validated(record(bus=ends)).bus == ends


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    "where",
    [
        '"bus": {"width": %s}',
        '"stems": [{"name": "drums", "settings": {"ratio": %s}}]',
        '"delivery": {"trim_db": %s}',
        '"delivery": {"target_lufs": %s}',
    ],
)
def test_a_value_that_is_no_number_is_refused(tmp_path: Path, value: str, where: str) -> None:
    whole = json.dumps(record())
    assert problems_of(tmp_path, whole[:-1] + ", " + where % value + "}")


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    said = problems_of(
        tmp_path,
        record(
            frames=0,
            colour="red",
            delivery={"format": "aiff", "trim_db": 3.0},
            bus={"width": 9.0, "wdth": 1.0},
        ),
    )
    text = "\n".join(said)
    for part in ("frames", "colour", "format", "trim_db", "width is 9", "'wdth'"):
        assert part in text
    assert all("plan.json" in line for line in said)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ('{"version": 3,', "is not JSON (line 1"),
        ("[]", "plan.json"),
        ("null", "plan.json"),
        (json.dumps(record(version=4)), "version"),
        (json.dumps({}), "session"),
    ],
)
def test_what_is_no_plan_is_said_so(tmp_path: Path, content: str, part: str) -> None:
    assert any(part in line for line in problems_of(tmp_path, content))


def test_a_missing_file_and_one_that_is_no_text_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_plan(tmp_path / "none.json")
    (tmp_path / "plan.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"is not UTF-16 text \(byte 2\)"):
        load_plan(tmp_path / "plan.json")


def test_what_was_predicted_is_kept_and_a_plan_without_it_is_read(tmp_path: Path) -> None:
    old = load_plan(stored(tmp_path, record()))
    assert (old.stems[0].predicted, old.bus_predicted, old.bus_reason) == ({}, {}, "")
    told = {"predicted": {"ratio": 2.0}, "predicted_spread": {"ratio": 1.3}}
    plan = record(
        stems=[{"name": "drums", "record": told}], record={"bus": {"predicted": {"width": 1.1}}}
    )
    stem = load_plan(stored(tmp_path, plan)).stems[0]
    assert (stem.predicted, stem.predicted_spread) == ({"ratio": 2.0}, {"ratio": 1.3})
    assert stem.settings == default_settings(STRIP)  # for the record: nothing is applied
    (problem,) = problems_of(tmp_path, record(record={"bus": {"predicted": {"widht": 1.0}}}))
    assert "unknown setting 'widht': did you mean 'width'?" in problem


def test_a_plan_written_before_polarity_was_known_keeps_it(tmp_path: Path) -> None:
    (track,) = load_plan(stored(tmp_path, record())).tracks
    assert track.invert is False
    tracks = [{"path": "kick.wav", "role": "kick", "subgroup": "drums", "invert": True}]
    plan = load_plan(stored(tmp_path, record(tracks=tracks)))
    assert plan.tracks[0].invert is True
    assert load_plan(stored(tmp_path, plan_json(plan))) == plan
    tracks[0]["invert"] = "perhaps"
    assert any("invert" in words for words in problems_of(tmp_path, record(tracks=tracks)))


def written(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return a plan as it is written today, with changes of its parts."""
    plan = validated(record(**changes))
    return dict(json.loads(plan_json(plan)))


def test_what_was_found_stands_apart_from_what_can_be_edited(tmp_path: Path) -> None:
    document = written(tmp_path)
    assert document["tracks"][0]["record"] == {"role": "kick", "reason": ""}
    assert set(document["stems"][0]) == {"name", "level_lufs", "settings", "mute", "record"}
    assert set(document["delivery"]) == {
        "target_lufs", "limiter_ceiling_dbtp", "format", "subtype", "dither_seed", "title",
        "artist", "album", "date", "record",
    }  # fmt: skip
    assert {"references", "notes", "bus"} < set(document["record"])


@pytest.mark.parametrize(
    ("part", "key", "value", "remedy"),
    [
        ("tracks", "role", "snare", "session.toml"),
        ("stems", "balance_gain_db", 3.0, "gain_db in settings"),
        ("stems", "predicted", {"width": 1.5}, "edit settings"),
        ("delivery", "target", "spotify", "target_lufs"),
        ("delivery", "trim_db", -3.0, "target_lufs"),
    ],
)
def test_an_edit_that_would_change_nothing_is_refused(
    tmp_path: Path, part: str, key: str, value: object, remedy: str
) -> None:
    document = written(tmp_path)
    edited = document[part] if part == "delivery" else document[part][0]
    edited[key] = value
    (problem,) = problems_of(tmp_path, document)
    assert f"{key} is a record" in problem
    assert remedy in problem


def test_messages_name_tracks_and_stems_in_plain_words(tmp_path: Path) -> None:
    document = written(tmp_path)
    document["tracks"][0] |= {"gain_db": 400, "pan": "left", "colour": "red"}
    document["tracks"][0] |= {"dc": [0.1, -5.0], "channels": "lft"}
    document["tracks"].append("snare.wav")
    document["stems"][0]["settings"] |= {"wdth": 1.0, "ratio": 99.0}
    document["delivery"] |= {"format": "aiff", "limiter_ceiling_dbtp": 3.0}
    document["frames"] = "many"
    del document["sample_rate"]
    said = problems_of(tmp_path, document)
    text = "\n".join(said)
    for part in (
        "[track 'kick.wav']: gain_db is 400: use a number from -120 to 120",
        "[track 'kick.wav']: pan is 'left': use a number",
        "[track 'kick.wav']: unknown key 'colour': use one of path, subgroup, gain_db",
        "dc is -5.0: use a number from -1 to 1",
        "[track 'kick.wav']: unknown channels 'lft': did you mean 'left'?",
        "[track 2]: it is 'snare.wav': use names and values in braces",
        "[stem 'drums', settings]: unknown setting 'wdth': did you mean 'width'?",
        "[stem 'drums', settings]: ratio is 99: use a value from 1 to 20",
        "[delivery]: unknown format 'aiff': use one of wav, flac, mp3",
        "[delivery]: limiter_ceiling_dbtp is 3.0: use a number from -20 to 0",
        "[plan]: frames is 'many': use a whole number",
        "[plan]: sample_rate is missing",
    ):
        assert part in text, part
    assert not any(word in text for word in ("Input should", "Value error", "stems.0", "Extra"))


@pytest.mark.parametrize("version", [1, 2])
def test_a_plan_for_an_older_console_is_refused_with_its_remedy(
    tmp_path: Path, version: int
) -> None:
    old = record(version=version, bus={"eq_100hz_gain_db": 1.0})
    (problem,) = problems_of(tmp_path, old)
    assert f"is of version {version}, for a console with other equalisers" in problem
    assert "mix the session again" in problem
