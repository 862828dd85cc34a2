"""What is said of jobs and topics: fields for programs, words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobq.cli.parameters import DEAD
from jobq.cli.printing import Cell, local, short, styled, visible
from jobq.model.status import Status
from jobq.model.views import JobInfo, TopicStats

if TYPE_CHECKING:
    from rich.text import Text

SEVERAL_LINES = ("note", "payload", "last error")
"""What of a job may be text of several lines; in other fields a line's end is one more character of no good."""
JOB_COLUMNS = (">id", "topic", "status", ">prio", "name", "when", ">try", "why")


def job_fields(job: JobInfo) -> dict[str, Any]:
    """All fields of a job, its options as an object."""
    found = {field.name: getattr(job, field.name) for field in fields(job) if not field.name.startswith("_")}
    found["options"] = {field.name: getattr(job.options, field.name) for field in fields(job.options)}
    return found


def payload_fields(payload: bytes) -> dict[str, str]:
    """A payload as text, or in base64 where it is none."""
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        import base64

        return {"payload_base64": base64.b64encode(payload).decode()}


def topic_fields(stats: TopicStats) -> dict[str, Any]:
    """All counters of a topic."""
    found = {field.name: getattr(stats, field.name) for field in fields(stats)}
    found["now"] = {status.value: number for status, number in stats.now.items()}
    return found


def numbers_now(stats: TopicStats) -> dict[str, int]:
    """How many jobs a topic has of each of STATUSES; dead letters are none of the canceled ones here."""
    now = {status.value: number for status, number in stats.now.items()}
    now[Status.CANCELED] -= stats.dead_letters
    return now | {DEAD: stats.dead_letters}


def status_word(job: JobInfo) -> str:
    """The status of a job; `dead` for a dead letter."""
    return DEAD if job.is_dead_letter else job.status.value


def job_row(job: JobInfo) -> list[Cell]:
    """A job as a row of JOB_COLUMNS."""
    return [
        str(job.id),
        job.topic,
        styled(status_word(job)),
        str(job.priority),
        job.name,
        when(job, datetime.now(UTC)),
        str(job.attempt),
        why(job),
    ]


def when(job: JobInfo, now: datetime) -> str:
    """What time says of a job, by its status."""
    match job.status:
        case Status.READY:
            return f"waits {short(_seconds(job.run_at, now))}"
        case Status.DELAYED:
            return f"in {short(_seconds(now, job.run_at))}"
        case Status.RESERVED:
            return f"runs {short(_seconds(job.reserved_at or now, now))}"
        case _:
            return f"{short(_seconds(job.finished_at or now, now))} ago"


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())


def why(job: JobInfo) -> str:
    """The first line of what a job failed of, or the note of who canceled it."""
    text = job.note or job.last_error or ""
    return text.splitlines()[0] if text else ""


def job_facts(job: JobInfo, payload: Mapping[str, str]) -> list[tuple[str, Cell]]:
    """A job for people who look at it alone; fields that say nothing are left out."""
    facts: list[tuple[str, Cell | None]] = [
        ("job", str(job.id)),
        ("topic", job.topic),
        ("status", _status(job)),
        ("name", job.name),
        ("priority", str(job.priority)),
        ("unique key", job.unique_key),
        ("created", local(job.created_at)),
        ("run at", local(job.run_at)),
        ("reserved", _local_or_none(job.reserved_at)),
        ("deadline", _local_or_none(job.deadline)),
        ("finished", _local_or_none(job.finished_at)),
        ("attempts", f"{job.attempt}{_times('retried', job.retry_count)}{_times('reset', job.reset_count)}"),
        ("headers", ", ".join(f"{name}={value}" for name, value in job.headers.items())),
        ("note", job.note),
        ("result", None if job.result is None else repr(job.result)),
        ("options", _options(job)),
        ("payload", payload.get("payload")),
        ("base64", payload.get("payload_base64")),
        ("last error", job.last_error),
    ]
    return [(name, _shown(name, value)) for name, value in facts if value]


def _shown(name: str, value: Cell) -> Cell:
    if not isinstance(value, str):
        return value
    return readable(value) if name in SEVERAL_LINES else visible(value)


def _local_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else local(moment)


def readable(text: str) -> str:
    """Text of several lines, in which what would command a terminal is written out."""
    return "\n".join(visible(line) for line in text.splitlines())


def _status(job: JobInfo) -> Text:
    text = styled(status_word(job))
    if job.cancel_reason is not None:
        text.append(f" ({job.cancel_reason.value})", style="")
    return text


def _times(what: str, number: int) -> str:
    return f", {what} {'once' if number == 1 else f'{number} times'}" if number else ""


def _options(job: JobInfo) -> str:
    found = {field.name: getattr(job.options, field.name) for field in fields(job.options)}
    return ", ".join(f"{name}={value}" for name, value in found.items())
