"""What jobq gives to other people's tests: the clock, the queue, the fixture of pytest."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import jobq.testing
from jobq import JobOptions, JobService, Limits, NewJob, TopicFull
from jobq.model.records import Tally
from jobq.repos import MemoryStorage
from jobq.ring import Ring
from jobq.testing import ManualClock, QueueForTests, check_invariants
from tests.clocks import PATIENCE

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
BLOCKS = re.DOTALL | re.MULTILINE
NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)


# -- the clock ---------------------------------------------------------------------------------------------------------


def test_the_clock_shows_what_it_was_set_to() -> None:
    clock = ManualClock(NOON)
    assert clock.now() == NOON
    assert clock.wall() == int(NOON.timestamp()) * 10**9
    assert repr(clock) == "<ManualClock at 2030-05-01T12:00:00+00:00>"
    with pytest.raises(ValueError, match="start must be an aware datetime"):
        ManualClock(datetime(2030, 5, 1))


def test_advancing_moves_both_clocks_and_a_step_only_the_wall() -> None:
    clock = ManualClock(NOON)
    began = clock.steady()
    clock.advance(0.1)
    clock.advance(timedelta(hours=1))
    assert (clock.now(), clock.steady() - began) == (NOON + timedelta(seconds=3600.1), 3_600_100_000_000)
    clock.step_wall(-7200)
    assert (clock.now(), clock.steady() - began) == (NOON - timedelta(seconds=3599.9), 3_600_100_000_000)
    assert clock.after(60) == clock.now() + timedelta(minutes=1)


def test_time_does_not_go_back() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="time must be 0 or more seconds, not -1"):
        clock.advance(-1)
    before = clock.now(), clock.steady()
    clock.reboot()
    assert (clock.now(), clock.steady() < before[1]) == (before[0], True)


def test_a_waiting_thread_is_woken_when_its_time_has_come() -> None:
    clock, ring = ManualClock(), Ring()
    waiter = threading.Thread(target=clock.wait, args=[ring, 10])
    waiter.start()
    assert clock.sleeping.acquire(timeout=PATIENCE)
    clock.advance(9.999)
    assert not ring.is_set()
    clock.advance(0.001)
    waiter.join(PATIENCE)
    assert not waiter.is_alive()


def test_a_wait_that_nobody_ends_fails_and_says_why() -> None:
    with pytest.raises(
        AssertionError, match=r"waits on a ManualClock, .* 0\.01 real seconds: .* or give this call timeout=0"
    ):
        ManualClock(patience=0.01).wait(threading.Event(), 60)
    assert ManualClock(patience=0.01).wait(threading.Event(), 0), "no time needs no advance"


def test_threads_advance_one_clock() -> None:
    clock = ManualClock(NOON)

    def advance() -> None:
        for _ in range(1_000):
            clock.advance(0.001)
            clock.step_wall(0.001)

    threads = [threading.Thread(target=advance) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert clock.now() == NOON + timedelta(seconds=8)


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_a_queue_for_tests_is_a_service_whose_time_stands_still() -> None:
    with QueueForTests() as queue:
        assert isinstance(queue, JobService)
        queue.enqueue("mail", delay=60)
        assert queue.reserve("mail") == []
        queue.clock.advance(60)
        assert len(queue.reserve("mail")) == 1


def test_a_queue_for_tests_takes_the_settings_of_a_service() -> None:
    clock = ManualClock(NOON)
    queue = QueueForTests(
        defaults=JobOptions(lease=1), topic_defaults={"slow": JobOptions(lease=9)}, limits=Limits(depth=2), clock=clock
    )
    assert queue.clock is clock
    ids = queue.enqueue_many([NewJob("fast"), NewJob("slow")])
    assert [queue.get(job_id).options.lease for job_id in ids] == [1, 9]
    assert queue.get(ids[0]).created_at == NOON
    with pytest.raises(TopicFull):
        queue.enqueue_many([NewJob("fast")] * 2)


def test_queues_for_tests_share_nothing() -> None:
    one, other = QueueForTests(), QueueForTests()
    one.enqueue("mail")
    assert other.topics() == []


def test_the_checker_finds_what_is_wrong() -> None:
    storage = MemoryStorage()
    svc = JobService(storage)
    job_id = svc.enqueue("mail", unique_key="k")
    [record] = storage.view(lambda uow: uow.jobs.get([job_id]))
    assert record is not None
    check_invariants(storage, [("mail", "k"), ("mail", "other")])
    tally = Tally()
    tally.now[0] = 1
    storage.transact(lambda uow: uow.topics.tally("mail", tally))
    with pytest.raises(AssertionError, match="now is a recount"):
        check_invariants(storage)
    storage.transact(lambda uow: uow.jobs.delete([record]))
    with pytest.raises(AssertionError, match="one place a job"):
        check_invariants(storage)


# -- pytest ------------------------------------------------------------------------------------------------------------


def test_a_project_has_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from datetime import timedelta

        import pytest
        import jobq.testing
        from jobq import ServiceClosed

        used = []


        def test_tomorrow(jobq: jobq.testing.QueueForTests) -> None:
            used.append(jobq)
            jobq.enqueue("mail", delay=timedelta(days=1))
            assert jobq.reserve("mail") == []
            jobq.clock.advance(timedelta(days=1))
            assert len(jobq.reserve("mail")) == 1


        def test_each_test_has_its_own_which_is_closed_at_its_end(jobq) -> None:
            assert jobq.topics() == []
            with pytest.raises(ServiceClosed):
                used[0].topics()
        """
    )
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=2)
    pytester.runpytest_subprocess("--fixtures").stdout.fnmatch_lines(["jobq -- *", "*A queue in memory (*"])


def block_of(page: str, word: str) -> str:
    """The Python block of a page in which a word stands."""
    [block] = [one for one in re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), BLOCKS) if word in one]
    return str(block)


def test_the_test_of_the_readme_passes_and_can_fail(pytester: pytest.Pytester) -> None:
    example = block_of("README.md", "QueueForTests")
    pytester.makepyfile(example)
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)
    pytester.makepyfile(example.replace("advance(timedelta(days=7))", "advance(timedelta(days=6))"))
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(failed=1)


def test_a_project_may_have_a_fixture_of_that_name(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef jobq():\n    return 'its own'\n")
    pytester.makepyfile("def test_it(jobq):\n    assert jobq == 'its own'\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_where_the_fixture_is_not_used_nothing_is_imported_for_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            theirs = {name for name in sys.modules if name.startswith(("jobq.testing", "lmdb", "rich"))}
            assert theirs == {"jobq.testing", "jobq.testing.plugin"}
        """
    )
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)


def test_importing_jobq_imports_nothing_for_tests() -> None:
    script = "import sys, jobq; print([name for name in sys.modules if 'testing' in name or 'pytest' in name])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_without_pytest_the_clock_and_the_queue_are_there() -> None:
    script = (
        "import sys; sys.modules['pytest'] = None; import jobq.testing as t;"
        "print(t.QueueForTests(clock=t.ManualClock()).enqueue('mail'), callable(t.check_invariants))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == ("1 True\n", "")


def test_the_public_names_of_testing() -> None:
    assert all(hasattr(jobq.testing, name) for name in jobq.testing.__all__)
    assert not hasattr(jobq.testing, "FakeClock")
