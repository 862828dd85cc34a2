"""Metrics over HTTP: a real server, scraped as Prometheus does it."""

from __future__ import annotations

import gzip
import re
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

import jobq
from jobq import ConfigError, JobService
from jobq.metrics import MetricsServer, registry_of, serve
from tests.clocks import PATIENCE
from tests.metrics.scenes import Scrape


@pytest.fixture
def server(svc: JobService) -> Iterator[MetricsServer]:
    """A server of the metrics of the queue under test."""
    with serve(registry_of(svc), port=0) as server:
        yield server


def get(server: MetricsServer, **headers: str) -> tuple[str, bytes]:
    """The type and the content of an answer."""
    with urlopen(Request(server.url, headers=headers), timeout=PATIENCE) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_each_scrape_says_how_it_is_now(svc: JobService, server: MetricsServer) -> None:
    for n in range(1, 4):
        svc.enqueue("t")
        kind, content = get(server)
        assert kind.startswith("text/plain; version=")
        assert Scrape(content.decode()).value("jobq_enqueued_total", topic="t") == n


def test_prometheus_is_answered_in_the_format_that_it_asks_for(svc: JobService, server: MetricsServer) -> None:
    svc.enqueue("t")
    kind, content = get(server, Accept="application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in parse_openmetrics(content.decode())}  # type: ignore[no-untyped-call]
    assert {"jobq_up", "jobq_enqueued", "jobq_jobs"} <= names
    _, packed = get(server, **{"Accept-Encoding": "gzip"})
    assert Scrape(gzip.decompress(packed).decode()).value("jobq_up") == 1


def test_it_listens_at_the_loopback_and_tells_its_port(server: MetricsServer) -> None:
    assert server.address.host == "127.0.0.1"
    assert server.address.port > 0
    assert server.url == f"http://127.0.0.1:{server.address.port}/metrics"
    assert repr(server) == f"<MetricsServer at {server.url}>"


def test_ipv6_is_served_where_the_machine_has_it() -> None:
    with jobq.open("memory://") as svc:
        if not _has_ipv6():
            with pytest.raises(ConfigError, match=re.escape("metrics cannot be served at [::1]:0")):
                serve(registry_of(svc), "::1", 0)
            return
        with serve(registry_of(svc), "::1", 0) as server:
            assert server.url == f"http://[::1]:{server.address.port}/metrics"
            assert Scrape(get(server)[1].decode()).value("jobq_up") == 1


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_port_in_use_is_said(svc: JobService, server: MetricsServer) -> None:
    where = re.escape(f"metrics cannot be served at {server.address}: Address already in use")
    with pytest.raises(ConfigError, match=f"{where}; give an address of this machine, and a port that is free") as said:
        serve(registry_of(svc), *server.address)
    assert isinstance(said.value.__cause__, OSError)


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b"])
def test_so_is_an_address_that_is_not_of_this_machine(svc: JobService, host: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"metrics cannot be served at {host}:0: ")):
        serve(registry_of(svc), host, 0)


@pytest.mark.parametrize(
    ("host", "port", "error"),
    [
        ("", 0, ConfigError),
        (None, 0, TypeError),
        (b"127.0.0.1", 0, TypeError),
        ("127.0.0.1", -1, ValueError),
        ("127.0.0.1", 65536, ValueError),
        ("127.0.0.1", "9464", TypeError),
        ("127.0.0.1", True, TypeError),
    ],
)
def test_bad_arguments_are_refused(svc: JobService, host: Any, port: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"host|port"):
        serve(registry_of(svc), host, port)


def test_closed_it_lets_go_of_port_and_thread(svc: JobService) -> None:
    server = serve(registry_of(svc), port=0)
    get(server)
    waiter = threading.Thread(target=server.wait)
    waiter.start()
    server.close()
    server.close()
    waiter.join(PATIENCE)
    assert not waiter.is_alive()
    assert repr(server) == f"<MetricsServer at {server.url}, closed>"
    assert "jobq-metrics" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(ConnectionRefusedError):
        HTTPConnection(*server.address, timeout=PATIENCE).connect()
    with serve(registry_of(svc), *server.address) as again:
        assert again.address == server.address


def test_a_closed_queue_is_down(svc: JobService, server: MetricsServer) -> None:
    svc.enqueue("t")
    svc.close()
    assert Scrape(get(server)[1].decode()).samples == {("jobq_up", frozenset()): 0}


def test_a_collector_that_is_broken_makes_the_scrape_fail(capfd: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def collect(self) -> list[Metric]:
            raise ZeroDivisionError

    registry = CollectorRegistry()
    registry.register(Broken())
    with serve(registry, port=0) as server:
        connection = HTTPConnection(*server.address, timeout=PATIENCE)
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 500
        connection.close()
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_many_scrape_at_once(svc: JobService, server: MetricsServer) -> None:
    svc.enqueue("t")
    values: list[float] = []

    def scrape() -> None:
        for _ in range(5):
            values.append(Scrape(get(server)[1].decode()).value("jobq_jobs", topic="t", status="ready"))

    threads = [threading.Thread(target=scrape) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert values == [1] * 20
