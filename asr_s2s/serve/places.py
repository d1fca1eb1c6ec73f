"""Limits on what clients may occupy at the same time, in all and each."""

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Scope


class Places:
    """A number of places, of which one client can take only a part.

    Args:
        total: number of places.
        per_client: places that one client can take.
    """

    def __init__(self, total: int, per_client: int) -> None:
        self.total = total
        self.per_client = per_client
        self.taken: Counter[str] = Counter()

    def problem(self, client: str) -> str | None:
        """Say why a client cannot take a place now; None if it can."""
        taken, own = self.taken.total(), self.taken[client]  # reading makes no entry
        if taken >= self.total:
            return f"The server is busy (requests in progress: {taken})"
        if own >= self.per_client:
            return f"This client has too many requests in progress ({own})"
        return None

    @contextmanager
    def take(self, client: str) -> Iterator[None]:
        """Take a place for a client, which has been checked, within the context."""
        self.taken[client] += 1
        try:
            yield
        finally:
            self.taken[client] -= 1
            if not self.taken[client]:
                del self.taken[client]


def client_of(scope: Scope) -> str:
    """Client that sent a request: its address, or the first half of an IPv6 address.

    One subscriber usually has all addresses with the same first 64 bits.
    """
    host = (scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address)
