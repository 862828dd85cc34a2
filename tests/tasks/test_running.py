"""Tasks run by a Worker: in threads, on an event loop, in child processes and in a test."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import ANY

import pytest

import jobq
from jobq import ConfigError, Job, JobService, NewJob, Observer, ServiceClosed, Tasks, Worker
from jobq.testing import QueueForTests, drain
from tests.clocks import PATIENCE
from tests.tasks import shop

BOTH = ("shop", "prices")


@pytest.fixture(autouse=True)
def unbound() -> Iterator[None]:
    """The tasks of the shop are bound to nothing, before and after a test."""
    for tasks in (shop.tasks, shop.prices):
        tasks._binding.queue = None
    yield
    for tasks in (shop.tasks, shop.prices):
        tasks._binding.queue = None


class Recorder(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def completed(self, job: Job, result: Any) -> None:
        self.seen.append(("completed", job.name, result))

    def enqueued(self, job: Job, ids: list[int]) -> None:
        self.seen.append(("enqueued", job.name, ids))

    def dead(self, job: Job, error: Any, reason: Any) -> None:
        self.seen.append(("dead", job.name, str(error)))


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_program_enqueues_calls_and_a_worker_of_several_tasks_runs_them(executor: Any, svc: JobService) -> None:
    recorder = Recorder()
    worker = Worker(svc, BOTH, tasks=[shop.tasks, shop.prices], concurrency=2, executor=executor, observer=recorder)
    shop.tasks.bind(svc)
    shop.prices.bind(svc)
    seen = shop.whereabouts.enqueue("a", "b", n=1, m=2)
    packed = shop.pack.enqueue(7)
    refused = shop.pack.enqueue(order=-1)
    lines = [shop.noted.enqueue("half way"), shop.noted_at_once.enqueue(line="half way")]
    worker.run(burst=True)
    assert svc.get(seen).result == {
        "notes": ["a", "b"],
        "more": {"n": 1, "m": 2},
        "pid": ANY,
        "name": "tests.tasks.shop.whereabouts",
    }
    assert (svc.get(seen).result["pid"] == os.getpid()) == (executor == "thread")
    assert [line.message for line in svc.logs(seen)] == ["attempt 1"]
    assert svc.get(packed).result == {"boxes": 7}
    assert [svc.get(id).result for id in lines] == lines
    assert [[line.message for line in svc.logs(id)] for id in lines] == [["half way"]] * 2
    [dead] = svc.dead_letters()
    assert (dead.id, dead.last_error) == (refused, "no such order")
    [(_, _, followers)] = [moment for moment in recorder.seen if moment[0] == "enqueued"]
    assert [svc.get(id).result for id in followers] == ["7 to away", {"7": 70}]
    assert svc.get(followers[0]).priority == -3
    assert ("completed", "ship", "7 to away") in recorder.seen
    assert ("dead", "tests.tasks.shop.pack", "no such order") in recorder.seen


def test_a_result_is_waited_for_while_a_worker_runs_in_the_background() -> None:
    with jobq.open("memory://") as svc, Worker(svc, "prices", tasks=shop.prices):
        id = shop.prices_of.enqueue([1, 2])  # the worker has bound them
        assert svc.wait_for(id, PATIENCE).result == {"1": 10, "2": 20}


def test_a_drained_worker_runs_tasks_and_retries_them_as_their_options_say() -> None:
    queue = QueueForTests()
    tasks = Tasks("retries")
    failures = [ConnectionError("no route"), ConnectionError("no route")]

    @tasks.task(max_retries=5, min_backoff=60)
    def fetch(url: str) -> str:
        if failures:
            raise failures.pop()
        return url.upper()

    worker = Worker(queue, "retries", tasks=tasks)
    tasks.bind(queue)
    id = fetch.enqueue("a")
    assert drain(worker) == 1
    assert drain(worker) == 0
    queue.clock.advance(60)
    assert drain(worker) == 1
    queue.clock.advance(120)
    assert drain(worker) == 1
    assert (queue.get(id).result, queue.get(id).retry_count) == ("A", 2)


def test_tasks_registered_after_the_worker_was_made_count_and_so_do_its_own_handlers() -> None:
    svc = jobq.open("memory://")
    tasks = Tasks()
    worker = Worker(svc, "", tasks=tasks)
    with pytest.raises(ConfigError, match=r"no handlers: register a function .* or give it tasks="):
        worker.run(burst=True)
    ran: list[str] = []
    worker.handler("plain")(lambda job: ran.append(job.text))

    @tasks.task
    def late(word: str) -> None:
        ran.append(word)

    tasks.bind(svc)
    svc.enqueue("", name="plain", payload="a")
    late.enqueue("b")
    worker.run(burst=True)
    late.enqueue("c")
    worker.run(burst=True)  # a second time
    assert ran == ["a", "b", "c"]


def test_two_tasks_of_one_name_and_a_handler_of_a_tasks_name_are_refused_by_the_worker() -> None:
    svc = jobq.open("memory://")
    one, other = Tasks(), Tasks()
    for tasks in (one, other):
        tasks.task(name="same")(lambda: None)
    with pytest.raises(ConfigError, match="jobs named 'same' have a handler already"):
        Worker(svc, "", tasks=[one, other]).run(burst=True)
    worker = Worker(svc, "", tasks=one)
    worker.handler("same")(lambda job: None)
    with pytest.raises(ConfigError, match="jobs named 'same' have a handler already"), worker:
        pytest.fail("it does not start")


@pytest.mark.parametrize(("tasks", "kind"), [(1, "int"), ([print], "builtin_function_or_method"), ("shop", "str")])
def test_what_is_no_tasks_is_refused(tasks: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=f"tasks must be jobq.Tasks.*, not {kind}"):
        Worker(jobq.open("memory://"), "", tasks=tasks)


def test_tasks_that_a_child_process_cannot_import_are_refused() -> None:
    tasks = Tasks()

    @tasks.task
    def inner() -> None: ...

    worker = Worker(jobq.open("memory://"), "", tasks=tasks, executor="process")
    with pytest.raises(ConfigError, match=r"inner\.handler cannot be imported by a child process"):
        worker.run(burst=True)


def test_a_name_is_looked_up_and_never_imported() -> None:
    svc = jobq.open("memory://")
    tasks = Tasks()
    tasks.task(name="known")(lambda: None)
    id = svc.enqueue("", name="os.system", json={"args": ["false"]})
    Worker(svc, "", tasks=tasks).run(burst=True)
    assert svc.get(id).cancel_reason == "unhandled"
    assert svc.get(id).last_error == "no handler for jobs named 'os.system': this worker knows 'known'"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_time_limit_holds_for_a_task(is_async: bool) -> None:
    svc = jobq.open("memory://")
    tasks = Tasks()
    over = threading.Event()

    async def endless_coroutine() -> None:
        await asyncio.Event().wait()

    def endless() -> None:
        over.wait(PATIENCE)

    hang: Any = tasks.task(time_limit=0.05, max_retries=0)(endless_coroutine if is_async else endless)
    with Worker(svc, "", tasks=tasks):
        id = hang.enqueue()
        assert "TimeoutError" in (svc.wait_for(id, PATIENCE).last_error or "")
        over.set()


@pytest.mark.parametrize("is_async", [False, True])
def test_the_traceback_of_a_failure_begins_in_the_task(is_async: bool) -> None:
    queue, tasks = QueueForTests(), Tasks()
    tasks.bind(queue)

    def fail() -> None:
        raise ConnectionError("no route")

    async def fail_later() -> None:
        raise ConnectionError("no route")

    task: Any = tasks.task(fail_later if is_async else fail)
    id = task.enqueue()
    Worker(queue, "", tasks=tasks).run(burst=True)
    files = re.findall(r'File ".*?([^/]*)", line', queue.get(id).last_error or "")
    assert files == ["test_running.py"]


# -- binding


def test_enqueueing_needs_a_queue_and_says_how_to_give_one() -> None:
    tasks = Tasks()

    @tasks.task
    def send(to: str) -> None: ...

    with pytest.raises(ConfigError, match=r"test_running.*send is not bound to a queue: call tasks\.bind\(svc\)"):
        send.enqueue("a")
    with pytest.raises(ConfigError, match=r"tasks\.bind\(svc\)"):
        asyncio.run(send.enqueue_async("a"))
    assert isinstance(send.new_job("a"), NewJob)
    with pytest.raises(TypeError, match=r"not str: tasks.bind\(jobq.open\(url\)\)"):
        tasks.bind("memory://")  # type: ignore[arg-type]


def test_a_child_process_in_which_tasks_are_not_bound_says_what_to_do_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", multiprocessing.current_process)
    task = Tasks().task(name="send")(lambda: None)
    with pytest.raises(ConfigError, match=r"send is not bound to a queue: in a child process .* as it is imported; or"):
        task.enqueue()


def test_a_worker_that_serves_no_topic_of_its_tasks_says_so(caplog: pytest.LogCaptureFixture) -> None:
    svc, tasks = jobq.open("memory://"), Tasks("mail")
    tasks.task(name="send")(lambda: None)
    tasks.task(name="fax", topic="paper")(lambda: None)
    Worker(svc, ["paper", "other"], tasks=tasks).run(burst=True)
    assert caplog.text == ""
    Worker(svc, "other", tasks=tasks).run(burst=True)
    [record] = caplog.records
    assert (record.name, record.levelname) == ("jobq.worker", "WARNING")
    assert "none of its tasks is enqueued to a topic that it serves, but to 'mail', 'paper'" in record.getMessage()


def test_a_worker_binds_what_is_bound_to_nothing_or_to_a_closed_queue_and_leaves_the_rest() -> None:
    tasks = Tasks()
    send = tasks.task(name="send")(lambda: None)
    first, second = jobq.open("memory://"), jobq.open("memory://")
    Worker(first, "", tasks=tasks).run(burst=True)
    Worker(second, "", tasks=tasks).run(burst=True)
    send.enqueue()
    assert (first.topics(), second.topics()) == (["default"], [])
    first.close()
    with pytest.raises(ServiceClosed):
        send.enqueue()
    Worker(second, "", tasks=tasks).run(burst=True)
    send.enqueue()
    assert second.topics() == ["default"]


# -- payloads that are no calls


def by_hand(**job: Any) -> Callable[[JobService, str], int]:
    return lambda svc, name: svc.enqueue("", name=name, **job)


@pytest.mark.parametrize(
    ("enqueue", "error"),
    [
        (by_hand(payload="{"), r"the arguments of double cannot be read: JSONDecodeError"),
        (by_hand(payload=b"\xff"), r"cannot be read: UnicodeDecodeError"),
        (by_hand(json=[1]), r"cannot be read: ValueError: they are not \{\"args\": \[…\], \"kwargs\": \{…\}\}"),
        (by_hand(json={"args": {"n": 1}}), "they are not"),
        (by_hand(json={"kwargs": [1]}), "they are not"),
        (by_hand(json={"args": [1], "kwargs": {}, "n": 2}), "they are not"),
        (by_hand(json={"args": [1, 2]}), r"do not fit the task: double\(n\): too many positional"),
        (by_hand(json={"kwargs": {"m": 2}}), r"do not fit the task: double\(n\): missing a required"),
        (by_hand(), "missing a required argument: 'n'"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_job_that_is_no_call_of_its_task_is_a_dead_letter_at_once(
    enqueue: Callable[[JobService, str], int], error: str, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    svc = jobq.open("memory://")
    tasks = Tasks()

    def double(n: int) -> int:
        raise AssertionError("it is not run")

    async def double_async(n: int) -> int:
        raise AssertionError("it is not run")

    tasks.task(name="double")(double_async if is_async else double)
    id = enqueue(svc, "double")
    Worker(svc, "", tasks=tasks).run(burst=True)
    info = svc.get(id)
    assert (info.cancel_reason, info.retry_count) == ("rejected", 0)
    assert re.search(error, info.last_error or "")
    assert [record.levelno for record in caplog.records if hasattr(record, "job_id")] == [logging.ERROR]


@pytest.mark.parametrize(
    "call", [{"args": [1]}, {"kwargs": {"n": 1}}, {"args": [], "kwargs": {"n": 1}}, {"args": [1], "kwargs": {}}]
)
def test_another_program_enqueues_a_call_by_its_name(call: dict[str, Any]) -> None:
    svc = jobq.open("memory://")
    tasks = Tasks()
    tasks.task(name="double")(lambda n: n * 2)
    tasks.task(name="nothing")(lambda: "nothing")
    ids = [svc.enqueue("", name="double", json=call), svc.enqueue("", name="nothing"), svc.enqueue("", name="nothing")]
    Worker(svc, "", tasks=tasks).run(burst=True)
    assert [svc.get(id).result for id in ids] == [2, "nothing", "nothing"]
