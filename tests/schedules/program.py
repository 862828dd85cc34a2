"""A program with a worker that sees to a schedule: `python -m tests.schedules.program URL LEASE HOLDS`.

HOLDS is 1 if it is to stand still with the schedule in its hands, at the first tick; it says so then.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import jobq
from jobq import Worker
from jobq.tasks import JsonCodec, Tasks

INTERVAL = 0.1


class Standing(JsonCodec):
    """Writes the arguments of no tick that there is."""

    holds = False

    def dumps(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        if self.holds and kwargs["tick"] > "2000":
            os.write(1, b"holds\n")
            threading.Event().wait()
        return super().dumps(args, kwargs)


codec = Standing()
tasks = Tasks("t", codec=codec)


@tasks.every(INTERVAL, missed="all", tick_as="tick")
@tasks.task(name="tick")
def tick(tick: str) -> int:
    return os.getpid()


def main(url: str, lease: float, holds: bool) -> None:
    codec.holds = holds
    with jobq.open(url) as svc:
        Worker(svc, "elsewhere", tasks=tasks, lease=lease).run()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3] == "1")
