"""The contract of what looks after a storage as a whole."""

from __future__ import annotations

from jobq.errors import ConfigError
from jobq.ports import Storage
from jobq.testing.contract.scenes import OpenStorage, add, delete, get, payloads, request
from jobq.testing.invariants import check_invariants, dump


class UpkeepContract:
    """Compacting changes nothing but how much room there is."""

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
