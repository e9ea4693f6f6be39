"""Whether the dashboard of a run is still there: a run that loses it goes on without.

A server that is gone would otherwise be tried again for minutes, event by event, and each try told.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import urllib.error
from types import TracebackType
from typing import Any, Self

from flows.dashboard.client import ask
from flows.output_stream import lasting

__all__ = ["DashboardLink"]

_EVERY_S, _PATIENCE_S = 0.5, 4.0
# Refusals in a row until a server counts as gone; one that is busy may be silent for longer.
_REFUSALS, _SILENCES = 3, 6
# They tell of each event that a server did not take.
_LOGGERS = (
    "prefect._internal.concurrency",
    "prefect.events.clients",
    "prefect.events.worker",
    "EventsWorker",
    "APILogWorker",
)
_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class _Silence(logging.Filter):
    """Lets no record of a run pass whose server is gone."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False


class DashboardLink:
    """Looks after the server of a run, in a thread, for as long as the block lasts.

    Parameters
    ----------
    url
        The server's API.
    silent
        Tell nobody that it is gone: another run does, which this one is a part of.

    Attributes
    ----------
    lost
        Set for good when the server is gone; the run is told so once, as a warning.
    """

    def __init__(self, url: str, *, silent: bool = False) -> None:
        self._url, self._silent = url, silent
        self.lost = threading.Event()
        self._over = threading.Event()
        self._failures = 0
        self._levels: dict[str, int] = {}
        self._propagates: dict[str, bool] = {}
        self._raise_exceptions = logging.raiseExceptions
        self._thread = threading.Thread(target=self._watch, name="dashboard-link", daemon=True)

    def __enter__(self) -> Self:
        for name in _RUN_LOGGERS:
            logger = logging.getLogger(name)
            # An earlier run of this process may have lost its server.
            for silence in [f for f in logger.filters if isinstance(f, _Silence)]:
                logger.removeFilter(silence)
            # The log is the server's: on the terminal the project speaks for itself.
            self._propagates[name], logger.propagate = logger.propagate, False
        # What sends the records would tell on stderr of each batch that a server did not take.
        self._raise_exceptions, logging.raiseExceptions = logging.raiseExceptions, False
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            self._levels[name] = logger.level
            logger.setLevel(logging.CRITICAL)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(_PATIENCE_S)
        for name, propagates in self._propagates.items():
            logging.getLogger(name).propagate = propagates
        if not self.lost.is_set():  # what is still on its way is told by nobody else
            for name, level in self._levels.items():
                logging.getLogger(name).setLevel(level)
            logging.raiseExceptions = self._raise_exceptions

    def check(self) -> bool:
        """Ask the server now, as often as it takes to be sure; return whether it is there."""
        while not self.lost.is_set():
            if self._ask():
                return True
        return False

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S) and not self.lost.is_set():
            self._ask()

    def _ask(self) -> bool:
        try:
            ask(f"{self._url}/health", timeout_s=_PATIENCE_S)
        except urllib.error.HTTPError:
            self._failures = 0  # it answers
            return True
        except (TimeoutError, ValueError):
            self._failures += 1
        except OSError as error:
            slow = isinstance(getattr(error, "reason", None), TimeoutError)
            self._failures += 1 if slow else _SILENCES // _REFUSALS
        else:
            self._failures = 0
            return True
        if self._failures >= _SILENCES and not self.lost.is_set():
            self.lost.set()
            _drop_what_waits()
            for name in _RUN_LOGGERS:
                # Their records would be sent, and each failure told with its traceback.
                logging.getLogger(name).addFilter(_Silence())
            if not self._silent:
                # Not by logging, whose root Prefect has taken over and made silent.
                told = f"the dashboard at {self._url.removesuffix('/api')} is gone: the run goes on"
                lasting().write(f"{told} without it\n")
        return False


def _drop_what_waits() -> None:
    """Have Prefect try no more to send what it holds back: each event takes it seven seconds."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    async def drop(*_: Any, **__: Any) -> None:
        return None

    workers: tuple[Any, ...] = (EventsWorker, APILogWorker)
    for worker in workers:
        with contextlib.suppress(AttributeError, RuntimeError):
            for instance in tuple(worker._instances.values()):
                for name in ("_handle", "_handle_batch"):
                    if hasattr(instance, name):
                        setattr(instance, name, drop)
