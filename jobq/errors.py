"""Every error that a correct program may meet, under one root."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class JobqError(Exception):
    """The root of all errors that jobq raises on its own account."""


class JobNotFound(JobqError, LookupError):
    """No job has this id: it never existed, was deleted, or its retention is over. `ids` lists the unknown ids."""

    def __init__(self, message: str, *, ids: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.ids: list[int] = list(ids)

    @classmethod
    def of(cls, ids: Sequence[int]) -> JobNotFound:
        """The error for these unknown ids."""
        named = ", ".join(str(job_id) if abs(job_id) < 10**99 else "(a huge one)" for job_id in ids[:10])
        return cls(
            f"there is no job {named}: it was never enqueued, is deleted, or its record cannot be read: see verify",
            ids=ids,
        )


class InvalidStatus(JobqError):
    """The job's status does not allow the verb. `status` is that of the first such job, `ids` lists them all."""

    def __init__(self, message: str, *, status: str = "", ids: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.status: str = status
        self.ids: list[int] = list(ids)


class LeaseLost(JobqError):
    """The reservation is over: settled, canceled, or expired and reclaimed. `jobs` lists the handles."""

    def __init__(self, message: str, *, jobs: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.jobs: list[Any] = list(jobs)


class DuplicateJob(JobqError):
    """An unfinished job of the topic holds the unique key. `job_id` is the holder, `ids` what could not be changed."""

    def __init__(self, message: str, *, job_id: int = 0, ids: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.job_id: int = job_id
        self.ids: list[int] = list(ids)


class PayloadTooLarge(JobqError, ValueError):
    """A payload, a result, or a batch of payloads is over its limit."""


class TopicFull(JobqError):
    """The topic has as many waiting jobs as `Limits.depth` allows."""


class InvalidTopic(JobqError, ValueError):
    """The topic's name is not allowed."""


class ConfigError(JobqError, ValueError):
    """A URL or a setting is unknown or contradicts what the storage is, or a directory is not safe to use."""


class StorageNotFound(ConfigError):
    """There is no queue where one was to be opened and not made."""


class ServiceClosed(JobqError):
    """The service was closed."""


class StorageError(JobqError):
    """The storage could not do its work; the driver's error is the cause."""


class ReentrantCall(StorageError):
    """A verb was called within a transaction of the same thread, as by a signal handler or a finalizer."""


class StorageFull(StorageError):
    """The storage has no room for new jobs; settling and deleting still work."""


class StorageCorrupt(StorageError):
    """What the storage holds cannot be read."""


class StorageVersion(StorageError):
    """The storage holds something else than this version of jobq writes."""
