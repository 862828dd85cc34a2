"""Storages that break the contract in one way each, made of one that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from jobq.model.records import Log, Place, Record
from jobq.model.views import Compaction, StorageInfo
from jobq.ports import Clock, UnitOfWork, Watch
from jobq.repos import MemoryStorage

T = TypeVar("T")


class Altered:
    """An object of which some attributes are replaced."""

    def __init__(self, inner: Any, **replaced: Any) -> None:
        self._inner = inner
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Sound:
    """Keeps the contract; the others change one thing."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.inner = MemoryStorage(name, clock=clock)
        self.url = self.inner.url
        self.identity = self.inner.identity
        self.clock = clock

    def unit(self, uow: UnitOfWork) -> Any:
        """What a body gets in place of its unit of work."""
        return uow

    def transact(self, body: Callable[[UnitOfWork], T], **how: Any) -> T:
        result: T = self.inner.transact(lambda uow: body(self.unit(uow)), **how)
        return result

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        return self.inner.view(lambda uow: body(self.unit(uow)))

    def watch(self, topics: Sequence[str], **how: Any) -> AbstractContextManager[Watch]:
        return self.inner.watch(topics, **how)

    def info(self) -> StorageInfo:
        return self.inner.info()

    def backup(self, path: Path) -> None:
        self.inner.backup(path)

    def compact(self) -> Compaction:
        return self.inner.compact()

    def close(self) -> None:
        self.inner.close()


class LosesWrites(Sound):
    """Now and then a commit is acknowledged and not made."""

    commits = 0

    def transact(self, body: Callable[[UnitOfWork], T], **how: Any) -> T:
        self.commits += 1
        return self.inner.view(body) if self.commits % 3 == 1 else self.inner.transact(body, **how)


class ForgetsHeaders(Sound):
    """Headers are lost when a job is changed."""

    def unit(self, uow: UnitOfWork) -> Any:
        def put(changes: Sequence[tuple[Record, Record]]) -> None:
            uow.jobs.put([(old, new._replace(headers=b"")) for old, new in changes])

        return Altered(uow, jobs=Altered(uow.jobs, put=put))


class LeavesHalf(Sound):
    """What a body wrote before it raised stays."""

    def transact(self, body: Callable[[UnitOfWork], T], **how: Any) -> T:
        def caught(uow: UnitOfWork) -> tuple[T | None, BaseException | None]:
            try:
                return body(uow), None
            except BaseException as error:
                return None, error

        result, error = self.inner.transact(caught)
        if error is not None:
            raise error
        return result  # type: ignore[return-value]


class KnowsNoIsolation(Sound):
    """A body reads before its transaction begins, and its writes are made in one later."""

    READS = ("get", "payloads", "by_key", "page", "state", "head", "due", "names", "oldest_ready")

    def transact(self, body: Callable[[UnitOfWork], T], **how: Any) -> T:
        written: list[tuple[str, str, tuple[Any, ...]]] = []

        def recording(repository: Any, which: str) -> Any:
            writes = "allocate add put put_payload delete discard log put_log move tally pause".split()
            return Altered(
                repository, **{name: lambda *args, name=name: written.append((which, name, args)) for name in writes}
            )

        def reading(uow: UnitOfWork) -> T:
            jobs = recording(uow.jobs, "jobs")
            jobs.allocate = self.allocate
            return body(Altered(uow, jobs=jobs, topics=recording(uow.topics, "topics")))

        result = self.inner.view(reading)
        Event().wait(0.001)  # another thread may read the same meanwhile

        def writing(uow: UnitOfWork) -> None:
            for which, name, args in written:
                getattr(getattr(uow, which), name)(*args)

        self.inner.transact(writing)
        return result

    def allocate(self, n: int) -> int:
        return self.inner.transact(lambda uow: uow.jobs.allocate(n))


class ForgetsPriorities(Sound):
    """First come, first served."""

    def unit(self, uow: UnitOfWork) -> Any:
        def head(topic: str, n: int) -> list[Place]:
            everything = uow.topics.head(topic, 10_000)
            return sorted(everything, key=lambda place: place.id)[:n]

        return Altered(uow, topics=Altered(uow.topics, head=head))


class SortsNumbersAsText(Sound):
    """The well-known mistake: 10 before 9."""

    def unit(self, uow: UnitOfWork) -> Any:
        def head(topic: str, n: int) -> list[Place]:
            everything = uow.topics.head(topic, 10_000)
            return sorted(everything, key=lambda place: (str(place.major), place.minor, place.id))[:n]

        return Altered(uow, topics=Altered(uow.topics, head=head))


class IsDueTooLate(Sound):
    """What is due just now is not due yet."""

    def unit(self, uow: UnitOfWork) -> Any:
        def due(topic: str, ordering: Any, until: Any, n: int) -> list[Place]:
            return [place for place in uow.topics.due(topic, ordering, until, n) if (place.major, place.minor) < until]

        return Altered(uow, topics=Altered(uow.topics, due=due))


class PagesTwice(Sound):
    """A page begins with the last place of the page before."""

    def unit(self, uow: UnitOfWork) -> Any:
        def page(topic: str, ordering: Any, after: Place | None, n: int) -> list[Place]:
            before = None if after is None else after._replace(id=after.id - 1)
            return uow.topics.page(topic, ordering, before, n)

        return Altered(uow, topics=Altered(uow.topics, page=page))


class ForgetsIds(Sound):
    """Ids are taken only if jobs are added."""

    def transact(self, body: Callable[[UnitOfWork], T], **how: Any) -> T:
        added: list[Any] = []

        def watched(uow: UnitOfWork) -> T:
            def add(*args: Any) -> None:
                added.append(args)
                uow.jobs.add(*args)

            result = body(Altered(uow, jobs=Altered(uow.jobs, add=add)))
            if not added:
                uow.jobs._next_id = uow.jobs._table.next_id  # type: ignore[attr-defined]
            return result

        result: T = self.inner.transact(watched, **how)
        return result


class CutsPayloads(Sound):
    """A payload ends at its first zero byte."""

    def unit(self, uow: UnitOfWork) -> Any:
        def payloads(ids: Sequence[int]) -> list[bytes]:
            return [payload.partition(b"\0")[0] for payload in uow.jobs.payloads(ids)]

        return Altered(uow, jobs=Altered(uow.jobs, payloads=payloads))


class KeepsKeys(Sound):
    """A deleted job holds its unique key for ever."""

    def unit(self, uow: UnitOfWork) -> Any:
        def delete(records: Sequence[Record]) -> None:
            uow.jobs.delete([record._replace(unique_key="") for record in records])

        return Altered(uow, jobs=Altered(uow.jobs, delete=delete))


class CountsNoDroppedLines(Sound):
    """The newest lines of a log are there, and nothing says that there were older ones."""

    def unit(self, uow: UnitOfWork) -> Any:
        def logs(job_id: int) -> Log:
            return uow.jobs.logs(job_id)._replace(dropped=0)

        return Altered(uow, jobs=Altered(uow.jobs, logs=logs))


class AddsToLogs(Sound):
    """A log that is to be replaced grows."""

    def unit(self, uow: UnitOfWork) -> Any:
        def put_log(job_id: int, log: Log) -> None:
            uow.jobs.log(log.entries)

        return Altered(uow, jobs=Altered(uow.jobs, put_log=put_log))


class TearsViews(Sound):
    """Each read of a view sees another moment."""

    def view(self, body: Callable[[UnitOfWork], T]) -> T:
        def apart(which: str) -> Any:
            class Repository:
                def __getattr__(_, name: str) -> Any:  # noqa: N805
                    return lambda *args: self.inner.view(lambda uow: getattr(getattr(uow, which), name)(*args))

            return Repository()

        now = self.inner.view(lambda uow: uow.now)
        return body(Altered(None, now=now, jobs=apart("jobs"), topics=apart("topics")))


class SleepsThrough(Sound):
    """It listens from the wait on, and not from the beginning of the watch."""

    @contextmanager
    def watch(self, topics: Sequence[str], **how: Any) -> Iterator[Any]:
        def wait(timeout: float) -> None:
            with self.inner.watch(topics, **how) as watch:
                watch.wait(timeout)

        yield Altered(None, wait=wait)


class KnowsNoEnd(Sound):
    """It listens for jobs to reserve, whatever it is asked to listen for."""

    def watch(self, topics: Sequence[str], **how: Any) -> AbstractContextManager[Watch]:
        return self.inner.watch(topics)


class HoldsForEver(Sound):
    """A key that is to be held by nobody stays with its holder."""

    def unit(self, uow: UnitOfWork) -> Any:
        return Altered(uow, jobs=Altered(uow.jobs, unhold=lambda tokens: None))


class HidesItsIdentity(Sound):
    """Two openings of the same jobs do not know each other."""

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__(name, clock)
        self.identity = object()


class CountsOnlyTopics(Sound):
    """It knows not how many jobs it has."""

    def info(self) -> StorageInfo:
        return replace(self.inner.info(), job_count=self.inner.info().topic_count)


class CompactsTooMuch(Sound):
    """What finds no room in the new file is gone."""

    def compact(self) -> Compaction:
        self.inner.transact(lambda uow: uow.jobs.discard(uow.jobs.ids(0, 1)))
        return Compaction(2, 1)


class StaysOpen(Sound):
    """Closing it does nothing."""

    def close(self) -> None:
        pass
