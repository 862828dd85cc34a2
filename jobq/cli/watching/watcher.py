"""Looking at a queue again and again, and drawing what was seen, until it is to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from jobq.cli.watching.canvas import Canvas
from jobq.cli.watching.events import Events, stop_here
from jobq.cli.watching.failures import Failures
from jobq.cli.watching.pace import PROBLEMS, Pace
from jobq.cli.watching.picture import Picture, drawn
from jobq.cli.watching.rates import History
from jobq.cli.watching.sampling import look
from jobq.service import JobService

LEAVE = ("q", "Q", "SIGINT")
"""What leaves the view in the usual way."""
ENDS = ("SIGTERM", "SIGHUP")


class Watcher:
    """What is known of a queue that is watched. chosen: its topics; none for all. interval: seconds."""

    def __init__(self, svc: JobService, chosen: Sequence[str], interval: float) -> None:
        self._svc = svc
        self._chosen = chosen
        self._history = History()
        self._failures = Failures(svc)
        self.picture = Picture(svc.url, interval)

    def look(self, running: int) -> Picture:
        """Look at the queue, and take it all into the picture. running: how many running jobs to read, or fewer."""
        try:
            sample = look(self._svc, self._chosen, running)
            self._history.add(sample)
            self._failures.look(sample)
        except PROBLEMS as problem:
            self.picture = replace(self.picture, problem=str(problem))
            return self.picture
        self.picture = replace(
            self.picture,
            sample=sample,
            rates=self._history.last(),
            mean=self._history.mean(),
            failures=self._failures.newest,
            unread=self._failures.unread,
            problem="",
        )
        return self.picture


def show(watcher: Watcher, interval: float) -> str:
    """Show a queue on the terminal until a key or a signal ends that; returns which: a key, or the name of a signal."""
    with Events() as events:
        while True:
            with Canvas() as canvas:
                end = _show(watcher, Pace(interval), canvas, events)
            if end != "SIGTSTP":
                return end
            stop_here()


def _show(watcher: Watcher, pace: Pace, canvas: Canvas, events: Events) -> str:
    try:
        while True:
            if not pace.left:
                pace.begin()
                watcher.look(canvas.size.lines)
                pace.end()
            columns, lines = canvas.size
            canvas.paint(drawn(watcher.picture, columns, lines, datetime.now(UTC)))
            for event in events.wait(pace.left):
                if event in (*LEAVE, *ENDS, "SIGTSTP"):
                    return event
    except OSError:  # the terminal is gone
        return "SIGHUP"
