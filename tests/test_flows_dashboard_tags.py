"""Tags: names from anywhere in them, on one line."""

import json

import pytest

from flows.dashboard.tags import run_tags


def test_a_run_is_tagged_by_its_kinds_and_its_session() -> None:
    assert run_tags("train") == ("stemwright", "train")
    assert run_tags("mix", "catalogue", session="Ü 日本 [x](y)") == (
        "stemwright", "mix", "catalogue", "session:Ü 日本 [x](y)",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["a\nb", "a\x1b\u202eb", "a\udcffb", "a\0b"])
def test_a_name_is_shown_on_one_line(name: str) -> None:
    tag = run_tags(session=name)[-1]
    assert tag == "session:a b"
    assert json.dumps(tag, ensure_ascii=False).encode()


def test_a_long_name_is_shortened() -> None:
    tag = run_tags(session="x" * 300)[-1]
    assert len(tag) == 80
    assert tag.endswith("x…")
