"""What `jobq worker` shows of itself: metrics for Prometheus, traces by OpenTelemetry."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from jobq.metrics import Address
    from jobq.worker import Worker


class Tracing(NamedTuple):
    """What traces jobs: `queue` are arguments of opening it, `worker` those of making a worker. {} for no traces."""

    queue: Mapping[str, Any] = {}
    worker: Mapping[str, Any] = {}

    def tell_if_in_vain(self) -> None:
        """Say so if there is nothing to which spans could go. To be asked once the program's modules are imported."""
        if not self.queue:
            return
        from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider

        if isinstance(get_tracer_provider(), ProxyTracerProvider):
            print(
                "jobq: --tracing has no effect, as no tracer provider is set: run this under opentelemetry-instrument, "
                "or call opentelemetry.trace.set_tracer_provider() in the module of the tasks",
                file=sys.stderr,
                flush=True,
            )

    def check_own(self, name: str) -> None:
        """Refuse it for a queue that a program has opened itself, where it would be for half of the way only."""
        if self.queue:
            raise click.ClickException(
                f"{name} has opened its own queue, and --tracing is for one that this command opens: give jobq.open() "
                "headers=otel.producing and Worker around=otel.consuming there, from jobq.otel"
            )


def tracing() -> Tracing:
    """Traces by what the environment has set up, as `opentelemetry-instrument` does. Raises ImportError."""
    from jobq import otel

    return Tracing({"headers": otel.producing}, {"around": otel.consuming})


@contextmanager
def measured(worker: Worker, address: Address | None) -> Iterator[None]:
    """Serve what a worker measures, and what its queue knows, for as long as this lasts; None: do not."""
    if address is None:
        yield
        return
    from jobq.metrics import WorkerMetrics, registry_of, serve

    registry = registry_of(worker.service)
    worker.observe(WorkerMetrics(registry))
    with serve(registry, *address) as server:
        print(f"jobq: metrics at {server.url}", file=sys.stderr, flush=True)
        yield
