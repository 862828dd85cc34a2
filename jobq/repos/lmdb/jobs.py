"""What each job is, on LMDB."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from itertools import islice

import lmdb

from jobq import codec, lifecycle
from jobq.errors import StorageCorrupt
from jobq.model.records import Record
from jobq.ports import Change
from jobq.repos.lmdb.environment import Databases
from jobq.repos.lmdb.policies import Policies

log = logging.getLogger("jobq")

_NEXT_ID = b"next_id"
PER_JOB = 300
"""Bytes that a job takes beyond its payload, about: its record, its place, and what pages leave free."""
_OVERFLOW = 2_000


def _in_pages(size: int) -> int:
    # LMDB gives a value of about half a page or more pages of its own.
    return size if size < _OVERFLOW else (size // 4096 + 1) * 4096


class LmdbJobs:
    """The JobRepository of one transaction: reads it, remembers what to write."""

    def __init__(self, txn: lmdb.Transaction[bytes], dbs: Databases, policies: Policies) -> None:
        self._txn = txn
        self._dbs = dbs
        self._policies = policies
        self._next_id: int | None = None
        self._added: list[tuple[Record, bytes]] = []
        self._changed: list[Change] = []
        self._payloads: list[tuple[int, bytes]] = []
        self._deleted: list[int] = []
        self._released: list[tuple[str, str]] = []
        self._unreadable: list[tuple[bytes, bytes]] = []

    def allocate(self, n: int) -> int:
        """See JobRepository."""
        if self._next_id is None:
            stored = self._txn.get(_NEXT_ID, db=self._dbs.meta)
            self._next_id = 1 if stored is None else codec.id_of(stored)
        first = self._next_id
        self._next_id += n
        return first

    def get(self, ids: Sequence[int]) -> list[Record | None]:
        """See JobRepository. A record that cannot be read is none, and goes to the quarantine."""
        get, jobs, key, decode = self._txn.get, self._dbs.jobs, codec.id_key, codec.decode_record
        policy_of = partial(self._policies.get, self._txn)
        found: list[Record | None] = []
        for job_id in ids:
            data = get(key(job_id), None, jobs) if 0 < job_id < 2**64 else None
            try:
                found.append(None if data is None else decode(job_id, data, policy_of))
            except StorageCorrupt as problem:
                log.error("%s; it is set aside", problem)
                self._unreadable.append((key(job_id), data or b""))
                found.append(None)
        return found

    def payloads(self, ids: Sequence[int]) -> list[bytes]:
        """See JobRepository."""
        get, payloads, key = self._txn.get, self._dbs.payloads, codec.id_key
        return [get(key(job_id), b"", payloads) for job_id in ids]

    def by_key(self, keys: Sequence[tuple[str, str]]) -> list[int | None]:
        """See JobRepository."""
        found = [self._txn.get(codec.unique_index_key(*key), db=self._dbs.keys) for key in keys]
        return [None if value is None else codec.id_of(value) for value in found]

    def page(self, after: int, n: int) -> list[Record]:
        """See JobRepository."""
        policy_of = partial(self._policies.get, self._txn)
        with self._txn.cursor(self._dbs.jobs) as cursor:
            if not cursor.set_range(codec.id_key(after + 1)):
                return []
            rows = islice(cursor.iternext(), n)
            return [codec.decode_record(codec.id_of(key), data, policy_of) for key, data in rows]

    def add(self, records: Sequence[Record], payloads: Sequence[bytes]) -> None:
        """See JobRepository."""
        self._added.extend(zip(records, payloads, strict=True))

    def put(self, changes: Sequence[Change]) -> None:
        """See JobRepository."""
        self._changed.extend(changes)

    def put_payload(self, job_id: int, payload: bytes) -> None:
        """See JobRepository."""
        self._payloads.append((job_id, payload))

    def delete(self, records: Sequence[Record]) -> None:
        """See JobRepository."""
        for record in records:
            self._deleted.append(record.id)
            if key := lifecycle.held_key(record):
                self._released.append(key)

    def discard(self, ids: Sequence[int]) -> None:
        """See JobRepository."""
        self._deleted.extend(ids)

    def new_bytes(self) -> int:
        """What new jobs and payloads come to in the file, about: room that settling jobs does not give back."""
        if not self._added and not self._payloads:
            return 0
        payloads = sum([_in_pages(len(payload)) for _, payload in self._added + self._payloads])
        return payloads + PER_JOB * len(self._added)

    def text_bytes(self) -> int:
        """What notes, errors and results of changed jobs come to, which can be left out where there is no room."""
        return sum([_in_pages(len(new.result) + len(new.last_error) + len(new.note)) for _, new in self._changed])

    def apply(self, *, lean: bool) -> None:
        """Write what was remembered; keys are given up before others are taken."""
        for job_key, data in self._unreadable:
            self._txn.put(job_key, data, db=self._dbs.quarantine)
            self._txn.delete(job_key, db=self._dbs.jobs)
        held = self._apply_changes(lean)
        self._apply_deletions()
        self._apply_additions(held)
        self._apply_keys(held)

    def _apply_changes(self, lean: bool) -> list[tuple[tuple[str, str], int]]:
        put, jobs, id_key = self._txn.put, self._dbs.jobs, codec.id_key
        encode, number = codec.encode_record, self._policies.number
        held: list[tuple[tuple[str, str], int]] = []
        for old, new in self._changed:
            put(id_key(new.id), encode(new, number(self._txn, new.policy), lean=lean), db=jobs)
            if old.unique_key and (key := lifecycle.held_key(old)) != (new_key := lifecycle.held_key(new)):
                if key:
                    self._released.append(key)
                if new_key:
                    held.append((new_key, new.id))
        return held

    def _apply_deletions(self) -> None:
        delete, jobs, payloads, id_key = self._txn.delete, self._dbs.jobs, self._dbs.payloads, codec.id_key
        for job_id in self._deleted:
            key = id_key(job_id)
            delete(key, db=jobs)
            delete(key, db=payloads)

    def _apply_additions(self, held: list[tuple[tuple[str, str], int]]) -> None:
        put, jobs, payloads, id_key = self._txn.put, self._dbs.jobs, self._dbs.payloads, codec.id_key
        encode, number = codec.encode_record, self._policies.number
        for record, payload in self._added:
            key = id_key(record.id)
            # A new id is above all others, so LMDB need not search for its page, and fills pages wholly.
            put(key, encode(record, number(self._txn, record.policy)), append=True, db=jobs)
            if payload:
                put(key, payload, append=True, db=payloads)
            if record.unique_key and (unique := lifecycle.held_key(record)):
                held.append((unique, record.id))
        for job_id, payload in self._payloads:
            if payload:
                put(id_key(job_id), payload, db=payloads)
            else:
                self._txn.delete(id_key(job_id), db=payloads)
        if self._next_id is not None:
            put(_NEXT_ID, id_key(self._next_id), db=self._dbs.meta)

    def _apply_keys(self, held: list[tuple[tuple[str, str], int]]) -> None:
        for key in self._released:
            self._txn.delete(codec.unique_index_key(*key), db=self._dbs.keys)
        for key, job_id in held:
            self._txn.put(codec.unique_index_key(*key), codec.id_key(job_id), db=self._dbs.keys)
