"""Metrics for Prometheus, by its official client: of the queue, and of workers. A client of JobService.

>>> import jobq
>>> from jobq.metrics import render
>>> svc = jobq.open("memory://")
>>> svc.enqueue("mail")
1
>>> [line for line in render(svc).splitlines() if line.startswith("jobq_enqueued_total")]
['jobq_enqueued_total{topic="mail"} 1.0']
"""

from jobq.metrics.address import Address, parse_address

try:
    from jobq.metrics.buckets import RUN_BUCKETS, WAIT_BUCKETS
    from jobq.metrics.collector import QueueCollector, registry_of, render
    from jobq.metrics.observer import WorkerMetrics
    from jobq.metrics.serving import MetricsServer, serve
except ImportError as missing:
    if (missing.name or "").partition(".")[0] != "prometheus_client":
        raise
    raise ImportError(
        "jobq.metrics needs the package prometheus-client: pip install 'jobq[prometheus]'", name=missing.name
    ) from missing

__all__ = [
    "RUN_BUCKETS",
    "WAIT_BUCKETS",
    "Address",
    "MetricsServer",
    "QueueCollector",
    "WorkerMetrics",
    "parse_address",
    "registry_of",
    "render",
    "serve",
]
