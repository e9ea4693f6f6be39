"""What the documents name exists: files, commands, targets of make, rooms and their layers."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from flows.cli.main import app

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OURS = "CHANGELOG.md CONTRIBUTING.md README.md Makefile docs flows pipeline stage1 stage2 tests"
IDS = [path.name for path in DOCUMENTS]


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def code_of(text: str) -> list[str]:
    """Return what is set as code, inline and in blocks."""
    blocks = re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)
    plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return blocks + re.findall(r"`([^`\n]+)`", plain)


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_paths_exist(document: Path) -> None:
    ours = "|".join(re.escape(name) for name in OURS.split())
    pattern = rf"(?<![\w./-])(?:{ours})(?:/[\w.-]+)*/?(?![\w-])"
    named = {
        path.rstrip(".")
        for code in code_of(document.read_text(encoding="utf-8"))
        for path in re.findall(pattern, code)
    }
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    files = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in files if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_commands_exist(document: Path) -> None:
    code = "\n".join(code_of(document.read_text(encoding="utf-8")))
    commands: Any = get_command(app)
    named = set(re.findall(r"(?<![\w./-])(?:\.venv/bin/)?stemwright ([a-z]+)", code))
    assert named - set(commands.commands) == set()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"(?:^|[\s`])make ([a-z]+)", code, re.MULTILINE)) - targets == set()


def test_names_in_recipes_are_in_the_files_beside_them() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for item in re.split(r"\n(?=\d\. |\n|- )", text):
        code = re.findall(r"`([^`\n]+)`", item)
        files = [ROOT / path for path in code if path.endswith(".py") and (ROOT / path).exists()]
        names = {name for name in code if re.fullmatch(r"[A-Z]\w*[a-z_A-Z]", name)} - {"NAME"}
        source = "\n".join(path.read_text(encoding="utf-8") for path in files)
        if files:
            assert {name for name in names if not re.search(rf"\b{name}\b", source)} == set(), item


def test_rooms_are_drawn_as_their_layers() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = dict(re.findall(r"^### (\w+)\n\n```\n(.*?)\n```", text, re.DOTALL | re.MULTILINE))
    contracts = project()["tool"]["importlinter"]["contracts"]
    layers = {c["containers"][0]: "\n".join(c["layers"]) for c in contracts if c.get("exhaustive")}
    assert drawn == layers


def test_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    described = project()["project"]
    assert (cited["version"], cited["license"]) == (described["version"], described["license"])
    assert cited["title"].lower() == described["name"]


def test_public_workflow_runs_every_python_that_is_supported() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    offered = project()["project"]["classifiers"]
    versions = [line.rpartition(" ")[2] for line in offered if re.search(r":: 3\.\d+$", line)]
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python-version"] == versions
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".venv/bin/python -m pytest -n auto" in json.dumps(steps)
    for target in re.findall(r'"run": "make (\w+)"', json.dumps(steps)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_hooks_run_the_gates_of_make() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    gates = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    tools = [line.partition("$(BIN)/")[2].split()[0] for line in gates.splitlines()[1:]]
    assert [entry.removeprefix(".venv/bin/").split()[0] for entry in entries] == tools
