"""Where to listen, as it is written."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import NamedTuple

from jobq.errors import ConfigError

LOOPBACK = "127.0.0.1"
PORT = 9464
"""The port that is listened at by default: the one of OpenTelemetry's exporter for Prometheus."""
MOST = 65535

_PORT = re.compile(r"[0-9]{1,5}")
_HOST = re.compile(r"[\w.-]+")


class Address(NamedTuple):
    """A host (a name, or an IPv4 or IPv6 address without brackets) and a port, 0 for any that is free."""

    host: str = LOOPBACK
    port: int = PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address that a text names: "127.0.0.1:9464", "[::1]:9464"; ":9464" or "9464" for the loopback alone.

    Other machines can reach it if the host says so, as "0.0.0.0" and "[::]" do.
    Raises ConfigError, which is a ValueError, for a text that is none of these, TypeError for what is no text.
    """
    if not isinstance(text, str):
        raise TypeError(f"an address must be a str such as '127.0.0.1:9464', not {type(text).__name__}")
    host, _, port = text.rpartition(":")
    if not _PORT.fullmatch(port) or int(port) > MOST:
        raise _refused(text, f"its port must be a number from 0 to {MOST}")
    if host.startswith("[") and host.endswith("]"):
        return Address(_ip_version_6(host[1:-1], text), int(port))
    if ":" in host:
        raise _refused(text, "an IPv6 address stands in brackets, such as '[::1]:9464'")
    if host and not _HOST.fullmatch(host):
        raise _refused(text, "its host must be a name or an IP address")
    return Address(host or LOOPBACK, int(port))


def _ip_version_6(host: str, text: str) -> str:
    try:
        IPv6Address(host)
    except ValueError as problem:
        raise _refused(text, f"in brackets stands an IPv6 address, and {problem}") from problem
    return host


def _refused(text: str, why: str) -> ConfigError:
    return ConfigError(f"the address {text!r} is not allowed: {why}; write HOST:PORT, [IPV6]:PORT, :PORT or PORT")
