"""The marks of a move: one job in each of its two storages, whose payload says how far it is.

Their topic is paused, so that nobody reserves them. Each holds a unique key, so that a storage has one at most. The
payload is JSON.

A run of a move is fenced by its number, as a reservation is by its attempt: the storage that the jobs leave counts the
runs, and a run that is not the last one moves nothing more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from jobq import lifecycle
from jobq.draft import Draft
from jobq.errors import StorageCorrupt, StorageError
from jobq.model.options import JobOptions
from jobq.model.records import policy_of
from jobq.model.requests import Request
from jobq.ports import UnitOfWork

TOPIC = "jobq.moves"
_POLICY = policy_of(JobOptions(max_retries=None, keep_done=0, keep_canceled=0))


class Leaving(NamedTuple):
    """The mark in the storage that jobs leave.

    id: of the mark's job, in both storages. token: tells this move from others. url: where the jobs go. paused: the
    topics that were paused before. run: the number of the last run. batch: the number of the last batch that was
    deleted here; stale: its jobs that were not, as they had changed. is_over: whether only marks are left to remove.
    """

    id: int
    token: str
    url: str
    paused: Sequence[str]
    run: int = 1
    batch: int = 0
    stale: Sequence[int] = ()
    is_over: bool = False


class Arriving(NamedTuple):
    """The mark in the storage that jobs come to.

    url: where they come from. batch: the number of the last batch that was added here; ids: its jobs. reached: up to
    which id all are taken from the counter here. opened: what was added to the counters of each topic when the topics
    were opened; None before that.
    """

    id: int
    token: str
    url: str
    run: int
    batch: int = 0
    ids: Sequence[int] = ()
    reached: int = 0
    opened: Mapping[str, Sequence[int]] | None = None


Mark = Leaving | Arriving
M = TypeVar("M", Leaving, Arriving)


def leaving(uow: UnitOfWork) -> Leaving | None:
    """The mark of a move from here; None if there is none."""
    return _found(uow, Leaving)


def arriving(uow: UnitOfWork) -> Arriving | None:
    """The mark of a move to here; None if there is none."""
    return _found(uow, Arriving)


def checked(mark: M | None, run: int) -> M:
    """The mark as it was read, if this run is still the last one. Raises StorageError if it is not."""
    if mark is None or mark.run != run:
        raise StorageError("another process has gone on with this move, or ended it: leave it to that one")
    return mark


def put(uow: UnitOfWork, mark: Mark) -> None:
    """Keep a mark that is there already as it is now."""
    uow.jobs.put_payload(mark.id, _encoded(mark))


def add(draft: Draft, mark: Mark) -> None:
    """Add a mark, under an id that is taken."""
    key, payload = _key(type(mark)), _encoded(mark)
    request = Request(TOPIC, 0, payload, key, 0, 0, key, "raise", _POLICY)
    draft.uow.topics.pause(TOPIC, True)
    draft.add(lifecycle.enqueue(mark.id, request, draft.now), payload)


def remove(draft: Draft, mark: Mark | None, token: str) -> None:
    """Remove a mark as it was read, if it is of this move, and the topic with it."""
    if mark is None or mark.token != token:
        return
    [job] = draft.get([mark.id])
    if job is not None:
        draft.delete(job)
        draft.uow.topics.pause(TOPIC, False)


def _key(kind: type[Mark]) -> str:
    return kind.__name__.lower()


def _encoded(mark: Mark) -> bytes:
    return json.dumps(mark._asdict(), separators=(",", ":")).encode()


def _found(uow: UnitOfWork, kind: type[M]) -> M | None:
    [job_id] = uow.jobs.by_key([(TOPIC, _key(kind))])
    if job_id is None:
        return None
    if uow.jobs.get([job_id]) != [None]:  # asked for, so that a storage that locks what is read locks it
        [payload] = uow.jobs.payloads([job_id])
        try:
            return kind(**json.loads(payload))
        except (ValueError, TypeError):
            pass
    raise StorageCorrupt(
        f"job {job_id} of topic {TOPIC!r}, which says how far a move is, cannot be read: cancel it to give the move "
        "up, or have verify(repair=True) set it aside"
    )
