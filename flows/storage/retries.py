"""What is worth another try, and how long to wait for it."""

from __future__ import annotations

import random
from collections.abc import Iterator

from flows.storage.object_store import RemoteError

__all__ = ["back_off_s", "may_pass"]

# These do not mend themselves.
_LASTING = (
    FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError,
)  # fmt: skip

_FIRST_S, _LONGEST_S = 1.0, 60.0
# Several that failed together must not come back together.
_JITTER = 0.5


def may_pass(error: object) -> bool:
    """Tell whether a failure may mend itself: a busy disk, a network share that was away."""
    if isinstance(error, RemoteError):
        return error.may_pass
    return isinstance(error, OSError) and not isinstance(error, _LASTING)


def back_off_s(retries: int, rng: random.Random | None = None) -> Iterator[float]:
    """Yield how long to wait before each further try: 1, 2, 4, ... s, a half more or less.

    Parameters
    ----------
    retries
        Number of further tries.
    rng
        Draws the jitter.
    """
    rng = rng or random.Random()
    for number in range(retries):
        yield min(_FIRST_S * 2.0**number, _LONGEST_S) * rng.uniform(1.0 - _JITTER, 1.0 + _JITTER)
