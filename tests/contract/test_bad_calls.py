"""Bad arguments of the other verbs: each raises the named error, says what is allowed, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from jobq import CancelReason, Done, Job, JobService, Limits, NewJob, PayloadTooLarge, Reject, Retry, Status
from jobq.outcomes import Outcome
from jobq.repos import MemoryStorage
from tests.conftest import OpenService
from tests.contract.refusing import AWARE, DURATION, INFINITY, NAIVE, NAN, YEARS, Case, refused
from tests.contract.scenes import given, unchanged

RESERVING: list[Case] = [
    ({"n": 0}, ValueError, "n must be from 1 to 10000, not 0"),
    ({"n": -1}, ValueError, "n must be from 1 to 10000, not -1"),
    ({"n": 10_001}, ValueError, "n must be from 1 to 10000, not 10001"),
    ({"n": True}, TypeError, "n must be an int from 1 to 10000, not bool"),
    ({"n": 1.0}, TypeError, "n must be an int from 1 to 10000, not float"),
    ({"n": "1"}, TypeError, "n must be an int from 1 to 10000, not str"),
    ({"n": None}, TypeError, "n must be an int from 1 to 10000, not NoneType"),
    ({"timeout": -1}, ValueError, "timeout must be 0 or more seconds, not -1"),
    ({"timeout": NAN}, ValueError, "timeout must be a finite number of seconds, not nan"),
    ({"timeout": INFINITY}, ValueError, "timeout must be a finite number of seconds, not inf"),
    ({"timeout": "5"}, TypeError, f"timeout {DURATION}str"),
    ({"timeout": False}, TypeError, f"timeout {DURATION}bool"),
    ({"lease": 0}, ValueError, "lease must be above 0 seconds, not 0"),
    ({"lease": -5}, ValueError, "lease must be above 0 seconds, not -5"),
    ({"lease": NAN}, ValueError, "lease must be a finite number of seconds, not nan"),
    ({"lease": "5"}, TypeError, f"lease {DURATION}str"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), RESERVING)
def test_reserving_with_bad_input(
    full: JobService, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    held = given(full)
    refused(
        full,
        error,
        message,
        lambda: full.reserve("ready", **arguments),
        lambda: next(full.jobs("ready", **arguments)),
        lambda: full.exchange([(held, Done())], topics="ready", **arguments),
        lambda: full.exchange([(held, Done())], enqueue=NewJob("t"), **arguments),
    )


ERROR = "error must be a str or an exception, not int"
REASON = r"reason must be one of .*'exhausted'.*'rejected'.*'unhandled'.*, not .*: to cancel, use cancel"
RESULT = r"result must be a JSON value \(dict, list, str, number, bool, None\): "

SETTLING: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("done", {"result": object()}, TypeError, RESULT),
    ("done", {"result": NAN}, ValueError, RESULT),
    ("done", {"result": "x" * 1_048_576}, PayloadTooLarge, "a result of 1048578 bytes is over the limit of 1048576"),
    ("retry", {"delay": -1}, ValueError, "delay must be 0 or more seconds, not -1"),
    ("retry", {"delay": NAN}, ValueError, "delay must be a finite number of seconds, not nan"),
    ("retry", {"delay": "5"}, TypeError, f"delay {DURATION}str"),
    ("retry", {"run_at": NAIVE}, ValueError, f"run_at {AWARE}"),
    ("retry", {"run_at": 5}, TypeError, "run_at must be an aware datetime, not int"),
    ("retry", {"delay": 0, "run_at": datetime.now(UTC)}, ValueError, "give either delay or run_at, not both"),
    ("retry", {"error": 5}, TypeError, ERROR),
    ("release", {"delay": -1}, ValueError, "delay must be 0 or more seconds, not -1"),
    ("release", {"delay": INFINITY}, ValueError, "delay must be a finite number of seconds, not inf"),
    ("release", {"delay": None}, TypeError, f"delay {DURATION}NoneType"),
    ("reject", {"error": 5}, TypeError, ERROR),
    ("reject", {"reason": CancelReason.REQUESTED}, ValueError, REASON),
    ("reject", {"reason": "because"}, ValueError, REASON),
    ("reject", {"reason": None}, ValueError, REASON),
    ("extend", {"seconds": 0}, ValueError, "must be above 0 seconds, not 0"),
    ("extend", {"seconds": -1}, ValueError, "must be above 0 seconds, not -1"),
    ("extend", {"seconds": NAN}, ValueError, "must be a finite number of seconds, not nan"),
    ("extend", {"seconds": "5"}, TypeError, f"{DURATION}str"),
]


@pytest.mark.parametrize(("verb", "arguments", "error", "message"), SETTLING)
def test_settling_with_bad_input(
    full: JobService, verb: str, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    held = given(full)
    refused(
        full, error, message, lambda: getattr(full, verb)(held, **arguments), lambda: getattr(held, verb)(**arguments)
    )
    assert not held.settled


@pytest.mark.parametrize(
    ("note", "error", "message"),
    [
        (5, TypeError, "note must be a str, not int"),
        ("x" * 2001, ValueError, "note must have at most 2000 bytes in UTF-8, not 2001"),
        ("\ud800", ValueError, "note must be text that UTF-8 can encode"),
    ],
)
def test_a_note_that_is_none(full: JobService, note: Any, error: type[Exception], message: str) -> None:
    held = given(full)
    refused(full, error, message, lambda: full.cancel(held.id, note), lambda: held.cancel(note))


def handle_verbs(svc: JobService) -> list[Callable[..., None]]:
    """The verbs that take handles."""
    return [svc.done, svc.retry, svc.release, svc.reject, svc.extend]


HANDLES = r"this verb takes jobs that reserve\(\) returned, not "


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        (1, HANDLES + "int"),
        (None, HANDLES + "NoneType"),
        ("1", HANDLES + "str"),
        ([1], HANDLES + "int"),
        ([{"id": 1}], HANDLES + "dict"),
        ([Done()], HANDLES + "Done"),
        ([NewJob("t")], HANDLES + "NewJob"),
        (NewJob("t"), HANDLES + "NewJob"),
    ],
)
def test_what_is_no_handle(full: JobService, jobs: Any, message: str) -> None:
    refused(full, TypeError, message, *[partial(verb, jobs) for verb in handle_verbs(full)])


def test_one_that_is_no_handle_and_none_is_settled(full: JobService) -> None:
    jobs: Any = [given(full), 7]
    refused(full, TypeError, HANDLES + "int", *[partial(verb, jobs) for verb in handle_verbs(full)])


def test_a_handle_of_another_queue(full: JobService) -> None:
    with JobService(MemoryStorage()) as other:
        stranger = given(other)
        message = re.escape(f"{stranger!r} was reserved from another queue than {full!r}: use its own verbs")
        refused(
            full,
            ValueError,
            message,
            *[partial(verb, stranger) for verb in handle_verbs(full)],
            lambda: full.exchange([(stranger, Done())]),
        )
        stranger.done()


OUTCOMES = "outcomes must be pairs of a job and Done, Retry, Release, Reject or Cancel"


@pytest.mark.parametrize(
    "pair",
    [
        lambda job: job,
        lambda job: (job,),
        lambda job: (job, "done"),
        lambda job: (job, Done),
        lambda job: (job, Done(), 1),
        lambda job: [job, Done()],
        lambda job: (Done(), job),
        lambda job: (job, None),
    ],
)
def test_what_is_no_pair_of_a_job_and_an_outcome(full: JobService, pair: Callable[[Job], Any]) -> None:
    held = given(full)
    refused(full, TypeError, OUTCOMES, lambda: full.exchange([pair(held)]))


@pytest.mark.parametrize("outcomes", [5, None, Done()])
def test_outcomes_that_are_none(full: JobService, outcomes: Any) -> None:
    refused(full, TypeError, OUTCOMES, lambda: full.exchange(outcomes))


def test_an_outcome_that_is_none_of_the_five(full: JobService) -> None:
    held = given(full)
    message = "an outcome must be Done, Retry, Release, Reject or Cancel, not Outcome"
    refused(full, TypeError, message, lambda: full.exchange([(held, Outcome())]))


def test_an_outcome_of_no_handle(full: JobService) -> None:
    refused(full, TypeError, HANDLES + "int", lambda: full.exchange([(1, Done())]))  # type: ignore[list-item]  # bad


def test_too_many_handles_in_one_call(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(batch=7))
    held = [given(svc) for _ in range(8)]
    message = r"8 jobs in one call are more than Limits\(batch=7\): use several calls"
    refused(
        svc,
        ValueError,
        message,
        lambda: svc.done(held),
        lambda: svc.exchange([(job, Retry()) for job in held]),
        lambda: svc.cancel([job.id for job in held]),
    )
    refused(svc, ValueError, "n must be from 1 to 7, not 8", lambda: svc.reserve("t", 8))
    refused(svc, ValueError, "limit must be from 1 to 7, not 8", lambda: svc.find(Status.READY, limit=8))


def test_a_result_over_the_limit_of_the_service(open_service: OpenService) -> None:
    svc = open_service(limits=Limits(payload=8))
    held = given(svc)
    refused(svc, PayloadTooLarge, "a result of 9 bytes is over the limit of 8", lambda: held.done("1234567"))
    held.done("123456")


ID = "a job id must be an int, not "


def id_verbs(svc: JobService) -> list[Callable[..., object]]:
    """The verbs that take one id."""
    return [svc.get, svc.status, svc.payload]


def ids_verbs(svc: JobService) -> list[Callable[..., None]]:
    """The verbs that take one id or several."""
    return [svc.cancel, svc.reset, lambda ids: svc.reschedule(ids, datetime.now(UTC)), svc.delete]


@pytest.mark.parametrize(
    ("job_id", "kind"), [("1", "str"), (b"1", "bytes"), (1.0, "float"), (True, "bool"), (None, "NoneType")]
)
def test_what_is_no_id(full: JobService, job_id: Any, kind: str) -> None:
    refused(full, TypeError, ID + kind, *[partial(verb, job_id) for verb in (*ids_verbs(full), *id_verbs(full))])


@pytest.mark.parametrize(("job_id", "kind"), [("1", "str"), (1.0, "float"), (True, "bool"), ([1], "list")])
def test_one_that_is_no_id_among_others(full: JobService, job_id: Any, kind: str) -> None:
    refused(full, TypeError, ID + kind, *[partial(verb, [1, job_id]) for verb in ids_verbs(full)])


def test_a_handle_is_no_id(full: JobService) -> None:
    held = given(full)
    refused(full, TypeError, ID + "Job", *[partial(verb, held) for verb in (*ids_verbs(full), *id_verbs(full))])


@pytest.mark.parametrize(
    ("moment", "error", "message"),
    [
        (NAIVE, ValueError, AWARE),
        (5, TypeError, "must be an aware datetime, not int"),
        ("2026-01-01", TypeError, "must be an aware datetime, not str"),
        (date(2026, 1, 1), TypeError, "must be an aware datetime, not date"),
        (timedelta(days=1), TypeError, "must be an aware datetime, not timedelta"),
        (datetime(1969, 1, 1, tzinfo=UTC), ValueError, YEARS + "1969"),
        (datetime(2201, 1, 1, tzinfo=UTC), ValueError, YEARS + "2201"),
    ],
)
def test_an_instant_that_is_none(full: JobService, moment: Any, error: type[Exception], message: str) -> None:
    waiting = full.enqueue("t")
    refused(full, error, f"run_at {message}", lambda: full.reschedule(waiting, moment))
    refused(full, error, f"before {message}", lambda: full.prune(moment))


STATUS = "status must be one of ready, delayed, reserved, done, canceled, not "
AFTER = "after must be the last JobInfo of the page before, not "


@pytest.mark.parametrize("status", ["dead", "", "READY"])
def test_a_status_that_is_none(full: JobService, status: Any) -> None:
    refused(full, ValueError, STATUS, lambda: full.find(status))


@pytest.mark.parametrize("status", [0, None, []])
def test_a_status_of_the_wrong_kind(full: JobService, status: Any) -> None:
    refused(full, TypeError, "status must be a Status or its name, not ", lambda: full.find(status))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"after": 5}, TypeError, AFTER + "int"),
        ({"after": "x"}, TypeError, AFTER + "str"),
        ({"limit": 0}, ValueError, "limit must be from 1 to 10000, not 0"),
        ({"limit": 10_001}, ValueError, "limit must be from 1 to 10000, not 10001"),
        ({"limit": True}, TypeError, "limit must be an int from 1 to 10000, not bool"),
        ({"limit": None}, TypeError, "limit must be an int from 1 to 10000, not NoneType"),
    ],
)
def test_a_page_that_is_none(full: JobService, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    refused(full, error, message, lambda: full.find(Status.READY, **arguments), lambda: full.dead_letters(**arguments))


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        ("", ValueError, "unique_key must not be empty"),
        (5, TypeError, "unique_key must be a str, not int"),
        (None, TypeError, "unique_key must be a str, not NoneType"),
        ("k" * 4097, ValueError, "unique_key must have at most 4096 bytes in UTF-8, not 4097"),
    ],
)
def test_a_key_to_look_up_that_is_none(full: JobService, key: Any, error: type[Exception], message: str) -> None:
    refused(full, error, message, lambda: full.lookup("t", key))


def test_a_payload_that_is_no_json_or_no_text(svc: JobService) -> None:
    job = given(svc, payload=b"\xff{")
    with unchanged(svc), pytest.raises(ValueError, match="codec can't decode"):
        assert job.text
    with unchanged(svc), pytest.raises(ValueError, match=r"codec can't decode|Expecting|Invalid"):
        job.json()


def test_a_bad_outcome_says_so_when_it_is_used(full: JobService) -> None:
    held = given(full)
    refused(full, TypeError, ERROR, lambda: full.exchange([(held, Reject(5))]))  # type: ignore[arg-type]  # bad
