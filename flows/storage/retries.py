"""What is worth another try, and when to try it."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError, Problem

if TYPE_CHECKING:
    from tenacity import RetryCallState, Retrying

__all__ = ["RemoteError", "as_input_error", "may_pass", "retrying"]

# These do not mend themselves.
_LASTING = (
    FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError,
)  # fmt: skip

_LONGEST_S = 60.0
# Several that failed together must not come back together.
_JITTER = 0.5


class RemoteError(OSError):
    """What is shared cannot be read or written; says what to do about it.

    Parameters
    ----------
    url, what, remedy
        As in :class:`pipeline.errors.Problem`.
    may_pass
        Whether it may be otherwise in a while.
    """

    def __init__(self, url: str, what: str, remedy: str, may_pass: bool = False) -> None:
        self.problem, self.may_pass = Problem(url, what, remedy), may_pass
        super().__init__(str(self.problem))

    def __reduce__(self) -> tuple[Any, ...]:
        problem = self.problem
        return type(self), (problem.subject, problem.what, problem.remedy, self.may_pass)


@contextlib.contextmanager
def as_input_error() -> Iterator[None]:
    """Raise a :class:`RemoteError` as an InputError: for what is looked at before any work."""
    try:
        yield
    except RemoteError as error:
        raise InputError([error.problem]) from error


def may_pass(error: object) -> bool:
    """Tell whether a failure may mend itself: a busy disk, a network share that was away."""
    if isinstance(error, RemoteError):
        return error.may_pass
    return isinstance(error, OSError) and not isinstance(error, _LASTING)


def retrying(
    retries: int, *, first_s: float = 1.0, sleep: Callable[[float], None] = time.sleep
) -> Retrying:
    """Return what calls a function again after failures that may pass.

    Parameters
    ----------
    retries
        Number of further tries; the failure of the last is raised.
    first_s
        Wait before the first of them, in seconds. It doubles each time, up to a minute, and is
        drawn a half more or less.
    """
    # It loads Tornado where that is installed, and most runs try nothing twice: start-up time.
    from tenacity import Retrying, retry_if_exception, stop_after_attempt

    def wait_s(state: RetryCallState) -> float:
        exact_s = min(first_s * 2.0 ** (state.attempt_number - 1), _LONGEST_S)
        return exact_s * random.uniform(1.0 - _JITTER, 1.0 + _JITTER)

    return Retrying(
        stop=stop_after_attempt(retries + 1),
        wait=wait_s,
        retry=retry_if_exception(may_pass),
        sleep=sleep,
        reraise=True,
    )
