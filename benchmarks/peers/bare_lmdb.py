"""What jobq's verbs come to in LMDB, written in bare py-lmdb: no records, no rules, only the same B-tree operations.

The databases, keys and sizes of values are those of `jobq/repos/lmdb`, for one topic, the default options, and a
process that nobody else writes beside: what it knows of the counters and of the next id it need not read again.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path
from struct import Struct
from typing import Any

from benchmarks.peers.peer import BATCH, Peer, Survives, Verbs, library

RECORD = b"r" * 81
"""As long as the record of a job in a topic with five letters."""
STATE = b"s" * 170
"""As long as the counters of a topic."""
TOPIC = b"bench"
PREFIX = TOPIC + b"\0"
MAP_SIZE = 2**32
_RANK = Struct(">IQQ")
_ID = Struct(">Q")
_NAMES = ("meta", "jobs", "payloads", "topics", "ready", "reserved", "done")


class Environment:
    """An environment, its databases, and the next id."""

    def __init__(self, flags: dict[str, bool], folder: Path) -> None:
        lmdb = library("lmdb")
        self.env = lmdb.open(str(folder / "bare"), map_size=MAP_SIZE, max_dbs=len(_NAMES), lib_version=0, **flags)
        databases = [self.env.open_db(name.encode()) for name in _NAMES]
        self.meta, self.jobs, self.payloads, self.topics, self.ready, self.reserved, self.done = databases
        self.next_id = 1

    def enqueue(self, payloads: list[bytes]) -> None:
        """A record, a payload and a place for each job; the next id and the counters once a call."""
        with self.env.begin(write=True) as txn:
            txn.get(b"backup", db=self.meta)
            first = self.next_id
            for number, payload in enumerate(payloads, first):
                key = _ID.pack(number)
                txn.put(key, RECORD, append=True, db=self.jobs)
                txn.put(key, payload, append=True, db=self.payloads)
                txn.put(_place(number), b"", db=self.ready)
            self.next_id = first + len(payloads)
            txn.put(b"next_id", _ID.pack(self.next_id), db=self.meta)
            txn.put(TOPIC, STATE, db=self.topics)

    def take(self, n: int) -> list[int]:
        """The first places; a record and a payload to read, a record to write and another place for each job."""
        with self.env.begin(write=True) as txn:
            with txn.cursor(self.ready) as cursor:
                keys: list[bytes] = list(islice(cursor.iternext(values=False), n)) if cursor.set_range(PREFIX) else []
            numbers = [int.from_bytes(key[-8:], "big") for key in keys]
            for number in numbers:
                txn.get(_ID.pack(number), db=self.jobs)
            for number in numbers:
                txn.get(_ID.pack(number), db=self.payloads)
            self._move(txn, numbers, self.ready, self.reserved)
            return numbers

    def acknowledge(self, numbers: list[int]) -> None:
        """A record to read, one to write and another place for each job."""
        with self.env.begin(write=True) as txn:
            for number in numbers:
                txn.get(_ID.pack(number), db=self.jobs)
            self._move(txn, numbers, self.reserved, self.done)

    def _move(self, txn: Any, numbers: list[int], old: Any, new: Any) -> None:
        txn.get(b"backup", db=self.meta)
        for number in numbers:
            txn.put(_ID.pack(number), RECORD, db=self.jobs)
        for number in numbers:
            place = _place(number)
            txn.delete(place, db=old)
            txn.put(place, b"", db=new)
        txn.put(TOPIC, STATE, db=self.topics)


def _place(number: int) -> bytes:
    return PREFIX + _RANK.pack(2**31, 1_700_000_000_000_000_000 + number, number)


def open_one(flags: dict[str, bool], folder: Path) -> Verbs:
    """One job a call."""
    bare = Environment(flags, folder)

    def enqueue(payload: bytes) -> None:
        bare.enqueue([payload])

    return Verbs(enqueue, partial(bare.take, 1), bare.acknowledge, bare.env.close)


def open_batches(flags: dict[str, bool], folder: Path) -> Verbs:
    """A hundred a call."""
    bare = Environment(flags, folder)
    return Verbs(bare.enqueue, partial(bare.take, BATCH), bare.acknowledge, bare.env.close)


def peer(name: str, survives: Survives, **flags: bool) -> Peer:
    """LMDB with some flags."""
    return Peer(
        f"bare py-lmdb {name}", "lmdb", survives, open=partial(open_one, flags),
        open_batches=partial(open_batches, flags), note="no queue: the operations of jobq's verbs and nothing else",
    )  # fmt: skip


PEERS = [
    peer("off", Survives.KILL, sync=False, metasync=False, writemap=True),
    peer("full", Survives.POWER_LOSS, sync=True, metasync=True),
]
