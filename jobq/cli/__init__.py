"""The command line: `jobq`, or `python -m jobq`."""

import sys


def main() -> None:
    """Run the command that the program's arguments name, and exit with its status."""
    try:
        from jobq.cli.running import run
    except ImportError as missing:
        if missing.name != "click":
            raise
        sys.exit("jobq: the command line needs the package click: pip install 'jobq[cli]'")
    sys.exit(run(sys.argv[1:]))
