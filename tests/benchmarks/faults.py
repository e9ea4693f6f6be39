"""How far injected faults move the balance of the tracks that they do not touch.

Run ``python tests/benchmarks/faults.py AUDIO`` where AUDIO holds ``sessions/``; the demo session is
made beside them. ``--first-seed`` and ``--seeds`` say which draws of wrong roles are tried.

Of each session, against itself without the fault:

1. Wrong roles: 5 % of the sounding tracks (one at least) get a role of another subgroup, drawn at
   random, by an override. Sessions of fewer than ``FEW`` tracks are printed and not counted: one
   track of them is far more than 5 %.
2. A track copied under a name that says nothing, as it is and 5 dB lower.
3. A microphone of a source with several turned over in polarity, or
4. late by 12 ms; the demo alone has such sources.

Printed are the largest change of any other track's gain without its stem's common trim, the largest
change of a stem's intended level against the other stems (their median shift removed), both in LU,
and how many faults were said in words.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from flows.engines.local import LocalEngine
from flows.mix.analysis import AnalysedSession, analyse_session
from flows.settings import MixSettings
from pipeline.audio.stream import read
from pipeline.audio.writer import write
from pipeline.demo.session import make_demo
from pipeline.roles import SUBGROUP_OF, Presence, Role
from pipeline.session.settings import TrackOverrides
from stage1.balance.gains import balance, stem_targets
from stage1.recognition.classifier import hear
from stage1.recognition.recognise import recognise
from stage1.sources.messages import fault_messages
from stage1.sources.relations import TrackSound, find_relations, inherit_roles

WRONG_SHARE = 0.05
FEW = 8
LIMIT_LU = 1.5
COPY_NAME = "Audio 12.wav"
COPY_GAINS_DB = (0.0, -5.0)
COPIES = 6
LATE_MS = 12.0


@dataclass(frozen=True)
class Decided:
    """What stage 1 decided: gains without trim by track, levels by stem, faults in words."""

    gain_db: dict[str, float]
    stem_lu: dict[str, float]
    faults: tuple[str, ...]


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def decide(
    session: AnalysedSession, overrides: Sequence[TrackOverrides | None] | None = None
) -> Decided:
    """Recognise and balance a session again, its features as they are."""
    tracks, features = session.session.tracks, session.features
    wishes = overrides or [track.overrides for track in tracks]
    found = recognise(
        [track.name for track in tracks], overrides=wishes, heard=[hear(f) for f in features]
    )
    sounds = [
        TrackSound(track.name, track.path, track.offset_s, envelope)
        for track, envelope in zip(tracks, session.envelopes, strict=True)
    ]
    relations = find_relations(sounds, found)
    found = inherit_roles(found, relations)
    balances = balance(features, found, wishes, relations=relations)
    gains, roles, leads = {}, {}, set()
    for level, record, measured in zip(balances, found, features, strict=True):
        if measured.silent or level.mute:
            continue
        gains[record.name] = level.gain_db - level.trim_db
        roles.setdefault(record.subgroup, []).append(record.role)
        if record.presence is Presence.LEAD:
            leads.add(record.subgroup)
    return Decided(gains, stem_targets(roles, leads=leads), fault_messages(relations))


def moved(before: Decided, after: Decided, touched: set[str]) -> tuple[float, float, str]:
    """Return the largest change of another track and of a stem, in LU, and which track it is."""
    others = {
        name: abs(after.gain_db[name] - gain)
        for name, gain in before.gain_db.items()
        if name not in touched
    }
    worst = max(others, key=others.__getitem__)
    stems = np.array(
        [after.stem_lu[s] - before.stem_lu[s] for s in before.stem_lu if s in after.stem_lu]
    )
    return others[worst], float(np.abs(stems - np.median(stems)).max()), worst


def wrong_roles(session: AnalysedSession, before: Decided, seed: int) -> dict[str, object]:
    """Give 5 % of the tracks a role of another subgroup."""
    rng = random.Random(seed)
    names = list(before.gain_db)
    hit = set(rng.sample(names, max(1, round(WRONG_SHARE * len(names)))))
    wishes = []
    for track, record in zip(session.session.tracks, session.recognitions, strict=True):
        wish = None
        if track.name in hit:
            other = [role for role in Role if SUBGROUP_OF[role] != record.subgroup]
            wish = TrackOverrides(role=rng.choice(other))
        wishes.append(wish)
    tracks, stems, worst = moved(before, decide(session, wishes), hit)
    told = [f"{wish.role}: {name}" for name, wish in _given(session, wishes)]
    return {"case": seed, "tracks": tracks, "stems": stems, "worst": worst, "told": "; ".join(told)}


def _given(
    session: AnalysedSession, wishes: Sequence[TrackOverrides | None]
) -> list[tuple[str, TrackOverrides]]:
    tracks = session.session.tracks
    return [(t.name, wish) for t, wish in zip(tracks, wishes, strict=True) if wish is not None]


def _put(file: Path, place: Path) -> None:
    # A link to elsewhere is no track; a hard link is one, and is known to the store.
    try:
        place.hardlink_to(file)
    except OSError:
        shutil.copy2(file, place)


class Workshop:
    """Sessions with a changed or an added file; everything else is analysed once."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._engine = LocalEngine(1)

    def analysed(self, root: Path) -> AnalysedSession:
        """Analyse a session."""
        return analyse_session(
            self._engine, root, settings=MixSettings(), store=self._scratch / "store"
        )

    def with_file(self, session: AnalysedSession, name: str, audio: np.ndarray, rate: int) -> Path:
        """Return a copy of a session with one file of other content."""
        root = self._scratch / "changed"
        shutil.rmtree(root, ignore_errors=True)
        for track in session.session.tracks:
            place = root / track.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if track.name != name:
                _put(track.path, place)
        form = "flac" if name.endswith(".flac") else "wav"
        write(
            root / name,
            audio.astype(np.float32),
            sample_rate=rate,
            format=form,
            subtype="PCM_24" if form == "flac" else "FLOAT",
        )
        return root

    def case(
        self,
        session: AnalysedSession,
        before: Decided,
        *,
        label: str,
        name: str,
        audio: np.ndarray,
        rate: int,
        touched: set[str],
    ) -> dict[str, object]:
        """Return what a changed file moved and whether that was said."""
        after = decide(self.analysed(self.with_file(session, name, audio, rate)))
        tracks, stems, worst = moved(before, after, touched | {name})
        known = set(before.faults)
        told = [words for words in after.faults if words not in known and name in words]
        # A microphone that is wrong from the start is set right by turning it.
        gone = [words for words in known - set(after.faults) if name in words]
        return {
            "case": label,
            "tracks": tracks,
            "stems": stems,
            "worst": worst,
            "said": bool(told or gone),
            "told": "; ".join(told),
        }


def copies(
    workshop: Workshop, session: AnalysedSession, before: Decided
) -> list[dict[str, object]]:
    """Duplicate tracks under a name that says nothing."""
    paths = {track.name: track for track in session.session.tracks}
    names = sorted(before.gain_db)
    chosen = names[:: max(1, len(names) // COPIES)][:COPIES]
    rows = []
    for name in chosen:
        audio, rate = read(paths[name].path), paths[name].info.sample_rate
        for gain_db in COPY_GAINS_DB:
            rows.append(
                workshop.case(
                    session,
                    before,
                    label=f"{name} {gain_db:+g} dB",
                    name=COPY_NAME,
                    audio=audio * 10.0 ** (gain_db / 20.0),
                    rate=rate,
                    touched={name},
                )
            )
    return rows


def microphones(
    workshop: Workshop, session: AnalysedSession, before: Decided, *, late_ms: float
) -> list[dict[str, object]]:
    """Turn over, or delay, each microphone of the sources that have several."""
    if session.relations is None:
        return []
    paths = {track.name: track for track in session.session.tracks}
    names = {r.second for r in session.relations.pairs if not r.one_recording}
    rows = []
    for name in sorted(names):
        audio, rate = read(paths[name].path), paths[name].info.sample_rate
        frames = round(late_ms * rate / 1000.0)
        changed = np.pad(audio, ((0, 0), (frames, 0))) if frames else -audio
        rows.append(
            workshop.case(
                session, before, label=name, name=name, audio=changed, rate=rate, touched=set()
            )
        )
    return rows


def summary(session: str, fault: str, rows: Sequence[dict[str, object]]) -> dict[str, object]:
    """Return a line of the table."""
    table = pd.DataFrame(rows)
    line: dict[str, object] = {"session": session, "fault": fault, "cases": len(rows)}
    for column in ("tracks", "stems"):
        line[f"{column} median"] = round(float(table[column].median()), 2)
        line[f"{column} max"] = round(float(table[column].max()), 2)
        line[f"{column} over"] = int((table[column] >= LIMIT_LU).sum())
    line["said"] = f"{int(table['said'].sum())}/{len(rows)}" if "said" in table else "-"
    return line


def main() -> None:
    """Print what each fault moved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--first-seed", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--sessions", nargs="*", help="only these; the demo is called demo")
    parser.add_argument("--roles-only", action="store_true", help="wrong roles alone")
    parser.add_argument("--verbose", action="store_true", help="every case over the limit")
    chosen = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        roots = {path.name: path for path in sorted((chosen.audio / "sessions").iterdir())}
        roots["demo"] = Path(folder) / "demo" / "session"
        for title, root in roots.items():
            if chosen.sessions and title not in chosen.sessions:
                continue
            if title == "demo":
                make_demo(root.parent)
            session = workshop.analysed(root)
            before = decide(session)
            seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
            few = len(before.gain_db) < FEW
            faults = {
                "wrong roles" + " (few tracks)" * few: [
                    wrong_roles(session, before, seed) for seed in seeds
                ]
            }
            if not chosen.roles_only:
                faults["duplicate"] = copies(workshop, session, before)
                faults["inverted"] = microphones(workshop, session, before, late_ms=0.0)
                faults["delayed"] = microphones(workshop, session, before, late_ms=LATE_MS)
            for fault, rows in faults.items():
                if not rows:
                    continue
                lines.append(summary(title, fault, rows))
                bad = [r for r in rows if max(r["tracks"], r["stems"]) >= LIMIT_LU]
                bad += [r for r in rows if not r.get("said", True) and r not in bad]
                for row in bad if chosen.verbose else ():
                    say(f"{title} {fault}: {row}")
    say(f"largest change elsewhere in LU, limit {LIMIT_LU:g}; {chosen.seeds} draws of wrong roles")
    say(pd.DataFrame(lines).to_string(index=False))


if __name__ == "__main__":
    main()
