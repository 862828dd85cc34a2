"""What test_model draws: jobs, outcomes and the like, in few draws each so that long runs stay possible."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from jobq import Cancel, CancelReason, Done, JobOptions, Reject, Release, Retry

KEYS = ["k", "ключ"]

Drawn = dict[str, Any]
"""Keyword arguments; `in_` stands for a run_at so many seconds from now."""
DrawnOutcome = tuple[type[Any], Drawn]


def merged(parts: Iterable[Drawn]) -> Drawn:
    """All keyword arguments together."""
    return {name: value for part in parts for name, value in part.items()}


names = st.sampled_from(["a", "a", "a", "b:1", "b:1", "default", ""])
several_names = st.lists(names, min_size=1, max_size=3)
delays = st.sampled_from([0, 1, 2.3, 10, 100])
leases = st.sampled_from([None, None, 0.001, 1, 2.3, 60])
lingers = st.sampled_from([0, 0, 0.001, 5])
run_ats = st.sampled_from([-10, 0, 1, 30])
picks = st.integers(0, 40)
"""Which of what there is then, counted round."""
messages = st.sampled_from(["", "line", "größe\n🙂", "x" * 2_001])
several_picks = st.lists(picks, max_size=3)

_payloads: list[Any] = [b"", b"\x00\xff", bytearray(b"array"), memoryview(b"view"), "größe"]
_jsons: list[Any] = [None, {"n": [1, 2.5]}, "é"]
_contents = [*({"payload": one} for one in _payloads), *({"json": one} for one in _jsons)]
_ranks: list[Drawn] = [
    {},
    {},
    {"priority": -(2**15), "name": "send"},
    {"priority": -1, "headers": {"trace": "t-1", "größe": '"x"\n'}},
    {"priority": 1, "name": "größe"},
    {"priority": 2**15 - 1},
]
_timings: list[Drawn] = [{}, {}, {}, {"delay": 0}, {"delay": 2.3}, {"delay": 60}, {"in_": -10}, {"in_": 1}, {"in_": 30}]
_keyings: list[Drawn] = [
    {},
    {},
    {},
    {"unique_key": KEYS[0]},
    {"unique_key": KEYS[0], "on_duplicate": "keep"},
    {"unique_key": KEYS[0], "on_duplicate": "replace"},
    {"unique_key": KEYS[0], "on_duplicate": "replace", "headers": {"trace": "t-2"}},
    {"unique_key": KEYS[1], "on_duplicate": "replace"},
]
_overrides: list[Drawn] = [
    {},
    {},
    {"lease": 1},
    {"lease": 0.5, "max_retries": 0},
    {"max_retries": 0, "keep_dead": 0},
    {"max_retries": 1, "min_backoff": 0, "keep_dead": 3},
    {"max_retries": None, "min_backoff": 2.3},
    {"log_status_change": True, "lease": 1, "max_retries": 1},
    {"log_status_change": False},
    {"keep_done": 0, "keep_canceled": 0, "keep_dead": 60},
    {"keep_done": 3, "keep_canceled": 3},
    {"keep_done": None, "keep_canceled": None, "keep_dead": None},
    {"options": JobOptions(lease=2, max_retries=3, min_backoff=1, keep_done=10)},
    {"options": JobOptions(lease=2, max_retries=3, min_backoff=1), "lease": 3},
]

new_jobs = st.tuples(
    names.map(lambda name: {"topic": name}), *map(st.sampled_from, (_contents, _ranks, _timings, _keyings, _overrides))
).map(merged)
batches = st.lists(new_jobs, max_size=4)

_outcomes: list[DrawnOutcome] = [
    (Done, {}),
    (Done, {"result": {"rows": [1, None, "ß"]}}),
    (Retry, {}),
    (Retry, {"error": "boom"}),
    (Retry, {"error": ValueError("bad"), "delay": 0}),
    (Retry, {"delay": 7}),
    (Retry, {"in_": 5}),
    (Retry, {"in_": -5, "error": "late"}),
    (Release, {}),
    (Release, {"delay": 2.3}),
    (Release, {"in_": 5}),
    (Release, {"in_": -5}),
    (Reject, {}),
    (Reject, {"error": "never"}),
    (Reject, {"reason": CancelReason.UNHANDLED}),
    (Cancel, {}),
    (Cancel, {"note": "no more"}),
]
outcomes = st.sampled_from(_outcomes) | st.one_of(
    batches.map(lambda then: (Done, {"result": 7, "then": then})),
    batches.map(lambda then: (Release, {"delay": 1, "then": then})),
    batches.map(lambda then: (Release, {"in_": 3, "then": then})),
)
