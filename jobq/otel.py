"""Traces by OpenTelemetry: a span where a job is enqueued, and one where it is run, which links to it.

    svc = jobq.open(url, headers=otel.producing)
    worker = jobq.Worker(svc, topics, around=otel.consuming)

Spans go to the tracer provider that the program has set, and contexts travel as its global propagator writes them, in
the headers of jobs. Without a provider both do next to nothing. Names and attributes are those of OpenTelemetry's
semantic conventions for messaging, version 1.44.0, where they are in development still; what they have no name for is
below `messaging.jobq`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobq import __version__, heading, inputs
from jobq.errors import LeaseLost
from jobq.job import Job
from jobq.model.requests import NewJob
from jobq.outcomes import Cancel, Done, Outcome, Reject, Release, Retry

try:
    from opentelemetry import baggage, context, propagate, trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
except ImportError as missing:
    raise ImportError("jobq.otel needs the package opentelemetry-api: pip install 'jobq[otel]'") from missing

if TYPE_CHECKING:
    from jobq.aio import AsyncJob

SYSTEM = "messaging.system"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION_NAME = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
BODY_SIZE = "messaging.message.body.size"
ERROR_TYPE = "error.type"
NAME = "messaging.jobq.name"
PRIORITY = "messaging.jobq.priority"
ATTEMPT = "messaging.jobq.attempt"
OUTCOME = "messaging.jobq.outcome"
"""done, retried, released, canceled, dead; lost, if the job was taken away from its handler; or interrupted."""

_ENQUEUE, _PROCESS = "enqueue", "process"
_SCHEDULES = "jobq.schedules"
_SURE_TO_FIT = heading.MOST_BYTES // 8

_tracer = trace.get_tracer("jobq", __version__, schema_url="https://opentelemetry.io/schemas/1.44.0")


def producing(job: NewJob) -> Mapping[str, str]:
    """Make a PRODUCER span for a job that is about to be enqueued, and return headers that carry its context.

    It is a child of the current span. A job that brings the headers of a context already keeps those, and has no span.
    What is too long for the headers of a job, as baggage may be, is left out.
    """
    own = job.headers or {}
    if job.topic == _SCHEDULES or not own.keys().isdisjoint(propagate.get_global_textmap().fields):
        return {}
    attributes = _attributes(_ENQUEUE, "create", job.topic or inputs.DEFAULT_TOPIC, job.name, job.priority)
    if isinstance(job.payload, bytes) and job.payload:
        attributes[BODY_SIZE] = len(job.payload)
    span = _tracer.start_span(_span_name(attributes), kind=SpanKind.PRODUCER, attributes=attributes)
    carrier: dict[str, str] = {}
    try:
        propagate.inject(carrier, trace.set_span_in_context(span))
    finally:
        span.end()
    return _fitting(carrier, own)


@contextmanager
def consuming(job: Job | AsyncJob) -> Iterator[Span]:
    """A CONSUMER span for the work on a job, which is the current one meanwhile, and links to its producer's.

    It is what `around` of a Worker is given, and is for loops as well: `with otel.consuming(job), job: …`. The baggage
    that came with the job is in force. How the job ended is told by `messaging.jobq.outcome`; what made it fail, or
    have itself retried for an error, is recorded, and the status is an error then.
    """
    came = propagate.extract(job.headers, Context())
    creation = trace.get_current_span(came).get_span_context()
    attributes = _attributes(_PROCESS, "process", job.topic, job.name, job.priority)
    attributes |= {MESSAGE_ID: str(job.id), BODY_SIZE: len(job.payload), ATTEMPT: job.attempt}
    links = [Link(creation)] if creation.is_valid else []
    span = _tracer.start_span(_span_name(attributes), kind=SpanKind.CONSUMER, attributes=attributes, links=links)
    handle = job if isinstance(job, Job) else job.sync
    token = context.attach(_with_baggage(trace.set_span_in_context(span), came))
    try:
        yield span
    except BaseException as error:
        _tell(span, handle, error)
        raise
    else:
        _tell(span, handle, None)
    finally:
        context.detach(token)
        span.end()


def _attributes(operation: str, kind: str, topic: str, name: str, priority: int) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        SYSTEM: "jobq",
        OPERATION_NAME: operation,
        OPERATION_TYPE: kind,
        DESTINATION_NAME: topic,
        PRIORITY: priority,
    }
    return attributes | {NAME: name} if name else attributes


def _span_name(attributes: Mapping[str, str | int]) -> str:
    return f"{attributes[OPERATION_NAME]} {attributes[DESTINATION_NAME]}"


def _fitting(carrier: Mapping[str, str], own: Mapping[str, str]) -> Mapping[str, str]:
    """As many of the headers, in their order, as a job can have beside its own: tracing keeps no job from its queue."""
    if not own and sum(len(name) + len(text) for name, text in carrier.items()) < _SURE_TO_FIT:
        return carrier
    kept: dict[str, str] = {}
    for name, text in carrier.items():
        try:
            heading.encoded({**own, **kept, name: text})
        except ValueError:
            continue
        kept[name] = text
    return kept


def _with_baggage(into: Context, came: Context) -> Context:
    for name, value in baggage.get_all(came).items():
        into = baggage.set_baggage(name, value, into)
    return into


def _tell(span: Span, job: Job, raised: BaseException | None) -> None:
    """Say on the span how the work ended. raised: what leaves the block."""
    outcome = raised if isinstance(raised, Outcome) else job.outcome
    if outcome is None and isinstance(raised, Exception):
        outcome = Retry(error=raised)  # what a Worker and `with job:` make of it
    is_lost = job._is_revoked or isinstance(raised, LeaseLost)
    span.set_attribute(OUTCOME, "lost" if is_lost else _word(job, outcome, raised))
    if raised is not None and not isinstance(raised, Outcome):
        is_told_to_end = is_lost and not isinstance(raised, Exception)
        if not is_told_to_end:
            _fail(span, raised, type(raised))
    elif isinstance(outcome, Retry | Reject):
        error = outcome.error or outcome.__cause__
        if error is not None or isinstance(outcome, Reject):
            _fail(span, error or "rejected", type(outcome))


def _word(job: Job, outcome: Outcome | None, raised: BaseException | None) -> str:
    if outcome is None:
        return "done" if raised is None else "interrupted"
    if isinstance(outcome, Retry):
        return "dead" if job.retries_left == 0 else "retried"
    words = {Done: "done", Release: "released", Reject: "dead", Cancel: "canceled"}
    return next((word for kind, word in words.items() if isinstance(outcome, kind)), "done")


def _fail(span: Span, error: BaseException | str, kind: type[BaseException]) -> None:
    if isinstance(error, BaseException):
        kind = type(error)
        span.record_exception(error)
        error = f"{kind.__name__}: {error}"
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    span.set_attribute(ERROR_TYPE, f"{module}{kind.__qualname__}")
    span.set_status(Status(StatusCode.ERROR, error))
