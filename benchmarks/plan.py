"""Which measurements a run makes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cases import CASES
from benchmarks.measurement import Measurement
from benchmarks.peers import PEERS

ONCE = ("memory", "due", "backlog")
"""Cases that are long, and little disturbed by what else runs: made in the first round alone."""
QUICK = {"backlog": 100_000, "due": 20_000, "idle": 2, "import": 5}
"""Jobs of the cases for which a tenth is too many or too few."""


def plan(*, quick: bool = False, only: Sequence[str] = ()) -> list[Measurement]:
    """All measurements, or those whose case or peer is among `only`; with `quick` of fewer jobs."""
    return [
        Measurement(name, peer, fewer(name, jobs) if quick else jobs, payload)
        for name, case in CASES.items()
        for payload in case.payloads
        for peer in case.peers
        if not only or name in only or peer in only
        for jobs in [case.jobs(PEERS[peer], payload)]
    ]


def fewer(case: str, jobs: int) -> int:
    """As many as show that it works."""
    return QUICK.get(case, max(jobs // 10, 100))
