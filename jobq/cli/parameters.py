"""What arguments and options of commands may be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import click
from click.shell_completion import CompletionItem

from jobq import inputs
from jobq.cli.target import Target
from jobq.model.status import Status
from jobq.model.times import seconds
from jobq.settings import FOREVER, parse_duration


class Parsed(click.ParamType[Any]):
    """A value that a function makes of text; its ValueError is a usage error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click.ParamType."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as problem:
            self.fail(f"{problem}.", param, ctx)


class Topic(Parsed):
    """The name of a topic; shells complete those that there are."""

    def __init__(self) -> None:
        super().__init__("topic", inputs.topic)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """See click.ParamType."""
        # A shell that completes a line has no place for errors and notices.
        with redirect_stderr(StringIO()):
            try:
                with ctx.ensure_object(Target).open() as svc:
                    return [CompletionItem(name) for name in svc.topics() if name.startswith(incomplete)]
            except Exception:
                return []


def _parse_duration(text: str) -> int | float:
    return seconds(parse_duration(text), "a duration")


def _parse_time(text: str) -> datetime:
    """An instant: a date and time of ISO 8601, local unless it says otherwise."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):  # the latter at the ends of the calendar
        raise ValueError(
            f"{text[:80]!r} is no time: write it as 2030-01-31T08:00 (local), or 2030-01-31T08:00Z"
        ) from None


def _parse_retries(text: str) -> int | None:
    if text == FOREVER:
        return None
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text[:80]!r} is no number of retries: write a whole number, or {FOREVER}")
    return int(text)


def _parse_id(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text[:80]!r} is no job id: write the number that enqueue printed, as 17")
    return int(text)


DURATION = Parsed("duration", _parse_duration)
TIME = Parsed("time", _parse_time)
RETRIES = Parsed("retries", _parse_retries)
JOB_ID = Parsed("id", _parse_id)
TOPIC = Topic()
DEAD = "dead"
"""What the command line calls the Canceled jobs that nobody requested to cancel, as if that were a status."""
FINISHED = (Status.DONE.value, Status.CANCELED.value, DEAD)
STATUSES = (*(status.value for status in Status), DEAD)
STATUS = click.Choice(STATUSES)


def before(age: float | None) -> datetime | None:
    """The instant so many seconds ago; None for None."""
    return None if age is None else datetime.now(UTC) - timedelta(seconds=age)


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
topic_option = click.option("--topic", type=TOPIC, metavar="TOPIC", help="Only this topic.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
