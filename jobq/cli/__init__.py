"""The command line: `jobq`, or `python -m jobq`."""

import sys

from jobq.cli import streams

INTERRUPTED = 130


def main() -> None:
    """Run the command that the program's arguments name, and exit with its status."""
    try:
        streams.make_ready()
        sys.exit(_run())
    except KeyboardInterrupt:  # before there is a command that could say what it has done
        sys.exit(INTERRUPTED)


def _run() -> int:
    try:
        from jobq.cli.running import run
    except ImportError as missing:
        if missing.name != "click":
            raise
        sys.exit("jobq: the command line needs the package click: pip install 'jobq[cli]'")
    return run(sys.argv[1:])
