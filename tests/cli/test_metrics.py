"""`jobq metrics`: what a real parser and a real scrape make of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.commands import Outcome, Shell, environment
from tests.cli.serving import serving
from tests.clocks import PATIENCE


def values(text: str) -> dict[tuple[str, str, str], float]:
    """The samples by name, topic and status."""
    return {
        (sample.name, sample.labels.get("topic", ""), sample.labels.get("status", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_printed(shell: Shell) -> None:
    shell.done("enqueue", "mail", "--lines", stdin=b"a\nb\n")
    shell.done("enqueue", "web", "x", "--delay", "1h")
    shell.done("cancel", "1")
    found = values(shell.done("metrics").out)
    assert found["jobq_up", "", ""] == 1
    assert found["jobq_enqueued_total", "mail", ""] == 2
    assert found["jobq_canceled_total", "mail", ""] == 1
    assert found["jobq_jobs", "mail", "ready"] == 1
    assert found["jobq_jobs", "web", "delayed"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_metrics_are_served_until_a_signal_says_stop(shell: Shell, number: signal.Signals) -> None:
    shell.done("enqueue", "mail", "x")
    command = shell.command("metrics", "--listen", "127.0.0.1:0")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment(), cwd=shell.folder, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        with urllib.request.urlopen(said.split()[-1], timeout=PATIENCE) as answer:
            assert values(answer.read().decode())["jobq_jobs", "mail", "ready"] == 1
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE) == ("", "")
    assert process.returncode == 0


def test_the_queue_that_nobody_named_is_named_by_where_it_is(tmp_path: Path) -> None:
    shell = Shell(tmp_path, None)
    shell.run("enqueue", "mail", "x")
    with serving(shell, "metrics", "--listen", "127.0.0.1:0") as running:
        running.expect(f"jobq: metrics of lmdb://{tmp_path}/jobq-data at http://127.0.0.1:")
        running.send(signal.SIGTERM)
        assert running.end() == 0


def test_addresses_that_are_none(shell: Shell) -> None:
    shell.done("enqueue", "mail", "x")
    assert "its port must be a number from 0 to 65535" in shell.refused(2, "metrics", "--listen", "here:there")
    assert "metrics cannot be served at 192.0.2.1:9464" in shell.refused(1, "metrics", "--listen", "192.0.2.1:9464")


def test_without_the_client_it_says_what_to_install(shell: Shell) -> None:
    shell.done("enqueue", "mail", "x")
    script = "import sys; sys.modules['prometheus_client'] = None; from jobq.cli import main; main()"
    command = [sys.executable, "-c", script, *shell.command("metrics")[3:]]
    ended = subprocess.run(command, cwd=shell.folder, env=environment(), capture_output=True, text=True)
    outcome = Outcome(ended.returncode, ended.stdout, ended.stderr)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == "jobq: jobq.metrics needs the package prometheus-client: pip install 'jobq[prometheus]'\n"
