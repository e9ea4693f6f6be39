import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from flows.engines.local import LocalEngine
from flows.training.model_card import METRICS, model_card
from flows.training.page import write_training_page
from flows.training.recipe import _commit, train_recipe
from flows.training.settings import load_training_settings
from pipeline.errors import InputError
from stage2.controller.network import ControllerSize
from stage2.controller.weights_file import SHIPPED, load_controller, load_record

CONFIG = """
output = "run"
[songs]
synthesised = 2
seconds = 15
held_out = 1
sources = ["Drum hits by A. Player, CC BY 3.0, https://example.org/|drums"]
[learning]
steps = 3
batch = 1
warm_up = 1
average = 0.5
validate_every = 2
validation_examples = 1
checkpoint_every = 2
[network]
width = 20
blocks = 1
heads = 5
passes = 1
"""


def write(folder: Path, text: str = CONFIG) -> Path:
    path = folder / "train.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_training_settings(path)
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture(scope="module")
def run(workplace: Path, stemwright: Callable[..., Result]) -> tuple[Path, Result]:
    """Return the folder of a finished run, and what the command said."""
    return workplace / "run", stemwright("train", write(workplace), "--json")


def test_a_config_becomes_the_run_s_settings(tmp_path: Path) -> None:
    (tmp_path / "hits").mkdir()
    text = CONFIG.replace("[songs]", '[songs]\none_shots = ["hits"]')
    settings = load_training_settings(write(tmp_path, text))
    assert settings.output == tmp_path / "run"
    assert settings.songs.one_shots == (tmp_path / "hits",)
    options = settings.options()
    assert (options.steps, options.batch, options.average) == (3, 1, 0.5)
    assert options.size == ControllerSize(width=20, blocks=1, heads=5, passes=1)
    flagged = load_training_settings(write(tmp_path), output=tmp_path / "other", workers=4)
    assert (flagged.output, flagged.options().workers) == (tmp_path / "other", 4)


def test_the_small_example_is_a_run(tmp_path: Path) -> None:
    path = Path(__file__).parents[1] / "flows" / "training" / "train_small.toml"
    assert load_training_settings(path, output=tmp_path / "run").learning.steps <= 150


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    told = problems_of(
        write(
            tmp_path,
            """
            outptu = "run"
            [songs]
            synthesised = 4
            held_out = 4
            sessions = ["none", "."]
            [learning]
            steps = 0
            stpes = 100
            device = "gpu"
            [network]
            width = 64
            heads = 10
            """,
        )
    )
    words = (
        "[output]: is missing",
        "[outptu]: is no setting (given 'run'): did you mean 'output'?",
        "[songs.held_out]: is 4 of 4",
        "[songs.sessions.0]: is 'none', which is no folder",
        "[learning.steps]: is 0",
        "[learning.stpes]: is no setting (given 100): did you mean 'steps'?",
        "[learning.device]: is 'gpu'",
        "[network.heads]: is 10, of a width of 64",
    )
    assert len(told) == len(words)
    for word in words:
        assert any(word in line for line in told), word


def test_a_file_that_is_none_is_said_to_be(tmp_path: Path) -> None:
    assert "cannot be read" in problems_of(tmp_path / "none.toml")[0]
    assert "is not TOML" in problems_of(write(tmp_path, "steps = "))[0]
    assert "[learning]" in problems_of(write(tmp_path, 'output = "x"\nlearning = 3'))[0]


def test_flags_and_file_are_refused_together(
    tmp_path: Path, stemwright: Callable[..., Result], plain: Callable[[str], str]
) -> None:
    config = write(tmp_path, CONFIG.replace("steps", "stepps"))
    result = stemwright("train", config, "--workers", "0", "--engine", "locl")
    assert result.exit_code == 2
    for word in ("--workers", "--engine", "stepps"):
        assert word in plain(result.output)
    assert not (tmp_path / "run").exists()


def test_a_run_writes_weights_record_card_and_curves(run: tuple[Path, Result]) -> None:
    folder, result = run
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["steps"] == 3
    assert told["resumed_from_step"] == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.pt", "controller.json", "controller.md", "controller.safetensors",
        "curves.csv", "curves.html",
    ]  # fmt: skip
    record = load_record(folder / "controller.safetensors")
    assert record["config"] == CONFIG
    assert record["synthesised"] == 1
    assert {"torch", "stemwright"} < set(record["versions"])
    assert load_controller(folder / "controller.safetensors").size.width == 20


def test_the_page_asks_the_network_for_nothing_and_shows_every_figure(
    run: tuple[Path, Result],
) -> None:
    page = (run[0] / "curves.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=|url\(|@import|<script", page)
    assert page.count("<figure>") == page.count("<svg") >= 8
    for words in ("loss", "stem levels", "stereo width", "steps a second", "3 of 3 steps"):
        assert words in page


def test_a_page_of_few_or_odd_figures_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "curves.html"
    for curves in (
        [{"step": 1, "loss": 3.0}],
        [{"step": n + 1, "loss": 5.0, "seconds": 2.0} for n in range(5)],
        [{"step": 1, "loss": float("nan"), "held out level_lu": float("nan")}],
        [{"step": n + 1, "loss": 1e-9 * n, "seconds": float(n)} for n in range(3000)],
    ):
        write_training_page(path, curves, steps=3000, title="<b>run</b>")
        page = path.read_text()
        assert "<b>run" not in page
        assert "nan" not in page
        assert len(page) < 100_000


def test_the_card_tells_data_training_metrics_and_limits(
    run: tuple[Path, Result], stemwright: Callable[..., Result]
) -> None:
    folder = run[0]
    card = (folder / "controller.md").read_text()
    record = load_record(folder / "controller.safetensors")
    assert card == model_card(record)
    for words in (
        "Apache-2.0", record["sha256"], f"{record['parameters']:,}", "A. Player, CC BY 3.0",
        "composed and synthesised: 1; held out for validation: 1.", "## Limits",
        "stem levels", "| steps | 3 |",
        'output = "run"',
    ):  # fmt: skip
        assert words in card, words
    for path in (folder, folder / "controller.safetensors"):
        result = stemwright("model", path)
        assert result.exit_code == 0
        assert result.stdout == card
    assert json.loads(stemwright("model", folder, "--json").stdout) == record


def test_a_record_that_lacks_things_still_makes_a_card(
    tmp_path: Path, stemwright: Callable[..., Result]
) -> None:
    card = model_card({"note": "untrained", "size": {"width": 20}})
    assert "untrained" in card
    assert "not recorded" in card
    assert stemwright("model").exit_code == 0
    result = stemwright("model", tmp_path)
    assert result.exit_code == 2


def test_the_shipped_weights_have_their_card_beside_them() -> None:
    record = load_record(SHIPPED)
    # Where the code or the record changes:
    # flows.training.model_card.write_card(SHIPPED.with_suffix(".md"), load_record(SHIPPED))
    assert SHIPPED.with_suffix(".md").read_text(encoding="utf-8") == model_card(record)
    assert record["sha256"] == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    assert record["parameters"] == sum(p.numel() for p in load_controller().parameters())
    assert record["parameters"] <= 10_000_000
    assert SHIPPED.stat().st_size <= 25_000_000
    assert {"data_hash", "commit", "options", "steps_per_s", "seconds"} <= record.keys()
    assert len(record["metrics"]) == 2 * len(METRICS)
    assert any("CC BY 3.0" in s and "Berklee College of Music" in s for s in record["sources"])
    assert all("CC0" in s or "CC BY 3.0" in s for s in record["sources"])


def test_the_commit_is_that_of_the_code_and_of_nothing_around_it(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        told = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path), *words]
        return subprocess.run(told, check=True, capture_output=True, text=True).stdout.strip()

    ours, other = tmp_path / "train.py", tmp_path / "installed.py"
    for path in (ours, other):
        path.write_text("1\n")
    assert _commit(ours) == ""
    git("init", "-q")
    git("add", "train.py")
    git("commit", "-qm", "first")
    assert _commit(ours) == git("rev-parse", "HEAD")
    assert _commit(other) == ""
    ours.write_text("2\n")
    assert _commit(ours) == f"{git('rev-parse', 'HEAD')}, with changes"


def test_a_finished_run_is_left_and_another_refused(
    run: tuple[Path, Result],
    workplace: Path,
    stemwright: Callable[..., Result],
    contents: Callable[[Path], dict[str, str]],
    plain: Callable[[str], str],
) -> None:
    before = contents(run[0])
    again = stemwright("train", workplace / "train.toml")
    assert again.exit_code == 0, again.output
    assert "has ended already" in plain(again.output)
    other = workplace / "other.toml"
    other.write_text(CONFIG.replace("steps = 3", "steps = 4"))
    refused = stemwright("train", other)
    assert refused.exit_code == 2
    assert "other options" in plain(refused.output)
    assert contents(run[0]) == before


def test_an_interrupted_run_goes_on_to_the_same_weights(
    run: tuple[Path, Result], workplace: Path, stemwright: Callable[..., Result]
) -> None:
    settings = load_training_settings(workplace / "train.toml", output=workplace / "again")

    def stop(done: int, total: int, row: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with LocalEngine() as engine, pytest.raises(KeyboardInterrupt):
        train_recipe(engine, settings, config=CONFIG, on_step=stop)
    config = workplace / "train.toml"
    result = stemwright("train", config, "--output", workplace / "again")
    assert result.exit_code == 0, result.output
    assert "goes on after step 1 of 3" in result.output
    for name in ("controller.safetensors",):
        assert (workplace / "again" / name).read_bytes() == (run[0] / name).read_bytes()


def test_songs_made_anew_by_other_workers_are_the_same_to_the_bit(
    run: tuple[Path, Result], workplace: Path
) -> None:
    settings = load_training_settings(workplace / "train.toml")
    for workers in (1, 2):
        with LocalEngine(workers) as engine:
            result = train_recipe(engine, settings, store=workplace / f"store of {workers}")
        assert result.weights.parent == run[0]  # else refused, as a run of other songs


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_ctrl_c_is_said_and_what_is_learned_is_kept(run: tuple[Path, Result]) -> None:
    folder = run[0].parent
    config = folder / "long.toml"
    config.write_text(CONFIG.replace("steps = 3", "steps = 100000"))
    process = subprocess.Popen(
        [sys.executable, "-c", "from flows.cli.main import main; main()",
         "train", str(config), "-o",
         str(folder / "long")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    try:
        until = time.monotonic() + 120.0
        while not (folder / "long" / "curves.html").exists() and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60.0)
    finally:
        process.kill()
    assert process.returncode == 130
    step = re.search(r"stopped after step (\d+)", out)
    assert step is not None
    assert int(step[1]) >= 2
