"""Bad options, limits and settings of a service: each raises the named error and says what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from jobq import InvalidTopic, JobOptions, JobService, Limits, NewJob
from jobq.repos import MemoryStorage
from tests.contract.refusing import ALLOWED_TOPIC, DURATION, HUNDRED_YEARS, INFINITY, NAN, Case, refused

JOB_OPTIONS: list[Case] = [
    ({"lease": 0}, ValueError, "lease must be above 0 seconds, not 0"),
    ({"lease": -1}, ValueError, "lease must be above 0 seconds, not -1"),
    ({"lease": None}, TypeError, f"lease {DURATION}NoneType"),
    ({"lease": NAN}, ValueError, "lease must be a finite number of seconds, not nan"),
    ({"lease": "5"}, TypeError, f"lease {DURATION}str"),
    ({"lease": 3_162_240_001}, ValueError, f"lease {HUNDRED_YEARS}"),
    ({"max_retries": -1}, ValueError, "max_retries must be from 0 to 2147483647, or None, which retries for ever"),
    ({"max_retries": 2**31}, ValueError, "max_retries must be from 0 to 2147483647"),
    ({"max_retries": 1.5}, TypeError, "max_retries must be an int, or None, which retries for ever, not float"),
    ({"max_retries": True}, TypeError, "max_retries must be an int, or None, .*, not bool"),
    ({"min_backoff": -1}, ValueError, "min_backoff must be 0 or more seconds, not -1"),
    ({"max_backoff": INFINITY}, ValueError, "max_backoff must be a finite number of seconds, not inf"),
    ({"max_backoff": None}, TypeError, f"max_backoff {DURATION}NoneType"),
    ({"min_backoff": 3601}, ValueError, r"min_backoff \(3601\) must not be above max_backoff \(3600\): change both"),
    ({"max_backoff": 29}, ValueError, r"min_backoff \(30\) must not be above max_backoff \(29\): change both"),
    ({"jitter": -0.1}, ValueError, r"jitter must be from 0 to 1, not -0\.1"),
    ({"jitter": 1.1}, ValueError, r"jitter must be from 0 to 1, not 1\.1"),
    ({"jitter": NAN}, ValueError, "jitter must be from 0 to 1, not nan"),
    ({"jitter": "0"}, TypeError, "jitter must be a number from 0 to 1, not str"),
    ({"jitter": True}, TypeError, "jitter must be a number from 0 to 1, not bool"),
    ({"keep_done": -1}, ValueError, "keep_done must be 0 or more seconds, not -1"),
    ({"keep_canceled": NAN}, ValueError, "keep_canceled must be a finite number of seconds, not nan"),
    ({"keep_dead": "1"}, TypeError, f"keep_dead {DURATION}str"),
    ({"log_status_change": 1}, TypeError, "log_status_change must be True or False, not int"),
]


@pytest.mark.parametrize(("fields", "error", "message"), JOB_OPTIONS)
def test_options_that_are_none(full: JobService, fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        JobOptions(**fields)
    refused(
        full,
        error,
        message,
        lambda: full.enqueue("t", **fields),
        lambda: full.enqueue_many([NewJob("t"), NewJob("t", **fields)]),
    )


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"payload": 0}, ValueError, "payload must be from 1 to 2147483647, not 0"),
        ({"batch": -1}, ValueError, "batch must be from 1 to 2147483647, not -1"),
        ({"batch": None}, TypeError, "batch must be an int, not NoneType"),
        ({"batch_bytes": 1.5}, TypeError, "batch_bytes must be an int, not float"),
        ({"depth": 0}, ValueError, "depth must be from 1 to .*, or None, which sets no bound, not 0"),
        ({"depth": True}, TypeError, "depth must be an int, or None, which sets no bound, not bool"),
        ({"done": -1}, ValueError, "done must be from 0 to "),
        ({"done": None}, TypeError, "done must be an int, not NoneType"),
    ],
)
def test_limits_that_are_none(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Limits(**fields)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"defaults": {"lease": 5}}, TypeError, r"defaults must be JobOptions\(…\), not dict"),
        ({"topic_defaults": {"t": 5}}, TypeError, r"topic_defaults\['t'\] must be JobOptions\(…\), not int"),
        ({"topic_defaults": {"a b": JobOptions()}}, InvalidTopic, ALLOWED_TOPIC),
        ({"topic_defaults": {5: JobOptions()}}, TypeError, "a topic must be a str, not int"),
        ({"topic_defaults": JobOptions()}, TypeError, "topic_defaults must be a mapping of topics to JobOptions"),
        ({"topic_defaults": [("t", JobOptions())]}, TypeError, "topic_defaults must be a mapping .*, not list"),
        ({"limits": {"batch": 5}}, TypeError, r"limits must be Limits\(…\), not dict"),
        ({"limits": 5}, TypeError, r"limits must be Limits\(…\), not int"),
    ],
)
def test_a_service_of_bad_settings(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    storage = MemoryStorage()
    with pytest.raises(error, match=message):
        JobService(storage, **arguments)
    JobService(storage).enqueue("t")
    storage.close()


def test_a_url_where_a_storage_belongs() -> None:
    with pytest.raises(TypeError, match=r"JobService takes a storage, not str: for a URL use jobq\.open\(url\)"):
        JobService("memory://")  # type: ignore[arg-type]
