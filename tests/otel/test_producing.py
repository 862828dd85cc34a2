"""A span where a job is enqueued, whose context travels with the job."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.semconv._incubating.attributes import messaging_attributes as conventions
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState

import jobq
from jobq import AsyncJobService, DuplicateJob, JobService, NewJob, Tasks, Worker, otel
from jobq.tasks.state import TOPIC
from jobq.testing import QueueForTests, drain
from tests.otel.conftest import Spans, linked, parent_id, span_id, trace_id


def traceparent(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"00-{trace_id(span):032x}-{span_id(span):016x}-{span.context.trace_flags:02x}"


def test_the_names_are_those_of_the_conventions() -> None:
    assert otel.SYSTEM == conventions.MESSAGING_SYSTEM
    assert otel.OPERATION_NAME == conventions.MESSAGING_OPERATION_NAME
    assert otel.OPERATION_TYPE == conventions.MESSAGING_OPERATION_TYPE
    assert otel.DESTINATION_NAME == conventions.MESSAGING_DESTINATION_NAME
    assert otel.MESSAGE_ID == conventions.MESSAGING_MESSAGE_ID
    assert otel.BODY_SIZE == conventions.MESSAGING_MESSAGE_BODY_SIZE
    assert otel.ERROR_TYPE == error_attributes.ERROR_TYPE
    kinds = conventions.MessagingOperationTypeValues
    assert (kinds.CREATE.value, kinds.PROCESS.value) == ("create", "process")


def test_a_job_has_a_producer_span_whose_context_it_carries(svc: JobService, spans: Spans) -> None:
    svc.enqueue("mail", -3, b"hello", name="welcome")
    [span] = spans.all()
    assert (span.name, span.kind, span.parent, span.status.is_ok) == ("enqueue mail", SpanKind.PRODUCER, None, True)
    assert dict(span.attributes or {}) == {
        "messaging.system": "jobq",
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "create",
        "messaging.destination.name": "mail",
        "messaging.message.body.size": 5,
        "messaging.jobq.name": "welcome",
        "messaging.jobq.priority": -3,
    }
    [job] = svc.reserve("mail")
    assert job.headers == {"traceparent": traceparent(span)}
    scope = span.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("jobq", jobq.__version__)
    assert scope.schema_url == "https://opentelemetry.io/schemas/1.44.0"


def test_the_default_topic_has_its_name(svc: JobService, spans: Spans) -> None:
    svc.enqueue("")
    assert spans.one("enqueue default").attributes == {
        "messaging.system": "jobq",
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "create",
        "messaging.destination.name": "default",
        "messaging.jobq.priority": 0,
    }


def awaited(svc: JobService) -> None:
    asyncio.run(AsyncJobService(svc).enqueue("t"))


def by_task(svc: JobService) -> None:
    tasks = Tasks(topic="t")
    tasks.bind(svc)
    tasks.task(name="work")(lambda: None).enqueue()


WAYS: dict[str, Any] = {
    "enqueue": lambda svc: svc.enqueue("t"),
    "enqueue_many": lambda svc: svc.enqueue_many([NewJob("t"), NewJob("t")]),
    "exchange": lambda svc: svc.exchange(enqueue=[NewJob("t")]),
    "awaited": awaited,
    "task": by_task,
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_a_child_of_the_current_span(svc: JobService, spans: Spans, tracer: trace.Tracer, way: str) -> None:
    with tracer.start_as_current_span("POST /orders"):
        WAYS[way](svc)
    outer = spans.one("POST /orders")
    made = spans.named("enqueue t")
    assert [parent_id(span) for span in made] == [span_id(outer)] * (2 if way == "enqueue_many" else 1)
    assert {job.headers["traceparent"] for job in svc.reserve("t", 5)} == set(map(traceparent, made))


def test_a_job_that_is_refused_has_a_span_that_nothing_links_to(svc: JobService, spans: Spans) -> None:
    svc.enqueue("t", unique_key="k")
    with pytest.raises(DuplicateJob):
        svc.enqueue("t", unique_key="k")
    with pytest.raises(ValueError, match="not allowed"):
        svc.enqueue("no topic!")
    first, _ = spans.named("enqueue t")
    assert [job.headers["traceparent"] for job in svc.reserve("t", 5)] == [traceparent(first)]


@pytest.mark.parametrize("name", ["traceparent", "tracestate", "baggage"])
def test_a_job_that_brings_a_context_keeps_it(svc: JobService, spans: Spans, name: str) -> None:
    svc.enqueue("t", headers={name: "own"})
    [job] = svc.reserve("t")
    assert (job.headers, spans.all()) == ({name: "own"}, [])


def test_other_headers_stay_beside_it(svc: JobService) -> None:
    svc.enqueue("t", headers={"tenant": "acme"})
    [job] = svc.reserve("t")
    assert set(job.headers) == {"tenant", "traceparent"}


@pytest.mark.parametrize(
    ("own", "baggage_bytes", "left"),
    [
        ({}, 10, {"traceparent", "tracestate", "baggage"}),
        ({}, 2_000, {"traceparent", "tracestate", "baggage"}),
        ({}, 3_950, {"traceparent", "tracestate"}),
        ({"own": "x" * 3_800}, 100, {"own", "traceparent", "tracestate"}),
        ({"own": "x" * 3_900}, 10, {"own", "traceparent"}),
        ({"own": "x" * 3_985}, 10, {"own"}),
    ],
)
def test_what_is_too_long_is_left_out(svc: JobService, own: dict[str, str], baggage_bytes: int, left: set[str]) -> None:
    state = TraceState([("vendor", "1" * 40)])
    remote = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
    ambient = baggage.set_baggage("b", "x" * baggage_bytes, trace.set_span_in_context(NonRecordingSpan(remote)))
    token = context.attach(ambient)
    try:
        svc.enqueue("t", headers=own)
    finally:
        context.detach(token)
    [job] = svc.reserve("t")
    assert set(job.headers) == left


def test_a_trace_that_is_not_sampled_travels_all_the_same(svc: JobService, spans: Spans) -> None:
    unsampled = NonRecordingSpan(SpanContext(7, 8, is_remote=True))
    with trace.use_span(unsampled):
        svc.enqueue("t")
    [job] = svc.reserve("t")
    version, of_trace, _, flags = job.headers["traceparent"].split("-")
    assert (version, int(of_trace, 16), flags, spans.all()) == ("00", 7, "00", [])
    with otel.consuming(job) as span:
        assert span.is_recording()
    [span_of_job] = spans.all()
    assert [link.context.trace_id for link in span_of_job.links] == [7]


def test_each_tick_of_a_schedule_is_a_trace_and_the_schedule_is_none(queue: QueueForTests, spans: Spans) -> None:
    tasks = Tasks(topic="t")

    @tasks.every(60)
    def tick() -> None: ...

    worker = Worker(queue, "t", tasks=tasks, around=otel.consuming)
    for _ in range(3):
        drain(worker)
        queue.clock.advance(60)
    assert otel._SCHEDULES == TOPIC
    assert {span.name for span in spans.all()} == {"enqueue t", "process t"}
    made, run = spans.named("enqueue t"), spans.named("process t")
    assert len(made) == len(run) == 2
    assert [parent_id(span) for span in made] == [None, None]
    assert [linked(span) for span in run] == [[span_id(span)] for span in made]
