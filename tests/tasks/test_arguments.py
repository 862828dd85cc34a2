"""From a call to a payload and back: JSON, and codecs of the user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq import Retry, Tasks, Worker
from jobq.tasks import JsonCodec
from jobq.testing import QueueForTests, drain

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=3), st.dictionaries(st.text("abcdé"), VALUES, max_size=3))
def test_what_json_can_say_arrives_as_it_was_sent(args: list[Any], kwargs: dict[str, Any]) -> None:
    seen: list[Any] = []
    queue, tasks = QueueForTests(), Tasks()
    tasks.bind(queue)

    @tasks.task
    def take(*args: Any, **kwargs: Any) -> None:
        seen.extend((list(args), kwargs))

    id = take.enqueue(*args, **kwargs)
    sent = json.loads(queue.payload(id))
    assert sent == {key: value for key, value in (("args", args), ("kwargs", kwargs)) if value}
    assert drain(Worker(queue, "", tasks=tasks)) == 1
    assert seen == [args, kwargs]


def test_defaults_are_those_of_whoever_runs_the_task() -> None:
    queue, tasks = QueueForTests(), Tasks()
    tasks.bind(queue)

    @tasks.task
    def send(to: str, *, subject: str = "hello", retries: int = 3) -> None: ...

    assert queue.payload(send.enqueue("a")) == b'{"args":["a"]}'
    assert queue.payload(send.enqueue(to="a", retries=3)) == b'{"kwargs":{"to":"a","retries":3}}'


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, r"send\(to, subject='hello'\): missing a required argument: 'to'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"to": 2}, "multiple values for argument 'to'"),
        ((1,), {"subjekt": 2}, "got an unexpected keyword argument 'subjekt'"),
        ((1,), {"delay": 2}, r"keyword argument 'delay'; how it is enqueued is said by \.options\(delay=…\)\.enqueue"),
        ((b"b",), {}, "send, argument 'to': each argument must be a JSON value .*bytes is not .*; send text or an id"),
        ((1,), {"subject": {1, 2}}, "send, argument 'subject': .*set is not JSON serializable"),
        (({"a": [{2: "b"}]},), {}, "send, argument 'to': .* dicts have str for keys, not 2"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_when_enqueued(args: Any, kwargs: Any, problem: str) -> None:
    queue, tasks = QueueForTests(), Tasks()
    tasks.bind(queue)

    def send(to: str, subject: str = "hello") -> None: ...

    task: Any = tasks.task(send)
    for enqueue in (task.enqueue, task.new_job, task.options(delay=1).enqueue):
        with pytest.raises(TypeError, match=problem):
            enqueue(*args, **kwargs)
    with pytest.raises(
        ValueError, match=r"send, argument 'to': each argument must be a JSON value .*Out of range float"
    ):
        task.enqueue(float("nan"))
    assert queue.topics() == []


class NoUnits(ValueError):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(one, other)


class DateCodec:
    """JSON with dates, and a way to fail."""

    def dumps(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        if "unit" in kwargs:
            raise NoUnits("as it is", "for the caller")
        return json.dumps([args, kwargs], default=date.isoformat).encode()

    def loads(self, data: bytes) -> tuple[Sequence[Any], Mapping[str, Any]]:
        if b"later" in data:
            raise Retry(60, error="the key server is away")
        args, kwargs = json.loads(data)
        return [date.fromisoformat(value) for value in args], kwargs


def test_a_codec_of_the_users_own_writes_and_reads_them() -> None:
    queue, tasks = QueueForTests(), Tasks(codec=DateCodec())
    tasks.bind(queue)
    seen: list[date] = []

    @tasks.task
    def remind(day: date, **others: str) -> None:
        seen.append(day)

    good = remind.enqueue(date(2026, 3, 29))
    bad = queue.enqueue("", name=remind.name, payload="[[3], {}]")
    away = remind.enqueue(date(2026, 3, 30), note="later")
    with pytest.raises(NoUnits):
        remind.enqueue(date(2026, 3, 29), unit="day")
    assert drain(Worker(queue, "", tasks=tasks)) == 3
    assert seen == [date(2026, 3, 29)]
    assert queue.status(good) == "done"
    assert queue.get(bad).cancel_reason == "rejected"
    assert "cannot be read: TypeError: fromisoformat" in (queue.get(bad).last_error or "")
    assert (queue.status(away), queue.get(away).last_error) == ("delayed", "the key server is away")


def test_the_codec_is_there_for_others_to_build_on() -> None:
    codec = JsonCodec()
    assert codec.loads(codec.dumps((1, (2, 3)), {})) == ([1, [2, 3]], {})
    assert codec.dumps((), {}) == b"{}"
    assert codec.loads(b"") == codec.loads(b"{}") == ([], {})
