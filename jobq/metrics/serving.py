"""Metrics over HTTP, by prometheus_client's own server."""

from __future__ import annotations

import threading
from typing import Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import start_http_server
from prometheus_client.registry import Collector

from jobq import inputs
from jobq.errors import ConfigError
from jobq.metrics.address import LOOPBACK, MOST, PORT, Address


class MetricsServer:
    """Serves metrics from a thread of its own until it is closed, or until the end of a `with` block."""

    def __init__(self, server: WSGIServer, thread: threading.Thread) -> None:
        self._server = server
        self._thread = thread
        self._lock = threading.Lock()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<MetricsServer at {self.url}{', closed' if self._is_closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def address(self) -> Address:
        """Where it listens, with the port that was given to it."""
        host, port = self._server.server_address[:2]
        return Address(str(host), int(port))

    @property
    def url(self) -> str:
        """What to scrape."""
        return f"http://{self.address}/metrics"

    def wait(self) -> None:
        """Return when it is closed, by another thread."""
        self._thread.join()

    def close(self) -> None:
        """Listen no more, and let go of the port; a scrape that runs is not waited for. Again, it does nothing."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._server.shutdown()
                self._server.server_close()
        self._thread.join()


def serve(registry: Collector, host: str = LOOPBACK, port: int = PORT) -> MetricsServer:
    """Serve the metrics of a registry over HTTP, at any path.

    host: the address to listen at, by default one that only this machine can reach; "0.0.0.0" and "::" are all of its
    addresses. port: 0 to 65535; 0 is any that is free, see `MetricsServer.address`.
    Raises ConfigError if it cannot listen there, as another process does.
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be a str such as '127.0.0.1', not {type(host).__name__}")
    if not host:
        raise ConfigError("host must be a name or an address, not '': '0.0.0.0' and '::' are all of this machine's")
    inputs.whole(port, "port", least=0, most=MOST)
    try:
        server, thread = start_http_server(port, host, registry)
    except (OSError, UnicodeError) as problem:  # UnicodeError: a name that no name can be
        why = getattr(problem, "strerror", None) or problem
        raise ConfigError(
            f"metrics cannot be served at {Address(host, port)}: {why}; give an address of this machine, and a port"
            " that is free, or 0 for any that is"
        ) from problem
    thread.name = "jobq-metrics"
    return MetricsServer(server, thread)
