"""What each job is, in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from heapq import nsmallest
from typing import cast

from jobq import lifecycle
from jobq.model.records import Entry, Hold, Log, LostPolicy, Policy, Quarantined, Record
from jobq.ports import Change

_NO_LOG = Log()


class JobTable:
    """All jobs, their payloads and logs, and who holds which unique key."""

    def __init__(self) -> None:
        self.next_id = 1
        self.records: dict[int, Record] = {}
        self.payloads: dict[int, bytes] = {}
        self.logs: dict[int, Log] = {}
        self.keys: dict[tuple[str, str], int] = {}


class MemoryJobs:
    """The JobRepository of one transaction: reads the table, remembers what to write."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._next_id = table.next_id
        self._records: dict[int, Record] = {}
        self._payloads: dict[int, bytes] = {}
        self._logs: dict[int, Log] = {}
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
        return [self._table.records[job_id] for job_id in self.ids(after, n)]

    def logs(self, job_id: int) -> Log:
        """See JobRepository."""
        return self._table.logs.get(job_id, _NO_LOG)

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

    def log(self, entries: Sequence[Entry]) -> None:
        """See JobRepository."""
        for entry in entries:
            log = self._logs.get(entry.job_id) or self.logs(entry.job_id)
            self._logs[entry.job_id] = log.plus(entry)

    def put_log(self, job_id: int, log: Log) -> None:
        """See JobRepository."""
        self._logs[job_id] = log

    def delete(self, records: Sequence[Record]) -> None:
        """See JobRepository."""
        for record in records:
            self._deleted.append(record.id)
            if key := lifecycle.held_key(record):
                self._released.append(key)

    def discard(self, ids: Sequence[int]) -> None:
        """See JobRepository."""
        self._deleted.extend(ids)

    def ids(self, after: int, n: int) -> list[int]:
        """See JobRepository."""
        ids = sorted(self._table.records)  # in one pass, as ids are added in order
        start = bisect_right(ids, after)
        return ids[start : start + n]

    def holds(self, after: Hold | None, n: int) -> list[Hold]:
        """See JobRepository."""
        start = ("", "") if after is None else cast(tuple[str, str], after.token)
        found = nsmallest(n, (key for key in self._table.keys if key > start))
        return [Hold(key[0], repr(key[1]), key, self._table.keys[key]) for key in found]

    def token(self, key: tuple[str, str]) -> tuple[str, str]:
        """See JobRepository."""
        return key

    def hold(self, key: tuple[str, str], job_id: int) -> None:
        """See JobRepository."""
        self._held[key] = job_id

    def unhold(self, tokens: Sequence[Hashable]) -> None:
        """See JobRepository."""
        self._released.extend(cast(Sequence[tuple[str, str]], tokens))

    def problem(self, job_id: int) -> str:
        """See JobRepository: there is no record here that cannot be read."""
        return ""

    def quarantined(self, after: int, n: int) -> list[Quarantined]:
        """See JobRepository: nothing is ever set aside here."""
        return []

    def restore(self, ids: Sequence[int]) -> None:
        """See JobRepository."""

    def lost_policies(self, known: Sequence[Policy]) -> list[LostPolicy]:
        """See JobRepository: each record has its policy itself."""
        return []

    def mend_policies(self, lost: Sequence[LostPolicy]) -> None:
        """See JobRepository."""

    def apply(self) -> None:
        """Write what was remembered; to do so again changes nothing. Keys are given up before others are taken."""
        table = self._table
        table.next_id = self._next_id
        table.records.update(self._records)
        table.payloads.update(self._payloads)
        if self._logs:
            table.logs.update(self._logs)
        for job_id in self._deleted:
            table.records.pop(job_id, None)
            table.payloads.pop(job_id, None)
            table.logs.pop(job_id, None)
        for key in self._released:
            table.keys.pop(key, None)
        if self._held:
            table.keys.update(self._held)
