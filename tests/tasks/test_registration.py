"""Registering tasks: their names, what is refused, and what a task is."""

from __future__ import annotations

import functools
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jobq
from jobq import Job, JobOptions, Tasks
from jobq.tasks import Task
from jobq.testing import QueueForTests
from tests.clocks import PATIENCE
from tests.tasks import shop

if TYPE_CHECKING:
    from somewhere import Thing  # type: ignore[import-not-found]


def plain(n: int = 1) -> int:
    """Adds one."""
    return n + 1


def takes_job_last(n: int, job: Job) -> None: ...


def counted() -> Iterator[int]:
    yield 1


async def counted_later() -> AsyncIterator[int]:
    yield 1


def test_a_task_is_its_function_and_says_what_it_is() -> None:
    tasks = Tasks("numbers")
    task = tasks.task(plain)
    assert task(2) == 3
    assert (task.name, task.topic, task.priority, task.time_limit) == (f"{__name__}.plain", "numbers", 0, None)
    assert (task.__name__, task.__doc__, task.__module__) == ("plain", "Adds one.", __name__)  # type: ignore[attr-defined]
    assert str(inspect.signature(task)) == str(inspect.signature(plain))
    assert repr(task) == f"<Task {__name__}.plain(n=1) of topic 'numbers'>"
    assert (list(tasks), tasks.get(task.name), tasks.get("other")) == ([task], task, None)
    assert repr(tasks) == f"<Tasks of topic 'numbers': {__name__}.plain>"
    assert pickle.loads(pickle.dumps(shop.ship)) is shop.ship
    with pytest.raises(TypeError, match="cannot be pickled: import the module"):
        pickle.dumps(tasks)


def test_what_its_options_say_becomes_of_its_jobs() -> None:
    tasks = Tasks()
    queue = QueueForTests(defaults=JobOptions(lease=7))
    tasks.bind(queue)
    base = JobOptions(lease=11, max_retries=2)
    task = tasks.task(name="n", topic="other", priority=-2, options=base, max_retries=3, jitter=0.5)(plain)
    usual = queue.get(task.enqueue())
    assert (usual.name, usual.topic, usual.priority) == ("n", "other", -2)
    assert (usual.options.lease, usual.options.max_retries, usual.options.jitter) == (11, 3, 0.5)

    way = task.options(delay=60, priority=4, unique_key="k", on_duplicate="keep", topic="third", max_retries=9)
    assert repr(way) == "<Enqueuer of n>"
    id = way.enqueue(5)
    special = queue.get(id)
    assert way.enqueue(6) == id
    assert (special.topic, special.priority, special.status, special.unique_key) == ("third", 4, "delayed", "k")
    assert (special.options.lease, special.options.max_retries, special.options.jitter) == (11, 9, 0.5)
    assert queue.payload(id) == b'{"args":[5]}'

    at = queue.clock.after(5)
    other = queue.get(task.options(run_at=at, options=JobOptions(lease=13), keep_done=1).enqueue())
    assert (other.run_at, other.options) == (at, JobOptions(lease=13, keep_done=1))
    assert queue.get(tasks.task(plain).enqueue()).options.lease == 7
    assert [queue.get(n).name for n in queue.enqueue_many([task.new_job(), way.new_job(n=7)])] == ["n", "n"]


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (3, TypeError, "a task must be a function, not 3"),
        ("send", TypeError, "a task must be a function, not 'send': a name is given as name='send'"),
        (int, TypeError, "a task must be a function, not <class 'int'>"),
        (functools.partial(plain, 1), TypeError, "a task must be a function, not functools.partial"),
        (lambda: None, TypeError, "a lambda has no name"),
        (counted, TypeError, "counted is a generator"),
        (counted_later, TypeError, "counted_later is a generator"),
        (shop.ship, TypeError, r"ship is a task already: @tasks\.every\(…\) makes one by itself, or stands above"),
        (max, TypeError, "a task must be a function that says what it takes: no signature found"),
        (dict.get, TypeError, "a task must be a function, not <method 'get'"),
        (takes_job_last, TypeError, "'job' is annotated as Job, but only the first positional"),
    ],
)
def test_what_cannot_be_a_task_is_refused(function: Any, error: type[Exception], message: str) -> None:
    tasks = Tasks()
    with pytest.raises(error, match=message):
        tasks.task(function)
    assert list(tasks) == []


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"name": ""}, ValueError, "the name of a task must not be empty"),
        ({"name": 3}, TypeError, "name must be a str"),
        ({"name": "n" * 256}, ValueError, "name must have at most 255 bytes"),
        ({"topic": "no spaces"}, jobq.InvalidTopic, "topic 'no spaces' is not allowed"),
        ({"priority": "high"}, TypeError, "priority must be an int"),
        ({"time_limit": 0}, ValueError, "time_limit must be above 0"),
        ({"options": {"lease": 3}}, TypeError, r"options must be JobOptions\(…\), not dict"),
        ({"max_retry": 3}, TypeError, "unknown option 'max_retry' .did you mean 'max_retries'"),
        ({"lease": 0}, ValueError, "lease must be above 0"),
        ({"min_backoff": 9, "max_backoff": 3}, ValueError, "must not be above max_backoff"),
        ({"options": JobOptions(), "min_backoff": 9000}, ValueError, "must not be above max_backoff"),
    ],
)
def test_settings_that_are_wrong_are_refused_where_they_are_written(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    tasks = Tasks()
    with pytest.raises(error, match=message):
        tasks.task(**settings)(plain)
    assert list(tasks) == []


def test_options_that_depend_on_the_service_are_left_to_it() -> None:
    tasks = Tasks()
    tasks.bind(QueueForTests(defaults=JobOptions(max_backoff=9000)))
    assert tasks.task(min_backoff=8000)(plain).enqueue() == 1


def test_a_topic_and_a_codec_are_checked() -> None:
    with pytest.raises(jobq.InvalidTopic):
        Tasks("no spaces")
    with pytest.raises(TypeError, match=r"codec must have dumps\(args, kwargs\) and loads\(data\), as int has not"):
        Tasks(codec=3)  # type: ignore[arg-type]


def test_a_name_is_given_once() -> None:
    tasks = Tasks()
    tasks.task(plain)
    with pytest.raises(ValueError, match=f"there is a task named '{__name__}.plain' already"):
        tasks.task(plain)
    tasks.task(name="another")(plain)
    assert [task.name for task in tasks] == [f"{__name__}.plain", "another"]


# -- the first parameter


def test_the_annotation_of_the_first_parameter_says_whether_it_is_given_the_job() -> None:
    tasks = Tasks()
    tasks.bind(QueueForTests())

    def real(job: Job, n: int) -> None: ...
    def maybe(job: Job | None, n: int) -> None: ...
    def untyped(job, n) -> None: ...  # type: ignore[no-untyped-def]
    async def later(job: jobq.AsyncJob, n: int) -> None: ...
    def evaluated(job, n) -> None: ...  # type: ignore[no-untyped-def]

    evaluated.__annotations__["job"] = Job
    given: list[Any] = [real, maybe, later, evaluated]
    for function in given:
        with pytest.raises(TypeError, match=r"\(n\): missing a required argument: 'n'"):
            tasks.task(function).enqueue()
    task: Any = tasks.task(untyped)
    with pytest.raises(TypeError, match="missing a required argument: 'job'"):
        task.enqueue()


def test_the_job_is_given_as_the_first_positional_argument_only() -> None:
    def elsewhere(n: Thing, job: Job) -> None: ...
    def keyword(*, job: Job, n: int) -> None: ...
    def optional(n: int, job: Job | None = None) -> None: ...

    tasks = Tasks()
    others: list[Any] = [elsewhere, keyword]
    for function in others:
        with pytest.raises(TypeError, match="'job' is annotated as Job, but only the first positional one can be"):
            tasks.task(function)
    assert tasks.task(optional).new_job(1).payload == b'{"args":[1]}'


@pytest.mark.parametrize("text", ["Job", "jobq.Job", "AsyncJob", "jobq.AsyncJob", "Job | None"])
def test_an_annotation_that_is_not_imported_counts_by_its_text(text: str) -> None:
    scope: dict[str, Any] = {"__name__": "elsewhere"}
    exec(f"async def send(job: {text!r}, to: 'Address'): ...\nasync def other(job: 'Work', to): ...", scope)
    tasks = Tasks()
    assert scope["send"].__annotations__["job"] == repr(text)  # as there is a future import here, too
    assert repr(tasks.task(scope["send"])) == "<Task elsewhere.send(to) of topic 'default'>"
    assert repr(tasks.task(scope["other"])) == "<Task elsewhere.other(job, to) of topic 'default'>"


def test_the_job_cannot_be_given_as_an_argument() -> None:
    def send(job: Job, n: int, **more: int) -> None: ...

    task: Any = Tasks().task(send)
    with pytest.raises(TypeError, match=r"send\(n, \*\*more\): 'job' is the job, and no argument"):
        task.new_job(1, job=2)


def test_a_job_without_annotation_is_an_argument_and_the_error_says_so() -> None:
    def send(job, n=1):  # type: ignore[no-untyped-def]
        ...

    with pytest.raises(TypeError, match=r"missing a required argument: 'job'; if .* annotate it: job: jobq\.Job"):
        Tasks().task(send).new_job()


def test_a_function_cannot_take_an_async_job() -> None:
    def send(job: jobq.AsyncJob) -> None: ...

    with pytest.raises(TypeError, match="cannot await the verbs of an AsyncJob: declare it with async def, or"):
        Tasks().task(send)


def test_a_task_that_takes_the_job_is_not_called_without_one(jobq: QueueForTests) -> None:
    with pytest.raises(TypeError, match=r"whereabouts takes its job first, .* whereabouts\.function\(job, …\)"):
        shop.whereabouts("a")
    jobq.enqueue("mail")
    [job] = jobq.reserve("mail")
    assert shop.whereabouts.function(job, "a", n=1)["notes"] == ("a",)


def test_a_decorated_function_is_a_task_by_what_it_wraps() -> None:
    def traced(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @traced
    def add(job: Job, n: int) -> int:
        return job.id + n

    task: Task[..., int] = Tasks().task(add)
    assert repr(task).endswith("add(n) of topic 'default'>")


# -- the script of a program

SCRIPT = """
import jobq
tasks = jobq.Tasks()

@tasks.task
def name_of(job: jobq.Job) -> str:
    return name_of.name

if __name__ == "__main__":
    with jobq.open("memory://") as svc:
        worker = jobq.Worker(svc, "", tasks=tasks, executor=EXECUTOR)
        tasks.bind(svc)
        id = name_of.enqueue()
        worker.run(burst=True)
        print(name_of.name, svc.get(id).name, svc.get(id).result)
"""


def run_python(arguments: list[str], folder: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True, timeout=PATIENCE, env=environment
    )


@pytest.mark.parametrize(
    ("file", "arguments", "name", "executor"),
    [
        ("work.py", ["work.py"], "work.name_of", "process"),
        ("app/work.py", ["-m", "app.work"], "app.work.name_of", "process"),
        ("app/__main__.py", ["-m", "app"], "app.__main__.name_of", "thread"),
    ],
)
def test_a_task_of_the_programs_script_has_the_name_by_which_others_import_it(
    file: str, arguments: list[str], name: str, executor: str, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(SCRIPT.replace("EXECUTOR", repr(executor)))
    done = run_python(arguments, tmp_path)
    assert done.stdout.split() == [name] * 3, done.stderr


def test_a_script_enqueues_what_a_worker_that_imports_it_runs(tmp_path: Path) -> None:
    svc = "svc = jobq.open('lmdb:queue')"
    main = f"if __name__ == '__main__':\n    {svc}; tasks.bind(svc); name_of.enqueue()"
    (tmp_path / "work.py").write_text(SCRIPT.partition("if __name__")[0] + main)
    assert run_python(["work.py"], tmp_path).stderr == ""
    worker = f"import jobq, work; {svc}; jobq.Worker(svc, '', tasks=work.tasks).run(burst=True)"
    assert run_python(["-c", f"{worker}; print(svc.get(1).result)"], tmp_path).stdout == "work.name_of\n"


def test_child_processes_do_not_import_a_main_module_of_a_package(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(SCRIPT.replace("EXECUTOR", "'process'"))
    done = run_python(["-m", "app"], tmp_path)
    assert "ConfigError: __main__.name_of.handler is in a __main__.py, which child processes do not" in done.stderr


def test_a_task_typed_into_the_interpreter_is_named_after_main(tmp_path: Path) -> None:
    done = run_python([], tmp_path, "import jobq\n@jobq.Tasks().task\ndef f(): pass\n\nprint(f.name)\n")
    assert done.stdout == "__main__.f\n", done.stderr


def test_importing_tasks_imports_no_asyncio(tmp_path: Path) -> None:
    script = "import sys, jobq; jobq.Tasks; print({'asyncio', 'jobq.worker', 'jobq.aio'} & set(sys.modules))"
    done = run_python(["-c", script], tmp_path)
    assert done.stdout == "set()\n", done.stderr


def test_tasks_say_to_which_queue_they_are_bound() -> None:
    tasks = Tasks()
    assert tasks.service is None
    with jobq.open("memory://") as svc:
        tasks.bind(svc)
        assert tasks.service is svc
    assert tasks.service is None
