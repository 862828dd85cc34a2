"""Bad topics and new jobs: each raises the named error, says what is allowed, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from jobq import Done, InvalidTopic, JobService, NewJob, PayloadTooLarge, Status
from tests.contract.refusing import (
    ALLOWED_TOPIC,
    AWARE,
    DURATION,
    HUNDRED_YEARS,
    INFINITY,
    NAIVE,
    NAN,
    YEARS,
    Case,
    refused,
)
from tests.contract.scenes import given

TOPICS: list[Case] = [
    (5, TypeError, "a topic must be a str, not int"),
    (b"mail", TypeError, "a topic must be a str, not bytes"),
    ("a b", InvalidTopic, f"topic 'a b' is not allowed: {ALLOWED_TOPIC}"),
    ("-a", InvalidTopic, ALLOWED_TOPIC),
    (".a", InvalidTopic, ALLOWED_TOPIC),
    ("grün", InvalidTopic, ALLOWED_TOPIC),
    ("a/b", InvalidTopic, ALLOWED_TOPIC),
    ("a\n", InvalidTopic, ALLOWED_TOPIC),
    ("a\x00", InvalidTopic, ALLOWED_TOPIC),
    ("١", InvalidTopic, ALLOWED_TOPIC),
    ("x" * 129, InvalidTopic, ALLOWED_TOPIC),
]
TOPIC_VERBS: list[Callable[[JobService, Any], object]] = [
    lambda svc, topic: svc.enqueue(topic),
    lambda svc, topic: svc.enqueue_many([NewJob("t"), NewJob(topic)]),
    lambda svc, topic: svc.exchange(enqueue=NewJob(topic)),
    lambda svc, topic: svc.reserve(["ready", topic]),
    lambda svc, topic: next(svc.jobs(["ready", topic], timeout=0)),
    lambda svc, topic: svc.lookup(topic, "k"),
    lambda svc, topic: svc.stats(topic),
    lambda svc, topic: svc.pause(topic),
    lambda svc, topic: svc.resume(topic),
    lambda svc, topic: svc.clear(topic),
    lambda svc, topic: svc.prune(topic=topic),
    lambda svc, topic: svc.find(Status.READY, topic=topic),
    lambda svc, topic: svc.dead_letters(topic),
    lambda svc, topic: svc.next_due(["ready", topic]),
]


@pytest.mark.parametrize(("topic", "error", "message"), TOPICS)
def test_a_topic_that_is_none(full: JobService, topic: Any, error: type[Exception], message: str) -> None:
    refused(full, error, message, *[partial(verb, full, topic) for verb in TOPIC_VERBS])


@pytest.mark.parametrize(("topic", "error", "message"), TOPICS[2:])
def test_one_topic_to_reserve_from_that_is_none(
    full: JobService, topic: Any, error: type[Exception], message: str
) -> None:
    refused(full, error, message, lambda: full.reserve(topic))


@pytest.mark.parametrize(
    ("topics", "error", "message"),
    [
        ([], ValueError, "topics must name at least one topic"),
        ((), ValueError, "topics must name at least one topic"),
        (5, TypeError, "topics must be a str or an iterable of str, not int"),
        (None, TypeError, "topics must be a str or an iterable of str, not NoneType"),
        (b"t", TypeError, "a topic must be a str, not bytes"),
    ],
)
def test_topics_that_are_none(full: JobService, topics: Any, error: type[Exception], message: str) -> None:
    refused(
        full,
        error,
        message,
        lambda: full.reserve(topics),
        lambda: full.next_due(topics),
        lambda: next(full.jobs(topics)),
    )


PRIORITY = "priority must be an int from -32768 to 32767, not "
PAYLOAD = "payload must be bytes-like or str, not {}: for a JSON value, pass it as json="
JSON = r"json must be a JSON value \(dict, list, str, number, bool, None\): "
DUPLICATES = "on_duplicate must be 'raise', 'keep' or 'replace', not "
OPTIONS = (
    "the options are lease, max_retries, min_backoff, max_backoff, jitter, keep_done, keep_canceled, keep_dead, "
    "log_status_change"
)

NEW_JOBS: list[Case] = [
    ({"priority": True}, TypeError, PRIORITY + "bool"),
    ({"priority": 1.0}, TypeError, PRIORITY + "float"),
    ({"priority": "1"}, TypeError, PRIORITY + "str"),
    ({"priority": b"1"}, TypeError, PRIORITY + "bytes"),
    ({"priority": None}, TypeError, PRIORITY + "NoneType"),
    ({"priority": 32768}, ValueError, "priority must be from -32768 to 32767, not 32768"),
    ({"priority": -32769}, ValueError, "priority must be from -32768 to 32767, not -32769"),
    ({"payload": {"a": 1}}, TypeError, PAYLOAD.format("dict")),
    ({"payload": [1]}, TypeError, PAYLOAD.format("list")),
    ({"payload": 5}, TypeError, PAYLOAD.format("int")),
    ({"payload": None}, TypeError, PAYLOAD.format("NoneType")),
    ({"payload": "\ud800"}, ValueError, "payload must be text that UTF-8 can encode, or bytes"),
    ({"payload": b"x" * 1_048_577}, PayloadTooLarge, r"a payload of 1048577 bytes is over the limit of 1048576"),
    ({"payload": "ü" * 524_289}, PayloadTooLarge, r"or raise Limits\(payload=…\)"),
    ({"json": "x" * 1_048_575}, PayloadTooLarge, r"a payload of 1048577 bytes"),
    ({"json": object()}, TypeError, JSON + "Object of type object is not JSON serializable"),
    ({"json": {1, 2}}, TypeError, JSON + "Object of type set"),
    ({"json": b"x"}, TypeError, JSON + "Object of type bytes"),
    ({"json": {(1, 2): 3}}, TypeError, JSON + "keys must be str"),
    ({"json": NAN}, ValueError, JSON),
    ({"json": [INFINITY]}, ValueError, JSON),
    ({"json": "\ud800"}, ValueError, JSON),
    ({"payload": b"x", "json": 1}, ValueError, "give either payload or json, not both"),
    ({"payload": "", "json": 1}, ValueError, "give either payload or json, not both"),
    ({"name": 5}, TypeError, "name must be a str, not int"),
    ({"name": None}, TypeError, "name must be a str, not NoneType"),
    ({"name": "ü" * 128}, ValueError, "name must have at most 255 bytes in UTF-8, not 256"),
    ({"name": "\ud800"}, ValueError, "name must be text that UTF-8 can encode"),
    ({"unique_key": ""}, ValueError, "unique_key must not be empty: it is 1 to 4096 bytes in UTF-8, or left out"),
    ({"unique_key": 5}, TypeError, "unique_key must be a str, not int"),
    ({"unique_key": b"k"}, TypeError, "unique_key must be a str, not bytes"),
    ({"unique_key": "k" * 4097}, ValueError, "unique_key must have at most 4096 bytes in UTF-8, not 4097"),
    ({"unique_key": "k\ud800"}, ValueError, "unique_key must be text that UTF-8 can encode"),
    ({"headers": "a=b"}, TypeError, "headers must be a mapping of str to str, not str"),
    ({"headers": [("a", "b")]}, TypeError, "headers must be a mapping of str to str, not list"),
    ({"headers": {"a": 1}}, TypeError, "headers must be a mapping of str to str, and 'a' is str to int"),
    ({"headers": {"a": None}}, TypeError, "headers must be a mapping of str to str, and 'a' is str to NoneType"),
    ({"headers": {b"a": "b"}}, TypeError, "headers must be a mapping of str to str, and b'a' is bytes to str"),
    ({"headers": {"": "b"}}, ValueError, "the name of a header must not be empty"),
    ({"headers": {"a": "\ud800"}}, ValueError, "headers must be text that UTF-8 can encode"),
    ({"headers": {"\ud800": "b"}}, ValueError, "headers must be text that UTF-8 can encode"),
    ({"headers": {"a": "ü" * 2_000}}, ValueError, "headers must have at most 4000 bytes as JSON, not 4008"),
    ({"header": {}}, TypeError, r"unknown option 'header' \(did you mean 'headers'\?\)"),
    ({"on_duplicate": "ignore"}, ValueError, DUPLICATES + "'ignore'"),
    ({"on_duplicate": None}, TypeError, "on_duplicate must be a str, not "),
    ({"on_duplicate": []}, TypeError, "on_duplicate must be a str, not "),
    ({"delay": -1}, ValueError, "delay must be 0 or more seconds, not -1"),
    ({"delay": timedelta(seconds=-1)}, ValueError, r"delay must be 0 or more seconds, not -1\.0"),
    ({"delay": NAN}, ValueError, "delay must be a finite number of seconds, not nan"),
    ({"delay": INFINITY}, ValueError, "delay must be a finite number of seconds, not inf"),
    ({"delay": "5"}, TypeError, f"delay {DURATION}str"),
    ({"delay": True}, TypeError, f"delay {DURATION}bool"),
    ({"delay": datetime.now(UTC)}, TypeError, f"delay {DURATION}datetime"),
    ({"delay": 3_162_240_001}, ValueError, f"delay {HUNDRED_YEARS}3162240001"),
    ({"delay": 10**400}, ValueError, f"delay {HUNDRED_YEARS}"),
    ({"run_at": NAIVE}, ValueError, f"run_at {AWARE}"),
    ({"run_at": 1_700_000_000}, TypeError, "run_at must be an aware datetime, not int"),
    ({"run_at": "2026-01-01"}, TypeError, "run_at must be an aware datetime, not str"),
    ({"run_at": date(2026, 1, 1)}, TypeError, "run_at must be an aware datetime, not date"),
    ({"run_at": datetime(1969, 12, 31, tzinfo=UTC)}, ValueError, f"run_at {YEARS}1969"),
    ({"run_at": datetime(2201, 1, 1, tzinfo=UTC)}, ValueError, f"run_at {YEARS}2201"),
    ({"delay": 5, "run_at": datetime.now(UTC)}, ValueError, "give either delay or run_at, not both"),
    ({"delay": 0, "run_at": datetime.now(UTC)}, ValueError, "give either delay or run_at, not both"),
    ({"options": {"lease": 5}}, TypeError, r"options must be JobOptions\(…\), not dict"),
    ({"options": 5}, TypeError, r"options must be JobOptions\(…\), not int"),
    ({"leese": 5}, TypeError, rf"unknown option 'leese' \(did you mean 'lease'\?\): {OPTIONS}"),
    ({"retries": 5}, TypeError, f"unknown option 'retries'.*{OPTIONS}"),
    ({"pay_load": b""}, TypeError, OPTIONS),
]


@pytest.mark.parametrize(("arguments", "error", "message"), NEW_JOBS)
def test_a_new_job_that_is_none(
    full: JobService, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    held = given(full)
    refused(
        full,
        error,
        message,
        lambda: full.enqueue("t", **arguments),
        lambda: full.enqueue_many([NewJob("t"), NewJob("t", **arguments)]),
        lambda: full.exchange([(held, Done())], enqueue=[NewJob("t", **arguments)]),
        lambda: held.done(then=NewJob("t", **arguments)),
    )
    assert not held.settled


def test_json_that_is_nested_too_deep(full: JobService) -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    refused(full, ValueError, JSON, lambda: full.enqueue("t", json=value))


JOBS = r"jobs to enqueue must be NewJob\(topic, priority, payload, …\), not "


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        (["t"], JOBS + "str"),
        ("t", JOBS + "str"),
        ([{"topic": "t"}], JOBS + "dict"),
        ([NewJob("t"), None], JOBS + "NoneType"),
        (5, JOBS + "int"),
        (None, JOBS + "NoneType"),
    ],
)
def test_what_is_no_new_job(full: JobService, jobs: Any, message: str) -> None:
    held = given(full)
    refused(
        full,
        TypeError,
        message,
        lambda: full.enqueue_many(jobs),
        lambda: full.exchange([(held, Done())], enqueue=jobs),
        lambda: held.done(then=jobs),
    )
