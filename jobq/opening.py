"""Opening a service by URL."""

from __future__ import annotations

import os
from collections.abc import Mapping

from jobq import inputs, preparing
from jobq.errors import ConfigError
from jobq.model.options import JobOptions, Limits
from jobq.model.requests import MoreHeaders
from jobq.service import JobService

VARIABLE = "JOBQ_URL"


def open(
    url: str | None = None,
    *,
    defaults: JobOptions | None = None,
    topic_defaults: Mapping[str, JobOptions] | None = None,
    limits: Limits | None = None,
    headers: MoreHeaders | None = None,
    create: bool = True,
) -> JobService:
    """Open a JobService over the storage that a URL names; without one, over that which JOBQ_URL names.

    url: `memory://`, `memory://NAME`, `lmdb:relative/path` or `lmdb:///absolute/path`; an lmdb URL takes
    `?sync=full|normal|off`, `max_size=BYTES` and `topics=memory`, joined by `&`. defaults, topic_defaults, limits,
    headers: as in JobService. create: make the directory if there is none.
    Raises ConfigError for a URL or setting that is not allowed, or if there is no URL at all; StorageNotFound
    if nothing is there that could be opened without making it; StorageError and its kin if the storage is unusable.
    """
    from jobq.repos.urls import open_storage  # here, as what reads URLs takes 5 ms to import

    preparing.Defaults(defaults, topic_defaults, headers)  # refused before anything is opened
    inputs.limits(limits)
    inputs.flag(create, "create")
    storage = open_storage(inputs.url(url_of_environment() if url is None else url), create=create)
    return JobService(storage, defaults=defaults, topic_defaults=topic_defaults, limits=limits, headers=headers)


def url_of_environment() -> str:
    """The URL that JOBQ_URL holds. Raises ConfigError if it is not set, or empty."""
    if url := os.environ.get(VARIABLE):
        return url
    raise ConfigError(
        f"jobq.open() has no URL and {VARIABLE} is not set: "
        f"pass one, as jobq.open('lmdb:jobs'), or set it, as {VARIABLE}=lmdb:jobs"
    )
