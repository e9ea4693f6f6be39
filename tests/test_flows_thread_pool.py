from __future__ import annotations

import threading

import pytest

from flows.interrupts import Stopped
from flows.thread_pool import map_in_threads


def test_results_are_in_the_order_of_items_whichever_ends_first() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(30)
        return item * item

    done: list[int] = []

    def on_done(index: int) -> None:
        done.append(index)
        if index == 1:
            second_is_done.set()

    assert map_in_threads(work, range(5), workers=2, on_done=on_done) == [0, 1, 4, 9, 16]
    assert sorted(done) == list(range(5))
    assert done.index(1) < done.index(0)
    assert map_in_threads(work, [], workers=2) == []


def test_after_a_failure_no_item_is_begun() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            raise ValueError("item 1")

    with pytest.raises(ValueError, match="item 1"):
        map_in_threads(work, range(5), workers=1)
    assert begun == [0, 1]


def test_the_first_failed_item_is_the_one_that_is_raised() -> None:
    both_failed = threading.Barrier(2)

    def work(item: int) -> None:
        both_failed.wait(30)
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        map_in_threads(work, [0, 1], workers=2)


@pytest.mark.parametrize("stops", [True, False])
def test_an_interrupt_drops_what_is_not_begun_and_stops_what_is_at_work(stops: bool) -> None:
    at_work, release, has_ended = threading.Event(), threading.Event(), threading.Event()
    begun: list[int] = []
    ended: list[type[BaseException] | None] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            assert at_work.wait(30)
            return
        at_work.set()
        why = None
        try:
            while not release.wait(0.01):
                pass
        except BaseException as error:
            why = type(error)
            raise
        finally:
            ended.append(why)
            has_ended.set()

    def interrupt(_index: int) -> None:
        raise KeyboardInterrupt

    items = [0, *[1] * 1000]
    try:
        with pytest.raises(KeyboardInterrupt):
            map_in_threads(work, items, workers=2, on_done=interrupt, stops=stops)
        assert has_ended.is_set() == stops
    finally:
        release.set()
    assert has_ended.wait(30)
    assert set(ended) == ({Stopped} if stops else {None})
    assert len(begun) <= 3, "one ended, and two threads at work"
