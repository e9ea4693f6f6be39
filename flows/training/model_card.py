"""The card of a trained controller: its record, told to a reader, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.dashboard.markdown import as_markdown
from pipeline.report.html import write_whole
from stage2.console.action_space import MOST_LEVEL_DB

__all__ = ["METRICS", "model_card", "write_card"]

#: What is measured on songs held out: name in the record → words, unit.
METRICS: dict[str, tuple[str, str]] = {
    "spectrum_db": ("spectrum, mean over broad bands", "dB"),
    "typical_spectrum_db": ("spectrum of typical moments", "dB"),
    "width_db": ("stereo width", "dB"),
    "width_by_range_db": ("stereo width, mean over four ranges", "dB"),
    "imbalance_db": ("left against right", "dB"),
    "punch_db": ("punch, mean over four ranges", "dB"),
    "price": ("price: how unlikely mix and settings are, a stem", "nats"),
    "frames_db": ("level in time and band against the true mix", "dB"),
    "level_lu": ("stem levels against the true mix", "LU"),
}
_UNKNOWN = "not recorded"
_LIMITS = (
    "It predicts the settings of this project's console and of no other.",
    "It hears stems and reference by band powers and envelopes, not melody, words or phase; "
    "reverb, delay and automation are neither heard nor set.",
    "What it learned of levels comes from a table of roles and from drawn settings, not from "
    f"engineers' sessions; faders move at most {MOST_LEVEL_DB:g} dB from the balance it is given.",
    "Most of what it learned from is synthesised: live recordings with much bleed, and styles "
    "that the corpus does not compose, are far from it.",
    "It was trained on 2 to 16 stems; more work, as stems are weighed by their share of the mix.",
)


def model_card(record: Mapping[str, Any]) -> str:
    """Return the card of weights as Markdown.

    Parameters
    ----------
    record
        What lies beside them as JSON, from :func:`stage2.controller.weights_file.load_record`; what
        an older record lacks is said to be missing.
    """
    sections = [
        ["# Controller: predicts a mix's console settings from stems and a reference"],
        _at_a_glance(record),
        ["## Data", "", *_data(record)],
        ["## Training", "", *_training(record)],
        ["## Metrics", "", *_metrics(record)],
        ["## Limits", "", *(f"- {limit}" for limit in _LIMITS)],
    ]
    config = str(record.get("config", "")).strip()
    if config:
        fence = "~" * max(4, config.count("~") + 1)
        sections.append(["## Configuration", "", f"{fence}toml", config, fence])
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def write_card(path: Path, record: Mapping[str, Any]) -> str:
    """Write the card of weights, whole or not at all, and return it."""
    card = model_card(record)
    write_whole(path, card)
    return card


def _at_a_glance(record: Mapping[str, Any]) -> list[str]:
    size = record.get("size", {})
    versions = record.get("versions", {})
    parameters = record.get("parameters")
    rows = {
        "licence": record.get("licence"),
        "parameters": f"{parameters:,}" if isinstance(parameters, int) else None,
        "network": ", ".join(f"{name} {value}" for name, value in size.items()),
        "weights' SHA-256": record.get("sha256"),
        "code": record.get("commit"),
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items()),
        "note": record.get("note"),
    }
    return _table(
        ("", ""),
        [
            (name, _cell(value or _UNKNOWN))
            for name, value in rows.items()
            if value or name != "note"
        ],
    )


def _data(record: Mapping[str, Any]) -> list[str]:
    synthesised, recorded = record.get("synthesised"), record.get("recorded", [])
    if synthesised is None:
        return [f"What it was trained on is {_UNKNOWN}."]
    held_out = record.get("songs_held_out", _UNKNOWN)
    lines = [
        f"- Songs that this project's corpus composed and synthesised: {synthesised}; "
        f"held out for validation: {held_out}."
    ]
    if recorded:
        names = ", ".join(_cell(name) for name in recorded)
        lines.append(f"- Recorded sessions, balanced by rule: {names}.")
    else:
        lines.append("- No recorded session.")
    sources = record.get("sources", [])
    if sources:
        lines += ["", "Recordings, with their licence and credit:", ""]
        lines += [f"- {_cell(source)}" for source in sources]
    lines += ["", f"Hash of the data: `{record.get('data_hash', _UNKNOWN)}`."]
    return [*lines, "Nothing else was learned from."]


def _training(record: Mapping[str, Any]) -> list[str]:
    options = {k: v for k, v in record.get("options", {}).items() if k != "size"}
    if not options:
        return [f"How it was trained is {_UNKNOWN}."]
    seconds, rate = record.get("seconds"), record.get("steps_per_s")
    took = f"{_duration(seconds)}, {rate:.2g} steps a second" if seconds and rate else _UNKNOWN
    return [
        f"Time: {took}.",
        "",
        *_table(("option", "value"), [(name, _cell(value)) for name, value in options.items()]),
    ]


def _metrics(record: Mapping[str, Any]) -> list[str]:
    metrics = record.get("metrics", {})
    if not metrics:
        return [f"Metrics are {_UNKNOWN}."]
    rows = []
    for name, value in metrics.items():
        if name.endswith(" closed"):
            continue
        words, unit = METRICS.get(name, (name, ""))
        closed = metrics.get(f"{name} closed")
        share = f"{closed:.0%}" if closed is not None else _UNKNOWN
        rows.append((words, f"{value:.2f} {unit}".strip(), share))
    return [
        "On songs held out, as the band model hears the prediction alone; *closed* is the share of "
        "what engineers usually do lacks that it takes away.",
        "",
        *_table(("mean error", "", "closed"), rows),
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return [line(heads), line(["---"] * len(heads)), *map(line, rows)]


def _cell(value: object) -> str:
    return as_markdown(str(value))


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"
