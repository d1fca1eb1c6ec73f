"""Batching: which items are processed together, and how failures are isolated."""

from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from threading import Event

import pytest

from asr_s2s.serve.batcher import Batcher, StoppedError


class Doubler:
    """Work function that doubles items; blocks until `go` is set and fails on 13."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.started, self.go = Event(), Event()

    def __call__(self, options: str, items: Sequence[int]) -> list[int]:
        self.started.set()
        assert self.go.wait(30)
        self.batches.append((options, list(items)))
        if 13 in items:
            raise ValueError("13 has no double")
        return [2 * item for item in items]


@contextmanager
def blocked(work: Doubler, budget: int) -> Iterator[Batcher[str, int, int]]:
    """A batcher whose only thread is blocked within the context, so that items queue up."""
    batcher = Batcher(work, budget)
    first = batcher.submit("first", 1, 0)
    assert work.started.wait(30)
    yield batcher
    work.go.set()
    batcher.close()
    assert first.result() == 0


def test_queued_items_are_processed_together_in_order() -> None:
    work = Doubler()
    with blocked(work, 100) as batcher:
        futures = [batcher.submit("a", 1, item) for item in range(5)]
    assert [future.result() for future in futures] == [0, 2, 4, 6, 8]
    assert work.batches[1:] == [("a", [0, 1, 2, 3, 4])]


def test_items_with_different_options_are_processed_separately() -> None:
    work = Doubler()
    with blocked(work, 100) as batcher:
        for item in range(4):
            batcher.submit("ab"[item % 2], 1, item)
    assert work.batches[1:] == [("a", [0, 2]), ("b", [1, 3])]


def test_a_batch_holds_the_oldest_item_and_the_closest_in_size_within_the_budget() -> None:
    work = Doubler()
    with blocked(work, 30) as batcher:
        for size in (10, 2, 9, 3, 11):
            batcher.submit("a", size, size)
    # 10 and 9 take 2 x 10; with 11 they would take 3 x 11.
    assert work.batches[1:] == [("a", [10, 9]), ("a", [2, 3]), ("a", [11])]


def test_an_item_larger_than_the_budget_is_processed_alone() -> None:
    work = Doubler()
    with blocked(work, 10) as batcher:
        for size in (50, 4):
            batcher.submit("a", size, size)
    assert work.batches[1:] == [("a", [50]), ("a", [4])]


def test_a_failing_item_does_not_fail_others_of_its_batch() -> None:
    work = Doubler()
    with blocked(work, 100) as batcher:
        futures = [batcher.submit("a", 1, item) for item in (1, 13, 3)]
    assert (futures[0].result(), futures[2].result()) == (2, 6)
    with pytest.raises(ValueError, match="13 has no double"):
        futures[1].result()


def test_a_canceled_queued_item_is_not_processed() -> None:
    work = Doubler()
    with blocked(work, 100) as batcher:
        futures = [batcher.submit("a", 1, item) for item in range(3)]
        assert futures[1].cancel()
    assert work.batches[1:] == [("a", [0, 2])]
    with pytest.raises(CancelledError):
        futures[1].result()


def test_close_finishes_queued_items_and_accepts_no_more() -> None:
    work = Doubler()
    with blocked(work, 100) as batcher:
        last: Future[int] = batcher.submit("a", 1, 5)
    assert last.result() == 10
    with pytest.raises(StoppedError):
        batcher.submit("a", 1, 6)


def test_abandon_fails_queued_items_and_finishes_running_ones() -> None:
    work = Doubler()
    with blocked(work, 100) as batcher:
        waiting = batcher.submit("a", 1, 5)
        batcher.abandon()
        with pytest.raises(StoppedError):
            waiting.result()
