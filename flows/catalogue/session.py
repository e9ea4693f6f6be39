"""One session of a catalogue: found as it was mixed before, or mixed, as often as it takes.

Beside the mixes, in ``.catalogue``, lies for each what it was made from. Inputs and settings are
compared by content; where they changed, the earlier mix is set aside under another name first, and
nothing is ever removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.catalogue.sources import CatalogueEntry
from flows.catalogue.table import CatalogueRow, failed_row, mixed_row
from flows.storage.inputs import bring_near
from flows.storage.locations import Place
from flows.storage.output_folder import sweep_parts
from flows.storage.retries import may_pass, retrying
from flows.storage.store import Store
from pipeline.report.html import write_whole
from pipeline.session.files import session_files
from pipeline.session.settings import SESSION_TOML, readable_settings

__all__ = [
    "RECORDS",
    "MixingOptions",
    "SessionJob",
    "crashed_row",
    "mix_entry",
    "mix_in_this_process",
]

RECORDS = ".catalogue"

# Where a session is mixed, and how many of its parts at once, never changes the mix; of references
# the content counts.
_NO_MATTER = {"engine", "dask", "workers", "references"}


@dataclass(frozen=True)
class MixingOptions:
    """How the sessions of a catalogue are mixed.

    Parameters
    ----------
    store
        Of the steps; None for the user's.
    again
        Mix those too whose mix is there, of the same inputs and settings.
    retries
        Further attempts at a session after a failure that may pass.
    """

    store: Place | None = None
    again: bool = False
    retries: int = 3


@dataclass(frozen=True)
class SessionJob:
    """A session to find or to mix.

    Parameters
    ----------
    catalogue
        The folder that all mixes go into.
    parent_run
        Identifier of the catalogue's flow run; None without a dashboard.
    """

    entry: CatalogueEntry
    catalogue: Path
    options: MixingOptions = MixingOptions()
    parent_run: str | None = None

    @property
    def folder(self) -> Path:
        """Where its mix goes."""
        return self.catalogue / self.entry.name


def mix_in_this_process(job: SessionJob) -> None:
    """Mix a session with the engine of its settings."""
    # It takes seconds to load, which the process that only hands out sessions need not wait for.
    from flows.mix.recipe import mix_session

    mix_session(
        job.entry.session,
        settings=job.entry.settings,
        folder=job.folder,
        store=job.options.store,
        parent_run=job.parent_run,
    )


def mix_entry(
    job: SessionJob,
    mix: Callable[[SessionJob], None] = mix_in_this_process,
    wait: Callable[[float], None] = time.sleep,
) -> CatalogueRow:
    """Find or mix a session; what goes wrong with it is in the row that is returned.

    Parameters
    ----------
    mix
        Writes the mix into the job's folder, which is not there yet, whole or not at all.
    wait
        Between attempts, seconds.
    """
    began = time.monotonic()
    tries = retrying(job.options.retries, sleep=wait)

    def once() -> CatalogueRow:
        found = _attempt(job, mix)
        return mixed_row(
            job.folder,
            status="found" if found else "mixed",
            session=job.entry.session,
            references=job.entry.settings.references,
            seconds=time.monotonic() - began,
            attempts=0 if found else tries.statistics["attempt_number"],
        )

    try:
        return tries(once)
    except Exception as error:
        return failed_row(
            job.entry.name,
            error,
            session=job.entry.session,
            references=job.entry.settings.references,
            seconds=time.monotonic() - began,
            attempts=tries.statistics["attempt_number"],
        )


def crashed_row(job: SessionJob, how: str, seconds: float) -> CatalogueRow:
    """Return the row of a session whose process died."""
    sweep_parts(job.catalogue)
    return failed_row(
        job.entry.name,
        how,
        session=job.entry.session,
        references=job.entry.settings.references,
        seconds=seconds,
        attempts=1,
        remedy=f"mix {job.entry.session} by itself, or with fewer --jobs",
    )


def _attempt(job: SessionJob, mix: Callable[[SessionJob], None]) -> bool:
    """Find or mix a session; return whether it was found."""
    made_from = _fingerprint(job)
    record = job.catalogue / RECORDS / f"{job.entry.name}.json"
    known = _read(record)
    if not job.options.again and made_from is not None and known == made_from and _is_whole(job):
        return True
    with _set_aside(job.folder, record):
        _write(record, made_from)
        mix(job)
        if made_from is not None and _fingerprint(job) != made_from:
            _write(record, None)  # which of both it was made from is not known
    return False


def _fingerprint(job: SessionJob) -> str | None:
    """Return a digest of all that the mix is made from; None where some of it cannot be read."""
    entry, store = job.entry, Store(job.options.store)
    told: list[object] = [str(entry.session)]
    told.append(entry.settings.model_dump(mode="json", exclude=_NO_MATTER))
    near = bring_near(entry.session, entry.settings.recordings)
    if near.root is None or near.faults or not near.root.is_dir():
        return None
    root = near.root.resolve()
    files = session_files(
        root, references=near.references, keep=readable_settings(root).keeps
    ).every
    if (root / SESSION_TOML).exists():
        files[SESSION_TOML] = root / SESSION_TOML
    try:
        told += [(name, store.content_hash(path)) for name, path in sorted(files.items())]
        styles = entry.settings.saved_styles
        told += [(path.name, store.content_hash(path)) for path in (*near.references, *styles)]
    except OSError as error:
        if may_pass(error):
            raise
        return None
    whole = json.dumps(told, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(whole.encode(), digest_size=20).hexdigest()


def _is_whole(job: SessionJob) -> bool:
    try:
        mixed_row(job.folder, status="found", session=job.entry.session, references=(),
                  seconds=0.0, attempts=0)  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


@contextlib.contextmanager
def _set_aside(folder: Path, record: Path) -> Iterator[None]:
    """Give an earlier mix of ours another name, and its own again if there will be no new one.

    What is not of a catalogue stays where it is: the mix is refused then.
    """
    earlier = _read(record)
    if not (folder.is_dir() and earlier is not None):
        yield
        return
    aside = folder.with_name(f"{folder.name} before {time.strftime('%Y%m%d-%H%M%S')}")
    while aside.exists():
        aside = aside.with_name(f"{aside.name}+")
    folder.rename(aside)
    try:
        yield
    except BaseException:
        if not folder.exists():
            _write(record, earlier)
            aside.rename(folder)
        raise


def _read(record: Path) -> str | None:
    try:
        told = json.loads(record.read_text(encoding="utf-8"))
        return str(told["made_from"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(record: Path, made_from: str | None) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    write_whole(record, json.dumps({"made_from": made_from or ""}))
