"""Measuring jobq beside other queues, see `scripts/bench --help`."""
