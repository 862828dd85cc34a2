"""Going through a whole storage, check by check, while the queue runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Protocol

from jobq.model.records import Policy
from jobq.model.status import Ordering
from jobq.model.views import Difference
from jobq.ports import Storage, UnitOfWork
from jobq.verbs import verifying
from jobq.verbs.verifying import Checked

LARGE = 100_000
"""Places of a topic above which they are counted in a write transaction, as a view would be a long one."""


class Check(Protocol):
    """A check of `verbs.verifying` with its arguments."""

    def __call__(self, uow: UnitOfWork, *, mend: bool) -> Checked:
        """Look, and mend what differs if told to."""
        ...


class Verifier:
    """One round through a storage; `found` is what it has found so far.

    known: policies that the service gives to jobs.
    """

    def __init__(self, storage: Storage, known: Sequence[Policy], *, repair: bool) -> None:
        self._storage = storage
        self._known = known
        self._repair = repair
        self._told: set[Hashable] = set()
        self._sizes: Counter[str] = Counter()
        self.found: list[Difference] = []

    def run(self) -> list[Difference]:
        """Make the round. Places come before jobs, so that a wrong one is moved and not given up first."""
        self._step(partial(verifying.policies, known=self._known))
        self._pages(verifying.quarantine, 0)
        for topic in self._storage.view(lambda uow: uow.topics.used()):
            for ordering in Ordering:
                check = partial(verifying.places, topic=topic, ordering=ordering)
                self._sizes[topic] += self._pages(check, None)
        self._pages(verifying.jobs, 0)
        self._pages(verifying.keys, None)
        for topic in self._storage.view(lambda uow: sorted({*uow.topics.names(), *uow.topics.used()})):
            self._step(partial(verifying.counters, topic=topic), is_long=self._sizes[topic] > LARGE)
        return self.found

    def _pages(self, check: Callable[..., Checked], after: Any) -> int:
        """Make a check page by page, beginning behind `after`; returns how many things there were."""
        seen = 0
        while True:
            checked = self._step(partial(check, after=after))
            seen += checked.seen
            after = checked.last
            if after is None:
                return seen

    def _step(self, check: Check, *, is_long: bool = False) -> Checked:
        """Look in a view; only what seems to differ there is looked at again, and mended, in a transaction."""
        look = partial(check, mend=False)
        checked = self._storage.transact(look) if is_long else self._storage.view(look)
        is_mending = self._repair and any(finding.can_mend for finding in checked.findings)
        if is_mending:
            checked = self._storage.transact(partial(check, mend=True))
        for finding in checked.findings:
            if finding.about not in self._told:
                self._told.add(finding.about)
                self.found.append(finding.difference(repaired=is_mending))
        return checked
