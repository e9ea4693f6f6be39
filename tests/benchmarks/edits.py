"""What ``session.toml`` asks for against what is in the mix, through the real command.

    python tests/benchmarks/edits.py SESSION [REFERENCE [QUALITY]]

Mixes a copy of the session without and with each request, and prints what was asked and what the
stems and the results say; the requests are for its first stem and its first stem of several tracks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import soundfile

from pipeline.loudness.meter import integrated_loudness


def _mix(session: Path, text: str, out: Path, reference: str | None) -> dict[str, Any]:
    (session / "session.toml").write_text(text, encoding="utf-8")
    command = [Path(sys.executable).with_name("stemwright"), "mix", session, "-q", "-o", out]
    if reference:
        command += ["--reference", reference, "--quality", (sys.argv[3:] or ["fast"])[0]]
    subprocess.run([str(part) for part in command], check=True)
    results: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return results


def _levels(out: Path) -> dict[str, float]:
    levels = {}
    for path in sorted((out / "stems").iterdir()):
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        levels[path.stem] = integrated_loudness(audio.T, sample_rate=rate)
    return levels


def _requests(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return a label and a session.toml for each request."""
    subgroups = [row["subgroup"] for row in rows]
    whole = rows[0]["subgroup"]
    one = next((r["track"] for r in rows if subgroups.count(r["subgroup"]) > 1), rows[0]["track"])
    all_of = [row["track"] for row in rows if row["subgroup"] == whole]

    def of(tracks: list[str], line: str) -> str:
        return "\n".join(f"[[track]]\nmatch = {json.dumps(t)}\n{line}\n" for t in tracks)

    lines = ("gain_db = 3.0", 'presence = "lead"', "pan = -0.8", "invert = true", "mute = true",
             'role = "synth_pad"')  # fmt: skip
    return [
        *((f"stem {whole}: {line}", of(all_of, line)) for line in lines),
        *((f"track {one}: {line}", of([one], line)) for line in lines),
        (f"[offsets.stem] {whole} = 0", f"[offsets.stem]\n{whole} = 0.0\n"),
    ]


def main() -> None:
    """Print the table."""
    source, reference = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as name:
        session = Path(name) / "session"
        shutil.copytree(source, session)
        rows = _mix(session, "", Path(name) / "plain", reference)["tracks"]
        plain = _levels(Path(name) / "plain")
        for number, (label, text) in enumerate(_requests(rows)):
            out = Path(name) / f"mix {number}"
            results = _mix(session, text, out, reference)
            moved = {n: level - plain[n] for n, level in _levels(out).items() if n in plain}
            lines = [label]
            lines += [
                f"  {result['subject']}: {result['request']} asked {result['asked']}, "
                f"measured {result['measured']}"
                for result in results["requests"]
            ]
            lines.append("  stems: " + ", ".join(f"{n} {db:+.2f} LU" for n, db in moved.items()))
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
