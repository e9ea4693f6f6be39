"""Commands as they follow from the settings' declarations."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from flows.cli import main as cli
from flows.cli.command import FILE, Flags, command
from flows.cli.terminal import Screen
from flows.settings import MixSettings, description, flag
from pipeline.console.delivery import TARGETS
from pipeline.errors import InputError, Problem


@pytest.fixture
def given() -> dict[str, Any]:
    """Give what the command of :func:`invoke` was called with."""
    return {}


@pytest.fixture
def invoke(given: dict[str, Any]) -> Callable[..., Result]:
    """Run a command that has every setting."""

    @command("limit", *MixSettings.model_fields, FILE)
    def work(screen: Screen, flags: Flags, name: str, limit: int = 3) -> int:
        given.update(screen=screen, name=name, limit=limit)
        given["settings"] = flags.settings(album="ours")
        return 4

    app = typer.Typer(add_completion=False)
    app.command()(work)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_every_setting_is_a_flag(invoke: Callable[..., Result], given: dict[str, Any]) -> None:
    result = invoke(
        *("a name", "-r", "a.wav", "--reference", "b.wav", "--ceiling", "-2", "--match", "eq,pan"),
        *("--no-controller", "--bits", "16", "--keep", "--workers", "2", "--limit", "7", "-q"),
    )
    assert result.exit_code == 4
    assert given["settings"] == MixSettings(
        references=("a.wav", "b.wav"), ceiling_dbtp=-2.0, match="eq,pan", controller=False,
        subtype="16", keep=True, workers=2, album="ours",
    )  # fmt: skip
    assert (given["name"], given["limit"], given["screen"].quiet) == ("a name", 7, True)


def test_the_help_is_the_declaration(
    invoke: Callable[..., Result], plain: Callable[[str], str]
) -> None:
    told = " ".join(plain(invoke("--help").stdout).replace("│", " ").split())
    for name in MixSettings.model_fields:
        assert flag(name) in told
        if name != "controller":  # its flag says what is without it
            assert description(name).removesuffix(".") in told
    assert told.index("--limit") < told.index("--reference") < told.index("--settings")
    assert "Highest true peak in dBTP, -20 to 0; default by target." in told
    assert "a WAV or FLAC file: 16, 24 or float; default 24." in told
    assert "Finished mix whose style is wanted, or its URL, or a saved style," in told


def test_the_flags_go_over_the_file(
    invoke: Callable[..., Result], given: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "mix.toml"
    file.write_text("strength = 0.25\nkeep = true\nseed = 5\n")
    assert invoke("x", "--settings", file, "--strength", "0.5").exit_code == 4
    chosen = given["settings"]
    assert (chosen.strength, chosen.keep, chosen.seed) == (0.5, True, 5)
    refused = invoke("x", "--ceiling", "3", "--no-controller", "--quality", "fast")
    assert refused.exit_code == 2
    assert "--ceiling: is 3.0: use a number from -20 to 0 dBTP" in refused.stderr


def test_mix_has_every_setting() -> None:
    from flows.cli.mix import app

    (mix,) = app.registered_commands
    assert mix.callback is not None
    assert MixSettings.model_fields.keys() <= mix.callback.__annotations__.keys()


def test_every_target_is_described() -> None:
    assert all(name in description("target") for name in TARGETS)


def test_how_work_ends_is_the_exit_status() -> None:
    def status(raised: BaseException) -> int:
        @command()
        def work(screen: Screen) -> int:
            raise raised

        app = typer.Typer(add_completion=False)
        app.command()(work)
        return CliRunner().invoke(app, ["-q"]).exit_code

    problem = Problem("a.wav", "is empty", "export it again")
    assert status(InputError([problem])) == 2
    assert status(KeyboardInterrupt()) == 130
    assert status(OSError("no space")) == 1


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    for name, summary in cli._COMMANDS.items():
        module = cli._MODULES.get(name, name)
        loaded: Any = typer.main.get_command(import_module(f"flows.cli.{module}").app)
        loaded = getattr(loaded, "commands", {}).get(name, loaded)
        assert " ".join(loaded.help.partition("\n\n")[0].split()) == summary


def test_the_list_of_commands_needs_no_settings() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from flows.cli.main import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print({'pydantic', 'numpy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
