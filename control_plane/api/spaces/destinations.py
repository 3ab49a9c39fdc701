"""Where connections may lead. A connection makes the console knock wherever somebody says: not at the
console's own machine, not at what is reachable from there alone, and not at the lab's own services.

Names are resolved once, here, and what was checked is what is connected to: a name that means one place when
it is looked at and another when it is used (DNS rebinding) leads nowhere.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from contracts.errors import UsageError
from control_plane.api.spaces.errors import DestinationError, SourceError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Collection[str]]

_METADATA = frozenset(ipaddress.ip_address(name) for name in ("169.254.169.254", "fd00:ec2::254"))
_DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "postgres": 5432}
_LOCAL_NAMES = ("localhost", ".localhost", ".internal", ".cluster.local", ".svc")


@dataclass(frozen=True)
class _Permit:
    """A destination that the lab's admin permits: a name, an address or a network; one port, or any."""

    text: str
    host: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    port: int | None

    def covers(self, host: str, address: Address, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address in self.network
        return self.host == host.lower()


def system_resolve(host: str, port: int) -> list[str]:
    """Addresses of a name, by the machine's own resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Destinations:
    """What is connected to.

    Args:
        permitted: ``host``, ``host:port``, ``address`` or ``network`` (``10.1.0.0/16``), with ``:port`` or
            without; IPv6 with a port in brackets. They overrule every refusal.
        own_urls: the lab's own services.
    """

    def __init__(
        self,
        permitted: Iterable[str] = (),
        own_urls: Iterable[str] = (),
        *,
        resolve: Resolve = system_resolve,
    ) -> None:
        self._permits = [_permit(text) for text in permitted]
        self._own = {place for url in own_urls if (place := _place(url)) is not None}
        self._resolve = resolve

    def address(self, host: str, port: int) -> str:
        """The address to connect to for a name, looked at. To be called in a worker thread.

        Raises:
            DestinationError: it may not be connected to. SourceError: there is no such name.
        """
        host = host.strip("[]").rstrip(".").lower()
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise SourceError(f"there is no host {host!r}", value=host) from error
        if not found:
            raise SourceError(f"there is no host {host!r}", value=host)
        refused = ""
        for text in found:
            address = _plain(ipaddress.ip_address(text.partition("%")[0]))
            refused = self._refused(host, address, port)
            if refused:
                # One bad address is enough: which of them is used is not for others to choose.
                break
        if refused:
            raise DestinationError(
                f"the console does not connect to {host}:{port}: {refused}",
                value=f"{host}:{port}",
                permitted="a host outside the lab, or what the lab's setting consoleConnectTo names",
                next_command=f"lab up --set consoleConnectTo={host}:{port}, for a lab admin",
            )
        return next(iter(found))

    def _refused(self, host: str, address: Address, port: int) -> str:
        if any(permit.covers(host, address, port) for permit in self._permits):
            return ""
        if address in _METADATA or address.is_link_local:
            return "it is link-local"
        if address.is_loopback or address.is_unspecified:
            return "it is this machine"
        if address.is_multicast or address.is_reserved:
            return "it is nobody's address"
        if not address.is_global and not address.is_private:
            return "it is a provider's own address"
        if host.endswith(_LOCAL_NAMES):
            return "it is a name of the cluster's"
        if (host, port) in self._own or self._is_own(address, port):
            return "it is a service of the lab's"
        return ""

    def _is_own(self, address: Address, port: int) -> bool:
        for own_host, own_port in self._own:
            if own_port != port:
                continue
            try:
                known = self._resolve(own_host, own_port)
            except (OSError, UnicodeError):
                continue
            if str(address) in known:
                return True
        return False


class _Backend(httpcore.NetworkBackend):
    """Connects to addresses that were looked at; TLS still checks the name."""

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        address = self._destinations.address(host, port)
        return self._inner.connect_tcp(
            address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
        )

    def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise DestinationError("the console connects to no socket file", value=path)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


def guarded_client(destinations: Destinations, timeout: httpx.Timeout) -> httpx.Client:
    """A client that connects where ``destinations`` permit, wherever a redirect may lead."""
    transport = httpx.HTTPTransport(trust_env=False)
    # httpx takes no network backend itself; the pool is where its connections are made.
    transport._pool.close()
    transport._pool = httpcore.ConnectionPool(
        ssl_context=httpx.create_ssl_context(trust_env=False),
        network_backend=_Backend(destinations),
        max_connections=4,
        max_keepalive_connections=0,
    )
    return httpx.Client(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)


def _plain(address: Address) -> Address:
    """An IPv4 address in IPv6's clothes, as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is not None:
            return inner
        if address in ipaddress.ip_network("64:ff9b::/96"):
            return ipaddress.ip_address(int(address) & 0xFFFFFFFF)
    return address


def _place(url: str) -> tuple[str, int] | None:
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme.partition("+")[0])
    return None if parts.hostname is None or port is None else (parts.hostname.lower(), port)


def _permit(text: str) -> _Permit:
    bare, port = text.strip(), None
    head, colon, tail = bare.rpartition(":")
    if colon and (head.endswith("]") or ":" not in head):
        if not tail.isdecimal() or not 0 < int(tail) < 65536:
            raise UsageError("a permitted destination has no such port", value=text, permitted="host[:port]")
        bare, port = head, int(tail)
    bare = bare.strip("[]").lower()
    if not bare:
        raise UsageError("a permitted destination is empty", value=text, permitted="host[:port]")
    try:
        network = ipaddress.ip_network(bare, strict=False)
    except ValueError:
        network = None
        if "/" in bare:
            raise UsageError(
                "a permitted destination is no network", value=text, permitted="10.1.0.0/16[:port]"
            ) from None
    return _Permit(text=text, host=bare, network=network, port=port)
