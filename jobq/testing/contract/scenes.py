"""What the tests of the contract begin with: jobs written at the level of the port, threads, waits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from jobq import lifecycle
from jobq.draft import Draft, commit
from jobq.model.options import JobOptions
from jobq.model.records import Place, Record, policy_of
from jobq.model.requests import Request
from jobq.model.status import Ordering
from jobq.ports import Change, Storage

T = TypeVar("T")

OpenStorage = Callable[[], Storage]
"""Opens the storage under test; each call opens the same jobs again."""
PATIENCE = 30
"""Seconds of real time after which a test that waits for a thread has failed."""


def request(topic: str = "t", payload: bytes = b"", **fields: Any) -> Request:
    """What a checked NewJob is; delay and run_at in nanoseconds."""
    plain = Request(topic, 0, payload, "", 0, 0, "", "raise", policy_of(JobOptions()))
    return plain._replace(**fields)


def draft_new(draft: Draft, *requests: Request) -> list[Record]:
    """Put new jobs into a draft."""
    first = draft.uow.jobs.allocate(len(requests))
    records = [lifecycle.enqueue(job_id, one, draft.now) for job_id, one in enumerate(requests, first)]
    for record, one in zip(records, requests, strict=True):
        draft.add(record, one.payload)
    return records


def add(storage: Storage, *requests: Request) -> list[Record]:
    """Keep new jobs in one transaction."""
    return commit(storage, lambda draft: draft_new(draft, *requests))


def change(storage: Storage, *changes: Change) -> None:
    """Keep changed jobs in one transaction."""

    def verb(draft: Draft) -> None:
        for old, new in changes:
            draft.change(old, new)

    commit(storage, verb)


def delete(storage: Storage, *records: Record) -> None:
    """Forget jobs in one transaction."""

    def verb(draft: Draft) -> None:
        for record in records:
            draft.delete(record)

    commit(storage, verb)


def discard(storage: Storage, *records: Record) -> None:
    """Forget finished jobs by their places in one transaction."""
    commit(storage, lambda draft: draft.discard([lifecycle.place_of(record) for record in records]))


def get(storage: Storage, *ids: int) -> list[Record | None]:
    """The records of some ids."""
    return storage.view(lambda uow: uow.jobs.get(ids))


def payloads(storage: Storage, *records: Record) -> list[bytes]:
    """The payloads of some jobs."""
    return storage.view(lambda uow: uow.jobs.payloads([record.id for record in records]))


def put_payload(storage: Storage, record: Record, payload: bytes) -> None:
    """Give a job another payload in one transaction."""
    storage.transact(lambda uow: uow.jobs.put_payload(record.id, payload))


def holders(storage: Storage, *keys: tuple[str, str]) -> list[int | None]:
    """Who holds some unique keys."""
    return storage.view(lambda uow: uow.jobs.by_key(keys))


def head(storage: Storage, topic: str = "t", n: int = 1_000) -> list[int]:
    """The ids of the first Ready places."""
    return [place.id for place in storage.view(lambda uow: uow.topics.head(topic, n))]


def listed(storage: Storage, ordering: Ordering, topic: str = "t", n: int = 1_000) -> list[Place]:
    """The first places of an ordering."""
    return storage.view(lambda uow: uow.topics.page(topic, ordering, None, n))


def ids(records: list[Record]) -> list[int]:
    """The ids of records."""
    return [record.id for record in records]


# -- threads -----------------------------------------------------------------------------------------------------------


def begin(function: Callable[[], T]) -> Future[T]:
    """Begin a call in a thread of its own, which keeps nobody from ending if it should wait for ever."""
    call: Future[T] = Future()

    def run() -> None:
        try:
            call.set_result(function())
        except BaseException as error:
            call.set_exception(error)

    Thread(target=run, daemon=True).start()
    return call


def in_threads(count: int, work: Callable[[int], T]) -> list[T]:
    """What calls of `work` with 0, 1, … return that run at the same time, each in a thread of its own."""
    calls = [begin(partial(work, number)) for number in range(count)]
    return [call.result(PATIENCE) for call in calls]
