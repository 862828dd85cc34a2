"""The two invariants of the queue, checked directly on a storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from jobq.lifecycle import due_rank, held_key, place_of
from jobq.model.records import LOG_LINES, Hold, Place, Record
from jobq.model.status import Ordering, Status
from jobq.ports import Storage, UnitOfWork

PAGE = 7
"""Few enough that a test's queue takes several pages."""


def check_invariants(storage: Storage, keys: Iterable[tuple[str, str]] = ()) -> None:
    """Assert that places, counters and unique keys are those of the jobs, in one view of the whole storage.

    keys: (topic, unique key) pairs to look up besides those that jobs carry. Raises AssertionError.
    """
    storage.view(lambda uow: _check(uow, keys))


def dump(storage: Storage) -> dict[str, Any]:
    """All that a storage holds, to compare with another moment's."""
    return storage.view(_dump)


def all_records(uow: UnitOfWork) -> list[Record]:
    """Every job, by id."""
    records: list[Record] = []
    while page := uow.jobs.page(records[-1].id if records else 0, PAGE):
        records += page
    return records


def all_places(uow: UnitOfWork) -> list[Place]:
    """Every place, by topic, ordering and rank, as paging gives them."""
    return [place for topic in uow.topics.names() for ordering in Ordering for place in _paged(uow, topic, ordering)]


def all_holds(uow: UnitOfWork) -> list[Hold]:
    """Every unique key that is held, as paging gives them."""
    holds: list[Hold] = []
    while page := uow.jobs.holds(holds[-1] if holds else None, PAGE):
        holds += page
    return holds


def _paged(uow: UnitOfWork, topic: str, ordering: Ordering) -> Iterator[Place]:
    after = None
    while page := uow.topics.page(topic, ordering, after, PAGE):
        yield from page
        after = page[-1]


def _check(uow: UnitOfWork, keys: Iterable[tuple[str, str]]) -> None:
    records = all_records(uow)
    ids = [record.id for record in records]
    assert ids == sorted(set(ids)), "jobs page by id, each once"
    assert uow.jobs.get(ids) == records
    assert uow.jobs.ids(0, len(ids) + 1) == ids
    assert len(uow.jobs.payloads(ids)) == len(ids), "each job has a payload"
    assert all(len(log.entries) <= LOG_LINES for log in map(uow.jobs.logs, ids)), "a log has a bound"
    _check_places(uow, records)
    _check_counters(uow, records)
    _check_keys(uow, records, keys)


def _check_places(uow: UnitOfWork, records: list[Record]) -> None:
    places = all_places(uow)
    assert len(places) == len(records), "one place a job"
    assert places == sorted(map(place_of, records)), "the places are those of the jobs"
    assert uow.topics.used() == sorted({place.topic for place in places})
    assert all(uow.topics.taken(places))
    for topic in uow.topics.names():
        mine = [place for place in places if place.topic == topic]
        ready = [place for place in mine if place.ordering is Ordering.READY]
        assert uow.topics.head(topic, 3) == ready[:3]
        assert uow.topics.oldest_ready(topic) == min((place.minor for place in ready), default=None)
        for ordering in Ordering:
            until = due_rank(ordering, uow.now)
            due = [place for place in mine if place.ordering is ordering and (place.major, place.minor) <= until]
            assert uow.topics.due(topic, ordering, until, 3) == due[:3]
            assert uow.topics.count(topic, ordering) == sum(place.ordering is ordering for place in mine)


def _check_counters(uow: UnitOfWork, records: list[Record]) -> None:
    now = Counter((record.topic, place_of(record).ordering) for record in records)
    names = uow.topics.names()
    assert names == sorted(set(names))
    assert {record.topic for record in records} <= set(names)
    for topic in names:
        state = uow.topics.state(topic)
        assert state is not None, "a topic with a name has counters"
        assert not state.is_gone(), "a topic that is gone is forgotten"
        assert list(state.now) == [now[topic, ordering] for ordering in Ordering], "now is a recount"


def _check_keys(uow: UnitOfWork, records: list[Record], keys: Iterable[tuple[str, str]]) -> None:
    holders = {key: record.id for record in records if (key := held_key(record))}
    unfinished = [r for r in records if r.unique_key and r.status not in (Status.DONE, Status.CANCELED)]
    assert holders == {(r.topic, r.unique_key): r.id for r in unfinished}, "a unique key is held while unfinished"
    assert len(holders) == len(unfinished), "one holder a key"
    asked = list({*keys, *((record.topic, record.unique_key) for record in records if record.unique_key)})
    assert uow.jobs.by_key(asked) == [holders.get(key) for key in asked], "keys held are those of unfinished jobs"
    held = {uow.jobs.token(key): job_id for key, job_id in holders.items()}
    holds = all_holds(uow)
    assert {hold.token: hold.id for hold in holds} == held, "no other key is held"
    assert len(holds) == len(held), "holds page by key, each once"


def _dump(uow: UnitOfWork) -> dict[str, Any]:
    records = all_records(uow)
    keys = [(record.topic, record.unique_key) for record in records if record.unique_key]
    return {
        "records": records,
        "payloads": uow.jobs.payloads([record.id for record in records]),
        "logs": [uow.jobs.logs(record.id) for record in records],
        "holders": dict(zip(keys, uow.jobs.by_key(keys), strict=True)),
        "holds": [(hold.token, hold.id) for hold in all_holds(uow)],
        "places": all_places(uow),
        "topics": {name: uow.topics.state(name) for name in uow.topics.names()},
    }
