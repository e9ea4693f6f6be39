"""Mixes and catalogues as deployments: started from Prefect's pages, by a schedule, by workers.

``prefect.yaml`` at the root of the project names them. What a run is given is checked against the
parameters' schema before the run exists, and the schema is the form that Prefect's pages show.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from pathlib import Path
from typing import Annotated, Any, Literal

from flows.dashboard.control import quiet_prefect

quiet_prefect()

from prefect import flow, get_run_logger  # noqa: E402
from prefect.client.schemas.objects import FlowRun  # noqa: E402
from prefect.deployments import run_deployment  # noqa: E402
from pydantic import ConfigDict, Field  # noqa: E402

from flows.catalogue.run import SessionsFailedError, in_processes, mix_catalogue  # noqa: E402
from flows.catalogue.session import MixingOptions, SessionJob, mix_entry  # noqa: E402
from flows.catalogue.sources import read_catalogue  # noqa: E402
from flows.catalogue.table import CatalogueRow  # noqa: E402
from flows.dashboard.tags import run_tags  # noqa: E402
from flows.settings import MixSettings, description  # noqa: E402
from flows.storage.locations import Place, parse_place  # noqa: E402
from pipeline.console.delivery import TARGETS  # noqa: E402
from pipeline.errors import StemwrightError  # noqa: E402

__all__ = ["CatalogueParameters", "MixParameters", "catalogue_flow", "mix_session_flow"]

# A worker runs in a folder of its own, so a relative path would mean nothing to the user.
_LOCAL = r"^(/|~/|[A-Za-z]:[\\/])"
_ABSOLUTE = rf"{_LOCAL[:-1]}|(s3|s3a|gs|gcs|file)://)"
_TARGET = rf"^({'|'.join(TARGETS)}|-?\d+(\.\d+)?)$"

_Folder = Annotated[str, Field(pattern=_LOCAL)]
_FolderOrUrl = Annotated[str, Field(pattern=_ABSOLUTE)]


def _described(schema: dict[str, Any]) -> None:
    """Say what a worker's machine takes, and put what is always asked for first."""
    for name in MixSettings.model_fields.keys() - {"references"}:
        field = schema["properties"][name]
        field["description"] = description(name)
        for key in ("flag", "short", "unset", "off", "many"):  # the command's affair
            field.pop(key, None)
    schema["properties"]["target"]["pattern"] = _TARGET
    schema["properties"]["references"]["items"] = {"type": "string", "pattern": _ABSOLUTE}
    for name in ("engine", "dask", "workers"):  # the worker's affair
        schema["properties"].pop(name, None)
    first = [name for name in ("session", "source", "references") if name in schema["properties"]]
    order = dict.fromkeys([*first, "output", *schema["properties"]])
    schema["properties"] = {name: schema["properties"][name] for name in order}


class MixParameters(MixSettings):
    """What a mix is started with."""

    model_config = ConfigDict(json_schema_extra=_described)

    session: _FolderOrUrl = Field(
        description="Folder of raw tracks, absolute, where the worker runs; or its URL."
    )
    output: _FolderOrUrl | None = Field(
        None, description="New folder for the mix, absolute; by default one in the session."
    )
    references: tuple[str | Path, ...] = Field(
        (), description="Recordings whose style is wanted, absolute; none for a balanced mix."
    )


class CatalogueParameters(MixSettings):
    """What a catalogue is started with."""

    model_config = ConfigDict(json_schema_extra=_described)

    source: _Folder = Field(
        description="Folder whose subfolders are sessions, or a list of them (.csv, .toml); "
        "absolute, where the worker runs."
    )
    output: _Folder | None = Field(
        None, description="Folder for the mixes, absolute; one of an earlier run is gone on with."
    )
    references: tuple[str | Path, ...] = Field(
        (), description="Recordings whose style is wanted, absolute; a list may name others."
    )
    jobs: int = Field(1, ge=1, le=256, description="Sessions at a time.")
    again: bool = Field(False, description="Mix those too whose mix is there, unchanged.")
    deployment: str | None = Field(
        None,
        pattern=r"^[^/]+/[^/]+$",
        description="Deployment that mixes a session, one flow run each, such as "
        "mix-session/local; none to mix them in processes of this flow run.",
    )


@flow(name="mix-session", flow_run_name="{parameters.session}", persist_result=False)
def mix_session_flow(parameters: MixParameters) -> None:
    """Mix a folder of raw tracks in the style of a reference; each step is a task run."""
    # It loads torch, which takes twice as long as all else that a worker looks deployments up with.
    from flows.mix.recipe import mix_session

    mix_session(
        _place(parameters.session),
        settings=_settings(parameters, "prefect"),
        folder=None if parameters.output is None else _place(parameters.output),
    )


@flow(name="catalogue", flow_run_name="{parameters.source}", persist_result=False)
def catalogue_flow(parameters: CatalogueParameters) -> None:
    """Mix many sessions; fails, when all others are mixed, if any of them could not be.

    With a deployment named, each session is a flow run of it, on whatever worker takes it; they
    share the folders with this one. Runs wait for each other where a work pool has one worker with
    a limit of one: this run holds a place in it too.
    """
    output = None if parameters.output is None else Path(parameters.output).expanduser()
    source = read_catalogue(
        Path(parameters.source).expanduser(), _settings(parameters, "auto"), output=output
    )
    logger = get_run_logger()
    for name in source.left_out:
        logger.info("left out: %s", name)
    outcome = mix_catalogue(
        source.entries,
        title=Path(parameters.source).stem,
        folder=output or source.default_folder,
        jobs=parameters.jobs,
        options=MixingOptions(again=parameters.again),
        run=in_processes if parameters.deployment is None else _Deployed(parameters.deployment),
    )
    if outcome.failures:
        raise SessionsFailedError(outcome)


def _place(given: str) -> Place:
    place = parse_place(given)
    return place if isinstance(place, str) else place.expanduser()


def _settings(parameters: MixSettings, engine: Literal["auto", "prefect"]) -> MixSettings:
    chosen = {
        name: getattr(parameters, name)
        for name in parameters.model_fields_set
        if name in MixSettings.model_fields
    }
    # The form takes ~ for the worker's home, as in the session's place.
    if "references" in chosen:
        chosen["references"] = tuple(_place(str(given)) for given in parameters.references)
    return MixSettings.model_validate({**chosen, "engine": engine})


class _Deployed:
    """Mixes each session in a flow run of a deployment: a :data:`flows.catalogue.run.Runner`."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment

    def __call__(
        self, jobs: Sequence[SessionJob], at_once: int
    ) -> Generator[tuple[int, CatalogueRow], None, None]:
        stopped = threading.Event()

        def work(job: SessionJob) -> CatalogueRow:
            return mix_entry(job, self._mix, pause)

        def pause(seconds: float) -> None:
            stopped.wait(seconds)

        with ThreadPoolExecutor(at_once) as pool:
            futures = {
                # The flow run that this one belongs to is in the context.
                pool.submit(copy_context().run, work, job): index
                for index, job in enumerate(jobs)
            }
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                stopped.set()
                for future in futures:
                    future.cancel()

    def _mix(self, job: SessionJob) -> None:
        settings = job.entry.settings.model_dump(mode="json", exclude_unset=True)
        for name in ("engine", "dask", "workers"):
            settings.pop(name, None)
        run = run_deployment(
            self._deployment,
            parameters={
                "parameters": {
                    **settings,
                    "session": str(job.entry.session),
                    "output": str(job.folder),
                }
            },
            poll_interval=1,
            tags=run_tags("mix", "catalogue", session=job.entry.name),
        )
        state = run.state if isinstance(run, FlowRun) else None
        if state is None or not state.is_completed():
            end = "no state" if state is None else f"{state.name}: {state.message}"
            raise StemwrightError(f"its flow run ended as {end}")
