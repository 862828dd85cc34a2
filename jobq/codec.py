"""Records to bytes and back, in one versioned format.

A record is a fixed part, little-endian, and a tail of texts whose lengths stand in the fixed part; its id is its key,
and its policy a number that the storage interns. A place is a key that sorts as places do: the topic, a zero byte,
and the big-endian rank. All of this is format 1, but for records with headers, which are format 2. So a directory of
format 1 is one of format 2 in which no job has headers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from struct import Struct
from struct import error as struct_error

from jobq.errors import StorageCorrupt
from jobq.model.records import Entry, Hold, Place, Policy, Record, TopicState
from jobq.model.status import CancelReason, Ordering, Status

FORMAT = 2
"""That of a directory: the highest of which there may be something in it."""
READABLE = (1, 2)
"""Formats of directories that can be read."""
_PLAIN, _HEADED = 1, 2

_STATES: tuple[tuple[Status, CancelReason | None], ...] = (
    (Status.READY, None),
    (Status.DELAYED, None),
    (Status.RESERVED, None),
    (Status.DONE, None),
    (Status.CANCELED, CancelReason.REQUESTED),
    (Status.CANCELED, CancelReason.EXHAUSTED),
    (Status.CANCELED, CancelReason.REJECTED),
    (Status.CANCELED, CancelReason.UNHANDLED),
)
_CODES: dict[tuple[Status, CancelReason | None], int] = {state: code for code, state in enumerate(_STATES)}

# format, state, priority, policy | created_at, run_at, reserved_at, finished_at | generation, deadline
# | attempt, retry_count, reset_count | lengths of topic, name, unique_key, note, last_error, result
_RECORD = Struct("<BBhIqqqqIqIIIBBHHHI")
_HEAD = _RECORD.size
# The same with the length of the headers, which stand behind the other texts.
_HEADED_RECORD = Struct("<BBhIqqqqIqIIIBBHHHIH")
_STATE = Struct("<BB6q7qQQQQ4q")
_LINE = Struct("<Bq")
_LINE_KEY = Struct(">QQ")
_ID = Struct(">Q")
_RANK = Struct(">IQQ")
_MAJOR = 2**31
_LOW = 2**64 - 1
_LONGEST_PLAIN_KEY = 256
_ADVICE = "verify(repair=True) counts them anew"

id_key = _ID.pack
line_key = _LINE_KEY.pack
_NEW = tuple.__new__


PolicyLookup = Callable[[int], Policy]
"""Finds a policy by the number that a record names."""


def id_of(key: bytes) -> int:
    """The inverse of `id_key`."""
    return int.from_bytes(key, "big")


def encode_record(job: Record, policy: int, *, lean: bool = False) -> bytes:
    """A record as bytes; `lean` leaves out note, last_error and result, to fit where there is no room."""
    topic = job.topic.encode()
    code = _CODES[job.status, job.cancel_reason]
    if not (job.name or job.unique_key or job.note or job.last_error or job.result or job.headers):
        return (
            _RECORD.pack(
                _PLAIN, code, job.priority, policy, job.created_at, job.run_at, job.reserved_at, job.finished_at,
                job.generation, job.deadline, job.attempt, job.retry_count, job.reset_count,
                len(topic), 0, 0, 0, 0, 0,
            )
            + topic
        )  # fmt: skip
    name, key = job.name.encode(), job.unique_key.encode()
    note, error, result = (b"", b"", b"") if lean else (job.note.encode(), job.last_error.encode(), job.result)
    fields = (
        code, job.priority, policy, job.created_at, job.run_at, job.reserved_at, job.finished_at,
        job.generation, job.deadline, job.attempt, job.retry_count, job.reset_count,
        len(topic), len(name), len(key), len(note), len(error), len(result),
    )  # fmt: skip
    if job.headers:
        head = _HEADED_RECORD.pack(_HEADED, *fields, len(job.headers))
        return b"".join((head, topic, name, key, note, error, result, job.headers))
    return b"".join((_RECORD.pack(_PLAIN, *fields), topic, name, key, note, error, result))


def decode_record(job_id: int, data: bytes, policy_of: PolicyLookup) -> Record:
    """The record of these bytes; StorageCorrupt if they are none."""
    try:
        (
            version, code, priority, policy, created_at, run_at, reserved_at, finished_at, generation, deadline,
            attempt, retry_count, reset_count, *lengths,
        ) = _RECORD.unpack_from(data)  # fmt: skip
        start = _HEAD
        if version != _PLAIN:
            if version != _HEADED:
                raise ValueError(f"format {version} is unknown")
            start = _HEADED_RECORD.size
            lengths.append(_HEADED_RECORD.unpack_from(data)[-1])
        status, reason = _STATES[code]
        end = start + lengths[0]
        topic = str(data[start:end], "ascii")
        if len(data) == end:
            name = key = note = error = ""
            result = headers = b""
        else:
            name, key, note, error, result, headers = _texts(data, end, lengths[1:])
        return _NEW(
            Record,
            (
                job_id, topic, priority, name, key, policy_of(policy), created_at, reset_count, status, reason,
                run_at, reserved_at, generation, deadline, finished_at, attempt, retry_count, note, error, result,
                headers,
            ),
        )  # fmt: skip
    except (struct_error, ValueError, IndexError, KeyError, StorageCorrupt) as problem:
        raise StorageCorrupt(f"the record of job {job_id} cannot be read: {problem}") from problem


def _texts(data: bytes, start: int, lengths: list[int]) -> tuple[str, str, str, str, bytes, bytes]:
    parts = []
    for length in lengths:
        parts.append(data[start : start + length])
        start += length
    if start != len(data):
        raise ValueError(f"{len(data)} bytes where {start} were announced")
    name, key, note, error, result, *headers = parts
    return name.decode(), key.decode(), note.decode(), error.decode(), result, b"".join(headers)


def encode_state(state: TopicState) -> bytes:
    """The counters of a topic as bytes; the two sums of nanoseconds have 128 bits."""
    paused, now, (*counts, wait, run), *instants = state
    return _STATE.pack(
        _PLAIN, paused, *now, *counts, wait & _LOW, wait >> 64, run & _LOW, run >> 64, *instants
    )  # fmt: skip


def decode_state(topic: str, data: bytes) -> TopicState:
    """The counters of these bytes; StorageCorrupt if they are none."""
    try:
        version, paused, *rest = _STATE.unpack(data)
    except struct_error as problem:
        raise StorageCorrupt(f"the counters of topic {topic!r} cannot be read ({problem}): {_ADVICE}") from problem
    if version != _PLAIN:
        raise StorageCorrupt(f"the counters of topic {topic!r} have the unknown format {version}: {_ADVICE}")
    wait, run = rest[13] | rest[14] << 64, rest[15] | rest[16] << 64
    return TopicState(bool(paused), tuple(rest[:6]), (*rest[6:13], wait, run), *rest[17:])


def encode_policy(policy: Policy) -> bytes:
    """A policy as JSON: an object, so that a later format can add to it."""
    return json.dumps(policy._asdict(), separators=(",", ":")).encode()


def decode_policy(data: bytes) -> Policy:
    """The policy of these bytes; StorageCorrupt if they are none."""
    try:
        policy = Policy(**json.loads(data))
        if not all(isinstance(value, int | float | None) for value in policy):
            raise ValueError(f"its values are {policy!r}")
        return policy
    except (ValueError, TypeError) as problem:
        raise StorageCorrupt(f"a policy cannot be read: {problem}") from problem


def encode_line(entry: Entry) -> bytes:
    """A line of a log as bytes; whose it is stands in its key."""
    return _LINE.pack(_PLAIN, entry.at) + entry.message.encode()


def decode_line(job_id: int, data: bytes) -> Entry:
    """The line of these bytes; StorageCorrupt if they are none."""
    try:
        version, at = _LINE.unpack_from(data)
        if version != _PLAIN:
            raise ValueError(f"format {version} is unknown")
        return Entry(job_id, at, data[_LINE.size :].decode())
    except (struct_error, ValueError) as problem:
        raise StorageCorrupt(f"a line of the log of job {job_id} cannot be read: {problem}") from problem


def line_number(key: bytes) -> int:
    """The second half of a `line_key`, which is made of the job's id and the line's number."""
    return int.from_bytes(key[_ID.size :], "big")


def topic_prefix(topic: str) -> bytes:
    """What all keys of a topic begin with, and those of no other: a name has no zero byte."""
    return topic.encode() + b"\0"


def rank_suffix(major: int, minor: int, job_id: int) -> bytes:
    """What a place's key ends with; sorts as (major, minor, id)."""
    return _RANK.pack(major + _MAJOR, minor, job_id)


def place_key(place: Place) -> bytes:
    """The key of a place within its ordering."""
    topic, _, major, minor, job_id = place
    return topic.encode() + b"\0" + _RANK.pack(major + _MAJOR, minor, job_id)


def place_at(topic: str, ordering: Ordering, key: bytes) -> Place:
    """The inverse of `place_key`."""
    major, minor, job_id = _RANK.unpack(key[-_RANK.size :])
    return _NEW(Place, (topic, ordering, major - _MAJOR, minor, job_id))


def unique_index_key(topic: str, unique_key: str) -> bytes:
    """The key of a unique key: as it is, or hashed (BLAKE2b, 32 bytes) where it is long."""
    raw = unique_key.encode()
    if len(raw) > _LONGEST_PLAIN_KEY:
        from hashlib import blake2b  # here, as few keys are long, and OpenSSL takes 3 ms to come

        return topic_prefix(topic) + b"h" + blake2b(raw, digest_size=32).digest()
    return topic_prefix(topic) + b"k" + raw


def decode_hold(key: bytes, value: bytes) -> Hold:
    """Who holds a unique key, from the `unique_index_key` and the id behind it; whatever bytes these are."""
    topic, _, name = key.partition(b"\0")
    label = repr(name[1:].decode("utf-8", "replace")) if name[:1] == b"k" else "(a long one)"
    return Hold(topic.decode("ascii", "replace"), label, key, id_of(value))
