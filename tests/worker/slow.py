"""Handlers of a module that a child process may take long to import."""

from __future__ import annotations

import multiprocessing
import os

from jobq import Job
from tests.worker.deeds import wait_for_file

WAITS_FOR = "JOBQ_TEST_WAITS_FOR"
"""The variable that names a file: while it is not there, a child process does not get ready."""


def quick(job: Job) -> int:
    return os.getpid()


if multiprocessing.parent_process() is not None and WAITS_FOR in os.environ:
    wait_for_file(os.environ[WAITS_FOR])
