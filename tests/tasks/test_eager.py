"""Eager tasks: run as they are enqueued, in users' tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from jobq import ConfigError, Done, DuplicateJob, Job, Reject, Release, Retry, Tasks, Worker
from jobq.tasks import Task
from jobq.testing import QueueForTests, at_once, drain, eager
from tests.tasks import shop

Enqueue = Callable[..., int]


def by_call(task: Any, *args: Any, **kwargs: Any) -> int:
    id: int = task.enqueue(*args, **kwargs)
    return id


def by_await(task: Any, *args: Any, **kwargs: Any) -> int:
    id: int = asyncio.run(task.enqueue_async(*args, **kwargs))
    return id


def within_a_loop(task: Any, *args: Any, **kwargs: Any) -> int:
    async def program() -> int:
        return by_call(task, *args, **kwargs)

    return asyncio.run(program())


@pytest.fixture(params=[by_call, by_await, within_a_loop])
def enqueue(request: pytest.FixtureRequest) -> Enqueue:
    chosen: Enqueue = request.param
    return chosen


def test_a_task_runs_as_it_is_enqueued_and_so_does_what_follows_on_it(enqueue: Enqueue) -> None:
    with eager(shop.tasks, shop.prices) as queue:
        id = enqueue(shop.pack, 7)
        assert queue.get(id).result == {"boxes": 7}
        assert [queue.get(n).result for n in (id + 1, id + 2)] == ["7 to away", {"7": 70}]
        lines = [enqueue(shop.noted, "half way"), enqueue(shop.noted_at_once, "half way")]
        assert [[line.message for line in queue.logs(n)] for n in lines] == [["half way"]] * 2
        assert enqueue(shop.whereabouts.options(delay=3600), "a", n=1) == lines[1] + 1
        assert queue.get(lines[1] + 1).result["notes"] == ["a"]
        assert queue.verify() == []
    with pytest.raises(ConfigError, match="not bound"):
        shop.pack.enqueue(1)


def make(function: Callable[..., Any], is_async: bool) -> tuple[Tasks, Task[..., Any]]:
    tasks = Tasks()

    async def later(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    return tasks, tasks.task(name="it", min_backoff=60)(later if is_async else function)


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_task_raises_goes_to_the_caller_once_its_job_is_settled(enqueue: Enqueue, is_async: bool) -> None:
    def fail(error: str) -> None:
        raise ConnectionError(error)

    tasks, task = make(fail, is_async)
    with eager(tasks) as queue:
        with pytest.raises(ConnectionError, match="no route"):
            enqueue(task, "no route")
        assert (queue.status(1), queue.get(1).retry_count) == ("delayed", 1)
        assert (queue.get(1).last_error or "").startswith("ConnectionError: no route")
        with pytest.raises(ConnectionError, match="again"):
            enqueue(task, "again")
        assert queue.get(1).attempt == 1


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Reject("no"), "canceled"), (Retry(9), "delayed"), (Retry(0), "ready"), (Release(), "ready")],
)
def test_an_outcome_is_applied_and_not_raised(enqueue: Enqueue, is_async: bool, outcome: Any, status: str) -> None:
    def end() -> None:
        raise outcome

    tasks, task = make(end, is_async)
    with eager(tasks) as queue:
        assert queue.status(enqueue(task)) == status
        assert queue.get(1).attempt == 1


def test_a_worker_runs_what_is_tried_again(enqueue: Enqueue) -> None:
    outcomes: list[Exception] = [Retry(60)]

    def end() -> str:
        if outcomes:
            raise outcomes.pop()
        return "at last"

    tasks, task = make(end, is_async=False)
    with eager(tasks) as queue:
        id = enqueue(task)
        queue.clock.advance(60)
        assert drain(Worker(queue, "", tasks=tasks)) == 1  # which leaves the tasks bound as they are
        assert queue.get(id).result == "at last"
        assert queue.status(enqueue(task)) == "done"


def test_other_jobs_of_the_topic_stay_where_they_are(enqueue: Enqueue) -> None:
    tasks, task = make(lambda: "ran", is_async=False)
    with eager(tasks) as queue:
        others = [queue.enqueue("", name=name, priority=-9) for name in ("it", "other")]
        assert queue.get(enqueue(task)).result == "ran"
        assert [queue.status(id) for id in others] == ["ready", "ready"]
        queue.pause("")
        assert queue.status(enqueue(task)) == "ready"


def test_unique_keys_count(enqueue: Enqueue) -> None:
    runs: list[int] = []
    outcomes: list[Exception] = [Retry(60), Retry(60)]

    def sync(n: int) -> None:
        runs.append(n)
        if outcomes:
            raise outcomes.pop()

    tasks, task = make(sync, is_async=False)
    with eager(tasks) as queue:
        id = enqueue(task.options(unique_key="k"), 1)
        assert enqueue(task.options(unique_key="k", on_duplicate="keep"), 2) == id
        with pytest.raises(DuplicateJob):
            enqueue(task.options(unique_key="k"), 3)
        assert enqueue(task.options(unique_key="k", on_duplicate="replace"), 4) == id
        assert enqueue(task.options(unique_key="other", on_duplicate="keep"), 5) == id + 1
        assert runs == [1, 4, 5]
        assert [queue.status(n) for n in (id, id + 1)] == ["delayed", "done"]


def test_a_result_that_is_no_json_is_dropped_and_a_job_settled_by_its_task_is_left_alone(
    enqueue: Enqueue, caplog: pytest.LogCaptureFixture
) -> None:
    tasks, task = make(lambda: {1, 2}, is_async=False)

    @tasks.task
    def own(job: Job) -> None:
        job.done("by hand", then=task.new_job())
        raise RuntimeError("afterwards")

    with eager(tasks) as queue:
        assert (queue.status(enqueue(task)), queue.get(1).result) == ("done", None)
        assert "what its task returned is dropped: result must be a JSON value" in caplog.text
        with pytest.raises(RuntimeError, match="afterwards"):
            enqueue(own)
        assert (queue.status(2), queue.get(2).result) == ("done", "by hand")


def test_arguments_that_do_not_come_back_are_an_error_in_a_test(enqueue: Enqueue) -> None:
    class OneWay:
        def dumps(self, args: Any, kwargs: Any) -> bytes:
            return b"x"

        def loads(self, data: bytes) -> Any:
            raise EOFError("nothing there")

    tasks = Tasks(codec=OneWay())
    task = tasks.task(name="it")(lambda: None)
    with eager(tasks) as queue, pytest.raises(Reject, match="arguments of it cannot be read: EOFError: nothing there"):
        enqueue(task)
    assert queue.limits


def test_a_task_that_enqueues_another_and_interruption(enqueue: Enqueue) -> None:
    order: list[str] = []
    threads: set[int] = set()
    tasks = Tasks()

    @tasks.task
    def outer() -> None:
        order.append("outer begins")
        inner.enqueue()
        order.append("outer ends")
        raise KeyboardInterrupt

    @tasks.task
    def inner() -> None:
        threads.add(threading.get_ident())
        order.append("inner")

    with eager(tasks) as queue:
        with pytest.raises(KeyboardInterrupt):
            enqueue(outer)
        assert order == ["outer begins", "inner", "outer ends"]
        assert [queue.status(id) for id in (1, 2)] == ["ready", "done"]
        assert threads == {threading.get_ident()}


def test_bindings_are_as_before_afterwards_and_blocks_may_be_nested() -> None:
    tasks, task = make(lambda: None, is_async=False)
    own = QueueForTests()
    tasks.bind(own)
    with eager(tasks) as outside:
        with eager(tasks) as inside:
            task.enqueue()
        task.enqueue()
        task.enqueue()
        assert outside.stats("").done == 2
    assert inside is not outside
    task.enqueue()
    assert own.stats("").enqueued == 1


@pytest.mark.parametrize(
    ("given", "message"), [((), "eager takes the jobq.Tasks whose"), ((3,), "eager takes jobq.Tasks, not int")]
)
def test_eager_takes_tasks(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message), eager(*given):
        pytest.fail("it does not begin")


def test_a_task_that_follows_on_itself_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "MOST", 20)
    tasks = Tasks()

    @tasks.task
    def again(n: int) -> None:
        raise Done(then=again.new_job(n + 1) if n < limit else ())

    with eager(tasks) as queue:
        limit = 20
        again.enqueue(1)
        assert queue.stats("").done == 20
        limit = 1_000
        with pytest.raises(AssertionError, match="20 jobs follow on job 21, and there are more"):
            again.enqueue(1)
