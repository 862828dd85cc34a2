"""The files of examples/deploy: their command lines are accepted, and stop cleanly by the signal that is sent."""

from __future__ import annotations

import json
import re
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

import jobq
from jobq import Status
from jobq.settings import parse_duration
from jobq.worker.signals import SIGNALS
from tests.cli.commands import COMMAND, ROOT, environment
from tests.cli.serving import Serving, serving_command
from tests.clocks import PATIENCE

DEPLOY = ROOT / "examples" / "deploy"

TASKS = """
import os, time
import jobq

tasks = jobq.Tasks()


@tasks.task(name="hold")
def hold(path):
    print("begun", flush=True)
    while not os.path.exists(path):
        time.sleep(0.005)  # between two looks: nothing tells of a new file
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder of the project for which the files are written."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "tasks.py").write_text(TASKS)
    return tmp_path


def unit() -> dict[str, list[str]]:
    """The settings of the service, each with the values that it is given."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "jobq-worker.service").read_text().splitlines():
        if line and line[0] not in "#[":
            name, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(name, []).append(value)
    return found


def instructions() -> dict[str, list[str]]:
    """What the Dockerfile says, by instruction."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition(" ")
            found.setdefault(name, []).append(value)
    return found


def grace(words: Sequence[str]) -> float:
    return parse_duration(words[words.index("--grace") + 1])


def stops_cleanly(words: Sequence[str], shop: Path, by: signal.Signals) -> None:
    """Run a worker, and stop it as a job runs."""
    assert Path(words[0]).name == "jobq"
    url = f"lmdb://{shop}/jobs?sync=off"
    with jobq.open(url) as svc:
        id = svc.enqueue("", name="hold", json={"args": [str(shop / "go")]})
    with serving_command([*COMMAND, *words[1:]], shop, environment(JOBQ_URL=url)) as running:
        _let_it_stop(running, shop, by)
    with jobq.open(url) as svc:
        assert svc.status(id) == Status.DONE


def _let_it_stop(running: Serving, shop: Path, by: signal.Signals) -> None:
    running.expect("begun")
    running.send(by)
    running.expect("stopping: 1 running jobs")
    (shop / "go").touch()
    assert running.end() == 0


def test_the_unit_stops_cleanly(shop: Path) -> None:
    [command] = unit()["ExecStart"]
    stops_cleanly(shlex.split(command), shop, signal.SIGTERM)


def test_systemd_is_more_patient_than_the_worker() -> None:
    [command], [patience] = unit()["ExecStart"], unit()["TimeoutStopSec"]
    assert float(patience) > grace(shlex.split(command)) + 5
    assert unit()["KillMode"] == ["mixed"]
    assert "KillSignal" not in unit()  # so that it is SIGTERM


def test_the_unit_keeps_the_queue_where_it_may_write() -> None:
    [state], [url] = unit()["StateDirectory"], unit()["Environment"]
    assert url.startswith(f"JOBQ_URL=lmdb:///var/lib/{state}/")
    assert not {"PrivatePIDs", "ProtectProc", "PrivateUsers"} & set(unit())
    assert "AF_UNIX" in unit()["RestrictAddressFamilies"][0].split()


def test_the_container_stops_cleanly(shop: Path) -> None:
    words = [*json.loads(instructions()["ENTRYPOINT"][0]), *json.loads(instructions()["CMD"][0])]
    by = signal.Signals[instructions()["STOPSIGNAL"][0]]
    assert by in SIGNALS
    assert grace(words) < 10  # as long as `docker stop` waits
    stops_cleanly(words, shop, by)


def test_the_container_is_not_root_and_keeps_the_queue_in_a_volume() -> None:
    said = instructions()
    [volume] = said["VOLUME"]
    assert any(f"JOBQ_URL=lmdb://{volume}/" in line for line in said["ENV"])
    assert said["USER"] == ["shop"]
    assert re.fullmatch(r"python:3\.\d+-slim", said["FROM"][0])


@pytest.mark.parametrize("topics", [[], ["mail"]], ids=["empty", "with a job"])
def test_a_queue_is_healthy_whether_or_not_there_are_jobs(shop: Path, topics: list[str]) -> None:
    words = json.loads(instructions()["HEALTHCHECK"][0].partition("CMD ")[2])
    assert words[0] == "jobq"
    url = f"lmdb://{shop}/jobs?sync=off"
    with jobq.open(url) as svc:
        for topic in topics:
            svc.enqueue(topic)
        with serving_command([*COMMAND, *words[1:]], shop, environment(JOBQ_URL=url)) as checking:
            assert checking.process.wait(PATIENCE) == 0
