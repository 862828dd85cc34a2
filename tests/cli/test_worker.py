"""`jobq worker MODULE:OBJECT`: what it runs, by which settings, and how it ends."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

import jobq
from jobq import Status
from tests.cli.apps import write_apps
from tests.cli.commands import Outcome, Shell, environment
from tests.cli.serving import serving
from tests.cli.terminal import terminal

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A queue that tests look at while it is served."""
    return f"lmdb://{tmp_path}/jobs?sync=off"


@pytest.fixture
def shell(tmp_path: Path, url: str) -> Shell:
    """A folder with programs."""
    write_apps(tmp_path)
    return Shell(tmp_path, url)


def call(shell: Shell, name: str, *args: str, topic: str = "mail") -> int:
    """Enqueue a call of a task."""
    with shell.queue() as svc:
        return svc.enqueue(topic, name=name, json={"args": args, "kwargs": {}})


def burst(shell: Shell, *arguments: object, **environ: str) -> Outcome:
    """Run a worker until nothing is left to do, which has to end well."""
    outcome = shell.run("worker", "--burst", *arguments, stdin=b"", **environ)
    assert outcome.status == 0, outcome
    return outcome


# -- what it runs


def test_tasks_are_run_for_the_topics_that_they_have(shell: Shell) -> None:
    ids = [call(shell, "send", "ada"), call(shell, "later", "bob", topic="slow"), call(shell, "visit", topic="web")]
    said = burst(shell, "shop:tasks").err
    assert f"INFO <Worker of 'mail', 'slow': 1 × thread, <JobService of lmdb://{shell.folder}/jobs>> started" in said
    with shell.queue() as svc:
        assert [svc.get(id).result and svc.get(id).result[0] for id in ids] == ["ada", "b", None]
        assert svc.status(ids[2]) == Status.READY


def test_a_list_of_tasks(shell: Shell) -> None:
    ids = [call(shell, "send", "ada"), call(shell, "visit", topic="web")]
    burst(shell, "shop:both")
    with shell.queue() as svc:
        assert [svc.status(id) for id in ids] == [Status.DONE, Status.DONE]


def test_a_queue_that_is_not_there_is_made(shell: Shell) -> None:
    assert "'mail', 'slow'" in burst(shell, "shop:tasks").err
    assert (shell.folder / "jobs").is_dir()


def test_a_worker_has_its_own_queue_and_settings(shell: Shell) -> None:
    with shell.queue() as svc:
        id = svc.enqueue("mail", name="quick")
    shell.url = None
    said = burst(shell, "works:worker", OWN_URL=f"lmdb://{shell.folder}/jobs?sync=off").err
    assert "<Worker of 'mail': 1 × thread" in said
    with jobq.open(f"lmdb://{shell.folder}/jobs") as svc:
        assert svc.status(id) == Status.DONE


def test_a_module_that_names_no_queue_opens_that_of_the_command(shell: Shell) -> None:
    with shell.queue() as svc:
        id = svc.enqueue("mail", name="quick")
    assert f"lmdb://{shell.folder}/jobs" in burst(shell, "works:worker").err
    with shell.queue() as svc:
        assert svc.status(id) == Status.DONE


def test_options_go_before_what_a_worker_was_made_with(shell: Shell) -> None:
    """Each of the two jobs waits for the other."""
    with shell.queue() as svc:
        ids = [svc.enqueue("web", name="meet") for _ in range(2)]
    said = burst(shell, "works:worker", "--topic", "web", "-c", "2", OWN_URL=str(shell.url)).err
    assert "<Worker of 'web': 2 × thread" in said
    with shell.queue() as svc:
        assert [svc.status(id) for id in ids] == [Status.DONE, Status.DONE]


def test_processes_find_modules_of_the_current_folder(shell: Shell) -> None:
    ids = [call(shell, "send", "ada") for _ in range(3)]
    with_path_alone = [sys.executable, "-P", "-c", "from jobq.cli import main; main()"]
    options = ["worker", "--url", str(shell.url), "shop:tasks", "--executor", "process", "--max-jobs", "1", "--burst"]
    with terminal([*with_path_alone, *options], shell.folder, environment()) as screen:
        assert screen.end() == 0
    with shell.queue() as svc:
        results = [svc.get(id).result for id in ids]
    assert [result[0] for result in results] == ["ada"] * 3
    assert len({result[1] for result in results}) == 3


# -- settings


def test_settings_hold_unless_an_option_says_otherwise(shell: Shell) -> None:
    (shell.folder / "jobq.toml").write_text(
        'url = "lmdb:jobs?sync=off"\n[worker]\napp = "shop:tasks"\nconcurrency = 3\ntopics = ["mail"]\n'
    )
    shell.url = None
    assert "<Worker of 'mail': 3 × thread" in burst(shell).err
    assert "<Worker of 'a', 'b': 3 × thread" in burst(shell, JOBQ_WORKER_TOPICS="a,b").err
    options = ("shop:others", "-c", "4", "--topic", "c", "--topic", "a")
    assert "<Worker of 'c', 'a': 4 × thread" in burst(shell, *options, JOBQ_WORKER_CONCURRENCY="9").err


def test_a_lease_lasts_as_long_as_it_says(shell: Shell) -> None:
    call(shell, "hold", str(shell.folder / "go"))
    with serving(shell, "worker", "shop:tasks", "--lease", "1h", "--burst") as running, shell.queue() as svc:
        running.expect("begun")
        info = svc.get(1)
        assert info.deadline is not None
        assert info.reserved_at is not None
        assert abs((info.deadline - info.reserved_at).total_seconds() - 3600) < 60
        (shell.folder / "go").touch()
        assert running.end() == 0


# -- its end


@BOTH
@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_signal_waits_for_what_runs(shell: Shell, number: signal.Signals, executor: str) -> None:
    call(shell, "hold", str(shell.folder / "go"))
    with serving(shell, "worker", "shop:tasks", "--executor", executor) as running:
        running.expect("begun")
        running.send(number)
        running.expect("WARNING stopping: 1 running jobs have 30 seconds to end")
        late = call(shell, "send", "ada")
        (shell.folder / "go").touch()
        assert running.end() == 0
        assert running.err[-1].endswith("> stopped")
    with shell.queue() as svc:
        assert [svc.status(1), svc.status(late)] == [Status.DONE, Status.READY]


@pytest.mark.parametrize("how", ["second signal", "grace"])
def test_what_still_runs_is_given_back(shell: Shell, how: str) -> None:
    call(shell, "hold", str(shell.folder / "never"))
    grace = ("--grace", "10ms") if how == "grace" else ()
    with serving(shell, "worker", "shop:tasks", *grace) as running:
        running.expect("begun")
        running.send(signal.SIGTERM)
        if how != "grace":
            running.expect("stopping: 1 running jobs")
            running.send(signal.SIGTERM)
        assert running.end() == 0
    with shell.queue() as svc:
        info = svc.get(1)
    assert (info.status, info.retry_count) == (Status.READY, 0)


def test_ctrl_c_in_a_terminal(shell: Shell) -> None:
    call(shell, "hold", str(shell.folder / "go"))
    with terminal(shell.command("worker", "shop:tasks"), shell.folder, environment()) as screen:
        screen.wait_for("begun")
        screen.type("\x03")
        screen.wait_for("stopping: 1 running jobs")
        (shell.folder / "go").touch()
        assert screen.end() == 0
        assert "Traceback" not in screen.screen
    with shell.queue() as svc:
        assert svc.status(1) == Status.DONE


def test_a_worker_that_failed_says_so_by_its_status(shell: Shell) -> None:
    with shell.queue() as svc:
        svc.enqueue("mail", name="close")
    outcome = shell.run("worker", "works:worker", OWN_URL=str(shell.url))
    assert outcome.status == 1
    assert "CRITICAL" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("jobq: this JobService was closed")


# -- its log


def test_a_message_is_one_line_that_commands_no_terminal(shell: Shell) -> None:
    call(shell, "fail")
    said = burst(shell, "shop:tasks").err.splitlines()
    failed = next(number for number, line in enumerate(said) if " ERROR " in line)
    assert said[failed].endswith("is tried again in 30 seconds: two lines, \\x1b[31mred")
    assert said[failed + 1].startswith("Traceback")
    assert "\x1b" not in "".join(said)


def test_the_level_is_chosen(shell: Shell) -> None:
    call(shell, "send", "ada")
    assert burst(shell, "shop:tasks", "--log-level", "warning").err == ""
    call(shell, "send", "ada")
    assert (
        " DEBUG job 2 'send' of topic 'mail', attempt 1, begins"
        in burst(shell, "shop:tasks", "--log-level", "debug").err
    )


def test_a_program_that_writes_its_own_log_goes_on_to(shell: Shell) -> None:
    (shell.folder / "own.py").write_text(
        "import logging\nlogging.basicConfig(format='own %(message)s')\nfrom shop import tasks\n"
    )
    assert burst(shell, "own:tasks").err == ""
    lines = burst(shell, "own:tasks", "--log-level", "info").err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("own <Worker of") for line in lines)


# -- what beginners meet


@pytest.mark.parametrize(
    ("status", "arguments", "message"),
    [
        (2, (), "Say what runs the jobs: MODULE:OBJECT, or --exec PROG ARG…."),
        (2, ("shop",), "'shop' names nothing that could run: write MODULE:OBJECT, as shop.tasks:tasks for `tasks` in"),
        (2, ("./shop.py:tasks",), "'./shop.py:tasks' names nothing that could run: write MODULE:OBJECT"),
        (1, ("shop.py:tasks",), "no module 'shop.py', as shop is a file, and no folder: did you mean 'shop'?"),
        (1, ("shops:tasks",), "there is no module 'shops' in FOLDER, nor elsewhere in this Python, "),
        (1, ("pack.job:tasks",), "there is no module 'pack.job' in FOLDER/pack: did you mean 'jobs'?"),
        (1, ("shop:task",), "shop has no 'task': did you mean 'tasks'?"),
        (1, ("shop:xyz",), "shop has no 'xyz': shop has tasks, others, empty"),
        (1, ("shop:tasks.send.x",), "shop has no 'tasks.send.x'"),
        (1, ("shop:number",), "shop:number is neither a jobq.Worker nor jobq.Tasks, but an int: shop has tasks"),
        (1, ("shop:send",), "shop:send is neither a jobq.Worker nor jobq.Tasks, but a Task: shop has tasks"),
        (1, ("pack.jobs:tasks",), "pack.jobs:tasks has no tasks: import the modules that register them"),
        (1, ("needs_more:x",), "needs_more cannot be imported: ModuleNotFoundError: No module named "
            "'nothing_like_it', in line 2 of FOLDER/needs_more.py (--debug shows more)"),
        (1, ("fails:x",), "fails cannot be imported: ZeroDivisionError: division by zero, in line 2 of FOLDER/fails"),
        (1, ("slips:x",), "slips cannot be imported: SyntaxError: "),
        (1, ("leaves:x",), "leaves ends the program when it is imported: let it do so under `if __name__ == '__main_"),
        (2, ("shop:tasks", "--topic", "a b"), "topic 'a b' is not allowed"),
        (2, ("shop:tasks", "-c", "0"), "0 is not in the range 1<=x<=10000."),
        (2, ("shop:tasks", "--executor", "fork"), "'fork' is not one of 'thread', 'process'."),
        (2, ("shop:tasks", "--time-limit", "5"), "--time-limit goes with --exec."),
        (2, ("shop:tasks", "--exec", "cat"), "Jobs are run by MODULE:OBJECT, here shop:tasks, or by --exec: give one"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_said_in_one_line(
    shell: Shell, status: int, arguments: tuple[str, ...], message: str
) -> None:
    said = shell.refused(status, "worker", *arguments)
    assert message.replace("FOLDER", str(shell.folder)) in said
    assert not (shell.folder / "jobs").exists()


def test_settings_of_a_worker_that_are_not_allowed(shell: Shell) -> None:
    assert "the lease of a worker must be at least 0.1" in shell.refused(1, "worker", "shop:tasks", "--lease", "10ms")
    assert "max_jobs is for executor='process'" in shell.refused(1, "worker", "shop:tasks", "--max-jobs", "5")
    wrong = shell.refused(1, "worker", "shop:tasks", JOBQ_WORKER_EXECUTOR="fork")
    assert wrong == "jobq: JOBQ_WORKER_EXECUTOR = 'fork': must be one of thread, process"


def test_debug_shows_where_the_users_code_fails(shell: Shell) -> None:
    outcome = shell.run("worker", "fails:x", "--debug")
    assert outcome.status == 1
    assert "return 1 / 0" in outcome.err


@pytest.mark.parametrize("named", ["--url", "--queue"])
def test_a_queue_that_is_not_the_programs_own_is_refused(shell: Shell, named: str) -> None:
    (shell.folder / "jobq.toml").write_text('[queues.other]\nurl = "lmdb:other?sync=off"\n')
    own = str(shell.url)
    assert burst(shell, "works:worker", OWN_URL=own).status == 0  # --url names its own
    shell.url = None
    said = shell.refused(1, "worker", "works:worker", named, "lmdb:other" if named == "--url" else "other", OWN_URL=own)
    assert f"works:worker has opened its own queue, lmdb://{shell.folder}/jobs, and {named} names another one" in said
    assert not (shell.folder / "other").exists()


def test_tasks_that_are_bound_keep_their_queue(shell: Shell) -> None:
    (shell.folder / "bound.py").write_text(
        "import jobq, shop\nfrom shop import both, others, tasks\n"
        "tasks.bind(jobq.open('lmdb:own?sync=off'))\nshop.visit.new_job()\n"
    )
    said = shell.refused(1, "worker", "bound:tasks")
    assert f"bound:tasks has opened its own queue, lmdb://{shell.folder}/own, and --url names another one" in said
    shell.url = None
    assert f"lmdb://{shell.folder}/own>> started" in burst(shell, "bound:both").err
    with (shell.folder / "bound.py").open("a") as file:
        file.write("others.bind(jobq.open('lmdb:else?sync=off'))\n")
    assert "bound:both are tasks of several queues, lmdb://" in shell.refused(1, "worker", "bound:both")


def test_help_says_what_there_is(shell: Shell) -> None:
    said = shell.done("worker", "--help").out
    assert all(word in said for word in ("MODULE:OBJECT", "--exec PROG ARG…", "--topic", "--burst", "JOBQ_JOB_NAME"))
