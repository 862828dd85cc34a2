"""What the five Go projects that jobq grew from can do with a queue, done here. Each test says whose feature it is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobq import (
    CancelReason,
    DuplicateJob,
    Job,
    JobNotFound,
    JobOptions,
    JobService,
    LeaseLost,
    NewJob,
    Reject,
    Retry,
    Status,
)
from tests.clocks import ManualClock
from tests.conftest import OpenService


def take(svc: JobService, topic: str) -> Job:
    [job] = svc.reserve(topic)
    return job


# -- jobq-go -----------------------------------------------------------------------------------------------------------


def test_jobq_go_topics_are_weighted_and_the_lower_weight_comes_first(svc: JobService) -> None:
    """jobq-go: "Lower is the weight, higher is the priority"."""
    for weight in (3, -1, 0, 2):
        svc.enqueue("invoices", weight)
    assert [job.priority for job in svc.reserve("invoices", 10)] == [-1, 0, 2, 3]


def test_jobq_go_a_job_is_delayed_before_it_is_enqueued(svc: JobService, clock: ManualClock) -> None:
    """jobq-go: "Job can be delayed before enqueued in topic"."""
    job_id = svc.enqueue("invoices", delay=timedelta(minutes=5))
    assert (svc.status(job_id), svc.reserve("invoices")) == (Status.DELAYED, [])
    clock.advance(300)
    assert take(svc, "invoices").id == job_id


def test_jobq_go_topics_are_created_on_the_fly(svc: JobService) -> None:
    """jobq-go: "Topic creation is on the fly. Just enqueue on it"; and its plan, to clean up unused ones."""
    assert svc.topics() == []
    svc.enqueue("invoices", keep_done=0)
    assert svc.topics() == ["invoices"]
    take(svc, "invoices").done()
    assert svc.topics() == []


def test_jobq_go_topics_have_stats(svc: JobService, clock: ManualClock) -> None:
    """jobq-go: "Simple topic stats when stats collector is enabled"; here they always are."""
    svc.enqueue_many([NewJob("invoices")] * 3)
    clock.advance(2)
    first, second = svc.reserve("invoices", 2)
    clock.advance(4)
    first.done()
    second.retry()
    stats = svc.stats("invoices")
    assert (stats.enqueued, stats.reserved, stats.done, stats.retried) == (3, 2, 1, 1)
    assert (stats.mean_wait, stats.mean_run, stats.oldest_ready_age) == (2, 4, 6)
    assert (stats.first_enqueued_at, stats.last_reserved_at) == (clock.after(-6), clock.after(-4))


def test_jobq_go_a_job_has_one_of_five_statuses(svc: JobService) -> None:
    """jobq-go: "only few status: Ready, Delayed, Reserved, Done or Canceled"."""
    assert [status.name for status in Status] == ["READY", "DELAYED", "RESERVED", "DONE", "CANCELED"]
    job_id = svc.enqueue("invoices")
    seen = [svc.status(job_id)]
    svc.reserve("invoices")[0].retry()
    seen.append(svc.status(job_id))
    svc.reset(job_id)
    job = take(svc, "invoices")
    seen.append(svc.status(job_id))
    job.done()
    seen.append(svc.status(job_id))
    svc.reset(job_id)
    svc.cancel(job_id)
    seen.append(svc.status(job_id))
    assert seen == list(Status)


def test_jobq_go_a_job_is_done_retried_or_canceled_by_its_handler(svc: JobService) -> None:
    """jobq-go: Done(), Retry(), Cancel() and Payload() on the job, and up to ten jobs reserved at a time."""
    svc.enqueue_many([NewJob("invoices", payload=b'{"user_id": "sb1471"}')] * 3)
    done, retried, canceled = svc.reserve("invoices", 10, timeout=5)
    assert done.payload == b'{"user_id": "sb1471"}'
    done.done()
    retried.retry()
    canceled.cancel("the user is gone")
    assert [svc.status(job.id) for job in (done, retried, canceled)] == [
        Status.DONE,
        Status.DELAYED,
        Status.CANCELED,
    ]


def test_jobq_go_retries_back_off_exponentially_as_configured(open_service: OpenService, clock: ManualClock) -> None:
    """jobq-go: "retry defaults to user-configurable exponential backoff"."""
    svc = open_service(defaults=JobOptions(min_backoff=5, max_backoff=60))
    job_id = svc.enqueue("invoices")
    waits = []
    for _ in range(6):
        take(svc, "invoices").retry()
        waits.append((svc.get(job_id).run_at - clock.now()).total_seconds())
        clock.advance(waits[-1])
    assert waits == [5, 10, 20, 40, 60, 60]


def test_jobq_go_a_reservation_times_out(svc: JobService, clock: ManualClock) -> None:
    """jobq-go: its "Reservation timeout", in progress there."""
    svc.enqueue("invoices", lease=30)
    lost = take(svc, "invoices")
    clock.advance(30)
    assert take(svc, "invoices").attempt == 2
    with pytest.raises(LeaseLost):
        lost.done()


# -- bgjob -------------------------------------------------------------------------------------------------------------


def test_bgjob_jobs_are_unique_under_an_id_of_ones_own(svc: JobService) -> None:
    """bgjob: "Job uniqueness"; Id: "test", "you can provide you own id"."""
    job_id = svc.enqueue("test", name="complete_me", unique_key="test")
    with pytest.raises(DuplicateJob) as e:
        svc.enqueue("test", name="complete_me", unique_key="test")
    assert e.value.job_id == job_id
    assert svc.lookup("test", "test") == job_id


def test_bgjob_execution_is_delayed(svc: JobService, clock: ManualClock) -> None:
    """bgjob: Delay: 1 * time.Second, "you can delay job execution"."""
    svc.enqueue("test", delay=1)
    assert svc.reserve("test") == []
    clock.advance(1)
    take(svc, "test")


def test_bgjob_a_job_has_a_type_and_an_argument(svc: JobService) -> None:
    """bgjob: Type: "complete_me", Arg: "it can be json or protobuf or a simple string"."""
    svc.enqueue_many(
        [
            NewJob("test", name="complete_me", json={"simpleJson": 1}),
            NewJob("test", name="retry_me", payload=b"\x08\x01"),
            NewJob("test", name="move_to_dlq", payload="a simple string"),
        ]
    )
    jobs = svc.reserve("test", 3)
    assert [job.name for job in jobs] == ["complete_me", "retry_me", "move_to_dlq"]
    assert (jobs[0].json(), jobs[1].payload, jobs[2].text) == ({"simpleJson": 1}, b"\x08\x01", "a simple string")


def test_bgjob_complete_deletes_the_job(svc: JobService) -> None:
    """bgjob: Complete(), "job will be deleted"; its own id is free again."""
    job_id = svc.enqueue("test", unique_key="test", keep_done=0)
    take(svc, "test").done()
    with pytest.raises(JobNotFound):
        svc.get(job_id)
    assert svc.lookup("test", "test") is None
    svc.enqueue("test", unique_key="test")


def test_bgjob_a_retry_says_when_and_why_by_the_attempt(svc: JobService, clock: ManualClock) -> None:
    """bgjob: if job.Attempt == 2 { Complete() }, else Retry(1*time.Second, errors.New("some error"))."""
    job_id = svc.enqueue("test", name="retry_me")
    attempts = []
    for _ in range(2):
        with take(svc, "test") as job:
            attempts.append(job.attempt)
            if job.attempt < 2:
                raise Retry(1, error="some error")
        clock.advance(1)
    assert attempts == [1, 2]
    info = svc.get(job_id)
    assert (info.status, info.retry_count, info.last_error) == (Status.DONE, 1, "some error")


def test_bgjob_a_job_is_moved_to_the_dead_letters(svc: JobService) -> None:
    """bgjob: MoveToDlq(errors.New("move to dlq"))."""
    job_id = svc.enqueue("test", name="move_to_dlq")
    with take(svc, "test"):
        raise Reject("move to dlq")
    [letter] = svc.dead_letters("test")
    assert (letter.id, letter.cancel_reason, letter.last_error) == (job_id, CancelReason.REJECTED, "move to dlq")
    assert svc.reserve("test") == []


def test_bgjob_a_job_that_nobody_handles_is_a_dead_letter(svc: JobService) -> None:
    """bgjob: "if handler for job type wasn't provided, job will be moved to dlq"."""
    svc.enqueue("test", name="unknown")
    take(svc, "test").reject("no handler for 'unknown'", reason=CancelReason.UNHANDLED)
    assert [letter.cancel_reason for letter in svc.dead_letters("test")] == [CancelReason.UNHANDLED]


def test_bgjob_a_job_is_rescheduled_without_an_attempt_against_it(svc: JobService, clock: ManualClock) -> None:
    """bgjob: Reschedule; here release."""
    job_id = svc.enqueue("test", max_retries=0)
    take(svc, "test").release(10)
    info = svc.get(job_id)
    assert (info.run_at, info.retry_count, info.status) == (clock.after(10), 0, Status.DELAYED)


def test_bgjob_a_job_whose_worker_is_gone_is_executed_again(svc: JobService, clock: ManualClock) -> None:
    """bgjob: "At-least-ones execution"."""
    job_id = svc.enqueue("test")
    take(svc, "test")
    clock.advance(300)
    assert take(svc, "test").id == job_id


# -- go-task-scheduler -------------------------------------------------------------------------------------------------


@pytest.fixture
def scheduler(open_service: OpenService) -> JobService:
    """A service set up as go-task-scheduler is: JOB_MAX_RETRY=3, and each retry 2 seconds later."""
    return open_service(defaults=JobOptions(max_retries=3, min_backoff=2, max_backoff=2))


def test_go_task_scheduler_a_failing_job_is_retried_3_times_after_2_seconds_each(
    scheduler: JobService, clock: ManualClock
) -> None:
    """go-task-scheduler: "Job failed: fail (retries left=3)", "Retrying job in 2s", "Job exhausted retries"."""
    job_id = scheduler.enqueue("jobs", payload="fail", delay=2)
    retries_left = []
    for _ in range(4):
        clock.advance(1.999)
        assert scheduler.reserve("jobs") == []
        clock.advance(0.001)
        with take(scheduler, "jobs") as job:
            retries_left.append(job.retries_left)
            raise RuntimeError(job.text)
    assert retries_left == [3, 2, 1, 0]
    info = scheduler.get(job_id)
    assert (info.status, info.cancel_reason) == (Status.CANCELED, CancelReason.EXHAUSTED)
    assert (info.last_error or "").startswith("RuntimeError: fail")
    clock.advance(10**6)
    assert scheduler.reserve("jobs") == []


def test_go_task_scheduler_jobs_run_in_the_order_of_their_times(scheduler: JobService, clock: ManualClock) -> None:
    """go-task-scheduler: scheduler.sh "Job 1" 2; "Job 2" 5; "Job 3" 1."""
    for payload, delay in (("Job 1", 2), ("Job 2", 5), ("Job 3", 1)):
        scheduler.enqueue("jobs", payload=payload, delay=delay)
    executed = []
    for second in range(1, 7):
        clock.advance(1)
        for job in scheduler.jobs("jobs", timeout=0):
            executed.append((second, job.text))
            job.done()
    assert executed == [(1, "Job 3"), (2, "Job 1"), (5, "Job 2")]


def test_go_task_scheduler_each_job_has_an_id_to_follow_it_by(scheduler: JobService) -> None:
    """go-task-scheduler: "Each job is assigned a unique identifier for tracking"; success removes it there."""
    ids = [scheduler.enqueue("jobs", payload="Process payment") for _ in range(3)]
    assert len(set(ids)) == 3
    take(scheduler, "jobs").done({"paid": True})
    assert scheduler.get(ids[0]).result == {"paid": True}
    assert [scheduler.status(job_id) for job_id in ids] == [Status.DONE, Status.READY, Status.READY]


# -- golang-delayed-job ------------------------------------------------------------------------------------------------


def test_golang_delayed_job_an_order_expires_at_its_time(svc: JobService, clock: ManualClock) -> None:
    """golang-delayed-job: a sorted set of times and values, {"id": "57"}."""
    svc.enqueue("expire-order", json={"id": "57"}, run_at=clock.after(1800))
    clock.advance(1800)
    job = take(svc, "expire-order")
    assert job.json() == {"id": "57"}


def test_golang_delayed_job_a_paid_order_is_canceled_by_its_number(svc: JobService, clock: ManualClock) -> None:
    """golang-delayed-job: the value removed from the sorted set; here the number is the unique key."""
    for number in ("57", "58"):
        svc.enqueue("expire-order", json={"id": number}, unique_key=number, delay=1800)
    paid = svc.lookup("expire-order", "57")
    assert paid is not None
    svc.cancel(paid, "the order was paid")
    clock.advance(1800)
    assert [job.json() for job in svc.reserve("expire-order", 10)] == [{"id": "58"}]


def test_golang_delayed_job_contents_are_unique_and_a_later_time_wins(svc: JobService, clock: ManualClock) -> None:
    """golang-delayed-job: "a collection where the contents must be unique"; ZADD of a member gives it the new time."""
    first = svc.enqueue("expire-order", json={"id": "57"}, unique_key="57", delay=60)
    again = svc.enqueue("expire-order", json={"id": "57"}, unique_key="57", delay=90, on_duplicate="replace")
    assert first == again
    clock.advance(60)
    assert svc.reserve("expire-order", 10) == []
    clock.advance(30)
    assert len(svc.reserve("expire-order", 10)) == 1


def test_golang_delayed_job_what_is_not_committed_is_retried(svc: JobService, clock: ManualClock) -> None:
    """golang-delayed-job: data.Commit(), "so it does not perform the retry mechanism"; and never more than a limit."""
    svc.enqueue_many([NewJob("expire-order", lease=3)] * 5)
    first = svc.reserve("expire-order", 3)
    svc.done(first[:2])
    clock.advance(3)
    assert {job.id for job in svc.reserve("expire-order", 3)} & {job.id for job in first[:2]} == set()
    assert svc.get(first[2].id).attempt == 2


# -- goscheds ----------------------------------------------------------------------------------------------------------


def test_goscheds_push_is_immediate_and_push_scheduled_waits(svc: JobService, clock: ManualClock) -> None:
    """goscheds: PushScheduled runs at ExecuteAt; Push ignores it, "will be executed by worker immediately"."""
    tomorrow = clock.now() + timedelta(hours=24)
    scheduled = svc.enqueue("your_job_name", json={"args": "can be anything"}, run_at=tomorrow)
    pushed = svc.enqueue("your_job_name", json={"args": "can be anything"})
    assert [job.id for job in svc.reserve("your_job_name", 10)] == [pushed]
    assert svc.next_due("your_job_name") == clock.after(300)
    svc.done(svc.reserve("your_job_name", 10))
    clock.advance(24 * 3600)
    assert scheduled in [job.id for job in svc.reserve("your_job_name", 10)]


def test_goscheds_a_scheduled_job_can_be_pushed_after_all(svc: JobService, clock: ManualClock) -> None:
    """goscheds: Push of a job that was scheduled; here reschedule to now."""
    job_id = svc.enqueue("your_job_name", run_at=clock.after(86_400))
    svc.reschedule(job_id, clock.now())
    assert take(svc, "your_job_name").id == job_id


def test_goscheds_what_a_crashed_server_had_in_progress_is_queued_again(
    svc: JobService, open_service: OpenService, clock: ManualClock
) -> None:
    """goscheds: "Hard failure": a background process re-queues what exceeded its timeout. Here no process is needed."""
    job_id = svc.enqueue("your_job_name", lease=60)
    crashed = open_service()
    take(crashed, "your_job_name")
    crashed.close()
    assert svc.reserve("your_job_name") == []
    clock.advance(60)
    job = take(svc, "your_job_name")
    assert (job.id, job.attempt) == (job_id, 2)


def test_goscheds_a_failed_job_is_retried_by_another_worker_immediately(
    svc: JobService, open_service: OpenService
) -> None:
    """goscheds: on an error "it will be retried by other worker immediately"."""
    svc.enqueue("your_job_name", min_backoff=0, max_backoff=0)
    with take(svc, "your_job_name"):
        raise ConnectionError("no route")
    assert take(open_service(), "your_job_name").attempt == 2


def test_goscheds_each_job_name_is_served_by_its_own_worker(svc: JobService) -> None:
    """goscheds: "job name here should be equal with your registered handler"."""
    svc.enqueue_many([NewJob("mail"), NewJob("sms"), NewJob("mail")])
    assert [job.topic for job in svc.reserve("mail", 10)] == ["mail", "mail"]
    assert [job.topic for job in svc.reserve("sms", 10)] == ["sms"]
