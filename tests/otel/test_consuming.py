"""A span for the work on a job, which links to its producer's, wherever the handler runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

import jobq
from jobq import Cancel, Done, Job, JobService, LeaseLost, NewJob, Reject, Release, Retry, Worker, otel
from jobq.testing import QueueForTests, drain
from tests.clocks import PATIENCE
from tests.otel import program
from tests.otel.conftest import Spans, linked, parent_id, span_id, trace_id

HANDLERS = [program.follows, program.follows_at_once, program.follows_awaited]


def run(worker: Worker) -> None:
    worker.run(burst=True)


def named(span: ReadableSpan) -> str:
    return f"{trace_id(span):032x}-{span_id(span):016x}"


@pytest.mark.parametrize("finish", [run, drain])
@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_runs_within_its_span(svc: JobService, spans: Spans, handler: Any, finish: Any) -> None:
    worker = Worker(svc, "t", around=otel.consuming)
    worker.handler(handler)
    id = svc.enqueue("t", 4, b"hello", name=handler.__name__)
    finish(worker)
    producer, consumer = spans.one("enqueue t"), spans.one("process t")
    assert (consumer.kind, consumer.parent, linked(consumer)) == (SpanKind.CONSUMER, None, [span_id(producer)])
    assert trace_id(consumer) != trace_id(producer)
    assert dict(consumer.attributes or {}) == {
        "messaging.system": "jobq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "t",
        "messaging.message.id": str(id),
        "messaging.message.body.size": 5,
        "messaging.jobq.name": handler.__name__,
        "messaging.jobq.priority": 4,
        "messaging.jobq.attempt": 1,
        "messaging.jobq.outcome": "done",
    }
    assert (consumer.status.status_code, consumer.events) == (StatusCode.UNSET, ())
    assert svc.get(id).result == named(consumer)
    following = spans.named("enqueue next")
    assert {parent_id(span) for span in following} == {span_id(consumer)}
    assert len(following) == (2 if handler is program.follows else 1)
    if handler is program.follows:
        assert parent_id(spans.one("inner")) == span_id(consumer)
    assert not trace.get_current_span().get_span_context().is_valid


def of_children(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("handler", HANDLERS)
def test_in_a_child_process_it_is_the_same(
    svc: JobService, spans: Spans, handler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(program.FILE, str(tmp_path / "spans"))
    worker = Worker(svc, "t", executor="process", around=otel.consuming)
    worker.handler(handler)
    id = svc.enqueue("t", name=handler.__name__)
    run(worker)
    producer = spans.one("enqueue t")
    found = of_children(tmp_path / "spans")
    [consumer] = [span for span in found if span["name"] == "process t"]
    consumer_id = consumer["context"]["span_id"]
    assert (consumer["kind"], consumer["parent_id"]) == ("SpanKind.CONSUMER", None)
    assert [link["context"]["span_id"] for link in consumer["links"]] == [f"0x{span_id(producer):016x}"]
    assert svc.get(id).result == f"{consumer['context']['trace_id'][2:]}-{consumer_id[2:]}"
    following = [span for span in found if span["name"] == "enqueue next"]
    assert {span["parent_id"] for span in following} == {consumer_id}
    carried = {job.headers["traceparent"].split("-")[2] for job in svc.reserve("next", 5)}
    assert carried == {span["context"]["span_id"][2:] for span in following}
    assert [span.name for span in spans.all()] == ["enqueue t"]


def test_a_task_that_enqueues_the_next_is_one_chain(svc: JobService, spans: Spans) -> None:
    program.tasks.bind(svc)
    worker = Worker(svc, "t", tasks=program.tasks, around=otel.consuming, concurrency=3)
    program.work.enqueue(3)
    run(worker)
    made, done = spans.named("enqueue t"), spans.named("process t")
    assert [linked(span) for span in done] == [[span_id(span)] for span in made]
    assert [parent_id(span) for span in made] == [None, *(span_id(span) for span in done[:-1])]


def test_each_attempt_is_a_span_that_links_to_the_same_producer(queue: QueueForTests, spans: Spans) -> None:
    worker = Worker(queue, "t", around=otel.consuming)
    worker.handler(program.fails)
    queue.enqueue("t", name="fails", max_retries=2, min_backoff=1)
    for _ in range(3):
        assert drain(worker) == 1
        queue.clock.advance(10)
    producer = spans.one("enqueue t")
    attempts = spans.named("process t")
    assert [linked(span) for span in attempts] == [[span_id(producer)]] * 3
    assert len({trace_id(span) for span in attempts}) == 3
    told = [dict(span.attributes or {}) for span in attempts]
    assert [one[otel.ATTEMPT] for one in told] == [1, 2, 3]
    assert [one[otel.OUTCOME] for one in told] == ["retried", "retried", "dead"]
    assert [one[otel.ERROR_TYPE] for one in told] == ["ConnectionError"] * 3


def test_those_of_a_batch_link_each_to_its_own(svc: JobService, spans: Spans) -> None:
    worker = Worker(svc, "t", around=otel.consuming, concurrency=4)
    worker.default(lambda job: None)
    ids = svc.enqueue_many([NewJob("t") for _ in range(20)])
    run(worker)
    made = dict(zip(map(str, ids), spans.named("enqueue t"), strict=True))
    for span in spans.named("process t"):
        assert linked(span) == [span_id(made.pop(str((span.attributes or {})[otel.MESSAGE_ID])))]
    assert made == {}


CAUSED = Retry(0)
CAUSED.__cause__ = OSError("disk")
BAD = "jobq.outcomes."

ENDS: list[tuple[BaseException | None, str, str | None, str | None]] = [
    (None, "done", None, None),
    (Done(3), "done", None, None),
    (Release(60), "released", None, None),
    (Cancel("enough"), "canceled", None, None),
    (Retry(60), "retried", None, None),
    (Retry(60, error="busy"), "retried", f"{BAD}Retry", "busy"),
    (CAUSED, "retried", "OSError", "OSError: disk"),
    (Reject(), "dead", f"{BAD}Reject", "rejected"),
    (Reject("bad"), "dead", f"{BAD}Reject", "bad"),
    (Reject(json.JSONDecodeError("odd", "", 0)), "dead", "json.decoder.JSONDecodeError", None),
    (KeyError("gone"), "retried", "KeyError", "KeyError: 'gone'"),
    (SystemExit(3), "interrupted", "SystemExit", "SystemExit: 3"),
]


def in_worker(svc: JobService, handler: Callable[[Job], None]) -> None:
    worker = Worker(svc, "t", around=otel.consuming)
    worker.default(handler)
    drain(worker)


def in_loop(svc: JobService, handler: Callable[[Job], None]) -> None:
    for job in svc.jobs("t", timeout=0):
        with otel.consuming(job), job:
            handler(job)


def in_loop_within(svc: JobService, handler: Callable[[Job], None]) -> None:
    for job in svc.jobs("t", timeout=0):
        with job, otel.consuming(job):
            handler(job)


def by_hand(svc: JobService, handler: Callable[[Job], None]) -> None:
    [job] = svc.reserve("t")
    with otel.consuming(job):
        try:
            handler(job)
        except Exception as error:
            svc.exchange([(job, error if isinstance(error, jobq.outcomes.Outcome) else Retry(error=error))])
        else:
            job.done()


@pytest.mark.parametrize("loop", [in_worker, in_loop, in_loop_within, by_hand])
@pytest.mark.parametrize(("raised", "word", "kind", "description"), ENDS)
def test_it_says_how_the_job_ended(
    queue: QueueForTests,
    spans: Spans,
    loop: Any,
    raised: BaseException | None,
    word: str,
    kind: str | None,
    description: str | None,
) -> None:
    def handler(job: Job) -> None:
        if raised is not None:
            raise raised

    queue.enqueue("t")
    is_ending = isinstance(raised, SystemExit) and loop is not in_worker
    if is_ending:
        with pytest.raises(SystemExit):
            loop(queue, handler)
    else:
        loop(queue, handler)
    [span] = spans.named("process t")[:1]
    told = dict(span.attributes or {})
    if is_ending and loop is in_loop:
        word = "released"  # by the block
    assert (told[otel.OUTCOME], told.get(otel.ERROR_TYPE)) == (word, kind)
    assert (span.status.status_code is StatusCode.ERROR) == (kind is not None)
    if description is not None:
        assert span.status.description == description
    errors = [event.attributes or {} for event in span.events if event.name == "exception"]
    is_exception = kind is not None and not kind.startswith(BAD)
    assert [one["exception.type"] for one in errors] == ([kind] if is_exception else [])


def test_a_retry_without_retries_left_is_dead(queue: QueueForTests, spans: Spans) -> None:
    def handler(job: Job) -> None:
        raise Retry

    queue.enqueue("t", max_retries=0)
    in_worker(queue, handler)
    assert (spans.one("process t").attributes or {})[otel.OUTCOME] == "dead"


@pytest.mark.parametrize("loop", [in_loop, by_hand])
def test_a_job_that_was_taken_away_is_lost(queue: QueueForTests, spans: Spans, loop: Any) -> None:
    def handler(job: Job) -> None:
        queue.cancel(job.id)

    queue.enqueue("t")
    if loop is by_hand:
        with pytest.raises(LeaseLost):
            loop(queue, handler)
    else:
        loop(queue, handler)
    span = spans.one("process t")
    told = dict(span.attributes or {})
    assert told[otel.OUTCOME] == "lost"
    assert told.get(otel.ERROR_TYPE) == ("jobq.errors.LeaseLost" if loop is by_hand else None)


def test_a_coroutine_that_is_cancelled_as_its_job_was_canceled_is_lost_and_no_error(spans: Spans) -> None:
    with jobq.open("memory://", headers=otel.producing) as svc:
        worker = Worker(svc, "t", around=otel.consuming, lease=0.3)
        begun: list[int] = []

        @worker.default
        async def waits(job: jobq.AsyncJob) -> None:
            svc.cancel(job.id)
            begun.append(job.id)
            await asyncio.sleep(PATIENCE)

        svc.enqueue("t")
        worker.run(burst=True)
    span = spans.one("process t")
    assert begun
    assert (span.attributes or {})[otel.OUTCOME] == "lost"
    assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())


def test_a_job_without_a_context_has_a_span_without_links(queue: QueueForTests, spans: Spans) -> None:
    plain = QueueForTests()
    plain.enqueue("t")
    plain.enqueue("t", headers={"traceparent": "nonsense"})
    in_worker(plain, lambda job: None)
    assert [linked(span) for span in spans.named("process t")] == [[], []]
    plain.close()


def test_it_is_a_child_of_the_span_around_a_loop(svc: JobService, spans: Spans, tracer: trace.Tracer) -> None:
    svc.enqueue("t")
    with tracer.start_as_current_span("batch"):
        in_loop(svc, lambda job: None)
    assert parent_id(spans.one("process t")) == span_id(spans.one("batch"))
    assert linked(spans.one("process t")) == [span_id(spans.one("enqueue t"))]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_baggage_comes_along(svc: JobService, spans: Spans, executor: Any) -> None:
    worker = Worker(svc, "t", executor=executor, around=otel.consuming)
    worker.default(program.carries)
    token = context.attach(baggage.set_baggage("tenant", "acme & söhne"))
    try:
        id = svc.enqueue("t")
    finally:
        context.detach(token)
    run(worker)
    assert svc.get(id).result["tenant"] == "acme & söhne"
    assert baggage.get_all() == {}
