"""Opening a service by URL."""

from __future__ import annotations

from collections.abc import Mapping

from jobq import inputs, preparing
from jobq.model.options import JobOptions, Limits
from jobq.service import JobService


def open(
    url: str,
    *,
    defaults: JobOptions | None = None,
    topic_defaults: Mapping[str, JobOptions] | None = None,
    limits: Limits | None = None,
) -> JobService:
    """Open a JobService over the storage that a URL names.

    url: `memory://`, `memory://NAME`, `lmdb:relative/path` or `lmdb:///absolute/path`; an lmdb URL takes
    `?sync=full|normal|off`, `max_size=BYTES` and `topics=memory`, joined by `&`. defaults, topic_defaults, limits: as
    in JobService.
    Raises ConfigError for a URL or setting that is not allowed, StorageError and its kin if the storage is unusable.
    """
    from jobq.repos.urls import open_storage  # here, as what reads URLs takes 5 ms to import

    preparing.Defaults(defaults, topic_defaults)  # refused before anything is opened
    inputs.limits(limits)
    storage = open_storage(inputs.url(url))
    return JobService(storage, defaults=defaults, topic_defaults=topic_defaults, limits=limits)
