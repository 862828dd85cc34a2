"""What each job is, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest

from jobq import lifecycle
from jobq.model.records import Record
from jobq.ports import Change


class JobTable:
    """All jobs, their payloads, and who holds which unique key."""

    def __init__(self) -> None:
        self.next_id = 1
        self.records: dict[int, Record] = {}
        self.payloads: dict[int, bytes] = {}
        self.keys: dict[tuple[str, str], int] = {}


class MemoryJobs:
    """The JobRepository of one transaction: reads the table, remembers what to write."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._next_id = table.next_id
        self._records: dict[int, Record] = {}
        self._payloads: dict[int, bytes] = {}
        self._deleted: list[int] = []
        self._released: list[tuple[str, str]] = []
        self._held: dict[tuple[str, str], int] = {}

    def allocate(self, n: int) -> int:
        """See JobRepository."""
        first = self._next_id
        self._next_id += n
        return first

    def get(self, ids: Sequence[int]) -> list[Record | None]:
        """See JobRepository."""
        get = self._table.records.get
        return [get(job_id) for job_id in ids]

    def payloads(self, ids: Sequence[int]) -> list[bytes]:
        """See JobRepository."""
        payloads = self._table.payloads
        return [payloads[job_id] for job_id in ids]

    def by_key(self, keys: Sequence[tuple[str, str]]) -> list[int | None]:
        """See JobRepository."""
        get = self._table.keys.get
        return [get(key) for key in keys]

    def page(self, after: int, n: int) -> list[Record]:
        """See JobRepository."""
        records = self._table.records
        return [records[job_id] for job_id in nsmallest(n, (i for i in records if i > after))]

    def add(self, records: Sequence[Record], payloads: Sequence[bytes]) -> None:
        """See JobRepository."""
        for record, payload in zip(records, payloads, strict=True):
            self._records[record.id] = record
            self._payloads[record.id] = payload
            if record.unique_key and (key := lifecycle.held_key(record)):
                self._held[key] = record.id

    def put(self, changes: Sequence[Change]) -> None:
        """See JobRepository."""
        for old, new in changes:
            self._records[new.id] = new
            if old.unique_key and (key := lifecycle.held_key(old)) != (new_key := lifecycle.held_key(new)):
                if key:
                    self._released.append(key)
                if new_key:
                    self._held[new_key] = new.id

    def put_payload(self, job_id: int, payload: bytes) -> None:
        """See JobRepository."""
        self._payloads[job_id] = payload

    def delete(self, records: Sequence[Record]) -> None:
        """See JobRepository."""
        for record in records:
            self._deleted.append(record.id)
            if key := lifecycle.held_key(record):
                self._released.append(key)

    def discard(self, ids: Sequence[int]) -> None:
        """See JobRepository."""
        self._deleted.extend(ids)

    def apply(self) -> None:
        """Write what was remembered; to do so again changes nothing. Keys are given up before others are taken."""
        table = self._table
        table.next_id = self._next_id
        table.records.update(self._records)
        table.payloads.update(self._payloads)
        for job_id in self._deleted:
            table.records.pop(job_id, None)
            table.payloads.pop(job_id, None)
        for key in self._released:
            table.keys.pop(key, None)
        table.keys.update(self._held)
