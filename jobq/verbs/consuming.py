"""Taking jobs from topics, and letting those go whose time is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jobq import lifecycle
from jobq.draft import Draft
from jobq.model.options import Limits
from jobq.model.records import Now, Place, Record, Total
from jobq.model.status import FINISHED_ORDERINGS, IN_DELAYED, IN_DONE, IN_READY, IN_RESERVED, Ordering, Status
from jobq.ports import UnitOfWork

SWEPT = 1_000
"""Jobs whose time is over that one sweep of a topic sees to."""


class Haul(NamedTuple):
    """What one attempt to reserve gave.

    due_in: nanoseconds until time makes another job available; None if it does not. again: nothing was taken, but only
    because this attempt spent its bound on jobs whose time was over.
    """

    taken: list[tuple[Record, bytes]]
    now: Now
    due_in: int | None = None
    again: bool = False


def reserve(draft: Draft, topics: Sequence[str], n: int, lease: int | None) -> Haul:
    """Take up to n Ready jobs, from the topics in the order given; one call's work is bounded by n."""
    taken: list[Record] = []
    turned = 0
    for topic in topics:
        state = draft.state(topic)
        if not state.paused:
            if state.now[IN_RESERVED] or state.now[IN_DELAYED]:
                turned += turn_due(draft, topic, max(n, 100))
            taken += _take(draft, topic, n - len(taken), lease)
            if len(taken) == n:
                break
    if not taken:
        again = turned + draft.orphans() > 0
        return Haul([], draft.now, None if again else due_in(draft.uow, topics), again)
    return Haul(list(zip(taken, draft.payloads([job.id for job in taken]), strict=True)), draft.now)


def due_in(uow: UnitOfWork, topics: Sequence[str]) -> int | None:
    """Nanoseconds until a job of these topics can be reserved, as far as time alone decides it; 0 if one can be now."""
    soonest = None
    for topic in topics:
        state = uow.topics.state(topic)
        if state is None or state.paused:
            continue
        for ordering in (IN_READY, IN_DELAYED, IN_RESERVED):
            if state.now[ordering]:
                for place in uow.topics.page(topic, ordering, None, 1):
                    at = lifecycle.available_at(place, uow.now)
                    if at is not None and (soonest is None or at < soonest):
                        soonest = at
    return None if soonest is None else max(0, soonest - uow.now.steady)


def retire(draft: Draft, topics: Iterable[str], n: int, limits: Limits) -> None:
    """Delete up to 2n + 8 finished jobs of each topic whose retention is over, and Done ones beyond `limits.done`."""
    for topic in topics:
        now = draft.state(topic).now
        bound = 2 * n + 8
        for ordering in FINISHED_ORDERINGS:
            if now[ordering] and bound > 0:
                places = over(draft, topic, ordering, bound)
                if ordering is IN_DONE and (excess := _excess(draft, topic, limits)) > len(places):
                    places = draft.uow.topics.page(topic, ordering, None, min(bound, excess))
                if places:
                    draft.discard(places)
                    bound -= len(places)


def _excess(draft: Draft, topic: str, limits: Limits) -> int:
    stored = draft.state(topic).now[IN_DONE]
    if stored + draft.changed() <= limits.done:
        return 0
    return stored + len(draft.drafted(topic, Status.DONE)) - limits.done


def first_overdue(uow: UnitOfWork, topics: Sequence[str]) -> str | None:
    """The first of the topics that holds a lease or a finished job whose time is over."""
    for topic in topics:
        for ordering in (IN_RESERVED, *FINISHED_ORDERINGS):
            if uow.topics.due(topic, ordering, lifecycle.due_rank(ordering, uow.now), 1):
                return topic
    return None


def sweep(draft: Draft, topic: str, limits: Limits) -> None:
    """Do for a topic, within bounds, what reserving from it would: see to its leases, delays and retention."""
    retire(draft, [topic], SWEPT, limits)
    turn_due(draft, topic, SWEPT)


def over(draft: Draft, topic: str, ordering: Ordering, n: int) -> list[Place]:
    """Up to n places of an ordering whose time has come."""
    return draft.uow.topics.due(topic, ordering, lifecycle.due_rank(ordering, draft.now), n)


def turn_due(draft: Draft, topic: str, bound: int) -> int:
    """Make up to `bound` jobs Ready whose lease is over (half of them at most) or whose time has come."""
    state = draft.state(topic)
    expired = over(draft, topic, IN_RESERVED, bound // 2) if state.now[IN_RESERVED] else []
    if expired:
        for job in draft.at([place for place in expired if not draft.has_touched(place.id)]):
            _expire(draft, job)
    due = over(draft, topic, IN_DELAYED, bound - len(expired)) if state.now[IN_DELAYED] else []
    if due:
        for job in draft.at([place for place in due if not draft.has_touched(place.id)]):
            draft.change(job, lifecycle.due(job))
    return len(expired) + len(due)


def _expire(draft: Draft, job: Record) -> None:
    after = lifecycle.expire(job, draft.now)
    draft.change(job, after)
    totals = draft.tally(job.topic).totals
    totals[Total.EXPIRED] += 1
    if after.finished_at:
        totals[Total.DEAD] += 1


def _take(draft: Draft, topic: str, n: int, lease: int | None) -> list[Record]:
    now, reserve, count, change = draft.now, lifecycle.reserve, lifecycle.count_reserved, draft.change
    ready = _ready(draft, topic, n)
    if not ready:
        return ready
    taken = []
    tally = draft.tally(topic)
    for job in ready:
        held = reserve(job, now, lease)
        change(job, held)
        count(tally, job, now)
        taken.append(held)
    return taken


def _ready(draft: Draft, topic: str, n: int) -> list[Record]:
    """The n first Ready jobs, with those that this draft itself made Ready in their places."""
    if draft.is_empty():
        return draft.at(draft.uow.topics.head(topic, n)) if draft.state(topic).now[IN_READY] else []
    drafted = draft.drafted(topic, Status.READY)
    left = draft.left_ready(topic)
    if not draft.state(topic).now[IN_READY] and not drafted:
        return []
    places = draft.uow.topics.head(topic, n + left)
    if drafted or left:
        places = [place for place in places if not draft.has_touched(place.id)]
        places = sorted(places + [lifecycle.place_of(job) for job in drafted])[:n]
    return draft.at(places)
