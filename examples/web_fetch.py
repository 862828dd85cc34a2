"""A crawler: coroutines fetch pages and those that they link to, a hundred at a time, and try again what fails.

    pip install aiohttp
    python examples/web_fetch.py

Each page is a job. What it links to is enqueued in the commit that ends the job, so that the program may be killed at
any point: begun again, it goes on, and no page is missed. Here the server is one of its own, on this machine, which is
slow, and now and then out of order.
"""

import asyncio
import re
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

import jobq
from jobq import AsyncJob, AsyncJobService, NewJob, Reject, Retry

TOPIC = "pages"
AT_ONCE = 100
LINK = re.compile(r'href="([^"]+)"')


def page(address: str) -> NewJob:
    """The job of a page, which is in the queue at most once at a time."""
    return NewJob(TOPIC, payload=address, unique_key=address, on_duplicate="keep", min_backoff=0.1)


async def fetch(job: AsyncJob, session: aiohttp.ClientSession) -> None:
    """Fetch a page, and enqueue those that it links to. Any other exception than these retries the job, too."""
    async with session.get(job.text) as response:
        if response.status == 404:
            raise Reject("not found")  # a dead letter: it would not help to try again
        if response.status >= 500:
            raise Retry(error=f"the server says {response.status}")  # after the backoff
        body = await response.text()
    found = [page(f"{response.url.origin()}{path}") for path in LINK.findall(body)]
    await job.done({"bytes": len(body), "links": len(found)}, then=found)


async def work(asvc: AsyncJobService, session: aiohttp.ClientSession) -> None:
    """Fetch one page after the other, until none waits, is to be retried, or is being fetched by another coroutine."""
    while await asvc.next_due(TOPIC) is not None:
        for job in await asvc.reserve(TOPIC, timeout=0.1):
            async with job:
                await fetch(job, session)


async def crawl(asvc: AsyncJobService, address: str) -> None:
    """Fetch a page, and all that can be reached from it."""
    await asvc.enqueue_many([page(address)])
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as workers:
        for _ in range(AT_ONCE):
            workers.create_task(work(asvc, session))


class Site:
    """Pages that link to pages: an index, 10 sections of 20 articles, and one that is missing."""

    def __init__(self) -> None:
        self.requests = 0
        self._is_broken = {f"/{section}/7" for section in range(10)}

    async def answer(self, request: web.Request) -> web.Response:
        """Answer after a moment; article 7 of each section the second time only."""
        self.requests += 1
        await asyncio.sleep(0.05)
        path = request.path
        if path in self._is_broken:
            self._is_broken.remove(path)
            return web.Response(status=503)
        if path == "/":
            return self._index([f"/{section}" for section in range(10)] + ["/missing"])
        if path == "/missing":
            return web.Response(status=404)
        return self._index([] if path.count("/") == 2 else [f"{path}/{article}" for article in range(20)])

    def _index(self, paths: list[str]) -> web.Response:
        return web.Response(text="".join(f'<a href="{path}">{path}</a>' for path in paths), content_type="text/html")

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[str, None]:
        """Serve it on a free port of this machine; gives the address."""
        application = web.Application()
        application.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
        finally:
            await runner.cleanup()


async def crawl_a_site(asvc: AsyncJobService) -> None:
    """Crawl a site, and say what came of it."""
    site = Site()
    async with site.served() as address:
        await crawl(asvc, address)
        stats = await asvc.stats(TOPIC)
        print(f"{stats.done} pages fetched with {site.requests} requests, {stats.retried} of them tried again")
        for letter in await asvc.dead_letters(TOPIC):
            print(f"given up: {await asvc.payload(letter.id)!r}, {letter.last_error}".replace(address, "/"))


async def main() -> None:
    """Do so with a queue of its own, which is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="fetch-") as folder:
        try:
            asvc = await jobq.open_async(f"lmdb://{folder}/queue")
        except jobq.ConfigError as problem:
            print(f"{problem}\nSo the jobs are in memory, and would not outlive this process.")
            asvc = await jobq.open_async("memory://")
        async with asvc:
            await crawl_a_site(asvc)


if __name__ == "__main__":
    asyncio.run(main())
