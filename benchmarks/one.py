"""The process that makes one measurement: `python -m benchmarks.one MEASUREMENT FOLDER`. Prints figures as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.measurement import Measurement
from benchmarks.peers import PEERS


def main() -> None:
    """Print the figures on the last line, as a worker may have printed something, too."""
    figures = measured(Measurement(**json.loads(sys.argv[1])), Path(sys.argv[2]))
    print()
    print(json.dumps(figures))


def measured(measurement: Measurement, folder: Path) -> dict[str, float]:
    """The figures of its case."""
    peer = PEERS[measurement.peer]
    return CASES[measurement.case].run(peer, folder, measurement.jobs, measurement.payload)


if __name__ == "__main__":
    main()
