"""What session.toml asks of levels stays in the mix, with a style and without."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from flows.mix.recipe import mix_session
from flows.settings import MixSettings

Mix = Callable[..., Path]


@pytest.fixture(scope="module")
def mixed(
    workplace: Path, make_song: Callable[[Path], Path], make_reference: Callable[..., Path]
) -> Mix:
    """Mix the song with a session.toml; return the folder."""
    reference = make_reference(workplace / "reference.wav")

    def mix(name: str, text: str = "", *, styled: bool = False, **chosen: Any) -> Path:
        root = make_song(workplace / name / "song")
        (root / "session.toml").write_text(text, encoding="utf-8")
        settings: dict[str, Any] = {"engine": "local", "quality": "fast"} | chosen
        if styled:
            settings["references"] = (reference,)
        out = workplace / name / "out"
        mix_session(root, settings=MixSettings(**settings), folder=out, store=workplace / "store")
        return out

    return mix


def power_db(folder: Path, stem: str) -> float:
    audio, _ = soundfile.read(folder / "stems" / f"{stem}.wav")
    return float(10.0 * np.log10(np.mean(np.square(audio))))


def moved_db(before: Path, after: Path, stem: str, *, styled: bool) -> float:
    """Return by how much a stem moved against the others."""
    others = [p.stem for p in (before / "stems").iterdir() if p.stem != stem]
    rest = [power_db(after, name) - power_db(before, name) for name in others]
    assert max(rest) - min(rest) < (0.1 if styled else 0.05)  # a style is found anew
    return power_db(after, stem) - power_db(before, stem) - rest[0]


@pytest.mark.parametrize("styled", [False, True], ids=["balanced", "styled"])
@pytest.mark.parametrize(
    ("text", "stem", "asked_db"),
    [
        ('[[track]]\nmatch = "Lead*"\ngain_db = 3.0', "lead_vocals", 3.0),
        ('[[track]]\nmatch = "Bass*"\npresence = "background"', "bass", -4.0),
        ("[offsets.stem]\nguitars = -2.5", "guitars", 3.0),
        ("[offsets.role]\nbass = 2.0", "bass", 2.0),
    ],
)
def test_what_is_asked_of_a_stem_is_there(
    mixed: Mix, workplace: Path, styled: bool, text: str,
    stem: str, asked_db: float,
) -> None:  # fmt: skip
    before = workplace / f"plain {styled}" / "out"
    if not before.exists():
        mixed(f"plain {styled}", styled=styled)
    after = mixed(f"{stem} {asked_db} {styled}", text, styled=styled)
    near = 0.3 if styled else 0.05
    assert moved_db(before, after, stem, styled=styled) == pytest.approx(asked_db, abs=near)
    (result,) = json.loads((after / "results.json").read_text())["requests"]
    assert result["asked"] == asked_db
    assert result["measured"] == pytest.approx(asked_db, abs=near)
    assert "asked for" in (after / "report.html").read_text(encoding="utf-8")


def test_one_track_of_several_leaves_the_others(mixed: Mix, workplace: Path) -> None:
    plain = json.loads((mixed("drums before") / "plan.json").read_text())
    text = '[[track]]\nmatch = "*Snare*"\ngain_db = 2.0'
    raised = json.loads((mixed("drums after", text) / "plan.json").read_text())

    def level(plan: dict[str, Any], track: str) -> float:
        (gain,) = [t["gain_db"] for t in plan["tracks"] if track in t["path"]]
        (fader,) = [s["settings"]["gain_db"] for s in plan["stems"] if s["name"] == "drums"]
        return float(gain + fader)

    assert level(raised, "Kick") == pytest.approx(level(plain, "Kick"), abs=0.01)
    assert level(raised, "Snare") == pytest.approx(level(plain, "Snare") + 2.0, abs=0.01)


def test_no_strength_is_the_balanced_mix(mixed: Mix, samples: Callable[[Path], Any]) -> None:
    alone = samples(mixed("alone", strength=0.0) / "mix.wav")
    held = samples(mixed("no strength", styled=True, strength=0.0) / "mix.wav")
    assert np.array_equal(alone, held)


def test_a_quiet_target_is_not_limited_for_density(mixed: Mix) -> None:
    record = json.loads((mixed("quiet", styled=True, target="-30") / "results.json").read_text())
    assert record["mix"]["limiting_max_db"] < 0.1
    assert record["mix"]["integrated_lufs"] == pytest.approx(-30.0, abs=0.1)


def heard_pan(folder: Path, stem: str) -> float:
    """Return where a stem stands by the power of its sides, -1 left, 1 right."""
    audio, _ = soundfile.read(folder / "stems" / f"{stem}.wav")
    left, right = np.sqrt(np.mean(np.square(audio), axis=0))
    return float(4.0 / np.pi * np.arctan2(right, left) - 1.0)


@pytest.mark.parametrize("styled", [False, True], ids=["balanced", "styled"])
def test_a_pan_that_is_asked_for_is_there(mixed: Mix, styled: bool) -> None:
    out = mixed(f"panned {styled}", '[[track]]\nmatch = "Lead*"\npan = -0.5', styled=styled)
    assert heard_pan(out, "lead_vocals") == pytest.approx(-0.5, abs=0.02)
    (result,) = json.loads((out / "results.json").read_text())["requests"]
    assert (result["request"], result["asked"], result["kept"]) == ("pan", -0.5, True)
    assert result["measured"] == pytest.approx(-0.5, abs=0.02)


def test_a_mute_that_is_asked_for_is_there(mixed: Mix) -> None:
    out = mixed("muted", '[[track]]\nmatch = "Bass*"\nmute = true')
    audio, _ = soundfile.read(out / "stems" / "bass.wav")
    assert not audio.any()
    (result,) = json.loads((out / "results.json").read_text())["requests"]
    assert (result["request"], result["measured"], result["kept"]) == ("mute", True, True)


def test_what_is_asked_is_there_at_half_the_strength(mixed: Mix) -> None:
    text = '[[track]]\nmatch = "Bass*"\ngain_db = 2.5'
    before = mixed("half", styled=True, strength=0.5)
    after = mixed("half louder", text, styled=True, strength=0.5)
    assert moved_db(before, after, "bass", styled=True) == pytest.approx(2.5, abs=0.3)
    plans = [json.loads((f / "plan.json").read_text()) for f in (before, after)]
    targets = [plan["delivery"]["target_lufs"] for plan in plans]
    assert targets[0] == targets[1]


def test_the_limiter_s_advice_is_true(mixed: Mix) -> None:
    def advice(name: str, **chosen: Any) -> list[str]:
        record = json.loads((mixed(name, **chosen) / "results.json").read_text())
        return [f["remedy"] for f in record["findings"] if f["where"].startswith("Limiter")]

    (said,) = advice("as loud as can be", target="-5")
    assert "a lower --target" in said
    assert "--match" not in said  # there is no style to leave anything of
    assert advice("as it says", target="-20") == []
