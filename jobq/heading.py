"""The headers of a new job: its own, and those that a service gives to each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from typing import Any

from jobq.errors import ConfigError
from jobq.model.requests import MoreHeaders, NewJob

MOST_BYTES = 4_000


def headers(job: NewJob, more: MoreHeaders | None) -> bytes:
    """The headers of a job as JSON, b"" for none; its own go before those that `more` gives.

    Raises TypeError and ValueError for what is no header, ConfigError if `more` raises.
    """
    own = b"" if job.headers is None else encoded(job.headers)
    given = None if more is None or job._is_complete else _asked(more, job)
    if given is None:
        return own
    if not isinstance(given, Mapping):
        raise TypeError(f"the service's headers(job) must return a mapping of str to str, not {type(given).__name__}")
    return encoded({**given, **(job.headers or {})})


def completed(job: NewJob, more: MoreHeaders) -> NewJob:
    """A copy of a job with all its headers, for which no service asks again."""
    job = copy(job)
    job.headers = json.loads(headers(job, more) or b"{}")
    job._is_complete = True
    return job


def encoded(value: Mapping[Any, Any]) -> bytes:
    """Headers as a JSON object, b"" for none. Raises TypeError and ValueError for what is none."""
    if not isinstance(value, Mapping):
        raise TypeError(f"headers must be a mapping of str to str, not {type(value).__name__}")
    for name, content in value.items():
        if not isinstance(name, str) or not isinstance(content, str):
            kinds = f"{type(name).__name__} to {type(content).__name__}"
            raise TypeError(f"headers must be a mapping of str to str, and {name!r} is {kinds}")
        if not name:
            raise ValueError("the name of a header must not be empty")
    try:
        data = json.dumps(dict(value), ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as problem:
        odd = problem.object[problem.start]
        raise ValueError(f"headers must be text that UTF-8 can encode, and {odd!r} is not") from None
    if len(data) > MOST_BYTES:
        raise ValueError(
            f"headers must have at most {MOST_BYTES} bytes as JSON, not {len(data)}: "
            "what is longer belongs in the payload"
        )
    return data if value else b""


def _asked(more: MoreHeaders, job: NewJob) -> Mapping[str, str] | None:
    try:
        return more(job)
    except Exception as problem:  # as an error that ends no worker, for which others may enqueue
        raise ConfigError(f"the service's headers(job) failed: {type(problem).__name__}: {problem}") from problem
