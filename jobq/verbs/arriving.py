"""What a move does in the storage that the jobs come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobq import lifecycle
from jobq.draft import Draft
from jobq.errors import ConfigError
from jobq.model.records import Record, Tally, TopicState
from jobq.ports import UnitOfWork
from jobq.verbs import marking
from jobq.verbs.leaving import Parcel, check_free
from jobq.verbs.marking import TOPIC, Arriving, Leaving

NAMED = 5
"""Topics or jobs that a message names."""
AHEAD = 1_000_000
"""Ids that the storage does not give, so that jobs enqueued in the other one during the move can have them.

Producers may have gone over to this one by then; but who holds a job there still, or sees to schedules, enqueues there.
"""


class There(NamedTuple):
    """The mark in the storage, if there is one, and in words what else it has."""

    mark: Arriving | None
    contents: str


def look(uow: UnitOfWork) -> There:
    """What the storage has."""
    mark = marking.arriving(uow)
    return There(mark, "" if mark is not None else _contents(uow))


def _contents(uow: UnitOfWork) -> str:
    """Whatever is in the storage, in words; "" if it is empty."""
    states = {topic: uow.topics.state(topic) or TopicState() for topic in uow.topics.names()}
    if states.get(TOPIC, TopicState()).now == TopicState().now:
        states.pop(TOPIC, None)  # paused still, as the mark of a move that was given up was canceled
    if states:
        more = f" and {len(states) - NAMED} more" if len(states) > NAMED else ""
        named = ", ".join(map(repr, list(states)[:NAMED]))
        return f"{sum(sum(state.now) for state in states.values())} jobs in the topics {named}{more}"
    if uow.topics.used() or uow.jobs.ids(0, 1) or uow.jobs.quarantined(0, 1):
        return "records that cannot be read: see verify"
    return ""


def receive(draft: Draft, mark: Leaving, here: str, source: str) -> Arriving:
    """Let a run of a move begin here. What no run is known to have deleted there is taken back: it comes again.

    mark: that of the other storage. here, source: the URLs of the storages.
    Raises ConfigError if the storage has something else, StorageError if a later run has begun.
    """
    there = look(draft.uow)
    found = there.mark
    if found is None:
        check_free(here, found, there.contents)
        reached = mark.id + AHEAD
        draft.uow.jobs.allocate(reached)
        found = Arriving(mark.id, mark.token, source, mark.run, reached=reached)
        marking.add(draft, found)
        return found
    if found.token != mark.token:
        check_free(here, found, "")
    if found.run > mark.run:
        marking.checked(found, mark.run)
    _take_back(draft, mark.stale if mark.batch == found.batch else found.ids)
    found = found._replace(run=mark.run, batch=mark.batch, ids=())
    marking.put(draft.uow, found)
    return found


def deliver(uow: UnitOfWork, run: int, number: int, parcels: Sequence[Parcel]) -> list[Record]:
    """Add the jobs of a batch, whose topics are paused from then on.

    Returns those that go without their unique key, since another job here holds it.
    Raises ConfigError if a job that is here has one of their ids.
    """
    mark = marking.checked(marking.arriving(uow), run)
    records = [parcel.record for parcel in parcels]
    _check_ids(uow, records)
    kept = _with_free_keys(uow, records)
    reached = max(mark.reached, records[-1].id)
    if reached > mark.reached:
        uow.jobs.allocate(reached - mark.reached)
    uow.jobs.add(kept, [parcel.payload for parcel in parcels])
    for parcel in parcels:
        if parcel.log.entries:
            uow.jobs.put_log(parcel.record.id, parcel.log)
    _place(uow, kept)
    marking.put(uow, mark._replace(batch=number, ids=[record.id for record in records], reached=reached))
    return [record for record, job in zip(records, kept, strict=True) if record != job]


def _check_ids(uow: UnitOfWork, records: Sequence[Record]) -> None:
    found = uow.jobs.get([record.id for record in records])
    strangers = [str(job.id) for job in found if job is not None]
    if strangers:
        named = ", ".join(strangers[:NAMED]) + (", …" if len(strangers) > NAMED else "")
        raise ConfigError(
            f"jobs were enqueued in both storages while they are moved, and have the same ids: {named}. Enqueue in one "
            "of them alone; cancel and delete these jobs in the one they are moved to, and run the move again"
        )


def _with_free_keys(uow: UnitOfWork, records: Sequence[Record]) -> list[Record]:
    keys = list({key for record in records if (key := lifecycle.held_key(record))})
    holders = dict(zip(keys, uow.jobs.by_key(keys), strict=True))
    kept = []
    for record in records:
        if key := lifecycle.held_key(record):
            if holders[key] is not None:
                record = record._replace(unique_key="")
            else:
                holders[key] = record.id
        kept.append(record)
    return kept


def _place(uow: UnitOfWork, records: Sequence[Record]) -> None:
    places = [lifecycle.place_of(record) for record in records]
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    for place in places:
        tallies[place.topic].now[place.ordering] += 1
    uow.topics.move([(None, place) for place in places])
    for topic, tally in tallies.items():
        uow.topics.pause(topic, True)
        uow.topics.tally(topic, tally)


def give_back(draft: Draft, run: int, ids: Sequence[int]) -> None:
    """Take back what was added of jobs that were not deleted in the other storage."""
    mark = marking.checked(marking.arriving(draft.uow), run)
    _take_back(draft, ids)
    marking.put(draft.uow, mark._replace(ids=()))


def _take_back(draft: Draft, ids: Sequence[int]) -> None:
    for job in draft.get(ids):
        if job is not None:
            draft.delete(job)


def open_topics(uow: UnitOfWork, run: int, moved: Mapping[str, TopicState], paused: Sequence[str], last: int) -> None:
    """Add the counters of the other storage to those here, and resume all topics but those that were paused there.

    last: the last id that the other storage gave.
    """
    mark = marking.checked(marking.arriving(uow), run)
    for topic in sorted({*uow.topics.names(), *moved} - {TOPIC}):
        state = uow.topics.state(topic) or TopicState()
        uow.topics.put_state(topic, _sum(state, moved.get(topic, TopicState()))._replace(paused=topic in paused))
    if last > mark.reached:
        uow.jobs.allocate(last - mark.reached)
    opened = {topic: counters(state) for topic, state in moved.items()}
    marking.put(uow, mark._replace(ids=(), reached=max(last, mark.reached), opened=opened))


def counters(state: TopicState) -> list[int]:
    """What a mark keeps of the counters of a topic."""
    return [*state.totals, *state[3:]]


def states_of(opened: Mapping[str, Sequence[int]]) -> dict[str, TopicState]:
    """The counters that a mark has kept."""
    return {topic: TopicState(False, (), numbers[:-4], *numbers[-4:]) for topic, numbers in opened.items()}


def _sum(here: TopicState, moved: TopicState) -> TopicState:
    return TopicState(
        here.paused,
        here.now,
        tuple([a + b for a, b in zip(here.totals, moved.totals, strict=True)]),
        min(filter(None, (here.first_enqueued_at, moved.first_enqueued_at)), default=0),
        max(here.last_enqueued_at, moved.last_enqueued_at),
        min(filter(None, (here.first_reserved_at, moved.first_reserved_at)), default=0),
        max(here.last_reserved_at, moved.last_reserved_at),
    )
