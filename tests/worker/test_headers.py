"""Handlers see the headers of their job, wherever they run."""

from __future__ import annotations

from typing import Any

import pytest

from jobq import Job, JobService, NewJob, Tasks, Worker
from jobq.testing import QueueForTests, drain
from tests.worker import headed

HEADERS = {"traceparent": "00-1", "größe": "☃"}


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("function", [headed.passes_on, headed.passes_on_awaited])
def test_a_handler_sees_them_and_passes_them_on(svc_on: JobService, executor: Any, function: Any) -> None:
    worker = Worker(svc_on, "t", executor=executor)
    worker.default(function)
    ids = svc_on.enqueue_many([NewJob("t", headers=HEADERS), NewJob("t")])
    worker.run(burst=True)
    assert [svc_on.get(id).result for id in ids] == [[HEADERS, HEADERS], [{}, {}]]
    assert [job.headers for job in svc_on.reserve("next", 5)] == [HEADERS, {}]


def test_a_task_is_enqueued_with_them() -> None:
    tasks = Tasks(topic="t")

    @tasks.task
    def seen(job: Job) -> dict[str, str]:
        return dict(job.headers)

    with QueueForTests() as svc:
        tasks.bind(svc)
        headed_one = seen.options(headers=HEADERS)
        ids = [headed_one.enqueue(), seen.enqueue(), *svc.enqueue_many([headed_one.new_job()])]
        drain(Worker(svc, "t", tasks=tasks))
        assert [svc.get(id).result for id in ids] == [HEADERS, {}, HEADERS]


def test_a_task_says_where_headers_belong() -> None:
    tasks = Tasks(topic="t")

    @tasks.task
    def plain(n: int) -> None: ...

    with pytest.raises(TypeError, match=r"how it is enqueued is said by \.options\(headers=…\)\.enqueue"):
        plain.new_job(1, headers=HEADERS)  # type: ignore[call-arg]
