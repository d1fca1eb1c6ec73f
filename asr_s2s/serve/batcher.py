"""Work of different clients done together: items wait, and threads take them in batches.

The one that has waited longest is always taken, and with it those most like it in size, of the same
options. While a batch is worked on the next one gathers, so that batches grow with the load and
nobody waits for company.
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
    """The server stops, and this was not begun."""


class BatchReport(NamedTuple):
    """What is told of a batch when it is done."""

    items: int
    seconds: float
    """That the work took."""


@dataclass(eq=False)
class _Waiting(Generic[Options, Item, Result]):
    options: Options
    size: int
    item: Item
    future: "Future[Result]" = field(default_factory=Future)


class Batcher(Generic[Options, Item, Result]):
    """Threads that work on what is submitted.

    Args:
        work: from options and the items of a batch to a result for each, in order.
        budget: most that a batch may hold: its largest size times its items. A larger item goes
            alone.
        workers: threads.
        report: told of every batch.
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
        self._changed = Condition()
        self._waiting: list[_Waiting[Options, Item, Result]] = []
        self._closed = False
        self._pace = 0.0  # seconds that a unit of size took lately
        self._threads = [Thread(target=self._run, name="batcher") for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, options: Options, size: int, item: Item) -> "Future[Result]":
        """Have an item worked on; canceling the future takes it back while it waits.

        Raises:
            StoppedError: after `close`.
        """
        waiting: _Waiting[Options, Item, Result] = _Waiting(options, size, item)
        with self._changed:
            if self._closed:
                raise StoppedError
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.future

    def count(self) -> int:
        """Items that wait."""
        return len(self._waiting)

    def delay(self) -> float:
        """Seconds until what waits now is done, by the pace of late."""
        with self._changed:
            return self._pace * sum(waiting.size for waiting in self._waiting)

    def abandon(self) -> None:
        """Fail what waits with `StoppedError`, and take no more; batches begun are finished."""
        with self._changed:
            abandoned, self._waiting = self._waiting, []
            self._closed = True
            self._changed.notify_all()
        for waiting in abandoned:
            if waiting.future.set_running_or_notify_cancel():
                waiting.future.set_exception(StoppedError())

    def close(self) -> None:
        """Take no more, finish what waits, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while batch := self._take():
            started = time.perf_counter()
            self._settle(batch)
            seconds = time.perf_counter() - started
            pace = seconds / sum(waiting.size for waiting in batch)
            with self._changed:
                self._pace = 0.8 * self._pace + 0.2 * pace if self._pace else pace
            self.report(BatchReport(len(batch), seconds))

    def _take(self) -> list[_Waiting[Options, Item, Result]]:
        """The next batch, waited for; empty when there will be none."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return []
                oldest = self._waiting[0]
                batch = self._like(oldest)
                taken = set(map(id, batch))
                self._waiting = [w for w in self._waiting if id(w) not in taken]
            batch = [w for w in batch if w.future.set_running_or_notify_cancel()]
            if batch:
                return batch

    def _like(
        self, oldest: _Waiting[Options, Item, Result]
    ) -> list[_Waiting[Options, Item, Result]]:
        """The oldest and as many of those most like it as the budget has room for."""
        alike = [w for w in self._waiting if w.options == oldest.options]
        alike.sort(key=lambda w: abs(w.size - oldest.size))  # stable: the oldest stays first
        largest = 0
        for count, waiting in enumerate(alike):
            largest = max(largest, waiting.size)
            if count and largest * (count + 1) > self.budget:
                return alike[:count]
        return alike

    def _settle(self, batch: list[_Waiting[Options, Item, Result]]) -> None:
        """Work on a batch; if that fails, on each alone, so that nobody fails with another."""
        try:
            results = self.work(batch[0].options, [waiting.item for waiting in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for waiting in batch:
                self._settle([waiting])
            return
        for waiting, result in zip(batch, results, strict=True):
            waiting.future.set_result(result)
