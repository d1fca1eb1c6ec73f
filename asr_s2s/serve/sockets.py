"""The address of a server, taken before its models are loaded."""

import os
import socket

from asr_s2s.errors import UserError

BACKLOG = 512
"""Connections that wait until the server takes them."""


def open_listener(host: str, port: int) -> socket.socket:
    """A socket at this address; port 0 takes a free one.

    Raises:
        UserError: there is no such address here, or its port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        where = f"--host {host} --port {port}"
        number = getattr(error, "errno", None) or 0  # those of names that nobody knows are below 0
        reason = os.strerror(number) if number > 0 else str(error)
        raise UserError(where, f"cannot listen there ({reason})", "Choose another") from error
