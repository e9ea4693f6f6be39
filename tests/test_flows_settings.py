from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.settings import MixSettings, description, flag, from_toml
from pipeline.console.delivery import parse_target
from pipeline.console.parameters import Aspect
from pipeline.errors import InputError


def write(folder: Path, text: str) -> Path:
    path = folder / "mix.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path | None, overrides: dict[str, object] | None = None) -> list[str]:
    with pytest.raises(InputError) as caught:
        from_toml(path, overrides)
    return [str(problem) for problem in caught.value.problems]


def test_nothing_given_is_the_defaults() -> None:
    settings = from_toml(None)
    assert settings == MixSettings()
    assert settings.match == tuple(Aspect)
    assert settings.target == "reference"
    assert (settings.quality, settings.controller) == ("best", True)


def test_file_and_flags_over_it(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        references = ["one.wav", "/far/two.wav"]
        target = -16.5
        match = ["width", "eq"]
        strength = 0.5
        subtype = 16
        workers = 3
        """,
    )
    settings = from_toml(path, {"strength": 0.25, "keep": True, "workers": None})
    assert settings.references == (tmp_path / "one.wav", Path("/far/two.wav"))
    assert parse_target(settings.target).loudness_lufs == -16.5
    assert settings.match == (Aspect.EQ, Aspect.WIDTH)  # in the order of the table
    assert (settings.strength, settings.keep, settings.workers) == (0.25, True, 3)
    assert settings.subtype == "16"
    flagged = from_toml(path, {"references": [Path("three.wav")]})
    assert flagged.references == (Path("three.wav"),)


def test_all_problems_in_one_go(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        strenght = 0.5
        target = "spotfy"
        match = "eq,pann"
        seed = -1
        keep = 1
        format = "wave"
        sample_rate = 44100.0
        ceiling_dbtp = nan
        """,
    )
    found = problems_of(path, {"method": "luffs", "skip_bad": "yes"})
    assert set(found) == {
        f"{path} [strenght]: is no setting (given 0.5): did you mean 'strength'?",
        f"{path} [target]: 'spotfy' is unknown: did you mean 'spotify'?",
        f"{path} [match]: names 'pann': did you mean 'pan'?",
        f"{path} [seed]: is -1: use a whole number from 0 to 4294967295",
        f"{path} [keep]: is 1: use true or false",
        f"{path} [format]: is 'wave': did you mean 'wav'?",
        f"{path} [sample_rate]: is 44100.0: use a whole number from 8000 to 768000 Hz",
        f"{path} [ceiling_dbtp]: is nan: use a number from -20 to 0 dBTP",
        "--method: is 'luffs': did you mean 'lufs'?",
        "--skip-bad: is 'yes': use true or false",
    }
    assert len(found) == 10


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("strength", 1.01, "is 1.01: use a number from 0 to 1"),
        ("strength", True, "is True: use a number from 0 to 1"),
        ("strength", "0.5", "is '0.5': use a number from 0 to 1"),
        ("target", 3, "3 LUFS is out of range: use a loudness from -50 to -5 LUFS"),
        ("target", "nan", "nan LUFS is out of range: use a loudness"),
        ("target", ["x"], "is ['x']: give it in quotes"),
        ("max_minutes", 0, "is 0: use a number over 0 and up to 100000 minutes"),
        ("references", 3, "is 3: give a list"),
        ("match", 3, "is 3: give a list"),
        ("workers", 0, "is 0: use a whole number from 1"),
        ("engine", "ray", "is 'ray': use one of auto, local, prefect, dask"),
        ("quality", "bst", "is 'bst': did you mean 'best'?"),
        ("controller", 0, "is 0: use true or false"),
        ("subtype", "32", "is '32': use one of 16, 24, float"),
    ],
)
def test_each_bad_value_says_what_to_do(key: str, value: object, message: str) -> None:
    (found,) = problems_of(None, {key: value})
    flags = {"references": "--reference", "controller": "--no-controller", "subtype": "--bits"}
    assert found.startswith(f"{flags.get(key, '--' + key.replace('_', '-'))}: {message}")


def test_flac_holds_no_float_wherever_either_comes_from(tmp_path: Path) -> None:
    path = write(tmp_path, 'subtype = "float"')
    (found,) = problems_of(path, {"format": "flac"})
    assert found == (
        f"{path} [subtype]: is 'float', and FLAC holds whole numbers: use 24, or format wav"
    )
    both = write(tmp_path, 'subtype = "float"\nformat = "flac"')
    assert from_toml(both, {"format": "wav"}).subtype == "float"


def test_fast_needs_the_controller_wherever_either_comes_from(tmp_path: Path) -> None:
    path = write(tmp_path, "controller = false")
    assert not from_toml(path).controller
    assert from_toml(path, {"controller": True, "quality": "fast"}).quality == "fast"
    (found,) = problems_of(path, {"quality": "fast"})
    assert found.startswith(f"{path} [controller]: leaves nothing to predict")


def test_a_mistake_in_the_file_counts_under_a_flag_too(tmp_path: Path) -> None:
    path = write(tmp_path, "strength = 7")
    (found,) = problems_of(path, {"strength": 1.0})
    assert found.startswith(f"{path} [strength]: is 7")


@pytest.mark.parametrize("content", [b"strength = ", b"a = 1\na = 2", b"\xff", None])
def test_unreadable_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mix.toml"
    if content is not None:
        path.write_bytes(content)
    (found,) = problems_of(path)
    assert found.startswith(f"{path}: {'is not TOML' if content else 'cannot be read'}") or (
        content == b"\xff" and "is not UTF-8" in found
    )


def test_byte_order_mark_and_home_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mix.toml"
    path.write_bytes(b'\xef\xbb\xbfreferences = "~/ref.wav"\n')
    assert from_toml(path).references == (Path("~/ref.wav").expanduser(),)


def test_settings_are_frozen_and_survive_json() -> None:
    settings = MixSettings(references=(Path("a.wav"),), match=(Aspect.PAN,), target="-14")
    with pytest.raises(ValidationError, match="frozen"):
        settings.strength = 0.5  # type: ignore[misc]
    assert MixSettings.model_validate_json(settings.model_dump_json()) == settings


def test_the_page_of_settings_is_their_declaration() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("| `")] == [
        f"| `{name}` | `{flag(name)}` | {description(name)} |" for name in MixSettings.model_fields
    ]


def test_the_example_of_settings_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    settings = from_toml(write(tmp_path, example))
    assert settings.references == (tmp_path / "like this.wav", tmp_path / "and this.flac")
    assert (settings.target, settings.strength) == ("spotify", 0.8)


def test_a_genre_goes_by_its_names_and_not_beside_a_reference() -> None:
    assert MixSettings(genre="Heavy Metal").genre == "metal"
    assert MixSettings(genre="none").genre is None
    with pytest.raises(ValidationError, match="metal"):
        MixSettings(genre="metl")
    with pytest.raises(ValidationError, match="a reference is named"):
        MixSettings(references=("a.wav",), genre="metal")
