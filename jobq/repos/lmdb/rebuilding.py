"""What follows from the jobs of a directory, built anew from them: places, and how many there are of each.

`topics=memory` keeps places in the memory of one process, which builds them as it opens; who opens the directory
plainly after that has them built in LMDB again. A backup copies no places either, and has them built in its copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import lmdb

from jobq import codec
from jobq.errors import StorageCorrupt
from jobq.lifecycle import place_of
from jobq.model.records import Place, Record, TopicState
from jobq.model.status import Ordering
from jobq.repos.lmdb.databases import Databases
from jobq.repos.lmdb.places import LmdbPlaces
from jobq.repos.lmdb.policies import Policies
from jobq.repos.places import PlaceIndex

PAGE = 5_000
"""Jobs that one transaction sees to."""

Counts = Counter[tuple[str, Ordering]]


def places_in_memory(env: lmdb.Environment, dbs: Databases, policies: Policies) -> PlaceIndex:
    """The places of all jobs; those in LMDB go, as they are not kept up any more. About 7 µs a job."""
    _drop_places(env, dbs)
    counted: Counts = Counter()
    index = PlaceIndex(place for page in _pages(env, dbs, policies) for place in _counted(page[1], counted))
    with env.begin(write=True) as txn:
        _recount(txn, dbs, counted)
    return index


def places_in_lmdb(
    env: lmdb.Environment,
    dbs: Databases,
    policies: Policies,
    also: Callable[[lmdb.Transaction[bytes], list[Record]], object] = lambda txn, records: None,
) -> None:
    """Put the places of all jobs into LMDB. If it is interrupted, it is to be done from the start.

    also: what else is to be done with the jobs of each transaction.
    """
    _drop_places(env, dbs)
    counted: Counts = Counter()
    for txn, page in _pages(env, dbs, policies):
        LmdbPlaces(txn, dbs).move([(None, place) for place in sorted(_counted(page, counted))])
        also(txn, page)
    with env.begin(write=True) as txn:
        _recount(txn, dbs, counted)


def _records_behind(
    txn: lmdb.Transaction[bytes], dbs: Databases, policies: Policies, after: int
) -> tuple[list[Record], int]:
    """The next PAGE records, and the id to go on behind, 0 at the end; those that cannot be read are set aside."""
    records: list[Record] = []
    last = 0
    with txn.cursor(dbs.jobs) as cursor:
        rows = list(islice(cursor.iternext(), PAGE)) if cursor.set_range(codec.id_key(after + 1)) else []
    for key, data in rows:
        last = codec.id_of(key)
        try:
            records.append(codec.decode_record(last, data, lambda number: policies.get(txn, number)))
        except StorageCorrupt:
            txn.put(key, data, db=dbs.quarantine)
            txn.delete(key, db=dbs.jobs)
    return records, last


def _recount(txn: lmdb.Transaction[bytes], dbs: Databases, counted: Counts) -> None:
    """See that the counters are those of the jobs, as they are already if nothing was set aside."""
    with txn.cursor(dbs.topics) as cursor:
        stored = {key.decode(): value for key, value in cursor}
    for topic in {*stored, *(topic for topic, _ in counted)}:
        try:
            before = codec.decode_state(topic, stored[topic]) if topic in stored else TopicState()
        except StorageCorrupt:
            continue  # for verify to report
        state = before._replace(now=tuple(counted[topic, ordering] for ordering in Ordering))
        if state.is_gone():
            txn.delete(topic.encode(), db=dbs.topics)
        elif state != before:
            txn.put(topic.encode(), codec.encode_state(state), db=dbs.topics)


def _pages(
    env: lmdb.Environment, dbs: Databases, policies: Policies
) -> Iterator[tuple[lmdb.Transaction[bytes], list[Record]]]:
    last = 0
    while True:
        with env.begin(write=True) as txn:
            records, last = _records_behind(txn, dbs, policies, last)
            yield txn, records
        if not last:
            return


def _counted(records: list[Record], counted: Counts) -> list[Place]:
    places = [place_of(record) for record in records]
    counted.update((place.topic, place.ordering) for place in places)
    return places


def _drop_places(env: lmdb.Environment, dbs: Databases) -> None:
    with env.begin(write=True) as txn:
        for db in dbs.orderings:
            if txn.stat(db)["entries"]:
                txn.drop(db, delete=False)
