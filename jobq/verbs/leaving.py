"""What a move does in the storage that the jobs leave."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from jobq import lifecycle
from jobq.draft import Draft
from jobq.errors import ConfigError, StorageCorrupt
from jobq.model.records import Entry, Log, Place, Record, TopicState, Total
from jobq.model.status import IN_RESERVED, Status
from jobq.ports import UnitOfWork
from jobq.verbs import marking
from jobq.verbs.marking import TOPIC, Arriving, Leaving

log = logging.getLogger("jobq")

JOBS = 1_000
"""Jobs of a batch, at the most."""
SIZE = 8 * 2**20
"""Bytes of payloads and texts after which a batch ends."""
CHUNK = 16
"""Jobs whose payloads are read at once, so that a batch of huge ones passes its size by a few of them only."""


class Parcel(NamedTuple):
    """A job with all that belongs to it."""

    record: Record
    payload: bytes
    log: Log

    def size(self) -> int:
        """Its bytes, about."""
        record = self.record
        texts = len(record.last_error) + len(record.note) + len(record.result)
        return len(self.payload) + texts + sum([len(entry.message) for entry in self.log.entries])


class Batch(NamedTuple):
    """Jobs that can go now. last: the id to go on behind; None at the end.

    held: the topics of others that are Reserved. behind: whether there are some of topics that are not paused.
    """

    parcels: list[Parcel]
    last: int | None
    held: set[str]
    behind: bool


class Look(NamedTuple):
    """What the storage has still.

    left: jobs, by the counters. unpaused: the topics that are not paused. reserved: how many Reserved jobs a topic has.
    overdue: the topics with a lease that is over. due_in: in how many nanoseconds the next one will be.
    """

    left: int
    unpaused: list[str]
    reserved: dict[str, int]
    overdue: list[str]
    due_in: int | None


# -- beginning ---------------------------------------------------------------------------------------------------------


def has_nothing(uow: UnitOfWork) -> bool:
    """Whether there is nothing to move: no job that can be read, the mark included, and no topic paused without any."""
    if uow.jobs.page(0, 1):
        return False
    return not any(state.paused and not any(state.now) for state in _states(uow).values())


def begin(draft: Draft, here: str, there: str, found: Arriving | None, contents: str, token: str) -> Leaving:
    """Begin a move, or another run of it; all topics are paused from then on.

    here, there: the URLs of the storages. found, contents: the mark in the other storage, and what else it has.
    token: for a new move. Raises ConfigError if it may not begin.
    """
    if (other := marking.arriving(draft.uow)) is not None:
        raise ConfigError(f"jobs are still being moved to {here} {_unfinished(other, here)}")
    mark = marking.leaving(draft.uow)
    if mark is None:
        check_free(there, found, contents)
        states = _states(draft.uow)
        paused = [topic for topic, state in states.items() if state.paused]
        mark = Leaving(draft.uow.jobs.allocate(1), token, there, paused)
        for topic in states:
            draft.uow.topics.pause(topic, True)
        marking.add(draft, mark)
        return mark
    _check_same(mark, here, there, found)
    if found is None:
        check_free(there, found, contents)
    mark = mark._replace(run=mark.run + 1)
    marking.put(draft.uow, mark)
    return mark


def check_free(there: str, found: Arriving | None, contents: str) -> None:
    """Refuse to move jobs to a storage that is in use. Raises ConfigError."""
    if found is not None:
        raise ConfigError(f"jobs of another move are on their way to {there} {_unfinished(found, there)}")
    if contents:
        raise ConfigError(f"{there} is not empty: it has {contents}. Jobs can be moved to an empty storage only")


def _check_same(mark: Leaving, here: str, there: str, found: Arriving | None) -> None:
    give_up = f"cancel job {mark.id} of topic {TOPIC!r} in {here}, resume its topics, and begin anew"
    if found is None and mark.url == there:
        if mark.batch:
            raise ConfigError(
                f"a move of {here} to {there} was begun, and jobs have gone there, but {there} does not know of it: "
                f"give the storage that they went to; if it is lost, {give_up}"
            )
    elif found is None or found.token != mark.token:
        raise ConfigError(
            f"a move of {here} to {mark.url} was begun: run that one again until it ends, and move the jobs on from "
            f"there; if {mark.url} is lost, {give_up}"
        )


def _unfinished(mark: Arriving, where: str) -> str:
    return (
        f"from {mark.url}: run that move again until it ends; if nothing is left to come, "
        f"cancel job {mark.id} of topic {TOPIC!r} in {where}, and resume its topics"
    )


def withdraw(draft: Draft, mark: Leaving) -> None:
    """Undo the beginning of a move that the other storage refused."""
    if marking.checked(marking.leaving(draft.uow), mark.run).batch == 0:
        marking.remove(draft, mark, mark.token)
        for topic in _states(draft.uow):
            if topic not in mark.paused:
                draft.uow.topics.pause(topic, False)


# -- on the way --------------------------------------------------------------------------------------------------------


def look(uow: UnitOfWork) -> Look:
    """What the storage has still."""
    states = _states(uow)
    reserved = {topic: state.now[IN_RESERVED] for topic, state in states.items() if state.now[IN_RESERVED]}
    firsts = [place for topic in reserved for place in uow.topics.page(topic, IN_RESERVED, None, 1)]
    waits = {place.topic: _wait(uow, place) for place in firsts}
    return Look(
        left=sum(sum(state.now) for state in states.values()),
        unpaused=[topic for topic, state in states.items() if not state.paused],
        reserved=reserved,
        overdue=[topic for topic, wait in waits.items() if wait == 0],
        due_in=min(waits.values(), default=None),
    )


def _wait(uow: UnitOfWork, place: Place) -> int:
    at = lifecycle.available_at(place, uow.now)
    return 0 if at is None else max(0, at - uow.now.steady)


def pause(draft: Draft, run: int, topics: Sequence[str]) -> None:
    """Hand out no more jobs of these topics."""
    marking.checked(marking.leaving(draft.uow), run)
    for topic in topics:
        draft.uow.topics.pause(topic, True)


def take(draft: Draft, run: int, topic: str, n: int) -> int:
    """Take up to n Reserved jobs from their holders; returns how many."""
    marking.checked(marking.leaving(draft.uow), run)
    jobs = draft.at(draft.uow.topics.page(topic, IN_RESERVED, None, n))
    for job in jobs:
        draft.change(job, lifecycle.release(job, draft.now))
    return len(jobs)


def batch(uow: UnitOfWork, mark_id: int, after: int) -> Batch:
    """The next jobs behind the id `after`, but for the mark: those of paused topics that are not Reserved."""
    found = uow.jobs.page(after, JOBS)
    last = found[-1].id if len(found) == JOBS else None
    records = [record for record in found if record.id != mark_id]
    are_paused = {topic: _is_paused(uow, topic) for topic in {record.topic for record in records}}
    paused = [record for record in records if are_paused[record.topic]]
    going = [record for record in paused if record.status is not Status.RESERVED]
    parcels: list[Parcel] = []
    size = 0
    for begin in range(0, len(going), CHUNK):
        packed = list(_packed(uow, going[begin : begin + CHUNK]))
        parcels += packed
        size += sum(parcel.size() for parcel in packed)
        if size >= SIZE and begin + CHUNK < len(going):
            last = packed[-1].record.id
            break
    held = {record.topic for record in paused if record.status is Status.RESERVED}
    return Batch(parcels, last, held, len(paused) < len(records))


def _is_paused(uow: UnitOfWork, topic: str) -> bool:
    state = uow.topics.state(topic)
    if state is None:
        raise StorageCorrupt(f"topic {topic!r} has jobs, but no counters: verify(repair=True) mends that")
    return state.paused


def _packed(uow: UnitOfWork, records: Sequence[Record]) -> Iterator[Parcel]:
    payloads = uow.jobs.payloads([record.id for record in records])
    for record, payload in zip(records, payloads, strict=True):
        yield Parcel(record, payload, _log_of(uow, record.id))


def _log_of(uow: UnitOfWork, job_id: int) -> Log:
    try:
        return uow.jobs.logs(job_id)
    except StorageCorrupt as problem:  # which is no reason to leave the job behind, and with it the whole move
        log.warning("job %d goes without its log: %s", job_id, problem)
        return Log(0, (Entry(job_id, uow.now.wall, f"its log was left behind in a move: {problem}"),))


def forget(draft: Draft, run: int, number: int, parcels: Sequence[Parcel]) -> list[int]:
    """Delete the jobs of a batch that are still as they were read; returns the ids of the others.

    Those were changed or deleted meanwhile, and what was added of them to the other storage is not to stay.
    """
    mark = marking.checked(marking.leaving(draft.uow), run)
    found = draft.get([parcel.record.id for parcel in parcels])
    same = [parcel for parcel, job in zip(parcels, found, strict=True) if job == parcel.record]
    # A record may stay the same where a payload was replaced, which takes a unique key.
    keyed = [parcel for parcel in same if lifecycle.held_key(parcel.record)]
    payloads = draft.payloads([parcel.record.id for parcel in keyed])
    replaced = {parcel.record.id for parcel, now in zip(keyed, payloads, strict=True) if now != parcel.payload}
    going = [parcel.record for parcel in same if parcel.record.id not in replaced]
    for record in going:
        draft.delete(record)
    stale = sorted({parcel.record.id for parcel in parcels} - {record.id for record in going})
    marking.put(draft.uow, mark._replace(batch=number, stale=stale))
    return stale


# -- ending ------------------------------------------------------------------------------------------------------------


def last_counters(uow: UnitOfWork, mark_id: int) -> dict[str, TopicState] | None:
    """The counters of all topics, once there is no job any more but the mark and what cannot be read; else None."""
    if any(record.id != mark_id for record in uow.jobs.page(0, 2)):
        return None
    return _states(uow)


def leave(uow: UnitOfWork, run: int, moved: Mapping[str, TopicState]) -> None:
    """Take from the counters what the other storage has of them now; topics without jobs go.

    Where jobs were enqueued behind the move, their topics stay, as they were before it.
    """
    mark = marking.checked(marking.leaving(uow), run)
    if mark.is_over:
        return
    for topic, state in _states(uow).items():
        if topic in moved:
            stays_paused = topic in mark.paused and any(state.now)
            uow.topics.put_state(topic, _rest(state, moved[topic])._replace(paused=stays_paused))
    marking.put(uow, mark._replace(is_over=True))


def _rest(state: TopicState, moved: TopicState) -> TopicState:
    totals = tuple([max(0, now - then) for now, then in zip(state.totals, moved.totals, strict=True)])
    enqueued_at = state.last_enqueued_at if totals[Total.ENQUEUED] else 0
    reserved_at = state.last_reserved_at if totals[Total.RESERVED] else 0
    return TopicState(False, state.now, totals, enqueued_at, enqueued_at, reserved_at, reserved_at)


def remains(uow: UnitOfWork) -> tuple[int, int]:
    """How many jobs are there that can be read, and how many that cannot, those in the quarantine among them."""
    readable = unreadable = 0
    ids, aside = uow.jobs.ids(0, JOBS), uow.jobs.quarantined(0, JOBS)
    while ids:
        found = uow.jobs.get(ids)
        readable += len(found) - found.count(None)
        unreadable += found.count(None)
        ids = uow.jobs.ids(ids[-1], JOBS)
    while aside:
        unreadable += len(aside)
        aside = uow.jobs.quarantined(aside[-1].id, JOBS)
    return readable, unreadable


def _states(uow: UnitOfWork) -> dict[str, TopicState]:
    """The counters of all topics but that of the marks."""
    states = {topic: uow.topics.state(topic) for topic in uow.topics.names() if topic != TOPIC}
    return {topic: state for topic, state in states.items() if state is not None}
