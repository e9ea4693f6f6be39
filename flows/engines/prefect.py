"""A recipe as a Prefect flow: the same steps, in the same threads, each a task run.

Steps run in the crew of threads of :mod:`flows.engines.local`, so that order, cancelling and
results are those of the local engine, and Prefect adds the record: states, names, retries,
artifacts.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from flows.dashboard.client import FINAL, ask, end_run
from flows.dashboard.control import default_home, private_server, quiet_prefect, running_server
from flows.dashboard.markdown import as_markdown
from flows.dashboard.reports import put_on_shelf
from flows.dashboard.runs import LEFT_OPEN, registered, settle_all
from flows.dashboard.tags import Listing
from flows.engines.base import Engine
from flows.engines.local import LocalEngine
from flows.engines.prefect_link import DashboardLink
from flows.progress import Progress, guarded, phase_title
from flows.storage.locations import Place
from flows.storage.retries import may_pass

quiet_prefect()

from prefect import Task, flow, get_run_logger  # noqa: E402
from prefect.artifacts import (  # noqa: E402
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.context import FlowRunContext, SyncClientContext  # noqa: E402
from prefect.events.worker import EventsWorker  # noqa: E402
from prefect.flow_engine import run_flow  # noqa: E402
from prefect.logging.handlers import APILogWorker  # noqa: E402
from prefect.settings import (  # noqa: E402
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from flows.engines.prefect_subflow import create_run  # noqa: E402

__all__ = [
    "PrefectEngine",
    "markdown_artifact",
    "progress_artifact",
    "run_as_flow",
    "table_artifact",
]

_LOG = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")

# A disk that was busy or a network share that was away for a moment.
_RETRY_DELAYS_S = [0.5, 2.0]
_RECORDED_S = 30.0
_PATIENCE_S = 20.0
_PATIENCE_AFTER_FAILURE_S = 5.0
_ARTIFACT_EVERY_S = 1.0
_RETRIES = 2


class PrefectEngine:
    """Runs steps as task runs of the current flow run, in threads of this process.

    Parameters
    ----------
    workers, progress
        As for :class:`flows.engines.local.LocalEngine`.
    shelf
        Home of the server that shows the run, if it serves reports.
    link
        Tells whether that server is still there; without it the steps run all the same.

    Raises
    ------
    RuntimeError
        From ``with``, outside a flow run; :func:`run_as_flow` makes one.
    """

    def __init__(
        self,
        workers: int | None = None,
        progress: Progress | None = None,
        shelf: Path | None = None,
        link: DashboardLink | None = None,
    ) -> None:
        self._inner = guarded(progress)
        self._local = LocalEngine(workers, self._inner)
        self.counts = self._local.counts
        self._shelf = shelf
        self._link = link
        self._counting = threading.Lock()
        self.begun = 0
        self.run_id: str | None = None

    def map(
        self, step: Callable[[A], B], items: Sequence[A], *, name: str, labels: Sequence[str]
    ) -> list[B]:
        """Run a step on each item as a task run; see :meth:`flows.engines.base.Engine.map`."""
        jobs = self._jobs(step, items, name, labels)
        if not self._is_lost():
            self._local.progress = _ArtifactProgress(self._inner, self._is_lost)
        try:
            with self._phase(name, f"{len(items)} item{'' if len(items) == 1 else 's'}"):
                return self._local.map(_call, jobs, name=name, labels=labels)
        finally:
            self._local.progress = self._inner

    def run(self, step: Callable[[A], B], item: A, *, name: str, label: str) -> B:
        """Run a step once as a task run; see :meth:`flows.engines.base.Engine.run`."""
        (job,) = self._jobs(step, [item], name, [label])
        with self._phase(name, label):
            return self._local.run(_call, job, name=name, label=label)

    def publish_table(self, key: str, rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
        """Show a table in the dashboard; see :meth:`flows.engines.base.Engine.publish_table`."""
        self._publish(functools.partial(table_artifact, key, rows, title=title))

    def publish_markdown(self, key: str, text: str, *, title: str) -> None:
        """Show a text in the dashboard; see :meth:`flows.engines.base.Engine.publish_markdown`."""
        self._publish(functools.partial(markdown_artifact, key, text, title=title))

    def publish_page(
        self, key: str, write: Callable[[str | None], str], *, title: str, report: Place
    ) -> None:
        """Show a text that links to a report; see :meth:`Engine.publish_page`."""
        if self._is_lost():
            return
        address = None
        if self._shelf is not None and isinstance(report, Path):
            with contextlib.suppress(OSError):  # a full disk: the text says where the report is
                address = put_on_shelf(self._shelf, report)
        self._publish(lambda: markdown_artifact(key, write(address), title=title))

    def log(self, text: str, *, warning: bool = False) -> None:
        """Write a line into the run's log; see :meth:`flows.engines.base.Engine.log`."""
        if self.run_id is None or self._is_lost():
            return
        level = logging.WARNING if warning else logging.INFO
        self._publish(lambda: get_run_logger().log(level, "%s", _one_line(text)))

    @contextlib.contextmanager
    def _phase(self, name: str, what: str) -> Iterator[None]:
        """Log a phase's beginning and end."""
        title, began_s = phase_title(name), time.monotonic()
        self.log(f"{title}: {what}")
        ended = "stopped"
        try:
            yield
            ended = "done"
        except Exception:
            ended = "failed"
            raise
        finally:
            self.log(f"{title}: {ended} after {time.monotonic() - began_s:.1f} s")

    def _is_lost(self) -> bool:
        return self._link is not None and self._link.lost.is_set()

    def _publish(self, send: Callable[[], None]) -> None:
        """Send something to the dashboard, which never ends a run."""
        if self._is_lost():
            return
        try:
            send()
        except Exception as error:
            if self._link is None or self._link.check():
                _LOG.warning("the dashboard did not take a part of the record: %s", error)

    def _jobs(
        self, step: Callable[[A], B], items: Sequence[A], name: str, labels: Sequence[str]
    ) -> list[Callable[[], B]]:
        if self._is_lost():
            return [functools.partial(step, item) for item in items]
        # The step and its item are sealed in an object: Prefect walks through parameters, rebuilds
        # what it finds and looks for futures in it, which is none of its business here.
        task = Task(
            _work,
            name=_plain(name),
            task_run_name=f"{_literal(name)} · {{label}}",
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=len(_RETRY_DELAYS_S),
            retry_delay_seconds=list(_RETRY_DELAYS_S),
            retry_condition_fn=_is_passing,
        )
        return [
            # A context cannot be entered by two threads at once: each job has its own.
            functools.partial(
                contextvars.copy_context().run,
                functools.partial(task, _one_line(label), _Job(step, item, self._count)),
            )
            for item, label in zip(items, labels, strict=True)
        ]

    def _count(self) -> None:
        with self._counting:
            self.begun += 1

    def __enter__(self) -> Self:
        context = FlowRunContext.get()
        if context is None:
            raise RuntimeError("a PrefectEngine works in a flow run: use run_as_flow")
        self.run_id = None if context.flow_run is None else str(context.flow_run.id)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


def run_as_flow(
    title: str,
    recipe: Callable[[Engine], T],
    *,
    listing: Listing | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    home: Path | None = None,
) -> T:
    """Run a recipe as a flow run called ``title`` and return what it returns.

    The server is the one of ``PREFECT_API_URL``, else the user's dashboard if it is running, else
    one of our own for the duration. It has recorded how every task run ended when this returns.
    Inside a flow run, such as that of a deployment, the steps are task runs of that one.

    Parameters
    ----------
    listing
        What the dashboard lists the run under.
    home
        Folder of our own server; default :func:`flows.dashboard.control.default_home`.

    Raises
    ------
    flows.dashboard.control.ServerError
        If our own server does not start.
    Exception
        What the recipe raises.
    """
    home, listing = home or default_home(), listing or Listing()
    dashboard = running_server(home)
    if FlowRunContext.get() is not None:
        served = dashboard is not None and dashboard == os.environ.get("PREFECT_API_URL")
        with PrefectEngine(workers, progress, home if served else None) as engine:
            return recipe(engine)
    with contextlib.ExitStack() as stack:
        server = _enter_server(stack, home, dashboard)
        link = stack.enter_context(DashboardLink(server.url, silent=listing.parent_run is not None))
        engine = PrefectEngine(workers, progress, server.home if server.is_ours else None, link)
        run = _RecordedRun(recipe, engine, server, link)
        run.record(title, listing)
        if not run.results:  # the server was gone before the run had begun
            return recipe(LocalEngine(workers, progress))
        return run.results[0]


@dataclass(frozen=True)
class _Server:
    """The server that records a run.

    ``is_private`` is one of our own for the duration; ``is_ours`` that or the user's dashboard: it
    looks after its dead runs itself, and serves the reports of its home.
    """

    url: str
    home: Path
    is_private: bool
    is_ours: bool


def _enter_server(stack: contextlib.ExitStack, home: Path, dashboard: str | None) -> _Server:
    """Find the server, or start one, and set this process to it for as long as ``stack`` lasts."""
    url = os.environ.get("PREFECT_API_URL") or dashboard
    is_private = url is None
    if url is None:
        url, home = stack.enter_context(private_server(home))
    server = _Server(url, home, is_private, is_private or url == dashboard)
    # Heartbeats would find runs that died too. They cost a second at the end of each.
    stack.enter_context(
        temporary_settings(
            {
                PREFECT_API_URL: url,
                PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
                # Each lasts twice as long as the one before, for a server that is gone too.
                PREFECT_CLIENT_MAX_RETRIES: _RETRIES,
            },
        )
    )
    if not server.is_ours:
        settle_all(home, url, ours=False)
    return server


class _RecordedRun(Generic[T]):
    """A recipe as a flow run; its results are handed round Prefect, and outlast the server.

    Attributes
    ----------
    results
        What the recipe returned, in a list of one; empty while it has not ended.
    """

    def __init__(
        self,
        recipe: Callable[[Engine], T],
        engine: PrefectEngine,
        server: _Server,
        link: DashboardLink,
    ) -> None:
        self._recipe, self._engine, self._server, self._link = recipe, engine, server, link
        self.results: list[T] = []
        self._failure: BaseException | None = None
        self._flow_run_id = ""
        self._record = contextlib.ExitStack()

    def record(self, title: str, listing: Listing) -> None:
        """Run the recipe, and wait until the server has recorded it.

        Raises
        ------
        Exception
            What the recipe raises; what the server did wrong only while that is still there.
        """

        def body() -> None:
            self._run()

        with self._record:
            try:
                made = flow(
                    name=_plain(listing.flow_name),
                    validate_parameters=False,
                    persist_result=False,
                )(body)
                with SyncClientContext.get_or_create() as connection:
                    run = create_run(
                        connection.client,
                        made,
                        title=_one_line(title),
                        tags=listing.tags,
                        parent_run=listing.parent_run,
                    )
                    run_flow(made, run)
            except Exception:
                # Of the recipe's own failure that of telling the server must not take the place.
                if self._failure is not None:
                    raise self._failure from None
                if self._link.check():
                    raise
            finally:
                self._finish()

    def _run(self) -> None:
        """Run the recipe inside the flow run, which somebody looks after from here on."""
        with self._engine as engine:
            if engine.run_id is not None:
                self._flow_run_id = engine.run_id
                watched = registered(
                    self._server.home,
                    self._server.url,
                    engine.run_id,
                    ours=self._server.is_ours,
                    is_untold=self._link.lost.is_set,
                )
                # Where its home cannot be written, nobody looks after a run that is killed.
                with contextlib.suppress(OSError):
                    self._record.enter_context(watched)
            # Handed round Prefect, which would take a result apart to look for states.
            try:
                self.results.append(self._recipe(engine))
            except BaseException as error:
                self._failure = error
                raise
            finally:
                if self._link.lost.is_set():  # the end of the run is told to nobody: one attempt
                    self._record.enter_context(temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}))

    def _finish(self) -> None:
        """Wait until the server has everything, and end on a private one what did not end."""
        # What sends events would give up after ten seconds of closing, with all that a busy server
        # had not taken yet; so that has everything first.
        url, flow_run_id = self._server.url, self._flow_run_id
        if flow_run_id and self._link.check():
            patience_s = _PATIENCE_S if self.results else _PATIENCE_AFTER_FAILURE_S
            _wait_until_recorded(url, flow_run_id, self._engine.begun, patience_s)
        # It keeps to the server that it was made for: the next run may have another.
        EventsWorker.drain_all(timeout=_RECORDED_S)
        APILogWorker.drain_all(timeout=_RECORDED_S)
        is_open = flow_run_id and not self.results and not self._link.lost.is_set()
        if self._server.is_private and is_open:
            with contextlib.suppress(OSError, ValueError):
                end_run(url, flow_run_id, LEFT_OPEN)


def table_artifact(key: str, rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Attach a searchable table to the current flow or task run.

    Parameters
    ----------
    key
        Names the series of versions of this artifact; letters, digits and dashes are kept.
    rows
        JSON-able mappings with the same keys.
    """
    # Cells and descriptions are Markdown to Prefect's pages, and names to us.
    cells = [
        {name: as_markdown(v) if isinstance(v, str) else v for name, v in row.items()}
        for row in rows
    ]
    create_table_artifact(cells, key=_slug(key), description=as_markdown(title))


def markdown_artifact(key: str, text: str, *, title: str) -> None:
    """Attach a text to the current flow or task run; pictures in it as data URIs."""
    create_markdown_artifact(text, key=_slug(key), description=as_markdown(title))


def progress_artifact(key: str, *, title: str) -> Callable[[float], None]:
    """Attach a percentage to the current flow or task run; return what sets it, 0 to 100."""
    made: Any = create_progress_artifact(0.0, key=_slug(key), description=as_markdown(title))

    def set_percent(percent: float) -> None:
        update_progress_artifact(made, percent)

    return set_percent


class _Job:
    """A step and its item; tells when it is called for the first time."""

    def __init__(self, step: Callable[[Any], Any], item: object, begin: Callable[[], None]) -> None:
        self._step, self._item, self._begin = step, item, begin
        self._begun = False

    def __call__(self) -> Any:
        if not self._begun:
            self._begun = True
            self._begin()
        return self._step(self._item)


class _ArtifactProgress:
    """Shows a phase's progress in the dashboard too; called from the flow's own thread."""

    def __init__(self, inner: Progress, is_lost: Callable[[], bool]) -> None:
        self._inner, self._is_lost = inner, is_lost
        self._set_percent: Callable[[float], None] | None = None
        self._total = self._done = 0
        self._told_s = 0.0

    def expect(self, costs: Mapping[str, float]) -> None:
        self._inner.expect(costs)

    def start(self, name: str, total: int) -> None:
        self._inner.start(name, total)
        self._total, self._done, self._told_s = total, 0, time.monotonic()
        self._set_percent = progress_artifact(f"progress-{name}", title=name) if total else None

    def advance(self, name: str, label: str) -> None:
        self._inner.advance(name, label)
        self._done += 1
        if time.monotonic() - self._told_s > _ARTIFACT_EVERY_S or self._done == self._total:
            self._told_s = time.monotonic()
            if self._set_percent is not None and not self._is_lost():
                self._set_percent(min(100.0 * self._done / self._total, 100.0))

    def finish(self, name: str) -> None:
        self._inner.finish(name)


def _work(label: str, job: Callable[[], B]) -> B:
    """Run a job: the function under every task. ``label`` names the task run."""
    del label
    return job()


def _call(job: Callable[[], B]) -> B:
    return job()


def _is_passing(task: Any, task_run: Any, state: State[Any]) -> bool:
    """Tell whether a failure may mend itself when tried again."""
    return may_pass(state.result(raise_on_failure=False))


def _wait_until_recorded(url: str, flow_run_id: str, task_runs: int, patience_s: float) -> None:
    """Wait until a server has written down how each task run that was begun ended.

    Task runs arrive as events and are written in batches. It is given up when nothing more has
    come for so long: a step that did not stop when it was told to never ends.
    """
    runs = {
        "flow_runs": {"id": {"any_": [flow_run_id]}},
        "task_runs": {"state": {"type": {"any_": sorted(FINAL)}}},
    }
    until = time.monotonic() + patience_s
    before = 0
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError):
            recorded = int(ask(f"{url}/task_runs/count", runs))
            if recorded >= task_runs:
                return
            if recorded > before:
                before, until = recorded, time.monotonic() + patience_s
        time.sleep(0.1)


def _literal(text: str) -> str:
    """Keep Prefect from reading a template in a name."""
    return _one_line(text).replace("{", "{{").replace("}", "}}")


def _plain(name: str) -> str:
    """Leave out what Prefect refuses in the name of a flow or task."""
    return re.sub(r"[/%&<>]", " ", _one_line(name)).strip() or "step"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _slug(key: str) -> str:
    """Return a key as Prefect wants it: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-") or "artifact"
