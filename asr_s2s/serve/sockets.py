"""Listening socket of the server, opened before the models are loaded."""

import os
import socket

from asr_s2s.errors import UserError

BACKLOG = 512
"""Maximum connections waiting to be accepted."""


def open_listener(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 selects a free port.

    Raises:
        UserError: the address does not exist on this machine, or the port is in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        where = f"--host {host} --port {port}"
        number = getattr(error, "errno", None) or 0  # negative for unknown host names
        reason = os.strerror(number) if number > 0 else str(error)
        raise UserError(
            where, f"cannot listen there ({reason})", "Choose another address"
        ) from error
