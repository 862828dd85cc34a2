"""How `jobq watch` finds the newest failures, reading little a look."""

from __future__ import annotations

from typing import Any

import pytest

from jobq import Job, JobInfo, JobService
from jobq.cli.watching.failures import KEPT, Failures
from jobq.cli.watching.sampling import look
from jobq.errors import StorageError
from jobq.repos import MemoryStorage
from tests.clocks import ManualClock

PAGE = 10


class Queue(JobService):
    """A queue that knows how many jobs were read of it by pages."""

    read = 0
    fails = False

    def find(self, *arguments: Any, **keywords: Any) -> list[JobInfo]:
        return self._count(super().find(*arguments, **keywords))

    def dead_letters(self, *arguments: Any, **keywords: Any) -> list[JobInfo]:
        if self.fails:
            raise StorageError("no disk")
        return self._count(super().dead_letters(*arguments, **keywords))

    def _count(self, page: list[JobInfo]) -> list[JobInfo]:
        self.read += len(page)
        return page


@pytest.fixture
def queue(clock: ManualClock) -> Queue:
    return Queue(MemoryStorage(clock=clock))


@pytest.fixture
def failures(queue: Queue) -> Failures:
    return Failures(queue, jobs=2 * PAGE, page=PAGE)


def held(queue: Queue, number: int, topic: str = "mail", **options: Any) -> list[Job]:
    """So many jobs, reserved."""
    for _ in range(number):
        queue.enqueue(topic, **options)
    return queue.reserve(topic, n=number)


def found(queue: Queue, failures: Failures) -> list[int]:
    """The ids after one more look, the newest first."""
    failures.look(look(queue, (), 0))
    return [one.job.id for one in failures.newest]


def read_all(queue: Queue, failures: Failures) -> list[int]:
    """The same after as many looks as it takes until nothing is left to read."""
    queue.read = 1
    while queue.read:
        queue.read = 0
        ids = found(queue, failures)
    return ids


def test_the_newest_come_first_in_whatever_order_they_were_enqueued(
    queue: Queue, failures: Failures, clock: ManualClock
) -> None:
    jobs = held(queue, 5)
    for number in (3, 0, 4):
        jobs[number].reject(error="no")
        clock.advance(1)
    assert found(queue, failures) == [5, 1, 4]
    jobs[1].reject(error="no")
    assert found(queue, failures) == [2, 5, 1, 4]


def test_a_look_reads_a_bounded_number_of_jobs(queue: Queue, failures: Failures) -> None:
    queue.reject(held(queue, 100))
    left: list[int] = []
    while not left or left[-1]:
        queue.read = 0
        found(queue, failures)
        assert queue.read <= 2 * PAGE
        left.append(failures.unread)
    assert left == [80, 60, 40, 20, 0]
    assert [one.job.id for one in failures.newest] == list(range(100, 100 - KEPT, -1))


def test_nothing_is_read_while_nothing_fails(queue: Queue, failures: Failures) -> None:
    queue.reject(held(queue, 35))
    read_all(queue, failures)
    queue.done(held(queue, 5))
    found(queue, failures)
    assert queue.read == 0


def test_one_at_the_end_is_found_at_once(queue: Queue, failures: Failures) -> None:
    queue.reject(held(queue, 95))
    read_all(queue, failures)
    queue.reject(held(queue, 1))
    assert found(queue, failures)[0] == 96
    assert (queue.read, failures.unread) == (1, 0)


def test_one_in_between_is_found_by_reading_all_again(queue: Queue, failures: Failures, clock: ManualClock) -> None:
    early, *rest = held(queue, 96)
    queue.reject(rest)
    read_all(queue, failures)
    clock.advance(1)
    early.reject(error="late")
    found(queue, failures)
    assert failures.unread > 0
    assert read_all(queue, failures)[0] == early.id
    found(queue, failures)
    assert queue.read == 0


def test_those_of_the_end_are_found_while_all_are_read(queue: Queue, failures: Failures, clock: ManualClock) -> None:
    early, other, *rest = held(queue, 97)
    queue.reject(rest)
    read_all(queue, failures)
    clock.advance(1)
    early.reject()
    found(queue, failures)
    clock.advance(1)
    queue.reject([*held(queue, 1), other])
    assert found(queue, failures)[0] == 98
    assert failures.unread > 0
    assert read_all(queue, failures)[:3] == [98, other.id, early.id]


def test_what_is_kept_for_a_time_only(queue: Queue, failures: Failures, clock: ManualClock) -> None:
    early, *rest = held(queue, 36, keep_dead=3600)
    queue.reject(rest)
    read_all(queue, failures)
    clock.advance(1)
    early.reject()
    assert found(queue, failures)[0] == early.id
    assert (queue.read, failures.unread) == (1, 0)


def test_those_that_are_not_kept_are_not_sought_for_ever(queue: Queue, failures: Failures) -> None:
    for _ in range(2):
        queue.enqueue("mail", delay=60)
        queue.reject(held(queue, 3, keep_dead=0))
        assert read_all(queue, failures) == []
    queue.reject(held(queue, 3))
    assert read_all(queue, failures) == [11, 10, 9]
    queue.reject(held(queue, 1, keep_dead=0))
    read_all(queue, failures)
    found(queue, failures)
    assert queue.read == 0


def test_jobs_that_wait_for_another_try(queue: Queue, failures: Failures, clock: ManualClock) -> None:
    later, soon, fresh = held(queue, 3)
    later.retry(delay=60, error="one")
    clock.advance(1)
    soon.retry(delay=0, error="two")
    fresh.release(delay=5)
    assert found(queue, failures) == [2, 1]
    assert [one.job.last_error for one in failures.newest] == ["two", "one"]
    [again] = queue.reserve("mail")
    assert found(queue, failures) == [2, 1]
    again.done()
    assert found(queue, failures) == [1]
    clock.advance(60)
    [again] = queue.reserve("mail", n=9)[-1:]
    again.reject(error="three")
    assert found(queue, failures) == [again.id]
    assert failures.newest[0].at == queue.get(again.id).finished_at


def test_those_that_are_replayed_or_deleted_are_shown_no_more(queue: Queue, failures: Failures) -> None:
    queue.reject(held(queue, 3), error="no")
    assert found(queue, failures) == [3, 2, 1]
    queue.reset(1)
    queue.delete(2)
    assert found(queue, failures) == [3]


def test_a_topic_that_is_gone_and_comes_again(queue: Queue, failures: Failures, clock: ManualClock) -> None:
    queue.reject(held(queue, 3))
    assert found(queue, failures) == [3, 2, 1]
    queue.delete([1, 2, 3])
    assert found(queue, failures) == []
    queue.reject(held(queue, 1))
    assert found(queue, failures) == [4]
    queue.delete(4)
    clock.advance(1)
    queue.reject(held(queue, 1))  # between two looks
    assert found(queue, failures) == [5]


def test_many_topics_take_turns(queue: Queue, failures: Failures) -> None:
    for number in range(12):
        queue.reject(held(queue, 15, f"topic-{number:02}"), error="no")
    read_all(queue, failures)
    for number in range(12):
        queue.reject(held(queue, 1, f"topic-{number:02}"), error="no")
    assert set(found(queue, failures)[:12]) == set(range(181, 193))


def test_it_goes_on_after_a_failure_of_the_storage(queue: Queue, failures: Failures) -> None:
    queue.reject(held(queue, 35))
    found(queue, failures)
    queue.fails = True
    with pytest.raises(StorageError):
        found(queue, failures)
    queue.fails = False
    assert len(read_all(queue, failures)) == 35
