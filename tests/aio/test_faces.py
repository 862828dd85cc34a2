"""The two faces of the queue have the same names and signatures."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Any

import pytest

from jobq import AsyncJob, AsyncJobService, Job, JobService, open, open_async

FACES = [(JobService, AsyncJobService), (Job, AsyncJob)]
NOT_AWAITED = {"jobs", "listen", "json"}
"""Those that give something to iterate or to enter, and what is known without asking the storage."""


def public(face: type) -> dict[str, Any]:
    names = {name for name in dir(face) if not name.startswith("_")} | set(getattr(face, "__slots__", ()))
    return {name: inspect.getattr_static(face, name) for name in names if not name.startswith("_")}


def signature(verb: Any) -> str:
    """A signature as if it were that of the other face."""
    said = str(inspect.signature(verb)).replace("AsyncGenerator[AsyncJob, None]", "Generator[Job, None, None]")
    said = re.sub(r"\bAsync(Job|JobService|Iterator|Listener)\b", r"\1", said)
    return re.sub(r"^\(self: '?\w+'?", "(self", said).replace("Job | Iterable[Job]", "Handles")


@pytest.mark.parametrize(("face", "awaited"), FACES)
def test_they_have_the_same_names(face: type, awaited: type) -> None:
    assert set(public(face)) == set(public(awaited)) - {"sync"}


@pytest.mark.parametrize(("face", "awaited"), FACES)
def test_their_verbs_have_the_same_signatures(face: type, awaited: type) -> None:
    verbs = {name: verb for name, verb in public(face).items() if inspect.isfunction(verb)}
    assert len(verbs) > 8
    for name, verb in verbs.items():
        twin = getattr(awaited, name)
        assert signature(twin) == signature(verb), name
        assert inspect.iscoroutinefunction(twin) == (name not in NOT_AWAITED), name
        assert twin.__doc__, name


@pytest.mark.parametrize(("face", "awaited"), FACES)
def test_what_is_no_verb_is_a_property_of_both(face: type, awaited: type) -> None:
    others = {name for name, verb in public(face).items() if not inspect.isfunction(verb)}
    assert all(isinstance(public(awaited)[name], property) for name in others)


def test_open_takes_the_same() -> None:
    assert inspect.signature(open_async).parameters == inspect.signature(open).parameters


def test_jobq_alone_imports_no_asyncio() -> None:
    program = (
        "import sys, jobq; svc = jobq.open('memory://'); svc.enqueue('t'); worker = jobq.Worker(svc, 't');"
        "worker.default(print); worker.run(burst=True);"
        "print('asyncio' in sys.modules, 'concurrent.futures' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"
