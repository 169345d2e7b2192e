"""Requests this server makes to addresses that others chose (JWKS, logos, subscriptions): one guarded client.

An address is resolved once and the connection goes to what was judged, so that a name cannot change its answer in
between; private, loopback and link-local networks are refused in whatever spelling, and again at each redirect;
time and size are bounded (decision 21).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import httpx

from .errors import ServerError

MOST_BYTES = 512 * 1024
SECONDS = 5.0
LONGEST = 60.0  # of one step; the callers bound the whole
MOST_REDIRECTS = 3

Network = ipaddress.IPv4Address | ipaddress.IPv6Address
_UNICAST = ipaddress.ip_network("2000::/3")  # all that IANA gives out of IPv6 (RFC 4291, 2.4)
_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")  # RFC 6890


class Refused(ServerError):
    """The address may not be asked, or did not answer as it should."""

    status = 400


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: httpx.Headers
    body: bytes


async def get(url: str, *, accept: str, private: bool = False) -> Answer:
    """Fetch `url`; `private` when an operator named it. Raises Refused."""
    try:
        async with asyncio.timeout(SECONDS):
            for _ in range(MOST_REDIRECTS + 1):
                answer = await _asked("GET", url, {"Accept": accept}, private=private)
                if answer.status not in (301, 302, 303, 307, 308):
                    return answer
                url = urljoin(url, answer.headers.get("location", ""))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError) as exc:
        raise Refused("The address did not answer.") from exc
    raise Refused("The address redirects too often.")


async def post(
    url: str, body: bytes, headers: Mapping[str, str], *, seconds: float = SECONDS, private: bool = False
) -> Answer:
    """Send `body` to `url`; a redirect is an answer like any other, for it would carry the body elsewhere.

    `private` when an operator named the host. Raises Refused.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _asked("POST", url, headers, body, private=private)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError) as exc:
        raise Refused("The address did not answer.") from exc


async def _asked(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, private: bool
) -> Answer:
    parts, addresses, port = await _judged(url, private=private)
    for address in addresses[:-1]:
        try:
            return await _send(method, parts, address, port, headers, body)
        except httpx.ConnectError:
            continue  # a name with an IPv6 and an IPv4 address often answers on one only
    return await _send(method, parts, addresses[-1], port, headers, body)


async def _judged(url: str, *, private: bool) -> tuple[SplitResult, list[Network], int]:
    """Where the connections may go."""
    parts = urlsplit(url)
    schemes = ("https", "http") if private else ("https",)
    if parts.scheme not in schemes or not parts.hostname or parts.username or parts.password:
        raise Refused("The address is not one that may be asked.")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts, await _resolve(parts.hostname, port, private=private), port


async def _send(
    method: str,
    parts: SplitResult,
    address: Network,
    port: int,
    extra: Mapping[str, str],
    content: bytes | None = None,
) -> Answer:
    """Ask at this very address, in the name of the host."""
    literal = f"[{address}]" if address.version == 6 else str(address)
    target = urlunsplit((parts.scheme, f"{literal}:{port}", parts.path or "/", parts.query, ""))
    headers = {**extra, "Host": parts.netloc, "User-Agent": "Lightbox"}
    # No proxy and no cookies of the environment: the connection goes where it was judged to go.
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=LONGEST) as client,
        client.stream(
            method,
            target,
            headers=headers,
            content=content,
            extensions={"sni_hostname": parts.hostname},
        ) as response,
    ):
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise Refused("The address answered with too much.")
        return Answer(response.status_code, response.headers, bytes(body))


async def _resolve(host: str, port: int, *, private: bool) -> list[Network]:
    """The addresses to connect to; every answer of the name must be public, or none is used."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not (private or all(is_public(each) for each in addresses)):
        raise Refused("The address is not one that may be asked.")
    return addresses


def is_public(address: Network) -> bool:
    """Whether anyone on the internet could ask this address; looks through IPv6 forms of an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner:
            return is_public(inner)
        if address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _UNICAST:  # IPv4 in yet other clothes, site-local, what is not given out
            return False
    elif address in _PROTOCOLS:
        return False
    return address.is_global and not address.is_multicast
