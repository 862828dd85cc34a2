"""The contract of what looks after a storage as a whole."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from jobq.errors import ConfigError, ServiceClosed
from jobq.ports import Storage
from jobq.testing.contract.scenes import OpenStorage, add, delete, get, payloads, request
from jobq.testing.invariants import check_invariants, dump


class UpkeepContract:
    """What a storage says of itself is true, and compacting changes nothing but how much room there is."""

    def test_it_says_where_it_is_and_how_much_is_there(self, open_storage: OpenStorage) -> None:
        one, other = open_storage(), open_storage()
        empty = one.info()
        assert (empty.url, empty.job_count, empty.topic_count) == (one.url, 0, 0)
        assert empty.kind
        first, *_ = add(one, request("a"), request("b"), request("b"))
        for storage in (one, other):
            assert (storage.info().job_count, storage.info().topic_count) == (3, 2)
        delete(other, first)
        assert (one.info().job_count, one.info().topic_count) == (2, 1)

    def test_what_it_says_can_be_shown_in_any_format(self, open_storage: OpenStorage) -> None:
        info = open_storage().info()
        shown = json.loads(json.dumps(asdict(info)))
        assert shown["kind"] == info.kind
        assert all(isinstance(name, str) and name.isidentifier() for name in info.details)

    def test_closed_it_says_no_more(self, open_storage: OpenStorage) -> None:
        storage = open_storage()
        storage.close()
        with pytest.raises(ServiceClosed):
            storage.info()

    def test_compacting_loses_nothing_or_says_why_there_is_nothing_to_do(self, open_storage: OpenStorage) -> None:
        one, other = open_storage(), open_storage()
        kept, *gone = add(one, *(request("t", b"p" * 1_000, unique_key=f"{number}") for number in range(50)))
        delete(one, *gone)
        before = dump(one)
        compact(one)
        for storage in (one, other):
            assert dump(storage) == before
            assert payloads(storage, kept) == [b"p" * 1_000]
            check_invariants(storage)

    def test_after_compacting_it_goes_on_and_gives_new_ids(self, open_storage: OpenStorage) -> None:
        one, other = open_storage(), open_storage()
        [first] = add(one, request())
        delete(one, first)
        compact(one)
        [second] = add(other, request())
        assert second.id > first.id
        compact(other)
        assert get(one, second.id) == [second]
        check_invariants(one)


def compact(storage: Storage) -> None:
    """Compact, if the storage has something to compact."""
    try:
        done = storage.compact()
    except ConfigError:  # the message of which says why, or what to do instead
        return
    assert done.before >= 0
    assert done.after >= 0
