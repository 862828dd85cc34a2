"""Child processes that begin slowly or not at all, and end slowly or unseen."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections import deque
from contextlib import suppress
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from jobq import ConfigError, JobService, Status, Worker
from jobq.worker import children, offspring
from jobq.worker.child import Program
from tests.clocks import PATIENCE, ManualClock
from tests.worker import deeds, slow
from tests.worker.processes import command, eventually, have_ended, own_children
from tests.worker.scenes import Recorder, pass_time, running


def kill_for_good(pid: int) -> None:
    """Kill a child, and return once all of its threads have ended; the worker may have yet to find that."""
    os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):  # the worker has found it already, as its thread looks behind each run
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


# -- the end of a child


def test_a_run_is_over_when_its_handler_is_though_the_child_takes_its_time_to_end(
    svc_on: JobService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its job is settled before that, which is no part of its time_limit."""
    monkeypatch.setattr(offspring, "FAREWELL", PATIENCE)
    worker = Worker(svc_on, "t", executor="process", max_jobs=1)
    worker.handler(deeds.lingers)
    id = svc_on.enqueue("t", payload=str(tmp_path / "go"), name="lingers", max_retries=0)
    worker.start()
    try:
        pid = svc_on.wait_for(id, PATIENCE).result
        assert not have_ended([pid])
    finally:
        (tmp_path / "go").touch()
        worker.stop()
    assert (svc_on.status(id), own_children()) == (Status.DONE, [])


@pytest.mark.parametrize("how", ["SIG_IGN", "reaper"])
def test_the_end_of_a_child_is_noticed_though_its_status_goes_to_someone_else(how: str) -> None:
    """As a program inherits it from some supervisors; or one that waits for any child of its own."""
    with command("-m", "tests.worker.unseen", how) as program:
        program.expect("dead", "True")
        program.expect("done", "5")
        program.expect("distinct", "3")
        program.expect("threads", "[]")
        program.expect("children", "[]")
        program.expect("files", "True")
        assert program.end() == 0
        assert "Traceback" not in program.errors


def test_a_process_that_cannot_be_killed_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel lets no process end that waits for a disk."""
    monkeypatch.setattr(offspring, "FAREWELL", 0.05)
    process = offspring.Offspring(Program({None: (("tests.worker.deeds", "pid"), False)}))
    process.await_ready()
    [pid] = own_children()
    os.kill(pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(offspring.Offspring, "kill", lambda process: None)
        ending = threading.Thread(target=process.end, daemon=True)
        ending.start()
        ending.join(PATIENCE)
        assert not ending.is_alive()
    assert process.is_alive()
    process.kill()
    process.end()
    assert own_children() == []
    process.kill()  # of one that has ended does nothing


def test_the_time_limit_does_not_pass_while_a_new_child_gets_ready(
    svc: JobService, clock: ManualClock, seen: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The old one died while it was idle. A job that waits for a third of the lease, 10 seconds, is given back."""
    monkeypatch.setenv(slow.WAITS_FOR, str(tmp_path / "go"))
    (tmp_path / "go").touch()
    worker = Worker(svc, "t", executor="process", lease=30, observer=seen)
    worker.handler(time_limit=5)(slow.quick)
    svc.enqueue("t", name="quick")
    with running(worker):
        seen.wait_for("completed")
        [(_, _, first)] = seen.all("completed")
        (tmp_path / "go").unlink()
        kill_for_good(first)
        id = svc.enqueue("t", name="quick", max_retries=0)
        eventually(lambda: own_children() not in ([], [first]))
        pass_time(clock, 6)
        (tmp_path / "go").touch()
        seen.wait_for("completed", times=2)
        assert len(seen.all("started")) == 2
    assert (svc.status(id), svc.get(id).attempt) == (Status.DONE, 1)


# -- its beginning


def test_a_child_that_does_not_get_ready_is_killed(
    svc_on: JobService, seen: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As its import hangs: the first one ends the worker."""
    monkeypatch.setattr(offspring, "BEGINNING", 0.2)
    monkeypatch.setenv(slow.WAITS_FOR, str(tmp_path / "go"))
    worker = Worker(svc_on, "t", executor="process", observer=seen)
    worker.handler(slow.quick)
    with pytest.raises(ConfigError, match=r"it was killed, as it had not imported the handlers after 0.2 seconds"):
        worker.run()
    assert own_children() == []


def test_jobs_are_given_back_while_a_new_child_does_not_get_ready(
    svc_on: JobService, seen: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = Worker(svc_on, "t", executor="process", observer=seen)
    worker.handler(slow.quick)
    monkeypatch.setenv(slow.WAITS_FOR, str(tmp_path / "go"))
    (tmp_path / "go").touch()
    with running(worker):
        first = svc_on.wait_for(svc_on.enqueue("t", name="quick"), PATIENCE).result
        (tmp_path / "go").unlink()
        monkeypatch.setattr(offspring, "BEGINNING", 0.2)
        kill_for_good(first)
        id = svc_on.enqueue("t", name="quick", max_retries=0)
        seen.wait_for("released", "quick", children.RESTART)
    assert seen.all("worker_error", ConfigError)
    assert len(seen.all("started")) == 1
    assert (svc_on.get(id).status, svc_on.get(id).retry_count) == (Status.DELAYED, 0)


def refuse_to_spawn(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Let the system have no room for a process, n times."""
    refusals = deque([BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")] * n)
    start = SpawnProcess.start

    def refuse(process: SpawnProcess) -> None:
        with suppress(IndexError):
            raise refusals.popleft()
        start(process)

    monkeypatch.setattr(SpawnProcess, "start", refuse)


def test_a_system_without_room_for_one_of_the_first_children_does_not_end_the_worker(
    svc_on: JobService, seen: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is tried again when a job comes."""
    monkeypatch.setattr(children, "RESTART", 0.1)
    refuse_to_spawn(monkeypatch, 1)
    worker = Worker(svc_on, "t", executor="process", concurrency=2, observer=seen)
    worker.handler(deeds.meets)
    with running(worker):
        seen.wait_for("worker_error", BlockingIOError)
        ids = [svc_on.enqueue("t", payload=str(tmp_path), name="meets", max_retries=0) for _ in range(2)]
        assert [svc_on.wait_for(id, PATIENCE).status for id in ids] == [Status.DONE] * 2
    assert len(seen.all("worker_error")) == 1


def test_a_job_for_which_the_system_has_no_room_is_given_back(
    svc_on: JobService, seen: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_spawn(monkeypatch, 2)
    monkeypatch.setattr(children, "RESTART", 0.1)
    worker = Worker(svc_on, "t", executor="process", observer=seen)
    worker.handler(deeds.pid)
    id = svc_on.enqueue("t", name="pid", max_retries=0)
    with running(worker):
        info = svc_on.wait_for(id, PATIENCE)
    assert (info.status, info.attempt, info.retry_count) == (Status.DONE, 2, 0)
    assert [moment[0] for moment in seen.moments if moment[0] != "topic_empty"] == [
        "worker_started",
        "worker_error",
        "worker_error",
        "released",
        "started",
        "completed",
        "worker_stopped",
    ]
