"""A traced program, whose handlers child processes import, too; these write their spans to a file."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

import jobq
from jobq import AsyncJob, Done, Job, NewJob

FILE = "JOBQ_TEST_SPANS"
tracer = trace.get_tracer("program")
tasks = jobq.Tasks(topic="t")

if multiprocessing.parent_process() is not None and FILE in os.environ:
    provider = TracerProvider(shutdown_on_exit=False)
    file = open(os.environ[FILE], "a", buffering=1)  # noqa: SIM115  # until the child ends
    exporter = ConsoleSpanExporter(out=file, formatter=lambda span: f"{span.to_json(indent=None)}\n")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def current() -> str:
    """The current span as headers name it."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}-{span.span_id:016x}"


def follows(job: Job) -> None:
    with tracer.start_as_current_span("inner"):
        pass
    raise Done(current(), then=[NewJob("next", name="one"), NewJob("next", name="two")])


def follows_at_once(job: Job) -> None:
    job.done(current(), then=NewJob("next"))


async def follows_awaited(job: AsyncJob) -> None:
    await job.log("half way")
    await job.done(current(), then=NewJob("next"))


def fails(job: Job) -> None:
    raise ConnectionError("no route to host")


def carries(job: Job) -> dict[str, Any]:
    return {**baggage.get_all(), "current": current()}


@tasks.task(name="work")
def work(n: int) -> str:
    if n > 0:
        work.enqueue(n - 1)
    return current()
