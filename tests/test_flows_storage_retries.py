import random

import pytest

from flows.storage.object_store import RemoteError
from flows.storage.retries import back_off_s, may_pass
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
    draws = [list(back_off_s(9, random.Random(seed))) for seed in range(50)]
    for pauses in draws:
        assert len(pauses) == 9
        for number, pause in enumerate(pauses):
            middle = min(2.0**number, 60.0)
            assert 0.5 * middle <= pause <= 1.5 * middle
    assert len({pauses[0] for pauses in draws}) == 50
    assert list(back_off_s(0)) == []
