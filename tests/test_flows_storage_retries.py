import itertools

import pytest

from flows.storage.retries import RemoteError, may_pass, retrying
from pipeline.errors import InputError, Problem


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(5, "I/O error"), True),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (BlockingIOError(), True),
        (FileNotFoundError(), False),
        (PermissionError(), False),
        (IsADirectoryError(), False),
        (NotADirectoryError(), False),
        (InputError([Problem("kick.wav", "is empty", "record it again")]), False),
        (MemoryError(), False),
        (FileExistsError(), False),
        (RemoteError("s3://a/b", "permission denied", "ask for access"), False),
        (RemoteError("s3://a/b", "cannot be reached", "run again", may_pass=True), True),
        (None, False),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, bool) else str(value),
)
def test_what_may_pass(error: object, passes: bool) -> None:
    assert may_pass(error) is passes


def test_pauses_double_are_jittered_and_end() -> None:
    draws = [_pauses_of_failures(9) for _ in range(20)]
    for pauses in draws:
        assert len(pauses) == 9
        for number, pause in enumerate(pauses):
            middle = min(2.0**number, 60.0)
            assert 0.5 * middle <= pause <= 1.5 * middle
    assert len({pauses[0] for pauses in draws}) == 20
    assert _pauses_of_failures(0) == []


def _pauses_of_failures(retries: int) -> list[float]:
    """Return the pauses between tries that all fail."""
    pauses: list[float] = []
    tries = itertools.count(1)

    def work() -> None:
        raise TimeoutError(f"try {next(tries)} failed")

    with pytest.raises(TimeoutError, match=f"try {retries + 1} failed"):
        retrying(retries, sleep=pauses.append)(work)
    return pauses


def test_what_lasts_is_raised_at_once_and_what_passes_is_returned() -> None:
    pauses: list[float] = []

    def refused() -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        retrying(9, sleep=pauses.append)(refused)
    assert pauses == []
    failures = [TimeoutError(), ConnectionResetError()]

    def busy() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert retrying(2, first_s=0.1, sleep=pauses.append)(busy) == "done"
    assert len(pauses) == 2
    assert pauses[0] <= 0.15
