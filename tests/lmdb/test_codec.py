"""Records and places to bytes and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq import CancelReason, Status, StorageCorrupt, codec
from jobq.model.records import Entry, Place, Policy, Record, TopicState
from jobq.model.status import Ordering
from jobq.model.times import FOREVER
from tests.records import job

nanos = st.integers(0, FOREVER)
counts = st.integers(0, 2**32 - 1)
topics = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
states = st.sampled_from(
    [(status, None) for status in Status if status is not Status.CANCELED]
    + [(Status.CANCELED, reason) for reason in CancelReason]
)
keeps = st.none() | nanos
policies = st.builds(
    Policy, nanos, st.none() | counts, nanos, nanos, st.floats(0, 1), keeps, keeps, keeps, st.booleans()
)
POLICY = Policy(1, None, 1, 1, 0.0, None, None, None)


@st.composite
def records(draw: st.DrawFn) -> Record:
    status, reason = draw(states)
    return Record(
        id=draw(st.integers(1, 2**64 - 1)),
        topic=draw(topics),
        priority=draw(st.integers(-(2**15), 2**15 - 1)),
        name=draw(st.just("") | texts),
        unique_key=draw(st.just("") | texts),
        policy=POLICY,
        created_at=draw(nanos),
        reset_count=draw(counts),
        status=status,
        cancel_reason=reason,
        run_at=draw(nanos),
        reserved_at=draw(nanos),
        generation=draw(counts),
        deadline=draw(nanos),
        finished_at=draw(nanos),
        attempt=draw(counts),
        retry_count=draw(counts),
        note=draw(st.just("") | texts),
        last_error=draw(st.just("") | texts),
        result=draw(st.just(b"") | st.binary(max_size=50)),
        headers=draw(st.just(b"") | st.binary(max_size=50)),
    )


@given(records())
def test_a_record_survives_the_way_to_bytes_and_back(record: Record) -> None:
    data = codec.encode_record(record, 7)
    assert codec.decode_record(record.id, data, {7: POLICY}.__getitem__) == record


@given(records())
def test_a_lean_record_lacks_its_texts_alone(record: Record) -> None:
    data = codec.encode_record(record, 7, lean=True)
    lean = record._replace(note="", last_error="", result=b"")
    assert codec.decode_record(record.id, data, {7: POLICY}.__getitem__) == lean


@given(records())
def test_a_record_without_headers_is_format_1_and_one_with_headers_format_2(record: Record) -> None:
    assert codec.encode_record(record, 7)[0] == (2 if record.headers else 1)
    plain = codec.encode_record(record._replace(headers=b""), 7)
    extra = 2 + len(record.headers) if record.headers else 0
    assert len(codec.encode_record(record, 7)) == len(plain) + extra


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (
            "0102fdff09000000e803000000000000d007000000000000b80b000000000000000000000000000002000000a00f000000000000"
            "0500000004000000010000000404010000000400030000006d61696c73656e646b626f6f6d5b315d",
            ("send", "k", "boom", b"[1]"),
        ),
        (
            "0102fdff09000000e803000000000000d007000000000000b80b000000000000000000000000000002000000a00f000000000000"
            "0500000004000000010000000400000000000000000000006d61696c",
            ("", "", "", b""),
        ),
    ],
)
def test_what_the_first_version_wrote_is_read_and_written_as_it_was(
    data: str, texts: tuple[str, str, str, bytes]
) -> None:
    name, key, error, result = texts
    record = Record(
        7,
        "mail",
        -3,
        name,
        key,
        POLICY,
        1000,
        1,
        Status.RESERVED,
        None,
        2000,
        3000,
        2,
        4000,
        0,
        5,
        4,
        "",
        error,
        result,
    )
    assert codec.decode_record(7, bytes.fromhex(data), {9: POLICY}.__getitem__) == record
    assert codec.encode_record(record, 9).hex() == data


@given(records(), st.data())
def test_a_record_that_was_cut_short_is_refused(record: Record, data: st.DataObject) -> None:
    whole = codec.encode_record(record, 7)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(StorageCorrupt, match=f"the record of job {record.id} cannot be read: "):
        codec.decode_record(record.id, whole[:cut], {7: POLICY}.__getitem__)


def test_a_record_of_an_unknown_format_is_refused() -> None:
    whole = codec.encode_record(job(), 7)
    with pytest.raises(StorageCorrupt, match="format 3 is unknown"):
        codec.decode_record(7, b"\3" + whole[1:], {7: POLICY}.__getitem__)


@given(policies)
def test_a_policy_survives(policy: Policy) -> None:
    assert codec.decode_policy(codec.encode_policy(policy)) == policy


def test_a_policy_stored_before_there_were_logs_is_read() -> None:
    fields = json.loads(codec.encode_policy(POLICY))
    del fields["log_status_change"]
    assert codec.decode_policy(json.dumps(fields).encode()) == POLICY
    assert POLICY.log_status_change is False


@given(st.builds(Entry, st.integers(1, 2**64 - 1), nanos, texts))
def test_a_line_of_a_log_survives(entry: Entry) -> None:
    assert codec.decode_line(entry.job_id, codec.encode_line(entry)) == entry


@pytest.mark.parametrize("data", [b"", b"\1short", b"\2" + bytes(8), b"\1" + bytes(8) + b"\xff"])
def test_what_is_no_line_of_a_log_is_refused(data: bytes) -> None:
    with pytest.raises(StorageCorrupt, match="a line of the log of job 7 cannot be read: "):
        codec.decode_line(7, data)


@given(st.lists(st.tuples(st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=2, max_size=2))
def test_the_lines_of_a_job_stand_together_in_their_order(pair: list[tuple[int, int]]) -> None:
    assert sorted(pair) == sorted(pair, key=lambda line: codec.line_key(*line))
    for job_id, number in pair:
        key = codec.line_key(job_id, number)
        assert (key.startswith(codec.id_key(job_id)), codec.line_number(key)) == (True, number)


@given(st.integers(1, 2**64 - 1))
def test_an_id_survives(job_id: int) -> None:
    assert codec.id_of(codec.id_key(job_id)) == job_id


@given(
    st.booleans(),
    st.tuples(*[nanos] * 6),
    st.tuples(*[nanos] * 7, st.integers(0, 2**127), st.integers(0, 2**127)),
    st.tuples(*[nanos] * 4),
)
def test_the_counters_of_a_topic_survive(
    paused: bool, now: tuple[int, ...], totals: tuple[int, ...], instants: tuple[int, ...]
) -> None:
    state = TopicState(paused, now, totals, *instants)
    assert codec.decode_state("mail", codec.encode_state(state)) == state


places = st.builds(
    Place,
    st.sampled_from(["a", "a.b", "a-b", "ab", "a0"]),
    st.just(Ordering.READY),
    st.integers(-(2**15), 2**31 - 1),
    nanos,
    st.integers(1, 2**64 - 1),
)


@given(places)
def test_a_place_survives(place: Place) -> None:
    assert codec.place_at(place.topic, place.ordering, codec.place_key(place)) == place


@given(st.lists(places, unique=True))
def test_the_keys_of_a_topic_stand_together_and_sort_as_its_places(found: list[Place]) -> None:
    by_key = sorted(found, key=codec.place_key)
    for topic in {place.topic for place in found}:
        own = [place for place in found if place.topic == topic]
        positions = [by_key.index(place) for place in own]
        assert max(positions) - min(positions) + 1 == len(own)
        assert [place for place in by_key if place.topic == topic] == sorted(own)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1000), topics)
def test_the_keys_of_unique_keys_fit_in_lmdb(key: str, topic: str) -> None:
    assert len(codec.unique_index_key(topic, key)) <= 511


def test_long_unique_keys_differ_where_only_their_ends_do() -> None:
    keys = {codec.unique_index_key("mail", "x" * 300 + end) for end in "abc"}
    assert len(keys) == 3
