"""One session of a catalogue, with a stand-in for the mix that writes what a mix writes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows.catalogue.session import MixingOptions, SessionJob, crashed_row, mix_entry
from flows.catalogue.sources import CatalogueEntry
from flows.settings import MixSettings
from pipeline.errors import InputError, Problem

RESULTS = {
    "tracks": [{}, {}],
    "mix": {
        "integrated_lufs": -14.0, "target_lufs": -14.0, "true_peak_dbtp": -1.0,
        "loudness_range_lu": None, "distance_of_balanced_start": {"total": 2.0, "width_db": 9.0},
        "distance": {"total": 0.5, "width_db": 1.0},
    },
    "skipped": [{"name": "Gtr.wav", "why": "is empty"}],
    "warnings": ["Kick.wav: clipped"],
    "settings": {"format": "wav"},
}  # fmt: skip


class Mixer:
    """Mixes, or fails as it is told; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.failures: list[BaseException] = []

    def __call__(self, job: SessionJob) -> None:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        if job.folder.exists():
            raise InputError([Problem(str(job.folder), "exists already", "name another")])
        job.folder.mkdir()
        (job.folder / "mix.wav").write_text(f"mix {self.asked}")
        (job.folder / "results.json").write_text(json.dumps(RESULTS))


@pytest.fixture
def job(tmp_path: Path, put: Callable[..., Path]) -> SessionJob:
    put(tmp_path / "song" / "Kick.wav", np.full((1, 100), 0.1), 8000)
    reference = put(tmp_path / "like.wav", np.full((1, 100), 0.1), 8000)
    (tmp_path / "out").mkdir()
    settings = MixSettings(references=(reference,))
    entry = CatalogueEntry("song", tmp_path / "song", settings)
    return SessionJob(entry, tmp_path / "out", MixingOptions(tmp_path / "store"))


def with_settings(job: SessionJob, **settings: object) -> SessionJob:
    changed = job.entry.settings.model_copy(update=settings)
    return replace(job, entry=replace(job.entry, settings=changed))


def test_a_row_says_what_a_mix_is(job: SessionJob) -> None:
    row = mix_entry(job, Mixer())
    assert (row.session, row.status, row.attempts) == ("song", "mixed", 1)
    assert (row.tracks, row.skipped_tracks, row.warnings) == (2, 1, 2)
    assert row.warning_text == "skipped Gtr.wav: is empty; Kick.wav: clipped"
    assert (row.loudness_lufs, row.true_peak_dbtp) == (-14.0, -1.0)
    assert np.isnan(row.loudness_range_lu)
    assert (row.before_total, row.after_total, row.after_width_db) == (2.0, 0.5, 1.0)
    assert (row.mix, row.report) == ("song/mix.wav", "song/report.html")
    assert row.session_folder == str(job.entry.session)


def test_what_is_unchanged_is_found(job: SessionJob) -> None:
    mixer = Mixer()
    assert mix_entry(job, mixer).status == "mixed"
    # What does not change the mix does not count, nor does when a file was written.
    kick = job.entry.session / "Kick.wav"
    content = kick.read_bytes()
    kick.write_bytes(content)
    (job.entry.session / "notes.txt").write_text("louder!")
    row = mix_entry(with_settings(job, workers=3, engine="local"), mixer)
    assert (row.status, row.attempts, mixer.asked) == ("found", 0, 1)
    assert row.after_total == 0.5


@pytest.mark.parametrize(
    "change",
    ["track", "new track", "session.toml", "reference", "setting", "mix gone", "again"],
)
def test_what_changed_is_mixed_again_and_the_earlier_mix_is_kept(
    job: SessionJob, change: str, put: Callable[..., Path]
) -> None:
    mixer = Mixer()
    mix_entry(job, mixer)
    (job.folder / "my notes.txt").write_text("dear to me")
    song = job.entry.session
    if change == "track":
        put(song / "Kick.wav", np.full((1, 100), 0.2), 8000)
    elif change == "new track":
        put(song / "Bass.wav", np.full((1, 100), 0.2), 8000)
    elif change == "session.toml":
        (song / "session.toml").write_text("sample_rate = 8000")
    elif change == "reference":
        put(job.entry.settings.references[0], np.full((1, 100), 0.2), 8000)
    elif change == "setting":
        job = with_settings(job, seed=3)
    elif change == "mix gone":
        (job.folder / "mix.wav").unlink()
    else:
        job = replace(job, options=replace(job.options, again=True))
    assert mix_entry(job, mixer).status == "mixed"
    assert (job.folder / "mix.wav").read_text() == "mix 2"
    (aside,) = job.catalogue.glob("song before *")
    assert (aside / "my notes.txt").read_text() == "dear to me"
    assert (
        mix_entry(replace(job, options=replace(job.options, again=False)), mixer).status == "found"
    )


def test_an_earlier_mix_is_put_back_when_there_is_no_new_one(job: SessionJob) -> None:
    mixer = Mixer()
    mix_entry(job, mixer)
    mixer.failures = [InputError([Problem("Kick.wav", "is empty", "record it again")])]
    row = mix_entry(with_settings(job, seed=3), mixer)
    assert (row.status, row.error, row.remedy) == (
        "failed",
        "Kick.wav: is empty",
        "record it again",
    )
    assert (job.folder / "mix.wav").read_text() == "mix 1"
    assert not list(job.catalogue.glob("song before *"))
    # It is that of the settings before, and not taken for that of the others.
    assert mix_entry(job, mixer).status == "found"
    assert mix_entry(with_settings(job, seed=3), mixer).status == "mixed"


def test_what_is_not_of_a_catalogue_stays(job: SessionJob) -> None:
    job.folder.mkdir()
    (job.folder / "mix.wav").write_text("dear to me")
    row = mix_entry(job, Mixer())
    assert row.status == "failed"
    assert "exists already" in row.error
    assert (job.folder / "mix.wav").read_text() == "dear to me"


def test_what_may_pass_is_tried_again_and_nothing_else(job: SessionJob) -> None:
    mixer, waited = Mixer(), list[float]()
    mixer.failures = [OSError(5, "I/O error"), TimeoutError("share")]
    row = mix_entry(job, mixer, waited.append)
    assert (row.status, row.attempts, mixer.asked) == ("mixed", 3, 3)
    assert len(waited) == 2
    assert 0.5 <= waited[0] <= 1.5
    assert 1.0 <= waited[1] <= 3.0
    assert not list(job.catalogue.glob(".song.*")), "an attempt left its half behind"

    job = replace(job, options=replace(job.options, again=True))
    mixer.failures = [OSError(5, "I/O error") for _ in range(4)]
    row = mix_entry(job, mixer, waited.append)
    assert (row.status, row.attempts, len(waited)) == ("failed", 4, 5)
    assert row.error == "OSError: [Errno 5] I/O error"
    assert "--verbose" in row.remedy
    for error in (FileNotFoundError("x"), PermissionError("x"), MemoryError(), ValueError("x")):
        mixer.failures = [error]
        row = mix_entry(job, mixer, waited.append)
        assert (row.status, row.attempts, len(waited)) == ("failed", 1, 5)
        assert row.error.startswith(type(error).__name__)


def test_a_crash_leaves_no_half_and_other_folders_alone(job: SessionJob) -> None:
    here = socket.gethostname()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    dead = f".song.12345678.{ended.pid}@{here}.part"
    others = {f".song.12345678.{os.getpid()}@{here}.part", ".song.part", "song.part"}
    for name in (dead, *others):
        (job.catalogue / name).mkdir()
    row = crashed_row(job, "its process was ended by SIGKILL", 3.0)
    assert (row.status, row.seconds) == ("failed", 3.0)
    assert row.error == "its process was ended by SIGKILL"
    assert {path.name for path in job.catalogue.iterdir()} == others


def test_a_session_that_is_not_there_is_left_to_the_mix(job: SessionJob) -> None:
    gone = replace(job, entry=replace(job.entry, session=Path("/none/of/it")))
    mixer = Mixer()
    mixer.failures = [InputError([Problem("/none/of/it", "does not exist", "name a folder")])]
    assert mix_entry(gone, mixer).error == "/none/of/it: does not exist"
    (job.entry.settings.references[0]).unlink()
    mix_entry(job, mixer)
    assert mix_entry(job, mixer).status == "mixed", "found without a reference to compare"
