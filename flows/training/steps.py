"""The steps of training: a song, synthesised or recorded, made into what the controller hears."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.engines.local import LocalEngine
from flows.engines.threads import one_torch_thread
from flows.mix.analysis import analyse_session
from flows.mix.plan import first_plan, intended_levels, is_centred, most_spread
from flows.mix.steps.balance import BalancedStem, BalanceJob, balance_step
from flows.settings import MixSettings
from flows.storage.locations import Place
from flows.storage.source_files import SourceFiles
from flows.storage.step import Kept, Record, step
from flows.storage.store import Store, made_whole
from pipeline.errors import InputError, Problem
from pipeline.loudness.meter import integrated_loudness
from pipeline.roles import Role, Subgroup
from pipeline.units import FloatArray
from stage1.balance.stem_targets import stem_targets
from stage2.corpus.samples import SampleBank
from stage2.corpus.song import CorpusSong, make_song
from stage2.training.examples import digest_song, save_song

__all__ = ["RecordedSong", "SynthesisedSong", "recorded_song_step", "synthesised_song_step"]

CORPUS_RATE = 44_100
_WORKING_LUFS = -20.0
_SONG = "song.safetensors"


@dataclass(frozen=True)
class SynthesisedSong:
    """A song of the corpus to make."""

    seed: int
    seconds: float
    one_shots: tuple[Path, ...]
    store: Place


@dataclass(frozen=True)
class RecordedSong:
    """A session of raw tracks to balance and digest."""

    session: Path
    store: Place


def _shots(job: SynthesisedSong) -> list[Path]:
    return [path for folder in job.one_shots for path in _files(folder)]


def _shot_sources(job: SynthesisedSong, store: Store) -> SourceFiles:
    return SourceFiles(store, {str(path): path for path in _shots(job)})


def _song_inputs(job: SynthesisedSong, contents: Mapping[str, str]) -> dict[str, Any]:
    shots = [contents[str(path)] for path in _shots(job)]
    return {"seed": job.seed, "seconds": job.seconds, "one_shots": shots}


def _song_file(_job: object, kept: Kept) -> Path:
    return kept.folder / _SONG


@step("song", sources=_shot_sources, inputs=_song_inputs, result=_song_file)
def synthesised_song_step(job: SynthesisedSong, folder: Path) -> Record:
    """Make a song and digest its stems; return the file that holds them."""
    song = _made_song(job)
    roles: dict[str, list[Role]] = {}
    for track in song.tracks:
        roles.setdefault(track.subgroup, []).append(Role(track.role))
    stems = song.stems()
    levels = {
        name: integrated_loudness(audio, sample_rate=CORPUS_RATE) for name, audio in stems.items()
    }
    stems = {name: audio for name, audio in stems.items() if math.isfinite(levels[name])}
    intended = stem_targets({name: roles[name] for name in stems})
    _save(
        f"corpus {job.seed}",
        stems,
        folder / _SONG,
        sample_rate=CORPUS_RATE,
        gains_db={n: _WORKING_LUFS + intended[n] - levels[n] for n in stems},
        centred={n: n in _CENTRED for n in stems},
    )
    return {}


def _made_song(job: SynthesisedSong) -> CorpusSong:
    bank = SampleBank.of(*job.one_shots) if job.one_shots else None
    return make_song(job.seed, seconds=job.seconds, sample_rate=CORPUS_RATE, samples=bank)


_CENTRED = {Subgroup.BASS, Subgroup.DRUMS, Subgroup.LEAD_VOCALS, Subgroup.DIALOGUE}


def recorded_song_step(job: RecordedSong) -> Path:
    """Balance a session by the rules of stage 1 and digest its stems; return the file."""
    return made_whole(lambda: _recorded_song(job), job.store)


def _recorded_song(job: RecordedSong) -> Path:
    settings = MixSettings(skip_bad=True)
    with LocalEngine(workers=1) as engine, one_torch_thread():
        analysed = analyse_session(engine, job.session, settings=settings, store=job.store)
    plan = first_plan(analysed, job.session)
    stems = [
        balance_step(
            BalanceJob(plan, stem.name, analysed.session.root, job.store, analysed.contents)
        )
        for stem in plan.stems
    ]
    intended = intended_levels(plan, analysed, stems)
    sounding = tuple(stem for stem in stems if not stem.silent)
    centred = {stem.name: is_centred(stem.name, plan.tracks) for stem in sounding}
    name = job.session.name
    return _digest_step(
        _BalancedSong(name, sounding, intended, centred, plan.sample_rate, job.store)
    )


@dataclass(frozen=True)
class _BalancedSong:
    """A session's balanced stems to digest.

    Parameters
    ----------
    intended
        Level of each stem in LU, by its name.
    """

    name: str
    stems: tuple[BalancedStem, ...]
    intended: Mapping[str, float]
    centred: Mapping[str, bool]
    sample_rate: int
    store: Place


def _balanced_inputs(job: _BalancedSong, _contents: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": job.name,
        "stems": [[s.name, s.key, job.intended[s.name], job.centred[s.name]] for s in job.stems],
    }


@step("song", inputs=_balanced_inputs, result=_song_file)
def _digest_step(job: _BalancedSong, folder: Path) -> Record:
    store = Store(job.store)
    _save(
        job.name,
        {stem.name: np.load(store.local(stem.excerpt)) for stem in job.stems},
        folder / _SONG,
        sample_rate=job.sample_rate,
        gains_db={
            s.name: _WORKING_LUFS + job.intended[s.name] - s.loudness_lufs for s in job.stems
        },
        centred=job.centred,
    )
    return {}


def _save(
    name: str,
    stems: Mapping[str, FloatArray],
    path: Path,
    *,
    sample_rate: int,
    gains_db: Mapping[str, float],
    centred: Mapping[str, bool],
) -> None:
    song = digest_song(
        name,
        stems,
        sample_rate=sample_rate,
        gains_db=gains_db,
        centred=centred,
        max_spread={stem: most_spread(stem) for stem in stems},
    )
    if not song.passages:
        remedy = "leave it out of the songs to learn from"
        raise InputError([Problem(name, "has no passage of 6 s in which something sounds", remedy)])
    save_song(song, path)


def _files(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
