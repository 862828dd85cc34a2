"""How an address to listen at is written."""

from __future__ import annotations

from typing import Any

import pytest

from jobq import ConfigError
from jobq.metrics import Address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("localhost:0", "localhost", 0),
        ("jobs-1.example.org:65535", "jobs-1.example.org", 65535),
        ("[::1]:9464", "::1", 9464),
        ("[::]:1", "::", 1),
        ("[fe80::1%eth0]:9464", "fe80::1%eth0", 9464),
        (":9464", "127.0.0.1", 9464),
        ("9464", "127.0.0.1", 9464),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port) == (host, port)


@pytest.mark.parametrize("text", ["127.0.0.1:9464", "[::1]:9464", "localhost:0"])
def test_it_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "its port must be a number from 0 to 65535"),
        (":", "port"),
        ("localhost", "port"),
        ("localhost:", "port"),
        ("localhost:http", "port"),
        ("localhost:-1", "port"),
        ("localhost:65536", "port"),
        ("localhost:" + "9" * 5000, "port"),
        ("localhost:٣", "port"),
        ("localhost:80 ", "port"),
        ("::1", "in brackets, such as"),
        ("::1:9464", "in brackets, such as"),
        ("a:b:1", "in brackets, such as"),
        ("[localhost]:80", "in brackets stands an IPv6 address"),
        ("[]:80", "in brackets stands an IPv6 address"),
        ("[127.0.0.1]:80", "in brackets stands an IPv6 address"),
        ("[::1:80", "in brackets, such as"),
        ("http://localhost:80", "in brackets, such as"),
        ("local host:80", "its host must be a name or an IP address"),
        ("/run/socket:80", "its host must be a name or an IP address"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        parse_address(text)
    assert str(refused.value).startswith(f"the address {text!r} is not allowed")
    assert str(refused.value).endswith("write HOST:PORT, [IPV6]:PORT, :PORT or PORT")


@pytest.mark.parametrize("address", [9464, None, b"localhost:80", ("localhost", 80)])
def test_an_address_is_a_text(address: Any) -> None:
    with pytest.raises(TypeError, match=r"an address must be a str such as '127\.0\.0\.1:9464'"):
        parse_address(address)
