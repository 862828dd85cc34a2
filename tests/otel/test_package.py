"""jobq.otel needs opentelemetry-api alone, and says so where that is missing."""

from __future__ import annotations

import subprocess
import sys

from tests.clocks import PATIENCE


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    return (done.stdout + (done.stderr.strip().splitlines() or [""])[-1]).strip()


def test_without_the_package_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['opentelemetry'] = None; from jobq import otel"
    assert run(script) == "ImportError: jobq.otel needs the package opentelemetry-api: pip install 'jobq[otel]'"


def test_without_a_provider_jobs_have_no_headers_and_run() -> None:
    script = (
        "import sys, jobq; from jobq import otel; svc = jobq.open('memory://', headers=otel.producing);"
        "worker = jobq.Worker(svc, 't', around=otel.consuming);"
        "worker.default(lambda job: dict(job.headers)); id = svc.enqueue('t', headers={'a': 'b'});"
        "worker.run(burst=True); print(svc.get(id).result, 'opentelemetry.sdk' in sys.modules)"
    )
    assert run(script) == "{'a': 'b'} False"


def test_a_program_without_traces_imports_none_of_it() -> None:
    script = "import sys, jobq; jobq.Worker; print([name for name in sys.modules if 'opentelemetry' in name])"
    assert run(script) == "[]"
