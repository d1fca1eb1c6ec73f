"""Dynamic batching: requests of different clients are queued and processed in batches by threads.

A batch holds the item that has waited longest and the queued items closest to it in size, all with
the same options. Items queue while a batch is processed, so batches grow with the load and no item
waits for others to arrive.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Generic, NamedTuple, TypeVar

Options = TypeVar("Options", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


class StoppedError(Exception):
    """The server is stopping and did not start this work."""


class BatchReport(NamedTuple):
    """Statistics of a finished batch."""

    items: int
    seconds: float
    """Processing time."""


@dataclass(eq=False)
class _QueuedItem(Generic[Options, Item, Result]):
    options: Options
    size: int
    item: Item
    future: "Future[Result]" = field(default_factory=Future)


class Batcher(Generic[Options, Item, Result]):
    """Processes submitted items in batches, in worker threads.

    Args:
        work: function of the options and items of a batch that returns one result per item, in
            order.
        budget: maximum batch size, measured as largest item size times number of items. An item
            larger than the budget is processed alone.
        workers: number of threads.
        report: called after every batch.
    """

    def __init__(
        self,
        work: Callable[[Options, Sequence[Item]], Sequence[Result]],
        budget: int,
        *,
        workers: int = 1,
        report: Callable[[BatchReport], None] = lambda report: None,
    ) -> None:
        self.work = work
        self.budget = budget
        self.report = report
        self._condition = Condition()
        self._queue: list[_QueuedItem[Options, Item, Result]] = []
        self._closed = False
        self._unit_seconds = 0.0  # moving average of seconds per unit of size
        self._threads = [Thread(target=self._run, name="batcher") for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, options: Options, size: int, item: Item) -> "Future[Result]":
        """Queue an item; canceling the future removes it while it is queued.

        Raises:
            StoppedError: the batcher is closed.
        """
        queued: _QueuedItem[Options, Item, Result] = _QueuedItem(options, size, item)
        with self._condition:
            if self._closed:
                raise StoppedError
            self._queue.append(queued)
            self._condition.notify()
        return queued.future

    def count(self) -> int:
        """Number of queued items."""
        return len(self._queue)

    def delay(self) -> float:
        """Estimated seconds until the queued items are finished, from recent batch times."""
        with self._condition:
            return self._unit_seconds * sum(queued.size for queued in self._queue)

    def abandon(self) -> None:
        """Fail queued items with `StoppedError` and accept no more; running batches finish."""
        with self._condition:
            abandoned, self._queue = self._queue, []
            self._closed = True
            self._condition.notify_all()
        for queued in abandoned:
            if queued.future.set_running_or_notify_cancel():
                queued.future.set_exception(StoppedError())

    def close(self) -> None:
        """Accept no more items, finish the queued ones and join the threads."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            started = time.perf_counter()
            self._process(batch)
            seconds = time.perf_counter() - started
            unit_seconds = seconds / sum(queued.size for queued in batch)
            with self._condition:
                self._unit_seconds = (
                    0.8 * self._unit_seconds + 0.2 * unit_seconds
                    if self._unit_seconds
                    else unit_seconds
                )
            self.report(BatchReport(len(batch), seconds))

    def _next_batch(self) -> list[_QueuedItem[Options, Item, Result]]:
        """Wait for the next batch; empty when the batcher is closed and its queue is empty."""
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return []
                oldest = self._queue[0]
                batch = self._select(oldest)
                taken = set(map(id, batch))
                self._queue = [w for w in self._queue if id(w) not in taken]
            batch = [w for w in batch if w.future.set_running_or_notify_cancel()]
            if batch:
                return batch

    def _select(
        self, oldest: _QueuedItem[Options, Item, Result]
    ) -> list[_QueuedItem[Options, Item, Result]]:
        """Select the oldest item and those closest to it in size, within the budget."""
        candidates = [w for w in self._queue if w.options == oldest.options]
        candidates.sort(key=lambda w: abs(w.size - oldest.size))  # stable: the oldest stays first
        largest = 0
        for count, queued in enumerate(candidates):
            largest = max(largest, queued.size)
            if count and largest * (count + 1) > self.budget:
                return candidates[:count]
        return candidates

    def _process(self, batch: list[_QueuedItem[Options, Item, Result]]) -> None:
        """Process a batch; if it fails, each item alone, so that one cannot fail the others."""
        try:
            results = self.work(batch[0].options, [queued.item for queued in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for queued in batch:
                self._process([queued])
            return
        for queued, result in zip(batch, results, strict=True):
            queued.future.set_result(result)
