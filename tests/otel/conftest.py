"""Spans exported to memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import jobq
from jobq import JobService, otel
from jobq.testing import QueueForTests


class Spans:
    """The spans that have ended, in that order."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span


@pytest.fixture(scope="session")
def exporter() -> InMemorySpanExporter:
    """Where all spans of this process go: OpenTelemetry has one provider a process, which is set once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Spans:
    exporter.clear()
    return Spans(exporter)


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> trace.Tracer:
    """Makes the spans of the program that uses jobq."""
    return trace.get_tracer("program")


@pytest.fixture
def svc(spans: Spans) -> Iterator[JobService]:
    """A traced queue, by the clock of the machine."""
    with jobq.open("memory://", headers=otel.producing) as svc:
        yield svc


@pytest.fixture
def queue(spans: Spans) -> Iterator[QueueForTests]:
    """A traced queue, by a clock that stands still."""
    with QueueForTests(headers=otel.producing) as queue:
        yield queue


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.trace_id
    return found


def parent_id(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def linked(span: ReadableSpan) -> list[int]:
    """The ids of the spans that it links to."""
    return [link.context.span_id for link in span.links]
