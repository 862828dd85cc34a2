"""Outcomes that can be sent from one process to another."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping

from jobq import inputs
from jobq.heading import completed
from jobq.model.requests import UNSET, MoreHeaders, NewJob
from jobq.outcomes import Cancel, Done, Outcome, Reject, Release, Retry


def plain(outcome: Outcome, headers: MoreHeaders | None = None) -> Outcome:
    """The same outcome of nothing but plain values: errors are texts. Raises TypeError and ValueError.

    headers: what gives more headers to the jobs that are enqueued with it, if that is to be done here.
    """
    if isinstance(outcome, Done):
        result = json.loads(inputs.encoded_json(outcome.result, "result"))
        return Done(result, then=_plain_then(outcome, headers))
    if isinstance(outcome, Retry):
        return Retry(outcome.delay, run_at=outcome.run_at, error=outcome.error and inputs.error(outcome.error))
    if isinstance(outcome, Release):
        return Release(outcome.delay, run_at=outcome.run_at, then=_plain_then(outcome, headers))
    if isinstance(outcome, Reject):
        return Reject(outcome.error and inputs.error(outcome.error), reason=outcome.reason)
    if isinstance(outcome, Cancel):
        return Cancel(outcome.note)
    raise TypeError(f"an outcome must be Done, Retry, Release, Reject or Cancel, not {type(outcome).__name__}")


def _plain_then(outcome: Done | Release, headers: MoreHeaders | None) -> NewJob | list[NewJob]:
    if outcome._context is None:
        return _plain_jobs(outcome.then, headers)
    return outcome._context.run(_plain_jobs, outcome.then, headers)


def _plain_jobs(then: NewJob | Iterable[NewJob], headers: MoreHeaders | None) -> NewJob | list[NewJob]:
    return _plain_job(then, headers) if isinstance(then, NewJob) else [_plain_job(job, headers) for job in then]


def _plain_job(job: NewJob, headers: MoreHeaders | None) -> NewJob:
    if not isinstance(job, NewJob):
        return job  # it is for the parent to say what is wrong
    job = copy.copy(job) if headers is None else completed(job, headers)
    if isinstance(job.payload, memoryview):
        job.payload = bytes(job.payload)
    if isinstance(job.headers, Mapping):
        job.headers = dict(job.headers)
    if job.json is not UNSET:
        job.json = json.loads(inputs.encoded_json(job.json, "json"))
    return job
