"""What storages hold: the job record, its place, and the counters of a topic. Times are integer nanoseconds."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from jobq.model.options import JobOptions
from jobq.model.status import CancelReason, Ordering, Status
from jobq.model.times import SECOND, Seconds, duration

_NEW = tuple.__new__


class Now(NamedTuple):
    """One reading of both clocks.

    wall: nanoseconds since 1970, for dates. steady: nanoseconds of a clock that is never set, for leases.
    generation: rises when the steady clock began anew, so that older deadlines are known to be over.
    """

    wall: int
    steady: int
    generation: int = 0


class Policy(NamedTuple):
    """JobOptions in nanoseconds, as a job carries them; None keeps for ever, or retries for ever."""

    lease: int
    max_retries: int | None
    min_backoff: int
    max_backoff: int
    jitter: float
    keep_done: int | None
    keep_canceled: int | None
    keep_dead: int | None
    log_status_change: bool = False


class Record(NamedTuple):
    """One job. 0 and "" and b"" stand for none; `attempt` is also the token of a reservation, as it only grows.

    headers: what travels with the job, as a JSON object of texts.
    `reserve` and `done` leave the first eight fields as they are: the hot transitions rely on this order.
    """

    id: int
    topic: str
    priority: int
    name: str
    unique_key: str
    policy: Policy
    created_at: int
    reset_count: int
    status: Status
    cancel_reason: CancelReason | None
    run_at: int
    reserved_at: int
    generation: int
    deadline: int
    finished_at: int
    attempt: int
    retry_count: int
    note: str = ""
    last_error: str = ""
    result: bytes = b""
    headers: bytes = b""


LOG_LINES = 100
"""Lines that the log of a job keeps: the newest."""


class Entry(NamedTuple):
    """One line of the log of a job; at: nanoseconds since 1970."""

    job_id: int
    at: int
    message: str


class Log(NamedTuple):
    """The log of a job: how many older lines were dropped, and those that are kept, the oldest first."""

    dropped: int = 0
    entries: tuple[Entry, ...] = ()

    def plus(self, entry: Entry) -> Log:
        """The log with one more line, and without the oldest if that is one too many."""
        kept = (*self.entries, entry)
        excess = max(0, len(kept) - LOG_LINES)
        return Log(self.dropped + excess, kept[excess:])


class Place(NamedTuple):
    """Where a job waits: its rank (major, minor, id) in one ordering of its topic."""

    topic: str
    ordering: Ordering
    major: int
    minor: int
    id: int


class Hold(NamedTuple):
    """A unique key that a job holds. token: the storage's own name of the key; label: what a message says of it."""

    topic: str
    label: str
    token: Hashable
    id: int


class Quarantined(NamedTuple):
    """A record that was set aside because it could not be read; `record` is None as long as it cannot."""

    id: int
    record: Record | None
    problem: str


class LostPolicy(NamedTuple):
    """A policy that jobs name by number and that cannot be read, and the one that is to take its place."""

    number: int
    policy: Policy
    problem: str


Rank = tuple[int, int]
"""The (major, minor) up to which an ordering is due."""


class Total(IntEnum):
    """The running totals of a topic; WAIT and RUN are sums of nanoseconds."""

    ENQUEUED = 0
    RESERVED = 1
    DONE = 2
    RETRIED = 3
    EXPIRED = 4
    CANCELED = 5
    DEAD = 6
    WAIT = 7
    RUN = 8


_NO_NOW = (0,) * len(Ordering)
_NO_TOTALS = (0,) * len(Total)


class Tally:
    """What one transaction adds to a topic's counters."""

    __slots__ = ("enqueued_at", "now", "reserved_at", "totals")

    def __init__(self) -> None:
        self.now: list[int] = list(_NO_NOW)
        self.totals: list[int] = list(_NO_TOTALS)
        self.enqueued_at = 0
        self.reserved_at = 0


class TopicState(NamedTuple):
    """The counters of a topic: `now` by Ordering, `totals` by Total, and four instants (0 for never)."""

    paused: bool = False
    now: Sequence[int] = _NO_NOW
    totals: Sequence[int] = _NO_TOTALS
    first_enqueued_at: int = 0
    last_enqueued_at: int = 0
    first_reserved_at: int = 0
    last_reserved_at: int = 0

    def plus(self, tally: Tally) -> TopicState:
        """These counters after a transaction."""
        paused, a, t, first_enqueued, last_enqueued, first_reserved, last_reserved = self
        b, u, enqueued, reserved = tally.now, tally.totals, tally.enqueued_at, tally.reserved_at
        # Number by number: once a transaction, where map(add, …) takes 0.9 µs and this half.
        return _NEW(
            TopicState,
            (
                paused,
                (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5]),
                (
                    t[0] + u[0], t[1] + u[1], t[2] + u[2], t[3] + u[3], t[4] + u[4], t[5] + u[5], t[6] + u[6],
                    t[7] + u[7], t[8] + u[8],
                ),
                first_enqueued or enqueued,
                enqueued or last_enqueued,
                first_reserved or reserved,
                reserved or last_reserved,
            ),
        )  # fmt: skip

    def is_gone(self) -> bool:
        """Whether nothing is left to remember: no job in any status, and not paused."""
        return not self.paused and not any(self.now)


def policy_of(options: JobOptions) -> Policy:
    """The options in nanoseconds."""
    return Policy(
        duration(options.lease, "lease"),
        options.max_retries,
        duration(options.min_backoff, "min_backoff"),
        duration(options.max_backoff, "max_backoff"),
        options.jitter,
        _kept(options.keep_done),
        _kept(options.keep_canceled),
        _kept(options.keep_dead),
        options.log_status_change,
    )


def headers_of(record: Record) -> Mapping[str, str]:
    """The headers of a job, in a dict of their own."""
    headers: dict[str, str] = json.loads(record.headers) if record.headers else {}
    return headers


def options_of(policy: Policy) -> JobOptions:
    """The policy in seconds; the inverse of `policy_of`."""
    return JobOptions(
        lease=_seconds(policy.lease),
        max_retries=policy.max_retries,
        min_backoff=_seconds(policy.min_backoff),
        max_backoff=_seconds(policy.max_backoff),
        jitter=policy.jitter,
        keep_done=None if policy.keep_done is None else _seconds(policy.keep_done),
        keep_canceled=None if policy.keep_canceled is None else _seconds(policy.keep_canceled),
        keep_dead=None if policy.keep_dead is None else _seconds(policy.keep_dead),
        log_status_change=policy.log_status_change,
    )


def _kept(seconds: Seconds | None) -> int | None:
    return None if seconds is None else duration(seconds, "retention")


def _seconds(nanos: int) -> int | float:
    whole, rest = divmod(nanos, SECOND)
    return nanos / SECOND if rest else whole
