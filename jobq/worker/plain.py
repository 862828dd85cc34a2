"""Outcomes that can be sent from one process to another."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping

from jobq import inputs
from jobq.model.requests import UNSET, NewJob
from jobq.outcomes import Cancel, Done, Outcome, Reject, Release, Retry


def plain(outcome: Outcome) -> Outcome:
    """The same outcome of nothing but plain values: errors are texts. Raises TypeError and ValueError."""
    if isinstance(outcome, Done):
        result = json.loads(inputs.encoded_json(outcome.result, "result"))
        return Done(result, then=_plain_jobs(outcome.then))
    if isinstance(outcome, Retry):
        return Retry(outcome.delay, run_at=outcome.run_at, error=outcome.error and inputs.error(outcome.error))
    if isinstance(outcome, Release):
        return Release(outcome.delay, run_at=outcome.run_at, then=_plain_jobs(outcome.then))
    if isinstance(outcome, Reject):
        return Reject(outcome.error and inputs.error(outcome.error), reason=outcome.reason)
    if isinstance(outcome, Cancel):
        return Cancel(outcome.note)
    raise TypeError(f"an outcome must be Done, Retry, Release, Reject or Cancel, not {type(outcome).__name__}")


def _plain_jobs(then: NewJob | Iterable[NewJob]) -> NewJob | list[NewJob]:
    return _plain_job(then) if isinstance(then, NewJob) else [_plain_job(job) for job in then]


def _plain_job(job: NewJob) -> NewJob:
    if not isinstance(job, NewJob):
        return job  # it is for the parent to say what is wrong
    job = copy.copy(job)
    if isinstance(job.payload, memoryview):
        job.payload = bytes(job.payload)
    if isinstance(job.headers, Mapping):
        job.headers = dict(job.headers)
    if job.json is not UNSET:
        job.json = json.loads(inputs.encoded_json(job.json, "json"))
    return job
