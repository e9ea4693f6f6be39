"""What a step's key says of the code, the constants and the data files that it stands on."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from flows.dependencies.closure import dependencies
from flows.dependencies.source import ROOT, SourceTree

STEPS = {
    "check": ("flows.mix.steps.tracks", "check_step"),
    "analyse": ("flows.mix.steps.tracks", "examine_step"),
    "style": ("flows.mix.steps.style", "style_step"),
    "predict": ("flows.mix.steps.style", "predict_step"),
    "refine": ("flows.mix.steps.style", "refine_step"),
    "settle": ("flows.mix.steps.style", "settle_step"),
    "balance": ("flows.mix.steps.balance", "balance_step"),
    "console": ("flows.mix.steps.render", "stem_step"),
    "deliver": ("flows.mix.steps.render", "deliver_step"),
    "song": ("flows.training.steps", "synthesised_song_step"),
    "digest": ("flows.training.steps", "_digest_step"),
}
CONSOLE = "predict refine settle"
READING = "check analyse style refine balance console deliver song"
METERED = f"analyse style {CONSOLE} balance console deliver song digest"


def versions(tree: SourceTree) -> dict[str, str]:
    return {name: dependencies(tree, *place).version for name, place in STEPS.items()}


TREE = SourceTree()


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return versions(TREE)


def changed(path: str, old: str, new: str) -> SourceTree:
    file = ROOT / path
    text = file.read_text(encoding="utf-8")
    assert text.count(old) >= 1
    return TREE.changed({file: text.replace(old, new, 1).encode()})


def stale(before: dict[str, str], tree: SourceTree) -> set[str]:
    return {name for name, version in versions(tree).items() if version != before[name]}


@pytest.mark.parametrize(
    ("path", "constant", "steps"),
    [
        ("pipeline/audio/check.py", "CLIPPED_RUN", "check analyse"),
        ("pipeline/audio/formats/mpeg_stream.py", "_APE_HEADER_BYTES", READING),
        ("pipeline/audio/writer.py", "_FLAC_HIGHEST_RATE_HZ", "balance console deliver"),
        ("pipeline/audio/tags.py", "_ID3", "deliver"),
        (
            "pipeline/console/response.py",
            "DECORRELATOR_HIGH_PASS_HZ",
            f"{CONSOLE} console deliver song digest",
        ),
        (
            "pipeline/console/parameters.py",
            "HIGH_PASS_OFF_HZ",
            f"{CONSOLE} console deliver song digest",
        ),
        ("pipeline/plan.py", "PLAN_VERSION: Final", ""),
        ("pipeline/console/limiter.py", "FAST_RELEASE_MS", "refine settle deliver"),
        ("pipeline/loudness/meter.py", "ABSOLUTE_GATE_LUFS", METERED),
        ("pipeline/render/stems.py", "BLOCK_FRAMES", "balance console deliver"),
        ("pipeline/report/stereo.py", "_FLOOR", "style deliver"),
        ("pipeline/synth/oscillators.py", "_NYQUIST_SHARE", "song"),
        ("pipeline/session/discovery.py", "SHORTEST_REFERENCE_S", ""),
        ("pipeline/demo/reference.py", "REFERENCE_RATE", ""),
        ("pipeline/dawproject/document.py", "FADER_MAX", ""),
        ("pipeline/prose.py", "NAMES_LISTED", ""),
        ("stage1/features.py", "HELD_BYTES", "analyse"),
        ("stage1/loudness/sones.py", "HIGH_HZ", "analyse"),
        ("stage1/pitch/pyin.py", "BATCH_FRAMES", "analyse"),
        ("stage1/signal/levels.py", "HOPS_PER_SECOND", "analyse"),
        ("stage1/timbre/harmonics.py", "FRAME", "analyse"),
        ("stage1/exclusions/choice.py", "_ECHO_MS", ""),
        ("stage1/sources/classify.py", "_SOURCE_COHERENCE", ""),
        ("stage1/recognition/classifier.py", "CONFIDENT", ""),
        ("stage1/balance/gains.py", "_STEM_PEAK_DBFS", ""),
        ("stage1/balance/stem_targets.py", "_ACCOMPANIMENT", "song"),
        ("stage2/console/functional.py", "_NEPER", CONSOLE),
        ("stage2/console/search_space.py", "_MOST_LEVEL_DB", "refine settle"),
        ("stage2/controller/network.py", "_LEAST_SHARE", "predict"),
        ("stage2/corpus/voices.py", "_LOWEST_SUNG_HZ", "song"),
        ("stage2/reference/band_limits.py", "INFRASONIC_HZ", "style"),
        ("stage2/refine/guardrails.py", "_TURNS", "settle"),
        ("stage2/refine/search.py", "_COOLING", "refine"),
        ("stage2/style/alignment.py", "_EDGES_HZ", "refine"),
        ("stage2/training/examples.py", "_MOST_PASSAGES", "song digest"),
        ("flows/mix/steps/render.py", "_SIDES", "console"),
        ("flows/mix/plan.py", "_SOLID_SUBGROUPS", "song digest"),
        ("flows/training/steps.py", "CORPUS_RATE", "song"),
    ],
)
def test_a_changed_constant_makes_stale_what_depends_on_it(
    before: dict[str, str], path: str, constant: str, steps: str
) -> None:
    tree = changed(path, f"\n{constant} = ", f"\n{constant} = None or ")
    assert stale(before, tree) == set(steps.split())


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("stage1/balance/offsets.toml", "song"),
        ("stage2/priors/engineers.toml", f"{CONSOLE}"),
        ("stage2/genre/targets.toml", ""),
        ("stage1/recognition/names.toml", ""),
        ("stage1/recognition/weights/sound.safetensors", ""),
        ("stage2/controller/weights/controller.safetensors", "predict"),
        ("stage2/controller/weights/controller.json", "predict"),
        ("stage2/controller/weights/controller.md", ""),
        ("flows/training/training_page.html", ""),
    ],
)
def test_a_changed_data_file_makes_stale_what_reads_it(
    before: dict[str, str], path: str, steps: str
) -> None:
    assert (ROOT / path).is_file()
    assert stale(before, TREE.changed({ROOT / path: b"other"})) == set(steps.split())


def test_data_files_of_names_and_weights_count_for_whoever_reads_them() -> None:
    def read_by(module: str, name: str) -> set[str]:
        return {path.name for path in dependencies(TREE, module, name).data}

    assert read_by("stage1.recognition.classifier", "hear") >= {"sound.safetensors"}
    assert read_by("stage1.recognition.recognise", "recognise") >= {"names.toml", "languages.toml"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "flows/steps.py": """
            from pipeline.sums import Sum
            import pipeline.scale as scale
            from pipeline import UNUSED
            def work(job):
                'Docstring.'
                _LOG.warning('a message')
                from stage1.late import late  # imported when it is needed
                return Sum(scale.FACTOR).total() + late()
            def other():
                return UNUSED
            """,
        "flows/storage.py": "def place(): return 1",
        "pipeline/__init__.py": "from pipeline.rest import UNUSED",
        "pipeline/rest.py": "UNUSED = 1",
        "pipeline/scale.py": "FACTOR = 2\nOTHER = 3\nTABLE = {}\nTABLE[1] = FACTOR",
        "pipeline/errors.py": "class InputError(Exception): ...",
        "pipeline/sums.py": """
            from dataclasses import dataclass
            from pipeline.errors import InputError
            @dataclass
            class Sum:
                first: int
                def total(self): return self.first + self._more()
                def _more(self): return 5
                def sentence(self): return 'a sum'
            """,
        "stage1/late.py": """
            from pathlib import Path
            def late():
                return (Path(__file__).parent / 'tables' / 'late.toml').with_suffix('.json')
            """,
        "stage1/tables/late.toml": "x = 1",
        "stage1/tables/late.json": "{}",
        "stage1/tables/other.toml": "x = 2",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "old", "new", "counts"),
    [
        ("flows/steps.py", "Docstring.", "Another.", False),
        ("flows/steps.py", "a message", "another message", False),
        ("flows/steps.py", "# imported when", "# read when", False),
        ("flows/steps.py", "return UNUSED", "return -UNUSED", False),
        ("flows/steps.py", "+ late()", "- late()", True),
        ("pipeline/rest.py", "UNUSED = 1", "UNUSED = 2", False),
        ("pipeline/scale.py", "FACTOR = 2", "FACTOR = 4", True),
        ("pipeline/scale.py", "OTHER = 3", "OTHER = 4", False),
        ("pipeline/scale.py", "TABLE[1]", "TABLE[2]", True),
        ("pipeline/errors.py", "InputError", "OtherError", False),
        ("pipeline/sums.py", "first: int", "first: float", True),
        ("pipeline/sums.py", "return 5", "return 6", True),
        ("pipeline/sums.py", "'a sum'", "'the sum'", False),
        ("stage1/late.py", "'late.toml'", "'other.toml'", True),
        ("stage1/tables/late.toml", "x = 1", "x = 3", True),
        ("stage1/tables/late.json", "{}", "[]", True),
        ("stage1/tables/other.toml", "x = 2", "x = 3", False),
    ],
)
def test_what_is_used_counts_and_nothing_else(
    project: Path, path: str, old: str, new: str, counts: bool
) -> None:
    tree = SourceTree(project)
    before = dependencies(tree, "flows.steps", "work")
    text = (project / path).read_text()
    assert old in text
    other = tree.changed({project / path: text.replace(old, new).encode()})
    assert (dependencies(other, "flows.steps", "work").version != before.version) is counts


def test_what_is_not_in_the_source_is_said() -> None:
    with pytest.raises(LookupError, match=r"no nothing in the source of pipeline\.units"):
        dependencies(SourceTree(), "pipeline.units", "nothing")
    with pytest.raises(LookupError, match=r"no_such_module"):
        dependencies(SourceTree(), "pipeline.no_such_module", "nothing")


def test_what_a_step_reads_beside_a_module_is_in_its_key() -> None:
    for place in STEPS.values():
        stands_on = dependencies(TREE, *place)
        for definition in stands_on.definitions:
            name, _, inner = definition.partition(":")
            module = TREE.module(name)
            assert module is not None
            for used in module.definitions.get(inner, ()):
                if used.names & {"__file__", "resources.files"}:
                    assert any(module.path.parent in path.parents for path in stands_on.data), used
