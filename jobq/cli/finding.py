"""Going through jobs page by page, so that a queue of any size passes through little memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobq.cli.parameters import DEAD
from jobq.model.status import Status
from jobq.model.views import JobInfo
from jobq.service import JobService

PAGE = 500


def pages(svc: JobService, status: str, topic: str | None = None, size: int = PAGE) -> Iterator[list[JobInfo]]:
    """The jobs of a status (`dead` is one here, and `canceled` leaves those out), in pages that are not empty."""
    after: JobInfo | None = None
    while page := _page(svc, status, topic, after, min(size, svc.limits.batch)):
        after = page[-1]
        if status == Status.CANCELED:
            page = [job for job in page if not job.is_dead_letter]
        if page:
            yield page


def _page(svc: JobService, status: str, topic: str | None, after: JobInfo | None, limit: int) -> list[JobInfo]:
    if status == DEAD:
        return svc.dead_letters(topic, after=after, limit=limit)
    return svc.find(Status(status), topic=topic, after=after, limit=limit)


def all_pages(svc: JobService, statuses: Sequence[str], topic: str | None, most: int | None) -> Iterator[list[JobInfo]]:
    """The jobs of several statuses, one status behind the other, `most` of them; None for all."""
    left = most
    for status in statuses:
        if left == 0:
            return
        for page in pages(svc, status, topic, PAGE if left is None else min(PAGE, left)):
            part = page if left is None else page[:left]
            yield part
            if left is not None:
                left -= len(part)
                if not left:
                    return
