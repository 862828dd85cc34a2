"""How fast things go: from two looks at a queue to jobs a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jobq.cli.watching.sampling import Sample
from jobq.model.views import TopicStats

SMOOTH = 10.0
"""Seconds over which the mean of rates is taken."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Jobs a second: enqueued, done, and attempts that failed, be it by a retry, a lease that ran out or at the end.

    A lease that runs out at the last attempt counts as two failures, as it does in the totals of its topic.
    """

    enqueued: float
    done: float
    failed: float


def rates(older: Sample, newer: Sample) -> dict[str, Rates]:
    """The rates of each topic of the newer look; {} if no time has passed."""
    elapsed = newer.steady - older.steady
    if elapsed <= 0:
        return {}
    return {name: _rates(older.topics.get(name), stats, elapsed) for name, stats in newer.topics.items()}


def _rates(before: TopicStats | None, now: TopicStats, elapsed: float) -> Rates:
    started = (0, 0, 0) if before is None or is_begun_anew(before, now) else _totals(before)
    return Rates(*((number - start) / elapsed for start, number in zip(started, _totals(now), strict=True)))


def _totals(stats: TopicStats) -> tuple[int, int, int]:
    return stats.enqueued, stats.done, stats.retried + stats.expired + stats.dead


def is_begun_anew(before: TopicStats, now: TopicStats) -> bool:
    """Whether the topic was gone in between, totals and all."""
    return before.first_enqueued_at != now.first_enqueued_at or now.enqueued < before.enqueued


def total(of: Iterable[Rates]) -> Rates:
    """The rates of several topics together."""
    each = list(of)
    return Rates(*(sum(getattr(one, name) for one in each) for name in ("enqueued", "done", "failed")))


def rate(value: float | None) -> str:
    """Jobs a second, as 0, 0.25, 4.8 or 1,234; "-" for None."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if value < 1 else f"{value:.1f}"


class History:
    """The looks of the last SMOOTH seconds."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> None:
        """Take the newest look, and forget those that are too old, but one that spans the time."""
        samples = self._samples
        samples.append(sample)
        while len(samples) > 2 and samples[1].steady <= sample.steady - SMOOTH:
            samples.popleft()

    def last(self) -> Mapping[str, Rates]:
        """The rates of each topic since the look before; {} at the first."""
        return rates(self._samples[-2], self._samples[-1]) if len(self._samples) > 1 else {}

    def mean(self) -> Rates | None:
        """The mean rates of all topics together; None at the first look."""
        found = rates(self._samples[0], self._samples[-1]) if len(self._samples) > 1 else {}
        return total(found.values()) if found else None
