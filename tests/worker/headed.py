"""Handlers that look at the headers of their job, and pass them on."""

from __future__ import annotations

from jobq import AsyncJob, Done, Job, NewJob


def passes_on(job: Job) -> None:
    seen = [dict(job.headers), dict(job.info().headers)]
    raise Done(seen, then=NewJob("next", headers=job.headers))


async def passes_on_awaited(job: AsyncJob) -> None:
    seen = [dict(job.headers), dict((await job.info()).headers)]
    await job.done(seen, then=[NewJob("next", headers=job.headers)])
