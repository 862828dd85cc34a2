"""Moving a whole queue to another storage, batch by batch, so that it may be killed anywhere and run again.

A batch is added to the destination and then deleted from the source; what had changed in between is taken back. So each
job is in one of the two at any time. Which batches came that far, the marks of `verbs.marking` say, each in the
transaction of its storage.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from jobq.draft import commit
from jobq.errors import ConfigError
from jobq.model.records import TopicState
from jobq.model.times import SECOND
from jobq.model.views import MoveProgress
from jobq.ports import Storage
from jobq.verbs import arriving, consuming, leaving, marking
from jobq.verbs.leaving import Parcel
from jobq.verbs.marking import Arriving, Leaving

log = logging.getLogger("jobq")

NAP = 1.0
"""Seconds after which a wait for Reserved jobs looks again: no watch tells of a job released in a paused topic."""


class Mover:
    """One run of a move. take: whether to take Reserved jobs from their holders. tell: called with how far it is."""

    def __init__(
        self, source: Storage, target: Storage, *, take: bool, tell: Callable[[MoveProgress], object] | None
    ) -> None:
        self._source = source
        self._target = target
        self._takes = take
        self._tell = tell
        self._batch = 0
        self._progress = MoveProgress()

    def run(self) -> MoveProgress:
        """Move all there is; see JobService.move_to."""
        if self._source.identity == self._target.identity:
            raise ConfigError(f"both are {self._source.url}, and a queue is not moved to itself: give another storage")
        self._finish_former()
        if not self._source.view(leaving.has_nothing):
            mark, there = self._begin()
            moved = self._carry_all(mark) if there.opened is None else arriving.states_of(there.opened)
            self._source.transact(partial(leaving.leave, run=mark.run, moved=moved))
            self._remove_marks(mark)
        left, unreadable = self._source.view(leaving.remains)
        return self._note(left=left, reserved=0, unreadable=unreadable)

    # -- beginning and ending

    def _finish_former(self) -> None:
        """Remove the marks of a run that was killed when it had nothing else left to do."""
        mark, there = self._source.view(marking.leaving), self._target.view(marking.arriving)
        if mark is None or not mark.is_over:
            return
        if there.token == mark.token if there is not None else mark.url == self._target.url:
            self._remove_marks(mark)

    def _begin(self) -> tuple[Leaving, Arriving]:
        source, target = self._source.url, self._target.url
        there = self._target.view(arriving.look)
        begin = partial(leaving.begin, here=source, there=target, found=there.mark, contents=there.contents)
        mark = commit(self._source, partial(begin, token=secrets.token_hex(8)))
        try:
            return mark, commit(self._target, partial(arriving.receive, mark=mark, here=target, source=source))
        except ConfigError:  # somebody has used it just now
            if mark.run == 1:
                commit(self._source, partial(leaving.withdraw, mark=mark))
            raise

    def _open_topics(self, mark: Leaving, moved: Mapping[str, TopicState]) -> None:
        last = self._source.transact(lambda uow: uow.jobs.allocate(1))
        self._target.transact(partial(arriving.open_topics, run=mark.run, moved=moved, paused=mark.paused, last=last))

    def _remove_marks(self, mark: Leaving) -> None:
        commit(self._target, lambda draft: marking.remove(draft, marking.arriving(draft.uow), mark.token))
        commit(self._source, lambda draft: marking.remove(draft, marking.leaving(draft.uow), mark.token))

    # -- on the way

    def _carry_all(self, mark: Leaving) -> Mapping[str, TopicState]:
        """Move jobs until none is left, and open the topics; returns the counters that went along."""
        self._batch = mark.batch
        awaited: list[str] = []
        while (moved := self._source.view(partial(leaving.last_counters, mark_id=mark.id))) is None:
            if not awaited:
                awaited = self._pass(mark)
                continue
            with self._source.watch(awaited, finished=True) as watch:
                awaited = self._pass(mark)  # under the watch, so that nothing slips in between
                if awaited:
                    due_in = self._source.view(leaving.look).due_in
                    watch.wait(NAP if due_in is None else min(NAP, due_in / SECOND))
        self._open_topics(mark, moved)
        return moved

    def _pass(self, mark: Leaving) -> list[str]:
        """Move what can go; returns the topics of Reserved jobs, once there is nothing else left."""
        self._prepare(mark.run)
        held: set[str] = set()
        others = False
        after: int | None = 0
        while after is not None:
            batch = self._source.view(partial(leaving.batch, mark_id=mark.id, after=after))
            if batch.parcels:
                self._carry(mark, batch.parcels)
            held |= batch.held
            others = others or batch.behind or bool(batch.parcels)
            after = batch.last
        return [] if others else sorted(held)

    def _prepare(self, run: int) -> None:
        """Pause topics that came, and see to leases that are over, or to all of them."""
        look = self._source.view(leaving.look)
        if look.unpaused:
            commit(self._source, partial(leaving.pause, run=run, topics=look.unpaused))
        for topic in look.overdue:
            while commit(self._source, partial(consuming.turn_due, topic=topic, bound=consuming.SWEPT)):
                pass
        if self._takes:
            for topic in look.reserved:
                some = partial(leaving.take, run=run, topic=topic, n=leaving.JOBS)
                while commit(self._source, some) == leaving.JOBS:
                    pass
        look = self._source.view(leaving.look)
        self._note(left=look.left, reserved=sum(look.reserved.values()))

    def _carry(self, mark: Leaving, parcels: Sequence[Parcel]) -> None:
        number = self._batch + 1
        deliver = partial(arriving.deliver, run=mark.run, number=number, parcels=parcels)
        for job in self._target.transact(deliver):
            log.warning(
                "job %d of topic %r goes without its unique key %r, which another job holds where it is moved to",
                *(job.id, job.topic, job.unique_key),
            )
        stale = commit(self._source, partial(leaving.forget, run=mark.run, number=number, parcels=parcels))
        if stale:
            commit(self._target, partial(arriving.give_back, run=mark.run, ids=stale))
        self._batch = number
        gone = len(parcels) - len(stale)
        self._note(moved=self._progress.moved + gone, left=max(0, self._progress.left - gone))

    def _note(self, **changes: int) -> MoveProgress:
        self._progress = replace(self._progress, **changes)
        if self._tell is not None:
            self._tell(self._progress)
        return self._progress
