"""jobq: the job queue that a Python program carries inside itself.

>>> import jobq
>>> svc = jobq.open("memory://")
>>> svc.enqueue("mail", payload="hello")
1
>>> for job in svc.jobs("mail", timeout=0):
...     with job:
...         print(job.text)
hello
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jobq.errors import (
    ConfigError,
    DuplicateJob,
    InvalidStatus,
    InvalidTopic,
    JobNotFound,
    JobqError,
    LeaseLost,
    PayloadTooLarge,
    ServiceClosed,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageNotFound,
    StorageVersion,
    TopicFull,
)
from jobq.job import Job
from jobq.model.options import JobOptions, Limits
from jobq.model.requests import NewJob
from jobq.model.status import CancelReason, Status
from jobq.model.views import (
    Compaction,
    Difference,
    Exchange,
    JobInfo,
    JobLog,
    LogLine,
    MoveProgress,
    StorageInfo,
    TopicStats,
)
from jobq.opening import open
from jobq.outcomes import Cancel, Done, Reject, Release, Retry
from jobq.service import JobService

if TYPE_CHECKING:
    from jobq.aio import AsyncJob, AsyncJobService, open_async
    from jobq.tasks import Tasks
    from jobq.worker import Observer, Worker

__version__ = "0.1.0"

__all__ = [
    "AsyncJob",
    "AsyncJobService",
    "Cancel",
    "CancelReason",
    "Compaction",
    "ConfigError",
    "Difference",
    "Done",
    "DuplicateJob",
    "Exchange",
    "InvalidStatus",
    "InvalidTopic",
    "Job",
    "JobInfo",
    "JobLog",
    "JobNotFound",
    "JobOptions",
    "JobService",
    "JobqError",
    "LeaseLost",
    "Limits",
    "LogLine",
    "MoveProgress",
    "NewJob",
    "Observer",
    "PayloadTooLarge",
    "Reject",
    "Release",
    "Retry",
    "ServiceClosed",
    "Status",
    "StorageCorrupt",
    "StorageError",
    "StorageFull",
    "StorageInfo",
    "StorageNotFound",
    "StorageVersion",
    "Tasks",
    "TopicFull",
    "TopicStats",
    "Worker",
    "open",
    "open_async",
]

_LATER = {
    "AsyncJob": "jobq.aio",
    "AsyncJobService": "jobq.aio",
    "Observer": "jobq.worker",
    "Tasks": "jobq.tasks",
    "Worker": "jobq.worker",
    "open_async": "jobq.aio",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:  # what not every program needs is imported when it is asked for
        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
