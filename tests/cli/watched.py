"""Looks at queues that were never there, for what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jobq import JobInfo, Status, TopicStats
from jobq.cli.watching.sampling import Sample

NOW = datetime(2030, 1, 31, 12, 5, 1, tzinfo=UTC)


def stats(topic: str = "mail", now: dict[str, int] | None = None, **counters: Any) -> TopicStats:
    """The counters of a topic; all zero but for these. now: jobs by status."""
    zero: dict[str, Any] = dict.fromkeys(
        (
            *("dead_letters", "enqueued", "reserved", "done", "retried", "expired", "canceled", "dead"),
            *("total_wait", "total_run"),
        ),
        0,
    )
    none: dict[str, Any] = dict.fromkeys(
        ("first_reserved_at", "last_reserved_at", "oldest_ready_age", "mean_wait", "mean_run")
    )
    began: dict[str, Any] = dict.fromkeys(("first_enqueued_at", "last_enqueued_at"), NOW - timedelta(days=1))
    counts = {status: (now or {}).get(status.value, 0) for status in Status}
    return TopicStats(topic=topic, now=counts, **(zero | none | began | {"paused": False} | counters))


def sample(*topics: TopicStats, after: float = 0.0, running: Sequence[JobInfo] = ()) -> Sample:
    """A look at these topics, so many seconds after the first."""
    return Sample(NOW + timedelta(seconds=after), 100.0 + after, {one.topic: one for one in topics}, running)
