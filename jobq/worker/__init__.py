"""Workers: what runs handlers for jobs, in threads, on an event loop or in child processes. A client of JobService."""

from jobq.worker.observer import Observer
from jobq.worker.worker import Worker

__all__ = ["Observer", "Worker"]
