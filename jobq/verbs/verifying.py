"""Comparing places, unique keys and counters with the jobs, which are the truth, and mending what differs.

A check looks at a page of things within one unit of work, so that what it compares belongs to one moment. Told to mend,
it also writes what makes them equal. It reads all of it itself, whatever an earlier check found.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from jobq import lifecycle
from jobq.errors import StorageCorrupt
from jobq.model.records import Hold, Place, Policy, Record, Tally, TopicState
from jobq.model.status import Ordering
from jobq.model.views import Difference, DifferenceKind
from jobq.ports import Move, UnitOfWork

PAGE = 1_000
"""Jobs, places or keys that one check looks at."""


class Finding(NamedTuple):
    """A difference. about: equal for two findings of the same one, which may be met from both sides.

    can_mend: whether a check that is told to mends it.
    """

    kind: DifferenceKind
    topic: str | None
    job_id: int | None
    message: str
    about: Hashable
    can_mend: bool = True

    def difference(self, *, repaired: bool) -> Difference:
        """What users see of it."""
        return Difference(self.kind, self.topic, self.job_id, self.message, repaired and self.can_mend)


class Checked(NamedTuple):
    """What a check found, how many things it looked at, and behind which to go on; None at the end."""

    findings: list[Finding]
    seen: int = 0
    last: Hashable = None


# -- what jobs share, and what was set aside ---------------------------------------------------------------------------


def policies(uow: UnitOfWork, known: Sequence[Policy], *, mend: bool) -> Checked:
    """The options that jobs share can be read."""
    lost = uow.jobs.lost_policies(known)
    if mend:
        uow.jobs.mend_policies(lost)
    return Checked([Finding("policy", None, None, policy.problem, ("policy", policy.number)) for policy in lost])


def quarantine(uow: UnitOfWork, after: int, *, mend: bool) -> Checked:
    """Nothing is set aside; what can be read again becomes a job again."""
    page = uow.jobs.quarantined(after, PAGE)
    again = [one.record for one in page if one.record is not None]
    homes = [lifecycle.place_of(job) for job in again]
    if mend:
        uow.jobs.restore([job.id for job in again])
        uow.topics.move([(None, home) for home in homes])
        _recount(uow, homes, 1)
    findings = []
    for job_id, record, problem in page:
        why = "it can be read again" if record is not None else problem
        message = f"job {job_id} was set aside, as its record could not be read: {why}"
        topic = None if record is None else record.topic
        findings.append(Finding("quarantined", topic, job_id, message, ("place", job_id), record is not None))
    return Checked(findings, len(page), page[-1].id if len(page) == PAGE else None)


# -- places ------------------------------------------------------------------------------------------------------------


def places(uow: UnitOfWork, topic: str, ordering: Ordering, after: Place | None, *, mend: bool) -> Checked:
    """Each place of an ordering is that of a job."""
    page = uow.topics.page(topic, ordering, after, PAGE)
    found = zip(page, uow.jobs.get([place.id for place in page]), strict=True)
    strays = [(place, job) for place, job in found if job is None or lifecycle.place_of(job) != place]
    homes = [lifecycle.place_of(job) for _, job in strays if job is not None]
    homeless = {home.id: home for home, is_taken in zip(homes, uow.topics.taken(homes), strict=True) if not is_taken}
    moves: list[Move] = [(place, homeless.pop(place.id, None)) for place, _ in strays]
    findings = [_stray(uow, place, job, home) for (place, job), (_, home) in zip(strays, moves, strict=True)]
    if mend:
        uow.topics.move(moves)
        _recount(uow, [place for place, job in strays if job is None and _is_there(uow, place.id)], -1)
    return Checked(findings, len(page), page[-1] if len(page) == PAGE else None)


def _stray(uow: UnitOfWork, place: Place, job: Record | None, home: Place | None) -> Finding:
    if job is None and _is_there(uow, place.id):
        return _unreadable(uow, place.id, place.topic)
    status = place.ordering.name.lower()
    where = f"{status} in topic {place.topic!r}"
    if job is None:
        message = f"a place says that job {place.id} is {where}, and there is no such job"
    elif home is None:
        message = f"job {place.id} has a second place, {where}: it is {_described(job)}"
    else:
        message = f"the place of job {place.id} is wrong ({where}, {place[2:4]}): it is {_described(job)}"
    return Finding("place", place.topic, place.id, message, place if home is None else ("place", place.id))


def _recount(uow: UnitOfWork, places: Iterable[Place], by: int) -> None:
    """Count jobs that come back, or are set aside, with their places."""
    for topic, ordering in [place[:2] for place in places]:
        tally = Tally()
        tally.now[ordering] = by
        with suppress(StorageCorrupt):
            uow.topics.tally(topic, tally)


def _is_there(uow: UnitOfWork, job_id: int) -> bool:
    return uow.jobs.ids(job_id - 1, 1) == [job_id]


def _unreadable(uow: UnitOfWork, job_id: int, topic: str | None) -> Finding:
    message = f"{uow.jobs.problem(job_id)}; repairing sets it aside"
    return Finding("unreadable", topic, job_id, message, ("unreadable", job_id))


def _described(job: Record) -> str:
    return f"{job.status.value} in topic {job.topic!r}"


# -- jobs --------------------------------------------------------------------------------------------------------------


def jobs(uow: UnitOfWork, after: int, *, mend: bool) -> Checked:
    """Each job can be read, has its place, and holds its unique key while it is unfinished."""
    ids = uow.jobs.ids(after, PAGE)
    found = uow.jobs.get(ids)
    records = [job for job in found if job is not None]
    findings = [_unreadable(uow, job_id, None) for job_id, job in zip(ids, found, strict=True) if job is None]
    findings += _missing_places(uow, records, mend=mend)
    findings += _missing_keys(uow, records, mend=mend)
    return Checked(findings, len(ids), ids[-1] if len(ids) == PAGE else None)


def _missing_places(uow: UnitOfWork, records: Sequence[Record], *, mend: bool) -> Iterable[Finding]:
    homes = [lifecycle.place_of(job) for job in records]
    found = zip(records, homes, uow.topics.taken(homes), strict=True)
    missing = [(job, home) for job, home, is_taken in found if not is_taken]
    if mend:
        uow.topics.move([(None, home) for _, home in missing])
    for job, _ in missing:
        message = f"job {job.id} is {_described(job)}, but has no place there"
        yield Finding("place", job.topic, job.id, message, ("place", job.id))


def _missing_keys(uow: UnitOfWork, records: Sequence[Record], *, mend: bool) -> Iterable[Finding]:
    """The keys that are not held by their jobs; of two jobs with one key that with the lower id keeps it."""
    keyed = [(job, key) for job in records if (key := lifecycle.held_key(job))]
    holders = dict(zip([key for _, key in keyed], uow.jobs.by_key([key for _, key in keyed]), strict=True))
    for job, key in keyed:
        holder = holders[key]
        if holder == job.id:
            continue
        [rival] = [None] if holder is None else uow.jobs.get([holder])
        if rival is not None and lifecycle.held_key(rival) == key:
            keeper, loser = sorted([job, rival])
            if mend:
                uow.jobs.put([(loser, loser._replace(unique_key=""))])
            yield _shared(keeper, loser)
        else:
            keeper = job
            yield _not_held(uow, job, holder)
        holders[key] = keeper.id
        if mend:
            uow.jobs.hold(key, keeper.id)


def _shared(keeper: Record, loser: Record) -> Finding:
    message = (
        f"jobs {keeper.id} and {loser.id} of topic {loser.topic!r} are both unfinished with the unique key "
        f"{loser.unique_key!r}: job {keeper.id} keeps it, and job {loser.id} goes on without one"
    )
    return Finding("unique_key", loser.topic, loser.id, message, ("shared", keeper.id, loser.id))


def _not_held(uow: UnitOfWork, job: Record, holder: int | None) -> Finding:
    message = f"job {job.id} of topic {job.topic!r} does not hold its unique key {job.unique_key!r}"
    if holder is not None:
        message += f": it is held by job {holder}, {_why_not(uow, holder)}"
    token = uow.jobs.token((job.topic, job.unique_key))
    return Finding("unique_key", job.topic, job.id, message, ("key", token))


# -- unique keys -------------------------------------------------------------------------------------------------------


def keys(uow: UnitOfWork, after: Hold | None, *, mend: bool) -> Checked:
    """Each unique key that is held is held by its job."""
    page = uow.jobs.holds(after, PAGE)
    found = zip(page, uow.jobs.get([hold.id for hold in page]), strict=True)
    strays = [hold for hold, job in found if not _is_its(uow, hold, job)]
    if mend:
        uow.jobs.unhold([hold.token for hold in strays])
    findings = []
    for hold in strays:
        message = (
            f"the unique key {hold.label} of topic {hold.topic!r} is held by job {hold.id}, {_why_not(uow, hold.id)}"
        )
        findings.append(Finding("unique_key", hold.topic, hold.id, message, ("key", hold.token)))
    return Checked(findings, len(page), page[-1] if len(page) == PAGE else None)


def _is_its(uow: UnitOfWork, hold: Hold, job: Record | None) -> bool:
    key = None if job is None else lifecycle.held_key(job)
    return key is not None and uow.jobs.token(key) == hold.token


def _why_not(uow: UnitOfWork, holder: int) -> str:
    [job] = uow.jobs.get([holder])
    if job is not None:
        return f"which is {job.status.value}" if job.finished_at else "whose key it is not"
    if _is_there(uow, holder):
        return "whose record cannot be read"
    is_aside = [one.id for one in uow.jobs.quarantined(holder - 1, 1)] == [holder]
    return "which is set aside" if is_aside else "which is not there"


# -- counters ----------------------------------------------------------------------------------------------------------


def counters(uow: UnitOfWork, topic: str, *, mend: bool) -> Checked:
    """A topic has counters as long as it has jobs or is paused, and `now` is what a recount gives."""
    counted = tuple(uow.topics.count(topic, ordering) for ordering in Ordering)
    total = sum(counted)
    try:
        state = uow.topics.state(topic)
        problem = f"topic {topic!r} has {total} jobs, but no counters: its totals begin anew" if total else ""
    except StorageCorrupt:
        state = None
        problem = f"the counters of topic {topic!r} cannot be read: its totals begin anew, and it is not paused"
    if state is None:
        return _differs("topic", uow, topic, problem, TopicState(now=counted), mend=mend) if problem else Checked([])
    if tuple(state.now) != counted:
        named = [
            f"{ordering.name.lower()} {state.now[ordering]} where there are {counted[ordering]}"
            for ordering in Ordering
            if state.now[ordering] != counted[ordering]
        ]
        problem = f"the counters of topic {topic!r} are wrong: {', '.join(named)}"
        return _differs("count", uow, topic, problem, state._replace(now=counted), mend=mend)
    if state.is_gone():
        return _differs("topic", uow, topic, f"topic {topic!r} is empty and should be gone", state, mend=mend)
    return Checked([])


def _differs(
    kind: DifferenceKind, uow: UnitOfWork, topic: str, problem: str, state: TopicState, *, mend: bool
) -> Checked:
    if mend:
        uow.topics.put_state(topic, state)
    return Checked([Finding(kind, topic, None, problem, (kind, topic))])
