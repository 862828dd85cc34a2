"""verify and the quarantine: bytes in an LMDB directory that say nothing, or something wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from jobq import Difference, InvalidStatus, JobNotFound, JobOptions, JobService, NewJob, StorageCorrupt
from jobq.codec import decode_state, encode_policy, encode_state, id_key
from jobq.model.records import TopicState, policy_of
from jobq.repos.lmdb import LmdbStorage
from jobq.repos.lmdb.databases import Databases
from jobq.testing.invariants import check_invariants, dump
from tests.clocks import ManualClock
from tests.contract.scenes import given

DEFAULTS = JobOptions(lease=5, keep_done=77)
DAMAGE = b"\x07" * 90


class Queue:
    """A service with options of its own, and a hand that reaches into the bytes of its directory."""

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self._arguments = (path, clock)
        self.open()

    def open(self) -> None:
        path, clock = self._arguments
        self.storage = LmdbStorage(path, sync="off", clock=clock)
        self.svc = JobService(self.storage, defaults=DEFAULTS, topic_defaults={"other": JobOptions(lease=9)})

    def reopen(self) -> JobService:
        """Close and open it again, so that nothing is known but what the directory says."""
        self.svc.close()
        self.open()
        return self.svc

    def write(self, database: str, key: bytes, value: bytes | None) -> None:
        environment = self.storage._environment
        with environment.env.begin(write=True) as txn:
            db = getattr(environment.dbs, database)
            if value is None:
                assert txn.delete(key, db=db)
            else:
                txn.put(key, value, db=db)

    def rows(self, database: str) -> dict[bytes, bytes]:
        environment = self.storage._environment
        with environment.env.begin() as txn, txn.cursor(getattr(environment.dbs, database)) as cursor:
            return dict(cursor)


@pytest.fixture
def queue(tmp_path: Path, clock: ManualClock) -> Iterator[Queue]:
    queue = Queue(tmp_path / "jobs", clock)
    yield queue
    queue.svc.close()


def kinds(differences: list[Difference]) -> list[tuple[str, int | None, bool]]:
    return [(found.kind, found.job_id, found.repaired) for found in differences]


# -- records that cannot be read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["ready", "delayed", "reserved", "done"])
@pytest.mark.parametrize("damage", [b"\0", DAMAGE, b"\x01\xff" + b"\0" * 76, b"\x02" + b"\0" * 75])
def test_an_unreadable_record_is_reported_and_set_aside_by_a_repair_alone(
    queue: Queue, status: str, damage: bytes
) -> None:
    svc = queue.svc
    delay, headers = 5 if status == "delayed" else None, {"n": "1"}
    svc.enqueue_many([NewJob("mail", delay=delay, payload=f"{n}", headers=headers) for n in range(5)])
    if status in ("reserved", "done"):
        svc.reserve("mail", 5)
    if status == "done":
        for job in svc.reserve("mail", 5):
            job.done()
    queue.write("jobs", id_key(3), damage)
    assert kinds(svc.verify()) == [("unreadable", 3, False)]
    message = svc.verify()[0].message
    assert re.fullmatch(r"the record of job 3 cannot be read: .+; repairing sets it aside", message)
    assert queue.rows("jobs")[id_key(3)] == damage
    assert kinds(svc.verify(repair=True)) == [("unreadable", 3, True)]
    assert queue.rows("quarantine") == {id_key(3): damage}
    check_invariants(queue.storage)
    [left] = svc.verify()
    assert (left.kind, left.job_id, left.repaired) == ("quarantined", 3, False)
    assert left.message.startswith("job 3 was set aside, as its record could not be read: the record of job 3 cannot")
    assert svc.verify(repair=True) == [left]
    assert [svc.get(job_id).id for job_id in (1, 2, 4, 5)] == [1, 2, 4, 5]


def test_what_is_set_aside_is_deleted_on_request(queue: Queue) -> None:
    svc = queue.svc
    svc.enqueue_many([NewJob("mail", payload="x" * 3000) for _ in range(3)])
    queue.write("jobs", id_key(2), DAMAGE)
    with pytest.raises(JobNotFound):
        svc.delete(2)
    svc.verify(repair=True)
    svc.cancel(3)
    with pytest.raises(InvalidStatus):
        svc.delete([1, 2, 3])
    with pytest.raises(JobNotFound) as unknown:
        svc.delete([2, -1, 2**64, 10**30])
    assert unknown.value.ids == [-1, 2**64, 10**30]
    assert kinds(svc.verify()) == [("quarantined", 2, False)]
    svc.delete([2, 3])
    assert svc.verify() == []
    assert queue.rows("quarantine") == {}
    assert set(queue.rows("payloads")) == {id_key(1)}
    with pytest.raises(JobNotFound):
        svc.delete(2)


def test_a_page_of_jobs_leaves_out_what_cannot_be_read(queue: Queue) -> None:
    queue.svc.enqueue_many([NewJob("mail") for _ in range(9)])
    for job_id in (1, 4, 5, 6, 9):
        queue.write("jobs", id_key(job_id), DAMAGE)
    pages = queue.storage.view(lambda uow: [uow.jobs.page(after, 2) for after in (0, 3, 7, 8)])
    assert [[job.id for job in page] for page in pages] == [[2, 3], [7, 8], [8], []]
    assert set(queue.rows("jobs")) == {id_key(n) for n in range(1, 10)}


def test_the_unique_key_of_a_job_set_aside_is_given_up(queue: Queue) -> None:
    svc = queue.svc
    svc.enqueue("mail", unique_key="user-7")
    queue.write("jobs", id_key(1), DAMAGE)
    with pytest.raises(StorageCorrupt, match=r"held by job 1, which is not there: verify\(repair=True\) gives the key"):
        svc.enqueue("mail", unique_key="user-7")
    found = svc.verify()
    assert kinds(found) == [("unreadable", 1, False), ("unique_key", 1, False), ("count", None, False)][: len(found)]
    assert "the unique key 'user-7' of topic 'mail' is held by job 1, whose record cannot be read" in found[1].message
    assert svc.reserve("mail") == [], "which sets it aside"
    found = svc.verify(repair=True)
    assert kinds(found) == [("quarantined", 1, False), ("unique_key", 1, True)]
    assert found[1].message.endswith("is held by job 1, which is set aside")
    assert kinds(svc.verify()) == [("quarantined", 1, False)]
    assert svc.enqueue("mail", unique_key="user-7") == 2


def test_a_record_that_can_be_read_again_becomes_a_job_again(queue: Queue) -> None:
    svc = queue.svc
    svc.enqueue("mail", payload="kept", unique_key="k")
    before = dump(queue.storage)
    record = queue.rows("jobs")[id_key(1)]
    queue.write("jobs", id_key(1), DAMAGE)
    assert svc.reserve("mail") == []
    queue.write("quarantine", id_key(1), record)
    [found] = [one for one in svc.verify() if one.kind == "quarantined"]
    assert found.message.endswith("it can be read again")
    assert (found.topic, found.repaired) == ("mail", False)
    assert ("quarantined", 1, True) in kinds(svc.verify(repair=True))
    assert svc.verify() == []
    after = dump(queue.storage)
    assert after.pop("topics")["mail"].now == before.pop("topics")["mail"].now
    assert after == before
    assert [job.text for job in svc.reserve("mail")] == ["kept"]


# -- policies ----------------------------------------------------------------------------------------------------------


def policy_keys(queue: Queue, policy_number: int) -> tuple[bytes, bytes]:
    """The keys of a policy by its number and by its content."""
    number = policy_number.to_bytes(4, "big")
    [content] = [key for key, value in queue.rows("policies").items() if value == number and key[:1] == b"\1"]
    return b"\0" + number, content


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xff", b'{"lease": "long"}', None])
@pytest.mark.parametrize("topic", ["mail", "other"])
def test_a_lost_policy_of_the_service_is_known_by_its_content(queue: Queue, damage: bytes | None, topic: str) -> None:
    queue.svc.enqueue(topic, unique_key="k")
    queue.svc.reserve(topic)[0].done()
    queue.svc.enqueue(topic, delay=1)
    before = dump(queue.storage)
    queue.write("policies", policy_keys(queue, 1)[0], damage)
    svc = queue.reopen()
    found = svc.verify()
    assert found[0].kind == "policy"
    assert found[0].message == ("policy 1, which jobs have their options from, cannot be read; it is known what it was")
    assert {one.kind for one in found[1:]} == {"unreadable"}
    assert kinds(svc.verify(repair=True)) == [("policy", None, True)]
    assert svc.verify() == []
    assert dump(queue.storage) == before


def test_jobs_set_aside_for_a_lost_policy_come_back_with_it(queue: Queue) -> None:
    queue.svc.enqueue_many([NewJob("mail", unique_key=f"{n}") for n in range(4)])
    before = dump(queue.storage)["records"]
    queue.write("policies", policy_keys(queue, 1)[0], b"lost")
    svc = queue.reopen()
    assert svc.reserve("mail", 3) == []
    assert len(queue.rows("quarantine")) == 4
    assert kinds(svc.verify(repair=True)) == [("policy", None, True), *(("quarantined", n, True) for n in (1, 2, 3, 4))]
    assert svc.verify() == []
    assert dump(queue.storage)["records"] == before
    assert [job.id for job in svc.reserve("mail", 5)] == [1, 2, 3, 4]
    check_invariants(queue.storage)


def test_a_lost_policy_that_nobody_knows_becomes_the_default_and_places_follow(queue: Queue) -> None:
    job = given(queue.svc, "mail", keep_done=5)
    job.done()
    queue.write("policies", policy_keys(queue, 1)[0], b"lost")
    svc = queue.reopen()
    assert svc.verify()[0].message.endswith("cannot be read; the service's defaults are to take its place")
    assert [found.kind for found in svc.verify(repair=True)] == ["policy", "place"]
    assert svc.verify() == []
    assert svc.get(job.id).options == DEFAULTS
    check_invariants(queue.storage)


@pytest.mark.parametrize("is_read", [True, False])
def test_a_policy_that_this_process_has_read_or_written_is_mended_from_that(queue: Queue, is_read: bool) -> None:
    job_id = queue.svc.enqueue("mail", lease=123)
    if is_read:
        assert queue.reopen().get(job_id).options.lease == 123
    queue.write("policies", policy_keys(queue, 1)[0], b"lost")
    assert kinds(queue.svc.verify(repair=True)) == [("policy", None, True)]
    svc = queue.reopen()
    assert svc.get(job_id).options.lease == 123
    assert svc.verify() == []


def test_a_policy_that_was_altered_is_noticed_by_its_hash(queue: Queue) -> None:
    queue.svc.enqueue("mail")
    key, _ = policy_keys(queue, 1)
    altered = encode_policy(policy_of(DEFAULTS)._replace(lease=1))
    queue.write("policies", key, altered)
    svc = queue.reopen()
    assert svc.get(1).options.lease == 1e-9
    assert kinds(svc.verify(repair=True)) == [("policy", None, True)]
    assert queue.rows("policies")[key] == encode_policy(policy_of(DEFAULTS))
    assert svc.verify() == []
    assert svc.get(1).options == DEFAULTS


def test_a_policy_that_reads_as_another_one_is_noticed(queue: Queue) -> None:
    queue.svc.enqueue("mail")
    queue.svc.enqueue("mail", lease=123)
    queue.write("policies", policy_keys(queue, 1)[0], queue.rows("policies")[policy_keys(queue, 2)[0]])
    svc = queue.reopen()
    assert kinds(svc.verify(repair=True)) == [("policy", None, True)]
    assert [svc.get(job_id).options.lease for job_id in (1, 2)] == [DEFAULTS.lease, 123]
    assert svc.verify() == []


def test_a_policy_of_a_transaction_that_came_to_nothing_is_forgotten(queue: Queue) -> None:
    """Work that shares a transaction reads what the work before it wrote; then the transaction is aborted."""
    environment, policies = queue.storage._environment, queue.storage._environment.policies
    first, second = (policy_of(JobOptions(lease=lease)) for lease in (1, 2))
    with environment.env.begin(write=True) as txn:
        assert policies.get(txn, policies.number(txn, first)) == first
        txn.abort()
    policies.settle(committed=False)
    with environment.env.begin(write=True) as txn:
        number = policies.number(txn, second)
    policies.settle(committed=True)
    with environment.env.begin() as txn:
        assert policies.get(txn, number) == second


def test_a_policy_whose_hash_is_wrong_stays_as_it_is(queue: Queue) -> None:
    queue.svc.enqueue("mail", lease=123)
    _, content = policy_keys(queue, 1)
    queue.write("policies", content, None)
    queue.write("policies", b"\1" * 17, (1).to_bytes(4, "big"))
    svc = queue.reopen()
    assert [found.message for found in svc.verify()] == ["policy 1 is not what it was stored as"]
    assert kinds(svc.verify(repair=True)) == [("policy", None, True)]
    assert svc.verify() == []
    assert (svc.get(1).options.lease, len(queue.rows("policies"))) == (123, 2)


def test_a_policy_that_is_not_found_by_its_content_is_found_again(queue: Queue) -> None:
    queue.svc.enqueue("mail")
    queue.svc.enqueue("mail", lease=123)
    before = queue.rows("policies")
    queue.write("policies", policy_keys(queue, 1)[1], None)
    svc = queue.reopen()
    assert [found.message for found in svc.verify()] == ["policy 1 is not found by its content"]
    svc.verify(repair=True)
    assert queue.rows("policies") == before


def test_a_new_policy_never_takes_the_number_of_another(queue: Queue) -> None:
    for lease in (1, 2, 3):
        queue.svc.enqueue("mail", lease=lease)
    queue.write("policies", policy_keys(queue, 1)[1], None)
    queue.write("policies", policy_keys(queue, 2)[1], None)
    svc = queue.reopen()
    svc.enqueue("mail", lease=4)
    svc = queue.reopen()
    assert [svc.get(job_id).options.lease for job_id in (1, 2, 3, 4)] == [1, 2, 3, 4]


# -- counters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"\0", b"\x07" * 170, b"\x07" * 170 + b"\0"])
def test_unreadable_counters_are_counted_anew(queue: Queue, damage: bytes) -> None:
    svc = queue.svc
    svc.enqueue_many([NewJob("mail") for _ in range(3)])
    svc.reserve("mail")
    before = svc.stats("mail").now
    queue.write("topics", b"mail", damage)
    for verb in (svc.enqueue, svc.stats, svc.reserve):
        with pytest.raises(
            StorageCorrupt, match=r"counters of topic 'mail' .*: verify\(repair=True\) counts them anew"
        ):
            verb("mail")
    said = "the counters of topic 'mail' cannot be read: its totals begin anew, and it is not paused"
    assert [(found.kind, found.topic, found.message) for found in svc.verify()] == [("topic", "mail", said)]
    assert queue.rows("topics")[b"mail"] == damage
    assert [found.repaired for found in svc.verify(repair=True)] == [True]
    assert svc.verify() == []
    assert (svc.stats("mail").now, svc.stats("mail").enqueued) == (before, 0)
    check_invariants(queue.storage)


def test_a_topic_that_should_be_gone_is_found(queue: Queue) -> None:
    svc = queue.svc
    queue.write("topics", b"old", encode_state(TopicState(totals=(5,) * 9)))
    queue.write("topics", b"lost", DAMAGE)
    svc.pause("paused")
    found = svc.verify()
    assert [(one.kind, one.topic) for one in found] == [("topic", "lost"), ("topic", "old")]
    assert found[1].message == "topic 'old' is empty and should be gone"
    assert [one.repaired for one in svc.verify(repair=True)] == [True, True]
    assert svc.topics() == ["paused"]
    assert svc.verify() == []


def test_a_second_place_is_given_up_and_the_right_one_stays(queue: Queue) -> None:
    svc = queue.svc
    svc.enqueue("mail", delay=60)
    [key] = queue.storage._environment.env.begin().cursor(orderings(queue).orderings[1]).iternext(values=False)
    environment = queue.storage._environment
    with environment.env.begin(write=True) as txn:
        txn.put(key, b"", db=environment.dbs.orderings[0])
    found = svc.verify()
    assert found[0].message == "job 1 has a second place, ready in topic 'mail': it is delayed in topic 'mail'"
    assert kinds(svc.verify(repair=True)) == [("place", 1, True)]
    assert svc.verify() == []
    check_invariants(queue.storage)


def orderings(queue: Queue) -> Databases:
    return queue.storage._environment.dbs


# -- others are not disturbed ------------------------------------------------------------------------------------------


def test_a_waiter_is_not_troubled_by_the_counters_of_another_topic(queue: Queue, clock: ManualClock) -> None:
    """An idle waiter sweeps all topics; one that cannot be read is not its own."""
    svc = queue.svc
    svc.enqueue("broken")
    svc.reserve("broken")
    queue.write("topics", b"broken", DAMAGE)
    svc._sweeper.sweep(queue.storage.view(lambda uow: uow.now))
    clock.advance(100)
    svc._sweeper.sweep(queue.storage.view(lambda uow: uow.now))
    with pytest.raises(StorageCorrupt):
        svc.stats("broken")


def test_looking_changes_nothing(queue: Queue) -> None:
    svc = queue.svc
    svc.enqueue_many([NewJob("mail", unique_key=f"{n}") for n in range(5)])
    for database, key in (("jobs", id_key(2)), ("topics", b"other"), ("keys", b"junk"), ("policies", b"\0\0\0\0\5")):
        queue.write(database, key, DAMAGE)
    change = queue.storage._environment.last_change()
    assert len(svc.verify()) >= 4
    assert queue.storage._environment.last_change() == change
    svc.verify(repair=True)
    assert kinds(svc.verify()) == [("quarantined", 2, False)]


def test_bytes_that_are_no_key_are_no_endless_page(queue: Queue) -> None:
    queue.svc.enqueue("mail")
    for key in (b"", b"x", b"\0" * 7, b"\xff" * 8, b"\xff" * 9):
        if key:
            queue.write("jobs", key, DAMAGE)
    assert [job.id for job in queue.storage.view(lambda uow: uow.jobs.page(0, 1))] == [1]
    assert kinds(queue.svc.verify()) == [("unreadable", 2**64 - 1, False)]
    with pytest.raises(lmdb.BadValsizeError):
        queue.write("jobs", b"", DAMAGE)


def test_counters_are_mended_that_were_damaged_beneath_a_process_that_knows_them(queue: Queue) -> None:
    queue.svc.enqueue_many([NewJob("mail") for _ in range(3)])
    [stored] = queue.rows("topics").values()
    state = decode_state("mail", stored)
    damaged = encode_state(state._replace(now=(9, *state.now[1:])))
    file = queue.storage._environment.path / "data.mdb"
    with file.open("r+b") as data:  # past LMDB, for which each transaction of others has a number
        content = data.read()
        assert stored in content
        data.seek(0)
        data.write(content.replace(stored, damaged))
    [told] = queue.svc.verify(repair=True)
    assert (told.kind, told.repaired) == ("count", True)
    assert queue.svc.verify() == []
