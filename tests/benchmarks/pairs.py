"""Every session with every reference and without one, through the command, on screens of each kind.

    python tests/benchmarks/pairs.py ../shared/audio FOLDER [--quality best fast] [--keep]

AUDIO holds ``sessions`` and ``references``. Each mix is a process of its own, as a user starts it:
in turn on a terminal, without one, with ``--json`` and with ``-q``. A line a mix says its exit
status, time, loudness and what the limiter did; a run that ended well is not done again. The last
line counts; the exit status is 1 where a mix did not end with 0.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

COMMAND = [str(Path(sys.executable).with_name("stemwright"))]
SCREENS: dict[str, list[str]] = {"terminal": [], "plain": [], "json": ["--json"], "quiet": ["-q"]}
# A mix of one of the sessions is a reference of another kind.
OWN = ("caesium_master", "rock_delta", "psychedelic_rock_delta")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", nargs="+", default=["best", "fast"])
    parser.add_argument("--keep", action="store_true", help="keep audio and reports too")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    sessions = sorted(p for p in (asked.audio / "sessions").iterdir() if p.is_dir())
    references = sorted(p for p in (asked.audio / "references").iterdir() if p.stem not in OWN)
    jobs = list(itertools.product(sessions, [None, *references], asked.quality))
    ended: list[int] = []
    for (session, reference, quality), screen in zip(jobs, itertools.cycle(SCREENS), strict=False):
        name = f"{session.name}-{reference.stem if reference else 'none'}-{quality}"
        record = asked.folder / f"{name}.json"
        if not record.exists():
            arguments = ["mix", str(session), "--quality", quality, "--engine", "local"]
            arguments += ["-r", str(reference)] if reference else []
            out = asked.folder / name
            shutil.rmtree(out, ignore_errors=True)
            began = time.monotonic()
            status = _run([*COMMAND, *arguments, "-o", str(out)], screen, out.with_suffix(".log"))
            result = {"status": status, "seconds": time.monotonic() - began, "screen": screen}
            if status == 0:
                result["mix"] = json.loads((out / "results.json").read_text())["mix"]
                record.write_text(json.dumps(result))
            if status == 0 and not asked.keep:
                shutil.copy(out / "plan.json", record.with_suffix(".plan.json"))
                shutil.rmtree(out)
        else:
            result = json.loads(record.read_text())
        mix = result.get("mix", {})
        figures = "".join(
            f"  {label} {mix[key]:6.1f}"
            for key, label in (("integrated_lufs", "LUFS"), ("limiting_max_db", "limiter"))
            if mix.get(key) is not None
        )
        print(  # noqa: T201
            f"{name:48} {result['screen']:8} exit {result['status']}  "
            f"{result['seconds']:5.1f} s{figures}",
            flush=True,
        )
        ended.append(result["status"])
    failed = sum(status != 0 for status in ended)
    print(f"{len(ended)} mixes, {failed} of them failed")  # noqa: T201
    return 1 if failed else 0


def _run(command: list[str], screen: str, log: Path) -> int:
    """Run a command on a screen of a kind; return its exit status, and keep what it said."""
    command = [*command, *SCREENS[screen]]
    if screen != "terminal":
        with log.open("wb") as file:
            return subprocess.run(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL
            ).returncode
    ours, theirs = pty.openpty()
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}
        ) as process,
    ):
        os.close(theirs)
        while True:
            try:
                said = os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not said:
                break
            file.write(said)
        os.close(ours)
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
