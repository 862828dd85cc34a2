"""Records for tests of pure functions."""

from __future__ import annotations

from typing import Any

from jobq import lifecycle
from jobq.model.options import JobOptions
from jobq.model.records import Now, Policy, Record, policy_of
from jobq.model.requests import Request
from jobq.model.status import CancelReason, Status
from jobq.model.times import SECOND

READY, DELAYED, RESERVED, DONE, CANCELED = Status
START = 1_767_225_600 * SECOND
NOW = Now(wall=START, steady=1_000 * SECOND, generation=1)
LATER = Now(wall=START + 60 * SECOND, steady=1_060 * SECOND, generation=1)
POLICY = policy_of(JobOptions())


def policy(**options: Any) -> Policy:
    return policy_of(JobOptions(**options))


def request(**fields: Any) -> Request:
    defaults: dict[str, Any] = {
        "topic": "t", "priority": 0, "payload": b"", "name": "", "delay": 0, "run_at": 0, "unique_key": "",
        "on_duplicate": "raise", "policy": POLICY,
    }  # fmt: skip
    return Request(**(defaults | fields))


def job(status: Status = READY, **fields: Any) -> Record:
    """A record in a status, as the transitions would have left it."""
    record = lifecycle.enqueue(7, request(delay=9 * SECOND if status is DELAYED else 0), NOW)
    if status is RESERVED:
        record = lifecycle.reserve(record, NOW)
    elif status is DONE:
        record = lifecycle.done(lifecycle.reserve(record, NOW), NOW, b"1")
    elif status is CANCELED:
        record = lifecycle.cancel(record, NOW, "why")
    assert record.status is status
    return record._replace(**fields)


def dead(reason: CancelReason = CancelReason.REJECTED, **fields: Any) -> Record:
    return lifecycle.reject(job(RESERVED), NOW, reason, "bad")._replace(**fields)
