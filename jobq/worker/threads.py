"""Slots that are threads: each runs one handler at a time."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from jobq.worker.calling import call
from jobq.worker.executor import Post
from jobq.worker.run import Ending, Run

RETRY = 5.0
"""Seconds after which another thread is tried to begin, if the system had no room for it."""
CLOSING = 5.0
"""Seconds that idle threads have to end, and the child processes that they may have."""
TRIES = 2
"""How often a slot gets ready for a run at the most."""


class Slot(Protocol):
    """What a thread does with a run."""

    def prepare(self) -> bool:
        """Get ready for a run; called before each, and after each for the next one. False if that cannot be done."""
        ...

    def run(self, run: Run) -> Ending | None:
        """Run the handler to its end; None if it could not be called after all. Raises nothing."""
        ...

    def excuse(self, run: Run) -> Ending:
        """How a run ends that cannot be begun."""
        ...

    def stop(self, run: Run) -> bool:
        """Stop this run if it is still this slot's, from another thread; False if that cannot be done."""
        ...

    def shut(self) -> None:
        """There will be no more runs, from another thread; do not get ready for any."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class PlainSlot:
    """Calls the handler in the thread itself, where nothing can stop it."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def prepare(self) -> bool:
        """See Slot."""
        return True

    def run(self, run: Run) -> Ending:
        """See Slot. Each job has a context of its own, so that what one sets the next does not see."""
        answer = self._context.copy().run(call, run.handler.function, run.job)
        return Ending(run, answer.outcome, was_returned=answer.was_returned)

    def excuse(self, run: Run) -> Ending:
        """See Slot."""
        return Ending(run, None)

    def stop(self, run: Run) -> bool:
        """See Slot."""
        return False

    def shut(self) -> None:
        """See Slot."""

    def close(self) -> None:
        """See Slot."""


class Threads:
    """Up to n daemon threads, begun as they are needed; or all at once, if their slots take time to get ready.

    post: told how each run begins and ends, and of slots that could not be made ready.
    is_eager: begin all at once.
    """

    def __init__(self, n: int, make_slot: Callable[[], Slot], post: Post, *, is_eager: bool = False) -> None:
        self._n = n
        self._make_slot = make_slot
        self._post = post
        self._is_eager = is_eager
        self._backlog: SimpleQueue[Run | None] = SimpleQueue()
        self._runs: dict[Run, Slot | None] = {}
        self._begun = 0
        self._next_try = 0.0
        self._threads: list[threading.Thread] = []
        self._slots: list[Slot] = []
        self._is_closed = False

    def begin(self) -> None:
        """See Executor."""
        for _ in range(self._n if self._is_eager else 1):
            self._try_to_begin()

    def submit(self, run: Run) -> None:
        """See Executor."""
        self._runs[run] = None
        self._backlog.put(run)
        self._fill()

    def withdraw(self) -> list[Run]:
        """See Executor."""
        runs: list[Run] = []
        with suppress(Empty):
            while (run := self._backlog.get_nowait()) is not None:
                self._runs.pop(run, None)
                runs.append(run)
        return runs

    def cancel(self, run: Run) -> bool:
        """See Executor: the handler has to ask `job.canceled()`."""
        return False

    def stop(self, run: Run) -> bool:
        """See Executor."""
        slot = self._runs.get(run)
        return slot is not None and slot.stop(run)

    def give_up(self, run: Run) -> None:
        """See Executor."""
        self._runs.pop(run, None)
        self._threads = [thread for thread in self._threads if thread.ident != run.thread]
        self._fill()

    def close(self) -> None:
        """See Executor."""
        self._is_closed = True
        for slot in list(self._slots):
            slot.shut()
        for _ in self._threads:
            self._backlog.put(None)
        end = time.monotonic() + CLOSING
        for thread in self._threads:
            thread.join(max(0, end - time.monotonic()))

    def _fill(self) -> None:
        if len(self._threads) < min(self._n, len(self._runs)) and time.monotonic() >= self._next_try:
            self._try_to_begin()

    def _try_to_begin(self) -> None:
        try:
            self._begin()
        except RuntimeError as problem:  # there is no room for another thread; those that there are go on
            if not self._threads:
                raise
            self._next_try = time.monotonic() + RETRY
            self._post.troubled(problem)

    def _begin(self) -> None:
        self._begun += 1
        # A daemon, or a handler that does not end would keep the whole program from ending.
        thread = threading.Thread(target=self._serve, name=f"jobq-{self._begun}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _serve(self) -> None:
        slot = self._make_slot()
        self._slots.append(slot)
        if self._is_closed:
            slot.shut()
        try:
            slot.prepare()
            while (run := self._backlog.get()) is not None:
                if not self._serve_one(slot, run):
                    return
                if run.begun is not None:  # else it cannot get ready just now
                    slot.prepare()
                del run  # while it waits, the last job need not be kept
        except Exception as problem:
            self._post.failed(problem)
        finally:
            slot.close()
            self._slots.remove(slot)

    def _serve_one(self, slot: Slot, run: Run) -> bool:
        self._runs[run] = slot
        run.thread = threading.get_ident()
        ending = self._run(slot, run)
        self._runs.pop(run, None)
        is_ours = run.claim()
        self._post.ended(ending if is_ours else ending._replace(is_late=True))
        return is_ours

    def _run(self, slot: Slot, run: Run) -> Ending:
        for _ in range(TRIES):
            if not slot.prepare():
                break
            if not self._post.begins(run):
                return Ending(run, None)
            if (ending := slot.run(run)) is not None:
                return ending
            run.begun = None  # its time does not pass while the slot gets ready once more
        return slot.excuse(run)
