"""PyTorch kept to one thread, and given back as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from stage1.pitch.torch_threads import one_thread


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_inside_there_is_one_and_outside_what_was() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_it_is_given_back_after_an_error() -> None:
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == 3


def test_another_that_leaves_first_takes_nothing_away() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> int:
        with one_thread():
            inside.set()
            leave.wait(30)
            return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        with one_thread():
            running = pool.submit(other)
            assert inside.wait(30)
        # Left while the other is inside: this thread has its own again, the other keeps one.
        assert torch.get_num_threads() == 3
        leave.set()
        assert running.result() == 1
        assert torch.get_num_threads() == 3
