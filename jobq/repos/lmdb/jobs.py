"""What each job is, on LMDB."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from functools import partial
from itertools import islice
from typing import cast

import lmdb

from jobq import codec, lifecycle
from jobq.errors import StorageCorrupt
from jobq.model.records import Entry, Hold, Log, LostPolicy, Policy, Quarantined, Record
from jobq.ports import Change
from jobq.repos.lmdb import dirty, logs
from jobq.repos.lmdb.databases import Databases
from jobq.repos.lmdb.known import Known
from jobq.repos.lmdb.policies import Policies

log = logging.getLogger("jobq")

NEXT_ID = b"next_id"
_ID_SIZE = 8
_LAST_ID = 2 ** (8 * _ID_SIZE) - 1
PER_JOB = 300
"""Bytes that a job takes beyond its payload, about: its record, its place, and what pages leave free."""
PER_LINE = 60
"""Bytes that a line of a log takes beyond its message, about."""
_OVERFLOW = 2_000


def next_id(txn: lmdb.Transaction[bytes], dbs: Databases) -> int:
    """The first id that was not given yet."""
    stored = txn.get(NEXT_ID, db=dbs.meta)
    return 1 if stored is None else codec.id_of(stored)


def _ids_behind(txn: lmdb.Transaction[bytes], db: lmdb._Database, after: int, n: int) -> list[int]:
    with txn.cursor(db) as cursor:
        if after >= _LAST_ID or not cursor.set_range(codec.id_key(max(0, after + 1))):
            return []
        keys = cursor.iternext(values=False)
        return list(islice((codec.id_of(key) for key in keys if len(key) == _ID_SIZE), n))


def in_pages(size: int) -> int:
    """What a value of this size takes: LMDB gives one of about half a page or more pages of its own."""
    return size if size < _OVERFLOW else (size // 4096 + 1) * 4096


class LmdbJobs:
    """The JobRepository of one transaction: reads it, remembers what to write."""

    def __init__(
        self, txn: lmdb.Transaction[bytes], dbs: Databases, policies: Policies, known: Known | None = None
    ) -> None:
        self._txn = txn
        self._dbs = dbs
        self._policies = policies
        self._known = known
        self._next_id: int | None = None
        self._first_new = _LAST_ID + 1
        self._added: list[tuple[Record, bytes]] = []
        self._changed: list[Change] = []
        self._payloads: list[tuple[int, bytes]] = []
        self._entries: list[Entry] = []
        self._logs: list[tuple[int, Log]] = []
        self._deleted: list[int] = []
        self._released: list[tuple[str, str]] = []
        self._held: list[tuple[tuple[str, str], int]] = []
        self._unheld: list[bytes] = []
        self._unreadable: list[tuple[bytes, bytes]] = []
        self._restored: list[int] = []
        self._mended: list[LostPolicy] = []

    def allocate(self, n: int) -> int:
        """See JobRepository."""
        if self._next_id is None:
            known = None if self._known is None else self._known.next_id
            self._next_id = self._first_new = next_id(self._txn, self._dbs) if known is None else known
        first = self._next_id
        self._next_id += n
        return first

    def get(self, ids: Sequence[int]) -> list[Record | None]:
        """See JobRepository. A record that cannot be read is none, and goes to the quarantine."""
        get, jobs, key, decode = self._txn.get, self._dbs.jobs, codec.id_key, codec.decode_record
        policy_of = partial(self._policies.get, self._txn)
        found: list[Record | None] = []
        for job_id in ids:
            data = get(key(job_id), None, jobs) if 0 < job_id <= _LAST_ID else None
            try:
                found.append(None if data is None else decode(job_id, data, policy_of))
            except StorageCorrupt as problem:
                log.error("%s; it is left out, and set aside by a change", problem)
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
        found: list[Record] = []
        while len(found) < n and (ids := self.ids(after, n - len(found))):
            found += [record for record in self.get(ids) if record is not None]
            after = ids[-1]
        return found

    def ids(self, after: int, n: int) -> list[int]:
        """See JobRepository."""
        return _ids_behind(self._txn, self._dbs.jobs, after, n)

    def logs(self, job_id: int) -> Log:
        """See JobRepository."""
        return logs.read(self._txn, self._dbs.logs, job_id)

    def add(self, records: Sequence[Record], payloads: Sequence[bytes]) -> None:
        """See JobRepository."""
        self._added.extend(zip(records, payloads, strict=True))

    def put(self, changes: Sequence[Change]) -> None:
        """See JobRepository."""
        self._changed.extend(changes)

    def put_payload(self, job_id: int, payload: bytes) -> None:
        """See JobRepository."""
        self._payloads.append((job_id, payload))

    def log(self, entries: Sequence[Entry]) -> None:
        """See JobRepository."""
        self._entries.extend(entries)

    def put_log(self, job_id: int, log: Log) -> None:
        """See JobRepository."""
        self._logs.append((job_id, log))

    def delete(self, records: Sequence[Record]) -> None:
        """See JobRepository."""
        for record in records:
            self._deleted.append(record.id)
            if key := lifecycle.held_key(record):
                self._released.append(key)

    def discard(self, ids: Sequence[int]) -> None:
        """See JobRepository."""
        self._deleted.extend(ids)

    def holds(self, after: Hold | None, n: int) -> list[Hold]:
        """See JobRepository."""
        start = b"\0" if after is None else cast(bytes, after.token)
        with self._txn.cursor(self._dbs.keys) as cursor:
            if not cursor.set_range(start) or (cursor.key() == start and not cursor.next()):
                return []
            return [codec.decode_hold(key, value) for key, value in islice(cursor.iternext(), n)]

    def token(self, key: tuple[str, str]) -> bytes:
        """See JobRepository."""
        return codec.unique_index_key(*key)

    def hold(self, key: tuple[str, str], job_id: int) -> None:
        """See JobRepository."""
        self._held.append((key, job_id))

    def unhold(self, tokens: Sequence[Hashable]) -> None:
        """See JobRepository."""
        self._unheld.extend(cast(Sequence[bytes], tokens))

    def problem(self, job_id: int) -> str:
        """See JobRepository."""
        return self._read(job_id, self._dbs.jobs).problem

    def quarantined(self, after: int, n: int) -> list[Quarantined]:
        """See JobRepository."""
        return [
            self._read(job_id, self._dbs.quarantine)
            for job_id in _ids_behind(self._txn, self._dbs.quarantine, after, n)
        ]

    def _read(self, job_id: int, db: lmdb._Database) -> Quarantined:
        data = self._txn.get(codec.id_key(job_id), b"", db)
        try:
            return Quarantined(job_id, codec.decode_record(job_id, data, partial(self._policies.get, self._txn)), "")
        except StorageCorrupt as problem:
            return Quarantined(job_id, None, str(problem))

    def restore(self, ids: Sequence[int]) -> None:
        """See JobRepository."""
        self._restored.extend(ids)

    def lost_policies(self, known: Sequence[Policy]) -> list[LostPolicy]:
        """See JobRepository."""
        return self._policies.lost(self._txn, known)

    def mend_policies(self, lost: Sequence[LostPolicy]) -> None:
        """See JobRepository."""
        self._mended.extend(lost)

    def new_bytes(self) -> int:
        """What new jobs, with their logs, and payloads come to, about: room that settling jobs does not give back."""
        if not self._added and not self._payloads:
            return 0
        size = sum([in_pages(len(payload)) for _, payload in self._added + self._payloads])
        size += sum([in_pages(len(record.headers)) for record, _ in self._added if record.headers])
        if self._payloads:  # which a replaced job has
            size += sum([in_pages(len(new.headers)) for old, new in self._changed if new.headers != old.headers])
        # Only a job that was moved here has a past.
        size += sum([_text_size(record) for record, _ in self._added if record.attempt or record.note])
        size += sum([_entry_size(entry) for _, whole in self._logs for entry in whole.entries])
        return max(0, size + PER_JOB * (len(self._added) - len(self._deleted)))

    def text_bytes(self) -> int:
        """What log lines, and notes, errors and results of changed jobs come to: left out where there is no room."""
        size = 0
        for entry in self._entries:
            size += _entry_size(entry)
        for _, new in self._changed:
            if new.result or new.last_error or new.note:
                size += _text_size(new)
        return size

    def apply(self, *, lean: bool) -> None:
        """Write what was remembered; keys are given up before others are taken."""
        if dirty.is_marked(self._txn, self._dbs):
            dirty.note(self._txn, self._dbs, self._touched())
        for job_key, data in self._unreadable:
            self._txn.put(job_key, data, db=self._dbs.quarantine)
            self._txn.delete(job_key, db=self._dbs.jobs)
        for job_key in map(codec.id_key, self._restored):
            self._txn.put(job_key, self._txn.pop(job_key, db=self._dbs.quarantine) or b"", db=self._dbs.jobs)
        for lost in self._mended:
            self._policies.mend(self._txn, lost)
        if self._entries and not lean:
            logs.append(self._txn, self._dbs.logs, self._entries)
        for job_id, whole in self._logs:
            logs.replace(self._txn, self._dbs.logs, job_id, whole)
        held = self._apply_changes(lean)
        self._apply_deletions()
        self._apply_additions(held)
        if held or self._held or self._released or self._unheld:
            self._apply_keys(held)

    def _touched(self) -> list[int]:
        ids = [record.id for record, _ in self._added]
        ids += [new.id for _, new in self._changed]
        ids += [job_id for job_id, _ in self._payloads]
        ids += [entry.job_id for entry in self._entries]
        ids += [job_id for job_id, _ in self._logs]
        ids += [codec.id_of(key) for key, _ in self._unreadable]
        return ids + self._deleted + self._restored

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
        if not self._deleted:
            return
        delete, jobs, payloads, id_key = self._txn.delete, self._dbs.jobs, self._dbs.payloads, codec.id_key
        for job_id in self._deleted:
            key = id_key(job_id)
            delete(key, db=jobs)
            delete(key, db=payloads)
        logs.forget(self._txn, self._dbs.logs, self._deleted)
        if self._txn.stat(self._dbs.quarantine)["entries"]:
            for job_id in self._deleted:
                delete(id_key(job_id), db=self._dbs.quarantine)

    def _apply_additions(self, held: list[tuple[tuple[str, str], int]]) -> None:
        if self._next_id is not None:
            self._apply_next_id(self._next_id)
        if not self._added and not self._payloads:
            return
        put, jobs, payloads, id_key = self._txn.put, self._dbs.jobs, self._dbs.payloads, codec.id_key
        encode, number, first_new = codec.encode_record, self._policies.number, self._first_new
        for record, payload in self._added:
            key = id_key(record.id)
            # An id taken just now is above all others, so LMDB need not search for its page, and fills pages wholly.
            is_last = record.id >= first_new
            put(key, encode(record, number(self._txn, record.policy)), append=is_last, db=jobs)
            if payload:
                put(key, payload, append=is_last, db=payloads)
            if record.unique_key and (unique := lifecycle.held_key(record)):
                held.append((unique, record.id))
        for job_id, payload in self._payloads:
            if payload:
                put(id_key(job_id), payload, db=payloads)
            else:
                self._txn.delete(id_key(job_id), db=payloads)

    def _apply_next_id(self, value: int) -> None:
        self._txn.put(NEXT_ID, codec.id_key(value), db=self._dbs.meta)
        if self._known is not None:
            self._known.next_id = value

    def _apply_keys(self, held: list[tuple[tuple[str, str], int]]) -> None:
        for key in self._released:
            self._txn.delete(codec.unique_index_key(*key), db=self._dbs.keys)
        for token in self._unheld:
            self._txn.delete(token, db=self._dbs.keys)
        for key, job_id in held + self._held:
            self._txn.put(codec.unique_index_key(*key), codec.id_key(job_id), db=self._dbs.keys)


def _entry_size(entry: Entry) -> int:
    return in_pages(len(entry.message.encode()) + PER_LINE)


def _text_size(record: Record) -> int:
    return in_pages(len(record.result) + len(record.last_error) + len(record.note))
