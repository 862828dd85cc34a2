"""What `import jobq` costs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.peer import Peer
from benchmarks.stopwatch import seconds_of

IMPORTED = """
import sys
before = set(sys.modules)
import jobq
added = {name.partition(".")[0] for name in set(sys.modules) - before}
import json
print(json.dumps(sorted(added - set(sys.stdlib_module_names) - {"jobq"})))
"""


def over_bare_python(peer: Peer, folder: Path, pairs: int, payload: int) -> dict[str, float]:
    """Seconds that a process takes longer, the median of pairs; and how many packages of others are imported."""
    _run([sys.executable, "-c", "import jobq"])
    bare, importing = [sys.executable, "-c", "pass"], [sys.executable, "-c", "import jobq"]
    longer = [seconds_of(lambda: _run(importing)) - seconds_of(lambda: _run(bare)) for _ in range(pairs)]
    return {"seconds": statistics.median(longer), "packages": len(json.loads(_run([sys.executable, "-c", IMPORTED])))}


def _run(command: list[str]) -> str:
    # As it is where modules were imported before, whatever the shell that runs this says.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
