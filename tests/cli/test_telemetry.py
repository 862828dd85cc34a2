"""What `jobq worker` shows of itself: a real scrape, and the spans that a program exports."""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.apps import write_apps
from tests.cli.commands import Shell
from tests.cli.serving import serving
from tests.clocks import PATIENCE

TRACED = """
import jobq
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider()
line = lambda span: span.to_json(indent=None) + "\\n"
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
trace.set_tracer_provider(provider)
tasks = jobq.Tasks("mail")


@tasks.task(name="first")
def first():
    raise jobq.Done(then=second.new_job())


@tasks.task(name="second", max_retries=0)
def second():
    raise ValueError("broken")
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with programs."""
    write_apps(tmp_path)
    (tmp_path / "traced.py").write_text(TRACED)
    return Shell(tmp_path, f"lmdb://{tmp_path}/jobs?sync=off")


def samples(url: str) -> dict[tuple[str, str], float]:
    """The samples of a scrape by name and topic, those with further labels left out."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        found = [sample for family in families for sample in family.samples]
    return {(one.name, one.labels.get("topic", "")): one.value for one in found if set(one.labels) <= {"topic"}}


@pytest.mark.parametrize("what", [("shop:tasks",), ("works:worker",), ("--topic", "mail", "--exec", "true")])
def test_metrics_of_a_worker_and_its_queue_are_served_while_it_runs(shell: Shell, what: tuple[str, ...]) -> None:
    with shell.queue() as svc:
        id = svc.enqueue("mail", name="quick" if "works:worker" in what else "send", json={"args": ["a"], "kwargs": {}})
        with serving(shell, "worker", "--metrics", "127.0.0.1:0", *what) as running:
            url = running.expect("metrics at").split()[-1]
            assert svc.wait_for(id, PATIENCE).status == "done"
            found = samples(url)
            assert (found["jobq_workers", ""], found["jobq_completed_total", "mail"]) == (1, 1)
            assert found["jobq_worker_run_seconds_count", "mail"] == 1
            running.send(signal.SIGTERM)
            assert running.end() == 0


def test_an_address_that_cannot_be_served_is_said_before_a_job_is_taken(shell: Shell) -> None:
    shell.done("enqueue", "mail", "--name", "quick")
    said = shell.refused(1, "worker", "--burst", "--metrics", "192.0.2.1:9464", "works:worker")
    assert "metrics cannot be served at 192.0.2.1:9464" in said
    assert shell.done("list", "--json").objects[0]["attempt"] == 0


def test_jobs_are_traced_from_where_they_were_enqueued(shell: Shell) -> None:
    with shell.queue() as svc:
        svc.enqueue("mail", name="first", json={"args": [], "kwargs": {}})
    outcome = shell.run("worker", "--burst", "--tracing", "traced:tasks")
    assert outcome.status == 0, outcome
    first, enqueued, second = sorted(outcome.objects, key=lambda span: str(span["start_time"]))
    assert [span["name"] for span in (first, enqueued, second)] == ["process mail", "enqueue mail", "process mail"]
    [link] = second["links"]
    assert link["context"]["span_id"] == enqueued["context"]["span_id"]
    assert enqueued["parent_id"] == first["context"]["span_id"]
    assert (first["status"]["status_code"], second["status"]["status_code"]) == ("UNSET", "ERROR")


def test_traces_that_nobody_takes_are_said_to_be_in_vain(shell: Shell) -> None:
    outcome = shell.run("worker", "--burst", "--tracing", "--log-level", "warning", "shop:tasks")
    assert (outcome.status, outcome.out) == (0, "")
    assert outcome.err.startswith("jobq: --tracing has no effect, as no tracer provider is set: run this under ")
    traced = shell.run("worker", "--burst", "--tracing", "--log-level", "warning", "traced:tasks")
    assert (traced.status, traced.err) == (0, "")


def test_without_being_told_to_nothing_is_traced(shell: Shell) -> None:
    with shell.queue() as svc:
        svc.enqueue("mail", name="first", json={"args": [], "kwargs": {}})
    assert shell.run("worker", "--burst", "traced:tasks")[:2] == (0, "")


def test_a_queue_that_the_program_opened_itself_is_not_traced_by_half(shell: Shell) -> None:
    said = shell.refused(1, "worker", "--burst", "--tracing", "works:worker")
    assert said.startswith("jobq: works:worker has opened its own queue, and --tracing is for one that this command")
