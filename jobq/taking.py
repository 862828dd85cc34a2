"""One call that reserves, and what it has taken so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from jobq.draft import Draft
from jobq.model.options import Limits
from jobq.ports import Taken
from jobq.verbs import consuming
from jobq.verbs.consuming import Haul

T = TypeVar("T")
_NEW = tuple.__new__


class Commit(Protocol):
    """Runs a verb in a transaction; see `draft.commit`."""

    def __call__(self, verb: Callable[[Draft], T], when_committed: Callable[[T], object]) -> T:
        """Do so."""
        ...


class TakeOne(Protocol):
    """Takes a job straight, if that is plain and there is one; says whether. See ports.Express."""

    def __call__(self, topics: Sequence[str], lease: int | None, when_committed: Callable[[Taken], object]) -> bool:
        """Do so."""
        ...


class Taking:
    """Takes up to n jobs in one transaction or several.

    hauls: what was committed so far, whatever interrupts the call; so it is known what there is to give back.
    """

    def __init__(
        self, commit: Commit, take_one: TakeOne, topics: Sequence[str], n: int, lease: int | None, limits: Limits
    ) -> None:
        self._commit = commit
        self._take_one = take_one
        self.topics = topics
        self.n = n
        self.lease = lease
        self._limits = limits
        self.hauls: list[Haul] = []

    def attempt(self) -> Haul:
        """Take what there is now, as far as jobs are missing, and see to retention."""
        if self.n == 1 and self._take_one(self.topics, self.lease, self._note_one):
            return self.hauls[0]
        return self._commit(self._retire_and_take, self.note)

    def take(self, draft: Draft) -> Haul:
        """The same as a part of another transaction, which has to `note` it."""
        return consuming.reserve(draft, self.topics, self.missing(), self.lease)

    def note(self, haul: Haul) -> None:
        """Remember what was committed."""
        if haul.taken:
            self.hauls.append(haul)

    def missing(self) -> int:
        """How many jobs are wanted still."""
        return self.n - sum(len(haul.taken) for haul in self.hauls)

    def _note_one(self, taken: Taken) -> None:
        record, payload, now = taken
        self.hauls.append(_NEW(Haul, ([(record, payload)], now, None, False)))

    def _retire_and_take(self, draft: Draft) -> Haul:
        consuming.retire(draft, self.topics, self.n, self._limits)
        return self.take(draft)
